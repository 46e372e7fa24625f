//! Patchbay as a function of AWS Lambda: the real program, PostgreSQL, and a stand-in for Lambda's runtime API.

mod events;
mod runtime_api;

use std::time::Duration;

use hmac::{Hmac, KeyInit, Mac};
use patchbay_app::env::Env;
use patchbay_rig::{
    Api, Database, Host, PATIENCE, Program, World, binary, holds, on_postgres, until,
    world::{FOUR_CHUNKS, file_post, pull_post, video_bytes},
};
use patchbay_simulator_tiktok::simkit::{Action, Fault};
use serde_json::{Value, json};
use sha2::Sha256;
use tokio::process::Child;

use self::{
    events::{Http, scheduled, scheduled_for},
    runtime_api::RuntimeApi,
};

const WEBHOOKS: &str = "/api/platforms/tiktok/webhooks";

/// A function of Lambda, and a process of it.
struct Function {
    lambda: RuntimeApi,
    program: Program,
    process: Child,
    key: String,
}

impl Function {
    async fn start(world: &World) -> Self {
        let lambda = RuntimeApi::start().await;
        let mut program = program(world).with("AWS_LAMBDA_RUNTIME_API", lambda.address.to_string());
        program.dir = world.dir.path().join("function");
        std::fs::create_dir(&program.dir).unwrap();
        let process = program.spawn(&[]);
        let key = world.key().await;
        Self {
            lambda,
            program,
            process,
            key,
        }
    }

    /// Ends the process as Lambda does after a timeout, and starts another one.
    async fn killed(&mut self) {
        self.process.kill().await.unwrap();
        let polls = self.lambda.polls();
        self.process = self.program.spawn(&[]);
        holds("the new process is there", || self.lambda.polls() > polls).await;
    }

    /// The answer to a request by way of API Gateway.
    async fn request(&self, request: &Http) -> Value {
        self.lambda.invoke(&request.api_gateway(false)).await.answer()
    }

    async fn get(&self, path: &str) -> Value {
        self.request(&Http::new("GET", path).key(&self.key)).await
    }

    /// What a scheduled pass did.
    async fn pass(&self) -> Value {
        let answer = self.lambda.invoke(&scheduled()).await.answer();
        assert_eq!(answer["more"], false, "{answer}");
        answer
    }

    /// Comes every minute, only faster.
    async fn pass_until_published(&self, api: &Api, post: &str) {
        until("the post is published", async || {
            self.pass().await;
            (api.post_state(post).await["status"] == "published").then_some(())
        })
        .await;
    }
}

impl Drop for Function {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.program.log_tail());
        }
    }
}

