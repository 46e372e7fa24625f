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
use sqlx::{Row, SqliteConnection};
use uuid::Uuid;

use super::{SqliteStore, list, maybe_micros, micros};
use crate::{
    error::db,
    rows::{self, Cells, job_columns},
    values::{self, span},
};

#[async_trait]
impl Jobs for SqliteStore {
    async fn claim_job(&self, kinds: &[JobKind], lease: Duration) -> StoreResult<Option<Job>> {
        let now = self.time();
        let row = sqlx::query(concat!(
            "UPDATE jobs
             SET status = 'running', due_at = $3, attempts = attempts + 1, fence = fence + 1,
                 wake_at = CASE WHEN wake_at > $1 THEN wake_at END
             WHERE id = (
                 SELECT job.id
                 FROM jobs AS job
                 WHERE job.status IN ('ready', 'running')
                     AND job.due_at <= $1
                     AND job.kind IN (SELECT value FROM json_each($2))
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
                 LIMIT 1)
             RETURNING ",
            job_columns!()
        ))
        .bind(micros(now))
        .bind(list(kinds.iter().map(|kind| kind.as_str())))
        .bind(micros(now + span(lease)))
        .fetch_optional(&self.writer)
        .await
        .map_err(db)?;
        row.as_ref().map(rows::job).transpose()
    }

    async fn renew_lease(&self, lease: Lease, ttl: Duration) -> StoreResult<bool> {
        let now = self.time();
        let done = sqlx::query(
            "UPDATE jobs
             SET due_at = $4
             WHERE id = $1 AND fence = $2 AND status = 'running' AND due_at > $3",
        )
        .bind(lease.job.as_uuid())
        .bind(lease.fence)
        .bind(micros(now))
        .bind(micros(now + span(ttl)))
        .execute(&self.writer)
        .await
        .map_err(db)?;
        Ok(done.rows_affected() > 0)
    }

    async fn end_job(&self, lease: Lease, end: &JobEnd) -> StoreResult<bool> {
        let mut tx = self.begin().await?;
        let ended = end_claim(&mut tx, lease, end, self.time()).await?;
        tx.commit().await.map_err(db)?;
        Ok(ended)
    }

    async fn return_job(&self, lease: Lease) -> StoreResult<()> {
        let now = micros(self.time());
        sqlx::query(
            "UPDATE jobs
             SET status = 'ready', due_at = MIN(run_at, $3), wake_at = NULL, attempts = attempts - 1
             WHERE id = $1 AND fence = $2 AND status = 'running' AND due_at > $3",
        )
        .bind(lease.job.as_uuid())
        .bind(lease.fence)
        .bind(now)
        .execute(&self.writer)
        .await
        .map_err(db)?;
        Ok(())
    }

    async fn wake_job(&self, kind: JobKind, target: Uuid) -> StoreResult<bool> {
        let done = sqlx::query(
            "UPDATE jobs
             SET run_at = CASE WHEN status = 'ready' THEN MIN(run_at, $3) ELSE run_at END,
                 due_at = CASE WHEN status = 'ready' THEN MIN(due_at, $3) ELSE due_at END,
                 wake_at = CASE WHEN status = 'running' THEN MIN(COALESCE(wake_at, $3), $3) END
             WHERE target = $1 AND kind = $2 AND status IN ('ready', 'running')",
        )
        .bind(target)
        .bind(kind.as_str())
        .bind(micros(self.time()))
        .execute(&self.writer)
        .await
        .map_err(db)?;
        Ok(done.rows_affected() > 0)
    }

