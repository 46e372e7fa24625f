//! Steps of a post through the engine of components, beside the same provider compiled in.
//!
//! What is measured is `Publisher::advance` alone: what a host does around it is the same on both sides. A component gets a
//! fresh instance for every call, as in a host.

use std::{
    fs,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};
use async_trait::async_trait;
use axum::{Router, body::Bytes, http::header, routing::any};
use patchbay_core::{
    AccountId, AccountView, AppCredentials, Body, Checkpoint, Credentials, Ctx, HttpRequest, HttpResponse,
    HttpTransport, MediaId, MediaInfo, MediaKind, MediaOrigin, Post, PostId, PostKind, PostMedia, PostMode, Progress,
    Provider, SecretRef, Settings, TransportError,
};
use patchbay_simkit::outbound;
use patchbay_wasm::{Cache, Engine, Limits};
use serde_json::json;
use tokio::{net::TcpListener, sync::Notify, task::JoinSet};
use uuid::Uuid;

use crate::{
    Effort, component, cpu,
    measurement::{Measurement, Wanted, median},
};

/// Calls at once.
const AT_ONCE: usize = 128;

/// `wasm_publish_50ms_vs_native`
pub async fn at_50_ms(effort: Effort) -> anyhow::Result<Measurement> {
    throughput("wasm_publish_50ms_vs_native", 50, Wanted::AtLeast(0.95), effort).await
}

/// `wasm_publish_20ms_vs_native`
pub async fn at_20_ms(effort: Effort) -> anyhow::Result<Measurement> {
    throughput("wasm_publish_20ms_vs_native", 20, Wanted::AtLeast(0.9), effort).await
}

async fn throughput(name: &'static str, delay: u64, wanted: Wanted, effort: Effort) -> anyhow::Result<Measurement> {
    let platform = Platform::start(Duration::from_millis(delay)).await?;
    let native = Step::native().await?;
    let guest = Step::of_component(&engine(None)?, component::built(TIKTOK).await?).await?;
    let (mut native_cpu, mut guest_cpu) = (Vec::new(), Vec::new());
    let mut found = Measurement::none(name, wanted, "steps/s");
    for _ in 0..effort.pairs {
        for (step, rates, costs) in [
            (&native, &mut found.reference, &mut native_cpu),
            (&guest, &mut found.ours, &mut guest_cpu),
        ] {
            let (rate, cost) = run(step, &platform, effort.time).await?;
            rates.push(rate);
            costs.push(cost);
        }
    }
    Ok(found
        .note("steps at once", AT_ONCE)
        .note(
            "processor time of a step with its platform, component",
            format!("{:.0} µs", median(&guest_cpu)),
        )
        .note(
            "processor time of a step with its platform, native",
            format!("{:.0} µs", median(&native_cpu)),
        ))
}

