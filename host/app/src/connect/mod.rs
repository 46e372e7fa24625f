//! Connecting an account: start, the platform's page, callback, done. What a tenant does with its sessions is in
//! `sessions`, where browsers may go back to in `origins`, how a grant ends in `end`.

mod end;
pub mod origins;
pub mod sessions;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::TimeDelta;
use patchbay_core::{
    AccountId, Authorize, AuthorizeRequest, Callback, Credentials, Ctx, ErrorKind, EventId, FieldIssue, FlowId,
    FormField, Grant, Identity, JobId, PkceChallenge, ProviderError, ProviderId, SecretRef, SessionId, TenantId,
};
use serde::{Deserialize, Serialize};
use serde_json::json;
use sha2::{Digest, Sha256};
use tracing::{info, warn};
use url::Url;
use zeroize::Zeroizing;

pub use self::end::disconnect;
pub(crate) use self::end::{refuse_pending, revoke_at_platform};
use crate::{
    App, failpoint,
    model::{
        Account, AccountStatus, Actor, AuditAction, By, Flow, JobKind, NewAccount, NewEvent, NewJob, Session,
        SessionGrant, SessionStatus,
    },
    outbound::{Outbound, SecretBag},
    problem::{Problem, ProblemKind},
    registry::Registered,
    secret::Secret,
    store::{NewGrant, StoreError},
    tokens,
    vault::Place,
};

/// How long a connect attempt may take.
pub const FLOW_TTL: Duration = Duration::from_mins(10);
/// How long an account waits until its tenant takes it. Then its grant is ended at the platform.
pub const PENDING_LIFE: TimeDelta = TimeDelta::minutes(15);
/// How long a completion code is good.
pub const CODE_LIFE: TimeDelta = TimeDelta::seconds(60);
/// Longest value of a field of a form, in bytes.
const MAX_FIELD: usize = 512;

/// A connect to be started.
pub struct StartConnect {
    /// For whom.
    pub tenant: TenantId,
    /// The tenant's own id of the end user.
    pub owner: String,
    /// Platform.
    pub provider: ProviderId,
    /// Scopes to ask for; empty: the manifest's defaults.
    pub scopes: Vec<String>,
    /// Page of this host to land on, unless the session has another.
    pub return_to: String,
    /// The account is usable at once; otherwise it waits for the tenant.
    pub activate: bool,
    /// The session whose link was opened; `None`: the caller itself connects.
    pub session: Option<SessionId>,
    /// The cookie of an earlier flow that the browser brings.
    pub browser: Option<String>,
}

/// A started connect.
pub struct Started {
    /// What the browser does next.
    pub next: Next,
    /// Value of the cookie that the browser must bring back.
    pub cookie: Secret<String>,
}

/// What the browser of a started connect does next.
pub enum Next {
    /// Goes to the platform's page.
    Visit(Url),
    /// Shows a form of these fields, and sends it back with `state`.
    Fill {
        /// The fields.
        fields: Vec<FormField>,
        /// Names the flow.
        state: Secret<String>,
    },
}

/// How a browser comes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Came {
    /// Sent by the platform, with everything in the address.
    Sent,
    /// By a form of ours. What people type never stands in an address.
    Filled,
}

/// An ended connect.
pub struct Finished {
    /// The account.
    pub account: Account,
    /// Scopes that were asked for and not granted.
    pub missing_scopes: Vec<String>,
    /// The session that it came by, with the code under which the tenant takes the account.
    pub session: Option<(SessionId, Secret<String>)>,
    /// Where the browser goes.
    pub landing: Landing,
}

/// Where a browser goes when its connect has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Landing {
    /// To a page of this host, which keeps what it is told.
    Own(String),
    /// To a page of the tenant.
    Tenant(Url),
    /// To a page of this host that tells the window that opened it, if that is of one of these origins.
    Opener(Vec<String>),
    /// To a page of this host, and nobody is told: where the tenant's page should be, something else stands.
    Nobody(String),
}

/// A connect that ended without an account, after its flow was found: the browser still has a page to land on.
#[derive(Debug)]
pub struct Refused {
    /// Where the browser goes.
    pub landing: Option<Landing>,
    /// The session that it came by.
    pub session: Option<SessionId>,
    /// A stable word for the page: `cancelled`, `failed`, …
    pub outcome: &'static str,
    /// The problem.
    pub problem: Problem,
}

