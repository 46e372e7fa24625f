//! Webhooks: how the platform signs them, and what they mean.

use std::time::Duration;

use async_trait::async_trait;
use chrono::DateTime;
use patchbay_core::{
    ErrorKind, EventKind, IncomingEvent, MacEncoding, ProviderError, SignatureFormat, SignatureScheme, SignedPart,
    WebhookAuth, WebhookRequest, WebhookSource,
};
use serde::Deserialize;
use serde_json::Value;

pub(crate) struct Webhooks;

#[derive(Deserialize)]
struct Hook {
    id: String,
    #[serde(rename = "type")]
    name: String,
    /// Unix seconds.
    at: i64,
    account: Option<String>,
    post: Option<String>,
    #[serde(default)]
    data: Value,
}

#[async_trait]
impl WebhookSource for Webhooks {
    // CHANGE: the header and what is signed. The host verifies; the secret is the app's.
    fn auth(&self) -> WebhookAuth {
        WebhookAuth {
            schemes: vec![SignatureScheme {
                name: "quill".into(),
                header: "quill-signature".into(),
                format: SignatureFormat::TimestampAndMac {
                    timestamp: "t",
                    mac: "s",
                },
                signed: vec![SignedPart::Timestamp, SignedPart::Literal("."), SignedPart::Body],
                encoding: MacEncoding::Hex,
                tolerance: Duration::from_mins(5),
            }],
        }
    }

    async fn parse(&self, raw: &WebhookRequest) -> Result<Vec<IncomingEvent>, ProviderError> {
        let hook: Hook = serde_json::from_slice(&raw.body).map_err(|_| malformed())?;
        if hook.id.is_empty() || hook.name.is_empty() {
            return Err(malformed());
        }
        Ok(vec![IncomingEvent {
            kind: kind(&hook),
            remote_account: hook.account,
            remote_ref: hook.post,
            // CHANGE: the same for two deliveries of one event, another for another event.
            dedupe_key: hook.id,
            occurred_at: DateTime::from_timestamp(hook.at, 0),
            payload: hook.data,
            name: hook.name,
        }])
    }
}

// CHANGE: the events that mean something here. All others are kept for consumers.
// Names that Patchbay has itself, such as `post.published`, get the name of the platform before them.
fn kind(hook: &Hook) -> EventKind {
    match (&*hook.name, &hook.post) {
        ("post.live" | "post.rejected", Some(_)) => EventKind::PostProgress,
        ("post.removed", Some(post)) => EventKind::PostHidden {
            remote_ids: vec![post.clone()],
        },
        ("access.revoked", _) => EventKind::AuthorizationRemoved {
            reason: "user_disconnected".to_owned(),
        },
        _ => EventKind::Other,
    }
}

fn malformed() -> ProviderError {
    let message = "the body is not what is documented";
    ProviderError::new(ErrorKind::Permanent, "malformed_webhook", message)
}
