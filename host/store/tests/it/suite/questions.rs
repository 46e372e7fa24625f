use patchbay_app::{
    model::{
        Account, CommitOutcome, JobKind, Media, NewPullUrl, Observation, ObservationSource, PostRecord, PostStatus,
        PullFile, PullUrl, Pulled,
    },
    store::{EventFilter, PageRequest, StepRecord},
};
use patchbay_core::{EventKind, IncomingEvent, MediaId};

use super::{
    media::{file, keep},
    posts::step,
};
use crate::harness::{MINUTE, SECOND, TENANT, World, assert_stale, at_once};

const HOUR: std::time::Duration = std::time::Duration::from_secs(3600);

fn seen(w: &World, step: i64, outcome: CommitOutcome) -> Observation {
    Observation {
        id: w.id(),
        step,
        source: ObservationSource::Platform,
        outcome,
        code: Some("answer_lost\0".into()),
        observed_at: w.now(),
    }
}

/// Marks a call of a post's current step and records the step as publishing, its job due now.
async fn call(w: &World, post: &PostRecord) -> PostRecord {
    let job = w.claimed(JobKind::Publish).await;
    assert_eq!(job.target, post.id.as_uuid());
    w.store.mark_about_to(job.lease(), TENANT, post.id, post.step, "init").await.unwrap();
    let record = step(post, PostStatus::Unconfirmed);
    w.store.record_step(job.lease(), &record).await.unwrap()
}

fn stray(w: &World, remote_ref: &str) -> IncomingEvent {
    IncomingEvent {
        remote_ref: Some(remote_ref.into()),
        ..w.incoming(EventKind::PostProgress, "remote-1")
    }
}

pub async fn what_a_step_observed_is_listed(w: World) {
    let account = w.account("remote-1").await;
    let post = w.post(&account, "key").await;
    let job = w.claimed(JobKind::Publish).await;
    let observations = vec![
        seen(&w, 0, CommitOutcome::Unknown),
        Observation {
            source: ObservationSource::PullUrl,
            code: None,
            ..seen(&w, 0, CommitOutcome::DidNotHappen)
        },
    ];
    let record = StepRecord {
        observations: observations.clone(),
        ..step(&post, PostStatus::Publishing)
    };
    w.store.record_step(job.lease(), &record).await.unwrap();
    let mut wanted = observations;
    wanted[0].code = Some("answer_lost\u{fffd}".into());
    let mut listed = w.store.observations(TENANT, post.id).await.unwrap();
    listed.sort_by_key(|one| one.source == ObservationSource::PullUrl);
    assert_eq!(listed, wanted);
    assert!(w.store.observations(w.other_tenant().await, post.id).await.unwrap().is_empty());
}

/// A post with one stored file, whose job is claimed; and its URL.
async fn with_url(w: &World, account: &Account, key: &str) -> (PostRecord, patchbay_app::model::Job, Media, [u8; 32]) {
    let media = file(w, TENANT, 10);
    keep(w, &media).await;
    let post = w.post(account, key).await;
    let job = w.claimed(JobKind::Publish).await;
    let url = new_url(w, media.id);
    w.store.add_pull_urls(job.lease(), TENANT, post.id, 0, &[url], HOUR).await.unwrap();
    (post, job, media, url.token_hash)
}

fn new_url(w: &World, media: MediaId) -> NewPullUrl {
    let mut token_hash = [7; 32];
    token_hash[..16].copy_from_slice(w.id().as_bytes());
    NewPullUrl { token_hash, media }
}

