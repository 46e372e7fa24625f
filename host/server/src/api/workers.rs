//! Worker passes by HTTP, for hosts that are woken by a cron service.

use std::time::Duration;

use axum::{
    Json,
    extract::State,
    http::{HeaderMap, header},
};
use patchbay_app::{
    model::JobKind,
    problem::{Problem, ProblemKind},
};
use serde::Serialize;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use tokio::{sync::Mutex, time::Instant};
use utoipa::ToSchema;

use super::problem::{ApiResult, ProblemBody};
use crate::{host::Host, worker};

/// Longest pass: within the usual limit of cron services.
const MAX_PASS: Duration = Duration::from_secs(25);

/// One pass of each kind at a time, in this process. Between processes the queue's leases do the same.
#[derive(Default)]
pub struct Passes {
    refresh: Mutex<()>,
    webhooks: Mutex<()>,
}

/// What a pass did.
#[derive(Debug, Serialize, ToSchema)]
pub struct PassBody {
    /// Always true.
    pub success: bool,
    /// Jobs that were run.
    pub processed: u32,
}

/// Renews tokens that are due.
#[utoipa::path(post, path = "/api/workers/token-refresh", tag = "operation", security(("worker_secret" = [])), responses(
    (status = 200, body = PassBody),
    (status = 401, body = ProblemBody, content_type = "application/problem+json"),
    (status = 409, body = ProblemBody, content_type = "application/problem+json"),
    (status = 503, body = ProblemBody, content_type = "application/problem+json"),
))]
pub async fn token_refresh(State(host): State<Host>, headers: HeaderMap) -> ApiResult<Json<PassBody>> {
    authorize(&host, &headers)?;
    pass(&host, &host.passes.refresh, &[JobKind::Refresh, JobKind::Revoke]).await
}

/// Reads webhooks that were received.
#[utoipa::path(post, path = "/api/workers/webhooks", tag = "operation", security(("worker_secret" = [])), responses(
    (status = 200, body = PassBody),
    (status = 401, body = ProblemBody, content_type = "application/problem+json"),
    (status = 409, body = ProblemBody, content_type = "application/problem+json"),
    (status = 503, body = ProblemBody, content_type = "application/problem+json"),
))]
pub async fn webhooks(State(host): State<Host>, headers: HeaderMap) -> ApiResult<Json<PassBody>> {
    authorize(&host, &headers)?;
    pass(&host, &host.passes.webhooks, &[JobKind::Ingest]).await
}

async fn pass(host: &Host, one_at_a_time: &Mutex<()>, kinds: &[JobKind]) -> ApiResult<Json<PassBody>> {
    let Ok(_guard) = one_at_a_time.try_lock() else {
        let problem = Problem::new(
            ProblemKind::AlreadyRunning,
            "A pass is under way; it does this work too.",
        );
        return Err(problem.after(Duration::from_secs(5)).into());
    };
    let processed = worker::pass(host, kinds, Instant::now() + MAX_PASS).await?;
    Ok(Json(PassBody {
        success: true,
        processed,
    }))
}

/// Compares digests, so that neither length nor place of a difference shows in time. Every active secret is compared.
fn authorize(host: &Host, headers: &HeaderMap) -> Result<(), Problem> {
    let given = headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let given = Sha256::digest(given.strip_prefix("Bearer ").unwrap_or_default().as_bytes());
    let matches = host.config.workers.secrets.iter().fold(false, |found, secret| {
        let wanted = Sha256::digest(secret.expose().as_bytes());
        found | bool::from(given.ct_eq(&wanted))
    });
    if matches {
        Ok(())
    } else {
        Err(Problem::new(
            ProblemKind::Unauthorized,
            "Send `Authorization: Bearer <worker secret>`.",
        ))
    }
}
