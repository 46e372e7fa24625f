//! The bodies of the three init endpoints as they come over the wire.

use serde::Deserialize;
use serde_json::Value;

#[derive(Deserialize)]
pub(super) struct VideoInit {
    pub post_info: Option<PostInfo>,
    pub source_info: Option<VideoSource>,
}

/// Only `source_info` is documented for drafts. Whatever else comes along is ignored, but for a title.
#[derive(Deserialize)]
pub(super) struct InboxInit {
    pub post_info: Option<Value>,
    pub source_info: Option<VideoSource>,
}

#[derive(Deserialize)]
pub(super) struct ContentInit {
    pub media_type: Option<String>,
    pub post_mode: Option<String>,
    #[serde(default)]
    pub post_info: PostInfo,
    pub source_info: Option<PhotoSource>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct PostInfo {
    pub title: Option<String>,
    pub description: Option<String>,
    pub privacy_level: Option<String>,
    pub disable_comment: bool,
    pub disable_duet: bool,
    pub disable_stitch: bool,
    pub brand_content_toggle: bool,
    pub brand_organic_toggle: bool,
    pub is_aigc: bool,
    pub auto_add_music: bool,
    /// A bad value means the first frame and is not refused.
    pub video_cover_timestamp_ms: Option<Value>,
}

#[derive(Deserialize)]
pub(super) struct VideoSource {
    pub source: Option<String>,
    pub video_size: Option<u64>,
    pub chunk_size: Option<u64>,
    pub total_chunk_count: Option<u64>,
    pub video_url: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct PhotoSource {
    pub source: Option<String>,
    pub photo_images: Option<Vec<String>>,
    pub photo_cover_index: Option<u64>,
}
