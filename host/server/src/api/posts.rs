//! Publishing and following posts.

use std::collections::HashMap;

use axum::{
    Json,
    extract::{Query, State},
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode},
    response::{IntoResponse, Response},
};
use chrono::{DateTime, Utc};
use patchbay_app::{
    limits::LimitUse,
    model::{CommitOutcome, Failure, KeyScope, ObservationSource, PostRecord, PostStatus},
    problem::{Problem, ProblemKind},
    publish::{self, StoredTransfer, WantedMedia, WantedPost},
    store::PostFilter,
};
use patchbay_core::{AccountId, FieldIssue, PostId, PostKind, PostMode, ProviderId, TenantId, WhoActs};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{
    accounts::LimitBody,
    auth::Caller,
    extract::{Item, JsonBody, Named, Paging, id, next_cursor},
    problem::{ApiResult, ProblemBody},
    rate_limit::{self, Budget},
    request_id::RequestId,
};
use crate::host::Host;

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// A wanted post.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewPost {
    /// Account to post to.
    #[schema(example = "acc_0199f0a2b3c47d8e9f00112233445566")]
    pub account_id: String,
    /// `video`, `images` or `text`; see the provider's `kinds`.
    #[schema(value_type = String, example = "video")]
    pub kind: PostKind,
    /// `direct` publishes; `draft` delivers to the person's inbox, to be finished in the platform's app.
    #[serde(default)]
    #[schema(value_type = String, example = "direct", default = "direct")]
    pub mode: PostMode,
    /// Title, as the platform calls it.
    pub title: Option<String>,
    /// Text below or beside it.
    pub text: Option<String>,
    /// Files, in order.
    #[serde(default)]
    pub media: Vec<MediaItem>,
    /// The platform's own options; see `publish-options`.
    #[serde(default)]
    #[schema(value_type = Object)]
    pub options: serde_json::Map<String, serde_json::Value>,
    /// Not before this time (RFC 3339 with offset).
    pub scheduled_at: Option<DateTime<Utc>>,
}

/// One file: an uploaded one by `id`, or another one by `url`.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MediaItem {
    /// Id of an uploaded file.
    #[schema(example = "med_0199f0a2b3c47d8e9f00112233445566")]
    pub id: Option<String>,
    /// Public https URL that the platform fetches itself.
    pub url: Option<String>,
    /// How an uploaded file reaches the platform: `upload` sends its bytes; `pull` has the platform fetch it from this
    /// host, under a URL made for that attempt. Default: `upload` where the platform takes it. See `transfers` of the
    /// provider's kinds.
    #[schema(value_type = Option<String>, example = "upload")]
    pub transfer: Option<StoredTransfer>,
}

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
    /// `queued`, `publishing`, `inbox_delivered`, `published`, `failed`, `unconfirmed` or `cancelled`.
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
    #[schema(value_type = Object)]
    pub options: serde_json::Map<String, serde_json::Value>,
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
    /// When it was asked for.
    pub created_at: DateTime<Utc>,
    /// Last change.
    pub updated_at: DateTime<Utc>,
    /// When its outcome was settled.
    pub finished_at: Option<DateTime<Utc>>,
}

/// Bytes of a transfer.
#[derive(Debug, Serialize, ToSchema)]
pub struct ProgressBody {
    /// So far.
    pub done_bytes: u64,
    /// In all.
    pub total_bytes: u64,
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
    #[schema(value_type = super::problem::WhoActsBody)]
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
                .map(|bytes| ProgressBody {
                    done_bytes: bytes.done,
                    total_bytes: bytes.total,
                }),
            phase: checkpoint.map(|checkpoint| checkpoint.phase),
            kind: post.content.kind,
            mode: post.content.mode,
            title: post.content.title,
            text: post.content.text,
            options: post.content.options,
            remote_ref: post.remote_ref,
            remote_ids: post.publication.remote_ids,
            url: post.publication.url.map(Into::into),
            failure: post.failure.map(FailureBody::from),
            next_attempt_at: None,
            cancel_requested: post.cancel_requested,
            simulated: post.simulated,
            scheduled_at: post.scheduled_at,
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

impl PostAnswer {
    async fn of(host: &Host, post: PostRecord, limits: Vec<LimitUse>) -> Result<Self, Problem> {
        let steps = next_steps(host, post.tenant, &[&post]).await?;
        Ok(Self {
            post: shown(post, &steps),
            quotas: limits.into_iter().map(LimitBody::from).collect(),
        })
    }

