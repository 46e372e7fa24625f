//! Endpoints of tenants, to which their events are pushed.

use axum::{
    Json,
    extract::{Query, State},
    http::StatusCode,
};
use chrono::{DateTime, Utc};
use patchbay_app::{
    model::{AuditAction, Endpoint, EndpointChange, EndpointStatus, EventNames, KeyScope},
    problem::Problem,
    push::endpoints,
};
use patchbay_core::{EndpointId, FieldIssue};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use super::{
    auth::Caller,
    deliveries::DeliveryBody,
    extract::{Item, JsonBody, Paging, id, next_cursor},
    problem::{ApiResult, ProblemBody},
};
use crate::host::Host;

/// Longest description, in characters.
const DESCRIPTION: usize = 200;
/// Most names of events of an endpoint.
const NAMES: usize = 50;
/// Longest name of an event, in characters.
const NAME: usize = 100;

/// An endpoint: where events are sent.
#[derive(Debug, Serialize, ToSchema)]
pub struct EndpointBody {
    /// Id.
    #[schema(example = "ep_0199f0a2b3c47d8e9f00112233445566")]
    pub id: String,
    /// Address.
    #[schema(example = "https://hooks.example.com/patchbay")]
    pub url: String,
    /// Label.
    pub description: Option<String>,
    /// Which events: names (`post.published`), beginnings of names (`post.*`), or `*` for all. Empty: all `post.…` and
    /// `account.…`, and none of the platforms' own.
    #[schema(example = json!(["post.*"]))]
    pub events: Vec<String>,
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
    /// Until when the secret before signs too.
    pub old_secret_until: Option<DateTime<Utc>>,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When it was changed.
    pub updated_at: DateTime<Utc>,
}

impl EndpointBody {
    pub(super) fn of(endpoint: Endpoint, now: DateTime<Utc>) -> Self {
        let status = endpoint.status.as_str().to_owned();
        let (failing_since, disabled_code, disabled_at) = match endpoint.status {
            EndpointStatus::Enabled { failing_since } => (failing_since, None, None),
            EndpointStatus::Disabled { code, at } => (None, Some(code), Some(at)),
        };
        Self {
            id: endpoint.id.to_string(),
            url: endpoint.url.into(),
            description: endpoint.description,
            events: endpoint.events.0,
            status,
            disabled_code,
            disabled_at,
            failing_since,
            old_secret_until: endpoint.old_secret.map(|(_, until)| until).filter(|until| *until > now),
            created_at: endpoint.created_at,
            updated_at: endpoint.updated_at,
        }
    }
}

/// An endpoint with its secret.
#[derive(Serialize, ToSchema)]
pub struct EndpointWithSecret {
    /// What lists show of it.
    #[serde(flatten)]
    pub endpoint: EndpointBody,
    /// Verifies what is sent there, by Standard Webhooks. It is shown only here.
    #[schema(example = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD9mGlrJ0eLrA=")]
    pub secret: String,
}

/// A page of endpoints.
#[derive(Debug, Serialize, ToSchema)]
pub struct EndpointList {
    /// Newest first.
    pub data: Vec<EndpointBody>,
    /// For the next page; absent at the end.
    pub next_cursor: Option<String>,
}

/// An endpoint to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "url": "https://hooks.example.com/patchbay", "events": ["post.*", "account.*"] }))]
pub struct NewEndpointBody {
    /// An https URL of a public host, on port 443 or 8443.
    #[schema(example = "https://hooks.example.com/patchbay", min_length = 1, max_length = 4096)]
    pub url: String,
    /// Label.
    #[serde(default)]
    #[schema(max_length = 200)]
    pub description: Option<String>,
    /// Which events: names (`post.published`), beginnings of names (`post.*`), or `*` for all. By default all `post.…` and
    /// `account.…`, and none of the platforms' own.
    #[serde(default)]
    #[schema(value_type = Option<Vec<String>>, example = json!(["post.*"]), max_items = 50)]
    pub events: Vec<String>,
}

/// What is to be changed. What is absent stays.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "enabled": true }))]
pub struct EndpointChangeBody {
    /// An https URL of a public host, on port 443 or 8443.
    #[serde(default)]
    #[schema(example = "https://hooks.example.com/patchbay", min_length = 1, max_length = 4096)]
    pub url: Option<String>,
    /// Label; `null`: none.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>, max_length = 200)]
    pub description: Option<Option<String>>,
    /// Which events.
    #[serde(default)]
    #[schema(example = json!(["post.*"]), max_items = 50)]
    pub events: Option<Vec<String>>,
    /// Whether events are sent there. One that is enabled again sends what is new; redeliver what was held.
    #[serde(default)]
    pub enabled: Option<bool>,
}

/// `null` is something else than nothing.
fn given<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Option<String>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

