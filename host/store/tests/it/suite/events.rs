use std::collections::BTreeSet;

use patchbay_app::{
    model::{AccountStatus, Job, JobKind, NewWebhook, PostRecord, PostStatus, Settled},
    store::{Claim, DeadFilter, EventFilter, JobEnd, PageRequest, StoredInbox},
};
use patchbay_core::{EventKind, IncomingEvent};

use super::posts::{publishing, step};
use crate::harness::{NOTE, LEASE, MINUTE, SECOND, TENANT, World, at_once, bury, claim_of, other_provider, provider};

const ALL: PageRequest = PageRequest { after: None, limit: 100 };

pub async fn a_webhook_is_stored_once_however_often_it_comes(w: World) {
    let item = w.new_webhook(TENANT, "app");
    let answers = at_once(20, |_| {
        let (w, mut item) = (w.clone(), item.clone());
        async move {
            item.id = patchbay_core::InboxId::from_uuid(w.id());
            w.receive_item(&item).await
        }
    })
    .await;
    assert_eq!(answers.iter().filter(|answer| **answer == StoredInbox::New).count(), 1);
    let job = w.claimed(JobKind::Ingest).await;
    assert_eq!(w.claim(JobKind::Ingest).await, None);
    let stored = w.inbox(patchbay_core::InboxId::from_uuid(job.target)).await.unwrap();
    let expected = NewWebhook { id: stored.webhook.id, ..item.clone() };
    assert_eq!((stored.webhook, stored.received_at), (expected, w.now()));
    assert_eq!(w.inbox(item.id).await, None);
}

pub async fn a_webhook_that_cannot_be_read_is_buried(w: World) {
    let inbox = w.webhook("app").await;
    let job = w.claimed(JobKind::Ingest).await;
    let other = w.webhook("app").await;
    assert_eq!(w.settle(bury(job.lease(), other)).await, Settled::Stale);
    assert_eq!(w.settle(bury(job.lease(), inbox)).await, Settled::Buried);
    assert_eq!(w.store.job_stats().await.unwrap().dead, 1);
    assert_eq!(w.settle(bury(job.lease(), inbox)).await, Settled::Stale);
    assert!(w.inbox(inbox).await.is_some(), "its bytes are kept");
    let dead = dead_jobs(&w).await;
    assert_eq!((dead[0].id, dead[0].last_error.as_deref()), (job.id, Some("malformed")));
}

pub async fn webhooks_that_come_together_are_stored_in_one_commit(w: World) {
    let mut items: Vec<_> = (0..5).map(|_| w.new_webhook(TENANT, "app")).collect();
    w.receive_item(&items[1]).await;
    items[4].digest = items[0].digest;
    let stored = w.store.store_inbox(&items).await.unwrap();
    use StoredInbox::{Duplicate, New};
    // One was there; the last is a repeat of the first of them.
    assert_eq!(stored, [New, Duplicate, New, New, Duplicate]);
    assert_eq!(w.store.store_inbox(&items).await.unwrap(), [Duplicate; 5]);
    assert_eq!(w.store.store_inbox(&[]).await.unwrap(), []);
    let mut targets = BTreeSet::new();
    while let Some(job) = w.claim(JobKind::Ingest).await {
        targets.insert(job.target);
    }
    let expected: BTreeSet<_> = items[..4].iter().map(|item| item.id.as_uuid()).collect();
    assert_eq!(targets, expected);
    assert_eq!(w.inbox(items[4].id).await, None);
}

pub async fn commits_of_the_same_webhooks_at_once_never_wait_for_each_other(w: World) {
    let items: Vec<_> = (0..50).map(|_| w.new_webhook(TENANT, "app")).collect();
    let answers = at_once(8, |index| {
        let (w, mut items) = (w.clone(), items.clone());
        async move {
            if index % 2 == 0 {
                items.reverse();
            }
            for item in &mut items {
                item.id = patchbay_core::InboxId::from_uuid(w.id());
            }
            w.store.store_inbox(&items).await.unwrap()
        }
    })
    .await;
    let new = answers.iter().flatten().filter(|stored| **stored == StoredInbox::New).count();
    assert_eq!(new, 50);
}

