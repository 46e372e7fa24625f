//! Creator info: asked when a post is submitted, and again in its first step. "Cannot post now" comes at HTTP 200.

use serde_json::json;

use super::{BANNED, CAP, COMMON, Cases, End::Failed, TOO_MANY};
use crate::harness::{POSTS, id_of, photo_post, pull_post, video_post};

#[tokio::test]
async fn a_creator_who_cannot_post_is_told_at_once_and_nothing_is_begun() {
    let mut cases = Cases::new().await;
    for (code, end) in [TOO_MANY, BANNED, CAP] {
        let (account, name) = cases.account().await;
        cases.refuse("creator_info", code, &name, 0);
        let Failed(_, _, advice) = end else { unreachable!() };
        for wanted in [
            video_post(&account, &cases.video),
            pull_post(&account),
            photo_post(&account, "direct"),
        ] {
            let problem = cases
                .world
                .api
                .post(POSTS, &wanted)
                .await
                .problem(422, "rejected_by_provider");
            assert_eq!(problem["provider_code"], code);
            assert!(problem["detail"].as_str().unwrap().contains(advice), "{problem}");
        }
        let options = format!("/api/platforms/tiktok/accounts/{account}/publish-options");
        let live = cases.world.api.get(&options).await.ok()["live"]["can_post"].clone();
        assert_eq!((&live["state"], &live["code"]), (&json!("no"), &json!(code)));
    }
    cases.world.drain().await;
    assert_eq!(cases.world.inits(), 0);
    let posts = cases.world.api.get(POSTS).await.ok();
    assert_eq!(posts["data"], json!([]), "no post was stored");
}

#[tokio::test]
async fn a_creator_who_can_no_longer_post_when_it_begins_fails_without_an_init() {
    let mut cases = Cases::new().await;
    for (code, end) in [TOO_MANY, BANNED, CAP] {
        let (account, name) = cases.account().await;
        cases.refuse("creator_info", code, &name, 1);
        let post = cases.world.post(&video_post(&account, &cases.video)).await;
        cases.check(&post, &name, code, end).await;
    }
    assert_eq!(cases.world.inits(), 0);
}

#[tokio::test]
async fn each_other_refusal_of_creator_info_has_its_meaning_in_the_first_step() {
    let mut cases = Cases::new().await;
    for (code, end) in COMMON {
        let (account, name) = cases.account().await;
        cases.refuse("creator_info", code, &name, 1);
        let post = cases.world.post(&video_post(&account, &cases.video)).await;
        cases.check(&post, &name, code, end).await;
    }
}

#[tokio::test]
async fn each_other_refusal_of_creator_info_has_its_meaning_in_the_request() {
    let mut cases = Cases::new().await;
    for (code, status, problem, who) in [
        ("access_token_invalid", 409, "account_reauth_required", "account_owner"),
        ("scope_not_authorized", 409, "account_reauth_required", "account_owner"),
        ("rate_limit_exceeded", 503, "provider_rate_limited", "nobody"),
        ("internal_error", 502, "provider_unavailable", "nobody"),
    ] {
        let (account, name) = cases.account().await;
        cases.refuse("creator_info", code, &name, 0);
        let asked = cases
            .world
            .api
            .get(&format!("/api/platforms/tiktok/accounts/{account}/publish-options"))
            .await;
        let body = asked.problem(status, problem);
        assert_eq!(
            (body["provider_code"].as_str(), body["who_acts"].as_str()),
            (Some(code), Some(who))
        );
        assert_eq!(
            asked.header("retry-after").is_some(),
            status == 503,
            "a limit says how long to wait"
        );
        let wanted = cases.world.api.post(POSTS, &video_post(&account, &cases.video)).await;
        if status == 409 {
            wanted.problem(409, problem);
        } else {
            // A platform that does not answer just now stops nobody: the first step asks again.
            let post = id_of(&wanted.with(202));
            cases.world.drain().await;
            cases.goes_on(&post).await;
        }
    }
}
