use async_trait::async_trait;
use chrono::{DateTime, Utc};
use patchbay_core::{MediaId, TenantId};

use super::{Page, PageRequest, StoreResult};
use crate::model::Media;

/// Media files.
#[async_trait]
pub trait MediaRows {
    /// One file of a tenant, unless it has expired.
    async fn media(&self, tenant: TenantId, id: MediaId) -> StoreResult<Option<Media>>;

    /// A tenant's files that have not expired, newest first.
    async fn media_list(&self, tenant: TenantId, page: PageRequest) -> StoreResult<Page<Media>>;

    /// Which of these a file or an upload of any tenant has.
    async fn known_media(&self, ids: &[MediaId]) -> StoreResult<Vec<MediaId>>;

    /// Bytes that a tenant keeps or expects.
    async fn media_bytes(&self, tenant: TenantId) -> StoreResult<u64>;

    /// Moves a file's expiry, never back, so that a post that waits keeps its media.
    async fn keep_media(&self, tenant: TenantId, id: MediaId, until: DateTime<Utc>) -> StoreResult<()>;

    /// Takes out at most `limit` expired files, and appends `media.expired` for each. The caller then deletes their bytes.
    async fn purge_media(&self, limit: u32) -> StoreResult<Vec<MediaId>>;
}
