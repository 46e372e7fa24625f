//! Erasing accounts, owners and tenants for good, and the receipts of it.

use std::collections::BTreeMap;

use axum::{
    Json,
    extract::{FromRequestParts, Path, Query, State, rejection::PathRejection},
    http::{StatusCode, request::Parts},
};
use chrono::{DateTime, Utc};
use patchbay_app::{
    erase,
    model::{Erasure, KeyScope, Subject},
    problem::Problem,
};
use patchbay_core::{AccountId, ErasureId, FieldIssue, TenantId};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{
    auth::Caller,
    extract::{Item, Named, id},
    operator::{Operator, is_browser},
    problem::{ApiProblem, ApiResult, ProblemBody},
};
use crate::host::Host;

/// An erasure. When it is `done`, this is its receipt.
#[derive(Debug, Serialize, ToSchema)]
pub struct ErasureBody {
    /// Id.
    #[schema(example = "era_0199f0a2b3c47d8e9f00112233445566")]
    pub id: String,
    /// Tenant.
    pub tenant_id: String,
    /// What is erased.
    #[schema(value_type = SubjectBody, example = "owner")]
    pub subject: &'static str,
    /// The account, if it is one.
    pub account_id: Option<String>,
    /// How far it is.
    #[schema(value_type = ErasureStateBody, example = "done")]
    pub status: &'static str,
    /// Rows and files that are gone, by kind.
    #[schema(example = json!({ "accounts": 1, "events": 12, "posts": 3 }))]
    pub deleted: BTreeMap<String, u64>,
    /// What platforms said when they were told that a grant is over; at most 1,000. Accounts without tokens are not here.
    pub grants: Vec<ErasedGrantBody>,
    /// When it was asked for.
    pub requested_at: DateTime<Utc>,
    /// When it was done.
    pub finished_at: Option<DateTime<Utc>>,
}

/// A grant that was ended.
#[derive(Debug, Serialize, ToSchema)]
pub struct ErasedGrantBody {
    /// Account that it was of.
    pub account_id: String,
    /// Provider.
    pub provider: String,
    /// How it ended. The tokens are erased either way.
    #[schema(value_type = GrantEndBody, example = "revoked")]
    pub outcome: &'static str,
    /// Why the platform was not told.
    pub code: Option<String>,
    /// When.
    pub at: DateTime<Utc>,
}

/// What is erased.
#[derive(ToSchema)]
#[schema(as = ErasureSubject)]
#[allow(non_camel_case_types, dead_code, reason = "the names are the JSON values")]
pub enum SubjectBody {
    /// A tenant with all that it has.
    tenant,
    /// All accounts of an end user.
    owner,
    /// One account.
    account,
}

/// How far an erasure is.
#[derive(ToSchema)]
#[schema(as = ErasureState)]
#[allow(non_camel_case_types, dead_code, reason = "the names are the JSON values")]
pub enum ErasureStateBody {
    /// It goes on.
    running,
    /// Nothing is left.
    done,
}

/// How a grant ended.
#[derive(ToSchema)]
#[schema(as = GrantEnd)]
#[allow(non_camel_case_types, dead_code, reason = "the names are the JSON values")]
pub enum GrantEndBody {
    /// The platform has ended it.
    revoked,
    /// The platform could not be told, after five tries, or refused; or another account still stands on the grant
    /// (`grant_shared`).
    not_told,
}

impl From<Erasure> for ErasureBody {
    fn from(erasure: Erasure) -> Self {
        let grants = erasure.grants.into_iter().map(|grant| ErasedGrantBody {
            account_id: grant.account.to_string(),
            provider: grant.provider.to_string(),
            outcome: grant.end.as_str(),
            code: grant.code,
            at: grant.at,
        });
        Self {
            id: erasure.id.to_string(),
            tenant_id: erasure.tenant.to_string(),
            subject: erasure.subject.as_str(),
            account_id: match erasure.subject {
                Subject::Account(id) => Some(id.to_string()),
                Subject::Tenant | Subject::Owner(_) => None,
            },
            status: if erasure.finished_at.is_some() {
                "done"
            } else {
                "running"
            },
            deleted: erasure.counts,
            grants: grants.collect(),
            requested_at: erasure.requested_at,
            finished_at: erasure.finished_at,
        }
    }
}

/// Proof that a tenant is meant.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Confirm {
    /// The tenant's name.
    #[param(example = "acme")]
    pub confirm: Option<String>,
}

