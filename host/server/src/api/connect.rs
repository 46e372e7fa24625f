//! Connecting accounts in a browser, and disconnecting them.

use std::{collections::BTreeMap, time::Duration};

use axum::{
    Form, Json,
    extract::{Query, State, rejection::FormRejection},
    http::{HeaderName, header},
    response::{Html, IntoResponse, Redirect, Response},
};
use axum_extra::extract::cookie::CookieJar;
use patchbay_app::{
    connect::{self, Came, FLOW_TTL, Finished, Landing, Next, Refused, Returned, StartConnect, sessions},
    model::{Account, AccountStatus, KeyScope},
    problem::{Problem, ProblemKind},
    registry::Registered,
    secret::Secret,
    store::{AccountFilter, PageRequest},
};
use patchbay_core::{AccountId, FormField, TenantId};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{
    auth::{Caller, FIRST_PARTY_OWNER},
    extract::{Named, OptionalJson},
    pages,
    problem::{ApiProblem, ApiResult, ProblemBody},
};
use crate::host::Host;

/// Pages that a popup goes through keep its opener: the last one has something to tell it.
const KEEPS_OPENER: (HeaderName, &str) = (HeaderName::from_static("cross-origin-opener-policy"), "unsafe-none");

/// How to start a connect in a browser.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct AuthorizeQuery {
    /// Token of a connect session. Without it, the caller itself connects.
    pub session: Option<String>,
    /// Scopes to ask for, separated by commas. Default: what the provider needs to publish and to show metrics. What a
    /// session says comes first.
    pub scope: Option<String>,
}

/// Starts a connect: sends the browser to the platform.
#[utoipa::path(get, path = "/api/platforms/{provider}/authorize", tag = "connect",
    params(("provider" = String, Path, description = "Name of the provider"), AuthorizeQuery),
    security((), ("api_key" = [])),
    responses(
        (status = 200, description = "A form, where the platform has no page of its own for this", content_type = "text/html"),
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
    jar: CookieJar,
) -> ApiResult<Response> {
    start(&host, caller, &registered, query, &jar).await
}

