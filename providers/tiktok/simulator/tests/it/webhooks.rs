//! Webhooks as they arrive: order, form, signature, and every kind of misbehaviour.

use hmac::{Hmac, KeyInit, Mac};
use patchbay_simulator_tiktok::simkit::{Outgoing, Signing};
use patchbay_simulator_tiktok::{RemovalReason, WebhookStyle};
use serde_json::{Value, json};

use crate::support::{INBOX_INIT, SECRET, file_source, start_time, text, video, world};

fn mac(text: &str) -> String {
    let mut mac = Hmac::<sha2::Sha256>::new_from_slice(SECRET.as_bytes()).unwrap();
    mac.update(text.as_bytes());
    hex::encode(mac.finalize().into_bytes())
}

/// Verifies as a receiver does; the signed time.
fn verified(header: &str, body: &str) -> Option<i64> {
    let (t, s) = header.strip_prefix("t=")?.split_once(",s=")?;
    (mac(&format!("{t}.{body}")) == s).then(|| t.parse().ok())?
}

#[tokio::test]
async fn a_public_post_is_told_twice_in_order_and_signed() {
    let mut world = world().await;
    let inbox = world.receiver().await;
    let token = world.token("ada_public");
    let id = world.post_video(&token, "PUBLIC_TO_EVERYONE").await;
    let events = ["post.publish.complete", "post.publish.publicly_available"];
    assert_eq!(inbox.events(), events);
    let (headers, body) = inbox.raw().remove(1);
    let signed_at = verified(headers["TikTok-Signature"].to_str().unwrap(), &body).unwrap();
    assert_eq!(signed_at, world.tiktok.clock().now().timestamp());
    let outer: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(outer["client_key"], "ck_test");
    assert_eq!(
        outer["user_openid"],
        world.tiktok.account("ada_public").unwrap().open_id
    );
    assert!(outer["create_time"].is_i64());

    let status = world.status(&token, &id).await;
    let number = status["publicaly_available_post_id"][0].as_u64().unwrap();
    let content = outer["content"].as_str().unwrap();
    let expected = format!(r#"{{"publish_id":"{id}","publish_type":"DIRECT_PUBLISH","post_id":"{number}"}}"#);
    assert_eq!(content, expected);

    world.tiktok.delete_post(&id).unwrap();
    world.tiktok.settle().await;
    assert_eq!(inbox.events()[2], "post.publish.no_longer_publicaly_available");
    assert!(
        world
            .status(&token, &id)
            .await
            .get("publicaly_available_post_id")
            .is_none()
    );
}

#[tokio::test]
async fn a_draft_is_told_when_delivered_and_at_every_posting() {
    let mut world = world().await;
    let inbox = world.receiver().await;
    let token = world.token("ada_public");
    let body = json!({ "source_info": file_source(1000, 1000, 1) });
    let (_, body) = world.call(INBOX_INIT, &token, body).await;
    let id = text(&body["data"]["publish_id"]);
    let url = world.local_upload(&text(&body["data"]["upload_url"]));
    world.put(&url, &video(1000), 0, 1000).await;
    world.advance(2);
    world.tiktok.settle().await;
    world.tiktok.post_draft(&id, None).unwrap();
    world.tiktok.post_draft(&id, None).unwrap();
    world.tiktok.settle().await;
    assert_eq!(
        inbox.events(),
        [
            "post.publish.inbox_delivered",
            "post.publish.complete",
            "post.publish.complete"
        ]
    );
    assert_eq!(
        inbox.content(0),
        json!({ "publish_id": id, "publish_type": "INBOX_SHARE" })
    );
}

#[tokio::test]
async fn a_user_who_leaves_is_told_with_the_reason() {
    let mut world = world().await;
    let inbox = world.receiver().await;
    world.token("ada_public");
    world
        .tiktok
        .disconnect("ada_public", RemovalReason::UserDisconnected)
        .unwrap();
    world.tiktok.disconnect("ada_public", RemovalReason::Banned).unwrap();
    world.tiktok.settle().await;
    assert_eq!(inbox.events(), ["authorization.removed"], "there was one authorization");
    assert_eq!(inbox.content(0), json!({ "reason": 1 }));
}

#[tokio::test]
async fn bad_signatures_come_on_demand() {
    let mut world = world().await;
    let inbox = world.receiver().await;
    let modes = [
        Signing::Valid,
        Signing::Forged,
        Signing::Stale { seconds: 3600 },
        Signing::Tampered,
        Signing::Unsigned,
        Signing::Alternative,
    ];
    for signing in modes {
        world.tiktok.webhooks().send(&Outgoing {
            event: "x".to_owned(),
            body: r#"{"event":"x"}"#.to_owned(),
            signing,
        });
    }
    world.tiktok.settle().await;
    let seen: Vec<Option<i64>> = inbox
        .raw()
        .iter()
        .map(|(headers, body)| verified(headers.get("tiktok-signature")?.to_str().unwrap(), body))
        .collect();
    let now = start_time().timestamp();
    assert_eq!(seen, [Some(now), None, Some(now - 3600), None, None, None]);
    let (headers, body) = inbox.raw().remove(5);
    assert_eq!(headers["x-tiktok-signature"], mac(&body));
}

#[tokio::test]
async fn the_simplified_form_has_its_ids_on_top() {
    let mut world = world().await;
    let inbox = world.receiver().await;
    world
        .tiktok
        .change_switches(|switches| switches.webhook_style = WebhookStyle::Flat);
    let id = world.post_video(&world.token("ada_public"), "PUBLIC_TO_EVERYONE").await;
    let bodies: Vec<Value> = inbox
        .raw()
        .iter()
        .map(|(_, body)| serde_json::from_str(body).unwrap())
        .collect();
    assert_eq!(
        bodies[0],
        json!({ "event_type": "video.publish.complete", "publish_id": id })
    );
    assert!(bodies[1]["post_id"].is_string());
    assert!(inbox.raw()[0].0.contains_key("x-tiktok-signature"));
}
