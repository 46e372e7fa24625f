//! Every limit on a call: how long it may take, how long it may stand still, how large its answer may be.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use patchbay_app::wire::{WireError, WireResponse};
use tokio::time::{Instant, sleep, sleep_until};

use crate::redact;

/// Whatever a caller asks for, an answer larger than this is not kept in memory.
const MAX_ANSWER_BYTES: usize = 64 * 1024 * 1024;
/// More headers than any platform sends. The parser refuses more.
pub(crate) const MAX_ANSWER_HEADERS: usize = 100;
const MAX_ANSWER_HEADER_BYTES: usize = 64 * 1024;
/// A deadline that is noticed so late was slept through: this process did not run.
const STANDSTILL: Duration = Duration::from_secs(1);
/// Time to read what had come by then. A process that was stopped finds the end of its time and the answer together,
/// and the answer may be a token that exists nowhere else.
const SECOND_LOOK: Duration = Duration::from_secs(1);

/// Reads a whole answer, or as much of it as shows that it is too large.
pub(crate) async fn read_answer(mut answer: reqwest::Response, max_bytes: usize) -> Result<WireResponse, WireError> {
    let max_bytes = max_bytes.min(MAX_ANSWER_BYTES);
    let status = answer.status().as_u16();
    let header_bytes: usize = answer
        .headers()
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len())
        .sum();
    if answer.headers().len() > MAX_ANSWER_HEADERS || header_bytes > MAX_ANSWER_HEADER_BYTES {
        return Err(lost("answer headers too large"));
    }
    let headers = answer
        .headers()
        .iter()
        .map(|(name, value)| {
            (
                name.as_str().to_owned(),
                String::from_utf8_lossy(value.as_bytes()).into_owned(),
            )
        })
        .collect();
    if answer.content_length().is_some_and(|len| len > max_bytes as u64) {
        return Err(lost("answer too large"));
    }
    let mut body = BytesMut::new();
    while let Some(chunk) = answer.chunk().await.map_err(|error| redact::answer_error(&error))? {
        if chunk.len() > max_bytes - body.len() {
            return Err(lost("answer too large"));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(WireResponse {
        status,
        headers,
        body: Bytes::from(body),
    })
}

pub(crate) fn lost(reason: &str) -> WireError {
    WireError::Lost(reason.to_owned())
}

/// The deadline of one call. A streamed body moves it with every piece that the socket takes; nothing else does,
/// except the arrival of the answer's head.
pub(crate) struct Deadline {
    at: Mutex<Instant>,
    step: Duration,
}

impl Deadline {
    /// A deadline `step` from now.
    pub(crate) fn new(step: Duration) -> Arc<Self> {
        Arc::new(Self {
            at: Mutex::new(Instant::now() + step),
            step,
        })
    }

    /// Starts the time anew, with `extra` on top.
    pub(crate) fn push(&self, extra: Duration) {
        *self.at.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now() + self.step + extra;
    }

    /// Returns when the deadline has passed. It may be pushed while this waits.
    pub(crate) async fn passed(&self) {
        loop {
            let at = *self.at.lock().unwrap_or_else(PoisonError::into_inner);
            let late = Instant::now().saturating_duration_since(at);
            if late > STANDSTILL {
                sleep(SECOND_LOOK).await;
            }
            if Instant::now() >= at {
                return;
            }
            sleep_until(at).await;
        }
    }
}
