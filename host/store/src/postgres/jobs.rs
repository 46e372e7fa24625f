//! The queue.
//!
//! `due_at` is when a job can be claimed: its `run_at` while it is ready, the end of its lease while it runs. So one
//! index finds waiting jobs and jobs whose worker is gone. `wake_at` notes, while a job runs, when it was asked to run
//! again; the end of the claim obeys it.

use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use patchbay_app::{
    model::{Job, JobKind, Lease, NewJob},
    store::{JobEnd, JobStats, Jobs, StoreError, StoreResult},
};
use patchbay_core::TenantId;
use sqlx::{PgConnection, Row};
use uuid::Uuid;

use super::PostgresStore;
use crate::{
    error::{db, is_duplicate},
    rows::{self, Cells, job_columns},
    values::{self, span},
};

/// How often a claim looks again after another claimer took a job of the same concurrency key.
const CLAIM_TRIES: usize = 16;

#[async_trait]
impl Jobs for PostgresStore {
    async fn claim_job(&self, kinds: &[JobKind], lease: Duration) -> StoreResult<Option<Job>> {
        let kinds: Vec<_> = kinds.iter().map(|kind| kind.as_str()).collect();
        for _ in 0..CLAIM_TRIES {
            let row = sqlx::query(concat!(
                "UPDATE jobs
                 SET status = 'running', due_at = COALESCE($1, now()) + $3, attempts = attempts + 1,
                     fence = fence + 1, wake_at = CASE WHEN wake_at > COALESCE($1, now()) THEN wake_at END
                 WHERE id = (
                     SELECT job.id
                     FROM jobs AS job
                     WHERE job.status IN ('ready', 'running')
                         AND job.due_at <= COALESCE($1, now())
                         AND job.kind = ANY($2)
                         AND (job.concurrency_key IS NULL
                             OR job.status = 'running'
                             OR NOT EXISTS (
                                 SELECT 1
                                 FROM jobs AS other
                                 WHERE other.tenant_id = job.tenant_id
                                     AND other.concurrency_key = job.concurrency_key
                                     AND other.status = 'running'
                                     AND other.concurrency_key IS NOT NULL))
                     ORDER BY job.due_at, job.id
                     LIMIT 1
                     FOR UPDATE SKIP LOCKED)
                 RETURNING ",
                job_columns!()
            ))
            .bind(self.test_time())
            .bind(&kinds)
            .bind(span(lease))
            .fetch_optional(&self.pool)
            .await;
            match row {
                Ok(row) => return row.as_ref().map(rows::job).transpose(),
                // Another claimer took a job of the same key between our look and our write. Its claim is visible
                // now, so the next look finds another job.
                Err(error) if is_duplicate(&error) => {}
                Err(error) => return Err(db(error)),
            }
        }
        Ok(None)
    }

    async fn renew_lease(&self, lease: Lease, ttl: Duration) -> StoreResult<bool> {
        let done = sqlx::query(
            "UPDATE jobs
             SET due_at = COALESCE($3, now()) + $4
             WHERE id = $1 AND fence = $2 AND status = 'running' AND due_at > COALESCE($3, now())",
        )
        .bind(lease.job.as_uuid())
        .bind(lease.fence)
        .bind(self.test_time())
        .bind(span(ttl))
        .execute(&self.pool)
        .await
        .map_err(db)?;
        Ok(done.rows_affected() > 0)
    }

    async fn end_job(&self, lease: Lease, end: &JobEnd) -> StoreResult<bool> {
        let mut connection = self.pool.acquire().await.map_err(db)?;
        end_claim(&mut connection, lease, end, self.test_time()).await
    }

    async fn return_job(&self, lease: Lease) -> StoreResult<()> {
        sqlx::query(
            "UPDATE jobs
             SET status = 'ready', due_at = LEAST(run_at, COALESCE($3, now())), wake_at = NULL, attempts = attempts - 1
             WHERE id = $1 AND fence = $2 AND status = 'running' AND due_at > COALESCE($3, now())",
        )
        .bind(lease.job.as_uuid())
        .bind(lease.fence)
        .bind(self.test_time())
        .execute(&self.pool)
        .await
        .map_err(db)?;
        Ok(())
    }

