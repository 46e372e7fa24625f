//! Posts and the journal of their irreversible calls.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use patchbay_app::{
    model::{Commit, JobKind, Lease, NewEvent, NewJob, NewPost, PostRecord, PostStatus},
    store::{
        CancelOutcome, Cursor, Enqueued, JobEnd, Mark, Page, PageRequest, PostFilter, Posts, StepRecord, StoreError,
        StoreResult,
    },
};
use patchbay_core::{AccountId, JobId, PostId, ProviderId, Publication, TenantId};
use sqlx::{QueryBuilder, Row, Sqlite, SqliteConnection};

use super::{
    SqliteStore,
    events::add_own_event,
    jobs::{end_claim, finish_job, hold, is_claimed, put_job},
    list, maybe_micros, micros,
};
use crate::{
    error::db,
    rows::{self, Cells, post_columns},
};

#[async_trait]
impl Posts for SqliteStore {
    async fn enqueue_post(&self, post: &NewPost, job: &NewJob) -> StoreResult<Enqueued> {
        let mut tx = self.begin().await?;
        let now = self.time();
        let stored = sqlx::query(concat!(
            "INSERT INTO posts
                 (tenant_id, id, account_id, provider, simulated, status, content, step, publication, tries,
                  cancel_requested, scheduled_at, idempotency_key, fingerprint, job_key, correlation_id, created_at,
                  updated_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, 0, $8, 0, FALSE, $9, $10, $11, $12, $13, $14, $14)
             ON CONFLICT (tenant_id, idempotency_key) DO NOTHING
             RETURNING ",
            post_columns!()
        ))
        .bind(post.tenant.as_uuid())
        .bind(post.id.as_uuid())
        .bind(post.account.as_uuid())
        .bind(post.provider.as_str())
        .bind(post.simulated)
        .bind(PostStatus::Queued.as_str())
        .bind(rows::json(&post.content)?)
        .bind(rows::json(&Publication::default())?)
        .bind(maybe_micros(post.scheduled_at))
        .bind(&post.idempotency_key)
        .bind(&post.fingerprint[..])
        .bind(&job.concurrency_key)
        .bind(&post.correlation_id)
        .bind(micros(now))
        .fetch_optional(&mut *tx)
        .await
        .map_err(db)?;
        if let Some(row) = stored {
            put_job(&mut tx, job, job.target, now).await?;
            tx.commit().await.map_err(db)?;
            return Ok(Enqueued::Created(Box::new(rows::post(&row)?)));
        }
        let row = sqlx::query(concat!(
            "SELECT fingerprint, ",
            post_columns!(),
            " FROM posts WHERE tenant_id = $1 AND idempotency_key = $2"
        ))
        .bind(post.tenant.as_uuid())
        .bind(&post.idempotency_key)
        .fetch_one(&mut *tx)
        .await
        .map_err(db)?;
        if Cells::of(&row, "posts").bytes("fingerprint")? == post.fingerprint {
            Ok(Enqueued::Replayed(Box::new(rows::post(&row)?)))
        } else {
            Ok(Enqueued::KeyReused)
        }
    }

    async fn post(&self, tenant: TenantId, id: PostId) -> StoreResult<Option<PostRecord>> {
        let mut connection = self.readers.acquire().await.map_err(db)?;
        read(&mut connection, tenant, id).await
    }

    async fn post_by_ref(
        &self,
        tenant: TenantId,
        provider: &ProviderId,
        remote_ref: &str,
    ) -> StoreResult<Option<PostRecord>> {
        let row = sqlx::query(concat!(
            "SELECT ",
            post_columns!(),
            " FROM posts
             WHERE tenant_id = $1 AND provider = $2 AND remote_ref = $3
             ORDER BY created_at DESC, id DESC
             LIMIT 1"
        ))
        .bind(tenant.as_uuid())
        .bind(provider.as_str())
        .bind(rows::text(remote_ref))
        .fetch_optional(&self.readers)
        .await
        .map_err(db)?;
        row.as_ref().map(rows::post).transpose()
    }

