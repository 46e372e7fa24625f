//! Measurements of a real host process against a simulated platform in this process.
//!
//! Figures of different machines, or of different runs on a busy one, do not compare. So each figure is put beside one
//! of the same run: memory beside the idle host, throughput beside a plain HTTP client that sends the same file to the
//! same simulator.

pub mod binary;
mod host;
mod plain;
pub mod table;
pub mod upload;
