//! Wiring: from a [`Config`] to a running host. The only place that knows every concrete type.

use std::{collections::HashMap, net::SocketAddr, path::PathBuf, sync::Arc};

use anyhow::{Context, bail};
use chrono::TimeDelta;
use metrics_exporter_prometheus::PrometheusHandle;
use patchbay_app::{
    App, Parts,
    env::{Clock, Env, FollowingClock},
    files::MediaFiles,
    journal::TokenJournal,
    media::MediaLimits,
    registry::{Registered, Registry},
    secret::Secret,
    store::Store,
    tokens,
    vault::{KeyProblem, MasterKey, Vault},
};
use patchbay_core::{AppCredentials, Provider, ProviderId, SecretRef, Settings};
use patchbay_egress::{Egress, Lookup, SystemLookup};
use patchbay_simkit::stand::{Stand, StandConfig};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};
use url::Url;

use crate::{
    api::{auth::Gate, posts::updates::Places, workers::Passes},
    components::{self, Around, Components, Reread},
    config::{Config, Environment, ProviderConfig},
    media::{MediaBucket, MediaFolder},
    providers::{BUILT_IN, Entry},
};

/// What every handler and worker shares.
#[derive(Clone)]
pub struct Host(Arc<Inner>);

/// See [`Host`].
pub struct Inner {
    /// Use cases.
    pub app: Arc<App>,
    /// Configuration.
    pub config: Config,
    /// The clock of this machine. Nothing but readiness reads it: work goes by the database's.
    pub wall: Arc<dyn Clock>,
    /// The clock that work goes by, if it follows the database's.
    pub clock: Option<Arc<FollowingClock>>,
    /// Providers that are loaded as components.
    pub components: Components,
    /// Metrics, if they are recorded.
    pub metrics: Option<PrometheusHandle>,
    /// API keys in use, and addresses that guess.
    pub gate: Gate,
    /// Worker passes by HTTP.
    pub passes: Passes,
    /// Callers that follow posts.
    pub streams: Places,
    /// Control pages of the simulators that run in this process.
    pub simulator_pages: Vec<(ProviderId, Url)>,
    /// Authenticates list cursors.
    pub cursor_key: Secret<[u8; 32]>,
    /// Cancelled when the host is to stop.
    pub stopping: CancellationToken,
}

impl std::ops::Deref for Host {
    type Target = Inner;

    fn deref(&self) -> &Inner {
        &self.0
    }
}

impl Host {
    /// A URL of this host as browsers know it.
    #[must_use]
    pub fn public_url(&self, path: &str) -> Url {
        let mut url = self.config.server.public_url.clone();
        url.set_path(path);
        url
    }
}

/// What a host is started with besides its configuration.
#[derive(Default)]
pub struct Start {
    /// Time, ids and chance; `None`: the real ones.
    pub env: Option<Env>,
    /// A clock for the store; `None`: the database's.
    pub store_clock: Option<Arc<dyn Clock>>,
    /// Metrics, if they are recorded.
    pub metrics: Option<PrometheusHandle>,
    /// A way to resolve names of its own; `None`: as the operating system does.
    pub lookup: Option<Arc<dyn Lookup>>,
    /// Media hosts that in-process simulators may fetch from.
    pub media_hosts: std::collections::BTreeMap<String, SocketAddr>,
    /// PostgreSQL: accept a server that may lose what it has committed. For throwaway servers.
    pub allow_unsafe_durability: bool,
    /// PostgreSQL: connections that are kept for renewed tokens and received webhooks; `None`: as many as usual.
    pub reserved_connections: Option<u32>,
    /// Reads the configuration again, for components that come while the host runs; `None`: they find what it was.
    pub reread: Option<Reread>,
    /// Is shown what guests of components held in memory at the end of each call; `None`: nobody is.
    #[cfg(feature = "wasm")]
    pub component_memory: Option<Arc<dyn components::Observer>>,
    /// The storage folder is gone when this process ends: take no media files.
    pub takes_no_files: bool,
}

/// A host, with the simulators that it started.
pub struct Built {
    /// The host.
    pub host: Host,
    /// Simulators by provider.
    pub simulators: Vec<(ProviderId, Box<dyn Stand>)>,
}

/// Cannot start for a reason that a restart does not mend: exit code 78 (`EX_CONFIG`).
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Unstartable(pub String);

