//! Tokens: renewed ahead of their end, on demand, and once by force; spent once per version; erased at the end
//! (rows T29 to T32 and T98 of the security reference).

use std::time::Duration;

use patchbay_simkit::{Action, Fault, When};
use patchbay_simulator_tiktok::TokenProfile;
use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::{ADA, Api, Database, POSTS, Setup, World, at_once, draft_pull, on_postgres, pull_post, raw, send};

/// Close to the end of an access token of two hours, so that the next call needs a new one.
const NEARLY_OVER: Duration = Duration::from_secs(2 * 3600 - 300);

async fn status_of(world: &World, account: &str) -> Value {
    world
        .api
        .get(&format!("/api/platforms/tiktok/accounts/{account}"))
        .await
        .ok()["status"]
        .clone()
}

async fn ask(world: &World, account: &str) -> crate::harness::Reply {
    world
        .api
        .get(&format!("/api/platforms/tiktok/accounts/{account}/publish-options"))
        .await
}

/// Refreshes that the platform has granted, and the most of one token version.
fn refreshes(world: &World) -> (u32, u32) {
    let uses = world.sim.oracle().refresh_tokens();
    (
        uses.iter().map(|one| one.accepted).sum(),
        uses.iter().map(|one| one.accepted + one.refused).max().unwrap_or(0),
    )
}

#[tokio::test]
async fn tokens_are_renewed_ahead_of_their_end_by_themselves() {
    let world = World::new().await;
    let account = world.connect().await;
    world.advance(Duration::from_secs(3600));
    world.drain().await;
    assert_eq!(refreshes(&world).0, 0);
    world.advance(Duration::from_secs(20 * 60));
    world.drain().await;
    assert_eq!(refreshes(&world), (1, 1), "at 60 % of two hours, give or take 5 %");
    let mut versions = world.account(&account).await.token_version;
    for _ in 0..10 {
        world.advance(Duration::from_secs(80 * 60));
        world.drain().await;
        let now = world.account(&account).await.token_version;
        assert!(now > versions, "still renewed after {versions} versions");
        versions = now;
    }
    assert_eq!(status_of(&world, &account).await, "active");
    assert_eq!(refreshes(&world).1, 1, "no version was spent twice");
    world.published(&world.post(&pull_post(&account)).await).await;
}

#[tokio::test]
async fn a_call_that_needs_a_fresh_token_renews_it_first() {
    let world = World::new().await;
    let account = world.connect().await;
    world.advance(NEARLY_OVER);
    ask(&world, &account).await.ok();
    ask(&world, &account).await.ok();
    assert_eq!(refreshes(&world), (1, 1));
    assert_eq!(
        world
            .sim
            .journal()
            .count(|call| call.code.as_deref() == Some("access_token_invalid")),
        0
    );
}

#[tokio::test]
async fn a_refused_token_is_renewed_once_by_force() {
    let world = World::new().await;
    let account = world.connect().await;
    let refused = |op| Fault::new(op, crate::harness::error("access_token_invalid")).once();
    world.sim.faults().put("once", refused("creator_info"));
    ask(&world, &account).await.ok();
    assert_eq!((refreshes(&world), world.calls("creator_info")), ((1, 1), 2));

    for op in ["video_init", "status"] {
        let before = refreshes(&world).0;
        world.sim.faults().put("once", refused(op));
        let post = world.post(&pull_post(&account)).await;
        world.published(&post).await;
        assert_eq!(refreshes(&world), (before + 1, 1), "{op}");
    }
    assert_eq!(status_of(&world, &account).await, "active");
}

#[tokio::test]
async fn a_platform_that_returns_the_same_refresh_token_is_fine_too() {
    let setup = Setup {
        platform: |platform| {
            platform.switches.tokens = TokenProfile::Legacy;
            platform.switches.rotate_refresh = false;
        },
        ..Setup::default()
    };
    let world = setup.build().await;
    let account = world.connect().await;
    for _ in 0..3 {
        world.advance(Duration::from_secs(16 * 3600));
        world.drain().await;
    }
    assert!(refreshes(&world).0 >= 3);
    ask(&world, &account).await.ok();
    assert_eq!(status_of(&world, &account).await, "active");
}

