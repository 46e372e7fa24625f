//! Media files that are fetched by their URL. A finished import is a media file, under the same id.

use axum::{
    Extension, Json,
    extract::{Path, State},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
};
use chrono::{DateTime, Utc};
use patchbay_app::{
    media::import::{self, Import, WantedImport},
    model::{ImportFailure, KeyScope, Upload},
};
use patchbay_core::MediaId;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    auth::Caller,
    extract::{JsonBody, id},
    media::MediaBody,
    posts::create::{idempotency_key, tell},
    problem::{ApiResult, ProblemBody},
    request_id::RequestId,
};
use crate::host::Host;

/// A media file to be fetched.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "url": "https://media.example.com/clips/sunrise.mp4", "name": "sunrise.mp4" }))]
pub struct NewImportBody {
    /// An https URL of a public host, on port 443 or 8443. It is fetched without credentials, and may lead on to others five
    /// times.
    #[schema(example = "https://media.example.com/clips/sunrise.mp4", max_length = 4096)]
    pub url: String,
    /// A label for people. Never used as a file name.
    #[serde(default)]
    #[schema(example = "sunrise.mp4", max_length = 255)]
    pub name: Option<String>,
}

/// Where an import stands.
#[derive(Debug, Serialize, ToSchema)]
pub struct ImportBody {
    /// Id, also of the media file that it becomes.
    #[schema(example = "med_0199f0a2b3c47d8e9f00112233445566")]
    pub id: String,
    /// `importing`, `imported` or `failed`.
    #[schema(example = "importing")]
    pub status: &'static str,
    /// What you called it.
    pub name: Option<String>,
    /// Bytes that are there.
    #[schema(example = 8_388_608)]
    pub bytes_done: u64,
    /// Bytes of the whole, if they are known.
    #[schema(example = 20_971_520)]
    pub bytes_total: Option<u64>,
    /// Why it has failed.
    pub failure: Option<ImportFailureBody>,
    /// The media file, when all of it is there.
    pub media: Option<MediaBody>,
    /// When it was begun, or the file came.
    pub created_at: DateTime<Utc>,
    /// It is deleted after this time.
    pub expires_at: DateTime<Utc>,
}

/// Why an import has failed.
#[derive(Debug, Serialize, ToSchema)]
pub struct ImportFailureBody {
    /// `url_not_allowed`, `unreachable`, `no_answer`, `broke_off`, `http_status`, `too_many_redirects`, `too_large`,
    /// `storage_full`, `empty`, `not_media`, `source_changed`, `too_late`, `storage_unavailable` or `internal`.
    #[schema(example = "http_status")]
    pub code: &'static str,
    /// The status that the server answered with, if it is that.
    #[schema(example = 404)]
    pub http_status: Option<u16>,
    /// What is wrong and what to do, in a fixed sentence.
    pub advice: &'static str,
}

impl From<ImportFailure> for ImportFailureBody {
    fn from(failure: ImportFailure) -> Self {
        Self {
            code: failure.code(),
            http_status: failure.status(),
            advice: failure.advice(),
        }
    }
}

impl From<Import> for ImportBody {
    fn from(import: Import) -> Self {
        match import {
            Import::Upload(upload) => {
                let Upload {
                    id,
                    label,
                    progress,
                    seen,
                    failure,
                    created_at,
                    expires_at,
                    ..
                } = *upload;
                Self {
                    id: id.to_string(),
                    status: if failure.is_some() { "failed" } else { "importing" },
                    name: label,
                    bytes_done: progress.offset,
                    bytes_total: seen.total,
                    failure: failure.map(ImportFailureBody::from),
                    media: None,
                    created_at,
                    expires_at,
                }
            }
            Import::Media(media) => {
                let size = media.info.size_bytes;
                Self {
                    id: media.id.to_string(),
                    status: "imported",
                    name: media.label.clone(),
                    bytes_done: size.unwrap_or_default(),
                    bytes_total: size,
                    failure: None,
                    created_at: media.created_at,
                    expires_at: media.expires_at,
                    media: Some((*media).into()),
                }
            }
        }
    }
}

/// Fetches a media file by its URL, in the background. Ask for it with `GET`, or wait for the event `media.imported` or
/// `media.import_failed`. What broke off goes on where it was if the server tells a strong `ETag` and takes `Range`; faults that
/// pass are tried again for about half an hour.
#[utoipa::path(post, path = "/api/media/imports", tag = "media",
    params(("Idempotency-Key" = Option<String>, Header, description =
        "1 to 255 visible ASCII characters. The same key with the same body gives the same import, as long as it or its file is \
         kept")),
    request_body = NewImportBody,
    responses(
        (status = 202, body = ImportBody, headers(
            ("Location" = String, description = "Path of the import"),
            ("Idempotency-Key" = String, description = "The key of this request"),
            ("Idempotency-Replayed" = bool, description = "true: this is the answer to an earlier request"))),
        (status = 400, body = ProblemBody, content_type = "application/problem+json"),
        (status = 401, body = ProblemBody, content_type = "application/problem+json"),
        (status = 403, body = ProblemBody, content_type = "application/problem+json"),
        (status = 413, body = ProblemBody, content_type = "application/problem+json"),
        (status = 415, body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, body = ProblemBody, content_type = "application/problem+json"),
        (status = 429, body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, body = ProblemBody, content_type = "application/problem+json"),
        (status = 507, body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub async fn create_import(
    State(host): State<Host>,
    caller: Caller,
    Extension(RequestId(request_id)): Extension<RequestId>,
    headers: HeaderMap,
    JsonBody(wanted): JsonBody<NewImportBody>,
) -> ApiResult<Response> {
    caller.may(KeyScope::Publish)?;
    let key = idempotency_key(&host, &headers)?;
    let wanted = WantedImport {
        url: wanted.url,
        label: wanted.name,
    };
    let (import, replayed) = import::begin(&host.app, caller.tenant, wanted, key.clone(), &request_id).await?;
    let body = ImportBody::from(import);
    let location = format!("/api/media/imports/{}", body.id);
    let mut response = (StatusCode::ACCEPTED, Json(body)).into_response();
    tell(
        &[("idempotency-key", &key), ("location", &location)],
        replayed,
        &mut response,
    );
    Ok(response)
}

/// Shows where an import stands.
#[utoipa::path(get, path = "/api/media/imports/{id}", tag = "media",
    params(("id" = String, Path, description = "Id of the import")),
    responses(
        (status = 200, body = ImportBody),
        (status = 401, body = ProblemBody, content_type = "application/problem+json"),
        (status = 403, body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub async fn show_import(
    State(host): State<Host>,
    caller: Caller,
    Path(import): Path<String>,
) -> ApiResult<Json<ImportBody>> {
    caller.may(KeyScope::Read)?;
    let id: MediaId = id(&import, "import")?;
    Ok(Json(import::find(&host.app, caller.tenant, id).await?.into()))
}

/// Calls an import off and deletes what has come, or forgets one that has failed. A finished one is a media file, and expires.
#[utoipa::path(delete, path = "/api/media/imports/{id}", tag = "media",
    params(("id" = String, Path, description = "Id of the import")),
    responses(
        (status = 204, description = "It is gone"),
        (status = 401, body = ProblemBody, content_type = "application/problem+json"),
        (status = 403, body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub async fn cancel_import(
    State(host): State<Host>,
    caller: Caller,
    Path(import): Path<String>,
) -> ApiResult<StatusCode> {
    caller.may(KeyScope::Publish)?;
    import::cancel(&host.app, caller.tenant, id(&import, "import")?).await?;
    Ok(StatusCode::NO_CONTENT)
}
