//! Connects under way.

use async_trait::async_trait;
use patchbay_app::{
    model::{Flow, Session},
    store::{Flows, StoreResult},
};

use super::{SqliteStore, micros};
use crate::{
    error::db,
    rows::{self, flow_columns},
    values,
};

#[async_trait]
impl Flows for SqliteStore {
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
        .bind(micros(flow.expires_at))
        .execute(&self.writer)
        .await
        .map_err(db)?;
        Ok(())
    }

    async fn take_flow(&self, state_hash: [u8; 32]) -> StoreResult<Option<Flow>> {
        let row = sqlx::query(concat!(
            "DELETE FROM flows WHERE state_hash = $1 RETURNING ",
            flow_columns!()
        ))
        .bind(&state_hash[..])
        .fetch_optional(&self.writer)
        .await
        .map_err(db)?;
        let flow = row.as_ref().map(rows::flow).transpose()?;
        Ok(flow.filter(|flow| flow.expires_at >= self.time()))
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
        .bind(micros(session.expires_at))
        .execute(&self.writer)
        .await
        .map_err(db)?;
        Ok(())
    }

    async fn session(&self, token_hash: [u8; 32]) -> StoreResult<Option<Session>> {
        let row = sqlx::query(
            "SELECT id, tenant_id, owner, provider, token_hash, expires_at
             FROM sessions
             WHERE token_hash = $1 AND expires_at >= $2",
        )
        .bind(&token_hash[..])
        .bind(micros(self.time()))
        .fetch_optional(&self.readers)
        .await
        .map_err(db)?;
        row.as_ref().map(rows::session).transpose()
    }

    async fn purge_flows(&self, limit: u32) -> StoreResult<u64> {
        let now = micros(self.time());
        let mut tx = self.begin().await?;
        let flows = sqlx::query(
            "DELETE FROM flows
             WHERE id IN (SELECT id FROM flows WHERE expires_at < $1 ORDER BY expires_at LIMIT $2)",
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
             WHERE id IN (SELECT id FROM sessions WHERE expires_at < $1 ORDER BY expires_at LIMIT $2)",
        )
        .bind(now)
        .bind(i64::try_from(left).unwrap_or_default())
        .execute(&mut *tx)
        .await
        .map_err(db)?
        .rows_affected();
        tx.commit().await.map_err(db)?;
        Ok(flows + sessions)
    }
}
