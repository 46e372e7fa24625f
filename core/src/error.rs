//! Errors by what the caller must do. The host branches on [`ErrorKind`] alone; the platform's own code and text are
//! kept for people.

use std::{borrow::Cow, fmt, time::Duration};

use serde::{Deserialize, Serialize};

/// What has to happen next. A new kind exists only when some caller acts differently on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ErrorKind {
    /// A passing fault: run the same step again later.
    Retryable,
    /// A limit of the platform: run the same step again after `retry_after`.
    RateLimited,
    /// The account's credentials are dead or too weak: its owner must connect again.
    ReauthRequired,
    /// The post itself is refused: change it.
    InvalidRequest,
    /// Refused for good, for a reason that is not in the post.
    Permanent,
    /// An irreversible call may or may not have taken effect: look before doing anything again.
    OutcomeUnknown,
}

/// Who can make a failed call succeed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WhoActs {
    /// Nobody: Patchbay tries again by itself.
    Nobody,
    /// The account's owner: connect again, or settle it in the platform's own app.
    AccountOwner,
    /// The caller of the API: change the request.
    Caller,
    /// The operator of this installation: configuration or the platform's developer portal.
    Operator,
}

impl ErrorKind {
    /// The stable name, as in JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Retryable => "retryable",
            Self::RateLimited => "rate_limited",
            Self::ReauthRequired => "reauth_required",
            Self::InvalidRequest => "invalid_request",
            Self::Permanent => "permanent",
            Self::OutcomeUnknown => "outcome_unknown",
        }
    }

    /// Whether running the same step again, later and unchanged, can help.
    #[must_use]
    pub fn retry_helps(self) -> bool {
        matches!(self, Self::Retryable | Self::RateLimited)
    }

    /// Who must act, unless the provider's table knows better ([`ProviderError::who`]).
    #[must_use]
    pub fn who_acts(self) -> WhoActs {
        match self {
            Self::Retryable | Self::RateLimited => WhoActs::Nobody,
            Self::ReauthRequired | Self::OutcomeUnknown => WhoActs::AccountOwner,
            Self::InvalidRequest => WhoActs::Caller,
            Self::Permanent => WhoActs::Operator,
        }
    }
}

/// A failed call to a platform, or a provider's own refusal.
#[derive(Debug, thiserror::Error)]
pub struct ProviderError {
    /// What the host does next.
    pub kind: ErrorKind,
    /// The platform's own code (`spam_risk_too_many_posts`), or one of ours for transport faults. Never free text.
    pub code: Cow<'static, str>,
    /// For operators. May hold platform text; never shown to end users.
    pub message: Box<str>,
    /// For end users: a fixed sentence from the provider's table that says what to do.
    pub advice: Option<Cow<'static, str>>,
    /// Who must act, where the table knows better than [`ErrorKind::who_acts`].
    pub who: Option<WhoActs>,
    /// The earliest useful moment to try again, counted from now.
    pub retry_after: Option<Duration>,
    /// The quota of the manifest that the platform says is used up, whatever the host has counted: other posts that
    /// count for it wait as well.
    pub quota: Option<&'static str>,
    /// The cause, if another error was one.
    #[source]
    pub source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl ProviderError {
    /// An error of `kind` with the platform's `code` and a text for operators.
    pub fn new(kind: ErrorKind, code: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        Self {
            kind,
            code: code.into(),
            message: message.into().into_boxed_str(),
            advice: None,
            who: None,
            retry_after: None,
            quota: None,
            source: None,
        }
    }

    /// Adds the fixed sentence for end users.
    #[must_use]
    pub fn advise(mut self, advice: impl Into<Cow<'static, str>>) -> Self {
        self.advice = Some(advice.into());
        self
    }

    /// Names who must act.
    #[must_use]
    pub fn for_who(mut self, who: WhoActs) -> Self {
        self.who = Some(who);
        self
    }

    /// Adds the earliest useful moment to try again.
    #[must_use]
    pub fn after(mut self, wait: Duration) -> Self {
        self.retry_after = Some(wait);
        self
    }

    /// Names the quota that is used up.
    #[must_use]
    pub fn of_quota(mut self, name: &'static str) -> Self {
        self.quota = Some(name);
        self
    }

    /// Who must act.
    #[must_use]
    pub fn who_acts(&self) -> WhoActs {
        self.who.unwrap_or_else(|| self.kind.who_acts())
    }
}

impl fmt::Display for ProviderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}): {}", self.code, self.kind.as_str(), self.message)
    }
}

/// One thing wrong with one field of a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FieldIssue {
    /// JSON pointer into the request, such as `/options/privacy_level`.
    pub pointer: String,
    /// Stable name of the rule, such as `too_long`.
    pub code: Cow<'static, str>,
    /// One sentence that says what is wrong and what would be right.
    pub message: String,
}

impl FieldIssue {
    /// An issue at `pointer`.
    pub fn new(pointer: impl Into<String>, code: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        Self {
            pointer: pointer.into(),
            code: code.into(),
            message: message.into(),
        }
    }
}
