//! Pages for people: what there is, connect an account, publish. They are the plain files of `web/`, built into the
//! program. They hold no data of anyone: scripts fetch it over the same REST API that every client uses.

use axum::{
    Router,
    extract::{Path, State, rejection::PathRejection},
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use patchbay_core::ProviderId;
use rust_embed::{Embed, EmbeddedFile};

use crate::host::Host;

#[derive(Embed)]
#[folder = "web/"]
struct Web;

/// The pages and what they load. They answer GET and HEAD alone.
pub fn routes() -> Router<Host> {
    Router::new()
        .route("/", get(async || page(StatusCode::OK, "index.html")))
        .route("/platforms/connect", get(async || page(StatusCode::OK, "connect.html")))
        .route("/platforms/connect/{provider}", get(connect))
        .route("/platforms/{provider}/upload", get(upload))
        .route("/web/{file}", get(asset))
}

async fn connect(State(host): State<Host>, provider: Result<Path<String>, PathRejection>) -> Response {
    page_of(&host, provider, "connect.html")
}

async fn upload(State(host): State<Host>, provider: Result<Path<String>, PathRejection>) -> Response {
    page_of(&host, provider, "upload.html")
}

/// A page about one provider, or the page that says that there is no such provider.
fn page_of(host: &Host, provider: Result<Path<String>, PathRejection>, name: &str) -> Response {
    let known = provider
        .ok()
        .and_then(|Path(text)| ProviderId::parse(&text).ok())
        .is_some_and(|id| host.app.registry.get(&id).is_some());
    if known { page(StatusCode::OK, name) } else { page(StatusCode::NOT_FOUND, "missing.html") }
}

/// A page is never kept: the addresses that lead to one may hold the result of a connect.
fn page(status: StatusCode, name: &str) -> Response {
    match Web::get(name) {
        Some(file) => {
            let headers = [(header::CONTENT_TYPE, "text/html; charset=utf-8"), (header::CACHE_CONTROL, "no-store")];
            (status, headers, file.data).into_response()
        }
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

async fn asset(file: Result<Path<String>, PathRejection>, headers: HeaderMap) -> Response {
    let found = file.ok().and_then(|Path(name)| Some((content_type(&name)?, Web::get(&name)?)));
    let Some((content_type, file)) = found else { return StatusCode::NOT_FOUND.into_response() };
    let tag = entity_tag(&file);
    // Always asked for again, seldom sent again: a new version of the program shows at once.
    let kept = [(header::ETAG, tag.clone()), (header::CACHE_CONTROL, HeaderValue::from_static("no-cache"))];
    if holds(&headers, &tag) {
        return (StatusCode::NOT_MODIFIED, kept).into_response();
    }
    let typed: [(HeaderName, &str); 1] = [(header::CONTENT_TYPE, content_type)];
    (kept, typed, file.data).into_response()
}

/// Type of an asset by its name. Pages are no assets: they have their own paths.
fn content_type(name: &str) -> Option<&'static str> {
    let (stem, extension) = name.rsplit_once('.')?;
    if stem.is_empty() || !stem.bytes().all(|b| b.is_ascii_lowercase() || b == b'-') {
        return None;
    }
    match extension {
        "css" => Some("text/css; charset=utf-8"),
        "js" => Some("text/javascript; charset=utf-8"),
        "svg" => Some("image/svg+xml"),
        _ => None,
    }
}

fn entity_tag(file: &EmbeddedFile) -> HeaderValue {
    let text = format!("\"{}\"", hex::encode(&file.metadata.sha256_hash()[..16]));
    HeaderValue::from_str(&text).expect("hexadecimal digits in quotes")
}

/// Whether the browser has this version (RFC 9110, section 13.1.2: compared weakly).
fn holds(headers: &HeaderMap, tag: &HeaderValue) -> bool {
    headers
        .get_all(header::IF_NONE_MATCH)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(|candidate| candidate.trim().trim_start_matches("W/"))
        .any(|candidate| candidate == "*" || candidate.as_bytes() == tag.as_bytes())
}

#[cfg(test)]
mod tests;