/// Builds a host. It neither listens nor works yet.
///
/// # Errors
/// The configuration does not fit the database, the key or the network.
pub async fn build(config: Config, start: Start) -> anyhow::Result<Built> {
    let follows = start.env.is_none();
    let mut env = start.env.unwrap_or_else(Env::system);
    let wall = env.clock.clone();
    std::fs::create_dir_all(&config.storage.dir)
        .with_context(|| format!("making the folder {}", config.storage.dir.display()))?;
    let usual = patchbay_store::Options::default();
    let options = patchbay_store::Options {
        clock: start.store_clock,
        ids: env.ids.clone(),
        allow_unsafe_durability: start.allow_unsafe_durability,
        reserved_connections: start.reserved_connections.unwrap_or(usual.reserved_connections),
        ..usual
    };
    let store = open_store(&config, options).await?;
    let mut clock = None;
    if follows {
        let following = FollowingClock::at(store.now().await.context("asking the database for the time")?);
        env.clock = following.clone();
        clock = Some(following);
    }
    let vault = open_vault(&config, store.clone(), &env).await?;
    // Not before: with the wrong key nothing is changed.
    store
        .end_orphaned_leases()
        .await
        .context("ending the leases of a host that is gone")?;
    let cursor_key = vault.derive("patchbay/cursor/v1");
    let media = open_media(&config)?;

    let registry = Registry::default();
    let mut simulators = Vec::new();
    let mut maps = HashMap::new();
    for entry in BUILT_IN {
        let id = ProviderId::parse(entry.id).context("a built-in provider's id")?;
        let Some(settings) = config.providers.get(&id).filter(|settings| settings.enabled) else {
            continue;
        };
        let simulated = settings.environment == Environment::Simulator;
        let registered = register(entry, settings, &config, &env)?;
        if simulated {
            let hosts = if settings.simulator_hosts.is_empty() {
                let stand = start_stand(entry, &registered, &config, start.media_hosts.clone()).await?;
                let hosts = stand.hosts().into_iter().collect();
                info!(provider = %id, "The platform is simulated; controls at http://{}/_admin/", stand.admin());
                simulators.push((id.clone(), stand));
                hosts
            } else {
                settings.simulator_hosts.clone().into_iter().collect()
            };
            maps.insert(id, hosts);
        }
        registry.add(registered).context("registering a provider")?;
    }

    let open_cidrs = config.egress.open_cidrs.clone();
    if !config.egress.simulated_receivers.is_empty() {
        maps.insert(ProviderId::patchbay(), config.egress.simulated_receivers.clone());
    }
    let egress = patchbay_egress::Config {
        open_cidrs,
        simulators: maps,
        ..patchbay_egress::Config::default()
    };
    let lookup = start.lookup.unwrap_or_else(|| Arc::new(SystemLookup));
    let wire = Arc::new(Egress::with_lookup(egress, lookup).context("building the HTTP client")?);
    let journal = TokenJournal::at(&config.storage.dir.join("token-journal"));
    let components = Components::open(
        &config,
        &registry,
        &wire,
        &vault,
        &env,
        Around {
            reread: start.reread,
            #[cfg(feature = "wasm")]
            observer: start.component_memory,
        },
    )?;
    let app = App::new(Parts {
        env,
        store,
        wire,
        vault,
        media,
        media_limits: media_limits(&config, start.takes_no_files),
        journal,
        registry,
        pull_base: pull_base(&config),
    });
    // Those that are there are served from the first request on.
    components.look(&app.registry).await;
    match tokens::replay_journal(&app).await {
        Ok(0) => {}
        Ok(stored) => info!(stored, "Stored renewed tokens that a crash had left in the journal"),
        Err(error) => warn!(%error, "The token journal cannot be read"),
    }
    let simulator_pages = simulators
        .iter()
        .map(|(id, stand): &(ProviderId, Box<dyn Stand>)| {
            let page = Url::parse(&format!("http://{}/_admin/", stand.admin()));
            page.map(|page| (id.clone(), page))
                .context("the address of a simulator")
        })
        .collect::<anyhow::Result<_>>()?;
    let host = Host(Arc::new(Inner {
        gate: Gate::new(&config.limits),
        app,
        config,
        wall,
        clock,
        components,
        metrics: start.metrics,
        passes: Passes::default(),
        streams: Places::default(),
        simulator_pages,
        cursor_key,
        stopping: CancellationToken::new(),
    }));
    Ok(Built { host, simulators })
}

