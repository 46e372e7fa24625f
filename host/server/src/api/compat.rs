//! The paths and bodies of the integration that users migrate from, for every provider. Each is a thin form over the
//! unified operation; new code should use that one.

use std::time::Duration;

use axum::{
    Extension, Json,
    body::Bytes,
    extract::{Query, State},
    http::HeaderMap,
    response::Response,
};
use axum_extra::extract::cookie::CookieJar;
use patchbay_app::{
    connect::Came,
    limits::Counted,
    model::{KeyScope, PostRecord, PostStatus},
    problem::{Problem, ProblemKind},
    publish::{self, WantedMedia, WantedPost},
};
use patchbay_core::{FieldIssue, PostId, PostKind, PostMode};
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep};
use utoipa::ToSchema;

use super::{
    auth::Caller,
    connect::{self, AuthorizeQuery, Success},
    extract::{Item, JsonBody, Named},
    posts::create::idempotency_key,
    problem::{ApiProblem, ApiResult, ProblemBody},
    request_id::RequestId,
    webhooks,
};
use crate::host::Host;

/// How long an upload waits for the platform's publish id, which the old form of the answer needs.
const PATIENCE: Duration = Duration::from_secs(15);

/// Starts a connect in a browser.
#[utoipa::path(get, path = "/api/auth/{provider}", tag = "compatible",
    params(("provider" = String, Path, description = "Name of the provider"), AuthorizeQuery),
    security((), ("api_key" = [])),
    responses(
        (status = 200, description = "A form, where the platform has no page of its own for this", content_type = "text/html"),
        (status = 303, description = "To the platform's page"),
        (status = 400, body = ProblemBody, content_type = "application/problem+json"),
        (status = 401, body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub async fn authorize(
    State(host): State<Host>,
    caller: Result<Caller, ApiProblem>,
    Named(registered): Named,
    Query(query): Query<AuthorizeQuery>,
    jar: CookieJar,
) -> ApiResult<Response> {
    connect::start(&host, caller, &registered, query, &jar).await
}

/// Ends a connect: stores the account, then redirects to `/platforms/connect?success=<provider>_connected`.
#[utoipa::path(get, path = "/api/auth/{provider}/callback", tag = "compatible",
    params(("provider" = String, Path, description = "Name of the provider")),
    security(()),
    responses(
        (status = 303, description = "To the result page"),
        (status = 400, body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub async fn callback(
    State(host): State<Host>,
    Named(registered): Named,
    Query(query): Query<Vec<(String, String)>>,
    jar: CookieJar,
) -> ApiResult<Response> {
    connect::finish(&host, &registered, query, Came::Sent, &jar).await
}

/// A video to be posted to the account that is connected.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(example = json!({
    "source": "PULL_FROM_URL",
    "videoUrl": "https://media.example.com/clip.mp4",
    "title": "Hello",
    "privacy_level": "SELF_ONLY",
}))]
pub struct Upload {
    /// `PULL_FROM_URL` or `FILE_UPLOAD`.
    #[schema(example = "PULL_FROM_URL")]
    pub source: Source,
    /// With `PULL_FROM_URL`: the public https URL.
    pub video_url: Option<String>,
    /// With `FILE_UPLOAD`: id of a file sent to `POST /api/media`.
    pub media_id: Option<String>,
    /// Title.
    pub title: Option<String>,
    /// `draft` delivers to the inbox.
    #[serde(default)]
    #[schema(value_type = String, default = "direct")]
    pub mode: PostMode,
    /// The platform's own options, such as `privacy_level`.
    #[serde(flatten)]
    #[schema(value_type = serde_json::Map<String, serde_json::Value>)]
    pub options: serde_json::Map<String, serde_json::Value>,
}

/// How the bytes reach the platform.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Source {
    /// The platform fetches a URL.
    PullFromUrl,
    /// We send a file.
    FileUpload,
}

/// An accepted video.
#[derive(Debug, Serialize, ToSchema)]
pub struct UploadBody {
    /// Always true.
    pub success: bool,
    /// The attempt.
    pub data: UploadData,
    /// The quota that it counts for.
    pub quota: UploadQuota,
}

