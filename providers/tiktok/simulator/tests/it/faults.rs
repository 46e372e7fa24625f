//! Fault switches on TikTok's own operations.

use patchbay_simulator_tiktok::simkit::{Action, Fault, When};
use serde_json::{Value, json};

use crate::authorize::request;
use crate::support::{CREATOR_INFO, VIDEO_INIT, WEB, World, answer, code, file_post, video, world};

fn error(code: &str) -> Action {
    Action::Error {
        code: code.to_owned(),
        status: None,
        message: None,
    }
}

fn set(name: &str, value: Value) -> Action {
    Action::Set {
        name: name.to_owned(),
        value,
    }
}

impl World {
    fn fault(&self, op: &str, action: Action) {
        self.tiktok.faults().put("f", Fault::new(op, action).once());
    }
}

#[tokio::test]
async fn any_code_can_be_asked_for_with_its_documented_status() {
    let world = world().await;
    let token = world.token("ada_public");
    let cases = [
        ("creator_info", CREATOR_INFO, "reached_active_user_cap", 200),
        ("video_init", VIDEO_INIT, "reached_active_user_cap", 403),
        ("video_init", VIDEO_INIT, "internal_error", 500),
        ("video_init", VIDEO_INIT, "access_token_invalid", 401),
        ("video_init", VIDEO_INIT, "rate_limit_exceeded", 429),
        ("video_init", VIDEO_INIT, "invalid_file_upload", 400),
    ];
    for (op, path, wanted, status) in cases {
        world.fault(op, error(wanted));
        let (got, body) = world.call(path, &token, file_post(1000, "SELF_ONLY")).await;
        assert_eq!((got, code(&body)), (status, wanted));
    }
    assert!(world.tiktok.oracle().posts().is_empty());
}

#[tokio::test]
async fn a_lost_answer_still_had_its_effect() {
    let world = world().await;
    let token = world.token("ada_public");
    world.fault("video_init", Action::Drop { when: When::After });
    let lost = world
        .client
        .post(world.api_url(VIDEO_INIT))
        .bearer_auth(&token)
        .json(&file_post(1000, "SELF_ONLY"));
    lost.send().await.unwrap_err();
    assert_eq!(world.tiktok.oracle().effects("ada_public").inits, 1);
}

#[tokio::test]
async fn a_chunk_can_fail_with_and_without_being_taken() {
    let world = world().await;
    let token = world.token("ada_public");
    let bytes = video(1000);
    let (id, url) = world.begin_upload(&token, 1000, "SELF_ONLY").await;
    let fails = |when| Action::Status {
        status: 500,
        body: String::new(),
        content_type: "text/plain".to_owned(),
        when,
    };
    world.fault("upload", fails(When::Before));
    assert_eq!(world.put(&url, &bytes, 0, 1000).await.status(), 500);
    assert_eq!(world.tiktok.oracle().post(&id).unwrap().bytes, 0);
    world.fault("upload", fails(When::After));
    assert_eq!(world.put(&url, &bytes, 0, 1000).await.status(), 500);
    let again = world.put(&url, &bytes, 0, 1000).await;
    assert_eq!(again.status(), 416);
    assert_eq!(again.headers()["content-range"], "bytes 0-1000/1000");
    assert_eq!(world.tiktok.oracle().post(&id).unwrap().bytes, 1000);
}

#[tokio::test]
async fn processing_can_hang_and_fail_for_any_reason() {
    let world = world().await;
    let token = world.token("ada_public");
    world
        .tiktok
        .faults()
        .put("stuck", Fault::new("processing", set("hang", Value::Null)));
    let id = world.post_video(&token, "SELF_ONLY").await;
    world.advance(15 * 60);
    assert_eq!(world.status(&token, &id).await["status"], "PROCESSING_UPLOAD");
    world.tiktok.faults().clear("stuck");
    assert_eq!(world.status(&token, &id).await["status"], "PUBLISH_COMPLETE");

    for reason in ["internal", "frame_rate_check_failed", "spam_risk_text", "spam_risk"] {
        world.fault("processing", set("fail", json!(reason)));
        let token = world.token("ada_public");
        let id = world.post_video(&token, "SELF_ONLY").await;
        assert_eq!(world.status(&token, &id).await["fail_reason"], reason);
    }
}

#[tokio::test]
async fn oauth_faults_keep_the_flat_form() {
    let world = world().await;
    world.fault("token", error("server_error"));
    let (status, body) = world.refresh("rft.x").await;
    assert_eq!((status, &body["error"]), (200, &json!("server_error")));
    world.fault("token", set("omit_access_token", Value::Null));
    let tokens = world.tiktok.grant("ada_public", &["video.publish"]).unwrap();
    let (status, body) = world.refresh(&tokens.refresh_token).await;
    assert_eq!((status, body.get("access_token"), body.get("error")), (200, None, None));
    world.fault("authorize", error("server_error"));
    let sent_back = world.show(&request(WEB)).await;
    assert!(
        sent_back.headers()["location"]
            .to_str()
            .unwrap()
            .contains("error=server_error")
    );
}

#[tokio::test]
async fn a_fault_can_be_bound_to_one_account() {
    let world = world().await;
    let fault = Fault::new("creator_info", error("internal_error")).for_account("pia_private");
    world.tiktok.faults().put("f", fault);
    let ask = async |account: &str| {
        let request = world
            .client
            .post(world.api_url(CREATOR_INFO))
            .bearer_auth(world.token(account));
        answer(request.send().await.unwrap()).await.0
    };
    assert_eq!(ask("ada_public").await, 200);
    assert_eq!(ask("pia_private").await, 500);
}
