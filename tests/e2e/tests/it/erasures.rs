//! Erasing for good: accounts, owners and tenants, with receipts (T97, T98).

use std::time::Duration;

use patchbay_app::{
    env::Env,
    model::{JobKind, KeyScope},
    vault::Place,
    work,
};
use patchbay_core::TenantId;
use patchbay_simkit::{Action, Fault, When, cut_off};
use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::{ADA, Api, Database, POSTS, Setup, World, id_of, on_postgres, pull_post, send};

async fn world(database: Database) -> World {
    Setup {
        database,
        ..Setup::default()
    }
    .build()
    .await
}

/// Lets time pass until an erasure is done.
pub async fn done(world: &World, api: &Api, erasure: &Value) -> Value {
    let path = format!("/api/erasures/{}", id_of(erasure));
    for _ in 0..30 {
        world.drain().await;
        let shown = api.get(&path).await.ok();
        if shown["status"] == "done" {
            return shown;
        }
        world.advance(Duration::from_secs(10));
    }
    panic!("the erasure does not end")
}

async fn an_account_is_erased_with_a_receipt(database: Database) {
    let world = world(database).await;
    let account = world.connect().await;
    let other = world.connect_as(&world.api, "quinn_quiet").await;
    let post = world.post(&pull_post(&account)).await;
    world.published(&post).await;
    let waits = world.post(&pull_post(&account)).await;
    let hooks = json!({ "url": "https://hooks.example.com/", "events": ["*"] });
    world.api.post("/api/webhook-endpoints", &hooks).await.with(201);
    let kept = world.post(&pull_post(&other)).await;

    let path = format!("/api/platforms/tiktok/accounts/{account}");
    let erasure = world.api.delete(&path).await.with(202);
    assert_eq!(
        (&erasure["status"], &erasure["account_id"]),
        (&json!("running"), &json!(account))
    );
    assert_eq!(
        world.api.delete(&path).await.with(202)["id"],
        erasure["id"],
        "two wishes are one"
    );
    let receipt = done(&world, &world.api, &erasure).await;
    assert_eq!(receipt["deleted"]["accounts"], 1);
    assert_eq!(receipt["deleted"]["posts"], 2);
    assert!(receipt["deleted"]["events"].as_u64().unwrap() > 2, "{receipt}");
    assert_eq!(receipt["grants"].as_array().unwrap().len(), 1);
    assert_eq!(receipt["grants"][0]["outcome"], "revoked");
    assert_eq!(world.calls("revoke"), 1);
    world.api.get(&path).await.problem(404, "not_found");
    for post in [&post, &waits] {
        world
            .api
            .get(&format!("{POSTS}/{post}"))
            .await
            .problem(404, "not_found");
    }
    let left = world.api.get("/api/events?limit=100").await.ok();
    assert!(!left.to_string().contains(&account), "{left}");
    assert_eq!(
        world.api.delete(&path).await.with(202),
        receipt,
        "run twice, the same receipt"
    );
    let audit = world.api.get("/api/audit").await.ok();
    let actions: Vec<_> = audit["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| &row["action"])
        .collect();
    assert_eq!(actions[..3], ["erasure.ended", "account.disconnected", "erasure.begun"]);
    assert_eq!(audit["data"][0]["target"], receipt["id"]);
    // What is another's goes on.
    world.published(&kept).await;
    let dead = world.api.get("/api/dead-letters").await.ok();
    assert_eq!(dead["data"], json!([]));
}

#[tokio::test]
async fn an_account_is_erased_with_a_receipt_on_sqlite() {
    an_account_is_erased_with_a_receipt(Database::Sqlite).await;
}

#[tokio::test]
async fn an_account_is_erased_with_a_receipt_on_postgres() {
    on_postgres(an_account_is_erased_with_a_receipt).await;
}

#[tokio::test]
async fn t98_a_platform_that_is_down_is_told_five_times_and_then_reported() {
    let world = World::new().await;
    let account = world.connect().await;
    let owner = world.account(&account).await.owner;
    let down = Action::Status {
        status: 500,
        body: String::new(),
        content_type: "text/plain".into(),
        when: When::Before,
    };
    world.sim.faults().put("down", Fault::new("revoke", down));
    let path = format!("/api/owners/{owner}");
    world.api.delete("/api/owners/nobody").await.problem(404, "not_found");
    world.api.delete("/api/owners/%00").await.problem(404, "not_found");
    let erasure = world.api.delete(&path).await.with(202);
    assert_eq!(erasure["subject"], "owner");
    let receipt = done(&world, &world.api, &erasure).await;
    assert_eq!(world.calls("revoke"), 5);
    assert_eq!(receipt["grants"][0]["outcome"], "not_told");
    assert!(receipt["grants"][0]["code"].is_string(), "{receipt}");
    assert_eq!(receipt["deleted"]["accounts"], 1);
    assert!(
        !receipt.to_string().contains(&format!("\"{owner}\"")),
        "the name is forgotten"
    );
    assert_eq!(
        world
            .number("SELECT count(*) FROM erasures WHERE owner IS NOT NULL")
            .await,
        0
    );
    assert_eq!(world.number("SELECT count(*) FROM accounts").await, 0);
}

async fn t97_what_a_tenant_had_opens_nowhere_any_more(database: Database) {
    let world = world(database).await;
    world.connect_as(&world.api, "quinn_quiet").await;
    let operator = world
        .api
        .with_key(Some(world.make_key(TenantId::DEFAULT, &[KeyScope::Operator]).await));
    let tenant = id_of(
        &operator
            .post("/api/tenants", &json!({ "name": "acme" }))
            .await
            .with(201),
    );
    let path = format!("/api/tenants/{tenant}");
    let key = operator
        .post(&format!("{path}/keys"), &json!({ "name": "backend" }))
        .await
        .with(201);
    let team = operator.with_key(Some(key["text"].as_str().unwrap().to_owned()));
    let account = world.connect_as(&team, ADA).await;
    team.post(POSTS, &pull_post(&account)).await.with(202);
    let picture = crate::harness::media::png();
    let media = id_of(
        &send(team.request(Method::POST, "/api/media").body(picture))
            .await
            .with(201),
    );
    let hooks = json!({ "url": "https://hooks.example.com/" });
    team.post("/api/webhook-endpoints", &hooks).await.with(201);
    let ids: TenantId = tenant.parse().unwrap();
    let store = world.app().store.clone();
    let stolen = store.account(ids, account.parse().unwrap()).await.unwrap().unwrap();
    let sealed = stolen.tokens.unwrap();
    let place = Place {
        tenant: ids,
        table: "accounts",
        row: stolen.id.as_uuid(),
        column: "tokens",
        version: sealed.version,
    };
    world.app().vault.unseal(place, &sealed.envelope).await.unwrap();

    operator.delete(&path).await.problem(422, "invalid");
    operator
        .delete(&format!("{path}?confirm=Acme"))
        .await
        .problem(422, "invalid");
    team.delete(&format!("{path}?confirm=acme"))
        .await
        .problem(403, "forbidden");
    let default = format!("/api/tenants/{}?confirm=default", TenantId::DEFAULT);
    operator.delete(&default).await.problem(422, "invalid");
    let erasure = operator.delete(&format!("{path}?confirm=acme")).await.with(202);
    world.serving.host.gate.forget(id_of(&key).parse().unwrap());
    team.get("/api/platforms").await.problem(401, "unauthorized");
    world
        .api
        .get(&format!("/api/erasures/{}", id_of(&erasure)))
        .await
        .problem(404, "not_found");
    let receipt = done(&world, &operator, &erasure).await;
    for (kind, count) in [
        ("accounts", 1),
        ("api_keys", 1),
        ("data_keys", 1),
        ("media", 1),
        ("posts", 1),
        ("webhook_endpoints", 1),
    ] {
        assert_eq!(receipt["deleted"][kind], count, "{kind}: {receipt}");
    }
    assert_eq!(receipt["grants"][0]["outcome"], "revoked");
    assert_eq!(operator.delete(&path).await.with(202), receipt);
    operator.get(&path).await.problem(404, "not_found");

    // Neither this host nor one that starts now, with the same installation key, opens what was copied before.
    assert!(world.app().vault.unseal(place, &sealed.envelope).await.is_err());
    let config = &world.serving.host.config;
    let fresh = patchbay_server::host::open_vault(config, store.clone(), &Env::system())
        .await
        .unwrap();
    assert!(fresh.unseal(place, &sealed.envelope).await.is_err());
    let file = walk(world.folder.path())
        .into_iter()
        .find(|path| path.contains(media.trim_start_matches("med_")));
    assert_eq!(file, None, "the bytes are gone");
    // The others are as they were; the log of the one that is gone can be read, and is whole.
    assert_eq!(
        world
            .number("SELECT count(*) FROM accounts WHERE status = 'active'")
            .await,
        1
    );
    let audit = operator.get(&format!("/api/audit?tenant_id={tenant}")).await.ok();
    assert_eq!(audit["data"][0]["action"], "erasure.ended");
    let chain = patchbay_app::audit::verify(&*store, ids).await.unwrap();
    assert!(matches!(chain, patchbay_app::audit::Chain::Whole(_)), "{chain:?}");
    // Its name is free again, for another tenant with a key of its own.
    let next = id_of(
        &operator
            .post("/api/tenants", &json!({ "name": "acme" }))
            .await
            .with(201),
    );
    assert_ne!(next, tenant);
    let key = operator
        .post(&format!("/api/tenants/{next}/keys"), &json!({ "name": "backend" }))
        .await
        .with(201);
    let team = operator.with_key(Some(key["text"].as_str().unwrap().to_owned()));
    world.connect_as(&team, ADA).await;
}

/// All files below a folder.
fn walk(folder: &std::path::Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        if entry.path().is_dir() {
            found.extend(walk(&entry.path()));
        } else {
            found.push(entry.path().display().to_string());
        }
    }
    found
}

