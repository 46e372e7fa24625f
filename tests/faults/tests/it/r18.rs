//! A host that is cut off from the database doubles nothing (R18): others take over what it holds, and what it still
//! writes when the line is good again is refused.

use std::{collections::HashSet, time::Duration};

use patchbay_faults::{
    Figures, Fleet, Load, Proxy, Scale, Server, Webhooks, claims,
    history::{all_read, check},
    world_on,
};
use patchbay_rig::{
    Database, Program, World, holds, seed, until,
    world::{file_post, pull_post, video_bytes},
};

use crate::posts::{End, doubles, end_of, new_account};

/// Longest wait for the rest.
const PATIENCE: Duration = Duration::from_secs(180);
/// How long the line is cut, at full scale.
const CUT: Duration = Duration::from_secs(60);

#[tokio::test]
async fn r18_a_host_without_its_database_doubles_nothing() {
    let Some(server) = Server::start().await else { return };
    let seed = seed();
    let world = world_on(&server).await;
    let line = Proxy::before(([127, 0, 0, 1], server.port()).into()).await;
    let lonely = world
        .program
        .clone()
        .with("DATABASE_URL", line.in_url(&world.database.url()))
        .with("PATCHBAY__WORKERS__CONCURRENCY", "32");
    let mut fleet = Fleet::of(&world, vec![lonely.clone()]).await;
    claims::watch(&world.database, "publish").await;
    let posts = begin_posts(&world, &fleet, seed).await;
    let webhooks = Webhooks::of(&world, &world.tiktok.account("fresh_0").unwrap().open_id);
    fleet.add(world.replica()).await;
    let load = Load::new(&webhooks, &fleet.urls, 60, seed).start();
    load.more_accepted(50).await;
    // The platform has heard of some, and their answers are under way.
    holds("posts are begun at the platform", || {
        world.calls("video_init") >= posts.len() / 2
    })
    .await;
    let before = claims::all(&world.database).await.len();
    line.partition();
    let held = running(&world.database).await;
    match Scale::of_run() {
        Scale::Full => tokio::time::sleep(CUT).await,
        // Nobody who is cut off can tell a lease that has ended from one that was ended.
        Scale::Fast => {
            world.database.end_leases("publish", u32::MAX >> 1).await;
            world.database.end_leases("ingest", u32::MAX >> 1).await;
        }
    }
    until("the other host has taken over", async || {
        let claims = claims::all(&world.database).await;
        let taken: HashSet<_> = claims.into_iter().skip(before).map(|claim| claim.job).collect();
        held.is_subset(&taken).then_some(())
    })
    .await;
    load.more_accepted(50).await;
    line.heal();
    until("the host is ready again", async || {
        (fleet.api.get("/readyz").await.status.as_u16() == 200).then_some(())
    })
    .await;
    load.more_accepted(50).await;
    let history = load.finish().await;
    all_read(&world.database, PATIENCE).await;
    let mut ends = Vec::new();
    for (id, _) in &posts {
        ends.push(end_of(&fleet.api, id).await.0);
    }

    let mut figures = Figures::new("R18 postgres", seed);
    figures.at_least("posts that it held when it was cut off", 1, held.len());
    figures.told("late writes of it that were refused", "all", refusals(&lonely));
    figures.is(
        "posts without an end",
        0,
        ends.iter().filter(|end| **end == End::Stuck).count(),
    );
    figures.told(
        "posts published",
        "",
        ends.iter().filter(|end| **end == End::Published).count(),
    );
    figures.is("doubles", 0, doubles(&world, posts.iter().map(|(_, title)| title)));
    let failed = |((_, title), end): &(&(String, String), &End)| **end == End::Failed && world.published(title) > 0;
    figures.is(
        "published, told as failed",
        0,
        posts.iter().zip(&ends).filter(failed).count(),
    );
    check(&world.database, &history).await.report(&mut figures);
    figures.is("hosts that ended by themselves", 0, fleet.crashed());
    figures.finish();
}

/// Asks for posts, and makes the platform slow, so that they are in all states for a while. Their ids and titles.
async fn begin_posts(world: &World, fleet: &Fleet, seed: u64) -> Vec<(String, String)> {
    let media = fleet.api.upload(video_bytes(2_500_000, seed)).await;
    let mut accounts = Vec::new();
    for number in 0..Scale::of_run().pick(8, 24) {
        accounts.push(new_account(world, &fleet.api, number).await);
    }
    for tap in [&world.api_tap, &world.upload_tap] {
        tap.answers_take(Duration::from_millis(700));
    }
    let mut posts = Vec::new();
    for (number, account) in accounts.iter().enumerate() {
        let title = format!("cut off {number}");
        let wanted = if number % 2 == 0 {
            pull_post(account, &title)
        } else {
            file_post(account, &title, &media)
        };
        posts.push((fleet.api.publish(&wanted).await, title));
    }
    posts
}

/// Jobs of posts that run now.
async fn running(database: &Database) -> HashSet<String> {
    let running = "SELECT replace(CAST(id AS TEXT), '-', '') FROM jobs WHERE kind = 'publish' AND status = 'running'";
    database.texts(running).await.into_iter().collect()
}

/// Results that a host was not allowed to write, by its log.
fn refusals(program: &Program) -> usize {
    let log = std::fs::read_to_string(program.log_path()).unwrap();
    let told = ["because the row had moved on", "could not be recorded"];
    log.lines()
        .filter(|line| told.iter().any(|words| line.contains(words)))
        .count()
}
