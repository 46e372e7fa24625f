//! How fast one API key may go.

use std::time::Instant;

use patchbay_core::TenantId;

use crate::harness::{Api, Reply, Setup, WORKER_SECRET, World, webhook};

const BURST: usize = 5;

/// A key may send one request a second, and five at once.
async fn world() -> World {
    Setup::default()
        .set("PATCHBAY__LIMITS__REQUESTS_PER_SECOND", "1")
        .set("PATCHBAY__LIMITS__BURST", BURST.to_string())
        .build()
        .await
}

async fn many(api: &Api, path: &str) -> Vec<Reply> {
    let mut replies = Vec::new();
    for _ in 0..BURST * 6 {
        replies.push(api.get(path).await);
    }
    replies
}

#[tokio::test]
async fn a_key_that_runs_wild_is_told_to_wait_and_others_are_not() {
    let world = world().await;
    let began = Instant::now();
    let replies = many(&world.api, "/api/platforms").await;
    let seconds = usize::try_from(began.elapsed().as_secs()).unwrap();
    assert!(
        replies.iter().take(BURST).all(|reply| reply.status == 200),
        "a burst passes"
    );
    // As structured fields: what there is, and what is left of it.
    for (sent, reply) in replies.iter().take(BURST).enumerate() {
        assert_eq!(reply.header("ratelimit-policy"), Some("\"key\";q=5;w=5"));
        // One comes back each second, if that takes so long.
        let left = BURST - 1 - sent;
        let told: Vec<_> = (left..=(left + seconds).min(BURST - 1))
            .map(|left| format!("\"key\";r={left};t=1"))
            .collect();
        let said = reply.header("ratelimit").unwrap();
        assert!(told.iter().any(|told| told == said), "{said}, and not one of {told:?}");
    }
    let refused: Vec<_> = replies.iter().filter(|reply| reply.status != 200).collect();
    assert!(!refused.is_empty(), "and no more than that");
    for reply in refused {
        reply.problem(429, "rate_limited");
        assert_eq!(reply.header("retry-after"), Some("1"));
        assert_eq!(reply.header("ratelimit"), Some("\"key\";r=0;t=1"));
    }
    let other = world.make_key(TenantId::DEFAULT, &[]).await;
    world.api.with_key(Some(other)).get("/api/platforms").await.ok();
}

#[tokio::test]
async fn platforms_schedulers_and_probes_have_no_pace() {
    let world = world().await;
    many(&world.api, "/api/platforms").await;
    let nobody = world.api.with_key(None);
    let worker = world.api.with_key(Some(WORKER_SECRET.to_owned()));
    for n in 0..BURST * 3 {
        nobody.get("/healthz").await.ok();
        nobody.get("/readyz").await.ok();
        worker.poke("/api/workers/webhooks").await.ok();
        let body = webhook::body("some.event", "nobody", world.now(), &serde_json::json!({ "n": n }));
        assert_eq!(world.deliver(body).await.status, 200);
    }
}

#[tokio::test]
async fn pages_without_a_key_share_a_pace_and_wrong_keys_use_up_nobodys() {
    let open = Setup::default()
        .set("PATCHBAY__LIMITS__REQUESTS_PER_SECOND", "1")
        .set("PATCHBAY__LIMITS__BURST", BURST.to_string())
        .set("PATCHBAY__SERVER__FIRST_PARTY", "open");
    let world = open.build().await;
    let key = world.api.key.clone().unwrap();
    let mut wrong = key.clone();
    let last = wrong.pop().unwrap();
    wrong.push(if last == '0' { '1' } else { '0' });
    for _ in 0..BURST * 2 {
        let reply = world.api.with_key(Some(wrong.clone())).get("/api/platforms").await;
        assert_eq!(reply.status, 401);
    }
    world.api.get("/api/platforms").await.ok();

    let page = world.api.with_key(None);
    let replies = many(&page, "/api/platforms").await;
    assert_eq!(replies[0].status, 200);
    assert!(replies.iter().any(|reply| reply.status == 429));
    world.api.get("/api/platforms").await.ok();
}

#[tokio::test]
async fn zero_means_any_number() {
    let world = Setup::default()
        .set("PATCHBAY__LIMITS__REQUESTS_PER_SECOND", "0")
        .set("PATCHBAY__LIMITS__BURST", "1")
        .build()
        .await;
    for reply in many(&world.api, "/api/platforms").await {
        reply.ok();
    }
}
