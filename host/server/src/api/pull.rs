//! Stored files for platforms that fetch: by a URL of one attempt, which is a secret of its own.

use axum::{
    body::Body,
    extract::{Path, State},
    http::{HeaderMap, HeaderValue, Method, StatusCode, header},
    response::Response,
};
use http_range_header::parse_range_header;
use patchbay_app::{
    model::{PullFile, PullUrl},
    problem::{Problem, ProblemKind},
    publish,
};
use patchbay_core::ByteRange;

use super::problem::{ApiResult, ProblemBody};
use crate::host::Host;

/// Gives a stored file to the platform that was told this URL. Made for one attempt of one post; closed when its outcome is
/// known, when it turns out that the platform never fetched, and after 24 hours. Answers to `HEAD` and to one `Range`.
#[utoipa::path(get, path = "/api/media/pull/{token}", tag = "media", security(()),
    params(("token" = String, Path, description = "The URL's secret")),
    responses(
        (status = 200, description = "The file", content_type = "application/octet-stream"),
        (status = 206, description = "The part that was asked for", content_type = "application/octet-stream"),
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
    let size = file.info.size_bytes.unwrap_or_default();
    let part = part(&headers, size)?;
    let range = part.unwrap_or(ByteRange { start: 0, end: size });
    let body = if takes {
        let bytes = host.app.media.open(file.media, range).await.map_err(|error| {
            let detail = "The file cannot be read. Tell the operator the request id.";
            Problem::new(ProblemKind::Internal, detail).because(error)
        })?;
        Body::from_stream(bytes)
    } else {
        Body::empty()
    };
    Ok(respond(&file, part, range, size, body))
}

/// The one part that is asked for. Several, or what cannot be read, is no request for a part (RFC 9110, 14.2).
fn part(headers: &HeaderMap, size: u64) -> Result<Option<ByteRange>, Problem> {
    let Some(parsed) = headers
        .get(header::RANGE)
        .and_then(|value| parse_range_header(value.to_str().ok()?).ok())
    else {
        return Ok(None);
    };
    match parsed.validate(size).as_deref() {
        Ok([one]) => Ok(Some(ByteRange {
            start: *one.start(),
            end: one.end() + 1,
        })),
        Ok(_) => Ok(None),
        Err(_) => {
            let detail = format!("The file has {size} bytes.");
            Err(Problem::new(ProblemKind::RangeNotSatisfiable, detail))
        }
    }
}

fn respond(file: &PullFile, part: Option<ByteRange>, range: ByteRange, size: u64, body: Body) -> Response {
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    let octets = HeaderValue::from_static("application/octet-stream");
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_str(&file.info.mime).unwrap_or(octets),
    );
    headers.insert(header::CONTENT_LENGTH, range.len().into());
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    // Never shown in the context of this host, whatever is in it.
    headers.insert(header::CONTENT_DISPOSITION, HeaderValue::from_static("attachment"));
    if let Ok(tag) = HeaderValue::from_str(&format!("\"{}\"", hex::encode(file.sha256))) {
        headers.insert(header::ETAG, tag);
    }
    if part.is_some() {
        let place = format!("bytes {}-{}/{size}", range.start, range.end.saturating_sub(1));
        if let Ok(place) = HeaderValue::from_str(&place) {
            headers.insert(header::CONTENT_RANGE, place);
        }
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
    }
    response
}