pub async fn webhooks_are_settled_together_each_by_its_own_claim(w: World) {
    let account = w.account("remote-1").await;
    let post = publishing(&w, &account, "key", "publish-1").await;
    w.claimed(JobKind::Publish).await;
    let mut inboxes = Vec::new();
    for _ in 0..5 {
        inboxes.push(w.webhook("app").await);
    }
    let claim = Claim {
        limit: 10,
        ..claim_of(JobKind::Ingest)
    };
    let jobs = w.store.claim_jobs(claim).await.unwrap();
    assert_eq!(jobs.iter().map(|job| job.target).collect::<Vec<_>>(), inboxes.iter().map(|i| i.as_uuid()).collect::<Vec<_>>());
    let visible = IncomingEvent {
        remote_ref: Some("publish-1".into()),
        ..w.incoming(EventKind::PostVisible { remote_ids: vec!["video-1".into()] }, "remote-1")
    };
    // Found by what the event before it has told.
    let hidden = w.incoming(EventKind::PostHidden { remote_ids: vec!["video-1".into()] }, "remote-1");
    let stranger = w.incoming(EventKind::Other, "remote-2");
    let ends = [
        w.read(jobs[0].lease(), inboxes[0], &[visible.clone(), hidden]),
        bury(jobs[1].lease(), inboxes[1]),
        // Not its webhook.
        w.read(jobs[2].lease(), inboxes[3], &[w.incoming(EventKind::Other, "remote-1")]),
        w.read(jobs[3].lease(), inboxes[3], &[visible, stranger]),
        w.read(jobs[4].lease(), inboxes[4], &[]),
    ];
    let settled = w.store.settle_webhooks(&ends).await.unwrap();
    let Settled::Applied(first) = &settled[0] else { panic!("{settled:?}") };
    assert!(first.iter().all(|event| event.is_new && event.post == Some(post.id)), "{first:?}");
    assert_eq!(settled[1..3], [Settled::Buried, Settled::Stale]);
    let Settled::Applied(second) = &settled[3] else { panic!("{settled:?}") };
    assert_eq!((second[0].is_new, second[1].is_new), (false, true), "the first was seen");
    assert_eq!((second[1].account, second[1].post), (None, None));
    assert_eq!(settled[4], Settled::Applied(Vec::new()));
    assert_eq!(w.reload_post(&post).await.publication.remote_ids, ["video-1"]);
    let stats = w.store.job_stats().await.unwrap();
    assert_eq!((stats.running, stats.dead), (2, 1), "the post's and the one that was not settled");
    assert_eq!(w.store.settle_webhooks(&ends[..1]).await.unwrap(), [Settled::Stale]);
}

pub async fn r26_a_revived_webhook_has_no_second_effect(w: World) {
    let account = w.account("remote-1").await;
    let event = w.incoming(EventKind::Other, "remote-1");
    assert!(w.receive(std::slice::from_ref(&event)).await[0].is_new);
    let inbox = w.webhook("app").await;
    let job = w.claimed(JobKind::Ingest).await;
    w.settle(bury(job.lease(), inbox)).await;
    assert_eq!(w.store.revive_job(TENANT, job.id, &NOTE).await.unwrap(), Some(true));
    let again = w.claimed(JobKind::Ingest).await;
    assert_eq!((again.id, again.attempts, again.lost), (job.id, 1, 0));
    // Given up and revived once more.
    w.settle(bury(again.lease(), inbox)).await;
    assert_eq!(w.store.revive_jobs(TENANT, DeadFilter::default(), 10, &NOTE).await.unwrap(), 1);
    let again = w.claimed(JobKind::Ingest).await;
    let end = w.read(again.lease(), inbox, std::slice::from_ref(&event));
    let Settled::Applied(applied) = w.settle(end).await else { panic!("it is settled") };
    assert!(!applied[0].is_new);
    assert_eq!(w.store.revive_job(TENANT, job.id, &NOTE).await.unwrap(), None, "it is done");
    assert_eq!(w.store.revive_jobs(TENANT, DeadFilter::default(), 10, &NOTE).await.unwrap(), 0);
    let filter = EventFilter {
        account: Some(account.id),
        ..EventFilter::default()
    };
    let stored = w.store.events(TENANT, &filter, ALL).await.unwrap().items;
    assert_eq!(stored.iter().filter(|stored| stored.name == event.name).count(), 1);
}

