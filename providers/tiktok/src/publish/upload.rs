//! Sending a file, one chunk a step.
//!
//! TikTok is the judge of how far an upload is. After a lost answer or a refused range the status is looked at, and
//! the upload goes on at the bytes that TikTok holds. A chunk sent twice to one upload URL does no harm: TikTok takes
//! ranges in order alone. Only a *new* upload can double a post, so it waits for proof once the last chunk has left.

use std::time::Duration;

use patchbay_core::{Ctx, ErrorKind, Post, Progress, ProviderError, Reconciled};

use super::{
    ContentPosting, look,
    start::{go_on, video},
    state::{Look, State, Upload, Watch},
};
use crate::api::{
    self,
    status::{Stage, Status},
    upload::ChunkAnswer,
};

/// Time in which the count of a status surely catches up with the upload.
const COUNT_SETTLES: Duration = Duration::from_mins(1);

impl ContentPosting {
    pub(super) async fn upload(
        &self,
        ctx: &Ctx<'_>,
        post: &Post,
        mut upload: Upload,
    ) -> Result<Progress, ProviderError> {
        if let Some(wait) = upload.not_before.and_then(|at| (at - ctx.now).to_std().ok())
            && !wait.is_zero()
        {
            return go_on(&State::Upload(upload), wait);
        }
        if upload.is_spent(ctx.now) && upload.look != Some(Look::Restart) {
            return if upload.last_sent {
                look_first(upload, Look::Restart)
            } else {
                self.restart(upload.attempt, upload.spent_error(), Duration::ZERO)
            };
        }
        if upload.look.is_some() {
            let status = look(ctx, &upload.publish_id).await?;
            return self.after_look(ctx, post, upload, status);
        }
        let plan = upload.plan()?;
        let Some(chunk) = plan.chunk_at(upload.sent) else {
            return Err(ProviderError::new(
                ErrorKind::Permanent,
                "checkpoint",
                "no chunk starts here",
            ));
        };
        let request = api::upload::request(video(post)?, upload.upload_url.clone(), chunk, upload.size);
        let response = match ctx.send(request).await {
            Ok(response) => response,
            // TikTok may have the chunk: asking is cheaper than sending it again.
            Err(error) if !chunk.last && error.kind == ErrorKind::Retryable && error.code == "answer_lost" => {
                return look_first(upload, Look::Resume);
            }
            Err(error) => return Err(error),
        };
        let again = upload.last_sent;
        upload.last_sent |= chunk.last;
        let answer = match api::upload::parse(chunk, &response) {
            Ok(answer) => answer,
            // A refusal says nothing of the time before, when this upload was sent to its end.
            Err(error) if again && error.kind == ErrorKind::Permanent => return look_first(upload, Look::Restart),
            Err(error) => return Err(error),
        };
        match answer {
            ChunkAnswer::Taken if chunk.last => self.all_sent(ctx, &upload),
            ChunkAnswer::Taken => {
                upload.sent = chunk.range.end;
                upload.troubles = 0;
                go_on(&State::Upload(upload), Duration::ZERO)
            }
            ChunkAnswer::OutOfStep => look_first(upload, Look::Resume),
            ChunkAnswer::UrlDead if upload.last_sent => look_first(upload, Look::Restart),
            ChunkAnswer::UrlDead => self.restart(upload.attempt, upload.spent_error(), Duration::ZERO),
        }
    }

    /// What became of a last chunk whose answer is unknown.
    pub(super) fn reconcile_upload(
        &self,
        ctx: &Ctx<'_>,
        post: &Post,
        mut upload: Upload,
        status: Status,
    ) -> Result<Reconciled, ProviderError> {
        let plan = upload.plan()?;
        let held = status.uploaded_bytes.unwrap_or(0);
        upload.last_sent |= plan.chunk_at(upload.sent).is_some_and(|chunk| chunk.last);
        let progress = match status.stage {
            Stage::Processing if held < upload.size => {
                let mut upload = upload.resume(&plan, held);
                upload.not_before = Some(ctx.now + upload.pause());
                return Ok(Reconciled::DidNotHappen {
                    checkpoint: Some(State::Upload(upload).checkpoint()?),
                });
            }
            // The next look brings the reason, and the failure that belongs to the post.
            Stage::Failed { .. } => go_on(&State::Processing(watch_of(ctx, &upload)), Duration::ZERO)?,
            Stage::Processing | Stage::InInbox | Stage::Complete { .. } => {
                self.settle(ctx, post, watch_of(ctx, &upload), status)?
            }
        };
        Ok(Reconciled::Happened { progress })
    }

    fn after_look(
        &self,
        ctx: &Ctx<'_>,
        post: &Post,
        upload: Upload,
        status: Status,
    ) -> Result<Progress, ProviderError> {
        if status.stage != Stage::Processing || status.uploaded_bytes.is_some_and(|held| held >= upload.size) {
            return self.settle(ctx, post, watch_of(ctx, &upload), status);
        }
        if upload.look != Some(Look::Restart) {
            let plan = upload.plan()?;
            return go_on(
                &State::Upload(upload.resume(&plan, status.uploaded_bytes.unwrap_or(0))),
                Duration::ZERO,
            );
        }
        // The URL is of no more use. A count below the size proves that this upload never became a post; without a
        // count a last chunk that once left may still become one, and then waiting is the only safe thing.
        if upload.last_sent && status.uploaded_bytes.is_none() {
            return self.all_sent(ctx, &upload);
        }
        self.restart(upload.attempt, upload.spent_error(), Duration::ZERO)
    }

    fn all_sent(&self, ctx: &Ctx<'_>, upload: &Upload) -> Result<Progress, ProviderError> {
        go_on(&State::Processing(watch_of(ctx, upload)), self.poll_min)
    }
}

fn look_first(mut upload: Upload, why: Look) -> Result<Progress, ProviderError> {
    upload.look = Some(why);
    let pause = match why {
        Look::Resume => upload.pause(),
        // A new upload may follow from this look: its count must not be one from before the last chunk.
        Look::Restart => upload.pause().max(COUNT_SETTLES),
    };
    go_on(&State::Upload(upload), pause)
}

fn watch_of(ctx: &Ctx<'_>, upload: &Upload) -> Watch {
    Watch {
        attempt: upload.attempt,
        publish_id: upload.publish_id.clone(),
        since: ctx.now,
    }
}
