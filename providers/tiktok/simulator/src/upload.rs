//! The upload host: sequential PUTs of byte ranges to a URL that lives one hour.
//!
//! Only a running digest, a length and a header scan are kept, so 4 GiB cost no memory
//! (developers.tiktok.com/doc/content-posting-api-media-transfer-guide, "Media transfer").

mod range;

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Utc};
use futures_util::StreamExt;
use patchbay_simkit::gate::drain;
use serde::Serialize;
use sha2::{Digest, Sha256};
use tokio::io::AsyncWriteExt;
use url::form_urlencoded;

use crate::chunk::Plan;
use crate::media::VideoScan;
use crate::switches::UploadContentRange;
use crate::world::World;
use range::ContentRange;

/// A caller that sends nothing for this long (real time) has gone.
const SILENCE: Duration = Duration::from_secs(60);
const CONTENT_TYPES: [&str; 3] = ["video/mp4", "video/quicktime", "video/webm"];

/// One upload task.
pub(crate) struct Upload {
    pub token: String,
    pub publish_id: String,
    pub plan: Plan,
    pub expires_at: DateTime<Utc>,
    pub received: u64,
    pub chunks: Vec<Chunk>,
    busy: bool,
    digest: Sha256,
    scan: VideoScan,
}

/// An accepted chunk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Chunk {
    pub first: u64,
    pub last: u64,
    pub at: DateTime<Utc>,
}

impl Upload {
    pub(crate) fn new(token: String, publish_id: String, plan: Plan, expires_at: DateTime<Utc>) -> Self {
        Self {
            token,
            publish_id,
            plan,
            expires_at,
            received: 0,
            chunks: Vec::new(),
            busy: false,
            digest: Sha256::new(),
            scan: VideoScan::default(),
        }
    }

    pub(crate) fn is_complete(&self) -> bool {
        self.received == self.plan.size
    }
}

pub(crate) async fn put(State(world): State<Arc<World>>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let id = query_value(head.uri.query(), "upload_id");
    let token = query_value(head.uri.query(), "upload_token");
    match admit(&world, &id, &token, &head.headers) {
        Ok(part) => receive(&world, part, body).await,
        Err(refusal) => {
            drain(body).await;
            refusal.into_response()
        }
    }
}

/// Why a chunk may not come in; a wrong range is told the actual progress.
struct Refusal {
    status: StatusCode,
    progress: Option<Progress>,
}

impl From<StatusCode> for Refusal {
    fn from(status: StatusCode) -> Self {
        Self { status, progress: None }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        match self.progress {
            Some(progress) => (self.status, progress).into_response(),
            None => self.status.into_response(),
        }
    }
}

type Progress = [(header::HeaderName, HeaderValue); 1];

/// A chunk that may come in. Dropping it makes room for another attempt.
struct Part {
    world: Arc<World>,
    id: String,
    range: ContentRange,
    digest: Sha256,
    scan: VideoScan,
}

impl Drop for Part {
    fn drop(&mut self) {
        if let Some(upload) = self.world.state().uploads.get_mut(&self.id) {
            upload.busy = false;
        }
    }
}

fn admit(world: &Arc<World>, id: &str, token: &str, headers: &HeaderMap) -> Result<Part, Refusal> {
    let now = world.clock.now();
    let switches = world.switches();
    let mut state = world.state();
    if headers.contains_key(header::AUTHORIZATION) {
        // Not refused, because nobody has seen it refused; but a client must not do it.
        state.authorization_headers_on_upload += 1;
    }
    let upload = state
        .uploads
        .get_mut(id)
        .filter(|upload| upload.token == token)
        .ok_or(StatusCode::NOT_FOUND)?;
    if upload.expires_at <= now {
        return Err(StatusCode::FORBIDDEN.into());
    }
    let range = range::parse(headers).ok_or(StatusCode::BAD_REQUEST)?;
    if !has_content_type(headers) {
        return Err(StatusCode::BAD_REQUEST.into());
    }
    if content_length(headers) != Some(range.len()) {
        let status = StatusCode::from_u16(switches.wrong_length_status).unwrap_or(StatusCode::BAD_REQUEST);
        return Err(status.into());
    }
    let plan = upload.plan;
    let fits = !upload.busy
        && !upload.is_complete()
        && range.total == plan.size
        && range.first == upload.received
        && range.len() == plan.len_at(upload.received);
    if !fits {
        let progress = progress(upload, switches.upload_content_range);
        return Err(Refusal {
            status: StatusCode::RANGE_NOT_SATISFIABLE,
            progress: Some(progress),
        });
    }
    upload.busy = true;
    Ok(Part {
        world: Arc::clone(world),
        id: id.to_owned(),
        range,
        digest: upload.digest.clone(),
        scan: upload.scan.clone(),
    })
}

