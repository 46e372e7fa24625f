use std::time::Duration;

use patchbay_app::{
    model::{JobKind, NextDelivery, PostStatus},
    store::{
        AccountCounts, DeliveryCounts, JobEnd, KindCounts, OutcomeCounts, RefreshFailures, Scope, SlotRequest, Span,
        TakenSlot, Waiter,
    },
};
use patchbay_core::TenantId;

use super::{
    deliveries::{end, endpoint, pushed},
    posts::step,
    slots::request,
};
use crate::harness::{NOTE, LEASE, MINUTE, SECOND, TENANT, World, bury, other_provider, provider};

const MOST: u32 = 100;

fn of(tenant: TenantId) -> Scope {
    Scope {
        tenant: Some(tenant),
        provider: None,
    }
}

fn on_platform(provider: patchbay_core::ProviderId) -> Scope {
    Scope {
        tenant: None,
        provider: Some(provider),
    }
}

/// The last ten minutes, with now in them.
fn lately(w: &World) -> Span {
    Span {
        from: w.now() - chrono::TimeDelta::minutes(10),
        to: w.later(SECOND),
        most: MOST,
    }
}

pub async fn accounts_are_counted_by_state_in_their_scope(w: World) {
    let other = w.other_tenant().await;
    for remote in ["remote-1", "remote-2"] {
        w.account(remote).await;
    }
    let lost = w.account("remote-3").await;
    let event = w.event("account.reauth_required");
    assert!(w.store.require_reauth(TENANT, lost.id, 1, "gone", &event, &NOTE).await.unwrap());
    let mut elsewhere = w.new_account(other, "remote-4");
    elsewhere.provider = other_provider();
    let left = w.connect_as(&elsewhere).await.unwrap();
    let event = w.event("account.disconnected");
    w.store.begin_disconnect(other, left.id, "left", None, &event, &NOTE).await.unwrap();

    let count = async |scope: Scope, most| w.store.count_accounts(&scope, most).await.unwrap();
    let here = AccountCounts {
        active: 2,
        reauth_required: 1,
        ..AccountCounts::default()
    };
    let there = AccountCounts {
        revoked: 1,
        ..AccountCounts::default()
    };
    assert_eq!(count(Scope::default(), MOST).await, AccountCounts { revoked: 1, ..here });
    assert_eq!(count(of(TENANT), MOST).await, here);
    assert_eq!(count(of(other), MOST).await, there);
    assert_eq!(count(on_platform(provider()), MOST).await, here);
    assert_eq!(count(on_platform(other_provider()), MOST).await, there);
    assert_eq!(count(Scope::default(), 1).await.active, 1, "no more is counted than was asked for");
}

pub async fn posts_are_counted_open_waiting_and_by_outcome(w: World) {
    let other = w.other_tenant().await;
    let account = w.account("remote-1").await;
    let outcomes = [PostStatus::Published, PostStatus::Failed, PostStatus::Failed, PostStatus::Unconfirmed];
    for (index, status) in outcomes.into_iter().enumerate() {
        let post = w.post(&account, &index.to_string()).await;
        let job = w.claimed(JobKind::Publish).await;
        w.store.record_step(job.lease(), &step(&post, status)).await.unwrap();
        w.advance(SECOND);
    }
    let open = [w.post(&account, "open-1").await, w.post(&account, "open-2").await];

    let count = async |scope: Scope, span| w.store.count_outcomes(&scope, span).await.unwrap();
    let expected = OutcomeCounts {
        published: 1,
        failed: 2,
        unconfirmed: 1,
        read: 4,
        ..OutcomeCounts::default()
    };
    let none = OutcomeCounts {
        read: 4,
        ..OutcomeCounts::default()
    };
    assert_eq!(count(Scope::default(), lately(&w)).await, expected);
    assert_eq!(count(of(TENANT), lately(&w)).await, expected);
    assert_eq!(count(of(other), lately(&w)).await, none);
    assert_eq!(count(on_platform(other_provider()), lately(&w)).await, none);
    assert_eq!(count(Scope::default(), Span { most: 3, ..lately(&w) }).await.read, 3);
    // The end of a time is not in it, its beginning is.
    let third = w.now() - chrono::TimeDelta::seconds(2);
    let span = Span { from: third, to: w.now() - chrono::TimeDelta::seconds(1), most: MOST };
    assert_eq!(count(Scope::default(), span).await, OutcomeCounts { failed: 1, read: 1, ..OutcomeCounts::default() });

    let open_now = async |scope: Scope| w.store.count_open_posts(&scope, MOST).await.unwrap();
    assert_eq!(open_now(Scope::default()).await, 2);
    assert_eq!(open_now(of(TENANT)).await, 2);
    assert_eq!(open_now(of(other)).await, 0);
    assert_eq!(open_now(on_platform(other_provider())).await, 0);
    assert_eq!(w.store.count_open_posts(&Scope::default(), 1).await.unwrap(), 1);

    // Who finds no place waits, in one line or in several.
    let waiting = async |tenant| w.store.count_waiting(tenant, MOST).await.unwrap();
    assert_eq!(waiting(None).await, 0);
    for bucket in ["init", "status"] {
        let mut full = request(&w, TENANT, bucket);
        full.window.limit = 1;
        assert!(matches!(w.store.take_slot(&full).await.unwrap(), TakenSlot::Taken { .. }));
        let next = SlotRequest {
            id: request(&w, TENANT, bucket).id,
            waiter: Some(Waiter {
                tenant: TENANT,
                post: open[0].id,
            }),
            ..full
        };
        w.store.take_slot(&next).await.unwrap();
    }
    assert_eq!(waiting(None).await, 1);
    assert_eq!((waiting(Some(TENANT)).await, waiting(Some(other)).await), (1, 0));
}

