//! The providers of this installation, each with the app it is registered as.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
};

use patchbay_core::{AppCredentials, Manifest, ManifestError, Provider, ProviderId, SignatureScheme};
use url::Url;

use crate::secret::Secret;

/// A provider, ready for use.
pub struct Registered {
    /// The provider.
    pub provider: Arc<dyn Provider>,
    /// The app, as the provider sees it.
    pub app: AppCredentials,
    /// The app's secret.
    pub client_secret: Secret<String>,
    /// Secrets under which its webhooks may be signed; at most two.
    pub webhook_secrets: Vec<Secret<String>>,
    /// How its webhooks are signed: what its webhook source says, asked once. Empty: it has none.
    pub webhook_schemes: Vec<SignatureScheme>,
    /// Where the platform sends browsers back to.
    pub redirect_uri: Url,
    /// Calls go to a simulator.
    pub simulated: bool,
}

impl Registered {
    /// The provider's manifest.
    #[must_use]
    pub fn manifest(&self) -> &Manifest {
        self.provider.manifest()
    }

    /// The provider's id.
    #[must_use]
    pub fn id(&self) -> &ProviderId {
        &self.manifest().id
    }

    /// The same app with another implementation of its provider.
    #[must_use]
    pub fn with_provider(&self, provider: Arc<dyn Provider>) -> Self {
        let webhook_schemes = provider.webhooks().map(|source| source.auth().schemes);
        Self {
            provider,
            app: self.app.clone(),
            client_secret: self.client_secret.clone(),
            webhook_secrets: self.webhook_secrets.clone(),
            webhook_schemes: webhook_schemes.unwrap_or_default(),
            redirect_uri: self.redirect_uri.clone(),
            simulated: self.simulated,
        }
    }
}

type Providers = BTreeMap<ProviderId, Arc<Registered>>;

/// All providers, by id. It may change while the host runs: whoever has taken a provider goes on with it, and the next
/// one gets what is there then.
#[derive(Default)]
pub struct Registry {
    providers: RwLock<Arc<Providers>>,
    changes: AtomicU64,
}

/// A provider that cannot be registered.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// Its manifest contradicts itself.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// Two have one id.
    #[error("two providers are called {0}: remove one, or rename it in its manifest")]
    Twice(ProviderId),
}

impl Registry {
    /// Adds a provider.
    ///
    /// # Errors
    /// Its manifest is wrong or its id is taken.
    pub fn add(&self, registered: Registered) -> Result<(), RegistryError> {
        registered.manifest().check()?;
        let id = registered.id().clone();
        self.change(|providers| {
            if providers.contains_key(&id) {
                return Err(RegistryError::Twice(id));
            }
            providers.insert(id, Arc::new(registered));
            Ok(())
        })
    }

    /// Puts a provider in, in the place of the one of its id, if there is one. Calls that run end on the old one.
    pub fn put(&self, registered: Arc<Registered>) {
        self.change(|providers| providers.insert(registered.id().clone(), registered));
    }

    /// Takes a provider out.
    pub fn remove(&self, id: &ProviderId) {
        self.change(|providers| providers.remove(id));
    }

    /// The provider of this id.
    #[must_use]
    pub fn get(&self, id: &ProviderId) -> Option<Arc<Registered>> {
        self.now().get(id).cloned()
    }

    /// All of this moment, by id.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<Registered>> {
        self.now().values().cloned().collect()
    }

    /// How often it has changed. Whoever keeps something that is made of all providers makes it anew when this has grown.
    #[must_use]
    pub fn changes(&self) -> u64 {
        self.changes.load(Ordering::Acquire)
    }

    fn now(&self) -> Arc<Providers> {
        self.providers.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn change<T>(&self, change: impl FnOnce(&mut Providers) -> T) -> T {
        let mut providers = self.providers.write().unwrap_or_else(PoisonError::into_inner);
        let changed = change(Arc::make_mut(&mut providers));
        self.changes.fetch_add(1, Ordering::Release);
        changed
    }
}
