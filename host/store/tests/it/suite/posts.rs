use std::{collections::BTreeSet, time::Duration};

use patchbay_app::{
    model::{Account, Content, DUPLICATE_WINDOW, Failure, Job, JobKind, NewAccount, NewPost, PostRecord, PostStatus, PostTransition},
    store::{
        CancelOutcome, Constraint, EditOutcome, Enqueued, EventFilter, JobEnd, Mark, PageRequest, PostEdit, PostFilter, QuotaChange,
        SlotRequest, StepRecord, StoreError, TakenSlot, Window,
    },
};
use patchbay_core::{
    AccountId, Checkpoint, ErrorKind, EventKind, GroupId, PostId, Publication, SlotId, TenantId, WhoActs,
};
use serde_json::json;

use crate::harness::{LEASE, MINUTE, NOTE, SECOND, TENANT, World, assert_stale, at_once, other_provider, provider};

const ALL: PageRequest = PageRequest { after: None, limit: 100 };

pub async fn of_a_hundred_requests_with_one_key_one_is_stored(w: World) {
    let account = w.account("remote-1").await;
    let answers = at_once(100, |_| {
        let (w, account) = (w.clone(), account.clone());
        async move { w.enqueue(&w.new_post(&account, "key")).await.unwrap() }
    })
    .await;
    let mut ids = BTreeSet::new();
    let mut created = 0;
    for answer in answers {
        match answer {
            Enqueued::Created(posts) => {
                created += 1;
                ids.insert(posts[0].id);
            }
            Enqueued::Replayed(posts) => {
                ids.insert(posts[0].id);
            }
            other => panic!("it is the same request: {other:?}"),
        }
    }
    assert_eq!((created, ids.len()), (1, 1));
    assert!(w.claim(JobKind::Publish).await.is_some());
    assert_eq!(w.claim(JobKind::Publish).await, None, "one job");
}

pub async fn a_key_is_a_tenants_own_and_belongs_to_one_request(w: World) {
    let other = w.other_tenant().await;
    let account = w.account("remote-1").await;
    let wanted = w.new_post(&account, "key");
    let post = match w.enqueue(&wanted).await.unwrap() {
        Enqueued::Created(mut posts) => posts.remove(0),
        other => panic!("{other:?}"),
    };
    assert_eq!((post.id, post.status, post.step), (wanted.id, PostStatus::Queued, 0));
    assert_eq!((&post.content, &post.account), (&wanted.content, &wanted.account));
    assert_eq!(post.publication, Publication::default());
    assert_eq!(w.reload_post(&post).await, post);
    let known = w.store.posts_of_key(TENANT, "key").await.unwrap();
    assert_eq!(known, Some(([7; 32], vec![post])));
    assert_eq!(w.store.posts_of_key(other, "key").await.unwrap(), None);

    let mut changed = w.new_post(&account, "key");
    changed.fingerprint = [8; 32];
    assert_eq!(w.enqueue(&changed).await.unwrap(), Enqueued::KeyReused);

    let theirs = w.connect_as(&w.new_account(other, "remote-2")).await.unwrap();
    let answer = w.enqueue(&w.new_post(&theirs, "key")).await.unwrap();
    assert!(matches!(answer, Enqueued::Created(_)));

    // An account that does not exist, or is another tenant's.
    let mut lost = w.new_post(&account, "key-2");
    lost.account = AccountId::from_uuid(w.id());
    let missing = w.enqueue(&lost).await;
    assert!(matches!(missing, Err(StoreError::Conflict(Constraint::Missing))), "{missing:?}");
    let mut foreign = w.new_post(&account, "key-2");
    foreign.account = theirs.id;
    let missing = w.enqueue(&foreign).await;
    assert!(matches!(missing, Err(StoreError::Conflict(Constraint::Missing))), "{missing:?}");
}

pub async fn a_step_is_recorded_whole(w: World) {
    let account = w.account("remote-1").await;
    let before = w.post(&account, "key").await;
    let job = w.claimed(JobKind::Publish).await;
    w.advance(SECOND);
    let checkpoint = Checkpoint::new("uploading", &json!({"chunk": 2}))
        .unwrap()
        .known_as("publish-1")
        .at_bytes(5, 10);
    let mut record = step(&before, PostStatus::Publishing);
    record.transition.checkpoint = Some(checkpoint);
    record.transition.captured = Some(b"sealed".to_vec());
    record.transition.tries = 2;
    record.run_at = Some(w.later(MINUTE));
    record.events = vec![w.event("post.publishing")];
    let expected = record.transition.clone().apply(before.clone(), w.now()).unwrap();
    let after = w.store.record_step(job.lease(), &record).await.unwrap();
    assert_eq!(after, expected);
    assert_eq!(w.reload_post(&after).await, expected);
    let events = w.store.events(TENANT, &EventFilter::default(), ALL).await.unwrap().items;
    assert_eq!(events[0].name, "post.publishing");
    assert_eq!(w.store.next_due(&[JobKind::Publish]).await.unwrap(), record.run_at);

    // The next step: keeps the checkpoint, ends the job.
    w.advance(MINUTE);
    let job = w.claimed(JobKind::Publish).await;
    assert_eq!(job.attempts, 1, "attempts are counted anew");
    let mut record = step(&after, PostStatus::Published);
    record.transition.publication = Some(Publication {
        remote_ids: vec!["video-1".into()],
        url: Some("https://example.com/video-1".parse().unwrap()),
    });
    let expected = record.transition.clone().apply(after, w.now()).unwrap();
    let done = w.store.record_step(job.lease(), &record).await.unwrap();
    assert_eq!(done, expected);
    assert_eq!(done.finished_at, Some(w.now()));
    assert_eq!(done.captured.as_deref(), Some(&b"sealed"[..]));
    assert_eq!(w.store.next_due(&[JobKind::Publish]).await.unwrap(), None);
}

