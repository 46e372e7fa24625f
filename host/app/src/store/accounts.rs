use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use patchbay_core::{AccountId, FlowId, ProviderId, TenantId};

use super::{Page, PageRequest, StoreResult};
use crate::model::{Account, AccountStatus, NewAccount, NewAudit, NewEvent, NewJob, SessionGrant, TokenUpdate};

/// Which accounts to list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AccountFilter {
    /// Of this platform.
    pub provider: Option<ProviderId>,
    /// Of this end user.
    pub owner: Option<String>,
    /// In this state.
    pub status: Option<AccountStatus>,
}

/// A stored grant. The caller now seals the tokens for this id and version and calls
/// [`Accounts::finish_connect`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Connected {
    /// The account, old or new.
    pub id: AccountId,
    /// Version to seal the tokens for.
    pub next_version: i64,
    /// The tenant has taken the account before, and it is active or must be connected again.
    pub accepted: bool,
}

/// A grant, and all that is stored with it.
#[derive(Debug, Clone, Copy)]
pub struct NewGrant<'a> {
    /// The account.
    pub account: &'a NewAccount,
    /// Its tokens, sealed for the place.
    pub tokens: &'a TokenUpdate,
    /// Renews them; its target is replaced by the account's id.
    pub refresh: &'a NewJob,
    /// Ends the grant of a pending account that the tenant does not take; its target is replaced too.
    pub revoke: Option<&'a NewJob>,
    /// The connect by which several accounts came at once: they stand on one grant at the platform.
    pub together: Option<FlowId>,
    /// Appended.
    pub events: &'a [NewEvent],
    /// Appended; its target is replaced too.
    pub audit: &'a NewAudit,
}

/// What other rows tell of an account.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AccountTraces {
    /// When its tokens are renewed next.
    pub next_refresh_at: Option<DateTime<Utc>>,
    /// Failed tries since the last renewal, and the one under way.
    pub refresh_attempts: i32,
    /// Code of the last failed try.
    pub refresh_error: Option<String>,
    /// When the platform last told something of it.
    pub last_webhook_at: Option<DateTime<Utc>>,
}

/// Outcome of asking for the right to renew an account's tokens.
#[derive(Debug, Clone, PartialEq)]
pub enum RefreshLease {
    /// Granted. The account is as of now.
    Granted(Box<Account>),
    /// Somebody else holds it until then.
    Busy {
        /// When it ends.
        until: DateTime<Utc>,
    },
    /// The tokens have changed, or the account is not usable any more. Read it again.
    Moved,
}

/// Connected accounts and the life of their tokens.
#[async_trait]
pub trait Accounts {
    /// Where a grant for this platform account would be stored: the account of the same app and platform id, if this
    /// tenant has it, else `account.id`. Another tenant is in the way until its account is revoked and erased.
    ///
    /// # Errors
    /// `Conflict(AccountOfOtherTenant)`; `Conflict(AccountOfOtherOwner)`: this tenant has it for another end user, and it is
    /// not revoked.
    async fn place_grant(&self, account: &NewAccount) -> StoreResult<Connected>;

    /// Stores the grants of one connect, of one tenant, all or none. For each: inserts or renews the account, sets its
    /// tokens, schedules `refresh` at `tokens.refresh_due_at`, puts `revoke` in the place of a waiting revoke job, appends
    /// `events` and `audit`, and wakes the account's open posts that are not scheduled for later. Writes what they mean for
    /// the session that they came by. One transaction. Returns the accounts in this order.
    ///
    /// # Errors
    /// `Stale`: an account changed since [`Accounts::place_grant`]; ask again and seal again.
    /// `Conflict`: as [`Accounts::place_grant`]; `SessionOver`: its session is not started.
    async fn finish_connect(
        &self,
        grants: &[(Connected, NewGrant<'_>)],
        session: Option<&SessionGrant>,
    ) -> StoreResult<Vec<Account>>;

    /// Whether another account of the same choice still stands on the grant of this one at the platform.
    async fn shares_grant(&self, tenant: TenantId, id: AccountId) -> StoreResult<bool>;

    /// One account of a tenant.
    async fn account(&self, tenant: TenantId, id: AccountId) -> StoreResult<Option<Account>>;

    /// A tenant's accounts, newest first.
    async fn accounts(&self, tenant: TenantId, filter: &AccountFilter, page: PageRequest)
    -> StoreResult<Page<Account>>;

    /// What other rows tell of an account.
    async fn account_traces(&self, tenant: TenantId, id: AccountId) -> StoreResult<AccountTraces>;

    /// Takes the right to renew `expected_version` for `ttl`. This write is also the proof that the store can commit:
    /// a rotating token is spent only after it. `holder` names the process.
    async fn lease_refresh(
        &self,
        tenant: TenantId,
        id: AccountId,
        expected_version: i64,
        holder: &str,
        ttl: Duration,
    ) -> StoreResult<RefreshLease>;

    /// Stores renewed tokens if the version is still `expected_version` (the holder does not matter: a late good token
    /// beats none), clears the lease, makes a `reauth_required` account `active` again, and moves its refresh job (or
    /// makes a new one). A revoked account stays revoked. `false`: somebody else stored first, or the tokens are erased.
    async fn swap_tokens(
        &self,
        tenant: TenantId,
        id: AccountId,
        expected_version: i64,
        tokens: &TokenUpdate,
    ) -> StoreResult<bool>;

    /// Gives the right back without new tokens. Does nothing if `holder` no longer holds it.
    async fn release_refresh(&self, tenant: TenantId, id: AccountId, holder: &str) -> StoreResult<()>;

    /// Marks the account `reauth_required` if it is active and its version is still `expected_version`. Appends
    /// `event`. `false`: the account has moved on.
    async fn require_reauth(
        &self,
        tenant: TenantId,
        id: AccountId,
        expected_version: i64,
        code: &str,
        event: &NewEvent,
        audit: &NewAudit,
    ) -> StoreResult<bool>;

    /// Marks the account `revoked`, finishes its refresh job, cancels its queued posts (those that have begun are asked
    /// to stop), stores `revoke` and appends `event`. The tokens stay until [`Accounts::erase_tokens`]. Returns the account; `None`: the tenant has no such
    /// account. Doing it twice changes nothing.
    async fn begin_disconnect(
        &self,
        tenant: TenantId,
        id: AccountId,
        code: &str,
        revoke: Option<&NewJob>,
        event: &NewEvent,
        audit: &NewAudit,
    ) -> StoreResult<Option<Account>>;

    /// Marks an account `revoked` (`not_completed`) that is pending at `version`, forgets what was known of the person,
    /// finishes its refresh job and appends `event`. Its tokens stay until [`Accounts::erase_tokens`]. `false`: the account
    /// has moved on.
    async fn refuse_pending(
        &self,
        tenant: TenantId,
        id: AccountId,
        version: i64,
        event: &NewEvent,
        audit: &NewAudit,
    ) -> StoreResult<bool>;

    /// Erases the tokens of a revoked account and finishes its revoke job. Does nothing to an account that was
    /// connected again.
    async fn erase_tokens(&self, tenant: TenantId, id: AccountId) -> StoreResult<()>;
}
