//! Webhooks as TikTok sends them: the events, their bodies and their signature.
//!
//! `content` is JSON inside a string, and the post id in it is text
//! (developers.tiktok.com/doc/webhooks-events, webhooks-verification).

use chrono::{DateTime, TimeDelta, Utc};
use hmac::{Hmac, KeyInit, Mac};
use patchbay_simkit::{Outgoing, Signer, Signing};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sha2::Sha256;

use crate::post::{FailReason, Post};
use crate::switches::WebhookStyle;
use crate::world::World;

/// What can be told about a post.
pub(crate) enum PostEvent {
    Complete,
    InboxDelivered,
    Failed(FailReason),
    Publicly { post_id: u64 },
    NoLongerPublicly { post_id: u64 },
}

/// `reason` of `authorization.removed`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RemovalReason {
    Unknown,
    UserDisconnected,
    AccountDeleted,
    AgeChanged,
    Banned,
    DeveloperRevoked,
}

impl PostEvent {
    /// The misspelling is TikTok's.
    fn name(&self) -> &'static str {
        match self {
            Self::Complete => "post.publish.complete",
            Self::InboxDelivered => "post.publish.inbox_delivered",
            Self::Failed(_) => "post.publish.failed",
            Self::Publicly { .. } => "post.publish.publicly_available",
            Self::NoLongerPublicly { .. } => "post.publish.no_longer_publicaly_available",
        }
    }

    fn reason(&self) -> Option<FailReason> {
        match self {
            Self::Failed(reason) => Some(*reason),
            Self::Complete | Self::InboxDelivered | Self::Publicly { .. } | Self::NoLongerPublicly { .. } => None,
        }
    }

    fn post_id(&self) -> Option<u64> {
        match self {
            Self::Publicly { post_id } | Self::NoLongerPublicly { post_id } => Some(*post_id),
            Self::Complete | Self::InboxDelivered | Self::Failed(_) => None,
        }
    }
}

/// The inside of a message, keys in the order of the captured ones.
#[derive(Serialize)]
#[serde(untagged)]
pub(crate) enum Content {
    Post {
        publish_id: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        reason: Option<FailReason>,
        publish_type: &'static str,
        #[serde(skip_serializing_if = "Option::is_none")]
        post_id: Option<String>,
    },
    Removal {
        reason: u8,
    },
    /// Made up by whoever works the controls.
    Other(Map<String, Value>),
}

/// A message before it has a form.
pub(crate) struct Event<'a> {
    pub name: &'a str,
    pub open_id: &'a str,
    pub at: DateTime<Utc>,
    pub content: Content,
}

impl World {
    /// Tells the app about a post.
    pub(crate) fn announce(&self, post: &Post, event: &PostEvent, at: DateTime<Utc>) {
        self.tell(&Event {
            name: event.name(),
            open_id: &post.open_id,
            at,
            content: Content::Post {
                publish_id: post.publish_id.clone(),
                reason: event.reason(),
                publish_type: post.publish_type(),
                post_id: event.post_id().map(|id| id.to_string()),
            },
        });
    }

    pub(crate) fn announce_removal(&self, open_id: &str, reason: RemovalReason, at: DateTime<Utc>) {
        self.tell(&Event {
            name: "authorization.removed",
            open_id,
            at,
            content: Content::Removal { reason: reason as u8 },
        });
    }

    fn tell(&self, event: &Event<'_>) {
        let message = self.written(event, self.switches().webhook_style);
        self.webhooks.send(&message);
    }

    /// The message in either style, rightly signed.
    pub(crate) fn written(&self, event: &Event<'_>, style: WebhookStyle) -> Outgoing {
        match style {
            WebhookStyle::Real => Outgoing {
                event: event.name.to_owned(),
                body: real_body(&self.config.client_key, event),
                signing: Signing::Valid,
            },
            WebhookStyle::Flat => flat(event),
        }
    }
}

fn real_body(client_key: &str, event: &Event<'_>) -> String {
    #[derive(Serialize)]
    struct Body<'a> {
        client_key: &'a str,
        event: &'a str,
        create_time: i64,
        user_openid: &'a str,
        content: String,
    }
    json_text(&Body {
        client_key,
        event: event.name,
        create_time: event.at.timestamp(),
        user_openid: event.open_id,
        content: json_text(&event.content),
    })
}

/// The simplified form: flat, other names, signed over the body alone.
fn flat(event: &Event<'_>) -> Outgoing {
    let name = match event.name {
        "post.publish.complete" | "post.publish.publicly_available" => "video.publish.complete",
        "post.publish.failed" => "video.publish.failed",
        "post.publish.inbox_delivered" => "video.inbox.received",
        other => other,
    };
    let mut body = Map::new();
    body.insert("event_type".to_owned(), name.into());
    if let Ok(Value::Object(content)) = serde_json::to_value(&event.content) {
        body.extend(content.into_iter().filter(|(key, _)| key != "publish_type"));
    }
    Outgoing {
        event: name.to_owned(),
        body: Value::Object(body).to_string(),
        signing: Signing::Alternative,
    }
}

fn json_text(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("texts, numbers and string keys always serialise")
}

/// Signs with the app's secret.
pub(crate) struct TikTokSigner {
    pub client_secret: String,
}

impl Signer for TikTokSigner {
    fn headers(&self, body: &str, at: DateTime<Utc>, signing: &Signing) -> Vec<(String, String)> {
        let stamped = |secret: &str, at: DateTime<Utc>| {
            let t = at.timestamp();
            let s = mac(secret, &format!("{t}.{body}"));
            vec![("TikTok-Signature".to_owned(), format!("t={t},s={s}"))]
        };
        match signing {
            Signing::Valid | Signing::Tampered => stamped(&self.client_secret, at),
            Signing::Forged => stamped("a-secret-that-is-not-the-apps", at),
            Signing::Stale { seconds } => {
                let shift = TimeDelta::try_seconds(*seconds).unwrap_or_default();
                stamped(&self.client_secret, at.checked_sub_signed(shift).unwrap_or(at))
            }
            Signing::Unsigned => Vec::new(),
            Signing::Alternative => vec![("x-tiktok-signature".to_owned(), mac(&self.client_secret, body))],
        }
    }
}

fn mac(secret: &str, text: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("HMAC takes keys of any length");
    mac.update(text.as_bytes());
    hex::encode(mac.finalize().into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: &str = r#"{"client_key":"ck_test","event":"post.publish.complete","create_time":1790000000,"user_openid":"-000open","content":"{\"publish_id\":\"v_pub_file~v2-1.7600000000000000001\",\"publish_type\":\"DIRECT_PUBLISH\"}"}"#;

    #[test]
    fn body_and_signature_match_the_vector() {
        let at = DateTime::from_timestamp(1_790_000_000, 0).expect("a valid instant");
        let event = Event {
            name: "post.publish.complete",
            open_id: "-000open",
            at,
            content: Content::Post {
                publish_id: "v_pub_file~v2-1.7600000000000000001".to_owned(),
                reason: None,
                publish_type: "DIRECT_PUBLISH",
                post_id: None,
            },
        };
        let body = real_body("ck_test", &event);
        assert_eq!(body, BODY);
        let signer = TikTokSigner {
            client_secret: "cs_test".to_owned(),
        };
        let headers = signer.headers(&body, at + TimeDelta::seconds(1), &Signing::Valid);
        assert_eq!(
            headers,
            [(
                "TikTok-Signature".to_owned(),
                "t=1790000001,s=7f6f825adf81f7659d1c7ccad101b823aca2ed7633ade5f944f2d5530551e28c".to_owned()
            )]
        );
    }
}
