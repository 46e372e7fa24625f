//! The queue.
//!
//! `due_at` is when a job can be claimed: its `run_at` while it is ready, the end of its lease while it runs. `wake_at`
//! notes, while a job runs, when it was asked to run again; the end of the claim obeys it. Jobs that have ended stand in
//! no index that a claim reads, so a claim costs the same however many there are.

use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use patchbay_app::{
    model::{Job, JobKind, Lease, NewAudit, NewJob},
    store::{Claim, Cursor, DeadFilter, JobEnd, JobStats, Jobs, MAX_LOST, Page, PageRequest, StoreError, StoreResult},
};
use patchbay_core::{JobId, TenantId};
use sqlx::{QueryBuilder, Row, Sqlite, SqliteConnection};
use uuid::Uuid;

use super::{SqliteStore, Tx, audits::append, list, maybe_micros, micros};
use crate::{
    error::db,
    rows::{self, Cells, job_columns},
    values::{self, span},
};

#[async_trait]
impl Jobs for SqliteStore {
    async fn claim_jobs(&self, claim: Claim<'_>) -> StoreResult<Vec<Job>> {
        if claim.kind.takes_turns() {
            self.claim_turn(claim).await
        } else {
            self.claim_batch(claim).await
        }
    }

    async fn has_abandoned(&self, kind: JobKind) -> StoreResult<bool> {
        sqlx::query_scalar(
            "SELECT EXISTS (
                 SELECT 1
                 FROM jobs
                 WHERE status = 'running' AND kind = $2 AND due_at <= $1)",
        )
        .bind(micros(self.time()))
        .bind(kind.as_str())
        .fetch_one(&self.readers)
        .await
        .map_err(db)
    }

    async fn take_over(&self, kind: JobKind, lease: Duration) -> StoreResult<Option<Job>> {
        let now = self.time();
        let row = sqlx::query(concat!(
            "UPDATE jobs
             SET due_at = $3, lost = lost + 1, fence = fence + 1,
                 attempts = attempts + CASE WHEN lost + 1 < $4 THEN 1 ELSE 0 END,
                 wake_at = CASE WHEN wake_at > $1 THEN wake_at END
             WHERE id = (
                 SELECT id
                 FROM jobs
                 WHERE status = 'running' AND kind = $2 AND due_at <= $1
                 ORDER BY due_at, id
                 LIMIT 1)
             RETURNING ",
            job_columns!()
        ))
        .bind(micros(now))
        .bind(kind.as_str())
        .bind(micros(now + span(lease)))
        .bind(MAX_LOST)
        .fetch_optional(&self.writer)
        .await
        .map_err(db)?;
        row.as_ref().map(rows::job).transpose()
    }

    async fn renew_leases(&self, leases: &[Lease], ttl: Duration) -> StoreResult<Vec<Lease>> {
        let mut tx = self.begin().await?;
        let now = self.time();
        let mut held = Vec::with_capacity(leases.len());
        for lease in leases {
            let done = sqlx::query(
                "UPDATE jobs
                 SET due_at = $4
                 WHERE id = $1 AND fence = $2 AND status = 'running' AND due_at > $3",
            )
            .bind(lease.job.as_uuid())
            .bind(lease.fence)
            .bind(micros(now))
            .bind(micros(now + span(ttl)))
            .execute(&mut *tx)
            .await
            .map_err(db)?;
            if done.rows_affected() > 0 {
                held.push(*lease);
            }
        }
        tx.commit().await.map_err(db)?;
        Ok(held)
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
        let woken = done.rows_affected() > 0;
        if woken {
            self.wakes.wake(kind);
        }
        Ok(woken)
    }

    async fn next_due(&self, kinds: &[JobKind]) -> StoreResult<Option<DateTime<Utc>>> {
        let mut next: Option<DateTime<Utc>> = None;
        for kind in kinds {
            // The first one whose key is free, among as many as a claim looks at; and an abandoned one.
            let row = sqlx::query(
                "SELECT MIN(due_at) AS due_at
                 FROM (
                     SELECT due_at
                     FROM (
                         SELECT due_at, tenant_id, concurrency_key
                         FROM jobs
                         WHERE status = 'ready' AND kind = $2
                         ORDER BY due_at, id
                         LIMIT 64) AS first
                     WHERE first.concurrency_key IS NULL
                         OR NOT EXISTS (
                             SELECT 1
                             FROM jobs AS other
                             WHERE other.tenant_id = first.tenant_id
                                 AND other.concurrency_key = first.concurrency_key
                                 AND other.status = 'running'
                                 AND other.concurrency_key IS NOT NULL)
                     UNION ALL
                     SELECT due_at FROM jobs WHERE status = 'running' AND kind = $2 AND due_at <= $1)",
            )
            .bind(micros(self.time()))
            .bind(kind.as_str())
            .fetch_one(&self.readers)
            .await
            .map_err(db)?;
            let due = Cells::of(&row, "jobs").maybe_time("due_at")?;
            next = next.into_iter().chain(due).min();
        }
        Ok(next)
    }

    async fn job_stats(&self) -> StoreResult<JobStats> {
        let now = self.time();
        let row = sqlx::query(
            "WITH due AS (
                 SELECT due_at, kind FROM jobs
                 WHERE status = 'ready' AND kind IN (SELECT value FROM json_each($2)) AND due_at <= $1
                 UNION ALL
                 SELECT due_at, kind FROM jobs
                 WHERE status = 'running' AND kind IN (SELECT value FROM json_each($2)) AND due_at <= $1)
             SELECT
                 (SELECT COUNT(*) FROM due) AS due,
                 (SELECT MIN(due_at) FROM due WHERE kind IN (SELECT value FROM json_each($3))) AS oldest,
                 (SELECT COUNT(*) FROM jobs
                  WHERE status = 'running' AND kind IN (SELECT value FROM json_each($2)) AND due_at > $1) AS running,
                 (SELECT COUNT(*) FROM jobs WHERE status IN ('done', 'dead') AND status = 'dead') AS dead",
        )
        .bind(micros(now))
        .bind(list(JobKind::ALL.iter().map(|kind| kind.as_str())))
        .bind(list(JobKind::OF_OPERATOR.iter().map(|kind| kind.as_str())))
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

    async fn dead_jobs(&self, tenant: TenantId, filter: DeadFilter, page: PageRequest) -> StoreResult<Page<Job>> {
        let mut query = QueryBuilder::<Sqlite>::new(concat!("SELECT ", job_columns!(), " FROM jobs"));
        push_dead(&mut query, tenant, filter);
        if let Some(after) = page.after {
            query.push(" AND (finished_at, id) < (").push_bind(micros(after.at));
            query.push(", ").push_bind(after.id).push(")");
        }
        query
            .push(" ORDER BY finished_at DESC, id DESC LIMIT ")
            .push_bind(values::page_rows(page));
        let found = query.build().fetch_all(&self.readers).await.map_err(db)?;
        let jobs = found.iter().map(rows::job).collect::<Result<_, _>>()?;
        Ok(values::page(jobs, page, |job: &Job| Cursor {
            at: job.finished_at.unwrap_or(job.created_at),
            id: job.id.as_uuid(),
        }))
    }

    async fn revive_job(&self, tenant: TenantId, id: JobId, audit: &NewAudit) -> StoreResult<Option<bool>> {
        let mut tx = self.begin().await?;
        let known: Option<i64> =
            sqlx::query_scalar("SELECT 1 FROM jobs WHERE id = $1 AND tenant_id = $2 AND status = 'dead'")
                .bind(id.as_uuid())
                .bind(tenant.as_uuid())
                .fetch_optional(&mut *tx)
                .await
                .map_err(db)?;
        if known.is_none() {
            return Ok(None);
        }
        let revived = revive(&mut tx, id.as_uuid(), self.time()).await?;
        if revived {
            append(self, &mut tx, audit).await?;
        }
        tx.commit().await.map_err(db)?;
        Ok(Some(revived))
    }

    async fn revive_jobs(
        &self,
        tenant: TenantId,
        filter: DeadFilter,
        limit: u32,
        audit: &NewAudit,
    ) -> StoreResult<u64> {
        let mut tx = self.begin().await?;
        let mut query = QueryBuilder::<Sqlite>::new("SELECT id FROM jobs");
        push_dead(&mut query, tenant, filter);
        query
            .push(
                " AND NOT EXISTS (
                     SELECT 1
                     FROM jobs AS live
                     WHERE live.target = jobs.target AND live.kind = jobs.kind AND live.status IN ('ready', 'running'))
                 ORDER BY finished_at, id LIMIT ",
            )
            .push_bind(i64::from(limit));
        let ids: Vec<Uuid> = query.build_query_scalar().fetch_all(&mut *tx).await.map_err(db)?;
        let mut revived = 0;
        for id in ids {
            revived += u64::from(revive(&mut tx, id, self.time()).await?);
        }
        if revived > 0 {
            append(self, &mut tx, audit).await?;
        }
        tx.commit().await.map_err(db)?;
        Ok(revived)
    }

    async fn purge_jobs(&self, done: DateTime<Utc>, dead: DateTime<Utc>, limit: u32) -> StoreResult<u64> {
        let mut tx = self.begin().await?;
        let mut gone = 0;
        for (status, before) in [("done", done), ("dead", dead)] {
            let ended = sqlx::query(
                "DELETE FROM jobs
                 WHERE id IN (
                     SELECT id
                     FROM jobs
                     WHERE status IN ('done', 'dead') AND status = $3 AND finished_at < $1
                     ORDER BY finished_at
                     LIMIT $2)
                 RETURNING kind, target",
            )
            .bind(micros(before))
            .bind(i64::from(limit))
            .bind(status)
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
            gone += ended.len() as u64;
        }
        tx.commit().await.map_err(db)?;
        Ok(gone)
    }
}

