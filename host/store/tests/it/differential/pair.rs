//! Runs a sequence on both stores and compares each answer.

use std::{fmt::Debug, sync::Arc, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};
use patchbay_app::{
    env::{Clock, FixedClock},
    model::{
        AccountStatus, ApiKey, AttemptResult, CommitOutcome, DataKey, DataKeyState, Delivery, DeliveryEnd,
        DeliveryStatus, EndpointChange, Flow, ImportFailure, Job, JobKind, KeyScope, Lease, LeasedUpload, Media,
        MetricWatch, NewEvent, NewImport, NewJob, NewPullUrl, NewReading, NewUpload, NextDelivery, Observation,
        ObservationSource, Picture, PostStatus, PostTransition, Progress, SealedSecret, Seen, Session, SessionGrant,
        SessionStatus, UploadLease, schedule,
    },
    store::{
        AccountFilter, Claim, DeadFilter, DeliveryFilter, Enqueued, EventFilter, JobEnd, NewGrant, PageRequest,
        PostEdit, PostFilter, QuotaChange, Scope, SlotRequest, Span, StepRecord, Store, StoreError, StoreResult,
        TakenSlot, Waiter, Window,
    },
};
use patchbay_core::{
    AccountId, ApiKeyId, Checkpoint, DeliveryId, EndpointId, EventKind, FlowId, InboxId, IncomingEvent, JobId, MediaId,
    MediaInfo, MediaKind, Metric, PostId, Publication, SessionId, SlotId, TenantId,
};
use patchbay_store::{postgres::PostgresStore, sqlite::SqliteStore};
use uuid::Uuid;

use super::op::{End, News, Op, Pick};
use crate::harness::{LEASE, MINUTE, NOTE, TENANT, World, bury, claim_of, env, options, other_provider, provider};

/// Calls both stores and compares. The answer is returned.
macro_rules! both {
    ($pair:expr, $what:expr, |$s:ident| $call:expr) => {{
        let first = {
            let $s = &$pair.sqlite;
            $call.await
        };
        let second = {
            let $s = &$pair.postgres;
            $call.await
        };
        crate::differential::pair::compare($what, first, second)
    }};
}

/// Runs the operations on a fresh file and an empty server database.
pub async fn run(url: &str, ops: &[Op]) {
    let dir = tempfile::tempdir().unwrap();
    let (clock, ids) = env(2);
    let sqlite = SqliteStore::open(dir.path().join("test.db"), options(&clock))
        .await
        .unwrap();
    let postgres = PostgresStore::connect(url, options(&clock)).await.unwrap();
    let sqlite: Arc<dyn Store> = Arc::new(sqlite);
    let make = World {
        store: sqlite.clone(),
        clock: clock.clone(),
        ids,
    };
    let other = TenantId::from_uuid(make.id());
    let mut pair = Pair {
        sqlite,
        postgres: Arc::new(postgres),
        clock,
        make,
        tenants: vec![TENANT, other],
        accounts: Vec::new(),
        posts: Vec::new(),
        claims: Vec::new(),
        slots: Vec::new(),
        sessions: Vec::new(),
        media: Vec::new(),
        uploads: Vec::new(),
        upload_leases: Vec::new(),
        keys: Vec::new(),
        endpoints: Vec::new(),
        targets: Vec::new(),
    };
    both!(pair, "ensure_tenant", |s| s.ensure_tenant(other, "other")).unwrap();
    for op in ops {
        pair.apply(op).await;
    }
    pair.compare_all().await;
}

struct Pair {
    sqlite: Arc<dyn Store>,
    postgres: Arc<dyn Store>,
    clock: Arc<FixedClock>,
    /// Makes arguments. Its store is not called through it.
    make: World,
    tenants: Vec<TenantId>,
    accounts: Vec<(TenantId, AccountId)>,
    posts: Vec<(TenantId, PostId)>,
    claims: Vec<Job>,
    slots: Vec<(TenantId, SlotId)>,
    sessions: Vec<SessionId>,
    media: Vec<(TenantId, MediaId)>,
    uploads: Vec<(TenantId, MediaId)>,
    upload_leases: Vec<UploadLease>,
    keys: Vec<ApiKeyId>,
    endpoints: Vec<(TenantId, EndpointId)>,
    targets: Vec<Uuid>,
}

/// Errors are compared by what callers answer to.
#[track_caller]
pub fn compare<T: Debug + PartialEq>(
    what: impl Debug,
    sqlite: StoreResult<T>,
    postgres: StoreResult<T>,
) -> Result<T, ()> {
    match (sqlite, postgres) {
        (Ok(sqlite), Ok(postgres)) => {
            assert_eq!(sqlite, postgres, "{what:?}");
            Ok(sqlite)
        }
        (Err(sqlite), Err(postgres)) => {
            let told = |error: &StoreError| match error {
                StoreError::Conflict(constraint) => format!("{constraint:?}"),
                StoreError::Stale => "stale".into(),
                StoreError::Other(_) => "other".into(),
                error => panic!("{what:?}: {error:?}"),
            };
            assert_eq!(told(&sqlite), told(&postgres), "{what:?}: {sqlite:?} and {postgres:?}");
            Err(())
        }
        (sqlite, postgres) => panic!("{what:?}: {sqlite:?} and {postgres:?}"),
    }
}

fn pick<T: Clone>(from: &[T], which: Pick) -> Option<T> {
    from.get(usize::from(which) % from.len().max(1)).cloned()
}

impl Pair {
    fn now(&self) -> DateTime<Utc> {
        self.clock.now()
    }

    fn later(&self, secs: u16) -> DateTime<Utc> {
        self.now() + TimeDelta::seconds(i64::from(secs))
    }

