//! The inbox: received webhooks become durable, each with its job.

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use patchbay_app::{model::NewWebhook, store::StoreResult};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::error::db;

/// Stores webhooks and their jobs, and returns the ids of those that are new.
pub(super) async fn insert_inbox(
    connection: &mut PgConnection,
    webhooks: &[&NewWebhook],
    time: Option<DateTime<Utc>>,
) -> StoreResult<HashSet<Uuid>> {
    if let [webhook] = webhooks {
        return insert_one(connection, webhook, time).await;
    }
    let column = |read: fn(&NewWebhook) -> &str| webhooks.iter().map(|w| read(w)).collect::<Vec<_>>();
    // One statement, so that the senders wait for one round trip. Of equal ones in it the first is stored.
    let stored: Vec<Uuid> = sqlx::query_scalar(
        "WITH sent AS (
             SELECT *
             FROM UNNEST($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::text[], $6::bytea[], $7::bytea[],
                 $8::text[])
                 AS sent (id, tenant_id, provider, client_id, scheme, digest, body, correlation_id)),
         stored AS (
             INSERT INTO inbox
                 (id, tenant_id, provider, client_id, scheme, digest, body, received_at, correlation_id)
             SELECT id, tenant_id, provider, client_id, scheme, digest, body, COALESCE($9, now()), correlation_id
             FROM sent
             ON CONFLICT (tenant_id, provider, digest) DO NOTHING
             RETURNING id)
         INSERT INTO jobs
             (id, tenant_id, kind, target, status, run_at, due_at, attempts, fence, correlation_id, created_at)
         SELECT sent.id, sent.tenant_id, 'ingest', sent.id, 'ready', COALESCE($9, now()),
             COALESCE($9, now()), 0, 0, sent.correlation_id, COALESCE($9, now())
         FROM stored
         JOIN sent ON sent.id = stored.id
         RETURNING target",
    )
    .bind(webhooks.iter().map(|w| w.id.as_uuid()).collect::<Vec<_>>())
    .bind(webhooks.iter().map(|w| w.tenant.as_uuid()).collect::<Vec<_>>())
    .bind(column(|w| w.provider.as_str()))
    .bind(column(|w| &w.client_id))
    .bind(column(|w| &w.scheme))
    .bind(webhooks.iter().map(|w| &w.digest[..]).collect::<Vec<_>>())
    .bind(webhooks.iter().map(|w| &w.body[..]).collect::<Vec<_>>())
    .bind(column(|w| &w.correlation_id))
    .bind(time)
    .fetch_all(connection)
    .await
    .map_err(db)?;
    Ok(stored.into_iter().collect())
}

/// The same for a webhook that comes alone: without arrays the statement takes the server half the time.
async fn insert_one(
    connection: &mut PgConnection,
    webhook: &NewWebhook,
    time: Option<DateTime<Utc>>,
) -> StoreResult<HashSet<Uuid>> {
    let stored: Option<Uuid> = sqlx::query_scalar(
        "WITH stored AS (
             INSERT INTO inbox
                 (id, tenant_id, provider, client_id, scheme, digest, body, received_at, correlation_id)
             VALUES ($1, $2, $3, $4, $5, $6, $7, COALESCE($9, now()), $8)
             ON CONFLICT (tenant_id, provider, digest) DO NOTHING
             RETURNING id)
         INSERT INTO jobs
             (id, tenant_id, kind, target, status, run_at, due_at, attempts, fence, correlation_id, created_at)
         SELECT id, $2, 'ingest', id, 'ready', COALESCE($9, now()), COALESCE($9, now()), 0, 0, $8,
             COALESCE($9, now())
         FROM stored
         RETURNING target",
    )
    .bind(webhook.id.as_uuid())
    .bind(webhook.tenant.as_uuid())
    .bind(webhook.provider.as_str())
    .bind(&webhook.client_id)
    .bind(&webhook.scheme)
    .bind(&webhook.digest[..])
    .bind(&webhook.body)
    .bind(&webhook.correlation_id)
    .bind(time)
    .fetch_optional(connection)
    .await
    .map_err(db)?;
    Ok(stored.into_iter().collect())
}
