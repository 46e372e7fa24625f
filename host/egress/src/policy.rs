//! What a request may look like before anything is dialled: its URL, its headers, its method. Names are checked once
//! more when they are resolved.

use std::net::IpAddr;

use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use patchbay_app::secret::Secret;
use url::{Host, Url};

use crate::address::AddressFilter;

/// Why a request is not sent. Texts name the rule and never hold any part of the URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Blocked {
    /// It cannot be read as a URL.
    #[error("not a URL")]
    NotAUrl,
    /// Longer than any URL that is meant.
    #[error("the URL is too long")]
    TooLong,
    /// A control character, raw or (in a user's URL) percent-encoded.
    #[error("control character in the URL")]
    ControlCharacter,
    /// Not https.
    #[error("only https URLs are allowed")]
    Scheme,
    /// A user name or a password before the host.
    #[error("user name or password in the URL")]
    Userinfo,
    /// Neither 443 nor 8443.
    #[error("only ports 443 and 8443 are allowed")]
    Port,
    /// No host, an empty label, a trailing dot, or a name of this machine.
    #[error("the host name is not a public one")]
    HostName,
    /// The address, or one of the name's addresses, is private, local or otherwise not public.
    #[error("the address is not a public one")]
    Address,
    /// A method that no op uses.
    #[error("the method is not allowed")]
    Method,
    /// A header that egress sets itself, a malformed one, or too many.
    #[error("a header is not allowed or malformed")]
    Header,
    /// The HTTP library refuses it.
    #[error("the request cannot be built")]
    Request,
}

/// URLs that providers build: they carry tokens and captions, so they may be long.
const MAX_URL_BYTES: usize = 16 * 1024;
/// URLs that users give. Presigned storage URLs reach about 2 KiB.
const MAX_USER_URL_BYTES: usize = 4 * 1024;
/// More than any op sends.
const MAX_HEADERS: usize = 64;
const MAX_HEADER_BYTES: usize = 32 * 1024;

/// The URL rules with the addresses that this installation allows.
#[derive(Debug)]
pub(crate) struct Policy {
    addresses: AddressFilter,
    ports: Vec<u16>,
}

impl Policy {
    pub(crate) fn new(addresses: AddressFilter) -> Self {
        Self {
            addresses,
            ports: vec![443, 8443],
        }
    }

    /// Test listeners get whatever port is free.
    #[cfg(test)]
    pub(crate) fn and_port(mut self, port: u16) -> Self {
        self.ports.push(port);
        self
    }

    pub(crate) fn allows_address(&self, address: IpAddr) -> bool {
        self.addresses.allows(address)
    }

    /// Reads the URL of a call. The raw text is checked, because the parser silently drops tabs and line breaks.
    pub(crate) fn parse(&self, text: &str) -> Result<Url, Blocked> {
        if text.len() > MAX_URL_BYTES {
            return Err(Blocked::TooLong);
        }
        if text.chars().any(char::is_control) {
            return Err(Blocked::ControlCharacter);
        }
        let url = Url::parse(text).map_err(|_| Blocked::NotAUrl)?;
        self.check(&url)?;
        Ok(url)
    }

    /// Checks a URL that a user gave.
    pub(crate) fn check_user_url(&self, url: &Url) -> Result<(), Blocked> {
        if url.as_str().len() > MAX_USER_URL_BYTES {
            return Err(Blocked::TooLong);
        }
        self.check(url)?;
        // The parser encodes most control characters instead of refusing them, and receivers decode them again.
        let after_host = &url[url::Position::BeforePath..];
        if ["%00", "%0a", "%0d"]
            .iter()
            .any(|code| after_host.to_ascii_lowercase().contains(code))
        {
            return Err(Blocked::ControlCharacter);
        }
        Ok(())
    }