impl SqliteStore {
    async fn claim_batch(&self, claim: Claim<'_>) -> StoreResult<Vec<Job>> {
        let now = self.time();
        let rows = sqlx::query(concat!(
            "UPDATE jobs
             SET status = 'running', due_at = $3, attempts = attempts + 1, fence = fence + 1
             WHERE id IN (
                 SELECT id
                 FROM jobs
                 WHERE status = 'ready' AND kind = $2 AND due_at <= $1
                 ORDER BY due_at, id
                 LIMIT $4)
             RETURNING ",
            job_columns!()
        ))
        .bind(micros(now))
        .bind(claim.kind.as_str())
        .bind(micros(now + span(claim.lease)))
        .bind(i64::from(claim.limit))
        .fetch_all(&self.writer)
        .await
        .map_err(db)?;
        let mut jobs = rows.iter().map(rows::job).collect::<StoreResult<Vec<_>>>()?;
        jobs.sort_by_key(|job| (job.run_at, job.id));
        Ok(jobs)
    }
}

fn push_dead(query: &mut QueryBuilder<Sqlite>, tenant: TenantId, filter: DeadFilter) {
    query
        .push(" WHERE status = 'dead' AND tenant_id = ")
        .push_bind(tenant.as_uuid());
    if let Some(kind) = filter.kind {
        query.push(" AND kind = ").push_bind(kind.as_str());
    }
    if let Some(from) = filter.from {
        query.push(" AND finished_at >= ").push_bind(micros(from));
    }
    if let Some(to) = filter.to {
        query.push(" AND finished_at < ").push_bind(micros(to));
    }
}

