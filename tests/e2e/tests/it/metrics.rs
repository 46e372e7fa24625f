//! Numbers of published posts: read on the published schedule, together, within the limits, and never without a reason.

use std::time::Duration;

use patchbay_app::{model::JobKind, work};
use patchbay_simkit::{Action, Fault, When};
use serde_json::{Value, json};

use crate::harness::{ADA, Api, Database, POSTS, Setup, World, draft_pull, on_postgres, photo_post, pull_post, query};

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);
const QUERY: &str = "video_query";

async fn world(database: Database) -> World {
    Setup {
        database,
        ..Setup::default()
    }
    .build()
    .await
}

/// A published post. Other work that is due later is none of this file's business.
async fn published(world: &World, account: &str) -> String {
    let id = world.post(&pull_post(account)).await;
    world.published(&id).await;
    id
}

async fn numbers(api: &Api, post: &str) -> Value {
    api.get(&format!("/api/posts/{post}/metrics")).await.ok()
}

#[track_caller]
fn metric<'v>(shown: &'v Value, name: &str) -> (&'v Value, &'v Value) {
    let all = shown["metrics"].as_array().unwrap();
    let one = all.iter().find(|one| one["name"] == name).unwrap();
    (&one["value"], &one["reason"])
}

/// Reasons of all metrics that TikTok counts.
#[track_caller]
fn reasons(shown: &Value) -> Vec<&str> {
    for never in ["reposts", "quotes"] {
        assert_eq!(metric(shown, never), (&Value::Null, &json!("not_given")), "{shown}");
    }
    ["views", "likes", "comments", "shares"]
        .iter()
        .map(|name| metric(shown, name).1.as_str().unwrap_or_default())
        .collect()
}

/// Moves time, and reads what is due then.
async fn later(world: &World, by: Duration) {
    world.advance(by);
    world.drain().await;
}

async fn posts_are_read_together_as_published(database: Database) {
    let world = world(database).await;
    let account = world.connect().await;
    let queued = world.post(&pull_post(&account)).await;
    let shown = numbers(&world.api, &queued).await;
    assert_eq!(reasons(&shown), ["not_yet"; 4]);
    assert_eq!(
        shown["schedule"],
        json!({ "next_reading_at": null, "slowed": null, "unchanged_readings": 0 })
    );
    world.published(&queued).await;
    let other = published(&world, &account).await;
    let photos = world.post(&photo_post(&account, "direct")).await;
    world.published(&photos).await;
    let shown = numbers(&world.api, &other).await;
    assert_eq!(reasons(&shown), ["not_yet"; 4]);
    assert_eq!((&shown["read_at"], &shown["history"]), (&Value::Null, &json!([])));
    assert_eq!(world.calls(QUERY), 0, "nobody is asked when they are shown");

    // When the last of them is due, all are, and the platform is asked once.
    later(&world, 20 * MINUTE).await;
    assert_eq!(world.calls(QUERY), 1);
    for post in [&queued, &other, &photos] {
        let shown = numbers(&world.api, post).await;
        assert_eq!(reasons(&shown), [""; 4]);
        assert!(metric(&shown, "views").0.as_u64().unwrap() >= 7 * 15, "{shown}");
        assert_eq!(shown["history"][0]["values"]["views"], *metric(&shown, "views").0);
        assert_eq!(shown["history"][0]["read_at"], shown["read_at"]);
    }

    // Read once at each time of the schedule, and at no other.
    for pause in [HOUR, 2 * HOUR, 3 * HOUR, 6 * HOUR, 12 * HOUR, DAY] {
        later(&world, pause - MINUTE).await;
        later(&world, MINUTE).await;
        later(&world, MINUTE).await;
    }
    assert_eq!(world.calls(QUERY), 7);
    let shown = numbers(&world.api, &other).await;
    assert_eq!(shown["history"].as_array().unwrap().len(), 7);
    assert_eq!(shown["schedule"]["slowed"], Value::Null);

    let page = world.api.get(&format!("/api/posts/{other}/metrics?limit=5")).await.ok();
    let next = page["next_cursor"].as_str().unwrap();
    let rest = world
        .api
        .get(&format!("/api/posts/{other}/metrics?limit=5&cursor={next}"))
        .await
        .ok();
    assert_eq!(rest["next_cursor"], Value::Null);
    let both = [&page, &rest]
        .map(|page| page["history"].as_array().unwrap().clone())
        .concat();
    assert_eq!(json!(both), shown["history"]);
    // A cursor is good for one post alone.
    let foreign = world
        .api
        .get(&format!("/api/posts/{queued}/metrics?cursor={next}"))
        .await;
    foreign.problem(400, "cursor_invalid");

    // The feed is not filled with what nobody asked for.
    let names = world.events(&format!("post_id={other}")).await;
    assert!(!names.iter().any(|name| name == "post.metrics_updated"), "{names:?}");
}

