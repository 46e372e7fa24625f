//! Workers: loops that claim work and run it, and the housekeeping beside them.

use std::{sync::Arc, time::Duration};

use patchbay_app::{App, media, model::JobKind, store::StoreError, tokens, work};
use tokio::{
    task::JoinSet,
    time::{self, Instant},
};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::{host::Host, lane::Lane};

/// Time between two looks of a loop at the queue, for what other processes put in.
const POLL: Duration = Duration::from_secs(1);
/// The same while there is work now and then, so that what other processes put in does not wait for the next second.
const POLL_AT_WORK: Duration = Duration::from_millis(50);
/// How long a loop is at work after it has found something.
const AT_WORK: Duration = Duration::from_secs(10);
/// Shortest pause after a look that found nothing: a due job that could not be claimed waits for another one.
const LEAST_PAUSE: Duration = Duration::from_millis(20);
/// Time that running steps have to end at shutdown.
pub(crate) const DRAIN: Duration = Duration::from_secs(30);
/// Time between two rounds of housekeeping.
const HOUSEKEEPING: Duration = Duration::from_secs(30);
/// Time between two looks for bytes that belong to nothing.
const SWEEP: Duration = Duration::from_hours(1);
/// Time between two looks at the database's clock. In between clocks differ by microseconds.
const CLOCK_ROUND: Duration = Duration::from_secs(15);
/// Rows of a kind that are deleted together: a short transaction.
const PURGE_BATCH: u32 = 1_000;
/// Batches of ended jobs in one round: 3,000 a second can be kept away for ever.
const PURGE_ROUNDS: usize = 100;

/// Runs workers for these lanes until `stop`, then lets running steps end.
pub async fn run(host: Host, lanes: &[Lane], stop: CancellationToken) {
    let mut loops = JoinSet::new();
    for lane in lanes {
        let count = lane.loops(&host.config.workers);
        let most_per_tenant = lane.most_per_tenant(&host.config.workers);
        for _ in 0..count {
            loops.spawn(work_loop(host.app.clone(), lane.kinds(), most_per_tenant, stop.clone()));
        }
    }
    loops.spawn(housekeeping(host.clone(), stop.clone()));
    loops.spawn(sweeping(host.clone(), stop.clone()));
    stop.cancelled().await;
    let drained = async { while loops.join_next().await.is_some() {} };
    if time::timeout(DRAIN, drained).await.is_err() {
        warn!("Some steps did not end in 30 s; their leases run out and another worker takes them over");
    }
    refreshes_done(&host).await;
}

/// Waits for running refreshes: a token that was spent must be stored.
pub(crate) async fn refreshes_done(host: &Host) {
    if time::timeout(DRAIN, host.app.refreshes_done()).await.is_err() {
        error!("A token refresh did not end in 30 s");
    }
}

async fn work_loop(app: Arc<App>, kinds: &'static [JobKind], most_per_tenant: usize, stop: CancellationToken) {
    let mut found: Option<Instant> = None;
    while !stop.is_cancelled() {
        let pause = match work::run_due(&app, kinds, most_per_tenant).await {
            Ok(0) if found.is_some_and(|at| at.elapsed() < AT_WORK) => next_look(&app, kinds, POLL_AT_WORK).await,
            Ok(0) => next_look(&app, kinds, POLL).await,
            Ok(_) => {
                found = Some(Instant::now());
                continue;
            }
            Err(_) => POLL,
        };
        tokio::select! {
            () = app.woken(kinds) => {}
            () = time::sleep(pause) => {}
            () = stop.cancelled() => {}
        }
    }
}

/// Time until a loop looks again: until something is due, and about `longest` at most. Loops do not look all at once, so
/// that of several one looks soon.
async fn next_look(app: &App, kinds: &[JobKind], longest: Duration) -> Duration {
    let longest = longest.mul_f64(0.5 + app.env.fraction());
    match app.store.next_due(kinds).await {
        Ok(Some(at)) => (at - app.env.now())
            .to_std()
            .unwrap_or_default()
            .clamp(LEAST_PAUSE, longest),
        Ok(None) | Err(_) => longest,
    }
}

/// Follows the database's clock until `stop`. To be run wherever a host lives on.
pub async fn follow_clock(host: Host, stop: CancellationToken) {
    let mut round = time::interval(CLOCK_ROUND);
    loop {
        tokio::select! {
            _ = round.tick() => set_clock(&host).await,
            () = stop.cancelled() => return,
        }
    }
}

/// Sets the host's clock by the database's, if it follows that.
pub async fn set_clock(host: &Host) {
    let Some(clock) = &host.clock else { return };
    match host.app.store.now().await {
        Ok(now) => clock.set(now),
        Err(error) => warn!(%error, "The database does not tell the time; the clock goes on by itself"),
    }
}

async fn housekeeping(host: Host, stop: CancellationToken) {
    let mut round = time::interval(HOUSEKEEPING);
    loop {
        tokio::select! {
            _ = round.tick() => {}
            () = stop.cancelled() => return,
        }
        if let Err(error) = tidy(&host).await {
            warn!(%error, "Housekeeping failed and is tried again");
        }
    }
}

/// Deletes bytes that a kill has left, now and from time to time, until `stop`.
async fn sweeping(host: Host, stop: CancellationToken) {
    let mut round = time::interval(SWEEP);
    loop {
        tokio::select! {
            _ = round.tick() => {}
            () = stop.cancelled() => return,
        }
        match media::sweep(&host.app).await {
            Ok(0) => {}
            Ok(gone) => info!(gone, "Deleted bytes that belonged to no media file"),
            Err(error) => warn!(%error, "Bytes that belong to nothing could not be looked for, which is tried again"),
        }
    }
}

/// One round: what has expired goes, in bounded numbers.
///
/// # Errors
/// The store failed.
pub async fn tidy(host: &Host) -> Result<(), StoreError> {
    let store = &host.app.store;
    if let Err(error) = tokens::replay_journal(&host.app).await {
        warn!(%error, "The token journal cannot be read");
    }
    store.purge_flows(PURGE_BATCH).await?;
    store.purge_slots(PURGE_BATCH).await?;
    store.purge_pull_urls(PURGE_BATCH).await?;
    let now = store.now().await?;
    let keep = &host.config.workers;
    for _ in 0..PURGE_ROUNDS {
        let gone = store
            .purge_deliveries(now - keep.keep_done, now - keep.keep_dead, PURGE_BATCH)
            .await?;
        if gone < u64::from(PURGE_BATCH) {
            break;
        }
    }
    for _ in 0..PURGE_ROUNDS {
        let gone = store
            .purge_jobs(now - keep.keep_done, now - keep.keep_dead, PURGE_BATCH)
            .await?;
        if gone < u64::from(PURGE_BATCH) {
            break;
        }
    }
    store.purge_readings(now - keep.keep_metrics, PURGE_BATCH).await?;
    media::purge(&host.app, PURGE_BATCH).await?;
    Ok(())
}
