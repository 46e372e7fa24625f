//! What a platform has granted becomes accounts: tokens sealed, and stored with all that goes with them, or none of it.

use patchbay_core::{AccountId, Credentials, EventId, Identity, JobId};
use serde_json::json;

use super::{Back, CODE_LIFE, PENDING_LIFE, digest, random_token};
use crate::{
    App, failpoint,
    model::{
        Account, AccountStatus, Actor, AuditAction, By, Flow, JobKind, NewAccount, NewAudit, NewEvent, NewJob,
        SessionGrant, SessionStatus, TokenUpdate,
    },
    outbound::SecretBag,
    problem::{Problem, ProblemKind},
    registry::Registered,
    secret::Secret,
    store::{Connected, NewGrant, StoreError},
    tokens,
};

/// A stored grant.
pub(super) struct Granted {
    pub(super) accounts: Vec<Account>,
    pub(super) missing_scopes: Vec<String>,
    pub(super) code: Option<Secret<String>>,
}

/// What the platform has granted, for as many of its accounts as are wanted.
pub(super) struct Given {
    pub(super) identities: Vec<Identity>,
    pub(super) scopes: Vec<String>,
    pub(super) credentials: Credentials,
    pub(super) secrets: SecretBag,
    /// They were chosen among several.
    pub(super) chosen: bool,
}

/// Stores what was given, and makes the code under which the tenant of a session takes it.
pub(super) async fn store(app: &App, back: &Back, given: Given) -> Result<Granted, Problem> {
    let Back {
        registered,
        flow,
        session,
        ..
    } = back;
    let missing_scopes: Vec<_> = flow
        .scopes
        .iter()
        .filter(|asked| !given.scopes.contains(asked))
        .cloned()
        .collect();
    let code = session.as_ref().map(|_| random_token(app));
    let grant = match session.as_ref().zip(code.as_ref()) {
        Some((session, code)) => Some(SessionGrant {
            id: session.id,
            status: SessionStatus::Completed,
            missing_scopes: missing_scopes.clone(),
            code_hash: digest(code.expose()),
            code_until: app.store.now().await? + CODE_LIFE,
        }),
        None => None,
    };
    let accounts = given
        .identities
        .iter()
        .map(|identity| new_account(app, registered, flow, identity.clone(), given.scopes.clone()))
        .collect();
    let wanted = session.as_ref().and_then(|session| session.account);
    let accounts = store_grants(app, flow, wanted, grant, accounts, &missing_scopes, &given).await?;
    Ok(Granted {
        accounts,
        missing_scopes,
        code,
    })
}

fn new_account(app: &App, registered: &Registered, flow: &Flow, identity: Identity, scopes: Vec<String>) -> NewAccount {
    NewAccount {
        id: AccountId::from_uuid(app.env.ids.next()),
        tenant: flow.tenant,
        owner: flow.owner.clone(),
        provider: flow.provider.clone(),
        client_id: registered.app.client_id.clone(),
        remote_id: identity.remote_id,
        display_name: identity.display_name,
        username: identity.username,
        avatar_url: identity.avatar_url,
        profile_url: identity.profile_url,
        scopes,
        status: AccountStatus::Pending,
        simulated: registered.simulated,
        connected_at: app.env.now(),
    }
}

/// What is stored beside one account of a grant.
struct Beside {
    place: Connected,
    tokens: TokenUpdate,
    refresh: NewJob,
    revoke: Option<NewJob>,
    events: Vec<NewEvent>,
    audit: NewAudit,
}