#[derive(Serialize, Deserialize)]
struct SealedFlow {
    verifier: String,
    pending: serde_json::Value,
    /// The fields that were asked for; `None`: the platform's page was shown.
    #[serde(default)]
    form: Option<Vec<FormField>>,
}

/// Starts a connect.
///
/// # Errors
/// The provider is unknown or does not connect, a scope is unknown, or the store failed.
pub async fn start(app: &App, request: StartConnect) -> Result<Started, Problem> {
    let registered = app.registered(&request.provider)?;
    let oauth = registered
        .provider
        .oauth()
        .ok_or_else(|| Problem::new(ProblemKind::NotFound, "This provider does not connect accounts."))?;
    let scopes = wanted_scopes(&registered, request.scopes)?;
    let state = random_token(app);
    let cookie = random_token(app);
    let verifier = random_token(app);
    let authorize = AuthorizeRequest {
        redirect_uri: registered.redirect_uri.clone(),
        state: state.expose().clone(),
        scopes: scopes.clone(),
        pkce: PkceChallenge {
            digest: Sha256::digest(verifier.expose().as_bytes()).into(),
        },
        force_consent: false,
    };
    let id = FlowId::from_uuid(app.env.ids.next());
    let correlation_id = format!("connect-{id}");
    let outbound = Outbound::new(app, &registered, None, SecretBag::default(), &correlation_id);
    let ctx = Ctx::new(&outbound, app.env.now(), &registered.app, None);
    let (next, form, pending) = match oauth.authorize(&ctx, &authorize).await? {
        Authorize::Redirect { url, pending } => (
            Next::Visit(app.wire.browser_url(&request.provider, &url)),
            None,
            pending,
        ),
        Authorize::Form { fields, pending } => {
            let state = state.clone();
            let form = Some(fields.clone());
            (Next::Fill { fields, state }, form, pending)
        }
    };
    let sealed = SealedFlow {
        verifier: verifier.expose().clone(),
        pending,
        form,
    };
    let plain =
        Zeroizing::new(serde_json::to_vec(&sealed).map_err(|error| {
            Problem::new(ProblemKind::Internal, "Tell the operator the request id.").because(error)
        })?);
    let flow = Flow {
        id,
        tenant: request.tenant,
        owner: request.owner,
        provider: request.provider.clone(),
        state_hash: Sha256::digest(state.expose().as_bytes()).into(),
        cookie_hash: Sha256::digest(cookie.expose().as_bytes()).into(),
        sealed: app.vault.seal(flow_place(request.tenant, id), &plain).await?,
        scopes,
        redirect_uri: registered.redirect_uri.to_string(),
        return_to: request.return_to,
        activate: request.activate,
        session: request.session,
        expires_at: app.store.now().await? + TimeDelta::from_std(FLOW_TTL).expect("ten minutes are a time delta"),
    };
    let browser = request.browser.map(|cookie| Sha256::digest(cookie.as_bytes()).into());
    if !app.store.start_flow(&flow, browser).await? {
        return Err(sessions::link_over());
    }
    Ok(Started { next, cookie })
}

