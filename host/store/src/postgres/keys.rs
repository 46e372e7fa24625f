//! Tenants, API keys and data keys.

use async_trait::async_trait;
use patchbay_app::{
    model::{ApiKey, DataKey, KeyScope, NewAudit, OperatorSession, Tenant},
    store::{Constraint, Cursor, KeyState, Keys, Page, PageRequest, StoreError, StoreResult},
};
use patchbay_core::{ApiKeyId, TenantId};
use sqlx::{Postgres, QueryBuilder};

use super::{PostgresStore, audits::append, close};
use crate::{
    error::{db, is_duplicate},
    rows::{self, Cells, api_key_columns},
    values,
};

#[async_trait]
impl Keys for PostgresStore {
    async fn ensure_tenant(&self, id: TenantId, name: &str) -> StoreResult<Tenant> {
        sqlx::query(
            "INSERT INTO tenants (id, name, created_at) VALUES ($1, $2, COALESCE($3, now())) ON CONFLICT DO NOTHING",
        )
        .bind(id.as_uuid())
        .bind(name)
        .bind(self.test_time())
        .execute(&self.pool)
        .await
        .map_err(db)?;
        let row = sqlx::query("SELECT id, name, created_at FROM tenants WHERE name = $1")
            .bind(name)
            .fetch_optional(&self.pool)
            .await
            .map_err(db)?;
        // None: the id belongs to a tenant of another name.
        row.as_ref()
            .map_or(Err(StoreError::Conflict(Constraint::Name)), rows::tenant)
    }

    async fn create_tenant(&self, id: TenantId, name: &str, audit: &NewAudit) -> StoreResult<Tenant> {
        let mut tx = self.begin().await?;
        let end = async {
            let row = sqlx::query(
                "INSERT INTO tenants (id, name, created_at)
             VALUES ($1, $2, COALESCE($3, now()))
             ON CONFLICT (name) DO NOTHING
             RETURNING id, name, created_at",
            )
            .bind(id.as_uuid())
            .bind(name)
            .bind(self.test_time())
            .fetch_optional(&mut *tx)
            .await
            .map_err(db)?;
            let Some(row) = row else {
                return Err(StoreError::Conflict(Constraint::Name));
            };
            append(self, &mut tx, audit).await?;
            rows::tenant(&row)
        }
        .await;
        close(tx, end).await
    }

    async fn rename_tenant(&self, id: TenantId, name: &str, audit: &NewAudit) -> StoreResult<Option<Tenant>> {
        let mut tx = self.begin().await?;
        let end = async {
            let row = sqlx::query(
                "UPDATE tenants SET name = $2 WHERE id = $1 AND erased_at IS NULL RETURNING id, name, created_at",
            )
            .bind(id.as_uuid())
            .bind(name)
            .fetch_optional(&mut *tx)
            .await;
            let row = match row {
                Ok(Some(row)) => row,
                Ok(None) => return Ok(None),
                Err(error) if is_duplicate(&error) => return Err(StoreError::Conflict(Constraint::Name)),
                Err(error) => return Err(db(error)),
            };
            append(self, &mut tx, audit).await?;
            rows::tenant(&row).map(Some)
        }
        .await;
        close(tx, end).await
    }

    async fn tenants(&self, page: PageRequest) -> StoreResult<Page<Tenant>> {
        let mut query =
            QueryBuilder::<Postgres>::new("SELECT id, name, created_at FROM tenants WHERE erased_at IS NULL");
        if let Some(after) = page.after {
            query.push(" AND (created_at, id) < (").push_bind(after.at);
            query.push(", ").push_bind(after.id).push(")");
        }
        query
            .push(" ORDER BY created_at DESC, id DESC LIMIT ")
            .push_bind(values::page_rows(page));
        let found = query.build().fetch_all(&self.pool).await.map_err(db)?;
        let tenants = found.iter().map(rows::tenant).collect::<Result<_, _>>()?;
        Ok(values::page(tenants, page, |tenant: &Tenant| Cursor {
            at: tenant.created_at,
            id: tenant.id.as_uuid(),
        }))
    }

    async fn tenant(&self, id: TenantId) -> StoreResult<Option<Tenant>> {
        let row = sqlx::query("SELECT id, name, created_at FROM tenants WHERE id = $1 AND erased_at IS NULL")
            .bind(id.as_uuid())
            .fetch_optional(&self.pool)
            .await
            .map_err(db)?;
        row.as_ref().map(rows::tenant).transpose()
    }

