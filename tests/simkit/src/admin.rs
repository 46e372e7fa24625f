//! The control API and page of a simulator, under `/_admin/` on a listener of its own.
//!
//! Bodies must be `application/json`, see [`guarded`]. A platform merges its own routes and adds its own script to the page.

mod page;

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Path, Query, Request, State};
use axum::http::{Method, StatusCode, header};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use axum::{Json, Router};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::webhook::{Outgoing, ReleaseOrder, Signing, WebhookSettings};
use crate::{Clock, Fault, Faults, Journal, WebhookSender};

/// What the control API controls.
#[derive(Clone)]
pub struct Admin {
    /// Heading of the page.
    pub title: &'static str,
    pub clock: Clock,
    pub faults: Faults,
    pub journal: Journal,
    pub webhooks: WebhookSender,
    /// The platform's own account of what happened.
    pub oracle: Arc<dyn Fn() -> Value + Send + Sync>,
    /// Names that rules can use as `op`, shown on the page.
    pub ops: &'static [&'static str],
    /// A script that adds the platform's controls to the page; may be empty.
    pub script: &'static str,
}

/// All shared control routes.
pub fn router(admin: &Admin) -> Router {
    Router::new()
        .route("/_admin/clock", get(clock).post(move_clock))
        .route("/_admin/faults", get(faults).delete(clear_faults))
        .route("/_admin/faults/{name}", put(put_fault).delete(clear_fault))
        .route("/_admin/journal", get(journal))
        .route("/_admin/oracle", get(oracle))
        .route("/_admin/webhooks", get(deliveries))
        .route(
            "/_admin/webhooks/settings",
            get(webhook_settings).patch(change_webhooks),
        )
        .route("/_admin/webhooks/send", post(send_webhook))
        .route("/_admin/webhooks/release", post(release_webhooks))
        .route("/_admin/webhooks/{id}/redeliver", post(redeliver))
        .with_state(admin.clone())
        .merge(page::router(admin))
}

/// Refuses a POST that is not JSON: that is all a page of another site can send without asking first.
/// Goes around the merged routes of simkit and platform.
pub fn guarded(router: Router) -> Router {
    router.layer(from_fn(async |request: Request, next: Next| {
        let kind = request.headers().get(header::CONTENT_TYPE);
        let is_json = kind.is_some_and(|kind| kind.as_bytes().starts_with(b"application/json"));
        if request.method() == Method::POST && !is_json {
            let reason = "send application/json, at least {}".to_owned();
            return Refused(StatusCode::UNSUPPORTED_MEDIA_TYPE, reason).into_response();
        }
        next.run(request).await
    }))
}

/// A refusal of the control API.
pub struct Refused(pub StatusCode, pub String);

impl Refused {
    pub fn bad(reason: impl Into<String>) -> Self {
        Self(StatusCode::BAD_REQUEST, reason.into())
    }

    pub fn missing(what: &str) -> Self {
        Self(StatusCode::NOT_FOUND, format!("no such {what}"))
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        (self.0, Json(json!({ "error": self.1 }))).into_response()
    }
}

