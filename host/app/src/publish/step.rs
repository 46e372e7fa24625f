//! One step of a post: the job of kind `Publish`. Claimed, run, recorded in one transaction; killed anywhere, it runs
//! again, and no irreversible call is sent twice.

use std::{borrow::Cow, collections::BTreeMap, sync::Arc, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};
use patchbay_core::{
    Cancelled, Checkpoint, Ctx, ErrorKind, EventId, FollowUp, Post, PostId, PostMode, Progress, ProviderError,
    Publication, Publisher, Reconciled, SecretRef, SlotId,
};
use serde_json::json;
use tracing::{info, warn};
use zeroize::Zeroizing;

use super::{post_event, publisher};
use crate::{
    App,
    model::{AccountStatus, Failure, Job, NewEvent, PostRecord, PostStatus, PostTransition},
    outbound::{CommitScope, Observed, Outbound, SecretBag},
    registry::Registered,
    secret::Secret,
    store::{JobEnd, SlotRequest, StepRecord, StoreError, TakenSlot},
    tokens::{self, PUBLISH_MARGIN, Ready, TokenError},
    vault::{Place, VaultError},
};

/// How long passing faults may go on before a post is given up.
const BUDGET: TimeDelta = TimeDelta::hours(24);
/// How long a post waits for its account to be connected again.
const RECONNECT_BUDGET: TimeDelta = TimeDelta::days(7);
/// Looks again this often, although a reconnect wakes the post.
const RECONNECT_POLL: TimeDelta = TimeDelta::hours(1);
/// Claims that ended without a verdict (crashes) before a post is put aside.
const MAX_CLAIMS: i32 = 5;

/// What one run made of the post.
enum Verdict {
    /// The provider's word, and what was seen on the wire.
    Progress(Progress, Observed, SecretBag),
    /// It cannot be told what became of an irreversible call.
    Unconfirmed(ProviderError),
    /// Stopped before anything was visible.
    Cancelled,
    /// Sending again is safe; go on here.
    Again(Option<Checkpoint>),
    /// A failure, and the HTTP status of a commit that was sent in this run.
    Failed(ProviderError, Observed),
    /// Not this time: run again then, in the same state.
    Wait(DateTime<Utc>, Failure),
    /// The look at an unknown outcome failed itself: look again, with the journal untouched.
    LookAgain(ProviderError),
}

/// Runs one step.
pub(crate) async fn run(app: &Arc<App>, job: &Job) -> Result<(), StoreError> {
    let id = PostId::from_uuid(job.target);
    let Some(post) = app.store.post(job.tenant, id).await? else {
        app.store
            .end_job(
                job.lease(),
                &JobEnd::Dead {
                    code: "post_missing".to_owned(),
                },
            )
            .await?;
        return Ok(());
    };
    let nothing_to_do = match post.status {
        PostStatus::Failed | PostStatus::Cancelled => true,
        PostStatus::Published => !post.publication.remote_ids.is_empty() || post.checkpoint.is_none(),
        PostStatus::Queued | PostStatus::Publishing | PostStatus::Delivered | PostStatus::Unconfirmed => false,
    };
    if nothing_to_do {
        app.store.end_job(job.lease(), &JobEnd::Done).await?;
        return Ok(());
    }
    let verdict = decide(app, job, &post).await?;
    record(app, job, post, verdict).await
}

async fn decide(app: &Arc<App>, job: &Job, post: &PostRecord) -> Result<Verdict, StoreError> {
    let now = app.env.now();
    let none = Observed::default();
    let registered = match app.registered(&post.provider) {
        Ok(registered) => registered,
        Err(problem) => {
            let error = ProviderError::new(ErrorKind::Retryable, "provider_not_loaded", problem.to_string());
            return Ok(Verdict::Failed(error, none));
        }
    };
    let Ok(publisher) = publisher(&registered) else {
        let error = ProviderError::new(ErrorKind::Permanent, "no_publisher", "the provider does not publish");
        return Ok(Verdict::Failed(error, none));
    };
    let ready = match tokens::ready(app, post.tenant, post.account, PUBLISH_MARGIN).await {
        Ok(ready) => ready,
        Err(error) => return without_token(error, post, now),
    };
    if let Some(wait) = reserve_quota(app, &registered, post).await? {
        return Ok(Verdict::Wait(wait, quota_failure(post.content.mode)));
    }
    let view = post.content.as_post(post.id);
    let call = Call {
        app,
        registered: &registered,
        publisher,
        job,
        post,
        view: &view,
    };
    let open_mark = app
        .store
        .commits(post.tenant, post.id)
        .await?
        .iter()
        .any(|commit| commit.step == post.step && commit.answered_at.is_none());
    if open_mark || post.status == PostStatus::Unconfirmed {
        return call.reconcile(ready, earlier_unknown()).await;
    }
    if job.attempts > MAX_CLAIMS {
        let error = ProviderError::new(
            ErrorKind::Permanent,
            "step_never_ends",
            "five claims ended without a verdict",
        )
        .advise("Patchbay stopped five times in the same step of this post. Tell the operator.");
        return Ok(Verdict::Failed(error, none));
    }
    if post.cancel_requested
        && let Some(verdict) = call.cancel(&ready).await
    {
        return Ok(verdict);
    }
    call.advance(ready).await
}

