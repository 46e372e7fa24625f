//! Publishing: a post is checked and stored in the request, and carried out step by step by workers.

mod change;
mod content;
mod record;
mod step;
mod submit;

use std::{sync::Arc, time::Duration};

use patchbay_core::{
    AccountId, CanPost, Ctx, ErrorKind, EventId, Post, PostId, PostMetrics, PostMode, ProviderError, ProviderId,
    PublishOptions, Publisher, TenantId,
};

pub use change::{Edit, Publication, cancel, edit, publish_draft};
pub use content::{StoredTransfer, WantedMedia};
pub(crate) use step::run as run_step;
pub use submit::{Checked, Submitted, WantedConsent, WantedPost, of_target, retry, submit, submit_all, validate};

use crate::{
    App,
    limits::{self, Counted, LimitUse},
    model::{Account, AccountStatus, NewEvent, PostRecord, PullUrl},
    outbound::{Outbound, pull_token_hash},
    problem::{Problem, ProblemKind},
    registry::Registered,
    tokens::{self, CALL_MARGIN, Ready},
};

/// How old a preflight answer may be when a post is checked against it.
const PREFLIGHT_TTL: Duration = Duration::from_mins(1);

/// What the limits leave to a post's account: quotas that the post counts for, and rate buckets.
///
/// # Errors
/// The store failed.
pub async fn limits_of(app: &App, post: &PostRecord) -> Result<Vec<LimitUse>, Problem> {
    // Of a platform that is no longer set up nothing is known.
    let Ok(registered) = app.registered(&post.provider) else {
        return Ok(Vec::new());
    };
    limit_uses(app, &registered, post.tenant, post.account, Some(post.content.mode)).await
}

/// What the platform's limits leave to an account: quotas, then rate buckets.
///
/// # Errors
/// The store failed.
pub async fn limits_of_account(app: &App, account: &Account) -> Result<Vec<LimitUse>, Problem> {
    // Of a platform that is no longer set up nothing is known.
    let Ok(registered) = app.registered(&account.provider) else {
        return Ok(Vec::new());
    };
    limit_uses(app, &registered, account.tenant, account.id, None).await
}

async fn limit_uses(
    app: &App,
    registered: &Registered,
    tenant: TenantId,
    account: AccountId,
    mode: Option<PostMode>,
) -> Result<Vec<LimitUse>, Problem> {
    let uses = limits::uses(app, registered, tenant, account, mode).await?;
    for found in uses.iter().filter(|found| matches!(found.counted, Counted::Posts(_))) {
        metrics::gauge!("patchbay_quota_used_ratio", "provider" => registered.id().to_string(), "quota" => found.name)
            .set(f64::from(found.used) / f64::from(found.limit.max(1)));
    }
    Ok(uses)
}

/// What an account may post now: the platform's live answer, and what its limits leave.
///
/// # Errors
/// The account is not this tenant's or not usable, or the platform did not answer.
pub async fn options(
    app: &Arc<App>,
    tenant: TenantId,
    provider: Option<&ProviderId>,
    account: AccountId,
) -> Result<(PublishOptions, Vec<LimitUse>, Arc<Registered>), Problem> {
    let (account, registered) = find_account(app, tenant, provider, account).await?;
    let options = ask_options(app, &account).await?;
    let limits = limit_uses(app, &registered, account.tenant, account.id, None).await?;
    Ok((options, limits, registered))
}

/// Numbers of a published post.
///
/// # Errors
/// The post is not this tenant's or has no public id yet, or the platform did not answer.
pub async fn metrics(app: &Arc<App>, tenant: TenantId, id: PostId) -> Result<Vec<PostMetrics>, Problem> {
    let post = app
        .store
        .post(tenant, id)
        .await?
        .ok_or_else(|| Problem::not_found("post"))?;
    if post.publication.remote_ids.is_empty() {
        return Err(Problem::new(
            ProblemKind::PostNotPublished,
            "The platform has not told a public id of this post. Private posts never get one.",
        ));
    }
    let registered = app.registered(&post.provider)?;
    let publisher = publisher(&registered)?;
    let Ready { account, secrets, view } = tokens::ready(app, tenant, post.account, CALL_MARGIN).await?;
    let outbound = Outbound::new(app, &registered, Some(&account), secrets, &post.correlation_id);
    let ctx = Ctx::new(&outbound, app.env.now(), &registered.app, Some(&view));
    Ok(publisher.metrics(&ctx, &post.publication.remote_ids).await?)
}

