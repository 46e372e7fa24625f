//! The shared simulator parts over real connections.
#![expect(
    clippy::unwrap_used,
    reason = "a helper of a test fails the test as the test itself would"
)]

mod gate;
mod webhook;
