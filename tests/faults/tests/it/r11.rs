//! R11 and R12: limits of the platform that all hosts share. Eight hosts have more to send than an account may, and the
//! platform never sees more than it allows, nor much less.

use std::{collections::BTreeMap, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};
use futures_util::{StreamExt, stream};
use patchbay_faults::{Figures, Fleet, Scale, Server, WallClock, world, world_on};
use patchbay_rig::{
    Api, World, on_postgres, seed,
    world::{MEDIA_HOST, pull_post},
};
use patchbay_simulator_tiktok::{Flow, PostRecord, simkit::Random};
use serde_json::{Value, json};

use crate::{cluster::Cluster, posts::new_account};

/// The calls that begin a post. The platform's pages leave open whether their limits are one.
const INITS: [&str; 3] = ["video_init", "inbox_init", "content_init"];
/// Of an account in a minute.
const INITS_PER_MINUTE: usize = 6;
/// Of an account in a day, as long as nobody has posted or thrown them away.
const PENDING_DRAFTS: usize = 5;
/// Time between two looks at the drafts.
const LOOK: Duration = Duration::from_mins(10);
const SECOND: Duration = Duration::from_secs(1);

#[tokio::test]
async fn r11_all_hosts_together_keep_to_the_inits_of_a_minute() {
    on_postgres(async |database| {
        let seed = seed();
        let (hosts, accounts, minutes) = Scale::of_run().pick((4, 3, 4), (8, 20, 10));
        let cluster = Cluster::start(world(database).await, hosts).await;
        let ids = connect(&cluster.world, &cluster.api, accounts).await;
        ask_for(&cluster.api, refused_posts(&ids, minutes)).await;
        let begin = cluster.now();
        while cluster.now() - begin < TimeDelta::minutes(minutes as i64) {
            cluster.settle().await;
            cluster.advance_to_next(SECOND).await;
        }
        report(
            "R11 compressed",
            seed,
            &cluster.world,
            (hosts, accounts, minutes),
            begin,
        )
        .finish();
    })
    .await;
}

/// In real time, with kills, a database that crashes, and clocks that are wrong. Only at full scale.
#[tokio::test]
async fn r11_killed_hosts_keep_to_the_inits_of_a_minute() {
    if Scale::of_run() == Scale::Fast {
        return;
    }
    let Some(server) = Server::start().await else { return };
    let seed = seed();
    let random = Random::seeded(seed);
    let (hosts, accounts, minutes) = (8, 20, 10);
    let mut world = world_on(&server).await;
    world.program = world.program.with("PATCHBAY__DATABASE__MAX_CONNECTIONS", "6");
    let mut programs = vec![world.program.clone()];
    programs.extend((1..hosts).map(|_| world.replica()));
    for (number, wrong) in [(1, "+1h"), (2, "-1h")] {
        let Some((program, clock)) = WallClock::of(programs[number].clone()) else {
            return;
        };
        clock.shift(wrong);
        programs[number] = program;
    }
    let mut fleet = Fleet::of(&world, programs).await;
    let ids = connect(&world, &fleet.api, accounts).await;
    ask_for(&fleet.api, refused_posts(&ids, minutes)).await;
    let begin = world.tiktok.clock().now();
    let left = || (begin + TimeDelta::minutes(minutes as i64) - world.tiktok.clock().now()).to_std();
    let (mut kills, mut restarts) = (0, 0);
    while let Ok(left) = left() {
        let pause = Duration::from_secs(random.between(10, 30));
        tokio::time::sleep(pause.min(left)).await;
        if restarts == 0 && left < Duration::from_mins(minutes as u64) / 2 {
            server.kill().await;
            server.start_again().await;
            restarts += 1;
        } else {
            let victim = usize::try_from(random.between(0, hosts as u64)).unwrap();
            fleet.kill(victim).await;
            fleet.start_again(victim).await;
            kills += 1;
        }
    }
    let mut figures = report("R11 postgres", seed, &world, (hosts, accounts, minutes), begin);
    figures.told("hosts killed", "", kills);
    figures.is("crashes of the database", 1, restarts);
    figures.is("hosts that ended by themselves", 0, fleet.crashed());
    figures.finish();
}

/// How many inits there were, since this time for the use and ever for the limit.
fn report(
    name: &str,
    seed: u64,
    world: &World,
    (hosts, accounts, minutes): (usize, usize, usize),
    begin: DateTime<Utc>,
) -> Figures {
    let calls = inits(world);
    let busiest = calls.values().map(|times| most_within(times, TimeDelta::seconds(60)));
    let end = begin + TimeDelta::minutes(minutes as i64);
    let used = |times: &Vec<_>| times.iter().filter(|at| (begin..end).contains(at)).count();
    let least = calls.values().map(used).min().unwrap_or(0);
    let mut figures = Figures::new(name, seed);
    let size = format!("{hosts} x {accounts} x {minutes}");
    figures.told("hosts x accounts x minutes", "8 x 20 x 10", size);
    figures.is("accounts that were called for", accounts, calls.len());
    figures.at_most(
        "inits of an account in any 60 s",
        INITS_PER_MINUTE,
        busiest.max().unwrap_or(0),
    );
    figures.at_least(
        "use of what is allowed, %",
        90,
        least * 100 / (minutes * INITS_PER_MINUTE),
    );
    figures
}

