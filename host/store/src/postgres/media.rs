//! Media files.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use patchbay_app::{
    model::Media,
    store::{Cursor, MediaRows, Page, PageRequest, StoreResult},
};
use patchbay_core::{EventId, MediaId, ProviderId, TenantId};
use sqlx::{Postgres, QueryBuilder, Row, postgres::PgRow};
use uuid::Uuid;

use super::{PostgresStore, Tx, close, events::add_own_event};
use crate::{
    error::db,
    rows::{self, Cells, media_columns},
    values,
};

/// What a tenant keeps and expects. Expired files count until they are taken out: they are still on disk.
pub(super) const TENANT_BYTES: &str = "
    SELECT (SELECT COALESCE(SUM(size_bytes), 0) FROM media WHERE tenant_id = $1)::bigint
        + (SELECT COALESCE(SUM(size_bytes), 0) FROM uploads WHERE tenant_id = $1)::bigint";

#[async_trait]
impl MediaRows for PostgresStore {
    async fn media(&self, tenant: TenantId, id: MediaId) -> StoreResult<Option<Media>> {
        let row = sqlx::query(concat!(
            "SELECT ",
            media_columns!(),
            " FROM media WHERE tenant_id = $1 AND id = $2 AND expires_at >= COALESCE($3, now())"
        ))
        .bind(tenant.as_uuid())
        .bind(id.as_uuid())
        .bind(self.test_time())
        .fetch_optional(&self.pool)
        .await
        .map_err(db)?;
        row.as_ref().map(rows::media).transpose()
    }

    async fn media_list(&self, tenant: TenantId, page: PageRequest) -> StoreResult<Page<Media>> {
        let mut query = QueryBuilder::<Postgres>::new(concat!(
            "SELECT ",
            media_columns!(),
            " FROM media WHERE expires_at >= COALESCE("
        ));
        query.push_bind(self.test_time()).push(", now()) AND tenant_id = ");
        query.push_bind(tenant.as_uuid());
        if let Some(after) = page.after {
            query.push(" AND (created_at, id) < (").push_bind(after.at);
            query.push(", ").push_bind(after.id).push(")");
        }
        query
            .push(" ORDER BY created_at DESC, id DESC LIMIT ")
            .push_bind(values::page_rows(page));
        let found = query.build().fetch_all(&self.pool).await.map_err(db)?;
        let files = found.iter().map(rows::media).collect::<Result<_, _>>()?;
        Ok(values::page(files, page, |file: &Media| Cursor {
            at: file.created_at,
            id: file.id.as_uuid(),
        }))
    }

    async fn known_media(&self, ids: &[MediaId]) -> StoreResult<Vec<MediaId>> {
        let rows = sqlx::query(
            "SELECT id FROM media WHERE id = ANY($1)
             UNION ALL
             SELECT id FROM uploads WHERE id = ANY($1)",
        )
        .bind(ids.iter().map(|id| id.as_uuid()).collect::<Vec<_>>())
        .fetch_all(&self.pool)
        .await
        .map_err(db)?;
        rows.iter()
            .map(|row| Ok(MediaId::from_uuid(row.try_get::<Uuid, _>("id").map_err(db)?)))
            .collect()
    }

    async fn media_bytes(&self, tenant: TenantId) -> StoreResult<u64> {
        let bytes: i64 = sqlx::query_scalar(TENANT_BYTES)
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
        let mut tx = self.begin().await?;
        let end = async {
            let now = self.time(&mut tx).await?;
            let rows = sqlx::query(
                "WITH gone AS (
                     SELECT tenant_id, id
                     FROM media
                     WHERE expires_at < $1
                     ORDER BY expires_at
                     LIMIT $2
                     FOR UPDATE SKIP LOCKED)
                 DELETE FROM media
                 USING gone
                 WHERE media.tenant_id = gone.tenant_id AND media.id = gone.id
                 RETURNING media.tenant_id, media.id, media.label",
            )
            .bind(now)
            .bind(i64::from(limit))
            .fetch_all(&mut *tx)
            .await
            .map_err(db)?;
            self.tell_expired(&mut tx, &rows, now).await
        }
        .await;
        close(tx, end).await
    }
}

impl PostgresStore {
    /// Tells of files that were taken out, in the order of their ids.
    async fn tell_expired(&self, tx: &mut Tx, rows: &[PgRow], now: DateTime<Utc>) -> StoreResult<Vec<MediaId>> {
        let mut gone = Vec::with_capacity(rows.len());
        for row in rows {
            let cells = Cells::of(row, "media");
            let tenant = TenantId::from_uuid(cells.uuid("tenant_id")?);
            gone.push((
                MediaId::from_uuid(cells.uuid("id")?),
                tenant,
                cells.maybe_text("label")?,
            ));
        }
        gone.sort_unstable_by_key(|(id, ..)| *id);
        for (id, tenant, label) in &gone {
            let event = values::media_expired(EventId::from_uuid(self.ids.next()), *id, label.as_deref());
            add_own_event(self, tx, *tenant, &ProviderId::patchbay(), &event, now).await?;
        }
        Ok(gone.into_iter().map(|(id, ..)| id).collect())
    }
}
