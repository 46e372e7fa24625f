//! The Patchbay host: HTTP API, workers, configuration, and the wiring of everything else. The binary `patchbay` is a
//! thin command line over this library.

pub mod api;
pub mod catalogue;
pub mod cli;
pub mod components;
pub mod config;
mod cursor;
pub mod demo;
pub mod doctor;
#[cfg(test)]
mod drift;
pub mod host;
pub mod keys;
pub mod lane;
pub mod listen;
pub mod media;
pub mod pass;
pub mod providers;
pub mod serve;
pub mod telemetry;
pub mod worker;
