//! A tenant's posts: where they are and how they came there, without what is posted.

use std::collections::HashMap;

use axum::{
    Json,
    extract::{Query, State},
};
use chrono::{DateTime, Utc};
use patchbay_app::{
    model::{PostRecord, PostStatus},
    problem::{Problem, ProblemKind},
    store::{EventFilter, PageRequest, PostFilter},
};
use patchbay_core::{AccountId, PostId, PostKind, PostMode, TenantId};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{
    super::{
        extract::{Item, Paging, id, next_cursor},
        posts::{FailureBody, ProgressBody, journal},
        problem::{ApiResult, ProblemBody},
    },
    OfTenant, Operator, events, provider,
};
use crate::host::Host;

/// A post, as its operator needs to know it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = OperatedPost)]
pub struct PostBody {
    /// Id.
    #[schema(example = "post_0199f0a2b3c47d8e9f00112233445566")]
    pub id: String,
    /// Provider.
    pub provider: String,
    /// Account.
    pub account_id: String,
    /// `draft`, `queued`, `publishing`, `inbox_delivered`, `published`, `failed`, `unconfirmed` or `cancelled`.
    #[schema(value_type = String, example = "publishing")]
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
    /// The platform's id of the attempt, as soon as it is known.
    pub remote_ref: Option<String>,
    /// The platform's ids of what became visible.
    pub remote_ids: Vec<String>,
    /// Why it is not published; while it is under way, the last fault.
    pub failure: Option<FailureBody>,
    /// When Patchbay goes on with it by itself. Absent while it is worked on, and when there is nothing left to do.
    pub next_attempt_at: Option<DateTime<Utc>>,
    /// Someone asked to stop it.
    pub cancel_requested: bool,
    /// Made against a simulator.
    pub simulated: bool,
    /// Not before this time.
    pub scheduled_at: Option<DateTime<Utc>>,
    /// The post that this one retries.
    pub retry_of: Option<String>,
    /// Request that it came from, as in the log.
    pub request_id: String,
    /// When it was asked for.
    pub created_at: DateTime<Utc>,
    /// Last change.
    pub updated_at: DateTime<Utc>,
    /// When its outcome was settled.
    pub finished_at: Option<DateTime<Utc>>,
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
            remote_ref: post.remote_ref,
            remote_ids: post.publication.remote_ids,
            failure: post.failure.map(FailureBody::from),
            next_attempt_at: None,
            cancel_requested: post.cancel_requested,
            simulated: post.simulated,
            scheduled_at: post.scheduled_at,
            retry_of: post.retry_of.map(|id| id.to_string()),
            request_id: post.correlation_id,
            created_at: post.created_at,
            updated_at: post.updated_at,
            finished_at: post.finished_at,
        }
    }
}

/// A page of posts.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = OperatedPostList)]
pub struct PostList {
    /// Newest first.
    pub data: Vec<PostBody>,
    /// For the next page; absent at the end.
    pub next_cursor: Option<String>,
}

/// Which posts.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Wanted {
    /// Of this provider.
    pub provider: Option<String>,
    /// Of this account.
    pub account_id: Option<String>,
    /// In this state.
    pub status: Option<String>,
}

/// Lists a tenant's posts.
#[utoipa::path(get, path = "/api/operator/tenants/{tenant}/posts", operation_id = "list_posts", tag = "operator",
    params(("tenant" = String, Path, description = "Id of the tenant"), Wanted, Paging),
    responses(
        (status = 200, body = PostList),
        (status = 400, body = ProblemBody, content_type = "application/problem+json"),
        (status = 401, body = ProblemBody, content_type = "application/problem+json"),
        (status = 403, body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub async fn list(
    State(host): State<Host>,
    _: Operator,
    OfTenant(tenant): OfTenant,
    Query(wanted): Query<Wanted>,
    Query(paging): Query<Paging>,
) -> ApiResult<Json<PostList>> {
    let bound = format!("operator/{}/posts/{wanted:?}", tenant.id);
    let page = paging.request(&host, &bound)?;
    let account = wanted
        .account_id
        .as_deref()
        .map(|text| id::<AccountId>(text, "account"));
    let status = wanted.status.as_deref().map(str::parse).transpose();
    let filter = PostFilter {
        provider: wanted.provider.as_deref().map(provider).transpose()?,
        account: account.transpose()?,
        status: status.map_err(|_| {
            let known = PostStatus::ALL.map(PostStatus::as_str).join(", ");
            Problem::new(ProblemKind::BadRequest, format!("`status` is one of {known}."))
        })?,
        group: None,
    };
    let found = host.app.store.posts(tenant.id, &filter, page).await?;
    Ok(Json(PostList {
        next_cursor: next_cursor(&host, &bound, found.next),
        data: shown(&host, tenant.id, found.items).await?,
    }))
}

async fn shown(host: &Host, tenant: TenantId, posts: Vec<PostRecord>) -> Result<Vec<PostBody>, Problem> {
    let ids: Vec<_> = posts.iter().map(|post| post.id).collect();
    let steps: HashMap<_, _> = host.app.store.next_steps(tenant, &ids).await?.into_iter().collect();
    let shown = posts.into_iter().map(|post| PostBody {
        next_attempt_at: steps.get(&post.id).copied(),
        ..post.into()
    });
    Ok(shown.collect())
}

/// A post with all that is known of its way.
#[derive(Debug, Serialize, ToSchema)]
pub struct Timeline {
    /// The post.
    pub post: PostBody,
    /// What happened to it, the newest first; at most 100.
    pub events: Vec<events::EventBody>,
    /// Its irreversible calls, the oldest first.
    pub calls: Vec<journal::CommitBody>,
    /// What was observed of calls without an answer, the oldest first.
    pub observations: Vec<journal::ObservationBody>,
}

/// Shows a tenant's post with its timeline: events, irreversible calls, and what was observed of them.
#[utoipa::path(get, path = "/api/operator/tenants/{tenant}/posts/{id}", operation_id = "show_post", tag = "operator",
    params(("tenant" = String, Path, description = "Id of the tenant"), ("id" = String, Path, description = "Id of the post")),
    responses(
        (status = 200, body = Timeline),
        (status = 401, body = ProblemBody, content_type = "application/problem+json"),
        (status = 403, body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub async fn show(
    State(host): State<Host>,
    _: Operator,
    OfTenant(tenant): OfTenant,
    Item(post): Item,
) -> ApiResult<Json<Timeline>> {
    let post: PostId = id(&post, "post")?;
    let found = host.app.store.post(tenant.id, post).await?;
    let found = found.ok_or_else(|| Problem::not_found("post"))?;
    let of_post = EventFilter {
        post: Some(post),
        ..EventFilter::default()
    };
    let page = PageRequest {
        after: None,
        limit: 100,
    };
    let events = host.app.store.events(tenant.id, &of_post, page).await?;
    let journal = journal::read(&host, tenant.id, post).await?;
    let mut posts = shown(&host, tenant.id, vec![found]).await?;
    Ok(Json(Timeline {
        post: posts.remove(0),
        events: events.items.into_iter().map(events::EventBody::from).collect(),
        calls: journal.data,
        observations: journal.observations,
    }))
}
