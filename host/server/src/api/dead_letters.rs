//! Work that was given up: what it was, why, and how to run it again.

use axum::{
    Json,
    extract::{Query, State},
};
use chrono::{DateTime, Utc};
use patchbay_app::{
    model::{AuditAction, By, Job, JobKind, KeyScope, NewAudit},
    problem::{Problem, ProblemKind},
    store::DeadFilter,
};
use patchbay_core::{FieldIssue, JobId, TenantId};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::{IntoParams, ToSchema};

use super::{
    auth::Caller,
    extract::{Item, JsonBody, Paging, id, next_cursor, window},
    problem::{ApiResult, ProblemBody},
};
use crate::host::Host;

/// Dead letters that one request replays. They become due at once, so this is also what workers get at once.
pub const REPLAY_BATCH: u32 = 1_000;

/// A dead letter: a job that was given up.
#[derive(Debug, Serialize, ToSchema)]
pub struct DeadLetterBody {
    /// Id.
    #[schema(example = "job_0198c1d2e3f47a6b8c9d0e1f2a3b4c5d")]
    pub id: String,
    /// What was to be done.
    #[schema(value_type = KindBody, example = "ingest")]
    pub kind: String,
    /// Why it was given up. `quarantined`: three claims of it ended without a word from their worker.
    #[schema(example = "malformed_webhook")]
    pub code: Option<String>,
    /// How often it was tried.
    pub attempts: i32,
    /// Request that it came from, as in the log.
    pub request_id: String,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When it was given up.
    pub died_at: Option<DateTime<Utc>>,
}

/// Kind of work.
#[derive(ToSchema)]
#[schema(as = JobKind)]
#[allow(non_camel_case_types, reason = "the names are the JSON values")]
pub enum KindBody {
    /// A step of a post.
    publish,
    /// New tokens of an account.
    refresh,
    /// A received webhook, to be read.
    ingest,
    /// A disconnect, to be told to the platform.
    revoke,
    /// An event for an endpoint. Such work is never a dead letter: the endpoint's deliveries tell of it.
    deliver,
    /// Something to be erased.
    erase,
    /// A media file to be fetched. Such work is never a dead letter: the import tells of it.
    import,
    /// The numbers of an account's posts, to be read.
    metrics,
}

impl From<Job> for DeadLetterBody {
    fn from(job: Job) -> Self {
        Self {
            id: job.id.to_string(),
            kind: job.kind.as_str().to_owned(),
            code: job.last_error,
            attempts: job.attempts,
            request_id: job.correlation_id,
            created_at: job.created_at,
            died_at: job.finished_at,
        }
    }
}

/// A page of dead letters.
#[derive(Debug, Serialize, ToSchema)]
pub struct DeadLetterList {
    /// Those that died last come first.
    pub data: Vec<DeadLetterBody>,
    /// For the next page; absent at the end.
    pub next_cursor: Option<String>,
}

/// Which dead letters.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Wanted {
    /// Of this kind.
    #[param(value_type = Option<KindBody>)]
    pub kind: Option<String>,
    /// That died then or later.
    pub from: Option<DateTime<Utc>>,
    /// That died before.
    pub to: Option<DateTime<Utc>>,
}

/// Which dead letters to replay. Without any field: all.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "from": "2026-01-01T00:00:00Z", "to": "2026-01-02T00:00:00Z" }))]
pub struct ReplayBody {
    /// Of this kind.
    #[schema(value_type = Option<KindBody>)]
    pub kind: Option<String>,
    /// That died then or later.
    pub from: Option<DateTime<Utc>>,
    /// That died before.
    pub to: Option<DateTime<Utc>>,
}

/// What was replayed.
#[derive(Debug, Serialize, ToSchema)]
pub struct Replayed {
    /// How many are due again.
    pub replayed: u64,
    /// Whether there may be more: then ask again.
    pub more: bool,
}

/// Lists work that was given up.
#[utoipa::path(get, path = "/api/dead-letters", tag = "dead_letters", params(Wanted, Paging), responses(
    (status = 200, body = DeadLetterList),
    (status = 400, body = ProblemBody, content_type = "application/problem+json"),
    (status = 401, body = ProblemBody, content_type = "application/problem+json"),
    (status = 403, body = ProblemBody, content_type = "application/problem+json"),
    (status = 422, body = ProblemBody, content_type = "application/problem+json"),
))]
pub async fn list(
    State(host): State<Host>,
    caller: Caller,
    Query(wanted): Query<Wanted>,
    Query(paging): Query<Paging>,
) -> ApiResult<Json<DeadLetterList>> {
    caller.may(KeyScope::Read)?;
    Ok(Json(page_of(&host, caller.tenant, &wanted, &paging).await?))
}