/// Stores grants where they belong, all or none. Those of a session wait until the tenant takes them, unless they may be
/// used at once. `wanted`: the account to be connected again.
async fn store_grants(
    app: &App,
    flow: &Flow,
    wanted: Option<AccountId>,
    mut session: Option<SessionGrant>,
    mut accounts: Vec<NewAccount>,
    missing_scopes: &[String],
    given: &Given,
) -> Result<Vec<Account>, Problem> {
    // Tokens are sealed for one id and version, so the places come first. Somebody may take them meanwhile.
    for _ in 0..5 {
        let mut beside = Vec::with_capacity(accounts.len());
        for account in &mut accounts {
            let place = app.store.place_grant(account).await?;
            if wanted.is_some_and(|wanted| wanted != place.id) {
                return Err(another_account());
            }
            // What the tenant has taken for this person before needs no second word.
            account.status = if flow.activate || place.accepted {
                AccountStatus::Active
            } else {
                AccountStatus::Pending
            };
            beside.push(beside_of(app, flow, account, place, missing_scopes, given).await?);
        }
        if let Some(session) = &mut session {
            let waits = accounts.iter().any(|account| account.status == AccountStatus::Pending);
            session.status = if waits {
                SessionStatus::Pending
            } else {
                SessionStatus::Completed
            };
        }
        let grants: Vec<_> = accounts
            .iter()
            .zip(&beside)
            .map(|(account, beside)| {
                let grant = NewGrant {
                    account,
                    tokens: &beside.tokens,
                    refresh: &beside.refresh,
                    revoke: beside.revoke.as_ref(),
                    together: given.chosen.then_some(flow.id),
                    events: &beside.events,
                    audit: &beside.audit,
                };
                (beside.place, grant)
            })
            .collect();
        match app.store.finish_connect(&grants, session.as_ref()).await {
            Ok(accounts) => {
                failpoint::hit("oa.stored");
                return Ok(accounts);
            }
            Err(StoreError::Stale) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(StoreError::Stale.into())
}

async fn beside_of(
    app: &App,
    flow: &Flow,
    account: &NewAccount,
    place: Connected,
    missing_scopes: &[String],
    given: &Given,
) -> Result<Beside, Problem> {
    let credentials = given.credentials.of_identity(&account.remote_id);
    let tokens = tokens::seal(
        app,
        flow.tenant,
        place.id,
        place.next_version,
        &credentials,
        &given.secrets,
    )
    .await?;
    let job = |kind, run_at| NewJob {
        id: JobId::from_uuid(app.env.ids.next()),
        tenant: flow.tenant,
        kind,
        target: place.id.as_uuid(),
        concurrency_key: None,
        run_at,
        correlation_id: format!("connect-{}", flow.id),
    };
    let refresh = job(JobKind::Refresh, tokens.refresh_due_at);
    let waits = account.status == AccountStatus::Pending;
    let revoke = match waits {
        false => None,
        true => Some(job(JobKind::Revoke, Some(app.store.now().await? + PENDING_LIFE))),
    };
    let event = |name: &str, of: &str, payload| NewEvent {
        id: EventId::from_uuid(app.env.ids.next()),
        name: name.to_owned(),
        dedupe_key: format!("{}:{of}:{}", place.id, flow.id),
        account: Some(place.id),
        post: None,
        payload,
    };
    let granted = json!({ "scopes": account.scopes, "owner": account.owner });
    let name = if waits { "account.pending" } else { "account.connected" };
    let mut events = vec![event(name, "connected", granted)];
    if !missing_scopes.is_empty() {
        let missing = json!({ "missing_scopes": missing_scopes, "owner": account.owner });
        events.push(event("account.missing_scopes", "missing", missing));
    }
    let by = By {
        actor: Actor::Owner,
        request_id: format!("connect-{}", flow.id),
    };
    let audit = by
        .did(&app.env, AuditAction::AccountConnected, flow.tenant)
        .saying(json!({ "provider": account.provider, "scopes": account.scopes }));
    Ok(Beside {
        place,
        tokens,
        refresh,
        revoke,
        events,
        audit,
    })
}

pub(super) fn another_account() -> Problem {
    Problem::new(
        ProblemKind::AccountMismatch,
        "This is another account at the platform than the one to be connected again. Sign in there with that one, and \
         connect again.",
    )
}
