//! What a post is made of: files are looked up, and everything is checked that can be checked without the platform.

use chrono::{DateTime, TimeDelta, Utc};
use patchbay_core::{
    FieldIssue, MediaId, MediaInfo, MediaKind, MediaOrigin, Post, PostId, PostKind, PostMedia, TenantId, Transfer,
};
use serde::Serialize;
use serde_json::json;
use sha2::{Digest, Sha256};
use url::Url;

use super::publisher;
use crate::{App, model::Content, problem::Problem, registry::Registered};

/// How long the files of a post are kept after its time: longer than it waits for a reconnect.
const KEEP_MEDIA: TimeDelta = TimeDelta::days(8);
/// How long the files of a draft are kept after its last change.
const KEEP_DRAFT_MEDIA: TimeDelta = TimeDelta::days(90);
/// Longest media URL.
const MAX_URL: usize = 2048;

/// One file of a wanted post.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub enum WantedMedia {
    /// A stored file, and how it is to reach the platform; `None`: as the platform's kind of post has it.
    Stored(MediaId, Option<StoredTransfer>),
    /// A public URL that the platform is to fetch.
    Url(String),
}

/// How a stored file reaches the platform.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StoredTransfer {
    /// We send its bytes.
    Upload,
    /// The platform fetches it from a URL of this host.
    Pull,
}

/// Looks up files.
pub(super) async fn find_media(
    app: &App,
    tenant: TenantId,
    registered: &Registered,
    kind: PostKind,
    wanted: Vec<WantedMedia>,
) -> Result<Vec<PostMedia>, Problem> {
    let mut media = Vec::new();
    let mut issues = Vec::new();
    for (index, item) in wanted.into_iter().enumerate() {
        let pointer = format!("/media/{index}");
        match item {
            WantedMedia::Stored(id, transfer) => match app.store.media(tenant, id).await? {
                Some(stored) => {
                    let origin = origin_of(registered, kind, transfer);
                    if origin == MediaOrigin::Hosted && app.pull_base.is_none() {
                        issues.push(FieldIssue::new(
                            pointer.clone(),
                            "no_public_address",
                            "The platform fetches this file from Patchbay, which has no public https address: the operator \
                             sets server.public_url. Or give a URL instead.",
                        ));
                    }
                    media.push(PostMedia {
                        id,
                        origin,
                        info: stored.info,
                    });
                }
                None => issues.push(no_such_file(pointer)),
            },
            WantedMedia::Url(text) => match public_url(&text) {
                Some(url) => {
                    let info = info_of_url(&url, kind, registered);
                    let id = MediaId::from_uuid(app.env.ids.next());
                    media.push(PostMedia {
                        id,
                        origin: MediaOrigin::Url(url),
                        info,
                    });
                }
                None => issues.push(FieldIssue::new(
                    pointer,
                    "url",
                    "Give a public https URL with a host name, and without user, password, fragment or odd port.",
                )),
            },
        }
    }
    if issues.is_empty() {
        Ok(media)
    } else {
        Err(Problem::invalid(issues))
    }
}

/// Checks that the files that a stored post names are still there.
pub(super) async fn all_there(app: &App, tenant: TenantId, media: &[PostMedia]) -> Result<(), Problem> {
    let mut issues = Vec::new();
    for (index, file) in media.iter().enumerate().filter(|(_, file)| file.origin.is_ours()) {
        if app.store.media(tenant, file.id).await?.is_none() {
            issues.push(no_such_file(format!("/media/{index}")));
        }
    }
    if issues.is_empty() {
        Ok(())
    } else {
        Err(Problem::invalid(issues))
    }
}

fn no_such_file(pointer: String) -> FieldIssue {
    FieldIssue::new(pointer, "unknown_media", "No such file. Upload it first.")
}

/// SHA-256 of what is posted: the bytes of files, wherever they lie, and what is said beside them. Options are no content.
pub(super) async fn hash(app: &App, tenant: TenantId, content: &Content) -> Result<[u8; 32], Problem> {
    let mut media = Vec::with_capacity(content.media.len());
    for file in &content.media {
        media.push(match &file.origin {
            MediaOrigin::Url(url) => url.to_string(),
            MediaOrigin::Stored | MediaOrigin::Hosted => match app.store.media(tenant, file.id).await? {
                Some(stored) => hex::encode(stored.sha256),
                None => file.id.to_string(),
            },
        });
    }
    let said = json!([content.kind, content.mode, content.title, content.text, media]);
    Ok(Sha256::digest(said.to_string()).into())
}

/// Checks content against the provider's rules.
pub(super) fn check(registered: &Registered, content: &Content, id: PostId) -> Result<(), Problem> {
    let post = content.as_post(id);
    let mut issues = registered.manifest().check_post(&post);
    if issues.is_empty() {
        issues = publisher(registered)?.validate(&post);
    }
    issues.extend(check_consent(registered, content, &post));
    if issues.is_empty() {
        Ok(())
    } else {
        Err(Problem::invalid(issues))
    }
}

