//! Jobs of kinds that take turns: tenant after tenant, one at a time, and of one concurrency key one at a time.

use patchbay_app::{
    model::Job,
    store::{Claim, StoreResult},
};
use patchbay_core::TenantId;
use uuid::Uuid;

use super::{SqliteStore, list, micros};
use crate::{
    error::db,
    rows::{self, job_columns},
    values::span,
};

impl SqliteStore {
    /// Claims one job of the next tenant: the one that has waited longest, of those whose key is free.
    pub(super) async fn claim_turn(&self, claim: Claim<'_>) -> StoreResult<Vec<Job>> {
        let first = TenantId::from_uuid(Uuid::nil());
        // From the tenant that was served last to the end, then all.
        for start in claim.after.into_iter().chain([first]) {
            let now = self.time();
            let row = sqlx::query(concat!(
                "WITH RECURSIVE turns (tenant_id) AS (
                     SELECT (
                         SELECT tenant_id
                         FROM jobs
                         WHERE status = 'ready' AND concurrency_key IS NOT NULL AND kind = $2 AND tenant_id > $4
                         ORDER BY tenant_id
                         LIMIT 1)
                     UNION ALL
                     SELECT (
                         SELECT tenant_id
                         FROM jobs
                         WHERE status = 'ready' AND concurrency_key IS NOT NULL AND kind = $2
                             AND tenant_id > turns.tenant_id
                         ORDER BY tenant_id
                         LIMIT 1)
                     FROM turns
                     WHERE turns.tenant_id IS NOT NULL)
                 UPDATE jobs
                 SET status = 'running', due_at = $3, attempts = attempts + 1, fence = fence + 1
                 WHERE id = (
                     SELECT found
                     FROM (
                         SELECT (
                             SELECT job.id
                             FROM jobs AS job
                             WHERE job.status = 'ready' AND job.concurrency_key IS NOT NULL AND job.kind = $2
                                 AND job.tenant_id = turns.tenant_id AND job.due_at <= $1
                                 AND NOT EXISTS (
                                     SELECT 1
                                     FROM jobs AS other
                                     WHERE other.tenant_id = job.tenant_id
                                         AND other.concurrency_key = job.concurrency_key
                                         AND other.status = 'running'
                                         AND other.concurrency_key IS NOT NULL)
                             ORDER BY job.due_at, job.id
                             LIMIT 1) AS found
                         FROM turns
                         WHERE turns.tenant_id IS NOT NULL
                             AND lower(hex(turns.tenant_id)) NOT IN (SELECT value FROM json_each($5)))
                     WHERE found IS NOT NULL
                     LIMIT 1)
                 RETURNING ",
                job_columns!()
            ))
            .bind(micros(now))
            .bind(claim.kind.as_str())
            .bind(micros(now + span(claim.lease)))
            .bind(start.as_uuid())
            .bind(list(
                claim
                    .except
                    .iter()
                    .map(|tenant| tenant.as_uuid().simple().to_string())
                    .collect::<Vec<_>>()
                    .iter()
                    .map(String::as_str),
            ))
            .fetch_optional(&self.writer)
            .await
            .map_err(db)?;
            if let Some(row) = &row {
                return Ok(vec![rows::job(row)?]);
            }
        }
        Ok(Vec::new())
    }
}
