//! The road of an uploaded file: ask, init, chunks, and what happens when something goes wrong on it.

use std::time::Duration;

use patchbay_core::{
    Auth, Body, ByteProgress, ByteRange, Cancelled, Checkpoint, ErrorKind, Post, PostMode, SecretRef, Target, Value,
};
use serde_json::json;

use crate::support::{
    Reply, answer, cancel, continues, file_post, fixture, json_body, later, publishes, refused, start, status, step,
    with_option,
};

pub const SIZE: u64 = 50_000_123;
pub const CHUNK: u64 = 10_485_760;
pub const LAST: u64 = 3 * CHUNK;

/// Right after the init.
pub async fn uploading(post: &Post) -> Checkpoint {
    let ready = if post.mode == PostMode::Direct {
        let (result, _) = step(
            post,
            None,
            start(),
            vec![answer("creator.info", 200, fixture("creator_info"))],
        )
        .await;
        Some(continues(result).0)
    } else {
        None
    };
    let op = if post.mode == PostMode::Direct {
        "video.init"
    } else {
        "inbox.init"
    };
    let (result, _) = step(
        post,
        ready.as_ref(),
        start(),
        vec![answer(op, 200, fixture("init_file"))],
    )
    .await;
    continues(result).0
}

/// Before the last chunk.
pub async fn before_last(post: &Post) -> Checkpoint {
    let mut at = uploading(post).await;
    for _ in 0..3 {
        at = continues(
            step(post, Some(&at), start(), vec![answer("video.chunk", 206, "")])
                .await
                .0,
        )
        .0;
    }
    assert_eq!(
        at.progress,
        Some(ByteProgress {
            done: LAST,
            total: SIZE
        })
    );
    at
}

pub fn held(bytes: u64) -> Reply {
    status(json!({ "status": "PROCESSING_UPLOAD", "uploaded_bytes": bytes }))
}

#[tokio::test]
async fn a_direct_post_of_a_file_is_asked_begun_sent_and_published() {
    let mut post = with_option(file_post(PostMode::Direct), "is_aigc", json!(true));
    post = with_option(post, "video_cover_timestamp_ms", json!(1500));

    let (result, sent) = step(
        &post,
        None,
        start(),
        vec![answer("creator.info", 200, fixture("creator_info"))],
    )
    .await;
    let (ready, wake) = continues(result);
    assert_eq!((ready.phase.as_str(), wake), ("preparing", Duration::ZERO));
    assert_eq!(sent[0].auth, Auth::AccountBearer);

    let (result, sent) = step(
        &post,
        Some(&ready),
        start(),
        vec![answer("video.init", 200, fixture("init_file"))],
    )
    .await;
    let (mut at, _) = continues(result);
    let expected = json!({
        "post_info": {
            "title": "Hello #world",
            "privacy_level": "PUBLIC_TO_EVERYONE",
            "is_aigc": true,
            "video_cover_timestamp_ms": 1500,
            "brand_content_toggle": false,
            "brand_organic_toggle": false,
        },
        "source_info": { "source": "FILE_UPLOAD", "video_size": SIZE, "chunk_size": CHUNK, "total_chunk_count": 4 },
    });
    assert_eq!(json_body(&sent[0]), &expected);
    assert_eq!(at.remote_ref.as_deref(), Some("v_pub_file~v2-1.7600000000000000001"));

    let mut next = 0;
    for index in 0..4 {
        let last = index == 3;
        let (op, code) = if last {
            ("video.chunk_last", 201)
        } else {
            ("video.chunk", 206)
        };
        assert_eq!((at.phase.as_str(), at.progress.unwrap().done), ("uploading", next));
        let (result, sent) = step(&post, Some(&at), start(), vec![answer(op, code, "")]).await;
        let end = if last { SIZE } else { next + CHUNK };
        let request = &sent[0];
        assert_eq!(
            request.target,
            Target::Secret(SecretRef::captured("video.init", "upload_url"))
        );
        assert_eq!(request.auth, Auth::None);
        let range = Value::from(format!("bytes {next}-{}/{SIZE}", end - 1));
        assert_eq!(request.headers, [("Content-Range".into(), range)]);
        let body = Body::Media {
            media: post.media[0].id,
            range: ByteRange { start: next, end },
            content_type: "video/mp4".into(),
        };
        assert_eq!(request.body, body);
        at = continues(result).0;
        next = end;
    }
    assert_eq!(at.phase, "processing");

    let (result, sent) = step(
        &post,
        Some(&at),
        start(),
        vec![answer("post.status", 200, fixture("status_complete_ids"))],
    )
    .await;
    assert_eq!(
        json_body(&sent[0]),
        &json!({ "publish_id": "v_pub_file~v2-1.7600000000000000001" })
    );
    let (publication, follow_up) = publishes(result);
    assert_eq!(publication.remote_ids, ["7678907398077074696"]);
    assert_eq!(follow_up, None);
}

