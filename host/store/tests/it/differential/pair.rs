//! Runs a sequence on both stores and compares each answer.

use std::{fmt::Debug, sync::Arc, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};
use patchbay_app::{
    env::{Clock, FixedClock},
    model::{
        AccountStatus, ApiKey, AttemptResult, CommitOutcome, DataKey, DataKeyState, Delivery, DeliveryEnd,
        DeliveryStatus, EndpointChange, Flow, Job, JobKind, KeyScope, Lease, Media, NewPullUrl, NextDelivery,
        Observation, ObservationSource, PostStatus, PostTransition, SealedSecret, Session,
    },
    store::{
        AccountFilter, Claim, DeadFilter, DeliveryFilter, Enqueued, EventFilter, JobEnd, PageRequest, PostEdit,
        PostFilter, QuotaChange, SlotRequest, StepRecord, Store, StoreError, StoreResult, TakenSlot, Waiter, Window,
    },
};
use patchbay_core::{
    AccountId, ApiKeyId, Checkpoint, DeliveryId, EndpointId, EventKind, FlowId, InboxId, IncomingEvent, MediaId,
    MediaInfo, MediaKind, PostId, Publication, SlotId, TenantId,
};
use patchbay_store::{postgres::PostgresStore, sqlite::SqliteStore};
use uuid::Uuid;

use super::op::{End, News, Op, Pick};
use crate::harness::{LEASE, MINUTE, TENANT, World, bury, claim_of, env, options, other_provider, provider};

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
        media: Vec::new(),
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
    media: Vec<(TenantId, MediaId)>,
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
                let stored = both!(self, op, |s| s.finish_connect(to, &account, &tokens, &refresh, &event)).ok()?;
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
                let _ = both!(self, op, |s| s.require_reauth(tenant, id, version, "code", &event));
            }
            Op::Disconnect(account, revoke) => {
                let (tenant, id) = pick(&self.accounts, account)?;
                let job = self.make.job(tenant, JobKind::Revoke, id.as_uuid());
                let event = self.make.event("account.disconnected");
                let revoke = revoke.then_some(&job);
                let _ = both!(self, op, |s| s.begin_disconnect(tenant, id, "user", revoke, &event));
            }
            Op::Erase(account) => {
                let (tenant, id) = pick(&self.accounts, account)?;
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
                let edit = PostEdit {
                    tenant,
                    post: id,
                    seen: if *has_seen { post.updated_at } else { self.later(1) },
                    content: post.content,
                    content_hash: [*content; 32],
                    scheduled_at: delay.map(|delay| self.later(delay)),
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
                    u32::from(*limit)
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
                let made = both!(self, op, |s| s.create_endpoint(&endpoint, 3)).ok()?;
                self.endpoints.extend(made.map(|made| (made.tenant, made.id)));
            }
            Op::ChangeEndpoint(endpoint, enabled, url) => {
                let (tenant, id) = pick(&self.endpoints, endpoint)?;
                let change = EndpointChange {
                    url: url.then(|| "https://other.example.com/".parse().unwrap()),
                    enabled,
                    ..EndpointChange::default()
                };
                let _ = both!(self, op, |s| s.change_endpoint(tenant, id, &change));
            }
            Op::Rotate(endpoint, version) => {
                let (tenant, id) = pick(&self.endpoints, endpoint)?;
                let envelope = b"sealed".to_vec();
                let (secret, until) = (SealedSecret { envelope, version }, self.later(60));
                let _ = both!(self, op, |s| s.rotate_secret(tenant, id, &secret, until));
            }
            Op::DeleteEndpoint(endpoint) => {
                let (tenant, id) = pick(&self.endpoints, endpoint)?;
                let _ = both!(self, op, |s| s.delete_endpoint(tenant, id));
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
                let _ = both!(self, op, |s| s.redeliver(tenant, id, delivery));
            }
            Op::RedeliverMany(endpoint, limit) => {
                let (tenant, id) = pick(&self.endpoints, endpoint)?;
                let (all, limit) = (DeliveryFilter::default(), u32::from(limit));
                let _ = both!(self, op, |s| s.redeliver_window(tenant, id, all, limit));
            }
            _ => unreachable!("not of deliveries"),
        }
        Some(())
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
                    scopes: vec!["a".into()],
                    redirect_uri: "https://host.example/callback".into(),
                    return_to: "/".into(),
                    activate: true,
                    expires_at: self.later(60),
                };
                let _ = both!(self, op, |s| s.start_flow(&flow));
            }
            Op::TakeFlow(number) => {
                let _ = both!(self, op, |s| s.take_flow([number; 32]));
            }
            Op::Session(number) => {
                let session = Session {
                    id: self.make.id(),
                    tenant: TENANT,
                    owner: "owner".into(),
                    provider: provider(),
                    token_hash: [number; 32],
                    expires_at: self.later(60),
                };
                let _ = both!(self, op, |s| s.create_session(&session));
                let _ = both!(self, op, |s| s.session([number; 32]));
            }
            _ => self.kept_op(op).await?,
        }
        Some(())
    }

    async fn kept_op(&mut self, op: &Op) -> Option<()> {
        match *op {
            Op::Media(tenant) => {
                let media = Media {
                    id: MediaId::from_uuid(self.make.id()),
                    tenant: pick(&self.tenants, tenant)?,
                    label: None,
                    info: MediaInfo {
                        kind: MediaKind::Image,
                        mime: "image/png".into(),
                        size_bytes: Some(u64::from(tenant)),
                        duration_ms: None,
                        width: None,
                        height: None,
                        frame_rate: Some(0.1),
                        codec: None,
                    },
                    sha256: [1; 32],
                    created_at: self.now(),
                    expires_at: self.later(60),
                };
                both!(self, op, |s| s.add_media(&media)).ok()?;
                self.media.push((media.tenant, media.id));
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
                both!(self, op, |s| s.create_api_key(&key)).ok()?;
                self.keys.push(key.id);
            }
            Op::TouchKey(key) => {
                let key = pick(&self.keys, key)?;
                let _ = both!(self, op, |s| s.touch_api_key(key));
            }
            Op::RevokeKey(tenant, key) => {
                let (tenant, key) = (pick(&self.tenants, tenant)?, pick(&self.keys, key)?);
                let _ = both!(self, op, |s| s.revoke_api_key(tenant, key));
            }
            Op::Purge(limit) => {
                let (now, limit) = (self.now(), u32::from(limit));
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
            let _ = both!(self, "endpoints", |s| s.endpoints(tenant, page));
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
            for step in 0..3 {
                let _ = both!(self, "stray_ref", |s| s.stray_ref(tenant, post, step));
                let _ = both!(self, "pull_url", |s| s.pull_url(pull_token(post, step), true));
            }
        }
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
