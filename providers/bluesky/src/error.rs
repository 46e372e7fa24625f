//! What a server's error names mean: what the host does next, who can act, and a fixed sentence for people.
//!
//! An error is `{"error": "<Name>", "message": "…"}`. The name decides, and the HTTP status only where the name is not
//! known: an expired token comes as 400.

use std::time::Duration;

use patchbay_core::{
    ErrorKind::{self, InvalidRequest, OutcomeUnknown, Permanent, RateLimited, ReauthRequired, Retryable},
    HttpResponse, ProviderError,
    WhoActs::{self, AccountOwner, Caller, Nobody, Operator},
};
use serde::Deserialize;

/// One name.
struct Row {
    name: &'static str,
    kind: ErrorKind,
    who: WhoActs,
    advice: &'static str,
}

const fn row(name: &'static str, kind: ErrorKind, who: WhoActs, advice: &'static str) -> Row {
    Row {
        name,
        kind,
        who,
        advice,
    }
}

const AGAIN: &str = "The account's server has ended this access. Connect the account again.";

const NAMES: &[Row] = &[
    row("ExpiredToken", ReauthRequired, AccountOwner, AGAIN),
    row("InvalidToken", ReauthRequired, AccountOwner, AGAIN),
    row("AuthMissing", ReauthRequired, AccountOwner, AGAIN),
    row(
        "AuthenticationRequired",
        ReauthRequired,
        AccountOwner,
        "The server does not know this handle and password together. Make an app password in the Bluesky app (Settings, \
         Privacy and security) and enter it as it is shown.",
    ),
    row(
        "AuthFactorTokenRequired",
        InvalidRequest,
        AccountOwner,
        "This is the account's main password. Make an app password in the Bluesky app and use that one.",
    ),
    row(
        "AccountTakedown",
        Permanent,
        AccountOwner,
        "The server has taken this account down. Its owner can appeal in the Bluesky app.",
    ),
    row(
        "AccountDeactivated",
        Permanent,
        AccountOwner,
        "This account is deactivated. Reactivate it in the Bluesky app.",
    ),
    row(
        "InvalidRequest",
        InvalidRequest,
        Caller,
        "The server does not take this post. Change it.",
    ),
    row(
        "InvalidMimeType",
        InvalidRequest,
        Caller,
        "The server does not take a file of this type here.",
    ),
    row(
        "PayloadTooLarge",
        InvalidRequest,
        Caller,
        "The account's server takes no file as large as this one. Use a smaller one.",
    ),
    row(
        "BlobTooLarge",
        InvalidRequest,
        Caller,
        "The account's server takes no file as large as this one. Use a smaller one.",
    ),
    row(
        "RateLimitExceeded",
        RateLimited,
        Nobody,
        "The account's server wants fewer calls. Patchbay waits as long as it says.",
    ),
    row(
        "MethodNotImplemented",
        Permanent,
        Operator,
        "The account's server lacks a call that this needs. It may be too old, or no server of this network.",
    ),
];

/// Where a server says that its limit is reached, and not for how long: its windows are of five minutes.
const WINDOW: Duration = Duration::from_mins(5);
/// What to tell people when nobody knows whether the server took a post.
const UNSURE: &str = "The server's answer was lost: the post may or may not be there. Look in the Bluesky app before \
                      posting again.";

#[derive(Deserialize, Default)]
#[serde(default)]
struct Body {
    error: String,
    message: String,
}

/// The name of an answer's error, if it is one.
pub(crate) fn name(response: &HttpResponse) -> Option<String> {
    let body: Body = serde_json::from_slice(&response.body).ok()?;
    let word = (1..=64).contains(&body.error.len()) && body.error.bytes().all(|b| b.is_ascii_alphanumeric());
    (!response.is_success() && word).then_some(body.error)
}

/// The error of a refused call.
pub(crate) fn refused(op: &str, response: &HttpResponse) -> ProviderError {
    let by_status = response.classify();
    let Some(name) = name(response) else {
        return ProviderError {
            message: format!("{op}: {}", by_status.message).into(),
            ..by_status
        };
    };
    let body: Body = serde_json::from_slice(&response.body).unwrap_or_default();
    let message: String = body
        .message
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(200)
        .collect();
    let message = format!("{op}: HTTP status {}, {name}: {message}", response.status);
    match NAMES.iter().find(|row| row.name == name) {
        Some(row) => {
            let error = ProviderError::new(row.kind, row.name, message)
                .advise(row.advice)
                .for_who(row.who);
            match row.kind {
                RateLimited => error.after(response.retry_after().unwrap_or(WINDOW)),
                _ => error,
            }
        }
        None => ProviderError {
            code: name.into(),
            message: message.into(),
            ..by_status
        },
    }
}

/// The error of a refused renewal. A grant ends by a documented name alone, never by a status.
pub(crate) fn not_renewed(op: &str, response: &HttpResponse) -> ProviderError {
    let error = refused(op, response);
    let is_final = matches!(name(response).as_deref(), Some("ExpiredToken" | "InvalidToken"));
    match error.kind {
        ReauthRequired if !is_final => ProviderError {
            kind: Retryable,
            who: None,
            ..error
        },
        _ => error,
    }
}