pub async fn a_step_without_a_live_lease_of_this_post_records_nothing(w: World) {
    let account = w.account("remote-1").await;
    let post = w.post(&account, "key").await;
    let other = w.post(&account, "other").await;
    let job = w.claimed(JobKind::Publish).await;
    assert_eq!(job.target, post.id.as_uuid());
    let record = StepRecord {
        events: vec![w.event("post.published")],
        ..step(&post, PostStatus::Published)
    };
    // Another post's, another tenant's, another step's.
    assert_stale(w.store.record_step(job.lease(), &step(&other, PostStatus::Published)).await);
    let foreign = StepRecord {
        tenant: w.other_tenant().await,
        ..record.clone()
    };
    assert_stale(w.store.record_step(job.lease(), &foreign).await);
    let wrong_step = StepRecord { step: 1, ..record.clone() };
    assert_stale(w.store.record_step(job.lease(), &wrong_step).await);
    // Expired, and then taken over.
    w.advance(LEASE);
    assert_stale(w.store.record_step(job.lease(), &record).await);
    let again = w.claimed(JobKind::Publish).await;
    assert_eq!((again.id, again.fence), (job.id, job.fence + 1));
    assert_stale(w.store.record_step(job.lease(), &record).await);

    assert_eq!(w.reload_post(&post).await, post);
    let events = w.store.events(TENANT, &EventFilter::default(), ALL).await.unwrap().items;
    assert!(events.iter().all(|event| event.name != "post.published"));
    w.store.record_step(again.lease(), &record).await.unwrap();
    assert_stale(w.store.record_step(again.lease(), &record).await);
}

pub async fn a_post_goes_only_where_its_state_leads(w: World) {
    let account = w.account("remote-1").await;
    // No step begins at a draft.
    for from in PostStatus::ALL.into_iter().filter(|from| *from != PostStatus::Draft) {
        for to in PostStatus::ALL {
            let post = w.post(&account, &format!("{from}-{to}")).await;
            let mut job = w.claimed(JobKind::Publish).await;
            let mut post = post;
            if from != PostStatus::Queued {
                let mut record = step(&post, from);
                record.run_at = Some(w.now());
                post = w.store.record_step(job.lease(), &record).await.unwrap();
                job = w.claimed(JobKind::Publish).await;
            }
            let result = w.store.record_step(job.lease(), &step(&post, to)).await;
            if from.may_become(to) {
                assert_eq!(result.unwrap().status, to);
            } else {
                assert_stale(result);
                assert_eq!(w.reload_post(&post).await, post);
                assert!(w.store.end_job(job.lease(), &JobEnd::Done).await.unwrap());
            }
        }
    }
}

pub async fn a_finished_step_frees_the_posts_places(w: World) {
    let account = w.account("remote-1").await;
    let post = w.post(&account, "key").await;
    let job = w.claimed(JobKind::Publish).await;
    let window = || Window {
        tenant: TENANT,
        subject: account.id.to_string(),
        bucket: "drafts".into(),
        limit: 5,
    };
    let take = async |post| {
        let request = SlotRequest {
            id: SlotId::from_uuid(w.id()),
            window: window(),
            hold: 60 * MINUTE,
            post,
            waiter: None,
        };
        assert!(matches!(w.store.take_slot(&request).await.unwrap(), TakenSlot::Taken { .. }));
    };
    take(Some(post.id)).await;
    take(None).await;
    let used = async || w.store.windows(&[window()]).await.unwrap()[0].used;
    let mut record = step(&post, PostStatus::Publishing);
    record.run_at = Some(w.now());
    let post = w.store.record_step(job.lease(), &record).await.unwrap();
    assert_eq!(used().await, 2);
    let job = w.claimed(JobKind::Publish).await;
    let mut record = step(&post, PostStatus::Published);
    record.quota = QuotaChange::Free;
    w.store.record_step(job.lease(), &record).await.unwrap();
    assert_eq!(used().await, 1);
}

pub async fn a_step_that_the_platform_counts_holds_the_posts_places_from_then(w: World) {
    let account = w.account("remote-1").await;
    let mut post = w.post(&account, "key").await;
    let window = Window {
        tenant: TENANT,
        subject: account.id.to_string(),
        bucket: "drafts".into(),
        limit: 1,
    };
    let request = SlotRequest {
        id: SlotId::from_uuid(w.id()),
        window: window.clone(),
        hold: 60 * MINUTE,
        post: Some(post.id),
        waiter: None,
    };
    w.store.take_slot(&request).await.unwrap();
    w.advance(50 * MINUTE);
    // It never frees sooner than before.
    for (hold, frees_at) in [(5, w.later(10 * MINUTE)), (60, w.later(60 * MINUTE))] {
        let job = w.claimed(JobKind::Publish).await;
        let mut record = step(&post, PostStatus::Publishing);
        record.run_at = Some(w.now());
        record.quota = QuotaChange::Hold(hold * MINUTE);
        post = w.store.record_step(job.lease(), &record).await.unwrap();
        let found = w.store.windows(std::slice::from_ref(&window)).await.unwrap();
        assert_eq!((found[0].used, found[0].next_free_at), (1, Some(frees_at)));
    }
}

