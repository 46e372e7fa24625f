use async_trait::async_trait;
use patchbay_core::{AccountId, ErasureId, MediaId, TenantId};

use super::StoreResult;
use crate::model::{ErasedGrant, Erasure, Lease, NewAudit, NewErasure, NewEvent, NewJob, Upload};

/// Erasing for good. Each step is one transaction, which also counts in the receipt what it deletes, and needs the live
/// lease of the erasure's job.
///
/// # Errors
/// Of every step, [`super::StoreError::Stale`]: the lease is gone, and nothing was done.
#[async_trait]
pub trait Erasures {
    /// Stores a wish to erase with its job and `audit`, or finds the one under way for the same thing. A tenant's keys are
    /// dead from now. If there is nothing to erase, the last one that was done is the answer. `None`: there was never
    /// anything.
    async fn begin_erasure(&self, erasure: &NewErasure, job: &NewJob, audit: &NewAudit)
    -> StoreResult<Option<Erasure>>;

    /// An erasure of a tenant.
    async fn erasure(&self, id: ErasureId) -> StoreResult<Option<Erasure>>;

    /// Erases the tokens of a revoked account, and notes how its grant ended.
    async fn erase_grant(&self, lease: Lease, erasure: &Erasure, grant: &ErasedGrant) -> StoreResult<()>;

    /// Destroys a tenant's data keys: whatever they sealed opens nowhere any more.
    async fn destroy_data_keys(&self, lease: Lease, erasure: &Erasure) -> StoreResult<()>;

    /// Deletes at most `limit` events and posts of an account, with all that hangs on them, and at last the account.
    /// Returns how many; 0: it is gone.
    async fn erase_account(&self, lease: Lease, erasure: &Erasure, account: AccountId, limit: u32) -> StoreResult<u64>;

    /// A tenant's media behind one of them, by their ids, expired ones included; at most `limit`.
    async fn tenant_media(&self, tenant: TenantId, after: Option<MediaId>, limit: u32) -> StoreResult<Vec<MediaId>>;

    /// Deletes a tenant's media, whose bytes are gone.
    async fn erase_media(&self, lease: Lease, erasure: &Erasure, media: &[MediaId]) -> StoreResult<()>;

    /// A tenant's uploads, in whatever state: at most `limit`.
    async fn tenant_uploads(&self, tenant: TenantId, limit: u32) -> StoreResult<Vec<Upload>>;

    /// Deletes the rows of uploads whose bytes are gone.
    async fn erase_uploads(&self, lease: Lease, erasure: &Erasure, uploads: &[MediaId]) -> StoreResult<()>;

    /// Deletes at most `limit` rows of what a tenant has beside accounts and media. Returns how many; 0: nothing is left.
    async fn erase_tenant(&self, lease: Lease, erasure: &Erasure, limit: u32) -> StoreResult<u64>;

    /// Ends an erasure and its job, forgets the owner's name and the tenant's, and stores `audit`.
    async fn finish_erasure(
        &self,
        lease: Lease,
        erasure: &Erasure,
        event: Option<&NewEvent>,
        audit: &NewAudit,
    ) -> StoreResult<()>;
}
