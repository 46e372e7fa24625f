//! Events pushed to the endpoints of tenants: each one, signed, until it is taken (R30; T49 to T58).

use std::{collections::BTreeSet, time::Duration};

use patchbay_app::{
    model::{JobKind, KeyScope},
    push::WAITS,
    work,
};
use patchbay_core::TenantId;
use patchbay_server::api::{messages::KINDS, openapi};
use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::{
    Api, Database, POSTS, Setup, World, draft_pull, id_of, on_postgres, pull_post,
    receiver::{Answer, Got, Receiver, leading_inside},
    send, video_post,
};

const ENDPOINTS: &str = "/api/webhook-endpoints";
const HOOKS: &str = "hooks.example.com";
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(86_400);

/// A world that knows a receiver under two names.
async fn world(database: Database) -> (World, Receiver) {
    let receiver = Receiver::start().await;
    let setup = Setup {
        database,
        ..Setup::default()
    };
    let hosts = receiver.hosts(&[HOOKS, "other.example.com"]);
    (
        setup.set("PATCHBAY__EGRESS__SIMULATED_RECEIVERS", hosts).build().await,
        receiver,
    )
}

/// A registered endpoint.
struct Endpoint {
    path: String,
    secret: String,
}

impl Endpoint {
    async fn make(api: &Api, body: Value) -> Self {
        let made = api.post(ENDPOINTS, &body).await.with(201);
        assert_eq!(made["status"], "enabled");
        Self {
            path: format!("{ENDPOINTS}/{}", id_of(&made)),
            secret: made["secret"].as_str().unwrap().to_owned(),
        }
    }

    async fn at_hooks(api: &Api) -> Self {
        Self::make(api, json!({ "url": format!("https://{HOOKS}/in?from=patchbay") })).await
    }

    async fn show(&self, api: &Api) -> Value {
        api.get(&self.path).await.ok()
    }

    async fn deliveries(&self, api: &Api, query: &str) -> Vec<Value> {
        let list = api
            .get(&format!("{}/deliveries?limit=100&{query}", self.path))
            .await
            .ok();
        list["data"].as_array().unwrap().clone()
    }

    /// Its newest delivery.
    async fn last(&self, api: &Api) -> Value {
        self.deliveries(api, "").await.remove(0)
    }

    async fn test(&self, api: &Api) -> String {
        id_of(&api.poke(&format!("{}/test", self.path)).await.with(202))
    }

    async fn change(&self, api: &Api, body: Value) -> Value {
        send(api.request(Method::PATCH, &self.path).json(&body)).await.ok()
    }

    async fn redeliver(&self, api: &Api, body: Value) -> Value {
        api.post(&format!("{}/redeliver", self.path), &body).await.with(202)
    }
}

/// Sends an event, which comes to this end at once.
async fn tried(world: &World, endpoint: &Endpoint) -> Value {
    endpoint.test(&world.api).await;
    world.work_off().await;
    endpoint.last(&world.api).await
}

