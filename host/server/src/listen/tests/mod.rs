//! Real sockets on the loopback. Each test shortens the one deadline it is about and leaves the others at an hour,
//! then waits for what must happen. Nothing here measures time.

mod caps;
mod deadlines;
mod protocols;
mod smuggling;

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{ConnectInfo, State};
use axum::response::IntoResponse;
use axum::routing::{get, post};
use bytes::Bytes;
use http::StatusCode;
use http_body_util::BodyExt;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use super::*;

const HOUR: Duration = Duration::from_secs(3600);
/// Over soon, and not before what is in time has come, on a machine that has other work.
const SHORT: Duration = Duration::from_millis(300);
const SLOW_READER_PAUSE: Duration = Duration::from_millis(500);
/// Only reached when a test fails.
const PATIENCE: Duration = Duration::from_secs(60);

fn patient() -> Limits {
    Limits {
        first_byte: HOUR,
        tls_handshake: HOUR,
        headers: HOUR,
        idle: HOUR,
        body_idle: HOUR,
        body_bytes_per_second: 0,
        body_rate_window: HOUR,
        response_stall: HOUR,
        linger: Duration::from_millis(200),
        drain: HOUR,
        ..Limits::default()
    }
}

/// What the router tells the test, and the other way round.
#[derive(Default)]
struct World {
    requests: AtomicUsize,
    started: Notify,
    release: Notify,
    dropped: Notify,
}

struct Server {
    addr: SocketAddr,
    world: Arc<World>,
    shutdown: CancellationToken,
    task: JoinHandle<()>,
}

impl Server {
    async fn start(limits: Limits) -> Self {
        Self::start_with(limits, None).await
    }

    async fn start_with(limits: Limits, tls: Option<Tls>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let world = Arc::<World>::default();
        let shutdown = CancellationToken::new();
        let task = tokio::spawn(serve(listener, router(world.clone()), tls, limits, shutdown.clone()));
        Self {
            addr,
            world,
            shutdown,
            task,
        }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.addr).await.unwrap()
    }

    /// Sends `bytes` and reads until the server closes.
    async fn exchange(&self, bytes: impl AsRef<[u8]>) -> String {
        let mut socket = self.connect().await;
        socket.write_all(bytes.as_ref()).await.unwrap();
        text(closed(&mut socket).await)
    }

    fn requests(&self) -> usize {
        self.world.requests.load(Ordering::SeqCst)
    }
}

fn router(world: Arc<World>) -> Router {
    Router::new()
        .route("/", get(hello))
        .route("/peer", get(peer))
        .route("/length", post(length))
        .route("/slow-reader", post(slow_reader))
        .route("/wait", get(wait))
        .route("/endless", get(endless))
        .route("/pausing", get(pausing))
        .route("/large", get(large))
        .with_state(world)
}

async fn hello(State(world): State<Arc<World>>) -> &'static str {
    world.requests.fetch_add(1, Ordering::SeqCst);
    "hello"
}

async fn peer(ConnectInfo(peer): ConnectInfo<SocketAddr>) -> String {
    peer.to_string()
}

async fn length(State(world): State<Arc<World>>, body: Body) -> impl IntoResponse {
    world.requests.fetch_add(1, Ordering::SeqCst);
    world.started.notify_one();
    match body.collect().await {
        Ok(body) => (StatusCode::OK, body.to_bytes().len().to_string()),
        Err(error) if is_body_stalled(&error) => (StatusCode::REQUEST_TIMEOUT, error.to_string()),
        Err(error) => (StatusCode::BAD_REQUEST, error.to_string()),
    }
}

/// Waits for a piece, is busy for longer than a client may be silent, and goes on.
async fn slow_reader(State(world): State<Arc<World>>, mut body: Body) -> Result<String, StatusCode> {
    let mut length = 0;
    world.started.notify_one();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| StatusCode::REQUEST_TIMEOUT)?;
        length += frame.data_ref().map_or(0, Bytes::len);
        tokio::time::sleep(SLOW_READER_PAUSE).await;
        world.started.notify_one();
    }
    Ok(length.to_string())
}

