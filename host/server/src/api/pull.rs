//! Stored files for platforms that fetch: by a URL of one attempt, which is a secret of its own.

use axum::{
    extract::{Path, State},
    http::{HeaderMap, Method},
    response::Response,
};
use patchbay_app::{
    model::{PullFile, PullUrl},
    problem::{Problem, ProblemKind},
    publish,
};

use super::{
    bytes,
    problem::{ApiResult, ProblemBody},
};
use crate::host::Host;

/// Gives a stored file to the platform that was told this URL. Made for one attempt of one post; closed when its outcome is
/// known, when it turns out that the platform never fetched, and after 24 hours. Answers to `HEAD` and to one `Range`.
#[utoipa::path(get, path = "/api/media/pull/{token}", tag = "media", security(()),
    params(("token" = String, Path, description = "The URL's secret")),
    responses(
        (status = 200, description = "The file, of its own type", content_type = "*/*"),
        (status = 206, description = "The part that was asked for", content_type = "*/*"),
        (status = 404, body = ProblemBody, content_type = "application/problem+json"),
        (status = 410, body = ProblemBody, content_type = "application/problem+json"),
        (status = 416, body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub async fn fetch(
    State(host): State<Host>,
    Path(token): Path<String>,
    method: Method,
    headers: HeaderMap,
) -> ApiResult<Response> {
    let takes = method != Method::HEAD;
    let file = match publish::pull_file(&host.app, &token, takes).await? {
        Some(PullUrl::Open(file)) => file,
        Some(PullUrl::Closed) => {
            let detail = "The attempt that it was made for is over.";
            return Err(Problem::new(ProblemKind::PullUrlClosed, detail).into());
        }
        None => return Err(Problem::not_found("media file").into()),
    };
    let PullFile {
        media, info, sha256, ..
    } = file;
    Ok(bytes::answer(&host, (media, &info, sha256), &method, &headers).await?)
}
