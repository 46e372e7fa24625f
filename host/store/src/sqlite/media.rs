//! Media files.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use patchbay_app::{
    model::Media,
    store::{Cursor, MediaRows, Page, PageRequest, StoreResult},
};
use patchbay_core::{EventId, MediaId, ProviderId, TenantId};
use sqlx::{QueryBuilder, Sqlite, sqlite::SqliteRow};

use super::{SqliteStore, Tx, events::add_own_event, micros};
use crate::{
    error::db,
    rows::{self, Cells, media_columns},
    values,
};

/// What a tenant keeps and expects. Expired files count until they are taken out: they are still on disk.
pub(super) const TENANT_BYTES: &str = "
    SELECT (SELECT COALESCE(SUM(size_bytes), 0) FROM media WHERE tenant_id = $1)
        + (SELECT COALESCE(SUM(size_bytes), 0) FROM uploads WHERE tenant_id = $1)";

#[async_trait]
impl MediaRows for SqliteStore {
    async fn media(&self, tenant: TenantId, id: MediaId) -> StoreResult<Option<Media>> {
        let row = sqlx::query(concat!(
            "SELECT ",
            media_columns!(),
            " FROM media WHERE tenant_id = $1 AND id = $2 AND expires_at >= $3"
        ))
        .bind(tenant.as_uuid())
        .bind(id.as_uuid())
        .bind(micros(self.time()))
        .fetch_optional(&self.readers)
        .await
        .map_err(db)?;
        row.as_ref().map(rows::media).transpose()
    }

    async fn media_list(&self, tenant: TenantId, page: PageRequest) -> StoreResult<Page<Media>> {
        let mut query =
            QueryBuilder::<Sqlite>::new(concat!("SELECT ", media_columns!(), " FROM media WHERE expires_at >= "));
        query.push_bind(micros(self.time())).push(" AND tenant_id = ");
        query.push_bind(tenant.as_uuid());
        if let Some(after) = page.after {
            query.push(" AND (created_at, id) < (").push_bind(micros(after.at));
            query.push(", ").push_bind(after.id).push(")");
        }
        query
            .push(" ORDER BY created_at DESC, id DESC LIMIT ")
            .push_bind(values::page_rows(page));
        let found = query.build().fetch_all(&self.readers).await.map_err(db)?;
        let files = found.iter().map(rows::media).collect::<Result<_, _>>()?;
        Ok(values::page(files, page, |file: &Media| Cursor {
            at: file.created_at,
            id: file.id.as_uuid(),
        }))
    }

    async fn known_media(&self, ids: &[MediaId]) -> StoreResult<Vec<MediaId>> {
        let mut connection = self.readers.acquire().await.map_err(db)?;
        let mut known = Vec::new();
        for id in ids {
            let is_known: bool = sqlx::query_scalar(
                "SELECT EXISTS (SELECT 1 FROM media WHERE id = $1) OR EXISTS (SELECT 1 FROM uploads WHERE id = $1)",
            )
            .bind(id.as_uuid())
            .fetch_one(&mut *connection)
            .await
            .map_err(db)?;
            known.extend(is_known.then_some(*id));
        }
        Ok(known)
    }

    async fn media_bytes(&self, tenant: TenantId) -> StoreResult<u64> {
        let bytes: i64 = sqlx::query_scalar(TENANT_BYTES)
            .bind(tenant.as_uuid())
            .fetch_one(&self.readers)
            .await
            .map_err(db)?;
        Ok(u64::try_from(bytes).unwrap_or_default())
    }

    async fn keep_media(&self, tenant: TenantId, id: MediaId, until: DateTime<Utc>) -> StoreResult<()> {
        sqlx::query(
            "UPDATE media
             SET expires_at = MAX(expires_at, $3)
             WHERE tenant_id = $1 AND id = $2 AND expires_at >= $4",
        )
        .bind(tenant.as_uuid())
        .bind(id.as_uuid())
        .bind(micros(until))
        .bind(micros(self.time()))
        .execute(&self.writer)
        .await
        .map_err(db)?;
        Ok(())
    }

    async fn purge_media(&self, limit: u32) -> StoreResult<Vec<MediaId>> {
        let mut tx = self.begin().await?;
        let now = self.time();
        let rows = sqlx::query(
            "DELETE FROM media
             WHERE (tenant_id, id) IN
                 (SELECT tenant_id, id FROM media WHERE expires_at < $1 ORDER BY expires_at LIMIT $2)
             RETURNING tenant_id, id, label",
        )
        .bind(micros(now))
        .bind(i64::from(limit))
        .fetch_all(&mut *tx)
        .await
        .map_err(db)?;
        let gone = self.tell_expired(&mut tx, &rows, now).await?;
        tx.commit().await.map_err(db)?;
        Ok(gone)
    }
}

impl SqliteStore {
    /// Tells of files that were taken out, in the order of their ids.
    async fn tell_expired(&self, tx: &mut Tx, rows: &[SqliteRow], now: DateTime<Utc>) -> StoreResult<Vec<MediaId>> {
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
