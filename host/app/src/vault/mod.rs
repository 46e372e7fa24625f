//! The vault: every secret column is an envelope that opens in one place only.
//!
//! A tenant has its own data key, wrapped by the installation's key ([`KeyProvider`]). An envelope is bound to its
//! tenant, table, row, column and version, so that a value moved or put back by hand does not open.

mod envelope;
mod master;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use patchbay_core::TenantId;

pub use envelope::{MAX_PLAINTEXT, OVERHEAD, SealError, fuzz_open};
pub use master::{KeyContext, KeyProvider, MasterKey};

use crate::{
    env::Env,
    model::{DataKey, DataKeyState},
    secret::Secret,
    store::{KeyState, Store, StoreError},
};

/// The one place where an envelope opens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Whose.
    pub tenant: TenantId,
    /// Table.
    pub table: &'static str,
    /// Row id.
    pub row: uuid::Uuid,
    /// Column.
    pub column: &'static str,
    /// Version of the row's secret; 0 where there is none.
    pub version: i64,
}

/// Why the vault cannot seal or open.
#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    /// The bytes do not open here. One kind for every cause, so that nothing is told to whoever changed them.
    #[error("a sealed value does not open")]
    Sealed,
    /// Too long to seal.
    #[error("a value is too long to seal")]
    TooLong,
    /// The store failed while a key was looked up.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<SealError> for VaultError {
    fn from(error: SealError) -> Self {
        match error {
            SealError::DoesNotOpen => Self::Sealed,
            SealError::TooLong => Self::TooLong,
        }
    }
}

/// Why the vault refuses to open its doors at start.
#[derive(Debug, thiserror::Error)]
pub enum KeyProblem {
    /// Sealed rows or data keys exist, but not with this key.
    #[error(
        "the encryption key does not fit this database: data key {data_key} does not open with it. \
         Start with the key that this database was made with. Nothing was changed."
    )]
    Wrong {
        /// Which data key.
        data_key: u32,
    },
    /// Sealed rows exist without the data keys that sealed them.
    #[error(
        "this database holds sealed secrets but no data keys: the table data_keys was lost. \
         Restore it from a backup. Nothing was changed."
    )]
    KeysLost,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

const DATA_KEY_LABEL: &str = "patchbay/data-key/v1";
const COLUMN_LABEL: &str = "patchbay/column/v1";
const CANARY: &[u8] = b"patchbay canary: this data key is the right one";

type DataKeyBytes = Arc<Secret<[u8; 32]>>;

#[derive(Default)]
struct Cache {
    by_id: HashMap<u32, (TenantId, DataKeyBytes)>,
    active: HashMap<TenantId, u32>,
}

/// Seals and opens secret columns.
pub struct Vault {
    store: Arc<dyn Store>,
    provider: Arc<dyn KeyProvider>,
    env: Env,
    cache: Mutex<Cache>,
}

impl Vault {
    /// Opens every data key and its canary. Changes nothing.
    ///
    /// # Errors
    /// The key at hand is not the one that this database was made with.
    pub async fn open(store: Arc<dyn Store>, provider: Arc<dyn KeyProvider>, env: Env) -> Result<Self, KeyProblem> {
        let vault = Self {
            store,
            provider,
            env,
            cache: Mutex::default(),
        };
        let KeyState { keys, sealed_rows } = vault.store.key_state().await?;
        if keys.is_empty() && sealed_rows {
            return Err(KeyProblem::KeysLost);
        }
        for key in &keys {
            vault.admit(key).map_err(|_| KeyProblem::Wrong { data_key: key.id })?;
        }
        Ok(vault)
    }

    /// Seals a value for one place.
    ///
    /// # Errors
    /// It is longer than [`MAX_PLAINTEXT`], or the store failed while the tenant's key was made.
    pub async fn seal(&self, place: Place, plaintext: &[u8]) -> Result<Vec<u8>, VaultError> {
        let (id, key) = self.active_key(place.tenant).await?;
        let aad = aad(place);
        Ok(envelope::seal(
            key.expose(),
            id,
            &aad,
            plaintext,
            self.env.random(),
            self.env.random(),
        )?)
    }

    /// Opens a value in the place it was sealed for.
    ///
    /// # Errors
    /// [`VaultError::Sealed`] for every cause but a failing store.
    pub async fn unseal(&self, place: Place, sealed: &[u8]) -> Result<Secret<Vec<u8>>, VaultError> {
        let id = envelope::key_id(sealed)?;
        let key = self.key(id).await?;
        Ok(envelope::open(key.expose(), &aad(place), sealed)?)
    }

