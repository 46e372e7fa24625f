//! Pictures of accounts, from this host: platforms let links to theirs expire, and pages load nothing from there.

use axum::{
    body::Body,
    extract::State,
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    response::Response,
};
use patchbay_app::{
    avatars,
    model::{KeyScope, Picture},
    problem::Problem,
};
use patchbay_core::AccountId;

use super::{
    auth::Caller,
    extract::{Item, Named, id},
    media::FileBytes,
    problem::{ApiResult, ProblemBody},
};
use crate::host::Host;

/// Whatever it is, it runs nothing and loads nothing, also where it is opened by itself.
const HEADERS: [(HeaderName, &str); 4] = [
    (header::CONTENT_SECURITY_POLICY, "default-src 'none'; sandbox"),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::CONTENT_DISPOSITION, "inline; filename=\"avatar\""),
    // It is one person's, and another picture has another tag.
    (header::CACHE_CONTROL, "private, max-age=300"),
];

/// Gives the picture of an account, as this host has fetched it from the platform: PNG, JPEG, WebP or GIF, of 1 MiB at most. It
/// is looked for when it is first asked for, again when the platform tells another one, and again after a week.
#[utoipa::path(get, path = "/api/platforms/{provider}/accounts/{id}/avatar", tag = "accounts",
    params(
        ("provider" = String, Path, description = "Name of the provider"),
        ("id" = String, Path, description = "Id of the account"),
        ("If-None-Match" = Option<String>, Header, description = "Tag of the picture that you have"),
    ),
    responses(
        (status = 200, description = "The picture", content(
            (FileBytes = "image/png"), (FileBytes = "image/jpeg"), (FileBytes = "image/webp"), (FileBytes = "image/gif")),
            headers(("ETag" = String, description = "SHA-256 of its bytes"))),
        (status = 304, description = "It is the one that you have"),
        (status = 401, body = ProblemBody, content_type = "application/problem+json"),
        (status = 403, body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub async fn avatar(
    State(host): State<Host>,
    caller: Caller,
    Named(registered): Named,
    Item(account): Item,
    headers: HeaderMap,
) -> ApiResult<Response> {
    caller.may(KeyScope::Read)?;
    let account: AccountId = id(&account, "account")?;
    let found = host.app.store.account(caller.tenant, account).await?;
    let found = found.filter(|account| account.provider == *registered.id());
    let account = found.ok_or_else(|| Problem::not_found("account"))?;
    let picture = avatars::of(&host.app, account).await?;
    let picture = picture.ok_or_else(|| Problem::not_found("picture"))?;
    Ok(answer(picture, &headers))
}

fn answer(picture: Picture, asked: &HeaderMap) -> Response {
    let tag = format!("\"{}\"", hex::encode(picture.sha256));
    let known = asked
        .get_all(header::IF_NONE_MATCH)
        .iter()
        .filter_map(|tags| tags.to_str().ok())
        .flat_map(|tags| tags.split(','))
        .any(|known| known.trim().trim_start_matches("W/") == tag);
    let mut response = Response::new(if known {
        Body::empty()
    } else {
        Body::from(picture.bytes)
    });
    let headers = response.headers_mut();
    for (name, value) in HEADERS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    if let Ok(tag) = HeaderValue::try_from(tag) {
        headers.insert(header::ETAG, tag);
    }
    if known {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
    } else if let Ok(mime) = HeaderValue::try_from(picture.mime) {
        headers.insert(header::CONTENT_TYPE, mime);
    }
    response
}
