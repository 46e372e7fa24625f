//! Erases a tenant, an owner or an account: its grants are ended at the platforms, what sealed its secrets is destroyed,
//! and its rows and files are deleted, in steps of which each can be the last before a kill.

use std::{sync::Arc, time::Duration};

use chrono::TimeDelta;
use patchbay_core::{AccountId, ErasureId, EventId, JobId, TenantId};
use serde_json::json;
use tracing::{error, info, warn};

use crate::{
    App,
    connect::{self, Revoked},
    failpoint,
    model::{
        Account, AccountStatus, AuditAction, By, ErasedGrant, Erasure, GrantEnd, Job, JobKind, NewErasure, NewEvent,
        NewJob, Subject,
    },
    problem::{Problem, ProblemKind},
    store::{AccountFilter, JobEnd, MAX_LOST, PageRequest, StoreError},
    tokens,
};

/// Hosts believe a key for five seconds. Until a tenant's keys are dead everywhere, it may make new things.
const KEYS_DIE: TimeDelta = TimeDelta::seconds(6);
/// Tries to tell a platform that a grant is over, before the tokens are erased all the same.
const MAX_TRIES: i32 = 5;
/// Rows that are deleted in one transaction.
const BATCH: u32 = 500;
/// How long a renewal may take before the platform is told of the end.
const RENEW_FIRST: Duration = Duration::from_secs(5);

/// Wishes a tenant, an owner or an account to be erased. To wish it twice is one wish.
///
/// # Errors
/// There is no such thing, it is the default tenant, or the store failed.
pub async fn begin(app: &App, by: &By, tenant: TenantId, subject: Subject) -> Result<Erasure, Problem> {
    let whole = subject == Subject::Tenant;
    if whole && tenant == TenantId::DEFAULT {
        let detail = "The default tenant stays. Erase its owners or accounts.";
        return Err(Problem::new(ProblemKind::Invalid, detail));
    }
    let what = subject.as_str();
    let id = ErasureId::from_uuid(app.env.ids.next());
    let wait = if whole { KEYS_DIE } else { TimeDelta::zero() };
    let job = NewJob {
        id: JobId::from_uuid(app.env.ids.next()),
        tenant,
        kind: JobKind::Erase,
        target: id.as_uuid(),
        concurrency_key: None,
        run_at: Some(app.store.now().await? + wait),
        correlation_id: by.request_id.clone(),
    };
    let audit = by
        .did(&app.env, AuditAction::ErasureBegun, tenant)
        .to(&id)
        .saying(json!({ "of": what }));
    let wanted = NewErasure { id, tenant, subject };
    let erasure = app.store.begin_erasure(&wanted, &job, &audit).await?;
    erasure.ok_or_else(|| Problem::not_found(what))
}

/// Goes on with an erasure, from wherever it stands.
pub(crate) async fn run(app: &Arc<App>, job: &Job) -> Result<(), StoreError> {
    let found = app.store.erasure(ErasureId::from_uuid(job.target)).await?;
    let Some(erasure) = found.filter(|erasure| erasure.finished_at.is_none()) else {
        app.store.end_job(job.lease(), &JobEnd::Done).await?;
        return Ok(());
    };
    if let Some(code) = end_grants(app, job, &erasure).await? {
        let again = JobEnd::Again {
            run_at: app.env.now() + TimeDelta::seconds(5 * i64::from(job.attempts)),
            code,
        };
        app.store.end_job(job.lease(), &again).await?;
        return Ok(());
    }
    failpoint::hit("erase.revoked");
    let lease = job.lease();
    let whole = erasure.subject == Subject::Tenant;
    if whole {
        // Before anything is deleted: from here on nothing that this tenant has sealed opens anywhere.
        app.store.destroy_data_keys(lease, &erasure).await?;
        app.vault.forget(erasure.tenant);
        failpoint::hit("erase.shredded");
    }
    while let Some(account) = next_account(app, &erasure).await? {
        if account.tokens.is_some() && !whole {
            // Connected again meanwhile: it is ended first.
            let next = JobEnd::Next { run_at: app.env.now() };
            app.store.end_job(lease, &next).await?;
            return Ok(());
        }
        while app.store.erase_account(lease, &erasure, account.id, BATCH).await? > 0 {
            failpoint::hit("erase.deleting");
        }
    }
    if whole {
        erase_files(app, job, &erasure).await?;
        while app.store.erase_tenant(lease, &erasure, BATCH).await? > 0 {}
        // Those of uploads that ended meanwhile: from here on there are none that could.
        erase_files(app, job, &erasure).await?;
    }
    let audit = By::worker(&job.correlation_id)
        .did(&app.env, AuditAction::ErasureEnded, erasure.tenant)
        .to(&erasure.id)
        .saying(json!({ "of": erasure.subject.as_str() }));
    // What has erased a tenant has nobody left to tell.
    let event = (!whole).then(|| NewEvent {
        id: EventId::from_uuid(app.env.ids.next()),
        name: "erasure.finished".to_owned(),
        dedupe_key: format!("{}:finished", erasure.id),
        account: None,
        post: None,
        payload: json!({ "erasure_id": erasure.id, "of": erasure.subject.as_str() }),
    });
    app.store
        .finish_erasure(lease, &erasure, event.as_ref(), &audit)
        .await?;
    info!(erasure.id = %erasure.id, of = erasure.subject.as_str(), "Erased for good");
    Ok(())
}

