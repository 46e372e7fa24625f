//! Tenants and their API keys, for the operator.

use axum::{
    Json,
    extract::{Path, Query, State, rejection::PathRejection},
    http::StatusCode,
};
use chrono::{DateTime, Utc};
use patchbay_app::{
    model::{ApiKey, ApiKeyState, AuditAction, KeyScope, Tenant},
    problem::{Problem, ProblemKind},
    store::{Constraint, StoreError},
};
use patchbay_core::{ApiKeyId, FieldIssue, TenantId};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use super::{
    extract::{Item, JsonBody, Paging, id, next_cursor},
    operator::Operator,
    problem::{ApiResult, ProblemBody},
};
use crate::{host::Host, keys::NewKey};

/// Longest name of a tenant or key, in characters.
const NAME: usize = 100;

/// A tenant: a product team, whose accounts, posts and media no other tenant sees.
#[derive(Debug, Serialize, ToSchema)]
pub struct TenantBody {
    /// Id.
    #[schema(example = "ten_0199f0a2b3c47d8e9f00112233445566")]
    pub id: String,
    /// Unique name.
    #[schema(example = "acme")]
    pub name: String,
    /// When it was made.
    pub created_at: DateTime<Utc>,
}

impl From<Tenant> for TenantBody {
    fn from(tenant: Tenant) -> Self {
        Self {
            id: tenant.id.to_string(),
            name: tenant.name,
            created_at: tenant.created_at,
        }
    }
}

/// A page of tenants.
#[derive(Debug, Serialize, ToSchema)]
pub struct TenantList {
    /// Newest first.
    pub data: Vec<TenantBody>,
    /// For the next page; absent at the end.
    pub next_cursor: Option<String>,
}

/// A tenant to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "name": "acme" }))]
pub struct NewTenant {
    /// Unique name.
    #[schema(example = "acme", min_length = 1, max_length = 100)]
    pub name: String,
}

/// An API key of a tenant. Its text is shown once, where it is made.
#[derive(Debug, Serialize, ToSchema)]
pub struct KeyBody {
    /// Id.
    #[schema(example = "key_0199f0a2b3c47d8e9f00112233445566")]
    pub id: String,
    /// Label.
    #[schema(example = "backend")]
    pub name: String,
    /// Start of its text, by which a leaked key is recognised.
    #[schema(example = "pb_live_4fXz81PqLm0c")]
    pub begins_with: String,
    /// What it may do.
    #[schema(value_type = Vec<String>, example = json!(["read", "publish"]))]
    pub scopes: Vec<KeyScope>,
    /// `live`, `expired` or `revoked`.
    #[schema(value_type = String, example = "live")]
    pub state: ApiKeyState,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When it dies; absent: never.
    pub expires_at: Option<DateTime<Utc>>,
    /// When it was killed.
    pub revoked_at: Option<DateTime<Utc>>,
    /// Hour of its last use; absent: it was never used.
    pub last_used_at: Option<DateTime<Utc>>,
}

impl KeyBody {
    fn of(key: ApiKey, now: DateTime<Utc>) -> Self {
        Self {
            state: key.state(now),
            id: key.id.to_string(),
            name: key.name,
            begins_with: format!("{}{}", crate::keys::PREFIX, key.public_id),
            scopes: key.scopes,
            created_at: key.created_at,
            expires_at: key.expires_at,
            revoked_at: key.revoked_at,
            last_used_at: key.last_used_at,
        }
    }
}

/// A page of API keys.
#[derive(Debug, Serialize, ToSchema)]
pub struct KeyList {
    /// Those that were used last come first; one that never was stands where it was made.
    pub data: Vec<KeyBody>,
    /// For the next page; absent at the end.
    pub next_cursor: Option<String>,
}

/// An API key to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "name": "backend", "scopes": ["read", "publish"] }))]
pub struct NewKeyBody {
    /// Label.
    #[schema(example = "backend", min_length = 1, max_length = 100)]
    pub name: String,
    /// What it may do: `read`, `connect`, `publish`. By default all three.
    #[serde(default)]
    #[schema(value_type = Option<Vec<String>>, example = json!(["read", "publish"]))]
    pub scopes: Option<Vec<KeyScope>>,
    /// When it dies; absent: never.
    #[serde(default)]
    pub expires_at: Option<DateTime<Utc>>,
}

/// A new API key.
#[derive(Serialize, ToSchema)]
pub struct CreatedKey {
    /// What lists show of it.
    #[serde(flatten)]
    pub key: KeyBody,
    /// Its text, for `Authorization: Bearer`. It is shown only here.
    #[schema(example = "pb_live_4fXz81PqLm0c_…")]
    pub text: String,
}

