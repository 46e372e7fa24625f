//! Fault injection: hosts, their database and the lines between them are killed, stopped, cut and lied to, and
//! afterwards a history says what was lost, doubled or over a limit.
//!
//! A scenario is a test in `tests/it`, in a module named by its row (`r01`, `r02`, …). It takes a world from [`world`],
//! does its harm, and hands what it counted to [`Figures`], which decides and reports. Its scale comes from [`Scale`]:
//! small in `tests/run faults`, that of the figures in `tests/run faults --full`. Its choices come from
//! [`patchbay_rig::seed`].
//!
//! Processes, taps, databases and API clients are those of [`patchbay_rig`]. Here are a PostgreSQL [`Server`] that can be
//! killed, a [`Fleet`] of hosts, a [`Proxy`] that makes any line a bad one, a [`WallClock`] that jumps, a [`Load`] of signed
//! webhooks that keeps its history, [`history`], which judges it, and [`claims`], which knows when jobs were begun.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

pub mod claims;
pub mod clock;
pub mod figures;
pub mod fleet;
pub mod history;
pub mod load;
pub mod postgres;
pub mod proxy;
pub mod scale;
pub mod webhooks;

use patchbay_rig::{Database, World, binary};

pub use clock::WallClock;
pub use figures::Figures;
pub use fleet::Fleet;
pub use load::Load;
pub use postgres::Server;
pub use proxy::Proxy;
pub use scale::Scale;
pub use webhooks::Webhooks;

/// A simulated platform and the program with failpoints, on a database. Quiet, because it has much to do.
pub async fn world(database: Database) -> World {
    quiet(World::on(database).await)
}

/// As [`world`], on a fresh SQLite file.
pub async fn world_on_sqlite() -> World {
    quiet(World::on_sqlite().await)
}

/// As [`world`], on a server that keeps what it commits.
pub async fn world_on(server: &Server) -> World {
    let mut world = world(server.database("patchbay").await).await;
    world.program = world.program.without("PATCHBAY__DATABASE__ALLOW_UNSAFE_DURABILITY");
    world
}

fn quiet(mut world: World) -> World {
    world.program.binary = binary::with_failpoints().to_owned();
    world.program = world.program.with("PATCHBAY__LOG__FILTER", "warn");
    world
}
