//! The same upload by hand, with nothing but an HTTP client: what a host's throughput is held against.

use std::{fmt::Write as _, io::SeekFrom, path::Path, process::Stdio, time::Duration};

use anyhow::{Context, ensure};
use patchbay_simkit::outbound;
use patchbay_simulator_tiktok::Running;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncSeekExt, AsyncWriteExt},
    process::Command,
};
use tokio_util::io::ReaderStream;

use crate::debian;

/// Who sends it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Client {
    /// reqwest, in this process.
    Reqwest,
    /// `curl`, one process for all chunks.
    Curl,
}

/// Sends a file to a simulator in chunks of this size, one after the other. Gives the platform's id of the post.
///
/// # Errors
/// The simulator refuses it, or curl cannot be installed.
pub async fn upload(client: Client, tiktok: &Running, file: &Path, chunk: u64, title: &str) -> anyhow::Result<String> {
    let size = tokio::fs::metadata(file).await?.len();
    let chunks = Chunks { size, chunk };
    // What is not the upload itself is done before its time begins.
    let curl = match client {
        Client::Curl => Some((debian::program("curl", &["curl"])?, Parts::split(file, chunks).await?)),
        Client::Reqwest => None,
    };
    let (id, url) = begin(tiktok, chunks, title).await?;
    match curl {
        Some((curl, parts)) => parts.send(&curl, &url, chunks).await?,
        None => send(file, url, chunks).await?,
    }
    Ok(id)
}

#[derive(Clone, Copy)]
struct Chunks {
    size: u64,
    chunk: u64,
}

impl Chunks {
    fn count(self) -> u64 {
        (self.size / self.chunk).max(1)
    }

    /// First byte and the one behind the last: the last chunk takes the rest.
    fn each(self) -> impl Iterator<Item = (u64, u64)> {
        (0..self.count()).map(move |index| {
            let first = index * self.chunk;
            let is_last = index + 1 == self.count();
            (first, if is_last { self.size } else { first + self.chunk })
        })
    }

    fn range(self, first: u64, end: u64) -> String {
        format!("bytes {first}-{}/{}", end - 1, self.size)
    }
}

async fn begin(tiktok: &Running, chunks: Chunks, title: &str) -> anyhow::Result<(String, reqwest::Url)> {
    let http = outbound::client(Duration::from_secs(300))?;
    let tokens = tiktok
        .grant("ada_public", &["user.info.basic", "video.publish"])
        .map_err(anyhow::Error::msg)?;
    let init: Value = http
        .post(format!("http://{}/v2/post/publish/video/init/", tiktok.api))
        .bearer_auth(tokens.access_token)
        .header("content-type", "application/json; charset=UTF-8")
        .body(
            json!({
                "post_info": {
                    "title": title, "privacy_level": "PUBLIC_TO_EVERYONE", "disable_comment": false,
                    "disable_duet": false, "disable_stitch": false, "brand_content_toggle": false,
                    "brand_organic_toggle": false,
                },
                "source_info": {
                    "source": "FILE_UPLOAD", "video_size": chunks.size, "chunk_size": chunks.chunk,
                    "total_chunk_count": chunks.count(),
                },
            })
            .to_string(),
        )
        .send()
        .await?
        .json()
        .await?;
    let told = |name: &str| {
        init["data"][name]
            .as_str()
            .with_context(|| format!("no {name} in {init}"))
    };
    let mut url = reqwest::Url::parse(told("upload_url")?)?;
    ensure!(url.set_scheme("http").is_ok() && url.set_ip_host(tiktok.upload.ip()).is_ok());
    ensure!(url.set_port(Some(tiktok.upload.port())).is_ok());
    Ok((told("publish_id")?.to_owned(), url))
}

async fn send(file: &Path, url: reqwest::Url, chunks: Chunks) -> anyhow::Result<()> {
    let http = outbound::client(Duration::from_secs(300))?;
    for (first, end) in chunks.each() {
        let mut part = tokio::fs::File::open(file).await?;
        part.seek(SeekFrom::Start(first)).await?;
        let part = ReaderStream::with_capacity(part.take(end - first), 256 * 1024);
        let answer = http
            .put(url.clone())
            .header("content-type", "video/mp4")
            .header("content-length", end - first)
            .header("content-range", chunks.range(first, end))
            .body(reqwest::Body::wrap_stream(part))
            .send()
            .await?;
        let status = answer.status();
        ensure!(status.is_success(), "the chunk at {first} was answered {status}");
    }
    Ok(())
}

/// The chunks as files, since curl sends whole files.
struct Parts(tempfile::TempDir);

impl Parts {
    async fn split(file: &Path, chunks: Chunks) -> anyhow::Result<Self> {
        let parts = Self(tempfile::tempdir()?);
        let mut whole = tokio::fs::File::open(file).await?;
        for (first, end) in chunks.each() {
            let mut part = tokio::fs::File::create(parts.0.path().join(first.to_string())).await?;
            tokio::io::copy(&mut (&mut whole).take(end - first), &mut part).await?;
            part.flush().await?;
        }
        Ok(parts)
    }

    async fn send(&self, curl: &Path, url: &reqwest::Url, chunks: Chunks) -> anyhow::Result<()> {
        // One section each, so that one connection serves all.
        let mut sections = Vec::new();
        for (first, end) in chunks.each() {
            let mut section = String::new();
            writeln!(section, "url = \"{url}\"")?;
            // Not `upload-file`: it adds the file's name to a path that ends with a slash.
            writeln!(
                section,
                "request = PUT\ndata-binary = \"@{}\"",
                self.0.path().join(first.to_string()).display()
            )?;
            writeln!(section, "header = \"content-type: video/mp4\"")?;
            writeln!(section, "header = \"content-range: {}\"", chunks.range(first, end))?;
            // Not to wait for leave to send.
            writeln!(section, "header = \"expect:\"")?;
            writeln!(section, "fail")?;
            sections.push(section);
        }
        let config = self.0.path().join("config");
        tokio::fs::write(&config, sections.join("next\n")).await?;
        let output = Command::new(curl)
            .args(["--silent", "--show-error", "--config"])
            .arg(&config)
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output()
            .await
            .context("starting curl")?;
        ensure!(
            output.status.success(),
            "curl: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(())
    }
}
