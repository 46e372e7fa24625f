//! What the platform's codes mean: what the host does next, and a fixed sentence for people.
//!
//! Calls are refused with `{"error":{"code":"…"}}`, token calls with `{"error":"…"}` (RFC 6749, section 5.2).

use patchbay_core::{
    ErrorKind::{self, InvalidRequest, OutcomeUnknown, Permanent, RateLimited, ReauthRequired, Retryable},
    HttpResponse, ProviderError,
};
use serde::de::DeserializeOwned;
use serde_json::Value;

struct Row {
    code: &'static str,
    kind: ErrorKind,
    advice: &'static str,
}

const fn row(code: &'static str, kind: ErrorKind, advice: &'static str) -> Row {
    Row { code, kind, advice }
}

const AGAIN: &str = "Quill has ended this access. Connect the account again.";

// CHANGE: the platform's codes. What is not in the table is judged by its HTTP status.
const TABLE: &[Row] = &[
    row("invalid_grant", ReauthRequired, AGAIN),
    row("token_invalid", ReauthRequired, AGAIN),
    row(
        "text_too_long",
        InvalidRequest,
        "Quill takes no text as long as this one. Shorten it.",
    ),
    row(
        "duplicate",
        InvalidRequest,
        "Quill has this post already. Change its text.",
    ),
    row(
        "suspended",
        Permanent,
        "Quill has suspended this account. Its owner can appeal there.",
    ),
    row(
        "too_many_posts",
        RateLimited,
        "Quill wants fewer posts. Patchbay waits as long as it says.",
    ),
];

/// What a call says that changes nothing for others.
pub(crate) fn read<T: DeserializeOwned>(op: &str, response: &HttpResponse) -> Result<T, ProviderError> {
    if !response.is_success() {
        return Err(refused(op, response));
    }
    response.json().map_err(|error| named(op, error))
}

/// What a token call says. Only the code that ends a grant may end one: a proxy's 401 must not.
pub(crate) fn read_token<T: DeserializeOwned>(op: &str, response: &HttpResponse) -> Result<T, ProviderError> {
    read(op, response).map_err(|error| match error.kind {
        ReauthRequired if error.code != "invalid_grant" => with_kind(error, Retryable),
        _ => error,
    })
}

/// What an irreversible call says. Whatever is no plain refusal leaves open whether it was done.
pub(crate) fn read_commit<T: DeserializeOwned>(op: &str, response: &HttpResponse) -> Result<T, ProviderError> {
    read(op, response).map_err(|error| match error.kind {
        _ if response.is_success() => with_kind(error, OutcomeUnknown),
        Retryable => with_kind(error, OutcomeUnknown),
        _ => error,
    })
}

/// The error of a refused call: by the platform's code, or else by the status.
fn refused(op: &str, response: &HttpResponse) -> ProviderError {
    let by_status = response.classify();
    let Some(code) = code(response) else {
        return named(op, by_status);
    };
    let message = format!("{op}: HTTP status {}, {code}", response.status);
    let Some(row) = TABLE.iter().find(|row| row.code == code) else {
        return ProviderError {
            code: code.into(),
            message: message.into(),
            ..by_status
        };
    };
    let error = ProviderError::new(row.kind, row.code, message).advise(row.advice);
    match response.retry_after() {
        Some(wait) if row.kind.retry_helps() => error.after(wait),
        _ => error,
    }
}

/// The platform's code, if it is a word. An answer's other texts are never repeated: they may hold anything.
fn code(response: &HttpResponse) -> Option<String> {
    let body: Value = serde_json::from_slice(&response.body).ok()?;
    let code = body["error"].as_str().or(body["error"]["code"].as_str())?;
    let is_word = (1..=64).contains(&code.len()) && code.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
    is_word.then(|| code.to_owned())
}

fn named(op: &str, error: ProviderError) -> ProviderError {
    ProviderError {
        message: format!("{op}: {}", error.message).into(),
        ..error
    }
}

fn with_kind(error: ProviderError, kind: ErrorKind) -> ProviderError {
    ProviderError { kind, ..error }
}