    async fn apply(&mut self, op: &Op) {
        // What there is nothing for yet does nothing.
        let _ = self.try_apply(op).await;
    }

    async fn try_apply(&mut self, op: &Op) -> Option<()> {
        match op {
            Op::Advance(secs) => self.clock.advance(Duration::from_secs(u64::from(*secs))),
            Op::Connect { .. }
            | Op::LeaseRefresh(..)
            | Op::Release(..)
            | Op::Swap(..)
            | Op::RequireReauth(..)
            | Op::Disconnect(..)
            | Op::Erase(..) => self.account_op(op).await?,
            Op::Enqueue { .. }
            | Op::Step { .. }
            | Op::Mark(..)
            | Op::Receipt(..)
            | Op::Clear(..)
            | Op::Cancel(..)
            | Op::Edit(..) => {
                self.post_op(op).await?;
            }
            Op::Claim(_) | Op::Renew(_) | Op::End(..) | Op::Return(_) | Op::Wake(..) | Op::Revive(_) => {
                self.job_op(op).await?;
            }
            Op::Inbox(..) | Op::Apply(..) | Op::Bury(..) => self.event_op(op).await?,
            Op::Endpoint(..)
            | Op::ChangeEndpoint(..)
            | Op::Rotate(..)
            | Op::DeleteEndpoint(..)
            | Op::Push(..)
            | Op::EndDelivery { .. }
            | Op::Redeliver(..)
            | Op::RedeliverMany(..) => self.delivery_op(op).await?,
            Op::Measure(lease, views) => self.measure(*lease, u64::from(*views)).await?,
            _ => self.other_op(op).await?,
        }
        Some(())
    }

    async fn account_op(&mut self, op: &Op) -> Option<()> {
        match *op {
            Op::Connect {
                tenant,
                remote,
                owner,
                pending,
                late,
            } => {
                let mut account = self
                    .make
                    .new_account(pick(&self.tenants, tenant)?, &format!("remote-{remote}"));
                account.owner = format!("owner-{owner}");
                if pending {
                    account.status = AccountStatus::Pending;
                }
                if remote == 2 {
                    account.provider = other_provider();
                }
                let mut to = both!(self, op, |s| s.place_grant(&account)).ok()?;
                if late {
                    to.next_version += 1;
                }
                let tokens = self.make.tokens(to.next_version);
                let refresh = self.make.job(account.tenant, JobKind::Refresh, Uuid::nil());
                let event = self.make.event("account.connected");
                let revoke = self.make.job(account.tenant, JobKind::Revoke, Uuid::nil());
                let session = self
                    .sessions
                    .last()
                    .copied()
                    .filter(|_| pending && account.tenant == TENANT);
                let of_session = session.map(|id| SessionGrant {
                    id,
                    status: SessionStatus::Pending,
                    missing_scopes: vec!["b".into()],
                    code_hash: [remote; 32],
                    code_until: self.later(60),
                });
                let grant = NewGrant {
                    account: &account,
                    tokens: &tokens,
                    refresh: &refresh,
                    revoke: Some(&revoke).filter(|_| pending),
                    together: None,
                    events: std::slice::from_ref(&event),
                    audit: &NOTE,
                };
                let grants = [(to, grant)];
                let stored = both!(self, op, |s| s.finish_connect(&grants, of_session.as_ref())).ok()?;
                let stored = &stored[0];
                if !self.accounts.contains(&(stored.tenant, stored.id)) {
                    self.accounts.push((stored.tenant, stored.id));
                    self.targets.push(stored.id.as_uuid());
                }
            }
            Op::LeaseRefresh(account, version, holder) => {
                let (tenant, id, version) = self.version(account, version).await?;
                let holder = holder.to_string();
                let _ = both!(self, op, |s| s.lease_refresh(tenant, id, version, &holder, LEASE));
            }
            Op::Release(account, holder) => {
                let (tenant, id) = pick(&self.accounts, account)?;
                let holder = holder.to_string();
                let _ = both!(self, op, |s| s.release_refresh(tenant, id, &holder));
            }
            Op::Swap(account, version, due) => {
                let (tenant, id, version) = self.version(account, version).await?;
                let mut tokens = self.make.tokens(version + 1);
                tokens.refresh_due_at = due.map(|due| self.later(due));
                let _ = both!(self, op, |s| s.swap_tokens(tenant, id, version, &tokens));
            }
            Op::RequireReauth(account, version) => {
                let (tenant, id, version) = self.version(account, version).await?;
                let event = self.make.event("account.reauth_required");
                let _ = both!(self, op, |s| s
                    .require_reauth(tenant, id, version, "code", &event, &NOTE));
            }
            Op::Disconnect(account, revoke) => {
                let (tenant, id) = pick(&self.accounts, account)?;
                let job = self.make.job(tenant, JobKind::Revoke, id.as_uuid());
                let event = self.make.event("account.disconnected");
                let revoke = revoke.then_some(&job);
                let _ = both!(self, op, |s| s
                    .begin_disconnect(tenant, id, "user", revoke, &event, &NOTE));
            }
            Op::Erase(account) => {
                let (tenant, id) = pick(&self.accounts, account)?;
                let event = self.make.event("account.disconnected");
                let _ = both!(self, op, |s| s.refuse_pending(tenant, id, 1, &event, &NOTE));
                let _ = both!(self, op, |s| s.erase_tokens(tenant, id));
            }
            _ => unreachable!("not of accounts"),
        }
        Some(())
    }

    async fn version(&self, account: Pick, off: i64) -> Option<(TenantId, AccountId, i64)> {
        let (tenant, id) = pick(&self.accounts, account)?;
        let account = both!(self, "account", |s| s.account(tenant, id)).ok()??;
        Some((tenant, id, account.token_version + off))
    }

