//! Rules of a post that the manifest's limits cannot say.

use patchbay_core::{FieldIssue, MediaOrigin, Post, PostKind};
use serde_json::Value;
use url::{Host, Url};

pub(super) fn check(post: &Post) -> Vec<FieldIssue> {
    let mut issues = Vec::new();
    let filled = |text: &Option<String>| text.as_ref().is_some_and(|text| !text.is_empty());
    if post.kind == PostKind::Video && filled(&post.title) && filled(&post.text) {
        issues.push(FieldIssue::new(
            "/text",
            "one_caption",
            "A video has one caption: give it as title or as text, not as both.",
        ));
    }
    for (index, media) in post.media.iter().enumerate() {
        let pointer = format!("/media/{index}");
        match &media.origin {
            MediaOrigin::Url(url) => issues.extend(check_url(pointer, url)),
            MediaOrigin::Stored if post.kind == PostKind::Video && media.info.size_bytes.is_none() => {
                issues.push(FieldIssue::new(
                    pointer,
                    "unknown_size",
                    "The size of the file is not known: upload it again.",
                ));
            }
            MediaOrigin::Stored | MediaOrigin::Hosted => {}
        }
    }
    issues.extend(check_covers(post));
    issues
}

/// The Media Transfer Guide: https, a domain and not an address, no redirect (which only TikTok can see).
fn check_url(pointer: String, url: &Url) -> Option<FieldIssue> {
    let issue = |code: &'static str, message: &str| Some(FieldIssue::new(pointer, code, message));
    if url.scheme() != "https" {
        return issue("https", "TikTok fetches media over https alone.");
    }
    if !matches!(url.host(), Some(Host::Domain(_))) {
        return issue(
            "domain",
            "TikTok fetches media from a domain name, not from an IP address.",
        );
    }
    if !url.username().is_empty() || url.password().is_some() {
        return issue("credentials", "Leave user name and password out of the address.");
    }
    None
}

fn check_covers(post: &Post) -> Option<FieldIssue> {
    if let Some(index) = post.options.get("photo_cover_index").and_then(Value::as_u64)
        && usize::try_from(index).map_or(true, |index| index >= post.media.len())
    {
        let message = format!("There are {} photos, counted from 0.", post.media.len());
        return Some(FieldIssue::new("/options/photo_cover_index", "range", message));
    }
    let moment = post.options.get("video_cover_timestamp_ms").and_then(Value::as_u64)?;
    let duration = post.media.first()?.info.duration_ms?;
    (moment > duration).then(|| {
        // TikTok would take the first frame without a word.
        let message = format!("The video ends at {duration} ms.");
        FieldIssue::new("/options/video_cover_timestamp_ms", "range", message)
    })
}
