//! The last chunk of a file: the irreversible call, and what is known after it.

use std::time::Duration;

use patchbay_core::{ErrorKind, PostMode, Progress, Reconciled};
use serde_json::json;

use crate::{
    publish_file::{CHUNK, LAST, SIZE, before_last, held},
    support::{Reply, answer, continues, file_post, fixture, later, reconcile, refused, start, status, step},
};

#[tokio::test]
async fn a_last_chunk_without_a_plain_answer_is_for_reconcile_to_judge() {
    let post = file_post(PostMode::Direct);
    let at = before_last(&post).await;
    for reply in [
        answer("video.chunk_last", 500, ""),
        answer("video.chunk_last", 502, "<html>"),
        Reply::Lost("video.chunk_last"),
        Reply::EarlierUnknown("video.chunk_last"),
    ] {
        assert_eq!(
            step(&post, Some(&at), start(), vec![reply]).await.0.unwrap_err().kind,
            ErrorKind::OutcomeUnknown
        );
    }
    let (result, _) = step(&post, Some(&at), start(), vec![answer("video.chunk_last", 400, "")]).await;
    assert_eq!(result.unwrap_err().kind, ErrorKind::Permanent);
}

#[tokio::test]
async fn reconcile_finds_a_last_chunk_that_did_not_arrive() {
    let post = file_post(PostMode::Direct);
    let at = before_last(&post).await;
    for (bytes, offset) in [(LAST, LAST), (LAST + 5, LAST), (SIZE - 1, LAST), (CHUNK, CHUNK)] {
        let Reconciled::DidNotHappen { checkpoint: Some(next) } =
            reconcile(&post, &at, start(), vec![held(bytes)]).await
        else {
            panic!("{bytes}")
        };
        assert_eq!(next.progress.unwrap().done, offset);
        // First a pause, so that an outage of minutes does not use the tries up.
        let (result, sent) = step(&post, Some(&next), start(), Vec::new()).await;
        let (same, wake) = continues(result);
        assert!(sent.is_empty() && wake >= Duration::from_secs(2));
        assert_eq!(same, next);
    }
}

#[tokio::test]
async fn reconcile_finds_a_last_chunk_that_did_arrive() {
    let post = file_post(PostMode::Direct);
    let at = before_last(&post).await;
    let happened = async |reply: Reply| match reconcile(&post, &at, start(), vec![reply]).await {
        Reconciled::Happened { progress } => progress,
        other => panic!("{other:?}"),
    };
    let Progress::Continue { checkpoint, .. } = happened(held(SIZE)).await else {
        panic!("settled")
    };
    assert_eq!(checkpoint.phase, "processing");
    let Progress::Published { publication, .. } =
        happened(answer("post.status", 200, fixture("status_complete_ids"))).await
    else {
        panic!("not published")
    };
    assert_eq!(publication.remote_ids, ["7678907398077074696"]);
    // A failure is told by the next step, where it belongs to the post.
    let failed = || status(json!({ "status": "FAILED", "fail_reason": "duration_check_failed" }));
    let Progress::Continue { checkpoint, .. } = happened(failed()).await else {
        panic!("settled")
    };
    let (result, _) = step(&post, Some(&checkpoint), start(), vec![failed()]).await;
    assert_eq!(result.unwrap_err().code, "duration_check_failed");
    // A status that cannot be had leaves the question open.
    let gone = vec![refused("post.status", 400, "invalid_publish_id")];
    assert_eq!(reconcile(&post, &at, start(), gone).await, Reconciled::Unknown);
}

#[tokio::test]
async fn once_the_last_chunk_has_left_a_new_init_needs_proof() {
    let post = file_post(PostMode::Direct);
    let at = before_last(&post).await;
    let (looking, wake) = continues(
        step(&post, Some(&at), start(), vec![answer("video.chunk_last", 404, "")])
            .await
            .0,
    );
    assert_eq!((looking.phase.as_str(), wake), ("uploading", Duration::from_mins(1)));
    // It is in: the 404 only said that the task is done.
    let (next, _) = continues(step(&post, Some(&looking), start(), vec![held(SIZE)]).await.0);
    assert_eq!(next.phase, "processing");
    // It is surely not in.
    let (next, _) = continues(step(&post, Some(&looking), start(), vec![held(LAST)]).await.0);
    assert_eq!(next.phase, "preparing");
    // TikTok does not say: waiting is the only safe thing.
    let silent = status(json!({ "status": "PROCESSING_UPLOAD" }));
    let (next, _) = continues(step(&post, Some(&looking), start(), vec![silent]).await.0);
    assert_eq!(next.phase, "processing");
}

#[tokio::test]
async fn an_expired_url_after_the_last_chunk_left_is_looked_at_first() {
    let post = file_post(PostMode::Direct);
    let at = before_last(&post).await;
    let Reconciled::DidNotHappen { checkpoint: Some(at) } = reconcile(&post, &at, start(), vec![held(LAST)]).await
    else {
        panic!("it happened")
    };
    let (looking, wake) = continues(step(&post, Some(&at), later(start(), 3600), Vec::new()).await.0);
    assert_eq!(wake, Duration::from_mins(1));
    let (next, _) = continues(
        step(&post, Some(&looking), later(start(), 3660), vec![held(SIZE)])
            .await
            .0,
    );
    assert_eq!(next.phase, "processing");
    let (next, _) = continues(
        step(&post, Some(&looking), later(start(), 3660), vec![held(LAST)])
            .await
            .0,
    );
    assert_eq!(next.phase, "preparing");
}
