//! Connecting, renewing and ending, with answers as a server of version 0.5 gives them.

use patchbay_core::{
    Auth, Authorize, AuthorizeRequest, Body, BodySecret, Callback, Ctx, ErrorKind, Grant, HttpRequest, PkceChallenge,
    ProviderError, SecretRef,
};
use serde_json::{Value, json};
use url::Url;

use crate::support::{DID, Reply, SERVER, Script, account, address, app, bluesky, json_body, ok, refused, start};

fn callback(fields: &[(&str, &str)]) -> Callback {
    Callback {
        params: fields
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect(),
        code: SecretRef::call("code"),
        pkce_verifier: SecretRef::call("pkce_verifier"),
        redirect_uri: Url::parse("https://patchbay.example/callback").unwrap(),
        pending: Value::Null,
    }
}

async fn exchange(fields: &[(&str, &str)], replies: Vec<Reply>) -> (Result<Grant, ProviderError>, Vec<HttpRequest>) {
    let script = Script::new(replies);
    let app = app();
    let ctx = Ctx::new(&script, start(), &app, None);
    let result = bluesky().oauth().unwrap().exchange(&ctx, &callback(fields)).await;
    (result, script.finish())
}

fn document(handle: &str, endpoint: &str) -> Value {
    json!({
        "@context": ["https://www.w3.org/ns/did/v1"],
        "id": DID,
        "alsoKnownAs": [format!("at://{handle}")],
        "verificationMethod": [],
        "service": [
            { "id": "#bsky_notif", "type": "BskyNotificationService", "serviceEndpoint": "https://notif.example" },
            { "id": "#atproto_pds", "type": "AtprotoPersonalDataServer", "serviceEndpoint": endpoint },
        ],
    })
}

fn session(did: &str) -> Value {
    json!({
        "did": did, "handle": "alice.test", "email": "a@example.com", "emailConfirmed": false, "active": true,
        "accessJwt": "canary", "refreshJwt": "canary",
    })
}

fn resolved() -> Reply {
    ok("handle.resolve", json!({ "did": DID }))
}

fn found() -> Reply {
    ok("did.plc", document("alice.test", "https://pds.example.com"))
}

#[tokio::test]
async fn a_person_is_asked_for_a_handle_and_an_app_password() {
    let script = Script::new(Vec::new());
    let app = app();
    let ctx = Ctx::new(&script, start(), &app, None);
    let request = AuthorizeRequest {
        redirect_uri: Url::parse("https://patchbay.example/callback").unwrap(),
        state: "s".to_owned(),
        scopes: Vec::new(),
        pkce: PkceChallenge { digest: [0; 32] },
        force_consent: false,
    };
    let Authorize::Form { fields, .. } = bluesky().oauth().unwrap().authorize(&ctx, &request).await.unwrap() else {
        panic!("no form")
    };
    let fields: Vec<_> = fields
        .iter()
        .map(|field| (&*field.name, field.secret, field.required))
        .collect();
    assert_eq!(
        fields,
        [
            ("handle", false, true),
            ("app_password", true, true),
            ("server", false, false)
        ]
    );
}

#[tokio::test]
async fn the_password_goes_to_the_server_of_the_accounts_own_document() {
    let (grant, sent) = exchange(
        &[("handle", "@Alice.test ")],
        vec![
            resolved(),
            found(),
            ok("session.create", session(DID)),
            ok(
                "record.get",
                json!({ "uri": "u", "cid": "c", "value": { "displayName": "Alice" } }),
            ),
        ],
    )
    .await;
    let addresses: Vec<_> = sent.iter().map(address).collect();
    assert_eq!(
        addresses,
        [
            "https://public.api.bsky.app/xrpc/com.atproto.identity.resolveHandle",
            "https://plc.directory/did:plc:jlmfuexhcin4qnwlshbnhxlp",
            "https://pds.example.com/xrpc/com.atproto.server.createSession",
            "https://pds.example.com/xrpc/com.atproto.repo.getRecord",
        ]
    );
    assert_eq!(sent[0].query, [("handle".into(), "alice.test".into())]);
    assert_eq!(json_body(&sent[2]), &json!({ "identifier": DID, "password": "" }));
    let password = BodySecret {
        pointer: "/password".to_owned(),
        secret: SecretRef::call("app_password"),
    };
    assert_eq!(sent[2].body_secrets, [password]);
    let grant = grant.unwrap();
    assert_eq!(grant.credentials.server.unwrap().as_str(), SERVER);
    assert_eq!(
        grant.credentials.secrets["access_token"],
        SecretRef::captured("session.create", "access_token")
    );
    assert_eq!(
        grant.credentials.secrets["refresh_token"],
        SecretRef::captured("session.create", "refresh_token")
    );
    let [identity] = &grant.identities[..] else {
        panic!("{:?}", grant.identities)
    };
    assert_eq!(identity.remote_id, DID);
    assert_eq!(identity.username.as_deref(), Some("alice.test"));
    assert_eq!(identity.display_name.as_deref(), Some("Alice"));
}

