//! T91: what bears on security is written down, and nobody changes it unseen.

use std::time::Duration;

use patchbay_app::{
    audit::{self, Chain, ChainFault},
    model::KeyScope,
};
use patchbay_core::TenantId;
use serde_json::{Value, json};

use crate::harness::{Database, Setup, World, id_of, on_postgres};

const AUDIT: &str = "/api/audit";

async fn world(database: Database) -> World {
    Setup {
        database,
        ..Setup::default()
    }
    .build()
    .await
}

fn actions(list: &Value) -> Vec<&str> {
    let rows = list["data"].as_array().unwrap();
    rows.iter().map(|row| row["action"].as_str().unwrap()).collect()
}

async fn what_a_team_does_is_written_down(database: Database) {
    let world = world(database).await;
    let operator = world
        .api
        .with_key(Some(world.make_key(TenantId::DEFAULT, &[KeyScope::Operator]).await));
    let tenant = id_of(
        &operator
            .post("/api/tenants", &json!({ "name": "acme" }))
            .await
            .with(201),
    );
    let keys = format!("/api/tenants/{tenant}/keys");
    let key = operator.post(&keys, &json!({ "name": "backend" })).await.with(201);
    let team = operator.with_key(Some(key["text"].as_str().unwrap().to_owned()));
    let spare = operator
        .post(&keys, &json!({ "name": "spare", "scopes": ["read"] }))
        .await
        .with(201);
    operator.delete(&format!("{keys}/{}", id_of(&spare))).await;
    let account = world.connect_as(&team, crate::harness::ADA).await;
    let hooks = "/api/webhook-endpoints";
    let made = team
        .post(hooks, &json!({ "url": "https://hooks.example.com/secret-path" }))
        .await
        .with(201);
    let hook = format!("{hooks}/{}", id_of(&made));
    let patch = team
        .request(reqwest::Method::PATCH, &hook)
        .json(&json!({ "enabled": false }));
    crate::harness::send(patch).await.ok();
    let rotated = team.poke(&format!("{hook}/rotate-secret")).await.ok();
    assert_eq!(team.delete(&hook).await.status, 204);
    team.post("/api/platforms/tiktok/disconnect", &json!({ "account_id": account }))
        .await
        .ok();

    let log = team.get(AUDIT).await.ok();
    assert_eq!(
        actions(&log),
        [
            "account.disconnected",
            "webhook_endpoint.deleted",
            "webhook_endpoint.secret_rotated",
            "webhook_endpoint.changed",
            "webhook_endpoint.created",
            "account.connected",
            "key.revoked",
            "key.created",
            "key.created",
            "tenant.created",
        ]
    );
    let row = |action: &str| {
        let rows = log["data"].as_array().unwrap();
        rows.iter().find(|row| row["action"] == action).unwrap().clone()
    };
    let gone = row("webhook_endpoint.deleted");
    assert_eq!(gone["target"], made["id"]);
    assert_eq!((&gone["actor"], &gone["actor_key_id"]), (&json!("key"), &key["id"]));
    assert_eq!(
        row("webhook_endpoint.changed")["detail"],
        json!({ "fields": ["enabled"] })
    );
    assert_eq!(row("account.connected")["actor"], "owner");
    assert_eq!(row("account.connected")["target"], json!(account));
    assert_eq!(row("key.revoked")["actor"], "operator");
    assert_eq!(row("key.revoked")["target"], spare["id"]);
    let told = log.to_string();
    for secret in [&key["text"], &made["secret"], &rotated["secret"]] {
        assert!(!told.contains(secret.as_str().unwrap()));
    }
    assert!(!told.contains("secret-path"), "an address may hold a secret");

    // Found by action, target and time; page by page.
    let made_keys = team.get(&format!("{AUDIT}?action=key.created&limit=1")).await.ok();
    assert_eq!(made_keys["data"][0]["target"], spare["id"]);
    let next = made_keys["next_cursor"].as_str().unwrap();
    let rest = team
        .get(&format!("{AUDIT}?action=key.created&limit=1&cursor={next}"))
        .await
        .ok();
    assert_eq!(rest["data"][0]["target"], key["id"]);
    let of_account = team.get(&format!("{AUDIT}?target={account}")).await.ok();
    assert_eq!(actions(&of_account), ["account.disconnected", "account.connected"]);
    let later = (world.now() + Duration::from_secs(1)).to_rfc3339().replace('+', "%2B");
    assert_eq!(team.get(&format!("{AUDIT}?from={later}")).await.ok()["data"], json!([]));
    for wrong in ["action=key.eaten", "target=%00", "from=soon"] {
        let status = team.get(&format!("{AUDIT}?{wrong}")).await.status;
        assert!([400, 422].contains(&status), "{wrong}: {status}");
    }

    // The operator names a tenant; a tenant has none but its own. T17: a cursor is good for one log only.
    let told = operator.get(&format!("{AUDIT}?tenant_id={tenant}")).await.ok();
    assert_eq!(told, log);
    operator.get(AUDIT).await.problem(403, "forbidden");
    assert_eq!(team.get(&format!("{AUDIT}?tenant_id={tenant}")).await.ok(), log);
    let foreign = format!("{AUDIT}?tenant_id={tenant}");
    let never = format!("{AUDIT}?tenant_id={}", TenantId::from_uuid(world.app().env.ids.next()));
    for path in [foreign, never] {
        world.api.get(&path).await.problem(404, "not_found");
    }
    world
        .api
        .get(&format!("{AUDIT}?action=key.created&cursor={next}"))
        .await
        .problem(400, "cursor_invalid");

    let chain = audit::verify(&*world.app().store, tenant.parse().unwrap())
        .await
        .unwrap();
    assert!(matches!(chain, Chain::Whole(head) if head.seq == 10), "{chain:?}");
}

