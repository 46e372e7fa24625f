//! Webhooks by hand: bodies in TikTok's form, signed as TikTok signs them, or not quite.

use std::time::Duration;

use chrono::{DateTime, Utc};
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;

use super::{CLIENT_KEY, CLIENT_SECRET, Reply, World, send};

pub const PATH: &str = "/api/platforms/tiktok/webhooks";

/// A body in TikTok's form, whose `content` is JSON inside a string.
pub fn body(event: &str, open_id: &str, at: DateTime<Utc>, content: &Value) -> String {
    json!({
        "client_key": CLIENT_KEY,
        "event": event,
        "create_time": at.timestamp(),
        "user_openid": open_id,
        "content": content.to_string(),
    })
    .to_string()
}

/// Lower-case hexadecimal HMAC-SHA-256.
pub fn mac(secret: &str, signed: &[u8]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(signed);
    hex::encode(mac.finalize().into_bytes())
}

/// The value of `TikTok-Signature` for these bytes at that time.
pub fn signature(secret: &str, t: impl std::fmt::Display, body: &[u8]) -> String {
    let signed = [format!("{t}.").as_bytes(), body].concat();
    format!("t={t},s={}", mac(secret, &signed))
}

impl World {
    /// Sends these bytes under this signature.
    pub async fn deliver_signed(&self, signature: &str, body: impl Into<reqwest::Body>) -> Reply {
        let request = self.api.with_key(None).request(reqwest::Method::POST, PATH);
        send(
            request
                .header("tiktok-signature", signature)
                .header("content-type", "application/json")
                .body(body),
        )
        .await
    }

    /// Sends a body, rightly signed now. A busy database may not commit in time; as a platform, it comes again then.
    pub async fn deliver(&self, body: impl Into<Vec<u8>>) -> Reply {
        let body = body.into();
        let signature = signature(CLIENT_SECRET, self.now().timestamp(), &body);
        for _ in 0..100 {
            let reply = self.deliver_signed(&signature, body.clone()).await;
            if reply.status != 503 {
                return reply;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("the host never takes a webhook");
    }

    /// The platform's id of an account.
    pub fn open_id(&self, username: &str) -> String {
        self.sim.account(username).unwrap().open_id
    }
}
