//! The installation in numbers.

use std::time::Duration;

use async_trait::async_trait;
use patchbay_app::{
    model::JobKind,
    store::{
        AccountCounts, DeliveryCounts, KindCounts, Operations, OutcomeCounts, RefreshFailures, Scope, Span, StoreResult,
    },
};
use patchbay_core::{ProviderId, TenantId};

use super::{SqliteStore, micros};
use crate::{error::db, rows, values};

#[async_trait]
impl Operations for SqliteStore {
    async fn count_accounts(&self, scope: &Scope, most: u32) -> StoreResult<AccountCounts> {
        let (first, last) = values::tenants(scope.tenant);
        let row = sqlx::query(
            "SELECT
                 (SELECT COUNT(*) FROM
                     (SELECT 1 FROM accounts
                      WHERE status = 'pending' AND tenant_id BETWEEN $1 AND $2 AND ($3 IS NULL OR provider = $3)
                      LIMIT $4) AS part) AS pending,
                 (SELECT COUNT(*) FROM
                     (SELECT 1 FROM accounts
                      WHERE status = 'active' AND tenant_id BETWEEN $1 AND $2 AND ($3 IS NULL OR provider = $3)
                      LIMIT $4) AS part) AS active,
                 (SELECT COUNT(*) FROM
                     (SELECT 1 FROM accounts
                      WHERE status = 'reauth_required' AND tenant_id BETWEEN $1 AND $2 AND ($3 IS NULL OR provider = $3)
                      LIMIT $4) AS part) AS reauth_required,
                 (SELECT COUNT(*) FROM
                     (SELECT 1 FROM accounts
                      WHERE status = 'revoked' AND tenant_id BETWEEN $1 AND $2 AND ($3 IS NULL OR provider = $3)
                      LIMIT $4) AS part) AS revoked",
        )
        .bind(first)
        .bind(last)
        .bind(scope.provider.as_ref().map(ProviderId::as_str))
        .bind(i64::from(most))
        .fetch_one(&self.readers)
        .await
        .map_err(db)?;
        rows::account_counts(&row)
    }

    async fn count_open_posts(&self, scope: &Scope, most: u32) -> StoreResult<u64> {
        let (first, last) = values::tenants(scope.tenant);
        let count: i64 = sqlx::query_scalar(
            "SELECT COUNT(*) FROM
                 (SELECT 1 FROM posts
                  WHERE status IN ('queued', 'publishing') AND tenant_id BETWEEN $1 AND $2
                      AND ($3 IS NULL OR provider = $3)
                  LIMIT $4) AS part",
        )
        .bind(first)
        .bind(last)
        .bind(scope.provider.as_ref().map(ProviderId::as_str))
        .bind(i64::from(most))
        .fetch_one(&self.readers)
        .await
        .map_err(db)?;
        Ok(count.unsigned_abs())
    }

    async fn count_waiting(&self, tenant: Option<TenantId>, most: u32) -> StoreResult<u64> {
        let (first, last) = values::tenants(tenant);
        // A post may stand in several lines.
        let count: i64 = sqlx::query_scalar(
            "SELECT COUNT(*) FROM
                 (SELECT DISTINCT post_tenant_id, post_id FROM slot_waits
                  WHERE post_tenant_id BETWEEN $1 AND $2
                  ORDER BY post_tenant_id, post_id
                  LIMIT $3) AS part",
        )
        .bind(first)
        .bind(last)
        .bind(i64::from(most))
        .fetch_one(&self.readers)
        .await
        .map_err(db)?;
        Ok(count.unsigned_abs())
    }

