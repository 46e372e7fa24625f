//! The hostile component in a real host beside others' work (T81, T82, T89): how long others wait meanwhile, what the host keeps
//! of it in memory and in its log. Lane `wasm` of `tests/run` builds the components.

use std::{
    fmt::Write as _,
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use patchbay_rig::{
    Api, Host, World,
    components::{TIKTOK_HOSTS, component},
    hostile::{POSTED, Platform, SECRET},
    until_within,
    world::pull_post,
};
use patchbay_simulator_tiktok::simkit::Random;
use serde_json::json;
use sha2::{Digest, Sha256};

const MIB: u64 = 1 << 20;
/// A host that is not optimised, on a machine that has other work.
const PATIENCE: Duration = Duration::from_mins(8);
/// Accounts of the hostile component, whose posts run beside each other.
const ACCOUNTS: usize = 3;

/// Puts components into a folder of the world; the folder.
pub fn put_components(world: &World, ids: &[&str]) -> String {
    let folder = world.dir.path().join("components");
    std::fs::create_dir(&folder).unwrap();
    let mut pins = String::new();
    for id in ids {
        let (name, hosts, more) = match *id {
            "tiktok" => (
                "patchbay-component-tiktok",
                &TIKTOK_HOSTS[..],
                "replaces_built_in = true",
            ),
            _ => ("patchbay-hostile", &["api.hostile.example"][..], ""),
        };
        let bytes = std::fs::read(component(name)).unwrap();
        std::fs::write(folder.join(format!("{id}.wasm")), &bytes).unwrap();
        let digest = hex::encode(Sha256::digest(bytes));
        writeln!(
            pins,
            "[{id}]\nfile = \"{id}.wasm\"\nsha256 = \"{digest}\"\nhosts = {hosts:?}\n{more}"
        )
        .unwrap();
    }
    std::fs::write(folder.join("components.toml"), pins).unwrap();
    folder.display().to_string()
}

#[tokio::test]
async fn t81_t82_t89_a_hostile_component_costs_others_little_and_leaves_nothing() {
    let mut world = World::on_sqlite().await;
    let platform = Platform::start().await.unwrap();
    let folder = put_components(&world, &["tiktok", "hostile"]);
    world.program = world
        .program
        .with("PATCHBAY__LOG__FILTER", "info")
        .with("PATCHBAY__WASM__DIR", folder)
        .with("PATCHBAY__WASM__COMPILE_SECONDS", "300")
        .with("PATCHBAY__WASM__WALL_SECONDS", "600")
        .with("PATCHBAY__PROVIDERS__HOSTILE__CLIENT_ID", "client")
        .with("PATCHBAY__PROVIDERS__HOSTILE__CLIENT_SECRET", SECRET)
        .with("PATCHBAY__PROVIDERS__HOSTILE__ENVIRONMENT", "simulator")
        .with(
            "PATCHBAY__PROVIDERS__HOSTILE__SIMULATOR_HOSTS",
            format!("api.hostile.example={}", platform.address),
        );
    let (good, bad) = (world.key_of("good").await, world.key_of("bad").await);
    let host = world.program.serve().await;
    let (good, bad) = (Api::new(&host.url, Some(&good)), Api::new(&host.url, Some(&bad)));
    until_within(PATIENCE, "both components serve", async || {
        let answer = good.get("/api/platforms/hostile").await;
        answer.status.is_success().then_some(())
    })
    .await;
    let ada = world.connect(&good, "ada_public").await.id;
    // Whatever is made once is made before the memory is looked at.
    busy(&good, &ada, 0).await;
    let mut accounts = Vec::new();
    for n in 0..ACCOUNTS {
        accounts.push(connect(&bad, &format!("account-{n}")).await);
    }
    ended(&bad, &[publish(&bad, &accounts[0], "nothing to see here").await]).await;
    let before = memory(&host);

    let mut ratios = Vec::new();
    for pair in 0..2 {
        let quiet = busy(&good, &ada, 2 * pair + 1).await;
        let mut asked = Vec::new();
        for account in &accounts {
            for (how, ..) in POSTED {
                asked.push(publish(&bad, account, how).await);
            }
        }
        let beside = busy(&good, &ada, 2 * pair + 2).await;
        ended(&bad, &asked).await;
        println!(
            "pair {pair}: others' calls took {quiet:?} by themselves and {beside:?} beside the corpus (p99), {:.2} times as long",
            beside.as_secs_f64() / quiet.as_secs_f64()
        );
        ratios.push(beside.as_secs_f64() / quiet.as_secs_f64());
    }
    println!("wasm_hostile_p99, in a host that is not optimised: {ratios:.2?}");
    let commits: usize = POSTED.iter().map(|(.., commits)| commits).sum();
    assert_eq!(
        platform.commits.load(Ordering::Relaxed),
        2 * ACCOUNTS * commits,
        "nothing happens twice"
    );
    assert_eq!(platform.inside.load(Ordering::Relaxed), 0);

    let grown = until_within(Duration::from_mins(1), "memory is given back", async || {
        let now = memory(&host);
        println!("resident: {} MiB before, {} MiB now", before / MIB, now / MIB);
        (now < before + 96 * MIB).then_some(now.saturating_sub(before))
    })
    .await;
    println!("resident memory after the corpus: {} MiB more than before", grown / MIB);
    host.stop().await;
    log_is_bounded(&std::fs::read_to_string(world.program.log_path()).unwrap());
}

/// Another tenant's work: a published post, and a few hundred calls of the API. Every one must be right. Gives the p99 of
/// the calls.
async fn busy(api: &Api, account: &str, n: usize) -> Duration {
    let post = api.publish(&pull_post(account, &format!("post {n}"))).await;
    let mut took = Vec::new();
    let mut published = false;
    while took.len() < 300 || !published {
        let calls = [
            format!("/api/platforms/tiktok/posts/{post}"),
            "/api/platforms/tiktok/accounts".to_owned(),
        ];
        for answer in join_all(calls.iter().map(|path| timed(api, path))).await {
            took.push(answer.1);
            published |= answer.0["status"] == "published";
        }
    }
    took.sort();
    took[took.len() * 99 / 100]
}

async fn timed(api: &Api, path: &str) -> (serde_json::Value, Duration) {
    let began = Instant::now();
    let answer = api.get(path).await.ok();
    assert!(answer["failure"].is_null(), "{answer}");
    (answer, began.elapsed())
}

async fn connect(api: &Api, who: &str) -> String {
    let started = api.get("/api/platforms/hostile/authorize").await;
    let url = url::Url::parse(&started.header("location")).unwrap();
    let state = url
        .query_pairs()
        .find(|(name, _)| name == "state")
        .unwrap()
        .1
        .into_owned();
    let path = format!("/api/platforms/hostile/callback?code=the-code&state={state}&who={who}");
    let cookie = started.header("set-cookie").split(';').next().unwrap().to_owned();
    let request = api.request(reqwest::Method::GET, &path).header("cookie", cookie);
    let landed = api.send(request).await.unwrap().header("location");
    let id = landed.split("account=").nth(1).unwrap_or_else(|| panic!("{landed}"));
    id.split('&').next().unwrap().to_owned()
}

async fn publish(api: &Api, account: &str, text: &str) -> String {
    let wanted = json!({ "account_id": account, "kind": "text", "text": text, "allow_duplicate": true });
    let key = Random::from_entropy().alphanumeric(24);
    // A write may find the store taken by the corpus, and is told to come again.
    let post = until_within(PATIENCE, "the host takes the post", async || {
        let request = api.request(reqwest::Method::POST, "/api/platforms/hostile/posts");
        let post = api.send(request.header("idempotency-key", &key).json(&wanted)).await;
        let post = post.unwrap();
        (post.status != 503).then_some(post)
    });
    post.await.ok()["id"].as_str().unwrap().to_owned()
}

/// Waits until each of these was stopped by name, and calls off what would be tried again.
async fn ended(api: &Api, posts: &[String]) {
    for id in posts {
        let path = format!("/api/platforms/hostile/posts/{id}");
        let stopped = until_within(PATIENCE, &format!("{id} is stopped"), async || {
            let post = api.get(&path).await.ok();
            post["failure"]["code"].is_string().then_some(post)
        })
        .await;
        if stopped["status"] == "publishing" {
            // A write may find the store taken by the corpus, and is told to come again.
            until_within(PATIENCE, &format!("{id} is called off"), async || {
                let call_off = api.request(reqwest::Method::DELETE, &path);
                let called_off = api.send(call_off).await.unwrap();
                assert!(
                    called_off.status.is_success() || called_off.status == 503,
                    "{called_off:?}"
                );
                called_off.status.is_success().then_some(())
            })
            .await;
        }
    }
    for id in posts {
        let path = format!("/api/platforms/hostile/posts/{id}");
        until_within(PATIENCE, &format!("{id} has ended"), async || {
            let post = api.get(&path).await.ok();
            let status = post["status"].as_str().unwrap().to_owned();
            assert_ne!(status, "published", "{post}");
            matches!(&*status, "failed" | "cancelled" | "unconfirmed").then_some(())
        })
        .await;
    }
}

fn memory(host: &Host) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", host.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.split_whitespace().next().unwrap().parse::<u64>().unwrap() * 1024
}

/// Of each flood a hundred lines at most, none too long, and none that could pass for another.
fn log_is_bounded(log: &str) {
    let flood: Vec<_> = log.lines().filter(|line| line.contains("flood ")).collect();
    println!("{} lines of {} floods are in the log", flood.len(), 2 * ACCOUNTS);
    assert!((1..=100 * 2 * ACCOUNTS).contains(&flood.len()), "{}", flood.len());
    assert!(flood.iter().all(|line| line.len() < 8 << 10 && line.starts_with('{')));
    assert!(!log.contains('\u{1b}'), "no control character reaches the log");
}