#[tokio::test]
async fn t29_a_hostile_token_answer_is_a_fault_and_the_old_token_stays() {
    let world = World::new().await;
    let account = world.connect().await;
    let open_id = world.open_id(ADA);
    let good = |open_id: &str, expires_in: i64| {
        json!({
            "access_token": "act.hostile", "expires_in": expires_in, "refresh_token": "rft.hostile",
            "refresh_expires_in": 15_552_000, "open_id": open_id, "scope": "user.info.basic", "token_type": "Bearer",
        })
        .to_string()
    };
    let answers = [
        good("-000somebodyelse", 7200),
        good("", 7200),
        good(&open_id, -1),
        good(&open_id, 0),
        good(&open_id, i64::MAX),
        good(&open_id, 7200).replace("\"act.hostile\"", "[\"act.hostile\"]"),
        good(&open_id, 7200).replace("act.hostile", ""),
        good(&open_id, 7200).replace("act.hostile", "act.\\u0000hostile"),
        good(&open_id, 7200).replacen('{', "{\"access_token\":\"act.first\",", 1),
        "x".repeat(200_000),
        format!("{{\"pad\":\"{}\",{}", "x".repeat(100_000), &good(&open_id, 7200)[1..]),
        "<html>not here</html>".to_owned(),
        "\0".to_owned(),
        String::new(),
        "[]".to_owned(),
        "null".to_owned(),
    ];
    world.advance(NEARLY_OVER);
    let version = world.account(&account).await.token_version;
    for body in answers {
        let action = Action::Status {
            status: 200,
            body: body.clone(),
            content_type: "application/json".into(),
            when: When::Before,
        };
        world.sim.faults().put("hostile", Fault::new("token", action));
        let reply = ask(&world, &account).await;
        let short: String = body.chars().take(200).collect();
        assert!(reply.status >= 500, "{short}: {reply:?}");
        assert!(!reply.text.contains("hostile"), "{short}: {reply:?}");
        let now = world.account(&account).await;
        assert_eq!((now.token_version, now.status.as_str()), (version, "active"), "{short}");
    }
    world.sim.faults().clear_all();
    ask(&world, &account).await.ok();
    assert_eq!(world.account(&account).await.token_version, version + 1);
}

#[tokio::test]
async fn t30_only_the_platforms_own_word_ends_a_grant() {
    let world = World::new().await;
    let account = world.connect().await;
    world.advance(NEARLY_OVER);
    let plain = |status| Action::Status {
        status,
        body: String::new(),
        content_type: "text/plain".into(),
        when: When::Before,
    };
    let faults = [
        plain(500),
        plain(503),
        plain(429),
        plain(401),
        plain(403),
        plain(404),
        Action::Html {
            status: 502,
            when: When::Before,
        },
        Action::Drop { when: When::Before },
        Action::CutBody,
        Action::TruncateBody,
        crate::harness::error("server_error"),
        crate::harness::error("temporarily_unavailable"),
        crate::harness::error("invalid_client"),
        crate::harness::error("invalid_request"),
    ];
    for fault in faults {
        let what = format!("{fault:?}");
        // Cut and truncated answers hide a refresh that took effect; a platform without rotation forgives that.
        world.sim.change_switches(|switches| switches.rotate_refresh = false);
        world.sim.faults().put("fault", Fault::new("token", fault));
        for _ in 0..10 {
            let reply = ask(&world, &account).await;
            assert!(matches!(reply.status, 502 | 503), "{what}: {reply:?}");
            assert_eq!(status_of(&world, &account).await, "active", "{what}");
        }
    }
    world.sim.change_switches(|switches| switches.rotate_refresh = true);
    world.sim.faults().clear_all();
    ask(&world, &account).await.ok();

    world.advance(NEARLY_OVER);
    world.refuse("token", "invalid_grant");
    ask(&world, &account).await.problem(409, "account_reauth_required");
    assert_eq!(status_of(&world, &account).await, "reauth_required");
    assert!(
        world
            .events(&format!("account_id={account}"))
            .await
            .contains(&"account.reauth_required".to_owned())
    );
    assert!(
        world.api.get("/api/platforms/tiktok/status").await.ok()["reauth_required"] == true
            || world.api.get("/api/platforms/tiktok/status").await.ok()["reauthRequired"] == true
    );
    world
        .api
        .post(POSTS, &pull_post(&account))
        .await
        .problem(409, "account_reauth_required");
    world.sim.faults().clear_all();
    assert_eq!(world.connect().await, account);
    ask(&world, &account).await.ok();
}

#[tokio::test(flavor = "multi_thread")]
async fn t31_eight_hosts_with_twenty_five_callers_each_spend_a_token_once() {
    on_postgres(eight_hosts).await;
}

