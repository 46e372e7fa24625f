//! Kinds and modes of posts, and stopping them.

use std::time::Duration;

use patchbay_simkit::{Action, Fault};
use serde_json::{Value, json};

use crate::harness::{
    ADA, POSTS, World, draft_post, draft_pull, error, id_of, media, photo_post, pull_post, video_post,
};

#[tokio::test]
async fn a_draft_waits_in_the_inbox_until_its_person_posts_it() {
    let world = World::new().await;
    let account = world.connect().await;
    let video = world.video().await;
    let id = world.post(&draft_post(&account, &video)).await;
    let draft = world.settled(&id).await;
    assert_eq!(draft["status"], "inbox_delivered");
    assert_eq!(draft["remote_ids"], json!([]));

    let publish_id = draft["remote_ref"].as_str().unwrap();
    world.advance(Duration::from_secs(3600));
    world.drain().await;
    let public = world.sim.post_draft(publish_id, None).unwrap();
    world.drain().await;
    let post = world.show(&id).await;
    assert_eq!(
        post["status"], "published",
        "the webhook alone brings the look forward: {post}"
    );
    let post = world.published(&id).await;
    assert_eq!(
        post["remote_ids"],
        json!([public.to_string()]),
        "exact, although above 2^53"
    );
    let events = world.events(&format!("post_id={id}")).await;
    for name in [
        "post.inbox_delivered",
        "post.publish.inbox_delivered",
        "post.publish.complete",
        "post.published",
    ] {
        assert!(events.iter().any(|event| event == name), "{name} of {events:?}");
    }
    let effects = world.sim.oracle().effects(ADA);
    assert_eq!(
        (effects.inits, effects.drafts, effects.posted_drafts, effects.posted),
        (1, 1, 1, 0)
    );
}

#[tokio::test]
async fn photos_are_posted_directly_and_as_drafts() {
    let world = World::new().await;
    let account = world.connect().await;
    let direct = world.post(&photo_post(&account, "direct")).await;
    let direct = world.published(&direct).await;
    assert_eq!(direct["remote_ids"].as_array().unwrap().len(), 1);
    let truth = world.sim.oracle().post(direct["remote_ref"].as_str().unwrap()).unwrap();
    assert_eq!(truth.urls, [media::url("photo.jpg"), media::url("photo.jpg")]);
    assert_eq!(
        (truth.wishes.title.as_deref(), truth.wishes.description.as_deref()),
        (Some("Two kites"), Some("At the bay"))
    );

    let draft = world.post(&photo_post(&account, "draft")).await;
    let draft = world.settled(&draft).await;
    assert_eq!(draft["status"], "inbox_delivered");
    world
        .sim
        .post_draft(draft["remote_ref"].as_str().unwrap(), None)
        .unwrap();
    world.published(&id_of(&draft)).await;
    assert_eq!(world.calls("content_init"), 2);
}

#[tokio::test]
async fn a_private_post_is_published_and_has_no_public_id() {
    let world = World::new().await;
    let account = world.connect().await;
    let mut wanted = pull_post(&account);
    wanted["options"]["privacy_level"] = json!("SELF_ONLY");
    let id = world.post(&wanted).await;
    let post = world.settled(&id).await;
    assert_eq!(
        (&post["status"], &post["remote_ids"]),
        (&json!("published"), &json!([]))
    );
    world
        .api
        .get(&format!("{POSTS}/{id}/metrics"))
        .await
        .problem(409, "post_not_published");
}

#[tokio::test]
async fn every_wish_of_a_post_arrives_at_the_platform() {
    let world = World::new().await;
    let account = world.connect().await;
    let mut wanted = video_post(&account, &world.video().await);
    wanted["options"] = json!({
        "privacy_level": "MUTUAL_FOLLOW_FRIENDS", "disable_comment": true, "disable_duet": true,
        "disable_stitch": true, "brand_content_toggle": true, "brand_organic_toggle": true, "is_aigc": true,
        "video_cover_timestamp_ms": 500,
    });
    let post = world.settled(&world.post(&wanted).await).await;
    let wishes = world
        .sim
        .oracle()
        .post(post["remote_ref"].as_str().unwrap())
        .unwrap()
        .wishes;
    let seen = serde_json::to_value(&wishes).unwrap();
    assert_eq!(seen["privacy"], "MUTUAL_FOLLOW_FRIENDS");
    assert_eq!(seen["title"], "Kites over the bay");
    assert_eq!(seen["video_cover_timestamp_ms"], 500);
    for name in [
        "disable_comment",
        "disable_duet",
        "disable_stitch",
        "brand_content_toggle",
        "brand_organic_toggle",
        "is_aigc",
    ] {
        assert_eq!(seen[name], true, "{name}");
    }
}

