//! What really happened, for tests: posts, effects, uploads, token use. None of it is visible over the API.

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use patchbay_simkit::journal::TokenLoad;
use serde::Serialize;
use serde_json::{Value, json};

use crate::oauth::grants::RefreshUse;
use crate::post::{FailReason, Flow, Phase, Post, Published, Source, Wishes};
use crate::upload::Chunk;
use crate::world::World;

/// Reads the simulator's truth. Every reading first lets due things happen.
#[derive(Clone)]
pub struct Oracle {
    pub(crate) world: Arc<World>,
}

/// One accepted init and what became of it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PostRecord {
    pub publish_id: String,
    pub account: String,
    pub open_id: String,
    pub flow: Flow,
    pub source: Source,
    pub status: &'static str,
    pub fail_reason: Option<FailReason>,
    pub wishes: Wishes,
    pub bytes: u64,
    /// One digest per file, in order; empty until everything has arrived.
    pub sha256: Vec<String>,
    pub urls: Vec<String>,
    pub published: Vec<Published>,
    pub discarded: bool,
    pub created_at: DateTime<Utc>,
}

/// How often something that a person can see happened to an account.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Effects {
    /// Accepted inits of any kind.
    pub inits: usize,
    /// Direct posts that are on the profile, whoever may see them.
    pub posted: usize,
    /// Of those, the ones made for everyone.
    pub public: usize,
    /// Drafts that reached the inbox.
    pub drafts: usize,
    /// Posts the user made from drafts.
    pub posted_drafts: usize,
    pub failed: usize,
}

/// One upload task and what arrived.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct UploadRecord {
    pub upload_id: String,
    pub publish_id: String,
    pub video_size: u64,
    pub chunk_size: u64,
    pub total_chunk_count: u64,
    pub received: u64,
    pub chunks: Vec<Chunk>,
    pub expires_at: DateTime<Utc>,
}

impl Oracle {
    pub fn posts(&self) -> Vec<PostRecord> {
        self.world.tick();
        let state = self.world.state();
        state
            .posts
            .values()
            .map(|post| {
                let account = state.account(&post.open_id);
                record(post, account.map(|account| account.username.as_str()))
            })
            .collect()
    }

    /// By user name or open id.
    pub fn posts_of(&self, account: &str) -> Vec<PostRecord> {
        let mut posts = self.posts();
        posts.retain(|post| post.account == account || post.open_id == account);
        posts
    }

    pub fn post(&self, publish_id: &str) -> Option<PostRecord> {
        self.posts().into_iter().find(|post| post.publish_id == publish_id)
    }

    pub fn effects(&self, account: &str) -> Effects {
        self.posts_of(account).iter().fold(Effects::default(), |sum, post| {
            let direct = post.flow == Flow::Direct;
            let complete = post.status == "PUBLISH_COMPLETE";
            let is_public = |p: &&Published| p.public_at.is_some();
            Effects {
                inits: sum.inits + 1,
                posted: sum.posted + usize::from(direct && complete),
                public: sum.public
                    + if direct {
                        post.published.iter().filter(is_public).count()
                    } else {
                        0
                    },
                drafts: sum.drafts + usize::from(!direct && (complete || post.status == "SEND_TO_USER_INBOX")),
                posted_drafts: sum.posted_drafts + if direct { 0 } else { post.published.len() },
                failed: sum.failed + usize::from(post.fail_reason.is_some()),
            }
        })
    }

    pub fn uploads(&self) -> Vec<UploadRecord> {
        let state = self.world.state();
        let mut uploads: Vec<_> = state
            .uploads
            .iter()
            .map(|(id, upload)| UploadRecord {
                upload_id: id.clone(),
                publish_id: upload.publish_id.clone(),
                video_size: upload.plan.size,
                chunk_size: upload.plan.chunk,
                total_chunk_count: upload.plan.count,
                received: upload.received,
                chunks: upload.chunks.clone(),
                expires_at: upload.expires_at,
            })
            .collect();
        uploads.sort_by_key(|upload| state.post_numbers.get(&upload.publish_id).copied());
        uploads
    }

    /// Every refresh token version with the uses that were accepted and refused.
    pub fn refresh_tokens(&self) -> Vec<RefreshUse> {
        self.world.state().grants.refresh_uses()
    }

    /// Calls per operation and token, with the most inside any 60 seconds.
    pub fn load(&self) -> Vec<TokenLoad> {
        self.world.journal.load()
    }

    /// The most calls of one token to an operation inside any 60 seconds.
    pub fn max_per_minute(&self, op: &str) -> usize {
        self.load()
            .iter()
            .filter(|load| load.op == op)
            .map(|load| load.max_in_60s)
            .max()
            .unwrap_or(0)
    }

    /// Calls to an operation inside a window.
    pub fn calls(&self, op: &str, from: DateTime<Utc>, length: TimeDelta) -> usize {
        self.world
            .journal
            .count(|call| call.op == op && call.at >= from && call.at - from < length)
    }

    /// How often a caller sent its token to the upload host, where it does not belong.
    pub fn authorization_headers_on_upload(&self) -> u32 {
        self.world.state().authorization_headers_on_upload
    }

    pub(crate) fn whole(&self) -> Value {
        let accounts: Vec<Value> = self
            .world
            .accounts()
            .iter()
            .map(|account| {
                json!({
                    "username": account.username,
                    "open_id": account.open_id,
                    "effects": self.effects(&account.open_id),
                })
            })
            .collect();
        json!({
            "accounts": accounts,
            "posts": self.posts(),
            "uploads": self.uploads(),
            "refresh_tokens": self.refresh_tokens(),
            "load": self.load(),
            "authorization_headers_on_upload": self.authorization_headers_on_upload(),
        })
    }
}

fn record(post: &Post, username: Option<&str>) -> PostRecord {
    PostRecord {
        publish_id: post.publish_id.clone(),
        account: username.unwrap_or_default().to_owned(),
        open_id: post.open_id.clone(),
        flow: post.flow,
        source: post.source,
        status: post.status(),
        fail_reason: match post.phase {
            Phase::Failed(reason) => Some(reason),
            Phase::AwaitingUpload
            | Phase::Downloading
            | Phase::Cancelling { .. }
            | Phase::Processing { .. }
            | Phase::InInbox
            | Phase::Complete => None,
        },
        wishes: post.wishes.clone(),
        bytes: post.bytes,
        sha256: post.sha256.clone(),
        urls: post.urls.clone(),
        published: post.published.clone(),
        discarded: post.discarded,
        created_at: post.created_at,
    }
}