pub async fn news_of_a_post_wakes_its_job_whatever_became_of_it(w: World) {
    let account = w.account("remote-1").await;
    let progress = || {
        let mut event = w.incoming(EventKind::PostProgress, "remote-1");
        event.remote_ref = Some("publish-1".into());
        event
    };
    let post = publishing(&w, &account, "key", "publish-1").await;
    let job = w.claimed(JobKind::Publish).await;
    let mut record = step(&post, PostStatus::Publishing);
    record.run_at = Some(w.later(60 * MINUTE));
    let post = w.store.record_step(job.lease(), &record).await.unwrap();
    // It waits.
    let applied = w.receive(&[progress()]).await;
    assert_eq!((applied[0].account, applied[0].post), (Some(account.id), Some(post.id)));
    let job = w.claimed(JobKind::Publish).await;
    // It runs.
    w.receive(&[progress()]).await;
    let post = w.store.record_step(job.lease(), &step(&post, PostStatus::Delivered)).await.unwrap();
    let job = w.claimed(JobKind::Publish).await;
    // It is finished.
    assert!(w.store.end_job(job.lease(), &JobEnd::Done).await.unwrap());
    w.receive(&[progress()]).await;
    let job = w.claimed(JobKind::Publish).await;
    assert_eq!((job.target, job.attempts), (post.id.as_uuid(), 1));
    // It was given up, and purged.
    let end = JobEnd::Dead { code: "x".into() };
    assert!(w.store.end_job(job.lease(), &end).await.unwrap());
    w.advance(SECOND);
    assert!(w.store.purge_jobs(w.now(), w.now(), 100).await.unwrap() > 0);
    w.receive(&[progress()]).await;
    assert_eq!(w.claimed(JobKind::Publish).await.target, post.id.as_uuid());
    assert_eq!(w.claim(JobKind::Publish).await, None);
}

pub async fn news_of_an_ended_post_wakes_nothing(w: World) {
    let account = w.account("remote-1").await;
    for status in [PostStatus::Published, PostStatus::Failed] {
        let post = publishing(&w, &account, status.as_str(), status.as_str()).await;
        let job = w.claimed(JobKind::Publish).await;
        w.store.record_step(job.lease(), &step(&post, status)).await.unwrap();
        let mut event = w.incoming(EventKind::PostProgress, "remote-1");
        event.remote_ref = Some(status.as_str().into());
        assert_eq!(w.receive(&[event]).await[0].post, Some(post.id));
        assert_eq!(w.claim(JobKind::Publish).await, None);
    }
}

pub async fn visible_ids_are_added_and_find_the_post_later(w: World) {
    let account = w.account("remote-1").await;
    let post = publishing(&w, &account, "key", "publish-1").await;
    let visible = |ids: &[&str], remote_ref: Option<&str>| IncomingEvent {
        remote_ref: remote_ref.map(str::to_owned),
        ..w.incoming(
            EventKind::PostVisible {
                remote_ids: ids.iter().map(|&id| id.to_owned()).collect(),
            },
            "remote-1",
        )
    };
    // Not known yet by this id.
    assert_eq!(w.receive(&[visible(&["video-1"], None)]).await[0].post, None);
    w.receive(&[visible(&["video-1"], Some("publish-1"))]).await;
    w.receive(&[visible(&["video-1", "video-2"], Some("publish-1"))]).await;
    let seen = w.reload_post(&post).await;
    assert_eq!(seen.publication.remote_ids, ["video-1", "video-2"]);
    assert_eq!((seen.status, seen.step), (post.status, post.step), "the worker decides on the state");
    // Now it is.
    let applied = w.receive(&[visible(&["video-2", "video-3"], None)]).await;
    assert_eq!(applied[0].post, Some(post.id));
    assert_eq!(w.reload_post(&post).await.publication.remote_ids, ["video-1", "video-2", "video-3"]);
    let hidden = EventKind::PostHidden {
        remote_ids: vec!["video-3".into()],
    };
    let applied = w.receive(&[w.incoming(hidden, "remote-1")]).await;
    assert_eq!(applied[0].post, Some(post.id));

    // A step's ids are known as well.
    let job = w.claimed(JobKind::Publish).await;
    let mut record = step(&seen, PostStatus::Published);
    record.transition.publication = Some(patchbay_core::Publication {
        remote_ids: vec!["video-9".into()],
        url: None,
    });
    w.store.record_step(job.lease(), &record).await.unwrap();
    assert_eq!(w.receive(&[visible(&["video-9"], None)]).await[0].post, Some(post.id));
}

