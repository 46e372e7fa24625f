//! The domain: what Patchbay keeps, with states as enums and transitions as functions.

mod account;
mod delivery;
mod event;
mod flow;
mod job;
mod journal;
mod key;
mod media;
mod post;

pub use account::{Account, AccountStatus, NewAccount, SealedTokens, TokenUpdate};
pub use delivery::{
    Attempt, AttemptResult, Delivery, DeliveryEnd, DeliveryStatus, Endpoint, EndpointChange, EndpointStatus,
    EventNames, NewEndpoint, NextDelivery, Outgoing, SealedSecret,
};
pub use event::{AppliedEvent, Event, InboxItem, NewEvent, NewWebhook, Settled, WebhookEnd, WebhookVerdict};
pub use flow::{Flow, Session};
pub use job::{Job, JobKind, JobStatus, Lease, NewJob};
pub use journal::{Commit, CommitOutcome, NewPullUrl, Observation, ObservationSource, PullFile, PullUrl, Pulled};
pub use key::{ApiKey, ApiKeyState, DataKey, DataKeyState, KeyScope, Tenant};
pub use media::Media;
pub use post::{Content, DUPLICATE_WINDOW, Failure, NewPost, PostRecord, PostStatus, PostTransition, TransitionError};
