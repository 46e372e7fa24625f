//! The client against real sockets. Servers are raw, so that a test sees and sends exact bytes.

mod addresses;
mod answers;
mod lost;
mod names;
mod observe;
mod proxy;
mod simulator;
mod tls;
mod upload;

use std::{
    collections::HashMap,
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use patchbay_app::wire::{WireBody, WireError, WireRequest};
use patchbay_core::ProviderId;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

use crate::{Config, Egress, Lookup};

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
/// The host that [`simulated`] maps to a server.
const HOST: &str = "api.example.com";

/// A listener that runs a script per connection and counts connections.
struct Server {
    address: SocketAddr,
    connects: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Server {
    async fn start<F, S>(script: F) -> Self
    where
        F: Fn(TcpStream) -> S + Send + 'static,
        S: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind((LOOPBACK, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let connects = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&connects);
        let task = tokio::spawn(async move {
            let mut scripts = tokio::task::JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                counter.fetch_add(1, Ordering::SeqCst);
                scripts.spawn(script(stream));
            }
        });
        Self {
            address,
            connects,
            task,
        }
    }

    /// Reads one request per connection, gives a fixed answer and closes.
    async fn answering(answer: impl Into<Vec<u8>>) -> Self {
        let answer: Arc<[u8]> = answer.into().into();
        Self::start(move |mut stream| {
            let answer = Arc::clone(&answer);
            async move {
                read_request(&mut stream).await;
                // The client may have cut the connection already; then there is nobody to tell.
                stream.write_all(&answer).await.ok();
            }
        })
        .await
    }

    /// Whoever connects here should not have.
    async fn canary() -> Self {
        Self::start(|_| async {}).await
    }

    fn connects(&self) -> usize {
        self.connects.load(Ordering::SeqCst)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The head of a request, up to the empty line.
async fn read_head(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => break,
        }
    }
    String::from_utf8(head).unwrap()
}

/// Head and body of a request with `Content-Length`.
async fn read_request(stream: &mut (impl AsyncRead + Unpin)) -> (String, Vec<u8>) {
    let head = read_head(stream).await;
    let len = header(&head, "content-length").map_or(0, |len| len.parse().unwrap());
    let mut body = Vec::new();
    stream.take(len).read_to_end(&mut body).await.unwrap();
    (head, body)
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().find_map(|line| {
        let (found, value) = line.split_once(':')?;
        found.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

fn ok(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

fn tiktok() -> ProviderId {
    ProviderId::parse("tiktok").unwrap()
}

/// A call with generous limits.
fn get(url: impl Into<String>) -> WireRequest {
    let url: String = url.into();
    WireRequest {
        provider: tiktok(),
        op: "video.init".to_owned(),
        correlation_id: "cor-1".to_owned(),
        method: "GET".to_owned(),
        url: url.into(),
        headers: Vec::new(),
        body: WireBody::Empty,
        timeout: Duration::from_secs(20),
        max_answer_bytes: 64 * 1024,
    }
}

fn simulator_config(server: &Server) -> Config {
    let hosts = HashMap::from([(HOST.to_owned(), server.address)]);
    Config {
        simulators: HashMap::from([(tiktok(), hosts)]),
        ..Config::default()
    }
}

/// A client for which [`HOST`] is `server`.
fn simulated(server: &Server) -> Egress {
    Egress::with_lookup(simulator_config(server), Names::fixed(&[])).unwrap()
}

/// A resolver by closure, which is told how often it was asked before.
struct Names<F> {
    asked: AtomicUsize,
    answer: F,
}

impl Names<()> {
    fn new<F>(answer: F) -> Arc<Names<F>>
    where
        F: Fn(usize) -> io::Result<Vec<IpAddr>> + Send + Sync + 'static,
    {
        Arc::new(Names {
            asked: AtomicUsize::new(0),
            answer,
        })
    }

    fn fixed(addresses: &[&str]) -> Arc<dyn Lookup> {
        let addresses: Vec<IpAddr> = addresses.iter().map(|text| text.parse().unwrap()).collect();
        Names::new(move |_| Ok(addresses.clone()))
    }
}

#[async_trait]
impl<F: Fn(usize) -> io::Result<Vec<IpAddr>> + Send + Sync + 'static> Lookup for Names<F> {
    async fn lookup(&self, _name: &str) -> io::Result<Vec<IpAddr>> {
        (self.answer)(self.asked.fetch_add(1, Ordering::SeqCst))
    }
}

#[track_caller]
fn assert_lost<T: std::fmt::Debug>(result: Result<T, WireError>, reason: &str) {
    match result {
        Err(WireError::Lost(text)) if text.contains(reason) => {}
        other => panic!("expected lost: {reason}, got {other:?}"),
    }
}

#[track_caller]
fn assert_not_sent<T: std::fmt::Debug>(result: Result<T, WireError>, reason: &str) {
    match result {
        Err(WireError::NotSent(text)) if text.contains(reason) => {}
        other => panic!("expected not sent: {reason}, got {other:?}"),
    }
}

#[track_caller]
fn assert_blocked<T: std::fmt::Debug>(result: &Result<T, WireError>, what: &str) {
    assert!(
        matches!(result, Err(WireError::Blocked(_))),
        "{what}: expected blocked, got {result:?}"
    );
}
