//! Media files that are fetched by their URL (R13; T49 to T58 for what a tenant may name).

use std::{sync::Arc, time::Duration};

use patchbay_app::{
    model::{JobKind, KeyScope},
    work,
};
use patchbay_core::TenantId;
use patchbay_server::api::messages::KINDS;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::sync::Notify;

use crate::{
    harness::{
        ADA, Api, Setup, World, media, on_postgres,
        receiver::{Receiver, leading_inside},
        s3::S3,
        send,
        source::{File, Source, Turn},
        video_post,
    },
    uploads::{begun, bytes_of, look, piece, sha256, tus},
};

const IMPORTS: &str = "/api/media/imports";
const FILES: &str = "files.example.com";
const MIB: usize = 1 << 20;
/// A worker that was killed has lost its job and its right to write by then.
const LEASES: Duration = Duration::from_secs(31);

/// A world that knows a server of files.
async fn world_of(setup: Setup, file: File) -> (World, Source) {
    let source = Source::start(file).await;
    let hosts = source.hosts(&[FILES, "more.example.com"]);
    let world = setup.set("PATCHBAY__EGRESS__SIMULATED_RECEIVERS", hosts).build().await;
    (world, source)
}

async fn world(file: File) -> (World, Source) {
    world_of(Setup::default(), file).await
}

fn wanted() -> Value {
    json!({ "url": format!("https://{FILES}/clip.mp4?token=canary"), "name": "clip.mp4" })
}

async fn begin(api: &Api) -> String {
    let answer = api.post(IMPORTS, &wanted()).await;
    let import = answer.with(202);
    let id = import["id"].as_str().unwrap();
    assert_eq!(answer.header("location"), Some(&*format!("{IMPORTS}/{id}")));
    id.to_owned()
}

async fn show(api: &Api, id: &str) -> Value {
    api.get(&format!("{IMPORTS}/{id}")).await.ok()
}

/// Moves time until an import has ended.
async fn ended(world: &World, id: &str) -> Value {
    for _ in 0..100 {
        world.work_off().await;
        let import = show(&world.api, id).await;
        if import["status"] != "importing" {
            return import;
        }
        let due = world.app().store.next_due(&[JobKind::Import]).await.unwrap();
        let wait = due.expect("somebody goes on with it") - world.now();
        world.advance(wait.to_std().unwrap_or_default() + Duration::from_millis(1));
    }
    panic!("it does not end: {}", show(&world.api, id).await);
}

async fn imported(world: &World, id: &str, bytes: &[u8]) -> Value {
    let import = ended(world, id).await;
    assert_eq!(import["status"], "imported", "{import}");
    assert_eq!(import["media"]["sha256"], sha256(bytes));
    assert_eq!(import["bytes_done"], bytes.len());
    assert_eq!(bytes_of(&world.api, id).await, bytes);
    import
}

async fn failed(world: &World, id: &str) -> String {
    let import = ended(world, id).await;
    assert_eq!(import["status"], "failed", "{import}");
    assert!(import["failure"]["advice"].as_str().unwrap().ends_with('.'));
    assert_eq!(world.app().store.media_bytes(TenantId::DEFAULT).await.unwrap(), 0);
    left_nothing(world).await;
    import["failure"]["code"].as_str().unwrap().to_owned()
}

async fn left_nothing(world: &World) {
    use futures_util::TryStreamExt;
    let pages: Vec<_> = world.app().media.list().await.unwrap().try_collect().await.unwrap();
    assert_eq!(pages.concat(), []);
}

