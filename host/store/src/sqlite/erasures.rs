//! Erasing for good: rows go in bounded steps, and the receipt is written with them.

use async_trait::async_trait;
use patchbay_app::{
    model::{ErasedGrant, Erasure, JobKind, Lease, NewAudit, NewErasure, NewEvent, NewJob, Subject, Upload},
    store::{Erasures, JobEnd, StoreError, StoreResult},
};
use patchbay_core::{AccountId, ErasureId, MediaId, ProviderId, TenantId};
use sqlx::{SqliteConnection, types::Json};
use uuid::Uuid;

use super::{
    SqliteStore,
    accounts::erase,
    audits::append,
    events::add_own_event,
    jobs::{end_claim, hold, put_job},
    micros,
};
use crate::{
    error::db,
    rows::{self, erasure_columns, upload_columns},
    values,
};

#[async_trait]
impl Erasures for SqliteStore {
    async fn begin_erasure(
        &self,
        erasure: &NewErasure,
        job: &NewJob,
        audit: &NewAudit,
    ) -> StoreResult<Option<Erasure>> {
        let mut tx = self.begin().await?;
        let (tenant, hash) = (erasure.tenant, erasure.subject.hash(erasure.tenant));
        let known: Option<i64> = sqlx::query_scalar("SELECT 1 FROM tenants WHERE id = $1")
            .bind(tenant.as_uuid())
            .fetch_optional(&mut *tx)
            .await
            .map_err(db)?;
        if known.is_none() {
            return Ok(None);
        }
        let last = last(&mut tx, tenant, hash).await?;
        let is_open = last.as_ref().is_some_and(|last| last.finished_at.is_none());
        if is_open || !exists(&mut tx, tenant, &erasure.subject).await? {
            return Ok(last);
        }
        let now = self.time();
        let (account, owner) = match &erasure.subject {
            Subject::Tenant => (None, None),
            Subject::Owner(owner) => (None, owner.as_ref()),
            Subject::Account(id) => (Some(id.as_uuid()), None),
        };
        sqlx::query(
            "INSERT INTO erasures (id, tenant_id, subject_hash, kind, account_id, owner, counts, requested_at)
             VALUES ($1, $2, $3, $4, $5, $6, '{}', $7)",
        )
        .bind(erasure.id.as_uuid())
        .bind(tenant.as_uuid())
        .bind(&hash[..])
        .bind(erasure.subject.as_str())
        .bind(account)
        .bind(owner)
        .bind(micros(now))
        .execute(&mut *tx)
        .await
        .map_err(db)?;
        if erasure.subject == Subject::Tenant {
            sqlx::query("UPDATE api_keys SET revoked_at = $2 WHERE tenant_id = $1 AND revoked_at IS NULL")
                .bind(tenant.as_uuid())
                .bind(micros(now))
                .execute(&mut *tx)
                .await
                .map_err(db)?;
        }
        put_job(&mut tx, job, job.target, now).await?;
        append(self, &mut tx, audit).await?;
        let erasure = read(&mut tx, erasure.id).await?;
        tx.commit().await.map_err(db)?;
        Ok(erasure)
    }

    async fn erasure(&self, id: ErasureId) -> StoreResult<Option<Erasure>> {
        let mut connection = self.readers.acquire().await.map_err(db)?;
        read(&mut connection, id).await
    }

    async fn erase_grant(&self, lease: Lease, erasure: &Erasure, grant: &ErasedGrant) -> StoreResult<()> {
        let mut tx = self.begin().await?;
        let now = held(self, &mut tx, lease, erasure).await?;
        erase(&mut tx, erasure.tenant, grant.account, now).await?;
        sqlx::query(
            "INSERT INTO erased_grants (erasure_id, account_id, provider, outcome, code, at)
             VALUES ($1, $2, $3, $4, $5, $6)
             ON CONFLICT (erasure_id, account_id) DO UPDATE
             SET outcome = excluded.outcome, code = excluded.code, at = excluded.at",
        )
        .bind(erasure.id.as_uuid())
        .bind(grant.account.as_uuid())
        .bind(grant.provider.as_str())
        .bind(grant.end.as_str())
        .bind(grant.code.as_deref().map(values::text))
        .bind(micros(grant.at))
        .execute(&mut *tx)
        .await
        .map_err(db)?;
        tx.commit().await.map_err(db)
    }

