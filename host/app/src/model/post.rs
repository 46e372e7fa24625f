//! A post from intent to outcome.
//!
//! `queued → publishing → published | delivered | failed | unconfirmed | cancelled`, and from `delivered` (a draft in
//! the person's inbox) and `unconfirmed` on to what the platform says later. A post may begin as a `draft` of ours, which
//! waits until somebody publishes it (`queued`) or takes it away (`cancelled`).

use std::{fmt, str::FromStr};

use chrono::{DateTime, TimeDelta, Utc};
use patchbay_core::{
    AccountId, Checkpoint, ErrorKind, GroupId, Post, PostId, PostKind, PostMedia, PostMode, ProviderError, ProviderId,
    Publication, TenantId, WhoActs,
};
use serde::{Deserialize, Serialize};

/// How long after a post has ended its content is not posted to the same account once more, unless it came to nothing.
pub const DUPLICATE_WINDOW: TimeDelta = TimeDelta::hours(24);

/// How long after it has failed for want of access a post goes on when its account is connected again.
pub const REVIVE_WITHIN: TimeDelta = TimeDelta::days(7);
/// Posts of an account that go on so at once, the oldest first.
pub const MOST_REVIVED: u32 = 100;

/// Where a post is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PostStatus {
    /// Waits until somebody publishes it. No worker knows of it, and it may be incomplete.
    Draft,
    /// Waits for its first step.
    Queued,
    /// Under way. The checkpoint's phase says how far.
    Publishing,
    /// A draft that reached the person's inbox.
    #[serde(rename = "inbox_delivered")]
    Delivered,
    /// Visible, or done as far as the platform tells.
    Published,
    /// Refused or given up. Nothing is visible. For want of access alone it may go on: no step leads out of here, but
    /// connecting the account again does ([`REVIVE_WITHIN`]).
    Failed,
    /// An irreversible call has no known outcome. Shown, watched, never sent again by itself.
    Unconfirmed,
    /// Stopped on request before anything was visible.
    Cancelled,
}

impl PostStatus {
    /// All, in the order of the life of a post.
    pub const ALL: [Self; 8] = [
        Self::Draft,
        Self::Queued,
        Self::Publishing,
        Self::Delivered,
        Self::Published,
        Self::Failed,
        Self::Unconfirmed,
        Self::Cancelled,
    ];

    /// The stable name, as stored and in JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Draft => "draft",
            Self::Queued => "queued",
            Self::Publishing => "publishing",
            Self::Delivered => "inbox_delivered",
            Self::Published => "published",
            Self::Failed => "failed",
            Self::Unconfirmed => "unconfirmed",
            Self::Cancelled => "cancelled",
        }
    }

    /// Whether a worker still has something to do to reach an outcome.
    #[must_use]
    pub fn is_open(self) -> bool {
        matches!(self, Self::Queued | Self::Publishing)
    }

    /// Whether a step may lead from this state to `next`. The SQL repeats this guard.
    #[must_use]
    pub fn may_become(self, next: Self) -> bool {
        match self {
            Self::Queued | Self::Publishing | Self::Unconfirmed => !matches!(next, Self::Draft | Self::Queued),
            Self::Delivered => matches!(next, Self::Delivered | Self::Published | Self::Failed),
            // Later news may still add ids.
            Self::Published => next == Self::Published,
            Self::Draft | Self::Failed | Self::Cancelled => false,
        }
    }
}

impl fmt::Display for PostStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for PostStatus {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|status| status.as_str() == text)
            .ok_or_else(|| format!("no post status {text}"))
    }
}

/// What a person agreed to when they asked for a post.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Consent {
    /// Who: the caller's own id of them.
    pub by: String,
    /// When the post was asked for.
    pub at: DateTime<Utc>,
    /// The text that stood before them.
    pub text: String,
}

