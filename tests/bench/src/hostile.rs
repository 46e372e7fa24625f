//! How long others wait for the host while a hostile component (`tests/hostile`) does what it can, beside how long they wait
//! while it does nothing.

use std::{
    fmt::Write as _,
    path::Path,
    process::Stdio,
    sync::atomic::Ordering,
    thread::available_parallelism,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use patchbay_simkit::{Random, outbound};
use patchbay_simulator_tiktok::{Redirects, Simulator, SimulatorConfig};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::{process::Command, task::JoinSet};

use crate::{
    Effort, component,
    corpus::{POSTED, Platform, SECRET},
    host::{self, Host},
    measurement::{Measurement, Wanted},
    ports::free_port,
};

/// Accounts of the hostile component, whose posts run beside each other.
const ACCOUNTS: usize = 4;
/// Others who call the API, each at most this often.
const CALLERS: usize = 8;
const PAUSE: Duration = Duration::from_millis(10);
/// Longest wait until all that the component was asked for was stopped.
const PATIENCE: Duration = Duration::from_secs(300);
const POSTS: &str = "/api/platforms/hostile/posts";

/// `wasm_hostile_p99`: the 99th percentile of others' calls.
pub async fn p99(effort: Effort) -> anyhow::Result<Measurement> {
    let dir = tempfile::tempdir()?;
    let platform = Platform::start().await?;
    let port = free_port();
    let tiktok = Simulator::start(SimulatorConfig {
        redirects: Redirects {
            desktop: vec![format!("http://127.0.0.1:{port}/api/platforms/tiktok/callback")],
            ..Redirects::default()
        },
        ..SimulatorConfig::default()
    })
    .await?;
    let folder = dir.path().join("components");
    pin(&folder, &["tiktok", "hostile"]).await?;
    let config = SimulatorConfig::default();
    let more = vec![
        ("PATCHBAY__LIMITS__REQUESTS_PER_SECOND", "0".to_owned()),
        ("PATCHBAY__WASM__DIR", folder.display().to_string()),
        ("PATCHBAY__WASM__COMPILE_SECONDS", "300".to_owned()),
        ("PATCHBAY__PROVIDERS__HOSTILE__CLIENT_ID", "client".to_owned()),
        ("PATCHBAY__PROVIDERS__HOSTILE__CLIENT_SECRET", SECRET.to_owned()),
        ("PATCHBAY__PROVIDERS__HOSTILE__ENVIRONMENT", "simulator".to_owned()),
        (
            "PATCHBAY__PROVIDERS__HOSTILE__SIMULATOR_HOSTS",
            format!("api.hostile.example={}", platform.address),
        ),
    ];
    let client = (&*config.client_key, &*config.client_secret);
    let host = Host::with_simulator(port, dir.path(), &tiktok, client, more).await?;
    host.serves_components(2).await?;
    host.connect("ada_public").await?;
    let api = Api::of(&host)?;
    let mut accounts = Vec::new();
    for n in 0..ACCOUNTS {
        accounts.push(api.connect(&format!("account-{n}")).await?);
    }
    others(&api, effort.time / 2).await?;

    let mut found = Measurement::none("wasm_hostile_p99", Wanted::AtMost(2.0), "ms");
    let (before, mut asked_for) = (host.memory("VmRSS")?, 0);
    for _ in 0..effort.pairs {
        found.reference.push(others(&api, effort.time).await?);
        let mut asked = Vec::new();
        for (how, ..) in POSTED {
            for account in &accounts {
                asked.push(api.publish(account, how).await?);
            }
        }
        asked_for += asked.len();
        found.ours.push(others(&api, effort.time).await?);
        api.end(&asked).await?;
    }
    let after = host.memory("VmRSS")?;
    let loops = beside_loops(&api, effort.time).await?;
    let commits = POSTED.iter().map(|(.., commits)| commits).sum::<usize>() * ACCOUNTS * effort.pairs;
    ensure!(
        platform.commits.load(Ordering::Relaxed) == commits && platform.inside.load(Ordering::Relaxed) == 0,
        "the component had more effects than it was asked for"
    );
    host.stop().await?;
    tiktok.shutdown().await;
    Ok(found
        .note("what the component was asked for", asked_for)
        .note(
            "host's memory afterwards",
            format!("{:+} MiB", (after as i64 - before as i64) >> 20),
        )
        .note(
            "beside loops of the class SCHED_IDLE instead, one a CPU",
            format!("{loops:.2} ms"),
        ))
}

/// The same beside endless loops that count less than anything else, and are no part of the host: what the kernel makes
/// others wait for a CPU that is busy with whatever it may be.
async fn beside_loops(api: &Api, time: Duration) -> anyhow::Result<f64> {
    let mut loops = Vec::new();
    for _ in 0..available_parallelism()?.get() {
        let mut command = Command::new("chrt");
        command.args(["--idle", "0", "sh", "-c", "while :; do :; done"]);
        command.stdin(Stdio::null()).kill_on_drop(true);
        loops.push(command.spawn().context("chrt, of util-linux")?);
    }
    let found = others(api, time).await?;
    for mut busy in loops {
        ensure!(busy.try_wait()?.is_none(), "a loop ended by itself");
        busy.kill().await?;
    }
    Ok(found)
}

/// Puts components into a folder, and says in it that they may be loaded.
pub async fn pin(folder: &Path, ids: &[&str]) -> anyhow::Result<()> {
    std::fs::create_dir_all(folder)?;
    let mut pins = String::new();
    for id in ids {
        let (name, hosts, more) = match *id {
            "tiktok" => (
                "patchbay-component-tiktok",
                component::HOSTS,
                "replaces_built_in = true",
            ),
            _ => ("patchbay-hostile", r#"["api.hostile.example"]"#, ""),
        };
        let bytes = component::built(name).await?;
        std::fs::write(folder.join(format!("{id}.wasm")), &bytes)?;
        let digest = hex::encode(Sha256::digest(bytes));
        writeln!(
            pins,
            "[{id}]\nfile = \"{id}.wasm\"\nsha256 = \"{digest}\"\nhosts = {hosts}\n{more}"
        )?;
    }
    // Whole or not at all: the host looks whenever it likes.
    std::fs::write(folder.join("partial"), pins)?;
    std::fs::rename(folder.join("partial"), folder.join("components.toml"))?;
    Ok(())
}

/// Calls of the API by everyone else. Every one must be answered rightly. Gives the 99th percentile in milliseconds.
async fn others(api: &Api, time: Duration) -> anyhow::Result<f64> {
    let mut tasks = JoinSet::new();
    for _ in 0..CALLERS {
        let api = api.clone();
        tasks.spawn(async move {
            let (began, mut took) = (Instant::now(), Vec::new());
            while began.elapsed() < time {
                for path in [
                    "/api/platforms/tiktok/accounts",
                    "/api/platforms/tiktok/posts",
                    "/api/platforms",
                ] {
                    let asked = Instant::now();
                    api.get(path).await?;
                    took.push(asked.elapsed().as_secs_f64() * 1e3);
                    tokio::time::sleep(PAUSE).await;
                }
            }
            anyhow::Ok(took)
        });
    }
    let mut took = Vec::new();
    while let Some(ended) = tasks.join_next().await {
        took.extend(ended??);
    }
    took.sort_by(f64::total_cmp);
    took.get(took.len() * 99 / 100).copied().context("nobody called")
}

#[derive(Clone)]
struct Api {
    http: reqwest::Client,
    url: String,
}

impl Api {
    fn of(host: &Host) -> anyhow::Result<Self> {
        Ok(Self {
            http: outbound::client(PATIENCE)?,
            url: host.url().to_owned(),
        })
    }

    async fn get(&self, path: &str) -> anyhow::Result<Value> {
        host::answer(self.http.get(format!("{}{path}", self.url)).send().await?).await
    }

    async fn connect(&self, who: &str) -> anyhow::Result<String> {
        let start = format!("{}/api/platforms/hostile/authorize", self.url);
        let started = self.http.get(start).send().await?;
        let (page, cookie) = (
            host::header(&started, "location")?,
            host::header(&started, "set-cookie")?,
        );
        let url = reqwest::Url::parse(&page)?;
        let state = url
            .query_pairs()
            .find(|(name, _)| name == "state")
            .context("no state")?
            .1
            .into_owned();
        let callback = format!(
            "{}/api/platforms/hostile/callback?code=the-code&state={state}&who={who}",
            self.url
        );
        let landed = self.http.get(callback).header("cookie", cookie).send().await?;
        let landed = host::header(&landed, "location")?;
        let (_, id) = landed
            .split_once("account=")
            .with_context(|| format!("landed on {landed}"))?;
        Ok(id.split('&').next().unwrap_or(id).to_owned())
    }

    async fn publish(&self, account: &str, text: &str) -> anyhow::Result<String> {
        let wanted = json!({ "account_id": account, "kind": "text", "text": text, "allow_duplicate": true });
        let key = Random::from_entropy().alphanumeric(24);
        let began = Instant::now();
        loop {
            let request = self.http.post(format!("{}{POSTS}", self.url));
            let answer = request.header("idempotency-key", &key).json(&wanted).send().await?;
            // The store may be taken by the corpus. A client comes again then, under the same key.
            if answer.status() == reqwest::StatusCode::SERVICE_UNAVAILABLE && began.elapsed() < PATIENCE {
                tokio::time::sleep(PAUSE).await;
                continue;
            }
            let post = host::answer(answer).await?;
            return Ok(post["id"].as_str().context("no post id")?.to_owned());
        }
    }

    /// Waits until each of these was stopped by name, and calls off what would be tried again.
    async fn end(&self, posts: &[String]) -> anyhow::Result<()> {
        let began = Instant::now();
        for id in posts {
            let path = format!("{POSTS}/{id}");
            loop {
                let post = self.get(&path).await?;
                ensure!(post["status"] != "published", "believed: {post}");
                if matches!(post["status"].as_str(), Some("failed" | "unconfirmed" | "cancelled")) {
                    break;
                }
                if post["failure"]["code"].is_string() && post["cancel_requested"] == false {
                    self.http.delete(format!("{}{path}", self.url)).send().await?;
                }
                ensure!(began.elapsed() < PATIENCE, "it is not stopped: {post}");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
        Ok(())
    }
}