pub async fn a_pull_url_gives_its_file_until_it_expires_or_its_post_ends(w: World) {
    let account = w.account("remote-1").await;
    let (post, job, media, hash) = with_url(&w, &account, "key").await;
    let open = Some(PullUrl::Open(PullFile {
        tenant: TENANT,
        media: media.id,
        info: media.info.clone(),
        sha256: media.sha256,
    }));
    assert_eq!(w.store.pull_url([9; 32], true).await.unwrap(), None);
    assert_eq!(w.store.pull_url(hash, false).await.unwrap(), open);
    let close = async || w.store.close_unfetched(TENANT, post.id, 0).await.unwrap();
    assert_eq!(w.store.pull_url(hash, true).await.unwrap(), open);
    assert_eq!(close().await, Pulled::Something, "and the platform may go on");
    assert_eq!(w.store.pull_url(hash, true).await.unwrap(), open);
    assert_eq!(w.store.close_unfetched(TENANT, post.id, 1).await.unwrap(), Pulled::NoUrls);
    assert_eq!(w.store.close_unfetched(w.other_tenant().await, post.id, 0).await.unwrap(), Pulled::NoUrls);

    w.store.record_step(job.lease(), &step(&post, PostStatus::Unconfirmed)).await.unwrap();
    assert_eq!(w.store.pull_url(hash, true).await.unwrap(), open);
    w.advance(HOUR);
    assert_eq!(w.store.pull_url(hash, true).await.unwrap(), Some(PullUrl::Closed));

    let (post, job, _, hash) = with_url(&w, &account, "ended").await;
    w.store.record_step(job.lease(), &step(&post, PostStatus::Published)).await.unwrap();
    assert_eq!(w.store.pull_url(hash, true).await.unwrap(), Some(PullUrl::Closed));
    let (post, _, _, hash) = with_url(&w, &account, "closed").await;
    assert_eq!(w.store.close_unfetched(TENANT, post.id, 0).await.unwrap(), Pulled::Nothing);
    assert_eq!(w.store.pull_url(hash, true).await.unwrap(), Some(PullUrl::Closed));
    assert_eq!(w.store.close_unfetched(TENANT, post.id, 0).await.unwrap(), Pulled::Nothing);
}

pub async fn of_a_fetch_and_a_close_at_once_one_wins(w: World) {
    let account = w.account("remote-1").await;
    for round in 0..20 {
        let (post, _, _, hash) = with_url(&w, &account, &format!("key-{round}")).await;
        let answers = at_once(2, |n| {
            let (w, post) = (w.clone(), post.id);
            async move {
                if n == 0 {
                    w.store.pull_url(hash, true).await.unwrap() != Some(PullUrl::Closed)
                } else {
                    w.store.close_unfetched(TENANT, post, 0).await.unwrap() == Pulled::Something
                }
            }
        })
        .await;
        assert_eq!(answers[0], answers[1], "fetched, and seen as fetched: {answers:?}");
    }
}

pub async fn pull_urls_need_a_live_lease_of_their_post(w: World) {
    let account = w.account("remote-1").await;
    let (post, job, media, _) = with_url(&w, &account, "key").await;
    let other = w.post(&account, "other").await;
    let add = async |post: &PostRecord| {
        let urls = [new_url(&w, media.id)];
        w.store.add_pull_urls(job.lease(), TENANT, post.id, 0, &urls, HOUR).await
    };
    add(&post).await.unwrap();
    assert_stale(add(&other).await);
    w.advance(MINUTE);
    assert_stale(add(&post).await);
}

pub async fn ended_pull_urls_are_forgotten_in_bounded_steps(w: World) {
    let account = w.account("remote-1").await;
    let (post, job, media, hash) = with_url(&w, &account, "key").await;
    let urls = [new_url(&w, media.id), new_url(&w, media.id)];
    w.store.add_pull_urls(job.lease(), TENANT, post.id, 0, &urls, HOUR).await.unwrap();
    w.advance(HOUR + 7 * 24 * HOUR - SECOND);
    assert_eq!(w.store.purge_pull_urls(10).await.unwrap(), 0);
    assert_eq!(w.store.pull_url(hash, true).await.unwrap(), Some(PullUrl::Closed));
    w.advance(2 * SECOND);
    assert_eq!(w.store.purge_pull_urls(2).await.unwrap(), 2);
    assert_eq!(w.store.purge_pull_urls(2).await.unwrap(), 1);
    assert_eq!(w.store.pull_url(hash, true).await.unwrap(), None);
}

