//! Providers that are loaded as components.

use axum::{Json, extract::State};
use serde::Serialize;
use utoipa::ToSchema;

use super::{super::problem::ProblemBody, Operator};
use crate::{components::Status, host::Host};

/// A component that serves.
#[derive(Debug, Serialize, ToSchema)]
pub struct ServingComponent {
    /// SHA-256 of its file.
    #[schema(example = "01e31372025ddcf5d821e45ac156068a96eccf8420a09a291acb16e36b2fac05")]
    pub sha256: String,
    /// Its own version.
    #[schema(example = "1.4.0")]
    pub version: String,
    /// The version of the WIT package `patchbay:provider` that it was built for.
    #[schema(example = "0.1.0")]
    pub wit_version: String,
    /// Hosts that it may reach.
    #[schema(example = json!(["api.notepad.example"]))]
    pub hosts: Vec<String>,
}

/// Why a file is not what serves.
#[derive(Debug, Serialize, ToSchema)]
pub struct RefusedComponent {
    /// Stable name of the reason.
    #[schema(example = "host_not_granted")]
    pub code: String,
    /// What is wrong.
    #[schema(example = "it means to reach api.notepad.example, which is not granted")]
    pub reason: String,
    /// What to do.
    #[schema(
        example = "If it may, load it with `patchbay providers add`, with --allow-host api.notepad.example beside those that it has"
    )]
    pub fix: String,
}

/// A provider that is loaded as a component, or a file that cannot be.
#[derive(Debug, Serialize, ToSchema)]
pub struct ComponentBody {
    /// Name of the provider; absent: nothing says what the file is.
    #[schema(example = "notepad")]
    pub provider: Option<String>,
    /// The file, in the folder of components.
    #[schema(example = "notepad-01e31372.wasm")]
    pub file: String,
    /// What serves now; absent: nothing does.
    pub serving: Option<ServingComponent>,
    /// Why the file is not what serves; absent: it is.
    pub refused: Option<RefusedComponent>,
}

impl From<Status> for ComponentBody {
    fn from(status: Status) -> Self {
        Self {
            provider: status.provider,
            file: status.file,
            serving: status.serving.map(|serving| ServingComponent {
                sha256: serving.sha256,
                version: serving.version,
                wit_version: serving.wit_version,
                hosts: serving.hosts,
            }),
            refused: status.refused.map(|refusal| RefusedComponent {
                code: refusal.code.to_owned(),
                reason: refusal.reason,
                fix: refusal.fix,
            }),
        }
    }
}

/// The components of this process.
#[derive(Debug, Serialize, ToSchema)]
pub struct ComponentList {
    /// By provider; files that nothing names come last.
    pub data: Vec<ComponentBody>,
}

/// Lists providers that are loaded as components, and says why others are not.
#[utoipa::path(get, path = "/api/operator/components", operation_id = "list_components", tag = "operator", responses(
    (status = 200, body = ComponentList),
    (status = 401, body = ProblemBody, content_type = "application/problem+json"),
    (status = 403, body = ProblemBody, content_type = "application/problem+json"),
))]
pub async fn list(State(host): State<Host>, _: Operator) -> Json<ComponentList> {
    let data = host.components.status().into_iter().map(ComponentBody::from).collect();
    Json(ComponentList { data })
}
