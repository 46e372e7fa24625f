//! Real host processes: started, killed, stopped and started again, against a simulated platform in this process.
//!
//! What happened is read from the simulator's oracle, from what went over the wire, and from the database, never from
//! the host's own word alone.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod canary;
mod cli;
mod commits;
mod components;
mod doctor;
mod document;
mod forms;
mod hostile;
mod keys_at_start;
mod kills;
mod lambda;
mod replicas;
mod scan;
mod uploads;
