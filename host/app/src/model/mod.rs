//! The domain: what Patchbay keeps, with states as enums and transitions as functions.

mod account;
mod audit;
mod avatar;
mod delivery;
mod erasure;
mod event;
mod flow;
mod job;
mod journal;
mod key;
mod media;
mod metrics;
mod post;
mod upload;

pub use account::{Account, AccountStatus, NewAccount, SealedTokens, TokenUpdate};
pub use audit::{Actor, AuditAction, AuditEntry, AuditHead, By, NewAudit};
pub use avatar::{Avatar, Picture};
pub use delivery::{
    Attempt, AttemptResult, Delivery, DeliveryEnd, DeliveryStatus, Endpoint, EndpointChange, EndpointStatus,
    EventNames, NewEndpoint, NextDelivery, Outgoing, SealedSecret,
};
pub use erasure::{ErasedGrant, Erasure, GrantEnd, NewErasure, Subject};
pub use event::{AppliedEvent, Event, InboxItem, NewEvent, NewWebhook, Settled, WebhookEnd, WebhookVerdict};
pub use flow::{Flow, SESSION_KEEP, Session, SessionGrant, SessionStatus};
pub use job::{Job, JobKind, JobStatus, Lease, NewJob};
pub use journal::{Commit, CommitOutcome, NewPullUrl, Observation, ObservationSource, PullFile, PullUrl, Pulled};
pub use key::{ApiKey, ApiKeyState, DataKey, DataKeyState, KeyScope, OperatorSession, Tenant};
pub use media::Media;
pub use metrics::{Counts, MetricWatch, Missing, NewReading, PastReading, schedule};
pub use post::{
    Consent, Content, DUPLICATE_WINDOW, Failure, MOST_REVIVED, NewPost, PostOutcome, PostRecord, PostStatus,
    PostTransition, REVIVE_WITHIN, TransitionError,
};
pub use upload::{BegunUpload, ImportFailure, LeasedUpload, NewImport, NewUpload, Progress, Seen, Upload, UploadLease};
