//! What the operator of an installation sees of all tenants, what it does for one, and the browser that it does it in.

use std::time::Duration;

use patchbay_app::model::KeyScope;
use patchbay_core::TenantId;
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

use crate::harness::{
    Api, Database, Reply, Setup, World, draft_pull, id_of, on_postgres, pull_post, receiver::Receiver, send,
};

const SESSION: &str = "/api/operator/session";
const HOOKS: &str = "hooks.example.com";

async fn operator(world: &World) -> Api {
    let key = world.make_key(TenantId::DEFAULT, &[KeyScope::Operator]).await;
    world.api.with_key(Some(key))
}

fn of_tenant(path: &str) -> String {
    format!("/api/operator/tenants/{}/{path}", TenantId::DEFAULT)
}

async fn what_there_is_and_what_was_is_told(database: Database) {
    let receiver = Receiver::start().await;
    let setup = Setup {
        database,
        ..Setup::default()
    };
    let world = setup
        .set("PATCHBAY__EGRESS__SIMULATED_RECEIVERS", receiver.hosts(&[HOOKS]))
        .build()
        .await;
    let operator = operator(&world).await;
    let account = world.connect().await;
    let hooks = json!({ "url": format!("https://{HOOKS}/secret-path?token=1"), "description": "private-label" });
    let endpoint = id_of(&world.api.post("/api/webhook-endpoints", &hooks).await.with(201));
    let mut wanted = pull_post(&account);
    wanted["title"] = json!("private-title");
    let post = world.post(&wanted).await;
    world.published(&post).await;
    world.refuse("video_init", "spam_risk_user_banned_from_posting");
    let mut refused = pull_post(&account);
    refused["title"] = json!("private-title two");
    let refused = world.post(&refused).await;
    world.settled(&refused).await;
    world.deliver("no json").await.ok();
    world.drain().await;
    let open = world
        .post(
            &json!({ "scheduled_at": world.now() + Duration::from_secs(3_600), "title": "later",
        "account_id": account, "kind": "video", "media": wanted["media"], "options": wanted["options"] }),
        )
        .await;

    let overview = operator.get("/api/operator/overview").await.ok();
    assert_eq!(
        overview["accounts"],
        json!({ "pending": 0, "active": 1, "reauth_required": 0, "revoked": 0 })
    );
    let posts = &overview["posts"];
    assert_eq!((&posts["open"], &posts["waiting_for_quota"]), (&json!(1), &json!(0)));
    assert_eq!(
        (&posts["last_day"]["published"], &posts["last_day"]["failed"]),
        (&json!(1), &json!(1))
    );
    assert_eq!(posts["last_day"]["sampled"], false);
    let of_kind = |overview: &Value, kind: &str| {
        let all = overview["work"].as_array().unwrap();
        all.iter().find(|one| one["kind"] == kind).unwrap().clone()
    };
    assert_eq!(of_kind(&overview, "ingest")["dead"], 1);
    let publish = of_kind(&overview, "publish");
    assert_eq!(
        (&publish["due"], &publish["later"], &publish["lag_seconds"]),
        (&json!(0), &json!(1), &Value::Null)
    );
    assert!(
        overview["deliveries"]["delivered_last_day"].as_u64().unwrap() >= 2,
        "{overview}"
    );
    let provider = &overview["providers"][0];
    assert_eq!(
        (&provider["id"], &provider["simulated"]),
        (&json!("tiktok"), &json!(true))
    );

    // A part of it.
    let other = operator
        .post("/api/tenants", &json!({ "name": "acme" }))
        .await
        .with(201);
    let of_other = format!("/api/operator/overview?tenant={}", id_of(&other));
    let nothing = operator.get(&of_other).await.ok();
    assert_eq!(
        (&nothing["accounts"]["active"], &nothing["posts"]["open"]),
        (&json!(0), &json!(0))
    );
    assert_eq!(
        (
            of_kind(&nothing, "ingest")["dead"].clone(),
            &nothing["deliveries"]["pending"]
        ),
        (json!(0), &json!(0))
    );
    let elsewhere = operator.get("/api/operator/overview?provider=other").await.ok();
    assert_eq!(elsewhere["accounts"]["active"], 0);
    let nobody = "/api/operator/overview?tenant=ten_0199f0a2b3c47d8e9f00112233445566";
    operator.get(nobody).await.problem(404, "not_found");
    operator
        .get("/api/operator/overview?provider=No!")
        .await
        .problem(404, "provider_unknown");

    for (period, buckets, seconds) in [("day", 24, 3_600), ("week", 28, 21_600), ("month", 30, 86_400)] {
        let series = operator
            .get(&format!("/api/operator/series?period={period}"))
            .await
            .ok();
        let data = series["data"].as_array().unwrap();
        assert_eq!((data.len(), &series["bucket_seconds"]), (buckets, &json!(seconds)));
        let sum = |pointer: &str| -> u64 {
            data.iter()
                .map(|bucket| bucket.pointer(pointer).unwrap().as_u64().unwrap())
                .sum()
        };
        assert_eq!((sum("/posts/published"), sum("/posts/failed")), (1, 1), "{period}");
        assert!(sum("/webhooks/count") > 0, "{period}");
        let last = &data[buckets - 1];
        assert!(last["from"].as_str().unwrap() <= overview["at"].as_str().unwrap());
    }
    operator
        .get("/api/operator/series?period=year")
        .await
        .problem(400, "bad_request");

    // Each list and item, and nothing in them that is the tenant's alone.
    let mut told = Vec::new();
    for path in [
        "accounts".to_owned(),
        format!("accounts/{account}"),
        "posts".to_owned(),
        "posts?status=failed".to_owned(),
        format!("posts/{post}"),
        format!("posts/{refused}"),
        "events".to_owned(),
        format!("events?post_id={post}"),
        "dead-letters".to_owned(),
        "webhook-endpoints".to_owned(),
        format!("webhook-endpoints/{endpoint}/deliveries"),
    ] {
        told.push(operator.get(&of_tenant(&path)).await.ok());
    }
    let [
        accounts,
        account_alone,
        posts,
        failed,
        timeline,
        of_refused,
        events,
        of_post,
        dead,
        endpoints,
        sent,
    ] = told.as_slice()
    else {
        panic!("{}", told.len());
    };
    assert_eq!(
        (&accounts["data"][0]["id"], &accounts["data"][0]["status"]),
        (&json!(account), &json!("active"))
    );
    assert!(
        account_alone["quotas"]
            .as_array()
            .unwrap()
            .iter()
            .any(|quota| quota["used"].as_u64() > Some(0))
    );
    let ids = |list: &Value| list["data"].as_array().unwrap().iter().map(id_of).collect::<Vec<_>>();
    assert_eq!(ids(posts), [open, refused.clone(), post.clone()]);
    assert_eq!(ids(failed), [refused]);
    assert_eq!(timeline["post"]["status"], "published");
    assert_eq!(timeline["calls"].as_array().unwrap().len(), 1);
    assert_eq!(timeline["events"].as_array().unwrap().len(), ids(of_post).len());
    assert_eq!(
        of_refused["post"]["failure"]["code"],
        "spam_risk_user_banned_from_posting"
    );
    assert!(ids(events).len() > ids(of_post).len());
    assert_eq!(dead["data"][0]["code"], "malformed_webhook");
    assert_eq!(endpoints["data"][0]["origin"], format!("https://{HOOKS}"));
    assert!(
        sent["data"]
            .as_array()
            .unwrap()
            .iter()
            .all(|one| one["status"] == "delivered")
    );
    for private in [
        "private-",
        "secret-path",
        "payload",
        "whsec",
        "avatar",
        "https://media.",
    ] {
        for answer in &told {
            assert!(!answer.to_string().contains(private), "{private}: {answer}");
        }
    }

    // Cursors are bound to tenant and list, and another tenant has none of it.
    let first = operator.get(&of_tenant("events?limit=1")).await.ok();
    let cursor = first["next_cursor"].as_str().unwrap();
    assert_eq!(
        operator
            .get(&of_tenant(&format!("events?limit=1&cursor={cursor}")))
            .await
            .ok()["data"][0],
        events["data"][1]
    );
    operator
        .get(&of_tenant(&format!("posts?cursor={cursor}")))
        .await
        .problem(400, "cursor_invalid");
    for path in [
        format!("posts/{post}"),
        format!("accounts/{account}"),
        format!("webhook-endpoints/{endpoint}/deliveries"),
    ] {
        let there = format!("/api/operator/tenants/{}/{path}", id_of(&other));
        operator.get(&there).await.problem(404, "not_found");
    }
    for list in ["posts?status=x", "accounts?status=x"] {
        operator.get(&of_tenant(list)).await.problem(400, "bad_request");
    }
}

