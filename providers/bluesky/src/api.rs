//! The wire: for each remote call one function that builds the request and one that reads the answer. Nothing here sends
//! anything. Wire types stay private to the file of their call.

pub(crate) mod feed;
pub(crate) mod identity;
pub(crate) mod repo;
pub(crate) mod session;

use patchbay_core::{HttpResponse, ProviderError};
use serde::de::DeserializeOwned;
use url::Url;

use crate::error;

/// The address of a method at a server.
fn xrpc(server: &Url, method: &str) -> Url {
    let mut url = server.clone();
    url.set_path(&format!("/xrpc/{method}"));
    url
}

/// The address of a method at a host of the platform's own.
fn at(host: &str, path: &str) -> Url {
    Url::parse(&format!("https://{host}{path}")).expect("a fixed host and an escaped path")
}

fn read<T: DeserializeOwned>(op: &str, response: &HttpResponse) -> Result<T, ProviderError> {
    if response.is_success() {
        read_body(op, response)
    } else {
        Err(error::refused(op, response))
    }
}

fn read_body<T: DeserializeOwned>(op: &str, response: &HttpResponse) -> Result<T, ProviderError> {
    serde_json::from_slice(&response.body)
        .map_err(|_| error::unexpected(op, "lacks a documented field or has one of another type"))
}
