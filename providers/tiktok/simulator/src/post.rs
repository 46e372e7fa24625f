//! One post from its init to its end, as the platform knows it.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::account::Privacy;

/// Posted at once, or handed to the user as a draft.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Flow {
    Direct,
    Inbox,
}

/// What the post is made of and how it came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    VideoFile,
    VideoUrl,
    Photos,
}

/// `fail_reason` of a status and `reason` of a webhook
/// (developers.tiktok.com/doc/content-posting-api-reference-get-video-status).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailReason {
    Internal,
    VideoPullFailed,
    PhotoPullFailed,
    FileFormatCheckFailed,
    DurationCheckFailed,
    FrameRateCheckFailed,
    PictureSizeCheckFailed,
    PublishCancelled,
    AuthRemoved,
    SpamRiskTooManyPosts,
    SpamRiskUserBannedFromPosting,
    SpamRiskText,
    SpamRisk,
}

impl FailReason {
    pub fn parse(word: &str) -> Option<Self> {
        serde_json::from_value(serde_json::Value::from(word)).ok()
    }
}

/// What the caller asked for beside the media.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Wishes {
    pub title: Option<String>,
    pub description: Option<String>,
    pub privacy: Option<Privacy>,
    pub disable_comment: bool,
    pub disable_duet: bool,
    pub disable_stitch: bool,
    pub brand_content_toggle: bool,
    pub brand_organic_toggle: bool,
    pub is_aigc: bool,
    pub auto_add_music: bool,
    pub video_cover_timestamp_ms: Option<i64>,
    pub photo_cover_index: Option<usize>,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Phase {
    AwaitingUpload,
    Downloading,
    Cancelling {
        due: DateTime<Utc>,
    },
    /// All bytes are here. `held_by` names the fault rule that keeps it hanging.
    Processing {
        due: DateTime<Utc>,
        verdict: Option<FailReason>,
        held_by: Option<String>,
    },
    InInbox,
    Complete,
    Failed(FailReason),
}

/// One appearance on the profile; a draft can have several.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Published {
    /// 19 digits, past 2^53. Text here, because JSON readers lose digits.
    #[serde(serialize_with = "as_text")]
    pub post_id: u64,
    pub privacy: Privacy,
    pub at: DateTime<Utc>,
    /// When moderation is through; never for posts that are not public.
    pub public_at: Option<DateTime<Utc>>,
    /// The id has been given out.
    pub announced: bool,
    pub deleted: bool,
}

impl Published {
    pub fn is_visible(&self) -> bool {
        self.announced && !self.deleted
    }
}

pub(crate) struct Post {
    pub publish_id: String,
    pub open_id: String,
    pub flow: Flow,
    pub source: Source,
    pub wishes: Wishes,
    pub created_at: DateTime<Utc>,
    pub phase: Phase,
    pub urls: Vec<String>,
    pub upload_id: Option<String>,
    pub bytes: u64,
    pub sha256: Vec<String>,
    pub duration_sec: u32,
    pub published: Vec<Published>,
    pub discarded: bool,
    /// Ends a running download.
    pub abort: std::sync::Arc<tokio::sync::Notify>,
}

impl Post {
    pub(crate) fn is_failed(&self) -> bool {
        matches!(self.phase, Phase::Failed(_))
    }

    /// Neither posted, nor in the inbox, nor failed.
    pub(crate) fn is_unfinished(&self) -> bool {
        match self.phase {
            Phase::AwaitingUpload | Phase::Downloading | Phase::Cancelling { .. } | Phase::Processing { .. } => true,
            Phase::InInbox | Phase::Complete | Phase::Failed(_) => false,
        }
    }

    /// The word of `status/fetch`.
    pub(crate) fn status(&self) -> &'static str {
        match self.phase {
            Phase::AwaitingUpload | Phase::Downloading | Phase::Cancelling { .. } | Phase::Processing { .. } => {
                match self.source {
                    Source::VideoFile => "PROCESSING_UPLOAD",
                    Source::VideoUrl | Source::Photos => "PROCESSING_DOWNLOAD",
                }
            }
            Phase::InInbox => "SEND_TO_USER_INBOX",
            Phase::Complete => "PUBLISH_COMPLETE",
            Phase::Failed(_) => "FAILED",
        }
    }

    /// The word of webhooks: `DIRECT_PUBLISH` was captured in production, others guess differently.
    pub(crate) fn publish_type(&self) -> &'static str {
        match self.flow {
            Flow::Direct => "DIRECT_PUBLISH",
            Flow::Inbox => "INBOX_SHARE",
        }
    }

    pub(crate) fn pull_failure(&self) -> FailReason {
        match self.source {
            Source::Photos => FailReason::PhotoPullFailed,
            Source::VideoFile | Source::VideoUrl => FailReason::VideoPullFailed,
        }
    }
}

fn as_text<S: serde::Serializer>(id: &u64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(id)
}
