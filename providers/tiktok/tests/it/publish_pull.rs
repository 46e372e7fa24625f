//! Posts whose media TikTok fetches: videos by URL, and photos.

use patchbay_core::{Cancelled, ErrorKind, MediaOrigin, MediaUrl, Post, PostMode, Reconciled};
use serde_json::json;

use crate::support::{
    Reply, answer, cancel, continues, fixture, json_body, ok, photo_post, pull_post, reconcile, reconcile_as, refused,
    start, status, step, with_option,
};

async fn ready(post: &Post) -> patchbay_core::Checkpoint {
    let (result, _) = step(
        post,
        None,
        start(),
        vec![answer("creator.info", 200, fixture("creator_info"))],
    )
    .await;
    continues(result).0
}

#[tokio::test]
async fn a_video_by_url_is_one_irreversible_call() {
    let post = pull_post(PostMode::Direct);
    let at = ready(&post).await;
    let (result, sent) = step(
        &post,
        Some(&at),
        start(),
        vec![answer("video.init_pull", 200, fixture("init_pull"))],
    )
    .await;
    let (at, _) = continues(result);
    assert_eq!(
        (at.phase.as_str(), at.remote_ref.as_deref()),
        ("processing", Some("v_pub_url~v2.7600000000000000002"))
    );
    let source = json!({ "source": "PULL_FROM_URL", "video_url": "https://media.example.com/v.mp4" });
    assert_eq!(json_body(&sent[0])["source_info"], source);

    let (result, _) = step(
        &post,
        Some(&at),
        start(),
        vec![answer("post.status", 200, fixture("status_download"))],
    )
    .await;
    let (at, _) = continues(result);
    assert_eq!(
        at.progress.map(|bytes| (bytes.done, bytes.total)),
        Some((4_000_000, 8_000_000))
    );
}

#[tokio::test]
async fn drafts_go_to_the_inbox() {
    let post = pull_post(PostMode::Draft);
    let (result, _) = step(
        &post,
        None,
        start(),
        vec![answer("inbox.init_pull", 200, fixture("init_pull"))],
    )
    .await;
    let (at, _) = continues(result);
    assert_eq!(at.phase, "processing");
}

#[tokio::test]
async fn photos_carry_their_texts_and_only_a_direct_post_its_options() {
    let mut post = with_option(photo_post(PostMode::Direct, 3), "auto_add_music", json!(true));
    post = with_option(post, "photo_cover_index", json!(2));
    post.text = Some("Below".to_owned());
    let at = ready(&post).await;
    let (_, sent) = step(
        &post,
        Some(&at),
        start(),
        vec![answer("photo.init", 200, fixture("init_photo"))],
    )
    .await;
    let expected = json!({
        "media_type": "PHOTO",
        "post_mode": "DIRECT_POST",
        "post_info": {
            "title": "Hello #world",
            "description": "Below",
            "privacy_level": "PUBLIC_TO_EVERYONE",
            "auto_add_music": true,
            "brand_content_toggle": false,
            "brand_organic_toggle": false,
        },
        "source_info": {
            "source": "PULL_FROM_URL",
            "photo_images": ["https://media.example.com/0.jpg", "https://media.example.com/1.jpg", "https://media.example.com/2.jpg"],
            "photo_cover_index": 2,
        },
    });
    assert_eq!(json_body(&sent[0]), &expected);

    let post = photo_post(PostMode::Draft, 1);
    let (result, sent) = step(
        &post,
        None,
        start(),
        vec![answer("photo.init_draft", 200, fixture("init_photo"))],
    )
    .await;
    assert_eq!(
        continues(result).0.remote_ref.as_deref(),
        Some("p_pub_url~v2.7600000000000000003")
    );
    assert_eq!(json_body(&sent[0])["post_mode"], "MEDIA_UPLOAD");
    assert_eq!(json_body(&sent[0])["post_info"], json!({ "title": "Hello #world" }));
    assert_eq!(json_body(&sent[0])["source_info"]["photo_cover_index"], 0);
}

#[tokio::test]
async fn an_open_outcome_of_a_pull_stays_open() {
    for (post, op) in [
        (pull_post(PostMode::Direct), "video.init_pull"),
        (photo_post(PostMode::Direct, 2), "photo.init"),
    ] {
        let at = ready(&post).await;
        for reply in [
            Reply::Lost(op),
            Reply::EarlierUnknown(op),
            answer(op, 500, "<html>"),
            refused(op, 500, "internal_error"),
            answer(op, 200, "<html>"),
            ok(op, json!({})),
            ok(op, json!({ "publish_id": "" })),
        ] {
            let error = step(&post, Some(&at), start(), vec![reply]).await.0.unwrap_err();
            assert_eq!(error.kind, ErrorKind::OutcomeUnknown, "{error}");
        }
        assert_eq!(reconcile(&post, &at, start(), Vec::new()).await, Reconciled::Unknown);
    }
}

