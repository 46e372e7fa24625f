//! Receiving webhooks. How they are signed is data: the host verifies raw bytes and keeps the secret. What they mean
//! is code: [`WebhookSource::parse`] runs later, in a worker, on bytes that are already safe.

use std::{borrow::Cow, time::Duration};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::ProviderError;

/// Where the signature stands in its header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SignatureFormat {
    /// `t=<unix seconds>,s=<mac>`: each key exactly once, in any order, nothing else.
    TimestampAndMac {
        /// Key of the timestamp.
        timestamp: &'static str,
        /// Key of the MAC.
        mac: &'static str,
    },
    /// A fixed prefix, then the MAC alone. There is no timestamp, so nothing limits a replay but the digest.
    Bare {
        /// The prefix; may be empty.
        prefix: &'static str,
    },
}

/// One part of the signed text, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SignedPart {
    /// The timestamp exactly as it stands in the header.
    Timestamp,
    /// A fixed text.
    Literal(&'static str),
    /// The raw body.
    Body,
}

/// How the MAC is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MacEncoding {
    /// Lower-case hexadecimal.
    Hex,
    /// Standard base64 with padding.
    Base64,
}

/// One way in which the platform signs: HMAC-SHA-256 over the parts, with a secret of the app.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignatureScheme {
    /// Name in metrics and in [`WebhookRequest::scheme`].
    pub name: Cow<'static, str>,
    /// Header, in lower case.
    pub header: Cow<'static, str>,
    /// Its grammar.
    pub format: SignatureFormat,
    /// The signed text.
    pub signed: Vec<SignedPart>,
    /// How the MAC is written.
    pub encoding: MacEncoding,
    /// How far the timestamp may be from now, either way.
    pub tolerance: Duration,
}

/// How a platform's webhooks are proved genuine. A request must carry exactly one of the headers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebhookAuth {
    /// The schemes.
    pub schemes: Vec<SignatureScheme>,
}

/// A verified webhook.
#[derive(Debug, Clone)]
pub struct WebhookRequest {
    /// Name of the scheme that it verified under.
    pub scheme: String,
    /// The raw body.
    pub body: Vec<u8>,
    /// When it came.
    pub received_at: DateTime<Utc>,
    /// Public id of the app whose secret signed it.
    pub client_id: String,
}

/// What an event means to the host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[non_exhaustive]
pub enum EventKind {
    /// There is news of a post: its next step should run now, and will ask the platform.
    PostProgress,
    /// The platform names the ids of a post that became visible.
    PostVisible {
        /// The ids, exact.
        remote_ids: Vec<String>,
    },
    /// A visible post is no longer visible.
    PostHidden {
        /// The ids, exact.
        remote_ids: Vec<String>,
    },
    /// The grant ended at the platform.
    AuthorizationRemoved {
        /// The platform's reason, as a stable word.
        reason: String,
    },
    /// Nothing that Patchbay acts on; kept for consumers.
    Other,
}

/// One event of a webhook.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct IncomingEvent {
    /// The platform's name, such as `post.publish.complete`.
    pub name: String,
    /// Its meaning.
    pub kind: EventKind,
    /// The platform's id of the account, if the event names one.
    pub remote_account: Option<String>,
    /// The platform's id of the attempt ([`crate::Checkpoint::remote_ref`]), if the event names one.
    pub remote_ref: Option<String>,
    /// Same for two deliveries of one event, different for two events. Unique within the app.
    pub dedupe_key: String,
    /// When it happened, as the platform says.
    pub occurred_at: Option<DateTime<Utc>>,
    /// The event's own fields, for consumers. No secrets.
    pub payload: serde_json::Value,
}

/// Receives webhooks of one platform.
#[async_trait]
pub trait WebhookSource: Send + Sync {
    /// How they are signed.
    fn auth(&self) -> WebhookAuth;

    /// Reads a verified webhook. Called in the worker, and again after a crash; must be pure.
    ///
    /// # Errors
    /// The body is not what the platform documents. It is then kept as a dead letter, never lost.
    async fn parse(&self, raw: &WebhookRequest) -> Result<Vec<IncomingEvent>, ProviderError>;
}
