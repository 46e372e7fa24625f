//! The platform's limits, shared by all hosts: who waits, who is told, and what callers see of it (section 4.5 of the
//! security reference, R11, R12).

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use patchbay_app::{model::JobKind, work};
use patchbay_server::serve::Serving;
use patchbay_simkit::{Action, Fault};
use serde_json::{Value, json};

use crate::harness::{ADA, Database, POSTS, Setup, World, draft_pull, error, id_of, on_postgres, pull_post};

async fn world(database: Database) -> World {
    Setup {
        database,
        ..Setup::default()
    }
    .build()
    .await
}

/// Lets another host run what is due.
async fn work_off(other: &Serving) {
    while work::run_due(&other.host.app, &JobKind::ALL, usize::MAX).await.unwrap() > 0 {}
}

#[track_caller]
fn limit<'a>(answer: &'a Value, name: &str) -> &'a Value {
    let limits = answer["quotas"].as_array().unwrap();
    limits.iter().find(|limit| limit["name"] == name).unwrap()
}

fn time(value: &Value) -> DateTime<Utc> {
    value.as_str().unwrap().parse().unwrap()
}

#[tokio::test]
async fn a_429_closes_the_window_to_every_host_for_as_long_as_the_platform_asks() {
    on_postgres(async |database| {
        let world = world(database).await;
        let other = world.another_host("other").await;
        let account = world.connect().await;
        let faults = world.sim.faults();
        faults.put("limit", Fault::new("video_init", error("rate_limit_exceeded")).once());
        faults.put(
            "wait",
            Fault::new("video_init", Action::RetryAfter { seconds: 40 }).once(),
        );
        let first = world.post(&pull_post(&account)).await;
        world.drain().await;
        let closed_until = world.now() + TimeDelta::seconds(40);
        let refused = world.show(&first).await;
        assert_eq!(
            (
                &refused["failure"]["kind"],
                &refused["failure"]["code"],
                &refused["failure"]["retry"]
            ),
            (&json!("rate_limited"), &json!("rate_limit_exceeded"), &json!(true)),
            "{refused}"
        );
        let init = limit(&refused, "init");
        assert_eq!((&init["used"], &init["remaining"]), (&json!(1), &json!(0)), "{init}");
        assert!(time(&init["next_free_at"]) >= closed_until, "{init}");

        // The other host has not seen that answer. It asks nobody in vain.
        let second = world.post(&pull_post(&account)).await;
        work_off(&other).await;
        world.advance(Duration::from_secs(39));
        work_off(&other).await;
        world.drain().await;
        assert_eq!(world.calls("video_init"), 1);
        let waits = world.show(&second).await;
        assert_eq!(waits["failure"]["code"], "rate_slot", "{waits}");
        assert_eq!(
            time(&waits["next_attempt_at"]),
            closed_until + TimeDelta::milliseconds(50)
        );

        world.advance(Duration::from_millis(1_100));
        work_off(&other).await;
        assert_eq!(world.calls("video_init"), 3, "open again, to both posts");
        world.published(&first).await;
        world.published(&second).await;
        other.stop().await;
    })
    .await;
}

#[tokio::test]
async fn a_429_without_a_time_closes_the_window_for_its_length() {
    let world = World::new().await;
    let account = world.connect().await;
    world
        .sim
        .faults()
        .put("limit", Fault::new("status", error("rate_limit_exceeded")).once());
    let id = world.post(&pull_post(&account)).await;
    world
        .follow(&id, |post| post["failure"]["kind"] == "rate_limited")
        .await;
    let calls = world.calls("status");
    world.advance(Duration::from_secs(59));
    world.drain().await;
    assert_eq!(world.calls("status"), calls, "news of a webhook does not open it");
    assert_eq!(world.settled(&id).await["status"], "published");
}

