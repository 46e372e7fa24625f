//! Sessions of an account at its server: begun with an app password, renewed, ended.

use patchbay_core::{Body, HttpRequest, HttpResponse, ProviderError, SecretRef};
use serde::Deserialize;
use serde_json::json;
use url::Url;

use super::{read, read_body, xrpc};
use crate::{error, manifest::op};

/// `com.atproto.server.createSession`. A server counts these: 30 in five minutes, 300 a day.
pub(crate) fn create(server: &Url, did: &str, password: SecretRef) -> HttpRequest {
    HttpRequest::new(op::SESSION_CREATE, xrpc(server, "com.atproto.server.createSession"))
        .with_body(Body::Json(json!({ "identifier": did, "password": "" })))
        .with_body_secret("/password", password)
}

/// `com.atproto.server.refreshSession`: the refresh token is the bearer.
pub(crate) fn refresh(server: &Url, token: SecretRef) -> HttpRequest {
    let url = xrpc(server, "com.atproto.server.refreshSession");
    HttpRequest::new(op::SESSION_REFRESH, url).as_bearer(token)
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Tokens {
    access_jwt: SecretRef,
    refresh_jwt: SecretRef,
    #[serde(flatten)]
    account: Account,
}

#[derive(Deserialize)]
struct Account {
    did: String,
    handle: String,
    /// Older servers do not say.
    active: Option<bool>,
    status: Option<String>,
}

/// An open session.
#[derive(Debug)]
pub(crate) struct Session {
    pub access_token: SecretRef,
    pub refresh_token: SecretRef,
    pub did: String,
    pub handle: String,
}

pub(crate) fn parse_created(response: &HttpResponse) -> Result<Session, ProviderError> {
    of_active(op::SESSION_CREATE, read(op::SESSION_CREATE, response)?)
}

pub(crate) fn parse_refreshed(response: &HttpResponse) -> Result<Session, ProviderError> {
    if !response.is_success() {
        return Err(error::not_renewed(op::SESSION_REFRESH, response));
    }
    // Also of an account that is not active: the old tokens may be gone.
    Ok(Session::of(read_body(op::SESSION_REFRESH, response)?))
}

fn of_active(op: &str, tokens: Tokens) -> Result<Session, ProviderError> {
    check_active(op, &tokens.account)?;
    Ok(Session::of(tokens))
}

fn check_active(op: &str, account: &Account) -> Result<(), ProviderError> {
    if account.active == Some(false) {
        let status = account.status.as_deref().unwrap_or("inactive");
        let status: String = status.chars().filter(char::is_ascii_alphanumeric).take(32).collect();
        return Err(error::wrong_input(
            "account_inactive",
            &format!("{op}: the account is {status}"),
            "This account is not active. Reactivate it in the Bluesky app.",
        ));
    }
    Ok(())
}

impl Session {
    fn of(tokens: Tokens) -> Self {
        Self {
            access_token: tokens.access_jwt,
            refresh_token: tokens.refresh_jwt,
            did: tokens.account.did,
            handle: tokens.account.handle,
        }
    }
}

/// `com.atproto.server.getSession`.
pub(crate) fn get(server: &Url) -> HttpRequest {
    HttpRequest::new(op::SESSION_GET, xrpc(server, "com.atproto.server.getSession")).as_account()
}

/// DID and handle.
pub(crate) fn parse_got(response: &HttpResponse) -> Result<(String, String), ProviderError> {
    let account: Account = read(op::SESSION_GET, response)?;
    Ok((account.did, account.handle))
}

/// `com.atproto.server.deleteSession`, again with the refresh token.
pub(crate) fn delete(server: &Url, token: SecretRef) -> HttpRequest {
    HttpRequest::new(op::SESSION_DELETE, xrpc(server, "com.atproto.server.deleteSession")).as_bearer(token)
}

pub(crate) fn parse_deleted(response: &HttpResponse) -> Result<(), ProviderError> {
    let gone = matches!(error::name(response).as_deref(), Some("ExpiredToken" | "InvalidToken"));
    if response.is_success() || gone {
        Ok(())
    } else {
        Err(error::refused(op::SESSION_DELETE, response))
    }
}
