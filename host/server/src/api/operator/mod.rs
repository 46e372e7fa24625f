//! What the operator of an installation sees and does: numbers of the whole, the state of each tenant's accounts, posts,
//! work and deliveries, and running again what was given up. Never what is posted, what a platform or a receiver said in
//! its own words, an address with its path, a token or a file: those are the tenants'.

pub mod accounts;
pub mod components;
pub mod deliveries;
pub mod events;
pub mod overview;
pub mod posts;
pub mod session;
pub mod work;

use axum::{
    extract::{FromRequestParts, Path},
    http::request::Parts,
};
use patchbay_app::{
    model::{Actor, ApiKey, ApiKeyState, By, KeyScope, OperatorSession, Tenant},
    problem::{Problem, ProblemKind},
};
use patchbay_core::ProviderId;
use subtle::ConstantTimeEq;

use super::{
    auth::{self, Caller},
    problem::ApiProblem,
    rate_limit::OfKey,
    tenants,
};
use crate::host::Host;

/// Header of the token that shows that a request is made by a page of this host.
pub const CSRF: &str = "x-csrf-token";

/// A caller that is the operator: by a key of that scope; by a browser in which that key was shown; or, where the pages
/// are open, by a browser of this machine.
pub struct Operator {
    /// Who it is in the audit log.
    pub by: By,
}

impl FromRequestParts<Host> for Operator {
    type Rejection = ApiProblem;

    async fn from_request_parts(parts: &mut Parts, host: &Host) -> Result<Self, ApiProblem> {
        if parts.headers.contains_key(axum::http::header::AUTHORIZATION) {
            let caller = Caller::from_request_parts(parts, host).await?;
            caller.may(KeyScope::Operator)?;
            return Ok(Self { by: caller.by });
        }
        let Some(cookie) = session::cookie(parts, host) else {
            // Whoever may use the pages of this machine may use this one.
            let Caller { by, .. } = Caller::from_request_parts(parts, host).await?;
            return Ok(Self { by });
        };
        if !auth::is_own_page(parts, host) {
            return Err(foreign().into());
        }
        // A cookie goes along by itself, so alone it proves nothing: only a page of this host can read the token.
        let Some(token) = parts.headers.get(CSRF) else {
            return Err(auth::unauthorized().into());
        };
        if !bool::from(token.as_bytes().ct_eq(cookie.csrf_token().as_bytes())) {
            return Err(foreign().into());
        }
        let (_, key) = live(host, &cookie, parts).await?;
        Ok(Self {
            by: By {
                actor: Actor::Operator(key.id),
                request_id: auth::request_id(parts),
            },
        })
    }
}

/// Whether a request brings the cookie of an operator's browser, and no key.
pub(super) fn is_browser(parts: &Parts, host: &Host) -> bool {
    !parts.headers.contains_key(axum::http::header::AUTHORIZATION) && session::cookie(parts, host).is_some()
}

/// The session of a cookie and its key, if both are alive.
async fn live(host: &Host, cookie: &session::Cookie, parts: &Parts) -> Result<(OperatorSession, ApiKey), Problem> {
    let ended = || {
        Problem::new(
            ProblemKind::Unauthorized,
            "This session has ended. Sign in with the operator's key again.",
        )
    };
    let found = host.app.store.operator_session(cookie.hash()).await?;
    let session = found.ok_or_else(ended)?;
    let key = host.gate.key(host, &session.public_id).await?.ok_or_else(ended)?;
    if key.state(host.app.env.now()) != ApiKeyState::Live || !key.scopes.contains(&KeyScope::Operator) {
        return Err(ended());
    }
    let told = parts.extensions.get::<OfKey>().cloned().unwrap_or_default();
    host.gate.admit_key(key.id, &told)?;
    Ok((session, key))
}

fn foreign() -> Problem {
    Problem::new(
        ProblemKind::Forbidden,
        "This request was made by a page of another site, or by one that is too old. Load the page again.",
    )
}

/// A provider that is looked for. Rows of one that is no longer set up are found too.
fn provider(text: &str) -> Result<ProviderId, Problem> {
    ProviderId::parse(text)
        .map_err(|_| Problem::new(ProblemKind::ProviderUnknown, "Names are short and in lower case."))
}

/// The tenant named in the path.
pub struct OfTenant(pub Tenant);

impl FromRequestParts<Host> for OfTenant {
    type Rejection = ApiProblem;

    async fn from_request_parts(parts: &mut Parts, host: &Host) -> Result<Self, ApiProblem> {
        #[derive(serde::Deserialize)]
        struct InPath {
            tenant: String,
        }
        let found = Path::<InPath>::from_request_parts(parts, host).await;
        let Path(InPath { tenant }) = found.map_err(|_| Problem::not_found("tenant"))?;
        Ok(Self(tenants::named(host, &tenant).await?))
    }
}