async fn a_file_is_fetched(setup: Setup) {
    let video = media::padded(20 << 20);
    let (world, source) = world_of(setup, File::of(video.clone())).await;
    let hooks = Receiver::start().await;
    let world = world
        .restarted_with(
            "PATCHBAY__EGRESS__SIMULATED_RECEIVERS",
            &format!("{},{}", source.hosts(&[FILES]), hooks.hosts(&["hooks.example.com"])),
        )
        .await;
    let api = &world.api;
    let endpoint = json!({ "url": "https://hooks.example.com/" });
    api.post("/api/webhook-endpoints", &endpoint).await.with(201);

    let create = |body: Value| {
        api.request(Method::POST, IMPORTS)
            .header("idempotency-key", "one")
            .json(&body)
    };
    let answer = send(create(wanted())).await;
    let import = answer.with(202);
    assert_eq!(
        (&import["status"], &import["bytes_done"]),
        (&json!("importing"), &json!(0))
    );
    assert_eq!(answer.header("idempotency-replayed"), Some("false"));
    let id = import["id"].as_str().unwrap();
    let again = send(create(wanted())).await;
    assert_eq!(again.with(202)["id"], id);
    assert_eq!(again.header("idempotency-replayed"), Some("true"));
    let other = json!({ "url": format!("https://{FILES}/other.mp4") });
    send(create(other)).await.problem(422, "idempotency_key_reused");

    let import = imported(&world, id, &video).await;
    assert_eq!(
        (&import["name"], &import["media"]["mime"]),
        (&json!("clip.mp4"), &json!("video/mp4"))
    );
    assert_eq!(
        (&import["media"]["id"], &import["bytes_total"]),
        (&json!(id), &json!(video.len()))
    );
    // The file answers for the request that it came by.
    assert_eq!(send(create(wanted())).await.with(202)["status"], "imported");
    let asked = source.asked();
    assert_eq!(asked.len(), 1, "once, whatever was asked again");
    assert_eq!(
        (&*asked[0].path, asked[0].header("host")),
        ("/clip.mp4?token=canary", Some(FILES))
    );
    for name in ["authorization", "cookie", "referer", "range"] {
        assert_eq!(asked[0].header(name), None);
    }
    api.delete(&format!("{IMPORTS}/{id}")).await.problem(404, "not_found");

    world.drain().await;
    let got = hooks.got();
    assert_eq!(got.len(), 1);
    checked(&got[0].json());
    assert_eq!(got[0].json()["type"], "media.imported");
    assert_eq!(got[0].json()["data"]["payload"]["media_id"], id);

    // It is published as any file.
    let account = world.connect_as(api, ADA).await;
    let post = world.post(&video_post(&account, id)).await;
    assert_eq!(world.settled(&post).await["status"], "published");
}

fn checked(message: &Value) {
    let kind = KINDS.iter().find(|kind| message["type"] == kind.name).unwrap();
    (kind.check)(&message.to_string()).unwrap_or_else(|error| panic!("{error}: {message}"));
}

#[tokio::test]
async fn a_file_is_fetched_on_sqlite() {
    a_file_is_fetched(Setup::default()).await;
}

#[tokio::test]
async fn a_file_is_fetched_on_postgres() {
    on_postgres(async |database| {
        let setup = Setup {
            database,
            ..Setup::default()
        };
        a_file_is_fetched(setup).await;
    })
    .await;
}

#[tokio::test]
async fn a_file_is_fetched_into_a_bucket() {
    let Some(s3) = S3::start().await else { return };
    a_file_is_fetched(s3.keeps(Setup::default())).await;
}

