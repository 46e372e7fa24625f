//! A media file that a tenant gave us.

use chrono::{DateTime, Utc};
use patchbay_core::{MediaId, MediaInfo, TenantId};

/// A stored file.
#[derive(Debug, Clone, PartialEq)]
pub struct Media {
    /// Id. Also its name in the media store: what the client called it is only a label.
    pub id: MediaId,
    /// Whose.
    pub tenant: TenantId,
    /// What the client called it.
    pub label: Option<String>,
    /// What it is.
    pub info: MediaInfo,
    /// SHA-256 of its bytes.
    pub sha256: [u8; 32],
    /// When it came.
    pub created_at: DateTime<Utc>,
    /// It is deleted after this time.
    pub expires_at: DateTime<Utc>,
}
