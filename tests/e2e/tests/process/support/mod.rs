//! What the tests stand on. Start with `world`.

pub mod api;
// Shared with the measurements, which start the same program.
#[path = "../../../../bench/src/binary.rs"]
pub mod binary;
pub mod database;
pub mod host;
pub mod scan;
pub mod tap;
pub mod world;

use std::time::{Duration, Instant};

pub use api::{Answer, Api};
pub use database::{Database, on_postgres};
pub use host::{Host, Program};
pub use tap::Tap;
pub use world::World;

/// Longest wait for anything that a test waits for.
pub const PATIENCE: Duration = Duration::from_secs(90);

/// Looks again and again until there is something, and fails loudly when there never is.
pub async fn until<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(started.elapsed() < PATIENCE, "waited {PATIENCE:?} in vain: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// As [`until`], for a plain condition.
pub async fn holds(what: &str, mut condition: impl FnMut() -> bool) {
    until(what, async || condition().then_some(())).await;
}