    async fn wake_job(&self, kind: JobKind, target: Uuid) -> StoreResult<bool> {
        let done = sqlx::query(
            "UPDATE jobs
             SET run_at = CASE WHEN status = 'ready' THEN LEAST(run_at, COALESCE($3, now())) ELSE run_at END,
                 due_at = CASE WHEN status = 'ready' THEN LEAST(due_at, COALESCE($3, now())) ELSE due_at END,
                 wake_at = CASE WHEN status = 'running' THEN LEAST(wake_at, COALESCE($3, now())) END
             WHERE target = $1 AND kind = $2 AND status IN ('ready', 'running')",
        )
        .bind(target)
        .bind(kind.as_str())
        .bind(self.test_time())
        .execute(&self.pool)
        .await
        .map_err(db)?;
        Ok(done.rows_affected() > 0)
    }

    async fn next_due(&self, kinds: &[JobKind]) -> StoreResult<Option<DateTime<Utc>>> {
        let row = sqlx::query(
            "SELECT job.due_at
             FROM jobs AS job
             WHERE job.status IN ('ready', 'running')
                 AND (job.status = 'ready' OR job.due_at <= COALESCE($1, now()))
                 AND job.kind = ANY($2)
                 AND (job.concurrency_key IS NULL
                     OR job.status = 'running'
                     OR NOT EXISTS (
                         SELECT 1
                         FROM jobs AS other
                         WHERE other.tenant_id = job.tenant_id
                             AND other.concurrency_key = job.concurrency_key
                             AND other.status = 'running'
                             AND other.concurrency_key IS NOT NULL))
             ORDER BY job.due_at, job.id
             LIMIT 1",
        )
        .bind(self.test_time())
        .bind(kinds.iter().map(|kind| kind.as_str()).collect::<Vec<_>>())
        .fetch_optional(&self.pool)
        .await
        .map_err(db)?;
        row.map(|row| Cells::of(&row, "jobs").time("due_at")).transpose()
    }

    async fn job_stats(&self) -> StoreResult<JobStats> {
        let row = sqlx::query(
            "SELECT
                 COALESCE($1, now()) AS at,
                 (SELECT COUNT(*) FROM jobs
                  WHERE status IN ('ready', 'running') AND due_at <= COALESCE($1, now())) AS due,
                 (SELECT MIN(due_at) FROM jobs
                  WHERE status IN ('ready', 'running') AND due_at <= COALESCE($1, now())) AS oldest,
                 (SELECT COUNT(*) FROM jobs
                  WHERE status IN ('ready', 'running') AND due_at > COALESCE($1, now())
                      AND status = 'running') AS running,
                 (SELECT COUNT(*) FROM jobs WHERE status IN ('done', 'dead') AND status = 'dead') AS dead",
        )
        .bind(self.test_time())
        .fetch_one(&self.pool)
        .await
        .map_err(db)?;
        let cells = Cells::of(&row, "jobs");
        let now = cells.time("at")?;
        let oldest = cells.maybe_time("oldest")?;
        Ok(JobStats {
            due: cells.number("due")?,
            running: cells.number("running")?,
            dead: cells.number("dead")?,
            lag: oldest.map(|oldest| (now - oldest).to_std().unwrap_or_default()),
        })
    }

    async fn purge_jobs(&self, before: DateTime<Utc>, limit: u32) -> StoreResult<u64> {
        let ended: i64 = sqlx::query_scalar(
            "WITH gone AS (
                 SELECT id
                 FROM jobs
                 WHERE status IN ('done', 'dead') AND finished_at < $1
                 LIMIT $2
                 FOR UPDATE SKIP LOCKED),
             ended AS (
                 DELETE FROM jobs
                 USING gone
                 WHERE jobs.id = gone.id
                 RETURNING jobs.kind, jobs.target),
             read AS (
                 DELETE FROM inbox
                 USING ended
                 WHERE ended.kind = 'ingest' AND inbox.id = ended.target)
             SELECT COUNT(*) FROM ended",
        )
        .bind(before)
        .bind(i64::from(limit))
        .fetch_one(&self.pool)
        .await
        .map_err(db)?;
        Ok(u64::try_from(ended).unwrap_or_default())
    }
}