#[tokio::test]
async fn posts_are_read_together_as_published_on_sqlite() {
    posts_are_read_together_as_published(Database::Sqlite).await;
}

#[tokio::test]
async fn posts_are_read_together_as_published_on_postgres() {
    on_postgres(posts_are_read_together_as_published).await;
}

#[tokio::test]
async fn readings_of_a_post_that_is_flat_become_rare_until_something_happens() {
    let world = world(Database::Sqlite).await;
    world
        .sim
        .change_switches(|switches| switches.counts_end_after_minutes = Some(2 * 24 * 60));
    let account = world.connect().await;
    let post = published(&world, &account).await;
    // Days 2, 3, 4 and 5: the last three told nothing new.
    for _ in 0..5 {
        later(&world, DAY).await;
    }
    later(&world, HOUR).await;
    let shown = numbers(&world.api, &post).await;
    assert_eq!(
        (&shown["schedule"]["slowed"], &shown["schedule"]["unchanged_readings"]),
        (&json!("unchanged"), &json!(3)),
        "{shown}"
    );
    let before = world.calls(QUERY);
    later(&world, DAY).await;
    assert_eq!(world.calls(QUERY), before, "a reading is left out");
    later(&world, DAY).await;
    assert_eq!(world.calls(QUERY), before + 1);

    world
        .sim
        .change_switches(|switches| switches.counts_end_after_minutes = None);
    later(&world, 2 * DAY).await;
    let shown = numbers(&world.api, &post).await;
    assert_eq!(shown["schedule"]["unchanged_readings"], 0);
    assert_eq!(shown["schedule"]["slowed"], Value::Null);

    // After 90 days nobody is asked any more.
    for _ in 0..90 {
        later(&world, DAY).await;
    }
    let (asked, shown) = (world.calls(QUERY), numbers(&world.api, &post).await);
    assert_eq!(shown["schedule"]["next_reading_at"], Value::Null);
    assert!(metric(&shown, "views").0.as_u64().unwrap() > 7 * 60 * 24 * 80);
    later(&world, 30 * DAY).await;
    assert_eq!(world.calls(QUERY), asked);
}

#[tokio::test]
async fn what_may_not_be_asked_is_not_asked_and_says_why() {
    let world = world(Database::Sqlite).await;
    let granted = ["user.info.basic", "video.upload", "video.publish"];
    let (callback, cookie) = world.consent(&world.api, ADA, Some(&granted)).await;
    let landed = world.callback(&callback, Some(&cookie)).await.location();
    let account = query(&landed, "account").unwrap();
    let post = published(&world, &account).await;
    later(&world, 20 * MINUTE).await;
    let shown = numbers(&world.api, &post).await;
    assert_eq!(reasons(&shown), ["missing_scope"; 4]);
    assert_eq!((world.calls(QUERY), &shown["history"]), (0, &json!([])));
    assert!(shown["schedule"]["next_reading_at"].is_string());

    // Once it is granted, the next reading has numbers.
    assert_eq!(world.connect().await, account);
    later(&world, HOUR).await;
    assert_eq!(reasons(&numbers(&world.api, &post).await), [""; 4]);

    world
        .api
        .post("/api/platforms/tiktok/disconnect", &json!({ "account_id": account }))
        .await
        .ok();
    let asked = world.calls(QUERY);
    later(&world, 3 * HOUR).await;
    let shown = numbers(&world.api, &post).await;
    assert_eq!(reasons(&shown), ["reconnect_required"; 4]);
    assert!(metric(&shown, "views").0.is_u64(), "what was told before stays");
    assert_eq!(world.calls(QUERY), asked);
}

