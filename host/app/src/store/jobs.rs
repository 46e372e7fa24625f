use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use patchbay_core::{JobId, TenantId};
use uuid::Uuid;

use super::{Page, PageRequest, StoreResult};
use crate::model::{Job, JobKind, Lease, NewAudit};

/// How a claim ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JobEnd {
    /// Finished.
    Done,
    /// Run again, with the attempts counted anew: the step ended well.
    Next {
        /// When.
        run_at: DateTime<Utc>,
    },
    /// Run again after a fault; attempts go on counting.
    Again {
        /// When.
        run_at: DateTime<Utc>,
        /// What happened.
        code: String,
    },
    /// Give up.
    Dead {
        /// Why.
        code: String,
    },
}

/// The queue in numbers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct JobStats {
    /// Ready and due.
    pub due: u64,
    /// Leased.
    pub running: u64,
    /// Given up.
    pub dead: u64,
    /// Age of the oldest due job, of the kinds that are [`JobKind::OF_OPERATOR`].
    pub lag: Option<Duration>,
}

/// What is to be claimed.
#[derive(Debug, Clone, Copy)]
pub struct Claim<'a> {
    /// Of this kind.
    pub kind: JobKind,
    /// At most this many.
    pub limit: u32,
    /// For this long.
    pub lease: Duration,
    /// Of a kind that takes turns: the tenant that was served last. The next one by id comes first.
    pub after: Option<TenantId>,
    /// Of a kind that takes turns: tenants that are to wait.
    pub except: &'a [TenantId],
}

/// Which dead jobs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DeadFilter {
    /// Of this kind.
    pub kind: Option<JobKind>,
    /// That ended then or later.
    pub from: Option<DateTime<Utc>>,
    /// That ended before.
    pub to: Option<DateTime<Utc>>,
}

/// Claims in a row that were never heard of again, before a job is put aside: it may be what ends its workers. Who is
/// given such a job does not try it once more.
pub const MAX_LOST: i32 = 3;

/// The queue.
#[async_trait]
pub trait Jobs {
    /// Claims due jobs that nobody has claimed, and counts the attempt: of a kind that takes turns, the one job of the next
    /// tenant that has waited longest; of the others, those that have waited longest. Two claimers never get the same
    /// claim, and jobs of one concurrency key never run at the same time.
    async fn claim_jobs(&self, claim: Claim<'_>) -> StoreResult<Vec<Job>>;

    /// Whether a job of this kind has a claim whose lease has expired.
    async fn has_abandoned(&self, kind: JobKind) -> StoreResult<bool>;

    /// Claims the job whose lease expired first. Alone: what ended its worker may be the job itself, and others must not
    /// share its fate. It counts as lost, and from [`MAX_LOST`] on the claim is no attempt.
    async fn take_over(&self, kind: JobKind, lease: Duration) -> StoreResult<Option<Job>>;

    /// Makes leases last `ttl` from now. Returns those that are still held.
    async fn renew_leases(&self, leases: &[Lease], ttl: Duration) -> StoreResult<Vec<Lease>>;

    /// Ends a claim. `false`: the lease is gone, and nothing was written.
    async fn end_job(&self, lease: Lease, end: &JobEnd) -> StoreResult<bool>;

    /// Gives a claim back unused, as at shutdown: due at once, and the attempt does not count.
    async fn return_job(&self, lease: Lease) -> StoreResult<()>;

    /// Makes the unfinished job of a kind and target due now. If it is running, it runs once more afterwards, however
    /// it ends. `false`: there is none.
    async fn wake_job(&self, kind: JobKind, target: Uuid) -> StoreResult<bool>;

    /// When to look for a job of these kinds next; `None`: there is none, or all wait for others of their keys. A job
    /// that waits for another one of its concurrency key is no reason to look: the end of that one is.
    async fn next_due(&self, kinds: &[JobKind]) -> StoreResult<Option<DateTime<Utc>>>;

    /// The queue in numbers.
    async fn job_stats(&self) -> StoreResult<JobStats>;

    /// A tenant's dead jobs, those that ended last first.
    async fn dead_jobs(&self, tenant: TenantId, filter: DeadFilter, page: PageRequest) -> StoreResult<Page<Job>>;

    /// Makes a tenant's dead job ready and due, as if it were new. `None`: there is no such dead job. `false`: it stays
    /// dead, since its target has an unfinished job of this kind.
    async fn revive_job(&self, tenant: TenantId, id: JobId, audit: &NewAudit) -> StoreResult<Option<bool>>;

    /// Revives at most `limit` of a tenant's dead jobs, the oldest first; of several with one target, one. Returns how
    /// many.
    async fn revive_jobs(&self, tenant: TenantId, filter: DeadFilter, limit: u32, audit: &NewAudit)
    -> StoreResult<u64>;

    /// Deletes at most `limit` jobs that were done before `done`, and as many that died before `dead`, with their inbox
    /// rows. Returns how many jobs. With its inbox row a webhook's digest is forgotten: keep them longer than the
    /// platform repeats.
    async fn purge_jobs(&self, done: DateTime<Utc>, dead: DateTime<Utc>, limit: u32) -> StoreResult<u64>;
}
