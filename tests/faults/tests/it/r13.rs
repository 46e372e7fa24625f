//! Poison never blocks (R13): signed bodies that cannot be read, and such that make their reader panic, end its process,
//! never come to an end or take all memory, are put aside, and everything else is read.

use std::time::Duration;

use patchbay_faults::{
    Figures, Fleet, Load, Scale, Server, Webhooks,
    history::{all_read, check},
    webhooks::{Kind, Webhook},
    world_on, world_on_sqlite,
};
use patchbay_rig::{Database, World, seed, until};

/// Longest wait for the rest: one body that never comes to an end is given up after 20 s.
const PATIENCE: Duration = Duration::from_secs(600);
/// Largest body that a host takes.
const LARGEST: usize = 256 * 1024;
/// Numbers of those that come before any poison begin here.
const BEFORE: usize = 10_000_000;
/// Claims of a body that ends its readers, before it is put aside.
const CLAIMS: u64 = 3;

#[tokio::test]
async fn r13_poison_never_blocks_hosts_on_postgres() {
    let Some(server) = Server::start().await else { return };
    let world = world_on(&server).await;
    let fleet = Fleet::start(&world, 2).await;
    let scale = Scale::of_run();
    let deadly = Deadly {
        every: scale.pick(100, 100),
        of: scale.pick(400, 10_000),
    };
    is_put_aside("R13 postgres", &world, fleet, deadly, 100).await;
}

#[tokio::test]
async fn r13_poison_never_blocks_a_host_on_sqlite() {
    let world = world_on_sqlite().await;
    let fleet = Fleet::start(&world, 1).await;
    let scale = Scale::of_run();
    let deadly = Deadly {
        every: 100,
        of: scale.pick(400, 2_000),
    };
    is_put_aside("R13 sqlite", &world, fleet, deadly, 60).await;
}

/// Every worker of a host claims and reads at the same time as the others, and what ends one of them ends all.
#[tokio::test]
async fn r13_what_was_claimed_beside_a_deadly_one_is_read() {
    let world = world_on_sqlite().await;
    let seed = seed();
    let (host, api) = world.start().await;
    world.connect(&api, "ada_public").await;
    host.kill().await;
    let webhooks = Webhooks::of(&world, &world.tiktok.account("ada_public").unwrap().open_id);
    let receiver = world.program.start(&["serve", "--api-only"], world.program.port).await;
    let maker = webhooks.clone();
    let load = Load {
        total: Some(64),
        make: Box::new(move |number| match number {
            // Aborts.
            32 => maker.deadly(number, 0),
            _ => maker.healthy(number),
        }),
        ..Load::new(&webhooks, std::slice::from_ref(&receiver.url), 1_000, seed)
    };
    let history = load.start().ended().await;
    receiver.kill().await;
    let mut deaths = 0;
    loop {
        let mut host = world.program.spawn(&["serve"]);
        let survives = until("the host has read all, or ends", async || {
            let ended = host.try_wait().unwrap().is_some();
            (ended || is_idle(&world).await).then_some(!ended)
        });
        if survives.await {
            host.start_kill().unwrap();
            host.wait().await.unwrap();
            break;
        }
        deaths += 1;
        world.database.end_leases("ingest", u32::MAX).await;
    }
    let verdict = check(&world.database, &history).await;
    let mut figures = Figures::new("R13 neighbours", seed);
    figures.is("hosts that the deadly one ended", CLAIMS, deaths);
    figures.is("poison not put aside", 0, verdict.not_dead);
    verdict.report(&mut figures);
    figures.finish();
}

/// One webhook in so many is deadly.
struct Deadly {
    every: usize,
    of: usize,
}

