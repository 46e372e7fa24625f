//! Workers: loops that claim one job at a time, and the housekeeping beside them.

use std::{sync::Arc, time::Duration};

use chrono::TimeDelta;
use patchbay_app::{App, model::JobKind, tokens, work};
use tokio::{task::JoinSet, time};
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

use crate::host::Host;

/// Longest time between two looks at the queue, should a wake-up be lost or come to another process.
const POLL: Duration = Duration::from_secs(1);
/// Time that running steps have to end at shutdown.
const DRAIN: Duration = Duration::from_secs(30);
/// Time between two rounds of housekeeping.
const HOUSEKEEPING: Duration = Duration::from_secs(30);
/// Rows of a kind that one round of housekeeping takes.
const PURGE_BATCH: u32 = 500;
/// How long finished work stays to be looked at.
const KEEP_FINISHED: TimeDelta = TimeDelta::days(30);

/// Runs workers until `stop`, then lets running steps end.
pub async fn run(host: Host, stop: CancellationToken) {
    let mut loops = JoinSet::new();
    for _ in 0..host.config.workers.concurrency.max(1) {
        loops.spawn(work_loop(host.app.clone(), &JobKind::ALL, stop.clone()));
    }
    // Uploads may keep every loop busy for long. Tokens and webhooks do not wait for them.
    loops.spawn(work_loop(
        host.app.clone(),
        &[JobKind::Ingest, JobKind::Refresh, JobKind::Revoke],
        stop.clone(),
    ));
    loops.spawn(housekeeping(host.clone(), stop.clone()));
    stop.cancelled().await;
    let drained = async { while loops.join_next().await.is_some() {} };
    if time::timeout(DRAIN, drained).await.is_err() {
        warn!("Some steps did not end in 30 s; their leases run out and another worker takes them over");
    }
    if time::timeout(DRAIN, host.app.refreshes_done()).await.is_err() {
        error!("A token refresh did not end in 30 s");
    }
}

async fn work_loop(app: Arc<App>, kinds: &'static [JobKind], stop: CancellationToken) {
    while !stop.is_cancelled() {
        // Before the look, so that a wake-up in between is not missed.
        let woken = app.woken();
        let pause = match work::run_one(&app, kinds).await {
            Ok(Some(_)) => continue,
            Ok(None) => next_look(&app, kinds).await,
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
        // A due job that could not be claimed waits for another of its account: no use to ask without a pause.
        Ok(Some(at)) => (at - app.env.now())
            .to_std()
            .unwrap_or_default()
            .clamp(Duration::from_millis(20), POLL),
        Ok(None) | Err(_) => POLL,
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
pub async fn tidy(host: &Host) -> Result<(), patchbay_app::store::StoreError> {
    let store = &host.app.store;
    if let Err(error) = tokens::replay_journal(&host.app).await {
        warn!(%error, "The token journal cannot be read");
    }
    store.purge_flows(PURGE_BATCH).await?;
    store.purge_slots(PURGE_BATCH).await?;
    store
        .purge_jobs(store.now().await? - KEEP_FINISHED, PURGE_BATCH)
        .await?;
    for id in store.purge_media(PURGE_BATCH).await? {
        if let Err(error) = host.app.media.delete(id).await {
            warn!(%error, media.id = %id, "An expired media file could not be deleted");
        }
    }
    Ok(())
}
