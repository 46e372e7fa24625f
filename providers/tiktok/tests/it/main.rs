//! Tests through the public door: `build`, the traits, and a transport that plays a script.
#![expect(clippy::unwrap_used, reason = "a failed test is what an unwrap says here")]

mod manifest;
mod oauth;
mod publish_file;
mod publish_last_chunk;
mod publish_model;
mod publish_pull;
mod publish_status;
mod support;
mod webhook;