#[tokio::test]
async fn every_answer_about_a_post_tells_what_the_limits_leave() {
    let world = World::new().await;
    let account = world.connect().await;
    let created = world.api.post(POSTS, &pull_post(&account)).await;
    // The platform's limits, then that of the key.
    let lines = |name| {
        let values = created.headers.get_all(name).iter();
        values
            .map(|value| value.to_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    let (policies, left) = (lines("ratelimit-policy"), lines("ratelimit"));
    assert_eq!((policies.len(), left.len()), (2, 2), "{policies:?} {left:?}");
    assert!(
        policies[0].starts_with(r#""direct_posts";q=15;w=86400, "init";q=6;w=60, "#),
        "{policies:?}"
    );
    assert!(left[0].starts_with(r#""direct_posts";r=15;t=0, "#), "{left:?}");
    assert!(left[0].contains(r#""creator_info";r=19;t=60"#), "{left:?}");
    assert!(policies[1].starts_with(r#""key";"#), "{policies:?}");
    let created = created.with(202);
    let names: Vec<_> = created["quotas"]
        .as_array()
        .unwrap()
        .iter()
        .map(|limit| limit["name"].as_str().unwrap())
        .collect();
    assert_eq!(
        names,
        [
            "direct_posts",
            "init",
            "creator_info",
            "status",
            "user_info",
            "video_query"
        ],
        "quotas that the post counts for, then rate buckets"
    );
    assert_eq!(
        limit(&created, "direct_posts"),
        &json!({
            "name": "direct_posts", "counts": "posts", "mode": "direct", "limit": 15, "used": 0, "remaining": 15,
            "window_seconds": 86_400, "next_free_at": null,
        })
    );
    // The preflight has asked the creator.
    let asked = world.now();
    let creator = limit(&created, "creator_info");
    assert_eq!(
        (
            &creator["counts"],
            &creator["mode"],
            &creator["limit"],
            &creator["used"],
            &creator["remaining"]
        ),
        (&json!("calls"), &Value::Null, &json!(20), &json!(1), &json!(19))
    );
    assert_eq!(time(&creator["next_free_at"]), asked + TimeDelta::minutes(1));

    let id = id_of(&created);
    let published = world.published(&id).await;
    let made = limit(&published, "direct_posts");
    assert_eq!(
        (&made["used"], &made["remaining"]),
        (&json!(1), &json!(14)),
        "a made post keeps its place"
    );
    let options = world
        .api
        .get(&format!("/api/platforms/tiktok/accounts/{account}/publish-options"))
        .await;
    assert!(
        options.header("ratelimit").unwrap().contains(r#""direct_posts";r=14;"#),
        "{options:?}"
    );
    let options = options.ok();
    assert_eq!(limit(&options, "direct_posts")["used"], 1);
    assert_eq!(
        limit(&options, "pending_drafts")["remaining"],
        5,
        "all quotas of the account"
    );
    let draft = world.api.post(POSTS, &draft_pull(&account)).await.with(202);
    let stopped = world.api.delete(&format!("{POSTS}/{}", id_of(&draft))).await.with(202);
    assert_eq!(limit(&stopped, "pending_drafts")["used"], 0);
}

#[tokio::test]
async fn fifteen_posts_a_day_are_made_and_the_next_one_waits_for_the_first_to_be_a_day_old() {
    let world = World::new().await;
    let account = world.connect().await;
    let mut posts = Vec::new();
    for _ in 0..16 {
        posts.push(world.post(&pull_post(&account)).await);
    }
    for id in &posts[..15] {
        world.published(id).await;
    }
    let waits = world.show(&posts[15]).await;
    assert_eq!(
        (&waits["status"], &waits["failure"]["code"]),
        (&json!("publishing"), &json!("quota")),
        "{waits}"
    );
    let left = limit(&waits, "direct_posts");
    assert_eq!((&left["used"], &left["remaining"]), (&json!(15), &json!(0)));
    // The platform counts from when it took the first one: a try a moment sooner would be refused.
    let day = TimeDelta::hours(24);
    let first = time(&left["next_free_at"]);
    assert!(
        first > time(&waits["created_at"]) + day - TimeDelta::minutes(1),
        "{waits}"
    );
    world.published(&posts[15]).await;
    assert!(world.now() >= first);
    assert_eq!(
        world
            .sim
            .journal()
            .count(|call| call.op == "video_init" && call.code.as_deref() != Some("ok")),
        0,
        "none was refused"
    );
}

#[tokio::test]
async fn posts_that_wait_look_once_each_time_it_is_their_turn() {
    let world = World::new().await;
    let account = world.connect().await;
    let mut posts = Vec::new();
    for _ in 0..15 {
        posts.push(world.post(&pull_post(&account)).await);
    }
    let began = world.now();
    for id in &posts {
        world.published(id).await;
    }
    assert_eq!(world.sim.oracle().max_per_minute("video_init"), 6);
    // 6, 6 and 3: the windows are used to the full.
    assert!(world.now() - began < TimeDelta::minutes(4), "{}", world.now() - began);
    assert_eq!(world.sim.oracle().effects(ADA).posted, 15);
    // A step that found no place is recorded as one: steps of all posts, less those that did something.
    let steps = world.number("SELECT SUM(step) FROM posts").await;
    assert!(steps < 15 * 9, "{steps} steps for 15 posts");
}

#[tokio::test]
async fn a_draft_that_is_posted_lets_the_next_one_go_at_once() {
    let world = World::new().await;
    let account = world.connect().await;
    let mut drafts = Vec::new();
    for _ in 0..7 {
        drafts.push(world.post(&draft_pull(&account)).await);
    }
    for id in &drafts[..5] {
        assert_eq!(world.settled(id).await["status"], "inbox_delivered");
    }
    let waits = world.show(&drafts[5]).await;
    let far = time(&waits["next_attempt_at"]);
    assert!(far > world.now() + TimeDelta::hours(23), "{waits}");
    let first = world.show(&drafts[0]).await;
    world
        .sim
        .post_draft(first["remote_ref"].as_str().unwrap(), None)
        .unwrap();
    // The webhook of the platform is all that is needed.
    world.drain().await;
    let sixth = world.settled(&drafts[5]).await;
    assert_eq!(sixth["status"], "inbox_delivered", "{sixth}");
    assert!(world.now() < far - TimeDelta::hours(22));
    assert_eq!(
        world.show(&drafts[6]).await["failure"]["code"],
        "quota",
        "one place, one draft"
    );
}

#[tokio::test]
async fn a_full_inbox_that_only_the_platform_knows_of_holds_drafts_back() {
    let world = World::new().await;
    let account = world.connect().await;
    let full = Fault::new("inbox_init", error("spam_risk_too_many_pending_share"));
    world.sim.faults().put("full", full);
    let first = world.post(&draft_pull(&account)).await;
    world.drain().await;
    let second = world.post(&draft_pull(&account)).await;
    world.drain().await;
    let refused = world.show(&first).await;
    let place = limit(&refused, "pending_drafts");
    assert_eq!((&place["used"], &place["remaining"]), (&json!(1), &json!(0)), "{place}");
    let waits = world.show(&second).await;
    assert_eq!(
        (&waits["status"], &waits["failure"]["code"]),
        (&json!("publishing"), &json!("quota")),
        "{waits}"
    );
    let due = time(&waits["next_attempt_at"]);
    assert!(
        due > world.now() + TimeDelta::minutes(14) && due <= world.now() + TimeDelta::minutes(15),
        "{waits}"
    );
    assert_eq!(world.calls("inbox_init"), 1, "the second one was not tried in vain");
    world.sim.faults().clear("full");
    for id in [&first, &second] {
        assert_eq!(world.settled(id).await["status"], "inbox_delivered");
    }
}

#[tokio::test]
async fn a_callers_own_questions_do_not_wear_out_the_database() {
    let world = World::new().await;
    let account = world.connect().await;
    let path = format!("/api/platforms/tiktok/accounts/{account}/publish-options");
    let mut refused = 0;
    for _ in 0..60 {
        let answer = world.api.get(&path).await;
        if answer.status == 200 {
            assert_eq!(refused, 0, "all places were given first");
        } else {
            answer.problem(503, "provider_rate_limited");
            refused += 1;
        }
    }
    assert_eq!((refused, world.calls("creator_info")), (40, 20));
    world.advance(Duration::from_secs(60));
    assert_eq!(world.api.get(&path).await.status, 200);
}
