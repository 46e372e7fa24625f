//! The Display API: user info, and the list of public videos with their counts.

mod fields;

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{RawQuery, State};
use axum::http::HeaderMap;
use axum::response::Response;
use serde_json::{Map, Value, json};
use url::form_urlencoded;

use crate::answer::{ApiError, Outcome};
use crate::posting::call::json as read;
use crate::switches::MissingFieldScope;
use crate::world::World;
use fields::{PublicVideo, user_field, video_field};

const PAGE_DEFAULT: u64 = 10;
const PAGE_MAX: u64 = 20;
const QUERY_MAX: usize = 20;

pub(crate) async fn user_info(
    State(world): State<Arc<World>>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    world.answer("user_info", user(&world, query.as_deref(), &headers))
}

pub(crate) async fn video_list(
    State(world): State<Arc<World>>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    world.answer("video_list", list(&world, query.as_deref(), &headers, &body))
}

pub(crate) async fn video_query(
    State(world): State<Arc<World>>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    world.answer("video_query", by_id(&world, query.as_deref(), &headers, &body))
}

/// Only asked fields come back; unknown names are ignored.
fn user(world: &World, query: Option<&str>, headers: &HeaderMap) -> Outcome {
    let any = ["user.info.basic", "user.info.profile", "user.info.stats"];
    let caller = world.admit(headers, "user_info", &any)?;
    let asked = asked_fields(query)?;
    world.tick();
    let videos = public_videos(world, &caller.account.open_id).len();
    let mut user = Map::new();
    for name in asked {
        let Some((scope, value)) = user_field(&caller.account, videos, &name) else {
            continue;
        };
        if !caller.may(scope) {
            return Err(ApiError::new(match world.switches().missing_field_scope {
                MissingFieldScope::ScopeNotAuthorized => "scope_not_authorized",
                MissingFieldScope::ScopePermissionMissed => "scope_permission_missed",
            }));
        }
        user.insert(name, value);
    }
    Ok(Some(json!({ "user": user })))
}

/// Newest first. The cursor is a time in milliseconds; videos older than it follow.
fn list(world: &World, query: Option<&str>, headers: &HeaderMap, body: &[u8]) -> Outcome {
    let caller = world.admit(headers, "video_list", &["video.list"])?;
    let asked = asked_fields(query)?;
    let body = if body.is_empty() {
        json!({})
    } else {
        read(headers, body)?
    };
    let cursor = lenient_number(&body, "cursor")?;
    let count = lenient_number(&body, "max_count")?.unwrap_or(PAGE_DEFAULT);
    if !(1..=PAGE_MAX).contains(&count) {
        return Err(ApiError::params("max_count is 1 to 20"));
    }
    world.tick();
    let mut videos = public_videos(world, &caller.account.open_id);
    videos.sort_by_key(|video| std::cmp::Reverse((video.at, video.post_id)));
    if let Some(cursor) = cursor {
        videos.retain(|video| video.millis() < cursor);
    }
    let page_len = usize::try_from(count).unwrap_or(usize::MAX).min(videos.len());
    let has_more = videos.len() > page_len;
    videos.truncate(page_len);
    Ok(Some(json!({
        "cursor": videos.last().map_or(cursor.unwrap_or(0), PublicVideo::millis),
        "has_more": has_more,
        "videos": written(world, &videos, &asked),
    })))
}

/// Only the caller's own; unknown ids are simply absent.
fn by_id(world: &World, query: Option<&str>, headers: &HeaderMap, body: &[u8]) -> Outcome {
    let caller = world.admit(headers, "video_query", &["video.list"])?;
    let asked = asked_fields(query)?;
    let body: Value = read(headers, body)?;
    let ids = body["filters"]["video_ids"]
        .as_array()
        .ok_or_else(|| ApiError::params("filters.video_ids is missing"))?;
    if ids.is_empty() || ids.len() > QUERY_MAX {
        return Err(ApiError::params("video_ids takes 1 to 20 ids"));
    }
    // Text as documented; numbers come from clients that know no better.
    let ids: Vec<u64> = ids.iter().filter_map(as_number).collect();
    world.tick();
    let mut videos = public_videos(world, &caller.account.open_id);
    videos.retain(|video| ids.contains(&video.post_id));
    Ok(Some(json!({
        "cursor": 0,
        "has_more": false,
        "videos": written(world, &videos, &asked),
    })))
}

fn public_videos(world: &World, open_id: &str) -> Vec<PublicVideo> {
    let state = world.state();
    let username = state
        .account(open_id)
        .map(|account| account.username.clone())
        .unwrap_or_default();
    state
        .posts
        .values()
        .filter(|post| post.open_id == open_id)
        .flat_map(|post| post.published.iter().map(move |published| (post, published)))
        .filter(|(_, published)| published.is_visible())
        .map(|(post, published)| PublicVideo::new(post, published, &username))
        .collect()
}

fn written(world: &World, videos: &[PublicVideo], asked: &[String]) -> Vec<Value> {
    let now = world.clock.now();
    let end = world.switches().counts_end_after_minutes;
    videos
        .iter()
        .map(|video| {
            asked
                .iter()
                .filter_map(|name| Some((name.clone(), video_field(video, now, end, name)?)))
                .collect::<Map<_, _>>()
                .into()
        })
        .collect()
}

fn asked_fields(query: Option<&str>) -> Result<Vec<String>, ApiError> {
    let fields = form_urlencoded::parse(query.unwrap_or_default().as_bytes())
        .find(|(name, _)| name == "fields")
        .map(|(_, fields)| fields.into_owned())
        .filter(|fields| !fields.is_empty())
        .ok_or_else(|| ApiError::params("fields is required"))?;
    Ok(fields.split(',').map(|field| field.trim().to_owned()).collect())
}

/// Public clients send these numbers as text.
fn lenient_number(body: &Value, name: &str) -> Result<Option<u64>, ApiError> {
    match &body[name] {
        Value::Null => Ok(None),
        value => as_number(value)
            .map(Some)
            .ok_or_else(|| ApiError::params(format!("{name} is not a number"))),
    }
}

fn as_number(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| value.as_str()?.parse().ok())
}
