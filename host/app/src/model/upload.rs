//! A media file on its way in.

use std::fmt;

use chrono::{DateTime, Utc};
use patchbay_core::{MediaId, TenantId};

use super::NewJob;

/// A file of which not all bytes are there.
#[derive(Debug, Clone, PartialEq)]
pub struct Upload {
    /// Id of the media file that it becomes.
    pub id: MediaId,
    /// Whose.
    pub tenant: TenantId,
    /// What the client called it.
    pub label: Option<String>,
    /// What the client said of it, word for word.
    pub metadata: Option<String>,
    /// Most bytes that it will have: they are kept free for it.
    pub size: u64,
    /// How far it is.
    pub progress: Progress,
    /// URL that it is fetched from, if nobody sends it.
    pub source: Option<String>,
    /// What is known of what is fetched.
    pub seen: Seen,
    /// Why it will not be fetched.
    pub failure: Option<ImportFailure>,
    /// When it was begun.
    pub created_at: DateTime<Utc>,
    /// It is deleted after this time.
    pub expires_at: DateTime<Utc>,
}

/// How far an upload is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// Bytes that are there and stay there, whatever is killed.
    pub offset: u64,
    /// State of SHA-256 over them.
    pub digest: Vec<u8>,
    /// What the keeper of the bytes must know to go on.
    pub place: Option<String>,
}

/// What the server of a fetched file has said of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Seen {
    /// Bytes of the whole.
    pub total: Option<u64>,
    /// Its version: a strong entity tag. Without one, nothing that is interrupted can be gone on with.
    pub version: Option<String>,
}

/// Why a file is not fetched: a closed list that clients see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ImportFailure {
    /// The URL, one that it leads on to, or an address behind either is not allowed.
    Blocked,
    /// No connection.
    Unreachable,
    /// No answer, or not in time.
    NoAnswer,
    /// It broke off, or stood still, each time.
    BrokeOff,
    /// The server answered with this status.
    Status(u16),
    /// It leads on and on.
    TooManyRedirects,
    /// It is larger than files may be here.
    TooLarge,
    /// The tenant's room is used up.
    StorageFull,
    /// It has no bytes.
    Empty,
    /// It is no file that Patchbay knows.
    NotMedia,
    /// What the server said of it at different times does not fit together.
    Changed,
    /// It was not done within a day.
    TooLate,
    /// The store of media files did not answer, each time.
    StorageUnavailable,
    /// A fault here.
    Internal,
}

impl ImportFailure {
    /// All; of statuses, one.
    pub const ALL: [Self; 14] = [
        Self::Blocked,
        Self::Unreachable,
        Self::NoAnswer,
        Self::BrokeOff,
        Self::Status(404),
        Self::TooManyRedirects,
        Self::TooLarge,
        Self::StorageFull,
        Self::Empty,
        Self::NotMedia,
        Self::Changed,
        Self::TooLate,
        Self::StorageUnavailable,
        Self::Internal,
    ];

