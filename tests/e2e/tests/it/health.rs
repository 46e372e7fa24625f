//! Whether the host can do its work, and what it counts.

use chrono::TimeDelta;
use serde_json::json;

use crate::harness::{Setup, World, on_postgres, pull_post};

#[tokio::test]
async fn a_host_that_can_work_is_ready() {
    let world = World::new().await;
    let nobody = world.api.with_key(None);
    assert_eq!(nobody.get("/healthz").await.ok(), json!({ "status": "ok" }));
    let ready = nobody.get("/readyz").await.ok();
    assert_eq!(
        ready,
        json!({
            "status": "ready",
            "checks": { "database": "ok", "clock": "ok", "key": "ok", "workers": "ok" },
        })
    );
}

#[tokio::test]
async fn a_host_whose_database_is_gone_lives_and_is_not_ready() {
    on_postgres(async |database| {
        let world = Setup {
            database: database.clone(),
            ..Setup::default()
        }
        .build()
        .await;
        world.api.get("/readyz").await.ok();
        database.vanish().await;
        world.api.get("/healthz").await.ok();
        let body = world.api.get("/readyz").await.with(503);
        assert_eq!(body["status"], "not_ready");
        assert_ne!(body["checks"]["database"], "ok", "{body}");
        world
            .api
            .get("/api/platforms/tiktok/accounts")
            .await
            .problem(503, "unavailable");
    })
    .await;
}

#[tokio::test]
async fn a_host_whose_clock_is_off_or_whose_work_waits_is_not_ready() {
    let world = Setup {
        host_ahead: TimeDelta::seconds(61),
        ..Setup::default()
    }
    .build()
    .await;
    let body = world.api.get("/readyz").await.with(503);
    assert_ne!(body["checks"]["clock"], "ok", "{body}");

    let world = World::new().await;
    let account = world.connect().await;
    world.post(&pull_post(&account)).await;
    world.api.get("/readyz").await.ok();
    world.advance(std::time::Duration::from_secs(301));
    let body = world.api.get("/readyz").await.with(503);
    assert_ne!(body["checks"]["workers"], "ok", "{body}");
    world.drain().await;
    world.api.get("/readyz").await.ok();
}

#[tokio::test]
async fn the_metrics_tell_the_story() {
    let world = World::new().await;
    let account = world.connect().await;
    let post = world.post(&pull_post(&account)).await;
    world.published(&post).await;
    world.advance(std::time::Duration::from_secs(80 * 60));
    world.drain().await;
    let text = world.api.with_key(None).get("/metrics").await.text;
    let has = |name: &str, labels: &[&str]| {
        let line = text
            .lines()
            .find(|line| line.starts_with(name) && labels.iter().all(|label| line.contains(label)));
        assert!(line.is_some(), "{name} {labels:?} is not in\n{text}");
    };
    has(
        "patchbay_oauth_total",
        &["provider=\"tiktok\"", "outcome=\"connected\""],
    );
    has("patchbay_publishes_total", &["outcome=\"published\"", "code=\"ok\""]);
    has("patchbay_webhooks_received_total", &["outcome=\"stored\""]);
    has("patchbay_webhook_effect_seconds_bucket", &["provider=\"tiktok\""]);
    has(
        "patchbay_events_total",
        &["kind=\"post_visible\"", "outcome=\"applied\""],
    );
    has("patchbay_token_refresh_total", &["outcome=\"renewed\""]);
    has("patchbay_quota_used_ratio", &["quota=\"direct_posts\""]);
    has("patchbay_outbound_requests_total", &["op=\"video.init_pull\""]);
    has("patchbay_outbound_seconds_bucket", &["op=\"post.status\""]);
    has(
        "patchbay_http_requests_total",
        &[
            "route=\"/api/platforms/{provider}/posts\"",
            "method=\"POST\"",
            "status=\"202\"",
        ],
    );
    has("patchbay_http_seconds_bucket", &["route="]);
    for gauge in [
        "patchbay_jobs_due",
        "patchbay_jobs_running",
        "patchbay_jobs_dead",
        "patchbay_job_lag_seconds",
    ] {
        has(gauge, &[]);
    }
    assert!(!text.contains(&account) && !text.contains(&post), "labels hold no ids");
}
