//! The suite calls every method of the store. One that no case calls may do anything at all on either database.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use patchbay_app::{model::*, store::*};
use patchbay_core::{
    AccountId, ApiKeyId, DeliveryId, EndpointId, InboxId, JobId, MediaId, PostId, ProviderId, SlotId, TenantId,
};
use uuid::Uuid;

use crate::{
    harness::{World, on_sqlite},
    suite::CASES,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_suite_calls_every_method() {
    let seen: Seen = Arc::default();
    for case in CASES {
        on_sqlite(|world| {
            let store = Counting {
                inner: world.store.clone(),
                seen: seen.clone(),
            };
            case(World {
                store: Arc::new(store),
                ..world
            })
        })
        .await;
    }
    let seen = seen.lock().unwrap();
    let missed: Vec<_> = METHODS.iter().filter(|method| !seen.contains(*method)).collect();
    assert!(missed.is_empty(), "no case of the suite calls {missed:?}");
}

type Seen = Arc<Mutex<BTreeSet<&'static str>>>;

/// Notes what is called.
#[derive(Debug)]
struct Counting {
    inner: Arc<dyn Store>,
    seen: Seen,
}

impl Counting {
    fn note(&self, method: &'static str) {
        self.seen.lock().unwrap().insert(method);
    }
}

#[async_trait]
impl Store for Counting {
    fn backend(&self) -> &'static str {
        self.note("backend");
        self.inner.backend()
    }

    fn side_by_side(&self) -> usize {
        self.inner.side_by_side()
    }

    async fn now(&self) -> StoreResult<DateTime<Utc>> {
        self.note("now");
        self.inner.now().await
    }

    async fn probe_write(&self) -> StoreResult<()> {
        self.note("probe_write");
        self.inner.probe_write().await
    }

    async fn end_orphaned_leases(&self) -> StoreResult<()> {
        self.note("end_orphaned_leases");
        self.inner.end_orphaned_leases().await
    }
}

/// Implements the role traits by calling the inner store. A method that is missing here does not compile, unless it
/// has a default.
macro_rules! counted {
    ($($role:ident { $($method:ident($($arg:ident: $type:ty),*) -> $out:ty;)* })*) => {
        $(#[async_trait]
        impl $role for Counting {
            $(async fn $method(&self, $($arg: $type),*) -> StoreResult<$out> {
                self.note(stringify!($method));
                self.inner.$method($($arg),*).await
            })*
        })*

        const METHODS: &[&str] =
            &["backend", "now", "probe_write", "end_orphaned_leases", $($(stringify!($method),)*)*];
    };
}

