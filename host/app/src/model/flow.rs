//! Connects: the session that a tenant's backend makes, and the flow in which a browser goes to the platform and back.

use std::{fmt, str::FromStr};

use chrono::{DateTime, TimeDelta, Utc};
use patchbay_core::{AccountId, FlowId, Identity, ProviderId, SessionId, TenantId};

/// How long a session can be asked about after its link has ended.
pub const SESSION_KEEP: TimeDelta = TimeDelta::hours(24);

/// One attempt, from the redirect to the callback; then, where the platform tells several accounts, from there to the
/// person's choice. Each part is single use.
#[derive(Clone, PartialEq, Eq)]
pub struct Flow {
    /// Id.
    pub id: FlowId,
    /// Whose.
    pub tenant: TenantId,
    /// The tenant's own id of the end user.
    pub owner: String,
    /// Platform.
    pub provider: ProviderId,
    /// SHA-256 of the state, or of the handle of a choice.
    pub state_hash: [u8; 32],
    /// SHA-256 of the cookie that the browser must bring back.
    pub cookie_hash: [u8; 32],
    /// Sealed: verifier and pending data, or the credentials of a choice. Bound to `(tenant, flows, id, sealed, 0)`.
    pub sealed: Vec<u8>,
    /// The accounts to choose from; `None`: the browser is still at the platform.
    pub identities: Option<Vec<Identity>>,
    /// Scopes that were asked for.
    pub scopes: Vec<String>,
    /// The redirect URI that was sent.
    pub redirect_uri: String,
    /// Own page to land on afterwards, if the session has no other: a path of this host.
    pub return_to: String,
    /// Account becomes `active` at once (a signed-in first-party user) or waits for the tenant.
    pub activate: bool,
    /// The session that it belongs to; `None`: the caller itself connects.
    pub session: Option<SessionId>,
    /// Not after.
    pub expires_at: DateTime<Utc>,
}

impl fmt::Debug for Flow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Flow({}, {})", self.id, self.provider)
    }
}

/// Where a session is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SessionStatus {
    /// Nobody has opened its link.
    Open,
    /// A browser has, and may be at the platform.
    Started,
    /// The account is there, and waits until the tenant takes it. So may one of several.
    Pending,
    /// The account is usable.
    Completed,
    /// The person or the platform refused.
    Refused,
    /// The tenant has called it off.
    Cancelled,
}

impl SessionStatus {
    /// The stable name, as stored.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Started => "started",
            Self::Pending => "pending",
            Self::Completed => "completed",
            Self::Refused => "refused",
            Self::Cancelled => "cancelled",
        }
    }
}

impl FromStr for SessionStatus {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        [
            Self::Open,
            Self::Started,
            Self::Pending,
            Self::Completed,
            Self::Refused,
            Self::Cancelled,
        ]
        .into_iter()
        .find(|status| status.as_str() == text)
        .ok_or_else(|| format!("no session status {text}"))
    }
}

/// A short-lived right to connect one account for one owner from a browser, made by the tenant's backend.
#[derive(Clone, PartialEq, Eq)]
pub struct Session {
    /// Id.
    pub id: SessionId,
    /// Whose.
    pub tenant: TenantId,
    /// For which end user.
    pub owner: String,
    /// For which platform.
    pub provider: ProviderId,
    /// SHA-256 of the token.
    pub token_hash: [u8; 32],
    /// Scopes to ask for; empty: the browser's link or the manifest says.
    pub scopes: Vec<String>,
    /// The account to be connected again; `None`: any.
    pub account: Option<AccountId>,
    /// Where the browser goes afterwards; `None`: a page of this host.
    pub return_to: Option<String>,
    /// Origins that may be told what came of it.
    pub origins: Vec<String>,
    /// The account becomes usable at once, or waits for the tenant.
    pub activate: bool,
    /// State. A link that has ended by time still stands as it was.
    pub status: SessionStatus,
    /// The accounts that were connected; several where the person has chosen them.
    pub connected: Vec<AccountId>,
    /// Scopes that were asked for and not granted.
    pub missing_scopes: Vec<String>,
    /// Why it was refused: the code of a problem.
    pub code: Option<String>,
    /// The link works until then.
    pub expires_at: DateTime<Utc>,
}

impl Session {
    /// Whether it ended without an outcome. A browser that opened the link in its last moment has a flow's time for the
    /// rest.
    #[must_use]
    pub fn is_expired(&self, now: DateTime<Utc>, flow_life: TimeDelta) -> bool {
        match self.status {
            SessionStatus::Open => self.expires_at < now,
            SessionStatus::Started => self.expires_at + flow_life < now,
            SessionStatus::Pending | SessionStatus::Completed | SessionStatus::Refused | SessionStatus::Cancelled => {
                false
            }
        }
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Session({}, {}, {})", self.id, self.provider, self.status.as_str())
    }
}

/// What a grant makes of the session that it came by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionGrant {
    /// The session. It must have been started.
    pub id: SessionId,
    /// `Pending` or `Completed`.
    pub status: SessionStatus,
    /// Scopes that were asked for and not granted.
    pub missing_scopes: Vec<String>,
    /// SHA-256 of the completion code.
    pub code_hash: [u8; 32],
    /// The code is good until then.
    pub code_until: DateTime<Utc>,
}