    async fn destroy_data_keys(&self, lease: Lease, erasure: &Erasure) -> StoreResult<()> {
        let mut tx = self.begin().await?;
        held(self, &mut tx, lease, erasure).await?;
        let done = sqlx::query(
            "UPDATE data_keys
             SET wrapped = X'', canary = X'', state = 'destroyed'
             WHERE tenant_id = $1 AND state <> 'destroyed'",
        )
        .bind(erasure.tenant.as_uuid())
        .execute(&mut *tx)
        .await
        .map_err(db)?;
        count(&mut tx, erasure.id, "data_keys", done.rows_affected()).await?;
        tx.commit().await.map_err(db)
    }

    async fn erase_account(&self, lease: Lease, erasure: &Erasure, account: AccountId, limit: u32) -> StoreResult<u64> {
        let mut tx = self.begin().await?;
        held(self, &mut tx, lease, erasure).await?;
        let events: Vec<Uuid> =
            sqlx::query_scalar("SELECT id FROM events WHERE tenant_id = $1 AND account_id = $2 LIMIT $3")
                .bind(erasure.tenant.as_uuid())
                .bind(account.as_uuid())
                .bind(i64::from(limit))
                .fetch_all(&mut *tx)
                .await
                .map_err(db)?;
        if !events.is_empty() {
            let gone = erase_events(&mut tx, erasure, &events).await?;
            tx.commit().await.map_err(db)?;
            return Ok(gone);
        }
        let posts: Vec<Uuid> =
            sqlx::query_scalar("SELECT id FROM posts WHERE tenant_id = $1 AND account_id = $2 LIMIT $3")
                .bind(erasure.tenant.as_uuid())
                .bind(account.as_uuid())
                .bind(i64::from(limit))
                .fetch_all(&mut *tx)
                .await
                .map_err(db)?;
        if !posts.is_empty() {
            let gone = erase_posts(&mut tx, erasure, &posts).await?;
            tx.commit().await.map_err(db)?;
            return Ok(gone);
        }
        let gone = sqlx::query("DELETE FROM accounts WHERE tenant_id = $1 AND id = $2")
            .bind(erasure.tenant.as_uuid())
            .bind(account.as_uuid())
            .execute(&mut *tx)
            .await
            .map_err(db)?
            .rows_affected();
        count(&mut tx, erasure.id, "accounts", gone).await?;
        tx.commit().await.map_err(db)?;
        Ok(gone)
    }

    async fn tenant_media(&self, tenant: TenantId, after: Option<MediaId>, limit: u32) -> StoreResult<Vec<MediaId>> {
        let ids: Vec<Uuid> =
            sqlx::query_scalar("SELECT id FROM media WHERE tenant_id = $1 AND id > $2 ORDER BY id LIMIT $3")
                .bind(tenant.as_uuid())
                .bind(after.map_or(Uuid::nil(), MediaId::as_uuid))
                .bind(i64::from(limit))
                .fetch_all(&self.readers)
                .await
                .map_err(db)?;
        Ok(ids.into_iter().map(MediaId::from_uuid).collect())
    }

    async fn erase_media(&self, lease: Lease, erasure: &Erasure, media: &[MediaId]) -> StoreResult<()> {
        let mut tx = self.begin().await?;
        held(self, &mut tx, lease, erasure).await?;
        let mut gone = 0;
        for id in media {
            gone += sqlx::query("DELETE FROM media WHERE tenant_id = $1 AND id = $2")
                .bind(erasure.tenant.as_uuid())
                .bind(id.as_uuid())
                .execute(&mut *tx)
                .await
                .map_err(db)?
                .rows_affected();
        }
        count(&mut tx, erasure.id, "media", gone).await?;
        tx.commit().await.map_err(db)
    }

    async fn tenant_uploads(&self, tenant: TenantId, limit: u32) -> StoreResult<Vec<Upload>> {
        let rows = sqlx::query(concat!(
            "SELECT ",
            upload_columns!(),
            " FROM uploads WHERE tenant_id = $1 ORDER BY id LIMIT $2"
        ))
        .bind(tenant.as_uuid())
        .bind(i64::from(limit))
        .fetch_all(&self.readers)
        .await
        .map_err(db)?;
        rows.iter().map(rows::upload).collect()
    }

    async fn erase_uploads(&self, lease: Lease, erasure: &Erasure, uploads: &[MediaId]) -> StoreResult<()> {
        let mut tx = self.begin().await?;
        held(self, &mut tx, lease, erasure).await?;
        let mut gone = 0;
        for id in uploads {
            gone += sqlx::query("DELETE FROM uploads WHERE tenant_id = $1 AND id = $2")
                .bind(erasure.tenant.as_uuid())
                .bind(id.as_uuid())
                .execute(&mut *tx)
                .await
                .map_err(db)?
                .rows_affected();
        }
        count(&mut tx, erasure.id, "uploads", gone).await?;
        tx.commit().await.map_err(db)
    }

