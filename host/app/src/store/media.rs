use async_trait::async_trait;
use chrono::{DateTime, Utc};
use patchbay_core::{MediaId, TenantId};

use super::StoreResult;
use crate::model::Media;

/// Media files.
#[async_trait]
pub trait MediaRows {
    /// Stores a file's facts, after its bytes are on disk.
    async fn add_media(&self, media: &Media) -> StoreResult<()>;

    /// One file of a tenant, unless it has expired.
    async fn media(&self, tenant: TenantId, id: MediaId) -> StoreResult<Option<Media>>;

    /// Bytes that a tenant keeps.
    async fn media_bytes(&self, tenant: TenantId) -> StoreResult<u64>;

    /// Moves a file's expiry, never back, so that a post that waits keeps its media.
    async fn keep_media(&self, tenant: TenantId, id: MediaId, until: DateTime<Utc>) -> StoreResult<()>;

    /// Takes out at most `limit` expired files. The caller then deletes their bytes.
    async fn purge_media(&self, limit: u32) -> StoreResult<Vec<MediaId>>;
}
