//! One behaviour suite for both stores, and what each has to itself.
//!
//! PostgreSQL is the server at `PATCHBAY_TEST_POSTGRES`, where the tests may make and drop databases.

#![expect(
    clippy::unwrap_used,
    reason = "all of this is test code: what fails here fails a test"
)]

mod cancelled;
mod coverage;
mod differential;
mod ended;
mod harness;
mod opening;
mod plans;
mod suite;
