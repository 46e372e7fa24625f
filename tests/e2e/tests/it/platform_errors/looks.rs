//! Looking at a post's status, and stopping it.

use patchbay_simkit::{Action, Fault};
use serde_json::Value;

use super::{COMMON, Cases, End::Failed};
use crate::harness::{POSTS, pull_post, video_post};

#[tokio::test]
async fn each_refusal_of_a_status_look_has_its_meaning() {
    let gone = (
        "invalid_publish_id",
        Failed("permanent", "operator", "does not know this attempt"),
    );
    let foreign = (
        "token_not_authorized_for_specified_publish_id",
        Failed("permanent", "operator", "begun by another account"),
    );
    let mut cases = Cases::new().await;
    for (code, end) in COMMON.iter().chain(&[gone, foreign]) {
        let (account, name) = cases.account().await;
        cases.refuse("status", code, &name, 0);
        let post = cases.world.post(&video_post(&account, &cases.video)).await;
        cases.check(&post, &name, code, *end).await;
        assert_eq!(
            cases.world.sim.oracle().effects(&name).inits,
            1,
            "{code}: no second attempt"
        );
    }
}

/// A cancel that the platform refuses leaves the post to its course.
#[tokio::test]
async fn a_refused_cancel_leaves_the_post_to_its_course() {
    let mut cases = Cases::new().await;
    let codes = [
        "invalid_publish_id",
        "token_not_authorized_for_specified_publish_id",
        "publish_not_cancellable",
        "access_token_invalid",
        "scope_not_authorized",
        "url_ownership_unverified",
        "rate_limit_exceeded",
        "internal_error",
    ];
    for code in codes {
        let (account, name) = cases.account().await;
        let world = &cases.world;
        world
            .sim
            .faults()
            .put("pull", Fault::new("pull", hang()).for_account(&name));
        let post = world.post(&pull_post(&account)).await;
        world.follow(&post, |post| post["phase"] == "processing").await;
        cases.refuse("cancel", code, &name, 0);
        let asked = cases.world.api.delete(&format!("{POSTS}/{post}")).await.with(202);
        assert_eq!(asked["cancel_requested"], true);
        cases.world.drain().await;
        assert_eq!(cases.world.show(&post).await["status"], "publishing", "{code}");
        cases.world.sim.faults().clear("pull");
        cases.goes_on(&post).await;
    }
}

fn hang() -> Action {
    Action::Set {
        name: "hang".to_owned(),
        value: Value::Null,
    }
}
