//! Windows shared by all workers.

use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use patchbay_app::store::{SlotRequest, Slots, StoreResult, TakenSlot};
use patchbay_core::{SlotId, TenantId};
use sqlx::PgConnection;
use uuid::Uuid;

use super::{PostgresStore, close};
use crate::{error::db, rows::Cells, values::span};

#[async_trait]
impl Slots for PostgresStore {
    async fn take_slot(&self, request: &SlotRequest) -> StoreResult<TakenSlot> {
        let mut tx = self.begin().await?;
        let end = async {
            // One at a time for each window: of two that count at once, both would find the last place free.
            sqlx::query("SELECT pg_advisory_xact_lock(hashtextextended($1::text || '/' || $2 || '/' || $3, 0))")
                .bind(request.tenant.as_uuid())
                .bind(&request.subject)
                .bind(&request.bucket)
                .execute(&mut *tx)
                .await
                .map_err(db)?;
            let now = self.time(&mut tx).await?;
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
                    None => now + span(request.hold),
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
            .bind(now + span(request.hold))
            .execute(&mut *tx)
            .await
            .map_err(db)?;
            Ok(TakenSlot::Taken {
                id: request.id,
                used: used + 1,
            })
        }
        .await;
        close(tx, end).await
    }

    async fn settle_slot(&self, tenant: TenantId, id: SlotId, after: Duration) -> StoreResult<()> {
        // A place that has freed may be another's by now.
        sqlx::query(
            "UPDATE slots
             SET frees_at = COALESCE($4, now()) + $3
             WHERE tenant_id = $1 AND id = $2 AND frees_at > COALESCE($4, now())",
        )
        .bind(tenant.as_uuid())
        .bind(id.as_uuid())
        .bind(span(after))
        .bind(self.test_time())
        .execute(&self.pool)
        .await
        .map_err(db)?;
        Ok(())
    }

    async fn slots_used(&self, tenant: TenantId, subject: &str, bucket: &str) -> StoreResult<u32> {
        let mut connection = self.pool.acquire().await.map_err(db)?;
        let now = self.time(&mut connection).await?;
        used(&mut connection, tenant, subject, bucket, now).await
    }

    async fn purge_slots(&self, limit: u32) -> StoreResult<u64> {
        let done = sqlx::query(
            "DELETE FROM slots
             WHERE id = ANY (ARRAY(
                 SELECT id
                 FROM slots
                 WHERE frees_at <= COALESCE($1, now())
                 ORDER BY frees_at
                 LIMIT $2
                 FOR UPDATE SKIP LOCKED))",
        )
        .bind(self.test_time())
        .bind(i64::from(limit))
        .execute(&self.pool)
        .await
        .map_err(db)?;
        Ok(done.rows_affected())
    }
}

async fn used(
    connection: &mut PgConnection,
    tenant: TenantId,
    subject: &str,
    bucket: &str,
    now: DateTime<Utc>,
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
