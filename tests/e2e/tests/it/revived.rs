//! Posts that failed for want of access go on when their account is connected again: once, and never twice at the platform.

use std::time::Duration;

use patchbay_app::{model::JobKind, work};
use patchbay_simulator_tiktok::RemovalReason;
use serde_json::{Value, json};

use crate::harness::{ADA, Database, Setup, World, on_postgres, video_post};

const DAY: Duration = Duration::from_secs(24 * 3600);

async fn world(database: Database) -> World {
    Setup {
        database,
        ..Setup::default()
    }
    .build()
    .await
}

/// A post that has begun, and fails since its account is let go at the platform.
async fn failed(world: &World, account: &str) -> String {
    let post = world.post(&video_post(account, &world.video().await)).await;
    work::run_due(world.app(), &[JobKind::Publish], usize::MAX)
        .await
        .unwrap();
    assert_eq!(world.show(&post).await["status"], "publishing");
    world.sim.disconnect(ADA, RemovalReason::UserDisconnected).unwrap();
    world.sim.settle().await;
    while work::run_due(world.app(), &[JobKind::Ingest], usize::MAX)
        .await
        .unwrap()
        > 0
    {}
    let shown = world.settled(&post).await;
    assert_eq!(
        (&shown["status"], &shown["failure"]["code"]),
        (&json!("failed"), &json!("access_revoked")),
        "{shown}"
    );
    post
}

async fn timeline(world: &World, post: &str) -> Vec<String> {
    let names = world.events(&format!("post_id={post}")).await;
    names
        .into_iter()
        .filter(|name| !name.starts_with("post.publish."))
        .collect()
}

async fn a_post_goes_on_once(database: Database) {
    let world = world(database).await;
    let account = world.connect().await;
    let post = failed(&world, &account).await;
    world.advance(6 * DAY);
    world.work_off().await;
    assert_eq!(world.connect().await, account);
    assert_eq!(world.show(&post).await["status"], "queued");
    // Whoever connects again now changes nothing about it.
    assert_eq!(world.connect().await, account);
    let shown = world.published(&post).await;
    assert_eq!(shown["failure"], Value::Null);
    assert_eq!(
        timeline(&world, &post).await,
        ["post.failed", "post.revived", "post.published"]
    );
    assert_eq!(world.connect().await, account);
    world.drain().await;
    let effects = world.sim.oracle().effects(ADA);
    assert_eq!((effects.posted, effects.public), (1, 1));
}

#[tokio::test]
async fn a_post_goes_on_once_on_sqlite() {
    a_post_goes_on_once(Database::Sqlite).await;
}

#[tokio::test]
async fn a_post_goes_on_once_on_postgres() {
    on_postgres(a_post_goes_on_once).await;
}

#[tokio::test]
async fn it_may_fail_once_more_and_is_told_of_each_time() {
    let world = world(Database::Sqlite).await;
    let account = world.connect().await;
    let post = failed(&world, &account).await;
    world.connect().await;
    // The platform tells times in seconds.
    world.advance(Duration::from_secs(60));
    work::run_due(world.app(), &[JobKind::Publish], usize::MAX)
        .await
        .unwrap();
    world.sim.disconnect(ADA, RemovalReason::UserDisconnected).unwrap();
    world.sim.settle().await;
    while work::run_due(world.app(), &[JobKind::Ingest], usize::MAX)
        .await
        .unwrap()
        > 0
    {}
    assert_eq!(world.settled(&post).await["status"], "failed");
    world.connect().await;
    world.published(&post).await;
    assert_eq!(
        timeline(&world, &post).await,
        [
            "post.failed",
            "post.revived",
            "post.failed",
            "post.revived",
            "post.published"
        ]
    );
    assert_eq!(world.sim.oracle().effects(ADA).posted, 1);
}

#[tokio::test]
async fn it_is_too_late_after_a_week_and_what_was_let_go_here_stays_so() {
    let world = world(Database::Sqlite).await;
    let account = world.connect().await;
    let late = failed(&world, &account).await;
    world.advance(8 * DAY);
    world.connect().await;
    world.drain().await;
    assert_eq!(world.show(&late).await["status"], "failed");

    let given_up = world.post(&video_post(&account, &world.video().await)).await;
    work::run_due(world.app(), &[JobKind::Publish], usize::MAX)
        .await
        .unwrap();
    world
        .api
        .post("/api/platforms/tiktok/disconnect", &json!({ "account_id": account }))
        .await
        .ok();
    let shown = world.settled(&given_up).await;
    assert_eq!(
        (&shown["status"], &shown["failure"]["code"]),
        (&json!("failed"), &json!("account_gone")),
        "{shown}"
    );
    world.connect().await;
    world.drain().await;
    assert_eq!(world.show(&given_up).await["status"], "failed");
    assert_eq!(world.sim.oracle().effects(ADA).posted, 0);
}
