//! Publishing and following posts.

mod body;
pub mod change;
pub mod create;
pub mod journal;
mod local_time;
pub mod metrics;
pub mod updates;
mod version;
mod wanted;

use std::collections::HashMap;

use axum::{
    Json,
    extract::{Query, State},
    response::{IntoResponse, Response},
};
use chrono::{DateTime, Utc};
use patchbay_app::{
    limits::LimitUse,
    model::{KeyScope, PostRecord, PostStatus},
    problem::{Problem, ProblemKind},
    publish,
    store::PostFilter,
};
use patchbay_core::{AccountId, GroupId, PostId, ProviderId, TenantId};
use serde::Deserialize;
use utoipa::IntoParams;

pub use body::{FailureBody, ProgressBody};
use body::{PostAnswer, PostBody, PostList};

use super::{
    accounts::LimitBody,
    auth::Caller,
    extract::{Item, Named, Paging, id, next_cursor},
    problem::{ApiResult, ProblemBody},
};
use crate::host::Host;

/// Which posts.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Wanted {
    /// Of this account.
    pub account_id: Option<String>,
    /// In this state.
    pub status: Option<String>,
    /// Asked for together.
    pub group_id: Option<String>,
}

impl Wanted {
    fn read(&self, provider: Option<ProviderId>) -> Result<PostFilter, Problem> {
        let account = self.account_id.as_deref().map(|text| id::<AccountId>(text, "account"));
        let group = self.group_id.as_deref().map(|text| id::<GroupId>(text, "group"));
        let status = self.status.as_deref().map(str::parse::<PostStatus>).transpose();
        let status = status.map_err(|_| {
            let known: Vec<_> = PostStatus::ALL.iter().map(|status| status.as_str()).collect();
            Problem::new(
                ProblemKind::BadRequest,
                format!("`status` is one of {}.", known.join(", ")),
            )
        })?;
        Ok(PostFilter {
            provider,
            account: account.transpose()?,
            status,
            group: group.transpose()?,
        })
    }
}

async fn page_of(
    host: &Host,
    caller: &Caller,
    provider: Option<ProviderId>,
    wanted: &Wanted,
    paging: &Paging,
) -> Result<PostList, Problem> {
    let place = provider.as_ref().map_or("", ProviderId::as_str);
    let bound = format!("{}/posts/{place}/{wanted:?}", caller.tenant);
    let page = paging.request(host, &bound)?;
    let filter = wanted.read(provider)?;
    let found = host.app.store.posts(caller.tenant, &filter, page).await?;
    Ok(PostList {
        next_cursor: next_cursor(host, &bound, found.next),
        data: show_all(host, caller.tenant, found.items).await?,
    })
}

/// Lists the posts of all platforms.
#[utoipa::path(get, path = "/api/posts", tag = "posts",
    params(Wanted, Paging),
    responses(
        (status = 200, body = PostList),
        (status = 400, body = ProblemBody, content_type = "application/problem+json"),
        (status = 401, body = ProblemBody, content_type = "application/problem+json"),
        (status = 403, body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub async fn list_all(
    State(host): State<Host>,
    caller: Caller,
    Query(wanted): Query<Wanted>,
    Query(paging): Query<Paging>,
) -> ApiResult<Json<PostList>> {
    caller.may(KeyScope::Read)?;
    Ok(Json(page_of(&host, &caller, None, &wanted, &paging).await?))
}

/// Lists the posts of one platform.
#[utoipa::path(get, path = "/api/platforms/{provider}/posts", tag = "posts",
    params(("provider" = String, Path, description = "Name of the provider"), Wanted, Paging),
    responses(
        (status = 200, body = PostList),
        (status = 400, body = ProblemBody, content_type = "application/problem+json"),
        (status = 401, body = ProblemBody, content_type = "application/problem+json"),
        (status = 403, body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub async fn list(
    State(host): State<Host>,
    caller: Caller,
    Named(registered): Named,
    Query(wanted): Query<Wanted>,
    Query(paging): Query<Paging>,
) -> ApiResult<Json<PostList>> {
    caller.may(KeyScope::Read)?;
    let provider = Some(registered.id().clone());
    Ok(Json(page_of(&host, &caller, provider, &wanted, &paging).await?))
}

/// Shows one post.
#[utoipa::path(get, path = "/api/platforms/{provider}/posts/{id}", tag = "posts",
    params(("provider" = String, Path, description = "Name of the provider"), ("id" = String, Path, description = "Id of the post")),
    responses(
        (status = 200, body = PostAnswer, headers(("ETag" = String, description = "Version of the post, for `If-Match`"))),
        (status = 401, body = ProblemBody, content_type = "application/problem+json"),
        (status = 403, body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub async fn show(
    State(host): State<Host>,
    caller: Caller,
    Named(registered): Named,
    Item(post): Item,
) -> ApiResult<Versioned> {
    caller.may(KeyScope::Read)?;
    let post = find(&host, &caller, registered.id(), &post).await?;
    Versioned::now(&host, post).await
}

pub(super) async fn find(
    host: &Host,
    caller: &Caller,
    provider: &ProviderId,
    text: &str,
) -> Result<PostRecord, Problem> {
    let id: PostId = id(text, "post")?;
    let post = host
        .app
        .store
        .post(caller.tenant, id)
        .await?
        .filter(|post| post.provider == *provider);
    post.ok_or_else(|| Problem::not_found("post"))
}

/// A post as an answer, with its version.
pub struct Versioned(PostRecord, PostAnswer);

impl Versioned {
    async fn now(host: &Host, post: PostRecord) -> ApiResult<Self> {
        let limits = publish::limits_of(&host.app, &post).await?;
        let body = answer(host, post.clone(), limits).await?;
        Ok(Self(post, body))
    }
}

impl IntoResponse for Versioned {
    fn into_response(self) -> Response {
        let Self(post, body) = self;
        let mut response = Json(body).into_response();
        version::tell(&post, response.headers_mut());
        response
    }
}

async fn answer(host: &Host, post: PostRecord, limits: Vec<LimitUse>) -> Result<PostAnswer, Problem> {
    let steps = next_steps(host, post.tenant, &[&post]).await?;
    Ok(PostAnswer {
        post: shown(post, &steps),
        quotas: limits.into_iter().map(LimitBody::from).collect(),
    })
}

pub(super) async fn show_all(host: &Host, tenant: TenantId, posts: Vec<PostRecord>) -> Result<Vec<PostBody>, Problem> {
    let steps = next_steps(host, tenant, &posts.iter().collect::<Vec<_>>()).await?;
    Ok(posts.into_iter().map(|post| shown(post, &steps)).collect())
}

type NextSteps = HashMap<PostId, DateTime<Utc>>;

async fn next_steps(host: &Host, tenant: TenantId, posts: &[&PostRecord]) -> Result<NextSteps, Problem> {
    let ids: Vec<_> = posts.iter().map(|post| post.id).collect();
    Ok(host.app.store.next_steps(tenant, &ids).await?.into_iter().collect())
}

fn shown(post: PostRecord, steps: &NextSteps) -> PostBody {
    PostBody {
        next_attempt_at: steps.get(&post.id).copied(),
        ..post.into()
    }
}
