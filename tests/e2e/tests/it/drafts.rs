//! Drafts that Patchbay keeps: stored as they are, changed, and published once by whoever says so.

use std::time::Duration;

use chrono::TimeDelta;
use patchbay_simkit::Fault;
use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::{Api, POSTS, Reply, World, at_once, error, id_of, on_both, pull_post, send, video_post};

/// What the platform has a person agree to.
const MUSIC: &str = "By posting, you agree to TikTok's Music Usage Confirmation.";
const DAY: Duration = Duration::from_secs(24 * 3600);

fn draft(mut post: Value) -> Value {
    post["draft"] = json!(true);
    post.as_object_mut().unwrap().remove("allow_duplicate");
    post
}

async fn patch(api: &Api, id: &str, change: &Value) -> Value {
    send(api.request(Method::PATCH, &format!("{POSTS}/{id}")).json(change))
        .await
        .ok()
}

async fn publish(api: &Api, id: &str, wanted: &Value) -> Reply {
    api.post(&format!("{POSTS}/{id}/publish"), wanted).await
}

#[tokio::test]
async fn a_draft_waits_until_it_is_published_and_is_checked_only_then() {
    on_both(async |world| {
        let account = world.connect().await;
        // Neither options nor files yet.
        let begun = json!({ "account_id": account, "kind": "video", "title": "Kites", "draft": true });
        let checked = world.api.post(&format!("{POSTS}:validate"), &begun).await;
        checked.problem(422, "invalid");
        let reply = world.api.post(POSTS, &begun).await;
        let post = reply.with(202);
        let id = id_of(&post);
        assert_eq!((&post["status"], &post["title"]), (&json!("draft"), &json!("Kites")));
        world.advance(30 * DAY);
        world.drain().await;
        assert_eq!(
            (world.show(&id).await["status"].as_str(), world.inits()),
            (Some("draft"), 0)
        );
        let listed = world.api.get(&format!("{POSTS}?status=draft")).await.ok();
        assert_eq!(listed["data"][0]["id"], json!(id));

        publish(&world.api, &id, &json!({})).await.problem(422, "invalid");
        publish(&world.api, &id, &json!({ "title": "No place for it" }))
            .await
            .problem(422, "invalid");
        let retry = world.api.post(&format!("{POSTS}/{id}/retry"), &json!({})).await;
        retry.problem(409, "post_not_retryable");
        assert_eq!(world.show(&id).await["status"], "draft");

        let whole = pull_post(&account);
        let change = json!({ "media": whole["media"], "options": whole["options"] });
        let seen = send(world.api.request(Method::PATCH, &format!("{POSTS}/{id}")).json(&change)).await;
        assert_eq!(seen.ok()["status"], "draft");
        let first = reply.header("etag").unwrap();
        let path = format!("{POSTS}/{id}/publish");
        let stale = world.api.request(Method::POST, &path).header("if-match", first);
        send(stale.json(&json!({}))).await.problem(412, "precondition_failed");
        let fresh = world.api.request(Method::POST, &path);
        let fresh = fresh.header("if-match", seen.header("etag").unwrap());
        let consent = json!({ "consent": { "text": MUSIC, "by": "editor-3" } });
        let queued = send(fresh.json(&consent)).await.with(202);
        assert_eq!(
            (&queued["status"], &queued["consent"]["by"]),
            (&json!("queued"), &json!("editor-3"))
        );
        let post = world.published(&id).await;
        assert_eq!(
            world.sim.oracle().posts()[0].wishes.title.as_deref(),
            Some("Kites"),
            "{post}"
        );
        publish(&world.api, &id, &json!({}))
            .await
            .problem(409, "post_not_draft");
        assert_eq!(world.inits(), 1);
        let events = world.events(&format!("post_id={id}")).await;
        let ours: Vec<_> = events
            .iter()
            .filter(|name| !name.starts_with("post.publish."))
            .collect();
        assert_eq!(ours, ["post.edited", "post.queued", "post.published"]);
    })
    .await;
}

#[tokio::test]
async fn of_many_who_publish_a_draft_one_does() {
    on_both(async |world| {
        let account = world.connect().await;
        let id = id_of(&world.api.post(POSTS, &draft(pull_post(&account))).await.with(202));
        let replies = at_once(20, |_| {
            let (api, id) = (world.api.clone(), id.clone());
            async move { publish(&api, &id, &json!({})).await }
        })
        .await;
        let mut statuses: Vec<_> = replies.iter().map(|reply| reply.status).collect();
        statuses.sort_unstable();
        assert_eq!(statuses[0], 202, "{statuses:?}");
        assert!(
            statuses[1..].iter().all(|status| [409, 412].contains(status)),
            "{statuses:?}"
        );
        world.published(&id).await;
        assert_eq!(world.inits(), 1);
    })
    .await;
}

