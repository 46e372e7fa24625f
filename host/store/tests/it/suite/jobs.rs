use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Arc, Mutex},
};

use patchbay_app::{
    model::{Job, JobKind, JobStatus},
    store::{JobEnd, JobStats, RefreshLease},
};
use uuid::Uuid;

use crate::harness::{LEASE, MINUTE, SECOND, TENANT, World, at_once};

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
    while let Some(job) = w.store.claim_job(&[JobKind::Publish, JobKind::Revoke], LEASE).await.unwrap() {
        assert_eq!(job.status, JobStatus::Running);
        order.push(job.target);
    }
    assert_eq!(order, [made[1], made[2], made[0]]);
    assert_eq!(w.store.claim_job(&[], LEASE).await.unwrap(), None);
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
    assert!(!w.store.renew_lease(first.lease(), LEASE).await.unwrap());
    assert_eq!(w.store.next_due(&[JobKind::Publish]).await.unwrap(), Some(w.now()));
    let second = w.claimed(JobKind::Publish).await;
    assert_eq!((second.id, second.target), (first.id, target));
    assert_eq!((second.attempts, second.fence), (2, 2));
    assert!(!w.store.end_job(first.lease(), &end).await.unwrap());
    assert!(!w.store.renew_lease(first.lease(), LEASE).await.unwrap());
    w.store.return_job(first.lease()).await.unwrap();
    assert!(w.store.renew_lease(second.lease(), LEASE).await.unwrap());
    assert!(w.store.end_job(second.lease(), &end).await.unwrap());
    assert!(!w.store.end_job(second.lease(), &end).await.unwrap(), "it has ended");
}

pub async fn a_renewed_lease_lasts(w: World) {
    let account = w.account("remote-1").await;
    keyed(&w, &account, 0, None).await;
    let job = w.claimed(JobKind::Publish).await;
    for _ in 0..5 {
        w.advance(LEASE - SECOND);
        assert!(w.store.renew_lease(job.lease(), LEASE).await.unwrap());
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

pub async fn storing_a_job_again_moves_it_forward_and_never_back(w: World) {
    let target = w.id();
    let store = async |delay| {
        let mut job = w.job(TENANT, JobKind::Ingest, target);
        job.run_at = Some(w.later(delay));
        w.store.store_inbox(&w.new_webhook(TENANT, "app"), &job).await.unwrap();
    };
    let next = async || w.store.next_due(&[JobKind::Ingest]).await.unwrap();
    store(10 * MINUTE).await;
    store(20 * MINUTE).await;
    assert_eq!(next().await, Some(w.later(10 * MINUTE)));
    store(MINUTE).await;
    assert_eq!(next().await, Some(w.later(MINUTE)));
    w.advance(MINUTE);
    let job = w.claimed(JobKind::Ingest).await;
    store(5 * MINUTE).await;
    store(3 * MINUTE).await;
    assert_eq!(w.claim(JobKind::Ingest).await, None, "there is one job");
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

pub async fn ended_jobs_are_purged_in_bounded_steps_with_their_webhooks(w: World) {
    let mut done = Vec::new();
    for _ in 0..5 {
        done.push(w.webhook("app").await);
        let job = w.claimed(JobKind::Ingest).await;
        w.store.apply_events(job.lease(), done[done.len() - 1], &[], &[]).await.unwrap();
    }
    w.advance(MINUTE);
    let waiting = w.webhook("app").await;
    let purge = async |limit| w.store.purge_jobs(w.now(), limit).await.unwrap();
    assert_eq!(purge(3).await, 3);
    assert_eq!(purge(3).await, 2);
    assert_eq!(purge(3).await, 0);
    for inbox in done {
        assert_eq!(w.store.inbox(inbox).await.unwrap(), None);
    }
    assert!(w.store.inbox(waiting).await.unwrap().is_some());
    // What ended just now is kept; a dead one goes like a done one.
    let job = w.claimed(JobKind::Ingest).await;
    w.store.bury_inbox(job.lease(), waiting, "malformed").await.unwrap();
    assert_eq!(purge(3).await, 0);
    w.advance(SECOND);
    assert_eq!(purge(3).await, 1);
    assert_eq!(w.store.inbox(waiting).await.unwrap(), None);
}

/// Stores a post whose job has a concurrency key. Returns the job's target.
async fn keyed(w: &World, account: &patchbay_app::model::Account, index: usize, key: Option<&str>) -> Uuid {
    let post = w.new_post(account, &index.to_string());
    let mut job = w.job(TENANT, JobKind::Publish, post.id.as_uuid());
    job.concurrency_key = key.map(str::to_owned);
    w.store.enqueue_post(&post, &job).await.unwrap();
    post.id.as_uuid()
}
