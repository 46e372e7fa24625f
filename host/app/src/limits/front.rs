//! A limiter in this process in front of the windows in the database, so that callers of the API who ask the platform
//! again and again do not wear out the table of places.
//!
//! It never takes the place of the windows: what it lets through still needs a place that all replicas agree on. Nor
//! does it cost any use of them. It lets twice the limit of a window through: as often as places can be given, and as
//! often again in vain. And it is asked by calls alone that stand in no line: a post asks once, then it is told when its
//! turn comes, and asking it to wait here could leave its place empty.

use std::{
    collections::HashMap,
    fmt,
    num::NonZeroU32,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use chrono::{DateTime, Utc};
use governor::{
    Quota, RateLimiter, clock::Clock as _, middleware::NoOpMiddleware, nanos::Nanos,
    state::keyed::DefaultKeyedStateStore,
};
use patchbay_core::ProviderId;

use crate::{
    env::Env,
    registry::Registry,
    store::{TakenSlot, Window},
};

/// How much more than the limit is let through.
const SLACK: u32 = 2;
/// After so many asks, those that are as good as new are forgotten: no more than these are kept beside the ones in use.
const TIDY_EVERY: u32 = 1_024;

type Limiter = RateLimiter<Subject, DefaultKeyedStateStore<Subject>, EnvClock, NoOpMiddleware<Nanos>>;
type Subject = (patchbay_core::TenantId, String);

/// See the module.
pub(crate) struct Front {
    clock: EnvClock,
    limiters: HashMap<(ProviderId, &'static str), (Limiter, Duration)>,
    asks: AtomicU32,
}

impl Front {
    /// Limiters for every bucket of every provider.
    pub(crate) fn new(registry: &Registry, env: &Env) -> Self {
        let clock = EnvClock(env.clone());
        let mut limiters = HashMap::new();
        for registered in registry.iter() {
            for bucket in &registered.manifest().buckets {
                let limit = bucket.limit.saturating_mul(SLACK);
                // The manifest was checked: neither is zero.
                let (Some(burst), Some(quota)) = (NonZeroU32::new(limit), Quota::with_period(bucket.window / limit))
                else {
                    continue;
                };
                let limiter = RateLimiter::new(
                    quota.allow_burst(burst),
                    DefaultKeyedStateStore::default(),
                    clock.clone(),
                );
                limiters.insert((registered.id().clone(), bucket.name), (limiter, bucket.window));
            }
        }
        Self {
            clock,
            limiters,
            asks: AtomicU32::new(0),
        }
    }

    /// Whether the database may be asked. `Some`: there is no place, as far as this process goes.
    pub(crate) fn ask(&self, provider: &ProviderId, bucket: &'static str, window: &Window) -> Option<TakenSlot> {
        let (limiter, length) = self.limiters.get(&(provider.clone(), bucket))?;
        if self.asks.fetch_add(1, Ordering::Relaxed) % TIDY_EVERY == TIDY_EVERY - 1 {
            for (limiter, _) in self.limiters.values() {
                limiter.retain_recent();
                limiter.shrink_to_fit();
            }
        }
        let refused = limiter.check_key(&(window.tenant, window.subject.clone())).err()?;
        let now = self.clock.now();
        let wait = refused.wait_time_from(now);
        // No wait is longer than the window, unless the clock was set back. Then the database is asked.
        (wait <= *length).then(|| TakenSlot::Full {
            free_at: self.clock.0.now() + wait,
        })
    }
}

impl fmt::Debug for Front {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Front({} limiters)", self.limiters.len())
    }
}

/// The clock of the environment, as the limiter takes it.
#[derive(Debug, Clone)]
struct EnvClock(Env);

impl governor::clock::Clock for EnvClock {
    type Instant = Nanos;

    fn now(&self) -> Nanos {
        let since = self.0.now() - DateTime::<Utc>::UNIX_EPOCH;
        Nanos::new(u64::try_from(since.num_nanoseconds().unwrap_or(i64::MAX)).unwrap_or(0))
    }
}
