//! What became of posts, in numbers.

use std::collections::BTreeMap;

use axum::{
    Json,
    extract::{Query, State},
};
use chrono::{DateTime, TimeDelta, Utc};
use patchbay_app::{
    limits,
    model::KeyScope,
    problem::Problem,
    statistics::{self, Statistics, Sums},
};
use patchbay_core::{AccountId, FieldIssue, TenantId};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{
    accounts::LimitBody,
    auth::Caller,
    extract::{Item, Named, id, window},
    problem::{ApiResult, ProblemBody},
};
use crate::host::Host;

/// Most parts of an answer: a month of hours.
const BUCKETS: i64 = 31 * 24;

/// Of which time.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Wanted {
    /// Posts that were asked for then or later; by default a week before `to`.
    pub from: Option<DateTime<Utc>>,
    /// Posts that were asked for before; by default now.
    pub to: Option<DateTime<Utc>>,
    /// Length of the parts: `day` (the default) or `hour`. An answer has at most 744 parts.
    #[param(inline, value_type = Option<BucketLength>)]
    pub bucket: Option<String>,
}

/// Length of a part.
#[derive(ToSchema)]
#[schema(as = BucketLength)]
#[allow(non_camel_case_types, dead_code, reason = "the names are the JSON values")]
pub enum BucketLength {
    /// 24 hours.
    day,
    /// An hour.
    hour,
}

/// What became of posts that were asked for in a stretch of time.
#[derive(Debug, Serialize, ToSchema)]
pub struct StatisticsBody {
    /// Posts that were asked for then or later,
    pub from: DateTime<Utc>,
    /// and before.
    pub to: DateTime<Utc>,
    /// All of them.
    #[serde(flatten)]
    pub all: SumsBody,
    /// Failed posts by the platform's code.
    #[schema(example = json!({ "spam_risk_too_many_posts": 2 }))]
    pub failures: BTreeMap<String, u64>,
    /// Seconds from when a post was due to when it was published: half of them took no longer. Absent: there is none.
    pub publish_p50_seconds: Option<f64>,
    /// And 95 of 100 took no longer.
    pub publish_p95_seconds: Option<f64>,
    /// The parts of the time in which there is a post, each as long as `bucket` says, counted from `from`.
    pub buckets: Vec<BucketBody>,
    /// There are more than 50,000 posts, and older ones were left out.
    pub truncated: bool,
}

/// Sums over posts.
#[derive(Debug, Serialize, ToSchema)]
pub struct SumsBody {
    /// How many are in each state now; one that is not here has none.
    #[schema(value_type = BTreeMap<String, u64>, example = json!({ "published": 41, "failed": 2 }))]
    pub by_status: BTreeMap<&'static str, u64>,
    /// Published posts and delivered drafts, of those and the failed and unconfirmed ones; from 0 to 1. Absent: none has ended.
    #[schema(example = 0.95, minimum = 0, maximum = 1)]
    pub success_rate: Option<f64>,
}

impl From<Sums> for SumsBody {
    fn from(sums: Sums) -> Self {
        Self {
            by_status: sums.by_status,
            success_rate: sums.success_rate,
        }
    }
}

/// Sums over the posts of a part of the time.
#[derive(Debug, Serialize, ToSchema)]
pub struct BucketBody {
    /// When it begins.
    pub from: DateTime<Utc>,
    /// Its sums.
    #[serde(flatten)]
    pub sums: SumsBody,
}

/// As for a tenant, and what limits leave to the account.
#[derive(Debug, Serialize, ToSchema)]
pub struct AccountStatisticsBody {
    /// What became of its posts.
    #[serde(flatten)]
    pub posts: StatisticsBody,
    /// What the platform's limits leave to it now.
    pub quotas: Vec<LimitBody>,
}

/// Shows what became of a tenant's posts.
#[utoipa::path(get, path = "/api/statistics", tag = "statistics", params(Wanted), responses(
    (status = 200, body = StatisticsBody),
    (status = 400, body = ProblemBody, content_type = "application/problem+json"),
    (status = 401, body = ProblemBody, content_type = "application/problem+json"),
    (status = 403, body = ProblemBody, content_type = "application/problem+json"),
    (status = 422, body = ProblemBody, content_type = "application/problem+json"),
))]
pub async fn of_tenant(
    State(host): State<Host>,
    caller: Caller,
    Query(wanted): Query<Wanted>,
) -> ApiResult<Json<StatisticsBody>> {
    caller.may(KeyScope::Read)?;
    Ok(Json(read(&host, caller.tenant, None, &wanted).await?))
}

/// Shows what became of an account's posts, and what limits leave to it now.
#[utoipa::path(get, path = "/api/platforms/{provider}/accounts/{id}/statistics", tag = "statistics",
    params(
        ("provider" = String, Path, description = "Name of the provider"),
        ("id" = String, Path, description = "Id of the account"),
        Wanted
    ),
    responses(
        (status = 200, body = AccountStatisticsBody),
        (status = 400, body = ProblemBody, content_type = "application/problem+json"),
        (status = 401, body = ProblemBody, content_type = "application/problem+json"),
        (status = 403, body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub async fn of_account(
    State(host): State<Host>,
    caller: Caller,
    Named(registered): Named,
    Item(account): Item,
    Query(wanted): Query<Wanted>,
) -> ApiResult<Json<AccountStatisticsBody>> {
    caller.may(KeyScope::Read)?;
    let account: AccountId = id(&account, "account")?;
    let found = host.app.store.account(caller.tenant, account).await?;
    if found.is_none_or(|account| account.provider != *registered.id()) {
        return Err(Problem::not_found("account").into());
    }
    let posts = read(&host, caller.tenant, Some(account), &wanted).await?;
    let quotas = limits::uses(&host.app, &registered, caller.tenant, account, None).await?;
    Ok(Json(AccountStatisticsBody {
        posts,
        quotas: quotas.into_iter().map(LimitBody::from).collect(),
    }))
}

async fn read(
    host: &Host,
    tenant: TenantId,
    account: Option<AccountId>,
    wanted: &Wanted,
) -> Result<StatisticsBody, Problem> {
    let refused = |pointer, message: &str| Problem::invalid(vec![FieldIssue::new(pointer, "window", message)]);
    let bucket = match wanted.bucket.as_deref() {
        None | Some("day") => TimeDelta::days(1),
        Some("hour") => TimeDelta::hours(1),
        Some(_) => return Err(refused("/bucket", "Use `day` or `hour`.")),
    };
    let (from, to) = window(wanted.from, wanted.to)?;
    let to = to.unwrap_or_else(|| host.app.env.now());
    let from = from.unwrap_or(to - TimeDelta::days(7));
    if from >= to || to - from > bucket * i32::try_from(BUCKETS).unwrap_or(i32::MAX) {
        let message = "`from` is before `to`, and at most 744 days, or hours, lie between them.";
        return Err(refused("/from", message));
    }
    let wanted = statistics::Wanted {
        tenant,
        account,
        from,
        to,
        bucket,
    };
    let Statistics {
        sums,
        failures,
        publish_p50_seconds,
        publish_p95_seconds,
        buckets,
        truncated,
    } = statistics::of_posts(&host.app, wanted).await?;
    Ok(StatisticsBody {
        from,
        to,
        all: sums.into(),
        failures,
        publish_p50_seconds,
        publish_p95_seconds,
        buckets: buckets
            .into_iter()
            .map(|part| BucketBody {
                from: part.from,
                sums: part.sums.into(),
            })
            .collect(),
        truncated,
    })
}
