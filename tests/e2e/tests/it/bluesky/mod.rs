//! A whole host against Bluesky's own server software: connect, publish, renew, lose answers, let go. Nothing here is
//! simulated but the loss. What was really posted is read at the server. Each story is told by the provider that is built in
//! and by the same source as a WebAssembly component. Lane `bluesky` of `tests/run` starts the server and builds the component.

mod network;

use std::{sync::Arc, time::Duration};

use futures_util::FutureExt;
use patchbay_app::{model::AccountStatus, outbound::Outbound, tokens};
use patchbay_core::{AccountId, HttpRequest, HttpTransport, SecretRef, TenantId, TransportError};
use patchbay_rig::Memories;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::components::{Folder, loading};
use crate::harness::{Database, Reply, Setup, World, at_once, id_of, media, on_postgres, query, send};
use network::{Fault, Network, Person};

const POSTS: &str = "/api/platforms/bluesky/posts";
const PUT: &str = "com.atproto.repo.putRecord";
const REFRESH: &str = "com.atproto.server.refreshSession";
/// Close to the end of an access token of two hours.
const NEARLY_OVER: Duration = Duration::from_secs(2 * 3600 - 300);

/// A host and the network that it talks to.
struct Story {
    world: World,
    network: Network,
    /// Where the host has its provider from; `None`: it is built in.
    folder: Option<Folder>,
}

impl Story {
    async fn begin(database: Database, provider: Provider) -> Option<Self> {
        let setup = Setup {
            database,
            ..Setup::default()
        };
        Self::begin_in(setup, provider).await
    }

    async fn begin_in(setup: Setup, provider: Provider) -> Option<Self> {
        let network = Network::find().await?;
        let setup = setup
            .set("PATCHBAY__PROVIDERS__BLUESKY__ENABLED", "true")
            .set("PATCHBAY__PROVIDERS__BLUESKY__SIMULATOR_HOSTS", network.hosts());
        let folder = match provider {
            Provider::BuiltIn => None,
            Provider::Component => Some(Folder::of_bluesky()),
        };
        let world = match &folder {
            None => setup,
            Some(folder) => loading(setup, folder),
        }
        .build()
        .await;
        let story = Self { world, network, folder };
        story.is_served().await;
        Some(story)
    }

    /// By the provider that was asked for, and no other.
    async fn is_served(&self) {
        let components = self.world.components().await;
        match &self.folder {
            None => assert!(components.is_empty(), "{components:?}"),
            Some(folder) => folder.serves(&components),
        }
    }

    /// Opens the form of a connect, as a browser. Gives the cookie and the value of `state`.
    async fn form(&self) -> (String, String) {
        self.form_at("/api/platforms/bluesky/authorize").await
    }

    async fn form_at(&self, link: &str) -> (String, String) {
        let shown = self.world.api.get(link).await;
        assert_eq!(shown.status, 200, "{}", shown.text);
        let state = shown.text.split("name=\"state\" value=\"").nth(1).unwrap();
        assert!(
            shown.text.contains("name=\"app_password\" type=\"password\""),
            "{}",
            shown.text
        );
        (shown.cookie(), state.split('"').next().unwrap().to_owned())
    }

    async fn submit(&self, cookie: &str, form: &[(&str, &str)]) -> Reply {
        let browser = self.world.api.with_key(None);
        let request = browser.request(Method::POST, "/api/platforms/bluesky/callback");
        send(request.header("cookie", cookie).form(form)).await
    }

    /// Where a person lands who fills in the form like this.
    async fn land(&self, handle: &str, password: &str, server: &str) -> String {
        let (cookie, state) = self.form().await;
        let form = [
            ("state", &*state),
            ("handle", handle),
            ("app_password", password),
            ("server", server),
        ];
        self.submit(&cookie, &form).await.location()
    }

    async fn connect(&self, person: &Person) -> String {
        let landed = self.land(&person.handle, &person.app_password, "").await;
        assert!(landed.contains("success=bluesky_connected"), "{landed}");
        query(&landed, "account").unwrap()
    }

