//! One step of a post: the job of kind `Publish`. Claimed, run, recorded in one transaction; killed anywhere, it runs
//! again, and no irreversible call is sent twice.

use std::{collections::BTreeMap, sync::Arc};

use chrono::{DateTime, TimeDelta, Utc};
use patchbay_core::{
    Cancelled, Checkpoint, Ctx, ErrorKind, EventId, Post, PostId, PostMode, Progress, ProviderError, Publisher,
    Reconciled, SecretRef, SlotId,
};
use serde_json::json;
use tracing::warn;

use super::{
    publisher,
    record::{begins, captured_place, record},
};
use crate::{
    App, failpoint, limits,
    model::{
        AccountStatus, AuditAction, By, CommitOutcome, Failure, Job, NewEvent, Observation, ObservationSource,
        PostRecord, PostStatus, Pulled,
    },
    outbound::{CommitScope, Observed, Outbound, SecretBag},
    registry::Registered,
    secret::Secret,
    store::{JobEnd, MAX_LOST, SlotRequest, StoreError, TakenSlot, Waiter},
    tokens::{self, PUBLISH_MARGIN, Ready, TokenError},
    vault::VaultError,
};

/// How long a post waits for its account to be connected again.
pub(super) const RECONNECT_BUDGET: TimeDelta = TimeDelta::days(7);
/// Looks again this often, although a reconnect wakes the post.
const RECONNECT_POLL: TimeDelta = TimeDelta::hours(1);

/// The grant was ended at the platform.
pub(super) const ACCESS_REVOKED: &str = "access_revoked";

/// What one run made of the post.
pub(super) enum Verdict {
    /// The provider's word, and what was seen on the wire.
    Progress(Progress, Observed, SecretBag),
    /// It cannot be told what became of an irreversible call.
    Unconfirmed(ProviderError),
    /// Stopped before anything was visible.
    Cancelled,
    /// Sending again is safe; go on here, with the secrets that this place names.
    Again(Option<Checkpoint>, SecretBag),
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
        // Erased.
        app.store.end_job(job.lease(), &JobEnd::Done).await?;
        return Ok(());
    };
    let nothing_to_do = match post.status {
        PostStatus::Draft | PostStatus::Failed | PostStatus::Cancelled => true,
        PostStatus::Published => !post.publication.remote_ids.is_empty() || post.checkpoint.is_none(),
        PostStatus::Queued | PostStatus::Publishing | PostStatus::Delivered | PostStatus::Unconfirmed => false,
    };
    if nothing_to_do {
        app.store.end_job(job.lease(), &JobEnd::Done).await?;
        return Ok(());
    }
    let mut learned = Learned {
        wish: Wish::Open,
        question: post.step,
        observations: Vec::new(),
        adopts: None,
    };
    let verdict = decide(app, job, &post, &mut learned).await?;
    record(app, job, post, verdict, learned).await
}

/// What a run learns besides its verdict.
pub(super) struct Learned {
    pub(super) wish: Wish,
    /// Step of the call whose outcome is unknown, if one is.
    pub(super) question: i64,
    pub(super) observations: Vec<Observation>,
    /// The platform's id of the attempt, that a webhook told.
    pub(super) adopts: Option<String>,
}

impl Learned {
    pub(super) fn observe(&mut self, app: &App, source: ObservationSource, outcome: CommitOutcome, code: Option<&str>) {
        self.observations.push(Observation {
            id: app.env.ids.next(),
            step: self.question,
            source,
            outcome,
            code: code.map(str::to_owned),
            observed_at: app.env.now(),
        });
    }
}

/// What became of the wish to stop a post.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wish {
    /// There is none, or it cannot be granted yet.
    Open,
    /// The platform has answered it.
    Answered,
}

