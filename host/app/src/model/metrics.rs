//! What platforms count of published posts, and when it is read.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use patchbay_core::{AccountId, Metric, NoMetric, PostId};
use uuid::Uuid;

use super::NewEvent;

/// Values, by what they count.
pub type Counts = BTreeMap<Metric, u64>;
/// Why there are none, by what they would count.
pub type Missing = BTreeMap<Metric, NoMetric>;

/// A published post whose numbers are read from time to time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MetricWatch {
    /// Which post.
    pub post: PostId,
    /// Its account.
    pub account: AccountId,
    /// Where its schedule begins: when its public id became known.
    pub since: DateTime<Utc>,
    /// When it is read next; `None`: no more.
    pub next_at: Option<DateTime<Utc>>,
    /// Readings in a row that told nothing new.
    pub unchanged: u32,
    /// What was told last.
    pub counts: Counts,
    /// When that was told.
    pub read_at: Option<DateTime<Utc>>,
    /// Why the last reading brought no value.
    pub missing: Missing,
}

/// One reading of a post, to be stored.
#[derive(Debug, Clone, PartialEq)]
pub struct NewReading {
    /// Id of its row in the history, which it has if it brings values.
    pub id: Uuid,
    /// What it makes of the watch.
    pub watch: MetricWatch,
    /// Whether it brings values.
    pub is_told: bool,
    /// Stored if an endpoint of the tenant names it.
    pub event: Option<NewEvent>,
}

/// A reading of the past.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PastReading {
    /// Id.
    pub id: Uuid,
    /// When.
    pub read_at: DateTime<Utc>,
    /// What was told.
    pub counts: Counts,
}

/// When posts are read: published in the documentation, so that it is changed there too.
pub mod schedule {
    use super::{DateTime, TimeDelta, Utc};

    /// The first ones, in minutes after the public id became known: a post lives in its first hours.
    const FIRST: [i64; 5] = [15, 60, 3 * 60, 6 * 60, 12 * 60];
    /// Then daily until this day.
    const DAILY_UNTIL: i64 = 30;
    /// Then weekly until this one.
    const WEEKLY_UNTIL: i64 = 90;
    /// This many readings in a row without anything new double the pause, and as many more double it again.
    pub const FLAT: u32 = 3;
    /// Greatest number of times that a pause is doubled.
    const MOST_DOUBLINGS: u32 = 3;

    /// When a post is read first.
    #[must_use]
    pub fn first(since: DateTime<Utc>) -> DateTime<Utc> {
        since + TimeDelta::minutes(FIRST[0])
    }

    /// When it is read after a reading at `now`; `None`: no more. While nothing changes, readings are left out: every second
    /// one is taken, then every fourth, then every eighth.
    #[must_use]
    pub fn next(since: DateTime<Utc>, now: DateTime<Utc>, unchanged: u32) -> Option<DateTime<Utc>> {
        let left = planned().map(|after| since + after).filter(|at| *at > now);
        let every = 1_usize << (unchanged / FLAT).min(MOST_DOUBLINGS);
        left.take(every).last()
    }

    /// All, after the start. There are 43.
    fn planned() -> impl Iterator<Item = TimeDelta> {
        let weeks = (DAILY_UNTIL + 7..=WEEKLY_UNTIL).step_by(7);
        let days = (1..=DAILY_UNTIL).chain(weeks).map(TimeDelta::days);
        FIRST.into_iter().map(TimeDelta::minutes).chain(days)
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        fn run(unchanged: impl Fn(usize) -> u32) -> Vec<TimeDelta> {
            let since = DateTime::UNIX_EPOCH;
            let mut times = vec![first(since)];
            while let Some(at) = next(since, times[times.len() - 1], unchanged(times.len())) {
                times.push(at);
            }
            times.into_iter().map(|at| at - since).collect()
        }

        #[test]
        fn a_post_that_lives_is_read_as_published() {
            let times = run(|_| 0);
            assert_eq!(times.len(), 43);
            let hours: Vec<_> = times[1..6].iter().map(TimeDelta::num_hours).collect();
            assert_eq!((times[0].num_minutes(), hours), (15, vec![1, 3, 6, 12, 24]));
            assert_eq!(times[34].num_days(), 30);
            assert_eq!(times[35].num_days(), 37);
            assert_eq!(times[42].num_days(), 86);
        }

        #[test]
        fn the_pause_of_one_that_is_flat_doubles_and_doubles_again() {
            let since = DateTime::UNIX_EPOCH;
            let at = |day| since + TimeDelta::days(day);
            for (unchanged, day) in [(2, 6), (3, 7), (5, 7), (6, 9), (9, 13), (90, 13)] {
                assert_eq!(next(since, at(5), unchanged), Some(at(day)), "{unchanged}");
            }
            // What would be left out at the end is not: the last reading is taken.
            assert_eq!(next(since, at(79), 9), Some(at(86)));
            assert_eq!(next(since, at(86), 0), None);
            assert!(run(|count| u32::try_from(count).unwrap()).len() < 20);
        }
    }
}
