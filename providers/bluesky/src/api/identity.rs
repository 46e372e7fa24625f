//! Who is behind a handle, and which server holds the account: handle → DID → DID document.

use patchbay_core::{HttpRequest, HttpResponse, ProviderError};
use serde::Deserialize;
use serde_json::Value;
use url::Url;

use super::{at, read, xrpc};
use crate::{
    error,
    manifest::{PLC, RESOLVER, op},
    name,
};

/// `com.atproto.identity.resolveHandle`, at a server or, without one, at Bluesky's own.
pub(crate) fn resolve(server: Option<&Url>, handle: &str) -> HttpRequest {
    const METHOD: &str = "com.atproto.identity.resolveHandle";
    let url = match server {
        Some(server) => xrpc(server, METHOD),
        None => at(RESOLVER, &format!("/xrpc/{METHOD}")),
    };
    HttpRequest::new(op::HANDLE_RESOLVE, url).with_query("handle", handle)
}

#[derive(Deserialize)]
struct Resolved {
    did: String,
}

/// The account of a handle; `None`: the server knows none.
pub(crate) fn parse_resolved(response: &HttpResponse) -> Result<Option<String>, ProviderError> {
    // "Unable to resolve handle", or a handle that the server thinks malformed.
    if response.status == 400 && error::name(response).is_some() {
        return Ok(None);
    }
    let Resolved { did } = read(op::HANDLE_RESOLVE, response)?;
    match name::is_did(&did) {
        true => Ok(Some(did)),
        false => Err(error::unexpected(
            op::HANDLE_RESOLVE,
            "names an account of an unknown sort",
        )),
    }
}

/// The account's document, at the directory or at the host that its name holds.
pub(crate) fn document(did: &str) -> HttpRequest {
    match did.strip_prefix("did:web:") {
        Some(host) => HttpRequest::new(op::DID_WEB, at(host, "/.well-known/did.json")),
        None => HttpRequest::new(op::DID_PLC, at(PLC, &format!("/{did}"))),
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    id: String,
    #[serde(default)]
    also_known_as: Vec<String>,
    #[serde(default)]
    service: Vec<Service>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Service {
    id: String,
    service_endpoint: Value,
}

/// What a document says of an account.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Home {
    /// The server that holds it.
    pub server: Url,
    /// Handles that it claims.
    pub handles: Vec<String>,
}

pub(crate) fn parse_document(did: &str, response: &HttpResponse) -> Result<Home, ProviderError> {
    let op = if did.starts_with("did:web:") {
        op::DID_WEB
    } else {
        op::DID_PLC
    };
    let document: Document = read(op, response)?;
    if document.id != did {
        return Err(error::unexpected(op, "is another account's document"));
    }
    let server = document
        .service
        .iter()
        .find(|service| service.id == "#atproto_pds" || service.id.strip_prefix(did) == Some("#atproto_pds"))
        .and_then(|service| name::server(service.service_endpoint.as_str()?))
        .ok_or_else(|| error::unexpected(op, "names no server of the account"))?;
    let handles = document.also_known_as.iter();
    Ok(Home {
        server,
        handles: handles
            .filter_map(|uri| name::handle(uri.strip_prefix("at://")?))
            .collect(),
    })
}
