//! Links, mentions and tags in a text. The network keeps a text plain, and beside it *facets*: what a range of its bytes in
//! UTF-8 stands for. Offsets of a Rust `str` are these bytes.

use std::{collections::BTreeMap, ops::Range};

use serde_json::{Value, json};
use url::Url;

use crate::name;

/// Longest tag in bytes (app.bsky.richtext.facet).
const MAX_TAG: usize = 640;

/// What a range of the text is.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Feature<'a> {
    /// An address.
    Link(&'a str),
    /// A tag, without `#`.
    Tag(&'a str),
    /// A handle in its canonical form.
    Mention(String),
}

/// All features of a text, in order and apart from each other.
pub(crate) fn find(text: &str) -> Vec<(Range<usize>, Feature<'_>)> {
    words(text)
        .filter_map(|(start, word)| {
            let (feature, length) = feature(word)?;
            Some((start..start + length, feature))
        })
        .collect()
}

/// The facets of a text. A mention needs the account that its handle names; one that names none stays plain text.
pub(crate) fn facets(text: &str, accounts: &BTreeMap<String, String>) -> Vec<Value> {
    find(text)
        .into_iter()
        .filter_map(|(range, feature)| {
            let feature = match feature {
                Feature::Link(uri) => json!({ "$type": "app.bsky.richtext.facet#link", "uri": uri }),
                Feature::Tag(tag) => json!({ "$type": "app.bsky.richtext.facet#tag", "tag": tag }),
                Feature::Mention(handle) => {
                    json!({ "$type": "app.bsky.richtext.facet#mention", "did": accounts.get(&handle)? })
                }
            };
            Some(json!({ "index": { "byteStart": range.start, "byteEnd": range.end }, "features": [feature] }))
        })
        .collect()
}

/// The words between white space, without brackets and quotes before them, and where they begin.
fn words(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.split(char::is_whitespace).map(move |word| {
        let word = word.trim_start_matches(['(', '[', '{', '"', '\'', '“', '‘', '«']);
        // Pieces of one text: the distance of their beginnings is an offset.
        (word.as_ptr() as usize - text.as_ptr() as usize, word)
    })
}

fn feature(word: &str) -> Option<(Feature<'_>, usize)> {
    let bare = without_end(word);
    if let Some(handle) = bare.strip_prefix('@') {
        // What follows a handle directly is no part of it: `@alice.test's`.
        let length = handle
            .find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '.' | '-')))
            .unwrap_or(handle.len());
        let handle = handle[..length].trim_end_matches(['.', '-']);
        return Some((Feature::Mention(name::handle(handle)?), 1 + handle.len()));
    }
    if let Some(tag) = bare.strip_prefix(['#', '＃']) {
        let is_tag = !tag.is_empty()
            && tag.len() <= MAX_TAG
            && !tag.contains(['#', '＃'])
            && !tag.starts_with('\u{fe0f}')
            && !tag.chars().all(|c| c.is_ascii_digit());
        return is_tag.then_some((Feature::Tag(tag), bare.len()));
    }
    let is_link = bare.starts_with("https://") || bare.starts_with("http://");
    let is_url = is_link && Url::parse(bare).is_ok_and(|url| url.domain().is_some_and(|host| host.contains('.')));
    is_url.then_some((Feature::Link(bare), bare.len()))
}

/// A word without the signs that end a sentence; a closing bracket belongs to it only if it was opened in it.
fn without_end(mut word: &str) -> &str {
    const SIGNS: &[char] = &['.', ',', ';', ':', '!', '?', '"', '\'', '”', '’', '»', '…', ']', '}'];
    loop {
        let shorter = match word.strip_suffix(')') {
            Some(rest) if word.matches(')').count() > word.matches('(').count() => rest,
            _ => word.trim_end_matches(SIGNS),
        };
        if shorter.len() == word.len() {
            return word;
        }
        word = shorter;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn found(text: &str, expected: &[(&str, &str)]) {
        let found = find(text);
        let shown: Vec<_> = found
            .iter()
            .map(|(range, feature)| {
                let value = match feature {
                    Feature::Link(uri) => (*uri).to_owned(),
                    Feature::Tag(tag) => format!("tag {tag}"),
                    Feature::Mention(handle) => format!("account {handle}"),
                };
                (text[range.clone()].to_owned(), value)
            })
            .collect();
        let expected: Vec<_> = expected
            .iter()
            .map(|(a, b)| ((*a).to_owned(), (*b).to_owned()))
            .collect();
        assert_eq!(shown, expected, "{text}");
    }

    #[test]
    fn links_end_where_readers_see_them_end() {
        found(
            "see https://example.com.",
            &[("https://example.com", "https://example.com")],
        );
        found(
            "(https://example.com/a)",
            &[("https://example.com/a", "https://example.com/a")],
        );
        found(
            "https://en.wikipedia.org/wiki/Rust_(language), yes",
            &[(
                "https://en.wikipedia.org/wiki/Rust_(language)",
                "https://en.wikipedia.org/wiki/Rust_(language)",
            )],
        );
        found(
            "“http://example.com/?q=é#x”!",
            &[("http://example.com/?q=é#x", "http://example.com/?q=é#x")],
        );
        for none in [
            "https://",
            "https://localhost/",
            "xhttps://example.com",
            "ftp://example.com",
            "example.com",
        ] {
            found(none, &[]);
        }
    }

    #[test]
    fn mentions_and_tags_are_words_of_their_own() {
        found(
            "Hi @Alice.test's friends, (@bob.test)!",
            &[("@Alice.test", "account alice.test"), ("@bob.test", "account bob.test")],
        );
        found(
            "#rust, #größe! #日本 #2026 #a1",
            &[
                ("#rust", "tag rust"),
                ("#größe", "tag größe"),
                ("#日本", "tag 日本"),
                ("#a1", "tag a1"),
            ],
        );
        for none in ["a@b.test", "@alice", "#", "##x", "#.", "C#", "@", "a#b"] {
            found(none, &[]);
        }
    }

    #[test]
    fn ranges_are_bytes_of_utf_8() {
        let accounts = BTreeMap::from([("alice.test".to_owned(), "did:plc:x".to_owned())]);
        let facets = facets("Grüße 👋🏽 @alice.test @nobody.test #größe", &accounts);
        assert_eq!(
            facets,
            [
                json!({ "index": { "byteStart": 17, "byteEnd": 28 },
                        "features": [{ "$type": "app.bsky.richtext.facet#mention", "did": "did:plc:x" }] }),
                json!({ "index": { "byteStart": 42, "byteEnd": 50 },
                        "features": [{ "$type": "app.bsky.richtext.facet#tag", "tag": "größe" }] }),
            ]
        );
    }

    proptest! {
        #[test]
        fn ranges_lie_in_the_text_and_apart(text in "([@#()a-z.é👋🏽 \n]|https://|a\\.b){0,40}") {
            let mut end = 0;
            for (range, _) in find(&text) {
                prop_assert!(end <= range.start && range.start < range.end);
                prop_assert!(text.is_char_boundary(range.start) && text.is_char_boundary(range.end));
                end = range.end;
            }
            prop_assert!(end <= text.len());
        }
    }
}
