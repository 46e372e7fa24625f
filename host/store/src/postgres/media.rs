//! Media files.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use patchbay_app::{
    model::Media,
    store::{MediaRows, StoreResult},
};
use patchbay_core::{MediaId, TenantId};
use sqlx::Row;
use uuid::Uuid;

use super::PostgresStore;
use crate::{error::db, rows, values};

#[async_trait]
impl MediaRows for PostgresStore {
    async fn add_media(&self, media: &Media) -> StoreResult<()> {
        let size = media.info.size_bytes.unwrap_or_default();
        sqlx::query(
            "INSERT INTO media (tenant_id, id, label, info, size_bytes, sha256, created_at, expires_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        )
        .bind(media.tenant.as_uuid())
        .bind(media.id.as_uuid())
        .bind(media.label.as_deref().map(values::text))
        .bind(values::json(&media.info)?)
        .bind(i64::try_from(size).unwrap_or(i64::MAX))
        .bind(&media.sha256[..])
        .bind(media.created_at)
        .bind(media.expires_at)
        .execute(&self.pool)
        .await
        .map_err(db)?;
        Ok(())
    }

    async fn media(&self, tenant: TenantId, id: MediaId) -> StoreResult<Option<Media>> {
        let row = sqlx::query(
            "SELECT tenant_id, id, label, info, sha256, created_at, expires_at
             FROM media
             WHERE tenant_id = $1 AND id = $2 AND expires_at >= COALESCE($3, now())",
        )
        .bind(tenant.as_uuid())
        .bind(id.as_uuid())
        .bind(self.test_time())
        .fetch_optional(&self.pool)
        .await
        .map_err(db)?;
        row.as_ref().map(rows::media).transpose()
    }

    async fn media_bytes(&self, tenant: TenantId) -> StoreResult<u64> {
        // Expired files count until they are taken out: they are still on disk.
        let bytes: i64 =
            sqlx::query_scalar("SELECT COALESCE(SUM(size_bytes), 0)::bigint FROM media WHERE tenant_id = $1")
                .bind(tenant.as_uuid())
                .fetch_one(&self.pool)
                .await
                .map_err(db)?;
        Ok(u64::try_from(bytes).unwrap_or_default())
    }

    async fn keep_media(&self, tenant: TenantId, id: MediaId, until: DateTime<Utc>) -> StoreResult<()> {
        sqlx::query(
            "UPDATE media
             SET expires_at = GREATEST(expires_at, $3)
             WHERE tenant_id = $1 AND id = $2 AND expires_at >= COALESCE($4, now())",
        )
        .bind(tenant.as_uuid())
        .bind(id.as_uuid())
        .bind(until)
        .bind(self.test_time())
        .execute(&self.pool)
        .await
        .map_err(db)?;
        Ok(())
    }

    async fn purge_media(&self, limit: u32) -> StoreResult<Vec<MediaId>> {
        let rows = sqlx::query(
            "WITH gone AS (
                 SELECT tenant_id, id
                 FROM media
                 WHERE expires_at < COALESCE($1, now())
                 ORDER BY expires_at
                 LIMIT $2
                 FOR UPDATE SKIP LOCKED)
             DELETE FROM media
             USING gone
             WHERE media.tenant_id = gone.tenant_id AND media.id = gone.id
             RETURNING media.id",
        )
        .bind(self.test_time())
        .bind(i64::from(limit))
        .fetch_all(&self.pool)
        .await
        .map_err(db)?;
        rows.iter()
            .map(|row| Ok(MediaId::from_uuid(row.try_get::<Uuid, _>("id").map_err(db)?)))
            .collect()
    }
}
