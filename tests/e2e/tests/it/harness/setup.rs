//! How a world is put together: listener, platform, configuration, host.

use std::{
    io,
    net::IpAddr,
    path::Path,
    sync::{Arc, OnceLock},
};

use async_trait::async_trait;

use chrono::{DateTime, TimeDelta};
use patchbay_app::{
    env::{Env, FixedClock},
    model::KeyScope,
};
use patchbay_core::TenantId;
use patchbay_egress::Lookup;
use patchbay_rig::Memories;
use patchbay_server::{
    config::Config,
    host::{self, Start},
    providers,
    serve::{self, Serving},
    telemetry,
};
use patchbay_simkit::Clock;
use patchbay_simulator_tiktok::{Simulator, SimulatorConfig};
use tokio::net::TcpListener;

use super::{Api, Clocks, Database, World, make_key, media};

pub const CLIENT_KEY: &str = "e2e-client-key";
pub const CLIENT_SECRET: &str = "e2e-client-secret";
pub const WORKER_SECRET: &str = "worker-secret-of-the-end-to-end-tests";
const MASTER_KEY: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
/// Where time stands at first, in Unix seconds.
pub const START: i64 = 1_790_000_000;

/// What is special about a world.
pub struct Setup {
    pub database: Database,
    /// More settings, by the names of their variables.
    pub settings: Vec<(&'static str, String)>,
    /// Settings that are left out, by the names of their variables.
    pub unset: Vec<&'static str>,
    /// Time is real, and the host's workers run.
    pub running: bool,
    /// How far the host's clock is ahead of the database's and the platform's.
    pub host_ahead: TimeDelta,
    /// Path of the callback that is registered at the platform.
    pub callback: &'static str,
    /// Changes the platform.
    pub platform: fn(&mut SimulatorConfig),
    /// Where the host listens, for whoever must know it before there is one.
    pub listener: Option<TcpListener>,
    /// Is shown the memory of guests of components.
    pub component_memory: Option<Arc<Memories>>,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            database: Database::Sqlite,
            settings: Vec::new(),
            unset: Vec::new(),
            running: false,
            host_ahead: TimeDelta::zero(),
            callback: "/api/platforms/tiktok/callback",
            platform: |_| {},
            listener: None,
            component_memory: None,
        }
    }
}

impl Setup {
    pub fn set(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.settings.push((name, value.into()));
        self
    }

    pub async fn build(self) -> World {
        let folder = tempfile::tempdir().unwrap();
        let start = DateTime::from_timestamp(START, 0).unwrap();
        let clocks = (!self.running).then(|| Clocks {
            host: FixedClock::at(start + self.host_ahead),
            store: FixedClock::at(start),
        });
        let listener = match self.listener {
            Some(listener) => listener,
            None => TcpListener::bind(("127.0.0.1", 0)).await.unwrap(),
        };
        let address = listener.local_addr().unwrap();
        let callback = format!("http://{address}{}", self.callback);

        let mut platform = SimulatorConfig {
            client_key: CLIENT_KEY.to_owned(),
            client_secret: CLIENT_SECRET.to_owned(),
            webhook_url: Some(format!("http://{address}/api/platforms/tiktok/webhooks")),
            clock: if self.running {
                Clock::running()
            } else {
                Clock::frozen_at(start)
            },
            ..SimulatorConfig::default()
        };
        platform.redirects.desktop.push(callback.clone());
        platform.switches.owned_domains.push(media::MEDIA_HOST.to_owned());
        platform
            .switches
            .pull_map
            .insert(media::MEDIA_HOST.to_owned(), media::serve().await);
        (self.platform)(&mut platform);
        let sim = Simulator::start(platform).await.unwrap();

        let hosts: Vec<_> = sim.hosts().iter().map(|(name, at)| format!("{name}={at}")).collect();
        let settings = [
            ("PATCHBAY__DATABASE__URL", self.database.url(folder.path())),
            ("PATCHBAY__SERVER__MAX_SOCKETS_PER_IP", "1000".to_owned()),
            ("PATCHBAY__WORKERS__ENABLED", self.running.to_string()),
            ("WORKER_SECRET", WORKER_SECRET.to_owned()),
            ("TOKEN_ENCRYPTION_KEY", MASTER_KEY.to_owned()),
            ("PATCHBAY__PROVIDERS__TIKTOK__ENVIRONMENT", "simulator".to_owned()),
            ("PATCHBAY__PROVIDERS__TIKTOK__SIMULATOR_HOSTS", hosts.join(",")),
            ("PATCHBAY__PROVIDERS__TIKTOK__CLIENT_ID", CLIENT_KEY.to_owned()),
            ("PATCHBAY__PROVIDERS__TIKTOK__CLIENT_SECRET", CLIENT_SECRET.to_owned()),
            ("TIKTOK_REDIRECT_URI", callback),
        ];
        let settings: Vec<_> = settings
            .into_iter()
            .filter(|(name, _)| !self.unset.contains(name))
            .chain(self.settings)
            .map(|(name, value)| (name.to_owned(), value))
            .collect();
        let memories = self.component_memory;
        let serving = start_host(&settings, folder.path(), listener, clocks.as_ref(), memories).await;
        let key = make_key(&serving.host.app, TenantId::DEFAULT, &KeyScope::OF_TENANT).await;
        let api = Api::new(format!("http://{address}"), Some(key));
        World {
            api,
            sim,
            serving,
            database: self.database,
            folder,
            clocks,
            settings,
        }
    }
}

