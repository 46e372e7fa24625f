//! A receiver of events on loopback: what a tenant has at its endpoint. It notes what comes, and answers as told.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::{Request, State},
    http::HeaderMap,
    response::Response,
};
use base64::{Engine, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use serde_json::Value;
use sha2::Sha256;
use tokio::net::TcpListener;

/// What came.
#[derive(Debug, Clone)]
pub struct Got {
    pub host: String,
    pub path: String,
    pub headers: HeaderMap,
    pub body: Bytes,
}

/// An answer.
#[derive(Debug, Clone)]
pub enum Answer {
    /// This status with these headers and body.
    Whole(u16, Vec<(&'static str, String)>, String),
    /// 200, and a body without an end.
    Endless,
    /// None.
    Never,
}

impl Answer {
    pub fn status(status: u16) -> Self {
        Self::Whole(status, Vec::new(), String::new())
    }

    pub fn with(status: u16, name: &'static str, value: impl Into<String>) -> Self {
        Self::Whole(status, vec![(name, value.into())], String::new())
    }
}

#[derive(Default)]
struct Inner {
    got: Vec<Got>,
    next: VecDeque<Answer>,
    always: Option<Answer>,
}

/// A running receiver. It answers 204 unless told otherwise.
#[derive(Clone)]
pub struct Receiver {
    pub address: SocketAddr,
    inner: Arc<Mutex<Inner>>,
}

impl Receiver {
    pub async fn start() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let receiver = Self {
            address: listener.local_addr().unwrap(),
            inner: Arc::default(),
        };
        let router = Router::new().fallback(take).with_state(receiver.clone());
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        receiver
    }

    /// The value of `egress.simulated_receivers` by which these hosts lead here.
    pub fn hosts(&self, names: &[&str]) -> String {
        let hosts: Vec<_> = names.iter().map(|name| format!("{name}={}", self.address)).collect();
        hosts.join(",")
    }

    /// The next answers.
    pub fn answer(&self, answers: impl IntoIterator<Item = Answer>) {
        self.inner.lock().unwrap().next.extend(answers);
    }

    /// The answer to all that has none of its own; `None`: 204.
    pub fn always(&self, answer: Option<Answer>) {
        self.inner.lock().unwrap().always = answer;
    }

    /// All that came.
    pub fn got(&self) -> Vec<Got> {
        self.inner.lock().unwrap().got.clone()
    }

    /// What came at a host.
    pub fn at(&self, host: &str) -> Vec<Got> {
        self.got().into_iter().filter(|got| got.host == host).collect()
    }

    /// Waits until so much has come.
    pub async fn until(&self, count: usize) {
        for _ in 0..18_000 {
            if self.got().len() >= count {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("{} of {count} came", self.got().len());
    }
}

async fn take(State(receiver): State<Receiver>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let got = Got {
        host: parts.headers["host"].to_str().unwrap().to_owned(),
        path: parts.uri.to_string(),
        headers: parts.headers,
        body: axum::body::to_bytes(body, 1 << 20).await.unwrap(),
    };
    let answer = {
        let mut inner = receiver.inner.lock().unwrap();
        inner.got.push(got);
        inner.next.pop_front().or_else(|| inner.always.clone())
    };
    match answer {
        None => Response::builder().status(204).body(Body::empty()).unwrap(),
        Some(Answer::Whole(status, headers, body)) => {
            let mut response = Response::builder().status(status);
            for (name, value) in headers {
                response = response.header(name, value);
            }
            response.body(Body::from(body)).unwrap()
        }
        Some(Answer::Endless) => {
            let chunks =
                futures_util::stream::repeat_with(|| Ok::<_, std::io::Error>(Bytes::from_static(&[b'x'; 4096])));
            Response::new(Body::from_stream(chunks))
        }
        Some(Answer::Never) => std::future::pending().await,
    }
}

impl Got {
    pub fn header(&self, name: &str) -> &str {
        self.headers[name].to_str().unwrap()
    }

    pub fn id(&self) -> &str {
        self.header("webhook-id")
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// Name of the event.
    pub fn event(&self) -> String {
        self.json()["type"].as_str().unwrap().to_owned()
    }

    /// How many signatures there are, and which of them this secret has made, counted anew from the specification.
    pub fn signed_by(&self, secret: &str) -> (usize, Vec<usize>) {
        let key = STANDARD.decode(secret.strip_prefix("whsec_").unwrap()).unwrap();
        assert_eq!(key.len(), 32);
        let mut mac = Hmac::<Sha256>::new_from_slice(&key).unwrap();
        mac.update(self.id().as_bytes());
        mac.update(b".");
        mac.update(self.header("webhook-timestamp").as_bytes());
        mac.update(b".");
        mac.update(&self.body);
        let wanted = format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()));
        let all: Vec<_> = self.header("webhook-signature").split(' ').collect();
        let mine = (0..all.len()).filter(|place| all[*place] == wanted).collect();
        (all.len(), mine)
    }

    #[track_caller]
    pub fn verify(&self, secret: &str) {
        assert_eq!(self.signed_by(secret), (1, vec![0]), "{self:?}");
    }
}

/// URLs that no tenant may have called (T49, T55, T57). `known` is a host that may be, and something listens at `port` on loopback.
pub fn leading_inside(known: &str, port: u16) -> Vec<String> {
    let mut urls = vec![
        format!("https://127.0.0.1:{port}/"),
        format!("http://{known}/"),
        format!("https://{known}:{port}/"),
        format!("https://u:p@{known}/"),
        format!("https://u@{known}/"),
        format!("https://{known}/\r\nX: y"),
        format!("https://{known}/%0d%0aX:y"),
        format!("https://{known}/\0"),
        known.to_owned(),
        String::new(),
        format!("https://{known}/{}", "a".repeat(5_000)),
    ];
    for host in [
        "127.0.0.1",
        "2130706433",
        "0x7f000001",
        "017700000001",
        "127.1",
        "localhost",
        "a.localhost",
        "0",
        "10.0.0.1",
        "172.16.0.1",
        "192.168.0.1",
        "100.64.0.1",
        "169.254.169.254",
        "2852039166",
        "168.63.129.16",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[64:ff9b::7f00:1]",
        "[2002:7f00:1::]",
        "[2001:0:7f00:1::]",
        "[fe80::1%25lo]",
        "[fc00::1]",
        "１２７.０.０.１",
        "127.0.0.1.",
        "224.0.0.1",
        "255.255.255.255",
    ] {
        urls.push(format!("https://{host}/"));
        urls.push(format!("https://{host}:8443/"));
    }
    urls
}
