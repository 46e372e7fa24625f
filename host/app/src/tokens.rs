//! Tokens: opened for a call, renewed ahead of their end, never spent twice.
//!
//! A rotating refresh token dies when it is used, so: the right to use it is a lease in the database (which also
//! proves that the database can write), the answer goes to the journal before it is stored, it is stored by
//! compare-and-swap on the token version, and the whole of it runs detached from whoever asked.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};
use patchbay_core::{
    AccountId, AccountView, CredentialLifetimes, Credentials, Ctx, ErrorKind, EventId, ProviderError, SecretRef,
    TenantId, WhoActs,
};
use serde_json::json;
use tokio::time::Instant;
use tracing::{Instrument, error, info, warn};
use url::Url;
use zeroize::Zeroizing;

use crate::{
    App, failpoint,
    journal::JournalRecord,
    jwt,
    model::{Account, AccountStatus, AuditAction, By, NewEvent, SealedTokens, TokenUpdate},
    outbound::{Outbound, SecretBag},
    problem::{Problem, ProblemKind},
    secret::Secret,
    store::{RefreshLease, StoreError},
    vault::{Place, VaultError},
};

/// How long a token must still live for a call.
pub const CALL_MARGIN: Duration = Duration::from_mins(10);
/// How long a token must still live for a publish step, which may be a long transfer.
pub const PUBLISH_MARGIN: Duration = Duration::from_mins(15);

/// Longer than any refresh call may take, so that nobody else starts one meanwhile.
const LEASE: Duration = Duration::from_secs(90);
/// How long a caller waits for somebody else's refresh.
const PATIENCE: Duration = Duration::from_secs(40);
/// A journal record older than this has long been stored or is dead.
const JOURNAL_KEEP: TimeDelta = TimeDelta::hours(48);

/// Name of the account's own server among its tokens. It is sealed with them: who can write into the database cannot have
/// them sent elsewhere. No credential can have this name.
const SERVER: &str = "@server";

/// An account whose tokens are open and fresh enough.
pub struct Ready {
    /// The account.
    pub account: Account,
    /// Its secrets, by handle.
    pub secrets: SecretBag,
    /// What the provider sees.
    pub view: AccountView,
}

/// Why there is no usable token.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// The account is not active.
    #[error("the account is {0}")]
    NotActive(AccountStatus),
    /// There is no such account.
    #[error("there is no such account")]
    Gone,
    /// The platform did not renew.
    #[error(transparent)]
    Refresh(ProviderError),
    /// The vault or the store failed.
    #[error(transparent)]
    Vault(#[from] VaultError),
}

impl From<StoreError> for TokenError {
    fn from(error: StoreError) -> Self {
        Self::Vault(error.into())
    }
}

impl From<TokenError> for Problem {
    fn from(error: TokenError) -> Self {
        match error {
            TokenError::NotActive(AccountStatus::ReauthRequired) => Self::new(
                ProblemKind::AccountReauthRequired,
                "The platform no longer accepts this account's access. Connect the account again.",
            ),
            TokenError::NotActive(AccountStatus::Pending) => Self {
                who: Some(WhoActs::Caller),
                ..Self::new(
                    ProblemKind::AccountNotActive,
                    "The account waits to be taken: complete its connect session with the code that the browser brought.",
                )
            },
            TokenError::NotActive(status) => Self::new(
                ProblemKind::AccountNotActive,
                format!("The account is {status}. Connect it again to use it."),
            ),
            TokenError::Gone => Self::not_found("account"),
            TokenError::Refresh(error) => error.into(),
            TokenError::Vault(error) => error.into(),
        }
    }
}

/// An account with tokens that live at least `margin` longer. Renews them first if need be.
///
/// # Errors
/// See [`TokenError`].
pub async fn ready(app: &Arc<App>, tenant: TenantId, id: AccountId, margin: Duration) -> Result<Ready, TokenError> {
    let account = active(app, tenant, id).await?;
    let account = if ends_within(&account, app.env.now(), margin) {
        renew(app, account).await?
    } else {
        account
    };
    open(app, account).await
}

