//! What a tenant has, as JSON lines.

use std::collections::BTreeMap;

use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::{Api, Database, POSTS, Setup, World, on_postgres, pull_post, send};

async fn lines(api: &Api, query: &str) -> Vec<Value> {
    let reply = send(api.request(Method::GET, &format!("/api/exports{query}"))).await;
    assert_eq!(reply.status, 200);
    assert_eq!(reply.header("content-type"), Some("application/jsonl"));
    reply
        .text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn of<'v>(lines: &'v [Value], kind: &str) -> Vec<&'v Value> {
    lines
        .iter()
        .filter(|line| line["type"] == kind)
        .map(|line| &line["data"])
        .collect()
}

async fn all_that_a_tenant_has_is_exported(database: Database) {
    let world = Setup {
        database,
        ..Setup::default()
    }
    .build()
    .await;
    let account = world.connect().await;
    let other = world.connect_as(&world.api, "quinn_quiet").await;
    let media = world.video().await;
    let hooks = json!({ "url": "https://hooks.example.com/" });
    world.api.post("/api/webhook-endpoints", &hooks).await.with(201);
    let post = world.post(&pull_post(&account)).await;
    world.published(&post).await;
    for _ in 0..2 {
        let mut wanted = pull_post(&other);
        wanted["allow_duplicate"] = json!(true);
        world.post(&wanted).await;
    }

    let all = lines(&world.api, "").await;
    assert_eq!(
        (&all[0]["type"], &all[0]["data"]["of"]),
        (&json!("export"), &json!("tenant"))
    );
    let end = all.last().unwrap();
    let mut counts = BTreeMap::new();
    for line in &all[1..all.len() - 1] {
        *counts.entry(line["type"].as_str().unwrap()).or_insert(0) += 1;
    }
    assert_eq!(*end, json!({ "type": "end", "data": { "lines": counts } }));
    assert_eq!((counts["account"], counts["post"], counts["media"]), (2, 3, 1));
    for kind in ["event", "webhook_endpoint", "delivery", "audit"] {
        assert!(counts[kind] > 0, "{kind}");
    }
    // Each thing is as the API shows it.
    assert_eq!(of(&all, "media")[0]["id"], json!(media));
    let mut exported = of(&all, "post")
        .into_iter()
        .find(|found| found["id"] == json!(post))
        .unwrap()
        .clone();
    let numbers = exported.as_object_mut().unwrap().remove("metrics").unwrap();
    assert_eq!(numbers, json!({ "read_at": null, "values": {}, "history": [] }));
    let journal = exported.as_object_mut().unwrap().remove("journal").unwrap();
    assert_eq!(journal, world.api.get(&format!("{POSTS}/{post}/journal")).await.ok());
    let listed = world.api.get(&format!("{POSTS}?account_id={account}")).await.ok();
    assert_eq!(exported, listed["data"][0]);
    // T90: no token and no secret is in it.
    let text = serde_json::to_string(&all).unwrap();
    for word in ["token", "secret", "whsec_", "\"sealed", "checkpoint"] {
        assert!(!text.contains(&format!("{word}\":")), "{word}");
    }

    let one = lines(&world.api, &format!("?account_id={account}")).await;
    assert_eq!(of(&one, "account").len(), 1);
    assert_eq!(of(&one, "post").len(), 1);
    assert!(
        of(&one, "event")
            .iter()
            .all(|event| event["account_id"] == json!(account))
    );
    assert!(of(&one, "media").is_empty() && of(&one, "delivery").is_empty());
    let owner = world.account(&account).await.owner;
    let owners = lines(&world.api, &format!("?owner={owner}")).await;
    assert_eq!(of(&owners, "post").len(), of(&all, "post").len());
    let audit = world.api.get("/api/audit?action=export.made").await.ok();
    assert_eq!(audit["data"].as_array().unwrap().len(), 3);

    // T16, T17: another tenant gets nothing of it.
    let foreign = world.tenant("other").await;
    let theirs = lines(&foreign, "").await;
    assert!(of(&theirs, "account").is_empty() && of(&theirs, "post").is_empty());
    for query in [
        format!("?account_id={account}"),
        format!("?owner={owner}"),
        "?owner=%00".to_owned(),
        "?account_id=x".to_owned(),
    ] {
        foreign
            .get(&format!("/api/exports{query}"))
            .await
            .problem(404, "not_found");
    }
    let both = format!("/api/exports?account_id={account}&owner={owner}");
    world.api.get(&both).await.problem(400, "bad_request");
}

#[tokio::test]
async fn all_that_a_tenant_has_is_exported_on_sqlite() {
    all_that_a_tenant_has_is_exported(Database::Sqlite).await;
}

#[tokio::test]
async fn all_that_a_tenant_has_is_exported_on_postgres() {
    on_postgres(all_that_a_tenant_has_is_exported).await;
}

#[tokio::test]
async fn an_export_of_many_pages_has_each_thing_once() {
    let world = World::new().await;
    let account = world.connect().await;
    for index in 0..130 {
        let mut wanted = pull_post(&account);
        wanted["title"] = json!(format!("post {index}"));
        world.post(&wanted).await;
    }
    let all = lines(&world.api, "").await;
    let mut ids: Vec<_> = of(&all, "post").iter().map(|post| post["id"].to_string()).collect();
    assert_eq!(ids.len(), 130);
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 130);
}
