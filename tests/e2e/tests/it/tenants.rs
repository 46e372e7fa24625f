//! What an operator's key opens: tenants and their API keys, and no door of a tenant's own.

use std::time::Duration;

use patchbay_app::model::KeyScope;
use patchbay_core::{ApiKeyId, DeliveryId, TenantId};
use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::{Api, Database, Setup, World, on_postgres};

const TENANTS: &str = "/api/tenants";

async fn operator(world: &World) -> Api {
    let key = world.make_key(TenantId::DEFAULT, &[KeyScope::Operator]).await;
    world.api.with_key(Some(key))
}

/// Makes a tenant, and gives the path of its keys.
async fn made(operator: &Api, name: &str) -> String {
    let tenant = operator.post(TENANTS, &json!({ "name": name })).await.with(201);
    format!("{TENANTS}/{}/keys", tenant["id"].as_str().unwrap())
}

async fn key_of(operator: &Api, keys: &str, body: Value) -> (String, Api) {
    let key = operator.post(keys, &body).await.with(201);
    let caller = operator.with_key(Some(key["text"].as_str().unwrap().to_owned()));
    (format!("{keys}/{}", key["id"].as_str().unwrap()), caller)
}

async fn a_team_from_its_first_key_to_its_last(database: Database) {
    let world = Setup {
        database,
        ..Setup::default()
    }
    .build()
    .await;
    world.connect().await;
    let operator = operator(&world).await;
    world.advance(Duration::from_secs(1));
    let tenant = operator.post(TENANTS, &json!({ "name": "acme" })).await.with(201);
    let path = format!("{TENANTS}/{}", tenant["id"].as_str().unwrap());
    assert_eq!(operator.get(&path).await.ok(), tenant);
    let listed = operator.get(TENANTS).await.ok();
    let names: Vec<_> = listed["data"].as_array().unwrap().iter().map(|t| &t["name"]).collect();
    assert!(
        names.contains(&&json!("acme")) && names.contains(&&json!("default")),
        "{names:?}"
    );
    assert!(listed["data"].as_array().unwrap().contains(&tenant));

    let keys = format!("{path}/keys");
    let first = operator.post(&keys, &json!({ "name": "backend" })).await.with(201);
    let text = first["text"].as_str().unwrap();
    assert!(text.starts_with(first["begins_with"].as_str().unwrap()));
    assert_eq!(first["scopes"], json!(["read", "connect", "publish"]));
    assert_eq!(
        (&first["state"], &first["last_used_at"]),
        (&json!("live"), &Value::Null)
    );
    let team = operator.with_key(Some(text.to_owned()));
    let accounts = "/api/platforms/tiktok/accounts";
    assert_eq!(
        team.get(accounts).await.ok()["data"],
        json!([]),
        "another team's are none of its own"
    );
    assert_ne!(world.api.get(accounts).await.ok()["data"], json!([]));

    let (reader, narrow) = key_of(
        &operator,
        &keys,
        json!({ "name": "reports", "scopes": ["read", "read"] }),
    )
    .await;
    narrow.get(accounts).await.ok();
    narrow
        .poke("/api/platforms/tiktok/disconnect")
        .await
        .problem(403, "forbidden");

    // Those that were used last come first.
    world.advance(Duration::from_secs(3_600));
    team.get(accounts).await.ok();
    let page = operator.get(&format!("{keys}?limit=1")).await.ok();
    assert_eq!(page["data"][0]["name"], "backend");
    assert!(page["data"][0]["last_used_at"].is_string());
    let next = format!("{keys}?cursor={}", page["next_cursor"].as_str().unwrap());
    let rest = operator.get(&next).await.ok();
    assert_eq!(rest["data"][0]["name"], "reports");
    assert_eq!(rest["data"][0]["scopes"], json!(["read"]));
    assert_eq!(rest["next_cursor"], Value::Null);
    assert!(!format!("{page}{rest}").contains(text), "a key is shown once");
    let elsewhere = made(&operator, "globex").await;
    let foreign = format!("{elsewhere}?cursor={}", page["next_cursor"].as_str().unwrap());
    operator.get(&foreign).await.problem(400, "cursor_invalid");

    for _ in 0..2 {
        assert_eq!(operator.delete(&reader).await.status, 204, "a dead key can be killed");
    }
    narrow.get(accounts).await.problem(401, "unauthorized");
    team.get(accounts).await.ok();
    let states = operator.get(&keys).await.ok();
    let state = |name: &str| {
        let all = states["data"].as_array().unwrap();
        all.iter().find(|key| key["name"] == name).unwrap()["state"].clone()
    };
    assert_eq!((state("backend"), state("reports")), (json!("live"), json!("revoked")));
}

#[tokio::test]
async fn a_team_from_its_first_key_to_its_last_on_sqlite() {
    a_team_from_its_first_key_to_its_last(Database::Sqlite).await;
}

#[tokio::test]
async fn a_team_from_its_first_key_to_its_last_on_postgres() {
    on_postgres(a_team_from_its_first_key_to_its_last).await;
}

