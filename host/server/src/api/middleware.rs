//! What holds for every answer.

use std::any::Any;

use axum::{
    extract::Request,
    http::{HeaderName, HeaderValue, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use patchbay_app::problem::{Problem, ProblemKind};

use super::problem::ApiProblem;

/// Compressed request bodies are not read: a small one could unfold without end.
pub async fn refuse_encoded_bodies(request: Request, next: Next) -> Response {
    let encoded = request
        .headers()
        .get(header::CONTENT_ENCODING)
        .is_some_and(|value| value != "identity");
    if encoded {
        StatusCode::UNSUPPORTED_MEDIA_TYPE.into_response()
    } else {
        next.run(request).await
    }
}

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

/// Headers of every answer, unless a handler has set its own.
pub async fn security_headers(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    for (name, value) in HEADERS {
        response
            .headers_mut()
            .entry(name)
            .or_insert(HeaderValue::from_static(value));
    }
    response
}

/// A panic is one line in the log, without its payload, and a problem for the client.
pub fn panicked(_payload: Box<dyn Any + Send + 'static>) -> Response {
    let problem = Problem::new(ProblemKind::Internal, "Tell the operator the request id.");
    ApiProblem::from(problem.because("a handler panicked")).into_response()
}
