//! The inbox: received webhooks become durable, each with its job.

use std::collections::HashSet;

use patchbay_app::{model::NewWebhook, store::StoreResult};
use sqlx::{QueryBuilder, Sqlite, SqliteConnection};
use uuid::Uuid;

use super::micros;
use crate::error::db;

/// Webhooks in one statement. Each statement is a trip to the thread that holds the connection; a statement of any number
/// of rows is prepared once and kept (`STATEMENTS`).
pub(super) const ROWS_TOGETHER: usize = 64;

/// Stores webhooks, and returns those that are new.
pub(super) async fn insert_inbox<'w>(
    connection: &mut SqliteConnection,
    webhooks: &'w [NewWebhook],
) -> StoreResult<Vec<&'w NewWebhook>> {
    let mut insert = QueryBuilder::<Sqlite>::new(
        "INSERT INTO inbox
             (id, tenant_id, provider, client_id, scheme, digest, body, received_at, correlation_id) ",
    );
    insert.push_values(webhooks, |mut row, NewWebhook { item, .. }| {
        row.push_bind(item.id.as_uuid())
            .push_bind(item.tenant.as_uuid())
            .push_bind(item.provider.as_str())
            .push_bind(&item.client_id)
            .push_bind(&item.scheme)
            .push_bind(&item.digest[..])
            .push_bind(&item.body)
            .push_bind(micros(item.received_at))
            .push_bind(&item.correlation_id);
    });
    insert.push(" ON CONFLICT (tenant_id, provider, digest) DO NOTHING RETURNING id");
    let ids: Vec<Uuid> = insert.build_query_scalar().fetch_all(connection).await.map_err(db)?;
    let ids: HashSet<_> = ids.into_iter().collect();
    let new = |webhook: &&NewWebhook| ids.contains(&webhook.item.id.as_uuid());
    Ok(webhooks.iter().filter(new).collect())
}

/// Stores the jobs of new webhooks.
pub(super) async fn insert_jobs(
    connection: &mut SqliteConnection,
    webhooks: &[&NewWebhook],
    now: i64,
) -> StoreResult<()> {
    if webhooks.is_empty() {
        return Ok(());
    }
    let mut insert = QueryBuilder::<Sqlite>::new(
        "INSERT INTO jobs
             (id, tenant_id, kind, target, status, run_at, due_at, attempts, fence, correlation_id, created_at) ",
    );
    insert.push_values(webhooks, |mut row, NewWebhook { item, job }| {
        row.push_bind(job.as_uuid())
            .push_bind(item.tenant.as_uuid())
            .push("'ingest'")
            .push_bind(item.id.as_uuid())
            .push("'ready'")
            .push_bind(now)
            .push_bind(now)
            .push("0")
            .push("0")
            .push_bind(&item.correlation_id)
            .push_bind(now);
    });
    insert.build().execute(connection).await.map_err(db)?;
    Ok(())
}