/// What is to be posted, as asked for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Content {
    /// Kind.
    pub kind: PostKind,
    /// How far Patchbay takes it.
    pub mode: PostMode,
    /// Title.
    pub title: Option<String>,
    /// Text.
    pub text: Option<String>,
    /// Files.
    pub media: Vec<PostMedia>,
    /// The platform's own options.
    pub options: serde_json::Map<String, serde_json::Value>,
    /// What was agreed to. No part of what is posted; kept with it for as long as the post is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub consent: Option<Consent>,
}

impl Content {
    /// The provider's view.
    #[must_use]
    pub fn as_post(&self, id: PostId) -> Post {
        Post {
            id,
            kind: self.kind,
            mode: self.mode,
            title: self.title.clone(),
            text: self.text.clone(),
            media: self.media.clone(),
            options: self.options.clone(),
        }
    }
}

/// Why a post is not published.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// What kind of failure.
    pub kind: ErrorKind,
    /// The platform's code.
    pub code: String,
    /// A fixed sentence that says what to do.
    pub advice: String,
    /// Who must act.
    pub who_acts: WhoActs,
}

/// What became of a post, for sums over many.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PostOutcome {
    /// State.
    pub status: PostStatus,
    /// Code of its failure, if it has failed.
    pub failure: Option<String>,
    /// When it was asked for.
    pub created_at: DateTime<Utc>,
    /// Not before.
    pub scheduled_at: Option<DateTime<Utc>>,
    /// When it ended.
    pub finished_at: Option<DateTime<Utc>>,
}

impl Failure {
    /// The part of a provider's error that its users may see.
    #[must_use]
    pub fn of(error: &ProviderError) -> Self {
        let advice = error.advice.as_deref().unwrap_or(match error.kind {
            ErrorKind::Retryable => "The platform had a passing fault. Patchbay tries again.",
            ErrorKind::RateLimited => "A limit of the platform is reached. Patchbay tries again when it allows.",
            ErrorKind::ReauthRequired => "The account's access has ended. Connect it again.",
            ErrorKind::InvalidRequest => "The platform refused this post. Change it and post it anew.",
            ErrorKind::OutcomeUnknown => {
                "It is not known whether the platform took this post. Look at the profile before posting it anew."
            }
            _ => "The platform refused for good. The operator should look at the code.",
        });
        Self {
            kind: error.kind,
            code: error.code.to_string(),
            advice: advice.to_owned(),
            who_acts: error.who_acts(),
        }
    }
}

/// A post as stored.
#[derive(Debug, Clone, PartialEq)]
pub struct PostRecord {
    /// Id.
    pub id: PostId,
    /// Whose.
    pub tenant: TenantId,
    /// The account that it goes to.
    pub account: AccountId,
    /// Its platform.
    pub provider: ProviderId,
    /// Made against a simulator.
    pub simulated: bool,
    /// State.
    pub status: PostStatus,
    /// What is to be posted.
    pub content: Content,
    /// Number of the current step; raised with every recorded one. Part of the commit journal's key.
    pub step: i64,
    /// Where the current step starts.
    pub checkpoint: Option<Checkpoint>,
    /// Sealed values of the handles that the checkpoint names. Bound to `(tenant, posts, id, captured, step)`.
    pub captured: Option<Vec<u8>>,
    /// The platform's id of the attempt.
    pub remote_ref: Option<String>,
    /// What became visible.
    pub publication: Publication,
    /// Why it is not published; while it is open, the last fault.
    pub failure: Option<Failure>,
    /// Failed tries of the current step.
    pub tries: i32,
    /// Someone asked to stop it.
    pub cancel_requested: bool,
    /// Not before this time.
    pub scheduled_at: Option<DateTime<Utc>>,
    /// Asked for together with others.
    pub group: Option<GroupId>,
    /// Made from that post, which did not succeed.
    pub retry_of: Option<PostId>,
    /// Follows the work through jobs, calls and logs.
    pub correlation_id: String,
    /// When it was asked for.
    pub created_at: DateTime<Utc>,
    /// Last change.
    pub updated_at: DateTime<Utc>,
    /// When the outcome was settled.
    pub finished_at: Option<DateTime<Utc>>,
}

