//! What both databases do alike with values: pages, the rules of a step, and how a value becomes a column.

use std::{borrow::Cow, collections::BTreeMap, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};
use patchbay_app::{
    model::{
        Account, DeliveryEnd, DeliveryStatus, JobKind, NewEvent, NewJob, NextDelivery, PostRecord, PostStatus,
        TokenUpdate,
    },
    store::{Cursor, JobEnd, Page, PageRequest, StepRecord, StoreError, StoreResult},
};
use patchbay_core::{
    DeliveryId, EndpointId, EventId, EventKind, IncomingEvent, JobId, MediaId, PostId, Publication, TenantId,
};
use serde::Serialize;
use serde_json::{Value, json as object};
use sqlx::types::Json;
use uuid::Uuid;

/// Rows to fetch for a page: one more than asked for tells whether there is a next one.
pub(crate) fn page_rows(page: PageRequest) -> i64 {
    i64::from(page.limit.clamp(1, 100)) + 1
}

/// Cuts a page out of the fetched rows.
pub(crate) fn page<T>(mut items: Vec<T>, request: PageRequest, cursor: impl Fn(&T) -> Cursor) -> Page<T> {
    let limit = request.limit.clamp(1, 100) as usize;
    let more = items.len() > limit;
    items.truncate(limit);
    let next = items.last().filter(|_| more).map(cursor);
    Page { items, next }
}

/// What a receipt counts, and more of one kind.
pub(crate) fn counted(mut counts: BTreeMap<String, u64>, kind: &str, gone: u64) -> Value {
    *counts.entry(kind.to_owned()).or_default() += gone;
    counts.into_iter().collect()
}

/// The states that lead to `next`.
pub(crate) fn sources(next: PostStatus) -> Vec<&'static str> {
    PostStatus::ALL
        .into_iter()
        .filter(|status| status.may_become(next))
        .map(PostStatus::as_str)
        .collect()
}

/// A JSON column. PostgreSQL takes no NUL in JSON or text, and a platform may send one: it becomes U+FFFD in both.
pub(crate) fn json<T: Serialize + ?Sized>(value: &T) -> StoreResult<Json<Value>> {
    let mut value = serde_json::to_value(value).map_err(|e| StoreError::Other(e.into()))?;
    without_nul(&mut value);
    Ok(Json(value))
}

/// A text column with text from outside; see [`json`].
pub(crate) fn text(text: &str) -> Cow<'_, str> {
    if text.contains('\0') {
        Cow::Owned(text.replace('\0', "\u{fffd}"))
    } else {
        Cow::Borrowed(text)
    }
}

/// A post after a step. Ids that a webhook brought meanwhile stay, whatever the step knew.
pub(crate) fn after_step(before: PostRecord, record: &StepRecord, now: DateTime<Utc>) -> StoreResult<PostRecord> {
    if before.step != record.step {
        return Err(StoreError::Stale);
    }
    let known = before.publication.remote_ids.clone();
    let mut after = record
        .transition
        .clone()
        .apply(before, now)
        .map_err(|_| StoreError::Stale)?;
    add_ids(&mut after.publication, &known);
    Ok(after)
}

/// Now, and later than the last change: no two changes have one time, whatever the clock does.
pub(crate) fn later_than(last: DateTime<Utc>, now: DateTime<Utc>) -> DateTime<Utc> {
    now.max(last + TimeDelta::microseconds(1))
}

/// Adds ids that are not there. `false`: all were.
pub(crate) fn add_ids(publication: &mut Publication, ids: &[String]) -> bool {
    let before = publication.remote_ids.len();
    for id in ids {
        if !publication.remote_ids.contains(id) {
            publication.remote_ids.push(id.clone());
        }
    }
    publication.remote_ids.len() > before
}

/// Whether an event tells of an attempt that no post is known under.
pub(crate) fn is_stray(event: &IncomingEvent, post: Option<PostId>) -> bool {
    let is_news = matches!(event.kind, EventKind::PostProgress | EventKind::PostVisible { .. });
    is_news && post.is_none() && event.remote_ref.is_some()
}

/// Tokens open only under the version that they were sealed for, so they are stored under no other.
pub(crate) fn check_version(tokens: &TokenUpdate, expected_version: i64) -> StoreResult<()> {
    if expected_version.checked_add(1) == Some(tokens.tokens.version) {
        return Ok(());
    }
    Err(StoreError::Other("the tokens are sealed for another version".into()))
}

/// The refresh job of an account that has none left.
pub(crate) fn refresh_job(id: JobId, account: &Account) -> NewJob {
    NewJob {
        id,
        tenant: account.tenant,
        kind: JobKind::Refresh,
        target: account.id.as_uuid(),
        concurrency_key: None,
        run_at: None,
        correlation_id: id.to_string(),
    }
}

