//! Whether a webhook is genuine: the signature over the raw bytes, under each active secret, and its age.

use base64::{Engine, engine::general_purpose::STANDARD};
use chrono::{DateTime, TimeDelta, Utc};
use hmac::{Hmac, KeyInit, Mac};
use patchbay_core::{MacEncoding, SignatureFormat, SignatureScheme, SignedPart};
use sha2::Sha256;

use super::Incoming;

/// The name of the scheme under which the webhook verifies. Every failure looks the same.
pub(super) fn verify(incoming: &Incoming<'_>, now: DateTime<Utc>) -> Option<String> {
    let registered = incoming.registered;
    let mut candidates = registered.webhook_schemes.iter().filter_map(|scheme| {
        let mut values = incoming
            .headers
            .iter()
            .filter(|(name, _)| *name == scheme.header)
            .map(|(_, value)| value);
        let value = values.next()?;
        // A header that stands twice is refused, not chosen from.
        if values.next().is_some() {
            None
        } else {
            parse_header(scheme, value).map(|header| (scheme, header))
        }
    });
    let (scheme, header) = candidates.next()?;
    if candidates.next().is_some() {
        return None;
    }
    // Of two active secrets the matching one is not told by time: both are always tried.
    let genuine = registered.webhook_secrets.iter().fold(false, |found, secret| {
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret.expose().as_bytes()) else {
            return found;
        };
        for part in &scheme.signed {
            match part {
                SignedPart::Timestamp => mac.update(header.timestamp.unwrap_or_default().as_bytes()),
                SignedPart::Literal(text) => mac.update(text.as_bytes()),
                SignedPart::Body => mac.update(incoming.body),
            }
        }
        found | mac.verify_slice(&header.mac).is_ok()
    });
    (genuine && is_recent(scheme, header.timestamp, now)).then(|| scheme.name.to_string())
}

struct Header<'a> {
    timestamp: Option<&'a str>,
    mac: [u8; 32],
}

/// Longest signature header: two short keys, a 20-digit number and a MAC fit well.
const MAX_HEADER: usize = 512;

fn parse_header<'a>(scheme: &SignatureScheme, value: &'a str) -> Option<Header<'a>> {
    if value.len() > MAX_HEADER {
        return None;
    }
    match scheme.format {
        SignatureFormat::Bare { prefix } => Some(Header {
            timestamp: None,
            mac: decode_mac(scheme.encoding, value.strip_prefix(prefix)?)?,
        }),
        SignatureFormat::TimestampAndMac {
            timestamp: t_key,
            mac: s_key,
        } => {
            let (mut timestamp, mut mac) = (None, None);
            for part in value.split(',') {
                let (key, value) = part.trim().split_once('=')?;
                let slot = if key == t_key {
                    &mut timestamp
                } else if key == s_key {
                    &mut mac
                } else {
                    return None;
                };
                if slot.replace(value).is_some() {
                    return None;
                }
            }
            let timestamp =
                timestamp.filter(|t| !t.is_empty() && t.len() <= 20 && t.bytes().all(|b| b.is_ascii_digit()))?;
            Some(Header {
                timestamp: Some(timestamp),
                mac: decode_mac(scheme.encoding, mac?)?,
            })
        }
    }
}

fn decode_mac(encoding: MacEncoding, text: &str) -> Option<[u8; 32]> {
    match encoding {
        MacEncoding::Hex if text.len() == 64 && !text.bytes().any(|b| b.is_ascii_uppercase()) => {
            let mut mac = [0; 32];
            hex::decode_to_slice(text, &mut mac).ok().map(|()| mac)
        }
        MacEncoding::Hex => None,
        MacEncoding::Base64 => STANDARD.decode(text).ok()?.try_into().ok(),
    }
}

/// Within the tolerance, either way. A scheme without a timestamp has no age; the digest stops its replays.
fn is_recent(scheme: &SignatureScheme, timestamp: Option<&str>, now: DateTime<Utc>) -> bool {
    if !scheme.signed.contains(&SignedPart::Timestamp) {
        return true;
    }
    let at = timestamp
        .and_then(|t| t.parse::<u64>().ok())
        .and_then(|t| i64::try_from(t).ok());
    let at = at.and_then(|t| DateTime::from_timestamp(t, 0));
    let tolerance = TimeDelta::from_std(scheme.tolerance).unwrap_or(TimeDelta::MAX);
    at.is_some_and(|at| (now - at).abs() <= tolerance)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scheme() -> SignatureScheme {
        SignatureScheme {
            name: "test".into(),
            header: "x-signature".into(),
            format: SignatureFormat::TimestampAndMac {
                timestamp: "t",
                mac: "s",
            },
            signed: vec![SignedPart::Timestamp, SignedPart::Literal("."), SignedPart::Body],
            encoding: MacEncoding::Hex,
            tolerance: std::time::Duration::from_secs(300),
        }
    }

    #[test]
    fn a_signature_header_has_one_grammar() {
        let mac = "ab".repeat(32);
        for good in [format!("t=1,s={mac}"), format!("s={mac},t=1"), format!("t=1, s={mac}")] {
            assert!(parse_header(&scheme(), &good).is_some(), "{good}");
        }
        for bad in [
            String::new(),
            format!("s={mac}"),
            "t=1".to_owned(),
            "t=1,s=".to_owned(),
            format!("t=1,s={}", &mac[1..]),
            format!("t=1,s={}", mac.to_uppercase()),
            format!("t=1,s={mac},s={mac}"),
            format!("t=1,t=1,s={mac}"),
            format!("t=1,s={mac},v=1"),
            format!("t=-1,s={mac}"),
            format!("t=,s={mac}"),
            format!("t={},s={mac}", "9".repeat(21)),
            format!("t=1,s={mac}{}", " ".repeat(600)),
        ] {
            assert!(parse_header(&scheme(), &bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn a_timestamp_is_good_within_the_window_on_both_sides() {
        let now = DateTime::from_timestamp(1_790_000_000, 0).unwrap();
        let check = |at: &str| is_recent(&scheme(), Some(at), now);
        assert!(check("1790000000") && check("1790000300") && check("1789999700"));
        assert!(!check("1790000301") && !check("1789999699") && !check("18446744073709551615") && !check("0"));
        assert!(!is_recent(&scheme(), None, now));
    }
}
