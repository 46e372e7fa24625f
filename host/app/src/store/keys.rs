use async_trait::async_trait;
use patchbay_core::{ApiKeyId, TenantId};

use super::{Page, PageRequest, StoreResult};
use crate::model::{ApiKey, DataKey, Tenant};

/// What the vault needs to know at start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyState {
    /// All data keys, by id.
    pub keys: Vec<DataKey>,
    /// Whether any column holds an envelope. If so, a key must never be made anew.
    pub sealed_rows: bool,
}

/// Tenants, API keys and data keys.
#[async_trait]
pub trait Keys {
    /// The tenant of this name, made if it is new.
    async fn ensure_tenant(&self, id: TenantId, name: &str) -> StoreResult<Tenant>;

    /// Makes a tenant.
    ///
    /// # Errors
    /// [`super::Constraint::Name`]: one of this name is there.
    async fn create_tenant(&self, id: TenantId, name: &str) -> StoreResult<Tenant>;

    /// All tenants.
    async fn tenants(&self, page: PageRequest) -> StoreResult<Page<Tenant>>;

    /// The tenant of this id.
    async fn tenant(&self, id: TenantId) -> StoreResult<Option<Tenant>>;

    /// Everything about data keys.
    async fn key_state(&self) -> StoreResult<KeyState>;

    /// Stores a data key under the next free id, unless the tenant has an active one: then that one is returned. The
    /// key is sealed to its id, so the caller makes it for `id` and calls again with another id on
    /// [`super::StoreError::Stale`] (the id was taken meanwhile).
    async fn add_data_key(&self, key: DataKey) -> StoreResult<DataKey>;

    /// Stores an API key.
    async fn create_api_key(&self, key: &ApiKey) -> StoreResult<()>;

    /// Finds an API key by its public part, dead ones included.
    async fn api_key(&self, public_id: &str) -> StoreResult<Option<ApiKey>>;

    /// A tenant's API keys, dead ones included. Those that were used last come first; one that never was stands where it
    /// was made.
    async fn api_keys(&self, tenant: TenantId, page: PageRequest) -> StoreResult<Page<ApiKey>>;

    /// Kills an API key. `false`: the tenant has no such key.
    async fn revoke_api_key(&self, tenant: TenantId, id: ApiKeyId) -> StoreResult<bool>;

    /// Notes a use, to the hour. Writes nothing when that hour is noted already.
    async fn touch_api_key(&self, id: ApiKeyId) -> StoreResult<()>;
}
