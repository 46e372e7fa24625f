//! Media files on their way in.

use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use patchbay_app::{
    model::{
        BegunUpload, ImportFailure, LeasedUpload, Media, NewEvent, NewUpload, Progress, Seen, Upload, UploadLease,
    },
    store::{Constraint, StoreError, StoreResult, Uploads},
};
use patchbay_core::{MediaId, ProviderId, TenantId};

use super::{SqliteStore, erasures::is_ending, events::add_own_event, jobs::put_job, media::TENANT_BYTES, micros};
use crate::{
    error::db,
    rows::{self, upload_columns},
    values::{self, span},
};

/// What was asked for under a key, wherever it stands.
const KNOWN: &str = "
    SELECT id, request_hash FROM uploads WHERE tenant_id = $1 AND request_key = $2
    UNION ALL
    SELECT id, request_hash FROM media WHERE tenant_id = $1 AND request_key = $2";

#[async_trait]
impl Uploads for SqliteStore {
    async fn begin_upload(&self, upload: &NewUpload, quota: u64, most: u32) -> StoreResult<BegunUpload> {
        let mut tx = self.begin().await?;
        if is_ending(&mut tx, upload.tenant).await? {
            return Err(StoreError::Conflict(Constraint::Missing));
        }
        if let Some(import) = &upload.import {
            let known = sqlx::query(KNOWN)
                .bind(upload.tenant.as_uuid())
                .bind(&import.request_key)
                .fetch_optional(&mut *tx)
                .await
                .map_err(db)?;
            if let Some(row) = known {
                return rows::known_import(&row);
            }
        }
        let count: i64 =
            sqlx::query_scalar("SELECT COUNT(*) FROM uploads WHERE tenant_id = $1 AND failure_code IS NULL")
                .bind(upload.tenant.as_uuid())
                .fetch_one(&mut *tx)
                .await
                .map_err(db)?;
        if count >= i64::from(most) {
            return Ok(BegunUpload::TooMany);
        }
        let kept: i64 = sqlx::query_scalar(TENANT_BYTES)
            .bind(upload.tenant.as_uuid())
            .fetch_one(&mut *tx)
            .await
            .map_err(db)?;
        let room = quota.saturating_sub(u64::try_from(kept).unwrap_or_default());
        if upload.size > room {
            return Ok(BegunUpload::Full(room));
        }
        let now = self.time();
        if let Some(import) = &upload.import {
            put_job(&mut tx, &import.job, import.job.target, now).await?;
        }
        let row = sqlx::query(concat!(
                "INSERT INTO uploads
                     (tenant_id, id, label, metadata, size_bytes, offset_bytes, digest, source, request_key, request_hash, fence,
                      created_at, expires_at)
                 VALUES ($1, $2, $3, $4, $5, 0, $6, $7, $8, $9, 0, $10, $11)
                 RETURNING ",
                upload_columns!()
            ))
            .bind(upload.tenant.as_uuid())
            .bind(upload.id.as_uuid())
            .bind(upload.label.as_deref().map(values::text))
            .bind(upload.metadata.as_deref().map(values::text))
            .bind(i64::try_from(upload.size).unwrap_or(i64::MAX))
            .bind(&upload.digest)
            .bind(upload.import.as_ref().map(|import| &import.source))
            .bind(upload.import.as_ref().map(|import| values::text(&import.request_key)))
            .bind(upload.import.as_ref().map(|import| &import.request_hash[..]))
            .bind(micros(now))
            .bind(micros(upload.expires_at))
            .fetch_one(&mut *tx)
            .await
            .map_err(db)?;
        tx.commit().await.map_err(db)?;
        rows::upload(&row).map(Box::new).map(BegunUpload::Begun)
    }

