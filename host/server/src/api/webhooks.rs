//! Where platforms send their webhooks.

use axum::{Extension, Json, body::Bytes, extract::State, http::HeaderMap};
use patchbay_app::{
    ingest::{self, Incoming},
    registry::Registered,
};

use super::{
    connect::Success,
    extract::Named,
    problem::{ApiResult, ProblemBody},
    request_id::RequestId,
};
use crate::host::Host;

/// Receives a webhook. It is proved by its signature over the raw body, and answered after it is committed; a repeat
/// of the same bytes is answered alike and has no second effect.
#[utoipa::path(post, path = "/api/platforms/{provider}/webhooks", tag = "webhooks",
    params(("provider" = String, Path, description = "Name of the provider")),
    security(()),
    request_body(content = String, content_type = "application/json", description = "As the platform sends it"),
    responses(
        (status = 200, body = Success),
        (status = 401, body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, body = ProblemBody, content_type = "application/problem+json"),
        (status = 413, body = ProblemBody, content_type = "application/problem+json"),
        (status = 415, body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub async fn receive(
    State(host): State<Host>,
    Named(registered): Named,
    Extension(RequestId(request_id)): Extension<RequestId>,
    headers: HeaderMap,
    body: Bytes,
) -> ApiResult<Json<Success>> {
    accept(&host, &registered, &request_id, &headers, &body).await
}

/// Proves and stores a webhook.
pub async fn accept(
    host: &Host,
    registered: &Registered,
    request_id: &str,
    headers: &HeaderMap,
    body: &[u8],
) -> ApiResult<Json<Success>> {
    // A value that is no text cannot be a signature; it stays as an empty one, which does not verify.
    let headers: Vec<_> = headers
        .iter()
        .map(|(name, value)| (name.as_str(), value.to_str().unwrap_or_default()))
        .collect();
    let incoming = Incoming {
        registered,
        headers: &headers,
        body,
        correlation_id: request_id,
    };
    ingest::receive(&host.app, incoming).await?;
    Ok(Json(Success { success: true }))
}