async fn is_put_aside(name: &str, world: &World, mut fleet: Fleet, deadly: Deadly, rate: u32) {
    let seed = seed();
    world.connect(&fleet.api, "ada_public").await;
    let webhooks = Webhooks::of(world, &world.tiktok.account("ada_public").unwrap().open_id);
    let Deadly { every, of } = deadly;
    // First as it is without poison.
    let maker = webhooks.clone();
    let calm = Load {
        total: Some(of / 4),
        make: Box::new(move |number| maker.healthy(number + BEFORE)),
        ..Load::new(&webhooks, &fleet.urls, rate, seed)
    };
    calm.start().ended().await;
    all_read(&world.database, PATIENCE).await;
    let without = times_to_read(&world.database).await;

    let unreadable = unreadable(&webhooks);
    let maker = webhooks.clone();
    let load = Load {
        total: Some(of),
        make: Box::new(move |number| match number % every {
            // Each in turn.
            7 => maker.deadly(number, number / every),
            n if n % 5 == 3 => unreadable
                .get(number / 5)
                .cloned()
                .unwrap_or_else(|| maker.healthy(number)),
            _ => maker.healthy(number),
        }),
        ..Load::new(&webhooks, &fleet.urls, rate, seed)
    }
    .start();
    let mut deaths = 0;
    while !(load.is_over() && is_idle(world).await) {
        deaths += fleet.revive().await;
        // So that nobody waits long for the leases of the dead. Those of the living stay.
        world.database.end_silent_leases("ingest").await;
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let history = load.ended().await;
    all_read(&world.database, PATIENCE).await;

    let verdict = check(&world.database, &history).await;
    let count = |kind| history.webhooks.iter().filter(|webhook| webhook.kind == kind).count();
    let mut figures = Figures::new(name, seed);
    let with = times_to_read(&world.database).await.split_off(without.len());
    figures.told("p99 until one was read, without poison", "", p99(without));
    figures.told("p99 with poison", "≤ 2 x", p99(with));
    figures.told("healthy webhooks", "", count(Kind::Healthy));
    figures.told("unreadable and deadly ones", "", count(Kind::Poison) + count(Kind::Odd));
    figures.at_least("hosts that the deadly ones ended", CLAIMS as usize, deaths);
    figures.is("poison not put aside", 0, verdict.not_dead);
    figures.at_most("claims of one that is put aside", CLAIMS, verdict.most_claims_of_dead);
    verdict.report(&mut figures);
    figures.is("hosts that are down", 0, fleet.crashed());
    println!("{:?}, {:?}", verdict.codes, history.outcomes());
    figures.finish();
}

/// How long webhooks were stored before they were read, in their order.
async fn times_to_read(database: &Database) -> Vec<Duration> {
    let took = match database {
        Database::Sqlite(_) => "finished_at - created_at",
        Database::Postgres(_) => "CAST(EXTRACT(EPOCH FROM finished_at - created_at) * 1000000 AS BIGINT)",
    };
    let select = format!(
        "SELECT CAST({took} AS TEXT) FROM jobs WHERE kind = 'ingest' AND status = 'done' ORDER BY created_at, id"
    );
    let times = database.texts(&select).await;
    times
        .iter()
        .map(|took| Duration::from_micros(took.parse().unwrap_or_default()))
        .collect()
}

fn p99(mut times: Vec<Duration>) -> String {
    times.sort();
    let p99 = times.get((times.len() * 99).div_ceil(100).saturating_sub(1));
    p99.map_or("none".to_owned(), |time| format!("{:.2} s", time.as_secs_f64()))
}

async fn is_idle(world: &World) -> bool {
    let open = "jobs WHERE kind = 'ingest' AND status IN ('ready', 'running')";
    world.database.count(open).await == 0
}

trait Poison {
    fn deadly(&self, number: usize, turn: usize) -> Webhook;
}

impl Poison for Webhooks {
    /// Good news of a post, with a word that only the program with failpoints knows.
    fn deadly(&self, number: usize, turn: usize) -> Webhook {
        // Memory can be had, and then the news is as good as any.
        let actions = [
            ("abort", Kind::Poison),
            ("panic", Kind::Poison),
            ("alloc", Kind::Odd),
            ("loop", Kind::Poison),
        ];
        let (action, kind) = actions[turn % actions.len()];
        let body = self.body(&format!("patchbay-poison:{action}-{number}"));
        self.webhook(kind, body, "")
    }
}

/// Bodies with a good signature that are not news.
fn unreadable(webhooks: &Webhooks) -> Vec<Webhook> {
    let poison = |body: Vec<u8>| webhooks.webhook(Kind::Poison, body, "");
    let odd = |body: String| webhooks.webhook(Kind::Odd, body, "");
    let mut all = Vec::new();
    for body in [
        "",
        " ",
        "null",
        "[]",
        "\"text\"",
        "{",
        "{}",
        "{\"event\":1}",
        "\u{feff}{}",
    ] {
        all.push(poison(body.into()));
    }
    all.push(poison(vec![0; 64]));
    all.push(poison(vec![0xff; 1024]));
    all.push(poison(vec![b'['; LARGEST]));
    all.push(poison(b"{\"a\":".repeat(LARGEST / 5)));
    let mut deep = webhooks.fields("{}");
    deep["content"] = (0..100).fold(deep["content"].clone(), |inner, _| serde_json::json!([inner]));
    all.push(odd(deep.to_string()));
    let with = |name: &str, value: serde_json::Value| {
        let mut fields = webhooks.fields("{\"publish_id\":\"odd\"}");
        fields[name] = value;
        odd(fields.to_string())
    };
    for time in [
        i64::MAX,
        i64::MIN,
        -8_334_601_228_800,
        8_210_266_876_799,
        253_402_300_800,
        -62_135_596_801,
        0,
    ] {
        all.push(with("create_time", time.into()));
    }
    for name in ["event", "user_openid", "create_time", "client_key", "content"] {
        all.push(with(name, serde_json::json!({ "a": [null] })));
        all.push(with(name, "x".repeat(4_096).into()));
        all.push(with(name, "nul \u{0} and \u{1f600} and '); DROP TABLE jobs; --".into()));
    }
    // What JSON can say and a database may not take.
    for content in [
        r#"{"publish_id":"odd-1","note":"\u0000"}"#,
        r#"{"publish_id":"odd-2","\u0000":1}"#,
        r#"{"publish_id":"odd-3","note":"\ud800"}"#,
        r#"{"publish_id":"odd-4","note":1e308}"#,
        r#"{"publish_id":"odd-5","note":1e999}"#,
        r#"{"publish_id":"odd-6","note":123456789012345678901234567890}"#,
        r#"{"publish_id":"odd\u0000-7"}"#,
        r#"{"publish_id":"odd-8","publish_id":"odd-9"}"#,
        r#"{"publish_id":"odd-10","post_id":"\u0000"}"#,
        r#"{"publish_id":"odd-11","post_id":99999999999999999999999999}"#,
    ] {
        all.push(odd(webhooks.fields(content).to_string()));
        all.push(odd(format!("{{\"event\":\"some.other\",\"content\":{content}}}")));
    }
    let wide = "x".repeat(LARGEST - webhooks.fields("").to_string().len());
    all.push(odd(webhooks.fields(&wide).to_string()));
    let many: String = (0..10_000).map(|n| format!("\"k{n}\":{n},")).collect();
    all.push(odd(webhooks
        .fields(&format!("{{{many}\"publish_id\":\"odd-12\"}}"))
        .to_string()));
    assert!(all.iter().all(|webhook| webhook.body.len() <= LARGEST));
    all
}