/// Erases an account for good: its posts stop, its grant is ended at the platform, and its tokens, posts, journals, events
/// and deliveries are deleted. Uploaded files go when they expire. The answer is an erasure, which becomes the receipt. To ask
/// again finds the same one. To end a grant and keep what was done with it, disconnect.
#[utoipa::path(delete, path = "/api/platforms/{provider}/accounts/{id}", tag = "erasures",
    params(
        ("provider" = String, Path, description = "Name of the platform"),
        ("id" = String, Path, description = "Id of the account")
    ),
    responses(
        (status = 202, body = ErasureBody),
        (status = 401, body = ProblemBody, content_type = "application/problem+json"),
        (status = 403, body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub async fn erase_account(
    State(host): State<Host>,
    caller: Caller,
    Named(registered): Named,
    Item(item): Item,
) -> ApiResult<(StatusCode, Json<ErasureBody>)> {
    caller.may(KeyScope::Connect)?;
    let account: AccountId = id(&item, "account")?;
    let found = host.app.store.account(caller.tenant, account).await?;
    if found.is_some_and(|account| account.provider != *registered.id()) {
        return Err(Problem::not_found("account").into());
    }
    let subject = Subject::Account(account);
    let erasure = erase::begin(&host.app, &caller.by, caller.tenant, subject).await?;
    Ok((StatusCode::ACCEPTED, Json(erasure.into())))
}

/// Erases all accounts of an end user for good, as one account is erased.
#[utoipa::path(delete, path = "/api/owners/{owner}", tag = "erasures",
    params(("owner" = String, Path, description = "The end user, as named in the connect session")),
    responses(
        (status = 202, body = ErasureBody),
        (status = 401, body = ProblemBody, content_type = "application/problem+json"),
        (status = 403, body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub async fn erase_owner(
    State(host): State<Host>,
    caller: Caller,
    path: Result<Path<String>, PathRejection>,
) -> ApiResult<(StatusCode, Json<ErasureBody>)> {
    caller.may(KeyScope::Connect)?;
    let Path(owner) = path.map_err(|_| Problem::not_found("owner"))?;
    // What no database takes is nobody's name.
    if owner.contains('\0') {
        return Err(Problem::not_found("owner").into());
    }
    let subject = Subject::Owner(Some(owner));
    let erasure = erase::begin(&host.app, &caller.by, caller.tenant, subject).await?;
    Ok((StatusCode::ACCEPTED, Json(erasure.into())))
}

/// Erases a tenant for good, with all that it has. Its keys are dead at once; its grants are ended at the platforms; then
/// its data key is destroyed, so that nothing that it had sealed opens any more, and its rows and files are deleted. Its audit
/// log and the receipt stay. The default tenant cannot be erased.
#[utoipa::path(delete, path = "/api/tenants/{id}", tag = "tenants",
    params(("id" = String, Path, description = "Id of the tenant"), Confirm),
    responses(
        (status = 202, body = ErasureBody),
        (status = 400, body = ProblemBody, content_type = "application/problem+json"),
        (status = 401, body = ProblemBody, content_type = "application/problem+json"),
        (status = 403, body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub async fn erase_tenant(
    State(host): State<Host>,
    operator: Operator,
    Item(item): Item,
    Query(Confirm { confirm }): Query<Confirm>,
) -> ApiResult<(StatusCode, Json<ErasureBody>)> {
    let tenant: TenantId = id(&item, "tenant")?;
    // One that is gone has no name, and the answer is its receipt.
    if let Some(found) = host.app.store.tenant(tenant).await?
        && confirm.is_none_or(|name| name != found.name)
    {
        let message = "Give the tenant's name, as proof that it is the one that is meant.";
        let issue = FieldIssue::new("/confirm", "not_confirmed", message);
        return Err(Problem::invalid(vec![issue]).into());
    }
    let erasure = erase::begin(&host.app, &operator.by, tenant, Subject::Tenant).await?;
    Ok((StatusCode::ACCEPTED, Json(erasure.into())))
}

/// Who reads a receipt: the operator, be it by a key or in its browser, or a tenant.
pub enum Reader {
    /// The operator.
    Operator,
    /// A tenant.
    Tenant(TenantId),
}

impl FromRequestParts<Host> for Reader {
    type Rejection = ApiProblem;

    async fn from_request_parts(parts: &mut Parts, host: &Host) -> Result<Self, ApiProblem> {
        if is_browser(parts, host) {
            Operator::from_request_parts(parts, host).await?;
            return Ok(Self::Operator);
        }
        let caller = Caller::from_request_parts(parts, host).await?;
        if caller.scopes.contains(&KeyScope::Operator) {
            return Ok(Self::Operator);
        }
        caller.may(KeyScope::Read)?;
        Ok(Self::Tenant(caller.tenant))
    }
}

/// Shows an erasure, or the receipt of it. The operator sees those of tenants, a tenant its own others.
#[utoipa::path(get, path = "/api/erasures/{id}", tag = "erasures",
    security(("api_key" = []), ("operator_session" = [], "operator_csrf" = [])),
    params(("id" = String, Path, description = "Id of the erasure")),
    responses(
        (status = 200, body = ErasureBody),
        (status = 401, body = ProblemBody, content_type = "application/problem+json"),
        (status = 403, body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub async fn show(State(host): State<Host>, reader: Reader, Item(item): Item) -> ApiResult<Json<ErasureBody>> {
    let erasure: ErasureId = id(&item, "erasure")?;
    let found = host.app.store.erasure(erasure).await?;
    let mine = found.filter(|erasure| match (&erasure.subject, &reader) {
        (Subject::Tenant, Reader::Operator) => true,
        (Subject::Owner(_) | Subject::Account(_), Reader::Tenant(tenant)) => erasure.tenant == *tenant,
        (Subject::Tenant, Reader::Tenant(_)) | (Subject::Owner(_) | Subject::Account(_), Reader::Operator) => false,
    });
    Ok(Json(mine.ok_or_else(|| Problem::not_found("erasure"))?.into()))
}
