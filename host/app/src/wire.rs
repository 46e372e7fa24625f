//! The wire as use cases see it: one finished request out, one whole answer back. The egress crate implements it, and
//! is the only HTTP client of the product. It decides which addresses may be dialled; who may call what is decided
//! before, in `outbound`.

use std::{fmt, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::BoxStream;
use patchbay_core::ProviderId;
use url::Url;

use crate::{files::ByteStream, secret::Secret};

/// A body.
pub enum WireBody {
    /// None.
    Empty,
    /// Ready-made.
    Bytes(Bytes),
    /// A stream of exactly `len` bytes, read as the socket takes it.
    Stream {
        /// Its length, sent as `Content-Length`.
        len: u64,
        /// The bytes.
        stream: BoxStream<'static, std::io::Result<Bytes>>,
    },
}

/// A request with its secrets filled in. Not `Debug`: nearly every part of it may be a secret.
pub struct WireRequest {
    /// For whom; selects the host map in simulator mode. [`ProviderId::patchbay`]: a host that a tenant has named.
    pub provider: ProviderId,
    /// Name of the call, for spans and metrics.
    pub op: String,
    /// Follows the work; sent to nobody.
    pub correlation_id: String,
    /// HTTP method.
    pub method: String,
    /// The real URL. May hold secrets in its query.
    pub url: Secret<String>,
    /// Headers, `Authorization` and `Content-Type` included.
    pub headers: Vec<(String, Secret<String>)>,
    /// Body.
    pub body: WireBody,
    /// Time for the whole call. For a stream, either way: per stall, not for the whole.
    pub timeout: Duration,
    /// Largest answer that is read.
    pub max_answer_bytes: usize,
}

/// A whole answer.
#[derive(Clone)]
pub struct WireResponse {
    /// HTTP status.
    pub status: u16,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    /// Body, as it came.
    pub body: Bytes,
}

impl fmt::Debug for WireResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WireResponse({}, {} bytes)", self.status, self.body.len())
    }
}

/// An answer whose body comes as it is read. Dropped, it ends the call.
pub struct WireStream {
    /// HTTP status.
    pub status: u16,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    /// Body. An error: it broke off, or stood still for the call's time.
    pub body: ByteStream,
}

impl WireStream {
    /// The first header of this name, which is in lower case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }
}

/// Why there is no answer. Texts never hold a URL.
#[derive(Debug, thiserror::Error)]
pub enum WireError {
    /// Nothing left this machine: no address, no connection, no TLS.
    #[error("not sent: {0}")]
    NotSent(String),
    /// The connection stood, so some of the request may have arrived.
    #[error("answer lost: {0}")]
    Lost(String),
    /// The address or the URL is not allowed.
    #[error("blocked: {0}")]
    Blocked(String),
}

/// Sends requests.
#[async_trait]
pub trait Wire: Send + Sync + 'static {
    /// Sends one request. An answer of any status is `Ok`.
    async fn send(&self, request: WireRequest) -> Result<WireResponse, WireError>;

    /// Sends one request, whose answer may be of any length: `max_answer_bytes` means nothing here. Its head comes in the
    /// call's time, and then in that time again at least 64 KiB each, or the end.
    async fn open(&self, request: WireRequest) -> Result<WireStream, WireError>;

    /// Reads a URL that a user gave, and checks all of it but the addresses of its name, which are looked up at each call:
    /// https on port 443 or 8443, a name or a public address, no credentials, no control characters.
    ///
    /// # Errors
    /// The rule that the text breaks.
    fn user_url(&self, text: &str) -> Result<Url, WireError>;

    /// The URL that a browser is to be sent to: the same, or the simulator's in simulator mode.
    fn browser_url(&self, provider: &ProviderId, url: &Url) -> Url;
}
