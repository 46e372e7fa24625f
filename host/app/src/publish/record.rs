//! What a step made of a post, written in one transaction: state, checkpoint, next run, events, quota.

use std::{borrow::Cow, collections::BTreeMap, sync::Arc, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};
use patchbay_core::{Checkpoint, ErrorKind, FollowUp, Progress, ProviderError, Publication, Quota, SecretRef, WhoActs};
use serde_json::json;
use tracing::{info, warn};
use zeroize::Zeroizing;

use super::{
    post_event,
    step::{ACCESS_REVOKED, Learned, RECONNECT_BUDGET, Verdict, Wish},
};
use crate::{
    App, failpoint, limits,
    model::{CommitOutcome, Failure, Job, NewEvent, ObservationSource, PostRecord, PostStatus, PostTransition},
    outbound::{Observed, SecretBag},
    store::{JobEnd, QuotaChange, StepRecord, StoreError},
    vault::{Place, VaultError},
};

/// How long passing faults may go on before a post is given up.
const BUDGET: TimeDelta = TimeDelta::hours(24);
/// How long a quota counts as used up after a platform said so, without a word on how long.
const QUOTA_WAIT: Duration = Duration::from_hours(1);

pub(super) async fn record(
    app: &Arc<App>,
    job: &Job,
    post: PostRecord,
    verdict: Verdict,
    mut learned: Learned,
) -> Result<(), StoreError> {
    let now = app.env.now();
    let mut record = StepRecord {
        tenant: post.tenant,
        post: post.id,
        step: post.step,
        transition: PostTransition {
            tries: post.tries,
            ..PostTransition::to(post.status)
        },
        run_at: None,
        events: Vec::new(),
        quota: QuotaChange::Keep,
        observations: Vec::new(),
        adopts: None,
    };
    let label = match &verdict {
        Verdict::Failed(error, _) | Verdict::Unconfirmed(error) => code_label(error),
        _ => "ok",
    };
    let open = if post.status == PostStatus::Queued {
        PostStatus::Publishing
    } else {
        post.status
    };
    match verdict {
        Verdict::LookAgain(error) => {
            let run_at = now + backoff(app, job.attempts, error.retry_after);
            let end = JobEnd::Again {
                run_at,
                code: error.code.to_string(),
            };
            app.store.end_job(job.lease(), &end).await?;
            return Ok(());
        }
        Verdict::Progress(progress, observed, secrets) => {
            apply_progress(app, &post, progress, observed, &secrets, &mut record).await?;
        }
        Verdict::Unconfirmed(error) => {
            if learned.observations.is_empty() {
                learned.observe(app, ObservationSource::Host, CommitOutcome::Unknown, Some(&error.code));
            }
            record.transition.status = PostStatus::Unconfirmed;
            record.transition.failure = Some(Failure::of(&error));
        }
        Verdict::Cancelled => record.transition.status = PostStatus::Cancelled,
        // As any passing fault: later each time, and not for ever.
        Verdict::Again(..) if now - begins(&post) >= BUDGET => {
            let error = ProviderError::new(
                ErrorKind::Permanent,
                "answer_lost",
                "the answers of all attempts were lost, and none had an effect",
            )
            .advise("No attempt of a whole day was answered, and none had an effect. Post it anew.")
            .for_who(WhoActs::Caller);
            apply_failure(app, &post, open, &error, Observed::default(), now, &mut record);
        }
        Verdict::Again(checkpoint, secrets) => {
            record.transition.status = if open == PostStatus::Unconfirmed {
                PostStatus::Publishing
            } else {
                open
            };
            seal_checkpoint(app, &post, checkpoint, &secrets, &mut record).await?;
            record.transition.tries = post.tries + 1;
            record.run_at = Some(now + backoff(app, post.tries + 1, None));
        }
        Verdict::Wait(run_at, failure) => {
            // Still queued: nothing has been sent. `Queued` is not re-entered by a transition, so it becomes open.
            record.transition.status = open;
            if post.failure.as_ref().is_none_or(|before| before.code != failure.code) {
                let payload = json!({ "account_id": post.account, "failure": failure });
                let event = post_event(app, post.id, "post.waiting", payload);
                record.events.push(NewEvent {
                    account: Some(post.account),
                    dedupe_key: format!("{}:{}", event.dedupe_key, post.step),
                    ..event
                });
            }
            record.transition.failure = Some(failure);
            record.run_at = Some(run_at);
        }
        Verdict::Failed(error, observed) => {
            obey_quota(app, &post, &error).await?;
            apply_failure(app, &post, open, &error, observed, now, &mut record);
        }
    }
    record.observations = learned.observations;
    record.adopts = learned.adopts;
    record.transition.cancel_handled = learned.wish == Wish::Answered;
    let status = record.transition.status;
    let goes_on = record.run_at.is_some() || matches!(status, PostStatus::Unconfirmed | PostStatus::Delivered);
    if record.transition.checkpoint.is_none() && goes_on {
        reseal(app, &post, &mut record).await?;
    }
    record.quota = quota_change(app, &post, &record.transition);
    if status != post.status && !status.is_open() {
        note_outcome(app, &post, label, &mut record);
        failpoint::hit("pub.final");
    }
    app.store.record_step(job.lease(), &record).await?;
    failpoint::recorded(post.id);
    if status != post.status && !status.is_open() {
        failpoint::hit("pub.notified");
    }
    Ok(())
}

