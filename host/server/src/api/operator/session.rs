//! The operator's browser: signs in with a key, and is known by a cookie until the session or its key ends.

use axum::{
    Json,
    extract::{FromRequest, FromRequestParts, Request, State},
    http::{HeaderMap, HeaderValue, StatusCode, header, request::Parts},
};
use axum_extra::extract::CookieJar;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::{DateTime, Utc};
use patchbay_app::{
    model::{Actor, ApiKey, AuditAction, By, KeyScope, NewAudit, OperatorSession},
    problem::{Problem, ProblemKind},
    secret::Secret,
};
use patchbay_core::TenantId;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use utoipa::ToSchema;

use super::{
    super::{
        auth::{self, Caller},
        extract::JsonBody,
        problem::{ApiResult, ProblemBody},
        rate_limit::OfKey,
    },
    foreign, live,
};
use crate::{config::FirstParty, host::Host};

/// The key that is shown.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewOperatorSession, example = json!({ "key": "pb_live_4fXz81PqLm0c_…" }))]
pub struct NewSession {
    /// A key of the scope `operator`.
    pub key: String,
}

/// Who looks at the operator's pages.
#[derive(Serialize, ToSchema)]
#[schema(as = OperatorSession)]
pub struct SessionBody {
    /// Name of the key; absent where this machine's browsers need none.
    #[schema(example = "ops")]
    pub key_name: Option<String>,
    /// To be sent as `X-CSRF-Token` beside the cookie. It changes with the session.
    pub csrf_token: Option<String>,
    /// When the key was shown.
    pub started_at: Option<DateTime<Utc>>,
    /// When the session ends, if it is not used again.
    pub ends_at: Option<DateTime<Utc>>,
}

impl SessionBody {
    fn of(cookie: &Cookie, session: &OperatorSession, key_name: String) -> Self {
        Self {
            key_name: Some(key_name),
            csrf_token: Some(cookie.csrf_token()),
            started_at: Some(session.started_at),
            ends_at: Some(session.ends_at()),
        }
    }
}

/// The value of a session's cookie: 256 bits, of which only the hash is stored.
pub struct Cookie(Secret<String>);

impl Cookie {
    fn make(host: &Host) -> Self {
        Self(Secret::new(URL_SAFE_NO_PAD.encode(host.app.env.random::<32>())))
    }

    /// What is stored in its place.
    pub(super) fn hash(&self) -> [u8; 32] {
        Sha256::digest(self.0.expose().as_bytes()).into()
    }

    /// What a page sends beside it. Whoever has one of the two has not the other.
    pub(super) fn csrf_token(&self) -> String {
        let label = Sha256::new().chain_update(b"patchbay/operator-csrf/v1\0");
        URL_SAFE_NO_PAD.encode(label.chain_update(self.0.expose().as_bytes()).finalize())
    }
}

/// The cookie of a request, if it has one. Where the pages are open it says nothing: it is of another host on this machine,
/// since browsers tell no ports apart.
pub(super) fn cookie(parts: &Parts, host: &Host) -> Option<Cookie> {
    if host.config.server.first_party == FirstParty::Open {
        return None;
    }
    let jar = CookieJar::from_headers(&parts.headers);
    let value = jar.get(name(host))?.value().to_owned();
    Some(Cookie(Secret::new(value)))
}

/// As of the cookie of a connect: `__Host-` needs `Secure`, which plain http on loopback has not.
fn name(host: &Host) -> &'static str {
    if host.config.server.public_url.scheme() == "https" {
        "__Host-patchbay_operator"
    } else {
        "patchbay_operator"
    }
}

fn set_cookie(host: &Host, value: &str, seconds: i64) -> HeaderMap {
    let name = name(host);
    let secure = if name.starts_with("__Host-") { "; Secure" } else { "" };
    let text = format!("{name}={value}; Path=/; HttpOnly; SameSite=Strict; Max-Age={seconds}{secure}");
    let mut headers = HeaderMap::new();
    if let Ok(mut value) = HeaderValue::try_from(text) {
        value.set_sensitive(true);
        headers.insert(header::SET_COOKIE, value);
    }
    headers
}

