//! Work on the queue: one claim, one step, one commit. The same pass runs inside `serve`, alone, or from a cron call.

use std::{sync::Arc, time::Duration};

use patchbay_core::{AccountId, ErrorKind};
use tracing::{Instrument, error, info_span, warn};

use crate::{
    App, connect, ingest,
    model::{AccountStatus, Job, JobKind},
    publish,
    store::{JobEnd, StoreError},
    tokens,
};

/// How long a claim lasts without a sign of life.
pub const LEASE: Duration = Duration::from_secs(30);
/// How often a running step shows that it lives.
const HEARTBEAT: Duration = Duration::from_secs(5);
/// Tries to tell a platform that a grant is over, before the tokens are erased all the same.
const MAX_REVOKES: i32 = 5;
/// Claims of one webhook that ended without a verdict before it is put aside.
const MAX_INGESTS: i32 = 3;

/// Claims and runs one due job. `None`: nothing is due.
///
/// # Errors
/// The store failed. The job, if one was claimed, is claimed again when its lease ends.
pub async fn run_one(app: &Arc<App>, kinds: &[JobKind]) -> Result<Option<JobKind>, StoreError> {
    let Some(job) = app.store.claim_job(kinds, LEASE).await? else {
        return Ok(None);
    };
    let kind = job.kind;
    let span = info_span!("job", kind = kind.as_str(), job.id = %job.id, correlation_id = %job.correlation_id);
    let outcome = run(app, &job).instrument(span.clone()).await;
    let _entered = span.enter();
    match outcome {
        Ok(()) => Ok(Some(kind)),
        // Somebody else has taken the job over, or the row moved on: their word counts.
        Err(StoreError::Stale) => {
            warn!("A job's result was refused because the row had moved on");
            Ok(Some(kind))
        }
        Err(error) => {
            error!(%error, "A job could not be recorded; it runs again when its lease ends");
            Err(error)
        }
    }
}

/// Runs a claimed job under a heartbeat. A lost lease drops the step where it stands.
async fn run(app: &Arc<App>, job: &Job) -> Result<(), StoreError> {
    let step = async {
        match job.kind {
            JobKind::Publish => publish::run_step(app, job).await,
            JobKind::Ingest => run_ingest(app, job).await,
            JobKind::Refresh => run_refresh(app, job).await,
            JobKind::Revoke => run_revoke(app, job).await,
        }
    };
    tokio::pin!(step);
    let mut beat = tokio::time::interval(HEARTBEAT);
    beat.tick().await;
    loop {
        tokio::select! {
            outcome = &mut step => return outcome,
            _ = beat.tick() => match app.store.renew_lease(job.lease(), LEASE).await {
                Ok(true) => {}
                Ok(false) => return Err(StoreError::Stale),
                // The fence in the step's own write decides.
                Err(error) => warn!(%error, "A lease could not be renewed just now"),
            },
        }
    }
}

async fn run_ingest(app: &Arc<App>, job: &Job) -> Result<(), StoreError> {
    if job.attempts > MAX_INGESTS {
        let inbox = patchbay_core::InboxId::from_uuid(job.target);
        return app.store.bury_inbox(job.lease(), inbox, "quarantined").await;
    }
    ingest::apply(app, job).await
}

async fn run_refresh(app: &Arc<App>, job: &Job) -> Result<(), StoreError> {
    let id = AccountId::from_uuid(job.target);
    let account = app.store.account(job.tenant, id).await?;
    let Some(account) = account.filter(|account| account.status == AccountStatus::Active) else {
        app.store.end_job(job.lease(), &JobEnd::Done).await?;
        return Ok(());
    };
    match tokens::renew(app, account).await {
        // Storing the tokens has told this very job when it is due next, and so it is not done for good.
        Ok(_) => {
            app.store.end_job(job.lease(), &JobEnd::Done).await?;
            Ok(())
        }
        Err(tokens::TokenError::Refresh(error)) if error.kind != ErrorKind::ReauthRequired => {
            // 5 s, doubled with each try, at most ten minutes; it goes on after the token has ended.
            let doublings = u32::try_from(job.attempts - 1).unwrap_or(0).min(7);
            let wait = Duration::from_secs(5 * 2_u64.pow(doublings)).min(Duration::from_mins(10));
            let wait = wait
                .mul_f64(0.5 + app.env.fraction())
                .max(error.retry_after.unwrap_or_default());
            let run_at = app.env.now() + chrono::TimeDelta::from_std(wait).unwrap_or(chrono::TimeDelta::hours(1));
            app.store
                .end_job(
                    job.lease(),
                    &JobEnd::Again {
                        run_at,
                        code: error.code.to_string(),
                    },
                )
                .await?;
            Ok(())
        }
        Err(tokens::TokenError::Vault(crate::vault::VaultError::Store(error))) => Err(error),
        Err(error) => {
            app.store
                .end_job(
                    job.lease(),
                    &JobEnd::Dead {
                        code: error.to_string(),
                    },
                )
                .await?;
            Ok(())
        }
    }
}

async fn run_revoke(app: &Arc<App>, job: &Job) -> Result<(), StoreError> {
    let id = AccountId::from_uuid(job.target);
    let account = app.store.account(job.tenant, id).await?;
    let Some(account) = account.filter(|a| a.status == AccountStatus::Revoked && a.tokens.is_some()) else {
        app.store.end_job(job.lease(), &JobEnd::Done).await?;
        return Ok(());
    };
    match connect::revoke_at_platform(app, account).await {
        Err(error) if error.kind.retry_helps() && job.attempts < MAX_REVOKES => {
            let wait = chrono::TimeDelta::seconds(5 * i64::from(job.attempts));
            let end = JobEnd::Again {
                run_at: app.env.now() + wait,
                code: error.code.to_string(),
            };
            app.store.end_job(job.lease(), &end).await?;
            Ok(())
        }
        outcome => {
            if let Err(error) = outcome {
                error!(account.id = %id, code = %error.code, "The platform was not told of a disconnect; its tokens are erased here");
            }
            app.store.erase_tokens(job.tenant, id).await
        }
    }
}