    async fn post_op(&mut self, op: &Op) -> Option<()> {
        match op {
            Op::Enqueue {
                account,
                key,
                fingerprint,
                delay,
                job_key,
            } => {
                let (tenant, id) = pick(&self.accounts, *account)?;
                let account = both!(self, "account", |s| s.account(tenant, id)).ok()??;
                let mut post = self.make.new_post(&account, &format!("key-{key}"));
                post.fingerprint = [*fingerprint; 32];
                post.draft = fingerprint % 2 == 1;
                post.scheduled_at = delay.map(|delay| self.later(delay));
                // Few contents, so that they meet.
                post.content_hash = (key % 2 == 0).then_some([*key; 32]);
                let mut job = self.make.job(tenant, JobKind::Publish, post.id.as_uuid());
                job.run_at = post.scheduled_at;
                job.concurrency_key = job_key.map(|key| key.to_string());
                let posts = [(post, job)];
                if let Enqueued::Created(posts) = both!(self, op, |s| s.enqueue_posts(&posts)).ok()? {
                    self.posts.extend(posts.iter().map(|post| (tenant, post.id)));
                    self.targets.extend(posts.iter().map(|post| post.id.as_uuid()));
                }
            }
            Op::Step {
                lease,
                own,
                status,
                step,
                remote_ref,
                remote_ids,
                delay,
                frees,
            } => {
                let (lease, tenant, id) = self.claimed_post(*lease, *own)?;
                let post = both!(self, "post", |s| s.post(tenant, id)).ok()??;
                let mut transition = PostTransition::to(*status);
                transition.tries = 1;
                transition.checkpoint = remote_ref.map(|remote_ref| {
                    Checkpoint::new("phase", &serde_json::json!({"n": 1.5}))
                        .unwrap()
                        .known_as(format!("ref-{remote_ref}"))
                });
                transition.captured = Some(b"sealed".to_vec());
                transition.publication = remote_ids.as_ref().map(|ids| Publication {
                    remote_ids: texts(ids),
                    url: None,
                });
                let record = StepRecord {
                    tenant,
                    post: id,
                    step: post.step + step,
                    transition,
                    run_at: delay.map(|delay| self.later(delay)),
                    events: vec![self.make.event("post.step")],
                    quota: if *frees {
                        QuotaChange::Free
                    } else {
                        QuotaChange::Hold(MINUTE)
                    },
                    observations: vec![Observation {
                        id: self.make.id(),
                        step: post.step,
                        source: ObservationSource::Webhook,
                        outcome: if *frees {
                            CommitOutcome::Happened
                        } else {
                            CommitOutcome::Unknown
                        },
                        code: None,
                        observed_at: self.clock.now(),
                    }],
                    adopts: remote_ref.map(|remote_ref| format!("ref-{remote_ref}")),
                };
                let _ = both!(self, op, |s| s.record_step(lease, &record));
            }
            Op::Mark(lease, step, name) => {
                let (lease, tenant, id) = self.claimed_post(*lease, true)?;
                let name = name.to_string();
                let _ = both!(self, op, |s| s.mark_about_to(lease, tenant, id, *step, &name));
                let url = NewPullUrl {
                    token_hash: pull_token(id, *step),
                    media: MediaId::from_uuid(id.as_uuid()),
                };
                let _ = both!(self, op, |s| s.add_pull_urls(lease, tenant, id, *step, &[url], MINUTE));
            }
            Op::Receipt(post, step, name) => {
                let (tenant, id) = pick(&self.posts, *post)?;
                let name = name.to_string();
                let _ = both!(self, op, |s| s.keep_receipt(tenant, id, *step, &name, 200, b"sealed"));
            }
            Op::Clear(post, step, name) => {
                let (tenant, id) = pick(&self.posts, *post)?;
                let name = name.to_string();
                let _ = both!(self, op, |s| s.clear_mark(tenant, id, *step, &name));
                let takes = step % 2 == 0;
                let _ = both!(self, op, |s| s.pull_url(pull_token(id, *step), takes));
                let _ = both!(self, op, |s| s.close_unfetched(tenant, id, *step));
            }
            Op::Edit(post, has_seen, content, delay) => {
                let (tenant, id) = pick(&self.posts, *post)?;
                let post = both!(self, "post", |s| s.post(tenant, id)).ok()??;
                // Of drafts some are published.
                let publishes = *has_seen && post.status == PostStatus::Draft && content % 2 == 0;
                let publishes = publishes.then(|| self.make.job(tenant, JobKind::Publish, id.as_uuid()));
                let edit = PostEdit {
                    tenant,
                    post: id,
                    seen: if *has_seen { post.updated_at } else { self.later(1) },
                    content: post.content,
                    content_hash: Some([*content; 32]),
                    scheduled_at: delay.map(|delay| self.later(delay)),
                    publishes,
                };
                let event = self.make.event("post.edited");
                let _ = both!(self, op, |s| s.edit_post(&edit, &event));
            }
            Op::Cancel(post) => {
                let (tenant, id) = pick(&self.posts, *post)?;
                let event = self.make.event("post.cancelled");
                let _ = both!(self, op, |s| s.cancel_post(tenant, id, None, &event));
            }
            _ => unreachable!("not of posts"),
        }
        Some(())
    }

    /// The lease of a publish job, with its own post or some other.
    fn claimed_post(&self, lease: Pick, own: bool) -> Option<(Lease, TenantId, PostId)> {
        let claims: Vec<_> = self.claims.iter().filter(|job| job.kind == JobKind::Publish).collect();
        // The newest ones are the ones that live.
        let job = claims.iter().rev().nth(usize::from(lease) % claims.len().clamp(1, 2))?;
        if own {
            return Some((job.lease(), job.tenant, PostId::from_uuid(job.target)));
        }
        let (tenant, id) = pick(&self.posts, lease)?;
        Some((job.lease(), tenant, id))
    }