    async fn post(&self, wanted: &Value) -> String {
        id_of(&self.world.api.post(POSTS, wanted).await.with(202))
    }

    async fn text(&self, account: &str, text: &str) -> String {
        self.post(&json!({ "account_id": account, "kind": "text", "text": text }))
            .await
    }

    async fn show(&self, id: &str) -> Value {
        self.world.api.get(&format!("{POSTS}/{id}")).await.ok()
    }

    /// Moves time until the post has an outcome.
    async fn settled(&self, id: &str) -> Value {
        for _ in 0..50 {
            self.world.drain().await;
            let post = self.show(id).await;
            if !matches!(post["status"].as_str(), Some("queued" | "publishing")) {
                return post;
            }
            self.world.advance(Duration::from_secs(30));
        }
        panic!("no outcome: {}", self.show(id).await)
    }

    async fn published(&self, id: &str) -> Value {
        let post = self.settled(id).await;
        assert_eq!(post["status"], "published", "{post}");
        post
    }

    async fn status(&self, account: &str) -> AccountStatus {
        self.world.account(account).await.status
    }
}

/// What speaks for the platform in a host.
#[derive(Clone, Copy)]
enum Provider {
    BuiltIn,
    /// The same source as a WebAssembly component, in the place of what is built in.
    Component,
}

async fn on_both(provider: Provider, story: impl AsyncFn(&Story)) {
    if let Some(begun) = Story::begin(Database::Sqlite, provider).await {
        story(&begun).await;
        begun.is_served().await;
        on_postgres(async |database| {
            let begun = Story::begin(database, provider).await.unwrap();
            story(&begun).await;
            begun.is_served().await;
        })
        .await;
    }
}

/// Each story by what is built in and by its component, each on both databases.
macro_rules! stories {
    ($($story:ident)*) => {
        mod built_in {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $story() {
                super::on_both(super::Provider::BuiltIn, super::$story).await;
            })*
        }

        mod component {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $story() {
                super::on_both(super::Provider::Component, super::$story).await;
            })*
        }
    };
}

stories! {
    an_account_is_connected_posts_and_is_let_go
    a_session_ends_by_a_form_and_its_tenant_takes_the_account
    what_cannot_be_connected_is_refused_and_nothing_private_is_reached
    tokens_are_renewed_once_however_many_ask_and_a_lost_answer_does_no_harm
    an_expired_token_is_renewed_and_the_post_goes_on
    numbers_are_read_as_readers_see_them_and_end_with_the_record
    a_lost_answer_is_one_post
    a_renewal_that_comes_too_late_asks_for_a_reconnect
    access_that_is_taken_back_at_the_server_is_noticed_and_a_reconnect_goes_on
    an_accounts_tokens_go_to_its_own_server_alone
}

/// Neither the password nor a token of the session, whatever the guest does with their handles.
#[tokio::test(flavor = "multi_thread")]
async fn no_secret_comes_into_a_guests_memory() {
    let memories = Arc::new(Memories::default());
    let setup = Setup {
        component_memory: Some(memories.clone()),
        ..Setup::default()
    };
    let Some(story) = Story::begin_in(setup, Provider::Component).await else {
        return;
    };
    let ada = story.network.person().await;
    let account = story.connect(&ada).await;
    story.network.proxy.next(PUT, Fault::Expired);
    story.published(&story.text(&account, "Seen by the guest").await).await;
    assert_eq!(story.network.proxy.calls(REFRESH), 1);
    let gone = json!({ "account_id": account });
    let disconnect = "/api/platforms/bluesky/disconnect";
    story.world.api.post(disconnect, &gone).await.ok();
    assert_eq!(story.status(&account).await, AccountStatus::Revoked);

    let (secrets, all) = (story.network.proxy.secrets(), memories.all());
    assert!(secrets.contains(&ada.app_password));
    // The password and two pairs of tokens; access tokens of one second are the same.
    assert!((4..=5).contains(&secrets.len()), "{}", secrets.len());
    let holds = |needle: &str| all.windows(needle.len()).any(|window| window == needle.as_bytes());
    for held in [
        "Seen by the guest",
        &ada.did,
        SecretRef::account("refresh_token").as_str(),
    ] {
        assert!(holds(held), "{held}");
    }
    for secret in secrets {
        // The end of a token is its signature, which nothing else is.
        let end = &secret[secret.len().saturating_sub(24)..];
        assert!(!holds(end), "a guest held what ends with {end}");
    }
}

