//! A tenant's dead letters, for the operator: the same ones, and the same replays, as by the tenant's own key.

use axum::{
    Json,
    extract::{Query, State},
};

use super::{
    super::{
        dead_letters::{self, DeadLetterList, ReplayBody, Replayed, Wanted},
        extract::{Item, JsonBody, Paging},
        problem::{ApiResult, ProblemBody},
    },
    OfTenant, Operator,
};
use crate::host::Host;

/// Lists a tenant's work that was given up.
#[utoipa::path(get, path = "/api/operator/tenants/{tenant}/dead-letters", operation_id = "list_dead_letters",
    tag = "operator",
    params(("tenant" = String, Path, description = "Id of the tenant"), Wanted, Paging),
    responses(
        (status = 200, body = DeadLetterList),
        (status = 400, body = ProblemBody, content_type = "application/problem+json"),
        (status = 401, body = ProblemBody, content_type = "application/problem+json"),
        (status = 403, body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub async fn list(
    State(host): State<Host>,
    _: Operator,
    OfTenant(tenant): OfTenant,
    Query(wanted): Query<Wanted>,
    Query(paging): Query<Paging>,
) -> ApiResult<Json<DeadLetterList>> {
    Ok(Json(dead_letters::page_of(&host, tenant.id, &wanted, &paging).await?))
}

/// Replays one of a tenant's dead letters: it is due at once, as if it were new. What took effect before has no second effect.
#[utoipa::path(post, path = "/api/operator/tenants/{tenant}/dead-letters/{id}/replay",
    operation_id = "replay_dead_letter", tag = "operator",
    params(
        ("tenant" = String, Path, description = "Id of the tenant"),
        ("id" = String, Path, description = "Id of the dead letter")
    ),
    responses(
        (status = 200, body = Replayed),
        (status = 401, body = ProblemBody, content_type = "application/problem+json"),
        (status = 403, body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub async fn replay(
    State(host): State<Host>,
    operator: Operator,
    OfTenant(tenant): OfTenant,
    Item(item): Item,
) -> ApiResult<Json<Replayed>> {
    Ok(Json(dead_letters::revive(&host, &operator.by, tenant.id, &item).await?))
}

/// Replays a tenant's dead letters of a time, the oldest first, at most 1,000 at once.
#[utoipa::path(post, path = "/api/operator/tenants/{tenant}/dead-letters/replay",
    operation_id = "replay_dead_letters", tag = "operator", request_body = ReplayBody,
    params(("tenant" = String, Path, description = "Id of the tenant")),
    responses(
        (status = 200, body = Replayed),
        (status = 400, body = ProblemBody, content_type = "application/problem+json"),
        (status = 401, body = ProblemBody, content_type = "application/problem+json"),
        (status = 403, body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, body = ProblemBody, content_type = "application/problem+json"),
        (status = 413, body = ProblemBody, content_type = "application/problem+json"),
        (status = 415, body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub async fn replay_many(
    State(host): State<Host>,
    operator: Operator,
    OfTenant(tenant): OfTenant,
    JsonBody(wanted): JsonBody<ReplayBody>,
) -> ApiResult<Json<Replayed>> {
    Ok(Json(
        dead_letters::revive_many(&host, &operator.by, tenant.id, &wanted).await?,
    ))
}
