//! Numbers of published posts: as they were read on schedule, and live.

use axum::{
    Json,
    extract::{Path, Query, State},
};
use chrono::{DateTime, Utc};
use patchbay_app::{
    metrics::{self, Known},
    model::{Counts, KeyScope, MetricWatch, PastReading, schedule},
    problem::Problem,
    publish,
    store::PageRequest,
};
use patchbay_core::{Count, Metric, NoMetric, PostId, TenantId};
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    super::{
        auth::Caller,
        extract::{Item, Named, Paging, id, next_cursor},
        problem::{ApiResult, ProblemBody},
    },
    find,
};
use crate::host::Host;

/// Numbers of a post, as they were read on schedule.
#[derive(Debug, Serialize, ToSchema)]
pub struct PostMetricsBody {
    /// The post.
    pub post_id: String,
    /// Every metric that Patchbay knows, each with its last value or a reason.
    pub metrics: Vec<MetricBody>,
    /// When the values were told; absent: none has been.
    pub read_at: Option<DateTime<Utc>>,
    /// When it is read.
    pub schedule: ScheduleBody,
    /// Readings of the past that brought values, newest first.
    pub history: Vec<ReadingBody>,
    /// Where the next page of the history starts; absent at the end.
    pub next_cursor: Option<String>,
}

/// One number of a post.
#[derive(Debug, Serialize, ToSchema)]
pub struct MetricBody {
    /// What is counted: `views`, `likes`, `comments` (replies too), `shares` (by the platform's share button), `reposts` (shown
    /// again as it is) or `quotes` (shown again with words).
    #[schema(value_type = String, example = "views")]
    pub name: Metric,
    /// As the platform told it last.
    #[schema(example = 1024)]
    pub value: Option<u64>,
    /// Why there is no value, or why it could not be read anew. `not_given`: the platform gives none for this kind of post.
    /// `not_yet`: none has been read so far. `missing_scope`: the account has not granted it, so the platform is not asked.
    /// `reconnect_required`: the account must be connected again. `not_available`: the platform does not show the post: it is
    /// a draft, private or deleted there, or came to nothing. `refused`: the platform refused to tell, and is asked again.
    #[schema(value_type = Option<String>, example = "not_given")]
    pub reason: Option<NoMetric>,
}

impl From<Known> for MetricBody {
    fn from(known: Known) -> Self {
        Self {
            name: known.metric,
            value: known.value,
            reason: known.reason,
        }
    }
}

/// When a post is read.
#[derive(Debug, Serialize, ToSchema)]
pub struct ScheduleBody {
    /// When it is read next. Absent: no more, or not yet.
    pub next_reading_at: Option<DateTime<Utc>>,
    /// Why the pause is longer than planned: `unchanged`, since readings tell nothing new. Absent: it is as planned.
    #[schema(example = "unchanged")]
    pub slowed: Option<&'static str>,
    /// Readings in a row that told nothing new.
    pub unchanged_readings: u32,
}

impl ScheduleBody {
    fn of(watch: Option<&MetricWatch>) -> Self {
        let unchanged_readings = watch.map_or(0, |watch| watch.unchanged);
        let next_reading_at = watch.and_then(|watch| watch.next_at);
        Self {
            slowed: (next_reading_at.is_some() && unchanged_readings >= schedule::FLAT).then_some("unchanged"),
            next_reading_at,
            unchanged_readings,
        }
    }
}

/// A reading of the past.
#[derive(Debug, Serialize, ToSchema)]
pub struct ReadingBody {
    /// When.
    pub read_at: DateTime<Utc>,
    /// Values by name. What the platform did not tell stands as it was before.
    #[schema(value_type = std::collections::BTreeMap<String, u64>, example = json!({ "views": 1000, "likes": 12 }))]
    pub values: Counts,
}

impl From<PastReading> for ReadingBody {
    fn from(past: PastReading) -> Self {
        Self {
            read_at: past.read_at,
            values: past.counts,
        }
    }
}

/// Shows the numbers of a post, as they were read on schedule, with their history. A post is read 15 minutes, 1, 3, 6 and 12
/// hours after its public id became known, then daily until the 30th day, then weekly until the 90th. After three readings in a
/// row that tell nothing new every second reading is left out, after six only every fourth is taken, after nine every eighth;
/// with the first news it is as planned again. Posts of an account are read together, within the platform's rate limits. History
/// stays as long as the operator has set (`workers.keep_metrics_days`, 400 by default).
#[utoipa::path(get, path = "/api/posts/{id}/metrics", tag = "posts", operation_id = "metrics_history",
    params(("id" = String, Path, description = "Id of the post"), Paging),
    responses(
        (status = 200, body = PostMetricsBody),
        (status = 400, body = ProblemBody, content_type = "application/problem+json"),
        (status = 401, body = ProblemBody, content_type = "application/problem+json"),
        (status = 403, body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub async fn metrics_history(
    State(host): State<Host>,
    caller: Caller,
    Path(post): Path<String>,
    Query(paging): Query<Paging>,
) -> ApiResult<Json<PostMetricsBody>> {
    caller.may(KeyScope::Read)?;
    let (tenant, id) = (caller.tenant, id::<PostId>(&post, "post")?);
    let bound = format!("{tenant}/posts/{id}/metrics");
    let page = paging.request(&host, &bound)?;
    let store = &host.app.store;
    let post = store
        .post(tenant, id)
        .await?
        .ok_or_else(|| Problem::not_found("post"))?;
    let watch = store.metric_watch(tenant, id).await?;
    let found = store.metric_history(tenant, id, page).await?;
    Ok(Json(PostMetricsBody {
        post_id: id.to_string(),
        metrics: metrics::known(&host.app, &post, watch.as_ref())
            .into_iter()
            .map(MetricBody::from)
            .collect(),
        read_at: watch.as_ref().and_then(|watch| watch.read_at),
        schedule: ScheduleBody::of(watch.as_ref()),
        history: found.items.into_iter().map(ReadingBody::from).collect(),
        next_cursor: next_cursor(&host, &bound, found.next),
    }))
}

/// The numbers of a post with its whole history, for an export.
///
/// # Errors
/// The store failed.
pub async fn export(host: &Host, tenant: TenantId, post: PostId) -> Result<Option<MetricsExport>, Problem> {
    let store = &host.app.store;
    let Some(watch) = store.metric_watch(tenant, post).await? else {
        return Ok(None);
    };
    // The schedule has fewer readings than a page has room.
    let all = PageRequest {
        after: None,
        limit: 100,
    };
    let history = store.metric_history(tenant, post, all).await?;
    Ok(Some(MetricsExport {
        read_at: watch.read_at,
        values: watch.counts,
        history: history.items.into_iter().map(ReadingBody::from).collect(),
    }))
}

/// The numbers of a post in an export.
#[derive(Debug, Serialize)]
pub struct MetricsExport {
    read_at: Option<DateTime<Utc>>,
    values: Counts,
    history: Vec<ReadingBody>,
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
    /// What the platform told, by the names of `GET /api/posts/{id}/metrics`.
    #[schema(value_type = std::collections::BTreeMap<String, u64>, example = json!({"views": 10, "likes": 1}))]
    pub counts: Counts,
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
    let told = |(metric, count)| match count {
        Count::Of(count) => Some((metric, count)),
        Count::Missing(_) => None,
    };
    let data = found
        .into_iter()
        .map(|one| MetricsBody {
            remote_id: one.remote_id,
            url: one.url.map(Into::into),
            counts: one.counts.into_iter().filter_map(told).collect(),
            created_at: one.created_at,
        })
        .collect();
    Ok(Json(MetricsList { data }))
}
