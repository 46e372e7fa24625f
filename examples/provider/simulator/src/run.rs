//! Starting and stopping, and what the host and tests hold of it.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use axum::{
    Router,
    extract::Request,
    http::{Method, StatusCode},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use patchbay_simkit::{
    Clock, Faults, Journal, Random, WebhookSender, WebhookSettings,
    admin::{self, Admin},
    gate::{self, Gate, gated},
    outbound, serve,
    stand::{Pending, Stand, StandConfig},
};
use serde_json::json;
use tokio::sync::watch;

use crate::{
    hooks::AppSigner,
    oauth, posts,
    world::{ADA, Refused, World},
};

// CHANGE: its hosts, its calls and their paths. A call that takes a file needs a `DefaultBodyLimit` of its own.
const HOSTS: [&str; 2] = ["quill.example", "api.quill.example"];
const OPS: &[&str] = &["authorize", "token", "revoke", "me", "posts", "post", "other"];

fn routes(world: Arc<World>) -> Router {
    Router::new()
        .route("/oauth/authorize", get(oauth::page).post(oauth::allow))
        .route("/oauth/token", post(oauth::token))
        .route("/oauth/revoke", post(oauth::revoke))
        .route("/v1/me", get(posts::me))
        .route("/v1/posts", post(posts::create).get(posts::find))
        .route("/v1/posts/{id}", get(posts::get))
        .with_state(world)
}

fn op(path: &str) -> &'static str {
    match path {
        "/oauth/authorize" => "authorize",
        "/oauth/token" => "token",
        "/oauth/revoke" => "revoke",
        "/v1/me" => "me",
        "/v1/posts" => "posts",
        path if path.starts_with("/v1/posts/") => "post",
        _ => "other",
    }
}

/// A running simulator. Dropping it stops it.
pub struct Running {
    world: Arc<World>,
    address: SocketAddr,
    admin: SocketAddr,
    stop: watch::Sender<bool>,
}

/// Starts it.
///
/// # Errors
/// A port is taken.
pub async fn start(config: StandConfig, clock: Clock, random: Random) -> Result<Running, String> {
    let (stop, stopped) = watch::channel(false);
    let signer = AppSigner {
        client_secret: config.client_secret.clone(),
    };
    let settings = WebhookSettings {
        target: config.webhook_url.clone(),
        ..WebhookSettings::default()
    };
    let client = outbound::loopback_client(Duration::from_secs(10)).map_err(|error| error.to_string())?;
    let webhooks = WebhookSender::new(clock.clone(), signer, client, settings);
    drop(tokio::spawn(webhooks.clone().run(stopped.clone())));
    let first = config.first_port;
    let world = Arc::new(World::new(config, clock.clone(), random, webhooks.clone()));
    let (faults, journal) = (Faults::default(), Journal::default());
    let gate = Gate {
        host: HOSTS[1],
        platform: Arc::new(Door(Arc::clone(&world))),
        clock: clock.clone(),
        faults: faults.clone(),
        journal: journal.clone(),
    };
    let controls = Admin {
        title: "Quill (simulated)",
        clock,
        faults,
        journal,
        webhooks,
        oracle: oracle(&world),
        ops: OPS,
        script: "",
    };
    let controls = admin::guarded(admin::router(&controls));
    let admin = listen(first, 0, controls, &stopped).await?;
    let address = listen(first, 1, gated(routes(Arc::clone(&world)), gate), &stopped).await?;
    Ok(Running {
        world,
        address,
        admin,
        stop,
    })
}

async fn listen(
    first: Option<u16>,
    offset: u16,
    router: Router,
    stopped: &watch::Receiver<bool>,
) -> Result<SocketAddr, String> {
    let port = first.map_or(0, |first| first.saturating_add(offset));
    let bound = serve::bind(([127, 0, 0, 1], port).into()).await;
    let (listener, address) = bound.map_err(|error| format!("port {port}: {error}"))?;
    drop(serve::spawn(listener, router, stopped.clone()));
    Ok(address)
}

/// What is really there, for the control page.
fn oracle(world: &Arc<World>) -> Arc<dyn Fn() -> serde_json::Value + Send + Sync> {
    let world = Arc::clone(world);
    Arc::new(move || json!({ "posts": world.state().posts.iter().map(posts::shown).collect::<Vec<_>>() }))
}

impl Running {
    /// Each real host name with the loopback address that plays it.
    pub fn hosts(&self) -> Vec<(String, SocketAddr)> {
        HOSTS.map(|host| (host.to_owned(), self.address)).to_vec()
    }

    /// Its clock.
    pub fn clock(&self) -> Clock {
        self.world.clock.clone()
    }

    /// How many posts are to see.
    pub fn published(&self) -> usize {
        self.world.state().posts.iter().filter(|post| post.published).count()
    }

    /// From now on, nothing that is being processed comes to an end.
    pub fn stall(&self) {
        self.world.state().stalled = true;
    }

    /// Lets happen what is due, and sends its webhooks.
    pub async fn settle(&self) {
        drop(self.world.state());
        self.world.webhooks.idle().await;
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.send_replace(true);
    }
}

/// A person opens the consent page and allows everything. Gives the URL that the browser is sent back to.
///
/// # Errors
/// The page refuses.
pub async fn consent(authorize_url: &str) -> Result<String, String> {
    let words = |error: &dyn std::fmt::Display| error.to_string();
    let client = outbound::loopback_client(Duration::from_secs(10)).map_err(|error| words(&error))?;
    let page = client.get(authorize_url).send().await.map_err(|error| words(&error))?;
    if !page.status().is_success() {
        return Err(page.text().await.unwrap_or_default());
    }
    let allowed = client.post(authorize_url).send().await.map_err(|error| words(&error))?;
    let location = allowed.headers().get("location").and_then(|value| value.to_str().ok());
    Ok(location.ok_or("the form leads nowhere")?.to_owned())
}

/// Starts it for a host ([`patchbay_simkit::stand::StartStand`]).
pub fn stand(config: StandConfig) -> Pending<'static, Result<Box<dyn Stand>, String>> {
    Box::pin(async {
        let running = start(config, Clock::running(), Random::from_entropy()).await?;
        Ok(Box::new(running) as Box<dyn Stand>)
    })
}

impl Stand for Running {
    fn hosts(&self) -> Vec<(String, SocketAddr)> {
        self.hosts()
    }

    fn admin(&self) -> SocketAddr {
        self.admin
    }

    fn consent<'a>(&'a self, authorize_url: &'a str) -> Pending<'a, Result<String, String>> {
        Box::pin(consent(authorize_url))
    }

    fn shutdown(self: Box<Self>) -> Pending<'static, ()> {
        // Dropping it stops it.
        Box::pin(async {})
    }
}

/// What simkit must know to note calls and to play faults.
struct Door(Arc<World>);

impl gate::Platform for Door {
    fn op(&self, _: &str, _: &Method, path: &str) -> &'static str {
        op(path)
    }

    fn accounts(&self, token: &str) -> Vec<String> {
        let is_known = self.0.state().grants.iter().any(|grant| grant.access == token);
        is_known.then(|| ADA[2].to_owned()).into_iter().collect()
    }

    fn refusal(&self, _: &str, _: &Request, code: &str, status: Option<u16>, _: Option<&str>) -> Response {
        let status = status.and_then(|status| StatusCode::from_u16(status).ok());
        Refused::new(status.unwrap_or(StatusCode::BAD_REQUEST), code).into_response()
    }
}
