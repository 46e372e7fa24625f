//! Worker passes by HTTP, as a cron service asks for them (T72).

use std::time::Duration;

use patchbay_server::{
    lane::Lane,
    pass::{self, Limits},
};
use patchbay_simkit::{Action, Fault};
use reqwest::Method;
use serde_json::json;
use tokio::time::Instant;

use crate::harness::{ADA, Setup, WORKER_SECRET, World, pull_post, send, webhook};

const REFRESH: &str = "/api/workers/token-refresh";
const WEBHOOKS: &str = "/api/workers/webhooks";
const PUBLISH: &str = "/api/workers/publish";
const ALL: [&str; 3] = [REFRESH, WEBHOOKS, PUBLISH];

/// Longer than any lease or pace of a provider, and shorter than the life of a token.
const LATER: Duration = Duration::from_secs(80 * 60);

#[tokio::test]
async fn a_pass_does_what_is_due_and_counts_it() {
    let world = World::new().await;
    let account = world.connect().await;
    let worker = world.api.with_key(Some(WORKER_SECRET.to_owned()));
    for path in ALL {
        let idle = worker.poke(path).await;
        assert_eq!(
            (idle.status, idle.text.as_str()),
            (200, r#"{"success":true,"processed":0}"#)
        );
    }
    for n in 0..3 {
        let body = webhook::body("some.event", &world.open_id(ADA), world.now(), &json!({ "n": n }));
        assert_eq!(world.deliver(body).await.status, 200);
    }
    let post = world.post(&pull_post(&account)).await;
    assert_eq!(
        worker.poke(WEBHOOKS).await.ok(),
        json!({ "success": true, "processed": 3 })
    );
    assert_eq!(world.inits(), 0, "posts are not its work");
    assert!(worker.poke(PUBLISH).await.ok()["processed"].as_u64() >= Some(1));
    assert_eq!(world.inits(), 1);
    world.published(&post).await;
    world.advance(LATER);
    assert_eq!(
        worker.poke(REFRESH).await.ok(),
        json!({ "success": true, "processed": 1 })
    );
    assert_eq!(world.calls("token"), 2, "one exchange and one refresh");
    for path in ALL {
        assert_eq!(
            worker.poke(path).await.ok()["processed"],
            0,
            "{path}: a repeat finds nothing"
        );
    }
}

#[tokio::test]
async fn without_a_secret_there_are_no_such_paths() {
    let world = Setup {
        unset: vec!["WORKER_SECRET"],
        ..Setup::default()
    }
    .build()
    .await;
    let stranger = world.api.with_key(Some(WORKER_SECRET.to_owned()));
    let mut unknown = stranger
        .poke("/api/workers/no-such-thing")
        .await
        .problem(404, "not_found");
    for path in ALL {
        for method in [Method::POST, Method::GET, Method::OPTIONS] {
            let mut problem = send(stranger.request(method, path)).await.problem(404, "not_found");
            problem["request_id"] = json!("");
            unknown["request_id"] = json!("");
            assert_eq!(problem, unknown, "{path} is as unknown as any other path");
        }
    }
}

#[tokio::test]
async fn whatever_is_wrong_with_the_secret_the_answer_is_the_same() {
    let world = World::new().await;
    let long = "x".repeat(30_000);
    let mut answers = Vec::new();
    for path in ALL {
        for wrong in [
            None,
            Some(""),
            Some("x"),
            Some(&WORKER_SECRET[..20]),
            Some(&format!("{WORKER_SECRET}x")),
            Some(&format!("{WORKER_SECRET},{WORKER_SECRET}")),
            Some(&long),
            world.api.key.as_deref(),
        ] {
            let wrong = world.api.with_key(wrong.map(str::to_owned));
            answers.push(wrong.poke(path).await);
        }
        for header in [WORKER_SECRET, &format!("Basic {WORKER_SECRET}"), "Bearer", "Bearer "] {
            let request = world.api.with_key(None).request(Method::POST, path);
            answers.push(send(request.header("authorization", header)).await);
        }
        let worker = world.api.with_key(Some(WORKER_SECRET.to_owned()));
        worker.get(path).await.problem(405, "method_not_allowed");
    }
    for answer in answers {
        let mut problem = answer.problem(401, "unauthorized");
        problem["request_id"] = json!("");
        same_for_all(&problem);
    }
    // What is beyond the caps of the listener is refused before anybody reads it, here as on any path.
    let huge = world.api.with_key(Some("x".repeat(1 << 20)));
    for path in [REFRESH, "/api/no-such-path"] {
        let refused = huge.request(Method::POST, path).send().await;
        assert!(
            refused.is_err() || refused.is_ok_and(|answer| answer.status() == 431),
            "{path}"
        );
    }
    assert_eq!(
        world
            .api
            .with_key(Some(WORKER_SECRET.to_owned()))
            .poke(REFRESH)
            .await
            .status,
        200,
        "wrong tries shut nobody out who has the secret"
    );
}

#[track_caller]
fn same_for_all(problem: &serde_json::Value) {
    assert_eq!(
        *problem,
        json!({
            "type": "urn:patchbay:problem:unauthorized",
            "title": "A valid API key is needed",
            "status": 401,
            "code": "unauthorized",
            "detail": "Send `Authorization: Bearer <worker secret>`.",
            "retry": false,
            "who_acts": "caller",
            "request_id": "",
        })
    );
}

#[tokio::test]
async fn two_secrets_are_good_while_one_takes_the_place_of_the_other() {
    let (old, new) = ("o".repeat(32), "n".repeat(40));
    let world = Setup {
        unset: vec!["WORKER_SECRET"],
        ..Setup::default()
    }
    .set("PATCHBAY__WORKERS__SECRETS", format!("{old},{new}"))
    .build()
    .await;
    for secret in [&old, &new] {
        world.api.with_key(Some(secret.clone())).poke(WEBHOOKS).await.ok();
    }
    let world = world.restarted_with("PATCHBAY__WORKERS__SECRETS", &new).await;
    world.api.with_key(Some(new)).poke(WEBHOOKS).await.ok();
    let retired = world.api.with_key(Some(old));
    retired.poke(WEBHOOKS).await.problem(401, "unauthorized");
}

#[tokio::test]
async fn of_each_kind_one_pass_runs_at_a_time() {
    let world = World::new().await;
    world.connect().await;
    world.advance(LATER);
    let slow = Fault::new("token", Action::Delay { ms: 1_500 }).once();
    world.sim.faults().put("slow", slow);
    let worker = world.api.with_key(Some(WORKER_SECRET.to_owned()));
    let first = tokio::spawn({
        let worker = worker.clone();
        async move { worker.poke(REFRESH).await }
    });
    until(|| world.sim.faults().hits("slow") == 1).await;
    let second = worker.poke(REFRESH).await;
    second.problem(409, "already_running");
    assert_eq!(second.header("retry-after"), Some("5"));
    worker.poke(WEBHOOKS).await.ok();
    assert_eq!(first.await.unwrap().ok()["processed"], 1);
    assert_eq!(worker.poke(REFRESH).await.ok()["processed"], 0);
    assert_eq!(world.calls("token"), 2, "one exchange and one refresh");
}

#[tokio::test]
async fn a_caller_that_hangs_up_drops_no_step() {
    let world = World::new().await;
    let account = world.connect().await;
    let post = world.post(&pull_post(&account)).await;
    // The platform has taken the post, and its answer is on the way when the caller leaves.
    let slow = Fault::new("video_init", Action::Delay { ms: 1_000 }).once();
    world.sim.faults().put("slow", slow);
    let worker = world.api.with_key(Some(WORKER_SECRET.to_owned()));
    let asked = tokio::spawn({
        let worker = worker.clone();
        async move { worker.poke(PUBLISH).await }
    });
    until(|| world.sim.faults().hits("slow") == 1).await;
    asked.abort();
    let patient = async {
        while worker.poke(PUBLISH).await.status == 409 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    patient.await;
    world.published(&post).await;
    assert_eq!(world.inits(), 1);
}

#[tokio::test]
async fn a_pass_whose_time_is_up_begins_nothing_and_says_so() {
    let world = World::new().await;
    world.connect().await;
    for n in 0..3 {
        let body = webhook::body("some.event", &world.open_id(ADA), world.now(), &json!({ "n": n }));
        assert_eq!(world.deliver(body).await.status, 200);
    }
    let over = Limits {
        begin_until: Instant::now(),
        cut_at: None,
    };
    let host = &world.serving.host;
    let passed = pass::pass(host, &Lane::ALL, over).await.unwrap();
    assert_eq!((passed.processed, passed.more), (0, true));
    let passed = pass::pass(host, &Lane::ALL, Limits::begin_for(Duration::from_secs(60)))
        .await
        .unwrap();
    assert_eq!((passed.processed, passed.webhooks, passed.more), (3, 3, false));
}

async fn until(condition: impl Fn() -> bool) {
    let held = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), held)
        .await
        .expect("what the test waits for");
}
