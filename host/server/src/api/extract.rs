//! Extractors that refuse with a problem that says what to do.

use std::{str::FromStr, sync::Arc};

use axum::{
    body::Bytes,
    extract::{FromRequest, FromRequestParts, Path, Request},
    http::{header, request::Parts},
};
use chrono::{DateTime, Datelike, Utc};
use patchbay_app::{
    problem::{Problem, ProblemKind},
    registry::Registered,
    store::{Cursor, PageRequest},
};
use patchbay_core::{FieldIssue, ProviderId};
use serde::{Deserialize, de::DeserializeOwned};
use utoipa::IntoParams;

use super::problem::ApiProblem;
use crate::host::Host;

/// The provider named in the path.
pub struct Named(pub Arc<Registered>);

impl FromRequestParts<Host> for Named {
    type Rejection = ApiProblem;

    async fn from_request_parts(parts: &mut Parts, host: &Host) -> Result<Self, ApiProblem> {
        #[derive(Deserialize)]
        struct InPath {
            provider: String,
        }
        let unknown = || {
            Problem::new(
                ProblemKind::ProviderUnknown,
                "Provider names are short and in lower case.",
            )
        };
        let Path(InPath { provider }) = Path::<InPath>::from_request_parts(parts, host)
            .await
            .map_err(|_| unknown())?;
        let id = ProviderId::parse(&provider).map_err(|_| unknown())?;
        Ok(Self(host.app.registered(&id)?))
    }
}

/// The id below a provider's path, as text.
pub struct Item(pub String);

impl FromRequestParts<Host> for Item {
    type Rejection = ApiProblem;

    async fn from_request_parts(parts: &mut Parts, host: &Host) -> Result<Self, ApiProblem> {
        #[derive(Deserialize)]
        struct InPath {
            #[serde(alias = "publish_id")]
            id: String,
        }
        let found = Path::<InPath>::from_request_parts(parts, host).await;
        let Path(InPath { id }) = found.map_err(|_| Problem::not_found("thing"))?;
        Ok(Self(id))
    }
}

/// Reads an id from a path. One of another kind is as unknown as a foreign one.
///
/// # Errors
/// It is no such id.
pub fn id<T: FromStr>(text: &str, what: &str) -> Result<T, Problem> {
    text.parse().map_err(|_| Problem::not_found(what))
}

/// A time that a caller names. RFC 3339 has years of four digits, and databases go not much further.
///
/// # Errors
/// It has another year.
pub fn named_time(pointer: &str, time: Option<DateTime<Utc>>) -> Result<Option<DateTime<Utc>>, FieldIssue> {
    match time {
        Some(time) if !(0..=9999).contains(&time.year()) => Err(FieldIssue::new(
            pointer.to_owned(),
            "time",
            "Years are from 0000 to 9999.",
        )),
        time => Ok(time),
    }
}

/// The times between which something is looked for.
///
/// # Errors
/// As [`named_time`].
pub fn window(from: Option<DateTime<Utc>>, to: Option<DateTime<Utc>>) -> Result<Window, Problem> {
    let read = |pointer, time| named_time(pointer, time).map_err(|issue| Problem::invalid(vec![issue]));
    Ok((read("/from", from)?, read("/to", to)?))
}

/// See [`window`].
pub type Window = (Option<DateTime<Utc>>, Option<DateTime<Utc>>);

/// A JSON body: capped, at most 64 levels deep, without unknown fields.
pub struct JsonBody<T>(pub T);

impl<T: DeserializeOwned> FromRequest<Host> for JsonBody<T> {
    type Rejection = ApiProblem;

    async fn from_request(request: Request, host: &Host) -> Result<Self, ApiProblem> {
        let typed = request
            .headers()
            .get(header::CONTENT_TYPE)
            .and_then(|value| value.to_str().ok());
        if !typed.is_some_and(|text| {
            text.split(';')
                .next()
                .is_some_and(|mime| mime.trim().eq_ignore_ascii_case("application/json"))
        }) {
            return Err(Problem::new(
                ProblemKind::UnsupportedMediaType,
                "Send Content-Type: application/json.",
            )
            .into());
        }
        let bytes = read(request, host).await?;
        Ok(Self(parse(&bytes)?))
    }
}

