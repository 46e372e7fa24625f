use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Arc, Mutex},
    time::Duration,
};

use chrono::TimeDelta;
use patchbay_app::{
    model::{Job, JobKind, JobStatus, Lease, SessionGrant, SessionStatus},
    store::{Claim, Constraint, DeadFilter, JobEnd, JobStats, MAX_LOST, PageRequest, RefreshLease, StoreError},
};
use patchbay_core::{JobId, SessionId};
use tokio::time::timeout;
use uuid::Uuid;

use super::deliveries::{endpoint, pushed};
use crate::harness::{NOTE, LEASE, MINUTE, SECOND, TENANT, World, at_once, bury, claim_of};

pub async fn jobs_of_one_key_never_run_at_the_same_time(w: World) {
    let account = w.account("remote-1").await;
    let mut keys = HashMap::new();
    for index in 0..30 {
        let key = format!("key-{}", index % 3);
        keys.insert(keyed(&w, &account, index, Some(&key)).await, key);
    }
    let keys = Arc::new(keys);
    let running: Arc<Mutex<BTreeMap<String, Uuid>>> = Arc::default();
    let done = at_once(12, |_| {
        let (w, keys, running) = (w.clone(), keys.clone(), running.clone());
        async move {
            let mut done = Vec::new();
            // Until the queue is empty: a claimer that finds nothing may only have come at a bad moment.
            while w.store.job_stats().await.unwrap().due > 0 {
                let Some(job) = w.claim(JobKind::Publish).await else {
                    tokio::task::yield_now().await;
                    continue;
                };
                let key = &keys[&job.target];
                let before = running.lock().unwrap().insert(key.clone(), job.target);
                assert_eq!(before, None, "{key} runs twice");
                tokio::task::yield_now().await;
                running.lock().unwrap().remove(key);
                assert!(w.store.end_job(job.lease(), &JobEnd::Done).await.unwrap());
                done.push(job.target);
            }
            done
        }
    })
    .await;
    let done: Vec<_> = done.into_iter().flatten().collect();
    assert_eq!(done.len(), 30);
    assert_eq!(done.iter().collect::<BTreeSet<_>>().len(), 30);
}

pub async fn claimers_at_once_never_get_the_same_job(w: World) {
    let account = w.account("remote-1").await;
    for index in 0..10 {
        keyed(&w, &account, index, None).await;
    }
    let claimed = at_once(16, |_| {
        let w = w.clone();
        async move { w.claim(JobKind::Publish).await }
    })
    .await;
    let claimed: BTreeSet<_> = claimed.into_iter().flatten().map(|job| job.id).collect();
    // Jobs that another claimer is just looking at are passed over, so some may be left; none is given out twice.
    let mut left = 0;
    while w.claim(JobKind::Publish).await.is_some() {
        left += 1;
    }
    assert_eq!(claimed.len() + left, 10);
}

pub async fn the_job_that_has_waited_longest_comes_first(w: World) {
    let account = w.account("remote-1").await;
    let mut made = Vec::new();
    for (index, minutes) in [3, 1, 2].into_iter().enumerate() {
        let mut post = w.new_post(&account, &index.to_string());
        post.scheduled_at = Some(w.later(minutes * MINUTE));
        w.enqueue(&post).await.unwrap();
        made.push(post.id.as_uuid());
    }
    let inbox = w.webhook("app").await;
    assert_eq!(w.claim(JobKind::Publish).await, None, "none is due");
    assert_eq!(w.store.next_due(&[JobKind::Publish]).await.unwrap(), Some(w.later(MINUTE)));
    w.advance(10 * MINUTE);
    let mut order = Vec::new();
    while let Some(job) = w.claim(JobKind::Publish).await {
        assert_eq!(job.status, JobStatus::Running);
        order.push(job.target);
    }
    assert_eq!(order, [made[1], made[2], made[0]]);
    assert_eq!(w.claimed(JobKind::Ingest).await.target, inbox.as_uuid());
}