async fn apply_progress(
    app: &App,
    post: &PostRecord,
    progress: Progress,
    observed: Observed,
    secrets: &SecretBag,
    record: &mut StepRecord,
) -> Result<(), StoreError> {
    let now = app.env.now();
    record.transition.tries = 0;
    match progress {
        Progress::Continue { checkpoint, wake_after } => {
            record.transition.status = match post.status {
                PostStatus::Queued | PostStatus::Unconfirmed => PostStatus::Publishing,
                other => other,
            };
            record.run_at = Some(now + bounded(wake_after));
            seal_checkpoint(app, post, Some(checkpoint), secrets, record).await
        }
        Progress::Delivered { checkpoint, wake_after } => {
            record.transition.status = PostStatus::Delivered;
            record.run_at = wake_after.map(|wait| now + bounded(wait));
            seal_checkpoint(app, post, Some(checkpoint), secrets, record).await
        }
        Progress::Published { publication, follow_up } => {
            if !observed.evidence && !has_receipt(app, post).await? {
                let error = ProviderError::new(
                    ErrorKind::Permanent,
                    "failed_contract",
                    "the provider says published, but no answer of the platform shows it",
                );
                apply_failure(app, post, PostStatus::Publishing, &error, observed, now, record);
                return Ok(());
            }
            record.transition.status = PostStatus::Published;
            record.transition.publication = Some(merge(&post.publication, publication));
            match follow_up {
                Some(FollowUp { checkpoint, wake_after }) => {
                    record.run_at = Some(now + bounded(wake_after));
                    seal_checkpoint(app, post, Some(checkpoint), secrets, record).await
                }
                None => Ok(()),
            }
        }
    }
}

/// Ids that a webhook brought meanwhile stay.
fn merge(old: &Publication, new: Publication) -> Publication {
    let mut remote_ids = old.remote_ids.clone();
    for id in new.remote_ids {
        if !remote_ids.contains(&id) {
            remote_ids.push(id);
        }
    }
    Publication {
        remote_ids,
        url: new.url.or_else(|| old.url.clone()),
    }
}

async fn has_receipt(app: &App, post: &PostRecord) -> Result<bool, StoreError> {
    let commits = app.store.commits(post.tenant, post.id).await?;
    Ok(commits
        .iter()
        .any(|commit| commit.answer_status.is_some_and(|status| (200..300).contains(&status))))
}

