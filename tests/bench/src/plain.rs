//! The same upload by hand, with nothing but an HTTP client: what a host's throughput is held against.

use std::{io::SeekFrom, path::Path, time::Duration};

use anyhow::{Context, ensure};
use patchbay_simkit::outbound;
use patchbay_simulator_tiktok::Running;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncSeekExt};
use tokio_util::io::ReaderStream;

/// Sends a file to a simulator in chunks of this size, one after the other. Gives the platform's id of the post.
pub async fn upload(tiktok: &Running, file: &Path, chunk: u64, title: &str) -> anyhow::Result<String> {
    let http = outbound::client(Duration::from_secs(300))?;
    let size = tokio::fs::metadata(file).await?.len();
    let count = (size / chunk).max(1);
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
                    "source": "FILE_UPLOAD", "video_size": size, "chunk_size": chunk, "total_chunk_count": count,
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
    for index in 0..count {
        let first = index * chunk;
        let end = if index + 1 == count { size } else { first + chunk };
        let mut part = tokio::fs::File::open(file).await?;
        part.seek(SeekFrom::Start(first)).await?;
        let part = ReaderStream::with_capacity(part.take(end - first), 256 * 1024);
        let answer = http
            .put(url.clone())
            .header("content-type", "video/mp4")
            .header("content-length", end - first)
            .header("content-range", format!("bytes {first}-{}/{size}", end - 1))
            .body(reqwest::Body::wrap_stream(part))
            .send()
            .await?;
        ensure!(
            answer.status().is_success(),
            "chunk {index} was answered {}",
            answer.status()
        );
    }
    Ok(told("publish_id")?.to_owned())
}