pub async fn a_busy_key_does_not_hold_up_others(w: World) {
    let account = w.account("remote-1").await;
    let first = keyed(&w, &account, 0, Some("a")).await;
    for index in 1..20 {
        keyed(&w, &account, index, Some("a")).await;
    }
    w.advance(SECOND);
    let other = keyed(&w, &account, 20, Some("b")).await;
    let job = w.claimed(JobKind::Publish).await;
    assert_eq!(job.target, first);
    assert_eq!(w.claimed(JobKind::Publish).await.target, other);
    assert_eq!(w.claim(JobKind::Publish).await, None);
    // What waits for another job is no reason to look again.
    assert_eq!(w.store.next_due(&[JobKind::Publish]).await.unwrap(), None);
    assert!(w.store.end_job(job.lease(), &JobEnd::Done).await.unwrap());
    assert!(w.store.next_due(&[JobKind::Publish]).await.unwrap().is_some());
    assert!(w.claim(JobKind::Publish).await.is_some());
}

pub async fn a_claim_that_expired_is_claimed_again_and_its_holder_writes_nothing(w: World) {
    let account = w.account("remote-1").await;
    let target = keyed(&w, &account, 0, Some("a")).await;
    let first = w.claimed(JobKind::Publish).await;
    assert_eq!((first.attempts, first.fence), (1, 1));
    w.advance(LEASE - SECOND);
    assert_eq!(w.claim(JobKind::Publish).await, None);
    w.advance(SECOND);
    // Expired but not yet taken over: already it writes nothing.
    let end = JobEnd::Done;
    assert!(!w.store.end_job(first.lease(), &end).await.unwrap());
    assert!(!renewed(&w, first.lease()).await);
    assert_eq!(w.store.next_due(&[JobKind::Publish]).await.unwrap(), Some(w.now()));
    let second = w.claimed(JobKind::Publish).await;
    assert_eq!((second.id, second.target), (first.id, target));
    assert_eq!((second.attempts, second.fence), (2, 2));
    assert!(!w.store.end_job(first.lease(), &end).await.unwrap());
    assert!(!renewed(&w, first.lease()).await);
    w.store.return_job(first.lease()).await.unwrap();
    assert!(renewed(&w, second.lease()).await);
    assert!(w.store.end_job(second.lease(), &end).await.unwrap());
    assert!(!w.store.end_job(second.lease(), &end).await.unwrap(), "it has ended");
}

pub async fn a_renewed_lease_lasts(w: World) {
    let account = w.account("remote-1").await;
    keyed(&w, &account, 0, None).await;
    let job = w.claimed(JobKind::Publish).await;
    for _ in 0..5 {
        w.advance(LEASE - SECOND);
        assert!(renewed(&w, job.lease()).await);
        assert_eq!(w.claim(JobKind::Publish).await, None);
    }
    assert!(w.store.end_job(job.lease(), &JobEnd::Done).await.unwrap());
}

pub async fn a_host_that_is_alone_ends_the_leases_of_the_one_before(w: World) {
    let account = w.account("remote-1").await;
    keyed(&w, &account, 0, None).await;
    let job = w.claimed(JobKind::Publish).await;
    let lease = async || w.store.lease_refresh(TENANT, account.id, 1, "host", LEASE).await.unwrap();
    assert!(matches!(lease().await, RefreshLease::Granted(_)));
    w.store.end_orphaned_leases().await.unwrap();
    // A server may have other hosts: there, leases run out by themselves.
    let alone = w.store.backend() == "sqlite";
    let again = w.claim(JobKind::Publish).await;
    assert_eq!(again.map(|job| job.attempts), alone.then_some(2));
    assert_eq!(w.store.end_job(job.lease(), &JobEnd::Done).await.unwrap(), !alone);
    assert_eq!(matches!(lease().await, RefreshLease::Granted(_)), alone);
}

