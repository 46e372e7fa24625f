//! What webhooks bring about: whatever they hold and in whatever order they come, and only for those they speak of (rows
//! T42 to T46 of the security reference).

use std::time::Duration;

use chrono::TimeDelta;
use patchbay_core::AccountId;
use patchbay_simkit::{Action, Fault};
use patchbay_simulator_tiktok::{Account, RemovalReason};
use serde_json::{Value, json};

use crate::harness::{ADA, CLIENT_KEY, POSTS, World, pull_post, webhook::body};

#[tokio::test]
async fn t42_a_genuine_body_that_nobody_can_read_is_kept_and_put_aside() {
    let world = World::new().await;
    let many = (0..9_000)
        .map(|n| format!("\"k{n}\":{n}"))
        .collect::<Vec<_>>()
        .join(",");
    let bodies: [Vec<u8>; 9] = [
        format!("{}{}", "[".repeat(10_000), "]".repeat(10_000)).into(),
        format!("{{\"content\":{}1{}}}", "{\"a\":".repeat(10_000), "}".repeat(10_000)).into(),
        format!("{{{many}}}").into(),
        b"\xff\xfe{\"event\":\"x\"}".to_vec(),
        b"{\"event\":\"\xc3\x28\"}".to_vec(),
        Vec::new(),
        b"null".to_vec(),
        b"{\"event\":7}".to_vec(),
        b"{\"event\":\"post.publish.complete\",\"content\":\"{\"}".to_vec(),
    ];
    let count = i64::try_from(bodies.len()).unwrap();
    for body in bodies {
        assert_eq!(world.deliver(body).await.status, 200);
    }
    world.work_off().await;
    let dead =
        "SELECT count(*) FROM jobs WHERE kind = 'ingest' AND status = 'dead' AND last_error = 'malformed_webhook'";
    assert_eq!((world.inbox_rows().await, world.number(dead).await), (count, count));
    assert_eq!(world.number("SELECT count(*) FROM events").await, 0);
    assert_eq!(
        world
            .deliver(body("some.event", &world.open_id(ADA), world.now(), &json!({})))
            .await
            .status,
        200,
        "the next one is read as ever"
    );
    world.work_off().await;
    assert_eq!(world.number("SELECT count(*) FROM events").await, 1);
}

#[tokio::test]
async fn t43_an_event_of_another_app_or_an_unknown_account_reaches_nobody() {
    let world = World::new().await;
    let account = world.connect().await;
    let removed = |open_id: &str| body("authorization.removed", open_id, world.now(), &json!({ "reason": 1 }));
    let foreign = removed(&world.open_id(ADA)).replace(CLIENT_KEY, "another-app");
    assert_eq!(world.deliver(foreign).await.status, 200);
    assert_eq!(world.deliver(removed("-000nobody")).await.status, 200);
    world.work_off().await;
    let shown = world
        .api
        .get(&format!("/api/platforms/tiktok/accounts/{account}"))
        .await
        .ok();
    assert_eq!(shown["status"], "active");
    let unmatched = "SELECT count(*) FROM events WHERE name = 'authorization.removed' AND account_id IS NULL";
    assert_eq!(world.number(unmatched).await, 1, "recorded, without an account");
}

#[tokio::test]
async fn t44_an_event_about_another_accounts_post_changes_nothing() {
    let world = World::new().await;
    let account = world.connect().await;
    world.connect_as(&world.api, "pia_private").await;
    let hang = Action::Set {
        name: "hang".to_owned(),
        value: Value::Null,
    };
    world.sim.faults().put("hang", Fault::new("processing", hang));
    let id = world.post(&pull_post(&account)).await;
    let post = world.follow(&id, |post| post["phase"] == "processing").await;
    let content =
        json!({ "publish_id": post["remote_ref"], "publish_type": "DIRECT_PUBLISH", "post_id": "7500000000000000001" });
    let swapped = body(
        "post.publish.publicly_available",
        &world.open_id("pia_private"),
        world.now(),
        &content,
    );
    assert_eq!(world.deliver(swapped).await.status, 200);
    world.work_off().await;
    let after = world.show(&id).await;
    assert_eq!(
        (&after["status"], &after["remote_ids"]),
        (&json!("publishing"), &json!([]))
    );
    assert!(
        !world
            .events(&format!("post_id={id}"))
            .await
            .contains(&"post.publish.publicly_available".to_owned())
    );
}

