use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use patchbay_core::{PostId, SlotId, TenantId};

use super::StoreResult;

/// A place wanted in a window.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SlotRequest {
    /// Id to use.
    pub id: SlotId,
    /// Whose.
    pub tenant: TenantId,
    /// Whose window: an account's id or an app's, as text.
    pub subject: String,
    /// Which bucket or quota.
    pub bucket: String,
    /// Places in the window.
    pub limit: u32,
    /// How long the place is held unless settled.
    pub hold: Duration,
    /// The post that holds it, for quotas. A post that already holds a place of this subject and bucket gets
    /// the same one again.
    pub post: Option<PostId>,
}

/// Outcome of asking for a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TakenSlot {
    /// Taken (or held already), with how many places are now in use.
    Taken {
        /// Its id.
        id: SlotId,
        /// Places in use, this one included.
        used: u32,
    },
    /// None is free.
    Full {
        /// When the first one frees.
        free_at: DateTime<Utc>,
    },
}

/// Windows shared by all replicas.
#[async_trait]
pub trait Slots {
    /// Takes a place, atomically over all replicas: never more than `limit` places of one (subject, bucket) are held.
    async fn take_slot(&self, request: &SlotRequest) -> StoreResult<TakenSlot>;

    /// Lets a place go `after` from now: at once with zero, or a window's length after the answer. Does nothing to a
    /// place that has freed already.
    async fn settle_slot(&self, tenant: TenantId, id: SlotId, after: Duration) -> StoreResult<()>;

    /// Places in use.
    async fn slots_used(&self, tenant: TenantId, subject: &str, bucket: &str) -> StoreResult<u32>;

    /// Deletes at most `limit` freed places.
    async fn purge_slots(&self, limit: u32) -> StoreResult<u64>;
}
