//! Connect sessions: a tenant's backend makes a link for one end user, and takes the account that came by it.

use axum::{Json, extract::State, http::StatusCode};
use chrono::{DateTime, Utc};
use patchbay_app::{
    connect::sessions::{self, WantedSession},
    model::{KeyScope, Session},
    problem::Problem,
};
use patchbay_core::{AccountId, FieldIssue};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    accounts::AccountBody,
    auth::Caller,
    extract::{Item, JsonBody, Named, id},
    problem::{ApiResult, ProblemBody},
};
use crate::host::Host;

/// A wanted connect session.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "owner": "user-42", "return_to": "https://app.example.com/settings?tab=social" }))]
pub struct NewSession {
    /// Your own id of the end user.
    #[schema(example = "user-42", max_length = 128)]
    pub owner: String,
    /// Scopes to ask for. Default: what the provider needs to publish and to show metrics.
    #[serde(default)]
    pub scopes: Vec<String>,
    /// Connect this account again: it keeps its id, and another account at the platform is refused.
    #[serde(default)]
    #[schema(example = "acc_0199f0a2b3c47d8e9f00112233445566")]
    pub account_id: Option<String>,
    /// Where the browser goes afterwards: a URL of an allowed origin, to the letter. `session_id` and `completion_code` are
    /// added to its query, or `session_id`, `error` and `code`. Without it, a page of this host tells the window that opened
    /// it, if you have registered origins.
    #[serde(default)]
    #[schema(example = "https://app.example.com/settings?tab=social", max_length = 2048)]
    pub return_to: Option<String>,
    /// Which of your registered origins may be told what came of it. Default: all.
    #[serde(default)]
    #[schema(example = json!(["https://app.example.com"]))]
    pub allowed_origins: Option<Vec<String>>,
    /// The account is usable at once, without a completion code. Only where the operator has set
    /// `server.activate_at_once`; then that is the default.
    #[serde(default)]
    pub activate: Option<bool>,
}

/// A new connect session.
#[derive(Serialize, ToSchema)]
pub struct SessionBody {
    /// Id.
    #[schema(example = "ses_0199f0a2b3c47d8e9f00112233445566")]
    pub id: String,
    /// Stands for this session in a browser. It is no API key, and is shown only here.
    #[schema(example = "C2FVsBQIhrscChlQIMV-b5sSYspob7oD9mGlrJ0eLrA")]
    pub token: String,
    /// Send the end user's browser here. The first browser that opens it has it.
    pub connect_url: String,
    /// The link stops working then.
    pub expires_at: DateTime<Utc>,
}

/// What came of a connect session.
#[derive(Debug, Serialize, ToSchema)]
pub struct SessionStateBody {
    /// Id.
    #[schema(example = "ses_0199f0a2b3c47d8e9f00112233445566")]
    pub id: String,
    /// Your own id of the end user.
    pub owner: String,
    /// `open`; `started`: a browser has opened the link; `pending`: the account waits to be taken with the completion code;
    /// `completed`; `refused`: by the person or the platform; `cancelled`: by you; `expired`.
    #[schema(example = "pending")]
    pub state: String,
    /// The account that was connected, or is to be connected again. Of several, the first.
    pub account_id: Option<String>,
    /// The accounts that were connected: several where the person has chosen them among those that the platform tells.
    #[schema(example = json!(["acc_0199f0a2b3c47d8e9f00112233445566"]))]
    pub account_ids: Vec<String>,
    /// Scopes that were asked for and not granted.
    pub missing_scopes: Vec<String>,
    /// Why it was refused: the code of a problem.
    pub code: Option<String>,
    /// The link stops working then.
    pub expires_at: DateTime<Utc>,
}

impl SessionStateBody {
    fn of((session, expired): (Session, bool)) -> Self {
        let state = if expired { "expired" } else { session.status.as_str() };
        Self {
            id: session.id.to_string(),
            owner: session.owner,
            state: state.to_owned(),
            account_id: session
                .connected
                .first()
                .or(session.account.as_ref())
                .map(ToString::to_string),
            account_ids: session.connected.iter().map(ToString::to_string).collect(),
            missing_scopes: session.missing_scopes,
            code: session.code,
            expires_at: session.expires_at,
        }
    }
}

/// Takes the account of a session.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "code": "C2FVsBQIhrscChlQIMV-b5sSYspob7oD9mGlrJ0eLrA" }))]
pub struct CompletionBody {
    /// The `completion_code` that the browser has brought to your page.
    pub code: String,
}