/// Ends a connect with the query that the platform sent the browser back with, or with the fields of a form.
///
/// # Errors
/// The flow is unknown, used, expired or another browser's; the person refused; or the platform did.
pub async fn finish(
    app: &Arc<App>,
    provider: &ProviderId,
    mut query: BTreeMap<String, String>,
    came: Came,
    cookie: Option<&str>,
) -> Result<Finished, Refused> {
    let over = || Refused {
        landing: None,
        session: None,
        outcome: "expired",
        problem: Problem::new(
            ProblemKind::FlowInvalid,
            "It was used, is older than ten minutes, or began in another browser. Start the connect again.",
        ),
    };
    let early = |problem: Problem| Refused {
        landing: None,
        session: None,
        outcome: "failed",
        problem,
    };
    let registered = app.registered(provider).map_err(early)?;
    let state = query.remove("state").ok_or_else(over)?;
    // Taken before anything else is looked at: a callback is used up whatever it holds.
    let flow = app
        .store
        .take_flow(Sha256::digest(state.as_bytes()).into())
        .await
        .map_err(|e| early(e.into()))?;
    let flow = flow.ok_or_else(over)?;
    failpoint::hit("oa.consumed");
    let cookie_hash: [u8; 32] = Sha256::digest(cookie.unwrap_or_default().as_bytes()).into();
    if flow.provider != *provider || !bool::from(subtle::ConstantTimeEq::ct_eq(&cookie_hash[..], &flow.cookie_hash[..]))
    {
        return Err(over());
    }
    // Another server's answer (RFC 9207): its code goes nowhere.
    if came == Came::Sent && query.get("iss").is_some_and(|issuer| !is_issuer(&registered, issuer)) {
        return Err(over());
    }
    let session = match flow.session {
        None => None,
        Some(id) => {
            let found = app.store.session_by_id(flow.tenant, id).await;
            let found = found.map_err(|error| early(error.into()))?;
            // It was called off while the browser was away.
            let started = found.filter(|session| session.status == SessionStatus::Started);
            Some(started.ok_or_else(over)?)
        }
    };
    let landing = origins::landing(app, &flow, session.as_ref()).await.map_err(early)?;
    let session_id = flow.session;
    let count = |outcome: &'static str| {
        metrics::counter!("patchbay_oauth_total", "provider" => provider.to_string(), "outcome" => outcome)
            .increment(1);
    };
    match complete(app, &registered, &flow, session.as_ref(), query, came).await {
        Ok(granted) => {
            count("connected");
            let status = granted.account.status;
            info!(account.id = %granted.account.id, provider = %provider, %status, "Connected an account");
            Ok(Finished {
                account: granted.account,
                missing_scopes: granted.missing_scopes,
                session: session_id.zip(granted.code),
                landing,
            })
        }
        Err((outcome, problem)) => {
            count(outcome);
            if let Some(id) = session_id {
                sessions::refuse(app, flow.tenant, id, problem.kind.code()).await;
            }
            Err(Refused {
                landing: Some(landing),
                session: session_id,
                outcome,
                problem,
            })
        }
    }
}

/// A stored grant.
struct Granted {
    account: Account,
    missing_scopes: Vec<String>,
    code: Option<Secret<String>>,
}

async fn complete(
    app: &Arc<App>,
    registered: &Registered,
    flow: &Flow,
    session: Option<&Session>,
    mut query: BTreeMap<String, String>,
    came: Came,
) -> Result<Granted, (&'static str, Problem)> {
    let failed = |problem: Problem| ("failed", problem);
    let opened = app
        .vault
        .unseal(flow_place(flow.tenant, flow.id), &flow.sealed)
        .await
        .map_err(|e| failed(e.into()))?;
    let sealed: SealedFlow = serde_json::from_slice(opened.expose())
        .map_err(|error| failed(Problem::new(ProblemKind::Internal, "Connect again.").because(error)))?;
    let mut secrets = SecretBag::default();
    match (&sealed.form, came) {
        (None, Came::Sent) => {
            if let Some(error) = query.get("error") {
                return Err(refusal(error));
            }
            let code = query.remove("code").filter(|code| !code.is_empty()).ok_or_else(|| {
                failed(Problem::new(
                    ProblemKind::BadRequest,
                    "The platform sent neither a code nor an error. Connect again.",
                ))
            })?;
            secrets.insert(SecretRef::call("code"), code.into());
        }
        (Some(fields), Came::Filled) => query = read_form(fields, query, &mut secrets).map_err(failed)?,
        _ => {
            return Err(failed(Problem::new(
                ProblemKind::BadRequest,
                "This connect goes on in another way. Connect again.",
            )));
        }
    }
    let callback = Callback {
        params: query,
        code: SecretRef::call("code"),
        pkce_verifier: SecretRef::call("pkce_verifier"),
        redirect_uri: Url::parse(&flow.redirect_uri)
            .map_err(|error| failed(Problem::new(ProblemKind::Internal, "Connect again.").because(error)))?,
        pending: sealed.pending,
    };
    secrets.insert(callback.pkce_verifier.clone(), sealed.verifier.into());
    let correlation_id = format!("connect-{}", flow.id);
    let outbound = Outbound::new(app, registered, None, secrets, &correlation_id);
    let ctx = Ctx::new(&outbound, app.env.now(), &registered.app, None);
    let oauth = registered
        .provider
        .oauth()
        .ok_or_else(|| failed(Problem::not_found("provider")))?;
    let granted = oauth.exchange(&ctx, &callback).await;
    failpoint::hit("oa.exchanged");
    let (_, secrets) = outbound.finish();
    let Grant { credentials, identities, scopes } = granted.map_err(|error| {
        warn!(provider = %registered.id(), code = %error.code, kind = error.kind.as_str(), "A connect failed at the platform");
        // At this point "reconnect" and "try again" are the same advice.
        let kind = match error.kind {
            ErrorKind::Retryable | ErrorKind::RateLimited => error.kind,
            _ => ErrorKind::InvalidRequest,
        };
        failed(ProviderError { kind, ..error }.into())
    })?;
    let Ok([identity]) = <[Identity; 1]>::try_from(identities) else {
        return Err(failed(Problem::new(
            ProblemKind::Invalid,
            "Choosing among several accounts has no page yet.",
        )));
    };
    let missing_scopes: Vec<_> = flow
        .scopes
        .iter()
        .filter(|asked| !scopes.contains(asked))
        .cloned()
        .collect();
    let account = new_account(app, registered, flow, identity, scopes);
    let code = session.map(|_| random_token(app));
    let of_session = match session.zip(code.as_ref()) {
        Some((session, code)) => Some((
            session,
            of_code(app, session, code, &missing_scopes).await.map_err(failed)?,
        )),
        None => None,
    };
    let account = store_grant(app, flow, of_session, account, &missing_scopes, &credentials, &secrets)
        .await
        .map_err(failed)?;
    Ok(Granted {
        account,
        missing_scopes,
        code,
    })
}

