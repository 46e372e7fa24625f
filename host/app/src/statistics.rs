//! What became of posts in a stretch of time: pure sums over facts that the store reads in one go.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use patchbay_core::{AccountId, TenantId};

use crate::{
    App,
    model::{PostOutcome, PostStatus},
    problem::Problem,
};

/// Posts that are looked at, the newest first: what one answer may cost.
pub const MOST_POSTS: u32 = 50_000;

/// Whose posts, of which time.
#[derive(Debug, Clone, Copy)]
pub struct Wanted {
    /// Whose.
    pub tenant: TenantId,
    /// Of this account alone.
    pub account: Option<AccountId>,
    /// Asked for then or later.
    pub from: DateTime<Utc>,
    /// Asked for before.
    pub to: DateTime<Utc>,
    /// Length of the parts, from `from` on.
    pub bucket: TimeDelta,
}

/// Sums over posts.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Sums {
    /// How many are in each state.
    pub by_status: BTreeMap<&'static str, u64>,
    /// Of those that have ended, how many of 1 succeeded; `None`: none has ended.
    pub success_rate: Option<f64>,
}

/// Sums over the posts of a part of the time.
#[derive(Debug, Clone, PartialEq)]
pub struct Bucket {
    /// When it begins.
    pub from: DateTime<Utc>,
    /// Its sums.
    pub sums: Sums,
}

/// What became of posts.
#[derive(Debug, Clone, PartialEq)]
pub struct Statistics {
    /// Of all.
    pub sums: Sums,
    /// Failed posts by code.
    pub failures: BTreeMap<String, u64>,
    /// Time from when a post was due to when it was published, in seconds: half of them took no longer. `None`: there is none.
    pub publish_p50_seconds: Option<f64>,
    /// And 95 of 100 took no longer.
    pub publish_p95_seconds: Option<f64>,
    /// Parts in which there is a post, in their order.
    pub buckets: Vec<Bucket>,
    /// There are more than [`MOST_POSTS`], and older ones were left out.
    pub truncated: bool,
}

/// Sums up what became of posts.
///
/// # Errors
/// The store failed.
pub async fn of_posts(app: &App, wanted: Wanted) -> Result<Statistics, Problem> {
    let Wanted {
        tenant,
        account,
        from,
        to,
        ..
    } = wanted;
    let posts = app.store.post_outcomes(tenant, account, from, to, MOST_POSTS).await?;
    Ok(sum_up(&wanted, &posts))
}

fn sum_up(wanted: &Wanted, posts: &[PostOutcome]) -> Statistics {
    let mut buckets: BTreeMap<i64, Vec<PostStatus>> = BTreeMap::new();
    let mut failures = BTreeMap::new();
    let mut took = Vec::new();
    let length = wanted.bucket.num_microseconds().unwrap_or(i64::MAX).max(1);
    for post in posts {
        let since = (post.created_at - wanted.from).num_microseconds().unwrap_or_default();
        buckets.entry(since.div_euclid(length)).or_default().push(post.status);
        if let Some(code) = &post.failure {
            *failures.entry(code.clone()).or_default() += 1;
        }
        if let (PostStatus::Published, Some(end)) = (post.status, post.finished_at) {
            let due = post.scheduled_at.unwrap_or(post.created_at).max(post.created_at);
            took.push((end - due).max(TimeDelta::zero()));
        }
    }
    took.sort_unstable();
    let all: Vec<_> = posts.iter().map(|post| post.status).collect();
    Statistics {
        sums: sums(&all),
        failures,
        publish_p50_seconds: quantile(&took, 50),
        publish_p95_seconds: quantile(&took, 95),
        buckets: buckets
            .into_iter()
            .map(|(place, posts)| Bucket {
                from: wanted.from + TimeDelta::microseconds(place.saturating_mul(length)),
                sums: sums(&posts),
            })
            .collect(),
        truncated: posts.len() >= MOST_POSTS as usize,
    }
}

fn sums(posts: &[PostStatus]) -> Sums {
    let mut by_status = BTreeMap::new();
    let (mut good, mut ended) = (0_u32, 0_u32);
    for status in posts {
        *by_status.entry(status.as_str()).or_default() += 1;
        match status {
            PostStatus::Published | PostStatus::Delivered => {
                good += 1;
                ended += 1;
            }
            PostStatus::Failed | PostStatus::Unconfirmed => ended += 1,
            // What its tenant keeps back or stopped says nothing of success.
            PostStatus::Draft | PostStatus::Queued | PostStatus::Publishing | PostStatus::Cancelled => {}
        }
    }
    Sums {
        by_status,
        success_rate: (ended > 0).then(|| f64::from(good) / f64::from(ended)),
    }
}

/// The nearest rank.
fn quantile(sorted: &[TimeDelta], percent: usize) -> Option<f64> {
    let rank = (sorted.len() * percent).div_ceil(100);
    sorted.get(rank.checked_sub(1)?).map(|took| took.as_seconds_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000 + seconds, 0).unwrap()
    }

    fn post(status: PostStatus, created: i64, took: Option<i64>) -> PostOutcome {
        PostOutcome {
            status,
            failure: (status == PostStatus::Failed).then(|| "spam".to_owned()),
            created_at: at(created),
            scheduled_at: None,
            finished_at: took.map(|took| at(created + took)),
        }
    }

    #[test]
    fn posts_are_summed_up_by_part_state_and_code() {
        let wanted = Wanted {
            tenant: TenantId::DEFAULT,
            account: None,
            from: at(0),
            to: at(7_200),
            bucket: TimeDelta::hours(1),
        };
        let mut late = post(PostStatus::Published, 10, Some(610));
        late.scheduled_at = Some(at(600));
        let posts = [
            post(PostStatus::Published, 3_600, Some(4)),
            post(PostStatus::Failed, 3_599, Some(9)),
            late,
            post(PostStatus::Published, 0, Some(2)),
            post(PostStatus::Cancelled, 0, Some(1)),
            post(PostStatus::Queued, 0, None),
        ];
        let found = sum_up(&wanted, &posts);
        assert_eq!(found.sums.by_status["published"], 3);
        assert_eq!(found.sums.success_rate, Some(0.75));
        assert_eq!(found.failures, BTreeMap::from([("spam".to_owned(), 1)]));
        assert_eq!(
            (found.publish_p50_seconds, found.publish_p95_seconds),
            (Some(4.0), Some(20.0))
        );
        let parts: Vec<_> = found
            .buckets
            .iter()
            .map(|part| (part.from, part.sums.success_rate))
            .collect();
        assert_eq!(parts, [(at(0), Some(2.0 / 3.0)), (at(3_600), Some(1.0))]);
        assert!(!found.truncated);
        let none = sum_up(&wanted, &[]);
        assert_eq!((none.sums.success_rate, none.publish_p50_seconds), (None, None));
    }
}
