//! Webhooks: proved and stored in the request, understood later.
//!
//! The request does four things: take the signature apart, compare it over the raw bytes, check its age, commit. What
//! the webhook means is read in a worker, where a crash or a poisonous body costs nobody a 200.

use std::sync::Arc;

use base64::{Engine, engine::general_purpose::STANDARD};
use chrono::{DateTime, TimeDelta, Utc};
use hmac::{Hmac, KeyInit, Mac};
use patchbay_core::{
    EventId, EventKind, InboxId, JobId, MacEncoding, ProviderId, SignatureFormat, SignatureScheme, SignedPart,
    TenantId, WebhookRequest,
};
use sha2::{Digest, Sha256};
use tracing::{debug, warn};

use crate::{
    App,
    model::{InboxItem, InboxStatus, Job, JobKind, NewJob},
    problem::{Problem, ProblemKind},
    registry::Registered,
    store::{StoreError, StoredInbox},
};

/// How long the database may take to commit a webhook before the platform is told to come again.
const COMMIT_DEADLINE: std::time::Duration = std::time::Duration::from_secs(2);

/// A webhook as it came in.
pub struct Incoming<'a> {
    /// Platform, by the path.
    pub provider: &'a ProviderId,
    /// All headers, names in lower case, in order.
    pub headers: &'a [(String, String)],
    /// The raw body.
    pub body: &'a [u8],
    /// Follows the work.
    pub correlation_id: &'a str,
}

/// Proves a webhook genuine and stores it. Returns after the commit.
///
/// # Errors
/// `SignatureInvalid` for every reason alike, and then nothing is stored; `Unavailable` if it cannot be committed in
/// time: the platform comes again.
pub async fn receive(app: &App, incoming: Incoming<'_>) -> Result<StoredInbox, Problem> {
    let received_at = app.env.now();
    let registered = app.registered(incoming.provider)?;
    let source = registered
        .provider
        .webhooks()
        .ok_or_else(|| Problem::new(ProblemKind::NotFound, "This provider sends no webhooks."))?;
    let count = |outcome: &'static str| {
        metrics::counter!("patchbay_webhooks_received_total",
            "provider" => incoming.provider.to_string(), "outcome" => outcome)
        .increment(1);
    };
    let Some(scheme) = verify(&source.auth().schemes, &registered, &incoming, received_at) else {
        count("refused");
        return Err(Problem::new(
            ProblemKind::SignatureInvalid,
            "Sign the raw body with the webhook secret of this app, and send it within the time window.",
        ));
    };
    let client_id = registered.app.client_id.clone();
    let digest = Sha256::new()
        .chain_update(client_id.as_bytes())
        .chain_update([0])
        .chain_update(incoming.body);
    let item = InboxItem {
        id: InboxId::from_uuid(app.env.ids.next()),
        tenant: TenantId::DEFAULT,
        provider: incoming.provider.clone(),
        client_id,
        scheme,
        digest: digest.finalize().into(),
        body: incoming.body.to_vec(),
        received_at,
        status: InboxStatus::Pending,
        correlation_id: incoming.correlation_id.to_owned(),
    };
    let job = NewJob {
        id: JobId::from_uuid(app.env.ids.next()),
        tenant: item.tenant,
        kind: JobKind::Ingest,
        target: item.id.as_uuid(),
        concurrency_key: None,
        run_at: None,
        correlation_id: item.correlation_id.clone(),
    };
    let stored = tokio::time::timeout(COMMIT_DEADLINE, app.store.store_inbox(&item, &job)).await;
    let stored = stored.map_err(|late| {
        Problem::new(
            ProblemKind::Unavailable,
            "The database is too slow just now. Send the webhook again.",
        )
        .after(COMMIT_DEADLINE)
        .because(late)
    })??;
    count(if stored == StoredInbox::New {
        "stored"
    } else {
        "duplicate"
    });
    app.wake();
    Ok(stored)
}

