//! Webhooks as received, and the events that were read from them or made by Patchbay itself.

use std::str::FromStr;

use chrono::{DateTime, Utc};
use patchbay_core::{AccountId, EventId, EventKind, InboxId, PostId, ProviderId, TenantId};

/// Where a received webhook is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum InboxStatus {
    /// Stored, not yet read.
    Pending,
    /// Read and applied.
    Done,
    /// Not readable; kept for a person to look at.
    Dead,
}

impl InboxStatus {
    /// The stable name, as stored.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Done => "done",
            Self::Dead => "dead",
        }
    }
}

impl FromStr for InboxStatus {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        [Self::Pending, Self::Done, Self::Dead]
            .into_iter()
            .find(|status| status.as_str() == text)
            .ok_or_else(|| format!("no inbox status {text}"))
    }
}

/// A verified webhook, raw.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InboxItem {
    /// Id.
    pub id: InboxId,
    /// Whose app.
    pub tenant: TenantId,
    /// Platform.
    pub provider: ProviderId,
    /// Public id of the app whose secret signed it.
    pub client_id: String,
    /// Scheme that it verified under.
    pub scheme: String,
    /// SHA-256 of app and raw body: its identity, since platforms send no id.
    pub digest: [u8; 32],
    /// The raw body.
    pub body: Vec<u8>,
    /// When it came.
    pub received_at: DateTime<Utc>,
    /// State.
    pub status: InboxStatus,
    /// Follows the work.
    pub correlation_id: String,
}

/// An event to be stored by Patchbay itself (`post.published`), in the transaction that made it true.
#[derive(Debug, Clone, PartialEq)]
pub struct NewEvent {
    /// Id.
    pub id: EventId,
    /// Name, such as `post.published`.
    pub name: String,
    /// Unique within tenant and provider: a repeated step adds no second event.
    pub dedupe_key: String,
    /// Account.
    pub account: Option<AccountId>,
    /// Post.
    pub post: Option<PostId>,
    /// Its fields.
    pub payload: serde_json::Value,
}

/// An event as consumers read it.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// Id.
    pub id: EventId,
    /// Whose.
    pub tenant: TenantId,
    /// Platform.
    pub provider: ProviderId,
    /// Name.
    pub name: String,
    /// Account, if it could be told.
    pub account: Option<AccountId>,
    /// Post, if it could be told.
    pub post: Option<PostId>,
    /// When it happened.
    pub occurred_at: DateTime<Utc>,
    /// When it was stored. Lists are in this order.
    pub recorded_at: DateTime<Utc>,
    /// Its fields.
    pub payload: serde_json::Value,
}

/// What became of one incoming event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppliedEvent {
    /// Its name.
    pub name: String,
    /// Its meaning.
    pub kind: EventKind,
    /// Stored now, or seen before.
    pub is_new: bool,
    /// The account it was matched to.
    pub account: Option<AccountId>,
    /// The post it was matched to.
    pub post: Option<PostId>,
}
