//! The three calls that begin a post.

use serde_json::Value;

use super::{
    BANNED, CAP, COMMON, Cases, DRAFTS,
    End::{self, Failed, GoesOn, Reconnect, Unsure},
    OWNERSHIP, PARAMS, PRIVACY, TOO_MANY, UNAUDITED,
};
use crate::harness::{draft_post, draft_pull, photo_post, pull_post, video_post};

async fn at_init(op: &str, table: &[(&str, End)], wanted: impl Fn(&str, &str) -> Value) {
    let mut cases = Cases::new().await;
    for (code, end) in COMMON.iter().chain(table) {
        let (account, name) = cases.account().await;
        cases.refuse(op, code, &name, 0);
        let wanted = wanted(&account, &cases.video);
        let irreversible = wanted["media"][0]["url"].is_string();
        let end = match end {
            // A server error tells nothing about the effect, and this call has no name to ask for.
            GoesOn("retryable", _) if irreversible => Unsure,
            end => *end,
        };
        let before = cases.world.calls(op);
        let post = cases.world.post(&wanted).await;
        cases.check(&post, &name, code, end).await;
        let inits = cases.world.sim.oracle().effects(&name).inits;
        assert_eq!(
            inits,
            usize::from(matches!(end, GoesOn(..) | Reconnect)),
            "{code}: what the platform took"
        );
        if matches!(end, Failed(..) | Unsure) {
            assert_eq!(cases.world.calls(op), before + 1, "{code}: sent once");
        }
    }
}

#[tokio::test]
async fn each_refusal_of_a_direct_video_init_has_its_meaning() {
    let table = [PARAMS, TOO_MANY, BANNED, CAP, UNAUDITED, OWNERSHIP, PRIVACY];
    at_init("video_init", &table, video_post).await;
}

#[tokio::test]
async fn each_refusal_of_a_direct_pull_init_has_its_meaning() {
    let table = [PARAMS, TOO_MANY, BANNED, CAP, UNAUDITED, OWNERSHIP, PRIVACY];
    at_init("video_init", &table, |account, _| pull_post(account)).await;
}

#[tokio::test]
async fn each_refusal_of_a_draft_init_has_its_meaning() {
    at_init("inbox_init", &[PARAMS, BANNED, DRAFTS, OWNERSHIP], draft_post).await;
    at_init("inbox_init", &[PARAMS, BANNED, DRAFTS, OWNERSHIP], |account, _| {
        draft_pull(account)
    })
    .await;
}

#[tokio::test]
async fn each_refusal_of_a_photo_init_has_its_meaning() {
    let table = [PARAMS, TOO_MANY, BANNED, CAP, DRAFTS, UNAUDITED, OWNERSHIP, PRIVACY];
    at_init("content_init", &table, |account, _| photo_post(account, "direct")).await;
    let old_app = ("app_version_check_failed", Failed("permanent", "account_owner", "31.8"));
    at_init("content_init", &[old_app, DRAFTS], |account, _| {
        photo_post(account, "draft")
    })
    .await;
}

#[tokio::test]
async fn both_spellings_of_the_parameter_code_mean_the_same() {
    let mut cases = Cases::new().await;
    let (account, name) = cases.account().await;
    cases.refuse("video_init", "invalid_param", &name, 0);
    let post = cases.world.post(&video_post(&account, &cases.video)).await;
    cases.check(&post, &name, "invalid_params", PARAMS.1).await;
}
