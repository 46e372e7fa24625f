//! A whole host in this process, against a simulated TikTok, over real loopback HTTP.
//!
//! As a rule time stands still and no worker runs: [`World::drain`] does everything that is due, [`World::advance`]
//! moves all clocks, [`World::follow`] goes on until a post is where the test wants it. With [`Setup::running`] time
//! is real and the host's own workers do the work.

pub mod client;
pub mod database;
pub mod media;
pub mod raw;
pub mod receiver;
pub mod s3;
pub mod s3_proxy;
mod setup;
pub mod source;
mod wanted;
pub mod webhook;

use std::{sync::Arc, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};
use patchbay_app::{
    App,
    env::{Env, FixedClock},
    model::{Account, ApiKey, AuditAction, By, JobKind, KeyScope},
    work,
};
use patchbay_core::{AccountId, ApiKeyId, TenantId};
use patchbay_server::{keys::KeyText, serve::Serving};
use patchbay_simkit::{Action, Fault};
use patchbay_simulator_tiktok::Running;
use reqwest::Method;
use serde_json::{Value, json};
use tempfile::TempDir;

pub use client::{Api, Reply, send};
pub use database::{Database, on_postgres};
pub use setup::{CLIENT_KEY, CLIENT_SECRET, START, Setup, WORKER_SECRET};
pub use wanted::{draft_post, draft_pull, photo_post, pull_post, video_post};

/// The account of most tests: public, without any restriction.
pub const ADA: &str = "ada_public";
pub const POSTS: &str = "/api/platforms/tiktok/posts";

/// A host, its platform and their time.
pub struct World {
    /// A caller of the default tenant, with every scope.
    pub api: Api,
    pub sim: Running,
    pub serving: Serving,
    pub database: Database,
    pub folder: TempDir,
    clocks: Option<Clocks>,
    settings: Vec<(String, String)>,
}

/// Runs a test in a world on each database.
pub async fn on_both(test: impl AsyncFn(World)) {
    let world = async |database| {
        Setup {
            database,
            ..Setup::default()
        }
        .build()
        .await
    };
    test(world(Database::Sqlite).await).await;
    on_postgres(async |database| test(world(database).await).await).await;
}

/// Host and database have a clock each, so that a test can set them apart.
#[derive(Clone)]
struct Clocks {
    host: Arc<FixedClock>,
    store: Arc<FixedClock>,
}

impl World {
    pub async fn new() -> Self {
        Setup::default().build().await
    }

    pub fn app(&self) -> &Arc<App> {
        &self.serving.host.app
    }

    pub fn now(&self) -> DateTime<Utc> {
        self.app().env.now()
    }

    /// Moves every clock.
    pub fn advance(&self, by: Duration) {
        let clocks = self.clocks.as_ref().expect("time is real here");
        clocks.host.advance(by);
        clocks.store.advance(by);
        self.sim.clock().advance(by);
    }

    /// Lets everything happen that is due now: at the platform, its webhooks, the host's jobs.
    pub async fn drain(&self) {
        for _ in 0..1_000 {
            self.pulls_done().await;
            self.sim.settle().await;
            if self.work_off().await == 0 {
                return;
            }
        }
        panic!("there is always something to do");
    }

    /// Runs the jobs that are due now. Gives their number.
    pub async fn work_off(&self) -> usize {
        let mut ran = 0;
        loop {
            let jobs = work::run_due(self.app(), &JobKind::ALL, usize::MAX).await.unwrap();
            if jobs == 0 {
                return ran;
            }
            ran += jobs as usize;
            assert!(ran < 5_000, "a job runs again and again without a pause");
        }
    }

    /// A pull takes real time at the simulator, unless a test holds it.
    async fn pulls_done(&self) {
        if self.sim.faults().list().iter().any(|rule| rule.fault.op == "pull") {
            return;
        }
        let done = self.sim.until(|oracle| {
            oracle
                .posts()
                .iter()
                .all(|post| post.urls.is_empty() || !post.sha256.is_empty() || post.fail_reason.is_some())
        });
        assert!(done.await, "a pull hangs");
    }

    /// Does the host's work for as long as `request` takes, as workers would.
    pub async fn meanwhile<T>(&self, request: impl Future<Output = T>) -> T {
        let done = tokio_flag();
        let request = async {
            let answer = request.await;
            done.send_replace(true);
            answer
        };
        let work = async {
            let mut ended = done.subscribe();
            while !*ended.borrow_and_update() {
                self.drain().await;
                tokio::select! {
                    () = self.app().woken(&JobKind::ALL) => {}
                    _ = ended.changed() => {}
                }
            }
        };
        tokio::join!(request, work).0
    }