/// Makes a dead job ready. `false`: its target has an unfinished job.
async fn revive(connection: &mut Tx, id: Uuid, now: DateTime<Utc>) -> StoreResult<bool> {
    let done = sqlx::query(
        "UPDATE jobs
         SET status = 'ready', run_at = $2, due_at = $2, wake_at = NULL, attempts = 0, lost = 0, finished_at = NULL
         WHERE id = $1 AND status = 'dead'
             AND NOT EXISTS (
                 SELECT 1
                 FROM jobs AS live
                 WHERE live.target = jobs.target AND live.kind = jobs.kind AND live.status IN ('ready', 'running'))",
    )
    .bind(id)
    .bind(micros(now))
    .execute(&mut **connection)
    .await
    .map_err(db)?;
    JobKind::ALL.into_iter().for_each(|kind| connection.makes_due(kind));
    Ok(done.rows_affected() > 0)
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
             lost = 0,
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
pub(super) async fn put_job(connection: &mut Tx, job: &NewJob, target: Uuid, now: DateTime<Utc>) -> StoreResult<()> {
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
    .execute(&mut **connection)
    .await
    .map_err(db)?;
    if job.run_at.is_none_or(|at| at <= now) {
        connection.makes_due(job.kind);
    }
    Ok(())
}

/// Stores a job for a target, or moves the unfinished one to exactly that time, be it sooner or later.
pub(super) async fn move_job(
    connection: &mut Tx,
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
    .execute(&mut **connection)
    .await
    .map_err(db)?;
    if run_at <= now {
        connection.makes_due(job.kind);
    }
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

/// Makes a waiting job due at this time, be it earlier or later.
pub(super) async fn reschedule_job(
    connection: &mut Tx,
    kind: JobKind,
    target: Uuid,
    run_at: DateTime<Utc>,
) -> StoreResult<()> {
    sqlx::query(
        "UPDATE jobs
         SET run_at = $3, due_at = $3
         WHERE target = $1 AND kind = $2 AND status IN ('ready', 'running') AND status = 'ready'",
    )
    .bind(target)
    .bind(kind.as_str())
    .bind(micros(run_at))
    .execute(&mut **connection)
    .await
    .map_err(db)?;
    connection.makes_due(kind);
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
