use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use patchbay_core::{AccountId, GroupId, PostId, ProviderId, TenantId};

use super::{Page, PageRequest, StoreResult};
use crate::model::{
    Commit, Content, Lease, NewEvent, NewJob, NewPost, Observation, PostOutcome, PostRecord, PostStatus, PostTransition,
};

/// Outcome of asking for posts.
#[derive(Debug, Clone, PartialEq)]
pub enum Enqueued {
    /// Stored now, each with its job.
    Created(Vec<PostRecord>),
    /// The same request came before under this key; here are its posts.
    Replayed(Vec<PostRecord>),
    /// The key was used for another request.
    KeyReused,
    /// That post of the account has the same content.
    Duplicate(PostId),
}

/// Which posts to list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PostFilter {
    /// Of this platform.
    pub provider: Option<ProviderId>,
    /// Of this account.
    pub account: Option<AccountId>,
    /// In this state.
    pub status: Option<PostStatus>,
    /// Asked for together.
    pub group: Option<GroupId>,
}

/// A change of a post that has not begun.
#[derive(Debug, Clone, PartialEq)]
pub struct PostEdit {
    /// Tenant of the post.
    pub tenant: TenantId,
    /// The post.
    pub post: PostId,
    /// Its last change, as the editor has seen it.
    pub seen: DateTime<Utc>,
    /// What is to be posted.
    pub content: Content,
    /// SHA-256 of that, if no other post of the account may have the same. A queued post that has none gets none.
    pub content_hash: Option<[u8; 32]>,
    /// Not before this time. The job moves with it.
    pub scheduled_at: Option<DateTime<Utc>>,
    /// Queues a draft, with this job.
    pub publishes: Option<NewJob>,
}

impl PostEdit {
    /// Whether a post in this state can be changed so: a draft can, and a queued one if this does not publish a draft.
    #[must_use]
    pub fn suits(&self, status: PostStatus) -> bool {
        match status {
            PostStatus::Draft => true,
            PostStatus::Queued => self.publishes.is_none(),
            _ => false,
        }
    }
}

/// Outcome of changing a post.
#[derive(Debug, Clone, PartialEq)]
pub enum EditOutcome {
    /// Changed.
    Edited(Box<PostRecord>),
    /// It is not what the editor has seen.
    Changed,
    /// That post of the account has the same content.
    Duplicate(PostId),
    /// It has begun, or ended; or it is to be published and no draft.
    TooLate(Box<PostRecord>),
}

/// State of one irreversible call in the journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mark {
    /// Marked now: send it.
    Marked,
    /// Sent before and answered: use this sealed receipt, do not send.
    Answered(Vec<u8>),
    /// Marked before, and no answer is known: do not send.
    Open,
}

/// One recorded step of a post.
#[derive(Debug, Clone, PartialEq)]
pub struct StepRecord {
    /// Tenant of the post.
    pub tenant: TenantId,
    /// The post.
    pub post: PostId,
    /// Step that was run; the row must still be there.
    pub step: i64,
    /// What it made of the post.
    pub transition: PostTransition,
    /// When the job runs next; `None` finishes it. If the job was woken meanwhile, it runs at once.
    pub run_at: Option<DateTime<Utc>>,
    /// Events to append.
    pub events: Vec<NewEvent>,
    /// What becomes of the post's places in quotas.
    pub quota: QuotaChange,
    /// What was observed of its calls whose answer is missing.
    pub observations: Vec<Observation>,
    /// Events of its account that found no post under this id of an attempt are this post's.
    pub adopts: Option<String>,
}

/// What a step does to the places that its post holds in quotas.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum QuotaChange {
    /// Nothing.
    #[default]
    Keep,
    /// The platform counts the post from now: the places are held this long, if not longer already.
    Hold(Duration),
    /// They are free: others that wait for them are told.
    Free,
}

/// Outcome of asking to stop a post.
#[derive(Debug, Clone, PartialEq)]
pub enum CancelOutcome {
    /// It had not begun: cancelled.
    Cancelled(Box<PostRecord>),
    /// It is under way: noted, and its job is woken to try.
    Requested(Box<PostRecord>),
    /// It is not what the caller has seen.
    Changed,
    /// It has ended.
    TooLate(Box<PostRecord>),
}