#[tokio::test]
async fn posts_that_nobody_sees_have_no_numbers() {
    let world = world(Database::Sqlite).await;
    let account = world.connect().await;
    let mut private = pull_post(&account);
    private["options"]["privacy_level"] = json!("SELF_ONLY");
    let private = world.post(&private).await;
    world.settled(&private).await;
    let draft = world.post(&draft_pull(&account)).await;
    assert_eq!(world.settled(&draft).await["status"], "inbox_delivered");
    world.refuse("video_init", "spam_risk_too_many_posts");
    let failed = world.post(&pull_post(&account)).await;
    assert_eq!(world.settled(&failed).await["status"], "failed");
    later(&world, DAY).await;
    for post in [private, draft, failed] {
        let shown = numbers(&world.api, &post).await;
        assert_eq!(reasons(&shown), ["not_available"; 4], "{shown}");
        assert_eq!(shown["schedule"]["next_reading_at"], Value::Null);
    }
    assert_eq!(world.calls(QUERY), 0);
    let nobodys = world.tenant("other").await;
    let post = published_by_nobody();
    nobodys
        .get(&format!("/api/posts/{post}/metrics"))
        .await
        .problem(404, "not_found");
}

fn published_by_nobody() -> &'static str {
    "post_0198c1d2e3f47a6b8c9d0e1f2a3b4c5d"
}

#[tokio::test]
async fn a_post_that_is_deleted_at_the_platform_keeps_its_last_numbers() {
    let world = world(Database::Sqlite).await;
    let account = world.connect().await;
    let (gone, stays) = (published(&world, &account).await, published(&world, &account).await);
    later(&world, 20 * MINUTE).await;
    let before = numbers(&world.api, &gone).await;
    let remote_ref = world.show(&gone).await["remote_ref"].as_str().unwrap().to_owned();
    world.sim.delete_post(&remote_ref).unwrap();
    later(&world, HOUR).await;
    let shown = numbers(&world.api, &gone).await;
    assert_eq!(reasons(&shown), ["not_available"; 4]);
    assert_eq!(metric(&shown, "views").0, metric(&before, "views").0);
    assert_eq!(
        (&shown["read_at"], &shown["history"]),
        (&before["read_at"], &before["history"])
    );
    assert_eq!(reasons(&numbers(&world.api, &stays).await), [""; 4]);
}