async fn an_account_is_connected_posts_and_is_let_go(story: &Story) {
    let (ada, bob) = (story.network.person().await, story.network.person().await);
    let account = story.connect(&ada).await;
    let shown = story
        .world
        .api
        .get(&format!("/api/platforms/bluesky/accounts/{account}"))
        .await
        .ok();
    assert_eq!(shown["username"], ada.handle, "{shown}");
    assert_eq!(shown["simulated"], true);

    // Text, with everything that a text can hold.
    let text = format!("Grüße 👋🏽 @{} https://example.com #größe", bob.handle);
    let wanted = json!({
        "account_id": account, "kind": "text", "text": text,
        "options": { "languages": "de", "link_url": "https://example.com/a", "link_title": "A page" },
    });
    let post = story.published(&story.post(&wanted).await).await;
    let [record] = &story.network.posts(&ada).await[..] else {
        panic!("not one post")
    };
    assert_eq!(post["remote_ids"], json!([record["uri"]]));
    let value = &record["value"];
    assert_eq!((&value["text"], &value["langs"]), (&json!(text), &json!(["de"])));
    assert_eq!(value["embed"]["external"]["title"], "A page");
    let facets: Vec<_> = value["facets"]
        .as_array()
        .unwrap()
        .iter()
        .map(|facet| {
            let at = |end: &str| usize::try_from(facet["index"][end].as_u64().unwrap()).unwrap();
            let feature = &facet["features"][0];
            let what = ["did", "uri", "tag"].iter().find_map(|name| feature[*name].as_str());
            (&text[at("byteStart")..at("byteEnd")], what.unwrap())
        })
        .collect();
    let mention = format!("@{}", bob.handle);
    let link = "https://example.com";
    assert_eq!(facets, [(&*mention, &*bob.did), (link, link), ("#größe", "größe")]);

    // Pictures and a video, whose bytes arrive as they were.
    let files = [media::png(), media::jpeg()];
    let ids = [
        story.world.upload(files[0].clone()).await,
        story.world.upload(files[1].clone()).await,
    ];
    let wanted = json!({
        "account_id": account, "kind": "images", "text": "Two",
        "media": [{ "id": ids[0] }, { "id": ids[1] }], "options": { "alt_text": "One\nOther" },
    });
    story.published(&story.post(&wanted).await).await;
    let video = story.world.video().await;
    let wanted = json!({ "account_id": account, "kind": "video", "media": [{ "id": video }] });
    story.published(&story.post(&wanted).await).await;
    let posts = story.network.posts(&ada).await;
    assert_eq!(posts.len(), 3);
    let embed = |kind: &str| {
        let of = |post: &&Value| post["value"]["embed"]["$type"] == kind;
        posts.iter().find(of).unwrap_or_else(|| panic!("no {kind}"))["value"]["embed"].clone()
    };
    let images = &embed("app.bsky.embed.images")["images"];
    for (index, (file, alt)) in files.iter().zip(["One", "Other"]).enumerate() {
        assert_eq!(images[index]["alt"], alt);
        assert_eq!(story.network.blob(&ada, &images[index]["image"]).await, file);
    }
    let sent = story.network.blob(&ada, &embed("app.bsky.embed.video")["video"]).await;
    assert_eq!(sent, media::video());

    // The session ends at the server, and every token with it.
    let gone = json!({ "account_id": account });
    story
        .world
        .api
        .post("/api/platforms/bluesky/disconnect", &gone)
        .await
        .ok();
    let delete = "com.atproto.server.deleteSession";
    assert_eq!(story.network.proxy.calls(delete), 1);
    let dead = story.network.renewal_with_the_token_of(delete).await.with(400);
    assert_eq!(dead["error"], "ExpiredToken", "{dead}");
    assert_eq!(story.status(&account).await, AccountStatus::Revoked);
    assert!(story.world.account(&account).await.tokens.is_none());
}