#[derive(Serialize)]
struct ClockView {
    now: DateTime<Utc>,
    frozen: bool,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct ClockMove {
    freeze: Option<bool>,
    set: Option<DateTime<Utc>>,
    advance_seconds: Option<u64>,
    advance_ms: Option<u64>,
}

async fn clock(State(admin): State<Admin>) -> Json<ClockView> {
    Json(ClockView {
        now: admin.clock.now(),
        frozen: admin.clock.is_frozen(),
    })
}

async fn move_clock(State(admin): State<Admin>, Json(step): Json<ClockMove>) -> Json<ClockView> {
    match step.freeze {
        Some(true) => admin.clock.freeze(),
        Some(false) => admin.clock.unfreeze(),
        None => {}
    }
    if let Some(at) = step.set {
        admin.clock.set(at);
    }
    let by = Duration::from_secs(step.advance_seconds.unwrap_or(0))
        .saturating_add(Duration::from_millis(step.advance_ms.unwrap_or(0)));
    if !by.is_zero() {
        admin.clock.advance(by);
    }
    clock(State(admin)).await
}

async fn faults(State(admin): State<Admin>) -> Json<Value> {
    Json(json!({ "ops": admin.ops, "faults": admin.faults.list() }))
}

async fn put_fault(
    State(admin): State<Admin>,
    Path(name): Path<String>,
    Json(fault): Json<Fault>,
) -> Result<Json<Value>, Refused> {
    // In a rule a typing error would simply never strike, and a test would pass for the wrong reason.
    if !admin.ops.contains(&fault.op.as_str()) {
        return Err(Refused::bad(format!("no op is called {}", fault.op)));
    }
    admin.faults.put(&name, fault);
    Ok(faults(State(admin)).await)
}

async fn clear_fault(State(admin): State<Admin>, Path(name): Path<String>) -> Result<StatusCode, Refused> {
    if admin.faults.clear(&name) {
        Ok(StatusCode::NO_CONTENT)
    } else {
        Err(Refused::missing("fault"))
    }
}

async fn clear_faults(State(admin): State<Admin>) -> StatusCode {
    admin.faults.clear_all();
    StatusCode::NO_CONTENT
}

#[derive(Deserialize)]
struct JournalQuery {
    op: Option<String>,
    #[serde(default)]
    since: u64,
    limit: Option<usize>,
}

async fn journal(State(admin): State<Admin>, Query(query): Query<JournalQuery>) -> Json<Value> {
    let mut calls: Vec<_> = admin
        .journal
        .calls()
        .into_iter()
        .filter(|call| call.seq >= query.since)
        .filter(|call| query.op.as_ref().is_none_or(|op| *op == call.op))
        .collect();
    let limit = query.limit.unwrap_or(500);
    calls.drain(..calls.len().saturating_sub(limit));
    Json(json!({
        "calls": calls,
        "forgotten": admin.journal.forgotten(),
        "load": admin.journal.load(),
    }))
}

async fn oracle(State(admin): State<Admin>) -> Json<Value> {
    Json((admin.oracle)())
}

async fn deliveries(State(admin): State<Admin>) -> Json<Value> {
    Json(json!({
        "settings": admin.webhooks.settings(),
        "deliveries": admin.webhooks.deliveries(),
    }))
}

async fn webhook_settings(State(admin): State<Admin>) -> Json<WebhookSettings> {
    Json(admin.webhooks.settings())
}

async fn change_webhooks(
    State(admin): State<Admin>,
    Json(patch): Json<serde_json::Map<String, Value>>,
) -> Result<Json<WebhookSettings>, Refused> {
    let changed = patched(&admin.webhooks.settings(), patch)?;
    admin.webhooks.change(|settings| *settings = changed);
    Ok(Json(admin.webhooks.settings()))
}

/// Overlays the given fields on a settings value; unknown names and wrong types are refused.
///
/// # Errors
/// The result is not a valid settings value.
pub fn patched<T: Serialize + for<'a> Deserialize<'a>>(
    current: &T,
    patch: serde_json::Map<String, Value>,
) -> Result<T, Refused> {
    let mut whole = serde_json::to_value(current).map_err(|error| Refused::bad(error.to_string()))?;
    if let Value::Object(fields) = &mut whole {
        fields.extend(patch);
    }
    serde_json::from_value(whole).map_err(|error| Refused::bad(error.to_string()))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawWebhook {
    #[serde(default)]
    event: String,
    body: String,
    #[serde(default)]
    signing: Signing,
}

async fn send_webhook(State(admin): State<Admin>, Json(raw): Json<RawWebhook>) -> Json<Value> {
    let id = admin.webhooks.send(&Outgoing {
        event: raw.event,
        body: raw.body,
        signing: raw.signing,
    });
    Json(json!({ "id": id }))
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Release {
    order: ReleaseOrder,
}

async fn release_webhooks(State(admin): State<Admin>, Json(release): Json<Release>) -> StatusCode {
    admin.webhooks.release(release.order);
    StatusCode::NO_CONTENT
}

async fn redeliver(State(admin): State<Admin>, Path(id): Path<u64>) -> Result<Json<Value>, Refused> {
    let again = admin
        .webhooks
        .redeliver(id)
        .ok_or_else(|| Refused::missing("delivery"))?;
    Ok(Json(json!({ "id": again })))
}
