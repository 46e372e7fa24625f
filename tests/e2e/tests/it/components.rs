//! Providers that are loaded as components while a host runs. Lanes `wasm` and `bluesky` of `tests/run` build them, and
//! say where they are.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use chrono::DateTime;
use patchbay_app::{model::KeyScope, registry::Registry};
use patchbay_core::{
    AppCheck, AppCredentials, Ctx, HttpRequest, HttpResponse, HttpTransport, ProviderId, SecretRef, TenantId,
    TransportError,
};
use patchbay_rig::components::{self, TIKTOK_HOSTS};
use patchbay_simkit::{Clock, Random, stand::StandConfig};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tempfile::TempDir;
use tokio::net::TcpListener;

use crate::harness::{Api, START, Setup, World, id_of, query};

/// `*` since each account names its own server.
const BLUESKY_HOSTS: &[&str] = &["*", "plc.directory", "public.api.bsky.app"];

/// Bytes of a component that was built for these tests.
pub fn component(name: &str) -> Vec<u8> {
    let path = components::component(name);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// A folder of components.
pub struct Folder(TempDir);

impl Folder {
    pub fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    /// With TikTok's, in the place of the one that is built in.
    pub fn of_tiktok() -> Self {
        Self::replacing("tiktok", &TIKTOK_HOSTS)
    }

    /// With Bluesky's, in the place of the one that is built in.
    pub fn of_bluesky() -> Self {
        Self::replacing("bluesky", BLUESKY_HOSTS)
    }

    fn replacing(id: &str, hosts: &[&str]) -> Self {
        let folder = Self::new();
        let file = format!("{id}.wasm");
        folder.put(&file, &component(&format!("patchbay-component-{id}")));
        let digest = folder.digest(&file);
        folder.pin(&[Pin(id, &file, digest, hosts.to_vec(), "replaces_built_in = true")]);
        folder
    }

    /// Its component, and nothing else, is what the operator is told of.
    pub fn serves(&self, components: &[Value]) {
        let [component] = components else {
            panic!("not one: {components:?}")
        };
        let file = component["file"].as_str().unwrap();
        assert_eq!(component["serving"]["sha256"], self.digest(file), "{component}");
        assert_eq!(component["refused"], Value::Null, "{component}");
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }

    pub fn put(&self, file: &str, bytes: &[u8]) {
        std::fs::write(self.path().join(file), bytes).unwrap();
    }

    pub fn digest(&self, file: &str) -> String {
        hex::encode(Sha256::digest(std::fs::read(self.path().join(file)).unwrap()))
    }

    pub fn pin(&self, pins: &[Pin<'_>]) {
        let mut text = String::new();
        for Pin(id, file, digest, hosts, more) in pins {
            text += &format!("[{id}]\nfile = {file:?}\nsha256 = {digest:?}\nhosts = {hosts:?}\n{more}\n");
        }
        self.put("components.toml", text.as_bytes());
    }
}

/// Id, file, digest, hosts, and further lines.
pub struct Pin<'a>(pub &'a str, pub &'a str, pub String, pub Vec<&'a str>, pub &'a str);

pub fn tiktok(folder: &Folder) -> Pin<'static> {
    tiktok_of("tiktok.wasm", folder.digest("tiktok.wasm"))
}

fn tiktok_of(file: &'static str, digest: String) -> Pin<'static> {
    Pin(
        "tiktok",
        file,
        digest,
        TIKTOK_HOSTS.to_vec(),
        "replaces_built_in = true",
    )
}

/// The same component with another digest: it has one more section, without a meaning.
fn renamed(mut bytes: Vec<u8>, name: u8) -> Vec<u8> {
    bytes.extend([0, 3, 1, b'x', name]);
    bytes
}

pub fn loading(setup: Setup, folder: &Folder) -> Setup {
    setup
        .set("PATCHBAY__WASM__DIR", folder.path().display().to_string())
        // Compiled by a program that is not optimised, on a machine that has other work.
        .set("PATCHBAY__WASM__COMPILE_SECONDS", "300")
        // What it computes is what ends it, not the clock of such a machine.
        .set("PATCHBAY__WASM__WALL_SECONDS", "600")
        // Each look is the test's own.
        .set("PATCHBAY__WASM__POLL_SECONDS", "3600")
}

async fn world(folder: &Folder) -> World {
    loading(Setup::default(), folder).build().await
}

impl World {
    pub async fn look(&self) {
        let host = &self.serving.host;
        host.components.look(&host.app.registry).await;
    }

    async fn operator(&self) -> Api {
        let key = self.make_key(TenantId::DEFAULT, &[KeyScope::Operator]).await;
        Api::new(self.api.base.clone(), Some(key))
    }

    /// What the operator is told of the components, by file.
    pub async fn components(&self) -> Vec<Value> {
        let list = self.operator().await.get("/api/operator/components").await.ok();
        list["data"].as_array().unwrap().clone()
    }

    async fn platforms(&self) -> Vec<String> {
        let list = self.api.get("/api/platforms").await.ok();
        let ids = list["data"].as_array().unwrap().iter();
        ids.map(|platform| platform["id"].as_str().unwrap().to_owned())
            .collect()
    }
}

/// Of a file: what serves, by its digest, and why it is not the file.
pub fn state(components: &[Value], file: &str) -> (Option<String>, Option<String>) {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let found = components.iter().find(|component| component["file"] == file);
    let found = found.unwrap_or_else(|| panic!("{file} is not among {components:?}"));
    (text(&found["serving"]["sha256"]), text(&found["refused"]["code"]))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_used_is_told_with_its_fix_and_the_host_serves_on() {
    let folder = Folder::new();
    let hostile = component("patchbay-hostile");
    folder.put("hostile.wasm", &hostile);
    folder.put("cut.wasm", &hostile[..hostile.len() / 2]);
    folder.put("module.wasm", b"\0asm\x01\0\0\0");
    folder.put("stray.wasm", &hostile);
    folder.put("tiktok.wasm", &component("patchbay-component-tiktok"));
    let hosts = || vec!["api.hostile.example"];
    let of = |file: &str| folder.digest(file);
    folder.pin(&[
        Pin("cut", "cut.wasm", of("cut.wasm"), vec![], ""),
        Pin("module", "module.wasm", of("module.wasm"), vec![], ""),
        Pin("gone", "gone.wasm", of("cut.wasm"), vec![], ""),
        Pin("bent", "hostile.wasm", of("cut.wasm"), hosts(), ""),
        // Two of one id: that of the program, without being told to replace it.
        Pin("tiktok", "tiktok.wasm", of("tiktok.wasm"), TIKTOK_HOSTS.to_vec(), ""),
    ]);
    let world = world(&folder).await;
    let components = world.components().await;
    for (file, code) in [
        ("cut.wasm", "damaged"),
        ("module.wasm", "core_module"),
        ("gone.wasm", "unreadable"),
        ("hostile.wasm", "digest"),
        ("stray.wasm", "not_pinned"),
        ("tiktok.wasm", "duplicate_id"),
    ] {
        assert_eq!(
            state(&components, file),
            (None, Some(code.to_owned())),
            "{components:?}"
        );
    }
    for component in &components {
        for word in ["reason", "fix"] {
            assert!(
                component["refused"][word].as_str().is_some_and(|text| text.len() > 10),
                "{component}"
            );
        }
    }
    assert_eq!(world.platforms().await, ["tiktok"]);
    world.connect().await;

    // A host that nobody granted, another name, no app: each named.
    let refused = async |pin: Pin<'_>, code: &str| {
        folder.pin(&[pin]);
        world.look().await;
        let components = world.components().await;
        assert_eq!(
            state(&components, "hostile.wasm").1.as_deref(),
            Some(code),
            "{components:?}"
        );
    };
    refused(
        Pin("hostile", "hostile.wasm", of("hostile.wasm"), vec!["example.com"], ""),
        "no_app",
    )
    .await;

    folder.put("components.toml", b"[hostile]\nfile = \"../hostile.wasm\"\n");
    world.look().await;
    assert_eq!(
        state(&world.components().await, "components.toml").1.as_deref(),
        Some("pins")
    );

    let status = world.api.get("/api/operator/components").await;
    assert_eq!(status.status, 403, "it is the operator's");
}

#[tokio::test(flavor = "multi_thread")]
async fn grants_and_names_are_checked() {
    let folder = Folder::new();
    folder.put("hostile.wasm", &component("patchbay-hostile"));
    let pin = |id: &'static str, hosts: &[&'static str]| {
        folder.pin(&[Pin(
            id,
            "hostile.wasm",
            folder.digest("hostile.wasm"),
            hosts.to_vec(),
            "",
        )]);
    };
    let world = loading(Setup::default(), &folder)
        .set("PATCHBAY__PROVIDERS__HOSTILE__CLIENT_ID", "client")
        .set("PATCHBAY__PROVIDERS__HOSTILE__CLIENT_SECRET", "secret")
        .set("PATCHBAY__PROVIDERS__OTHER__CLIENT_ID", "client")
        .set("PATCHBAY__PROVIDERS__OTHER__CLIENT_SECRET", "secret")
        .build()
        .await;
    for (id, hosts, code) in [
        ("hostile", vec![], Some("host_not_granted")),
        ("hostile", vec!["*.hostile.example"], Some("host_not_granted")),
        ("other", vec!["api.hostile.example"], Some("other_id")),
        ("hostile", vec!["api.hostile.example"], None),
    ] {
        pin(id, &hosts);
        world.look().await;
        let components = world.components().await;
        let (serving, refused) = state(&components, "hostile.wasm");
        assert_eq!(refused.as_deref(), code, "{components:?}");
        assert_eq!(serving.is_some(), code.is_none());
        assert_eq!(world.platforms().await.contains(&"hostile".to_owned()), code.is_none());
    }
    // Taken up with no restart, and gone again: by the API and its document, the pages and the numbers.
    taken_up(&world, "hostile", true).await;
    folder.pin(&[]);
    world.look().await;
    assert_eq!(world.platforms().await, ["tiktok"]);
    taken_up(&world, "hostile", false).await;
}

/// Servers that nobody can list are granted as one, which stands for no host that has a name in the manifest, and the other
/// way round.
#[tokio::test(flavor = "multi_thread")]
async fn the_servers_of_accounts_are_a_grant_of_their_own() {
    let folder = Folder::of_bluesky();
    let pin = |hosts: Vec<&str>| {
        let digest = folder.digest("bluesky.wasm");
        folder.pin(&[Pin(
            "bluesky",
            "bluesky.wasm",
            digest,
            hosts,
            "replaces_built_in = true",
        )]);
    };
    let setup = loading(Setup::default(), &folder).set("PATCHBAY__PROVIDERS__BLUESKY__ENABLED", "true");
    pin(vec![]);
    let world = setup.build().await;
    for missing in BLUESKY_HOSTS {
        let granted = BLUESKY_HOSTS.iter().copied().filter(|host| host != missing);
        pin(granted.chain(["*.example.com"]).collect());
        world.look().await;
        let components = world.components().await;
        assert_eq!(
            state(&components, "bluesky.wasm"),
            (None, Some("host_not_granted".to_owned()))
        );
        let fix = components[0]["refused"]["fix"].as_str().unwrap();
        assert!(fix.contains(&format!("--allow-host '{missing}'")), "{fix}");
    }
    pin(BLUESKY_HOSTS.to_vec());
    world.look().await;
    folder.serves(&world.components().await);
}

async fn taken_up(world: &World, id: &str, is: bool) {
    let status = if is { 200 } else { 404 };
    let shown = world.api.get(&format!("/api/platforms/{id}")).await;
    assert_eq!(shown.status, status);
    let document = world.api.get("/api/openapi.json").await.ok();
    let schemas = &document["components"]["schemas"];
    assert_eq!(schemas[format!("PostOptions_{id}")].is_object(), is);
    assert!(schemas["PostOptions_tiktok"].is_object());
    for page in [format!("/platforms/connect/{id}"), format!("/platforms/{id}/upload")] {
        assert_eq!(world.api.get(&page).await.status, status, "{page}");
    }
    let overview = world.operator().await.get("/api/operator/overview").await.ok();
    assert_eq!(overview["providers"].to_string().contains(id), is, "{overview}");
    let metrics = world.api.with_key(None).get("/metrics").await.text;
    assert!(metrics.contains("patchbay_components{state=\"serving\"}"), "{metrics}");
}

/// Answers once the provider has been replaced meanwhile, so that each call ends on a component that serves no more.
struct Patient<'a> {
    registry: &'a Registry,
    stop: &'a AtomicBool,
}

