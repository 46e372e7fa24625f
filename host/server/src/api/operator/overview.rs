//! The whole installation in numbers: now, and over time.

use std::time::Duration;

use axum::{
    Json,
    extract::{Query, State},
};
use chrono::{DateTime, Utc};
use patchbay_app::{
    operations::{self, Bucket, Overview, Period},
    problem::{Problem, ProblemKind},
    store::{OutcomeCounts, Scope},
};
use patchbay_core::ProviderId;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{
    super::{
        problem::{ApiResult, ProblemBody},
        tenants,
    },
    Operator, provider,
};
use crate::host::Host;

/// What is counted. Without any field: all.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Wanted {
    /// Of this tenant.
    pub tenant: Option<String>,
    /// Of this provider. Work, deliveries and webhooks are counted whatever it is.
    pub provider: Option<String>,
}

impl Wanted {
    async fn scope(&self, host: &Host) -> Result<Scope, Problem> {
        let mut scope = Scope::default();
        if let Some(tenant) = &self.tenant {
            scope.tenant = Some(tenants::named(host, tenant).await?.id);
        }
        scope.provider = self.provider.as_deref().map(provider).transpose()?;
        Ok(scope)
    }
}

/// The installation in numbers. What there is now is counted up to `counted_up_to`.
#[derive(Debug, Serialize, ToSchema)]
pub struct OverviewBody {
    /// When it was counted.
    pub at: DateTime<Utc>,
    /// Version of the host.
    pub version: &'static str,
    /// Kind of database: `sqlite` or `postgres`.
    #[schema(example = "postgres")]
    pub database: &'static str,
    /// Numbers of what there is now go no higher: 10,000 is 10,000 or more.
    pub counted_up_to: u32,
    /// Providers of this host.
    pub providers: Vec<ProviderBody>,
    /// Accounts by state.
    pub accounts: AccountNumbers,
    /// Posts.
    pub posts: PostNumbers,
    /// Work by kind, of all tenants.
    pub work: Vec<WorkNumbers>,
    /// Deliveries.
    pub deliveries: DeliveryNumbers,
}

/// A provider, as its operator needs to know it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = OperatedProvider)]
pub struct ProviderBody {
    /// Id.
    pub id: String,
    /// Name for people.
    pub display_name: String,
    /// Calls go to a simulator: nothing reaches the real platform.
    pub simulated: bool,
    /// Where its simulator is controlled, if that runs in this process. For browsers of this machine.
    pub simulator_page: Option<String>,
}

/// Accounts by state.
#[derive(Debug, Serialize, ToSchema)]
pub struct AccountNumbers {
    /// Not yet accepted by their tenant.
    pub pending: u64,
    /// Usable.
    pub active: u64,
    /// To be connected again by their owner.
    pub reauth_required: u64,
    /// Disconnected.
    pub revoked: u64,
}

/// Posts in numbers.
#[derive(Debug, Serialize, ToSchema)]
pub struct PostNumbers {
    /// Without an outcome.
    pub open: u64,
    /// Those of them that wait for a place of a platform's limits. Counted whatever the provider.
    pub waiting_for_quota: u64,
    /// What became of those that ended within 24 hours.
    pub last_day: Outcomes,
}

/// What became of posts.
#[derive(Debug, Serialize, ToSchema)]
pub struct Outcomes {
    /// Visible.
    pub published: u64,
    /// In the inbox of their account's owner.
    pub inbox_delivered: u64,
    /// Refused or given up.
    pub failed: u64,
    /// Of unknown outcome.
    pub unconfirmed: u64,
    /// Stopped on request.
    pub cancelled: u64,
    /// There were too many to read: the numbers are those of a part.
    pub sampled: bool,
}

impl From<OutcomeCounts> for Outcomes {
    fn from(counts: OutcomeCounts) -> Self {
        Self {
            published: counts.published,
            inbox_delivered: counts.delivered,
            failed: counts.failed,
            unconfirmed: counts.unconfirmed,
            cancelled: counts.cancelled,
            sampled: counts.read >= u64::from(operations::READ),
        }
    }
}

