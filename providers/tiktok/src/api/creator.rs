//! Creator info: what an account may post now.

use patchbay_core::{Body, CanPost, Creator, FieldState, HttpRequest, HttpResponse, ProviderError, PublishOptions};
use serde::Deserialize;
use serde_json::Value;

use super::{Envelope, api_url, https, read};
use crate::{error, manifest::op};

pub(crate) fn request() -> HttpRequest {
    HttpRequest::new(op::CREATOR_INFO, api_url("/v2/post/publish/creator_info/query/"))
        .as_account()
        .with_body(Body::Json(Value::Object(Default::default())))
}

/// Reads the answer. "Cannot post now" is not an error of this call: TikTok says it at HTTP 200 on purpose.
pub(crate) fn parse(response: &HttpResponse) -> Result<PublishOptions, ProviderError> {
    let code = Envelope::of(response).complaint.map(|complaint| complaint.code);
    match code.as_deref().filter(|code| is_cap(code)).and_then(error::of_code) {
        Some(row) => Ok(PublishOptions {
            can_post: CanPost::No {
                code: row.code.to_owned(),
                advice: row.advice.to_owned(),
            },
            ..PublishOptions::unrestricted()
        }),
        None => Ok(options(read(op::CREATOR_INFO, response)?)),
    }
}

fn is_cap(code: &str) -> bool {
    matches!(
        code,
        "spam_risk_too_many_posts" | "spam_risk_user_banned_from_posting" | "reached_active_user_cap"
    )
}

fn options(data: Data) -> PublishOptions {
    let forced = |name: &str, disabled: bool| {
        disabled.then(|| FieldState {
            name: name.to_owned(),
            allowed: None,
            forced: Some(Value::Bool(true)),
        })
    };
    let privacy = data.privacy_level_options.map(|levels| FieldState {
        name: "privacy_level".to_owned(),
        allowed: Some(levels.into_iter().map(Value::String).collect()),
        forced: None,
    });
    let creator = match (data.creator_username, data.creator_nickname) {
        (Some(username), Some(nickname)) => Some(Creator {
            username,
            nickname,
            avatar_url: https(data.creator_avatar_url),
        }),
        _ => None,
    };
    PublishOptions {
        can_post: CanPost::Yes,
        creator,
        fields: [
            privacy,
            forced("disable_comment", data.comment_disabled),
            forced("disable_duet", data.duet_disabled),
            forced("disable_stitch", data.stitch_disabled),
        ]
        .into_iter()
        .flatten()
        .collect(),
        max_video_seconds: data.max_video_post_duration_sec,
    }
}

#[derive(Deserialize)]
struct Data {
    creator_avatar_url: Option<String>,
    creator_username: Option<String>,
    creator_nickname: Option<String>,
    privacy_level_options: Option<Vec<String>>,
    #[serde(default)]
    comment_disabled: bool,
    #[serde(default)]
    duet_disabled: bool,
    #[serde(default)]
    stitch_disabled: bool,
    max_video_post_duration_sec: Option<u64>,
}
