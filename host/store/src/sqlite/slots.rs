//! Windows shared by all workers.

use std::time::Duration;

use async_trait::async_trait;
use patchbay_app::store::{SlotRequest, Slots, StoreResult, TakenSlot};
use patchbay_core::{SlotId, TenantId};
use sqlx::SqliteConnection;
use uuid::Uuid;

use super::{SqliteStore, micros};
use crate::{error::db, rows::Cells, values::span};

#[async_trait]
impl Slots for SqliteStore {
    async fn take_slot(&self, request: &SlotRequest) -> StoreResult<TakenSlot> {
        let mut tx = self.begin().await?;
        let time = self.time();
        let now = micros(time);
        let held: Option<Uuid> = match request.post {
            None => None,
            Some(post) => sqlx::query_scalar(
                "SELECT id
                 FROM slots
                 WHERE tenant_id = $1 AND post_id = $2 AND subject = $3 AND bucket = $4 AND frees_at > $5
                 LIMIT 1",
            )
            .bind(request.tenant.as_uuid())
            .bind(post.as_uuid())
            .bind(&request.subject)
            .bind(&request.bucket)
            .bind(now)
            .fetch_optional(&mut *tx)
            .await
            .map_err(db)?,
        };
        let used = used(&mut tx, request.tenant, &request.subject, &request.bucket, now).await?;
        if let Some(id) = held {
            let id = SlotId::from_uuid(id);
            return Ok(TakenSlot::Taken { id, used });
        }
        if used >= request.limit {
            // The first one that makes room: if the limit was lowered, several must go before.
            let row = sqlx::query(
                "SELECT frees_at
                 FROM slots
                 WHERE tenant_id = $1 AND subject = $2 AND bucket = $3 AND frees_at > $4
                 ORDER BY frees_at
                 LIMIT 1 OFFSET $5",
            )
            .bind(request.tenant.as_uuid())
            .bind(&request.subject)
            .bind(&request.bucket)
            .bind(now)
            .bind(i64::from(used - request.limit))
            .fetch_optional(&mut *tx)
            .await
            .map_err(db)?;
            let free_at = match row {
                Some(row) => Cells::of(&row, "slots").time("frees_at")?,
                // The limit is zero.
                None => time + span(request.hold),
            };
            return Ok(TakenSlot::Full { free_at });
        }
        sqlx::query(
            "INSERT INTO slots (id, tenant_id, subject, bucket, post_id, frees_at)
             VALUES ($1, $2, $3, $4, $5, $6)",
        )
        .bind(request.id.as_uuid())
        .bind(request.tenant.as_uuid())
        .bind(&request.subject)
        .bind(&request.bucket)
        .bind(request.post.map(patchbay_core::PostId::as_uuid))
        .bind(micros(time + span(request.hold)))
        .execute(&mut *tx)
        .await
        .map_err(db)?;
        tx.commit().await.map_err(db)?;
        Ok(TakenSlot::Taken {
            id: request.id,
            used: used + 1,
        })
    }

    async fn settle_slot(&self, tenant: TenantId, id: SlotId, after: Duration) -> StoreResult<()> {
        let now = self.time();
        // A place that has freed may be another's by now.
        sqlx::query("UPDATE slots SET frees_at = $3 WHERE tenant_id = $1 AND id = $2 AND frees_at > $4")
            .bind(tenant.as_uuid())
            .bind(id.as_uuid())
            .bind(micros(now + span(after)))
            .bind(micros(now))
            .execute(&self.writer)
            .await
            .map_err(db)?;
        Ok(())
    }

    async fn slots_used(&self, tenant: TenantId, subject: &str, bucket: &str) -> StoreResult<u32> {
        let mut connection = self.readers.acquire().await.map_err(db)?;
        used(&mut connection, tenant, subject, bucket, micros(self.time())).await
    }

    async fn purge_slots(&self, limit: u32) -> StoreResult<u64> {
        let done = sqlx::query(
            "DELETE FROM slots
             WHERE id IN (SELECT id FROM slots WHERE frees_at <= $1 ORDER BY frees_at LIMIT $2)",
        )
        .bind(micros(self.time()))
        .bind(i64::from(limit))
        .execute(&self.writer)
        .await
        .map_err(db)?;
        Ok(done.rows_affected())
    }
}

async fn used(
    connection: &mut SqliteConnection,
    tenant: TenantId,
    subject: &str,
    bucket: &str,
    now: i64,
) -> StoreResult<u32> {
    let used: i64 = sqlx::query_scalar(
        "SELECT COUNT(*)
         FROM slots
         WHERE tenant_id = $1 AND subject = $2 AND bucket = $3 AND frees_at > $4",
    )
    .bind(tenant.as_uuid())
    .bind(subject)
    .bind(bucket)
    .bind(now)
    .fetch_one(connection)
    .await
    .map_err(db)?;
    Ok(u32::try_from(used).unwrap_or(u32::MAX))
}
