//! Connecting an account: start, the platform's page, callback, done. Where the platform tells several accounts, the person
//! chooses in between: `choices`. What a tenant does with its sessions is in `sessions`, where browsers may go back to in
//! `origins`, how a grant is stored in
//! `grant`, and how it ends in `end`.

pub mod choices;
mod end;
mod grant;
pub mod origins;
pub mod sessions;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::TimeDelta;
use patchbay_core::{
    Authorize, AuthorizeRequest, Callback, Ctx, ErrorKind, FieldIssue, FlowId, FormField, Grant, PkceChallenge,
    ProviderError, ProviderId, SecretRef, SessionId, TenantId,
};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tracing::{info, warn};
use url::Url;
use zeroize::Zeroizing;

pub use self::end::disconnect;
pub(crate) use self::end::{Revoked, refuse_pending, revoke_at_platform};
use self::grant::{Given, Granted};
use crate::{
    App, failpoint,
    model::{Account, Flow, Session, SessionStatus},
    outbound::{Outbound, SecretBag},
    problem::{Problem, ProblemKind},
    registry::Registered,
    secret::Secret,
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

/// How a connect goes on when the browser has come back.
pub enum Returned {
    /// It has ended.
    Connected(Finished),
    /// The person chooses among several accounts, on a page of this host. The handle names the choice.
    Choosing(Secret<String>),
}

/// An ended connect.
pub struct Finished {
    /// The account; several where the person has chosen them.
    pub accounts: Vec<Account>,
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
        state_hash: digest(state.expose()),
        cookie_hash: digest(cookie.expose()),
        sealed: app.vault.seal(flow_place(request.tenant, id), &plain).await?,
        identities: None,
        scopes,
        redirect_uri: registered.redirect_uri.to_string(),
        return_to: request.return_to,
        activate: request.activate,
        session: request.session,
        expires_at: app.store.now().await? + TimeDelta::from_std(FLOW_TTL).expect("ten minutes are a time delta"),
    };
    let browser = request.browser.map(|cookie| digest(&cookie));
    if !app.store.start_flow(&flow, browser).await? {
        return Err(sessions::link_over());
    }
    Ok(Started { next, cookie })
}

/// Goes on with a connect by the query that the platform sent the browser back with, or by the fields of a form.
///
/// # Errors
/// The flow is unknown, used, expired or another browser's; the person refused; or the platform did.
pub async fn finish(
    app: &Arc<App>,
    provider: &ProviderId,
    mut query: BTreeMap<String, String>,
    came: Came,
    cookie: Option<&str>,
) -> Result<Returned, Refused> {
    let registered = app.registered(provider).map_err(Refused::early)?;
    let state = query.remove("state").ok_or_else(Refused::over)?;
    // Taken before anything else is looked at: a callback is used up whatever it holds.
    let flow = app.store.take_flow(digest(&state)).await.map_err(Refused::early)?;
    let flow = flow
        .filter(|flow| flow.identities.is_none())
        .ok_or_else(Refused::over)?;
    failpoint::hit("oa.consumed");
    // Another server's answer (RFC 9207): its code goes nowhere.
    if came == Came::Sent && query.get("iss").is_some_and(|issuer| !is_issuer(&registered, issuer)) {
        return Err(Refused::over());
    }
    let back = Back::of(app, registered, flow, cookie).await?;
    match complete(app, &back, query, came).await {
        Ok(Exchanged::Stored(granted)) => Ok(Returned::Connected(back.connected(granted))),
        Ok(Exchanged::Several(handle)) => Ok(Returned::Choosing(handle)),
        Err(why) => Err(back.refused(app, why).await),
    }
}

impl Refused {
    /// There is no such flow, or it is not this browser's.
    fn over() -> Self {
        Self {
            landing: None,
            session: None,
            outcome: "expired",
            problem: Problem::new(
                ProblemKind::FlowInvalid,
                "It was used, is older than ten minutes, or began in another browser. Start the connect again.",
            ),
        }
    }