/// Ends all grants. `Some`: a platform could not be told just now, and is to be told again.
async fn end_grants(app: &Arc<App>, job: &Job, erasure: &Erasure) -> Result<Option<String>, StoreError> {
    let mut failed = None;
    let mut page = PageRequest {
        after: None,
        limit: 100,
    };
    loop {
        let found = accounts(app, erasure, page).await?;
        for account in found.0 {
            let account = end_use(app, job, account).await?;
            if account.tokens.is_none() {
                continue;
            }
            let told = connect::revoke_at_platform(app, account.clone()).await;
            let (end, code) = match told {
                Ok(Revoked::Ended) => (GrantEnd::Revoked, None),
                Ok(Revoked::Shared) => (GrantEnd::NotTold, Some("grant_shared".to_owned())),
                Err(error) if error.kind.retry_helps() && job.attempts < MAX_TRIES => {
                    failed = Some(error.code.to_string());
                    continue;
                }
                Err(error) => {
                    warn!(account.id = %account.id, code = %error.code, "The platform was not told of an erasure");
                    (GrantEnd::NotTold, Some(error.code.to_string()))
                }
            };
            failpoint::hit("erase.told");
            let grant = ErasedGrant {
                account: account.id,
                provider: account.provider,
                end,
                code,
                at: app.env.now(),
            };
            app.store.erase_grant(job.lease(), erasure, &grant).await?;
        }
        page.after = found.1;
        if page.after.is_none() {
            return Ok(failed);
        }
    }
}

/// Makes an account unusable, and stops its posts.
async fn end_use(app: &Arc<App>, job: &Job, account: Account) -> Result<Account, StoreError> {
    if account.status == AccountStatus::Revoked {
        return Ok(account);
    }
    let (tenant, id) = (account.tenant, account.id);
    // Platforms take a live access token for what follows.
    let _ = tokio::time::timeout(RENEW_FIRST, tokens::ready(app, tenant, id, Duration::from_mins(1))).await;
    let event = NewEvent {
        id: EventId::from_uuid(app.env.ids.next()),
        name: "account.disconnected".to_owned(),
        dedupe_key: format!("{id}:erased:{}", job.id),
        account: Some(id),
        post: None,
        payload: json!({ "by": "erasure" }),
    };
    let audit = By::worker(&job.correlation_id)
        .did(&app.env, AuditAction::AccountDisconnected, tenant)
        .to(&id);
    let ended = app
        .store
        .begin_disconnect(tenant, id, "erased", None, &event, &audit)
        .await?;
    Ok(ended.unwrap_or(Account {
        tokens: None,
        ..account
    }))
}

type Accounts = (Vec<Account>, Option<crate::store::Cursor>);

async fn accounts(app: &App, erasure: &Erasure, page: PageRequest) -> Result<Accounts, StoreError> {
    let filter = match &erasure.subject {
        Subject::Account(id) => return one(app, erasure.tenant, *id).await,
        Subject::Tenant => AccountFilter::default(),
        Subject::Owner(owner) => AccountFilter {
            owner: Some(owner.clone().unwrap_or_default()),
            ..AccountFilter::default()
        },
    };
    let found = app.store.accounts(erasure.tenant, &filter, page).await?;
    Ok((found.items, found.next))
}

async fn one(app: &App, tenant: TenantId, id: AccountId) -> Result<Accounts, StoreError> {
    let account = app.store.account(tenant, id).await?;
    Ok((account.into_iter().collect(), None))
}

async fn next_account(app: &App, erasure: &Erasure) -> Result<Option<Account>, StoreError> {
    let first = PageRequest { after: None, limit: 1 };
    Ok(accounts(app, erasure, first).await?.0.pop())
}

/// Deletes a tenant's files, and what has come of others: the bytes first, so that none is left that no row names.
async fn erase_files(app: &App, job: &Job, erasure: &Erasure) -> Result<(), StoreError> {
    loop {
        let uploads = app.store.tenant_uploads(erasure.tenant, BATCH).await?;
        if uploads.is_empty() {
            break;
        }
        for upload in &uploads {
            match app.media.delete(upload.id, upload.progress.place.as_deref()).await {
                Ok(()) => {}
                // Parts that the store cannot abort must not keep all the rest.
                Err(error) if job.lost >= MAX_LOST => {
                    error!(%error, media.id = %upload.id, "What has come of an upload could not be deleted; look in the bucket");
                }
                Err(error) => return Err(StoreError::Unavailable(error.into())),
            }
        }
        let ids: Vec<_> = uploads.iter().map(|upload| upload.id).collect();
        app.store.erase_uploads(job.lease(), erasure, &ids).await?;
    }
    loop {
        let media = app.store.tenant_media(erasure.tenant, None, BATCH).await?;
        if media.is_empty() {
            return Ok(());
        }
        for id in &media {
            let gone = app.media.delete(*id, None).await;
            gone.map_err(|error| StoreError::Unavailable(error.into()))?;
        }
        app.store.erase_media(job.lease(), erasure, &media).await?;
    }
}
