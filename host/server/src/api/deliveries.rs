//! Deliveries of events to endpoints: what was sent, what came back, and how to send it again.

use axum::{
    Json,
    extract::{Path, Query, State, rejection::PathRejection},
    http::StatusCode,
};
use chrono::{DateTime, Utc};
use patchbay_app::{
    model::{By, Delivery, DeliveryStatus, KeyScope},
    problem::Problem,
    push::endpoints,
    store::DeliveryFilter,
};
use patchbay_core::{FieldIssue, TenantId};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{
    auth::Caller,
    extract::{Item, JsonBody, Paging, id, next_cursor, window},
    problem::{ApiResult, ProblemBody},
    webhook_endpoints::{endpoint_id, may_change},
};
use crate::host::Host;

/// An event for an endpoint.
#[derive(Debug, Serialize, ToSchema)]
pub struct DeliveryBody {
    /// Id.
    #[schema(example = "dlv_0199f0a2b3c47d8e9f00112233445566")]
    pub id: String,
    /// Endpoint.
    pub endpoint_id: String,
    /// Event: the `webhook-id` of every attempt.
    pub event_id: String,
    /// Name of the event.
    #[schema(example = "post.published")]
    pub event: String,
    /// State.
    #[schema(value_type = StatusBody, example = "delivered")]
    pub status: String,
    /// Attempts whose end is known, those before it was redelivered included.
    pub attempts: i32,
    /// The last attempt; absent: there was none.
    pub last_attempt: Option<DeliveryAttemptBody>,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When it was delivered, given up or held.
    pub finished_at: Option<DateTime<Utc>>,
}

/// How an attempt ended.
#[derive(Debug, Serialize, ToSchema)]
pub struct DeliveryAttemptBody {
    /// When.
    pub at: DateTime<Utc>,
    /// HTTP status of the answer, if there was one.
    #[schema(example = 500)]
    pub answer_status: Option<u16>,
    /// Beginning of the answer's body: at most 1 KiB.
    pub answer_body: Option<String>,
    /// Why it is no success. `refused`: the answer is no 2xx; `no_answer`: it was lost, too long or too slow;
    /// `unreachable`: there was no connection; `blocked`: the address is not a public one; `secret_unreadable`,
    /// `quarantined`: a fault of Patchbay.
    #[schema(example = "refused")]
    pub code: Option<String>,
}

/// State of a delivery.
#[derive(ToSchema)]
#[schema(as = DeliveryStatus)]
#[allow(non_camel_case_types, reason = "the names are the JSON values")]
pub enum StatusBody {
    /// It is sent until it succeeds.
    pending,
    /// The endpoint took it.
    delivered,
    /// It was given up.
    failed,
    /// Its endpoint is disabled.
    held,
}

impl From<Delivery> for DeliveryBody {
    fn from(delivery: Delivery) -> Self {
        Self {
            id: delivery.id.to_string(),
            endpoint_id: delivery.endpoint.to_string(),
            event_id: delivery.event.to_string(),
            event: delivery.event_name,
            status: delivery.status.as_str().to_owned(),
            attempts: delivery.attempts,
            last_attempt: delivery.last.map(|last| DeliveryAttemptBody {
                at: last.at,
                answer_status: last.result.status,
                answer_body: last.result.body,
                code: last.result.code,
            }),
            created_at: delivery.created_at,
            finished_at: delivery.finished_at,
        }
    }
}

/// A page of deliveries.
#[derive(Debug, Serialize, ToSchema)]
pub struct DeliveryList {
    /// Newest first.
    pub data: Vec<DeliveryBody>,
    /// For the next page; absent at the end.
    pub next_cursor: Option<String>,
}

/// Which deliveries.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Wanted {
    /// In this state.
    #[param(value_type = Option<StatusBody>)]
    pub status: Option<String>,
    /// Made then or later.
    pub from: Option<DateTime<Utc>>,
    /// Made before.
    pub to: Option<DateTime<Utc>>,
}

/// Which deliveries to send once more. Without any field: all that have failed or are held.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "from": "2026-01-01T00:00:00Z", "to": "2026-01-02T00:00:00Z", "status": "held" }))]
pub struct RedeliverBody {
    /// `failed` or `held`.
    #[schema(example = "failed")]
    pub status: Option<String>,
    /// Made then or later.
    pub from: Option<DateTime<Utc>>,
    /// Made before.
    pub to: Option<DateTime<Utc>>,
}

/// What is sent once more.
#[derive(Debug, Serialize, ToSchema)]
pub struct Redelivered {
    /// How many.
    pub redelivered: u64,
    /// Whether there may be more: then ask again.
    pub more: bool,
}

