//! A streamed body of exactly the announced length. It goes to the socket in small pieces, so that a standstill shows,
//! and it never completes if its source does not match its length.

use std::{
    pin::Pin,
    sync::{Arc, Mutex, OnceLock, PoisonError},
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use futures_util::{
    stream::{BoxStream, Stream},
    task::AtomicWaker,
};

use crate::limits::Deadline;

/// Why a body broke off. Its own type, so that the call can tell it from a fault of the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BodyFault {
    #[error("the request body ended before its announced length")]
    Short,
    #[error("the request body is longer than announced")]
    Long,
    #[error("the source of the request body failed")]
    Source,
    #[error("the call was over")]
    Over,
}

/// Granularity of the stall timer: a receiver must take this much per stall time.
const PIECE_BYTES: usize = 64 * 1024;

pub(crate) struct ExactBody {
    shared: Arc<Shared>,
    source_ended: bool,
    left: u64,
    held: Bytes,
    deadline: Arc<Deadline>,
    drain: Duration,
}

/// The caller's end of a body. Dropping it lets go of the source at once and breaks off what is not sent yet. Without
/// it, a connection whose peer has stopped reading, or has answered early, would hold on to both.
pub(crate) struct BodyHandle(Arc<Shared>);

struct Shared {
    /// `None` when the call is over.
    source: Mutex<Option<BoxStream<'static, std::io::Result<Bytes>>>>,
    sender: AtomicWaker,
    fault: OnceLock<BodyFault>,
}

impl ExactBody {
    /// A body of `len` bytes from `source`. Every piece pushes `deadline`; the last one grants `drain` on top, for
    /// what then still waits in the socket.
    pub(crate) fn new(
        len: u64,
        source: BoxStream<'static, std::io::Result<Bytes>>,
        deadline: Arc<Deadline>,
        drain: Duration,
    ) -> (Self, BodyHandle) {
        let shared = Arc::new(Shared {
            source: Mutex::new(Some(source)),
            sender: AtomicWaker::new(),
            fault: OnceLock::new(),
        });
        let handle = BodyHandle(Arc::clone(&shared));
        let body = Self {
            shared,
            source_ended: false,
            left: len,
            held: Bytes::new(),
            deadline,
            drain,
        };
        (body, handle)
    }

    /// Takes pieces from the source until one can be handed on. The last piece is held back until the source has
    /// ended: a receiver that has every announced byte would act on a body that is wrong.
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, BodyFault>> {
        let shared = Arc::clone(&self.shared);
        shared.sender.register(cx.waker());
        let mut source = shared.source.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(source) = source.as_mut() else {
            return Poll::Ready(Err(BodyFault::Over));
        };
        loop {
            let held = self.held.len() as u64;
            if held > self.left {
                return Poll::Ready(Err(BodyFault::Long));
            }
            if held > 0 && (held < self.left || self.source_ended) {
                return Poll::Ready(Ok(Some(self.hand_on())));
            }
            if self.source_ended {
                return Poll::Ready(if self.left == 0 {
                    Ok(None)
                } else {
                    Err(BodyFault::Short)
                });
            }
            match ready!(source.as_mut().poll_next(cx)) {
                None => self.source_ended = true,
                Some(Ok(more)) if more.is_empty() => {}
                Some(Ok(_)) if held > 0 => return Poll::Ready(Err(BodyFault::Long)),
                Some(Ok(more)) => self.held = more,
                Some(Err(_)) => return Poll::Ready(Err(BodyFault::Source)),
            }
        }
    }

    fn hand_on(&mut self) -> Bytes {
        let piece = self.held.split_to(self.held.len().min(PIECE_BYTES));
        self.left -= piece.len() as u64;
        let drain = if self.left == 0 { self.drain } else { Duration::ZERO };
        self.deadline.push(drain);
        piece
    }
}

impl Stream for ExactBody {
    type Item = Result<Bytes, BodyFault>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let piece = ready!(self.poll_piece(cx));
        if let Err(fault) = piece {
            self.shared.fault.get_or_init(|| fault);
        }
        Poll::Ready(piece.transpose())
    }
}

impl BodyHandle {
    /// Why the body broke off, if it did.
    pub(crate) fn fault(&self) -> Option<BodyFault> {
        self.0.fault.get().copied()
    }
}

impl Drop for BodyHandle {
    fn drop(&mut self) {
        // Taken in one statement and dropped in the next, when the lock is free again.
        let source = self.0.source.lock().unwrap_or_else(PoisonError::into_inner).take();
        drop(source);
        self.0.sender.wake();
    }
}

#[cfg(test)]
mod tests {
    use futures_util::{StreamExt, stream};

    use super::*;

    async fn collect(len: u64, pieces: Vec<std::io::Result<&'static [u8]>>) -> (usize, Option<BodyFault>) {
        let source = stream::iter(pieces).map(|piece| piece.map(Bytes::from_static)).boxed();
        let deadline = Deadline::new(Duration::from_secs(60));
        let (mut body, _handle) = ExactBody::new(len, source, deadline, Duration::ZERO);
        let mut sent = 0;
        while let Some(piece) = body.next().await {
            match piece {
                Ok(piece) => sent += piece.len(),
                Err(fault) => return (sent, Some(fault)),
            }
        }
        (sent, None)
    }

    #[tokio::test]
    async fn a_body_completes_only_when_its_source_matches_its_length() {
        assert_eq!(collect(6, vec![Ok(b"abc"), Ok(b""), Ok(b"def")]).await, (6, None));
        assert_eq!(
            collect(7, vec![Ok(b"abc"), Ok(b"def")]).await,
            (6, Some(BodyFault::Short))
        );
        assert_eq!(collect(3, vec![]).await, (0, Some(BodyFault::Short)));
        // Too long: the last announced byte is never handed over.
        assert_eq!(
            collect(6, vec![Ok(b"abc"), Ok(b"def"), Ok(b"g")]).await,
            (3, Some(BodyFault::Long))
        );
        assert_eq!(
            collect(5, vec![Ok(b"abc"), Ok(b"def")]).await,
            (3, Some(BodyFault::Long))
        );
        let broken = Err(std::io::Error::other("canary"));
        assert_eq!(
            collect(6, vec![Ok(b"abc"), Ok(b"def"), broken]).await,
            (3, Some(BodyFault::Source))
        );
    }

    #[tokio::test]
    async fn large_pieces_are_cut_so_that_progress_shows() {
        static LARGE: [u8; 200_000] = [0; 200_000];
        let source = stream::iter([Ok(Bytes::from_static(&LARGE))]).boxed();
        let (body, _handle) = ExactBody::new(200_000, source, Deadline::new(Duration::from_secs(60)), Duration::ZERO);
        let lens: Vec<usize> = body.map(|piece| piece.unwrap().len()).collect().await;
        assert_eq!(lens, [65_536, 65_536, 65_536, 3_392]);
    }
}