    fn check(&self, url: &Url) -> Result<(), Blocked> {
        if url.scheme() != "https" {
            return Err(Blocked::Scheme);
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(Blocked::Userinfo);
        }
        if !url
            .port_or_known_default()
            .is_some_and(|port| self.ports.contains(&port))
        {
            return Err(Blocked::Port);
        }
        // The HTTP library does not ask its resolver about literals, so this is the only check they get. The parser
        // has already turned the decimal, octal, hex and full-width spellings into addresses.
        match url.host().ok_or(Blocked::HostName)? {
            Host::Domain(name) => check_name(name),
            Host::Ipv4(address) if self.allows_address(address.into()) => Ok(()),
            Host::Ipv6(address) if self.allows_address(address.into()) => Ok(()),
            Host::Ipv4(_) | Host::Ipv6(_) => Err(Blocked::Address),
        }
    }
}

/// `localhost` never needs a resolver (RFC 6761). A trailing dot would be another spelling of a host that host lists
/// know without it.
fn check_name(name: &str) -> Result<(), Blocked> {
    let local = name == "localhost" || name.ends_with(".localhost");
    if local || name.len() > 253 || name.split('.').any(str::is_empty) {
        return Err(Blocked::HostName);
    }
    Ok(())
}

/// The method, if an op may use it. `CONNECT` and `TRACE` are for proxies and debugging.
pub(crate) fn method(name: &str) -> Result<Method, Blocked> {
    match Method::from_bytes(name.as_bytes()) {
        Ok(
            method @ (Method::GET
            | Method::HEAD
            | Method::POST
            | Method::PUT
            | Method::PATCH
            | Method::DELETE
            | Method::OPTIONS),
        ) => Ok(method),
        _ => Err(Blocked::Method),
    }
}

/// Headers as typed values, marked as sensitive so that no library prints them.
pub(crate) fn headers(given: &[(String, Secret<String>)], body_len: u64) -> Result<HeaderMap, Blocked> {
    let bytes: usize = given
        .iter()
        .map(|(name, value)| name.len() + value.expose().len())
        .sum();
    if given.len() > MAX_HEADERS || bytes > MAX_HEADER_BYTES {
        return Err(Blocked::Header);
    }
    let mut map = HeaderMap::with_capacity(given.len() + 3);
    for (name, value) in given {
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| Blocked::Header)?;
        // Refuses CR, LF, NUL and everything else that could end the header.
        let mut value = HeaderValue::from_str(value.expose()).map_err(|_| Blocked::Header)?;
        if name == header::CONTENT_LENGTH {
            // Egress sets it itself; a caller may only agree.
            if value.to_str().ok().and_then(|text| text.parse().ok()) == Some(body_len) {
                continue;
            }
            return Err(Blocked::Header);
        }
        if OURS.contains(&name) || name.as_str().starts_with("proxy-") {
            return Err(Blocked::Header);
        }
        value.set_sensitive(true);
        map.append(name, value);
    }
    // Answers arrive as they are: nothing is unpacked, so nothing can blow up.
    map.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    if !map.contains_key(header::USER_AGENT) {
        map.insert(
            header::USER_AGENT,
            HeaderValue::from_static(concat!("Patchbay/", env!("CARGO_PKG_VERSION"))),
        );
    }
    Ok(map)
}

