//! Group commit: webhooks that come while another commit is under way share the next one. A webhook that comes alone is
//! committed at once, so nobody waits for company.
//!
//! Who is answered soon sends the next one. If each commit took all that waits, a large one would be followed by the few that came
//! meanwhile, and during the next large one hardly anybody would be at work. So a commit takes an even share of all that are known.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{sync::oneshot, time};
use tracing::{error, warn};

use crate::{
    failpoint,
    model::NewWebhook,
    problem::{Problem, ProblemKind},
    store::{Store, StoreError, StoredInbox},
};

/// How long the database may take to commit a webhook before the platform is told to come again.
const COMMIT_DEADLINE: Duration = Duration::from_secs(2);
/// When a commit is given up, be it that the database was cut off and will never answer. Whoever waited has been
/// answered before; longer than the deadline, so that a slow commit still counts.
const GIVE_UP: Duration = Duration::from_secs(5);
/// Webhooks in one commit: more than this makes it no cheaper for each.
const MAX_TOGETHER: usize = 128;
/// Webhooks that wait. At the rate of a slow database (1,000/s) the last one would still be in time.
const MAX_WAITING: usize = 2_000;

/// Commits webhooks in groups.
pub(crate) struct GroupCommit {
    store: Arc<dyn Store>,
    queue: Mutex<Queue>,
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Waiting>,
    committers: usize,
    /// Webhooks in the groups that committers have taken last: they are being committed, or have just been answered.
    taken: usize,
}

struct Waiting {
    webhook: NewWebhook,
    answer: oneshot::Sender<Option<StoredInbox>>,
}

impl GroupCommit {
    pub(crate) fn new(store: Arc<dyn Store>) -> Arc<Self> {
        Arc::new(Self {
            store,
            queue: Mutex::default(),
        })
    }

    /// Stores a webhook. Returns after the commit. A caller that goes away before changes nothing.
    ///
    /// # Errors
    /// `Unavailable`: it is not known to be committed in time, and the sender has to come again.
    pub(crate) async fn store(self: &Arc<Self>, webhook: NewWebhook) -> Result<StoredInbox, Problem> {
        let (answer, stored) = oneshot::channel();
        let unavailable = || {
            Problem::new(
                ProblemKind::Unavailable,
                "The database is too slow just now. Send the webhook again.",
            )
            .after(COMMIT_DEADLINE)
        };
        {
            let mut queue = self.queue();
            if queue.waiting.len() >= MAX_WAITING {
                return Err(unavailable());
            }
            queue.waiting.push_back(Waiting { webhook, answer });
            if queue.committers < self.store.side_by_side() {
                queue.committers += 1;
                // It ends when nothing waits.
                drop(tokio::spawn(self.clone().commit_all()));
            }
        }
        match time::timeout(COMMIT_DEADLINE, stored).await {
            Ok(Ok(Some(stored))) => Ok(stored),
            Ok(Ok(None) | Err(_)) => Err(unavailable()),
            Err(late) => Err(unavailable().because(late)),
        }
    }

    async fn commit_all(self: Arc<Self>) {
        let mut place = Place {
            commits: &self,
            taken: 0,
            is_given_up: false,
        };
        while let Some(group) = place.next_group() {
            self.commit(group).await;
        }
    }

    async fn commit(&self, group: Vec<Waiting>) {
        let (webhooks, answers): (Vec<_>, Vec<_>) = group.into_iter().map(|w| (w.webhook, w.answer)).unzip();
        metrics::histogram!("patchbay_webhook_commit_size").record(u32::try_from(webhooks.len()).unwrap_or(u32::MAX));
        match self.commit_together(&webhooks).await {
            Ok(stored) => {
                for (answer, stored) in answers.into_iter().zip(stored) {
                    answer.send(Some(stored)).ok();
                }
            }
            // Whoever waits is answered by the deadline or when the sender is dropped, here.
            Err(StoreError::Unavailable(error)) => {
                warn!(%error, webhooks = webhooks.len(), "The database did not commit webhooks; their senders come again");
            }
            // One of them may be what the database refuses. The others are not to suffer for it.
            Err(error) => {
                error!(%error, webhooks = webhooks.len(), "The database refused webhooks that were to be committed together");
                for (webhook, answer) in webhooks.into_iter().zip(answers) {
                    let stored = self.commit_together(std::slice::from_ref(&webhook)).await;
                    answer.send(stored.ok().and_then(|stored| stored.first().copied())).ok();
                }
            }
        }
    }

    async fn commit_together(&self, webhooks: &[NewWebhook]) -> Result<Vec<StoredInbox>, StoreError> {
        let stored = failpoint::under_way("wh.inserted", self.store.store_inbox(webhooks));
        match time::timeout(GIVE_UP, stored).await {
            Ok(stored) => failpoint::answered("wh.committed").and(stored),
            Err(late) => Err(StoreError::Unavailable(late.into())),
        }
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A committer's place among those that run side by side. Given up under the lock under which nothing was found, so that
/// no webhook waits for a committer that has just gone; or when the committer's task is ended.
struct Place<'a> {
    commits: &'a GroupCommit,
    /// Webhooks in its last group.
    taken: usize,
    is_given_up: bool,
}

impl Place<'_> {
    fn next_group(&mut self) -> Option<Vec<Waiting>> {
        let mut queue = self.commits.queue();
        // Those whose sender was told to come again need not be stored.
        queue.waiting.retain(|waiting| !waiting.answer.is_closed());
        if queue.waiting.is_empty() {
            self.give_up(&mut queue);
            return None;
        }
        let count = share(queue.waiting.len(), queue.taken, self.commits.store.side_by_side());
        queue.taken = queue.taken - self.taken + count;
        self.taken = count;
        Some(queue.waiting.drain(..count).collect())
    }

    fn give_up(&mut self, queue: &mut Queue) {
        queue.committers -= 1;
        queue.taken -= self.taken;
        self.is_given_up = true;
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        if !self.is_given_up {
            let commits = self.commits;
            self.give_up(&mut commits.queue());
        }
    }
}

/// How many of those that wait, at least one, the next commit takes. One share is left to gather while the commits that run side
/// by side are under way.
fn share(waiting: usize, taken: usize, side_by_side: usize) -> usize {
    let share = match taken {
        0 => waiting,
        taken => (waiting + taken).div_ceil(side_by_side + 1),
    };
    share.min(waiting).min(MAX_TOGETHER)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_commit_after_a_pause_takes_all() {
        assert_eq!(share(1, 0, 1), 1);
        assert_eq!(share(50, 0, 2), 50);
    }

    #[test]
    fn commits_become_even() {
        assert_eq!(share(51, 13, 1), 32);
        assert_eq!(share(32, 32, 1), 32);
        assert_eq!(share(156, 100, 2), 86);
    }

    #[test]
    fn a_commit_takes_what_there_is_and_no_more_than_is_good() {
        assert_eq!(share(1, 63, 1), 1);
        assert_eq!(share(MAX_WAITING, 0, 1), MAX_TOGETHER);
    }
}
