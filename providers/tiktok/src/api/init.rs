//! The three calls that begin a post: direct video, inbox (draft) video, and content (photos).

use patchbay_core::{
    Body, HttpRequest, HttpResponse, MediaOrigin, Post, PostMedia, PostMode, ProviderError, SecretRef,
};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{api_url, is_opaque_id, read, read_commit, unsure};
use crate::{chunk::Plan, error, manifest::op};

/// Begins the upload of a file.
pub(crate) fn video_file(post: &Post, plan: &Plan) -> HttpRequest {
    let op = match post.mode {
        PostMode::Direct => op::VIDEO_INIT,
        PostMode::Draft => op::INBOX_INIT,
    };
    let source = json!({
        "source": "FILE_UPLOAD",
        "video_size": plan.size,
        "chunk_size": plan.chunk_size,
        "total_chunk_count": plan.count,
    });
    video(op, post, &source)
}

/// Has TikTok fetch a video.
pub(crate) fn video_pull(post: &Post, media: &PostMedia) -> HttpRequest {
    let op = match post.mode {
        PostMode::Direct => op::VIDEO_INIT_PULL,
        PostMode::Draft => op::INBOX_INIT_PULL,
    };
    let source = json!({ "source": "PULL_FROM_URL", "video_url": url_of(media) });
    with_hosted(video(op, post, &source), "/source_info/video_url", media)
}

/// Has TikTok fetch photos.
pub(crate) fn photos(post: &Post) -> HttpRequest {
    let mut info = Map::new();
    set_text(&mut info, "title", post.title.as_deref());
    set_text(&mut info, "description", post.text.as_deref());
    let (op, mode) = match post.mode {
        PostMode::Direct => (op::PHOTO_INIT, "DIRECT_POST"),
        PostMode::Draft => (op::PHOTO_INIT_DRAFT, "MEDIA_UPLOAD"),
    };
    if post.mode == PostMode::Direct {
        set_options(&mut info, post, &["privacy_level", "disable_comment", "auto_add_music"]);
        set_brand(&mut info, post);
    }
    let body = json!({
        "media_type": "PHOTO",
        "post_mode": mode,
        "post_info": info,
        "source_info": {
            "source": "PULL_FROM_URL",
            "photo_images": post.media.iter().map(url_of).collect::<Vec<_>>(),
            // The table says that it is required.
            "photo_cover_index": post.options.get("photo_cover_index").cloned().unwrap_or_else(|| json!(0)),
        },
    });
    let mut request = send(op, "/v2/post/publish/content/init/", body);
    for (index, media) in post.media.iter().enumerate() {
        request = with_hosted(request, &format!("/source_info/photo_images/{index}"), media);
    }
    request
}

/// The URL of a file, if it is no secret of the host's.
fn url_of(media: &PostMedia) -> &str {
    match &media.origin {
        MediaOrigin::Url(url) => url.as_str(),
        MediaOrigin::Stored | MediaOrigin::Hosted => "",
    }
}

fn with_hosted(request: HttpRequest, pointer: &str, media: &PostMedia) -> HttpRequest {
    match media.origin {
        MediaOrigin::Hosted => request.with_media_url(pointer, media.id),
        MediaOrigin::Stored | MediaOrigin::Url(_) => request,
    }
}

/// What an upload goes on with.
#[derive(Debug)]
pub(crate) struct FileInit {
    pub publish_id: String,
    pub upload_url: SecretRef,
}

/// Reads the answer to [`video_file`].
pub(crate) fn parse_file(op: &str, response: &HttpResponse) -> Result<FileInit, ProviderError> {
    let data: FileData = read(op, response)?;
    check_publish_id(op, data.publish_id).map(|publish_id| FileInit {
        publish_id,
        upload_url: data.upload_url,
    })
}

/// Reads the answer to [`video_pull`] or [`photos`]: the publish id.
pub(crate) fn parse_pull(op: &str, response: &HttpResponse) -> Result<String, ProviderError> {
    let data: PullData = read_commit(op, response)?;
    // TikTok has said ok: an id that cannot be used leaves a post that cannot be followed.
    check_publish_id(op, data.publish_id).map_err(unsure)
}

fn video(op: &'static str, post: &Post, source: &Value) -> HttpRequest {
    let mut info = Map::new();
    set_text(&mut info, "title", post.title.as_deref().or(post.text.as_deref()));
    let path = match post.mode {
        PostMode::Direct => {
            set_options(
                &mut info,
                post,
                &[
                    "privacy_level",
                    "disable_comment",
                    "disable_duet",
                    "disable_stitch",
                    "is_aigc",
                    // Belongs here; in `source_info` it has no effect.
                    "video_cover_timestamp_ms",
                ],
            );
            set_brand(&mut info, post);
            "/v2/post/publish/video/init/"
        }
        PostMode::Draft => "/v2/post/publish/inbox/video/init/",
    };
    let mut body = json!({ "source_info": source });
    // Not documented for drafts, and sent by other clients without harm; so it goes along only with a caption in it.
    if !info.is_empty() {
        body["post_info"] = Value::Object(info);
    }
    send(op, path, body)
}

fn send(op: &'static str, path: &str, body: Value) -> HttpRequest {
    HttpRequest::new(op, api_url(path))
        .as_account()
        .with_body(Body::Json(body))
}

fn set_text(info: &mut Map<String, Value>, name: &str, text: Option<&str>) {
    if let Some(text) = text.filter(|text| !text.is_empty()) {
        info.insert(name.to_owned(), text.into());
    }
}

fn set_options(info: &mut Map<String, Value>, post: &Post, names: &[&str]) {
    for name in names {
        if let Some(value) = post.options.get(*name) {
            info.insert((*name).to_owned(), value.clone());
        }
    }
}

/// The tables call both toggles required, the examples leave them out: both are always sent.
fn set_brand(info: &mut Map<String, Value>, post: &Post) {
    for name in ["brand_content_toggle", "brand_organic_toggle"] {
        let value = post.options.get(name).cloned().unwrap_or(Value::Bool(false));
        info.insert(name.to_owned(), value);
    }
}

fn check_publish_id(op: &str, id: String) -> Result<String, ProviderError> {
    if is_opaque_id(&id) {
        Ok(id)
    } else {
        Err(error::unexpected(op, "has a publish_id that cannot be one"))
    }
}

#[derive(Deserialize)]
struct FileData {
    publish_id: String,
    upload_url: SecretRef,
}

#[derive(Deserialize)]
struct PullData {
    publish_id: String,
}
