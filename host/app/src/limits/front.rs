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
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use chrono::{DateTime, Utc};
use governor::{
    Quota, RateLimiter, clock::Clock as _, middleware::NoOpMiddleware, nanos::Nanos,
    state::keyed::DefaultKeyedStateStore,
};
use patchbay_core::{Bucket, ProviderId};

use crate::{
    env::Env,
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
    /// By provider and bucket, made when they are asked first.
    limiters: RwLock<HashMap<(ProviderId, &'static str), Arc<OfBucket>>>,
    asks: AtomicU32,
}

struct OfBucket {
    limiter: Limiter,
    /// What it was made for: a provider that is replaced while the host runs may have other limits.
    limit: u32,
    window: Duration,
}

impl Front {
    /// Without any limiter yet.
    pub(crate) fn new(env: &Env) -> Self {
        Self {
            clock: EnvClock(env.clone()),
            limiters: RwLock::default(),
            asks: AtomicU32::new(0),
        }
    }

    /// Whether the database may be asked. `Some`: there is no place, as far as this process goes.
    pub(crate) fn ask(&self, provider: &ProviderId, bucket: &Bucket, window: &Window) -> Option<TakenSlot> {
        let of_bucket = self.of(provider, bucket)?;
        if self.asks.fetch_add(1, Ordering::Relaxed) % TIDY_EVERY == TIDY_EVERY - 1 {
            for other in self.limiters.read().unwrap_or_else(PoisonError::into_inner).values() {
                other.limiter.retain_recent();
                other.limiter.shrink_to_fit();
            }
        }
        let refused = of_bucket
            .limiter
            .check_key(&(window.tenant, window.subject.clone()))
            .err()?;
        let now = self.clock.now();
        let wait = refused.wait_time_from(now);
        // No wait is longer than the window, unless the clock was set back. Then the database is asked.
        (wait <= of_bucket.window).then(|| TakenSlot::Full {
            free_at: self.clock.0.now() + wait,
        })
    }

    fn of(&self, provider: &ProviderId, bucket: &Bucket) -> Option<Arc<OfBucket>> {
        let key = (provider.clone(), bucket.name);
        let fits = |of: &&Arc<OfBucket>| of.limit == bucket.limit && of.window == bucket.window;
        let limiters = self.limiters.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(of) = limiters.get(&key).filter(fits) {
            return Some(of.clone());
        }
        drop(limiters);
        let most = bucket.limit.saturating_mul(SLACK);
        // The manifest was checked: neither is zero.
        let quota = Quota::with_period(bucket.window / NonZeroU32::new(most)?.get())?;
        let limiter = RateLimiter::new(
            quota.allow_burst(NonZeroU32::new(most)?),
            DefaultKeyedStateStore::default(),
            self.clock.clone(),
        );
        let made = Arc::new(OfBucket {
            limiter,
            limit: bucket.limit,
            window: bucket.window,
        });
        let mut limiters = self.limiters.write().unwrap_or_else(PoisonError::into_inner);
        // Somebody else may have been faster: what is counted already stays.
        if let Some(of) = limiters.get(&key).filter(fits) {
            return Some(of.clone());
        }
        limiters.insert(key, made.clone());
        Some(made)
    }
}

impl fmt::Debug for Front {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let limiters = self.limiters.read().unwrap_or_else(PoisonError::into_inner);
        write!(f, "Front({} limiters)", limiters.len())
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
