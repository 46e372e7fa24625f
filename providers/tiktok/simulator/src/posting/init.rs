//! The three init endpoints: video, video draft, photos. Each accepted call makes a post; there is no
//! idempotency key, so a repeated call makes a second one.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use chrono::TimeDelta;
use serde_json::{Value, json};

use super::call::json as read;
use super::checks;
use super::request::{ContentInit, InboxInit, PhotoSource, VideoInit, VideoSource};
use crate::account::Account;
use crate::answer::{ApiError, Outcome};
use crate::chunk::Plan;
use crate::post::{Flow, Phase, Post, Source, Wishes};
use crate::pull;
use crate::switches::Switches;
use crate::upload::Upload;
use crate::world::{State as WorldState, World};

const MAX_PHOTOS: usize = 35;

pub(crate) async fn video(State(world): State<Arc<World>>, headers: HeaderMap, body: Bytes) -> Response {
    world.answer("video_init", video_init(&world, &headers, &body))
}

pub(crate) async fn inbox(State(world): State<Arc<World>>, headers: HeaderMap, body: Bytes) -> Response {
    world.answer("inbox_init", inbox_init(&world, &headers, &body))
}

pub(crate) async fn content(State(world): State<Arc<World>>, headers: HeaderMap, body: Bytes) -> Response {
    world.answer("content_init", content_init(&world, &headers, &body))
}

fn video_init(world: &Arc<World>, headers: &HeaderMap, body: &[u8]) -> Outcome {
    let caller = world.admit(headers, "video_init", &["video.publish"])?;
    let request: VideoInit = read(headers, body)?;
    let info = request
        .post_info
        .ok_or_else(|| ApiError::params("post_info is missing"))?;
    let wishes = checks::forced_by(&caller.account, checks::video_wishes(&info)?);
    let switches = world.switches();
    let media = video_media(request.source_info, &switches)?;
    begin(world, &switches, &caller.account, Flow::Direct, &media, wishes)
}

fn inbox_init(world: &Arc<World>, headers: &HeaderMap, body: &[u8]) -> Outcome {
    let caller = world.admit(headers, "inbox_init", &["video.upload"])?;
    let request: InboxInit = read(headers, body)?;
    let wishes = Wishes {
        title: request
            .post_info
            .as_ref()
            .and_then(|info| info.get("title")?.as_str())
            .map(str::to_owned),
        ..Wishes::default()
    };
    let switches = world.switches();
    let media = video_media(request.source_info, &switches)?;
    begin(world, &switches, &caller.account, Flow::Inbox, &media, wishes)
}

fn content_init(world: &Arc<World>, headers: &HeaderMap, body: &[u8]) -> Outcome {
    let caller = world.admit(headers, "content_init", &["video.publish", "video.upload"])?;
    let request: ContentInit = read(headers, body)?;
    if request.media_type.as_deref() != Some("PHOTO") {
        return Err(ApiError::params("media_type must be PHOTO"));
    }
    let flow = match request.post_mode.as_deref() {
        Some("DIRECT_POST") => Flow::Direct,
        Some("MEDIA_UPLOAD") => Flow::Inbox,
        _ => return Err(ApiError::params("post_mode is missing or unknown")),
    };
    let direct = flow == Flow::Direct;
    caller.must(if direct { "video.publish" } else { "video.upload" })?;
    let wishes = checks::photo_wishes(&request.post_info, direct)?;
    let (media, cover) = photo_media(request.source_info)?;
    if !direct && caller.account.old_app {
        return Err(ApiError::new("app_version_check_failed"));
    }
    let wishes = Wishes {
        photo_cover_index: Some(cover),
        ..if direct {
            checks::forced_by(&caller.account, wishes)
        } else {
            wishes
        }
    };
    begin(world, &world.switches(), &caller.account, flow, &media, wishes)
}

/// The media of a post, its form checked.
enum Media {
    File(Plan),
    Url(String),
    Photos(Vec<String>),
}

fn video_media(source: Option<VideoSource>, switches: &Switches) -> Result<Media, ApiError> {
    let source = source.ok_or_else(|| ApiError::params("source_info is missing"))?;
    match source.source.as_deref() {
        Some("FILE_UPLOAD") => {
            let missing = || ApiError::params("video_size, chunk_size and total_chunk_count are required");
            Plan::check(
                source.video_size.ok_or_else(missing)?,
                source.chunk_size.ok_or_else(missing)?,
                source.total_chunk_count.ok_or_else(missing)?,
                switches.chunk_band,
            )
            .map(Media::File)
            .map_err(|error| ApiError::params(error.message()))
        }
        Some("PULL_FROM_URL") => source
            .video_url
            .map(Media::Url)
            .ok_or_else(|| ApiError::params("video_url is missing")),
        _ => Err(ApiError::params("source is missing or unknown")),
    }
}