/// Lists an endpoint's deliveries. Those that ended stay for a while: 30 days once delivered, 90 days otherwise, unless the
/// operator has set it otherwise.
#[utoipa::path(get, path = "/api/webhook-endpoints/{id}/deliveries", tag = "webhook_endpoints",
    params(("id" = String, Path, description = "Id of the endpoint"), Wanted, Paging),
    responses(
        (status = 200, body = DeliveryList),
        (status = 400, body = ProblemBody, content_type = "application/problem+json"),
        (status = 401, body = ProblemBody, content_type = "application/problem+json"),
        (status = 403, body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub async fn list_deliveries(
    State(host): State<Host>,
    caller: Caller,
    Item(item): Item,
    Query(wanted): Query<Wanted>,
    Query(paging): Query<Paging>,
) -> ApiResult<Json<DeliveryList>> {
    caller.may(KeyScope::Read)?;
    Ok(Json(page_of(&host, caller.tenant, &item, &wanted, &paging).await?))
}

/// Sends a delivery once more, whatever became of it, with all its tries, under the same `webhook-id`.
#[utoipa::path(post, path = "/api/webhook-endpoints/{id}/deliveries/{delivery}/redeliver", tag = "webhook_endpoints",
    params(
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
    caller: Caller,
    path: Result<Path<(String, String)>, PathRejection>,
) -> ApiResult<(StatusCode, Json<DeliveryBody>)> {
    may_change(&caller)?;
    let Path((endpoint, delivery)) = path.map_err(|_| Problem::not_found("delivery"))?;
    let (endpoint, delivery) = (endpoint_id(&endpoint)?, id(&delivery, "delivery")?);
    let delivery = endpoints::redeliver(&host.app, &caller.by, caller.tenant, endpoint, delivery).await?;
    Ok((StatusCode::ACCEPTED, Json(delivery.into())))
}

/// Sends deliveries of a time once more that have failed or are held, the oldest first, at most 1,000 at once.
#[utoipa::path(post, path = "/api/webhook-endpoints/{id}/redeliver", tag = "webhook_endpoints",
    request_body = RedeliverBody,
    params(("id" = String, Path, description = "Id of the endpoint")),
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
    caller: Caller,
    Item(item): Item,
    JsonBody(wanted): JsonBody<RedeliverBody>,
) -> ApiResult<(StatusCode, Json<Redelivered>)> {
    may_change(&caller)?;
    let redelivered = send_again(&host, &caller.by, caller.tenant, &item, &wanted).await?;
    Ok((StatusCode::ACCEPTED, Json(redelivered)))
}

/// A page of the deliveries of a tenant's endpoint.
pub(super) async fn page_of(
    host: &Host,
    tenant: TenantId,
    endpoint: &str,
    wanted: &Wanted,
    paging: &Paging,
) -> Result<DeliveryList, Problem> {
    let endpoint = endpoint_id(endpoint)?;
    let bound = format!("{tenant}/{endpoint}/deliveries/{wanted:?}");
    let page = paging.request(host, &bound)?;
    let (from, to) = window(wanted.from, wanted.to)?;
    let filter = DeliveryFilter {
        status: status(wanted.status.as_deref(), &DeliveryStatus::ALL)?,
        from,
        to,
    };
    endpoints::find(&host.app, tenant, endpoint).await?;
    let found = host.app.store.deliveries(tenant, endpoint, filter, page).await?;
    Ok(DeliveryList {
        data: found.items.into_iter().map(DeliveryBody::from).collect(),
        next_cursor: next_cursor(host, &bound, found.next),
    })
}

/// Sends deliveries of a time once more.
pub(super) async fn send_again(
    host: &Host,
    by: &By,
    tenant: TenantId,
    endpoint: &str,
    wanted: &RedeliverBody,
) -> Result<Redelivered, Problem> {
    let endpoint = endpoint_id(endpoint)?;
    let (from, to) = window(wanted.from, wanted.to)?;
    let filter = DeliveryFilter {
        status: status(
            wanted.status.as_deref(),
            &[DeliveryStatus::Failed, DeliveryStatus::Held],
        )?,
        from,
        to,
    };
    let redelivered = endpoints::redeliver_window(&host.app, by, tenant, endpoint, filter).await?;
    let more = redelivered == u64::from(endpoints::WINDOW);
    Ok(Redelivered { redelivered, more })
}

fn status(text: Option<&str>, known: &[DeliveryStatus]) -> Result<Option<DeliveryStatus>, Problem> {
    let Some(text) = text else { return Ok(None) };
    let found = known.iter().find(|status| status.as_str() == text);
    found.copied().map(Some).ok_or_else(|| {
        let known: Vec<_> = known.iter().map(|status| status.as_str()).collect();
        let message = format!("Use one of: {}.", known.join(", "));
        Problem::invalid(vec![FieldIssue::new("/status", "unknown", message)])
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_document_names_every_state() {
        let document = serde_json::to_value(super::super::openapi()).unwrap();
        let named = &document["components"]["schemas"]["DeliveryStatus"]["enum"];
        assert_eq!(
            *named,
            serde_json::json!(DeliveryStatus::ALL.map(DeliveryStatus::as_str))
        );
    }
}
