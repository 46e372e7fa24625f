//! Tenants, their API keys, and the keys that seal their secrets.

use std::{fmt, str::FromStr};

use chrono::{DateTime, TimeDelta, Utc};
use patchbay_core::{ApiKeyId, TenantId};
use serde::{Deserialize, Serialize};

/// A product team.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tenant {
    /// Id.
    pub id: TenantId,
    /// Unique name.
    pub name: String,
    /// When it was made.
    pub created_at: DateTime<Utc>,
}

/// What an API key may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyScope {
    /// Read accounts, posts, events and media.
    Read,
    /// Connect and disconnect accounts.
    Connect,
    /// Upload media, publish and cancel.
    Publish,
    /// Manage tenants and their keys. Nothing of a tenant's own.
    Operator,
}

impl KeyScope {
    /// All.
    pub const ALL: [Self; 4] = [Self::Read, Self::Connect, Self::Publish, Self::Operator];
    /// What a tenant's backend needs.
    pub const OF_TENANT: [Self; 3] = [Self::Read, Self::Connect, Self::Publish];

    /// The stable name, as stored.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Connect => "connect",
            Self::Publish => "publish",
            Self::Operator => "operator",
        }
    }
}

impl FromStr for KeyScope {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|scope| scope.as_str() == text)
            .ok_or_else(|| format!("no key scope {text}"))
    }
}

/// An API key. Its secret is not kept.
#[derive(Clone, PartialEq, Eq)]
pub struct ApiKey {
    /// Id.
    pub id: ApiKeyId,
    /// Whose.
    pub tenant: TenantId,
    /// Label.
    pub name: String,
    /// Public part of the key's text, by which it is found. Unique.
    pub public_id: String,
    /// HMAC-SHA-256 of the secret part under the installation's pepper.
    pub secret_hash: [u8; 32],
    /// What it may do.
    pub scopes: Vec<KeyScope>,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// Not after.
    pub expires_at: Option<DateTime<Utc>>,
    /// Since when it is dead.
    pub revoked_at: Option<DateTime<Utc>>,
    /// Last use, to the hour.
    pub last_used_at: Option<DateTime<Utc>>,
}

/// Whether an API key opens anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ApiKeyState {
    /// It does.
    Live,
    /// Its time is over.
    Expired,
    /// It was killed.
    Revoked,
}

impl ApiKeyState {
    /// The stable name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Expired => "expired",
            Self::Revoked => "revoked",
        }
    }
}

impl ApiKey {
    /// Its state at a time.
    #[must_use]
    pub fn state(&self, now: DateTime<Utc>) -> ApiKeyState {
        match (self.revoked_at, self.expires_at) {
            (Some(_), _) => ApiKeyState::Revoked,
            (None, Some(end)) if end <= now => ApiKeyState::Expired,
            (None, _) => ApiKeyState::Live,
        }
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ApiKey({}, {})", self.id, self.name)
    }
}

/// A browser that has shown an operator's key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OperatorSession {
    /// Names the key, which the session does not outlive.
    pub public_id: String,
    /// When the key was shown.
    pub started_at: DateTime<Utc>,
    /// Last use, to the minute.
    pub seen_at: DateTime<Utc>,
}

impl OperatorSession {
    /// It ends when it was not used for so long.
    pub const IDLE: TimeDelta = TimeDelta::minutes(30);
    /// It ends so long after its start, however it is used.
    pub const LIFE: TimeDelta = TimeDelta::hours(12);
    /// A use is noted when the last one that was noted is older.
    pub const NOTED: TimeDelta = TimeDelta::minutes(1);

    /// When it ends, if it is not used again.
    #[must_use]
    pub fn ends_at(&self) -> DateTime<Utc> {
        (self.started_at + Self::LIFE).min(self.seen_at + Self::IDLE)
    }
}

/// What a data key may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DataKeyState {
    /// Seals and opens.
    Active,
    /// Only opens.
    DecryptOnly,
    /// Nobody has it any more: its row keeps the id, which must never name another key.
    Destroyed,
}

impl DataKeyState {
    /// The stable name, as stored.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::DecryptOnly => "decrypt_only",
            Self::Destroyed => "destroyed",
        }
    }
}

impl FromStr for DataKeyState {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        [Self::Active, Self::DecryptOnly, Self::Destroyed]
            .into_iter()
            .find(|state| state.as_str() == text)
            .ok_or_else(|| format!("no data key state {text}"))
    }
}

/// A tenant's data key, wrapped by the installation's key.
#[derive(Clone, PartialEq, Eq)]
pub struct DataKey {
    /// Stands in every envelope that it sealed. From 1.
    pub id: u32,
    /// Whose.
    pub tenant: TenantId,
    /// The key, sealed by the installation's key.
    pub wrapped: Vec<u8>,
    /// A known text sealed by this key: proves at start that the right one is at hand.
    pub canary: Vec<u8>,
    /// State.
    pub state: DataKeyState,
}

impl fmt::Debug for DataKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DataKey({}, {})", self.id, self.tenant)
    }
}
