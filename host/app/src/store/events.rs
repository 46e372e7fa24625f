use async_trait::async_trait;
use patchbay_core::{AccountId, InboxId, PostId, ProviderId, TenantId};

use super::{Page, PageRequest, StoreResult};
use crate::model::{Event, InboxItem, NewWebhook, Settled, WebhookEnd};

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
    /// Stores verified webhooks, each with its job, in one commit, and returns after it: what became of each, in
    /// order.
    async fn store_inbox(&self, webhooks: &[NewWebhook]) -> StoreResult<Vec<StoredInbox>>;

    /// Stored webhooks, in any order. What is not there is left out.
    async fn inbox(&self, ids: &[InboxId]) -> StoreResult<Vec<InboxItem>>;

    /// Settles claimed webhooks, in one transaction: applies the events that were read from them, or buries them, and
    /// ends their jobs. Returns what became of each, in order. For each event, in order: skip it if its key was seen;
    /// find the account by (provider, app, platform id) and the post by the account's (provider, `remote_ref`), or for
    /// `PostVisible`/`PostHidden` without one by its platform ids; store it; then by its kind
    /// - `PostProgress`: wake the post's job, whatever its state, if the post is open, delivered or unconfirmed;
    /// - `PostVisible`: add the ids to the post's publication if they are not there; also wake it as above;
    /// - `PostHidden`: store only;
    /// - `AuthorizationRemoved`: mark the account revoked, erase its tokens and finish its refresh job, unless the
    ///   event is older than the grant;
    /// - `Other`: store only.
    ///
    /// An event whose account is unknown is stored for the inbox row's tenant without account and post.
    async fn settle_webhooks(&self, ends: &[WebhookEnd]) -> StoreResult<Vec<Settled>>;

    /// A tenant's events, newest first.
    async fn events(&self, tenant: TenantId, filter: &EventFilter, page: PageRequest) -> StoreResult<Page<Event>>;
}