    async fn job_op(&mut self, op: &Op) -> Option<()> {
        match op {
            Op::Claim(kinds) => {
                for kind in kinds {
                    let claim = Claim {
                        limit: 2,
                        after: self.claims.last().map(|job| job.tenant),
                        ..claim_of(*kind)
                    };
                    let jobs = self.claimed(claim).await?;
                    if !jobs.is_empty() {
                        self.claims.extend(jobs);
                        break;
                    }
                }
            }
            Op::Renew(lease) => {
                let lease = self.lease(*lease)?;
                let _ = both!(self, op, |s| s.renew_leases(&[lease], MINUTE));
            }
            Op::End(lease, end) => {
                let lease = self.lease(*lease)?;
                let end = match *end {
                    End::Done => JobEnd::Done,
                    End::Next(secs) => JobEnd::Next {
                        run_at: self.later(secs),
                    },
                    End::Again(secs) => JobEnd::Again {
                        run_at: self.later(secs),
                        code: "again".into(),
                    },
                    End::Dead => JobEnd::Dead { code: "dead".into() },
                };
                let _ = both!(self, op, |s| s.end_job(lease, &end));
            }
            Op::Return(lease) => {
                let lease = self.lease(*lease)?;
                let _ = both!(self, op, |s| s.return_job(lease));
            }
            Op::Revive(limit) => {
                let _ = both!(self, op, |s| s.revive_jobs(
                    TENANT,
                    DeadFilter::default(),
                    u32::from(*limit),
                    &NOTE
                ));
            }
            Op::Wake(kind, target) => {
                let target = pick(&self.targets, *target)?;
                let _ = both!(self, op, |s| s.wake_job(*kind, target));
            }
            _ => unreachable!("not of jobs"),
        }
        Some(())
    }

    fn lease(&self, which: Pick) -> Option<Lease> {
        let newest = self
            .claims
            .iter()
            .rev()
            .nth(usize::from(which) % self.claims.len().clamp(1, 4))?;
        Some(newest.lease())
    }

    async fn event_op(&mut self, op: &Op) -> Option<()> {
        match op {
            Op::Inbox(app, digest) => {
                let mut item = self
                    .make
                    .new_webhook(TENANT, if *app == 0 { "app" } else { "other-app" });
                item.digest = [*digest; 32];
                let _ = both!(self, op, |s| s.store_inbox(std::slice::from_ref(&item)));
                let _ = both!(self, op, |s| s.inbox(&[item.id]));
            }
            Op::Apply(lease, news) => {
                let (lease, inbox) = self.claimed_inbox(*lease)?;
                let events: Vec<_> = news.iter().map(|news| self.incoming(news)).collect();
                let ends = [self.make.read(lease, inbox, &events)];
                let _ = both!(self, op, |s| s.settle_webhooks(&ends));
            }
            Op::Bury(lease) => {
                let (lease, inbox) = self.claimed_inbox(*lease)?;
                let ends = [bury(lease, inbox)];
                let _ = both!(self, op, |s| s.settle_webhooks(&ends));
            }
            _ => unreachable!("not of events"),
        }
        Some(())
    }

    fn claimed_inbox(&self, which: Pick) -> Option<(Lease, InboxId)> {
        let claims: Vec<_> = self.claims.iter().filter(|job| job.kind == JobKind::Ingest).collect();
        let job = claims.iter().rev().nth(usize::from(which) % claims.len().clamp(1, 2))?;
        Some((job.lease(), InboxId::from_uuid(job.target)))
    }

    fn incoming(&self, news: &News) -> IncomingEvent {
        let remote_ids = texts(&news.remote_ids);
        let kind = match news.kind {
            0 => EventKind::PostProgress,
            1 => EventKind::PostVisible { remote_ids },
            2 => EventKind::PostHidden { remote_ids },
            3 => EventKind::AuthorizationRemoved { reason: "user".into() },
            _ => EventKind::Other,
        };
        let mut event = self.make.incoming(kind, "");
        event.remote_account = news.remote.map(|remote| format!("remote-{remote}"));
        event.remote_ref = news.remote_ref.map(|remote_ref| format!("ref-{remote_ref}"));
        event.dedupe_key = news.key.to_string();
        event.occurred_at = Some(self.now() - TimeDelta::seconds(i64::from(news.age)));
        event
    }