async fn eight_hosts(database: Database) {
    let world = Setup {
        database,
        ..Setup::default()
    }
    .set("PATCHBAY__DATABASE__MAX_CONNECTIONS", "4")
    .build()
    .await;
    let account = world.connect().await;
    let mut hosts = Vec::new();
    for number in 1..8 {
        hosts.push(world.another_host(&format!("host-{number}")).await);
    }
    let mut doors: Vec<Api> = hosts
        .iter()
        .map(|host| Api::new(format!("http://{}", host.address), world.api.key.clone()))
        .collect();
    doors.push(world.api.clone());
    for round in 1..=3 {
        world.advance(NEARLY_OVER);
        let before = world.calls("token");
        let replies = at_once(200, |caller| {
            let door = doors[caller % doors.len()].clone();
            let wanted = draft_pull(&account);
            // Each is a post of its own, and every one needs a token that lives.
            async move { door.post(POSTS, &wanted).await }
        })
        .await;
        for reply in replies {
            reply.with(202);
        }
        assert_eq!(world.calls("token"), before + 1, "round {round}");
        assert_eq!(refreshes(&world), (round, 1));
    }
    for host in hosts {
        host.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn t32_a_caller_who_hangs_up_costs_no_token() {
    let world = World::new().await;
    let account = world.connect().await;
    world.advance(NEARLY_OVER);
    let version = world.account(&account).await.token_version;
    let before = world.calls("token");
    // The answer is kept back until the caller is gone.
    world
        .sim
        .faults()
        .put("slow", Fault::new("token", Action::Delay { ms: 300 }));
    let path = format!("/api/platforms/tiktok/accounts/{account}/publish-options");
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\n\r\n",
        world.api.key.as_ref().unwrap()
    );
    let caller = raw::begin(&world.api.base, &request).await;
    assert!(
        world.sim.until(|_| world.calls("token") > before).await,
        "the refresh has begun"
    );
    drop(caller);
    world.app().refreshes_done().await;
    for _ in 0..3_000 {
        if world.account(&account).await.token_version > version {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(
        world.account(&account).await.token_version,
        version + 1,
        "the new token is stored"
    );
    ask(&world, &account).await.ok();
    assert_eq!(world.calls("token"), before + 1);
}

#[tokio::test]
async fn t98_a_disconnect_that_the_platform_does_not_hear_is_repeated_and_then_ends_here() {
    let world = World::new().await;
    let account = world.connect().await;
    let down = Action::Status {
        status: 500,
        body: String::new(),
        content_type: "text/plain".into(),
        when: When::Before,
    };
    world.sim.faults().put("down", Fault::new("revoke", down));
    let done = world
        .api
        .post("/api/platforms/tiktok/disconnect", &json!({ "account_id": account }))
        .await
        .ok();
    assert_eq!(done, json!({ "success": true }));
    assert_eq!(status_of(&world, &account).await, "revoked", "unusable at once");
    world
        .api
        .post(POSTS, &pull_post(&account))
        .await
        .problem(409, "account_not_active");
    assert!(
        world.account(&account).await.tokens.is_some(),
        "kept to be used for the revoke"
    );
    for _ in 0..30 {
        world.advance(Duration::from_secs(15));
        world.drain().await;
    }
    assert_eq!(world.calls("revoke"), 1 + 5);
    assert!(world.account(&account).await.tokens.is_none(), "erased all the same");
}

#[tokio::test]
async fn a_disconnect_that_the_platform_hears_later_ends_there_too() {
    let world = World::new().await;
    let account = world.connect().await;
    world.sim.faults().put(
        "down",
        Fault::new("revoke", Action::Drop { when: When::Before }).times(2),
    );
    world.api.poke("/api/platforms/tiktok/disconnect").await.ok();
    for _ in 0..6 {
        world.advance(Duration::from_secs(15));
        world.drain().await;
    }
    assert_eq!(world.calls("revoke"), 3);
    assert!(world.sim.oracle().refresh_tokens().iter().all(|token| !token.alive));
    assert!(world.account(&account).await.tokens.is_none());
}

#[tokio::test]
async fn a_disconnect_stops_what_waits_and_what_is_connected_again_goes_on() {
    let world = World::new().await;
    let account = world.connect().await;
    let queued = world.post(&pull_post(&account)).await;
    world.api.poke("/api/platforms/tiktok/disconnect").await.ok();
    world.drain().await;
    assert_eq!(world.show(&queued).await["status"], "cancelled");
    assert_eq!(world.inits(), 0);
    world.api.poke("/api/platforms/tiktok/disconnect").await.ok();
    assert_eq!(world.connect().await, account);
    world.published(&world.post(&pull_post(&account)).await).await;
    let request = world
        .api
        .request(Method::POST, "/api/platforms/tiktok/disconnect")
        .body("{}");
    send(request).await.ok();
    assert_eq!(status_of(&world, &account).await, "revoked");
}
