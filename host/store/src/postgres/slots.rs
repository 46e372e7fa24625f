//! Windows shared by all workers.

use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use patchbay_app::store::{SlotRequest, Slots, StoreResult, TakenSlot, Window, WindowUse};
use patchbay_core::{SlotId, TenantId};
use sqlx::PgConnection;
use uuid::Uuid;

use super::{
    PostgresStore, close,
    slot_waits::{hand_on, leave, line_up, lock},
};
use crate::{error::db, rows::Cells, values::span};

#[async_trait]
impl Slots for PostgresStore {
    async fn take_slot(&self, request: &SlotRequest) -> StoreResult<TakenSlot> {
        let mut tx = self.begin().await?;
        let end = self.take(&mut tx, request).await;
        close(tx, end).await
    }

    async fn settle_slot(&self, tenant: TenantId, id: SlotId, after: Duration) -> StoreResult<()> {
        let mut tx = self.begin().await?;
        let end = async {
            // A place that has freed may be another's by now.
            let row = sqlx::query(
                "UPDATE slots
                 SET frees_at = COALESCE($4, now()) + $3
                 WHERE tenant_id = $1 AND id = $2 AND frees_at > COALESCE($4, now())
                 RETURNING subject, bucket",
            )
            .bind(tenant.as_uuid())
            .bind(id.as_uuid())
            .bind(span(after))
            .bind(self.test_time())
            .fetch_optional(&mut *tx)
            .await
            .map_err(db)?;
            let Some(row) = row else { return Ok(()) };
            let cells = Cells::of(&row, "slots");
            let (subject, bucket) = (cells.text("subject")?, cells.text("bucket")?);
            // After the place has its new time: whoever looked before stands in the line by now.
            lock(&mut tx, tenant, &subject, &bucket).await?;
            let now = self.time(&mut tx).await?;
            hand_on(&mut tx, tenant, &subject, &bucket, now).await
        }
        .await;
        close(tx, end).await
    }

    async fn pause_window(&self, window: &Window, length: Duration) -> StoreResult<()> {
        let Window {
            tenant,
            subject,
            bucket,
            limit: _,
        } = window;
        let mut tx = self.begin().await?;
        let end = async {
            lock(&mut tx, *tenant, subject, bucket).await?;
            let now = self.time(&mut tx).await?;
            sqlx::query(
                "INSERT INTO slot_pauses (tenant_id, subject, bucket, until)
                 VALUES ($1, $2, $3, $4)
                 ON CONFLICT (tenant_id, subject, bucket) DO UPDATE
                 SET until = GREATEST(slot_pauses.until, excluded.until)",
            )
            .bind(tenant.as_uuid())
            .bind(subject)
            .bind(bucket)
            .bind(now + span(length))
            .execute(&mut *tx)
            .await
            .map_err(db)?;
            hand_on(&mut tx, *tenant, subject, bucket, now).await
        }
        .await;
        close(tx, end).await
    }

    async fn windows(&self, windows: &[Window]) -> StoreResult<Vec<WindowUse>> {
        let tenants: Vec<_> = windows.iter().map(|window| window.tenant.as_uuid()).collect();
        let subjects: Vec<_> = windows.iter().map(|window| window.subject.as_str()).collect();
        let buckets: Vec<_> = windows.iter().map(|window| window.bucket.as_str()).collect();
        let limits: Vec<_> = windows.iter().map(|window| i64::from(window.limit)).collect();
        let rows = sqlx::query(
            "SELECT place.used, place.times[GREATEST(place.used - wanted.places, 0) + 1] AS next_free_at,
                 pause.until AS paused_until
             FROM UNNEST($1::uuid[], $2::text[], $3::text[], $4::bigint[]) WITH ORDINALITY
                 AS wanted (tenant_id, subject, bucket, places, number)
             CROSS JOIN LATERAL (
                 SELECT COUNT(*) AS used, ARRAY_AGG(frees_at ORDER BY frees_at) AS times
                 FROM slots
                 WHERE slots.tenant_id = wanted.tenant_id AND slots.subject = wanted.subject
                     AND slots.bucket = wanted.bucket AND frees_at > COALESCE($5, now())) AS place
             LEFT JOIN slot_pauses AS pause
                 ON pause.tenant_id = wanted.tenant_id AND pause.subject = wanted.subject
                     AND pause.bucket = wanted.bucket AND pause.until > COALESCE($5, now())
             ORDER BY wanted.number",
        )
        .bind(tenants)
        .bind(subjects)
        .bind(buckets)
        .bind(limits)
        .bind(self.test_time())
        .fetch_all(&self.pool)
        .await
        .map_err(db)?;
        rows.iter()
            .map(|row| {
                let cells = Cells::of(row, "slots");
                Ok(WindowUse {
                    used: cells.number("used")?,
                    next_free_at: cells.maybe_time("next_free_at")?,
                    paused_until: cells.maybe_time("paused_until")?,
                })
            })
            .collect()
    }

