//! Connect sessions: a tenant's backend makes a link, a browser follows it, and nothing can be used until the backend has
//! taken the account (rows T02, T08, T11, T13 and T15 of the security reference).

use std::time::Duration;

use patchbay_simulator_tiktok::Account;
use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::{ADA, Api, Database, POSTS, Reply, Setup, World, at_once, on_postgres, pull_post, query, send};

const SESSIONS: &str = "/api/platforms/tiktok/connect-sessions";
const ORIGINS: &str = "/api/connect-origins";
const APP: &str = "https://app.example.com";
const RETURN: &str = "https://app.example.com/settings?tab=social";

async fn register(api: &Api, origins: &[&str]) -> Reply {
    send(api.request(Method::PUT, ORIGINS).json(&json!({ "origins": origins }))).await
}

/// A world whose tenant has an origin.
async fn world(database: Database) -> World {
    let world = Setup {
        database,
        ..Setup::default()
    }
    .build()
    .await;
    register(&world.api, &[APP]).await.ok();
    world
}

async fn session(world: &World, more: Value) -> Value {
    let mut wanted = json!({ "owner": "user-42", "return_to": RETURN });
    for (name, value) in more.as_object().unwrap() {
        wanted[name] = value.clone();
    }
    world.api.post(SESSIONS, &wanted).await.with(201)
}

async fn state(world: &World, session: &Value) -> Value {
    world
        .api
        .get(&format!("{SESSIONS}/{}", session["id"].as_str().unwrap()))
        .await
        .ok()
}

/// Follows a session's link, agrees at the platform, and comes back.
async fn follow(world: &World, session: &Value, username: &str) -> Reply {
    let browser = world.api.with_key(None);
    let started = browser.get(session["connect_url"].as_str().unwrap()).await;
    let callback = world.decide(&started.location(), username, None, "allow").await;
    world.callback(&callback, Some(&started.cookie())).await
}

async fn complete(api: &Api, session: &Value, code: &str) -> Reply {
    let path = format!("{SESSIONS}/{}/complete", session["id"].as_str().unwrap());
    api.post(&path, &json!({ "code": code })).await
}

#[tokio::test]
async fn an_account_is_usable_when_its_tenant_has_taken_it() {
    let world = world(Database::Sqlite).await;
    let session = session(&world, json!({})).await;
    assert_eq!(state(&world, &session).await["state"], "open");
    let browser = world.api.with_key(None);
    let started = browser.get(session["connect_url"].as_str().unwrap()).await;
    assert_eq!(state(&world, &session).await["state"], "started");
    let callback = world.decide(&started.location(), ADA, None, "allow").await;
    let landed = world.callback(&callback, Some(&started.cookie())).await.location();

    assert!(landed.starts_with(&format!("{RETURN}&")), "{landed}");
    assert_eq!(query(&landed, "session_id").as_deref(), session["id"].as_str());
    assert_eq!(
        query(&landed, "account"),
        None,
        "the browser learns no more than it needs"
    );
    let code = query(&landed, "completion_code").unwrap();
    let pending = state(&world, &session).await;
    assert_eq!(
        (&pending["state"], &pending["missing_scopes"]),
        (&json!("pending"), &json!([]))
    );
    let account = pending["account_id"].as_str().unwrap().to_owned();

    let problem = world
        .api
        .post(POSTS, &pull_post(&account))
        .await
        .problem(409, "account_not_active");
    assert_eq!(problem["who_acts"], "caller");
    let taken = complete(&world.api, &session, &code).await.ok();
    assert_eq!((&taken["id"], &taken["status"]), (&json!(account), &json!("active")));
    assert_eq!(
        complete(&world.api, &session, &code).await.ok(),
        taken,
        "a lost answer can be asked for again"
    );
    assert_eq!(state(&world, &session).await["state"], "completed");
    let log = world.api.get("/api/audit?action=account.completed").await.ok();
    assert_eq!(log["data"].as_array().unwrap().len(), 1, "{log}");
    let named = world.events(&format!("account_id={account}")).await;
    assert_eq!(named, ["account.pending", "account.connected"]);
    world.published(&world.post(&pull_post(&account)).await).await;
    // Nobody ends its grant later on, and its tokens are renewed.
    world.advance(Duration::from_hours(20));
    world.drain().await;
    assert_eq!(world.account(&account).await.token_version, 2);
    assert_eq!(world.calls("revoke"), 0);
}

