//! Resumable uploads: tus 1.0 (<https://tus.io/protocols/resumable-upload>) with creation, creation with upload,
//! termination, checksum and expiration. A finished upload is a media file, under the same id.

use axum::{
    Json,
    body::Body,
    extract::{Path, Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use chrono::{DateTime, Utc};
use patchbay_app::{
    media::{self, Algorithm, Checksum, Standing, Wanted},
    model::KeyScope,
    problem::{Problem, ProblemKind},
};
use patchbay_core::MediaId;

use super::{
    auth::Caller,
    extract::id,
    media::{FileBytes, MediaBody, declared, stream},
    problem::{ApiResult, ProblemBody},
};
use crate::host::Host;

/// The version of tus.
const VERSION: &str = "1.0.0";
const EXTENSIONS: &str = "creation,creation-with-upload,termination,checksum,expiration";
/// Type of a piece.
const PIECE: &str = "application/offset+octet-stream";
/// Longest `Upload-Metadata`.
const MAX_METADATA: usize = 4 * 1024;

/// Headers of tus.
const TUS_RESUMABLE: HeaderName = HeaderName::from_static("tus-resumable");
const TUS_VERSION: HeaderName = HeaderName::from_static("tus-version");
const TUS_EXTENSION: HeaderName = HeaderName::from_static("tus-extension");
const TUS_MAX_SIZE: HeaderName = HeaderName::from_static("tus-max-size");
const TUS_CHECKSUM_ALGORITHM: HeaderName = HeaderName::from_static("tus-checksum-algorithm");
const UPLOAD_OFFSET: HeaderName = HeaderName::from_static("upload-offset");
const UPLOAD_LENGTH: HeaderName = HeaderName::from_static("upload-length");
const UPLOAD_METADATA: HeaderName = HeaderName::from_static("upload-metadata");
const UPLOAD_EXPIRES: HeaderName = HeaderName::from_static("upload-expires");
const UPLOAD_CHECKSUM: HeaderName = HeaderName::from_static("upload-checksum");
const UPLOAD_DEFER_LENGTH: HeaderName = HeaderName::from_static("upload-defer-length");
const UPLOAD_CONCAT: HeaderName = HeaderName::from_static("upload-concat");
const METHOD_OVERRIDE: HeaderName = HeaderName::from_static("x-http-method-override");
/// Headers that problems keep.
pub(super) const KEPT: [HeaderName; 5] = [
    TUS_RESUMABLE,
    TUS_VERSION,
    header::VARY,
    header::ACCESS_CONTROL_ALLOW_ORIGIN,
    header::ACCESS_CONTROL_EXPOSE_HEADERS,
];
/// Id of the media file that an upload becomes.
const MEDIA_ID: HeaderName = HeaderName::from_static("patchbay-media-id");

/// Methods and headers that pages of other origins may use, and headers that they may read.
const METHODS: &str = "POST, HEAD, PATCH, PUT, DELETE";
const SENT: &str = "authorization, content-type, tus-resumable, upload-length, upload-offset, upload-metadata, \
                    upload-checksum, x-http-method-override, x-request-id";
const READ: &str = "location, patchbay-media-id, retry-after, tus-checksum-algorithm, tus-extension, tus-max-size, \
                    tus-resumable, tus-version, upload-expires, upload-length, upload-metadata, upload-offset, x-request-id";

/// Says which version of tus is spoken, in every answer of these paths, and lets pages of origins that the operator has named
/// read it (CORS).
pub async fn speak(State(host): State<Host>, request: Request, next: Next) -> Response {
    let named = &host.config.server.upload_origins;
    let origin = request.headers().get(header::ORIGIN).cloned();
    let origin = origin.filter(|origin| named.iter().any(|named| origin == named));
    let asks =
        *request.method() == Method::OPTIONS && request.headers().contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
    let mut response = if asks && origin.is_some() {
        let mut response = StatusCode::NO_CONTENT.into_response();
        let headers = response.headers_mut();
        headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static(METHODS));
        headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static(SENT));
        headers.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
        response
    } else {
        next.run(request).await
    };
    let version = HeaderValue::from_static(VERSION);
    let headers = response.headers_mut();
    headers.insert(TUS_RESUMABLE, version.clone());
    headers.insert(TUS_VERSION, version);
    headers.insert(header::VARY, HeaderValue::from_static("Origin"));
    if let Some(origin) = origin {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(READ));
    }
    response
}