    async fn now(host: &Host, post: PostRecord) -> Result<Self, Problem> {
        let limits = publish::limits_of(&host.app, &post).await?;
        Self::of(host, post, limits).await
    }
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

/// A page of posts.
#[derive(Debug, Serialize, ToSchema)]
pub struct PostList {
    /// Newest first.
    pub data: Vec<PostBody>,
    /// For the next page; absent at the end.
    pub next_cursor: Option<String>,
}

/// Publishes a post: checks it, stores it, and answers before anything irreversible happens.
#[utoipa::path(post, path = "/api/platforms/{provider}/posts", tag = "posts",
    params(
        ("provider" = String, Path, description = "Name of the provider"),
        ("Idempotency-Key" = Option<String>, Header, description =
            "Send the same key with a repeated request, and there is one post. 1 to 255 visible ASCII characters. \
             One is made and returned if you send none.")),
    request_body = NewPost,
    responses(
        (status = 202, body = PostAnswer, headers(
            ("Idempotency-Key" = String, description = "The key of this request"),
            ("Idempotency-Replayed" = bool, description = "true: this is the answer to an earlier request"),
            ("Location" = String, description = "Path of the post"))),
        (status = 400, body = ProblemBody, content_type = "application/problem+json"),
        (status = 401, body = ProblemBody, content_type = "application/problem+json"),
        (status = 403, body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, body = ProblemBody, content_type = "application/problem+json"),
        (status = 413, body = ProblemBody, content_type = "application/problem+json"),
        (status = 415, body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, body = ProblemBody, content_type = "application/problem+json"),
        (status = 502, body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub async fn create(
    State(host): State<Host>,
    caller: Caller,
    Named(registered): Named,
    axum::Extension(RequestId(request_id)): axum::Extension<RequestId>,
    headers: HeaderMap,
    JsonBody(wanted): JsonBody<NewPost>,
) -> ApiResult<Response> {
    caller.may(KeyScope::Publish)?;
    let key = idempotency_key(&host, &headers)?;
    let wanted = wanted.read()?;
    let submitted = publish::submit(
        &host.app,
        caller.tenant,
        Some(registered.id()),
        wanted,
        key.clone(),
        &request_id,
    )
    .await?;
    let location = format!("/api/platforms/{}/posts/{}", registered.id(), submitted.post.id);
    let now = host.app.env.now();
    let budgets: Vec<_> = submitted
        .limits
        .iter()
        .map(|limit| Budget::of_platform(limit, now))
        .collect();
    let body = PostAnswer::of(&host, submitted.post, submitted.limits).await?;
    let mut response = (StatusCode::ACCEPTED, Json(body)).into_response();
    rate_limit::tell(&budgets, response.headers_mut());
    let replayed = if submitted.replayed { "true" } else { "false" };
    for (name, value) in [
        ("idempotency-key", key.as_str()),
        ("idempotency-replayed", replayed),
        ("location", &location),
    ] {
        if let Ok(value) = HeaderValue::from_str(value) {
            response.headers_mut().insert(HeaderName::from_static(name), value);
        }
    }
    Ok(response)
}

/// Which posts.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Wanted {
    /// Of this account.
    pub account_id: Option<String>,
    /// In this state.
    pub status: Option<String>,
}

/// Lists posts.
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
    let bound = format!("{}/posts/{}/{wanted:?}", caller.tenant, registered.id());
    let page = paging.request(&host, &bound)?;
    let account = wanted
        .account_id
        .as_deref()
        .map(|text| id::<AccountId>(text, "account"))
        .transpose()?;
    let status = wanted.status.as_deref().map(str::parse::<PostStatus>).transpose();
    let status = status.map_err(|_| {
        let known: Vec<_> = PostStatus::ALL.iter().map(|status| status.as_str()).collect();
        Problem::new(
            ProblemKind::BadRequest,
            format!("`status` is one of {}.", known.join(", ")),
        )
    })?;
    let filter = PostFilter {
        provider: Some(registered.id().clone()),
        account,
        status,
    };
    let found = host.app.store.posts(caller.tenant, &filter, page).await?;
    let steps = next_steps(&host, caller.tenant, &found.items.iter().collect::<Vec<_>>()).await?;
    Ok(Json(PostList {
        data: found.items.into_iter().map(|post| shown(post, &steps)).collect(),
        next_cursor: next_cursor(&host, &bound, found.next),
    }))
}

/// Shows one post.
#[utoipa::path(get, path = "/api/platforms/{provider}/posts/{id}", tag = "posts",
    params(("provider" = String, Path, description = "Name of the provider"), ("id" = String, Path, description = "Id of the post")),
    responses(
        (status = 200, body = PostAnswer),
        (status = 401, body = ProblemBody, content_type = "application/problem+json"),
        (status = 403, body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub async fn show(
    State(host): State<Host>,
    caller: Caller,
    Named(registered): Named,
    Item(post): Item,
) -> ApiResult<Json<PostAnswer>> {
    caller.may(KeyScope::Read)?;
    let post = find(&host, &caller, registered.id(), &post).await?;
    Ok(Json(PostAnswer::now(&host, post).await?))
}

/// Stops a post: at once if it has not begun, else as far as the platform can.
#[utoipa::path(delete, path = "/api/platforms/{provider}/posts/{id}", tag = "posts",
    params(("provider" = String, Path, description = "Name of the provider"), ("id" = String, Path, description = "Id of the post")),
    responses(
        (status = 202, body = PostAnswer, description = "Cancelled, or asked for: follow its status"),
        (status = 401, body = ProblemBody, content_type = "application/problem+json"),
        (status = 403, body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub async fn cancel(
    State(host): State<Host>,
    caller: Caller,
    Named(registered): Named,
    Item(post): Item,
) -> ApiResult<(StatusCode, Json<PostAnswer>)> {
    caller.may(KeyScope::Publish)?;
    let post = find(&host, &caller, registered.id(), &post).await?;
    let post = publish::cancel(&host.app, caller.tenant, post.id).await?;
    Ok((StatusCode::ACCEPTED, Json(PostAnswer::now(&host, post).await?)))
}

/// Numbers of a published post, as the platform counts them.
#[derive(Debug, Serialize, ToSchema)]
pub struct MetricsList {
    /// One for each visible id that the platform knows.
    pub data: Vec<MetricsBody>,
}

/// Numbers of one visible post.
#[derive(Debug, Serialize, ToSchema)]
pub struct MetricsBody {
    /// The platform's id.
    pub remote_id: String,
    /// Page of the post.
    pub url: Option<String>,
    /// Counters by the platform's own names.
    #[schema(example = json!({"view_count": 10, "like_count": 1}))]
    pub counts: std::collections::BTreeMap<String, i64>,
    /// When it was made.
    pub created_at: Option<DateTime<Utc>>,
}

/// Asks the platform for the numbers of a published post.
#[utoipa::path(get, path = "/api/platforms/{provider}/posts/{id}/metrics", tag = "posts",
    params(("provider" = String, Path, description = "Name of the provider"), ("id" = String, Path, description = "Id of the post")),
    responses(
        (status = 200, body = MetricsList),
        (status = 401, body = ProblemBody, content_type = "application/problem+json"),
        (status = 403, body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, body = ProblemBody, content_type = "application/problem+json"),
        (status = 502, body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub async fn metrics(
    State(host): State<Host>,
    caller: Caller,
    Named(registered): Named,
    Item(post): Item,
) -> ApiResult<Json<MetricsList>> {
    caller.may(KeyScope::Read)?;
    let post = find(&host, &caller, registered.id(), &post).await?;
    let found = publish::metrics(&host.app, caller.tenant, post.id).await?;
    let data = found
        .into_iter()
        .map(|one| MetricsBody {
            remote_id: one.remote_id,
            url: one.url.map(Into::into),
            counts: one.counts,
            created_at: one.created_at,
        })
        .collect();
    Ok(Json(MetricsList { data }))
}

/// The irreversible calls of a post.
#[derive(Debug, Serialize, ToSchema)]
pub struct JournalList {
    /// Oldest first.
    pub data: Vec<CommitBody>,
    /// What was seen of calls whose answer is missing or says nothing, and the verdict on them. Oldest first.
    pub observations: Vec<ObservationBody>,
}

/// Something seen of a call whose outcome was unknown.
#[derive(Debug, Serialize, ToSchema)]
pub struct ObservationBody {
    /// Step of the call.
    pub step: i64,
    /// Who told: `platform` (it was asked), `webhook` (one named the attempt), `pull_url` (whether the platform fetched the
    /// media from this host) or `host` (nobody could be asked).
    #[schema(value_type = String, example = "platform")]
    pub source: ObservationSource,
    /// What that says of the call: `happened`, `did_not_happen` or `unknown`.
    #[schema(value_type = String, example = "happened")]
    pub outcome: CommitOutcome,
    /// The reason as a stable word, if there is one.
    pub code: Option<String>,
    /// When.
    pub observed_at: DateTime<Utc>,
}

/// One irreversible call.
#[derive(Debug, Serialize, ToSchema)]
pub struct CommitBody {
    /// Step of the post.
    pub step: i64,
    /// Name of the call.
    pub op: String,
    /// Written before the first byte left.
    pub about_to_at: DateTime<Utc>,
    /// When its answer was kept; absent: its outcome was not seen.
    pub answered_at: Option<DateTime<Utc>>,
    /// HTTP status of the answer.
    pub answer_status: Option<u16>,
}

/// Shows the journal of a post's irreversible calls: what was about to be sent, what was answered, and what was observed
/// of those without an answer. A call without an answer and without an observation is still an open question.
#[utoipa::path(get, path = "/api/platforms/{provider}/posts/{id}/journal", tag = "posts",
    params(("provider" = String, Path, description = "Name of the provider"), ("id" = String, Path, description = "Id of the post")),
    responses(
        (status = 200, body = JournalList),
        (status = 401, body = ProblemBody, content_type = "application/problem+json"),
        (status = 403, body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub async fn journal(
    State(host): State<Host>,
    caller: Caller,
    Named(registered): Named,
    Item(post): Item,
) -> ApiResult<Json<JournalList>> {
    caller.may(KeyScope::Read)?;
    let post = find(&host, &caller, registered.id(), &post).await?;
    let commits = host.app.store.commits(caller.tenant, post.id).await?;
    let data = commits
        .into_iter()
        .map(|commit| CommitBody {
            step: commit.step,
            op: commit.op,
            about_to_at: commit.about_to_at,
            answered_at: commit.answered_at,
            answer_status: commit.answer_status,
        })
        .collect();
    let observed = host.app.store.observations(caller.tenant, post.id).await?;
    let observations = observed
        .into_iter()
        .map(|seen| ObservationBody {
            step: seen.step,
            source: seen.source,
            outcome: seen.outcome,
            code: seen.code,
            observed_at: seen.observed_at,
        })
        .collect();
    Ok(Json(JournalList { data, observations }))
}

async fn find(host: &Host, caller: &Caller, provider: &ProviderId, text: &str) -> Result<PostRecord, Problem> {
    let id: PostId = id(text, "post")?;
    let post = host
        .app
        .store
        .post(caller.tenant, id)
        .await?
        .filter(|post| post.provider == *provider);
    post.ok_or_else(|| Problem::not_found("post"))
}

/// The request's key, or a new one.
pub fn idempotency_key(host: &Host, headers: &HeaderMap) -> Result<String, Problem> {
    let Some(value) = headers.get(IDEMPOTENCY_KEY) else {
        return Ok(format!("auto-{}", host.app.env.ids.next().simple()));
    };
    let text = value.to_str().unwrap_or_default();
    if (1..=255).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic()) {
        return Ok(text.to_owned());
    }
    Err(Problem::new(
        ProblemKind::BadRequest,
        "An Idempotency-Key has 1 to 255 visible ASCII characters.",
    ))
}

impl NewPost {
    fn read(self) -> Result<WantedPost, Problem> {
        let account = id(&self.account_id, "account")?;
        let mut issues = Vec::new();
        let mut media = Vec::new();
        for (index, item) in self.media.into_iter().enumerate() {
            match (item.id, item.url) {
                (Some(text), None) => match text.parse() {
                    Ok(id) => media.push(WantedMedia::Stored(id, item.transfer)),
                    Err(_) => issues.push(FieldIssue::new(
                        format!("/media/{index}/id"),
                        "unknown_media",
                        "No such file. Upload it first.",
                    )),
                },
                (None, Some(url)) if item.transfer.is_none() => media.push(WantedMedia::Url(url)),
                (None, Some(_)) => issues.push(FieldIssue::new(
                    format!("/media/{index}/transfer"),
                    "transfer",
                    "A `url` is always fetched by the platform. Leave `transfer` out.",
                )),
                _ => issues.push(FieldIssue::new(
                    format!("/media/{index}"),
                    "media",
                    "Give either `id` or `url`.",
                )),
            }
        }
        if !issues.is_empty() {
            return Err(Problem::invalid(issues));
        }
        Ok(WantedPost {
            account,
            kind: self.kind,
            mode: self.mode,
            title: self.title,
            text: self.text,
            media,
            options: self.options,
            scheduled_at: self.scheduled_at,
        })
    }
}
