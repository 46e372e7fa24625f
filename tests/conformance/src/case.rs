//! What a provider's crate hands to the kit.

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc};

use async_trait::async_trait;
use bytes::Bytes;
use patchbay_core::{
    MediaId, MediaInfo, MediaKind, MediaOrigin, Post, PostId, PostKind, PostMedia, PostMode, Provider,
};
use patchbay_simkit::{
    Clock,
    stand::{Pending, StandConfig},
};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use url::Url;
use uuid::Uuid;

/// Starts the simulator of the platform, with its clock frozen: the kit moves it.
pub type StartPlatform = Arc<dyn Fn(StandConfig) -> Pending<'static, Result<Box<dyn Platform>, String>> + Send + Sync>;

/// A provider with all that its laws need.
#[derive(Clone)]
pub struct Case {
    /// Makes the provider anew, as a restarted host would.
    pub provider: Arc<dyn Fn() -> Arc<dyn Provider> + Send + Sync>,
    /// Starts its simulator.
    pub simulator: StartPlatform,
    /// Answers to a connect form, where the platform has one instead of an authorize page.
    pub form: BTreeMap<String, String>,
    /// Posts that the platform takes, at least one of each kind, mode and transfer that the manifest names.
    pub posts: Vec<Sample>,
    /// Bodies of webhooks as the platform documents them, beside those that the simulator sends.
    pub webhooks: Vec<Vec<u8>>,
    /// How the platform refuses with status 200. Empty: it never does.
    pub refusals: Vec<Refusal>,
}

/// A refusal that comes with status 200.
#[derive(Debug, Clone)]
pub struct Refusal {
    /// Ops that it can be the answer to.
    pub ops: Vec<&'static str>,
    /// The whole body.
    pub body: &'static str,
}

/// A running simulator as the kit sees it: a way in, and the truth.
#[async_trait]
pub trait Platform: Send + Sync {
    /// Each real host name with the loopback address that plays it.
    fn hosts(&self) -> Vec<(String, SocketAddr)>;

    /// Its clock.
    fn clock(&self) -> Clock;

    /// A person opens this authorize page on loopback and allows everything. Gives the URL that the browser is sent
    /// back to.
    async fn consent(&self, authorize_url: &str) -> Result<String, String>;

    /// How many posts a person can see: on a profile, or as a draft that arrived.
    fn effects(&self) -> usize;

    /// SHA-256 in hexadecimal of each whole file that arrived, in order.
    fn files(&self) -> Vec<String> {
        Vec::new()
    }

    /// From now on, nothing that the platform works on comes to an end.
    fn stall(&self) {}

    /// Whether this answer says that there were too many calls.
    fn is_too_many(&self, status: u16, body: &[u8]) -> bool {
        let _ = body;
        status == 429
    }

    /// Lets everything happen that is due, and sends its webhooks.
    async fn settle(&self) {}
}

/// A file of a sample post.
#[derive(Debug, Clone)]
pub struct File {
    /// Facts of it. The size is filled in.
    pub info: MediaInfo,
    /// Its bytes.
    pub bytes: Bytes,
}

/// A sample post.
#[derive(Debug, Clone)]
pub struct Sample {
    /// Name in reports.
    pub name: &'static str,
    /// The post.
    pub post: Post,
    /// Bytes by file, also of those that the platform fetches.
    pub files: BTreeMap<MediaId, Bytes>,
}

/// The host name under which the kit serves files that the platform fetches.
pub(crate) const MEDIA_HOST: &str = "media.patchbay.example";

impl File {
    /// A file of which no more is known than what it is.
    #[must_use]
    pub fn of(kind: MediaKind, mime: &str, bytes: impl Into<Bytes>) -> Self {
        Self {
            info: MediaInfo::of(kind, mime),
            bytes: bytes.into(),
        }
    }
}

impl Sample {
    /// A post of text.
    #[must_use]
    pub fn text(name: &'static str, text: &str) -> Self {
        Self::new(name, PostKind::Text).with_text(text)
    }

    /// A post of one kind, without anything in it.
    #[must_use]
    pub fn new(name: &'static str, kind: PostKind) -> Self {
        Self {
            name,
            post: Post {
                id: PostId::from_uuid(Uuid::from_u128(3)),
                kind,
                mode: PostMode::Direct,
                title: None,
                text: None,
                media: Vec::new(),
                options: Map::new(),
            },
            files: BTreeMap::new(),
        }
    }

    /// Sets the title.
    #[must_use]
    pub fn titled(mut self, title: &str) -> Self {
        self.post.title = Some(title.to_owned());
        self
    }

    /// Sets the text.
    #[must_use]
    pub fn with_text(mut self, text: &str) -> Self {
        self.post.text = Some(text.to_owned());
        self
    }

    /// Makes it a draft.
    #[must_use]
    pub fn as_draft(mut self) -> Self {
        self.post.mode = PostMode::Draft;
        self
    }

    /// Sets an option of the platform.
    #[must_use]
    pub fn with_option(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.post.options.insert(name.to_owned(), value.into());
        self
    }

    /// Adds a file that the host sends.
    #[must_use]
    pub fn uploading(self, file: File) -> Self {
        self.with_file(file, |_| MediaOrigin::Stored)
    }

    /// Adds a file that the platform fetches from a URL of this host.
    #[must_use]
    pub fn hosting(self, file: File) -> Self {
        self.with_file(file, |_| MediaOrigin::Hosted)
    }

    /// Adds a file that the platform fetches from a URL of somebody else's.
    #[must_use]
    pub fn pulling(self, file: File) -> Self {
        self.with_file(file, |id| MediaOrigin::Url(media_url(id)))
    }

    fn with_file(mut self, mut file: File, origin: impl FnOnce(MediaId) -> MediaOrigin) -> Self {
        // Samples are served side by side, so their files have ids of their own.
        let seed = Sha256::digest(format!("{}/{}", self.name, self.files.len()));
        let id = MediaId::from_uuid(Uuid::from_slice(&seed[..16]).expect("16 bytes are an id"));
        file.info.size_bytes = Some(file.bytes.len() as u64);
        self.files.insert(id, file.bytes);
        self.post.media.push(PostMedia {
            id,
            origin: origin(id),
            info: file.info,
        });
        self
    }
}

/// Where the kit serves a file.
pub(crate) fn media_url(id: MediaId) -> Url {
    Url::parse(&format!("https://{MEDIA_HOST}/{id}")).expect("a fixed host and an id of plain letters")
}