    async fn posts(&self, tenant: TenantId, filter: &PostFilter, page: PageRequest) -> StoreResult<Page<PostRecord>> {
        let mut query =
            QueryBuilder::<Sqlite>::new(concat!("SELECT ", post_columns!(), " FROM posts WHERE tenant_id = "));
        query.push_bind(tenant.as_uuid());
        if let Some(provider) = &filter.provider {
            query.push(" AND provider = ").push_bind(provider.as_str());
        }
        if let Some(account) = filter.account {
            query.push(" AND account_id = ").push_bind(account.as_uuid());
        }
        if let Some(status) = filter.status {
            query.push(" AND status = ").push_bind(status.as_str());
        }
        if let Some(after) = page.after {
            query.push(" AND (created_at, id) < (").push_bind(micros(after.at));
            query.push(", ").push_bind(after.id).push(")");
        }
        query
            .push(" ORDER BY created_at DESC, id DESC LIMIT ")
            .push_bind(rows::page_rows(page));
        let found = query.build().fetch_all(&self.readers).await.map_err(db)?;
        let posts = found.iter().map(rows::post).collect::<Result<_, _>>()?;
        Ok(rows::page(posts, page, |post: &PostRecord| Cursor {
            at: post.created_at,
            id: post.id.as_uuid(),
        }))
    }

    async fn mark_about_to(
        &self,
        lease: Lease,
        tenant: TenantId,
        post: PostId,
        step: i64,
        op: &str,
    ) -> StoreResult<Mark> {
        let mut tx = self.begin().await?;
        let now = self.time();
        hold(&mut tx, lease, Some(tenant), JobKind::Publish, post.as_uuid(), now).await?;
        let marked = sqlx::query(
            "INSERT INTO commits (tenant_id, post_id, step, op, about_to_at)
             VALUES ($1, $2, $3, $4, $5)
             ON CONFLICT (tenant_id, post_id, step, op) DO NOTHING",
        )
        .bind(tenant.as_uuid())
        .bind(post.as_uuid())
        .bind(step)
        .bind(op)
        .bind(micros(now))
        .execute(&mut *tx)
        .await
        .map_err(db)?;
        if marked.rows_affected() > 0 {
            tx.commit().await.map_err(db)?;
            return Ok(Mark::Marked);
        }
        let row = sqlx::query(
            "SELECT receipt
             FROM commits
             WHERE tenant_id = $1 AND post_id = $2 AND step = $3 AND op = $4",
        )
        .bind(tenant.as_uuid())
        .bind(post.as_uuid())
        .bind(step)
        .bind(op)
        .fetch_one(&mut *tx)
        .await
        .map_err(db)?;
        let receipt = Cells::of(&row, "commits").maybe_bytes("receipt")?;
        Ok(receipt.map_or(Mark::Open, Mark::Answered))
    }

    async fn keep_receipt(
        &self,
        tenant: TenantId,
        post: PostId,
        step: i64,
        op: &str,
        status: u16,
        receipt: &[u8],
    ) -> StoreResult<()> {
        // The first answer stands. One without a mark is kept too: an answer is never lost.
        sqlx::query(
            "INSERT INTO commits (tenant_id, post_id, step, op, about_to_at, answered_at, answer_status, receipt)
             VALUES ($1, $2, $3, $4, $5, $5, $6, $7)
             ON CONFLICT (tenant_id, post_id, step, op) DO UPDATE
             SET answered_at = excluded.answered_at,
                 answer_status = excluded.answer_status,
                 receipt = excluded.receipt
             WHERE commits.answered_at IS NULL",
        )
        .bind(tenant.as_uuid())
        .bind(post.as_uuid())
        .bind(step)
        .bind(op)
        .bind(micros(self.time()))
        .bind(i64::from(status))
        .bind(receipt)
        .execute(&self.writer)
        .await
        .map_err(db)?;
        Ok(())
    }

    async fn clear_mark(&self, tenant: TenantId, post: PostId, step: i64, op: &str) -> StoreResult<()> {
        sqlx::query(
            "DELETE FROM commits
             WHERE tenant_id = $1 AND post_id = $2 AND step = $3 AND op = $4 AND answered_at IS NULL",
        )
        .bind(tenant.as_uuid())
        .bind(post.as_uuid())
        .bind(step)
        .bind(op)
        .execute(&self.writer)
        .await
        .map_err(db)?;
        Ok(())
    }

