//! No secret leaves (T19, T26, T27, R21): a whole life of an account, logged at TRACE, and afterwards a search for every
//! secret that was ever issued or configured, in everything that is written or answered.

use patchbay_rig::{
    Api, World, holds, on_postgres, until,
    world::{CHUNK, call_back, file_post, hosted_post, pull_post, video_bytes},
};
use patchbay_simulator_tiktok::simkit::{Action, Fault, Outgoing, Signing};
use reqwest::Method;
use serde_json::json;

use crate::scan::{Canary, found_in};

/// The platform's own words in a refusal. The log may hold them, for operators; nobody else is shown them.
const PLATFORM_TEXT: &str = "platform-words-7f3a9c51d2e84b60";
/// A password that the server does not ask for.
const DATABASE_PASSWORD: &str = "database-password-5d1c97e3";

#[tokio::test]
async fn t19_t26_t27_no_secret_leaves_a_host_on_sqlite() {
    let world = World::on_sqlite().await;
    no_secret_leaves(world, Vec::new()).await;
}

#[tokio::test]
async fn t19_t26_t27_no_secret_leaves_a_host_on_postgres() {
    on_postgres(async |database| {
        let mut url = url::Url::parse(&database.url()).unwrap();
        let mut world = World::on(database).await;
        let mut more = Vec::new();
        if url.password().is_none() {
            url.set_password(Some(DATABASE_PASSWORD)).unwrap();
            world.program = world.program.with("DATABASE_URL", url.as_str());
            more.push(Canary::new("database password", DATABASE_PASSWORD));
        }
        no_secret_leaves(world, more).await;
    })
    .await;
}

async fn no_secret_leaves(mut world: World, more: Vec<Canary>) {
    world.program = world.reachable();
    let key = world.key().await;
    let host = world.program.serve().await;
    let api = Api::new(&host.url, Some(&key));
    let mut shown_to_browsers = live_a_life(&world, &api).await;
    let pull_tokens = let_it_pull(&world, &api).await;
    look_around(&world, &api).await;
    host.stop().await;
    let check = world.program.run(&["config", "check"]).await.succeeded();

    let mut canaries = more;
    canaries.extend(chosen(&world, &key));
    canaries.extend(from_the_wire(&world));
    canaries.extend(pull_tokens);

    let answers = [api.heard(), check.stdout().into_bytes(), check.stderr().into_bytes()].concat();
    let mut leaks = leaks_in("answers", &answers, &canaries);
    canaries.append(&mut shown_to_browsers);
    let log = std::fs::read(world.program.log_path()).unwrap();
    let lines = String::from_utf8_lossy(&log);
    for expected in [
        "\"level\":\"DEBUG\"",
        "Connected an account",
        PLATFORM_TEXT,
        "[redacted]",
    ] {
        assert!(lines.contains(expected), "the log lacks {expected}");
    }
    leaks.extend(leaks_in("log", &log, &canaries));
    canaries.push(Canary::new("platform's words", PLATFORM_TEXT));
    leaks.extend(leaks_in("answers", &answers, &canaries[canaries.len() - 1..]));
    leaks.extend(leaks_in("database", world.database.dump().await.as_bytes(), &canaries));
    for file in world.database.files() {
        leaks.extend(leaks_in(
            "database file",
            &std::fs::read(file).unwrap_or_default(),
            &canaries,
        ));
    }
    let journal = std::fs::read(world.dir.path().join("data/token-journal")).unwrap();
    assert!(
        !journal.is_empty(),
        "tokens were renewed, so the journal holds something"
    );
    leaks.extend(leaks_in("token journal", &journal, &canaries));
    assert!(
        leaks.is_empty(),
        "{} secrets were looked for:\n{}",
        canaries.len(),
        leaks.join("\n")
    );
}

