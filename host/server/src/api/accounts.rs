//! Connected accounts.

use axum::{
    Json,
    extract::{Query, State},
    http::HeaderMap,
};
use chrono::{DateTime, Utc};
use patchbay_app::{
    limits::{Counted, LimitUse},
    model::{Account, AccountStatus, KeyScope},
    problem::Problem,
    publish,
    store::AccountFilter,
};
use patchbay_core::{AccountId, PostMode};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{
    auth::Caller,
    extract::{Item, Named, Paging, id, next_cursor},
    problem::{ApiResult, ProblemBody},
    rate_limit::{self, Budget},
};
use crate::host::Host;

/// A connected account.
#[derive(Debug, Serialize, ToSchema)]
pub struct AccountBody {
    /// Id.
    #[schema(example = "acc_0199f0a2b3c47d8e9f00112233445566")]
    pub id: String,
    /// Provider.
    pub provider: String,
    /// Your own id of the end user.
    pub owner: String,
    /// The platform's id.
    pub remote_id: String,
    /// Name for people.
    pub display_name: Option<String>,
    /// Handle.
    pub username: Option<String>,
    /// Picture. Platforms let these links expire: `GET …/avatar` keeps it.
    pub avatar_url: Option<String>,
    /// Profile page.
    pub profile_url: Option<String>,
    /// Granted scopes.
    pub scopes: Vec<String>,
    /// `pending`, `active`, `reauth_required` or `revoked`.
    #[schema(value_type = String, example = "active")]
    pub status: AccountStatus,
    /// The platform's code, if it ended the access.
    pub status_code: Option<String>,
    /// Made against a simulator.
    pub simulated: bool,
    /// When the access now held ends; it is renewed ahead of that.
    pub access_expires_at: Option<DateTime<Utc>>,
    /// When it can no longer be renewed.
    pub refresh_expires_at: Option<DateTime<Utc>>,
    /// When it was last connected.
    pub connected_at: DateTime<Utc>,
    /// When it was first connected.
    pub created_at: DateTime<Utc>,
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
            avatar_url: account.avatar_url.map(Into::into),
            profile_url: account.profile_url.map(Into::into),
            scopes: account.scopes,
            status: account.status,
            status_code: account.status_code,
            simulated: account.simulated,
            access_expires_at: account.access_expires_at,
            refresh_expires_at: account.refresh_expires_at,
            connected_at: account.connected_at,
            created_at: account.created_at,
        }
    }
}

/// A page of accounts.
#[derive(Debug, Serialize, ToSchema)]
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
    /// Of this end user.
    pub owner: Option<String>,
}

