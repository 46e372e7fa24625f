//! Posts and drafts: the good ways through, and each refusal with its code and status.

use patchbay_simulator_tiktok::{Effects, ParamSpelling, Privacy};
use serde_json::{Value, json};

use crate::support::{
    CONTENT_INIT, CREATOR_INFO, INBOX_INIT, VIDEO_INIT, World, code, file_post, file_source, jpeg, text, url_post,
    video, world,
};

#[tokio::test]
async fn a_public_post_gets_its_id_later_as_a_bare_number() {
    let world = world().await;
    let token = world.token("ada_public");
    let video = video(4_194_304);
    let (id, url) = world.begin_upload(&token, video.len(), "PUBLIC_TO_EVERYONE").await;
    assert!(id.starts_with("v_pub_file~v2-1.") && id.len() <= 64);
    assert_eq!(
        world.status(&token, &id).await,
        json!({ "status": "PROCESSING_UPLOAD" })
    );
    assert_eq!(world.put(&url, &video, 0, video.len()).await.status(), 201);
    assert_eq!(
        world.status(&token, &id).await,
        json!({ "status": "PROCESSING_UPLOAD", "uploaded_bytes": 4_194_304 })
    );
    world.advance(2);
    assert_eq!(world.status(&token, &id).await, json!({ "status": "PUBLISH_COMPLETE" }));
    world.advance(3);
    let status = world.status(&token, &id).await;
    let post_id = status["publicaly_available_post_id"][0].as_u64().unwrap();
    assert_eq!(post_id.to_string().len(), 19);
    assert!(post_id > 1 << 53);

    let record = world.tiktok.oracle().post(&id).unwrap();
    assert_eq!(record.sha256, [sha256(&video)]);
    assert_eq!((record.bytes, record.account.as_str()), (4_194_304, "ada_public"));
    assert_eq!(record.published[0].post_id, post_id);
    let effects = world.tiktok.oracle().effects("ada_public");
    assert_eq!(
        effects,
        Effects {
            inits: 1,
            posted: 1,
            public: 1,
            ..Effects::default()
        }
    );
}

fn sha256(bytes: &[u8]) -> String {
    use sha2::Digest;
    hex::encode(sha2::Sha256::digest(bytes))
}

#[tokio::test]
async fn a_private_post_never_gets_an_id() {
    let world = world().await;
    let token = world.token("ada_public");
    let id = world.post_video(&token, "SELF_ONLY").await;
    world.advance(86_400 / 24);
    assert_eq!(world.status(&token, &id).await, json!({ "status": "PUBLISH_COMPLETE" }));
    assert_eq!(world.tiktok.oracle().effects("ada_public").public, 0);
}

#[tokio::test]
async fn a_draft_waits_in_the_inbox_until_the_user_posts_it() {
    let world = world().await;
    let token = world.token("ada_public");
    let video = video(1000);
    let body =
        json!({ "post_info": { "title": "draft", "privacy_level": 7 }, "source_info": file_source(1000, 1000, 1) });
    let (status, body) = world.call(INBOX_INIT, &token, body).await;
    assert_eq!(status, 200, "{body}");
    let id = text(&body["data"]["publish_id"]);
    assert!(id.starts_with("v_inbox_file~v2."));
    let url = world.local_upload(&text(&body["data"]["upload_url"]));
    world.put(&url, &video, 0, 1000).await;
    world.advance(2);
    assert_eq!(
        world.status(&token, &id).await,
        json!({ "status": "SEND_TO_USER_INBOX" })
    );

    let first = world.tiktok.post_draft(&id, None).unwrap();
    let second = world.tiktok.post_draft(&id, Some(Privacy::SelfOnly)).unwrap();
    assert_ne!(first, second);
    world.advance(3);
    let status = world.status(&token, &id).await;
    assert_eq!(
        status,
        json!({ "status": "PUBLISH_COMPLETE", "publicaly_available_post_id": [first] })
    );
    let effects = world.tiktok.oracle().effects("ada_public");
    assert_eq!(
        effects,
        Effects {
            inits: 1,
            drafts: 1,
            posted_drafts: 2,
            ..Effects::default()
        }
    );
}

#[tokio::test]
async fn photos_are_pulled_and_posted_in_both_modes() {
    let mut world = world().await;
    world.media(&[("/1.jpg", jpeg()), ("/2.jpg", jpeg())]).await;
    let token = world.token("ada_public");
    for (mode, end) in [
        ("DIRECT_POST", "PUBLISH_COMPLETE"),
        ("MEDIA_UPLOAD", "SEND_TO_USER_INBOX"),
    ] {
        let (status, body) = world.call(CONTENT_INIT, &token, photo_post(mode, 2)).await;
        assert_eq!(status, 200, "{body}");
        let id = text(&body["data"]["publish_id"]);
        assert!(id.starts_with("p_pub_url~v2."));
        assert!(body["data"]["upload_url"].is_null());
        assert!(
            world
                .tiktok
                .until(|oracle| oracle.post(&id).unwrap().sha256.len() == 2)
                .await
        );
        world.advance(2);
        assert_eq!(world.status(&token, &id).await["status"], end);
    }
}

