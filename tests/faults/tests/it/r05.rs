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
    world::{CHUNK, file_post, pull_post, video_bytes},
};
use patchbay_simulator_tiktok::simkit::{Action, Fault, When};

use crate::posts::{End, doubles, end_of, new_account};

/// Posts of one account. With those inits whose answer is lost, they stay below the 6 inits of a minute and the 15 of a
/// day: limits are another row's question.
const POSTS_EACH: usize = 4;
/// Longest time in which no post of all ends.
const PATIENCE: Duration = Duration::from_secs(180);
/// Of a hundred calls so many lose their answer.
const LOST: u8 = 30;

struct Asked {
    id: String,
    title: String,
    is_pull: bool,
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
    world.program = world.program.with("PATCHBAY__WORKERS__CONCURRENCY", "32");
    let (_host, api) = world.start().await;
    let small = api.upload(video_bytes(2_500_000, seed)).await;
    let large = api.upload(video_bytes(2 * CHUNK, seed)).await;
    let (mut wanted, mut pullers) = (Vec::new(), BTreeSet::new());
    for number in 0..accounts {
        let account = new_account(&world, &api, number).await;
        // An account sends files or is pulled from, so that its calls tell which.
        let is_pull = number % 2 == 0;
        if is_pull {
            pullers.insert(format!("fresh_{number}"));
        }
        for post in 0..POSTS_EACH {
            let title = format!("post {post} of {number}");
            let media = if post == 0 { &large } else { &small };
            let body = match is_pull {
                true => pull_post(&account, &title),
                false => file_post(&account, &title, media),
            };
            wanted.push((title, is_pull, body));
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
        .map(async |(title, is_pull, body)| Asked {
            id: api.publish(&body).await,
            title,
            is_pull,
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
    figures.at_least(
        "answers to init and chunk lost, %",
        20,
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
    no_verdict: usize,
}

impl Tally {
    async fn look(&mut self, api: &Api, post: &Asked) {
        let (end, state) = end_of(api, &post.id).await;
        let journal = api.journal(&post.id).await;
        let open = journal.iter().filter(|call| call["answered_at"].is_null()).count();
        match end {
            End::Published => self.published.push(post.title.clone()),
            End::Unconfirmed => self.unconfirmed += 1,
            End::Stuck => self.stuck += 1,
            End::Failed => println!("{}: {}", post.title, state["failure"]),
        }
        if post.is_pull {
            self.open_pulls += open;
        } else {
            self.files += 1;
            self.files_published += usize::from(end == End::Published);
        }
        // A question that is open in the journal is answered by the post: it was seen, or it is shown as not known.
        let is_answered = matches!(end, End::Published | End::Unconfirmed);
        self.no_verdict += usize::from(open > 0 && !is_answered);
        // And nobody says unconfirmed where there is no question.
        self.no_verdict += usize::from(open == 0 && end == End::Unconfirmed);
    }
}

fn not_there(world: &World, titles: &[String]) -> usize {
    titles.iter().filter(|title| world.published(title) == 0).count()
}