/// Work of a kind.
#[derive(Debug, Serialize, ToSchema)]
pub struct WorkNumbers {
    /// `publish`, `refresh`, `ingest`, `revoke`, `deliver`, `erase` or `metrics`.
    #[schema(example = "publish")]
    pub kind: String,
    /// Due now.
    pub due: u64,
    /// Due later.
    pub later: u64,
    /// Being done.
    pub running: u64,
    /// Their worker was not heard of in time: another one takes them over.
    pub stalled: u64,
    /// Given up: dead letters. Of the wanted tenant, where one is wanted.
    pub dead: u64,
    /// Age in seconds of the oldest that is due; absent: none is.
    pub lag_seconds: Option<f64>,
}

/// Deliveries to webhook endpoints.
#[derive(Debug, Serialize, ToSchema)]
pub struct DeliveryNumbers {
    /// On their way.
    pub pending: u64,
    /// Taken within 24 hours.
    pub delivered_last_day: u64,
    /// Given up within 24 hours.
    pub failed_last_day: u64,
    /// Held within 24 hours, since their endpoint is disabled.
    pub held_last_day: u64,
}

/// Tells how much of everything there is.
#[utoipa::path(get, path = "/api/operator/overview", tag = "operator", params(Wanted), responses(
    (status = 200, body = OverviewBody),
    (status = 400, body = ProblemBody, content_type = "application/problem+json"),
    (status = 401, body = ProblemBody, content_type = "application/problem+json"),
    (status = 403, body = ProblemBody, content_type = "application/problem+json"),
    (status = 404, body = ProblemBody, content_type = "application/problem+json"),
))]
pub async fn overview(
    State(host): State<Host>,
    _: Operator,
    Query(wanted): Query<Wanted>,
) -> ApiResult<Json<OverviewBody>> {
    let scope = wanted.scope(&host).await?;
    let found = operations::overview(&host.app, &scope).await?;
    Ok(Json(shown(&host, found)))
}

fn shown(host: &Host, found: Overview) -> OverviewBody {
    let page_of = |id: &ProviderId| {
        let page = host.simulator_pages.iter().find(|(simulated, _)| simulated == id);
        page.map(|(_, url)| url.to_string())
    };
    let providers = host.app.registry.all().into_iter().map(|registered| ProviderBody {
        id: registered.id().to_string(),
        display_name: registered.manifest().display_name.to_owned(),
        simulated: registered.simulated,
        simulator_page: page_of(registered.id()),
    });
    let work = found.work.into_iter().map(|(kind, counts)| WorkNumbers {
        kind: kind.as_str().to_owned(),
        due: counts.due,
        later: counts.later,
        running: counts.running,
        stalled: counts.stalled,
        dead: found
            .dead
            .iter()
            .find(|(of, _)| *of == kind)
            .map_or(0, |(_, count)| *count),
        lag_seconds: counts.lag.as_ref().map(Duration::as_secs_f64),
    });
    OverviewBody {
        at: found.at,
        version: env!("CARGO_PKG_VERSION"),
        database: host.app.store.backend(),
        counted_up_to: operations::COUNTED,
        providers: providers.collect(),
        accounts: AccountNumbers {
            pending: found.accounts.pending,
            active: found.accounts.active,
            reauth_required: found.accounts.reauth_required,
            revoked: found.accounts.revoked,
        },
        posts: PostNumbers {
            open: found.open_posts,
            waiting_for_quota: found.waiting_posts,
            last_day: found.outcomes.into(),
        },
        work: work.collect(),
        deliveries: DeliveryNumbers {
            pending: found.deliveries.pending,
            delivered_last_day: found.deliveries.delivered,
            failed_last_day: found.deliveries.failed,
            held_last_day: found.deliveries.held,
        },
    }
}