fn program(world: &World) -> Program {
    Program {
        binary: binary::lambda().to_owned(),
        ..world.replica()
    }
    .with("AWS_LAMBDA_FUNCTION_NAME", "patchbay")
    .with("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "256")
    .with("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST")
}

/// A host for the browser and for uploads, and its client; it does no work.
async fn api_only(world: &World) -> (Host, Api) {
    let key = world.key().await;
    let host = world.program.start(&["serve", "--api-only"], world.program.port).await;
    let api = Api::new(&host.url, Some(&key));
    (host, api)
}

/// A webhook in TikTok's form, rightly signed now.
fn webhook(world: &World, number: u64) -> Http {
    let now = Env::system().now().timestamp();
    let content = json!({ "n": number, "text": "Grüße, \"\\u00fc\" \\/ 🛶" });
    let body = json!({
        "client_key": world.program.env["TIKTOK_CLIENT_KEY"],
        "event": "some.event",
        "create_time": now,
        "user_openid": "nobody",
        "content": content.to_string(),
    });
    // White space that no parser would keep.
    let body = format!(" {}\r\n\t", serde_json::to_string_pretty(&body).unwrap());
    let mut mac = Hmac::<Sha256>::new_from_slice(world.secrets.client_secret.as_bytes()).unwrap();
    mac.update(format!("{now}.{body}").as_bytes());
    let signature = hex::encode(mac.finalize().into_bytes());
    Http::new("POST", WEBHOOKS)
        .with("tiktok-signature", format!("t={now},s={signature}"))
        .body(body)
}

fn body(answer: &Value) -> Value {
    serde_json::from_str(answer["body"].as_str().unwrap()).unwrap()
}

/// Lets the leases of a process that is gone run out at once.
async fn leases_end(database: &Database) {
    database
        .execute("UPDATE jobs SET due_at = now() WHERE status = 'running'")
        .await;
}

async fn read_webhooks(database: &Database) -> u64 {
    database.count("jobs WHERE kind = 'ingest' AND status = 'done'").await
}

#[tokio::test]
async fn requests_are_answered_as_anywhere() {
    on_postgres(async |database| {
        let world = World::on(database).await;
        let function = Function::start(&world).await;
        let alive = function.request(&Http::new("GET", "/healthz")).await;
        assert_eq!(
            (&alive["statusCode"], body(&alive)),
            (&json!(200), json!({ "status": "ok" }))
        );
        assert_eq!(alive["headers"]["x-content-type-options"], "nosniff");
        let ready = function.request(&Http::new("GET", "/readyz")).await;
        assert_eq!(ready["statusCode"], 200, "{ready}");

        let accounts = function
            .get("/api/platforms/tiktok/accounts?owner=user-42&limit=5")
            .await;
        assert_eq!(
            (&accounts["statusCode"], body(&accounts)["data"].clone()),
            (&json!(200), json!([])),
            "{accounts}"
        );
        let bad_query = function.get("/api/platforms/tiktok/accounts?limit=none").await;
        assert_eq!(bad_query["statusCode"], 400, "the query arrives: {bad_query}");
        let session = Http::new("POST", "/api/platforms/tiktok/connect-sessions")
            .key(&function.key)
            .body(r#"{"owner": "user-42"}"#);
        for event in [session.api_gateway(true), session.load_balancer(false)] {
            let made = function.lambda.invoke(&event).await.answer();
            assert_eq!(made["statusCode"], 201, "{made}");
            assert!(
                body(&made)["connect_url"].as_str().unwrap().starts_with("http://"),
                "{made}"
            );
        }
        let started = function.get("/api/platforms/tiktok/authorize").await;
        assert_eq!(started["statusCode"], 303, "{started}");
        assert!(
            started["cookies"][0].as_str().unwrap().contains("HttpOnly"),
            "{started}"
        );
        let page = function.get("/platforms/connect").await;
        assert!(page["body"].as_str().unwrap().starts_with("<!"), "{page}");

        for (request, status, code) in [
            (Http::new("GET", "/api/platforms"), 401, "unauthorized"),
            (
                Http::new("GET", "/api/no-such-path").key(&function.key),
                404,
                "not_found",
            ),
            (Http::new("GET", "/metrics"), 404, "not_found"),
            (Http::new("GET", "/prod/healthz"), 404, "not_found"),
            (Http::new("DELETE", "/healthz"), 405, "method_not_allowed"),
            (
                Http::new("POST", WEBHOOKS).body(vec![b' '; 256 * 1024 + 1]),
                413,
                "too_large",
            ),
            (
                Http::new("POST", "/api/media").key(&function.key).body("x"),
                507,
                "storage_full",
            ),
        ] {
            let refused = function.request(&request).await;
            assert_eq!(
                (&refused["statusCode"], &body(&refused)["code"]),
                (&json!(status), &json!(code)),
                "{refused}"
            );
            assert_eq!(refused["headers"]["content-type"], "application/problem+json");
        }
        // By name it is a load balancer's request, and by content whatever the other side likes.
        let nonsense = json!({ "httpMethod": "GET", "path": "/healthz" });
        let failure = function.lambda.invoke(&nonsense).await.failure();
        assert!(
            failure["errorMessage"].as_str().unwrap().contains("neither"),
            "{failure}"
        );
    })
    .await;
}

#[tokio::test]
async fn who_guesses_keys_is_shut_out_by_the_address_that_the_gateway_saw() {
    on_postgres(async |database| {
        let world = World::on(database).await;
        let function = Function::start(&world).await;
        let guess = |ip| Http::new("GET", "/api/platforms").key("pb_live_guess").from(ip);
        let mut last = Value::Null;
        for _ in 0..22 {
            last = function.request(&guess("198.51.100.66")).await;
        }
        assert_eq!(last["statusCode"], 429, "{last}");
        let other = function.request(&guess("198.51.100.67")).await;
        assert_eq!(other["statusCode"], 401, "{other}");
        assert_eq!(function.get("/api/platforms").await["statusCode"], 200);
    })
    .await;
}

#[tokio::test]
async fn a_signed_webhook_is_kept_and_a_scheduled_event_reads_it() {
    on_postgres(async |database| {
        let world = World::on(database.clone()).await;
        let function = Function::start(&world).await;
        for (number, event) in [
            webhook(&world, 1).api_gateway(false),
            webhook(&world, 2).api_gateway(true),
            webhook(&world, 3).load_balancer(false),
            webhook(&world, 4).load_balancer(true),
        ]
        .iter()
        .enumerate()
        {
            for _ in 0..2 {
                let taken = function.lambda.invoke(event).await.answer();
                assert_eq!(taken["statusCode"], 200, "{number}: {taken}");
                assert_eq!(body(&taken), json!({ "success": true }));
            }
        }
        let good = webhook(&world, 5);
        let mut altered = good.api_gateway(false);
        let text = altered["body"].as_str().unwrap().replace("some.event", "some-event");
        altered["body"] = text.into();
        let twice = {
            let signature = good.api_gateway(false)["headers"]["tiktok-signature"]
                .as_str()
                .unwrap()
                .to_owned();
            // As API Gateway joins a header that comes twice.
            webhook(&world, 5).with("tiktok-signature", format!("{signature},{signature}"))
        };
        let unsigned = Http::new("POST", WEBHOOKS).body("{}");
        for event in [altered, twice.api_gateway(false), unsigned.api_gateway(true)] {
            let refused = function.lambda.invoke(&event).await.answer();
            assert_eq!(
                (&refused["statusCode"], &body(&refused)["code"]),
                (&json!(401), &json!("signature_invalid"))
            );
        }
        assert_eq!((database.count("inbox").await, read_webhooks(&database).await), (4, 0));

        let other = function.lambda.invoke(&scheduled_for(&["refresh", "publish"])).await;
        assert_eq!(other.answer()["processed"], 0);
        let passed = function.pass().await;
        assert_eq!((&passed["webhooks"], &passed["processed"]), (&json!(4), &json!(4)));
        assert_eq!(read_webhooks(&database).await, 4);
        assert_eq!(function.pass().await["processed"], 0);
    })
    .await;
}

#[tokio::test]
async fn posts_are_published_by_scheduled_events() {
    on_postgres(async |database| {
        let world = World::on(database).await;
        let (host, api) = api_only(&world).await;
        let account = world.connect(&api, "ada_public").await.id;
        let media = api.upload(video_bytes(FOUR_CHUNKS, 1)).await;
        let function = Function::start(&world).await;
        let wanted = pull_post(&account, "by request");
        let request = Http::new("POST", "/api/platforms/tiktok/posts")
            .key(&function.key)
            .with("idempotency-key", "once")
            .body(wanted.to_string());
        let mut ids = Vec::new();
        for _ in 0..2 {
            let accepted = function.request(&request).await;
            assert_eq!(accepted["statusCode"], 202, "{accepted}");
            ids.push(body(&accepted)["id"].as_str().unwrap().to_owned());
        }
        assert_eq!(ids[0], ids[1]);
        // A folder of media that both have, as a mounted file system would be.
        let file = api.publish(&file_post(&account, "of a file", &media)).await;
        function.pass_until_published(&api, &ids[0]).await;
        function.pass_until_published(&api, &file).await;
        assert_eq!((world.published("by request"), world.published("of a file")), (1, 1));
        host.stop().await;
    })
    .await;
}

#[tokio::test]
async fn an_invocation_that_is_killed_loses_nothing_and_repeats_nothing() {
    on_postgres(async |database| {
        let world = World::on(database.clone()).await;
        let (host, api) = api_only(&world).await;
        let account = world.connect(&api, "ada_public").await.id;
        let mut function = Function::start(&world).await;

        // After the answer, and before anybody has read it.
        let event = webhook(&world, 1).api_gateway(true);
        assert_eq!(function.lambda.invoke(&event).await.answer()["statusCode"], 200);
        function.killed().await;
        assert_eq!(function.pass().await["webhooks"], 1);

        // While the webhook is being stored: there was no answer, and the platform sends it again.
        let event = webhook(&world, 2).api_gateway(false);
        let answer = function.lambda.send(&event, Duration::from_secs(60)).await;
        function.killed().await;
        drop(answer);
        assert_eq!(function.lambda.invoke(&event).await.answer()["statusCode"], 200);
        function.pass().await;
        assert_eq!((database.count("inbox").await, read_webhooks(&database).await), (2, 2));

        // In the middle of a post: the platform has taken the call that begins it, and nobody hears the answer.
        let faults = world.tiktok.faults();
        faults.put("slow", Fault::new("video_init", Action::Delay { ms: 60_000 }).once());
        let post = api.publish(&pull_post(&account, "killed")).await;
        let answer = function.lambda.send(&scheduled(), Duration::from_secs(60)).await;
        holds("the post is on its way", || faults.hits("slow") == 1).await;
        function.killed().await;
        drop(answer);
        leases_end(&database).await;
        until("the post has an outcome", async || {
            function.pass().await;
            let status = api.post_state(&post).await["status"].clone();
            (status != "queued" && status != "publishing").then_some(())
        })
        .await;
        assert!(world.posts_titled("killed").len() <= 1, "it was begun twice");
        assert_eq!(world.calls("video_init"), 1);
        assert_eq!(database.count("jobs WHERE status = 'running'").await, 0);
        host.stop().await;
    })
    .await;
}

#[tokio::test]
async fn work_that_takes_too_long_is_cut_in_time_and_taken_up_again() {
    on_postgres(async |database| {
        let world = World::on(database.clone()).await;
        let (host, api) = api_only(&world).await;
        let account = world.connect(&api, "ada_public").await.id;
        let media = api.upload(video_bytes(FOUR_CHUNKS, 1)).await;
        let function = Function::start(&world).await;
        let faults = world.tiktok.faults();
        let slow = Fault::new("upload", Action::Delay { ms: 60_000 }).skip(1).once();
        faults.put("slow", slow);
        let post = api.publish(&file_post(&account, "cut", &media)).await;

        let nothing = function.lambda.send(&scheduled(), Duration::from_millis(1)).await;
        let nothing = tokio::time::timeout(PATIENCE, nothing).await.unwrap().unwrap().answer();
        assert_eq!((&nothing["processed"], &nothing["more"]), (&json!(0), &json!(true)));

        let cut = function.lambda.send(&scheduled(), Duration::from_secs(20)).await;
        let cut = tokio::time::timeout(PATIENCE, cut).await.unwrap().unwrap().answer();
        assert_eq!(faults.hits("slow"), 1, "the second chunk was on its way");
        assert!(cut["publish"].as_u64() >= Some(1), "it says what it had done: {cut}");
        let running = database.count("jobs WHERE status = 'running'").await;
        assert_eq!(running, 1, "the lease of the step that was cut");
        // The same process goes on. A request that takes too long is answered too.
        let silent = Fault::new("creator_info", Action::Delay { ms: 60_000 }).once();
        faults.put("silent", silent);
        let options = format!("/api/platforms/tiktok/accounts/{account}/publish-options");
        let options = Http::new("GET", &options).key(&function.key).api_gateway(false);
        let late = function.lambda.send(&options, Duration::from_secs(12)).await;
        let late = tokio::time::timeout(PATIENCE, late).await.unwrap().unwrap().answer();
        assert_eq!(
            (&late["statusCode"], &body(&late)["code"], faults.hits("silent")),
            (&json!(503), &json!("unavailable"), 1),
            "{late}"
        );
        leases_end(&database).await;
        function.pass_until_published(&api, &post).await;
        assert_eq!((world.posts_titled("cut").len(), world.published("cut")), (1, 1));
        assert!(world.calls("upload") <= 5, "at most one chunk was sent again");
        host.stop().await;
    })
    .await;
}

#[tokio::test]
async fn what_would_lose_data_on_lambda_does_not_start() {
    let world = World::on_sqlite().await;
    let program = program(&world).with("AWS_LAMBDA_RUNTIME_API", "127.0.0.1:1");
    let postgres = "postgres://nobody@127.0.0.1:1/patchbay";
    for (program, advice) in [
        (program.clone(), "PostgreSQL"),
        (
            program
                .clone()
                .with("DATABASE_URL", postgres)
                .without("TOKEN_ENCRYPTION_KEY"),
            "TOKEN_ENCRYPTION_KEY",
        ),
        (
            program
                .clone()
                .with("DATABASE_URL", postgres)
                .with("PATCHBAY__SERVER__FIRST_PARTY", "open"),
            "server.first_party",
        ),
        (program.clone().without("AWS_LAMBDA_RUNTIME_API"), "patchbay serve"),
    ] {
        let refused = program.run(&[]).await;
        assert_eq!(refused.code(), Some(78), "{}", refused.stderr());
        assert!(refused.stderr().contains(advice), "{}", refused.stderr());
    }
    let unreachable = program.with("DATABASE_URL", postgres).run(&[]).await;
    assert_eq!(unreachable.code(), Some(1), "{}", unreachable.stderr());
}