    /// A caller of another tenant, with every scope.
    pub async fn tenant(&self, name: &str) -> Api {
        let app = self.app();
        let tenant = app
            .store
            .ensure_tenant(TenantId::from_uuid(app.env.ids.next()), name)
            .await
            .unwrap();
        self.api
            .with_key(Some(self.make_key(tenant.id, &KeyScope::OF_TENANT).await))
    }

    /// A new key of a tenant.
    pub async fn make_key(&self, tenant: TenantId, scopes: &[KeyScope]) -> String {
        make_key(self.app(), tenant, scopes).await
    }

    /// Sends a browser through the whole connect. Gives the account's id.
    pub async fn connect(&self) -> String {
        self.connect_as(&self.api, ADA).await
    }

    pub async fn connect_as(&self, api: &Api, username: &str) -> String {
        let (callback, cookie) = self.consent(api, username, None).await;
        let landed = self.callback(&callback, Some(&cookie)).await.location();
        assert!(landed.contains("success=tiktok_connected"), "{landed}");
        query(&landed, "account").unwrap()
    }

    /// Starts a connect and agrees at the platform's page. Gives the callback's URL and the browser's cookie.
    pub async fn consent(&self, api: &Api, username: &str, granted: Option<&[&str]>) -> (String, String) {
        let started = api.get("/api/platforms/tiktok/authorize").await;
        let callback = self.decide(&started.location(), username, granted, "allow").await;
        (callback, started.cookie())
    }

    /// Sends the form of the platform's page. `granted`: the ticked scopes; `None`: all.
    pub async fn decide(&self, page: &str, username: &str, granted: Option<&[&str]>, decision: &str) -> String {
        let browser = self.api.with_key(None);
        let shown = browser.get(page).await;
        assert_eq!(shown.status, 200, "{page} {}", shown.text);
        let page = url::Url::parse(page).unwrap();
        let mut form: Vec<(String, String)> = page.query_pairs().into_owned().collect();
        let asked = form.iter().find(|(name, _)| name == "scope").unwrap().1.clone();
        let ticked = granted.map_or_else(|| asked.split(',').collect(), <[_]>::to_vec);
        form.extend(ticked.into_iter().map(|scope| ("granted".to_owned(), scope.to_owned())));
        form.push(("account".to_owned(), username.to_owned()));
        form.push(("decision".to_owned(), decision.to_owned()));
        let path = page.join("/v2/auth/authorize/").unwrap();
        let answer = send(browser.request(Method::POST, path.as_str()).form(&form)).await;
        assert_eq!(answer.status, 302, "{}", answer.text);
        answer.header("location").unwrap().to_owned()
    }

    /// The browser comes back.
    pub async fn callback(&self, url: &str, cookie: Option<&str>) -> Reply {
        let request = self.api.with_key(None).request(Method::GET, url);
        send(match cookie {
            Some(cookie) => request.header("cookie", cookie),
            None => request,
        })
        .await
    }

    /// Uploads a file. Gives its id.
    pub async fn upload(&self, bytes: bytes::Bytes) -> String {
        let media = send(self.api.request(Method::POST, "/api/media").body(bytes))
            .await
            .with(201);
        media["id"].as_str().unwrap().to_owned()
    }

    /// Uploads the small video. Gives its id.
    pub async fn video(&self) -> String {
        self.upload(media::video()).await
    }

    /// Asks for a post. Gives its id.
    pub async fn post(&self, wanted: &Value) -> String {
        id_of(&self.api.post(POSTS, wanted).await.with(202))
    }

    /// A post as the API shows it.
    pub async fn show(&self, id: &str) -> Value {
        self.api.get(&format!("{POSTS}/{id}")).await.ok()
    }

    /// Moves time until a post is as wanted.
    pub async fn follow(&self, id: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        for _ in 0..400 {
            self.drain().await;
            let post = self.show(id).await;
            if wanted(&post) {
                return post;
            }
            let due = self
                .app()
                .store
                .next_due(&[JobKind::Publish, JobKind::Ingest, JobKind::Revoke])
                .await
                .unwrap();
            let wait = due.map_or(TimeDelta::seconds(1), |at| at - self.now());
            self.advance(
                wait.clamp(TimeDelta::milliseconds(100), TimeDelta::minutes(10))
                    .to_std()
                    .unwrap(),
            );
        }
        panic!("the post did not get there: {}", self.show(id).await);
    }

    /// Moves time until a post has an outcome.
    pub async fn settled(&self, id: &str) -> Value {
        self.follow(id, |post| {
            !matches!(post["status"].as_str(), Some("queued" | "publishing"))
        })
        .await
    }

