//! The wire: for each remote call one function that builds the request and one that reads the answer. Nothing here
//! sends anything. Wire types stay private to the file of their call.
//!
//! This file reads the envelope `{"data": {…}, "error": {"code", "message", "log_id"}}`. The HTTP status proves
//! nothing by itself: some refusals come at 200, and success is `error.code == "ok"` alone.

pub(crate) mod creator;
pub(crate) mod init;
pub(crate) mod oauth;
pub(crate) mod status;
pub(crate) mod upload;
pub(crate) mod user;
pub(crate) mod videos;

use patchbay_core::{ErrorKind, HttpResponse, ProviderError};
use serde::{Deserialize, Deserializer, de::DeserializeOwned};
use serde_json::Value;
use url::Url;

use crate::error::{self, Complaint};

/// An address at the API host. Every path ends in a slash: without it the token endpoint answers 404
/// (pilcrowonpaper/arctic#251).
fn api_url(path: &str) -> Url {
    Url::parse("https://open.tiktokapis.com")
        .and_then(|base| base.join(path))
        .expect("a fixed host and a fixed path")
}

/// Reads `data` of a successful answer.
fn read<T: DeserializeOwned>(op: &str, response: &HttpResponse) -> Result<T, ProviderError> {
    let envelope = Envelope::of(response);
    match envelope.complaint {
        Some(complaint) if complaint.code != "ok" => Err(error::refused(op, response, &complaint)),
        // Some calls answer with an error object alone.
        Some(_) if response.is_success() => {
            T::deserialize(envelope.data.unwrap_or_else(|| Value::Object(Default::default())))
                .map_err(|_| error::unexpected(op, "lacks a documented field or has one of another type"))
        }
        _ => Err(error::by_status(op, response)),
    }
}

/// Reads the answer to an irreversible call. Whatever is not plainly TikTok's refusal leaves the outcome open.
fn read_commit<T: DeserializeOwned>(op: &str, response: &HttpResponse) -> Result<T, ProviderError> {
    read(op, response).map_err(|error| {
        let refused = Envelope::of(response).complaint.is_some_and(|c| c.code != "ok");
        if error.kind != ErrorKind::Retryable && (is_definite(response.status) || (response.is_success() && refused)) {
            error
        } else {
            unsure(error)
        }
    })
}

/// Whether a status says by itself that nothing was done.
fn is_definite(status: u16) -> bool {
    (400..500).contains(&status) && !matches!(status, 408 | 425)
}

fn unsure(error: ProviderError) -> ProviderError {
    ProviderError {
        kind: ErrorKind::OutcomeUnknown,
        who: None,
        retry_after: None,
        ..error
    }
    .advise(error::UNSURE)
}

#[derive(Default)]
struct Envelope {
    data: Option<Value>,
    complaint: Option<Complaint>,
}

impl Envelope {
    fn of(response: &HttpResponse) -> Self {
        let Ok(body) = serde_json::from_slice::<Body>(&response.body) else {
            return Self::default();
        };
        let complaint = match body.error {
            Some(ErrorField::Object(object)) => Some(object.complaint()),
            // The flat form of the OAuth endpoints.
            Some(ErrorField::Code(code)) if !code.is_empty() => Some(Complaint {
                code,
                message: body.error_description.0,
                log_id: body.log_id.0,
            }),
            // The error page's own example shows the error object without the wrapper.
            _ if !body.code.0.is_empty() => Some(Complaint {
                code: body.code.0,
                message: body.message.0,
                log_id: body.log_id.0,
            }),
            _ => None,
        };
        Self {
            data: body.data,
            complaint,
        }
    }
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Body {
    data: Option<Value>,
    error: Option<ErrorField>,
    error_description: Text,
    code: Text,
    message: Text,
    #[serde(alias = "logid")]
    log_id: Text,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum ErrorField {
    Code(String),
    Object(ErrorObject),
    Other(serde::de::IgnoredAny),
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct ErrorObject {
    code: Text,
    message: Text,
    // Tables say `logid`, every captured answer says `log_id`.
    #[serde(alias = "logid")]
    log_id: Text,
}

impl ErrorObject {
    fn complaint(self) -> Complaint {
        Complaint {
            code: self.code.0,
            message: self.message.0,
            log_id: self.log_id.0,
        }
    }
}

/// A text that is only for people: anything else in its place is no reason to fail.
#[derive(Default)]
struct Text(String);

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self(match Value::deserialize(deserializer)? {
            Value::String(text) => text,
            _ => String::new(),
        }))
    }
}

/// The platform's id of a post or video, exact. Ids are 19-digit numbers, beyond what a float holds, and come as
/// numbers in one call and as strings in another.
pub(crate) fn exact_id(value: &Value) -> Option<String> {
    match value {
        Value::String(text) if is_id(text) => Some(text.clone()),
        // A fraction or a number beyond 64 bits is none of these, and is not an id.
        Value::Number(number) => number
            .as_u64()
            .map(|n| n.to_string())
            .or_else(|| number.as_i64().map(|n| n.to_string())),
        _ => None,
    }
}

/// Whether a text can be an id of a post or video.
pub(crate) fn is_id(text: &str) -> bool {
    (1..=32).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit())
}