counted! {
    Accounts {
        place_grant(account: &NewAccount) -> Connected;
        finish_connect(
            place: Connected, account: &NewAccount, tokens: &TokenUpdate, refresh: &NewJob, event: &NewEvent
        ) -> Account;
        account(tenant: TenantId, id: AccountId) -> Option<Account>;
        accounts(tenant: TenantId, filter: &AccountFilter, page: PageRequest) -> Page<Account>;
        lease_refresh(
            tenant: TenantId, id: AccountId, expected_version: i64, holder: &str, ttl: Duration
        ) -> RefreshLease;
        swap_tokens(tenant: TenantId, id: AccountId, expected_version: i64, tokens: &TokenUpdate) -> bool;
        release_refresh(tenant: TenantId, id: AccountId, holder: &str) -> ();
        require_reauth(
            tenant: TenantId, id: AccountId, expected_version: i64, code: &str, event: &NewEvent
        ) -> bool;
        begin_disconnect(
            tenant: TenantId, id: AccountId, code: &str, revoke: Option<&NewJob>, event: &NewEvent
        ) -> Option<Account>;
        erase_tokens(tenant: TenantId, id: AccountId) -> ();
    }
    Deliveries {
        deliveries(
            tenant: TenantId, endpoint: EndpointId, filter: DeliveryFilter, page: PageRequest
        ) -> Page<Delivery>;
        outgoing(tenant: TenantId, id: DeliveryId) -> Option<Outgoing>;
        end_delivery(lease: Lease, tenant: TenantId, id: DeliveryId, end: &DeliveryEnd) -> ();
        redeliver(tenant: TenantId, endpoint: EndpointId, id: DeliveryId) -> Option<Delivery>;
        redeliver_window(tenant: TenantId, endpoint: EndpointId, filter: DeliveryFilter, limit: u32) -> u64;
        push_to(tenant: TenantId, endpoint: EndpointId, event: &NewEvent) -> Option<Delivery>;
        purge_deliveries(delivered: DateTime<Utc>, undelivered: DateTime<Utc>, limit: u32) -> u64;
    }
    Endpoints {
        create_endpoint(endpoint: &NewEndpoint, most: u32) -> Option<Endpoint>;
        endpoint(tenant: TenantId, id: EndpointId) -> Option<Endpoint>;
        endpoints(tenant: TenantId, page: PageRequest) -> Page<Endpoint>;
        change_endpoint(tenant: TenantId, id: EndpointId, change: &EndpointChange) -> Option<Endpoint>;
        rotate_secret(
            tenant: TenantId, id: EndpointId, secret: &SealedSecret, old_until: DateTime<Utc>
        ) -> Option<Endpoint>;
        delete_endpoint(tenant: TenantId, id: EndpointId) -> bool;
    }
    Events {
        store_inbox(webhooks: &[NewWebhook]) -> Vec<StoredInbox>;
        inbox(ids: &[InboxId]) -> Vec<InboxItem>;
        settle_webhooks(ends: &[WebhookEnd]) -> Vec<Settled>;
        events(tenant: TenantId, filter: &EventFilter, page: PageRequest) -> Page<Event>;
    }
    Flows {
        start_flow(flow: &Flow) -> ();
        take_flow(state_hash: [u8; 32]) -> Option<Flow>;
        create_session(session: &Session) -> ();
        session(token_hash: [u8; 32]) -> Option<Session>;
        purge_flows(limit: u32) -> u64;
    }
    Jobs {
        claim_jobs(claim: Claim<'_>) -> Vec<Job>;
        has_abandoned(kind: JobKind) -> bool;
        take_over(kind: JobKind, lease: Duration) -> Option<Job>;
        renew_leases(leases: &[Lease], ttl: Duration) -> Vec<Lease>;
        end_job(lease: Lease, end: &JobEnd) -> bool;
        return_job(lease: Lease) -> ();
        wake_job(kind: JobKind, target: Uuid) -> bool;
        next_due(kinds: &[JobKind]) -> Option<DateTime<Utc>>;
        job_stats() -> JobStats;
        dead_jobs(tenant: TenantId, filter: DeadFilter, page: PageRequest) -> Page<Job>;
        revive_job(tenant: TenantId, id: JobId) -> Option<bool>;
        revive_jobs(tenant: TenantId, filter: DeadFilter, limit: u32) -> u64;
        purge_jobs(done: DateTime<Utc>, dead: DateTime<Utc>, limit: u32) -> u64;
    }
    Keys {
        ensure_tenant(id: TenantId, name: &str) -> Tenant;
        tenant(id: TenantId) -> Option<Tenant>;
        key_state() -> KeyState;
        add_data_key(key: DataKey) -> DataKey;
        create_api_key(key: &ApiKey) -> ();
        api_key(public_id: &str) -> Option<ApiKey>;
        api_keys(tenant: TenantId, page: PageRequest) -> Page<ApiKey>;
        create_tenant(id: TenantId, name: &str) -> Tenant;
        tenants(page: PageRequest) -> Page<Tenant>;
        revoke_api_key(tenant: TenantId, id: ApiKeyId) -> bool;
        touch_api_key(id: ApiKeyId) -> ();
    }
    MediaRows {
        add_media(media: &Media) -> ();
        media(tenant: TenantId, id: MediaId) -> Option<Media>;
        media_bytes(tenant: TenantId) -> u64;
        keep_media(tenant: TenantId, id: MediaId, until: DateTime<Utc>) -> ();
        purge_media(limit: u32) -> Vec<MediaId>;
    }
    Posts {
        enqueue_posts(posts: &[(NewPost, NewJob)]) -> Enqueued;
        posts_of_key(tenant: TenantId, key: &str) -> Option<([u8; 32], Vec<PostRecord>)>;
        duplicate_of(tenant: TenantId, account: AccountId, content_hash: [u8; 32]) -> Option<PostId>;
        post(tenant: TenantId, id: PostId) -> Option<PostRecord>;
        post_by_ref(tenant: TenantId, provider: &ProviderId, remote_ref: &str) -> Option<PostRecord>;
        posts(tenant: TenantId, filter: &PostFilter, page: PageRequest) -> Page<PostRecord>;
        mark_about_to(lease: Lease, tenant: TenantId, post: PostId, step: i64, op: &str) -> Mark;
        keep_receipt(
            tenant: TenantId, post: PostId, step: i64, op: &str, status: u16, receipt: &[u8]
        ) -> ();
        clear_mark(tenant: TenantId, post: PostId, step: i64, op: &str) -> ();
        commits(tenant: TenantId, post: PostId) -> Vec<Commit>;
        next_steps(tenant: TenantId, posts: &[PostId]) -> Vec<(PostId, DateTime<Utc>)>;
        record_step(lease: Lease, record: &StepRecord) -> PostRecord;
        edit_post(edit: &PostEdit, event: &NewEvent) -> Option<EditOutcome>;
        cancel_post(
            tenant: TenantId, id: PostId, seen: Option<DateTime<Utc>>, event: &NewEvent
        ) -> Option<CancelOutcome>;
    }
    OpenQuestions {
        observations(tenant: TenantId, post: PostId) -> Vec<Observation>;
        add_pull_urls(
            lease: Lease, tenant: TenantId, post: PostId, step: i64, urls: &[NewPullUrl], life: Duration
        ) -> ();
        pull_url(token_hash: [u8; 32], takes: bool) -> Option<PullUrl>;
        close_unfetched(tenant: TenantId, post: PostId, step: i64) -> Pulled;
        stray_ref(tenant: TenantId, post: PostId, step: i64) -> Option<String>;
        purge_pull_urls(limit: u32) -> u64;
    }
    Slots {
        take_slot(request: &SlotRequest) -> TakenSlot;
        settle_slot(tenant: TenantId, id: SlotId, after: Duration) -> ();
        pause_window(window: &Window, length: Duration) -> ();
        windows(windows: &[Window]) -> Vec<WindowUse>;
        purge_slots(limit: u32) -> u64;
    }
}
