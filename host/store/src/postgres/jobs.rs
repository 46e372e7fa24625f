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
use sqlx::{PgConnection, Postgres, QueryBuilder, Row};
use uuid::Uuid;

use super::{PostgresStore, Tx, audits::append, close};
use crate::{
    error::{db, is_duplicate},
    rows::{self, Cells, job_columns},
    values::{self, span},
};

#[async_trait]
impl Jobs for PostgresStore {
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
                 WHERE status = 'running' AND kind = $2 AND due_at <= COALESCE($1, now()))",
        )
        .bind(self.test_time())
        .bind(kind.as_str())
        .fetch_one(&self.pool)
        .await
        .map_err(db)
    }

    async fn take_over(&self, kind: JobKind, lease: Duration) -> StoreResult<Option<Job>> {
        let row = sqlx::query(concat!(
            "UPDATE jobs
             SET due_at = COALESCE($1, now()) + $3, lost = lost + 1, fence = fence + 1,
                 attempts = attempts + CASE WHEN lost + 1 < $4 THEN 1 ELSE 0 END,
                 wake_at = CASE WHEN wake_at > COALESCE($1, now()) THEN wake_at END
             WHERE id = (
                 SELECT id
                 FROM jobs
                 WHERE status = 'running' AND kind = $2 AND due_at <= COALESCE($1, now())
                 ORDER BY due_at, id
                 LIMIT 1
                 FOR UPDATE SKIP LOCKED)
             RETURNING ",
            job_columns!()
        ))
        .bind(self.test_time())
        .bind(kind.as_str())
        .bind(span(lease))
        .bind(MAX_LOST)
        .fetch_optional(&self.pool)
        .await
        .map_err(db)?;
        row.as_ref().map(rows::job).transpose()
    }

    async fn renew_leases(&self, leases: &[Lease], ttl: Duration) -> StoreResult<Vec<Lease>> {
        let (ids, fences) = columns(leases);
        let rows = sqlx::query(
            "UPDATE jobs
             SET due_at = COALESCE($3, now()) + $4
             FROM UNNEST($1::uuid[], $2::bigint[]) AS held (id, fence)
             WHERE jobs.id = held.id AND jobs.fence = held.fence AND jobs.status = 'running'
                 AND jobs.due_at > COALESCE($3, now())
             RETURNING jobs.id, jobs.fence",
        )
        .bind(ids)
        .bind(fences)
        .bind(self.test_time())
        .bind(span(ttl))
        .fetch_all(&self.pool)
        .await
        .map_err(db)?;
        rows.iter().map(rows::lease).collect()
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
        let woken = done.rows_affected() > 0;
        if woken {
            self.wakes.wake(kind);
        }
        Ok(woken)
    }

    async fn next_due(&self, kinds: &[JobKind]) -> StoreResult<Option<DateTime<Utc>>> {
        // Of each kind the first one whose key is free, among as many as a claim looks at; and abandoned ones.
        let due: Option<DateTime<Utc>> = sqlx::query_scalar(
            "SELECT LEAST(MIN(waiting.due_at), MIN(abandoned.due_at))
             FROM UNNEST($2::text[]) AS wanted (kind)
             LEFT JOIN LATERAL (
                 SELECT first.due_at
                 FROM (
                     SELECT due_at, tenant_id, concurrency_key
                     FROM jobs
                     WHERE status = 'ready' AND kind = wanted.kind
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
                 ORDER BY first.due_at
                 LIMIT 1) AS waiting ON TRUE
             LEFT JOIN LATERAL (
                 SELECT due_at
                 FROM jobs
                 WHERE status = 'running' AND kind = wanted.kind AND due_at <= COALESCE($1, now())
                 ORDER BY due_at, id
                 LIMIT 1) AS abandoned ON TRUE",
        )
        .bind(self.test_time())
        .bind(names(kinds))
        .fetch_one(&self.pool)
        .await
        .map_err(db)?;
        Ok(due)
    }

    async fn job_stats(&self) -> StoreResult<JobStats> {
        let row = sqlx::query(
            "WITH due AS (
                 SELECT due_at, kind FROM jobs
                 WHERE status = 'ready' AND kind = ANY($2) AND due_at <= COALESCE($1, now())
                 UNION ALL
                 SELECT due_at, kind FROM jobs
                 WHERE status = 'running' AND kind = ANY($2) AND due_at <= COALESCE($1, now()))
             SELECT
                 COALESCE($1, now()) AS at,
                 (SELECT COUNT(*) FROM due) AS due,
                 (SELECT MIN(due_at) FROM due WHERE kind = ANY($3)) AS oldest,
                 (SELECT COUNT(*) FROM jobs
                  WHERE status = 'running' AND kind = ANY($2) AND due_at > COALESCE($1, now())) AS running,
                 (SELECT COUNT(*) FROM jobs WHERE status IN ('done', 'dead') AND status = 'dead') AS dead",
        )
        .bind(self.test_time())
        .bind(names(&JobKind::ALL))
        .bind(names(&JobKind::OF_OPERATOR))
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

    async fn dead_jobs(&self, tenant: TenantId, filter: DeadFilter, page: PageRequest) -> StoreResult<Page<Job>> {
        let mut query = QueryBuilder::<Postgres>::new(concat!("SELECT ", job_columns!(), " FROM jobs"));
        push_dead(&mut query, tenant, filter);
        if let Some(after) = page.after {
            query.push(" AND (finished_at, id) < (").push_bind(after.at);
            query.push(", ").push_bind(after.id).push(")");
        }
        query
            .push(" ORDER BY finished_at DESC, id DESC LIMIT ")
            .push_bind(values::page_rows(page));
        let found = query.build().fetch_all(&self.pool).await.map_err(db)?;
        let jobs = found.iter().map(rows::job).collect::<Result<_, _>>()?;
        Ok(values::page(jobs, page, |job: &Job| Cursor {
            at: job.finished_at.unwrap_or(job.created_at),
            id: job.id.as_uuid(),
        }))
    }

    async fn revive_job(&self, tenant: TenantId, id: JobId, audit: &NewAudit) -> StoreResult<Option<bool>> {
        let mut tx = self.begin().await?;
        let end = async {
            let known: Option<i32> =
                sqlx::query_scalar("SELECT 1 FROM jobs WHERE id = $1 AND tenant_id = $2 AND status = 'dead'")
                    .bind(id.as_uuid())
                    .bind(tenant.as_uuid())
                    .fetch_optional(&mut *tx)
                    .await
                    .map_err(db)?;
            if known.is_none() {
                return Ok(None);
            }
            let is_revived = self.revive(&mut tx, &[id.as_uuid()]).await? > 0;
            if is_revived {
                append(self, &mut tx, audit).await?;
            }
            Ok(Some(is_revived))
        }
        .await;
        close(tx, end).await
    }

    async fn revive_jobs(
        &self,
        tenant: TenantId,
        filter: DeadFilter,
        limit: u32,
        audit: &NewAudit,
    ) -> StoreResult<u64> {
        let mut tx = self.begin().await?;
        let end = async {
            let mut query = QueryBuilder::<Postgres>::new("SELECT id FROM jobs");
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
            let revived = self.revive(&mut tx, &ids).await?;
            if revived > 0 {
                append(self, &mut tx, audit).await?;
            }
            Ok(revived)
        }
        .await;
        close(tx, end).await
    }

    async fn purge_jobs(&self, done: DateTime<Utc>, dead: DateTime<Utc>, limit: u32) -> StoreResult<u64> {
        let mut gone = 0;
        for (status, before) in [("done", done), ("dead", dead)] {
            let ended: i64 = sqlx::query_scalar(
                "WITH gone AS (
                     SELECT id
                     FROM jobs
                     WHERE status IN ('done', 'dead') AND status = $3 AND finished_at < $1
                     ORDER BY finished_at
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
            .bind(status)
            .fetch_one(&self.pool)
            .await
            .map_err(db)?;
            gone += u64::try_from(ended).unwrap_or_default();
        }
        Ok(gone)
    }
}

impl PostgresStore {
    async fn claim_batch(&self, claim: Claim<'_>) -> StoreResult<Vec<Job>> {
        let rows = sqlx::query(concat!(
            "UPDATE jobs
             SET status = 'running', due_at = COALESCE($1, now()) + $3, attempts = attempts + 1, fence = fence + 1
             WHERE id = ANY (ARRAY(
                 SELECT id
                 FROM jobs
                 WHERE status = 'ready' AND kind = $2 AND due_at <= COALESCE($1, now())
                 ORDER BY due_at, id
                 LIMIT $4
                 FOR UPDATE SKIP LOCKED))
             RETURNING ",
            job_columns!()
        ))
        .bind(self.test_time())
        .bind(claim.kind.as_str())
        .bind(span(claim.lease))
        .bind(i64::from(claim.limit))
        .fetch_all(&self.pool)
        .await
        .map_err(db)?;
        let mut jobs = rows.iter().map(rows::job).collect::<StoreResult<Vec<_>>>()?;
        jobs.sort_by_key(|job| (job.run_at, job.id));
        Ok(jobs)
    }

    /// Makes dead jobs ready, but for those whose target has an unfinished job or comes twice.
    async fn revive(&self, connection: &mut Tx, ids: &[Uuid]) -> StoreResult<u64> {
        let revived = sqlx::query(
            "UPDATE jobs
             SET status = 'ready', run_at = COALESCE($2, now()), due_at = COALESCE($2, now()), wake_at = NULL,
                 attempts = 0, lost = 0, finished_at = NULL
             WHERE status = 'dead'
                 AND id IN (
                     SELECT DISTINCT ON (dead.target, dead.kind) dead.id
                     FROM jobs AS dead
                     WHERE dead.id = ANY($1) AND dead.status = 'dead'
                     ORDER BY dead.target, dead.kind, dead.id)
                 AND NOT EXISTS (
                     SELECT 1
                     FROM jobs AS live
                     WHERE live.target = jobs.target AND live.kind = jobs.kind AND live.status IN ('ready', 'running'))",
        )
        .bind(ids)
        .bind(self.test_time())
        .execute(&mut **connection)
        .await;
        match revived {
            Ok(done) => {
                JobKind::ALL.into_iter().for_each(|kind| connection.makes_due(kind));
                Ok(done.rows_affected())
            }
            // A new job of that target came in between. What it does is the same.
            Err(error) if is_duplicate(&error) => Ok(0),
            Err(error) => Err(db(error)),
        }
    }
}

/// Leases as arrays.
fn columns(leases: &[Lease]) -> (Vec<Uuid>, Vec<i64>) {
    leases.iter().map(|lease| (lease.job.as_uuid(), lease.fence)).unzip()
}

fn names(kinds: &[JobKind]) -> Vec<&'static str> {
    kinds.iter().map(|kind| kind.as_str()).collect()
}

