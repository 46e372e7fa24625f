//! A tenant's accounts and their health.

use axum::{
    Json,
    extract::{Query, State},
};
use chrono::{DateTime, Utc};
use patchbay_app::{
    model::{Account, AccountStatus},
    problem::{Problem, ProblemKind},
    publish,
    store::AccountFilter,
};
use patchbay_core::AccountId;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{
    super::{
        accounts::LimitBody,
        extract::{Item, Paging, id, next_cursor},
        problem::{ApiResult, ProblemBody},
    },
    OfTenant, Operator, provider,
};
use crate::host::Host;

/// An account, as its operator needs to know it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = OperatedAccount)]
pub struct AccountBody {
    /// Id.
    #[schema(example = "acc_0199f0a2b3c47d8e9f00112233445566")]
    pub id: String,
    /// Provider.
    pub provider: String,
    /// The tenant's own id of the end user.
    pub owner: String,
    /// The platform's id.
    pub remote_id: String,
    /// Name for people.
    pub display_name: Option<String>,
    /// Handle.
    pub username: Option<String>,
    /// `pending`, `active`, `reauth_required` or `revoked`.
    #[schema(value_type = String, example = "reauth_required")]
    pub status: AccountStatus,
    /// The platform's code, if it ended the access.
    pub status_code: Option<String>,
    /// Granted scopes.
    pub scopes: Vec<String>,
    /// Made against a simulator.
    pub simulated: bool,
    /// When the access now held ends; it is renewed ahead of that.
    pub access_expires_at: Option<DateTime<Utc>>,
    /// When it can no longer be renewed.
    pub refresh_expires_at: Option<DateTime<Utc>>,
    /// When it was last connected.
    pub connected_at: DateTime<Utc>,
    /// Last change.
    pub updated_at: DateTime<Utc>,
}

impl From<Account> for AccountBody {
    fn from(account: Account) -> Self {
        Self {
            id: account.id.to_string(),
            provider: account.provider.to_string(),
            owner: account.owner,
            remote_id: account.remote_id,
            display_name: account.display_name,
            username: account.username,
            status: account.status,
            status_code: account.status_code,
            scopes: account.scopes,
            simulated: account.simulated,
            access_expires_at: account.access_expires_at,
            refresh_expires_at: account.refresh_expires_at,
            connected_at: account.connected_at,
            updated_at: account.updated_at,
        }
    }
}

/// A page of accounts.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = OperatedAccountList)]
pub struct AccountList {
    /// Newest first.
    pub data: Vec<AccountBody>,
    /// For the next page; absent at the end.
    pub next_cursor: Option<String>,
}

/// Which accounts.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Wanted {
    /// Of this provider.
    pub provider: Option<String>,
    /// In this state.
    pub status: Option<String>,
    /// Of this end user.
    pub owner: Option<String>,
}

/// Lists a tenant's accounts.
#[utoipa::path(get, path = "/api/operator/tenants/{tenant}/accounts", operation_id = "list_accounts", tag = "operator",
    params(("tenant" = String, Path, description = "Id of the tenant"), Wanted, Paging),
    responses(
        (status = 200, body = AccountList),
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
) -> ApiResult<Json<AccountList>> {
    let bound = format!("operator/{}/accounts/{wanted:?}", tenant.id);
    let page = paging.request(&host, &bound)?;
    let status = wanted.status.as_deref().map(str::parse).transpose();
    let filter = AccountFilter {
        provider: wanted.provider.as_deref().map(provider).transpose()?,
        owner: wanted.owner,
        status: status.map_err(|_| {
            let detail = "`status` is one of pending, active, reauth_required, revoked.";
            Problem::new(ProblemKind::BadRequest, detail)
        })?,
    };
    let found = host.app.store.accounts(tenant.id, &filter, page).await?;
    Ok(Json(AccountList {
        data: found.items.into_iter().map(AccountBody::from).collect(),
        next_cursor: next_cursor(&host, &bound, found.next),
    }))
}

/// An account, with what the platform's limits leave to it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = OperatedAccountDetail)]
pub struct AccountDetail {
    /// The account.
    #[serde(flatten)]
    pub account: AccountBody,
    /// Quotas, which count posts, then rate buckets, which count calls.
    pub quotas: Vec<LimitBody>,
}

/// Shows a tenant's account, with the use of the platform's limits.
#[utoipa::path(get, path = "/api/operator/tenants/{tenant}/accounts/{id}", operation_id = "show_account", tag = "operator",
    params(("tenant" = String, Path, description = "Id of the tenant"), ("id" = String, Path, description = "Id of the account")),
    responses(
        (status = 200, body = AccountDetail),
        (status = 401, body = ProblemBody, content_type = "application/problem+json"),
        (status = 403, body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub async fn show(
    State(host): State<Host>,
    _: Operator,
    OfTenant(tenant): OfTenant,
    Item(account): Item,
) -> ApiResult<Json<AccountDetail>> {
    let account: AccountId = id(&account, "account")?;
    let found = host.app.store.account(tenant.id, account).await?;
    let account = found.ok_or_else(|| Problem::not_found("account"))?;
    let limits = publish::limits_of_account(&host.app, &account).await?;
    Ok(Json(AccountDetail {
        account: account.into(),
        quotas: limits.into_iter().map(LimitBody::from).collect(),
    }))
}
