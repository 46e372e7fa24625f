use async_trait::async_trait;
use patchbay_core::{AccountId, InboxId, IncomingEvent, PostId, ProviderId, TenantId};

use super::{Page, PageRequest, StoreResult};
use crate::model::{AppliedEvent, Event, InboxItem, Lease, NewJob};

/// Outcome of storing a webhook.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoredInbox {
    /// Committed now.
    New,
    /// The same bytes were stored before.
    Duplicate,
}

/// Which events to list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EventFilter {
    /// Of this platform.
    pub provider: Option<ProviderId>,
    /// Of this account.
    pub account: Option<AccountId>,
    /// Of this post.
    pub post: Option<PostId>,
}

/// Webhooks and events.
#[async_trait]
pub trait Events {
    /// Stores a verified webhook and its job. Returns only after the commit.
    async fn store_inbox(&self, item: &InboxItem, job: &NewJob) -> StoreResult<StoredInbox>;

    /// One stored webhook.
    async fn inbox(&self, id: InboxId) -> StoreResult<Option<InboxItem>>;

    /// Applies the events read from a webhook, marks it done, and finishes its job. One transaction. For each event:
    /// skip it if its key was seen; find the account by (provider, app, platform id) and the post by the account's
    /// (provider, `remote_ref`), or for `PostVisible`/`PostHidden` without one by its platform ids; store it; then
    /// by its kind
    /// - `PostProgress`: wake the post's job, whatever its state, if the post is open, delivered or unconfirmed;
    /// - `PostVisible`: add the ids to the post's publication if they are not there; also wake it as above;
    /// - `PostHidden`: store only;
    /// - `AuthorizationRemoved`: mark the account revoked, erase its tokens and finish its refresh job, unless the
    ///   event is older than the grant;
    /// - `Other`: store only.
    ///
    /// An event whose account is unknown is stored for the inbox row's tenant without account and post. `ids` are
    /// used for the new event rows, in order; there are as many as events.
    ///
    /// # Errors
    /// `Stale`: the lease is gone.
    async fn apply_events(
        &self,
        lease: Lease,
        inbox: InboxId,
        events: &[IncomingEvent],
        ids: &[patchbay_core::EventId],
    ) -> StoreResult<Vec<AppliedEvent>>;

    /// Marks a webhook as not readable and its job dead, with a code.
    ///
    /// # Errors
    /// `Stale`: the lease is gone.
    async fn bury_inbox(&self, lease: Lease, inbox: InboxId, code: &str) -> StoreResult<()>;

    /// A tenant's events, newest first.
    async fn events(&self, tenant: TenantId, filter: &EventFilter, page: PageRequest) -> StoreResult<Page<Event>>;
}