#[tokio::test]
async fn a_draft_of_a_file_skips_the_creator_and_has_no_options() {
    let post = file_post(PostMode::Draft);
    let (result, sent) = step(
        &post,
        None,
        start(),
        vec![answer("inbox.init", 200, fixture("init_file"))],
    )
    .await;
    let (at, _) = continues(result);
    assert_eq!(json_body(&sent[0])["post_info"], json!({ "title": "Hello #world" }));
    let (_, sent) = step(&post, Some(&at), start(), vec![answer("video.chunk", 206, "")]).await;
    assert_eq!(
        sent[0].target,
        Target::Secret(SecretRef::captured("inbox.init", "upload_url"))
    );

    let mut bare = post;
    bare.title = None;
    let (_, sent) = step(
        &bare,
        None,
        start(),
        vec![answer("inbox.init", 200, fixture("init_file"))],
    )
    .await;
    assert_eq!(json_body(&sent[0]).get("post_info"), None);
}

#[tokio::test]
async fn the_text_is_the_caption_where_there_is_no_title() {
    let mut post = file_post(PostMode::Draft);
    post.text = post.title.take();
    let (_, sent) = step(
        &post,
        None,
        start(),
        vec![answer("inbox.init", 200, fixture("init_file"))],
    )
    .await;
    assert_eq!(json_body(&sent[0])["post_info"]["title"], "Hello #world");
}

#[tokio::test]
async fn a_creator_who_cannot_post_now_stops_the_post_with_advice() {
    let post = file_post(PostMode::Direct);
    let (result, _) = step(
        &post,
        None,
        start(),
        vec![answer("creator.info", 200, fixture("creator_info_cap"))],
    )
    .await;
    let error = result.unwrap_err();
    assert_eq!(
        (error.kind, error.code.as_ref()),
        (ErrorKind::Permanent, "spam_risk_too_many_posts")
    );
    assert!(error.advice.unwrap().contains("tomorrow"));
}

#[tokio::test]
async fn what_the_creator_may_not_post_is_refused_before_the_init() {
    let check = async |post: Post, code: &str| {
        let reply = vec![answer("creator.info", 200, fixture("creator_info"))];
        let error = step(&post, None, start(), reply).await.0.unwrap_err();
        assert_eq!((error.kind, error.code.as_ref()), (ErrorKind::InvalidRequest, code));
        assert!(error.advice.is_some());
    };
    let direct = || file_post(PostMode::Direct);
    check(
        with_option(direct(), "privacy_level", json!("FOLLOWER_OF_CREATOR")),
        "not_allowed_for_account",
    )
    .await;
    check(
        with_option(direct(), "disable_stitch", json!(false)),
        "forced_by_account",
    )
    .await;
    let mut long = direct();
    long.media[0].info.duration_ms = Some(300_001);
    check(long, "too_long").await;
}

#[tokio::test]
async fn an_unaudited_app_is_told_what_cures_it() {
    let post = file_post(PostMode::Direct);
    let (result, _) = step(
        &post,
        None,
        start(),
        vec![answer("creator.info", 200, fixture("creator_info"))],
    )
    .await;
    let (ready, _) = continues(result);
    let (result, _) = step(
        &post,
        Some(&ready),
        start(),
        vec![answer("video.init", 403, fixture("init_unaudited"))],
    )
    .await;
    let error = result.unwrap_err();
    assert_eq!(error.code, "unaudited_client_can_only_post_to_private_accounts");
    assert!(error.advice.unwrap().contains("SELF_ONLY"));
}

#[tokio::test]
async fn a_file_init_may_be_repeated() {
    let post = file_post(PostMode::Draft);
    for reply in [
        answer("inbox.init", 500, "<html>"),
        refused("inbox.init", 500, "internal_error"),
        Reply::Lost("inbox.init"),
    ] {
        assert_eq!(
            step(&post, None, start(), vec![reply]).await.0.unwrap_err().kind,
            ErrorKind::Retryable
        );
    }
    let (result, _) = step(
        &post,
        None,
        start(),
        vec![refused("inbox.init", 429, "rate_limit_exceeded")],
    )
    .await;
    assert_eq!(result.unwrap_err().kind, ErrorKind::RateLimited);
}

#[tokio::test]
async fn a_fault_on_a_chunk_that_is_not_the_last_leaves_the_checkpoint() {
    let post = file_post(PostMode::Direct);
    let at = uploading(&post).await;
    for code in [500, 502, 503] {
        let (result, _) = step(&post, Some(&at), start(), vec![answer("video.chunk", code, "")]).await;
        assert_eq!(result.unwrap_err().kind, ErrorKind::Retryable);
    }
}

