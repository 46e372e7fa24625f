//! What platforms count of published posts.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use patchbay_app::{
    model::{JobKind, Lease, MetricWatch, NewReading, PastReading, PostRecord, PostStatus, schedule},
    store::{Cursor, JobEnd, Metrics, Page, PageRequest, StoreError, StoreResult},
};
use patchbay_core::{AccountId, PostId, ProviderId, TenantId};
use sqlx::{QueryBuilder, Sqlite};

use super::{
    SqliteStore, Tx,
    events::add_own_event,
    jobs::{end_claim, hold, put_job},
    maybe_micros, micros,
    outbox::is_wanted,
};
use crate::{
    error::db,
    rows::{self, Cells, watch_columns},
    values,
};

#[async_trait]
impl Metrics for SqliteStore {
    async fn due_watches(&self, tenant: TenantId, account: AccountId, limit: u32) -> StoreResult<Vec<MetricWatch>> {
        let found = sqlx::query(concat!(
            "SELECT ",
            watch_columns!(),
            " FROM metric_watches
             WHERE tenant_id = $1 AND account_id = $2 AND next_at IS NOT NULL AND next_at <= $3
             ORDER BY next_at, post_id
             LIMIT $4"
        ))
        .bind(tenant.as_uuid())
        .bind(account.as_uuid())
        .bind(micros(self.time()))
        .bind(i64::from(limit))
        .fetch_all(&self.readers)
        .await
        .map_err(db)?;
        found.iter().map(rows::metric_watch).collect()
    }

    async fn record_readings(
        &self,
        lease: Lease,
        tenant: TenantId,
        account: AccountId,
        readings: &[NewReading],
    ) -> StoreResult<()> {
        let mut tx = self.begin().await?;
        let now = self.time();
        hold(&mut tx, lease, Some(tenant), JobKind::Metrics, account.as_uuid(), now).await?;
        for reading in readings {
            record(self, &mut tx, tenant, account, reading, now).await?;
        }
        let row = sqlx::query(
            "SELECT MIN(next_at) AS next_at
             FROM metric_watches
             WHERE tenant_id = $1 AND account_id = $2 AND next_at IS NOT NULL",
        )
        .bind(tenant.as_uuid())
        .bind(account.as_uuid())
        .fetch_one(&mut *tx)
        .await
        .map_err(db)?;
        let next = Cells::of(&row, "metric_watches").maybe_time("next_at")?;
        let end = next.map_or(JobEnd::Done, |run_at| JobEnd::Next { run_at });
        if !end_claim(&mut tx, lease, &end, now).await? {
            return Err(StoreError::Stale);
        }
        tx.commit().await.map_err(db)
    }

    async fn metric_watch(&self, tenant: TenantId, post: PostId) -> StoreResult<Option<MetricWatch>> {
        let row = sqlx::query(concat!(
            "SELECT ",
            watch_columns!(),
            " FROM metric_watches WHERE tenant_id = $1 AND post_id = $2"
        ))
        .bind(tenant.as_uuid())
        .bind(post.as_uuid())
        .fetch_optional(&self.readers)
        .await
        .map_err(db)?;
        row.as_ref().map(rows::metric_watch).transpose()
    }

    async fn metric_history(
        &self,
        tenant: TenantId,
        post: PostId,
        page: PageRequest,
    ) -> StoreResult<Page<PastReading>> {
        let mut query =
            QueryBuilder::<Sqlite>::new("SELECT id, read_at, counts FROM metric_readings WHERE tenant_id = ");
        query.push_bind(tenant.as_uuid());
        query.push(" AND post_id = ").push_bind(post.as_uuid());
        if let Some(after) = page.after {
            query.push(" AND (read_at, id) < (").push_bind(micros(after.at));
            query.push(", ").push_bind(after.id).push(")");
        }
        query
            .push(" ORDER BY read_at DESC, id DESC LIMIT ")
            .push_bind(values::page_rows(page));
        let found = query.build().fetch_all(&self.readers).await.map_err(db)?;
        let past = found.iter().map(rows::past_reading).collect::<Result<_, _>>()?;
        Ok(values::page(past, page, |past: &PastReading| Cursor {
            at: past.read_at,
            id: past.id,
        }))
    }

