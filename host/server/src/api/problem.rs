//! Problems on the wire (RFC 9457). Handlers return [`ApiProblem`]; the outermost layer renders it, with the request's
//! id, and turns the framework's own plain answers (404, 405, 413, …) into problems too.

use std::sync::Arc;

use axum::{
    Json,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use patchbay_app::problem::{Problem, ProblemKind};
use patchbay_core::{FieldIssue, WhoActs};
use serde::Serialize;
use tracing::{error, info};
use utoipa::ToSchema;

use super::{request_id::RequestId, uploads};

/// Result of a handler.
pub type ApiResult<T> = Result<T, ApiProblem>;

/// A problem as an answer.
pub struct ApiProblem(pub Arc<Problem>);

impl<T: Into<Problem>> From<T> for ApiProblem {
    fn from(problem: T) -> Self {
        Self(Arc::new(problem.into()))
    }
}

impl IntoResponse for ApiProblem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.0.kind.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = status.into_response();
        response.extensions_mut().insert(self.0);
        response
    }
}

/// One thing wrong with one field.
#[derive(Debug, Serialize, ToSchema)]
pub struct FieldProblem {
    /// JSON pointer into the request body.
    #[schema(example = "/options/privacy_level")]
    pub pointer: String,
    /// Stable name of the rule.
    #[schema(example = "choice")]
    pub code: String,
    /// What would be right.
    pub message: String,
}

impl From<&FieldIssue> for FieldProblem {
    fn from(issue: &FieldIssue) -> Self {
        Self {
            pointer: issue.pointer.clone(),
            code: issue.code.to_string(),
            message: issue.message.clone(),
        }
    }
}

/// An error (RFC 9457, `application/problem+json`).
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Problem)]
pub struct ProblemBody {
    /// Identifies the kind of problem.
    #[serde(rename = "type")]
    #[schema(example = "urn:patchbay:problem:account_reauth_required")]
    pub kind: String,
    /// Short fixed title.
    pub title: &'static str,
    /// HTTP status.
    pub status: u16,
    /// Stable code; see docs/errors.md.
    #[schema(example = "account_reauth_required")]
    pub code: &'static str,
    /// What to do about this occurrence.
    pub detail: String,
    /// Whether sending the same request again, later, can help.
    pub retry: bool,
    /// Who must act.
    #[schema(value_type = WhoActsBody)]
    pub who_acts: WhoActs,
    /// Id of this request, for the operator.
    pub request_id: String,
    /// Fields in question.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<FieldProblem>,
    /// The platform's own code.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provider_code: Option<String>,
}

/// Who can make a failed request succeed.
#[derive(ToSchema)]
#[schema(as = WhoActs)]
#[allow(non_camel_case_types, reason = "the names are the JSON values")]
pub enum WhoActsBody {
    /// Patchbay tries again, or there is nothing to do.
    nobody,
    /// The account's owner.
    account_owner,
    /// The caller of the API.
    caller,
    /// The operator of this installation.
    operator,
}

/// Renders an answer that is an error.
pub fn render(mut response: Response, id: &RequestId) -> Response {
    let status = response.status();
    let problem = match response.extensions_mut().remove::<Arc<Problem>>() {
        Some(problem) => problem,
        // A page or a ready problem of its own.
        None if response.headers().get(header::CONTENT_TYPE).is_some_and(is_finished) => return response,
        None => Arc::new(plain(status)),
    };
    log(&problem, id);
    let mut rendered = (status, Json(body_of(&problem, id))).into_response();
    let headers = rendered.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/problem+json"),
    );
    let kept = [header::ALLOW, header::SET_COOKIE, header::CONNECTION];
    for name in kept.into_iter().chain(uploads::KEPT) {
        if let Some(value) = response.headers().get(&name) {
            headers.insert(name, value.clone());
        }
    }
    if let Some(wait) = problem.retry_after {
        // Whole seconds, rounded up: never sooner than it makes sense.
        let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
        headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds.max(1)));
    }
    if status == StatusCode::UNAUTHORIZED {
        headers.insert(
            header::WWW_AUTHENTICATE,
            HeaderValue::from_static("Bearer realm=\"patchbay\""),
        );
    }
    rendered
}

fn is_finished(content_type: &HeaderValue) -> bool {
    content_type
        .to_str()
        .is_ok_and(|text| text.starts_with("text/html") || text.starts_with("application/problem+json"))
}

fn body_of(problem: &Problem, RequestId(request_id): &RequestId) -> ProblemBody {
    ProblemBody {
        kind: format!("urn:patchbay:problem:{}", problem.kind.code()),
        title: problem.kind.title(),
        status: problem.kind.status(),
        code: problem.kind.code(),
        detail: problem.detail.clone(),
        retry: problem.kind.retry_helps(),
        who_acts: problem.who_acts(),
        request_id: request_id.clone(),
        errors: problem.issues.iter().map(FieldProblem::from).collect(),
        provider_code: problem.provider_code.clone(),
    }
}

/// What the framework itself refuses.
fn plain(status: StatusCode) -> Problem {
    match status {
        StatusCode::NOT_FOUND => Problem::new(ProblemKind::NotFound, "No such path. See /api/openapi.json for all."),
        StatusCode::METHOD_NOT_ALLOWED => Problem::new(
            ProblemKind::MethodNotAllowed,
            "See the Allow header for the methods of this path.",
        ),
        StatusCode::PAYLOAD_TOO_LARGE => Problem::new(
            ProblemKind::TooLarge,
            "JSON bodies and webhooks are limited to 256 KiB.",
        ),
        StatusCode::UNSUPPORTED_MEDIA_TYPE => Problem::new(
            ProblemKind::UnsupportedMediaType,
            "Send application/json, without Content-Encoding.",
        ),
        StatusCode::UNPROCESSABLE_ENTITY => Problem::new(ProblemKind::Invalid, "The body has not the documented form."),
        StatusCode::TOO_MANY_REQUESTS => Problem::new(ProblemKind::RateLimited, "Send fewer requests."),
        StatusCode::SERVICE_UNAVAILABLE => Problem::new(ProblemKind::Unavailable, "Send the request again."),
        status if status.is_client_error() => Problem::new(ProblemKind::BadRequest, "The request is not well formed."),
        _ => Problem::new(ProblemKind::Internal, "Tell the operator the request id."),
    }
}

fn log(problem: &Problem, RequestId(id): &RequestId) {
    let code = problem.kind.code();
    let cause = problem.cause.as_deref().map(causes);
    if problem.kind.status() >= 500 {
        error!(request_id = %id, code, cause, "Answered {code}: {}", problem.detail);
    } else {
        info!(request_id = %id, code, cause, "Answered {code}");
    }
}

fn causes(error: &(dyn std::error::Error + Send + Sync + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}