/// Ends a connect: the platform sends the browser here.
#[utoipa::path(get, path = "/api/platforms/{provider}/callback", tag = "connect",
    params(("provider" = String, Path, description = "Name of the provider")),
    security(()),
    responses(
        (status = 303, description = "To the result page, or to the one on which the person chooses among several accounts"),
        (status = 400, body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub async fn callback(
    State(host): State<Host>,
    Named(registered): Named,
    Query(query): Query<Vec<(String, String)>>,
    jar: CookieJar,
) -> ApiResult<Response> {
    finish(&host, &registered, query, Came::Sent, &jar).await
}

/// Ends a connect by the form that `authorize` has shown: for platforms where people enter an app password, or the name of
/// a server. Field names are the platform's; `state` comes from the form.
#[utoipa::path(post, path = "/api/platforms/{provider}/callback", tag = "connect",
    params(("provider" = String, Path, description = "Name of the provider")),
    request_body(content = std::collections::BTreeMap<String, String>, content_type = "application/x-www-form-urlencoded",
        description = "The fields of the form", example = json!({ "state": "…", "handle": "ada.example.com" })),
    security(()),
    responses(
        (status = 303, description = "To the result page, or to the one on which the person chooses among several accounts"),
        (status = 400, body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub async fn submit(
    State(host): State<Host>,
    Named(registered): Named,
    jar: CookieJar,
    fields: Result<Form<Vec<(String, String)>>, FormRejection>,
) -> ApiResult<Response> {
    let Form(fields) = fields.map_err(|_| Problem::new(ProblemKind::BadRequest, "Send the form as a browser does."))?;
    finish(&host, &registered, fields, Came::Filled, &jar).await
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
    connect::disconnect(&host.app, &caller.by, caller.tenant, account.id).await?;
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
    jar: &CookieJar,
) -> ApiResult<Response> {
    let asked = query.scope.unwrap_or_default();
    let asked = asked.split(',').map(str::trim).filter(|scope| !scope.is_empty());
    let mut request = StartConnect {
        tenant: TenantId::DEFAULT,
        owner: FIRST_PARTY_OWNER.to_owned(),
        provider: registered.id().clone(),
        scopes: asked.map(str::to_owned).collect(),
        return_to: "/platforms/connect".to_owned(),
        activate: true,
        session: None,
        browser: brought_cookie(host, jar),
    };
    let mut ends_at = None;
    if let Some(token) = &query.session {
        let session = sessions::of_link(&host.app, registered.id(), token).await?;
        ends_at = sessions::ends_at(&session);
        request.tenant = session.tenant;
        request.owner = session.owner;
        request.activate = session.activate;
        request.session = Some(session.id);
        if !session.scopes.is_empty() {
            request.scopes = session.scopes;
        }
    } else {
        let caller = caller?;
        caller.may(KeyScope::Connect)?;
        request.tenant = caller.tenant;
    }
    let started = connect::start(&host.app, request).await?;
    let cookie = flow_cookie(host, started.cookie.expose(), FLOW_TTL);
    let (opener, keep) = KEEPS_OPENER;
    let headers = [(header::SET_COOKIE, cookie), (opener, keep.to_owned())];
    let next = match started.next {
        Next::Visit(url) => Redirect::to(url.as_str()).into_response(),
        Next::Fill { fields, state } => form_page(registered, &fields, &state, ends_at.as_deref()).into_response(),
    };
    Ok((headers, next).into_response())
}

/// A form of a platform's fields. It works without scripts. `ends_at` is the origin of the page that the browser is sent to
/// after it: some browsers hold the policy against what a form leads to as well.
fn form_page(
    registered: &Registered,
    fields: &[FormField],
    state: &Secret<String>,
    ends_at: Option<&str>,
) -> impl IntoResponse {
    let name = escape(registered.manifest().display_name);
    let action = format!("/api/platforms/{}/callback", registered.id());
    let mut body = format!(
        "<h1>Connect {name}</h1>\n<form method=\"post\" action=\"{action}\">\n\
         <input type=\"hidden\" name=\"state\" value=\"{}\">\n",
        escape(state.expose())
    );
    for field in fields {
        let (id, title) = (escape(&field.name), escape(&field.title));
        let kind = if field.secret { "password" } else { "text" };
        let required = if field.required { " required" } else { "" };
        body += &format!(
            "<p class=\"field\"><label for=\"{id}\">{title}</label>\n<input id=\"{id}\" name=\"{id}\" type=\"{kind}\" \
             autocomplete=\"off\" autocapitalize=\"none\" spellcheck=\"false\"{required}></p>\n"
        );
    }
    body += "<p><button class=\"button\">Connect</button></p>\n</form>\n";
    let policy = format!(
        "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self' {}; base-uri 'none'; frame-ancestors 'none'",
        ends_at.unwrap_or_default()
    );
    let headers = [
        (header::CONTENT_SECURITY_POLICY, policy),
        (header::CACHE_CONTROL, "no-store".to_owned()),
    ];
    (headers, Html(pages::text(&format!("Connect {name}"), &body)))
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

/// Ends a connect and sends the browser on, to a URL that holds no code of the platform.
pub async fn finish(
    host: &Host,
    registered: &Registered,
    query: Vec<(String, String)>,
    came: Came,
    jar: &CookieJar,
) -> ApiResult<Response> {
    let cookie = brought_cookie(host, jar);
    let mut params = BTreeMap::new();
    for (key, value) in query {
        if params.insert(key, value).is_some() {
            return Err(Problem::new(ProblemKind::BadRequest, "A parameter of the callback stands twice.").into());
        }
    }
    let id = registered.id();
    let ended = match connect::finish(&host.app, id, params, came, cookie.as_deref()).await {
        Ok(Returned::Choosing(handle)) => {
            let (opener, keep) = KEEPS_OPENER;
            let to = format!("/platforms/choose#provider={id}&choice={}", handle.expose());
            return Ok(([(opener, keep)], Redirect::to(&to)).into_response());
        }
        Ok(Returned::Connected(finished)) => Ok(finished),
        Err(refused) => Err(refused),
    };
    let to = leads_to(id.as_str(), ended)?;
    let (opener, keep) = KEEPS_OPENER;
    let headers = [(header::SET_COOKIE, spent_cookie(host)), (opener, keep.to_owned())];
    Ok((headers, Redirect::to(&to)).into_response())
}

/// Where the browser of an ended connect goes.
///
/// # Errors
/// Nobody knows: there was no flow.
pub fn leads_to(provider: &str, ended: Result<Finished, Refused>) -> Result<String, Problem> {
    match ended {
        Ok(finished) => Ok(after_success(provider, &finished)),
        Err(Refused {
            landing: Some(landing),
            session,
            outcome,
            problem,
        }) => {
            let code = problem.kind.code();
            tracing::info!(provider, outcome, code, "A connect did not succeed");
            let mut told = vec![("error", outcome.to_owned())];
            if let Landing::Own(_) | Landing::Nobody(_) = landing {
                told.push(("provider", provider.to_owned()));
            }
            told.push(("code", code.to_owned()));
            told.extend(session.map(|session| ("session_id", session.to_string())));
            Ok(address(&landing, told))
        }
        Err(Refused {
            landing: None, problem, ..
        }) => Err(problem),
    }
}

/// The tenant's page learns of the session and its code, a page of this host of the account.
fn after_success(provider: &str, finished: &Finished) -> String {
    let mut told = Vec::new();
    if let Landing::Own(_) | Landing::Nobody(_) = finished.landing {
        told.push(("success", format!("{provider}_connected")));
        told.extend(
            finished
                .accounts
                .iter()
                .map(|account| ("account", account.id.to_string())),
        );
    }
    if !finished.missing_scopes.is_empty() {
        told.push(("missing_scopes", finished.missing_scopes.join(",")));
    }
    if let (Some((session, code)), false) = (&finished.session, matches!(finished.landing, Landing::Nobody(_))) {
        told.push(("session_id", session.to_string()));
        // A page of ours has nothing to do with the code of an account that is usable.
        let waits = |account: &Account| account.status == AccountStatus::Pending;
        if finished.accounts.iter().any(waits) || !matches!(finished.landing, Landing::Own(_)) {
            told.push(("completion_code", code.expose().clone()));
        }
    }
    address(&finished.landing, told)
}

/// Where the browser goes, with what it tells there. What is for the window that opened it stands behind a `#`, which no
/// log of a server sees.
fn address(landing: &Landing, mut told: Vec<(&'static str, String)>) -> String {
    let pairs = |told| {
        url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs::<Vec<(&str, String)>, _, _>(told)
            .finish()
    };
    match landing {
        Landing::Own(path) | Landing::Nobody(path) => format!("{path}?{}", pairs(told)),
        Landing::Tenant(url) => {
            let mut url = url.clone();
            url.query_pairs_mut().extend_pairs(told);
            url.into()
        }
        Landing::Opener(origins) => {
            told.extend(origins.iter().map(|origin| ("origin", origin.clone())));
            format!("/platforms/connected#{}", pairs(told))
        }
    }
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

/// The cookie of a flow that the browser brings.
pub fn brought_cookie(host: &Host, jar: &CookieJar) -> Option<String> {
    jar.get(cookie_name(host)).map(|cookie| cookie.value().to_owned())
}

/// Takes the cookie of a flow away: it has done its work.
pub fn spent_cookie(host: &Host) -> String {
    flow_cookie(host, "", Duration::ZERO)
}

fn flow_cookie(host: &Host, value: &str, life: Duration) -> String {
    let name = cookie_name(host);
    let secure = if name.starts_with("__Host-") { "; Secure" } else { "" };
    format!(
        "{name}={value}; Path=/; HttpOnly; SameSite=Lax; Max-Age={}{secure}",
        life.as_secs()
    )
}
