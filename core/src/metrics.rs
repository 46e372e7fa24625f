//! Numbers of published posts. Each platform has counters of its own; these names stand for the same thing on all of them.

use std::{collections::BTreeMap, fmt, str::FromStr};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use url::Url;

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Metric {
    /// How often it was seen or played.
    Views,
    /// People who like it.
    Likes,
    /// Comments and replies.
    Comments,
    /// How often it was sent on by the platform's share button.
    Shares,
    /// How often it was shown again on another profile, as it is.
    Reposts,
    /// How often another post shows it with words of its own.
    Quotes,
}

impl Metric {
    /// All.
    pub const ALL: [Self; 6] = [
        Self::Views,
        Self::Likes,
        Self::Comments,
        Self::Shares,
        Self::Reposts,
        Self::Quotes,
    ];

    /// The stable name, as in JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Views => "views",
            Self::Likes => "likes",
            Self::Comments => "comments",
            Self::Shares => "shares",
            Self::Reposts => "reposts",
            Self::Quotes => "quotes",
        }
    }
}

impl fmt::Display for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Metric {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|metric| metric.as_str() == text)
            .ok_or_else(|| format!("no metric {text}"))
    }
}

/// Why there is no value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum NoMetric {
    /// The platform gives none for this kind of post.
    NotGiven,
    /// None has been read so far, or the platform has not counted yet.
    NotYet,
    /// The account has not granted the scope that it takes.
    MissingScope,
    /// The account must be connected again.
    ReconnectRequired,
    /// The platform does not show this post: it is private, a draft or deleted, or came to nothing.
    NotAvailable,
    /// The platform refused to tell. It is asked again.
    Refused,
}

impl NoMetric {
    /// All.
    pub const ALL: [Self; 6] = [
        Self::NotGiven,
        Self::NotYet,
        Self::MissingScope,
        Self::ReconnectRequired,
        Self::NotAvailable,
        Self::Refused,
    ];

    /// The stable name, as in JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotGiven => "not_given",
            Self::NotYet => "not_yet",
            Self::MissingScope => "missing_scope",
            Self::ReconnectRequired => "reconnect_required",
            Self::NotAvailable => "not_available",
            Self::Refused => "refused",
        }
    }
}

impl FromStr for NoMetric {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|reason| reason.as_str() == text)
            .ok_or_else(|| format!("no reason {text}"))
    }
}

/// One value, or why there is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Count {
    /// Exact, as the platform tells it.
    Of(u64),
    /// There is none.
    Missing(NoMetric),
}

/// Numbers of one published post.
#[derive(Debug, Clone, PartialEq)]
pub struct PostMetrics {
    /// The platform's id.
    pub remote_id: String,
    /// Page of the post.
    pub url: Option<Url>,
    /// What the platform told. What the manifest names and the answer lacks is [`NoMetric::NotYet`]: leave it out.
    pub counts: BTreeMap<Metric, Count>,
    /// When it was made, as the platform says.
    pub created_at: Option<DateTime<Utc>>,
}

impl PostMetrics {
    /// Numbers of a post, of those that the platform told.
    #[must_use]
    pub fn of(remote_id: String, told: impl IntoIterator<Item = (Metric, Option<u64>)>) -> Self {
        let told = told.into_iter();
        Self {
            remote_id,
            url: None,
            counts: told
                .filter_map(|(metric, count)| Some((metric, Count::Of(count?))))
                .collect(),
            created_at: None,
        }
    }
}