    async fn commits(&self, tenant: TenantId, post: PostId) -> StoreResult<Vec<Commit>> {
        let found = sqlx::query(
            "SELECT step, op, about_to_at, answered_at, answer_status, receipt
             FROM commits
             WHERE tenant_id = $1 AND post_id = $2
             ORDER BY step, about_to_at, op
             LIMIT 100",
        )
        .bind(tenant.as_uuid())
        .bind(post.as_uuid())
        .fetch_all(&self.readers)
        .await
        .map_err(db)?;
        found.iter().map(rows::commit).collect()
    }

    async fn record_step(&self, lease: Lease, record: &StepRecord) -> StoreResult<PostRecord> {
        let mut tx = self.begin().await?;
        let now = self.time();
        let (tenant, id) = (record.tenant, record.post);
        hold(&mut tx, lease, Some(tenant), JobKind::Publish, id.as_uuid(), now).await?;
        let before = read(&mut tx, tenant, id).await?.ok_or(StoreError::Stale)?;
        let after = rows::after_step(before, record, now)?;
        let row = sqlx::query(concat!(
            "UPDATE posts
             SET status = $4, step = step + 1, checkpoint = $5, captured = $6, remote_ref = $7, publication = $8,
                 failure = $9, tries = $10, updated_at = $11, finished_at = $12
             WHERE tenant_id = $1 AND id = $2 AND step = $3 AND status IN (SELECT value FROM json_each($13))
             RETURNING ",
            post_columns!()
        ))
        .bind(tenant.as_uuid())
        .bind(id.as_uuid())
        .bind(record.step)
        .bind(after.status.as_str())
        .bind(after.checkpoint.as_ref().map(rows::json).transpose()?)
        .bind(&after.captured)
        .bind(after.remote_ref.as_deref().map(rows::text))
        .bind(rows::json(&after.publication)?)
        .bind(after.failure.as_ref().map(rows::json).transpose()?)
        .bind(i64::from(after.tries))
        .bind(micros(now))
        .bind(maybe_micros(after.finished_at))
        .bind(list(rows::sources(after.status)))
        .fetch_optional(&mut *tx)
        .await
        .map_err(db)?
        .ok_or(StoreError::Stale)?;
        let post = rows::post(&row)?;
        index_remote_ids(&mut tx, &post).await?;
        for event in &record.events {
            add_own_event(&mut tx, tenant, &post.provider, event, now).await?;
        }
        if record.frees_quota {
            free_slots(&mut tx, tenant, id).await?;
        }
        let end = record.run_at.map_or(JobEnd::Done, |run_at| JobEnd::Next { run_at });
        if !end_claim(&mut tx, lease, &end, now).await? {
            return Err(StoreError::Stale);
        }
        tx.commit().await.map_err(db)?;
        Ok(post)
    }

    async fn cancel_post(&self, tenant: TenantId, id: PostId, event: &NewEvent) -> StoreResult<Option<CancelOutcome>> {
        let mut tx = self.begin().await?;
        let now = self.time();
        let claimed = is_claimed(&mut tx, JobKind::Publish, id.as_uuid()).await?;
        let Some(post) = read(&mut tx, tenant, id).await? else {
            return Ok(None);
        };
        if !post.status.is_open() {
            return Ok(Some(CancelOutcome::TooLate(Box::new(post))));
        }
        let begun = claimed || post.status != PostStatus::Queued || has_commits(&mut tx, tenant, id).await?;
        let (status, finished_at) = if begun {
            (post.status, None)
        } else {
            (PostStatus::Cancelled, Some(now))
        };
        let row = sqlx::query(concat!(
            "UPDATE posts
             SET status = $4, cancel_requested = TRUE, updated_at = $5, finished_at = COALESCE(finished_at, $6)
             WHERE tenant_id = $1 AND id = $2 AND status = $3
             RETURNING ",
            post_columns!()
        ))
        .bind(tenant.as_uuid())
        .bind(id.as_uuid())
        .bind(post.status.as_str())
        .bind(status.as_str())
        .bind(micros(now))
        .bind(maybe_micros(finished_at))
        .fetch_optional(&mut *tx)
        .await
        .map_err(db)?
        .ok_or(StoreError::Stale)?;
        let post = rows::post(&row)?;
        if begun {
            wake_post(&mut tx, JobId::from_uuid(self.ids.next()), tenant, id, now).await?;
        } else {
            finish_job(&mut tx, JobKind::Publish, id.as_uuid(), now).await?;
            free_slots(&mut tx, tenant, id).await?;
            add_own_event(&mut tx, tenant, &post.provider, event, now).await?;
        }
        tx.commit().await.map_err(db)?;
        let post = Box::new(post);
        Ok(Some(if begun {
            CancelOutcome::Requested(post)
        } else {
            CancelOutcome::Cancelled(post)
        }))
    }
}

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
    connection: &mut SqliteConnection,
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
    .execute(connection)
    .await
    .map_err(db)?;
    Ok(())
}