async fn every_event_is_pushed(database: Database) {
    let (world, receiver) = world(database).await;
    let own = Endpoint::at_hooks(&world.api).await;
    let all = Endpoint::make(
        &world.api,
        json!({ "url": "https://other.example.com:8443/", "events": ["*"], "description": "all of it" }),
    )
    .await;
    let account = world.connect().await;
    let post = world.post(&video_post(&account, &world.video().await)).await;
    world.published(&post).await;
    world.drain().await;

    let events = world.api.get("/api/events?limit=100").await.ok();
    let events = events["data"].as_array().unwrap();
    let is_own =
        |name: &str| name.starts_with("post.") && !name.starts_with("post.publish.") || name.starts_with("account.");
    let ids = |own_only: bool| -> BTreeSet<&str> {
        let wanted = events
            .iter()
            .filter(|event| !own_only || is_own(event["name"].as_str().unwrap()));
        wanted.map(|event| event["id"].as_str().unwrap()).collect()
    };
    assert!(ids(true).len() >= 2 && ids(false).len() > ids(true).len(), "{events:?}");
    for (endpoint, host, wanted) in [(&own, HOOKS, ids(true)), (&all, "other.example.com:8443", ids(false))] {
        let got = receiver.at(host);
        assert_eq!(got.len(), wanted.len(), "each once");
        assert_eq!(got.iter().map(Got::id).collect::<BTreeSet<_>>(), wanted);
        for got in &got {
            got.verify(&endpoint.secret);
            assert_eq!(got.header("content-type"), "application/json");
            assert!(got.body.len() <= 20 * 1024);
            let event = events.iter().find(|event| event["id"] == got.id()).unwrap();
            let mut data = event.clone();
            for field in ["name", "recorded_at"] {
                data.as_object_mut().unwrap().remove(field);
            }
            assert_eq!(
                got.json(),
                json!({ "type": event["name"], "timestamp": event["occurred_at"], "data": data })
            );
        }
        let log = endpoint.deliveries(&world.api, "status=delivered").await;
        assert_eq!(log.len(), wanted.len());
        for delivery in log {
            assert_eq!(
                (&delivery["attempts"], &delivery["last_attempt"]["answer_status"]),
                (&json!(1), &json!(204))
            );
            assert_eq!(delivery["last_attempt"]["code"], Value::Null);
        }
    }
    assert_eq!(receiver.at(HOOKS)[0].path, "/in?from=patchbay");
    let published = receiver
        .at(HOOKS)
        .into_iter()
        .find(|got| got.event() == "post.published")
        .unwrap();
    assert_eq!(published.json()["data"]["post_id"], *post);
}

#[tokio::test]
async fn every_event_is_pushed_signed_and_logged() {
    every_event_is_pushed(Database::Sqlite).await;
}

#[tokio::test]
async fn every_event_is_pushed_signed_and_logged_on_postgres() {
    on_postgres(every_event_is_pushed).await;
}

async fn what_failed_is_tried_again(database: Database) {
    let (world, receiver) = world(database).await;
    let endpoint = Endpoint::at_hooks(&world.api).await;
    let long = "é".repeat(2_000);
    receiver.answer([
        Answer::Whole(500, Vec::new(), long.clone()),
        Answer::with(503, "retry-after", "3600"),
    ]);
    let delivery = tried(&world, &endpoint).await;
    assert_eq!(
        (&delivery["status"], &delivery["attempts"], &delivery["event"]),
        (&json!("pending"), &json!(1), &json!("webhook.test"))
    );
    let last = &delivery["last_attempt"];
    assert_eq!(
        (&last["answer_status"], &last["code"]),
        (&json!(500), &json!("refused"))
    );
    assert_eq!(last["answer_body"], long[..1024]);
    let since = endpoint.show(&world.api).await["failing_since"].clone();
    assert_eq!(since, last["at"]);
    world.work_off().await;
    assert_eq!(receiver.got().len(), 1, "not before its time");

    world.advance(Duration::from_secs(6));
    world.work_off().await;
    assert_eq!(receiver.got().len(), 2);
    // The schedule says five minutes, the receiver an hour.
    world.advance(50 * MINUTE);
    world.work_off().await;
    assert_eq!(receiver.got().len(), 2, "not before the receiver wants it");
    world.advance(10 * MINUTE);
    world.work_off().await;
    let got = receiver.got();
    assert_eq!(got.len(), 3);
    for got in &got {
        got.verify(&endpoint.secret);
    }
    let same: BTreeSet<_> = got.iter().map(|got| (got.id().to_owned(), got.body.clone())).collect();
    assert_eq!(same.len(), 1);
    let times: BTreeSet<_> = got
        .iter()
        .map(|got| got.header("webhook-timestamp").to_owned())
        .collect();
    assert_eq!(times.len(), 3, "each attempt has a time of its own");
    let delivery = endpoint.last(&world.api).await;
    assert_eq!(
        (&delivery["status"], &delivery["attempts"]),
        (&json!("delivered"), &json!(3))
    );
    assert_eq!(endpoint.show(&world.api).await["failing_since"], Value::Null);
}

#[tokio::test]
async fn what_failed_is_tried_again_under_the_same_id() {
    what_failed_is_tried_again(Database::Sqlite).await;
}

#[tokio::test]
async fn what_failed_is_tried_again_under_the_same_id_on_postgres() {
    on_postgres(what_failed_is_tried_again).await;
}