pub async fn events_that_mean_nothing_to_us_are_stored_only(w: World) {
    let account = w.account("remote-1").await;
    let post = publishing(&w, &account, "key", "publish-1").await;
    let job = w.claimed(JobKind::Publish).await;
    let post = w.store.record_step(job.lease(), &step(&post, PostStatus::Delivered)).await.unwrap();
    let hidden = EventKind::PostHidden {
        remote_ids: vec!["video-1".into()],
    };
    for kind in [EventKind::Other, hidden] {
        let mut event = w.incoming(kind, "remote-1");
        event.remote_ref = Some("publish-1".into());
        let applied = w.receive(&[event.clone()]).await;
        assert_eq!((applied[0].is_new, applied[0].post), (true, Some(post.id)));
        let stored = w.store.events(TENANT, &EventFilter::default(), ALL).await.unwrap().items;
        assert_eq!((stored[0].name.as_str(), stored[0].post), (event.name.as_str(), Some(post.id)));
        assert_eq!((Some(stored[0].occurred_at), &stored[0].payload), (event.occurred_at, &event.payload));
    }
    assert_eq!(w.reload_post(&post).await, post);
    assert_eq!(w.reload(&account).await, account);
    assert_eq!(w.claim(JobKind::Publish).await, None);
}

pub async fn an_event_of_an_unknown_account_is_kept_for_the_apps_tenant(w: World) {
    let removed = EventKind::AuthorizationRemoved { reason: "user".into() };
    let mut nameless = w.incoming(EventKind::Other, "x");
    nameless.remote_account = None;
    nameless.occurred_at = None;
    let applied = w.receive(&[w.incoming(removed, "nobody"), nameless]).await;
    for event in &applied {
        assert_eq!((event.is_new, event.account, event.post), (true, None, None));
    }
    let stored = w.store.events(TENANT, &EventFilter::default(), ALL).await.unwrap().items;
    assert_eq!(stored.len(), 2);
    assert!(stored.iter().all(|event| event.account.is_none()));
    assert!(stored.iter().all(|event| event.occurred_at == w.now()));
}

pub async fn t43_an_event_matches_only_inside_the_app_that_signed_it(w: World) {
    let account = w.account("remote-1").await;
    let removed = EventKind::AuthorizationRemoved { reason: "user".into() };
    let applied = w.receive_from("other-app", &[w.incoming(removed, "remote-1")]).await;
    assert_eq!(applied[0].account, None);
    assert_eq!(w.reload(&account).await, account);
    // A key is an app's own.
    let event = w.incoming(EventKind::Other, "remote-1");
    assert!(w.receive_from("app", std::slice::from_ref(&event)).await[0].is_new);
    assert!(w.receive_from("other-app", &[event]).await[0].is_new);

    // The account may be another tenant's, if the app serves several.
    let other = w.other_tenant().await;
    let theirs = w.connect_as(&w.new_account(other, "remote-2")).await.unwrap();
    let applied = w.receive(&[w.incoming(EventKind::Other, "remote-2")]).await;
    assert_eq!(applied[0].account, Some(theirs.id));
    let filter = EventFilter {
        account: Some(theirs.id),
        ..EventFilter::default()
    };
    assert_eq!(w.store.events(other, &filter, ALL).await.unwrap().items.len(), 1);
    assert!(w.store.events(TENANT, &filter, ALL).await.unwrap().items.is_empty());
}

pub async fn t44_a_post_of_another_account_is_not_matched(w: World) {
    let first = w.account("remote-1").await;
    w.account("remote-2").await;
    let post = publishing(&w, &first, "key", "publish-1").await;
    let visible = EventKind::PostVisible {
        remote_ids: vec!["video-1".into()],
    };
    let mut event = w.incoming(visible, "remote-2");
    event.remote_ref = Some("publish-1".into());
    assert_eq!(w.receive(&[event]).await[0].post, None);
    assert_eq!(w.reload_post(&post).await, post);
}

