//! Looking at the status until it settles.
//!
//! Waits follow the time already spent, so that a webhook which brings a look forward changes nothing, and every
//! wait has an end.

use std::time::Duration;

use patchbay_core::{Ctx, ErrorKind, FollowUp, Post, PostMode, Progress, ProviderError, Publication, WhoActs};

use super::{
    ContentPosting, MAX_ATTEMPTS, look,
    start::go_on,
    state::{State, Watch},
};
use crate::{
    api::status::{Stage, Status},
    error,
};

/// How long the id of a published post is asked for. Later, only the webhook brings it.
const IDS_WITHIN: Duration = Duration::from_mins(15);
/// How long a draft in the inbox is asked about.
const INBOX_WITHIN: Duration = Duration::from_hours(24 * 7);
/// Before a new attempt after a passing fault of TikTok's.
const SECOND_TRY_AFTER: Duration = Duration::from_mins(1);

impl ContentPosting {
    pub(super) async fn watch(&self, ctx: &Ctx<'_>, post: &Post, watch: Watch) -> Result<Progress, ProviderError> {
        let status = look(ctx, &watch.publish_id).await?;
        self.settle(ctx, post, watch, status)
    }

    /// What a status means for a post that TikTok has.
    pub(super) fn settle(
        &self,
        ctx: &Ctx<'_>,
        post: &Post,
        watch: Watch,
        status: Status,
    ) -> Result<Progress, ProviderError> {
        match status.stage {
            Stage::Processing if watch.elapsed(ctx.now) >= self.give_up => Err(error::ours(
                "processing_timeout",
                &format!("still processing after {} hours", self.give_up.as_secs() / 3600),
            )),
            Stage::Processing => {
                let wait = (watch.elapsed(ctx.now) / 10).clamp(self.poll_min, self.poll_max);
                let mut checkpoint = State::Processing(watch).checkpoint()?;
                if let Some((done, total)) = bytes(post, &status) {
                    checkpoint = checkpoint.at_bytes(done, total);
                }
                Ok(Progress::Continue {
                    checkpoint,
                    wake_after: wait,
                })
            }
            Stage::InInbox => in_inbox(ctx, watch.reached_at(ctx.now)),
            Stage::Complete { ids } => published(ctx, post, watch.reached_at(ctx.now), ids),
            Stage::Failed { reason } => {
                let error = error::of_fail_reason(reason.as_deref());
                // The attempt has ended without a post, so a new one is safe. After `auth_removed` its first call
                // finds out whether the account has been connected again since; the old attempt would say "removed"
                // for ever.
                if error.kind.retry_helps() || error.kind == ErrorKind::ReauthRequired {
                    self.restart(watch.attempt, error, SECOND_TRY_AFTER)
                } else {
                    Err(error)
                }
            }
        }
    }

    /// A draft waits for its person.
    pub(super) async fn watch_inbox(
        &self,
        ctx: &Ctx<'_>,
        post: &Post,
        watch: Watch,
    ) -> Result<Progress, ProviderError> {
        match look(ctx, &watch.publish_id).await?.stage {
            Stage::Complete { ids } => published(ctx, post, watch.reached_at(ctx.now), ids),
            // No new attempt here: the draft may still lie in the inbox.
            Stage::Failed { reason } => Err(for_good(error::of_fail_reason(reason.as_deref()))),
            Stage::Processing | Stage::InInbox => in_inbox(ctx, watch),
        }
    }

    /// The post is there; only its ids are missing.
    pub(super) async fn watch_ids(&self, ctx: &Ctx<'_>, post: &Post, watch: Watch) -> Result<Progress, ProviderError> {
        let ids = match look(ctx, &watch.publish_id).await?.stage {
            Stage::Complete { ids } => ids,
            Stage::Processing | Stage::InInbox | Stage::Failed { .. } => Vec::new(),
        };
        published(ctx, post, watch, ids)
    }

    /// Begins a new attempt, if one is left. `cause` says why the attempt before it ended.
    pub(super) fn restart(
        &self,
        attempt: u32,
        cause: ProviderError,
        wake_after: Duration,
    ) -> Result<Progress, ProviderError> {
        if attempt + 1 >= MAX_ATTEMPTS {
            return Err(for_good(cause));
        }
        go_on(&State::Ready { attempt: attempt + 1 }, wake_after)
    }
}

/// Running the step again would only find the same end again. A grant that was removed from this attempt says nothing
/// of the grant that the account has now: the account's owner acts, but the account is not to blame.
fn for_good(error: ProviderError) -> ProviderError {
    let who = match error.kind {
        ErrorKind::Retryable | ErrorKind::RateLimited => WhoActs::Caller,
        ErrorKind::ReauthRequired => error.who_acts(),
        _ => return error,
    };
    ProviderError {
        kind: ErrorKind::Permanent,
        retry_after: None,
        ..error
    }
    .for_who(who)
}

fn in_inbox(ctx: &Ctx<'_>, watch: Watch) -> Result<Progress, ProviderError> {
    let elapsed = watch.elapsed(ctx.now);
    let wake_after =
        (elapsed < INBOX_WITHIN).then(|| (elapsed / 2).clamp(Duration::from_mins(5), Duration::from_hours(6)));
    Ok(Progress::Delivered {
        checkpoint: State::Inbox(watch).checkpoint()?,
        wake_after,
    })
}

fn published(ctx: &Ctx<'_>, post: &Post, watch: Watch, ids: Vec<String>) -> Result<Progress, ProviderError> {
    let elapsed = watch.elapsed(ctx.now);
    let follow_up = if !ids.is_empty() || is_private(post) || elapsed >= IDS_WITHIN {
        None
    } else {
        Some(FollowUp {
            checkpoint: State::Ids(watch).checkpoint()?,
            wake_after: (elapsed / 2).clamp(Duration::from_secs(10), Duration::from_mins(3)),
        })
    };
    Ok(Progress::Published {
        publication: Publication {
            remote_ids: ids,
            url: None,
        },
        follow_up,
    })
}

/// TikTok never tells the id of a post that only its author sees.
fn is_private(post: &Post) -> bool {
    post.mode == PostMode::Direct
        && post
            .options
            .get("privacy_level")
            .is_some_and(|level| level == "SELF_ONLY")
}

fn bytes(post: &Post, status: &Status) -> Option<(u64, u64)> {
    let total = post.media.first()?.info.size_bytes?;
    let done = status.uploaded_bytes.or(status.downloaded_bytes)?;
    (post.media.len() == 1).then_some((done.min(total), total))
}
