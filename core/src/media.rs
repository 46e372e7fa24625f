//! Media as facts. A provider never holds a file's bytes: it names a part of one in [`crate::Body::Media`].

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// What a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MediaKind {
    /// A moving picture.
    Video,
    /// A still picture.
    Image,
}

/// What is known of a media file. Facts that could not be found out are `None`, and then no rule refuses them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MediaInfo {
    /// Video or image, by its content.
    pub kind: MediaKind,
    /// MIME type by its content, such as `video/mp4`.
    pub mime: String,
    /// Size in bytes. `None` for a URL that was not looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size_bytes: Option<u64>,
    /// Play time in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration_ms: Option<u64>,
    /// Width in pixels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub width: Option<u32>,
    /// Height in pixels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub height: Option<u32>,
    /// Frames per second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub frame_rate: Option<f64>,
    /// Codec as in the container, such as `avc1`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub codec: Option<String>,
}

impl MediaInfo {
    /// What is known of a file of which only the type is.
    #[must_use]
    pub fn of(kind: MediaKind, mime: impl Into<String>) -> Self {
        Self {
            kind,
            mime: mime.into(),
            size_bytes: None,
            duration_ms: None,
            width: None,
            height: None,
            frame_rate: None,
            codec: None,
        }
    }

    /// Play time.
    #[must_use]
    pub fn duration(&self) -> Option<Duration> {
        self.duration_ms.map(Duration::from_millis)
    }
}

/// Bytes `start..end` of a file, `end` excluded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ByteRange {
    /// First byte.
    pub start: u64,
    /// One past the last byte.
    pub end: u64,
}

impl ByteRange {
    /// Number of bytes.
    #[must_use]
    pub fn len(self) -> u64 {
        self.end.saturating_sub(self.start)
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }
}
