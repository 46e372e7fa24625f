//! Masks what looks like a credential: a last resort for what should not have been logged. It knows forms, not
//! values: bearer tokens, our API keys, queries and passwords of URLs.

use crate::keys;

const MASK: &str = "[redacted]";
/// Shorter words after `Bearer` are prose.
const MIN_TOKEN: usize = 8;

/// A line with everything masked that has one of the forms.
pub(super) fn redact(line: &str) -> String {
    let mut out = String::with_capacity(line.len());
    let mut rest = line;
    while let Some(c) = rest.chars().next() {
        let (kept, masked) = match c {
            'b' | 'B' => bearer(rest),
            'p' => api_key(rest),
            '?' | '#' => query(rest),
            ':' => user_info(rest),
            _ => None,
        }
        .unwrap_or((c.len_utf8(), 0));
        let (start, tail) = rest.split_at(kept);
        out.push_str(start);
        if masked > 0 {
            out.push_str(MASK);
        }
        rest = &tail[masked..];
    }
    out
}

/// How many bytes to keep, and how many after them to mask.
type Cut = Option<(usize, usize)>;

fn bearer(rest: &str) -> Cut {
    const WORD: &str = "bearer ";
    let word = rest.get(..WORD.len())?;
    let token = run(&rest[WORD.len()..], is_token);
    (word.eq_ignore_ascii_case(WORD) && token >= MIN_TOKEN).then_some((WORD.len(), token))
}

fn api_key(rest: &str) -> Cut {
    let tail = rest.strip_prefix(keys::PREFIX)?;
    let key = run(tail, is_token);
    (key > 0).then_some((keys::PREFIX.len(), key))
}

/// `?a=b&c=d`, and `#a=b`, where some platforms put tokens.
fn query(rest: &str) -> Cut {
    let query = run(&rest[1..], is_url);
    rest[1..=query].contains('=').then_some((1, query))
}

/// `://user:password@`.
fn user_info(rest: &str) -> Cut {
    let tail = rest.strip_prefix("://")?;
    let authority = run(tail, |c| is_url(c) && !matches!(c, '/' | '?' | '#'));
    tail[..authority]
        .rfind('@')
        .filter(|length| *length > 0)
        .map(|length| (3, length))
}

fn run(text: &str, belongs: impl Fn(char) -> bool) -> usize {
    text.find(|c| !belongs(c)).unwrap_or(text.len())
}

fn is_token(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_' | '~' | '+' | '/' | '=' | '%' | '!' | '*' | ':')
}

/// Not what ends a URL in prose, in quotes or in JSON.
fn is_url(c: char) -> bool {
    !c.is_whitespace() && !matches!(c, '"' | '\'' | '<' | '>' | '`' | '\\')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(line: &str, expected: &str) {
        assert_eq!(redact(line), expected);
    }

    #[test]
    fn bearer_tokens_are_masked() {
        check(
            "Authorization: Bearer abc.def-123~+/=, next",
            "Authorization: Bearer [redacted], next",
        );
        check(r#"{"h":"bearer abcdefgh"}"#, r#"{"h":"bearer [redacted]"}"#);
        check("Send `Bearer <API key>`", "Send `Bearer <API key>`");
    }

    #[test]
    fn api_keys_are_masked() {
        check(
            "key pb_live_0123456789ab_secret was used",
            "key pb_live_[redacted] was used",
        );
        check("keys start with pb_live_ here", "keys start with pb_live_ here");
    }

    #[test]
    fn queries_of_urls_are_masked() {
        check("GET /cb?code=a&state=b HTTP/1.1", "GET /cb?[redacted] HTTP/1.1");
        check(
            r#"{"url":"https://x/y?t=1\"z"}"#,
            r#"{"url":"https://x/y?[redacted]\"z"}"#,
        );
        check("https://x/#access_token=1", "https://x/#[redacted]");
        check("Is it so? Yes, a=b", "Is it so? Yes, a=b");
        check("ends with ?", "ends with ?");
    }

    #[test]
    fn passwords_in_urls_are_masked() {
        check("postgres://u:p@ss@db:5432/x", "postgres://[redacted]@db:5432/x");
        check("https://example.com/@name", "https://example.com/@name");
    }

    #[test]
    fn text_beyond_ascii_survives() {
        check(
            "Größe: ბ?=ი 🦀 Bearer ბბბბბბბბ",
            "Größe: ბ?[redacted] 🦀 Bearer ბბბბბბბბ",
        );
        check("bearé", "bearé");
    }
}
