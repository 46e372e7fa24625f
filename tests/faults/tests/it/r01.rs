//! A webhook that was answered 200 is never lost (R01): hosts and database are killed at any time, under load.

use std::time::Duration;

use patchbay_faults::{
    Figures, Fleet, Load, Scale, Server, Webhooks,
    history::{all_read, check},
    world_on, world_on_sqlite,
};
use patchbay_rig::{World, seed};
use patchbay_simulator_tiktok::simkit::Random;

/// Longest wait for the rest, once everything is whole again: a dead worker's lease, and its work.
const HEALED: Duration = Duration::from_secs(180);

#[tokio::test]
async fn r01_no_webhook_is_lost_when_hosts_and_postgres_are_killed() {
    let Some(server) = Server::start().await else { return };
    let world = world_on(&server).await;
    let scale = Scale::of_run();
    let kills = Kills {
        hosts: scale.pick(3, 24),
        database: scale.pick(1, 6),
        between: scale.pick(150, 1_500),
    };
    survives("R01 postgres", &world, Some(&server), 3, scale.pick(100, 200), kills).await;
}

#[tokio::test]
async fn r01_no_webhook_is_lost_when_the_host_on_sqlite_is_killed() {
    let world = world_on_sqlite().await;
    let scale = Scale::of_run();
    let kills = Kills {
        hosts: scale.pick(3, 24),
        database: 0,
        between: scale.pick(100, 500),
    };
    survives("R01 sqlite", &world, None, 1, 60, kills).await;
}

struct Kills {
    hosts: usize,
    database: usize,
    /// Webhooks accepted from one kill to the next, on average.
    between: u64,
}

async fn survives(name: &str, world: &World, server: Option<&Server>, hosts: usize, rate: u32, kills: Kills) {
    let seed = seed();
    let random = Random::seeded(seed);
    let mut fleet = Fleet::start(world, hosts).await;
    world.connect(&fleet.api, "ada_public").await;
    let webhooks = Webhooks::of(world, &world.tiktok.account("ada_public").unwrap().open_id);
    let load = Load {
        duplicates: 100,
        ..Load::new(&webhooks, &fleet.urls, rate, seed)
    }
    .start();
    let mut left = kills;
    let (mut host_kills, mut database_kills) = (0, 0);
    while left.hosts + left.database > 0 {
        let pause = random.between(left.between / 2, left.between * 3 / 2);
        load.more_accepted(usize::try_from(pause).unwrap()).await;
        let choice = random.between(0, (left.hosts + left.database) as u64);
        if let Some(server) = server
            && choice < left.database as u64
        {
            server.kill().await;
            server.start_again().await;
            left.database -= 1;
            database_kills += 1;
        } else {
            let victim = usize::try_from(random.between(0, hosts as u64)).unwrap();
            fleet.kill(victim).await;
            fleet.start_again(victim).await;
            left.hosts -= 1;
            host_kills += 1;
        }
    }
    let history = load.finish().await;
    all_read(&world.database, HEALED).await;
    let verdict = check(&world.database, &history).await;
    let mut figures = Figures::new(name, seed);
    figures.at_least("host kills", Scale::of_run().pick(3, 20), host_kills);
    if server.is_some() {
        figures.at_least("PostgreSQL kills", Scale::of_run().pick(1, 5), database_kills);
    }
    figures.told("answered 200", "", history.count_accepted());
    let outcomes = history.outcomes();
    let lost_answers: usize = outcomes.iter().filter(|(name, _)| *name != "200").map(|(_, n)| n).sum();
    figures.told("requests refused or without an answer", "", lost_answers);
    verdict.report(&mut figures);
    figures.is("hosts that ended by themselves", 0, fleet.crashed());
    println!("{outcomes:?}");
    figures.finish();
}
