//! The inbox: received webhooks become durable, each with its job.

use std::collections::HashSet;

use patchbay_app::{
    model::NewWebhook,
    store::{StoreResult, StoredInbox},
};
use sqlx::{QueryBuilder, Sqlite, SqliteConnection};
use uuid::Uuid;

use crate::error::db;

/// Makes a webhook's job together with its row. So a commit of webhooks is one statement, and one trip to the thread that
/// holds the connection, which is what a small commit costs most. Of the connection, not of the schema: only a store of
/// this version relies on it.
pub(super) const JOB_OF_WEBHOOK: &str = "
    CREATE TEMP TRIGGER job_of_webhook AFTER INSERT ON main.inbox
    BEGIN
        INSERT INTO jobs
            (id, tenant_id, kind, target, status, run_at, due_at, attempts, fence, correlation_id, created_at)
        VALUES (NEW.id, NEW.tenant_id, 'ingest', NEW.id, 'ready', NEW.received_at, NEW.received_at, 0, 0,
            NEW.correlation_id, NEW.received_at);
    END";

/// Stores webhooks with their jobs, in one commit, and returns what became of each.
pub(super) async fn insert_inbox(
    connection: &mut SqliteConnection,
    webhooks: &[NewWebhook],
    now: i64,
) -> StoreResult<Vec<StoredInbox>> {
    if webhooks.is_empty() {
        return Ok(Vec::new());
    }
    let mut insert = QueryBuilder::<Sqlite>::new(
        "INSERT INTO inbox
             (id, tenant_id, provider, client_id, scheme, digest, body, received_at, correlation_id) ",
    );
    insert.push_values(webhooks, |mut row, webhook| {
        row.push_bind(webhook.id.as_uuid())
            .push_bind(webhook.tenant.as_uuid())
            .push_bind(webhook.provider.as_str())
            .push_bind(&webhook.client_id)
            .push_bind(&webhook.scheme)
            .push_bind(&webhook.digest[..])
            .push_bind(&webhook.body)
            .push_bind(now)
            .push_bind(&webhook.correlation_id);
    });
    insert.push(" ON CONFLICT (tenant_id, provider, digest) DO NOTHING");
    // Not RETURNING: the connection's thread hands over each row by itself, which takes longer than to store it.
    let done = insert.build().execute(&mut *connection).await.map_err(db)?;
    let count = done.rows_affected().cast_signed();
    if count == 0 {
        return Ok(vec![StoredInbox::Duplicate; webhooks.len()]);
    }
    if usize::try_from(count) == Ok(webhooks.len()) {
        return Ok(vec![StoredInbox::New; webhooks.len()]);
    }
    // Those that are new are the last ones.
    let new: Vec<Uuid> = sqlx::query_scalar("SELECT id FROM inbox WHERE rowid > $1")
        .bind(done.last_insert_rowid() - count)
        .fetch_all(connection)
        .await
        .map_err(db)?;
    let new: HashSet<_> = new.into_iter().collect();
    let answers = webhooks.iter().map(|webhook| {
        if new.contains(&webhook.id.as_uuid()) {
            StoredInbox::New
        } else {
            StoredInbox::Duplicate
        }
    });
    Ok(answers.collect())
}