/// Reads and applies a stored webhook. The job of kind `Ingest`.
pub(crate) async fn apply(app: &Arc<App>, job: &Job) -> Result<(), StoreError> {
    let id = InboxId::from_uuid(job.target);
    let Some(item) = app.store.inbox(id).await? else {
        return app.store.bury_inbox(job.lease(), id, "inbox_row_missing").await;
    };
    let Some(source) = app.registered(&item.provider).ok() else {
        return app.store.bury_inbox(job.lease(), id, "provider_unknown").await;
    };
    let Some(source) = source.provider.webhooks() else {
        return app.store.bury_inbox(job.lease(), id, "no_webhook_source").await;
    };
    let request = WebhookRequest {
        scheme: item.scheme,
        body: item.body,
        received_at: item.received_at,
        client_id: item.client_id,
    };
    let events = match source.parse(&request).await {
        Ok(events) => events,
        Err(error) => {
            warn!(inbox.id = %id, code = %error.code, "A webhook is not readable and was put aside");
            metrics::counter!("patchbay_webhooks_dead_total", "provider" => item.provider.to_string()).increment(1);
            return app.store.bury_inbox(job.lease(), id, &error.code).await;
        }
    };
    let ids: Vec<_> = events.iter().map(|_| EventId::from_uuid(app.env.ids.next())).collect();
    let applied = app.store.apply_events(job.lease(), id, &events, &ids).await?;
    for event in &applied {
        debug!(name = %event.name, is_new = event.is_new, "Applied an event");
        let matched = event.account.is_some();
        metrics::counter!("patchbay_events_total",
            "provider" => item.provider.to_string(), "kind" => kind_label(&event.kind),
            "outcome" => if !event.is_new { "duplicate" } else if matched { "applied" } else { "unmatched" })
        .increment(1);
    }
    let taken = (app.env.now() - item.received_at).to_std().unwrap_or_default();
    metrics::histogram!("patchbay_webhook_effect_seconds", "provider" => item.provider.to_string())
        .record(taken.as_secs_f64());
    app.wake();
    Ok(())
}

fn kind_label(kind: &EventKind) -> &'static str {
    match kind {
        EventKind::PostProgress => "post_progress",
        EventKind::PostVisible { .. } => "post_visible",
        EventKind::PostHidden { .. } => "post_hidden",
        EventKind::AuthorizationRemoved { .. } => "authorization_removed",
        _ => "other",
    }
}

/// The name of the scheme under which the webhook verifies. Every failure looks the same.
fn verify(
    schemes: &[SignatureScheme],
    registered: &Registered,
    incoming: &Incoming<'_>,
    now: DateTime<Utc>,
) -> Option<String> {
    let mut candidates = schemes.iter().filter_map(|scheme| {
        let mut values = incoming
            .headers
            .iter()
            .filter(|(name, _)| *name == scheme.header)
            .map(|(_, value)| value);
        let value = values.next()?;
        // A header that stands twice is refused, not chosen from.
        if values.next().is_some() {
            None
        } else {
            parse_header(scheme, value).map(|header| (scheme, header))
        }
    });
    let (scheme, header) = candidates.next()?;
    if candidates.next().is_some() {
        return None;
    }
    // Of two active secrets the matching one is not told by time: both are always tried.
    let genuine = registered.webhook_secrets.iter().fold(false, |found, secret| {
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret.expose().as_bytes()) else {
            return found;
        };
        for part in &scheme.signed {
            match part {
                SignedPart::Timestamp => mac.update(header.timestamp.unwrap_or_default().as_bytes()),
                SignedPart::Literal(text) => mac.update(text.as_bytes()),
                SignedPart::Body => mac.update(incoming.body),
            }
        }
        found | mac.verify_slice(&header.mac).is_ok()
    });
    (genuine && is_recent(scheme, header.timestamp, now)).then(|| scheme.name.to_string())
}

struct Header<'a> {
    timestamp: Option<&'a str>,
    mac: [u8; 32],
}

/// Longest signature header: two short keys, a 20-digit number and a MAC fit well.
const MAX_HEADER: usize = 512;

