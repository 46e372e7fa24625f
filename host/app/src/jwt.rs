//! What a token says of its own end. Nothing is verified: it came from its issuer just now, and only the plan of renewals
//! goes by it.

use std::time::Duration;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::{DateTime, Utc};
use serde::Deserialize;

#[derive(Deserialize)]
struct Claims {
    exp: i64,
    iat: Option<i64>,
}

/// How long a token lives that has just been issued, if it is a JWT (RFC 7519) that says so. Counted from its own time of
/// issue, so that the issuer's clock may be wrong.
pub(crate) fn life(token: &str, now: DateTime<Utc>) -> Option<Duration> {
    let [_, claims, _] = token.split('.').collect::<Vec<_>>()[..] else {
        return None;
    };
    let claims = URL_SAFE_NO_PAD.decode(claims).ok()?;
    let Claims { exp, iat } = serde_json::from_slice(&claims).ok()?;
    let seconds = exp.checked_sub(iat.unwrap_or_else(|| now.timestamp()))?;
    Some(Duration::from_secs(u64::try_from(seconds).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_jwt_tells_its_life_and_nothing_else_does() {
        let now = DateTime::from_timestamp(1_790_000_000, 0).unwrap();
        let of = |claims: &str| life(&format!("e30.{}.c2ln", URL_SAFE_NO_PAD.encode(claims)), now);
        // A platform whose clock is an hour behind.
        assert_eq!(
            of(r#"{"iat":1789996400,"exp":1790003600,"sub":"x"}"#),
            Some(Duration::from_hours(2))
        );
        assert_eq!(of(r#"{"exp":1790000060}"#), Some(Duration::from_secs(60)));
        for no in [r#"{"exp":1}"#, r#"{"iat":1}"#, r#"{"exp":"1790000060"}"#, "{", ""] {
            assert_eq!(of(no), None, "{no}");
        }
        assert_eq!(of(r#"{"iat":-9223372036854775808,"exp":9223372036854775807}"#), None);
        for no in ["", "opaque", "a.b", "a.b.c.d", "..", "a.!.c"] {
            assert_eq!(life(no, now), None, "{no}");
        }
    }
}
