//! What is told of an account: what it can be used for, what is wrong, and who must act.

use std::time::Duration;

use patchbay_simkit::{Action, Fault, When};
use serde_json::{Value, json};

use crate::harness::{ADA, POSTS, World, draft_pull, pull_post, query};

const IDENTITY: &str = "user_info";

async fn health(world: &World, account: &str, more: &str) -> Value {
    let path = format!("/api/platforms/tiktok/accounts/{account}/health{more}");
    world.api.get(&path).await.ok()
}

fn advice(health: &Value) -> Vec<(&str, &str)> {
    let all = health["advice"].as_array().unwrap().iter();
    all.map(|one| {
        assert!(one["message"].as_str().unwrap().ends_with('.'), "{one}");
        (one["code"].as_str().unwrap(), one["who_acts"].as_str().unwrap())
    })
    .collect()
}

fn available(health: &Value) -> Vec<bool> {
    let all = health["capabilities"].as_array().unwrap().iter();
    all.map(|one| one["available"].as_bool().unwrap()).collect()
}

#[tokio::test]
async fn a_healthy_account_is_told_of_without_a_call() {
    let world = World::new().await;
    let account = world.connect().await;
    let before = world.sim.journal().calls().len();
    let told = health(&world, &account, "").await;
    assert_eq!((&told["healthy"], &told["status"]), (&json!(true), &json!("active")));
    let names: Vec<_> = told["capabilities"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| &one["name"])
        .collect();
    assert_eq!(names, ["publish_direct", "publish_draft", "metrics"]);
    assert_eq!(available(&told), [true, true, true]);
    assert_eq!(
        (&told["access"]["last_refresh_at"], &told["check"]),
        (&json!(null), &json!(null))
    );
    let due = told["access"]["next_refresh_at"].as_str().unwrap();
    assert!(due < told["access"]["expires_at"].as_str().unwrap(), "{told}");
    assert!(told["quotas"].as_array().is_some_and(|quotas| !quotas.is_empty()));
    assert_eq!(world.sim.journal().calls().len(), before);

    world.published(&world.post(&pull_post(&account)).await).await;
    world.advance(Duration::from_hours(20));
    world.drain().await;
    let told = health(&world, &account, "").await;
    assert!(
        told["last_webhook_at"].is_string() && told["access"]["last_refresh_at"].is_string(),
        "{told}"
    );
    assert_eq!(told["access"]["last_refresh_failure"], json!(null));
    let wrong = format!("/api/platforms/tiktok/accounts/{account}/health?check=later");
    world.api.get(&wrong).await.problem(400, "bad_request");
}

#[tokio::test]
async fn what_was_not_granted_is_missed_by_name() {
    let world = World::new().await;
    let (callback, cookie) = world
        .consent(&world.api, ADA, Some(&["user.info.basic", "video.upload"]))
        .await;
    let landed = world.callback(&callback, Some(&cookie)).await.location();
    let account = query(&landed, "account").unwrap();
    let told = health(&world, &account, "").await;
    assert_eq!(available(&told), [false, true, false]);
    assert_eq!(told["capabilities"][0]["missing_scopes"], json!(["video.publish"]));
    assert_eq!(advice(&told), [("missing_scopes", "account_owner"); 2]);
    assert_eq!(told["healthy"], false);
    let named = world.events(&format!("account_id={account}")).await;
    assert_eq!(named, ["account.connected", "account.missing_scopes"]);
    let before = world.sim.journal().calls().len();
    world
        .api
        .post(POSTS, &pull_post(&account))
        .await
        .problem(409, "missing_scopes");
    assert_eq!(
        world.sim.journal().calls().len(),
        before,
        "no call reached the platform"
    );
    world.post(&draft_pull(&account)).await;
}

#[tokio::test]
async fn the_platform_is_asked_once_and_on_request_alone() {
    let world = World::new().await;
    let account = world.connect().await;
    let before = world.calls(IDENTITY);
    let told = health(&world, &account, "?check=now").await;
    assert_eq!(
        (&told["check"], &told["healthy"]),
        (&json!({ "ok": true, "code": null }), &json!(true))
    );
    assert_eq!(world.calls(IDENTITY), before + 1);

    world.sim.faults().put(
        "down",
        Fault::new(
            IDENTITY,
            Action::Status {
                status: 503,
                body: String::new(),
                content_type: "text/plain".to_owned(),
                when: When::default(),
            },
        ),
    );
    let told = health(&world, &account, "?check=now").await;
    assert_eq!(
        (&told["check"]["ok"], &told["status"]),
        (&json!(false), &json!("active"))
    );
    assert_eq!(advice(&told), [("check_failed", "nobody")]);
    assert_eq!(
        advice(&health(&world, &account, "").await),
        [],
        "what is stored says nothing of it"
    );
}

#[tokio::test]
async fn an_account_that_must_be_connected_again_says_so_and_its_posts_go_on_then() {
    let world = World::new().await;
    let account = world.connect().await;
    let mut wanted = pull_post(&account);
    wanted["scheduled_at"] = json!(world.now() + chrono::TimeDelta::hours(30));
    let post = world.post(&wanted).await;
    // Failing for a while is nobody's business, the platform's last word is the owner's.
    world.refuse("token", "server_error");
    world.advance(Duration::from_hours(20));
    world.work_off().await;
    let told = health(&world, &account, "").await;
    assert_eq!(advice(&told), [("refresh_failing", "nobody")]);
    assert!(told["access"]["last_refresh_failure"].is_string(), "{told}");
    world.sim.faults().clear_all();
    world.refuse("token", "invalid_grant");
    world.advance(Duration::from_hours(11));
    world.work_off().await;
    let told = health(&world, &account, "").await;
    assert_eq!(told["status"], "reauth_required");
    assert_eq!(advice(&told), [("reauth_required", "account_owner")]);
    assert_eq!(available(&told), [false, false, false]);
    let told = health(&world, &account, "?check=now").await;
    assert_eq!(told["check"], json!({ "ok": false, "code": "account_not_active" }));
    let waits = world.show(&post).await;
    assert_eq!(
        (&waits["status"], &waits["failure"]["kind"]),
        (&json!("publishing"), &json!("reauth_required"))
    );

    world.sim.faults().clear_all();
    assert_eq!(world.connect().await, account);
    assert_eq!(health(&world, &account, "").await["healthy"], true);
    world.published(&post).await;
    assert_eq!(world.inits(), 1, "it goes on once");

    world
        .api
        .post("/api/platforms/tiktok/disconnect", &json!({ "account_id": account }))
        .await
        .ok();
    assert_eq!(
        advice(&health(&world, &account, "").await),
        [("disconnected", "account_owner")]
    );
}
