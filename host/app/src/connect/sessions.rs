//! Sessions: a tenant's backend makes one for an end user, sends the browser to its link, asks what came of it, and takes
//! the account with the code that the browser brings back. Until then the account cannot be used: a link that somebody
//! was talked into opening connects nothing.

use std::time::Duration;

use chrono::TimeDelta;
use patchbay_core::{AccountId, EventId, FieldIssue, ProviderId, SessionId, TenantId};
use serde_json::json;
use sha2::{Digest, Sha256};
use tracing::{info, warn};

use super::{FLOW_TTL, origins, random_token, refuse_pending, wanted_scopes};
use crate::{
    App,
    model::{Account, AccountStatus, AuditAction, By, JobKind, NewEvent, Session, SessionStatus},
    problem::{Problem, ProblemKind},
    secret::Secret,
    store::Completion,
};

/// How long a session's link works.
pub const SESSION_TTL: Duration = Duration::from_mins(15);
/// Longest owner id, in bytes.
const MAX_OWNER: usize = 128;

/// A wanted session.
pub struct WantedSession {
    /// For whom.
    pub tenant: TenantId,
    /// Platform.
    pub provider: ProviderId,
    /// The tenant's own id of the end user.
    pub owner: String,
    /// Scopes to ask for; empty: as the link or the manifest says.
    pub scopes: Vec<String>,
    /// The account to be connected again.
    pub account: Option<AccountId>,
    /// Where the browser goes afterwards.
    pub return_to: Option<String>,
    /// Origins that may be told; `None`: all that are registered.
    pub allowed_origins: Option<Vec<String>>,
    /// The account is usable at once.
    pub activate: bool,
}

/// Makes a session. Its token is told only here.
///
/// # Errors
/// A field is wrong; the account to be connected again is not this owner's.
pub async fn create(app: &App, wanted: WantedSession) -> Result<(Session, Secret<String>), Problem> {
    let registered = app.registered(&wanted.provider)?;
    let refused = |pointer: &'static str, code: &'static str, message: &str| {
        Problem::invalid(vec![FieldIssue::new(pointer, code, message.to_owned())])
    };
    check_owner(&wanted.owner)?;
    if !wanted.scopes.is_empty() {
        wanted_scopes(&registered, wanted.scopes.clone())?;
    }
    if let Some(id) = wanted.account {
        let account = app.store.account(wanted.tenant, id).await?;
        let account = account.filter(|account| account.provider == wanted.provider);
        let account = account.ok_or_else(|| Problem::not_found("account"))?;
        if account.owner != wanted.owner {
            let message = "This account is another end user's. Name its owner, or another account.";
            return Err(refused("/account_id", "other_owner", message));
        }
    }
    let origins = origins::of_session(app, wanted.tenant, wanted.allowed_origins).await?;
    if let Some(text) = &wanted.return_to {
        origins::checked_return(text, &origins).map_err(|message| refused("/return_to", "return_to", message))?;
    }
    let token = random_token(app);
    let session = Session {
        id: SessionId::from_uuid(app.env.ids.next()),
        tenant: wanted.tenant,
        owner: wanted.owner,
        provider: wanted.provider,
        token_hash: Sha256::digest(token.expose().as_bytes()).into(),
        scopes: wanted.scopes,
        account: wanted.account,
        return_to: wanted.return_to,
        origins,
        activate: wanted.activate,
        status: SessionStatus::Open,
        connected: Vec::new(),
        missing_scopes: Vec::new(),
        code: None,
        expires_at: app.store.now().await? + TimeDelta::from_std(SESSION_TTL).unwrap_or_default(),
    };
    app.store.create_session(&session).await?;
    Ok((session, token))
}

/// The session of a link that a browser has opened.
///
/// # Errors
/// There is none, it is too old, or it is of another platform.
pub async fn of_link(app: &App, provider: &ProviderId, token: &str) -> Result<Session, Problem> {
    let found = app.store.session(Sha256::digest(token.as_bytes()).into()).await?;
    found
        .filter(|session| session.provider == *provider)
        .ok_or_else(link_over)
}

/// Origin of the tenant's page that a session ends at, if it names one of its origins'.
#[must_use]
pub fn ends_at(session: &Session) -> Option<String> {
    let page = origins::checked_return(session.return_to.as_deref()?, &session.origins).ok()?;
    Some(page.origin().ascii_serialization())
}

/// A session of a tenant, and whether it ended without an outcome.
///
/// # Errors
/// The tenant has no such session at this platform.
pub async fn find(
    app: &App,
    tenant: TenantId,
    provider: &ProviderId,
    id: SessionId,
) -> Result<(Session, bool), Problem> {
    let found = app.store.session_by_id(tenant, id).await?;
    let session = found
        .filter(|session| session.provider == *provider)
        .ok_or_else(|| Problem::not_found("connect session"))?;
    let flow_life = TimeDelta::from_std(FLOW_TTL).unwrap_or_default();
    let mut expired = session.is_expired(app.store.now().await?, flow_life);
    if session.status == SessionStatus::Pending {
        // Without one there is nothing left to take.
        expired = !accounts(app, &session)
            .await?
            .iter()
            .any(|account| account.status == AccountStatus::Pending);
    }
    Ok((session, expired))
}

