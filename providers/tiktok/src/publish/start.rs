//! The first steps: ask the creator, then init.

use std::time::Duration;

use super::{
    ContentPosting,
    state::{State, Upload, Watch},
};
use crate::{
    api,
    chunk::{Plan, PlanError},
    error,
};
use patchbay_core::{
    CanPost, Ctx, ErrorKind, MediaOrigin, Post, PostKind, PostMedia, Progress, ProviderError, PublishOptions,
};

impl ContentPosting {
    /// Asks what the creator may post, in a step of its own: asked again after an init, TikTok could already count
    /// that very post against the creator.
    pub(super) async fn ask_creator(&self, ctx: &Ctx<'_>, post: &Post) -> Result<Progress, ProviderError> {
        let options = api::creator::parse(&ctx.send(api::creator::request()).await?)?;
        check(&options, post)?;
        go_on(&State::Ready { attempt: 0 }, Duration::ZERO)
    }

    pub(super) async fn init(&self, ctx: &Ctx<'_>, post: &Post, attempt: u32) -> Result<Progress, ProviderError> {
        let request = match road(post, self.chunk_size)? {
            Road::File(plan) => return init_file(ctx, post, attempt, &plan).await,
            Road::Video(media) => api::init::video_pull(post, media),
            Road::Photos => api::init::photos(post),
        };
        let op = request.op.clone();
        let publish_id = api::init::parse_pull(&op, &ctx.send(request).await?)?;
        let watch = Watch {
            attempt,
            publish_id,
            since: ctx.now,
        };
        go_on(&State::Processing(watch), self.poll_min)
    }
}

/// Whether TikTok fetches the media of this post by itself.
pub(super) fn is_pull(post: &Post) -> bool {
    post.media.iter().any(|media| media.origin.is_fetched())
}

/// The step is done; this is next.
pub(super) fn go_on(state: &State, wake_after: Duration) -> Result<Progress, ProviderError> {
    Ok(Progress::Continue {
        checkpoint: state.checkpoint()?,
        wake_after,
    })
}

/// The one video of a post.
pub(super) fn video(post: &Post) -> Result<&PostMedia, ProviderError> {
    post.media
        .first()
        .ok_or_else(|| ProviderError::new(ErrorKind::InvalidRequest, "count", "a video post without a video"))
}

async fn init_file(ctx: &Ctx<'_>, post: &Post, attempt: u32, plan: &Plan) -> Result<Progress, ProviderError> {
    let request = api::init::video_file(post, plan);
    let op = request.op.clone();
    let init = api::init::parse_file(&op, &ctx.send(request).await?)?;
    let upload = Upload {
        attempt,
        publish_id: init.publish_id,
        upload_url: init.upload_url,
        // The call began before TikTok issued the URL: counted from here, its hour ends too early and never too late.
        issued_at: ctx.now,
        size: plan.size,
        chunk_size: plan.chunk_size,
        sent: 0,
        troubles: 0,
        last_sent: false,
        look: None,
        not_before: None,
    };
    go_on(&State::Upload(upload), Duration::ZERO)
}

/// How the media reach TikTok.
enum Road<'p> {
    File(Plan),
    Video(&'p PostMedia),
    Photos,
}

fn road(post: &Post, chunk_size: u64) -> Result<Road<'_>, ProviderError> {
    let refuse = |code: &'static str, message: &str| Err(ProviderError::new(ErrorKind::InvalidRequest, code, message));
    match post.kind {
        PostKind::Video => {
            let media = video(post)?;
            let size = match &media.origin {
                MediaOrigin::Url(_) | MediaOrigin::Hosted => return Ok(Road::Video(media)),
                MediaOrigin::Stored => media.info.size_bytes,
            };
            match size.map(|size| Plan::for_size(size, chunk_size)) {
                Some(Ok(plan)) => Ok(Road::File(plan)),
                Some(Err(PlanError::FileTooLarge)) => refuse("too_large", "the video is larger than 4 GiB"),
                Some(Err(PlanError::Empty)) => refuse("empty", "the video is empty"),
                Some(Err(error)) => refuse("chunk_plan", &format!("no way to cut the file: {error:?}")),
                None => refuse("unknown_size", "the size of the stored video is not known"),
            }
        }
        PostKind::Images => {
            if post.media.is_empty() || post.media.iter().any(|media| media.origin == MediaOrigin::Stored) {
                return refuse("transfer", "TikTok takes photos by URL alone");
            }
            Ok(Road::Photos)
        }
        _ => refuse("unsupported", "TikTok takes videos and photos alone"),
    }
}

/// What TikTok says now against what was asked for.
fn check(options: &PublishOptions, post: &Post) -> Result<(), ProviderError> {
    if let CanPost::No { code, advice } = &options.can_post {
        let message = "creator.info: the creator cannot post now";
        return Err(match error::of_code(code) {
            Some(row) => row.error(message),
            None => ProviderError::new(ErrorKind::Permanent, error::word(code), message).advise(advice.clone()),
        });
    }
    let issues = options.check_post(post);
    let Some(first) = issues.first() else { return Ok(()) };
    let all: Vec<_> = issues
        .iter()
        .map(|issue| format!("{}: {}", issue.pointer, issue.message))
        .collect();
    Err(ProviderError::new(ErrorKind::InvalidRequest, first.code.clone(), all.join(" ")).advise(first.message.clone()))
}
