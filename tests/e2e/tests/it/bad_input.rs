//! What is refused, how it says so, and that nothing has happened then.

use patchbay_app::model::KeyScope;
use patchbay_core::TenantId;
use patchbay_simulator_tiktok::Account;
use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::{POSTS, Setup, World, draft_pull, media, pull_post, raw, send, video_post};

#[track_caller]
fn names(problem: &Value, pointer: &str, code: &str) {
    let errors = problem["errors"]
        .as_array()
        .unwrap_or_else(|| panic!("no fields: {problem}"));
    assert!(
        errors
            .iter()
            .any(|error| error["pointer"] == pointer && error["code"] == code),
        "wanted {code} at {pointer}: {problem}"
    );
    assert!(
        errors
            .iter()
            .all(|error| !error["message"].as_str().unwrap().is_empty())
    );
}

/// One database knows such years, and the other does not.
#[tokio::test]
async fn years_have_four_digits() {
    let world = World::new().await;
    let account = world.connect().await;
    for time in ["-100000-01-01T00:00:00Z", "+12000-01-01T00:00:00Z"] {
        let mut wanted = pull_post(&account);
        wanted["scheduled_at"] = json!(time);
        let problem = world.api.post(POSTS, &wanted).await.problem(422, "invalid");
        assert_eq!(problem["errors"][0]["pointer"], "/scheduled_at", "{problem}");
        let replay = json!({ "from": time });
        world
            .api
            .post("/api/dead-letters/replay", &replay)
            .await
            .problem(422, "invalid");
        let query = time.replace('+', "%2B");
        world
            .api
            .get(&format!("/api/dead-letters?to={query}"))
            .await
            .problem(422, "invalid");
    }
}

#[tokio::test]
async fn an_unknown_provider_is_404_on_every_path_that_names_one() {
    let world = World::new().await;
    for name in ["instagram", "TikTok", "..", "tiktok%00", "x".repeat(300).as_str()] {
        for path in ["", "/status", "/accounts", "/posts", "/authorize", "/accounts/acc_1"] {
            // That is the list of all platforms' posts.
            if (name, path) == ("..", "/posts") {
                continue;
            }
            let reply = world.api.get(&format!("/api/platforms/{name}{path}")).await;
            if name == ".." {
                assert_eq!(reply.status, 404, "{path}");
            } else {
                reply.problem(404, "provider_unknown");
            }
        }
    }
    world
        .api
        .post("/api/webhooks/instagram", &json!({}))
        .await
        .problem(404, "provider_unknown");
    world
        .api
        .post("/api/instagram/upload", &json!({}))
        .await
        .problem(404, "provider_unknown");
    world
        .api
        .get("/api/auth/instagram")
        .await
        .problem(404, "provider_unknown");
    world
        .api
        .get("/api/nothing/here/at/all")
        .await
        .problem(404, "not_found");
    world
        .api
        .delete("/api/platforms")
        .await
        .problem(405, "method_not_allowed");
}

