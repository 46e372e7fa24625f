//! The consent page, and tokens.

use std::{collections::HashMap, sync::Arc};

use axum::{
    Form, Json,
    extract::{Query, State},
    http::StatusCode,
    response::{Html, IntoResponse, Redirect, Response},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use patchbay_simkit::text::escape_html;
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use url::Url;

use crate::world::{ACCESS_LIFE, ADA, CODE_LIFE, Code, Grant, SCOPES, World};

/// What the browser brings.
#[derive(Deserialize)]
pub(crate) struct Asked {
    response_type: String,
    client_id: String,
    redirect_uri: String,
    scope: String,
    state: String,
    code_challenge: String,
    code_challenge_method: String,
}

impl Asked {
    // CHANGE: everything that the platform's page refuses.
    fn check(&self, world: &World) -> Result<(), &'static str> {
        let wrong = [
            (self.client_id != world.config.client_id, "client_id"),
            (self.redirect_uri != world.config.redirect_uri, "redirect_uri"),
            (self.response_type != "code", "response_type"),
            (self.state.is_empty(), "state"),
            (self.code_challenge_method != "S256", "code_challenge_method"),
            (
                URL_SAFE_NO_PAD.decode(&self.code_challenge).map(|digest| digest.len()) != Ok(32),
                "code_challenge",
            ),
            (!self.scope.split(' ').all(|scope| SCOPES.contains(&scope)), "scope"),
        ];
        match wrong.iter().find(|(is_wrong, _)| *is_wrong) {
            Some((_, name)) => Err(name),
            None => Ok(()),
        }
    }
}

pub(crate) async fn page(State(world): State<Arc<World>>, Query(asked): Query<Asked>) -> Response {
    if let Err(name) = asked.check(&world) {
        return (StatusCode::BAD_REQUEST, format!("{name} is wrong")).into_response();
    }
    let scope = escape_html(&asked.scope);
    Html(format!(
        "<title>Quill (simulated)</title><h1>{}: allow this app {scope}?</h1><form method=post><button>Allow</button></form>",
        ADA[1]
    ))
    .into_response()
}

pub(crate) async fn allow(State(world): State<Arc<World>>, Query(asked): Query<Asked>) -> Response {
    if let Err(name) = asked.check(&world) {
        return (StatusCode::BAD_REQUEST, format!("{name} is wrong")).into_response();
    }
    let Ok(mut back) = Url::parse(&asked.redirect_uri) else {
        return StatusCode::BAD_REQUEST.into_response();
    };
    let code = world.random.url_safe(32);
    back.query_pairs_mut()
        .append_pair("code", &code)
        .append_pair("state", &asked.state);
    let kept = Code {
        redirect_uri: asked.redirect_uri,
        scope: asked.scope,
        challenge: asked.code_challenge,
        until: world.clock.now() + CODE_LIFE,
    };
    world.state().codes.insert(code, kept);
    Redirect::to(back.as_str()).into_response()
}

type Answer = (StatusCode, Json<Value>);
type Fields = Form<HashMap<String, String>>;

fn refuse(code: &str) -> Answer {
    (StatusCode::BAD_REQUEST, Json(json!({ "error": code })))
}

// CHANGE: what the platform's token call takes and gives.
pub(crate) async fn token(State(world): State<Arc<World>>, Form(form): Fields) -> Answer {
    let field = |name: &str| form.get(name).map(String::as_str).unwrap_or_default();
    if !is_app(&world, &form) {
        return refuse("invalid_client");
    }
    let now = world.clock.now();
    let mut state = world.state();
    let scope = match field("grant_type") {
        "authorization_code" => {
            // A code works once, whatever comes of it.
            let code = state.codes.remove(field("code"));
            let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(field("code_verifier")));
            code.filter(|code| {
                code.until > now && code.redirect_uri == field("redirect_uri") && code.challenge == challenge
            })
            .map(|code| code.scope)
        }
        "refresh_token" => {
            let mut grants = state.grants.iter();
            let known = grants.position(|grant| grant.refresh == field("refresh_token"));
            known.map(|place| state.grants.remove(place).scope)
        }
        _ => return refuse("unsupported_grant_type"),
    };
    let Some(scope) = scope else {
        return refuse("invalid_grant");
    };
    let grant = Grant {
        access: world.random.url_safe(40),
        until: now + ACCESS_LIFE,
        refresh: world.random.url_safe(40),
        scope,
    };
    let answer = json!({
        "access_token": grant.access,
        "refresh_token": grant.refresh,
        "token_type": "bearer",
        "expires_in": ACCESS_LIFE.num_seconds(),
        "scope": grant.scope,
    });
    state.grants.push(grant);
    (StatusCode::OK, Json(answer))
}

/// RFC 7009: a token that is not known is no error.
pub(crate) async fn revoke(State(world): State<Arc<World>>, Form(form): Fields) -> Answer {
    if !is_app(&world, &form) {
        return refuse("invalid_client");
    }
    let token = form.get("token");
    let gone = |grant: &Grant| Some(&grant.refresh) == token || Some(&grant.access) == token;
    world.state().grants.retain(|grant| !gone(grant));
    (StatusCode::OK, Json(json!({})))
}

fn is_app(world: &World, form: &HashMap<String, String>) -> bool {
    form.get("client_id") == Some(&world.config.client_id)
        && form.get("client_secret") == Some(&world.config.client_secret)
}