pub async fn an_event_that_was_seen_has_no_second_effect(w: World) {
    let account = w.account("remote-1").await;
    let post = publishing(&w, &account, "key", "publish-1").await;
    let mut event = w.incoming(EventKind::PostProgress, "remote-1");
    event.remote_ref = Some("publish-1".into());
    let applied = w.receive(&[event.clone(), event.clone()]).await;
    assert_eq!(applied.iter().map(|event| event.is_new).collect::<Vec<_>>(), [true, false]);
    let job = w.claimed(JobKind::Publish).await;
    w.store.record_step(job.lease(), &step(&post, PostStatus::Delivered)).await.unwrap();
    let applied = w.receive(&[event]).await;
    assert_eq!((applied[0].is_new, applied[0].post), (false, Some(post.id)));
    assert_eq!(w.claim(JobKind::Publish).await, None);
    let stored = w.store.events(TENANT, &EventFilter::default(), ALL).await.unwrap().items;
    assert_eq!(stored.iter().filter(|event| event.name == "platform.event").count(), 1);
}

pub async fn an_end_of_the_grant_erases_the_tokens(w: World) {
    let account = w.account("remote-1").await;
    let queued = w.post(&account, "key").await;
    let removed = EventKind::AuthorizationRemoved {
        reason: "user_disconnected".into(),
    };
    let applied = w.receive(&[w.incoming(removed, "remote-1")]).await;
    assert_eq!(applied[0].account, Some(account.id));
    let gone = w.reload(&account).await;
    assert_eq!((gone.status, gone.tokens), (AccountStatus::Revoked, None));
    assert_eq!(gone.status_code.as_deref(), Some("user_disconnected"));
    assert_eq!(w.reload_post(&queued).await, queued);
    w.advance(24 * 60 * MINUTE);
    assert_eq!(w.claim(JobKind::Refresh).await, None);
    assert!(!w.store.swap_tokens(TENANT, account.id, 1, &w.tokens(2)).await.unwrap());
}

pub async fn t46_an_end_of_an_older_grant_is_recorded_and_ignored(w: World) {
    let account = w.account("remote-1").await;
    let removed = || EventKind::AuthorizationRemoved { reason: "user".into() };
    let mut old = w.incoming(removed(), "remote-1");
    w.advance(MINUTE);
    let account = w.connect_as(&w.new_account(TENANT, &account.remote_id)).await.unwrap();
    assert!(w.receive(&[old.clone()]).await[0].is_new);
    assert_eq!(w.reload(&account).await, account);
    let stored = w.store.events(TENANT, &EventFilter::default(), ALL).await.unwrap().items;
    assert!(stored.iter().any(|event| event.name == old.name && event.account == Some(account.id)));
    // The very time of the grant counts as its own.
    old.occurred_at = Some(account.connected_at);
    old.dedupe_key = "another".into();
    w.receive(&[old]).await;
    assert_eq!(w.reload(&account).await.status, AccountStatus::Revoked);
}

pub async fn t45_events_in_any_order_lead_to_the_same_post(w: World) {
    let account = w.account("remote-1").await;
    let visible = |id: &str| EventKind::PostVisible {
        remote_ids: vec![id.to_owned()],
    };
    let kinds = [
        visible("a"),
        visible("b"),
        EventKind::PostProgress,
        EventKind::PostHidden {
            remote_ids: vec!["a".into()],
        },
    ];
    let mut seen = Vec::new();
    for (number, order) in orders(kinds.len()).into_iter().enumerate() {
        let key = format!("publish-{number}");
        let post = publishing(&w, &account, &key, &key).await;
        let job = w.claimed(JobKind::Publish).await;
        let post = w.store.record_step(job.lease(), &step(&post, PostStatus::Delivered)).await.unwrap();
        for index in order {
            let mut event = w.incoming(kinds[index].clone(), "remote-1");
            event.remote_ref = Some(key.clone());
            w.receive(&[event]).await;
        }
        let job = w.claimed(JobKind::Publish).await;
        assert_eq!(job.target, post.id.as_uuid(), "its job was woken, once");
        assert!(w.store.end_job(job.lease(), &JobEnd::Done).await.unwrap());
        assert_eq!(w.claim(JobKind::Publish).await, None);
        seen.push(outcome(w.reload_post(&post).await));
    }
    assert_eq!(seen.len(), 24);
    assert!(seen.iter().all(|post| *post == seen[0]), "{seen:?}");
}

