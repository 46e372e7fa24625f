//! From "TikTok has it" to the end; and the live answers: options and metrics.

use std::time::Duration;

use patchbay_core::{
    CanPost, Checkpoint, Count, Ctx, ErrorKind, Metric, Post, PostMetrics, PostMode, Progress, PublishOptions, WhoActs,
};
use serde_json::json;

use crate::support::{
    Reply, Script, account, answer, app, continues, fixture, json_body, later, publishes, pull_post, refused, start,
    status, step, tiktok, with_option,
};

async fn processing(post: &Post) -> Checkpoint {
    let (ready, op) = match post.mode {
        PostMode::Direct => {
            let reply = vec![answer("creator.info", 200, fixture("creator_info"))];
            (
                Some(continues(step(post, None, start(), reply).await.0).0),
                "video.init_pull",
            )
        }
        PostMode::Draft => (None, "inbox.init_pull"),
    };
    continues(
        step(
            post,
            ready.as_ref(),
            start(),
            vec![answer(op, 200, fixture("init_pull"))],
        )
        .await
        .0,
    )
    .0
}

fn complete() -> Vec<Reply> {
    vec![answer("post.status", 200, fixture("status_complete"))]
}

#[tokio::test]
async fn looks_become_rarer_and_end_after_a_day() {
    let post = pull_post(PostMode::Direct);
    let at = processing(&post).await;
    let busy = || vec![status(json!({ "status": "PROCESSING_DOWNLOAD" }))];
    for (elapsed, wait) in [(0, 3), (29, 3), (100, 10), (600, 60), (86_399, 60)] {
        let (same, wake) = continues(step(&post, Some(&at), later(start(), elapsed), busy()).await.0);
        assert_eq!(wake.as_secs(), wait, "after {elapsed} s");
        assert_eq!(same.state, at.state);
    }
    let error = step(&post, Some(&at), later(start(), 86_400), busy())
        .await
        .0
        .unwrap_err();
    assert_eq!(
        (error.kind, error.code.as_ref()),
        (ErrorKind::Permanent, "processing_timeout")
    );
    assert!(error.advice.is_some());
    // A clock that went back is no reason to panic.
    continues(step(&post, Some(&at), later(start(), -600), busy()).await.0);
}

#[tokio::test]
async fn a_post_without_its_id_is_published_and_followed_for_a_while() {
    let post = pull_post(PostMode::Direct);
    let at = processing(&post).await;
    let (publication, follow_up) = publishes(step(&post, Some(&at), start(), complete()).await.0);
    assert!(publication.remote_ids.is_empty());
    let (at, wake) = follow_up.unwrap();
    assert_eq!((at.phase.as_str(), wake), ("published", Duration::from_secs(10)));

    let (publication, more) = publishes(step(&post, Some(&at), later(start(), 120), complete()).await.0);
    assert!(publication.remote_ids.is_empty() && more.is_some());
    let ids = vec![answer("post.status", 200, fixture("status_complete_ids"))];
    let (publication, more) = publishes(step(&post, Some(&at), later(start(), 180), ids).await.0);
    assert_eq!(
        (publication.remote_ids.as_slice(), more),
        (["7678907398077074696".to_owned()].as_slice(), None)
    );
    let (_, more) = publishes(step(&post, Some(&at), later(start(), 900), complete()).await.0);
    assert_eq!(more, None);
}

#[tokio::test]
async fn the_id_of_a_private_post_is_not_waited_for() {
    let post = with_option(pull_post(PostMode::Direct), "privacy_level", json!("SELF_ONLY"));
    let at = processing(&post).await;
    assert_eq!(publishes(step(&post, Some(&at), start(), complete()).await.0).1, None);
}

