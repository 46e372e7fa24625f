//! The simulator over real HTTP, as a client meets it.

#![expect(
    clippy::unwrap_used,
    reason = "a helper of a test fails the test as the test itself would"
)]

mod authorize;
mod control;
mod display;
mod faults;
mod limits;
mod posting;
mod pull;
mod support;
mod token;
mod upload;
mod webhooks;
