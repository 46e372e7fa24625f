//! HTTP as a provider describes it. The host carries it out: it checks the request against the op table, takes a
//! rate slot, fills in secrets, journals irreversible calls, and only then opens a connection.

use std::{borrow::Cow, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use serde::de::DeserializeOwned;
use url::Url;

use crate::{ByteRange, Effect, ErrorKind, MediaId, ProviderError, SecretRef};

/// A text or a secret in a header, query or form field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// As it stands.
    Text(String),
    /// Filled in by the host.
    Secret(SecretRef),
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<SecretRef> for Value {
    fn from(secret: SecretRef) -> Self {
        Self::Secret(secret)
    }
}

/// Where a request goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// The platform's real URL. Its host must match the op row: one of its hosts, or the account's own server
    /// ([`crate::Op::at_account_server`]).
    Url(Url),
    /// A whole URL that is itself a secret, such as an upload URL. The host checks the value against the op row.
    Secret(SecretRef),
}

/// The account's token, placed by the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Auth {
    /// No token.
    None,
    /// `Authorization: Bearer` with the account's `access_token`.
    AccountBearer,
    /// `Authorization: Bearer` with a token of this very call, such as one that an exchange has just brought.
    Bearer(SecretRef),
    /// A query parameter of this name with the account's `access_token`.
    AccountQuery(Cow<'static, str>),
}