#[tokio::test]
async fn a_draft_has_its_time_and_may_get_another_when_it_is_published() {
    let world = World::new().await;
    let account = world.connect().await;
    let mut wanted = draft(pull_post(&account));
    wanted["scheduled_at"] = json!(world.now() + TimeDelta::days(2));
    let (first, second) = (world.post(&wanted).await, world.post(&wanted).await);
    publish(&world.api, &first, &json!({})).await.with(202);
    world.advance(DAY);
    world.work_off().await;
    assert_eq!(world.show(&first).await["status"], "queued");
    // The same content, which is still to come.
    publish(&world.api, &second, &json!({}))
        .await
        .problem(409, "duplicate_content");
    let local = json!({ "date_time": "2027-03-29T02:30:00", "time_zone": "Europe/Berlin" });
    let meant = json!({ "scheduled_at": null, "scheduled_local": local, "allow_duplicate": true });
    let queued = publish(&world.api, &second, &meant).await.with(202);
    assert_eq!(queued["scheduled_at"], "2027-03-29T00:30:00Z");
    world.api.delete(&format!("{POSTS}/{second}")).await.with(202);
    world.advance(DAY);
    world.published(&first).await;

    let third = world.post(&wanted).await;
    let at_once = json!({ "scheduled_at": null, "allow_duplicate": true });
    publish(&world.api, &third, &at_once).await.with(202);
    world.published(&third).await;
    // It is asked when it is published.
    let mut early = wanted.clone();
    early["allow_duplicate"] = json!(true);
    world.api.post(POSTS, &early).await.problem(422, "invalid");
}

#[tokio::test]
async fn a_drafts_files_wait_with_it_and_a_disconnected_account_ends_none() {
    on_both(async |world| {
        let account = world.connect().await;
        let id = world.post(&draft(video_post(&account, &world.video().await))).await;
        world
            .api
            .post("/api/platforms/tiktok/disconnect", &json!({ "account_id": account }))
            .await
            .ok();
        world.drain().await;
        publish(&world.api, &id, &json!({}))
            .await
            .problem(409, "account_not_active");
        assert_eq!(world.connect().await, account);
        world.advance(80 * DAY);
        world.drain().await;
        // Its time begins when it is published: a limit of the platform is no end of it.
        let busy = Fault::new("video_init", error("rate_limit_exceeded")).once();
        world.sim.faults().put("busy", busy);
        publish(&world.api, &id, &json!({})).await.with(202);
        let post = world.published(&id).await;
        let asked: chrono::DateTime<chrono::Utc> = post["scheduled_at"].as_str().unwrap().parse().unwrap();
        assert!(world.now() - asked < TimeDelta::hours(1), "{post}");

        let late = world.post(&draft(video_post(&account, &world.video().await))).await;
        world.advance(100 * DAY);
        world.drain().await;
        let gone = publish(&world.api, &late, &json!({})).await.problem(422, "invalid");
        assert_eq!(gone["errors"][0]["code"], "unknown_media", "{gone}");
        world.api.delete(&format!("{POSTS}/{late}")).await.with(202);
        let stopped = world.show(&late).await;
        assert_eq!(stopped["status"], "cancelled");
        assert!(stopped["finished_at"].is_string(), "{stopped}");
        publish(&world.api, &late, &json!({}))
            .await
            .problem(409, "post_not_draft");
    })
    .await;
}

#[tokio::test]
async fn drafts_of_several_targets_are_published_one_by_one() {
    let world = World::new().await;
    let account = world.connect().await;
    let one = pull_post(&account);
    let wanted = json!({
        "kind": "video", "draft": true, "media": one["media"],
        "targets": [
            { "account_id": account, "options": one["options"], "title": "One" },
            { "account_id": account, "options": one["options"], "title": "Two" },
        ],
    });
    let group = world.api.post("/api/posts", &wanted).await.with(202);
    let ids: Vec<_> = group["data"].as_array().unwrap().iter().map(id_of).collect();
    assert_eq!(ids.len(), 2);
    publish(&world.api, &ids[1], &json!({})).await.with(202);
    world.published(&ids[1]).await;
    assert_eq!(world.show(&ids[0]).await["status"], "draft");
    patch(&world.api, &ids[0], &json!({ "title": "One, later" })).await;
    let other = world.tenant("other").await;
    publish(&other, &ids[0], &json!({})).await.problem(404, "not_found");
}
