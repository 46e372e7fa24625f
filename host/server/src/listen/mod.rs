//! The front door: accepts sockets, speaks TLS, HTTP/1.1 and HTTP/2, and hands requests to the application.
//!
//! `axum::serve` sets no timer, so a silent client can hold a socket for ever. Here every phase of a connection has
//! a deadline and every input a cap (`reference/security.md`, 4.10, T68 and T69). `connection` walks one socket
//! through its phases, `framing` is the strict HTTP/1 reader that runs before hyper's lenient one, `activity` knows
//! which deadline applies. What a request means (size by route, authentication, encodings) is the application's business.

mod activity;
mod body;
mod connection;
mod framing;
mod gate;
mod seats;
mod service;
mod tls;

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use http::{Request, Response};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::Service;

pub use body::{BodyStalled, is_body_stalled};
pub use tls::{Tls, TlsError};

use connection::Entrance;
use seats::Seats;

/// Deadlines and caps of the listener. The default is what production uses.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Open connections in all; one more is closed at once.
    pub sockets: usize,
    /// Open connections from one IPv4 address or one IPv6 /64. Behind a reverse proxy every client has the proxy's
    /// address: raise it to `sockets` there.
    pub sockets_per_ip: usize,
    /// From accept (or the end of the TLS handshake) to the first byte.
    pub first_byte: Duration,
    pub tls_handshake: Duration,
    /// From the first byte of a request to the end of its headers; for HTTP/2 also to the first request.
    pub headers: Duration,
    /// Between requests on an open connection.
    pub idle: Duration,
    /// The longest gap inside a request body that somebody waits for.
    pub body_idle: Duration,
    /// The slowest body: at least this many bytes a second, looked at once per `body_rate_window`.
    pub body_bytes_per_second: u64,
    pub body_rate_window: Duration,
    /// How long a response may wait for a client that does not read.
    pub response_stall: Duration,
    /// After a refusal or an expired deadline: time for the last answer to arrive before the socket is dropped.
    pub linger: Duration,
    /// After shutdown begins: time for requests in flight.
    pub drain: Duration,
    pub uri_bytes: usize,
    pub header_bytes: usize,
    pub header_count: usize,
    /// HTTP/2 streams open at once on a connection.
    pub h2_streams: u32,
    /// HTTP/2 requests a client may abandon in `H2_RESET_WINDOW` before the connection is closed (rapid reset).
    pub h2_resets: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            sockets: 2_000,
            sockets_per_ip: 64,
            first_byte: Duration::from_secs(5),
            tls_handshake: Duration::from_secs(5),
            headers: Duration::from_secs(10),
            idle: Duration::from_secs(30),
            body_idle: Duration::from_secs(15),
            body_bytes_per_second: 16 * 1024,
            body_rate_window: Duration::from_secs(30),
            response_stall: Duration::from_secs(30),
            linger: Duration::from_secs(1),
            drain: Duration::from_secs(30),
            uri_bytes: 8 * 1024,
            header_bytes: 32 * 1024,
            header_count: 100,
            h2_streams: 100,
            h2_resets: 200,
        }
    }
}

/// Time over which abandoned HTTP/2 requests are counted.
const H2_RESET_WINDOW: Duration = Duration::from_secs(10);

/// Pause after an accept error that the next accept would meet again, such as no free file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What answers requests: a router, or something in front of it.
pub trait App:
    Service<Request<Body>, Response = Response<Body>, Error = Infallible, Future: Send> + Clone + Send + Sync + 'static
{
}

impl<S> App for S where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible, Future: Send>
        + Clone
        + Send
        + Sync
        + 'static
{
}

/// Serves `app` until `shutdown`, then lets requests in flight finish for at most `limits.drain`.
///
/// Every request carries `ConnectInfo<SocketAddr>` with the peer's address. Dropping the future closes every
/// connection at once.
pub async fn serve(
    listener: TcpListener,
    app: impl App,
    tls: Option<Tls>,
    limits: Limits,
    shutdown: CancellationToken,
) {
    let connections = TaskTracker::new();
    let kill = CancellationToken::new();
    let _kill_on_drop = kill.clone().drop_guard();
    let seats = Seats::new(limits.sockets, limits.sockets_per_ip);
    let drain = limits.drain;
    let entrance = Arc::new(Entrance::new(app, tls, limits, shutdown.clone()));

    loop {
        let accepted = tokio::select! {
            biased;
            () = shutdown.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        let (socket, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                if !is_peers_fault(&error) {
                    tracing::error!(%error, "Cannot accept connections");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
                continue;
            }
        };
        let Some(seat) = seats.take(peer.ip()) else {
            tracing::debug!(peer.ip = %peer.ip(), "Too many connections, closed a new one");
            continue;
        };
        let (entrance, kill) = (entrance.clone(), kill.clone());
        connections.spawn(async move {
            tokio::select! {
                () = kill.cancelled() => {}
                () = connection::run(&entrance, socket, peer) => {}
            }
            drop(seat);
        });
    }

    // New clients are refused by the system from here on, not left waiting in the backlog.
    drop(listener);
    connections.close();
    if tokio::time::timeout(drain, connections.wait()).await.is_err() {
        tracing::warn!(
            connections.open = connections.len(),
            "Requests still in flight after the drain time, closing their connections"
        );
        kill.cancel();
        connections.wait().await;
    }
}

/// The connection broke before it was taken; the listener itself is fine.
fn is_peers_fault(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionRefused | io::ErrorKind::ConnectionReset
    )
}

#[cfg(test)]
mod tests;
