//! Whether the audit log is what was written. It cannot say who changed it, only that somebody did, and where.

use patchbay_core::TenantId;

use crate::{
    model::AuditHead,
    store::{Store, StoreResult},
};

/// Rows that are read at once.
const PAGE: u32 = 500;

/// What a tenant's chain looks like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Chain {
    /// Every row is there as it was written, up to this end. Note it elsewhere, and the whole log can be held to it.
    Whole(AuditHead),
    /// A row is not what was written.
    Broken {
        /// Place of the first row that is missing or was changed.
        seq: i64,
        /// What is wrong with it.
        fault: ChainFault,
    },
}

/// What is wrong with a row of a chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ChainFault {
    /// There is none at this place.
    #[error("the row is missing")]
    Missing,
    /// Its hash is not the one of its content and of the row before.
    #[error("the row was changed, or the one before it was")]
    Changed,
    /// The chain ends before it.
    #[error("the row was added by something that is not Patchbay, or the end of the log was put back")]
    Added,
}

/// Reads a tenant's whole chain. Hosts may append meanwhile.
///
/// # Errors
/// The store failed.
pub async fn verify(store: &dyn Store, tenant: TenantId) -> StoreResult<Chain> {
    let told = store.audit_head(tenant).await?;
    let start = AuditHead::start(tenant);
    let mut at = start;
    loop {
        let rows = store.audit_chain(tenant, at.seq, PAGE).await?;
        for row in &rows {
            let seq = at.seq + 1;
            let broken = |fault| Ok(Chain::Broken { seq, fault });
            if row.seq != seq {
                return broken(ChainFault::Missing);
            }
            if row.hash != row.hash_after(&at.hash) {
                return broken(ChainFault::Changed);
            }
            at = AuditHead {
                seq,
                hash: row.hash,
                ..at
            };
            if told.is_some_and(|told| told.seq == seq && told.hash != row.hash) {
                return broken(ChainFault::Changed);
            }
        }
        if rows.is_empty() {
            break;
        }
    }
    let told = told.unwrap_or(start);
    if at.seq < told.seq {
        return Ok(Chain::Broken {
            seq: at.seq + 1,
            fault: ChainFault::Missing,
        });
    }
    // Only the store's own appends move the end along.
    let end = store.audit_head(tenant).await?.unwrap_or(start);
    if end.seq < at.seq {
        return Ok(Chain::Broken {
            seq: end.seq + 1,
            fault: ChainFault::Added,
        });
    }
    Ok(Chain::Whole(at))
}
