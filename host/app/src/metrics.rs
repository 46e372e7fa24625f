//! Numbers of published posts: read on a schedule by the account's job, for all of its posts that are due at once. They are
//! never in the way of publishing: they have workers of their own, take their places in the same rate limits, and wait for
//! what they do not get.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};
use patchbay_core::{
    AccountId, Capability, Count, Ctx, ErrorKind, EventId, Manifest, Metric, NoMetric, PostKind, PostMetrics,
    ProviderError,
};
use serde_json::json;
use tracing::warn;

use crate::{
    App,
    model::{AccountStatus, Job, MetricWatch, Missing, NewEvent, NewReading, PostRecord, PostStatus, schedule},
    outbound::Outbound,
    registry::Registered,
    store::{JobEnd, MAX_LOST, StoreError},
    tokens::{self, CALL_MARGIN, Ready, TokenError},
    vault::VaultError,
    work::backoff,
};

/// Posts that are read in one run. Each platform pages them as it allows.
const TOGETHER: u32 = 40;
/// First and longest pause after a passing fault.
const PAUSE: (Duration, Duration) = (Duration::from_mins(1), Duration::from_hours(6));

/// What the platform told of posts by their ids, or why it told nothing.
type Told = Result<BTreeMap<String, PostMetrics>, NoMetric>;

/// Reads the posts of an account that are due.
pub(crate) async fn run(app: &Arc<App>, job: &Job) -> Result<(), StoreError> {
    let account = AccountId::from_uuid(job.target);
    if job.lost >= MAX_LOST {
        let code = "quarantined".to_owned();
        app.store.end_job(job.lease(), &JobEnd::Dead { code }).await?;
        return Ok(());
    }
    let mut due = Vec::new();
    for watch in app.store.due_watches(job.tenant, account, TOGETHER).await? {
        // One that is gone meanwhile has taken its watch along.
        if let Some(post) = app.store.post(job.tenant, watch.post).await? {
            due.push((watch, post));
        }
    }
    let told = match ask(app, job, account, &due).await? {
        Ok(told) => told,
        Err(fault) => return later(app, job, &fault).await,
    };
    let now = app.env.now();
    let readings: Vec<_> = due
        .into_iter()
        .map(|(watch, post)| read(app, &watch, &post, &told, now))
        .collect();
    app.store
        .record_readings(job.lease(), job.tenant, account, &readings)
        .await
}

/// Asks the platform for all posts at once; after a refused token once more with a renewed one. No call is made for an account
/// that may not ask.
///
/// # Errors
/// The inner one: a passing fault, and nothing is known.
async fn ask(
    app: &Arc<App>,
    job: &Job,
    id: AccountId,
    due: &[(MetricWatch, PostRecord)],
) -> Result<Result<Told, ProviderError>, StoreError> {
    let Some((_, first)) = due.first() else {
        return Ok(Ok(Ok(BTreeMap::new())));
    };
    let Ok(registered) = app.registered(&first.provider) else {
        let error = ProviderError::new(
            ErrorKind::Retryable,
            "provider_not_loaded",
            "the provider is not loaded",
        );
        return Ok(Err(error));
    };
    let manifest = registered.manifest();
    let counted = due
        .iter()
        .filter(|(_, post)| !metrics_of(manifest, post.content.kind).is_empty());
    let ids: Vec<_> = counted
        .flat_map(|(_, post)| post.publication.remote_ids.iter().cloned())
        .collect();
    if ids.is_empty() {
        return Ok(Ok(Err(NoMetric::NotGiven)));
    }
    let Some(account) = app.store.account(job.tenant, id).await? else {
        return Ok(Ok(Err(NoMetric::NotAvailable)));
    };
    if account.status != AccountStatus::Active {
        return Ok(Ok(Err(NoMetric::ReconnectRequired)));
    }
    if !manifest.lacking(Capability::Metrics, &account.scopes).is_empty() {
        return Ok(Ok(Err(NoMetric::MissingScope)));
    }
    let mut ready = tokens::ready(app, job.tenant, id, CALL_MARGIN).await;
    for last in [false, true] {
        let usable = match ready {
            Ok(usable) => usable,
            Err(TokenError::Refresh(error)) if error.kind.retry_helps() => return Ok(Err(error)),
            Err(TokenError::Refresh(_) | TokenError::NotActive(_) | TokenError::Gone) => {
                return Ok(Ok(Err(NoMetric::ReconnectRequired)));
            }
            Err(TokenError::Vault(VaultError::Store(error))) => return Err(error),
            Err(TokenError::Vault(error)) => {
                warn!(account.id = %id, %error, "The tokens do not open, so no numbers are read");
                return Ok(Ok(Err(NoMetric::ReconnectRequired)));
            }
        };
        let version = usable.account.token_version;
        let error = match call(app, job, &registered, usable, &ids).await {
            Ok(told) => return Ok(Ok(Ok(told))),
            Err(error) => error,
        };
        match error.kind {
            ErrorKind::ReauthRequired if error.code == "missing_scope" => return Ok(Ok(Err(NoMetric::MissingScope))),
            // Whether the grant is over is for those to say who publish and renew.
            ErrorKind::ReauthRequired if last => return Ok(Ok(Err(NoMetric::ReconnectRequired))),
            ErrorKind::ReauthRequired => ready = tokens::ready_newer(app, job.tenant, id, version).await,
            _ if error.kind.retry_helps() => return Ok(Err(error)),
            _ => {
                warn!(account.id = %id, code = %error.code, "The platform refused to tell numbers of posts");
                return Ok(Ok(Err(NoMetric::Refused)));
            }
        }
    }
    Ok(Ok(Err(NoMetric::ReconnectRequired)))
}