    /// Moves time until a post is published and its public id is known.
    pub async fn published(&self, id: &str) -> Value {
        let post = self
            .follow(id, |post| post["status"] == "failed" || post["remote_ids"] != json!([]))
            .await;
        assert_eq!(post["status"], "published", "{post}");
        post
    }

    /// An account as stored, with what the API does not show.
    pub async fn account(&self, id: &str) -> Account {
        let id: AccountId = id.parse().unwrap();
        self.app().store.account(TenantId::DEFAULT, id).await.unwrap().unwrap()
    }

    /// Names of the events about a post or account, oldest first.
    pub async fn events(&self, filter: &str) -> Vec<String> {
        let events = self.api.get(&format!("/api/events?limit=100&{filter}")).await.ok();
        let names = events["data"]
            .as_array()
            .unwrap()
            .iter()
            .map(|event| event["name"].as_str().unwrap().to_owned());
        names.rev().collect()
    }

    pub async fn number(&self, query: &'static str) -> i64 {
        self.database.number(self.folder.path(), query).await
    }

    /// Changes rows behind the host's back.
    pub async fn execute(&self, statement: &'static str) {
        self.database.execute(self.folder.path(), statement).await;
    }

    /// Lets nobody store a webhook until it is released.
    pub async fn hold_writes(&self) -> database::Held {
        self.database.hold_writes(self.folder.path()).await
    }

    pub async fn inbox_rows(&self) -> i64 {
        self.number("SELECT count(*) FROM inbox").await
    }

    /// Calls that reached the platform at this operation.
    pub fn calls(&self, op: &str) -> usize {
        self.sim.journal().count(|call| call.op == op)
    }

    /// Calls that begin a post, of all three kinds.
    pub fn inits(&self) -> usize {
        ["video_init", "inbox_init", "content_init"]
            .iter()
            .map(|op| self.calls(op))
            .sum()
    }

    /// Makes the platform refuse an operation with a code, until cleared.
    pub fn refuse(&self, op: &str, code: &str) {
        self.sim.faults().put(op, Fault::new(op, error(code)));
    }
}

/// The platform's refusal with a code, at the status that it documents.
pub fn error(code: &str) -> Action {
    Action::Error {
        code: code.to_owned(),
        status: None,
        message: None,
    }
}

#[track_caller]
pub fn id_of(body: &Value) -> String {
    body["id"]
        .as_str()
        .unwrap_or_else(|| panic!("no id: {body}"))
        .to_owned()
}

/// A field of a URL's query.
pub fn query(url: &str, name: &str) -> Option<String> {
    let (_, query) = url.split_once('?')?;
    url::form_urlencoded::parse(query.as_bytes())
        .find(|(key, _)| key == name)
        .map(|(_, value)| value.into_owned())
}

/// Runs `count` tasks at once and gives what each one made.
pub async fn at_once<T, F>(count: usize, task: impl Fn(usize) -> F) -> Vec<T>
where
    T: Send + 'static,
    F: Future<Output = T> + Send + 'static,
{
    let barrier = Arc::new(tokio::sync::Barrier::new(count));
    let tasks: Vec<_> = (0..count)
        .map(|index| {
            let (barrier, task) = (barrier.clone(), task(index));
            tokio::spawn(async move {
                barrier.wait().await;
                task.await
            })
        })
        .collect();
    let mut results = Vec::with_capacity(count);
    for task in tasks {
        results.push(task.await.unwrap());
    }
    results
}

/// What `patchbay keys create` does.
pub(crate) async fn make_key(app: &App, tenant: TenantId, scopes: &[KeyScope]) -> String {
    // The test's own counting ids would give every key of a run the same text.
    let chance = Env::system();
    let (text, whole) = KeyText::make(&chance);
    let key = ApiKey {
        id: ApiKeyId::from_uuid(chance.ids.next()),
        tenant,
        name: "test".to_owned(),
        secret_hash: text.hash(&app.vault),
        public_id: text.public_id,
        scopes: scopes.to_vec(),
        created_at: app.env.now(),
        expires_at: None,
        revoked_at: None,
        last_used_at: None,
    };
    let audit = By::cli(&app.env)
        .did(&app.env, AuditAction::KeyCreated, key.tenant)
        .to(&key.id);
    app.store.create_api_key(&key, &audit).await.unwrap();
    whole.expose().clone()
}

fn tokio_flag() -> tokio::sync::watch::Sender<bool> {
    tokio::sync::watch::Sender::new(false)
}
