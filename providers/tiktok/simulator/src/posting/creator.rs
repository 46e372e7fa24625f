//! `creator_info/query`: what the user may post, and whether now. Caps come at HTTP 200.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use serde_json::{Value, json};

use crate::account::Account;
use crate::answer::{ApiError, Outcome};
use crate::world::World;

const OP: &str = "creator_info";

pub(crate) async fn query(State(world): State<Arc<World>>, headers: HeaderMap, body: Bytes) -> Response {
    world.answer(OP, creator_info(&world, &headers, &body))
}

fn creator_info(world: &World, headers: &HeaderMap, body: &[u8]) -> Outcome {
    let caller = world.admit(headers, OP, &["video.publish"])?;
    // Clients send nothing or an empty object.
    if !body.is_empty() {
        super::call::json::<Value>(headers, body)?;
    }
    world.tick();
    let creator = described(&caller.account);
    match cap(world, &caller.account) {
        None => Ok(Some(creator)),
        Some(cap) => Err(ApiError {
            data: world.switches().creator_info_data_at_cap.then_some(creator),
            ..cap
        }),
    }
}

fn cap(world: &World, account: &Account) -> Option<ApiError> {
    let (now, switches) = (world.clock.now(), world.switches());
    let state = world.state();
    if account.banned {
        Some(ApiError::new("spam_risk_user_banned_from_posting"))
    } else if state.has_too_many_users(account, &switches, now) {
        Some(ApiError::new("reached_active_user_cap"))
    } else if state.has_posted_too_much(account, &switches, now) {
        Some(ApiError::new("spam_risk_too_many_posts"))
    } else {
        None
    }
}

fn described(account: &Account) -> Value {
    json!({
        "creator_avatar_url": account.avatar_url("720x720"),
        "creator_username": account.username,
        "creator_nickname": account.nickname,
        "privacy_level_options": account.privacy_options(),
        "comment_disabled": account.comment_disabled,
        "duet_disabled": account.duet_disabled || account.private,
        "stitch_disabled": account.stitch_disabled || account.private,
        "max_video_post_duration_sec": account.max_video_post_duration_sec,
    })
}
