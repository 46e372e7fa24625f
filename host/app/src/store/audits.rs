use async_trait::async_trait;
use chrono::{DateTime, Utc};
use patchbay_core::TenantId;

use super::{Page, PageRequest, StoreResult};
use crate::model::{AuditEntry, AuditHead, NewAudit};

/// Which rows of the audit log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AuditFilter {
    /// Of this action, as stored.
    pub action: Option<String>,
    /// That were done to this.
    pub target: Option<String>,
    /// Of then or later.
    pub from: Option<DateTime<Utc>>,
    /// Of before.
    pub to: Option<DateTime<Utc>>,
}

/// The audit log. Whatever does something that belongs there takes the row along, and stores it in the same transaction,
/// if it did something. Each tenant's rows are one chain without branches, however many append at once.
#[async_trait]
pub trait Audits {
    /// Adds a row of something that is no write of its own.
    async fn add_audit(&self, audit: &NewAudit) -> StoreResult<AuditEntry>;

    /// A tenant's rows, newest first.
    async fn audit(&self, tenant: TenantId, filter: &AuditFilter, page: PageRequest) -> StoreResult<Page<AuditEntry>>;

    /// A tenant's rows behind a place of its chain, in the order of the chain; at most `limit`.
    async fn audit_chain(&self, tenant: TenantId, after: i64, limit: u32) -> StoreResult<Vec<AuditEntry>>;

    /// The end of a tenant's chain. `None`: nothing was ever appended, or somebody has taken it away.
    async fn audit_head(&self, tenant: TenantId) -> StoreResult<Option<AuditHead>>;

    /// The next tenant by id that has a chain, or rows of one.
    async fn audited_tenant(&self, after: Option<TenantId>) -> StoreResult<Option<TenantId>>;
}
