//! One behaviour suite for both stores, and what each has to itself.
//!
//! PostgreSQL is the server at `PATCHBAY_TEST_POSTGRES`, where the tests may make and drop databases.

mod coverage;
mod differential;
mod harness;
mod opening;
mod plans;
mod suite;
