//! Posts and the journal of their irreversible calls.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use patchbay_app::{
    model::{Commit, JobKind, Lease, NewEvent, NewJob, NewPost, PostRecord, PostStatus},
    store::{
        CancelOutcome, Cursor, Enqueued, JobEnd, Mark, Page, PageRequest, PostFilter, Posts, QuotaChange, StepRecord,
        StoreError, StoreResult,
    },
};
use patchbay_core::{JobId, PostId, ProviderId, Publication, TenantId};
use sqlx::{QueryBuilder, Row, Sqlite, SqliteConnection};

use super::{
    SqliteStore,
    events::add_own_event,
    jobs::{end_claim, finish_job, hold, is_claimed, put_job},
    list, maybe_micros, micros,
    post_effects::{free_slots, hold_slots, index_remote_ids, read, wake_post},
    questions::settle_questions,
};
use crate::{
    error::db,
    rows::{self, Cells, post_columns},
    values,
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
        .bind(values::json(&post.content)?)
        .bind(values::json(&Publication::default())?)
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
        index_remote_ids(&mut tx, &post).await?;
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
