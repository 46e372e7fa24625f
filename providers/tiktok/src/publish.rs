//! Publishing through the Content Posting API, one step at a time.
//!
//! The road of a post: ask the creator (direct posts only), init, then either chunks (files) or nothing (pulls),
//! then look at the status until it settles, then perhaps wait for the post's id. Each step makes one call.
//!
//! What is irreversible: for a pull the init, for a file the last chunk. Before that, a new init is always safe.

mod rules;
mod start;
mod state;
mod upload;
mod watch;

use std::time::Duration;

use async_trait::async_trait;
use patchbay_core::{
    Cancelled, Checkpoint, Ctx, ErrorKind, FieldIssue, Post, PostMetrics, Progress, ProviderError, PublishOptions,
    Publisher, Reconciled,
};

use crate::{
    api::{self, status::Status},
    config::Config,
};
use state::{State, Watch};

/// Attempts of one post, where TikTok has said that the one before ended without a post.
const MAX_ATTEMPTS: u32 = 3;

pub(crate) struct ContentPosting {
    chunk_size: u64,
    poll_min: Duration,
    poll_max: Duration,
    give_up: Duration,
}

impl ContentPosting {
    pub(crate) fn new(config: &Config) -> Self {
        Self {
            chunk_size: config.chunk_size_bytes,
            poll_min: config.poll_min(),
            poll_max: config.poll_max(),
            give_up: config.give_up(),
        }
    }
}

#[async_trait]
impl Publisher for ContentPosting {
    async fn options(&self, ctx: &Ctx<'_>) -> Result<PublishOptions, ProviderError> {
        api::creator::parse(&ctx.send(api::creator::request()).await?)
    }

    fn validate(&self, post: &Post) -> Vec<FieldIssue> {
        rules::check(post)
    }

    async fn advance(&self, ctx: &Ctx<'_>, post: &Post, at: Option<&Checkpoint>) -> Result<Progress, ProviderError> {
        match State::of(post, at)? {
            State::Asking => self.ask_creator(ctx, post).await,
            State::Ready { attempt } => self.init(ctx, post, attempt).await,
            State::Upload(upload) => self.upload(ctx, post, upload).await,
            State::Processing(watch) => self.watch(ctx, post, watch).await,
            State::Inbox(watch) => self.watch_inbox(ctx, post, watch).await,
            State::Ids(watch) => self.watch_ids(ctx, post, watch).await,
        }
    }

    async fn reconcile(
        &self,
        ctx: &Ctx<'_>,
        post: &Post,
        at: Option<&Checkpoint>,
        known_as: Option<&str>,
    ) -> Result<Reconciled, ProviderError> {
        match State::of(post, at)? {
            State::Ready { attempt } if start::is_pull(post) => match known_as {
                Some(publish_id) => self.reconcile_pull(ctx, post, attempt, publish_id).await,
                // A pull that TikTok may have begun has no name yet under which it could be asked for.
                None => Ok(Reconciled::Unknown),
            },
            State::Upload(upload) => match look(ctx, &upload.publish_id).await {
                Ok(status) => self.reconcile_upload(ctx, post, upload, status),
                Err(error) if matches!(error.kind, ErrorKind::Permanent | ErrorKind::InvalidRequest) => {
                    Ok(Reconciled::Unknown)
                }
                Err(error) => Err(error),
            },
            // The other steps hold no irreversible call.
            State::Asking | State::Ready { .. } | State::Processing(_) | State::Inbox(_) | State::Ids(_) => {
                Ok(Reconciled::DidNotHappen {
                    checkpoint: at.cloned(),
                })
            }
        }
    }

    async fn cancel(&self, ctx: &Ctx<'_>, post: &Post, at: Option<&Checkpoint>) -> Result<Cancelled, ProviderError> {
        match State::of(post, at)? {
            State::Asking | State::Ready { .. } => Ok(Cancelled::Stopped),
            // Nothing is visible before the last byte, and an upload that ends here is simply forgotten.
            State::Upload(upload) if !upload.last_sent => Ok(Cancelled::Stopped),
            // TikTok cancels downloads alone.
            State::Processing(watch) if start::is_pull(post) => {
                let response = ctx.send(api::status::cancel(&watch.publish_id)).await?;
                match api::status::parse_cancel(&response) {
                    Ok(()) => Ok(Cancelled::Requested),
                    Err(error) if error.code == "publish_not_cancellable" => Ok(Cancelled::TooLate),
                    Err(error) => Err(error),
                }
            }
            State::Upload(_) | State::Processing(_) | State::Inbox(_) | State::Ids(_) => Ok(Cancelled::TooLate),
        }
    }

    async fn metrics(&self, ctx: &Ctx<'_>, remote_ids: &[String]) -> Result<Vec<PostMetrics>, ProviderError> {
        let ids: Vec<&str> = remote_ids
            .iter()
            .map(String::as_str)
            .filter(|id| api::is_id(id))
            .collect();
        let mut found = Vec::new();
        for page in ids.chunks(api::videos::MAX_IDS) {
            found.extend(api::videos::parse(&ctx.send(api::videos::request(page)).await?)?);
        }
        found.retain(|metrics| ids.contains(&metrics.remote_id.as_str()));
        Ok(found)
    }
}

impl ContentPosting {
    /// What became of a pull whose publish id a webhook has told.
    async fn reconcile_pull(
        &self,
        ctx: &Ctx<'_>,
        post: &Post,
        attempt: u32,
        publish_id: &str,
    ) -> Result<Reconciled, ProviderError> {
        let status = match look(ctx, publish_id).await {
            Ok(status) => status,
            // TikTok knows no such attempt of this account.
            Err(error) if matches!(error.kind, ErrorKind::Permanent | ErrorKind::InvalidRequest) => {
                return Ok(Reconciled::Unknown);
            }
            Err(error) => return Err(error),
        };
        let watch = Watch {
            attempt,
            publish_id: publish_id.to_owned(),
            since: ctx.now,
        };
        let progress = self.settle(ctx, post, watch, status)?;
        Ok(Reconciled::Happened { progress })
    }
}

async fn look(ctx: &Ctx<'_>, publish_id: &str) -> Result<Status, ProviderError> {
    api::status::parse(&ctx.send(api::status::request(publish_id)).await?)
}