#[tokio::test]
async fn r12_all_hosts_together_keep_to_the_pending_drafts_of_a_day() {
    on_postgres(async |database| {
        let seed = seed();
        let random = Random::seeded(seed);
        let (hosts, accounts, drafts) = Scale::of_run().pick((4, 3, 9), (8, 20, 20));
        let mut world = world(database).await;
        world.program = world
            .program
            .with("PATCHBAY__PROVIDERS__TIKTOK__SETTINGS__POLL_MIN_SECONDS", "10");
        // The platform would refuse the sixth. Here it counts instead.
        world.tiktok.change_switches(|switches| switches.pending_drafts = 1_000);
        let cluster = Cluster::start(world, hosts).await;
        let ids = connect(&cluster.world, &cluster.api, accounts).await;
        let wanted = ids
            .iter()
            .flat_map(|id| (0..drafts).map(move |number| draft(id, &format!("{id} {number}"))));
        ask_for(&cluster.api, wanted).await;
        let (mut most, mut least, mut settled) = (0, usize::MAX, 0);
        let all = accounts * drafts;
        let begin = cluster.now();
        while cluster.now() - begin < TimeDelta::days(7) {
            cluster.settle().await;
            let posts = cluster.world.tiktok.oracle().posts();
            let counts = pending(&posts, cluster.now());
            most = most.max(counts.values().copied().max().unwrap_or(0));
            settled = posts.iter().filter(|post| has_ended(post)).count();
            if settled == all {
                break;
            }
            // Every account has more to send, so each uses all that it may.
            if settled == 0 {
                least = counts.values().copied().min().unwrap_or(0);
            }
            // Persons post some and throw some away. Of the latter nobody tells us: their places free after a day.
            for post in posts.iter().filter(|post| !has_ended(post)) {
                match random.between(0, 20) {
                    0 => drop(cluster.world.tiktok.post_draft(&post.publish_id, None)),
                    1 => drop(cluster.world.tiktok.discard_draft(&post.publish_id)),
                    _ => {}
                }
            }
            cluster.advance_to_next(LOOK).await;
        }
        let mut figures = Figures::new("R12 compressed", seed);
        figures.told(
            "hosts x accounts x drafts",
            "8 x 20 x 20",
            format!("{hosts} x {accounts} x {drafts}"),
        );
        figures.at_most("pending drafts of an account", PENDING_DRAFTS, most);
        figures.at_least("pending while nobody takes any", PENDING_DRAFTS, least);
        figures.is("drafts that reached an end", all, settled);
        figures.finish();
    })
    .await;
}

async fn connect(world: &World, api: &Api, accounts: usize) -> Vec<String> {
    let mut ids = Vec::new();
    for number in 0..accounts {
        ids.push(new_account(world, api, number).await);
    }
    ids
}

async fn ask_for(api: &Api, wanted: impl Iterator<Item = Value>) {
    stream::iter(wanted)
        .for_each_concurrent(8, async |wanted| drop(api.publish(&wanted).await))
        .await;
}

/// More for each account than there is time for. The platform refuses each of them at once, so that no other limit is met
/// first.
fn refused_posts(accounts: &[String], minutes: usize) -> impl Iterator<Item = Value> {
    accounts.iter().flat_map(move |id| {
        (0..minutes * (INITS_PER_MINUTE + 1)).map(move |number| refused_post(id, &format!("{id} {number}"), number))
    })
}

/// A post of a URL that the platform does not know to be ours: it answers the init with a refusal. Drafts and direct
/// posts by turns.
fn refused_post(account: &str, title: &str, number: usize) -> Value {
    let mut wanted = if number.is_multiple_of(2) {
        pull_post(account, title)
    } else {
        draft(account, title)
    };
    wanted["media"] = json!([{ "url": "https://not-ours.patchbay.example/sample.mp4" }]);
    wanted
}

fn draft(account: &str, title: &str) -> Value {
    json!({
        "account_id": account,
        "kind": "video",
        "mode": "draft",
        "title": title,
        "media": [{ "url": format!("https://{MEDIA_HOST}/sample.mp4") }],
        "allow_duplicate": true,
    })
}

/// When inits came, by account.
fn inits(world: &World) -> BTreeMap<String, Vec<DateTime<Utc>>> {
    let mut times: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for call in world.tiktok.journal().calls() {
        if INITS.contains(&&*call.op) {
            times.entry(call.account.unwrap_or_default()).or_default().push(call.at);
        }
    }
    times
}

/// The most of these, in order, within a window that holds its start and not its end.
fn most_within(times: &[DateTime<Utc>], window: TimeDelta) -> usize {
    let within = |from: &DateTime<Utc>| times.iter().filter(|at| **at >= *from && **at - *from < window).count();
    times.iter().map(within).max().unwrap_or(0)
}

/// Drafts of the last day that wait for a person, by account.
fn pending(posts: &[PostRecord], now: DateTime<Utc>) -> BTreeMap<&str, usize> {
    let mut counts = BTreeMap::new();
    for post in posts {
        let is_recent = now - post.created_at < TimeDelta::hours(24);
        if post.flow == Flow::Inbox && is_recent && !has_ended(post) {
            *counts.entry(&*post.account).or_default() += 1;
        }
    }
    counts
}

fn has_ended(post: &PostRecord) -> bool {
    !post.published.is_empty() || post.discarded || post.fail_reason.is_some()
}
