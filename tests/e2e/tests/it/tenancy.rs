//! T16: another tenant's things look exactly like things that do not exist, on every operation that takes an id.

use std::collections::BTreeSet;

use patchbay_app::model::{AuditAction, By};
use patchbay_core::{AccountId, DeliveryId, EndpointId, ErasureId, JobId, MediaId, PostId, SessionId};
use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::{Api, POSTS, Reply, World, draft_pull, id_of, pull_post, send, video_post};

/// One operation, with an id in the place of the brace.
struct Case {
    method: &'static str,
    /// As in the OpenAPI document; `None` for ids in bodies and queries.
    documented: Option<&'static str>,
    path: String,
    body: Option<Value>,
}

#[tokio::test]
async fn t16_a_foreign_id_is_as_unknown_as_one_that_never_was() {
    let world = World::new().await;
    let account = world.connect().await;
    let media = world.video().await;
    let post = world.post(&pull_post(&account)).await;
    let publish_id = world.published(&post).await["remote_ref"].as_str().unwrap().to_owned();
    world.deliver("no json").await.ok();
    world.work_off().await;
    let dead = world.api.get("/api/dead-letters").await.ok()["data"][0]["id"]
        .as_str()
        .unwrap()
        .to_owned();
    let hooks = json!({ "url": "https://hooks.example.com/" });
    let endpoint = id_of(&world.api.post("/api/webhook-endpoints", &hooks).await.with(201));
    let sent = world.api.poke(&format!("/api/webhook-endpoints/{endpoint}/test")).await;
    let delivery = id_of(&sent.with(202));
    let gone = world.connect_as(&world.api, "quinn_quiet").await;
    let gone = format!("/api/platforms/tiktok/accounts/{gone}");
    let erasure = id_of(&world.api.delete(&gone).await.with(202));
    let wanted = json!({ "owner": "user-42" });
    let session = world.api.post("/api/platforms/tiktok/connect-sessions", &wanted).await;
    let session = id_of(&session.with(201));
    let begun = world.api.request(Method::POST, "/api/media/uploads");
    let begun = send(begun.header("Tus-Resumable", "1.0.0").header("Upload-Length", "5")).await;
    assert_eq!(begun.status, 201);
    let upload = begun.header("patchbay-media-id").unwrap().to_owned();
    let other = world.tenant("other").await;
    let before = (world.sim.journal().calls().len(), snapshot(&world).await);

    let env = &world.app().env;
    let never = Ids {
        account: AccountId::from_uuid(env.ids.next()).to_string(),
        media: MediaId::from_uuid(env.ids.next()).to_string(),
        post: PostId::from_uuid(env.ids.next()).to_string(),
        dead: JobId::from_uuid(env.ids.next()).to_string(),
        publish_id: "v_pub_url~v2.7400000000000000000".to_owned(),
        endpoint: EndpointId::from_uuid(env.ids.next()).to_string(),
        delivery: DeliveryId::from_uuid(env.ids.next()).to_string(),
        erasure: ErasureId::from_uuid(env.ids.next()).to_string(),
        session: SessionId::from_uuid(env.ids.next()).to_string(),
        upload: MediaId::from_uuid(env.ids.next()).to_string(),
    };
    let foreign = Ids {
        account,
        media,
        post,
        dead,
        publish_id,
        endpoint,
        delivery,
        erasure,
        session,
        upload,
    };
    let (foreign_cases, unknown_cases) = (cases(&foreign), cases(&never));
    let mut covered = BTreeSet::new();
    for (foreign, unknown) in foreign_cases.iter().zip(&unknown_cases) {
        let (seen, expected) = (call(&other, foreign).await, call(&other, unknown).await);
        assert_eq!(
            anonymous(&seen),
            anonymous(&expected),
            "{} {}",
            foreign.method,
            foreign.path
        );
        if let Some(path) = foreign.documented {
            assert_eq!(seen.status, 404, "{} {}", foreign.method, foreign.path);
            covered.insert((foreign.method, path));
        }
    }
    // Whoever adds an operation with an id adds it here too.
    let document = serde_json::to_value(patchbay_server::api::openapi()).unwrap();
    for (path, methods) in document["paths"].as_object().unwrap() {
        // Of the operator, whose key is none of a tenant's (`tenants.rs`, `operator.rs`).
        let is_operators = path.starts_with("/api/tenants/") || path.starts_with("/api/operator/");
        if is_operators || !path.contains("{id}") && !path.contains("{publish_id}") {
            continue;
        }
        for method in methods.as_object().unwrap().keys() {
            assert!(
                covered.iter().any(|(m, p)| m.eq_ignore_ascii_case(method) && p == path),
                "{method} {path} is not looked at here"
            );
        }
    }
    let after = (world.sim.journal().calls().len(), snapshot(&world).await);
    assert_eq!(before, after, "no call, no write");
}

struct Ids {
    account: String,
    media: String,
    post: String,
    dead: String,
    publish_id: String,
    endpoint: String,
    delivery: String,
    erasure: String,
    session: String,
    upload: String,
}