    async fn count_outcomes(&self, scope: &Scope, span: Span) -> StoreResult<OutcomeCounts> {
        let (first, last) = values::tenants(scope.tenant);
        let row = sqlx::query(
            "SELECT
                 COUNT(*) AS read,
                 COUNT(*) FILTER (WHERE mine AND status = 'published') AS published,
                 COUNT(*) FILTER (WHERE mine AND status = 'inbox_delivered') AS delivered,
                 COUNT(*) FILTER (WHERE mine AND status = 'failed') AS failed,
                 COUNT(*) FILTER (WHERE mine AND status = 'unconfirmed') AS unconfirmed,
                 COUNT(*) FILTER (WHERE mine AND status = 'cancelled') AS cancelled
             FROM
                 (SELECT status, tenant_id BETWEEN $1 AND $2 AND ($3 IS NULL OR provider = $3) AS mine FROM posts
                  WHERE finished_at >= $4 AND finished_at < $5
                  LIMIT $6) AS part",
        )
        .bind(first)
        .bind(last)
        .bind(scope.provider.as_ref().map(ProviderId::as_str))
        .bind(micros(span.from))
        .bind(micros(span.to))
        .bind(i64::from(span.most))
        .fetch_one(&self.readers)
        .await
        .map_err(db)?;
        rows::outcome_counts(&row)
    }

    async fn count_jobs(&self, kind: JobKind, most: u32) -> StoreResult<KindCounts> {
        let row = sqlx::query(
            "SELECT
                 $3 AS at,
                 (SELECT COUNT(*) FROM
                     (SELECT 1 FROM jobs WHERE status = 'ready' AND kind = $1 AND due_at <= $3 LIMIT $2) AS part)
                     AS due,
                 (SELECT COUNT(*) FROM
                     (SELECT 1 FROM jobs WHERE status = 'ready' AND kind = $1 AND due_at > $3 LIMIT $2) AS part)
                     AS later,
                 (SELECT COUNT(*) FROM
                     (SELECT 1 FROM jobs WHERE status = 'running' AND kind = $1 AND due_at > $3 LIMIT $2) AS part)
                     AS running,
                 (SELECT COUNT(*) FROM
                     (SELECT 1 FROM jobs WHERE status = 'running' AND kind = $1 AND due_at <= $3 LIMIT $2) AS part)
                     AS stalled,
                 (SELECT MIN(due_at) FROM jobs WHERE status = 'ready' AND kind = $1 AND due_at <= $3) AS oldest,
                 (SELECT MIN(due_at) FROM jobs WHERE status = 'running' AND kind = $1 AND due_at <= $3)
                     AS oldest_lease",
        )
        .bind(kind.as_str())
        .bind(i64::from(most))
        .bind(micros(self.time()))
        .fetch_one(&self.readers)
        .await
        .map_err(db)?;
        rows::kind_counts(&row)
    }

    async fn count_dead(&self, tenant: Option<TenantId>, most: u32) -> StoreResult<Vec<(JobKind, u64)>> {
        let (first, last) = values::tenants(tenant);
        let row = sqlx::query(
            "SELECT
                 COUNT(*) FILTER (WHERE kind = 'publish') AS publish,
                 COUNT(*) FILTER (WHERE kind = 'refresh') AS refresh,
                 COUNT(*) FILTER (WHERE kind = 'ingest') AS ingest,
                 COUNT(*) FILTER (WHERE kind = 'revoke') AS revoke,
                 COUNT(*) FILTER (WHERE kind = 'deliver') AS deliver,
                 COUNT(*) FILTER (WHERE kind = 'erase') AS erase,
                 COUNT(*) FILTER (WHERE kind = 'import') AS import,
                 COUNT(*) FILTER (WHERE kind = 'metrics') AS metrics
             FROM (SELECT kind FROM jobs WHERE status = 'dead' AND tenant_id BETWEEN $1 AND $2 LIMIT $3) AS part",
        )
        .bind(first)
        .bind(last)
        .bind(i64::from(most))
        .fetch_one(&self.readers)
        .await
        .map_err(db)?;
        rows::dead_counts(&row)
    }

