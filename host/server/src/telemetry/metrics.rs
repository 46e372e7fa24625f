//! Metrics for Prometheus. Every metric of the product stands in [`METRICS`], with its meaning and its labels; the
//! values of labels come from closed sets (provider ids, route patterns, outcomes), never from requests.

use std::time::Duration;

use metrics::Unit;
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle, PrometheusRecorder};
use patchbay_app::store::JobStats;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

/// How often histograms are condensed. Between scrapes they grow by every observation.
const UPKEEP: Duration = Duration::from_secs(5);

const DUE: &str = "patchbay_jobs_due";
const RUNNING: &str = "patchbay_jobs_running";
const DEAD: &str = "patchbay_jobs_dead";
const LAG: &str = "patchbay_job_lag_seconds";

/// One metric.
pub struct Metric {
    /// Its name.
    pub name: &'static str,
    /// What it counts or measures.
    pub help: &'static str,
    /// Its labels.
    pub labels: &'static [&'static str],
    /// Its kind.
    pub kind: Kind,
}

/// What kind of metric.
pub enum Kind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Seconds, counted up to each of these.
    Seconds(&'static [f64]),
}

/// Seconds of what somebody waits for.
const QUICK: &[f64] = &[0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];
/// Seconds of calls to platforms, whose uploads take minutes.
const CALL: &[f64] = &[0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1_800.0];
/// Seconds from a webhook's arrival to its effect: at once, or after retries over hours.
const EFFECT: &[f64] = &[
    0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0, 300.0, 1_800.0, 7_200.0, 43_200.0,
];

/// All metrics.
pub const METRICS: &[Metric] = &[
    counter(
        "patchbay_oauth_total",
        &["provider", "outcome"],
        "Connect flows that came to an end, by outcome",
    ),
    counter(
        "patchbay_publishes_total",
        &["provider", "outcome", "code"],
        "Posts that came to an end, by outcome",
    ),
    counter(
        "patchbay_webhooks_received_total",
        &["provider", "outcome"],
        "Webhooks that arrived, by outcome",
    ),
    seconds(
        "patchbay_webhook_effect_seconds",
        &["provider"],
        EFFECT,
        "Time from a webhook's arrival to its effect",
    ),
    counter(
        "patchbay_webhooks_dead_total",
        &["provider"],
        "Webhooks that were given up",
    ),
    counter(
        "patchbay_events_total",
        &["provider", "kind", "outcome"],
        "Events taken from webhooks, by outcome",
    ),
    counter(
        "patchbay_deliveries_total",
        &["outcome"],
        "Attempts to send an event to an endpoint, by what became of the delivery (pending: it is tried again)",
    ),
    counter(
        "patchbay_imports_total",
        &["outcome"],
        "Imports of media files that came to an end, by outcome: imported, or the code of the failure",
    ),
    counter(
        "patchbay_token_refresh_total",
        &["provider", "outcome"],
        "Renewals of access tokens, by outcome",
    ),
    counter(
        "patchbay_rate_limit_hits_total",
        &["provider", "source", "bucket"],
        "Calls held back by our own limits (slot) or refused by the platform's (platform)",
    ),
    gauge(
        "patchbay_quota_used_ratio",
        &["provider", "quota"],
        "Used share of a quota, of the account that used it last",
    ),
    counter(
        "patchbay_outbound_requests_total",
        &["provider", "op", "outcome"],
        "Calls to platforms and receivers",
    ),
    seconds(
        "patchbay_outbound_seconds",
        &["provider", "op"],
        CALL,
        "Duration of calls to platforms and receivers",
    ),
    counter(
        "patchbay_component_loads_total",
        &["outcome"],
        "Components that were loaded, replaced, removed or refused",
    ),
    gauge(
        "patchbay_components",
        &["state"],
        "Components by state: those that serve, and those that cannot be used",
    ),
    counter(
        "patchbay_http_requests_total",
        &["method", "route", "status"],
        "Requests answered, by route pattern",
    ),
    seconds(
        "patchbay_http_seconds",
        &["route"],
        QUICK,
        "Time to answer a request, by route pattern",
    ),
    gauge(DUE, &[], "Jobs that are ready and due"),
    gauge(RUNNING, &[], "Jobs under way"),
    gauge(DEAD, &[], "Jobs that were given up"),
    gauge(LAG, &[], "Age of the oldest due job in seconds; 0 if none is due"),
];

/// Starts to collect metrics, for the whole process. Run [`upkeep`] with the handle.
///
/// # Errors
/// A recorder has been installed before.
pub fn install() -> Result<PrometheusHandle, BuildError> {
    let recorder = recorder()?;
    let handle = recorder.handle();
    metrics::set_global_recorder(recorder)?;
    describe();
    Ok(handle)
}

/// A recorder of its own, for tests: `metrics::with_local_recorder`.
///
/// # Errors
/// None that can happen: the buckets of [`METRICS`] are not empty.
pub fn recorder() -> Result<PrometheusRecorder, BuildError> {
    let mut builder = PrometheusBuilder::new();
    for metric in METRICS {
        if let Kind::Seconds(buckets) = metric.kind {
            builder = builder.set_buckets_for_metric(Matcher::Full(metric.name.to_owned()), buckets)?;
        }
    }
    Ok(builder.build_recorder())
}

/// Tells the current recorder what the metrics mean.
pub fn describe() {
    for Metric { name, help, kind, .. } in METRICS {
        match kind {
            Kind::Counter => metrics::describe_counter!(*name, *help),
            Kind::Gauge => metrics::describe_gauge!(*name, *help),
            Kind::Seconds(_) => metrics::describe_histogram!(*name, Unit::Seconds, *help),
        }
    }
}

/// Keeps the recorder small until `stop`.
pub async fn upkeep(handle: PrometheusHandle, stop: CancellationToken) {
    let mut ticks = interval(UPKEEP);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while stop.run_until_cancelled(ticks.tick()).await.is_some() {
        handle.run_upkeep();
    }
}

/// Shows the state of the queue.
pub fn set_jobs(stats: &JobStats) {
    let JobStats {
        due,
        running,
        dead,
        lag,
    } = stats;
    for (name, count) in [(DUE, due), (RUNNING, running), (DEAD, dead)] {
        // A gauge is a float; counts of jobs stay far below where that would matter.
        metrics::gauge!(name).set(*count as f64);
    }
    metrics::gauge!(LAG).set(lag.unwrap_or_default().as_secs_f64());
}

const fn counter(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Metric {
    Metric {
        name,
        help,
        labels,
        kind: Kind::Counter,
    }
}

const fn gauge(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Metric {
    Metric {
        name,
        help,
        labels,
        kind: Kind::Gauge,
    }
}

const fn seconds(
    name: &'static str,
    labels: &'static [&'static str],
    buckets: &'static [f64],
    help: &'static str,
) -> Metric {
    Metric {
        name,
        help,
        labels,
        kind: Kind::Seconds(buckets),
    }
}