/// What is kept as agreed to is what the platform prescribes for this post. Where it prescribes nothing, it is the caller's
/// own text.
fn check_consent(registered: &Registered, content: &Content, post: &Post) -> Option<FieldIssue> {
    let consent = content.consent.as_ref()?;
    let form = &registered.manifest().form;
    let declaration = form.declaration(post)?;
    (!form.says(declaration, &consent.text)).then(|| {
        let message = format!(
            "This post needs the agreement to another text: {}",
            declaration.spoken()
        );
        FieldIssue::new("/consent/text", "other_declaration", message)
    })
}

/// How long the files of a post that is stored or changed now are kept. It may wait for its time, and then for its account;
/// a draft waits for somebody.
pub(super) fn kept_until(now: DateTime<Utc>, draft: bool, scheduled_at: Option<DateTime<Utc>>) -> DateTime<Utc> {
    let (from, length) = if draft {
        (now, KEEP_DRAFT_MEDIA)
    } else {
        (scheduled_at.map_or(now, |at| at.max(now)), KEEP_MEDIA)
    };
    from.checked_add_signed(length).unwrap_or(from)
}

/// Keeps the files of a post.
pub(super) async fn keep(app: &App, tenant: TenantId, content: &Content, until: DateTime<Utc>) -> Result<(), Problem> {
    for media in content.media.iter().filter(|media| media.origin.is_ours()) {
        app.store.keep_media(tenant, media.id, until).await?;
    }
    Ok(())
}

/// How a stored file reaches the platform: as asked for, or as its kind of post has it. We send it where we can: that
/// asks nothing of the operator.
fn origin_of(registered: &Registered, kind: PostKind, wanted: Option<StoredTransfer>) -> MediaOrigin {
    let rule = registered.manifest().kind(kind).and_then(|rule| rule.media.as_ref());
    let takes = |transfer| rule.is_some_and(|rule| rule.transfers.contains(&transfer));
    match wanted {
        Some(StoredTransfer::Pull) => MediaOrigin::Hosted,
        None if takes(Transfer::PullHosted) && !takes(Transfer::Upload) => MediaOrigin::Hosted,
        Some(StoredTransfer::Upload) | None => MediaOrigin::Stored,
    }
}

/// A URL that a platform could fetch: https, a host name of at least two labels, the usual port.
fn public_url(text: &str) -> Option<Url> {
    if text.len() > MAX_URL || text.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return None;
    }
    let url = Url::parse(text).ok()?;
    let domain =
        matches!(url.host(), Some(url::Host::Domain(host)) if host.contains('.') && !host.ends_with(".localhost"));
    let plain = url.username().is_empty() && url.password().is_none() && url.fragment().is_none();
    (url.scheme() == "https" && domain && plain && matches!(url.port(), None | Some(8443))).then_some(url)
}

/// What the name of a URL tells. The platform checks the rest when it fetches.
fn info_of_url(url: &Url, kind: PostKind, registered: &Registered) -> MediaInfo {
    let rule = registered.manifest().kind(kind).and_then(|rule| rule.media.as_ref());
    let extension = url
        .path()
        .rsplit_once('.')
        .map(|(_, extension)| extension.to_ascii_lowercase());
    let by_name = extension.and_then(|extension| match extension.as_str() {
        "mp4" | "m4v" => Some("video/mp4"),
        "mov" => Some("video/quicktime"),
        "webm" => Some("video/webm"),
        "jpg" | "jpeg" => Some("image/jpeg"),
        "webp" => Some("image/webp"),
        "png" => Some("image/png"),
        "gif" => Some("image/gif"),
        _ => None,
    });
    let mime = by_name
        .or_else(|| rule.and_then(|rule| rule.mimes.first().copied()))
        .unwrap_or_default();
    let kind = if mime.starts_with("image/") {
        MediaKind::Image
    } else {
        MediaKind::Video
    };
    MediaInfo::of(kind, mime)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_urls_that_a_platform_could_fetch_are_taken() {
        assert!(public_url("https://media.example.com/a.mp4?x=1").is_some());
        for wrong in [
            "http://media.example.com/a.mp4",
            "https://u:p@example.com/a.mp4",
            "https://127.0.0.1/a.mp4",
            "https://0x7f000001/a.mp4",
            "https://[::1]/a.mp4",
            "https://localhost/a.mp4",
            "https://a.localhost/a.mp4",
            "https://example.com:22/a.mp4",
            "https://example.com/a.mp4#x",
            "https://example.com/a\r\nb",
            "file:///etc/passwd",
            "",
        ] {
            assert!(public_url(wrong).is_none(), "{wrong}");
        }
    }
}