#[tokio::test]
async fn a_wrong_field_is_named_and_the_platform_is_not_asked() {
    let world = World::new().await;
    let account = world.connect().await;
    let video = world.video().await;
    let png = world.upload(media::png()).await;
    let asked_before = world.sim.journal().calls().len();
    let with = |change: &dyn Fn(&mut Value)| {
        let mut post = video_post(&account, &video);
        change(&mut post);
        post
    };
    type Change<'a> = (&'a str, &'a str, &'a dyn Fn(&mut Value));
    let long = "😀".repeat(1101);
    let cases: [Change<'_>; 15] = [
        ("/options/privacy_level", "choice", &|post| {
            post["options"]["privacy_level"] = json!("EVERYBODY");
        }),
        ("/options/privacy_level", "required", &|post| {
            post["options"] = json!({});
        }),
        ("/options/disable_duet", "type", &|post| {
            post["options"]["disable_duet"] = json!("yes");
        }),
        ("/options/video_cover_timestamp_ms", "range", &|post| {
            post["options"]["video_cover_timestamp_ms"] = json!(-1);
        }),
        ("/options/video_cover_timestamp_ms", "range", &|post| {
            post["options"]["video_cover_timestamp_ms"] = json!(5000);
        }),
        ("/options/no_such", "unknown_option", &|post| {
            post["options"]["no_such"] = json!(1);
        }),
        ("/options/privacy_level", "branded_private", &|post| {
            post["options"] = json!({ "privacy_level": "SELF_ONLY", "brand_content_toggle": true });
        }),
        ("/title", "too_long", &|post| post["title"] = json!(long)),
        ("/text", "one_caption", &|post| post["text"] = json!("a second caption")),
        ("/media/0", "format", &|post| post["media"] = json!([{ "id": png }])),
        ("/media/0", "media", &|post| post["media"] = json!([{}])),
        ("/media/0/id", "unknown_media", &|post| {
            post["media"] = json!([{ "id": "med_nothing" }]);
        }),
        ("/media", "count", &|post| post["media"] = json!([])),
        ("/media/0", "url", &|post| {
            post["media"] = json!([{ "url": "http://media.patchbay.example/video.mp4" }]);
        }),
        ("/media/0", "url", &|post| {
            post["media"] = json!([{ "url": "https://127.0.0.1/video.mp4" }]);
        }),
    ];
    for (pointer, code, change) in cases {
        let wanted = with(change);
        let problem = world.api.post(POSTS, &wanted).await.problem(422, "invalid");
        names(&problem, pointer, code);
        assert_eq!(problem["who_acts"], "caller");
    }
    let drafted = with(&|post| post["mode"] = json!("draft"));
    names(
        &world.api.post(POSTS, &drafted).await.problem(422, "invalid"),
        "/options/privacy_level",
        "unknown_option",
    );
    world.drain().await;
    assert_eq!(
        world.sim.journal().calls().len(),
        asked_before,
        "no call reached the platform"
    );
}

#[tokio::test]
async fn what_the_account_does_not_offer_is_refused_before_any_init() {
    let world = World::new().await;
    let quiet = world.connect_as(&world.api, "quinn_quiet").await;
    let private = world.connect_as(&world.api, "pia_private").await;
    let short = Account {
        max_video_post_duration_sec: 0,
        ..Account::named("sara_short", "Sara")
    };
    world.sim.put_account(short);
    let short = world.connect_as(&world.api, "sara_short").await;
    let video = world.video().await;

    let refused = world
        .api
        .post(POSTS, &video_post(&private, &video))
        .await
        .problem(422, "invalid");
    names(&refused, "/options/privacy_level", "not_allowed_for_account");
    let mut wanted = video_post(&quiet, &video);
    wanted["options"]["disable_comment"] = json!(false);
    let refused = world.api.post(POSTS, &wanted).await.problem(422, "invalid");
    names(&refused, "/options/disable_comment", "forced_by_account");
    let refused = world
        .api
        .post(POSTS, &video_post(&short, &video))
        .await
        .problem(422, "invalid");
    names(&refused, "/media/0", "too_long");
    world.drain().await;
    assert_eq!(world.inits(), 0);
}

#[tokio::test]
async fn what_is_no_media_file_is_refused_by_its_content() {
    let world = World::new().await;
    let whole = media::video();
    let truncated = whole.slice(..whole.len() / 2);
    let files: [(&str, bytes::Bytes); 6] = [
        ("a page", "<!doctype html><script>alert(1)</script>".into()),
        ("a drawing", "<svg xmlns='http://www.w3.org/2000/svg'/>".into()),
        ("half a video", truncated),
        ("a video without its index", whole.slice(..40)),
        ("text", "Dear diary".into()),
        ("nothing", bytes::Bytes::new()),
    ];
    for (what, bytes) in files {
        let request = world
            .api
            .request(Method::POST, "/api/media")
            .header("content-type", "video/mp4")
            .body(bytes);
        let problem = send(request).await.problem(422, "invalid");
        assert!(!problem["detail"].as_str().unwrap().is_empty(), "{what}");
    }
    assert_eq!(world.number("SELECT count(*) FROM media").await, 0);
    let left: Vec<_> = std::fs::read_dir(world.folder.path().join("media/incoming"))
        .unwrap()
        .collect();
    assert!(left.is_empty(), "nothing stays behind");
}