async fn a_session_ends_by_a_form_and_its_tenant_takes_the_account(story: &Story) {
    let ada = story.network.person().await;
    let (api, sessions) = (&story.world.api, "/api/platforms/bluesky/connect-sessions");
    let origins = json!({ "origins": ["https://app.example.com"] });
    send(api.request(Method::PUT, "/api/connect-origins").json(&origins))
        .await
        .ok();
    let wanted = json!({ "owner": "user-42", "return_to": "https://app.example.com/done" });
    let session = api.post(sessions, &wanted).await.with(201);
    let (cookie, state) = story.form_at(session["connect_url"].as_str().unwrap()).await;
    let form = [
        ("state", &*state),
        ("handle", &*ada.handle),
        ("app_password", &*ada.app_password),
    ];
    let landed = story.submit(&cookie, &form).await.location();
    assert!(landed.starts_with("https://app.example.com/done?"), "{landed}");
    assert!(
        !landed.contains(&*ada.handle) && !landed.contains(&*ada.app_password),
        "{landed}"
    );
    let at = format!("{sessions}/{}", session["id"].as_str().unwrap());
    let pending = api.get(&at).await.ok();
    assert_eq!(pending["state"], "pending");
    let account = pending["account_id"].as_str().unwrap();
    assert_eq!(story.status(account).await, AccountStatus::Pending);
    let code = json!({ "code": query(&landed, "completion_code").unwrap() });
    let taken = api.post(&format!("{at}/complete"), &code).await.ok();
    assert_eq!(
        (&taken["status"], &taken["owner"]),
        (&json!("active"), &json!("user-42"))
    );
    story.published(&story.text(account, "By a session").await).await;
    assert_eq!(story.network.posts(&ada).await.len(), 1);
}

async fn what_cannot_be_connected_is_refused_and_nothing_private_is_reached(story: &Story) {
    let ada = story.network.person().await;
    let refused = async |handle: &str, password: &str, server: &str| {
        let landed = story.land(handle, password, server).await;
        assert!(landed.contains("error=failed"), "{handle} {server}: {landed}");
    };
    refused(&ada.handle, "wrong-password", "").await;
    refused("nobody-of-this-name.test", &ada.app_password, "").await;
    refused(&ada.handle, "", "").await;
    let before = story.network.proxy.calls("com.atproto.server.createSession");
    // Would be reached, if anything on this machine were.
    let inside = TcpListener::bind(("127.7.8.9", 8443)).await.unwrap();
    // Names of this machine, private addresses in many spellings, a name with one private address, other ports.
    for server in [
        "localhost",
        "127.7.8.9:8443",
        "[::ffff:127.7.8.9]:8443",
        "2131167241:8443",
        "127.0.0.1",
        "2130706433",
        "0x7f.1",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "10.0.0.1",
        "169.254.169.254",
        "inside.example.com",
        "pds.test:22",
        "http://pds.test",
        "a@pds.test",
        "pds.test/x",
        "nowhere.example",
    ] {
        refused(&ada.handle, &ada.app_password, server).await;
    }
    assert_eq!(story.network.proxy.calls("com.atproto.server.createSession"), before);
    assert!(inside.accept().now_or_never().is_none(), "something inside was dialled");
    drop(inside);
    let accounts = story.world.api.get("/api/platforms/bluesky/accounts").await.ok();
    assert_eq!(accounts["data"], json!([]));

    // A form is of its browser, and good once; what is typed never comes by an address.
    let (cookie, state) = story.form().await;
    let filled = [
        ("state", &*state),
        ("handle", &*ada.handle),
        ("app_password", &*ada.app_password),
    ];
    story
        .submit("patchbay_flow=other", &filled)
        .await
        .problem(400, "connect_flow_invalid");
    story
        .submit(&cookie, &filled)
        .await
        .problem(400, "connect_flow_invalid");
    let (cookie, state) = story.form().await;
    let address = format!(
        "/api/platforms/bluesky/callback?state={state}&handle={}&app_password=x",
        ada.handle
    );
    let landed = story.world.callback(&address, Some(&cookie)).await.location();
    assert!(
        landed.contains("error=failed") && !landed.contains("app_password"),
        "{landed}"
    );

    // The server by its name, which the network knows as well.
    let landed = story.land(&ada.handle, &ada.app_password, network::NAME).await;
    assert!(landed.contains("success=bluesky_connected"), "{landed}");
}