/// Posts and the journal of their irreversible calls.
#[async_trait]
pub trait Posts {
    /// Stores posts that were asked for together, each but drafts with its job, or finds the earlier ones of the first one's key. One
    /// transaction.
    async fn enqueue_posts(&self, posts: &[(NewPost, NewJob)]) -> StoreResult<Enqueued>;

    /// What was asked for under this key: the fingerprint of the request, and the posts, in the order of their ids.
    async fn posts_of_key(&self, tenant: TenantId, key: &str) -> StoreResult<Option<([u8; 32], Vec<PostRecord>)>>;

    /// The post of an account that has this content, and that another one would double.
    async fn duplicate_of(
        &self,
        tenant: TenantId,
        account: AccountId,
        content_hash: [u8; 32],
    ) -> StoreResult<Option<PostId>>;

    /// One post of a tenant.
    async fn post(&self, tenant: TenantId, id: PostId) -> StoreResult<Option<PostRecord>>;

    /// The newest post of a tenant and platform under the platform's id of the attempt.
    async fn post_by_ref(
        &self,
        tenant: TenantId,
        provider: &ProviderId,
        remote_ref: &str,
    ) -> StoreResult<Option<PostRecord>>;

    /// A tenant's posts, newest first.
    async fn posts(&self, tenant: TenantId, filter: &PostFilter, page: PageRequest) -> StoreResult<Page<PostRecord>>;

    /// What became of a tenant's posts that were asked for in a stretch of time, or of an account's; at most `limit`, the
    /// newest.
    async fn post_outcomes(
        &self,
        tenant: TenantId,
        account: Option<AccountId>,
        from: DateTime<Utc>,
        to: DateTime<Utc>,
        limit: u32,
    ) -> StoreResult<Vec<PostOutcome>>;

    /// Writes *about to* for an irreversible call, if nothing stands there yet. Refused without a live lease.
    ///
    /// # Errors
    /// `Stale`: the lease is gone.
    async fn mark_about_to(
        &self,
        lease: Lease,
        tenant: TenantId,
        post: PostId,
        step: i64,
        op: &str,
    ) -> StoreResult<Mark>;

    /// Keeps the answer of a marked call. Needs no live lease: an answer is a fact. The first one stands.
    async fn keep_receipt(
        &self,
        tenant: TenantId,
        post: PostId,
        step: i64,
        op: &str,
        status: u16,
        receipt: &[u8],
    ) -> StoreResult<()>;

    /// Takes a mark back: the call surely never left. Does nothing once an answer is kept.
    async fn clear_mark(&self, tenant: TenantId, post: PostId, step: i64, op: &str) -> StoreResult<()>;

    /// The journal of a post, oldest first; at most 100.
    async fn commits(&self, tenant: TenantId, post: PostId) -> StoreResult<Vec<Commit>>;

    /// When the posts among these that wait for their next step are due. One that runs or has ended is left out.
    async fn next_steps(&self, tenant: TenantId, posts: &[PostId]) -> StoreResult<Vec<(PostId, DateTime<Utc>)>>;

    /// Records a step: post, job, events and quota in one transaction. Raises the post's step by one. The post's
    /// published ids are never fewer than before: a webhook may have brought some meanwhile.
    ///
    /// # Errors
    /// `Stale`: the lease is gone, the post is at another step, or its state does not lead there.
    async fn record_step(&self, lease: Lease, record: &StepRecord) -> StoreResult<PostRecord>;

    /// Changes a draft or a queued post that has not begun, moves its job or gives it one, and appends `event`.
    async fn edit_post(&self, edit: &PostEdit, event: &NewEvent) -> StoreResult<Option<EditOutcome>>;

    /// Stops a draft or a queued post, or asks for it. Appends `event` if it was stopped. A post has begun when its job is claimed
    /// or an irreversible call is in its journal. With `seen`, only if that was its last change.
    async fn cancel_post(
        &self,
        tenant: TenantId,
        id: PostId,
        seen: Option<DateTime<Utc>>,
        event: &NewEvent,
    ) -> StoreResult<Option<CancelOutcome>>;
}