#[tokio::test]
async fn after_ten_tries_an_event_is_given_up_and_can_be_redelivered() {
    let (world, receiver) = world(Database::Sqlite).await;
    let endpoint = Endpoint::at_hooks(&world.api).await;
    receiver.always(Some(Answer::status(500)));
    let began = world.now();
    let id = endpoint.test(&world.api).await;
    world.work_off().await;
    for wait in WAITS {
        world.advance(wait.mul_f64(1.11));
        world.work_off().await;
    }
    assert!(world.now() - began < chrono::TimeDelta::hours(85));
    let delivery = endpoint.last(&world.api).await;
    assert_eq!(
        (&delivery["status"], &delivery["attempts"]),
        (&json!("failed"), &json!(10))
    );
    assert_eq!(receiver.got().len(), 10);
    world.advance(10 * DAY);
    world.work_off().await;
    assert_eq!(receiver.got().len(), 10);
    assert_eq!(
        world.api.get("/api/dead-letters").await.ok()["data"],
        json!([]),
        "no operator has to act"
    );

    receiver.always(None);
    let again = world
        .api
        .poke(&format!("{}/deliveries/{id}/redeliver", endpoint.path))
        .await
        .with(202);
    assert_eq!(again["status"], "pending");
    world.work_off().await;
    let delivery = endpoint.last(&world.api).await;
    assert_eq!(
        (&delivery["status"], &delivery["attempts"]),
        (&json!("delivered"), &json!(11))
    );
    // One that was delivered, too.
    world
        .api
        .poke(&format!("{}/deliveries/{id}/redeliver", endpoint.path))
        .await
        .with(202);
    world.work_off().await;
    let ids: BTreeSet<_> = receiver.got().iter().map(|got| got.id().to_owned()).collect();
    assert_eq!((receiver.got().len(), ids.len()), (12, 1));
}

#[tokio::test]
async fn a_redirect_an_endless_answer_and_none_are_failures() {
    let (world, receiver) = world(Database::Sqlite).await;
    let canary = Receiver::start().await;
    let endpoint = Endpoint::at_hooks(&world.api).await;
    for status in [301, 302, 303, 307, 308] {
        receiver.answer([Answer::with(status, "location", format!("http://{}/", canary.address))]);
        let delivery = tried(&world, &endpoint).await;
        assert_eq!(
            (
                &delivery["last_attempt"]["answer_status"],
                &delivery["last_attempt"]["code"]
            ),
            (&json!(status), &json!("refused"))
        );
        world.advance(Duration::from_millis(100));
    }
    assert_eq!((receiver.got().len(), canary.got().len()), (5, 0), "one hop each");
    for answer in [Answer::Endless, Answer::Never] {
        receiver.answer([answer]);
        let delivery = tried(&world, &endpoint).await;
        assert_eq!(delivery["status"], "pending");
        assert_eq!(delivery["last_attempt"]["code"], "no_answer");
        assert_eq!(delivery["last_attempt"]["answer_body"], Value::Null);
        world.advance(Duration::from_millis(100));
    }
}

