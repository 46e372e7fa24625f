//! The stream between the socket and hyper. What the client sends passes through [`Framing`] first: heads go on whole
//! or not at all, and a refused head is replaced by a harmless one that the service answers with the right status,
//! after the responses that are still due.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_util::io::poll_read_buf;

use super::activity::Activity;
use super::framing::{Framing, Step};

pub(super) struct Gate<S> {
    stream: S,
    framing: Framing,
    activity: Arc<Activity>,
    /// Read and not yet handed on; so many bytes at its front may be.
    raw: BytesMut,
    passed: usize,
    /// Nothing that comes now counts.
    deaf: bool,
    ended: bool,
    write_closed: bool,
    discarded: usize,
}

/// Stands in for a refused head: valid whatever was sent, and the last one of its connection.
const STAND_IN: &[u8] = b"GET / HTTP/1.1\r\nhost: refused\r\nconnection: close\r\n\r\n";
/// An idle connection keeps this much.
const HEAD_READ_BYTES: usize = 4 * 1024;
const READ_BYTES: usize = 32 * 1024;
/// Read and thrown away after the last answer, so that closing the socket does not destroy it.
const DISCARD_BYTES: usize = 1024 * 1024;

impl<S: AsyncRead + AsyncWrite + Unpin> Gate<S> {
    /// `read` is what has already come in.
    pub(super) fn new(stream: S, framing: Framing, read: BytesMut, activity: Arc<Activity>) -> Self {
        Self {
            stream,
            framing,
            activity,
            raw: read,
            passed: 0,
            deaf: false,
            ended: false,
            write_closed: false,
            discarded: 0,
        }
    }

    /// Decides on what has been read. Ready once something may go on, or nothing ever will.
    fn poll_passed(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.passed == 0 && !self.deaf {
            match self.framing.step(&self.raw) {
                Step::Pass(len) => self.passed = len,
                Step::PassHead(len) => {
                    self.activity.head_passed();
                    self.passed = len;
                }
                Step::Refuse(status) => {
                    tracing::debug!(
                        http.status = status.as_u16(),
                        "Refused a malformed or oversized request head"
                    );
                    self.activity.head_refused(status);
                    self.deaf = true;
                    self.raw.clear();
                    self.raw.extend_from_slice(STAND_IN);
                    self.passed = STAND_IN.len();
                }
                Step::Broken => {
                    self.deaf = true;
                    self.raw.clear();
                    return Poll::Ready(Err(io::Error::new(
                        io::ErrorKind::InvalidData,
                        "the request body is not framed as it must be",
                    )));
                }
                Step::More => {
                    let at_head = self.framing.at_head();
                    if at_head && !self.raw.is_empty() {
                        self.activity.head_begun();
                    }
                    self.raw.reserve(if at_head { HEAD_READ_BYTES } else { READ_BYTES });
                    let read = ready!(poll_read_buf(Pin::new(&mut self.stream), cx, &mut self.raw))?;
                    if read == 0 {
                        self.ended = true;
                        return Poll::Ready(Ok(()));
                    }
                }
            }
        }
        Poll::Ready(Ok(()))
    }

    /// The client may still be sending what nobody will read.
    fn is_clean(&self) -> bool {
        self.ended || (!self.deaf && self.framing.at_head() && self.raw.is_empty())
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Gate<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_passed(cx))?;
        if this.passed == 0 && this.deaf && !this.ended {
            // Not the end: hyper would take that for a client that is gone, and drop its answer.
            return this.poll_discarded(cx);
        }
        let now = this.passed.min(buf.remaining());
        buf.put_slice(&this.raw[..now]);
        this.raw.advance(now);
        this.passed -= now;
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Gate<S> {
    /// Reads and forgets, until the client stops or has sent more than is reasonable. Ready means the end.
    fn poll_discarded(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.discarded < DISCARD_BYTES {
            self.raw.clear();
            self.raw.reserve(READ_BYTES);
            let read = ready!(poll_read_buf(Pin::new(&mut self.stream), cx, &mut self.raw))?;
            if read == 0 {
                break;
            }
            self.discarded += read;
        }
        self.raw.clear();
        self.ended = true;
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Gate<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    /// Closes our side. If the client may still be sending, it also waits for its end, as closing a socket with
    /// unread bytes sends a reset that can overtake the answer. The driver bounds the wait.
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if !this.write_closed {
            this.activity.closing();
            ready!(Pin::new(&mut this.stream).poll_shutdown(cx))?;
            this.write_closed = true;
        }
        if this.is_clean() {
            return Poll::Ready(Ok(()));
        }
        this.deaf = true;
        this.poll_discarded(cx)
    }
}
