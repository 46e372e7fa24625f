//! Connecting an account, and everything that must not connect one (rows T01 to T15 of the security reference).

use std::{collections::BTreeSet, time::Duration};

use chrono::TimeDelta;
use patchbay_simulator_tiktok::Account;
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::harness::{
    ADA, Database, POSTS, Setup, World, at_once, draft_pull, on_postgres, pull_post, query, send, video_post,
};

const AUTHORIZE: &str = "/api/platforms/tiktok/authorize";
const EXCHANGES: &str = "token";

async fn nobody_is_connected(world: &World) {
    let accounts = world.api.get("/api/platforms/tiktok/accounts").await.ok();
    assert_eq!(accounts["data"], json!([]));
}

#[tokio::test]
async fn t01_a_callback_in_another_browser_is_refused_and_used_up() {
    let world = World::new().await;
    for foreign in [
        None,
        Some("patchbay_flow=something"),
        Some("patchbay_flow="),
        Some("other=1"),
    ] {
        let (callback, cookie) = world.consent(&world.api, ADA, None).await;
        world
            .callback(&callback, foreign)
            .await
            .problem(400, "connect_flow_invalid");
        // The right browser comes too late: the state is consumed.
        world
            .callback(&callback, Some(&cookie))
            .await
            .problem(400, "connect_flow_invalid");
    }
    assert_eq!(world.calls(EXCHANGES), 0);
    nobody_is_connected(&world).await;
}

