//! Who calls. An API key in `Authorization: Bearer`; or, where the operator has opened the first-party pages on a
//! loopback address, a browser on the same machine.

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    num::NonZeroU32,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use axum::{
    extract::{ConnectInfo, FromRequestParts},
    http::{Method, header, request::Parts},
};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use patchbay_app::{
    model::{Actor, ApiKey, ApiKeyState, By, KeyScope},
    problem::{Problem, ProblemKind},
};
use patchbay_core::{ApiKeyId, TenantId};
use subtle::ConstantTimeEq;

use super::{pace::Pace, problem::ApiProblem, rate_limit::OfKey, request_id::RequestId};
use crate::{
    config::{FirstParty, LimitsConfig},
    host::Host,
    keys::KeyText,
};

/// The owner under whom first-party pages act.
pub const FIRST_PARTY_OWNER: &str = "default";
/// Stands for the key that first-party pages do not have.
const FIRST_PARTY_KEY: ApiKeyId = ApiKeyId::from_uuid(uuid::Uuid::nil());
/// How long a key that was looked up is believed.
const CACHE_TTL: Duration = Duration::from_secs(5);
/// Failed tries of one address in a minute.
const FAILURES_PER_MINUTE: NonZeroU32 = NonZeroU32::new(20).expect("20 is not 0");
const MAX_CACHED: usize = 10_000;

/// An authenticated caller.
#[derive(Debug, Clone)]
pub struct Caller {
    /// Whose data.
    pub tenant: TenantId,
    /// What it may do.
    pub scopes: Vec<KeyScope>,
    /// A browser of the first-party pages, not a backend.
    pub first_party: bool,
    /// On whose word it acts, for the audit log.
    pub by: By,
}

impl Caller {
    /// Refuses a caller without a scope.
    ///
    /// # Errors
    /// It has not that scope.
    pub fn may(&self, scope: KeyScope) -> Result<&Self, Problem> {
        if self.scopes.contains(&scope) {
            return Ok(self);
        }
        let detail = format!("This key lacks the scope {}. Make one that has it.", scope.as_str());
        Err(Problem::new(ProblemKind::Forbidden, detail))
    }
}

/// Remembers keys for a moment, how fast they go, and addresses that guess.
pub struct Gate {
    cache: Mutex<HashMap<String, (Instant, ApiKey)>>,
    failures: DefaultKeyedRateLimiter<IpAddr>,
    shut: Mutex<HashMap<IpAddr, Instant>>,
    pace: Pace,
}

impl Gate {
    /// A gate with the limits of the configuration.
    #[must_use]
    pub fn new(limits: &LimitsConfig) -> Self {
        Self {
            cache: Mutex::default(),
            failures: RateLimiter::keyed(Quota::per_minute(FAILURES_PER_MINUTE)),
            shut: Mutex::default(),
            pace: Pace::new(limits),
        }
    }

    /// Forgets callers that have been away. To be called from time to time.
    pub fn forget_idle(&self) {
        self.pace.forget_idle();
    }

    /// Refuses an address from which too many wrong keys came.
    pub(super) fn admit_address(&self, address: IpAddr) -> Result<(), Problem> {
        self.shut_for(address).map_or(Ok(()), |wait| {
            let detail = "Too many wrong keys came from this address. Wait, and check the key.";
            Err(Problem::new(ProblemKind::RateLimited, detail).after(wait))
        })
    }

    /// Takes a request off what a key may send.
    pub(super) fn admit_key(&self, key: ApiKeyId, told: &OfKey) -> Result<(), Problem> {
        self.pace.admit(key, told)
    }

    /// How long this address must still wait.
    fn shut_for(&self, address: IpAddr) -> Option<Duration> {
        let mut shut = self.shut.lock().unwrap_or_else(PoisonError::into_inner);
        let until = *shut.get(&address)?;
        let left = until.checked_duration_since(Instant::now());
        if left.is_none() {
            shut.remove(&address);
        }
        left
    }

    pub(super) fn note_failure(&self, address: IpAddr) {
        if self.failures.check_key(&address).is_err() {
            let mut shut = self.shut.lock().unwrap_or_else(PoisonError::into_inner);
            if shut.len() >= MAX_CACHED {
                shut.clear();
            }
            shut.insert(address, Instant::now() + Duration::from_mins(1));
        }
        self.failures.retain_recent();
    }

    /// Counts a request of an embedded part like one of a key.
    ///
    /// # Errors
    /// It comes too early.
    pub fn admit_guest(&self, session: ApiKeyId, told: &OfKey) -> Result<(), Problem> {
        self.pace.admit(session, told)
    }

    /// Drops what is remembered of a key, as after a change of it in this process.
    pub fn forget(&self, id: ApiKeyId) {
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        cache.retain(|_, (_, key)| key.id != id);
    }

    /// A key as it was within the last five seconds, dead ones included.
    pub(super) async fn key(&self, host: &Host, public_id: &str) -> Result<Option<ApiKey>, Problem> {
        {
            let cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some((at, key)) = cache.get(public_id)
                && at.elapsed() < CACHE_TTL
            {
                return Ok(Some(key.clone()));
            }
        }
        let Some(key) = host.app.store.api_key(public_id).await? else {
            return Ok(None);
        };
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        if cache.len() >= MAX_CACHED {
            cache.clear();
        }
        cache.insert(public_id.to_owned(), (Instant::now(), key.clone()));
        Ok(Some(key))
    }
}

impl FromRequestParts<Host> for Caller {
    type Rejection = ApiProblem;

