//! How often, when and how many: idempotency (rows T59 and T60 of the security reference), schedules, quotas, limits.

use std::time::Duration;

use chrono::TimeDelta;
use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::{
    ADA, Api, Database, POSTS, Setup, World, at_once, draft_pull, id_of, media, on_postgres, pull_post, send,
};

#[tokio::test(flavor = "multi_thread")]
async fn t59_a_key_sent_a_hundred_times_at_once_makes_one_post_and_one_init() {
    a_hundred_times(Database::Sqlite).await;
    on_postgres(a_hundred_times).await;
}

async fn a_hundred_times(database: Database) {
    let world = Setup {
        database,
        ..Setup::default()
    }
    .build()
    .await;
    let account = world.connect().await;
    let (api, wanted) = (world.api.clone(), draft_pull(&account));
    let replies = at_once(100, |_| {
        let request = api
            .request(Method::POST, POSTS)
            .header("idempotency-key", "order-66")
            .json(&wanted);
        send(request)
    })
    .await;
    let ids: std::collections::BTreeSet<_> = replies.iter().map(|reply| id_of(&reply.with(202))).collect();
    assert_eq!(ids.len(), 1);
    let fresh = replies
        .iter()
        .filter(|reply| reply.header("idempotency-replayed") == Some("false"))
        .count();
    assert_eq!(fresh, 1);
    assert!(
        replies
            .iter()
            .all(|reply| reply.header("idempotency-key") == Some("order-66"))
    );
    world.settled(ids.first().unwrap()).await;
    assert_eq!((world.inits(), world.sim.oracle().posts().len()), (1, 1));
}

#[tokio::test]
async fn t60_a_key_stands_for_one_body_of_one_tenant() {
    let world = World::new().await;
    let account = world.connect().await;
    let wanted = draft_pull(&account);
    let send_as = |api: &Api, body: &Value| {
        send(
            api.request(Method::POST, POSTS)
                .header("idempotency-key", "k-1")
                .json(body),
        )
    };
    let first = id_of(&send_as(&world.api, &wanted).await.with(202));
    let mut changed = wanted.clone();
    changed["title"] = json!("Another title");
    send_as(&world.api, &changed)
        .await
        .problem(422, "idempotency_key_reused");
    // The order of fields is not part of the body's meaning.
    let reordered: Value = serde_json::from_str(&format!(
        r#"{{"media":[{{"url":"{}"}}],"mode":"draft","kind":"video","allow_duplicate":true,"account_id":"{account}"}}"#,
        media::url("video.mp4")
    ))
    .unwrap();
    assert_eq!(id_of(&send_as(&world.api, &reordered).await.with(202)), first);

    let other = world.tenant("other").await;
    let theirs = world.connect_as(&other, "pia_private").await;
    let second = id_of(&send_as(&other, &draft_pull(&theirs)).await.with(202));
    assert_ne!(first, second, "another tenant's key is another key");
}

#[tokio::test]
async fn without_a_key_one_is_made_and_told() {
    let world = World::new().await;
    let account = world.connect().await;
    let reply = world.api.post(POSTS, &draft_pull(&account)).await;
    let key = reply.header("idempotency-key").unwrap().to_owned();
    let first = id_of(&reply.with(202));
    assert_eq!(reply.header("location"), Some(format!("{POSTS}/{first}").as_str()));
    let again = world
        .api
        .request(Method::POST, POSTS)
        .header("idempotency-key", key)
        .json(&draft_pull(&account));
    assert_eq!(id_of(&send(again).await.with(202)), first);
    for bad in ["", " ", "two words", &"x".repeat(256)] {
        let request = world.api.request(Method::POST, POSTS).header("idempotency-key", bad);
        send(request.json(&draft_pull(&account)))
            .await
            .problem(400, "bad_request");
    }
}

#[tokio::test]
async fn a_scheduled_post_is_not_begun_before_its_time() {
    let world = World::new().await;
    let account = world.connect().await;
    let at = world.now() + TimeDelta::hours(1);
    let mut wanted = pull_post(&account);
    wanted["scheduled_at"] = json!(at.to_rfc3339());
    let id = world.post(&wanted).await;
    world.advance(Duration::from_secs(3599));
    world.drain().await;
    assert_eq!(
        (world.inits(), world.show(&id).await["status"].as_str()),
        (0, Some("queued"))
    );
    world.advance(Duration::from_secs(1));
    world.drain().await;
    assert_eq!(world.inits(), 1);
    world.published(&id).await;
}

#[tokio::test]
async fn the_sixth_draft_waits_for_a_place_in_the_inbox() {
    let world = World::new().await;
    let account = world.connect().await;
    let mut drafts = Vec::new();
    for number in 0..6 {
        let reply = world.api.post(POSTS, &draft_pull(&account)).await.with(202);
        let quota = &reply["quotas"][0];
        assert_eq!(
            (&quota["name"], &quota["limit"], &quota["used"]),
            (&json!("pending_drafts"), &json!(5), &json!(number.min(5)))
        );
        drafts.push(id_of(&reply));
        world.drain().await;
    }
    for id in &drafts[..5] {
        assert_eq!(world.settled(id).await["status"], "inbox_delivered");
    }
    let sixth = world.show(&drafts[5]).await;
    assert_eq!(sixth["status"], "publishing", "{sixth}");
    assert_eq!(
        (&sixth["failure"]["code"], &sixth["failure"]["kind"]),
        (&json!("quota"), &json!("rate_limited"))
    );
    assert_eq!(world.calls("inbox_init"), 5, "the platform was not asked in vain");

    // Somebody posts one of the drafts: its place is free.
    let first = world.show(&drafts[0]).await;
    world
        .sim
        .post_draft(first["remote_ref"].as_str().unwrap(), None)
        .unwrap();
    let sixth = world.settled(&drafts[5]).await;
    assert_eq!(sixth["status"], "inbox_delivered", "{sixth}");
    assert_eq!(
        world
            .sim
            .journal()
            .count(|call| call.op == "inbox_init" && call.code.as_deref() != Some("ok")),
        0
    );
}

#[tokio::test]
async fn no_more_than_six_posts_a_minute_are_begun() {
    let world = World::new().await;
    let account = world.connect().await;
    let mut posts = Vec::new();
    for _ in 0..9 {
        posts.push(world.post(&pull_post(&account)).await);
    }
    for id in &posts {
        world.published(id).await;
    }
    assert_eq!(world.sim.oracle().effects(ADA).posted, 9);
    assert_eq!(world.sim.oracle().max_per_minute("video_init"), 6);
    assert_eq!(
        world
            .sim
            .journal()
            .count(|call| call.code.as_deref() == Some("rate_limit_exceeded")),
        0
    );
}