    async fn purge_readings(&self, before: DateTime<Utc>, limit: u32) -> StoreResult<u64> {
        let done = sqlx::query(
            "DELETE FROM metric_readings
             WHERE (tenant_id, id) IN (
                 SELECT tenant_id, id FROM metric_readings WHERE read_at < $1 ORDER BY read_at LIMIT $2)",
        )
        .bind(micros(before))
        .bind(i64::from(limit))
        .execute(&self.writer)
        .await
        .map_err(db)?;
        Ok(done.rows_affected())
    }
}

/// Starts the watch of a post that is published and has a public id, if it is not watched yet.
pub(super) async fn watch(connection: &mut Tx, post: &PostRecord, now: DateTime<Utc>) -> StoreResult<()> {
    if post.status != PostStatus::Published || post.publication.remote_ids.is_empty() {
        return Ok(());
    }
    let first = schedule::first(now);
    let begun = sqlx::query(
        "INSERT INTO metric_watches (tenant_id, post_id, account_id, since, next_at, unchanged, counts, missing)
         VALUES ($1, $2, $3, $4, $5, 0, '{}', '{}')
         ON CONFLICT (tenant_id, post_id) DO NOTHING",
    )
    .bind(post.tenant.as_uuid())
    .bind(post.id.as_uuid())
    .bind(post.account.as_uuid())
    .bind(micros(now))
    .bind(micros(first))
    .execute(&mut **connection)
    .await
    .map_err(db)?;
    if begun.rows_affected() == 0 {
        return Ok(());
    }
    put_job(
        connection,
        &values::metrics_job(post, first),
        post.account.as_uuid(),
        now,
    )
    .await
}

async fn record(
    store: &SqliteStore,
    connection: &mut Tx,
    tenant: TenantId,
    account: AccountId,
    reading: &NewReading,
    now: DateTime<Utc>,
) -> StoreResult<()> {
    let watch = &reading.watch;
    let counts = values::json(&watch.counts)?;
    if reading.is_told {
        sqlx::query(
            "INSERT INTO metric_readings (tenant_id, id, post_id, read_at, counts)
             SELECT tenant_id, $3, post_id, $4, $5
             FROM metric_watches
             WHERE tenant_id = $1 AND post_id = $2",
        )
        .bind(tenant.as_uuid())
        .bind(watch.post.as_uuid())
        .bind(reading.id)
        .bind(micros(now))
        .bind(&counts)
        .execute(&mut **connection)
        .await
        .map_err(db)?;
    }
    let done = sqlx::query(
        "UPDATE metric_watches
         SET next_at = $4, unchanged = $5, counts = $6, read_at = $7, missing = $8
         WHERE tenant_id = $1 AND post_id = $2 AND account_id = $3",
    )
    .bind(tenant.as_uuid())
    .bind(watch.post.as_uuid())
    .bind(account.as_uuid())
    .bind(maybe_micros(watch.next_at))
    .bind(i64::from(watch.unchanged))
    .bind(counts)
    .bind(maybe_micros(watch.read_at))
    .bind(values::json(&watch.missing)?)
    .execute(&mut **connection)
    .await
    .map_err(db)?;
    let (Some(event), 1) = (&reading.event, done.rows_affected()) else {
        return Ok(());
    };
    if !is_wanted(connection, tenant, &event.name).await? {
        return Ok(());
    }
    let provider: String = sqlx::query_scalar("SELECT provider FROM accounts WHERE tenant_id = $1 AND id = $2")
        .bind(tenant.as_uuid())
        .bind(account.as_uuid())
        .fetch_one(&mut **connection)
        .await
        .map_err(db)?;
    let provider = ProviderId::parse(&provider).map_err(|error| StoreError::Corrupt {
        table: "accounts",
        what: error.to_string(),
    })?;
    add_own_event(store, connection, tenant, &provider, event, now).await
}
