//! PULL_FROM_URL: what is fetched, what is not, and how a download ends early.

use patchbay_simulator_tiktok::simkit::{Action, Fault};
use serde_json::{Value, json};

use crate::support::{CONTENT_INIT, VIDEO_INIT, World, code, jpeg, text, url_post, video, world};

async fn pull(world: &World, token: &str, url: &str) -> String {
    let (status, body) = world.call(VIDEO_INIT, token, url_post(url, "PUBLIC_TO_EVERYONE")).await;
    assert_eq!(status, 200, "{body}");
    text(&body["data"]["publish_id"])
}

fn hang() -> Action {
    Action::Set {
        name: "hang".to_owned(),
        value: Value::Null,
    }
}

async fn ends_with(world: &World, publish_id: &str, reason: &str) {
    let failed = world
        .tiktok
        .until(|oracle| oracle.post(publish_id).unwrap().fail_reason.is_some());
    assert!(failed.await, "no failure");
    let record = world.tiktok.oracle().post(publish_id).unwrap();
    assert_eq!(json!(record.fail_reason), reason);
}

#[tokio::test]
async fn a_video_is_fetched_from_the_mapped_host() {
    let mut world = world().await;
    world.media(&[("/v.mp4", video(300_000))]).await;
    let token = world.token("ada_public");
    let id = pull(&world, &token, "https://media.test/v.mp4?sig=1").await;
    assert!(id.starts_with("v_pub_url~v2."));
    assert!(
        world
            .tiktok
            .until(|oracle| !oracle.post(&id).unwrap().sha256.is_empty())
            .await
    );
    let status = world.status(&token, &id).await;
    assert_eq!(
        status,
        json!({ "status": "PROCESSING_DOWNLOAD", "downloaded_bytes": 300_000 })
    );
    world.advance(5);
    assert!(world.status(&token, &id).await["publicaly_available_post_id"].is_array());
}

#[tokio::test]
async fn redirects_missing_files_and_unknown_hosts_fail_the_pull() {
    let mut world = world().await;
    world.media(&[("/v.mp4", video(1000)), ("/empty", Vec::new())]).await;
    let token = world.token("ada_public");
    for url in [
        "https://media.test/moved",
        "https://media.test/missing",
        "https://media.test/empty",
        "https://elsewhere.media.test/v.mp4",
    ] {
        let id = pull(&world, &token, url).await;
        ends_with(&world, &id, "video_pull_failed").await;
    }
}

#[tokio::test]
async fn a_hanging_pull_fails_after_an_hour_or_goes_on_when_released() {
    let mut world = world().await;
    world.media(&[("/v.mp4", video(1000))]).await;
    let token = world.token("ada_public");
    world.tiktok.faults().put("stuck", Fault::new("pull", hang()));
    let id = pull(&world, &token, "https://media.test/v.mp4").await;
    assert!(world.tiktok.until(|_| world.tiktok.faults().hits("stuck") == 1).await);
    world.advance(3599);
    assert_eq!(
        world.status(&token, &id).await,
        json!({ "status": "PROCESSING_DOWNLOAD" })
    );
    world.advance(1);
    ends_with(&world, &id, "video_pull_failed").await;

    let id = pull(&world, &token, "https://media.test/v.mp4").await;
    assert!(world.tiktok.until(|_| world.tiktok.faults().hits("stuck") == 2).await);
    world.tiktok.faults().clear("stuck");
    assert!(
        world
            .tiktok
            .until(|oracle| oracle.post(&id).unwrap().bytes == 1000)
            .await
    );
}

#[tokio::test]
async fn a_download_can_be_cancelled_and_nothing_else_can() {
    let mut world = world().await;
    let inbox = world.receiver().await;
    world.media(&[("/v.mp4", video(1000))]).await;
    let token = world.token("ada_public");
    world.tiktok.faults().put("stuck", Fault::new("pull", hang()));
    let id = pull(&world, &token, "https://media.test/v.mp4").await;
    let cancel = "/v2/post/publish/cancel/";
    let (status, body) = world.call(cancel, &token, json!({ "publish_id": id })).await;
    assert_eq!((status, code(&body)), (200, "ok"));
    assert!(body.get("data").is_none());
    world.advance(1);
    ends_with(&world, &id, "publish_cancelled").await;
    world.tiktok.settle().await;
    assert_eq!(inbox.events(), ["post.publish.failed"]);
    assert_eq!(inbox.content(0)["reason"], "publish_cancelled");
    let (status, body) = world.call(cancel, &token, json!({ "publish_id": id })).await;
    assert_eq!((status, code(&body)), (400, "publish_not_cancellable"));
}

#[tokio::test]
async fn photos_are_checked_and_a_failed_photo_has_its_own_reason() {
    let mut world = world().await;
    let png = b"\x89PNG\r\n\x1a\n and so on".to_vec();
    world.media(&[("/1.jpg", jpeg()), ("/2.png", png)]).await;
    let token = world.token("ada_public");
    for (name, reason) in [
        ("2.png", "picture_size_check_failed"),
        ("missing.jpg", "photo_pull_failed"),
    ] {
        let body = json!({
            "media_type": "PHOTO", "post_mode": "DIRECT_POST",
            "post_info": { "privacy_level": "SELF_ONLY" },
            "source_info": {
                "source": "PULL_FROM_URL", "photo_cover_index": 0,
                "photo_images": ["https://media.test/1.jpg", format!("https://media.test/{name}")],
            },
        });
        let (_, body) = world.call(CONTENT_INIT, &token, body).await;
        let id = text(&body["data"]["publish_id"]);
        let fetched = world.tiktok.until(|oracle| {
            let post = oracle.post(&id).unwrap();
            post.sha256.len() == 2 || post.fail_reason.is_some()
        });
        assert!(fetched.await);
        world.advance(2);
        ends_with(&world, &id, reason).await;
    }
}
