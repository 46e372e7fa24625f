//! Connecting an account: start, the platform's page, callback, done; and letting it go again.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::TimeDelta;
use patchbay_core::{
    AccountId, Authorize, AuthorizeRequest, Callback, Credentials, Ctx, ErrorKind, EventId, FlowId, Grant, Identity,
    JobId, PkceChallenge, ProviderError, ProviderId, SecretRef, TenantId,
};
use serde::{Deserialize, Serialize};
use serde_json::json;
use sha2::{Digest, Sha256};
use tracing::{info, warn};
use url::Url;
use zeroize::Zeroizing;

use crate::{
    App, failpoint,
    model::{Account, AccountStatus, Flow, JobKind, NewAccount, NewEvent, NewJob},
    outbound::{Outbound, SecretBag},
    problem::{Problem, ProblemKind},
    registry::Registered,
    secret::Secret,
    store::StoreError,
    tokens,
    vault::Place,
};

/// How long a connect attempt may take.
pub const FLOW_TTL: Duration = Duration::from_mins(10);

/// How long a disconnect waits for tokens to be renewed first.
const RENEW_FIRST: Duration = Duration::from_secs(10);

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
    /// Page of this host to land on.
    pub return_to: String,
    /// The account is usable at once; otherwise it waits for the tenant.
    pub activate: bool,
}

/// A started connect.
pub struct Started {
    /// Where to send the browser.
    pub url: Url,
    /// Value of the cookie that the browser must bring back.
    pub cookie: Secret<String>,
}

/// An ended connect.
#[derive(Debug)]
pub struct Finished {
    /// The account.
    pub account: Account,
    /// Scopes that were asked for and not granted.
    pub missing_scopes: Vec<String>,
    /// Page to land on.
    pub return_to: String,
}

/// A connect that ended without an account, after its flow was found: the browser still has a page to land on.
#[derive(Debug)]
pub struct Refused {
    /// Page to land on.
    pub return_to: Option<String>,
    /// A stable word for the page: `cancelled`, `failed`, …
    pub outcome: &'static str,
    /// The problem.
    pub problem: Problem,
}

#[derive(Serialize, Deserialize)]
struct SealedFlow {
    verifier: String,
    pending: serde_json::Value,
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
    let (url, pending) = match oauth.authorize(&ctx, &authorize).await? {
        Authorize::Redirect { url, pending } => (url, pending),
        Authorize::Form { .. } => {
            return Err(Problem::new(
                ProblemKind::Invalid,
                "This provider asks for a form, which has no page yet.",
            ));
        }
    };
    let sealed = SealedFlow {
        verifier: verifier.expose().clone(),
        pending,
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
        expires_at: app.store.now().await? + TimeDelta::from_std(FLOW_TTL).expect("ten minutes are a time delta"),
    };
    app.store.start_flow(&flow).await?;
    Ok(Started {
        url: app.wire.browser_url(&request.provider, &url),
        cookie,
    })
}

/// Ends a connect with the query that the platform sent the browser back with.
///
/// # Errors
/// The flow is unknown, used, expired or another browser's; the person refused; or the platform did.
pub async fn finish(
    app: &Arc<App>,
    provider: &ProviderId,
    mut query: BTreeMap<String, String>,
    cookie: Option<&str>,
) -> Result<Finished, Refused> {
    let over = || Refused {
        return_to: None,
        outcome: "expired",
        problem: Problem::new(
            ProblemKind::FlowInvalid,
            "It was used, is older than ten minutes, or began in another browser. Start the connect again.",
        ),
    };
    let early = |problem: Problem| Refused {
        return_to: None,
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
    let return_to = flow.return_to.clone();
    let count = |outcome: &'static str| {
        metrics::counter!("patchbay_oauth_total", "provider" => provider.to_string(), "outcome" => outcome)
            .increment(1);
    };
    match complete(app, &registered, flow, query).await {
        Ok(finished) => {
            count("connected");
            info!(account.id = %finished.account.id, provider = %provider, "Connected an account");
            Ok(finished)
        }
        Err((outcome, problem)) => {
            count(outcome);
            Err(Refused {
                return_to: Some(return_to),
                outcome,
                problem,
            })
        }
    }
}

async fn complete(
    app: &Arc<App>,
    registered: &Registered,
    flow: Flow,
    mut query: BTreeMap<String, String>,
) -> Result<Finished, (&'static str, Problem)> {
    let failed = |problem: Problem| ("failed", problem);
    if let Some(error) = query.get("error") {
        return Err(refusal(error));
    }
    let code = query.remove("code").filter(|code| !code.is_empty()).ok_or_else(|| {
        failed(Problem::new(
            ProblemKind::BadRequest,
            "The platform sent neither a code nor an error. Connect again.",
        ))
    })?;
    let opened = app
        .vault
        .unseal(flow_place(flow.tenant, flow.id), &flow.sealed)
        .await
        .map_err(|e| failed(e.into()))?;
    let sealed: SealedFlow = serde_json::from_slice(opened.expose())
        .map_err(|error| failed(Problem::new(ProblemKind::Internal, "Connect again.").because(error)))?;
    let callback = Callback {
        params: query,
        code: SecretRef::call("code"),
        pkce_verifier: SecretRef::call("pkce_verifier"),
        redirect_uri: Url::parse(&flow.redirect_uri)
            .map_err(|error| failed(Problem::new(ProblemKind::Internal, "Connect again.").because(error)))?,
        pending: sealed.pending,
    };
    let mut secrets = SecretBag::default();
    secrets.insert(callback.code.clone(), code.into());
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
    let missing_scopes = flow
        .scopes
        .iter()
        .filter(|asked| !scopes.contains(asked))
        .cloned()
        .collect();
    let account = store_grant(app, registered, &flow, identity, scopes, &credentials, &secrets)
        .await
        .map_err(failed)?;
    Ok(Finished {
        account,
        missing_scopes,
        return_to: flow.return_to,
    })
}