#[tokio::test]
async fn a_draft_is_delivered_and_then_waits_for_its_person() {
    let post = pull_post(PostMode::Draft);
    let at = processing(&post).await;
    let inbox = || vec![answer("post.status", 200, fixture("status_inbox"))];
    let delivered = |progress| match progress {
        Progress::Delivered { checkpoint, wake_after } => (checkpoint, wake_after),
        other => panic!("{other:?}"),
    };
    let (at, wake) = delivered(step(&post, Some(&at), start(), inbox()).await.0.unwrap());
    assert_eq!((at.phase.as_str(), wake), ("in_inbox", Some(Duration::from_mins(5))));
    assert!(at.remote_ref.is_some());
    let (at, wake) = delivered(step(&post, Some(&at), later(start(), 86_400), inbox()).await.0.unwrap());
    assert_eq!(wake, Some(Duration::from_hours(6)));
    let (at, wake) = delivered(
        step(&post, Some(&at), later(start(), 7 * 86_400), inbox())
            .await
            .0
            .unwrap(),
    );
    assert_eq!(wake, None);

    let ids = json!({ "status": "PUBLISH_COMPLETE", "publicaly_available_post_id": [7678907398077074696_u64, 7678907398077074697_u64] });
    let (publication, _) = publishes(step(&post, Some(&at), start(), vec![status(ids)]).await.0);
    assert_eq!(publication.remote_ids, ["7678907398077074696", "7678907398077074697"]);

    // A draft that was delivered is never begun anew.
    let failed = status(json!({ "status": "FAILED", "fail_reason": "internal" }));
    assert_eq!(
        step(&post, Some(&at), start(), vec![failed]).await.0.unwrap_err().kind,
        ErrorKind::Permanent
    );
}

#[tokio::test]
async fn a_failure_has_the_kind_of_its_reason() {
    let post = pull_post(PostMode::Direct);
    let at = processing(&post).await;
    for (reason, kind) in [
        ("file_format_check_failed", ErrorKind::InvalidRequest),
        ("spam_risk_user_banned_from_posting", ErrorKind::Permanent),
        ("something_new", ErrorKind::Permanent),
    ] {
        let failed = status(json!({ "status": "FAILED", "fail_reason": reason }));
        let error = step(&post, Some(&at), start(), vec![failed]).await.0.unwrap_err();
        assert_eq!((error.kind, error.code.as_ref()), (kind, reason));
        assert!(error.advice.is_some());
    }
}

#[tokio::test]
async fn a_removed_grant_asks_for_a_reconnect_and_not_again_after_it() {
    let post = pull_post(PostMode::Draft);
    let at = processing(&post).await;
    let removed = || vec![status(json!({ "status": "FAILED", "fail_reason": "auth_removed" }))];
    let (next, _) = continues(step(&post, Some(&at), start(), removed()).await.0);
    assert_eq!(next.phase, "preparing");
    // The grant is dead: the first call says so.
    let dead = vec![refused("inbox.init_pull", 401, "access_token_invalid")];
    assert_eq!(
        step(&post, Some(&next), start(), dead).await.0.unwrap_err().kind,
        ErrorKind::ReauthRequired
    );
    // The account was connected again: the post goes on, although the old attempt stays "removed" for ever.
    let fresh = vec![answer("inbox.init_pull", 200, fixture("init_pull"))];
    let (mut at, _) = continues(step(&post, Some(&next), start(), fresh).await.0);
    assert_eq!(at.phase, "processing");
    // And there is an end.
    let (next, _) = continues(step(&post, Some(&at), start(), removed()).await.0);
    let fresh = vec![answer("inbox.init_pull", 200, fixture("init_pull"))];
    at = continues(step(&post, Some(&next), start(), fresh).await.0).0;
    let end = step(&post, Some(&at), start(), removed()).await.0.unwrap_err();
    assert_eq!(
        (end.kind, end.who_acts()),
        (ErrorKind::Permanent, WhoActs::AccountOwner),
        "the grant that the account has now is not to blame"
    );
}