impl World {
    /// One more host on the same database and platform, with a folder of its own.
    pub async fn another_host(&self, name: &str) -> Serving {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        start_host(
            &self.settings,
            &self.folder.path().join(name),
            listener,
            self.clocks.as_ref(),
            None,
        )
        .await
    }

    /// This host with other settings, on the same database and platform. The old one ends first.
    pub async fn restarted_with(self, name: &str, value: &str) -> Self {
        let Self {
            api,
            sim,
            serving,
            database,
            folder,
            clocks,
            mut settings,
        } = self;
        let address = serving.address;
        serving.stop().await;
        settings.push((name.to_owned(), value.to_owned()));
        let listener = TcpListener::bind(address).await.unwrap();
        let serving = start_host(&settings, folder.path(), listener, clocks.as_ref(), None).await;
        // Connections to the old host are of no more use.
        let api = Api::new(api.base, api.key);
        Self {
            api,
            sim,
            serving,
            database,
            folder,
            clocks,
            settings,
        }
    }
}

async fn start_host(
    settings: &[(String, String)],
    folder: &Path,
    listener: TcpListener,
    clocks: Option<&Clocks>,
    memories: Option<Arc<Memories>>,
) -> Serving {
    let mut settings = settings.to_vec();
    settings.push((
        "PATCHBAY__SERVER__LISTEN".to_owned(),
        listener.local_addr().unwrap().to_string(),
    ));
    settings.push(("PATCHBAY__STORAGE__DIR".to_owned(), folder.display().to_string()));
    let config =
        Config::from_environment(settings, &providers::known()).unwrap_or_else(|problems| panic!("{problems}"));
    let start = Start {
        env: clocks.map(|clocks| Env {
            clock: clocks.host.clone(),
            ..Env::system()
        }),
        store_clock: clocks.map(|clocks| clocks.store.clone() as Arc<_>),
        metrics: Some(metrics()),
        lookup: Some(Arc::new(Names)),
        allow_unsafe_durability: true,
        component_memory: memories.map(|memories| memories as Arc<_>),
        ..Start::default()
    };
    serve::start(host::build(config, start).await.unwrap(), listener)
        .await
        .unwrap()
}

/// No test asks a name server. `inside.example.com` has addresses of which one leads inside, and no other name has any.
struct Names;

#[async_trait]
impl Lookup for Names {
    async fn lookup(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        match name {
            "inside.example.com" => Ok(vec![[1, 1, 1, 1].into(), [127, 0, 0, 1].into()]),
            _ => Err(io::ErrorKind::NotFound.into()),
        }
    }
}

/// One recorder for the whole test process.
fn metrics() -> metrics_exporter_prometheus::PrometheusHandle {
    static HANDLE: OnceLock<metrics_exporter_prometheus::PrometheusHandle> = OnceLock::new();
    HANDLE.get_or_init(|| telemetry::metrics::install().unwrap()).clone()
}
