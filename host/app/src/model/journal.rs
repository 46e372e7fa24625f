//! The journal of a post's irreversible calls: what was about to be sent, what was answered, and what was seen of those
//! whose answer is missing.

use std::{fmt, str::FromStr};

use chrono::{DateTime, Utc};
use patchbay_core::{MediaId, MediaInfo, TenantId};
use serde::Serialize;
use uuid::Uuid;

/// One irreversible call.
#[derive(Clone, PartialEq, Eq)]
pub struct Commit {
    /// Step of the post.
    pub step: i64,
    /// Row of the op table.
    pub op: String,
    /// Written and committed before the first byte left.
    pub about_to_at: DateTime<Utc>,
    /// When the answer was kept.
    pub answered_at: Option<DateTime<Utc>>,
    /// HTTP status of the answer.
    pub answer_status: Option<u16>,
    /// The sealed answer. Bound to `(tenant, commits, post, receipt, step)`.
    pub receipt: Option<Vec<u8>>,
}

impl fmt::Debug for Commit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Commit({} step {}, answered {:?})",
            self.op, self.step, self.answer_status
        )
    }
}

/// What tells of a call whose outcome is unknown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ObservationSource {
    /// The platform was asked.
    Platform,
    /// A webhook named the attempt, and the platform was asked about it.
    Webhook,
    /// The URLs under which the platform would have fetched the media.
    PullUrl,
    /// Nobody could be asked.
    Host,
}

impl ObservationSource {
    /// All.
    pub const ALL: [Self; 4] = [Self::Platform, Self::Webhook, Self::PullUrl, Self::Host];

    /// The stable name, as stored and in JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Platform => "platform",
            Self::Webhook => "webhook",
            Self::PullUrl => "pull_url",
            Self::Host => "host",
        }
    }
}

impl FromStr for ObservationSource {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|one| one.as_str() == text)
            .ok_or_else(|| format!("no source of an observation {text}"))
    }
}

/// What became of an irreversible call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CommitOutcome {
    /// It took effect.
    Happened,
    /// It surely did not, and never will.
    DidNotHappen,
    /// Nothing tells.
    Unknown,
}

impl CommitOutcome {
    /// All.
    pub const ALL: [Self; 3] = [Self::Happened, Self::DidNotHappen, Self::Unknown];

    /// The stable name, as stored and in JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Happened => "happened",
            Self::DidNotHappen => "did_not_happen",
            Self::Unknown => "unknown",
        }
    }
}

impl FromStr for CommitOutcome {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|one| one.as_str() == text)
            .ok_or_else(|| format!("no outcome {text}"))
    }
}

/// Something seen of a call whose answer is missing, and the verdict on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observation {
    /// Id.
    pub id: Uuid,
    /// Step of the call ([`Commit::step`]).
    pub step: i64,
    /// Who told.
    pub source: ObservationSource,
    /// What that says of the call.
    pub outcome: CommitOutcome,
    /// The reason as a stable word, if there is one.
    pub code: Option<String>,
    /// When. Set by the store when it is written.
    pub observed_at: DateTime<Utc>,
}

/// A URL under which a platform is to fetch a stored file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NewPullUrl {
    /// SHA-256 of its token.
    pub token_hash: [u8; 32],
    /// The file.
    pub media: MediaId,
}

/// What a request for a pull URL finds.
#[derive(Debug, Clone, PartialEq)]
pub enum PullUrl {
    /// The file may be fetched.
    Open(PullFile),
    /// It has expired, was closed, or its post has ended.
    Closed,
}

/// A stored file behind a pull URL.
#[derive(Debug, Clone, PartialEq)]
pub struct PullFile {
    /// Whose.
    pub tenant: TenantId,
    /// Which.
    pub media: MediaId,
    /// What is known of it.
    pub info: MediaInfo,
    /// SHA-256 of its bytes.
    pub sha256: [u8; 32],
}

/// What the pull URLs of one call say about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pulled {
    /// The call named none.
    NoUrls,
    /// Nothing was fetched, and nothing will be: they are closed.
    Nothing,
    /// Something was fetched.
    Something,
}
