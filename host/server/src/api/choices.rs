//! Choosing among several accounts that the platform tells. The page `/platforms/choose` is a client of this like any other
//! in the same browser.

use axum::{
    Json,
    extract::{FromRequestParts, Path, State},
    http::{header, request::Parts},
    response::{IntoResponse, Response},
};
use axum_extra::extract::cookie::CookieJar;
use chrono::{DateTime, Utc};
use patchbay_app::{
    connect::choices::{self, MOST_CHOSEN},
    problem::{Problem, ProblemKind},
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    connect::{brought_cookie, leads_to, spent_cookie},
    extract::{JsonBody, Named},
    problem::{ApiProblem, ApiResult, ProblemBody},
};
use crate::host::Host;

/// The handle of a choice, from the path.
pub struct Handle(String);

impl FromRequestParts<Host> for Handle {
    type Rejection = ApiProblem;

    async fn from_request_parts(parts: &mut Parts, host: &Host) -> Result<Self, ApiProblem> {
        #[derive(Deserialize)]
        struct InPath {
            handle: String,
        }
        let found = Path::<InPath>::from_request_parts(parts, host).await;
        let unreadable = |_| Problem::new(ProblemKind::FlowInvalid, "Start the connect again.");
        let Path(InPath { handle }) = found.map_err(unreadable)?;
        Ok(Self(handle))
    }
}

/// Accounts to choose from.
#[derive(Debug, Serialize, ToSchema)]
pub struct ChoiceBody {
    /// Name of the platform, for people.
    #[schema(example = "Quill")]
    pub platform: String,
    /// The accounts, in the order of their ids.
    pub accounts: Vec<ChoosableAccount>,
    /// What was granted for them, in the platform's words.
    pub scopes: Vec<String>,
    /// How many may be chosen at once.
    #[schema(example = 50)]
    pub most: usize,
    /// Afterwards it is too late.
    pub expires_at: DateTime<Utc>,
}

/// An account that can be chosen.
#[derive(Debug, Serialize, ToSchema)]
pub struct ChoosableAccount {
    /// The platform's id of it.
    #[schema(example = "1784")]
    pub id: String,
    /// Name for people.
    #[schema(example = "Ada's bakery")]
    pub display_name: Option<String>,
    /// Handle, without `@`.
    #[schema(example = "adas_bakery")]
    pub username: Option<String>,
}

/// Chosen accounts.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "ids": ["1784"] }))]
pub struct ChosenBody {
    /// Their ids, as the choice tells them. Each becomes an account.
    #[schema(min_items = 1, max_items = 50)]
    pub ids: Vec<String>,
}

/// Where the browser goes.
#[derive(Debug, Serialize, ToSchema)]
pub struct OnwardBody {
    /// A path of this host, or a URL of the tenant, as at the end of any connect. What came of it stands there.
    #[schema(example = "/platforms/connect?success=quill_connected&account=acc_0199f0a2b3c47d8e9f00112233445566")]
    pub location: String,
}

/// Tells what there is to choose from, where the platform has told several accounts. The callback has sent the browser to a
/// page that asks this; it answers the browser that began the connect alone, until the connect is ten minutes old.
#[utoipa::path(get, path = "/api/platforms/{provider}/connect/choices/{handle}", tag = "connect",
    params(("provider" = String, Path, description = "Name of the provider"),
        ("handle" = String, Path, description = "Names the choice; from the address to which the callback has sent the browser")),
    security(()),
    responses(
        (status = 200, body = ChoiceBody),
        (status = 400, body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub async fn show_choice(
    State(host): State<Host>,
    Named(registered): Named,
    Handle(handle): Handle,
    jar: CookieJar,
) -> ApiResult<Json<ChoiceBody>> {
    let cookie = brought_cookie(&host, &jar);
    let choice = choices::show(&host.app, registered.id(), &handle, cookie.as_deref()).await?;
    let accounts = choice.identities.into_iter().map(|identity| ChoosableAccount {
        id: identity.remote_id,
        display_name: identity.display_name,
        username: identity.username,
    });
    Ok(Json(ChoiceBody {
        platform: registered.manifest().display_name.to_owned(),
        accounts: accounts.collect(),
        scopes: choice.scopes,
        most: MOST_CHOSEN,
        expires_at: choice.expires_at,
    }))
}

/// Connects the chosen accounts, all or none, and ends the connect as one with a single account ends. A choice can be made
/// once, in the browser that began the connect. A 422 leaves it open.
#[utoipa::path(post, path = "/api/platforms/{provider}/connect/choices/{handle}", tag = "connect",
    params(("provider" = String, Path, description = "Name of the provider"),
        ("handle" = String, Path, description = "Names the choice; from the address to which the callback has sent the browser")),
    request_body = ChosenBody,
    security(()),
    responses(
        (status = 200, body = OnwardBody),
        (status = 400, body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, body = ProblemBody, content_type = "application/problem+json"),
        (status = 415, body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub async fn choose(
    State(host): State<Host>,
    Named(registered): Named,
    Handle(handle): Handle,
    jar: CookieJar,
    JsonBody(chosen): JsonBody<ChosenBody>,
) -> ApiResult<Response> {
    let cookie = brought_cookie(&host, &jar);
    let ended = choices::choose(&host.app, registered.id(), &handle, &chosen.ids, cookie.as_deref()).await;
    let location = leads_to(registered.id().as_str(), ended)?;
    let spent = [(header::SET_COOKIE, spent_cookie(&host))];
    Ok((spent, Json(OnwardBody { location })).into_response())
}
