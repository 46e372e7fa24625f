//! User info: who an account is.

use patchbay_core::{Auth, HttpRequest, HttpResponse, Identity, ProviderError, SecretRef};
use serde::Deserialize;

use super::{api_url, https, is_opaque_id, read};
use crate::{
    error,
    manifest::{USER_INFO_PROFILE, op},
};

/// Asks with a token that belongs to no account yet.
pub(crate) fn of_token(token: SecretRef, scopes: &[String]) -> HttpRequest {
    let mut request = request(op::USER_INFO_CONNECT, scopes);
    request.auth = Auth::Bearer(token);
    request
}

/// Asks for the account of the call.
pub(crate) fn of_account(scopes: &[String]) -> HttpRequest {
    request(op::USER_INFO, scopes).as_account()
}

/// Reads the answer to either.
pub(crate) fn parse(op: &'static str, response: &HttpResponse) -> Result<Identity, ProviderError> {
    let user = read::<Data>(op, response)?.user;
    let open_id = user
        .open_id
        .filter(|id| is_opaque_id(id))
        .ok_or_else(|| error::unexpected(op, "names no open_id"))?;
    let filled = |text: Option<String>| text.filter(|text| !text.is_empty());
    Ok(Identity {
        remote_id: open_id,
        display_name: filled(user.display_name),
        username: filled(user.username),
        avatar_url: https(user.avatar_url),
        profile_url: https(user.profile_deep_link),
    })
}

fn request(op: &'static str, scopes: &[String]) -> HttpRequest {
    // Only the fields that are asked for come back, `open_id` included. A field without its scope fails the call.
    let mut fields = "open_id,avatar_url,display_name".to_owned();
    if scopes.iter().any(|scope| scope == USER_INFO_PROFILE) {
        fields.push_str(",username,profile_deep_link");
    }
    HttpRequest::new(op, api_url("/v2/user/info/")).with_query("fields", fields)
}

#[derive(Deserialize)]
struct Data {
    user: User,
}

#[derive(Deserialize)]
struct User {
    open_id: Option<String>,
    display_name: Option<String>,
    username: Option<String>,
    avatar_url: Option<String>,
    profile_deep_link: Option<String>,
}
