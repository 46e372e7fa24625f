//! `www.tiktok.com/v2/auth/authorize/`: checks the request, shows a consent page, sends the user back.
//!
//! A refusal either stops on an error page that names the bad parameter, or returns to the redirect URI with
//! `error`. Extra parameters are tolerated: OAuth libraries add their own.

use std::sync::Arc;

use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use patchbay_simkit::text::escape_query;
use url::form_urlencoded;

use super::grants::Code;
use super::page;
use super::redirect::Platform;
use crate::account::Account;
use crate::config::SCOPES;
use crate::switches::Pkce;
use crate::world::World;

/// A request that may be shown to the user.
pub(super) struct Request {
    pub scopes: Vec<String>,
    pub redirect_uri: String,
    pub state: String,
    pub challenge: Option<String>,
    pub skip_page: bool,
}

pub(crate) async fn show(State(world): State<Arc<World>>, RawQuery(query): RawQuery, headers: HeaderMap) -> Response {
    let fields = Fields::parse(query.unwrap_or_default().as_bytes());
    let request = match check(&world, &fields) {
        Ok(request) => request,
        Err(refusal) => return refusal.into_response(),
    };
    if let Some(account) = returning_user(&world, &request, &headers) {
        return allow(&world, &request, &account, request.scopes.clone());
    }
    let accounts = world.accounts();
    page::consent(&fields.pairs, &request, &accounts, &world.config.client_key)
}

pub(crate) async fn decide(State(world): State<Arc<World>>, body: axum::body::Bytes) -> Response {
    let fields = Fields::parse(&body);
    let request = match check(&world, &fields) {
        Ok(request) => request,
        Err(refusal) => return refusal.into_response(),
    };
    if fields.get("decision") != Some("allow") {
        // The user's Cancel (developers.tiktok.com/doc/oauth-error-handling).
        return back(
            &request,
            &[
                ("error", "access_denied"),
                ("error_description", "The user denied the request"),
            ],
        );
    }
    let name = fields.get("account").unwrap_or_default();
    let Some(account) = world.account(name) else {
        return page::refusal("account");
    };
    if world.switches().sandbox && !account.sandbox_target {
        return back(&request, &[("error", "non_sandbox_target")]);
    }
    let granted = request
        .scopes
        .iter()
        // Comes with Login Kit and cannot be unticked.
        .filter(|scope| *scope == "user.info.basic" || fields.all("granted").any(|g| g == scope.as_str()))
        .cloned()
        .collect();
    allow(&world, &request, &account, granted)
}

/// The refusal that a fault switch asks for: back to the app when that is possible, else the error page.
pub(crate) fn fault(world: &World, query: &str, code: &str) -> Response {
    let fields = Fields::parse(query.as_bytes());
    match check(world, &fields) {
        Ok(request) => back(&request, &[("error", code)]),
        Err(refusal) => refusal.into_response(),
    }
}

enum Refusal {
    /// Stops here and names the parameter.
    Page(&'static str),
    /// Returns to the app before consent.
    Back(Box<Request>, Vec<(&'static str, &'static str)>),
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        match self {
            Self::Page(parameter) => page::refusal(parameter),
            Self::Back(request, fields) => back(&request, &fields),
        }
    }
}

fn check(world: &World, fields: &Fields) -> Result<Request, Refusal> {
    let switches = world.switches();
    if fields.get("client_key") != Some(world.config.client_key.as_str()) {
        return Err(Refusal::Page("client_key"));
    }
    if fields.get("response_type") != Some("code") {
        return Err(Refusal::Page("response_type"));
    }
    let redirect_uri = fields.get("redirect_uri").unwrap_or_default();
    let platform = world
        .config
        .redirects
        .find(redirect_uri)
        .ok_or(Refusal::Page("redirect_uri"))?;
    let scopes = scopes(world, fields.get("scope")).ok_or(Refusal::Page("scope"))?;
    let state = fields.get("state").ok_or(Refusal::Page("state"))?;
    let checked = platform == Platform::Desktop || switches.pkce == Pkce::Every;
    let challenge = fields.get("code_challenge").filter(|c| !c.is_empty());
    if checked && challenge.is_none() {
        return Err(Refusal::Page("code_challenge"));
    }
    if checked && fields.get("code_challenge_method") != Some("S256") {
        return Err(Refusal::Page("code_challenge_method"));
    }
    let request = Request {
        scopes,
        redirect_uri: redirect_uri.to_owned(),
        state: state.to_owned(),
        challenge: challenge.filter(|_| checked).map(str::to_owned),
        skip_page: fields.get("disable_auto_auth") == Some("0"),
    };
    if !switches.approved {
        return Err(Refusal::Back(
            Box::new(request),
            vec![("error", "unauthorized_client"), ("error_type", "client_key")],
        ));
    }
    Ok(request)
}