/// Checks that a lease is good for work on a target, and keeps it so until the transaction ends. Returns the time.
pub(super) async fn hold(
    store: &PostgresStore,
    connection: &mut PgConnection,
    lease: Lease,
    tenant: Option<TenantId>,
    kind: JobKind,
    target: Uuid,
) -> StoreResult<DateTime<Utc>> {
    let row = sqlx::query(
        "SELECT tenant_id, kind, target, due_at
         FROM jobs
         WHERE id = $1 AND fence = $2 AND status = 'running'
         FOR NO KEY UPDATE",
    )
    .bind(lease.job.as_uuid())
    .bind(lease.fence)
    .fetch_optional(&mut *connection)
    .await
    .map_err(db)?
    .ok_or(StoreError::Stale)?;
    let now = store.time(connection).await?;
    let cells = Cells::of(&row, "jobs");
    let owner = TenantId::from_uuid(cells.uuid("tenant_id")?);
    let fits = cells.name::<JobKind>("kind")? == kind
        && cells.uuid("target")? == target
        && cells.time("due_at")? > now
        && tenant.is_none_or(|tenant| tenant == owner);
    if fits { Ok(now) } else { Err(StoreError::Stale) }
}

/// Ends a live claim. If the job was asked to run again meanwhile, it does.
pub(super) async fn end_claim(
    connection: &mut PgConnection,
    lease: Lease,
    end: &JobEnd,
    now: Option<DateTime<Utc>>,
) -> StoreResult<bool> {
    let (state, run_at, code) = match end {
        JobEnd::Done => ("done", None, None),
        JobEnd::Next { run_at } => ("ready", Some(*run_at), None),
        JobEnd::Again { run_at, code } => ("ready", Some(*run_at), Some(code)),
        JobEnd::Dead { code } => ("dead", None, Some(code)),
    };
    let counts_anew = matches!(end, JobEnd::Done | JobEnd::Next { .. });
    let done = sqlx::query(
        "UPDATE jobs
         SET status = CASE WHEN wake_at IS NULL THEN $4 ELSE 'ready' END,
             run_at = COALESCE(LEAST($5, wake_at), run_at),
             due_at = COALESCE(LEAST($5, wake_at), run_at),
             finished_at = CASE WHEN wake_at IS NULL AND $4 <> 'ready' THEN COALESCE($3, now()) END,
             wake_at = NULL,
             attempts = CASE WHEN $6 THEN 0 ELSE attempts END,
             last_error = COALESCE($7, last_error)
         WHERE id = $1 AND fence = $2 AND status = 'running' AND due_at > COALESCE($3, now())",
    )
    .bind(lease.job.as_uuid())
    .bind(lease.fence)
    .bind(now)
    .bind(state)
    .bind(run_at)
    .bind(counts_anew)
    .bind(code.map(|code| values::text(code)))
    .execute(connection)
    .await
    .map_err(db)?;
    Ok(done.rows_affected() > 0)
}

/// Stores a job for a target, or moves the unfinished one forward to it.
pub(super) async fn put_job(
    connection: &mut PgConnection,
    job: &NewJob,
    target: Uuid,
    now: DateTime<Utc>,
) -> StoreResult<()> {
    sqlx::query(
        "INSERT INTO jobs
             (id, tenant_id, kind, target, status, concurrency_key, run_at, due_at, attempts, fence, correlation_id,
              created_at)
         VALUES ($1, $2, $3, $4, 'ready', $5, $6, $6, 0, 0, $7, $8)
         ON CONFLICT (target, kind) WHERE status IN ('ready', 'running') DO UPDATE
         SET run_at = CASE WHEN jobs.status = 'ready' THEN LEAST(jobs.run_at, excluded.run_at) ELSE jobs.run_at END,
             due_at = CASE WHEN jobs.status = 'ready' THEN LEAST(jobs.due_at, excluded.run_at) ELSE jobs.due_at END,
             wake_at = CASE
                 WHEN jobs.status = 'running' THEN LEAST(jobs.wake_at, excluded.run_at)
             END",
    )
    .bind(job.id.as_uuid())
    .bind(job.tenant.as_uuid())
    .bind(job.kind.as_str())
    .bind(target)
    .bind(&job.concurrency_key)
    .bind(job.run_at.unwrap_or(now))
    .bind(&job.correlation_id)
    .bind(now)
    .execute(connection)
    .await
    .map_err(db)?;
    Ok(())
}