fn photo_post(mode: &str, count: usize) -> Value {
    let urls: Vec<String> = (0..count)
        .map(|n| format!("https://media.test/{}.jpg", n % 2 + 1))
        .collect();
    json!({
        "media_type": "PHOTO",
        "post_mode": mode,
        "post_info": { "title": "t", "description": "d", "privacy_level": "PUBLIC_TO_EVERYONE" },
        "source_info": { "source": "PULL_FROM_URL", "photo_images": urls, "photo_cover_index": 0 },
    })
}

#[tokio::test]
async fn creator_info_tells_the_options_of_the_account() {
    let world = world().await;
    let (_, body) = world.call(CREATOR_INFO, &world.token("ada_public"), json!({})).await;
    let options = ["PUBLIC_TO_EVERYONE", "MUTUAL_FOLLOW_FRIENDS", "SELF_ONLY"];
    assert_eq!(body["data"]["privacy_level_options"], json!(options));
    assert_eq!(body["data"]["creator_nickname"], "Ada Public");
    assert_eq!(body["error"]["code"], "ok");
    assert_eq!(text(&body["error"]["log_id"]).len(), 34);

    // Nothing at all as a body is fine too.
    let empty = world
        .client
        .post(world.api_url(CREATOR_INFO))
        .bearer_auth(world.token("pia_private"));
    let body: Value = empty.send().await.unwrap().json().await.unwrap();
    assert_eq!(body["data"]["privacy_level_options"][0], "FOLLOWER_OF_CREATOR");
    assert_eq!(body["data"]["duet_disabled"], true);
}

#[tokio::test]
async fn caps_of_creator_info_come_at_200() {
    let world = world().await;
    let (status, body) = world.call(CREATOR_INFO, &world.token("bea_banned"), json!({})).await;
    assert_eq!((status, code(&body)), (200, "spam_risk_user_banned_from_posting"));
    assert!(body["data"]["creator_username"].is_null());
    world
        .tiktok
        .change_switches(|switches| switches.creator_info_data_at_cap = true);
    let (_, body) = world.call(CREATOR_INFO, &world.token("bea_banned"), json!({})).await;
    assert_eq!(body["data"]["creator_username"], "bea_banned");
}

/// Each on a token of its own, so that no rate window is met.
async fn check(world: &World, path: &str, account: &str, body: Value, status: u16, expected: &str) {
    let answer = world.call(path, &world.token(account), body.clone()).await;
    assert_eq!(
        (answer.0, code(&answer.1)),
        (status, expected),
        "{path} {body}: {}",
        answer.1
    );
}

fn changed(mut body: Value, pointer: &str, value: Value) -> Value {
    let (parent, name) = pointer.rsplit_once('/').unwrap();
    body.pointer_mut(parent).unwrap()[name] = value;
    body
}

#[tokio::test]
async fn malformed_posts_are_invalid_params() {
    let world = world().await;
    let good = || file_post(1000, "SELF_ONLY");
    let video_cases = [
        json!({}),
        json!({ "post_info": { "privacy_level": "SELF_ONLY" } }),
        json!({ "source_info": file_source(1000, 1000, 1) }),
        changed(good(), "/post_info/privacy_level", json!("NOBODY")),
        changed(good(), "/post_info/privacy_level", Value::Null),
        changed(good(), "/post_info/disable_duet", json!("yes")),
        changed(good(), "/post_info/title", json!("😀".repeat(1101))),
        changed(good(), "/source_info/source", json!("UPLOAD")),
        changed(good(), "/source_info/video_size", json!(-1)),
        changed(good(), "/source_info/chunk_size", Value::Null),
        changed(good(), "/source_info", file_source(50_000_123, 10_000_000, 6)),
        changed(good(), "/source_info", file_source(15_000_000, 10_000_000, 1)),
        url_post("http://media.test/v.mp4", "SELF_ONLY"),
    ];
    for body in video_cases {
        check(&world, VIDEO_INIT, "ada_public", body, 400, "invalid_params").await;
    }
    let photos = || photo_post("DIRECT_POST", 1);
    let photo_cases = [
        changed(photos(), "/media_type", json!("VIDEO")),
        changed(photos(), "/post_mode", json!("DIRECT POST")),
        changed(photos(), "/source_info/source", json!("FILE_UPLOAD")),
        changed(photos(), "/source_info/photo_images", json!([])),
        changed(photos(), "/source_info/photo_cover_index", json!(1)),
        changed(photos(), "/post_info/title", json!("x".repeat(91))),
        changed(photos(), "/post_info/description", json!("x".repeat(4001))),
        photo_post("DIRECT_POST", 36),
    ];
    for body in photo_cases {
        check(&world, CONTENT_INIT, "ada_public", body, 400, "invalid_params").await;
    }
    world
        .tiktok
        .change_switches(|switches| switches.param_spelling = ParamSpelling::InvalidParam);
    check(&world, VIDEO_INIT, "ada_public", json!({}), 400, "invalid_param").await;
    assert_eq!(world.tiktok.oracle().effects("ada_public"), Effects::default());
}

