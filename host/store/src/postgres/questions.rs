//! Open questions: observations, pull URLs, events that found no post.

use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use patchbay_app::{
    model::{JobKind, Lease, NewPullUrl, Observation, PullUrl, Pulled},
    store::{OpenQuestions, StoreResult},
};
use patchbay_core::{AccountId, JobId, PostId, TenantId};
use sqlx::PgConnection;
use uuid::Uuid;

use super::{PostgresStore, Tx, close, jobs::hold, post_effects::wake_post};
use crate::{
    error::db,
    rows::{self, Cells},
    values::{self, span},
};

#[async_trait]
impl OpenQuestions for PostgresStore {
    async fn observations(&self, tenant: TenantId, post: PostId) -> StoreResult<Vec<Observation>> {
        let found = sqlx::query(
            "SELECT id, step, source, outcome, code, observed_at
             FROM observations
             WHERE tenant_id = $1 AND post_id = $2
             ORDER BY observed_at, id
             LIMIT 100",
        )
        .bind(tenant.as_uuid())
        .bind(post.as_uuid())
        .fetch_all(&self.pool)
        .await
        .map_err(db)?;
        found.iter().map(rows::observation).collect()
    }

    async fn add_pull_urls(
        &self,
        lease: Lease,
        tenant: TenantId,
        post: PostId,
        step: i64,
        urls: &[NewPullUrl],
        life: Duration,
    ) -> StoreResult<()> {
        let mut tx = self.begin().await?;
        let end = async {
            let now = hold(self, &mut tx, lease, Some(tenant), JobKind::Publish, post.as_uuid()).await?;
            sqlx::query(
                "INSERT INTO pull_urls (token_hash, tenant_id, post_id, step, media_id, expires_at)
                 SELECT token_hash, $3, $4, $5, media_id, $6
                 FROM UNNEST($1::bytea[], $2::uuid[]) AS new (token_hash, media_id)",
            )
            .bind(urls.iter().map(|url| &url.token_hash[..]).collect::<Vec<_>>())
            .bind(urls.iter().map(|url| url.media.as_uuid()).collect::<Vec<_>>())
            .bind(tenant.as_uuid())
            .bind(post.as_uuid())
            .bind(step)
            .bind(now + span(life))
            .execute(&mut *tx)
            .await
            .map_err(db)?;
            Ok(())
        }
        .await;
        close(tx, end).await
    }

    async fn pull_url(&self, token_hash: [u8; 32], takes: bool) -> StoreResult<Option<PullUrl>> {
        let row = sqlx::query(
            "SELECT pull_urls.tenant_id, pull_urls.media_id, pull_urls.fetched_at, media.info, media.sha256
             FROM pull_urls
             LEFT JOIN posts ON posts.tenant_id = pull_urls.tenant_id AND posts.id = pull_urls.post_id
                 AND posts.status IN ('queued', 'publishing', 'unconfirmed')
                 AND pull_urls.closed_at IS NULL AND pull_urls.expires_at > COALESCE($2, now())
             LEFT JOIN media ON media.tenant_id = posts.tenant_id AND media.id = pull_urls.media_id
                 AND media.expires_at >= COALESCE($2, now())
             WHERE pull_urls.token_hash = $1",
        )
        .bind(&token_hash[..])
        .bind(self.test_time())
        .fetch_optional(&self.pool)
        .await
        .map_err(db)?;
        let Some(row) = row else { return Ok(None) };
        let found = rows::pull_url(&row)?;
        let is_noted = Cells::of(&row, "pull_urls").maybe_time("fetched_at")?.is_some();
        if !takes || is_noted || found == PullUrl::Closed {
            return Ok(Some(found));
        }
        let noted = sqlx::query(
            "UPDATE pull_urls
             SET fetched_at = COALESCE(fetched_at, $2, now())
             WHERE token_hash = $1 AND closed_at IS NULL",
        )
        .bind(&token_hash[..])
        .bind(self.test_time())
        .execute(&self.pool)
        .await
        .map_err(db)?;
        // Closed meanwhile.
        Ok(Some(if noted.rows_affected() > 0 {
            found
        } else {
            PullUrl::Closed
        }))
    }

    async fn close_unfetched(&self, tenant: TenantId, post: PostId, step: i64) -> StoreResult<Pulled> {
        let mut tx = self.begin().await?;
        let end = async {
            // Locked, so that a fetch is either seen here or finds the URL closed.
            let fetched: Vec<bool> = sqlx::query_scalar(
                "SELECT fetched_at IS NOT NULL
                 FROM pull_urls
                 WHERE tenant_id = $1 AND post_id = $2 AND step = $3
                 ORDER BY token_hash
                 FOR UPDATE",
            )
            .bind(tenant.as_uuid())
            .bind(post.as_uuid())
            .bind(step)
            .fetch_all(&mut *tx)
            .await
            .map_err(db)?;
            if fetched.is_empty() {
                return Ok(Pulled::NoUrls);
            }
            if fetched.contains(&true) {
                return Ok(Pulled::Something);
            }
            sqlx::query(
                "UPDATE pull_urls
                 SET closed_at = COALESCE(closed_at, $4, now())
                 WHERE tenant_id = $1 AND post_id = $2 AND step = $3",
            )
            .bind(tenant.as_uuid())
            .bind(post.as_uuid())
            .bind(step)
            .bind(self.test_time())
            .execute(&mut *tx)
            .await
            .map_err(db)?;
            Ok(Pulled::Nothing)
        }
        .await;
        close(tx, end).await
    }

