//! One socket: TLS, first bytes, which HTTP it is, then hyper under the deadlines of `activity` until it ends.

use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;

use bytes::BytesMut;
use hyper::server::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

use super::activity::{Activity, Deadline};
use super::framing::Framing;
use super::gate::Gate;
use super::service::Entry;
use super::{App, Limits, Tls};

/// What all connections of a listener share.
pub(super) struct Entrance<A> {
    app: A,
    tls: Option<Tls>,
    limits: Arc<Limits>,
    shutdown: CancellationToken,
    http1: http1::Builder,
    http2: http2::Builder<TokioExecutor>,
}

/// How an HTTP/2 client begins (RFC 9113, 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

impl<A: App> Entrance<A> {
    pub(super) fn new(app: A, tls: Option<Tls>, limits: Limits, shutdown: CancellationToken) -> Self {
        let (http1, http2) = (http1_settings(&limits), http2_settings(&limits));
        Self {
            app,
            tls,
            limits: Arc::new(limits),
            shutdown,
            http1,
            http2,
        }
    }
}

fn http1_settings(limits: &Limits) -> http1::Builder {
    // The gate has the exact caps. These only have to let through what it lets through.
    let head_bytes = limits.uri_bytes + limits.header_bytes + 1024;
    let mut http1 = http1::Builder::new();
    http1
        .timer(TokioTimer::new())
        // hyper's timer runs from the end of the last response.
        .header_read_timeout(limits.idle + limits.headers)
        .max_headers(limits.header_count)
        .max_header_size(head_bytes)
        .max_buf_size(head_bytes.max(64 * 1024));
    http1
}

fn http2_settings(limits: &Limits) -> http2::Builder<TokioExecutor> {
    let mut http2 = http2::Builder::new(TokioExecutor::new());
    http2
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.h2_streams)
        // Streams reset before they were accepted, and protocol errors that we answer with a reset.
        .max_pending_accept_reset_streams(20)
        .max_local_error_reset_streams(100)
        .max_header_list_size(u32::try_from(limits.header_bytes).unwrap_or(u32::MAX))
        .max_send_buf_size(64 * 1024)
        .initial_stream_window_size(256 * 1024)
        .initial_connection_window_size(1024 * 1024);
    http2
}

/// Serves a socket until it closes. Everything that goes wrong on the way is the end of this connection only.
pub(super) async fn run<A: App>(entrance: &Entrance<A>, socket: TcpStream, peer: SocketAddr) {
    // Answers are small and whole: waiting to fill a packet only delays them.
    if socket.set_nodelay(true).is_err() {
        return;
    }
    let Some(tls) = &entrance.tls else {
        return greet(entrance, socket, peer).await;
    };
    let handshake = timeout(entrance.limits.tls_handshake, tls.acceptor().accept(socket));
    let stream = tokio::select! {
        () = entrance.shutdown.cancelled() => return,
        stream = handshake => stream,
    };
    match stream {
        Ok(Ok(stream)) => greet(entrance, stream, peer).await,
        Ok(Err(error)) => tracing::debug!(%error, "TLS handshake failed"),
        Err(_) => tracing::debug!("TLS handshake took too long"),
    }
}

async fn greet<A: App, S>(entrance: &Entrance<A>, mut stream: S, peer: SocketAddr)
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let greeting = tokio::select! {
        () = entrance.shutdown.cancelled() => None,
        greeting = first_bytes(&mut stream, &entrance.limits) => greeting,
    };
    let Some(Greeting { bytes, since }) = greeting else {
        return;
    };
    let activity = Activity::new(since);
    let service = Entry {
        app: entrance.app.clone(),
        peer,
        limits: entrance.limits.clone(),
        activity: activity.clone(),
    };
    let stop = entrance.shutdown.cancelled();
    if bytes.starts_with(PREFACE) {
        let gate = Gate::new(stream, Framing::open(), bytes, activity.clone());
        let connection = entrance.http2.serve_connection(TokioIo::new(gate), service);
        drive(connection, &activity, &entrance.limits, stop).await;
    } else {
        let gate = Gate::new(stream, Framing::http1(&entrance.limits), bytes, activity.clone());
        let connection = entrance.http1.serve_connection(TokioIo::new(gate), service);
        drive(connection, &activity, &entrance.limits, stop).await;
    }
}

struct Greeting {
    bytes: BytesMut,
    since: Instant,
}

/// Enough to tell which HTTP it is; nothing when the client is silent, slow or gone.
async fn first_bytes(stream: &mut (impl AsyncRead + Unpin), limits: &Limits) -> Option<Greeting> {
    let mut bytes = BytesMut::with_capacity(4096);
    let read = timeout(limits.first_byte, stream.read_buf(&mut bytes)).await;
    let since = Instant::now();
    if !matches!(read, Ok(Ok(1..))) {
        return None;
    }
    while bytes.len() < PREFACE.len() && PREFACE.starts_with(&bytes) {
        let read = timeout_at(since + limits.headers, stream.read_buf(&mut bytes)).await;
        if !matches!(read, Ok(Ok(1..))) {
            return None;
        }
    }
    Some(Greeting { bytes, since })
}

trait Connection: Future<Output = hyper::Result<()>> {
    /// No further requests; ends when those in flight are answered.
    fn finish(self: Pin<&mut Self>);
}

type Io<S> = TokioIo<Gate<S>>;

impl<S, A: App> Connection for http1::Connection<Io<S>, Entry<A>>
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    fn finish(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}

impl<S, A: App> Connection for http2::Connection<Io<S>, Entry<A>, TokioExecutor>
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    fn finish(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}

/// Runs the connection to its end, or drops it when a deadline says so.
async fn drive(connection: impl Connection, activity: &Activity, limits: &Limits, stop: impl Future<Output = ()>) {
    let mut connection = pin!(connection);
    let mut stop = pin!(stop);
    let mut stopping = false;
    let mut timer = pin!(sleep_until(Instant::now()));
    poll_fn(|cx| {
        activity.register(cx.waker());
        if !stopping && stop.as_mut().poll(cx).is_ready() {
            stopping = true;
            connection.as_mut().finish();
        }
        loop {
            if let Poll::Ready(ended) = connection.as_mut().poll(cx) {
                if let Err(error) = ended {
                    tracing::debug!(%error, "A connection ended early");
                }
                return Poll::Ready(());
            }
            let deadline = activity.deadline(limits);
            let at = match deadline {
                Deadline::None => return Poll::Pending,
                Deadline::Abuse => {
                    tracing::debug!("Dropped a connection that abandons too many requests");
                    return Poll::Ready(());
                }
                Deadline::Close(at) | Deadline::Drop(at) => at,
            };
            timer.as_mut().reset(at);
            if timer.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            if matches!(deadline, Deadline::Drop(_)) {
                return Poll::Ready(());
            }
            activity.closing();
            connection.as_mut().finish();
        }
    })
    .await;
}
