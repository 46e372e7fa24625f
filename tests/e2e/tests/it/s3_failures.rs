//! Media in a bucket whose store fails, and what is left there of uploads that never ended.

use std::{sync::Arc, time::Duration};

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use futures_util::TryStreamExt;
use patchbay_app::{
    model::{JobKind, KeyScope},
    work,
};
use patchbay_core::TenantId;
use reqwest::Method;
use serde_json::json;
use sha2::{Digest, Sha256};
use tokio::sync::Notify;

use crate::{
    harness::{
        Api, Database, Reply, Setup, World, id_of, media, on_postgres,
        s3::{S3, kept_at},
        s3_proxy::{Mood, S3Proxy},
        send,
        source::{File, Source, Turn},
    },
    uploads::{begun, bytes_of, cut, look, offset, piece, piece_when_free, sha256, tus},
};

const MIB: usize = 1 << 20;
const FILES: &str = "files.example.com";

struct Bucket {
    world: World,
    store: S3Proxy,
    source: Source,
    _s3: S3,
}

/// A world that reaches its store, and a server of files.
async fn bucket(database: Database) -> Option<Bucket> {
    let s3 = S3::start().await?;
    let store = S3Proxy::start(&s3.endpoint).await;
    let source = Source::start(File::of(media::padded(20 << 20))).await;
    let setup = Setup {
        database,
        ..Setup::default()
    };
    let world = kept_at(&format!("http://{}", store.address), setup)
        .set("PATCHBAY__EGRESS__SIMULATED_RECEIVERS", source.hosts(&[FILES]))
        .build()
        .await;
    Some(Bucket {
        world,
        store,
        source,
        _s3: s3,
    })
}

impl Bucket {
    async fn is_clean(&self) {
        assert_eq!(self.store.open(), 0, "parts of uploads that nobody will end");
        let pages: Vec<_> = self
            .world
            .app()
            .media
            .list()
            .await
            .unwrap()
            .try_collect()
            .await
            .unwrap();
        assert_eq!(pages.concat(), []);
    }

    /// An upload of 20 MiB, of which 9 are there: a part, and a tail.
    async fn begun(&self, api: &Api) -> String {
        let path = begun(api, 20 * MIB).await;
        assert_eq!(
            piece(api, &path, 0, media::padded(20 << 20).slice(..9 * MIB))
                .await
                .status,
            204
        );
        assert_eq!(self.store.open(), 1);
        path
    }

    async fn import(&self) -> String {
        let wanted = json!({ "url": format!("https://{FILES}/") });
        id_of(&self.world.api.post("/api/media/imports", &wanted).await.with(202))
    }

    async fn shown(&self, import: &str) -> serde_json::Value {
        self.world.api.get(&format!("/api/media/imports/{import}")).await.ok()
    }
}

#[tokio::test]
async fn nothing_stays_of_uploads_that_are_called_off_or_expire() {
    let Some(bucket) = bucket(Database::Sqlite).await else {
        return;
    };
    let api = &bucket.world.api;
    let path = bucket.begun(api).await;
    assert_eq!(send(tus(api, Method::DELETE, &path)).await.status, 204);
    bucket.is_clean().await;

    bucket.begun(api).await;
    bucket.world.advance(Duration::from_hours(25));
    patchbay_server::worker::tidy(&bucket.world.serving.host).await.unwrap();
    bucket.is_clean().await;

    // In the middle of a step, which nothing has noted yet.
    let go = Arc::new(Notify::new());
    bucket.source.next([Turn::Hold(9 * MIB, go.clone())]);
    let import = bucket.import().await;
    let app = bucket.world.app().clone();
    let worker = tokio::spawn(async move { work::run_due(&app, &[JobKind::Import], 1).await });
    while bucket.store.open() == 0 || bucket.shown(&import).await["bytes_done"] == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(api.delete(&format!("/api/media/imports/{import}")).await.status, 204);
    go.notify_one();
    worker.await.unwrap().unwrap();
    bucket.is_clean().await;

    // What is no media file, and an import that has failed.
    bucket.source.has(File::of(Bytes::from(vec![b'x'; 9 * MIB])));
    let import = bucket.import().await;
    bucket.world.work_off().await;
    assert_eq!(bucket.shown(&import).await["failure"]["code"], "not_media");
    bucket.is_clean().await;
}

