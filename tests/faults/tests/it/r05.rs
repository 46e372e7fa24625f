//! R05: the platform takes what it is sent, and in three of ten cases its answer is lost. Nothing is sent blindly again,
//! and every open question has an answer in the journal: seen to have happened, or shown as unconfirmed.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use futures_util::{StreamExt, stream};
use patchbay_faults::{Figures, Scale, world, world_on_sqlite};
use patchbay_rig::{
    Api, World, on_postgres, seed,
    world::{CHUNK, file_post, hosted_post, pull_post, video_bytes},
};
use patchbay_simulator_tiktok::simkit::{Action, Fault, When};
use serde_json::Value;

use crate::posts::{End, doubles, end_of, new_account};

/// Posts of one account. With those inits whose answer is lost, they stay below the 6 inits of a minute and the 15 of a
/// day: limits are another row's question.
const POSTS_EACH: usize = 4;
/// Longest time in which no post of all ends.
const PATIENCE: Duration = Duration::from_secs(180);
/// Of a hundred calls so many lose their answer.
const LOST: u8 = 30;

/// How the media reach the platform.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Road {
    /// Sent in chunks.
    File,
    /// Fetched from somewhere.
    Pull,
    /// Fetched from the host.
    Hosted,
}

struct Asked {
    id: String,
    title: String,
    road: Road,
}

#[tokio::test]
async fn r05_on_sqlite() {
    lose_answers("R05 sqlite", world_on_sqlite().await, 50).await;
}

#[tokio::test]
async fn r05_on_postgres() {
    on_postgres(async |database| lose_answers("R05 postgres", world(database).await, 250).await).await;
}

async fn lose_answers(row: &str, mut world: World, most: usize) {
    let seed = seed();
    let accounts = Scale::of_run().pick(10, most);
    // Most of a post is waiting.
    world.program = world
        .reachable()
        .with("PATCHBAY__WORKERS__CONCURRENCY", Scale::of_run().pick("16", "32"));
    let (_host, api) = world.start().await;
    let small = api.upload(video_bytes(2_500_000, seed)).await;
    let large = api.upload(video_bytes(2 * CHUNK, seed)).await;
    let (mut wanted, mut pullers) = (Vec::new(), BTreeSet::new());
    for number in 0..accounts {
        let account = new_account(&world, &api, number).await;
        // An account has posts of one road, so that its calls tell which.
        let road = [Road::Pull, Road::File, Road::Hosted, Road::File][number % 4];
        if road != Road::File {
            pullers.insert(format!("fresh_{number}"));
        }
        for post in 0..POSTS_EACH {
            let title = format!("post {post} of {number}");
            let media = if post == 0 { &large } else { &small };
            let body = match road {
                Road::Pull => pull_post(&account, &title),
                Road::Hosted => hosted_post(&account, &title, &small),
                Road::File => file_post(&account, &title, media),
            };
            wanted.push((title, road, body));
        }
    }
    for (salt, op) in ["video_init", "upload", "status", "creator_info"]
        .into_iter()
        .enumerate()
    {
        let lost = Fault::new(op, Action::Drop { when: When::After });
        world.tiktok.faults().put(op, lost.percent(LOST, seed + salt as u64));
    }
    let asked: Vec<Asked> = stream::iter(wanted)
        .map(async |(title, road, body)| Asked {
            id: api.publish(&body).await,
            title,
            road,
        })
        .buffer_unordered(8)
        .collect()
        .await;

    // How long a post waits after a fault is another question.
    let hurry = async {
        loop {
            world.database.hurry("publish").await;
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    };
    let mut tally = Tally::default();
    let look = async {
        // A post may wait long for its turn. It is stuck when no other moves either.
        let mut left = (usize::MAX, Instant::now());
        while left.0 > 0 && left.1.elapsed() < PATIENCE {
            tokio::time::sleep(Duration::from_secs(1)).await;
            let now = world
                .database
                .count("posts WHERE status IN ('queued', 'publishing')")
                .await as usize;
            if now != left.0 {
                left = (now, Instant::now());
            }
        }
        for post in &asked {
            tally.look(&api, post).await;
        }
    };
    tokio::select! {
        () = hurry => unreachable!("it has no end"),
        () = look => {}
    }
    let lost_inits = world.tiktok.journal().count(|call| {
        call.op == "video_init" && call.cut && call.account.as_ref().is_some_and(|name| pullers.contains(name))
    });
    let hits = |op: &str| world.tiktok.faults().hits(op) as usize;
    let calls = world.calls("video_init") + world.calls("upload");
    let mut figures = Figures::new(row, seed);
    figures.told("posts", "1000", asked.len());
    // Chance, so with room below 30: that enough was lost for the rest to mean something.
    figures.at_least(
        "answers to init and chunk lost, %",
        10,
        (hits("video_init") + hits("upload")) * 100 / calls,
    );
    figures.is("doubles", 0, doubles(&world, asked.iter().map(|post| &post.title)));
    figures.is("stuck", 0, tally.stuck);
    figures.is("pulls with an answer lost", lost_inits, tally.open_pulls);
    figures.is("open questions without a verdict", 0, tally.no_verdict);
    figures.is(
        "said to be published, and not there",
        0,
        not_there(&world, &tally.published),
    );
    figures.at_least(
        "files that finished alone, %",
        99,
        tally.files_published * 100 / tally.files.max(1),
    );
    figures.told("begun again: nothing had been fetched", "shown", tally.begun_again);
    figures.told("settled by a webhook", "shown", tally.by_webhook);
    figures.told("unconfirmed, of pulls", "shown", tally.unconfirmed);
    figures.finish();
}

#[derive(Default)]
struct Tally {
    published: Vec<String>,
    stuck: usize,
    unconfirmed: usize,
    files: usize,
    files_published: usize,
    open_pulls: usize,
    begun_again: usize,
    by_webhook: usize,
    no_verdict: usize,
}

impl Tally {
    async fn look(&mut self, api: &Api, post: &Asked) {
        let (end, state) = end_of(api, &post.id).await;
        let journal = api.journal(&post.id).await;
        let observations = api.observations(&post.id).await;
        let open: Vec<_> = journal.iter().filter(|call| call["answered_at"].is_null()).collect();
        let verdicts = |call: &Value| observations.iter().filter(|seen| seen["step"] == call["step"]).count();
        match end {
            End::Published => self.published.push(post.title.clone()),
            End::Unconfirmed => self.unconfirmed += 1,
            End::Stuck => self.stuck += 1,
            End::Failed => println!("{}: {}", post.title, state["failure"]),
        }
        let seen = |source: &str, outcome: &str| {
            let all = observations.iter();
            all.filter(|seen| seen["source"] == source && seen["outcome"] == outcome)
                .count()
        };
        self.begun_again += seen("pull_url", "did_not_happen");
        self.by_webhook += seen("webhook", "happened");
        if post.road != Road::File {
            self.open_pulls += open.len();
        } else {
            self.files += 1;
            self.files_published += usize::from(end == End::Published);
        }
        // What became of each call without an answer is written beside it.
        self.no_verdict += open.iter().filter(|call| verdicts(call) == 0).count();
        // And nobody says unconfirmed where there is no question.
        self.no_verdict += usize::from(open.is_empty() && end == End::Unconfirmed);
        let says_unknown = observations.last().is_some_and(|seen| seen["outcome"] == "unknown");
        self.no_verdict += usize::from(says_unknown != (end == End::Unconfirmed));
    }
}

fn not_there(world: &World, titles: &[String]) -> usize {
    titles.iter().filter(|title| world.published(title) == 0).count()
}