/// Secrets that the test chose, and the API key.
fn chosen(world: &World, key: &str) -> [Canary; 6] {
    [
        Canary::new("client secret", &world.secrets.client_secret),
        Canary::new("webhook secret", &world.secrets.webhook_secret),
        Canary::new("worker secret", &world.secrets.worker_secret),
        Canary::new("master key in hex", &world.secrets.master_key),
        Canary::new("master key", hex::decode(&world.secrets.master_key).unwrap()),
        // What stands before it names the key, and is stored and logged on purpose.
        Canary::new("API key", &key["pb_live_".len() + 13..]),
    ]
}

/// What guests of components held at the end of their calls. Tests of lane `wasm`, which builds the component.
mod components {
    use std::sync::Arc;

    use patchbay_core::SecretRef;
    use patchbay_rig::Memories;
    use patchbay_server::{
        config::Config,
        host::{self, Start},
        providers, serve,
    };
    use tokio::net::TcpListener;

    use super::*;
    use crate::hostile::put_components;

    /// T83: the whole life of an account with a component as its provider, and no secret in the memory of any call.
    #[tokio::test(flavor = "multi_thread")]
    async fn t83_no_secret_comes_into_a_guests_memory() {
        let mut world = World::on_sqlite().await;
        let folder = put_components(&world, &["tiktok"]);
        world.program = world
            .program
            .with("PATCHBAY__WASM__DIR", folder)
            .with("PATCHBAY__WASM__COMPILE_SECONDS", "300");
        let key = world.key().await;
        let memories = Arc::new(Memories::default());
        let config = Config::from_environment(world.program.env.clone(), &providers::known()).unwrap();
        let start = Start {
            component_memory: Some(memories.clone()),
            ..Start::default()
        };
        let listener = TcpListener::bind(("127.0.0.1", world.program.port)).await.unwrap();
        let serving = serve::start(host::build(config, start).await.unwrap(), listener)
            .await
            .unwrap();
        let api = Api::new(&format!("http://127.0.0.1:{}", world.program.port), Some(&key));
        live_a_life(&world, &api).await;
        serving.stop().await;

        let mut canaries = Vec::from(chosen(&world, &key));
        canaries.extend(from_the_wire(&world));
        println!("{} secrets looked for", canaries.len());
        let all = memories.all();
        // What the guest does hold is found: a title, and the handle in place of a token.
        for held in ["by file", SecretRef::account("access_token").as_str()] {
            assert!(
                all.windows(held.len()).any(|window| window == held.as_bytes()),
                "{held}"
            );
        }
        let leaks = leaks_in("memory of a guest", &all, &canaries);
        assert!(leaks.is_empty(), "{}", leaks.join("\n"));
    }
}

