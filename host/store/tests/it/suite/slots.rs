use std::time::Duration;

use patchbay_app::store::{SlotRequest, TakenSlot};
use patchbay_core::{SlotId, TenantId};

use crate::harness::{MINUTE, SECOND, TENANT, World, at_once};

pub async fn never_more_places_than_the_limit(w: World) {
    let other = w.other_tenant().await;
    let taken = at_once(40, |_| {
        let (w, request) = (w.clone(), request(&w, TENANT, "init"));
        async move { w.store.take_slot(&request).await.unwrap() }
    })
    .await;
    let mut used: Vec<_> = taken
        .iter()
        .filter_map(|taken| match taken {
            TakenSlot::Taken { used, .. } => Some(*used),
            TakenSlot::Full { .. } => None,
        })
        .collect();
    used.sort_unstable();
    assert_eq!(used, [1, 2, 3, 4, 5, 6]);
    assert_eq!(w.store.slots_used(TENANT, "subject", "init").await.unwrap(), 6);
    // Windows of another bucket, subject and tenant are others.
    let mut elsewhere = request(&w, TENANT, "init");
    elsewhere.subject = "subject-2".into();
    for request in [request(&w, TENANT, "status"), elsewhere, request(&w, other, "init")] {
        let taken = w.store.take_slot(&request).await.unwrap();
        assert_eq!(taken, TakenSlot::Taken { id: request.id, used: 1 });
    }
}

pub async fn a_full_window_tells_when_a_place_frees(w: World) {
    let first = w.later(MINUTE);
    for _ in 0..6 {
        w.store.take_slot(&request(&w, TENANT, "init")).await.unwrap();
        w.advance(SECOND);
    }
    let full = async |limit| {
        let request = SlotRequest {
            limit,
            ..request(&w, TENANT, "init")
        };
        match w.store.take_slot(&request).await.unwrap() {
            TakenSlot::Full { free_at } => free_at,
            TakenSlot::Taken { .. } => panic!("it is full"),
        }
    };
    assert_eq!(full(6).await, first);
    // The limit was lowered: three must go before there is room.
    assert_eq!(full(4).await, first + chrono::TimeDelta::seconds(2));
    assert_eq!(full(0).await, w.later(MINUTE));
    w.clock.advance_to(first);
    assert_eq!(w.store.slots_used(TENANT, "subject", "init").await.unwrap(), 5);
    let taken = w.store.take_slot(&request(&w, TENANT, "init")).await.unwrap();
    assert!(matches!(taken, TakenSlot::Taken { used: 6, .. }));
}

pub async fn a_place_frees_when_it_is_settled(w: World) {
    let used = async || w.store.slots_used(TENANT, "subject", "init").await.unwrap();
    let take = async || {
        let request = request(&w, TENANT, "init");
        w.store.take_slot(&request).await.unwrap();
        request.id
    };
    let id = take().await;
    w.store.settle_slot(TENANT, id, Duration::ZERO).await.unwrap();
    assert_eq!(used().await, 0);
    let id = take().await;
    w.advance(30 * SECOND);
    w.store.settle_slot(TENANT, id, MINUTE).await.unwrap();
    w.advance(59 * SECOND);
    assert_eq!(used().await, 1);
    w.advance(SECOND);
    assert_eq!(used().await, 0);
    // It may be another's by now.
    w.store.settle_slot(TENANT, id, MINUTE).await.unwrap();
    assert_eq!(used().await, 0);
}

pub async fn a_post_keeps_its_one_place(w: World) {
    let account = w.account("remote-1").await;
    let post = w.post(&account, "key").await;
    let quota = |bucket| SlotRequest {
        post: Some(post.id),
        limit: 2,
        ..request(&w, TENANT, bucket)
    };
    let first = quota("drafts");
    let held = TakenSlot::Taken { id: first.id, used: 1 };
    assert_eq!(w.store.take_slot(&first).await.unwrap(), held);
    let again = at_once(8, |_| {
        let (w, request) = (w.clone(), quota("drafts"));
        async move { w.store.take_slot(&request).await.unwrap() }
    })
    .await;
    assert!(again.iter().all(|taken| *taken == held));
    let other = quota("direct");
    let taken = w.store.take_slot(&other).await.unwrap();
    assert_eq!(taken, TakenSlot::Taken { id: other.id, used: 1 });
}

pub async fn freed_places_are_purged_in_bounded_steps(w: World) {
    for _ in 0..5 {
        w.store.take_slot(&request(&w, TENANT, "init")).await.unwrap();
    }
    w.advance(MINUTE);
    w.store.take_slot(&request(&w, TENANT, "init")).await.unwrap();
    for left in [3, 2, 0] {
        assert_eq!(w.store.purge_slots(3).await.unwrap(), left);
    }
    assert_eq!(w.store.slots_used(TENANT, "subject", "init").await.unwrap(), 1);
}

pub fn request(w: &World, tenant: TenantId, bucket: &str) -> SlotRequest {
    SlotRequest {
        id: SlotId::from_uuid(w.id()),
        tenant,
        subject: "subject".into(),
        bucket: bucket.into(),
        limit: 6,
        hold: MINUTE,
        post: None,
    }
}