    async fn erase_tenant(&self, lease: Lease, erasure: &Erasure, limit: u32) -> StoreResult<u64> {
        let mut tx = self.begin().await?;
        held(self, &mut tx, lease, erasure).await?;
        let events: Vec<Uuid> = sqlx::query_scalar("SELECT id FROM events WHERE tenant_id = $1 LIMIT $2")
            .bind(erasure.tenant.as_uuid())
            .bind(i64::from(limit))
            .fetch_all(&mut *tx)
            .await
            .map_err(db)?;
        if !events.is_empty() {
            let gone = erase_events(&mut tx, erasure, &events).await?;
            tx.commit().await.map_err(db)?;
            return Ok(gone);
        }
        for (kind, statement) in OF_TENANT {
            let gone = sqlx::query(statement)
                .bind(erasure.tenant.as_uuid())
                .bind(i64::from(limit))
                .execute(&mut *tx)
                .await
                .map_err(db)?
                .rows_affected();
            if gone > 0 {
                count(&mut tx, erasure.id, kind, gone).await?;
                tx.commit().await.map_err(db)?;
                return Ok(gone);
            }
        }
        tx.commit().await.map_err(db)?;
        Ok(0)
    }

    async fn finish_erasure(
        &self,
        lease: Lease,
        erasure: &Erasure,
        event: Option<&NewEvent>,
        audit: &NewAudit,
    ) -> StoreResult<()> {
        let mut tx = self.begin().await?;
        let now = held(self, &mut tx, lease, erasure).await?;
        sqlx::query("UPDATE erasures SET finished_at = $2, owner = NULL WHERE id = $1")
            .bind(erasure.id.as_uuid())
            .bind(micros(now))
            .execute(&mut *tx)
            .await
            .map_err(db)?;
        if erasure.subject == Subject::Tenant {
            sqlx::query("UPDATE tenants SET name = $2, erased_at = $3, connect_origins = '[]' WHERE id = $1")
                .bind(erasure.tenant.as_uuid())
                .bind(format!("erased {}", erasure.tenant))
                .bind(micros(now))
                .execute(&mut *tx)
                .await
                .map_err(db)?;
        }
        if !end_claim(&mut tx, lease, &JobEnd::Done, now).await? {
            return Err(StoreError::Stale);
        }
        if let Some(event) = event {
            add_own_event(self, &mut tx, erasure.tenant, &ProviderId::patchbay(), event, now).await?;
        }
        append(self, &mut tx, audit).await?;
        tx.commit().await.map_err(db)
    }
}

/// Whether a tenant is being erased, or was: nothing new is made for it then.
pub(super) async fn is_ending(connection: &mut SqliteConnection, tenant: TenantId) -> StoreResult<bool> {
    sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM erasures WHERE tenant_id = $1 AND kind = 'tenant')")
        .bind(tenant.as_uuid())
        .fetch_one(connection)
        .await
        .map_err(db)
}

/// What a tenant has beside accounts, events, media and uploads.
const OF_TENANT: [(&str, &str); 4] = [
    (
        "webhook_endpoints",
        "DELETE FROM webhook_endpoints
         WHERE (tenant_id, id) IN (SELECT tenant_id, id FROM webhook_endpoints WHERE tenant_id = $1 LIMIT $2)",
    ),
    (
        "api_keys",
        "DELETE FROM api_keys WHERE id IN (SELECT id FROM api_keys WHERE tenant_id = $1 LIMIT $2)",
    ),
    (
        "webhooks",
        "DELETE FROM inbox WHERE id IN (SELECT id FROM inbox WHERE tenant_id = $1 LIMIT $2)",
    ),
    (
        "dead_letters",
        "DELETE FROM jobs
         WHERE id IN (SELECT id FROM jobs WHERE tenant_id = $1 AND status = 'dead' AND kind <> 'erase' LIMIT $2)",
    ),
];

async fn held(
    store: &SqliteStore,
    connection: &mut SqliteConnection,
    lease: Lease,
    erasure: &Erasure,
) -> StoreResult<chrono::DateTime<chrono::Utc>> {
    let now = store.time();
    let target = erasure.id.as_uuid();
    hold(connection, lease, Some(erasure.tenant), JobKind::Erase, target, now).await?;
    Ok(now)
}