async fn decide(app: &Arc<App>, job: &Job, post: &PostRecord, learned: &mut Learned) -> Result<Verdict, StoreError> {
    let now = app.env.now();
    let none = Observed::default();
    let commits = app.store.commits(post.tenant, post.id).await?;
    if post.cancel_requested && post.status.is_open() && post.checkpoint.is_none() && commits.is_empty() {
        // Nothing has begun at the platform. So nobody is asked, also while it waits for a place or a token.
        return Ok(Verdict::Cancelled);
    }
    // The journal is read by step. While this one has a mark or a receipt, nothing may end it but what became of that.
    let has_sent = commits.iter().any(|commit| commit.step == post.step);
    let registered = match app.registered(&post.provider) {
        Ok(registered) => registered,
        Err(problem) => {
            let error = ProviderError::new(ErrorKind::Retryable, "provider_not_loaded", problem.to_string());
            return Ok(if has_sent {
                Verdict::LookAgain(error)
            } else {
                Verdict::Failed(error, none)
            });
        }
    };
    let Ok(publisher) = publisher(&registered) else {
        let error = ProviderError::new(ErrorKind::Permanent, "no_publisher", "the provider does not publish");
        return Ok(Verdict::Failed(error, none));
    };
    let ready = match tokens::ready(app, post.tenant, post.account, PUBLISH_MARGIN).await {
        Ok(ready) => ready,
        Err(error) if has_sent => return still_open(error),
        Err(TokenError::NotActive(AccountStatus::Revoked)) if post.status.is_open() && is_lost(app, post).await? => {
            let error = ProviderError::new(
                ErrorKind::ReauthRequired,
                ACCESS_REVOKED,
                "the platform has ended the grant",
            )
            .advise(
                "The access was ended at the platform. Connect the account again within a week, and the post goes on.",
            );
            return Ok(Verdict::Failed(error, none));
        }
        Err(error) => return without_token(error, post, now),
    };
    if !has_sent && let Some(wait) = reserve_quota(app, &registered, post).await? {
        return Ok(Verdict::Wait(wait, quota_failure(post.content.mode)));
    }
    failpoint::hit("pub.reserved");
    let view = post.content.as_post(post.id);
    let call = Call {
        app,
        registered: &registered,
        publisher,
        job,
        post,
        view: &view,
    };
    let open_mark = commits
        .iter()
        .any(|commit| commit.step == post.step && commit.answered_at.is_none());
    if let Some(last) = commits.last()
        && post.status == PostStatus::Unconfirmed
    {
        learned.question = last.step;
    }
    if job.lost >= MAX_LOST {
        return Ok(quarantine(open_mark || post.status == PostStatus::Unconfirmed));
    }
    if open_mark || post.status == PostStatus::Unconfirmed {
        return call.reconcile(ready, earlier_unknown(), learned).await;
    }
    if post.cancel_requested && call.cancel(&ready, &mut learned.wish).await {
        return Ok(Verdict::Cancelled);
    }
    call.advance(ready, learned).await
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
    async fn advance(self, ready: Ready, learned: &mut Learned) -> Result<Verdict, StoreError> {
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
        .with_commit(CommitScope {
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
            let Ok(ready) = tokens::ready(self.app, self.post.tenant, self.post.account, PUBLISH_MARGIN).await else {
                return Ok(Verdict::LookAgain(error));
            };
            return self.reconcile(ready, error, learned).await;
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
        let audit = By::worker(&self.post.correlation_id)
            .did(&self.app.env, AuditAction::AccountLocked, tenant)
            .to(&account)
            .saying(json!({ "code": error.code }));
        self.app
            .store
            .require_reauth(tenant, account, version, &error.code, &event, &audit)
            .await?;
        without_token(
            TokenError::NotActive(AccountStatus::ReauthRequired),
            self.post,
            self.app.env.now(),
        )
    }

    /// Finds out what became of a call whose answer is missing: by the URLs that it named, by a webhook that can speak of
    /// nothing else, and by a look at the platform. Sends nothing that does more than look.
    async fn reconcile(self, ready: Ready, error: ProviderError, learned: &mut Learned) -> Result<Verdict, StoreError> {
        let (store, tenant, post) = (&self.app.store, self.post.tenant, self.post.id);
        if store.close_unfetched(tenant, post, learned.question).await? == Pulled::Nothing {
            learned.observe(
                self.app,
                ObservationSource::PullUrl,
                CommitOutcome::DidNotHappen,
                Some("never_fetched"),
            );
            return Ok(Verdict::Again(None, SecretBag::default()));
        }
        let known_as = store.stray_ref(tenant, post, learned.question).await?;
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
        )
        .for_post(self.post.id);
        let ctx = Ctx::new(&outbound, self.app.env.now(), &self.registered.app, Some(&view));
        let looked = self
            .publisher
            .reconcile(&ctx, self.view, self.post.checkpoint.as_ref(), known_as.as_deref())
            .await;
        let (observed, secrets) = outbound.finish();
        let source = match known_as {
            Some(_) => ObservationSource::Webhook,
            None => ObservationSource::Platform,
        };
        let (outcome, code, verdict) = match looked {
            Ok(Reconciled::Happened { progress }) => (
                CommitOutcome::Happened,
                None,
                Verdict::Progress(progress, observed, secrets),
            ),
            Ok(Reconciled::DidNotHappen { checkpoint }) => {
                (CommitOutcome::DidNotHappen, None, Verdict::Again(checkpoint, secrets))
            }
            Ok(Reconciled::Unknown) => (CommitOutcome::Unknown, None, Verdict::Unconfirmed(error)),
            Err(fault) if fault.kind.retry_helps() || fault.kind == ErrorKind::ReauthRequired => {
                return Ok(Verdict::LookAgain(fault));
            }
            // The platform speaks of this very post, and says that it failed.
            Err(fault) => (
                CommitOutcome::Happened,
                Some(fault.code.to_string()),
                Verdict::Failed(fault, observed),
            ),
        };
        learned.observe(self.app, source, outcome, code.as_deref());
        if outcome == CommitOutcome::Happened {
            learned.adopts = known_as;
        }
        Ok(verdict)
    }

    /// Asks the platform to stop the post. `false`: go on; the status tells whether the platform stops it.
    async fn cancel(&self, ready: &Ready, wish: &mut Wish) -> bool {
        let secrets = ready.secrets.clone();
        let outbound = Outbound::new(
            self.app,
            self.registered,
            Some(&ready.account),
            secrets,
            &self.post.correlation_id,
        )
        .for_post(self.post.id);
        let ctx = Ctx::new(&outbound, self.app.env.now(), &self.registered.app, Some(&ready.view));
        match self
            .publisher
            .cancel(&ctx, self.view, self.post.checkpoint.as_ref())
            .await
        {
            Ok(Cancelled::Stopped) => true,
            Ok(Cancelled::Requested) => {
                *wish = Wish::Answered;
                false
            }
            // For now: if it turns out that the last byte never arrived, the next step can stop it.
            Ok(Cancelled::TooLate) => false,
            Err(error) => {
                warn!(post.id = %self.post.id, code = %error.code, "A post could not be stopped");
                // After a passing fault the next step asks again.
                if !error.kind.retry_helps() {
                    *wish = Wish::Answered;
                }
                false
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

/// Takes a place in the post's quotas, until the platform has named its attempt and counts it. A time: wait until then.
async fn reserve_quota(
    app: &App,
    registered: &Registered,
    post: &PostRecord,
) -> Result<Option<DateTime<Utc>>, StoreError> {
    let named = |checkpoint: &Checkpoint| checkpoint.remote_ref.is_some();
    if post.checkpoint.as_ref().is_some_and(named) || !post.status.is_open() {
        return Ok(None);
    }
    for quota in registered.manifest().quotas_of(post.content.mode) {
        let request = SlotRequest {
            id: SlotId::from_uuid(app.env.ids.next()),
            window: limits::quota_window(post.tenant, post.account, quota),
            hold: quota.window,
            post: Some(post.id),
            waiter: Some(Waiter {
                tenant: post.tenant,
                post: post.id,
            }),
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

/// The end of a post whose steps end their workers: nobody is asked any more.
fn quarantine(is_outcome_unknown: bool) -> Verdict {
    if is_outcome_unknown {
        return Verdict::Unconfirmed(earlier_unknown());
    }
    let error = ProviderError::new(
        ErrorKind::Permanent,
        "quarantined",
        "claims of one step ended without a verdict",
    )
    .advise("Patchbay stopped three times in the same step of this post. Tell the operator.");
    Verdict::Failed(error, Observed::default())
}

fn earlier_unknown() -> ProviderError {
    ProviderError::new(
        ErrorKind::OutcomeUnknown,
        "answer_lost",
        "an irreversible call has no known outcome",
    )
}

/// Whether a post's account was let go by the platform or at it, and not here on purpose.
async fn is_lost(app: &App, post: &PostRecord) -> Result<bool, StoreError> {
    let account = app.store.account(post.tenant, post.account).await?;
    let code = account.and_then(|account| account.status_code);
    Ok(code.is_none_or(|code| !["disconnected", "erased", "not_completed"].contains(&&*code)))
}

/// No token to look with, while a step has sent something: it is looked at later, or not at all.
fn still_open(error: TokenError) -> Result<Verdict, StoreError> {
    match error {
        TokenError::NotActive(AccountStatus::Revoked) | TokenError::Gone => Ok(Verdict::Unconfirmed(earlier_unknown())),
        TokenError::Vault(VaultError::Store(error)) => Err(error),
        error => Ok(Verdict::LookAgain(ProviderError::new(
            ErrorKind::Retryable,
            "no_token",
            error.to_string(),
        ))),
    }
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
        if now - begins(post) > RECONNECT_BUDGET {
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
