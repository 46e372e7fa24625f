//! The account and its posts.

use std::{collections::HashMap, sync::Arc};

use axum::{
    Json,
    extract::{Path, Query, State},
    http::{HeaderMap, StatusCode},
};
use chrono::TimeDelta;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::world::{ADA, MAX_TEXT, POSTS_A_MINUTE, PROCESSING, Post, Refused, World};

type Answer = Result<(StatusCode, Json<Value>), Refused>;

fn ok(body: Value) -> Answer {
    Ok((StatusCode::OK, Json(body)))
}

pub(crate) async fn me(State(world): State<Arc<World>>, headers: HeaderMap) -> Answer {
    world.authorize(&headers, "read")?;
    let [id, name, handle] = ADA;
    ok(json!({ "id": id, "name": name, "handle": handle }))
}

#[derive(Deserialize)]
pub(crate) struct NewPost {
    text: String,
    #[serde(default)]
    client_ref: String,
}

// CHANGE: what the platform checks, in its order.
pub(crate) async fn create(State(world): State<Arc<World>>, headers: HeaderMap, Json(new): Json<NewPost>) -> Answer {
    world.authorize(&headers, "write")?;
    let now = world.clock.now();
    let mut state = world.state();
    while state.made.front().is_some_and(|at| *at + TimeDelta::minutes(1) <= now) {
        state.made.pop_front();
    }
    if state.made.len() >= POSTS_A_MINUTE {
        return Err(Refused::new(StatusCode::TOO_MANY_REQUESTS, "too_many_posts").for_seconds(60));
    }
    state.made.push_back(now);
    if new.text.chars().count() > MAX_TEXT {
        return Err(Refused::new(StatusCode::UNPROCESSABLE_ENTITY, "text_too_long"));
    }
    let post = Post {
        id: format!("p_{}", world.random.alphanumeric(12)),
        client_ref: new.client_ref,
        text: new.text,
        due: now + PROCESSING,
        published: false,
    };
    let shown = shown(&post);
    state.posts.push(post);
    drop(state);
    wake_when_due(&world);
    Ok((StatusCode::ACCEPTED, Json(shown)))
}

pub(crate) async fn find(
    State(world): State<Arc<World>>,
    headers: HeaderMap,
    Query(query): Query<HashMap<String, String>>,
) -> Answer {
    world.authorize(&headers, "write")?;
    let wanted = query.get("client_ref");
    let state = world.state();
    let posts = state.posts.iter();
    let found = posts.filter(|post| wanted.is_none_or(|wanted| *wanted == post.client_ref));
    ok(json!({ "posts": found.map(shown).collect::<Vec<_>>() }))
}

pub(crate) async fn get(State(world): State<Arc<World>>, headers: HeaderMap, Path(id): Path<String>) -> Answer {
    world.authorize(&headers, "write")?;
    let state = world.state();
    match state.posts.iter().find(|post| post.id == id) {
        Some(post) => ok(shown(post)),
        None => Err(Refused::new(StatusCode::NOT_FOUND, "no_such_post")),
    }
}

pub(crate) fn shown(post: &Post) -> Value {
    let mut shown = json!({ "id": post.id, "state": "processing", "text": post.text });
    if post.published {
        shown["state"] = "published".into();
        shown["url"] = format!("https://quill.example/{}/{}", ADA[2], post.id).into();
    }
    shown
}

/// Looks again when the post is done, so that its webhook leaves although nobody asks.
fn wake_when_due(world: &Arc<World>) {
    let world = Arc::clone(world);
    let due = world.clock.now() + PROCESSING;
    drop(tokio::spawn(async move {
        world.clock.sleep_until(due).await;
        drop(world.state());
    }));
}