pub async fn the_next_step_of_a_post_that_waits_is_told(w: World) {
    let account = w.account("remote-1").await;
    let other = w.other_tenant().await;
    let (waits, runs, ended) = (
        w.post(&account, "waits").await,
        w.post(&account, "runs").await,
        w.post(&account, "ended").await,
    );
    let event = w.event("post.cancelled");
    w.store.cancel_post(TENANT, ended.id, None, &event).await.unwrap();
    let at = w.later(MINUTE);
    for (post, run_at) in [(&waits, at), (&runs, w.now())] {
        let job = claim_for(&w, post).await;
        let record = StepRecord {
            run_at: Some(run_at),
            ..step(post, PostStatus::Publishing)
        };
        w.store.record_step(job.lease(), &record).await.unwrap();
    }
    claim_for(&w, &runs).await;
    let posts = [waits.id, runs.id, ended.id];
    assert_eq!(w.store.next_steps(TENANT, &posts).await.unwrap(), [(waits.id, at)]);
    assert_eq!(w.store.next_steps(other, &posts).await.unwrap(), []);
}

pub async fn news_during_a_step_makes_the_job_run_again_at_once(w: World) {
    let account = w.account("remote-1").await;
    for (key, run_at) in [("ends", None), ("waits", Some(w.later(60 * MINUTE)))] {
        let post = w.post(&account, key).await;
        let job = w.claimed(JobKind::Publish).await;
        assert!(w.store.wake_job(JobKind::Publish, post.id.as_uuid()).await.unwrap());
        assert_eq!(w.claim(JobKind::Publish).await, None, "it is running");
        let mut record = step(&post, PostStatus::Delivered);
        record.run_at = run_at;
        w.store.record_step(job.lease(), &record).await.unwrap();
        let again = w.claimed(JobKind::Publish).await;
        assert_eq!((again.id, again.attempts), (job.id, 1));
        assert!(w.store.end_job(again.lease(), &JobEnd::Done).await.unwrap());
        assert_eq!(w.claim(JobKind::Publish).await, None, "once more, not for ever");
    }
}

pub async fn ids_from_a_webhook_survive_a_step_that_did_not_know_them(w: World) {
    let account = w.account("remote-1").await;
    let post = publishing(&w, &account, "key", "publish-1").await;
    w.claimed(JobKind::Publish).await;
    let mut visible = w.incoming(
        EventKind::PostVisible {
            remote_ids: vec!["video-1".into()],
        },
        "remote-1",
    );
    visible.remote_ref = Some("publish-1".into());
    w.receive(&[visible]).await;
    w.advance(LEASE);
    let job = w.claimed(JobKind::Publish).await;
    let mut record = step(&post, PostStatus::Published);
    record.transition.publication = Some(Publication {
        remote_ids: vec!["video-2".into()],
        url: None,
    });
    let done = w.store.record_step(job.lease(), &record).await.unwrap();
    assert_eq!(done.publication.remote_ids, ["video-2", "video-1"]);
}

pub async fn an_irreversible_call_is_marked_once_and_answered_from_its_receipt(w: World) {
    let account = w.account("remote-1").await;
    let post = w.post(&account, "key").await;
    let job = w.claimed(JobKind::Publish).await;
    let mark = async |step, op: &str| {
        w.store
            .mark_about_to(job.lease(), TENANT, post.id, step, op)
            .await
            .unwrap()
    };
    assert_eq!(mark(0, "video.init").await, Mark::Marked);
    assert_eq!(mark(0, "video.init").await, Mark::Open, "it may have been sent");
    w.store
        .keep_receipt(TENANT, post.id, 0, "video.init", 200, b"sealed answer")
        .await
        .unwrap();
    assert_eq!(mark(0, "video.init").await, Mark::Answered(b"sealed answer".to_vec()));
    // An answer is a fact, and the first one stands.
    w.store
        .keep_receipt(TENANT, post.id, 0, "video.init", 500, b"another")
        .await
        .unwrap();
    assert_eq!(mark(0, "video.init").await, Mark::Answered(b"sealed answer".to_vec()));
    // Another op and another step are other calls.
    assert_eq!(mark(0, "video.publish").await, Mark::Marked);
    assert_eq!(mark(1, "video.init").await, Mark::Marked);
    // It is kept even when nobody marked it, and after the lease.
    w.advance(LEASE);
    w.store
        .keep_receipt(TENANT, post.id, 2, "video.init", 201, b"late")
        .await
        .unwrap();

    let journal = w.store.commits(TENANT, post.id).await.unwrap();
    let seen: Vec<_> = journal
        .iter()
        .map(|commit| (commit.step, commit.op.as_str(), commit.answer_status))
        .collect();
    let expected = [
        (0, "video.init", Some(200)),
        (0, "video.publish", None),
        (1, "video.init", None),
        (2, "video.init", Some(201)),
    ];
    assert_eq!(seen, expected);
    assert_eq!(journal[0].receipt.as_deref(), Some(&b"sealed answer"[..]));
    assert!(journal[0].answered_at.is_some() && journal[1].answered_at.is_none());
}

pub async fn a_mark_that_never_left_is_taken_back_unless_it_was_answered(w: World) {
    let account = w.account("remote-1").await;
    let post = w.post(&account, "key").await;
    let job = w.claimed(JobKind::Publish).await;
    let mark = async || w.store.mark_about_to(job.lease(), TENANT, post.id, 0, "op").await.unwrap();
    let clear = async || w.store.clear_mark(TENANT, post.id, 0, "op").await.unwrap();
    assert_eq!(mark().await, Mark::Marked);
    clear().await;
    assert_eq!(mark().await, Mark::Marked);
    w.store.keep_receipt(TENANT, post.id, 0, "op", 200, b"x").await.unwrap();
    clear().await;
    assert_eq!(mark().await, Mark::Answered(b"x".to_vec()));
}

