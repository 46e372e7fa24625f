//! The road of a post, each step by itself.

use patchbay_core::{
    Auth, Body, ByteRange, Checkpoint, Count, Ctx, ErrorKind, Metric, Progress, Publication, Reconciled,
};
use serde_json::{Value, json};

use crate::support::{
    DID, Reply, Script, account, address, app, bluesky, continues, image_post, json_body, ok, reconcile, refused,
    start, step, text_post, video_post, with_option,
};

fn blob(n: u32) -> Value {
    json!({
        "$type": "blob",
        "ref": { "$link": format!("bafkreih{n}") },
        "mimeType": "image/png",
        "size": 1_000 + n,
    })
}

fn uploaded(n: u32) -> Reply {
    ok("blob.upload", json!({ "blob": blob(n) }))
}

fn uri(rkey: &str) -> String {
    format!("at://{DID}/app.bsky.feed.post/{rkey}")
}

fn put() -> Reply {
    ok(
        "record.put",
        json!({ "uri": uri("x"), "cid": "bafy", "validationStatus": "valid" }),
    )
}

fn rkey(at: &Checkpoint) -> &str {
    at.state["rkey"].as_str().unwrap()
}

#[track_caller]
fn is_published(progress: Progress, at: &Checkpoint) {
    let Progress::Published {
        publication: Publication { remote_ids, url },
        follow_up: None,
    } = progress
    else {
        panic!("{progress:?}")
    };
    assert_eq!(remote_ids, [uri(rkey(at))]);
    assert_eq!(
        url.unwrap().as_str(),
        format!("https://bsky.app/profile/{DID}/post/{}", rkey(at))
    );
}

#[tokio::test]
async fn a_text_becomes_a_record_with_facets() {
    let post = with_option(
        text_post("Grüße @bob.test, @no.test: https://example.com #hi"),
        "languages",
        "de, en",
    );
    let replies = vec![
        ok("handle.resolve", json!({ "did": "did:plc:bbbbbbbbbbbbbbbbbbbbbbbb" })),
        refused("handle.resolve", 400, "InvalidRequest"),
    ];
    let (begun, sent) = step(&post, None, replies).await;
    let at = continues(begun);
    assert_eq!(
        address(&sent[0]),
        "https://pds.example.com/xrpc/com.atproto.identity.resolveHandle"
    );
    let (result, sent) = step(&post, Some(&at), vec![put()]).await;
    is_published(result.unwrap(), &at);
    assert_eq!(sent[0].auth, Auth::AccountBearer);
    let facet = |start: u32, end: u32, feature: Value| json!({ "index": { "byteStart": start, "byteEnd": end }, "features": [feature] });
    let expected = json!({
        "repo": DID,
        "collection": "app.bsky.feed.post",
        "rkey": rkey(&at),
        "swapRecord": null,
        "record": {
            "$type": "app.bsky.feed.post",
            "text": "Grüße @bob.test, @no.test: https://example.com #hi",
            "createdAt": "2026-09-21T14:13:20.000Z",
            "langs": ["de", "en"],
            "facets": [
                facet(8, 17, json!({ "$type": "app.bsky.richtext.facet#mention",
                                     "did": "did:plc:bbbbbbbbbbbbbbbbbbbbbbbb" })),
                facet(29, 48, json!({ "$type": "app.bsky.richtext.facet#link", "uri": "https://example.com" })),
                facet(49, 52, json!({ "$type": "app.bsky.richtext.facet#tag", "tag": "hi" })),
            ],
        },
    });
    assert_eq!(json_body(&sent[0]), &expected);
}