/// Whether an opaque id (open_id, publish_id) is one that we can keep.
pub(crate) fn is_opaque_id(text: &str) -> bool {
    (1..=512).contains(&text.len()) && !text.chars().any(char::is_control)
}

/// An address of the platform for people to open; anything but https is left out.
fn https(text: Option<String>) -> Option<Url> {
    Url::parse(&text?).ok().filter(|url| url.scheme() == "https")
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn answer(status: u16, body: &str) -> HttpResponse {
        HttpResponse {
            status,
            headers: Vec::new(),
            body: body.as_bytes().to_vec().into(),
            received_at: chrono::DateTime::UNIX_EPOCH,
        }
    }

    #[derive(Debug, Deserialize)]
    struct Thing {
        id: u64,
    }

    #[track_caller]
    fn refused(status: u16, body: &str) -> (ErrorKind, String) {
        let error = read::<Thing>("op", &answer(status, body)).unwrap_err();
        (error.kind, error.code.into_owned())
    }

    #[test]
    fn success_is_the_word_ok_and_not_the_status() {
        let ok = answer(
            200,
            r#"{"data":{"id":7678907398077074696,"new":1},"error":{"code":"ok","message":"","log_id":"x"}}"#,
        );
        assert_eq!(read::<Thing>("op", &ok).unwrap().id, 7_678_907_398_077_074_696);
        let at_200 = r#"{"data":{},"error":{"code":"spam_risk_too_many_posts","message":"","log_id":"x"}}"#;
        assert_eq!(refused(200, at_200).1, "spam_risk_too_many_posts");
        assert_eq!(refused(200, r#"{"data":{"id":1}}"#).1, "unexpected_answer");
        assert_eq!(
            refused(500, r#"{"data":{"id":1},"error":{"code":"ok"}}"#).0,
            ErrorKind::Retryable
        );
    }

    #[test]
    fn every_shape_of_a_failure_is_read() {
        for body in [
            r#"{"data":{},"error":{"code":"access_token_invalid","message":"m","log_id":"l"}}"#,
            r#"{"error":{"code":"access_token_invalid","message":"m","logid":"l"}}"#,
            r#"{"data":null,"error":{"code":"access_token_invalid","message":null}}"#,
            r#"{"code":"access_token_invalid","message":"m","log_id":"l"}"#,
            r#"{"error":"access_token_invalid","error_description":"m","log_id":"l"}"#,
        ] {
            assert_eq!(
                refused(401, body),
                (ErrorKind::ReauthRequired, "access_token_invalid".to_owned()),
                "{body}"
            );
        }
    }

    #[test]
    fn an_answer_that_cannot_be_read_never_repeats_its_text() {
        for body in [
            "",
            "<html>canary</html>",
            "[]",
            r#"{"data":{"id":"canary"},"error":{"code":"ok"}}"#,
            "{\"error\":3}",
        ] {
            let error = read::<Thing>("op", &answer(200, body)).unwrap_err();
            assert_eq!(
                (error.kind, &*error.code),
                (ErrorKind::Permanent, "unexpected_answer"),
                "{body}"
            );
            assert!(!error.message.contains("canary"));
        }
        assert_eq!(refused(502, "<html>").0, ErrorKind::Retryable);
        assert_eq!(refused(404, "Unsupported path(Janus)").0, ErrorKind::Permanent);
    }

    #[test]
    fn only_a_plain_refusal_settles_an_irreversible_call() {
        let kind = |status: u16, body: &str| read_commit::<Thing>("op", &answer(status, body)).unwrap_err().kind;
        let code = |code: &str| format!(r#"{{"error":{{"code":"{code}"}}}}"#);
        assert_eq!(kind(403, &code("url_ownership_unverified")), ErrorKind::InvalidRequest);
        assert_eq!(kind(200, &code("reached_active_user_cap")), ErrorKind::Permanent);
        assert_eq!(kind(429, &code("rate_limit_exceeded")), ErrorKind::RateLimited);
        assert_eq!(kind(404, "Unsupported path(Janus)"), ErrorKind::Permanent);
        for (status, body) in [
            (500, code("internal_error")),
            (500, code("invalid_params")),
            (200, code("internal_error")),
            (503, "<html>".to_owned()),
            (408, String::new()),
            (302, String::new()),
            (200, String::new()),
            (200, r#"{"data":{},"error":{"code":"ok"}}"#.to_owned()),
        ] {
            assert_eq!(kind(status, &body), ErrorKind::OutcomeUnknown, "{status} {body}");
        }
    }

    #[test]
    fn ids_are_exact_or_nothing() {
        let read = |text: &str| exact_id(&serde_json::from_str(text).unwrap());
        assert_eq!(read("7678907398077074696").as_deref(), Some("7678907398077074696"));
        assert_eq!(read("18446744073709551615").as_deref(), Some("18446744073709551615"));
        assert_eq!(read("-5").as_deref(), Some("-5"));
        assert_eq!(read(r#""7678907398077074696""#).as_deref(), Some("7678907398077074696"));
        for wrong in [
            "1.5",
            "1e30",
            "99999999999999999999999",
            r#""""#,
            r#""12a""#,
            "null",
            "true",
            "{}",
        ] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }
}
