//! The token endpoint: three grants, one-time codes, rotation, revocation.

use std::time::Duration;

use patchbay_simulator_tiktok::{TokenErrorStatus, TokenProfile};
use serde_json::{Value, json};

use crate::authorize::{VERIFIER, request, with};
use crate::support::{ALL_SCOPES, Answer, CREATOR_INFO, DESKTOP, KEY, SECRET, WEB, World, answer, code, text, world};

const TOKEN: &str = "/v2/oauth/token/";

impl World {
    async fn exchange(&self, code: &str, redirect: &str, verifier: Option<&str>) -> Answer {
        let mut fields = vec![
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", redirect),
        ];
        fields.extend(verifier.map(|verifier| ("code_verifier", verifier)));
        self.form(TOKEN, &fields).await
    }

    async fn code(&self, redirect: &'static str) -> String {
        self.allowed(&request(redirect), "ada_public").await["code"].clone()
    }
}

#[track_caller]
fn refused(answer: &Answer, error: &str) {
    assert_eq!(answer.0, 200, "{}", answer.1);
    assert_eq!(answer.1["error"], error, "{}", answer.1);
    assert!(answer.1["access_token"].is_null());
    assert_eq!(text(&answer.1["log_id"]).len(), 34);
}

#[tokio::test]
async fn a_code_becomes_a_flat_token_answer() {
    let world = world().await;
    let code = world.code(WEB).await;
    let (status, body) = world.exchange(&code, WEB, None).await;
    assert_eq!(status, 200);
    assert!(text(&body["access_token"]).starts_with("act."));
    assert!(text(&body["refresh_token"]).starts_with("rft."));
    assert_eq!(body["expires_in"], 7200);
    assert_eq!(body["refresh_expires_in"], 180 * 86400);
    assert_eq!(body["scope"], "user.info.basic,video.publish,video.upload");
    assert_eq!(body["token_type"], "Bearer");
    assert_eq!(body["open_id"], world.tiktok.account("ada_public").unwrap().open_id);
}

#[tokio::test]
async fn a_code_works_once_decoded_and_for_ten_minutes() {
    let world = world().await;
    let code = world.code(WEB).await;
    let encoded = code.replace('*', "%2A").replace('!', "%21");
    refused(&world.exchange(&encoded, WEB, None).await, "invalid_grant");
    assert!(world.exchange(&code, WEB, None).await.1["access_token"].is_string());
    refused(&world.exchange(&code, WEB, None).await, "invalid_grant");
    let late = world.code(WEB).await;
    world.advance(600);
    refused(&world.exchange(&late, WEB, None).await, "invalid_grant");
}

#[tokio::test]
async fn the_redirect_uri_must_be_the_one_of_the_consent() {
    let world = world().await;
    let code = world.code(WEB).await;
    refused(&world.exchange(&code, DESKTOP, None).await, "invalid_request");
}

#[tokio::test]
async fn a_loopback_exchange_needs_the_verifier_of_a_hex_challenge() {
    let world = world().await;
    let right = world.code(DESKTOP).await;
    assert!(world.exchange(&right, DESKTOP, Some(VERIFIER)).await.1["access_token"].is_string());

    let missing = world.code(DESKTOP).await;
    refused(&world.exchange(&missing, DESKTOP, None).await, "invalid_request");

    // The page takes a base64url challenge; the exchange does not.
    let base64url = with(
        request(DESKTOP),
        "code_challenge",
        Some("TDp3C-wPo3aKDK1Bg-ukP78nZ9YiqUD2ToRD96HoaHU"),
    );
    let code = world.allowed(&base64url, "ada_public").await["code"].clone();
    refused(&world.exchange(&code, DESKTOP, Some(VERIFIER)).await, "invalid_request");
}

#[tokio::test]
async fn a_web_exchange_ignores_a_stray_verifier() {
    let world = world().await;
    let code = world.code(WEB).await;
    assert!(world.exchange(&code, WEB, Some("whatever")).await.1["access_token"].is_string());
}

#[tokio::test]
async fn only_forms_on_the_exact_path_are_taken() {
    let world = world().await;
    let body = json!({ "client_key": KEY, "client_secret": SECRET, "grant_type": "client_credentials" });
    let json_body = world
        .client
        .post(world.api_url(TOKEN))
        .json(&body)
        .send()
        .await
        .unwrap();
    refused(&answer(json_body).await, "invalid_request");

    for request in [
        world.client.post(world.api_url("/v2/oauth/token")),
        world.client.get(world.api_url(TOKEN)),
        world.client.get(world.api_url("/v2/video/list/")),
        world.client.post(world.api_url("/v2/user/info/")),
    ] {
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), 404);
        assert_eq!(response.text().await.unwrap(), "Unsupported path(Janus)");
    }
}