/// Whether there is something to erase.
async fn exists(connection: &mut SqliteConnection, tenant: TenantId, subject: &Subject) -> StoreResult<bool> {
    let found = match subject {
        Subject::Tenant => {
            sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM tenants WHERE id = $1 AND erased_at IS NULL)")
                .bind(tenant.as_uuid())
                .fetch_one(connection)
                .await
        }
        Subject::Owner(owner) => {
            sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM accounts WHERE tenant_id = $1 AND owner = $2)")
                .bind(tenant.as_uuid())
                .bind(owner)
                .fetch_one(connection)
                .await
        }
        Subject::Account(id) => {
            sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM accounts WHERE tenant_id = $1 AND id = $2)")
                .bind(tenant.as_uuid())
                .bind(id.as_uuid())
                .fetch_one(connection)
                .await
        }
    };
    found.map_err(db)
}

async fn last(connection: &mut SqliteConnection, tenant: TenantId, hash: [u8; 32]) -> StoreResult<Option<Erasure>> {
    let id: Option<Uuid> = sqlx::query_scalar(
        "SELECT id
         FROM erasures
         WHERE tenant_id = $1 AND subject_hash = $2
         ORDER BY requested_at DESC, id DESC
         LIMIT 1",
    )
    .bind(tenant.as_uuid())
    .bind(&hash[..])
    .fetch_optional(&mut *connection)
    .await
    .map_err(db)?;
    match id {
        Some(id) => read(connection, ErasureId::from_uuid(id)).await,
        None => Ok(None),
    }
}

async fn read(connection: &mut SqliteConnection, id: ErasureId) -> StoreResult<Option<Erasure>> {
    let row = sqlx::query(concat!("SELECT ", erasure_columns!(), " FROM erasures WHERE id = $1"))
        .bind(id.as_uuid())
        .fetch_optional(&mut *connection)
        .await
        .map_err(db)?;
    let Some(row) = row else {
        return Ok(None);
    };
    let grants = sqlx::query(
        "SELECT account_id, provider, outcome, code, at
         FROM erased_grants
         WHERE erasure_id = $1
         ORDER BY account_id
         LIMIT $2",
    )
    .bind(id.as_uuid())
    .bind(i64::from(Erasure::GRANTS))
    .fetch_all(connection)
    .await
    .map_err(db)?;
    let grants = grants.iter().map(rows::erased_grant).collect::<Result<_, _>>()?;
    rows::erasure(&row, grants).map(Some)
}

/// Deletes events, with their deliveries.
async fn erase_events(connection: &mut SqliteConnection, erasure: &Erasure, events: &[Uuid]) -> StoreResult<u64> {
    let (mut deliveries, mut gone) = (0, 0);
    for event in events {
        deliveries += sqlx::query("DELETE FROM deliveries WHERE event_id = $1")
            .bind(event)
            .execute(&mut *connection)
            .await
            .map_err(db)?
            .rows_affected();
        gone += sqlx::query("DELETE FROM events WHERE id = $1")
            .bind(event)
            .execute(&mut *connection)
            .await
            .map_err(db)?
            .rows_affected();
    }
    count(connection, erasure.id, "deliveries", deliveries).await?;
    count(connection, erasure.id, "events", gone).await?;
    Ok(gone)
}

/// Deletes posts, with their journals and all that hangs on them.
async fn erase_posts(connection: &mut SqliteConnection, erasure: &Erasure, posts: &[Uuid]) -> StoreResult<u64> {
    let mut gone = 0;
    for post in posts {
        let events: Vec<Uuid> = sqlx::query_scalar("SELECT id FROM events WHERE tenant_id = $1 AND post_id = $2")
            .bind(erasure.tenant.as_uuid())
            .bind(post)
            .fetch_all(&mut *connection)
            .await
            .map_err(db)?;
        erase_events(connection, erasure, &events).await?;
        gone += sqlx::query("DELETE FROM posts WHERE tenant_id = $1 AND id = $2")
            .bind(erasure.tenant.as_uuid())
            .bind(post)
            .execute(&mut *connection)
            .await
            .map_err(db)?
            .rows_affected();
    }
    count(connection, erasure.id, "posts", gone).await?;
    Ok(gone)
}

/// Adds to what the receipt counts.
async fn count(connection: &mut SqliteConnection, id: ErasureId, kind: &str, gone: u64) -> StoreResult<()> {
    if gone == 0 {
        return Ok(());
    }
    let row = sqlx::query("SELECT counts FROM erasures WHERE id = $1")
        .bind(id.as_uuid())
        .fetch_one(&mut *connection)
        .await
        .map_err(db)?;
    let counts = values::counted(rows::counts(&row)?, kind, gone);
    sqlx::query("UPDATE erasures SET counts = $2 WHERE id = $1")
        .bind(id.as_uuid())
        .bind(Json(counts))
        .execute(connection)
        .await
        .map_err(db)?;
    Ok(())
}
