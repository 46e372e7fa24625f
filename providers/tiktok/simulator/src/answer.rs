//! The two answer shapes of the API host: the envelope of the v2 API and the flat one of OAuth.

use std::borrow::Cow;

use axum::Json;
use axum::body::Body;
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use patchbay_simkit::gate::{AnswerCode, drain};
use serde_json::{Map, Value, json};

use crate::switches::{FailureData, ParamSpelling, TokenErrorStatus};
use crate::world::World;

/// A refusal of the v2 API. The status follows from code and operation unless it is given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ApiError {
    pub code: Cow<'static, str>,
    pub message: Cow<'static, str>,
    pub status: Option<u16>,
    /// Content of `data` where a refusal has one.
    pub data: Option<Value>,
}

impl ApiError {
    pub(crate) fn new(code: &'static str) -> Self {
        Self {
            code: code.into(),
            // Real messages are free text and often only a pointer to a page.
            message: "Please review our integration guidelines at developers.tiktok.com".into(),
            status: None,
            data: None,
        }
    }

    pub(crate) fn params(message: impl Into<Cow<'static, str>>) -> Self {
        Self {
            message: message.into(),
            ..Self::new("invalid_params")
        }
    }
}

/// A refusal of the OAuth endpoints.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OauthError {
    pub error: Cow<'static, str>,
    pub description: Cow<'static, str>,
    pub status: Option<u16>,
}

impl OauthError {
    pub(crate) fn new(error: &'static str, description: &'static str) -> Self {
        Self {
            error: error.into(),
            description: description.into(),
            status: None,
        }
    }
}

/// What a handler of the v2 API produces: the content of `data`, or nothing for answers of `error` alone.
pub(crate) type Outcome = Result<Option<Value>, ApiError>;

impl World {
    pub(crate) fn answer(&self, op: &str, outcome: Outcome) -> Response {
        match outcome {
            Ok(data) => self.success(data),
            Err(error) => self.failure(op, &error),
        }
    }

    fn success(&self, data: Option<Value>) -> Response {
        let log_id = self.log_id();
        let mut body = Map::new();
        if let Some(data) = data {
            body.insert("data".to_owned(), data);
        }
        body.insert(
            "error".to_owned(),
            json!({ "code": "ok", "message": "", "log_id": log_id }),
        );
        dressed(StatusCode::OK, Value::Object(body), &log_id, "ok")
    }

    pub(crate) fn failure(&self, op: &str, error: &ApiError) -> Response {
        let code = self.spelled(&error.code);
        let status = error.status.unwrap_or_else(|| documented_status(op, &code));
        let log_id = self.log_id();
        let mut body = Map::new();
        if let Some(data) = &error.data {
            body.insert("data".to_owned(), data.clone());
        } else if self.failure_has_data(status) {
            body.insert("data".to_owned(), json!({}));
        }
        body.insert(
            "error".to_owned(),
            json!({ "code": code, "message": error.message, "log_id": log_id }),
        );
        dressed(status_of(status), Value::Object(body), &log_id, &code)
    }

    /// Flat and always JSON. The default status is 200: the body alone tells.
    pub(crate) fn oauth_failure(&self, error: &OauthError) -> Response {
        let status = error.status.unwrap_or(match self.switches().token_error_status {
            TokenErrorStatus::Always200 => 200,
            TokenErrorStatus::Rfc if error.error == "invalid_client" => 401,
            TokenErrorStatus::Rfc => 400,
        });
        let log_id = self.log_id();
        let body = json!({
            "error": error.error,
            "error_description": error.description,
            "log_id": log_id,
        });
        dressed(status_of(status), body, &log_id, &error.error)
    }

    pub(crate) fn oauth_success(&self, body: Value) -> Response {
        dressed(StatusCode::OK, body, &self.log_id(), "ok")
    }

    /// A 14-digit UTC time and 20 hex digits.
    pub(crate) fn log_id(&self) -> String {
        format!(
            "{}{}",
            self.clock.now().format("%Y%m%d%H%M%S"),
            self.random.upper_hex(20)
        )
    }

    fn spelled<'a>(&self, code: &'a str) -> Cow<'a, str> {
        match self.switches().param_spelling {
            ParamSpelling::InvalidParam if code == "invalid_params" => "invalid_param".into(),
            ParamSpelling::InvalidParam | ParamSpelling::InvalidParams => code.into(),
        }
    }

    fn failure_has_data(&self, status: u16) -> bool {
        match self.switches().failure_data {
            FailureData::Always => true,
            FailureData::Never => false,
            FailureData::Mixed => match status {
                401 => true,
                403 => false,
                _ => self.next_turn().is_multiple_of(2),
            },
        }
    }
}

/// What the gateway says to a wrong path, a missing slash and a wrong method alike.
pub(crate) async fn unsupported_path(_: Method, body: Body) -> Response {
    drain(body).await;
    (StatusCode::NOT_FOUND, "Unsupported path(Janus)").into_response()
}

/// The tables of "Error codes" on each reference page.
pub(crate) fn documented_status(op: &str, code: &str) -> u16 {
    match code {
        "access_token_invalid" | "scope_not_authorized" => 401,
        "spam_risk_too_many_posts" | "spam_risk_user_banned_from_posting" | "reached_active_user_cap"
            if op == "creator_info" =>
        {
            200
        }
        "spam_risk"
        | "spam_risk_text"
        | "spam_risk_too_many_posts"
        | "spam_risk_user_banned_from_posting"
        | "spam_risk_too_many_pending_share"
        | "reached_active_user_cap"
        | "unaudited_client_can_only_post_to_private_accounts"
        | "url_ownership_unverified"
        | "privacy_level_option_mismatch" => 403,
        "rate_limit_exceeded" => 429,
        "internal_error" => 500,
        _ => 400,
    }
}

fn dressed(status: StatusCode, body: Value, log_id: &str, code: &str) -> Response {
    let mut response = (status, Json(body)).into_response();
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json; charset=utf-8"),
    );
    if let Ok(value) = HeaderValue::from_str(log_id) {
        response.headers_mut().insert("x-tt-logid", value);
    }
    response.extensions_mut().insert(AnswerCode(code.to_owned()));
    response
}

fn status_of(status: u16) -> StatusCode {
    StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}
