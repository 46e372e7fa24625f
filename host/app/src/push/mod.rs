//! Sends events to the endpoints that tenants have registered, as Standard Webhooks says: signed, again and again until
//! they are taken. What is to be sent stands in the database with the event, so nothing is lost; what was sent is noted
//! after the answer, so a receiver may see an event twice, under one `webhook-id`.

pub mod endpoints;
mod secret;

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use patchbay_core::{AccountId, DeliveryId, EventId, HttpResponse, PostId, ProviderId};
use serde::Serialize;
use tracing::error;

use crate::{
    App, failpoint,
    model::{AttemptResult, DeliveryEnd, Endpoint, EndpointStatus, Event, Job, NextDelivery, Outgoing},
    store::{JobEnd, MAX_LOST, StoreError},
    vault::VaultError,
    wire::{WireBody, WireError, WireRequest, WireResponse},
};

/// Waits after each failed try but the last: ten tries in 75 hours.
pub const WAITS: [Duration; 9] = [
    Duration::from_secs(5),
    Duration::from_mins(5),
    Duration::from_mins(30),
    Duration::from_hours(2),
    Duration::from_hours(5),
    Duration::from_hours(10),
    Duration::from_hours(14),
    Duration::from_hours(20),
    Duration::from_hours(24),
];
/// Waits are this much longer or shorter, so that many that failed together do not come back together.
const JITTER: f64 = 0.1;
/// An endpoint that only failed for so long is disabled.
pub const FAILING_FOR: TimeDelta = TimeDelta::days(5);
/// Time for a whole call.
const TIMEOUT: Duration = Duration::from_secs(15);
/// An answer that is longer is none.
const MAX_ANSWER_BYTES: usize = 64 * 1024;
/// As much of an answer is kept for the tenant to look at.
const KEPT_BYTES: usize = 1024;
/// Receivers need not take more. A longer event goes without its payload.
pub const MAX_PAYLOAD_BYTES: usize = 20 * 1024;

/// What is sent.
#[derive(Serialize)]
struct Message<'e> {
    r#type: &'e str,
    timestamp: DateTime<Utc>,
    data: Data<'e>,
}

/// The event, as `GET /api/events` shows it.
#[derive(Serialize)]
struct Data<'e> {
    id: EventId,
    provider: &'e ProviderId,
    account_id: Option<AccountId>,
    post_id: Option<PostId>,
    occurred_at: DateTime<Utc>,
    payload: Option<&'e serde_json::Value>,
}

/// Sends one delivery.
///
/// # Errors
/// The store failed, or the claim is gone. What was sent is sent again.
pub(crate) async fn run(app: &Arc<App>, job: &Job) -> Result<(), StoreError> {
    let id = DeliveryId::from_uuid(job.target);
    let Some(outgoing) = app.store.outgoing(job.tenant, id).await? else {
        // Deleted with its endpoint, or too old.
        app.store.end_job(job.lease(), &JobEnd::Done).await?;
        return Ok(());
    };
    let end = if !outgoing.endpoint.status.is_enabled() {
        DeliveryEnd {
            attempt: None,
            next: NextDelivery::Held,
            disable: None,
            seen: outgoing.endpoint.updated_at,
        }
    } else if job.lost >= MAX_LOST {
        error!(delivery.id = %id, "Sending a delivery ends the worker; it is given up");
        DeliveryEnd {
            attempt: Some(failed("quarantined")),
            next: NextDelivery::Failed,
            disable: None,
            seen: outgoing.endpoint.updated_at,
        }
    } else {
        let (result, asked) = attempt(app, &outgoing, job).await?;
        judge(app, job, &outgoing.endpoint, result, asked)
    };
    failpoint::hit("dlv.answered");
    let outcome = match end.attempt {
        Some(_) => end.next.status().as_str(),
        None => "held",
    };
    metrics::counter!("patchbay_deliveries_total", "outcome" => outcome).increment(1);
    app.store.end_delivery(job.lease(), job.tenant, id, &end).await
}

/// One attempt: how it went, and when the receiver asked to be called again.
async fn attempt(
    app: &App,
    Outgoing { endpoint, event, .. }: &Outgoing,
    job: &Job,
) -> Result<(AttemptResult, Option<Duration>), StoreError> {
    let now = app.env.now();
    let body = body(event)?;
    let signatures = match secret::sign(app, endpoint, event.id, now, &body).await {
        Ok(signatures) => signatures,
        Err(VaultError::Store(error)) => return Err(error),
        Err(error @ (VaultError::Sealed | VaultError::TooLong)) => {
            error!(endpoint.id = %endpoint.id, %error, "An endpoint's secret does not open");
            return Ok((failed("secret_unreadable"), None));
        }
    };
    let header = |name: &str, value: String| (name.to_owned(), value.into());
    let request = WireRequest {
        provider: ProviderId::patchbay(),
        op: "deliver".to_owned(),
        correlation_id: job.correlation_id.clone(),
        method: "POST".to_owned(),
        url: endpoint.url.as_str().into(),
        headers: vec![
            header("content-type", "application/json".to_owned()),
            header("webhook-id", event.id.to_string()),
            header("webhook-timestamp", now.timestamp().to_string()),
            header("webhook-signature", signatures),
        ],
        body: WireBody::Bytes(body),
        timeout: TIMEOUT,
        max_answer_bytes: MAX_ANSWER_BYTES,
    };
    Ok(match app.wire.send(request).await {
        Ok(answer) => read(answer, app.env.now()),
        // Of an address that must not be dialled nothing is told, not even whether somebody is there.
        Err(WireError::Blocked(_)) => (failed("blocked"), None),
        Err(WireError::NotSent(_)) => (failed("unreachable"), None),
        Err(WireError::Lost(_)) => (failed("no_answer"), None),
    })
}

