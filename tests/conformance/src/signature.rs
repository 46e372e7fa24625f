//! Signatures of webhooks by their declared scheme, as the host verifies them.

use std::time::Duration;

use base64::{Engine, engine::general_purpose::STANDARD};
use chrono::{DateTime, TimeDelta, Utc};
use hmac::{Hmac, KeyInit, Mac};
use patchbay_core::{MacEncoding, SignatureFormat, SignatureScheme, SignedPart, WebhookAuth};
use sha2::Sha256;

use crate::world::Received;

/// The name of the scheme under which a webhook verifies at a time.
pub(crate) fn verify(auth: &WebhookAuth, webhook: &Received, secret: &str, now: DateTime<Utc>) -> Option<String> {
    let mut schemes = auth.schemes.iter().filter(|scheme| {
        let header = webhook.headers.iter().find(|(name, _)| *name == scheme.header);
        header.is_some_and(|(_, value)| holds(scheme, value, &webhook.body, secret, now))
    });
    let first = schemes.next()?;
    schemes.next().is_none().then(|| first.name.to_string())
}

fn holds(scheme: &SignatureScheme, header: &str, body: &[u8], secret: &str, now: DateTime<Utc>) -> bool {
    let (timestamp, mac) = match scheme.format {
        SignatureFormat::Bare { prefix } => (None, header.strip_prefix(prefix)),
        SignatureFormat::TimestampAndMac { timestamp, mac } => {
            let field = |key: &str| {
                let mut parts = header.split(',').filter_map(|part| part.trim().split_once('='));
                parts.find(|(name, _)| *name == key).map(|(_, value)| value)
            };
            (field(timestamp), field(mac))
        }
    };
    let decoded = mac.and_then(|text| match scheme.encoding {
        MacEncoding::Hex => hex::decode(text).ok(),
        MacEncoding::Base64 => STANDARD.decode(text).ok(),
    });
    let (Some(mac), Ok(mut expected)) = (decoded, Hmac::<Sha256>::new_from_slice(secret.as_bytes())) else {
        return false;
    };
    for part in &scheme.signed {
        match part {
            SignedPart::Timestamp => expected.update(timestamp.unwrap_or_default().as_bytes()),
            SignedPart::Literal(text) => expected.update(text.as_bytes()),
            SignedPart::Body => expected.update(body),
        }
    }
    expected.verify_slice(&mac).is_ok() && is_recent(scheme, timestamp, now)
}

fn is_recent(scheme: &SignatureScheme, timestamp: Option<&str>, now: DateTime<Utc>) -> bool {
    if !scheme.signed.contains(&SignedPart::Timestamp) {
        return true;
    }
    let at = timestamp
        .and_then(|text| text.parse().ok())
        .and_then(|at| DateTime::from_timestamp(at, 0));
    let tolerance = TimeDelta::from_std(scheme.tolerance.min(Duration::from_hours(24 * 365))).unwrap_or(TimeDelta::MAX);
    at.is_some_and(|at| (now - at).abs() <= tolerance)
}
