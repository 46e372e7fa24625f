//! Clock jumps are harmless (R19): a host whose wall clock is set ahead or back keeps its leases, its work, its tokens,
//! and its judgement of signatures.

use std::time::Duration;

use patchbay_faults::{
    Figures, Fleet, Load, Proxy, Scale, Server, WallClock, Webhooks, claims,
    history::{all_read, check},
    webhooks::PATH,
    world_on, world_on_sqlite,
};
use patchbay_rig::{
    Database, World,
    api::http,
    seed, until,
    world::{call_back, file_post, pull_post, video_bytes},
};
use patchbay_simulator_tiktok::{
    Account,
    simkit::{Clock, Random},
};
use tokio::time::timeout;

use crate::{
    posts::{End, doubles, end_of, new_account},
    tokens::{reauths, uses},
};

/// Longest wait for the rest.
const PATIENCE: Duration = Duration::from_secs(180);
/// By which a clock is wrong.
const JUMPS: [&str; 5] = ["+1h", "-1h", "+1d", "-1d", "-10m"];
/// Posts that are under way all the time.
const POSTS: usize = 3;

#[tokio::test]
async fn r19_a_host_whose_clock_jumps_works_on_as_the_others_do() {
    let Some(server) = Server::start().await else { return };
    let world = world_on(&server).await;
    jump_about("R19 postgres", world, 2).await;
}

#[tokio::test]
async fn r19_a_host_on_sqlite_whose_clock_jumps_works_on() {
    jump_about("R19 sqlite", world_on_sqlite().await, 1).await;
}

