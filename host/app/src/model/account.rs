//! A connected account and the life of its tokens.

use std::{fmt, str::FromStr};

use chrono::{DateTime, Utc};
use patchbay_core::{AccountId, ProviderId, TenantId};
use serde::{Deserialize, Serialize};
use url::Url;

/// Whether an account can be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AccountStatus {
    /// Connected, but not yet accepted by the tenant.
    Pending,
    /// Usable.
    Active,
    /// Its credentials are dead: the owner must connect again.
    ReauthRequired,
    /// Disconnected by us or at the platform.
    Revoked,
}

impl AccountStatus {
    /// The stable name, as stored.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Active => "active",
            Self::ReauthRequired => "reauth_required",
            Self::Revoked => "revoked",
        }
    }
}

impl fmt::Display for AccountStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for AccountStatus {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        [Self::Pending, Self::Active, Self::ReauthRequired, Self::Revoked]
            .into_iter()
            .find(|status| status.as_str() == text)
            .ok_or_else(|| format!("no account status {text}"))
    }
}

/// Sealed credentials: one envelope of a JSON object, name to value. Bound to `(tenant, accounts, id, tokens,
/// version)`, so that it opens in no other place and no earlier version.
#[derive(Clone, PartialEq, Eq)]
pub struct SealedTokens {
    /// The envelope.
    pub envelope: Vec<u8>,
    /// Version it was sealed for.
    pub version: i64,
}

impl fmt::Debug for SealedTokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SealedTokens(v{}, {} bytes)", self.version, self.envelope.len())
    }
}

/// A connected account.
#[derive(Debug, Clone, PartialEq)]
pub struct Account {
    /// Id.
    pub id: AccountId,
    /// Whose.
    pub tenant: TenantId,
    /// The tenant's own id of the end user.
    pub owner: String,
    /// Platform.
    pub provider: ProviderId,
    /// Public id of the app that the grant was made for.
    pub client_id: String,
    /// The platform's id.
    pub remote_id: String,
    /// Name for people.
    pub display_name: Option<String>,
    /// Handle.
    pub username: Option<String>,
    /// Picture.
    pub avatar_url: Option<Url>,
    /// Profile page.
    pub profile_url: Option<Url>,
    /// Granted scopes.
    pub scopes: Vec<String>,
    /// State.
    pub status: AccountStatus,
    /// Platform code that made it `reauth_required` or `revoked`.
    pub status_code: Option<String>,
    /// Made against a simulator.
    pub simulated: bool,
    /// Raised by one with every stored change of the tokens.
    pub token_version: i64,
    /// `None` once erased.
    pub tokens: Option<SealedTokens>,
    /// When the access token dies.
    pub access_expires_at: Option<DateTime<Utc>>,
    /// When it can no longer be renewed.
    pub refresh_expires_at: Option<DateTime<Utc>>,
    /// When its tokens were last renewed.
    pub refreshed_at: Option<DateTime<Utc>>,
    /// When the grant was made. An older `authorization removed` event is ignored.
    pub connected_at: DateTime<Utc>,
    /// First seen.
    pub created_at: DateTime<Utc>,
    /// Last change.
    pub updated_at: DateTime<Utc>,
}

/// A grant to be stored. The store inserts it, or renews the account of the same app and platform id.
#[derive(Debug, Clone)]
pub struct NewAccount {
    /// Id to use if the account is new.
    pub id: AccountId,
    /// Whose.
    pub tenant: TenantId,
    /// The tenant's own id of the end user.
    pub owner: String,
    /// Platform.
    pub provider: ProviderId,
    /// App.
    pub client_id: String,
    /// The platform's id.
    pub remote_id: String,
    /// Name for people.
    pub display_name: Option<String>,
    /// Handle.
    pub username: Option<String>,
    /// Picture.
    pub avatar_url: Option<Url>,
    /// Profile page.
    pub profile_url: Option<Url>,
    /// Granted scopes.
    pub scopes: Vec<String>,
    /// `Pending` or `Active`.
    pub status: AccountStatus,
    /// Made against a simulator.
    pub simulated: bool,
    /// When the grant was made.
    pub connected_at: DateTime<Utc>,
}

/// Renewed tokens.
#[derive(Debug, Clone)]
pub struct TokenUpdate {
    /// Sealed for version `expected + 1`.
    pub tokens: SealedTokens,
    /// When the access token dies.
    pub access_expires_at: Option<DateTime<Utc>>,
    /// When it can no longer be renewed.
    pub refresh_expires_at: Option<DateTime<Utc>>,
    /// When to renew next; moves the account's refresh job. `None`: never.
    pub refresh_due_at: Option<DateTime<Utc>>,
}
