//! Where the platform tells several accounts, the person chooses: on a page of the host, in the browser that began the
//! connect, and once (rows T01 to T05, T09, T10, T13 and T15 of the security reference).

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use async_trait::async_trait;
use patchbay_app::tokens;
use patchbay_core::{
    Authorize, AuthorizeRequest, Callback, Credentials, Ctx, Grant, Identity, Manifest, OAuthProvider, Provider,
    ProviderError, ProviderId, Publisher, SecretRef, WebhookSource,
};
use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    erasures::done,
    harness::{ADA, Api, Database, POSTS, Reply, Setup, World, at_once, on_postgres, pull_post, query, send},
};

const CHOICES: &str = "/api/platforms/tiktok/connect/choices";
const SESSIONS: &str = "/api/platforms/tiktok/connect-sessions";
const APP: &str = "https://app.example.com";

/// The platform, with pages behind each login. The last page has a token of its own.
struct Pages(Arc<dyn Provider>);

impl Pages {
    fn inner(&self) -> &dyn OAuthProvider {
        self.0.oauth().unwrap()
    }
}

impl Provider for Pages {
    fn manifest(&self) -> &Manifest {
        self.0.manifest()
    }

    fn oauth(&self) -> Option<&dyn OAuthProvider> {
        Some(self)
    }

    fn publisher(&self) -> Option<&dyn Publisher> {
        self.0.publisher()
    }

    fn webhooks(&self) -> Option<&dyn WebhookSource> {
        self.0.webhooks()
    }
}

#[async_trait]
impl OAuthProvider for Pages {
    async fn authorize(&self, ctx: &Ctx<'_>, request: &AuthorizeRequest) -> Result<Authorize, ProviderError> {
        self.inner().authorize(ctx, request).await
    }

    async fn exchange(&self, ctx: &Ctx<'_>, callback: &Callback) -> Result<Grant, ProviderError> {
        let mut grant = self.inner().exchange(ctx, callback).await?;
        let person = grant.identities.remove(0).remote_id;
        let page = |number: u8, name: &str| Identity {
            remote_id: format!("{person}-{number}"),
            display_name: Some(name.to_owned()),
            username: Some(format!("page_{number}")),
            avatar_url: None,
            profile_url: None,
        };
        grant.identities = vec![
            page(2, "</title><script>alert(1)</script>"),
            page(1, "The bakery"),
            page(3, "The mill"),
            page(1, "The bakery"),
        ];
        let own = grant.credentials.get("refresh_token")?;
        grant.credentials.secrets.insert(format!("page_token@{person}-3"), own);
        Ok(grant)
    }

    async fn refresh(&self, ctx: &Ctx<'_>) -> Result<Credentials, ProviderError> {
        self.inner().refresh(ctx).await
    }

    async fn identity(&self, ctx: &Ctx<'_>) -> Result<Identity, ProviderError> {
        self.inner().identity(ctx).await
    }

    async fn revoke(&self, ctx: &Ctx<'_>) -> Result<(), ProviderError> {
        self.inner().revoke(ctx).await
    }
}

async fn world(database: Database) -> World {
    let setup = Setup {
        database,
        ..Setup::default()
    };
    let world = setup.build().await;
    let registry = &world.app().registry;
    let registered = registry.get(&ProviderId::parse("tiktok").unwrap()).unwrap();
    let pages = Pages(registered.provider.clone());
    registry.put(Arc::new(registered.with_provider(Arc::new(pages))));
    let origins = world.api.request(Method::PUT, "/api/connect-origins");
    send(origins.json(&json!({ "origins": [APP] }))).await.ok();
    world
}

/// A choice that a browser has come to, and the cookie of that browser.
struct Chooser {
    browser: Api,
    path: String,
    cookie: String,
}

impl Chooser {
    /// Agrees at the platform, after a link that leads there.
    async fn after(world: &World, link: &str, api: &Api) -> Self {
        let started = api.get(link).await;
        let callback = world.decide(&started.location(), ADA, None, "allow").await;
        let back = world.callback(&callback, Some(&started.cookie())).await;
        assert_eq!(back.header("set-cookie"), None, "the cookie has more to do");
        assert_eq!(back.header("cross-origin-opener-policy"), Some("unsafe-none"));
        let landed = back.location();
        let told = landed
            .strip_prefix("/platforms/choose#")
            .unwrap_or_else(|| panic!("{landed}"));
        let told = format!("?{told}");
        assert_eq!(query(&told, "provider").as_deref(), Some("tiktok"));
        let handle = query(&told, "choice").unwrap();
        assert!(handle.len() >= 43 && told.matches('&').count() == 1, "{landed}");
        Self {
            browser: world.api.with_key(None),
            path: format!("{CHOICES}/{handle}"),
            cookie: started.cookie(),
        }
    }

