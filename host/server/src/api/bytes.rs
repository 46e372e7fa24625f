//! Stored files as answers: whole, or the one part that is asked for.

use axum::{
    body::Body,
    http::{HeaderMap, HeaderValue, Method, StatusCode, header},
    response::Response,
};
use http_range_header::parse_range_header;
use patchbay_app::{
    media::{AWAY, is_away},
    problem::{Problem, ProblemKind},
};
use patchbay_core::{ByteRange, MediaId, MediaInfo};

use crate::host::Host;

/// Answers with the bytes of a file, or what `HEAD` gets. It is never shown in the context of this host, whatever is in it.
///
/// # Errors
/// It has no such part, or cannot be read.
pub async fn answer(
    host: &Host,
    (id, info, sha256): (MediaId, &MediaInfo, [u8; 32]),
    method: &Method,
    headers: &HeaderMap,
) -> Result<Response, Problem> {
    let size = info.size_bytes.unwrap_or_default();
    let tag = format!("\"{}\"", hex::encode(sha256));
    let part = part(headers, size, &tag)?;
    let range = part.unwrap_or(ByteRange { start: 0, end: size });
    let body = if *method == Method::HEAD {
        Body::empty()
    } else {
        let bytes = host.app.media.open(id, range).await.map_err(|error| {
            let problem = if is_away(error.kind()) {
                let detail = "The store of media files does not answer just now. Ask again.";
                Problem::new(ProblemKind::StorageUnavailable, detail).after(AWAY)
            } else {
                let detail = "The file cannot be read. Tell the operator the request id.";
                Problem::new(ProblemKind::Internal, detail)
            };
            problem.because(error)
        })?;
        Body::from_stream(bytes)
    };
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    let octets = HeaderValue::from_static("application/octet-stream");
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_str(&info.mime).unwrap_or(octets),
    );
    headers.insert(header::CONTENT_LENGTH, range.len().into());
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    headers.insert(header::CONTENT_DISPOSITION, HeaderValue::from_static("attachment"));
    if let Ok(tag) = HeaderValue::try_from(tag) {
        headers.insert(header::ETAG, tag);
    }
    if part.is_some() {
        let place = format!("bytes {}-{}/{size}", range.start, range.end.saturating_sub(1));
        if let Ok(place) = HeaderValue::from_str(&place) {
            headers.insert(header::CONTENT_RANGE, place);
        }
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
    }
    Ok(response)
}

/// The one part that is asked for. Several, or what cannot be read, is no request for a part (RFC 9110, 14.2), and neither is
/// one of another file (13.1.5).
fn part(headers: &HeaderMap, size: u64, tag: &str) -> Result<Option<ByteRange>, Problem> {
    let Some(parsed) = headers
        .get(header::RANGE)
        .and_then(|value| parse_range_header(value.to_str().ok()?).ok())
    else {
        return Ok(None);
    };
    if headers.get(header::IF_RANGE).is_some_and(|wanted| wanted != tag) {
        return Ok(None);
    }
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
