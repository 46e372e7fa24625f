//! Webhooks: how TikTok signs them, and what they mean.
//!
//! Webhooks are delivered at least once, in no promised order and without an id. An event therefore only brings the
//! next look at the status forward; the few facts that it settles by itself (an id, a post hidden, a grant removed)
//! are true in any order.

use std::{borrow::Cow, time::Duration};

use async_trait::async_trait;
use chrono::DateTime;
use patchbay_core::{
    ErrorKind, EventKind, IncomingEvent, MacEncoding, ProviderError, SignatureFormat, SignatureScheme, SignedPart,
    WebhookAuth, WebhookRequest, WebhookSource,
};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use crate::api::{exact_id, is_opaque_id};

/// Distance of the signature's time from now. TikTok leaves it to the receiver; 300 s is what others use.
const TOLERANCE: Duration = Duration::from_mins(5);

pub(crate) struct Webhooks {
    accept_simplified: bool,
}

impl Webhooks {
    pub(crate) fn new(accept_simplified: bool) -> Self {
        Self { accept_simplified }
    }
}

#[async_trait]
impl WebhookSource for Webhooks {
    fn auth(&self) -> WebhookAuth {
        let timestamped = |name, header| SignatureScheme {
            name: Cow::Borrowed(name),
            header: Cow::Borrowed(header),
            format: SignatureFormat::TimestampAndMac {
                timestamp: "t",
                mac: "s",
            },
            signed: vec![SignedPart::Timestamp, SignedPart::Literal("."), SignedPart::Body],
            encoding: MacEncoding::Hex,
            tolerance: TOLERANCE,
        };
        let mut schemes = vec![timestamped("tiktok", "tiktok-signature")];
        if self.accept_simplified {
            schemes.push(timestamped("simplified-timestamped", "x-tiktok-signature"));
            schemes.push(SignatureScheme {
                name: Cow::Borrowed("simplified"),
                format: SignatureFormat::Bare { prefix: "" },
                signed: vec![SignedPart::Body],
                ..timestamped("", "x-tiktok-signature")
            });
        }
        WebhookAuth { schemes }
    }

    async fn parse(&self, raw: &WebhookRequest) -> Result<Vec<IncomingEvent>, ProviderError> {
        read(raw).map(|event| vec![event])
    }
}

fn read(raw: &WebhookRequest) -> Result<IncomingEvent, ProviderError> {
    let body: Map<String, Value> =
        serde_json::from_slice(&raw.body).map_err(|_| malformed("the body is not a JSON object"))?;
    match body.get("client_key") {
        None | Some(Value::Null) => {}
        Some(Value::String(key)) if *key == raw.client_id => {}
        Some(_) => return Err(malformed("the client key is not that of the app whose secret signed")),
    }
    let name = ["event", "event_type"]
        .into_iter()
        .find_map(|field| body.get(field))
        .and_then(Value::as_str)
        .filter(|name| is_opaque_id(name))
        .ok_or_else(|| malformed("the body names no event"))?;
    let name = canonical(name);
    let content = content(&body);
    let account = opaque(&body, "user_openid")?;
    let occurred_at = body
        .get("create_time")
        .and_then(Value::as_i64)
        .and_then(|seconds| DateTime::from_timestamp(seconds, 0));

    let (kind, remote_ref) = if is_post_event(name) {
        let publish_id = opaque(&content, "publish_id")?.ok_or_else(|| malformed("the event names no publish_id"))?;
        (post_kind(name, &content), Some(publish_id))
    } else if name == "authorization.removed" {
        if account.is_none() {
            return Err(malformed("the event names no user_openid"));
        }
        let reason = removal_reason(content.get("reason")).to_owned();
        (EventKind::AuthorizationRemoved { reason }, None)
    } else {
        (EventKind::Other, None)
    };

    // Two events of one post differ in their post id or their time; events that are not known here may differ in
    // anything, so their whole content counts.
    let digest = || hex::encode(Sha256::digest(Value::Object(content.clone()).to_string()));
    let time = body.get("create_time").and_then(Value::as_i64).map(|t| t.to_string());
    let mark = content.get("post_id").and_then(exact_id).or(time);
    let subject = match (&remote_ref, &kind) {
        (Some(publish_id), _) => publish_id.clone(),
        (None, EventKind::Other) => digest(),
        (None, _) => String::new(),
    };
    let dedupe_key = json!([
        name,
        account.as_deref().unwrap_or(""),
        subject,
        mark.unwrap_or_else(digest)
    ])
    .to_string();

    Ok(IncomingEvent {
        name: name.to_owned(),
        kind,
        remote_account: account,
        remote_ref,
        dedupe_key,
        occurred_at,
        payload: Value::Object(content),
    })
}