pub async fn a_returned_job_is_due_at_once_and_has_its_attempt_back(w: World) {
    let account = w.account("remote-1").await;
    keyed(&w, &account, 0, None).await;
    let job = w.claimed(JobKind::Publish).await;
    w.store.return_job(job.lease()).await.unwrap();
    let again = w.claimed(JobKind::Publish).await;
    assert_eq!((again.id, again.attempts), (job.id, 1));
    assert!(again.fence > job.fence, "the old lease is worthless");
    assert!(!w.store.end_job(job.lease(), &JobEnd::Done).await.unwrap());
}

pub async fn a_job_ends_as_its_worker_says(w: World) {
    let account = w.account("remote-1").await;
    keyed(&w, &account, 0, None).await;
    let end = async |job: &Job, end: JobEnd| assert!(w.store.end_job(job.lease(), &end).await.unwrap());
    let job = w.claimed(JobKind::Publish).await;
    assert_eq!(job.last_error, None);
    let again = JobEnd::Again {
        run_at: w.later(MINUTE),
        code: "timeout".into(),
    };
    end(&job, again).await;
    assert_eq!(w.claim(JobKind::Publish).await, None);
    w.advance(MINUTE);
    let job = w.claimed(JobKind::Publish).await;
    assert_eq!((job.attempts, job.last_error.as_deref()), (2, Some("timeout")));
    assert_eq!(job.run_at, w.now());
    let next = JobEnd::Next {
        run_at: w.later(MINUTE),
    };
    end(&job, next).await;
    w.advance(MINUTE);
    let job = w.claimed(JobKind::Publish).await;
    assert_eq!(job.attempts, 1, "the step ended well");
    end(&job, JobEnd::Dead { code: "poison".into() }).await;
    w.advance(60 * MINUTE);
    assert_eq!(w.claim(JobKind::Publish).await, None);
    assert_eq!(w.store.job_stats().await.unwrap().dead, 1);
    assert!(!w.store.wake_job(JobKind::Publish, job.target).await.unwrap());
}

pub async fn a_woken_job_is_due_now(w: World) {
    let account = w.account("remote-1").await;
    let mut post = w.new_post(&account, "key");
    post.scheduled_at = Some(w.later(60 * MINUTE));
    w.enqueue(&post).await.unwrap();
    let wake = async |kind, target| w.store.wake_job(kind, target).await.unwrap();
    assert!(!wake(JobKind::Publish, w.id()).await);
    assert!(!wake(JobKind::Ingest, post.id.as_uuid()).await);
    assert_eq!(w.claim(JobKind::Publish).await, None);
    assert!(wake(JobKind::Publish, post.id.as_uuid()).await);
    let job = w.claimed(JobKind::Publish).await;
    assert_eq!(job.run_at, w.now());
    assert!(w.store.end_job(job.lease(), &JobEnd::Done).await.unwrap());
    assert!(!wake(JobKind::Publish, post.id.as_uuid()).await, "it has ended");
}

pub async fn a_job_woken_while_it_runs_runs_once_more(w: World) {
    let account = w.account("remote-1").await;
    let target = keyed(&w, &account, 0, None).await;
    let ends = [
        JobEnd::Done,
        JobEnd::Next {
            run_at: w.later(60 * MINUTE),
        },
        JobEnd::Again {
            run_at: w.later(60 * MINUTE),
            code: "x".into(),
        },
        JobEnd::Dead { code: "x".into() },
    ];
    for end in ends {
        let job = w.claimed(JobKind::Publish).await;
        assert!(w.store.wake_job(JobKind::Publish, target).await.unwrap());
        assert!(w.store.end_job(job.lease(), &end).await.unwrap());
    }
    let job = w.claimed(JobKind::Publish).await;
    // A claim that begins after the wake has seen what it was woken for.
    assert!(w.store.wake_job(JobKind::Publish, target).await.unwrap());
    w.advance(LEASE);
    let job = (job.id, w.claimed(JobKind::Publish).await);
    assert_eq!(job.0, job.1.id);
    assert!(w.store.end_job(job.1.lease(), &JobEnd::Done).await.unwrap());
    assert_eq!(w.claim(JobKind::Publish).await, None);
}