/// Makes a tenant. A name is given once, so a repeated request makes no second one.
#[utoipa::path(post, path = "/api/tenants", tag = "tenants", request_body = NewTenant, responses(
    (status = 201, body = TenantBody),
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
    operator: Operator,
    JsonBody(wanted): JsonBody<NewTenant>,
) -> ApiResult<(StatusCode, Json<TenantBody>)> {
    check_name(&wanted.name)?;
    let tenant = TenantId::from_uuid(host.app.env.ids.next());
    let audit = operator
        .by
        .did(&host.app.env, AuditAction::TenantCreated, tenant)
        .to(&tenant);
    match host.app.store.create_tenant(tenant, &wanted.name, &audit).await {
        Ok(tenant) => Ok((StatusCode::CREATED, Json(tenant.into()))),
        Err(StoreError::Conflict(Constraint::Name)) => Err(name_taken().into()),
        Err(error) => Err(Problem::from(error).into()),
    }
}

/// Lists all tenants.
#[utoipa::path(get, path = "/api/tenants", tag = "tenants", params(Paging), responses(
    (status = 200, body = TenantList),
    (status = 400, body = ProblemBody, content_type = "application/problem+json"),
    (status = 401, body = ProblemBody, content_type = "application/problem+json"),
    (status = 403, body = ProblemBody, content_type = "application/problem+json"),
))]
pub async fn list(State(host): State<Host>, _: Operator, Query(paging): Query<Paging>) -> ApiResult<Json<TenantList>> {
    let bound = "tenants";
    let page = paging.request(&host, bound)?;
    let found = host.app.store.tenants(page).await?;
    Ok(Json(TenantList {
        data: found.items.into_iter().map(TenantBody::from).collect(),
        next_cursor: next_cursor(&host, bound, found.next),
    }))
}

