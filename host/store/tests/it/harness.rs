//! Fresh databases for tests, and the shortest way to put something into one.

use std::{
    env,
    future::Future,
    sync::{Arc, LazyLock},
    time::Duration,
};

use chrono::{DateTime, TimeDelta, Utc};
use patchbay_app::{
    env::{Clock, Env, FixedClock, Ids},
    model::{
        Account, AccountStatus, Actor, AppliedEvent, AuditAction, By, Content, EventNames, InboxItem, Job, JobKind,
        Lease, NewAccount, NewAudit, NewEndpoint, NewEvent, NewJob, NewPost, NewWebhook, PostRecord, SealedSecret,
        SealedTokens, SessionGrant, Settled, TokenUpdate, WebhookEnd, WebhookVerdict,
    },
    store::{Claim, Connected, Enqueued, NewGrant, Store, StoreError, StoreResult, StoredInbox},
};
use patchbay_core::{
    AccountId, AuditId, EndpointId, EventId, EventKind, InboxId, IncomingEvent, JobId, PostId, PostKind, PostMode,
    ProviderId, TenantId,
};
use patchbay_store::{Options, postgres::PostgresStore, sqlite::SqliteStore};
use serde_json::json;
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use uuid::Uuid;

pub const LEASE: Duration = Duration::from_secs(30);
pub const SECOND: Duration = Duration::from_secs(1);
pub const MINUTE: Duration = Duration::from_secs(60);

/// The tenant of most tests.
pub const TENANT: TenantId = TenantId::DEFAULT;

/// A row for the audit log, for tests that look at something else.
pub static NOTE: LazyLock<NewAudit> = LazyLock::new(|| NewAudit {
    id: AuditId::from_uuid(Uuid::nil()),
    tenant: TENANT,
    by: By {
        actor: Actor::Cli,
        request_id: "req".into(),
    },
    action: AuditAction::KeyCreated,
    target: None,
    detail: json!({}),
});

/// A store that a test has to itself, with a clock that the test moves.
#[derive(Clone, Debug)]
pub struct World {
    pub store: Arc<dyn Store>,
    pub clock: Arc<FixedClock>,
    pub ids: Arc<dyn Ids>,
}

/// A clock at the time where all tests start, and ids that count.
pub fn env(seed: u64) -> (Arc<FixedClock>, Arc<dyn Ids>) {
    let start = DateTime::from_timestamp(1_800_000_000, 123_456_000).unwrap();
    let clock = FixedClock::at(start);
    let ids = Env::fixed(clock.clone(), seed).ids;
    (clock, ids)
}

/// Options of a test's store. Its own ids are another series than the test's.
pub fn options(clock: &Arc<FixedClock>) -> Options {
    Options {
        clock: Some(clock.clone()),
        ids: Env::fixed(clock.clone(), 0x5707e).ids,
        allow_unsafe_durability: true,
        // Tests crowd the store on purpose.
        acquire_timeout: Duration::from_secs(30),
        ..Options::default()
    }
}

/// Runs a test on a fresh SQLite file.
pub async fn on_sqlite<F: Future<Output = ()>>(case: impl FnOnce(World) -> F) {
    let dir = tempfile::tempdir().unwrap();
    let (clock, ids) = env(1);
    let store = SqliteStore::open(dir.path().join("test.db"), options(&clock))
        .await
        .unwrap();
    let store: Arc<dyn Store> = Arc::new(store);
    case(World { store, clock, ids }).await;
}

/// Runs a test on a fresh PostgreSQL database.
pub async fn on_postgres<F: Future<Output = ()>>(case: impl FnOnce(World) -> F) {
    with_database(async |url| {
        let (clock, ids) = env(1);
        let store: Arc<dyn Store> = Arc::new(PostgresStore::connect(url, options(&clock)).await.unwrap());
        case(World { store, clock, ids }).await;
    })
    .await;
}

/// Makes a database on the test server, and drops it after a test that went well. After a failed one it stays, to be
/// looked at. Without a server the test is skipped, but under `CI` it fails.
pub async fn with_database(test: impl AsyncFnOnce(&str)) {
    let Ok(server) = env::var("PATCHBAY_TEST_POSTGRES") else {
        assert!(
            env::var_os("CI").is_none(),
            "PATCHBAY_TEST_POSTGRES is not set, and CI tests both databases"
        );
        eprintln!("skipped: PATCHBAY_TEST_POSTGRES is not set");
        return;
    };
    let name = format!("patchbay_test_{}", Env::system().ids.next().simple());
    let mut url = url::Url::parse(&server).unwrap();
    let mut admin = PgConnection::connect(&server).await.unwrap();
    sqlx::query(AssertSqlSafe(format!("CREATE DATABASE {name}")))
        .execute(&mut admin)
        .await
        .unwrap();
    admin.close().await.unwrap();
    url.set_path(&name);
    test(url.as_str()).await;
    let mut admin = PgConnection::connect(&server).await.unwrap();
    sqlx::query(AssertSqlSafe(format!("DROP DATABASE {name} WITH (FORCE)")))
        .execute(&mut admin)
        .await
        .unwrap();
}

