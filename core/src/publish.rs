//! Publishing: one method, called again and again.
//!
//! A post travels through a small state machine that the provider owns and the host keeps. The host saves the
//! [`Checkpoint`] after every step, waits without holding a worker, survives a restart anywhere, and runs a step
//! again when it does not know whether it ended. A provider therefore never sleeps, loops or remembers.

use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use url::Url;

use crate::{Ctx, ErrorKind, FieldIssue, MediaId, MediaInfo, PostId, PostMetrics, ProviderError};

/// What is posted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum PostKind {
    /// Text alone.
    Text,
    /// One video.
    Video,
    /// One or more pictures.
    Images,
}

impl PostKind {
    /// The stable name, as in JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Video => "video",
            Self::Images => "images",
        }
    }
}

/// How far Patchbay takes it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PostMode {
    /// To the profile.
    #[default]
    Direct,
    /// To the person's drafts or inbox; they finish it in the platform's own app.
    Draft,
}

/// Where a file is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MediaOrigin {
    /// In our media store; we send the bytes.
    Stored,
    /// In our media store; the platform is to fetch it from a URL of this host. See
    /// [`crate::HttpRequest::with_media_url`].
    Hosted,
    /// At a public URL that the platform is to fetch.
    Url(Url),
}

impl MediaOrigin {
    /// Whether the platform fetches the file itself.
    #[must_use]
    pub fn is_fetched(&self) -> bool {
        matches!(self, Self::Hosted | Self::Url(_))
    }

    /// Whether the file is in our media store.
    #[must_use]
    pub fn is_ours(&self) -> bool {
        matches!(self, Self::Stored | Self::Hosted)
    }
}

/// One file of a post.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PostMedia {
    /// Its id, as in [`crate::Body::Media`].
    pub id: MediaId,
    /// Where it is.
    pub origin: MediaOrigin,
    /// What is known of it.
    pub info: MediaInfo,
}

/// A post as a provider sees it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Post {
    /// Our id.
    pub id: PostId,
    /// What.
    pub kind: PostKind,
    /// How far.
    pub mode: PostMode,
    /// Title.
    pub title: Option<String>,
    /// Text.
    pub text: Option<String>,
    /// Files, in order.
    pub media: Vec<PostMedia>,
    /// The platform's own options, already checked against the manifest.
    pub options: serde_json::Map<String, serde_json::Value>,
}

/// Bytes of a long transfer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ByteProgress {
    /// So far.
    pub done: u64,
    /// In all.
    pub total: u64,
}

/// A durable bookmark. The provider owns `state`; the host stores it and never looks inside, except to seal the
/// secrets whose handles it names.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// Name of the phase, shown while publishing: `uploading`, `processing`.
    pub phase: String,
    /// The provider's own state. At most [`Checkpoint::MAX_BYTES`] as JSON. Must hold no secret, only handles.
    pub state: serde_json::Value,
    /// The platform's id of the attempt, under which webhooks speak of it.
    pub remote_ref: Option<String>,
    /// Bytes, for a progress bar.
    pub progress: Option<ByteProgress>,
}

impl Checkpoint {
    /// Greatest size of `state` as JSON.
    pub const MAX_BYTES: usize = 16 * 1024;

    /// A bookmark from the provider's own state type.
    ///
    /// # Errors
    /// `Permanent`, if the state is no JSON.
    pub fn new<T: Serialize>(phase: &str, state: &T) -> Result<Self, ProviderError> {
        let state = serde_json::to_value(state)
            .map_err(|e| ProviderError::new(ErrorKind::Permanent, "checkpoint", format!("no JSON: {e}")))?;
        Ok(Self {
            phase: phase.to_owned(),
            state,
            remote_ref: None,
            progress: None,
        })
    }

    /// Names the platform's id of the attempt.
    #[must_use]
    pub fn known_as(mut self, remote_ref: impl Into<String>) -> Self {
        self.remote_ref = Some(remote_ref.into());
        self
    }

    /// Tells how far a transfer is.
    #[must_use]
    pub fn at_bytes(mut self, done: u64, total: u64) -> Self {
        self.progress = Some(ByteProgress { done, total });
        self
    }

    /// Reads the provider's own state type back.
    ///
    /// # Errors
    /// `Permanent`, if an older or newer version of the provider wrote something else.
    pub fn read<T: for<'de> Deserialize<'de>>(&self) -> Result<T, ProviderError> {
        T::deserialize(&self.state).map_err(|e| {
            ProviderError::new(
                ErrorKind::Permanent,
                "checkpoint",
                format!("phase {} is not readable: {e}", self.phase),
            )
        })
    }
}

/// What became visible. The host refuses it without proof: a receipt of a commit, or an answer to an `Observe` call.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Publication {
    /// The platform's ids, exact, as text. Empty while it has not told them.
    pub remote_ids: Vec<String>,
    /// Page of the post, if the platform told it.
    pub url: Option<Url>,
}

/// More to learn after the outcome is settled.
#[derive(Debug, Clone, PartialEq)]
pub struct FollowUp {
    /// Where to go on.
    pub checkpoint: Checkpoint,
    /// When.
    pub wake_after: Duration,
}

/// How far one step came.
#[derive(Debug, Clone, PartialEq)]
pub enum Progress {
    /// Not there yet.
    Continue {
        /// Where to go on.
        checkpoint: Checkpoint,
        /// Not sooner than this. A webhook may bring it forward.
        wake_after: Duration,
    },
    /// A draft has reached the person, who must finish it.
    Delivered {
        /// Where to go on when the platform says more.
        checkpoint: Checkpoint,
        /// When to ask again by ourselves; `None`: only a webhook brings news.
        wake_after: Option<Duration>,
    },
    /// It is there.
    Published {
        /// What is known of it.
        publication: Publication,
        /// More to learn, such as an id that comes later.
        follow_up: Option<FollowUp>,
    },
}