/// The job that reads the numbers of an account's posts, for one that is watched from now on. A post is watched once, so its
/// id is good for the job too.
pub(crate) fn metrics_job(post: &PostRecord, run_at: DateTime<Utc>) -> NewJob {
    NewJob {
        id: JobId::from_uuid(post.id.as_uuid()),
        tenant: post.tenant,
        kind: JobKind::Metrics,
        target: post.account.as_uuid(),
        concurrency_key: None,
        run_at: Some(run_at),
        correlation_id: format!("metrics-{}", post.account),
    }
}

/// The job that sends a delivery. Those of one endpoint run one after another.
pub(crate) fn delivery_job(id: JobId, tenant: TenantId, endpoint: EndpointId, delivery: DeliveryId) -> NewJob {
    NewJob {
        id,
        tenant,
        kind: JobKind::Deliver,
        target: delivery.as_uuid(),
        concurrency_key: Some(endpoint.to_string()),
        run_at: None,
        correlation_id: delivery.to_string(),
    }
}

/// Says that an endpoint gets nothing more until its tenant turns it on again. It may be turned off more than once.
pub(crate) fn endpoint_disabled(id: EventId, endpoint: EndpointId, code: &str, now: DateTime<Utc>) -> NewEvent {
    NewEvent {
        id,
        name: "webhook_endpoint.disabled".to_owned(),
        dedupe_key: format!("{endpoint}:disabled:{}", now.timestamp_micros()),
        account: None,
        post: None,
        payload: object!({ "endpoint_id": endpoint, "code": code }),
    }
}

/// Says that a stored file has come to the end of its time.
pub(crate) fn media_expired(id: EventId, media: MediaId, label: Option<&str>) -> NewEvent {
    NewEvent {
        id,
        name: "media.expired".to_owned(),
        dedupe_key: format!("{media}:media.expired"),
        account: None,
        post: None,
        payload: object!({ "media_id": media, "name": label }),
    }
}

/// How the job of a delivery ends.
pub(crate) fn delivery_job_end(end: &DeliveryEnd) -> JobEnd {
    match end.next {
        NextDelivery::Again(run_at) => JobEnd::Again {
            run_at,
            code: end
                .attempt
                .as_ref()
                .and_then(|attempt| attempt.code.clone())
                .unwrap_or_default(),
        },
        // What was given up is told by the delivery itself, to its tenant. No operator has to act.
        NextDelivery::Delivered | NextDelivery::Failed | NextDelivery::Held => JobEnd::Done,
    }
}

/// The states that a window of deliveries is redelivered from: never one that a delivery in the window comes back to.
pub(crate) fn redelivered(wanted: Option<DeliveryStatus>) -> impl Iterator<Item = DeliveryStatus> {
    let states = [DeliveryStatus::Failed, DeliveryStatus::Held];
    states
        .into_iter()
        .filter(move |status| wanted.is_none_or(|wanted| wanted == *status))
}

/// What is purged, with the time before which it must have ended.
pub(crate) fn purged_deliveries(
    delivered: DateTime<Utc>,
    undelivered: DateTime<Utc>,
) -> [(DeliveryStatus, DateTime<Utc>); 3] {
    [
        (DeliveryStatus::Delivered, delivered),
        (DeliveryStatus::Failed, undelivered),
        (DeliveryStatus::Held, undelivered),
    ]
}

/// The state of an endpoint, as stored.
pub(crate) fn endpoint_status(enabled: bool) -> &'static str {
    if enabled { "enabled" } else { "disabled" }
}

/// A length of time as the databases reckon it: in whole microseconds, and a century is for ever.
pub(crate) fn span(length: Duration) -> TimeDelta {
    const CENTURY_MICROS: i64 = 36_525 * 86_400 * 1_000_000;
    TimeDelta::microseconds(
        i64::try_from(length.as_micros()).map_or(CENTURY_MICROS, |micros| micros.min(CENTURY_MICROS)),
    )
}

/// The ids between which a tenant's id lies: one tenant, or all of them. So all are found through the index that one is.
pub(crate) fn tenants(tenant: Option<TenantId>) -> (Uuid, Uuid) {
    tenant.map_or((Uuid::nil(), Uuid::max()), |tenant| {
        (tenant.as_uuid(), tenant.as_uuid())
    })
}

/// Whoever was told that its turn comes, and does not come, loses it after this long: much more than a job that is due
/// waits for a worker.
pub(crate) const TURN_GRACE: TimeDelta = TimeDelta::seconds(30);
/// As many of a line are told when their turn comes. Those behind them go by what they were told when they came.
pub(crate) const LINE: i64 = 64;

/// Whose turn it is in the line before a full window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Turn {
    /// The place that falls to it, counted in the order in which those in use free. `None`: one that is free.
    pub place: Option<i64>,
    /// How often that place is somebody else's before.
    rounds: u32,
}