#[tokio::test]
async fn what_there_is_and_what_was_is_told_on_sqlite() {
    what_there_is_and_what_was_is_told(Database::Sqlite).await;
}

#[tokio::test]
async fn what_there_is_and_what_was_is_told_on_postgres() {
    on_postgres(what_there_is_and_what_was_is_told).await;
}

#[tokio::test]
async fn what_was_given_up_is_run_again_for_a_tenant() {
    let receiver = Receiver::start().await;
    let world = Setup::default()
        .set("PATCHBAY__EGRESS__SIMULATED_RECEIVERS", receiver.hosts(&[HOOKS]))
        .build()
        .await;
    let operator = operator(&world).await;
    for text in ["no json", "none either"] {
        assert_eq!(world.deliver(text).await.status, 200);
    }
    world.work_off().await;
    let letters = async || {
        operator.get(&of_tenant("dead-letters")).await.ok()["data"]
            .as_array()
            .unwrap()
            .clone()
    };
    let dead = letters().await;
    assert_eq!(dead.len(), 2);
    let one = of_tenant(&format!("dead-letters/{}/replay", id_of(&dead[0])));
    assert_eq!(operator.poke(&one).await.ok(), json!({ "replayed": 1, "more": false }));
    operator.poke(&one).await.problem(404, "not_found");
    let rest = operator
        .post(&of_tenant("dead-letters/replay"), &json!({ "kind": "ingest" }))
        .await
        .ok();
    assert_eq!(rest, json!({ "replayed": 1, "more": false }));
    world.work_off().await;
    assert_eq!(letters().await.len(), 2, "they are no better now");

    // A delivery that is held, since its endpoint is disabled.
    let hooks = json!({ "url": format!("https://{HOOKS}/") });
    let endpoint = id_of(&world.api.post("/api/webhook-endpoints", &hooks).await.with(201));
    let path = format!("/api/webhook-endpoints/{endpoint}");
    let enable = async |enabled: bool| {
        let change = world
            .api
            .request(Method::PATCH, &path)
            .json(&json!({ "enabled": enabled }));
        send(change).await.ok();
    };
    enable(false).await;
    world.connect().await;
    let list = of_tenant(&format!("webhook-endpoints/{endpoint}/deliveries"));
    let states = async || {
        let list = operator.get(&list).await.ok();
        let all = list["data"].as_array().unwrap().iter();
        all.map(|one| (id_of(one), one["status"].as_str().unwrap().to_owned()))
            .collect::<Vec<_>>()
    };
    let held = states().await;
    assert!(
        !held.is_empty() && held.iter().all(|(_, status)| status == "held"),
        "{held:?}"
    );
    let again = format!("{list}/{}/redeliver", held[0].0);
    let many = of_tenant(&format!("webhook-endpoints/{endpoint}/redeliver"));
    for path in [&again, &many] {
        operator.post(path, &json!({})).await.problem(409, "endpoint_disabled");
    }
    enable(true).await;
    operator.poke(&again).await.with(202);
    world.drain().await;
    assert_eq!(states().await[0].1, "delivered");
    let sent = operator.post(&many, &json!({ "status": "held" })).await.with(202);
    assert_eq!(sent, json!({ "redelivered": held.len() - 1, "more": false }));
    world.drain().await;
    assert!(states().await.iter().all(|(_, status)| status == "delivered"));
}

