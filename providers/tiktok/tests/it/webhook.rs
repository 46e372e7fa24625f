use std::time::Duration;

use hmac::{Hmac, KeyInit, Mac};
use patchbay_core::{
    EventKind, IncomingEvent, MacEncoding, ProviderError, SignatureFormat, SignatureScheme, SignedPart, WebhookRequest,
};
use proptest::prelude::*;
use serde_json::{Value, json};
use sha2::Sha256;

use crate::support::{start, tiktok, tiktok_with};

fn request(body: impl Into<Vec<u8>>) -> WebhookRequest {
    WebhookRequest {
        scheme: "tiktok".to_owned(),
        body: body.into(),
        received_at: start(),
        client_id: "ck_test".to_owned(),
    }
}

fn parse(body: impl Into<Vec<u8>>) -> Result<IncomingEvent, ProviderError> {
    let provider = tiktok();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let mut events = runtime.block_on(provider.webhooks().unwrap().parse(&request(body)))?;
    assert_eq!(events.len(), 1);
    Ok(events.remove(0))
}

/// A webhook in TikTok's own form.
fn event(name: &str, content: &Value) -> Value {
    json!({
        "client_key": "ck_test",
        "event": name,
        "create_time": 1_790_000_000,
        "user_openid": "-000open",
        "content": content.to_string(),
    })
}

fn read(body: &Value) -> IncomingEvent {
    parse(body.to_string()).unwrap()
}

