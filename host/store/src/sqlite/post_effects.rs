//! What happens to posts besides their own steps: news wakes them, a webhook adds to what is known of them, a
//! disconnect cancels them.

use std::{collections::BTreeSet, time::Duration};

use chrono::{DateTime, Utc};
use patchbay_app::{
    model::{JobKind, MOST_REVIVED, NewEvent, PostRecord, REVIVE_WITHIN},
    store::StoreResult,
};
use patchbay_core::{AccountId, EventId, JobId, PostId, TenantId};
use serde_json::json;
use sqlx::SqliteConnection;

use super::{SqliteStore, Tx, events::add_own_event, jobs::finish_job, metrics::watch, micros, slot_waits::hand_on};
use crate::{
    error::db,
    rows::{self, Cells, post_columns},
    values::{self, span},
};

/// One post of a tenant.
pub(super) async fn read(
    connection: &mut SqliteConnection,
    tenant: TenantId,
    id: PostId,
) -> StoreResult<Option<PostRecord>> {
    let row = sqlx::query(concat!(
        "SELECT ",
        post_columns!(),
        " FROM posts WHERE tenant_id = $1 AND id = $2"
    ))
    .bind(tenant.as_uuid())
    .bind(id.as_uuid())
    .fetch_optional(connection)
    .await
    .map_err(db)?;
    row.as_ref().map(rows::post).transpose()
}

/// Makes a post's job due now, or gives it a new one, if a worker can still learn something about it.
pub(super) async fn wake_post(
    connection: &mut Tx,
    job: JobId,
    tenant: TenantId,
    id: PostId,
    now: DateTime<Utc>,
) -> StoreResult<()> {
    sqlx::query(
        "INSERT INTO jobs
             (id, tenant_id, kind, target, status, concurrency_key, run_at, due_at, attempts, fence, correlation_id,
              created_at)
         SELECT $1, tenant_id, 'publish', id, 'ready', job_key, $4, $4, 0, 0, correlation_id, $4
         FROM posts
         WHERE tenant_id = $2 AND id = $3 AND status IN ('queued', 'publishing', 'inbox_delivered', 'unconfirmed')
         ON CONFLICT (target, kind) WHERE status IN ('ready', 'running') DO UPDATE
         SET run_at = CASE WHEN jobs.status = 'ready' THEN MIN(jobs.run_at, excluded.run_at) ELSE jobs.run_at END,
             due_at = CASE WHEN jobs.status = 'ready' THEN MIN(jobs.due_at, excluded.run_at) ELSE jobs.due_at END,
             wake_at = CASE
                 WHEN jobs.status = 'running' THEN MIN(COALESCE(jobs.wake_at, excluded.run_at), excluded.run_at)
             END",
    )
    .bind(job.as_uuid())
    .bind(tenant.as_uuid())
    .bind(id.as_uuid())
    .bind(micros(now))
    .execute(&mut **connection)
    .await
    .map_err(db)?;
    connection.makes_due(JobKind::Publish);
    Ok(())
}

/// Makes the jobs of an account's open posts due now, except those that are scheduled for later.
pub(super) async fn wake_open_posts(
    connection: &mut Tx,
    tenant: TenantId,
    account: AccountId,
    now: DateTime<Utc>,
) -> StoreResult<()> {
    sqlx::query(
        "UPDATE jobs
         SET run_at = CASE WHEN status = 'ready' THEN MIN(run_at, $3) ELSE run_at END,
             due_at = CASE WHEN status = 'ready' THEN MIN(due_at, $3) ELSE due_at END,
             wake_at = CASE WHEN status = 'running' THEN MIN(COALESCE(wake_at, $3), $3) END
         WHERE kind = 'publish' AND status IN ('ready', 'running')
             AND target IN (
                 SELECT id
                 FROM posts
                 WHERE tenant_id = $1 AND account_id = $2 AND status IN ('queued', 'publishing')
                     AND (scheduled_at IS NULL OR scheduled_at <= $3))",
    )
    .bind(tenant.as_uuid())
    .bind(account.as_uuid())
    .bind(micros(now))
    .execute(&mut **connection)
    .await
    .map_err(db)?;
    connection.makes_due(JobKind::Publish);
    Ok(())
}