/// Connects, publishes, renews, is refused, and disconnects. Returns secrets that a browser is shown on purpose.
async fn live_a_life(world: &World, api: &Api) -> Vec<Canary> {
    let session = api
        .post("/api/platforms/tiktok/connect-sessions", &json!({ "owner": "user-42" }))
        .await
        .ok();
    let link = url::Url::parse(session["connect_url"].as_str().unwrap()).unwrap();
    let token = link.query_pairs().next().unwrap().1.into_owned();
    api.with_key(None)
        .get(&format!("{}?{}", link.path(), link.query().unwrap()))
        .await;

    let connected = world.connect(api, "ada_public").await;
    let again = call_back(api, &connected).await;
    assert_eq!(again.status.as_u16(), 400);
    let cancelled = world.consent(api, "ada_public").await;
    let state = cancelled.callback.split("state=").nth(1).unwrap().to_owned();
    let refused =
        format!("/api/platforms/tiktok/callback?error=access_denied&error_description={PLATFORM_TEXT}&state={state}");
    let request = api.request(Method::GET, &refused).header("cookie", &cancelled.cookie);
    assert_eq!(api.send(request).await.unwrap().status.as_u16(), 303);
    let account = connected.id.clone();

    let media = api.upload(video_bytes(2 * CHUNK + 9, 1)).await;
    let by_file = api.publish(&file_post(&account, "by file", &media)).await;
    let by_url = api.publish(&pull_post(&account, "by url")).await;
    for id in [&by_file, &by_url] {
        api.post_becomes(id, "published").await;
    }
    let options = format!("/api/platforms/tiktok/accounts/{account}/publish-options");
    // A platform may repeat what it was sent. It must not end up in the log by that.
    let refuse = |code: &str| {
        let heard = world.api_tap.heard();
        let heard = String::from_utf8_lossy(&heard);
        let latest = |name: &str| {
            let last = heard.rsplit(&format!("\"{name}\":\"")).next().unwrap();
            last.split('"').next().unwrap().to_owned()
        };
        let (access, refresh) = (latest("access_token"), latest("refresh_token"));
        Action::Error {
            code: code.to_owned(),
            status: None,
            message: Some(format!(
                "{PLATFORM_TEXT} {access} {refresh} {}",
                world.secrets.client_secret
            )),
        }
    };
    let spam = Fault::new("video_init", refuse("spam_risk_too_many_posts")).once();
    // A post that is refused.
    world.tiktok.faults().put("spam", spam);
    let refused = api.publish(&file_post(&account, "refused", &media)).await;
    let failed = api.post_becomes(&refused, "failed").await;
    assert_eq!(failed["failure"]["code"], "spam_risk_too_many_posts");
    // A refresh that fails at first.
    world.database.age_tokens().await;
    world
        .tiktok
        .faults()
        .put("token", Fault::new("token", refuse("server_error")).once());
    assert!(!api.get(&options).await.status.is_success());
    api.get(&options).await.ok();
    // A token that is refused before its time.
    world.tiktok.faults().put(
        "refused token",
        Fault::new("creator_info", refuse("access_token_invalid")).once(),
    );
    api.get(&options).await.ok();
    // An answer that is a page, and one that breaks off.
    world
        .tiktok
        .faults()
        .put("half", Fault::new("creator_info", Action::TruncateBody).once());
    api.get(&options).await;

    for signing in [
        Signing::Forged,
        Signing::Unsigned,
        Signing::Tampered,
        Signing::Stale { seconds: 9_000 },
    ] {
        let body = json!({ "event": "post.publish.complete", "content": PLATFORM_TEXT }).to_string();
        let message = Outgoing {
            event: "post.publish.complete".to_owned(),
            body,
            signing,
        };
        let id = world.tiktok.webhooks().send(&message);
        holds("the bad webhook was answered", || {
            let deliveries = world.tiktok.webhooks().deliveries();
            deliveries.iter().any(|one| one.id == id && !one.attempts.is_empty())
        })
        .await;
    }
    let delivered = until("webhooks came", async || {
        let events = api.get(&format!("/api/events?post_id={by_file}")).await.ok();
        events["data"]
            .as_array()
            .is_some_and(|events| events.len() > 1)
            .then_some(events)
    });
    delivered.await;
    api.post("/api/platforms/tiktok/disconnect", &json!({ "account_id": account }))
        .await
        .ok();
    assert_eq!(world.calls("revoke"), 1);
    assert_eq!(world.tiktok.oracle().authorization_headers_on_upload(), 0);

    let mut shown = vec![Canary::new("session token", token)];
    for begun in [&connected, &cancelled] {
        let url = url::Url::parse(&begun.authorize_url).unwrap();
        let state = url
            .query_pairs()
            .find(|(name, _)| name == "state")
            .unwrap()
            .1
            .into_owned();
        shown.push(Canary::new("state", state));
        shown.push(Canary::new("flow cookie", begun.cookie.split_once('=').unwrap().1));
    }
    shown
}

/// Publishes a file that the platform fetches from the host. Returns the tokens of its URLs.
async fn let_it_pull(world: &World, api: &Api) -> Vec<Canary> {
    let account = world.connect(api, "more_1").await.id;
    let media = api.upload(video_bytes(CHUNK / 2, 2)).await;
    let post = api.publish(&hosted_post(&account, "by pull URL", &media)).await;
    api.post_becomes(&post, "published").await;
    let heard = world.api_tap.heard();
    let heard = String::from_utf8_lossy(&heard);
    let tokens = heard.split("/api/media/pull/").skip(1);
    let tokens: Vec<_> = tokens
        .filter_map(|rest| Some(Canary::new("pull token", rest.split_once('"')?.0)))
        .collect();
    assert!(!tokens.is_empty(), "the platform was told a URL");
    tokens
}