pub async fn abandoned_jobs_are_taken_over_alone_and_count_as_lost(w: World) {
    let mut made = Vec::new();
    for _ in 0..4 {
        made.push(w.webhook("app").await.as_uuid());
    }
    let several = Claim {
        limit: 3,
        ..claim_of(JobKind::Ingest)
    };
    let targets = |jobs: &[Job]| jobs.iter().map(|job| job.target).collect::<Vec<_>>();
    let first = w.store.claim_jobs(several).await.unwrap();
    assert_eq!(targets(&first), made[..3]);
    assert!(!w.store.has_abandoned(JobKind::Ingest).await.unwrap());
    assert_eq!(w.store.take_over(JobKind::Ingest, LEASE).await.unwrap(), None);
    w.advance(LEASE);
    for lost in 1..=2 {
        for target in &made[..3] {
            assert!(w.store.has_abandoned(JobKind::Ingest).await.unwrap());
            assert!(!w.store.has_abandoned(JobKind::Publish).await.unwrap());
            let job = w.store.take_over(JobKind::Ingest, LEASE).await.unwrap().unwrap();
            assert_eq!((job.target, job.lost, job.attempts), (*target, lost, lost + 1));
        }
        assert!(!w.store.has_abandoned(JobKind::Ingest).await.unwrap());
        w.advance(LEASE);
    }
    let job = w.claimed(JobKind::Ingest).await;
    let again = JobEnd::Again {
        run_at: w.now(),
        code: "x".into(),
    };
    assert!(w.store.end_job(job.lease(), &again).await.unwrap());
    for target in &made[1..3] {
        let job = w.claimed(JobKind::Ingest).await;
        assert_eq!((job.target, job.lost, job.attempts), (*target, MAX_LOST, 3), "to be put aside, not tried");
    }
    let rest = w.store.claim_jobs(several).await.unwrap();
    assert_eq!(targets(&rest), [made[3], made[0]], "a verdict makes it one of many again");
    assert_eq!(rest[1].lost, 0);
}

pub async fn leases_are_renewed_together(w: World) {
    w.webhook("app").await;
    w.webhook("app").await;
    let several = Claim {
        limit: 5,
        ..claim_of(JobKind::Ingest)
    };
    let jobs = w.store.claim_jobs(several).await.unwrap();
    let leases: Vec<_> = jobs.iter().map(Job::lease).collect();
    w.advance(LEASE - SECOND);
    assert_eq!(w.store.renew_leases(&leases, LEASE).await.unwrap().len(), 2);
    assert!(w.store.end_job(leases[0], &JobEnd::Done).await.unwrap());
    w.advance(LEASE - SECOND);
    assert_eq!(w.store.renew_leases(&leases, LEASE).await.unwrap(), leases[1..]);
    assert!(w.store.end_job(leases[1], &JobEnd::Done).await.unwrap());
}

pub async fn t62_tenants_take_turns(w: World) {
    let mut tenants = vec![TENANT];
    for name in ["second", "third"] {
        let id = patchbay_core::TenantId::from_uuid(w.id());
        tenants.push(w.store.ensure_tenant(id, name).await.unwrap().id);
    }
    tenants.sort_unstable();
    for (index, tenant) in tenants.iter().enumerate() {
        let mut account = w.new_account(*tenant, &format!("remote-{index}"));
        account.client_id = format!("app-{index}");
        let account = w.connect_as(&account).await.unwrap();
        // The first one has come long before the others with many.
        let count = if index == 0 { 5 } else { 2 };
        for post in 0..count {
            w.post(&account, &format!("{index}-{post}")).await;
        }
        w.advance(MINUTE);
    }
    let mut last = None;
    let mut order = Vec::new();
    loop {
        let claim = Claim {
            after: last,
            ..claim_of(JobKind::Publish)
        };
        let Some(job) = w.store.claim_jobs(claim).await.unwrap().pop() else { break };
        last = Some(job.tenant);
        order.push(tenants.iter().position(|tenant| *tenant == job.tenant).unwrap());
    }
    assert_eq!(order, [0, 1, 2, 0, 1, 2, 0, 0, 0]);
    // Who is to wait is passed over.
    w.advance(LEASE);
    for _ in 0..9 {
        let job = w.claimed(JobKind::Publish).await;
        w.store.return_job(job.lease()).await.unwrap();
    }
    let except = &tenants[..2];
    let claim = Claim {
        except,
        ..claim_of(JobKind::Publish)
    };
    for _ in 0..2 {
        assert_eq!(w.store.claim_jobs(claim).await.unwrap()[0].tenant, tenants[2]);
    }
    assert_eq!(w.store.claim_jobs(claim).await.unwrap(), []);
}