fn cases(ids: &Ids) -> Vec<Case> {
    const ACCOUNT: &str = "/api/platforms/{provider}/accounts/{id}";
    const POST: &str = "/api/platforms/{provider}/posts/{id}";
    let of = |method, documented: &'static str, path: String| Case {
        method,
        documented: Some(documented),
        path,
        body: None,
    };
    let sent = |path: &str, body: Value| Case {
        method: "POST",
        documented: None,
        path: path.to_owned(),
        body: Some(body),
    };
    let Ids {
        account,
        media,
        post,
        dead,
        publish_id,
        endpoint,
        delivery,
        erasure,
        session,
        upload,
    } = ids;
    let hooks = format!("/api/webhook-endpoints/{endpoint}");
    let told = |method, documented, path, body| Case {
        body: Some(body),
        ..of(method, documented, path)
    };
    let accounts = format!("/api/platforms/tiktok/accounts/{account}");
    let posts = format!("{POSTS}/{post}");
    const SESSION: &str = "/api/platforms/{provider}/connect-sessions/{id}";
    let sessions = format!("/api/platforms/tiktok/connect-sessions/{session}");
    const IMPORT: &str = "/api/media/imports/{id}";
    const UPLOAD: &str = "/api/media/uploads/{id}";
    let uploads = format!("/api/media/uploads/{upload}");
    vec![
        of("HEAD", UPLOAD, uploads.clone()),
        of("PATCH", UPLOAD, uploads.clone()),
        of("PUT", UPLOAD, uploads.clone()),
        of("POST", UPLOAD, uploads.clone()),
        of("DELETE", UPLOAD, uploads.clone()),
        of("GET", "/api/media/{id}/content", format!("/api/media/{media}/content")),
        of("GET", SESSION, sessions.clone()),
        of("DELETE", SESSION, sessions.clone()),
        told(
            "POST",
            "/api/platforms/{provider}/connect-sessions/{id}/complete",
            format!("{sessions}/complete"),
            json!({ "code": "x" }),
        ),
        of("GET", ACCOUNT, accounts.clone()),
        of("DELETE", ACCOUNT, accounts.clone()),
        of("GET", "/api/erasures/{id}", format!("/api/erasures/{erasure}")),
        Case {
            method: "DELETE",
            documented: None,
            path: "/api/owners/default".to_owned(),
            body: None,
        },
        of(
            "GET",
            "/api/platforms/{provider}/accounts/{id}/publish-options",
            format!("{accounts}/publish-options"),
        ),
        of(
            "GET",
            "/api/platforms/{provider}/accounts/{id}/statistics",
            format!("{accounts}/statistics"),
        ),
        of(
            "GET",
            "/api/platforms/{provider}/accounts/{id}/health",
            format!("{accounts}/health"),
        ),
        of(
            "GET",
            "/api/platforms/{provider}/accounts/{id}/avatar",
            format!("{accounts}/avatar"),
        ),
        of("GET", POST, posts.clone()),
        of("DELETE", POST, posts.clone()),
        Case {
            body: Some(json!({ "title": "Another" })),
            ..of("PATCH", POST, posts.clone())
        },
        of(
            "POST",
            "/api/platforms/{provider}/posts/{id}/retry",
            format!("{posts}/retry"),
        ),
        Case {
            body: Some(json!({})),
            ..of(
                "POST",
                "/api/platforms/{provider}/posts/{id}/publish",
                format!("{posts}/publish"),
            )
        },
        of("GET", "/api/posts/{id}/metrics", format!("/api/posts/{post}/metrics")),
        of(
            "GET",
            "/api/platforms/{provider}/posts/{id}/metrics",
            format!("{posts}/metrics"),
        ),
        of(
            "GET",
            "/api/platforms/{provider}/posts/{id}/journal",
            format!("{posts}/journal"),
        ),
        of(
            "GET",
            "/api/platforms/{provider}/posts/{id}/updates",
            format!("{posts}/updates"),
        ),
        of("GET", IMPORT, format!("/api/media/imports/{upload}")),
        of("DELETE", IMPORT, format!("/api/media/imports/{upload}")),
        of("GET", "/api/media/{id}", format!("/api/media/{media}")),
        of(
            "GET",
            "/api/{provider}/status/{publish_id}",
            format!("/api/tiktok/status/{publish_id}"),
        ),
        of(
            "GET",
            "/api/{provider}/status/{publish_id}",
            format!("/api/tiktok/status/{post}"),
        ),
        of(
            "POST",
            "/api/dead-letters/{id}/replay",
            format!("/api/dead-letters/{dead}/replay"),
        ),
        of("GET", "/api/webhook-endpoints/{id}", hooks.clone()),
        of("DELETE", "/api/webhook-endpoints/{id}", hooks.clone()),
        told(
            "PATCH",
            "/api/webhook-endpoints/{id}",
            hooks.clone(),
            json!({ "enabled": false }),
        ),
        of(
            "POST",
            "/api/webhook-endpoints/{id}/rotate-secret",
            format!("{hooks}/rotate-secret"),
        ),
        of("POST", "/api/webhook-endpoints/{id}/test", format!("{hooks}/test")),
        of(
            "GET",
            "/api/webhook-endpoints/{id}/deliveries",
            format!("{hooks}/deliveries"),
        ),
        told(
            "POST",
            "/api/webhook-endpoints/{id}/redeliver",
            format!("{hooks}/redeliver"),
            json!({}),
        ),
        of(
            "POST",
            "/api/webhook-endpoints/{id}/deliveries/{delivery}/redeliver",
            format!("{hooks}/deliveries/{delivery}/redeliver"),
        ),
        sent(POSTS, video_post(account, media)),
        sent(POSTS, draft_pull(account)),
        sent("/api/platforms/tiktok/posts:validate", video_post(account, media)),
        sent(
            "/api/posts",
            json!({ "kind": "video", "media": [{ "id": media }], "targets": [{ "account_id": account }] }),
        ),
        sent("/api/platforms/tiktok/disconnect", json!({ "account_id": account })),
        sent(
            "/api/tiktok/upload",
            json!({ "source": "FILE_UPLOAD", "mediaId": media }),
        ),
        Case {
            method: "GET",
            documented: None,
            path: format!("/api/events?post_id={post}"),
            body: None,
        },
        Case {
            method: "GET",
            documented: None,
            path: format!("/api/events?account_id={account}"),
            body: None,
        },
        Case {
            method: "GET",
            documented: None,
            path: format!("{POSTS}?account_id={account}"),
            body: None,
        },
    ]
}

