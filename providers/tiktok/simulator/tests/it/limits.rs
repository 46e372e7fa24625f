//! Rate windows and daily counters.

use patchbay_simulator_tiktok::Account;
use serde_json::json;

use crate::support::{CREATOR_INFO, INBOX_INIT, VIDEO_INIT, World, code, file_post, file_source, text, video, world};

async fn init(world: &World, token: &str) -> (u16, String) {
    let (status, body) = world.call(VIDEO_INIT, token, file_post(1000, "SELF_ONLY")).await;
    (status, code(&body).to_owned())
}

#[tokio::test]
async fn six_inits_a_minute_per_token_and_endpoint() {
    let world = world().await;
    let token = world.token("ada_public");
    for _ in 0..6 {
        assert_eq!(init(&world, &token).await.0, 200);
    }
    assert_eq!(init(&world, &token).await, (429, "rate_limit_exceeded".to_owned()));
    let draft = json!({ "source_info": file_source(1000, 1000, 1) });
    assert_eq!(world.call(INBOX_INIT, &token, draft).await.0, 200, "another endpoint");
    assert_eq!(init(&world, &world.token("ada_public")).await.0, 200, "another token");
    world.advance(60);
    assert_eq!(init(&world, &token).await.0, 200);
    assert_eq!(world.tiktok.oracle().max_per_minute("video_init"), 7);
}

#[tokio::test]
async fn status_and_creator_info_have_their_own_windows() {
    let world = world().await;
    let token = world.token("ada_public");
    for (path, limit) in [("/v2/post/publish/status/fetch/", 30), (CREATOR_INFO, 20)] {
        for _ in 0..limit {
            assert_ne!(world.call(path, &token, json!({ "publish_id": "x" })).await.0, 429);
        }
        assert_eq!(
            world.call(path, &token, json!({ "publish_id": "x" })).await.0,
            429,
            "{path}"
        );
    }
}

#[tokio::test]
async fn fifteen_posts_a_day_then_both_endpoints_say_so() {
    let world = world().await;
    for _ in 0..15 {
        assert_eq!(init(&world, &world.token("ada_public")).await.0, 200);
    }
    let refused = init(&world, &world.token("ada_public")).await;
    assert_eq!(refused, (403, "spam_risk_too_many_posts".to_owned()));
    let (status, body) = world.call(CREATOR_INFO, &world.token("ada_public"), json!({})).await;
    assert_eq!((status, code(&body)), (200, "spam_risk_too_many_posts"));
    assert_eq!(
        init(&world, &world.token("quinn_quiet")).await.0,
        200,
        "another creator"
    );
    // Their upload URLs have run out, so they were never posts.
    world.advance(3600);
    assert_eq!(init(&world, &world.token("ada_public")).await.0, 200);
}

#[tokio::test]
async fn five_pending_drafts_and_posting_one_frees_a_place() {
    let world = world().await;
    let draft = async || {
        let body = json!({ "source_info": file_source(1000, 1000, 1) });
        world.call(INBOX_INIT, &world.token("ada_public"), body).await
    };
    let mut ids = Vec::new();
    for _ in 0..5 {
        let (_, body) = draft().await;
        let url = world.local_upload(&text(&body["data"]["upload_url"]));
        world.put(&url, &video(1000), 0, 1000).await;
        ids.push(text(&body["data"]["publish_id"]));
    }
    world.advance(2);
    let (status, body) = draft().await;
    assert_eq!((status, code(&body)), (403, "spam_risk_too_many_pending_share"));
    assert!(body.get("data").is_none());
    world.tiktok.post_draft(&ids[0], None).unwrap();
    assert_eq!(draft().await.0, 200);
    assert_eq!(draft().await.0, 403);
    world.tiktok.discard_draft(&ids[1]).unwrap();
    assert_eq!(draft().await.0, 200);
}

#[tokio::test]
async fn an_unaudited_app_serves_five_users_a_day() {
    let world = world().await;
    world.tiktok.change_switches(|switches| switches.audited = false);
    for number in 0..6 {
        let name = format!("user{number}");
        world.tiktok.put_account(Account {
            private: true,
            ..Account::named(&name, &name)
        });
        let (status, code) = init(&world, &world.token(&name)).await;
        let expected = if number < 5 {
            (200, "ok")
        } else {
            (403, "reached_active_user_cap")
        };
        assert_eq!((status, code.as_str()), expected);
    }
    assert_eq!(init(&world, &world.token("user0")).await.0, 200, "already counted");
    let (status, body) = world.call(CREATOR_INFO, &world.token("user5"), json!({})).await;
    assert_eq!((status, code(&body)), (200, "reached_active_user_cap"));
}