/// Steps a second, and microseconds of processor time for one.
async fn run(step: &Step, platform: &Platform, time: Duration) -> anyhow::Result<(f64, f64)> {
    let (counts, stop) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let [counted, taken] = [(); 2].map(|()| Arc::new(AtomicUsize::new(0)));
    let transport = Arc::new(Loopback::new(platform.address)?);
    let mut tasks = JoinSet::new();
    for _ in 0..AT_ONCE {
        let (step, transport) = (step.clone(), transport.clone());
        let (counts, stop, counted, taken) = (counts.clone(), stop.clone(), counted.clone(), taken.clone());
        tasks.spawn(async move {
            while !stop.load(Ordering::Relaxed) {
                step.take(&*transport).await?;
                taken.fetch_add(1, Ordering::Relaxed);
                if counts.load(Ordering::Relaxed) {
                    counted.fetch_add(1, Ordering::Relaxed);
                }
            }
            anyhow::Ok(())
        });
    }
    // Until all are at it, and a while longer.
    while taken.load(Ordering::Relaxed) < 2 * AT_ONCE {
        if let Some(ended) = tasks.try_join_next() {
            ended??;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    tokio::time::sleep(time / 5).await;
    let (began, cpu_before) = (Instant::now(), cpu::of_process(std::process::id())?);
    counts.store(true, Ordering::Relaxed);
    tokio::time::sleep(time).await;
    counts.store(false, Ordering::Relaxed);
    let (took, cpu_after) = (began.elapsed(), cpu::of_process(std::process::id())?);
    stop.store(true, Ordering::Relaxed);
    while let Some(ended) = tasks.join_next().await {
        ended??;
    }
    let counted = counted.load(Ordering::Relaxed) as f64;
    let cost = cpu_after.saturating_sub(cpu_before).as_secs_f64() * 1e6 / counted;
    Ok((counted / took.as_secs_f64(), cost))
}

/// Calls of one run.
const CALLS: f64 = 20_000.0;

/// `wasm_call_overhead`: processor time of a step whose platform answers at once, without a network.
pub async fn call_overhead(effort: Effort) -> anyhow::Result<Measurement> {
    let native = Step::native().await?;
    let guest = Step::of_component(&engine(None)?, component::built(TIKTOK).await?).await?;
    let calls = (CALLS * effort.scale).ceil() as usize;
    let cost = async |step: &Step| {
        step.take(&AtOnce).await?;
        let before = cpu::of_process(std::process::id())?;
        for _ in 0..calls {
            step.take(&AtOnce).await?;
        }
        // The clock of the system counts hundredths of seconds.
        let spent = cpu::of_process(std::process::id())?.saturating_sub(before);
        anyhow::Ok(spent.as_secs_f64().max(0.01) * 1e6 / calls as f64)
    };
    let found = Measurement::of_pairs(
        "wasm_call_overhead",
        Wanted::Anything,
        "µs of processor",
        effort.pairs,
        || cost(&native),
        || cost(&guest),
    );
    let found = found.await?;
    let overhead = median(&found.ours) - median(&found.reference);
    Ok(found.note("overhead of a call", format!("{overhead:.0} µs")))
}

/// Calls that are held at once.
const HELD: usize = 200;

/// `wasm_memory_per_call`: resident memory of calls that wait for their platform.
pub async fn memory_per_call(effort: Effort) -> anyhow::Result<Measurement> {
    let bytes = component::built(TIKTOK).await?;
    let folder = tempfile::tempdir()?;
    // Compiled once.
    Step::of_component(&engine(Some(folder.path()))?, bytes.clone()).await?;
    let native = async || held(&Step::native().await?).await;
    let guest = async || {
        // An engine whose pool has served nobody yet.
        let step = Step::of_component(&engine(Some(folder.path()))?, bytes.clone()).await?;
        step.take(&AtOnce).await?;
        held(&step).await
    };
    let found = Measurement::of_pairs(
        "wasm_memory_per_call",
        Wanted::Anything,
        "KiB",
        effort.pairs,
        native,
        guest,
    );
    Ok(found.await?.note("calls held at once", HELD))
}

async fn held(step: &Step) -> anyhow::Result<f64> {
    let before = resident()?;
    let holding = Arc::new(Holding::default());
    let mut tasks = JoinSet::new();
    for _ in 0..HELD {
        let (step, holding) = (step.clone(), holding.clone());
        tasks.spawn(async move { step.take(&*holding).await });
    }
    while holding.came.load(Ordering::Relaxed) < HELD {
        ensure!(tasks.len() == HELD, "a call ended early");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let taken = resident()?.saturating_sub(before);
    holding.open.store(true, Ordering::Relaxed);
    holding.go.notify_waiters();
    while let Some(ended) = tasks.join_next().await {
        ended??;
    }
    Ok((taken as f64 / HELD as f64).max(0.1))
}

/// KiB of this process.
fn resident() -> anyhow::Result<u64> {
    let status = fs::read_to_string("/proc/self/status").context("reading /proc: this needs Linux")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok())
        .context("no VmRSS")
}

/// `wasm_first_call_cold`: from a component's bytes to the end of its first step, compiled on the way.
pub async fn first_call_cold(effort: Effort) -> anyhow::Result<Measurement> {
    first_call("wasm_first_call_cold", false, effort).await
}

/// `wasm_first_call_cached`: the same with compiled code in the cache.
pub async fn first_call_cached(effort: Effort) -> anyhow::Result<Measurement> {
    first_call("wasm_first_call_cached", true, effort).await
}

async fn first_call(name: &'static str, cached: bool, effort: Effort) -> anyhow::Result<Measurement> {
    let bytes = component::built(TIKTOK).await?;
    let folder = tempfile::tempdir()?;
    if cached {
        Step::of_component(&engine(Some(folder.path()))?, bytes.clone()).await?;
    }
    let native = async || {
        let began = Instant::now();
        Step::native().await?.take(&AtOnce).await?;
        anyhow::Ok(milliseconds(began))
    };
    let guest = async || {
        let engine = engine(cached.then_some(folder.path()))?;
        let bytes = bytes.clone();
        let began = Instant::now();
        Step::of_component(&engine, bytes).await?.take(&AtOnce).await?;
        anyhow::Ok(milliseconds(began))
    };
    Measurement::of_pairs(name, Wanted::Anything, "ms", effort.pairs, native, guest).await
}

fn milliseconds(began: Instant) -> f64 {
    began.elapsed().as_secs_f64() * 1e3
}

const TIKTOK: &str = "patchbay-component-tiktok";

fn engine(cache: Option<&std::path::Path>) -> anyhow::Result<Engine> {
    let cache = cache.map(|folder| Cache::new(folder.to_owned(), [7; 32]));
    // Tests compile by a program that is not optimised.
    let limits = Limits {
        compile: Duration::from_mins(10),
        ..Limits::default()
    };
    Ok(Engine::new(limits, cache)?)
}

/// The step that begins a post: one call to the platform.
#[derive(Clone)]
struct Step {
    provider: Arc<dyn Provider>,
    app: Arc<AppCredentials>,
    account: Arc<AccountView>,
    post: Arc<Post>,
    at: Option<Arc<Checkpoint>>,
}

impl Step {
    async fn native() -> anyhow::Result<Self> {
        let provider = patchbay_provider_tiktok::build(&Settings::default())?;
        Self::of(provider).await
    }

    async fn of_component(engine: &Engine, bytes: Vec<u8>) -> anyhow::Result<Self> {
        let guest = engine.load(bytes).await?.build(&Settings::default()).await?;
        Self::of(Arc::new(guest)).await
    }

    async fn of(provider: Arc<dyn Provider>) -> anyhow::Result<Self> {
        let secret = |name| (String::from(name), SecretRef::account(name));
        let mut step = Self {
            app: Arc::new(AppCredentials {
                client_id: "client".to_owned(),
                client_secret: SecretRef::app("client_secret"),
            }),
            account: Arc::new(AccountView {
                id: AccountId::from_uuid(Uuid::from_u128(1)),
                remote_id: "remote".to_owned(),
                scopes: ["user.info.basic", "video.publish", "video.upload", "video.list"]
                    .map(str::to_owned)
                    .into(),
                credentials: Credentials {
                    secrets: ["access_token", "refresh_token"].map(secret).into(),
                    ..Credentials::default()
                },
            }),
            post: Arc::new(post()?),
            at: None,
            provider,
        };
        // The step before asks for the account, and says where to go on.
        match step.advance(&AtOnce).await? {
            Progress::Continue { checkpoint, .. } => step.at = Some(Arc::new(checkpoint)),
            other => bail!("the post does not begin: {other:?}"),
        }
        Ok(step)
    }

    async fn advance(&self, transport: &dyn HttpTransport) -> anyhow::Result<Progress> {
        let ctx = Ctx::new(transport, chrono::DateTime::UNIX_EPOCH, &self.app, Some(&self.account));
        let publisher = self.provider.publisher().context("it publishes")?;
        Ok(publisher.advance(&ctx, &self.post, self.at.as_deref()).await?)
    }

    /// Takes it once. The platform's id of the post must be in what comes of it.
    async fn take(&self, transport: &dyn HttpTransport) -> anyhow::Result<()> {
        let progress = self.advance(transport).await?;
        match &progress {
            Progress::Continue { checkpoint, .. } if checkpoint.remote_ref.as_deref() == Some(PUBLISH_ID) => Ok(()),
            _ => bail!("the post was not begun: {progress:?}"),
        }
    }
}

fn post() -> anyhow::Result<Post> {
    Ok(Post {
        id: PostId::from_uuid(Uuid::from_u128(2)),
        kind: PostKind::Video,
        mode: PostMode::Direct,
        title: Some("Kites over the bay, on the first warm day of the year #kites #spring".to_owned()),
        text: None,
        media: vec![PostMedia {
            id: MediaId::from_uuid(Uuid::from_u128(3)),
            origin: MediaOrigin::Url("https://media.example.com/kites.mp4".parse()?),
            info: MediaInfo::of(MediaKind::Video, "video/mp4"),
        }],
        options: [("privacy_level".to_owned(), json!("PUBLIC_TO_EVERYONE"))]
            .into_iter()
            .collect(),
    })
}

const PUBLISH_ID: &str = "v_pub_url~v2.7123456789012345678";

/// What TikTok answers to the two calls.
fn answer(path: &str) -> Bytes {
    let data = if path.contains("creator_info") {
        json!({
            "creator_avatar_url": "https://p16.tiktokcdn.com/avatar.jpeg",
            "creator_username": "ada", "creator_nickname": "Ada",
            "privacy_level_options": ["PUBLIC_TO_EVERYONE", "MUTUAL_FOLLOW_FRIENDS", "SELF_ONLY"],
            "comment_disabled": false, "duet_disabled": false, "stitch_disabled": false,
            "max_video_post_duration_sec": 300,
        })
    } else {
        json!({ "publish_id": PUBLISH_ID })
    };
    let error = json!({ "code": "ok", "message": "", "log_id": "202611260000000102030405060708090A" });
    json!({ "data": data, "error": error }).to_string().into()
}

fn response(body: Bytes) -> HttpResponse {
    HttpResponse {
        status: 200,
        headers: vec![("content-type".to_owned(), "application/json".to_owned())],
        body,
        received_at: chrono::DateTime::UNIX_EPOCH,
    }
}

fn path_of(request: &HttpRequest) -> String {
    match &request.target {
        patchbay_core::Target::Url(url) => url.path().to_owned(),
        patchbay_core::Target::Secret(_) => String::new(),
    }
}

/// Answers without a network.
struct AtOnce;

#[async_trait]
impl HttpTransport for AtOnce {
    async fn send(&self, request: HttpRequest) -> Result<HttpResponse, TransportError> {
        Ok(response(answer(&path_of(&request))))
    }
}

/// Answers when it is told to.
#[derive(Default)]
struct Holding {
    came: AtomicUsize,
    open: AtomicBool,
    go: Notify,
}

#[async_trait]
impl HttpTransport for Holding {
    async fn send(&self, request: HttpRequest) -> Result<HttpResponse, TransportError> {
        let go = self.go.notified();
        self.came.fetch_add(1, Ordering::Relaxed);
        if !self.open.load(Ordering::Relaxed) {
            go.await;
        }
        Ok(response(answer(&path_of(&request))))
    }
}

/// Sends over HTTP to the platform.
struct Loopback {
    http: reqwest::Client,
    base: String,
}

impl Loopback {
    fn new(address: SocketAddr) -> anyhow::Result<Self> {
        Ok(Self {
            http: outbound::client(Duration::from_secs(60))?,
            base: format!("http://{address}"),
        })
    }
}

#[async_trait]
impl HttpTransport for Loopback {
    async fn send(&self, request: HttpRequest) -> Result<HttpResponse, TransportError> {
        let lost = |error: reqwest::Error| TransportError::NotSent(error.to_string());
        let mut call = self.http.post(format!("{}{}", self.base, path_of(&request)));
        if let Body::Json(json) = &request.body {
            call = call
                .header(header::CONTENT_TYPE, "application/json; charset=UTF-8")
                .body(json.to_string());
        }
        let answer = call.bearer_auth("a-token").send().await.map_err(lost)?;
        let mut found = response(Bytes::new());
        found.status = answer.status().as_u16();
        found.body = answer.bytes().await.map_err(lost)?;
        Ok(found)
    }
}

/// A platform that answers after a while, in a thread of its own.
struct Platform {
    address: SocketAddr,
    stop: Arc<Notify>,
}

impl Platform {
    async fn start(delay: Duration) -> anyhow::Result<Self> {
        let answer = move |uri: axum::http::Uri, _body: Bytes| async move {
            tokio::time::sleep(delay).await;
            ([(header::CONTENT_TYPE, "application/json")], answer(uri.path()))
        };
        let router = Router::new().fallback(any(answer));
        let stop = Arc::new(Notify::new());
        let (tell, told) = tokio::sync::oneshot::channel();
        let stopped = stop.clone();
        std::thread::Builder::new().name("platform".to_owned()).spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(async {
                let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
                let _ = tell.send(listener.local_addr()?);
                tokio::select! {
                    served = async { axum::serve(listener, router).await } => served,
                    () = stopped.notified() => Ok(()),
                }
            })
        })?;
        Ok(Self {
            address: told.await?,
            stop,
        })
    }
}

impl Drop for Platform {
    fn drop(&mut self) {
        self.stop.notify_one();
    }
}