    async fn purge_slots(&self, limit: u32) -> StoreResult<u64> {
        sqlx::query(
            "DELETE FROM slot_pauses
             WHERE (tenant_id, subject, bucket) IN (
                 SELECT tenant_id, subject, bucket
                 FROM slot_pauses
                 WHERE until <= COALESCE($1, now())
                 ORDER BY until
                 LIMIT $2
                 FOR UPDATE SKIP LOCKED)",
        )
        .bind(self.test_time())
        .bind(i64::from(limit))
        .execute(&self.pool)
        .await
        .map_err(db)?;
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

impl PostgresStore {
    async fn take(&self, connection: &mut PgConnection, request: &SlotRequest) -> StoreResult<TakenSlot> {
        let Window {
            tenant,
            subject,
            bucket,
            limit,
        } = &request.window;
        // One at a time for each window: of two that count at once, both would find the last place free.
        lock(connection, *tenant, subject, bucket).await?;
        let now = self.time(connection).await?;
        let row = sqlx::query(
            "SELECT
                 (SELECT COUNT(*)
                  FROM slots
                  WHERE tenant_id = $1 AND subject = $2 AND bucket = $3 AND frees_at > $4) AS used,
                 (SELECT id
                  FROM slots
                  WHERE tenant_id = $1 AND post_id = $5 AND subject = $2 AND bucket = $3 AND frees_at > $4
                  LIMIT 1) AS held,
                 (SELECT until
                  FROM slot_pauses
                  WHERE tenant_id = $1 AND subject = $2 AND bucket = $3 AND until > $4) AS paused_until",
        )
        .bind(tenant.as_uuid())
        .bind(subject)
        .bind(bucket)
        .bind(now)
        .bind(request.post.map(patchbay_core::PostId::as_uuid))
        .fetch_one(&mut *connection)
        .await
        .map_err(db)?;
        let cells = Cells::of(&row, "slots");
        let used: u32 = cells.number("used")?;
        let held: Option<Uuid> = cells.maybe_uuid("held")?;
        let paused_until: Option<DateTime<Utc>> = cells.maybe_time("paused_until")?;
        if held.is_none() && (used >= *limit || paused_until.is_some()) {
            let free_at = line_up(connection, request, used, paused_until, now).await?;
            return Ok(TakenSlot::Full { free_at });
        }
        if let Some(waiter) = request.waiter {
            leave(connection, &request.window, waiter).await?;
        }
        if let Some(id) = held {
            let id = SlotId::from_uuid(id);
            return Ok(TakenSlot::Taken { id, used });
        }
        sqlx::query(
            "INSERT INTO slots (id, tenant_id, subject, bucket, post_id, frees_at)
             VALUES ($1, $2, $3, $4, $5, $6)",
        )
        .bind(request.id.as_uuid())
        .bind(tenant.as_uuid())
        .bind(subject)
        .bind(bucket)
        .bind(request.post.map(patchbay_core::PostId::as_uuid))
        .bind(now + span(request.hold))
        .execute(connection)
        .await
        .map_err(db)?;
        Ok(TakenSlot::Taken {
            id: request.id,
            used: used + 1,
        })
    }
}
