//! Work on the queue: claim, step, commit. The same pass runs inside `serve`, alone, or from a cron call.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use chrono::TimeDelta;
use patchbay_core::{AccountId, ErrorKind, TenantId};
use tokio::{sync::Mutex as AsyncMutex, time::timeout};
use tracing::{Instrument, error, info_span, warn};

use crate::{
    App, connect, erase, ingest, media, metrics,
    model::{AccountStatus, By, Job, JobKind},
    publish, push,
    store::{Claim, JobEnd, MAX_LOST, StoreError},
    tokens,
};

/// How long a claim lasts without a sign of life.
pub const LEASE: Duration = Duration::from_secs(30);
/// How often a running step shows that it lives.
const HEARTBEAT: Duration = Duration::from_secs(5);
/// Webhooks that are read and settled together.
const TOGETHER: u32 = 256;
/// Longest time for which webhooks wait for others so as not to be read beside them. They are read in microseconds.
const READ_APART: Duration = Duration::from_secs(1);
/// Tries to tell a platform that a grant is over, before the tokens are erased all the same.
const MAX_REVOKES: i32 = 5;

/// Whose turn it is among tenants, and what runs for each in this process, kind by kind.
#[derive(Default)]
pub(crate) struct Turns(Mutex<TurnState>);

#[derive(Default)]
struct TurnState {
    last: HashMap<JobKind, TenantId>,
    running: HashMap<(JobKind, TenantId), usize>,
    claiming: HashMap<JobKind, Arc<AsyncMutex<()>>>,
}

impl Turns {
    fn state(&self) -> MutexGuard<'_, TurnState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Held over a claim of a kind and the note of whose it was: the next claim must know. Without it, all loops that wait
    /// for a slow store would serve the tenant after the one that was served before any of them.
    fn claiming(&self, kind: JobKind) -> Arc<AsyncMutex<()>> {
        Arc::clone(self.state().claiming.entry(kind).or_default())
    }

    /// The tenant that was served last with a kind, and those that have all the places they may have.
    fn next(&self, kind: JobKind, most: usize) -> (Option<TenantId>, Vec<TenantId>) {
        let state = self.state();
        let full = state
            .running
            .iter()
            .filter(|((of, _), count)| *of == kind && **count >= most);
        (
            state.last.get(&kind).copied(),
            full.map(|((_, tenant), _)| *tenant).collect(),
        )
    }

    fn begin(&self, kind: JobKind, tenant: TenantId) -> Turn<'_> {
        let mut state = self.state();
        state.last.insert(kind, tenant);
        *state.running.entry((kind, tenant)).or_default() += 1;
        Turn {
            turns: self,
            key: (kind, tenant),
        }
    }
}

/// One running job of a tenant.
struct Turn<'a> {
    turns: &'a Turns,
    key: (JobKind, TenantId),
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut state = self.turns.state();
        if let Some(count) = state.running.get_mut(&self.key) {
            *count -= 1;
            if *count == 0 {
                state.running.remove(&self.key);
            }
        }
    }
}

/// Claims and runs what is due, of the first of these kinds that has something: one job, or webhooks that have come
/// together. Of kinds that take turns, a tenant runs at most `most_per_tenant` jobs at once in this process. Returns how
/// many jobs were run; 0: nothing is due.
///
/// # Errors
/// The store failed. What was claimed is claimed again when its lease ends.
pub async fn run_due(app: &Arc<App>, kinds: &[JobKind], most_per_tenant: usize) -> Result<u32, StoreError> {
    for kind in kinds {
        let count = if *kind == JobKind::Ingest {
            run_webhooks(app).await?
        } else {
            run_turn(app, *kind, most_per_tenant).await?
        };
        if count > 0 {
            return Ok(count);
        }
    }
    Ok(0)
}

/// Runs webhooks. One that was claimed and never settled may be what ended its worker, so no other is read beside it: it
/// would be lost as often, and put aside with it.
async fn run_webhooks(app: &Arc<App>) -> Result<u32, StoreError> {
    if app.store.has_abandoned(JobKind::Ingest).await?
        && let Ok(_alone) = timeout(READ_APART, app.reading.write()).await
        && let Some(job) = app.store.take_over(JobKind::Ingest, LEASE).await?
    {
        return run_claimed(app, JobKind::Ingest, &[job]).await;
    }
    // One that is read for ever holds up nobody for ever.
    let _beside = timeout(READ_APART, app.reading.read()).await;
    let claim = Claim {
        kind: JobKind::Ingest,
        limit: TOGETHER,
        lease: LEASE,
        after: None,
        except: &[],
    };
    let jobs = app.store.claim_jobs(claim).await?;
    run_claimed(app, JobKind::Ingest, &jobs).await
}