#[tokio::test]
async fn a_named_server_is_asked_who_the_handle_is_and_gets_no_password() {
    let (grant, sent) = exchange(
        &[("handle", "alice.test"), ("server", "other.example")],
        vec![
            resolved(),
            found(),
            ok("session.create", session(DID)),
            Reply::Lost("record.get"),
        ],
    )
    .await;
    assert_eq!(
        address(&sent[0]),
        "https://other.example/xrpc/com.atproto.identity.resolveHandle"
    );
    assert!(address(&sent[2]).starts_with(SERVER));
    assert_eq!(grant.unwrap().identities[0].display_name, None, "a nicety");
}

#[tokio::test]
async fn a_handle_that_the_account_does_not_claim_is_not_shown() {
    let (grant, _) = exchange(
        &[("handle", DID)],
        vec![
            ok("did.plc", document("other.test", "https://pds.example.com")),
            ok("session.create", session(DID)),
            refused("record.get", 400, "RecordNotFound"),
        ],
    )
    .await;
    assert_eq!(grant.unwrap().identities[0].username, None);
}

#[track_caller]
fn is(result: &Result<Grant, ProviderError>, kind: ErrorKind, code: &str) {
    let error = result.as_ref().unwrap_err();
    assert_eq!((error.kind, &*error.code), (kind, code), "{error}");
}

#[tokio::test]
async fn what_people_enter_wrongly_is_told_apart() {
    for (fields, code) in [
        (vec![("handle", "a@example.com")], "handle_malformed"),
        (vec![], "handle_malformed"),
        (
            vec![("handle", "alice.test"), ("server", "http://x.example")],
            "server_malformed",
        ),
        (
            vec![("handle", "alice.test"), ("server", "https://x.example/path")],
            "server_malformed",
        ),
    ] {
        let (result, sent) = exchange(&fields, Vec::new()).await;
        is(&result, ErrorKind::InvalidRequest, code);
        assert!(sent.is_empty());
    }
    for name in ["InvalidRequest", "HandleNotFound"] {
        let (result, _) = exchange(&[("handle", "x.test")], vec![refused("handle.resolve", 400, name)]).await;
        is(&result, ErrorKind::InvalidRequest, "handle_unknown");
    }
    let wrong = refused("session.create", 401, "AuthenticationRequired");
    let (result, _) = exchange(&[("handle", "alice.test")], vec![resolved(), found(), wrong]).await;
    is(&result, ErrorKind::ReauthRequired, "AuthenticationRequired");
    assert!(result.unwrap_err().advice.unwrap().contains("app password"));
    let mut inactive = session(DID);
    inactive["active"] = false.into();
    inactive["status"] = "deactivated".into();
    let replies = vec![resolved(), found(), ok("session.create", inactive)];
    let (result, _) = exchange(&[("handle", "alice.test")], replies).await;
    is(&result, ErrorKind::InvalidRequest, "account_inactive");
}

