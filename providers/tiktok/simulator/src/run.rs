//! Starting and stopping a simulator, and the handle that tests hold.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::{get, post, put};
use patchbay_simkit::admin::{self, Admin};
use patchbay_simkit::gate::{Gate, gated};
use patchbay_simkit::{Clock, Faults, Journal, Random, WebhookSender, WebhookSettings, outbound, serve};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::account::{Account, Privacy};
use crate::act::ActError;
use crate::answer::unsupported_path;
use crate::config::{ConfigError, SimulatorConfig};
use crate::hooks::{RemovalReason, TikTokSigner};
use crate::oauth::grants::Tokens;
use crate::oauth::{authorize, token};
use crate::oracle::Oracle;
use crate::post::FailReason;
use crate::posting::{creator, init, status};
use crate::switches::Switches;
use crate::world::{Door, OPS, World};
use crate::{control, display, picture, process, upload};

/// JSON and form bodies are small; media goes to the upload host, which streams.
const MAX_BODY: usize = 1 << 20;
/// The upload hosts seen in the wild (media transfer guide, production captures).
const UPLOAD_HOSTS: [&str; 6] = [
    "open-upload.tiktokapis.com",
    "upload.us.tiktokapis.com",
    "open-upload-va.tiktokapis.com",
    "open-upload-sg.tiktokapis.com",
    "open-upload-i18n.tiktokapis.com",
    "open-upload.tiktokapis.us",
];
/// How long a waiting test may wait, in real time.
const PATIENCE: Duration = Duration::from_secs(120);

/// A simulated TikTok. See [`Simulator::start`].
pub struct Simulator;

/// A running simulator. Dropping it stops it.
pub struct Running {
    pub api: SocketAddr,
    pub www: SocketAddr,
    pub upload: SocketAddr,
    pub admin: SocketAddr,
    world: Arc<World>,
    stop: watch::Sender<bool>,
    tasks: Vec<JoinHandle<()>>,
}

/// Why a simulator did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error("listening on {address}")]
    Listen {
        address: SocketAddr,
        source: std::io::Error,
    },
    #[error("building the outbound HTTP client")]
    Client(#[source] reqwest::Error),
}

impl Simulator {
    /// Binds four listeners and starts serving in the background of the current runtime.
    ///
    /// # Errors
    /// The configuration breaks a rule of the portal, or an address cannot be bound.
    pub async fn start(config: SimulatorConfig) -> Result<Running, StartError> {
        config.validate()?;
        let (stop, stopped) = watch::channel(false);
        let world = Arc::new(world(config, stopped.clone())?);
        let listen = world.config.listen;
        let mut tasks = vec![
            tokio::spawn(process::run(Arc::clone(&world))),
            tokio::spawn(world.webhooks.clone().run(stopped.clone())),
        ];
        let mut serve_on = async |address, router| {
            let (listener, bound) = serve::bind(address)
                .await
                .map_err(|source| StartError::Listen { address, source })?;
            tasks.push(serve::spawn(listener, router, stopped.clone()));
            Ok::<_, StartError>(bound)
        };
        let api = serve_on(listen.api, host(&world, "api", api_routes())).await?;
        let www = serve_on(listen.www, host(&world, "www", www_routes())).await?;
        let upload = serve_on(listen.upload, host(&world, "upload", upload_routes())).await?;
        let admin = serve_on(listen.admin, admin_routes(&world)).await?;
        Ok(Running {
            api,
            www,
            upload,
            admin,
            world,
            stop,
            tasks,
        })
    }
}

/// Runs a simulator until `until` completes. `ready` is told once it listens.
///
/// # Errors
/// As [`Simulator::start`].
pub async fn serve(
    config: SimulatorConfig,
    ready: impl FnOnce(&Running),
    until: impl Future<Output = ()>,
) -> Result<(), StartError> {
    let running = Simulator::start(config).await?;
    ready(&running);
    until.await;
    running.shutdown().await;
    Ok(())
}

impl Running {
    /// Each real host name with the listener that plays it.
    pub fn hosts(&self) -> Vec<(String, SocketAddr)> {
        let upload = UPLOAD_HOSTS
            .into_iter()
            .chain([self.world.config.upload_host.as_str()])
            .map(|host| (host.to_owned(), self.upload));
        let mut hosts = vec![
            ("www.tiktok.com".to_owned(), self.www),
            ("open.tiktokapis.com".to_owned(), self.api),
            (picture::HOST.to_owned(), self.www),
        ];
        hosts.extend(upload);
        hosts.sort_unstable();
        hosts.dedup();
        hosts
    }

    pub fn clock(&self) -> &Clock {
        &self.world.clock
    }

    pub fn faults(&self) -> &Faults {
        &self.world.faults
    }

    pub fn journal(&self) -> &Journal {
        &self.world.journal
    }

    pub fn webhooks(&self) -> &WebhookSender {
        &self.world.webhooks
    }

    pub fn oracle(&self) -> Oracle {
        Oracle {
            world: Arc::clone(&self.world),
        }
    }

    pub fn switches(&self) -> Switches {
        (*self.world.switches()).clone()
    }

    pub fn change_switches(&self, change: impl FnOnce(&mut Switches)) {
        self.world.change_switches(change);
    }

    pub fn accounts(&self) -> Vec<Account> {
        self.world.accounts()
    }

    /// By user name or open id.
    pub fn account(&self, name: &str) -> Option<Account> {
        self.world.account(name)
    }

    /// Adds an account, or replaces the one of that user name. Returns it with its ids.
    pub fn put_account(&self, account: Account) -> Account {
        self.world.put_account(account)
    }