async fn receive(world: &Arc<World>, mut part: Part, body: Body) -> Response {
    let mut file = match open_kept(world, &part).await {
        Ok(file) => file,
        Err(error) => {
            tracing::warn!(%error, "Could not keep an upload");
            return StatusCode::INTERNAL_SERVER_ERROR.into_response();
        }
    };
    let mut frames = body.into_data_stream();
    let mut got = 0u64;
    while let Ok(Some(Ok(frame))) = tokio::time::timeout(SILENCE, frames.next()).await {
        got += frame.len() as u64;
        part.digest.update(&frame);
        part.scan.feed(&frame);
        if let Some(file) = &mut file
            && let Err(error) = file.write_all(&frame).await
        {
            tracing::warn!(%error, "Could not keep an upload");
            return StatusCode::INTERNAL_SERVER_ERROR.into_response();
        }
    }
    if let Some(file) = &mut file {
        file.flush().await.ok();
    }
    if got == part.range.len() {
        take(world, &part)
    } else {
        // The caller hung up; what came is forgotten and nobody reads this answer.
        StatusCode::BAD_REQUEST.into_response()
    }
}

fn take(world: &Arc<World>, part: &Part) -> Response {
    let now = world.clock.now();
    let switches = world.switches();
    let mut state = world.state();
    let Some(upload) = state.uploads.get_mut(&part.id) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    upload.digest = part.digest.clone();
    upload.scan = part.scan.clone();
    upload.received += part.range.len();
    upload.chunks.push(Chunk {
        first: part.range.first,
        last: part.range.last,
        at: now,
    });
    let progress = progress(upload, switches.upload_content_range);
    let (complete, received, publish_id) = (upload.is_complete(), upload.received, upload.publish_id.clone());
    let (digest, scan) = (upload.digest.clone(), upload.scan.clone());
    let max_duration = state
        .post(&publish_id)
        .and_then(|post| state.account(&post.open_id))
        .map_or(u32::MAX, |account| account.max_video_post_duration_sec);
    if let Some(post) = state.post_mut(&publish_id) {
        post.bytes = received;
    }
    if complete {
        let waits = state.post_mut(&publish_id).is_some_and(|post| {
            post.sha256 = vec![hex::encode(digest.finalize())];
            post.duration_sec = scan.duration_sec().unwrap_or(0);
            post.is_unfinished()
        });
        if waits {
            world.begin_processing(&mut state, &publish_id, scan.verdict(max_duration));
        }
    }
    drop(state);
    world.progressed();
    let status = if complete {
        StatusCode::CREATED
    } else {
        StatusCode::PARTIAL_CONTENT
    };
    if switches.upload_json_body {
        let body = axum::Json(serde_json::json!({ "code": 0, "message": "success" }));
        return (status, progress, body).into_response();
    }
    (status, progress).into_response()
}

/// `Content-Range: bytes 0-{UPLOADED_BYTES}/{TOTAL}`; whether that is a count is not documented.
fn progress(upload: &Upload, meaning: UploadContentRange) -> Progress {
    let shown = match meaning {
        UploadContentRange::Count => upload.received,
        UploadContentRange::LastIndex => upload.received.saturating_sub(1),
    };
    let text = format!("bytes 0-{shown}/{}", upload.plan.size);
    let value = HeaderValue::from_str(&text).unwrap_or_else(|_| HeaderValue::from_static("bytes"));
    [(header::CONTENT_RANGE, value)]
}

async fn open_kept(world: &World, part: &Part) -> std::io::Result<Option<tokio::fs::File>> {
    let Some(folder) = &world.config.keep_media else {
        return Ok(None);
    };
    tokio::fs::create_dir_all(folder).await?;
    let file = tokio::fs::OpenOptions::new()
        .create(true)
        .write(true)
        .truncate(false)
        .open(folder.join(format!("{}.bin", part.id)))
        .await?;
    let mut file = file;
    tokio::io::AsyncSeekExt::seek(&mut file, std::io::SeekFrom::Start(part.range.first)).await?;
    Ok(Some(file))
}

fn query_value(query: Option<&str>, name: &str) -> String {
    form_urlencoded::parse(query.unwrap_or_default().as_bytes())
        .find(|(key, _)| key == name)
        .map(|(_, value)| value.into_owned())
        .unwrap_or_default()
}

fn has_content_type(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    kind.is_some_and(|kind| CONTENT_TYPES.contains(&kind))
}

fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}
