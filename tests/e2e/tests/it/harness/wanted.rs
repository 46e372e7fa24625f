//! Posts as callers ask for them. Tests may want the same many times.

use serde_json::{Value, json};

use super::media;

/// A public video post of one stored file.
pub fn video_post(account: &str, media: &str) -> Value {
    json!({
        "account_id": account,
        "allow_duplicate": true,
        "kind": "video",
        "title": "Kites over the bay",
        "media": [{ "id": media }],
        "options": { "privacy_level": "PUBLIC_TO_EVERYONE" },
    })
}

/// A public video post that the platform fetches.
pub fn pull_post(account: &str) -> Value {
    json!({
        "account_id": account,
        "allow_duplicate": true,
        "kind": "video",
        "media": [{ "url": media::url("video.mp4") }],
        "options": { "privacy_level": "PUBLIC_TO_EVERYONE" },
    })
}

/// A draft of a video that the platform fetches.
pub fn draft_pull(account: &str) -> Value {
    json!({
        "account_id": account, "allow_duplicate": true, "kind": "video", "mode": "draft",
        "media": [{ "url": media::url("video.mp4") }],
    })
}

/// A draft of one stored file.
pub fn draft_post(account: &str, media: &str) -> Value {
    json!({
        "account_id": account, "allow_duplicate": true, "kind": "video", "mode": "draft", "media": [{ "id": media }],
    })
}

/// A photo post of two pictures.
pub fn photo_post(account: &str, mode: &str) -> Value {
    let picture = json!({ "url": media::url("photo.jpg") });
    let mut post = json!({
        "account_id": account, "allow_duplicate": true, "kind": "images", "mode": mode, "title": "Two kites", "text": "At the bay",
        "media": [picture, picture],
    });
    if mode == "direct" {
        post["options"] = json!({ "privacy_level": "PUBLIC_TO_EVERYONE" });
    }
    post
}
