//! What became of posts, in numbers.

use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{Database, Setup, on_postgres, pull_post};

async fn posts_are_summed_up_for_a_tenant_and_an_account(database: Database) {
    let world = Setup {
        database,
        ..Setup::default()
    }
    .build()
    .await;
    let account = world.connect().await;
    let other = world.connect_as(&world.api, "quinn_quiet").await;
    let first = world.post(&pull_post(&account)).await;
    world.published(&first).await;
    world.advance(Duration::from_secs(3_600));
    world.refuse("video_init", "spam_risk_user_banned_from_posting");
    let failed = world.post(&pull_post(&other)).await;
    assert_eq!(world.settled(&failed).await["status"], "failed");
    world.advance(Duration::from_secs(60));

    let all = world.api.get("/api/statistics").await.ok();
    assert_eq!(all["by_status"], json!({ "failed": 1, "published": 1 }));
    assert_eq!(all["success_rate"], json!(0.5));
    assert_eq!(all["failures"].as_object().unwrap().len(), 1, "{all}");
    assert!(all["publish_p50_seconds"].is_number(), "{all}");
    assert_eq!(all["publish_p50_seconds"], all["publish_p95_seconds"]);
    assert_eq!(
        (&all["truncated"], all["buckets"].as_array().unwrap().len()),
        (&json!(false), 1)
    );
    let hours = world.api.get("/api/statistics?bucket=hour").await.ok();
    let parts: Vec<_> = hours["buckets"]
        .as_array()
        .unwrap()
        .iter()
        .map(|part| &part["success_rate"])
        .collect();
    assert_eq!(parts, [&json!(1.0), &json!(0.0)]);

    let path = |account: &str| format!("/api/platforms/tiktok/accounts/{account}/statistics");
    let one = world.api.get(&path(&account)).await.ok();
    assert_eq!(
        (&one["by_status"], &one["success_rate"]),
        (&json!({ "published": 1 }), &json!(1.0))
    );
    let quota = &one["quotas"][0];
    assert!(
        quota["limit"].as_u64().unwrap() >= quota["used"].as_u64().unwrap(),
        "{one}"
    );
    let later = world.now().to_rfc3339().replace('+', "%2B");
    let none = world
        .api
        .get(&format!("/api/statistics?from={later}&to=2100-01-01T00:00:00Z"))
        .await;
    none.problem(422, "invalid");
    let empty = world.tenant("other").await.get("/api/statistics").await.ok();
    assert_eq!(
        (&empty["by_status"], &empty["success_rate"]),
        (&json!({}), &Value::Null)
    );
    for wrong in ["bucket=week", "from=2026-01-02T00:00:00Z&to=2026-01-01T00:00:00Z"] {
        world
            .api
            .get(&format!("/api/statistics?{wrong}"))
            .await
            .problem(422, "invalid");
    }
}

#[tokio::test]
async fn posts_are_summed_up_for_a_tenant_and_an_account_on_sqlite() {
    posts_are_summed_up_for_a_tenant_and_an_account(Database::Sqlite).await;
}

#[tokio::test]
async fn posts_are_summed_up_for_a_tenant_and_an_account_on_postgres() {
    on_postgres(posts_are_summed_up_for_a_tenant_and_an_account).await;
}
