//! Connects under way, and where they may lead.

use async_trait::async_trait;
use patchbay_app::{
    model::{Account, AccountStatus, Flow, JobKind, NewAudit, NewEvent, SESSION_KEEP, Session, SessionStatus},
    store::{Completion, Flows, StoreResult},
};
use patchbay_core::{AccountId, SessionId, TenantId};
use sqlx::{PgConnection, Row};

use super::{
    PostgresStore, accounts,
    audits::append,
    close,
    erasures::is_ending,
    events::add_own_event,
    jobs::finish_waiting_job,
    post_effects::{revive_posts, wake_open_posts},
};
use crate::{
    error::db,
    rows::{self, Cells, account_columns, flow_columns, session_columns},
    values,
};

#[async_trait]
impl Flows for PostgresStore {
    async fn start_flow(&self, flow: &Flow, browser: Option<[u8; 32]>) -> StoreResult<bool> {
        let mut tx = self.begin().await?;
        let end = async {
            let now = self.time(&mut tx).await?;
            if is_ending(&mut tx, flow.tenant).await? {
                return Ok(false);
            }
            if let Some(session) = flow.session {
                let started = sqlx::query(
                    "UPDATE sessions
                     SET status = 'started', cookie_hash = $3
                     WHERE id = $1 AND tenant_id = $2 AND expires_at >= $5
                         AND (status = 'open' OR (status = 'started' AND cookie_hash = $4))",
                )
                .bind(session.as_uuid())
                .bind(flow.tenant.as_uuid())
                .bind(&flow.cookie_hash[..])
                .bind(browser.as_ref().map(|hash| &hash[..]))
                .bind(now)
                .execute(&mut *tx)
                .await
                .map_err(db)?;
                if started.rows_affected() == 0 {
                    return Ok(false);
                }
            }
            insert_flow(&mut tx, flow).await?;
            Ok(true)
        }
        .await;
        close(tx, end).await
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

    async fn continue_flow(&self, flow: &Flow) -> StoreResult<bool> {
        let mut tx = self.begin().await?;
        let end = async {
            if is_ending(&mut tx, flow.tenant).await? {
                return Ok(false);
            }
            insert_flow(&mut tx, flow).await?;
            Ok(true)
        }
        .await;
        close(tx, end).await
    }

    async fn flow(&self, state_hash: [u8; 32]) -> StoreResult<Option<Flow>> {
        let row = sqlx::query(concat!(
            "SELECT ",
            flow_columns!(),
            " FROM flows WHERE state_hash = $1 AND expires_at >= COALESCE($2, now())"
        ))
        .bind(&state_hash[..])
        .bind(self.test_time())
        .fetch_optional(&self.pool)
        .await
        .map_err(db)?;
        row.as_ref().map(rows::flow).transpose()
    }

    async fn create_session(&self, session: &Session) -> StoreResult<()> {
        sqlx::query(
            "INSERT INTO sessions
                 (id, tenant_id, owner, provider, token_hash, scopes, account_id, return_to, origins, activate, status,
                  connected_id, also_connected, missing_scopes, code, expires_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)",
        )
        .bind(session.id.as_uuid())
        .bind(session.tenant.as_uuid())
        .bind(&session.owner)
        .bind(session.provider.as_str())
        .bind(&session.token_hash[..])
        .bind(values::json(&session.scopes)?)
        .bind(session.account.map(AccountId::as_uuid))
        .bind(&session.return_to)
        .bind(values::json(&session.origins)?)
        .bind(session.activate)
        .bind(session.status.as_str())
        .bind(session.connected.first().copied().map(AccountId::as_uuid))
        .bind(values::json(session.connected.get(1..).unwrap_or_default())?)
        .bind(values::json(&session.missing_scopes)?)
        .bind(&session.code)
        .bind(session.expires_at)
        .execute(&self.pool)
        .await
        .map_err(db)?;
        Ok(())
    }

    async fn session(&self, token_hash: [u8; 32]) -> StoreResult<Option<Session>> {
        let row = sqlx::query(concat!(
            "SELECT ",
            session_columns!(),
            " FROM sessions WHERE token_hash = $1 AND expires_at >= COALESCE($2, now())"
        ))
        .bind(&token_hash[..])
        .bind(self.test_time())
        .fetch_optional(&self.pool)
        .await
        .map_err(db)?;
        row.as_ref().map(rows::session).transpose()
    }

    async fn session_by_id(&self, tenant: TenantId, id: SessionId) -> StoreResult<Option<Session>> {
        let row = sqlx::query(concat!(
            "SELECT ",
            session_columns!(),
            " FROM sessions WHERE id = $1 AND tenant_id = $2"
        ))
        .bind(id.as_uuid())
        .bind(tenant.as_uuid())
        .fetch_optional(&self.pool)
        .await
        .map_err(db)?;
        row.as_ref().map(rows::session).transpose()
    }

    async fn end_session(
        &self,
        tenant: TenantId,
        id: SessionId,
        status: SessionStatus,
        code: Option<&str>,
    ) -> StoreResult<Option<Session>> {
        let row = sqlx::query(concat!(
            "UPDATE sessions
             SET status = $3, code = $4
             WHERE id = $1 AND tenant_id = $2
                 AND (status IN ('open', 'started') OR (status = 'pending' AND $3 = 'cancelled'))
             RETURNING ",
            session_columns!()
        ))
        .bind(id.as_uuid())
        .bind(tenant.as_uuid())
        .bind(status.as_str())
        .bind(code.map(values::text))
        .fetch_optional(&self.pool)
        .await
        .map_err(db)?;
        match row {
            Some(row) => rows::session(&row).map(Some),
            None => self.session_by_id(tenant, id).await,
        }
    }

    async fn complete_session(
        &self,
        tenant: TenantId,
        id: SessionId,
        code_hash: [u8; 32],
        taken: &[(NewEvent, NewAudit)],
    ) -> StoreResult<Completion> {
        let mut tx = self.begin().await?;
        let end = async {
            let row = sqlx::query(
                "SELECT status, connected_id, also_connected, completion_hash, completion_until
                 FROM sessions
                 WHERE id = $1 AND tenant_id = $2 AND completion_hash IS NOT NULL
                 FOR NO KEY UPDATE",
            )
            .bind(id.as_uuid())
            .bind(tenant.as_uuid())
            .fetch_optional(&mut *tx)
            .await
            .map_err(db)?;
            let now = self.time(&mut tx).await?;
            let Some(row) = row else {
                return Ok(Completion::NotPending);
            };
            let cells = Cells::of(&row, "sessions");
            if cells.digest("completion_hash")? != code_hash {
                return Ok(Completion::Wrong);
            }
            let connected = rows::connected(&cells)?;
            match cells.name("status")? {
                SessionStatus::Completed => {
                    let account = told(&mut tx, tenant, &connected).await?;
                    return Ok(account.map_or(Completion::NotPending, |account| Completion::Active {
                        account: Box::new(account),
                        first: false,
                    }));
                }
                SessionStatus::Pending if cells.time("completion_until")? < now => return Ok(Completion::Late),
                SessionStatus::Pending => {}
                _ => return Ok(Completion::NotPending),
            }
            let mut audits = Vec::new();
            for (event, audit) in taken {
                let Some(id) = event.account.filter(|id| connected.contains(id)) else {
                    continue;
                };
                let row = sqlx::query(concat!(
                    "UPDATE accounts
                     SET status = 'active', updated_at = $3
                     WHERE tenant_id = $1 AND id = $2 AND status = 'pending'
                     RETURNING ",
                    account_columns!()
                ))
                .bind(tenant.as_uuid())
                .bind(id.as_uuid())
                .bind(now)
                .fetch_optional(&mut *tx)
                .await
                .map_err(db)?;
                let Some(row) = row else {
                    continue;
                };
                let account = rows::account(&row)?;
                finish_waiting_job(&mut tx, JobKind::Revoke, id.as_uuid(), now).await?;
                add_own_event(self, &mut tx, tenant, &account.provider, event, now).await?;
                wake_open_posts(&mut tx, tenant, id, now).await?;
                revive_posts(self, &mut tx, tenant, id, now).await?;
                audits.push(audit);
            }
            let account = told(&mut tx, tenant, &connected).await?;
            let Some(account) = account.filter(|_| !audits.is_empty()) else {
                return Ok(Completion::NotPending);
            };
            sqlx::query("UPDATE sessions SET status = 'completed' WHERE id = $1 AND tenant_id = $2")
                .bind(id.as_uuid())
                .bind(tenant.as_uuid())
                .execute(&mut *tx)
                .await
                .map_err(db)?;
            for audit in audits {
                append(self, &mut tx, audit).await?;
            }
            Ok(Completion::Active {
                account: Box::new(account),
                first: true,
            })
        }
        .await;
        close(tx, end).await
    }

    async fn connect_origins(&self, tenant: TenantId) -> StoreResult<Vec<String>> {
        let row = sqlx::query("SELECT connect_origins FROM tenants WHERE id = $1")
            .bind(tenant.as_uuid())
            .fetch_optional(&self.pool)
            .await
            .map_err(db)?;
        row.map_or(Ok(Vec::new()), |row| Cells::of(&row, "tenants").json("connect_origins"))
    }

    async fn set_connect_origins(&self, tenant: TenantId, origins: &[String], audit: &NewAudit) -> StoreResult<bool> {
        let mut tx = self.begin().await?;
        let end = async {
            let set = sqlx::query("UPDATE tenants SET connect_origins = $2 WHERE id = $1")
                .bind(tenant.as_uuid())
                .bind(values::json(origins)?)
                .execute(&mut *tx)
                .await
                .map_err(db)?;
            if set.rows_affected() == 0 {
                return Ok(false);
            }
            append(self, &mut tx, audit).await?;
            Ok(true)
        }
        .await;
        close(tx, end).await
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
            .bind(now - SESSION_KEEP)
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

/// Stores a flow.
async fn insert_flow(connection: &mut PgConnection, flow: &Flow) -> StoreResult<()> {
    let identities = flow.identities.as_ref().map(values::json).transpose()?;
    sqlx::query(
        "INSERT INTO flows
             (id, tenant_id, owner, provider, state_hash, cookie_hash, sealed, identities, scopes, redirect_uri,
              return_to, activate, session_id, expires_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)",
    )
    .bind(flow.id.as_uuid())
    .bind(flow.tenant.as_uuid())
    .bind(&flow.owner)
    .bind(flow.provider.as_str())
    .bind(&flow.state_hash[..])
    .bind(&flow.cookie_hash[..])
    .bind(&flow.sealed)
    .bind(identities)
    .bind(values::json(&flow.scopes)?)
    .bind(&flow.redirect_uri)
    .bind(&flow.return_to)
    .bind(flow.activate)
    .bind(flow.session.map(SessionId::as_uuid))
    .bind(flow.expires_at)
    .execute(connection)
    .await
    .map_err(db)?;
    Ok(())
}

/// Of the accounts that came by a session, the one that its completion tells: the first that is still connected.
async fn told(
    connection: &mut PgConnection,
    tenant: TenantId,
    connected: &[AccountId],
) -> StoreResult<Option<Account>> {
    let mut ended = None;
    for id in connected {
        match accounts::read(connection, tenant, *id).await? {
            Some(account) if account.status != AccountStatus::Revoked => return Ok(Some(account)),
            found => ended = ended.or(found),
        }
    }
    Ok(ended)
}
