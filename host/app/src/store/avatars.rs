use async_trait::async_trait;
use chrono::{DateTime, Utc};
use patchbay_core::{AccountId, TenantId};

use super::StoreResult;
use crate::model::{Avatar, Picture};

/// Pictures of accounts. They go with their accounts.
#[async_trait]
pub trait Avatars {
    /// What is known of an account's picture.
    async fn avatar(&self, tenant: TenantId, account: AccountId) -> StoreResult<Option<Avatar>>;

    /// Takes the right to look for a picture at `source`, and notes that it is looked for now. `seen`: when it was last, as
    /// the caller knows. `false`: somebody else has it, or there is no such account with such a picture.
    async fn claim_avatar(
        &self,
        tenant: TenantId,
        account: AccountId,
        source: &str,
        seen: Option<DateTime<Utc>>,
    ) -> StoreResult<bool>;

    /// Keeps the picture that was found at `source`, unless it is looked for elsewhere by now.
    async fn keep_avatar(
        &self,
        tenant: TenantId,
        account: AccountId,
        source: &str,
        picture: &Picture,
    ) -> StoreResult<()>;
}