    async fn next_due(&self, kinds: &[JobKind]) -> StoreResult<Option<DateTime<Utc>>> {
        let row = sqlx::query(
            "SELECT job.due_at
             FROM jobs AS job
             WHERE job.status IN ('ready', 'running')
                 AND (job.status = 'ready' OR job.due_at <= $1)
                 AND job.kind IN (SELECT value FROM json_each($2))
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
        .bind(micros(self.time()))
        .bind(list(kinds.iter().map(|kind| kind.as_str())))
        .fetch_optional(&self.readers)
        .await
        .map_err(db)?;
        row.map(|row| Cells::of(&row, "jobs").time("due_at")).transpose()
    }

    async fn job_stats(&self) -> StoreResult<JobStats> {
        let now = self.time();
        let row = sqlx::query(
            "SELECT
                 (SELECT COUNT(*) FROM jobs WHERE status IN ('ready', 'running') AND due_at <= $1) AS due,
                 (SELECT MIN(due_at) FROM jobs WHERE status IN ('ready', 'running') AND due_at <= $1) AS oldest,
                 (SELECT COUNT(*) FROM jobs
                  WHERE status IN ('ready', 'running') AND due_at > $1 AND status = 'running') AS running,
                 (SELECT COUNT(*) FROM jobs WHERE status IN ('done', 'dead') AND status = 'dead') AS dead",
        )
        .bind(micros(now))
        .fetch_one(&self.readers)
        .await
        .map_err(db)?;
        let cells = Cells::of(&row, "jobs");
        let oldest = cells.maybe_time("oldest")?;
        Ok(JobStats {
            due: cells.number("due")?,
            running: cells.number("running")?,
            dead: cells.number("dead")?,
            lag: oldest.map(|oldest| (now - oldest).to_std().unwrap_or_default()),
        })
    }

    async fn purge_jobs(&self, before: DateTime<Utc>, limit: u32) -> StoreResult<u64> {
        let mut tx = self.begin().await?;
        let ended = sqlx::query(
            "DELETE FROM jobs
             WHERE id IN (
                 SELECT id FROM jobs WHERE status IN ('done', 'dead') AND finished_at < $1 LIMIT $2)
             RETURNING kind, target",
        )
        .bind(micros(before))
        .bind(i64::from(limit))
        .fetch_all(&mut *tx)
        .await
        .map_err(db)?;
        for row in &ended {
            let cells = Cells::of(row, "jobs");
            if cells.name::<JobKind>("kind")? == JobKind::Ingest {
                sqlx::query("DELETE FROM inbox WHERE id = $1")
                    .bind(cells.uuid("target")?)
                    .execute(&mut *tx)
                    .await
                    .map_err(db)?;
            }
        }
        tx.commit().await.map_err(db)?;
        Ok(ended.len() as u64)
    }
}

/// Checks that a lease is good for work on a target, and keeps it so until the transaction ends.
pub(super) async fn hold(
    connection: &mut SqliteConnection,
    lease: Lease,
    tenant: Option<TenantId>,
    kind: JobKind,
    target: Uuid,
    now: DateTime<Utc>,
) -> StoreResult<()> {
    let row = sqlx::query(
        "SELECT tenant_id, kind, target
         FROM jobs
         WHERE id = $1 AND fence = $2 AND status = 'running' AND due_at > $3",
    )
    .bind(lease.job.as_uuid())
    .bind(lease.fence)
    .bind(micros(now))
    .fetch_optional(connection)
    .await
    .map_err(db)?
    .ok_or(StoreError::Stale)?;
    let cells = Cells::of(&row, "jobs");
    let owner = TenantId::from_uuid(cells.uuid("tenant_id")?);
    let fits = cells.name::<JobKind>("kind")? == kind
        && cells.uuid("target")? == target
        && tenant.is_none_or(|tenant| tenant == owner);
    if fits { Ok(()) } else { Err(StoreError::Stale) }
}

/// Ends a live claim. If the job was asked to run again meanwhile, it does.
pub(super) async fn end_claim(
    connection: &mut SqliteConnection,
    lease: Lease,
    end: &JobEnd,
    now: DateTime<Utc>,
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
             run_at = COALESCE(MIN(COALESCE($5, wake_at), COALESCE(wake_at, $5)), run_at),
             due_at = COALESCE(MIN(COALESCE($5, wake_at), COALESCE(wake_at, $5)), run_at),
             finished_at = CASE WHEN wake_at IS NULL AND $4 <> 'ready' THEN $3 END,
             wake_at = NULL,
             attempts = CASE WHEN $6 THEN 0 ELSE attempts END,
             last_error = COALESCE($7, last_error)
         WHERE id = $1 AND fence = $2 AND status = 'running' AND due_at > $3",
    )
    .bind(lease.job.as_uuid())
    .bind(lease.fence)
    .bind(micros(now))
    .bind(state)
    .bind(maybe_micros(run_at))
    .bind(counts_anew)
    .bind(code.map(|code| values::text(code)))
    .execute(connection)
    .await
    .map_err(db)?;
    Ok(done.rows_affected() > 0)
}

