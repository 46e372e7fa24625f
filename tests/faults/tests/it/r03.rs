//! An answer is never a lie (R03), and a database that comes back is all that it takes (R16): while it is away there are
//! 503s and nothing else, and then everything goes on by itself.

use std::time::Duration;

use patchbay_faults::{
    Figures, Fleet, Load, Scale, Server, Webhooks,
    history::{all_read, check},
    load::{History, Outcome},
    world_on, world_on_sqlite,
};
use patchbay_rig::{Database, World, api::http, seed, until};
use sqlx::{Connection, SqliteConnection};

/// Longest wait for the rest, once the database is back.
const HEALED: Duration = Duration::from_secs(180);
/// Connections that one host may have: ordinary ones, those that are kept for what must not wait, and one that is
/// just being replaced.
const CONNECTIONS_OF_A_HOST: u64 = 8 + 4 + 1;

#[tokio::test]
async fn r03_r16_postgres_that_is_stopped_costs_503s_and_heals_alone() {
    let Some(server) = Server::start().await else { return };
    let world = world_on(&server).await;
    let mut fleet = Fleet::start(&world, 3).await;
    let outage = Outage {
        begin: async || server.stop_at_once().await,
        end: async || server.start_again().await,
    };
    let mut figures = rides_out("R03 postgres", &world, &mut fleet, 100, outage).await;
    figures.at_most(
        "connections afterwards",
        3 * CONNECTIONS_OF_A_HOST,
        server.connections().await,
    );
    figures.finish();
}

#[tokio::test]
async fn r03_r16_a_sqlite_file_that_somebody_holds_costs_503s_and_heals_alone() {
    let world = world_on_sqlite().await;
    let mut fleet = Fleet::start(&world, 1).await;
    let Database::Sqlite(path) = &world.database else {
        panic!("this world is on SQLite");
    };
    let holder = tokio::sync::Mutex::new(
        SqliteConnection::connect(&format!("sqlite:{}", path.display()))
            .await
            .unwrap(),
    );
    let outage = Outage {
        begin: async || {
            // The host lets go of it between two writes of its own.
            until("the file is held", async || {
                let mut holder = holder.lock().await;
                sqlx::query("BEGIN IMMEDIATE").execute(&mut *holder).await.ok()
            })
            .await;
        },
        end: async || {
            sqlx::query("ROLLBACK")
                .execute(&mut *holder.lock().await)
                .await
                .unwrap();
        },
    };
    rides_out("R03 sqlite", &world, &mut fleet, 50, outage).await.finish();
}

/// How a database goes away and comes back.
struct Outage<B, E> {
    begin: B,
    end: E,
}

async fn rides_out(
    name: &str,
    world: &World,
    fleet: &mut Fleet,
    rate: u32,
    outage: Outage<impl AsyncFnOnce(), impl AsyncFnOnce()>,
) -> Figures {
    let seed = seed();
    world.connect(&fleet.api, "ada_public").await;
    let webhooks = Webhooks::of(world, &world.tiktok.account("ada_public").unwrap().open_id);
    let load = Load::new(&webhooks, &fleet.urls, rate, seed).start();
    load.more_accepted(100).await;
    (outage.begin)().await;
    let gone = load.time();
    // Answers only come when the hosts give up, so this is also how long the database is away.
    // Of each host, since a host answers only so many at once.
    let wanted = Scale::of_run().pick(200, 1_000 * fleet.size());
    until("requests ended without a database", async || {
        (load.so_far(|history| within(history, gone, load.time()).count()) >= wanted).then_some(())
    })
    .await;
    let health = statuses(fleet, "/healthz").await;
    let readiness = statuses(fleet, "/readyz").await;
    let back = load.time();
    (outage.end)().await;
    let whole = load.time();
    load.more_accepted(100).await;
    until("every host is ready", async || {
        statuses(fleet, "/readyz")
            .await
            .iter()
            .all(|status| *status == 200)
            .then_some(())
    })
    .await;
    let history = load.finish().await;
    all_read(&world.database, HEALED).await;

    let mut figures = Figures::new(name, seed);
    let away: Vec<_> = within(&history, gone, back).collect();
    figures.at_least("requests while it was away", wanted, away.len());
    let others = away
        .iter()
        .filter(|request| request.outcome != Outcome::Refused(503))
        .count();
    figures.is("of them not answered 503", 0, others);
    let slowest = away.iter().map(|request| request.took).max().unwrap_or_default();
    figures.time("slowest 503", Duration::from_millis(2_500), slowest);
    figures.is("hosts alive meanwhile (/healthz)", fleet.size(), count(&health, 200));
    figures.is(
        "hosts not ready meanwhile (/readyz)",
        fleet.size(),
        count(&readiness, 503),
    );
    let first = history
        .requests
        .iter()
        .filter(|request| request.outcome == Outcome::Accepted && request.at + request.took >= whole)
        .map(|request| request.at + request.took)
        .min();
    figures.time(
        "back, until the first 200",
        Duration::from_secs(10),
        first.unwrap_or(Duration::MAX) - whole,
    );
    check(&world.database, &history).await.report(&mut figures);
    figures.is("hosts that ended by themselves", 0, fleet.crashed());
    figures
}

/// Requests that began and ended between two times.
fn within(history: &History, from: Duration, to: Duration) -> impl Iterator<Item = &patchbay_faults::load::Request> {
    let inside = move |request: &&patchbay_faults::load::Request| request.at >= from && request.at + request.took <= to;
    history.requests.iter().filter(inside)
}

async fn statuses(fleet: &Fleet, path: &str) -> Vec<u16> {
    let mut statuses = Vec::new();
    for url in &fleet.urls {
        let answer = http().get(format!("{url}{path}")).send().await;
        statuses.push(answer.map_or(0, |answer| answer.status().as_u16()));
    }
    statuses
}

fn count(statuses: &[u16], wanted: u16) -> usize {
    statuses.iter().filter(|status| **status == wanted).count()
}
