//! Workers: loops that claim work and run it, and the housekeeping beside them.

use std::{sync::Arc, time::Duration};

use patchbay_app::{App, model::JobKind, store::StoreError, tokens, work};
use tokio::{task::JoinSet, time};
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

use crate::{host::Host, lane::Lane};

/// Longest time between two looks at the queue, should a wake-up be lost or come to another process.
const POLL: Duration = Duration::from_secs(1);
/// Shortest pause after a look that found nothing: a due job that could not be claimed waits for another one.
const LEAST_PAUSE: Duration = Duration::from_millis(20);
/// Time that running steps have to end at shutdown.
pub(crate) const DRAIN: Duration = Duration::from_secs(30);
/// Time between two rounds of housekeeping.
const HOUSEKEEPING: Duration = Duration::from_secs(30);
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
    while !stop.is_cancelled() {
        // Before the look, so that a wake-up in between is not missed.
        let woken = app.woken();
        let pause = match work::run_due(&app, kinds, most_per_tenant).await {
            Ok(0) => next_look(&app, kinds).await,
            Ok(_) => continue,
            Err(_) => POLL,
        };
        tokio::select! {
            () = woken => {}
            () = time::sleep(pause) => {}
            () = stop.cancelled() => {}
        }
    }
}

async fn next_look(app: &App, kinds: &[JobKind]) -> Duration {
    match app.store.next_due(kinds).await {
        Ok(Some(at)) => (at - app.env.now())
            .to_std()
            .unwrap_or_default()
            .clamp(LEAST_PAUSE, POLL),
        Ok(None) | Err(_) => POLL,
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
    for id in store.purge_media(PURGE_BATCH).await? {
        if let Err(error) = host.app.media.delete(id).await {
            warn!(%error, media.id = %id, "An expired media file could not be deleted");
        }
    }
    Ok(())
}
