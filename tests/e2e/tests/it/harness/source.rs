//! A server of files on loopback, from which the host fetches. It notes what is asked, and does as told, also what no server
//! should.

use std::{
    collections::{HashMap, VecDeque},
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::Notify,
};

/// What it does with one request.
pub enum Turn {
    /// Gives the file as it is.
    Well,
    /// Says that it will, and hangs up after so many bytes of the body.
    Cut(usize),
    /// As [`Turn::Cut`], but goes on when told to.
    Hold(usize, Arc<Notify>),
    /// Sends this and hangs up.
    Raw(String),
}

/// The file that it has.
#[derive(Clone)]
pub struct File {
    pub bytes: Bytes,
    pub etag: Option<&'static str>,
    /// Whether it takes `Range`.
    pub ranges: bool,
    /// Whether it says how long the file is.
    pub length: bool,
}

impl File {
    pub fn of(bytes: Bytes) -> Self {
        Self {
            bytes,
            etag: Some("\"v1\""),
            ranges: true,
            length: true,
        }
    }
}

/// One request: its path, and its headers in lower case.
#[derive(Debug, Clone)]
pub struct Asked {
    pub path: String,
    pub headers: HashMap<String, String>,
}

impl Asked {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }
}

struct Inner {
    file: File,
    turns: VecDeque<Turn>,
    asked: Vec<Asked>,
}

#[derive(Clone)]
pub struct Source {
    pub address: SocketAddr,
    inner: Arc<Mutex<Inner>>,
}

impl Source {
    pub async fn start(file: File) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let source = Self {
            address: listener.local_addr().unwrap(),
            inner: Arc::new(Mutex::new(Inner {
                file,
                turns: VecDeque::new(),
                asked: Vec::new(),
            })),
        };
        let this = source.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let this = this.clone();
                tokio::spawn(async move { this.serve(stream).await });
            }
        });
        source
    }

    /// The value of `egress.simulated_receivers` by which these hosts lead here.
    pub fn hosts(&self, names: &[&str]) -> String {
        let hosts: Vec<_> = names.iter().map(|name| format!("{name}={}", self.address)).collect();
        hosts.join(",")
    }

    /// What it does next; then it does well.
    pub fn next(&self, turns: impl IntoIterator<Item = Turn>) {
        self.inner.lock().unwrap().turns.extend(turns);
    }

    pub fn has(&self, file: File) {
        self.inner.lock().unwrap().file = file;
    }

    pub fn asked(&self) -> Vec<Asked> {
        self.inner.lock().unwrap().asked.clone()
    }

    /// Hangs up after one request, so that each request is a connection.
    async fn serve(&self, mut stream: TcpStream) -> Option<()> {
        let asked = read(&mut stream).await?;
        let (turn, file) = {
            let mut inner = self.inner.lock().unwrap();
            inner.asked.push(asked.clone());
            (inner.turns.pop_front().unwrap_or(Turn::Well), inner.file.clone())
        };
        let (head, body) = answer(&file, &asked);
        match turn {
            Turn::Well => send(&mut stream, &file, &head, &body, body.len()).await?,
            Turn::Cut(after) => {
                send(&mut stream, &file, &head, &body, after.min(body.len())).await?;
                return None;
            }
            Turn::Hold(after, go) => {
                send(&mut stream, &file, &head, &body, after).await?;
                go.notified().await;
                stream.write_all(&body[after..]).await.ok()?;
            }
            Turn::Raw(text) => stream.write_all(text.as_bytes()).await.ok()?,
        }
        if !file.length {
            stream.write_all(b"0\r\n\r\n").await.ok()?;
        }
        stream.shutdown().await.ok()
    }
}

async fn read(stream: &mut TcpStream) -> Option<Asked> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    let head = String::from_utf8(head).unwrap();
    let mut lines = head.lines();
    let path = lines.next()?.split(' ').nth(1)?.to_owned();
    let headers = lines.filter_map(|line| line.split_once(": "));
    Some(Asked {
        path,
        headers: headers
            .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
            .collect(),
    })
}

fn answer(file: &File, asked: &Asked) -> (String, Bytes) {
    let etag = file.etag.map(|etag| format!("etag: {etag}\r\n")).unwrap_or_default();
    let from: Option<usize> = asked
        .header("range")
        .and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok());
    let from = from.filter(|_| file.ranges && asked.header("if-range") == file.etag);
    let all = file.bytes.len();
    match from {
        Some(from) if from >= all => (
            format!("HTTP/1.1 416 X\r\ncontent-range: bytes */{all}\r\n{etag}"),
            Bytes::new(),
        ),
        Some(from) => {
            let last = all - 1;
            let head = format!("HTTP/1.1 206 X\r\ncontent-range: bytes {from}-{last}/{all}\r\n{etag}");
            (head, file.bytes.slice(from..))
        }
        None => (format!("HTTP/1.1 200 X\r\n{etag}"), file.bytes.clone()),
    }
}

async fn send(stream: &mut TcpStream, file: &File, head: &str, body: &Bytes, upto: usize) -> Option<()> {
    let how = if file.length {
        format!("content-length: {}", body.len())
    } else {
        "transfer-encoding: chunked".to_owned()
    };
    stream
        .write_all(format!("{head}{how}\r\nconnection: close\r\n\r\n").as_bytes())
        .await
        .ok()?;
    for part in body[..upto].chunks(1 << 20) {
        if !file.length {
            stream
                .write_all(format!("{:x}\r\n", part.len()).as_bytes())
                .await
                .ok()?;
        }
        stream.write_all(part).await.ok()?;
        if !file.length {
            stream.write_all(b"\r\n").await.ok()?;
        }
    }
    stream.flush().await.ok()
}
