//! Providers and what they can do.

use axum::{Json, extract::State};
use patchbay_app::registry::Registered;
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    auth::Caller,
    extract::Named,
    problem::{ApiResult, ProblemBody},
};
use crate::host::Host;

/// A provider.
#[derive(Debug, Serialize, ToSchema)]
pub struct Platform {
    /// Name in paths.
    pub id: String,
    /// Name for people.
    pub display_name: String,
    /// Version of the provider.
    pub version: String,
    /// Calls go to a simulator: nothing reaches the real platform.
    pub simulated: bool,
    /// What it can do.
    pub capabilities: Capabilities,
}

/// What a provider can do.
#[derive(Debug, Serialize, ToSchema)]
pub struct Capabilities {
    /// Connect accounts.
    pub connect: bool,
    /// Publish.
    pub publish: bool,
    /// Receive webhooks.
    pub webhooks: bool,
}

/// All providers.
#[derive(Debug, Serialize, ToSchema)]
pub struct PlatformList {
    /// The providers.
    pub data: Vec<Platform>,
}

/// A provider with its manifest.
#[derive(Debug, Serialize, ToSchema)]
pub struct PlatformDetail {
    /// The provider.
    #[serde(flatten)]
    pub platform: Platform,
    /// Limits, scopes, kinds of post, rate buckets, quotas and the op table, as the host enforces them.
    #[schema(value_type = serde_json::Map<String, serde_json::Value>)]
    pub manifest: serde_json::Value,
    /// JSON Schema of a post's `options`.
    #[schema(value_type = serde_json::Map<String, serde_json::Value>)]
    pub options_schema: serde_json::Value,
}

fn platform(registered: &Registered) -> Platform {
    let manifest = registered.manifest();
    Platform {
        id: manifest.id.to_string(),
        display_name: manifest.display_name.to_owned(),
        version: manifest.version.to_owned(),
        simulated: registered.simulated,
        capabilities: Capabilities {
            connect: registered.provider.oauth().is_some(),
            publish: registered.provider.publisher().is_some(),
            webhooks: registered.provider.webhooks().is_some(),
        },
    }
}

/// Lists the providers of this host.
#[utoipa::path(get, path = "/api/platforms", tag = "platforms", responses(
    (status = 200, body = PlatformList),
    (status = 401, body = ProblemBody, content_type = "application/problem+json"),
))]
pub async fn list(State(host): State<Host>, _caller: Caller) -> Json<PlatformList> {
    Json(PlatformList {
        data: host
            .app
            .registry
            .all()
            .iter()
            .map(|registered| platform(registered))
            .collect(),
    })
}

/// Shows a provider with its manifest.
#[utoipa::path(get, path = "/api/platforms/{provider}", tag = "platforms",
    params(("provider" = String, Path, description = "Name of the provider")),
    responses(
        (status = 200, body = PlatformDetail),
        (status = 401, body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub async fn show(_caller: Caller, Named(registered): Named) -> ApiResult<Json<PlatformDetail>> {
    let manifest = registered.manifest();
    Ok(Json(PlatformDetail {
        platform: platform(&registered),
        manifest: serde_json::to_value(manifest).unwrap_or_default(),
        options_schema: patchbay_core::OptionField::schema_of(&manifest.options),
    }))
}