    async fn key_state(&self) -> StoreResult<KeyState> {
        let keys = sqlx::query("SELECT id, tenant_id, wrapped, canary, state FROM data_keys ORDER BY id")
            .fetch_all(&self.pool)
            .await
            .map_err(db)?;
        let sealed_rows = sqlx::query_scalar(
            "SELECT EXISTS (SELECT 1 FROM accounts WHERE tokens IS NOT NULL)
                 OR EXISTS (SELECT 1 FROM flows)
                 OR EXISTS (SELECT 1 FROM commits WHERE receipt IS NOT NULL)
                 OR EXISTS (SELECT 1 FROM posts WHERE captured IS NOT NULL)
                 OR EXISTS (SELECT 1 FROM webhook_endpoints)",
        )
        .fetch_one(&self.pool)
        .await
        .map_err(db)?;
        Ok(KeyState {
            keys: keys.iter().map(rows::data_key).collect::<Result<_, _>>()?,
            sealed_rows,
        })
    }

    async fn add_data_key(&self, key: DataKey) -> StoreResult<DataKey> {
        if let Some(active) = self.active_key(key.tenant).await? {
            return Ok(active);
        }
        let is_destroyed: bool = sqlx::query_scalar(
            "SELECT EXISTS (SELECT 1 FROM data_keys WHERE tenant_id = $1 AND state = 'destroyed')
                 OR EXISTS (SELECT 1 FROM erasures WHERE tenant_id = $1 AND kind = 'tenant')",
        )
        .bind(key.tenant.as_uuid())
        .fetch_one(&self.pool)
        .await
        .map_err(db)?;
        if is_destroyed {
            return Err(StoreError::Conflict(Constraint::Missing));
        }
        let stored = sqlx::query(
            "INSERT INTO data_keys (id, tenant_id, wrapped, canary, state)
             VALUES ($1, $2, $3, $4, $5)
             ON CONFLICT DO NOTHING",
        )
        .bind(i64::from(key.id))
        .bind(key.tenant.as_uuid())
        .bind(&key.wrapped)
        .bind(&key.canary)
        .bind(key.state.as_str())
        .execute(&self.pool)
        .await
        .map_err(db)?;
        if stored.rows_affected() > 0 {
            return Ok(key);
        }
        // Another host was faster: with a key for this tenant, or with this id.
        self.active_key(key.tenant).await?.ok_or(StoreError::Stale)
    }

    async fn create_api_key(&self, key: &ApiKey, audit: &NewAudit) -> StoreResult<()> {
        let mut tx = self.begin().await?;
        let end = async {
            let scopes: Vec<_> = key.scopes.iter().copied().map(KeyScope::as_str).collect();
            let stored = sqlx::query(
                "INSERT INTO api_keys
                 (id, tenant_id, name, public_id, secret_hash, scopes, created_at, expires_at, revoked_at, last_used_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
            )
            .bind(key.id.as_uuid())
            .bind(key.tenant.as_uuid())
            .bind(&key.name)
            .bind(&key.public_id)
            .bind(&key.secret_hash[..])
            .bind(values::json(&scopes)?)
            .bind(key.created_at)
            .bind(key.expires_at)
            .bind(key.revoked_at)
            .bind(key.last_used_at)
            .execute(&mut *tx)
            .await;
            match stored {
                Ok(_) => {}
                Err(error) if is_duplicate(&error) => return Err(StoreError::Conflict(Constraint::Name)),
                Err(error) => return Err(db(error)),
            }
            append(self, &mut tx, audit).await?;
            Ok(())
        }
        .await;
        close(tx, end).await
    }

    async fn api_key(&self, public_id: &str) -> StoreResult<Option<ApiKey>> {
        let row = sqlx::query(concat!(
            "SELECT ",
            api_key_columns!(),
            " FROM api_keys WHERE public_id = $1"
        ))
        .bind(public_id)
        .fetch_optional(&self.pool)
        .await
        .map_err(db)?;
        row.as_ref().map(rows::api_key).transpose()
    }

    async fn api_keys(&self, tenant: TenantId, page: PageRequest) -> StoreResult<Page<ApiKey>> {
        let mut query = QueryBuilder::<Postgres>::new(concat!(
            "SELECT ",
            api_key_columns!(),
            " FROM api_keys WHERE tenant_id = "
        ));
        query.push_bind(tenant.as_uuid());
        if let Some(after) = page.after {
            query
                .push(" AND (COALESCE(last_used_at, created_at), id) < (")
                .push_bind(after.at);
            query.push(", ").push_bind(after.id).push(")");
        }
        query
            .push(" ORDER BY COALESCE(last_used_at, created_at) DESC, id DESC LIMIT ")
            .push_bind(values::page_rows(page));
        let found = query.build().fetch_all(&self.pool).await.map_err(db)?;
        let keys = found.iter().map(rows::api_key).collect::<Result<_, _>>()?;
        Ok(values::page(keys, page, rows::place_of_key))
    }

    async fn revoke_api_key(&self, tenant: TenantId, id: ApiKeyId, audit: &NewAudit) -> StoreResult<bool> {
        let mut tx = self.begin().await?;
        let end = async {
            let done = sqlx::query(
                "UPDATE api_keys
             SET revoked_at = COALESCE($3, now())
             WHERE tenant_id = $1 AND id = $2 AND revoked_at IS NULL",
            )
            .bind(tenant.as_uuid())
            .bind(id.as_uuid())
            .bind(self.test_time())
            .execute(&mut *tx)
            .await
            .map_err(db)?;
            if done.rows_affected() > 0 {
                append(self, &mut tx, audit).await?;
                return Ok(true);
            }
            sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM api_keys WHERE tenant_id = $1 AND id = $2)")
                .bind(tenant.as_uuid())
                .bind(id.as_uuid())
                .fetch_one(&mut *tx)
                .await
                .map_err(db)
        }
        .await;
        close(tx, end).await
    }

