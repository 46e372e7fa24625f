//! Time, ids and chance, handed in. The one place that touches the ambient ones.

use std::{
    fmt,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use chrono::{DateTime, DurationRound, TimeDelta, Utc};
use uuid::Uuid;

/// Wall time, in whole microseconds, so that both databases give back what was written.
pub trait Clock: Send + Sync + fmt::Debug {
    /// Now.
    fn now(&self) -> DateTime<Utc>;
}

/// Makes ids.
pub trait Ids: Send + Sync + fmt::Debug {
    /// A new UUIDv7: sortable by time.
    fn next(&self) -> Uuid;
}

/// Cryptographic randomness, in production.
pub trait Rng: Send + Sync + fmt::Debug {
    /// Fills `bytes`.
    fn fill(&self, bytes: &mut [u8]);
}

/// What a use case needs from its surroundings.
#[derive(Clone, Debug)]
pub struct Env {
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Ids.
    pub ids: Arc<dyn Ids>,
    /// Chance.
    pub rng: Arc<dyn Rng>,
}

impl Env {
    /// The real ones.
    #[must_use]
    pub fn system() -> Self {
        Self {
            clock: Arc::new(SystemClock),
            ids: Arc::new(SystemIds),
            rng: Arc::new(SystemRng),
        }
    }

    /// A clock that stands still at `start` until moved, counting ids and seeded chance. The clock is shared, so that
    /// a test can keep it.
    #[must_use]
    pub fn fixed(clock: Arc<FixedClock>, seed: u64) -> Self {
        let ids = Arc::new(CountingIds {
            clock: clock.clone(),
            count: AtomicU64::new(seed << 32),
        });
        Self {
            clock,
            ids,
            rng: Arc::new(SeededRng(AtomicU64::new(seed))),
        }
    }

    /// Now.
    #[must_use]
    pub fn now(&self) -> DateTime<Utc> {
        self.clock.now()
    }

    /// Random bytes.
    #[must_use]
    pub fn random<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0; N];
        self.rng.fill(&mut bytes);
        bytes
    }

    /// A number from 0 (included) to 1 (excluded), for jitter.
    #[must_use]
    pub fn fraction(&self) -> f64 {
        f64::from(u32::from_le_bytes(self.random())) / (f64::from(u32::MAX) + 1.0)
    }
}

#[derive(Debug)]
struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one owner of the wall clock")]
    fn now(&self) -> DateTime<Utc> {
        micros(Utc::now())
    }
}

/// A clock that somebody else keeps, such as the database, as this process knows it: what it said last, and the time
/// since then by a clock that nobody can set. So a host whose wall clock is wrong, or jumps, works on as the others do.
#[derive(Debug)]
pub struct FollowingClock(Mutex<(DateTime<Utc>, Instant)>);

impl FollowingClock {
    /// A clock that was just told the time.
    #[must_use]
    pub fn at(now: DateTime<Utc>) -> Arc<Self> {
        Arc::new(Self(Mutex::new((micros(now), Instant::now()))))
    }

    /// Tells it the time anew.
    pub fn set(&self, now: DateTime<Utc>) {
        *self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = (micros(now), Instant::now());
    }
}

impl Clock for FollowingClock {
    fn now(&self) -> DateTime<Utc> {
        let (at, told) = *self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        micros(at + TimeDelta::from_std(told.elapsed()).unwrap_or_default())
    }
}

#[derive(Debug)]
struct SystemIds;

impl Ids for SystemIds {
    #[expect(clippy::disallowed_methods, reason = "the one owner of ids")]
    fn next(&self) -> Uuid {
        Uuid::now_v7()
    }
}

#[derive(Debug)]
struct SystemRng;

impl Rng for SystemRng {
    #[expect(clippy::disallowed_methods, reason = "the one owner of chance")]
    fn fill(&self, bytes: &mut [u8]) {
        rand::Rng::fill_bytes(&mut rand::rng(), bytes);
    }
}

/// A clock that moves only when told.
#[derive(Debug)]
pub struct FixedClock(Mutex<DateTime<Utc>>);

impl FixedClock {
    /// A clock at `start`.
    #[must_use]
    pub fn at(start: DateTime<Utc>) -> Arc<Self> {
        Arc::new(Self(Mutex::new(micros(start))))
    }

    /// Moves forward.
    pub fn advance(&self, by: Duration) {
        let mut now = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        *now = micros(*now + TimeDelta::from_std(by).unwrap_or(TimeDelta::MAX));
    }

    /// Moves to a time, never back.
    pub fn advance_to(&self, at: DateTime<Utc>) {
        let mut now = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        *now = micros(at).max(*now);
    }
}

impl Clock for FixedClock {
    fn now(&self) -> DateTime<Utc> {
        *self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

#[derive(Debug)]
struct CountingIds {
    clock: Arc<FixedClock>,
    count: AtomicU64,
}

impl Ids for CountingIds {
    fn next(&self) -> Uuid {
        let count = self.count.fetch_add(1, Ordering::Relaxed);
        let millis = u64::try_from(self.clock.now().timestamp_millis()).unwrap_or_default();
        let mut random = [0; 10];
        random[2..].copy_from_slice(&count.to_be_bytes());
        uuid::Builder::from_unix_timestamp_millis(millis, &random).into_uuid()
    }
}

/// SplitMix64. Good enough to be different each time and the same each run; never used outside tests.
#[derive(Debug)]
struct SeededRng(AtomicU64);

impl Rng for SeededRng {
    fn fill(&self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            let mut z = self.0.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            chunk.copy_from_slice(&(z ^ (z >> 31)).to_le_bytes()[..chunk.len()]);
        }
    }
}

fn micros(time: DateTime<Utc>) -> DateTime<Utc> {
    time.duration_trunc(TimeDelta::microseconds(1)).unwrap_or(time)
}