    /// An authorization without the consent page.
    ///
    /// # Errors
    /// No such account.
    pub fn grant(&self, account: &str, scopes: &[&str]) -> Result<Tokens, ActError> {
        self.world.grant(account, scopes)
    }

    /// The user posts a draft from the inbox. Without a privacy, the widest the account offers. Returns the id.
    ///
    /// # Errors
    /// Unknown, or not a draft in the inbox.
    pub fn post_draft(&self, publish_id: &str, privacy: Option<Privacy>) -> Result<u64, ActError> {
        self.world.user_posts_draft(publish_id, privacy)
    }

    /// The user throws a draft away.
    ///
    /// # Errors
    /// Unknown, or not a draft in the inbox.
    pub fn discard_draft(&self, publish_id: &str) -> Result<(), ActError> {
        self.world.user_discards_draft(publish_id)
    }

    /// The user deletes what was published.
    ///
    /// # Errors
    /// Unknown, or nothing was published.
    pub fn delete_post(&self, publish_id: &str) -> Result<(), ActError> {
        self.world.user_deletes_post(publish_id)
    }

    /// The platform ends an unfinished post.
    ///
    /// # Errors
    /// Unknown, or already ended.
    pub fn fail_post(&self, publish_id: &str, reason: FailReason) -> Result<(), ActError> {
        self.world.platform_fails_post(publish_id, reason)
    }

    /// The user or the platform ends the authorization.
    ///
    /// # Errors
    /// No such account.
    pub fn disconnect(&self, account: &str, reason: RemovalReason) -> Result<(), ActError> {
        self.world.user_leaves(account, reason)
    }

    /// Waits until the condition holds, looking again after every change and every move of the clock.
    /// Says whether it came to hold within two minutes of real time.
    pub async fn until(&self, mut condition: impl FnMut(&Oracle) -> bool) -> bool {
        let oracle = self.oracle();
        let (mut progress, mut clock) = (self.world.progress(), self.world.clock.changes());
        let waiting = async {
            while !condition(&oracle) {
                tokio::select! {
                    _ = progress.changed() => {}
                    _ = clock.changed() => {}
                    // A running clock makes things due without telling anybody.
                    () = tokio::time::sleep(Duration::from_millis(50)) => {}
                }
            }
        };
        tokio::time::timeout(PATIENCE, waiting).await.is_ok()
    }

    /// Lets everything happen that is due now, and sends all due webhooks.
    pub async fn settle(&self) {
        self.world.tick();
        self.world.webhooks.idle().await;
    }

    /// Stops serving and waits for the background tasks.
    pub async fn shutdown(mut self) {
        self.stop.send_replace(true);
        for task in std::mem::take(&mut self.tasks) {
            task.await.ok();
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.send_replace(true);
    }
}

fn world(config: SimulatorConfig, stopped: watch::Receiver<bool>) -> Result<World, StartError> {
    let random = config.seed.map_or_else(Random::from_entropy, Random::seeded);
    // A silent media host is cut off by the one-hour rule on the simulator's clock, not by the socket.
    let client = outbound::client(Duration::from_secs(3600)).map_err(StartError::Client)?;
    let webhooks = WebhookSender::new(
        config.clock.clone(),
        TikTokSigner {
            client_secret: config.client_secret.clone(),
        },
        client.clone(),
        WebhookSettings {
            target: config.webhook_url.clone(),
            ..WebhookSettings::default()
        },
    );
    Ok(World::new(config, random, webhooks, client, stopped))
}

fn host(world: &Arc<World>, name: &'static str, routes: Router<Arc<World>>) -> Router {
    let router = routes
        .method_not_allowed_fallback(unsupported_path)
        .fallback(unsupported_path)
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .with_state(Arc::clone(world));
    gated(
        router,
        Gate {
            host: name,
            platform: Arc::new(Door(Arc::clone(world))),
            clock: world.clock.clone(),
            faults: world.faults.clone(),
            journal: world.journal.clone(),
        },
    )
}

fn api_routes() -> Router<Arc<World>> {
    Router::new()
        .route("/v2/oauth/token/", post(token::token))
        .route("/v2/oauth/revoke/", post(token::revoke))
        .route("/v2/user/info/", get(display::user_info))
        .route("/v2/video/list/", post(display::video_list))
        .route("/v2/video/query/", post(display::video_query))
        .route("/v2/post/publish/creator_info/query/", post(creator::query))
        .route("/v2/post/publish/video/init/", post(init::video))
        .route("/v2/post/publish/inbox/video/init/", post(init::inbox))
        .route("/v2/post/publish/content/init/", post(init::content))
        .route("/v2/post/publish/status/fetch/", post(status::fetch))
        .route("/v2/post/publish/cancel/", post(status::cancel))
}

fn www_routes() -> Router<Arc<World>> {
    let page = || get(authorize::show).post(authorize::decide);
    Router::new()
        .route("/v2/auth/authorize", page())
        .route("/v2/auth/authorize/", page())
        .route("/simulated/{name}", get(picture::show))
}

fn upload_routes() -> Router<Arc<World>> {
    Router::new()
        .route("/video/", put(upload::put))
        .route("/upload", put(upload::put))
}

fn admin_routes(world: &Arc<World>) -> Router {
    let oracle = Oracle {
        world: Arc::clone(world),
    };
    let shared = admin::router(&Admin {
        title: "Simulated TikTok",
        clock: world.clock.clone(),
        faults: world.faults.clone(),
        journal: world.journal.clone(),
        webhooks: world.webhooks.clone(),
        oracle: Arc::new(move || oracle.whole()),
        ops: &OPS,
        script: control::SCRIPT,
    });
    admin::guarded(shared.merge(control::router(Arc::clone(world))))
}