/// What a look at the platform says of a call with unknown outcome.
#[derive(Debug, Clone, PartialEq)]
pub enum Reconciled {
    /// It took effect; go on here.
    Happened {
        /// How far.
        progress: Progress,
    },
    /// It surely did not; go on from here, and sending again is safe. `None`: from where the step began.
    DidNotHappen {
        /// Where to go on.
        checkpoint: Option<Checkpoint>,
    },
    /// The platform gives no way to know.
    Unknown,
}

/// Outcome of a cancel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cancelled {
    /// The platform stopped it.
    Stopped,
    /// Too late or not possible at the platform.
    TooLate,
    /// Asked for; the outcome will come by status or webhook.
    Requested,
}

/// Whether an account may post now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum CanPost {
    /// It may.
    Yes,
    /// It may not.
    No {
        /// The platform's code.
        code: String,
        /// A fixed sentence that says what to do.
        advice: String,
    },
}

/// Who will be seen as the author.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Creator {
    /// Unique handle.
    pub username: String,
    /// Name for people.
    pub nickname: String,
    /// Picture.
    pub avatar_url: Option<Url>,
}

/// What one option field allows for this account now.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FieldState {
    /// Option's name.
    pub name: String,
    /// Allowed values, where the account narrows them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allowed: Option<Vec<serde_json::Value>>,
    /// The account's own settings force this value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub forced: Option<serde_json::Value>,
}

/// A live answer of the platform about one account: what it may post now.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PublishOptions {
    /// Whether it may post.
    pub can_post: CanPost,
    /// Author.
    pub creator: Option<Creator>,
    /// Narrowed fields.
    pub fields: Vec<FieldState>,
    /// Longest video for this account, in seconds.
    pub max_video_seconds: Option<u64>,
}

impl PublishOptions {
    /// For platforms that have nothing to say.
    #[must_use]
    pub fn unrestricted() -> Self {
        Self {
            can_post: CanPost::Yes,
            creator: None,
            fields: Vec::new(),
            max_video_seconds: None,
        }
    }

    /// Everything that these options have against a post.
    #[must_use]
    pub fn check_post(&self, post: &Post) -> Vec<FieldIssue> {
        let mut issues = Vec::new();
        for field in &self.fields {
            let Some(value) = post.options.get(&field.name) else {
                continue;
            };
            let pointer = format!("/options/{}", field.name);
            if let Some(allowed) = &field.allowed
                && !allowed.contains(value)
            {
                let allowed: Vec<_> = allowed.iter().filter_map(serde_json::Value::as_str).collect();
                let message = format!("This account does not allow that now. Allowed: {}.", allowed.join(", "));
                issues.push(FieldIssue::new(pointer, "not_allowed_for_account", message));
            } else if field.forced.as_ref().is_some_and(|forced| forced != value) {
                let message = "This account's own settings forbid that value.";
                issues.push(FieldIssue::new(pointer, "forced_by_account", message));
            }
        }
        if let Some(seconds) = self.max_video_seconds {
            for (index, media) in post.media.iter().enumerate() {
                if media.info.duration().is_some_and(|d| d > Duration::from_secs(seconds)) {
                    let message = format!("This account may post videos of at most {seconds} seconds.");
                    issues.push(FieldIssue::new(format!("/media/{index}"), "too_long", message));
                }
            }
        }
        issues
    }
}

/// Publishes posts to one platform.
#[async_trait]
pub trait Publisher: Send + Sync {
    /// Asks the platform what `ctx.account()` may post now. Default: anything the manifest allows.
    async fn options(&self, ctx: &Ctx<'_>) -> Result<PublishOptions, ProviderError> {
        let _ = ctx;
        Ok(PublishOptions::unrestricted())
    }

    /// Rules that manifest limits and option fields cannot express. Pure. Default: none.
    fn validate(&self, post: &Post) -> Vec<FieldIssue> {
        let _ = post;
        Vec::new()
    }

    /// Brings the post one step further. Runs again with the same arguments after a crash; then an `Observe` or
    /// `Prepare` call is sent again, and a `Commit` that was answered gets the same answer without being sent. At
    /// most one `Commit` per call.
    async fn advance(&self, ctx: &Ctx<'_>, post: &Post, at: Option<&Checkpoint>) -> Result<Progress, ProviderError>;

    /// Finds out what became of a commit whose answer is unknown. Must only observe. `known_as` is the platform's id of
    /// the attempt, if a webhook has named one that can be no other's. Default: unknown.
    async fn reconcile(
        &self,
        ctx: &Ctx<'_>,
        post: &Post,
        at: Option<&Checkpoint>,
        known_as: Option<&str>,
    ) -> Result<Reconciled, ProviderError> {
        let _ = (ctx, post, at, known_as);
        Ok(Reconciled::Unknown)
    }

    /// Stops a post that is under way, if the platform can. Default: it cannot.
    async fn cancel(&self, ctx: &Ctx<'_>, post: &Post, at: Option<&Checkpoint>) -> Result<Cancelled, ProviderError> {
        let _ = (ctx, post, at);
        Ok(Cancelled::TooLate)
    }

    /// Numbers of published posts of `ctx.account()`, at most [`crate::Manifest::MAX_METRICS_IDS`] at once: those that the
    /// manifest names for their kind ([`crate::KindRule::metrics`]). Must only observe. Ids that the platform does not
    /// know, or does not show any more, are absent. Default: none.
    async fn metrics(&self, ctx: &Ctx<'_>, remote_ids: &[String]) -> Result<Vec<PostMetrics>, ProviderError> {
        let _ = (ctx, remote_ids);
        Ok(Vec::new())
    }
}