fn apply_failure(
    app: &App,
    post: &PostRecord,
    open: PostStatus,
    error: &ProviderError,
    observed: Observed,
    now: DateTime<Utc>,
    record: &mut StepRecord,
) {
    let failure = Failure::of(error);
    let age = now - begins(post);
    let tries = post.tries + 1;
    let again = match error.kind {
        ErrorKind::Retryable if age < BUDGET => Some(backoff(app, tries, error.retry_after)),
        // A slot of our own frees at a known time. A platform's limit without a time is asked again in a minute.
        ErrorKind::RateLimited if age < RECONNECT_BUDGET => {
            Some(bounded(error.retry_after.unwrap_or(Duration::from_secs(60))) + TimeDelta::milliseconds(50))
        }
        // The token has just been renewed by force: once more, now.
        ErrorKind::ReauthRequired if !["missing_scope", ACCESS_REVOKED].contains(&&*error.code) => {
            Some(TimeDelta::zero())
        }
        _ => None,
    };
    warn!(post.id = %post.id, code = %error.code, kind = error.kind.as_str(), status = ?observed.commit_status,
        retry = again.is_some(), detail = %error.message, "A step of post {} failed", post.id);
    record.transition.tries = if error.kind == ErrorKind::RateLimited {
        post.tries
    } else {
        tries
    };
    match (post.status, again) {
        // What is settled stays settled. The look for more goes on after a passing fault, and else ends.
        (PostStatus::Published, again) => {
            record.transition.status = PostStatus::Published;
            record.run_at = again.map(|wait| now + wait);
        }
        (PostStatus::Delivered, Some(wait)) => {
            record.transition.status = PostStatus::Delivered;
            record.run_at = Some(now + wait);
        }
        (_, Some(wait)) => {
            record.transition.status = open;
            record.transition.failure = Some(failure);
            record.run_at = Some(now + wait);
        }
        (_, None) => {
            let cancelled = error.code == "publish_cancelled";
            record.transition.status = if cancelled {
                PostStatus::Cancelled
            } else {
                PostStatus::Failed
            };
            record.transition.failure = Some(failure);
        }
    }
}

/// When a post's time began.
pub(super) fn begins(post: &PostRecord) -> DateTime<Utc> {
    post.scheduled_at.unwrap_or(post.created_at)
}

/// The platform says that a quota is used up: until it may have a place again, no post that counts for it is begun.
async fn obey_quota(app: &App, post: &PostRecord, error: &ProviderError) -> Result<(), StoreError> {
    let Ok(registered) = app.registered(&post.provider) else {
        return Ok(());
    };
    let named = |quota: &&Quota| error.quota == Some(quota.name);
    match registered.manifest().quotas.iter().find(named) {
        Some(quota) => {
            let window = limits::quota_window(post.tenant, post.account, quota);
            let wait = error.retry_after.unwrap_or(QUOTA_WAIT);
            app.store.pause_window(&window, wait).await
        }
        None => Ok(()),
    }
}

/// A place in a quota is reserved when a post begins. The platform counts from when it takes the post, which is later.
fn quota_change(app: &App, post: &PostRecord, transition: &PostTransition) -> QuotaChange {
    let registered = app.registered(&post.provider).ok();
    let mut quotas = registered
        .iter()
        .flat_map(|registered| registered.manifest().quotas_of(post.content.mode));
    match transition.status {
        PostStatus::Failed | PostStatus::Cancelled => QuotaChange::Free,
        PostStatus::Published if quotas.any(|quota| quota.frees_when_done) => QuotaChange::Free,
        PostStatus::Draft
        | PostStatus::Queued
        | PostStatus::Publishing
        | PostStatus::Delivered
        | PostStatus::Published
        | PostStatus::Unconfirmed => {
            let name = |checkpoint: &Option<Checkpoint>| checkpoint.as_ref()?.remote_ref.clone();
            let taken = name(&transition.checkpoint).is_some_and(|new| name(&post.checkpoint) != Some(new));
            match quotas.map(|quota| quota.window).max() {
                Some(window) if taken => QuotaChange::Hold(window),
                _ => QuotaChange::Keep,
            }
        }
    }
}

