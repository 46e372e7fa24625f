use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use patchbay_core::{ProviderId, TenantId};

use super::StoreResult;
use crate::model::JobKind;

/// What is counted: all, or a part.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scope {
    /// Of this tenant.
    pub tenant: Option<TenantId>,
    /// Of this platform. Work and deliveries know none, and are counted whatever it is.
    pub provider: Option<ProviderId>,
}

/// A time, and how many of its rows are read at most. What is counted of more is a sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// Then or later.
    pub from: DateTime<Utc>,
    /// Before.
    pub to: DateTime<Utc>,
    /// Rows.
    pub most: u32,
}

/// Accounts by their state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct AccountCounts {
    /// Not yet accepted.
    pub pending: u64,
    /// Usable.
    pub active: u64,
    /// To be connected again.
    pub reauth_required: u64,
    /// Disconnected.
    pub revoked: u64,
}

/// Posts whose outcome was settled in a time, by where they are now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct OutcomeCounts {
    /// Visible.
    pub published: u64,
    /// In a person's inbox.
    pub delivered: u64,
    /// Refused or given up.
    pub failed: u64,
    /// Of unknown outcome.
    pub unconfirmed: u64,
    /// Stopped on request.
    pub cancelled: u64,
    /// Posts that were read, those out of scope included.
    pub read: u64,
}

/// Work of one kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct KindCounts {
    /// Ready and due.
    pub due: u64,
    /// Ready, and due later.
    pub later: u64,
    /// Leased.
    pub running: u64,
    /// Leased by a worker that was not heard of in time.
    pub stalled: u64,
    /// Age of the oldest that is due or stalled.
    pub lag: Option<Duration>,
}

/// Deliveries by their state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DeliveryCounts {
    /// On their way, whenever they were made.
    pub pending: u64,
    /// Taken in the time.
    pub delivered: u64,
    /// Given up in the time.
    pub failed: u64,
    /// Held in the time, since their endpoint is disabled.
    pub held: u64,
}

/// Ways in which accounts lost their access in a time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RefreshFailures {
    /// The platform has ended the access: `account.reauth_required`.
    pub reauth_required: u64,
    /// The renewal was given up: a dead letter.
    pub given_up: u64,
}

/// The whole installation in numbers, for its operator. No method reads more than it is told, or what tenants wrote.
#[async_trait]
pub trait Operations {
    /// Accounts by state, each counted up to `most`.
    async fn count_accounts(&self, scope: &Scope, most: u32) -> StoreResult<AccountCounts>;

    /// Posts without an outcome, up to `most`.
    async fn count_open_posts(&self, scope: &Scope, most: u32) -> StoreResult<u64>;

    /// Posts that wait for a place of a platform's limits, up to `most`.
    async fn count_waiting(&self, tenant: Option<TenantId>, most: u32) -> StoreResult<u64>;

    /// What became of the posts that ended in a time.
    async fn count_outcomes(&self, scope: &Scope, span: Span) -> StoreResult<OutcomeCounts>;

    /// Work of a kind, of all tenants, each number up to `most`.
    async fn count_jobs(&self, kind: JobKind, most: u32) -> StoreResult<KindCounts>;

    /// Dead letters by kind, of `most` at most.
    async fn count_dead(&self, tenant: Option<TenantId>, most: u32) -> StoreResult<Vec<(JobKind, u64)>>;

    /// Deliveries by state. Those on their way are counted up to `most`.
    async fn count_deliveries(&self, tenant: Option<TenantId>, span: Span) -> StoreResult<DeliveryCounts>;

    /// How long it took from the receipt of webhooks until they were applied: those among the last `most` jobs that were
    /// done in a time.
    async fn webhook_times(&self, tenant: Option<TenantId>, span: Span) -> StoreResult<Vec<Duration>>;

    /// Accounts that lost their access in a time.
    async fn count_refresh_failures(&self, scope: &Scope, span: Span) -> StoreResult<RefreshFailures>;
}
