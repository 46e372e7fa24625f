//! Posts that are followed by server-sent events.

use std::time::Duration;

use patchbay_app::model::KeyScope;
use patchbay_core::TenantId;
use reqwest::{Method, Response, header};
use serde_json::{Value, json};

use crate::harness::{Api, POSTS, Setup, World, id_of, on_postgres, pull_post, send, video_post};

/// A stream that is being read.
struct Stream {
    response: Response,
    text: String,
}

#[derive(Debug)]
struct Told {
    id: String,
    post: Value,
}

impl Stream {
    async fn open(api: &Api, path: &str) -> Self {
        let response = api.request(Method::GET, path).send().await.unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()[header::CONTENT_TYPE], "text/event-stream");
        assert_eq!(response.headers()["x-accel-buffering"], "no");
        Self {
            response,
            text: String::new(),
        }
    }

    /// The next event. `None`: the host has ended the stream.
    async fn next(&mut self) -> Option<Told> {
        loop {
            if let Some((event, rest)) = self.text.split_once("\n\n") {
                let field = |name: &str| {
                    event
                        .lines()
                        .find_map(|line| Some(line.strip_prefix(name)?.trim().to_owned()))
                };
                let told = field("data:").map(|data| Told {
                    id: field("id:").unwrap(),
                    post: serde_json::from_str(&data).unwrap(),
                });
                assert!(told.is_none() || field("event:").as_deref() == Some("post"), "{event}");
                self.text = rest.to_owned();
                if told.is_some() {
                    return told;
                }
                continue;
            }
            let bytes = tokio::time::timeout(Duration::from_secs(30), self.response.chunk());
            let bytes = bytes.await.expect("the stream is silent").unwrap()?;
            self.text.push_str(std::str::from_utf8(&bytes).unwrap());
        }
    }

    async fn rest(mut self) -> Vec<Told> {
        let mut all = Vec::new();
        while let Some(told) = self.next().await {
            all.push(told);
        }
        all
    }
}

fn path(id: &str) -> String {
    format!("{POSTS}/{id}/updates")
}

/// A post that waits for tomorrow.
async fn waiting(world: &World, account: &str) -> String {
    let mut wanted = pull_post(account);
    wanted["scheduled_at"] = json!((world.now() + chrono::TimeDelta::days(1)).to_rfc3339());
    world.post(&wanted).await
}

#[tokio::test]
async fn a_post_is_told_of_from_its_wait_to_its_end_on_sqlite() {
    told_to_the_end(World::new().await).await;
}

#[tokio::test]
async fn a_post_is_told_of_from_its_wait_to_its_end_on_postgres() {
    on_postgres(async |database| {
        let setup = Setup {
            database,
            ..Setup::default()
        };
        told_to_the_end(setup.build().await).await;
    })
    .await;
}

async fn told_to_the_end(world: World) {
    let account = world.connect().await;
    let id = world.post(&video_post(&account, &world.video().await)).await;
    let mut stream = Stream::open(&world.api, &path(&id)).await;
    let first = stream.next().await.unwrap();
    assert_eq!(first.post["status"], "queued");
    let (told, last) = tokio::join!(stream.rest(), world.published(&id));
    let end = told.last().unwrap();
    let shown = world.api.get(&format!("{POSTS}/{id}")).await;
    assert_eq!(end.post, shown.ok(), "the data is what the post's own address answers");
    assert_eq!(end.post["status"], last["status"]);
    assert_eq!(format!("\"{}\"", end.id), shown.header("etag").unwrap());

    // As a browser asks again after the end.
    let again = |seen: &str| send(world.api.request(Method::GET, &path(&id)).header("last-event-id", seen));
    assert_eq!(again(&end.id).await.status, 204);
    let missed = again(&first.id).await;
    assert_eq!(missed.status, 200);
    assert!(missed.text.contains(&format!("id: {}", end.id)), "{}", missed.text);
}

#[tokio::test]
async fn a_stream_is_for_those_who_may_read_the_post() {
    let world = World::new().await;
    let account = world.connect().await;
    let id = waiting(&world, &account).await;
    let other = world.tenant("other").await;
    other.get(&path(&id)).await.problem(404, "not_found");
    world
        .api
        .with_key(None)
        .get(&path(&id))
        .await
        .problem(401, "unauthorized");
    let key = world.make_key(TenantId::DEFAULT, &[KeyScope::Publish]).await;
    let writer = world.api.with_key(Some(key));
    writer.get(&path(&id)).await.problem(403, "forbidden");
    world
        .api
        .get(&path("post_00000000000000000000000000000000"))
        .await
        .problem(404, "not_found");
}

#[tokio::test]
async fn a_stream_ends_with_the_key_and_with_the_host() {
    let world = World::new().await;
    let account = world.connect().await;
    let id = waiting(&world, &account).await;
    let operator = world.make_key(TenantId::DEFAULT, &[KeyScope::Operator]).await;
    let operator = world.api.with_key(Some(operator));
    let keys = format!("/api/tenants/{}/keys", TenantId::DEFAULT);
    let made = operator
        .post(&keys, &json!({ "name": "reader", "scopes": ["read"] }))
        .await
        .with(201);
    let reader = world.api.with_key(Some(made["text"].as_str().unwrap().to_owned()));
    let mut of_key = Stream::open(&reader, &path(&id)).await;
    assert_eq!(of_key.next().await.unwrap().post["status"], "queued");
    let mut of_host = Stream::open(&world.api, &path(&id)).await;
    assert!(of_host.next().await.is_some());

    let revoked = operator.delete(&format!("{keys}/{}", id_of(&made))).await;
    assert!((200..300).contains(&revoked.status), "{revoked:?}");
    assert!(of_key.next().await.is_none(), "revoked keys see no more");
    world.serving.stop().await;
    assert!(of_host.next().await.is_none(), "an open stream holds up no stop");
}