/// The file behind the token of a pull URL; `None`: there is no such URL. With `takes`, its bytes are about to be given out.
///
/// # Errors
/// The store failed.
pub async fn pull_file(app: &App, token: &str, takes: bool) -> Result<Option<PullUrl>, Problem> {
    Ok(app.store.pull_url(pull_token_hash(token), takes).await?)
}

fn publisher(registered: &Registered) -> Result<&dyn Publisher, Problem> {
    let none = || Problem::new(ProblemKind::NotFound, "This provider does not publish.");
    registered.provider.publisher().ok_or_else(none)
}

fn post_event(app: &App, id: PostId, name: &str, payload: serde_json::Value) -> NewEvent {
    NewEvent {
        id: EventId::from_uuid(app.env.ids.next()),
        name: name.to_owned(),
        dedupe_key: format!("{id}:{name}"),
        account: None,
        post: Some(id),
        payload,
    }
}

async fn find_account(
    app: &App,
    tenant: TenantId,
    provider: Option<&ProviderId>,
    id: AccountId,
) -> Result<(Account, Arc<Registered>), Problem> {
    let account = app
        .store
        .account(tenant, id)
        .await?
        .filter(|account| provider.is_none_or(|provider| *provider == account.provider))
        .ok_or_else(|| Problem::not_found("account"))?;
    let registered = app.registered(&account.provider)?;
    Ok((account, registered))
}

/// Checks a direct post against the platform's live answer. A platform that does not answer just now stops nobody:
/// the first step asks again.
async fn preflight(app: &Arc<App>, account: &Account, post: &Post) -> Result<(), Problem> {
    // An answer that is remembered says nothing of what became of the account since.
    if account.status != AccountStatus::Active {
        return Err(tokens::TokenError::NotActive(account.status).into());
    }
    let registered = app.registered(&account.provider)?;
    let lacking = registered.manifest().lacking(post.mode.into(), &account.scopes);
    if !lacking.is_empty() {
        let detail = format!(
            "The account has not allowed {}. Connect it again, and leave that switched on.",
            lacking.join(", ")
        );
        return Err(Problem::new(ProblemKind::MissingScopes, detail));
    }
    let options = match (post.mode, app.recent_options(account.id, PREFLIGHT_TTL)) {
        (_, Some(options)) => options,
        (PostMode::Draft, None) => {
            tokens::ready(app, account.tenant, account.id, CALL_MARGIN)
                .await
                .map(drop)
                .or_else(pass_transient)?;
            return Ok(());
        }
        (PostMode::Direct, None) => match ask_options(app, account).await {
            Ok(options) => options,
            Err(problem) if problem.kind.retry_helps() => return Ok(()),
            Err(problem) => return Err(problem),
        },
    };
    if post.mode == PostMode::Draft {
        return Ok(());
    }
    if let CanPost::No { code, advice } = options.can_post {
        let mut problem = Problem::new(ProblemKind::RejectedByProvider, advice);
        problem.provider_code = Some(code);
        return Err(problem);
    }
    match options.check_post(post) {
        issues if issues.is_empty() => Ok(()),
        issues => Err(Problem::invalid(issues)),
    }
}

fn pass_transient(error: tokens::TokenError) -> Result<(), Problem> {
    match Problem::from(error) {
        problem if problem.kind.retry_helps() => Ok(()),
        problem => Err(problem),
    }
}

/// Asks the platform; after a refused token once more with a renewed one.
async fn ask_options(app: &Arc<App>, account: &Account) -> Result<PublishOptions, Problem> {
    let registered = app.registered(&account.provider)?;
    let publisher = publisher(&registered)?;
    let ready = tokens::ready(app, account.tenant, account.id, CALL_MARGIN).await?;
    let version = ready.account.token_version;
    let options = match ask_once(app, &registered, publisher, ready).await {
        Err(error) if error.kind == ErrorKind::ReauthRequired && error.code != "missing_scope" => {
            let ready = tokens::ready_newer(app, account.tenant, account.id, version).await?;
            ask_once(app, &registered, publisher, ready).await?
        }
        other => other?,
    };
    app.remember_options(account.id, &options);
    Ok(options)
}

async fn ask_once(
    app: &App,
    registered: &Registered,
    publisher: &dyn Publisher,
    ready: Ready,
) -> Result<PublishOptions, ProviderError> {
    let Ready { account, secrets, view } = ready;
    let correlation_id = format!("options-{}", account.id);
    let outbound = Outbound::new(app, registered, Some(&account), secrets, &correlation_id);
    let ctx = Ctx::new(&outbound, app.env.now(), &registered.app, Some(&view));
    publisher.options(&ctx).await
}
