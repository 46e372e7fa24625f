use async_trait::async_trait;
use chrono::{DateTime, Utc};
use patchbay_core::{AccountId, PostId, TenantId};

use super::{Page, PageRequest, StoreResult};
use crate::model::{Lease, MetricWatch, NewReading, PastReading};

/// What platforms count of published posts. A post is watched from when it is published and has a public id: whatever
/// stores that starts the watch, with the account's job, in the same transaction.
#[async_trait]
pub trait Metrics {
    /// Posts of an account that are due to be read, those that have waited longest first.
    async fn due_watches(&self, tenant: TenantId, account: AccountId, limit: u32) -> StoreResult<Vec<MetricWatch>>;

    /// Records readings of an account, with their events if an endpoint of the tenant names them, and ends the claim: the
    /// job runs again when the next of the account's posts is due.
    ///
    /// # Errors
    /// `Stale`: the lease is gone, and nothing was written.
    async fn record_readings(
        &self,
        lease: Lease,
        tenant: TenantId,
        account: AccountId,
        readings: &[NewReading],
    ) -> StoreResult<()>;

    /// What is known of a post's numbers; `None`: it is not watched.
    async fn metric_watch(&self, tenant: TenantId, post: PostId) -> StoreResult<Option<MetricWatch>>;

    /// The history of a post, newest first.
    async fn metric_history(&self, tenant: TenantId, post: PostId, page: PageRequest)
    -> StoreResult<Page<PastReading>>;

    /// Deletes at most `limit` readings of before then. What was told last stays. Returns how many.
    async fn purge_readings(&self, before: DateTime<Utc>, limit: u32) -> StoreResult<u64>;
}
