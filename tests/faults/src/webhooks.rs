//! Webhooks as TikTok sends them: made from a number, signed when they leave.

use std::sync::Arc;

use hmac::{Hmac, KeyInit, Mac};
use patchbay_rig::World;
use patchbay_simulator_tiktok::simkit::Clock;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// Where hosts take them.
pub const PATH: &str = "/api/platforms/tiktok/webhooks";

/// One app's webhooks about one account.
#[derive(Clone)]
pub struct Webhooks {
    client_key: String,
    secret: String,
    open_id: String,
}

/// What is to become of a webhook.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// It is read, and its event stored.
    Healthy,
    /// It is put aside.
    Poison,
    /// It ends, be it read or put aside.
    Odd,
}

/// A webhook, and what is known about it before it is sent.
#[derive(Clone, Debug)]
pub struct Webhook {
    pub kind: Kind,
    pub body: Arc<[u8]>,
    /// What its event is about, if it has one. No two healthy ones share it.
    pub publish_id: String,
    /// How the host names it, in lower-case hexadecimal.
    pub digest: String,
}

impl Webhooks {
    /// Of the world's app, about an account whose platform id this is.
    pub fn of(world: &World, open_id: &str) -> Self {
        Self {
            client_key: world.program.env["TIKTOK_CLIENT_KEY"].clone(),
            secret: world.secrets.client_secret.clone(),
            open_id: open_id.to_owned(),
        }
    }

    /// News of a post that Patchbay does not know.
    pub fn healthy(&self, number: usize) -> Webhook {
        let publish_id = format!("v_pub_file~v2-1.{number:019}");
        let body = self.body(&publish_id);
        self.webhook(Kind::Healthy, body, &publish_id)
    }

    /// News of this post, as TikTok writes them.
    pub fn body(&self, publish_id: &str) -> String {
        let content = json!({ "publish_id": publish_id, "publish_type": "DIRECT_PUBLISH" });
        self.fields(&content.to_string()).to_string()
    }

    /// The fields of a body, with this content.
    pub fn fields(&self, content: &str) -> Value {
        json!({
            "client_key": self.client_key,
            "event": "post.publish.complete",
            "create_time": 1_790_000_000,
            "user_openid": self.open_id,
            "content": content,
        })
    }

    /// Any body.
    pub fn webhook(&self, kind: Kind, body: impl Into<Vec<u8>>, publish_id: &str) -> Webhook {
        let body = body.into();
        let digest = Sha256::new()
            .chain_update(&self.client_key)
            .chain_update([0])
            .chain_update(&body);
        Webhook {
            kind,
            body: body.into(),
            publish_id: publish_id.to_owned(),
            digest: hex::encode(digest.finalize()),
        }
    }

    /// The signature of a body that leaves now.
    pub fn signature(&self, body: &[u8]) -> String {
        self.signature_at(Clock::running().now().timestamp(), body)
    }

    /// The signature of a body at a time, in seconds since 1970.
    pub fn signature_at(&self, seconds: i64, body: &[u8]) -> String {
        let mac = Hmac::<Sha256>::new_from_slice(self.secret.as_bytes()).expect("HMAC takes keys of any length");
        let mac = mac.chain_update(format!("{seconds}.")).chain_update(body).finalize();
        format!("t={seconds},s={}", hex::encode(mac.into_bytes()))
    }
}