pub async fn marking_needs_a_live_lease_of_this_post(w: World) {
    let account = w.account("remote-1").await;
    let post = w.post(&account, "key").await;
    let other = w.post(&account, "other").await;
    let job = w.claimed(JobKind::Publish).await;
    let mark = async |post: &PostRecord| w.store.mark_about_to(job.lease(), TENANT, post.id, 0, "op").await;
    assert_stale(mark(&other).await);
    w.advance(LEASE);
    assert_stale(mark(&post).await);
    w.claimed(JobKind::Publish).await;
    w.claimed(JobKind::Publish).await;
    assert_stale(mark(&post).await);
    assert!(w.store.commits(TENANT, post.id).await.unwrap().is_empty());
}

pub async fn a_post_that_has_not_begun_is_cancelled(w: World) {
    let account = w.account("remote-1").await;
    let post = w.post(&account, "key").await;
    let event = w.event("post.cancelled");
    let outcome = w.store.cancel_post(TENANT, post.id, None, &event).await.unwrap();
    let Some(CancelOutcome::Cancelled(cancelled)) = outcome else {
        panic!("{outcome:?}")
    };
    assert_eq!(cancelled.status, PostStatus::Cancelled);
    assert_eq!(cancelled.finished_at, Some(w.now()));
    assert_eq!(w.reload_post(&post).await, *cancelled);
    assert_eq!(w.claim(JobKind::Publish).await, None, "its job is gone");
    let events = w.store.events(TENANT, &EventFilter::default(), ALL).await.unwrap().items;
    assert_eq!(events[0].id, event.id);
    let unknown = PostId::from_uuid(w.id());
    assert_eq!(w.store.cancel_post(TENANT, unknown, None, &event).await.unwrap(), None);
}

pub async fn posts_of_a_group_are_stored_together_or_not_at_all(w: World) {
    let account = w.account("remote-1").await;
    let group = Some(GroupId::from_uuid(w.id()));
    let member = |key: &str| {
        let mut post = w.new_post(&account, key);
        post.group = group;
        let mut job = w.job(TENANT, JobKind::Publish, post.id.as_uuid());
        job.concurrency_key = Some(key.to_owned());
        (post, job)
    };
    let mut lost = member("key-2");
    lost.0.account = AccountId::from_uuid(w.id());
    let missing = w.store.enqueue_posts(&[member("key"), lost]).await;
    assert!(matches!(missing, Err(StoreError::Conflict(Constraint::Missing))), "{missing:?}");
    assert_eq!(w.store.posts_of_key(TENANT, "key").await.unwrap(), None);
    assert_eq!(w.claim(JobKind::Publish).await, None);

    let Enqueued::Created(posts) = w.store.enqueue_posts(&[member("key"), member("key-2")]).await.unwrap() else {
        panic!("the key is new")
    };
    assert_eq!(posts.len(), 2);
    assert!(posts.iter().all(|post| post.group == group));
    let again = w.store.enqueue_posts(&[member("key"), member("key-2")]).await.unwrap();
    assert_eq!(again, Enqueued::Replayed(posts.clone()));
    let mut other = member("key");
    other.0.fingerprint = [8; 32];
    assert_eq!(w.store.enqueue_posts(&[other]).await.unwrap(), Enqueued::KeyReused);

    // A retry is of the group, and not of what was asked for under the key.
    let mut retry = member("key-3");
    retry.0.retry_of = Some(posts[1].id);
    let Enqueued::Created(retried) = w.store.enqueue_posts(&[retry]).await.unwrap() else {
        panic!("the key is new")
    };
    assert_eq!(w.store.posts_of_key(TENANT, "key-3").await.unwrap(), Some(([7; 32], retried)));
    w.post(&account, "alone").await;
    let of_key = w.store.posts_of_key(TENANT, "key").await.unwrap();
    assert_eq!(of_key, Some(([7; 32], posts.clone())));
    let filter = PostFilter {
        group,
        ..PostFilter::default()
    };
    let found = w.store.posts(TENANT, &filter, ALL).await.unwrap().items;
    assert_eq!(found.len(), 3);
    assert_eq!(found[0].retry_of, Some(posts[1].id));
    assert_eq!(found[1..].iter().rev().collect::<Vec<_>>(), posts.iter().collect::<Vec<_>>());
}