async fn tokens_are_renewed_once_however_many_ask_and_a_lost_answer_does_no_harm(story: &Story) {
    let ada = story.network.person().await;
    let account = story.connect(&ada).await;
    let stored = story.world.account(&account).await;
    let life = stored.access_expires_at.unwrap() - story.world.now();
    assert_eq!(life.num_minutes(), 120, "as the token itself says");
    let life = stored.refresh_expires_at.unwrap() - story.world.now();
    assert_eq!(life.num_days(), 90);

    let id: AccountId = account.parse().unwrap();
    let ask = |_| {
        let app = story.world.app().clone();
        async move {
            tokens::ready(&app, TenantId::DEFAULT, id, tokens::CALL_MARGIN)
                .await
                .is_ok()
        }
    };
    story.world.advance(NEARLY_OVER);
    assert_eq!(at_once(20, ask).await, vec![true; 20]);
    assert_eq!(story.network.proxy.calls(REFRESH), 1);
    assert_eq!(
        story.world.account(&account).await.token_version,
        stored.token_version + 1
    );

    // The server has renewed, and nobody heard: the token before it still works there.
    story.network.proxy.next(REFRESH, Fault::LoseAnswer);
    story.world.advance(NEARLY_OVER);
    assert_eq!(at_once(1, ask).await, [false]);
    assert_eq!(at_once(1, ask).await, [true]);
    assert_eq!(story.network.proxy.calls(REFRESH), 3);
    story.published(&story.text(&account, "Still here").await).await;
    assert_eq!(story.network.posts(&ada).await.len(), 1);
}

async fn an_expired_token_is_renewed_and_the_post_goes_on(story: &Story) {
    let ada = story.network.person().await;
    let account = story.connect(&ada).await;
    story.network.proxy.next(PUT, Fault::Expired);
    let post = story.text(&account, "Once").await;
    story.published(&post).await;
    assert_eq!(story.network.proxy.calls(REFRESH), 1);
    assert_eq!(story.network.proxy.calls(PUT), 2);
    assert_eq!(story.network.posts(&ada).await.len(), 1);
}

async fn numbers_are_read_as_readers_see_them_and_end_with_the_record(story: &Story) {
    let ada = story.network.person().await;
    let account = story.connect(&ada).await;
    let post = story.text(&account, "Like this").await;
    story.published(&post).await;
    let numbers = async || {
        let shown = story.world.api.get(&format!("/api/posts/{post}/metrics")).await.ok();
        let one = |metric: &Value| (metric["value"].clone(), metric["reason"].clone());
        shown["metrics"].as_array().unwrap().iter().map(one).collect::<Vec<_>>()
    };
    let none = |reason: &str| (Value::Null, json!(reason));
    assert_eq!(numbers().await[..2], [none("not_given"), none("not_yet")]);
    story.network.proxy.like(5);
    story.world.advance(Duration::from_secs(900));
    story.world.drain().await;
    let told = |value: u64| (json!(value), Value::Null);
    let all = [none("not_given"), told(5), told(1), none("not_given"), told(2), told(0)];
    assert_eq!(numbers().await, all);

    story.network.forget_posts(&ada).await;
    story.world.advance(Duration::from_secs(3600));
    story.world.drain().await;
    assert_eq!(numbers().await[1], (json!(5), json!("not_available")));
    assert_eq!(story.network.proxy.calls("app.bsky.feed.getPosts"), 2);
}