    async fn stray_ref(&self, tenant: TenantId, post: PostId, step: i64) -> StoreResult<Option<String>> {
        let mut connection = self.pool.acquire().await.map_err(db)?;
        let account: Option<Uuid> = sqlx::query_scalar("SELECT account_id FROM posts WHERE tenant_id = $1 AND id = $2")
            .bind(tenant.as_uuid())
            .bind(post.as_uuid())
            .fetch_optional(&mut *connection)
            .await
            .map_err(db)?;
        let Some(account) = account.map(AccountId::from_uuid) else {
            return Ok(None);
        };
        let now = self.time(&mut connection).await?;
        let open = open_calls(&mut connection, tenant, account, now).await?;
        let [(only, at_step, since)] = open[..] else {
            return Ok(None);
        };
        if (only, at_step) != (post, step) {
            return Ok(None);
        }
        let refs = sqlx::query(
            "SELECT MIN(remote_ref) AS first, MAX(remote_ref) AS last
             FROM events
             WHERE tenant_id = $1 AND account_id = $2 AND post_id IS NULL AND remote_ref IS NOT NULL
                 AND recorded_at >= $3",
        )
        .bind(tenant.as_uuid())
        .bind(account.as_uuid())
        .bind(since)
        .fetch_one(&mut *connection)
        .await
        .map_err(db)?;
        let cells = Cells::of(&refs, "events");
        let (first, last) = (cells.maybe_text("first")?, cells.maybe_text("last")?);
        Ok(first.filter(|first| last.as_ref() == Some(first)))
    }

    async fn purge_pull_urls(&self, limit: u32) -> StoreResult<u64> {
        let done = sqlx::query(
            "DELETE FROM pull_urls
             WHERE token_hash IN (
                 SELECT token_hash FROM pull_urls WHERE expires_at < COALESCE($1, now() - interval '7 days') ORDER BY expires_at LIMIT $2)",
        )
        .bind(self.test_time().map(|now| now - TimeDelta::days(7)))
        .bind(i64::from(limit))
        .execute(&self.pool)
        .await
        .map_err(db)?;
        Ok(done.rows_affected())
    }
}

/// The calls of an account in the last 24 h whose attempt nobody knows: at most two.
async fn open_calls(
    connection: &mut PgConnection,
    tenant: TenantId,
    account: AccountId,
    now: DateTime<Utc>,
) -> StoreResult<Vec<(PostId, i64, DateTime<Utc>)>> {
    let found = sqlx::query(
        "SELECT commits.post_id, commits.step, commits.about_to_at
         FROM commits
         JOIN posts ON posts.tenant_id = commits.tenant_id AND posts.id = commits.post_id
         WHERE commits.tenant_id = $1 AND posts.account_id = $2 AND commits.about_to_at > $3
             AND (commits.answered_at IS NULL OR commits.answer_status >= 500)
             AND NOT EXISTS (
                 SELECT 1
                 FROM observations
                 WHERE observations.tenant_id = commits.tenant_id AND observations.post_id = commits.post_id
                     AND observations.step = commits.step AND observations.outcome = 'happened')
         LIMIT 2",
    )
    .bind(tenant.as_uuid())
    .bind(account.as_uuid())
    .bind(now - TimeDelta::hours(24))
    .fetch_all(connection)
    .await
    .map_err(db)?;
    found
        .iter()
        .map(|row| {
            let cells = Cells::of(row, "commits");
            Ok((
                PostId::from_uuid(cells.uuid("post_id")?),
                cells.int("step")?,
                cells.time("about_to_at")?,
            ))
        })
        .collect()
}

/// News of an attempt that no post is known under: it may be that of a call without an answer, so its post looks.
pub(super) async fn wake_open_calls(
    connection: &mut Tx,
    job: JobId,
    (tenant, account): (TenantId, AccountId),
    now: DateTime<Utc>,
) -> StoreResult<()> {
    if let [(post, ..)] = open_calls(connection, tenant, account, now).await?[..] {
        wake_post(connection, job, tenant, post, now).await?;
    }
    Ok(())
}

/// Keeps what a step observed, and gives a post the events that turned out to be its own.
pub(super) async fn settle_questions(
    connection: &mut PgConnection,
    tenant: TenantId,
    post: (PostId, AccountId),
    observations: &[Observation],
    adopts: Option<&str>,
    now: DateTime<Utc>,
) -> StoreResult<()> {
    for observation in observations {
        sqlx::query(
            "INSERT INTO observations (id, tenant_id, post_id, step, source, outcome, code, observed_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        )
        .bind(observation.id)
        .bind(tenant.as_uuid())
        .bind(post.0.as_uuid())
        .bind(observation.step)
        .bind(observation.source.as_str())
        .bind(observation.outcome.as_str())
        .bind(observation.code.as_deref().map(values::text))
        .bind(now)
        .execute(&mut *connection)
        .await
        .map_err(db)?;
    }
    if let Some(adopts) = adopts {
        sqlx::query(
            "UPDATE events
             SET post_id = $3
             WHERE tenant_id = $1 AND account_id = $2 AND post_id IS NULL AND remote_ref IS NOT NULL
                 AND remote_ref = $4",
        )
        .bind(tenant.as_uuid())
        .bind(post.1.as_uuid())
        .bind(post.0.as_uuid())
        .bind(values::text(adopts))
        .execute(connection)
        .await
        .map_err(db)?;
    }
    Ok(())
}