fn photo_media(source: Option<PhotoSource>) -> Result<(Media, usize), ApiError> {
    let source = source.ok_or_else(|| ApiError::params("source_info is missing"))?;
    if source.source.as_deref() != Some("PULL_FROM_URL") {
        return Err(ApiError::params("source must be PULL_FROM_URL"));
    }
    let photos = source.photo_images.unwrap_or_default();
    if photos.is_empty() || photos.len() > MAX_PHOTOS {
        return Err(ApiError::params("photo_images takes 1 to 35 URLs"));
    }
    let cover = source
        .photo_cover_index
        .and_then(|index| usize::try_from(index).ok())
        .filter(|index| *index < photos.len())
        .ok_or_else(|| ApiError::params("photo_cover_index is missing or out of range"))?;
    Ok((Media::Photos(photos), cover))
}

/// The account's and the app's limits, then the effect, under one lock.
fn begin(
    world: &Arc<World>,
    switches: &Switches,
    account: &Account,
    flow: Flow,
    media: &Media,
    wishes: Wishes,
) -> Outcome {
    world.tick();
    let now = world.clock.now();
    let mut state = world.state();
    match flow {
        Flow::Direct => checks::direct(&state, account, wishes.privacy, switches, now)?,
        Flow::Inbox => checks::draft(&state, account, switches, now)?,
    }
    for url in media.urls() {
        checks::owned_url(url, switches)?;
    }
    let publish_id = draw_publish_id(world, &state, flow, media);
    let (upload_id, upload_url) = match media {
        Media::File(plan) => {
            let (id, url) = open_upload(world, &mut state, &publish_id, *plan);
            (Some(id), Some(url))
        }
        Media::Url(_) | Media::Photos(_) => (None, None),
    };
    let pulls = upload_id.is_none();
    let number = state.posts.len() as u64;
    state.post_numbers.insert(publish_id.clone(), number);
    state.posts.insert(
        number,
        Post {
            publish_id: publish_id.clone(),
            open_id: account.open_id.clone(),
            flow,
            source: media.source(),
            wishes,
            created_at: now,
            phase: if pulls {
                Phase::Downloading
            } else {
                Phase::AwaitingUpload
            },
            urls: media.urls().to_vec(),
            upload_id,
            bytes: 0,
            sha256: Vec::new(),
            duration_sec: 0,
            published: Vec::new(),
            discarded: false,
            abort: Arc::default(),
        },
    );
    drop(state);
    world.progressed();
    if pulls {
        pull::start(world, publish_id.clone());
    }
    let mut data = json!({ "publish_id": publish_id });
    if let Some(url) = upload_url {
        data["upload_url"] = Value::from(url);
    }
    Ok(Some(data))
}

/// Prefixes as the reference pages print them.
fn draw_publish_id(world: &World, state: &WorldState, flow: Flow, media: &Media) -> String {
    let prefix = match (flow, media) {
        (Flow::Direct, Media::File(_)) => "v_pub_file~v2-1",
        (Flow::Direct, Media::Url(_)) => "v_pub_url~v2",
        (Flow::Inbox, Media::File(_)) => "v_inbox_file~v2",
        (Flow::Inbox, Media::Url(_)) => "v_inbox_url~v2",
        (_, Media::Photos(_)) => "p_pub_url~v2",
    };
    loop {
        let id = format!("{prefix}.{}", world.draw_number());
        if !state.post_numbers.contains_key(&id) {
            return id;
        }
    }
}

fn open_upload(world: &World, state: &mut WorldState, publish_id: &str, plan: Plan) -> (String, String) {
    let id = loop {
        let id = world.draw_number().to_string();
        if !state.uploads.contains_key(&id) {
            break id;
        }
    };
    let token = world.random.alphanumeric(40);
    let url = format!(
        "https://{}/video/?upload_id={id}&upload_token={token}",
        world.config.upload_host
    );
    let expires_at = world.clock.now() + TimeDelta::hours(1);
    state
        .uploads
        .insert(id.clone(), Upload::new(token, publish_id.to_owned(), plan, expires_at));
    (id, url)
}

impl Media {
    fn source(&self) -> Source {
        match self {
            Self::File(_) => Source::VideoFile,
            Self::Url(_) => Source::VideoUrl,
            Self::Photos(_) => Source::Photos,
        }
    }

    fn urls(&self) -> &[String] {
        match self {
            Self::File(_) => &[],
            Self::Url(url) => std::slice::from_ref(url),
            Self::Photos(urls) => urls,
        }
    }
}
