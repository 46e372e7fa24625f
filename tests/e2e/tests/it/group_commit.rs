//! Webhooks that come while the database is busy (R03): they share the next commit, and nobody is told 200 before it.

use std::time::Duration;

use futures_util::{StreamExt, stream::FuturesUnordered};
use reqwest::Method;
use serde_json::json;

use crate::harness::{
    ADA, CLIENT_SECRET, Database, Reply, Setup, World, on_postgres, send,
    webhook::{PATH, body, signature},
};

async fn world(database: Database) -> World {
    Setup {
        database,
        ..Setup::default()
    }
    .build()
    .await
}

/// A webhook like no other, rightly signed.
async fn deliver(world: &World, number: usize) -> Reply {
    let body = body(
        "some.event",
        &world.open_id(ADA),
        world.now(),
        &json!({ "number": number }),
    );
    let signature = signature(CLIENT_SECRET, world.now().timestamp(), body.as_bytes());
    let request = world.api.with_key(None).request(Method::POST, PATH);
    send(request.header("tiktok-signature", signature).body(body)).await
}

/// For so long nothing can be committed: most of the time in which an answer is due, so that all webhooks are there by then.
const WHILE: Duration = Duration::from_millis(1_000);

/// On a machine that has other work one may be answered too late. A platform comes again then, and it counts once.
async fn stored(world: &World, number: usize, mut answer: Reply) {
    while answer.status == 503 {
        answer = deliver(world, number).await;
    }
    assert_eq!(answer.status, 200, "{}", answer.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn webhooks_that_come_during_a_commit_share_the_next_one() {
    on_postgres(async |database| {
        let world = world(database).await;
        let held = world.hold_writes().await;
        let mut answers: FuturesUnordered<_> = (0..60)
            .map(async |number| (number, deliver(&world, number).await))
            .collect();
        // None is answered while nothing can be committed.
        let early = tokio::time::timeout(WHILE, answers.next()).await;
        assert!(early.is_err(), "{early:?}");
        held.release().await;
        while let Some((number, answer)) = answers.next().await {
            stored(&world, number, answer).await;
        }
        assert_eq!(world.inbox_rows().await, 60);
        // Each of the two that commit side by side had begun with what came first.
        let commits = world.number("SELECT count(DISTINCT xmin::text) FROM inbox").await;
        assert!(commits < 15, "{commits} commits for 60 webhooks");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn r03_a_webhook_that_cannot_be_committed_is_sent_away_in_time_and_taken_later() {
    r03(Database::Sqlite).await;
    on_postgres(r03).await;
}

async fn r03(database: Database) {
    let world = world(database).await;
    let held = world.hold_writes().await;
    let refused = deliver(&world, 1).await;
    refused.problem(503, "unavailable");
    assert_eq!(refused.header("retry-after"), Some("2"));
    assert_eq!(world.inbox_rows().await, 0, "it was not told 200, and it is not there");
    held.release().await;
    for number in [1, 2] {
        stored(&world, number, deliver(&world, number).await).await;
    }
    assert_eq!(world.inbox_rows().await, 2);
}

/// One that the database refuses must not take its company with it.
#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_that_cannot_be_stored_leaves_the_others_alone() {
    on_postgres(async |database| {
        let world = world(database).await;
        world
            .execute("ALTER TABLE inbox ADD CONSTRAINT picky CHECK (position('\"number\\\":13}' IN convert_from(body, 'UTF8')) = 0)")
            .await;
        let held = world.hold_writes().await;
        let mut answers: FuturesUnordered<_> = (0..30)
            .map(async |number| (number, deliver(&world, number).await))
            .collect();
        let early = tokio::time::timeout(WHILE, answers.next()).await;
        assert!(early.is_err(), "{early:?}");
        held.release().await;
        while let Some((number, answer)) = answers.next().await {
            if number == 13 {
                answer.problem(503, "unavailable");
            } else {
                stored(&world, number, answer).await;
            }
        }
        assert_eq!(world.inbox_rows().await, 29);
    })
    .await;
}
