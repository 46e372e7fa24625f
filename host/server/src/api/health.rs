//! Health: is the process there, and can it do its work.

use std::time::Duration;

use axum::{
    Json,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use utoipa::ToSchema;

use crate::host::Host;

/// Time for one readiness check.
const CHECK_DEADLINE: Duration = Duration::from_secs(3);
/// A due job that has waited longer means that no worker is at work.
const MAX_LAG: Duration = Duration::from_mins(5);
/// Greatest difference between our clock and the database's.
const MAX_SKEW: chrono::TimeDelta = chrono::TimeDelta::seconds(60);

/// The process answers.
#[derive(Debug, Serialize, ToSchema)]
pub struct Live {
    /// Always `ok`.
    pub status: &'static str,
}

/// Whether the host can do its work.
#[derive(Debug, Serialize, ToSchema)]
pub struct Ready {
    /// `ready` or `not_ready`.
    pub status: &'static str,
    /// Each check: `ok`, or what is wrong.
    pub checks: Checks,
}

/// Each check: `ok`, or what is wrong.
#[derive(Debug, Serialize, ToSchema)]
pub struct Checks {
    /// The database can commit a write.
    pub database: String,
    /// The database's clock is near ours.
    pub clock: String,
    /// The encryption key opens this database.
    pub key: String,
    /// Due work is being done.
    pub workers: String,
}

/// Tells that the process answers.
#[utoipa::path(get, path = "/healthz", tag = "operation", security(()), responses((status = 200, body = Live)))]
pub async fn live() -> Json<Live> {
    Json(Live { status: "ok" })
}

/// Tells whether the host can do its work: database, clock, key, workers.
#[utoipa::path(get, path = "/readyz", tag = "operation", security(()), responses(
    (status = 200, body = Ready),
    (status = 503, body = Ready),
))]
pub async fn ready(State(host): State<Host>) -> Response {
    let checks = match tokio::time::timeout(CHECK_DEADLINE, check(&host)).await {
        Ok(checks) => checks,
        Err(_) => {
            let late = || "no answer in 3 s".to_owned();
            Checks {
                database: late(),
                clock: late(),
                key: late(),
                workers: late(),
            }
        }
    };
    let stopping = host.stopping.is_cancelled();
    let fine = !stopping
        && [&checks.database, &checks.clock, &checks.key, &checks.workers]
            .iter()
            .all(|c| *c == "ok");
    let status = if fine {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    let body = serde_json::to_vec(&Ready {
        status: if fine { "ready" } else { "not_ready" },
        checks,
    });
    // Marked as finished, so that it is not turned into a problem.
    let content_type = if fine {
        "application/json"
    } else {
        "application/problem+json"
    };
    (status, [(header::CONTENT_TYPE, content_type)], body.unwrap_or_default()).into_response()
}

async fn check(host: &Host) -> Checks {
    let store = &host.app.store;
    let word = |ok: bool, problem: &str| if ok { "ok".to_owned() } else { problem.to_owned() };
    let clock = match store.now().await {
        Ok(theirs) => word(
            (theirs - host.wall.now()).abs() <= MAX_SKEW,
            "more than 60 s from the database's clock",
        ),
        Err(_) => "unknown: the database does not answer".to_owned(),
    };
    let workers = match store.job_stats().await {
        Ok(stats) => word(
            stats.lag.is_none_or(|lag| lag <= MAX_LAG),
            "due work has waited more than 5 minutes",
        ),
        Err(_) => "unknown: the database does not answer".to_owned(),
    };
    Checks {
        database: word(store.probe_write().await.is_ok(), "cannot commit a write"),
        clock,
        key: word(host.app.vault.check().await.is_ok(), "does not open this database"),
        workers,
    }
}

/// Metrics in Prometheus' text form.
pub async fn metrics(State(host): State<Host>) -> Response {
    if let Ok(stats) = host.app.store.job_stats().await {
        crate::telemetry::metrics::set_jobs(&stats);
    }
    let text = host
        .metrics
        .as_ref()
        .map(metrics_exporter_prometheus::PrometheusHandle::render);
    (
        [(header::CONTENT_TYPE, "text/plain; version=0.0.4")],
        text.unwrap_or_default(),
    )
        .into_response()
}
