//! Origins of tenants, to which browsers may be sent back after a connect.

use axum::{Json, extract::State};
use patchbay_app::{connect::origins, model::KeyScope, problem::Problem};
use patchbay_core::TenantId;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    auth::Caller,
    extract::{Item, JsonBody, id},
    operator::Operator,
    problem::{ApiResult, ProblemBody},
};
use crate::host::Host;

/// Origins of a tenant.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "origins": ["https://app.example.com"] }))]
pub struct OriginsBody {
    /// Scheme, host and port, as browsers write them: `https://app.example.com`. Plain http is for loopback alone.
    #[schema(max_items = 50)]
    pub origins: Vec<String>,
}

/// Lists your origins.
#[utoipa::path(get, path = "/api/connect-origins", tag = "connect", responses(
    (status = 200, body = OriginsBody),
    (status = 401, body = ProblemBody, content_type = "application/problem+json"),
    (status = 403, body = ProblemBody, content_type = "application/problem+json"),
))]
pub async fn list_origins(State(host): State<Host>, caller: Caller) -> ApiResult<Json<OriginsBody>> {
    caller.may(KeyScope::Connect)?;
    let origins = host.app.store.connect_origins(caller.tenant).await?;
    Ok(Json(OriginsBody { origins }))
}

/// Registers the origins to which browsers may go back after a connect, and which may be told what came of it. They take the
/// place of those before, also for links that are out.
#[utoipa::path(put, path = "/api/connect-origins", tag = "connect", request_body = OriginsBody, responses(
    (status = 200, body = OriginsBody),
    (status = 401, body = ProblemBody, content_type = "application/problem+json"),
    (status = 403, body = ProblemBody, content_type = "application/problem+json"),
    (status = 415, body = ProblemBody, content_type = "application/problem+json"),
    (status = 422, body = ProblemBody, content_type = "application/problem+json"),
))]
pub async fn register_origins(
    State(host): State<Host>,
    caller: Caller,
    JsonBody(wanted): JsonBody<OriginsBody>,
) -> ApiResult<Json<OriginsBody>> {
    caller.may(KeyScope::Connect)?;
    let origins = origins::register(&host.app, &caller.by, caller.tenant, &wanted.origins).await?;
    Ok(Json(OriginsBody { origins }))
}

/// Lists the origins of a tenant.
#[utoipa::path(get, path = "/api/tenants/{id}/connect-origins", tag = "tenants",
    params(("id" = String, Path, description = "Id of the tenant")),
    responses(
        (status = 200, body = OriginsBody),
        (status = 401, body = ProblemBody, content_type = "application/problem+json"),
        (status = 403, body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub async fn list_origins_of(
    State(host): State<Host>,
    _: Operator,
    Item(tenant): Item,
) -> ApiResult<Json<OriginsBody>> {
    let tenant: TenantId = id(&tenant, "tenant")?;
    let known = host.app.store.tenant(tenant).await?;
    known.ok_or_else(|| Problem::not_found("tenant"))?;
    let origins = host.app.store.connect_origins(tenant).await?;
    Ok(Json(OriginsBody { origins }))
}

/// Registers the origins of a tenant, in the place of those before.
#[utoipa::path(put, path = "/api/tenants/{id}/connect-origins", tag = "tenants", request_body = OriginsBody,
    params(("id" = String, Path, description = "Id of the tenant")),
    responses(
        (status = 200, body = OriginsBody),
        (status = 401, body = ProblemBody, content_type = "application/problem+json"),
        (status = 403, body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, body = ProblemBody, content_type = "application/problem+json"),
        (status = 415, body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub async fn register_origins_of(
    State(host): State<Host>,
    operator: Operator,
    Item(tenant): Item,
    JsonBody(wanted): JsonBody<OriginsBody>,
) -> ApiResult<Json<OriginsBody>> {
    let tenant: TenantId = id(&tenant, "tenant")?;
    let origins = origins::register(&host.app, &operator.by, tenant, &wanted.origins).await?;
    Ok(Json(OriginsBody { origins }))
}