impl Turn {
    /// The turn of one that has `ahead` others before it.
    pub(crate) fn of(used: u32, limit: u32, ahead: i64) -> Self {
        let (used, limit) = (i64::from(used), i64::from(limit));
        // Without any place, it waits for the last one that was given out when there were some.
        let place = ahead.checked_rem(limit).unwrap_or(0) + used - limit;
        Self {
            place: (place >= 0).then_some(place),
            rounds: u32::try_from(ahead.checked_div(limit).unwrap_or(0)).unwrap_or(u32::MAX),
        }
    }

    /// When it comes: once the place frees and the window is open, and each one before has held the place for as long as
    /// it may. Mostly it comes sooner, since places are settled.
    pub(crate) fn due(
        self,
        frees_at: DateTime<Utc>,
        paused_until: Option<DateTime<Utc>>,
        hold: Duration,
    ) -> DateTime<Utc> {
        let first = paused_until.map_or(frees_at, |until| until.max(frees_at));
        first
            .checked_add_signed(span(hold.saturating_mul(self.rounds)))
            .unwrap_or(first)
    }
}

/// The times at which the first of a line get the places of a window, in their order: those that are free now, then the
/// ones in use (`frees`, in the order in which they free). If the limit was lowered, some free for nobody.
pub(crate) fn turns(
    places: u32,
    frees: &[DateTime<Utc>],
    now: DateTime<Utc>,
    paused_until: Option<DateTime<Utc>>,
) -> impl Iterator<Item = DateTime<Utc>> {
    let places = places as usize;
    let free = std::iter::repeat_n(now, places.saturating_sub(frees.len()));
    let used = frees.iter().skip(frees.len().saturating_sub(places)).copied();
    free.chain(used)
        .map(move |at| paused_until.map_or(at, |until| until.max(at)))
}

fn without_nul(value: &mut Value) {
    match value {
        Value::String(string) => {
            if string.contains('\0') {
                *string = text(string).into_owned();
            }
        }
        Value::Array(items) => items.iter_mut().for_each(without_nul),
        Value::Object(fields) => {
            if fields.keys().any(|key| key.contains('\0')) {
                *fields = std::mem::take(fields)
                    .into_iter()
                    .map(|(key, value)| (text(&key).into_owned(), value))
                    .collect();
            }
            fields.values_mut().for_each(without_nul);
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_nul_never_reaches_a_database() {
        let Json(stored) = super::json(&json!({"a\0": ["\0", {"b": "x\0y"}], "c": 1})).unwrap();
        assert_eq!(stored, json!({"a\u{fffd}": ["\u{fffd}", {"b": "x\u{fffd}y"}], "c": 1}));
        assert_eq!(text("a\0"), "a\u{fffd}");
    }

    #[test]
    fn turns_go_round_the_places_in_the_order_in_which_they_free() {
        let turn = |used, limit, ahead| {
            let Turn { place, rounds } = Turn::of(used, limit, ahead);
            (place, rounds)
        };
        assert_eq!(turn(6, 6, 0), (Some(0), 0));
        assert_eq!(turn(6, 6, 5), (Some(5), 0));
        assert_eq!(turn(6, 6, 6), (Some(0), 1));
        // The limit was lowered: two must go first.
        assert_eq!(turn(8, 6, 0), (Some(2), 0));
        // A window that is paused has free places.
        assert_eq!(turn(2, 6, 0), (None, 0));
        assert_eq!(turn(2, 6, 4), (Some(0), 0));
        assert_eq!(turn(2, 0, 3), (Some(2), 0));
        let at = DateTime::UNIX_EPOCH;
        let later = |seconds| at + TimeDelta::seconds(seconds);
        let frees = [later(1), later(2), later(3)];
        let told = |places, paused_until| turns(places, &frees, at, paused_until).collect::<Vec<_>>();
        assert_eq!(told(5, None), [at, at, later(1), later(2), later(3)]);
        assert_eq!(told(2, None), [later(2), later(3)]);
        assert_eq!(told(4, Some(later(2))), [later(2), later(2), later(2), later(3)]);
        assert_eq!(
            Turn::of(6, 6, 13).due(at, Some(at + TimeDelta::seconds(5)), Duration::from_secs(60)),
            at + TimeDelta::seconds(125)
        );
        assert_eq!(
            Turn::of(1, 1, i64::MAX).due(at, None, Duration::MAX).timestamp(),
            36_525 * 86_400
        );
    }

    #[test]
    fn no_length_of_time_overflows() {
        assert_eq!(span(Duration::from_secs(5)), TimeDelta::seconds(5));
        assert_eq!(span(Duration::from_nanos(1_999)), TimeDelta::microseconds(1));
        assert_eq!(span(Duration::MAX), TimeDelta::days(36_525));
    }
}
