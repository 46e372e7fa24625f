//! How a grant ends: by the tenant's word, or because nobody took the account.

use std::{sync::Arc, time::Duration};

use chrono::TimeDelta;
use patchbay_core::{AccountId, Ctx, ErrorKind, EventId, JobId, ProviderError, TenantId};
use serde_json::json;
use tracing::{info, warn};

use crate::{
    App,
    model::{Account, AuditAction, By, JobKind, NewEvent, NewJob},
    outbound::Outbound,
    problem::Problem,
    store::StoreResult,
    tokens,
};

/// How long a disconnect waits for tokens to be renewed first.
const RENEW_FIRST: Duration = Duration::from_secs(10);

/// Ends a grant: the account is unusable at once; the platform is told now if it answers, else by a job that tries
/// again; then the tokens are erased.
///
/// # Errors
/// The account is not this tenant's, or the store failed.
pub async fn disconnect(app: &Arc<App>, by: &By, tenant: TenantId, id: AccountId) -> Result<Account, Problem> {
    // Platforms take a live access token for this. A dead one would look as if the grant were gone already.
    let _ = tokio::time::timeout(RENEW_FIRST, tokens::ready(app, tenant, id, Duration::from_mins(1))).await;
    let revoke = NewJob {
        id: JobId::from_uuid(app.env.ids.next()),
        tenant,
        kind: JobKind::Revoke,
        target: id.as_uuid(),
        concurrency_key: None,
        // Later than the try that follows here, which erases the job when it succeeds.
        run_at: Some(app.store.now().await? + TimeDelta::seconds(40)),
        correlation_id: format!("disconnect-{id}"),
    };
    let event = NewEvent {
        id: EventId::from_uuid(app.env.ids.next()),
        name: "account.disconnected".to_owned(),
        dedupe_key: format!("{id}:disconnected:{}", revoke.id),
        account: Some(id),
        post: None,
        payload: json!({ "by": "tenant" }),
    };
    let audit = by.did(&app.env, AuditAction::AccountDisconnected, tenant).to(&id);
    let account = app
        .store
        .begin_disconnect(tenant, id, "disconnected", Some(&revoke), &event, &audit)
        .await?
        .ok_or_else(|| Problem::not_found("account"))?;
    if account.tokens.is_some()
        && let Err(error) = revoke_at_platform(app, account.clone()).await
    {
        warn!(account.id = %id, code = %error.code, "The platform could not be told yet; a job tries again");
        return Ok(account);
    }
    app.store.erase_tokens(tenant, id).await?;
    info!(account.id = %id, "Disconnected an account");
    Ok(Account {
        tokens: None,
        ..account
    })
}

/// What became of a grant at the platform.
pub(crate) enum Revoked {
    /// It has ended.
    Ended,
    /// Other accounts of the same choice stand on it. It ends with the last of them.
    Shared,
}

/// Tells the platform that a grant is over, unless it is shared.
pub(crate) async fn revoke_at_platform(app: &App, account: Account) -> Result<Revoked, ProviderError> {
    let missing = |what: &str| ProviderError::new(ErrorKind::Permanent, "not_revocable", what.to_owned());
    let shared = app.store.shares_grant(account.tenant, account.id).await;
    if shared.map_err(|error| ProviderError::new(ErrorKind::Retryable, "store_unavailable", error.to_string()))? {
        return Ok(Revoked::Shared);
    }
    let registered = app
        .registered(&account.provider)
        .map_err(|_| missing("the provider is not registered"))?;
    let oauth = registered
        .provider
        .oauth()
        .ok_or_else(|| missing("the provider does not connect"))?;
    let correlation_id = format!("disconnect-{}", account.id);
    let ready = tokens::open(app, account)
        .await
        .map_err(|error| missing(&error.to_string()))?;
    let outbound = Outbound::new(app, &registered, Some(&ready.account), ready.secrets, &correlation_id);
    let ctx = Ctx::new(&outbound, app.env.now(), &registered.app, Some(&ready.view));
    oauth.revoke(&ctx).await.map(|()| Revoked::Ended)
}

/// Gives up a pending account that its tenant has not taken. Its revoke job tells the platform. `false`: it was taken, or
/// connected again, meanwhile.
pub(crate) async fn refuse_pending(app: &App, actor: &By, account: &Account, by: &str) -> StoreResult<bool> {
    let event = NewEvent {
        id: EventId::from_uuid(app.env.ids.next()),
        name: "account.disconnected".to_owned(),
        dedupe_key: format!("{}:refused:{}", account.id, account.token_version),
        account: Some(account.id),
        post: None,
        payload: json!({ "by": by }),
    };
    let audit = actor
        .did(&app.env, AuditAction::AccountRefused, account.tenant)
        .to(&account.id)
        .saying(json!({ "by": by }));
    let refused = app
        .store
        .refuse_pending(account.tenant, account.id, account.token_version, &event, &audit)
        .await?;
    if refused {
        info!(account.id = %account.id, by, "Gave up an account that nobody took");
    }
    Ok(refused)
}
