//! Whether an account can be used, for what, and who must do something about it. It is read from what is stored; the platform
//! is asked only on request, by a call that changes nothing.

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use patchbay_core::{AccountId, Capability, Ctx, ErrorKind, ProviderError, ProviderId, TenantId, WhoActs};

use crate::{
    App,
    limits::{self, Counted, LimitUse},
    model::{Account, AccountStatus, Failure},
    outbound::Outbound,
    problem::Problem,
    registry::Registered,
    store::AccountTraces,
    tokens::{self, CALL_MARGIN, TokenError},
};

/// How long before its end a grant that cannot be renewed any more is spoken of.
const ENDS_SOON: TimeDelta = TimeDelta::days(7);

/// The state of an account.
pub struct Health {
    /// The account.
    pub account: Account,
    /// What it can be used for.
    pub uses: Vec<Use>,
    /// What other rows tell of it.
    pub traces: AccountTraces,
    /// What the platform's limits leave.
    pub limits: Vec<LimitUse>,
    /// What the platform said just now, if it was asked.
    pub check: Option<Result<(), Failure>>,
    /// What is wrong, and who must act. Empty: nothing.
    pub advice: Vec<Advice>,
}

/// One use of an account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Use {
    /// Which.
    pub capability: Capability,
    /// Scopes that it needs and that were not granted.
    pub missing_scopes: Vec<&'static str>,
    /// Whether the account can be used so now.
    pub available: bool,
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Advice {
    /// Stable code.
    pub code: &'static str,
    /// One sentence that says what to do.
    pub message: String,
    /// Who must act.
    pub who: WhoActs,
}

/// Looks at an account. With `check`, the platform is asked who it is, under the account's token and rate limits; what that
/// call finds out about the token holds for everything else.
///
/// # Errors
/// The account is not this tenant's at this platform, or the store failed.
pub async fn look(
    app: &Arc<App>,
    tenant: TenantId,
    provider: &ProviderId,
    id: AccountId,
    check: bool,
) -> Result<Health, Problem> {
    let find = async || {
        let found = app.store.account(tenant, id).await?;
        let found = found.filter(|account| account.provider == *provider);
        found.ok_or_else(|| Problem::not_found("account"))
    };
    let registered = app.registered(provider)?;
    let mut account = find().await?;
    let mut checked = None;
    if check {
        checked = Some(ask(app, &registered, &account).await?);
        account = find().await?;
    }
    let traces = app.store.account_traces(tenant, id).await?;
    let limits = limits::uses(app, &registered, tenant, id, None).await?;
    let manifest = registered.manifest();
    let uses: Vec<_> = manifest
        .needs
        .iter()
        .map(|need| {
            let missing_scopes = manifest.lacking(need.capability, &account.scopes);
            Use {
                capability: need.capability,
                available: account.status == AccountStatus::Active && missing_scopes.is_empty(),
                missing_scopes,
            }
        })
        .collect();
    let mut health = Health {
        account,
        uses,
        traces,
        limits,
        check: checked,
        advice: Vec::new(),
    };
    health.advice = advise(&health, app.env.now());
    Ok(health)
}

/// Asks the platform who the account is; after a refused token once more with a renewed one.
async fn ask(app: &Arc<App>, registered: &Registered, account: &Account) -> Result<Result<(), Failure>, Problem> {
    let said = |error: &ProviderError| Ok(Err(Failure::of(error)));
    let (tenant, id) = (account.tenant, account.id);
    let Some(oauth) = registered.provider.oauth() else {
        return Ok(Ok(()));
    };
    let mut ready = tokens::ready(app, tenant, id, CALL_MARGIN).await;
    for last in [false, true] {
        let ready_now = match ready {
            Ok(ready) => ready,
            Err(TokenError::Refresh(error)) => return said(&error),
            Err(TokenError::NotActive(status)) => {
                let kind = ErrorKind::ReauthRequired;
                return said(&ProviderError::new(
                    kind,
                    "account_not_active",
                    format!("the account is {status}"),
                ));
            }
            Err(error) => return Err(error.into()),
        };
        let version = ready_now.account.token_version;
        let correlation_id = format!("health-{id}");
        let outbound = Outbound::new(
            app,
            registered,
            Some(&ready_now.account),
            ready_now.secrets,
            &correlation_id,
        );
        let ctx = Ctx::new(&outbound, app.env.now(), &registered.app, Some(&ready_now.view));
        match oauth.identity(&ctx).await {
            Ok(_) => return Ok(Ok(())),
            Err(error) if last || error.kind != ErrorKind::ReauthRequired || error.code == "missing_scope" => {
                return said(&error);
            }
            Err(_) => ready = tokens::ready_newer(app, tenant, id, version).await,
        }
    }
    Ok(Ok(()))
}

fn advise(health: &Health, now: DateTime<Utc>) -> Vec<Advice> {
    let account = &health.account;
    let mut advice = Vec::new();
    let mut say = |code, who, message: String| advice.push(Advice { code, message, who });
    match account.status {
        AccountStatus::Active => {}
        AccountStatus::Pending => say(
            "not_completed",
            WhoActs::Caller,
            "Complete its connect session with the code that the browser brought; else its grant is ended.".to_owned(),
        ),
        AccountStatus::ReauthRequired => say(
            "reauth_required",
            WhoActs::AccountOwner,
            "The platform has ended the access. Connect the account again: make a connect session with its account_id. Its \
             posts wait for that for seven days."
                .to_owned(),
        ),
        AccountStatus::Revoked => say(
            "disconnected",
            WhoActs::AccountOwner,
            "The account is disconnected. Connect it again to use it.".to_owned(),
        ),
    }
    let usable = matches!(account.status, AccountStatus::Active | AccountStatus::Pending);
    for one in &health.uses {
        if usable && !one.missing_scopes.is_empty() {
            let message = format!(
                "Not allowed for {}: {}. Connect the account again, and leave that switched on.",
                one.capability.as_str(),
                one.missing_scopes.join(", ")
            );
            say("missing_scopes", WhoActs::AccountOwner, message);
        }
    }
    if let (true, Some(error)) = (usable, failing(&health.traces)) {
        let message = format!("The access could not be renewed ({error}). Patchbay tries again.");
        say("refresh_failing", WhoActs::Nobody, message);
    } else if usable && account.access_expires_at.is_some_and(|end| end <= now) {
        let message = "The access has run out and was not renewed. See whether workers of the lane refresh run.";
        say("access_expired", WhoActs::Operator, message.to_owned());
    }
    if usable && account.refresh_expires_at.is_some_and(|end| end <= now + ENDS_SOON) {
        let message = "The access can soon be renewed no more. Connect the account again before that.";
        say("access_ends_soon", WhoActs::AccountOwner, message.to_owned());
    }
    for limit in &health.limits {
        if usable && limit.remaining == 0 && matches!(limit.counted, Counted::Posts(_)) {
            let message = format!(
                "The limit {} of the platform is used up. Posts wait until it leaves a place.",
                limit.name
            );
            say("limit_reached", WhoActs::Nobody, message);
        }
    }
    if let (true, Some(Err(failure))) = (usable, &health.check) {
        say("check_failed", failure.who_acts, failure.advice.clone());
    }
    advice
}

/// The code of the last try to renew, if it failed.
#[must_use]
pub fn failing(traces: &AccountTraces) -> Option<&str> {
    traces
        .refresh_error
        .as_deref()
        .filter(|code| traces.refresh_attempts > 0 && *code != "pending")
}
