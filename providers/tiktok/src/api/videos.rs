//! Display API: counters of published videos.

use chrono::DateTime;
use patchbay_core::{Body, HttpRequest, HttpResponse, Metric, PostMetrics, ProviderError};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{api_url, exact_id, https, read};
use crate::manifest::op;

/// Most ids of one call.
pub(crate) const MAX_IDS: usize = 20;

pub(crate) fn request(ids: &[&str]) -> HttpRequest {
    HttpRequest::new(op::VIDEO_QUERY, api_url("/v2/video/query/"))
        .as_account()
        .with_query(
            "fields",
            "id,create_time,share_url,view_count,like_count,comment_count,share_count",
        )
        .with_body(Body::Json(json!({ "filters": { "video_ids": ids } })))
}

/// Reads the answer. Videos that TikTok does not know are absent.
pub(crate) fn parse(response: &HttpResponse) -> Result<Vec<PostMetrics>, ProviderError> {
    let data: Data = read(op::VIDEO_QUERY, response)?;
    Ok(data
        .videos
        .unwrap_or_default()
        .into_iter()
        .filter_map(metrics)
        .collect())
}

fn metrics(video: Video) -> Option<PostMetrics> {
    let told = [
        (Metric::Views, video.view_count),
        (Metric::Likes, video.like_count),
        (Metric::Comments, video.comment_count),
        (Metric::Shares, video.share_count),
    ];
    Some(PostMetrics {
        url: https(video.share_url),
        // Seconds here; the cursor of the list call is in milliseconds.
        created_at: video
            .create_time
            .and_then(|seconds| DateTime::from_timestamp(seconds, 0)),
        ..PostMetrics::of(exact_id(&video.id)?, told)
    })
}

#[derive(Deserialize)]
struct Data {
    videos: Option<Vec<Video>>,
}

#[derive(Deserialize)]
struct Video {
    #[serde(default)]
    id: Value,
    create_time: Option<i64>,
    share_url: Option<String>,
    view_count: Option<u64>,
    like_count: Option<u64>,
    comment_count: Option<u64>,
    share_count: Option<u64>,
}