async fn a_disabled_endpoint_loses_nothing(database: Database) {
    let (world, receiver) = world(database).await;
    let endpoint = Endpoint::at_hooks(&world.api).await;
    let account = world.connect().await;
    // What is on its way when the endpoint goes is held with what comes later.
    receiver.answer([Answer::status(410)]);
    world.work_off().await;
    let shown = endpoint.show(&world.api).await;
    assert_eq!(
        (&shown["status"], &shown["disabled_code"]),
        (&json!("disabled"), &json!("gone"))
    );
    assert!(shown["disabled_at"].is_string() && shown["failing_since"].is_null());
    assert_eq!(endpoint.deliveries(&world.api, "status=failed").await.len(), 1);
    let test = format!("{}/test", endpoint.path);
    world.api.poke(&test).await.problem(409, "endpoint_disabled");
    let redeliver = format!("{}/redeliver", endpoint.path);
    world
        .api
        .post(&redeliver, &json!({}))
        .await
        .problem(409, "endpoint_disabled");

    world.advance(HOUR);
    let later = world.now();
    let post = world.post(&pull_post(&account)).await;
    world.published(&post).await;
    world.drain().await;
    assert_eq!(receiver.got().len(), 1, "nothing is sent to a disabled endpoint");
    let held = endpoint.deliveries(&world.api, "status=held").await;
    assert!(!held.is_empty() && held.iter().all(|delivery| delivery["attempts"] == 0));

    let enabled = endpoint.change(&world.api, json!({ "enabled": true })).await;
    assert_eq!(
        (&enabled["status"], &enabled["disabled_code"]),
        (&json!("enabled"), &Value::Null)
    );
    world.work_off().await;
    assert_eq!(receiver.got().len(), 1, "what was held waits for a word");
    // The one that it refused, and what it was not told: that it was turned off.
    let early = endpoint.redeliver(&world.api, json!({ "to": later })).await;
    assert_eq!(early, json!({ "redelivered": 2, "more": false }));
    world.work_off().await;
    assert_eq!(receiver.got().len(), 3);
    let none = endpoint.redeliver(&world.api, json!({ "status": "failed" })).await;
    assert_eq!(none["redelivered"], 0);
    let rest = endpoint
        .redeliver(&world.api, json!({ "from": later, "status": "held" }))
        .await;
    assert_eq!(rest["redelivered"], held.len() - 1);
    world.work_off().await;
    let events = world.api.get("/api/events?limit=100").await.ok();
    let own = events["data"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|event| ["account.connected", "post.published"].contains(&event["name"].as_str().unwrap()));
    let got: BTreeSet<_> = receiver.got().iter().map(|got| got.id().to_owned()).collect();
    for event in own {
        assert!(got.contains(event["id"].as_str().unwrap()), "{event} was lost");
    }
    let wrong = world.api.post(&redeliver, &json!({ "status": "delivered" })).await;
    assert_eq!(wrong.problem(422, "invalid")["errors"][0]["pointer"], "/status");
}

#[tokio::test]
async fn an_endpoint_that_is_gone_is_disabled_and_loses_nothing() {
    a_disabled_endpoint_loses_nothing(Database::Sqlite).await;
}

#[tokio::test]
async fn an_endpoint_that_is_gone_is_disabled_and_loses_nothing_on_postgres() {
    on_postgres(a_disabled_endpoint_loses_nothing).await;
}

#[tokio::test]
async fn an_endpoint_that_fails_for_five_days_is_disabled() {
    let (world, receiver) = world(Database::Sqlite).await;
    let endpoint = Endpoint::at_hooks(&world.api).await;
    receiver.always(Some(Answer::status(502)));
    tried(&world, &endpoint).await;
    world.advance(5 * DAY - MINUTE);
    let delivery = tried(&world, &endpoint).await;
    assert_eq!(
        (&delivery["status"], endpoint.show(&world.api).await["status"].as_str()),
        (&json!("pending"), Some("enabled"))
    );
    world.advance(MINUTE);
    world.work_off().await;
    let shown = endpoint.show(&world.api).await;
    assert_eq!(
        (&shown["status"], &shown["disabled_code"]),
        (&json!("disabled"), &json!("failing"))
    );
    world.advance(DAY);
    world.work_off().await;
    let held = endpoint.deliveries(&world.api, "status=held").await;
    assert_eq!(held.len(), 3, "both are held, and that it was turned off");
    // A new address has a clean slate.
    receiver.always(None);
    let url = "https://other.example.com/";
    endpoint
        .change(&world.api, json!({ "url": url, "enabled": true }))
        .await;
    assert_eq!(endpoint.redeliver(&world.api, json!({})).await["redelivered"], 3);
    world.work_off().await;
    assert_eq!(receiver.at("other.example.com").len(), 3);
}