/// An account with tokens newer than `version`: for one second try after the platform refused that version.
///
/// # Errors
/// See [`TokenError`].
pub async fn ready_newer(app: &Arc<App>, tenant: TenantId, id: AccountId, version: i64) -> Result<Ready, TokenError> {
    let account = active(app, tenant, id).await?;
    let account = if account.token_version == version {
        renew(app, account).await?
    } else {
        account
    };
    open(app, account).await
}

/// The tokens of an account as they are, whatever its state: to end its grant.
///
/// # Errors
/// They do not open, or the store failed.
pub async fn open(app: &App, account: Account) -> Result<Ready, TokenError> {
    let sealed = account.tokens.as_ref().ok_or(TokenError::NotActive(account.status))?;
    let opened = app
        .vault
        .unseal(place(account.tenant, account.id, sealed.version), &sealed.envelope)
        .await?;
    let mut tokens: BTreeMap<String, Zeroizing<String>> =
        serde_json::from_slice::<BTreeMap<String, String>>(opened.expose())
            .map_err(|_| VaultError::Sealed)?
            .into_iter()
            .map(|(name, value)| (name, Zeroizing::new(value)))
            .collect();
    let server = match tokens.remove(SERVER) {
        Some(text) => Some(Url::parse(&text).map_err(|_| VaultError::Sealed)?),
        None => None,
    };
    let mut secrets = SecretBag::of_server(server.clone());
    let mut credentials = Credentials {
        server,
        ..Credentials::default()
    };
    for (name, value) in &tokens {
        secrets.insert(SecretRef::account(name), Secret::from(value.as_str()));
        credentials.secrets.insert(name.clone(), SecretRef::account(name));
    }
    let view = AccountView {
        id: account.id,
        remote_id: account.remote_id.clone(),
        scopes: account.scopes.clone(),
        credentials,
    };
    Ok(Ready { account, secrets, view })
}

/// Seals what a provider gave for an account, and plans the next renewal.
///
/// # Errors
/// A handle names nothing, or the vault failed.
pub async fn seal(
    app: &App,
    tenant: TenantId,
    id: AccountId,
    version: i64,
    credentials: &Credentials,
    secrets: &SecretBag,
) -> Result<TokenUpdate, VaultError> {
    let mut tokens = BTreeMap::new();
    for (name, handle) in &credentials.secrets {
        let value = secrets.get(handle).filter(|_| name != SERVER);
        let value = value.ok_or(VaultError::Sealed)?;
        tokens.insert(name.as_str(), value.expose().as_str());
    }
    let told = |token: &str| tokens.get(token).and_then(|token| jwt::life(token, app.env.now()));
    let (access_told, refresh_told) = (told("access_token"), told("refresh_token"));
    if let Some(server) = &credentials.server {
        tokens.insert(SERVER, server.as_str());
    }
    let plain = Zeroizing::new(serde_json::to_vec(&tokens).map_err(|_| VaultError::TooLong)?);
    let envelope = app.vault.seal(place(tenant, id, version), &plain).await?;
    let now = app.env.now();
    let CredentialLifetimes {
        access,
        refresh,
        refresh_not_before,
    } = credentials.lifetimes;
    let (access, refresh) = (access.or(access_told), refresh.or(refresh_told));
    Ok(TokenUpdate {
        tokens: SealedTokens { envelope, version },
        access_expires_at: access.and_then(|life| later(now, life)),
        refresh_expires_at: refresh.and_then(|life| later(now, life)),
        refresh_due_at: access.and_then(|life| {
            // At 60 % of the life, give or take 5 %, so that accounts connected together do not renew together.
            let share = 0.6 + (app.env.fraction() - 0.5) * 0.1;
            later(now, life.mul_f64(share).max(refresh_not_before.unwrap_or_default()))
        }),
    })
}