#[tokio::test]
async fn an_open_pull_is_looked_up_under_the_id_that_a_webhook_told() {
    let post = pull_post(PostMode::Direct);
    let at = ready(&post).await;
    let known_as = Some("v_pub_url~v2.7600000000000000002");
    let look = async |reply| reconcile_as(&post, &at, known_as, start(), vec![reply]).await;
    let Reconciled::Happened { progress } = look(answer("post.status", 200, fixture("status_download"))).await else {
        panic!("TikTok is at it")
    };
    assert_eq!(continues(Ok(progress)).0.remote_ref.as_deref(), known_as);
    let unknown = look(refused("post.status", 400, "invalid_publish_id")).await;
    assert_eq!(unknown, Reconciled::Unknown, "it is no attempt of this account");
}

#[tokio::test]
async fn the_host_fills_in_the_urls_of_files_that_it_holds() {
    let mut post = photo_post(PostMode::Direct, 3);
    post.media[1].origin = MediaOrigin::Hosted;
    let at = ready(&post).await;
    let (_, sent) = step(
        &post,
        Some(&at),
        start(),
        vec![answer("photo.init", 200, fixture("init_photo"))],
    )
    .await;
    let place = MediaUrl {
        pointer: "/source_info/photo_images/1".to_owned(),
        media: post.media[1].id,
    };
    assert!(json_body(&sent[0]).pointer(&place.pointer).is_some());
    assert_eq!(sent[0].media_urls, [place]);
    assert_eq!(reconcile(&post, &at, start(), Vec::new()).await, Reconciled::Unknown);

    let mut post = pull_post(PostMode::Draft);
    post.media[0].origin = MediaOrigin::Hosted;
    let (_, sent) = step(
        &post,
        None,
        start(),
        vec![answer("inbox.init_pull", 200, fixture("init_pull"))],
    )
    .await;
    assert_eq!(sent[0].media_urls[0].pointer, "/source_info/video_url");
    assert_eq!(json_body(&sent[0])["source_info"]["video_url"], "");
}

#[tokio::test]
async fn a_plain_refusal_of_a_pull_is_settled() {
    let post = pull_post(PostMode::Direct);
    let at = ready(&post).await;
    for (reply, kind) in [
        (
            refused("video.init_pull", 403, "url_ownership_unverified"),
            ErrorKind::InvalidRequest,
        ),
        (
            refused("video.init_pull", 429, "rate_limit_exceeded"),
            ErrorKind::RateLimited,
        ),
        (
            refused("video.init_pull", 401, "access_token_invalid"),
            ErrorKind::ReauthRequired,
        ),
        (
            refused("video.init_pull", 400, "invalid_param"),
            ErrorKind::InvalidRequest,
        ),
        (Reply::NotSent("video.init_pull"), ErrorKind::Retryable),
    ] {
        assert_eq!(
            step(&post, Some(&at), start(), vec![reply]).await.0.unwrap_err().kind,
            kind
        );
    }
}

#[tokio::test]
async fn a_failed_pull_is_tried_again_and_not_for_ever() {
    let post = pull_post(PostMode::Draft);
    let mut at = None;
    for attempt in 0..3 {
        let reply = vec![answer("inbox.init_pull", 200, fixture("init_pull"))];
        let (processing, _) = continues(step(&post, at.as_ref(), start(), reply).await.0);
        let failed = status(json!({ "status": "FAILED", "fail_reason": "video_pull_failed" }));
        let (result, _) = step(&post, Some(&processing), start(), vec![failed]).await;
        if attempt == 2 {
            let error = result.unwrap_err();
            assert_eq!(
                (error.kind, error.code.as_ref()),
                (ErrorKind::Permanent, "video_pull_failed")
            );
        } else {
            at = Some(continues(result).0);
        }
    }
}

#[tokio::test]
async fn a_download_can_be_cancelled_while_it_lasts() {
    let post = pull_post(PostMode::Draft);
    let reply = vec![answer("inbox.init_pull", 200, fixture("init_pull"))];
    let (at, _) = continues(step(&post, None, start(), reply).await.0);
    let cancelled = async |reply: Reply| cancel(&post, Some(&at), vec![reply]).await;
    let done = answer(
        "post.cancel",
        200,
        r#"{"error":{"code":"ok","message":"","log_id":"x"}}"#,
    );
    assert_eq!(cancelled(done).await.unwrap(), Cancelled::Requested);
    let late = refused("post.cancel", 400, "publish_not_cancellable");
    assert_eq!(cancelled(late).await.unwrap(), Cancelled::TooLate);
    let dead = refused("post.cancel", 401, "access_token_invalid");
    assert_eq!(cancelled(dead).await.unwrap_err().kind, ErrorKind::ReauthRequired);

    let cancelled = status(json!({ "status": "FAILED", "fail_reason": "publish_cancelled" }));
    let error = step(&post, Some(&at), start(), vec![cancelled]).await.0.unwrap_err();
    assert_eq!(
        (error.kind, error.code.as_ref()),
        (ErrorKind::Permanent, "publish_cancelled")
    );
}