/// Makes an endpoint: from now on your events are sent there. The answer is the only place where its secret is shown. A
/// repeated request makes another endpoint: delete what you do not need.
#[utoipa::path(post, path = "/api/webhook-endpoints", tag = "webhook_endpoints", request_body = NewEndpointBody, responses(
    (status = 201, body = EndpointWithSecret),
    (status = 400, body = ProblemBody, content_type = "application/problem+json"),
    (status = 401, body = ProblemBody, content_type = "application/problem+json"),
    (status = 403, body = ProblemBody, content_type = "application/problem+json"),
    (status = 409, body = ProblemBody, content_type = "application/problem+json"),
    (status = 413, body = ProblemBody, content_type = "application/problem+json"),
    (status = 415, body = ProblemBody, content_type = "application/problem+json"),
    (status = 422, body = ProblemBody, content_type = "application/problem+json"),
))]
pub async fn create(
    State(host): State<Host>,
    caller: Caller,
    JsonBody(wanted): JsonBody<NewEndpointBody>,
) -> ApiResult<(StatusCode, Json<EndpointWithSecret>)> {
    may_change(&caller)?;
    check_description(wanted.description.as_deref())?;
    let wanted = endpoints::Wanted {
        tenant: caller.tenant,
        url: wanted.url,
        description: wanted.description,
        events: checked_names(wanted.events)?,
    };
    let (endpoint, secret) = endpoints::create(&host.app, &caller.by, wanted).await?;
    let created = EndpointWithSecret {
        endpoint: EndpointBody::of(endpoint, host.app.env.now()),
        secret: secret.expose().clone(),
    };
    Ok((StatusCode::CREATED, Json(created)))
}

/// Lists endpoints.
#[utoipa::path(get, path = "/api/webhook-endpoints", tag = "webhook_endpoints", params(Paging), responses(
    (status = 200, body = EndpointList),
    (status = 400, body = ProblemBody, content_type = "application/problem+json"),
    (status = 401, body = ProblemBody, content_type = "application/problem+json"),
    (status = 403, body = ProblemBody, content_type = "application/problem+json"),
))]
pub async fn list(
    State(host): State<Host>,
    caller: Caller,
    Query(paging): Query<Paging>,
) -> ApiResult<Json<EndpointList>> {
    caller.may(KeyScope::Read)?;
    let bound = format!("{}/webhook-endpoints", caller.tenant);
    let page = paging.request(&host, &bound)?;
    let found = host.app.store.endpoints(caller.tenant, page).await?;
    let now = host.app.env.now();
    Ok(Json(EndpointList {
        data: found
            .items
            .into_iter()
            .map(|endpoint| EndpointBody::of(endpoint, now))
            .collect(),
        next_cursor: next_cursor(&host, &bound, found.next),
    }))
}

