//! Posts on the wire.

use chrono::{DateTime, Utc};
use patchbay_app::model::{Consent, Failure, PostRecord, PostStatus};
use patchbay_core::{PostKind, PostMode, WhoActs};
use serde::Serialize;
use utoipa::ToSchema;

use super::super::{accounts::LimitBody, problem::WhoActsBody};

/// A post.
#[derive(Debug, Serialize, ToSchema)]
pub struct PostBody {
    /// Id.
    #[schema(example = "post_0199f0a2b3c47d8e9f00112233445566")]
    pub id: String,
    /// Provider.
    pub provider: String,
    /// Account.
    pub account_id: String,
    /// `draft`, `queued`, `publishing`, `inbox_delivered`, `published`, `failed`, `unconfirmed` or `cancelled`.
    #[schema(value_type = String, example = "published")]
    pub status: PostStatus,
    /// Phase while it is publishing, such as `uploading`.
    pub phase: Option<String>,
    /// Bytes of a transfer.
    pub progress: Option<ProgressBody>,
    /// Kind.
    #[schema(value_type = String)]
    pub kind: PostKind,
    /// How far Patchbay takes it.
    #[schema(value_type = String)]
    pub mode: PostMode,
    /// Title.
    pub title: Option<String>,
    /// Text.
    pub text: Option<String>,
    /// Options.
    #[schema(value_type = serde_json::Map<String, serde_json::Value>)]
    pub options: serde_json::Map<String, serde_json::Value>,
    /// What the person agreed to who asked for it.
    pub consent: Option<ConsentBody>,
    /// The platform's id of the attempt (its publish id), as soon as it is known.
    pub remote_ref: Option<String>,
    /// The platform's ids of what became visible, exact, as text.
    pub remote_ids: Vec<String>,
    /// Page of the post, if the platform told it.
    pub url: Option<String>,
    /// Why it is not published; while it is under way, the last fault.
    pub failure: Option<FailureBody>,
    /// When Patchbay goes on with it by itself: what `failure` tells of is tried again then. Absent while it is worked on,
    /// and when there is nothing left to do.
    pub next_attempt_at: Option<DateTime<Utc>>,
    /// Someone asked to stop it.
    pub cancel_requested: bool,
    /// Made against a simulator.
    pub simulated: bool,
    /// Not before this time.
    pub scheduled_at: Option<DateTime<Utc>>,
    /// Group of the posts that were asked for together.
    pub group_id: Option<String>,
    /// The post that this one retries.
    pub retry_of: Option<String>,
    /// When it was asked for.
    pub created_at: DateTime<Utc>,
    /// Last change.
    pub updated_at: DateTime<Utc>,
    /// When its outcome was settled.
    pub finished_at: Option<DateTime<Utc>>,
}

/// What a person agreed to by asking for a post.
#[derive(Debug, Serialize, ToSchema)]
pub struct ConsentBody {
    /// Who: your own id of them.
    #[schema(example = "user-17")]
    pub by: String,
    /// When.
    pub at: DateTime<Utc>,
    /// The text that stood before them.
    #[schema(example = "By posting, you agree to our terms.")]
    pub text: String,
}

impl From<Consent> for ConsentBody {
    fn from(Consent { by, at, text }: Consent) -> Self {
        Self { by, at, text }
    }
}

/// Bytes of a transfer.
#[derive(Debug, Serialize, ToSchema)]
pub struct ProgressBody {
    /// So far.
    pub done_bytes: u64,
    /// In all.
    pub total_bytes: u64,
}

impl From<patchbay_core::ByteProgress> for ProgressBody {
    fn from(bytes: patchbay_core::ByteProgress) -> Self {
        Self {
            done_bytes: bytes.done,
            total_bytes: bytes.total,
        }
    }
}

/// Why a post is not published.
#[derive(Debug, Serialize, ToSchema)]
pub struct FailureBody {
    /// `retryable`, `rate_limited`, `reauth_required`, `invalid_request`, `permanent` or `outcome_unknown`.
    pub kind: String,
    /// The platform's code.
    pub code: String,
    /// What to do, in a fixed sentence.
    pub advice: String,
    /// Patchbay tries again by itself.
    pub retry: bool,
    /// Who must act.
    #[schema(value_type = WhoActsBody)]
    pub who_acts: WhoActs,
}

impl From<Failure> for FailureBody {
    fn from(failure: Failure) -> Self {
        Self {
            kind: failure.kind.as_str().to_owned(),
            retry: failure.kind.retry_helps(),
            code: failure.code,
            advice: failure.advice,
            who_acts: failure.who_acts,
        }
    }
}

impl From<PostRecord> for PostBody {
    fn from(post: PostRecord) -> Self {
        let checkpoint = post.checkpoint.filter(|_| post.status.is_open());
        Self {
            id: post.id.to_string(),
            provider: post.provider.to_string(),
            account_id: post.account.to_string(),
            status: post.status,
            progress: checkpoint
                .as_ref()
                .and_then(|checkpoint| checkpoint.progress)
                .map(ProgressBody::from),
            phase: checkpoint.map(|checkpoint| checkpoint.phase),
            kind: post.content.kind,
            mode: post.content.mode,
            title: post.content.title,
            text: post.content.text,
            options: post.content.options,
            consent: post.content.consent.map(ConsentBody::from),
            remote_ref: post.remote_ref,
            remote_ids: post.publication.remote_ids,
            url: post.publication.url.map(Into::into),
            failure: post.failure.map(FailureBody::from),
            next_attempt_at: None,
            cancel_requested: post.cancel_requested,
            simulated: post.simulated,
            scheduled_at: post.scheduled_at,
            group_id: post.group.map(|id| id.to_string()),
            retry_of: post.retry_of.map(|id| id.to_string()),
            created_at: post.created_at,
            updated_at: post.updated_at,
            finished_at: post.finished_at,
        }
    }
}

/// A post, with what the platform's limits leave to its account.
#[derive(Debug, Serialize, ToSchema)]
pub struct PostAnswer {
    /// The post.
    #[serde(flatten)]
    pub post: PostBody,
    /// Quotas that it counts for, then rate buckets.
    pub quotas: Vec<LimitBody>,
}

/// A page of posts.
#[derive(Debug, Serialize, ToSchema)]
pub struct PostList {
    /// Newest first.
    pub data: Vec<PostBody>,
    /// For the next page; absent at the end.
    pub next_cursor: Option<String>,
}
