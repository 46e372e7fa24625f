//! Login Kit: the authorize page, the token endpoint (exchange, refresh) and revoke.
//!
//! The token endpoint takes forms only and answers flat, without the envelope. Its errors come at HTTP 200, and a
//! wrong secret can bring an answer shaped like a success without a token (ComposioHQ/composio#3980): the body alone
//! decides.

use std::time::Duration;

use patchbay_core::{
    AppCredentials, AuthorizeRequest, Body, Callback, CredentialLifetimes, ErrorKind, HttpRequest, HttpResponse,
    ProviderError, SecretRef,
};
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use url::Url;

use super::{Envelope, api_url, is_opaque_id};
use crate::{
    error::{self, Complaint},
    manifest::op,
};

/// A lifetime beyond this is a fault, not a promise.
const LONGEST_LIFE: u64 = 10 * 366 * 24 * 3600;

/// The page that the browser visits.
pub(crate) fn authorize_url(app: &AppCredentials, request: &AuthorizeRequest) -> Url {
    let mut url = Url::parse("https://www.tiktok.com/v2/auth/authorize/").expect("a fixed address");
    {
        let mut query = url.query_pairs_mut();
        query
            .append_pair("client_key", &app.client_id)
            .append_pair("response_type", "code")
            // Joined by commas: a space is refused (pilcrowonpaper/arctic#251).
            .append_pair("scope", &request.scopes.join(","))
            .append_pair("redirect_uri", request.redirect_uri.as_str())
            .append_pair("state", &request.state)
            // Lower-case hex and not base64url; with base64url the page still works and the exchange fails later.
            // Documented for desktop apps, harmless for web apps: so it is always sent.
            .append_pair("code_challenge", &hex::encode(request.pkce.digest))
            .append_pair("code_challenge_method", "S256");
        if request.force_consent {
            query.append_pair("disable_auto_auth", "1");
        }
    }
    url
}

/// Exchanges the code of a callback.
pub(crate) fn exchange(app: &AppCredentials, callback: &Callback) -> HttpRequest {
    HttpRequest::new(op::TOKEN_EXCHANGE, api_url("/v2/oauth/token/")).with_body(Body::Form(vec![
        ("client_key".into(), app.client_id.as_str().into()),
        ("client_secret".into(), app.client_secret.clone().into()),
        ("grant_type".into(), "authorization_code".into()),
        ("code".into(), callback.code.clone().into()),
        ("redirect_uri".into(), callback.redirect_uri.as_str().into()),
        ("code_verifier".into(), callback.pkce_verifier.clone().into()),
    ]))
}

/// Renews the credentials.
pub(crate) fn refresh(app: &AppCredentials, refresh_token: SecretRef) -> HttpRequest {
    HttpRequest::new(op::TOKEN_REFRESH, api_url("/v2/oauth/token/")).with_body(Body::Form(vec![
        ("client_key".into(), app.client_id.as_str().into()),
        ("client_secret".into(), app.client_secret.clone().into()),
        ("grant_type".into(), "refresh_token".into()),
        ("refresh_token".into(), refresh_token.into()),
    ]))
}

/// Ends the grant.
pub(crate) fn revoke(app: &AppCredentials, access_token: SecretRef) -> HttpRequest {
    HttpRequest::new(op::TOKEN_REVOKE, api_url("/v2/oauth/revoke/")).with_body(Body::Form(vec![
        ("client_key".into(), app.client_id.as_str().into()),
        ("client_secret".into(), app.client_secret.clone().into()),
        ("token".into(), access_token.into()),
    ]))
}

/// Asks for a token of the app itself, which nothing here uses: it tells whether the credentials are good.
pub(crate) fn app_token(app: &AppCredentials) -> HttpRequest {
    HttpRequest::new(op::TOKEN_APP, api_url("/v2/oauth/token/")).with_body(Body::Form(vec![
        ("client_key".into(), app.client_id.as_str().into()),
        ("client_secret".into(), app.client_secret.clone().into()),
        ("grant_type".into(), "client_credentials".into()),
    ]))
}

/// A good answer of the token endpoint.
#[derive(Debug)]
pub(crate) struct Tokens {
    pub access_token: SecretRef,
    pub refresh_token: Option<SecretRef>,
    pub open_id: String,
    pub scopes: Vec<String>,
    pub lifetimes: CredentialLifetimes,
}

/// Reads the answer to [`exchange`] or [`refresh`].
pub(crate) fn parse_tokens(op: &'static str, response: &HttpResponse) -> Result<Tokens, ProviderError> {
    let (access_token, answer) = token_answer(op, response)?;
    let open_id = answer
        .open_id
        .filter(|id| is_opaque_id(id))
        .ok_or_else(|| error::unexpected(op, "names no open_id"))?;
    Ok(Tokens {
        access_token,
        refresh_token: answer.refresh_token.0,
        open_id,
        scopes: split_scopes(answer.scope.as_deref().unwrap_or_default()),
        lifetimes: CredentialLifetimes {
            access: lifetime(op, answer.expires_in)?,
            refresh: lifetime(op, answer.refresh_expires_in)?,
            refresh_not_before: None,
        },
    })
}

