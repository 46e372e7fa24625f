//! The API document against the running host.

use std::collections::BTreeSet;

use patchbay_app::problem::ProblemKind;
use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::{Setup, World, send};

/// What answers without a key, and what it says then.
const OPEN: [(&str, &str, u16); 20] = [
    // Signed by the platform.
    ("POST", "/api/platforms/{provider}/webhooks", 401),
    ("POST", "/api/webhooks/{provider}", 401),
    // Bound to a browser by state and cookie.
    ("GET", "/api/platforms/{provider}/callback", 400),
    ("POST", "/api/platforms/{provider}/callback", 400),
    ("GET", "/api/auth/{provider}/callback", 400),
    ("GET", "/api/platforms/{provider}/connect/choices/{handle}", 400),
    ("POST", "/api/platforms/{provider}/connect/choices/{handle}", 415),
    // With the token of a connect session.
    ("GET", "/api/platforms/{provider}/authorize", 401),
    ("GET", "/api/auth/{provider}", 401),
    // A secret in the path, told to one platform for one attempt.
    ("GET", "/api/media/pull/{token}", 404),
    // What a browser asks before it sends its key.
    ("OPTIONS", "/api/media/uploads", 204),
    // With an operator's key in the body, to get a cookie.
    ("POST", "/api/operator/session", 415),
    // The worker secret.
    ("POST", "/api/workers/token-refresh", 401),
    ("POST", "/api/workers/webhooks", 401),
    ("POST", "/api/workers/publish", 401),
    ("POST", "/api/workers/deliver", 401),
    ("POST", "/api/workers/fetch", 401),
    ("POST", "/api/workers/metrics", 401),
    ("GET", "/healthz", 200),
    ("GET", "/readyz", 200),
];

struct Operation {
    method: String,
    path: String,
    document: Value,
}

fn operations() -> Vec<Operation> {
    let document = serde_json::to_value(patchbay_server::api::openapi()).unwrap();
    let paths = document["paths"].as_object().unwrap();
    let all = paths.iter().flat_map(|(path, methods)| {
        methods
            .as_object()
            .unwrap()
            .iter()
            .map(move |(method, document)| Operation {
                method: method.to_uppercase(),
                path: path.clone(),
                document: document.clone(),
            })
    });
    all.collect()
}

fn names_in(path: &str) -> BTreeSet<&str> {
    path.split('/')
        .filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
        .collect()
}

#[tokio::test]
async fn every_operation_wants_a_key_but_a_few_that_prove_themselves_otherwise() {
    let world = World::new().await;
    let nobody = world.api.with_key(None);
    let mut open = BTreeSet::new();
    for Operation { method, path, document } in operations() {
        let real = path
            .replace("{provider}", "tiktok")
            .replace("{id}", "acc_1")
            .replace("{publish_id}", "x");
        let reply = send(nobody.request(Method::from_bytes(method.as_bytes()).unwrap(), &real)).await;
        let listed = OPEN.iter().find(|(m, p, _)| *m == method && *p == path);
        let expected = listed.map_or(401, |(_, _, status)| *status);
        assert_eq!(reply.status, expected, "{method} {path}: {}", reply.text);
        let declared = document["security"].as_array();
        let needs_key = declared.is_none_or(|any| any.iter().all(|one| one != &json!({})) && !any.is_empty());
        match listed {
            Some((_, _, _)) if path.starts_with("/api/workers") => {
                assert_eq!(document["security"], json!([{ "worker_secret": [] }]));
            }
            Some(_) => assert!(!needs_key, "{method} {path} is documented as closed"),
            None => assert!(needs_key, "{method} {path} is documented as open"),
        }
        open.extend(listed.map(|(method, path, _)| (*method, *path)));
    }
    assert_eq!(open.len(), OPEN.len(), "an entry of the list is no operation any more");
}

#[test]
fn every_parameter_and_answer_is_documented() {
    let mut ids = BTreeSet::new();
    let whole = serde_json::to_value(patchbay_server::api::openapi()).unwrap();
    for Operation { method, path, document } in operations() {
        let parameters = document["parameters"].as_array().cloned().unwrap_or_default();
        let documented: BTreeSet<_> = parameters
            .iter()
            .filter(|one| one["in"] == "path")
            .map(|one| one["name"].as_str().unwrap())
            .collect();
        assert_eq!(documented, names_in(&path), "{method} {path}");
        for parameter in &parameters {
            assert!(
                parameter["description"].as_str().is_some_and(|text| !text.is_empty()),
                "{method} {path}: {parameter}"
            );
        }
        let summary = document["summary"].as_str().or(document["description"].as_str());
        assert!(
            summary.is_some_and(|text| !text.is_empty()),
            "{method} {path} says nothing of itself"
        );
        assert!(
            ids.insert(document["operationId"].to_string()),
            "{method} {path}: its id is taken"
        );
        let responses = document["responses"].as_object().unwrap();
        assert!(
            responses.keys().any(|status| status.starts_with(['2', '3'])),
            "{method} {path}"
        );
        for (status, response) in responses.iter().filter(|(status, _)| status.starts_with(['4', '5'])) {
            if path == "/readyz" {
                continue;
            }
            // Those that any operation may give are written once.
            let response = match response["$ref"].as_str() {
                Some(place) => whole.pointer(place.trim_start_matches('#')).unwrap(),
                None => response,
            };
            let schema = &response["content"]["application/problem+json"]["schema"]["$ref"];
            assert_eq!(schema, "#/components/schemas/Problem", "{method} {path} {status}");
        }
    }
}

#[tokio::test]
async fn the_document_is_served_as_committed_where_every_platform_is_on() {
    let setup = Setup::default().set("PATCHBAY__PROVIDERS__BLUESKY__ENABLED", "true");
    let world = setup.build().await;
    let served = world.api.with_key(None).get("/api/openapi.json").await.ok();
    let text = patchbay_server::cli::openapi_text().unwrap();
    assert_eq!(served, serde_json::from_str::<Value>(&text).unwrap());
}

#[test]
fn problems_have_codes_of_their_own_and_statuses_that_fit() {
    let mut codes = BTreeSet::new();
    for kind in ProblemKind::ALL {
        assert!(codes.insert(kind.code()), "{} is there twice", kind.code());
        assert!((400..600).contains(&kind.status()));
        assert!(
            !kind.title().is_empty() && !kind.title().ends_with('.'),
            "{}",
            kind.code()
        );
    }
}