/// The attempt.
#[derive(Debug, Serialize, ToSchema)]
pub struct UploadData {
    /// The platform's publish id; the post's own id if the platform has not given one yet. `status` takes both.
    pub publish_id: String,
    /// Always `PROCESSING_UPLOAD`.
    pub status: &'static str,
}

/// Use of a quota.
#[derive(Debug, Default, Serialize, ToSchema)]
pub struct UploadQuota {
    /// Places in use.
    pub used: u32,
    /// Places in all.
    pub limit: u32,
}

/// Posts a video to the account that is connected.
#[utoipa::path(post, path = "/api/{provider}/upload", tag = "compatible",
    params(("provider" = String, Path, description = "Name of the provider")),
    request_body = Upload,
    responses(
        (status = 200, body = UploadBody),
        (status = 401, body = ProblemBody, content_type = "application/problem+json"),
        (status = 403, body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, body = ProblemBody, content_type = "application/problem+json"),
        (status = 415, body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, body = ProblemBody, content_type = "application/problem+json"),
        (status = 502, body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub async fn upload(
    State(host): State<Host>,
    caller: Caller,
    Named(registered): Named,
    Extension(RequestId(request_id)): Extension<RequestId>,
    headers: HeaderMap,
    JsonBody(wanted): JsonBody<Upload>,
) -> ApiResult<Json<UploadBody>> {
    caller.may(KeyScope::Publish)?;
    let account = connect::current(&host, caller.tenant, &registered, None)
        .await?
        .ok_or_else(|| {
            Problem::new(
                ProblemKind::NotFound,
                format!("No account is connected. Open /api/auth/{} first.", registered.id()),
            )
        })?;
    let media = match (wanted.source, wanted.video_url, wanted.media_id) {
        (Source::PullFromUrl, Some(url), None) => WantedMedia::Url(url),
        (Source::FileUpload, None, Some(id)) => WantedMedia::Stored(super::extract::id(&id, "media file")?, None),
        (Source::PullFromUrl, ..) => return Err(missing("/videoUrl", "Give `videoUrl`, and no `mediaId`.").into()),
        (Source::FileUpload, ..) => {
            let message = "Send the file to POST /api/media first, then give its id as `mediaId`.";
            return Err(missing("/mediaId", message).into());
        }
    };
    let wanted = WantedPost {
        account: account.id,
        kind: PostKind::Video,
        mode: wanted.mode,
        title: wanted.title,
        text: None,
        media: vec![media],
        options: wanted.options,
        scheduled_at: None,
        draft: false,
        // As it always was on this path.
        allow_duplicate: true,
        consent: None,
    };
    let key = idempotency_key(&host, &headers)?;
    let submitted = publish::submit(
        &host.app,
        caller.tenant,
        Some(registered.id()),
        wanted,
        key,
        &request_id,
    )
    .await?;
    let quota = submitted
        .limits
        .iter()
        .find(|limit| limit.counted == Counted::Posts(submitted.post.content.mode))
        .map(|quota| UploadQuota {
            used: quota.used,
            limit: quota.limit,
        });
    let publish_id = publish_id(&host, submitted.post).await?;
    Ok(Json(UploadBody {
        success: true,
        data: UploadData {
            publish_id,
            status: "PROCESSING_UPLOAD",
        },
        quota: quota.unwrap_or_default(),
    }))
}

fn missing(pointer: &str, message: &str) -> Problem {
    Problem::invalid(vec![FieldIssue::new(pointer, "required", message)])
}

/// Waits for the platform's id of the attempt.
async fn publish_id(host: &Host, mut post: PostRecord) -> Result<String, Problem> {
    let until = Instant::now() + PATIENCE;
    let mut pause = Duration::from_millis(20);
    loop {
        if let Some(remote_ref) = post.remote_ref {
            return Ok(remote_ref);
        }
        if let (PostStatus::Failed, Some(failure)) = (post.status, post.failure) {
            let mut problem = Problem::new(ProblemKind::RejectedByProvider, failure.advice);
            problem.provider_code = Some(failure.code);
            problem.who = Some(failure.who_acts);
            return Err(problem);
        }
        if Instant::now() >= until {
            return Ok(post.id.to_string());
        }
        sleep(pause).await;
        pause = (pause * 2).min(Duration::from_millis(500));
        post = host
            .app
            .store
            .post(post.tenant, post.id)
            .await?
            .ok_or_else(|| Problem::not_found("post"))?;
    }
}

/// State of an attempt.
#[derive(Debug, Serialize, ToSchema)]
pub struct AttemptBody {
    /// Always true.
    pub success: bool,
    /// The attempt.
    pub data: AttemptData,
}

/// State of an attempt.
#[derive(Debug, Serialize, ToSchema)]
pub struct AttemptData {
    /// As asked for.
    pub publish_id: String,
    /// `PROCESSING_UPLOAD`, `PROCESSING_DOWNLOAD`, `SEND_TO_USER_INBOX`, `PUBLISH_COMPLETE` or `FAILED`.
    pub status: &'static str,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fail_reason: Option<String>,
    /// More.
    pub metadata: AttemptMetadata,
}

/// More of an attempt.
#[derive(Debug, Serialize, ToSchema)]
pub struct AttemptMetadata {
    /// Public ids, as text (spelled as in the integration that users migrate from).
    pub publicaly_available_post_id: Vec<String>,
}

/// Tells the state of an attempt by its publish id.
#[utoipa::path(get, path = "/api/{provider}/status/{publish_id}", tag = "compatible",
    params(("provider" = String, Path, description = "Name of the provider"), ("publish_id" = String, Path, description = "From `upload`")),
    responses(
        (status = 200, body = AttemptBody),
        (status = 401, body = ProblemBody, content_type = "application/problem+json"),
        (status = 403, body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub async fn status(
    State(host): State<Host>,
    caller: Caller,
    Named(registered): Named,
    Item(publish_id): Item,
) -> ApiResult<Json<AttemptBody>> {
    caller.may(KeyScope::Read)?;
    let post = match publish_id.parse::<PostId>() {
        Ok(id) => host.app.store.post(caller.tenant, id).await?,
        Err(_) if publish_id.len() <= 256 => {
            host.app
                .store
                .post_by_ref(caller.tenant, registered.id(), &publish_id)
                .await?
        }
        Err(_) => None,
    };
    let post = post
        .filter(|post| post.provider == *registered.id())
        .ok_or_else(|| Problem::not_found("publish id"))?;
    let pulled = post.content.media.iter().any(|media| media.origin.is_fetched());
    let status = match post.status {
        PostStatus::Draft | PostStatus::Queued | PostStatus::Publishing | PostStatus::Unconfirmed => {
            if pulled {
                "PROCESSING_DOWNLOAD"
            } else {
                "PROCESSING_UPLOAD"
            }
        }
        PostStatus::Delivered => "SEND_TO_USER_INBOX",
        PostStatus::Published => "PUBLISH_COMPLETE",
        PostStatus::Failed | PostStatus::Cancelled => "FAILED",
    };
    let failed = status == "FAILED";
    Ok(Json(AttemptBody {
        success: true,
        data: AttemptData {
            publish_id,
            status,
            fail_reason: post.failure.filter(|_| failed).map(|failure| failure.code),
            metadata: AttemptMetadata {
                publicaly_available_post_id: post.publication.remote_ids,
            },
        },
    }))
}

/// Receives a webhook.
#[utoipa::path(post, path = "/api/webhooks/{provider}", tag = "compatible",
    params(("provider" = String, Path, description = "Name of the provider")),
    security(()),
    request_body(content = serde_json::Value, description = "As the platform sends it",
        example = json!({ "event": "authorization.removed", "user_openid": "…" })),
    responses(
        (status = 200, body = Success),
        (status = 401, body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, body = ProblemBody, content_type = "application/problem+json"),
        (status = 413, body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub async fn webhook(
    State(host): State<Host>,
    Named(registered): Named,
    Extension(RequestId(request_id)): Extension<RequestId>,
    headers: HeaderMap,
    body: Bytes,
) -> ApiResult<Json<Success>> {
    webhooks::accept(&host, &registered, &request_id, &headers, &body).await
}