// Stopping.

#[tokio::test]
async fn a_queued_post_is_stopped_at_once() {
    let world = World::new().await;
    let account = world.connect().await;
    let id = world.post(&pull_post(&account)).await;
    let post = world.api.delete(&format!("{POSTS}/{id}")).await.with(202);
    assert_eq!(post["status"], "cancelled");
    world.drain().await;
    assert_eq!(world.inits(), 0);
    world
        .api
        .delete(&format!("{POSTS}/{id}"))
        .await
        .problem(409, "post_not_cancellable");
    assert_eq!(world.events(&format!("post_id={id}")).await, ["post.cancelled"]);
}

#[tokio::test]
async fn an_upload_is_stopped_by_not_sending_the_rest() {
    let world = World::new().await;
    let account = world.connect().await;
    let big = world.upload(media::padded(30_000_000)).await;
    // The second of two chunks does not get through for now.
    let fault = Action::Status {
        status: 500,
        body: String::new(),
        content_type: "text/plain".into(),
        when: Default::default(),
    };
    world.sim.faults().put("stuck", Fault::new("upload", fault).skip(1));
    let id = world.post(&video_post(&account, &big)).await;
    world
        .follow(&id, |post| {
            post["progress"]["done_bytes"].as_u64().is_some_and(|done| done > 0)
        })
        .await;
    let post = world.api.delete(&format!("{POSTS}/{id}")).await.with(202);
    assert_eq!(post["cancel_requested"], true);
    let post = world.settled(&id).await;
    assert_eq!(post["status"], "cancelled", "{post}");
    assert_eq!(world.sim.oracle().effects(ADA).posted, 0);
}

#[tokio::test]
async fn a_pull_is_cancelled_at_the_platform() {
    let world = World::new().await;
    let account = world.connect().await;
    let hang = Action::Set {
        name: "hang".to_owned(),
        value: Value::Null,
    };
    world.sim.faults().put("hang", Fault::new("pull", hang));
    let id = world.post(&pull_post(&account)).await;
    world.follow(&id, |post| post["phase"] == "processing").await;
    assert_eq!(
        world.api.delete(&format!("{POSTS}/{id}")).await.with(202)["cancel_requested"],
        true
    );
    let post = world.settled(&id).await;
    assert_eq!(post["status"], "cancelled", "{post}");
    assert_eq!(world.calls("cancel"), 1, "the platform is asked once");
    let effects = world.sim.oracle().effects(ADA);
    assert_eq!((effects.posted, effects.failed), (0, 1));
}

#[tokio::test]
async fn a_wish_to_stop_is_kept_through_a_passing_fault() {
    let world = World::new().await;
    let account = world.connect().await;
    let hang = Action::Set {
        name: "hang".to_owned(),
        value: Value::Null,
    };
    world.sim.faults().put("hang", Fault::new("pull", hang));
    let id = world.post(&pull_post(&account)).await;
    world.follow(&id, |post| post["phase"] == "processing").await;
    world
        .sim
        .faults()
        .put("down", Fault::new("cancel", error("internal_error")).times(2));
    world.api.delete(&format!("{POSTS}/{id}")).await.with(202);
    assert_eq!(world.settled(&id).await["status"], "cancelled");
}

#[tokio::test]
async fn a_post_that_waits_for_a_place_or_a_reconnect_can_be_stopped() {
    let world = World::new().await;
    let account = world.connect().await;
    let mut drafts = Vec::new();
    for _ in 0..6 {
        drafts.push(world.post(&draft_pull(&account)).await);
    }
    let waiting = world
        .follow(&drafts[5], |post| post["failure"]["code"] == "quota")
        .await;
    assert_eq!(
        world.api.delete(&format!("{POSTS}/{}", id_of(&waiting))).await.status,
        202
    );
    assert_eq!(world.settled(&drafts[5]).await["status"], "cancelled");

    let id = world.post(&pull_post(&account)).await;
    world.refuse("creator_info", "access_token_invalid");
    world
        .follow(&id, |post| post["failure"]["code"] == "account_not_active")
        .await;
    assert_eq!(world.api.delete(&format!("{POSTS}/{id}")).await.status, 202);
    assert_eq!(world.settled(&id).await["status"], "cancelled");
    assert_eq!(world.calls("cancel"), 0, "nothing had begun at the platform");
}

#[tokio::test]
async fn what_is_published_cannot_be_stopped() {
    let world = World::new().await;
    let account = world.connect().await;
    let id = world.post(&pull_post(&account)).await;
    world.published(&id).await;
    world
        .api
        .delete(&format!("{POSTS}/{id}"))
        .await
        .problem(409, "post_not_cancellable");
}
