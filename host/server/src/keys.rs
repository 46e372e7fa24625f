//! API keys as text: `pb_live_` + 12 characters that name the key + `_` + 43 that prove it + 6 that check the rest.
//!
//! The check lets a scanner, or a client with a typing error, be told without a look in the database. The 43 carry
//! 256 bits, so a fast keyed digest of them is enough to store.

use chrono::{DateTime, Utc};
use hmac::{Hmac, KeyInit, Mac};
use patchbay_app::{
    env::Env,
    model::{ApiKey, KeyScope},
    secret::Secret,
    vault::Vault,
};
use patchbay_core::{ApiKeyId, TenantId};
use sha2::Sha256;

/// Every key starts with this.
pub const PREFIX: &str = "pb_live_";
const ID: usize = 12;
const SECRET: usize = 43;
const CHECK: usize = 6;
const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// What a key is to be.
pub struct NewKey {
    /// Whose.
    pub tenant: TenantId,
    /// Label.
    pub name: String,
    /// What it may do.
    pub scopes: Vec<KeyScope>,
    /// Not after.
    pub expires_at: Option<DateTime<Utc>>,
}

impl NewKey {
    /// Makes it. The second value is its text, which is not kept.
    #[must_use]
    pub fn make(self, env: &Env, vault: &Vault) -> (ApiKey, Secret<String>) {
        let (text, whole) = KeyText::make(env);
        let key = ApiKey {
            id: ApiKeyId::from_uuid(env.ids.next()),
            tenant: self.tenant,
            name: self.name,
            secret_hash: text.hash(vault),
            public_id: text.public_id,
            scopes: self.scopes,
            created_at: env.now(),
            expires_at: self.expires_at,
            revoked_at: None,
            last_used_at: None,
        };
        (key, whole)
    }
}

/// A key's text, taken apart.
pub struct KeyText {
    /// Names the key.
    pub public_id: String,
    secret: Secret<String>,
}

impl KeyText {
    /// Makes a new key. The second value is the whole text, shown once.
    #[must_use]
    pub fn make(env: &Env) -> (Self, Secret<String>) {
        let public_id = base62(env, ID);
        let secret = base62(env, SECRET);
        let body = format!("{PREFIX}{public_id}_{secret}");
        let text = Secret::new(format!("{body}{}", check(&body)));
        (
            Self {
                public_id,
                secret: Secret::new(secret),
            },
            text,
        )
    }

    /// Reads a key. `None` for anything that no version of this program has made.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() != PREFIX.len() + ID + 1 + SECRET + CHECK || !text.is_ascii() {
            return None;
        }
        let (body, sum) = text.split_at(text.len() - CHECK);
        let (public_id, secret) = body.strip_prefix(PREFIX)?.split_once('_')?;
        if public_id.len() != ID || sum != check(body) {
            return None;
        }
        Some(Self {
            public_id: public_id.to_owned(),
            secret: Secret::from(secret),
        })
    }

    /// What is stored in the place of the secret.
    #[must_use]
    pub fn hash(&self, vault: &Vault) -> [u8; 32] {
        let pepper = vault.pepper();
        let mut mac = Hmac::<Sha256>::new_from_slice(pepper.expose()).expect("HMAC takes keys of any length");
        mac.update(self.secret.expose().as_bytes());
        mac.finalize().into_bytes().into()
    }
}

fn base62(env: &Env, length: usize) -> String {
    let mut text = String::with_capacity(length);
    while text.len() < length {
        // 248 = 4 * 62: bytes above it would favour the first characters.
        let bytes = env.random::<64>();
        let fair = bytes.iter().filter(|byte| **byte < 248);
        text.extend(
            fair.take(length - text.len())
                .map(|byte| char::from(ALPHABET[usize::from(*byte % 62)])),
        );
    }
    text
}

/// CRC-32 (ISO-HDLC) in base 62.
fn check(body: &str) -> String {
    let mut crc = !0_u32;
    for byte in body.bytes() {
        crc ^= u32::from(byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 {
                (crc >> 1) ^ 0xedb8_8320
            } else {
                crc >> 1
            };
        }
    }
    let mut rest = !crc;
    let mut digits = [b'0'; CHECK];
    for digit in digits.iter_mut().rev() {
        *digit = ALPHABET[(rest % 62) as usize];
        rest /= 62;
    }
    digits.iter().map(|digit| char::from(*digit)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_reads_back_and_a_typing_error_is_noticed() {
        let (made, text) = KeyText::make(&Env::system());
        let text = text.expose();
        assert_eq!(text.len(), 70);
        assert_eq!(KeyText::parse(text).unwrap().public_id, made.public_id);
        for place in 0..text.len() {
            let mut bent = text.clone().into_bytes();
            bent[place] = if bent[place] == b'x' { b'y' } else { b'x' };
            assert!(
                KeyText::parse(std::str::from_utf8(&bent).unwrap()).is_none(),
                "place {place}"
            );
        }
        assert!(KeyText::parse("").is_none());
        assert!(KeyText::parse(&"é".repeat(35)).is_none());
    }
}