/// A post to be stored.
#[derive(Debug, Clone)]
pub struct NewPost {
    /// Id to use if the key is new.
    pub id: PostId,
    /// Whose.
    pub tenant: TenantId,
    /// Account.
    pub account: AccountId,
    /// Platform.
    pub provider: ProviderId,
    /// Made against a simulator.
    pub simulated: bool,
    /// What.
    pub content: Content,
    /// It waits until somebody publishes it, without a job.
    pub draft: bool,
    /// Not before this time.
    pub scheduled_at: Option<DateTime<Utc>>,
    /// Asked for together with others.
    pub group: Option<GroupId>,
    /// Made from that post, which did not succeed.
    pub retry_of: Option<PostId>,
    /// SHA-256 of what is posted, if it must not be the same as another post of the account ([`DUPLICATE_WINDOW`]).
    pub content_hash: Option<[u8; 32]>,
    /// Unique per tenant.
    pub idempotency_key: String,
    /// SHA-256 of the canonical request: the same key with another body is refused.
    pub fingerprint: [u8; 32],
    /// Follows the work.
    pub correlation_id: String,
}

/// What one step made of a post.
#[derive(Debug, Clone, PartialEq)]
pub struct PostTransition {
    /// New state.
    pub status: PostStatus,
    /// New checkpoint; `None` keeps the old one.
    pub checkpoint: Option<Checkpoint>,
    /// Sealed values for it, written together with it.
    pub captured: Option<Vec<u8>>,
    /// New facts; `None` keeps the old ones.
    pub publication: Option<Publication>,
    /// The failure or last fault; `None` clears it.
    pub failure: Option<Failure>,
    /// Failed tries of the current step.
    pub tries: i32,
    /// A wish to stop the post was answered in this step; it is not asked again.
    pub cancel_handled: bool,
}

/// A post cannot go from one state to another.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a {from} post cannot become {to}")]
pub struct TransitionError {
    /// From.
    pub from: PostStatus,
    /// To.
    pub to: PostStatus,
}

impl PostTransition {
    /// A step that changes only the state.
    #[must_use]
    pub fn to(status: PostStatus) -> Self {
        Self {
            status,
            checkpoint: None,
            captured: None,
            publication: None,
            failure: None,
            tries: 0,
            cancel_handled: false,
        }
    }

    /// Applies this to a post in memory, as the store does to the row.
    ///
    /// # Errors
    /// The post is in a state that does not lead there.
    pub fn apply(self, mut post: PostRecord, now: DateTime<Utc>) -> Result<PostRecord, TransitionError> {
        if !post.status.may_become(self.status) {
            return Err(TransitionError {
                from: post.status,
                to: self.status,
            });
        }
        if let Some(checkpoint) = self.checkpoint {
            post.remote_ref = checkpoint.remote_ref.clone().or(post.remote_ref);
            post.checkpoint = Some(checkpoint);
            post.captured = self.captured;
        }
        if let Some(publication) = self.publication {
            post.publication = publication;
        }
        if !self.status.is_open() && post.finished_at.is_none() {
            post.finished_at = Some(now);
        }
        post.status = self.status;
        post.failure = self.failure;
        post.cancel_requested &= !self.cancel_handled;
        post.tries = self.tries;
        post.step += 1;
        post.updated_at = now;
        Ok(post)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ended_post_never_opens_again() {
        for end in [PostStatus::Failed, PostStatus::Cancelled, PostStatus::Published] {
            for next in PostStatus::ALL {
                assert!(!end.may_become(next) || (end, next) == (PostStatus::Published, PostStatus::Published));
            }
        }
        for status in PostStatus::ALL {
            assert!(!status.may_become(PostStatus::Queued) && !status.may_become(PostStatus::Draft));
            assert!(!PostStatus::Draft.may_become(status), "no step leads out of a draft");
            assert_eq!(status.as_str().parse(), Ok(status));
        }
    }
}