    async fn upload(&self, tenant: TenantId, id: MediaId) -> StoreResult<Option<Upload>> {
        let row = sqlx::query(concat!(
            "SELECT ",
            upload_columns!(),
            " FROM uploads WHERE tenant_id = $1 AND id = $2 AND expires_at >= $3"
        ))
        .bind(tenant.as_uuid())
        .bind(id.as_uuid())
        .bind(micros(self.time()))
        .fetch_optional(&self.readers)
        .await
        .map_err(db)?;
        row.as_ref().map(rows::upload).transpose()
    }

    async fn lease_upload(&self, tenant: TenantId, id: MediaId, ttl: Duration) -> StoreResult<LeasedUpload> {
        let now = self.time();
        let row = sqlx::query(concat!(
            "UPDATE uploads
             SET fence = fence + 1, lease_until = $4
             WHERE tenant_id = $1 AND id = $2 AND expires_at >= $3
                 AND (lease_until IS NULL OR lease_until <= $3)
             RETURNING ",
            upload_columns!()
        ))
        .bind(tenant.as_uuid())
        .bind(id.as_uuid())
        .bind(micros(now))
        .bind(micros(now + span(ttl)))
        .fetch_optional(&self.writer)
        .await
        .map_err(db)?;
        match row {
            Some(row) => rows::leased_upload(&row),
            None if self.upload(tenant, id).await?.is_some() => Ok(LeasedUpload::Busy),
            None => Ok(LeasedUpload::Unknown),
        }
    }

    async fn note_upload(
        &self,
        lease: UploadLease,
        progress: &Progress,
        ttl: Duration,
        expires_at: DateTime<Utc>,
    ) -> StoreResult<()> {
        let done = sqlx::query(
            "UPDATE uploads
             SET offset_bytes = $4, digest = $5, place = $6, lease_until = $7, expires_at = $8
             WHERE tenant_id = $1 AND id = $2 AND fence = $3",
        )
        .bind(lease.tenant.as_uuid())
        .bind(lease.id.as_uuid())
        .bind(lease.fence)
        .bind(i64::try_from(progress.offset).unwrap_or(i64::MAX))
        .bind(&progress.digest)
        .bind(&progress.place)
        .bind(micros(self.time() + span(ttl)))
        .bind(micros(expires_at))
        .execute(&self.writer)
        .await
        .map_err(db)?;
        if done.rows_affected() == 0 {
            return Err(StoreError::Stale);
        }
        Ok(())
    }

    async fn note_source(&self, lease: UploadLease, seen: &Seen, size: u64, quota: u64) -> StoreResult<bool> {
        let mut tx = self.begin().await?;
        let kept: i64 = sqlx::query_scalar(TENANT_BYTES)
            .bind(lease.tenant.as_uuid())
            .fetch_one(&mut *tx)
            .await
            .map_err(db)?;
        let before: Option<i64> =
            sqlx::query_scalar("SELECT size_bytes FROM uploads WHERE tenant_id = $1 AND id = $2 AND fence = $3")
                .bind(lease.tenant.as_uuid())
                .bind(lease.id.as_uuid())
                .bind(lease.fence)
                .fetch_optional(&mut *tx)
                .await
                .map_err(db)?;
        let before = before.ok_or(StoreError::Stale)?;
        let others = u64::try_from(kept - before).unwrap_or_default();
        if size > quota.saturating_sub(others) {
            return Ok(false);
        }
        sqlx::query(
            "UPDATE uploads
             SET size_bytes = $4, total_bytes = $5, version = $6
             WHERE tenant_id = $1 AND id = $2 AND fence = $3",
        )
        .bind(lease.tenant.as_uuid())
        .bind(lease.id.as_uuid())
        .bind(lease.fence)
        .bind(i64::try_from(size).unwrap_or(i64::MAX))
        .bind(seen.total.map(|total| i64::try_from(total).unwrap_or(i64::MAX)))
        .bind(&seen.version)
        .execute(&mut *tx)
        .await
        .map_err(db)?;
        tx.commit().await.map_err(db)?;
        Ok(true)
    }

