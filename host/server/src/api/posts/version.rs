//! Versions of posts: `ETag` and `If-Match` (RFC 9110), so that nobody changes what has changed meanwhile.

use axum::http::{HeaderMap, HeaderValue, header};
use chrono::{DateTime, Utc};
use headers::{ETag, HeaderMapExt, IfMatch};
use patchbay_app::{
    model::PostRecord,
    problem::{Problem, ProblemKind},
};

/// The version of a post: its last change.
pub fn text(post: &PostRecord) -> String {
    format!("{:x}", post.updated_at.timestamp_micros())
}

/// The version as a header has it.
fn version(post: &PostRecord) -> String {
    format!("\"{}\"", text(post))
}

/// Adds the version of a post to its answer.
pub fn tell(post: &PostRecord, headers: &mut HeaderMap) {
    if let Ok(value) = HeaderValue::from_str(&version(post)) {
        headers.insert(header::ETAG, value);
    }
}

/// The last change that the caller has seen; `None`: any will do.
///
/// # Errors
/// The post is at another version, or the header is not well formed.
pub fn seen(headers: &HeaderMap, post: &PostRecord) -> Result<Option<DateTime<Utc>>, Problem> {
    let malformed = || {
        Problem::new(
            ProblemKind::BadRequest,
            "If-Match has the ETag of the post, with its quotes.",
        )
    };
    let wanted = match headers.typed_try_get::<IfMatch>() {
        Ok(None) => return Ok(None),
        Ok(Some(wanted)) => wanted,
        Err(_) => return Err(malformed()),
    };
    if wanted == IfMatch::any() {
        return Ok(None);
    }
    let version: ETag = version(post).parse().map_err(|_| malformed())?;
    if wanted.precondition_passes(&version) {
        Ok(Some(post.updated_at))
    } else {
        Err(Problem::new(
            ProblemKind::PreconditionFailed,
            "The post has changed since. Read it again, and send the ETag that comes with it.",
        ))
    }
}