#[tokio::test]
async fn an_upload_over_the_cap_is_cut_off_whatever_it_declares() {
    let world = Setup::default()
        .set("PATCHBAY__SERVER__MAX_UPLOAD_BYTES", "1000000")
        .build()
        .await;
    let request = world
        .api
        .request(Method::POST, "/api/media")
        .body(media::padded(1_000_001));
    send(request).await.problem(413, "too_large");
    let head = format!(
        "POST /api/media HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\nContent-Type: video/mp4\r\n",
        world.api.key.as_ref().unwrap()
    );
    let (status, _) = raw::endless(&world.api.base, &head, &[0; 65_536], 64).await;
    assert_eq!(status, 413);
    let exact = world.upload(media::padded(1_000_000)).await;
    assert_eq!(
        world.api.get(&format!("/api/media/{exact}")).await.ok()["size_bytes"],
        1_000_000
    );
    let left: Vec<_> = std::fs::read_dir(world.folder.path().join("media/incoming"))
        .unwrap()
        .collect();
    assert!(left.is_empty(), "nothing stays behind");
}

#[tokio::test]
async fn a_tenant_cannot_keep_more_than_its_room() {
    let size = media::video().len();
    let world = Setup::default()
        .set("PATCHBAY__STORAGE__MEDIA_QUOTA_BYTES", (size + 10).to_string())
        .build()
        .await;
    world.video().await;
    let request = world.api.request(Method::POST, "/api/media").body(media::video());
    send(request).await.problem(507, "storage_full");
    let other = world.tenant("other").await;
    send(other.request(Method::POST, "/api/media").body(media::video()))
        .await
        .with(201);
}

#[tokio::test]
async fn bodies_have_a_size_a_type_and_known_fields() {
    let world = World::new().await;
    let account = world.connect().await;
    let json_of = |text: String| {
        world
            .api
            .request(Method::POST, POSTS)
            .header("content-type", "application/json")
            .body(text)
    };
    let padded = format!("{{\"title\": \"{}\"}}", "x".repeat(256 * 1024));
    send(json_of(padded)).await.problem(413, "too_large");
    send(json_of("{".to_owned())).await.problem(400, "bad_request");
    send(json_of("[".repeat(10_000))).await.problem(400, "bad_request");
    send(json_of("{\"title\": \"\\u0000\"}".to_owned()))
        .await
        .problem(422, "invalid");
    let untyped = world
        .api
        .request(Method::POST, POSTS)
        .body(draft_pull(&account).to_string());
    send(untyped).await.problem(415, "unsupported_media_type");
    for encoding in ["gzip", "br", "zstd", "deflate", "gzip, identity"] {
        let request = world
            .api
            .request(Method::POST, POSTS)
            .header("content-encoding", encoding)
            .json(&json!({}));
        send(request).await.problem(415, "unsupported_media_type");
        let request = world
            .api
            .request(Method::POST, "/api/media")
            .header("content-encoding", encoding)
            .body("x");
        send(request).await.problem(415, "unsupported_media_type");
    }
    // T18: nothing of ours can be set from outside.
    for field in ["tenant_id", "status", "token_version", "id", "remote_ref"] {
        let mut wanted = draft_pull(&account);
        wanted[field] = json!("x");
        world.api.post(POSTS, &wanted).await.problem(422, "invalid");
    }
    let session = "/api/platforms/tiktok/connect-sessions";
    world
        .api
        .post(session, &json!({ "owner": "a", "tenant": "b" }))
        .await
        .problem(422, "invalid");
    world
        .api
        .post(session, &json!({ "owner": "" }))
        .await
        .problem(422, "invalid");
    world
        .api
        .post("/api/platforms/tiktok/disconnect", &json!({ "all": true }))
        .await
        .problem(422, "invalid");
    assert_eq!(world.number("SELECT count(*) FROM posts").await, 0);
}

