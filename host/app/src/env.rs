//! Time, ids and chance, handed in. The one place that touches the ambient ones.

use std::{
    fmt,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
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
pub struct FollowingClock(Mutex<(DateTime<Utc>, Duration)>);

impl FollowingClock {
    /// A clock that was just told the time.
    #[must_use]
    pub fn at(now: DateTime<Utc>) -> Arc<Self> {
        Arc::new(Self(Mutex::new((micros(now), uptime::now()))))
    }

    /// Tells it the time anew.
    pub fn set(&self, now: DateTime<Utc>) {
        *self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = (micros(now), uptime::now());
    }
}

impl Clock for FollowingClock {
    fn now(&self) -> DateTime<Utc> {
        let (at, told) = *self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        micros(at + TimeDelta::from_std(uptime::now().saturating_sub(told)).unwrap_or_default())
    }
}

/// A wall clock without its jumps, for a database that has no clock of its own (SQLite): the wall time at the start, and
/// the time since then by a clock that nobody can set. A jump must not end leases of workers that live, nor tokens and
/// flows before their time, nor make an old signature look new; and from within, a jump that is right cannot be told from
/// one that is wrong.
///
/// So no jump is followed, but this clock goes a little faster or slower ([`SLEW`]) for as long as the wall clock says
/// something else. A second that NTP sets is made up in a minute, which no lease notices. An hour would take days:
/// meanwhile the host tells that clocks disagree, and a restart takes the wall clock's word.
///
/// Sleep of the machine is no jump: it counts as time that has passed.
#[derive(Debug)]
pub struct SteadyClock {
    wall: Arc<dyn Clock>,
    /// What it showed last, and when.
    last: Mutex<(DateTime<Utc>, Duration)>,
}

/// One second in so many is what a [`SteadyClock`] goes faster or slower.
const SLEW: u32 = 60;

impl SteadyClock {
    /// A clock that begins with what this one shows.
    #[must_use]
    pub fn following(wall: Arc<dyn Clock>) -> Arc<Self> {
        let last = Mutex::new((wall.now(), uptime::now()));
        Arc::new(Self { wall, last })
    }
}

impl Clock for SteadyClock {
    fn now(&self) -> DateTime<Utc> {
        let mut last = self.last.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let up = uptime::now();
        let now = steadily(last.0, up.saturating_sub(last.1), self.wall.now());
        *last = (now, up);
        micros(now)
    }
}

/// The time a while after `last`, a little nearer to `wall`. It never goes back.
fn steadily(last: DateTime<Utc>, passed: Duration, wall: DateTime<Utc>) -> DateTime<Utc> {
    let most = TimeDelta::from_std(passed / SLEW).unwrap_or_default();
    let now = last + TimeDelta::from_std(passed).unwrap_or_default();
    now + (wall - now).clamp(-most, most)
}

/// A clock that nobody can set, and that goes on while the machine sleeps.
mod uptime {
    use std::time::Duration;

    /// Since some time in the past.
    #[cfg(unix)]
    pub(super) fn now() -> Duration {
        use rustix::time::{ClockId, clock_gettime};
        #[cfg(any(target_os = "linux", target_os = "android"))]
        const CLOCK: ClockId = ClockId::Boottime;
        // Elsewhere it goes on by itself.
        #[cfg(not(any(target_os = "linux", target_os = "android")))]
        const CLOCK: ClockId = ClockId::Monotonic;
        clock_gettime(CLOCK).try_into().unwrap_or_default()
    }

    /// Since the first look.
    #[cfg(not(unix))]
    pub(super) fn now() -> Duration {
        use std::{sync::LazyLock, time::Instant};
        static FIRST: LazyLock<Instant> = LazyLock::new(Instant::now);
        FIRST.elapsed()
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

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

    use chrono::{DateTime, TimeDelta, Utc};

    use super::{Clock, FixedClock, SteadyClock, steadily};

    fn start() -> DateTime<Utc> {
        DateTime::from_timestamp(1_790_000_000, 0).unwrap()
    }

    #[test]
    fn a_steady_clock_does_not_jump() {
        let wall = FixedClock::at(start());
        let steady = SteadyClock::following(Arc::clone(&wall) as Arc<dyn Clock>);
        wall.advance(Duration::from_secs(24 * 3_600));
        let now = steady.now();
        assert!(now >= start() && now < start() + TimeDelta::hours(1), "{now}");
        assert!(steady.now() >= now);
    }

    #[test]
    fn a_steady_clock_comes_nearer_to_the_wall_clock() {
        let minute = Duration::from_secs(60);
        let later = start() + TimeDelta::minutes(1);
        assert_eq!(steadily(start(), minute, later), later);
        let half = TimeDelta::milliseconds(500);
        assert_eq!(steadily(start(), minute, later + half), later + half);
        assert_eq!(steadily(start(), minute, later - half), later - half);
        let second = TimeDelta::seconds(1);
        assert_eq!(steadily(start(), minute, later + TimeDelta::days(1)), later + second);
        assert_eq!(steadily(start(), minute, later - TimeDelta::days(1)), later - second);
    }

    #[test]
    fn time_while_the_machine_slept_has_passed() {
        let night = Duration::from_secs(8 * 3_600);
        let morning = start() + TimeDelta::hours(8);
        assert_eq!(steadily(start(), night, morning), morning);
    }
}