#[tokio::test]
async fn an_account_that_lost_its_access_is_told() {
    let world = World::new().await;
    let operator = operator(&world).await;
    let account = world.connect().await;
    world.refuse("token", "invalid_grant");
    world.advance(Duration::from_secs(24 * 3_600));
    world.drain().await;
    let lost = operator.get(&of_tenant("accounts?status=reauth_required")).await.ok();
    assert_eq!(lost["data"][0]["id"], account.as_str(), "{lost}");
    assert!(lost["data"][0]["status_code"].is_string());
    assert_eq!(
        operator.get("/api/operator/overview").await.ok()["accounts"]["reauth_required"],
        1
    );
    let series = operator.get("/api/operator/series").await.ok();
    let failures: u64 = series["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|bucket| bucket["refresh"]["reauth_required"].as_u64().unwrap())
        .sum();
    assert_eq!(failures, 1);
}

#[tokio::test]
async fn a_post_that_waits_for_the_platforms_limits_is_counted() {
    let world = World::new().await;
    let operator = operator(&world).await;
    let account = world.connect().await;
    for _ in 0..6 {
        world.post(&draft_pull(&account)).await;
    }
    world.drain().await;
    let overview = operator.get("/api/operator/overview").await.ok();
    assert_eq!(overview["posts"]["waiting_for_quota"], 1, "{overview}");
    let shown = operator.get(&of_tenant(&format!("accounts/{account}"))).await.ok();
    let drafts = shown["quotas"]
        .as_array()
        .unwrap()
        .iter()
        .find(|quota| quota["mode"] == "draft")
        .unwrap();
    assert_eq!(drafts["remaining"], 0, "{shown}");
}

/// The operator's browser.
struct Browser {
    api: Api,
    cookie: String,
    token: String,
}

impl Browser {
    async fn sign_in(world: &World, key: &str) -> Self {
        let reply = signs_in(world, key).await;
        let body = reply.with(201);
        Self {
            api: world.api.with_key(None),
            cookie: reply.cookie(),
            token: body["csrf_token"].as_str().unwrap().to_owned(),
        }
    }

    /// A request as a page of this host makes it.
    fn asks(&self, method: Method, path: &str) -> RequestBuilder {
        self.sends(method, path).header("x-csrf-token", &self.token)
    }

    /// A request with what goes along by itself.
    fn sends(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.api.request(method, path).header("cookie", &self.cookie);
        request.header("sec-fetch-site", "same-origin")
    }

    async fn get(&self, path: &str) -> Reply {
        send(self.asks(Method::GET, path)).await
    }
}

async fn signs_in(world: &World, key: &str) -> Reply {
    world.api.with_key(None).post(SESSION, &json!({ "key": key })).await
}

#[tokio::test]
async fn a_browser_signs_in_works_and_signs_out() {
    let world = World::new().await;
    let key = world.make_key(TenantId::DEFAULT, &[KeyScope::Operator]).await;
    let reply = signs_in(&world, &format!(" {key}\n")).await;
    let set = reply.header("set-cookie").unwrap().to_owned();
    for part in [
        "patchbay_operator=",
        "; Path=/",
        "; HttpOnly",
        "; SameSite=Strict",
        "; Max-Age=43200",
    ] {
        assert!(set.contains(part), "{set}");
    }
    assert!(
        !reply.text.contains(&reply.cookie()["patchbay_operator=".len()..]),
        "only the cookie holds it"
    );
    let browser = Browser::sign_in(&world, &key).await;
    let who = send(browser.sends(Method::GET, SESSION)).await.ok();
    assert_eq!(
        (&who["key_name"], &who["csrf_token"]),
        (&json!("test"), &json!(browser.token))
    );

    browser.get("/api/operator/overview").await.ok();
    let made = send(
        browser
            .asks(Method::POST, "/api/tenants")
            .json(&json!({ "name": "acme" })),
    )
    .await
    .with(201);
    let keys = format!("/api/tenants/{}/keys", id_of(&made));
    let made = send(browser.asks(Method::POST, &keys).json(&json!({ "name": "backend" })))
        .await
        .with(201);
    let killed = browser.asks(Method::DELETE, &format!("{keys}/{}", id_of(&made)));
    assert_eq!(send(killed).await.status, 204);

    // Another browser of the same key goes on when this one signs out.
    let other = Browser::sign_in(&world, &key).await;
    let out = send(browser.asks(Method::DELETE, SESSION)).await;
    assert_eq!((out.status, out.cookie().as_str()), (204, "patchbay_operator="));
    browser.get("/api/operator/overview").await.problem(401, "unauthorized");
    send(browser.sends(Method::GET, SESSION))
        .await
        .problem(401, "unauthorized");
    send(browser.asks(Method::DELETE, SESSION))
        .await
        .problem(401, "unauthorized");
    other.get("/api/operator/overview").await.ok();

    // What it begins it can follow to the receipt.
    let acme = send(
        other
            .asks(Method::POST, "/api/tenants")
            .json(&json!({ "name": "going" })),
    )
    .await
    .with(201);
    let path = format!("/api/tenants/{}?confirm=going", id_of(&acme));
    let erasure = send(other.asks(Method::DELETE, &path)).await.with(202);
    let receipt = format!("/api/erasures/{}", id_of(&erasure));
    assert_eq!(other.get(&receipt).await.ok(), erasure);
    send(other.sends(Method::GET, &receipt))
        .await
        .problem(401, "unauthorized");
    world.api.get(&receipt).await.problem(404, "not_found");

    // All of it is in the log, and what was refused too.
    signs_in(&world, "nonsense").await.problem(401, "unauthorized");
    let tenants = world.make_key(TenantId::DEFAULT, &[KeyScope::Read]).await;
    signs_in(&world, &tenants).await.problem(403, "forbidden");
    let log = operator(&world)
        .await
        .get(&format!("/api/audit?tenant_id={}", TenantId::DEFAULT))
        .await
        .ok();
    let rows = log["data"].as_array().unwrap().iter().rev();
    let named: Vec<_> = rows
        .map(|row| {
            (
                row["action"].as_str().unwrap(),
                row["actor"].as_str().unwrap(),
                row["target"].is_string(),
            )
        })
        .filter(|(action, ..)| action.starts_with("operator."))
        .collect();
    assert_eq!(
        named,
        [
            ("operator.signed_in", "operator", true),
            ("operator.signed_in", "operator", true),
            ("operator.signed_in", "operator", true),
            ("operator.signed_out", "operator", true),
            ("operator.refused", "first_party", false),
            ("operator.refused", "first_party", true),
        ]
    );
}

#[tokio::test]
async fn a_session_ends_with_its_key_and_unused() {
    let world = World::new().await;
    let keys = format!("/api/tenants/{}/keys", TenantId::DEFAULT);
    let root = operator(&world).await;
    let key = world.make_key(TenantId::DEFAULT, &[KeyScope::Operator]).await;
    let browser = Browser::sign_in(&world, &key).await;
    for _ in 0..3 {
        world.advance(Duration::from_secs(29 * 60));
        browser.get("/api/operator/overview").await.ok();
    }
    world.advance(Duration::from_secs(30 * 60));
    browser.get("/api/operator/overview").await.problem(401, "unauthorized");

    let browser = Browser::sign_in(&world, &key).await;
    browser.get("/api/operator/overview").await.ok();
    let listed = root.get(&keys).await.ok();
    let all = listed["data"].as_array().unwrap();
    let this = all
        .iter()
        .find(|one| key.starts_with(one["begins_with"].as_str().unwrap()))
        .unwrap();
    assert_eq!(root.delete(&format!("{keys}/{}", id_of(this))).await.status, 204);
    browser.get("/api/operator/overview").await.problem(401, "unauthorized");
    signs_in(&world, &key).await.problem(401, "unauthorized");
}

#[tokio::test]
async fn t76_a_cookie_alone_opens_nothing_and_another_site_nothing_at_all() {
    let world = World::new().await;
    let key = world.make_key(TenantId::DEFAULT, &[KeyScope::Operator]).await;
    let browser = Browser::sign_in(&world, &key).await;
    // The ordinary API knows no cookie, and neither it nor the operator's takes one alone.
    for path in [
        "/api/platforms/tiktok/accounts",
        "/api/dead-letters",
        "/api/tenants",
        "/api/operator/overview",
    ] {
        send(browser.sends(Method::GET, path))
            .await
            .problem(401, "unauthorized");
    }
    send(browser.asks(Method::GET, "/api/events"))
        .await
        .problem(401, "unauthorized");
    let tenant = json!({ "name": "mallory" });
    send(browser.sends(Method::POST, "/api/tenants").json(&tenant))
        .await
        .problem(401, "unauthorized");

    let sites = [
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-site", "same-site"),
        ("origin", "https://evil.example"),
        ("origin", "null"),
        ("origin", "http://127.0.0.1:1"),
    ];
    for (header, value) in sites {
        for (method, path) in [
            (Method::POST, "/api/tenants"),
            (Method::GET, "/api/operator/overview"),
            (Method::DELETE, SESSION),
        ] {
            let api = world.api.with_key(None);
            let request = api.request(method, path).header("cookie", &browser.cookie);
            let request = request
                .header("x-csrf-token", &browser.token)
                .header(header, value)
                .json(&tenant);
            send(request).await.problem(403, "forbidden");
        }
        let login = world
            .api
            .with_key(None)
            .request(Method::POST, SESSION)
            .header(header, value);
        send(login.json(&json!({ "key": key }))).await.problem(403, "forbidden");
        let who = world
            .api
            .with_key(None)
            .request(Method::GET, SESSION)
            .header(header, value);
        send(who.header("cookie", &browser.cookie))
            .await
            .problem(403, "forbidden");
    }
    let own = world.api.base.clone();
    send(
        browser
            .asks(Method::GET, "/api/operator/overview")
            .header("origin", own),
    )
    .await
    .ok();
    for wrong in ["", "x", &browser.token[1..]] {
        let request = browser
            .sends(Method::GET, "/api/operator/overview")
            .header("x-csrf-token", wrong);
        send(request).await.problem(403, "forbidden");
    }
    let other = Browser::sign_in(&world, &key).await;
    let mixed = other
        .sends(Method::GET, "/api/operator/overview")
        .header("x-csrf-token", &browser.token);
    send(mixed).await.problem(403, "forbidden");
    assert_eq!(
        world.number("SELECT count(*) FROM tenants").await,
        1,
        "nothing was made"
    );
}

#[tokio::test]
async fn t71_an_address_that_guesses_is_shut_out_of_signing_in_too() {
    let world = World::new().await;
    let key = world.make_key(TenantId::DEFAULT, &[KeyScope::Operator]).await;
    let tenants = world.api.key.clone().unwrap();
    signs_in(&world, &tenants).await.problem(403, "forbidden");
    let mut wrong = key.clone();
    wrong.pop();
    let mut refused = 0;
    for _ in 0..40 {
        let reply = signs_in(&world, &wrong).await;
        if reply.status == 429 {
            assert!(reply.header("retry-after").is_some());
            break;
        }
        reply.problem(401, "unauthorized");
        refused += 1;
    }
    assert!((20..=21).contains(&refused), "{refused}");
    signs_in(&world, &key).await.problem(429, "rate_limited");
    world.api.get("/api/platforms").await.problem(429, "rate_limited");
}

#[tokio::test]
async fn over_https_the_cookie_is_bound_to_this_host() {
    let world = Setup::default()
        .set("PATCHBAY__SERVER__PUBLIC_URL", "https://patchbay.example.com")
        .build()
        .await;
    let key = world.make_key(TenantId::DEFAULT, &[KeyScope::Operator]).await;
    let reply = signs_in(&world, &key).await;
    let set = reply.header("set-cookie").unwrap();
    assert!(
        set.starts_with("__Host-patchbay_operator=") && set.ends_with("; Secure"),
        "{set}"
    );
    let browser = Browser::sign_in(&world, &key).await;
    // Behind a proxy the page's address is the public one.
    let request = browser.asks(Method::GET, "/api/operator/overview");
    send(request.header("origin", "https://patchbay.example.com"))
        .await
        .ok();
}

#[tokio::test]
async fn on_a_machine_whose_pages_are_open_no_key_is_asked_for() {
    let world = Setup::default()
        .set("PATCHBAY__SERVER__FIRST_PARTY", "open")
        .build()
        .await;
    let page = world.api.with_key(None);
    let who = page.get(SESSION).await.ok();
    assert_eq!(
        who,
        json!({ "key_name": null, "csrf_token": null, "started_at": null, "ends_at": null })
    );
    let other = page.request(Method::GET, "/api/operator/overview");
    let other = other.header("cookie", "patchbay_operator=of-another-port");
    send(other).await.ok();
    page.get(&of_tenant("posts")).await.ok();
    page.post("/api/tenants", &json!({ "name": "acme" })).await.with(201);
    for (header, value) in [
        ("sec-fetch-site", "cross-site"),
        ("origin", "https://evil.example"),
        ("host", "evil.example"),
    ] {
        let request = page.request(Method::POST, "/api/tenants").header(header, value);
        send(request.json(&json!({ "name": "mallory" })))
            .await
            .problem(401, "unauthorized");
    }
    // A tenant's key is no operator's there either.
    world.api.get("/api/operator/overview").await.problem(403, "forbidden");
}
