//! Redirect URIs: what the portal accepts, and which registered one a request names.
//!
//! Web: https, any domain. Desktop: localhost or 127.0.0.1 with a port, which may be `*`. No query, no
//! fragment, under 512 characters, ten of each kind (developers.tiktok.com/doc/login-kit-web, login-kit-desktop).

use url::Url;

use crate::config::ConfigError;

const MAX_LENGTH: usize = 512;
const MAX_COUNT: usize = 10;
/// Stands in for `*` while a desktop URI is parsed.
const ANY_PORT: &str = "1";

/// The two lists of the portal.
#[derive(Clone, Debug)]
pub struct Redirects {
    pub web: Vec<String>,
    pub desktop: Vec<String>,
}

impl Default for Redirects {
    fn default() -> Self {
        Self {
            web: vec!["https://patchbay.example/oauth/callback/tiktok".to_owned()],
            desktop: vec!["http://localhost:*/callback".to_owned()],
        }
    }
}

/// Which list a redirect URI was found in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Platform {
    Web,
    Desktop,
}

/// Why the portal refuses a redirect URI.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RedirectError {
    #[error("not a URL")]
    NotAUrl,
    #[error("512 characters or more")]
    TooLong,
    #[error("has a query or a fragment")]
    QueryOrFragment,
    #[error("web redirects are https")]
    NotHttps,
    #[error("desktop redirects are http or https on localhost or 127.0.0.1")]
    NotLoopback,
    #[error("desktop redirects name a port, or * for any")]
    NoPort,
}

impl Redirects {
    pub(crate) fn validate(&self) -> Result<(), ConfigError> {
        check_all("web", &self.web, check_web)?;
        check_all("desktop", &self.desktop, check_desktop)
    }

    /// Exact match, trailing slash included; `*` stands for any port number.
    pub(crate) fn find(&self, uri: &str) -> Option<Platform> {
        if self.desktop.iter().any(|registered| matches_desktop(registered, uri)) {
            return Some(Platform::Desktop);
        }
        self.web
            .iter()
            .any(|registered| registered == uri)
            .then_some(Platform::Web)
    }
}

fn check_all(
    kind: &'static str,
    list: &[String],
    check: fn(&str) -> Result<(), RedirectError>,
) -> Result<(), ConfigError> {
    if list.len() > MAX_COUNT {
        return Err(ConfigError::TooManyRedirects {
            kind,
            count: list.len(),
        });
    }
    list.iter().try_for_each(|uri| {
        check(uri).map_err(|reason| ConfigError::Redirect {
            uri: uri.clone(),
            reason,
        })
    })
}

fn check_web(uri: &str) -> Result<(), RedirectError> {
    if check_common(uri, uri)?.scheme() == "https" {
        Ok(())
    } else {
        Err(RedirectError::NotHttps)
    }
}

fn check_desktop(uri: &str) -> Result<(), RedirectError> {
    let url = check_common(uri, &uri.replacen(":*", &format!(":{ANY_PORT}"), 1))?;
    if !matches!(url.scheme(), "http" | "https") || !matches!(url.host_str(), Some("localhost" | "127.0.0.1")) {
        return Err(RedirectError::NotLoopback);
    }
    // `Url` hides a default port, so the text is asked: after scheme and host there must be a colon.
    let authority = uri.split('/').nth(2).unwrap_or_default();
    if authority.contains(':') {
        Ok(())
    } else {
        Err(RedirectError::NoPort)
    }
}

fn check_common(uri: &str, parseable: &str) -> Result<Url, RedirectError> {
    if uri.len() >= MAX_LENGTH {
        return Err(RedirectError::TooLong);
    }
    let url = Url::parse(parseable).map_err(|_| RedirectError::NotAUrl)?;
    if url.query().is_some() || url.fragment().is_some() {
        return Err(RedirectError::QueryOrFragment);
    }
    Ok(url)
}

fn matches_desktop(registered: &str, uri: &str) -> bool {
    let Some((head, tail)) = registered.split_once(":*") else {
        return registered == uri;
    };
    let port = uri
        .strip_prefix(head)
        .and_then(|rest| rest.strip_prefix(':'))
        .and_then(|rest| rest.strip_suffix(tail));
    port.is_some_and(|port| !port.is_empty() && port.len() <= 5 && port.bytes().all(|b| b.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_portal_refuses_what_the_rules_forbid() {
        let cases = [
            (check_web("https://a.example/cb"), Ok(())),
            (check_web("http://a.example/cb"), Err(RedirectError::NotHttps)),
            (
                check_web("https://a.example/cb?x=1"),
                Err(RedirectError::QueryOrFragment),
            ),
            (check_web("not a url"), Err(RedirectError::NotAUrl)),
            (check_desktop("http://localhost:3000/cb"), Ok(())),
            (check_desktop("https://127.0.0.1:*/cb"), Ok(())),
            (check_desktop("http://localhost/cb"), Err(RedirectError::NoPort)),
            (check_desktop("http://a.example:80/cb"), Err(RedirectError::NotLoopback)),
            (
                check_desktop("http://localhost:1/cb#f"),
                Err(RedirectError::QueryOrFragment),
            ),
        ];
        for (found, expected) in cases {
            assert_eq!(found, expected);
        }
        let long = format!("https://a.example/{}", "x".repeat(500));
        assert_eq!(check_web(&long), Err(RedirectError::TooLong));
    }

    #[test]
    fn matching_is_exact_but_for_a_wildcard_port() {
        let redirects = Redirects {
            web: vec!["https://a.example/cb".to_owned()],
            desktop: vec!["http://localhost:*/cb".to_owned()],
        };
        assert_eq!(redirects.find("https://a.example/cb"), Some(Platform::Web));
        assert_eq!(redirects.find("https://a.example/cb/"), None);
        assert_eq!(redirects.find("http://localhost:65535/cb"), Some(Platform::Desktop));
        assert_eq!(redirects.find("http://localhost:/cb"), None);
        assert_eq!(redirects.find("http://localhost:8080/cb?x=1"), None);
        assert_eq!(redirects.find("http://localhost:80@evil.example:80/cb"), None);
    }
}
