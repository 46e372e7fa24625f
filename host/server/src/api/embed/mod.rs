//! What the custom elements of `web/embed.js` call from pages of other sites: a few operations of the API, for one user of one
//! tenant on one platform, from the origins of a pass alone. Each looks first whether what it names is that user's; then it
//! is the operation of the API itself.

mod pass;

use axum::{
    Json, Router,
    body::Body,
    extract::{Extension, FromRequestParts, OriginalUri, Path, Query, Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header, request::Parts},
    middleware::{Next, from_fn_with_state},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use chrono::{DateTime, Utc};
use patchbay_app::{
    connect::sessions::check_owner,
    model::{Account, Actor, AuditAction, By, KeyScope},
    problem::{Problem, ProblemKind},
};
use patchbay_core::{AccountId, PostId};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use super::{
    accounts,
    auth::{Caller, request_id},
    avatars, connect, connect_sessions,
    extract::{Item, JsonBody, Named, OptionalJson, Paging, id},
    media, platforms,
    posts::{self, create},
    problem::{ApiProblem, ApiResult, ProblemBody},
    rate_limit::OfKey,
    request_id::RequestId,
    uploads,
};
use crate::host::Host;
use pass::{Place, Right};

/// What stands before the place of a pass.
const PREFIX: &str = "/api/embed/";
/// Headers of answers that scripts of other origins may read.
const EXPOSED: &str = "Location, Upload-Offset, Upload-Length, Patchbay-Media-Id, Retry-After, X-Request-Id";
const ALLOWED_HEADERS: &str = "Authorization, Content-Type, Idempotency-Key, Tus-Resumable, Upload-Length, \
                               Upload-Offset, Upload-Metadata";
const ALLOWED_METHODS: &str = "GET, HEAD, POST, PATCH, DELETE";

/// A wanted pass for embedded parts.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "owner": "user-42", "origins": ["https://app.example.com"] }))]
pub struct NewEmbedSession {
    /// Your own id of the end user.
    #[schema(example = "user-42", max_length = 128)]
    pub owner: String,
    /// Origins of your pages in which the elements stand, as browsers write them.
    #[schema(min_items = 1, max_items = 10, example = json!(["https://app.example.com"]))]
    pub origins: Vec<String>,
}

/// A pass for embedded parts.
#[derive(Debug, Serialize, ToSchema)]
pub struct EmbedSessionBody {
    /// Give it to the element as its attribute `token`. It acts for this user on this platform from these origins, and can
    /// neither manage anything nor see others.
    pub token: String,
    /// It ends then. The element asks for another one with the event `patchbay-expired`.
    pub expires_at: DateTime<Utc>,
}

/// Makes a pass with which the elements `<patchbay-widget>`, `<patchbay-connect>` and `<patchbay-upload>` act for one end user on
/// your pages, for fifteen minutes.
#[utoipa::path(post, path = "/api/platforms/{provider}/embed-sessions", tag = "connect",
    params(("provider" = String, Path, description = "Name of the provider")),
    request_body = NewEmbedSession,
    responses(
        (status = 201, body = EmbedSessionBody),
        (status = 400, body = ProblemBody, content_type = "application/problem+json"),
        (status = 401, body = ProblemBody, content_type = "application/problem+json"),
        (status = 403, body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, body = ProblemBody, content_type = "application/problem+json"),
        (status = 415, body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub async fn create_embed_session(
    State(host): State<Host>,
    caller: Caller,
    Named(registered): Named,
    JsonBody(wanted): JsonBody<NewEmbedSession>,
) -> ApiResult<(StatusCode, Json<EmbedSessionBody>)> {
    for scope in RIGHTS {
        caller.may(scope)?;
    }
    check_owner(&wanted.owner)?;
    let place = Place::new(&host, &wanted.origins)?;
    let right = Right {
        tenant: caller.tenant,
        owner: wanted.owner,
        provider: registered.id().clone(),
    };
    let audit = caller
        .by
        .did(&host.app.env, AuditAction::EmbedPassMade, caller.tenant)
        .saying(json!({ "provider": right.provider, "origins": wanted.origins }));
    host.app.store.add_audit(&audit).await?;
    let body = EmbedSessionBody {
        token: pass::write(&host, &place, &right),
        expires_at: place.until().unwrap_or_else(|| host.app.env.now()),
    };
    Ok((StatusCode::CREATED, Json(body)))
}

/// What a guest may do, with what is its own.
const RIGHTS: [KeyScope; 3] = [KeyScope::Read, KeyScope::Publish, KeyScope::Connect];

/// The operations. Paths are those of the API, behind the place of a pass.
pub fn routes(host: &Host) -> Router<Host> {
    let uploads = Router::new()
        .route("/media/uploads", post(begin_upload))
        .route(
            "/media/uploads/{id}",
            axum::routing::head(look_upload).patch(send_upload).delete(end_upload),
        )
        .layer(from_fn_with_state(host.clone(), uploads::speak))
        .layer(axum::extract::DefaultBodyLimit::disable());
    let operations = Router::new()
        .route("/platforms", get(list_platforms))
        .route("/platforms/{provider}", get(show_platform))
        .route("/platforms/{provider}/accounts", get(list_accounts))
        .route(
            "/platforms/{provider}/accounts/{id}/publish-options",
            get(publish_options),
        )
        .route("/platforms/{provider}/accounts/{id}/avatar", get(avatar))
        .route("/platforms/{provider}/posts", get(list_posts).post(publish))
        .route("/platforms/{provider}/posts/{id}", get(show_post).delete(cancel_post))
        .route("/platforms/{provider}/posts/{id}/updates", get(post_updates))
        .route("/platforms/{provider}/connect-sessions", post(begin_connect))
        .route(
            "/platforms/{provider}/connect-sessions/{id}/complete",
            post(complete_connect),
        )
        .route("/platforms/{provider}/disconnect", post(disconnect))
        .route("/media/{id}", get(show_media))
        .merge(uploads)
        .layer(from_fn_with_state(host.clone(), admit));
    Router::new().nest(&format!("{PREFIX}{{place}}"), operations)
}

/// Lets requests of a pass's origins in, and answers their browsers' questions. Others get no header of CORS.
async fn admit(State(host): State<Host>, OriginalUri(uri): OriginalUri, mut request: Request, next: Next) -> Response {
    // Below, the path begins after the place.
    let place_text = uri.path().strip_prefix(PREFIX).and_then(|path| path.split('/').next());
    let place_text = place_text.unwrap_or_default().to_owned();
    let origin = request.headers().get(header::ORIGIN).cloned();
    let place = Place::read(&host, &place_text);
    // Pages of this host may be opened with a pass, for a user who has no key. Reading there, browsers send no `Origin`.
    let ours = match &origin {
        None => request
            .headers()
            .get("sec-fetch-site")
            .is_some_and(|site| site == "same-origin"),
        Some(origin) => *origin == host.config.server.public_url.origin().ascii_serialization(),
    };
    if let Some(place) = place.clone().filter(|_| ours) {
        request.extensions_mut().insert(Admitted {
            place,
            text: place_text,
        });
        return next.run(request).await;
    }
    let allowed = match (&place, origin.as_ref().and_then(|origin| origin.to_str().ok())) {
        (Some(place), Some(origin)) => place.allows(origin),
        _ => false,
    };
    let Some((place, origin)) = place.zip(origin).filter(|_| allowed) else {
        let detail =
            "This page may not use this session, or the session has ended. Ask for a new one, with this origin.";
        return ApiProblem::from(Problem::new(ProblemKind::Forbidden, detail)).into_response();
    };
    let mut response = if request.method() == Method::OPTIONS {
        let permissions = [
            (header::ACCESS_CONTROL_ALLOW_METHODS, ALLOWED_METHODS),
            (header::ACCESS_CONTROL_ALLOW_HEADERS, ALLOWED_HEADERS),
            (header::ACCESS_CONTROL_MAX_AGE, "600"),
        ];
        (StatusCode::NO_CONTENT, permissions).into_response()
    } else {
        request.extensions_mut().insert(Admitted {
            place,
            text: place_text,
        });
        next.run(request).await
    };
    let headers = response.headers_mut();
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(EXPOSED));
    headers.insert(header::VARY, HeaderValue::from_static("Origin"));
    headers.insert(
        HeaderName::from_static("cross-origin-resource-policy"),
        HeaderValue::from_static("cross-origin"),
    );
    response
}

/// A request that comes from an origin of its pass.
#[derive(Clone)]
struct Admitted {
    place: Place,
    text: String,
}

/// One user of a tenant, on one platform.
struct Guest(Right, By);

impl FromRequestParts<Host> for Guest {
    type Rejection = ApiProblem;

    async fn from_request_parts(parts: &mut Parts, host: &Host) -> Result<Self, ApiProblem> {
        let ended = || Problem::new(ProblemKind::Unauthorized, "This session has ended. Ask for a new one.");
        let admitted = parts.extensions.get::<Admitted>().ok_or_else(ended)?;
        let secret = parts
            .headers
            .get(header::AUTHORIZATION)
            .and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
        let right = secret
            .and_then(|secret| Right::read(host, &admitted.text, secret))
            .ok_or_else(ended)?;
        let told = parts.extensions.get::<OfKey>().cloned().unwrap_or_default();
        host.gate.admit_guest(admitted.place.counted_as(), &told)?;
        let named = Path::<std::collections::HashMap<String, String>>::from_request_parts(parts, host).await;
        let other = named.is_ok_and(|Path(named)| {
            named
                .get("provider")
                .is_some_and(|name| name != right.provider.as_str())
        });
        if other {
            return Err(Problem::not_found("platform").into());
        }
        let by = By {
            actor: Actor::Owner,
            request_id: request_id(parts),
        };
        Ok(Self(right, by))
    }
}

impl Guest {
    fn caller(&self) -> Caller {
        Caller {
            tenant: self.0.tenant,
            scopes: RIGHTS.to_vec(),
            first_party: false,
            by: self.1.clone(),
        }
    }

    /// An account of this user. Another's is as unknown as one that does not exist.
    async fn account(&self, host: &Host, text: &str) -> Result<Account, Problem> {
        let account: AccountId = id(text, "account")?;
        let found = host.app.store.account(self.0.tenant, account).await?;
        found
            .filter(|account| account.owner == self.0.owner && account.provider == self.0.provider)
            .ok_or_else(|| Problem::not_found("account"))
    }

    /// Looks whether a post went to an account of this user.
    async fn owns_post(&self, host: &Host, text: &str) -> Result<(), Problem> {
        let post: PostId = id(text, "post")?;
        let found = host.app.store.post(self.0.tenant, post).await?;
        let found = found.ok_or_else(|| Problem::not_found("post"))?;
        let account = self.account(host, &found.account.to_string()).await;
        account.map(|_| ()).map_err(|_| Problem::not_found("post"))
    }
}

/// The one platform.
async fn list_platforms(State(host): State<Host>, guest: Guest) -> Json<platforms::PlatformList> {
    let provider = guest.0.provider.clone();
    let Json(mut list) = platforms::list(State(host), guest.caller()).await;
    list.data.retain(|platform| platform.id == provider.as_str());
    Json(list)
}

async fn show_platform(guest: Guest, named: Named) -> ApiResult<Json<platforms::PlatformDetail>> {
    platforms::show(guest.caller(), named).await
}

async fn list_accounts(
    State(host): State<Host>,
    guest: Guest,
    named: Named,
    Query(paging): Query<Paging>,
) -> ApiResult<Json<accounts::AccountList>> {
    let owner = Some(guest.0.owner.clone());
    let wanted = Query(accounts::Wanted { owner });
    accounts::list(State(host), guest.caller(), named, wanted, Query(paging)).await
}

async fn publish_options(
    State(host): State<Host>,
    guest: Guest,
    named: Named,
    Item(account): Item,
) -> ApiResult<(HeaderMap, Json<accounts::PublishOptionsBody>)> {
    guest.account(&host, &account).await?;
    accounts::publish_options(State(host), guest.caller(), named, Item(account)).await
}

async fn avatar(
    State(host): State<Host>,
    guest: Guest,
    named: Named,
    Item(account): Item,
    headers: HeaderMap,
) -> ApiResult<Response> {
    guest.account(&host, &account).await?;
    avatars::avatar(State(host), guest.caller(), named, Item(account), headers).await
}

/// Posts of one of the user's accounts: the one that is named, or the one to speak of.
async fn list_posts(
    State(host): State<Host>,
    guest: Guest,
    named: Named,
    Query(mut wanted): Query<posts::Wanted>,
    Query(paging): Query<Paging>,
) -> ApiResult<Response> {
    let account = match &wanted.account_id {
        Some(text) => guest.account(&host, text).await?,
        None => connect::current(&host, guest.0.tenant, &named.0, Some(guest.0.owner.clone()))
            .await?
            .ok_or_else(|| Problem::not_found("account"))?,
    };
    wanted.account_id = Some(account.id.to_string());
    let list = posts::list(State(host), guest.caller(), named, Query(wanted), Query(paging)).await?;
    Ok(list.into_response())
}

async fn publish(
    State(host): State<Host>,
    guest: Guest,
    named: Named,
    request_id: Extension<RequestId>,
    headers: HeaderMap,
    JsonBody(mut wanted): JsonBody<create::NewPost>,
) -> ApiResult<Response> {
    guest.account(&host, &wanted.account_id).await?;
    if let Some(consent) = &mut wanted.consent {
        // Who agrees is who the pass is for, whatever the page says.
        consent.by = Some(guest.0.owner.clone());
    }
    create::create(
        State(host),
        guest.caller(),
        named,
        request_id,
        headers,
        JsonBody(wanted),
    )
    .await
}

async fn show_post(State(host): State<Host>, guest: Guest, named: Named, Item(post): Item) -> ApiResult<Response> {
    guest.owns_post(&host, &post).await?;
    let shown = posts::show(State(host), guest.caller(), named, Item(post)).await?;
    Ok(shown.into_response())
}

async fn post_updates(
    State(host): State<Host>,
    guest: Guest,
    Named(registered): Named,
    Item(post): Item,
    parts: Parts,
) -> ApiResult<Response> {
    guest.owns_post(&host, &post).await?;
    let post = posts::find(&host, &guest.caller(), registered.id(), &post).await?;
    posts::updates::follow::<Guest>(host, &post, parts)
}

async fn cancel_post(
    State(host): State<Host>,
    guest: Guest,
    named: Named,
    Item(post): Item,
    headers: HeaderMap,
) -> ApiResult<Response> {
    guest.owns_post(&host, &post).await?;
    let cancelled = posts::change::cancel(State(host), guest.caller(), named, Item(post), headers).await?;
    Ok(cancelled.into_response())
}

/// A link to connect an account of this user. What comes of it is taken by the tab that began it, with the same pass.
async fn begin_connect(State(host): State<Host>, guest: Guest, named: Named) -> ApiResult<Response> {
    let wanted = connect_sessions::NewSession {
        owner: guest.0.owner.clone(),
        scopes: Vec::new(),
        account_id: None,
        return_to: None,
        allowed_origins: Some(Vec::new()),
        activate: None,
    };
    let session = connect_sessions::create_session(State(host), guest.caller(), named, JsonBody(wanted)).await?;
    Ok(session.into_response())
}

/// Takes the account that came of it, with the code that this user's browser has brought back.
async fn complete_connect(
    State(host): State<Host>,
    guest: Guest,
    named: Named,
    Item(session): Item,
    completion: JsonBody<connect_sessions::CompletionBody>,
) -> ApiResult<Json<accounts::AccountBody>> {
    let caller = guest.caller();
    let shown = connect_sessions::show_session(
        State(host.clone()),
        guest.caller(),
        Named(named.0.clone()),
        Item(session.clone()),
    );
    if shown.await?.0.owner != guest.0.owner {
        return Err(Problem::not_found("connect session").into());
    }
    connect_sessions::complete_session(State(host), caller, named, Item(session), completion).await
}

async fn disconnect(
    State(host): State<Host>,
    guest: Guest,
    named: Named,
    JsonBody(wanted): JsonBody<connect::Disconnect>,
) -> ApiResult<Json<connect::Success>> {
    let named_account = wanted.account_id.as_deref().unwrap_or_default();
    guest.account(&host, named_account).await?;
    connect::disconnect(State(host), guest.caller(), named, OptionalJson(wanted)).await
}

#[derive(Deserialize)]
struct OfMedia {
    id: String,
}

async fn show_media(
    State(host): State<Host>,
    guest: Guest,
    Path(OfMedia { id }): Path<OfMedia>,
) -> ApiResult<Json<media::MediaBody>> {
    media::show(State(host), guest.caller(), Path(id)).await
}

async fn begin_upload(State(host): State<Host>, guest: Guest, headers: HeaderMap, body: Body) -> ApiResult<Response> {
    let begun = uploads::begin(State(host), guest.caller(), headers, body).await?;
    Ok(begun.into_response())
}

async fn look_upload(
    State(host): State<Host>,
    guest: Guest,
    Path(OfMedia { id }): Path<OfMedia>,
    headers: HeaderMap,
) -> ApiResult<Response> {
    let standing = uploads::look(State(host), guest.caller(), Path(id), headers).await?;
    Ok(standing.into_response())
}

async fn send_upload(
    State(host): State<Host>,
    guest: Guest,
    Path(OfMedia { id }): Path<OfMedia>,
    headers: HeaderMap,
    body: Body,
) -> ApiResult<Response> {
    let sent = uploads::send(State(host), guest.caller(), Path(id), headers, body).await?;
    Ok(sent.into_response())
}

async fn end_upload(
    State(host): State<Host>,
    guest: Guest,
    Path(OfMedia { id }): Path<OfMedia>,
    headers: HeaderMap,
) -> ApiResult<StatusCode> {
    uploads::terminate(State(host), guest.caller(), Path(id), headers).await
}
