//! What TikTok's codes mean: what the host does next, who can act, and a fixed sentence for people.
//!
//! The tables are in `table.rs`. Platform text is never branched on: it is often only a link. A code decides; the
//! HTTP status only where there is no known code.

mod table;

use std::{borrow::Cow, time::Duration};

use patchbay_core::{
    ErrorKind::{Permanent, RateLimited, ReauthRequired, Retryable},
    HttpResponse, ProviderError,
    WhoActs::{AccountOwner, Operator},
};

use table::{CODES, FAIL_REASONS, OAUTH, OURS, Row};

/// What to tell people when nobody knows whether TikTok took a post.
pub(crate) const UNSURE: &str = "TikTok's answer was lost: the post may or may not be there. Look in the TikTok app \
                                 before posting again.";

impl Row {
    /// The error of this row, with a text for operators.
    pub(crate) fn error(&self, message: &str) -> ProviderError {
        let error = ProviderError::new(self.kind, self.code, format!("{message} [see {}]", self.source))
            .advise(self.advice)
            .for_who(self.who);
        ProviderError {
            quota: self.quota,
            retry_after: self.wait,
            ..error
        }
    }
}

/// The row of an API code.
pub(crate) fn of_code(code: &str) -> Option<&'static Row> {
    find(CODES, canonical(code))
}

/// The row of an OAuth error.
pub(crate) fn of_oauth(code: &str) -> Option<&'static Row> {
    find(OAUTH, code)
}

/// One of this provider's own refusals.
pub(crate) fn ours(code: &'static str, message: &str) -> ProviderError {
    match find(OURS, code) {
        Some(row) => row.error(message),
        None => ProviderError::new(Permanent, code, message),
    }
}

/// Why an attempt ended.
pub(crate) fn of_fail_reason(reason: Option<&str>) -> ProviderError {
    let code = reason.unwrap_or("no_fail_reason");
    let message = format!("the post failed at TikTok: {}", clip(code));
    match find(FAIL_REASONS, code) {
        Some(row) => row.error(&message),
        None => ProviderError::new(Permanent, word(code), message)
            .advise("TikTok did not publish this post. Look for a notice in the TikTok app.")
            .for_who(AccountOwner),
    }
}

/// What a body says of its own failure.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Complaint {
    pub code: String,
    pub message: String,
    pub log_id: String,
}

/// The error of a refused API call: by TikTok's code, and by the status only when the code is unknown.
pub(crate) fn refused(op: &str, response: &HttpResponse, complaint: &Complaint) -> ProviderError {
    let error = match of_code(&complaint.code) {
        Some(row) => row.error(&describe(op, response, complaint)),
        None => {
            let by_status = if response.is_success() {
                ProviderError::new(Permanent, "", "")
            } else {
                response.classify()
            };
            ProviderError {
                code: word(&complaint.code),
                message: describe(op, response, complaint).into(),
                ..by_status
            }
        }
    };
    with_wait(error, response)
}

/// The error of a refused token or revoke call. A status alone never ends a grant: only TikTok's word does.
pub(crate) fn oauth_refused(op: &str, response: &HttpResponse, complaint: &Complaint) -> ProviderError {
    let message = describe(op, response, complaint);
    let error = match of_oauth(&complaint.code) {
        Some(row) => row.error(&message),
        None => {
            let mut error = by_status(op, response);
            if !complaint.code.is_empty() {
                error.code = word(&complaint.code);
                error.message = message.into();
            }
            error
        }
    };
    let error = if error.kind == ReauthRequired && error.code != "invalid_grant" {
        ProviderError {
            kind: Permanent,
            ..error
        }
        .for_who(Operator)
    } else {
        error
    };
    with_wait(error, response)
}

/// The error of an answer without any code: an HTML page, a proxy's refusal, an empty body.
pub(crate) fn by_status(op: &str, response: &HttpResponse) -> ProviderError {
    let error = if response.is_success() {
        unexpected(op, "is not what TikTok documents")
    } else {
        let error = response.classify();
        ProviderError {
            message: format!("{op}: {}", error.message).into(),
            ..error
        }
    };
    with_wait(error, response)
}