/// Reads the answer to [`app_token`].
pub(crate) fn parse_app_token(response: &HttpResponse) -> Result<(), ProviderError> {
    token_answer(op::TOKEN_APP, response).map(drop)
}

/// What every answer of the token endpoint has: a token, or a complaint.
fn token_answer(op: &'static str, response: &HttpResponse) -> Result<(SecretRef, TokenAnswer), ProviderError> {
    if let Some(complaint) = complaint(response) {
        return Err(error::oauth_refused(op, response, &complaint));
    }
    if !response.is_success() {
        return Err(error::oauth_refused(op, response, &Complaint::default()));
    }
    let mut answer: TokenAnswer = serde_json::from_slice(&response.body)
        .map_err(|_| error::unexpected(op, "is not a token answer, or has a field of another type"))?;
    match answer.access_token.0.take() {
        Some(token) => Ok((token, answer)),
        None => Err(ProviderError::new(
            ErrorKind::Permanent,
            "no_access_token",
            format!("{op}: the answer looks like a success and holds no access token: the client secret may be wrong"),
        )),
    }
}

/// Reads the answer to [`revoke`]. Success is an empty body or an empty object.
pub(crate) fn parse_revoke(response: &HttpResponse) -> Result<(), ProviderError> {
    match complaint(response) {
        // The grant is gone already, which is what was wanted.
        Some(c) if matches!(c.code.as_str(), "invalid_grant" | "access_token_invalid") => Ok(()),
        Some(c) => Err(error::oauth_refused(op::TOKEN_REVOKE, response, &c)),
        None if response.is_success() => Ok(()),
        None => Err(error::oauth_refused(op::TOKEN_REVOKE, response, &Complaint::default())),
    }
}

fn complaint(response: &HttpResponse) -> Option<Complaint> {
    Envelope::of(response)
        .complaint
        .filter(|complaint| !complaint.code.is_empty() && complaint.code != "ok")
}

fn split_scopes(list: &str) -> Vec<String> {
    let mut scopes: Vec<String> = Vec::new();
    for scope in list.split(',').map(str::trim).filter(|scope| !scope.is_empty()) {
        if !scopes.iter().any(|known| known == scope) {
            scopes.push(scope.to_owned());
        }
    }
    scopes
}

fn lifetime(op: &str, seconds: Option<i64>) -> Result<Option<Duration>, ProviderError> {
    let Some(seconds) = seconds else { return Ok(None) };
    match u64::try_from(seconds) {
        Ok(seconds @ 1..=LONGEST_LIFE) => Ok(Some(Duration::from_secs(seconds))),
        _ => Err(error::unexpected(op, "gives a lifetime that cannot be")),
    }
}

#[derive(Deserialize)]
struct TokenAnswer {
    #[serde(default)]
    access_token: Handle,
    #[serde(default)]
    refresh_token: Handle,
    open_id: Option<String>,
    scope: Option<String>,
    expires_in: Option<i64>,
    refresh_expires_in: Option<i64>,
}

/// The handle that the host put in the place of a token. An empty or absent token has none.
#[derive(Default)]
struct Handle(Option<SecretRef>);

impl<'de> Deserialize<'de> for Handle {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self(match Value::deserialize(deserializer)? {
            Value::String(text) => SecretRef::parse(&text),
            _ => None,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::tests::answer;

    #[test]
    fn a_granted_scope_list_is_split_at_commas() {
        assert_eq!(
            split_scopes("user.info.basic,video.upload"),
            ["user.info.basic", "video.upload"]
        );
        assert_eq!(split_scopes(" a , b,,a"), ["a", "b"]);
        assert!(split_scopes("").is_empty());
    }

    #[test]
    fn a_lifetime_is_what_tiktok_says_or_refused() {
        assert_eq!(lifetime("op", None).unwrap(), None);
        assert_eq!(lifetime("op", Some(7200)).unwrap(), Some(Duration::from_hours(2)));
        for absurd in [0, -1, i64::MIN, i64::MAX] {
            assert!(lifetime("op", Some(absurd)).is_err(), "{absurd}");
        }
    }

    #[test]
    fn revoking_what_is_gone_is_a_success() {
        for body in [
            "",
            "{}",
            r#"{"error":"invalid_grant","error_description":"gone","log_id":"l"}"#,
        ] {
            assert!(parse_revoke(&answer(200, body)).is_ok(), "{body}");
        }
        assert!(parse_revoke(&answer(401, r#"{"error":{"code":"access_token_invalid"}}"#)).is_ok());
        for (status, body, kind) in [
            (500, "", ErrorKind::Retryable),
            (429, "", ErrorKind::RateLimited),
            (200, r#"{"error":"invalid_client"}"#, ErrorKind::Permanent),
            (401, "", ErrorKind::Permanent),
        ] {
            assert_eq!(
                parse_revoke(&answer(status, body)).unwrap_err().kind,
                kind,
                "{status} {body}"
            );
        }
    }
}
