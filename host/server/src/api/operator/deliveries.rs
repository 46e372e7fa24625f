//! A tenant's webhook endpoints and what is sent there, without addresses' paths and receivers' words.

use axum::{
    Json,
    extract::{Path, Query, State, rejection::PathRejection},
    http::StatusCode,
};
use chrono::{DateTime, Utc};
use patchbay_app::{
    model::{Endpoint, EndpointStatus},
    problem::Problem,
    push::endpoints,
};
use patchbay_core::TenantId;
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    super::{
        deliveries::{self, DeliveryBody, DeliveryList, RedeliverBody, Redelivered, Wanted},
        extract::{Item, JsonBody, Paging, id, next_cursor},
        problem::{ApiResult, ProblemBody},
        tenants,
        webhook_endpoints::endpoint_id,
    },
    OfTenant, Operator,
};
use crate::host::Host;

/// An endpoint, as its operator needs to know it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = OperatedEndpoint)]
pub struct EndpointBody {
    /// Id.
    #[schema(example = "ep_0199f0a2b3c47d8e9f00112233445566")]
    pub id: String,
    /// Scheme, host and port of its address. Its path may be a secret.
    #[schema(example = "https://hooks.example.com")]
    pub origin: String,
    /// `enabled` or `disabled`. Events of a disabled one are held, and can be redelivered.
    #[schema(example = "enabled")]
    pub status: String,
    /// Why it is disabled: `by_tenant`; `gone`: it answered 410; `failing`: it only failed for five days.
    #[schema(example = "failing")]
    pub disabled_code: Option<String>,
    /// Since when it is disabled.
    pub disabled_at: Option<DateTime<Utc>>,
    /// Since when nothing but failures came back.
    pub failing_since: Option<DateTime<Utc>>,
    /// When it was made.
    pub created_at: DateTime<Utc>,
}

impl From<Endpoint> for EndpointBody {
    fn from(endpoint: Endpoint) -> Self {
        let status = endpoint.status.as_str().to_owned();
        let (failing_since, disabled_code, disabled_at) = match endpoint.status {
            EndpointStatus::Enabled { failing_since } => (failing_since, None, None),
            EndpointStatus::Disabled { code, at } => (None, Some(code), Some(at)),
        };
        Self {
            id: endpoint.id.to_string(),
            origin: endpoint.url.origin().ascii_serialization(),
            status,
            disabled_code,
            disabled_at,
            failing_since,
            created_at: endpoint.created_at,
        }
    }
}

/// A page of endpoints.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = OperatedEndpointList)]
pub struct EndpointList {
    /// Newest first.
    pub data: Vec<EndpointBody>,
    /// For the next page; absent at the end.
    pub next_cursor: Option<String>,
}

/// Lists a tenant's webhook endpoints.
#[utoipa::path(get, path = "/api/operator/tenants/{tenant}/webhook-endpoints", operation_id = "list_endpoints",
    tag = "operator",
    params(("tenant" = String, Path, description = "Id of the tenant"), Paging),
    responses(
        (status = 200, body = EndpointList),
        (status = 400, body = ProblemBody, content_type = "application/problem+json"),
        (status = 401, body = ProblemBody, content_type = "application/problem+json"),
        (status = 403, body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub async fn list_endpoints(
    State(host): State<Host>,
    _: Operator,
    OfTenant(tenant): OfTenant,
    Query(paging): Query<Paging>,
) -> ApiResult<Json<EndpointList>> {
    let bound = format!("operator/{}/webhook-endpoints", tenant.id);
    let page = paging.request(&host, &bound)?;
    let found = host.app.store.endpoints(tenant.id, page).await?;
    Ok(Json(EndpointList {
        data: found.items.into_iter().map(EndpointBody::from).collect(),
        next_cursor: next_cursor(&host, &bound, found.next),
    }))
}

/// Lists the deliveries of a tenant's endpoint. What the receiver answered is not shown, only its status.
#[utoipa::path(get, path = "/api/operator/tenants/{tenant}/webhook-endpoints/{id}/deliveries",
    operation_id = "list_deliveries", tag = "operator",
    params(
        ("tenant" = String, Path, description = "Id of the tenant"),
        ("id" = String, Path, description = "Id of the endpoint"),
        Wanted,
        Paging
    ),
    responses(
        (status = 200, body = DeliveryList),
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
    Item(endpoint): Item,
    Query(wanted): Query<Wanted>,
    Query(paging): Query<Paging>,
) -> ApiResult<Json<DeliveryList>> {
    let mut page = deliveries::page_of(&host, tenant.id, &endpoint, &wanted, &paging).await?;
    page.data = page.data.into_iter().map(without_words).collect();
    Ok(Json(page))
}

/// Sends a delivery of a tenant once more, whatever became of it, with all its tries, under the same `webhook-id`.
#[utoipa::path(post, path = "/api/operator/tenants/{tenant}/webhook-endpoints/{id}/deliveries/{delivery}/redeliver",
    operation_id = "redeliver", tag = "operator",
    params(
        ("tenant" = String, Path, description = "Id of the tenant"),
        ("id" = String, Path, description = "Id of the endpoint"),
        ("delivery" = String, Path, description = "Id of the delivery")
    ),
    responses(
        (status = 202, body = DeliveryBody),
        (status = 401, body = ProblemBody, content_type = "application/problem+json"),
        (status = 403, body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub async fn redeliver(
    State(host): State<Host>,
    operator: Operator,
    path: Result<Path<(String, String, String)>, PathRejection>,
) -> ApiResult<(StatusCode, Json<DeliveryBody>)> {
    let Path((tenant, endpoint, delivery)) = path.map_err(|_| Problem::not_found("delivery"))?;
    let tenant: TenantId = tenants::named(&host, &tenant).await?.id;
    let (endpoint, delivery) = (endpoint_id(&endpoint)?, id(&delivery, "delivery")?);
    let delivery = endpoints::redeliver(&host.app, &operator.by, tenant, endpoint, delivery).await?;
    Ok((StatusCode::ACCEPTED, Json(without_words(delivery.into()))))
}

/// Sends a tenant's deliveries of a time once more that have failed or are held, the oldest first, at most 1,000 at once.
#[utoipa::path(post, path = "/api/operator/tenants/{tenant}/webhook-endpoints/{id}/redeliver",
    operation_id = "redeliver_many", tag = "operator", request_body = RedeliverBody,
    params(
        ("tenant" = String, Path, description = "Id of the tenant"),
        ("id" = String, Path, description = "Id of the endpoint")
    ),
    responses(
        (status = 202, body = Redelivered),
        (status = 400, body = ProblemBody, content_type = "application/problem+json"),
        (status = 401, body = ProblemBody, content_type = "application/problem+json"),
        (status = 403, body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, body = ProblemBody, content_type = "application/problem+json"),
        (status = 413, body = ProblemBody, content_type = "application/problem+json"),
        (status = 415, body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub async fn redeliver_many(
    State(host): State<Host>,
    operator: Operator,
    OfTenant(tenant): OfTenant,
    Item(endpoint): Item,
    JsonBody(wanted): JsonBody<RedeliverBody>,
) -> ApiResult<(StatusCode, Json<Redelivered>)> {
    let redelivered = deliveries::send_again(&host, &operator.by, tenant.id, &endpoint, &wanted).await?;
    Ok((StatusCode::ACCEPTED, Json(redelivered)))
}

/// A receiver's words are for its tenant.
fn without_words(mut delivery: DeliveryBody) -> DeliveryBody {
    if let Some(last) = &mut delivery.last_attempt {
        last.answer_body = None;
    }
    delivery
}