async fn what_broke_off_goes_on(setup: Setup) {
    let video = media::padded(30 << 20);
    let (world, source) = world_of(setup, File::of(video.clone())).await;
    let api = &world.api;
    // More often than it would be tried without a step forward.
    source.next((0..3).map(|_| Turn::Cut(9 * MIB)));
    let id = begin(api).await;
    for cuts in 1..=3 {
        assert_eq!(world.work_off().await, 1);
        let import = show(api, &id).await;
        assert_eq!(
            (&import["bytes_done"], &import["bytes_total"]),
            (&json!(cuts * 9 * MIB), &json!(video.len()))
        );
        world.advance(Duration::from_secs(10));
    }
    imported(&world, &id, &video).await;
    let asked = source.asked();
    let ranges: Vec<_> = asked.iter().map(|asked| asked.header("range")).collect();
    let rest = |cuts: usize| format!("bytes={}-", cuts * 9 * MIB);
    assert_eq!(ranges, [None, Some(&*rest(1)), Some(&*rest(2)), Some(&*rest(3))]);
    assert!(
        asked[1..]
            .iter()
            .all(|asked| asked.header("if-range") == Some("\"v1\""))
    );

    // Without a strong tag, or where ranges are not taken, it begins again.
    for file in [
        File {
            etag: None,
            ..File::of(video.clone())
        },
        File {
            etag: Some("W/\"v1\""),
            ..File::of(video.clone())
        },
        File {
            ranges: false,
            ..File::of(video.clone())
        },
    ] {
        source.has(file);
        source.next([Turn::Cut(9 * MIB)]);
        let id = begin(api).await;
        imported(&world, &id, &video).await;
    }
    // Another version is fetched as a whole.
    source.has(File::of(media::padded(29 << 20)));
    source.next([Turn::Cut(9 * MIB)]);
    let id = begin(api).await;
    world.work_off().await;
    let other = media::padded(12 << 20);
    source.has(File {
        etag: Some("\"v2\""),
        ..File::of(other.clone())
    });
    imported(&world, &id, &other).await;
}

#[tokio::test]
async fn what_broke_off_goes_on_on_sqlite() {
    what_broke_off_goes_on(Setup::default()).await;
}

#[tokio::test]
async fn what_broke_off_goes_on_on_postgres() {
    on_postgres(async |database| {
        let setup = Setup {
            database,
            ..Setup::default()
        };
        what_broke_off_goes_on(setup).await;
    })
    .await;
}

#[tokio::test]
async fn what_broke_off_goes_on_in_a_bucket() {
    let Some(s3) = S3::start().await else { return };
    what_broke_off_goes_on(s3.keeps(Setup::default())).await;
}

