//! PUTs to the upload URL: progress, refusals, and bytes that arrive as they were sent.

use patchbay_simulator_tiktok::{SimulatorConfig, UploadContentRange};
use serde_json::json;

use crate::support::{VIDEO_INIT, World, config, file_source, text, video, world, world_with};

const CHUNK: usize = 5_000_000;

/// Three chunks: 5 MB, 5 MB, and 6 MB with the remainder.
async fn begin(world: &World, token: &str, video: &[u8]) -> (String, String) {
    let body = json!({
        "post_info": { "privacy_level": "SELF_ONLY" },
        "source_info": file_source(video.len(), CHUNK, 3),
    });
    let (_, body) = world.call(VIDEO_INIT, token, body).await;
    let upload_url = text(&body["data"]["upload_url"]);
    assert!(upload_url.starts_with("https://open-upload.tiktokapis.com/video/?upload_id="));
    assert!(upload_url.len() <= 256);
    (text(&body["data"]["publish_id"]), world.local_upload(&upload_url))
}

#[tokio::test]
async fn chunks_come_in_order_and_the_rest_joins_the_last() {
    let folder = tempfile::tempdir().unwrap();
    let world = world_with(SimulatorConfig {
        keep_media: Some(folder.path().to_owned()),
        ..config()
    })
    .await;
    let token = world.token("ada_public");
    let video = video(16_000_000);
    let (id, url) = begin(&world, &token, &video).await;

    let first = world.put(&url, &video[..CHUNK], 0, video.len()).await;
    assert_eq!(first.status(), 206);
    assert_eq!(first.headers()["content-range"], "bytes 0-5000000/16000000");
    assert_eq!(world.status(&token, &id).await["uploaded_bytes"], CHUNK);

    // Again, too far, too short, too long, another total: none of it fits the progress.
    for (from, to, total) in [
        (0, CHUNK, video.len()),
        (2 * CHUNK, video.len(), video.len()),
        (CHUNK, CHUNK + 1_000_000, video.len()),
        (CHUNK, video.len(), video.len()),
        (CHUNK, 2 * CHUNK, video.len() + 1),
    ] {
        let refused = world.put(&url, &video[from..to], from, total).await;
        assert_eq!(refused.status(), 416, "{from}..{to}/{total}");
        assert_eq!(refused.headers()["content-range"], "bytes 0-5000000/16000000");
    }
    world
        .tiktok
        .change_switches(|switches| switches.upload_content_range = UploadContentRange::LastIndex);
    let second = world.put(&url, &video[CHUNK..2 * CHUNK], CHUNK, video.len()).await;
    assert_eq!(second.headers()["content-range"], "bytes 0-9999999/16000000");
    let last = world.put(&url, &video[2 * CHUNK..], 2 * CHUNK, video.len()).await;
    assert_eq!(last.status(), 201);
    let more = world.put(&url, &video[2 * CHUNK..], 2 * CHUNK, video.len()).await;
    assert_eq!(more.status(), 416, "all is here");

    let upload = world.tiktok.oracle().uploads().remove(0);
    let firsts: Vec<u64> = upload.chunks.iter().map(|chunk| chunk.first).collect();
    assert_eq!(firsts, [0, 5_000_000, 10_000_000]);
    let kept = folder.path().join(format!("{}.bin", upload.upload_id));
    assert_eq!(std::fs::read(kept).unwrap(), video);
}

#[tokio::test]
async fn malformed_requests_are_400() {
    let world = world().await;
    let token = world.token("ada_public");
    let (_, url) = world.begin_upload(&token, 1000, "SELF_ONLY").await;
    let body = video(1000);
    let put = async |kind: &str, range: Option<&str>| {
        let mut request = world.client.put(&url).header("content-type", kind).body(body.clone());
        if let Some(range) = range {
            request = request.header("content-range", range);
        }
        request.send().await.unwrap().status().as_u16()
    };
    assert_eq!(put("video/mp4", None).await, 400);
    assert_eq!(put("video/mp4", Some("bytes 0-999")).await, 400);
    assert_eq!(put("application/octet-stream", Some("bytes 0-999/1000")).await, 400);
    assert_eq!(put("video/mp4", Some("bytes 0-998/1000")).await, 400, "length differs");
    world
        .tiktok
        .change_switches(|switches| switches.wrong_length_status = 502);
    assert_eq!(put("video/mp4", Some("bytes 0-998/1000")).await, 502);
    assert_eq!(put("video/quicktime", Some("bytes 0-999/1000")).await, 201);
}

#[tokio::test]
async fn an_upload_url_lives_one_hour() {
    let world = world().await;
    let token = world.token("ada_public");
    let (_, url) = world.begin_upload(&token, 1000, "SELF_ONLY").await;
    let unknown = url.replace("upload_token=", "upload_token=x");
    assert_eq!(world.put(&unknown, &video(1000), 0, 1000).await.status(), 404);
    world.advance(3600);
    assert_eq!(world.put(&url, &video(1000), 0, 1000).await.status(), 403);
    let wrong_method = world.client.post(&url).send().await.unwrap();
    assert_eq!(wrong_method.status(), 404);
}

#[tokio::test]
async fn a_chunk_that_breaks_off_leaves_no_trace() {
    use tokio::io::AsyncWriteExt;
    let world = world().await;
    let token = world.token("ada_public");
    let (id, url) = world.begin_upload(&token, 1000, "SELF_ONLY").await;
    let target = url.split_once(&world.tiktok.upload.to_string()).unwrap().1;
    let mut socket = tokio::net::TcpStream::connect(world.tiktok.upload).await.unwrap();
    let head = format!(
        "PUT {target} HTTP/1.1\r\nhost: x\r\ncontent-type: video/mp4\r\ncontent-length: 1000\r\ncontent-range: bytes 0-999/1000\r\n\r\n"
    );
    socket.write_all(head.as_bytes()).await.unwrap();
    socket.write_all(&[9; 400]).await.unwrap();
    let arrived = |world: &World| world.tiktok.journal().count(|call| call.op == "upload") == 1;
    assert!(world.tiktok.until(|_| arrived(&world)).await);
    drop(socket);
    let ended = |world: &World| {
        world
            .tiktok
            .journal()
            .count(|call| call.op == "upload" && (call.cut || call.status.is_some()))
            == 1
    };
    assert!(world.tiktok.until(|_| ended(&world)).await);

    assert_eq!(world.put(&url, &video(1000), 0, 1000).await.status(), 201);
    assert_eq!(world.tiktok.oracle().post(&id).unwrap().bytes, 1000);
}

#[tokio::test]
async fn a_token_sent_to_the_upload_host_is_noticed() {
    let world = world().await;
    let token = world.token("ada_public");
    let (_, url) = world.begin_upload(&token, 1000, "SELF_ONLY").await;
    let request = world.client.put(&url).bearer_auth(&token).body(video(1000));
    request.send().await.unwrap();
    assert_eq!(world.tiktok.oracle().authorization_headers_on_upload(), 1);
}
