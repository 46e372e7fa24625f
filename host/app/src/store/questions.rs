use std::time::Duration;

use async_trait::async_trait;
use patchbay_core::{PostId, TenantId};

use super::StoreResult;
use crate::model::{Lease, NewPullUrl, Observation, PullUrl, Pulled};

/// What tells of irreversible calls whose answer nobody saw: observations, pull URLs, and events that found no post.
#[async_trait]
pub trait OpenQuestions {
    /// What was observed of a post's calls, oldest first; at most 100.
    async fn observations(&self, tenant: TenantId, post: PostId) -> StoreResult<Vec<Observation>>;

    /// Opens URLs under which a platform may fetch stored files for one call of a post, for so long. To be stored before
    /// the call is marked, so that a mark without URLs means a call that named none.
    ///
    /// # Errors
    /// `Stale`: the lease is gone.
    async fn add_pull_urls(
        &self,
        lease: Lease,
        tenant: TenantId,
        post: PostId,
        step: i64,
        urls: &[NewPullUrl],
        life: Duration,
    ) -> StoreResult<()>;

    /// The file behind a pull URL; `None`: there never was one, or it is long gone. With `takes`, the fetch is noted
    /// before a byte leaves, so that a URL that was closed unfetched stays unfetched.
    async fn pull_url(&self, token_hash: [u8; 32], takes: bool) -> StoreResult<Option<PullUrl>>;

    /// Closes the pull URLs of one call, if none of its files was fetched. If one was, they stay open, so that a platform
    /// that is at it comes to an end.
    async fn close_unfetched(&self, tenant: TenantId, post: PostId, step: i64) -> StoreResult<Pulled>;

    /// The platform's id of the attempt that a call of a post began, from events of the post's account that found no post:
    /// if there is exactly one such id since the call, and the account has no other call in the last 24 h whose attempt is
    /// not known.
    async fn stray_ref(&self, tenant: TenantId, post: PostId, step: i64) -> StoreResult<Option<String>>;

    /// Forgets at most `limit` pull URLs that ended a week ago. Returns how many.
    async fn purge_pull_urls(&self, limit: u32) -> StoreResult<u64>;
}