async fn store_grant(
    app: &App,
    registered: &Registered,
    flow: &Flow,
    identity: Identity,
    scopes: Vec<String>,
    credentials: &Credentials,
    secrets: &SecretBag,
) -> Result<Account, Problem> {
    let account = NewAccount {
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
        status: if flow.activate {
            AccountStatus::Active
        } else {
            AccountStatus::Pending
        },
        simulated: registered.simulated,
        connected_at: app.env.now(),
    };
    // Tokens are sealed for one id and version, so the place comes first. Somebody may take it meanwhile.
    for _ in 0..5 {
        let place = app.store.place_grant(&account).await?;
        let update = tokens::seal(app, flow.tenant, place.id, place.next_version, credentials, secrets).await?;
        let refresh = NewJob {
            id: JobId::from_uuid(app.env.ids.next()),
            tenant: flow.tenant,
            kind: JobKind::Refresh,
            target: place.id.as_uuid(),
            concurrency_key: None,
            run_at: update.refresh_due_at,
            correlation_id: format!("connect-{}", flow.id),
        };
        let event = NewEvent {
            id: EventId::from_uuid(app.env.ids.next()),
            name: "account.connected".to_owned(),
            dedupe_key: format!("{}:connected:{}", place.id, flow.id),
            account: Some(place.id),
            post: None,
            payload: json!({ "scopes": account.scopes, "owner": account.owner }),
        };
        match app
            .store
            .finish_connect(place, &account, &update, &refresh, &event)
            .await
        {
            Ok(account) => {
                failpoint::hit("oa.stored");
                app.wake();
                return Ok(account);
            }
            Err(StoreError::Stale) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(StoreError::Stale.into())
}

/// Ends a grant: the account is unusable at once; the platform is told now if it answers, else by a job that tries
/// again; then the tokens are erased.
///
/// # Errors
/// The account is not this tenant's, or the store failed.
pub async fn disconnect(app: &Arc<App>, tenant: TenantId, id: AccountId) -> Result<Account, Problem> {
    // Platforms take a live access token for this. A dead one would look as if the grant were gone already.
    let _ = tokio::time::timeout(RENEW_FIRST, tokens::ready(app, tenant, id, Duration::from_mins(1))).await;
    let revoke = NewJob {
        id: JobId::from_uuid(app.env.ids.next()),
        tenant,
        kind: JobKind::Revoke,
        target: id.as_uuid(),
        concurrency_key: None,
        // Later than the try that follows here, which erases the job when it succeeds.
        run_at: Some(app.store.now().await? + TimeDelta::seconds(40)),
        correlation_id: format!("disconnect-{id}"),
    };
    let event = NewEvent {
        id: EventId::from_uuid(app.env.ids.next()),
        name: "account.disconnected".to_owned(),
        dedupe_key: format!("{id}:disconnected:{}", revoke.id),
        account: Some(id),
        post: None,
        payload: json!({ "by": "tenant" }),
    };
    let account = app
        .store
        .begin_disconnect(tenant, id, "disconnected", Some(&revoke), &event)
        .await?
        .ok_or_else(|| Problem::not_found("account"))?;
    if account.tokens.is_some()
        && let Err(error) = revoke_at_platform(app, account.clone()).await
    {
        warn!(account.id = %id, code = %error.code, "The platform could not be told yet; a job tries again");
        return Ok(account);
    }
    app.store.erase_tokens(tenant, id).await?;
    info!(account.id = %id, "Disconnected an account");
    Ok(Account {
        tokens: None,
        ..account
    })
}

/// Tells the platform that a grant is over.
pub(crate) async fn revoke_at_platform(app: &App, account: Account) -> Result<(), ProviderError> {
    let missing = |what: &str| ProviderError::new(ErrorKind::Permanent, "not_revocable", what.to_owned());
    let registered = app
        .registered(&account.provider)
        .map_err(|_| missing("the provider is not registered"))?;
    let oauth = registered
        .provider
        .oauth()
        .ok_or_else(|| missing("the provider does not connect"))?;
    let correlation_id = format!("disconnect-{}", account.id);
    let ready = tokens::open(app, account)
        .await
        .map_err(|error| missing(&error.to_string()))?;
    let outbound = Outbound::new(app, &registered, Some(&ready.account), ready.secrets, &correlation_id);
    let ctx = Ctx::new(&outbound, app.env.now(), &registered.app, Some(&ready.view));
    oauth.revoke(&ctx).await
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
