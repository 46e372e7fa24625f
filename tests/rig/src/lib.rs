//! What tests with real host processes stand on: [`World`] is a simulated TikTok with a database and a [`Program`], a
//! [`Host`] is the running process, an [`Api`] its client, a [`Tap`] the line between host and platform.
//!
//! What happened is read from the simulator's oracle, from what went over the wire, and from the [`Database`], never
//! from the host's own word alone.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

pub mod api;
pub mod binary;
pub mod components;
pub mod database;
pub mod host;
pub mod hostile;
pub mod memories;
pub mod ports;
pub mod tap;
pub mod world;

use std::time::{Duration, Instant};

use patchbay_simulator_tiktok::simkit::Random;

pub use api::{Answer, Api};
pub use database::{Database, on_postgres};
pub use host::{Host, Program};
pub use memories::Memories;
pub use tap::Tap;
pub use world::World;

/// Longest wait for anything that a test waits for.
pub const PATIENCE: Duration = Duration::from_secs(90);

/// Looks again and again until there is something, and fails loudly when there never is.
pub async fn until<T>(what: &str, look: impl AsyncFnMut() -> Option<T>) -> T {
    until_within(PATIENCE, what, look).await
}

/// As [`until`], for what may take longer than other things.
pub async fn until_within<T>(patience: Duration, what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(started.elapsed() < patience, "waited {patience:?} in vain: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// As [`until`], for a plain condition.
pub async fn holds(what: &str, mut condition: impl FnMut() -> bool) {
    until(what, async || condition().then_some(())).await;
}

/// The seed of a test's choices: the one that `PATCHBAY_TEST_SEED` names, or a new one. It is printed, so that a run that
/// failed can be told again.
pub fn seed() -> u64 {
    let seed = match std::env::var("PATCHBAY_TEST_SEED") {
        Ok(text) => text.parse().expect("PATCHBAY_TEST_SEED is a number"),
        Err(_) => Random::from_entropy().between(0, 1 << 32),
    };
    println!("PATCHBAY_TEST_SEED={seed}");
    seed
}
