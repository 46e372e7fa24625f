//! Measurements of a real host process, each beside a reference in the same run.
//!
//! Figures of different machines, or of different runs on a busy one, do not compare. So each figure is put beside one
//! of the same run: ingestion beside pgbench and a Node server, draining beside another queue, an upload beside a plain
//! client. `names` lists them; the README says what each does, and what came of it.

// Shared with the tests, as are the corpus and the choice of ports: they start the same program.
#[path = "../../rig/src/binary.rs"]
pub mod binary;
mod claim;
mod component;
#[path = "../../rig/src/hostile.rs"]
pub mod corpus;
mod cpu;
pub mod debian;
mod drain;
mod graphile;
mod host;
mod hostile;
mod inbox;
mod ingest;
mod load;
pub mod measurement;
mod names;
mod node;
mod pgbench;
mod plain;
#[path = "../../rig/src/ports.rs"]
mod ports;
mod postgres;
mod push;
mod single_commits;
mod slow_sync;
mod steps;
pub mod table;
pub mod upload;
mod webhooks;

pub use names::{Effort, Name};