/// As [`JsonBody`], where no body at all means the default.
pub struct OptionalJson<T>(pub T);

impl<T: DeserializeOwned + Default> FromRequest<Host> for OptionalJson<T> {
    type Rejection = ApiProblem;

    async fn from_request(request: Request, host: &Host) -> Result<Self, ApiProblem> {
        let bytes = read(request, host).await?;
        Ok(Self(if bytes.is_empty() { T::default() } else { parse(&bytes)? }))
    }
}

async fn read(request: Request, host: &Host) -> Result<Bytes, Problem> {
    Bytes::from_request(request, host)
        .await
        .map_err(|rejection| match rejection.status().as_u16() {
            413 => Problem::new(ProblemKind::TooLarge, "JSON bodies are limited to 256 KiB."),
            _ => Problem::new(ProblemKind::BadRequest, "The body broke off."),
        })
}

fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    if depth(bytes) > 64 {
        return Err(Problem::new(
            ProblemKind::BadRequest,
            "The body is nested more than 64 levels deep.",
        ));
    }
    let body = serde_json::from_slice(bytes).map_err(|error| match error.classify() {
        serde_json::error::Category::Data => {
            // The text names fields and types of our own; a value in it is the caller's.
            Problem::invalid(vec![FieldIssue::new("", "body", capped(&error.to_string()))])
        }
        _ => Problem::new(
            ProblemKind::BadRequest,
            format!("The body is not JSON (line {}).", error.line()),
        ),
    })?;
    // A list of values would be read as the fields in their order.
    if !bytes.trim_ascii_start().starts_with(b"{") {
        return Err(Problem::invalid(vec![FieldIssue::new(
            "",
            "body",
            "Send a JSON object.",
        )]));
    }
    Ok(body)
}

fn capped(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(200).collect()
}

/// Greatest nesting of a JSON text, counted without reading it.
fn depth(bytes: &[u8]) -> usize {
    let (mut depth, mut deepest, mut text, mut escaped) = (0_usize, 0, false, false);
    for byte in bytes {
        match (text, byte) {
            (true, b'\\') if !escaped => {
                escaped = true;
                continue;
            }
            (true, b'"') if !escaped => text = false,
            (false, b'"') => text = true,
            (false, b'{' | b'[') => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            (false, b'}' | b']') => depth = depth.saturating_sub(1),
            _ => {}
        }
        escaped = false;
    }
    deepest
}

/// Paging of a list.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Paging {
    /// `next_cursor` of the page before.
    #[param(min_length = 54, max_length = 54, pattern = "^[A-Za-z0-9_-]*$")]
    pub cursor: Option<String>,
    /// Rows per page, from 1 to 100; 20 by default.
    #[param(minimum = 1, maximum = 100)]
    pub limit: Option<u32>,
}

impl Paging {
    /// The page, if the cursor was made for this tenant and list.
    ///
    /// # Errors
    /// The cursor or the limit is not valid.
    pub fn request(&self, host: &Host, bound_to: &str) -> Result<PageRequest, Problem> {
        let limit = self.limit.unwrap_or(20);
        if !(1..=100).contains(&limit) {
            return Err(Problem::new(ProblemKind::BadRequest, "`limit` is from 1 to 100."));
        }
        let after = self
            .cursor
            .as_deref()
            .map(|text| crate::cursor::read(host, bound_to, text))
            .transpose()?;
        Ok(PageRequest { after, limit })
    }
}

/// The cursor of the next page, as text.
#[must_use]
pub fn next_cursor(host: &Host, bound_to: &str, next: Option<Cursor>) -> Option<String> {
    next.map(|cursor| crate::cursor::write(host, bound_to, cursor))
}