/// The accounts that came by a session, as far as they are there.
async fn accounts(app: &App, session: &Session) -> Result<Vec<Account>, Problem> {
    let mut found = Vec::new();
    for id in &session.connected {
        found.extend(app.store.account(session.tenant, *id).await?);
    }
    Ok(found)
}

/// Takes the accounts of a session with the code that the browser has brought, and tells the first. The same code again
/// gives the same answer.
///
/// # Errors
/// The tenant has no such session; the code is not its own, or too old; no account waits.
pub async fn complete(
    app: &App,
    by: &By,
    tenant: TenantId,
    provider: &ProviderId,
    id: SessionId,
    code: &str,
) -> Result<Account, Problem> {
    let (session, _) = find(app, tenant, provider, id).await?;
    let not_pending = || {
        let detail = "No account of this session waits to be taken. Look at the session; make a new one if it is over.";
        Problem::new(ProblemKind::SessionState, detail)
    };
    let mut taken = Vec::new();
    for account in accounts(app, &session).await? {
        let event = NewEvent {
            id: EventId::from_uuid(app.env.ids.next()),
            name: "account.connected".to_owned(),
            dedupe_key: format!("{}:connected:{id}", account.id),
            account: Some(account.id),
            post: None,
            payload: json!({ "scopes": account.scopes, "owner": account.owner }),
        };
        let audit = by
            .did(&app.env, AuditAction::AccountCompleted, tenant)
            .to(&account.id)
            .saying(json!({ "session": id }));
        taken.push((event, audit));
    }
    let code_hash = Sha256::digest(code.as_bytes()).into();
    match app.store.complete_session(tenant, id, code_hash, &taken).await? {
        Completion::Active { account, first } => {
            if first {
                info!(account.id = %account.id, session.id = %id, "Took an account");
            }
            Ok(*account)
        }
        Completion::Wrong => {
            let detail = "This is not the completion code of this session. Send the one that the browser brought back.";
            Err(Problem::new(ProblemKind::CompletionInvalid, detail))
        }
        Completion::Late => {
            let detail = "The completion code was good for 60 seconds. Make a new session, and connect again.";
            Err(Problem::new(ProblemKind::CompletionInvalid, detail))
        }
        Completion::NotPending => Err(not_pending()),
    }
}

/// Calls a session off. An account that waits is given up.
///
/// # Errors
/// The tenant has no such session, or it has an outcome.
pub async fn cancel(app: &App, by: &By, tenant: TenantId, provider: &ProviderId, id: SessionId) -> Result<(), Problem> {
    find(app, tenant, provider, id).await?;
    let session = app
        .store
        .end_session(tenant, id, SessionStatus::Cancelled, None)
        .await?;
    let session = session.ok_or_else(|| Problem::not_found("connect session"))?;
    if session.status != SessionStatus::Cancelled {
        let detail = "The session has ended already. Disconnect its account if you do not want it.";
        return Err(Problem::new(ProblemKind::SessionState, detail));
    }
    for account in accounts(app, &session).await? {
        if account.status == AccountStatus::Pending && refuse_pending(app, by, &account, "tenant").await? {
            app.store.wake_job(JobKind::Revoke, account.id.as_uuid()).await?;
        }
    }
    Ok(())
}

/// Notes that a connect came to nothing. If that fails too, the session ends by time.
pub(super) async fn refuse(app: &App, tenant: TenantId, id: SessionId, code: &str) {
    let ended = app
        .store
        .end_session(tenant, id, SessionStatus::Refused, Some(code))
        .await;
    if let Err(error) = ended {
        warn!(%error, session.id = %id, "The end of a connect session could not be noted");
    }
}

pub(super) fn link_over() -> Problem {
    Problem::new(
        ProblemKind::FlowInvalid,
        "The connect link is unknown, too old, or was opened in another browser. Ask for a new one.",
    )
}

/// Refuses what is no tenant's id of an end user, where a request names one at `/owner`.
///
/// # Errors
/// It is empty, too long, or holds control characters.
pub fn check_owner(owner: &str) -> Result<(), Problem> {
    if owner.is_empty() || owner.len() > MAX_OWNER || owner.chars().any(char::is_control) {
        let message = "Give your id of the end user: 1 to 128 bytes, without control characters.";
        return Err(Problem::invalid(vec![FieldIssue::new("/owner", "owner", message)]));
    }
    Ok(())
}