#[tokio::test]
async fn nothing_stays_of_pieces_that_are_refused() {
    let Some(bucket) = bucket(Database::Sqlite).await else {
        return;
    };
    let api = &bucket.world.api;
    let video = media::padded(20 << 20);
    let checked = |path: &str, sum: &[u8], bytes: Bytes| {
        let sum = STANDARD.encode(Sha256::digest(sum));
        tus(api, Method::PATCH, path)
            .header("content-type", "application/offset+octet-stream")
            .header("upload-offset", 0)
            .header("upload-checksum", format!("sha256 {sum}"))
            .body(bytes)
    };
    let first = video.slice(..9 * MIB);
    let path = begun(api, video.len()).await;
    send(checked(&path, b"other", first.clone()))
        .await
        .problem(460, "checksum_mismatch");
    bucket.is_clean().await;
    // One that is not all there cannot be checked, and one that is too long is none.
    let sum = format!(
        "upload-checksum: sha256 {}\r\n",
        STANDARD.encode(Sha256::digest(&first))
    );
    cut(api, &path, 0, 10 * MIB, &first, &sum).await;
    for _ in 0..12_000 {
        // It is free again when the one that broke off has cleaned up.
        let again = piece(api, &path, 1, "x").await;
        if again.status == 409 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(offset(api, &path).await, 0);
    bucket.is_clean().await;
    let short = begun(api, 9 * MIB).await;
    let chunks = futures_util::stream::iter([first.clone(), first].map(Ok::<_, std::io::Error>));
    let answer = piece(api, &short, 0, reqwest::Body::wrap_stream(chunks)).await;
    answer.problem(413, "too_large");
    assert_eq!(send(tus(api, Method::DELETE, &short)).await.status, 204);
    bucket.is_clean().await;
    // The upload itself is as good as before.
    assert_eq!(piece_when_free(api, &path, 0, &video).await.status, 204);
    assert_eq!(bucket.store.open(), 0);
}

async fn nothing_stays_of_a_tenants_uploads(database: Database) {
    let Some(bucket) = bucket(database).await else { return };
    let world = &bucket.world;
    let operator = world.make_key(TenantId::DEFAULT, &[KeyScope::Operator]).await;
    let operator = world.api.with_key(Some(operator));
    let tenant = id_of(
        &operator
            .post("/api/tenants", &json!({ "name": "acme" }))
            .await
            .with(201),
    );
    let path = format!("/api/tenants/{tenant}");
    let key = operator
        .post(&format!("{path}/keys"), &json!({ "name": "backend" }))
        .await
        .with(201);
    let team = operator.with_key(Some(key["text"].as_str().unwrap().to_owned()));
    bucket.begun(&team).await;
    let erasure = operator.delete(&format!("{path}?confirm=acme")).await.with(202);

    // A store that is away holds the erasure up, and loses nothing of it.
    bucket.store.is(Mood::Down { reads: true });
    world.advance(Duration::from_secs(7));
    let ran = work::run_due(world.app(), &[JobKind::Erase], 1).await;
    assert!(ran.is_err(), "{ran:?}");
    bucket.store.is(Mood::Well);
    assert_eq!(bucket.store.open(), 1);
    world.advance(Duration::from_secs(31));
    world.drain().await;
    bucket.is_clean().await;
    let receipt = operator.get(&format!("/api/erasures/{}", id_of(&erasure))).await.ok();
    assert_eq!(receipt["deleted"]["uploads"], 1, "{receipt}");
    assert!(receipt["finished_at"].is_string(), "{receipt}");
}

#[tokio::test]
async fn nothing_stays_of_an_erased_tenants_uploads_on_sqlite() {
    nothing_stays_of_a_tenants_uploads(Database::Sqlite).await;
}

#[tokio::test]
async fn nothing_stays_of_an_erased_tenants_uploads_on_postgres() {
    on_postgres(nothing_stays_of_a_tenants_uploads).await;
}

#[track_caller]
fn assert_away(answer: &Reply) {
    let problem = answer.problem(503, "storage_unavailable");
    assert_eq!(problem["retry"], true);
    assert!(answer.header("retry-after").is_some());
}

async fn an_outage_in_the_middle(mood: Mood) {
    let Some(bucket) = bucket(Database::Sqlite).await else {
        return;
    };
    let api = &bucket.world.api;
    let video = media::padded(20 << 20);
    let path = bucket.begun(api).await;
    bucket.store.is(mood);
    assert_away(&piece(api, &path, 9 * MIB, video.slice(9 * MIB..)).await);
    // The row tells where it is, without the store.
    assert_eq!(offset(api, &path).await, 9 * MIB);
    bucket.store.is(Mood::Well);
    let rest = piece_when_free(api, &path, 9 * MIB, &video[9 * MIB..19 * MIB]).await;
    assert_eq!(rest.status, 204);

    // At the very end, when all bytes are there.
    bucket.store.is(mood);
    assert_away(&piece(api, &path, 19 * MIB, video.slice(19 * MIB..)).await);
    bucket.store.is(Mood::Well);
    let at = offset(api, &path).await;
    assert_eq!(at, 19 * MIB);
    let last = piece_when_free(api, &path, at, &video[at..]).await;
    assert_eq!(last.status, 204, "{}", last.text);
    let id = last.header("patchbay-media-id").unwrap();
    assert_eq!(
        api.get(&format!("/api/media/{id}")).await.ok()["sha256"],
        sha256(&video)
    );
    assert_eq!(bytes_of(api, id).await, video);
    assert_eq!(bucket.store.open(), 0);
    assert_eq!(look(api, &path).await.status, 200);
}

#[tokio::test]
async fn an_upload_outlives_a_store_that_answers_503() {
    an_outage_in_the_middle(Mood::Down { reads: false }).await;
}

#[tokio::test]
async fn an_upload_outlives_a_store_that_hangs_up() {
    an_outage_in_the_middle(Mood::Gone).await;
}

#[tokio::test]
async fn an_import_outlives_an_outage_of_the_store() {
    let Some(bucket) = bucket(Database::Sqlite).await else {
        return;
    };
    let go = Arc::new(Notify::new());
    bucket.source.next([Turn::Hold(9 * MIB, go.clone())]);
    let import = bucket.import().await;
    let app = bucket.world.app().clone();
    let worker = tokio::spawn(async move { work::run_due(&app, &[JobKind::Import], 1).await });
    while bucket.shown(&import).await["bytes_done"] != 8 * MIB {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    bucket.store.is(Mood::Down { reads: true });
    go.notify_one();
    assert_eq!(worker.await.unwrap().unwrap(), 1);
    let shown = bucket.shown(&import).await;
    assert_eq!(
        (&shown["status"], &shown["bytes_done"]),
        (&json!("importing"), &json!(8 * MIB))
    );
    bucket.store.is(Mood::Well);
    bucket.world.advance(Duration::from_secs(60));
    assert_eq!(bucket.world.work_off().await, 1);
    let shown = bucket.shown(&import).await;
    assert_eq!(shown["media"]["sha256"], sha256(&media::padded(20 << 20)), "{shown}");
    let ranges: Vec<_> = bucket
        .source
        .asked()
        .iter()
        .map(|asked| asked.header("range").map(str::to_owned))
        .collect();
    assert_eq!(ranges, [None, Some(format!("bytes={}-", 8 * MIB))]);
}

#[tokio::test]
async fn what_cannot_be_read_is_told_or_cut_and_never_short() {
    let Some(bucket) = bucket(Database::Sqlite).await else {
        return;
    };
    let api = &bucket.world.api;
    let video = media::padded(3 << 20);
    let id = bucket.world.upload(video.clone()).await;
    let path = format!("/api/media/{id}/content");
    for mood in [Mood::Down { reads: true }, Mood::Gone] {
        bucket.store.is(mood);
        let part = api.request(Method::GET, &path).header("range", "bytes=5-99");
        assert_away(&send(part).await);
    }
    bucket.store.is(Mood::Short);
    let answer = api.request(Method::GET, &path).send().await.unwrap();
    assert_eq!(answer.headers()["content-length"], video.len().to_string());
    match answer.bytes().await {
        Ok(bytes) => assert_eq!(bytes, video, "it went on where it was"),
        Err(error) => assert!(error.is_body() || error.is_decode(), "{error}"),
    }
    bucket.store.is(Mood::Well);
    assert_eq!(bytes_of(api, &id).await, video);
}