    async fn fail_import(
        &self,
        lease: UploadLease,
        failure: ImportFailure,
        expires_at: DateTime<Utc>,
        event: &NewEvent,
    ) -> StoreResult<()> {
        let mut tx = self.begin().await?;
        let done = sqlx::query(
            "UPDATE uploads
             SET failure_code = $4, size_bytes = 0, place = NULL, lease_until = NULL, expires_at = $5
             WHERE tenant_id = $1 AND id = $2 AND fence = $3",
        )
        .bind(lease.tenant.as_uuid())
        .bind(lease.id.as_uuid())
        .bind(lease.fence)
        .bind(failure.to_string())
        .bind(micros(expires_at))
        .execute(&mut *tx)
        .await
        .map_err(db)?;
        if done.rows_affected() == 0 {
            return Err(StoreError::Stale);
        }
        let now = self.time();
        add_own_event(self, &mut tx, lease.tenant, &ProviderId::patchbay(), event, now).await?;
        tx.commit().await.map_err(db)
    }

    async fn release_upload(&self, lease: UploadLease) -> StoreResult<()> {
        sqlx::query("UPDATE uploads SET lease_until = NULL WHERE tenant_id = $1 AND id = $2 AND fence = $3")
            .bind(lease.tenant.as_uuid())
            .bind(lease.id.as_uuid())
            .bind(lease.fence)
            .execute(&self.writer)
            .await
            .map_err(db)?;
        Ok(())
    }

    async fn finish_upload(&self, lease: UploadLease, media: &Media, event: Option<&NewEvent>) -> StoreResult<()> {
        let mut tx = self.begin().await?;
        let row = sqlx::query(
            "DELETE FROM uploads
             WHERE tenant_id = $1 AND id = $2 AND fence = $3
             RETURNING request_key, request_hash",
        )
        .bind(lease.tenant.as_uuid())
        .bind(lease.id.as_uuid())
        .bind(lease.fence)
        .fetch_optional(&mut *tx)
        .await
        .map_err(db)?;
        let row = row.ok_or(StoreError::Stale)?;
        let (request_key, request_hash) = rows::request(&row)?;
        sqlx::query(
            "INSERT INTO media
                 (tenant_id, id, label, info, size_bytes, sha256, request_key, request_hash, created_at, expires_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
        )
        .bind(media.tenant.as_uuid())
        .bind(media.id.as_uuid())
        .bind(media.label.as_deref().map(values::text))
        .bind(values::json(&media.info)?)
        .bind(i64::try_from(media.info.size_bytes.unwrap_or_default()).unwrap_or(i64::MAX))
        .bind(&media.sha256[..])
        .bind(request_key)
        .bind(request_hash)
        .bind(micros(media.created_at))
        .bind(micros(media.expires_at))
        .execute(&mut *tx)
        .await
        .map_err(db)?;
        if let Some(event) = event {
            let now = self.time();
            add_own_event(self, &mut tx, lease.tenant, &ProviderId::patchbay(), event, now).await?;
        }
        tx.commit().await.map_err(db)
    }

    async fn delete_upload(&self, tenant: TenantId, id: MediaId) -> StoreResult<Option<Upload>> {
        let row = sqlx::query(concat!(
            "DELETE FROM uploads WHERE tenant_id = $1 AND id = $2 RETURNING ",
            upload_columns!()
        ))
        .bind(tenant.as_uuid())
        .bind(id.as_uuid())
        .fetch_optional(&self.writer)
        .await
        .map_err(db)?;
        row.as_ref().map(rows::upload).transpose()
    }

    async fn purge_uploads(&self, limit: u32) -> StoreResult<Vec<Upload>> {
        let rows = sqlx::query(concat!(
            "DELETE FROM uploads
             WHERE (tenant_id, id) IN
                 (SELECT tenant_id, id FROM uploads WHERE expires_at < $1 ORDER BY expires_at LIMIT $2)
             RETURNING ",
            upload_columns!()
        ))
        .bind(micros(self.time()))
        .bind(i64::from(limit))
        .fetch_all(&self.writer)
        .await
        .map_err(db)?;
        rows.iter().map(rows::upload).collect()
    }
}
