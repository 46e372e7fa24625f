//! Worker passes by HTTP, for hosts that are woken by a cron service. Without a worker secret there are no such paths.

use std::{sync::Arc, time::Duration};

use axum::{
    Json,
    extract::State,
    http::{HeaderMap, header},
};
use patchbay_app::problem::{Problem, ProblemKind};
use serde::Serialize;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use tokio::{sync::Mutex, time};
use tokio_util::task::TaskTracker;
use tracing::{Instrument, warn};
use utoipa::ToSchema;

use super::problem::{ApiResult, ProblemBody};
use crate::{
    host::Host,
    lane::Lane,
    pass::{self, Limits},
    worker,
};

/// A pass begins nothing after this: within the usual limit of cron services.
const MAX_PASS: Duration = Duration::from_secs(25);

/// Passes that were asked for. In one process there is one of each lane at a time: a second one would only wait for the
/// same rows. Between processes the queue's leases give each job to one of them.
#[derive(Default)]
pub struct Passes {
    webhooks: Arc<Mutex<()>>,
    refresh: Arc<Mutex<()>>,
    publish: Arc<Mutex<()>>,
    deliver: Arc<Mutex<()>>,
    fetch: Arc<Mutex<()>>,
    metrics: Arc<Mutex<()>>,
    running: TaskTracker,
}

impl Passes {
    fn of(&self, lane: Lane) -> &Arc<Mutex<()>> {
        match lane {
            Lane::Webhooks => &self.webhooks,
            Lane::Refresh => &self.refresh,
            Lane::Publish => &self.publish,
            Lane::Deliver => &self.deliver,
            Lane::Fetch => &self.fetch,
            Lane::Metrics => &self.metrics,
        }
    }

    /// Waits for the steps that passes have begun. To be called when the host has been told to stop.
    pub async fn ended(&self) {
        self.running.close();
        if time::timeout(worker::DRAIN, self.running.wait()).await.is_err() {
            warn!("A pass did not end in 30 s; its leases run out and another worker takes them over");
        }
    }
}

/// What a pass did.
#[derive(Debug, Serialize, ToSchema)]
pub struct PassBody {
    /// Always true.
    pub success: bool,
    /// Jobs that were run.
    pub processed: u32,
}

/// Renews tokens that are due, and keeps house: what has expired goes.
#[utoipa::path(post, path = "/api/workers/token-refresh", tag = "operation", security(("worker_secret" = [])), responses(
    (status = 200, body = PassBody),
    (status = 401, body = ProblemBody, content_type = "application/problem+json"),
    (status = 404, body = ProblemBody, content_type = "application/problem+json"),
    (status = 409, body = ProblemBody, content_type = "application/problem+json"),
    (status = 503, body = ProblemBody, content_type = "application/problem+json"),
))]
pub async fn token_refresh(State(host): State<Host>, headers: HeaderMap) -> ApiResult<Json<PassBody>> {
    authorize(&host, &headers)?;
    run(&host, Lane::Refresh).await
}

/// Reads webhooks that were received.
#[utoipa::path(post, path = "/api/workers/webhooks", tag = "operation", security(("worker_secret" = [])), responses(
    (status = 200, body = PassBody),
    (status = 401, body = ProblemBody, content_type = "application/problem+json"),
    (status = 404, body = ProblemBody, content_type = "application/problem+json"),
    (status = 409, body = ProblemBody, content_type = "application/problem+json"),
    (status = 503, body = ProblemBody, content_type = "application/problem+json"),
))]
pub async fn webhooks(State(host): State<Host>, headers: HeaderMap) -> ApiResult<Json<PassBody>> {
    authorize(&host, &headers)?;
    run(&host, Lane::Webhooks).await
}

/// Takes the next steps of posts that are due. A file that is being uploaded may take longer than the caller waits; the
/// step goes on without it.
#[utoipa::path(post, path = "/api/workers/publish", tag = "operation", security(("worker_secret" = [])), responses(
    (status = 200, body = PassBody),
    (status = 401, body = ProblemBody, content_type = "application/problem+json"),
    (status = 404, body = ProblemBody, content_type = "application/problem+json"),
    (status = 409, body = ProblemBody, content_type = "application/problem+json"),
    (status = 503, body = ProblemBody, content_type = "application/problem+json"),
))]
pub async fn publish(State(host): State<Host>, headers: HeaderMap) -> ApiResult<Json<PassBody>> {
    authorize(&host, &headers)?;
    run(&host, Lane::Publish).await
}

/// Sends events to webhook endpoints.
#[utoipa::path(post, path = "/api/workers/deliver", tag = "operation", security(("worker_secret" = [])), responses(
    (status = 200, body = PassBody),
    (status = 401, body = ProblemBody, content_type = "application/problem+json"),
    (status = 404, body = ProblemBody, content_type = "application/problem+json"),
    (status = 409, body = ProblemBody, content_type = "application/problem+json"),
    (status = 503, body = ProblemBody, content_type = "application/problem+json"),
))]
pub async fn deliver(State(host): State<Host>, headers: HeaderMap) -> ApiResult<Json<PassBody>> {
    authorize(&host, &headers)?;
    run(&host, Lane::Deliver).await
}

/// Fetches media files by their URLs. A large one may take longer than the caller waits; it goes on without it.
#[utoipa::path(post, path = "/api/workers/fetch", tag = "operation", security(("worker_secret" = [])), responses(
    (status = 200, body = PassBody),
    (status = 401, body = ProblemBody, content_type = "application/problem+json"),
    (status = 404, body = ProblemBody, content_type = "application/problem+json"),
    (status = 409, body = ProblemBody, content_type = "application/problem+json"),
    (status = 503, body = ProblemBody, content_type = "application/problem+json"),
))]
pub async fn fetch(State(host): State<Host>, headers: HeaderMap) -> ApiResult<Json<PassBody>> {
    authorize(&host, &headers)?;
    run(&host, Lane::Fetch).await
}

/// Reads the numbers of published posts that are due.
#[utoipa::path(post, path = "/api/workers/metrics", tag = "operation", security(("worker_secret" = [])), responses(
    (status = 200, body = PassBody),
    (status = 401, body = ProblemBody, content_type = "application/problem+json"),
    (status = 404, body = ProblemBody, content_type = "application/problem+json"),
    (status = 409, body = ProblemBody, content_type = "application/problem+json"),
    (status = 503, body = ProblemBody, content_type = "application/problem+json"),
))]
pub async fn metrics(State(host): State<Host>, headers: HeaderMap) -> ApiResult<Json<PassBody>> {
    authorize(&host, &headers)?;
    run(&host, Lane::Metrics).await
}

async fn run(host: &Host, lane: Lane) -> ApiResult<Json<PassBody>> {
    let Ok(guard) = host.passes.of(lane).clone().try_lock_owned() else {
        let problem = Problem::new(
            ProblemKind::AlreadyRunning,
            "A pass is under way; it does this work too.",
        );
        return Err(problem.after(Duration::from_secs(5)).into());
    };
    let whole = {
        let host = host.clone();
        async move {
            let passed = pass::pass(&host, &[lane], Limits::begin_for(MAX_PASS)).await;
            drop(guard);
            passed
        }
    };
    // A caller that hangs up must not drop a step: what it had sent to a platform would have no known outcome.
    let ended = host.passes.running.spawn(whole.in_current_span()).await;
    let passed = ended
        .map_err(|error| Problem::new(ProblemKind::Internal, "Tell the operator the request id.").because(error))??;
    Ok(Json(PassBody {
        success: true,
        processed: passed.processed,
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