    async fn count_deliveries(&self, tenant: Option<TenantId>, span: Span) -> StoreResult<DeliveryCounts> {
        let (first, last) = values::tenants(tenant);
        let row = sqlx::query(
            "SELECT
                 (SELECT COUNT(*) FROM
                     (SELECT 1 FROM jobs
                      WHERE status = 'ready' AND concurrency_key IS NOT NULL AND kind = 'deliver'
                          AND tenant_id BETWEEN $1 AND $2
                      LIMIT $5) AS part)
                 + (SELECT COUNT(*) FROM
                     (SELECT 1 FROM jobs
                      WHERE status = 'running' AND kind = 'deliver' AND tenant_id BETWEEN $1 AND $2
                      LIMIT $5) AS part) AS pending,
                 (SELECT COUNT(*) FROM
                     (SELECT tenant_id FROM deliveries
                      WHERE status = 'delivered' AND finished_at >= $3 AND finished_at < $4
                      LIMIT $5) AS part
                  WHERE tenant_id BETWEEN $1 AND $2) AS delivered,
                 (SELECT COUNT(*) FROM
                     (SELECT tenant_id FROM deliveries
                      WHERE status = 'failed' AND finished_at >= $3 AND finished_at < $4
                      LIMIT $5) AS part
                  WHERE tenant_id BETWEEN $1 AND $2) AS failed,
                 (SELECT COUNT(*) FROM
                     (SELECT tenant_id FROM deliveries
                      WHERE status = 'held' AND finished_at >= $3 AND finished_at < $4
                      LIMIT $5) AS part
                  WHERE tenant_id BETWEEN $1 AND $2) AS held",
        )
        .bind(first)
        .bind(last)
        .bind(micros(span.from))
        .bind(micros(span.to))
        .bind(i64::from(span.most))
        .fetch_one(&self.readers)
        .await
        .map_err(db)?;
        rows::delivery_counts(&row)
    }

    async fn webhook_times(&self, tenant: Option<TenantId>, span: Span) -> StoreResult<Vec<Duration>> {
        let (first, last) = values::tenants(tenant);
        // Cut before anything is left out, so that a time full of other work is not read to its beginning.
        let found = sqlx::query(
            "SELECT created_at, finished_at
             FROM
                 (SELECT tenant_id, kind, created_at, finished_at
                  FROM jobs
                  WHERE status IN ('done', 'dead') AND status = 'done' AND finished_at >= $3 AND finished_at < $4
                  ORDER BY finished_at DESC
                  LIMIT $5) AS part
             WHERE kind = 'ingest' AND tenant_id BETWEEN $1 AND $2",
        )
        .bind(first)
        .bind(last)
        .bind(micros(span.from))
        .bind(micros(span.to))
        .bind(i64::from(span.most))
        .fetch_all(&self.readers)
        .await
        .map_err(db)?;
        found.iter().map(rows::time_taken).collect()
    }

    async fn count_refresh_failures(&self, scope: &Scope, span: Span) -> StoreResult<RefreshFailures> {
        let (first, last) = values::tenants(scope.tenant);
        let row = sqlx::query(
            "SELECT
                 (SELECT COUNT(*) FROM
                     (SELECT 1 FROM events
                      WHERE name = 'account.reauth_required' AND recorded_at >= $4 AND recorded_at < $5
                          AND tenant_id BETWEEN $1 AND $2 AND ($3 IS NULL OR provider = $3)
                      LIMIT $6) AS part) AS reauth_required,
                 (SELECT COUNT(*) FROM
                     (SELECT tenant_id, kind, target FROM jobs
                      WHERE status IN ('done', 'dead') AND status = 'dead' AND finished_at >= $4 AND finished_at < $5
                      LIMIT $6) AS part
                  WHERE kind = 'refresh' AND tenant_id BETWEEN $1 AND $2
                      AND ($3 IS NULL
                          OR (SELECT provider FROM accounts
                              WHERE accounts.tenant_id = part.tenant_id AND accounts.id = part.target) = $3))
                     AS given_up",
        )
        .bind(first)
        .bind(last)
        .bind(scope.provider.as_ref().map(ProviderId::as_str))
        .bind(micros(span.from))
        .bind(micros(span.to))
        .bind(i64::from(span.most))
        .fetch_one(&self.readers)
        .await
        .map_err(db)?;
        rows::refresh_failures(&row)
    }
}