/// Headers that decide where a message ends, where it goes, and how it is packed.
const OURS: [HeaderName; 9] = [
    header::HOST,
    header::TRANSFER_ENCODING,
    header::CONNECTION,
    header::TE,
    header::TRAILER,
    header::UPGRADE,
    header::EXPECT,
    header::COOKIE,
    HeaderName::from_static("keep-alive"),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn policy() -> Policy {
        Policy::new(AddressFilter::new(Vec::new()).unwrap())
    }

    #[track_caller]
    fn user_url(text: &str, expected: Result<(), Blocked>) {
        let policy = policy();
        assert_eq!(
            policy.parse(text).and_then(|url| policy.check_user_url(&url)),
            expected,
            "{text:?}"
        );
    }

    #[test]
    fn a_user_url_is_https_on_a_public_host_and_nothing_more() {
        for right in [
            "https://cdn.example.com/a/b.mp4?sig=x%2Fy&t=1",
            "https://example.com:8443/hook",
            "https://1.1.1.1/hook",
            "https://[2606:4700::1111]:8443/hook",
            "https://bücher.example/ü",
        ] {
            user_url(right, Ok(()));
        }
        user_url("http://example.com/", Err(Blocked::Scheme));
        user_url("ftp://example.com/", Err(Blocked::Scheme));
        user_url("file:///etc/passwd", Err(Blocked::Scheme));
        user_url("https://u:p@example.com/", Err(Blocked::Userinfo));
        user_url("https://u@example.com/", Err(Blocked::Userinfo));
        user_url("https://:p@example.com/", Err(Blocked::Userinfo));
        user_url("https://example.com:80/", Err(Blocked::Port));
        user_url("https://example.com:22/", Err(Blocked::Port));
        user_url("https://localhost/", Err(Blocked::HostName));
        user_url("https://a.LOCALHOST/", Err(Blocked::HostName));
        user_url("https://example.com./", Err(Blocked::HostName));
        user_url("https://a..example.com/", Err(Blocked::HostName));
        user_url("https://127.0.0.1/", Err(Blocked::Address));
        user_url("https:///", Err(Blocked::NotAUrl));
        user_url("example.com", Err(Blocked::NotAUrl));
        user_url(
            &format!("https://example.com/{}", "a".repeat(5000)),
            Err(Blocked::TooLong),
        );
        user_url(
            &format!("https://example.com/{}", "a".repeat(20_000)),
            Err(Blocked::TooLong),
        );
    }

    #[test]
    fn control_characters_are_refused_raw_and_in_user_urls_encoded_too() {
        for raw in ["\r\nX: y", "\n", "\t", "\0", "\u{7f}", "\u{85}"] {
            user_url(&format!("https://example.com/a{raw}b"), Err(Blocked::ControlCharacter));
            user_url(&format!("https://exa{raw}mple.com/"), Err(Blocked::ControlCharacter));
        }
        for encoded in ["%0d%0aX:y", "%0A", "%00"] {
            user_url(
                &format!("https://example.com/{encoded}"),
                Err(Blocked::ControlCharacter),
            );
            user_url(
                &format!("https://example.com/?q={encoded}"),
                Err(Blocked::ControlCharacter),
            );
        }
        // A provider may well send a caption with line breaks in the query.
        assert!(policy().parse("https://api.example.com/post?message=one%0Atwo").is_ok());
    }

    #[test]
    fn headers_that_could_split_or_redirect_a_message_are_refused() {
        let one = |name: &str, value: &str| headers(&[(name.to_owned(), Secret::from(value))], 10);
        for (name, value) in [
            ("X-A", "b\r\nX-B: c"),
            ("X-A", "b\n"),
            ("X-A", "b\0"),
            ("X-A\r\n", "b"),
            ("X A", "b"),
            ("", "b"),
            ("Host", "other.example.com"),
            ("Transfer-Encoding", "chunked"),
            ("Connection", "close"),
            ("Proxy-Authorization", "x"),
            ("Cookie", "a=b"),
            ("Content-Length", "11"),
            ("Content-Length", "+10, 10"),
        ] {
            assert_eq!(one(name, value), Err(Blocked::Header), "{name:?}: {value:?}");
        }
        assert!(
            one("Content-Length", "10")
                .unwrap()
                .get(header::CONTENT_LENGTH)
                .is_none()
        );
        let many: Vec<_> = (0..65).map(|n| (format!("x-{n}"), Secret::from("a"))).collect();
        assert_eq!(headers(&many, 0), Err(Blocked::Header));
        assert_eq!(one("X-A", &"a".repeat(40_000)), Err(Blocked::Header));
    }

    #[test]
    fn header_values_are_marked_as_sensitive_and_answers_are_asked_for_unpacked() {
        let map = headers(
            &[
                ("Authorization".into(), "Bearer canary".into()),
                ("accept-encoding".into(), "gzip".into()),
            ],
            0,
        )
        .unwrap();
        assert!(map[header::AUTHORIZATION].is_sensitive());
        assert!(!format!("{map:?}").contains("canary"));
        assert_eq!(
            map.get_all(header::ACCEPT_ENCODING).iter().collect::<Vec<_>>(),
            ["identity"]
        );
    }

    #[test]
    fn only_plain_methods_are_sent() {
        assert_eq!(method("POST"), Ok(Method::POST));
        for wrong in ["CONNECT", "TRACE", "post", "GET\r\n", "", "PURGE"] {
            assert_eq!(method(wrong), Err(Blocked::Method), "{wrong:?}");
        }
    }
}
