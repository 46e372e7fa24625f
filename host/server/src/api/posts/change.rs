//! Changing, publishing and stopping posts that are stored.

use axum::{
    Extension,
    extract::State,
    http::{HeaderMap, StatusCode},
};
use patchbay_app::{model::KeyScope, publish};

use super::{
    super::{
        auth::Caller,
        extract::{Item, JsonBody, Named},
        problem::{ApiResult, ProblemBody},
        request_id::RequestId,
    },
    Versioned,
    body::PostAnswer,
    find, version,
    wanted::{DraftPublication, PostPatch},
};
use crate::host::Host;

/// Changes a draft, or a post that has not begun. What comes of it is checked like a new post, a draft when it is published. Send the post's `ETag` as `If-Match`, so
/// that nothing is overwritten that you have not seen.
#[utoipa::path(patch, path = "/api/platforms/{provider}/posts/{id}", tag = "posts",
    params(("provider" = String, Path, description = "Name of the provider"), ("id" = String, Path, description = "Id of the post"),
        ("If-Match" = Option<String>, Header, description = "The version that you have seen: `ETag` of the post")),
    request_body = PostPatch,
    responses(
        (status = 200, body = PostAnswer, headers(("ETag" = String, description = "Version of the post, for `If-Match`"))),
        (status = 400, body = ProblemBody, content_type = "application/problem+json"),
        (status = 401, body = ProblemBody, content_type = "application/problem+json"),
        (status = 403, body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, body = ProblemBody, content_type = "application/problem+json"),
        (status = 412, body = ProblemBody, content_type = "application/problem+json"),
        (status = 413, body = ProblemBody, content_type = "application/problem+json"),
        (status = 415, body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, body = ProblemBody, content_type = "application/problem+json"),
        (status = 502, body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub async fn edit(
    State(host): State<Host>,
    caller: Caller,
    Named(registered): Named,
    Item(post): Item,
    headers: HeaderMap,
    JsonBody(patch): JsonBody<PostPatch>,
) -> ApiResult<Versioned> {
    caller.may(KeyScope::Publish)?;
    let edit = patch.read()?;
    let post = find(&host, &caller, registered.id(), &post).await?;
    version::seen(&headers, &post)?;
    let post = publish::edit(&host.app, post, edit).await?;
    Versioned::now(&host, post).await
}

/// Publishes a draft of Patchbay's: checks it like a new post, queues it, and answers before anything irreversible happens. Of two
/// requests one publishes it; the other is told `post_not_draft`.
#[utoipa::path(post, path = "/api/platforms/{provider}/posts/{id}/publish", tag = "posts",
    params(("provider" = String, Path, description = "Name of the provider"), ("id" = String, Path, description = "Id of the post"),
        ("If-Match" = Option<String>, Header, description = "The version that you have seen: `ETag` of the post")),
    request_body = DraftPublication,
    responses(
        (status = 202, body = PostAnswer, headers(("ETag" = String, description = "Version of the post, for `If-Match`"))),
        (status = 400, body = ProblemBody, content_type = "application/problem+json"),
        (status = 401, body = ProblemBody, content_type = "application/problem+json"),
        (status = 403, body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, body = ProblemBody, content_type = "application/problem+json"),
        (status = 412, body = ProblemBody, content_type = "application/problem+json"),
        (status = 413, body = ProblemBody, content_type = "application/problem+json"),
        (status = 415, body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, body = ProblemBody, content_type = "application/problem+json"),
        (status = 502, body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub async fn publish_draft(
    State(host): State<Host>,
    caller: Caller,
    Named(registered): Named,
    Item(post): Item,
    Extension(RequestId(request_id)): Extension<RequestId>,
    headers: HeaderMap,
    JsonBody(wanted): JsonBody<DraftPublication>,
) -> ApiResult<(StatusCode, Versioned)> {
    caller.may(KeyScope::Publish)?;
    let wanted = wanted.read()?;
    let post = find(&host, &caller, registered.id(), &post).await?;
    version::seen(&headers, &post)?;
    let post = publish::publish_draft(&host.app, post, wanted, &request_id).await?;
    Ok((StatusCode::ACCEPTED, Versioned::now(&host, post).await?))
}

/// Stops a post: at once if it has not begun, else as far as the platform can.
#[utoipa::path(delete, path = "/api/platforms/{provider}/posts/{id}", tag = "posts",
    params(("provider" = String, Path, description = "Name of the provider"), ("id" = String, Path, description = "Id of the post"),
        ("If-Match" = Option<String>, Header, description = "The version that you have seen: `ETag` of the post")),
    responses(
        (status = 202, body = PostAnswer, description = "Cancelled, or asked for: follow its status",
            headers(("ETag" = String, description = "Version of the post, for `If-Match`"))),
        (status = 400, body = ProblemBody, content_type = "application/problem+json"),
        (status = 401, body = ProblemBody, content_type = "application/problem+json"),
        (status = 403, body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, body = ProblemBody, content_type = "application/problem+json"),
        (status = 412, body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub async fn cancel(
    State(host): State<Host>,
    caller: Caller,
    Named(registered): Named,
    Item(post): Item,
    headers: HeaderMap,
) -> ApiResult<(StatusCode, Versioned)> {
    caller.may(KeyScope::Publish)?;
    let post = find(&host, &caller, registered.id(), &post).await?;
    let seen = version::seen(&headers, &post)?;
    let post = publish::cancel(&host.app, caller.tenant, &post, seen).await?;
    Ok((StatusCode::ACCEPTED, Versioned::now(&host, post).await?))
}