    async fn from_request_parts(parts: &mut Parts, host: &Host) -> Result<Self, ApiProblem> {
        let address = address(parts);
        let told = parts.extensions.get::<OfKey>().cloned().unwrap_or_default();
        let Some(bearer) = bearer(parts) else {
            let caller = first_party(parts, host)?;
            host.gate.pace.admit(FIRST_PARTY_KEY, &told)?;
            return Ok(caller);
        };
        host.gate.admit_address(address)?;
        match proved(host, bearer, &told).await? {
            Some(key) => Ok(Self {
                by: By {
                    actor: if key.scopes.contains(&KeyScope::Operator) {
                        Actor::Operator(key.id)
                    } else {
                        Actor::Key(key.id)
                    },
                    request_id: request_id(parts),
                },
                tenant: key.tenant,
                scopes: key.scopes,
                first_party: false,
            }),
            None => {
                host.gate.note_failure(address);
                Err(unauthorized().into())
            }
        }
    }
}

fn bearer(parts: &Parts) -> Option<&str> {
    let text = parts.headers.get(header::AUTHORIZATION)?.to_str().unwrap_or_default();
    // Anything else in this header is a wrong key, not a missing one.
    Some(text.strip_prefix("Bearer ").unwrap_or_default())
}

/// Where a request comes from.
pub(super) fn address(parts: &Parts) -> IpAddr {
    let info = parts.extensions.get::<ConnectInfo<SocketAddr>>();
    info.map_or(IpAddr::from([0, 0, 0, 0]), |info| info.0.ip())
}

/// The id that the request's answer carries.
pub(super) fn request_id(parts: &Parts) -> String {
    parts.extensions.get::<RequestId>().cloned().unwrap_or_default().0
}

/// The live key that a text proves. `None`: it proves none.
pub(super) async fn proved(host: &Host, text: &str, told: &OfKey) -> Result<Option<ApiKey>, Problem> {
    let Some(text) = KeyText::parse(text) else {
        return Ok(None);
    };
    let Some(key) = host.gate.key(host, &text.public_id).await? else {
        return Ok(None);
    };
    // The rest is for those who know the secret. Otherwise anybody could use up what a key may send.
    let proved: bool = text.hash(&host.app.vault).ct_eq(&key.secret_hash).into();
    if !proved || key.state(host.app.env.now()) != ApiKeyState::Live {
        return Ok(None);
    }
    host.gate.pace.admit(key.id, told)?;
    if let Err(error) = host.app.store.touch_api_key(key.id).await {
        tracing::warn!(%error, "The last use of a key could not be noted");
    }
    Ok(Some(key))
}

/// A browser of this machine, if the operator opened the pages. Another site's page in the same browser is not it:
/// its requests carry a foreign `Host`, `Origin` or `Sec-Fetch-Site`.
pub(super) fn first_party(parts: &Parts, host: &Host) -> Result<Caller, Problem> {
    if host.config.server.first_party != FirstParty::Open {
        return Err(unauthorized());
    }
    let text = |name| {
        parts
            .headers
            .get(name)
            .and_then(|value: &axum::http::HeaderValue| value.to_str().ok())
    };
    let named = text(header::HOST).or_else(|| parts.uri.authority().map(axum::http::uri::Authority::as_str));
    let ours = named.is_some_and(is_loopback_host);
    let origin = text(header::ORIGIN).is_none_or(|origin| {
        url::Url::parse(origin).is_ok_and(|origin| named.is_some_and(|named| authority(&origin) == named))
    });
    let navigates = parts.method == Method::GET;
    let same_site = match parts
        .headers
        .get("sec-fetch-site")
        .and_then(|value| value.to_str().ok())
    {
        None | Some("same-origin" | "none") => true,
        Some(_) => navigates && text(header::ORIGIN).is_none(),
    };
    if ours && origin && same_site {
        let scopes = KeyScope::OF_TENANT.to_vec();
        return Ok(Caller {
            tenant: TenantId::DEFAULT,
            scopes,
            first_party: true,
            by: By {
                actor: Actor::FirstParty,
                request_id: request_id(parts),
            },
        });
    }
    Err(unauthorized())
}

/// Whether a request is made by a page of this host, or by no page at all.
pub(super) fn is_own_page(parts: &Parts, host: &Host) -> bool {
    let text = |name: &str| parts.headers.get(name).map(|value| value.to_str().unwrap_or("?"));
    let named = text("host").or_else(|| parts.uri.authority().map(axum::http::uri::Authority::as_str));
    let public = authority(&host.config.server.public_url);
    let origin = text("origin").is_none_or(|origin| {
        url::Url::parse(origin).is_ok_and(|origin| {
            let origin = authority(&origin);
            origin == public || named == Some(&origin)
        })
    });
    origin && matches!(text("sec-fetch-site"), None | Some("same-origin" | "none"))
}

fn authority(url: &url::Url) -> String {
    match url.port() {
        Some(port) => format!("{}:{port}", url.host_str().unwrap_or_default()),
        None => url.host_str().unwrap_or_default().to_owned(),
    }
}

fn is_loopback_host(named: &str) -> bool {
    let name = named.rsplit_once(':').map_or(named, |(name, _)| name);
    name == "localhost"
        || name
            .trim_matches(['[', ']'])
            .parse::<IpAddr>()
            .is_ok_and(|ip| ip.is_loopback())
}

pub(super) fn unauthorized() -> Problem {
    Problem::new(
        ProblemKind::Unauthorized,
        "Send `Authorization: Bearer <API key>`. `patchbay keys create` makes one.",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_names_are_first_party() {
        for good in ["127.0.0.1:8080", "localhost:1", "localhost", "[::1]:8080", "127.1.2.3"] {
            assert!(is_loopback_host(good), "{good}");
        }
        for bad in [
            "example.com",
            "127.0.0.1.example.com:80",
            "10.0.0.1:80",
            "localhost.evil.net",
            "",
        ] {
            assert!(!is_loopback_host(bad), "{bad}");
        }
    }
}