/// Opens the database of a configuration.
///
/// # Errors
/// It cannot or must not be used.
pub async fn open_store(config: &Config, options: patchbay_store::Options) -> anyhow::Result<Arc<dyn Store>> {
    make_parent(&config.database.url)?;
    let options = patchbay_store::Options {
        connections: config.database.max_connections,
        allow_unsafe_durability: options.allow_unsafe_durability || config.database.allow_unsafe_durability,
        ..options
    };
    patchbay_store::open(&config.database.url, options)
        .await
        .context("opening the database")
}

/// SQLite makes a file, but not its folder.
///
/// # Errors
/// The folder cannot be made.
pub fn make_parent(url: &str) -> anyhow::Result<()> {
    let Some(path) = url.strip_prefix("sqlite:") else {
        return Ok(());
    };
    let path = PathBuf::from(path.strip_prefix("//").unwrap_or(path));
    if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        std::fs::create_dir_all(parent).with_context(|| format!("making the folder {}", parent.display()))?;
    }
    Ok(())
}

/// Opens the vault with the key of the configuration. Makes a key only where nothing has ever been sealed.
///
/// # Errors
/// The key is missing, or is not this database's. Nothing is changed then.
pub async fn open_vault(config: &Config, store: Arc<dyn Store>, env: &Env) -> anyhow::Result<Vault> {
    let path = config.encryption.key_file.clone().unwrap_or_default();
    let key = match (&config.encryption.key, std::fs::read_to_string(&path)) {
        (Some(key), _) => MasterKey::from_hex(key.expose()).map_err(|error| Unstartable(error.to_owned()))?,
        (None, Ok(text)) => {
            let text = Secret::new(text);
            let place = |error| Unstartable(format!("{error}, and {} holds something else", path.display()));
            MasterKey::from_hex(text.expose()).map_err(place)?
        }
        (None, Err(error)) if error.kind() == std::io::ErrorKind::NotFound => {
            let state = store.key_state().await.context("reading the data keys")?;
            if !state.keys.is_empty() || state.sealed_rows {
                bail!(Unstartable(format!(
                    "this database holds secrets that were sealed with a key, and there is no key: neither {} nor \
                     TOKEN_ENCRYPTION_KEY. Put the key back from its backup. Nothing was changed.",
                    path.display()
                )));
            }
            make_key(&path, env)?
        }
        (None, Err(error)) => bail!(Unstartable(format!("{} cannot be read: {error}", path.display()))),
    };
    match Vault::open(store, Arc::new(key), env.clone()).await {
        Ok(vault) => Ok(vault),
        Err(KeyProblem::Store(error)) => Err(error).context("reading the data keys"),
        Err(problem @ (KeyProblem::Wrong { .. } | KeyProblem::KeysLost)) => bail!(Unstartable(problem.to_string())),
    }
}

fn open_media(config: &Config) -> anyhow::Result<Arc<dyn MediaFiles>> {
    Ok(match &config.storage.s3 {
        Some(s3) => Arc::new(MediaBucket::open(s3).context("storage.s3_…")?),
        None => {
            let dir = config.storage.dir.join("media");
            Arc::new(MediaFolder::open(&dir).context("opening the media folder")?)
        }
    })
}

pub(crate) fn media_limits(config: &Config, takes_no_files: bool) -> MediaLimits {
    let takes_no_files = takes_no_files && config.storage.s3.is_none();
    MediaLimits {
        max_bytes: config.server.max_upload_bytes,
        quota_bytes: config.storage.media_quota_bytes,
        life: TimeDelta::days(i64::from(config.storage.media_ttl_days)),
        closed: takes_no_files
            .then_some("This host has no folder that lasts. Post media by URL, or let the operator set storage.dir."),
    }
}

/// Where platforms fetch stored files, if this host can be reached over https.
fn pull_base(config: &Config) -> Option<Url> {
    let mut url = config.server.public_url.clone();
    url.set_path("/api/media/pull/");
    (url.scheme() == "https").then_some(url)
}