/// Lists the connected accounts of a provider.
#[utoipa::path(get, path = "/api/platforms/{provider}/accounts", tag = "accounts",
    params(("provider" = String, Path, description = "Name of the provider"), Wanted, Paging),
    responses(
        (status = 200, body = AccountList),
        (status = 400, body = ProblemBody, content_type = "application/problem+json"),
        (status = 401, body = ProblemBody, content_type = "application/problem+json"),
        (status = 403, body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub async fn list(
    State(host): State<Host>,
    caller: Caller,
    Named(registered): Named,
    Query(wanted): Query<Wanted>,
    Query(paging): Query<Paging>,
) -> ApiResult<Json<AccountList>> {
    caller.may(KeyScope::Read)?;
    let bound = format!("{}/accounts/{}/{:?}", caller.tenant, registered.id(), wanted.owner);
    let page = paging.request(&host, &bound)?;
    let filter = AccountFilter {
        provider: Some(registered.id().clone()),
        owner: wanted.owner,
        status: None,
    };
    let found = host.app.store.accounts(caller.tenant, &filter, page).await?;
    Ok(Json(AccountList {
        data: found.items.into_iter().map(AccountBody::from).collect(),
        next_cursor: next_cursor(&host, &bound, found.next),
    }))
}

/// Shows one account.
#[utoipa::path(get, path = "/api/platforms/{provider}/accounts/{id}", tag = "accounts",
    params(("provider" = String, Path, description = "Name of the provider"), ("id" = String, Path, description = "Id of the account")),
    responses(
        (status = 200, body = AccountBody),
        (status = 401, body = ProblemBody, content_type = "application/problem+json"),
        (status = 403, body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub async fn show(
    State(host): State<Host>,
    caller: Caller,
    Named(registered): Named,
    Item(account): Item,
) -> ApiResult<Json<AccountBody>> {
    caller.may(KeyScope::Read)?;
    let account: AccountId = id(&account, "account")?;
    let found = host.app.store.account(caller.tenant, account).await?;
    let found = found.filter(|account| account.provider == *registered.id());
    Ok(Json(found.ok_or_else(|| Problem::not_found("account"))?.into()))
}

/// What an account may post now.
#[derive(Debug, Serialize, ToSchema)]
pub struct PublishOptionsBody {
    /// The platform's live answer: whether it may post, who is seen as the author, and which values the account's own
    /// settings allow.
    #[schema(value_type = serde_json::Map<String, serde_json::Value>)]
    pub live: patchbay_core::PublishOptions,
    /// Every option of a post, with its values.
    #[schema(value_type = Vec<serde_json::Map<String, serde_json::Value>>)]
    pub options: serde_json::Value,
    /// What a form for people says and does about them, where the platform prescribes it: options that stand together, values
    /// that exclude each other, notices, and what is agreed to by posting.
    #[schema(value_type = serde_json::Map<String, serde_json::Value>)]
    pub form: patchbay_core::PostForm,
    /// Kinds of post and their limits.
    #[schema(value_type = Vec<serde_json::Map<String, serde_json::Value>>)]
    pub kinds: serde_json::Value,
    /// What the platform's limits leave: quotas, which count posts, then rate buckets, which count calls.
    pub quotas: Vec<LimitBody>,
}

/// What one of the platform's limits leaves to an account.
#[derive(Debug, Serialize, ToSchema)]
pub struct LimitBody {
    /// Name of the quota or rate bucket.
    #[schema(example = "pending_drafts")]
    pub name: String,
    /// `posts` or `calls`: what it counts.
    #[schema(example = "posts")]
    pub counts: &'static str,
    /// `direct` or `draft`: which posts count. Absent where calls are counted.
    #[schema(value_type = Option<String>, example = "draft")]
    pub mode: Option<PostMode>,
    /// Places in all.
    pub limit: u32,
    /// Places in use.
    pub used: u32,
    /// Places that are left now. What finds none waits for one and is not refused.
    pub remaining: u32,
    /// Length of the window.
    pub window_seconds: u64,
    /// When there is a place more than now; absent: all are free.
    pub next_free_at: Option<DateTime<Utc>>,
}

impl From<LimitUse> for LimitBody {
    fn from(limit: LimitUse) -> Self {
        let (counts, mode) = match limit.counted {
            Counted::Posts(mode) => ("posts", Some(mode)),
            Counted::Calls => ("calls", None),
        };
        Self {
            name: limit.name.to_owned(),
            counts,
            mode,
            limit: limit.limit,
            used: limit.used,
            remaining: limit.remaining,
            window_seconds: limit.window.as_secs(),
            next_free_at: limit.next_free_at,
        }
    }
}

/// Asks the platform what an account may post now. Ask each time a post form is shown.
#[utoipa::path(get, path = "/api/platforms/{provider}/accounts/{id}/publish-options", tag = "accounts",
    params(("provider" = String, Path, description = "Name of the provider"), ("id" = String, Path, description = "Id of the account")),
    responses(
        (status = 200, body = PublishOptionsBody),
        (status = 401, body = ProblemBody, content_type = "application/problem+json"),
        (status = 403, body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, body = ProblemBody, content_type = "application/problem+json"),
        (status = 502, body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub async fn publish_options(
    State(host): State<Host>,
    caller: Caller,
    Named(registered): Named,
    Item(account): Item,
) -> ApiResult<(HeaderMap, Json<PublishOptionsBody>)> {
    caller.may(KeyScope::Read)?;
    let account: AccountId = id(&account, "account")?;
    let (live, limits, registered) = publish::options(&host.app, caller.tenant, Some(registered.id()), account).await?;
    let manifest = registered.manifest();
    let (now, mut headers) = (host.app.env.now(), HeaderMap::new());
    let budgets: Vec<_> = limits.iter().map(|limit| Budget::of_platform(limit, now)).collect();
    rate_limit::tell(&budgets, &mut headers);
    let body = PublishOptionsBody {
        live,
        options: serde_json::to_value(&manifest.options).unwrap_or_default(),
        form: manifest.form.clone(),
        kinds: serde_json::to_value(&manifest.kinds).unwrap_or_default(),
        quotas: limits.into_iter().map(LimitBody::from).collect(),
    };
    Ok((headers, Json(body)))
}