#[tokio::test]
async fn pictures_are_sent_one_a_step_and_named_in_order() {
    let post = with_option(image_post(2), "alt_text", "A cat\nA dog");
    let mut at = continues(step(&post, None, Vec::new()).await.0);
    for n in 0..2 {
        assert_eq!(at.phase, "uploading");
        let (result, sent) = step(&post, Some(&at), vec![uploaded(n)]).await;
        let file = &post.media[n as usize];
        let expected = Body::Media {
            media: file.id,
            range: ByteRange {
                start: 0,
                end: file.info.size_bytes.unwrap(),
            },
            content_type: "image/png".into(),
        };
        assert_eq!((&sent[0].body, &sent[0].auth), (&expected, &Auth::AccountBearer));
        at = continues(result);
    }
    assert_eq!((at.phase.as_str(), at.progress.unwrap().done), ("publishing", 2_001));
    let (result, sent) = step(&post, Some(&at), vec![put()]).await;
    is_published(result.unwrap(), &at);
    let ratio = json!({ "width": 800, "height": 600 });
    let expected = json!({
        "$type": "app.bsky.embed.images",
        "images": [
            { "image": blob(0), "alt": "A cat", "aspectRatio": ratio },
            { "image": blob(1), "alt": "A dog", "aspectRatio": ratio },
        ],
    });
    assert_eq!(json_body(&sent[0])["record"]["embed"], expected);
}

#[tokio::test]
async fn a_video_and_a_link_are_embedded() {
    let post = with_option(video_post(), "alt_text", "Waves\nand wind");
    let at = continues(step(&post, None, Vec::new()).await.0);
    let at = continues(step(&post, Some(&at), vec![uploaded(0)]).await.0);
    let (_, sent) = step(&post, Some(&at), vec![put()]).await;
    let expected = json!({
        "$type": "app.bsky.embed.video",
        "video": blob(0),
        "alt": "Waves\nand wind",
        "aspectRatio": { "width": 800, "height": 600 },
    });
    assert_eq!(json_body(&sent[0])["record"]["embed"], expected);

    let post = with_option(text_post("Read this"), "link_url", "https://example.com/a");
    let at = continues(step(&post, None, Vec::new()).await.0);
    let (_, sent) = step(&post, Some(&at), vec![put()]).await;
    let external = json!({ "uri": "https://example.com/a", "title": "example.com", "description": "" });
    let expected = json!({ "$type": "app.bsky.embed.external", "external": external });
    assert_eq!(json_body(&sent[0])["record"]["embed"], expected);
}

#[tokio::test]
async fn a_step_that_runs_again_writes_the_same_under_the_same_key() {
    let post = text_post("Once");
    let at = continues(step(&post, None, Vec::new()).await.0);
    assert_eq!(continues(step(&post, None, Vec::new()).await.0), at);
    let (_, first) = step(&post, Some(&at), vec![Reply::Lost("record.put")]).await;
    let (_, second) = step(&post, Some(&at), vec![put()]).await;
    assert_eq!(first, second);
}

#[tokio::test]
async fn a_lost_answer_is_looked_for_by_the_key() {
    let post = text_post("Once");
    let at = continues(step(&post, None, Vec::new()).await.0);
    for reply in [
        Reply::Lost("record.put"),
        refused("record.put", 500, "InternalServerError"),
        refused("record.put", 400, "InvalidSwap"),
    ] {
        let (result, _) = step(&post, Some(&at), vec![reply]).await;
        assert_eq!(result.unwrap_err().kind, ErrorKind::OutcomeUnknown);
    }
    let found = |created_at: &Value| {
        let value = json!({ "$type": "app.bsky.feed.post", "text": "Once", "createdAt": created_at });
        ok(
            "record.get",
            json!({ "uri": uri(rkey(&at)), "cid": "bafy", "value": value }),
        )
    };
    match reconcile(&post, &at, vec![found(&at.state["created_at"])])
        .await
        .unwrap()
    {
        Reconciled::Happened { progress } => is_published(progress, &at),
        other => panic!("{other:?}"),
    }
    let missing = refused("record.get", 400, "RecordNotFound");
    assert_eq!(
        reconcile(&post, &at, vec![missing]).await.unwrap(),
        Reconciled::DidNotHappen {
            checkpoint: Some(at.clone())
        }
    );
    // Another post's: a new key is chosen.
    let theirs = found(&json!("2020-01-01T00:00:00.000Z"));
    assert_eq!(
        reconcile(&post, &at, vec![theirs]).await.unwrap(),
        Reconciled::DidNotHappen { checkpoint: None }
    );
    for passing in [Reply::Lost("record.get"), refused("record.get", 502, "UpstreamFailure")] {
        assert!(
            reconcile(&post, &at, vec![passing])
                .await
                .unwrap_err()
                .kind
                .retry_helps()
        );
    }
    let gone = refused("record.get", 400, "RepoNotFound");
    assert_eq!(reconcile(&post, &at, vec![gone]).await.unwrap(), Reconciled::Unknown);
}