fn failed(code: &str) -> AttemptResult {
    AttemptResult {
        code: Some(code.to_owned()),
        ..AttemptResult::default()
    }
}

/// The bytes that are signed and sent: the same each time.
fn body(event: &Event) -> Result<Bytes, StoreError> {
    let mut message = Message {
        r#type: &event.name,
        timestamp: event.occurred_at,
        data: Data {
            id: event.id,
            provider: &event.provider,
            account_id: event.account,
            post_id: event.post,
            occurred_at: event.occurred_at,
            payload: Some(&event.payload),
        },
    };
    let write = |message: &Message<'_>| serde_json::to_vec(message).map_err(|error| StoreError::Other(error.into()));
    let mut body = write(&message)?;
    if body.len() > MAX_PAYLOAD_BYTES {
        message.data.payload = None;
        body = write(&message)?;
    }
    Ok(body.into())
}

fn read(answer: WireResponse, now: DateTime<Utc>) -> (AttemptResult, Option<Duration>) {
    let answer = HttpResponse {
        status: answer.status,
        headers: answer.headers,
        body: answer.body,
        received_at: now,
    };
    let result = AttemptResult {
        status: Some(answer.status),
        body: Some(beginning(&answer.body)).filter(|text| !text.is_empty()),
        code: (!answer.is_success()).then(|| "refused".to_owned()),
    };
    (result, answer.retry_after())
}

/// The first [`KEPT_BYTES`] of an answer as text.
fn beginning(body: &[u8]) -> String {
    let mut text = String::from_utf8_lossy(&body[..body.len().min(KEPT_BYTES)]).into_owned();
    text.truncate(text.floor_char_boundary(KEPT_BYTES));
    text
}

fn judge(app: &App, job: &Job, endpoint: &Endpoint, result: AttemptResult, asked: Option<Duration>) -> DeliveryEnd {
    let now = app.env.now();
    let failing_for = match endpoint.status {
        EndpointStatus::Enabled {
            failing_since: Some(since),
        } => now - since,
        EndpointStatus::Enabled { failing_since: None } | EndpointStatus::Disabled { .. } => TimeDelta::zero(),
    };
    let (next, disable) = if result.code.is_none() {
        (NextDelivery::Delivered, None)
    } else if result.status == Some(410) {
        (NextDelivery::Failed, Some(EndpointStatus::GONE))
    } else if failing_for >= FAILING_FOR {
        (NextDelivery::Held, Some(EndpointStatus::FAILING))
    } else {
        let next = match wait(job.attempts, app.env.fraction(), asked) {
            Some(wait) => NextDelivery::Again(now + wait),
            None => NextDelivery::Failed,
        };
        (next, None)
    };
    DeliveryEnd {
        attempt: Some(result),
        next,
        disable,
        seen: endpoint.updated_at,
    }
}

/// How long to wait after the n-th try, at least as long as the receiver asked; `None`: it was the last one. `chance` is
/// from 0 to 1.
fn wait(tries: i32, chance: f64, asked: Option<Duration>) -> Option<TimeDelta> {
    let wait = WAITS.get(usize::try_from(tries).unwrap_or(0).saturating_sub(1))?;
    let wait = wait.mul_f64(1.0 - JITTER + 2.0 * JITTER * chance);
    TimeDelta::from_std(wait.max(asked.unwrap_or_default())).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_tries_take_about_three_days() {
        let whole: Duration = WAITS.iter().sum();
        assert_eq!(whole.as_secs() / 3600, 75);
        assert_eq!(wait(1, 0.5, None), Some(TimeDelta::seconds(5)));
        assert_eq!(wait(2, 0.0, None), Some(TimeDelta::seconds(270)));
        assert_eq!(wait(9, 1.0, None), Some(TimeDelta::minutes(24 * 66)));
        assert_eq!(wait(10, 0.5, None), None);
        let asked = Some(Duration::from_mins(1));
        assert_eq!(wait(1, 0.5, asked), Some(TimeDelta::minutes(1)));
        assert_eq!(wait(2, 0.5, asked), Some(TimeDelta::minutes(5)));
        assert_eq!(wait(10, 0.5, asked), None);
    }

    #[test]
    fn at_most_a_kibibyte_of_an_answer_is_kept() {
        assert_eq!(beginning(b"ok"), "ok");
        for body in [vec![b'a'; 5_000], vec![0xff; 5_000], "ü".repeat(1_000).into_bytes()] {
            let kept = beginning(&body);
            assert!(
                kept.len() <= KEPT_BYTES && kept.len() > KEPT_BYTES - 4,
                "{}",
                kept.len()
            );
        }
    }
}
