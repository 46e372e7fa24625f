//! Stands between a host and its S3-compatible store: knows which multipart uploads are open, aborts them, which s3rver cannot,
//! and fails as told.

use std::{
    collections::BTreeSet,
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    http::{Method, StatusCode},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use tokio::net::TcpListener;

/// How the store is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mood {
    /// Well.
    Well,
    /// It answers 503 to everything that writes, or to everything.
    Down { reads: bool },
    /// It hangs up on everything.
    Gone,
    /// It gives the first bytes of what is read, and hangs up.
    Short,
}

#[derive(Clone)]
pub struct S3Proxy {
    pub address: SocketAddr,
    store: String,
    mood: Arc<Mutex<Mood>>,
    open: Arc<Mutex<BTreeSet<String>>>,
    http: reqwest::Client,
}

impl S3Proxy {
    pub async fn start(store: &str) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let proxy = Self {
            address: listener.local_addr().unwrap(),
            store: store.to_owned(),
            mood: Arc::new(Mutex::new(Mood::Well)),
            open: Arc::default(),
            http: patchbay_simkit::outbound::client(std::time::Duration::from_secs(60)).unwrap(),
        };
        let router = Router::new().fallback(pass).with_state(proxy.clone());
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        proxy
    }

    pub fn is(&self, mood: Mood) {
        *self.mood.lock().unwrap() = mood;
    }

    /// Multipart uploads that were begun, and neither completed nor aborted.
    pub fn open(&self) -> usize {
        self.open.lock().unwrap().len()
    }

    fn mood(&self) -> Mood {
        *self.mood.lock().unwrap()
    }
}

async fn pass(State(proxy): State<S3Proxy>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let reads = matches!(parts.method, Method::GET | Method::HEAD);
    match proxy.mood() {
        Mood::Gone => return cut(),
        Mood::Down { reads: all } if all || !reads => {
            return StatusCode::SERVICE_UNAVAILABLE.into_response();
        }
        _ => {}
    }
    let query = parts.uri.query().unwrap_or_default().to_owned();
    let upload = query
        .split('&')
        .find_map(|pair| pair.strip_prefix("uploadId="))
        .map(str::to_owned);
    if let Some(upload) = upload.as_ref().filter(|_| parts.method == Method::DELETE) {
        let known = proxy.open.lock().unwrap().remove(upload);
        return if known {
            StatusCode::NO_CONTENT
        } else {
            StatusCode::NOT_FOUND
        }
        .into_response();
    }
    // One that was aborted is no more.
    if let Some(upload) = &upload
        && !proxy.open.lock().unwrap().contains(upload)
    {
        return StatusCode::NOT_FOUND.into_response();
    }
    let body = axum::body::to_bytes(body, usize::MAX).await.unwrap_or_default();
    let url = format!("{}{}", proxy.store, parts.uri);
    let sent = proxy
        .http
        .request(parts.method.clone(), url)
        .headers(parts.headers)
        .body(body);
    let Ok(answer) = sent.send().await else { return cut() };
    let (status, headers) = (answer.status(), answer.headers().clone());
    let Ok(bytes) = answer.bytes().await else { return cut() };
    if parts.method == Method::POST && status.is_success() {
        match upload {
            Some(upload) => drop(proxy.open.lock().unwrap().remove(&upload)),
            None => drop(begun(&bytes).map(|id| proxy.open.lock().unwrap().insert(id))),
        }
    }
    let short = proxy.mood() == Mood::Short && parts.method == Method::GET && !query.contains("list-type");
    let body = if short {
        let first = bytes.slice(..bytes.len() / 2);
        Body::from_stream(futures_util::stream::iter([
            Ok(first),
            Err(std::io::Error::other("cut")),
        ]))
    } else {
        Body::from(bytes)
    };
    let mut response = Response::new(body);
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}

/// Hangs up without an answer.
fn cut() -> Response {
    let nothing = futures_util::stream::iter([Err::<Bytes, _>(std::io::Error::other("cut"))]);
    let mut response = Response::new(Body::from_stream(nothing));
    response.headers_mut().insert("content-length", "1".parse().unwrap());
    response
}

fn begun(answer: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(answer).ok()?;
    let (_, rest) = text.split_once("<UploadId>")?;
    Some(rest.split_once("</UploadId>")?.0.to_owned())
}