pub async fn without_the_lease_no_event_is_applied(w: World) {
    let account = w.account("remote-1").await;
    let inbox = w.webhook("app").await;
    let job = w.claimed(JobKind::Ingest).await;
    let removed = EventKind::AuthorizationRemoved { reason: "user".into() };
    let events = [w.incoming(removed, "remote-1")];
    let other = w.webhook("app").await;
    assert_eq!(w.settle(w.read(job.lease(), other, &events)).await, Settled::Stale);
    w.advance(LEASE);
    assert_eq!(w.settle(w.read(job.lease(), inbox, &events)).await, Settled::Stale);
    assert_eq!(w.reload(&account).await, account);
    let stored = w.store.events(TENANT, &EventFilter::default(), ALL).await.unwrap().items;
    assert_eq!(stored.len(), 1, "the connect alone");

    let job = w.claimed(JobKind::Ingest).await;
    assert_eq!(job.target, inbox.as_uuid());
    assert!(matches!(w.settle(w.read(job.lease(), inbox, &events)).await, Settled::Applied(_)));
    assert_eq!(w.settle(w.read(job.lease(), inbox, &events)).await, Settled::Stale);
}

pub async fn events_are_listed_newest_first_page_by_page(w: World) {
    let account = w.account("remote-1").await;
    let post = publishing(&w, &account, "key", "publish-1").await;
    let mut of_post = Vec::new();
    for index in 0..6 {
        let mut event = w.incoming(EventKind::Other, "remote-1");
        if index % 2 == 0 {
            event.remote_ref = Some("publish-1".into());
            of_post.push(event.clone());
        }
        w.receive(&[event]).await;
        if index % 3 == 0 {
            w.advance(SECOND);
        }
    }
    let listed = async |filter: &EventFilter, limit| {
        let mut events = Vec::new();
        let mut page = PageRequest { after: None, limit };
        loop {
            let found = w.store.events(TENANT, filter, page).await.unwrap();
            assert!(found.items.len() <= limit as usize);
            events.extend(found.items);
            match found.next {
                Some(next) => page.after = Some(next),
                None => return events,
            }
        }
    };
    let all = listed(&EventFilter::default(), 100).await;
    assert_eq!(all.len(), 7);
    assert!(all.is_sorted_by_key(|event| std::cmp::Reverse((event.recorded_at, event.id))));
    for limit in [1, 3, 7] {
        assert_eq!(listed(&EventFilter::default(), limit).await, all);
    }
    // Every filter finds what it says, alone and with the others.
    for provider in [None, Some(provider()), Some(other_provider())] {
        for account in [None, Some(account.id)] {
            for post in [None, Some(post.id)] {
                let filter = EventFilter {
                    provider: provider.clone(),
                    account,
                    post,
                };
                let expected: Vec<_> = all
                    .iter()
                    .filter(|event| provider.as_ref().is_none_or(|provider| event.provider == *provider))
                    .filter(|event| account.is_none() || event.account == account)
                    .filter(|event| post.is_none() || event.post == post)
                    .cloned()
                    .collect();
                assert_eq!(listed(&filter, 2).await, expected, "{filter:?}");
            }
        }
    }
}

/// What may not depend on the order: everything but ids and times, and the order of the platform's ids.
fn outcome(post: PostRecord) -> (PostStatus, i64, Vec<String>) {
    let mut ids = post.publication.remote_ids;
    ids.sort();
    (post.status, post.step, ids)
}

/// Every order of `0..count`.
fn orders(count: usize) -> Vec<Vec<usize>> {
    if count == 0 {
        return vec![Vec::new()];
    }
    let mut all = Vec::new();
    for order in orders(count - 1) {
        for place in 0..count {
            let mut order = order.clone();
            order.insert(place, count - 1);
            all.push(order);
        }
    }
    all
}

async fn dead_jobs(w: &World) -> Vec<Job> {
    w.store.dead_jobs(TENANT, DeadFilter::default(), ALL).await.unwrap().items
}
