//! Small text duties: fingerprints that may be logged, and escaping for HTML and URLs.

use sha2::{Digest, Sha256};

/// Twelve hex characters that tell two tokens apart and lead back to neither.
pub fn fingerprint(token: &str) -> String {
    hex::encode(&Sha256::digest(token.as_bytes())[..6])
}

pub fn escape_html(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            _ => out.push(c),
        }
    }
    out
}

/// Percent-encodes all but the unreserved set, so `*` and `!` arrive encoded too.
pub fn escape_query(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push('%');
            out.push_str(&hex::encode_upper([byte]));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_is_stable_and_short() {
        assert_eq!(fingerprint("act.one").len(), 12);
        assert_eq!(fingerprint("act.one"), fingerprint("act.one"));
        assert_ne!(fingerprint("act.one"), fingerprint("act.two"));
    }

    #[test]
    fn query_escaping_covers_the_signs_found_in_codes() {
        assert_eq!(escape_query("a*b!c d,é"), "a%2Ab%21c%20d%2C%C3%A9");
    }

    #[test]
    fn html_escaping_leaves_no_markup() {
        assert_eq!(
            escape_html("<a href='x'>&\"</a>"),
            "&lt;a href=&#39;x&#39;&gt;&amp;&quot;&lt;/a&gt;"
        );
    }
}