/// The plain values of a form; secret ones go into the bag. A field that nobody asked for is none of it.
fn read_form(
    fields: &[FormField],
    mut given: BTreeMap<String, String>,
    secrets: &mut SecretBag,
) -> Result<BTreeMap<String, String>, Problem> {
    let mut plain = BTreeMap::new();
    let mut issues = Vec::new();
    for field in fields {
        let value = Secret::new(given.remove(&*field.name).unwrap_or_default());
        let text = value.expose();
        let mut issue = |code: &'static str, message: String| {
            issues.push(FieldIssue::new(format!("/{}", field.name), code, message));
        };
        if text.len() > MAX_FIELD {
            issue("too_long", format!("Give at most {MAX_FIELD} bytes."));
        } else if text.chars().any(char::is_control) {
            issue("control_character", "Remove the control characters.".to_owned());
        } else if text.is_empty() && field.required {
            issue("required", "This field must be filled in.".to_owned());
        } else if text.is_empty() {
        } else if field.secret {
            secrets.insert(SecretRef::call(&field.name), value);
        } else {
            plain.insert(field.name.to_string(), text.clone());
        }
    }
    if issues.is_empty() {
        Ok(plain)
    } else {
        Err(Problem::invalid(issues))
    }
}

/// What a grant makes of its session, if the account is usable at once.
async fn of_code(
    app: &App,
    session: &Session,
    code: &Secret<String>,
    missing_scopes: &[String],
) -> Result<SessionGrant, Problem> {
    Ok(SessionGrant {
        id: session.id,
        status: SessionStatus::Completed,
        missing_scopes: missing_scopes.to_vec(),
        code_hash: Sha256::digest(code.expose().as_bytes()).into(),
        code_until: app.store.now().await? + CODE_LIFE,
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

/// Stores a grant where it belongs. One of a session waits until the tenant takes it, unless it may be used at once.
async fn store_grant(
    app: &App,
    flow: &Flow,
    mut session: Option<(&Session, SessionGrant)>,
    mut account: NewAccount,
    missing_scopes: &[String],
    credentials: &Credentials,
    secrets: &SecretBag,
) -> Result<Account, Problem> {
    let by = By {
        actor: Actor::Owner,
        request_id: format!("connect-{}", flow.id),
    };
    let audit = by
        .did(&app.env, AuditAction::AccountConnected, flow.tenant)
        .saying(json!({ "provider": account.provider, "scopes": account.scopes }));
    // Tokens are sealed for one id and version, so the place comes first. Somebody may take it meanwhile.
    for _ in 0..5 {
        let place = app.store.place_grant(&account).await?;
        // What the tenant has taken for this person before needs no second word.
        let active = flow.activate || place.accepted;
        account.status = if active {
            AccountStatus::Active
        } else {
            AccountStatus::Pending
        };
        if let Some((session, grant)) = &mut session {
            if session.account.is_some_and(|wanted| wanted != place.id) {
                return Err(another_account());
            }
            grant.status = if active {
                SessionStatus::Completed
            } else {
                SessionStatus::Pending
            };
        }
        let tokens = tokens::seal(app, flow.tenant, place.id, place.next_version, credentials, secrets).await?;
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
        let revoke = match active {
            true => None,
            false => Some(job(JobKind::Revoke, Some(app.store.now().await? + PENDING_LIFE))),
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
        let name = if active { "account.connected" } else { "account.pending" };
        let mut events = vec![event(name, "connected", granted)];
        if !missing_scopes.is_empty() {
            let missing = json!({ "missing_scopes": missing_scopes, "owner": account.owner });
            events.push(event("account.missing_scopes", "missing", missing));
        }
        let grant = NewGrant {
            account: &account,
            tokens: &tokens,
            refresh: &refresh,
            revoke: revoke.as_ref(),
            session: session.as_ref().map(|(_, grant)| grant),
            events: &events,
            audit: &audit,
        };
        match app.store.finish_connect(place, grant).await {
            Ok(account) => {
                failpoint::hit("oa.stored");
                app.wake(&[JobKind::Publish, JobKind::Deliver]);
                return Ok(account);
            }
            Err(StoreError::Stale) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(StoreError::Stale.into())
}

fn another_account() -> Problem {
    Problem::new(
        ProblemKind::AccountMismatch,
        "This is another account at the platform than the one to be connected again. Sign in there with that one, and \
         connect again.",
    )
}

fn wanted_scopes(registered: &Registered, asked: Vec<String>) -> Result<Vec<String>, Problem> {
    let manifest = registered.manifest();
    if asked.is_empty() {
        return Ok(manifest.default_scopes().map(str::to_owned).collect());
    }
    match asked
        .iter()
        .find(|scope| !manifest.scopes.iter().any(|known| known.name == **scope))
    {
        None => Ok(asked),
        Some(_) => {
            let known: Vec<_> = manifest.scopes.iter().map(|scope| scope.name).collect();
            Err(Problem::new(
                ProblemKind::Invalid,
                format!("A scope is not known. Known: {}.", known.join(", ")),
            ))
        }
    }
}

/// Whether an issuer is where the manifest sends browsers to.
fn is_issuer(registered: &Registered, issuer: &str) -> bool {
    let Ok(url) = Url::parse(issuer) else { return false };
    let host = url.host_str().unwrap_or_default();
    url.scheme() == "https" && registered.manifest().browser_hosts.contains(&host)
}

/// RFC 6749 section 4.1.2.1, in fixed words: the platform's own text goes nowhere.
fn refusal(error: &str) -> (&'static str, Problem) {
    match error {
        "access_denied" => (
            "cancelled",
            Problem::new(
                ProblemKind::RejectedByProvider,
                "The connect was cancelled at the platform. Start it again.",
            ),
        ),
        "server_error" | "temporarily_unavailable" => (
            "failed",
            Problem::new(
                ProblemKind::ProviderUnavailable,
                "The platform had a passing fault. Connect again later.",
            ),
        ),
        _ => (
            "failed",
            Problem::new(
                ProblemKind::RejectedByProvider,
                "The platform refused this app. The operator should check its registration there.",
            ),
        ),
    }
}

/// 256 bits as 43 URL-safe characters; also a PKCE verifier (RFC 7636 section 4.1).
fn random_token(app: &App) -> Secret<String> {
    Secret::new(URL_SAFE_NO_PAD.encode(app.env.random::<32>()))
}

fn flow_place(tenant: TenantId, id: FlowId) -> Place {
    Place {
        tenant,
        table: "flows",
        row: id.as_uuid(),
        column: "sealed",
        version: 0,
    }
}