fn fixture(name: &str) -> Vec<u8> {
    std::fs::read(format!("{}/tests/fixtures/{name}.json", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

/// The MAC of a scheme, as the host computes it from the declared parts.
fn mac(scheme: &SignatureScheme, secret: &str, timestamp: &str, body: &[u8]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    for part in &scheme.signed {
        match part {
            SignedPart::Timestamp => mac.update(timestamp.as_bytes()),
            SignedPart::Literal(text) => mac.update(text.as_bytes()),
            SignedPart::Body => mac.update(body),
        }
    }
    assert_eq!(scheme.encoding, MacEncoding::Hex);
    hex::encode(mac.finalize().into_bytes())
}

#[test]
fn the_declared_scheme_gives_the_known_signature() {
    let schemes = tiktok().webhooks().unwrap().auth().schemes;
    let [scheme] = schemes.as_slice() else {
        panic!("one scheme by default")
    };
    assert_eq!(
        (scheme.name.as_ref(), scheme.header.as_ref()),
        ("tiktok", "tiktok-signature")
    );
    assert_eq!(
        scheme.format,
        SignatureFormat::TimestampAndMac {
            timestamp: "t",
            mac: "s"
        }
    );
    assert_eq!(scheme.tolerance, Duration::from_secs(300));
    let body = fixture("webhook_complete");
    assert_eq!(body.len(), 211);
    assert_eq!(
        mac(scheme, "cs_test", "1790000001", &body),
        "7f6f825adf81f7659d1c7ccad101b823aca2ed7633ade5f944f2d5530551e28c"
    );
}

#[test]
fn the_simplified_header_is_taken_only_when_it_is_switched_on() {
    let provider = tiktok_with(json!({ "accept_simplified_webhooks": true }));
    let schemes = provider.webhooks().unwrap().auth().schemes;
    let seen: Vec<_> = schemes.iter().map(|s| (s.name.as_ref(), s.header.as_ref())).collect();
    let expected = [
        ("tiktok", "tiktok-signature"),
        ("simplified-timestamped", "x-tiktok-signature"),
        ("simplified", "x-tiktok-signature"),
    ];
    assert_eq!(seen, expected);
    assert_eq!(schemes[1].signed, schemes[0].signed);
    assert_eq!(schemes[2].format, SignatureFormat::Bare { prefix: "" });
    assert_eq!(schemes[2].signed, [SignedPart::Body]);
}

#[test]
fn a_real_webhook_is_read_through_its_string() {
    let event = parse(fixture("webhook_complete")).unwrap();
    assert_eq!(event.name, "post.publish.complete");
    assert_eq!(event.kind, EventKind::PostProgress);
    assert_eq!(event.remote_account.as_deref(), Some("-000open"));
    assert_eq!(event.remote_ref.as_deref(), Some("v_pub_file~v2-1.7600000000000000001"));
    assert_eq!(event.occurred_at, Some(start()));
    assert_eq!(event.payload["publish_type"], "DIRECT_PUBLISH");

    let event = parse(fixture("webhook_publicly_available")).unwrap();
    let remote_ids = vec!["7602943591837179157".to_owned()];
    assert_eq!(event.kind, EventKind::PostVisible { remote_ids });
}

#[test]
fn content_may_be_a_string_an_object_or_the_top_level() {
    let content = json!({ "publish_id": "p1", "post_id": 7602943591837179157_u64 });
    let name = "post.publish.publicly_available";
    let as_string = read(&event(name, &content));
    let mut object = event(name, &content);
    object["content"] = content.clone();
    let as_object = read(&object);
    let flat = read(&json!({ "event_type": name, "publish_id": "p1", "post_id": 7602943591837179157_u64 }));
    for event in [&as_string, &as_object, &flat] {
        assert_eq!(event.remote_ref.as_deref(), Some("p1"));
        let remote_ids = vec!["7602943591837179157".to_owned()];
        assert_eq!(event.kind, EventKind::PostVisible { remote_ids });
        assert_eq!(event.payload, content);
    }
    assert_eq!(as_string.dedupe_key, as_object.dedupe_key);
    assert_eq!((flat.remote_account, flat.occurred_at), (None, None));
}

#[test]
fn each_event_has_its_meaning() {
    let ids = || vec!["76".to_owned()];
    let post = json!({ "publish_id": "p1", "publish_type": "INBOX_SHARE", "post_id": "76", "reason": "spam_risk" });
    for (name, canonical, kind) in [
        (
            "post.publish.complete",
            "post.publish.complete",
            EventKind::PostProgress,
        ),
        (
            "post.publish.completed",
            "post.publish.complete",
            EventKind::PostProgress,
        ),
        (
            "video.publish.complete",
            "post.publish.complete",
            EventKind::PostProgress,
        ),
        ("post.publish.failed", "post.publish.failed", EventKind::PostProgress),
        ("video.publish.failed", "post.publish.failed", EventKind::PostProgress),
        (
            "post.publish.inbox_delivered",
            "post.publish.inbox_delivered",
            EventKind::PostProgress,
        ),
        (
            "video.inbox.received",
            "post.publish.inbox_delivered",
            EventKind::PostProgress,
        ),
        (
            "post.publish.publicly_available",
            "post.publish.publicly_available",
            EventKind::PostVisible { remote_ids: ids() },
        ),
        (
            "post.publish.no_longer_publicaly_available",
            "post.publish.no_longer_publicaly_available",
            EventKind::PostHidden { remote_ids: ids() },
        ),
        ("video.publish.completed", "video.publish.completed", EventKind::Other),
        ("video.upload.failed", "video.upload.failed", EventKind::Other),
        (
            "portability.download.ready",
            "portability.download.ready",
            EventKind::Other,
        ),
        ("something.new", "something.new", EventKind::Other),
    ] {
        let event = read(&event(name, &post));
        assert_eq!((event.name.as_str(), &event.kind), (canonical, &kind), "{name}");
        assert_eq!(event.remote_ref.is_some(), kind != EventKind::Other, "{name}");
    }
    // Without an id there is nothing to keep: the status is looked at instead.
    let without = read(&event(
        "post.publish.publicly_available",
        &json!({ "publish_id": "p1" }),
    ));
    assert_eq!(without.kind, EventKind::PostProgress);
}

#[test]
fn a_removed_grant_names_its_reason_as_a_word() {
    let words = [
        "unknown",
        "user_disconnected",
        "account_deleted",
        "age_changed",
        "banned",
        "developer_revoked",
    ];
    for (number, word) in words.into_iter().enumerate() {
        let event = read(&event("authorization.removed", &json!({ "reason": number })));
        assert_eq!(
            event.kind,
            EventKind::AuthorizationRemoved {
                reason: word.to_owned()
            }
        );
        assert_eq!(event.remote_account.as_deref(), Some("-000open"));
    }
    let event = read(&event("authorization.removed", &json!({ "reason": 99 })));
    assert_eq!(
        event.kind,
        EventKind::AuthorizationRemoved {
            reason: "unknown".to_owned()
        }
    );
}

#[test]
fn two_deliveries_share_a_key_and_two_events_do_not() {
    let post = |name: &str, publish_id: &str, time: i64, post_id: Option<&str>| {
        let mut body = event(name, &json!({ "publish_id": publish_id, "post_id": post_id }));
        body["create_time"] = time.into();
        read(&body).dedupe_key
    };
    let complete = "post.publish.complete";
    let visible = "post.publish.publicly_available";
    assert_eq!(post(complete, "p1", 5, None), post(complete, "p1", 5, None));
    // One draft may be posted several times.
    assert_ne!(post(complete, "p1", 5, None), post(complete, "p1", 6, None));
    assert_ne!(post(complete, "p1", 5, None), post(complete, "p2", 5, None));
    assert_ne!(
        post(complete, "p1", 5, None),
        post("post.publish.failed", "p1", 5, None)
    );
    // A post id names the event by itself, even if a repetition carries another time.
    assert_eq!(post(visible, "p1", 5, Some("76")), post(visible, "p1", 9, Some("76")));
    assert_ne!(post(visible, "p1", 5, Some("76")), post(visible, "p1", 5, Some("77")));
    let other = |share: &str| read(&event("video.upload.failed", &json!({ "share_id": share }))).dedupe_key;
    assert_ne!(other("a"), other("b"));
    assert_eq!(other("a"), other("a"));
}

#[test]
fn a_webhook_of_another_app_or_without_its_parts_is_malformed() {
    let good = event("post.publish.complete", &json!({ "publish_id": "p1" }));
    read(&good);
    let refused = |body: Value| assert_eq!(parse(body.to_string()).unwrap_err().code, "malformed_webhook", "{body}");
    let with = |field: &str, value: Value| {
        let mut body = good.clone();
        body[field] = value;
        body
    };
    refused(with("client_key", json!("ck_other")));
    refused(with("client_key", json!(7)));
    refused(with("event", json!("")));
    refused(with("event", json!(7)));
    refused(with("user_openid", json!(["x"])));
    refused(with("content", json!("{}")));
    refused(with("content", json!("not json")));
    refused(with("content", json!({ "publish_id": "x".repeat(600) })));
    refused(with("content", json!({ "publish_id": "nul\u{0}" })));
    refused(json!({ "client_key": "ck_test", "event": "authorization.removed", "content": "{\"reason\":1}" }));
    refused(json!([good]));
    refused(json!({}));
    let deep = format!("{{\"event\":{}{}}}", "[".repeat(10_000), "]".repeat(10_000));
    assert_eq!(parse(deep).unwrap_err().code, "malformed_webhook");
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(body in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = parse(body);
    }

    #[test]
    fn arbitrary_content_never_panics(content in ".{0,80}", name in ".{0,40}", time in any::<i64>()) {
        let body = json!({ "event": name, "content": content, "create_time": time, "user_openid": content });
        let _ = parse(body.to_string());
        let body = json!({ "event": "post.publish.publicly_available", "content": { "publish_id": "p", "post_id": time } });
        let _ = parse(body.to_string());
    }
}