    /// Checks one data key again: the readiness probe.
    ///
    /// # Errors
    /// A canary does not open, or the store failed.
    pub async fn check(&self) -> Result<(), VaultError> {
        let state = self.store.key_state().await?;
        state.keys.iter().try_for_each(|key| self.admit(key))
    }

    /// A key for another purpose that depends on the installation's key alone.
    #[must_use]
    pub fn derive(&self, purpose: &str) -> Secret<[u8; 32]> {
        self.provider.derive(purpose)
    }

    /// A digest key that depends on the installation's key alone, for API key hashes.
    #[must_use]
    pub fn pepper(&self) -> Secret<[u8; 32]> {
        self.derive("patchbay/api-key-pepper/v1")
    }

    /// Drops a tenant's keys from memory, when they are destroyed. Other hosts on the database keep theirs until they end.
    pub fn forget(&self, tenant: TenantId) {
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        cache.active.remove(&tenant);
        cache.by_id.retain(|_, (of, _)| *of != tenant);
    }

    fn admit(&self, key: &DataKey) -> Result<(), VaultError> {
        if key.state == DataKeyState::Destroyed {
            return Ok(());
        }
        let bytes = self.provider.unwrap(
            KeyContext {
                tenant: key.tenant,
                data_key: key.id,
            },
            &key.wrapped,
        )?;
        let canary = envelope::open(bytes.expose(), &canary_aad(key.tenant, key.id), &key.canary)?;
        if !canary.matches(CANARY) {
            return Err(VaultError::Sealed);
        }
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        if key.state == DataKeyState::Active {
            cache.active.insert(key.tenant, key.id);
        }
        cache.by_id.insert(key.id, (key.tenant, Arc::new(bytes)));
        Ok(())
    }

    async fn key(&self, id: u32) -> Result<DataKeyBytes, VaultError> {
        if let Some(key) = self.cached(id) {
            return Ok(key);
        }
        // Another replica may have made it since we started.
        let state = self.store.key_state().await?;
        let key = state.keys.iter().find(|key| key.id == id).ok_or(VaultError::Sealed)?;
        self.admit(key)?;
        self.cached(id).ok_or(VaultError::Sealed)
    }

    fn cached(&self, id: u32) -> Option<DataKeyBytes> {
        self.cache
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .by_id
            .get(&id)
            .map(|(_, key)| key.clone())
    }

    async fn active_key(&self, tenant: TenantId) -> Result<(u32, DataKeyBytes), VaultError> {
        let cached = {
            let cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
            cache
                .active
                .get(&tenant)
                .and_then(|id| cache.by_id.get(id).map(|(_, key)| (*id, key.clone())))
        };
        match cached {
            Some(found) => Ok(found),
            None => self.make_key(tenant).await,
        }
    }

    /// Makes the tenant's key, or takes the one that another replica made first.
    async fn make_key(&self, tenant: TenantId) -> Result<(u32, DataKeyBytes), VaultError> {
        loop {
            let state = self.store.key_state().await?;
            let active = state
                .keys
                .iter()
                .find(|key| key.tenant == tenant && key.state == DataKeyState::Active);
            let stored = if let Some(key) = active {
                key.clone()
            } else {
                let id = state.keys.iter().map(|key| key.id).max().unwrap_or(0) + 1;
                match self.store.add_data_key(self.fresh_key(tenant, id)?).await {
                    Ok(key) => key,
                    Err(StoreError::Stale) => continue,
                    Err(error) => return Err(error.into()),
                }
            };
            self.admit(&stored)?;
            let key = self.cached(stored.id).ok_or(VaultError::Sealed)?;
            return Ok((stored.id, key));
        }
    }

    fn fresh_key(&self, tenant: TenantId, id: u32) -> Result<DataKey, VaultError> {
        let bytes = Secret::new(self.env.random::<32>());
        let wrapped = self
            .provider
            .wrap(KeyContext { tenant, data_key: id }, bytes.expose(), &self.env)?;
        let aad = canary_aad(tenant, id);
        let canary = envelope::seal(bytes.expose(), id, &aad, CANARY, self.env.random(), self.env.random())?;
        Ok(DataKey {
            id,
            tenant,
            wrapped,
            canary,
            state: DataKeyState::Active,
        })
    }
}

fn aad(place: Place) -> Vec<u8> {
    envelope::associated_data(
        COLUMN_LABEL,
        place.tenant,
        place.table,
        place.row.as_bytes(),
        place.column,
        place.version,
    )
}

fn canary_aad(tenant: TenantId, id: u32) -> Vec<u8> {
    envelope::associated_data(DATA_KEY_LABEL, tenant, "data_keys", &id.to_be_bytes(), "canary", 0)
}