/// Shows one endpoint.
#[utoipa::path(get, path = "/api/webhook-endpoints/{id}", tag = "webhook_endpoints",
    params(("id" = String, Path, description = "Id of the endpoint")),
    responses(
        (status = 200, body = EndpointBody),
        (status = 401, body = ProblemBody, content_type = "application/problem+json"),
        (status = 403, body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub async fn show(State(host): State<Host>, caller: Caller, Item(item): Item) -> ApiResult<Json<EndpointBody>> {
    caller.may(KeyScope::Read)?;
    let endpoint = endpoints::find(&host.app, caller.tenant, endpoint_id(&item)?).await?;
    Ok(Json(EndpointBody::of(endpoint, host.app.env.now())))
}

/// Changes an endpoint. A new URL gets also what is on its way.
#[utoipa::path(patch, path = "/api/webhook-endpoints/{id}", tag = "webhook_endpoints", request_body = EndpointChangeBody,
    params(("id" = String, Path, description = "Id of the endpoint")),
    responses(
        (status = 200, body = EndpointBody),
        (status = 400, body = ProblemBody, content_type = "application/problem+json"),
        (status = 401, body = ProblemBody, content_type = "application/problem+json"),
        (status = 403, body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, body = ProblemBody, content_type = "application/problem+json"),
        (status = 413, body = ProblemBody, content_type = "application/problem+json"),
        (status = 415, body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub async fn change(
    State(host): State<Host>,
    caller: Caller,
    Item(item): Item,
    JsonBody(wanted): JsonBody<EndpointChangeBody>,
) -> ApiResult<Json<EndpointBody>> {
    may_change(&caller)?;
    let endpoint = endpoint_id(&item)?;
    check_description(wanted.description.as_ref().and_then(Option::as_deref))?;
    let url = wanted
        .url
        .as_deref()
        .map(|text| endpoints::checked_url(&host.app, text));
    let change = EndpointChange {
        url: url.transpose()?,
        description: wanted.description,
        events: wanted.events.map(checked_names).transpose()?,
        enabled: wanted.enabled,
    };
    let named = [
        ("url", change.url.is_some()),
        ("description", change.description.is_some()),
        ("events", change.events.is_some()),
        ("enabled", change.enabled.is_some()),
    ];
    let named: Vec<_> = named.iter().filter(|(_, is)| *is).map(|(name, _)| name).collect();
    let audit = caller
        .by
        .did(&host.app.env, AuditAction::EndpointChanged, caller.tenant)
        .to(&endpoint)
        .saying(json!({ "fields": named }));
    let changed = host
        .app
        .store
        .change_endpoint(caller.tenant, endpoint, &change, &audit)
        .await?;
    let changed = changed.ok_or_else(|| Problem::not_found("webhook endpoint"))?;
    Ok(Json(EndpointBody::of(changed, host.app.env.now())))
}

/// Deletes an endpoint, and its deliveries with it. Events stay in `GET /api/events`.
#[utoipa::path(delete, path = "/api/webhook-endpoints/{id}", tag = "webhook_endpoints",
    params(("id" = String, Path, description = "Id of the endpoint")),
    responses(
        (status = 204, description = "It is gone"),
        (status = 401, body = ProblemBody, content_type = "application/problem+json"),
        (status = 403, body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub async fn delete(State(host): State<Host>, caller: Caller, Item(item): Item) -> ApiResult<StatusCode> {
    may_change(&caller)?;
    let endpoint = endpoint_id(&item)?;
    let audit = caller
        .by
        .did(&host.app.env, AuditAction::EndpointDeleted, caller.tenant)
        .to(&endpoint);
    if !host.app.store.delete_endpoint(caller.tenant, endpoint, &audit).await? {
        return Err(Problem::not_found("webhook endpoint").into());
    }
    Ok(StatusCode::NO_CONTENT)
}

/// Gives an endpoint a new secret, which is shown only in the answer. For 24 hours the old one signs beside it; one before
/// that no more.
#[utoipa::path(post, path = "/api/webhook-endpoints/{id}/rotate-secret", tag = "webhook_endpoints",
    params(("id" = String, Path, description = "Id of the endpoint")),
    responses(
        (status = 200, body = EndpointWithSecret),
        (status = 401, body = ProblemBody, content_type = "application/problem+json"),
        (status = 403, body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub async fn rotate_secret(
    State(host): State<Host>,
    caller: Caller,
    Item(item): Item,
) -> ApiResult<Json<EndpointWithSecret>> {
    may_change(&caller)?;
    let (endpoint, secret) =
        endpoints::rotate_secret(&host.app, &caller.by, caller.tenant, endpoint_id(&item)?).await?;
    Ok(Json(EndpointWithSecret {
        endpoint: EndpointBody::of(endpoint, host.app.env.now()),
        secret: secret.expose().clone(),
    }))
}

/// Sends the event `webhook.test` to this endpoint, whatever events it wants, and to no other.
#[utoipa::path(post, path = "/api/webhook-endpoints/{id}/test", tag = "webhook_endpoints",
    params(("id" = String, Path, description = "Id of the endpoint")),
    responses(
        (status = 202, body = DeliveryBody),
        (status = 401, body = ProblemBody, content_type = "application/problem+json"),
        (status = 403, body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub async fn test(
    State(host): State<Host>,
    caller: Caller,
    Item(item): Item,
) -> ApiResult<(StatusCode, Json<DeliveryBody>)> {
    may_change(&caller)?;
    let delivery = endpoints::test(&host.app, caller.tenant, endpoint_id(&item)?).await?;
    Ok((StatusCode::ACCEPTED, Json(delivery.into())))
}

/// An endpoint gets to see what a reader sees.
pub(super) fn may_change(caller: &Caller) -> Result<(), Problem> {
    caller.may(KeyScope::Read)?;
    caller.may(KeyScope::Publish)?;
    Ok(())
}

pub(super) fn endpoint_id(text: &str) -> Result<EndpointId, Problem> {
    id(text, "webhook endpoint")
}

fn check_description(text: Option<&str>) -> Result<(), Problem> {
    match text {
        Some(text) if text.chars().count() > DESCRIPTION || text.chars().any(char::is_control) => {
            let message = "A description has at most 200 characters and no control characters.";
            Err(refused("/description", "malformed", message))
        }
        _ => Ok(()),
    }
}

/// Names are as platforms write them. A `*` stands at the end only.
fn checked_names(names: Vec<String>) -> Result<EventNames, Problem> {
    if names.len() > NAMES {
        return Err(refused(
            "/events",
            "too_many",
            "Name at most 50 events, or use `post.*`.",
        ));
    }
    for (place, name) in names.iter().enumerate() {
        let stem = name.strip_suffix('*').unwrap_or(name);
        let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | ':' | '/');
        if name.is_empty() || name.len() > NAME || !stem.chars().all(is_name) {
            let message = "Write a name such as `post.published`, the beginning of one such as `post.*`, or `*`.";
            return Err(refused(&format!("/events/{place}"), "malformed", message));
        }
    }
    Ok(EventNames(names))
}

fn refused(pointer: &str, code: &'static str, message: &str) -> Problem {
    Problem::invalid(vec![FieldIssue::new(pointer, code, message)])
}
