//! What a tenant does with its endpoints.

use chrono::TimeDelta;
use patchbay_core::{DeliveryId, EndpointId, EventId, FieldIssue, TenantId};
use serde_json::json;
use tracing::info;
use url::Url;

use super::secret;
use crate::{
    App,
    model::{AuditAction, By, Delivery, DeliveryStatus, Endpoint, EventNames, NewEndpoint, NewEvent},
    problem::{Problem, ProblemKind},
    secret::Secret,
    store::DeliveryFilter,
};

/// Endpoints of a tenant: each one of its events is stored once for each.
pub const MOST: u32 = 20;
/// How long an old secret signs beside the new one.
pub const OVERLAP: TimeDelta = TimeDelta::hours(24);
/// Deliveries that one request redelivers.
pub const WINDOW: u32 = 1_000;
/// Name of the event that tries an endpoint out.
pub const TEST: &str = "webhook.test";

/// An endpoint that is wanted.
pub struct Wanted {
    /// For whom.
    pub tenant: TenantId,
    /// Address, as the tenant wrote it.
    pub url: String,
    /// Label.
    pub description: Option<String>,
    /// Which events.
    pub events: EventNames,
}

/// Registers an endpoint. Its secret is told only here.
///
/// # Errors
/// The URL is none that may be called, or the tenant has [`MOST`] endpoints.
pub async fn create(app: &App, by: &By, wanted: Wanted) -> Result<(Endpoint, Secret<String>), Problem> {
    let url = checked_url(app, &wanted.url)?;
    let id = EndpointId::from_uuid(app.env.ids.next());
    let (sealed, text) = secret::make(app, wanted.tenant, id, 1).await?;
    let endpoint = NewEndpoint {
        id,
        tenant: wanted.tenant,
        url,
        description: wanted.description,
        events: wanted.events,
        secret: sealed,
    };
    let audit = by.did(&app.env, AuditAction::EndpointCreated, wanted.tenant).to(&id);
    match app.store.create_endpoint(&endpoint, MOST, &audit).await? {
        Some(endpoint) => {
            info!(endpoint.id = %id, "Registered a webhook endpoint");
            Ok((endpoint, text))
        }
        None => {
            let detail = format!("A tenant has at most {MOST} endpoints. Delete one that you do not need.");
            Err(Problem::new(ProblemKind::EndpointsFull, detail))
        }
    }
}

/// A URL that a tenant may have events sent to. Its name is looked up, and its addresses are checked, at each call.
///
/// # Errors
/// The rule that it breaks.
pub fn checked_url(app: &App, text: &str) -> Result<Url, Problem> {
    app.wire.user_url(text).map_err(|error| {
        let message = format!("Give an https URL of a public host, on port 443 or 8443 ({error}).");
        Problem::invalid(vec![FieldIssue::new("/url", "url_not_allowed", message)])
    })
}

/// Gives an endpoint a new secret. The old one signs too for [`OVERLAP`], and one before that no more.
///
/// # Errors
/// There is no such endpoint, or another request was faster.
pub async fn rotate_secret(
    app: &App,
    by: &By,
    tenant: TenantId,
    id: EndpointId,
) -> Result<(Endpoint, Secret<String>), Problem> {
    let endpoint = find(app, tenant, id).await?;
    let (sealed, text) = secret::make(app, tenant, id, endpoint.secret.version + 1).await?;
    let until = app.env.now() + OVERLAP;
    let audit = by.did(&app.env, AuditAction::EndpointSecretRotated, tenant).to(&id);
    let endpoint = app.store.rotate_secret(tenant, id, &sealed, until, &audit).await?;
    let endpoint = endpoint.ok_or_else(unknown)?;
    info!(endpoint.id = %id, "Gave a webhook endpoint a new secret");
    Ok((endpoint, text))
}

/// Sends an event that says nothing to one endpoint.
///
/// # Errors
/// There is no such endpoint, or it is disabled.
pub async fn test(app: &App, tenant: TenantId, id: EndpointId) -> Result<Delivery, Problem> {
    find_enabled(app, tenant, id).await?;
    let event = EventId::from_uuid(app.env.ids.next());
    let event = NewEvent {
        id: event,
        name: TEST.to_owned(),
        dedupe_key: event.to_string(),
        account: None,
        post: None,
        payload: json!({ "endpoint_id": id }),
    };
    let delivery = app.store.push_to(tenant, id, &event).await?.ok_or_else(unknown)?;
    Ok(delivery)
}

/// Sends a delivery once more.
///
/// # Errors
/// There is no such delivery, or its endpoint is disabled.
pub async fn redeliver(
    app: &App,
    by: &By,
    tenant: TenantId,
    endpoint: EndpointId,
    id: DeliveryId,
) -> Result<Delivery, Problem> {
    find_enabled(app, tenant, endpoint).await?;
    let audit = by.did(&app.env, AuditAction::Redelivered, tenant).to(&id);
    let delivery = app.store.redeliver(tenant, endpoint, id, &audit).await?;
    let delivery = delivery.ok_or_else(|| Problem::not_found("delivery"))?;
    Ok(delivery)
}

/// Sends at most [`WINDOW`] deliveries that have failed or are held once more. Returns how many.
///
/// # Errors
/// There is no such endpoint, or it is disabled.
pub async fn redeliver_window(
    app: &App,
    by: &By,
    tenant: TenantId,
    endpoint: EndpointId,
    filter: DeliveryFilter,
) -> Result<u64, Problem> {
    find_enabled(app, tenant, endpoint).await?;
    let audit = by
        .did(&app.env, AuditAction::Redelivered, tenant)
        .to(&endpoint)
        .saying(json!({
            "status": filter.status.map(DeliveryStatus::as_str),
            "from": filter.from,
            "to": filter.to,
        }));
    let count = app
        .store
        .redeliver_window(tenant, endpoint, filter, WINDOW, &audit)
        .await?;
    Ok(count)
}

/// One of a tenant's endpoints.
///
/// # Errors
/// There is no such one.
pub async fn find(app: &App, tenant: TenantId, id: EndpointId) -> Result<Endpoint, Problem> {
    app.store.endpoint(tenant, id).await?.ok_or_else(unknown)
}

async fn find_enabled(app: &App, tenant: TenantId, id: EndpointId) -> Result<(), Problem> {
    if find(app, tenant, id).await?.status.is_enabled() {
        return Ok(());
    }
    let detail = "Enable it first, with PATCH and `\"enabled\": true`.";
    Err(Problem::new(ProblemKind::EndpointDisabled, detail))
}

fn unknown() -> Problem {
    Problem::not_found("webhook endpoint")
}
