//! One id per request, from the caller's `X-Request-Id` or made here. It is the correlation id of everything that
//! follows: jobs, calls to platforms, log lines.

use axum::http::{HeaderMap, HeaderName};
use patchbay_app::env::Env;

/// Id of a request.
#[derive(Clone, Default)]
pub struct RequestId(pub String);

/// Where callers send theirs, and find ours.
pub const NAME: HeaderName = HeaderName::from_static("x-request-id");

impl RequestId {
    /// The caller's id if it is a plain one, or a new one.
    #[must_use]
    pub fn of(headers: &HeaderMap, env: &Env) -> Self {
        let given = headers.get(&NAME).and_then(|value| value.to_str().ok());
        Self(match given.filter(|text| is_plain(text)) {
            Some(text) => text.to_owned(),
            None => format!("req_{}", env.ids.next().simple()),
        })
    }
}

fn is_plain(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
}
