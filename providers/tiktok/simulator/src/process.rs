//! What happens to posts as time passes: processing ends, drafts reach the inbox, public ids appear.

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use patchbay_simkit::fault::{Subject, setting};

use crate::account::Privacy;
use crate::hooks::PostEvent;
use crate::post::{FailReason, Flow, Phase, Post, Published};
use crate::world::{State, World};

/// Ids of real posts have 19 digits; these stay inside an i64.
const ID_RANGE: (u64, u64) = (7_400_000_000_000_000_000, 7_800_000_000_000_000_000);

impl World {
    /// Moves every post to where it should be now. Readers call it, so nobody sees a late state.
    pub(crate) fn tick(&self) {
        let now = self.clock.now();
        let mut state = self.state();
        let mut changed = false;
        let numbers: Vec<u64> = state.posts.keys().copied().collect();
        for number in numbers {
            if let Some(post) = state.posts.get_mut(&number) {
                while self.step(post, now) {
                    changed = true;
                }
            }
        }
        drop(state);
        if changed {
            self.progressed();
        }
    }

    /// All bytes are here: starts the wait for the outcome. Fault rules for `processing` strike now.
    pub(crate) fn begin_processing(&self, state: &mut State, publish_id: &str, verdict: Option<FailReason>) {
        let delay = TimeDelta::seconds(self.switches().processing_seconds.into());
        let now = self.clock.now();
        let Some(number) = state.post_numbers.get(publish_id).copied() else {
            return;
        };
        let Some(open_id) = state.posts.get(&number).map(|post| post.open_id.clone()) else {
            return;
        };
        let mut names = vec![open_id.clone()];
        names.extend(state.account(&open_id).map(|account| account.username.clone()));
        let hits = self.faults.strike(Subject {
            op: "processing",
            path: publish_id,
            accounts: &names,
        });
        // A reason that does not exist must not look like success.
        let forced = setting(&hits, "fail").map(|(_, reason)| {
            reason
                .as_str()
                .and_then(FailReason::parse)
                .unwrap_or(FailReason::Internal)
        });
        if let Some(post) = state.posts.get_mut(&number) {
            post.phase = Phase::Processing {
                due: now + delay,
                verdict: forced.or(verdict),
                held_by: setting(&hits, "hang").map(|(rule, _)| rule.to_owned()),
            };
        }
        self.wake.notify_one();
        self.progressed();
    }

    /// Ends a post as failed and tells the app.
    pub(crate) fn fail_post(&self, post: &mut Post, reason: FailReason, at: DateTime<Utc>) {
        post.phase = Phase::Failed(reason);
        post.abort.notify_one();
        self.announce(post, &PostEvent::Failed(reason), at);
    }

    /// When something will become due next, so that the background task can sleep until then.
    fn next_due(&self) -> Option<DateTime<Utc>> {
        let state = self.state();
        state.posts.values().filter_map(|post| self.due(post)).min()
    }

    fn due(&self, post: &Post) -> Option<DateTime<Utc>> {
        let own = match &post.phase {
            Phase::Cancelling { due } => Some(*due),
            Phase::Processing {
                held_by: Some(rule), ..
            } if self.faults.is_set(rule) => None,
            Phase::Processing { due, .. } => Some(*due),
            Phase::AwaitingUpload | Phase::Downloading | Phase::InInbox | Phase::Complete | Phase::Failed(_) => None,
        };
        let ids = post
            .published
            .iter()
            .filter(|published| !published.announced && !published.deleted)
            .filter_map(|published| published.public_at);
        own.into_iter().chain(ids).min()
    }

    /// One transition, if one is due. It happens at its own time, so that a long jump of the clock tells the
    /// same story as many short ones.
    fn step(&self, post: &mut Post, now: DateTime<Utc>) -> bool {
        let Some(at) = self.due(post).filter(|due| *due <= now) else {
            return false;
        };
        match post.phase.clone() {
            Phase::Cancelling { .. } => self.fail_post(post, FailReason::PublishCancelled, at),
            Phase::Processing {
                verdict: Some(reason), ..
            } => self.fail_post(post, reason, at),
            Phase::Processing { held_by, .. } => {
                // What hung goes on when it is let go, not when it should have.
                let at = if held_by.is_some() { now } else { at };
                match post.flow {
                    Flow::Direct => {
                        let privacy = post.wishes.privacy.unwrap_or(Privacy::SelfOnly);
                        self.publish(post, privacy, at);
                    }
                    Flow::Inbox => {
                        post.phase = Phase::InInbox;
                        self.announce(post, &PostEvent::InboxDelivered, at);
                    }
                }
            }
            Phase::AwaitingUpload | Phase::Downloading | Phase::InInbox | Phase::Complete | Phase::Failed(_) => {
                self.announce_ids(post, at);
            }
        }
        true
    }

    /// Puts a post on the profile and returns its id.
    pub(crate) fn publish(&self, post: &mut Post, privacy: Privacy, at: DateTime<Utc>) -> u64 {
        let switches = self.switches();
        let public = privacy == Privacy::PublicToEveryone && !switches.private_only();
        let post_id = self.random.between(ID_RANGE.0, ID_RANGE.1);
        let delay = TimeDelta::seconds(switches.post_id_seconds.into());
        post.published.push(Published {
            post_id,
            privacy,
            at,
            public_at: public.then(|| at + delay),
            announced: false,
            deleted: false,
        });
        post.phase = Phase::Complete;
        self.announce(post, &PostEvent::Complete, at);
        post_id
    }

    fn announce_ids(&self, post: &mut Post, at: DateTime<Utc>) {
        let mut due = Vec::new();
        for published in &mut post.published {
            let is_due = published.public_at.is_some_and(|due| due <= at);
            if is_due && !published.announced && !published.deleted {
                published.announced = true;
                due.push(published.post_id);
            }
        }
        for post_id in due {
            self.announce(post, &PostEvent::Publicly { post_id }, at);
        }
    }

    /// A 19-digit number that no upload or post has yet.
    pub(crate) fn draw_number(&self) -> u64 {
        self.random.between(ID_RANGE.0, ID_RANGE.1)
    }
}

/// The background task: looks again whenever the clock, a fault rule or a post may have changed.
pub(crate) async fn run(world: Arc<World>) {
    let mut stop = world.stop.clone();
    let mut faults = world.faults.changes();
    loop {
        world.tick();
        let next = world.next_due();
        let due = async {
            match next {
                Some(at) => world.clock.sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = stop.wait_for(|stopped| *stopped) => return,
            () = due => {}
            () = world.wake.notified() => {}
            _ = faults.changed() => {}
        }
    }
}
