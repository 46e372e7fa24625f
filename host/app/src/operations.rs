//! What the operator of an installation looks at: how much of everything there is now, and how it went over time. Numbers
//! alone, from the rows that the work itself writes. Reading is bounded: see [`COUNTED`], [`READ`] and [`SAMPLE`].

use std::time::Duration;

use chrono::{DateTime, DurationRound, TimeDelta, Utc};

use crate::{
    App,
    model::JobKind,
    store::{AccountCounts, DeliveryCounts, KindCounts, OutcomeCounts, RefreshFailures, Scope, Span, StoreResult},
};

/// Numbers of what there is now go up to this: it says "10,000 or more", and costs no more.
pub const COUNTED: u32 = 10_000;
/// Rows of one bucket that are read at most. Beyond that its numbers are those of a part.
pub const READ: u32 = 50_000;
/// Jobs of one bucket among which webhooks are looked for: the last ones.
pub const SAMPLE: u32 = 1_000;

/// How much of everything there is.
#[derive(Debug, Clone, PartialEq)]
pub struct Overview {
    /// When it was counted.
    pub at: DateTime<Utc>,
    /// Accounts.
    pub accounts: AccountCounts,
    /// Posts without an outcome.
    pub open_posts: u64,
    /// Those of them that wait for a place of a platform's limits.
    pub waiting_posts: u64,
    /// What became of the posts that ended within a day.
    pub outcomes: OutcomeCounts,
    /// Work, whatever the scope.
    pub work: Vec<(JobKind, KindCounts)>,
    /// Dead letters.
    pub dead: Vec<(JobKind, u64)>,
    /// Deliveries: those on their way, and those that ended within a day.
    pub deliveries: DeliveryCounts,
}

/// Counts everything.
///
/// # Errors
/// The store failed.
pub async fn overview(app: &App, scope: &Scope) -> StoreResult<Overview> {
    let store = &app.store;
    let at = store.now().await?;
    let day = Span {
        from: at - TimeDelta::days(1),
        // What ends at this very moment is in it.
        to: at + TimeDelta::seconds(1),
        most: READ,
    };
    let mut work = Vec::new();
    for kind in JobKind::ALL {
        work.push((kind, store.count_jobs(kind, COUNTED).await?));
    }
    Ok(Overview {
        at,
        accounts: store.count_accounts(scope, COUNTED).await?,
        open_posts: store.count_open_posts(scope, COUNTED).await?,
        waiting_posts: store.count_waiting(scope.tenant, COUNTED).await?,
        outcomes: store.count_outcomes(scope, day).await?,
        work,
        dead: store.count_dead(scope.tenant, COUNTED).await?,
        deliveries: store
            .count_deliveries(scope.tenant, Span { most: COUNTED, ..day })
            .await?,
    })
}

/// How far back a series goes, and in which steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Period {
    /// 24 hours.
    Day,
    /// 28 times six hours.
    Week,
    /// 30 days.
    Month,
}

impl Period {
    /// All, with their names.
    pub const ALL: [(&'static str, Self); 3] = [("day", Self::Day), ("week", Self::Week), ("month", Self::Month)];

    /// Length of a bucket, and how many there are.
    #[must_use]
    pub fn buckets(self) -> (TimeDelta, i32) {
        match self {
            Self::Day => (TimeDelta::hours(1), 24),
            Self::Week => (TimeDelta::hours(6), 28),
            Self::Month => (TimeDelta::days(1), 30),
        }
    }
}

/// What happened in one bucket of time.
#[derive(Debug, Clone, PartialEq)]
pub struct Bucket {
    /// Its beginning. The last one is not over yet.
    pub from: DateTime<Utc>,
    /// What became of the posts that ended in it.
    pub outcomes: OutcomeCounts,
    /// Webhooks that were looked at.
    pub webhooks: u64,
    /// The time from their receipt to their effect, at the median; `None`: there were none.
    pub webhook_p50: Option<Duration>,
    /// The time that 95 of 100 of them kept.
    pub webhook_p95: Option<Duration>,
    /// Accounts that lost their access.
    pub refresh: RefreshFailures,
}

/// How it went, bucket after bucket, the oldest first. Buckets begin at whole hours and days of UTC.
///
/// # Errors
/// The store failed.
pub async fn series(app: &App, scope: &Scope, period: Period) -> StoreResult<Vec<Bucket>> {
    let store = &app.store;
    let (step, count) = period.buckets();
    let now = store.now().await?;
    // No time of this program is so far away that it cannot be rounded.
    let last = now.duration_trunc(step).unwrap_or(now);
    let mut buckets = Vec::new();
    for back in (0..count).rev() {
        let from = last - step * back;
        let span = Span {
            from,
            to: from + step,
            most: READ,
        };
        let sample = Span { most: SAMPLE, ..span };
        let mut times = store.webhook_times(scope.tenant, sample).await?;
        times.sort_unstable();
        buckets.push(Bucket {
            from,
            outcomes: store.count_outcomes(scope, span).await?,
            webhooks: times.len() as u64,
            webhook_p50: quantile(&times, 50),
            webhook_p95: quantile(&times, 95),
            refresh: store.count_refresh_failures(scope, span).await?,
        });
    }
    Ok(buckets)
}

/// The nearest rank: the least of `sorted` that at least `percent` of them do not exceed.
fn quantile(sorted: &[Duration], percent: usize) -> Option<Duration> {
    let rank = (sorted.len() * percent).div_ceil(100);
    sorted.get(rank.checked_sub(1)?).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_values_that_were_measured() {
        let of = |count: u64, percent| {
            let sorted: Vec<_> = (1..=count).map(Duration::from_secs).collect();
            quantile(&sorted, percent).map(|time| time.as_secs())
        };
        assert_eq!(of(0, 50), None);
        assert_eq!((of(1, 50), of(1, 95)), (Some(1), Some(1)));
        assert_eq!((of(2, 50), of(2, 95)), (Some(1), Some(2)));
        assert_eq!((of(100, 50), of(100, 95)), (Some(50), Some(95)));
        assert_eq!((of(3, 50), of(3, 95)), (Some(2), Some(3)));
    }
}