/// Runs one job: of a kind that takes turns, one of the next tenant.
async fn run_turn(app: &Arc<App>, kind: JobKind, most_per_tenant: usize) -> Result<u32, StoreError> {
    if let Some(job) = app.store.take_over(kind, LEASE).await? {
        let _turn = app.turns.begin(kind, job.tenant);
        return run_claimed(app, kind, &[job]).await;
    }
    let claiming = app.turns.claiming(kind);
    let alone = if kind.takes_turns() {
        Some(claiming.lock().await)
    } else {
        None
    };
    let (after, except) = app.turns.next(kind, most_per_tenant);
    let claim = Claim {
        kind,
        limit: 1,
        lease: LEASE,
        after,
        except: &except,
    };
    let jobs = app.store.claim_jobs(claim).await?;
    let _turns: Vec<_> = jobs.iter().map(|job| app.turns.begin(kind, job.tenant)).collect();
    drop(alone);
    run_claimed(app, kind, &jobs).await
}

/// Runs what was claimed. Returns how many jobs.
async fn run_claimed(app: &Arc<App>, kind: JobKind, jobs: &[Job]) -> Result<u32, StoreError> {
    let Some(first) = jobs.first() else { return Ok(0) };
    // Where one is there may be more, for another loop.
    app.store.wakes().wake(kind);
    let span = info_span!("job", kind = kind.as_str(), job.id = %first.id, jobs = jobs.len(),
        correlation_id = %first.correlation_id);
    let outcome = run(app, kind, jobs).instrument(span.clone()).await;
    let _entered = span.enter();
    match outcome {
        Ok(()) => {}
        // Somebody else has taken the job over, or the row moved on: their word counts.
        Err(StoreError::Stale) => warn!("A job's result was refused because the row had moved on"),
        Err(error) => {
            error!(%error, "A job could not be recorded; it runs again when its lease ends");
            return Err(error);
        }
    }
    Ok(u32::try_from(jobs.len()).unwrap_or(u32::MAX))
}

/// Runs claimed jobs under a heartbeat. If all leases are lost, the step is dropped where it stands.
async fn run(app: &Arc<App>, kind: JobKind, jobs: &[Job]) -> Result<(), StoreError> {
    let step = async {
        if kind == JobKind::Ingest {
            return ingest::run(app, jobs).await;
        }
        for job in jobs {
            match kind {
                JobKind::Publish => publish::run_step(app, job).await?,
                JobKind::Refresh => run_refresh(app, job).await?,
                JobKind::Revoke => run_revoke(app, job).await?,
                JobKind::Deliver => push::run(app, job).await?,
                JobKind::Erase => erase::run(app, job).await?,
                JobKind::Import => media::import::run(app, job).await?,
                JobKind::Metrics => metrics::run(app, job).await?,
                JobKind::Ingest => {}
            }
        }
        Ok(())
    };
    tokio::pin!(step);
    let mut leases: Vec<_> = jobs.iter().map(Job::lease).collect();
    let mut beat = tokio::time::interval(HEARTBEAT);
    beat.tick().await;
    loop {
        tokio::select! {
            outcome = &mut step => return outcome,
            _ = beat.tick() => match app.store.renew_leases(&leases, LEASE).await {
                Ok(held) if held.is_empty() => return Err(StoreError::Stale),
                Ok(held) => leases = held,
                // The fence in the step's own write decides.
                Err(error) => warn!(%error, "A lease could not be renewed just now"),
            },
        }
    }
}

