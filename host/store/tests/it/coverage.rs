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
    AccountId, ApiKeyId, DeliveryId, EndpointId, ErasureId, InboxId, JobId, MediaId, PostId, ProviderId, SessionId,
    SlotId, TenantId,
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

    fn wakes(&self) -> &patchbay_app::wakes::Wakes {
        self.inner.wakes()
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
        finish_connect(grants: &[(Connected, NewGrant<'_>)], session: Option<&SessionGrant>) -> Vec<Account>;
        shares_grant(tenant: TenantId, id: AccountId) -> bool;
        account(tenant: TenantId, id: AccountId) -> Option<Account>;
        accounts(tenant: TenantId, filter: &AccountFilter, page: PageRequest) -> Page<Account>;
        account_traces(tenant: TenantId, id: AccountId) -> AccountTraces;
        lease_refresh(
            tenant: TenantId, id: AccountId, expected_version: i64, holder: &str, ttl: Duration
        ) -> RefreshLease;
        swap_tokens(tenant: TenantId, id: AccountId, expected_version: i64, tokens: &TokenUpdate) -> bool;
        release_refresh(tenant: TenantId, id: AccountId, holder: &str) -> ();
        require_reauth(
            tenant: TenantId, id: AccountId, expected_version: i64, code: &str, event: &NewEvent, audit: &NewAudit
        ) -> bool;
        begin_disconnect(
            tenant: TenantId, id: AccountId, code: &str, revoke: Option<&NewJob>, event: &NewEvent, audit: &NewAudit
        ) -> Option<Account>;
        refuse_pending(
            tenant: TenantId, id: AccountId, version: i64, event: &NewEvent, audit: &NewAudit
        ) -> bool;
        erase_tokens(tenant: TenantId, id: AccountId) -> ();
    }
    Avatars {
        avatar(tenant: TenantId, account: AccountId) -> Option<Avatar>;
        claim_avatar(tenant: TenantId, account: AccountId, source: &str, seen: Option<DateTime<Utc>>) -> bool;
        keep_avatar(tenant: TenantId, account: AccountId, source: &str, picture: &Picture) -> ();
    }
    Audits {
        add_audit(audit: &NewAudit) -> AuditEntry;
        audit(tenant: TenantId, filter: &AuditFilter, page: PageRequest) -> Page<AuditEntry>;
        audit_chain(tenant: TenantId, after: i64, limit: u32) -> Vec<AuditEntry>;
        audit_head(tenant: TenantId) -> Option<AuditHead>;
        audited_tenant(after: Option<TenantId>) -> Option<TenantId>;
    }
    Deliveries {
        deliveries(
            tenant: TenantId, endpoint: EndpointId, filter: DeliveryFilter, page: PageRequest
        ) -> Page<Delivery>;
        outgoing(tenant: TenantId, id: DeliveryId) -> Option<Outgoing>;
        end_delivery(lease: Lease, tenant: TenantId, id: DeliveryId, end: &DeliveryEnd) -> ();
        redeliver(tenant: TenantId, endpoint: EndpointId, id: DeliveryId, audit: &NewAudit) -> Option<Delivery>;
        redeliver_window(
            tenant: TenantId, endpoint: EndpointId, filter: DeliveryFilter, limit: u32, audit: &NewAudit
        ) -> u64;
        push_to(tenant: TenantId, endpoint: EndpointId, event: &NewEvent) -> Option<Delivery>;
        purge_deliveries(delivered: DateTime<Utc>, undelivered: DateTime<Utc>, limit: u32) -> u64;
    }
    Endpoints {
        create_endpoint(endpoint: &NewEndpoint, most: u32, audit: &NewAudit) -> Option<Endpoint>;
        endpoint(tenant: TenantId, id: EndpointId) -> Option<Endpoint>;
        endpoints(tenant: TenantId, page: PageRequest) -> Page<Endpoint>;
        change_endpoint(
            tenant: TenantId, id: EndpointId, change: &EndpointChange, audit: &NewAudit
        ) -> Option<Endpoint>;
        rotate_secret(
            tenant: TenantId, id: EndpointId, secret: &SealedSecret, old_until: DateTime<Utc>, audit: &NewAudit
        ) -> Option<Endpoint>;
        delete_endpoint(tenant: TenantId, id: EndpointId, audit: &NewAudit) -> bool;
    }
    Erasures {
        begin_erasure(erasure: &NewErasure, job: &NewJob, audit: &NewAudit) -> Option<Erasure>;
        erasure(id: ErasureId) -> Option<Erasure>;
        erase_grant(lease: Lease, erasure: &Erasure, grant: &ErasedGrant) -> ();
        destroy_data_keys(lease: Lease, erasure: &Erasure) -> ();
        erase_account(lease: Lease, erasure: &Erasure, account: AccountId, limit: u32) -> u64;
        tenant_media(tenant: TenantId, after: Option<MediaId>, limit: u32) -> Vec<MediaId>;
        erase_media(lease: Lease, erasure: &Erasure, media: &[MediaId]) -> ();
        tenant_uploads(tenant: TenantId, limit: u32) -> Vec<Upload>;
        erase_uploads(lease: Lease, erasure: &Erasure, uploads: &[MediaId]) -> ();
        erase_tenant(lease: Lease, erasure: &Erasure, limit: u32) -> u64;
        finish_erasure(lease: Lease, erasure: &Erasure, event: Option<&NewEvent>, audit: &NewAudit) -> ();
    }
    Events {
        store_inbox(webhooks: &[NewWebhook]) -> Vec<StoredInbox>;
        inbox(ids: &[InboxId]) -> Vec<InboxItem>;
        settle_webhooks(ends: &[WebhookEnd]) -> Vec<Settled>;
        events(tenant: TenantId, filter: &EventFilter, page: PageRequest) -> Page<Event>;
    }
    Flows {
        start_flow(flow: &Flow, browser: Option<[u8; 32]>) -> bool;
        take_flow(state_hash: [u8; 32]) -> Option<Flow>;
        continue_flow(flow: &Flow) -> bool;
        flow(state_hash: [u8; 32]) -> Option<Flow>;
        create_session(session: &Session) -> ();
        session(token_hash: [u8; 32]) -> Option<Session>;
        session_by_id(tenant: TenantId, id: SessionId) -> Option<Session>;
        end_session(
            tenant: TenantId, id: SessionId, status: SessionStatus, code: Option<&str>
        ) -> Option<Session>;
        complete_session(
            tenant: TenantId, id: SessionId, code_hash: [u8; 32], taken: &[(NewEvent, NewAudit)]
        ) -> Completion;
        connect_origins(tenant: TenantId) -> Vec<String>;
        set_connect_origins(tenant: TenantId, origins: &[String], audit: &NewAudit) -> bool;
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
        revive_job(tenant: TenantId, id: JobId, audit: &NewAudit) -> Option<bool>;
        revive_jobs(tenant: TenantId, filter: DeadFilter, limit: u32, audit: &NewAudit) -> u64;
        purge_jobs(done: DateTime<Utc>, dead: DateTime<Utc>, limit: u32) -> u64;
    }
    Keys {
        ensure_tenant(id: TenantId, name: &str) -> Tenant;
        tenant(id: TenantId) -> Option<Tenant>;
        key_state() -> KeyState;
        add_data_key(key: DataKey) -> DataKey;
        create_api_key(key: &ApiKey, audit: &NewAudit) -> ();
        api_key(public_id: &str) -> Option<ApiKey>;
        api_keys(tenant: TenantId, page: PageRequest) -> Page<ApiKey>;
        create_tenant(id: TenantId, name: &str, audit: &NewAudit) -> Tenant;
        rename_tenant(id: TenantId, name: &str, audit: &NewAudit) -> Option<Tenant>;
        tenants(page: PageRequest) -> Page<Tenant>;
        revoke_api_key(tenant: TenantId, id: ApiKeyId, audit: &NewAudit) -> bool;
        touch_api_key(id: ApiKeyId) -> ();
        start_operator_session(token_hash: [u8; 32], public_id: &str, audit: &NewAudit) -> OperatorSession;
        operator_session(token_hash: [u8; 32]) -> Option<OperatorSession>;
        end_operator_session(token_hash: [u8; 32], audit: &NewAudit) -> ();
    }
    MediaRows {
        media(tenant: TenantId, id: MediaId) -> Option<Media>;
        media_list(tenant: TenantId, page: PageRequest) -> Page<Media>;
        known_media(ids: &[MediaId]) -> Vec<MediaId>;
        media_bytes(tenant: TenantId) -> u64;
        keep_media(tenant: TenantId, id: MediaId, until: DateTime<Utc>) -> ();
        purge_media(limit: u32) -> Vec<MediaId>;
    }
    Metrics {
        due_watches(tenant: TenantId, account: AccountId, limit: u32) -> Vec<MetricWatch>;
        record_readings(
            lease: Lease, tenant: TenantId, account: AccountId, readings: &[NewReading]
        ) -> ();
        metric_watch(tenant: TenantId, post: PostId) -> Option<MetricWatch>;
        metric_history(tenant: TenantId, post: PostId, page: PageRequest) -> Page<PastReading>;
        purge_readings(before: DateTime<Utc>, limit: u32) -> u64;
    }
    Posts {
        enqueue_posts(posts: &[(NewPost, NewJob)]) -> Enqueued;
        posts_of_key(tenant: TenantId, key: &str) -> Option<([u8; 32], Vec<PostRecord>)>;
        duplicate_of(tenant: TenantId, account: AccountId, content_hash: [u8; 32]) -> Option<PostId>;
        post(tenant: TenantId, id: PostId) -> Option<PostRecord>;
        post_by_ref(tenant: TenantId, provider: &ProviderId, remote_ref: &str) -> Option<PostRecord>;
        posts(tenant: TenantId, filter: &PostFilter, page: PageRequest) -> Page<PostRecord>;
        post_outcomes(
            tenant: TenantId, account: Option<AccountId>, from: DateTime<Utc>, to: DateTime<Utc>, limit: u32
        ) -> Vec<PostOutcome>;
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
    Operations {
        count_accounts(scope: &Scope, most: u32) -> AccountCounts;
        count_open_posts(scope: &Scope, most: u32) -> u64;
        count_waiting(tenant: Option<TenantId>, most: u32) -> u64;
        count_outcomes(scope: &Scope, span: Span) -> OutcomeCounts;
        count_jobs(kind: JobKind, most: u32) -> KindCounts;
        count_dead(tenant: Option<TenantId>, most: u32) -> Vec<(JobKind, u64)>;
        count_deliveries(tenant: Option<TenantId>, span: Span) -> DeliveryCounts;
        webhook_times(tenant: Option<TenantId>, span: Span) -> Vec<Duration>;
        count_refresh_failures(scope: &Scope, span: Span) -> RefreshFailures;
    }
    Slots {
        take_slot(request: &SlotRequest) -> TakenSlot;
        settle_slot(tenant: TenantId, id: SlotId, after: Duration) -> ();
        pause_window(window: &Window, length: Duration) -> ();
        windows(windows: &[Window]) -> Vec<WindowUse>;
        purge_slots(limit: u32) -> u64;
    }
    Uploads {
        begin_upload(upload: &NewUpload, quota: u64, most: u32) -> BegunUpload;
        upload(tenant: TenantId, id: MediaId) -> Option<Upload>;
        lease_upload(tenant: TenantId, id: MediaId, ttl: Duration) -> LeasedUpload;
        note_upload(lease: UploadLease, progress: &Progress, ttl: Duration, expires_at: DateTime<Utc>) -> ();
        note_source(lease: UploadLease, seen: &patchbay_app::model::Seen, size: u64, quota: u64) -> bool;
        fail_import(lease: UploadLease, failure: ImportFailure, expires_at: DateTime<Utc>, event: &NewEvent) -> ();
        release_upload(lease: UploadLease) -> ();
        finish_upload(lease: UploadLease, media: &Media, event: Option<&NewEvent>) -> ();
        delete_upload(tenant: TenantId, id: MediaId) -> Option<Upload>;
        purge_uploads(limit: u32) -> Vec<Upload>;
    }
}