    async fn delivery_op(&mut self, op: &Op) -> Option<()> {
        match *op {
            Op::Endpoint(tenant) => {
                // Only Patchbay's own events: those of a webhook that come together are pushed in another order.
                let endpoint = self.make.new_endpoint(pick(&self.tenants, tenant)?, &[]);
                let made = both!(self, op, |s| s.create_endpoint(&endpoint, 3, &NOTE)).ok()?;
                self.endpoints.extend(made.map(|made| (made.tenant, made.id)));
            }
            Op::ChangeEndpoint(endpoint, enabled, url) => {
                let (tenant, id) = pick(&self.endpoints, endpoint)?;
                let change = EndpointChange {
                    url: url.then(|| "https://other.example.com/".parse().unwrap()),
                    enabled,
                    ..EndpointChange::default()
                };
                let _ = both!(self, op, |s| s.change_endpoint(tenant, id, &change, &NOTE));
            }
            Op::Rotate(endpoint, version) => {
                let (tenant, id) = pick(&self.endpoints, endpoint)?;
                let envelope = b"sealed".to_vec();
                let (secret, until) = (SealedSecret { envelope, version }, self.later(60));
                let _ = both!(self, op, |s| s.rotate_secret(tenant, id, &secret, until, &NOTE));
            }
            Op::DeleteEndpoint(endpoint) => {
                let (tenant, id) = pick(&self.endpoints, endpoint)?;
                let _ = both!(self, op, |s| s.delete_endpoint(tenant, id, &NOTE));
            }
            Op::Push(endpoint) => {
                let (tenant, id) = pick(&self.endpoints, endpoint)?;
                let event = self.make.event("webhook.test");
                let _ = both!(self, op, |s| s.push_to(tenant, id, &event));
            }
            Op::EndDelivery {
                lease,
                own,
                next,
                attempt,
                disable,
            } => {
                let claims: Vec<_> = self.claims.iter().filter(|job| job.kind == JobKind::Deliver).collect();
                let job = claims.iter().rev().nth(usize::from(lease) % claims.len().clamp(1, 3))?;
                let id = DeliveryId::from_uuid(job.target);
                let sent = both!(self, "outgoing", |s| s.outgoing(job.tenant, id)).ok()?;
                let end = DeliveryEnd {
                    attempt: attempt.then(|| AttemptResult {
                        status: Some(500),
                        body: None,
                        code: Some("refused".into()),
                    }),
                    next: match next {
                        0 => NextDelivery::Delivered,
                        1 => NextDelivery::Again(self.later(5)),
                        2 => NextDelivery::Failed,
                        _ => NextDelivery::Held,
                    },
                    disable: disable.then_some("gone"),
                    seen: sent.map_or_else(|| self.later(0), |sent| sent.endpoint.updated_at),
                };
                let tenant = if own { job.tenant } else { self.tenants[1] };
                let lease = job.lease();
                let _ = both!(self, op, |s| s.end_delivery(lease, tenant, id, &end));
                let _ = both!(self, op, |s| s.outgoing(tenant, id));
            }
            Op::Redeliver(endpoint, which) => {
                let (tenant, id) = pick(&self.endpoints, endpoint)?;
                let all = self.deliveries(tenant, id, DeliveryFilter::default()).await?;
                let delivery = pick(&all, which)?.id;
                let _ = both!(self, op, |s| s.redeliver(tenant, id, delivery, &NOTE));
            }
            Op::RedeliverMany(endpoint, limit) => {
                let (tenant, id) = pick(&self.endpoints, endpoint)?;
                let (all, limit) = (DeliveryFilter::default(), u32::from(limit));
                let _ = both!(self, op, |s| s.redeliver_window(tenant, id, all, limit, &NOTE));
            }
            _ => unreachable!("not of deliveries"),
        }
        Some(())
    }

    /// Reads an account's posts.
    async fn measure(&self, lease: Pick, views: u64) -> Option<()> {
        let claims: Vec<_> = self.claims.iter().filter(|job| job.kind == JobKind::Metrics).collect();
        let job = claims.iter().rev().nth(usize::from(lease) % claims.len().clamp(1, 2))?;
        let account = AccountId::from_uuid(job.target);
        let due = both!(self, "due_watches", |s| s.due_watches(job.tenant, account, 10)).ok()?;
        let readings: Vec<_> = due
            .into_iter()
            .map(|watch| NewReading {
                id: self.make.id(),
                watch: MetricWatch {
                    next_at: schedule::next(watch.since, self.now(), watch.unchanged),
                    unchanged: watch.unchanged + 1,
                    counts: [(Metric::Views, views)].into(),
                    read_at: Some(self.now()),
                    ..watch
                },
                is_told: views > 0,
                event: Some(self.make.event("post.metrics_updated")),
            })
            .collect();
        let recorded = both!(self, "record_readings", |s| s.record_readings(
            job.lease(),
            job.tenant,
            account,
            &readings
        ));
        recorded.ok()
    }

    async fn deliveries(&self, tenant: TenantId, id: EndpointId, filter: DeliveryFilter) -> Option<Vec<Delivery>> {
        let page = PageRequest {
            after: None,
            limit: 100,
        };
        let found = both!(self, "deliveries", |s| s.deliveries(tenant, id, filter, page));
        found.ok().map(|page| page.items)
    }

