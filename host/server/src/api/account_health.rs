//! Whether an account can be used, and what to do if not.

use axum::{
    Json,
    extract::{Query, State},
};
use chrono::{DateTime, Utc};
use patchbay_app::{
    account_health::{self, Advice, Health, Use},
    model::{AccountStatus, KeyScope},
    problem::{Problem, ProblemKind},
};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{
    accounts::LimitBody,
    auth::Caller,
    extract::{Item, Named, id},
    problem::{ApiResult, ProblemBody},
};
use crate::host::Host;

/// The state of an account.
#[derive(Debug, Serialize, ToSchema)]
pub struct HealthBody {
    /// Id.
    #[schema(example = "acc_0199f0a2b3c47d8e9f00112233445566")]
    pub account_id: String,
    /// `pending`, `active`, `reauth_required` or `revoked`.
    #[schema(value_type = String, example = "active")]
    pub status: AccountStatus,
    /// The platform's code, if it ended the access.
    pub status_code: Option<String>,
    /// It is active, and nothing below speaks against using it.
    pub healthy: bool,
    /// What it can be used for.
    pub capabilities: Vec<CapabilityBody>,
    /// The access that is held now.
    pub access: AccessBody,
    /// What the platform's limits leave.
    pub quotas: Vec<LimitBody>,
    /// When the platform last told something of it by a webhook.
    pub last_webhook_at: Option<DateTime<Utc>>,
    /// What the platform said just now; absent unless `check=now`.
    pub check: Option<CheckBody>,
    /// What is wrong, and who must act. Empty: nothing.
    pub advice: Vec<AdviceBody>,
}

/// One use of an account.
#[derive(Debug, Serialize, ToSchema)]
pub struct CapabilityBody {
    /// `publish_direct`, `publish_draft` or `metrics`.
    #[schema(example = "publish_direct")]
    pub name: String,
    /// Whether the account can be used so now. A limit that is used up only makes posts wait.
    pub available: bool,
    /// Scopes that it needs and that were not granted.
    pub missing_scopes: Vec<String>,
}

/// The access that is held now.
#[derive(Debug, Serialize, ToSchema)]
pub struct AccessBody {
    /// When it ends; it is renewed ahead of that.
    pub expires_at: Option<DateTime<Utc>>,
    /// When it can no longer be renewed.
    pub refresh_expires_at: Option<DateTime<Utc>>,
    /// When it was last renewed; absent: not since it was connected.
    pub last_refresh_at: Option<DateTime<Utc>>,
    /// When it is renewed next.
    pub next_refresh_at: Option<DateTime<Utc>>,
    /// Code of the last try to renew it, if that failed.
    pub last_refresh_failure: Option<String>,
}

/// What the platform said just now.
#[derive(Debug, Serialize, ToSchema)]
pub struct CheckBody {
    /// It knows the account, and takes its access.
    pub ok: bool,
    /// Its code, if not.
    pub code: Option<String>,
}

/// One thing that is wrong.
#[derive(Debug, Serialize, ToSchema)]
pub struct AdviceBody {
    /// `not_completed`, `reauth_required`, `disconnected`, `missing_scopes`, `refresh_failing`, `access_expired`,
    /// `access_ends_soon`, `limit_reached` or `check_failed`.
    #[schema(example = "missing_scopes")]
    pub code: String,
    /// One sentence that says what to do.
    pub message: String,
    /// `nobody`, `account_owner`, `caller` or `operator`.
    #[schema(value_type = String, example = "account_owner")]
    pub who_acts: patchbay_core::WhoActs,
}

impl From<Health> for HealthBody {
    fn from(health: Health) -> Self {
        let account = health.account;
        Self {
            account_id: account.id.to_string(),
            status: account.status,
            status_code: account.status_code,
            healthy: account.status == AccountStatus::Active && health.advice.is_empty(),
            capabilities: health.uses.into_iter().map(CapabilityBody::from).collect(),
            access: AccessBody {
                expires_at: account.access_expires_at,
                refresh_expires_at: account.refresh_expires_at,
                last_refresh_at: account.refreshed_at,
                next_refresh_at: health.traces.next_refresh_at,
                last_refresh_failure: account_health::failing(&health.traces).map(str::to_owned),
            },
            quotas: health.limits.into_iter().map(LimitBody::from).collect(),
            last_webhook_at: health.traces.last_webhook_at,
            check: health.check.map(|said| CheckBody {
                ok: said.is_ok(),
                code: said.err().map(|failure| failure.code),
            }),
            advice: health.advice.into_iter().map(AdviceBody::from).collect(),
        }
    }
}

impl From<Use> for CapabilityBody {
    fn from(one: Use) -> Self {
        Self {
            name: one.capability.as_str().to_owned(),
            available: one.available,
            missing_scopes: one.missing_scopes.into_iter().map(str::to_owned).collect(),
        }
    }
}

impl From<Advice> for AdviceBody {
    fn from(advice: Advice) -> Self {
        Self {
            code: advice.code.to_owned(),
            message: advice.message,
            who_acts: advice.who,
        }
    }
}

/// How to look.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Look {
    /// `now`: ask the platform too, by one call that changes nothing. It takes its place in the platform's rate limits.
    pub check: Option<String>,
}

/// Tells whether an account can be used, for what, and who must do something about it. Without `check=now` the platform is
/// not asked.
#[utoipa::path(get, path = "/api/platforms/{provider}/accounts/{id}/health", tag = "accounts",
    params(("provider" = String, Path, description = "Name of the provider"), ("id" = String, Path, description = "Id of the account"), Look),
    responses(
        (status = 200, body = HealthBody),
        (status = 400, body = ProblemBody, content_type = "application/problem+json"),
        (status = 401, body = ProblemBody, content_type = "application/problem+json"),
        (status = 403, body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub async fn health(
    State(host): State<Host>,
    caller: Caller,
    Named(registered): Named,
    Item(account): Item,
    Query(look): Query<Look>,
) -> ApiResult<Json<HealthBody>> {
    caller.may(KeyScope::Read)?;
    let check = match look.check.as_deref() {
        None => false,
        Some("now") => true,
        Some(_) => return Err(Problem::new(ProblemKind::BadRequest, "`check` is `now`, or absent.").into()),
    };
    let account = id(&account, "account")?;
    let health = account_health::look(&host.app, caller.tenant, registered.id(), account, check).await?;
    Ok(Json(health.into()))
}
