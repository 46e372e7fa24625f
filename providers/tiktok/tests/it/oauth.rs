use std::time::Duration;

use patchbay_core::{
    AppCheck, Auth, Authorize, AuthorizeRequest, Body, Callback, Ctx, ErrorKind, Grant, HttpRequest, PkceChallenge,
    ProviderError, SecretRef, Value, WhoActs,
};
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::support::{OPEN_ID, Reply, Script, account, answer, app, fixture, ok, query, refused, start, tiktok, url};

fn authorize_request(verifier: &str) -> AuthorizeRequest {
    AuthorizeRequest {
        redirect_uri: url("https://patchbay.example.com/api/platforms/tiktok/callback"),
        state: "st&te".to_owned(),
        scopes: vec!["user.info.basic".to_owned(), "video.publish".to_owned()],
        pkce: PkceChallenge {
            digest: Sha256::digest(verifier).into(),
        },
        force_consent: false,
    }
}

async fn authorize(request: &AuthorizeRequest) -> Result<Authorize, ProviderError> {
    let provider = tiktok();
    let script = Script::new(&*provider, start(), Vec::new());
    let app = app();
    let ctx = Ctx::new(&script, start(), &app, None);
    provider.oauth().unwrap().authorize(&ctx, request).await
}

#[tokio::test]
async fn the_authorize_page_gets_tiktoks_own_parameters() {
    // Verifier and challenge of the fact sheet's vector.
    let request = authorize_request("abcdefghijklmnopqrstuvwxyz0123456789-._~ABCDEFG");
    let Authorize::Redirect { url, .. } = authorize(&request).await.unwrap() else {
        panic!("no redirect")
    };
    assert!(url.as_str().starts_with("https://www.tiktok.com/v2/auth/authorize/?"));
    let found = query(&url);
    let expected = [
        ("client_key", "ck_test"),
        ("response_type", "code"),
        ("scope", "user.info.basic,video.publish"),
        (
            "redirect_uri",
            "https://patchbay.example.com/api/platforms/tiktok/callback",
        ),
        ("state", "st&te"),
        (
            "code_challenge",
            "4c3a770bec0fa3768a0cad4183eba43fbf2767d622a940f64e8443f7a1e86875",
        ),
        ("code_challenge_method", "S256"),
    ];
    assert_eq!(found, expected.map(|(n, v)| (n.to_owned(), v.to_owned())).into());
}

#[tokio::test]
async fn forced_consent_switches_the_shortcut_off() {
    let mut request = authorize_request("v");
    request.force_consent = true;
    let Authorize::Redirect { url, .. } = authorize(&request).await.unwrap() else {
        panic!("no redirect")
    };
    assert_eq!(query(&url).get("disable_auto_auth").map(String::as_str), Some("1"));
}

#[tokio::test]
async fn a_redirect_address_that_tiktok_cannot_take_is_named_early() {
    for wrong in [
        "https://a.example/cb?x=1",
        "https://a.example/cb#x",
        "http://a.example/cb",
        "https://192.0.2.1/cb",
        "http://[::1]:8080/cb",
        "http://localhost/cb",
        &format!("https://a.example/{}", "x".repeat(512)),
    ] {
        let mut request = authorize_request("v");
        request.redirect_uri = url(wrong);
        let error = authorize(&request).await.unwrap_err();
        assert_eq!(
            (error.code.as_ref(), error.who_acts()),
            ("redirect_uri", WhoActs::Operator)
        );
    }
}

#[test]
fn redirect_addresses_of_both_lists_are_taken() {
    let provider = tiktok();
    for right in [
        "https://a.example/cb",
        "https://a.example:8443/cb/",
        "http://localhost:3000/cb",
        "https://127.0.0.1:8080/cb",
    ] {
        assert_eq!(
            provider.oauth().unwrap().redirect_issues(&url(right)),
            Vec::<String>::new(),
            "{right}"
        );
    }
    let all_wrong = url(&format!("http://192.0.2.1/{}?a#b", "x".repeat(512)));
    assert_eq!(provider.oauth().unwrap().redirect_issues(&all_wrong).len(), 4);
}