pub async fn a_job_behind_many_of_a_busy_key_is_found(w: World) {
    let account = w.account("remote-1").await;
    for index in 0..80 {
        keyed(&w, &account, index, Some("a")).await;
    }
    w.advance(SECOND);
    let other = keyed(&w, &account, 80, Some("b")).await;
    w.claimed(JobKind::Publish).await;
    assert_eq!(w.claimed(JobKind::Publish).await.target, other);
    assert_eq!(w.claim(JobKind::Publish).await, None);
}

pub async fn dead_jobs_are_listed_and_revived(w: World) {
    let mut made = Vec::new();
    for _ in 0..5 {
        let inbox = w.webhook("app").await;
        let job = w.claimed(JobKind::Ingest).await;
        w.settle(bury(job.lease(), inbox)).await;
        made.push((job.id, w.now()));
        w.advance(MINUTE);
    }
    let account = w.account("remote-1").await;
    let target = keyed(&w, &account, 0, None).await;
    let post = w.claimed(JobKind::Publish).await;
    assert!(w.store.end_job(post.lease(), &JobEnd::Dead { code: "x".into() }).await.unwrap());
    let list = async |filter: DeadFilter, limit| {
        let mut found = Vec::new();
        let mut page = PageRequest { after: None, limit };
        loop {
            let part = w.store.dead_jobs(TENANT, filter, page).await.unwrap();
            found.extend(part.items);
            match part.next {
                Some(next) => page.after = Some(next),
                None => return found,
            }
        }
    };
    let all = list(DeadFilter::default(), 4).await;
    assert_eq!(all.len(), 6);
    assert!(all.is_sorted_by_key(|job| std::cmp::Reverse((job.finished_at, job.id))));
    assert_eq!((all[0].id, all[0].finished_at), (post.id, Some(w.now())));
    assert_eq!(all[0].last_error.as_deref(), Some("x"));
    let window = DeadFilter {
        kind: Some(JobKind::Ingest),
        from: Some(made[1].1),
        to: Some(made[3].1),
    };
    let ids = |jobs: &[Job]| jobs.iter().map(|job| job.id).collect::<Vec<_>>();
    assert_eq!(ids(&list(window, 10).await), [made[2].0, made[1].0]);
    let other = w.other_tenant().await;
    assert_eq!(w.store.dead_jobs(other, DeadFilter::default(), PageRequest { after: None, limit: 10 }).await.unwrap().items, []);
    assert_eq!(w.store.revive_job(other, post.id, &NOTE).await.unwrap(), None);
    assert_eq!(w.store.revive_jobs(other, DeadFilter::default(), 10, &NOTE).await.unwrap(), 0);
    assert_eq!(w.store.revive_job(TENANT, JobId::from_uuid(w.id()), &NOTE).await.unwrap(), None);

    assert_eq!(w.store.revive_jobs(TENANT, window, 1, &NOTE).await.unwrap(), 1, "the oldest first");
    assert_eq!(w.claimed(JobKind::Ingest).await.id, made[1].0);
    assert_eq!(w.store.revive_jobs(TENANT, window, 10, &NOTE).await.unwrap(), 1);
    let job = w.claimed(JobKind::Ingest).await;
    assert_eq!((job.id, job.attempts, job.run_at, job.finished_at), (made[2].0, 1, w.now(), None));
    assert_eq!(list(DeadFilter::default(), 10).await.len(), 4);

    // Its target has a new job meanwhile, which does the same.
    let mut again = w.job(TENANT, JobKind::Publish, target);
    again.concurrency_key = Some("a".into());
    let published = w.new_post(&account, "another");
    w.store.enqueue_posts(&[(published, again)]).await.unwrap();
    assert_eq!(w.store.revive_job(TENANT, post.id, &NOTE).await.unwrap(), Some(false));
    assert_eq!(w.store.revive_jobs(TENANT, DeadFilter { kind: Some(JobKind::Publish), ..DeadFilter::default() }, 10, &NOTE).await.unwrap(), 0);
    let live = w.claimed(JobKind::Publish).await;
    assert!(w.store.end_job(live.lease(), &JobEnd::Dead { code: "y".into() }).await.unwrap());
    // Two dead ones of one target: one is enough.
    assert_eq!(w.store.revive_jobs(TENANT, DeadFilter::default(), 10, &NOTE).await.unwrap(), 4);
}

