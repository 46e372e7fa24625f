//! Why TikTok ends a post that it had taken.

use std::time::Duration;

use patchbay_simkit::{Action, Fault};
use serde_json::{Value, json};

use super::{Cases, End::Failed, says};
use crate::harness::{media, photo_post, pull_post, video_post};

const NEEDS_CHANGE: [(&str, &str); 5] = [
    ("file_format_check_failed", "file format"),
    ("duration_check_failed", "too long or too short"),
    ("frame_rate_check_failed", "frames per second"),
    ("picture_size_check_failed", "picture has a size"),
    ("spam_risk_text", "Change the text"),
];
const FOR_GOOD: [(&str, &str, &str); 4] = [
    ("spam_risk_too_many_posts", "account_owner", "daily limit"),
    (
        "spam_risk_user_banned_from_posting",
        "account_owner",
        "barred this account",
    ),
    ("spam_risk", "account_owner", "for spam"),
    ("brand_new_reason", "account_owner", "Look for a notice"),
];

fn fails_with(reason: &str) -> Action {
    Action::Set {
        name: "fail".to_owned(),
        value: reason.into(),
    }
}

#[tokio::test]
async fn each_fail_reason_that_ends_a_post_has_its_meaning() {
    let mut cases = Cases::new().await;
    let ends = NEEDS_CHANGE
        .map(|(reason, advice)| (reason, Failed("invalid_request", "caller", advice)))
        .into_iter()
        .chain(
            FOR_GOOD
                .into_iter()
                .take(3)
                .map(|(reason, who, advice)| (reason, Failed("permanent", who, advice))),
        );
    for (reason, end) in ends {
        let (account, name) = cases.account().await;
        cases
            .world
            .sim
            .faults()
            .put("case", Fault::new("processing", fails_with(reason)).for_account(&name));
        let post = cases.world.post(&video_post(&account, &cases.video)).await;
        cases.check(&post, &name, reason, end).await;
        let events = cases.world.events(&format!("post_id={post}")).await;
        assert!(events.contains(&"post.failed".to_owned()), "{events:?}");
        assert!(events.contains(&"post.publish.failed".to_owned()), "{events:?}");
        assert_eq!(
            cases.world.sim.oracle().effects(&name).inits,
            1,
            "{reason}: no second attempt"
        );
    }
}

/// What is not in the simulator's list, word for word as the platform would send it.
#[tokio::test]
async fn a_fail_reason_that_nobody_knows_ends_the_post_under_its_own_name() {
    let mut cases = Cases::new().await;
    let (reason, who, advice) = FOR_GOOD[3];
    let (account, name) = cases.account().await;
    let body = json!({
        "data": { "status": "FAILED", "fail_reason": reason },
        "error": { "code": "ok", "message": "", "log_id": "l" },
    });
    let answer = Action::Status {
        status: 200,
        body: body.to_string(),
        content_type: "application/json".to_owned(),
        when: Default::default(),
    };
    cases
        .world
        .sim
        .faults()
        .put("case", Fault::new("status", answer).for_account(&name));
    let post = cases.world.post(&video_post(&account, &cases.video)).await;
    cases
        .check(&post, &name, reason, Failed("permanent", who, advice))
        .await;
}

#[tokio::test]
async fn a_passing_fail_reason_is_tried_anew_and_the_third_time_is_the_last() {
    let mut cases = Cases::new().await;
    let removed = ("auth_removed", "account_owner");
    for (reason, who) in [("internal", "caller"), ("video_pull_failed", "caller"), removed] {
        let (account, name) = cases.account().await;
        let once = Fault::new("processing", fails_with(reason)).for_account(&name).once();
        cases.world.sim.faults().put("case", once);
        let post = cases.world.post(&pull_post(&account)).await;
        let post = cases.world.published(&post).await;
        assert_eq!(post["failure"], Value::Null);
        assert_eq!(cases.world.sim.oracle().effects(&name).inits, 2, "{reason}");

        let (account, name) = cases.account().await;
        cases
            .world
            .sim
            .faults()
            .put("case", Fault::new("processing", fails_with(reason)).for_account(&name));
        let post = cases.world.post(&pull_post(&account)).await;
        let post = cases.world.settled(&post).await;
        assert_eq!(post["status"], "failed", "{post}");
        says(&post["failure"], reason, "permanent", who);
        assert_eq!(cases.world.sim.oracle().effects(&name).inits, 3, "{reason}");
        let account = cases
            .world
            .api
            .get(&format!("/api/platforms/tiktok/accounts/{account}"))
            .await
            .ok();
        assert_eq!(account["status"], "active", "{reason}: the grant is not to blame");
        cases.world.advance(Duration::from_secs(60));
    }
}

#[tokio::test]
async fn photos_that_cannot_be_fetched_end_under_their_own_reason() {
    let mut cases = Cases::new().await;
    let (account, _) = cases.account().await;
    let mut wanted = photo_post(&account, "direct");
    wanted["media"] = json!([{ "url": media::url("gone.jpg") }]);
    let post = cases.world.post(&wanted).await;
    let post = cases.world.settled(&post).await;
    assert_eq!(post["status"], "failed", "{post}");
    says(&post["failure"], "photo_pull_failed", "permanent", "caller");
}