    async fn other_op(&mut self, op: &Op) -> Option<()> {
        match *op {
            Op::Slot(which, bucket, own, limit) => {
                let post = pick(&self.posts, which).filter(|_| own);
                let tenant = post.map_or(TENANT, |(tenant, _)| tenant);
                let request = SlotRequest {
                    id: SlotId::from_uuid(self.make.id()),
                    window: Window {
                        tenant,
                        subject: "subject".into(),
                        bucket: bucket.to_string(),
                        limit: u32::from(limit),
                    },
                    hold: MINUTE,
                    post: post.map(|(_, id)| id),
                    waiter: post.map(|(tenant, post)| Waiter { tenant, post }),
                };
                let taken = both!(self, op, |s| s.take_slot(&request)).ok()?;
                if let TakenSlot::Taken { id, .. } = taken {
                    self.slots.push((tenant, id));
                }
                let windows = [request.window];
                let _ = both!(self, op, |s| s.windows(&windows));
                let posts: Vec<_> = self.posts.iter().map(|(_, id)| *id).collect();
                let steps = |mut steps: Vec<(PostId, _)>| {
                    steps.sort_unstable();
                    steps
                };
                let _ = both!(self, op, |s| async { s.next_steps(tenant, &posts).await.map(steps) });
            }
            Op::Pause(which, bucket, secs) => {
                let tenant = pick(&self.posts, which).map_or(TENANT, |(tenant, _)| tenant);
                let window = Window {
                    tenant,
                    subject: "subject".into(),
                    bucket: bucket.to_string(),
                    limit: 3,
                };
                let length = Duration::from_secs(u64::from(secs));
                let _ = both!(self, op, |s| s.pause_window(&window, length));
            }
            Op::Settle(slot, secs) => {
                let (tenant, id) = pick(&self.slots, slot)?;
                let after = Duration::from_secs(u64::from(secs));
                let _ = both!(self, op, |s| s.settle_slot(tenant, id, after));
            }
            Op::Flow(number) => {
                let flow = Flow {
                    id: FlowId::from_uuid(self.make.id()),
                    tenant: TENANT,
                    owner: "owner".into(),
                    provider: provider(),
                    state_hash: [number; 32],
                    cookie_hash: [7; 32],
                    sealed: vec![number],
                    identities: None,
                    scopes: vec!["a".into()],
                    redirect_uri: "https://host.example/callback".into(),
                    return_to: "/".into(),
                    activate: true,
                    session: self.sessions.last().copied().filter(|_| number % 2 == 1),
                    expires_at: self.later(60),
                };
                let _ = both!(self, op, |s| s.start_flow(&flow, Some([7; 32])));
            }
            Op::TakeFlow(number) => {
                let _ = both!(self, op, |s| s.take_flow([number; 32]));
            }
            Op::Session(number) => {
                let id = SessionId::from_uuid(self.make.id());
                let session = Session {
                    id,
                    tenant: TENANT,
                    owner: "owner".into(),
                    provider: provider(),
                    token_hash: [number; 32],
                    scopes: vec!["a".into()],
                    account: None,
                    return_to: None,
                    origins: vec!["https://app.example.com".into()],
                    activate: number % 2 == 0,
                    status: SessionStatus::Open,
                    connected: Vec::new(),
                    missing_scopes: Vec::new(),
                    code: None,
                    expires_at: self.later(60),
                };
                let _ = both!(self, op, |s| s.create_session(&session));
                let _ = both!(self, op, |s| s.session([number; 32]));
                if let Some(before) = self.sessions.last().copied() {
                    let taken: Vec<_> = self
                        .accounts
                        .iter()
                        .map(|(_, id)| {
                            let event = NewEvent {
                                account: Some(*id),
                                ..self.make.event("account.connected")
                            };
                            (event, NOTE.clone().to(id))
                        })
                        .collect();
                    let _ = both!(self, op, |s| s.complete_session(TENANT, before, [number; 32], &taken));
                    let end = if number % 2 == 0 {
                        SessionStatus::Refused
                    } else {
                        SessionStatus::Cancelled
                    };
                    let _ = both!(self, op, |s| s.end_session(TENANT, before, end, None));
                    let _ = both!(self, op, |s| s.session_by_id(TENANT, before));
                }
                self.sessions.push(id);
            }
            _ => self.kept_op(op).await?,
        }
        Some(())
    }

