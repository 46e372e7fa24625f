//! Webhooks at the door: proved by their signature and nothing else, kept once (rows T33 to T41 and T48 of the security
//! reference).

use std::time::Duration;

use chrono::TimeDelta;
use patchbay_simkit::{Outgoing, Signing};
use patchbay_simulator_tiktok::WebhookStyle;
use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::{
    ADA, CLIENT_SECRET, Database, Setup, World, at_once, draft_post, on_postgres, raw, send,
    webhook::{self, PATH, body, mac, signature},
};

const SIMPLIFIED: &str = "PATCHBAY__PROVIDERS__TIKTOK__SETTINGS__ACCEPT_SIMPLIFIED_WEBHOOKS";
const ACCEPTED: &str = r#"{"success":true}"#;

/// Some event that changes nothing.
fn plain(world: &World) -> String {
    body(
        "portability.download.ready",
        &world.open_id(ADA),
        world.now(),
        &json!({ "request_id": 7 }),
    )
}

#[tokio::test]
async fn a_genuine_webhook_is_committed_before_it_is_answered() {
    let world = World::new().await;
    let account = world.connect().await;
    let reply = world.deliver(plain(&world)).await;
    assert_eq!((reply.status, reply.text.as_str()), (200, ACCEPTED));
    assert_eq!(world.inbox_rows().await, 1);
    world.work_off().await;
    assert_eq!(
        world.events(&format!("account_id={account}")).await,
        ["account.connected", "portability.download.ready"]
    );
}

#[tokio::test]
async fn t33_t36_what_is_not_signed_rightly_is_refused_and_leaves_no_row() {
    let world = World::new().await;
    let body = plain(&world);
    let t = world.now().timestamp();
    let good = signature(CLIENT_SECRET, t, body.as_bytes());
    let s = good.split("s=").nth(1).unwrap().to_owned();
    let at = |t: &dyn std::fmt::Display| signature(CLIENT_SECRET, t, body.as_bytes());
    let wrong = [
        String::new(),
        "t=1".to_owned(),
        format!("s={s}"),
        format!("t={t},s="),
        format!("t={t},s={}", &s[1..]),
        format!("t={t},s={}", s.to_uppercase()),
        format!("t={t},s={s}{s}"),
        format!("t={t},s={s},s={s}"),
        format!("t={t},t={t},s={s}"),
        format!("t={t},s={s},v=1"),
        signature("another-app's-secret", t, body.as_bytes()),
        signature("", t, body.as_bytes()),
        // T36: the time is a bounded whole number, near now on both sides.
        at(&(t + 301)),
        at(&(t - 301)),
        at(&-1),
        at(&9_223_372_036_854_775_808_u64),
        at(&"18446744073709551616"),
        at(&"1e9"),
        at(&"now"),
        at(&format!("+{t}")),
        at(&"1".repeat(9_000)),
        // The right bytes under another time.
        format!("t={},s={s}", t + 1),
    ];
    for signature in wrong {
        let reply = world.deliver_signed(&signature, body.clone()).await;
        // 431: the listener does not read a header of that size.
        if reply.status != 431 {
            let problem = reply.problem(401, "signature_invalid");
            assert_eq!(problem["who_acts"], "operator");
        }
    }
    let unsigned = world.api.request(Method::POST, PATH).body(body.clone());
    send(unsigned).await.problem(401, "signature_invalid");
    let twice = world
        .api
        .request(Method::POST, PATH)
        .header("tiktok-signature", &good)
        .header("tiktok-signature", &good);
    send(twice.body(body.clone())).await.problem(401, "signature_invalid");
    assert_eq!(world.inbox_rows().await, 0);
    for edge in [t + 300, t - 300] {
        assert_eq!(
            world.deliver_signed(&at(&edge), body.clone()).await.status,
            200,
            "{edge}"
        );
    }
}

#[tokio::test]
async fn every_refusal_of_a_webhook_looks_the_same() {
    let world = World::new().await;
    let body = plain(&world);
    let t = world.now().timestamp();
    let mut seen = std::collections::BTreeSet::new();
    for signature in [
        "",
        "t=1,s=",
        &signature("wrong", t, body.as_bytes()),
        &signature(CLIENT_SECRET, t - 9_999, body.as_bytes()),
    ] {
        let mut problem = world
            .deliver_signed(signature, body.clone())
            .await
            .problem(401, "signature_invalid");
        problem.as_object_mut().unwrap().remove("request_id");
        seen.insert(problem.to_string());
    }
    assert_eq!(seen.len(), 1, "{seen:?}");
}

