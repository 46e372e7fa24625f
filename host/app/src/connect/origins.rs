//! Origins of tenants: where a browser may be sent back to, and who may be told what came of a connect. They are
//! registered first, and each is checked when it is named and again when a browser is sent there.

use patchbay_core::{FieldIssue, TenantId};
use serde_json::json;
use tracing::warn;
use url::{Host, Url};

use super::Landing;
use crate::{
    App,
    model::{AuditAction, By, Flow, Session},
    problem::Problem,
};

/// Most origins of a tenant.
pub const MOST: usize = 50;
/// Longest address to go back to, in bytes.
pub const MAX_RETURN: usize = 2048;
/// What a browser brings back in the query. An address to go back to has none of them yet.
const OURS: [&str; 5] = ["session_id", "completion_code", "error", "code", "missing_scopes"];

/// Registers a tenant's origins in the place of those that it has.
///
/// # Errors
/// One of them is no origin, or there are too many.
pub async fn register(app: &App, by: &By, tenant: TenantId, origins: &[String]) -> Result<Vec<String>, Problem> {
    if origins.len() > MOST {
        let issue = FieldIssue::new("/origins", "count", format!("A tenant has at most {MOST} origins."));
        return Err(Problem::invalid(vec![issue]));
    }
    let mut issues = Vec::new();
    for (index, origin) in origins.iter().enumerate() {
        if !is_origin(origin) {
            let message = "An origin is https:// and a host, with a port if it is not 443, in lower case and with nothing after \
                           it: https://app.example.com. Plain http is for loopback alone.";
            issues.push(FieldIssue::new(format!("/origins/{index}"), "origin", message));
        }
    }
    if !issues.is_empty() {
        return Err(Problem::invalid(issues));
    }
    let mut wanted = origins.to_vec();
    wanted.sort_unstable();
    wanted.dedup();
    let audit = by
        .did(&app.env, AuditAction::OriginsChanged, tenant)
        .saying(json!({ "origins": wanted }));
    if app.store.set_connect_origins(tenant, &wanted, &audit).await? {
        Ok(wanted)
    } else {
        Err(Problem::not_found("tenant"))
    }
}

/// Origins of a session: those that it names, all of them registered, or else all that are.
///
/// # Errors
/// One is not registered.
pub async fn of_session(app: &App, tenant: TenantId, named: Option<Vec<String>>) -> Result<Vec<String>, Problem> {
    let registered = app.store.connect_origins(tenant).await?;
    let Some(named) = named else {
        return Ok(registered);
    };
    let unknown = |(index, _)| {
        let message = "This origin is not registered: see PUT /api/connect-origins.";
        FieldIssue::new(format!("/allowed_origins/{index}"), "not_registered", message)
    };
    let issues: Vec<_> = named
        .iter()
        .enumerate()
        .filter(|(_, origin)| !registered.contains(origin))
        .map(unknown)
        .collect();
    if issues.is_empty() {
        Ok(named)
    } else {
        Err(Problem::invalid(issues))
    }
}

/// An address to go back to: of one of these origins to the letter, so that no two readers can take it for different
/// hosts.
///
/// # Errors
/// Why it is none.
pub fn checked_return(text: &str, origins: &[String]) -> Result<Url, &'static str> {
    if text.len() > MAX_RETURN || text.chars().any(|c| !c.is_ascii_graphic() || c == '\\') {
        return Err("Give a URL of at most 2048 ASCII characters, without blanks, controls and backslashes.");
    }
    let url = Url::parse(text).map_err(|_| "Give a whole URL, with https:// and a host.")?;
    let follows = |rest: &str| rest.is_empty() || rest.starts_with(['/', '?']);
    let known = origins.iter().any(|origin| {
        is_origin(origin)
            && text.strip_prefix(origin.as_str()).is_some_and(follows)
            && url.origin().ascii_serialization() == *origin
    });
    if !known {
        return Err("Its origin is not registered, or not written as it is registered.");
    }
    if url.fragment().is_some() {
        return Err("Leave the fragment out.");
    }
    if url.query_pairs().any(|(name, _)| OURS.contains(&name.as_ref())) {
        return Err(
            "Leave session_id, completion_code, error, code and missing_scopes out of the query: they are added.",
        );
    }
    Ok(url)
}

/// Where a browser goes after its connect. What a session says is checked again here: the tenant may have taken an origin
/// back, and a row may have been changed.
pub(super) async fn landing(app: &App, flow: &Flow, session: Option<&Session>) -> Result<Landing, Problem> {
    let own = || flow.return_to.clone();
    let Some(session) = session else {
        return Ok(Landing::Own(own()));
    };
    let registered = app.store.connect_origins(flow.tenant).await?;
    let mut origins = session.origins.clone();
    origins.retain(|origin| is_origin(origin) && registered.contains(origin));
    match &session.return_to {
        Some(text) => Ok(checked_return(text, &origins).map_or_else(
            |why| {
                warn!(session.id = %session.id, why, "A browser is not sent to the page that its session names");
                Landing::Nobody(own())
            },
            Landing::Tenant,
        )),
        None if origins.is_empty() => Ok(Landing::Own(own())),
        None => Ok(Landing::Opener(origins)),
    }
}

/// Scheme, host and port, written as browsers write them.
fn is_origin(text: &str) -> bool {
    let Ok(url) = Url::parse(text) else { return false };
    let loopback = match url.host() {
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        None => false,
    };
    // A URL's host may hold what no name has, such as `*`.
    let plain = url.domain().is_none_or(|name| {
        name.bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'.'))
    });
    let allowed = url.scheme() == "https" || (url.scheme() == "http" && loopback);
    allowed && plain && url.origin().ascii_serialization() == text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_written_in_one_way() {
        for good in [
            "https://app.example.com",
            "https://app.example.com:8443",
            "https://xn--bcher-kva.example",
            "http://localhost:3000",
            "http://127.0.0.1:1",
            "http://[::1]:8080",
        ] {
            assert!(is_origin(good), "{good}");
        }
        for bad in [
            "",
            "*",
            "null",
            "https://*",
            "https://*.example.com",
            "https://app_.example.com",
            "https://",
            "app.example.com",
            "http://app.example.com",
            "https://app.example.com/",
            "https://app.example.com:443",
            "https://App.example.com",
            "https://a@app.example.com",
            "https://app.example.com?x",
            "https://app.example.com#x",
            " https://app.example.com",
            "https://bücher.example",
            "javascript:alert(1)",
            "data:text/html,x",
            "file:///etc/passwd",
            "http://localhost.evil.net",
            "ftp://app.example.com",
            "https:app.example.com",
            "https:\\\\app.example.com",
        ] {
            assert!(!is_origin(bad), "{bad}");
        }
    }
}
