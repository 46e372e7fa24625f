//! A connect under way.

use std::fmt;

use chrono::{DateTime, Utc};
use patchbay_core::{FlowId, ProviderId, TenantId};
use uuid::Uuid;

/// One attempt, from the redirect to the callback. Single use.
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
    /// SHA-256 of the state.
    pub state_hash: [u8; 32],
    /// SHA-256 of the cookie that the browser must bring back.
    pub cookie_hash: [u8; 32],
    /// Sealed verifier and pending data. Bound to `(tenant, flows, id, sealed, 0)`.
    pub sealed: Vec<u8>,
    /// Scopes that were asked for.
    pub scopes: Vec<String>,
    /// The redirect URI that was sent.
    pub redirect_uri: String,
    /// Own page to land on afterwards: a path of this host.
    pub return_to: String,
    /// Account becomes `active` at once (a signed-in first-party user) or waits for the tenant.
    pub activate: bool,
    /// Not after.
    pub expires_at: DateTime<Utc>,
}

impl fmt::Debug for Flow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Flow({}, {})", self.id, self.provider)
    }
}

/// A short-lived right to act for one owner from a browser, made by the tenant's backend.
#[derive(Clone, PartialEq, Eq)]
pub struct Session {
    /// Id.
    pub id: Uuid,
    /// Whose.
    pub tenant: TenantId,
    /// For which end user.
    pub owner: String,
    /// For which platform.
    pub provider: ProviderId,
    /// SHA-256 of the token.
    pub token_hash: [u8; 32],
    /// Not after.
    pub expires_at: DateTime<Utc>,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Session({}, {})", self.id, self.provider)
    }
}
