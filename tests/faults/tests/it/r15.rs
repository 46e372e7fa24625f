//! A crash is taken over quickly (R15): what a killed host was doing goes on at the others when its leases end.

use std::{collections::HashMap, time::Duration};

use patchbay_faults::{Figures, Fleet, Proxy, Scale, Server, claims, world_on};
use patchbay_rig::{seed, until, until_within, world::file_post, world::video_bytes};

use crate::posts::{End, doubles, end_of, new_account};

/// A lease, and the time between two looks at the queue.
const TAKEOVER: Duration = Duration::from_secs(30 + 1);
/// Jobs at once in one host: of one tenant half as many.
const CONCURRENCY: usize = 100;

#[tokio::test]
async fn r15_what_a_killed_host_was_doing_goes_on_within_its_lease() {
    let Some(server) = Server::start().await else { return };
    let seed = seed();
    let mut world = world_on(&server).await;
    world.program = world
        .program
        .with("PATCHBAY__WORKERS__CONCURRENCY", CONCURRENCY.to_string());
    // The first host's uploads get nowhere, so that it is busy with all of them when it dies.
    let line = Proxy::before(world.tiktok.upload).await;
    line.partition();
    let hosts = world.program.env[HOSTS].replace(&world.upload_tap.address.to_string(), &line.address.to_string());
    let doomed = world.program.clone().with(HOSTS, hosts);
    let mut fleet = Fleet::of(&world, vec![doomed]).await;
    claims::watch(&world.database, "publish").await;
    let jobs = Scale::of_run().pick(10, 50);
    let media = fleet.api.upload(video_bytes(2_500_000, seed)).await;
    let mut posts = Vec::new();
    for number in 0..jobs {
        let account = new_account(&world, &fleet.api, number).await;
        let title = format!("taken over {number}");
        posts.push((fleet.api.publish(&file_post(&account, &title, &media)).await, title));
    }
    until("every post is being uploaded", async || {
        let running = world
            .database
            .count("jobs WHERE kind = 'publish' AND status = 'running'")
            .await;
        (running == jobs as u64 && world.calls("video_init") == jobs).then_some(())
    })
    .await;

    fleet.add(world.replica()).await;
    fleet.add(world.replica()).await;
    let before = claims::all(&world.database).await.len();
    fleet.kill(0).await;
    let died = claims::now(&world.database).await;
    let mut taken = HashMap::new();
    until_within(TAKEOVER * 4, "every job is taken over", async || {
        for claim in claims::all(&world.database).await.into_iter().skip(before) {
            taken.entry(claim.job).or_insert(claim.at);
        }
        (taken.len() >= jobs).then_some(())
    })
    .await;
    let api = fleet.api_of(1);
    let mut figures = Figures::new("R15 postgres", seed);
    figures.is("jobs that ran on the killed host", jobs, taken.len());
    let last = taken.values().max().copied().unwrap_or_default();
    figures.time("the last one was taken over after", TAKEOVER, last - died);
    let mut published = 0;
    for (id, _) in &posts {
        published += usize::from(end_of(&api, id).await.0 == End::Published);
    }
    figures.is("published", jobs, published);
    figures.is("doubles", 0, doubles(&world, posts.iter().map(|(_, title)| title)));
    figures.is("hosts that ended by themselves", 0, fleet.crashed());
    figures.finish();
}

/// Where the program is told which addresses stand for the platform's.
const HOSTS: &str = "PATCHBAY__PROVIDERS__TIKTOK__SIMULATOR_HOSTS";