/// Makes the jobs of an account's open posts due now, except those that are scheduled for later.
pub(super) async fn wake_open_posts(
    connection: &mut SqliteConnection,
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
    .execute(connection)
    .await
    .map_err(db)?;
    Ok(())
}

/// Cancels an account's posts that have not begun. Those whose first step is under way are asked to stop.
pub(super) async fn cancel_queued_posts(
    connection: &mut SqliteConnection,
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
    .fetch_all(&mut *connection)
    .await
    .map_err(db)?;
    for row in &cancelled {
        let id = PostId::from_uuid(Cells::of(row, "posts").uuid("id")?);
        finish_job(connection, JobKind::Publish, id.as_uuid(), now).await?;
        free_slots(connection, tenant, id).await?;
    }
    sqlx::query(
        "UPDATE posts
         SET cancel_requested = TRUE, updated_at = $3
         WHERE tenant_id = $1 AND account_id = $2 AND status IN ('queued', 'publishing') AND status = 'queued'",
    )
    .bind(tenant.as_uuid())
    .bind(account.as_uuid())
    .bind(micros(now))
    .execute(connection)
    .await
    .map_err(db)?;
    Ok(())
}

/// Adds ids to what is known of a post, if they are not there.
pub(super) async fn add_remote_ids(
    connection: &mut SqliteConnection,
    mut post: PostRecord,
    ids: &[String],
    now: DateTime<Utc>,
) -> StoreResult<()> {
    if !rows::add_ids(&mut post.publication, ids) {
        return Ok(());
    }
    sqlx::query("UPDATE posts SET publication = $3, updated_at = $4 WHERE tenant_id = $1 AND id = $2")
        .bind(post.tenant.as_uuid())
        .bind(post.id.as_uuid())
        .bind(rows::json(&post.publication)?)
        .bind(micros(now))
        .execute(&mut *connection)
        .await
        .map_err(db)?;
    index_remote_ids(connection, &post).await
}

async fn index_remote_ids(connection: &mut SqliteConnection, post: &PostRecord) -> StoreResult<()> {
    for id in &post.publication.remote_ids {
        sqlx::query(
            "INSERT INTO post_remote_ids (tenant_id, post_id, remote_id, account_id)
             VALUES ($1, $2, $3, $4)
             ON CONFLICT (tenant_id, post_id, remote_id) DO NOTHING",
        )
        .bind(post.tenant.as_uuid())
        .bind(post.id.as_uuid())
        .bind(rows::text(id))
        .bind(post.account.as_uuid())
        .execute(&mut *connection)
        .await
        .map_err(db)?;
    }
    Ok(())
}

async fn has_commits(connection: &mut SqliteConnection, tenant: TenantId, post: PostId) -> StoreResult<bool> {
    let row = sqlx::query("SELECT EXISTS (SELECT 1 FROM commits WHERE tenant_id = $1 AND post_id = $2) AS found")
        .bind(tenant.as_uuid())
        .bind(post.as_uuid())
        .fetch_one(connection)
        .await
        .map_err(db)?;
    row.try_get("found").map_err(db)
}

async fn free_slots(connection: &mut SqliteConnection, tenant: TenantId, post: PostId) -> StoreResult<()> {
    sqlx::query("DELETE FROM slots WHERE tenant_id = $1 AND post_id = $2")
        .bind(tenant.as_uuid())
        .bind(post.as_uuid())
        .execute(connection)
        .await
        .map_err(db)?;
    Ok(())
}
