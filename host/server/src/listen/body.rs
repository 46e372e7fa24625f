//! A request body with a deadline: no long gaps, and a least rate.
//!
//! Only the time in which somebody waits for the client counts. A handler that takes its time over what it has
//! already got does not use up the client's.

use std::error::Error;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::BoxError;
use axum::body::HttpBody;
use bytes::Bytes;
use hyper::body::{Frame, SizeHint};
use tokio::time::{Instant, Sleep};

use super::Limits;

/// The client stopped sending, or sends too slowly. The answer is 408.
#[derive(Debug, thiserror::Error)]
#[error("the request body did not arrive in time")]
pub struct BodyStalled;

/// Whether reading a body failed because of [`BodyStalled`], wherever extractors have put the cause.
pub fn is_body_stalled(error: &(dyn Error + 'static)) -> bool {
    std::iter::successors(Some(error), |error| (*error).source()).any(<dyn Error>::is::<BodyStalled>)
}

pub(super) struct PacedBody<B> {
    inner: B,
    gap: Duration,
    window: Duration,
    bytes_per_window: u64,
    /// Set while somebody waits for a frame.
    waiting: Option<Wait>,
    /// Waited and received in the present window.
    waited: Duration,
    received: u64,
    timer: Pin<Box<Sleep>>,
    stalled: bool,
    /// Tells the service that the rest of the body is lost.
    failed: Arc<AtomicBool>,
}

#[derive(Clone, Copy)]
struct Wait {
    since: Instant,
    /// Up to here the wait is part of `waited`.
    counted: Instant,
}

impl<B> PacedBody<B> {
    pub(super) fn new(inner: B, limits: &Limits, failed: Arc<AtomicBool>) -> Self {
        let bytes = u128::from(limits.body_bytes_per_second) * limits.body_rate_window.as_millis() / 1000;
        Self {
            inner,
            gap: limits.body_idle,
            window: limits.body_rate_window,
            bytes_per_window: u64::try_from(bytes).unwrap_or(u64::MAX),
            waiting: None,
            waited: Duration::ZERO,
            received: 0,
            timer: Box::pin(tokio::time::sleep(limits.body_idle)),
            stalled: false,
            failed,
        }
    }

    /// Counts the present wait up to now, and says whether the client is still fast enough.
    fn keeps_pace(&mut self, now: Instant) -> bool {
        if let Some(wait) = &mut self.waiting {
            self.waited += now - wait.counted;
            wait.counted = now;
        }
        if self.waited < self.window {
            return true;
        }
        let fast_enough = self.received >= self.bytes_per_window;
        (self.waited, self.received) = (Duration::ZERO, 0);
        fast_enough
    }

    /// Ready when the client has used up its time.
    fn poll_deadline(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            let now = Instant::now();
            let since = self
                .waiting
                .get_or_insert(Wait {
                    since: now,
                    counted: now,
                })
                .since;
            if !self.keeps_pace(now) || now >= since + self.gap {
                return Poll::Ready(());
            }
            let window_ends = now + (self.window - self.waited);
            self.timer.as_mut().reset(window_ends.min(since + self.gap));
            std::task::ready!(self.timer.as_mut().poll(cx));
        }
    }
}

impl<B> HttpBody for PacedBody<B>
where
    B: HttpBody<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = &mut *self;
        if this.stalled {
            return Poll::Ready(None);
        }
        let in_time = match Pin::new(&mut this.inner).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                this.received += frame.data_ref().map_or(0, |data| data.len() as u64);
                let in_time = this.keeps_pace(Instant::now());
                this.waiting = None;
                if in_time {
                    return Poll::Ready(Some(Ok(frame)));
                }
                false
            }
            Poll::Ready(Some(Err(error))) => {
                this.failed.store(true, Ordering::Relaxed);
                return Poll::Ready(Some(Err(error.into())));
            }
            Poll::Ready(None) => return Poll::Ready(None),
            Poll::Pending => this.poll_deadline(cx).is_pending(),
        };
        if in_time {
            return Poll::Pending;
        }
        this.stalled = true;
        this.failed.store(true, Ordering::Relaxed);
        Poll::Ready(Some(Err(BodyStalled.into())))
    }

    fn is_end_stream(&self) -> bool {
        self.stalled || self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