pub async fn the_same_content_is_not_stored_twice_within_a_day(w: World) {
    let account = w.account("remote-1").await;
    let other = w.account("remote-2").await;
    let with = |account: &Account, key: &str, hash: Option<u8>| {
        let mut post = w.new_post(account, key);
        post.content_hash = hash.map(|byte| [byte; 32]);
        post
    };
    let stored = async |post: &NewPost| match w.enqueue(post).await.unwrap() {
        Enqueued::Created(mut posts) => posts.remove(0),
        other => panic!("{other:?}"),
    };
    let twin_of = async |hash: u8| w.store.duplicate_of(TENANT, account.id, [hash; 32]).await.unwrap();
    assert_eq!(twin_of(1).await, None);
    let first = stored(&with(&account, "first", Some(1))).await;
    assert_eq!(twin_of(1).await, Some(first.id));
    let second = with(&account, "second", Some(1));
    assert_eq!(w.enqueue(&second).await.unwrap(), Enqueued::Duplicate(first.id));
    // The same request is no other post.
    let again = w.enqueue(&with(&account, "first", Some(1))).await.unwrap();
    assert_eq!(again, Enqueued::Replayed(vec![first.clone()]));
    // Another content, another account, or somebody who means it.
    stored(&with(&account, "other content", Some(2))).await;
    stored(&with(&other, "other account", Some(1))).await;
    let meant = stored(&with(&account, "meant", None)).await;

    // Of several at once one is stored; of several in one request none.
    let answers = at_once(10, |number| {
        let (w, post) = (w.clone(), with(&account, &format!("at once {number}"), Some(3)));
        async move { w.enqueue(&post).await.unwrap() }
    })
    .await;
    let created = answers.iter().filter(|answer| matches!(answer, Enqueued::Created(_)));
    assert_eq!(created.count(), 1, "{answers:?}");
    let both = ["a", "b"].map(|key| {
        let post = with(&account, key, Some(4));
        let job = w.job(TENANT, JobKind::Publish, post.id.as_uuid());
        (post, job)
    });
    assert_eq!(w.store.enqueue_posts(&both).await.unwrap(), Enqueued::Duplicate(both[0].0.id));
    assert_eq!(w.store.posts_of_key(TENANT, "a").await.unwrap(), None);

    // An edit makes no twin either; of one that was meant it may.
    let mut edit = PostEdit {
        tenant: TENANT,
        post: first.id,
        seen: first.updated_at,
        content: first.content.clone(),
        content_hash: Some([2; 32]),
        scheduled_at: None,
        publishes: None,
    };
    let outcome = w.store.edit_post(&edit, &w.event("post.edited")).await.unwrap();
    assert!(matches!(outcome, Some(EditOutcome::Duplicate(_))), "{outcome:?}");
    assert_eq!(w.reload_post(&first).await, first);
    edit.content_hash = Some([5; 32]);
    let outcome = w.store.edit_post(&edit, &w.event("post.edited")).await.unwrap();
    assert!(matches!(outcome, Some(EditOutcome::Edited(_))), "{outcome:?}");
    assert_eq!((twin_of(1).await, twin_of(5).await), (None, Some(first.id)));
    (edit.post, edit.seen) = (meant.id, meant.updated_at);
    let outcome = w.store.edit_post(&edit, &w.event("post.edited")).await.unwrap();
    assert!(matches!(outcome, Some(EditOutcome::Edited(_))), "{outcome:?}");

    // What came to nothing, or is older than a day, is no twin.
    w.store.cancel_post(TENANT, first.id, None, &w.event("post.cancelled")).await.unwrap();
    assert_eq!(twin_of(5).await, None);
    let second = stored(&with(&account, "instead", Some(5))).await;
    w.advance(2 * DUPLICATE_WINDOW.to_std().unwrap());
    assert_eq!(twin_of(5).await, Some(second.id), "it is still to come");
    loop {
        let job = w.claimed(JobKind::Publish).await;
        if job.target == second.id.as_uuid() {
            w.store.record_step(job.lease(), &step(&second, PostStatus::Published)).await.unwrap();
            break;
        }
    }
    w.advance(DUPLICATE_WINDOW.to_std().unwrap() - SECOND);
    assert_eq!(twin_of(5).await, Some(second.id));
    w.advance(SECOND);
    assert_eq!(twin_of(5).await, None);
    stored(&with(&account, "a day later", Some(5))).await;
}

pub async fn a_post_that_has_not_begun_is_edited(w: World) {
    let account = w.account("remote-1").await;
    let mut wanted = w.new_post(&account, "key");
    wanted.scheduled_at = Some(w.later(60 * MINUTE));
    let Enqueued::Created(mut posts) = w.enqueue(&wanted).await.unwrap() else {
        panic!("the key is new")
    };
    let post = posts.remove(0);
    let edit = |post: &PostRecord, scheduled_at| PostEdit {
        tenant: TENANT,
        post: post.id,
        seen: post.updated_at,
        content: Content {
            title: Some("Another".into()),
            ..post.content.clone()
        },
        content_hash: Some([9; 32]),
        scheduled_at,
        publishes: None,
    };
    let event = w.event("post.edited");
    let at = Some(w.later(30 * MINUTE));
    w.advance(SECOND);
    let outcome = w.store.edit_post(&edit(&post, at), &event).await.unwrap();
    let Some(EditOutcome::Edited(edited)) = outcome else {
        panic!("{outcome:?}")
    };
    assert_eq!((edited.content.title.as_deref(), edited.scheduled_at), (Some("Another"), at));
    assert_eq!(edited.updated_at, w.now());
    assert_eq!(w.reload_post(&post).await, *edited);
    assert_eq!(w.store.next_due(&[JobKind::Publish]).await.unwrap(), at, "its job moves");
    let events = w.store.events(TENANT, &EventFilter::default(), ALL).await.unwrap().items;
    assert_eq!(events[0].id, event.id);

    // Somebody who has seen what it was before.
    let late = w.store.edit_post(&edit(&post, None), &w.event("post.edited")).await.unwrap();
    assert_eq!(late, Some(EditOutcome::Changed));
    let stop = w.event("post.cancelled");
    let late = w.store.cancel_post(TENANT, post.id, Some(post.updated_at), &stop).await.unwrap();
    assert_eq!(late, Some(CancelOutcome::Changed));
    assert_eq!(w.reload_post(&post).await, *edited);

    // At once; and then it begins.
    let outcome = w.store.edit_post(&edit(&edited, None), &w.event("post.edited")).await.unwrap();
    let Some(EditOutcome::Edited(edited)) = outcome else {
        panic!("{outcome:?}")
    };
    let job = w.claimed(JobKind::Publish).await;
    let too_late = async |post: &PostRecord| {
        let outcome = w.store.edit_post(&edit(post, None), &w.event("post.edited")).await.unwrap();
        assert_eq!(outcome, Some(EditOutcome::TooLate(Box::new(post.clone()))));
    };
    too_late(&edited).await;
    w.store.mark_about_to(job.lease(), TENANT, post.id, 0, "op").await.unwrap();
    w.store.return_job(job.lease()).await.unwrap();
    too_late(&edited).await;
    let job = w.claimed(JobKind::Publish).await;
    let failed = w.store.record_step(job.lease(), &step(&edited, PostStatus::Failed)).await.unwrap();
    too_late(&failed).await;
    let unknown = PostEdit {
        post: PostId::from_uuid(w.id()),
        ..edit(&failed, None)
    };
    assert_eq!(w.store.edit_post(&unknown, &event).await.unwrap(), None);
}

