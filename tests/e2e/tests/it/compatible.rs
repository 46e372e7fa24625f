//! The paths and exact bodies of the integration that users migrate from.

use patchbay_simkit::{Fault, Signing};
use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::{ADA, Setup, World, media, query, send, webhook};

const UPLOAD: &str = "/api/tiktok/upload";

/// A world whose app is registered with the old callback.
async fn world() -> World {
    Setup {
        callback: "/api/auth/tiktok/callback",
        ..Setup::default()
    }
    .build()
    .await
}

async fn connected() -> World {
    let world = world().await;
    world.connect().await;
    world
}

#[tokio::test]
async fn the_old_connect_paths_lead_to_the_platform_and_back() {
    let world = world().await;
    let started = world.api.get("/api/auth/tiktok").await;
    let page = started.location();
    assert!(page.contains("/v2/auth/authorize/?client_key="), "{page}");
    let callback = world.decide(&page, ADA, None, "allow").await;
    assert!(callback.contains("/api/auth/tiktok/callback?code="), "{callback}");
    let landed = world.callback(&callback, Some(&started.cookie())).await.location();
    assert!(
        landed.starts_with("/platforms/connect?success=tiktok_connected"),
        "{landed}"
    );
    assert!(query(&landed, "account").is_some());

    let started = world.api.get("/api/auth/tiktok").await;
    let callback = world.decide(&started.location(), ADA, None, "no").await;
    let landed = world.callback(&callback, Some(&started.cookie())).await.location();
    assert!(landed.starts_with("/platforms/connect?error=cancelled"), "{landed}");
}