/// An answer that cannot be read. Names the place, never the text.
pub(crate) fn unexpected(op: &str, what: &str) -> ProviderError {
    ProviderError::new(Permanent, "unexpected_answer", format!("{op}: the answer {what}"))
}

/// A code as it may stand in logs and metrics: a short word, or `unknown_code`.
pub(crate) fn word(code: &str) -> Cow<'static, str> {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'_' | b'-' | b'.');
    if (1..=64).contains(&code.len()) && code.bytes().all(plain) {
        Cow::Owned(code.to_owned())
    } else {
        Cow::Borrowed("unknown_code")
    }
}

fn canonical(code: &str) -> &str {
    if code == "invalid_param" {
        "invalid_params"
    } else {
        code
    }
}

fn find(table: &'static [Row], code: &str) -> Option<&'static Row> {
    table.iter().find(|row| row.code == code)
}

fn describe(op: &str, response: &HttpResponse, complaint: &Complaint) -> String {
    let mut text = format!("{op}: HTTP status {}, code {}", response.status, clip(&complaint.code));
    for (name, value) in [("message", &complaint.message), ("log_id", &complaint.log_id)] {
        if !value.is_empty() {
            text.push_str(&format!(", {name} {:?}", clip(value)));
        }
    }
    text
}

/// TikTok documents no `Retry-After`; its windows slide over one minute.
fn with_wait(error: ProviderError, response: &HttpResponse) -> ProviderError {
    match (error.kind, response.retry_after()) {
        (RateLimited | Retryable, Some(wait)) => error.after(wait),
        (RateLimited, None) if error.retry_after.is_none() => error.after(Duration::from_mins(1)),
        _ => error,
    }
}

/// Platform text for operators: one line, and not much of it.
fn clip(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(200).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use patchbay_core::{
        ErrorKind::InvalidRequest,
        WhoActs::{Caller, Nobody},
    };

    use super::*;

    fn answer(status: u16) -> HttpResponse {
        HttpResponse {
            status,
            headers: Vec::new(),
            body: Vec::new().into(),
            received_at: chrono::DateTime::UNIX_EPOCH,
        }
    }

    fn complaint(code: &str) -> Complaint {
        Complaint {
            code: code.to_owned(),
            ..Complaint::default()
        }
    }

    #[test]
    fn every_row_has_an_advice_and_a_source_and_no_code_is_there_twice() {
        for table in [CODES, FAIL_REASONS, OAUTH, OURS] {
            let mut seen = BTreeSet::new();
            for row in table {
                assert!(seen.insert(row.code), "{}", row.code);
                assert!(row.advice.ends_with('.') && !row.source.is_empty(), "{}", row.code);
                assert_eq!(word(row.code), row.code);
            }
        }
    }

    #[test]
    fn each_api_code_has_its_kind_whatever_the_status() {
        let expected = [
            ("invalid_param", InvalidRequest, Caller),
            ("invalid_params", InvalidRequest, Caller),
            ("invalid_file_upload", InvalidRequest, Caller),
            ("app_version_check_failed", Permanent, AccountOwner),
            ("invalid_publish_id", Permanent, Operator),
            ("token_not_authorized_for_specified_publish_id", Permanent, Operator),
            ("publish_not_cancellable", Permanent, Nobody),
            ("access_token_invalid", ReauthRequired, AccountOwner),
            ("scope_not_authorized", ReauthRequired, AccountOwner),
            ("scope_permission_missed", ReauthRequired, AccountOwner),
            ("spam_risk_too_many_posts", Permanent, AccountOwner),
            ("spam_risk_user_banned_from_posting", Permanent, AccountOwner),
            ("reached_active_user_cap", Permanent, Operator),
            ("spam_risk_too_many_pending_share", RateLimited, AccountOwner),
            (
                "unaudited_client_can_only_post_to_private_accounts",
                Permanent,
                AccountOwner,
            ),
            ("url_ownership_unverified", InvalidRequest, Operator),
            ("privacy_level_option_mismatch", InvalidRequest, Caller),
            ("rate_limit_exceeded", RateLimited, Nobody),
            ("internal_error", Retryable, Nobody),
        ];
        for (code, kind, who) in expected {
            for status in [200, 400, 403, 429, 500] {
                let error = refused("op", &answer(status), &complaint(code));
                assert_eq!((error.kind, error.who_acts()), (kind, who), "{code} at {status}");
                assert_eq!(error.code, canonical(code));
                assert!(error.advice.is_some());
            }
        }
        assert_eq!(expected.len(), CODES.len() + 1, "a row without a test");
    }

    #[test]
    fn each_fail_reason_has_its_kind() {
        let expected = [
            ("internal", Retryable),
            ("video_pull_failed", Retryable),
            ("photo_pull_failed", Retryable),
            ("file_format_check_failed", InvalidRequest),
            ("duration_check_failed", InvalidRequest),
            ("frame_rate_check_failed", InvalidRequest),
            ("picture_size_check_failed", InvalidRequest),
            ("publish_cancelled", Permanent),
            ("auth_removed", ReauthRequired),
            ("spam_risk_too_many_posts", Permanent),
            ("spam_risk_user_banned_from_posting", Permanent),
            ("spam_risk_text", InvalidRequest),
            ("spam_risk", Permanent),
        ];
        for (reason, kind) in expected {
            let error = of_fail_reason(Some(reason));
            assert_eq!(error.kind, kind, "{reason}");
            assert_eq!(error.code, reason);
        }
        assert_eq!(expected.len(), FAIL_REASONS.len(), "a row without a test");
        assert_eq!(of_fail_reason(Some("brand_new")).kind, Permanent);
        assert_eq!(of_fail_reason(Some("brand_new")).code, "brand_new");
        assert_eq!(of_fail_reason(None).code, "no_fail_reason");
    }

    #[test]
    fn each_oauth_error_has_its_kind() {
        let expected = [
            ("invalid_grant", ReauthRequired),
            ("invalid_request", Permanent),
            ("invalid_client", Permanent),
            ("invalid_scope", Permanent),
            ("unauthorized_client", Permanent),
            ("unsupported_grant_type", Permanent),
            ("unsupported_response_type", Permanent),
            ("access_denied", Permanent),
            ("server_error", Retryable),
            ("temporarily_unavailable", Retryable),
        ];
        for (code, kind) in expected {
            for status in [200, 400, 401] {
                let error = oauth_refused("op", &answer(status), &complaint(code));
                assert_eq!(error.kind, kind, "{code} at {status}");
            }
        }
        assert_eq!(expected.len(), OAUTH.len(), "a row without a test");
    }

    #[test]
    fn no_status_alone_ends_a_grant() {
        for status in [200, 301, 400, 401, 403, 404, 408, 429, 500, 503] {
            for code in ["", "brand_new", "access_token_invalid"] {
                let error = oauth_refused("op", &answer(status), &complaint(code));
                assert_ne!(error.kind, ReauthRequired, "{code} at {status}");
            }
        }
    }

    #[test]
    fn an_unknown_code_falls_back_to_the_status() {
        let kind = |status| refused("op", &answer(status), &complaint("brand_new")).kind;
        assert_eq!(kind(200), Permanent);
        assert_eq!(kind(400), InvalidRequest);
        assert_eq!(kind(401), ReauthRequired);
        assert_eq!(kind(403), Permanent);
        assert_eq!(kind(429), RateLimited);
        assert_eq!(kind(503), Retryable);
    }

    #[test]
    fn a_code_is_a_word_and_platform_text_is_cut() {
        assert_eq!(word("Free text, with <tags>"), "unknown_code");
        assert_eq!(word(&"x".repeat(65)), "unknown_code");
        let long = Complaint {
            code: "x".to_owned(),
            message: "line\nbreak".repeat(1000),
            log_id: "20261123".to_owned(),
        };
        let error = refused("op", &answer(400), &long);
        assert!(error.message.len() < 400 && !error.message.contains('\n'));
        assert!(error.message.contains("20261123"));
    }

    #[test]
    fn a_full_minute_window_is_waited_for() {
        let mut response = answer(429);
        let wait = |r: &HttpResponse| refused("op", r, &complaint("rate_limit_exceeded")).retry_after;
        assert_eq!(wait(&response), Some(Duration::from_mins(1)));
        response.headers.push(("retry-after".to_owned(), "7".to_owned()));
        assert_eq!(wait(&response), Some(Duration::from_secs(7)));
    }
}