/// Other spellings of the documented names: a simplified form in use elsewhere, one reader's spelling, and TikTok's
/// own slip in the word "publicly". `video.publish.completed` is not one of them: it is an older Share Kit event.
fn canonical(name: &str) -> &str {
    match name {
        "post.publish.completed" | "video.publish.complete" => "post.publish.complete",
        "video.publish.failed" => "post.publish.failed",
        "video.inbox.received" => "post.publish.inbox_delivered",
        "post.publish.publicaly_available" => "post.publish.publicly_available",
        "post.publish.no_longer_publicly_available" => "post.publish.no_longer_publicaly_available",
        other => other,
    }
}

fn is_post_event(name: &str) -> bool {
    matches!(
        name,
        "post.publish.complete"
            | "post.publish.failed"
            | "post.publish.inbox_delivered"
            | "post.publish.publicly_available"
            | "post.publish.no_longer_publicaly_available"
    )
}

fn post_kind(name: &str, content: &Map<String, Value>) -> EventKind {
    let remote_ids: Vec<String> = content.get("post_id").and_then(exact_id).into_iter().collect();
    match name {
        // Without the id there is nothing to keep, but a look at the status may find it.
        _ if remote_ids.is_empty() => EventKind::PostProgress,
        "post.publish.publicly_available" => EventKind::PostVisible { remote_ids },
        "post.publish.no_longer_publicaly_available" => EventKind::PostHidden { remote_ids },
        _ => EventKind::PostProgress,
    }
}

/// The event's own fields. TikTok serialises them into a string; the simplified form has them as an object, or among
/// the fields of the body.
fn content(body: &Map<String, Value>) -> Map<String, Value> {
    match body.get("content") {
        Some(Value::String(text)) => match serde_json::from_str(text) {
            Ok(Value::Object(fields)) => fields,
            _ => Map::from_iter([("content".to_owned(), Value::String(text.clone()))]),
        },
        Some(Value::Object(fields)) => fields.clone(),
        _ => {
            let mut fields = body.clone();
            fields.retain(|name, _| {
                !matches!(
                    name.as_str(),
                    "client_key" | "event" | "event_type" | "create_time" | "user_openid" | "content"
                )
            });
            fields
        }
    }
}

fn opaque(fields: &Map<String, Value>, name: &str) -> Result<Option<String>, ProviderError> {
    match fields.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) if text.is_empty() => Ok(None),
        Some(Value::String(text)) if is_opaque_id(text) => Ok(Some(text.clone())),
        Some(_) => Err(malformed("an id in the body cannot be one")),
    }
}

fn removal_reason(reason: Option<&Value>) -> &'static str {
    let number = match reason {
        Some(Value::Number(number)) => number.as_u64(),
        Some(Value::String(text)) => text.parse().ok(),
        _ => None,
    };
    match number {
        Some(1) => "user_disconnected",
        Some(2) => "account_deleted",
        Some(3) => "age_changed",
        Some(4) => "banned",
        Some(5) => "developer_revoked",
        _ => "unknown",
    }
}

fn malformed(what: &str) -> ProviderError {
    ProviderError::new(ErrorKind::Permanent, "malformed_webhook", what)
}
