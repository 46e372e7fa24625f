//! Every error that a client of the API can see: a closed list, each with a stable code, an HTTP status, whether a
//! retry helps and who must act (RFC 9457). The public half has `Display`; the internal cause is only logged.

use std::{fmt, time::Duration};

use patchbay_core::{ErrorKind, FieldIssue, ProviderError, WhoActs};

use crate::{
    model::Failure,
    store::{Constraint, StoreError},
    vault::VaultError,
};

macro_rules! problems {
    ($($(#[$doc:meta])* $name:ident = $status:literal $code:literal $title:literal, retry $retry:literal, $who:ident;)*) => {
        /// What is wrong.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum ProblemKind {
            $($(#[$doc])* $name,)*
        }

        impl ProblemKind {
            /// All, for the generated catalogue.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// HTTP status.
            #[must_use]
            pub fn status(self) -> u16 {
                match self { $(Self::$name => $status,)* }
            }

            /// Stable code.
            #[must_use]
            pub fn code(self) -> &'static str {
                match self { $(Self::$name => $code,)* }
            }

            /// Short fixed title.
            #[must_use]
            pub fn title(self) -> &'static str {
                match self { $(Self::$name => $title,)* }
            }

            /// Whether sending the same request again, later, can help.
            #[must_use]
            pub fn retry_helps(self) -> bool {
                match self { $(Self::$name => $retry,)* }
            }

            /// Who must act.
            #[must_use]
            pub fn who_acts(self) -> WhoActs {
                match self { $(Self::$name => WhoActs::$who,)* }
            }
        }
    };
}

problems! {
    /// The request is not well formed.
    BadRequest = 400 "bad_request" "The request is not well formed", retry false, Caller;
    /// The connect attempt is unknown, used, expired, or belongs to another browser.
    FlowInvalid = 400 "connect_flow_invalid" "This connect attempt is over", retry false, AccountOwner;
    /// A list cursor was not made by this API for this list.
    CursorInvalid = 400 "cursor_invalid" "The cursor is not valid here", retry false, Caller;
    /// No key, an unknown one, or a dead one.
    Unauthorized = 401 "unauthorized" "A valid API key is needed", retry false, Caller;
    /// A webhook whose signature does not verify.
    SignatureInvalid = 401 "signature_invalid" "The signature does not verify", retry false, Operator;
    /// The key lacks a scope.
    Forbidden = 403 "forbidden" "The key may not do this", retry false, Caller;
    /// No such thing for this tenant.
    NotFound = 404 "not_found" "There is no such thing here", retry false, Caller;
    /// No provider of this name.
    ProviderUnknown = 404 "provider_unknown" "There is no such provider", retry false, Caller;
    /// A URL under which a platform could fetch a file, and can no more.
    PullUrlClosed = 410 "pull_url_closed" "This URL is closed", retry false, Nobody;
    /// Bytes that the file does not have.
    RangeNotSatisfiable = 416 "range_not_satisfiable" "The file has no such bytes", retry false, Caller;
    /// The path exists, but not with this method.
    MethodNotAllowed = 405 "method_not_allowed" "This method is not allowed here", retry false, Caller;
    /// The account must be connected again.
    AccountReauthRequired = 409 "account_reauth_required" "The account must be connected again", retry false, AccountOwner;
    /// The account is disconnected or not yet accepted.
    AccountNotActive = 409 "account_not_active" "The account cannot be used", retry false, AccountOwner;
    /// The account lacks a permission.
    MissingScopes = 409 "missing_scopes" "The account did not grant a needed permission", retry false, AccountOwner;
    /// This platform account is connected by another tenant, or for another end user.
    AccountTaken = 409 "account_taken" "This platform account is connected elsewhere", retry false, AccountOwner;
    /// Another account than the one to be connected again.
    AccountMismatch = 409 "account_mismatch" "This is another account at the platform", retry false, AccountOwner;
    /// The session has no account that waits, or has ended.
    SessionState = 409 "connect_session_state" "The state of the connect session does not allow this", retry false, Caller;
    /// Not the session's completion code, or too late.
    CompletionInvalid = 409 "completion_code_invalid" "The completion code is not valid", retry false, Caller;
    /// Another one has this name.
    NameTaken = 409 "name_taken" "This name is taken", retry false, Caller;
    /// The same content was posted to the account before.
    DuplicateContent = 409 "duplicate_content" "The same content was posted to this account already", retry false, Caller;
    /// The post has ended or cannot be stopped any more.
    PostNotCancellable = 409 "post_not_cancellable" "The post cannot be stopped any more", retry false, Nobody;
    /// The post has begun or ended.
    PostNotEditable = 409 "post_not_editable" "The post cannot be changed any more", retry false, Nobody;
    /// The post was published before, or stopped.
    PostNotDraft = 409 "post_not_draft" "The post is not a draft", retry false, Nobody;
    /// Something of the post is visible or may be, or it is still under way.
    PostNotRetryable = 409 "post_not_retryable" "The post cannot be retried", retry false, Caller;
    /// The post has no public id yet.
    PostNotPublished = 409 "post_not_published" "The post is not published yet", retry true, Nobody;
    /// Nothing is sent to a disabled endpoint.
    EndpointDisabled = 409 "endpoint_disabled" "The webhook endpoint is disabled", retry false, Caller;
    /// The tenant has as many endpoints as it may.
    EndpointsFull = 409 "too_many_endpoints" "The tenant has as many webhook endpoints as it may", retry false, Caller;
    /// The same job runs already.
    AlreadyRunning = 409 "already_running" "This is running already", retry true, Nobody;
    /// An upload is at another byte.
    UploadOffset = 409 "upload_offset" "The upload is at another byte", retry false, Caller;
    /// It is no longer what the caller has seen (`If-Match`).
    PreconditionFailed = 412 "precondition_failed" "It has changed since you read it", retry false, Caller;
    /// Another version of the protocol of resumable uploads.
    TusVersion = 412 "tus_version" "This version of tus is not spoken here", retry false, Caller;
    /// A body over the cap.
    TooLarge = 413 "too_large" "The body is too large", retry false, Caller;
    /// A body of a type that is not taken here.
    UnsupportedMediaType = 415 "unsupported_media_type" "This type of body is not taken here", retry false, Caller;
    /// The request is well formed but cannot be carried out as it is.
    Invalid = 422 "invalid" "The request cannot be carried out as it is", retry false, Caller;
    /// The idempotency key was used for another request.
    IdempotencyKeyReused = 422 "idempotency_key_reused" "This idempotency key was used for another request", retry false, Caller;
    /// The platform refused.
    RejectedByProvider = 422 "rejected_by_provider" "The platform refused this", retry false, Caller;
    /// Somebody else is writing the upload.
    UploadLocked = 423 "upload_locked" "Another request is sending to this upload", retry true, Nobody;
    /// Too many requests.
    RateLimited = 429 "rate_limited" "Too many requests", retry true, Nobody;
    /// The tenant has as many unfinished uploads as it may.
    UploadsFull = 429 "too_many_uploads" "The tenant has as many unfinished uploads as it may", retry true, Caller;
    /// The bytes of a piece do not add up.
    ChecksumMismatch = 460 "checksum_mismatch" "The bytes do not add up to the checksum", retry true, Caller;
    /// A fault of our own.
    Internal = 500 "internal" "Patchbay had a fault", retry true, Operator;
    /// The platform refused for good, for a reason outside the request.
    ProviderFailed = 502 "provider_error" "The platform refused for good", retry false, Operator;
    /// The platform had a passing fault.
    ProviderUnavailable = 502 "provider_unavailable" "The platform had a passing fault", retry true, Nobody;
    /// A limit of the platform is reached.
    ProviderRateLimited = 503 "provider_rate_limited" "A limit of the platform is reached", retry true, Nobody;
    /// The database cannot be reached, or the host is stopping.
    Unavailable = 503 "unavailable" "Patchbay cannot serve this just now", retry true, Nobody;
    /// What keeps media files cannot be reached.
    StorageUnavailable = 503 "storage_unavailable" "The store of media files cannot be reached", retry true, Operator;
    /// No room for media.
    StorageFull = 507 "storage_full" "There is no room for media", retry false, Operator;
}

/// An error for a client.
#[derive(Debug)]
pub struct Problem {
    /// What.
    pub kind: ProblemKind,
    /// One sentence on this occurrence, that says what to do. Never platform text.
    pub detail: String,
    /// Fields in question.
    pub issues: Vec<FieldIssue>,
    /// Earliest useful moment to try again.
    pub retry_after: Option<Duration>,
    /// The platform's own code.
    pub provider_code: Option<String>,
    /// Who must act, if another than the kind says.
    pub who: Option<WhoActs>,
    /// For the log only.
    pub cause: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl Problem {
    /// A problem with a sentence that says what to do.
    pub fn new(kind: ProblemKind, detail: impl Into<String>) -> Self {
        Self {
            kind,
            detail: detail.into(),
            issues: Vec::new(),
            retry_after: None,
            provider_code: None,
            who: None,
            cause: None,
        }
    }

    /// Fields that must change.
    #[must_use]
    pub fn invalid(issues: Vec<FieldIssue>) -> Self {
        let detail = match issues.as_slice() {
            [one] if one.pointer.is_empty() => one.message.clone(),
            [one] => format!("{}: {}", one.pointer, one.message),
            many => format!("{} fields must change; see `errors`.", many.len()),
        };
        Self {
            issues,
            ..Self::new(ProblemKind::Invalid, detail)
        }
    }

    /// No such thing, whatever the reason: an unknown id and a foreign one look the same.
    #[must_use]
    pub fn not_found(what: &str) -> Self {
        Self::new(
            ProblemKind::NotFound,
            format!("There is no such {what}. Check the id and the key."),
        )
    }

    /// Adds the earliest useful moment to try again.
    #[must_use]
    pub fn after(mut self, wait: Duration) -> Self {
        self.retry_after = Some(wait);
        self
    }

    /// Keeps the cause for the log.
    #[must_use]
    pub fn because(mut self, cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.cause = Some(cause.into());
        self
    }

    /// Who must act.
    #[must_use]
    pub fn who_acts(&self) -> WhoActs {
        self.who.unwrap_or_else(|| self.kind.who_acts())
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.kind.code(), self.detail)
    }
}

impl std::error::Error for Problem {}

impl From<ProviderError> for Problem {
    fn from(error: ProviderError) -> Self {
        let kind = match error.kind {
            ErrorKind::Retryable | ErrorKind::OutcomeUnknown => ProblemKind::ProviderUnavailable,
            ErrorKind::RateLimited => ProblemKind::ProviderRateLimited,
            ErrorKind::ReauthRequired if error.code == "missing_scope" => ProblemKind::MissingScopes,
            ErrorKind::ReauthRequired => ProblemKind::AccountReauthRequired,
            ErrorKind::InvalidRequest => ProblemKind::RejectedByProvider,
            _ => ProblemKind::ProviderFailed,
        };
        let failure = Failure::of(&error);
        Self {
            retry_after: error.retry_after,
            provider_code: Some(failure.code),
            who: Some(failure.who_acts),
            ..Self::new(kind, failure.advice)
        }
        .because(error)
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        match &error {
            StoreError::Conflict(Constraint::AccountOfOtherTenant) => Self::new(
                ProblemKind::AccountTaken,
                "Another tenant of this installation has connected this platform account. Disconnect it there first.",
            ),
            StoreError::Conflict(Constraint::AccountOfOtherOwner) => Self::new(
                ProblemKind::AccountTaken,
                "This platform account is connected for another of your end users. Disconnect it there first.",
            ),
            StoreError::Conflict(Constraint::SessionOver) => Self::new(
                ProblemKind::SessionState,
                "The connect was called off meanwhile. Ask for a new link.",
            ),
            StoreError::Conflict(Constraint::Name) => {
                Self::new(ProblemKind::Invalid, "The name is taken. Choose another.")
            }
            StoreError::Conflict(Constraint::Missing) => Self::not_found("thing"),
            StoreError::Stale => Self::new(
                ProblemKind::Unavailable,
                "The same thing was changed at the same time. Send the request again.",
            )
            .after(Duration::from_secs(1)),
            StoreError::Unavailable(_) => Self::new(
                ProblemKind::Unavailable,
                "The database cannot be reached. Send the request again.",
            )
            .after(Duration::from_secs(2)),
            StoreError::Corrupt { .. } | StoreError::Other(_) => {
                Self::new(ProblemKind::Internal, "Tell the operator the request id.")
            }
        }
        .because(error)
    }
}

impl From<VaultError> for Problem {
    fn from(error: VaultError) -> Self {
        match error {
            VaultError::Store(error) => error.into(),
            error @ (VaultError::Sealed | VaultError::TooLong) => Self::new(
                ProblemKind::Internal,
                "A stored secret does not open. Tell the operator the request id.",
            )
            .because(error),
        }
    }
}
