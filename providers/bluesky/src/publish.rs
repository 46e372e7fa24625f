//! Publishing: one record in the account's repository.
//!
//! The road of a post: choose its key and look up who it mentions; send its files, one a step; write the record. Only the
//! last is irreversible, and it can be looked for: the key was chosen and kept before anything was sent.

use std::{collections::BTreeMap, time::Duration};

use async_trait::async_trait;
use chrono::SecondsFormat;
use patchbay_core::{
    Cancelled, Checkpoint, Ctx, FieldIssue, Post, PostMetrics, Progress, ProviderError, Publication, Publisher,
    Reconciled,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use url::Url;

use crate::{
    api::{feed, identity, repo},
    error,
    login::server,
    record::{self, POSTS},
    tid,
};

/// How often a post's files are sent. The server drops those that no record has named for long.
const MAX_UPLOADS: u32 = 3;

pub(crate) struct Records;

/// Where a post is.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct State {
    /// Key of the record, chosen once.
    rkey: String,
    /// The record's own time, chosen with it, so that a repeat is the same to the letter.
    created_at: String,
    /// Accounts of the handles that the text mentions.
    accounts: BTreeMap<String, String>,
    /// The files that the server has taken, in order.
    blobs: Vec<Value>,
    /// How often they have been sent.
    uploads: u32,
}

#[async_trait]
impl Publisher for Records {
    fn validate(&self, post: &Post) -> Vec<FieldIssue> {
        record::check(post)
    }

    async fn advance(&self, ctx: &Ctx<'_>, post: &Post, at: Option<&Checkpoint>) -> Result<Progress, ProviderError> {
        let Some(at) = at else {
            return begin(ctx, post).await;
        };
        let mut state: State = at.read()?;
        let server = server(ctx)?;
        if let Some(media) = post.media.get(state.blobs.len()) {
            let response = ctx.send(repo::upload(server, media)).await?;
            state.blobs.push(repo::parse_uploaded(&response)?);
            return state.go_on(post);
        }
        let did = &ctx.account()?.remote_id;
        let record = record::of(post, &state.created_at, &state.accounts, &state.blobs);
        let response = ctx.send(repo::put(server, did, &state.rkey, &record)).await?;
        if error::name(&response).as_deref() == Some("BlobNotFound") && state.uploads < MAX_UPLOADS {
            state.blobs.clear();
            state.uploads += 1;
            return state.go_on(post);
        }
        repo::parse_put(&response)?;
        Ok(state.published(did))
    }

    async fn reconcile(
        &self,
        ctx: &Ctx<'_>,
        _: &Post,
        at: Option<&Checkpoint>,
        _: Option<&str>,
    ) -> Result<Reconciled, ProviderError> {
        let Some(at) = at else {
            return Ok(Reconciled::DidNotHappen { checkpoint: None });
        };
        let state: State = at.read()?;
        let did = &ctx.account()?.remote_id;
        let found = repo::parse_got(&ctx.send(repo::get(server(ctx)?, did, POSTS, &state.rkey)).await?);
        match found {
            Ok(Some(record)) if record["createdAt"] == state.created_at.as_str() => Ok(Reconciled::Happened {
                progress: state.published(did),
            }),
            // Another post has this key: it was never ours, and nothing was written over it.
            Ok(Some(_)) => Ok(Reconciled::DidNotHappen { checkpoint: None }),
            // Should the lost call still arrive, it writes the same record under the same key.
            Ok(None) => Ok(Reconciled::DidNotHappen {
                checkpoint: Some(at.clone()),
            }),
            Err(error) if error.kind.retry_helps() => Err(error),
            // The server no longer has the account.
            Err(_) => Ok(Reconciled::Unknown),
        }
    }

    /// Files that no record names are seen by nobody, and the record itself is written in one call.
    async fn cancel(&self, _: &Ctx<'_>, _: &Post, _: Option<&Checkpoint>) -> Result<Cancelled, ProviderError> {
        Ok(Cancelled::Stopped)
    }

    async fn metrics(&self, ctx: &Ctx<'_>, remote_ids: &[String]) -> Result<Vec<PostMetrics>, ProviderError> {
        let uris: Vec<&str> = remote_ids.iter().map(String::as_str).collect();
        let mut found = Vec::new();
        for page in uris.chunks(feed::MAX_POSTS) {
            found.extend(feed::parse(&ctx.send(feed::get(page)).await?)?);
        }
        found.retain(|metrics| uris.contains(&metrics.remote_id.as_str()));
        Ok(found)
    }
}

async fn begin(ctx: &Ctx<'_>, post: &Post) -> Result<Progress, ProviderError> {
    let server = server(ctx)?;
    let mut accounts = BTreeMap::new();
    for handle in record::mentions(post.text.as_deref().unwrap_or_default()) {
        let response = ctx.send(identity::resolve(Some(server), &handle)).await?;
        // What names nobody stays plain text.
        if let Some(did) = identity::parse_resolved(&response)? {
            accounts.insert(handle, did);
        }
    }
    let state = State {
        rkey: tid::of(post.id, ctx.now),
        created_at: ctx.now.to_rfc3339_opts(SecondsFormat::Millis, true),
        accounts,
        blobs: Vec::new(),
        uploads: 1,
    };
    state.go_on(post)
}

impl State {
    fn go_on(&self, post: &Post) -> Result<Progress, ProviderError> {
        let bytes = |files: &[patchbay_core::PostMedia]| files.iter().filter_map(|file| file.info.size_bytes).sum();
        let phase = if self.blobs.len() < post.media.len() {
            "uploading"
        } else {
            "publishing"
        };
        let mut checkpoint = Checkpoint::new(phase, self)?;
        if !post.media.is_empty() {
            let sent = post.media.get(..self.blobs.len()).unwrap_or(&post.media);
            checkpoint = checkpoint.at_bytes(bytes(sent), bytes(&post.media));
        }
        Ok(Progress::Continue {
            checkpoint,
            wake_after: Duration::ZERO,
        })
    }

    fn published(&self, did: &str) -> Progress {
        let page = format!("https://bsky.app/profile/{did}/post/{}", self.rkey);
        Progress::Published {
            publication: Publication {
                remote_ids: vec![format!("at://{did}/{POSTS}/{}", self.rkey)],
                url: Url::parse(&page).ok(),
            },
            follow_up: None,
        }
    }
}
