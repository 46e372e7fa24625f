//! A platform may repeat a secret in its answer, such as a token that it refuses. Providers make messages of answers,
//! and messages are logged, so what this call has sent or captured is masked before anybody reads the answer.

use bytes::Bytes;
use patchbay_core::HttpResponse;

use crate::secret::Secret;

const MASK: &[u8] = b"[redacted]";
/// Shorter values are words.
const MIN_SECRET: usize = 8;

/// Masks every place of an answer where one of the secrets stands.
pub(crate) fn mask<'s>(answer: &mut HttpResponse, secrets: impl Iterator<Item = &'s Secret<String>>) {
    for secret in secrets {
        let secret = secret.expose().as_bytes();
        if secret.len() < MIN_SECRET {
            continue;
        }
        if let Some(masked) = without(&answer.body, secret) {
            answer.body = Bytes::from(masked);
        }
        for (_, value) in &mut answer.headers {
            if let Some(masked) = without(value.as_bytes(), secret) {
                *value = String::from_utf8_lossy(&masked).into_owned();
            }
        }
    }
}

/// The text with a mask for each time that the secret stands in it; `None` if it does not.
fn without(text: &[u8], secret: &[u8]) -> Option<Vec<u8>> {
    let next = |text: &[u8]| text.windows(secret.len()).position(|window| window == secret);
    let mut rest = text;
    let mut masked = Vec::new();
    while let Some(at) = next(rest) {
        masked.extend_from_slice(&rest[..at]);
        masked.extend_from_slice(MASK);
        rest = &rest[at + secret.len()..];
    }
    if rest.len() == text.len() {
        return None;
    }
    masked.extend_from_slice(rest);
    Some(masked)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_echoed_secret_is_masked_in_body_and_headers_and_nothing_else_is_touched() {
        let mut answer = HttpResponse {
            status: 401,
            headers: vec![("x-refused".to_owned(), "act.12345678, act.1".to_owned())],
            body: Bytes::from_static(b"act.12345678act.12345678 is no good, act.1234567 neither"),
            received_at: chrono::DateTime::UNIX_EPOCH,
        };
        let secrets = [Secret::from("act.12345678"), Secret::from("good")];
        mask(&mut answer, secrets.iter());
        assert_eq!(answer.body, "[redacted][redacted] is no good, act.1234567 neither");
        assert_eq!(answer.headers[0].1, "[redacted], act.1");
    }
}
