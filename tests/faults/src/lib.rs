//! Fault injection: hosts, their database and the lines between them are killed, stopped, cut and lied to, and
//! afterwards a history says what was lost, doubled or over a limit.
//!
//! A scenario is a test in `tests/it`, in a module named by its row (`r01`, `r02`, …). It takes a world from [`world`],
//! does its harm, and hands what it counted to [`Figures`], which decides and reports. Its scale comes from [`Scale`]:
//! small in `tests/run faults`, that of the figures in `tests/run faults --full`. Its choices come from
//! [`patchbay_rig::seed`].
//!
//! Processes, taps, databases and API clients are those of [`patchbay_rig`].
#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

pub mod figures;
pub mod scale;

use patchbay_rig::{Database, World, binary};

pub use figures::Figures;
pub use scale::Scale;

/// A simulated platform and the program with failpoints, on a database. Quiet, because it has much to do.
pub async fn world(database: Database) -> World {
    let mut world = World::on(database).await;
    world.program.binary = binary::with_failpoints().to_owned();
    world.program = world.program.with("PATCHBAY__LOG__FILTER", "warn");
    world
}

/// As [`world`], on a fresh SQLite file.
pub async fn world_on_sqlite() -> World {
    let mut world = World::on_sqlite().await;
    world.program.binary = binary::with_failpoints().to_owned();
    world.program = world.program.with("PATCHBAY__LOG__FILTER", "warn");
    world
}
