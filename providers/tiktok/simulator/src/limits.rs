//! Rate windows per token, and the daily counters of posts, drafts and posting users.

use std::collections::{BTreeSet, HashMap, VecDeque};

use chrono::{DateTime, TimeDelta, Utc};

use crate::account::Account;
use crate::answer::ApiError;
use crate::post::Flow;
use crate::switches::Switches;
use crate::world::State;

/// Calls a minute per user token (rate-limit page and each reference page). `None`: not documented.
pub(crate) fn per_minute(op: &str) -> Option<usize> {
    match op {
        "video_init" | "inbox_init" | "content_init" => Some(6),
        "creator_info" => Some(20),
        "status" => Some(30),
        "user_info" | "video_list" | "video_query" => Some(600),
        _ => None,
    }
}

/// Accepted calls of the last minute, per operation and token.
#[derive(Default)]
pub(crate) struct Rates {
    windows: HashMap<(&'static str, String), VecDeque<DateTime<Utc>>>,
}

impl Rates {
    /// Counts the call, or refuses it. Refused calls do not count, so a caller that waits recovers.
    pub(crate) fn admit(&mut self, op: &'static str, token: &str, now: DateTime<Utc>) -> Result<(), ApiError> {
        let Some(limit) = per_minute(op) else {
            return Ok(());
        };
        let minute_ago = now - TimeDelta::seconds(60);
        self.windows.retain(|_, window| {
            // Times after `now` exist once the clock was set back; they must not block for ever.
            window.retain(|at| *at > minute_ago && *at <= now);
            !window.is_empty()
        });
        let window = self.windows.entry((op, token.to_owned())).or_default();
        if window.len() >= limit {
            return Err(ApiError::new("rate_limit_exceeded"));
        }
        window.push_back(now);
        Ok(())
    }
}

impl State {
    /// Direct posts of the last day, other apps' included. Failed and abandoned ones do not count.
    pub(crate) fn has_posted_too_much(&self, account: &Account, switches: &Switches, now: DateTime<Utc>) -> bool {
        let own = self
            .recent(Flow::Direct, now)
            .filter(|post| post.open_id == account.open_id)
            .count();
        own + account.posts_elsewhere >= switches.posts_per_day
    }

    /// Drafts of the last day that the user has not posted; posting one frees its place.
    pub(crate) fn has_too_many_drafts(&self, account: &Account, switches: &Switches, now: DateTime<Utc>) -> bool {
        let pending = self
            .recent(Flow::Inbox, now)
            .filter(|post| post.open_id == account.open_id && post.published.is_empty() && !post.discarded)
            .count();
        pending >= switches.pending_drafts
    }

    /// A user who posted during the last day already may go on; a new one must fit under the cap.
    pub(crate) fn has_too_many_users(&self, account: &Account, switches: &Switches, now: DateTime<Utc>) -> bool {
        let cap = if switches.private_only() {
            Some(switches.unaudited_users_per_day)
        } else {
            switches.audited_users_per_day
        };
        let active: BTreeSet<&str> = self
            .recent(Flow::Direct, now)
            .map(|post| post.open_id.as_str())
            .collect();
        !active.contains(account.open_id.as_str()) && cap.is_some_and(|cap| active.len() >= cap)
    }

    fn recent(&self, flow: Flow, now: DateTime<Utc>) -> impl Iterator<Item = &crate::post::Post> {
        self.posts.values().filter(move |post| {
            post.flow == flow
                && post.created_at > now - TimeDelta::hours(24)
                && !post.is_failed()
                && !self.is_abandoned(post, now)
        })
    }

    /// Its upload URL ran out before the last byte came.
    fn is_abandoned(&self, post: &crate::post::Post, now: DateTime<Utc>) -> bool {
        post.upload_id
            .as_ref()
            .and_then(|id| self.uploads.get(id))
            .is_some_and(|upload| !upload.is_complete() && upload.expires_at <= now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_window_slides_and_tokens_do_not_share_it() {
        let start = DateTime::from_timestamp(1_790_000_000, 0).expect("a valid instant");
        let mut rates = Rates::default();
        for second in 0..6 {
            rates
                .admit("video_init", "a", start + TimeDelta::seconds(second * 10))
                .expect("within the limit");
        }
        let refused = rates.admit("video_init", "a", start + TimeDelta::seconds(59));
        assert_eq!(refused, Err(ApiError::new("rate_limit_exceeded")));
        rates
            .admit("video_init", "b", start + TimeDelta::seconds(59))
            .expect("another token has its own window");
        rates
            .admit("video_init", "a", start + TimeDelta::seconds(60))
            .expect("the first call has left the window");
    }
}
