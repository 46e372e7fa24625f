//! Windows shared by all workers.

use std::time::Duration;

use async_trait::async_trait;
use patchbay_app::store::{SlotRequest, Slots, StoreResult, TakenSlot, Window, WindowUse};
use patchbay_core::{SlotId, TenantId};

use super::{
    SqliteStore, micros,
    slot_waits::{self, hand_on, leave, line_up},
};
use crate::{error::db, rows::Cells, values::span};

#[async_trait]
impl Slots for SqliteStore {
    async fn take_slot(&self, request: &SlotRequest) -> StoreResult<TakenSlot> {
        let Window {
            tenant,
            subject,
            bucket,
            limit,
        } = &request.window;
        let mut tx = self.begin().await?;
        let now = self.time();
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
        .bind(micros(now))
        .bind(request.post.map(patchbay_core::PostId::as_uuid))
        .fetch_one(&mut *tx)
        .await
        .map_err(db)?;
        let cells = Cells::of(&row, "slots");
        let used: u32 = cells.number("used")?;
        let held = cells.maybe_uuid("held")?;
        let paused_until = cells.maybe_time("paused_until")?;
        let taken = if held.is_none() && (used >= *limit || paused_until.is_some()) {
            let free_at = line_up(&mut tx, request, used, paused_until, now).await?;
            TakenSlot::Full { free_at }
        } else {
            if let Some(waiter) = request.waiter {
                leave(&mut tx, &request.window, waiter).await?;
            }
            match held {
                Some(id) => TakenSlot::Taken {
                    id: SlotId::from_uuid(id),
                    used,
                },
                None => {
                    sqlx::query(
                        "INSERT INTO slots (id, tenant_id, subject, bucket, post_id, frees_at)
                         VALUES ($1, $2, $3, $4, $5, $6)",
                    )
                    .bind(request.id.as_uuid())
                    .bind(tenant.as_uuid())
                    .bind(subject)
                    .bind(bucket)
                    .bind(request.post.map(patchbay_core::PostId::as_uuid))
                    .bind(micros(now + span(request.hold)))
                    .execute(&mut *tx)
                    .await
                    .map_err(db)?;
                    TakenSlot::Taken {
                        id: request.id,
                        used: used + 1,
                    }
                }
            }
        };
        tx.commit().await.map_err(db)?;
        Ok(taken)
    }

    async fn settle_slot(&self, tenant: TenantId, id: SlotId, after: Duration) -> StoreResult<()> {
        let mut tx = self.begin().await?;
        let now = self.time();
        // A place that has freed may be another's by now.
        let row = sqlx::query(
            "UPDATE slots
             SET frees_at = $3
             WHERE tenant_id = $1 AND id = $2 AND frees_at > $4
             RETURNING subject, bucket",
        )
        .bind(tenant.as_uuid())
        .bind(id.as_uuid())
        .bind(micros(now + span(after)))
        .bind(micros(now))
        .fetch_optional(&mut *tx)
        .await
        .map_err(db)?;
        if let Some(row) = row {
            let cells = Cells::of(&row, "slots");
            let (subject, bucket) = (cells.text("subject")?, cells.text("bucket")?);
            hand_on(&mut tx, tenant, &subject, &bucket, now).await?;
            tx.commit().await.map_err(db)?;
        }
        Ok(())
    }

    async fn pause_window(&self, window: &Window, length: Duration) -> StoreResult<()> {
        let Window {
            tenant,
            subject,
            bucket,
            limit: _,
        } = window;
        let mut tx = self.begin().await?;
        let now = self.time();
        sqlx::query(
            "INSERT INTO slot_pauses (tenant_id, subject, bucket, until)
             VALUES ($1, $2, $3, $4)
             ON CONFLICT (tenant_id, subject, bucket) DO UPDATE
             SET until = MAX(slot_pauses.until, excluded.until)",
        )
        .bind(tenant.as_uuid())
        .bind(subject)
        .bind(bucket)
        .bind(micros(now + span(length)))
        .execute(&mut *tx)
        .await
        .map_err(db)?;
        hand_on(&mut tx, *tenant, subject, bucket, now).await?;
        tx.commit().await.map_err(db)
    }

    async fn windows(&self, windows: &[Window]) -> StoreResult<Vec<WindowUse>> {
        let mut connection = self.readers.acquire().await.map_err(db)?;
        let now = self.time();
        let mut found = Vec::with_capacity(windows.len());
        for window in windows {
            let Window {
                tenant,
                subject,
                bucket,
                limit,
            } = window;
            let (frees, paused_until) = slot_waits::uses(&mut connection, *tenant, subject, bucket, now).await?;
            found.push(WindowUse {
                used: u32::try_from(frees.len()).unwrap_or(u32::MAX),
                // If the limit was lowered, several must go before there is a place more.
                next_free_at: frees.get(frees.len().saturating_sub(*limit as usize)).copied(),
                paused_until,
            });
        }
        Ok(found)
    }

    async fn purge_slots(&self, limit: u32) -> StoreResult<u64> {
        let now = micros(self.time());
        sqlx::query(
            "DELETE FROM slot_pauses
             WHERE (tenant_id, subject, bucket) IN (
                 SELECT tenant_id, subject, bucket FROM slot_pauses WHERE until <= $1 ORDER BY until LIMIT $2)",
        )
        .bind(now)
        .bind(i64::from(limit))
        .execute(&self.writer)
        .await
        .map_err(db)?;
        let done = sqlx::query(
            "DELETE FROM slots
             WHERE id IN (SELECT id FROM slots WHERE frees_at <= $1 ORDER BY frees_at LIMIT $2)",
        )
        .bind(now)
        .bind(i64::from(limit))
        .execute(&self.writer)
        .await
        .map_err(db)?;
        Ok(done.rows_affected())
    }
}