struct Call<'a> {
    app: &'a Arc<App>,
    registered: &'a Registered,
    publisher: &'a dyn Publisher,
    job: &'a Job,
    post: &'a PostRecord,
    view: &'a Post,
}

impl Call<'_> {
    async fn advance(self, ready: Ready) -> Result<Verdict, StoreError> {
        let version = ready.account.token_version;
        let Ready {
            account,
            mut secrets,
            view,
        } = ready;
        if let Err(error) = self.add_captured(&mut secrets).await {
            return Ok(Verdict::Failed(error, Observed::default()));
        }
        let outbound = Outbound::new(
            self.app,
            self.registered,
            Some(&account),
            secrets,
            &self.post.correlation_id,
        )
        .for_post(CommitScope {
            lease: self.job.lease(),
            post: self.view,
            step: self.post.step,
        });
        let ctx = Ctx::new(&outbound, self.app.env.now(), &self.registered.app, Some(&view));
        let result = self
            .publisher
            .advance(&ctx, self.view, self.post.checkpoint.as_ref())
            .await;
        let (observed, secrets) = outbound.finish();
        let error = match result {
            Ok(progress) => return Ok(Verdict::Progress(progress, observed, secrets)),
            Err(error) => error,
        };
        let unknown = match error.kind {
            ErrorKind::OutcomeUnknown => true,
            // A 5xx to a commit that the provider has no word for tells nothing about its effect.
            ErrorKind::Retryable => error.code == "server_error" && observed.commit_status.is_some_and(|s| s >= 500),
            _ => false,
        };
        if unknown {
            let ready = match tokens::ready(self.app, self.post.tenant, self.post.account, PUBLISH_MARGIN).await {
                Ok(ready) => ready,
                Err(_) => return Ok(Verdict::LookAgain(error)),
            };
            return self.reconcile(ready, error).await;
        }
        let refused = error.kind == ErrorKind::ReauthRequired && error.code != "missing_scope";
        if refused {
            return self.refused_token(error, observed, version).await;
        }
        Ok(Verdict::Failed(error, observed))
    }

    /// The platform refused the token: renew it once by force, then believe it.
    async fn refused_token(
        self,
        error: ProviderError,
        observed: Observed,
        version: i64,
    ) -> Result<Verdict, StoreError> {
        let (tenant, account) = (self.post.tenant, self.post.account);
        let again = self
            .post
            .failure
            .as_ref()
            .is_some_and(|f| f.kind == ErrorKind::ReauthRequired)
            && self.post.tries > 0;
        if !again {
            return match tokens::ready_newer(self.app, tenant, account, version).await {
                Ok(_) => Ok(Verdict::Failed(error, observed)),
                Err(error) => without_token(error, self.post, self.app.env.now()),
            };
        }
        let event = NewEvent {
            id: EventId::from_uuid(self.app.env.ids.next()),
            name: "account.reauth_required".to_owned(),
            dedupe_key: format!("{account}:reauth:{version}"),
            account: Some(account),
            post: None,
            payload: json!({ "code": error.code }),
        };
        self.app
            .store
            .require_reauth(tenant, account, version, &error.code, &event)
            .await?;
        without_token(
            TokenError::NotActive(AccountStatus::ReauthRequired),
            self.post,
            self.app.env.now(),
        )
    }

    /// Looks at the platform, and only looks.
    async fn reconcile(self, ready: Ready, error: ProviderError) -> Result<Verdict, StoreError> {
        let Ready {
            account,
            mut secrets,
            view,
        } = ready;
        if let Err(error) = self.add_captured(&mut secrets).await {
            return Ok(Verdict::LookAgain(error));
        }
        let outbound = Outbound::new(
            self.app,
            self.registered,
            Some(&account),
            secrets,
            &self.post.correlation_id,
        );
        let ctx = Ctx::new(&outbound, self.app.env.now(), &self.registered.app, Some(&view));
        let looked = self
            .publisher
            .reconcile(&ctx, self.view, self.post.checkpoint.as_ref())
            .await;
        let (observed, secrets) = outbound.finish();
        Ok(match looked {
            Ok(Reconciled::Happened { progress }) => Verdict::Progress(progress, observed, secrets),
            Ok(Reconciled::DidNotHappen { checkpoint }) => Verdict::Again(checkpoint),
            Ok(Reconciled::Unknown) => Verdict::Unconfirmed(error),
            Err(fault) if fault.kind.retry_helps() || fault.kind == ErrorKind::ReauthRequired => {
                Verdict::LookAgain(fault)
            }
            // The platform speaks of this very post, and says that it failed.
            Err(fault) => Verdict::Failed(fault, observed),
        })
    }

    async fn cancel(&self, ready: &Ready) -> Option<Verdict> {
        let secrets = ready.secrets.clone();
        let outbound = Outbound::new(
            self.app,
            self.registered,
            Some(&ready.account),
            secrets,
            &self.post.correlation_id,
        );
        let ctx = Ctx::new(&outbound, self.app.env.now(), &self.registered.app, Some(&ready.view));
        match self
            .publisher
            .cancel(&ctx, self.view, self.post.checkpoint.as_ref())
            .await
        {
            Ok(Cancelled::Stopped) => Some(Verdict::Cancelled),
            // Go on: the status tells whether the platform stopped it.
            Ok(Cancelled::Requested | Cancelled::TooLate) => None,
            Err(error) => {
                warn!(post.id = %self.post.id, code = %error.code, "A post could not be stopped");
                None
            }
        }
    }

    async fn add_captured(&self, secrets: &mut SecretBag) -> Result<(), ProviderError> {
        let Some(sealed) = &self.post.captured else {
            return Ok(());
        };
        let broken = |what: &str| {
            ProviderError::new(ErrorKind::Permanent, "sealed_state", what.to_owned())
                .advise("A stored secret of this post does not open. Tell the operator.")
        };
        let place = captured_place(self.post, self.post.step);
        let opened = self
            .app
            .vault
            .unseal(place, sealed)
            .await
            .map_err(|error| match error {
                VaultError::Store(error) => ProviderError::new(ErrorKind::Retryable, "store", error.to_string()),
                error @ (VaultError::Sealed | VaultError::TooLong) => broken(&error.to_string()),
            })?;
        let captured: BTreeMap<SecretRef, String> =
            serde_json::from_slice(opened.expose()).map_err(|_| broken("not a map of handles"))?;
        for (handle, value) in captured {
            secrets.insert(handle, Secret::new(value));
        }
        Ok(())
    }
}