#[tokio::test]
async fn for_a_day_both_secrets_sign() {
    let (world, receiver) = world(Database::Sqlite).await;
    let endpoint = Endpoint::at_hooks(&world.api).await;
    let rotate = format!("{}/rotate-secret", endpoint.path);
    let rotated = world.api.poke(&rotate).await.ok();
    let new = rotated["secret"].as_str().unwrap();
    assert_ne!(new, endpoint.secret);
    world.advance(DAY - MINUTE);
    tried(&world, &endpoint).await;
    let got = receiver.got().remove(0);
    assert_eq!(
        (got.signed_by(new), got.signed_by(&endpoint.secret)),
        ((2, vec![0]), (2, vec![1]))
    );
    assert!(endpoint.show(&world.api).await["old_secret_until"].is_string());
    world.advance(MINUTE);
    tried(&world, &endpoint).await;
    receiver.got()[1].verify(new);
    let shown = endpoint.show(&world.api).await;
    assert_eq!(shown["old_secret_until"], Value::Null);
    assert!(!shown.to_string().contains("whsec_"), "a secret is shown once");

    // Of three within a day, the last two sign.
    let second = world.api.poke(&rotate).await.ok();
    let third = world.api.poke(&rotate).await.ok();
    tried(&world, &endpoint).await;
    let got = receiver.got().remove(2);
    let by = |secret: &Value| got.signed_by(secret.as_str().unwrap());
    assert_eq!(
        (by(&third["secret"]), by(&second["secret"])),
        ((2, vec![0]), (2, vec![1]))
    );
    assert_eq!(got.signed_by(new), (2, vec![]));
}

