//! The control API and page, as a person or a script in another language uses them.

use patchbay_simulator_tiktok::{Redirects, Simulator, SimulatorConfig};
use serde_json::{Value, json};

use crate::support::{CREATOR_INFO, World, code, config, world};

impl World {
    async fn admin(&self, method: &str, path: &str, body: Value) -> (u16, Value) {
        let method = reqwest::Method::from_bytes(method.as_bytes()).unwrap();
        let url = format!("http://{}{path}", self.tiktok.admin);
        let response = self.client.request(method, url).json(&body).send().await.unwrap();
        let status = response.status().as_u16();
        let text = response.text().await.unwrap();
        (status, serde_json::from_str(&text).unwrap_or(Value::Null))
    }
}

#[tokio::test]
async fn the_page_loads_nothing_from_elsewhere() {
    let world = world().await;
    for (path, part) in [
        ("/_admin/", "Simulated TikTok"),
        ("/_admin/page.js", "simulator"),
        ("/_admin/platform.js", "Accounts"),
    ] {
        let url = format!("http://{}{path}", world.tiktok.admin);
        let text = world.client.get(url).send().await.unwrap().text().await.unwrap();
        assert!(text.contains(part));
        assert!(!text.contains("https://") && !text.contains("src=\"http"), "{path}");
    }
}

#[tokio::test]
async fn clock_faults_and_journal_are_within_reach() {
    let world = world().await;
    let (_, clock) = world
        .admin("POST", "/_admin/clock", json!({ "advance_seconds": 90 }))
        .await;
    assert_eq!(clock, json!({ "now": "2026-09-21T14:14:50Z", "frozen": true }));

    let rule = json!({ "op": "creator_info", "times": 1, "action": { "kind": "error", "code": "internal_error" } });
    assert_eq!(world.admin("PUT", "/_admin/faults/mine", rule).await.0, 200);
    let typo = json!({ "op": "creator_inf", "action": { "kind": "truncate_body" } });
    assert_eq!(world.admin("PUT", "/_admin/faults/other", typo).await.0, 400);
    let token = world.token("ada_public");
    assert_eq!(world.call(CREATOR_INFO, &token, json!({})).await.0, 500);
    assert_eq!(world.call(CREATOR_INFO, &token, json!({})).await.0, 200);
    let (_, faults) = world.admin("GET", "/_admin/faults", Value::Null).await;
    assert_eq!(faults["faults"][0]["hits"], 1);
    assert_eq!(world.admin("DELETE", "/_admin/faults/mine", Value::Null).await.0, 204);
    assert_eq!(world.admin("DELETE", "/_admin/faults/mine", Value::Null).await.0, 404);

    let (_, journal) = world.admin("GET", "/_admin/journal?op=creator_info", Value::Null).await;
    assert_eq!(journal["calls"][0]["faults"], json!(["mine"]));
    assert_eq!(journal["calls"][1]["code"], "ok");
    assert!(!journal.to_string().contains(&token));
}

#[tokio::test]
async fn accounts_and_switches_can_be_edited() {
    let world = world().await;
    let (_, added) = world
        .admin(
            "POST",
            "/_admin/accounts",
            json!({ "username": "new", "private": true }),
        )
        .await;
    assert!(added["open_id"].as_str().unwrap().starts_with("-000"));
    let (_, patched) = world
        .admin("PATCH", "/_admin/accounts/new", json!({ "banned": true }))
        .await;
    assert_eq!(
        (&patched["open_id"], &patched["private"]),
        (&added["open_id"], &json!(true))
    );
    let (_, body) = world.call(CREATOR_INFO, &world.token("new"), json!({})).await;
    assert_eq!(code(&body), "spam_risk_user_banned_from_posting");
    assert_eq!(
        world
            .admin("PATCH", "/_admin/accounts/new", json!({ "nonsense": 1 }))
            .await
            .0,
        400
    );

    let (_, switches) = world
        .admin("PATCH", "/_admin/switches", json!({ "audited": false }))
        .await;
    assert_eq!(switches["audited"], false);
    assert!(!world.tiktok.switches().audited);
    assert_eq!(
        world
            .admin("PATCH", "/_admin/switches", json!({ "chunk_band": "huge" }))
            .await
            .0,
        400
    );
}

#[tokio::test]
async fn users_act_on_posts_and_the_oracle_tells() {
    let world = world().await;
    let id = world.post_video(&world.token("ada_public"), "PUBLIC_TO_EVERYONE").await;
    assert_eq!(
        world
            .admin("POST", &format!("/_admin/posts/{id}/publish"), json!({}))
            .await
            .0,
        409
    );
    assert_eq!(world.admin("POST", "/_admin/posts/none/delete", json!({})).await.0, 404);
    assert_eq!(
        world
            .admin("POST", &format!("/_admin/posts/{id}/delete"), json!({}))
            .await
            .0,
        204
    );
    let (_, oracle) = world.admin("GET", "/_admin/oracle", Value::Null).await;
    assert_eq!(oracle["posts"][0]["published"][0]["deleted"], true);
    assert_eq!(oracle["accounts"][0]["effects"]["inits"], 1);
    let left = world
        .admin(
            "POST",
            "/_admin/accounts/ada_public/disconnect",
            json!({ "reason": "banned" }),
        )
        .await;
    assert_eq!(left.0, 204);
}

#[tokio::test]
async fn webhooks_can_be_made_to_order() {
    let mut world = world().await;
    let inbox = world.receiver().await;
    let order = json!({
        "event": "portability.download.ready", "account": "ada_public",
        "content": { "request_id": 7 }, "signing": { "mode": "forged" },
    });
    let (_, sent) = world.admin("POST", "/_admin/webhooks/event", order).await;
    world.tiktok.settle().await;
    assert_eq!(inbox.events(), ["portability.download.ready"]);
    assert_eq!(inbox.content(0), json!({ "request_id": 7 }));
    let again = format!("/_admin/webhooks/{}/redeliver", sent["id"]);
    assert_eq!(world.admin("POST", &again, json!({})).await.0, 200);
    let raw = json!({ "body": "{\"event\":\"odd\"}" });
    assert_eq!(world.admin("POST", "/_admin/webhooks/send", raw).await.0, 200);
    world.tiktok.settle().await;
    assert_eq!(inbox.events().len(), 3);
    let (_, log) = world.admin("GET", "/_admin/webhooks", Value::Null).await;
    assert_eq!(log["deliveries"][0]["attempts"][0]["status"], 200);
}

#[tokio::test]
async fn a_post_of_another_site_is_refused() {
    let world = world().await;
    let url = format!("http://{}/_admin/clock", world.tiktok.admin);
    let request = world
        .client
        .post(url)
        .header("content-type", "text/plain")
        .body("{\"advance_seconds\":9}");
    assert_eq!(request.send().await.unwrap().status(), 415);
}

#[tokio::test]
async fn a_bad_configuration_does_not_start() {
    let broken = SimulatorConfig {
        redirects: Redirects {
            web: vec!["http://app.test/cb".to_owned()],
            desktop: Vec::new(),
        },
        ..config()
    };
    let error = Simulator::start(broken).await.err().unwrap();
    assert!(error.to_string().contains("https"), "{error}");
}

#[tokio::test]
async fn many_simulators_live_side_by_side_and_stop_at_once() {
    let worlds = [world().await, world().await, world().await];
    let addresses: Vec<_> = worlds.iter().map(|world| world.tiktok.api).collect();
    for world in worlds {
        world.tiktok.shutdown().await;
    }
    for address in addresses {
        tokio::net::TcpStream::connect(address).await.unwrap_err();
    }
}