/// Takes a place in the post's quotas, before its first step. A time: wait until then.
async fn reserve_quota(
    app: &App,
    registered: &Registered,
    post: &PostRecord,
) -> Result<Option<DateTime<Utc>>, StoreError> {
    if post.checkpoint.is_some() || !post.status.is_open() {
        return Ok(None);
    }
    for quota in registered
        .manifest()
        .quotas
        .iter()
        .filter(|quota| quota.mode == post.content.mode)
    {
        let request = SlotRequest {
            id: SlotId::from_uuid(app.env.ids.next()),
            tenant: post.tenant,
            subject: post.account.to_string(),
            bucket: quota.name.to_owned(),
            limit: quota.limit,
            hold: quota.window,
            post: Some(post.id),
        };
        if let TakenSlot::Full { free_at } = app.store.take_slot(&request).await? {
            return Ok(Some(free_at));
        }
    }
    Ok(None)
}

fn quota_failure(mode: PostMode) -> Failure {
    let what = match mode {
        PostMode::Direct => "posts",
        PostMode::Draft => "drafts that wait in the inbox",
    };
    Failure {
        kind: ErrorKind::RateLimited,
        code: "quota".to_owned(),
        advice: format!(
            "This account has as many {what} as the platform allows in its window. The post waits for a place."
        ),
        who_acts: patchbay_core::WhoActs::Nobody,
    }
}

fn earlier_unknown() -> ProviderError {
    ProviderError::new(
        ErrorKind::OutcomeUnknown,
        "answer_lost",
        "an irreversible call has no known outcome",
    )
}

