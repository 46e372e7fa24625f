//! Media files.

use axum::{
    Json,
    body::Body,
    extract::{Path, Query, State},
    http::{HeaderMap, StatusCode, header},
};
use chrono::{DateTime, TimeDelta, Utc};
use patchbay_app::{
    model::{KeyScope, Media},
    problem::{Problem, ProblemKind},
};
use patchbay_core::{FieldIssue, MediaId, MediaInfo};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{
    auth::Caller,
    extract::id,
    problem::{ApiResult, ProblemBody},
};
use crate::{host::Host, media};

/// Longest label.
const MAX_LABEL: usize = 255;

/// A media file.
#[derive(Debug, Serialize, ToSchema)]
pub struct MediaBody {
    /// Id, for a post's `media`.
    #[schema(example = "med_0199f0a2b3c47d8e9f00112233445566")]
    pub id: String,
    /// What you called it.
    pub name: Option<String>,
    /// Type by its content.
    #[schema(example = "video/mp4")]
    pub mime: String,
    /// Size.
    pub size_bytes: Option<u64>,
    /// Play time.
    pub duration_ms: Option<u64>,
    /// Width in pixels.
    pub width: Option<u32>,
    /// Height in pixels.
    pub height: Option<u32>,
    /// Frames per second.
    pub frame_rate: Option<f64>,
    /// Codec, as in the container.
    pub codec: Option<String>,
    /// SHA-256 of its bytes, in hexadecimal.
    pub sha256: String,
    /// When it came.
    pub created_at: DateTime<Utc>,
    /// It is deleted after this time.
    pub expires_at: DateTime<Utc>,
}

impl From<Media> for MediaBody {
    fn from(media: Media) -> Self {
        let MediaInfo {
            kind: _,
            mime,
            size_bytes,
            duration_ms,
            width,
            height,
            frame_rate,
            codec,
        } = media.info;
        Self {
            id: media.id.to_string(),
            name: media.label,
            mime,
            size_bytes,
            duration_ms,
            width,
            height,
            frame_rate,
            codec,
            sha256: hex::encode(media.sha256),
            created_at: media.created_at,
            expires_at: media.expires_at,
        }
    }
}

/// How to keep it.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct UploadQuery {
    /// A label for people. Never used as a file name.
    pub name: Option<String>,
}

// For the document alone: uploads are streamed.
/// A file as it is.
#[derive(ToSchema)]
#[schema(value_type = String, format = Binary)]
pub struct FileBytes(#[expect(dead_code, reason = "nobody makes one")] Vec<u8>);

/// Uploads a media file: the raw bytes as the body. It is checked by its content and kept until it expires.
#[utoipa::path(post, path = "/api/media", tag = "media",
    params(UploadQuery),
    request_body(content = FileBytes, content_type = "application/octet-stream", description = "The file's bytes"),
    responses(
        (status = 201, body = MediaBody),
        (status = 400, body = ProblemBody, content_type = "application/problem+json"),
        (status = 401, body = ProblemBody, content_type = "application/problem+json"),
        (status = 403, body = ProblemBody, content_type = "application/problem+json"),
        (status = 413, body = ProblemBody, content_type = "application/problem+json"),
        (status = 415, body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, body = ProblemBody, content_type = "application/problem+json"),
        (status = 507, body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub async fn upload(
    State(host): State<Host>,
    caller: Caller,
    Query(query): Query<UploadQuery>,
    headers: HeaderMap,
    body: Body,
) -> ApiResult<(StatusCode, Json<MediaBody>)> {
    caller.may(KeyScope::Publish)?;
    if query
        .name
        .as_ref()
        .is_some_and(|name| name.len() > MAX_LABEL || name.chars().any(char::is_control))
    {
        let message = "A name has at most 255 bytes and no control characters.";
        return Err(Problem::invalid(vec![FieldIssue::new("/name", "name", message)]).into());
    }
    let cap = host.config.server.max_upload_bytes;
    let declared = headers
        .get(header::CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    let kept = host.app.store.media_bytes(caller.tenant).await?;
    let room = host.config.storage.media_quota_bytes.saturating_sub(kept);
    if declared.is_some_and(|declared| declared > cap) {
        return Err(media::too_large(cap).into());
    }
    if declared.unwrap_or(1) > room {
        let detail = "This tenant's room for media is used up. Old files free it as they expire.";
        return Err(Problem::new(ProblemKind::StorageFull, detail).into());
    }
    let id = MediaId::from_uuid(host.app.env.ids.next());
    let received = host.files.receive(id, body, cap.min(room)).await?;
    let now = host.app.env.now();
    let media = Media {
        id,
        tenant: caller.tenant,
        label: query.name,
        info: received.info,
        sha256: received.sha256,
        created_at: now,
        expires_at: now + TimeDelta::days(i64::from(host.config.storage.media_ttl_days)),
    };
    if let Err(error) = host.app.store.add_media(&media).await {
        // The row is what makes a file known; without it the bytes would lie there for ever.
        let _ = host.app.media.delete(id).await;
        return Err(error.into());
    }
    Ok((StatusCode::CREATED, Json(media.into())))
}

/// Shows what is known of a media file.
#[utoipa::path(get, path = "/api/media/{id}", tag = "media",
    params(("id" = String, Path, description = "Id of the file")),
    responses(
        (status = 200, body = MediaBody),
        (status = 401, body = ProblemBody, content_type = "application/problem+json"),
        (status = 403, body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub async fn show(State(host): State<Host>, caller: Caller, Path(media): Path<String>) -> ApiResult<Json<MediaBody>> {
    caller.may(KeyScope::Read)?;
    let id: MediaId = id(&media, "media file")?;
    let media = host.app.store.media(caller.tenant, id).await?;
    Ok(Json(media.ok_or_else(|| Problem::not_found("media file"))?.into()))
}