async fn call(
    app: &App,
    job: &Job,
    registered: &Registered,
    ready: Ready,
    ids: &[String],
) -> Result<BTreeMap<String, PostMetrics>, ProviderError> {
    let Some(publisher) = registered.provider.publisher() else {
        return Ok(BTreeMap::new());
    };
    let mut told = BTreeMap::new();
    let outbound = Outbound::new(
        app,
        registered,
        Some(&ready.account),
        ready.secrets,
        &job.correlation_id,
    );
    let ctx = Ctx::new(&outbound, app.env.now(), &registered.app, Some(&ready.view));
    for ids in ids.chunks(Manifest::MAX_METRICS_IDS) {
        let found = publisher.metrics(&ctx, ids).await?;
        told.extend(found.into_iter().map(|metrics| (metrics.remote_id.clone(), metrics)));
    }
    Ok(told)
}

/// A passing fault: the posts stay due.
async fn later(app: &App, job: &Job, fault: &ProviderError) -> Result<(), StoreError> {
    let pause = backoff(app, job.attempts, PAUSE.0, PAUSE.1);
    let asked = TimeDelta::from_std(fault.retry_after.unwrap_or_default()).unwrap_or(TimeDelta::hours(1));
    let again = JobEnd::Again {
        run_at: app.env.now() + pause.max(asked),
        code: fault.code.to_string(),
    };
    app.store.end_job(job.lease(), &again).await?;
    Ok(())
}

/// What a kind of post is counted by.
fn metrics_of(manifest: &Manifest, kind: PostKind) -> &[Metric] {
    manifest.kind(kind).map_or(&[], |rule| &rule.metrics)
}

/// What a look at the platform makes of one post.
fn read(app: &App, watch: &MetricWatch, post: &PostRecord, told: &Told, now: DateTime<Utc>) -> NewReading {
    let counted = match app.registered(&post.provider) {
        Ok(registered) => metrics_of(registered.manifest(), post.content.kind).to_vec(),
        Err(_) => Vec::new(),
    };
    let mut next = MetricWatch {
        missing: Missing::new(),
        ..watch.clone()
    };
    let mut is_told = false;
    for metric in counted.iter().copied() {
        match told.as_ref().map(|told| count(told, post, metric)) {
            Ok(Count::Of(count)) => {
                next.counts.insert(metric, count);
                is_told = true;
            }
            Ok(Count::Missing(reason)) | Err(&reason) => {
                next.missing.insert(metric, reason);
            }
        }
    }
    let changed = next.counts != watch.counts;
    next.unchanged = if changed { 0 } else { watch.unchanged.saturating_add(1) };
    next.read_at = if is_told { Some(now) } else { watch.read_at };
    next.next_at = schedule::next(watch.since, now, next.unchanged).filter(|_| !counted.is_empty());
    let event = changed.then(|| NewEvent {
        id: EventId::from_uuid(app.env.ids.next()),
        name: "post.metrics_updated".to_owned(),
        dedupe_key: format!("{}:metrics:{}", post.id, now.timestamp_micros()),
        account: Some(post.account),
        post: Some(post.id),
        payload: json!({ "counts": next.counts, "read_at": now }),
    });
    NewReading {
        id: app.env.ids.next(),
        watch: next,
        is_told,
        event,
    }
}

/// The sum over what is visible of a post. What the platform does not show any more counts as missing only if nothing is left.
fn count(told: &BTreeMap<String, PostMetrics>, post: &PostRecord, metric: Metric) -> Count {
    let shown = post.publication.remote_ids.iter().filter_map(|id| told.get(id));
    let counts = shown.map(|metrics| {
        metrics
            .counts
            .get(&metric)
            .copied()
            .unwrap_or(Count::Missing(NoMetric::NotYet))
    });
    counts
        .reduce(|sum, next| match (sum, next) {
            (Count::Of(sum), Count::Of(next)) => Count::Of(sum.saturating_add(next)),
            (Count::Of(sum), Count::Missing(_)) | (Count::Missing(_), Count::Of(sum)) => Count::Of(sum),
            (Count::Missing(reason), Count::Missing(_)) => Count::Missing(reason),
        })
        .unwrap_or(Count::Missing(NoMetric::NotAvailable))
}

/// One number of a post for those who ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Known {
    /// What is counted.
    pub metric: Metric,
    /// As it was read last.
    pub value: Option<u64>,
    /// Why there is none, or why it could not be read anew.
    pub reason: Option<NoMetric>,
}

/// All numbers of a post: each has a value or a reason.
#[must_use]
pub fn known(app: &App, post: &PostRecord, watch: Option<&MetricWatch>) -> Vec<Known> {
    let registered = app.registered(&post.provider).ok();
    let counted = registered.as_ref().map_or(&[][..], |registered| {
        metrics_of(registered.manifest(), post.content.kind)
    });
    let one = |metric: Metric| {
        let value = watch.and_then(|watch| watch.counts.get(&metric).copied());
        let reason = watch.and_then(|watch| watch.missing.get(&metric).copied());
        let reason = reason.or_else(|| match (value, watch, post.status) {
            (Some(_), ..) => None,
            _ if !counted.contains(&metric) => Some(NoMetric::NotGiven),
            (None, Some(_), _) => Some(NoMetric::NotYet),
            (None, None, PostStatus::Draft | PostStatus::Queued | PostStatus::Publishing) => Some(NoMetric::NotYet),
            // One in the person's inbox, a private post without a public id, or one that came to nothing.
            (None, None, _) => Some(NoMetric::NotAvailable),
        });
        Known { metric, value, reason }
    };
    Metric::ALL.map(one).to_vec()
}
