//! `status/fetch` and `cancel`.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use chrono::TimeDelta;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::call::{Caller, json as read};
use crate::answer::{ApiError, Outcome};
use crate::post::{Phase, Post, Published, Source};
use crate::world::{State as WorldState, World};

const ANY_POSTING_SCOPE: [&str; 2] = ["video.upload", "video.publish"];

#[derive(Deserialize)]
struct Wanted {
    publish_id: Option<String>,
}

pub(crate) async fn fetch(State(world): State<Arc<World>>, headers: HeaderMap, body: Bytes) -> Response {
    world.answer("status", status(&world, &headers, &body))
}

pub(crate) async fn cancel(State(world): State<Arc<World>>, headers: HeaderMap, body: Bytes) -> Response {
    world.answer("cancel", cancelled(&world, &headers, &body))
}

fn status(world: &World, headers: &HeaderMap, body: &[u8]) -> Outcome {
    let caller = world.admit(headers, "status", &ANY_POSTING_SCOPE)?;
    let wanted = wanted(headers, body)?;
    world.tick();
    let state = world.state();
    let number = own_post(&state, &caller, &wanted)?;
    Ok(state.posts.get(&number).map(described))
}

/// Best effort, downloads only. The failure itself is told later.
fn cancelled(world: &World, headers: &HeaderMap, body: &[u8]) -> Outcome {
    let caller = world.admit(headers, "cancel", &ANY_POSTING_SCOPE)?;
    let wanted = wanted(headers, body)?;
    world.tick();
    let due = world.clock.now() + TimeDelta::seconds(world.switches().cancel_seconds.into());
    let mut state = world.state();
    let number = own_post(&state, &caller, &wanted)?;
    let post = state
        .posts
        .get_mut(&number)
        .filter(|post| post.phase == Phase::Downloading)
        .ok_or(ApiError::new("publish_not_cancellable"))?;
    post.phase = Phase::Cancelling { due };
    post.abort.notify_one();
    drop(state);
    world.wake.notify_one();
    world.progressed();
    Ok(None)
}

fn wanted(headers: &HeaderMap, body: &[u8]) -> Result<String, ApiError> {
    let wanted: Wanted = read(headers, body)?;
    wanted.publish_id.ok_or(ApiError::new("invalid_publish_id"))
}

fn own_post(state: &WorldState, caller: &Caller, publish_id: &str) -> Result<u64, ApiError> {
    let number = state
        .post_numbers
        .get(publish_id)
        .copied()
        .ok_or(ApiError::new("invalid_publish_id"))?;
    match state.posts.get(&number) {
        Some(post) if post.open_id == caller.account.open_id => Ok(number),
        _ => Err(ApiError::new("token_not_authorized_for_specified_publish_id")),
    }
}

/// Captured bodies omit what is empty; byte counts were seen while processing only.
fn described(post: &Post) -> Value {
    let mut data = Map::new();
    data.insert("status".to_owned(), post.status().into());
    if let Phase::Failed(reason) = post.phase {
        data.insert("fail_reason".to_owned(), json!(reason));
    }
    if post.is_unfinished() && post.bytes > 0 {
        let name = match post.source {
            Source::VideoFile => "uploaded_bytes",
            Source::VideoUrl | Source::Photos => "downloaded_bytes",
        };
        data.insert(name.to_owned(), post.bytes.into());
    }
    // Bare numbers past 2^53, and the misspelling is TikTok's.
    let ids: Vec<u64> = post
        .published
        .iter()
        .filter(|published| Published::is_visible(published))
        .map(|published| published.post_id)
        .collect();
    if !ids.is_empty() {
        data.insert("publicaly_available_post_id".to_owned(), ids.into());
    }
    Value::Object(data)
}