#[tokio::test]
async fn a_key_is_needed_live_whole_and_allowed() {
    let world = World::new().await;
    let account = world.connect().await;
    let good = world.api.key.clone().unwrap();
    for bad in [
        None,
        Some(String::new()),
        Some("nonsense".to_owned()),
        Some(good[..good.len() - 1].to_owned()),
        Some(format!("{good}x")),
    ] {
        let reply = world.api.with_key(bad).get("/api/platforms").await;
        reply.problem(401, "unauthorized");
        assert_eq!(reply.header("www-authenticate"), Some("Bearer realm=\"patchbay\""));
    }
    let basic = world
        .api
        .with_key(None)
        .request(Method::GET, "/api/platforms")
        .basic_auth("a", Some(&good));
    send(basic).await.problem(401, "unauthorized");
    // T75: a key does what its scopes say.
    let reader = world
        .api
        .with_key(Some(world.make_key(TenantId::DEFAULT, &[KeyScope::Read]).await));
    reader
        .get(&format!("/api/platforms/tiktok/accounts/{account}"))
        .await
        .ok();
    reader.post(POSTS, &pull_post(&account)).await.problem(403, "forbidden");
    reader
        .post("/api/platforms/tiktok/disconnect", &json!({}))
        .await
        .problem(403, "forbidden");
    reader
        .get("/api/platforms/tiktok/authorize")
        .await
        .problem(403, "forbidden");
    send(reader.request(Method::POST, "/api/media").body(media::video()))
        .await
        .problem(403, "forbidden");
    let writer = world
        .api
        .with_key(Some(world.make_key(TenantId::DEFAULT, &[KeyScope::Publish]).await));
    writer.get("/api/events").await.problem(403, "forbidden");
}

#[tokio::test]
async fn lists_take_only_their_own_cursors() {
    let world = World::new().await;
    let account = world.connect().await;
    for _ in 0..3 {
        world.post(&draft_pull(&account)).await;
    }
    let first = world.api.get(&format!("{POSTS}?limit=2")).await.ok();
    assert_eq!(first["data"].as_array().unwrap().len(), 2);
    let cursor = first["next_cursor"].as_str().unwrap();
    let rest = world.api.get(&format!("{POSTS}?limit=2&cursor={cursor}")).await.ok();
    assert_eq!(
        (rest["data"].as_array().unwrap().len(), &rest["next_cursor"]),
        (1, &Value::Null)
    );
    // T17: bound to tenant and list.
    let other = world.tenant("other").await;
    other
        .get(&format!("{POSTS}?cursor={cursor}"))
        .await
        .problem(400, "cursor_invalid");
    world
        .api
        .get(&format!("/api/events?cursor={cursor}"))
        .await
        .problem(400, "cursor_invalid");
    world
        .api
        .get(&format!("{POSTS}?cursor={}x", &cursor[..cursor.len() - 1]))
        .await
        .problem(400, "cursor_invalid");
    for limit in ["0", "101", "-1", "many"] {
        world
            .api
            .get(&format!("{POSTS}?limit={limit}"))
            .await
            .problem(400, "bad_request");
    }
    world
        .api
        .get(&format!("{POSTS}?status=nothing"))
        .await
        .problem(400, "bad_request");
}

#[tokio::test]
async fn a_request_id_is_taken_when_it_is_plain_and_made_when_not() {
    let world = World::new().await;
    let with = |id: &str| {
        send(
            world
                .api
                .request(Method::GET, "/api/platforms/none")
                .header("x-request-id", id),
        )
    };
    assert_eq!(
        with("order-7").await.problem(404, "provider_unknown")["request_id"],
        "order-7"
    );
    for bad in ["two words", "<b>", &"x".repeat(65)] {
        let made = with(bad).await.problem(404, "provider_unknown")["request_id"]
            .as_str()
            .unwrap()
            .to_owned();
        assert!(made.starts_with("req_"), "{made}");
    }
}
