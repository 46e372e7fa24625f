//! What an operator sees of a call: one span, one counter, one histogram. Never a URL, a header or a body.

use patchbay_app::wire::{WireError, WireRequest};
use tokio::time::Instant;
use tracing::{Span, field};

/// Calls by provider, op and outcome.
const REQUESTS: &str = "patchbay_outbound_requests_total";
/// Duration of calls by provider and op.
const SECONDS: &str = "patchbay_outbound_seconds";

pub(crate) fn describe() {
    metrics::describe_counter!(REQUESTS, "Calls to platforms and receivers, by outcome");
    metrics::describe_histogram!(
        SECONDS,
        metrics::Unit::Seconds,
        "Duration of calls to platforms and receivers"
    );
}

/// A call under way. It is recorded when dropped, so a call that its caller gives up is counted too.
pub(crate) struct Call {
    pub(crate) span: Span,
    provider: String,
    op: String,
    started: Instant,
    outcome: &'static str,
}

impl Call {
    pub(crate) fn start(request: &WireRequest) -> Self {
        let span = tracing::info_span!(
            "outbound",
            provider = request.provider.as_str(),
            op = request.op,
            correlation_id = request.correlation_id,
            status = field::Empty,
            outcome = field::Empty,
            duration_ms = field::Empty,
        );
        Self {
            span,
            provider: request.provider.to_string(),
            op: request.op.clone(),
            started: Instant::now(),
            outcome: "cancelled",
        }
    }

    /// `result`: the status of the answer.
    pub(crate) fn finish(mut self, result: Result<u16, &WireError>) {
        self.outcome = match result {
            Ok(status) => {
                self.span.record("status", status);
                match status {
                    200..=299 => "2xx",
                    300..=399 => "3xx",
                    400..=499 => "4xx",
                    500..=599 => "5xx",
                    _ => "other",
                }
            }
            Err(WireError::NotSent(_)) => "not_sent",
            Err(WireError::Lost(_)) => "lost",
            Err(WireError::Blocked(_)) => "blocked",
        };
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        let elapsed = self.started.elapsed();
        self.span.record("outcome", self.outcome);
        self.span
            .record("duration_ms", u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX));
        let (provider, op) = (std::mem::take(&mut self.provider), std::mem::take(&mut self.op));
        metrics::counter!(REQUESTS, "provider" => provider.clone(), "op" => op.clone(), "outcome" => self.outcome)
            .increment(1);
        metrics::histogram!(SECONDS, "provider" => provider, "op" => op).record(elapsed.as_secs_f64());
    }
}
