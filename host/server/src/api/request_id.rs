//! One id per request, from the caller's `X-Request-Id` or made here. It is the correlation id of everything that
//! follows: jobs, calls to platforms, log lines.

use axum::{
    extract::{MatchedPath, Request, State},
    http::{HeaderName, HeaderValue},
    middleware::Next,
    response::Response,
};
use tracing::{Instrument, info_span};

use crate::host::Host;

/// Id of a request.
#[derive(Clone, Default)]
pub struct RequestId(pub String);

const NAME: HeaderName = HeaderName::from_static("x-request-id");

/// Gives the request its id, a span, and its place in the metrics. The outermost layer.
pub async fn assign(State(host): State<Host>, mut request: Request, next: Next) -> Response {
    let given = request.headers().get(&NAME).and_then(|value| value.to_str().ok());
    let id = match given.filter(|text| is_plain(text)) {
        Some(text) => text.to_owned(),
        None => format!("req_{}", host.app.env.ids.next().simple()),
    };
    request.extensions_mut().insert(RequestId(id.clone()));
    let method = request.method().clone();
    // The route's pattern, never the path: paths hold ids, and labels must stay few.
    let route = request
        .extensions()
        .get::<MatchedPath>()
        .map_or("unmatched".to_owned(), |path| path.as_str().to_owned());
    let span = info_span!("request", %method, route, request_id = %id);
    let started = std::time::Instant::now();
    let mut response = next.run(request).instrument(span).await;
    let status = response.status().as_u16().to_string();
    let label = if method.as_str().len() <= 7 {
        method.to_string()
    } else {
        "other".to_owned()
    };
    metrics::counter!("patchbay_http_requests_total", "method" => label, "route" => route.clone(), "status" => status)
        .increment(1);
    metrics::histogram!("patchbay_http_seconds", "route" => route).record(started.elapsed().as_secs_f64());
    if let Ok(value) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(NAME, value);
    }
    response
}

fn is_plain(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
}