    async fn kept_op(&mut self, op: &Op) -> Option<()> {
        match *op {
            Op::Media(tenant) => {
                let upload = self.new_upload(tenant, tenant)?;
                both!(self, op, |s| s.begin_upload(&upload, u64::MAX, u32::MAX)).ok()?;
                let leased = both!(self, op, |s| s.lease_upload(upload.tenant, upload.id, MINUTE)).ok()?;
                let LeasedUpload::Leased(_, lease) = leased else {
                    return None;
                };
                let media = self.media_of(lease, tenant);
                both!(self, op, |s| s.finish_upload(lease, &media, None)).ok()?;
                self.media.push((media.tenant, media.id));
            }
            Op::Upload(tenant, size) => {
                let upload = self.new_upload(tenant, size)?;
                let _ = both!(self, op, |s| s.begin_upload(&upload, 400, 4));
                self.uploads.push((upload.tenant, upload.id));
            }
            Op::LeaseUpload(upload) => {
                let (tenant, id) = pick(&self.uploads, upload)?;
                let leased = both!(self, op, |s| s.lease_upload(tenant, id, MINUTE)).ok()?;
                if let LeasedUpload::Leased(_, lease) = leased {
                    self.upload_leases.push(lease);
                }
            }
            Op::NoteUpload(lease, life) => {
                let lease = pick(&self.upload_leases, lease)?;
                let progress = Progress {
                    offset: u64::from(life),
                    digest: vec![1],
                    place: Some("place".into()),
                };
                let until = self.later(life);
                let _ = both!(self, op, |s| s.note_upload(lease, &progress, MINUTE, until));
            }
            Op::Avatar(account, byte) => {
                let (tenant, id) = pick(&self.accounts, account)?;
                let known = both!(self, op, |s| s.avatar(tenant, id)).ok()?;
                let source = both!(self, op, |s| s.account(tenant, id)).ok()??.avatar_url?;
                let seen = known.map(|known| known.looked_at);
                let _ = both!(self, op, |s| s.claim_avatar(tenant, id, source.as_str(), seen));
                let picture = Picture {
                    mime: "image/png".into(),
                    sha256: [byte; 32],
                    bytes: vec![byte],
                };
                let _ = both!(self, op, |s| s.keep_avatar(tenant, id, source.as_str(), &picture));
                let _ = both!(self, op, |s| s.avatar(tenant, id));
            }
            Op::Import(tenant, key) => {
                let mut upload = self.new_upload(tenant, 0)?;
                upload.import = Some(NewImport {
                    source: "https://media.example.com/".into(),
                    request_key: key.to_string(),
                    request_hash: [key; 32],
                    job: NewJob {
                        id: JobId::from_uuid(self.make.id()),
                        tenant: upload.tenant,
                        kind: JobKind::Import,
                        target: upload.id.as_uuid(),
                        concurrency_key: Some(upload.id.to_string()),
                        run_at: None,
                        correlation_id: String::new(),
                    },
                });
                let _ = both!(self, op, |s| s.begin_upload(&upload, 400, 4));
                self.uploads.push((upload.tenant, upload.id));
            }
            Op::NoteSource(lease, size) => {
                let lease = pick(&self.upload_leases, lease)?;
                let seen = Seen {
                    total: (size > 100).then_some(u64::from(size)),
                    version: (size > 50).then(|| "\"v\"".to_owned()),
                };
                let _ = both!(self, op, |s| s.note_source(lease, &seen, u64::from(size), 400));
            }
            Op::FailImport(lease, life) => {
                let lease = pick(&self.upload_leases, lease)?;
                let until = self.later(life);
                let event = self.make.event("media.import_failed");
                let failure = ImportFailure::Status(404);
                let _ = both!(self, op, |s| s.fail_import(lease, failure, until, &event));
            }
            Op::ReleaseUpload(lease) => {
                let lease = pick(&self.upload_leases, lease)?;
                let _ = both!(self, op, |s| s.release_upload(lease));
            }
            Op::FinishUpload(lease) => {
                let lease = pick(&self.upload_leases, lease)?;
                let media = self.media_of(lease, 1);
                if both!(self, op, |s| s.finish_upload(lease, &media, None)).is_ok() {
                    self.media.push((media.tenant, media.id));
                }
            }
            Op::DeleteUpload(upload) => {
                let (tenant, id) = pick(&self.uploads, upload)?;
                let _ = both!(self, op, |s| s.delete_upload(tenant, id));
            }
            Op::Keep(media, secs) => {
                let (tenant, id) = pick(&self.media, media)?;
                let until = self.later(secs);
                let _ = both!(self, op, |s| s.keep_media(tenant, id, until));
                let _ = both!(self, op, |s| s.media(tenant, id));
                let _ = both!(self, op, |s| s.media_bytes(tenant));
            }
            Op::DataKey(tenant, id) => {
                let key = DataKey {
                    id: u32::from(id),
                    tenant: pick(&self.tenants, tenant)?,
                    wrapped: vec![id],
                    canary: vec![tenant],
                    state: DataKeyState::Active,
                };
                let _ = both!(self, op, |s| s.add_data_key(key.clone()));
            }
            Op::ApiKey(tenant, name) => {
                let key = ApiKey {
                    id: ApiKeyId::from_uuid(self.make.id()),
                    tenant: pick(&self.tenants, tenant)?,
                    name: "name".into(),
                    public_id: name.to_string(),
                    secret_hash: [1; 32],
                    scopes: KeyScope::ALL.to_vec(),
                    created_at: self.now(),
                    expires_at: None,
                    revoked_at: None,
                    last_used_at: None,
                };
                both!(self, op, |s| s.create_api_key(&key, &NOTE)).ok()?;
                self.keys.push(key.id);
            }
            Op::TouchKey(key) => {
                let key = pick(&self.keys, key)?;
                let _ = both!(self, op, |s| s.touch_api_key(key));
            }
            Op::RevokeKey(tenant, key) => {
                let (tenant, key) = (pick(&self.tenants, tenant)?, pick(&self.keys, key)?);
                let _ = both!(self, op, |s| s.revoke_api_key(tenant, key, &NOTE));
            }
            Op::Purge(limit) => {
                let (now, limit) = (self.now(), u32::from(limit));
                let _ = both!(self, op, |s| s.purge_readings(now, 1000));
                let _ = both!(self, op, |s| s.purge_flows(limit));
                let _ = both!(self, op, |s| s.purge_slots(limit));
                // Which of several goes first is nobody's business: all or none.
                let _ = both!(self, op, |s| s.purge_jobs(now, now, 1000));
                let _ = both!(self, op, |s| s.purge_deliveries(now, now, 1000));
                let _ = both!(self, op, |s| async {
                    let mut gone = s.purge_media(1000).await?;
                    gone.sort();
                    Ok(gone)
                });
                let _ = both!(self, op, |s| async {
                    let mut gone = s.purge_uploads(1000).await?;
                    gone.sort_by_key(|upload| upload.id);
                    Ok(gone)
                });
            }
            Op::List(tenant, account, status, limit) => {
                let tenant = pick(&self.tenants, tenant)?;
                self.list(tenant, pick(&self.accounts, account).map(|(_, id)| id), status, limit)
                    .await;
            }
            _ => unreachable!("done before"),
        }
        Some(())
    }

    async fn list(&self, tenant: TenantId, account: Option<AccountId>, status: Option<PostStatus>, limit: u8) {
        let posts = PostFilter {
            provider: None,
            account,
            status,
            group: None,
        };
        let events = EventFilter {
            account,
            ..EventFilter::default()
        };
        let mut page = PageRequest {
            after: None,
            limit: u32::from(limit),
        };
        for _ in 0..3 {
            let found = both!(self, "posts", |s| s.posts(tenant, &posts, page));
            let _ = both!(self, "events", |s| s.events(tenant, &events, page));
            let _ = both!(self, "accounts", |s| s.accounts(
                tenant,
                &AccountFilter::default(),
                page
            ));
            page.after = found.ok().and_then(|page| page.next);
        }
        let _ = both!(self, "post_by_ref", |s| s.post_by_ref(tenant, &provider(), "ref-1"));
    }

    /// Everything that can be read.
    /// Claims as a worker does: an abandoned job first.
    async fn claimed(&self, claim: Claim<'_>) -> Option<Vec<Job>> {
        let abandoned = both!(self, "has_abandoned", |s| s.has_abandoned(claim.kind)).ok()?;
        let taken = both!(self, "take_over", |s| s.take_over(claim.kind, LEASE)).ok()?;
        assert_eq!(taken.is_some(), abandoned);
        match taken {
            Some(job) => Some(vec![job]),
            None => both!(self, "claim_jobs", |s| s.claim_jobs(claim)).ok(),
        }
    }

