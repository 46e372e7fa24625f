//! The main job, whole, on both databases, in real time and with the host's own workers: connect, publish a file in
//! chunks and a video by URL, receive the webhooks, read the numbers, disconnect.

use std::time::Duration;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::harness::{ADA, Database, POSTS, Setup, World, id_of, media, on_postgres, pull_post, video_post};

const CHUNK: u64 = 5_242_880;
/// Three chunks of the size above, the last one longer.
const FILE: u64 = 17_000_001;
/// Longest wait for what a host does by itself, on a machine that has other work.
const PATIENCE: Duration = Duration::from_mins(3);

#[tokio::test(flavor = "multi_thread")]
async fn the_whole_story_on_sqlite() {
    story(Database::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_whole_story_on_postgresql() {
    on_postgres(story).await;
}

/// The same source of the provider, as a WebAssembly component.
mod components {
    use super::*;
    use crate::components::{Folder, loading};

    async fn story(database: Database) {
        let folder = Folder::of_tiktok();
        let world = super::story_with(database, |setup| loading(setup, &folder)).await;
        folder.serves(&world.components().await);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn the_whole_story_on_sqlite() {
        story(Database::Sqlite).await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn the_whole_story_on_postgresql() {
        on_postgres(story).await;
    }
}

async fn story(database: Database) {
    story_with(database, |setup| setup).await;
}

async fn story_with(database: Database, with: impl FnOnce(Setup) -> Setup) -> World {
    let setup = Setup {
        database,
        running: true,
        platform: |platform| {
            platform.switches.processing_seconds = 1;
            platform.switches.post_id_seconds = 1;
        },
        ..Setup::default()
    };
    let settings = "PATCHBAY__PROVIDERS__TIKTOK__SETTINGS__";
    let chunk: &'static str = format!("{settings}CHUNK_SIZE_BYTES").leak();
    let poll: &'static str = format!("{settings}POLL_MIN_SECONDS").leak();
    let setup = setup.set(chunk, CHUNK.to_string()).set(poll, "2");
    let world = with(setup).build().await;
    let account = world.connect().await;

    let file = media::padded(FILE);
    let digest = hex::encode(Sha256::digest(&file));
    let uploaded = world.upload(file).await;
    let by_file = world.post(&video_post(&account, &uploaded)).await;
    let by_url = world.post(&pull_post(&account)).await;
    let by_file = published(&world, &by_file).await;
    let by_url = published(&world, &by_url).await;

    chunks_arrived(&world, &by_file, &digest);
    one_irreversible_call(&world, &by_file, "video.chunk_last").await;
    one_irreversible_call(&world, &by_url, "video.init_pull").await;
    for post in [&by_file, &by_url] {
        webhooks_came(&world, post).await;
        numbers(&world, post).await;
    }
    let effects = world.sim.oracle().effects(ADA);
    assert_eq!(
        (effects.inits, effects.posted, effects.public),
        (2, 2, 2),
        "each post is there once"
    );
    disconnect(&world, &account).await;
    world
}

/// In real time, the workers at work.
async fn published(world: &World, id: &str) -> Value {
    let mut last = Value::Null;
    let follow = async {
        loop {
            last = world.show(id).await;
            if last["status"] == "failed" || last["remote_ids"] != json!([]) {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    // Not enough is told by the last look.
    let _ = tokio::time::timeout(PATIENCE, follow).await;
    assert_eq!(last["status"], "published", "{last}");
    last
}

fn chunks_arrived(world: &World, post: &Value, digest: &str) {
    let oracle = world.sim.oracle();
    let truth = oracle.post(post["remote_ref"].as_str().unwrap()).unwrap();
    assert_eq!(truth.sha256, [digest], "what arrived is what was sent");
    let upload = oracle
        .uploads()
        .into_iter()
        .find(|upload| upload.publish_id == truth.publish_id)
        .unwrap();
    assert_eq!(
        (upload.video_size, upload.chunk_size, upload.total_chunk_count),
        (FILE, CHUNK, 3)
    );
    assert_eq!(world.calls("upload"), 3, "no chunk was sent twice");
    assert_eq!(oracle.authorization_headers_on_upload(), 0);
    assert_eq!(post["remote_ids"], json!([truth.published[0].post_id.to_string()]));
    assert_eq!(post["simulated"], true);
}

async fn one_irreversible_call(world: &World, post: &Value, op: &str) {
    let journal = world.api.get(&format!("{POSTS}/{}/journal", id_of(post))).await.ok();
    let calls = journal["data"].as_array().unwrap();
    assert_eq!(calls.len(), 1, "{journal}");
    assert_eq!(calls[0]["op"], op);
    assert!(
        calls[0]["answer_status"].is_u64() && calls[0]["answered_at"].is_string(),
        "{journal}"
    );
}

async fn webhooks_came(world: &World, post: &Value) {
    let filter = format!("post_id={}", id_of(post));
    let delivered = world.sim.until(|_| {
        world
            .sim
            .webhooks()
            .deliveries()
            .iter()
            .all(|delivery| format!("{:?}", delivery.state) == "Delivered")
    });
    assert!(delivered.await, "{:?}", world.sim.webhooks().deliveries());
    for _ in 0..1_200 {
        let names = world.events(&filter).await;
        let all = [
            "post.published",
            "post.publish.complete",
            "post.publish.publicly_available",
        ];
        if all.iter().all(|name| names.iter().any(|found| found == name)) {
            assert_eq!(names.len(), 3, "{names:?}");
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("{:?}", world.events(&filter).await);
}

async fn numbers(world: &World, post: &Value) {
    let metrics = world.api.get(&format!("{POSTS}/{}/metrics", id_of(post))).await.ok();
    let numbers = &metrics["data"][0];
    assert_eq!(numbers["remote_id"], post["remote_ids"][0]);
    for count in ["views", "likes", "comments", "shares"] {
        assert!(numbers["counts"][count].is_i64(), "{metrics}");
    }
}

async fn disconnect(world: &World, account: &str) {
    let done = world
        .api
        .post("/api/platforms/tiktok/disconnect", &json!({ "account_id": account }))
        .await
        .ok();
    assert_eq!(done, json!({ "success": true }));
    assert_eq!(world.calls("revoke"), 1);
    assert!(
        world.sim.oracle().refresh_tokens().iter().all(|token| !token.alive),
        "the grant ended at the platform"
    );
    let shown = world
        .api
        .get(&format!("/api/platforms/tiktok/accounts/{account}"))
        .await
        .ok();
    assert_eq!(shown["status"], "revoked");
    assert_eq!(
        world
            .number("SELECT count(*) FROM accounts WHERE tokens IS NOT NULL")
            .await,
        0,
        "no token is left"
    );
    let media = world.video().await;
    let refused = world.api.post(POSTS, &video_post(account, &media)).await;
    refused.problem(409, "account_not_active");
}
