//! A post as it changes, told instead of asked for: server-sent events (WHATWG HTML, section 9.2).

use std::{convert::Infallible, sync::Arc, time::Duration};

use axum::{
    extract::{FromRequestParts, State},
    http::{HeaderName, StatusCode, request::Parts},
    response::{
        IntoResponse, Response,
        sse::{Event, KeepAlive, Sse},
    },
};
use futures_util::stream;
use patchbay_app::{
    model::{KeyScope, PostRecord, PostStatus},
    problem::{Problem, ProblemKind},
    publish,
};
use patchbay_core::{PostId, TenantId};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, sleep},
};

use super::{answer, find, version};
use crate::{
    api::{
        auth::Caller,
        extract::{Item, Named},
        problem::{ApiProblem, ApiResult, ProblemBody},
    },
    host::Host,
};

/// Time between two looks at the post. One row is read by its key.
const LOOK: Duration = Duration::from_secs(1);
/// Looks after which it is asked again whether the caller may still see it: a key that is revoked sees no more.
const LOOKS_BETWEEN_CHECKS: u32 = 5;
/// A stream ends then, and is asked for again.
const LIFE: Duration = Duration::from_mins(5);
/// Time between two signs of life where nothing changes: proxies close what is silent.
const SIGN_OF_LIFE: Duration = Duration::from_secs(15);
/// When clients ask again after the end of a stream, or a refusal for want of places.
const AGAIN: Duration = Duration::from_secs(2);
/// Streams at once in this process.
const MOST: usize = 1_000;

/// Places for streams in this process.
#[derive(Debug, Clone)]
pub struct Places(Arc<Semaphore>);

impl Default for Places {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(MOST)))
    }
}

/// Tells a post now and whenever it changes, as server-sent events.
///
/// Each event is named `post`; its data is the post as `GET …/posts/{id}` answers it, its id the post's `ETag` without the
/// quotes. The stream ends when nothing more can come, and after five minutes at most: clients ask again with
/// `Last-Event-ID`, as `EventSource` does by itself. The answer 204 then says that nothing more comes.
#[utoipa::path(get, path = "/api/platforms/{provider}/posts/{id}/updates", tag = "posts",
    params(
        ("provider" = String, Path, description = "Name of the provider"),
        ("id" = String, Path, description = "Id of the post"),
        ("Last-Event-ID" = Option<String>, Header, description = "The id of the event that was seen last"),
    ),
    responses(
        (status = 200, description = "Events, as the post changes", body = String, content_type = "text/event-stream"),
        (status = 204, description = "The post has not changed since that event, and will not"),
        (status = 401, body = ProblemBody, content_type = "application/problem+json"),
        (status = 403, body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub async fn updates(
    State(host): State<Host>,
    caller: Caller,
    Named(registered): Named,
    Item(post): Item,
    parts: Parts,
) -> ApiResult<Response> {
    caller.may(KeyScope::Read)?;
    let post = find(&host, &caller, registered.id(), &post).await?;
    follow::<Caller>(host, &post, parts)
}

/// The stream of one post for whoever `Who` lets in by the same request.
pub fn follow<Who>(host: Host, post: &PostRecord, parts: Parts) -> ApiResult<Response>
where
    Who: FromRequestParts<Host, Rejection = ApiProblem> + Send + 'static,
{
    let seen = parts.headers.get("last-event-id");
    let seen = seen.and_then(|id| id.to_str().ok()).unwrap_or_default().to_owned();
    if seen == version::text(post) && is_over(post) {
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    let place = Arc::clone(&host.streams.0).try_acquire_owned().map_err(|_| {
        let detail = "As many posts are followed here as can be. Ask again, or ask for the post now and then.";
        Problem::new(ProblemKind::RateLimited, detail).after(AGAIN)
    })?;
    let watch = Watch {
        tenant: post.tenant,
        post: post.id,
        seen,
        looks: 0,
        until: Instant::now() + LIFE,
        ended: false,
        parts,
        host,
        _place: place,
    };
    let events = stream::unfold(watch, async |mut watch| {
        let event = watch.next::<Who>().await?;
        Some((Ok::<_, Infallible>(event), watch))
    });
    let life = KeepAlive::new().interval(SIGN_OF_LIFE);
    // Proxies that collect answers would tell everything at the end.
    let unbuffered = (HeaderName::from_static("x-accel-buffering"), "no");
    Ok(([unbuffered], Sse::new(events).keep_alive(life)).into_response())
}

/// Nothing more is to come: it has ended, and if it is visible, it is known where.
fn is_over(post: &PostRecord) -> bool {
    match post.status {
        PostStatus::Failed | PostStatus::Cancelled => true,
        PostStatus::Published => post.publication.url.is_some() || !post.publication.remote_ids.is_empty(),
        _ => false,
    }
}

/// One caller's look at one post.
struct Watch {
    host: Host,
    tenant: TenantId,
    post: PostId,
    /// The version that was told last.
    seen: String,
    looks: u32,
    until: Instant,
    ended: bool,
    parts: Parts,
    _place: OwnedSemaphorePermit,
}

impl Watch {
    /// The post once it is another than the one that was told. `None`: the stream ends.
    async fn next<Who>(&mut self) -> Option<Event>
    where
        Who: FromRequestParts<Host, Rejection = ApiProblem>,
    {
        while !self.ended && Instant::now() < self.until {
            if self.looks > 0 {
                tokio::select! {
                    () = sleep(LOOK) => {}
                    () = self.host.stopping.cancelled() => return None,
                }
            }
            self.looks += 1;
            if self.looks.is_multiple_of(LOOKS_BETWEEN_CHECKS) && !self.is_admitted::<Who>().await {
                return None;
            }
            // What cannot be read now is read at the next look.
            let Ok(found) = self.host.app.store.post(self.tenant, self.post).await else {
                continue;
            };
            let post = found?;
            let now = version::text(&post);
            if now == self.seen {
                continue;
            }
            let over = is_over(&post);
            if let Some(event) = self.event(post, &now).await {
                self.seen = now;
                self.ended = over;
                return Some(event);
            }
        }
        None
    }

    async fn event(&self, post: PostRecord, version: &str) -> Option<Event> {
        let limits = publish::limits_of(&self.host.app, &post).await.ok()?;
        let body = answer(&self.host, post, limits).await.ok()?;
        let event = Event::default().event("post").id(version).retry(AGAIN);
        event.json_data(body).ok()
    }

    async fn is_admitted<Who>(&mut self) -> bool
    where
        Who: FromRequestParts<Host, Rejection = ApiProblem>,
    {
        match Who::from_request_parts(&mut self.parts, &self.host).await {
            Ok(_) => true,
            // Too fast, or the store is away: that says nothing of the caller.
            Err(ApiProblem(problem)) => !matches!(problem.kind, ProblemKind::Unauthorized | ProblemKind::Forbidden),
        }
    }
}