/// Signs in: shows an operator's key once, and gets a cookie. The session ends half an hour after its last use, twelve hours
/// after its start, with its key, or when it is told to.
#[utoipa::path(post, path = "/api/operator/session", tag = "operator", request_body = NewSession, security(()), responses(
    (status = 201, body = SessionBody),
    (status = 400, body = ProblemBody, content_type = "application/problem+json"),
    (status = 401, body = ProblemBody, content_type = "application/problem+json"),
    (status = 403, body = ProblemBody, content_type = "application/problem+json"),
    (status = 413, body = ProblemBody, content_type = "application/problem+json"),
    (status = 415, body = ProblemBody, content_type = "application/problem+json"),
    (status = 422, body = ProblemBody, content_type = "application/problem+json"),
    (status = 429, body = ProblemBody, content_type = "application/problem+json"),
))]
pub async fn sign_in(
    State(host): State<Host>,
    request: Request,
) -> ApiResult<(StatusCode, HeaderMap, Json<SessionBody>)> {
    let (parts, body) = request.into_parts();
    if !auth::is_own_page(&parts, &host) {
        return Err(foreign().into());
    }
    let address = auth::address(&parts);
    host.gate.admit_address(address)?;
    let told = parts.extensions.get::<OfKey>().cloned().unwrap_or_default();
    let request_id = auth::request_id(&parts);
    let request = Request::from_parts(parts, body);
    let JsonBody(NewSession { key }) = JsonBody::from_request(request, &host).await?;
    let Some(key) = auth::proved(&host, key.trim(), &told).await? else {
        host.gate.note_failure(address);
        refused(&host, request_id, None).await?;
        let detail = "This is no live API key. `patchbay keys create --scope operator` makes one.";
        return Err(Problem::new(ProblemKind::Unauthorized, detail).into());
    };
    if !key.scopes.contains(&KeyScope::Operator) {
        refused(&host, request_id, Some(&key)).await?;
        let detail = "This key is a tenant's. `patchbay keys create --scope operator` makes one for you.";
        return Err(Problem::new(ProblemKind::Forbidden, detail).into());
    }
    let cookie = Cookie::make(&host);
    let session = host
        .app
        .store
        .start_operator_session(
            cookie.hash(),
            &key.public_id,
            &noted(&host, request_id, &key, AuditAction::OperatorSignedIn),
        )
        .await?;
    let headers = set_cookie(&host, cookie.0.expose(), OperatorSession::LIFE.num_seconds());
    let body = SessionBody::of(&cookie, &session, key.name);
    Ok((StatusCode::CREATED, headers, Json(body)))
}

/// What an operator's key is used for, in the log of the key's tenant.
fn noted(host: &Host, request_id: String, key: &ApiKey, action: AuditAction) -> NewAudit {
    let by = By {
        actor: Actor::Operator(key.id),
        request_id,
    };
    by.did(&host.app.env, action, key.tenant).to(&key.id)
}

/// Notes a sign-in that was refused: of a tenant's key in its log, of anything else in the default tenant's. An address that
/// fails too often comes to nothing before this.
async fn refused(host: &Host, request_id: String, key: Option<&ApiKey>) -> Result<(), Problem> {
    let by = By {
        actor: Actor::FirstParty,
        request_id,
    };
    let tenant = key.map_or(TenantId::DEFAULT, |key| key.tenant);
    let audit = by.did(&host.app.env, AuditAction::OperatorRefused, tenant);
    let audit = match key {
        Some(key) => audit.to(&key.id),
        None => audit,
    };
    host.app.store.add_audit(&audit).await?;
    Ok(())
}

/// Tells who looks, and the token that goes beside the cookie.
#[utoipa::path(get, path = "/api/operator/session", tag = "operator", security(("operator_session" = [])), responses(
    (status = 200, body = SessionBody),
    (status = 401, body = ProblemBody, content_type = "application/problem+json"),
    (status = 403, body = ProblemBody, content_type = "application/problem+json"),
))]
pub async fn show(State(host): State<Host>, request: Request) -> ApiResult<Json<SessionBody>> {
    let (mut parts, _) = request.into_parts();
    let Some(cookie) = cookie(&parts, &host) else {
        let caller = Caller::from_request_parts(&mut parts, &host).await?;
        if !caller.first_party {
            return Err(auth::unauthorized().into());
        }
        return Ok(Json(SessionBody {
            key_name: None,
            csrf_token: None,
            started_at: None,
            ends_at: None,
        }));
    };
    if !auth::is_own_page(&parts, &host) {
        return Err(foreign().into());
    }
    let (session, key) = live(&host, &cookie, &parts).await?;
    Ok(Json(SessionBody::of(&cookie, &session, key.name)))
}

/// Signs out: the session ends at once, on every host.
#[utoipa::path(delete, path = "/api/operator/session", tag = "operator",
    security(("operator_session" = [])), responses(
    (status = 204, description = "It has ended"),
    (status = 401, body = ProblemBody, content_type = "application/problem+json"),
    (status = 403, body = ProblemBody, content_type = "application/problem+json"),
))]
pub async fn sign_out(State(host): State<Host>, request: Request) -> ApiResult<(StatusCode, HeaderMap)> {
    let (parts, _) = request.into_parts();
    if !auth::is_own_page(&parts, &host) {
        return Err(foreign().into());
    }
    let cookie = cookie(&parts, &host).ok_or_else(auth::unauthorized)?;
    let (_, key) = live(&host, &cookie, &parts).await?;
    let audit = noted(&host, auth::request_id(&parts), &key, AuditAction::OperatorSignedOut);
    host.app.store.end_operator_session(cookie.hash(), &audit).await?;
    Ok((StatusCode::NO_CONTENT, set_cookie(&host, "", 0)))
}