#[tokio::test]
async fn t97_what_a_tenant_had_opens_nowhere_any_more_on_sqlite() {
    t97_what_a_tenant_had_opens_nowhere_any_more(Database::Sqlite).await;
}

#[tokio::test]
async fn t97_what_a_tenant_had_opens_nowhere_any_more_on_postgres() {
    on_postgres(t97_what_a_tenant_had_opens_nowhere_any_more).await;
}

async fn killed_anywhere_it_goes_on_to_the_same_receipt(database: Database) {
    let world = world(database).await;
    let account = world.connect().await;
    world.post(&pull_post(&account)).await;
    let path = format!("/api/platforms/tiktok/accounts/{account}");
    let erasure = world.api.delete(&path).await.with(202);
    let mut kills = 0;
    let receipt = loop {
        let shown = world.api.get(&format!("/api/erasures/{}", id_of(&erasure))).await.ok();
        if shown["status"] == "done" {
            break shown;
        }
        assert!(kills < 200, "it never ends");
        // A little further each time, so that every place is hit.
        let _ = cut_off(work::run_due(world.app(), &[JobKind::Erase], 1), 2 + kills).await;
        kills += 1;
        // The lease of the one that was killed ends.
        world.advance(Duration::from_secs(31));
    };
    println!("{kills} kills");
    assert!(kills > 5, "too few kills to mean anything");
    assert_eq!(receipt["deleted"]["accounts"], 1);
    assert_eq!(receipt["deleted"]["posts"], 1);
    assert_eq!(receipt["grants"].as_array().unwrap().len(), 1);
    assert_eq!(world.number("SELECT count(*) FROM accounts").await, 0);
    assert_eq!(world.number("SELECT count(*) FROM posts").await, 0);
    let left = world.api.get("/api/events").await.ok();
    let names: Vec<_> = left["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|event| &event["name"])
        .collect();
    assert_eq!(names, ["erasure.finished"], "nothing of the account, and its end once");
    let audit = world.api.get("/api/audit?action=erasure.ended").await.ok();
    assert_eq!(audit["data"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn killed_anywhere_it_goes_on_to_the_same_receipt_on_sqlite() {
    killed_anywhere_it_goes_on_to_the_same_receipt(Database::Sqlite).await;
}

#[tokio::test]
async fn killed_anywhere_it_goes_on_to_the_same_receipt_on_postgres() {
    on_postgres(killed_anywhere_it_goes_on_to_the_same_receipt).await;
}

#[tokio::test]
async fn a_tenant_is_renamed() {
    let world = World::new().await;
    let operator = world
        .api
        .with_key(Some(world.make_key(TenantId::DEFAULT, &[KeyScope::Operator]).await));
    let tenant = operator
        .post("/api/tenants", &json!({ "name": "acme" }))
        .await
        .with(201);
    let path = format!("/api/tenants/{}", id_of(&tenant));
    let rename = async |name: &str| send(operator.request(Method::PATCH, &path).json(&json!({ "name": name }))).await;
    let renamed = rename("globex").await.ok();
    assert_eq!((&renamed["id"], &renamed["name"]), (&tenant["id"], &json!("globex")));
    assert_eq!(operator.get(&path).await.ok(), renamed);
    rename("default").await.problem(409, "name_taken");
    rename(" ").await.problem(422, "invalid");
    let log = operator
        .get(&format!("/api/audit?tenant_id={}", id_of(&tenant)))
        .await
        .ok();
    assert_eq!(log["data"][0]["action"], "tenant.renamed");
}
