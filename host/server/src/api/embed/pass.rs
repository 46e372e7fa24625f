//! Passes: short-lived rights of a browser on another site, made by a tenant's backend for one of its users on one platform.
//!
//! A pass is two signed parts. The *place* says until when and for which origins, and stands in the path of each request, so
//! that a browser's question before a request (CORS), which carries no header of ours, can be answered by it alone. It gives
//! no right. The *secret* says whose it is, is bound to its place, and goes in `Authorization`. Nothing is stored: both end
//! with their time.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::{DateTime, TimeDelta, Utc};
use hmac::{Hmac, KeyInit, Mac};
use patchbay_app::{problem::Problem, secret::Secret};
use patchbay_core::{ApiKeyId, FieldIssue, ProviderId, TenantId};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use sha2::Sha256;
use url::{Host as UrlHost, Url};
use uuid::Uuid;

use crate::host::Host;

/// How long a pass lives.
pub(super) const LIFE: TimeDelta = TimeDelta::minutes(15);
/// Most origins of one pass.
const MOST_ORIGINS: usize = 10;
/// Longest pass that is looked at.
const MOST_BYTES: usize = 8 * 1024;

/// The public part.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Place {
    id: Uuid,
    /// The end, in seconds since 1970.
    until: i64,
    origins: Vec<String>,
}

impl Place {
    /// A place for these origins.
    ///
    /// # Errors
    /// One of them is no origin of a web page, or there are too many.
    pub(super) fn new(host: &Host, origins: &[String]) -> Result<Self, Problem> {
        let issue = |pointer: String, message: &str| FieldIssue::new(pointer, "origin", message.to_owned());
        let mut issues = Vec::new();
        if origins.is_empty() || origins.len() > MOST_ORIGINS {
            issues.push(issue("/origins".to_owned(), "Give 1 to 10 origins."));
        }
        for (index, text) in origins.iter().enumerate() {
            if !is_origin(text) {
                let message = "Give an origin as browsers write it, such as `https://app.example.com`: https (http on \
                               loopback alone), no path, no usual port.";
                issues.push(issue(format!("/origins/{index}"), message));
            }
        }
        if !issues.is_empty() {
            return Err(Problem::invalid(issues));
        }
        Ok(Self {
            id: host.app.env.ids.next(),
            until: (host.app.env.now() + LIFE).timestamp(),
            origins: origins.to_vec(),
        })
    }

    /// Reads a place. One that was not made here, or has ended, is none.
    pub(super) fn read(host: &Host, text: &str) -> Option<Self> {
        let place: Self = open(host, "place", "", text)?;
        (place.until > host.app.env.now().timestamp()).then_some(place)
    }

    /// Whether pages of this origin may act: by the very text, without wildcards.
    pub(super) fn allows(&self, origin: &str) -> bool {
        self.origins.iter().any(|allowed| allowed == origin)
    }

    pub(super) fn until(&self) -> Option<DateTime<Utc>> {
        DateTime::from_timestamp(self.until, 0)
    }

    /// Stands for an API key where requests are counted.
    pub(super) fn counted_as(&self) -> ApiKeyId {
        ApiKeyId::from_uuid(self.id)
    }
}

/// The secret part: for whom its bearer acts.
#[derive(Serialize, Deserialize)]
pub(super) struct Right {
    pub(super) tenant: TenantId,
    pub(super) owner: String,
    pub(super) provider: ProviderId,
}

impl Right {
    /// Reads the secret that goes with a place.
    pub(super) fn read(host: &Host, place: &str, text: &str) -> Option<Self> {
        open(host, "right", place, text)
    }
}

/// A pass as text: place and secret, each with its signature, with dots between.
pub(super) fn write(host: &Host, place: &Place, right: &Right) -> String {
    let place = close(host, "place", "", place);
    let right = close(host, "right", &place, right);
    format!("{place}.{right}")
}

fn close(host: &Host, kind: &str, bound_to: &str, part: &impl Serialize) -> String {
    let body = URL_SAFE_NO_PAD.encode(serde_json::to_vec(part).unwrap_or_default());
    let tag = mac(host, kind, bound_to, &body).finalize().into_bytes();
    format!("{body}.{}", URL_SAFE_NO_PAD.encode(tag))
}

fn open<T: DeserializeOwned>(host: &Host, kind: &str, bound_to: &str, text: &str) -> Option<T> {
    let (body, tag) = text.split_once('.').filter(|_| text.len() <= MOST_BYTES)?;
    let tag = URL_SAFE_NO_PAD.decode(tag).ok()?;
    mac(host, kind, bound_to, body).verify_slice(&tag).ok()?;
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(body).ok()?).ok()
}

fn mac(host: &Host, kind: &str, bound_to: &str, body: &str) -> Hmac<Sha256> {
    let key: Secret<[u8; 32]> = host.app.vault.derive("patchbay/embed/v1");
    let mut mac = Hmac::<Sha256>::new_from_slice(key.expose()).expect("HMAC takes keys of any length");
    for part in [kind, bound_to, body] {
        mac.update(part.as_bytes());
        mac.update(&[0]);
    }
    mac
}

/// An origin as browsers send it, of a page that nobody on the way can change.
fn is_origin(text: &str) -> bool {
    let Ok(url) = Url::parse(text) else { return false };
    let loopback = match url.host() {
        Some(UrlHost::Domain(name)) => name == "localhost",
        Some(UrlHost::Ipv4(ip)) => ip.is_loopback(),
        Some(UrlHost::Ipv6(ip)) => ip.is_loopback(),
        None => false,
    };
    let safe = url.scheme() == "https" || (url.scheme() == "http" && loopback);
    safe && !text.contains('*') && url.origin().ascii_serialization() == text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_origins_as_browsers_write_them_are_taken() {
        for good in [
            "https://app.example.com",
            "https://app.example.com:8443",
            "http://localhost:3000",
            "http://127.0.0.1:1",
            "http://[::1]:8080",
        ] {
            assert!(is_origin(good), "{good}");
        }
        for bad in [
            "*",
            "null",
            "",
            "https://app.example.com/",
            "https://app.example.com/path",
            "https://app.example.com:443",
            "https://APP.example.com",
            "https://user@app.example.com",
            "https://*.example.com",
            "http://app.example.com",
            "//app.example.com",
            "javascript:alert(1)",
            "ftp://app.example.com",
            "https://app.example.com#x",
            "https://app.example.com\r\n",
        ] {
            assert!(!is_origin(bad), "{bad}");
        }
    }
}
