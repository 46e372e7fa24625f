//! Webhooks as received, and the events that were read from them or made by Patchbay itself.

use chrono::{DateTime, Utc};
use patchbay_core::{AccountId, EventId, EventKind, InboxId, IncomingEvent, PostId, ProviderId, TenantId};

use super::Lease;

/// A verified webhook that is to be stored, raw.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewWebhook {
    /// Id, also of the job that is to read it.
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
    /// Follows the work.
    pub correlation_id: String,
}

/// A stored webhook.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InboxItem {
    /// What was stored.
    pub webhook: NewWebhook,
    /// When, by the database's clock.
    pub received_at: DateTime<Utc>,
}

/// What a worker made of a stored webhook.
#[derive(Debug, Clone, PartialEq)]
pub struct WebhookEnd {
    /// The claim of its job.
    pub lease: Lease,
    /// The webhook.
    pub inbox: InboxId,
    /// The verdict.
    pub verdict: WebhookVerdict,
}

/// See [`WebhookEnd`].
#[derive(Debug, Clone, PartialEq)]
pub enum WebhookVerdict {
    /// It holds these events, each with an id for its row.
    Read(Vec<(EventId, IncomingEvent)>),
    /// It is given up, with a code.
    Dead(String),
}

/// What became of a webhook that a worker has settled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Settled {
    /// Its events were applied, and its job is done.
    Applied(Vec<AppliedEvent>),
    /// Its job is dead.
    Buried,
    /// The claim was gone: nothing was written.
    Stale,
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
