//! Names of accounts and servers, as people type them and as documents hold them.

use url::Url;

/// A handle in its canonical form: a domain name in lower case (atproto.com/specs/handle). People write an `@` before it,
/// and copy invisible direction marks along with it.
pub(crate) fn handle(text: &str) -> Option<String> {
    let plain = |c: char| {
        !c.is_whitespace() && !matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    let text: String = text.chars().filter(|c| plain(*c)).collect();
    let text = text.strip_prefix('@').unwrap_or(&text).to_ascii_lowercase();
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let mut labels = text.split('.').rev();
    let top = labels.next().unwrap_or_default();
    let rest: Vec<_> = labels.collect();
    let right = text.len() <= 253
        && is_label(top)
        && !top.starts_with(|c: char| c.is_ascii_digit())
        && !rest.is_empty()
        && rest.into_iter().all(is_label);
    right.then_some(text)
}

/// Whether this is an account's permanent name, of a sort that Bluesky knows (atproto.com/specs/did).
pub(crate) fn is_did(text: &str) -> bool {
    match text.strip_prefix("did:plc:") {
        Some(rest) => rest.len() == 24 && rest.bytes().all(|b| matches!(b, b'a'..=b'z' | b'2'..=b'7')),
        None => text
            .strip_prefix("did:web:")
            .is_some_and(|host| handle(host).is_some_and(|h| h == host)),
    }
}

/// The origin of a server: of `example.com`, or of its address.
pub(crate) fn server(text: &str) -> Option<Url> {
    let text = text.trim();
    let url = match text.contains("://") {
        true => Url::parse(text),
        false => Url::parse(&format!("https://{text}")),
    };
    let url = url.ok()?;
    let plain = url.scheme() == "https"
        && url.host_str().is_some()
        && url.username().is_empty()
        && url.password().is_none()
        && url.path() == "/"
        && url.query().is_none()
        && url.fragment().is_none();
    plain.then_some(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn handles_are_read_as_people_write_them() {
        for (text, expected) in [
            ("alice.test", "alice.test"),
            (" @Alice.Bsky.Social\n", "alice.bsky.social"),
            ("\u{202a}@alice.bsky.social\u{202c}", "alice.bsky.social"),
            ("xn--ls8h.test", "xn--ls8h.test"),
        ] {
            assert_eq!(handle(text).as_deref(), Some(expected), "{text:?}");
        }
        for wrong in [
            "",
            "@",
            "alice",
            "alice.",
            ".test",
            "a..b",
            "-a.test",
            "a-.test",
            "alice.0",
            "a@example.com",
            "a_b.test",
            "jo\u{308}rg.de",
            "a.b/c",
            "a.b:1",
            "did:plc:x",
        ] {
            assert_eq!(handle(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn dids_of_two_sorts_are_known() {
        for right in ["did:plc:z72i7hdynmk6r22z27h6tvur", "did:web:example.com"] {
            assert!(is_did(right), "{right}");
        }
        for wrong in [
            "did:plc:z72i7",
            "did:plc:Z72I7HDYNMK6R22Z27H6TVUR",
            "did:plc:z72i7hdynmk6r22z27h6tv/r",
            "did:web:a/b.c",
            "did:web:localhost",
            "did:web:Example.com",
            "did:web:example.com%3A8443",
            "did:key:zQ3",
            "",
        ] {
            assert!(!is_did(wrong), "{wrong}");
        }
    }

    #[test]
    fn a_server_is_an_https_origin_and_nothing_more() {
        for (text, origin) in [
            ("pds.example.com", "https://pds.example.com/"),
            (" https://PDS.example.com ", "https://pds.example.com/"),
            ("pds.example.com:8443", "https://pds.example.com:8443/"),
        ] {
            assert_eq!(server(text).unwrap().as_str(), origin);
        }
        for wrong in [
            "",
            "http://pds.example.com",
            "https://u:p@pds.example.com",
            "https://pds.example.com/x",
            "a b",
            "pds.example.com?x",
            "pds.example.com#x",
            "ftp://pds.example.com",
            "u@pds.example.com",
            "https://",
        ] {
            assert_eq!(server(wrong), None, "{wrong}");
        }
    }
}
