//! Where platforms send their webhooks.

use std::{
    convert::Infallible,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use axum::{
    Extension, Json, Router,
    body::Bytes,
    extract::{DefaultBodyLimit, FromRequest, Request, State},
    http::{HeaderMap, Method},
    response::{IntoResponse, Response},
};
use patchbay_app::{
    ingest::{self, Incoming},
    registry::Registered,
};
use patchbay_core::ProviderId;
use tower::{Service, ServiceExt};

use super::{
    BODY_CAP,
    connect::Success,
    extract::Named,
    middleware,
    problem::{ApiResult, ProblemBody},
    request_id::RequestId,
};
use crate::host::Host;

/// Receives a webhook. It is proved by its signature over the raw body, and answered after it is committed; a repeat
/// of the same bytes is answered alike and has no second effect.
#[utoipa::path(post, path = "/api/platforms/{provider}/webhooks", tag = "webhooks",
    params(("provider" = String, Path, description = "Name of the provider")),
    security(()),
    request_body(content = serde_json::Value, description = "As the platform sends it",
        example = json!({ "event": "authorization.removed", "user_openid": "…" })),
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

/// The router, and in front of it a way for webhooks that is as short as it can be: they come by the thousand, and the
/// router's way costs as much as all the rest of one. Both ways lead to [`accept`].
#[derive(Clone)]
pub struct Door {
    host: Host,
    router: Router,
}

/// What a platform's webhooks are called in metrics.
const ROUTE: &str = "/api/platforms/{provider}/webhooks";

impl Door {
    /// Puts the door before a router.
    #[must_use]
    pub fn before(router: Router, host: Host) -> Self {
        Self { host, router }
    }

    /// The provider to which a request brings a webhook. `None`: it is something else, or nothing that is known.
    fn addressee(&self, request: &Request) -> Option<Arc<Registered>> {
        if request.method() != Method::POST {
            return None;
        }
        let provider = request
            .uri()
            .path()
            .strip_prefix("/api/platforms/")?
            .strip_suffix("/webhooks")?;
        self.host.app.registry.get(&ProviderId::parse(provider).ok()?)
    }
}

impl Service<Request> for Door {
    type Response = Response;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        // A router is always ready.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let Some(registered) = self.addressee(&request) else {
            return Box::pin(self.router.clone().oneshot(request));
        };
        let host = self.host.clone();
        Box::pin(async move {
            let handler = |request| take(&host, &registered, request);
            Ok(middleware::around(&host, ROUTE, request, handler).await)
        })
    }
}

async fn take(host: &Host, registered: &Registered, mut request: Request) -> Response {
    DefaultBodyLimit::max(BODY_CAP).apply(&mut request);
    let headers = std::mem::take(request.headers_mut());
    let RequestId(id) = request.extensions_mut().remove().unwrap_or_default();
    match Bytes::from_request(request, &()).await {
        Ok(body) => accept(host, registered, &id, &headers, &body).await.into_response(),
        Err(rejection) => rejection.into_response(),
    }
}