/// The body of a request.
#[derive(Debug, Clone, PartialEq)]
pub enum Body {
    /// None.
    Empty,
    /// `application/json; charset=UTF-8`.
    Json(serde_json::Value),
    /// `application/x-www-form-urlencoded`.
    Form(Vec<(Cow<'static, str>, Value)>),
    /// Ready-made bytes.
    Bytes {
        /// Value of `Content-Type`.
        content_type: Cow<'static, str>,
        /// The bytes.
        bytes: Bytes,
    },
    /// A part of a media file. The bytes go from disk to socket and never through the provider.
    Media {
        /// Which file of the post.
        media: MediaId,
        /// Which part.
        range: ByteRange,
        /// Value of `Content-Type`.
        content_type: Cow<'static, str>,
    },
}

/// One call to the platform. The method stands in the op row.
#[derive(Debug, Clone, PartialEq)]
pub struct HttpRequest {
    /// Row of the manifest's op table, such as `video.init`. Also the name in spans, metrics and the journal.
    pub op: Cow<'static, str>,
    /// Where to.
    pub target: Target,
    /// Query parameters added to the target.
    pub query: Vec<(Cow<'static, str>, Value)>,
    /// Headers beside those that the host sets (`Host`, `Content-Length`, `Content-Type`, `Authorization`).
    pub headers: Vec<(Cow<'static, str>, Value)>,
    /// The account's token.
    pub auth: Auth,
    /// The body.
    pub body: Body,
    /// Places in a JSON body where the host writes the URLs of files of the post.
    pub media_urls: Vec<MediaUrl>,
    /// Places in a JSON body where the host writes secrets.
    pub body_secrets: Vec<BodySecret>,
}

/// A place in a JSON body for a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BodySecret {
    /// Where: a JSON pointer (RFC 6901) to a value that is there.
    pub pointer: String,
    /// What the host writes there.
    pub secret: SecretRef,
}

/// A place in a JSON body for the URL under which the platform can fetch a file of the post. Each attempt gets URLs of
/// its own, which the host closes when nobody may use them any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MediaUrl {
    /// Where: a JSON pointer (RFC 6901) to a value that is there.
    pub pointer: String,
    /// Which file; its origin is [`crate::MediaOrigin::Hosted`].
    pub media: MediaId,
}

impl HttpRequest {
    /// A call of `op` to `url`, without token or body.
    pub fn new(op: impl Into<Cow<'static, str>>, url: Url) -> Self {
        Self::to(op, Target::Url(url))
    }

    /// A call of `op` to a target.
    pub fn to(op: impl Into<Cow<'static, str>>, target: Target) -> Self {
        Self {
            op: op.into(),
            target,
            query: Vec::new(),
            headers: Vec::new(),
            auth: Auth::None,
            body: Body::Empty,
            media_urls: Vec::new(),
            body_secrets: Vec::new(),
        }
    }

    /// Sends the account's token as bearer.
    #[must_use]
    pub fn as_account(mut self) -> Self {
        self.auth = Auth::AccountBearer;
        self
    }

    /// Sends a token of this very call, or another credential of the account, as bearer.
    #[must_use]
    pub fn as_bearer(mut self, token: SecretRef) -> Self {
        self.auth = Auth::Bearer(token);
        self
    }

    /// Sets the body.
    #[must_use]
    pub fn with_body(mut self, body: Body) -> Self {
        self.body = body;
        self
    }

    /// Has the host write a URL for a file of the post over the value at this place of the JSON body.
    #[must_use]
    pub fn with_media_url(mut self, pointer: impl Into<String>, media: MediaId) -> Self {
        self.media_urls.push(MediaUrl {
            pointer: pointer.into(),
            media,
        });
        self
    }

    /// Has the host write a secret over the value at this place of the JSON body.
    #[must_use]
    pub fn with_body_secret(mut self, pointer: impl Into<String>, secret: SecretRef) -> Self {
        self.body_secrets.push(BodySecret {
            pointer: pointer.into(),
            secret,
        });
        self
    }

    /// Adds a query parameter.
    #[must_use]
    pub fn with_query(mut self, name: impl Into<Cow<'static, str>>, value: impl Into<Value>) -> Self {
        self.query.push((name.into(), value.into()));
        self
    }

    /// Adds a header.
    #[must_use]
    pub fn with_header(mut self, name: impl Into<Cow<'static, str>>, value: impl Into<Value>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }
}

/// The platform's answer, with its secret fields already swapped for handles.
#[derive(Debug, Clone)]
pub struct HttpResponse {
    /// HTTP status.
    pub status: u16,
    /// Header names in lower case, as received; `Set-Cookie` is dropped.
    pub headers: Vec<(String, String)>,
    /// The body, capped by the op row.
    pub body: Bytes,
    /// When the answer came, for relative times in it.
    pub received_at: DateTime<Utc>,
}

impl HttpResponse {
    /// First header of this (lower-case) name.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }

    /// 200 to 299.
    #[must_use]
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// Reads the body as JSON.
    ///
    /// # Errors
    /// On a 2xx, an answer that is not what the platform documents: `Permanent`, with the place and never the text.
    /// On another status the default class of the status, since error pages are often HTML.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, ProviderError> {
        serde_json::from_slice(&self.body).map_err(|error| {
            if self.is_success() {
                let at = format!("line {} column {}", error.line(), error.column());
                let what = match error.classify() {
                    serde_json::error::Category::Data => "lacks a field or has one of another type",
                    _ => "is not JSON",
                };
                ProviderError::new(
                    ErrorKind::Permanent,
                    "unexpected_answer",
                    format!("the answer {what} ({at})"),
                )
            } else {
                self.classify()
            }
        })
    }

    /// The default class of a failed answer, by status alone. A provider looks at the platform's own code first and
    /// falls back to this.
    #[must_use]
    pub fn classify(&self) -> ProviderError {
        let (kind, code) = match self.status {
            401 => (ErrorKind::ReauthRequired, "unauthorized"),
            403 => (ErrorKind::Permanent, "forbidden"),
            404 => (ErrorKind::Permanent, "not_found"),
            408 | 425 => (ErrorKind::Retryable, "timeout"),
            429 => (ErrorKind::RateLimited, "rate_limited"),
            400..=499 => (ErrorKind::InvalidRequest, "refused"),
            500..=599 => (ErrorKind::Retryable, "server_error"),
            _ => (ErrorKind::Permanent, "unexpected_status"),
        };
        let error = ProviderError::new(kind, code, format!("HTTP status {}", self.status));
        match self.retry_after() {
            Some(wait) if kind.retry_helps() => error.after(wait),
            _ => error,
        }
    }

    /// `Retry-After` in either form (RFC 9110 section 10.2.3): seconds, or a date. Without it, on a 429,
    /// `RateLimit-Reset`: seconds from now (as drafts of that header have it), or Unix time (as some platforms have
    /// it). At most one day.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        const CAP: Duration = Duration::from_hours(24);
        /// No wait is 30 years long, and no clock shows a time before 2001.
        const UNIX_TIME: u64 = 1_000_000_000;
        let Some(text) = self.header("retry-after").map(str::trim) else {
            let reset = self.header("ratelimit-reset").filter(|_| self.status == 429)?;
            let seconds = match reset.trim().parse::<u64>().ok()? {
                at @ UNIX_TIME.. => at.saturating_sub(self.received_at.timestamp().try_into().unwrap_or_default()),
                wait => wait,
            };
            return Some(Duration::from_secs(seconds).min(CAP));
        };
        let wait = match text.parse::<u64>() {
            Ok(seconds) => Duration::from_secs(seconds),
            Err(_) => {
                let at = DateTime::parse_from_rfc2822(text).ok()?;
                (at.with_timezone(&Utc) - self.received_at).to_std().unwrap_or_default()
            }
        };
        Some(wait.min(CAP))
    }
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TransportError {
    /// Nothing left this machine.
    #[error("not sent: {0}")]
    NotSent(String),
    /// The request may have arrived; the answer did not.
    #[error("sent, but the answer was lost: {reason}")]
    Lost {
        /// What the op row says of the call.
        effect: Effect,
        /// What happened.
        reason: String,
    },
    /// A rule forbids this call: undeclared op or host, a blocked address, an unknown handle.
    #[error("blocked: {0}")]
    Blocked(String),
    /// No free place in a rate bucket. Nothing was sent.
    #[error("no free slot in bucket {bucket}")]
    NoSlot {
        /// Which bucket.
        bucket: String,
        /// When a place frees.
        wait: Duration,
    },
    /// The account was not granted a scope that the op row needs. Nothing was sent.
    #[error("the account was not granted {0}")]
    MissingScope(String),
    /// The same irreversible call is marked as sent and has no receipt.
    #[error("an earlier send of this call has no known outcome")]
    EarlierUnknown,
}

/// Carries out a provider's requests. Implemented by the host, per call, and by test kits.
#[async_trait]
pub trait HttpTransport: Send + Sync {
    /// Sends one request and returns the whole answer, whatever its status.
    async fn send(&self, request: HttpRequest) -> Result<HttpResponse, TransportError>;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, headers: &[(&str, &str)], body: &'static str) -> HttpResponse {
        HttpResponse {
            status,
            headers: headers
                .iter()
                .map(|(n, v)| ((*n).to_owned(), (*v).to_owned()))
                .collect(),
            body: Bytes::from_static(body.as_bytes()),
            received_at: DateTime::from_timestamp(1_790_000_000, 0).unwrap(),
        }
    }

    #[test]
    fn both_forms_of_retry_after_are_read_and_capped() {
        let check = |value: &str, seconds: Option<u64>| {
            let found = answer(429, &[("retry-after", value)], "").classify().retry_after;
            assert_eq!(found, seconds.map(Duration::from_secs), "{value}");
        };
        check("30", Some(30));
        check("Mon, 21 Sep 2026 14:14:20 +0000", Some(60));
        check("Mon, 21 Sep 2026 14:14:20 GMT", Some(60));
        check("Mon, 21 Sep 2020 14:14:20 GMT", Some(0));
        check("999999999", Some(86_400));
        check("soon", None);
    }

    #[test]
    fn a_full_limit_tells_when_it_frees_also_by_its_own_header() {
        let wait = |status, headers: &[(&str, &str)]| answer(status, headers, "").retry_after().map(|w| w.as_secs());
        assert_eq!(wait(429, &[("ratelimit-reset", "1790000090")]), Some(90));
        assert_eq!(wait(429, &[("ratelimit-reset", "1789999999")]), Some(0));
        assert_eq!(wait(429, &[("ratelimit-reset", "90")]), Some(90));
        assert_eq!(wait(429, &[("ratelimit-reset", "1999999999")]), Some(86_400));
        assert_eq!(wait(429, &[("ratelimit-reset", "soon")]), None);
        assert_eq!(
            wait(429, &[("ratelimit-reset", "1790000090"), ("retry-after", "7")]),
            Some(7)
        );
        // Servers tell it with every answer.
        assert_eq!(wait(503, &[("ratelimit-reset", "1790000090")]), None);
    }

    #[test]
    fn html_on_an_error_status_is_classified_by_the_status() {
        let page = answer(503, &[], "<html>");
        assert_eq!(page.json::<serde_json::Value>().unwrap_err().kind, ErrorKind::Retryable);
        let page = answer(200, &[], "<html>");
        assert_eq!(page.json::<serde_json::Value>().unwrap_err().kind, ErrorKind::Permanent);
    }
}