/// Asks for everything that can be read, and for some things that cannot.
async fn look_around(world: &World, api: &Api) {
    for path in [
        "/",
        "/platforms/connect?success=tiktok_connected",
        "/platforms/tiktok/upload",
        "/platforms/nothing/upload",
        "/metrics",
        "/healthz",
        "/readyz",
        "/api/openapi.json",
        "/api/platforms",
        "/api/platforms/tiktok",
        "/api/platforms/tiktok/status",
        "/api/platforms/tiktok/accounts",
        "/api/platforms/tiktok/posts",
        "/api/events?limit=100",
        "/api/platforms/tiktok/posts?cursor=nonsense",
        "/api/nothing",
        "/.env",
        "/api/platforms/tiktok/callback?code=nothing&state=nothing",
    ] {
        api.get(path).await;
    }
    for path in ["/api/workers/token-refresh", "/api/workers/webhooks"] {
        let worker = api.with_key(Some(&world.secrets.worker_secret));
        assert!(worker.post(path, &json!({})).await.status.is_success());
        assert_eq!(api.post(path, &json!({})).await.status.as_u16(), 401);
    }
    let almost = format!("{}x", &world.secrets.client_secret);
    for wrong in ["pb_live_wrong", &almost] {
        assert_eq!(
            api.with_key(Some(wrong)).get("/api/platforms").await.status.as_u16(),
            401
        );
    }
}

/// Every secret that host and platform told each other.
fn from_the_wire(world: &World) -> Vec<Canary> {
    let heard = world.api_tap.heard();
    let text = String::from_utf8_lossy(&heard);
    let between = |start: &str, ends: &[&str]| -> Vec<String> {
        let cut = |rest: &str| {
            ends.iter()
                .filter_map(|end| Some(rest[..rest.find(end)?].to_owned()))
                .min_by_key(String::len)
        };
        text.split(start).skip(1).filter_map(cut).collect()
    };
    let json = |name: &str| between(&format!("\"{name}\":\""), &["\""]);
    // In a form's body, a value ends at the next name or with the form, and then the answer follows.
    let form = |name: &str| -> Vec<String> {
        let decoded = |value: &String| {
            Some(
                url::form_urlencoded::parse(format!("v={value}").as_bytes())
                    .next()?
                    .1
                    .into(),
            )
        };
        between(&format!("{name}="), &["&", "HTTP/1.1"])
            .iter()
            .filter_map(decoded)
            .collect()
    };
    let query = |url: &String, name: &str| {
        let url = url::Url::parse(url).unwrap();
        url.query_pairs().find(|(key, _)| key == name).unwrap().1.into_owned()
    };
    // The rest of an upload URL is public.
    let upload_tokens: Vec<_> = json("upload_url")
        .iter()
        .map(|url| query(url, "upload_token"))
        .collect();
    let mut canaries = Vec::new();
    for (name, values, least) in [
        ("access token", json("access_token"), 3),
        ("refresh token", json("refresh_token"), 3),
        ("upload token", upload_tokens, 1),
        ("code", form("&code"), 1),
        ("verifier", form("code_verifier"), 1),
    ] {
        assert!(
            values.len() >= least,
            "only {} of {name} went over the wire",
            values.len()
        );
        for secret in values {
            let canary = Canary::new(name, &secret);
            assert!(
                !canary.found_in(&heard).is_empty(),
                "the search does not even find the {name} on the wire"
            );
            canaries.push(canary);
        }
    }
    canaries
}

fn leaks_in(place: &str, hay: &[u8], canaries: &[Canary]) -> Vec<String> {
    let found = found_in(hay, canaries).into_iter();
    found
        .map(|(canary, forms)| format!("{place}: {} as {forms:?}", canary.name))
        .collect()
}
