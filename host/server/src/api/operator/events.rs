//! What happened in a tenant, without the fields of what happened.

use axum::{
    Json,
    extract::{Query, State},
};
use chrono::{DateTime, Utc};
use patchbay_app::{model::Event, store::EventFilter};
use patchbay_core::{AccountId, PostId};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{
    super::{
        extract::{Paging, id, next_cursor},
        problem::{ApiResult, ProblemBody},
    },
    OfTenant, Operator, provider,
};
use crate::host::Host;

/// An event, as its operator needs to know it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = OperatedEvent)]
pub struct EventBody {
    /// Id.
    pub id: String,
    /// Provider.
    pub provider: String,
    /// Name: the platform's own for its webhooks, `post.…` and `account.…` for what Patchbay did.
    #[schema(example = "post.published")]
    pub name: String,
    /// Account, if it could be told.
    pub account_id: Option<String>,
    /// Post, if it could be told.
    pub post_id: Option<String>,
    /// When it happened.
    pub occurred_at: DateTime<Utc>,
    /// When it was stored.
    pub recorded_at: DateTime<Utc>,
}

impl From<Event> for EventBody {
    fn from(event: Event) -> Self {
        Self {
            id: event.id.to_string(),
            provider: event.provider.to_string(),
            name: event.name,
            account_id: event.account.map(|id| id.to_string()),
            post_id: event.post.map(|id| id.to_string()),
            occurred_at: event.occurred_at,
            recorded_at: event.recorded_at,
        }
    }
}

/// A page of events.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = OperatedEventList)]
pub struct EventList {
    /// Newest first.
    pub data: Vec<EventBody>,
    /// For the next page; absent at the end.
    pub next_cursor: Option<String>,
}

/// Which events.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Wanted {
    /// Of this provider.
    pub provider: Option<String>,
    /// Of this account.
    pub account_id: Option<String>,
    /// Of this post.
    pub post_id: Option<String>,
}

/// Lists a tenant's events.
#[utoipa::path(get, path = "/api/operator/tenants/{tenant}/events", operation_id = "list_events", tag = "operator",
    params(("tenant" = String, Path, description = "Id of the tenant"), Wanted, Paging),
    responses(
        (status = 200, body = EventList),
        (status = 400, body = ProblemBody, content_type = "application/problem+json"),
        (status = 401, body = ProblemBody, content_type = "application/problem+json"),
        (status = 403, body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub async fn list(
    State(host): State<Host>,
    _: Operator,
    OfTenant(tenant): OfTenant,
    Query(wanted): Query<Wanted>,
    Query(paging): Query<Paging>,
) -> ApiResult<Json<EventList>> {
    let bound = format!("operator/{}/events/{wanted:?}", tenant.id);
    let page = paging.request(&host, &bound)?;
    let account = wanted
        .account_id
        .as_deref()
        .map(|text| id::<AccountId>(text, "account"));
    let post = wanted.post_id.as_deref().map(|text| id::<PostId>(text, "post"));
    let filter = EventFilter {
        provider: wanted.provider.as_deref().map(provider).transpose()?,
        account: account.transpose()?,
        post: post.transpose()?,
    };
    let found = host.app.store.events(tenant.id, &filter, page).await?;
    Ok(Json(EventList {
        data: found.items.into_iter().map(EventBody::from).collect(),
        next_cursor: next_cursor(&host, &bound, found.next),
    }))
}
