//! A small client of the REST API, as a product team would write it.

use std::{path::Path, time::Duration};

use anyhow::{Context, bail};
use futures_util::{StreamExt, TryStreamExt};
use serde_json::Value;
use tokio_util::io::ReaderStream;

use patchbay_simkit::outbound;

/// Talks to one host.
pub struct Client {
    http: reqwest::Client,
    base: String,
}

impl Client {
    /// A client of the host at `base`.
    ///
    /// # Errors
    /// The HTTP library cannot start.
    pub fn new(base: String) -> anyhow::Result<Self> {
        let http = outbound::client(Duration::from_mins(2)).context("building the demo's HTTP client")?;
        Ok(Self { http, base })
    }

    /// Reads a resource.
    ///
    /// # Errors
    /// No answer, or a problem.
    pub async fn get(&self, path: &str) -> anyhow::Result<Value> {
        answer(self.http.get(format!("{}{path}", self.base)).send().await?).await
    }

    /// Makes a resource.
    ///
    /// # Errors
    /// No answer, or a problem.
    pub async fn post(&self, path: &str, body: &Value) -> anyhow::Result<Value> {
        let request = self.http.post(format!("{}{path}", self.base)).json(body);
        answer(request.send().await?).await
    }

    /// Opens a page as a browser would, with its cookie. Gives where it is sent to, and a cookie to keep.
    ///
    /// # Errors
    /// It is not sent anywhere.
    pub async fn visit(&self, url: &str, cookie: Option<&str>) -> anyhow::Result<(String, Option<String>)> {
        let url = if url.starts_with('/') {
            format!("{}{url}", self.base)
        } else {
            url.to_owned()
        };
        let mut request = self.http.get(url);
        if let Some(cookie) = cookie {
            request = request.header("cookie", cookie);
        }
        let response = request.send().await?;
        let header = |name: &str| {
            response
                .headers()
                .get(name)
                .and_then(|value| value.to_str().ok())
                .map(str::to_owned)
        };
        let kept = header("set-cookie").and_then(|text| text.split(';').next().map(str::to_owned));
        match header("location") {
            Some(location) => Ok((location, kept)),
            None => bail!("expected a redirect, got {}", response.status()),
        }
    }

    /// Uploads a file as a stream.
    ///
    /// # Errors
    /// The file cannot be read, no answer, or a problem.
    pub async fn upload(&self, path: &Path, progress: impl Fn(u64) + Send + 'static) -> anyhow::Result<Value> {
        let file = tokio::fs::File::open(path).await?;
        let size = file.metadata().await?.len();
        let mut sent = 0;
        let stream = ReaderStream::with_capacity(file, 256 * 1024)
            .into_stream()
            .map(move |piece| {
                sent += piece.as_ref().map_or(0, |piece| piece.len() as u64);
                progress(sent);
                piece
            });
        let request = self
            .http
            .post(format!("{}/api/media?name=demo.mp4", self.base))
            .header("content-type", "video/mp4")
            .header("content-length", size)
            .body(reqwest::Body::wrap_stream(stream));
        answer(request.send().await?).await
    }
}

async fn answer(response: reqwest::Response) -> anyhow::Result<Value> {
    let status = response.status();
    let body: Value = response
        .json()
        .await
        .with_context(|| format!("reading an answer with status {status}"))?;
    if status.is_success() {
        return Ok(body);
    }
    bail!(
        "{status}: {} {}",
        body["code"].as_str().unwrap_or_default(),
        body["detail"].as_str().unwrap_or_default()
    )
}