#[tokio::test]
async fn after_a_refused_range_the_upload_goes_on_where_tiktok_stands() {
    let post = file_post(PostMode::Direct);
    let at = uploading(&post).await;
    let (looking, wake) = continues(
        step(&post, Some(&at), start(), vec![answer("video.chunk", 416, "")])
            .await
            .0,
    );
    assert_eq!(wake, Duration::from_secs(2));
    let (at, _) = continues(step(&post, Some(&looking), start(), vec![held(2 * CHUNK)]).await.0);
    assert_eq!(at.progress.unwrap().done, 2 * CHUNK);
    let (_, sent) = step(&post, Some(&at), start(), vec![answer("video.chunk", 206, "")]).await;
    assert_eq!(
        sent[0].headers[0].1,
        Value::from(format!("bytes {}-{}/{SIZE}", 2 * CHUNK, 3 * CHUNK - 1))
    );
}

#[tokio::test]
async fn after_a_lost_answer_tiktok_is_asked_before_a_chunk_is_sent_again() {
    let post = file_post(PostMode::Direct);
    let at = uploading(&post).await;
    let (looking, _) = continues(
        step(&post, Some(&at), start(), vec![Reply::Lost("video.chunk")])
            .await
            .0,
    );
    let (at, _) = continues(step(&post, Some(&looking), start(), vec![held(CHUNK)]).await.0);
    assert_eq!(at.progress.unwrap().done, CHUNK);
    // No counter is an empty counter.
    let nothing = status(json!({ "status": "PROCESSING_UPLOAD" }));
    let (at, _) = continues(step(&post, Some(&looking), start(), vec![nothing]).await.0);
    assert_eq!(at.progress.unwrap().done, 0);
    // Nothing left this machine: nothing to ask.
    let (result, _) = step(&post, Some(&at), start(), vec![Reply::NotSent("video.chunk")]).await;
    assert_eq!(result.unwrap_err().kind, ErrorKind::Retryable);
}

#[tokio::test]
async fn an_upload_url_past_its_hour_gives_a_new_init_and_three_are_enough() {
    let post = file_post(PostMode::Draft);
    let mut now = start();
    let mut at = uploading(&post).await;
    for attempt in 1..=3 {
        now = later(now, 3600);
        let (result, sent) = step(&post, Some(&at), now, Vec::new()).await;
        assert!(sent.is_empty());
        if attempt == 3 {
            let error = result.unwrap_err();
            assert_eq!(
                (error.kind, error.code.as_ref()),
                (ErrorKind::Permanent, "upload_expired")
            );
            return;
        }
        let (ready, _) = continues(result);
        assert_eq!((ready.phase.as_str(), &ready.remote_ref), ("preparing", &None));
        at = continues(
            step(
                &post,
                Some(&ready),
                now,
                vec![answer("inbox.init", 200, fixture("init_file"))],
            )
            .await
            .0,
        )
        .0;
        assert_eq!(at.progress.unwrap().done, 0);
    }
}

#[tokio::test]
async fn a_refused_upload_url_before_the_last_chunk_gives_a_new_init() {
    let post = file_post(PostMode::Direct);
    let at = uploading(&post).await;
    for code in [403, 404] {
        let (ready, _) = continues(
            step(&post, Some(&at), start(), vec![answer("video.chunk", code, "")])
                .await
                .0,
        );
        assert_eq!(ready.phase, "preparing");
    }
    let (result, _) = step(&post, Some(&at), start(), vec![answer("video.chunk", 400, "")]).await;
    assert_eq!(result.unwrap_err().kind, ErrorKind::Permanent);
}

#[tokio::test]
async fn an_upload_that_never_gets_on_ends_in_a_new_one() {
    let post = file_post(PostMode::Draft);
    let mut at = uploading(&post).await;
    let mut waited = Duration::ZERO;
    for _ in 0..13 {
        let (looking, wake) = continues(
            step(&post, Some(&at), start(), vec![answer("video.chunk", 416, "")])
                .await
                .0,
        );
        waited += wake;
        at = continues(step(&post, Some(&looking), start(), vec![held(0)]).await.0).0;
    }
    assert!(
        waited > Duration::from_mins(20),
        "an outage of minutes is outlived: {waited:?}"
    );
    let (result, sent) = step(&post, Some(&at), start(), Vec::new()).await;
    assert!(sent.is_empty());
    assert_eq!(continues(result).0.phase, "preparing");
}

#[tokio::test]
async fn a_file_is_cancelled_by_not_sending_the_rest() {
    let post = file_post(PostMode::Direct);
    assert_eq!(cancel(&post, None, Vec::new()).await.unwrap(), Cancelled::Stopped);
    let at = before_last(&post).await;
    assert_eq!(cancel(&post, Some(&at), Vec::new()).await.unwrap(), Cancelled::Stopped);
    let (done, _) = continues(
        step(&post, Some(&at), start(), vec![answer("video.chunk_last", 201, "")])
            .await
            .0,
    );
    assert_eq!(
        cancel(&post, Some(&done), Vec::new()).await.unwrap(),
        Cancelled::TooLate
    );
    let (unsure, _) = continues(
        step(&post, Some(&at), start(), vec![answer("video.chunk_last", 416, "")])
            .await
            .0,
    );
    assert_eq!(
        cancel(&post, Some(&unsure), Vec::new()).await.unwrap(),
        Cancelled::TooLate
    );
}