#[tokio::test]
async fn no_server_can_pose_as_another_accounts() {
    let other = "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa";
    let replies = vec![resolved(), found(), ok("session.create", session(other))];
    let (result, _) = exchange(&[("handle", "alice.test")], replies).await;
    is(&result, ErrorKind::Permanent, "unexpected_answer");
    // The directory's document of somebody else, one without a server, and one whose server is none.
    let mut foreign = document("alice.test", "https://pds.example.com");
    foreign["id"] = other.into();
    let mut homeless = document("alice.test", "https://pds.example.com");
    homeless["service"] = json!([]);
    for document in [
        foreign,
        homeless,
        document("alice.test", "http://pds.example.com"),
        document("alice.test", "https://pds.example.com/path"),
    ] {
        let (result, _) = exchange(&[("handle", "alice.test")], vec![resolved(), ok("did.plc", document)]).await;
        is(&result, ErrorKind::Permanent, "unexpected_answer");
    }
    let replies = vec![ok("handle.resolve", json!({ "did": "did:plc:../../x" }))];
    let (result, _) = exchange(&[("handle", "alice.test")], replies).await;
    is(&result, ErrorKind::Permanent, "unexpected_answer");
}

#[tokio::test]
async fn an_account_of_a_domain_has_its_document_there() {
    let did = "did:web:example.org";
    let mut document = document("example.org", "https://pds.example.com");
    document["id"] = did.into();
    let replies = vec![
        ok("did.web", document),
        ok("session.create", session(did)),
        refused("record.get", 400, "RecordNotFound"),
    ];
    let (grant, sent) = exchange(&[("handle", did)], replies).await;
    assert_eq!(address(&sent[0]), "https://example.org/.well-known/did.json");
    assert_eq!(grant.unwrap().identities[0].remote_id, did);
}

#[tokio::test]
async fn tokens_are_renewed_with_the_refresh_token_as_bearer() {
    let renew = async |reply| {
        let script = Script::new(vec![reply]);
        let (app, account) = (app(), account());
        let ctx = Ctx::new(&script, start(), &app, Some(&account));
        let result = bluesky().oauth().unwrap().refresh(&ctx).await;
        (result, script.finish())
    };
    let (credentials, sent) = renew(ok("session.refresh", session(DID))).await;
    let credentials = credentials.unwrap();
    assert_eq!(
        credentials.secrets["refresh_token"],
        SecretRef::captured("session.refresh", "refresh_token")
    );
    assert_eq!(credentials.server.unwrap().as_str(), SERVER);
    assert_eq!(
        address(&sent[0]),
        "https://pds.example.com/xrpc/com.atproto.server.refreshSession"
    );
    assert_eq!(sent[0].auth, Auth::Bearer(SecretRef::account("refresh_token")));
    assert_eq!(sent[0].body, Body::Empty);
    for (reply, kind) in [
        (
            refused("session.refresh", 400, "ExpiredToken"),
            ErrorKind::ReauthRequired,
        ),
        (
            refused("session.refresh", 400, "InvalidToken"),
            ErrorKind::ReauthRequired,
        ),
        (refused("session.refresh", 401, "AccountTakedown"), ErrorKind::Permanent),
        (refused("session.refresh", 401, "AuthMissing"), ErrorKind::Retryable),
        (
            refused("session.refresh", 500, "InternalServerError"),
            ErrorKind::Retryable,
        ),
        (Reply::Lost("session.refresh"), ErrorKind::Retryable),
        (
            ok("session.refresh", session("did:plc:aaaaaaaaaaaaaaaaaaaaaaaa")),
            ErrorKind::Permanent,
        ),
    ] {
        assert_eq!(renew(reply).await.0.unwrap_err().kind, kind);
    }
}

#[tokio::test]
async fn a_session_that_is_gone_is_ended_well() {
    for (reply, right) in [
        (ok("session.delete", json!({})), true),
        (refused("session.delete", 400, "ExpiredToken"), true),
        (refused("session.delete", 400, "InvalidToken"), true),
        (refused("session.delete", 500, "InternalServerError"), false),
    ] {
        let script = Script::new(vec![reply]);
        let (app, account) = (app(), account());
        let ctx = Ctx::new(&script, start(), &app, Some(&account));
        assert_eq!(bluesky().oauth().unwrap().revoke(&ctx).await.is_ok(), right);
        assert_eq!(
            script.finish()[0].auth,
            Auth::Bearer(SecretRef::account("refresh_token"))
        );
    }
}