pub async fn a_stray_event_wakes_the_one_post_with_an_open_call_and_names_its_attempt(w: World) {
    let account = w.account("remote-1").await;
    let post = w.post(&account, "key").await;
    let post = call(&w, &post).await;
    assert_eq!(w.claim(JobKind::Publish).await, None, "an unconfirmed post waits for news");
    assert_eq!(w.store.stray_ref(TENANT, post.id, 0).await.unwrap(), None);
    let applied = w.receive(&[stray(&w, "publish-1"), stray(&w, "publish-1")]).await;
    assert_eq!((applied[0].account, applied[0].post), (Some(account.id), None));
    let job = w.claimed(JobKind::Publish).await;
    assert_eq!(job.target, post.id.as_uuid());
    assert_eq!(w.store.stray_ref(TENANT, post.id, 0).await.unwrap().as_deref(), Some("publish-1"));
    assert_eq!(w.store.stray_ref(TENANT, post.id, 1).await.unwrap(), None, "of another call");
    assert_eq!(w.store.stray_ref(w.other_tenant().await, post.id, 0).await.unwrap(), None);

    let record = StepRecord {
        observations: vec![seen(&w, 0, CommitOutcome::Happened)],
        adopts: Some("publish-1".into()),
        ..step(&post, PostStatus::Published)
    };
    w.store.record_step(job.lease(), &record).await.unwrap();
    let filter = EventFilter { post: Some(post.id), ..EventFilter::default() };
    let page = PageRequest { after: None, limit: 100 };
    let theirs = w.store.events(TENANT, &filter, page).await.unwrap().items;
    assert_eq!(theirs.len(), 2, "its events are found with it");
    assert_eq!(w.store.stray_ref(TENANT, post.id, 0).await.unwrap(), None, "the question is settled");
}

pub async fn two_open_calls_or_two_strays_settle_nothing(w: World) {
    let account = w.account("remote-1").await;
    let first = w.post(&account, "one").await;
    let first = call(&w, &first).await;
    w.receive(&[stray(&w, "publish-1"), stray(&w, "publish-2")]).await;
    assert!(w.claim(JobKind::Publish).await.is_some());
    assert_eq!(w.store.stray_ref(TENANT, first.id, 0).await.unwrap(), None, "two attempts");

    let account = w.account("remote-2").await;
    for key in ["three", "four"] {
        let post = w.post(&account, key).await;
        call(&w, &post).await;
    }
    let event = IncomingEvent {
        remote_account: Some("remote-2".into()),
        ..stray(&w, "publish-3")
    };
    w.receive(&[event]).await;
    assert_eq!(w.claim(JobKind::Publish).await, None, "two calls");
}

pub async fn an_attempt_that_never_answered_keeps_later_ones_ambiguous_for_a_day(w: World) {
    let account = w.account("remote-1").await;
    let first = w.post(&account, "one").await;
    let job = w.claimed(JobKind::Publish).await;
    w.store.mark_about_to(job.lease(), TENANT, first.id, 0, "init").await.unwrap();
    // Closed before anything was fetched, and begun again: the platform may still speak of the first attempt.
    let record = StepRecord {
        observations: vec![seen(&w, 0, CommitOutcome::DidNotHappen)],
        run_at: Some(w.now()),
        ..step(&first, PostStatus::Publishing)
    };
    let first = w.store.record_step(job.lease(), &record).await.unwrap();
    let first = call(&w, &first).await;
    w.receive(&[stray(&w, "publish-1")]).await;
    assert_eq!(w.claim(JobKind::Publish).await, None);
    assert_eq!(w.store.stray_ref(TENANT, first.id, 1).await.unwrap(), None);

    w.advance(24 * HOUR + SECOND);
    let second = w.post(&account, "two").await;
    let second = call(&w, &second).await;
    w.receive(&[stray(&w, "publish-2")]).await;
    assert_eq!(w.claimed(JobKind::Publish).await.target, second.id.as_uuid());
    assert_eq!(w.store.stray_ref(TENANT, second.id, 0).await.unwrap().as_deref(), Some("publish-2"));
}
