use std::collections::BTreeSet;

use patchbay_core::{Effect, MediaOrigin, OptionField, Post, PostMode, TextCount};
use serde_json::json;

use crate::support::{file_post, photo_post, pull_post, tiktok, tiktok_with, url, with_option};

#[test]
fn the_manifest_does_not_contradict_itself() {
    let provider = tiktok();
    let manifest = provider.manifest();
    manifest.check().unwrap();
    assert_eq!(manifest.id.as_str(), patchbay_provider_tiktok::ID);
    assert!(provider.oauth().is_some() && provider.publisher().is_some() && provider.webhooks().is_some());
}

#[test]
fn exactly_the_calls_that_make_a_post_are_commits() {
    let provider = tiktok();
    let commits: BTreeSet<_> = provider
        .manifest()
        .ops
        .iter()
        .filter(|op| op.effect == Effect::Commit)
        .map(|op| op.name)
        .collect();
    let expected = [
        "inbox.init_pull",
        "photo.init",
        "photo.init_draft",
        "video.chunk_last",
        "video.init_pull",
    ];
    assert_eq!(commits, BTreeSet::from(expected));
}

#[test]
fn upload_hosts_are_tiktoks_alone() {
    let provider = tiktok();
    for op in ["video.chunk", "video.chunk_last"] {
        let op = provider.manifest().op(op).unwrap();
        for good in [
            "open-upload.tiktokapis.com",
            "upload.us.tiktokapis.com",
            "open-upload.tiktokapis.us",
        ] {
            assert!(op.allows_host(good), "{good}");
        }
        for bad in ["tiktokapis.com.evil.net", "eviltiktokapis.com", "127.0.0.1"] {
            assert!(!op.allows_host(bad), "{bad}");
        }
    }
}

#[test]
fn the_scopes_asked_for_follow_the_setting() {
    let all: Vec<_> = tiktok().manifest().default_scopes().collect();
    assert!(all.contains(&"video.publish") && all.contains(&"user.info.basic"));
    let some = tiktok_with(json!({ "scopes": ["video.upload", "user.info.basic"] }));
    let some: Vec<_> = some.manifest().default_scopes().collect();
    assert_eq!(some, ["user.info.basic", "video.upload"]);
}

#[test]
fn a_setting_that_is_not_known_stops_the_start() {
    let wrong = json!({ "chunk_sise_bytes": 1 });
    let settings = patchbay_core::Settings(wrong.as_object().unwrap().clone());
    assert!(patchbay_provider_tiktok::build(&settings).is_err());
}

#[test]
fn texts_are_counted_in_utf16_units() {
    let provider = tiktok();
    let check = |text: &str, fits: bool| {
        let mut post = file_post(PostMode::Direct);
        post.title = Some(text.to_owned());
        assert_eq!(
            provider.manifest().check_post(&post).is_empty(),
            fits,
            "{}",
            TextCount::Utf16.length(text)
        );
    };
    check(&"x".repeat(2200), true);
    check(&"x".repeat(2201), false);
    check(&"😀".repeat(1100), true);
    check(&"😀".repeat(1101), false);
}

#[test]
fn the_options_of_a_post_depend_on_its_kind_and_mode() {
    let provider = tiktok();
    let check = |post: Post, codes: &[&str]| {
        let issues = OptionField::check_all(&provider.manifest().options, &post);
        let found: Vec<_> = issues.iter().map(|issue| issue.code.as_ref()).collect();
        assert_eq!(found, codes);
    };
    check(file_post(PostMode::Direct), &[]);
    check(file_post(PostMode::Draft), &[]);
    let mut bare = file_post(PostMode::Direct);
    bare.options.clear();
    check(bare, &["required"]);
    check(
        with_option(file_post(PostMode::Draft), "privacy_level", json!("SELF_ONLY")),
        &["unknown_option"],
    );
    check(
        with_option(photo_post(PostMode::Direct, 2), "disable_duet", json!(true)),
        &["unknown_option"],
    );
    check(
        with_option(photo_post(PostMode::Draft, 2), "photo_cover_index", json!(1)),
        &[],
    );
    check(
        with_option(file_post(PostMode::Direct), "privacy_level", json!("EVERYONE")),
        &["choice"],
    );
}