async fn until_done(api: &Api, id: &str, bytes: usize) {
    for _ in 0..12_000 {
        if show(api, id).await["bytes_done"].as_u64().unwrap() >= bytes as u64 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("it stays at {}", show(api, id).await);
}

#[tokio::test]
async fn a_killed_worker_is_followed_by_another_and_never_accompanied() {
    on_postgres(async |database| {
        let video = media::padded(20 << 20);
        let setup = Setup {
            database,
            ..Setup::default()
        };
        let (world, source) = world_of(setup, File::of(video.clone())).await;
        // With the folder of the first.
        let second = world.another_host("").await;
        let go = Arc::new(Notify::new());
        source.next([Turn::Hold(9 * MIB, go.clone())]);
        let id = begin(&world.api).await;
        let app = world.app().clone();
        let worker = tokio::spawn(async move { work::run_due(&app, &[JobKind::Import], 1).await });
        until_done(&world.api, &id, 8 * MIB).await;
        let others = work::run_due(&second.host.app, &[JobKind::Import], 1).await.unwrap();
        assert_eq!(others, 0, "one at a time");
        // As a kill: nothing is said, and leases stay.
        worker.abort();
        assert!(worker.await.unwrap_err().is_cancelled());
        assert_eq!(work::run_due(&second.host.app, &[JobKind::Import], 1).await.unwrap(), 0);
        world.advance(LEASES);
        assert_eq!(work::run_due(&second.host.app, &[JobKind::Import], 1).await.unwrap(), 1);
        imported(&world, &id, &video).await;
        let asked = source.asked();
        assert_eq!(asked.len(), 2);
        assert_eq!(asked[1].header("range"), Some(&*format!("bytes={}-", 8 * MIB)));
        go.notify_one();
        second.stop().await;
    })
    .await;
}

/// Runs imports that the server ends as told, and gives the code of their failure.
async fn ends(turns: impl IntoIterator<Item = String>, file: File) -> (String, usize) {
    let (world, source) = world(file).await;
    source.next(turns.into_iter().map(Turn::Raw));
    let id = begin(&world.api).await;
    let code = failed(&world, &id).await;
    let events = world.api.get("/api/events").await.ok();
    let event = &events["data"][0];
    assert_eq!(
        (&event["name"], &event["provider"]),
        (&json!("media.import_failed"), &json!("patchbay"))
    );
    assert_eq!(
        (&event["payload"]["code"], &event["payload"]["media_id"]),
        (&json!(code), &json!(id))
    );
    checked(
        &json!({ "type": event["name"], "timestamp": event["occurred_at"], "data": {
        "id": event["id"], "provider": event["provider"], "account_id": null, "post_id": null,
        "occurred_at": event["occurred_at"], "payload": event["payload"] } }),
    );
    (code, source.asked().len())
}

fn status(status: u16, headers: &str) -> String {
    format!("HTTP/1.1 {status} X\r\ncontent-length: 0\r\n{headers}\r\n")
}

fn to(url: &str) -> String {
    status(302, &format!("location: {url}\r\n"))
}

#[tokio::test]
async fn what_no_try_would_mend_is_not_tried_again() {
    let video = || File::of(media::video());
    let page = "HTTP/1.1 200 X\r\ncontent-length: 15\r\n\r\n<!doctype html>";
    for (turn, code) in [
        (status(404, ""), "http_status"),
        (status(403, ""), "http_status"),
        (status(204, ""), "http_status"),
        (status(206, "content-range: bytes 0-4/5\r\n"), "http_status"),
        (status(302, ""), "http_status"),
        (status(200, ""), "empty"),
        (
            "HTTP/1.1 200 X\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n".to_owned(),
            "empty",
        ),
        (page.to_owned(), "not_media"),
        (
            "HTTP/1.1 200 X\r\ncontent-length: 4294967297\r\n\r\n".to_owned(),
            "too_large",
        ),
        // The quota is larger than a file may be, so this one is told first.
        (to("http://files.example.com/"), "url_not_allowed"),
        (to("https://files.example.com:444/"), "url_not_allowed"),
        (to("https://u:p@files.example.com/"), "url_not_allowed"),
        (to("https://inside.example.com/"), "url_not_allowed"),
        (to("file:///etc/passwd"), "url_not_allowed"),
    ] {
        assert_eq!(ends([turn.clone()], video()).await, (code.to_owned(), 1), "{turn}");
    }
    // A length that is too short cuts the file, which is then none.
    let short = format!("HTTP/1.1 200 X\r\ncontent-length: 5\r\n\r\n{}", "x".repeat(500));
    assert_eq!(ends([short], video()).await.0, "not_media");
    let around = (0..10).map(|_| to("/again"));
    assert_eq!(ends(around, video()).await, ("too_many_redirects".to_owned(), 6));
}

#[tokio::test]
async fn a_redirect_may_lead_to_another_host_but_never_inside() {
    let video = media::video();
    let (world, source) = world(File::of(video.clone())).await;
    source.next(
        [
            to("/relative?a=b"),
            to("//more.example.com/elsewhere"),
            status(301, "location: https://files.example.com/\r\n"),
            status(307, "location: x\r\n"),
            status(308, "location: y\r\n"),
        ]
        .map(Turn::Raw),
    );
    let id = begin(&world.api).await;
    imported(&world, &id, &video).await;
    let paths: Vec<_> = source
        .asked()
        .into_iter()
        .map(|asked| (asked.headers["host"].clone(), asked.path))
        .collect();
    let expected = [
        (FILES, "/clip.mp4?token=canary"),
        (FILES, "/relative?a=b"),
        ("more.example.com", "/elsewhere"),
        (FILES, "/"),
        (FILES, "/x"),
        (FILES, "/y"),
    ];
    assert_eq!(paths, expected.map(|(host, path)| (host.to_owned(), path.to_owned())));

    let canary = Receiver::start().await;
    for url in leading_inside(FILES, canary.address.port()) {
        // A header can hold no such thing, and nothing at all is no redirect.
        if url.is_empty() || url.contains(|c: char| c.is_control()) || !url.is_ascii() {
            continue;
        }
        // Without a scheme it is a path of the host that sent it.
        if !url.contains("://") {
            continue;
        }
        source.next([Turn::Raw(to(&url))]);
        let id = begin(&world.api).await;
        let import = ended(&world, &id).await;
        assert_eq!(import["failure"]["code"], "url_not_allowed", "{url}: {import}");
    }
    assert_eq!(canary.got().len(), 0);
}

#[tokio::test]
async fn t49_t55_t57_no_import_leads_inside() {
    let (world, source) = world(File::of(media::video())).await;
    let canary = Receiver::start().await;
    for url in leading_inside(FILES, canary.address.port()) {
        let refused = world.api.post(IMPORTS, &json!({ "url": url })).await;
        assert_eq!(
            refused.problem(422, "invalid")["errors"][0]["pointer"],
            "/url",
            "{url:?}"
        );
    }
    // T50: a name of which one address leads inside.
    let inside = world
        .api
        .post(IMPORTS, &json!({ "url": "https://inside.example.com/a.mp4" }))
        .await
        .with(202);
    let import = ended(&world, inside["id"].as_str().unwrap()).await;
    assert_eq!(import["failure"]["code"], "url_not_allowed");
    assert_eq!((canary.got().len(), source.asked().len()), (0, 0));
}

#[tokio::test]
async fn what_passes_is_tried_again() {
    let video = media::padded(9 << 20);
    let (world, source) = world(File::of(video.clone())).await;
    let faults = [
        Turn::Raw(status(500, "")),
        Turn::Raw(status(429, "")),
        Turn::Raw("HTTP/1.1 2".to_owned()),
        Turn::Raw(String::new()),
        Turn::Cut(0),
        Turn::Cut(100),
    ];
    source.next(faults);
    let id = begin(&world.api).await;
    imported(&world, &id, &video).await;
    assert_eq!(source.asked().len(), 7);

    // As long as the server asks, but not for ever.
    source.next([Turn::Raw(status(503, "retry-after: 1800\r\n"))]);
    let id = begin(&world.api).await;
    world.work_off().await;
    let due = world.app().store.next_due(&[JobKind::Import]).await.unwrap().unwrap();
    assert!((due - world.now()).num_seconds() >= 1_800);
    imported(&world, &id, &video).await;
    source.next([Turn::Raw(status(503, "retry-after: 9000000\r\n"))]);
    begin(&world.api).await;
    world.work_off().await;
    let due = world.app().store.next_due(&[JobKind::Import]).await.unwrap().unwrap();
    assert_eq!((due - world.now()).num_seconds(), 3_600);
}

#[tokio::test]
async fn what_does_not_pass_is_given_up() {
    let video = || File::of(media::video());
    let down = (0..20).map(|_| status(503, ""));
    assert_eq!(ends(down, video()).await, ("http_status".to_owned(), 8));
    // A length that is too long never comes to its end.
    let long = (0..20).map(|_| "HTTP/1.1 200 X\r\ncontent-length: 100\r\n\r\nshort".to_owned());
    assert_eq!(ends(long, video()).await, ("broke_off".to_owned(), 8));
    let silent = (0..20).map(|_| String::new());
    assert_eq!(ends(silent, video()).await, ("no_answer".to_owned(), 8));

    let gone = Source::start(video()).await;
    let free = std::net::TcpListener::bind(("127.0.0.1", 0))
        .unwrap()
        .local_addr()
        .unwrap();
    drop(gone);
    let world = Setup::default()
        .set("PATCHBAY__EGRESS__SIMULATED_RECEIVERS", format!("{FILES}={free}"))
        .build()
        .await;
    let id = begin(&world.api).await;
    assert_eq!(failed(&world, &id).await, "unreachable");
}

#[tokio::test]
async fn a_server_whose_words_do_not_fit_together_is_begun_with_again() {
    let video = media::padded(20 << 20);
    let (world, source) = world(File::of(video.clone())).await;
    for lie in [
        "content-range: bytes 5-99/100\r\netag: \"v1\"\r\n",
        "content-range: bytes 9437184-20971519/30000000\r\n",
        "content-range: bytes 9437184-20971519/20971520\r\netag: \"v2\"\r\n",
        "",
    ] {
        source.next([Turn::Cut(9 * MIB), Turn::Raw(status(206, lie))]);
        let before = source.asked().len();
        let id = begin(&world.api).await;
        imported(&world, &id, &video).await;
        let asked = source.asked().split_off(before);
        let ranges: Vec<_> = asked.iter().map(|asked| asked.header("range")).collect();
        assert_eq!(ranges, [None, Some("bytes=9437184-"), None], "{lie}");
    }
}

#[tokio::test]
async fn room_is_kept_for_what_has_no_length_as_it_comes() {
    let setup = Setup::default().set("PATCHBAY__STORAGE__MEDIA_QUOTA_BYTES", (20 * MIB).to_string());
    let file = |bytes| File {
        length: false,
        etag: None,
        ..File::of(bytes)
    };
    let video = media::padded(12 << 20);
    let (world, source) = world_of(setup, file(video.clone())).await;
    let id = begin(&world.api).await;
    let import = imported(&world, &id, &video).await;
    assert_eq!(import["bytes_total"], video.len());
    let kept = || world.app().store.media_bytes(TenantId::DEFAULT);
    assert_eq!(kept().await.unwrap(), video.len() as u64, "not a byte more than it has");
    // Only so many are left.
    let id = begin(&world.api).await;
    let import = ended(&world, &id).await;
    assert_eq!(import["failure"]["code"], "storage_full", "{import}");
    source.has(File::of(media::padded(9 << 20)));
    let id = begin(&world.api).await;
    assert_eq!(ended(&world, &id).await["failure"]["code"], "storage_full");
    assert_eq!(kept().await.unwrap(), video.len() as u64);
    source.has(file(media::padded(8 << 20)));
    let id = begin(&world.api).await;
    imported(&world, &id, &media::padded(8 << 20)).await;
}

async fn an_import_is_called_off(setup: Setup) {
    let video = media::padded(20 << 20);
    let (world, source) = world_of(setup, File::of(video)).await;
    let api = &world.api;
    let early = begin(api).await;
    assert_eq!(api.delete(&format!("{IMPORTS}/{early}")).await.status, 204);
    assert_eq!(world.work_off().await, 1);
    assert_eq!(source.asked().len(), 0);

    let go = Arc::new(Notify::new());
    source.next([Turn::Hold(9 * MIB, go.clone())]);
    let id = begin(api).await;
    let app = world.app().clone();
    let worker = tokio::spawn(async move { work::run_due(&app, &[JobKind::Import], 1).await });
    until_done(api, &id, 8 * MIB).await;
    // No other door leads to it.
    let path = format!("/api/media/uploads/{id}");
    assert_eq!(look(api, &path).await.status, 404);
    let sent = piece(api, &path, 8 * MIB, "x").await;
    assert!([404, 423].contains(&sent.status), "{}", sent.text);

    assert_eq!(api.delete(&format!("{IMPORTS}/{id}")).await.status, 204);
    go.notify_one();
    assert_eq!(worker.await.unwrap().unwrap(), 1);
    api.get(&format!("{IMPORTS}/{id}")).await.problem(404, "not_found");
    assert_eq!(world.work_off().await, 0);
    assert_eq!(world.app().store.media_bytes(TenantId::DEFAULT).await.unwrap(), 0);
    left_nothing(&world).await;
    assert_eq!(world.events("").await, [""; 0]);

    // What has failed can be forgotten, and is forgotten after a day.
    for forget in [true, false] {
        source.next([Turn::Raw(status(404, ""))]);
        let id = begin(api).await;
        assert_eq!(failed(&world, &id).await, "http_status");
        let path = format!("{IMPORTS}/{id}");
        assert_eq!(api.get(&path).await.ok()["failure"]["http_status"], 404);
        if forget {
            assert_eq!(api.delete(&path).await.status, 204);
        } else {
            world.advance(Duration::from_hours(25));
        }
        api.get(&path).await.problem(404, "not_found");
    }
    // An upload is no import.
    let upload = begun(api, 10).await.replace("uploads", "imports");
    api.get(&upload).await.problem(404, "not_found");
    api.delete(&upload).await.problem(404, "not_found");
    assert_eq!(
        send(tus(api, Method::DELETE, &upload.replace("imports", "uploads")))
            .await
            .status,
        204
    );
}

#[tokio::test]
async fn an_import_is_called_off_in_a_folder() {
    an_import_is_called_off(Setup::default()).await;
}

#[tokio::test]
async fn an_import_is_called_off_in_a_bucket() {
    let Some(s3) = S3::start().await else { return };
    an_import_is_called_off(s3.keeps(Setup::default())).await;
}

#[tokio::test]
async fn an_import_belongs_to_its_tenant_and_needs_the_right_to_publish() {
    let (world, _source) = world(File::of(media::video())).await;
    let id = begin(&world.api).await;
    let path = format!("{IMPORTS}/{id}");
    let other = world.tenant("other").await;
    other.get(&path).await.problem(404, "not_found");
    other.delete(&path).await.problem(404, "not_found");
    for (scope, status) in [(KeyScope::Read, 200), (KeyScope::Connect, 403)] {
        let key = world.make_key(TenantId::DEFAULT, &[scope]).await;
        let api = world.api.with_key(Some(key));
        api.post(IMPORTS, &wanted()).await.problem(403, "forbidden");
        api.delete(&path).await.problem(403, "forbidden");
        assert_eq!(api.get(&path).await.status, status);
    }
    let long = json!({ "url": format!("https://{FILES}/"), "name": "x".repeat(256) });
    world.api.post(IMPORTS, &long).await.problem(422, "invalid");
    world
        .api
        .post(IMPORTS, &json!({ "url": "https://files.example.com/", "more": 1 }))
        .await
        .problem(422, "invalid");
    imported(&world, &id, &media::video()).await;
}

#[tokio::test]
async fn imports_of_one_tenant_do_not_hold_up_those_of_another() {
    let (world, source) = world(File::of(media::video())).await;
    let go = Arc::new(Notify::new());
    source.next([Turn::Hold(10, go.clone()), Turn::Hold(10, go.clone())]);
    for _ in 0..3 {
        begin(&world.api).await;
    }
    let run =
        |app: Arc<patchbay_app::App>| tokio::spawn(async move { work::run_due(&app, &[JobKind::Import], 2).await });
    let first = [run(world.app().clone()), run(world.app().clone())];
    while source.asked().len() < 2 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    // The third waits, since its tenant has all the places that it may have.
    assert_eq!(work::run_due(world.app(), &[JobKind::Import], 2).await.unwrap(), 0);
    let other = world.tenant("other").await;
    let theirs = begin(&other).await;
    assert_eq!(work::run_due(world.app(), &[JobKind::Import], 2).await.unwrap(), 1);
    assert_eq!(show(&other, &theirs).await["status"], "imported");
    go.notify_one();
    go.notify_one();
    for worker in first {
        assert_eq!(worker.await.unwrap().unwrap(), 1);
    }
}