async fn faults_of_the_platform_only_delay(database: Database) {
    let world = world(database).await;
    let account = world.connect().await;
    let post = published(&world, &account).await;
    let down = |status| Action::Status {
        status,
        body: String::new(),
        content_type: "text/plain".to_owned(),
        when: When::default(),
    };
    world.sim.faults().put("down", Fault::new(QUERY, down(500)).once());
    later(&world, 15 * MINUTE).await;
    assert_eq!(
        (world.calls(QUERY), reasons(&numbers(&world.api, &post).await)),
        (1, vec!["not_yet"; 4])
    );
    // Publishing goes on meanwhile.
    let other = world.post(&pull_post(&account)).await;
    world.settled(&other).await;

    world.sim.faults().put("limit", Fault::new(QUERY, down(429)).once());
    world
        .sim
        .faults()
        .put("wait", Fault::new(QUERY, Action::RetryAfter { seconds: 1_200 }).once());
    later(&world, 2 * MINUTE).await;
    let asked = world.calls(QUERY);
    later(&world, 19 * MINUTE).await;
    assert_eq!(world.calls(QUERY), asked, "not before the platform allows");
    world.sim.faults().clear_all();
    later(&world, 10 * MINUTE).await;
    let shown = numbers(&world.api, &post).await;
    assert_eq!(reasons(&shown), [""; 4]);
    assert_eq!(shown["history"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn faults_of_the_platform_only_delay_on_sqlite() {
    faults_of_the_platform_only_delay(Database::Sqlite).await;
}

#[tokio::test]
async fn faults_of_the_platform_only_delay_on_postgres() {
    on_postgres(faults_of_the_platform_only_delay).await;
}

async fn a_killed_reading_is_read_again_and_counts_once(database: Database) {
    let world = world(database).await;
    let account = world.connect().await;
    let post = published(&world, &account).await;
    world
        .sim
        .faults()
        .put("slow", Fault::new(QUERY, Action::Delay { ms: 60_000 }).once());
    world.advance(20 * MINUTE);
    // The worker dies while the platform counts.
    let app = world.app().clone();
    let worker = tokio::spawn(async move { work::run_due(&app, &[JobKind::Metrics], usize::MAX).await });
    while world.calls(QUERY) == 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    worker.abort();
    assert!(worker.await.unwrap_err().is_cancelled());
    world.work_off().await;
    assert_eq!(
        reasons(&numbers(&world.api, &post).await),
        ["not_yet"; 4],
        "its lease still runs"
    );
    later(&world, MINUTE).await;
    let shown = numbers(&world.api, &post).await;
    assert_eq!((reasons(&shown), world.calls(QUERY)), (vec![""; 4], 2));
    assert_eq!(shown["history"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_killed_reading_is_read_again_and_counts_once_on_sqlite() {
    a_killed_reading_is_read_again_and_counts_once(Database::Sqlite).await;
}

#[tokio::test]
async fn a_killed_reading_is_read_again_and_counts_once_on_postgres() {
    on_postgres(a_killed_reading_is_read_again_and_counts_once).await;
}

#[tokio::test]
async fn news_comes_to_those_who_name_it_and_all_goes_with_the_account() {
    let world = world(Database::Sqlite).await;
    let account = world.connect().await;
    let hooks = json!({ "url": "https://hooks.example.com/", "events": ["post.metrics_updated"] });
    world.api.post("/api/webhook-endpoints", &hooks).await.with(201);
    let post = published(&world, &account).await;
    later(&world, 20 * MINUTE).await;
    let events = world
        .api
        .get(&format!("/api/events?post_id={post}&limit=100"))
        .await
        .ok();
    let told: Vec<_> = events["data"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|event| event["name"] == "post.metrics_updated")
        .collect();
    let shown = numbers(&world.api, &post).await;
    assert_eq!(told.len(), 1);
    assert_eq!(told[0]["payload"]["counts"], shown["history"][0]["values"]);

    let exported = world.api.get("/api/exports").await.text;
    let line = exported
        .lines()
        .find(|line| line.contains("\"type\":\"post\""))
        .unwrap();
    let exported: Value = serde_json::from_str(line).unwrap();
    assert_eq!(exported["data"]["metrics"]["history"], shown["history"]);

    world
        .api
        .delete(&format!("/api/platforms/tiktok/accounts/{account}"))
        .await
        .with(202);
    for _ in 0..5 {
        later(&world, MINUTE).await;
    }
    assert_eq!(world.number("SELECT count(*) FROM metric_watches").await, 0);
    assert_eq!(world.number("SELECT count(*) FROM metric_readings").await, 0);
    world
        .api
        .get(&format!("{POSTS}/{post}"))
        .await
        .problem(404, "not_found");
}
