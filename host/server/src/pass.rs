//! One pass over the queue: what is due is done, and then it ends. For hosts that are woken by somebody: `patchbay worker
//! --once`, the endpoints for cron services, and scheduled events of AWS Lambda.
//!
//! Several passes may run at once, in one process or in many. Leases see to it that each job runs once, so they share
//! the work.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use patchbay_app::{store::StoreError, work};
use serde::Serialize;
use tokio::{
    task::JoinSet,
    time::{self, Instant},
};
use tracing::{error, warn};

use crate::{host::Host, lane::Lane, worker};

/// Time that a refresh gets to end after its pass was cut short.
const LAST_REFRESH: Duration = Duration::from_secs(1);

/// How long a pass may take.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// After this nothing is begun. A step that was begun ends.
    pub begin_until: Instant,
    /// At this, steps are dropped where they stand, as if the process had died. Their leases run out, and the next
    /// pass takes them over.
    pub cut_at: Option<Instant>,
}

impl Limits {
    /// Begins nothing after so long.
    #[must_use]
    pub fn begin_for(time: Duration) -> Self {
        Self {
            begin_until: Instant::now() + time,
            cut_at: None,
        }
    }
}

/// What a pass did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Passed {
    /// Jobs that were run: the sum of what follows.
    pub processed: u32,
    /// Webhooks that were read.
    pub webhooks: u32,
    /// Tokens that were renewed, and grants that were ended.
    pub refresh: u32,
    /// Steps of posts.
    pub publish: u32,
    /// Events that were sent to endpoints, or held.
    pub deliver: u32,
    /// Tries to fetch media files.
    pub fetch: u32,
    /// Accounts whose posts were read.
    pub metrics: u32,
    /// Whether time was up while work was still due.
    pub more: bool,
}

/// Runs what is due in these lanes until nothing is, time is up, or the host is to stop. With [`Lane::Refresh`] goes one
/// round of housekeeping.
///
/// # Errors
/// The store failed. What was claimed is claimed again when its lease ends.
pub async fn pass(host: &Host, lanes: &[Lane], limits: Limits) -> Result<Passed, StoreError> {
    let tally = Arc::<Tally>::default();
    let rounds = rounds(host, lanes, limits.begin_until, &tally);
    match limits.cut_at {
        None => {
            rounds.await?;
            worker::refreshes_done(host).await;
        }
        Some(cut_at) => match time::timeout_at(cut_at, rounds).await {
            Ok(done) => done?,
            Err(_) => {
                warn!("A pass was cut short; the leases of its steps run out, and the next pass takes them over");
                if time::timeout(LAST_REFRESH, host.app.refreshes_done()).await.is_err() {
                    error!("A token refresh did not end in time");
                }
            }
        },
    }
    let mut passed = tally.passed();
    if Instant::now() >= limits.begin_until || host.stopping.is_cancelled() {
        // Without the database's word there may be more: whoever asks comes again.
        passed.more = is_due(host, lanes).await.unwrap_or(true);
    }
    Ok(passed)
}

#[derive(Default)]
struct Tally {
    webhooks: AtomicU32,
    refresh: AtomicU32,
    publish: AtomicU32,
    deliver: AtomicU32,
    fetch: AtomicU32,
    metrics: AtomicU32,
}

impl Tally {
    fn of(&self, lane: Lane) -> &AtomicU32 {
        match lane {
            Lane::Webhooks => &self.webhooks,
            Lane::Refresh => &self.refresh,
            Lane::Publish => &self.publish,
            Lane::Deliver => &self.deliver,
            Lane::Fetch => &self.fetch,
            Lane::Metrics => &self.metrics,
        }
    }

    fn passed(&self) -> Passed {
        let [webhooks, refresh, publish, deliver, fetch, metrics] =
            Lane::ALL.map(|lane| self.of(lane).load(Ordering::Relaxed));
        Passed {
            processed: webhooks + refresh + publish + deliver + fetch + metrics,
            webhooks,
            refresh,
            publish,
            deliver,
            fetch,
            metrics,
            more: false,
        }
    }
}

/// Rounds, until one finds nothing: what one lane does may make work for another.
async fn rounds(host: &Host, lanes: &[Lane], until: Instant, tally: &Arc<Tally>) -> Result<(), StoreError> {
    loop {
        let before = tally.passed();
        round(host, lanes, until, tally).await?;
        if tally.passed() == before || !goes_on(host, until) {
            break;
        }
    }
    if lanes.contains(&Lane::Refresh) && goes_on(host, until) {
        worker::tidy(host).await?;
    }
    Ok(())
}

/// All lanes beside each other, with as many loops as in a process that lives on. Dropped, it drops their steps.
async fn round(host: &Host, lanes: &[Lane], until: Instant, tally: &Arc<Tally>) -> Result<(), StoreError> {
    let mut loops = JoinSet::new();
    for lane in lanes.iter().copied() {
        for _ in 0..lane.loops(&host.config.workers) {
            let (host, tally) = (host.clone(), tally.clone());
            loops.spawn(async move {
                while goes_on(&host, until) {
                    match work::run_due(&host.app, lane.kinds(), usize::MAX).await? {
                        0 => break,
                        count => tally.of(lane).fetch_add(count, Ordering::Relaxed),
                    };
                }
                Ok(())
            });
        }
    }
    let mut outcome = Ok(());
    while let Some(ended) = loops.join_next().await {
        match ended {
            Ok(ended) => outcome = outcome.and(ended),
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            Err(_) => {}
        }
    }
    outcome
}

fn goes_on(host: &Host, until: Instant) -> bool {
    Instant::now() < until && !host.stopping.is_cancelled()
}

async fn is_due(host: &Host, lanes: &[Lane]) -> Result<bool, StoreError> {
    let kinds: Vec<_> = lanes.iter().flat_map(|lane| lane.kinds()).copied().collect();
    let next = host.app.store.next_due(&kinds).await?;
    Ok(next.is_some_and(|at| at <= host.app.env.now()))
}
