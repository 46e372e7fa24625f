//! The record that a post becomes (lexicon `app.bsky.feed.post`), and the rules that limits cannot express.

use std::collections::BTreeMap;

use patchbay_core::{FieldIssue, Post, PostKind, PostMedia};
use serde_json::{Value, json};
use url::Url;

use crate::{manifest::option, richtext};

/// Collection of posts.
pub(crate) const POSTS: &str = "app.bsky.feed.post";
/// Most bytes of a text. The limit in characters is in the manifest.
const MAX_TEXT_BYTES: usize = 3_000;
/// Most languages.
const MAX_LANGUAGES: usize = 3;
/// Most accounts that a text may mention. Each is looked up.
pub(crate) const MAX_MENTIONS: usize = 20;

/// Everything wrong with a post.
pub(crate) fn check(post: &Post) -> Vec<FieldIssue> {
    let mut issues = Vec::new();
    let mut refuse = |pointer: &str, code: &'static str, message: String| {
        issues.push(FieldIssue::new(pointer, code, message));
    };
    let text = post.text.as_deref().unwrap_or_default();
    if text.len() > MAX_TEXT_BYTES {
        let message = format!(
            "This text has {} bytes; at most {MAX_TEXT_BYTES} are allowed.",
            text.len()
        );
        refuse("/text", "too_long", message);
    }
    if post.kind == PostKind::Text && text.trim().is_empty() {
        refuse(
            "/text",
            "required",
            "A post without pictures or video needs a text.".to_owned(),
        );
    }
    if mentions(text).len() > MAX_MENTIONS {
        refuse(
            "/text",
            "too_many_mentions",
            format!("At most {MAX_MENTIONS} accounts may be mentioned."),
        );
    }
    let languages = languages(post);
    if languages.len() > MAX_LANGUAGES || !languages.iter().all(|tag| is_language(tag)) {
        let message = "Give at most three language tags, separated by commas: `en, pt-BR`.".to_owned();
        refuse("/options/languages", "languages", message);
    }
    let lines = alt_texts(post).len();
    if lines > post.media.len().max(1) {
        let message = format!("{lines} lines for {} files: give one line for each.", post.media.len());
        refuse("/options/alt_text", "count", message);
    }
    let link = text_option(post, option::LINK_URL);
    if link.is_some_and(|link| link_url(link).is_none()) {
        let message = "Give an https address with a host name.".to_owned();
        refuse("/options/link_url", "url", message);
    }
    for name in [option::LINK_TITLE, option::LINK_DESCRIPTION] {
        if link.is_none() && text_option(post, name).is_some() {
            let message = "Give link_url as well: there is no card without it.".to_owned();
            refuse(&format!("/options/{name}"), "without_link", message);
        }
    }
    for (index, media) in post.media.iter().enumerate() {
        if media.info.size_bytes.is_none() {
            let message = "The size of this file is not known, so it cannot be sent.".to_owned();
            refuse(&format!("/media/{index}"), "size", message);
        }
    }
    issues
}

/// The handles that a text mentions, each once.
pub(crate) fn mentions(text: &str) -> Vec<String> {
    let mut handles = Vec::new();
    for (_, feature) in richtext::find(text) {
        if let richtext::Feature::Mention(handle) = feature
            && !handles.contains(&handle)
        {
            handles.push(handle);
        }
    }
    handles
}

/// The record. `accounts` are those that its handles name, `blobs` its files as the server has taken them.
pub(crate) fn of(post: &Post, created_at: &str, accounts: &BTreeMap<String, String>, blobs: &[Value]) -> Value {
    let text = post.text.as_deref().unwrap_or_default();
    let mut record = json!({ "$type": POSTS, "text": text, "createdAt": created_at });
    let facets = richtext::facets(text, accounts);
    if !facets.is_empty() {
        record["facets"] = facets.into();
    }
    let languages = languages(post);
    if !languages.is_empty() {
        record["langs"] = languages.into();
    }
    if let Some(embed) = embed(post, blobs) {
        record["embed"] = embed;
    }
    record
}

fn embed(post: &Post, blobs: &[Value]) -> Option<Value> {
    let alt = alt_texts(post);
    match post.kind {
        PostKind::Images => {
            let images: Vec<_> = post
                .media
                .iter()
                .zip(blobs)
                .enumerate()
                .map(|(index, (media, blob))| {
                    let alt = alt.get(index).copied().unwrap_or_default();
                    with_ratio(json!({ "image": blob, "alt": alt }), media)
                })
                .collect();
            Some(json!({ "$type": "app.bsky.embed.images", "images": images }))
        }
        PostKind::Video => {
            let mut video = json!({ "$type": "app.bsky.embed.video", "video": blobs.first()? });
            if let Some(alt) = alt.first() {
                video["alt"] = (*alt).into();
            }
            Some(with_ratio(video, post.media.first()?))
        }
        _ => {
            let uri = text_option(post, option::LINK_URL)?;
            let site = link_url(uri)
                .and_then(|url| url.host_str().map(str::to_owned))
                .unwrap_or_default();
            let title = text_option(post, option::LINK_TITLE).unwrap_or(&site);
            let description = text_option(post, option::LINK_DESCRIPTION).unwrap_or_default();
            let external = json!({ "uri": uri, "title": title, "description": description });
            Some(json!({ "$type": "app.bsky.embed.external", "external": external }))
        }
    }
}

/// Without it, apps show a picture cut until it has come.
fn with_ratio(mut embed: Value, media: &PostMedia) -> Value {
    if let (Some(width @ 1..), Some(height @ 1..)) = (media.info.width, media.info.height) {
        embed["aspectRatio"] = json!({ "width": width, "height": height });
    }
    embed
}

fn text_option<'a>(post: &'a Post, name: &str) -> Option<&'a str> {
    post.options
        .get(name)?
        .as_str()
        .map(str::trim)
        .filter(|text| !text.is_empty())
}

fn languages(post: &Post) -> Vec<&str> {
    let tags = text_option(post, option::LANGUAGES).unwrap_or_default();
    tags.split(',').map(str::trim).filter(|tag| !tag.is_empty()).collect()
}

/// A plausible tag of BCP 47.
fn is_language(tag: &str) -> bool {
    let mut parts = tag.split('-');
    let first = parts.next().unwrap_or_default();
    (2..=3).contains(&first.len())
        && first.bytes().all(|b| b.is_ascii_alphabetic())
        && parts.all(|part| (1..=8).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_alphanumeric()))
}

/// One for each file; of a single file the whole text.
fn alt_texts(post: &Post) -> Vec<&str> {
    match text_option(post, option::ALT_TEXT) {
        None => Vec::new(),
        Some(text) if post.media.len() <= 1 => vec![text],
        Some(text) => text.lines().map(str::trim).collect(),
    }
}

fn link_url(text: &str) -> Option<Url> {
    let url = Url::parse(text).ok()?;
    let domain = url.domain().is_some_and(|host| host.contains('.'));
    (url.scheme() == "https" && domain && url.username().is_empty() && url.password().is_none()).then_some(url)
}