pub fn provider() -> ProviderId {
    ProviderId::parse("tiktok").unwrap()
}

pub fn other_provider() -> ProviderId {
    ProviderId::parse("instagram").unwrap()
}

impl World {
    pub fn id(&self) -> Uuid {
        self.ids.next()
    }

    pub fn now(&self) -> DateTime<Utc> {
        self.clock.now()
    }

    pub fn later(&self, by: Duration) -> DateTime<Utc> {
        self.now() + TimeDelta::from_std(by).unwrap()
    }

    pub fn advance(&self, by: Duration) {
        self.clock.advance(by);
    }

    /// A second tenant.
    pub async fn other_tenant(&self) -> TenantId {
        let id = TenantId::from_uuid(self.id());
        self.store.ensure_tenant(id, "other").await.unwrap().id
    }

    pub fn new_account(&self, tenant: TenantId, remote_id: &str) -> NewAccount {
        NewAccount {
            id: AccountId::from_uuid(self.id()),
            tenant,
            owner: "owner-1".into(),
            provider: provider(),
            client_id: "app".into(),
            remote_id: remote_id.into(),
            display_name: Some("Ada".into()),
            username: Some("ada".into()),
            avatar_url: Some("https://cdn.example/a.jpg".parse().unwrap()),
            profile_url: None,
            scopes: vec!["video.publish".into()],
            status: AccountStatus::Active,
            simulated: true,
            connected_at: self.now(),
        }
    }

    pub fn tokens(&self, version: i64) -> TokenUpdate {
        TokenUpdate {
            tokens: SealedTokens {
                envelope: format!("sealed {version}").into_bytes(),
                version,
            },
            access_expires_at: Some(self.later(Duration::from_secs(7200))),
            refresh_expires_at: None,
            refresh_due_at: Some(self.later(Duration::from_secs(3600))),
        }
    }

    pub fn event(&self, name: &str) -> NewEvent {
        let id = EventId::from_uuid(self.id());
        NewEvent {
            id,
            name: name.into(),
            dedupe_key: id.to_string(),
            account: None,
            post: None,
            payload: json!({"of": name}),
        }
    }

    pub fn job(&self, tenant: TenantId, kind: JobKind, target: Uuid) -> NewJob {
        NewJob {
            id: JobId::from_uuid(self.id()),
            tenant,
            kind,
            target,
            concurrency_key: kind.takes_turns().then(|| target.to_string()),
            run_at: None,
            correlation_id: "cor".into(),
        }
    }

    /// Stores a grant as the use case does.
    pub async fn connect_as(&self, account: &NewAccount) -> StoreResult<Account> {
        let to = self.store.place_grant(account).await?;
        self.connect_at(to, account).await
    }

    pub async fn connect_at(&self, to: Connected, account: &NewAccount) -> StoreResult<Account> {
        self.grant(to, account, &self.tokens(to.next_version), None).await
    }

    /// Stores a grant. A pending account gets the job that ends it in fifteen minutes.
    pub async fn grant(
        &self,
        to: Connected,
        account: &NewAccount,
        tokens: &TokenUpdate,
        session: Option<&SessionGrant>,
    ) -> StoreResult<Account> {
        let mut revoke = self.job(account.tenant, JobKind::Revoke, Uuid::nil());
        revoke.run_at = Some(self.later(15 * MINUTE));
        let grant = NewGrant {
            account,
            tokens,
            refresh: &self.job(account.tenant, JobKind::Refresh, Uuid::nil()),
            revoke: Some(&revoke).filter(|_| account.status == AccountStatus::Pending),
            together: None,
            events: &[self.event("account.connected")],
            audit: &NOTE,
        };
        let mut stored = self.store.finish_connect(&[(to, grant)], session).await?;
        Ok(stored.remove(0))
    }

    /// An active account of [`TENANT`].
    pub async fn account(&self, remote_id: &str) -> Account {
        self.connect_as(&self.new_account(TENANT, remote_id)).await.unwrap()
    }

    pub async fn reload(&self, account: &Account) -> Account {
        self.store.account(account.tenant, account.id).await.unwrap().unwrap()
    }

    pub fn new_post(&self, account: &Account, key: &str) -> NewPost {
        NewPost {
            id: PostId::from_uuid(self.id()),
            tenant: account.tenant,
            account: account.id,
            provider: account.provider.clone(),
            simulated: true,
            content: Content {
                kind: PostKind::Video,
                mode: PostMode::Direct,
                title: Some("Title".into()),
                text: None,
                media: Vec::new(),
                options: serde_json::Map::new(),
                consent: None,
            },
            draft: false,
            scheduled_at: None,
            group: None,
            retry_of: None,
            content_hash: None,
            idempotency_key: key.into(),
            fingerprint: [7; 32],
            correlation_id: "cor".into(),
        }
    }

    pub async fn enqueue(&self, post: &NewPost) -> StoreResult<Enqueued> {
        let mut job = self.job(post.tenant, JobKind::Publish, post.id.as_uuid());
        job.run_at = post.scheduled_at;
        self.store.enqueue_posts(&[(post.clone(), job)]).await
    }

