//! The store as Patchbay's use cases see it: role traits of atomic methods, named by intent. No transaction leaves
//! the store, and no call to a platform happens inside one.
//!
//! Two implementations exist (SQLite and PostgreSQL, crate `patchbay-store`); one suite holds both to what is written
//! here. Times in arguments are facts (when a token dies). Leases, time limits and slots are measured by the store's
//! own clock, which is the database's, or the test's.

mod accounts;
mod audits;
mod avatars;
mod deliveries;
mod endpoints;
mod erasures;
mod events;
mod flows;
mod jobs;
mod keys;
mod media;
mod metrics;
mod operations;
mod posts;
mod questions;
mod slots;
mod uploads;

use async_trait::async_trait;
use chrono::{DateTime, Utc};

pub use accounts::{AccountFilter, AccountTraces, Accounts, Connected, NewGrant, RefreshLease};
pub use audits::{AuditFilter, Audits};
pub use avatars::Avatars;
pub use deliveries::{Deliveries, DeliveryFilter};
pub use endpoints::Endpoints;
pub use erasures::Erasures;
pub use events::{EventFilter, Events, StoredInbox};
pub use flows::{Completion, Flows};
pub use jobs::{Claim, DeadFilter, JobEnd, JobStats, Jobs, MAX_LOST};
pub use keys::{KeyState, Keys};
pub use media::MediaRows;
pub use metrics::Metrics;
pub use operations::{
    AccountCounts, DeliveryCounts, KindCounts, Operations, OutcomeCounts, RefreshFailures, Scope, Span,
};
pub use posts::{CancelOutcome, EditOutcome, Enqueued, Mark, PostEdit, PostFilter, Posts, QuotaChange, StepRecord};
pub use questions::OpenQuestions;
pub use slots::{SlotRequest, Slots, TakenSlot, Waiter, Window, WindowUse};
pub use uploads::Uploads;

use crate::wakes::Wakes;

/// Everything that a host needs from its database.
#[async_trait]
pub trait Store:
    Accounts
    + Audits
    + Avatars
    + Deliveries
    + Endpoints
    + Erasures
    + Events
    + Flows
    + Jobs
    + Keys
    + MediaRows
    + Metrics
    + OpenQuestions
    + Operations
    + Posts
    + Slots
    + Uploads
    + Send
    + Sync
    + std::fmt::Debug
    + 'static
{
    /// Name of the database, for logs: `sqlite` or `postgres`.
    fn backend(&self) -> &'static str;

    /// Woken for each kind of job that a commit of this store has made due, be it new or brought forward.
    fn wakes(&self) -> &Wakes;

    /// The store's clock.
    async fn now(&self) -> Result<DateTime<Utc>, StoreError>;

    /// Proves that the store can commit a write, by one small one.
    async fn probe_write(&self) -> Result<(), StoreError>;

    /// How many commits of webhooks go on side by side with profit: a database with one writer makes the others wait.
    fn side_by_side(&self) -> usize;

    /// Ends every lease, if this host is the only one on the database: whoever held them is gone. To be called before
    /// the first claim. Where several hosts share a database, leases run out by themselves.
    async fn end_orphaned_leases(&self) -> Result<(), StoreError> {
        Ok(())
    }
}

/// Why a store call failed. "Not found" is no failure: it is `None`.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// Another row is in the way.
    #[error("conflict: {0:?}")]
    Conflict(Constraint),
    /// The lease, version or state that the write depended on is gone. Someone else was faster.
    #[error("stale: the row has moved on")]
    Stale,
    /// The database cannot be reached or is too busy. Trying again may help.
    #[error("database unavailable")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// A row holds something that no version of this program writes.
    #[error("corrupt row in {table}: {what}")]
    Corrupt {
        /// Table.
        table: &'static str,
        /// What is wrong, without the value.
        what: String,
    },
    /// Anything else.
    #[error("database error")]
    Other(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// A rule of the schema that callers answer to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Constraint {
    /// The platform account is connected by another tenant under the same app.
    AccountOfOtherTenant,
    /// The platform account is connected by the same tenant for another end user.
    AccountOfOtherOwner,
    /// The session of a connect was called off meanwhile.
    SessionOver,
    /// The name is taken.
    Name,
    /// A row that is referred to does not exist.
    Missing,
}

/// Result of a store call.
pub type StoreResult<T> = Result<T, StoreError>;

/// A page of a list, newest first, by (time, id).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PageRequest {
    /// Last row of the page before.
    pub after: Option<Cursor>,
    /// Greatest number of rows, from 1 to 100.
    pub limit: u32,
}

/// A place in a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursor {
    /// The row's time.
    pub at: DateTime<Utc>,
    /// The row's id.
    pub id: uuid::Uuid,
}

/// Rows of a page.
#[derive(Debug, Clone, PartialEq)]
pub struct Page<T> {
    /// The rows.
    pub items: Vec<T>,
    /// Where the next page starts; `None` at the end.
    pub next: Option<Cursor>,
}
