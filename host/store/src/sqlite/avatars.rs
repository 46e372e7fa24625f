//! Pictures of accounts.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use patchbay_app::{
    model::{Avatar, Picture},
    store::{Avatars, StoreResult},
};
use patchbay_core::{AccountId, TenantId};

use super::{SqliteStore, micros};
use crate::{error::db, rows, values};

#[async_trait]
impl Avatars for SqliteStore {
    async fn avatar(&self, tenant: TenantId, account: AccountId) -> StoreResult<Option<Avatar>> {
        let row = sqlx::query(
            "SELECT source, looked_at, mime, sha256, bytes FROM avatars WHERE tenant_id = $1 AND account_id = $2",
        )
        .bind(tenant.as_uuid())
        .bind(account.as_uuid())
        .fetch_optional(&self.readers)
        .await
        .map_err(db)?;
        row.as_ref().map(rows::avatar).transpose()
    }

    async fn claim_avatar(
        &self,
        tenant: TenantId,
        account: AccountId,
        source: &str,
        seen: Option<DateTime<Utc>>,
    ) -> StoreResult<bool> {
        let done = sqlx::query(
            "INSERT INTO avatars (tenant_id, account_id, source, looked_at)
             SELECT tenant_id, id, avatar_url, $4
             FROM accounts
             WHERE tenant_id = $1 AND id = $2 AND avatar_url = $3
             ON CONFLICT (tenant_id, account_id) DO UPDATE
             SET source = excluded.source, looked_at = excluded.looked_at
             WHERE avatars.looked_at = $5",
        )
        .bind(tenant.as_uuid())
        .bind(account.as_uuid())
        .bind(values::text(source))
        .bind(micros(self.time()))
        .bind(seen.map(micros))
        .execute(&self.writer)
        .await
        .map_err(db)?;
        Ok(done.rows_affected() > 0)
    }

    async fn keep_avatar(
        &self,
        tenant: TenantId,
        account: AccountId,
        source: &str,
        picture: &Picture,
    ) -> StoreResult<()> {
        sqlx::query(
            "UPDATE avatars
             SET mime = $4, sha256 = $5, bytes = $6
             WHERE tenant_id = $1 AND account_id = $2 AND source = $3",
        )
        .bind(tenant.as_uuid())
        .bind(account.as_uuid())
        .bind(values::text(source))
        .bind(&picture.mime)
        .bind(&picture.sha256[..])
        .bind(&picture.bytes)
        .execute(&self.writer)
        .await
        .map_err(db)?;
        Ok(())
    }
}
