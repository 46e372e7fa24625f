//! Posts and the journal of their irreversible calls.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use patchbay_app::{
    model::{Commit, DUPLICATE_WINDOW, JobKind, Lease, NewEvent, NewJob, NewPost, PostOutcome, PostRecord, PostStatus},
    store::{
        CancelOutcome, Cursor, EditOutcome, Enqueued, JobEnd, Mark, Page, PageRequest, PostEdit, PostFilter, Posts,
        QuotaChange, StepRecord, StoreError, StoreResult,
    },
};
use patchbay_core::{AccountId, GroupId, JobId, PostId, ProviderId, Publication, TenantId};
use sqlx::{QueryBuilder, Row, Sqlite, SqliteConnection};
use uuid::Uuid;

use super::{
    SqliteStore, Tx,
    events::add_own_event,
    jobs::{end_claim, finish_job, hold, is_claimed, put_job, reschedule_job},
    list, maybe_micros, micros,
    post_effects::{free_slots, hold_slots, index_remote_ids, read, wake_post},
    questions::settle_questions,
};
use crate::{
    error::{db, is_duplicate},
    rows::{self, Cells, post_columns},
    values,
};

#[async_trait]
impl Posts for SqliteStore {
    async fn enqueue_posts(&self, posts: &[(NewPost, NewJob)]) -> StoreResult<Enqueued> {
        let mut tx = self.begin().await?;
        let now = self.time();
        let mut made = Vec::with_capacity(posts.len());
        for (post, job) in posts {
            let Some(stored) = insert(&mut tx, post, job, now).await? else {
                return hindrance(&mut tx, post).await;
            };
            made.push(stored);
        }
        tx.commit().await.map_err(db)?;
        Ok(Enqueued::Created(made))
    }

    async fn posts_of_key(&self, tenant: TenantId, key: &str) -> StoreResult<Option<([u8; 32], Vec<PostRecord>)>> {
        let mut connection = self.readers.acquire().await.map_err(db)?;
        read_key(&mut connection, tenant, key).await
    }

    async fn duplicate_of(
        &self,
        tenant: TenantId,
        account: AccountId,
        content_hash: [u8; 32],
    ) -> StoreResult<Option<PostId>> {
        let found: Option<Uuid> = sqlx::query_scalar(
            "SELECT id
             FROM posts
             WHERE tenant_id = $1 AND account_id = $2 AND content_hash = $3
                 AND status NOT IN ('failed', 'cancelled')
                 AND (status IN ('queued', 'publishing') OR COALESCE(finished_at, created_at) > $4)",
        )
        .bind(tenant.as_uuid())
        .bind(account.as_uuid())
        .bind(&content_hash[..])
        .bind(micros(self.time() - DUPLICATE_WINDOW))
        .fetch_optional(&self.readers)
        .await
        .map_err(db)?;
        Ok(found.map(PostId::from_uuid))
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
        .bind(values::text(remote_ref))
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
        if let Some(group) = filter.group {
            query.push(" AND group_id = ").push_bind(group.as_uuid());
        }
        if let Some(after) = page.after {
            query.push(" AND (created_at, id) < (").push_bind(micros(after.at));
            query.push(", ").push_bind(after.id).push(")");
        }
        query
            .push(" ORDER BY created_at DESC, id DESC LIMIT ")
            .push_bind(values::page_rows(page));
        let found = query.build().fetch_all(&self.readers).await.map_err(db)?;
        let posts = found.iter().map(rows::post).collect::<Result<_, _>>()?;
        Ok(values::page(posts, page, |post: &PostRecord| Cursor {
            at: post.created_at,
            id: post.id.as_uuid(),
        }))
    }