#[tokio::test]
async fn the_status_and_the_disconnect_have_their_old_bodies() {
    let world = world().await;
    let before = world.api.get("/api/platforms/tiktok/status").await.ok();
    assert_eq!(
        (&before["connected"], &before["displayName"]),
        (&json!(false), &Value::Null)
    );
    let account = world.connect().await;
    let status = world.api.get("/api/platforms/tiktok/status").await.ok();
    assert_eq!(status["connected"], true);
    assert_eq!(status["displayName"], "Ada Public");
    assert!(status["avatarUrl"].as_str().unwrap().starts_with("https://"));
    assert_eq!(
        status["scope"],
        "user.info.basic,user.info.profile,video.publish,video.upload,video.list"
    );
    assert_eq!(
        (&status["accountId"], &status["reauthRequired"]),
        (&json!(account), &json!(false))
    );
    let done = world.api.poke("/api/platforms/tiktok/disconnect").await;
    assert_eq!((done.status, done.text.as_str()), (200, r#"{"success":true}"#));
    assert_eq!(
        world.api.get("/api/platforms/tiktok/status").await.ok()["connected"],
        false
    );
}

#[tokio::test]
async fn a_pull_from_a_url_answers_with_its_publish_id_and_quota() {
    let world = connected().await;
    let wanted = json!({
        "source": "PULL_FROM_URL", "videoUrl": media::url("video.mp4"), "title": "Kites",
        "privacy_level": "PUBLIC_TO_EVERYONE",
    });
    let body = world.meanwhile(world.api.post(UPLOAD, &wanted)).await.with(200);
    let publish_id = body["data"]["publish_id"].as_str().unwrap().to_owned();
    assert!(publish_id.starts_with("v_pub_url~"), "{publish_id}");
    assert_eq!(
        body,
        json!({
            "success": true,
            "data": { "publish_id": publish_id, "status": "PROCESSING_UPLOAD" },
            "quota": { "used": body["quota"]["used"], "limit": 15 },
        })
    );
    let path = format!("/api/tiktok/status/{publish_id}");
    let early = world.api.get(&path).await.ok();
    assert_eq!(early["data"]["status"], "PROCESSING_DOWNLOAD");
    assert_eq!(early["data"]["metadata"], json!({ "publicaly_available_post_id": [] }));

    let post = world
        .app()
        .store
        .post_by_ref(
            patchbay_core::TenantId::DEFAULT,
            &"tiktok".parse().unwrap(),
            &publish_id,
        )
        .await;
    world.published(&post.unwrap().unwrap().id.to_string()).await;
    let public = world.sim.oracle().post(&publish_id).unwrap().published[0].post_id;
    assert!(public > 1 << 53);
    let late = world.api.get(&path).await.ok();
    assert_eq!(
        late,
        json!({
            "success": true,
            "data": {
                "publish_id": publish_id,
                "status": "PUBLISH_COMPLETE",
                "metadata": { "publicaly_available_post_id": [public.to_string()] },
            },
        })
    );
    // The id may be percent-encoded, as clients do with `~`.
    assert_eq!(
        world.api.get(&path.replace('~', "%7E")).await.ok()["data"]["status"],
        "PUBLISH_COMPLETE"
    );
}

#[tokio::test]
async fn a_file_is_uploaded_first_and_then_named() {
    let world = connected().await;
    let video = world.video().await;
    let wanted = json!({ "source": "FILE_UPLOAD", "mediaId": video, "title": "Kites", "privacy_level": "SELF_ONLY" });
    let body = world.meanwhile(world.api.post(UPLOAD, &wanted)).await.with(200);
    assert_eq!(
        (&body["success"], &body["data"]["status"]),
        (&json!(true), &json!("PROCESSING_UPLOAD"))
    );
    assert!(body["data"]["publish_id"].as_str().unwrap().starts_with("v_pub_file~"));
    assert_eq!(body["quota"]["limit"], 15);

    let wanted = json!({ "source": "FILE_UPLOAD", "mediaId": video, "mode": "draft" });
    let body = world.meanwhile(world.api.post(UPLOAD, &wanted)).await.with(200);
    assert_eq!(body["quota"]["limit"], 5, "drafts have the quota of five");
    let id = body["data"]["publish_id"].as_str().unwrap();
    world.advance(std::time::Duration::from_secs(5));
    world.drain().await;
    let status = world.api.get(&format!("/api/tiktok/status/{id}")).await.ok();
    assert_eq!(status["data"]["status"], "SEND_TO_USER_INBOX");
}

#[tokio::test]
async fn a_refused_upload_says_why() {
    let world = connected().await;
    let pull = |url: &str| json!({ "source": "PULL_FROM_URL", "videoUrl": url, "privacy_level": "PUBLIC_TO_EVERYONE" });
    for wanted in [
        json!({ "source": "PULL_FROM_URL" }),
        json!({ "source": "FILE_UPLOAD" }),
        json!({ "source": "FILE_UPLOAD", "mediaId": "med_1", "videoUrl": "https://a.example/b.mp4" }),
        json!({ "source": "CARRIER_PIGEON" }),
        json!({}),
        pull("http://media.patchbay.example/video.mp4"),
        json!({ "source": "PULL_FROM_URL", "videoUrl": media::url("video.mp4"), "privacy_level": "EVERYBODY" }),
    ] {
        world.api.post(UPLOAD, &wanted).await.problem(422, "invalid");
    }
    world
        .api
        .post(UPLOAD, &json!({ "source": "FILE_UPLOAD", "mediaId": "med_1" }))
        .await
        .problem(404, "not_found");
    assert_eq!(world.inits(), 0);

    let refused = world
        .meanwhile(world.api.post(UPLOAD, &pull("https://elsewhere.example.net/a.mp4")))
        .await;
    let problem = refused.problem(422, "rejected_by_provider");
    assert_eq!(
        (&problem["provider_code"], &problem["who_acts"]),
        (&json!("url_ownership_unverified"), &json!("operator"))
    );

    world.sim.faults().put(
        "fail",
        Fault::new(
            "processing",
            patchbay_simkit::Action::Set {
                name: "fail".into(),
                value: json!("spam_risk_text"),
            },
        ),
    );
    let body = world
        .meanwhile(world.api.post(UPLOAD, &pull(&media::url("video.mp4"))))
        .await
        .with(200);
    let id = body["data"]["publish_id"].as_str().unwrap();
    for _ in 0..4 {
        world.advance(std::time::Duration::from_secs(5));
        world.drain().await;
    }
    let status = world.api.get(&format!("/api/tiktok/status/{id}")).await.ok();
    assert_eq!(
        (&status["data"]["status"], &status["data"]["fail_reason"]),
        (&json!("FAILED"), &json!("spam_risk_text"))
    );
}

#[tokio::test]
async fn an_upload_without_an_account_says_where_to_connect() {
    let world = world().await;
    let wanted = json!({ "source": "PULL_FROM_URL", "videoUrl": media::url("video.mp4") });
    let problem = world.api.post(UPLOAD, &wanted).await.problem(404, "not_found");
    assert!(problem["detail"].as_str().unwrap().contains("/api/auth/tiktok"));
    world
        .api
        .get("/api/tiktok/status/v_pub_url~v2.1")
        .await
        .problem(404, "not_found");
    world
        .api
        .get(&format!("/api/tiktok/status/{}", "x".repeat(300)))
        .await
        .problem(404, "not_found");
}

#[tokio::test]
async fn the_old_webhook_path_takes_what_the_platform_sends() {
    let world = connected().await;
    let target = format!("{}/api/webhooks/tiktok", world.api.base);
    world.sim.webhooks().change(|settings| settings.target = Some(target));
    let body = webhook::body("some.event", &world.open_id(ADA), world.now(), &json!({}));
    let signature = webhook::signature(crate::harness::CLIENT_SECRET, world.now().timestamp(), body.as_bytes());
    let request = world.api.with_key(None).request(Method::POST, "/api/webhooks/tiktok");
    let reply = send(request.header("TikTok-Signature", signature).body(body)).await;
    assert_eq!((reply.status, reply.text.as_str()), (200, r#"{"success":true}"#));
    let forged = patchbay_simkit::Outgoing {
        event: "x".into(),
        body: "{}".into(),
        signing: Signing::Forged,
    };
    world.sim.webhooks().send(&forged);
    world.sim.settle().await;
    assert_eq!(world.inbox_rows().await, 1);
}