#[tokio::test]
async fn the_app_is_checked_without_an_account() {
    let check = async |reply: Reply| {
        let provider = tiktok();
        let script = Script::new(&*provider, start(), vec![reply]);
        let app = app();
        let ctx = Ctx::new(&script, start(), &app, None);
        let result = provider.oauth().unwrap().check_app(&ctx).await;
        (result, script.finish())
    };
    let token = r#"{"access_token":"clt.example","expires_in":7200,"token_type":"Bearer"}"#;
    let (result, sent) = check(answer("token.app", 200, token)).await;
    assert_eq!(result.unwrap(), AppCheck::Accepted);
    let Body::Form(form) = &sent[0].body else {
        panic!("not a form")
    };
    assert!(
        form.contains(&("grant_type".into(), "client_credentials".into())),
        "{form:?}"
    );
    for (status, body, code) in [
        (
            200,
            r#"{"error":"invalid_client","error_description":"no","log_id":"l"}"#,
            "invalid_client",
        ),
        // As seen with a wrong secret.
        (
            200,
            r#"{"access_token":"","expires_in":0,"token_type":""}"#,
            "no_access_token",
        ),
        (401, r#"{"error":"invalid_client"}"#, "invalid_client"),
    ] {
        let error = check(answer("token.app", status, body)).await.0.unwrap_err();
        assert_eq!(
            (error.code.as_ref(), error.who_acts()),
            (code, WhoActs::Operator),
            "{body}"
        );
    }
    let error = check(answer("token.app", 503, "")).await.0.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Retryable);
}

fn callback() -> Callback {
    Callback {
        params: Default::default(),
        code: SecretRef::call("code"),
        pkce_verifier: SecretRef::call("pkce_verifier"),
        redirect_uri: url("https://patchbay.example.com/api/platforms/tiktok/callback"),
        pending: serde_json::Value::Null,
    }
}

async fn exchange(replies: Vec<Reply>) -> (Result<Grant, ProviderError>, Vec<HttpRequest>) {
    let provider = tiktok();
    let script = Script::new(&*provider, start(), replies);
    let app = app();
    let ctx = Ctx::new(&script, start(), &app, None);
    let result = provider.oauth().unwrap().exchange(&ctx, &callback()).await;
    (result, script.finish())
}

#[tokio::test]
async fn an_exchange_brings_handles_identity_and_granted_scopes() {
    let (grant, sent) = exchange(vec![
        answer("token.exchange", 200, fixture("token")),
        answer("user.info_connect", 200, fixture("user_info")),
    ])
    .await;
    let grant = grant.unwrap();

    let Body::Form(form) = &sent[0].body else {
        panic!("not a form")
    };
    let field = |name: &str| form.iter().find(|(n, _)| n == name).map(|(_, value)| value.clone());
    assert_eq!(field("client_key"), Some(Value::from("ck_test")));
    assert_eq!(field("client_secret"), Some(SecretRef::app("client_secret").into()));
    assert_eq!(field("code"), Some(SecretRef::call("code").into()));
    assert_eq!(field("code_verifier"), Some(SecretRef::call("pkce_verifier").into()));
    assert_eq!(field("grant_type"), Some(Value::from("authorization_code")));
    assert_eq!(
        field("redirect_uri"),
        Some(Value::from(callback().redirect_uri.as_str()))
    );

    let access = SecretRef::captured("token.exchange", "access_token");
    assert_eq!(sent[1].auth, Auth::Bearer(access.clone()));
    let fields = Value::from("open_id,avatar_url,display_name,username,profile_deep_link");
    assert_eq!(sent[1].query, [("fields".into(), fields)]);

    assert_eq!(grant.credentials.get("access_token").unwrap(), access);
    let refresh = SecretRef::captured("token.exchange", "refresh_token");
    assert_eq!(grant.credentials.get("refresh_token").unwrap(), refresh);
    assert_eq!(grant.credentials.lifetimes.access, Some(Duration::from_secs(7200)));
    assert_eq!(
        grant.credentials.lifetimes.refresh,
        Some(Duration::from_secs(15_552_000))
    );
    assert_eq!(
        grant.scopes,
        ["user.info.basic", "user.info.profile", "video.publish", "video.upload"]
    );
    let identity = &grant.identities[0];
    assert_eq!(
        (identity.remote_id.as_str(), identity.username.as_deref()),
        (OPEN_ID, Some("ada"))
    );
    assert!(!format!("{grant:?}").contains("canary!"), "a token in the grant");
}