pub async fn storing_a_job_again_moves_it_forward_and_never_back(w: World) {
    let account = w.account("remote-1").await;
    let target = w.id();
    let store = async |delay| {
        let mut job = w.job(TENANT, JobKind::Publish, target);
        job.run_at = Some(w.later(delay));
        w.store.enqueue_posts(&[(w.new_post(&account, &w.id().to_string()), job)]).await.unwrap();
    };
    let next = async || w.store.next_due(&[JobKind::Publish]).await.unwrap();
    store(10 * MINUTE).await;
    store(20 * MINUTE).await;
    assert_eq!(next().await, Some(w.later(10 * MINUTE)));
    store(MINUTE).await;
    assert_eq!(next().await, Some(w.later(MINUTE)));
    w.advance(MINUTE);
    let job = w.claimed(JobKind::Publish).await;
    store(5 * MINUTE).await;
    store(3 * MINUTE).await;
    assert_eq!(w.claim(JobKind::Publish).await, None, "there is one job");
    assert!(w.store.end_job(job.lease(), &JobEnd::Done).await.unwrap());
    assert_eq!(next().await, Some(w.later(3 * MINUTE)));
}

pub async fn the_queue_is_counted(w: World) {
    assert_eq!(w.store.job_stats().await.unwrap(), JobStats::default());
    let account = w.account("remote-1").await;
    for index in 0..4 {
        keyed(&w, &account, index, None).await;
    }
    w.advance(MINUTE);
    let dead = w.claimed(JobKind::Publish).await;
    let end = JobEnd::Dead { code: "x".into() };
    assert!(w.store.end_job(dead.lease(), &end).await.unwrap());
    w.claimed(JobKind::Publish).await;
    let expected = JobStats {
        due: 2,
        running: 1,
        dead: 1,
        lag: Some(MINUTE),
    };
    assert_eq!(w.store.job_stats().await.unwrap(), expected);
    // An abandoned claim is due, since the end of its lease.
    w.advance(LEASE);
    let stats = w.store.job_stats().await.unwrap();
    assert_eq!((stats.due, stats.running, stats.lag), (3, 0, Some(MINUTE + LEASE)));
}

pub async fn what_waits_for_a_tenants_receiver_is_no_lag(w: World) {
    let at = endpoint(&w, TENANT, &[]).await;
    pushed(&w, &at).await;
    w.advance(MINUTE);
    let stats = w.store.job_stats().await.unwrap();
    assert_eq!((stats.due, stats.lag), (1, None));
}

pub async fn ended_jobs_are_purged_in_bounded_steps_with_their_webhooks(w: World) {
    let mut done = Vec::new();
    for _ in 0..5 {
        done.push(w.webhook("app").await);
        let job = w.claimed(JobKind::Ingest).await;
        w.settle(w.read(job.lease(), done[done.len() - 1], &[])).await;
    }
    w.advance(MINUTE);
    let waiting = w.webhook("app").await;
    let purge = async |limit| w.store.purge_jobs(w.now(), w.now(), limit).await.unwrap();
    assert_eq!(purge(3).await, 3);
    assert_eq!(purge(3).await, 2);
    assert_eq!(purge(3).await, 0);
    for inbox in done {
        assert_eq!(w.inbox(inbox).await, None);
    }
    assert!(w.inbox(waiting).await.is_some());
    // What ended just now is kept; a dead one goes like a done one.
    let job = w.claimed(JobKind::Ingest).await;
    w.settle(bury(job.lease(), waiting)).await;
    assert_eq!(purge(3).await, 0);
    w.advance(SECOND);
    let long_ago = w.now() - TimeDelta::days(1);
    assert_eq!(w.store.purge_jobs(w.now(), long_ago, 3).await.unwrap(), 0, "dead ones have a time of their own");
    assert_eq!(purge(3).await, 1);
    assert_eq!(w.inbox(waiting).await, None);
}

