//! The fields of users and videos, each with the scope that opens it.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use crate::account::Account;
use crate::post::{Post, Published};

/// Captions are cut here in both text fields (video object page).
const MAX_TEXT: usize = 150;

/// Scope and value of a user field; `None` for a name TikTok does not know.
pub(super) fn user_field(account: &Account, videos: usize, name: &str) -> Option<(&'static str, Value)> {
    const BASIC: &str = "user.info.basic";
    const PROFILE: &str = "user.info.profile";
    const STATS: &str = "user.info.stats";
    let profile = format!("https://www.tiktok.com/@{}", account.username);
    Some(match name {
        "open_id" => (BASIC, json!(account.open_id)),
        "union_id" => (BASIC, json!(account.union_id)),
        "avatar_url" => (BASIC, json!(account.avatar_url("168x168"))),
        "avatar_url_100" => (BASIC, json!(account.avatar_url("100x100"))),
        "avatar_large_url" => (BASIC, json!(account.avatar_url("720x720"))),
        "display_name" => (BASIC, json!(account.nickname)),
        "bio_description" => (PROFILE, json!(account.bio_description)),
        "profile_deep_link" | "profile_web_link" => (PROFILE, json!(profile)),
        "is_verified" => (PROFILE, json!(account.verified)),
        "username" => (PROFILE, json!(account.username)),
        "follower_count" => (STATS, json!(account.follower_count)),
        "following_count" => (STATS, json!(account.following_count)),
        "likes_count" => (STATS, json!(account.likes_count)),
        "video_count" => (STATS, json!(videos)),
        _ => return None,
    })
}

/// A video on a profile.
pub(super) struct PublicVideo {
    pub post_id: u64,
    pub at: DateTime<Utc>,
    caption: String,
    duration_sec: u32,
    username: String,
    is_aigc: bool,
}

impl PublicVideo {
    pub(super) fn new(post: &Post, published: &Published, username: &str) -> Self {
        Self {
            post_id: published.post_id,
            at: published.at,
            caption: post.wishes.title.clone().unwrap_or_default(),
            duration_sec: post.duration_sec,
            username: username.to_owned(),
            is_aigc: post.wishes.is_aigc,
        }
    }

    pub(super) fn millis(&self) -> u64 {
        u64::try_from(self.at.timestamp_millis()).unwrap_or(0)
    }
}

/// Counts grow with the age of a video, so that a reader of metrics sees movement, until it is forgotten (`end`, in minutes).
pub(super) fn video_field(video: &PublicVideo, now: DateTime<Utc>, end: Option<i64>, name: &str) -> Option<Value> {
    let id = video.post_id;
    let minutes = (now - video.at).num_minutes().clamp(0, end.unwrap_or(i64::MAX));
    let caption: String = video.caption.chars().take(MAX_TEXT).collect();
    let embed = format!("https://www.tiktok.com/player/v1/{id}");
    Some(match name {
        "id" => json!(id.to_string()),
        "create_time" => json!(video.at.timestamp()),
        "cover_image_url" => json!(format!("https://p16-sign.tiktokcdn-us.com/simulated/{id}~cover.jpeg")),
        "share_url" => json!(format!("https://www.tiktok.com/@{}/video/{id}", video.username)),
        "video_description" | "title" => json!(caption),
        "duration" => json!(video.duration_sec),
        "height" => json!(1280),
        "width" => json!(720),
        "embed_html" => json!(format!(
            "<blockquote class=\"tiktok-embed\" cite=\"{embed}\"></blockquote>"
        )),
        "embed_link" => json!(embed),
        "like_count" => json!(minutes / 3),
        "comment_count" => json!(minutes / 20),
        "share_count" => json!(minutes / 50),
        "view_count" => json!(minutes * 7),
        "is_aigc" => json!(video.is_aigc),
        _ => return None,
    })
}