    async fn touch_api_key(&self, id: ApiKeyId) -> StoreResult<()> {
        sqlx::query(
            "UPDATE api_keys
             SET last_used_at = date_trunc('hour', COALESCE($2, now()), 'UTC')
             WHERE id = $1
                 AND (last_used_at IS NULL OR last_used_at < date_trunc('hour', COALESCE($2, now()), 'UTC'))",
        )
        .bind(id.as_uuid())
        .bind(self.test_time())
        .execute(&self.pool)
        .await
        .map_err(db)?;
        Ok(())
    }

    async fn start_operator_session(
        &self,
        token_hash: [u8; 32],
        public_id: &str,
        audit: &NewAudit,
    ) -> StoreResult<OperatorSession> {
        let mut tx = self.begin().await?;
        let end = async {
            sqlx::query(
                "DELETE FROM operator_sessions
             WHERE token_hash IN
                 (SELECT token_hash FROM operator_sessions
                  WHERE started_at <= COALESCE($1, now()) - $2::interval
                  ORDER BY started_at
                  LIMIT 100)",
            )
            .bind(self.test_time())
            .bind(OperatorSession::LIFE)
            .execute(&mut *tx)
            .await
            .map_err(db)?;
            let row = sqlx::query(
                "INSERT INTO operator_sessions (token_hash, public_id, started_at, seen_at)
             VALUES ($1, $2, COALESCE($3, now()), COALESCE($3, now()))
             RETURNING public_id, started_at, seen_at",
            )
            .bind(&token_hash[..])
            .bind(public_id)
            .bind(self.test_time())
            .fetch_one(&mut *tx)
            .await
            .map_err(db)?;
            append(self, &mut tx, audit).await?;
            rows::operator_session(&row)
        }
        .await;
        close(tx, end).await
    }

    async fn operator_session(&self, token_hash: [u8; 32]) -> StoreResult<Option<OperatorSession>> {
        let row = sqlx::query(
            "SELECT public_id, started_at, seen_at, seen_at <= COALESCE($2, now()) - $5::interval AS is_old
             FROM operator_sessions
             WHERE token_hash = $1 AND seen_at > COALESCE($2, now()) - $3::interval
                 AND started_at > COALESCE($2, now()) - $4::interval",
        )
        .bind(&token_hash[..])
        .bind(self.test_time())
        .bind(OperatorSession::IDLE)
        .bind(OperatorSession::LIFE)
        .bind(OperatorSession::NOTED)
        .fetch_optional(&self.pool)
        .await
        .map_err(db)?;
        let Some(row) = row else { return Ok(None) };
        if !Cells::of(&row, "operator_sessions").flag("is_old")? {
            return rows::operator_session(&row).map(Some);
        }
        let row = sqlx::query(
            "UPDATE operator_sessions
             SET seen_at = COALESCE($2, now())
             WHERE token_hash = $1
             RETURNING public_id, started_at, seen_at",
        )
        .bind(&token_hash[..])
        .bind(self.test_time())
        .fetch_optional(&self.pool)
        .await
        .map_err(db)?;
        row.as_ref().map(rows::operator_session).transpose()
    }

    async fn end_operator_session(&self, token_hash: [u8; 32], audit: &NewAudit) -> StoreResult<()> {
        let mut tx = self.begin().await?;
        let end = async {
            let ended = sqlx::query("DELETE FROM operator_sessions WHERE token_hash = $1")
                .bind(&token_hash[..])
                .execute(&mut *tx)
                .await
                .map_err(db)?;
            if ended.rows_affected() > 0 {
                append(self, &mut tx, audit).await?;
            }
            Ok(())
        }
        .await;
        close(tx, end).await
    }
}

impl PostgresStore {
    async fn active_key(&self, tenant: TenantId) -> StoreResult<Option<DataKey>> {
        let row = sqlx::query(
            "SELECT id, tenant_id, wrapped, canary, state
             FROM data_keys
             WHERE tenant_id = $1 AND state = 'active'",
        )
        .bind(tenant.as_uuid())
        .fetch_optional(&self.pool)
        .await
        .map_err(db)?;
        row.as_ref().map(rows::data_key).transpose()
    }
}
