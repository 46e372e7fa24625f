//! What is given up is kept, told, and run again when somebody says so (R26: with one effect, however often).

use std::time::Duration;

use patchbay_app::model::KeyScope;
use patchbay_core::{JobId, TenantId};
use serde_json::{Value, json};

use crate::harness::{ADA, CLIENT_KEY, World, webhook::body};

const PATH: &str = "/api/dead-letters";

async fn listed(world: &World, query: &str) -> Vec<Value> {
    let list = world.api.get(&format!("{PATH}{query}")).await.ok();
    list["data"].as_array().unwrap().clone()
}

#[tokio::test]
async fn a_webhook_that_nobody_can_read_is_told_and_can_be_tried_again() {
    let world = World::new().await;
    assert_eq!(world.deliver("no json").await.status, 200);
    assert_eq!(listed(&world, "").await, [] as [Value; 0], "it may still be read");
    world.work_off().await;
    let dead = listed(&world, "").await;
    assert_eq!(dead.len(), 1);
    assert_eq!(
        (&dead[0]["kind"], &dead[0]["code"]),
        (&json!("ingest"), &json!("malformed_webhook"))
    );
    assert_eq!(dead[0]["attempts"], 1);
    let id = dead[0]["id"].as_str().unwrap();

    let replay = format!("{PATH}/{id}/replay");
    assert_eq!(
        world.api.poke(&replay).await.ok(),
        json!({ "replayed": 1, "more": false })
    );
    assert_eq!(listed(&world, "").await, [] as [Value; 0], "it waits for a worker");
    world.api.poke(&replay).await.problem(404, "not_found");
    world.work_off().await;
    assert_eq!(
        listed(&world, "").await[0]["id"],
        *id,
        "the same bytes are no better now"
    );

    world.advance(Duration::from_secs(60));
    assert_eq!(world.deliver("still no json").await.status, 200);
    world.work_off().await;
    let between = format!("?to={}", dead[0]["died_at"].as_str().unwrap());
    assert_eq!(listed(&world, &between).await.len(), 0);
    assert_eq!(listed(&world, "?kind=ingest&limit=1").await.len(), 1);
    assert_eq!(listed(&world, "?kind=publish").await.len(), 0);
    let one = json!({ "kind": "ingest", "from": world.now() - Duration::from_secs(5) });
    let replayed = world.api.post(&format!("{PATH}/replay"), &one).await.ok();
    assert_eq!(replayed, json!({ "replayed": 1, "more": false }));
    let all = world.api.post(&format!("{PATH}/replay"), &json!({})).await.ok();
    assert_eq!(all["replayed"], 1);
    world.work_off().await;
    assert_eq!(listed(&world, "").await.len(), 2);
}

#[tokio::test]
async fn r26_a_replayed_webhook_has_one_effect() {
    let world = World::new().await;
    world.connect().await;
    let event = body("some.event", &world.open_id(ADA), world.now(), &json!({}));
    world.deliver(event).await.ok();
    world.work_off().await;
    let events = "SELECT count(*) FROM events WHERE name = 'some.event'";
    assert_eq!(world.number(events).await, 1);
    for _ in 0..2 {
        // As if a worker had given it up after all.
        world
            .execute("UPDATE jobs SET status = 'dead' WHERE kind = 'ingest'")
            .await;
        let replayed = world.api.post(&format!("{PATH}/replay"), &json!({})).await.ok();
        assert_eq!(replayed["replayed"], 1);
        world.work_off().await;
        assert_eq!(world.number(events).await, 1);
        let done = "SELECT count(*) FROM jobs WHERE kind = 'ingest' AND status = 'done'";
        assert_eq!(world.number(done).await, 1);
    }
}

#[tokio::test]
async fn what_is_asked_wrongly_is_told() {
    let world = World::new().await;
    let never = JobId::from_uuid(world.app().env.ids.next());
    for unknown in [never.to_string(), "job_1".into(), CLIENT_KEY.into()] {
        let replay = format!("{PATH}/{unknown}/replay");
        world.api.poke(&replay).await.problem(404, "not_found");
    }
    let kind = json!({ "kind": "webhook" });
    let problem = world
        .api
        .post(&format!("{PATH}/replay"), &kind)
        .await
        .problem(422, "invalid");
    assert_eq!(problem["errors"][0]["pointer"], "/kind");
    world
        .api
        .get(&format!("{PATH}?kind=webhook"))
        .await
        .problem(422, "invalid");
    let field = json!({ "tenant_id": "other" });
    world
        .api
        .post(&format!("{PATH}/replay"), &field)
        .await
        .problem(422, "invalid");
    let reader = world.make_key(TenantId::DEFAULT, &[KeyScope::Read]).await;
    let reader = world.api.with_key(Some(reader));
    reader.get(PATH).await.ok();
    reader
        .post(&format!("{PATH}/replay"), &json!({}))
        .await
        .problem(403, "forbidden");
}