#[tokio::test]
async fn without_the_basic_scope_the_account_is_known_by_its_open_id() {
    let mut token: serde_json::Value = serde_json::from_str(&fixture("token")).unwrap();
    token["scope"] = json!("video.upload");
    let (grant, _) = exchange(vec![answer("token.exchange", 200, token.to_string())]).await;
    let identity = &grant.unwrap().identities[0];
    assert_eq!(
        (identity.remote_id.as_str(), identity.display_name.as_deref()),
        (OPEN_ID, None)
    );
}

#[tokio::test]
async fn a_token_answer_is_judged_by_its_body() {
    let check = async |status: u16, body: String, kind: ErrorKind, code: &str| {
        let (result, _) = exchange(vec![answer("token.exchange", status, body.clone())]).await;
        let error = result.unwrap_err();
        assert_eq!((error.kind, error.code.as_ref()), (kind, code), "{status} {body}");
        assert!(!error.to_string().contains("canary"));
    };
    check(
        200,
        fixture("token_invalid_grant"),
        ErrorKind::ReauthRequired,
        "invalid_grant",
    )
    .await;
    check(
        200,
        fixture("token_without_token"),
        ErrorKind::Permanent,
        "no_access_token",
    )
    .await;
    check(
        200,
        "<html>canary</html>".into(),
        ErrorKind::Permanent,
        "unexpected_answer",
    )
    .await;
    check(200, "{}".into(), ErrorKind::Permanent, "no_access_token").await;
    check(
        401,
        r#"{"error":"invalid_client"}"#.into(),
        ErrorKind::Permanent,
        "invalid_client",
    )
    .await;
    check(401, String::new(), ErrorKind::Permanent, "unauthorized").await;
    check(429, String::new(), ErrorKind::RateLimited, "rate_limited").await;
    check(503, "<html>".into(), ErrorKind::Retryable, "server_error").await;
    check(404, "Unsupported path(Janus)".into(), ErrorKind::Permanent, "not_found").await;
    for (field, wrong) in [
        ("access_token", json!("")),
        ("access_token", json!(7)),
        ("open_id", json!("")),
        ("open_id", json!("nul\u{0}")),
        ("open_id", json!(null)),
        ("expires_in", json!(-1)),
        ("expires_in", json!(1e12 as i64)),
        ("expires_in", json!("7200")),
        ("refresh_expires_in", json!(0)),
    ] {
        let mut token: serde_json::Value = serde_json::from_str(&fixture("token")).unwrap();
        token[field] = wrong.clone();
        let (result, _) = exchange(vec![answer("token.exchange", 200, token.to_string())]).await;
        assert_eq!(result.unwrap_err().kind, ErrorKind::Permanent, "{field} {wrong}");
    }
}

#[tokio::test]
async fn a_token_of_one_person_and_the_name_of_another_do_not_make_an_account() {
    let other = json!({ "user": { "open_id": "-000other", "display_name": "Eve" } });
    let (result, _) = exchange(vec![
        answer("token.exchange", 200, fixture("token")),
        ok("user.info_connect", other),
    ])
    .await;
    assert_eq!(result.unwrap_err().code, "open_id_mismatch");
}

async fn refresh(reply: Reply) -> (Result<patchbay_core::Credentials, ProviderError>, Vec<HttpRequest>) {
    let provider = tiktok();
    let script = Script::new(&*provider, start(), vec![reply]);
    let (app, account) = (app(), account());
    let ctx = Ctx::new(&script, start(), &app, Some(&account));
    let result = provider.oauth().unwrap().refresh(&ctx).await;
    (result, script.finish())
}

