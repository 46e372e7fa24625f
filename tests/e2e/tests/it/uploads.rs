//! Resumable uploads, as a client of tus 1.0 meets them.

use std::time::Duration;

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use futures_util::StreamExt;
use patchbay_app::model::KeyScope;
use patchbay_core::TenantId;
use reqwest::{Method, RequestBuilder};
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::harness::{ADA, Api, Database, Reply, Setup, World, media, on_postgres, raw, send, video_post};

pub const UPLOADS: &str = "/api/media/uploads";
const PIECE: &str = "application/offset+octet-stream";

pub fn tus(api: &Api, method: Method, path: &str) -> RequestBuilder {
    api.request(method, path).header("tus-resumable", "1.0.0")
}

/// Begins an upload. Gives its path.
pub async fn begun(api: &Api, size: usize) -> String {
    let request = tus(api, Method::POST, UPLOADS)
        .header("upload-length", size)
        .header("upload-metadata", "filename Y2xpcC5tcDQ=,filetype dmlkZW8vbXA0");
    let answer = send(request).await;
    assert_eq!(answer.status, 201, "{}", answer.text);
    let path = answer.header("location").unwrap();
    let id = answer.header("patchbay-media-id").unwrap();
    assert_eq!(path, format!("{UPLOADS}/{id}"));
    path.to_owned()
}

pub async fn piece(api: &Api, path: &str, offset: usize, bytes: impl Into<reqwest::Body>) -> Reply {
    send(patch(api, path, offset).body(bytes)).await
}

fn patch(api: &Api, path: &str, offset: usize) -> RequestBuilder {
    tus(api, Method::PATCH, path)
        .header("content-type", PIECE)
        .header("upload-offset", offset)
}

pub async fn look(api: &Api, path: &str) -> Reply {
    send(tus(api, Method::HEAD, path)).await
}

pub async fn offset(api: &Api, path: &str) -> usize {
    let answer = look(api, path).await;
    assert_eq!(answer.status, 200);
    answer.header("upload-offset").unwrap().parse().unwrap()
}

pub async fn bytes_of(api: &Api, id: &str) -> Bytes {
    let answer = api
        .request(Method::GET, &format!("/api/media/{id}/content"))
        .send()
        .await;
    answer.unwrap().bytes().await.unwrap()
}