/// How far back.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Back {
    /// `day`: 24 hours; `week`: 28 times six hours; `month`: 30 days.
    #[param(inline, value_type = Option<PeriodBody>)]
    pub period: Option<String>,
}

/// How far back a series goes.
#[derive(ToSchema)]
#[schema(as = Period)]
#[allow(non_camel_case_types, reason = "the names are the JSON values")]
pub enum PeriodBody {
    /// 24 hours.
    day,
    /// 28 times six hours.
    week,
    /// 30 days.
    month,
}

/// How it went over time.
#[derive(Debug, Serialize, ToSchema)]
pub struct SeriesBody {
    /// Length of a bucket.
    pub bucket_seconds: i64,
    /// The oldest first. They begin at whole hours and days of UTC; the last one is not over yet.
    pub data: Vec<BucketBody>,
}

/// What happened in one bucket of time.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = SeriesBucket)]
pub struct BucketBody {
    /// Its beginning.
    pub from: DateTime<Utc>,
    /// What became of the posts that ended in it.
    pub posts: Outcomes,
    /// Webhooks: how long it took from their receipt until they were applied.
    pub webhooks: WebhookTimes,
    /// Accounts that lost their access.
    pub refresh: LostAccess,
}

/// How long webhooks took, among the last jobs of a bucket.
#[derive(Debug, Serialize, ToSchema)]
pub struct WebhookTimes {
    /// Webhooks that were looked at.
    pub count: u64,
    /// Seconds at the median; absent: there were none.
    pub p50_seconds: Option<f64>,
    /// Seconds that 95 of 100 kept.
    pub p95_seconds: Option<f64>,
}

/// Accounts that lost their access.
#[derive(Debug, Serialize, ToSchema)]
pub struct LostAccess {
    /// The platform has ended it: their owner must connect again.
    pub reauth_required: u64,
    /// The renewal was given up: a dead letter.
    pub given_up: u64,
}

impl From<Bucket> for BucketBody {
    fn from(bucket: Bucket) -> Self {
        Self {
            from: bucket.from,
            posts: bucket.outcomes.into(),
            webhooks: WebhookTimes {
                count: bucket.webhooks,
                p50_seconds: bucket.webhook_p50.as_ref().map(Duration::as_secs_f64),
                p95_seconds: bucket.webhook_p95.as_ref().map(Duration::as_secs_f64),
            },
            refresh: LostAccess {
                reauth_required: bucket.refresh.reauth_required,
                given_up: bucket.refresh.given_up,
            },
        }
    }
}

/// Tells how publishing, webhooks and renewals went over time, from the rows of that work. What housekeeping has deleted is
/// not in it.
#[utoipa::path(get, path = "/api/operator/series", tag = "operator", params(Back, Wanted), responses(
    (status = 200, body = SeriesBody),
    (status = 400, body = ProblemBody, content_type = "application/problem+json"),
    (status = 401, body = ProblemBody, content_type = "application/problem+json"),
    (status = 403, body = ProblemBody, content_type = "application/problem+json"),
    (status = 404, body = ProblemBody, content_type = "application/problem+json"),
))]
pub async fn series(
    State(host): State<Host>,
    _: Operator,
    Query(back): Query<Back>,
    Query(wanted): Query<Wanted>,
) -> ApiResult<Json<SeriesBody>> {
    let named = back.period.as_deref().unwrap_or("day");
    let period = Period::ALL.iter().find(|(name, _)| *name == named);
    let (_, period) =
        period.ok_or_else(|| Problem::new(ProblemKind::BadRequest, "`period` is `day`, `week` or `month`."))?;
    let scope = wanted.scope(&host).await?;
    let found = operations::series(&host.app, &scope, *period).await?;
    Ok(Json(SeriesBody {
        bucket_seconds: period.buckets().0.num_seconds(),
        data: found.into_iter().map(BucketBody::from).collect(),
    }))
}
