//! `RateLimit-Policy` and `RateLimit` (draft-ietf-httpapi-ratelimit-headers-10): which limits there are, and what they
//! leave. One item a limit; ours is named `key`, a platform's as in `quotas`.

use std::{
    fmt::Write as _,
    sync::{Arc, OnceLock},
    time::Duration,
};

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use chrono::{DateTime, Utc};
use patchbay_app::limits::LimitUse;

/// The kinds of limit.
pub const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
/// What they leave now.
pub const CURRENT: HeaderName = HeaderName::from_static("ratelimit");

/// What a limit leaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Budget {
    /// Name: letters, digits and `_`.
    pub name: String,
    /// Requests in a window.
    pub quota: u32,
    /// The window.
    pub window: Duration,
    /// Requests that are left.
    pub remaining: u32,
    /// When there is one more than now; zero: all are left.
    pub reset: Duration,
}

impl Budget {
    /// What a limit of the platform leaves.
    #[must_use]
    pub fn of_platform(limit: &LimitUse, now: DateTime<Utc>) -> Self {
        let reset = limit.next_free_at.map(|at| (at - now).to_std().unwrap_or_default());
        Self {
            name: limit.name.to_owned(),
            quota: limit.limit,
            window: limit.window,
            remaining: limit.remaining,
            reset: reset.unwrap_or_default(),
        }
    }
}

/// Adds limits to an answer.
pub fn tell<'b>(budgets: impl IntoIterator<Item = &'b Budget>, headers: &mut HeaderMap) {
    let (mut policy, mut current) = (String::new(), String::new());
    for budget in budgets {
        let comma = if policy.is_empty() { "" } else { ", " };
        let Budget {
            name, quota, remaining, ..
        } = budget;
        // Writing to a String cannot fail.
        let _ = write!(policy, "{comma}\"{name}\";q={quota};w={}", seconds(budget.window));
        let _ = write!(current, "{comma}\"{name}\";r={remaining};t={}", seconds(budget.reset));
    }
    for (name, value) in [(POLICY, policy), (CURRENT, current)] {
        if let (false, Ok(value)) = (value.is_empty(), HeaderValue::try_from(value)) {
            headers.append(name, value);
        }
    }
}

/// Whole seconds, rounded up: who waits so long does not come too early.
fn seconds(time: Duration) -> u64 {
    time.as_secs() + u64::from(time.subsec_nanos() > 0)
}

/// Where the check of a key leaves its budget for the answer. In the extensions of a request.
#[derive(Debug, Clone, Default)]
pub struct OfKey(pub Arc<OnceLock<Budget>>);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_told_as_structured_fields() {
        let budget = |name: &str, quota, remaining, reset| Budget {
            name: name.to_owned(),
            quota,
            window: Duration::from_millis(1_500),
            remaining,
            reset: Duration::from_millis(reset),
        };
        let mut headers = HeaderMap::new();
        tell(&[], &mut headers);
        assert!(headers.is_empty());
        tell(&[budget("init", 6, 0, 1), budget("drafts", 5, 5, 0)], &mut headers);
        tell(&[budget("key", 400, 399, 5)], &mut headers);
        let all = |name| headers.get_all(name).iter().collect::<Vec<_>>();
        assert_eq!(
            all(POLICY),
            ["\"init\";q=6;w=2, \"drafts\";q=5;w=2", "\"key\";q=400;w=2"]
        );
        assert_eq!(
            all(CURRENT),
            ["\"init\";r=0;t=1, \"drafts\";r=5;t=0", "\"key\";r=399;t=1"]
        );
    }
}