/// The error of a refused irreversible call. Only a plain refusal says that nothing was done.
pub(crate) fn not_committed(op: &str, response: &HttpResponse) -> ProviderError {
    let error = refused(op, response);
    let is_definite = (400..500).contains(&response.status) && !matches!(response.status, 408 | 425);
    // Two writes met, and this one lost: to itself, if its first answer was lost.
    if is_definite && name(response).as_deref() != Some("InvalidSwap") {
        return error;
    }
    ProviderError {
        kind: OutcomeUnknown,
        who: None,
        retry_after: None,
        ..error
    }
    .advise(UNSURE)
}

/// An answer that is not what is documented.
pub(crate) fn unexpected(op: &str, what: &str) -> ProviderError {
    ProviderError::new(Permanent, "unexpected_answer", format!("{op}: the answer {what}"))
}

/// A refusal of this provider's own, for the person who connects.
pub(crate) fn wrong_input(code: &'static str, message: &str, advice: &'static str) -> ProviderError {
    ProviderError::new(InvalidRequest, code, message)
        .advise(advice)
        .for_who(AccountOwner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, body: &str) -> HttpResponse {
        HttpResponse {
            status,
            headers: Vec::new(),
            body: body.as_bytes().to_vec().into(),
            received_at: chrono::DateTime::from_timestamp(1_790_000_000, 0).unwrap(),
        }
    }

    fn named(status: u16, name: &str) -> HttpResponse {
        answer(status, &format!(r#"{{"error":"{name}","message":"m"}}"#))
    }

    #[test]
    fn each_name_has_its_kind_whatever_the_status() {
        let expected = [
            (400, "ExpiredToken", ReauthRequired),
            (400, "InvalidToken", ReauthRequired),
            (401, "AuthMissing", ReauthRequired),
            (401, "AuthenticationRequired", ReauthRequired),
            (401, "AuthFactorTokenRequired", InvalidRequest),
            (401, "AccountTakedown", Permanent),
            (401, "AccountDeactivated", Permanent),
            (400, "InvalidRequest", InvalidRequest),
            (400, "InvalidMimeType", InvalidRequest),
            (413, "PayloadTooLarge", InvalidRequest),
            (400, "BlobTooLarge", InvalidRequest),
            (429, "RateLimitExceeded", RateLimited),
            (501, "MethodNotImplemented", Permanent),
        ];
        for (status, name, kind) in expected {
            let error = refused("op", &named(status, name));
            assert_eq!((error.kind, &*error.code), (kind, name), "{name}");
        }
        assert_eq!(expected.len(), NAMES.len(), "a row without a test");
        assert_eq!(refused("op", &named(502, "UpstreamFailure")).kind, Retryable);
        assert_eq!(refused("op", &named(400, "BrandNew")).kind, InvalidRequest);
        assert_eq!(refused("op", &answer(503, "<html>")).kind, Retryable);
    }

    #[test]
    fn a_reached_limit_is_waited_for_as_long_as_the_server_says() {
        let mut response = named(429, "RateLimitExceeded");
        assert_eq!(refused("op", &response).retry_after, Some(WINDOW));
        response
            .headers
            .push(("ratelimit-reset".to_owned(), "1790000042".to_owned()));
        assert_eq!(refused("op", &response).retry_after, Some(Duration::from_secs(42)));
    }

    #[test]
    fn no_status_alone_ends_a_grant() {
        assert_eq!(not_renewed("op", &named(400, "ExpiredToken")).kind, ReauthRequired);
        assert_eq!(not_renewed("op", &named(400, "InvalidToken")).kind, ReauthRequired);
        for response in [
            answer(401, "<html>"),
            named(401, "AuthMissing"),
            named(401, "AuthenticationRequired"),
            named(401, "BrandNew"),
            answer(403, ""),
            named(401, "AccountTakedown"),
        ] {
            assert_ne!(not_renewed("op", &response).kind, ReauthRequired);
        }
    }

    #[test]
    fn only_a_plain_refusal_says_that_nothing_was_done() {
        for (response, kind) in [
            (named(400, "InvalidRequest"), InvalidRequest),
            (named(400, "ExpiredToken"), ReauthRequired),
            (named(429, "RateLimitExceeded"), RateLimited),
            (named(400, "InvalidSwap"), OutcomeUnknown),
            (named(500, "InternalServerError"), OutcomeUnknown),
            (answer(502, "<html>"), OutcomeUnknown),
            (answer(408, ""), OutcomeUnknown),
        ] {
            assert_eq!(not_committed("op", &response).kind, kind);
        }
    }

    #[test]
    fn a_name_is_a_word_and_the_servers_text_is_cut() {
        assert_eq!(name(&named(400, "Free text")), None);
        assert_eq!(name(&named(200, "ExpiredToken")), None);
        assert_eq!(name(&answer(400, r#"{"error":7}"#)), None);
        let long = answer(
            400,
            &format!(r#"{{"error":"X","message":"{}"}}"#, "line\\nbreak".repeat(1000)),
        );
        let error = refused("op", &long);
        assert!(error.message.len() < 300 && !error.message.contains('\n'), "{error}");
    }
}
