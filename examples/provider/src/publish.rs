//! Publishing: make the post, then look until it is there. One step a call, at most one commit a step.

use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use patchbay_core::{
    Checkpoint, Ctx, ErrorKind, FieldIssue, Post, Progress, ProviderError, Publication, Publisher, Reconciled,
};
use serde::{Deserialize, Serialize};

use crate::{
    api::{self, Created, Found, Shown, State},
    error,
    manifest::op,
};

/// The first look.
const FIRST_LOOK: Duration = Duration::from_secs(5);
/// The longest pause between two looks.
const LAST_LOOK: Duration = Duration::from_mins(30);
/// Processing for longer than this never ends.
const PATIENCE: Duration = Duration::from_hours(24);

pub(crate) struct Posts;

/// What is kept between steps.
// CHANGE: one variant or field for each thing that the next step must know.
#[derive(Serialize, Deserialize)]
struct Waiting {
    post: String,
    since: DateTime<Utc>,
}

#[async_trait]
impl Publisher for Posts {
    fn validate(&self, post: &Post) -> Vec<FieldIssue> {
        match post.text.as_deref().map(str::trim) {
            Some("") | None => vec![FieldIssue::new("/text", "required", "Give the text of the post.")],
            Some(_) => Vec::new(),
        }
    }

    async fn advance(&self, ctx: &Ctx<'_>, post: &Post, at: Option<&Checkpoint>) -> Result<Progress, ProviderError> {
        let Some(at) = at else {
            let answer = ctx.send(api::create(post)).await?;
            let created: Created = error::read_commit(op::POST_CREATE, &answer)?;
            return wait_for(created.id, ctx.now, FIRST_LOOK);
        };
        let waiting: Waiting = at.read()?;
        let answer = ctx.send(api::get(&waiting.post)).await?;
        let shown: Shown = error::read(op::POST_GET, &answer)?;
        let failed = |code, what| ProviderError::new(ErrorKind::Permanent, code, format!("{}: {what}", op::POST_GET));
        match shown.state {
            State::Published => Ok(Progress::Published {
                publication: Publication {
                    remote_ids: vec![shown.id],
                    url: shown.url,
                },
                follow_up: None,
            }),
            State::Rejected => Err(failed("rejected", "the platform has rejected the post")),
            State::Processing => {
                let waited = (ctx.now - waiting.since).to_std().unwrap_or_default();
                if waited > PATIENCE {
                    return Err(failed("timeout", "the platform has worked on the post for a day"));
                }
                wait_for(waiting.post, waiting.since, (waited / 4).clamp(FIRST_LOOK, LAST_LOOK))
            }
        }
    }

    // CHANGE: how a post is found whose answer was lost. Where nothing can tell, leave this method out.
    // The post is then `unconfirmed`, and is never made twice.
    async fn reconcile(
        &self,
        ctx: &Ctx<'_>,
        post: &Post,
        _: Option<&Checkpoint>,
        _: Option<&str>,
    ) -> Result<Reconciled, ProviderError> {
        let answer = ctx.send(api::find(post)).await?;
        let found: Found = error::read(op::POST_FIND, &answer)?;
        Ok(match found.posts.into_iter().next() {
            Some(found) => Reconciled::Happened {
                progress: wait_for(found.id, ctx.now, FIRST_LOOK)?,
            },
            None => Reconciled::DidNotHappen { checkpoint: None },
        })
    }
}

fn wait_for(post: String, since: DateTime<Utc>, wake_after: Duration) -> Result<Progress, ProviderError> {
    let waiting = Waiting { post, since };
    let checkpoint = Checkpoint::new("processing", &waiting)?.known_as(waiting.post);
    Ok(Progress::Continue { checkpoint, wake_after })
}