#[tokio::test]
async fn wrong_clients_and_grants_are_named_in_the_body() {
    let world = world().await;
    let wrong = [
        ("client_key", KEY),
        ("client_secret", "wrong"),
        ("grant_type", "refresh_token"),
    ];
    let ask = async || {
        answer(
            world
                .client
                .post(world.api_url(TOKEN))
                .form(&wrong)
                .send()
                .await
                .unwrap(),
        )
        .await
    };
    refused(&ask().await, "invalid_client");
    refused(
        &world.form(TOKEN, &[("grant_type", "password")]).await,
        "unsupported_grant_type",
    );
    refused(&world.form(TOKEN, &[]).await, "invalid_request");
    refused(&world.refresh("rft.unknown").await, "invalid_grant");

    world
        .tiktok
        .change_switches(|switches| switches.token_error_status = TokenErrorStatus::Rfc);
    assert_eq!(ask().await.0, 401);
    assert_eq!(world.refresh("rft.unknown").await.0, 400);
}

#[tokio::test]
async fn a_client_token_has_no_refresh_token() {
    let world = world().await;
    let (_, body) = world.form(TOKEN, &[("grant_type", "client_credentials")]).await;
    assert!(text(&body["access_token"]).starts_with("clt."));
    assert_eq!(body["expires_in"], 7200);
    assert_eq!(body.as_object().unwrap().len(), 3);
}

#[tokio::test]
async fn rotation_kills_the_old_refresh_token_at_once() {
    let world = world().await;
    let first = world.tiktok.grant("ada_public", &["video.publish"]).unwrap();
    let (_, body) = world.refresh(&first.refresh_token).await;
    let second = text(&body["refresh_token"]);
    assert_ne!(second, first.refresh_token);
    refused(&world.refresh(&first.refresh_token).await, "invalid_grant");
    assert!(world.refresh(&second).await.1["access_token"].is_string());

    let uses = world.tiktok.oracle().refresh_tokens();
    let counts: Vec<_> = uses
        .iter()
        .map(|u| (u.version, u.accepted, u.refused, u.alive))
        .collect();
    assert_eq!(counts, [(1, 1, 1, false), (2, 1, 0, false), (3, 0, 0, true)]);
}

#[tokio::test]
async fn the_switches_give_the_older_lifetimes_or_the_same_token() {
    let world = world().await;
    world
        .tiktok
        .change_switches(|switches| switches.tokens = TokenProfile::Legacy);
    let first = world.tiktok.grant("ada_public", &["video.publish"]).unwrap();
    assert_eq!((first.expires_in, first.refresh_expires_in), (86_400, 31_536_000));
    world.refresh(&first.refresh_token).await;
    assert!(world.refresh(&first.refresh_token).await.1["access_token"].is_string());

    world.tiktok.change_switches(|switches| switches.rotate_refresh = false);
    world.advance(100);
    let (_, body) = world.refresh(&first.refresh_token).await;
    assert_eq!(body["refresh_token"], first.refresh_token);
    assert_eq!(body["refresh_expires_in"], 31_536_000 - 100);
}

#[tokio::test]
async fn tokens_end_with_the_clock() {
    let world = world().await;
    let tokens = world.tiktok.grant("ada_public", &["video.publish"]).unwrap();
    world.advance(7199);
    assert_eq!(world.call(CREATOR_INFO, &tokens.access_token, json!({})).await.0, 200);
    world.advance(1);
    let (status, body) = world.call(CREATOR_INFO, &tokens.access_token, json!({})).await;
    assert_eq!((status, code(&body)), (401, "access_token_invalid"));
    assert_eq!(body["data"], json!({}));
    world.tiktok.clock().advance(Duration::from_secs(180 * 86400));
    refused(&world.refresh(&tokens.refresh_token).await, "invalid_grant");
}

#[tokio::test]
async fn revoking_ends_everything_and_tells_the_app() {
    let mut world = world().await;
    let inbox = world.receiver().await;
    let scopes: Vec<&str> = ALL_SCOPES.split(',').collect();
    let tokens = world.tiktok.grant("ada_public", &scopes).unwrap();
    let (id, _) = world.begin_upload(&tokens.access_token, 1000, "SELF_ONLY").await;
    let revoked = world
        .form("/v2/oauth/revoke/", &[("token", &tokens.access_token)])
        .await;
    assert_eq!(revoked, (200, json!({})));
    assert_eq!(world.call(CREATOR_INFO, &tokens.access_token, Value::Null).await.0, 401);
    refused(&world.refresh(&tokens.refresh_token).await, "invalid_grant");
    world.tiktok.settle().await;
    assert_eq!(inbox.events(), ["authorization.removed", "post.publish.failed"]);
    assert_eq!(inbox.content(0), json!({ "reason": 5 }));
    assert_eq!(inbox.content(1)["reason"], "auth_removed");
    assert_eq!(world.tiktok.oracle().post(&id).unwrap().status, "FAILED");
    refused(
        &world
            .form("/v2/oauth/revoke/", &[("token", &tokens.access_token)])
            .await,
        "invalid_grant",
    );
}