#[tokio::test]
async fn files_that_the_server_has_dropped_are_sent_again_and_not_for_ever() {
    let post = video_post();
    let mut at = continues(step(&post, None, Vec::new()).await.0);
    let key = rkey(&at).to_owned();
    for _ in 0..2 {
        at = continues(step(&post, Some(&at), vec![uploaded(0)]).await.0);
        let (result, _) = step(&post, Some(&at), vec![refused("record.put", 400, "BlobNotFound")]).await;
        at = continues(result);
        assert_eq!((at.phase.as_str(), rkey(&at)), ("uploading", key.as_str()));
    }
    at = continues(step(&post, Some(&at), vec![uploaded(0)]).await.0);
    let (result, _) = step(&post, Some(&at), vec![refused("record.put", 400, "BlobNotFound")]).await;
    assert_eq!(result.unwrap_err().kind, ErrorKind::InvalidRequest);
}

#[tokio::test]
async fn a_refused_upload_says_what_to_do() {
    let post = video_post();
    let at = continues(step(&post, None, Vec::new()).await.0);
    for (reply, kind) in [
        (
            refused("blob.upload", 413, "PayloadTooLarge"),
            ErrorKind::InvalidRequest,
        ),
        (refused("blob.upload", 400, "ExpiredToken"), ErrorKind::ReauthRequired),
        (refused("blob.upload", 429, "RateLimitExceeded"), ErrorKind::RateLimited),
        (Reply::Lost("blob.upload"), ErrorKind::Retryable),
        (
            ok("blob.upload", json!({ "blob": "x".repeat(9_000) })),
            ErrorKind::Permanent,
        ),
    ] {
        assert_eq!(step(&post, Some(&at), vec![reply]).await.0.unwrap_err().kind, kind);
    }
}

#[tokio::test]
async fn numbers_are_asked_for_twenty_five_posts_at_a_time_and_views_are_not_made_up() {
    let posts: Vec<String> = (0..26).map(|n| format!("at://{DID}/app.bsky.feed.post/{n}")).collect();
    let told = json!({ "posts": [
        { "uri": posts[0], "cid": "bafy", "likeCount": 3, "replyCount": 0, "repostCount": 2, "quoteCount": 1, "indexedAt": "x" },
        { "uri": posts[1], "cid": "bafy" },
        { "uri": "at://did:plc:other/app.bsky.feed.post/1", "likeCount": 9 },
    ] });
    let script = Script::new(vec![ok("posts.get", told), ok("posts.get", json!({ "posts": [] }))]);
    let (app, account) = (app(), account());
    let ctx = Ctx::new(&script, start(), &app, Some(&account));
    let found = bluesky().publisher().unwrap().metrics(&ctx, &posts).await.unwrap();
    let sent = script.finish();
    assert_eq!(
        sent.iter().map(|request| request.query.len()).collect::<Vec<_>>(),
        [25, 1]
    );
    assert!(
        sent.iter()
            .all(|request| address(request) == "https://public.api.bsky.app/xrpc/app.bsky.feed.getPosts")
    );
    assert_eq!(found.len(), 2);
    let counts = [
        (Metric::Likes, 3),
        (Metric::Comments, 0),
        (Metric::Reposts, 2),
        (Metric::Quotes, 1),
    ];
    assert_eq!(
        found[0].counts,
        counts.map(|(metric, count)| (metric, Count::Of(count))).into()
    );
    assert!(found[1].counts.is_empty());
}