#[tokio::test]
async fn what_a_team_does_is_written_down_on_sqlite() {
    what_a_team_does_is_written_down(Database::Sqlite).await;
}

#[tokio::test]
async fn what_a_team_does_is_written_down_on_postgres() {
    on_postgres(what_a_team_does_is_written_down).await;
}

async fn what_browsers_and_backends_decide_is_written_down(database: Database) {
    let world = world(database).await;
    let connect = "/api/connect-origins";
    let origins = json!({ "origins": ["https://app.example.com"] });
    let put = world.api.request(reqwest::Method::PUT, connect).json(&origins);
    crate::harness::send(put).await.ok();
    let hooks = "/api/webhook-endpoints";
    let made = world
        .api
        .post(hooks, &json!({ "url": "https://hooks.example.com/" }))
        .await
        .with(201);
    let hook = format!("{hooks}/{}", id_of(&made));
    let test = id_of(&world.api.poke(&format!("{hook}/test")).await.with(202));
    world.work_off().await;
    world
        .api
        .poke(&format!("{hook}/deliveries/{test}/redeliver"))
        .await
        .with(202);
    let pass = json!({ "owner": "user-42", "origins": ["https://app.example.com"] });
    world
        .api
        .post("/api/platforms/tiktok/embed-sessions", &pass)
        .await
        .with(201);
    let log = world.api.get(AUDIT).await.ok();
    assert_eq!(
        actions(&log)[..5],
        [
            "embed_pass.made",
            "delivery.redelivered",
            "webhook_endpoint.created",
            "connect_origins.changed",
            "key.created"
        ],
    );
    assert_eq!(log["data"][1]["target"], json!(test));
    assert_eq!(log["data"][3]["detail"], origins);
    assert!(!log.to_string().contains("user-42"), "{log}");
    let chain = audit::verify(&*world.app().store, TenantId::DEFAULT).await.unwrap();
    assert!(matches!(chain, Chain::Whole(_)), "{chain:?}");
}

#[tokio::test]
async fn what_browsers_and_backends_decide_is_written_down_on_sqlite() {
    what_browsers_and_backends_decide_is_written_down(Database::Sqlite).await;
}

#[tokio::test]
async fn what_browsers_and_backends_decide_is_written_down_on_postgres() {
    on_postgres(what_browsers_and_backends_decide_is_written_down).await;
}

async fn t91_a_row_that_was_changed_or_taken_out_is_named(database: Database) {
    let world = world(database).await;
    for _ in 0..4 {
        world.make_key(TenantId::DEFAULT, &[KeyScope::Read]).await;
    }
    let found = async |statement: &'static str, seq: i64, fault: ChainFault| {
        world.execute(statement).await;
        let chain = audit::verify(&*world.app().store, TenantId::DEFAULT).await.unwrap();
        assert_eq!(chain, Chain::Broken { seq, fault }, "{statement}");
    };
    let whole = audit::verify(&*world.app().store, TenantId::DEFAULT).await.unwrap();
    assert!(matches!(whole, Chain::Whole(head) if head.seq == 5), "{whole:?}");
    // From the end to the start, since the first fault is the one that is named.
    found("DELETE FROM audit WHERE seq = 5", 5, ChainFault::Missing).await;
    found(
        "UPDATE audit_heads SET seq = 3, hash = (SELECT hash FROM audit WHERE seq = 3)",
        4,
        ChainFault::Added,
    )
    .await;
    found("UPDATE audit SET target = 'x' WHERE seq = 4", 4, ChainFault::Changed).await;
    found(
        "UPDATE audit SET request_id = 'x' WHERE seq = 3",
        3,
        ChainFault::Changed,
    )
    .await;
    found("DELETE FROM audit WHERE seq = 2", 2, ChainFault::Missing).await;
    found("UPDATE audit SET detail = '[]' WHERE seq = 1", 1, ChainFault::Changed).await;
    found("DELETE FROM audit_heads", 1, ChainFault::Changed).await;
    found("DELETE FROM audit WHERE seq = 1", 1, ChainFault::Missing).await;
}

#[tokio::test]
async fn t91_a_row_that_was_changed_or_taken_out_is_named_on_sqlite() {
    t91_a_row_that_was_changed_or_taken_out_is_named(Database::Sqlite).await;
}

#[tokio::test]
async fn t91_a_row_that_was_changed_or_taken_out_is_named_on_postgres() {
    on_postgres(t91_a_row_that_was_changed_or_taken_out_is_named).await;
}