#[tokio::test]
async fn accounts_and_urls_are_refused_with_403() {
    let world = world().await;
    let public = || file_post(1000, "PUBLIC_TO_EVERYONE");
    check(
        &world,
        VIDEO_INIT,
        "bea_banned",
        public(),
        403,
        "spam_risk_user_banned_from_posting",
    )
    .await;
    check(
        &world,
        VIDEO_INIT,
        "pia_private",
        public(),
        403,
        "privacy_level_option_mismatch",
    )
    .await;
    let follower = file_post(1000, "FOLLOWER_OF_CREATOR");
    check(
        &world,
        VIDEO_INIT,
        "ada_public",
        follower,
        403,
        "privacy_level_option_mismatch",
    )
    .await;
    let foreign = url_post("https://bucket.example/v.mp4", "SELF_ONLY");
    check(
        &world,
        VIDEO_INIT,
        "ada_public",
        foreign,
        403,
        "url_ownership_unverified",
    )
    .await;

    let mut account = world.tiktok.account("ada_public").unwrap();
    account.old_app = true;
    world.tiktok.put_account(account);
    check(
        &world,
        CONTENT_INIT,
        "ada_public",
        photo_post("MEDIA_UPLOAD", 1),
        400,
        "app_version_check_failed",
    )
    .await;
    assert_eq!(world.tiktok.oracle().posts().len(), 0);
}

#[tokio::test]
async fn an_unaudited_app_posts_privately_on_private_accounts_only() {
    let world = world().await;
    world.tiktok.change_switches(|switches| switches.audited = false);
    let unaudited = "unaudited_client_can_only_post_to_private_accounts";
    check(
        &world,
        VIDEO_INIT,
        "ada_public",
        file_post(1000, "SELF_ONLY"),
        403,
        unaudited,
    )
    .await;
    check(
        &world,
        VIDEO_INIT,
        "pia_private",
        file_post(1000, "FOLLOWER_OF_CREATOR"),
        403,
        unaudited,
    )
    .await;
    check(
        &world,
        VIDEO_INIT,
        "pia_private",
        file_post(1000, "SELF_ONLY"),
        200,
        "ok",
    )
    .await;
    // The options are not narrowed.
    let (_, body) = world.call(CREATOR_INFO, &world.token("ada_public"), json!({})).await;
    assert_eq!(body["data"]["privacy_level_options"][0], "PUBLIC_TO_EVERYONE");
}

#[tokio::test]
async fn every_endpoint_wants_its_scope() {
    let world = world().await;
    let grant = |scopes: &[&str]| world.tiktok.grant("ada_public", scopes).unwrap().access_token;
    let (publish, upload, basic) = (
        grant(&["video.publish"]),
        grant(&["video.upload"]),
        grant(&["user.info.basic"]),
    );
    let status = "/v2/post/publish/status/fetch/";
    let cases = [
        (CREATOR_INFO, &upload, json!({})),
        (VIDEO_INIT, &upload, file_post(1000, "SELF_ONLY")),
        (
            INBOX_INIT,
            &publish,
            json!({ "source_info": file_source(1000, 1000, 1) }),
        ),
        (CONTENT_INIT, &upload, photo_post("DIRECT_POST", 1)),
        (CONTENT_INIT, &publish, photo_post("MEDIA_UPLOAD", 1)),
        (status, &basic, json!({ "publish_id": "x" })),
        ("/v2/video/list/", &publish, json!({})),
    ];
    for (path, token, body) in cases {
        let (status, body) = world.call(path, token, body).await;
        assert_eq!((status, code(&body)), (401, "scope_not_authorized"), "{path}");
    }
    for token in [&publish, &upload] {
        let (status, body) = world.call(status, token, json!({ "publish_id": "x" })).await;
        assert_eq!((status, code(&body)), (400, "invalid_publish_id"));
    }
}

#[tokio::test]
async fn a_publish_id_belongs_to_its_account() {
    let world = world().await;
    let (id, _) = world.begin_upload(&world.token("ada_public"), 1000, "SELF_ONLY").await;
    let body = json!({ "publish_id": id });
    let foreign = "token_not_authorized_for_specified_publish_id";
    check(
        &world,
        "/v2/post/publish/status/fetch/",
        "pia_private",
        body.clone(),
        400,
        foreign,
    )
    .await;
    check(
        &world,
        "/v2/post/publish/cancel/",
        "pia_private",
        body.clone(),
        400,
        foreign,
    )
    .await;
    check(
        &world,
        "/v2/post/publish/cancel/",
        "ada_public",
        body,
        400,
        "publish_not_cancellable",
    )
    .await;
}

#[tokio::test]
async fn bad_files_fail_with_their_reason() {
    let world = world().await;
    let token = world.token("ada_public");
    let (id, url) = world.begin_upload(&token, 1000, "SELF_ONLY").await;
    world.put(&url, &[b'x'; 1000], 0, 1000).await;
    world.advance(2);
    let status = world.status(&token, &id).await;
    assert_eq!(
        status,
        json!({ "status": "FAILED", "fail_reason": "file_format_check_failed" })
    );
}