    /// Before it is known where the browser may go.
    fn early(problem: impl Into<Problem>) -> Self {
        Self {
            landing: None,
            session: None,
            outcome: "failed",
            problem: problem.into(),
        }
    }
}

/// A flow that its own browser has come back to.
struct Back {
    registered: Arc<Registered>,
    flow: Flow,
    session: Option<Session>,
    landing: Landing,
}

impl Back {
    /// Checks that it is the flow of this browser, and that nobody has called it off.
    async fn of(app: &App, registered: Arc<Registered>, flow: Flow, cookie: Option<&str>) -> Result<Self, Refused> {
        if flow.provider != *registered.id() || !is_of_browser(&flow, cookie) {
            return Err(Refused::over());
        }
        let session = match flow.session {
            None => None,
            Some(id) => {
                let found = app.store.session_by_id(flow.tenant, id).await;
                // It was called off while the browser was away.
                let started = found
                    .map_err(Refused::early)?
                    .filter(|session| session.status == SessionStatus::Started);
                Some(started.ok_or_else(Refused::over)?)
            }
        };
        let landing = origins::landing(app, &flow, session.as_ref())
            .await
            .map_err(Refused::early)?;
        Ok(Self {
            registered,
            flow,
            session,
            landing,
        })
    }

    fn connected(self, granted: Granted) -> Finished {
        self.count("connected");
        for account in &granted.accounts {
            let status = account.status;
            info!(account.id = %account.id, provider = %account.provider, %status, "Connected an account");
        }
        Finished {
            accounts: granted.accounts,
            missing_scopes: granted.missing_scopes,
            session: self.flow.session.zip(granted.code),
            landing: self.landing,
        }
    }

    async fn refused(self, app: &App, (outcome, problem): (&'static str, Problem)) -> Refused {
        self.count(outcome);
        if let Some(id) = self.flow.session {
            sessions::refuse(app, self.flow.tenant, id, problem.kind.code()).await;
        }
        Refused {
            landing: Some(self.landing),
            session: self.flow.session,
            outcome,
            problem,
        }
    }

    fn count(&self, outcome: &'static str) {
        let provider = self.flow.provider.to_string();
        metrics::counter!("patchbay_oauth_total", "provider" => provider, "outcome" => outcome).increment(1);
    }
}

/// Whether a flow began in the browser that brings this cookie.
fn is_of_browser(flow: &Flow, cookie: Option<&str>) -> bool {
    let brought = digest(cookie.unwrap_or_default());
    bool::from(subtle::ConstantTimeEq::ct_eq(&brought[..], &flow.cookie_hash[..]))
}

fn digest(text: &str) -> [u8; 32] {
    Sha256::digest(text.as_bytes()).into()
}

/// What a platform's answer has become.
enum Exchanged {
    /// A stored grant.
    Stored(Granted),
    /// A choice, under this handle.
    Several(Secret<String>),
}

async fn complete(
    app: &Arc<App>,
    back: &Back,
    query: BTreeMap<String, String>,
    came: Came,
) -> Result<Exchanged, (&'static str, Problem)> {
    let failed = |problem: Problem| ("failed", problem);
    let mut given = exchange(app, back, query, came).await?;
    choices::narrow(app, back, &mut given).await.map_err(failed)?;
    if given.identities.len() > 1 {
        let handle = choices::keep(app, &back.flow, given).await;
        return handle.map(Exchanged::Several).map_err(failed);
    }
    grant::store(app, back, given)
        .await
        .map(Exchanged::Stored)
        .map_err(failed)
}

/// Asks the provider what was granted.
async fn exchange(
    app: &Arc<App>,
    back: &Back,
    mut query: BTreeMap<String, String>,
    came: Came,
) -> Result<Given, (&'static str, Problem)> {
    let failed = |problem: Problem| ("failed", problem);
    let Back { registered, flow, .. } = back;
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
    Ok(Given {
        identities,
        scopes,
        credentials,
        secrets,
        chosen: false,
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