/// Stores a job for a target, or moves the unfinished one forward to it.
pub(super) async fn put_job(
    connection: &mut SqliteConnection,
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
         SET run_at = CASE WHEN jobs.status = 'ready' THEN MIN(jobs.run_at, excluded.run_at) ELSE jobs.run_at END,
             due_at = CASE WHEN jobs.status = 'ready' THEN MIN(jobs.due_at, excluded.run_at) ELSE jobs.due_at END,
             wake_at = CASE
                 WHEN jobs.status = 'running' THEN MIN(COALESCE(jobs.wake_at, excluded.run_at), excluded.run_at)
             END",
    )
    .bind(job.id.as_uuid())
    .bind(job.tenant.as_uuid())
    .bind(job.kind.as_str())
    .bind(target)
    .bind(&job.concurrency_key)
    .bind(micros(job.run_at.unwrap_or(now)))
    .bind(&job.correlation_id)
    .bind(micros(now))
    .execute(connection)
    .await
    .map_err(db)?;
    Ok(())
}

/// Stores a job for a target, or moves the unfinished one to exactly that time, be it sooner or later.
pub(super) async fn move_job(
    connection: &mut SqliteConnection,
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
    .bind(micros(run_at))
    .bind(&job.correlation_id)
    .bind(micros(now))
    .execute(connection)
    .await
    .map_err(db)?;
    Ok(())
}

/// Ends the unfinished job of a kind and target, also one that runs: its worker has then lost its lease.
pub(super) async fn finish_job(
    connection: &mut SqliteConnection,
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
    .bind(micros(now))
    .execute(connection)
    .await
    .map_err(db)?;
    Ok(())
}

/// As [`finish_job`], but a running one goes on to its end and then is not run again.
pub(super) async fn finish_waiting_job(
    connection: &mut SqliteConnection,
    kind: JobKind,
    target: Uuid,
    now: DateTime<Utc>,
) -> StoreResult<()> {
    sqlx::query(
        "UPDATE jobs
         SET finished_at = CASE WHEN status = 'ready' THEN $3 END,
             wake_at = NULL,
             status = CASE WHEN status = 'ready' THEN 'done' ELSE status END
         WHERE target = $1 AND kind = $2 AND status IN ('ready', 'running')",
    )
    .bind(target)
    .bind(kind.as_str())
    .bind(micros(now))
    .execute(connection)
    .await
    .map_err(db)?;
    Ok(())
}

/// Whether a job of this kind and target is under a claim, be it live or abandoned.
pub(super) async fn is_claimed(connection: &mut SqliteConnection, kind: JobKind, target: Uuid) -> StoreResult<bool> {
    let row = sqlx::query(
        "SELECT status = 'running' AS claimed
         FROM jobs
         WHERE target = $1 AND kind = $2 AND status IN ('ready', 'running')",
    )
    .bind(target)
    .bind(kind.as_str())
    .fetch_optional(connection)
    .await
    .map_err(db)?;
    row.map_or(Ok(false), |row| row.try_get("claimed").map_err(db))
}
