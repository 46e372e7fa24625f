//! Connects under way.

use async_trait::async_trait;
use patchbay_app::{
    model::{Flow, Session},
    store::{Flows, StoreResult},
};

use sqlx::Row;

use super::{PostgresStore, close};
use crate::{
    error::db,
    rows::{self, flow_columns},
    values,
};

#[async_trait]
impl Flows for PostgresStore {
    async fn start_flow(&self, flow: &Flow) -> StoreResult<()> {
        sqlx::query(
            "INSERT INTO flows
                 (id, tenant_id, owner, provider, state_hash, cookie_hash, sealed, scopes, redirect_uri, return_to,
                  activate, expires_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)",
        )
        .bind(flow.id.as_uuid())
        .bind(flow.tenant.as_uuid())
        .bind(&flow.owner)
        .bind(flow.provider.as_str())
        .bind(&flow.state_hash[..])
        .bind(&flow.cookie_hash[..])
        .bind(&flow.sealed)
        .bind(values::json(&flow.scopes)?)
        .bind(&flow.redirect_uri)
        .bind(&flow.return_to)
        .bind(flow.activate)
        .bind(flow.expires_at)
        .execute(&self.pool)
        .await
        .map_err(db)?;
        Ok(())
    }

    async fn take_flow(&self, state_hash: [u8; 32]) -> StoreResult<Option<Flow>> {
        let row = sqlx::query(concat!(
            "DELETE FROM flows
             WHERE state_hash = $1
             RETURNING expires_at >= COALESCE($2, now()) AS live, ",
            flow_columns!()
        ))
        .bind(&state_hash[..])
        .bind(self.test_time())
        .fetch_optional(&self.pool)
        .await
        .map_err(db)?;
        let Some(row) = row else {
            return Ok(None);
        };
        let live: bool = row.try_get("live").map_err(db)?;
        let flow = rows::flow(&row)?;
        Ok(live.then_some(flow))
    }

    async fn create_session(&self, session: &Session) -> StoreResult<()> {
        sqlx::query(
            "INSERT INTO sessions (id, tenant_id, owner, provider, token_hash, expires_at)
             VALUES ($1, $2, $3, $4, $5, $6)",
        )
        .bind(session.id)
        .bind(session.tenant.as_uuid())
        .bind(&session.owner)
        .bind(session.provider.as_str())
        .bind(&session.token_hash[..])
        .bind(session.expires_at)
        .execute(&self.pool)
        .await
        .map_err(db)?;
        Ok(())
    }

    async fn session(&self, token_hash: [u8; 32]) -> StoreResult<Option<Session>> {
        let row = sqlx::query(
            "SELECT id, tenant_id, owner, provider, token_hash, expires_at
             FROM sessions
             WHERE token_hash = $1 AND expires_at >= COALESCE($2, now())",
        )
        .bind(&token_hash[..])
        .bind(self.test_time())
        .fetch_optional(&self.pool)
        .await
        .map_err(db)?;
        row.as_ref().map(rows::session).transpose()
    }

    async fn purge_flows(&self, limit: u32) -> StoreResult<u64> {
        let mut tx = self.begin().await?;
        let end = async {
            let now = self.time(&mut tx).await?;
            let flows = sqlx::query(
                "DELETE FROM flows
             WHERE id = ANY (ARRAY(
                 SELECT id
                 FROM flows
                 WHERE expires_at < $1
                 ORDER BY expires_at
                 LIMIT $2
                 FOR UPDATE SKIP LOCKED))",
            )
            .bind(now)
            .bind(i64::from(limit))
            .execute(&mut *tx)
            .await
            .map_err(db)?
            .rows_affected();
            let left = u64::from(limit).saturating_sub(flows);
            let sessions = sqlx::query(
                "DELETE FROM sessions
             WHERE id = ANY (ARRAY(
                 SELECT id
                 FROM sessions
                 WHERE expires_at < $1
                 ORDER BY expires_at
                 LIMIT $2
                 FOR UPDATE SKIP LOCKED))",
            )
            .bind(now)
            .bind(i64::try_from(left).unwrap_or_default())
            .execute(&mut *tx)
            .await
            .map_err(db)?
            .rows_affected();
            Ok(flows + sessions)
        }
        .await;
        close(tx, end).await
    }
}