fn without_token(error: TokenError, post: &PostRecord, now: DateTime<Utc>) -> Result<Verdict, StoreError> {
    let reauth = |text: String| {
        ProviderError::new(ErrorKind::ReauthRequired, "account_not_active", text)
            .advise("The account must be connected again. The post then goes on by itself.")
    };
    let gone = |text: String| {
        ProviderError::new(ErrorKind::Permanent, "account_gone", text)
            .advise("The account was disconnected. Connect it and post anew.")
            .for_who(patchbay_core::WhoActs::AccountOwner)
    };
    let wait = |error: &ProviderError| {
        if now - post.created_at > RECONNECT_BUDGET {
            let error = gone("nobody connected the account again".to_owned());
            return Ok(Verdict::Failed(error, Observed::default()));
        }
        Ok(Verdict::Wait(now + RECONNECT_POLL, Failure::of(error)))
    };
    match error {
        TokenError::NotActive(AccountStatus::Revoked) | TokenError::Gone if post.status.is_open() => {
            Ok(Verdict::Failed(gone(error.to_string()), Observed::default()))
        }
        TokenError::NotActive(_) | TokenError::Gone => wait(&reauth(error.to_string())),
        TokenError::Refresh(error) if error.kind == ErrorKind::ReauthRequired => wait(&reauth(error.to_string())),
        TokenError::Refresh(error) => Ok(Verdict::Failed(
            ProviderError {
                kind: ErrorKind::Retryable,
                ..error
            },
            Observed::default(),
        )),
        TokenError::Vault(VaultError::Store(error)) => Err(error),
        TokenError::Vault(error) => Ok(Verdict::Failed(
            ProviderError::new(ErrorKind::Permanent, "sealed_tokens", error.to_string())
                .advise("The stored tokens of this account do not open. Tell the operator."),
            Observed::default(),
        )),
    }
}

async fn record(app: &Arc<App>, job: &Job, post: PostRecord, verdict: Verdict) -> Result<(), StoreError> {
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
        frees_quota: false,
    };
    let label = match &verdict {
        Verdict::Failed(error, _) | Verdict::Unconfirmed(error) => code_label(&error.code),
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
            record.transition.status = PostStatus::Unconfirmed;
            record.transition.failure = Some(Failure::of(&error));
        }
        Verdict::Cancelled => record.transition.status = PostStatus::Cancelled,
        Verdict::Again(checkpoint) => {
            record.transition.status = if open == PostStatus::Unconfirmed {
                PostStatus::Publishing
            } else {
                open
            };
            seal_checkpoint(app, &post, checkpoint, &SecretBag::default(), &mut record).await?;
            record.run_at = Some(now + backoff(app, 1, None));
        }
        Verdict::Wait(run_at, failure) => {
            // Still queued: nothing has been sent. `Queued` is not re-entered by a transition, so it becomes open.
            record.transition.status = open;
            record.transition.failure = Some(failure);
            record.run_at = Some(run_at);
        }
        Verdict::Failed(error, observed) => apply_failure(app, &post, open, &error, observed, now, &mut record),
    }
    record.transition.cancel_handled = post.cancel_requested;
    if record.transition.checkpoint.is_none() {
        reseal(app, &post, &mut record).await?;
    }
    let status = record.transition.status;
    record.frees_quota = matches!(
        status,
        PostStatus::Published | PostStatus::Failed | PostStatus::Cancelled
    );
    if status != post.status && !status.is_open() {
        note_outcome(app, &post, label, &mut record);
    }
    app.store.record_step(job.lease(), &record).await?;
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
    let age = now - post.scheduled_at.unwrap_or(post.created_at);
    let tries = post.tries + 1;
    let again = match error.kind {
        ErrorKind::Retryable if age < BUDGET => Some(backoff(app, tries, error.retry_after)),
        // A slot of our own frees at a known time. A platform's limit without a time is asked again in a minute.
        ErrorKind::RateLimited if age < RECONNECT_BUDGET => {
            Some(bounded(error.retry_after.unwrap_or(Duration::from_secs(60))) + TimeDelta::milliseconds(50))
        }
        // The token has just been renewed by force: once more, now.
        ErrorKind::ReauthRequired if error.code != "missing_scope" => Some(TimeDelta::zero()),
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
        // What is settled stays settled; only the look for more ends.
        (PostStatus::Published, _) => record.transition.status = PostStatus::Published,
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

fn captured_place(post: &PostRecord, step: i64) -> Place {
    Place {
        tenant: post.tenant,
        table: "posts",
        row: post.id.as_uuid(),
        column: "captured",
        version: step,
    }
}

/// A code from a provider's table, for a metric. What a platform made up goes together, so that labels stay few.
fn code_label(code: &Cow<'static, str>) -> &'static str {
    match code {
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
    record.events.push(NewEvent {
        account: Some(post.account),
        ..post_event(app, post.id, &name, payload)
    });
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
