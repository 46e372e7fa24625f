use async_trait::async_trait;
use patchbay_core::{ApiKeyId, TenantId};

use super::{Page, PageRequest, StoreResult};
use crate::model::{ApiKey, DataKey, NewAudit, OperatorSession, Tenant};

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
    async fn create_tenant(&self, id: TenantId, name: &str, audit: &NewAudit) -> StoreResult<Tenant>;

    /// Gives a tenant another name. `None`: there is no such tenant.
    ///
    /// # Errors
    /// [`super::Constraint::Name`]: another one has it.
    async fn rename_tenant(&self, id: TenantId, name: &str, audit: &NewAudit) -> StoreResult<Option<Tenant>>;

    /// All tenants that are not erased.
    async fn tenants(&self, page: PageRequest) -> StoreResult<Page<Tenant>>;

    /// The tenant of this id, unless it is erased.
    async fn tenant(&self, id: TenantId) -> StoreResult<Option<Tenant>>;

    /// Everything about data keys.
    async fn key_state(&self) -> StoreResult<KeyState>;

    /// Stores a data key under the next free id, unless the tenant has an active one: then that one is returned. The
    /// key is sealed to its id, so the caller makes it for `id` and calls again with another id on
    /// [`super::StoreError::Stale`] (the id was taken meanwhile).
    ///
    /// # Errors
    /// [`super::Constraint::Missing`]: the tenant's key is destroyed, and it gets no other.
    async fn add_data_key(&self, key: DataKey) -> StoreResult<DataKey>;

    /// Stores an API key.
    async fn create_api_key(&self, key: &ApiKey, audit: &NewAudit) -> StoreResult<()>;

    /// Finds an API key by its public part, dead ones included.
    async fn api_key(&self, public_id: &str) -> StoreResult<Option<ApiKey>>;

    /// A tenant's API keys, dead ones included. Those that were used last come first; one that never was stands where it
    /// was made.
    async fn api_keys(&self, tenant: TenantId, page: PageRequest) -> StoreResult<Page<ApiKey>>;

    /// Kills an API key. `false`: the tenant has no such key. To kill a dead one changes nothing, and is not noted.
    async fn revoke_api_key(&self, tenant: TenantId, id: ApiKeyId, audit: &NewAudit) -> StoreResult<bool>;

    /// Notes a use, to the hour. Writes nothing when that hour is noted already.
    async fn touch_api_key(&self, id: ApiKeyId) -> StoreResult<()>;

    /// Starts an operator's session under the hash of its cookie, and forgets at most 100 that have ended.
    async fn start_operator_session(
        &self,
        token_hash: [u8; 32],
        public_id: &str,
        audit: &NewAudit,
    ) -> StoreResult<OperatorSession>;

    /// Finds an operator's session that has not ended, and notes to the minute that it was used. Whether its key is
    /// alive is for the caller to ask.
    async fn operator_session(&self, token_hash: [u8; 32]) -> StoreResult<Option<OperatorSession>>;

    /// Ends an operator's session.
    async fn end_operator_session(&self, token_hash: [u8; 32], audit: &NewAudit) -> StoreResult<()>;
}
