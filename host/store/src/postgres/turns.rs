//! Jobs of kinds that take turns: tenant after tenant, one at a time, and of one concurrency key one at a time.

use patchbay_app::{
    model::Job,
    store::{Claim, StoreResult},
};
use patchbay_core::TenantId;
use uuid::Uuid;

use super::PostgresStore;
use crate::{
    error::{db, is_duplicate},
    rows::{self, job_columns},
    values::span,
};

/// How often a claim looks again after another claimer took a job of the same concurrency key.
const CLAIM_TRIES: usize = 16;

impl PostgresStore {
    /// Claims one job of the next tenant. Of each tenant the jobs that have waited longest are looked at. If all of
    /// these wait for others of their keys, each key is looked at in its turn: a tenant may have any number of jobs
    /// behind a busy account.
    pub(super) async fn claim_turn(&self, claim: Claim<'_>) -> StoreResult<Vec<Job>> {
        let after = claim.after.unwrap_or(TenantId::from_uuid(Uuid::nil()));
        // From the tenant that was served last to the end, then all.
        let starts = [after, TenantId::from_uuid(Uuid::nil())];
        let starts = if claim.after.is_some() {
            &starts[..]
        } else {
            &starts[..1]
        };
        for by_key in [false, true] {
            for start in starts {
                if let Some(job) = self.claim_from(claim, *start, by_key).await? {
                    return Ok(vec![job]);
                }
            }
        }
        Ok(Vec::new())
    }

    async fn claim_from(&self, claim: Claim<'_>, start: TenantId, by_key: bool) -> StoreResult<Option<Job>> {
        let except: Vec<_> = claim.except.iter().map(|tenant| tenant.as_uuid()).collect();
        for _ in 0..CLAIM_TRIES {
            let row = sqlx::query(if by_key { CLAIM_BY_KEY } else { CLAIM_BY_AGE })
                .bind(self.test_time())
                .bind(claim.kind.as_str())
                .bind(span(claim.lease))
                .bind(start.as_uuid())
                .bind(&except)
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
}

/// Tenants with jobs that wait, one after another, from the one after `$4`. Read only as far as needed.
macro_rules! turns {
    () => {
        "WITH RECURSIVE turns (tenant_id) AS (
             (SELECT tenant_id
              FROM jobs
              WHERE status = 'ready' AND concurrency_key IS NOT NULL AND kind = $2 AND tenant_id > $4
              ORDER BY tenant_id
              LIMIT 1)
             UNION ALL
             SELECT next.tenant_id
             FROM turns
             CROSS JOIN LATERAL (
                 SELECT tenant_id
                 FROM jobs
                 WHERE status = 'ready' AND concurrency_key IS NOT NULL AND kind = $2
                     AND tenant_id > turns.tenant_id
                 ORDER BY tenant_id
                 LIMIT 1) AS next)"
    };
}

/// Its key has no job that runs.
macro_rules! key_is_free {
    () => {
        "NOT EXISTS (
             SELECT 1
             FROM jobs AS other
             WHERE other.tenant_id = job.tenant_id
                 AND other.concurrency_key = job.concurrency_key
                 AND other.status = 'running'
                 AND other.concurrency_key IS NOT NULL)"
    };
}

macro_rules! claim_one {
    ($found:expr) => {
        concat!(
            "UPDATE jobs
             SET status = 'running', due_at = COALESCE($1, now()) + $3, attempts = attempts + 1, fence = fence + 1
             WHERE id = (",
            $found,
            ") RETURNING ",
            job_columns!()
        )
    };
}

/// Looks at the 64 jobs of each tenant that have waited longest.
const CLAIM_BY_AGE: &str = claim_one!(concat!(
    turns!(),
    " SELECT found.id
     FROM turns
     CROSS JOIN LATERAL (
         SELECT job.id
         FROM jobs AS job
         WHERE job.status = 'ready' AND job.due_at <= COALESCE($1, now())
             AND job.id = ANY (ARRAY(
                 SELECT oldest.id
                 FROM jobs AS oldest
                 WHERE oldest.status = 'ready' AND oldest.concurrency_key IS NOT NULL AND oldest.kind = $2
                     AND oldest.tenant_id = turns.tenant_id AND oldest.due_at <= COALESCE($1, now())
                 ORDER BY oldest.due_at, oldest.id
                 LIMIT 64))
             AND ",
    key_is_free!(),
    "    ORDER BY job.due_at, job.id
         LIMIT 1
         FOR UPDATE SKIP LOCKED) AS found
     WHERE turns.tenant_id <> ALL ($5::uuid[])
     LIMIT 1"
));

/// Looks at the first job of every free key of a tenant that has more due jobs than [`CLAIM_BY_AGE`] looks at. Which keys
/// are free is told apart first (`OFFSET 0`): there may be thousands of jobs behind one that is not.
const CLAIM_BY_KEY: &str = claim_one!(concat!(
    turns!(),
    " SELECT found.id
     FROM turns
     CROSS JOIN LATERAL (
         WITH RECURSIVE keys (concurrency_key) AS (
             (SELECT concurrency_key
              FROM jobs
              WHERE status = 'ready' AND concurrency_key IS NOT NULL AND kind = $2 AND tenant_id = turns.tenant_id
              ORDER BY concurrency_key
              LIMIT 1)
             UNION ALL
             SELECT next.concurrency_key
             FROM keys
             CROSS JOIN LATERAL (
                 SELECT concurrency_key
                 FROM jobs
                 WHERE status = 'ready' AND concurrency_key IS NOT NULL AND kind = $2
                     AND tenant_id = turns.tenant_id AND concurrency_key > keys.concurrency_key
                 ORDER BY concurrency_key
                 LIMIT 1) AS next)
         SELECT job.id
         FROM (
             SELECT keys.concurrency_key
             FROM keys
             WHERE NOT EXISTS (
                 SELECT 1
                 FROM jobs AS other
                 WHERE other.tenant_id = turns.tenant_id
                     AND other.concurrency_key = keys.concurrency_key
                     AND other.status = 'running'
                     AND other.concurrency_key IS NOT NULL)
             OFFSET 0) AS free
         CROSS JOIN LATERAL (
             SELECT job.id
             FROM jobs AS job
             WHERE job.status = 'ready' AND job.concurrency_key IS NOT NULL AND job.kind = $2
                 AND job.tenant_id = turns.tenant_id AND job.concurrency_key = free.concurrency_key
                 AND job.due_at <= COALESCE($1, now())
             ORDER BY job.due_at, job.id
             LIMIT 1
             FOR UPDATE SKIP LOCKED) AS job
         LIMIT 1) AS found
     WHERE turns.tenant_id <> ALL ($5::uuid[])
         AND EXISTS (
             SELECT 1
             FROM jobs AS many
             WHERE many.status = 'ready' AND many.concurrency_key IS NOT NULL AND many.kind = $2
                 AND many.tenant_id = turns.tenant_id AND many.due_at <= COALESCE($1, now())
             ORDER BY many.due_at, many.id
             LIMIT 1 OFFSET 64)
     LIMIT 1"
));
