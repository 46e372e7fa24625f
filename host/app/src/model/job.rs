//! Background work. One row is one unit: claimed under a lease, done in one step, recorded in one transaction.

use std::str::FromStr;

use chrono::{DateTime, Utc};
use patchbay_core::{JobId, TenantId};
use uuid::Uuid;

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum JobKind {
    /// The next step of a post. Target: the post.
    Publish,
    /// Renew an account's tokens. Target: the account.
    Refresh,
    /// Read a stored webhook. Target: the inbox row.
    Ingest,
    /// End a grant at the platform and erase its tokens. Target: the account.
    Revoke,
    /// Send an event to an endpoint. Target: the delivery.
    Deliver,
    /// Erase a tenant, an owner or an account. Target: the erasure.
    Erase,
    /// Fetch a media file. Target: the upload.
    Import,
    /// Read the numbers of published posts that are due. Target: the account.
    Metrics,
}

impl JobKind {
    /// All.
    pub const ALL: [Self; 8] = [
        Self::Publish,
        Self::Refresh,
        Self::Ingest,
        Self::Revoke,
        Self::Deliver,
        Self::Erase,
        Self::Import,
        Self::Metrics,
    ];

    /// Whether jobs of this kind are claimed tenant after tenant, one at a time, and may have a concurrency key. The
    /// others are claimed in the order in which they are due, several at once.
    #[must_use]
    pub fn takes_turns(self) -> bool {
        match self {
            Self::Publish | Self::Deliver | Self::Import => true,
            Self::Refresh | Self::Ingest | Self::Revoke | Self::Erase | Self::Metrics => false,
        }
    }

    /// Kinds that wait for nothing but this installation and its platforms: if they are late, the operator must act. A
    /// delivery may wait long for a receiver, and an import for a server, which are its tenant's; and numbers that are read
    /// later harm nobody.
    pub const OF_OPERATOR: [Self; 5] = [Self::Publish, Self::Refresh, Self::Ingest, Self::Revoke, Self::Erase];

    /// The stable name, as stored.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Publish => "publish",
            Self::Refresh => "refresh",
            Self::Ingest => "ingest",
            Self::Revoke => "revoke",
            Self::Deliver => "deliver",
            Self::Erase => "erase",
            Self::Import => "import",
            Self::Metrics => "metrics",
        }
    }
}

impl FromStr for JobKind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|kind| kind.as_str() == text)
            .ok_or_else(|| format!("no job kind {text}"))
    }
}

/// Where a job is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum JobStatus {
    /// Waits for `run_at`.
    Ready,
    /// Leased.
    Running,
    /// Finished.
    Done,
    /// Given up; kept for a person to look at.
    Dead,
}

impl JobStatus {
    /// The stable name, as stored.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Running => "running",
            Self::Done => "done",
            Self::Dead => "dead",
        }
    }
}

impl FromStr for JobStatus {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        [Self::Ready, Self::Running, Self::Done, Self::Dead]
            .into_iter()
            .find(|status| status.as_str() == text)
            .ok_or_else(|| format!("no job status {text}"))
    }
}

/// The right to write a job's result. A lease that expired, or was taken over, writes nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Lease {
    /// Which job.
    pub job: JobId,
    /// Raised with every claim; every write is conditional on it.
    pub fence: i64,
}

/// A job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    /// Id.
    pub id: JobId,
    /// Whose.
    pub tenant: TenantId,
    /// What.
    pub kind: JobKind,
    /// What it works on, by kind.
    pub target: Uuid,
    /// State.
    pub status: JobStatus,
    /// Not before.
    pub run_at: DateTime<Utc>,
    /// Claims that have not led to a verdict, this one included. Counted at claim, so that a step that kills the
    /// process also ends.
    pub attempts: i32,
    /// Claims in a row whose worker was never heard of again. A verdict, be it a fault, begins anew.
    pub lost: i32,
    /// Fence of the current claim.
    pub fence: i64,
    /// Follows the work.
    pub correlation_id: String,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When it ended.
    pub finished_at: Option<DateTime<Utc>>,
    /// Last fault, as a code.
    pub last_error: Option<String>,
}

impl Job {
    /// The lease of the current claim.
    #[must_use]
    pub fn lease(&self) -> Lease {
        Lease {
            job: self.id,
            fence: self.fence,
        }
    }
}

/// A job to be stored. There is at most one unfinished job of a kind and target: storing another moves the first one
/// forward.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewJob {
    /// Id to use if there is none yet.
    pub id: JobId,
    /// Whose.
    pub tenant: TenantId,
    /// What.
    pub kind: JobKind,
    /// What it works on.
    pub target: Uuid,
    /// Jobs with the same key never run at the same time. Only for a kind that takes turns.
    pub concurrency_key: Option<String>,
    /// Not before; `None`: now, by the store's clock.
    pub run_at: Option<DateTime<Utc>>,
    /// Follows the work.
    pub correlation_id: String,
}