async fn a_lost_answer_is_one_post(story: &Story) {
    let ada = story.network.person().await;
    let account = story.connect(&ada).await;
    for (fault, puts, code) in [
        (Fault::LoseAnswer, 1, "happened"),
        (Fault::LoseRequest, 2, "did_not_happen"),
    ] {
        let (before, posts) = (story.network.proxy.calls(PUT), story.network.posts(&ada).await.len());
        story.network.proxy.next(PUT, fault);
        let id = story.text(&account, &format!("{fault:?}")).await;
        let post = story.published(&id).await;
        assert_eq!(story.network.proxy.calls(PUT), before + puts, "{fault:?}");
        let there = story.network.posts(&ada).await;
        assert_eq!(there.len(), posts + 1, "{fault:?}");
        assert!(there.iter().any(|record| post["remote_ids"] == json!([record["uri"]])));
        let journal = story.world.api.get(&format!("{POSTS}/{id}/journal")).await.ok();
        assert!(journal.to_string().contains(code), "{journal}");
    }
    // Also a file's: it is sent again, and nobody sees the first.
    story
        .network
        .proxy
        .next("com.atproto.repo.uploadBlob", Fault::LoseAnswer);
    let image = story.world.upload(media::png()).await;
    let wanted = json!({ "account_id": account, "kind": "images", "media": [{ "id": image }] });
    story.published(&story.post(&wanted).await).await;
    assert_eq!(story.network.posts(&ada).await.len(), 3);
}

async fn a_renewal_that_comes_too_late_asks_for_a_reconnect(story: &Story) {
    let ada = story.network.person().await;
    let account = story.connect(&ada).await;
    story.network.proxy.next(REFRESH, Fault::Expired);
    story.world.advance(NEARLY_OVER);
    story.world.drain().await;
    assert_eq!(story.network.proxy.calls(REFRESH), 1);
    assert_eq!(story.status(&account).await, AccountStatus::ReauthRequired);
    assert_eq!(story.connect(&ada).await, account, "the same account");
    story.published(&story.text(&account, "In time").await).await;
    assert_eq!(story.network.posts(&ada).await.len(), 1);
}

async fn access_that_is_taken_back_at_the_server_is_noticed_and_a_reconnect_goes_on(story: &Story) {
    let mut ada = story.network.person().await;
    let account = story.connect(&ada).await;
    story.network.new_app_password(&mut ada).await;
    story.world.advance(NEARLY_OVER);
    story.world.drain().await;
    assert_eq!(story.status(&account).await, AccountStatus::ReauthRequired);
    let refused = story
        .world
        .api
        .post(POSTS, &json!({ "account_id": account, "kind": "text", "text": "x" }))
        .await;
    refused.problem(409, "account_reauth_required");
    assert_eq!(story.connect(&ada).await, account, "the same account");
    story.published(&story.text(&account, "Back").await).await;
    assert_eq!(story.network.posts(&ada).await.len(), 1);
}

async fn an_accounts_tokens_go_to_its_own_server_alone(story: &Story) {
    let ada = story.network.person().await;
    let account = story.world.account(&story.connect(&ada).await).await;
    let app = story.world.app();
    let registered = app.registered(&account.provider).unwrap();
    let ready = tokens::open(app, account).await.unwrap();
    assert_eq!(ready.view.credentials.server.unwrap().as_str(), "https://pds.test/");
    let outbound = Outbound::new(app, &registered, Some(&ready.account), ready.secrets, "test");
    let ask = async |server: &str| {
        let url = format!("{server}/xrpc/com.atproto.server.getSession").parse().unwrap();
        outbound.send(HttpRequest::new("session.get", url).as_account()).await
    };
    assert_eq!(ask("https://pds.test").await.unwrap().status, 200);
    for other in [
        "https://pds.example.com",
        "https://pds.test:8443",
        "https://a.pds.test",
        "http://pds.test",
        // Hosts of other rows.
        "https://public.api.bsky.app",
        "https://plc.directory",
    ] {
        let answer = ask(other).await;
        assert!(matches!(answer, Err(TransportError::Blocked(_))), "{other}: {answer:?}");
    }
}
