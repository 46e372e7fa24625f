//! Media files.

use std::io;

use axum::{
    Json,
    body::Body,
    extract::{Path, Query, State},
    http::{HeaderMap, Method, StatusCode, header},
    response::Response,
};
use chrono::{DateTime, Utc};
use futures_util::{StreamExt, TryStreamExt};
use patchbay_app::{
    files::ByteStream,
    media::{self, Wanted},
    model::{KeyScope, Media},
    problem::Problem,
};
use patchbay_core::{MediaId, MediaInfo};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{
    auth::Caller,
    bytes,
    extract::{Paging, id, next_cursor},
    problem::{ApiResult, ProblemBody},
};
use crate::host::Host;

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
        (status = 429, body = ProblemBody, content_type = "application/problem+json"),
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
    let declared = declared(&headers);
    let wanted = Wanted {
        label: query.name,
        metadata: None,
    };
    let media = media::receive(&host.app, caller.tenant, wanted, declared, stream(body)).await?;
    Ok((StatusCode::CREATED, Json(media.into())))
}

/// How long a body is, if that was said.
pub(super) fn declared(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// A body as bytes that come.
pub(super) fn stream(body: Body) -> ByteStream {
    body.into_data_stream().map_err(io::Error::other).boxed()
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

/// Gives the bytes of a media file: all, or one `Range`.
#[utoipa::path(get, path = "/api/media/{id}/content", tag = "media",
    params(
        ("id" = String, Path, description = "Id of the file"),
        ("Range" = Option<String>, Header, description = "The part that is wanted, such as `bytes=0-1023`"),
    ),
    responses(
        (status = 200, description = "The file, of its own type", content_type = "*/*"),
        (status = 206, description = "The part that was asked for", content_type = "*/*"),
        (status = 401, body = ProblemBody, content_type = "application/problem+json"),
        (status = 403, body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, body = ProblemBody, content_type = "application/problem+json"),
        (status = 416, body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub async fn content(
    State(host): State<Host>,
    caller: Caller,
    Path(media): Path<String>,
    method: Method,
    headers: HeaderMap,
) -> ApiResult<Response> {
    caller.may(KeyScope::Read)?;
    let id: MediaId = id(&media, "media file")?;
    let file = host.app.store.media(caller.tenant, id).await?;
    let Media { id, info, sha256, .. } = file.ok_or_else(|| Problem::not_found("media file"))?;
    Ok(bytes::answer(&host, (id, &info, sha256), &method, &headers).await?)
}

/// A page of media files.
#[derive(Debug, Serialize, ToSchema)]
pub struct MediaList {
    /// Newest first.
    pub data: Vec<MediaBody>,
    /// For the next page; absent at the end.
    pub next_cursor: Option<String>,
}

/// Lists the media files that have not expired, newest first.
#[utoipa::path(get, path = "/api/media", tag = "media", params(Paging),
    responses(
        (status = 200, body = MediaList),
        (status = 400, body = ProblemBody, content_type = "application/problem+json"),
        (status = 401, body = ProblemBody, content_type = "application/problem+json"),
        (status = 403, body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub async fn list(
    State(host): State<Host>,
    caller: Caller,
    Query(paging): Query<Paging>,
) -> ApiResult<Json<MediaList>> {
    caller.may(KeyScope::Read)?;
    let bound_to = format!("{}/media", caller.tenant);
    let page = host
        .app
        .store
        .media_list(caller.tenant, paging.request(&host, &bound_to)?)
        .await?;
    Ok(Json(MediaList {
        data: page.items.into_iter().map(MediaBody::from).collect(),
        next_cursor: next_cursor(&host, &bound_to, page.next),
    }))
}