/// Stores what the journal holds and the database does not. At start, and from time to time.
///
/// # Errors
/// The journal cannot be read.
pub async fn replay_journal(app: &App) -> std::io::Result<usize> {
    let mut stored = 0;
    for record in app.journal.replay(app.env.now(), JOURNAL_KEEP).await? {
        let JournalRecord {
            tenant,
            account,
            update,
            ..
        } = record;
        let expected = update.tokens.version - 1;
        match app.store.swap_tokens(tenant, account, expected, &update).await {
            Ok(true) => {
                stored += 1;
                info!(account.id = %account, "Stored a renewed token from the journal");
            }
            // The database has this version or a newer one.
            Ok(false) => {}
            Err(error) => warn!(%error, account.id = %account, "A journalled token could not be stored yet"),
        }
    }
    Ok(stored)
}

async fn active(app: &App, tenant: TenantId, id: AccountId) -> Result<Account, TokenError> {
    let account = app.store.account(tenant, id).await?.ok_or(TokenError::Gone)?;
    match account.status {
        AccountStatus::Active => Ok(account),
        status @ (AccountStatus::Pending | AccountStatus::ReauthRequired | AccountStatus::Revoked) => {
            Err(TokenError::NotActive(status))
        }
    }
}

/// Renews the tokens of `account` once, however many ask, in this process and in others.
pub(crate) async fn renew(app: &Arc<App>, account: Account) -> Result<Account, TokenError> {
    let flight = app.flight(account.id);
    let _one_at_a_time = flight.lock().await;
    let (tenant, id, version) = (account.tenant, account.id, account.token_version);
    let patience = Instant::now() + PATIENCE;
    loop {
        match app
            .store
            .lease_refresh(tenant, id, version, &app.process, LEASE)
            .await?
        {
            RefreshLease::Granted(account) => {
                let app = app.clone();
                let guard = app.refresh_guard();
                // Detached: a caller that hangs up must not cost a token.
                let task = async move {
                    let _guard = guard;
                    spend(&app, *account, Instant::now()).await
                };
                return tokio::spawn(task.in_current_span()).await.unwrap_or_else(|panic| {
                    error!(account.id = %id, %panic, "A refresh ended without a verdict");
                    Err(transient("refresh_aborted"))
                });
            }
            RefreshLease::Moved => {
                let now = active(app, tenant, id).await?;
                return if now.token_version == version {
                    Err(transient("refresh_moved"))
                } else {
                    Ok(now)
                };
            }
            RefreshLease::Busy { .. } if Instant::now() < patience => {
                let wait = 100.0 + 200.0 * app.env.fraction();
                tokio::time::sleep(Duration::from_secs_f64(wait / 1000.0)).await;
                let now = active(app, tenant, id).await?;
                if now.token_version != version {
                    return Ok(now);
                }
            }
            RefreshLease::Busy { .. } => return Err(transient("refresh_busy")),
        }
    }
}

/// Uses the refresh token under a lease taken at `leased`.
async fn spend(app: &Arc<App>, account: Account, leased: Instant) -> Result<Account, TokenError> {
    let (tenant, id, version) = (account.tenant, account.id, account.token_version);
    let provider = account.provider.to_string();
    let count = |outcome: &'static str| {
        metrics::counter!("patchbay_token_refresh_total", "provider" => provider.clone(), "outcome" => outcome)
            .increment(1);
    };
    failpoint::hit("ref.leased");
    let outcome = call_refresh(app, account, leased).await;
    let update = match outcome {
        Ok(update) => update,
        Err(TokenError::Refresh(error)) if error.kind == ErrorKind::ReauthRequired => {
            count("reauth_required");
            let event = NewEvent {
                id: EventId::from_uuid(app.env.ids.next()),
                name: "account.reauth_required".to_owned(),
                dedupe_key: format!("{id}:reauth:{version}"),
                account: Some(id),
                post: None,
                payload: json!({ "code": error.code }),
            };
            let audit = By::worker(&format!("refresh-{id}-{version}"))
                .did(&app.env, AuditAction::AccountLocked, tenant)
                .to(&id)
                .saying(json!({ "code": error.code }));
            // Conditional on the version: a token that was stored meanwhile is good.
            let marked = app
                .store
                .require_reauth(tenant, id, version, &error.code, &event, &audit)
                .await?;
            let _ = app.store.release_refresh(tenant, id, &app.process).await;
            warn!(account.id = %id, code = %error.code, marked, "The platform ended this account's access");
            return Err(TokenError::Refresh(error));
        }
        Err(error) => {
            count("failed");
            warn!(account.id = %id, %error, "Tokens could not be renewed; trying again later");
            let _ = app.store.release_refresh(tenant, id, &app.process).await;
            return Err(error);
        }
    };
    let record = JournalRecord {
        tenant,
        account: id,
        at: app.env.now(),
        update,
    };
    if let Err(error) = app.journal.append(&record).await {
        error!(%error, account.id = %id, "The token journal cannot be written; storing without it");
    }
    failpoint::hit("ref.journaled");
    store_renewed(app, &record, version).await?;
    failpoint::answered("ref.stored")?;
    count("renewed");
    active(app, tenant, id).await
}

