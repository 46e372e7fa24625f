//! One chunk to the upload URL. The whole URL is a secret; no token goes with it.

use patchbay_core::{Body, ErrorKind, HttpRequest, HttpResponse, PostMedia, ProviderError, SecretRef, Target};

use super::{is_definite, unsure};
use crate::{chunk::Chunk, error, manifest::op};

pub(crate) fn request(media: &PostMedia, upload_url: SecretRef, chunk: Chunk, total: u64) -> HttpRequest {
    let range = chunk.range;
    HttpRequest::to(op_of(chunk), Target::Secret(upload_url))
        .with_header(
            "Content-Range",
            format!("bytes {}-{}/{total}", range.start, range.end.saturating_sub(1)),
        )
        .with_body(Body::Media {
            media: media.id,
            range,
            content_type: media.info.mime.clone().into(),
        })
}

/// What TikTok says of a chunk.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum ChunkAnswer {
    /// It has it.
    Taken,
    /// The range is not where the upload stands.
    OutOfStep,
    /// The upload URL is expired or unknown.
    UrlDead,
}

/// Reads the answer. Its body is not documented and its `Content-Range` is ambiguous (a count or a last index): the
/// caller counts the bytes.
pub(crate) fn parse(chunk: Chunk, response: &HttpResponse) -> Result<ChunkAnswer, ProviderError> {
    let op = op_of(chunk);
    match response.status {
        // 206: more is expected; 201: all parts are in. 200 for the last chunk was reported once.
        200 | 201 | 206 => Ok(ChunkAnswer::Taken),
        416 => Ok(ChunkAnswer::OutOfStep),
        403 | 404 => Ok(ChunkAnswer::UrlDead),
        429 => Err(error::by_status(op, response)),
        status if is_definite(status) => Err(error::ours(
            "upload_refused",
            &format!("{op}: HTTP status {status} for a chunk"),
        )),
        _ => {
            let error = error::by_status(op, response);
            Err(if chunk.last { unsure(error) } else { retry(error) })
        }
    }
}

/// Before the last byte nothing is lost by sending a chunk again.
fn retry(error: ProviderError) -> ProviderError {
    ProviderError {
        kind: ErrorKind::Retryable,
        ..error
    }
}

fn op_of(chunk: Chunk) -> &'static str {
    if chunk.last {
        op::VIDEO_CHUNK_LAST
    } else {
        op::VIDEO_CHUNK
    }
}

#[cfg(test)]
mod tests {
    use patchbay_core::ByteRange;

    use super::*;
    use crate::api::tests::answer;

    fn read(last: bool, status: u16) -> Result<ChunkAnswer, ErrorKind> {
        let chunk = Chunk {
            range: ByteRange { start: 0, end: 10 },
            last,
        };
        parse(chunk, &answer(status, "")).map_err(|error| error.kind)
    }

    #[test]
    fn each_status_of_a_chunk_has_its_meaning() {
        for last in [false, true] {
            for status in [200, 201, 206] {
                assert_eq!(read(last, status), Ok(ChunkAnswer::Taken));
            }
            assert_eq!(read(last, 416), Ok(ChunkAnswer::OutOfStep));
            assert_eq!(read(last, 403), Ok(ChunkAnswer::UrlDead));
            assert_eq!(read(last, 404), Ok(ChunkAnswer::UrlDead));
            assert_eq!(read(last, 400), Err(ErrorKind::Permanent));
            assert_eq!(read(last, 401), Err(ErrorKind::Permanent));
            assert_eq!(read(last, 429), Err(ErrorKind::RateLimited));
        }
    }

    #[test]
    fn a_fault_leaves_only_the_last_chunk_open() {
        for status in [204, 302, 408, 500, 502, 503] {
            assert_eq!(read(false, status), Err(ErrorKind::Retryable), "{status}");
            assert_eq!(read(true, status), Err(ErrorKind::OutcomeUnknown), "{status}");
        }
    }
}