async fn wait(State(world): State<Arc<World>>) -> &'static str {
    let gone = DropNotice(world.clone());
    world.started.notify_one();
    world.release.notified().await;
    drop(gone);
    "done"
}

async fn endless(State(world): State<Arc<World>>) -> Body {
    Body::from_stream(futures_util::stream::unfold(DropNotice(world), async |gone| {
        tokio::task::yield_now().await;
        Some((Ok::<_, std::io::Error>(Bytes::from_static(&[0; 16 * 1024])), gone))
    }))
}

async fn pausing(State(world): State<Arc<World>>) -> Body {
    Body::from_stream(futures_util::stream::unfold(0, move |sent| {
        let world = world.clone();
        async move {
            if sent == 1 {
                world.release.notified().await;
            }
            let piece = ["one", "two"].get(sent)?;
            Some((Ok::<_, std::io::Error>(Bytes::from_static(piece.as_bytes())), sent + 1))
        }
    }))
}

async fn large() -> Vec<u8> {
    vec![b'x'; 8 << 20]
}

struct DropNotice(Arc<World>);

impl Drop for DropNotice {
    fn drop(&mut self) {
        self.0.dropped.notify_one();
    }
}

async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future)
        .await
        .unwrap_or_else(|_| panic!("still waiting: {what}"))
}

/// Everything the server sends until it closes. A reset is a way to close.
async fn closed(stream: &mut (impl AsyncRead + Unpin)) -> Vec<u8> {
    let mut received = Vec::new();
    within("for the server to close", async {
        while let Ok(1..) = stream.read_buf(&mut received).await {}
    })
    .await;
    received
}

/// Reads until `end` has come.
async fn read_until(stream: &mut (impl AsyncRead + Unpin), end: &str) -> String {
    let mut received = Vec::new();
    within("for an answer", async {
        while !received.ends_with(end.as_bytes()) {
            let read = stream.read_buf(&mut received).await.unwrap();
            assert!(read > 0, "closed after {:?}", String::from_utf8_lossy(&received));
        }
    })
    .await;
    text(received)
}

/// Keeps writing `piece` every few milliseconds until the server has closed, and says what it answered.
async fn drip(socket: TcpStream, piece: &'static [u8]) -> String {
    let (mut read, mut write) = socket.into_split();
    let writer = tokio::spawn(async move {
        let mut pause = tokio::time::interval(Duration::from_millis(5));
        loop {
            pause.tick().await;
            if write.write_all(piece).await.is_err() {
                break;
            }
        }
    });
    let received = closed(&mut read).await;
    writer.abort();
    text(received)
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).expect("text")
}

fn status(answer: &str) -> &str {
    answer.lines().next().unwrap_or("nothing")
}

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const LAST_GET: &str = "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";

/// HTTP/2 frames by hand, for clients that misbehave.
mod h2 {
    pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    const HEADERS: u8 = 1;
    const RST_STREAM: u8 = 3;
    const SETTINGS: u8 = 4;
    pub const END_STREAM: u8 = 1;
    pub const END_HEADERS: u8 = 4;

    pub fn settings() -> Vec<u8> {
        frame(SETTINGS, 0, 0, &[])
    }

    /// `GET http://a{path}`, each field literal or from the static table of HPACK.
    pub fn get(stream: u32, flags: u8, path: &str) -> Vec<u8> {
        let mut block = vec![0x82, 0x86, 0x41, 1, b'a', 0x44, path.len() as u8];
        block.extend_from_slice(path.as_bytes());
        frame(HEADERS, flags, stream, &block)
    }

    pub fn reset(stream: u32) -> Vec<u8> {
        frame(RST_STREAM, 0, stream, &8u32.to_be_bytes())
    }

    fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
        let mut frame = (payload.len() as u32).to_be_bytes()[1..].to_vec();
        frame.extend([kind, flags]);
        frame.extend(stream.to_be_bytes());
        frame.extend_from_slice(payload);
        frame
    }
}