/// Lets an account's posts go on that failed for want of access alone, since it is connected again: those that failed not long
/// ago, of which nothing was sent that could have had an effect, and which nobody has asked for once more. They begin anew.
pub(super) async fn revive_posts(
    store: &SqliteStore,
    connection: &mut Tx,
    tenant: TenantId,
    account: AccountId,
    now: DateTime<Utc>,
) -> StoreResult<()> {
    let revived = sqlx::query(concat!(
        "UPDATE posts
         SET status = 'queued', checkpoint = NULL, captured = NULL, remote_ref = NULL, failure = NULL, tries = 0,
             updated_at = $3, finished_at = NULL
         WHERE tenant_id = $1 AND id IN (
             SELECT failed.id
             FROM posts AS failed
             WHERE failed.tenant_id = $1 AND failed.account_id = $2 AND failed.status = 'failed'
                 AND failed.finished_at > $4 AND json_extract(failed.failure, '$.kind') = 'reauth_required'
                 AND NOT failed.cancel_requested
                 AND NOT EXISTS (
                     SELECT 1
                     FROM commits
                     WHERE commits.tenant_id = failed.tenant_id AND commits.post_id = failed.id
                         AND (commits.answer_status IS NULL OR commits.answer_status NOT BETWEEN 400 AND 499))
                 AND NOT EXISTS (
                     SELECT 1
                     FROM posts AS other
                     WHERE other.tenant_id = failed.tenant_id AND other.account_id = failed.account_id
                         AND other.created_at >= failed.created_at AND other.id <> failed.id
                         AND (other.retry_of = failed.id
                             OR other.status NOT IN ('draft', 'failed', 'cancelled') AND json_remove(other.content, '$.consent') = json_remove(failed.content, '$.consent')))
             ORDER BY failed.created_at, failed.id
             LIMIT $5)
         RETURNING ",
        post_columns!()
    ))
    .bind(tenant.as_uuid())
    .bind(account.as_uuid())
    .bind(micros(now))
    .bind(micros(now - REVIVE_WITHIN))
    .bind(i64::from(MOST_REVIVED))
    .fetch_all(&mut **connection)
    .await
    .map_err(db)?;
    let mut posts = revived.iter().map(rows::post).collect::<StoreResult<Vec<_>>>()?;
    posts.sort_by_key(|post| (post.created_at, post.id));
    for post in posts {
        let event = NewEvent {
            id: EventId::from_uuid(store.ids.next()),
            name: "post.revived".to_owned(),
            dedupe_key: format!("{}:post.revived:{}", post.id, post.step),
            account: Some(account),
            post: Some(post.id),
            payload: json!({ "account_id": account }),
        };
        add_own_event(store, connection, tenant, &post.provider, &event, now).await?;
        wake_post(connection, JobId::from_uuid(store.ids.next()), tenant, post.id, now).await?;
    }
    Ok(())
}

/// Cancels an account's posts that have not begun. Those whose first step is under way are asked to stop.
pub(super) async fn cancel_queued_posts(
    connection: &mut Tx,
    tenant: TenantId,
    account: AccountId,
    now: DateTime<Utc>,
) -> StoreResult<()> {
    let cancelled = sqlx::query(
        "UPDATE posts
         SET status = 'cancelled', updated_at = $3, finished_at = COALESCE(finished_at, $3)
         WHERE tenant_id = $1 AND account_id = $2 AND status IN ('queued', 'publishing') AND status = 'queued'
             AND NOT EXISTS (
                 SELECT 1
                 FROM jobs
                 WHERE target = posts.id AND kind = 'publish'
                     AND jobs.status IN ('ready', 'running') AND jobs.status = 'running')
             AND NOT EXISTS (
                 SELECT 1
                 FROM commits
                 WHERE commits.tenant_id = posts.tenant_id AND commits.post_id = posts.id)
         RETURNING id",
    )
    .bind(tenant.as_uuid())
    .bind(account.as_uuid())
    .bind(micros(now))
    .fetch_all(&mut **connection)
    .await
    .map_err(db)?;
    for row in &cancelled {
        let id = PostId::from_uuid(Cells::of(row, "posts").uuid("id")?);
        finish_job(connection, JobKind::Publish, id.as_uuid(), now).await?;
        free_slots(connection, tenant, id, now).await?;
    }
    sqlx::query(
        "UPDATE posts
         SET cancel_requested = TRUE, updated_at = $3
         WHERE tenant_id = $1 AND account_id = $2 AND status IN ('queued', 'publishing') AND status = 'queued'",
    )
    .bind(tenant.as_uuid())
    .bind(account.as_uuid())
    .bind(micros(now))
    .execute(&mut **connection)
    .await
    .map_err(db)?;
    Ok(())
}