    async fn post_outcomes(
        &self,
        tenant: TenantId,
        account: Option<AccountId>,
        from: DateTime<Utc>,
        to: DateTime<Utc>,
        limit: u32,
    ) -> StoreResult<Vec<PostOutcome>> {
        let mut query = QueryBuilder::<Sqlite>::new(
            "SELECT status, failure, created_at, scheduled_at, finished_at FROM posts WHERE tenant_id = ",
        );
        query.push_bind(tenant.as_uuid());
        if let Some(account) = account {
            query.push(" AND account_id = ").push_bind(account.as_uuid());
        }
        query.push(" AND created_at >= ").push_bind(micros(from));
        query.push(" AND created_at < ").push_bind(micros(to));
        query
            .push(" ORDER BY created_at DESC, id DESC LIMIT ")
            .push_bind(i64::from(limit));
        let found = query.build().fetch_all(&self.readers).await.map_err(db)?;
        found.iter().map(rows::post_outcome).collect()
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

    async fn next_steps(&self, tenant: TenantId, posts: &[PostId]) -> StoreResult<Vec<(PostId, DateTime<Utc>)>> {
        let mut connection = self.readers.acquire().await.map_err(db)?;
        let mut steps = Vec::with_capacity(posts.len());
        for id in posts {
            let row = sqlx::query(
                "SELECT target, run_at
                 FROM jobs
                 WHERE target = $1 AND kind = 'publish' AND status IN ('ready', 'running') AND status = 'ready'
                     AND tenant_id = $2",
            )
            .bind(id.as_uuid())
            .bind(tenant.as_uuid())
            .fetch_optional(&mut *connection)
            .await
            .map_err(db)?;
            if let Some(row) = row {
                steps.push(rows::next_step(&row)?);
            }
        }
        Ok(steps)
    }

    async fn record_step(&self, lease: Lease, record: &StepRecord) -> StoreResult<PostRecord> {
        let mut tx = self.begin().await?;
        let now = self.time();
        let (tenant, id) = (record.tenant, record.post);
        hold(&mut tx, lease, Some(tenant), JobKind::Publish, id.as_uuid(), now).await?;
        let before = read(&mut tx, tenant, id).await?.ok_or(StoreError::Stale)?;
        let after = values::after_step(before, record, now)?;
        let row = sqlx::query(concat!(
            "UPDATE posts
             SET status = $4, step = step + 1, checkpoint = $5, captured = $6, remote_ref = $7, publication = $8,
                 failure = $9, tries = $10, updated_at = $11, finished_at = $12, cancel_requested = $14
             WHERE tenant_id = $1 AND id = $2 AND step = $3 AND status IN (SELECT value FROM json_each($13))
             RETURNING ",
            post_columns!()
        ))
        .bind(tenant.as_uuid())
        .bind(id.as_uuid())
        .bind(record.step)
        .bind(after.status.as_str())
        .bind(after.checkpoint.as_ref().map(values::json).transpose()?)
        .bind(&after.captured)
        .bind(after.remote_ref.as_deref().map(values::text))
        .bind(values::json(&after.publication)?)
        .bind(after.failure.as_ref().map(values::json).transpose()?)
        .bind(i64::from(after.tries))
        .bind(micros(now))
        .bind(maybe_micros(after.finished_at))
        .bind(list(values::sources(after.status)))
        .bind(after.cancel_requested)
        .fetch_optional(&mut *tx)
        .await
        .map_err(db)?
        .ok_or(StoreError::Stale)?;
        let post = rows::post(&row)?;
        index_remote_ids(&mut tx, &post, now).await?;
        for event in &record.events {
            add_own_event(self, &mut tx, tenant, &post.provider, event, now).await?;
        }
        let adopts = record.adopts.as_deref();
        settle_questions(&mut tx, tenant, (id, post.account), &record.observations, adopts, now).await?;
        let end = record.run_at.map_or(JobEnd::Done, |run_at| JobEnd::Next { run_at });
        if !end_claim(&mut tx, lease, &end, now).await? {
            return Err(StoreError::Stale);
        }
        match record.quota {
            QuotaChange::Keep => {}
            QuotaChange::Hold(length) => hold_slots(&mut tx, tenant, id, length, now).await?,
            QuotaChange::Free => free_slots(&mut tx, tenant, id, now).await?,
        }
        tx.commit().await.map_err(db)?;
        Ok(post)
    }

    async fn edit_post(&self, edit: &PostEdit, event: &NewEvent) -> StoreResult<Option<EditOutcome>> {
        let mut tx = self.begin().await?;
        let now = self.time();
        let (tenant, id) = (edit.tenant, edit.post);
        let claimed = is_claimed(&mut tx, JobKind::Publish, id.as_uuid()).await?;
        let Some(post) = read(&mut tx, tenant, id).await? else {
            return Ok(None);
        };
        if claimed || !edit.suits(post.status) || has_commits(&mut tx, tenant, id).await? {
            return Ok(Some(EditOutcome::TooLate(Box::new(post))));
        }
        if post.updated_at != edit.seen {
            return Ok(Some(EditOutcome::Changed));
        }
        let changed_at = values::later_than(post.updated_at, now);
        let twin = match edit.content_hash {
            Some(hash) => {
                free_content(&mut tx, tenant, post.account, hash, now).await?;
                with_content(&mut tx, tenant, post.account, hash).await?
            }
            None => None,
        };
        let status = edit.publishes.as_ref().map_or(post.status, |_| PostStatus::Queued);
        let row = sqlx::query(concat!(
            "UPDATE posts
             SET content = $3, scheduled_at = $4, updated_at = $5,
                 content_hash = CASE WHEN content_hash IS NOT NULL OR status = 'draft' THEN $6 END, status = $7
             WHERE tenant_id = $1 AND id = $2
             RETURNING ",
            post_columns!()
        ))
        .bind(tenant.as_uuid())
        .bind(id.as_uuid())
        .bind(values::json(&edit.content)?)
        .bind(maybe_micros(edit.scheduled_at))
        .bind(micros(changed_at))
        .bind(edit.content_hash.as_ref().map(|hash| &hash[..]))
        .bind(status.as_str())
        .fetch_one(&mut *tx)
        .await;
        let row = match (row, twin) {
            (Err(error), Some(twin)) if is_duplicate(&error) => return Ok(Some(EditOutcome::Duplicate(twin))),
            (row, _) => row.map_err(db)?,
        };
        if let Some(job) = &edit.publishes {
            put_job(&mut tx, job, job.target, now).await?;
        } else if edit.scheduled_at != post.scheduled_at {
            reschedule_job(
                &mut tx,
                JobKind::Publish,
                id.as_uuid(),
                edit.scheduled_at.unwrap_or(now),
            )
            .await?;
        }
        add_own_event(self, &mut tx, tenant, &post.provider, event, now).await?;
        tx.commit().await.map_err(db)?;
        Ok(Some(EditOutcome::Edited(Box::new(rows::post(&row)?))))
    }

    async fn cancel_post(
        &self,
        tenant: TenantId,
        id: PostId,
        seen: Option<DateTime<Utc>>,
        event: &NewEvent,
    ) -> StoreResult<Option<CancelOutcome>> {
        let mut tx = self.begin().await?;
        let now = self.time();
        let claimed = is_claimed(&mut tx, JobKind::Publish, id.as_uuid()).await?;
        let Some(post) = read(&mut tx, tenant, id).await? else {
            return Ok(None);
        };
        if seen.is_some_and(|seen| seen != post.updated_at) {
            return Ok(Some(CancelOutcome::Changed));
        }
        if !post.status.is_open() && post.status != PostStatus::Draft {
            return Ok(Some(CancelOutcome::TooLate(Box::new(post))));
        }
        let begun = claimed || post.status == PostStatus::Publishing || has_commits(&mut tx, tenant, id).await?;
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
            free_slots(&mut tx, tenant, id, now).await?;
            add_own_event(self, &mut tx, tenant, &post.provider, event, now).await?;
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

async fn has_commits(connection: &mut SqliteConnection, tenant: TenantId, post: PostId) -> StoreResult<bool> {
    let row = sqlx::query("SELECT EXISTS (SELECT 1 FROM commits WHERE tenant_id = $1 AND post_id = $2) AS found")
        .bind(tenant.as_uuid())
        .bind(post.as_uuid())
        .fetch_one(connection)
        .await
        .map_err(db)?;
    row.try_get("found").map_err(db)
}

/// Stores a post with its job, a draft without. `None`: its key is known, or its content is.
async fn insert(
    connection: &mut Tx,
    post: &NewPost,
    job: &NewJob,
    now: DateTime<Utc>,
) -> StoreResult<Option<PostRecord>> {
    if let Some(hash) = post.content_hash {
        free_content(connection, post.tenant, post.account, hash, now).await?;
    }
    let stored = sqlx::query(concat!(
        "INSERT INTO posts
             (tenant_id, id, account_id, provider, simulated, status, content, step, publication, tries,
              cancel_requested, scheduled_at, group_id, retry_of, content_hash, idempotency_key, fingerprint, job_key,
              correlation_id, created_at, updated_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, 0, $8, 0, FALSE, $9, $10, $11, $12, $13, $14, $15, $16, $17, $17)
         ON CONFLICT DO NOTHING
         RETURNING ",
        post_columns!()
    ))
    .bind(post.tenant.as_uuid())
    .bind(post.id.as_uuid())
    .bind(post.account.as_uuid())
    .bind(post.provider.as_str())
    .bind(post.simulated)
    .bind(
        if post.draft {
            PostStatus::Draft
        } else {
            PostStatus::Queued
        }
        .as_str(),
    )
    .bind(values::json(&post.content)?)
    .bind(values::json(&Publication::default())?)
    .bind(maybe_micros(post.scheduled_at))
    .bind(post.group.map(GroupId::as_uuid))
    .bind(post.retry_of.map(PostId::as_uuid))
    .bind(post.content_hash.as_ref().map(|hash| &hash[..]))
    .bind(&post.idempotency_key)
    .bind(&post.fingerprint[..])
    .bind(&job.concurrency_key)
    .bind(&post.correlation_id)
    .bind(micros(now))
    .fetch_optional(&mut **connection)
    .await
    .map_err(db)?;
    let Some(row) = stored else { return Ok(None) };
    if !post.draft {
        put_job(connection, job, job.target, now).await?;
    }
    rows::post(&row).map(Some)
}

/// What keeps a post from being stored: its key, or its content.
async fn hindrance(connection: &mut SqliteConnection, post: &NewPost) -> StoreResult<Enqueued> {
    match read_key(connection, post.tenant, &post.idempotency_key).await? {
        Some((fingerprint, posts)) if fingerprint == post.fingerprint => return Ok(Enqueued::Replayed(posts)),
        Some(_) => return Ok(Enqueued::KeyReused),
        None => {}
    }
    let hash = post.content_hash.ok_or(StoreError::Stale)?;
    let held = with_content(connection, post.tenant, post.account, hash).await?;
    held.map(Enqueued::Duplicate).ok_or(StoreError::Stale)
}

async fn read_key(
    connection: &mut SqliteConnection,
    tenant: TenantId,
    key: &str,
) -> StoreResult<Option<([u8; 32], Vec<PostRecord>)>> {
    let row = sqlx::query(concat!(
        "SELECT fingerprint, ",
        post_columns!(),
        " FROM posts WHERE tenant_id = $1 AND idempotency_key = $2"
    ))
    .bind(tenant.as_uuid())
    .bind(key)
    .fetch_optional(&mut *connection)
    .await
    .map_err(db)?;
    let Some(row) = row else { return Ok(None) };
    let fingerprint = Cells::of(&row, "posts").digest("fingerprint")?;
    let post = rows::post(&row)?;
    // A retry is in the group of what it retries, and was asked for alone.
    let Some(group) = post.group.filter(|_| post.retry_of.is_none()) else {
        return Ok(Some((fingerprint, vec![post])));
    };
    let rows = sqlx::query(concat!(
        "SELECT ",
        post_columns!(),
        " FROM posts WHERE tenant_id = $1 AND group_id = $2 AND retry_of IS NULL ORDER BY id"
    ))
    .bind(tenant.as_uuid())
    .bind(group.as_uuid())
    .fetch_all(connection)
    .await
    .map_err(db)?;
    let posts = rows.iter().map(rows::post).collect::<StoreResult<_>>()?;
    Ok(Some((fingerprint, posts)))
}

/// Takes their content from posts of an account that another one does not double: they came to nothing, or ended long
/// ago.
async fn free_content(
    connection: &mut SqliteConnection,
    tenant: TenantId,
    account: AccountId,
    hash: [u8; 32],
    now: DateTime<Utc>,
) -> StoreResult<()> {
    sqlx::query(
        "UPDATE posts
         SET content_hash = NULL
         WHERE tenant_id = $1 AND account_id = $2 AND content_hash = $3
             AND (status IN ('failed', 'cancelled')
                 OR status NOT IN ('queued', 'publishing') AND COALESCE(finished_at, created_at) <= $4)",
    )
    .bind(tenant.as_uuid())
    .bind(account.as_uuid())
    .bind(&hash[..])
    .bind(micros(now - DUPLICATE_WINDOW))
    .execute(connection)
    .await
    .map_err(db)?;
    Ok(())
}

async fn with_content(
    connection: &mut SqliteConnection,
    tenant: TenantId,
    account: AccountId,
    hash: [u8; 32],
) -> StoreResult<Option<PostId>> {
    let found: Option<Uuid> =
        sqlx::query_scalar("SELECT id FROM posts WHERE tenant_id = $1 AND account_id = $2 AND content_hash = $3")
            .bind(tenant.as_uuid())
            .bind(account.as_uuid())
            .bind(&hash[..])
            .fetch_optional(connection)
            .await
            .map_err(db)?;
    Ok(found.map(PostId::from_uuid))
}