/// Commas only. Unknown scopes, scopes the app was not given, and lists joined with spaces are refused.
fn scopes(world: &World, list: Option<&str>) -> Option<Vec<String>> {
    let mut scopes = Vec::new();
    for scope in list?.split(',') {
        let known = SCOPES.contains(&scope) && world.config.scopes.iter().any(|given| given == scope);
        if !known {
            return None;
        }
        if !scopes.iter().any(|seen| seen == scope) {
            scopes.push(scope.to_owned());
        }
    }
    if !scopes.iter().any(|scope| scope == "user.info.basic") {
        scopes.push("user.info.basic".to_owned());
    }
    Some(scopes)
}

/// `disable_auto_auth=0` skips the page for a user with a valid session who granted all this before.
fn returning_user(world: &World, request: &Request, headers: &HeaderMap) -> Option<Account> {
    let cookies = headers.get(header::COOKIE)?.to_str().ok()?;
    let name = cookies
        .split(';')
        .find_map(|cookie| cookie.trim().strip_prefix(page::SESSION_COOKIE)?.strip_prefix('='))?;
    let account = world.account(name)?;
    let granted = world.state().grants.has_granted(&account.open_id, &request.scopes);
    (request.skip_page && granted).then_some(account)
}

fn allow(world: &World, request: &Request, account: &Account, scopes: Vec<String>) -> Response {
    let now = world.clock.now();
    let granted = scopes.join(",");
    let code = Code {
        open_id: account.open_id.clone(),
        scopes,
        redirect_uri: request.redirect_uri.clone(),
        challenge: request.challenge.clone(),
        expires_at: now + chrono::TimeDelta::seconds(world.switches().code_seconds.into()),
    };
    let code = world.state().grants.issue_code(&world.random, code, now);
    let mut response = back(request, &[("code", &code), ("scopes", &granted)]);
    if let Ok(cookie) = format!(
        "{}={}; HttpOnly; SameSite=Lax; Path=/",
        page::SESSION_COOKIE,
        account.username
    )
    .parse()
    {
        response.headers_mut().insert(header::SET_COOKIE, cookie);
    }
    response
}

/// To the redirect URI with these fields and the state, all percent-encoded.
fn back(request: &Request, fields: &[(&str, &str)]) -> Response {
    let query: Vec<String> = fields
        .iter()
        .copied()
        .chain([("state", request.state.as_str())])
        .map(|(name, value)| format!("{name}={}", escape_query(value)))
        .collect();
    let location = format!("{}?{}", request.redirect_uri, query.join("&"));
    (
        StatusCode::FOUND,
        [
            (header::LOCATION, location),
            (header::CACHE_CONTROL, "no-store".to_owned()),
        ],
    )
        .into_response()
}

/// Form or query fields. The first of several equal names counts, except where all are asked for.
pub(super) struct Fields {
    pub pairs: Vec<(String, String)>,
}

impl Fields {
    pub(super) fn parse(bytes: &[u8]) -> Self {
        Self {
            pairs: form_urlencoded::parse(bytes).into_owned().collect(),
        }
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.pairs
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }

    pub(super) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.pairs
            .iter()
            .filter(move |(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_equal_fields_counts() {
        let fields = Fields::parse(b"a=1&a=2&b=x%2Cy");
        assert_eq!(fields.get("a"), Some("1"));
        assert_eq!(fields.all("a").count(), 2);
        assert_eq!(fields.get("b"), Some("x,y"));
    }
}