    /// The stable code.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Blocked => "url_not_allowed",
            Self::Unreachable => "unreachable",
            Self::NoAnswer => "no_answer",
            Self::BrokeOff => "broke_off",
            Self::Status(_) => "http_status",
            Self::TooManyRedirects => "too_many_redirects",
            Self::TooLarge => "too_large",
            Self::StorageFull => "storage_full",
            Self::Empty => "empty",
            Self::NotMedia => "not_media",
            Self::Changed => "source_changed",
            Self::TooLate => "too_late",
            Self::StorageUnavailable => "storage_unavailable",
            Self::Internal => "internal",
        }
    }

    /// The status that was answered.
    #[must_use]
    pub fn status(self) -> Option<u16> {
        match self {
            Self::Status(status) => Some(status),
            _ => None,
        }
    }

    /// What is wrong and what to do, in a fixed sentence.
    #[must_use]
    pub fn advice(self) -> &'static str {
        match self {
            Self::Blocked => {
                "The URL, or one that it leads on to, is no https URL of a public host on port 443 or 8443. Give one that is."
            }
            Self::Unreachable => "Nothing answers at the URL: no such host, no connection, or no valid certificate.",
            Self::NoAnswer => "The server gave no answer in time, several times. Try again later.",
            Self::BrokeOff => "The transfer broke off or stood still, several times. Try again later.",
            Self::Status(_) => {
                "The server answered with a status that is no file. See that the URL can be fetched without credentials, and \
                 has not expired."
            }
            Self::TooManyRedirects => "The URL leads on to others without an end. Give the file's own URL.",
            Self::TooLarge => "The file is larger than media files may be here.",
            Self::StorageFull => "This tenant's room for media is used up. Old files free it as they expire.",
            Self::Empty => "The file is empty.",
            Self::NotMedia => "The file is no MP4, MOV, WebM, JPEG, PNG, WebP or GIF by its content.",
            Self::Changed => "The file changed while it was fetched. Begin again when it is whole.",
            Self::TooLate => "The file did not come within a day.",
            Self::StorageUnavailable => "The store of media files did not answer, several times. Try again later.",
            Self::Internal => "Patchbay had a fault. Tell the operator the id of the import.",
        }
    }

    /// Reads what is stored; see its `Display`.
    #[must_use]
    pub fn read(text: &str) -> Self {
        let status = text.strip_prefix("http_").and_then(|status| status.parse().ok());
        let named = || {
            Self::ALL
                .into_iter()
                .find(|one| one.status().is_none() && one.code() == text)
        };
        status.map(Self::Status).or_else(named).unwrap_or(Self::Internal)
    }
}

/// As it is stored: the code, and of a status the status.
impl fmt::Display for ImportFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status(status) => write!(f, "http_{status}"),
            other => f.write_str(other.code()),
        }
    }
}

/// An upload to be begun.
#[derive(Debug, Clone)]
pub struct NewUpload {
    /// Id of the media file that it becomes.
    pub id: MediaId,
    /// Whose.
    pub tenant: TenantId,
    /// What the client called it.
    pub label: Option<String>,
    /// What the client said of it.
    pub metadata: Option<String>,
    /// Most bytes that it will have.
    pub size: u64,
    /// State of SHA-256 over nothing.
    pub digest: Vec<u8>,
    /// It is fetched, and not sent.
    pub import: Option<NewImport>,
    /// It is deleted after this time.
    pub expires_at: DateTime<Utc>,
}

/// What of an upload is known that is fetched.
#[derive(Debug, Clone)]
pub struct NewImport {
    /// URL.
    pub source: String,
    /// The request's idempotency key.
    pub request_key: String,
    /// SHA-256 of what was asked for.
    pub request_hash: [u8; 32],
    /// Fetches it.
    pub job: NewJob,
}

/// What became of a new upload.
#[derive(Debug, Clone, PartialEq)]
pub enum BegunUpload {
    /// It is there.
    Begun(Box<Upload>),
    /// What was asked for under its key before, with the hash of that.
    Known(MediaId, [u8; 32]),
    /// The tenant has room for so many bytes only.
    Full(u64),
    /// The tenant has as many unfinished ones as it may.
    TooMany,
}

/// The right to write an upload. One that expired and was taken over writes nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UploadLease {
    /// Whose.
    pub tenant: TenantId,
    /// Which.
    pub id: MediaId,
    /// Raised with every lease; every write is conditional on it.
    pub fence: i64,
}

/// Who asked for the right to write.
#[derive(Debug, Clone, PartialEq)]
pub enum LeasedUpload {
    /// It is theirs.
    Leased(Box<Upload>, UploadLease),
    /// Somebody else is writing.
    Busy,
    /// There is no such upload.
    Unknown,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_stored_of_a_failure_is_read_again() {
        for failure in ImportFailure::ALL.into_iter().chain([ImportFailure::Status(503)]) {
            assert_eq!(ImportFailure::read(&failure.to_string()), failure);
        }
        assert_eq!(ImportFailure::read("of a later version"), ImportFailure::Internal);
    }
}
