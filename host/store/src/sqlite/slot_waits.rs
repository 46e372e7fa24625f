//! The line before a full window: who stands in it, and who is told when a place frees.

use chrono::{DateTime, Utc};
use patchbay_app::{
    model::JobKind,
    store::{SlotRequest, StoreResult, Waiter, Window},
};
use patchbay_core::TenantId;
use sqlx::{SqliteConnection, sqlite::SqliteRow};

use super::{Tx, micros};
use crate::{
    error::db,
    rows::Cells,
    values::{self, LINE, TURN_GRACE, Turn, span},
};

/// Puts a waiter into the line, or leaves it where it stands. Tells when its turn comes.
pub(super) async fn line_up(
    connection: &mut SqliteConnection,
    request: &SlotRequest,
    used: u32,
    paused_until: Option<DateTime<Utc>>,
    now: DateTime<Utc>,
) -> StoreResult<DateTime<Utc>> {
    let Window {
        tenant,
        subject,
        bucket,
        limit,
    } = &request.window;
    let ahead: i64 = match request.waiter {
        None => 0,
        Some(waiter) => sqlx::query_scalar(
            "SELECT COUNT(*)
             FROM slot_waits
             WHERE tenant_id = $1 AND subject = $2 AND bucket = $3
                 AND (since, post_id) < (
                     COALESCE(
                         (SELECT since
                          FROM slot_waits
                          WHERE tenant_id = $1 AND subject = $2 AND bucket = $3 AND post_id = $4),
                         $5),
                     $4)",
        )
        .bind(tenant.as_uuid())
        .bind(subject)
        .bind(bucket)
        .bind(waiter.post.as_uuid())
        .bind(micros(now))
        .fetch_one(&mut *connection)
        .await
        .map_err(db)?,
    };
    let turn = Turn::of(used, *limit, ahead);
    let frees_at = match turn.place {
        None => now,
        Some(place) => {
            let row = sqlx::query(
                "SELECT frees_at
                 FROM slots
                 WHERE tenant_id = $1 AND subject = $2 AND bucket = $3 AND frees_at > $4
                 ORDER BY frees_at
                 LIMIT 1 OFFSET $5",
            )
            .bind(tenant.as_uuid())
            .bind(subject)
            .bind(bucket)
            .bind(micros(now))
            .bind(place)
            .fetch_optional(&mut *connection)
            .await
            .map_err(db)?;
            match row {
                Some(row) => Cells::of(&row, "slots").time("frees_at")?,
                // The limit is zero.
                None => now + span(request.hold),
            }
        }
    };
    let due_at = turn.due(frees_at, paused_until, request.hold);
    if let Some(waiter) = request.waiter {
        sqlx::query(
            "INSERT INTO slot_waits
                 (tenant_id, subject, bucket, post_tenant_id, post_id, places, since, due_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
             ON CONFLICT (tenant_id, subject, bucket, post_id) DO UPDATE
             SET places = excluded.places, due_at = excluded.due_at",
        )
        .bind(tenant.as_uuid())
        .bind(subject)
        .bind(bucket)
        .bind(waiter.tenant.as_uuid())
        .bind(waiter.post.as_uuid())
        .bind(i64::from(*limit))
        .bind(micros(now))
        .bind(micros(due_at))
        .execute(connection)
        .await
        .map_err(db)?;
    }
    Ok(due_at)
}

/// Takes a waiter out of the line: it has its place.
pub(super) async fn leave(connection: &mut SqliteConnection, window: &Window, waiter: Waiter) -> StoreResult<()> {
    sqlx::query(
        "DELETE FROM slot_waits
         WHERE tenant_id = $1 AND subject = $2 AND bucket = $3 AND post_id = $4",
    )
    .bind(window.tenant.as_uuid())
    .bind(&window.subject)
    .bind(&window.bucket)
    .bind(waiter.post.as_uuid())
    .execute(connection)
    .await
    .map_err(db)?;
    Ok(())
}

/// Tells the first in the line when a place is theirs: their jobs are due then, if they are not sooner. Whoever was told
/// and did not come is passed over. To be called whenever a place frees, or will free sooner than it seemed.
pub(super) async fn hand_on(
    connection: &mut Tx,
    tenant: TenantId,
    subject: &str,
    bucket: &str,
    now: DateTime<Utc>,
) -> StoreResult<()> {
    let waits = sqlx::query(
        "SELECT post_id, places, due_at
         FROM slot_waits
         WHERE tenant_id = $1 AND subject = $2 AND bucket = $3 AND due_at > $4
         ORDER BY since, post_id
         LIMIT $5",
    )
    .bind(tenant.as_uuid())
    .bind(subject)
    .bind(bucket)
    .bind(micros(now - TURN_GRACE))
    .bind(LINE)
    .fetch_all(&mut **connection)
    .await
    .map_err(db)?;
    let Some(first) = waits.first() else { return Ok(()) };
    let places = Cells::of(first, "slot_waits").number("places")?;
    let (frees, paused_until) = uses(connection, tenant, subject, bucket, now).await?;
    for (row, due) in waits.iter().zip(values::turns(places, &frees, now, paused_until)) {
        let cells = Cells::of(row, "slot_waits");
        if due >= cells.time("due_at")? {
            continue;
        }
        let post = cells.uuid("post_id")?;
        sqlx::query(
            "UPDATE slot_waits
             SET due_at = $5
             WHERE tenant_id = $1 AND subject = $2 AND bucket = $3 AND post_id = $4",
        )
        .bind(tenant.as_uuid())
        .bind(subject)
        .bind(bucket)
        .bind(post)
        .bind(micros(due))
        .execute(&mut **connection)
        .await
        .map_err(db)?;
        sqlx::query(
            "UPDATE jobs
             SET run_at = CASE WHEN status = 'ready' THEN MIN(run_at, $2) ELSE run_at END,
                 due_at = CASE WHEN status = 'ready' THEN MIN(due_at, $2) ELSE due_at END,
                 wake_at = CASE WHEN status = 'running' THEN MIN(COALESCE(wake_at, $2), $2) END
             WHERE target = $1 AND kind = 'publish' AND status IN ('ready', 'running')",
        )
        .bind(post)
        .bind(micros(due))
        .execute(&mut **connection)
        .await
        .map_err(db)?;
        connection.makes_due(JobKind::Publish);
    }
    Ok(())
}

/// When the places in use free, in that order, and when the window opens, if it is closed.
pub(super) async fn uses(
    connection: &mut SqliteConnection,
    tenant: TenantId,
    subject: &str,
    bucket: &str,
    now: DateTime<Utc>,
) -> StoreResult<(Vec<DateTime<Utc>>, Option<DateTime<Utc>>)> {
    let frees = sqlx::query(
        "SELECT frees_at
         FROM slots
         WHERE tenant_id = $1 AND subject = $2 AND bucket = $3 AND frees_at > $4
         ORDER BY frees_at",
    )
    .bind(tenant.as_uuid())
    .bind(subject)
    .bind(bucket)
    .bind(micros(now))
    .fetch_all(&mut *connection)
    .await
    .map_err(db)?;
    let pause = sqlx::query(
        "SELECT until
         FROM slot_pauses
         WHERE tenant_id = $1 AND subject = $2 AND bucket = $3 AND until > $4",
    )
    .bind(tenant.as_uuid())
    .bind(subject)
    .bind(bucket)
    .bind(micros(now))
    .fetch_optional(connection)
    .await
    .map_err(db)?;
    let time = |row: &SqliteRow, column| Cells::of(row, "slots").time(column);
    Ok((
        frees
            .iter()
            .map(|row| time(row, "frees_at"))
            .collect::<StoreResult<_>>()?,
        pause.as_ref().map(|row| time(row, "until")).transpose()?,
    ))
}
