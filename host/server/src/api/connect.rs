//! Connecting and disconnecting accounts, from a backend and from a browser.

use std::{collections::BTreeMap, time::Duration};

use axum::{
    Json,
    extract::{Query, State},
    http::{StatusCode, header},
    response::{IntoResponse, Redirect, Response},
};
use axum_extra::extract::cookie::CookieJar;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::{DateTime, TimeDelta, Utc};
use patchbay_app::{
    connect::{self, FLOW_TTL, Finished, Refused, StartConnect},
    model::{Account, AccountStatus, KeyScope, Session},
    problem::{Problem, ProblemKind},
    registry::Registered,
    store::{AccountFilter, PageRequest},
};
use patchbay_core::{AccountId, FieldIssue, TenantId};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use utoipa::{IntoParams, ToSchema};

use super::{
    auth::{Caller, FIRST_PARTY_OWNER},
    extract::{JsonBody, Named, OptionalJson},
    problem::{ApiProblem, ApiResult, ProblemBody},
};
use crate::host::Host;

/// How long a session's link works.
const SESSION_TTL: Duration = Duration::from_mins(15);
/// Longest owner id.
const MAX_OWNER: usize = 128;

/// A wanted connect session.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "owner": "user-42" }))]
pub struct NewSession {
    /// Your own id of the end user.
    #[schema(example = "user-42", max_length = 128)]
    pub owner: String,
}

/// A connect session.
#[derive(Debug, Serialize, ToSchema)]
pub struct SessionBody {
    /// Id.
    pub id: String,
    /// Send the end user's browser here.
    pub connect_url: String,
    /// The link stops working then.
    pub expires_at: DateTime<Utc>,
}

