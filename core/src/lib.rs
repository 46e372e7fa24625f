//! What a provider author sees of Patchbay.
//!
//! A *provider* plugs one social platform into Patchbay. It implements up to three small traits, and the host does
//! the rest (storage, secrets, HTTP, retries, limits):
//!
//! - [`OAuthProvider`]: connect an account, keep its credentials alive, let go of them;
//! - [`Publisher`]: bring a post to the platform, one resumable step at a time;
//! - [`WebhookSource`]: say how the platform signs its webhooks, and what they mean.
//!
//! [`Provider`] bundles them beside a [`Manifest`], which is data: the calls the provider may make (the *op table*),
//! its limits, scopes and post options. Start reading there, then at [`Ctx::send`], the only way out of a provider.
//!
//! Three rules shape everything here. A provider opens no socket, reads no clock, no environment and no file. It
//! meets secrets only as [`SecretRef`] handles. It describes each remote call's [`Effect`] truthfully, because the
//! host's promise of "no double post" is built on that label.
#![warn(missing_docs)]

mod ctx;
mod error;
mod form;
mod http;
mod id;
mod manifest;
mod media;
mod metrics;
mod oauth;
mod options;
mod provider;
mod publish;
mod secret;
mod settings;
mod webhook;

pub use ctx::{AccountView, AppCredentials, Ctx};
pub use error::{ErrorKind, FieldIssue, ProviderError, WhoActs};
pub use form::{Declaration, Exclusion, Is, Notice, OptionGroup, PostForm, Translation};
pub use http::{
    Auth, Body, BodySecret, HttpRequest, HttpResponse, HttpTransport, MediaUrl, Target, TransportError, Value,
};
pub use id::{
    AccountId, ApiKeyId, AuditId, DeliveryId, EndpointId, ErasureId, EventId, FlowId, GroupId, IdError, InboxId, JobId,
    MediaId, PostId, ProviderId, SessionId, SlotId, TenantId,
};
pub use manifest::{
    Bucket, BucketScope, Capability, Effect, KindRule, Manifest, ManifestError, MediaRule, Need, Op, Quota, Scope,
    SecretField, TextCount, TextRule, Transfer,
};
pub use media::{ByteRange, MediaInfo, MediaKind};
pub use metrics::{Count, Metric, NoMetric, PostMetrics};
pub use oauth::{
    AppCheck, Authorize, AuthorizeRequest, Callback, CredentialLifetimes, Credentials, FormField, Grant, Identity,
    OAuthProvider, PkceChallenge,
};
pub use options::{OptionField, OptionKind};
pub use provider::Provider;
pub use publish::{
    ByteProgress, CanPost, Cancelled, Checkpoint, Creator, FieldState, FollowUp, MediaOrigin, Post, PostKind,
    PostMedia, PostMode, Progress, Publication, PublishOptions, Publisher, Reconciled,
};
pub use secret::SecretRef;
pub use settings::{Settings, SettingsError};
pub use webhook::{
    EventKind, IncomingEvent, MacEncoding, SignatureFormat, SignatureScheme, SignedPart, WebhookAuth, WebhookRequest,
    WebhookSource,
};
