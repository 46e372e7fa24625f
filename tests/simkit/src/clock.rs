//! The simulator's time: real time plus an offset, or frozen at an instant.
//!
//! Everything that expires, waits or is counted per window asks this clock, so a 24 h story can be told in
//! milliseconds. This is the only place of the simulators that reads the wall clock.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use tokio::sync::watch;

use crate::lock;

/// A clock that can be moved, stopped and waited on. Clones share one time.
#[derive(Clone)]
pub struct Clock {
    inner: Arc<Inner>,
}

struct Inner {
    mode: Mutex<Mode>,
    changed: watch::Sender<u64>,
}

#[derive(Clone, Copy)]
enum Mode {
    Running { offset: TimeDelta },
    Frozen { at: DateTime<Utc> },
}

impl Clock {
    /// Follows real time until it is moved.
    pub fn running() -> Self {
        Self::with(Mode::Running {
            offset: TimeDelta::zero(),
        })
    }

    /// Stands still until it is moved.
    pub fn frozen_at(at: DateTime<Utc>) -> Self {
        Self::with(Mode::Frozen { at })
    }

    fn with(mode: Mode) -> Self {
        Self {
            inner: Arc::new(Inner {
                mode: Mutex::new(mode),
                changed: watch::Sender::new(0),
            }),
        }
    }

    pub fn now(&self) -> DateTime<Utc> {
        now_in(*lock(&self.inner.mode))
    }

    pub fn is_frozen(&self) -> bool {
        matches!(*lock(&self.inner.mode), Mode::Frozen { .. })
    }

    /// Moves time forward. Whoever sleeps on the clock looks again at once.
    pub fn advance(&self, by: Duration) {
        let by = TimeDelta::from_std(by).unwrap_or(TimeDelta::MAX);
        let now = self.now();
        self.set(now.checked_add_signed(by).unwrap_or(now));
    }

    /// Jumps to an instant, backwards too, and keeps running or standing as before.
    pub fn set(&self, to: DateTime<Utc>) {
        self.change(|mode| match mode {
            Mode::Running { .. } => Mode::Running {
                offset: to - wall_clock(),
            },
            Mode::Frozen { .. } => Mode::Frozen { at: to },
        });
    }

    pub fn freeze(&self) {
        self.change(|mode| Mode::Frozen { at: now_in(mode) });
    }

    pub fn unfreeze(&self) {
        self.change(|mode| Mode::Running {
            offset: now_in(mode) - wall_clock(),
        });
    }

    /// Wakes whenever somebody moves, stops or starts the clock.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.inner.changed.subscribe()
    }

    /// Returns once the clock shows `until` or later, however it got there. Safe to drop at any point.
    pub async fn sleep_until(&self, until: DateTime<Utc>) {
        let mut changes = self.changes();
        loop {
            let left = until - self.now();
            if left <= TimeDelta::zero() {
                return;
            }
            if self.is_frozen() {
                // The sender lives in `self`, so this cannot fail while we wait.
                if changes.changed().await.is_err() {
                    return;
                }
                continue;
            }
            // A day at most: the timer of the runtime has a ceiling, and the loop looks again anyway.
            let nap = left.to_std().unwrap_or(Duration::ZERO).min(Duration::from_secs(86_400));
            tokio::select! {
                () = tokio::time::sleep(nap) => {}
                _ = changes.changed() => {}
            }
        }
    }

    fn change(&self, to: impl FnOnce(Mode) -> Mode) {
        {
            let mut mode = lock(&self.inner.mode);
            *mode = to(*mode);
        }
        self.inner.changed.send_modify(|version| *version += 1);
    }
}

fn now_in(mode: Mode) -> DateTime<Utc> {
    match mode {
        Mode::Running { offset } => {
            let wall = wall_clock();
            wall.checked_add_signed(offset).unwrap_or(wall)
        }
        Mode::Frozen { at } => at,
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the one place of the simulators that owns the wall clock"
)]
fn wall_clock() -> DateTime<Utc> {
    Utc::now()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noon() -> DateTime<Utc> {
        DateTime::from_timestamp(1_790_000_000, 0).expect("a valid instant")
    }

    #[test]
    fn a_frozen_clock_moves_only_when_told() {
        let clock = Clock::frozen_at(noon());
        assert_eq!(clock.now(), noon());
        clock.advance(Duration::from_secs(90));
        assert_eq!(clock.now() - noon(), TimeDelta::seconds(90));
        clock.set(noon());
        assert_eq!(clock.now(), noon());
    }

    #[test]
    fn a_running_clock_keeps_its_offset_through_a_stop() {
        let clock = Clock::running();
        clock.advance(Duration::from_secs(86_400));
        clock.freeze();
        let stopped = clock.now();
        clock.unfreeze();
        let after = clock.now() - stopped;
        assert!(after >= TimeDelta::zero() && after < TimeDelta::seconds(5));
    }

    #[test]
    fn an_absurd_step_leaves_the_time_alone() {
        let clock = Clock::frozen_at(noon());
        clock.advance(Duration::MAX);
        assert_eq!(clock.now(), noon());
    }

    #[tokio::test]
    async fn sleepers_wake_when_the_clock_jumps() {
        let clock = Clock::frozen_at(noon());
        let sleeper = tokio::spawn({
            let clock = clock.clone();
            async move { clock.sleep_until(noon() + TimeDelta::hours(24)).await }
        });
        clock.advance(Duration::from_secs(3600));
        assert!(!sleeper.is_finished());
        clock.advance(Duration::from_secs(23 * 3600));
        sleeper.await.expect("the sleeper ends");
    }
}