    async fn first_party(world: &World) -> Self {
        Self::after(world, "/api/platforms/tiktok/authorize", &world.api).await
    }

    async fn of_session(world: &World, session: &Value) -> Self {
        let link = session["connect_url"].as_str().unwrap();
        Self::after(world, link, &world.api.with_key(None)).await
    }

    async fn look(&self) -> Reply {
        send(
            self.browser
                .request(Method::GET, &self.path)
                .header("cookie", &self.cookie),
        )
        .await
    }

    /// The ids of all that can be chosen.
    async fn ids(&self) -> Vec<String> {
        let shown = self.look().await.ok();
        let accounts = shown["accounts"].as_array().unwrap();
        accounts
            .iter()
            .map(|one| one["id"].as_str().unwrap().to_owned())
            .collect()
    }

    async fn choose(&self, ids: &[String]) -> Reply {
        let request = self
            .browser
            .request(Method::POST, &self.path)
            .header("cookie", &self.cookie);
        send(request.json(&json!({ "ids": ids }))).await
    }
}

async fn session(world: &World, more: Value) -> Value {
    let mut wanted = json!({ "owner": "user-42", "return_to": format!("{APP}/settings") });
    for (name, value) in more.as_object().unwrap() {
        wanted[name] = value.clone();
    }
    world.api.post(SESSIONS, &wanted).await.with(201)
}

async fn state(world: &World, session: &Value) -> Value {
    let path = format!("{SESSIONS}/{}", session["id"].as_str().unwrap());
    world.api.get(&path).await.ok()
}

async fn complete(world: &World, session: &Value, landed: &str) -> Reply {
    let path = format!("{SESSIONS}/{}/complete", session["id"].as_str().unwrap());
    let code = query(landed, "completion_code").unwrap();
    world.api.post(&path, &json!({ "code": code })).await
}

fn onward(chosen: &Reply) -> String {
    let cookie = chosen.header("set-cookie").unwrap_or_default();
    assert!(cookie.contains("Max-Age=0"), "the cookie has done its work: {cookie}");
    chosen.ok()["location"].as_str().unwrap().to_owned()
}

async fn accounts(world: &World) -> Vec<Value> {
    let listed = world.api.get("/api/platforms/tiktok/accounts").await.ok();
    listed["data"].as_array().unwrap().clone()
}

#[tokio::test]
async fn what_is_chosen_becomes_accounts_and_what_is_not_leaves_nothing() {
    chosen(Database::Sqlite).await;
    on_postgres(chosen).await;
}

async fn chosen(database: Database) {
    let world = world(database).await;
    let chooser = Chooser::first_party(&world).await;
    let shown = chooser.look().await;
    assert_eq!(shown.header("cache-control"), Some("no-store"));
    let shown = shown.ok();
    assert_eq!(
        (&shown["platform"], shown["accounts"].as_array().unwrap().len()),
        (&json!("TikTok"), 3),
        "each once: {shown}"
    );
    let names: BTreeSet<_> = shown["accounts"][0]
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    assert_eq!(
        names,
        BTreeSet::from(["id", "display_name", "username"]),
        "no more than is shown"
    );
    assert_eq!(accounts(&world).await, Vec::<Value>::new(), "nothing is connected yet");

    let ids = chooser.ids().await;
    let landed = onward(&chooser.choose(&[ids[2].clone(), ids[0].clone()]).await);
    assert!(
        landed.starts_with("/platforms/connect?success=tiktok_connected&account="),
        "{landed}"
    );
    let connected = accounts(&world).await;
    let mut names: Vec<_> = connected
        .iter()
        .map(|one| one["display_name"].as_str().unwrap())
        .collect();
    names.sort_unstable();
    assert_eq!(names, ["The bakery", "The mill"]);
    assert_eq!(world.calls("token"), 1, "one code, one exchange");
    assert_eq!(world.number("SELECT count(*) FROM flows").await, 0);
    for account in &connected {
        let id = account["id"].as_str().unwrap();
        assert!(landed.contains(id), "{landed}");
        assert_eq!(world.events(&format!("account_id={id}")).await, ["account.connected"]);
        let stored = world.account(id).await;
        let ready = tokens::open(world.app(), stored).await.unwrap();
        let has_own = ready.secrets.get(&SecretRef::account("page_token")).is_some();
        assert_eq!(has_own, account["display_name"] == "The mill", "each has its own");
        let names: Vec<_> = ready.view.credentials.secrets.into_keys().collect();
        assert!(names.iter().all(|name| !name.contains('@')), "{names:?}");
        world.published(&world.post(&pull_post(id)).await).await;
    }
    let log = world.api.get("/api/audit?action=account.connected").await.ok();
    assert_eq!(log["data"].as_array().unwrap().len(), 2, "{log}");

    // The grant at the platform ends with the last of those that stand on it.
    let disconnect = "/api/platforms/tiktok/disconnect";
    for (account, told) in connected.iter().zip([0, 1]) {
        world
            .api
            .post(disconnect, &json!({ "account_id": account["id"] }))
            .await
            .ok();
        world.drain().await;
        assert_eq!(world.calls("revoke"), told);
        assert!(world.account(account["id"].as_str().unwrap()).await.tokens.is_none());
    }
}

