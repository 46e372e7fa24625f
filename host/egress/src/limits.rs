//! Every limit on a call: how long it may take, how long it may stand still, how large its answer may be.

use std::{
    io,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use futures_util::{StreamExt, stream};
use patchbay_app::wire::{WireError, WireResponse, WireStream};
use tokio::time::{Instant, sleep, sleep_until, timeout_at};

use crate::redact;

/// Whatever a caller asks for, an answer larger than this is not kept in memory.
const MAX_ANSWER_BYTES: usize = 64 * 1024 * 1024;
/// More headers than any platform sends. The parser refuses more.
pub(crate) const MAX_ANSWER_HEADERS: usize = 100;
/// A streamed answer brings this much in the time that it may stand still.
const PROGRESS: usize = 64 * 1024;
const MAX_ANSWER_HEADER_BYTES: usize = 64 * 1024;
/// A deadline that is noticed so late was slept through: this process did not run.
const STANDSTILL: Duration = Duration::from_secs(1);
/// Time to read what had come by then. A process that was stopped finds the end of its time and the answer together,
/// and the answer may be a token that exists nowhere else.
const SECOND_LOOK: Duration = Duration::from_secs(1);

/// Reads a whole answer, or as much of it as shows that it is too large.
pub(crate) async fn read_answer(mut answer: reqwest::Response, max_bytes: usize) -> Result<WireResponse, WireError> {
    let max_bytes = max_bytes.min(MAX_ANSWER_BYTES);
    let (status, headers) = read_head(&answer)?;
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

/// Gives an answer of any length as it comes: [`PROGRESS`] bytes in each `stall` that is waited for them, all in `limit`.
pub(crate) fn stream_answer(
    answer: reqwest::Response,
    stall: Duration,
    limit: Duration,
) -> Result<WireStream, WireError> {
    let (status, headers) = read_head(&answer)?;
    let coming = Coming {
        answer,
        came: 0,
        left: stall,
    };
    let over = Instant::now() + limit;
    let body = stream::try_unfold(coming, move |mut coming| async move {
        let begun = Instant::now();
        let chunk = timeout_at(over.min(begun + coming.left), coming.answer.chunk()).await;
        let chunk = chunk.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?;
        let Some(chunk) = chunk.map_err(|error| io::Error::other(redact::answer_error(&error)))? else {
            return Ok(None);
        };
        coming.came += chunk.len();
        if coming.came < PROGRESS {
            // Time in which nobody asks for more is not the server's.
            coming.left = coming.left.saturating_sub(begun.elapsed());
        } else {
            coming.came = 0;
            coming.left = stall;
        }
        Ok(Some((chunk, coming)))
    });
    Ok(WireStream {
        status,
        headers,
        body: body.boxed(),
    })
}

/// An answer that is being read.
struct Coming {
    answer: reqwest::Response,
    /// Bytes since the last time that enough had come.
    came: usize,
    /// Time for more.
    left: Duration,
}

type Head = (u16, Vec<(String, String)>);

fn read_head(answer: &reqwest::Response) -> Result<Head, WireError> {
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
    Ok((status, headers))
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
