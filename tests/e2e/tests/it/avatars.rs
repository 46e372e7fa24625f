//! Pictures of accounts, fetched from where platforms keep them (T49 to T58 for the fetching).

use std::time::Duration;

use bytes::Bytes;
use patchbay_app::model::KeyScope;
use patchbay_core::TenantId;
use reqwest::Method;
use serde_json::json;

use crate::harness::{
    ADA, Api, Database, Reply, Setup, World, media, on_postgres, send,
    source::{File, Source, Turn},
};

const FILES: &str = "files.example.com";
const DAY: Duration = Duration::from_hours(24);

fn path(account: &str) -> String {
    format!("/api/platforms/tiktok/accounts/{account}/avatar")
}

/// The picture: its type and bytes.
async fn shown(api: &Api, account: &str) -> Option<(String, Bytes)> {
    let answer = api.request(Method::GET, &path(account)).send().await.unwrap();
    match answer.status().as_u16() {
        404 => None,
        200 => {
            let mime = answer.headers()["content-type"].to_str().unwrap().to_owned();
            Some((mime, answer.bytes().await.unwrap()))
        }
        status => panic!("{status}"),
    }
}

async fn a_picture_is_fetched_once_and_again_after_a_week(database: Database) {
    let world = Setup {
        database,
        ..Setup::default()
    }
    .build()
    .await;
    let api = &world.api;
    let account = world.connect().await;
    let answer = send(api.request(Method::GET, &path(&account))).await;
    assert_eq!(answer.status, 200);
    for (name, value) in [
        ("content-type", "image/png"),
        ("x-content-type-options", "nosniff"),
        ("content-security-policy", "default-src 'none'; sandbox"),
        ("cache-control", "private, max-age=300"),
    ] {
        assert_eq!(answer.header(name), Some(value), "{name}");
    }
    let tag = answer.header("etag").unwrap().to_owned();
    let again = |tag: &str| send(api.request(Method::GET, &path(&account)).header("if-none-match", tag));
    let same = again(&tag).await;
    assert_eq!((same.status, same.header("etag"), &*same.text), (304, Some(&*tag), ""));
    assert_eq!(again(&format!("\"other\", W/{tag}")).await.status, 304);
    assert_eq!(again("\"other\"").await.status, 200);
    assert_eq!(world.calls("picture"), 1);

    world.advance(6 * DAY);
    assert_eq!(again("").await.status, 200);
    assert_eq!(world.calls("picture"), 1);
    world.advance(2 * DAY);
    assert_eq!(again("").await.status, 200);
    assert_eq!(world.calls("picture"), 2);
    // Where there is none any more, the old one stays.
    world.advance(8 * DAY);
    world.refuse("picture", "gone");
    for _ in 0..2 {
        assert_eq!(again("").await.status, 200);
    }
    assert_eq!(world.calls("picture"), 3);

    // It goes with its account.
    assert_eq!(world.number("SELECT count(*) FROM avatars").await, 1);
    let erasure = api.delete(&format!("/api/platforms/tiktok/accounts/{account}")).await;
    assert_eq!(erasure.status, 202, "{}", erasure.text);
    world.drain().await;
    assert_eq!(world.number("SELECT count(*) FROM avatars").await, 0);
    api.get(&path(&account)).await.problem(404, "not_found");
}

#[tokio::test]
async fn a_picture_is_fetched_once_and_again_after_a_week_on_sqlite() {
    a_picture_is_fetched_once_and_again_after_a_week(Database::Sqlite).await;
}

#[tokio::test]
async fn a_picture_is_fetched_once_and_again_after_a_week_on_postgres() {
    on_postgres(a_picture_is_fetched_once_and_again_after_a_week).await;
}

#[tokio::test]
async fn where_there_is_no_picture_it_is_looked_for_again_after_an_hour() {
    let world = World::new().await;
    let account = world.connect().await;
    world.refuse("picture", "gone");
    for _ in 0..3 {
        let answer: Reply = world.api.get(&path(&account)).await;
        answer.problem(404, "not_found");
    }
    assert_eq!(world.calls("picture"), 1);
    world.sim.faults().clear("picture");
    world.advance(Duration::from_hours(1));
    assert!(shown(&world.api, &account).await.is_some());
    assert_eq!(world.calls("picture"), 2);
}