/// Replays one dead letter: it is due at once, as if it were new. What took effect before has no second effect.
#[utoipa::path(post, path = "/api/dead-letters/{id}/replay", tag = "dead_letters",
    params(("id" = String, Path, description = "Id of the dead letter")),
    responses(
        (status = 200, body = Replayed),
        (status = 401, body = ProblemBody, content_type = "application/problem+json"),
        (status = 403, body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub async fn replay(State(host): State<Host>, caller: Caller, Item(item): Item) -> ApiResult<Json<Replayed>> {
    caller.may(KeyScope::Publish)?;
    Ok(Json(revive(&host, &caller.by, caller.tenant, &item).await?))
}

/// Replays the dead letters of a time, the oldest first, at most 1,000 at once.
#[utoipa::path(post, path = "/api/dead-letters/replay", tag = "dead_letters", request_body = ReplayBody, responses(
    (status = 200, body = Replayed),
    (status = 400, body = ProblemBody, content_type = "application/problem+json"),
    (status = 401, body = ProblemBody, content_type = "application/problem+json"),
    (status = 403, body = ProblemBody, content_type = "application/problem+json"),
    (status = 413, body = ProblemBody, content_type = "application/problem+json"),
    (status = 415, body = ProblemBody, content_type = "application/problem+json"),
    (status = 422, body = ProblemBody, content_type = "application/problem+json"),
))]
pub async fn replay_many(
    State(host): State<Host>,
    caller: Caller,
    JsonBody(wanted): JsonBody<ReplayBody>,
) -> ApiResult<Json<Replayed>> {
    caller.may(KeyScope::Publish)?;
    Ok(Json(revive_many(&host, &caller.by, caller.tenant, &wanted).await?))
}

/// A page of a tenant's dead letters.
pub(super) async fn page_of(
    host: &Host,
    tenant: TenantId,
    wanted: &Wanted,
    paging: &Paging,
) -> Result<DeadLetterList, Problem> {
    let bound = format!("{tenant}/dead-letters/{wanted:?}");
    let page = paging.request(host, &bound)?;
    let filter = filter(wanted.kind.as_deref(), wanted.from, wanted.to)?;
    let found = host.app.store.dead_jobs(tenant, filter, page).await?;
    Ok(DeadLetterList {
        data: found.items.into_iter().map(DeadLetterBody::from).collect(),
        next_cursor: next_cursor(host, &bound, found.next),
    })
}

/// Replays one of a tenant's dead letters.
pub(super) async fn revive(host: &Host, by: &By, tenant: TenantId, item: &str) -> Result<Replayed, Problem> {
    let job: JobId = id(item, "dead letter")?;
    let audit = replayed(host, by, tenant).to(&job);
    match host.app.store.revive_job(tenant, job, &audit).await? {
        None => Err(Problem::not_found("dead letter")),
        Some(false) => {
            let detail = "A newer job does the same. Wait for its end.";
            Err(Problem::new(ProblemKind::AlreadyRunning, detail))
        }
        Some(true) => Ok(Replayed {
            replayed: 1,
            more: false,
        }),
    }
}

/// Replays a tenant's dead letters of a time.
pub(super) async fn revive_many(
    host: &Host,
    by: &By,
    tenant: TenantId,
    wanted: &ReplayBody,
) -> Result<Replayed, Problem> {
    let filter = filter(wanted.kind.as_deref(), wanted.from, wanted.to)?;
    let audit = replayed(host, by, tenant).saying(json!({
        "kind": filter.kind.map(JobKind::as_str),
        "from": filter.from,
        "to": filter.to,
    }));
    let replayed = host.app.store.revive_jobs(tenant, filter, REPLAY_BATCH, &audit).await?;
    Ok(Replayed {
        replayed,
        more: replayed == u64::from(REPLAY_BATCH),
    })
}

fn replayed(host: &Host, by: &By, tenant: TenantId) -> NewAudit {
    by.did(&host.app.env, AuditAction::DeadLetterReplayed, tenant)
}

fn filter(kind: Option<&str>, from: Option<DateTime<Utc>>, to: Option<DateTime<Utc>>) -> Result<DeadFilter, Problem> {
    let (from, to) = window(from, to)?;
    let kind = kind.map(str::parse::<JobKind>).transpose().map_err(|_| {
        let known: Vec<_> = JobKind::ALL.iter().map(|kind| kind.as_str()).collect();
        let issue = FieldIssue::new("/kind", "unknown", format!("Use one of: {}.", known.join(", ")));
        Problem::invalid(vec![issue])
    })?;
    Ok(DeadFilter { kind, from, to })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_document_names_every_kind() {
        let document = serde_json::to_value(super::super::openapi()).unwrap();
        let named = &document["components"]["schemas"]["JobKind"]["enum"];
        assert_eq!(*named, serde_json::json!(JobKind::ALL.map(JobKind::as_str)));
    }
}