/// Makes a link with which one end user can connect an account, for fifteen minutes.
#[utoipa::path(post, path = "/api/platforms/{provider}/connect-sessions", tag = "connect",
    params(("provider" = String, Path, description = "Name of the provider")),
    request_body = NewSession,
    responses(
        (status = 201, body = SessionBody),
        (status = 401, body = ProblemBody, content_type = "application/problem+json"),
        (status = 403, body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, body = ProblemBody, content_type = "application/problem+json"),
        (status = 415, body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub async fn create_session(
    State(host): State<Host>,
    caller: Caller,
    Named(registered): Named,
    JsonBody(wanted): JsonBody<NewSession>,
) -> ApiResult<(StatusCode, Json<SessionBody>)> {
    caller.may(KeyScope::Connect)?;
    if wanted.owner.is_empty() || wanted.owner.len() > MAX_OWNER || wanted.owner.chars().any(char::is_control) {
        let message = "Give your id of the end user: 1 to 128 bytes, without control characters.";
        return Err(Problem::invalid(vec![FieldIssue::new("/owner", "owner", message)]).into());
    }
    let token = URL_SAFE_NO_PAD.encode(host.app.env.random::<32>());
    let session = Session {
        id: host.app.env.ids.next(),
        tenant: caller.tenant,
        owner: wanted.owner,
        provider: registered.id().clone(),
        token_hash: Sha256::digest(token.as_bytes()).into(),
        expires_at: host.app.store.now().await? + TimeDelta::from_std(SESSION_TTL).unwrap_or_default(),
    };
    host.app.store.create_session(&session).await?;
    let mut connect_url = host.public_url(&format!("/api/platforms/{}/authorize", registered.id()));
    connect_url.query_pairs_mut().append_pair("session", &token);
    let body = SessionBody {
        id: format!("ses_{}", session.id.simple()),
        connect_url: connect_url.into(),
        expires_at: session.expires_at,
    };
    Ok((StatusCode::CREATED, Json(body)))
}

/// How to start a connect in a browser.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct AuthorizeQuery {
    /// Token of a connect session. Without it, the caller itself connects.
    pub session: Option<String>,
    /// Scopes to ask for, separated by commas. Default: what the provider needs to publish and to show metrics.
    pub scope: Option<String>,
}

/// Starts a connect: sends the browser to the platform.
#[utoipa::path(get, path = "/api/platforms/{provider}/authorize", tag = "connect",
    params(("provider" = String, Path, description = "Name of the provider"), AuthorizeQuery),
    security((), ("api_key" = [])),
    responses(
        (status = 303, description = "To the platform's page"),
        (status = 400, body = ProblemBody, content_type = "application/problem+json"),
        (status = 401, body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub async fn authorize(
    State(host): State<Host>,
    caller: Result<Caller, ApiProblem>,
    Named(registered): Named,
    Query(query): Query<AuthorizeQuery>,
) -> ApiResult<Response> {
    start(&host, caller, &registered, query).await
}

/// Ends a connect: the platform sends the browser here.
#[utoipa::path(get, path = "/api/platforms/{provider}/callback", tag = "connect",
    params(("provider" = String, Path, description = "Name of the provider")),
    security(()),
    responses(
        (status = 303, description = "To the result page"),
        (status = 400, body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub async fn callback(
    State(host): State<Host>,
    Named(registered): Named,
    Query(query): Query<Vec<(String, String)>>,
    jar: CookieJar,
) -> ApiResult<Response> {
    finish(&host, &registered, query, &jar).await
}

/// Whether an account is connected, in the form of the integration that users migrate from.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct StatusBody {
    /// An account is connected and usable.
    pub connected: bool,
    /// Its name.
    pub display_name: Option<String>,
    /// Its picture.
    pub avatar_url: Option<String>,
    /// Granted scopes, separated by commas.
    pub scope: Option<String>,
    /// Its id.
    pub account_id: Option<String>,
    /// It must be connected again.
    pub reauth_required: bool,
}

/// Tells whether an account is connected. Of several, the newest usable one is shown.
#[utoipa::path(get, path = "/api/platforms/{provider}/status", tag = "connect",
    params(("provider" = String, Path, description = "Name of the provider"), super::accounts::Wanted),
    responses(
        (status = 200, body = StatusBody),
        (status = 401, body = ProblemBody, content_type = "application/problem+json"),
        (status = 403, body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub async fn status(
    State(host): State<Host>,
    caller: Caller,
    Named(registered): Named,
    Query(wanted): Query<super::accounts::Wanted>,
) -> ApiResult<Json<StatusBody>> {
    caller.may(KeyScope::Read)?;
    let account = current(&host, caller.tenant, &registered, wanted.owner).await?;
    let usable = account
        .as_ref()
        .is_some_and(|account| account.status == AccountStatus::Active);
    let reauth_required = account
        .as_ref()
        .is_some_and(|account| account.status == AccountStatus::ReauthRequired);
    let shown = account.filter(|account| account.status != AccountStatus::Revoked);
    Ok(Json(StatusBody {
        connected: usable,
        reauth_required,
        display_name: shown.as_ref().and_then(|account| account.display_name.clone()),
        avatar_url: shown
            .as_ref()
            .and_then(|account| account.avatar_url.as_ref().map(ToString::to_string)),
        scope: shown.as_ref().map(|account| account.scopes.join(",")),
        account_id: shown.map(|account| account.id.to_string()),
    }))
}

/// What to disconnect.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "account_id": "acc_0199f0a2b3c47d8e9f00112233445566" }))]
pub struct Disconnect {
    /// Which account. Default: the newest one that is connected.
    pub account_id: Option<String>,
}

/// Done.
#[derive(Debug, Serialize, ToSchema)]
pub struct Success {
    /// Always true.
    pub success: bool,
}

/// Disconnects an account: no further call is made for it, the platform is told, its tokens are erased.
#[utoipa::path(post, path = "/api/platforms/{provider}/disconnect", tag = "connect",
    params(("provider" = String, Path, description = "Name of the provider")),
    request_body(content = Option<Disconnect>, description = "Optional"),
    responses(
        (status = 200, body = Success),
        (status = 401, body = ProblemBody, content_type = "application/problem+json"),
        (status = 403, body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub async fn disconnect(
    State(host): State<Host>,
    caller: Caller,
    Named(registered): Named,
    OptionalJson(wanted): OptionalJson<Disconnect>,
) -> ApiResult<Json<Success>> {
    caller.may(KeyScope::Connect)?;
    let account = match wanted.account_id {
        Some(text) => {
            let id: AccountId = super::extract::id(&text, "account")?;
            host.app
                .store
                .account(caller.tenant, id)
                .await?
                .filter(|account| account.provider == *registered.id())
        }
        None => current(&host, caller.tenant, &registered, None).await?,
    };
    let account = account.ok_or_else(|| Problem::not_found("account"))?;
    connect::disconnect(&host.app, caller.tenant, account.id).await?;
    Ok(Json(Success { success: true }))
}

/// The account to speak of when none is named: an active one, else one to be connected again, else the newest.
pub async fn current(
    host: &Host,
    tenant: TenantId,
    registered: &Registered,
    owner: Option<String>,
) -> Result<Option<Account>, Problem> {
    let mut found = None;
    for status in [Some(AccountStatus::Active), Some(AccountStatus::ReauthRequired), None] {
        let filter = AccountFilter {
            provider: Some(registered.id().clone()),
            owner: owner.clone(),
            status,
        };
        let page = host
            .app
            .store
            .accounts(tenant, &filter, PageRequest { after: None, limit: 1 })
            .await?;
        found = page.items.into_iter().next();
        if found.is_some() {
            break;
        }
    }
    Ok(found)
}

/// Starts a connect for a session's owner, or for the caller.
pub async fn start(
    host: &Host,
    caller: Result<Caller, ApiProblem>,
    registered: &Registered,
    query: AuthorizeQuery,
) -> ApiResult<Response> {
    let (tenant, owner) = match &query.session {
        Some(token) => {
            let found = host.app.store.session(Sha256::digest(token.as_bytes()).into()).await?;
            let found = found.filter(|session| session.provider == *registered.id());
            let session = found.ok_or_else(|| {
                Problem::new(
                    ProblemKind::FlowInvalid,
                    "The connect link is unknown or too old. Ask for a new one.",
                )
            })?;
            (session.tenant, session.owner)
        }
        None => {
            let caller = caller?;
            caller.may(KeyScope::Connect)?;
            (caller.tenant, FIRST_PARTY_OWNER.to_owned())
        }
    };
    let scopes = query.scope.unwrap_or_default();
    let request = StartConnect {
        tenant,
        owner,
        provider: registered.id().clone(),
        scopes: scopes
            .split(',')
            .map(str::trim)
            .filter(|scope| !scope.is_empty())
            .map(str::to_owned)
            .collect(),
        return_to: "/platforms/connect".to_owned(),
        activate: true,
    };
    let started = connect::start(&host.app, request).await?;
    let cookie = flow_cookie(host, started.cookie.expose(), FLOW_TTL);
    Ok(([(header::SET_COOKIE, cookie)], Redirect::to(started.url.as_str())).into_response())
}

/// Ends a connect and sends the browser on, to a URL that holds no code.
pub async fn finish(
    host: &Host,
    registered: &Registered,
    query: Vec<(String, String)>,
    jar: &CookieJar,
) -> ApiResult<Response> {
    let name = cookie_name(host);
    let cookie = jar.get(name).map(|cookie| cookie.value().to_owned());
    let mut params = BTreeMap::new();
    for (key, value) in query {
        if params.insert(key, value).is_some() {
            return Err(Problem::new(ProblemKind::BadRequest, "A parameter of the callback stands twice.").into());
        }
    }
    let id = registered.id();
    let spent = flow_cookie(host, "", Duration::ZERO);
    let result = connect::finish(&host.app, id, params, cookie.as_deref()).await;
    let (page, query) = match result {
        Ok(Finished {
            account,
            missing_scopes,
            return_to,
        }) => {
            let mut query = vec![
                ("success", format!("{id}_connected")),
                ("account", account.id.to_string()),
            ];
            if !missing_scopes.is_empty() {
                query.push(("missing_scopes", missing_scopes.join(",")));
            }
            (return_to, query)
        }
        Err(Refused {
            return_to: Some(page),
            outcome,
            problem,
        }) => {
            tracing::info!(provider = %id, outcome, code = problem.kind.code(), "A connect did not succeed");
            (
                page,
                vec![
                    ("error", outcome.to_owned()),
                    ("provider", id.to_string()),
                    ("code", problem.kind.code().to_owned()),
                ],
            )
        }
        // No flow, so nobody to send anywhere.
        Err(Refused {
            return_to: None,
            problem,
            ..
        }) => return Err(problem.into()),
    };
    let query = url::form_urlencoded::Serializer::new(String::new())
        .extend_pairs(query)
        .finish();
    Ok(([(header::SET_COOKIE, spent)], Redirect::to(&format!("{page}?{query}"))).into_response())
}

/// `__Host-` needs `Secure`, and browsers take `Secure` cookies on loopback only over https; so plain http on
/// loopback, where no network lies between, has a plain name.
fn cookie_name(host: &Host) -> &'static str {
    if host.config.server.public_url.scheme() == "https" {
        "__Host-patchbay_flow"
    } else {
        "patchbay_flow"
    }
}

fn flow_cookie(host: &Host, value: &str, life: Duration) -> String {
    let name = cookie_name(host);
    let secure = if name.starts_with("__Host-") { "; Secure" } else { "" };
    format!(
        "{name}={value}; Path=/; HttpOnly; SameSite=Lax; Max-Age={}{secure}",
        life.as_secs()
    )
}
