//! What holds for every request and every answer. One layer, since each layer of a router costs every request some
//! allocations, and webhooks come by the thousand.

use std::{panic::AssertUnwindSafe, time::Instant};

use axum::{
    extract::{MatchedPath, Request, State},
    http::{HeaderName, HeaderValue, Method, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use futures_util::FutureExt;
use patchbay_app::problem::{Problem, ProblemKind};
use tracing::{Instrument, info_span};

use super::{
    problem::{self, ApiProblem},
    rate_limit::{self, OfKey},
    request_id::{self, RequestId},
};
use crate::host::Host;

/// What holds for every request, as a layer of the router.
pub async fn layer(State(host): State<Host>, request: Request, next: Next) -> Response {
    // The route's pattern, never the path: paths hold ids, and labels must stay few.
    let route = request.extensions().get::<MatchedPath>().cloned();
    let route = route.as_ref().map_or("unmatched", MatchedPath::as_str);
    around(&host, route, request, |request| next.run(request)).await
}

/// Gives the request its id, a span and its place in the metrics, and the answer its form: problems, headers.
pub async fn around<F: Future<Output = Response>>(
    host: &Host,
    route: &str,
    mut request: Request,
    handler: impl FnOnce(Request) -> F,
) -> Response {
    let started = Instant::now();
    let id = RequestId::of(request.headers(), &host.app.env);
    request.extensions_mut().insert(id.clone());
    let of_key = OfKey::default();
    request.extensions_mut().insert(of_key.clone());
    let method = known(request.method());
    let span = info_span!("request", method, route, request_id = %id.0);
    let mut response = answer(request, handler).instrument(span).await;
    let status = response.status();
    if status.is_client_error() || status.is_server_error() {
        response = problem::render(response, &id);
    }
    rate_limit::tell(of_key.0.get(), response.headers_mut());
    for (name, value) in HEADERS {
        response
            .headers_mut()
            .entry(name)
            .or_insert(HeaderValue::from_static(value));
    }
    if host.config.server.public_url.scheme() == "https" {
        let year = HeaderValue::from_static("max-age=31536000");
        response.headers_mut().insert(header::STRICT_TRANSPORT_SECURITY, year);
    }
    let labels = [
        metrics::Label::from_static_parts("method", method),
        metrics::Label::new("route", route.to_owned()),
        metrics::Label::new("status", status.as_str().to_owned()),
    ];
    metrics::counter!("patchbay_http_requests_total", labels.iter()).increment(1);
    metrics::histogram!("patchbay_http_seconds", "route" => route.to_owned()).record(started.elapsed().as_secs_f64());
    if let Ok(value) = HeaderValue::try_from(id.0) {
        response.headers_mut().insert(request_id::NAME, value);
    }
    response
}

/// The handler's answer. Compressed request bodies are not read: a small one could unfold without end. A panic is one
/// line in the log, without its payload, and a problem for the client.
async fn answer<F: Future<Output = Response>>(request: Request, handler: impl FnOnce(Request) -> F) -> Response {
    let encoding = request.headers().get(header::CONTENT_ENCODING);
    if encoding.is_some_and(|value| value != "identity") {
        return StatusCode::UNSUPPORTED_MEDIA_TYPE.into_response();
    }
    match AssertUnwindSafe(handler(request)).catch_unwind().await {
        Ok(response) => response,
        Err(_) => {
            let problem = Problem::new(ProblemKind::Internal, "Tell the operator the request id.");
            ApiProblem::from(problem.because("a handler panicked")).into_response()
        }
    }
}

/// A method as a label.
fn known(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::HEAD => "HEAD",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}

/// Headers of every answer, unless a handler has set its own.
const HEADERS: [(HeaderName, &str); 5] = [
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; media-src 'self' blob:; \
         connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'; \
         require-trusted-types-for 'script'",
    ),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::CACHE_CONTROL, "no-store"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
];
