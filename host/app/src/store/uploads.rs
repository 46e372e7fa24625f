use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use patchbay_core::{MediaId, TenantId};

use super::StoreResult;
use crate::model::{
    BegunUpload, ImportFailure, LeasedUpload, Media, NewEvent, NewUpload, Progress, Seen, Upload, UploadLease,
};

/// Media files on their way in.
#[async_trait]
pub trait Uploads {
    /// Stores an upload, if its bytes fit the tenant's `quota` beside all that are kept and expected, and the tenant has
    /// fewer than `most` that have not failed. One that is fetched has its job with it, and is stored once for each key.
    async fn begin_upload(&self, upload: &NewUpload, quota: u64, most: u32) -> StoreResult<BegunUpload>;

    /// One of a tenant's uploads, unless it has expired.
    async fn upload(&self, tenant: TenantId, id: MediaId) -> StoreResult<Option<Upload>>;

    /// Takes the right to write for `ttl`, unless somebody has it.
    async fn lease_upload(&self, tenant: TenantId, id: MediaId, ttl: Duration) -> StoreResult<LeasedUpload>;

    /// Notes how far it is, keeps the right to write for another `ttl`, and the upload until `expires_at`.
    ///
    /// # Errors
    /// [`super::StoreError::Stale`]: somebody else writes, or it is gone.
    async fn note_upload(
        &self,
        lease: UploadLease,
        progress: &Progress,
        ttl: Duration,
        expires_at: DateTime<Utc>,
    ) -> StoreResult<()>;

    /// Notes what is known of a fetched file, and keeps `size` bytes free for it in the place of as many as before, if they
    /// fit the tenant's `quota`; else writes nothing and says `false`.
    ///
    /// # Errors
    /// As [`Uploads::note_upload`].
    async fn note_source(&self, lease: UploadLease, seen: &Seen, size: u64, quota: u64) -> StoreResult<bool>;

    /// Ends an upload that will not be fetched, with the event that tells so. It keeps no bytes free any more, and is there to
    /// be looked at until `expires_at`. The caller then deletes its bytes.
    ///
    /// # Errors
    /// As [`Uploads::note_upload`].
    async fn fail_import(
        &self,
        lease: UploadLease,
        failure: ImportFailure,
        expires_at: DateTime<Utc>,
        event: &NewEvent,
    ) -> StoreResult<()>;

    /// Gives the right to write back. Without effect for one who has it no more.
    async fn release_upload(&self, lease: UploadLease) -> StoreResult<()>;

    /// Puts the media file in the place of its upload, with the event of one that was fetched.
    ///
    /// # Errors
    /// As [`Uploads::note_upload`].
    async fn finish_upload(&self, lease: UploadLease, media: &Media, event: Option<&NewEvent>) -> StoreResult<()>;

    /// Deletes an upload, whoever writes it. The caller then deletes its bytes. `None`: there is no such one.
    async fn delete_upload(&self, tenant: TenantId, id: MediaId) -> StoreResult<Option<Upload>>;

    /// Takes out at most `limit` expired uploads, whoever writes them. The caller then deletes their bytes.
    async fn purge_uploads(&self, limit: u32) -> StoreResult<Vec<Upload>>;
}
