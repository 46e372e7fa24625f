//! `POST /v2/oauth/token/` and `/v2/oauth/revoke/`: forms in, flat JSON out.
//!
//! The real endpoint was seen to refuse at HTTP 200, so the body alone tells success from refusal.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{Extension, State};
use axum::http::{HeaderMap, header};
use axum::response::Response;
use patchbay_simkit::fault::setting;
use patchbay_simkit::gate::Hits;
use serde_json::{Value, json};

use super::authorize::Fields;
use super::grants::Tokens;
use super::pkce;
use crate::answer::OauthError;
use crate::hooks::RemovalReason;
use crate::world::World;

/// developers.tiktok.com/doc/client-access-token-management
const CLIENT_TOKEN_SECONDS: i64 = 7200;

pub(crate) async fn token(
    State(world): State<Arc<World>>,
    Extension(hits): Extension<Hits>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    if setting(&hits.0, "omit_access_token").is_some() {
        // Seen with a wrong secret: looks like success, holds no token.
        return world.oauth_success(json!({
            "expires_in": 0, "open_id": "", "refresh_expires_in": 0, "scope": "", "token_type": "Bearer",
        }));
    }
    match grant(&world, &headers, &body) {
        Ok(answer) => world.oauth_success(answer),
        Err(error) => world.oauth_failure(&error),
    }
}

pub(crate) async fn revoke(State(world): State<Arc<World>>, headers: HeaderMap, body: Bytes) -> Response {
    match revoke_token(&world, &headers, &body) {
        Ok(()) => world.oauth_success(json!({})),
        Err(error) => world.oauth_failure(&error),
    }
}

fn grant(world: &World, headers: &HeaderMap, body: &[u8]) -> Result<Value, OauthError> {
    let form = form(headers, body)?;
    authenticate(world, &form)?;
    match required(&form, "grant_type")? {
        "authorization_code" => exchange(world, &form).map(|tokens| written(&tokens)),
        "refresh_token" => refresh(world, &form).map(|tokens| written(&tokens)),
        "client_credentials" => Ok(json!({
            "access_token": format!("clt.{}", world.random.alphanumeric(48)),
            "expires_in": CLIENT_TOKEN_SECONDS,
            "token_type": "Bearer",
        })),
        _ => Err(OauthError::new(
            "unsupported_grant_type",
            "The authorization grant type is not supported",
        )),
    }
}

fn exchange(world: &World, form: &Fields) -> Result<Tokens, OauthError> {
    let now = world.clock.now();
    let text = required(form, "code")?;
    let redirect_uri = required(form, "redirect_uri")?;
    let mut state = world.state();
    let code = state.grants.take_code(text, now).ok_or(OauthError::new(
        "invalid_grant",
        "Authorization code is invalid, expired or already used.",
    ))?;
    if code.redirect_uri != redirect_uri {
        return Err(OauthError::new(
            "invalid_request",
            "Redirect_uri is not matched with the uri when requesting code.",
        ));
    }
    if let Some(challenge) = &code.challenge {
        let verifier = form.get("code_verifier").unwrap_or_default();
        if !pkce::is_verifier(verifier) || pkce::challenge(verifier) != *challenge {
            return Err(OauthError::new(
                "invalid_request",
                "Code verifier or code challenge is invalid.",
            ));
        }
    }
    let tokens = state
        .grants
        .open(&world.random, &world.switches(), (&code.open_id, &code.scopes), now);
    Ok(tokens)
}

fn refresh(world: &World, form: &Fields) -> Result<Tokens, OauthError> {
    let token = required(form, "refresh_token")?;
    let now = world.clock.now();
    world
        .state()
        .grants
        .refresh(&world.random, &world.switches(), token, now)
        .ok_or(OauthError::new("invalid_grant", "Refresh token is invalid or expired."))
}

fn revoke_token(world: &World, headers: &HeaderMap, body: &[u8]) -> Result<(), OauthError> {
    let form = form(headers, body)?;
    authenticate(world, &form)?;
    let token = required(&form, "token")?;
    let owner = world.state().grants.bearer(token, world.clock.now());
    let bearer = owner.ok_or(OauthError::new(
        "invalid_grant",
        "Access token is invalid or already revoked.",
    ))?;
    world.remove_authorization(&bearer.open_id, RemovalReason::DeveloperRevoked);
    Ok(())
}

fn form(headers: &HeaderMap, body: &[u8]) -> Result<Fields, OauthError> {
    let kind = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    if kind.split(';').next().map(str::trim) != Some("application/x-www-form-urlencoded") {
        return Err(OauthError::new(
            "invalid_request",
            "Only `application/x-www-form-urlencoded` is accepted as Content-Type.",
        ));
    }
    Ok(Fields::parse(body))
}

/// Credentials travel in the body; Basic authentication is not looked at.
fn authenticate(world: &World, form: &Fields) -> Result<(), OauthError> {
    let key = required(form, "client_key")?;
    let secret = required(form, "client_secret")?;
    if key == world.config.client_key && secret == world.config.client_secret {
        Ok(())
    } else {
        Err(OauthError::new("invalid_client", "Client key or secret is incorrect."))
    }
}

fn required<'a>(form: &'a Fields, name: &'static str) -> Result<&'a str, OauthError> {
    form.get(name)
        .filter(|value| !value.is_empty())
        .ok_or_else(|| OauthError {
            description: format!("The request parameters are malformed: {name} is missing.").into(),
            ..OauthError::new("invalid_request", "")
        })
}

fn written(tokens: &Tokens) -> Value {
    json!({
        "access_token": tokens.access_token,
        "expires_in": tokens.expires_in,
        "open_id": tokens.open_id,
        "refresh_expires_in": tokens.refresh_expires_in,
        "refresh_token": tokens.refresh_token,
        "scope": tokens.scope,
        "token_type": "Bearer",
    })
}
