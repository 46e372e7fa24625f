use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use patchbay_core::{PostId, SlotId, TenantId};

use super::StoreResult;

/// A limit of the platform on something that is counted: at most `limit` places are held at any time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Window {
    /// Whose.
    pub tenant: TenantId,
    /// An account's id or an app's, as text.
    pub subject: String,
    /// Which bucket or quota.
    pub bucket: String,
    /// Places in it.
    pub limit: u32,
}

/// A place wanted in a window.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SlotRequest {
    /// Id to use.
    pub id: SlotId,
    /// Where.
    pub window: Window,
    /// How long the place is held unless settled.
    pub hold: Duration,
    /// The post that holds it, for quotas. A post that already holds a place of this window gets the same one again.
    pub post: Option<PostId>,
    /// Who is told when its turn comes, if there is no place now.
    pub waiter: Option<Waiter>,
}

/// A post that waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Waiter {
    /// Its tenant: another one than the window's, if that is a whole app's.
    pub tenant: TenantId,
    /// The post.
    pub post: PostId,
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
        /// When the first one frees; for a waiter, when it is its turn as far as can be told now.
        free_at: DateTime<Utc>,
    },
}

/// Use of a window.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct WindowUse {
    /// Places in use.
    pub used: u32,
    /// When a place more than now is free; `None`: all are.
    pub next_free_at: Option<DateTime<Utc>>,
    /// The platform has said that it takes nothing until then.
    pub paused_until: Option<DateTime<Utc>>,
}

/// Windows shared by all replicas.
///
/// Whoever waits stands in a line. A place that frees is given to the first in the line alone: its job is made due then,
/// so that any number may wait and none of them looks in vain. One that does not come for its place in 30 s loses its turn.
#[async_trait]
pub trait Slots {
    /// Takes a place, atomically over all replicas: never more than the limit of one window are held, and none while it is
    /// paused. Without a place, the waiter joins the line of the window, or keeps where it stands; with one it leaves.
    async fn take_slot(&self, request: &SlotRequest) -> StoreResult<TakenSlot>;

    /// Lets a place go `after` from now: at once with zero, or a window's length after the answer. Does nothing to a
    /// place that has freed already. Gives it to the first in the line.
    async fn settle_slot(&self, tenant: TenantId, id: SlotId, after: Duration) -> StoreResult<()>;

    /// Closes a window for `length`, or for longer if it is closed for longer already.
    async fn pause_window(&self, window: &Window, length: Duration) -> StoreResult<()>;

    /// Use of several windows, in their order.
    async fn windows(&self, windows: &[Window]) -> StoreResult<Vec<WindowUse>>;

    /// Deletes at most `limit` freed places, and as many ended pauses. Returns how many places.
    async fn purge_slots(&self, limit: u32) -> StoreResult<u64>;
}