#[tokio::test]
async fn a_key_dies_at_its_time() {
    let world = World::new().await;
    let operator = operator(&world).await;
    let keys = made(&operator, "acme").await;
    let end = world.now() + Duration::from_secs(60);
    let (_, team) = key_of(&operator, &keys, json!({ "name": "trial", "expires_at": end })).await;
    team.get("/api/platforms").await.ok();
    world.advance(Duration::from_secs(60));
    team.get("/api/platforms").await.problem(401, "unauthorized");
    assert_eq!(operator.get(&keys).await.ok()["data"][0]["state"], "expired");
}

#[tokio::test]
async fn a_tenants_key_opens_no_door_of_the_operator_and_the_operators_none_of_a_tenant() {
    let world = World::new().await;
    let account = world.connect().await;
    let operator = operator(&world).await;
    let document = serde_json::to_value(patchbay_server::api::openapi()).unwrap();
    let ids = [
        ("{provider}", "tiktok".to_owned()),
        ("{tenant}", TenantId::DEFAULT.to_string()),
        (
            "{delivery}",
            DeliveryId::from_uuid(world.app().env.ids.next()).to_string(),
        ),
        ("{key}", ApiKeyId::from_uuid(world.app().env.ids.next()).to_string()),
    ];
    let mut of_operator = 0;
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            // Those that a key opens at all.
            let security = operation["security"].as_array();
            let by_key = security.is_none_or(|any| any.contains(&json!({ "api_key": [] })));
            if !by_key || path.starts_with("/api/auth/") {
                continue;
            }
            let is_operators = ["tenants", "operator"]
                .iter()
                .any(|tag| operation["tags"] == json!([tag]));
            of_operator += usize::from(is_operators);
            let (caller, id) = if is_operators {
                (&world.api, TenantId::DEFAULT.to_string())
            } else {
                (&operator, account.clone())
            };
            let mut url = path.replace("{id}", &id).replace("{publish_id}", "v_1");
            for (name, value) in &ids {
                url = url.replace(name, value);
            }
            let method = Method::from_bytes(method.to_uppercase().as_bytes()).unwrap();
            let request = caller.request(method.clone(), &url);
            let body = match method {
                // Good where tenants and keys are made: only the key may be what is wrong with it.
                Method::POST | Method::PATCH if is_operators => request.json(&json!({ "name": "x" })),
                Method::PUT if is_operators => request.json(&json!({ "origins": [] })),
                Method::POST => request.json(&json!({})),
                _ => request,
            };
            let status = crate::harness::send(body).await.status;
            // What providers there are is no secret to any key.
            let may = path == "/api/platforms" || path == "/api/platforms/{provider}";
            if path == "/api/erasures/{id}" {
                assert_eq!(status, 404, "of tenants, the operator reads receipts");
            } else if may {
                assert_eq!(status, 200, "{method} {url}");
            } else if is_operators {
                assert_eq!(status, 403, "{method} {url}");
            } else {
                assert!([403, 415, 422].contains(&status), "{method} {url}: {status}");
            }
        }
    }
    assert_eq!(of_operator, 25);
}

#[tokio::test]
async fn what_cannot_be_made_is_refused_with_the_field() {
    let world = World::new().await;
    let operator = operator(&world).await;
    let keys = made(&operator, "acme").await;
    let long = "x".repeat(101);
    for name in ["", "  ", "a\nb", &long] {
        let problem = operator
            .post(TENANTS, &json!({ "name": name }))
            .await
            .problem(422, "invalid");
        assert_eq!(problem["errors"][0]["pointer"], "/name");
        let problem = operator
            .post(&keys, &json!({ "name": name }))
            .await
            .problem(422, "invalid");
        assert_eq!(problem["errors"][0]["pointer"], "/name");
    }
    let twin = operator.post(TENANTS, &json!({ "name": "acme" })).await;
    twin.problem(409, "name_taken");
    for (field, value) in [
        ("scopes", json!([])),
        ("scopes", json!(["read", "operator"])),
        ("expires_at", json!(world.now())),
    ] {
        let body = json!({ "name": "backend", field: value });
        let problem = operator.post(&keys, &body).await.problem(422, "invalid");
        assert_eq!(problem["errors"][0]["pointer"], format!("/{field}"), "{body}");
    }
    for body in [
        json!({ "name": "x", "scopes": ["root"] }),
        json!({ "name": "x", "tenant_id": TenantId::DEFAULT.to_string() }),
    ] {
        operator.post(&keys, &body).await.problem(422, "invalid");
    }
    assert_eq!(operator.get(&keys).await.ok()["data"], json!([]), "nothing was made");

    let env = &world.app().env;
    let nobody = TenantId::from_uuid(env.ids.next());
    for tenant in [nobody.to_string(), "acme".to_owned()] {
        let keys = format!("{TENANTS}/{tenant}/keys");
        operator
            .get(&format!("{TENANTS}/{tenant}"))
            .await
            .problem(404, "not_found");
        operator.get(&keys).await.problem(404, "not_found");
        operator
            .post(&keys, &json!({ "name": "x" }))
            .await
            .problem(404, "not_found");
    }
    let (key, _) = key_of(&operator, &keys, json!({ "name": "backend" })).await;
    let foreign = key.replace(key.split('/').nth(3).unwrap(), &TenantId::DEFAULT.to_string());
    for path in [foreign, format!("{keys}/backend"), format!("{keys}/%FF")] {
        operator.delete(&path).await.problem(404, "not_found");
    }
    assert_eq!(operator.get(&keys).await.ok()["data"][0]["state"], "live");
}