async fn run_refresh(app: &Arc<App>, job: &Job) -> Result<(), StoreError> {
    let id = AccountId::from_uuid(job.target);
    let account = app.store.account(job.tenant, id).await?;
    if account
        .as_ref()
        .is_some_and(|account| account.status == AccountStatus::Pending)
    {
        // By then it is taken or given up.
        let again = JobEnd::Again {
            run_at: app.env.now() + connect::PENDING_LIFE,
            code: "pending".to_owned(),
        };
        app.store.end_job(job.lease(), &again).await?;
        return Ok(());
    }
    let Some(account) = account.filter(|account| account.status == AccountStatus::Active) else {
        app.store.end_job(job.lease(), &JobEnd::Done).await?;
        return Ok(());
    };
    if job.lost >= MAX_LOST {
        return give_up(app, job, "quarantined").await;
    }
    match tokens::renew(app, account).await {
        // Storing the tokens has told this very job when it is due next, and so it is not done for good.
        Ok(_) => {
            app.store.end_job(job.lease(), &JobEnd::Done).await?;
            Ok(())
        }
        Err(tokens::TokenError::Refresh(error)) if error.kind != ErrorKind::ReauthRequired => {
            // It goes on after the token has ended.
            let wait = backoff(app, job.attempts, Duration::from_secs(5), Duration::from_mins(10));
            let asked = TimeDelta::from_std(error.retry_after.unwrap_or_default()).unwrap_or(TimeDelta::hours(1));
            let again = JobEnd::Again {
                run_at: app.env.now() + wait.max(asked),
                code: error.code.to_string(),
            };
            app.store.end_job(job.lease(), &again).await?;
            Ok(())
        }
        Err(tokens::TokenError::Vault(crate::vault::VaultError::Store(error))) => Err(error),
        Err(error) => give_up(app, job, &error.to_string()).await,
    }
}

async fn run_revoke(app: &Arc<App>, job: &Job) -> Result<(), StoreError> {
    let id = AccountId::from_uuid(job.target);
    let mut account = app.store.account(job.tenant, id).await?;
    if let Some(pending) = account.take_if(|account| account.status == AccountStatus::Pending) {
        // Connected anew while this job was on its way: the new grant has its own time.
        let until = pending.updated_at + connect::PENDING_LIFE;
        if until > app.store.now().await? {
            let again = JobEnd::Again {
                run_at: until,
                code: "pending".to_owned(),
            };
            app.store.end_job(job.lease(), &again).await?;
            return Ok(());
        }
        if connect::refuse_pending(app, &By::worker(&job.correlation_id), &pending, "expiry").await? {
            account = app.store.account(job.tenant, id).await?;
        }
    }
    let Some(account) = account.filter(|a| a.status == AccountStatus::Revoked && a.tokens.is_some()) else {
        app.store.end_job(job.lease(), &JobEnd::Done).await?;
        return Ok(());
    };
    if job.lost >= MAX_LOST {
        error!(account.id = %id, "Telling the platform of a disconnect ends the worker; its tokens are erased here");
        return app.store.erase_tokens(job.tenant, id).await;
    }
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

async fn give_up(app: &App, job: &Job, code: &str) -> Result<(), StoreError> {
    let dead = JobEnd::Dead { code: code.to_owned() };
    app.store.end_job(job.lease(), &dead).await?;
    Ok(())
}

/// `first`, doubled with each attempt, at most `longest`, times 0.5 to 1.5: so that many who failed together do not come
/// back together.
pub(crate) fn backoff(app: &App, attempts: i32, first: Duration, longest: Duration) -> TimeDelta {
    let doublings = u32::try_from(attempts.saturating_sub(1)).unwrap_or(0).min(20);
    let wait = first.saturating_mul(1 << doublings).min(longest);
    TimeDelta::from_std(wait.mul_f64(0.5 + app.env.fraction())).unwrap_or(TimeDelta::hours(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenant_that_has_its_places_waits_until_one_ends() {
        let turns = Turns::default();
        let tenant = |n| TenantId::from_uuid(uuid::Uuid::from_u128(n));
        let next = |most| turns.next(JobKind::Publish, most);
        assert_eq!(next(1), (None, Vec::new()));
        let first = turns.begin(JobKind::Publish, tenant(1));
        let second = turns.begin(JobKind::Publish, tenant(1));
        assert_eq!(next(2), (Some(tenant(1)), vec![tenant(1)]));
        assert_eq!(next(3).1, Vec::new());
        assert_eq!(
            turns.next(JobKind::Deliver, 1),
            (None, Vec::new()),
            "each kind has places of its own"
        );
        drop(first);
        assert_eq!(next(2).1, Vec::new());
        drop(second);
        assert_eq!(next(1), (Some(tenant(1)), Vec::new()));
    }
}