fn make_key(path: &std::path::Path, env: &Env) -> anyhow::Result<MasterKey> {
    use std::io::Write;

    if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        std::fs::create_dir_all(parent).with_context(|| format!("making the folder {}", parent.display()))?;
    }
    let bytes = env.random::<32>();
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options
        .open(path)
        .with_context(|| format!("making the key file {}", path.display()))?;
    let text = Secret::new(hex::encode(bytes));
    writeln!(file, "{}", text.expose())?;
    file.sync_all()?;
    warn!(
        "Made a new encryption key in {}. Back it up: without it, every connected account is lost.",
        path.display()
    );
    Ok(MasterKey::new(bytes))
}

/// Checks the settings of every provider that is enabled.
///
/// # Errors
/// A provider does not take them.
pub fn check_providers(config: &Config) -> Result<(), Unstartable> {
    let enabled = |entry: &Entry| {
        let id = ProviderId::parse(entry.id).ok()?;
        config.providers.get(&id).filter(|settings| settings.enabled)
    };
    for entry in BUILT_IN {
        if let Some(settings) = enabled(entry) {
            build_provider(entry, settings)?;
        }
    }
    Ok(())
}

fn build_provider(entry: &Entry, settings: &ProviderConfig) -> Result<Arc<dyn Provider>, Unstartable> {
    (entry.build)(&Settings(settings.settings.clone()))
        .map_err(|error| Unstartable(format!("providers.{}.settings: {error}", entry.id)))
}

pub(crate) fn register(
    entry: &Entry,
    settings: &ProviderConfig,
    config: &Config,
    env: &Env,
) -> anyhow::Result<Registered> {
    let provider = build_provider(entry, settings)?;
    Ok(registered(
        provider,
        settings,
        entry.has_app,
        &config.server.public_url,
        env,
    )?)
}

/// A provider with the app that the configuration has for it. Not every platform has apps (`has_app`).
///
/// # Errors
/// It has none.
pub(crate) fn registered(
    provider: Arc<dyn Provider>,
    settings: &ProviderConfig,
    has_app: bool,
    public_url: &Url,
    env: &Env,
) -> Result<Registered, Unstartable> {
    let id = provider.manifest().id.clone();
    let simulated = settings.environment == Environment::Simulator;
    let client_id = match (&settings.client_id, simulated) {
        (Some(id), _) => id.clone(),
        // The platform knows no apps. To this host it is the one that it is.
        (None, _) if !has_app => id.to_string(),
        (None, true) => format!("simulated-{id}-app"),
        (None, false) => return Err(Unstartable(format!("providers.{id}.client_id is not set"))),
    };
    let client_secret = match (&settings.client_secret, simulated) {
        (Some(secret), _) => secret.clone(),
        // Nobody needs to know it: the simulator is told, or nobody asks for it.
        (None, simulated) if simulated || !has_app => Secret::new(hex::encode(env.random::<16>())),
        (None, _) => return Err(Unstartable(format!("providers.{id}.client_secret is not set"))),
    };
    let redirect_uri = settings.redirect_uri.clone().unwrap_or_else(|| {
        let mut url = public_url.clone();
        url.set_path(&format!("/api/platforms/{id}/callback"));
        url
    });
    let mut webhook_secrets = settings.webhook_secrets.clone();
    if webhook_secrets.is_empty() {
        webhook_secrets.push(client_secret.clone());
    }
    let webhook_schemes = provider.webhooks().map(|source| source.auth().schemes);
    Ok(Registered {
        provider,
        app: AppCredentials {
            client_id,
            client_secret: SecretRef::app("client_secret"),
        },
        client_secret,
        webhook_secrets,
        webhook_schemes: webhook_schemes.unwrap_or_default(),
        redirect_uri,
        simulated,
    })
}

async fn start_stand(
    entry: &Entry,
    registered: &Registered,
    config: &Config,
    media_hosts: std::collections::BTreeMap<String, SocketAddr>,
) -> anyhow::Result<Box<dyn Stand>> {
    let stand = StandConfig {
        client_id: registered.app.client_id.clone(),
        client_secret: registered.client_secret.expose().clone(),
        redirect_uri: registered.redirect_uri.to_string(),
        webhook_url: Some(format!(
            "http://{}/api/platforms/{}/webhooks",
            config.server.listen, entry.id
        )),
        media_hosts,
        first_port: None,
    };
    let start = entry.simulator.ok_or_else(|| {
        Unstartable(format!(
            "providers.{}.simulator_hosts is not set, and it has no simulator",
            entry.id
        ))
    })?;
    start(stand)
        .await
        .map_err(|error| anyhow::anyhow!("starting the simulator of {}: {error}", entry.id))
}
