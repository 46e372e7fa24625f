//! The irreversible calls of a post, and what was observed of them.

use axum::{Json, extract::State};
use chrono::{DateTime, Utc};
use patchbay_app::{
    model::{CommitOutcome, KeyScope, ObservationSource},
    problem::Problem,
};
use patchbay_core::{PostId, TenantId};
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    super::{
        auth::Caller,
        extract::{Item, Named},
        problem::{ApiResult, ProblemBody},
    },
    find,
};
use crate::host::Host;

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
    Ok(Json(read(&host, caller.tenant, post.id).await?))
}

/// The journal of a post.
///
/// # Errors
/// The store failed.
pub async fn read(host: &Host, tenant: TenantId, post: PostId) -> Result<JournalList, Problem> {
    let commits = host.app.store.commits(tenant, post).await?;
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
    let observed = host.app.store.observations(tenant, post).await?;
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
    Ok(JournalList { data, observations })
}
