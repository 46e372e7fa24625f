//! Asking for posts.

use axum::{
    Extension, Json,
    extract::State,
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode},
    response::{IntoResponse, Response},
};
use chrono::{DateTime, Utc};
use patchbay_app::{
    limits::LimitUse,
    model::KeyScope,
    problem::{Problem, ProblemKind},
    publish::{self, Submitted},
};
use patchbay_core::FieldIssue;
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    super::{
        accounts::LimitBody,
        auth::Caller,
        extract::{Item, JsonBody, Named},
        problem::{ApiResult, ProblemBody},
        rate_limit::{self, Budget},
        request_id::RequestId,
    },
    body::{PostAnswer, PostBody},
    find, show_all, version,
    wanted::NewPosts,
};
use crate::host::Host;

pub use super::wanted::NewPost;

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// Most targets of one request.
const MOST_TARGETS: usize = 20;

/// Publishes a post: checks it, stores it, and answers before anything irreversible happens. With `draft` it is only stored.
#[utoipa::path(post, path = "/api/platforms/{provider}/posts", tag = "posts",
    params(
        ("provider" = String, Path, description = "Name of the provider"),
        ("Idempotency-Key" = Option<String>, Header, description =
            "Send the same key with a repeated request, and there is one post. 1 to 255 visible ASCII characters. \
             One is made and returned if you send none.")),
    request_body = NewPost,
    responses(
        (status = 202, body = PostAnswer, headers(
            ("Idempotency-Key" = String, description = "The key of this request"),
            ("Idempotency-Replayed" = bool, description = "true: this is the answer to an earlier request"),
            ("Location" = String, description = "Path of the post"),
            ("ETag" = String, description = "Version of the post, for `If-Match`"))),
        (status = 400, body = ProblemBody, content_type = "application/problem+json"),
        (status = 401, body = ProblemBody, content_type = "application/problem+json"),
        (status = 403, body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, body = ProblemBody, content_type = "application/problem+json"),
        (status = 413, body = ProblemBody, content_type = "application/problem+json"),
        (status = 415, body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, body = ProblemBody, content_type = "application/problem+json"),
        (status = 502, body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub async fn create(
    State(host): State<Host>,
    caller: Caller,
    Named(registered): Named,
    Extension(RequestId(request_id)): Extension<RequestId>,
    headers: HeaderMap,
    JsonBody(wanted): JsonBody<NewPost>,
) -> ApiResult<Response> {
    caller.may(KeyScope::Publish)?;
    let key = idempotency_key(&host, &headers)?;
    let wanted = wanted.read()?;
    let submitted = publish::submit(
        &host.app,
        caller.tenant,
        Some(registered.id()),
        wanted,
        key.clone(),
        &request_id,
    )
    .await?;
    let mut response = accepted(&host, submitted).await?;
    if let Ok(value) = HeaderValue::from_str(&key) {
        response.headers_mut().insert(IDEMPOTENCY_KEY, value);
    }
    Ok(response)
}

/// What a post would be.
#[derive(Debug, Serialize, ToSchema)]
pub struct Validated {
    /// Provider.
    pub provider: String,
    /// Account.
    pub account_id: String,
    /// It would be made against a simulator.
    pub simulated: bool,
    /// Not before this time.
    pub scheduled_at: Option<DateTime<Utc>>,
    /// Quotas that it would count for, then rate buckets. A post beyond them waits.
    pub quotas: Vec<LimitBody>,
}

/// Checks a post as if it were to be published, a draft too, and does nothing: what is refused here would be refused there, in the
/// same words.
#[utoipa::path(post, path = "/api/platforms/{provider}/posts:validate", tag = "posts",
    params(("provider" = String, Path, description = "Name of the provider")),
    request_body = NewPost,
    responses(
        (status = 200, body = Validated),
        (status = 400, body = ProblemBody, content_type = "application/problem+json"),
        (status = 401, body = ProblemBody, content_type = "application/problem+json"),
        (status = 403, body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, body = ProblemBody, content_type = "application/problem+json"),
        (status = 413, body = ProblemBody, content_type = "application/problem+json"),
        (status = 415, body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, body = ProblemBody, content_type = "application/problem+json"),
        (status = 502, body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub async fn validate(
    State(host): State<Host>,
    caller: Caller,
    Named(registered): Named,
    JsonBody(wanted): JsonBody<NewPost>,
) -> ApiResult<Response> {
    caller.may(KeyScope::Publish)?;
    let (checked, limits) = publish::validate(&host.app, caller.tenant, Some(registered.id()), wanted.read()?).await?;
    let budgets = budgets(&host, &limits);
    let body = Validated {
        provider: checked.account.provider.to_string(),
        account_id: checked.account.id.to_string(),
        simulated: checked.account.simulated,
        scheduled_at: checked.scheduled_at,
        quotas: limits.into_iter().map(LimitBody::from).collect(),
    };
    let mut response = Json(body).into_response();
    rate_limit::tell(&budgets, response.headers_mut());
    Ok(response)
}

/// Posts that were asked for together.
#[derive(Debug, Serialize, ToSchema)]
pub struct PostGroup {
    /// Id of the group; `GET /api/posts?group_id=` lists its posts.
    #[schema(example = "grp_0199f0a2b3c47d8e9f00112233445566")]
    pub id: String,
    /// One for each target, in order.
    pub data: Vec<PostBody>,
}

/// Publishes one post to several accounts, of one platform or of many. Each target becomes a post of its own, with its own
/// outcome. If one of them cannot be taken, none is.
#[utoipa::path(post, path = "/api/posts", tag = "posts",
    params(("Idempotency-Key" = Option<String>, Header, description =
        "Send the same key with a repeated request, and there is one post for each target. 1 to 255 visible ASCII characters. \
         One is made and returned if you send none.")),
    request_body = NewPosts,
    responses(
        (status = 202, body = PostGroup, headers(
            ("Idempotency-Key" = String, description = "The key of this request"),
            ("Idempotency-Replayed" = bool, description = "true: this is the answer to an earlier request"),
            ("Location" = String, description = "Path of the group's posts"))),
        (status = 400, body = ProblemBody, content_type = "application/problem+json"),
        (status = 401, body = ProblemBody, content_type = "application/problem+json"),
        (status = 403, body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, body = ProblemBody, content_type = "application/problem+json"),
        (status = 413, body = ProblemBody, content_type = "application/problem+json"),
        (status = 415, body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, body = ProblemBody, content_type = "application/problem+json"),
        (status = 502, body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub async fn create_many(
    State(host): State<Host>,
    caller: Caller,
    Extension(RequestId(request_id)): Extension<RequestId>,
    headers: HeaderMap,
    JsonBody(wanted): JsonBody<NewPosts>,
) -> ApiResult<Response> {
    caller.may(KeyScope::Publish)?;
    let key = idempotency_key(&host, &headers)?;
    if !(1..=MOST_TARGETS).contains(&wanted.targets.len()) {
        let message = format!("Give 1 to {MOST_TARGETS} targets.");
        return Err(Problem::invalid(vec![FieldIssue::new("/targets", "targets", message)]).into());
    }
    let mut all = Vec::new();
    for (index, post) in wanted.each().into_iter().enumerate() {
        all.push(post.read().map_err(|problem| publish::of_target(index, problem))?);
    }
    let (posts, replayed) = publish::submit_all(&host.app, caller.tenant, all, key.clone(), &request_id).await?;
    let group = posts.first().and_then(|post| post.group);
    let id = group.ok_or_else(|| Problem::not_found("group"))?.to_string();
    let location = format!("/api/posts?group_id={id}");
    let data = show_all(&host, caller.tenant, posts).await?;
    let mut response = (StatusCode::ACCEPTED, Json(PostGroup { id, data })).into_response();
    tell(
        &[("idempotency-key", &key), ("location", &location)],
        replayed,
        &mut response,
    );
    Ok(response)
}

/// Posts once more what failed or was cancelled, as a new post. A post has one retry, however often it is asked for; a
/// retry that failed has one of its own.
#[utoipa::path(post, path = "/api/platforms/{provider}/posts/{id}/retry", tag = "posts",
    params(("provider" = String, Path, description = "Name of the provider"), ("id" = String, Path, description = "Id of the post")),
    responses(
        (status = 202, body = PostAnswer, headers(
            ("Idempotency-Replayed" = bool, description = "true: it was retried before"),
            ("Location" = String, description = "Path of the new post"),
            ("ETag" = String, description = "Version of the post, for `If-Match`"))),
        (status = 401, body = ProblemBody, content_type = "application/problem+json"),
        (status = 403, body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, body = ProblemBody, content_type = "application/problem+json"),
        (status = 502, body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub async fn retry(
    State(host): State<Host>,
    caller: Caller,
    Named(registered): Named,
    Item(post): Item,
    Extension(RequestId(request_id)): Extension<RequestId>,
) -> ApiResult<Response> {
    caller.may(KeyScope::Publish)?;
    let post = find(&host, &caller, registered.id(), &post).await?;
    let submitted = publish::retry(&host.app, caller.tenant, post, &request_id).await?;
    accepted(&host, submitted).await
}

async fn accepted(host: &Host, submitted: Submitted) -> ApiResult<Response> {
    let Submitted { post, replayed, limits } = submitted;
    let location = format!("/api/platforms/{}/posts/{}", post.provider, post.id);
    let budgets = budgets(host, &limits);
    let mut headers = HeaderMap::new();
    version::tell(&post, &mut headers);
    let body = super::answer(host, post, limits).await?;
    let mut response = (StatusCode::ACCEPTED, headers, Json(body)).into_response();
    rate_limit::tell(&budgets, response.headers_mut());
    tell(&[("location", &location)], replayed, &mut response);
    Ok(response)
}

fn budgets(host: &Host, limits: &[LimitUse]) -> Vec<Budget> {
    let now = host.app.env.now();
    limits.iter().map(|limit| Budget::of_platform(limit, now)).collect()
}

/// Adds headers, and whether the answer is to an earlier request.
pub fn tell(headers: &[(&'static str, &str)], replayed: bool, response: &mut Response) {
    let replayed = ("idempotency-replayed", if replayed { "true" } else { "false" });
    for (name, value) in headers.iter().chain([&replayed]) {
        if let Ok(value) = HeaderValue::from_str(value) {
            response.headers_mut().insert(HeaderName::from_static(name), value);
        }
    }
}

/// The request's key, or a new one.
pub fn idempotency_key(host: &Host, headers: &HeaderMap) -> Result<String, Problem> {
    let Some(value) = headers.get(IDEMPOTENCY_KEY) else {
        return Ok(format!("auto-{}", host.app.env.ids.next().simple()));
    };
    let text = value.to_str().unwrap_or_default();
    if (1..=255).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic()) {
        return Ok(text.to_owned());
    }
    Err(Problem::new(
        ProblemKind::BadRequest,
        "An Idempotency-Key has 1 to 255 visible ASCII characters.",
    ))
}