pub async fn work_and_dead_letters_are_counted_by_kind(w: World) {
    let other = w.other_tenant().await;
    let count = async |most| w.store.count_jobs(JobKind::Ingest, most).await.unwrap();
    assert_eq!(count(MOST).await, KindCounts::default());
    for _ in 0..4 {
        w.webhook("app").await;
        w.advance(SECOND);
    }
    let dead = w.claimed(JobKind::Ingest).await;
    w.settle(bury(dead.lease(), patchbay_core::InboxId::from_uuid(dead.target))).await;
    w.claimed(JobKind::Ingest).await;
    let again = w.claimed(JobKind::Ingest).await;
    let end = JobEnd::Again {
        run_at: w.later(60 * MINUTE),
        code: "busy".into(),
    };
    assert!(w.store.end_job(again.lease(), &end).await.unwrap());
    let now = KindCounts {
        due: 1,
        later: 1,
        running: 1,
        stalled: 0,
        lag: Some(SECOND),
    };
    assert_eq!(count(MOST).await, now);
    assert_eq!(w.store.count_jobs(JobKind::Publish, MOST).await.unwrap(), KindCounts::default());
    // A worker that is not heard of again: its job is as late as its lease is over.
    w.advance(LEASE + MINUTE);
    let late = KindCounts {
        running: 0,
        stalled: 1,
        lag: Some(SECOND + LEASE + MINUTE),
        ..now
    };
    assert_eq!(count(MOST).await, late);
    w.webhook("app").await;
    assert_eq!((count(1).await.due, count(MOST).await.due), (1, 2));

    let dead = async |tenant, most| {
        let counts = w.store.count_dead(tenant, most).await.unwrap();
        assert_eq!(counts.iter().map(|(kind, _)| *kind).collect::<Vec<_>>(), JobKind::ALL);
        counts.into_iter().filter(|(_, count)| *count > 0).collect::<Vec<_>>()
    };
    assert_eq!(dead(None, MOST).await, [(JobKind::Ingest, 1)]);
    assert_eq!(dead(Some(TENANT), MOST).await, [(JobKind::Ingest, 1)]);
    assert_eq!(dead(Some(other), MOST).await, []);
    assert_eq!(dead(None, 0).await, []);
}

