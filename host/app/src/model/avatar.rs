//! The picture of an account, as this installation keeps it.

use std::fmt;

use chrono::{DateTime, Utc};

/// What is known of an account's picture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Avatar {
    /// URL that it was looked for at last.
    pub source: String,
    /// When it was.
    pub looked_at: DateTime<Utc>,
    /// The picture, if there was one.
    pub picture: Option<Picture>,
}

/// A picture.
#[derive(Clone, PartialEq, Eq)]
pub struct Picture {
    /// Type by its content.
    pub mime: String,
    /// SHA-256 of its bytes.
    pub sha256: [u8; 32],
    /// As it was fetched.
    pub bytes: Vec<u8>,
}

impl fmt::Debug for Picture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Picture({}, {} bytes)", self.mime, self.bytes.len())
    }
}
