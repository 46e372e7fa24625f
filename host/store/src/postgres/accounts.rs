//! Connected accounts and the life of their tokens.

use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use patchbay_app::{
    model::{Account, AccountStatus, JobKind, NewAccount, NewAudit, NewEvent, NewJob, SessionGrant, TokenUpdate},
    store::{
        AccountFilter, AccountTraces, Accounts, Connected, Constraint, Cursor, NewGrant, Page, PageRequest,
        RefreshLease, StoreError, StoreResult,
    },
};
use patchbay_core::{AccountId, FlowId, JobId, TenantId};
use sqlx::{PgConnection, Postgres, QueryBuilder};

use super::{
    PostgresStore, Tx,
    audits::append,
    close,
    erasures::is_ending,
    events::{DEADLOCK_TRIES, add_own_event},
    jobs::{finish_job, finish_waiting_job, move_job, put_job},
    post_effects::{cancel_drafts_of_another, cancel_queued_posts, revive_posts, wake_open_posts},
};
use crate::{
    error::{db, is_deadlock},
    rows::{self, account_columns},
    values::{self, span},
};

#[async_trait]
impl Accounts for PostgresStore {
    async fn place_grant(&self, account: &NewAccount) -> StoreResult<Connected> {
        let mut connection = self.pool.acquire().await.map_err(db)?;
        place(&mut connection, account).await
    }

