use async_trait::async_trait;
use chrono::{DateTime, Utc};
use patchbay_core::{DeliveryId, EndpointId, TenantId};

use super::{Page, PageRequest, StoreResult};
use crate::model::{Delivery, DeliveryEnd, DeliveryStatus, Lease, NewAudit, NewEvent, Outgoing};

/// Which deliveries of an endpoint.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DeliveryFilter {
    /// In this state.
    pub status: Option<DeliveryStatus>,
    /// Made then or later.
    pub from: Option<DateTime<Utc>>,
    /// Made before.
    pub to: Option<DateTime<Utc>>,
}

/// Events on their way to endpoints. Whatever stores an event stores, in the same transaction, a delivery for each endpoint
/// of the tenant that wants it, with its job; for a disabled endpoint it is held, without a job. Jobs of one endpoint run
/// one after another.
#[async_trait]
pub trait Deliveries {
    /// An endpoint's deliveries, newest first.
    async fn deliveries(
        &self,
        tenant: TenantId,
        endpoint: EndpointId,
        filter: DeliveryFilter,
        page: PageRequest,
    ) -> StoreResult<Page<Delivery>>;

    /// A delivery with its event and endpoint.
    async fn outgoing(&self, tenant: TenantId, id: DeliveryId) -> StoreResult<Option<Outgoing>>;

    /// Ends the claim of a delivery's job, notes the attempt, and what it says about the endpoint: a success ends a time of
    /// failures, anything else may begin one, or turn the endpoint off: then `webhook_endpoint.disabled` is appended.
    ///
    /// # Errors
    /// [`super::StoreError::Stale`]: the claim is gone, and nothing was written.
    async fn end_delivery(&self, lease: Lease, tenant: TenantId, id: DeliveryId, end: &DeliveryEnd) -> StoreResult<()>;

    /// Sends a delivery once more, whatever became of it, with all its tries. `None`: the endpoint has no such one.
    async fn redeliver(
        &self,
        tenant: TenantId,
        endpoint: EndpointId,
        id: DeliveryId,
        audit: &NewAudit,
    ) -> StoreResult<Option<Delivery>>;

    /// Sends at most `limit` of an endpoint's deliveries once more, the oldest first, of those that have failed or are held.
    /// Returns how many.
    async fn redeliver_window(
        &self,
        tenant: TenantId,
        endpoint: EndpointId,
        filter: DeliveryFilter,
        limit: u32,
        audit: &NewAudit,
    ) -> StoreResult<u64>;

    /// Stores an event of Patchbay itself for one endpoint, whatever that wants, and for no other. `None`: there is no such
    /// endpoint.
    async fn push_to(&self, tenant: TenantId, endpoint: EndpointId, event: &NewEvent) -> StoreResult<Option<Delivery>>;

    /// Deletes at most `limit` deliveries that succeeded before `delivered`, and as many of each other end that ended before
    /// `undelivered`. Returns how many. Their events stay.
    async fn purge_deliveries(
        &self,
        delivered: DateTime<Utc>,
        undelivered: DateTime<Utc>,
        limit: u32,
    ) -> StoreResult<u64>;
}