#[tokio::test]
async fn t02_an_account_that_nobody_takes_is_ended_at_the_platform() {
    let world = world(Database::Sqlite).await;
    let session = session(&world, json!({})).await;
    let landed = follow(&world, &session, ADA).await.location();
    let code = query(&landed, "completion_code").unwrap();
    let account = state(&world, &session).await["account_id"].as_str().unwrap().to_owned();
    world.advance(Duration::from_secs(61));
    complete(&world.api, &session, &code)
        .await
        .problem(409, "completion_code_invalid");
    world.advance(Duration::from_secs(13 * 60));
    world.drain().await;
    assert_eq!(
        (world.account(&account).await.status.as_str(), world.calls("revoke")),
        ("pending", 0)
    );
    world.advance(Duration::from_secs(2 * 60));
    world.drain().await;
    let ended = world.account(&account).await;
    assert_eq!(
        (ended.status.as_str(), ended.status_code.as_deref()),
        ("revoked", Some("not_completed"))
    );
    let log = world.api.get("/api/audit?action=account.refused").await.ok();
    assert_eq!(log["data"][0]["actor"], "worker", "{log}");
    assert!(ended.tokens.is_none() && ended.display_name.is_none() && ended.username.is_none());
    assert_eq!(world.calls("revoke"), 1);
    complete(&world.api, &session, &code)
        .await
        .problem(409, "completion_code_invalid");
    assert_eq!(state(&world, &session).await["state"], "expired");
    assert_eq!(
        world.events(&format!("account_id={account}")).await,
        ["account.pending", "account.disconnected", "authorization.removed"]
    );
    // The same person may come again, and keeps the id.
    let again = self::session(&world, json!({})).await;
    let landed = follow(&world, &again, ADA).await.location();
    let taken = complete(&world.api, &again, &query(&landed, "completion_code").unwrap())
        .await
        .ok();
    assert_eq!((&taken["id"], &taken["username"]), (&json!(account), &json!(ADA)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_code_redeemed_a_hundred_times_at_once_takes_the_account_once() {
    hundred_completions(Database::Sqlite).await;
    on_postgres(hundred_completions).await;
}

async fn hundred_completions(database: Database) {
    let world = world(database).await;
    let session = session(&world, json!({})).await;
    let landed = follow(&world, &session, ADA).await.location();
    let code = query(&landed, "completion_code").unwrap();
    let replies = at_once(100, |_| {
        let (api, session, code) = (world.api.clone(), session.clone(), code.clone());
        async move { complete(&api, &session, &code).await }
    })
    .await;
    let first = replies[0].ok();
    assert!(replies.iter().all(|reply| reply.ok() == first), "one answer for all");
    let account = first["id"].as_str().unwrap();
    assert_eq!(
        world.events(&format!("account_id={account}")).await,
        ["account.pending", "account.connected"]
    );
}

#[tokio::test]
async fn t08_a_browser_goes_back_to_a_registered_origin_alone() {
    let world = world(Database::Sqlite).await;
    let forms = [
        "",
        "/",
        "settings",
        "//app.example.com/",
        "//evil.example/",
        "/\\evil.example/",
        "\\\\evil.example",
        "https:/app.example.com/",
        "https:app.example.com",
        "https:\\\\app.example.com/",
        "https://evil.example/",
        "https://app.example.com.evil.example/",
        "https://app.example.com@evil.example/",
        "https://app.example.com:443@evil.example/",
        "https://app.example.com%2f@evil.example/",
        "https://user@app.example.com/",
        "https://user:word@app.example.com/",
        "https://app.example.com:444/",
        "https://app.example.com:443/",
        "https://app.example.com./",
        "https://APP.example.com/",
        "HTTPS://app.example.com/",
        "http://app.example.com/",
        "https://app.example.com\\.evil.example/",
        "https://app.example.com\\@evil.example/",
        "https://app.example.com\t/",
        "https://app.example.com/\r\nSet-Cookie:a=b",
        "ht\ttps://app.example.com/",
        "java\tscript:alert(1)",
        " https://app.example.com/",
        "https://app.example.com/ ",
        "javascript:alert(1)",
        "javascript://app.example.com/%0aalert(1)",
        "data:text/html,x",
        "%2f%2fevil.example",
        "https%3a%2f%2fapp.example.com",
        "https://app.example.com#fragment",
        "https://app.example.com/#completion_code=x",
        "https://app.example.com/?completion_code=x",
        "https://app.example.com/?a=1&session_id=x",
        "https://аpp.example.com/",
        "https://app.example.com\u{3002}evil.example/",
        "https://app.example.com;evil.example/",
        "blob:https://app.example.com/x",
    ];
    assert!(forms.len() >= 40);
    for form in forms {
        let wanted = json!({ "owner": "user-42", "return_to": form });
        let problem = world.api.post(SESSIONS, &wanted).await.problem(422, "invalid");
        assert_eq!(problem["errors"][0]["pointer"], "/return_to", "{form}");
    }
    assert_eq!(world.number("SELECT count(*) FROM sessions").await, 0);
    for form in [
        APP,
        "https://app.example.com/",
        "https://app.example.com?a=%2f%2fevil.example",
        RETURN,
    ] {
        session(&world, json!({ "return_to": form })).await;
    }
    let problem = world
        .api
        .post(
            SESSIONS,
            &json!({ "owner": "a", "allowed_origins": [APP, "https://evil.example"] }),
        )
        .await
        .problem(422, "invalid");
    assert_eq!(problem["errors"][0]["pointer"], "/allowed_origins/1");
}

#[tokio::test]
async fn t08_what_was_changed_in_the_database_leads_nowhere() {
    for change in [
        "UPDATE sessions SET return_to = 'https://evil.example/'",
        "UPDATE sessions SET return_to = 'javascript:alert(1)'",
        "UPDATE sessions SET return_to = 'https://evil.example/', origins = '[\"https://evil.example\"]'",
        "UPDATE sessions SET return_to = '//evil.example'",
        // The tenant took its origin back.
        "UPDATE tenants SET connect_origins = '[]'",
    ] {
        let world = world(Database::Sqlite).await;
        let session = session(&world, json!({})).await;
        world.execute(change).await;
        let landed = follow(&world, &session, ADA).await.location();
        assert!(
            landed.starts_with("/platforms/connect?success=tiktok_connected&"),
            "{change}: {landed}"
        );
        assert!(
            !landed.contains("completion_code") && !landed.contains("evil"),
            "{change}: {landed}"
        );
        assert_eq!(state(&world, &session).await["state"], "pending");
    }
}

#[tokio::test]
async fn t11_a_popup_tells_the_origins_of_its_session_and_no_other() {
    let world = world(Database::Sqlite).await;
    register(&world.api, &[APP, "https://other.example.com"]).await.ok();
    let session = session(&world, json!({ "return_to": null, "allowed_origins": [APP] })).await;
    let browser = world.api.with_key(None);
    let started = browser.get(session["connect_url"].as_str().unwrap()).await;
    let callback = world.decide(&started.location(), ADA, None, "allow").await;
    let back = world.callback(&callback, Some(&started.cookie())).await;
    let landed = back.location();
    let (page, told) = landed.split_once('#').unwrap();
    assert_eq!(page, "/platforms/connected");
    let told = format!("?{told}");
    assert_eq!(query(&told, "session_id").as_deref(), session["id"].as_str());
    assert_eq!(told.matches("origin=").count(), 1);
    assert_eq!(query(&told, "origin").as_deref(), Some(APP));
    // A window keeps its opener only if every page on the way lets it.
    for answer in [&started, &back, &browser.get(page).await] {
        assert_eq!(answer.header("cross-origin-opener-policy"), Some("unsafe-none"));
    }
    complete(&world.api, &session, &query(&told, "completion_code").unwrap())
        .await
        .ok();
    let other = browser.get("/platforms/connect").await;
    assert_eq!(other.header("cross-origin-opener-policy"), Some("same-origin"));
}

#[tokio::test]
async fn t13_a_session_is_good_for_itself_alone() {
    let world = world(Database::Sqlite).await;
    world.sim.put_account(Account::named("una", "Una"));
    let (first, second) = (
        session(&world, json!({})).await,
        session(&world, json!({ "owner": "user-43" })).await,
    );
    let landed = follow(&world, &first, ADA).await.location();
    let code = query(&landed, "completion_code").unwrap();
    let theirs = follow(&world, &second, "una").await.location();
    // Ids swapped between two sessions, and between tenants.
    complete(&world.api, &second, &code)
        .await
        .problem(409, "completion_code_invalid");
    complete(&world.api, &first, &query(&theirs, "completion_code").unwrap())
        .await
        .problem(409, "completion_code_invalid");
    let other = world.tenant("other").await;
    complete(&other, &first, &code).await.problem(404, "not_found");
    let path = format!("{SESSIONS}/{}", first["id"].as_str().unwrap());
    other.get(&path).await.problem(404, "not_found");
    other.delete(&path).await.problem(404, "not_found");
    assert_eq!(state(&world, &first).await["state"], "pending");
    // Neither token nor code is a key.
    for secret in [first["token"].as_str().unwrap(), &code] {
        let caller = world.api.with_key(Some(secret.to_owned()));
        for path in [POSTS, ORIGINS, &path] {
            caller.get(path).await.problem(401, "unauthorized");
        }
        complete(&caller, &first, &code).await.problem(401, "unauthorized");
    }
    complete(&world.api, &first, &code).await.ok();
}

#[tokio::test]
async fn a_link_is_the_first_browsers_and_has_one_outcome() {
    let world = world(Database::Sqlite).await;
    let session = session(&world, json!({})).await;
    let link = session["connect_url"].as_str().unwrap();
    let browser = world.api.with_key(None);
    let first = browser.get(link).await;
    browser.get(link).await.problem(400, "connect_flow_invalid");
    // The same browser may begin again; what it began before is over.
    let again = send(browser.request(Method::GET, link).header("cookie", first.cookie())).await;
    let old = world.decide(&first.location(), ADA, None, "allow").await;
    world
        .callback(&old, Some(&again.cookie()))
        .await
        .problem(400, "connect_flow_invalid");
    let callback = world.decide(&again.location(), ADA, None, "allow").await;
    world.callback(&callback, Some(&again.cookie())).await.location();
    assert_eq!(world.calls("token"), 1);
    let late = send(browser.request(Method::GET, link).header("cookie", again.cookie())).await;
    late.problem(400, "connect_flow_invalid");
}

/// Bluesky has a form in the place of a page, and here nobody answers in its network.
#[tokio::test]
async fn a_sessions_form_is_its_browsers_and_no_address_holds_what_was_typed() {
    let nobody = "127.0.0.1:1";
    let hosts = format!("pds.test={nobody},public.api.bsky.app={nobody},plc.directory={nobody}");
    let setup = Setup::default()
        .set("PATCHBAY__PROVIDERS__BLUESKY__ENABLED", "true")
        .set("PATCHBAY__PROVIDERS__BLUESKY__SIMULATOR_HOSTS", hosts);
    let world = setup.build().await;
    register(&world.api, &[APP]).await.ok();
    let sessions = "/api/platforms/bluesky/connect-sessions";
    let wanted = json!({ "owner": "user-42", "return_to": RETURN });
    let session = world.api.post(sessions, &wanted).await.with(201);
    let (id, link) = (
        session["id"].as_str().unwrap(),
        session["connect_url"].as_str().unwrap(),
    );
    let browser = world.api.with_key(None);
    let open = async |cookie: &str| send(browser.request(Method::GET, link).header("cookie", cookie)).await;
    let state_in = |form: &Reply| {
        let value = form.text.split("name=\"state\" value=\"").nth(1).unwrap();
        value.split('"').next().unwrap().to_owned()
    };
    let submit = async |cookie: &str, state: &str| {
        let request = browser.request(Method::POST, "/api/platforms/bluesky/callback");
        let typed = [
            ("state", state),
            ("handle", "typed.example"),
            ("app_password", "typed-secret"),
        ];
        send(request.header("cookie", cookie).form(&typed)).await
    };

    let first = browser.get(link).await;
    assert_eq!(first.status, 200, "{}", first.text);
    let policy = first.header("content-security-policy").unwrap();
    assert!(policy.contains(&format!("form-action 'self' {APP};")), "{policy}");
    assert_eq!(first.header("cross-origin-opener-policy"), Some("unsafe-none"));
    assert_eq!(first.header("cache-control"), Some("no-store"));
    open("patchbay_flow=other").await.problem(400, "connect_flow_invalid");
    // The same browser may begin again; the form that it had is over.
    let again = open(&first.cookie()).await;
    let old = submit(&again.cookie(), &state_in(&first)).await;
    old.problem(400, "connect_flow_invalid");
    let landed = submit(&again.cookie(), &state_in(&again)).await.location();
    assert!(landed.starts_with(RETURN) && !landed.contains("typed"), "{landed}");
    assert_eq!(query(&landed, "error").as_deref(), Some("failed"));
    assert_eq!(query(&landed, "session_id").as_deref(), Some(id));
    let told = world.api.get(&format!("{sessions}/{id}")).await.ok();
    assert_eq!(
        (&told["state"], &told["code"]),
        (&json!("refused"), &json!("provider_unavailable"))
    );
    let twice = submit(&again.cookie(), &state_in(&again)).await;
    twice.problem(400, "connect_flow_invalid");
}

#[tokio::test]
async fn a_session_that_was_called_off_connects_nothing() {
    let world = world(Database::Sqlite).await;
    let away = session(&world, json!({})).await;
    let path = |session: &Value| format!("{SESSIONS}/{}", session["id"].as_str().unwrap());
    let started = world
        .api
        .with_key(None)
        .get(away["connect_url"].as_str().unwrap())
        .await;
    let callback = world.decide(&started.location(), ADA, None, "allow").await;
    for _ in 0..2 {
        assert_eq!(world.api.delete(&path(&away)).await.status, 204);
    }
    world
        .callback(&callback, Some(&started.cookie()))
        .await
        .problem(400, "connect_flow_invalid");
    assert_eq!(
        (world.calls("token"), state(&world, &away).await["state"].clone()),
        (0, json!("cancelled"))
    );

    // One that is pending: its grant is ended too.
    let pending = session(&world, json!({})).await;
    let landed = follow(&world, &pending, ADA).await.location();
    assert_eq!(world.api.delete(&path(&pending)).await.status, 204);
    let code = query(&landed, "completion_code").unwrap();
    complete(&world.api, &pending, &code)
        .await
        .problem(409, "connect_session_state");
    world.drain().await;
    assert_eq!(world.calls("revoke"), 1);

    let done = session(&world, json!({})).await;
    let landed = follow(&world, &done, ADA).await.location();
    complete(&world.api, &done, &query(&landed, "completion_code").unwrap())
        .await
        .ok();
    world
        .api
        .delete(&path(&done))
        .await
        .problem(409, "connect_session_state");
}

#[tokio::test]
async fn a_session_says_how_it_ended() {
    let world = world(Database::Sqlite).await;
    let refused = session(&world, json!({})).await;
    let started = world
        .api
        .with_key(None)
        .get(refused["connect_url"].as_str().unwrap())
        .await;
    let callback = world.decide(&started.location(), ADA, None, "cancel").await;
    let landed = world.callback(&callback, Some(&started.cookie())).await.location();
    assert!(landed.starts_with(RETURN), "{landed}");
    assert_eq!(query(&landed, "error").as_deref(), Some("cancelled"));
    assert_eq!(query(&landed, "session_id").as_deref(), refused["id"].as_str());
    let told = state(&world, &refused).await;
    assert_eq!(
        (&told["state"], &told["code"]),
        (&json!("refused"), &json!("rejected_by_provider"))
    );

    let open = session(&world, json!({})).await;
    let begun = session(&world, json!({})).await;
    world
        .api
        .with_key(None)
        .get(begun["connect_url"].as_str().unwrap())
        .await
        .location();
    world.advance(Duration::from_secs(15 * 60 + 1));
    assert_eq!(state(&world, &open).await["state"], "expired");
    assert_eq!(
        state(&world, &begun).await["state"],
        "started",
        "the browser has a flow's time"
    );
    world.advance(Duration::from_secs(10 * 60));
    assert_eq!(state(&world, &begun).await["state"], "expired");
}

#[tokio::test]
async fn an_account_is_connected_again_under_its_id_and_by_nobody_else() {
    let world = world(Database::Sqlite).await;
    world.sim.put_account(Account::named("una", "Una"));
    let first = session(&world, json!({})).await;
    let landed = follow(&world, &first, ADA).await.location();
    let taken = complete(&world.api, &first, &query(&landed, "completion_code").unwrap())
        .await
        .ok();
    let account = taken["id"].as_str().unwrap();

    // What was taken for this person before needs no second word.
    let again = session(&world, json!({ "account_id": account })).await;
    let landed = follow(&world, &again, ADA).await.location();
    let told = state(&world, &again).await;
    assert_eq!(
        (&told["state"], &told["account_id"]),
        (&json!("completed"), &json!(account))
    );
    let same = complete(&world.api, &again, &query(&landed, "completion_code").unwrap())
        .await
        .ok();
    assert_eq!(same["id"], account);

    let other = session(&world, json!({ "account_id": account })).await;
    let landed = follow(&world, &other, "una").await.location();
    assert_eq!(query(&landed, "code").as_deref(), Some("account_mismatch"));
    assert_eq!(state(&world, &other).await["state"], "refused");

    // T15, within one tenant.
    let stranger = session(&world, json!({ "owner": "user-43" })).await;
    let landed = follow(&world, &stranger, ADA).await.location();
    assert_eq!(query(&landed, "code").as_deref(), Some("account_taken"));
    assert_eq!(world.calls("revoke"), 0);
    world.published(&world.post(&pull_post(account)).await).await;
    for (wanted, status, code) in [
        (json!({ "owner": "user-43", "account_id": account }), 422, "invalid"),
        (json!({ "owner": "user-42", "account_id": "acc_0" }), 404, "not_found"),
        (json!({ "owner": "user-42", "scopes": ["nothing"] }), 422, "invalid"),
    ] {
        world.api.post(SESSIONS, &wanted).await.problem(status, code);
    }
    let other = world.tenant("other").await;
    let foreign = json!({ "owner": "user-42", "account_id": account });
    other.post(SESSIONS, &foreign).await.problem(404, "not_found");
}

#[tokio::test]
async fn a_host_for_its_own_accounts_needs_no_code() {
    let world = world(Database::Sqlite).await;
    let wanted = json!({ "owner": "user-42", "activate": true });
    world.api.post(SESSIONS, &wanted).await.problem(422, "invalid");
    let world = Setup::default()
        .set("PATCHBAY__SERVER__ACTIVATE_AT_ONCE", "true")
        .build()
        .await;
    let session = world.api.post(SESSIONS, &json!({ "owner": "user-42" })).await.with(201);
    let landed = follow(&world, &session, ADA).await.location();
    assert!(
        landed.starts_with("/platforms/connect?success=tiktok_connected&"),
        "{landed}"
    );
    assert!(!landed.contains("completion_code"), "{landed}");
    assert_eq!(state(&world, &session).await["state"], "completed");
    world
        .published(&world.post(&pull_post(&query(&landed, "account").unwrap())).await)
        .await;
}

#[tokio::test]
async fn origins_are_registered_whole_and_by_those_who_may() {
    let world = World::new().await;
    for bad in [
        "*",
        "null",
        "http://app.example.com",
        "https://app.example.com/",
        "https://*.example.com",
    ] {
        let problem = register(&world.api, &[APP, bad]).await.problem(422, "invalid");
        assert_eq!(problem["errors"][0]["pointer"], "/origins/1", "{bad}");
    }
    let many: Vec<_> = (0..51).map(|n| format!("https://app{n}.example.com")).collect();
    let many: Vec<_> = many.iter().map(String::as_str).collect();
    register(&world.api, &many).await.problem(422, "invalid");
    assert_eq!(world.api.get(ORIGINS).await.ok()["origins"], json!([]));
    let set = register(&world.api, &[APP, "http://localhost:3000", APP]).await.ok();
    assert_eq!(set["origins"], json!(["http://localhost:3000", APP]));
    assert_eq!(world.api.get(ORIGINS).await.ok(), set);
    let other = world.tenant("other").await;
    assert_eq!(other.get(ORIGINS).await.ok()["origins"], json!([]));
    // Another tenant's origin is nothing to this one.
    let foreign = json!({ "owner": "a", "return_to": RETURN });
    other.post(SESSIONS, &foreign).await.problem(422, "invalid");
}