#[tokio::test]
async fn a_rotated_refresh_token_is_kept_and_an_absent_one_leaves_the_old() {
    let (result, sent) = refresh(answer("token.refresh", 200, fixture("token"))).await;
    let kept = result.unwrap().get("refresh_token").unwrap();
    assert_eq!(kept, SecretRef::captured("token.refresh", "refresh_token"));
    let Body::Form(form) = &sent[0].body else {
        panic!("not a form")
    };
    assert!(form.contains(&("refresh_token".into(), SecretRef::account("refresh_token").into())));

    let mut token: serde_json::Value = serde_json::from_str(&fixture("token")).unwrap();
    token.as_object_mut().unwrap().remove("refresh_token");
    let (result, _) = refresh(answer("token.refresh", 200, token.to_string())).await;
    assert_eq!(
        result.unwrap().get("refresh_token").unwrap(),
        SecretRef::account("refresh_token")
    );
}

#[tokio::test]
async fn only_tiktoks_word_ends_a_grant() {
    for reply in [
        answer("token.refresh", 500, ""),
        answer("token.refresh", 429, ""),
        answer("token.refresh", 401, "<html>"),
        answer("token.refresh", 403, ""),
        answer("token.refresh", 200, fixture("token_without_token")),
        answer("token.refresh", 200, r#"{"error":"server_error"}"#),
        answer("token.refresh", 400, r#"{"error":"invalid_request"}"#),
        Reply::Lost("token.refresh"),
        Reply::NotSent("token.refresh"),
    ] {
        let (result, _) = refresh(reply).await;
        assert_ne!(result.unwrap_err().kind, ErrorKind::ReauthRequired);
    }
    for status in [200, 400, 401] {
        let (result, _) = refresh(answer("token.refresh", status, fixture("token_invalid_grant"))).await;
        assert_eq!(result.unwrap_err().kind, ErrorKind::ReauthRequired);
    }
}

#[tokio::test]
async fn a_refresh_that_answers_for_somebody_else_is_refused() {
    let mut token: serde_json::Value = serde_json::from_str(&fixture("token")).unwrap();
    token["open_id"] = json!("-000other");
    let (result, _) = refresh(answer("token.refresh", 200, token.to_string())).await;
    let error = result.unwrap_err();
    assert_eq!(
        (error.kind, error.code.as_ref()),
        (ErrorKind::Permanent, "open_id_mismatch")
    );
}

#[tokio::test]
async fn identity_reads_what_the_granted_scopes_allow() {
    let provider = tiktok();
    let script = Script::new(
        &*provider,
        start(),
        vec![answer("user.info", 200, fixture("user_info"))],
    );
    let (app, mut account) = (app(), account());
    account.scopes = vec!["user.info.basic".to_owned()];
    let ctx = Ctx::new(&script, start(), &app, Some(&account));
    let identity = provider.oauth().unwrap().identity(&ctx).await.unwrap();
    assert_eq!(identity.display_name.as_deref(), Some("Ada"));
    let sent = script.finish();
    assert_eq!(
        sent[0].query,
        [("fields".into(), Value::from("open_id,avatar_url,display_name"))]
    );
    assert_eq!(sent[0].auth, Auth::AccountBearer);
}

#[tokio::test]
async fn revoke_succeeds_also_when_the_grant_is_gone() {
    let revoke = async |reply: Reply| {
        let provider = tiktok();
        let script = Script::new(&*provider, start(), vec![reply]);
        let (app, account) = (app(), account());
        let ctx = Ctx::new(&script, start(), &app, Some(&account));
        let result = provider.oauth().unwrap().revoke(&ctx).await;
        (result, script.finish())
    };
    let (result, sent) = revoke(answer("token.revoke", 200, "")).await;
    result.unwrap();
    let Body::Form(form) = &sent[0].body else {
        panic!("not a form")
    };
    assert!(form.contains(&("token".into(), SecretRef::account("access_token").into())));
    revoke(answer("token.revoke", 200, "{}")).await.0.unwrap();
    revoke(answer("token.revoke", 200, fixture("token_invalid_grant")))
        .await
        .0
        .unwrap();
    revoke(refused("token.revoke", 401, "access_token_invalid"))
        .await
        .0
        .unwrap();
    assert_eq!(
        revoke(answer("token.revoke", 500, "")).await.0.unwrap_err().kind,
        ErrorKind::Retryable
    );
}