#[tokio::test]
async fn t34_a_body_that_was_touched_on_the_way_is_refused() {
    let world = World::new().await;
    let body = plain(&world);
    let signature = signature(CLIENT_SECRET, world.now().timestamp(), body.as_bytes());
    let reordered = serde_json::from_str::<std::collections::HashMap<String, Value>>(&body).unwrap();
    let reordered = format!(
        "{{{}}}",
        reordered
            .iter()
            .map(|(k, v)| format!("\"{k}\": {v}"))
            .collect::<Vec<_>>()
            .join(",")
    );
    for touched in [
        format!("{body} "),
        format!("\u{feff}{body}"),
        body.replace(':', ": "),
        reordered,
    ] {
        world
            .deliver_signed(&signature, touched)
            .await
            .problem(401, "signature_invalid");
    }
    assert_eq!(world.inbox_rows().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn t35_a_webhook_that_comes_fifty_times_counts_once() {
    fifty_webhooks(Database::Sqlite).await;
    on_postgres(fifty_webhooks).await;
}

async fn fifty_webhooks(database: Database) {
    let world = Setup {
        database,
        ..Setup::default()
    }
    .build()
    .await;
    let account = world.connect().await;
    let body = plain(&world);
    let signature = signature(CLIENT_SECRET, world.now().timestamp(), body.as_bytes());
    let request = || {
        let request = world.api.with_key(None).request(Method::POST, PATH);
        request.header("tiktok-signature", &signature).body(body.clone())
    };
    for reply in at_once(50, |_| send(request())).await {
        assert_eq!((reply.status, reply.text.as_str()), (200, ACCEPTED));
    }
    assert_eq!(world.inbox_rows().await, 1);
    world.work_off().await;
    assert_eq!(world.events(&format!("account_id={account}")).await.len(), 2);
    world.advance(Duration::from_secs(301));
    send(request()).await.problem(401, "signature_invalid");
    // The platform's own repeat is signed anew: taken, and known.
    assert_eq!(world.deliver(body).await.status, 200);
    world.work_off().await;
    assert_eq!(
        (
            world.inbox_rows().await,
            world.events(&format!("account_id={account}")).await.len()
        ),
        (1, 2)
    );
}

#[tokio::test]
async fn t38_an_event_of_three_days_ago_is_taken_when_it_is_sent_now() {
    let world = World::new().await;
    let account = world.connect().await;
    let old = body(
        "some.event",
        &world.open_id(ADA),
        world.now() - TimeDelta::hours(71),
        &json!({ "n": 1 }),
    );
    assert_eq!(world.deliver(old).await.status, 200);
    world.work_off().await;
    assert!(
        world
            .events(&format!("account_id={account}"))
            .await
            .contains(&"some.event".to_owned())
    );
}

#[tokio::test]
async fn t41_a_body_over_the_cap_or_without_end_or_packed_is_refused() {
    let world = World::new().await;
    let exact = vec![b' '; 256 * 1024];
    assert_eq!(world.deliver(exact.clone()).await.status, 200);
    world
        .deliver([&exact[..], b" "].concat())
        .await
        .problem(413, "too_large");
    let head = format!("POST {PATH} HTTP/1.1\r\nHost: x\r\nTikTok-Signature: t=1,s=00\r\n");
    let (status, closed) = raw::endless(&world.api.base, &head, &[b' '; 65_536], 100).await;
    assert_eq!((status, closed), (413, true));
    let packed = world
        .api
        .request(Method::POST, PATH)
        .header("content-encoding", "gzip")
        .body("x");
    send(packed).await.problem(415, "unsupported_media_type");
    assert_eq!(world.inbox_rows().await, 1);
}

#[tokio::test]
async fn what_the_simulator_forges_is_refused_and_what_it_repeats_counts_once() {
    let world = World::new().await;
    let account = world.connect().await;
    let send = |signing: Signing, n: u32| {
        let body = body("some.event", &world.open_id(ADA), world.now(), &json!({ "n": n }));
        world.sim.webhooks().send(&Outgoing {
            event: "some.event".to_owned(),
            body,
            signing,
        });
    };
    let forged = [
        Signing::Forged,
        Signing::Tampered,
        Signing::Unsigned,
        Signing::Stale { seconds: 301 },
        Signing::Stale { seconds: -301 },
        Signing::Alternative,
    ];
    for (n, signing) in (0..).zip(forged) {
        send(signing, n);
    }
    world.sim.webhooks().change(|settings| settings.duplicates = 2);
    send(Signing::Valid, 99);
    world.drain().await;
    assert_eq!(world.inbox_rows().await, 1);
    let names = world.events(&format!("account_id={account}")).await;
    assert_eq!(names, ["account.connected", "some.event"]);
    let statuses: Vec<_> = world
        .sim
        .webhooks()
        .deliveries()
        .iter()
        .map(|d| d.attempts[0].status)
        .collect();
    assert_eq!(
        statuses,
        [
            Some(401),
            Some(401),
            Some(401),
            Some(401),
            Some(401),
            Some(401),
            Some(200),
            Some(200),
            Some(200)
        ]
    );
}

#[tokio::test]
async fn the_simplified_form_is_off_unless_it_is_switched_on() {
    let flat = |platform: &mut patchbay_simulator_tiktok::SimulatorConfig| {
        platform.switches.webhook_style = WebhookStyle::Flat;
    };
    let setup = || Setup {
        platform: flat,
        ..Setup::default()
    };
    let world = setup().build().await;
    let account = world.connect().await;
    let id = world.post(&draft_post(&account, &world.video().await)).await;
    world.settled(&id).await;
    assert_eq!(world.inbox_rows().await, 0, "{:?}", world.sim.webhooks().deliveries());

    let world = setup().set(SIMPLIFIED, "true").build().await;
    let account = world.connect().await;
    let id = world.post(&draft_post(&account, &world.video().await)).await;
    world.settled(&id).await;
    assert!(world.inbox_rows().await > 0);
    // Headers as they were: the real form goes on beside it.
    assert_eq!(world.deliver(plain(&world)).await.status, 200);
    let both = world
        .api
        .request(Method::POST, PATH)
        .header("x-tiktok-signature", mac(CLIENT_SECRET, b"{}"));
    let both = both.header(
        "tiktok-signature",
        signature(CLIENT_SECRET, world.now().timestamp(), b"{}"),
    );
    send(both.body("{}")).await.problem(401, "signature_invalid");
}

#[tokio::test]
async fn a_simplified_body_is_proved_by_its_bare_signature_alone() {
    let world = Setup::default().set(SIMPLIFIED, "true").build().await;
    let flat = json!({ "event_type": "video.publish.complete", "publish_id": "v_pub_url~v2.1", "post_id": "7500000000000000001" });
    let flat = flat.to_string();
    let deliver = |mac: String| {
        send(
            world
                .api
                .request(Method::POST, PATH)
                .header("x-tiktok-signature", mac)
                .body(flat.clone()),
        )
    };
    deliver(mac("another secret", flat.as_bytes()))
        .await
        .problem(401, "signature_invalid");
    deliver(format!("sha256={}", mac(CLIENT_SECRET, flat.as_bytes())))
        .await
        .problem(401, "signature_invalid");
    for _ in 0..2 {
        assert_eq!(deliver(mac(CLIENT_SECRET, flat.as_bytes())).await.text, ACCEPTED);
    }
    world.work_off().await;
    let events = world.api.get("/api/events").await.ok();
    assert_eq!(events["data"].as_array().unwrap().len(), 1, "{events}");
    assert_eq!(
        events["data"][0]["name"], "post.publish.complete",
        "under the platform's own name"
    );
}

#[tokio::test]
async fn t48_an_old_secret_and_a_new_one_are_both_good_for_a_while() {
    let (old, new) = ("the-old-webhook-secret", "the-new-webhook-secret");
    let world = Setup::default()
        .set("PATCHBAY__PROVIDERS__TIKTOK__WEBHOOK_SECRETS", format!("{old},{new}"))
        .build()
        .await;
    let deliver = async |world: &World, secret: &str| {
        let body = webhook::body("some.event", &world.open_id(ADA), world.now(), &json!({ "of": secret }));
        let signature = signature(secret, world.now().timestamp(), body.as_bytes());
        world.deliver_signed(&signature, body).await.status
    };
    assert_eq!(deliver(&world, old).await, 200);
    assert_eq!(deliver(&world, new).await, 200);
    assert_eq!(
        deliver(&world, CLIENT_SECRET).await,
        401,
        "named secrets stand in the place of the client secret"
    );
    let world = world
        .restarted_with("PATCHBAY__PROVIDERS__TIKTOK__WEBHOOK_SECRETS", new)
        .await;
    assert_eq!(deliver(&world, old).await, 401);
    assert_eq!(deliver(&world, new).await, 200);
}
