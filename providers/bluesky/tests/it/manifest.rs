//! The manifest, and the rules on top of its limits.

use patchbay_core::{Effect, FieldIssue, Post};
use serde_json::Value;

use crate::support::{bluesky, image_post, text_post, video_post, with_option};

/// What the host would say of a post.
fn issues(post: &Post) -> Vec<FieldIssue> {
    let provider = bluesky();
    let issues = provider.manifest().check_post(post);
    if issues.is_empty() {
        return provider.publisher().unwrap().validate(post);
    }
    issues
}

#[track_caller]
fn refused(post: &Post, pointer: &str, code: &str) {
    let issues = issues(post);
    let found: Vec<_> = issues
        .iter()
        .map(|issue| (issue.pointer.as_str(), &*issue.code))
        .collect();
    assert_eq!(found, [(pointer, code)], "{issues:?}");
}

#[test]
fn it_agrees_with_itself() {
    let provider = bluesky();
    let manifest = provider.manifest();
    manifest.check().unwrap();
    let commits: Vec<_> = manifest
        .ops
        .iter()
        .filter(|op| op.effect == Effect::Commit)
        .map(|op| op.name)
        .collect();
    assert_eq!(commits, ["record.put"]);
    assert!(
        patchbay_provider_bluesky::build(&patchbay_core::Settings(
            [("x".to_owned(), Value::Null)].into_iter().collect()
        ))
        .is_err()
    );
}

#[test]
fn a_text_is_counted_as_readers_count_and_in_bytes() {
    let family = "👨‍👩‍👧‍👦";
    assert_eq!(issues(&text_post(&"e\u{301}".repeat(300))), []);
    refused(&text_post(&"é".repeat(301)), "/text", "too_long");
    assert_eq!(family.len() * 120, 3_000);
    assert_eq!(issues(&text_post(&family.repeat(120))), []);
    refused(&text_post(&family.repeat(121)), "/text", "too_long");
    refused(&text_post(" \n"), "/text", "required");
    assert_eq!(issues(&video_post()), []);
}

#[test]
fn options_are_checked() {
    assert_eq!(
        issues(&with_option(text_post("x"), "languages", "en, pt-BR,zh-Hant")),
        []
    );
    for wrong in ["en,de,fr,it", "english", "e", "en_US", "en-"] {
        refused(
            &with_option(text_post("x"), "languages", wrong),
            "/options/languages",
            "languages",
        );
    }
    refused(
        &with_option(text_post("x"), "alt_text", "y"),
        "/options/alt_text",
        "unknown_option",
    );
    assert_eq!(issues(&with_option(image_post(2), "alt_text", "one\ntwo")), []);
    refused(
        &with_option(image_post(2), "alt_text", "one\ntwo\nthree"),
        "/options/alt_text",
        "count",
    );
    for wrong in [
        "http://example.com",
        "https://localhost/",
        "https://u:p@example.com/",
        "example.com",
        "javascript:1",
    ] {
        refused(
            &with_option(text_post("x"), "link_url", wrong),
            "/options/link_url",
            "url",
        );
    }
    refused(
        &with_option(text_post("x"), "link_title", "y"),
        "/options/link_title",
        "without_link",
    );
    refused(&image_post(5), "/media", "count");
    let many: String = (0..21).map(|n| format!("@a{n}.test ")).collect();
    refused(&text_post(&many), "/text", "too_many_mentions");
}
