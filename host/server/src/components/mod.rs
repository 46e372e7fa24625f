//! Providers that are loaded as WebAssembly components, while the host runs.
//!
//! `components.toml` in the folder says what may be loaded ([`pins`]). [`watch`] looks at it again and again, and makes the
//! registry follow: what is new is compiled, asked what it is, checked against its grants, and only then put in; what fails
//! is reported, and the provider that was there serves on; what is gone is taken out. Calls in flight end on what they
//! began with.

#[cfg(feature = "wasm")]
pub(crate) mod loader;
pub mod pins;

use std::sync::{Arc, PoisonError, RwLock};

use patchbay_app::{env::Env, registry::Registry, vault::Vault};
use patchbay_egress::Egress;
#[cfg(feature = "wasm")]
pub use patchbay_wasm::Observer;
use tokio_util::sync::CancellationToken;

use crate::{
    config::Config,
    host::{Host, Unstartable},
};

/// Reads the configuration of this process again.
pub type Reread = Arc<dyn Fn() -> anyhow::Result<Config> + Send + Sync>;

/// What the process around a host gives to its components.
#[derive(Default)]
pub struct Around {
    /// `None`: they find the configuration as it was at the start.
    pub reread: Option<Reread>,
    /// Is shown their memory at the end of each call.
    #[cfg(feature = "wasm")]
    pub observer: Option<Arc<dyn Observer>>,
}

/// What is known of one component.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Status {
    /// The provider's id; `None`: nothing says what the file is.
    pub provider: Option<String>,
    /// Its file.
    pub file: String,
    /// What serves now.
    pub serving: Option<Serving>,
    /// Why the file is not what serves.
    pub refused: Option<Refusal>,
}

/// A component that serves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Serving {
    /// SHA-256 of its file.
    pub sha256: String,
    /// Its own version.
    pub version: String,
    /// The version of the WIT package that it was built for.
    pub wit_version: String,
    /// Hosts that it may reach.
    pub hosts: Vec<String>,
}

/// A component that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Stable name of the reason.
    pub code: &'static str,
    /// What is wrong.
    pub reason: String,
    /// What to do.
    pub fix: String,
}

/// The components of this host.
pub struct Components {
    board: RwLock<Vec<Status>>,
    #[cfg(feature = "wasm")]
    loader: Option<loader::Loader>,
}

impl Components {
    /// Makes ready for the components of a configuration. `registry` holds the providers that are built in.
    ///
    /// # Errors
    /// Components cannot run here.
    pub fn open(
        config: &Config,
        registry: &Registry,
        egress: &Arc<Egress>,
        vault: &Vault,
        env: &Env,
        around: Around,
    ) -> Result<Self, Unstartable> {
        #[cfg(feature = "wasm")]
        let loader = match &config.wasm.dir {
            Some(dir) => {
                let key = vault.derive("patchbay/component-code/v1");
                let cache = patchbay_wasm::Cache::new(config.storage.dir.join("component-code"), *key.expose());
                let loader = loader::Loader::new(dir, config, registry, egress, Some(cache), env, around);
                Some(loader?)
            }
            None => None,
        };
        #[cfg(not(feature = "wasm"))]
        if config.wasm.dir.is_some() {
            let _ = (registry, egress, vault, env, around);
            return Err(without_wasm());
        }
        Ok(Self {
            board: RwLock::default(),
            #[cfg(feature = "wasm")]
            loader,
        })
    }

    /// What is known of each, by provider.
    #[must_use]
    pub fn status(&self) -> Vec<Status> {
        self.board.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Looks at the folder once, and makes the registry follow it.
    pub async fn look(&self, registry: &Registry) {
        #[cfg(feature = "wasm")]
        if let Some(loader) = &self.loader {
            let status = loader.look(registry).await;
            *self.board.write().unwrap_or_else(PoisonError::into_inner) = status;
        }
        #[cfg(not(feature = "wasm"))]
        let _ = registry;
    }
}

/// Tells what a host of this configuration would load, in its order, and makes nothing of it: no code is kept. `registry` holds
/// the providers that are built in; components are put in there.
///
/// # Errors
/// Components cannot run here.
#[cfg(feature = "wasm")]
pub async fn examine(config: &Config, registry: &Registry, env: &Env) -> anyhow::Result<Vec<Status>> {
    let Some(dir) = &config.wasm.dir else {
        return Ok(Vec::new());
    };
    // Nobody is called by it.
    let egress = Arc::new(Egress::new(patchbay_egress::Config::default())?);
    let loader = loader::Loader::new(dir, config, registry, &egress, None, env, Around::default())?;
    Ok(loader.look(registry).await)
}

/// As in a program with components.
///
/// # Errors
/// There is a folder for them.
#[cfg(not(feature = "wasm"))]
pub async fn examine(config: &Config, _registry: &Registry, _env: &Env) -> anyhow::Result<Vec<Status>> {
    match &config.wasm.dir {
        None => Ok(Vec::new()),
        Some(_) => Err(without_wasm().into()),
    }
}

#[cfg(not(feature = "wasm"))]
fn without_wasm() -> Unstartable {
    Unstartable(
        "wasm.dir is set, and this program was built without the feature `wasm`: unset it, or build it with".to_owned(),
    )
}

/// Looks at the folder again and again, until `stop`.
pub async fn watch(host: Host, stop: CancellationToken) {
    if host.config.wasm.dir.is_none() {
        return;
    }
    loop {
        tokio::select! {
            () = tokio::time::sleep(host.config.wasm.poll) => {}
            () = stop.cancelled() => return,
        }
        host.components.look(&host.app.registry).await;
    }
}