pub async fn a_draft_has_no_job_until_it_is_published(w: World) {
    let account = w.account("remote-1").await;
    let draft = async |key: &str| {
        let wanted = NewPost { draft: true, ..w.new_post(&account, key) };
        match w.enqueue(&wanted).await.unwrap() {
            Enqueued::Created(mut posts) => posts.remove(0),
            other => panic!("{other:?}"),
        }
    };
    let post = draft("key").await;
    assert_eq!(post.status, PostStatus::Draft);
    assert_eq!(w.store.next_due(&[JobKind::Publish]).await.unwrap(), None);
    assert_eq!(w.store.next_steps(TENANT, &[post.id]).await.unwrap(), []);
    let edit = |post: &PostRecord, hash: Option<u8>, publishes: bool| PostEdit {
        tenant: TENANT,
        post: post.id,
        seen: post.updated_at,
        content: Content {
            title: Some("Another".into()),
            ..post.content.clone()
        },
        content_hash: hash.map(|byte| [byte; 32]),
        scheduled_at: None,
        publishes: publishes.then(|| w.job(TENANT, JobKind::Publish, post.id.as_uuid())),
    };
    let edited = async |edit: &PostEdit| w.store.edit_post(edit, &w.event("post.edited")).await.unwrap();
    w.advance(SECOND);
    let Some(EditOutcome::Edited(post)) = edited(&edit(&post, None, false)).await else {
        panic!("a draft is edited")
    };
    assert_eq!((post.status, post.content.title.as_deref()), (PostStatus::Draft, Some("Another")));
    assert_eq!(w.store.next_due(&[JobKind::Publish]).await.unwrap(), None);

    // Of many that publish it one does.
    let answers = at_once(10, |_| {
        let (w, wanted) = (w.clone(), edit(&post, Some(1), true));
        async move { w.store.edit_post(&wanted, &w.event("post.queued")).await.unwrap() }
    })
    .await;
    let queued: Vec<_> = answers
        .iter()
        .filter_map(|answer| match answer {
            Some(EditOutcome::Edited(post)) => Some(post),
            Some(EditOutcome::TooLate(_)) => None,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(queued.len(), 1, "{answers:?}");
    assert_eq!((queued[0].status, queued[0].step), (PostStatus::Queued, 0));
    assert_eq!(w.store.duplicate_of(TENANT, account.id, [1; 32]).await.unwrap(), Some(post.id));
    // Another with its content is refused, and stays a draft.
    let twin = draft("twin").await;
    let refused = edited(&edit(&twin, Some(1), true)).await;
    assert_eq!(refused, Some(EditOutcome::Duplicate(post.id)));
    assert_eq!(w.reload_post(&twin).await, twin);
    let job = w.claimed(JobKind::Publish).await;
    assert_eq!(job.target, post.id.as_uuid());
    assert!(w.claim(JobKind::Publish).await.is_none(), "the twin has no job");

    let event = w.event("post.cancelled");
    let stopped = w.store.cancel_post(TENANT, twin.id, None, &event).await.unwrap();
    let Some(CancelOutcome::Cancelled(stopped)) = stopped else {
        panic!("{stopped:?}")
    };
    assert_eq!((stopped.status, stopped.finished_at), (PostStatus::Cancelled, Some(w.now())));
    let late = edited(&edit(&stopped, Some(2), true)).await;
    assert_eq!(late, Some(EditOutcome::TooLate(stopped)));

    // It waits for its account, but for no other person's.
    let waiting = draft("waiting").await;
    for (owner, status) in [("owner-1", PostStatus::Draft), ("owner-2", PostStatus::Cancelled)] {
        let event = w.event("account.disconnected");
        w.store.begin_disconnect(TENANT, account.id, "user", None, &event, &NOTE).await.unwrap();
        let again = NewAccount { owner: owner.into(), ..w.new_account(TENANT, "remote-1") };
        assert_eq!(w.connect_as(&again).await.unwrap().id, account.id);
        assert_eq!(w.reload_post(&waiting).await.status, status);
    }
}

/// A post that failed, with this kind of failure.
async fn failed(w: &World, account: &Account, key: &str, kind: ErrorKind) -> PostRecord {
    let mut wanted = w.new_post(account, key);
    wanted.content.title = Some(key.into());
    let Enqueued::Created(posts) = w.enqueue(&wanted).await.unwrap() else {
        panic!("a new one");
    };
    let post = posts[0].clone();
    let job = claim_for(w, &post).await;
    let mut record = step(&post, PostStatus::Failed);
    record.transition.failure = Some(Failure {
        kind,
        code: "code".into(),
        advice: "Act.".into(),
        who_acts: WhoActs::AccountOwner,
    });
    w.store.record_step(job.lease(), &record).await.unwrap()
}

pub async fn posts_that_failed_for_want_of_access_go_on_when_their_account_is_connected_again(w: World) {
    let account = w.account("remote-1").await;
    let old = failed(&w, &account, "old", ErrorKind::ReauthRequired).await;
    w.advance(Duration::from_secs(8 * 24 * 3600));
    let post = failed(&w, &account, "lost", ErrorKind::ReauthRequired).await;
    let refused = failed(&w, &account, "refused", ErrorKind::InvalidRequest).await;
    let other = w.account("remote-2").await;
    let others = failed(&w, &other, "others", ErrorKind::ReauthRequired).await;
    // Of which it is not known that nothing came of it.
    let sent = failed(&w, &account, "sent", ErrorKind::ReauthRequired).await;
    w.store.keep_receipt(TENANT, sent.id, 0, "init", 200, b"sealed").await.unwrap();
    let unknown = failed(&w, &account, "unknown", ErrorKind::ReauthRequired).await;
    w.store.keep_receipt(TENANT, unknown.id, 0, "init", 503, b"sealed").await.unwrap();
    let plain = failed(&w, &account, "plain", ErrorKind::ReauthRequired).await;
    w.store.keep_receipt(TENANT, plain.id, 0, "init", 401, b"sealed").await.unwrap();
    // What somebody has asked for once more.
    let retried = failed(&w, &account, "retried", ErrorKind::ReauthRequired).await;
    let retry = NewPost { retry_of: Some(retried.id), ..w.new_post(&account, "retry") };
    w.enqueue(&retry).await.unwrap();
    let doubled = failed(&w, &account, "doubled", ErrorKind::ReauthRequired).await;
    let mut twin = w.new_post(&account, "twin");
    twin.content = doubled.content.clone();
    w.enqueue(&twin).await.unwrap();

    w.account("remote-1").await;
    let status = async |post: &PostRecord| w.reload_post(post).await.status;
    let lost = w.reload_post(&post).await;
    assert_eq!((lost.status, lost.failure, lost.finished_at), (PostStatus::Queued, None, None));
    assert_eq!(lost.step, post.step, "the journal of the step before stays closed");
    assert_eq!(status(&plain).await, PostStatus::Queued);
    for post in [&old, &refused, &others, &sent, &unknown, &retried, &doubled] {
        assert_eq!(status(post).await, PostStatus::Failed, "{post:?}");
    }
    let filter = EventFilter { post: Some(post.id), ..EventFilter::default() };
    let events = async || w.store.events(TENANT, &filter, ALL).await.unwrap().items;
    assert_eq!(events().await.iter().filter(|event| event.name == "post.revived").count(), 1);
    w.account("remote-1").await;
    assert_eq!(events().await.iter().filter(|event| event.name == "post.revived").count(), 1, "once");
}

pub async fn a_post_that_has_begun_is_asked_to_stop(w: World) {
    let account = w.account("remote-1").await;
    let asked = async |post: &PostRecord| {
        let outcome = w
            .store
            .cancel_post(TENANT, post.id, None, &w.event("post.cancelled"))
            .await
            .unwrap();
        let Some(CancelOutcome::Requested(asked)) = outcome else {
            panic!("{outcome:?}")
        };
        assert!(asked.cancel_requested);
        assert_eq!(asked.status, post.status);
        assert_eq!(w.reload_post(post).await, *asked);
    };
    // Its first step is running.
    let post = w.post(&account, "running").await;
    let job = w.claimed(JobKind::Publish).await;
    asked(&post).await;
    // That step ends; the cancel makes the next one run at once.
    let mut record = step(&post, PostStatus::Publishing);
    record.run_at = Some(w.later(60 * MINUTE));
    let post = w.store.record_step(job.lease(), &record).await.unwrap();
    assert!(post.cancel_requested, "a step does not forget it");
    let job = w.claimed(JobKind::Publish).await;
    let end = JobEnd::Next {
        run_at: w.later(60 * MINUTE),
    };
    assert!(w.store.end_job(job.lease(), &end).await.unwrap());
    // It waits between steps.
    asked(&post).await;
    let job = w.claimed(JobKind::Publish).await;
    let mut record = step(&post, PostStatus::Publishing);
    record.transition.cancel_handled = true;
    let post = w.store.record_step(job.lease(), &record).await.unwrap();
    assert!(!post.cancel_requested, "a step that answered it does");

    // Its first step was given up after an irreversible call was marked: nobody knows whether it was sent.
    let post = w.post(&account, "marked").await;
    let job = w.claimed(JobKind::Publish).await;
    w.store.mark_about_to(job.lease(), TENANT, post.id, 0, "op").await.unwrap();
    w.store.return_job(job.lease()).await.unwrap();
    asked(&post).await;
    let events = w.store.events(TENANT, &EventFilter::default(), ALL).await.unwrap().items;
    assert!(events.iter().all(|event| event.name != "post.cancelled"));
}

pub async fn a_post_that_has_ended_is_not_stopped(w: World) {
    let account = w.account("remote-1").await;
    for status in [
        PostStatus::Published,
        PostStatus::Failed,
        PostStatus::Cancelled,
        PostStatus::Delivered,
        PostStatus::Unconfirmed,
    ] {
        let post = w.post(&account, status.as_str()).await;
        let job = w.claimed(JobKind::Publish).await;
        let post = w.store.record_step(job.lease(), &step(&post, status)).await.unwrap();
        let outcome = w
            .store
            .cancel_post(TENANT, post.id, None, &w.event("post.cancelled"))
            .await
            .unwrap();
        assert_eq!(outcome, Some(CancelOutcome::TooLate(Box::new(post))));
    }
}

pub async fn posts_are_listed_newest_first_page_by_page(w: World) {
    let first = w.account("remote-1").await;
    let mut second = w.new_account(TENANT, "remote-2");
    second.provider = other_provider();
    let second = w.connect_as(&second).await.unwrap();
    let theirs = w.new_account(w.other_tenant().await, "remote-3");
    let theirs = w.connect_as(&theirs).await.unwrap();
    let mut made = Vec::new();
    for index in 0..7 {
        let account = if index % 2 == 0 { &first } else { &second };
        made.push(w.post(account, &index.to_string()).await.id);
        w.post(&theirs, &index.to_string()).await;
        if index % 3 == 0 {
            w.advance(SECOND);
        }
    }
    w.store
        .cancel_post(TENANT, made[3], None, &w.event("post.cancelled"))
        .await
        .unwrap();
    made.reverse();
    let listed = async |filter: &PostFilter, limit| {
        let mut ids = Vec::new();
        let mut page = PageRequest { after: None, limit };
        loop {
            let found = w.store.posts(TENANT, filter, page).await.unwrap();
            assert!(found.items.len() <= limit as usize);
            ids.extend(found.items.iter().map(|post| post.id));
            match found.next {
                Some(next) => page.after = Some(next),
                None => return ids,
            }
        }
    };
    for limit in [1, 2, 6, 7, 100] {
        assert_eq!(listed(&PostFilter::default(), limit).await, made);
    }
    // Every filter finds what it says, alone and with the others.
    let everything = w.store.posts(TENANT, &PostFilter::default(), ALL).await.unwrap().items;
    for provider in [None, Some(provider()), Some(other_provider())] {
        for account in [None, Some(first.id), Some(second.id)] {
            for status in [None, Some(PostStatus::Queued), Some(PostStatus::Cancelled)] {
                let filter = PostFilter {
                    provider: provider.clone(),
                    account,
                    status,
                    group: None,
                };
                let expected: Vec<_> = everything
                    .iter()
                    .filter(|post| provider.as_ref().is_none_or(|provider| post.provider == *provider))
                    .filter(|post| account.is_none_or(|account| post.account == account))
                    .filter(|post| status.is_none_or(|status| post.status == status))
                    .map(|post| post.id)
                    .collect();
                assert_eq!(listed(&filter, 2).await, expected, "{filter:?}");
            }
        }
    }
}

pub async fn a_post_is_found_by_the_platforms_id_of_the_attempt(w: World) {
    let account = w.account("remote-1").await;
    publishing(&w, &account, "old", "publish-1").await;
    w.advance(SECOND);
    let newest = publishing(&w, &account, "new", "publish-1").await;
    let find = async |tenant: TenantId, provider, remote_ref: &str| {
        w.store.post_by_ref(tenant, &provider, remote_ref).await.unwrap()
    };
    assert_eq!(find(TENANT, provider(), "publish-1").await, Some(newest));
    assert_eq!(find(TENANT, provider(), "publish-2").await, None);
    assert_eq!(find(TENANT, other_provider(), "publish-1").await, None);
    assert_eq!(find(w.other_tenant().await, provider(), "publish-1").await, None);
}

/// A step that changes only the state, and ends the job.
pub fn step(post: &PostRecord, status: PostStatus) -> StepRecord {
    StepRecord {
        tenant: post.tenant,
        post: post.id,
        step: post.step,
        transition: PostTransition::to(status),
        run_at: None,
        events: Vec::new(),
        quota: QuotaChange::Keep,
        observations: Vec::new(),
        adopts: None,
    }
}

/// A post whose first step is recorded: under way, known to the platform as `remote_ref`, its job due now.
pub async fn publishing(w: &World, account: &Account, key: &str, remote_ref: &str) -> PostRecord {
    let post = w.post(account, key).await;
    let job = claim_for(w, &post).await;
    let mut record = step(&post, PostStatus::Publishing);
    record.transition.checkpoint = Some(Checkpoint::new("uploading", &json!({})).unwrap().known_as(remote_ref));
    record.run_at = Some(w.now());
    w.store.record_step(job.lease(), &record).await.unwrap()
}

/// Claims publish jobs until it is this post's turn. The others stay claimed.
async fn claim_for(w: &World, post: &PostRecord) -> Job {
    loop {
        let job = w.claimed(JobKind::Publish).await;
        if job.target == post.id.as_uuid() {
            return job;
        }
    }
}

pub async fn what_became_of_posts_is_read_for_sums(w: World) {
    let account = w.account("a").await;
    let other = w.account("b").await;
    let start = w.now();
    let mut made = Vec::new();
    for (key, account) in [("1", &account), ("2", &other), ("3", &account)] {
        made.push(w.post(account, key).await);
        w.advance(MINUTE);
    }
    let event = w.event("post.cancelled");
    w.store.cancel_post(TENANT, made[0].id, None, &event).await.unwrap();
    let end = w.now();
    let found = async |account, from, to, limit| {
        let found = w.store.post_outcomes(TENANT, account, from, to, limit).await.unwrap();
        found.into_iter().map(|post| (post.created_at, post.status)).collect::<Vec<_>>()
    };
    let all: Vec<_> = [2, 1, 0]
        .map(|index: usize| {
            let status = [PostStatus::Cancelled, PostStatus::Queued, PostStatus::Queued][index];
            (made[index].created_at, status)
        })
        .into();
    assert_eq!(found(None, start, end, 9).await, all);
    assert_eq!(found(None, start, end, 2).await, all[..2]);
    assert_eq!(found(Some(other.id), start, end, 9).await, all[1..2]);
    assert_eq!(found(None, made[1].created_at, made[2].created_at, 9).await, all[1..2]);
    let foreign = w.other_tenant().await;
    assert_eq!(w.store.post_outcomes(foreign, None, start, end, 9).await.unwrap(), []);
    let ended = w.store.post_outcomes(TENANT, None, start, made[1].created_at, 9).await.unwrap();
    assert_eq!((ended[0].finished_at, ended[0].failure.clone()), (Some(end), None));
}