/// Stores a job for a target, or moves the unfinished one to exactly that time, be it sooner or later.
pub(super) async fn move_job(
    connection: &mut PgConnection,
    job: &NewJob,
    target: Uuid,
    run_at: DateTime<Utc>,
    now: DateTime<Utc>,
) -> StoreResult<()> {
    sqlx::query(
        "INSERT INTO jobs
             (id, tenant_id, kind, target, status, concurrency_key, run_at, due_at, attempts, fence, correlation_id,
              created_at)
         VALUES ($1, $2, $3, $4, 'ready', $5, $6, $6, 0, 0, $7, $8)
         ON CONFLICT (target, kind) WHERE status IN ('ready', 'running') DO UPDATE
         SET run_at = CASE WHEN jobs.status = 'ready' THEN excluded.run_at ELSE jobs.run_at END,
             due_at = CASE WHEN jobs.status = 'ready' THEN excluded.run_at ELSE jobs.due_at END,
             attempts = CASE WHEN jobs.status = 'ready' THEN 0 ELSE jobs.attempts END,
             wake_at = CASE WHEN jobs.status = 'running' THEN excluded.run_at END",
    )
    .bind(job.id.as_uuid())
    .bind(job.tenant.as_uuid())
    .bind(job.kind.as_str())
    .bind(target)
    .bind(&job.concurrency_key)
    .bind(run_at)
    .bind(&job.correlation_id)
    .bind(now)
    .execute(connection)
    .await
    .map_err(db)?;
    Ok(())
}

/// Ends the unfinished job of a kind and target, also one that runs: its worker has then lost its lease.
pub(super) async fn finish_job(
    connection: &mut PgConnection,
    kind: JobKind,
    target: Uuid,
    now: DateTime<Utc>,
) -> StoreResult<()> {
    sqlx::query(
        "UPDATE jobs
         SET status = 'done', wake_at = NULL, finished_at = $3
         WHERE target = $1 AND kind = $2 AND status IN ('ready', 'running')",
    )
    .bind(target)
    .bind(kind.as_str())
    .bind(now)
    .execute(connection)
    .await
    .map_err(db)?;
    Ok(())
}

/// As [`finish_job`], but a running one goes on to its end and then is not run again.
pub(super) async fn finish_waiting_job(
    connection: &mut PgConnection,
    kind: JobKind,
    target: Uuid,
    now: DateTime<Utc>,
) -> StoreResult<()> {
    sqlx::query(
        "UPDATE jobs
         SET finished_at = CASE WHEN status = 'ready' THEN $3::timestamptz END,
             wake_at = NULL,
             status = CASE WHEN status = 'ready' THEN 'done' ELSE status END
         WHERE target = $1 AND kind = $2 AND status IN ('ready', 'running')",
    )
    .bind(target)
    .bind(kind.as_str())
    .bind(now)
    .execute(connection)
    .await
    .map_err(db)?;
    Ok(())
}

/// Whether a job of this kind and target is under a claim, be it live or abandoned. Keeps it so until the
/// transaction ends.
pub(super) async fn is_claimed(connection: &mut PgConnection, kind: JobKind, target: Uuid) -> StoreResult<bool> {
    let row = sqlx::query(
        "SELECT status = 'running' AS claimed
         FROM jobs
         WHERE target = $1 AND kind = $2 AND status IN ('ready', 'running')
         FOR NO KEY UPDATE",
    )
    .bind(target)
    .bind(kind.as_str())
    .fetch_optional(connection)
    .await
    .map_err(db)?;
    row.map_or(Ok(false), |row| row.try_get("claimed").map_err(db))
}
