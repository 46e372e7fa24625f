//! The sorts of work, as operators name them on the command line, in the endpoints for cron services and in
//! schedules. Each has loops of its own in a process, so that none waits for another: an upload may keep a loop busy
//! for long, and a receiver of events may be slow.

use std::str::FromStr;

use clap::{ValueEnum, builder::PossibleValue};
use patchbay_app::model::JobKind;

use crate::config::WorkersConfig;

/// A sort of work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lane {
    /// Reads webhooks that were received.
    Webhooks,
    /// Renews tokens, ends grants at platforms, and erases.
    Refresh,
    /// Takes the next steps of posts.
    Publish,
    /// Sends events to the endpoints of tenants.
    Deliver,
    /// Fetches media files that tenants have named.
    Fetch,
    /// Reads the numbers of published posts.
    Metrics,
}

impl Lane {
    /// All.
    pub const ALL: [Self; 6] = [
        Self::Webhooks,
        Self::Refresh,
        Self::Publish,
        Self::Deliver,
        Self::Fetch,
        Self::Metrics,
    ];

    /// The stable name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Webhooks => "webhooks",
            Self::Refresh => "refresh",
            Self::Publish => "publish",
            Self::Deliver => "deliver",
            Self::Fetch => "fetch",
            Self::Metrics => "metrics",
        }
    }

    /// What it works off. Every kind of job is in one lane.
    #[must_use]
    pub fn kinds(self) -> &'static [JobKind] {
        match self {
            Self::Webhooks => &[JobKind::Ingest],
            Self::Refresh => &[JobKind::Refresh, JobKind::Revoke, JobKind::Erase],
            Self::Publish => &[JobKind::Publish],
            Self::Deliver => &[JobKind::Deliver],
            Self::Fetch => &[JobKind::Import],
            Self::Metrics => &[JobKind::Metrics],
        }
    }

    /// How many loops work it off in one process.
    pub(crate) fn loops(self, config: &WorkersConfig) -> usize {
        match self {
            // They are read together. While the database settles what one has read, the other reads.
            Self::Webhooks => 2,
            // Few, but each may wait for a slow platform.
            Self::Refresh => 4,
            Self::Publish => config.concurrency.max(1),
            Self::Deliver => 8,
            // Each may be at a large file for minutes, with 8 MiB in memory.
            Self::Fetch => 4,
            // Nobody waits for it, and it is to be in nobody's way.
            Self::Metrics => 1,
        }
    }

    /// How many of these loops one tenant may have, where tenants take turns.
    pub(crate) fn most_per_tenant(self, config: &WorkersConfig) -> usize {
        let share = match self {
            Self::Webhooks | Self::Refresh | Self::Publish | Self::Fetch | Self::Metrics => 2,
            // Receivers are the tenants' own, and each may take 15 seconds.
            Self::Deliver => 4,
        };
        self.loops(config).div_ceil(share)
    }
}

impl FromStr for Lane {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|lane| lane.as_str() == text);
        found.ok_or_else(|| {
            format!("no such work: {text}; there are webhooks, refresh, publish, deliver, fetch and metrics")
        })
    }
}

impl ValueEnum for Lane {
    fn value_variants<'a>() -> &'a [Self] {
        &Self::ALL
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        let help = match self {
            Self::Webhooks => "Read webhooks that were received",
            Self::Refresh => "Renew tokens, end grants, and keep house",
            Self::Publish => "Take the next steps of posts",
            Self::Deliver => "Send events to webhook endpoints",
            Self::Fetch => "Fetch media files by their URLs",
            Self::Metrics => "Read the numbers of published posts",
        };
        Some(PossibleValue::new(self.as_str()).help(help))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_job_is_in_one_lane() {
        for kind in JobKind::ALL {
            let lanes = Lane::ALL.iter().filter(|lane| lane.kinds().contains(&kind));
            assert_eq!(lanes.count(), 1, "{kind:?}");
        }
        for lane in Lane::ALL {
            assert_eq!(lane.as_str().parse(), Ok(lane));
        }
        assert!("".parse::<Lane>().is_err() && "Publish".parse::<Lane>().is_err());
    }
}