#[async_trait]
impl HttpTransport for Patient<'_> {
    async fn send(&self, request: HttpRequest) -> Result<HttpResponse, TransportError> {
        assert_eq!(request.op, "token.app");
        let before = self.registry.changes();
        while self.registry.changes() == before && !self.stop.load(Ordering::Relaxed) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let token = SecretRef::call("access_token");
        let body = json!({ "access_token": token.as_str(), "expires_in": 7200, "token_type": "Bearer" });
        Ok(HttpResponse {
            status: 200,
            headers: vec![("content-type".to_owned(), "application/json".to_owned())],
            body: body.to_string().into_bytes().into(),
            received_at: chrono::DateTime::UNIX_EPOCH,
        })
    }
}

/// Calls of a provider while it is replaced.
struct Calls<'a> {
    registry: &'a Registry,
    stop: &'a AtomicBool,
    made: AtomicUsize,
    failed: AtomicUsize,
    /// Those that ended on a component that had been replaced.
    ended_on_the_old: AtomicUsize,
}

impl Calls<'_> {
    async fn run(&self) {
        let id = ProviderId::parse("tiktok").unwrap();
        let app = AppCredentials {
            client_id: "client".to_owned(),
            client_secret: SecretRef::app("client_secret"),
        };
        let transport = Patient {
            registry: self.registry,
            stop: self.stop,
        };
        while !self.stop.load(Ordering::Relaxed) {
            let Some(registered) = self.registry.get(&id) else {
                self.failed.fetch_add(1, Ordering::Relaxed);
                continue;
            };
            let ctx = Ctx::new(&transport, chrono::DateTime::UNIX_EPOCH, &app, None);
            let checked = registered.provider.oauth().unwrap().check_app(&ctx).await;
            self.made.fetch_add(1, Ordering::Relaxed);
            if !matches!(checked, Ok(AppCheck::Accepted)) {
                println!("{checked:?}");
                self.failed.fetch_add(1, Ordering::Relaxed);
            }
            let serves = self.registry.get(&id);
            if serves.is_some_and(|serves| !Arc::ptr_eq(&serves, &registered)) {
                self.ended_on_the_old.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

/// Thousands of calls by eight callers, each of them under way while the component that it began on is replaced. A failed
/// candidate among the good ones changes nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_replacements_fail_no_call() {
    const REPLACEMENTS: usize = 1_000;
    let folder = Folder::of_tiktok();
    let files = ["tiktok.wasm", "other.wasm"];
    folder.put(files[1], &renamed(component("patchbay-component-tiktok"), 1));
    let digests = files.map(|file| folder.digest(file));
    let pin = |file: &'static str, digest: &str| folder.pin(&[tiktok_of(file, digest.to_owned())]);
    let world = world(&folder).await;
    let registry = &world.serving.host.app.registry;
    let stop = AtomicBool::new(false);
    let calls = Calls {
        registry,
        stop: &stop,
        made: AtomicUsize::new(0),
        failed: AtomicUsize::new(0),
        ended_on_the_old: AtomicUsize::new(0),
    };
    let replace = async {
        for n in 1..=REPLACEMENTS {
            let before = registry.changes();
            if n % 100 == 0 {
                pin(files[n % 2], &digests[(n + 1) % 2]);
                world.look().await;
                let refused = state(&world.components().await, files[n % 2]).1;
                assert_eq!(refused.as_deref(), Some("digest"));
                assert_eq!(registry.changes(), before, "what serves, serves on");
            }
            pin(files[n % 2], &digests[n % 2]);
            world.look().await;
            assert_eq!(registry.changes(), before + 1);
        }
        stop.store(true, Ordering::Relaxed);
    };
    let callers = futures_util::future::join_all((0..8).map(|_| calls.run()));
    tokio::join!(replace, callers);
    let [made, failed, old] =
        [&calls.made, &calls.failed, &calls.ended_on_the_old].map(|count| count.load(Ordering::Relaxed));
    println!(
        "{REPLACEMENTS} replacements, {made} calls, {old} ended on a component that had been replaced, {failed} failed"
    );
    assert_eq!(failed, 0);
    assert!(old > REPLACEMENTS, "{old} of {made}");
    let state = state(&world.components().await, files[REPLACEMENTS % 2]);
    assert_eq!(state, (Some(digests[REPLACEMENTS % 2].clone()), None));

    // What is built in comes back when the component goes.
    folder.pin(&[]);
    world.look().await;
    assert_eq!(world.platforms().await, ["tiktok"]);
    world.connect().await;
}

/// What `patchbay new provider --wasm` writes, under the name of the platform that it plays.
#[tokio::test(flavor = "multi_thread")]
async fn a_new_provider_is_dropped_into_a_running_host() {
    dropped_in("patchbay-component-quill").await;
}

/// The same platform, of another language and another source.
#[tokio::test(flavor = "multi_thread")]
async fn a_provider_in_javascript_is_dropped_into_a_running_host() {
    dropped_in("patchbay-example-provider-js").await;
}

/// A platform that the host's program does not know: there once its component lies in the folder, with no restart, and
/// whole. It connects an account, publishes, and is told by a webhook when the post is to see.
async fn dropped_in(name: &str) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let base = format!("http://{}/api/platforms/quill", listener.local_addr().unwrap());
    let config = StandConfig {
        client_id: "quill-client".to_owned(),
        client_secret: "quill-secret".to_owned(),
        redirect_uri: format!("{base}/callback"),
        webhook_url: Some(format!("{base}/webhooks")),
        media_hosts: BTreeMap::new(),
        first_port: None,
    };
    let clock = Clock::frozen_at(DateTime::from_timestamp(START, 0).unwrap());
    let quill = patchbay_simulator_quill::start(config, clock, Random::seeded(1))
        .await
        .unwrap();
    let hosts: Vec<_> = quill.hosts().iter().map(|(name, at)| format!("{name}={at}")).collect();
    let folder = Folder::new();
    let setup = Setup {
        listener: Some(listener),
        ..Setup::default()
    };
    let world = loading(setup, &folder)
        .set("PATCHBAY__PROVIDERS__QUILL__CLIENT_ID", "quill-client")
        .set("PATCHBAY__PROVIDERS__QUILL__CLIENT_SECRET", "quill-secret")
        .set("PATCHBAY__PROVIDERS__QUILL__REDIRECT_URI", format!("{base}/callback"))
        .set("PATCHBAY__PROVIDERS__QUILL__ENVIRONMENT", "simulator")
        .set("PATCHBAY__PROVIDERS__QUILL__SIMULATOR_HOSTS", hosts.join(","))
        .build()
        .await;
    taken_up(&world, "quill", false).await;

    folder.put("quill.wasm", &component(name));
    let granted = vec!["api.quill.example", "quill.example"];
    folder.pin(&[Pin("quill", "quill.wasm", folder.digest("quill.wasm"), granted, "")]);
    world.look().await;
    let serving = state(&world.components().await, "quill.wasm");
    assert_eq!(serving, (Some(folder.digest("quill.wasm")), None));
    taken_up(&world, "quill", true).await;

    let started = world.api.get("/api/platforms/quill/authorize").await;
    let callback = patchbay_simulator_quill::consent(&started.location()).await.unwrap();
    let landed = world.callback(&callback, Some(&started.cookie())).await.location();
    let account = query(&landed, "account").unwrap_or_else(|| panic!("{landed}"));

    let posts = "/api/platforms/quill/posts";
    let wanted = |text: &str| json!({ "account_id": account, "kind": "text", "text": text });
    let refused = world.api.post(posts, &wanted(" ")).await;
    assert_eq!(refused.status, 422, "{}", refused.text);
    let id = id_of(&world.api.post(posts, &wanted("Zwölf Bögen 🪶")).await.with(202));
    let show = async || world.api.get(&format!("{posts}/{id}")).await.ok();
    world.work_off().await;
    let post = show().await;
    assert_eq!(
        (&post["status"], quill.published()),
        (&json!("publishing"), 0),
        "{post}"
    );

    // Of two moments, this is the one at which the webhook comes, and not yet that of the next look.
    let processed = Duration::from_secs(3);
    quill.clock().advance(processed);
    world.advance(processed);
    quill.settle().await;
    world.work_off().await;
    let post = show().await;
    assert_eq!((&post["status"], quill.published()), (&json!("published"), 1), "{post}");
    assert!(
        post["url"].as_str().unwrap().starts_with("https://quill.example/ada/"),
        "{post}"
    );
    let metrics = world.api.with_key(None).get("/metrics").await.text;
    for line in [
        r#"patchbay_oauth_total{provider="quill",outcome="connected"} 1"#,
        r#"patchbay_webhooks_received_total{provider="quill",outcome="stored"} 1"#,
    ] {
        assert!(metrics.contains(line), "{line}: {metrics}");
    }
}
