//! No event takes effect twice (R02), also when dead letters are replayed, twice (R26): a third of the webhooks comes
//! more than once, and leases end while their holders work.

use std::time::Duration;

use patchbay_faults::{
    Figures, Fleet, Load, Proxy, Scale, Server, Webhooks,
    history::{all_read, check},
    world_on, world_on_sqlite,
};
use patchbay_rig::{Program, World, api::http, seed};
use patchbay_simulator_tiktok::simkit::Random;
use serde_json::json;

/// Longest wait for the rest: leases that ended, and the pauses after faults.
const PATIENCE: Duration = Duration::from_secs(300);

#[tokio::test]
async fn r02_r26_every_event_takes_effect_once_on_postgres() {
    let Some(server) = Server::start().await else { return };
    let world = world_on(&server).await;
    let scale = Scale::of_run();
    // Slow enough that leases end, and hosts are stopped, in the middle of their work.
    let line = Proxy::before(([127, 0, 0, 1], server.port()).into()).await;
    line.delay(Duration::from_millis(scale.pick(5, 2)));
    let slow = |program: Program| program.with("DATABASE_URL", line.in_url(&world.database.url()));
    let programs = vec![
        slow(world.program.clone()),
        slow(world.replica()),
        slow(world.replica()),
    ];
    let fleet = Fleet::of(&world, programs).await;
    once(
        "R02 postgres",
        &world,
        fleet,
        scale.pick(2_000, 50_000),
        scale.pick(150, 250),
    )
    .await;
}

#[tokio::test]
async fn r02_r26_every_event_takes_effect_once_on_sqlite() {
    let world = world_on_sqlite().await;
    let fleet = Fleet::start(&world, 1).await;
    let scale = Scale::of_run();
    once("R02 sqlite", &world, fleet, scale.pick(500, 10_000), 100).await;
}

/// Leases of one claim that end at once. The others of the same claim go on, so that results come back half stale.
const SOME: u32 = 16;

async fn once(name: &str, world: &World, mut fleet: Fleet, events: usize, rate: u32) {
    let seed = seed();
    let random = Random::seeded(seed);
    world.connect(&fleet.api, "ada_public").await;
    let webhooks = Webhooks::of(world, &world.tiktok.account("ada_public").unwrap().open_id);
    let load = Load {
        duplicates: 300,
        total: Some(events),
        ..Load::new(&webhooks, &fleet.urls, rate, seed)
    }
    .start();
    let (mut expired, mut frozen, mut quarantined) = (0, 0, 0);
    let step = events / 40;
    for round in 0_usize.. {
        if load.so_far(|history| history.count_accepted() + step >= events) {
            break;
        }
        load.more_accepted(usize::try_from(random.between(1, step as u64)).unwrap())
            .await;
        match round % 4 {
            3 if fleet.size() > 1 => {
                let victim = usize::try_from(random.between(0, fleet.size() as u64)).unwrap();
                frozen += 1;
                fleet.host(victim).freeze().await;
                expired += world.database.end_leases("ingest", SOME).await;
                load.more_accepted(step / 4).await;
                fleet.host(victim).thaw().await;
            }
            // As after three claims that were never heard of again: healthy ones that become dead letters.
            2 if round < 12 => {
                let doom = "UPDATE jobs SET lost = 3 WHERE kind = 'ingest' AND status = 'ready'";
                quarantined += world.database.execute(doom).await;
            }
            _ => expired += world.database.end_leases("ingest", SOME).await,
        }
    }
    let history = load.ended().await;
    all_read(&world.database, PATIENCE).await;

    let mut figures = Figures::new(name, seed);
    figures.is("events", events, history.count_accepted());
    let repeated = history.repetitions() * 100 / history.requests.len();
    figures.at_least("requests that repeat, %", 20, repeated);
    figures.told("leases made to end early", "", expired);
    figures.told("replicas stopped and continued", "", frozen);
    let dead = world
        .database
        .count("jobs WHERE kind = 'ingest' AND status = 'dead'")
        .await;
    figures.told("healthy ones made dead letters", "", dead);
    if quarantined > 0 {
        figures.at_least(
            "of them before they took effect",
            1,
            check(&world.database, &history).await.without_effect,
        );
    }
    // What never took effect does so now.
    let replayed = replay_all(world, &fleet).await;
    figures.is("replayed", dead, replayed);
    check(&world.database, &history).await.report(&mut figures);
    // And what did, does not again.
    for turn in ["once", "twice"] {
        let many = events / 50;
        world
            .database
            .execute(&format!(
                "UPDATE jobs SET status = 'dead', last_error = 'of a test'
                 WHERE kind = 'ingest' AND id IN (SELECT id FROM jobs WHERE kind = 'ingest' ORDER BY id LIMIT {many})"
            ))
            .await;
        let replayed = replay_all(world, &fleet).await;
        figures.is(&format!("replayed {turn}, though done"), many as u64, replayed);
    }
    let verdict = check(&world.database, &history).await;
    figures.is("effects doubled by the replays", 0, verdict.doubled);
    figures.is("not done after the replays", 0, verdict.not_done + verdict.stuck);
    let rows = world.database.count("events WHERE client_id IS NOT NULL").await;
    figures.is("effects, as rows", events as u64, rows);
    // One too many would be an effect twice. One too few is a commit whose answer its host did not hear.
    figures.at_most(
        "effects, as hosts have counted them",
        events as u64,
        applied(&fleet).await,
    );
    figures.is("hosts that ended by themselves", 0, fleet.crashed());
    figures.finish();
}

/// Replays every dead letter, and waits until it is read again. How many there were.
async fn replay_all(world: &World, fleet: &Fleet) -> u64 {
    let mut replayed = 0;
    loop {
        let answer = fleet
            .api
            .post("/api/dead-letters/replay", &json!({ "kind": "ingest" }))
            .await
            .ok();
        replayed += answer["replayed"].as_u64().unwrap();
        if answer["more"] == false {
            break;
        }
    }
    all_read(&world.database, PATIENCE).await;
    replayed
}

/// Events that took effect, by the hosts' own counts.
async fn applied(fleet: &Fleet) -> u64 {
    let mut applied = 0;
    for url in &fleet.urls {
        let metrics = http()
            .get(format!("{url}/metrics"))
            .send()
            .await
            .unwrap()
            .text()
            .await
            .unwrap();
        applied += metrics
            .lines()
            .filter(|line| line.starts_with("patchbay_events_total{") && !line.contains("outcome=\"duplicate\""))
            .map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap())
            .sum::<u64>();
    }
    applied
}