pub async fn deliveries_are_counted_by_state(w: World) {
    let other = w.other_tenant().await;
    let hooks = endpoint(&w, TENANT, &[]).await;
    let ends = [NextDelivery::Delivered, NextDelivery::Failed, NextDelivery::Held, NextDelivery::Delivered];
    for next in ends {
        let delivery = pushed(&w, &hooks).await;
        let job = w.claimed(JobKind::Deliver).await;
        w.store.end_delivery(job.lease(), TENANT, delivery.id, &end(&hooks, None, next)).await.unwrap();
    }
    for _ in 0..2 {
        pushed(&w, &hooks).await;
    }
    w.claimed(JobKind::Deliver).await;
    let count = async |tenant, span| w.store.count_deliveries(tenant, span).await.unwrap();
    let expected = DeliveryCounts {
        pending: 2,
        delivered: 2,
        failed: 1,
        held: 1,
    };
    assert_eq!(count(None, lately(&w)).await, expected);
    assert_eq!(count(Some(TENANT), lately(&w)).await, expected);
    assert_eq!(count(Some(other), lately(&w)).await, DeliveryCounts::default());
    assert_eq!(count(None, Span { most: 1, ..lately(&w) }).await.delivered, 1);
    w.advance(11 * MINUTE);
    let later = DeliveryCounts {
        pending: 2,
        ..DeliveryCounts::default()
    };
    assert_eq!(count(None, lately(&w)).await, later, "the ends of a time are counted, what waits always");
}

pub async fn the_time_from_receipt_to_effect_is_told(w: World) {
    let other = w.other_tenant().await;
    for seconds in 1..=3 {
        let inbox = w.webhook("app").await;
        w.advance(Duration::from_secs(seconds));
        let job = w.claimed(JobKind::Ingest).await;
        w.settle(w.read(job.lease(), inbox, &[])).await;
    }
    // One that was given up had no effect, and other work is no webhook.
    let unread = w.webhook("app").await;
    let job = w.claimed(JobKind::Ingest).await;
    w.settle(bury(job.lease(), unread)).await;
    let account = w.account("remote-1").await;
    let post = w.post(&account, "key").await;
    let job = w.claimed(JobKind::Publish).await;
    w.store.record_step(job.lease(), &step(&post, PostStatus::Published)).await.unwrap();

    let times = async |tenant, span| {
        let mut times = w.store.webhook_times(tenant, span).await.unwrap();
        times.sort_unstable();
        times.into_iter().map(|time| time.as_secs()).collect::<Vec<_>>()
    };
    assert_eq!(times(None, lately(&w)).await, [1, 2, 3]);
    assert_eq!(times(Some(TENANT), lately(&w)).await, [1, 2, 3]);
    assert_eq!(times(Some(other), lately(&w)).await, [] as [u64; 0]);
    assert_eq!(times(None, Span { most: 2, ..lately(&w) }).await, [3], "the last two jobs: a post's and a webhook's");
    w.advance(11 * MINUTE);
    assert_eq!(times(None, lately(&w)).await, [] as [u64; 0]);
}

pub async fn accounts_that_lost_their_access_are_counted(w: World) {
    let other = w.other_tenant().await;
    let lost = w.account("remote-1").await;
    let event = w.event("account.reauth_required");
    assert!(w.store.require_reauth(TENANT, lost.id, 1, "gone", &event, &NOTE).await.unwrap());
    let stuck = w.account("remote-2").await;
    w.advance(60 * MINUTE);
    let job = loop {
        let job = w.claimed(JobKind::Refresh).await;
        if job.target == stuck.id.as_uuid() {
            break job;
        }
        w.store.end_job(job.lease(), &JobEnd::Done).await.unwrap();
    };
    let end = JobEnd::Dead { code: "busy".into() };
    assert!(w.store.end_job(job.lease(), &end).await.unwrap());

    let hours = Span {
        from: w.now() - chrono::TimeDelta::hours(2),
        ..lately(&w)
    };
    let count = async |scope: Scope, span| w.store.count_refresh_failures(&scope, span).await.unwrap();
    let both = RefreshFailures {
        reauth_required: 1,
        given_up: 1,
    };
    assert_eq!(count(Scope::default(), hours).await, both);
    assert_eq!(count(of(TENANT), hours).await, both);
    assert_eq!(count(of(other), hours).await, RefreshFailures::default());
    assert_eq!(count(on_platform(provider()), hours).await, both);
    assert_eq!(count(on_platform(other_provider()), hours).await, RefreshFailures::default());
    let last = RefreshFailures {
        reauth_required: 0,
        given_up: 1,
    };
    assert_eq!(count(Scope::default(), lately(&w)).await, last);
}
