//! Serves a router on a listener and can cut a connection instead of answering.
//!
//! A lost answer is the fault that double posts come from, and a plain HTTP framework cannot play it: it
//! always answers. So each connection is driven here, and a response marked with [`Cut`] ends the connection.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::response::Response;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio::task::{JoinHandle, JoinSet};
use tower::ServiceExt;

/// More open connections than a test or a demo ever needs; beyond it new ones wait.
const MAX_CONNECTIONS: usize = 512;

/// Marks a response that must never be sent: the connection is closed without a byte.
#[derive(Clone, Copy, Debug)]
pub struct Cut;

/// A response that [`spawn`] turns into a closed connection.
pub fn cut() -> Response {
    let mut response = Response::new(Body::empty());
    response.extensions_mut().insert(Cut);
    response
}

/// Binds an address; port 0 picks a free one.
///
/// # Errors
/// The address is taken or not ours.
pub async fn bind(address: SocketAddr) -> io::Result<(TcpListener, SocketAddr)> {
    let listener = TcpListener::bind(address).await?;
    let bound = listener.local_addr()?;
    Ok((listener, bound))
}

/// Serves until `stop` turns true or its sender is gone; open connections are closed then.
pub fn spawn(listener: TcpListener, router: Router, stop: watch::Receiver<bool>) -> JoinHandle<()> {
    tokio::spawn(accept(listener, router, stop))
}

async fn accept(listener: TcpListener, router: Router, mut stop: watch::Receiver<bool>) {
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            _ = stop.wait_for(|stopped| *stopped) => break,
            Some(_) = connections.join_next() => continue,
            accepted = listener.accept() => accepted,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::debug!(%error, "A connection was gone before it was accepted");
                // Out of file descriptors shows here; without a pause the loop would spin.
                tokio::time::sleep(Duration::from_millis(20)).await;
                continue;
            }
        };
        let Ok(place) = Arc::clone(&places).acquire_owned().await else {
            break;
        };
        stream.set_nodelay(true).ok();
        let router = router.clone();
        connections.spawn(async move {
            let service = service_fn(move |request| answer(router.clone(), request));
            let served = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(Duration::from_secs(120))
                .serve_connection(TokioIo::new(stream), service)
                .await;
            if let Err(error) = served {
                tracing::debug!(%error, "A connection ended early");
            }
            drop(place);
        });
    }
}

async fn answer(router: Router, request: hyper::Request<Incoming>) -> Result<Response, ConnectionCut> {
    let response = match router.oneshot(request.map(Body::new)).await {
        Ok(response) => response,
        Err(never) => match never {},
    };
    if response.extensions().get::<Cut>().is_some() {
        return Err(ConnectionCut);
    }
    Ok(response)
}

#[derive(Debug)]
struct ConnectionCut;

impl fmt::Display for ConnectionCut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("connection cut on purpose")
    }
}

impl std::error::Error for ConnectionCut {}
