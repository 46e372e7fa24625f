//! The calls: per call one function that builds the request, and the type that its answer is read into. Pure.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use patchbay_core::{AppCredentials, AuthorizeRequest, Body, Callback, HttpRequest, Post, SecretRef};
use serde::Deserialize;
use serde_json::json;
use url::Url;

use crate::manifest::{API, SITE, op};

/// Where the browser goes.
// CHANGE: names of the parameters, and how the PKCE digest is written (RFC 7636: base64url).
pub(crate) fn authorize_url(app: &AppCredentials, request: &AuthorizeRequest) -> Url {
    let mut url = at(SITE, "/oauth/authorize");
    url.query_pairs_mut()
        .append_pair("response_type", "code")
        .append_pair("client_id", &app.client_id)
        .append_pair("redirect_uri", request.redirect_uri.as_str())
        .append_pair("scope", &request.scopes.join(" "))
        .append_pair("state", &request.state)
        .append_pair("code_challenge", &URL_SAFE_NO_PAD.encode(request.pkce.digest))
        .append_pair("code_challenge_method", "S256");
    url
}

/// Tokens for a code.
pub(crate) fn exchange(app: &AppCredentials, callback: &Callback) -> HttpRequest {
    HttpRequest::new(op::TOKEN_EXCHANGE, at(API, "/oauth/token")).with_body(Body::Form(vec![
        ("grant_type".into(), "authorization_code".into()),
        ("client_id".into(), app.client_id.clone().into()),
        ("client_secret".into(), app.client_secret.clone().into()),
        ("code".into(), callback.code.clone().into()),
        ("code_verifier".into(), callback.pkce_verifier.clone().into()),
        ("redirect_uri".into(), callback.redirect_uri.to_string().into()),
    ]))
}

/// New tokens for a refresh token.
pub(crate) fn refresh(app: &AppCredentials, token: SecretRef) -> HttpRequest {
    HttpRequest::new(op::TOKEN_REFRESH, at(API, "/oauth/token")).with_body(Body::Form(vec![
        ("grant_type".into(), "refresh_token".into()),
        ("client_id".into(), app.client_id.clone().into()),
        ("client_secret".into(), app.client_secret.clone().into()),
        ("refresh_token".into(), token.into()),
    ]))
}

/// The answer to both. The host has put handles in the place of the tokens.
#[derive(Deserialize)]
pub(crate) struct Tokens {
    pub(crate) access_token: SecretRef,
    /// Absent where the old one goes on (RFC 6749, section 6).
    pub(crate) refresh_token: Option<SecretRef>,
    /// Seconds.
    pub(crate) expires_in: u64,
    /// With spaces between them.
    pub(crate) scope: String,
}

/// Ends a grant.
pub(crate) fn revoke(app: &AppCredentials, token: SecretRef) -> HttpRequest {
    HttpRequest::new(op::TOKEN_REVOKE, at(API, "/oauth/revoke")).with_body(Body::Form(vec![
        ("client_id".into(), app.client_id.clone().into()),
        ("client_secret".into(), app.client_secret.clone().into()),
        ("token".into(), token.into()),
    ]))
}

/// Whose token it is. Add the token.
pub(crate) fn me() -> HttpRequest {
    HttpRequest::new(op::ME, at(API, "/v1/me"))
}

#[derive(Deserialize)]
pub(crate) struct Me {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) handle: String,
}

/// Makes a post. `client_ref` is ours: by it a post is found whose answer was lost.
pub(crate) fn create(post: &Post) -> HttpRequest {
    let body = json!({ "text": post.text, "client_ref": post.id.to_string() });
    HttpRequest::new(op::POST_CREATE, at(API, "/v1/posts"))
        .as_account()
        .with_body(Body::Json(body))
}

#[derive(Deserialize)]
pub(crate) struct Created {
    pub(crate) id: String,
}

/// Posts with our name for this one.
pub(crate) fn find(post: &Post) -> HttpRequest {
    HttpRequest::new(op::POST_FIND, at(API, "/v1/posts"))
        .as_account()
        .with_query("client_ref", post.id.to_string())
}

#[derive(Deserialize)]
pub(crate) struct Found {
    pub(crate) posts: Vec<Shown>,
}

/// How a post is doing.
pub(crate) fn get(id: &str) -> HttpRequest {
    let mut url = at(API, "/v1/posts/");
    // An id is the platform's text: nothing in it may become another path.
    if let Ok(mut path) = url.path_segments_mut() {
        path.pop_if_empty().push(id);
    }
    HttpRequest::new(op::POST_GET, url).as_account()
}

#[derive(Deserialize)]
pub(crate) struct Shown {
    pub(crate) id: String,
    pub(crate) state: State,
    pub(crate) url: Option<Url>,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum State {
    Published,
    Rejected,
    /// `processing`, and what the platform adds to its list one day.
    #[serde(other)]
    Processing,
}

fn at(host: &str, path: &str) -> Url {
    Url::parse(&format!("https://{host}{path}")).expect("a fixed host and path")
}