async fn call_refresh(app: &App, account: Account, leased: Instant) -> Result<TokenUpdate, TokenError> {
    // A component may be away for a while.
    let registered = app
        .registered(&account.provider)
        .map_err(|_| transient("provider_not_loaded"))?;
    let oauth = registered.provider.oauth().ok_or_else(|| {
        TokenError::Refresh(ProviderError::new(
            ErrorKind::Permanent,
            "no_oauth",
            "the provider does not connect",
        ))
    })?;
    let (tenant, id, version) = (account.tenant, account.id, account.token_version);
    let Ready { account, secrets, view } = open(app, account).await?;
    let correlation_id = format!("refresh-{id}-{version}");
    let outbound = Outbound::new(app, &registered, Some(&account), secrets, &correlation_id);
    let ctx = Ctx::new(&outbound, app.env.now(), &registered.app, Some(&view));
    // A process that was stopped in between must not spend a token that somebody else has renewed since.
    if leased.elapsed() > LEASE / 2 {
        return Err(transient("lease_too_old"));
    }
    let renewed = failpoint::under_way("ref.sent", oauth.refresh(&ctx)).await;
    failpoint::hit("ref.received");
    let (_, secrets) = outbound.finish();
    let mut credentials = renewed.map_err(TokenError::Refresh)?;
    // What the answer does not mention stays.
    credentials.server = credentials.server.or_else(|| view.credentials.server.clone());
    for (name, handle) in &view.credentials.secrets {
        credentials
            .secrets
            .entry(name.clone())
            .or_insert_with(|| handle.clone());
    }
    Ok(seal(app, tenant, id, version + 1, &credentials, &secrets).await?)
}

/// Stores a renewed token. It exists nowhere else but in the journal, so a failing store is asked again and again.
async fn store_renewed(app: &App, record: &JournalRecord, version: i64) -> Result<(), StoreError> {
    let mut wait = Duration::from_millis(50);
    loop {
        match app
            .store
            .swap_tokens(record.tenant, record.account, version, &record.update)
            .await
        {
            Ok(true) => return Ok(()),
            Ok(false) => {
                info!(account.id = %record.account, "Somebody else stored a newer token first");
                return Ok(());
            }
            Err(error) if wait > Duration::from_secs(10) => {
                error!(%error, account.id = %record.account, "A renewed token stays in the journal");
                return Err(error);
            }
            Err(error) => warn!(%error, account.id = %record.account, "A renewed token could not be stored yet"),
        }
        tokio::time::sleep(wait).await;
        wait *= 2;
    }
}

fn transient(code: &'static str) -> TokenError {
    TokenError::Refresh(ProviderError::new(
        ErrorKind::Retryable,
        code,
        "the tokens could not be renewed just now",
    ))
}

fn place(tenant: TenantId, id: AccountId, version: i64) -> Place {
    Place {
        tenant,
        table: "accounts",
        row: id.as_uuid(),
        column: "tokens",
        version,
    }
}

fn later(now: DateTime<Utc>, life: Duration) -> Option<DateTime<Utc>> {
    now.checked_add_signed(TimeDelta::from_std(life).ok()?)
}

fn ends_within(account: &Account, now: DateTime<Utc>, margin: Duration) -> bool {
    account
        .access_expires_at
        .is_some_and(|end| later(now, margin).is_none_or(|limit| end < limit))
}
