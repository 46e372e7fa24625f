use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use patchbay_app::{
    model::{Job, JobKind, PostRecord},
    store::{JobEnd, SlotRequest, TakenSlot, Waiter, Window, WindowUse},
};
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
    assert_eq!(places(&w, TENANT, "init").await, 6);
    // Windows of another bucket, subject and tenant are others.
    let mut elsewhere = request(&w, TENANT, "init");
    elsewhere.window.subject = "subject-2".into();
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
        let mut request = request(&w, TENANT, "init");
        request.window.limit = limit;
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
    assert_eq!(places(&w, TENANT, "init").await, 5);
    let taken = w.store.take_slot(&request(&w, TENANT, "init")).await.unwrap();
    assert!(matches!(taken, TakenSlot::Taken { used: 6, .. }));
}

pub async fn a_place_frees_when_it_is_settled(w: World) {
    let used = async || places(&w, TENANT, "init").await;
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
    let quota = |bucket| {
        let mut request = request(&w, TENANT, bucket);
        request.post = Some(post.id);
        request.window.limit = 2;
        request
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
    assert_eq!(places(&w, TENANT, "init").await, 1);
}

pub async fn a_place_that_frees_is_given_to_the_first_in_the_line(w: World) {
    let line = Line::of(&w, 4).await;
    let mut held = Vec::new();
    for _ in 0..2 {
        held.push(line.take(None).await.unwrap());
        w.advance(SECOND);
    }
    // As far as can be told now: the places free by themselves, and then go round once more.
    let first = w.later(58 * SECOND);
    let estimates = [first, first + TimeDelta::seconds(1), first + TimeDelta::minutes(1)];
    for (number, estimate) in estimates.into_iter().enumerate() {
        assert_eq!(line.take(Some(number)).await, Err(estimate));
        // Asking again does not change where it stands.
        assert_eq!(line.take(Some(number)).await, Err(estimate));
        line.wait_until(number, estimate).await;
    }
    // A place that was given is settled: only the first one in the line that would come later is told.
    w.store.settle_slot(TENANT, held[0], 10 * SECOND).await.unwrap();
    assert_eq!(line.dues([0, 1, 2]).await, [w.later(10 * SECOND), estimates[1], estimates[2]]);
    w.store.settle_slot(TENANT, held[1], 5 * SECOND).await.unwrap();
    assert_eq!(
        line.dues([0, 1, 2]).await,
        [w.later(5 * SECOND), w.later(10 * SECOND), estimates[2]],
        "the first one gets the place that frees first"
    );

    // It holds its place for less time than it might.
    w.advance(5 * SECOND);
    let id = line.take(Some(0)).await.unwrap();
    w.store.settle_slot(TENANT, id, 20 * SECOND).await.unwrap();
    assert_eq!(line.dues([1, 2]).await, [w.later(5 * SECOND), w.later(20 * SECOND)]);
    // A place that was not needed is free at once.
    w.advance(5 * SECOND);
    let id = line.take(Some(1)).await.unwrap();
    w.store.settle_slot(TENANT, id, Duration::ZERO).await.unwrap();
    assert_eq!(line.due(2).await, w.now());
    line.take(Some(2)).await.unwrap();
    assert_eq!(line.take(Some(3)).await, Err(w.later(15 * SECOND)), "the line is empty");
}

pub async fn one_that_does_not_come_loses_its_turn(w: World) {
    let line = Line::of(&w, 3).await;
    let held = line.take(None).await.unwrap();
    let other = line.take(None).await.unwrap();
    for number in 0..3 {
        let due = line.take(Some(number)).await.unwrap_err();
        line.wait_until(number, due + TimeDelta::hours(1)).await;
    }
    w.store.settle_slot(TENANT, held, SECOND).await.unwrap();
    let told = w.later(SECOND);
    assert_eq!(line.due(0).await, told);
    w.advance(30 * SECOND);
    // It had 29 s. The place of the other is not given to the next one, who would find one free.
    w.store.settle_slot(TENANT, other, SECOND).await.unwrap();
    assert_eq!(line.due(1).await, w.later(SECOND), "of two places one is spoken for");
    assert!(line.due(2).await > w.later(MINUTE));
    w.advance(2 * SECOND);
    let third = line.take(None).await.unwrap();
    w.store.settle_slot(TENANT, third, SECOND).await.unwrap();
    assert_eq!(line.due(2).await, w.later(SECOND), "the first one never came");
}

pub async fn a_paused_window_is_closed_to_everybody(w: World) {
    let line = Line::of(&w, 3).await;
    w.store.pause_window(&line.window, 40 * SECOND).await.unwrap();
    w.store.pause_window(&line.window, 30 * SECOND).await.unwrap();
    let open = w.later(40 * SECOND);
    assert_eq!(line.take(None).await, Err(open));
    assert_eq!(line.take(Some(0)).await, Err(open));
    assert_eq!(line.take(Some(1)).await, Err(open));
    assert_eq!(line.take(Some(2)).await, Err(open + TimeDelta::minutes(1)), "there are two places");
    for number in 0..3 {
        line.wait_until(number, open + TimeDelta::hours(1)).await;
    }
    let found = w.store.windows(std::slice::from_ref(&line.window)).await.unwrap();
    let paused = WindowUse {
        paused_until: Some(open),
        ..WindowUse::default()
    };
    assert_eq!(found, [paused]);
    // It is closed for longer: who comes when it was to open is told anew.
    w.store.pause_window(&line.window, 50 * SECOND).await.unwrap();
    w.clock.advance_to(open);
    let open = w.later(10 * SECOND);
    assert_eq!(line.take(Some(0)).await, Err(open));
    w.clock.advance_to(open);
    line.take(Some(0)).await.unwrap();
    line.take(Some(1)).await.unwrap();
    assert_eq!(line.take(Some(2)).await, Err(w.later(MINUTE)));
    w.store.purge_slots(1).await.unwrap();
    let found = w.store.windows(std::slice::from_ref(&line.window)).await.unwrap();
    assert_eq!((found[0].used, found[0].paused_until), (2, None));
}

pub async fn a_post_that_ends_gives_its_places_to_those_who_wait(w: World) {
    let line = Line::of(&w, 4).await;
    for number in 0..2 {
        let request = SlotRequest {
            post: Some(line.posts[number].id),
            ..line.request(Some(number))
        };
        w.store.take_slot(&request).await.unwrap();
    }
    for number in 2..4 {
        let due = line.take(Some(number)).await.unwrap_err();
        line.wait_until(number, due).await;
    }
    let event = w.event("post.cancelled");
    w.store
        .cancel_post(TENANT, line.posts[2].id, None, &event)
        .await
        .unwrap()
        .unwrap();
    let event = w.event("post.cancelled");
    w.store
        .cancel_post(TENANT, line.posts[0].id, None, &event)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(line.due(3).await, w.now(), "the one before it does not wait any more");
}

pub async fn several_windows_are_told_at_once(w: World) {
    let other = w.other_tenant().await;
    let first = w.later(MINUTE);
    for _ in 0..3 {
        w.store.take_slot(&request(&w, TENANT, "init")).await.unwrap();
        w.advance(SECOND);
    }
    w.store.take_slot(&request(&w, other, "init")).await.unwrap();
    let window = |tenant, bucket: &str, limit| Window {
        limit,
        ..request(&w, tenant, bucket).window
    };
    let found = w
        .store
        .windows(&[
            window(TENANT, "status", 6),
            window(TENANT, "init", 6),
            window(TENANT, "init", 2),
            window(other, "init", 1),
        ])
        .await
        .unwrap();
    let told: Vec<_> = found.iter().map(|found| (found.used, found.next_free_at)).collect();
    assert_eq!(
        told,
        [
            (0, None),
            (3, Some(first)),
            (3, Some(first + TimeDelta::seconds(1))),
            (1, Some(first + TimeDelta::seconds(3))),
        ]
    );
    assert_eq!(w.store.windows(&[]).await.unwrap(), []);
}

/// Posts that want places of one window, of which there are two.
struct Line {
    w: World,
    window: Window,
    posts: Vec<PostRecord>,
}

impl Line {
    async fn of(w: &World, count: usize) -> Self {
        let account = w.account("remote-1").await;
        let mut posts = Vec::new();
        for number in 0..count {
            posts.push(w.post(&account, &format!("key-{number}")).await);
        }
        let window = Window {
            limit: 2,
            ..request(w, TENANT, "init").window
        };
        Self {
            w: w.clone(),
            window,
            posts,
        }
    }

    fn request(&self, number: Option<usize>) -> SlotRequest {
        SlotRequest {
            window: self.window.clone(),
            waiter: number.map(|number| Waiter {
                tenant: TENANT,
                post: self.posts[number].id,
            }),
            ..request(&self.w, TENANT, "init")
        }
    }

    /// A place, or when there is one.
    async fn take(&self, number: Option<usize>) -> Result<SlotId, DateTime<Utc>> {
        match self.w.store.take_slot(&self.request(number)).await.unwrap() {
            TakenSlot::Taken { id, .. } => Ok(id),
            TakenSlot::Full { free_at } => Err(free_at),
        }
    }

    /// Its job runs next then.
    async fn wait_until(&self, number: usize, run_at: DateTime<Utc>) {
        let target = self.posts[number].id.as_uuid();
        let mut claimed = Vec::new();
        while !claimed.iter().any(|job: &Job| job.target == target) {
            claimed.push(self.w.claimed(JobKind::Publish).await);
        }
        for job in claimed {
            let run_at = if job.target == target { run_at } else { self.w.now() };
            let end = JobEnd::Next { run_at };
            assert!(self.w.store.end_job(job.lease(), &end).await.unwrap());
        }
    }

    /// When a post goes on.
    async fn due(&self, number: usize) -> DateTime<Utc> {
        let id = self.posts[number].id;
        self.w.store.next_steps(TENANT, &[id]).await.unwrap()[0].1
    }

    async fn dues<const N: usize>(&self, numbers: [usize; N]) -> Vec<DateTime<Utc>> {
        let mut dues = Vec::new();
        for number in numbers {
            dues.push(self.due(number).await);
        }
        dues
    }
}

async fn places(w: &World, tenant: TenantId, bucket: &str) -> u32 {
    let window = request(w, tenant, bucket).window;
    w.store.windows(&[window]).await.unwrap()[0].used
}

pub fn request(w: &World, tenant: TenantId, bucket: &str) -> SlotRequest {
    SlotRequest {
        id: SlotId::from_uuid(w.id()),
        window: Window {
            tenant,
            subject: "subject".into(),
            bucket: bucket.into(),
            limit: 6,
        },
        hold: MINUTE,
        post: None,
        waiter: None,
    }
}