#[tokio::test]
async fn t01_the_cookie_of_one_flow_does_not_end_another() {
    let world = World::new().await;
    let (first, _) = world.consent(&world.api, ADA, None).await;
    let (_, second_cookie) = world.consent(&world.api, ADA, None).await;
    world
        .callback(&first, Some(&second_cookie))
        .await
        .problem(400, "connect_flow_invalid");
    assert_eq!(world.calls(EXCHANGES), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn t03_a_callback_replayed_fifty_times_exchanges_its_code_once() {
    fifty_callbacks(Database::Sqlite).await;
    on_postgres(fifty_callbacks).await;
}

async fn fifty_callbacks(database: Database) {
    let world = Setup {
        database,
        ..Setup::default()
    }
    .build()
    .await;
    let (callback, cookie) = world.consent(&world.api, ADA, None).await;
    let browser = world.api.with_key(None);
    let replies = at_once(50, |_| {
        let request = browser
            .request(reqwest::Method::GET, &callback)
            .header("cookie", &cookie);
        send(request)
    })
    .await;
    assert_eq!(replies.iter().filter(|reply| reply.status == 303).count(), 1);
    for refused in replies.iter().filter(|reply| reply.status != 303) {
        refused.problem(400, "connect_flow_invalid");
    }
    assert_eq!(world.calls(EXCHANGES), 1);
}

#[tokio::test]
async fn t04_what_is_stored_is_not_a_state() {
    let world = World::new().await;
    let (callback, cookie) = world.consent(&world.api, ADA, None).await;
    let state = query(&callback, "state").unwrap();
    let stored = hex::encode(Sha256::digest(state.as_bytes()));
    world
        .callback(&callback.replace(&state, &stored), Some(&cookie))
        .await
        .problem(400, "connect_flow_invalid");
    assert_eq!(world.calls(EXCHANGES), 0);
    // It was not this flow's state, so the flow goes on.
    world.callback(&callback, Some(&cookie)).await.location();
}

#[tokio::test]
async fn t04_t07_states_and_challenges_never_come_again() {
    let world = World::new().await;
    let mut seen = BTreeSet::new();
    for _ in 0..200 {
        let started = world.api.get(AUTHORIZE).await;
        let page = started.location();
        let state = query(&page, "state").unwrap();
        assert!(state.len() >= 43, "{state}");
        let challenge = query(&page, "code_challenge").unwrap();
        let is_hex =
            |text: &str| text.len() == 64 && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        assert!(
            is_hex(&challenge),
            "TikTok takes lower-case hexadecimal alone: {challenge}"
        );
        assert_eq!(query(&page, "code_challenge_method").as_deref(), Some("S256"));
        assert!(seen.insert(state) && seen.insert(challenge) && seen.insert(started.cookie()));
    }
}

#[tokio::test]
async fn t05_a_flow_ends_after_ten_minutes_of_the_databases_clock() {
    for host_ahead in [TimeDelta::zero(), TimeDelta::hours(1), TimeDelta::hours(-1)] {
        let world = Setup {
            host_ahead,
            ..Setup::default()
        }
        .build()
        .await;
        let (callback, cookie) = world.consent(&world.api, ADA, None).await;
        world.advance(Duration::from_secs(601));
        world
            .callback(&callback, Some(&cookie))
            .await
            .problem(400, "connect_flow_invalid");
        assert_eq!(
            (world.calls(EXCHANGES), world.number("SELECT count(*) FROM flows").await),
            (0, 0)
        );

        let (callback, cookie) = world.consent(&world.api, ADA, None).await;
        world.advance(Duration::from_secs(599));
        world.callback(&callback, Some(&cookie)).await.location();
    }
}

#[tokio::test]
async fn t06_a_callback_at_another_provider_exchanges_nothing() {
    let world = World::new().await;
    let (callback, cookie) = world.consent(&world.api, ADA, None).await;
    let elsewhere = callback.replace("/platforms/tiktok/", "/platforms/instagram/");
    world
        .callback(&elsewhere, Some(&cookie))
        .await
        .problem(404, "provider_unknown");
    assert_eq!(world.calls(EXCHANGES), 0);
}

#[tokio::test]
async fn t06_an_answer_of_another_issuer_is_refused() {
    let world = World::new().await;
    for foreign in [
        "https://evil.example",
        "https://www.tiktok.com.evil.example",
        "http://www.tiktok.com",
        "www.tiktok.com",
        "",
    ] {
        let (callback, cookie) = world.consent(&world.api, ADA, None).await;
        let mut callback = url::Url::parse(&callback).unwrap();
        callback.query_pairs_mut().append_pair("iss", foreign);
        world
            .callback(callback.as_str(), Some(&cookie))
            .await
            .problem(400, "connect_flow_invalid");
    }
    assert_eq!(world.calls(EXCHANGES), 0);
    let (callback, cookie) = world.consent(&world.api, ADA, None).await;
    let own = format!("{callback}&iss=https%3A%2F%2Fwww.tiktok.com");
    world.callback(&own, Some(&cookie)).await.location();
    assert_eq!(world.calls(EXCHANGES), 1);
}

#[tokio::test]
async fn t07_a_code_is_of_no_use_in_another_flow() {
    let world = World::new().await;
    let (stolen, _) = world.consent(&world.api, ADA, None).await;
    let (own, cookie) = world.consent(&world.api, "pia_private", None).await;
    let swapped = own.replace(
        &query(&own, "code").unwrap().replace('*', "%2A").replace('!', "%21"),
        &{ query(&stolen, "code").unwrap().replace('*', "%2A").replace('!', "%21") },
    );
    assert_ne!(swapped, own);
    let landed = world.callback(&swapped, Some(&cookie)).await.location();
    assert_eq!(query(&landed, "error").as_deref(), Some("failed"));
    nobody_is_connected(&world).await;
}

#[tokio::test]
async fn t10_nothing_of_the_code_stays_in_the_browser() {
    let world = World::new().await;
    let (callback, cookie) = world.consent(&world.api, ADA, None).await;
    let code = query(&callback, "code").unwrap();
    let landed = world.callback(&callback, Some(&cookie)).await;
    let location = landed.location();
    assert!(location.starts_with("/platforms/connect?"), "{location}");
    for secret in [code.as_str(), "code=", "state="] {
        assert!(!location.contains(secret), "{location}");
    }
    assert!(
        landed.header("set-cookie").unwrap().contains("Max-Age=0"),
        "the cookie has done its work"
    );
    let page = world.api.with_key(None).get(&location).await;
    for answer in [&landed, &page] {
        assert_eq!(answer.header("referrer-policy"), Some("no-referrer"));
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        let policy = answer.header("content-security-policy").unwrap();
        assert!(
            policy.contains("default-src 'none'") && policy.contains("frame-ancestors 'none'"),
            "{policy}"
        );
    }
    assert!(
        !page.text.contains("http://") && !page.text.contains("https://"),
        "nothing is loaded from elsewhere"
    );
}

#[tokio::test]
async fn the_cookie_of_a_flow_is_kept_from_scripts_and_other_sites() {
    let world = World::new().await;
    let started = world.api.get(AUTHORIZE).await;
    let cookie = started.header("set-cookie").unwrap();
    for attribute in ["HttpOnly", "SameSite=Lax", "Path=/", "Max-Age=600"] {
        assert!(cookie.contains(attribute), "{cookie}");
    }
    let world = Setup::default()
        .set("PATCHBAY__SERVER__PUBLIC_URL", "https://patchbay.example")
        .build()
        .await;
    let started = world.api.get(AUTHORIZE).await;
    let cookie = started.header("set-cookie").unwrap();
    assert!(
        cookie.starts_with("__Host-patchbay_flow=") && cookie.contains("; Secure"),
        "{cookie}"
    );
}

#[tokio::test]
async fn t14_permissions_that_were_not_given_are_named_and_missed_before_any_call() {
    let world = World::new().await;
    let (callback, cookie) = world.consent(&world.api, ADA, Some(&["user.info.basic"])).await;
    let landed = world.callback(&callback, Some(&cookie)).await.location();
    assert_eq!(query(&landed, "success").as_deref(), Some("tiktok_connected"));
    let missing = query(&landed, "missing_scopes").unwrap();
    assert_eq!(missing, "user.info.profile,video.publish,video.upload,video.list");
    let account = query(&landed, "account").unwrap();
    let before = world.sim.journal().calls().len();
    let video = video_post(&account, &world.video().await);
    for wanted in [pull_post(&account), video, draft_pull(&account)] {
        let problem = world.api.post(POSTS, &wanted).await.problem(409, "missing_scopes");
        assert_eq!(problem["who_acts"], "account_owner");
    }
    assert_eq!(
        world.sim.journal().calls().len(),
        before,
        "no call reached the platform"
    );

    // With the permissions, the same account goes on.
    let again = world.connect().await;
    assert_eq!(again, account);
    world.published(&world.post(&pull_post(&account)).await).await;
}

#[tokio::test]
async fn t15_an_account_of_another_tenant_is_refused_and_stays_usable() {
    let world = World::new().await;
    let account = world.connect().await;
    let other = world.tenant("other").await;
    let (callback, cookie) = world.consent(&other, ADA, None).await;
    let landed = world.callback(&callback, Some(&cookie)).await.location();
    assert_eq!(query(&landed, "code").as_deref(), Some("account_taken"));
    assert_eq!(query(&landed, "error").as_deref(), Some("failed"));
    assert_eq!(
        other.get("/api/platforms/tiktok/accounts").await.ok()["data"],
        json!([])
    );
    assert_eq!(
        world.calls("revoke"),
        0,
        "never revoke on a refusal: it would end the first tenant's grant too"
    );
    world.published(&world.post(&pull_post(&account)).await).await;
}

#[tokio::test]
async fn a_connect_that_is_cancelled_says_so() {
    let world = World::new().await;
    let started = world.api.get(AUTHORIZE).await;
    let callback = world.decide(&started.location(), ADA, None, "cancel").await;
    let landed = world.callback(&callback, Some(&started.cookie())).await.location();
    assert_eq!(query(&landed, "error").as_deref(), Some("cancelled"));
    assert_eq!(query(&landed, "provider").as_deref(), Some("tiktok"));
    assert_eq!(world.calls(EXCHANGES), 0);
}

#[tokio::test]
async fn a_refusal_of_the_platform_is_told_in_fixed_words() {
    let world = World::new().await;
    for (said, code) in [
        ("server_error", "provider_unavailable"),
        ("unauthorized_client", "rejected_by_provider"),
        ("non_sandbox_target", "rejected_by_provider"),
        ("<script>alert(1)</script>", "rejected_by_provider"),
    ] {
        let started = world.api.get(AUTHORIZE).await;
        let state = query(&started.location(), "state").unwrap();
        let mut callback = url::Url::parse(&format!("{}/api/platforms/tiktok/callback", world.api.base)).unwrap();
        callback
            .query_pairs_mut()
            .append_pair("error", said)
            .append_pair("error_description", said)
            .append_pair("state", &state);
        let landed = world
            .callback(callback.as_str(), Some(&started.cookie()))
            .await
            .location();
        assert_eq!(
            landed,
            format!("/platforms/connect?error=failed&provider=tiktok&code={code}")
        );
    }
    assert_eq!(world.calls(EXCHANGES), 0);
}

#[tokio::test]
async fn a_callback_without_code_or_state_connects_nobody() {
    let world = World::new().await;
    let (callback, cookie) = world.consent(&world.api, ADA, None).await;
    let path = callback.split('?').next().unwrap();
    world
        .callback(path, Some(&cookie))
        .await
        .problem(400, "connect_flow_invalid");
    let twice = format!("{callback}&state=other");
    world.callback(&twice, Some(&cookie)).await.problem(400, "bad_request");
    let state = query(&callback, "state").unwrap();
    let landed = world
        .callback(&format!("{path}?state={state}"), Some(&cookie))
        .await
        .location();
    assert_eq!(query(&landed, "code").as_deref(), Some("bad_request"));
    assert_eq!(world.calls(EXCHANGES), 0);
}

#[tokio::test]
async fn each_error_of_the_token_endpoint_ends_a_connect_without_an_account() {
    let world = World::new().await;
    for (said, code) in [
        ("invalid_grant", "rejected_by_provider"),
        ("invalid_request", "rejected_by_provider"),
        ("invalid_client", "rejected_by_provider"),
        ("invalid_scope", "rejected_by_provider"),
        ("unauthorized_client", "rejected_by_provider"),
        ("unsupported_grant_type", "rejected_by_provider"),
        ("access_denied", "rejected_by_provider"),
        ("server_error", "provider_unavailable"),
        ("temporarily_unavailable", "provider_unavailable"),
    ] {
        world.refuse("token", said);
        let (callback, cookie) = world.consent(&world.api, ADA, None).await;
        let landed = world.callback(&callback, Some(&cookie)).await.location();
        assert_eq!(query(&landed, "error").as_deref(), Some("failed"), "{said}");
        assert_eq!(query(&landed, "code").as_deref(), Some(code), "{said}");
    }
    nobody_is_connected(&world).await;
}

#[tokio::test]
async fn a_session_connects_one_end_user_without_a_key_in_the_browser() {
    let world = World::new().await;
    world.sim.put_account(Account::named("una", "Una"));
    let session = world
        .api
        .post("/api/platforms/tiktok/connect-sessions", &json!({ "owner": "user-42" }))
        .await
        .with(201);
    let link = session["connect_url"].as_str().unwrap();
    let browser = world.api.with_key(None);
    let started = browser.get(link).await;
    let callback = world.decide(&started.location(), "una", None, "allow").await;
    let landed = world.callback(&callback, Some(&started.cookie())).await.location();
    let account = query(&landed, "account").unwrap();
    let shown = world
        .api
        .get(&format!("/api/platforms/tiktok/accounts/{account}"))
        .await
        .ok();
    assert_eq!(
        (&shown["owner"], &shown["display_name"]),
        (&json!("user-42"), &json!("Una"))
    );
    // The link is no key (T13), and it ends after fifteen minutes.
    let token = query(link, "session").unwrap();
    browser
        .with_key(Some(token))
        .get("/api/platforms/tiktok/accounts")
        .await
        .problem(401, "unauthorized");
    world.advance(Duration::from_secs(15 * 60 + 1));
    browser.get(link).await.problem(400, "connect_flow_invalid");
    browser.get(AUTHORIZE).await.problem(401, "unauthorized");
}

#[tokio::test]
async fn unknown_scopes_are_refused_before_the_platform_sees_them() {
    let world = World::new().await;
    world
        .api
        .get(&format!("{AUTHORIZE}?scope=video.create"))
        .await
        .problem(422, "invalid");
    let page = world
        .api
        .get(&format!("{AUTHORIZE}?scope=user.info.basic,video.upload"))
        .await
        .location();
    assert_eq!(query(&page, "scope").as_deref(), Some("user.info.basic,video.upload"));
}
