use async_trait::async_trait;
use chrono::{DateTime, Utc};
use patchbay_core::{EndpointId, TenantId};

use super::{Page, PageRequest, StoreResult};
use crate::model::{Endpoint, EndpointChange, NewAudit, NewEndpoint, SealedSecret};

/// Where tenants want their events to be sent.
#[async_trait]
pub trait Endpoints {
    /// Stores an endpoint, unless the tenant has `most` of them. `None`: it has.
    async fn create_endpoint(
        &self,
        endpoint: &NewEndpoint,
        most: u32,
        audit: &NewAudit,
    ) -> StoreResult<Option<Endpoint>>;

    /// One of a tenant's endpoints.
    async fn endpoint(&self, tenant: TenantId, id: EndpointId) -> StoreResult<Option<Endpoint>>;

    /// A tenant's endpoints, newest first.
    async fn endpoints(&self, tenant: TenantId, page: PageRequest) -> StoreResult<Page<Endpoint>>;

    /// Changes an endpoint. One that is enabled has a clean slate; what was held stays so. `None`: there is no such one.
    async fn change_endpoint(
        &self,
        tenant: TenantId,
        id: EndpointId,
        change: &EndpointChange,
        audit: &NewAudit,
    ) -> StoreResult<Option<Endpoint>>;

    /// Puts a secret in the place of the one of the version before, which signs too until `old_until`. `None`: there is no
    /// such endpoint.
    ///
    /// # Errors
    /// [`super::StoreError::Stale`]: its secret is of another version.
    async fn rotate_secret(
        &self,
        tenant: TenantId,
        id: EndpointId,
        secret: &SealedSecret,
        old_until: DateTime<Utc>,
        audit: &NewAudit,
    ) -> StoreResult<Option<Endpoint>>;

    /// Deletes an endpoint with its deliveries. `false`: there is no such one.
    async fn delete_endpoint(&self, tenant: TenantId, id: EndpointId, audit: &NewAudit) -> StoreResult<bool>;
}