    fn new_upload(&mut self, tenant: u8, size: u8) -> Option<NewUpload> {
        Some(NewUpload {
            id: MediaId::from_uuid(self.make.id()),
            tenant: pick(&self.tenants, tenant)?,
            label: None,
            metadata: None,
            size: u64::from(size),
            digest: vec![0],
            import: None,
            expires_at: self.later(60),
        })
    }

    fn media_of(&self, lease: UploadLease, size: u8) -> Media {
        Media {
            id: lease.id,
            tenant: lease.tenant,
            label: None,
            info: MediaInfo {
                size_bytes: Some(u64::from(size)),
                frame_rate: Some(0.1),
                ..MediaInfo::of(MediaKind::Image, "image/png")
            },
            sha256: [1; 32],
            created_at: self.now(),
            expires_at: self.later(60),
        }
    }

    /// What an operator sees of all tenants and of each.
    async fn compare_numbers(&self) {
        let span = Span {
            from: self.now() - chrono::TimeDelta::days(30),
            to: self.now() + chrono::TimeDelta::seconds(1),
            most: 1_000,
        };
        let tenants = self.tenants.iter().copied().map(Some);
        for tenant in tenants.chain([None]) {
            for provider in [None, Some(provider())] {
                let scope = Scope { tenant, provider };
                let _ = both!(self, "count_accounts", |s| s.count_accounts(&scope, 1_000));
                let _ = both!(self, "count_open_posts", |s| s.count_open_posts(&scope, 1_000));
                let _ = both!(self, "count_outcomes", |s| s.count_outcomes(&scope, span));
                let _ = both!(self, "count_refresh_failures", |s| s
                    .count_refresh_failures(&scope, span));
            }
            let _ = both!(self, "count_waiting", |s| s.count_waiting(tenant, 1_000));
            let _ = both!(self, "count_dead", |s| s.count_dead(tenant, 1_000));
            let _ = both!(self, "count_deliveries", |s| s.count_deliveries(tenant, span));
            // Jobs that ended at one time are in no order.
            let sqlite = self.sqlite.webhook_times(tenant, span).await.unwrap();
            let postgres = self.postgres.webhook_times(tenant, span).await.unwrap();
            let sorted = |mut times: Vec<Duration>| {
                times.sort_unstable();
                times
            };
            assert_eq!(sorted(sqlite), sorted(postgres), "webhook_times");
        }
        for kind in JobKind::ALL {
            let _ = both!(self, "count_jobs", |s| s.count_jobs(kind, 1_000));
        }
    }

    async fn compare_all(&self) {
        let page = PageRequest {
            after: None,
            limit: 100,
        };
        for &tenant in &self.tenants {
            let _ = both!(self, "accounts", |s| s.accounts(
                tenant,
                &AccountFilter::default(),
                page
            ));
            let _ = both!(self, "posts", |s| s.posts(tenant, &PostFilter::default(), page));
            for (_, account) in self.accounts.iter().filter(|(owner, _)| *owner == tenant) {
                let _ = both!(self, "duplicate_of", |s| s.duplicate_of(tenant, *account, [0; 32]));
            }
            let _ = both!(self, "events", |s| s.events(tenant, &EventFilter::default(), page));
            let _ = both!(self, "api_keys", |s| s.api_keys(tenant, page));
            let _ = both!(self, "media_bytes", |s| s.media_bytes(tenant));
            let _ = both!(self, "media_list", |s| s.media_list(tenant, page));
            let _ = both!(self, "endpoints", |s| s.endpoints(tenant, page));
            let _ = both!(self, "audit_chain", |s| s.audit_chain(tenant, 0, 500));
        }
        for &(tenant, id) in &self.uploads {
            let _ = both!(self, "upload", |s| s.upload(tenant, id));
        }
        for &(tenant, id) in &self.endpoints {
            for status in DeliveryStatus::ALL {
                let status = Some(status);
                let filter = DeliveryFilter {
                    status,
                    ..DeliveryFilter::default()
                };
                self.deliveries(tenant, id, filter).await;
            }
        }
        for &(tenant, post) in &self.posts {
            let _ = both!(self, "commits", |s| s.commits(tenant, post));
            let _ = both!(self, "observations", |s| s.observations(tenant, post));
            let _ = both!(self, "metric_watch", |s| s.metric_watch(tenant, post));
            let _ = both!(self, "metric_history", |s| s.metric_history(tenant, post, page));
            for step in 0..3 {
                let _ = both!(self, "stray_ref", |s| s.stray_ref(tenant, post, step));
                let _ = both!(self, "pull_url", |s| s.pull_url(pull_token(post, step), true));
            }
        }
        self.compare_numbers().await;
        let _ = both!(self, "job_stats", |s| s.job_stats());
        let _ = both!(self, "next_due", |s| s.next_due(&JobKind::ALL));
        let _ = both!(self, "key_state", |s| s.key_state());
        self.clock.advance(Duration::from_secs(24 * 3600));
        for kind in JobKind::ALL {
            while let Some([job]) = self.claimed(claim_of(kind)).await.as_deref() {
                let _ = both!(self, "end_job", |s| s.end_job(job.lease(), &JobEnd::Done));
            }
        }
        let _ = both!(self, "dead_jobs", |s| s.dead_jobs(TENANT, DeadFilter::default(), page));
    }
}

/// The hash of the one pull URL of a call.
fn pull_token(post: PostId, step: i64) -> [u8; 32] {
    let mut hash = [0; 32];
    hash[..16].copy_from_slice(post.as_uuid().as_bytes());
    hash[16..24].copy_from_slice(&step.to_be_bytes());
    hash
}

fn texts(ids: &[u8]) -> Vec<String> {
    ids.iter().map(|id| format!("video-{id}")).collect()
}