#[test]
fn rules_beyond_limits_are_checked_before_anything_is_sent() {
    let provider = tiktok();
    let check = |post: Post, expected: &[(&str, &str)]| {
        let issues = provider.publisher().unwrap().validate(&post);
        let found: Vec<_> = issues
            .iter()
            .map(|issue| (issue.pointer.as_str(), issue.code.as_ref()))
            .collect();
        assert_eq!(found, expected);
    };
    check(file_post(PostMode::Direct), &[]);
    check(pull_post(PostMode::Draft), &[]);
    check(photo_post(PostMode::Direct, 35), &[]);

    let mut two_captions = file_post(PostMode::Direct);
    two_captions.text = Some("again".to_owned());
    check(two_captions, &[("/text", "one_caption")]);

    check(
        with_option(photo_post(PostMode::Direct, 3), "photo_cover_index", json!(2)),
        &[],
    );
    check(
        with_option(photo_post(PostMode::Direct, 3), "photo_cover_index", json!(3)),
        &[("/options/photo_cover_index", "range")],
    );

    let mut cover = with_option(file_post(PostMode::Direct), "video_cover_timestamp_ms", json!(5001));
    check(cover.clone(), &[]);
    cover.media[0].info.duration_ms = Some(5000);
    check(cover, &[("/options/video_cover_timestamp_ms", "range")]);

    for (address, code) in [
        ("http://media.example.com/0.jpg", "https"),
        ("https://192.0.2.7/0.jpg", "domain"),
        ("https://[2001:db8::1]/0.jpg", "domain"),
        ("https://user:pw@media.example.com/0.jpg", "credentials"),
    ] {
        let mut post = photo_post(PostMode::Direct, 2);
        post.media[1].origin = MediaOrigin::Url(url(address));
        check(post, &[("/media/1", code)]);
    }

    let mut sizeless = file_post(PostMode::Draft);
    sizeless.media[0].info.size_bytes = None;
    check(sizeless, &[("/media/0", "unknown_size")]);
}

#[test]
fn branded_content_cannot_be_private() {
    let provider = tiktok();
    let check = |post: Post, expected: &[(&str, &str)]| {
        let issues = provider.manifest().check_post(&post);
        let found: Vec<_> = issues
            .iter()
            .map(|issue| (issue.pointer.as_str(), issue.code.as_ref()))
            .collect();
        assert_eq!(found, expected);
    };
    let branded = with_option(file_post(PostMode::Direct), "brand_content_toggle", json!(true));
    check(
        with_option(branded.clone(), "privacy_level", json!("PUBLIC_TO_EVERYONE")),
        &[],
    );
    check(
        with_option(branded, "privacy_level", json!("SELF_ONLY")),
        &[("/options/privacy_level", "branded_private")],
    );
}

/// Content Sharing Guidelines, points 2 and 4.
#[test]
fn what_is_agreed_to_follows_the_disclosure() {
    let provider = tiktok();
    let form = &provider.manifest().form;
    let links = |option: &str| {
        let post = with_option(file_post(PostMode::Direct), option, json!(true));
        form.declaration(&post).unwrap().links.len()
    };
    assert_eq!(
        [
            links("is_aigc"),
            links("brand_organic_toggle"),
            links("brand_content_toggle")
        ],
        [1, 1, 2]
    );
    assert!(form.declaration(&file_post(PostMode::Draft)).is_none());
}

#[test]
fn every_text_for_people_is_there_in_french() {
    let provider = tiktok();
    let manifest = provider.manifest();
    let french = manifest
        .form
        .translations
        .iter()
        .find(|one| one.language == "fr")
        .unwrap();
    let quotas: Vec<_> = manifest
        .quotas
        .iter()
        .map(|quota| quota.name.replace('_', " "))
        .collect();
    let mut texts: Vec<&str> = quotas.iter().map(String::as_str).collect();
    texts.extend(manifest.scopes.iter().map(|scope| scope.purpose));
    for option in &manifest.options {
        texts.extend([option.title, option.description]);
        texts.extend(option.opposite);
        texts.extend(option.labels.values().copied());
    }
    for group in &manifest.form.groups {
        texts.push(group.title);
        texts.extend(group.description);
        texts.extend(group.switch);
        texts.extend(group.notices.iter().map(|notice| notice.text));
    }
    texts.extend(manifest.form.exclusions.iter().map(|exclusion| exclusion.message));
    texts.extend(manifest.form.declarations.iter().map(|declaration| declaration.text));
    texts.extend(manifest.form.afterwards);
    let missing: Vec<_> = texts
        .into_iter()
        .filter(|text| !french.texts.contains_key(text))
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
}
