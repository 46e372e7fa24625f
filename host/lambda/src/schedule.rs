//! Scheduled events of EventBridge: each one runs a pass over the queue.

use std::time::Duration;

use anyhow::Context;
use axum::response::{IntoResponse, Response};
use lambda_http::{Body, Error};
use patchbay_server::{
    host::Host,
    lane::Lane,
    pass::{self, Limits},
};
use serde::Deserialize;
use tokio::time::Instant;
use tracing::info;

use crate::function::Deadline;

/// What rules and schedules of EventBridge send, by themselves or as a constant input.
#[derive(Deserialize)]
struct Scheduled {
    #[serde(rename = "detail-type")]
    detail_type: String,
    #[serde(default)]
    detail: Detail,
}

#[derive(Default, Deserialize)]
struct Detail {
    /// Lanes to work off; none: all.
    #[serde(default)]
    only: Vec<String>,
}

/// Nothing is begun in the last part of the time, since a step that is cut must be done again, and one that was just
/// sending a post may leave it unconfirmed. As long as platforms usually take to answer.
const BEGIN_MARGIN: Duration = Duration::from_secs(10);

/// Runs a pass until the deadline, and says what it did.
///
/// # Errors
/// The event is no scheduled one, or the database failed.
pub async fn run(host: &Host, event: &Body, deadline: Deadline) -> Result<Response, Error> {
    let lanes = lanes(event)?;
    let passed = pass::pass(host, &lanes, limits(deadline.work_ends_at())).await?;
    info!(
        processed = passed.processed,
        more = passed.more,
        "Ran a scheduled pass over the queue"
    );
    Ok(axum::Json(passed).into_response())
}

fn lanes(event: &[u8]) -> anyhow::Result<Vec<Lane>> {
    let event: Scheduled = serde_json::from_slice(event)
        .ok()
        .filter(|event: &Scheduled| event.detail_type == "Scheduled Event")
        .context(
            "this event is neither an HTTP request (HTTP API with payload 2.0, function URL, load balancer) nor a \
             scheduled event of EventBridge",
        )?;
    if event.detail.only.is_empty() {
        return Ok(Lane::ALL.to_vec());
    }
    let mut lanes = Vec::new();
    for name in event.detail.only {
        let lane = name.parse().map_err(anyhow::Error::msg)?;
        if !lanes.contains(&lane) {
            lanes.push(lane);
        }
    }
    Ok(lanes)
}

fn limits(work_ends_at: Instant) -> Limits {
    let now = Instant::now();
    let left = work_ends_at.saturating_duration_since(now);
    Limits {
        begin_until: now + (left - BEGIN_MARGIN.min(left / 2)),
        cut_at: Some(work_ends_at),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_says_which_work_it_is_for() {
        let all = lanes(br#"{"version":"0","source":"aws.events","detail-type":"Scheduled Event","detail":{}}"#);
        assert_eq!(all.unwrap(), Lane::ALL);
        let some = br#"{"detail-type":"Scheduled Event","detail":{"only":["publish","webhooks","publish"]}}"#;
        assert_eq!(lanes(some).unwrap(), [Lane::Publish, Lane::Webhooks]);
        for wrong in [
            &b"{}"[..],
            b"null",
            b"",
            br#"{"detail-type":"EC2 Instance State-change Notification","detail":{}}"#,
            br#"{"detail-type":"Scheduled Event","detail":{"only":["everything"]}}"#,
        ] {
            assert!(lanes(wrong).is_err(), "{}", String::from_utf8_lossy(wrong));
        }
    }
}
