//! ARCHITECTURE.md, as far as it can be checked without running anything.
#![expect(clippy::unwrap_used, reason = "a test that cannot read the workspace has failed")]

mod conformance;
mod directions;
mod migrations;
mod names;
mod supply;
mod workspace;