/// Whether the loops of a kind were called since this was asked last.
async fn called(w: &World, kind: JobKind) -> bool {
    timeout(Duration::ZERO, w.store.wakes().woken(&[kind])).await.is_ok()
}

async fn all_called(w: &World) -> Vec<JobKind> {
    let mut kinds = Vec::new();
    for kind in JobKind::ALL {
        if called(w, kind).await {
            kinds.push(kind);
        }
    }
    kinds
}

pub async fn what_a_commit_makes_due_wakes_the_loops_of_its_kind(w: World) {
    let account = w.account("remote-1").await;
    all_called(&w).await;
    w.post(&account, "key").await;
    assert_eq!(all_called(&w).await, [JobKind::Publish]);
    w.webhook("app").await;
    assert_eq!(all_called(&w).await, [JobKind::Ingest]);
    // An event, if somebody wants it pushed; a job of later does not count.
    let disconnect = async || {
        let mut revoke = w.job(TENANT, JobKind::Revoke, account.id.as_uuid());
        revoke.run_at = Some(w.later(MINUTE));
        let event = w.event("account.disconnected");
        w.store.begin_disconnect(TENANT, account.id, "user", Some(&revoke), &event, &NOTE).await.unwrap();
        all_called(&w).await
    };
    assert_eq!(disconnect().await, []);
    w.connect_as(&w.new_account(TENANT, "remote-1")).await.unwrap();
    endpoint(&w, TENANT, &["account.disconnected"]).await;
    all_called(&w).await;
    assert_eq!(disconnect().await, [JobKind::Deliver]);
    assert!(w.store.wake_job(JobKind::Revoke, account.id.as_uuid()).await.unwrap());
    assert_eq!(all_called(&w).await, [JobKind::Revoke]);
}

pub async fn what_is_taken_back_wakes_nobody(w: World) {
    endpoint(&w, TENANT, &[]).await;
    let account = w.new_account(TENANT, "remote-1");
    let to = w.store.place_grant(&account).await.unwrap();
    let session = SessionGrant {
        id: SessionId::from_uuid(w.id()),
        status: SessionStatus::Completed,
        missing_scopes: Vec::new(),
        code_hash: [5; 32],
        code_until: w.later(MINUTE),
    };
    all_called(&w).await;
    let refused = w.grant(to, &account, &w.tokens(to.next_version), Some(&session)).await;
    assert!(matches!(refused, Err(StoreError::Conflict(Constraint::SessionOver))), "{refused:?}");
    assert_eq!(all_called(&w).await, []);
    w.grant(to, &account, &w.tokens(to.next_version), None).await.unwrap();
    assert!(called(&w, JobKind::Deliver).await);
}

/// Stores a post whose job has a concurrency key. Returns the job's target.
async fn keyed(w: &World, account: &patchbay_app::model::Account, index: usize, key: Option<&str>) -> Uuid {
    let post = w.new_post(account, &index.to_string());
    let mut job = w.job(TENANT, JobKind::Publish, post.id.as_uuid());
    if let Some(key) = key {
        job.concurrency_key = Some(key.to_owned());
    }
    let target = post.id.as_uuid();
    w.store.enqueue_posts(&[(post, job)]).await.unwrap();
    target
}

async fn renewed(w: &World, lease: Lease) -> bool {
    !w.store.renew_leases(&[lease], LEASE).await.unwrap().is_empty()
}
