//! The `Content-Range` of a PUT: `bytes FIRST-LAST/TOTAL`.

use axum::http::{HeaderMap, header};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ContentRange {
    pub first: u64,
    pub last: u64,
    pub total: u64,
}

impl ContentRange {
    pub(super) fn len(&self) -> u64 {
        self.last - self.first + 1
    }
}

/// `None` when the header is missing or not of that form.
pub(super) fn parse(headers: &HeaderMap) -> Option<ContentRange> {
    let text = headers.get(header::CONTENT_RANGE)?.to_str().ok()?;
    let (range, total) = text.strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let range = ContentRange {
        first: number(first)?,
        last: number(last)?,
        total: number(total)?,
    };
    (range.first <= range.last && range.last < range.total).then_some(range)
}

/// Digits only: `u64::from_str` would take a plus sign.
fn number(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    digits.then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &'static str) -> Option<(u64, u64, u64)> {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_RANGE, text.parse().expect("a header value"));
        parse(&headers).map(|r| (r.first, r.last, r.total))
    }

    #[test]
    fn only_the_documented_form_is_read() {
        assert_eq!(parsed("bytes 0-9/10"), Some((0, 9, 10)));
        for broken in [
            "bytes 0-10/10",
            "bytes 5-4/10",
            "bytes=0-9/10",
            "bytes 0-9/*",
            "bytes +0-9/10",
            "0-9/10",
            "bytes 0-/10",
        ] {
            assert_eq!(parsed(broken), None, "{broken}");
        }
    }
}