async fn call(api: &Api, case: &Case) -> Reply {
    let request = api.request(Method::from_bytes(case.method.as_bytes()).unwrap(), &case.path);
    send(match &case.body {
        Some(body) => request.json(body),
        // What resumable uploads need; the others pass it over.
        None if case.path.starts_with("/api/media/uploads/") => request
            .header("Tus-Resumable", "1.0.0")
            .header("Upload-Offset", "0")
            .header("X-HTTP-Method-Override", "PATCH")
            .header("Content-Type", "application/offset+octet-stream"),
        None => request,
    })
    .await
}

/// Status and body, without what differs between any two requests.
fn anonymous(reply: &Reply) -> (u16, Value) {
    // An answer to HEAD has none.
    let mut body: Value = serde_json::from_str(&reply.text).unwrap_or_default();
    if let Some(fields) = body.as_object_mut() {
        fields.remove("request_id");
    }
    (reply.status, body)
}

async fn snapshot(world: &World) -> Vec<i64> {
    let mut counts = Vec::new();
    for query in [
        "SELECT count(*) FROM posts",
        "SELECT count(*) FROM events",
        "SELECT count(*) FROM jobs",
        "SELECT count(*) FROM accounts WHERE status = 'active'",
        "SELECT count(*) FROM media",
        "SELECT count(*) FROM slots",
        "SELECT count(*) FROM webhook_endpoints WHERE status = 'enabled' AND secret_version = 1",
        "SELECT count(*) FROM deliveries WHERE status = 'pending'",
        "SELECT count(*) FROM erasures",
        "SELECT count(*) FROM audit",
    ] {
        counts.push(world.number(query).await);
    }
    counts
}

#[tokio::test]
async fn lists_show_only_their_tenants_things() {
    let world = World::new().await;
    let account = world.connect().await;
    let post = world.post(&pull_post(&account)).await;
    world.published(&post).await;
    let other = world.tenant("other").await;
    for path in ["/api/platforms/tiktok/accounts", POSTS, "/api/events"] {
        assert_eq!(other.get(path).await.ok()["data"], json!([]), "{path}");
        assert_ne!(world.api.get(path).await.ok()["data"], json!([]), "{path}");
    }
    assert_eq!(other.get("/api/platforms/tiktok/status").await.ok()["connected"], false);
    other
        .poke("/api/platforms/tiktok/disconnect")
        .await
        .problem(404, "not_found");
}

#[tokio::test]
async fn t74_a_revoked_key_is_dead() {
    let world = World::new().await;
    let other = world.tenant("other").await;
    other.get("/api/platforms").await.ok();
    let public_id = other.key.as_ref().unwrap()["pb_live_".len()..]
        .split('_')
        .next()
        .unwrap()
        .to_owned();
    let store = &world.app().store;
    let key = store.api_key(&public_id).await.unwrap().unwrap();
    let env = &world.app().env;
    let audit = By::cli(env).did(env, AuditAction::KeyRevoked, key.tenant).to(&key.id);
    assert!(store.revoke_api_key(key.tenant, key.id, &audit).await.unwrap());
    // Other hosts believe a key for at most five seconds; this one is told.
    world.serving.host.gate.forget(key.id);
    other.get("/api/platforms").await.problem(401, "unauthorized");
}