/// Tells what of tus is spoken here.
#[utoipa::path(options, path = "/api/media/uploads", tag = "media", security(()),
    responses((status = 204, description = "In its headers: version, extensions, largest upload, checksums", headers(
        ("Tus-Resumable" = String, description = "Version of tus"),
        ("Tus-Version" = String, description = "Versions of tus that are spoken"),
        ("Tus-Extension" = String, description = "Extensions that are spoken"),
        ("Tus-Max-Size" = u64, description = "Bytes of the largest upload"),
        ("Tus-Checksum-Algorithm" = String, description = "Algorithms of `Upload-Checksum`")))))]
pub async fn capabilities(State(host): State<Host>) -> (StatusCode, HeaderMap) {
    let mut headers = HeaderMap::new();
    headers.insert(TUS_EXTENSION, HeaderValue::from_static(EXTENSIONS));
    headers.insert(TUS_MAX_SIZE, host.app.media_limits.max_bytes.into());
    let algorithms = Algorithm::ALL.map(Algorithm::as_str).join(",");
    if let Ok(algorithms) = HeaderValue::try_from(algorithms) {
        headers.insert(TUS_CHECKSUM_ALGORITHM, algorithms);
    }
    (StatusCode::NO_CONTENT, headers)
}

/// Begins a resumable upload, by tus 1.0: tus-js-client, Uppy and other clients of that protocol work with this URL as their
/// endpoint. The bytes may come with this request, or later with `PATCH`. When all are there, the upload is a media file.
#[utoipa::path(post, path = "/api/media/uploads", tag = "media",
    params(
        ("Tus-Resumable" = String, Header, description = "Version of tus: `1.0.0`"),
        ("Upload-Length" = u64, Header, description = "Bytes of the whole file"),
        ("Upload-Metadata" = Option<String>, Header,
            description = "Pairs of a key and a value in base64, between commas. `filename` (or `name`) becomes the file's label"),
        ("Upload-Checksum" = Option<String>, Header,
            description = "Of the bytes in this request: `sha1` or `sha256`, a space, and the checksum in base64"),
    ),
    request_body(content = FileBytes, content_type = "application/offset+octet-stream",
        description = "The first bytes of the file, or nothing"),
    responses(
        (status = 201, description = "It is begun", headers(
            ("Location" = String, description = "Path of the upload"),
            ("Upload-Offset" = u64, description = "Bytes that are there"),
            ("Upload-Expires" = String, description = "When it is given up if nothing comes until then"),
            ("Patchbay-Media-Id" = String, description = "Id of the media file that it becomes"),
            ("Tus-Resumable" = String, description = "Version of tus"))),
        (status = 400, body = ProblemBody, content_type = "application/problem+json"),
        (status = 401, body = ProblemBody, content_type = "application/problem+json"),
        (status = 403, body = ProblemBody, content_type = "application/problem+json"),
        (status = 412, body = ProblemBody, content_type = "application/problem+json"),
        (status = 413, body = ProblemBody, content_type = "application/problem+json"),
        (status = 415, body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, body = ProblemBody, content_type = "application/problem+json"),
        (status = 429, body = ProblemBody, content_type = "application/problem+json"),
        (status = 460, body = ProblemBody, content_type = "application/problem+json"),
        (status = 507, body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub async fn begin(
    State(host): State<Host>,
    caller: Caller,
    headers: HeaderMap,
    body: Body,
) -> ApiResult<(StatusCode, HeaderMap)> {
    caller.may(KeyScope::Publish)?;
    check_version(&headers)?;
    let size = begun_size(&headers)?;
    let metadata = text(&headers, &UPLOAD_METADATA)?;
    let wanted = Wanted {
        label: metadata.map(label).transpose()?.flatten(),
        metadata: metadata.filter(|text| !text.is_empty()).map(str::to_owned),
    };
    let first = headers.get(header::CONTENT_TYPE).is_some_and(|value| value == PIECE);
    if first {
        check_room(&headers, 0, size)?;
    }
    let checksum = checksum(&headers)?;
    let upload = media::begin(&host.app, caller.tenant, wanted, size).await?;
    let id = upload.id;
    let standing = if first {
        match media::append(&host.app, caller.tenant, id, 0, stream(body), checksum).await {
            Ok(standing) => standing,
            Err(problem) => {
                // Nobody has been told where it is.
                let _ = media::terminate(&host.app, caller.tenant, id).await;
                return Err(problem.into());
            }
        }
    } else {
        upload.into()
    };
    let mut headers = headers_of(id, &standing);
    // Without a host, so that it is right behind every proxy.
    if let Ok(place) = HeaderValue::try_from(format!("/api/media/uploads/{id}")) {
        headers.insert(header::LOCATION, place);
    }
    Ok((StatusCode::CREATED, headers))
}

/// Tells how many bytes of an upload are there: after a cut, go on from `Upload-Offset`. A finished upload has all.
#[utoipa::path(head, path = "/api/media/uploads/{id}", tag = "media",
    params(
        ("id" = String, Path, description = "Id of the upload, from its URL"),
        ("Tus-Resumable" = String, Header, description = "Version of tus: `1.0.0`"),
    ),
    responses(
        (status = 200, description = "Where it stands", headers(
            ("Upload-Offset" = u64, description = "Bytes that are there"),
            ("Upload-Length" = u64, description = "Bytes of the whole file"),
            ("Upload-Metadata" = String, description = "As it was given"),
            ("Upload-Expires" = String, description = "When it is given up if nothing comes until then"),
            ("Patchbay-Media-Id" = String, description = "Id of the media file that it becomes"),
            ("Tus-Resumable" = String, description = "Version of tus"))),
        (status = 401, body = ProblemBody, content_type = "application/problem+json"),
        (status = 403, body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, body = ProblemBody, content_type = "application/problem+json"),
        (status = 412, body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, body = ProblemBody, content_type = "application/problem+json"),
        (status = 423, body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub async fn look(
    State(host): State<Host>,
    caller: Caller,
    Path(upload): Path<String>,
    headers: HeaderMap,
) -> ApiResult<(StatusCode, HeaderMap)> {
    caller.may(KeyScope::Publish)?;
    check_version(&headers)?;
    let id: MediaId = id(&upload, "upload")?;
    let standing = media::standing(&host.app, caller.tenant, id).await?;
    let mut headers = headers_of(id, &standing);
    headers.insert(UPLOAD_LENGTH, standing.size.into());
    if let Some(Ok(metadata)) = standing.metadata.map(HeaderValue::try_from) {
        headers.insert(UPLOAD_METADATA, metadata);
    }
    Ok((StatusCode::OK, headers))
}

/// Sends the next bytes of an upload, as many as you like. If the request breaks off, what came is kept; with a checksum,
/// nothing.
#[utoipa::path(patch, path = "/api/media/uploads/{id}", tag = "media",
    params(
        ("id" = String, Path, description = "Id of the upload, from its URL"),
        ("Tus-Resumable" = String, Header, description = "Version of tus: `1.0.0`"),
        ("Upload-Offset" = u64, Header, description = "First byte: as many as are there"),
        ("Upload-Checksum" = Option<String>, Header,
            description = "Of these bytes: `sha1` or `sha256`, a space, and the checksum in base64"),
    ),
    request_body(content = FileBytes, content_type = "application/offset+octet-stream", description = "Bytes of the file"),
    responses(
        (status = 204, description = "They are kept. With the last of them, the upload is a media file", headers(
            ("Upload-Offset" = u64, description = "Bytes that are there"),
            ("Upload-Expires" = String, description = "When it is given up if nothing comes until then"),
            ("Patchbay-Media-Id" = String, description = "Id of the media file that it becomes"),
            ("Tus-Resumable" = String, description = "Version of tus"))),
        (status = 400, body = ProblemBody, content_type = "application/problem+json"),
        (status = 401, body = ProblemBody, content_type = "application/problem+json"),
        (status = 403, body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, body = ProblemBody, content_type = "application/problem+json"),
        (status = 412, body = ProblemBody, content_type = "application/problem+json"),
        (status = 413, body = ProblemBody, content_type = "application/problem+json"),
        (status = 415, body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, body = ProblemBody, content_type = "application/problem+json"),
        (status = 423, body = ProblemBody, content_type = "application/problem+json"),
        (status = 460, body = ProblemBody, content_type = "application/problem+json"),
        (status = 507, body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub async fn send(
    State(host): State<Host>,
    caller: Caller,
    Path(upload): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> ApiResult<(StatusCode, HeaderMap)> {
    caller.may(KeyScope::Publish)?;
    check_version(&headers)?;
    if headers.get(header::CONTENT_TYPE).is_none_or(|value| value != PIECE) {
        let detail = format!("Send Content-Type: {PIECE}.");
        return Err(Problem::new(ProblemKind::UnsupportedMediaType, detail).into());
    }
    let offset =
        number(&headers, &UPLOAD_OFFSET)?.ok_or_else(|| bad("Send `Upload-Offset`: the first byte's place."))?;
    let checksum = checksum(&headers)?;
    let id: MediaId = id(&upload, "upload")?;
    if let Some(upload) = host.app.store.upload(caller.tenant, id).await? {
        check_room(&headers, offset, upload.size)?;
    }
    let standing = media::append(&host.app, caller.tenant, id, offset, stream(body), checksum).await?;
    Ok((StatusCode::NO_CONTENT, headers_of(id, &standing)))
}

/// Sends all bytes of an upload in one request, without anything of tus. If it breaks off, go on with `PATCH`.
#[utoipa::path(put, path = "/api/media/uploads/{id}", tag = "media",
    params(("id" = String, Path, description = "Id of the upload, from its URL")),
    request_body(content = FileBytes, content_type = "application/octet-stream", description = "The file's bytes"),
    responses(
        (status = 201, body = MediaBody),
        (status = 400, body = ProblemBody, content_type = "application/problem+json"),
        (status = 401, body = ProblemBody, content_type = "application/problem+json"),
        (status = 403, body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, body = ProblemBody, content_type = "application/problem+json"),
        (status = 413, body = ProblemBody, content_type = "application/problem+json"),
        (status = 415, body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, body = ProblemBody, content_type = "application/problem+json"),
        (status = 423, body = ProblemBody, content_type = "application/problem+json"),
        (status = 507, body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub async fn put(
    State(host): State<Host>,
    caller: Caller,
    Path(upload): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> ApiResult<(StatusCode, Json<MediaBody>)> {
    caller.may(KeyScope::Publish)?;
    let id: MediaId = id(&upload, "upload")?;
    if let Some(upload) = host.app.store.upload(caller.tenant, id).await? {
        check_room(&headers, 0, upload.size)?;
    }
    let media = media::put(&host.app, caller.tenant, id, stream(body)).await?;
    Ok((StatusCode::CREATED, Json(media.into())))
}

/// Deletes an unfinished upload with its bytes. A finished one is a media file, and expires.
#[utoipa::path(delete, path = "/api/media/uploads/{id}", tag = "media",
    params(
        ("id" = String, Path, description = "Id of the upload, from its URL"),
        ("Tus-Resumable" = String, Header, description = "Version of tus: `1.0.0`"),
    ),
    responses(
        (status = 204, description = "It is gone"),
        (status = 401, body = ProblemBody, content_type = "application/problem+json"),
        (status = 403, body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, body = ProblemBody, content_type = "application/problem+json"),
        (status = 412, body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub async fn terminate(
    State(host): State<Host>,
    caller: Caller,
    Path(upload): Path<String>,
    headers: HeaderMap,
) -> ApiResult<StatusCode> {
    caller.may(KeyScope::Publish)?;
    check_version(&headers)?;
    media::terminate(&host.app, caller.tenant, id(&upload, "upload")?).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// For clients that can send no `PATCH` and no `DELETE`: `X-HTTP-Method-Override` says which of the two is meant.
#[utoipa::path(post, path = "/api/media/uploads/{id}", tag = "media",
    params(
        ("id" = String, Path, description = "Id of the upload, from its URL"),
        ("X-HTTP-Method-Override" = String, Header, description = "`PATCH` or `DELETE`"),
        ("Tus-Resumable" = String, Header, description = "Version of tus: `1.0.0`"),
        ("Upload-Offset" = Option<u64>, Header, description = "As with `PATCH`"),
        ("Upload-Checksum" = Option<String>, Header, description = "As with `PATCH`"),
    ),
    request_body(content = FileBytes, content_type = "application/offset+octet-stream", description = "As with `PATCH`"),
    responses(
        (status = 204, description = "As with that method"),
        (status = 400, body = ProblemBody, content_type = "application/problem+json"),
        (status = 401, body = ProblemBody, content_type = "application/problem+json"),
        (status = 403, body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, body = ProblemBody, content_type = "application/problem+json"),
        (status = 412, body = ProblemBody, content_type = "application/problem+json"),
        (status = 413, body = ProblemBody, content_type = "application/problem+json"),
        (status = 415, body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, body = ProblemBody, content_type = "application/problem+json"),
        (status = 423, body = ProblemBody, content_type = "application/problem+json"),
        (status = 460, body = ProblemBody, content_type = "application/problem+json"),
        (status = 507, body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub async fn override_method(
    host: State<Host>,
    caller: Caller,
    upload: Path<String>,
    headers: HeaderMap,
    body: Body,
) -> ApiResult<(StatusCode, HeaderMap)> {
    caller.may(KeyScope::Publish)?;
    match headers.get(METHOD_OVERRIDE).map(HeaderValue::as_bytes) {
        Some(b"PATCH") => send(host, caller, upload, headers, body).await,
        Some(b"DELETE") => Ok((terminate(host, caller, upload, headers).await?, HeaderMap::new())),
        _ => Err(bad("Send `X-HTTP-Method-Override: PATCH` or `DELETE`, or that method itself.").into()),
    }
}

fn headers_of(id: MediaId, standing: &Standing) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(UPLOAD_OFFSET, standing.offset.into());
    if let Ok(id) = HeaderValue::try_from(id.to_string()) {
        headers.insert(MEDIA_ID, id);
    }
    // A file has another life than an upload.
    if standing.media.is_none()
        && let Ok(time) = HeaderValue::try_from(http_date(standing.expires_at))
    {
        headers.insert(UPLOAD_EXPIRES, time);
    }
    headers
}

/// RFC 9110, 5.6.7.
fn http_date(time: DateTime<Utc>) -> String {
    time.format("%a, %d %b %Y %H:%M:%S GMT").to_string()
}

fn check_version(headers: &HeaderMap) -> Result<(), Problem> {
    if headers.get(TUS_RESUMABLE).is_some_and(|value| value == VERSION) {
        return Ok(());
    }
    let detail = format!("Send `Tus-Resumable: {VERSION}`.");
    Err(Problem::new(ProblemKind::TusVersion, detail))
}

/// `Upload-Length`, and nothing of extensions that are not spoken.
fn begun_size(headers: &HeaderMap) -> Result<u64, Problem> {
    if headers.contains_key(UPLOAD_DEFER_LENGTH) || headers.contains_key(UPLOAD_CONCAT) {
        return Err(bad(
            "Announce the whole file with `Upload-Length`: it comes in one upload.",
        ));
    }
    number(headers, &UPLOAD_LENGTH)?.ok_or_else(|| bad("Send `Upload-Length`: the bytes of the whole file."))
}

/// Refuses a body that goes beyond the file before any of it is read.
fn check_room(headers: &HeaderMap, offset: u64, size: u64) -> Result<(), Problem> {
    if declared(headers).is_some_and(|length| length > size.saturating_sub(offset)) {
        let detail = format!("The file has {size} bytes, and these would go beyond its end.");
        return Err(Problem::new(ProblemKind::TooLarge, detail));
    }
    Ok(())
}

fn checksum(headers: &HeaderMap) -> Result<Option<Checksum>, Problem> {
    text(headers, &UPLOAD_CHECKSUM)?.map(Checksum::parse).transpose()
}

fn number(headers: &HeaderMap, name: &HeaderName) -> Result<Option<u64>, Problem> {
    let Some(text) = text(headers, name)? else {
        return Ok(None);
    };
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    match text.parse() {
        // What PostgreSQL can count.
        Ok(number) if digits && i64::try_from(number).is_ok() => Ok(Some(number)),
        _ => Err(bad(format!("`{name}` is a number of bytes."))),
    }
}

fn text<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Result<Option<&'h str>, Problem> {
    let value = headers.get(name).map(HeaderValue::to_str).transpose();
    value.map_err(|_| bad(format!("`{name}` has other characters than ASCII.")))
}

/// The name of the file in `Upload-Metadata`.
fn label(metadata: &str) -> Result<Option<String>, Problem> {
    let wrong = || bad("`Upload-Metadata` is pairs of a key and a value in base64, between commas, 4 KiB at most.");
    if metadata.len() > MAX_METADATA {
        return Err(wrong());
    }
    let mut label = None;
    for pair in metadata.split(',').map(str::trim).filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once(' ').unwrap_or((pair, ""));
        let value = STANDARD.decode(value.trim()).map_err(|_| wrong())?;
        if matches!(key, "filename" | "name") && !value.is_empty() && label.is_none() {
            label = Some(String::from_utf8(value).map_err(|_| wrong())?);
        }
    }
    Ok(label)
}

fn bad(detail: impl Into<String>) -> Problem {
    Problem::new(ProblemKind::BadRequest, detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_label_is_the_files_name() {
        let read = |text| label(text).map_err(|problem| problem.kind);
        assert_eq!(
            read("filename Y2xpcC5tcDQ=,filetype dmlkZW8vbXA0"),
            Ok(Some("clip.mp4".into()))
        );
        assert_eq!(read("empty, filetype dmlkZW8vbXA0,name YQ=="), Ok(Some("a".into())));
        assert_eq!(read(""), Ok(None));
        for bad in ["filename ***", "filename /w==", "filename a b"] {
            assert_eq!(read(bad), Err(ProblemKind::BadRequest), "{bad}");
        }
        assert!(label(&"a,".repeat(MAX_METADATA)).is_err());
    }

    #[test]
    fn times_are_told_as_http_tells_them() {
        let time = DateTime::from_timestamp(784_111_777, 0).unwrap();
        assert_eq!(http_date(time), "Sun, 06 Nov 1994 08:49:37 GMT");
    }
}
