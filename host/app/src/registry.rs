//! The providers of this installation, each with the app it is registered as.

use std::{collections::BTreeMap, sync::Arc};

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
}

/// All providers, by id.
#[derive(Default)]
pub struct Registry(BTreeMap<ProviderId, Arc<Registered>>);

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
    pub fn add(&mut self, registered: Registered) -> Result<(), RegistryError> {
        registered.manifest().check()?;
        let id = registered.id().clone();
        match self.0.insert(id.clone(), Arc::new(registered)) {
            None => Ok(()),
            Some(_) => Err(RegistryError::Twice(id)),
        }
    }

    /// The provider of this id.
    #[must_use]
    pub fn get(&self, id: &ProviderId) -> Option<&Arc<Registered>> {
        self.0.get(id)
    }

    /// All, by id.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Registered>> {
        self.0.values()
    }
}