#[tokio::test]
async fn t49_t55_t57_no_endpoint_leads_inside() {
    let (world, _) = world(Database::Sqlite).await;
    let canary = Receiver::start().await;
    let port = canary.address.port();
    let urls = leading_inside(HOOKS, port);
    let endpoint = Endpoint::at_hooks(&world.api).await;
    for url in urls {
        let refused = world.api.post(ENDPOINTS, &json!({ "url": url })).await;
        assert_eq!(
            refused.problem(422, "invalid")["errors"][0]["pointer"],
            "/url",
            "{url:?}"
        );
        let changed = send(
            world
                .api
                .request(Method::PATCH, &endpoint.path)
                .json(&json!({ "url": url })),
        )
        .await;
        changed.problem(422, "invalid");
    }
    assert_eq!(canary.got().len(), 0);
    assert_eq!(world.api.get(ENDPOINTS).await.ok()["data"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn t50_t58_a_name_that_leads_inside_is_not_called_and_nothing_is_told_of_it() {
    let (world, receiver) = world(Database::Sqlite).await;
    // The setting opens one name; this one goes by the rules.
    let endpoint = Endpoint::make(&world.api, json!({ "url": "https://inside.example.com/" })).await;
    let delivery = tried(&world, &endpoint).await;
    assert_eq!(
        delivery["last_attempt"]
            .as_object()
            .unwrap()
            .iter()
            .filter(|(_, value)| !value.is_null())
            .count(),
        2,
        "a time and a code: {delivery}"
    );
    assert_eq!(delivery["last_attempt"]["code"], "blocked");
    assert_eq!(receiver.got().len(), 0);
}

#[tokio::test]
async fn an_endpoint_is_its_tenants_own() {
    let (world, receiver) = world(Database::Sqlite).await;
    let endpoint = Endpoint::at_hooks(&world.api).await;
    let delivery = endpoint.test(&world.api).await;
    let other = world.tenant("other").await;
    let path = &endpoint.path;
    for answer in [
        other.get(path).await,
        other.delete(path).await,
        send(other.request(Method::PATCH, path).json(&json!({ "enabled": false }))).await,
        other.poke(&format!("{path}/rotate-secret")).await,
        other.poke(&format!("{path}/test")).await,
        other.get(&format!("{path}/deliveries")).await,
        other.post(&format!("{path}/redeliver"), &json!({})).await,
        other.poke(&format!("{path}/deliveries/{delivery}/redeliver")).await,
    ] {
        answer.problem(404, "not_found");
    }
    assert_eq!(other.get(ENDPOINTS).await.ok()["data"], json!([]));
    let theirs = Endpoint::make(&other, json!({ "url": "https://other.example.com/" })).await;
    let crossed = format!("{}/deliveries/{delivery}/redeliver", theirs.path);
    other.poke(&crossed).await.problem(404, "not_found");
    world.connect().await;
    world.drain().await;
    assert_eq!(
        receiver.at("other.example.com").len(),
        0,
        "an event is its tenant's own"
    );
    assert_eq!(receiver.at(HOOKS).len(), 2);

    // What changes anything takes a key that may read and publish.
    let make = json!({ "url": format!("https://{HOOKS}/") });
    for scopes in [
        &[KeyScope::Read][..],
        &[KeyScope::Publish],
        &[KeyScope::Connect],
        &[KeyScope::Operator],
    ] {
        let caller = world
            .api
            .with_key(Some(world.make_key(TenantId::DEFAULT, scopes).await));
        caller.post(ENDPOINTS, &make).await.problem(403, "forbidden");
        caller.delete(path).await.problem(403, "forbidden");
        caller
            .poke(&format!("{path}/rotate-secret"))
            .await
            .problem(403, "forbidden");
        let may_read = scopes == [KeyScope::Read];
        assert_eq!(caller.get(path).await.status, if may_read { 200 } else { 403 });
    }
    assert_eq!(world.api.delete(path).await.status, 204);
    world.api.get(path).await.problem(404, "not_found");
    world.api.delete(path).await.problem(404, "not_found");
    assert_eq!(world.number("SELECT count(*) FROM deliveries").await, 0);
}

#[tokio::test]
async fn an_endpoint_gets_what_it_names_and_nothing_after_it_is_deleted() {
    let (world, receiver) = world(Database::Sqlite).await;
    let names = json!(["post.*"]);
    let posts = Endpoint::make(
        &world.api,
        json!({ "url": format!("https://{HOOKS}/"), "events": names }),
    )
    .await;
    world.connect().await;
    world.drain().await;
    assert_eq!(receiver.got().len(), 0);
    let changed = posts
        .change(
            &world.api,
            json!({ "events": ["account.connected"], "description": "accounts" }),
        )
        .await;
    assert_eq!(
        (&changed["events"], &changed["description"]),
        (&json!(["account.connected"]), &json!("accounts"))
    );
    assert_eq!(
        posts.change(&world.api, json!({ "description": null })).await["description"],
        Value::Null
    );
    assert_eq!(
        posts.change(&world.api, json!({})).await["events"],
        json!(["account.connected"])
    );
    world.connect().await;
    world.drain().await;
    assert_eq!(
        receiver.got().iter().map(Got::event).collect::<Vec<_>>(),
        ["account.connected"]
    );
    for (field, value) in [
        ("events", json!(["post published"])),
        ("events", json!(["a*b"])),
        ("events", json!([""])),
        ("events", json!(vec!["a"; 51])),
        ("description", json!("a".repeat(201))),
        ("description", json!("a\nb")),
    ] {
        let refused = send(
            world
                .api
                .request(Method::PATCH, &posts.path)
                .json(&json!({ field: value })),
        )
        .await;
        let pointer = refused.problem(422, "invalid")["errors"][0]["pointer"].clone();
        assert!(pointer.as_str().unwrap().starts_with(&format!("/{field}")), "{pointer}");
    }

    let list = send(world.api.request(Method::PATCH, &posts.path).json(&json!([null, null]))).await;
    list.problem(422, "invalid");

    // On its way when the endpoint is deleted.
    receiver.answer([Answer::status(500)]);
    posts.test(&world.api).await;
    world.work_off().await;
    assert_eq!(world.api.delete(&posts.path).await.status, 204);
    world.advance(HOUR);
    world.drain().await;
    assert_eq!(receiver.got().len(), 2);

    for count in 0..20 {
        let url = format!("https://{HOOKS}/{count}");
        world.api.post(ENDPOINTS, &json!({ "url": url })).await.with(201);
    }
    let full = world
        .api
        .post(ENDPOINTS, &json!({ "url": format!("https://{HOOKS}/20") }))
        .await;
    full.problem(409, "too_many_endpoints");
    let page = world.api.get(&format!("{ENDPOINTS}?limit=15")).await.ok();
    assert_eq!(page["data"].as_array().unwrap().len(), 15);
    let next = format!("{ENDPOINTS}?limit=15&cursor={}", page["next_cursor"].as_str().unwrap());
    assert_eq!(world.api.get(&next).await.ok()["data"].as_array().unwrap().len(), 5);
}

#[tokio::test]
async fn a_delivery_whose_end_nobody_noted_is_sent_again() {
    let (world, receiver) = world(Database::Sqlite).await;
    let endpoint = Endpoint::at_hooks(&world.api).await;
    endpoint.test(&world.api).await;
    receiver.answer([Answer::Never]);
    // The worker dies while the receiver has the event.
    let app = world.app().clone();
    let worker = tokio::spawn(async move { work::run_due(&app, &JobKind::ALL, usize::MAX).await });
    receiver.until(1).await;
    worker.abort();
    assert!(worker.await.unwrap_err().is_cancelled());
    world.work_off().await;
    assert_eq!(receiver.got().len(), 1, "its lease still runs");
    world.advance(Duration::from_secs(31));
    world.work_off().await;
    let got = receiver.got();
    assert_eq!((got.len(), got[0].id()), (2, got[1].id()));
    assert_eq!(endpoint.last(&world.api).await["status"], "delivered");
}

#[tokio::test]
async fn what_expires_ends_or_is_turned_off_is_told_of_once() {
    let (world, receiver) = world(Database::Sqlite).await;
    Endpoint::at_hooks(&world.api).await;
    let other = json!({ "url": format!("https://{HOOKS}/other"), "events": ["webhook.test"] });
    let other = Endpoint::make(&world.api, other).await;
    other.test(&world.api).await;
    receiver.answer([Answer::status(410)]);
    world.work_off().await;
    assert_eq!(other.show(&world.api).await["status"], "disabled");
    let account = world.connect().await;
    let erased = world
        .api
        .delete(&format!("/api/platforms/tiktok/accounts/{account}"))
        .await;
    let erasure = id_of(&erased.with(202));
    world.drain().await;
    let media = world.video().await;
    world.advance(8 * DAY);
    for _ in 0..2 {
        patchbay_app::media::purge(world.app(), 10).await.unwrap();
        world.work_off().await;
    }
    let told: Vec<_> = receiver
        .got()
        .into_iter()
        .filter(|got| !got.event().starts_with("account.") && got.event() != "webhook.test")
        .map(|got| {
            let kind = KINDS.iter().find(|kind| kind.name == got.event()).unwrap();
            (kind.check)(std::str::from_utf8(&got.body).unwrap()).unwrap();
            (kind.name, got.json()["data"]["payload"].clone())
        })
        .collect();
    let id = other.path.rsplit('/').next().unwrap();
    assert_eq!(
        told,
        [
            (
                "webhook_endpoint.disabled",
                json!({ "endpoint_id": id, "code": "gone" })
            ),
            ("erasure.finished", json!({ "erasure_id": erasure, "of": "account" })),
            ("media.expired", json!({ "media_id": media, "name": null })),
        ]
    );
}

#[tokio::test]
async fn what_comes_is_as_documented() {
    let (world, receiver) = world(Database::Sqlite).await;
    let endpoint = Endpoint::at_hooks(&world.api).await;
    let quiet = json!({ "url": format!("https://{HOOKS}/quiet"), "events": ["post.metrics_updated"] });
    Endpoint::make(&world.api, quiet).await;
    let account = world.connect().await;
    endpoint.test(&world.api).await;
    for (post, status) in [
        (pull_post(&account), "published"),
        (draft_pull(&account), "inbox_delivered"),
    ] {
        let post = world.post(&post).await;
        let post = world.settled(&post).await;
        assert_eq!(post["status"], status);
    }
    world.advance(HOUR);
    world.drain().await;
    world.refuse("video_init", "spam_risk_too_many_posts");
    let refused = world.post(&pull_post(&account)).await;
    assert_eq!(world.settled(&refused).await["status"], "failed");
    let mut later = pull_post(&account);
    later["scheduled_at"] = json!(world.now() + HOUR);
    let later = world.post(&later).await;
    let change = world.api.request(Method::PATCH, &format!("{POSTS}/{later}"));
    send(change.json(&json!({ "title": "Another" }))).await.ok();
    world.api.delete(&format!("{POSTS}/{later}")).await.ok();
    let mut draft = draft_pull(&account);
    draft["draft"] = json!(true);
    draft.as_object_mut().unwrap().remove("allow_duplicate");
    let draft = world.post(&draft).await;
    let published = world.api.post(&format!("{POSTS}/{draft}/publish"), &json!({})).await;
    published.with(202);
    world
        .api
        .post("/api/platforms/tiktok/disconnect", &json!({ "account_id": account }))
        .await
        .ok();
    world.drain().await;

    let mut seen = BTreeSet::new();
    for got in receiver.got() {
        let kind = KINDS.iter().find(|kind| kind.name == got.event()).unwrap();
        let text = String::from_utf8(got.body.to_vec()).unwrap();
        (kind.check)(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
        seen.insert(kind.name);
    }
    let unseen: Vec<_> = KINDS
        .iter()
        .map(|kind| kind.name)
        .filter(|name| !seen.contains(name))
        .collect();
    assert_eq!(
        unseen,
        [
            "account.pending",
            "account.missing_scopes",
            "account.reauth_required",
            "post.unconfirmed",
            "post.waiting",
            "post.revived",
            "media.imported",
            "media.import_failed",
            "media.expired",
            "erasure.finished",
            "webhook_endpoint.disabled"
        ],
        "each form is seen, of these by others"
    );
    let document = serde_json::to_value(openapi()).unwrap();
    let documented: BTreeSet<_> = document["webhooks"]
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    let forms: BTreeSet<_> = document["webhooks"]
        .as_object()
        .unwrap()
        .values()
        .map(|sent| {
            let schema = &sent["post"]["requestBody"]["content"]["application/json"]["schema"]["$ref"];
            let message = document
                .pointer(schema.as_str().unwrap().trim_start_matches('#'))
                .unwrap();
            let data = message["properties"]["data"]["$ref"].as_str().unwrap();
            assert!(document.pointer(data.trim_start_matches('#')).is_some(), "{data}");
            data
        })
        .collect();
    assert_eq!(forms.len(), 18, "payloads have forms of their own");
    assert_eq!(documented, KINDS.iter().map(|kind| kind.name).collect());
}

#[tokio::test]
async fn two_hosts_share_what_is_to_be_sent() {
    on_postgres(async |database| {
        let (world, receiver) = world(database).await;
        let other = world.another_host("other").await;
        let hooks = Endpoint::at_hooks(&world.api).await;
        let second = Endpoint::make(&world.api, json!({ "url": "https://other.example.com/" })).await;
        for _ in 0..20 {
            hooks.test(&world.api).await;
            second.test(&world.api).await;
        }
        let workers = [world.app().clone(), other.host.app.clone()].map(|app| {
            tokio::spawn(async move {
                let mut count = 0;
                loop {
                    match work::run_due(&app, &[JobKind::Deliver], usize::MAX).await.unwrap() {
                        0 if app.store.next_due(&[JobKind::Deliver]).await.unwrap().is_none() => return count,
                        0 => tokio::task::yield_now().await,
                        done => count += done,
                    }
                }
            })
        });
        let mut counts = Vec::new();
        for worker in workers {
            counts.push(worker.await.unwrap());
        }
        world.work_off().await;
        let ids: BTreeSet<_> = receiver.got().iter().map(|got| got.id().to_owned()).collect();
        assert_eq!((receiver.got().len(), ids.len()), (40, 40), "each once: {counts:?}");
    })
    .await;
}

#[tokio::test]
async fn t54_a_receiver_that_never_answers_holds_up_its_own_tenant_only() {
    let slow = Receiver::start().await;
    let quick = Receiver::start().await;
    slow.always(Some(Answer::Never));
    let hosts = format!(
        "{},{}",
        slow.hosts(&["slow.example.com"]),
        quick.hosts(&["quick.example.com"])
    );
    let setup = Setup {
        running: true,
        ..Setup::default()
    };
    let world = setup.set("PATCHBAY__EGRESS__SIMULATED_RECEIVERS", hosts).build().await;
    for place in 0..20 {
        let url = format!("https://slow.example.com/{place}");
        let endpoint = Endpoint::make(&world.api, json!({ "url": url })).await;
        endpoint.test(&world.api).await;
    }
    slow.until(2).await;
    let other = world.tenant("other").await;
    let endpoint = Endpoint::make(&other, json!({ "url": "https://quick.example.com/" })).await;
    for _ in 0..20 {
        endpoint.test(&other).await;
    }
    quick.until(20).await;
    assert_eq!(slow.got().len(), 2, "as many at once as one tenant may have");
}