/// Seals the secrets that a checkpoint names together with it.
async fn seal_checkpoint(
    app: &App,
    post: &PostRecord,
    checkpoint: Option<Checkpoint>,
    secrets: &SecretBag,
    record: &mut StepRecord,
) -> Result<(), StoreError> {
    let Some(checkpoint) = checkpoint else { return Ok(()) };
    let state = checkpoint.state.to_string();
    if state.len() > Checkpoint::MAX_BYTES {
        let error = ProviderError::new(
            ErrorKind::Permanent,
            "failed_contract",
            "a checkpoint larger than 16 KiB",
        );
        record.transition.status = PostStatus::Failed;
        record.transition.failure = Some(Failure::of(&error));
        record.run_at = None;
        return Ok(());
    }
    let named: BTreeMap<&SecretRef, &str> = secrets
        .captured()
        .filter(|(handle, _)| state.contains(&format!("\"{}\"", handle.as_str())))
        .map(|(handle, value)| (handle, value.expose().as_str()))
        .collect();
    if !named.is_empty() {
        let plain = Zeroizing::new(serde_json::to_vec(&named).map_err(|error| StoreError::Other(error.into()))?);
        record.transition.captured = Some(seal(app, post, &plain).await?);
    }
    record.transition.checkpoint = Some(checkpoint);
    Ok(())
}

/// A checkpoint that stays keeps its secrets. They are bound to the step, so they move on with it.
async fn reseal(app: &App, post: &PostRecord, record: &mut StepRecord) -> Result<(), StoreError> {
    let (Some(sealed), Some(checkpoint)) = (&post.captured, &post.checkpoint) else {
        return Ok(());
    };
    let opened = match app.vault.unseal(captured_place(post, post.step), sealed).await {
        Ok(opened) => opened,
        Err(VaultError::Store(error)) => return Err(error),
        Err(error) => {
            return Err(StoreError::Corrupt {
                table: "posts",
                what: error.to_string(),
            });
        }
    };
    record.transition.captured = Some(seal(app, post, opened.expose()).await?);
    record.transition.checkpoint = Some(checkpoint.clone());
    Ok(())
}

async fn seal(app: &App, post: &PostRecord, plain: &[u8]) -> Result<Vec<u8>, StoreError> {
    app.vault
        .seal(captured_place(post, post.step + 1), plain)
        .await
        .map_err(|error| match error {
            VaultError::Store(error) => error,
            error @ (VaultError::Sealed | VaultError::TooLong) => StoreError::Other(error.into()),
        })
}

pub(super) fn captured_place(post: &PostRecord, step: i64) -> Place {
    Place {
        tenant: post.tenant,
        table: "posts",
        row: post.id.as_uuid(),
        column: "captured",
        version: step,
    }
}

/// A code from a provider's table, for a metric. What a platform made up goes together, so that labels stay few.
fn code_label(error: &ProviderError) -> &'static str {
    match error.code {
        Cow::Borrowed(code) => code,
        Cow::Owned(_) => "other",
    }
}

fn note_outcome(app: &App, post: &PostRecord, label: &'static str, record: &mut StepRecord) {
    let status = record.transition.status;
    let code = record.transition.failure.as_ref().map(|failure| failure.code.clone());
    let name = format!("post.{status}");
    let payload = json!({
        "status": status,
        "account_id": post.account,
        "remote_ids": record.transition.publication.as_ref().map(|publication| publication.remote_ids.clone()),
        "failure": record.transition.failure,
    });
    let mut event = NewEvent {
        account: Some(post.account),
        ..post_event(app, post.id, &name, payload)
    };
    if status == PostStatus::Failed {
        // It may go on, and fail once more.
        event.dedupe_key = format!("{}:{}", event.dedupe_key, post.step);
    }
    record.events.push(event);
    metrics::counter!("patchbay_publishes_total",
        "provider" => post.provider.to_string(),
        "outcome" => status.as_str(),
        "code" => label)
    .increment(1);
    info!(post.id = %post.id, %status, code, "Post {} is {status}", post.id);
}

/// 5 s, doubled with each try, at most ten minutes, times 0.5 to 1.5; or what the platform asked for, if longer.
fn backoff(app: &App, tries: i32, asked: Option<Duration>) -> TimeDelta {
    let doublings = u32::try_from(tries.saturating_sub(1)).unwrap_or(0).min(7);
    let wait = Duration::from_secs(5 * 2_u64.pow(doublings)).min(Duration::from_mins(10));
    bounded(wait.mul_f64(0.5 + app.env.fraction()).max(asked.unwrap_or_default()))
}

/// Nothing waits longer than a day by a provider's word.
fn bounded(wait: Duration) -> TimeDelta {
    TimeDelta::from_std(wait)
        .unwrap_or(TimeDelta::days(1))
        .min(TimeDelta::days(1))
}
