//! What is kept between two steps.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use patchbay_core::{Checkpoint, ErrorKind, Post, PostMode, ProviderError, SecretRef};
use serde::{Deserialize, Serialize};

use crate::{chunk::Plan, error};

/// Where a post stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub(super) enum State {
    /// Direct posts begin by asking what the creator may post.
    Asking,
    /// The init is next.
    Ready { attempt: u32 },
    /// Chunks are being sent.
    Upload(Upload),
    /// TikTok has all it needs.
    Processing(Watch),
    /// A draft is with its person.
    Inbox(Watch),
    /// Published; TikTok has not told the ids yet.
    Ids(Watch),
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Upload {
    pub attempt: u32,
    pub publish_id: String,
    pub upload_url: SecretRef,
    pub issued_at: DateTime<Utc>,
    pub size: u64,
    pub chunk_size: u64,
    /// Bytes that TikTok has taken.
    pub sent: u64,
    /// Looks at the status since the last progress.
    pub troubles: u32,
    /// The last chunk has left at least once, with an answer that did not settle it. From then on a new init needs
    /// proof that this upload is not complete.
    pub last_sent: bool,
    /// Look at the status before sending anything.
    pub look: Option<Look>,
    /// Send nothing before this.
    pub not_before: Option<DateTime<Utc>>,
}

/// Why the status is to be looked at first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Look {
    /// To find the offset at which the upload goes on.
    Resume,
    /// The upload URL is refused: to see whether a new upload is safe.
    Restart,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Watch {
    pub attempt: u32,
    pub publish_id: String,
    /// When this state was reached.
    pub since: DateTime<Utc>,
}

impl State {
    /// The state of a checkpoint; without one, where a post begins.
    pub(super) fn of(post: &Post, at: Option<&Checkpoint>) -> Result<Self, ProviderError> {
        match (at, post.mode) {
            (Some(at), _) => at.read(),
            (None, PostMode::Direct) => Ok(Self::Asking),
            (None, PostMode::Draft) => Ok(Self::Ready { attempt: 0 }),
        }
    }

    pub(super) fn publish_id(&self) -> Option<&str> {
        match self {
            Self::Asking | Self::Ready { .. } => None,
            Self::Upload(upload) => Some(&upload.publish_id),
            Self::Processing(watch) | Self::Inbox(watch) | Self::Ids(watch) => Some(&watch.publish_id),
        }
    }

    pub(super) fn checkpoint(&self) -> Result<Checkpoint, ProviderError> {
        let phase = match self {
            Self::Asking | Self::Ready { .. } => "preparing",
            Self::Upload(_) => "uploading",
            Self::Processing(_) => "processing",
            Self::Inbox(_) => "in_inbox",
            Self::Ids(_) => "published",
        };
        let mut checkpoint = Checkpoint::new(phase, self)?;
        if let Some(publish_id) = self.publish_id() {
            checkpoint = checkpoint.known_as(publish_id);
        }
        if let Self::Upload(upload) = self {
            checkpoint = checkpoint.at_bytes(upload.sent, upload.size);
        }
        Ok(checkpoint)
    }
}

impl Upload {
    /// An upload URL lives one hour and the upload must end inside it.
    const URL_LIFE: TimeDelta = TimeDelta::hours(1);
    /// No chunk is begun so shortly before the end.
    const MARGIN: TimeDelta = TimeDelta::minutes(1);
    /// Looks in a row that may find nothing new. With the pauses between them they last about half an hour.
    const MAX_TROUBLES: u32 = 12;

    pub(super) fn plan(&self) -> Result<Plan, ProviderError> {
        Plan::new(self.size, self.chunk_size)
            .map_err(|error| ProviderError::new(ErrorKind::Permanent, "checkpoint", format!("{error:?}")))
    }

    /// Whether this upload URL is of no more use.
    pub(super) fn is_spent(&self, now: DateTime<Utc>) -> bool {
        now - self.issued_at >= Self::URL_LIFE - Self::MARGIN || self.troubles > Self::MAX_TROUBLES
    }

    /// Goes on where TikTok stands.
    pub(super) fn resume(mut self, plan: &Plan, uploaded: u64) -> Self {
        let offset = plan.resume_at(uploaded);
        self.troubles = if offset > self.sent { 0 } else { self.troubles + 1 };
        self.sent = offset;
        self.look = None;
        self.not_before = None;
        self
    }

    /// Time before the next try: longer, the more looks found nothing new.
    pub(super) fn pause(&self) -> Duration {
        Duration::from_secs(2 << self.troubles.min(8)).min(Duration::from_mins(5))
    }

    /// Why this upload ends here.
    pub(super) fn spent_error(&self) -> ProviderError {
        error::ours(
            "upload_expired",
            &format!(
                "the upload URL was used up at {} of {} bytes, in attempt {}",
                self.sent,
                self.size,
                self.attempt + 1
            ),
        )
    }
}

impl Watch {
    pub(super) fn elapsed(&self, now: DateTime<Utc>) -> Duration {
        (now - self.since).to_std().unwrap_or_default()
    }

    /// The same attempt, in a state reached now.
    pub(super) fn reached_at(self, now: DateTime<Utc>) -> Self {
        Self { since: now, ..self }
    }
}