/// Shows one tenant.
#[utoipa::path(get, path = "/api/tenants/{id}", tag = "tenants",
    params(("id" = String, Path, description = "Id of the tenant")),
    responses(
        (status = 200, body = TenantBody),
        (status = 401, body = ProblemBody, content_type = "application/problem+json"),
        (status = 403, body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub async fn show(State(host): State<Host>, _: Operator, Item(tenant): Item) -> ApiResult<Json<TenantBody>> {
    Ok(Json(named(&host, &tenant).await?.into()))
}

/// Gives a tenant another name. A repeated request changes nothing.
#[utoipa::path(patch, path = "/api/tenants/{id}", tag = "tenants", request_body = NewTenant,
    params(("id" = String, Path, description = "Id of the tenant")),
    responses(
        (status = 200, body = TenantBody),
        (status = 400, body = ProblemBody, content_type = "application/problem+json"),
        (status = 401, body = ProblemBody, content_type = "application/problem+json"),
        (status = 403, body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, body = ProblemBody, content_type = "application/problem+json"),
        (status = 413, body = ProblemBody, content_type = "application/problem+json"),
        (status = 415, body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub async fn rename(
    State(host): State<Host>,
    operator: Operator,
    Item(tenant): Item,
    JsonBody(wanted): JsonBody<NewTenant>,
) -> ApiResult<Json<TenantBody>> {
    let tenant: TenantId = id(&tenant, "tenant")?;
    check_name(&wanted.name)?;
    let audit = operator
        .by
        .did(&host.app.env, AuditAction::TenantRenamed, tenant)
        .to(&tenant);
    match host.app.store.rename_tenant(tenant, &wanted.name, &audit).await {
        Ok(Some(tenant)) => Ok(Json(tenant.into())),
        Ok(None) => Err(Problem::not_found("tenant").into()),
        Err(StoreError::Conflict(Constraint::Name)) => Err(name_taken().into()),
        Err(error) => Err(Problem::from(error).into()),
    }
}

/// Makes an API key of a tenant. The answer is the only place where its text is shown. A repeated request makes another
/// key: revoke what you do not need.
#[utoipa::path(post, path = "/api/tenants/{id}/keys", tag = "tenants", request_body = NewKeyBody,
    params(("id" = String, Path, description = "Id of the tenant")),
    responses(
        (status = 201, body = CreatedKey),
        (status = 400, body = ProblemBody, content_type = "application/problem+json"),
        (status = 401, body = ProblemBody, content_type = "application/problem+json"),
        (status = 403, body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, body = ProblemBody, content_type = "application/problem+json"),
        (status = 413, body = ProblemBody, content_type = "application/problem+json"),
        (status = 415, body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub async fn create_key(
    State(host): State<Host>,
    operator: Operator,
    Item(tenant): Item,
    JsonBody(wanted): JsonBody<NewKeyBody>,
) -> ApiResult<(StatusCode, Json<CreatedKey>)> {
    let tenant = named(&host, &tenant).await?;
    let now = host.app.env.now();
    check_name(&wanted.name)?;
    if wanted.expires_at.is_some_and(|end| end <= now) {
        return Err(refused("/expires_at", "in_the_past", "Give a time to come, or none.").into());
    }
    let key = NewKey {
        tenant: tenant.id,
        name: wanted.name,
        scopes: checked_scopes(wanted.scopes)?,
        expires_at: wanted.expires_at,
    };
    let (key, text) = key.make(&host.app.env, &host.app.vault);
    let audit = operator
        .by
        .did(&host.app.env, AuditAction::KeyCreated, tenant.id)
        .to(&key.id)
        .saying(json!({ "scopes": key.scopes, "expires_at": key.expires_at }));
    host.app.store.create_api_key(&key, &audit).await?;
    let created = CreatedKey {
        key: KeyBody::of(key, now),
        text: text.expose().clone(),
    };
    Ok((StatusCode::CREATED, Json(created)))
}

/// Lists the API keys of a tenant, dead ones included.
#[utoipa::path(get, path = "/api/tenants/{id}/keys", tag = "tenants",
    params(("id" = String, Path, description = "Id of the tenant"), Paging),
    responses(
        (status = 200, body = KeyList),
        (status = 400, body = ProblemBody, content_type = "application/problem+json"),
        (status = 401, body = ProblemBody, content_type = "application/problem+json"),
        (status = 403, body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub async fn list_keys(
    State(host): State<Host>,
    _: Operator,
    Item(tenant): Item,
    Query(paging): Query<Paging>,
) -> ApiResult<Json<KeyList>> {
    let tenant = named(&host, &tenant).await?.id;
    let bound = format!("{tenant}/keys");
    let page = paging.request(&host, &bound)?;
    let found = host.app.store.api_keys(tenant, page).await?;
    let now = host.app.env.now();
    Ok(Json(KeyList {
        data: found.items.into_iter().map(|key| KeyBody::of(key, now)).collect(),
        next_cursor: next_cursor(&host, &bound, found.next),
    }))
}

/// Kills an API key. Every host stops taking it within five seconds. To kill a dead one changes nothing.
#[utoipa::path(delete, path = "/api/tenants/{id}/keys/{key}", tag = "tenants",
    params(("id" = String, Path, description = "Id of the tenant"), ("key" = String, Path, description = "Id of the key")),
    responses(
        (status = 204, description = "It is dead"),
        (status = 401, body = ProblemBody, content_type = "application/problem+json"),
        (status = 403, body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub async fn revoke_key(
    State(host): State<Host>,
    operator: Operator,
    path: Result<Path<(String, String)>, PathRejection>,
) -> ApiResult<StatusCode> {
    let Path((tenant, key)) = path.map_err(|_| Problem::not_found("key"))?;
    let (tenant, key): (TenantId, ApiKeyId) = (id(&tenant, "tenant")?, id(&key, "key")?);
    let audit = operator.by.did(&host.app.env, AuditAction::KeyRevoked, tenant).to(&key);
    if !host.app.store.revoke_api_key(tenant, key, &audit).await? {
        return Err(Problem::not_found("key").into());
    }
    // Other hosts forget it in five seconds.
    host.gate.forget(key);
    Ok(StatusCode::NO_CONTENT)
}

fn name_taken() -> Problem {
    let detail = "A tenant of this name is there. Find it in the list, or choose another name.";
    Problem::new(ProblemKind::NameTaken, detail)
}

pub(super) async fn named(host: &Host, tenant: &str) -> Result<Tenant, Problem> {
    let tenant: TenantId = id(tenant, "tenant")?;
    let found = host.app.store.tenant(tenant).await?;
    found.ok_or_else(|| Problem::not_found("tenant"))
}

fn check_name(name: &str) -> Result<(), Problem> {
    let is_blank = name.trim().is_empty();
    if is_blank || name.chars().count() > NAME || name.chars().any(char::is_control) {
        let message = "A name has 1 to 100 characters, not only blanks and no control characters.";
        return Err(refused("/name", "malformed", message));
    }
    Ok(())
}

/// What a tenant's key may do: never what the operator's may.
fn checked_scopes(wanted: Option<Vec<KeyScope>>) -> Result<Vec<KeyScope>, Problem> {
    let Some(wanted) = wanted else {
        return Ok(KeyScope::OF_TENANT.to_vec());
    };
    if wanted.contains(&KeyScope::Operator) {
        let message = "A key of the operator is made by `patchbay keys create --scope operator`.";
        return Err(refused("/scopes", "not_allowed", message));
    }
    // In one order, each once.
    let scopes: Vec<_> = KeyScope::OF_TENANT
        .into_iter()
        .filter(|scope| wanted.contains(scope))
        .collect();
    if scopes.is_empty() {
        return Err(refused(
            "/scopes",
            "missing",
            "Name at least one scope, or leave the field out.",
        ));
    }
    Ok(scopes)
}

fn refused(pointer: &str, code: &'static str, message: &str) -> Problem {
    Problem::invalid(vec![FieldIssue::new(pointer, code, message)])
}
