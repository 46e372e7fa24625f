//! Tenants, API keys and data keys.

use async_trait::async_trait;
use patchbay_app::{
    model::{ApiKey, DataKey, KeyScope, Tenant},
    store::{Constraint, Cursor, KeyState, Keys, Page, PageRequest, StoreError, StoreResult},
};
use patchbay_core::{ApiKeyId, TenantId};
use sqlx::{Postgres, QueryBuilder};

use super::PostgresStore;
use crate::{
    error::{db, is_duplicate},
    rows::{self, api_key_columns},
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

    async fn create_tenant(&self, id: TenantId, name: &str) -> StoreResult<Tenant> {
        let row = sqlx::query(
            "INSERT INTO tenants (id, name, created_at)
             VALUES ($1, $2, COALESCE($3, now()))
             ON CONFLICT (name) DO NOTHING
             RETURNING id, name, created_at",
        )
        .bind(id.as_uuid())
        .bind(name)
        .bind(self.test_time())
        .fetch_optional(&self.pool)
        .await
        .map_err(db)?;
        row.as_ref()
            .map_or(Err(StoreError::Conflict(Constraint::Name)), rows::tenant)
    }

    async fn tenants(&self, page: PageRequest) -> StoreResult<Page<Tenant>> {
        let mut query = QueryBuilder::<Postgres>::new("SELECT id, name, created_at FROM tenants");
        if let Some(after) = page.after {
            query.push(" WHERE (created_at, id) < (").push_bind(after.at);
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
        let row = sqlx::query("SELECT id, name, created_at FROM tenants WHERE id = $1")
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

    async fn create_api_key(&self, key: &ApiKey) -> StoreResult<()> {
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
        .execute(&self.pool)
        .await;
        match stored {
            Ok(_) => Ok(()),
            Err(error) if is_duplicate(&error) => Err(StoreError::Conflict(Constraint::Name)),
            Err(error) => Err(db(error)),
        }
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

    async fn revoke_api_key(&self, tenant: TenantId, id: ApiKeyId) -> StoreResult<bool> {
        let done = sqlx::query(
            "UPDATE api_keys
             SET revoked_at = COALESCE(revoked_at, $3, now())
             WHERE tenant_id = $1 AND id = $2",
        )
        .bind(tenant.as_uuid())
        .bind(id.as_uuid())
        .bind(self.test_time())
        .execute(&self.pool)
        .await
        .map_err(db)?;
        Ok(done.rows_affected() > 0)
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