#[tokio::test]
async fn t45_events_in_any_order_lead_to_the_same_end() {
    let world = World::new().await;
    // The platform's own webhooks wait for ever: only those by hand come.
    world.sim.webhooks().change(|settings| settings.held = true);
    let events = [
        "post.publish.inbox_delivered",
        "post.publish.failed",
        "post.publish.complete",
        "post.publish.publicly_available",
    ];
    let mut ends = std::collections::BTreeSet::new();
    for (number, order) in permutations(&events).into_iter().enumerate() {
        let name = format!("user_{number}");
        world.sim.put_account(Account::named(&name, "A user"));
        let account = world.connect_as(&world.api, &name).await;
        let id = world.post(&pull_post(&account)).await;
        let post = world.follow(&id, |post| post["phase"] == "processing").await;
        world.advance(Duration::from_secs(5));
        let truth = world.sim.oracle().post(post["remote_ref"].as_str().unwrap()).unwrap();
        let public = truth.published[0].post_id.to_string();
        for event in &order {
            let content = json!({ "publish_id": truth.publish_id, "post_id": public, "reason": "internal" });
            assert_eq!(
                world
                    .deliver(body(event, &truth.open_id, world.now(), &content))
                    .await
                    .status,
                200
            );
            world.work_off().await;
        }
        let end = world.settled(&id).await;
        assert_eq!(end["remote_ids"], json!([public]), "{order:?}: {end}");
        ends.insert((end["status"].to_string(), end["failure"].to_string()));
        let seen = world.events(&format!("post_id={id}")).await;
        assert_eq!(
            seen.iter().filter(|name| *name == "post.published").count(),
            1,
            "{order:?}: {seen:?}"
        );
    }
    assert_eq!(ends, [("\"published\"".to_owned(), "null".to_owned())].into());
}

fn permutations<'a>(of: &[&'a str]) -> Vec<Vec<&'a str>> {
    if of.is_empty() {
        return vec![Vec::new()];
    }
    let mut all = Vec::new();
    for (index, first) in of.iter().enumerate() {
        let rest = [&of[..index], &of[index + 1..]].concat();
        all.extend(
            permutations(&rest)
                .into_iter()
                .map(|tail| [vec![*first], tail].concat()),
        );
    }
    all
}

#[tokio::test]
async fn t46_the_end_of_an_older_grant_does_not_end_the_new_one() {
    let world = World::new().await;
    let account = world.connect().await;
    let removed_at = world.now() + TimeDelta::minutes(1);
    world.advance(Duration::from_secs(120));
    world.connect().await;
    let show = async || {
        world
            .api
            .get(&format!("/api/platforms/tiktok/accounts/{account}"))
            .await
            .ok()
    };
    let late = body(
        "authorization.removed",
        &world.open_id(ADA),
        removed_at,
        &json!({ "reason": 1 }),
    );
    assert_eq!(world.deliver(late).await.status, 200);
    world.work_off().await;
    assert_eq!(show().await["status"], "active");
    let names = world.events(&format!("account_id={account}")).await;
    assert!(
        names.contains(&"authorization.removed".to_owned()),
        "recorded all the same: {names:?}"
    );

    world.advance(Duration::from_secs(60));
    world.sim.disconnect(ADA, RemovalReason::UserDisconnected).unwrap();
    world.drain().await;
    let shown = show().await;
    assert_eq!(
        (&shown["status"], &shown["status_code"]),
        (&json!("revoked"), &json!("user_disconnected"))
    );
    let id: AccountId = account.parse().unwrap();
    assert!(
        world.account(&id.to_string()).await.tokens.is_none(),
        "no token is left"
    );
    let status = world.api.get("/api/platforms/tiktok/status").await.ok();
    assert_eq!(
        (&status["connected"], &status["account_id"]),
        (&json!(false), &Value::Null)
    );
    world
        .api
        .post(POSTS, &pull_post(&account))
        .await
        .problem(409, "account_not_active");
    // A person who connects again goes on with the same account.
    assert_eq!(world.connect().await, account);
    world.published(&world.post(&pull_post(&account)).await).await;
}

#[tokio::test]
async fn a_post_that_is_hidden_later_stays_published_and_the_event_is_kept() {
    let world = World::new().await;
    let account = world.connect().await;
    let id = world.post(&pull_post(&account)).await;
    let post = world.published(&id).await;
    world.sim.delete_post(post["remote_ref"].as_str().unwrap()).unwrap();
    world.drain().await;
    assert_eq!(world.show(&id).await["status"], "published");
    let names = world.events(&format!("post_id={id}")).await;
    assert!(
        names.contains(&"post.publish.no_longer_publicaly_available".to_owned()),
        "{names:?}"
    );
}