    /// A queued post with its job.
    pub async fn post(&self, account: &Account, key: &str) -> PostRecord {
        match self.enqueue(&self.new_post(account, key)).await.unwrap() {
            Enqueued::Created(mut posts) => posts.remove(0),
            other => panic!("{other:?}"),
        }
    }

    pub async fn reload_post(&self, post: &PostRecord) -> PostRecord {
        self.store.post(post.tenant, post.id).await.unwrap().unwrap()
    }

    pub fn new_endpoint(&self, tenant: TenantId, events: &[&str]) -> NewEndpoint {
        NewEndpoint {
            id: EndpointId::from_uuid(self.id()),
            tenant,
            url: "https://hooks.example.com/in".parse().unwrap(),
            description: Some("hooks".into()),
            events: EventNames(events.iter().map(|name| (*name).to_owned()).collect()),
            secret: SealedSecret {
                envelope: b"sealed 1".to_vec(),
                version: 1,
            },
        }
    }

    /// Claims as a worker does: an abandoned job first.
    pub async fn claim(&self, kind: JobKind) -> Option<Job> {
        if let Some(job) = self.store.take_over(kind, LEASE).await.unwrap() {
            return Some(job);
        }
        let mut jobs = self.store.claim_jobs(claim_of(kind)).await.unwrap();
        assert!(jobs.len() <= 1);
        jobs.pop()
    }

    /// Claims the only job of a kind that is due.
    pub async fn claimed(&self, kind: JobKind) -> Job {
        self.claim(kind).await.expect("a job is due")
    }

    /// Stores a webhook of the app, and returns its row.
    pub async fn webhook(&self, client_id: &str) -> InboxId {
        let item = self.new_webhook(TENANT, client_id);
        assert_eq!(self.receive_item(&item).await, StoredInbox::New);
        item.id
    }

    pub async fn receive_item(&self, item: &NewWebhook) -> StoredInbox {
        self.store.store_inbox(std::slice::from_ref(item)).await.unwrap()[0]
    }

    /// One stored webhook.
    pub async fn inbox(&self, id: InboxId) -> Option<InboxItem> {
        self.store.inbox(&[id]).await.unwrap().pop()
    }

    /// The end of a webhook that holds these events.
    pub fn read(&self, lease: Lease, inbox: InboxId, events: &[IncomingEvent]) -> WebhookEnd {
        let events = events
            .iter()
            .map(|event| (EventId::from_uuid(self.id()), event.clone()));
        WebhookEnd {
            lease,
            inbox,
            verdict: WebhookVerdict::Read(events.collect()),
        }
    }

    /// Settles one webhook.
    pub async fn settle(&self, end: WebhookEnd) -> Settled {
        let mut settled = self.store.settle_webhooks(&[end]).await.unwrap();
        assert_eq!(settled.len(), 1);
        settled.remove(0)
    }

    pub fn new_webhook(&self, tenant: TenantId, client_id: &str) -> NewWebhook {
        let id = InboxId::from_uuid(self.id());
        let mut digest = [0; 32];
        digest[..16].copy_from_slice(id.as_uuid().as_bytes());
        NewWebhook {
            id,
            tenant,
            provider: provider(),
            client_id: client_id.into(),
            scheme: "test".into(),
            digest,
            body: b"{}".to_vec(),
            correlation_id: "cor".into(),
        }
    }

    /// An event of a platform's account.
    pub fn incoming(&self, kind: EventKind, remote_account: &str) -> IncomingEvent {
        IncomingEvent {
            name: "platform.event".into(),
            kind,
            remote_account: Some(remote_account.into()),
            remote_ref: None,
            dedupe_key: self.id().to_string(),
            occurred_at: Some(self.now()),
            payload: json!({"n": 1}),
        }
    }

    /// Receives events in one webhook of the app `app`, and applies them as the worker does.
    pub async fn receive(&self, events: &[IncomingEvent]) -> Vec<AppliedEvent> {
        self.receive_from("app", events).await
    }

    pub async fn receive_from(&self, client_id: &str, events: &[IncomingEvent]) -> Vec<AppliedEvent> {
        let inbox = self.webhook(client_id).await;
        let job = self.claimed(JobKind::Ingest).await;
        assert_eq!(job.target, inbox.as_uuid());
        match self.settle(self.read(job.lease(), inbox, events)).await {
            Settled::Applied(events) => events,
            other => panic!("{other:?}"),
        }
    }
}

/// A claim of one job.
pub fn claim_of(kind: JobKind) -> Claim<'static> {
    Claim {
        kind,
        limit: 1,
        lease: LEASE,
        after: None,
        except: &[],
    }
}

/// The end of a webhook that nobody can read.
pub fn bury(lease: Lease, inbox: InboxId) -> WebhookEnd {
    WebhookEnd {
        lease,
        inbox,
        verdict: WebhookVerdict::Dead("malformed".into()),
    }
}

#[track_caller]
pub fn assert_stale<T: std::fmt::Debug>(result: StoreResult<T>) {
    match result {
        Err(StoreError::Stale) => {}
        other => panic!("{other:?}"),
    }
}

/// Runs `count` tasks at once and returns what each one made.
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