    async fn finish_connect(
        &self,
        grants: &[(Connected, NewGrant<'_>)],
        session: Option<&SessionGrant>,
    ) -> StoreResult<Vec<Account>> {
        // Webhooks of several accounts lock their posts in another order.
        for _ in 0..DEADLOCK_TRIES {
            match self.finish_connect_once(grants, session).await {
                Err(error) if is_deadlock(&error) => {}
                end => return end,
            }
        }
        self.finish_connect_once(grants, session).await
    }

    async fn shares_grant(&self, tenant: TenantId, id: AccountId) -> StoreResult<bool> {
        sqlx::query_scalar(
            "SELECT EXISTS (
                 SELECT 1
                 FROM accounts AS one
                 JOIN accounts AS other ON other.tenant_id = one.tenant_id AND other.grant_id = one.grant_id
                 WHERE one.tenant_id = $1 AND one.id = $2 AND other.id <> one.id
                     AND other.status <> 'revoked' AND other.tokens IS NOT NULL)",
        )
        .bind(tenant.as_uuid())
        .bind(id.as_uuid())
        .fetch_one(&self.pool)
        .await
        .map_err(db)
    }

    async fn account(&self, tenant: TenantId, id: AccountId) -> StoreResult<Option<Account>> {
        let mut connection = self.pool.acquire().await.map_err(db)?;
        read(&mut connection, tenant, id).await
    }

    async fn accounts(
        &self,
        tenant: TenantId,
        filter: &AccountFilter,
        page: PageRequest,
    ) -> StoreResult<Page<Account>> {
        let mut query = QueryBuilder::<Postgres>::new(concat!(
            "SELECT ",
            account_columns!(),
            " FROM accounts WHERE tenant_id = "
        ));
        query.push_bind(tenant.as_uuid());
        if let Some(provider) = &filter.provider {
            query.push(" AND provider = ").push_bind(provider.as_str());
        }
        if let Some(owner) = &filter.owner {
            query.push(" AND owner = ").push_bind(values::text(owner).into_owned());
        }
        if let Some(status) = filter.status {
            query.push(" AND status = ").push_bind(status.as_str());
        }
        if let Some(after) = page.after {
            query.push(" AND (created_at, id) < (").push_bind(after.at);
            query.push(", ").push_bind(after.id).push(")");
        }
        query
            .push(" ORDER BY created_at DESC, id DESC LIMIT ")
            .push_bind(values::page_rows(page));
        let found = query.build().fetch_all(&self.pool).await.map_err(db)?;
        let accounts = found.iter().map(rows::account).collect::<Result<_, _>>()?;
        Ok(values::page(accounts, page, |account: &Account| Cursor {
            at: account.created_at,
            id: account.id.as_uuid(),
        }))
    }

    async fn account_traces(&self, tenant: TenantId, id: AccountId) -> StoreResult<AccountTraces> {
        let refresh = sqlx::query(
            "SELECT run_at, attempts - CASE WHEN status = 'running' THEN 1 ELSE 0 END AS attempts, last_error
             FROM jobs
             WHERE tenant_id = $1 AND target = $2 AND kind = 'refresh' AND status IN ('ready', 'running')",
        )
        .bind(tenant.as_uuid())
        .bind(id.as_uuid())
        .fetch_optional(&self.pool)
        .await
        .map_err(db)?;
        let webhook = sqlx::query(
            "SELECT recorded_at
             FROM events
             WHERE tenant_id = $1 AND account_id = $2 AND client_id IS NOT NULL
             ORDER BY recorded_at DESC, id DESC
             LIMIT 1",
        )
        .bind(tenant.as_uuid())
        .bind(id.as_uuid())
        .fetch_optional(&self.pool)
        .await
        .map_err(db)?;
        rows::account_traces(refresh.as_ref(), webhook.as_ref())
    }

    async fn lease_refresh(
        &self,
        tenant: TenantId,
        id: AccountId,
        expected_version: i64,
        holder: &str,
        ttl: Duration,
    ) -> StoreResult<RefreshLease> {
        let granted = sqlx::query(concat!(
            "UPDATE accounts
             SET refresh_holder = $4, refresh_until = COALESCE($6, now()) + $5
             WHERE tenant_id = $1 AND id = $2 AND token_version = $3
                 AND tokens IS NOT NULL AND status IN ('pending', 'active')
                 AND (refresh_until IS NULL OR refresh_until <= COALESCE($6, now()))
             RETURNING ",
            account_columns!()
        ))
        .bind(tenant.as_uuid())
        .bind(id.as_uuid())
        .bind(expected_version)
        .bind(holder)
        .bind(span(ttl))
        .bind(self.test_time())
        .fetch_optional(&self.pool)
        .await
        .map_err(db)?;
        if let Some(row) = granted {
            return Ok(RefreshLease::Granted(Box::new(rows::account(&row)?)));
        }
        let busy = sqlx::query(
            "SELECT refresh_until
             FROM accounts
             WHERE tenant_id = $1 AND id = $2 AND token_version = $3
                 AND tokens IS NOT NULL AND status IN ('pending', 'active')",
        )
        .bind(tenant.as_uuid())
        .bind(id.as_uuid())
        .bind(expected_version)
        .fetch_optional(&self.pool)
        .await
        .map_err(db)?;
        let until = busy
            .map(|row| rows::Cells::of(&row, "accounts").maybe_time("refresh_until"))
            .transpose()?
            .flatten();
        // No time here: the lease was given back between the two looks. The caller reads again either way.
        Ok(until.map_or(RefreshLease::Moved, |until| RefreshLease::Busy { until }))
    }

    async fn swap_tokens(
        &self,
        tenant: TenantId,
        id: AccountId,
        expected_version: i64,
        tokens: &TokenUpdate,
    ) -> StoreResult<bool> {
        values::check_version(tokens, expected_version)?;
        let mut tx = self.begin_in(&self.reserved).await?;
        let end = async {
            let now = self.time(&mut tx).await?;
            // A revoked account keeps its state, but the newest tokens: they are what its revocation needs.
            let row = sqlx::query(concat!(
                "UPDATE accounts
             SET tokens = $4,
                 token_version = $3 + 1,
                 access_expires_at = $5,
                 refresh_expires_at = $6,
                 refresh_holder = NULL,
                 refresh_until = NULL,
                 status_code = CASE WHEN status = 'reauth_required' THEN NULL ELSE status_code END,
                 status = CASE WHEN status = 'reauth_required' THEN 'active' ELSE status END,
                 refreshed_at = $7,
                 updated_at = $7
             WHERE tenant_id = $1 AND id = $2 AND token_version = $3
             RETURNING ",
                account_columns!()
            ))
            .bind(tenant.as_uuid())
            .bind(id.as_uuid())
            .bind(expected_version)
            .bind(&tokens.tokens.envelope)
            .bind(tokens.access_expires_at)
            .bind(tokens.refresh_expires_at)
            .bind(now)
            .fetch_optional(&mut *tx)
            .await
            .map_err(db)?;
            let Some(row) = row else {
                return Ok(false);
            };
            let account = rows::account(&row)?;
            if account.status != AccountStatus::Revoked {
                match tokens.refresh_due_at {
                    Some(due) => {
                        let job = values::refresh_job(JobId::from_uuid(self.ids.next()), &account);
                        move_job(&mut tx, &job, id.as_uuid(), due, now).await?;
                    }
                    None => finish_waiting_job(&mut tx, JobKind::Refresh, id.as_uuid(), now).await?,
                }
            }
            Ok(true)
        }
        .await;
        close(tx, end).await
    }

    async fn release_refresh(&self, tenant: TenantId, id: AccountId, holder: &str) -> StoreResult<()> {
        sqlx::query(
            "UPDATE accounts
             SET refresh_holder = NULL, refresh_until = NULL
             WHERE tenant_id = $1 AND id = $2 AND refresh_holder = $3",
        )
        .bind(tenant.as_uuid())
        .bind(id.as_uuid())
        .bind(holder)
        .execute(&self.pool)
        .await
        .map_err(db)?;
        Ok(())
    }

    async fn require_reauth(
        &self,
        tenant: TenantId,
        id: AccountId,
        expected_version: i64,
        code: &str,
        event: &NewEvent,
        audit: &NewAudit,
    ) -> StoreResult<bool> {
        let mut tx = self.begin().await?;
        let end = async {
            let now = self.time(&mut tx).await?;
            let row = sqlx::query(concat!(
                "UPDATE accounts
             SET status = 'reauth_required', status_code = $4, updated_at = $5
             WHERE tenant_id = $1 AND id = $2 AND token_version = $3 AND status = 'active'
             RETURNING ",
                account_columns!()
            ))
            .bind(tenant.as_uuid())
            .bind(id.as_uuid())
            .bind(expected_version)
            .bind(values::text(code))
            .bind(now)
            .fetch_optional(&mut *tx)
            .await
            .map_err(db)?;
            let Some(row) = row else {
                return Ok(false);
            };
            let account = rows::account(&row)?;
            add_own_event(self, &mut tx, tenant, &account.provider, event, now).await?;
            append(self, &mut tx, audit).await?;
            Ok(true)
        }
        .await;
        close(tx, end).await
    }

    async fn begin_disconnect(
        &self,
        tenant: TenantId,
        id: AccountId,
        code: &str,
        revoke: Option<&NewJob>,
        event: &NewEvent,
        audit: &NewAudit,
    ) -> StoreResult<Option<Account>> {
        let mut tx = self.begin().await?;
        let end = async {
            let now = self.time(&mut tx).await?;
            let row = sqlx::query(concat!(
                "UPDATE accounts
             SET status = 'revoked', status_code = $3, refresh_holder = NULL, refresh_until = NULL, updated_at = $4
             WHERE tenant_id = $1 AND id = $2 AND status <> 'revoked'
             RETURNING ",
                account_columns!()
            ))
            .bind(tenant.as_uuid())
            .bind(id.as_uuid())
            .bind(values::text(code))
            .bind(now)
            .fetch_optional(&mut *tx)
            .await
            .map_err(db)?;
            let Some(row) = row else {
                return read(&mut tx, tenant, id).await;
            };
            let account = rows::account(&row)?;
            finish_job(&mut tx, JobKind::Refresh, id.as_uuid(), now).await?;
            cancel_queued_posts(&mut tx, tenant, id, now).await?;
            if let Some(job) = revoke {
                put_job(&mut tx, job, job.target, now).await?;
            }
            add_own_event(self, &mut tx, tenant, &account.provider, event, now).await?;
            append(self, &mut tx, audit).await?;
            Ok(Some(account))
        }
        .await;
        close(tx, end).await
    }

    async fn refuse_pending(
        &self,
        tenant: TenantId,
        id: AccountId,
        version: i64,
        event: &NewEvent,
        audit: &NewAudit,
    ) -> StoreResult<bool> {
        let mut tx = self.begin().await?;
        let end = async {
            let now = self.time(&mut tx).await?;
            let row = sqlx::query(concat!(
                "UPDATE accounts
                 SET status = 'revoked', status_code = 'not_completed', display_name = NULL, username = NULL,
                     avatar_url = NULL, profile_url = NULL, refresh_holder = NULL, refresh_until = NULL,
                     updated_at = $4
                 WHERE tenant_id = $1 AND id = $2 AND token_version = $3 AND status = 'pending'
                 RETURNING ",
                account_columns!()
            ))
            .bind(tenant.as_uuid())
            .bind(id.as_uuid())
            .bind(version)
            .bind(now)
            .fetch_optional(&mut *tx)
            .await
            .map_err(db)?;
            let Some(row) = row else {
                return Ok(false);
            };
            let account = rows::account(&row)?;
            sqlx::query("DELETE FROM avatars WHERE tenant_id = $1 AND account_id = $2")
                .bind(tenant.as_uuid())
                .bind(id.as_uuid())
                .execute(&mut *tx)
                .await
                .map_err(db)?;
            finish_job(&mut tx, JobKind::Refresh, id.as_uuid(), now).await?;
            add_own_event(self, &mut tx, tenant, &account.provider, event, now).await?;
            append(self, &mut tx, audit).await?;
            Ok(true)
        }
        .await;
        close(tx, end).await
    }

    async fn erase_tokens(&self, tenant: TenantId, id: AccountId) -> StoreResult<()> {
        let mut tx = self.begin().await?;
        let end = async {
            let now = self.time(&mut tx).await?;
            let erased = erase(&mut tx, tenant, id, now).await?;
            if erased {
                finish_job(&mut tx, JobKind::Revoke, id.as_uuid(), now).await?;
            }
            Ok(())
        }
        .await;
        close(tx, end).await
    }
}

impl PostgresStore {
    async fn finish_connect_once(
        &self,
        grants: &[(Connected, NewGrant<'_>)],
        session: Option<&SessionGrant>,
    ) -> StoreResult<Vec<Account>> {
        let mut tx = self.begin().await?;
        let end = async {
            let now = self.time(&mut tx).await?;
            let mut accounts = Vec::with_capacity(grants.len());
            for (to, grant) in grants {
                if is_ending(&mut tx, grant.account.tenant).await? {
                    return Err(StoreError::Conflict(Constraint::Missing));
                }
                accounts.push(store_grant(self, &mut tx, *to, grant, now).await?);
            }
            if let Some((session, first)) = session.zip(accounts.first()) {
                end_session(&mut tx, session, first, &accounts[1..]).await?;
            }
            for (account, (_, grant)) in accounts.iter().zip(grants) {
                append(self, &mut tx, &grant.audit.clone().to(&account.id)).await?;
            }
            Ok(accounts)
        }
        .await;
        close(tx, end).await
    }
}

/// Stores one grant of a connect; see [`Accounts::finish_connect`].
async fn store_grant(
    store: &PostgresStore,
    connection: &mut Tx,
    to: Connected,
    grant: &NewGrant<'_>,
    now: DateTime<Utc>,
) -> StoreResult<Account> {
    let NewGrant { account, tokens, .. } = grant;
    let is_current = place(connection, account).await? == to && tokens.tokens.version == to.next_version;
    if !is_current {
        return Err(StoreError::Stale);
    }
    cancel_drafts_of_another(connection, account.tenant, to.id, &account.owner, now).await?;
    let row = sqlx::query(concat!(
        "INSERT INTO accounts
             (tenant_id, id, owner, provider, client_id, remote_id, display_name, username, avatar_url,
              profile_url, scopes, status, simulated, token_version, tokens, access_expires_at,
              refresh_expires_at, connected_at, grant_id, created_at, updated_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $20)
         ON CONFLICT (tenant_id, id) DO UPDATE
         SET owner = excluded.owner,
             display_name = excluded.display_name,
             username = excluded.username,
             avatar_url = excluded.avatar_url,
             profile_url = excluded.profile_url,
             scopes = excluded.scopes,
             status = excluded.status,
             status_code = NULL,
             simulated = excluded.simulated,
             token_version = excluded.token_version,
             tokens = excluded.tokens,
             access_expires_at = excluded.access_expires_at,
             refresh_expires_at = excluded.refresh_expires_at,
             refresh_holder = NULL,
             refresh_until = NULL,
             connected_at = excluded.connected_at,
             grant_id = excluded.grant_id,
             updated_at = excluded.updated_at
         WHERE accounts.token_version + 1 = excluded.token_version
         RETURNING ",
        account_columns!()
    ))
    .bind(account.tenant.as_uuid())
    .bind(to.id.as_uuid())
    .bind(&account.owner)
    .bind(account.provider.as_str())
    .bind(&account.client_id)
    .bind(values::text(&account.remote_id))
    .bind(account.display_name.as_deref().map(values::text))
    .bind(account.username.as_deref().map(values::text))
    .bind(account.avatar_url.as_ref().map(url::Url::as_str))
    .bind(account.profile_url.as_ref().map(url::Url::as_str))
    .bind(values::json(&account.scopes)?)
    .bind(account.status.as_str())
    .bind(account.simulated)
    .bind(to.next_version)
    .bind(&tokens.tokens.envelope)
    .bind(tokens.access_expires_at)
    .bind(tokens.refresh_expires_at)
    .bind(account.connected_at)
    .bind(grant.together.map(FlowId::as_uuid))
    .bind(now)
    .fetch_optional(&mut **connection)
    .await
    .map_err(taken)?
    .ok_or(StoreError::Stale)?;
    let account = rows::account(&row)?;
    let target = to.id.as_uuid();
    match tokens.refresh_due_at {
        Some(due) => move_job(connection, grant.refresh, target, due, now).await?,
        None => finish_waiting_job(connection, JobKind::Refresh, target, now).await?,
    }
    // A disconnect that is not through yet must not end the new grant.
    finish_waiting_job(connection, JobKind::Revoke, target, now).await?;
    if let Some(job) = grant.revoke {
        let due = job.run_at.unwrap_or(now);
        move_job(connection, job, target, due, now).await?;
    }
    for event in grant.events {
        add_own_event(store, connection, account.tenant, &account.provider, event, now).await?;
    }
    wake_open_posts(connection, account.tenant, account.id, now).await?;
    if account.status == AccountStatus::Active {
        revive_posts(store, connection, account.tenant, account.id, now).await?;
    }
    Ok(account)
}

/// Writes what came of a session that was started.
async fn end_session(
    connection: &mut PgConnection,
    session: &SessionGrant,
    first: &Account,
    others: &[Account],
) -> StoreResult<()> {
    let others: Vec<_> = others.iter().map(|account| account.id).collect();
    let ended = sqlx::query(
        "UPDATE sessions
         SET status = $3, connected_id = $4, also_connected = $5, missing_scopes = $6, completion_hash = $7,
             completion_until = $8
         WHERE id = $1 AND tenant_id = $2 AND status = 'started'",
    )
    .bind(session.id.as_uuid())
    .bind(first.tenant.as_uuid())
    .bind(session.status.as_str())
    .bind(first.id.as_uuid())
    .bind(values::json(&others)?)
    .bind(values::json(&session.missing_scopes)?)
    .bind(&session.code_hash[..])
    .bind(session.code_until)
    .execute(connection)
    .await
    .map_err(db)?;
    if ended.rows_affected() == 0 {
        return Err(StoreError::Conflict(Constraint::SessionOver));
    }
    Ok(())
}

/// What it means that a grant ran into another one which was stored at the same time.
fn taken(error: sqlx::Error) -> StoreError {
    let constraint = error.as_database_error().and_then(|cause| cause.constraint());
    match constraint {
        Some("accounts_remote") => StoreError::Stale,
        Some("accounts_grant") => StoreError::Conflict(Constraint::AccountOfOtherTenant),
        _ => db(error),
    }
}

/// Where a grant goes now; see [`Accounts::place_grant`].
async fn place(connection: &mut PgConnection, account: &NewAccount) -> StoreResult<Connected> {
    let taken: bool = sqlx::query_scalar(
        "SELECT EXISTS (
             SELECT 1
             FROM accounts
             WHERE provider = $1 AND client_id = $2 AND remote_id = $3
                 AND (status <> 'revoked' OR tokens IS NOT NULL)
                 AND tenant_id <> $4)",
    )
    .bind(account.provider.as_str())
    .bind(&account.client_id)
    .bind(values::text(&account.remote_id))
    .bind(account.tenant.as_uuid())
    .fetch_one(&mut *connection)
    .await
    .map_err(db)?;
    if taken {
        return Err(StoreError::Conflict(Constraint::AccountOfOtherTenant));
    }
    let row = sqlx::query(
        "SELECT id, token_version, owner, status
         FROM accounts
         WHERE provider = $1 AND client_id = $2 AND remote_id = $3 AND tenant_id = $4",
    )
    .bind(account.provider.as_str())
    .bind(&account.client_id)
    .bind(values::text(&account.remote_id))
    .bind(account.tenant.as_uuid())
    .fetch_optional(connection)
    .await
    .map_err(db)?;
    let Some(row) = row else {
        return Ok(Connected {
            id: account.id,
            next_version: 1,
            accepted: false,
        });
    };
    let cells = rows::Cells::of(&row, "accounts");
    let status: AccountStatus = cells.name("status")?;
    if status != AccountStatus::Revoked && cells.text("owner")? != account.owner {
        return Err(StoreError::Conflict(Constraint::AccountOfOtherOwner));
    }
    Ok(Connected {
        id: AccountId::from_uuid(cells.uuid("id")?),
        next_version: cells.int("token_version")? + 1,
        accepted: matches!(status, AccountStatus::Active | AccountStatus::ReauthRequired),
    })
}

pub(super) async fn read(
    connection: &mut PgConnection,
    tenant: TenantId,
    id: AccountId,
) -> StoreResult<Option<Account>> {
    let row = sqlx::query(concat!(
        "SELECT ",
        account_columns!(),
        " FROM accounts WHERE tenant_id = $1 AND id = $2"
    ))
    .bind(tenant.as_uuid())
    .bind(id.as_uuid())
    .fetch_optional(connection)
    .await
    .map_err(db)?;
    row.as_ref().map(rows::account).transpose()
}

/// Erases the tokens of a revoked account. The version rises, so that a renewal under way finds it moved. `false`: it
/// is not revoked.
pub(super) async fn erase(
    connection: &mut PgConnection,
    tenant: TenantId,
    id: AccountId,
    now: DateTime<Utc>,
) -> StoreResult<bool> {
    let done = sqlx::query(
        "UPDATE accounts
         SET token_version = CASE WHEN tokens IS NULL THEN token_version ELSE token_version + 1 END,
             tokens = NULL,
             access_expires_at = NULL,
             refresh_expires_at = NULL,
             refresh_holder = NULL,
             refresh_until = NULL,
             updated_at = CASE WHEN tokens IS NULL THEN updated_at ELSE $3 END
         WHERE tenant_id = $1 AND id = $2 AND status = 'revoked'",
    )
    .bind(tenant.as_uuid())
    .bind(id.as_uuid())
    .bind(now)
    .execute(connection)
    .await
    .map_err(db)?;
    Ok(done.rows_affected() > 0)
}
