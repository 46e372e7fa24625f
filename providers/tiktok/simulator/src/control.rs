//! TikTok's part of the control API: accounts, switches, what users do, and webhooks made to order.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use patchbay_simkit::Signing;
use patchbay_simkit::admin::{Refused, patched};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::account::{Account, Privacy};
use crate::act::ActError;
use crate::hooks::{Content, Event, RemovalReason};
use crate::post::FailReason;
use crate::switches::{Switches, WebhookStyle};
use crate::world::World;

pub(crate) const SCRIPT: &str = include_str!("control.js");

pub(crate) fn router(world: Arc<World>) -> Router {
    Router::new()
        .route("/_admin/accounts", get(accounts).post(put_account))
        .route("/_admin/accounts/{username}", axum::routing::patch(patch_account))
        .route("/_admin/accounts/{username}/disconnect", post(disconnect))
        .route("/_admin/switches", get(switches).patch(change_switches))
        .route("/_admin/posts/{publish_id}/publish", post(publish))
        .route("/_admin/posts/{publish_id}/discard", post(discard))
        .route("/_admin/posts/{publish_id}/delete", post(delete))
        .route("/_admin/posts/{publish_id}/fail", post(fail))
        .route("/_admin/webhooks/event", post(event))
        .with_state(world)
}

impl From<ActError> for Refused {
    fn from(error: ActError) -> Self {
        let status = match error {
            ActError::NoAccount | ActError::NoPost => StatusCode::NOT_FOUND,
            ActError::NotADraft | ActError::NotPublished | ActError::Ended => StatusCode::CONFLICT,
        };
        Self(status, error.to_string())
    }
}

async fn accounts(State(world): State<Arc<World>>) -> Json<Vec<Account>> {
    Json(world.accounts())
}

async fn put_account(State(world): State<Arc<World>>, Json(account): Json<Account>) -> Result<Json<Account>, Refused> {
    if account.username.is_empty() {
        return Err(Refused::bad("username is required"));
    }
    Ok(Json(world.put_account(account)))
}

async fn patch_account(
    State(world): State<Arc<World>>,
    Path(username): Path<String>,
    Json(patch): Json<Map<String, Value>>,
) -> Result<Json<Account>, Refused> {
    let account = world.account(&username).ok_or_else(|| Refused::missing("account"))?;
    let changed: Account = patched(&account, patch)?;
    if changed.username != account.username {
        return Err(Refused::bad("username cannot be changed"));
    }
    Ok(Json(world.put_account(changed)))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Removal {
    #[serde(default = "user_disconnected")]
    reason: RemovalReason,
}

fn user_disconnected() -> RemovalReason {
    RemovalReason::UserDisconnected
}

async fn disconnect(
    State(world): State<Arc<World>>,
    Path(username): Path<String>,
    Json(removal): Json<Removal>,
) -> Result<StatusCode, Refused> {
    world.user_leaves(&username, removal.reason)?;
    Ok(StatusCode::NO_CONTENT)
}

async fn switches(State(world): State<Arc<World>>) -> Json<Switches> {
    Json((*world.switches()).clone())
}

async fn change_switches(
    State(world): State<Arc<World>>,
    Json(patch): Json<Map<String, Value>>,
) -> Result<Json<Switches>, Refused> {
    let changed: Switches = patched(&*world.switches(), patch)?;
    world.change_switches(|switches| *switches = changed);
    Ok(switches(State(world)).await)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DraftPost {
    privacy: Option<Privacy>,
}

async fn publish(
    State(world): State<Arc<World>>,
    Path(publish_id): Path<String>,
    Json(wish): Json<DraftPost>,
) -> Result<Json<Value>, Refused> {
    let id = world.user_posts_draft(&publish_id, wish.privacy)?;
    Ok(Json(json!({ "post_id": id.to_string() })))
}

async fn discard(State(world): State<Arc<World>>, Path(publish_id): Path<String>) -> Result<StatusCode, Refused> {
    world.user_discards_draft(&publish_id)?;
    Ok(StatusCode::NO_CONTENT)
}

async fn delete(State(world): State<Arc<World>>, Path(publish_id): Path<String>) -> Result<StatusCode, Refused> {
    world.user_deletes_post(&publish_id)?;
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Failure {
    reason: FailReason,
}

async fn fail(
    State(world): State<Arc<World>>,
    Path(publish_id): Path<String>,
    Json(failure): Json<Failure>,
) -> Result<StatusCode, Refused> {
    world.platform_fails_post(&publish_id, failure.reason)?;
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct MadeToOrder {
    event: String,
    /// User name or open id; anything else is sent as it is.
    #[serde(default)]
    account: String,
    #[serde(default)]
    content: Map<String, Value>,
    style: Option<WebhookStyle>,
    signing: Option<Signing>,
}

async fn event(State(world): State<Arc<World>>, Json(order): Json<MadeToOrder>) -> Json<Value> {
    let open_id = world
        .account(&order.account)
        .map_or(order.account, |account| account.open_id);
    let style = order.style.unwrap_or(world.switches().webhook_style);
    let event = Event {
        name: &order.event,
        open_id: &open_id,
        at: world.clock.now(),
        content: Content::Other(order.content),
    };
    let mut message = world.written(&event, style);
    if let Some(signing) = order.signing {
        message.signing = signing;
    }
    Json(json!({ "id": world.webhooks.send(&message) }))
}