fn parse_header<'a>(scheme: &SignatureScheme, value: &'a str) -> Option<Header<'a>> {
    if value.len() > MAX_HEADER {
        return None;
    }
    match scheme.format {
        SignatureFormat::Bare { prefix } => Some(Header {
            timestamp: None,
            mac: decode_mac(scheme.encoding, value.strip_prefix(prefix)?)?,
        }),
        SignatureFormat::TimestampAndMac {
            timestamp: t_key,
            mac: s_key,
        } => {
            let (mut timestamp, mut mac) = (None, None);
            for part in value.split(',') {
                let (key, value) = part.trim().split_once('=')?;
                let slot = if key == t_key {
                    &mut timestamp
                } else if key == s_key {
                    &mut mac
                } else {
                    return None;
                };
                if slot.replace(value).is_some() {
                    return None;
                }
            }
            let timestamp =
                timestamp.filter(|t| !t.is_empty() && t.len() <= 20 && t.bytes().all(|b| b.is_ascii_digit()))?;
            Some(Header {
                timestamp: Some(timestamp),
                mac: decode_mac(scheme.encoding, mac?)?,
            })
        }
    }
}

fn decode_mac(encoding: MacEncoding, text: &str) -> Option<[u8; 32]> {
    match encoding {
        MacEncoding::Hex if text.len() == 64 && !text.bytes().any(|b| b.is_ascii_uppercase()) => {
            let mut mac = [0; 32];
            hex::decode_to_slice(text, &mut mac).ok().map(|()| mac)
        }
        MacEncoding::Hex => None,
        MacEncoding::Base64 => STANDARD.decode(text).ok()?.try_into().ok(),
    }
}

/// Within the tolerance, either way. A scheme without a timestamp has no age; the digest stops its replays.
fn is_recent(scheme: &SignatureScheme, timestamp: Option<&str>, now: DateTime<Utc>) -> bool {
    if !scheme.signed.contains(&SignedPart::Timestamp) {
        return true;
    }
    let at = timestamp
        .and_then(|t| t.parse::<u64>().ok())
        .and_then(|t| i64::try_from(t).ok());
    let at = at.and_then(|t| DateTime::from_timestamp(t, 0));
    let tolerance = TimeDelta::from_std(scheme.tolerance).unwrap_or(TimeDelta::MAX);
    at.is_some_and(|at| (now - at).abs() <= tolerance)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scheme() -> SignatureScheme {
        SignatureScheme {
            name: "test".into(),
            header: "x-signature".into(),
            format: SignatureFormat::TimestampAndMac {
                timestamp: "t",
                mac: "s",
            },
            signed: vec![SignedPart::Timestamp, SignedPart::Literal("."), SignedPart::Body],
            encoding: MacEncoding::Hex,
            tolerance: std::time::Duration::from_secs(300),
        }
    }

    #[test]
    fn a_signature_header_has_one_grammar() {
        let mac = "ab".repeat(32);
        for good in [format!("t=1,s={mac}"), format!("s={mac},t=1"), format!("t=1, s={mac}")] {
            assert!(parse_header(&scheme(), &good).is_some(), "{good}");
        }
        for bad in [
            String::new(),
            format!("s={mac}"),
            "t=1".to_owned(),
            "t=1,s=".to_owned(),
            format!("t=1,s={}", &mac[1..]),
            format!("t=1,s={}", mac.to_uppercase()),
            format!("t=1,s={mac},s={mac}"),
            format!("t=1,t=1,s={mac}"),
            format!("t=1,s={mac},v=1"),
            format!("t=-1,s={mac}"),
            format!("t=,s={mac}"),
            format!("t={},s={mac}", "9".repeat(21)),
            format!("t=1,s={mac}{}", " ".repeat(600)),
        ] {
            assert!(parse_header(&scheme(), &bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn a_timestamp_is_good_within_the_window_on_both_sides() {
        let now = DateTime::from_timestamp(1_790_000_000, 0).unwrap();
        let check = |at: &str| is_recent(&scheme(), Some(at), now);
        assert!(check("1790000000") && check("1790000300") && check("1789999700"));
        assert!(!check("1790000301") && !check("1789999699") && !check("18446744073709551615") && !check("0"));
        assert!(!is_recent(&scheme(), None, now));
    }
}