#[tokio::test]
async fn faults_of_a_look_are_for_the_host_to_repeat() {
    let post = pull_post(PostMode::Direct);
    let at = processing(&post).await;
    for (reply, kind) in [
        (answer("post.status", 503, "<html>"), ErrorKind::Retryable),
        (Reply::Lost("post.status"), ErrorKind::Retryable),
        (
            refused("post.status", 429, "rate_limit_exceeded"),
            ErrorKind::RateLimited,
        ),
        (
            refused("post.status", 401, "access_token_invalid"),
            ErrorKind::ReauthRequired,
        ),
        (refused("post.status", 400, "invalid_publish_id"), ErrorKind::Permanent),
    ] {
        assert_eq!(
            step(&post, Some(&at), start(), vec![reply]).await.0.unwrap_err().kind,
            kind
        );
    }
}

async fn options(reply: Reply) -> PublishOptions {
    let provider = tiktok();
    let script = Script::new(&*provider, start(), vec![reply]);
    let (app, account) = (app(), account());
    let ctx = Ctx::new(&script, start(), &app, Some(&account));
    provider.publisher().unwrap().options(&ctx).await.unwrap()
}

#[tokio::test]
async fn options_are_what_the_creator_may_do_now() {
    let found = options(answer("creator.info", 200, fixture("creator_info"))).await;
    assert_eq!(found.can_post, CanPost::Yes);
    assert_eq!(found.creator.unwrap().nickname, "Ada");
    assert_eq!(found.max_video_seconds, Some(300));
    let fields: Vec<_> = found.fields.iter().map(|field| field.name.as_str()).collect();
    assert_eq!(fields, ["privacy_level", "disable_stitch"]);
    assert_eq!(found.fields[1].forced, Some(json!(true)));
}

#[tokio::test]
async fn a_cap_is_an_answer_and_not_a_fault() {
    for code in [
        "spam_risk_too_many_posts",
        "spam_risk_user_banned_from_posting",
        "reached_active_user_cap",
    ] {
        for http in [200, 403] {
            let found = options(refused("creator.info", http, code)).await;
            let CanPost::No { code: found, advice } = found.can_post else {
                panic!("{code}")
            };
            assert_eq!(found, code);
            assert!(!advice.is_empty());
        }
    }
}

async fn metrics(ids: &[String], replies: Vec<Reply>) -> (Vec<PostMetrics>, Vec<patchbay_core::HttpRequest>) {
    let provider = tiktok();
    let script = Script::new(&*provider, start(), replies);
    let (app, account) = (app(), account());
    let ctx = Ctx::new(&script, start(), &app, Some(&account));
    let found = provider.publisher().unwrap().metrics(&ctx, ids).await.unwrap();
    (found, script.finish())
}

#[tokio::test]
async fn counters_are_exact_and_asked_for_twenty_ids_at_a_time() {
    let ids: Vec<String> = (0..41)
        .map(|n| (7_678_907_398_077_074_696_u64 + n).to_string())
        .collect();
    let empty = || answer("video.query", 200, r#"{"data":{"videos":[]},"error":{"code":"ok"}}"#);
    let (found, sent) = metrics(
        &ids,
        vec![answer("video.query", 200, fixture("video_query")), empty(), empty()],
    )
    .await;
    let sizes: Vec<_> = sent
        .iter()
        .map(|request| json_body(request)["filters"]["video_ids"].as_array().unwrap().len())
        .collect();
    assert_eq!(sizes, [20, 20, 1]);
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].remote_id, "7678907398077074696");
    assert_eq!(found[0].counts[&Metric::Views], Count::Of(9_007_199_254_740_993));
    assert_eq!(found[0].url.as_ref().unwrap().path(), "/@ada/video/7678907398077074696");
    assert_eq!(found[0].created_at, Some(start()));
}

#[tokio::test]
async fn what_is_no_id_is_not_asked_for() {
    let (found, sent) = metrics(&["not-an-id".to_owned(), String::new()], Vec::new()).await;
    assert!(found.is_empty() && sent.is_empty());
}
