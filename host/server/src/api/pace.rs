//! How fast a caller may send requests (GCRA, in this process). It protects the database from a client that runs wild;
//! limits of platforms are kept in the database.

use std::{num::NonZeroU32, time::Duration};

use governor::{
    Quota, RateLimiter,
    clock::{Clock, DefaultClock},
    middleware::StateInformationMiddleware,
    state::keyed::DashMapStateStore,
};
use patchbay_app::problem::{Problem, ProblemKind};
use patchbay_core::ApiKeyId;

use super::rate_limit::{Budget, OfKey};
use crate::config::LimitsConfig;

type Limiter<C> = RateLimiter<ApiKeyId, DashMapStateStore<ApiKeyId>, C, StateInformationMiddleware>;

/// Name of the limit, in answers.
const NAME: &str = "key";

/// Keeps the pace of every API key. Only keys that were proved are put to it, so it holds no more than there are keys.
pub struct Pace<C: Clock = DefaultClock> {
    limiter: Option<Limiter<C>>,
    clock: C,
}

impl Pace {
    /// As configured.
    #[must_use]
    pub fn new(config: &LimitsConfig) -> Self {
        Self::with_clock(config, DefaultClock::default())
    }
}

impl<C: Clock + Clone> Pace<C> {
    fn with_clock(config: &LimitsConfig, clock: C) -> Self {
        let burst = NonZeroU32::new(config.burst).unwrap_or(NonZeroU32::MIN);
        let limiter = NonZeroU32::new(config.requests_per_second).map(|rate| {
            let quota = Quota::per_second(rate).allow_burst(burst);
            RateLimiter::new(quota, DashMapStateStore::default(), clock.clone())
        });
        Self { limiter, clock }
    }

    /// Counts one request, and tells what is left.
    ///
    /// # Errors
    /// It comes too early.
    pub fn admit(&self, key: ApiKeyId, told: &OfKey) -> Result<(), Problem> {
        let Some(limiter) = &self.limiter else { return Ok(()) };
        let tell = |quota: Quota, remaining: u32, reset: Duration| {
            let budget = Budget {
                name: NAME.to_owned(),
                quota: quota.burst_size().get(),
                window: quota.burst_size_replenished_in(),
                remaining,
                reset,
            };
            // One request has one key.
            told.0.set(budget).ok();
        };
        match limiter.check_key(&key) {
            Ok(state) => {
                let quota = state.quota();
                tell(quota, state.remaining_burst_capacity(), quota.replenish_interval());
                Ok(())
            }
            Err(early) => {
                // Not 0, which would say that there is nothing to wait for.
                let wait = early.wait_time_from(self.clock.now()).max(Duration::from_millis(1));
                tell(early.quota(), 0, wait);
                let detail =
                    "This key sends more requests than limits.requests_per_second allows. Wait, then go on slower.";
                Err(Problem::new(ProblemKind::RateLimited, detail).after(wait))
            }
        }
    }

    /// Forgets keys that have been away so long that they may send a whole burst again.
    pub fn forget_idle(&self) {
        if let Some(limiter) = &self.limiter {
            limiter.retain_recent();
            limiter.shrink_to_fit();
        }
    }
}

#[cfg(test)]
mod tests {
    use governor::clock::FakeRelativeClock;
    use patchbay_app::env::Env;

    use super::*;

    fn key() -> ApiKeyId {
        ApiKeyId::from_uuid(Env::system().ids.next())
    }

    fn pace(requests_per_second: u32, burst: u32) -> Pace<FakeRelativeClock> {
        let config = LimitsConfig {
            requests_per_second,
            burst,
        };
        Pace::with_clock(&config, FakeRelativeClock::default())
    }

    fn admit(pace: &Pace<FakeRelativeClock>, key: ApiKeyId) -> (Result<(), Problem>, Option<Budget>) {
        let told = OfKey::default();
        let admitted = pace.admit(key, &told);
        (admitted, told.0.get().cloned())
    }

    #[test]
    fn a_burst_passes_and_one_more_waits_for_its_turn() {
        let pace = pace(2, 5);
        let (one, other) = (key(), key());
        let half = Duration::from_millis(500);
        let left = |remaining| Budget {
            name: "key".to_owned(),
            quota: 5,
            window: Duration::from_millis(2_500),
            remaining,
            reset: half,
        };
        for remaining in (0..5).rev() {
            let (admitted, told) = admit(&pace, one);
            admitted.unwrap();
            assert_eq!(told, Some(left(remaining)));
        }
        let (refused, told) = admit(&pace, one);
        let refused = refused.unwrap_err();
        assert_eq!(refused.kind, ProblemKind::RateLimited);
        assert_eq!(refused.retry_after, Some(half));
        assert_eq!(told, Some(left(0)));
        admit(&pace, other).0.unwrap();
        pace.clock.advance(half);
        admit(&pace, one).0.unwrap();
        assert!(admit(&pace, one).0.is_err());
    }

    #[test]
    fn zero_is_no_limit_and_who_has_been_away_is_forgotten() {
        let unlimited = pace(0, 1);
        let one = key();
        for _ in 0..1_000 {
            let (admitted, told) = admit(&unlimited, one);
            admitted.unwrap();
            assert_eq!(told, None);
        }

        let pace = pace(10, 10);
        for _ in 0..100 {
            admit(&pace, key()).0.unwrap();
        }
        let held = |pace: &Pace<FakeRelativeClock>| pace.limiter.as_ref().unwrap().len();
        pace.forget_idle();
        assert_eq!(held(&pace), 100);
        pace.clock.advance(Duration::from_secs(60));
        pace.forget_idle();
        assert_eq!(held(&pace), 0);
    }
}