async fn jump_about(name: &str, mut world: World, hosts: usize) {
    let seed = seed();
    let random = Random::seeded(seed);
    // Uploads get nowhere, so that leases are held for long.
    let line = Proxy::before(world.upload_tap.address).await;
    let hosts_of = &world.program.env[HOSTS];
    let hosts_of = hosts_of.replace(&world.upload_tap.address.to_string(), &line.address.to_string());
    world.program = world.program.with(HOSTS, hosts_of);
    let Some((program, clock)) = WallClock::of(world.program.clone()) else {
        return;
    };
    let mut fleet = Fleet::of(&world, vec![program]).await;
    claims::watch(&world.database, "publish").await;
    let media = fleet.api.upload(video_bytes(2_500_000, seed)).await;
    line.partition();
    let mut posts = Vec::new();
    for number in 0..POSTS {
        let account = new_account(&world, &fleet.api, number).await;
        let title = format!("all the time {number}");
        posts.push((fleet.api.publish(&file_post(&account, &title, &media)).await, title));
    }
    until("every post is being uploaded", async || {
        let running = world.database.count(RUNNING).await;
        (running == POSTS as u64 && world.calls("video_init") == POSTS).then_some(())
    })
    .await;
    for _ in 1..hosts {
        fleet.add(world.replica()).await;
    }
    let webhooks = Webhooks::of(&world, &world.tiktok.account("fresh_0").unwrap().open_id);
    let load = Load::new(&webhooks, &fleet.urls, 30, seed).start();

    let (mut wrong_answers, mut broken_flows, mut told) = (Vec::new(), Vec::new(), 0);
    let rounds = Scale::of_run().pick(JUMPS.len(), 4 * JUMPS.len());
    for round in 0..rounds {
        // Each in turn, then by chance.
        let by_chance = usize::try_from(random.between(0, JUMPS.len() as u64)).unwrap();
        let jump = JUMPS.get(round).copied().unwrap_or(JUMPS[by_chance]);
        let person = format!("jumping_{round}");
        world.tiktok.put_account(Account::named(&person, &person));
        let begun = world.consent(&fleet.api, &person).await;
        let lease = lease_end(&world.database).await;
        clock.shift(jump);
        let ready = fleet.api.get("/readyz").await;
        told += usize::from(ready.status == 503 && ready.json()["checks"]["clock"] != "ok");
        // Signed now, and too long ago, and in the time that this host's clock shows.
        for (age, wanted) in [(0, 200), (400, 401), (-400, 401), (-shift_of(jump), 401)] {
            let status = sent(&webhooks, &fleet.urls[0], round, age).await;
            if status != wanted {
                wrong_answers.push(format!("{jump}: signed {age} s ago: {status}"));
            }
        }
        let landed = call_back(&fleet.api, &begun).await.header("location");
        match landed.split_once("account=") {
            Some((_, rest)) => {
                let account = rest.split('&').next().unwrap();
                let title = format!("in odd times {round}");
                posts.push((fleet.api.publish(&pull_post(account, &title)).await, title));
            }
            None => broken_flows.push(format!("{jump}: {landed}")),
        }
        load.more_accepted(20).await;
        until("leases are renewed", async || {
            (lease_end(&world.database).await != lease).then_some(())
        })
        .await;
        load.more_accepted(20).await;
    }
    line.heal();
    // The clock stays wrong.
    let finished = timeout(PATIENCE, load.finish()).await;
    let history = finished.expect("every webhook is answered 200 at last");
    all_read(&world.database, PATIENCE).await;
    let mut published = 0;
    for (id, _) in &posts {
        published += usize::from(end_of(&fleet.api, id).await.0 == End::Published);
    }
    let claims = claims::all(&world.database).await;

    let mut figures = Figures::new(name, seed);
    figures.is("clock jumps that the host told of", rounds, told);
    let taken_over = claims.iter().filter(|claim| claim.is_takeover).count();
    figures.is("leases that ended early", 0, taken_over);
    println!("{wrong_answers:?} {broken_flows:?}");
    figures.is("signatures that were judged wrongly", 0, wrong_answers.len());
    figures.is("connects that a jump ended", 0, broken_flows.len());
    figures.is("tokens that were renewed early", 0, uses(&world).granted);
    figures.is("accounts to be connected again", 0, reauths(&world.database).await);
    figures.is("published", POSTS + rounds, published);
    figures.is("doubles", 0, doubles(&world, posts.iter().map(|(_, title)| title)));
    check(&world.database, &history).await.report(&mut figures);
    figures.is("hosts that ended by themselves", 0, fleet.crashed());
    figures.finish();
}

/// Where the program is told which addresses stand for the platform's.
const HOSTS: &str = "PATCHBAY__PROVIDERS__TIKTOK__SIMULATOR_HOSTS";
/// Those that are being uploaded. Others come and go.
const RUNNING: &str = "jobs WHERE kind = 'publish' AND status = 'running'";

/// When the first lease ends, as the database has it.
async fn lease_end(database: &Database) -> String {
    let first = format!("SELECT CAST(MIN(due_at) AS TEXT) FROM {RUNNING}");
    database.texts(&first).await.remove(0)
}

/// The status of the answer to a webhook that was signed so many seconds ago.
async fn sent(webhooks: &Webhooks, host: &str, round: usize, age: i64) -> u16 {
    let body = webhooks.body(&format!("v_pub_file~v2-1.9{round:018}"));
    let signature = webhooks.signature_at(Clock::running().now().timestamp() - age, body.as_bytes());
    // A database that is slow just now is no judgement.
    until("the host judges", async || {
        let request = http()
            .post(format!("{host}{PATH}"))
            .header("content-type", "application/json")
            .header("tiktok-signature", &signature);
        let status = request.body(body.clone()).send().await.unwrap().status().as_u16();
        (status != 503).then_some(status)
    })
    .await
}

/// Seconds of a jump.
fn shift_of(jump: &str) -> i64 {
    let (number, unit) = jump.split_at(jump.len() - 1);
    let unit = match unit {
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        _ => unreachable!("the jumps are in these units"),
    };
    number.parse::<i64>().unwrap() * unit
}
