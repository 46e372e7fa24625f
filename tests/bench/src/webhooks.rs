//! Signed webhooks, made before the clock starts.

use std::fmt::Write as _;

use hmac::{Hmac, KeyInit, Mac};
use patchbay_simkit::Clock;
use sha2::{Digest, Sha256};

/// The app whose webhooks these are.
pub const CLIENT_KEY: &str = "ck_bench";
/// Its secret, under which they are signed.
pub const CLIENT_SECRET: &str = "cs_bench_0123456789abcdef";
/// Where both servers take them.
pub const PATH: &str = "/api/platforms/tiktok/webhooks";

/// Whole HTTP requests, one webhook each, no two alike.
pub struct Webhooks {
    /// All of them, one after the other.
    bytes: Vec<u8>,
    /// Where each ends.
    ends: Vec<usize>,
    /// How the host names each: SHA-256 of the app's id, a zero byte and the body.
    digests: Vec<[u8; 32]>,
}

impl Webhooks {
    /// Makes so many. They are signed with the present time, and so are good for five minutes.
    pub fn make(count: usize) -> Self {
        let now = Clock::running().now();
        let (seconds, run) = (now.timestamp(), now.timestamp_micros());
        let mut made = Self {
            bytes: Vec::with_capacity(count * 600),
            ends: Vec::with_capacity(count),
            digests: Vec::with_capacity(count),
        };
        let mac = Hmac::<Sha256>::new_from_slice(CLIENT_SECRET.as_bytes()).expect("HMAC takes keys of any length");
        let mut head = String::new();
        for number in 0..count {
            let body = body(seconds, &format!("v_pub_file~v2-1.{run}{number:07}"));
            let signature = mac
                .clone()
                .chain_update(format!("{seconds}."))
                .chain_update(&body)
                .finalize()
                .into_bytes();
            head.clear();
            write!(
                head,
                "POST {PATH} HTTP/1.1\r\nhost: 127.0.0.1\r\nuser-agent: webhooks/1.0\r\naccept: */*\r\n\
                 content-type: application/json\r\ntiktok-signature: t={seconds},s={}\r\ncontent-length: {}\r\n\r\n",
                hex::encode(signature),
                body.len(),
            )
            .expect("a string takes any text");
            made.bytes.extend_from_slice(head.as_bytes());
            made.bytes.extend_from_slice(body.as_bytes());
            made.ends.push(made.bytes.len());
            let digest = Sha256::new()
                .chain_update(CLIENT_KEY)
                .chain_update([0])
                .chain_update(&body);
            made.digests.push(digest.finalize().into());
        }
        made
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.ends.len()
    }

    /// One request.
    pub fn request(&self, number: usize) -> &[u8] {
        let start = number.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.bytes[start..self.ends[number]]
    }

    /// How the host names its webhook.
    pub fn digest(&self, number: usize) -> &[u8; 32] {
        &self.digests[number]
    }
}

/// A body as TikTok sends it, of a post that nobody knows.
pub fn body(seconds: i64, publish_id: &str) -> String {
    format!(
        "{{\"client_key\":\"{CLIENT_KEY}\",\"event\":\"post.publish.complete\",\"create_time\":{seconds},\
         \"user_openid\":\"-000bench4mwQxGv9kYd1sT7uNcRb2pLe\",\
         \"content\":\"{{\\\"publish_id\\\":\\\"{publish_id}\\\",\\\"publish_type\\\":\\\"DIRECT_PUBLISH\\\"}}\"}}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_whole_and_differ() {
        let made = Webhooks::make(3);
        assert_eq!(made.count(), 3);
        for number in 0..3 {
            let text = std::str::from_utf8(made.request(number)).unwrap();
            let (head, body) = text.split_once("\r\n\r\n").unwrap();
            assert!(head.ends_with(&format!("content-length: {}", body.len())), "{head}");
            assert!(serde_json::from_str::<serde_json::Value>(body).is_ok(), "{body}");
        }
        assert_ne!(made.digest(0), made.digest(1));
        assert_ne!(made.request(1), made.request(2));
    }
}