/// Makes a link with which one end user can connect an account, for fifteen minutes. The account waits until you complete
/// the session with the code that the browser brings back to you; untaken for fifteen minutes, its grant is ended.
#[utoipa::path(post, path = "/api/platforms/{provider}/connect-sessions", tag = "connect",
    params(("provider" = String, Path, description = "Name of the provider")),
    request_body = NewSession,
    responses(
        (status = 201, body = SessionBody),
        (status = 401, body = ProblemBody, content_type = "application/problem+json"),
        (status = 403, body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, body = ProblemBody, content_type = "application/problem+json"),
        (status = 415, body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub async fn create_session(
    State(host): State<Host>,
    caller: Caller,
    Named(registered): Named,
    JsonBody(wanted): JsonBody<NewSession>,
) -> ApiResult<(StatusCode, Json<SessionBody>)> {
    caller.may(KeyScope::Connect)?;
    let by_setting = host.config.server.activate_at_once;
    if wanted.activate == Some(true) && !by_setting {
        let detail = "Accounts wait for their completion code on this host. Leave `activate` out, or let the operator set \
                      server.activate_at_once.";
        return Err(Problem::invalid(vec![FieldIssue::new("/activate", "not_here", detail)]).into());
    }
    let account: Option<AccountId> = wanted.account_id.map(|text| id(&text, "account")).transpose()?;
    let wanted = WantedSession {
        tenant: caller.tenant,
        provider: registered.id().clone(),
        owner: wanted.owner,
        scopes: wanted.scopes,
        account,
        return_to: wanted.return_to,
        allowed_origins: wanted.allowed_origins,
        activate: wanted.activate.unwrap_or(by_setting),
    };
    let (session, token) = sessions::create(&host.app, wanted).await?;
    let mut connect_url = host.public_url(&format!("/api/platforms/{}/authorize", registered.id()));
    connect_url.query_pairs_mut().append_pair("session", token.expose());
    let body = SessionBody {
        id: session.id.to_string(),
        token: token.expose().clone(),
        connect_url: connect_url.into(),
        expires_at: session.expires_at,
    };
    Ok((StatusCode::CREATED, Json(body)))
}

/// Tells what came of a connect session, until a day after its link has ended.
#[utoipa::path(get, path = "/api/platforms/{provider}/connect-sessions/{id}", tag = "connect",
    params(("provider" = String, Path, description = "Name of the provider"), ("id" = String, Path, description = "Id of the session")),
    responses(
        (status = 200, body = SessionStateBody),
        (status = 401, body = ProblemBody, content_type = "application/problem+json"),
        (status = 403, body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub async fn show_session(
    State(host): State<Host>,
    caller: Caller,
    Named(registered): Named,
    Item(session): Item,
) -> ApiResult<Json<SessionStateBody>> {
    caller.may(KeyScope::Connect)?;
    let session = id(&session, "connect session")?;
    let found = sessions::find(&host.app, caller.tenant, registered.id(), session).await?;
    Ok(Json(SessionStateBody::of(found)))
}

/// Calls a connect session off. An account that waits to be taken is given up, and its grant ended at the platform. To
/// cancel it twice changes nothing.
#[utoipa::path(delete, path = "/api/platforms/{provider}/connect-sessions/{id}", tag = "connect",
    params(("provider" = String, Path, description = "Name of the provider"), ("id" = String, Path, description = "Id of the session")),
    responses(
        (status = 204, description = "It is cancelled"),
        (status = 401, body = ProblemBody, content_type = "application/problem+json"),
        (status = 403, body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub async fn cancel_session(
    State(host): State<Host>,
    caller: Caller,
    Named(registered): Named,
    Item(session): Item,
) -> ApiResult<StatusCode> {
    caller.may(KeyScope::Connect)?;
    let session = id(&session, "connect session")?;
    sessions::cancel(&host.app, &caller.by, caller.tenant, registered.id(), session).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Takes the account of a session: it becomes usable. Where the person has chosen several, all do, and the answer is the
/// first; `account_ids` of the session names them. The code is good for 60 seconds; sent again, it gives the same answer.
/// Check first that the end user who brings it is signed in with you as the one for whom you made the session.
#[utoipa::path(post, path = "/api/platforms/{provider}/connect-sessions/{id}/complete", tag = "connect",
    params(("provider" = String, Path, description = "Name of the provider"), ("id" = String, Path, description = "Id of the session")),
    request_body = CompletionBody,
    responses(
        (status = 200, body = AccountBody),
        (status = 401, body = ProblemBody, content_type = "application/problem+json"),
        (status = 403, body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, body = ProblemBody, content_type = "application/problem+json"),
        (status = 415, body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub async fn complete_session(
    State(host): State<Host>,
    caller: Caller,
    Named(registered): Named,
    Item(session): Item,
    JsonBody(completion): JsonBody<CompletionBody>,
) -> ApiResult<Json<AccountBody>> {
    caller.may(KeyScope::Connect)?;
    let session = id(&session, "connect session")?;
    let account = sessions::complete(
        &host.app,
        &caller.by,
        caller.tenant,
        registered.id(),
        session,
        &completion.code,
    )
    .await?;
    Ok(Json(account.into()))
}