#[tokio::test]
async fn accounts_that_are_chosen_wait_together_until_their_tenant_takes_them() {
    taken_together(Database::Sqlite).await;
    on_postgres(taken_together).await;
}

async fn taken_together(database: Database) {
    let world = world(database).await;
    let session = session(&world, json!({})).await;
    let chooser = Chooser::of_session(&world, &session).await;
    assert_eq!(state(&world, &session).await["state"], "started");
    let ids = chooser.ids().await;
    let landed = onward(&chooser.choose(&ids[..2]).await);
    assert!(landed.starts_with(&format!("{APP}/settings?")), "{landed}");
    assert_eq!(query(&landed, "account"), None);
    let pending = state(&world, &session).await;
    let waiting = pending["account_ids"].as_array().unwrap().clone();
    assert_eq!((&pending["state"], waiting.len()), (&json!("pending"), 2));
    assert_eq!(pending["account_id"], waiting[0]);
    for account in &waiting {
        let refused = world.api.post(POSTS, &pull_post(account.as_str().unwrap())).await;
        refused.problem(409, "account_not_active");
    }
    let taken = complete(&world, &session, &landed).await.ok();
    assert_eq!((&taken["id"], &taken["status"]), (&waiting[0], &json!("active")));
    assert_eq!(
        complete(&world, &session, &landed).await.ok(),
        taken,
        "a lost answer can be asked for again"
    );
    assert_eq!(state(&world, &session).await["state"], "completed");
    for account in &waiting {
        let id = account.as_str().unwrap();
        assert_eq!(
            world.events(&format!("account_id={id}")).await,
            ["account.pending", "account.connected"]
        );
        assert_eq!(world.account(id).await.status.as_str(), "active");
    }
    let log = world.api.get("/api/audit?action=account.completed").await.ok();
    let targets: BTreeSet<_> = log["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| row["target"].as_str().unwrap())
        .collect();
    assert_eq!(targets, waiting.iter().map(|id| id.as_str().unwrap()).collect());
    // Nobody ends them later on.
    world.advance(Duration::from_mins(16));
    world.drain().await;
    assert_eq!(world.calls("revoke"), 0);
}

#[tokio::test]
async fn t02_accounts_that_nobody_takes_are_ended_together() {
    let world = world(Database::Sqlite).await;
    let untaken = session(&world, json!({})).await;
    let chooser = Chooser::of_session(&world, &untaken).await;
    let ids = chooser.ids().await;
    onward(&chooser.choose(&ids[..2]).await);
    world.advance(Duration::from_mins(16));
    world.drain().await;
    assert_eq!(world.calls("revoke"), 1, "one grant");
    assert_eq!(state(&world, &untaken).await["state"], "expired");
    assert_eq!(
        world
            .number("SELECT count(*) FROM accounts WHERE status = 'revoked' AND tokens IS NULL")
            .await,
        2
    );

    let called_off = session(&world, json!({})).await;
    let chooser = Chooser::of_session(&world, &called_off).await;
    onward(&chooser.choose(&ids).await);
    let path = format!("{SESSIONS}/{}", called_off["id"].as_str().unwrap());
    assert_eq!(world.api.delete(&path).await.status, 204);
    world.drain().await;
    // All of them were given up before the first was told of: each saw no other, and to tell it twice does no harm.
    assert!(world.calls("revoke") > 1);
    assert_eq!(
        world
            .number("SELECT count(*) FROM accounts WHERE tokens IS NOT NULL")
            .await,
        0
    );
}

async fn receipts(database: Database) {
    let world = world(database).await;
    let chooser = Chooser::first_party(&world).await;
    let ids = chooser.ids().await;
    onward(&chooser.choose(&ids[..2]).await);
    let mut told = Vec::new();
    for account in accounts(&world).await {
        let path = format!("/api/platforms/tiktok/accounts/{}", account["id"].as_str().unwrap());
        let erasure = world.api.delete(&path).await.with(202);
        let grant = done(&world, &world.api, &erasure).await["grants"][0].clone();
        told.push((grant["outcome"].clone(), grant["code"].clone()));
    }
    let expected = [
        (json!("not_told"), json!("grant_shared")),
        (json!("revoked"), json!(null)),
    ];
    assert_eq!(told, expected);
    assert_eq!(world.calls("revoke"), 1);
}

#[tokio::test]
async fn a_receipt_says_where_another_account_stands_on_the_grant() {
    receipts(Database::Sqlite).await;
    on_postgres(receipts).await;
}

#[tokio::test]
async fn t01_t04_a_choice_is_its_browsers_alone() {
    let world = world(Database::Sqlite).await;
    let chooser = Chooser::first_party(&world).await;
    let ids = chooser.ids().await;
    let foreign = Chooser::first_party(&world).await;
    for cookie in ["", "patchbay_flow=other", &foreign.cookie] {
        let thief = Chooser {
            browser: chooser.browser.clone(),
            path: chooser.path.clone(),
            cookie: cookie.to_owned(),
        };
        thief.look().await.problem(400, "connect_flow_invalid");
    }
    // To look at another's uses nothing up; to choose there does.
    assert_eq!(chooser.look().await.status, 200);
    let thief = Chooser {
        cookie: foreign.cookie.clone(),
        path: chooser.path.clone(),
        browser: chooser.browser.clone(),
    };
    thief.choose(&ids[..1]).await.problem(400, "connect_flow_invalid");
    chooser.choose(&ids[..1]).await.problem(400, "connect_flow_invalid");

    // Neither a handle of another kind nor of another platform, nor what the database holds of it.
    let handle = foreign.path.rsplit('/').next().unwrap().to_owned();
    let elsewhere = format!("/api/platforms/bluesky/connect/choices/{handle}");
    assert_eq!(world.api.with_key(None).get(&elsewhere).await.status, 404);
    let hash = {
        use sha2::Digest as _;
        hex::encode(sha2::Sha256::digest(&handle))
    };
    for wrong in [hash.as_str(), "x", "..%2f.."] {
        let reply = Chooser {
            path: format!("{CHOICES}/{wrong}"),
            cookie: foreign.cookie.clone(),
            browser: foreign.browser.clone(),
        };
        reply.look().await.problem(400, "connect_flow_invalid");
    }
    let as_state = format!("/api/platforms/tiktok/callback?code=x&state={handle}");
    world
        .callback(&as_state, Some(&foreign.cookie))
        .await
        .problem(400, "connect_flow_invalid");
    foreign.look().await.problem(400, "connect_flow_invalid");
    let started = world.api.get("/api/platforms/tiktok/authorize").await;
    let state = query(&started.location(), "state").unwrap();
    let as_handle = Chooser {
        path: format!("{CHOICES}/{state}"),
        cookie: started.cookie(),
        browser: chooser.browser.clone(),
    };
    as_handle.look().await.problem(400, "connect_flow_invalid");
    as_handle.choose(&ids[..1]).await.problem(400, "connect_flow_invalid");
    assert_eq!(accounts(&world).await, Vec::<Value>::new());
    assert_eq!(world.calls("token"), 2, "as many as there were codes");
}

#[tokio::test(flavor = "multi_thread")]
async fn t03_a_choice_that_is_made_fifty_times_at_once_is_made_once() {
    made_once(Database::Sqlite).await;
    on_postgres(made_once).await;
}

async fn made_once(database: Database) {
    let world = world(database).await;
    let chooser = Arc::new(Chooser::first_party(&world).await);
    let ids = chooser.ids().await;
    let replies = at_once(50, |_| {
        let (chooser, ids) = (chooser.clone(), ids.clone());
        async move { chooser.choose(&ids[..2]).await }
    })
    .await;
    let made = replies.iter().filter(|reply| reply.status == 200).count();
    assert_eq!(made, 1);
    for reply in replies.iter().filter(|reply| reply.status != 200) {
        reply.problem(400, "connect_flow_invalid");
    }
    assert_eq!(accounts(&world).await.len(), 2);
}

#[tokio::test]
async fn t05_a_choice_ends_ten_minutes_after_its_connect_began() {
    let world = world(Database::Sqlite).await;
    let session = session(&world, json!({})).await;
    let chooser = Chooser::of_session(&world, &session).await;
    let ids = chooser.ids().await;
    world.advance(Duration::from_secs(600));
    assert_eq!(chooser.look().await.status, 200, "its last moment");
    world.advance(Duration::from_secs(1));
    chooser.look().await.problem(400, "connect_flow_invalid");
    chooser.choose(&ids[..1]).await.problem(400, "connect_flow_invalid");
    assert_eq!(
        world.number("SELECT count(*) FROM flows").await,
        0,
        "the tokens are gone"
    );
    assert_eq!(world.number("SELECT count(*) FROM accounts").await, 0);
    assert_eq!(
        world.calls("revoke"),
        0,
        "others of the same person may stand on this grant"
    );
}

#[tokio::test]
async fn a_choice_that_is_none_can_be_made_again() {
    let world = world(Database::Sqlite).await;
    let chooser = Chooser::first_party(&world).await;
    let ids = chooser.ids().await;
    let many = vec![ids[0].clone(); 51];
    for (wrong, pointer) in [
        (vec![], "/ids"),
        (many, "/ids"),
        (vec![ids[0].clone(), "someone-else".to_owned()], "/ids/1"),
    ] {
        let problem = chooser.choose(&wrong).await.problem(422, "invalid");
        assert_eq!(problem["errors"][0]["pointer"], pointer);
    }
    let form = chooser
        .browser
        .request(Method::POST, &chooser.path)
        .header("cookie", &chooser.cookie);
    send(form.form(&[("ids", &ids[0])]))
        .await
        .problem(415, "unsupported_media_type");
    let more = json!({ "ids": [ids[0]], "tenant_id": "x" });
    let more = chooser.browser.request(Method::POST, &chooser.path).json(&more);
    send(more.header("cookie", &chooser.cookie))
        .await
        .problem(422, "invalid");
    onward(&chooser.choose(&ids[..1]).await);
    assert_eq!(accounts(&world).await.len(), 1);
}

#[tokio::test]
async fn t13_t15_a_choice_is_good_for_its_own_connect() {
    let world = world(Database::Sqlite).await;
    let first = session(&world, json!({})).await;
    let chooser = Chooser::of_session(&world, &first).await;
    let ids = chooser.ids().await;
    let landed = onward(&chooser.choose(&ids[..1]).await);
    let taken = complete(&world, &first, &landed).await.ok();

    // One that is connected again is not asked for.
    let again = session(&world, json!({ "account_id": taken["id"] })).await;
    let link = again["connect_url"].as_str().unwrap();
    let started = world.api.with_key(None).get(link).await;
    let callback = world.decide(&started.location(), ADA, None, "allow").await;
    let landed = world.callback(&callback, Some(&started.cookie())).await.location();
    assert!(landed.starts_with(APP), "{landed}");
    assert_eq!(state(&world, &again).await["account_ids"], json!([taken["id"]]));

    // Of what is chosen together, all or none: another end user's is in the way.
    let stranger = session(&world, json!({ "owner": "user-43" })).await;
    let chooser = Chooser::of_session(&world, &stranger).await;
    let landed = onward(&chooser.choose(&ids).await);
    assert!(landed.starts_with(APP), "{landed}");
    assert_eq!(query(&landed, "code").as_deref(), Some("account_taken"));
    let refused = state(&world, &stranger).await;
    assert_eq!(
        (&refused["state"], &refused["account_ids"]),
        (&json!("refused"), &json!([]))
    );
    assert_eq!(accounts(&world).await.len(), 1);
    assert_eq!(world.calls("revoke"), 0);

    // A session that is called off ends its choice.
    let away = session(&world, json!({})).await;
    let chooser = Chooser::of_session(&world, &away).await;
    let path = format!("{SESSIONS}/{}", away["id"].as_str().unwrap());
    assert_eq!(world.api.delete(&path).await.status, 204);
    chooser.choose(&ids[..1]).await.problem(400, "connect_flow_invalid");
}
