//! R04: hosts are killed at each of the 13 points of a publish, for files in several chunks and for pulls. Afterwards
//! every post is there once, or its outcome is shown as not known.

use std::sync::Mutex;

use futures_util::future::join_all;
use patchbay_faults::{Figures, Scale, world, world_on_sqlite};
use patchbay_rig::{
    Api, World, on_postgres, seed,
    world::{CHUNK, file_post, pull_post, video_bytes},
};
use patchbay_simulator_tiktok::simkit::Random;

use crate::posts::{End, armed, doubles, end_leases, end_of, new_account};

/// The points, with how often each is passed at the least, by a file of three chunks and by a pull.
const POINTS: [(&str, u64, u64); 13] = [
    ("pub.intent", 1, 1),
    ("pub.reserved", 6, 3),
    ("pub.init_marked", 1, 1),
    ("pub.init_sent", 1, 1),
    ("pub.init_received", 1, 1),
    ("pub.init_recorded", 1, 1),
    ("pub.chunk_sent", 2, 0),
    ("pub.chunk_recorded", 2, 0),
    ("pub.last_sent", 1, 0),
    ("pub.last_recorded", 1, 0),
    ("pub.status_received", 2, 2),
    ("pub.final", 1, 1),
    ("pub.notified", 1, 1),
];
/// Where a pull is marked as about to be sent and nobody has kept an answer: it may be there, and cannot be found.
const UNKNOWABLE: [&str; 3] = ["pub.init_marked", "pub.init_sent", "pub.init_received"];
/// The signal of an abort.
const SIGABRT: i32 = 6;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Road {
    File,
    Pull,
}

#[tokio::test]
async fn r04_on_sqlite() {
    let seed = seed();
    let (worlds, rounds) = scale();
    let runs =
        (0..worlds).map(async |number| kill_at_every_point(world_on_sqlite().await, rounds, seed + number).await);
    report("R04 sqlite", seed, &join_all(runs).await);
}

#[tokio::test]
async fn r04_on_postgres() {
    let seed = seed();
    let (worlds, rounds) = scale();
    let tallies = Mutex::new(Vec::new());
    let runs = (0..worlds).map(|number| {
        let tallies = &tallies;
        on_postgres(async move |database| {
            let tally = kill_at_every_point(world(database).await, rounds, seed + number).await;
            tallies.lock().unwrap().push(tally);
        })
    });
    join_all(runs).await;
    let tallies = tallies.into_inner().unwrap();
    // Without PostgreSQL there is nothing to tell.
    if !tallies.is_empty() {
        report("R04 postgres", seed, &tallies);
    }
}

/// Worlds at once, since most of a kill is waiting, and kills at each point and on each road in one of them.
fn scale() -> (u64, usize) {
    Scale::of_run().pick((1, 1), (4, 5))
}

async fn kill_at_every_point(world: World, rounds: usize, seed: u64) -> Tally {
    let random = Random::seeded(seed);
    let (host, api) = world.start().await;
    let media = api.upload(video_bytes(3 * CHUNK + 1_234, seed)).await;
    let places: Vec<_> = POINTS
        .into_iter()
        .flat_map(|(point, file, pull)| [(point, Road::File, file), (point, Road::Pull, pull)])
        .filter(|(_, _, most)| *most > 0)
        .collect();
    // Before there is a host that is to die: work of an earlier post may bring it to its point at any moment.
    let mut accounts = Vec::new();
    for number in 0..rounds * places.len() {
        accounts.push(new_account(&world, &api, number).await);
    }
    host.kill().await;

    let mut tally = Tally::default();
    for (account, (point, road, most)) in accounts.iter().zip(places.iter().cycle()) {
        let at = random.between(1, most + 1);
        tally.kill(&world, &api, (point, at), (*road, account), &media).await;
    }
    tally.doubles = doubles(&world, tally.ends.iter().map(|kill| &kill.title));
    tally
}

fn report(row: &str, seed: u64, tallies: &[Tally]) {
    let (worlds, rounds) = scale();
    let ends = || tallies.iter().flat_map(|tally| &tally.ends);
    let count = |end| ends().filter(|kill| kill.end == end).count();
    let sum = |of: fn(&Tally) -> usize| tallies.iter().map(of).sum::<usize>();
    let unknowable = ends().filter(|kill| kill.end == End::Unconfirmed && kill.may_be_unknown());
    let decidable = ends().count() - unknowable.count();
    let least = POINTS.map(|(point, ..)| ends().filter(|kill| kill.point == point).count());
    let mut figures = Figures::new(row, seed);
    figures.told("kills", "", ends().count());
    figures.at_least(
        "kills at each point",
        worlds as usize * rounds,
        least.into_iter().min().unwrap_or(0),
    );
    figures.is("doubles", 0, sum(|tally| tally.doubles));
    figures.is("stuck", 0, count(End::Stuck));
    figures.is("failed without a reason", 0, sum(|tally| tally.without_reason));
    figures.is(
        "unconfirmed without an open question",
        0,
        sum(|tally| tally.without_question),
    );
    figures.told("unconfirmed", "shown", count(End::Unconfirmed));
    figures.at_least(
        "finished alone, of the decidable, %",
        99.0,
        count(End::Published) as f64 * 100.0 / decidable as f64,
    );
    figures.finish();
}

#[derive(Default)]
struct Tally {
    ends: Vec<Kill>,
    without_reason: usize,
    without_question: usize,
    doubles: usize,
}

struct Kill {
    point: &'static str,
    road: Road,
    title: String,
    end: End,
}

impl Kill {
    fn may_be_unknown(&self) -> bool {
        self.road == Road::Pull && UNKNOWABLE.contains(&self.point)
    }
}

impl Tally {
    /// One post, one kill, and the end.
    async fn kill(
        &mut self,
        world: &World,
        api: &Api,
        (point, at): (&'static str, u64),
        (road, account): (Road, &str),
        media: &str,
    ) {
        let number = self.ends.len();
        let title = format!("{point} {at} {road:?} {number}");
        let mut host = armed(&world.program, &format!("{point}=abort@{at}")).serve().await;
        let wanted = match road {
            Road::File => file_post(account, &title, media),
            Road::Pull => pull_post(account, &title),
        };
        let key = format!("kill-{number}");
        // A client that was hung up on asks again under the same key, as one that was answered may.
        let asked = api.try_post(&key, &wanted).await;
        let status = host.ended().await;
        assert_eq!(
            std::os::unix::process::ExitStatusExt::signal(&status),
            Some(SIGABRT),
            "{title}: {status}"
        );
        let host = world.program.serve().await;
        end_leases(&world.database).await;
        let id = id_of(&api.try_post(&key, &wanted).await.unwrap().ok());
        if let Ok(asked) = asked {
            assert_eq!(id_of(&asked.ok()), id, "{title}: one key, one post");
        }
        let (end, state) = end_of(api, &id).await;
        let journal = api.journal(&id).await;
        match end {
            End::Failed => self.without_reason += usize::from(!state["failure"]["code"].is_string()),
            End::Unconfirmed => {
                let is_open = journal.iter().any(|call| call["answered_at"].is_null());
                self.without_question += usize::from(!is_open);
            }
            End::Published | End::Stuck => {}
        }
        println!("{title}: {end:?} {}", state["failure"]);
        host.kill().await;
        self.ends.push(Kill {
            point,
            road,
            title,
            end,
        });
    }
}

fn id_of(post: &serde_json::Value) -> String {
    post["id"].as_str().unwrap().to_owned()
}
