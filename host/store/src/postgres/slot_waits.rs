//! The line before a full window: who stands in it, and who is told when a place frees.

use chrono::{DateTime, Utc};
use patchbay_app::{
    model::JobKind,
    store::{SlotRequest, StoreResult, Waiter, Window},
};
use patchbay_core::TenantId;
use sqlx::{PgConnection, Row as _};

use super::Tx;
use crate::{
    error::db,
    rows::Cells,
    values::{self, LINE, TURN_GRACE, Turn, span},
};

/// Holds a window until the transaction ends. Nobody who holds it waits for a row.
pub(super) async fn lock(
    connection: &mut PgConnection,
    tenant: TenantId,
    subject: &str,
    bucket: &str,
) -> StoreResult<()> {
    sqlx::query("SELECT pg_advisory_xact_lock(hashtextextended($1::text || '/' || $2 || '/' || $3, 0))")
        .bind(tenant.as_uuid())
        .bind(subject)
        .bind(bucket)
        .execute(connection)
        .await
        .map_err(db)?;
    Ok(())
}

/// Puts a waiter into the line, or leaves it where it stands. Tells when its turn comes.
pub(super) async fn line_up(
    connection: &mut PgConnection,
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
        .bind(now)
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
            .bind(now)
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
        .bind(now)
        .bind(due_at)
        .execute(connection)
        .await
        .map_err(db)?;
    }
    Ok(due_at)
}

/// Takes a waiter out of the line: it has its place.
pub(super) async fn leave(connection: &mut PgConnection, window: &Window, waiter: Waiter) -> StoreResult<()> {
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
/// and did not come is passed over. To be called whenever a place frees, or will free sooner than it seemed, under [`lock`].
/// Rows that somebody else holds are passed over too: such a post runs or is being woken, and looks by itself.
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
    .bind(now - TURN_GRACE)
    .bind(LINE)
    .fetch_all(&mut **connection)
    .await
    .map_err(db)?;
    let Some(first) = waits.first() else { return Ok(()) };
    let places = Cells::of(first, "slot_waits").number("places")?;
    let row = sqlx::query(
        "SELECT
             ARRAY(
                 SELECT frees_at
                 FROM slots
                 WHERE tenant_id = $1 AND subject = $2 AND bucket = $3 AND frees_at > $4
                 ORDER BY frees_at) AS frees,
             (SELECT until
              FROM slot_pauses
              WHERE tenant_id = $1 AND subject = $2 AND bucket = $3 AND until > $4) AS paused_until",
    )
    .bind(tenant.as_uuid())
    .bind(subject)
    .bind(bucket)
    .bind(now)
    .fetch_one(&mut **connection)
    .await
    .map_err(db)?;
    let frees: Vec<DateTime<Utc>> = row.try_get("frees").map_err(db)?;
    let paused_until = Cells::of(&row, "slot_pauses").maybe_time("paused_until")?;
    let (mut posts, mut dues) = (Vec::new(), Vec::new());
    for (row, due) in waits.iter().zip(values::turns(places, &frees, now, paused_until)) {
        let cells = Cells::of(row, "slot_waits");
        if due < cells.time("due_at")? {
            posts.push(cells.uuid("post_id")?);
            dues.push(due);
        }
    }
    if posts.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "WITH next AS (
             SELECT wait.post_id, job.id AS job_id, turn.due_at
             FROM UNNEST($4::uuid[], $5::timestamptz[]) AS turn (post_id, due_at)
             JOIN slot_waits AS wait
                 ON wait.tenant_id = $1 AND wait.subject = $2 AND wait.bucket = $3 AND wait.post_id = turn.post_id
             JOIN jobs AS job
                 ON job.target = turn.post_id AND job.kind = 'publish' AND job.status IN ('ready', 'running')
             FOR NO KEY UPDATE OF wait, job SKIP LOCKED),
         told AS (
             UPDATE slot_waits
             SET due_at = next.due_at
             FROM next
             WHERE tenant_id = $1 AND subject = $2 AND bucket = $3 AND slot_waits.post_id = next.post_id)
         UPDATE jobs
         SET run_at = CASE WHEN status = 'ready' THEN LEAST(run_at, next.due_at) ELSE run_at END,
             due_at = CASE WHEN status = 'ready' THEN LEAST(jobs.due_at, next.due_at) ELSE jobs.due_at END,
             wake_at = CASE WHEN status = 'running' THEN LEAST(wake_at, next.due_at) END
         FROM next
         WHERE jobs.id = next.job_id",
    )
    .bind(tenant.as_uuid())
    .bind(subject)
    .bind(bucket)
    .bind(posts)
    .bind(dues)
    .execute(&mut **connection)
    .await
    .map_err(db)?;
    connection.makes_due(JobKind::Publish);
    Ok(())
}