#[tokio::test]
async fn what_is_no_small_picture_of_a_public_host_is_none() {
    let source = Source::start(File::of(media::png())).await;
    let world = Setup::default()
        .set("PATCHBAY__EGRESS__SIMULATED_RECEIVERS", source.hosts(&[FILES]))
        .build()
        .await;
    let account = world.connect().await;
    // As an account of the real platform, whose pictures are wherever it says.
    world
        .execute("UPDATE accounts SET simulated = 0, avatar_url = 'https://files.example.com/0'")
        .await;
    assert_eq!(
        shown(&world.api, &account).await,
        Some(("image/png".into(), media::png()))
    );
    let asked = source.asked().remove(0);
    for name in ["authorization", "cookie", "referer"] {
        assert_eq!(asked.header(name), None);
    }

    let large = [&media::png()[..], &[0; 1024 * 1024]].concat();
    let svg = Bytes::from_static(b"<svg xmlns=\"http://www.w3.org/2000/svg\"><script>alert(1)</script></svg>");
    for bytes in [
        svg,
        Bytes::from(large),
        media::video(),
        Bytes::from_static(b"<!doctype html>"),
    ] {
        source.has(File::of(bytes));
        world.execute("DELETE FROM avatars").await;
        assert_eq!(shown(&world.api, &account).await, None);
    }
    for kind in ["GIF89a", "RIFF____WEBPVP8 "] {
        source.has(File::of(Bytes::from_static(kind.as_bytes())));
        world.execute("DELETE FROM avatars").await;
        assert!(shown(&world.api, &account).await.is_some());
    }
    // The old one is shown until there is another, and a redirect is none.
    source.next([Turn::Raw(
        "HTTP/1.1 302 X\r\nlocation: /x\r\ncontent-length: 0\r\n\r\n".into(),
    )]);
    world
        .execute("UPDATE accounts SET avatar_url = 'https://files.example.com/1'")
        .await;
    assert_eq!(shown(&world.api, &account).await.unwrap().0, "image/webp");
    source.has(File::of(media::jpeg()));
    world
        .execute("UPDATE accounts SET avatar_url = 'https://files.example.com/2'")
        .await;
    assert_eq!(
        shown(&world.api, &account).await,
        Some(("image/jpeg".into(), media::jpeg()))
    );

    let before = source.asked().len();
    for inside in [
        "UPDATE accounts SET avatar_url = 'https://inside.example.com/'",
        "UPDATE accounts SET avatar_url = 'https://127.0.0.1/'",
        "UPDATE accounts SET avatar_url = 'http://files.example.com/'",
        "UPDATE accounts SET avatar_url = 'https://u:p@files.example.com/'",
    ] {
        world.execute("DELETE FROM avatars").await;
        world.execute(inside).await;
        assert_eq!(shown(&world.api, &account).await, None, "{inside}");
    }
    // Of a simulated account there is nothing in the real world.
    world.execute("DELETE FROM avatars").await;
    world
        .execute("UPDATE accounts SET simulated = 1, avatar_url = 'https://files.example.com/3'")
        .await;
    assert_eq!(shown(&world.api, &account).await, None);
    assert_eq!(source.asked().len(), before);
    world.execute("UPDATE accounts SET avatar_url = NULL").await;
    assert_eq!(shown(&world.api, &account).await, None);
}

#[tokio::test]
async fn a_picture_belongs_to_its_tenant_and_a_pass_shows_those_of_its_user() {
    let world = World::new().await;
    let account = world.connect_as(&world.api, ADA).await;
    let other = world.tenant("other").await;
    other.get(&path(&account)).await.problem(404, "not_found");
    world
        .api
        .with_key(None)
        .get(&path(&account))
        .await
        .problem(401, "unauthorized");
    let key = world.make_key(TenantId::DEFAULT, &[KeyScope::Connect]).await;
    world
        .api
        .with_key(Some(key))
        .get(&path(&account))
        .await
        .problem(403, "forbidden");
    let elsewhere = path(&account).replace("tiktok", "bluesky");
    world.api.get(&elsewhere).await.problem(404, "provider_unknown");

    let owner = world
        .api
        .get(&format!("/api/platforms/tiktok/accounts/{account}"))
        .await
        .ok()["owner"]
        .clone();
    for (owner, status) in [(owner, 200), (json!("somebody-else"), 404)] {
        let wanted = json!({ "owner": owner, "origins": ["https://app.example.com"] });
        let pass = world
            .api
            .post("/api/platforms/tiktok/embed-sessions", &wanted)
            .await
            .with(201);
        let pass = pass["token"].as_str().unwrap();
        let parts: Vec<_> = pass.splitn(3, '.').collect();
        let place = format!("/api/embed/{}.{}", parts[0], parts[1]);
        let with_pass = world.api.with_key(Some(parts[2].to_owned()));
        let asked = path(&account).replacen("/api", &place, 1);
        let answer = send(
            with_pass
                .request(Method::GET, &asked)
                .header("origin", "https://app.example.com"),
        )
        .await;
        assert_eq!(answer.status, status, "{}", answer.text);
        assert_eq!(
            answer.header("access-control-allow-origin"),
            Some("https://app.example.com")
        );
        let from = send(
            with_pass
                .request(Method::GET, &asked)
                .header("origin", "https://evil.example.com"),
        )
        .await;
        from.problem(403, "forbidden");
    }
}
