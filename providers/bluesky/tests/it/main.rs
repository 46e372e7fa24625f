//! Tests through the public door: `build`, the traits, and a transport that plays a script.
#![expect(clippy::unwrap_used, reason = "a failed test is what an unwrap says here")]

mod login;
mod manifest;
mod publish;
mod support;
