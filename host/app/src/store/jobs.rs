use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::StoreResult;
use crate::model::{Job, JobKind, Lease};

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
    /// Age of the oldest due job.
    pub lag: Option<Duration>,
}

/// The queue.
#[async_trait]
pub trait Jobs {
    /// Claims the due job of these kinds that has waited longest, for `lease`, and counts the attempt. A job whose
    /// lease has expired is due again. Two claimers never get the same claim, and jobs of one concurrency key never
    /// run at the same time. `None`: nothing to do.
    async fn claim_job(&self, kinds: &[JobKind], lease: Duration) -> StoreResult<Option<Job>>;

    /// Makes a lease last `lease` from now. `false`: it is gone.
    async fn renew_lease(&self, lease: Lease, ttl: Duration) -> StoreResult<bool>;

    /// Ends a claim. `false`: the lease is gone, and nothing was written.
    async fn end_job(&self, lease: Lease, end: &JobEnd) -> StoreResult<bool>;

    /// Gives a claim back unused, as at shutdown: due at once, and the attempt does not count.
    async fn return_job(&self, lease: Lease) -> StoreResult<()>;

    /// Makes the unfinished job of a kind and target due now. If it is running, it runs once more afterwards, however
    /// it ends. `false`: there is none.
    async fn wake_job(&self, kind: JobKind, target: Uuid) -> StoreResult<bool>;

    /// When the next ready job of these kinds is due; `None`: there is none. A job that waits for another one of its
    /// concurrency key is not ready: the end of that one is what to wait for.
    async fn next_due(&self, kinds: &[JobKind]) -> StoreResult<Option<DateTime<Utc>>>;

    /// The queue in numbers.
    async fn job_stats(&self) -> StoreResult<JobStats>;

    /// Deletes at most `limit` jobs that ended before `before`, done or dead, and their inbox rows. Returns how many jobs.
    /// With its inbox row a webhook's digest is forgotten: keep them longer than the platform repeats.
    async fn purge_jobs(&self, before: DateTime<Utc>, limit: u32) -> StoreResult<u64>;
}