fn push_dead(query: &mut QueryBuilder<Postgres>, tenant: TenantId, filter: DeadFilter) {
    query
        .push(" WHERE status = 'dead' AND tenant_id = ")
        .push_bind(tenant.as_uuid());
    if let Some(kind) = filter.kind {
        query.push(" AND kind = ").push_bind(kind.as_str());
    }
    if let Some(from) = filter.from {
        query.push(" AND finished_at >= ").push_bind(from);
    }
    if let Some(to) = filter.to {
        query.push(" AND finished_at < ").push_bind(to);
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
             lost = 0,
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

/// Ends held claims for good: with a code they are dead, without one done.
pub(super) async fn end_claims(
    connection: &mut PgConnection,
    ends: &[(Lease, Option<&str>)],
    now: DateTime<Utc>,
) -> StoreResult<()> {
    let ids: Vec<_> = ends.iter().map(|(lease, _)| lease.job.as_uuid()).collect();
    let codes: Vec<_> = ends.iter().map(|(_, code)| code.map(values::text)).collect();
    sqlx::query(
        "UPDATE jobs
         SET status = CASE
                 WHEN jobs.wake_at IS NOT NULL THEN 'ready'
                 WHEN held.code IS NULL THEN 'done'
                 ELSE 'dead'
             END,
             run_at = COALESCE(jobs.wake_at, jobs.run_at),
             due_at = COALESCE(jobs.wake_at, jobs.run_at),
             finished_at = CASE WHEN jobs.wake_at IS NULL THEN $3::timestamptz END,
             wake_at = NULL,
             lost = 0,
             attempts = CASE WHEN held.code IS NULL THEN 0 ELSE jobs.attempts END,
             last_error = COALESCE(held.code, jobs.last_error)
         FROM UNNEST($1::uuid[], $2::text[]) AS held (id, code)
         WHERE jobs.id = held.id",
    )
    .bind(ids)
    .bind(codes)
    .bind(now)
    .execute(connection)
    .await
    .map_err(db)?;
    Ok(())
}

/// Stores a job for a target, or moves the unfinished one forward to it.
pub(super) async fn put_job(connection: &mut Tx, job: &NewJob, target: Uuid, now: DateTime<Utc>) -> StoreResult<()> {
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
    .bind(run_at)
    .bind(&job.correlation_id)
    .bind(now)
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
    .bind(run_at)
    .execute(&mut **connection)
    .await
    .map_err(db)?;
    connection.makes_due(kind);
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
