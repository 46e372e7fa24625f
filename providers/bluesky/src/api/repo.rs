//! Records and blobs in an account's repository.

use patchbay_core::{Body, ByteRange, HttpRequest, HttpResponse, PostMedia, ProviderError};
use serde::Deserialize;
use serde_json::{Value, json};
use url::Url;

use super::{read, read_body, xrpc};
use crate::{error, manifest::op, record::POSTS};

/// Reads a record. It needs no token.
pub(crate) fn get(server: &Url, did: &str, collection: &str, rkey: &str) -> HttpRequest {
    HttpRequest::new(op::RECORD_GET, xrpc(server, "com.atproto.repo.getRecord"))
        .with_query("repo", did)
        .with_query("collection", collection)
        .with_query("rkey", rkey)
}

#[derive(Deserialize)]
struct Found {
    value: Value,
}

/// The record; `None`: there is none under this key.
pub(crate) fn parse_got(response: &HttpResponse) -> Result<Option<Value>, ProviderError> {
    if error::name(response).as_deref() == Some("RecordNotFound") {
        return Ok(None);
    }
    let Found { value } = read(op::RECORD_GET, response)?;
    Ok(Some(value))
}

/// Sends a whole file. There are no parts, and nothing to resume.
pub(crate) fn upload(server: &Url, media: &PostMedia) -> HttpRequest {
    let range = ByteRange {
        start: 0,
        end: media.info.size_bytes.unwrap_or_default(),
    };
    HttpRequest::new(op::BLOB_UPLOAD, xrpc(server, "com.atproto.repo.uploadBlob"))
        .as_account()
        .with_body(Body::Media {
            media: media.id,
            range,
            content_type: media.info.mime.clone().into(),
        })
}

#[derive(Deserialize)]
struct Uploaded {
    blob: Value,
}

/// Longest reference to a file: four of them stay far below a checkpoint's limit.
const MAX_BLOB: usize = 1024;

/// The server's reference to a file, to be put into a record as it is.
pub(crate) fn parse_uploaded(response: &HttpResponse) -> Result<Value, ProviderError> {
    let Uploaded { blob } = read(op::BLOB_UPLOAD, response)?;
    let is_link = blob["ref"]["$link"].is_string() && blob.to_string().len() <= MAX_BLOB;
    is_link
        .then_some(blob)
        .ok_or_else(|| error::unexpected(op::BLOB_UPLOAD, "is no reference to a file"))
}

/// Writes a post under a key of our own. The same call twice leaves one post, and gives the same answer. Where there is
/// another record already, `swapRecord` has the server refuse it (`InvalidSwap`), so that nothing is written over.
pub(crate) fn put(server: &Url, did: &str, rkey: &str, record: &Value) -> HttpRequest {
    let body = json!({ "repo": did, "collection": POSTS, "rkey": rkey, "record": record, "swapRecord": null });
    HttpRequest::new(op::RECORD_PUT, xrpc(server, "com.atproto.repo.putRecord"))
        .as_account()
        .with_body(Body::Json(body))
}

#[derive(Deserialize)]
struct Put {
    uri: String,
}

/// The post's address in the network: `at://<did>/app.bsky.feed.post/<key>`.
pub(crate) fn parse_put(response: &HttpResponse) -> Result<String, ProviderError> {
    if !response.is_success() {
        return Err(error::not_committed(op::RECORD_PUT, response));
    }
    let Put { uri } = read_body(op::RECORD_PUT, response)?;
    Ok(uri)
}