pub fn sha256(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

/// Sends the head of a piece and some of its bytes, and hangs up.
pub async fn cut(api: &Api, path: &str, offset: usize, length: usize, bytes: &[u8], more: &str) {
    // An offset is told as soon as it is kept, which is before the piece that broke off has let go of the upload.
    piece_when_free(api, path, offset + 1, b"")
        .await
        .problem(409, "upload_offset");
    let key = api.key.as_deref().unwrap();
    let head = format!(
        "PATCH {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {key}\r\ntus-resumable: 1.0.0\r\n\
         content-type: {PIECE}\r\nupload-offset: {offset}\r\ncontent-length: {length}\r\n{more}\r\n"
    );
    let mut line = raw::begin(&api.base, &head).await;
    tokio::io::AsyncWriteExt::write_all(&mut line, bytes).await.unwrap();
    tokio::io::AsyncWriteExt::shutdown(&mut line).await.unwrap();
}

pub async fn until_offset(api: &Api, path: &str, wanted: usize) {
    for _ in 0..12_000 {
        if offset(api, path).await == wanted {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("it stays at {}", offset(api, path).await);
}

/// As clients do that find their upload locked.
pub async fn piece_when_free(api: &Api, path: &str, offset: usize, bytes: &[u8]) -> Reply {
    for _ in 0..12_000 {
        let answer = piece(api, path, offset, bytes.to_vec()).await;
        if answer.status != 423 {
            return answer;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("it stays locked");
}

async fn what_came_before_a_cut_is_kept(database: Database) {
    let world = Setup {
        database,
        ..Setup::default()
    }
    .build()
    .await;
    let api = &world.api;
    let video = media::padded(20 << 20);
    let path = begun(api, video.len()).await;
    assert_eq!(offset(api, &path).await, 0);

    let (mut at, cuts) = (0, [1, 4096, 5 << 20, (8 << 20) + 17, 19 << 20]);
    for to in cuts {
        cut(api, &path, at, video.len() - at, &video[at..to], "").await;
        until_offset(api, &path, to).await;
        at = to;
    }
    let last = piece_when_free(api, &path, at, &video[at..]).await;
    assert_eq!(last.status, 204, "{}", last.text);
    assert_eq!(last.header("upload-offset"), Some(&*video.len().to_string()));
    let id = last.header("patchbay-media-id").unwrap();
    let media = api.get(&format!("/api/media/{id}")).await.ok();
    assert_eq!(media["sha256"], sha256(&video));
    assert_eq!(media["size_bytes"], video.len());
    assert_eq!(
        (&media["name"], &media["mime"]),
        (&json!("clip.mp4"), &json!("video/mp4"))
    );

    assert_eq!(bytes_of(api, id).await, video);

    // A finished upload still says that it has all, and takes nothing more.
    assert_eq!(offset(api, &path).await, video.len());
    assert_eq!(piece(api, &path, video.len(), Bytes::new()).await.status, 204);
    piece(api, &path, 0, video.clone()).await.problem(409, "upload_offset");
    let gone = send(tus(api, Method::DELETE, &path)).await;
    gone.problem(404, "not_found");

    // It is published as any file.
    let account = world.connect_as(api, ADA).await;
    let post = world.post(&video_post(&account, id)).await;
    assert_eq!(world.settled(&post).await["status"], "published");
}

#[tokio::test]
async fn what_came_before_a_cut_is_kept_on_sqlite() {
    what_came_before_a_cut_is_kept(Database::Sqlite).await;
}

#[tokio::test]
async fn what_came_before_a_cut_is_kept_on_postgres() {
    on_postgres(what_came_before_a_cut_is_kept).await;
}

#[tokio::test]
async fn the_protocol_is_told_and_kept() {
    let world = World::new().await;
    let api = &world.api;
    let told = send(api.with_key(None).request(Method::OPTIONS, UPLOADS)).await;
    assert_eq!(told.status, 204);
    assert_eq!(told.header("tus-version"), Some("1.0.0"));
    assert_eq!(told.header("tus-max-size"), Some("4294967296"));
    assert_eq!(told.header("tus-checksum-algorithm"), Some("sha1,sha256"));
    let extensions = "creation,creation-with-upload,termination,checksum,expiration";
    assert_eq!(told.header("tus-extension"), Some(extensions));

    let path = begun(api, 10).await;
    let seen = look(api, &path).await;
    assert_eq!(seen.header("upload-length"), Some("10"));
    assert_eq!(seen.header("tus-resumable"), Some("1.0.0"));
    assert_eq!(seen.header("cache-control"), Some("no-store"));
    assert_eq!(
        seen.header("upload-metadata"),
        Some("filename Y2xpcC5tcDQ=,filetype dmlkZW8vbXA0")
    );
    assert!(seen.header("upload-expires").unwrap().ends_with(" GMT"));

    for method in [Method::POST, Method::HEAD, Method::PATCH, Method::DELETE] {
        let path = if method == Method::POST { UPLOADS } else { &path };
        for version in [None, Some("0.2.2")] {
            let mut request = api.request(method.clone(), path).header("upload-length", 10);
            if let Some(version) = version {
                request = request.header("tus-resumable", version);
            }
            let answer = send(request).await;
            assert_eq!(answer.status, 412, "{method}");
            assert_eq!(answer.header("tus-version"), Some("1.0.0"), "{method}");
            if method != Method::HEAD {
                answer.problem(412, "tus_version");
            }
        }
    }
    let post = || tus(api, Method::POST, UPLOADS);
    for bad in ["", "-1", "+1", "1.5", "x", "18446744073709551615"] {
        send(post().header("upload-length", bad))
            .await
            .problem(400, "bad_request");
    }
    send(post()).await.problem(400, "bad_request");
    send(post().header("upload-defer-length", 1))
        .await
        .problem(400, "bad_request");
    send(post().header("upload-length", 0)).await.problem(422, "invalid");
    send(post().header("upload-length", (4_u64 << 30) + 1))
        .await
        .problem(413, "too_large");
    for bad in ["filename ***", "filename /w=="] {
        let request = post().header("upload-length", 1).header("upload-metadata", bad);
        send(request).await.problem(400, "bad_request");
    }
    let long = format!("filename {}", STANDARD.encode("x".repeat(300)));
    let request = post().header("upload-length", 1).header("upload-metadata", long);
    send(request).await.problem(422, "invalid");

    let request = tus(api, Method::PATCH, &path).header("upload-offset", 0).body("x");
    send(request).await.problem(415, "unsupported_media_type");
    let request = tus(api, Method::PATCH, &path).header("content-type", PIECE).body("x");
    send(request).await.problem(400, "bad_request");
    piece(api, &path, 1, "x").await.problem(409, "upload_offset");
    piece(api, &path, 0, "x".repeat(11)).await.problem(413, "too_large");
    let unknown = format!("{UPLOADS}/med_0199f0a2b3c47d8e9f00112233445566");
    piece(api, &unknown, 0, "x").await.problem(404, "not_found");
    assert_eq!(look(api, &unknown).await.status, 404);
    assert_eq!(offset(api, &path).await, 0);

    // Without a length that is announced, the end is still the end.
    let chunks = futures_util::stream::iter((0..11).map(|_| Ok::<_, std::io::Error>("x")));
    let answer = piece(api, &path, 0, reqwest::Body::wrap_stream(chunks)).await;
    answer.problem(413, "too_large");
}

#[tokio::test]
async fn a_checksum_counts_for_all_of_a_piece_or_nothing() {
    let world = World::new().await;
    let api = &world.api;
    let video = media::padded(9 << 20);
    let path = begun(api, video.len()).await;
    let sha1 = "sha1 Kq5sNclPz7QV2+lfQIuc6R7oRu0=";
    let right = |bytes: &[u8]| format!("sha256 {}", STANDARD.encode(Sha256::digest(bytes)));

    let first = &video[..(8 << 20) + 5];
    let wrong = patch(api, &path, 0)
        .header("upload-checksum", right(b"other"))
        .body(first.to_vec());
    send(wrong).await.problem(460, "checksum_mismatch");
    assert_eq!(
        offset(api, &path).await,
        0,
        "none of it was kept, though it is longer than a step"
    );
    let wrong = patch(api, &path, 0).header("upload-checksum", sha1).body("hello");
    send(wrong).await.problem(460, "checksum_mismatch");
    for bad in ["crc32 AAAA", "sha1 ***", "sha1"] {
        let request = patch(api, &path, 0).header("upload-checksum", bad).body("x");
        let answer = send(request).await;
        assert!([400, 460].contains(&answer.status), "{bad}: {}", answer.text);
    }
    // What is not all there cannot be checked.
    let checksum = format!("upload-checksum: {}\r\n", right(first));
    cut(api, &path, 0, first.len(), &first[..1 << 20], &checksum).await;

    let answer = loop {
        let good = patch(api, &path, 0)
            .header("upload-checksum", right(first))
            .body(first.to_vec());
        let answer = send(good).await;
        if answer.status != 423 {
            break answer;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    };
    assert_eq!(
        (answer.status, answer.header("upload-offset")),
        (204, Some(&*first.len().to_string()))
    );
    let rest = &video[first.len()..];
    let last = patch(api, &path, first.len())
        .header("upload-checksum", right(rest))
        .body(rest.to_vec());
    let answer = send(last).await;
    let id = answer.header("patchbay-media-id").unwrap();
    let media = api.get(&format!("/api/media/{id}")).await.ok();
    assert_eq!(media["sha256"], sha256(&video));

    // The standard's own example of SHA-1.
    let path = begun(api, 11).await;
    let hello = patch(api, &path, 0)
        .header("upload-checksum", "sha1 Kq5sNclPz7QV2+lfQIuc6R7oRu0=")
        .body("hello world");
    send(hello).await.problem(422, "invalid");
}

#[tokio::test]
async fn bytes_may_come_with_the_creation_or_in_one_put() {
    let world = World::new().await;
    let api = &world.api;
    let video = media::video();
    let create = |size: usize, first: Bytes| {
        tus(api, Method::POST, UPLOADS)
            .header("upload-length", size)
            .header("content-type", PIECE)
            .body(first)
    };
    let answer = send(create(video.len(), video.slice(..100))).await;
    assert_eq!((answer.status, answer.header("upload-offset")), (201, Some("100")));
    let path = answer.header("location").unwrap();
    assert_eq!(piece(api, path, 100, video.slice(100..)).await.status, 204);

    let answer = send(create(video.len(), video.clone())).await;
    assert_eq!(answer.status, 201);
    let id = answer.header("patchbay-media-id").unwrap();
    assert_eq!(
        api.get(&format!("/api/media/{id}")).await.ok()["sha256"],
        sha256(&video)
    );
    send(create(10, video.clone())).await.problem(413, "too_large");
    // Nobody knows where it is, so nothing is left of it.
    let before = world.app().store.media_bytes(TenantId::DEFAULT).await.unwrap();
    send(create(5, "hello".into())).await.problem(422, "invalid");
    assert_eq!(world.app().store.media_bytes(TenantId::DEFAULT).await.unwrap(), before);

    let path = begun(api, video.len()).await;
    let media = send(api.request(Method::PUT, &path).body(video.clone()))
        .await
        .with(201);
    assert_eq!(
        (&media["sha256"], &media["name"]),
        (&json!(sha256(&video)), &json!("clip.mp4"))
    );
    send(api.request(Method::PUT, &path).body(video.clone()))
        .await
        .problem(409, "upload_offset");
    let path = begun(api, video.len()).await;
    send(api.request(Method::PUT, &path).body("short"))
        .await
        .problem(400, "bad_request");
    send(api.request(Method::PUT, &path).body(video.clone()))
        .await
        .problem(409, "upload_offset");
    assert_eq!(
        piece(api, &path, 5, video.slice(5..)).await.status,
        422,
        "its beginning is something else"
    );

    // For those who can send no PATCH.
    let path = begun(api, video.len()).await;
    let posted = tus(api, Method::POST, &path)
        .header("x-http-method-override", "PATCH")
        .header("content-type", PIECE)
        .header("upload-offset", 0)
        .body(video.slice(..7));
    assert_eq!(send(posted).await.header("upload-offset"), Some("7"));
    send(tus(api, Method::POST, &path)).await.problem(400, "bad_request");
    let deleted = tus(api, Method::POST, &path).header("x-http-method-override", "DELETE");
    assert_eq!(send(deleted).await.status, 204);
    assert_eq!(look(api, &path).await.status, 404);
}

#[tokio::test]
async fn one_of_two_that_send_at_once_wins_also_on_another_host() {
    on_postgres(async |database| {
        let world = Setup {
            database,
            ..Setup::default()
        }
        .build()
        .await;
        // With the folder of the first.
        let second = world.another_host("").await;
        let other = Api::new(format!("http://{}", second.address), world.api.key.clone());
        let video = media::padded(12 << 20);
        let path = begun(&world.api, video.len()).await;

        let (sender, receiver) = tokio::sync::mpsc::channel(2);
        let chunks = futures_util::stream::unfold(receiver, |mut receiver| async {
            receiver
                .recv()
                .await
                .map(|bytes: Bytes| (Ok::<_, std::io::Error>(bytes), receiver))
        });
        let slow = patch(&world.api, &path, 0).body(reqwest::Body::wrap_stream(chunks.boxed()));
        let slow = tokio::spawn(send(slow));
        let (step, sent) = (8 << 20, 9 << 20);
        sender.send(video.slice(..sent)).await.unwrap();
        // The first step is durable while the request goes on.
        until_offset(&other, &path, step).await;
        for api in [&world.api, &other] {
            let refused = piece(api, &path, step, "x").await;
            assert_eq!(refused.problem(423, "upload_locked")["retry"], true);
            assert!(refused.header("retry-after").is_some());
            assert_eq!(offset(api, &path).await, step);
        }
        sender.send(video.slice(sent..sent + 1000)).await.unwrap();
        drop(sender);
        let at = sent + 1000;
        assert_eq!(slow.await.unwrap().header("upload-offset"), Some(&*at.to_string()));
        // Either host goes on.
        assert_eq!(piece(&other, &path, at, video.slice(at..at + 7)).await.status, 204);
        let answer = piece(&world.api, &path, at + 7, video.slice(at + 7..at + 9)).await;
        assert_eq!(answer.status, 204);
        let last = piece(&other, &path, at + 9, video.slice(at + 9..)).await;
        let id = last.header("patchbay-media-id").unwrap();
        let media = world.api.get(&format!("/api/media/{id}")).await.ok();
        assert_eq!(media["sha256"], sha256(&video));
        second.stop().await;
    })
    .await;
}

#[tokio::test]
async fn an_upload_belongs_to_its_tenant_and_needs_the_right_to_publish() {
    let world = World::new().await;
    let path = begun(&world.api, 10).await;
    let other = world.tenant("other").await;
    assert_eq!(look(&other, &path).await.status, 404);
    piece(&other, &path, 0, "x").await.problem(404, "not_found");
    send(other.request(Method::PUT, &path).body("0123456789"))
        .await
        .problem(404, "not_found");
    send(tus(&other, Method::DELETE, &path)).await.problem(404, "not_found");
    assert_eq!(offset(&world.api, &path).await, 0);

    let key = world.make_key(TenantId::DEFAULT, &[KeyScope::Read]).await;
    let reader = world.api.with_key(Some(key));
    assert_eq!(look(&reader, &path).await.status, 403);
    send(tus(&reader, Method::DELETE, &path))
        .await
        .problem(403, "forbidden");
    send(tus(&reader, Method::POST, UPLOADS).header("upload-length", 1))
        .await
        .problem(403, "forbidden");
    assert_eq!(send(tus(&world.api, Method::DELETE, &path)).await.status, 204);
    assert_eq!(look(&world.api, &path).await.status, 404);
}

#[tokio::test]
async fn t63_room_is_reserved_when_an_upload_begins_and_freed_when_it_ends() {
    let world = Setup::default()
        .set("PATCHBAY__STORAGE__MEDIA_QUOTA_BYTES", "10000000")
        .build()
        .await;
    let api = &world.api;
    let create = |size: usize| send(tus(api, Method::POST, UPLOADS).header("upload-length", size));
    let first = begun(api, 9_600_000).await;
    create(400_001).await.problem(507, "storage_full");
    let second = begun(api, 400_000).await;
    send(api.request(Method::POST, "/api/media").body(media::video()))
        .await
        .problem(507, "storage_full");
    assert_eq!(send(tus(api, Method::DELETE, &first)).await.status, 204);
    world.upload(media::video()).await;

    // An upload to which nothing comes is given up after a day; each piece gives it another.
    assert_eq!(piece(api, &second, 0, "x").await.status, 204);
    world.advance(Duration::from_hours(23));
    assert_eq!(piece(api, &second, 1, "x").await.status, 204);
    world.advance(Duration::from_hours(23));
    assert_eq!(offset(api, &second).await, 2);
    world.advance(Duration::from_hours(2));
    assert_eq!(look(api, &second).await.status, 404);
    patchbay_server::worker::tidy(&world.serving.host).await.unwrap();
    let left = std::fs::read_dir(world.folder.path().join("media/incoming")).unwrap();
    assert_eq!(left.count(), 0);
    begun(api, 8_000_000).await;
}

#[tokio::test]
async fn t63_no_tenant_has_a_thousand_uploads_at_once() {
    let world = Setup::default()
        .set("PATCHBAY__LIMITS__REQUESTS_PER_SECOND", "0")
        .build()
        .await;
    let api = &world.api;
    let mut begun = 0;
    let refused = loop {
        let answer = send(tus(api, Method::POST, UPLOADS).header("upload-length", 1)).await;
        match answer.status {
            201 => begun += 1,
            _ => break answer,
        }
    };
    refused.problem(429, "too_many_uploads");
    assert_eq!(begun, 1_000);
}

#[tokio::test]
async fn bytes_that_belong_to_nothing_are_swept() {
    let world = World::new().await;
    let kept = world.video().await;
    let path = begun(&world.api, 10).await;
    assert_eq!(piece(&world.api, &path, 0, "x").await.status, 204);
    let folder = world.folder.path().join("media");
    let orphans = [
        folder.join("med_0199f0a2b3c47d8e9f00112233445566"),
        folder.join("incoming/med_0199f0a2b3c47d8e9f00112233445567"),
    ];
    for orphan in &orphans {
        std::fs::write(orphan, "x").unwrap();
    }
    // Young ones may be of a host of an earlier version.
    let now = std::time::SystemTime::from(world.now());
    let set = |path: &std::path::Path, at| {
        std::fs::File::options()
            .append(true)
            .open(path)
            .unwrap()
            .set_modified(at)
            .unwrap();
    };
    for orphan in &orphans {
        set(orphan, now);
    }
    assert_eq!(patchbay_app::media::sweep(world.app()).await.unwrap(), 0);
    for path in orphans.iter().chain([&folder.join(&kept)]) {
        set(path, now - Duration::from_hours(2));
    }
    assert_eq!(patchbay_app::media::sweep(world.app()).await.unwrap(), 2);
    assert!(orphans.iter().all(|path| !path.exists()));
    assert!(folder.join(kept).exists());
    assert_eq!(offset(&world.api, &path).await, 1);
}

#[tokio::test]
async fn what_is_no_media_file_is_refused_and_deleted() {
    let world = World::new().await;
    let api = &world.api;
    let page = Bytes::from_static(b"<!doctype html><script>alert(1)</script>");
    let path = begun(api, page.len()).await;
    piece(api, &path, 0, page).await.problem(422, "invalid");
    assert_eq!(look(api, &path).await.status, 404);
    assert_eq!(world.app().store.media_bytes(TenantId::DEFAULT).await.unwrap(), 0);
    let folder = world.folder.path().join("media");
    let left = walk(&folder);
    assert!(left.is_empty(), "{left:?}");
}

fn walk(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(walk(&path));
        } else {
            found.push(path);
        }
    }
    found
}

#[tokio::test]
async fn files_are_listed_and_read_in_parts() {
    let world = World::new().await;
    let api = &world.api;
    let mut ids = Vec::new();
    for _ in 0..3 {
        ids.insert(0, world.video().await);
        world.advance(Duration::from_secs(1));
    }
    let page = api.get("/api/media?limit=2").await.ok();
    let listed = |page: &serde_json::Value| -> Vec<String> {
        let data = page["data"].as_array().unwrap().iter();
        data.map(|file| file["id"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(listed(&page), ids[..2]);
    let next = page["next_cursor"].as_str().unwrap();
    let page = api.get(&format!("/api/media?cursor={next}")).await.ok();
    assert_eq!(
        (listed(&page), page.get("next_cursor")),
        (ids[2..].to_vec(), Some(&json!(null)))
    );
    api.get("/api/media?limit=101").await.problem(400, "bad_request");
    let other = world.tenant("other").await;
    assert_eq!(other.get("/api/media").await.ok()["data"], json!([]));
    other
        .get(&format!("/api/media?cursor={next}"))
        .await
        .problem(400, "cursor_invalid");

    let video = media::video();
    let path = format!("/api/media/{}/content", ids[0]);
    other.get(&path).await.problem(404, "not_found");
    let part = |range: &str| api.request(Method::GET, &path).header("range", range).send();
    for (range, from, to) in [("bytes=0-9", 0, 10), ("bytes=-5", video.len() - 5, video.len())] {
        let answer = part(range).await.unwrap();
        assert_eq!(answer.status(), 206);
        let headers = answer.headers();
        assert_eq!(
            headers["content-range"],
            format!("bytes {from}-{}/{}", to - 1, video.len())
        );
        assert_eq!(
            (&headers["content-disposition"], &headers["x-content-type-options"]),
            (&"attachment".parse().unwrap(), &"nosniff".parse().unwrap())
        );
        assert_eq!(answer.bytes().await.unwrap(), video.slice(from..to));
    }
    let whole = api.request(Method::GET, &path).send().await.unwrap();
    assert_eq!(
        (whole.status().as_u16(), &whole.headers()["content-type"]),
        (200, &"video/mp4".parse().unwrap())
    );
    let tag = whole.headers()["etag"].clone();
    assert_eq!(whole.bytes().await.unwrap(), video);
    let beyond = send(
        api.request(Method::GET, &path)
            .header("range", format!("bytes={}-", video.len())),
    )
    .await;
    beyond.problem(416, "range_not_satisfiable");
    for (wanted, status) in [(tag.to_str().unwrap(), 206), ("\"other\"", 200)] {
        let request = api
            .request(Method::GET, &path)
            .header("range", "bytes=0-9")
            .header("if-range", wanted);
        assert_eq!(request.send().await.unwrap().status(), status);
    }
    let head = api.request(Method::HEAD, &path).send().await.unwrap();
    assert_eq!(head.headers()["content-length"], video.len().to_string());
}

#[tokio::test]
async fn pages_of_origins_that_the_operator_has_named_may_upload() {
    let world = Setup::default()
        .set(
            "PATCHBAY__SERVER__UPLOAD_ORIGINS",
            "https://app.example.com,http://localhost:3000",
        )
        .build()
        .await;
    let api = &world.api;
    let path = begun(api, 10).await;
    let asked = |origin: &'static str| {
        api.with_key(None)
            .request(Method::OPTIONS, &path)
            .header("origin", origin)
            .header("access-control-request-method", "PATCH")
            .header(
                "access-control-request-headers",
                "authorization,tus-resumable,upload-offset",
            )
    };
    for origin in ["https://app.example.com", "http://localhost:3000"] {
        let answer = send(asked(origin)).await;
        assert_eq!(answer.status, 204);
        assert_eq!(answer.header("access-control-allow-origin"), Some(origin));
        assert!(answer.header("access-control-allow-methods").unwrap().contains("PATCH"));
        let headers = answer.header("access-control-allow-headers").unwrap();
        assert!(
            ["authorization", "upload-offset", "tus-resumable"]
                .iter()
                .all(|name| headers.contains(name))
        );
        assert_eq!(
            (answer.header("vary"), answer.header("access-control-allow-credentials")),
            (Some("Origin"), None)
        );
    }
    let good = send(
        patch(api, &path, 0)
            .header("origin", "https://app.example.com")
            .body("x"),
    )
    .await;
    assert_eq!(
        good.header("access-control-allow-origin"),
        Some("https://app.example.com")
    );
    assert!(
        good.header("access-control-expose-headers")
            .unwrap()
            .contains("upload-offset")
    );
    // Problems can be read too.
    let bad = send(
        patch(api, &path, 7)
            .header("origin", "https://app.example.com")
            .body("x"),
    )
    .await;
    bad.problem(409, "upload_offset");
    assert_eq!(
        bad.header("access-control-allow-origin"),
        Some("https://app.example.com")
    );

    for origin in [
        "https://evil.example.com",
        "https://app.example.com.evil.net",
        "https://app.example.com:444",
        "null",
    ] {
        let answer = send(asked(origin)).await;
        assert_eq!(
            (answer.status, answer.header("access-control-allow-origin")),
            (405, None),
            "{origin}"
        );
        let answer = send(patch(api, &path, 1).header("origin", origin).body("")).await;
        assert_eq!(answer.header("access-control-allow-origin"), None, "{origin}");
    }
    // Nothing else is for them.
    let elsewhere = api
        .request(Method::GET, "/api/media")
        .header("origin", "https://app.example.com");
    assert_eq!(send(elsewhere).await.header("access-control-allow-origin"), None);
}