/// Cancels an account's drafts, since it is about to be another end user's.
pub(super) async fn cancel_drafts_of_another(
    connection: &mut SqliteConnection,
    tenant: TenantId,
    account: AccountId,
    owner: &str,
    now: DateTime<Utc>,
) -> StoreResult<()> {
    sqlx::query(
        "UPDATE posts
         SET status = 'cancelled', updated_at = $4, finished_at = $4
         WHERE tenant_id = $1 AND account_id = $2 AND status = 'draft'
             AND EXISTS (SELECT 1 FROM accounts WHERE tenant_id = $1 AND id = $2 AND owner <> $3)",
    )
    .bind(tenant.as_uuid())
    .bind(account.as_uuid())
    .bind(owner)
    .bind(micros(now))
    .execute(connection)
    .await
    .map_err(db)?;
    Ok(())
}

/// Adds ids to what is known of a post, if they are not there.
pub(super) async fn add_remote_ids(
    connection: &mut Tx,
    mut post: PostRecord,
    ids: &[String],
    now: DateTime<Utc>,
) -> StoreResult<()> {
    if !values::add_ids(&mut post.publication, ids) {
        return Ok(());
    }
    sqlx::query("UPDATE posts SET publication = $3, updated_at = $4 WHERE tenant_id = $1 AND id = $2")
        .bind(post.tenant.as_uuid())
        .bind(post.id.as_uuid())
        .bind(values::json(&post.publication)?)
        .bind(micros(now))
        .execute(&mut **connection)
        .await
        .map_err(db)?;
    index_remote_ids(connection, &post, now).await
}

/// Lets a post be found by the ids that are known of it, and has its numbers read from time to time.
pub(super) async fn index_remote_ids(connection: &mut Tx, post: &PostRecord, now: DateTime<Utc>) -> StoreResult<()> {
    for id in &post.publication.remote_ids {
        sqlx::query(
            "INSERT INTO post_remote_ids (tenant_id, post_id, remote_id, account_id)
             VALUES ($1, $2, $3, $4)
             ON CONFLICT (tenant_id, post_id, remote_id) DO NOTHING",
        )
        .bind(post.tenant.as_uuid())
        .bind(post.id.as_uuid())
        .bind(values::text(id))
        .bind(post.account.as_uuid())
        .execute(&mut **connection)
        .await
        .map_err(db)?;
    }
    watch(connection, post, now).await
}

/// Holds the places of a post for longer.
pub(super) async fn hold_slots(
    connection: &mut SqliteConnection,
    tenant: TenantId,
    post: PostId,
    length: Duration,
    now: DateTime<Utc>,
) -> StoreResult<()> {
    sqlx::query(
        "UPDATE slots
         SET frees_at = MAX(frees_at, $3)
         WHERE tenant_id = $1 AND post_id = $2 AND frees_at > $4",
    )
    .bind(tenant.as_uuid())
    .bind(post.as_uuid())
    .bind(micros(now + span(length)))
    .bind(micros(now))
    .execute(connection)
    .await
    .map_err(db)?;
    Ok(())
}

/// Frees the places that a post holds, for those who wait for them. It waits for none itself any more.
pub(super) async fn free_slots(
    connection: &mut Tx,
    tenant: TenantId,
    post: PostId,
    now: DateTime<Utc>,
) -> StoreResult<()> {
    sqlx::query("DELETE FROM slot_waits WHERE post_tenant_id = $1 AND post_id = $2")
        .bind(tenant.as_uuid())
        .bind(post.as_uuid())
        .execute(&mut **connection)
        .await
        .map_err(db)?;
    let freed = sqlx::query("DELETE FROM slots WHERE tenant_id = $1 AND post_id = $2 RETURNING subject, bucket")
        .bind(tenant.as_uuid())
        .bind(post.as_uuid())
        .fetch_all(&mut **connection)
        .await
        .map_err(db)?;
    let mut windows = BTreeSet::new();
    for row in &freed {
        let cells = Cells::of(row, "slots");
        windows.insert((cells.text("subject")?, cells.text("bucket")?));
    }
    for (subject, bucket) in windows {
        hand_on(connection, tenant, &subject, &bucket, now).await?;
    }
    Ok(())
}
