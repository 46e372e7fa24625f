use std::time::Duration;

use patchbay_app::{
    model::{Account, Counts, JobKind, MetricWatch, Missing, NewEvent, NewReading, PastReading, PostRecord, PostStatus, schedule},
    store::{EventFilter, JobEnd, PageRequest},
};
use patchbay_core::{Checkpoint, EventKind, IncomingEvent, Metric, NoMetric, Publication};

use super::posts::step;
use crate::harness::{LEASE, MINUTE, NOTE, SECOND, TENANT, World, assert_stale, at_once};

const ALL: PageRequest = PageRequest { after: None, limit: 100 };
const FIRST: Duration = Duration::from_secs(15 * 60);

/// A post that is published under these ids.
async fn published(w: &World, account: &Account, key: &str, ids: &[&str]) -> PostRecord {
    let post = w.post(account, key).await;
    let job = w.claimed(JobKind::Publish).await;
    let mut record = step(&post, PostStatus::Published);
    record.transition.checkpoint = Some(Checkpoint::new("done", &()).unwrap().known_as(key));
    record.transition.publication = Some(Publication {
        remote_ids: ids.iter().map(|id| (*id).to_owned()).collect(),
        url: None,
    });
    w.store.record_step(job.lease(), &record).await.unwrap()
}

async fn watch(w: &World, post: &PostRecord) -> Option<MetricWatch> {
    w.store.metric_watch(TENANT, post.id).await.unwrap()
}

fn reading(w: &World, before: &MetricWatch, views: u64) -> NewReading {
    let counts = Counts::from([(Metric::Views, views), (Metric::Likes, u64::MAX >> 1)]);
    NewReading {
        id: w.id(),
        watch: MetricWatch {
            next_at: schedule::next(before.since, w.now(), 0),
            unchanged: 2,
            counts,
            read_at: Some(w.now()),
            missing: Missing::from([(Metric::Comments, NoMetric::NotYet)]),
            ..before.clone()
        },
        is_told: true,
        event: None,
    }
}

pub async fn a_published_post_with_a_public_id_is_watched_from_then(w: World) {
    let account = w.account("remote-1").await;
    let hidden = published(&w, &account, "hidden", &[]).await;
    assert_eq!(watch(&w, &hidden).await, None);
    assert_eq!(w.store.next_due(&[JobKind::Metrics]).await.unwrap(), None);

    let post = published(&w, &account, "shown", &["video-1"]).await;
    let begun = watch(&w, &post).await.unwrap();
    assert_eq!(
        begun,
        MetricWatch {
            post: post.id,
            account: account.id,
            since: w.now(),
            next_at: Some(w.later(FIRST)),
            unchanged: 0,
            counts: Counts::new(),
            read_at: None,
            missing: Missing::new(),
        }
    );
    assert_eq!(w.store.next_due(&[JobKind::Metrics]).await.unwrap(), Some(w.later(FIRST)));
    // The id of a private post that becomes public comes by webhook, later.
    w.advance(MINUTE);
    let visible = EventKind::PostVisible { remote_ids: vec!["video-2".into()] };
    let news = IncomingEvent { remote_ref: Some("hidden".into()), ..w.incoming(visible, "remote-1") };
    assert_eq!(w.receive(&[news]).await[0].post, Some(hidden.id));
    assert_eq!(watch(&w, &hidden).await.unwrap().since, w.now());
    assert_eq!(watch(&w, &post).await.unwrap(), begun);
    assert_eq!(w.store.next_due(&[JobKind::Metrics]).await.unwrap(), begun.next_at, "one job for the account");
    assert_eq!(w.store.metric_watch(w.other_tenant().await, post.id).await.unwrap(), None);
}

pub async fn readings_are_recorded_with_the_end_of_their_job(w: World) {
    let account = w.account("remote-1").await;
    let first = published(&w, &account, "one", &["video-1"]).await;
    w.advance(SECOND);
    let second = published(&w, &account, "two", &["video-2"]).await;
    assert_eq!(w.claim(JobKind::Metrics).await, None);
    w.advance(FIRST);
    let due = w.store.due_watches(TENANT, account.id, 10).await.unwrap();
    assert_eq!(due.iter().map(|watch| watch.post).collect::<Vec<_>>(), [first.id, second.id]);
    assert_eq!(w.store.due_watches(TENANT, account.id, 1).await.unwrap(), due[..1]);
    assert!(w.store.due_watches(w.other_tenant().await, account.id, 10).await.unwrap().is_empty());

    let job = w.claimed(JobKind::Metrics).await;
    assert_eq!(job.target, account.id.as_uuid());
    let one = reading(&w, &due[0], 7);
    let mut two = reading(&w, &due[1], 0);
    two.is_told = false;
    two.watch.next_at = None;
    w.store.record_readings(job.lease(), TENANT, account.id, &[one.clone(), two.clone()]).await.unwrap();
    assert_eq!(watch(&w, &first).await, Some(one.watch.clone()));
    assert_eq!(watch(&w, &second).await, Some(two.watch));
    let history = w.store.metric_history(TENANT, first.id, ALL).await.unwrap();
    let past = PastReading { id: one.id, read_at: w.now(), counts: one.watch.counts.clone() };
    assert_eq!((history.items, history.next), (vec![past], None));
    assert!(w.store.metric_history(TENANT, second.id, ALL).await.unwrap().items.is_empty());
    assert_eq!(w.store.next_due(&[JobKind::Metrics]).await.unwrap(), one.watch.next_at);

    // With the last one that is read no more, the job is done.
    w.advance(Duration::from_secs(3600));
    let job = w.claimed(JobKind::Metrics).await;
    let mut last = reading(&w, &one.watch, 8);
    last.watch.next_at = None;
    w.store.record_readings(job.lease(), TENANT, account.id, &[last]).await.unwrap();
    assert_eq!(w.store.next_due(&[JobKind::Metrics]).await.unwrap(), None);
    let page = w.store.metric_history(TENANT, first.id, PageRequest { after: None, limit: 1 }).await.unwrap();
    assert_eq!(page.items[0].counts[&Metric::Views], 8);
    let rest = PageRequest { after: page.next, limit: 1 };
    let rest = w.store.metric_history(TENANT, first.id, rest).await.unwrap();
    assert_eq!((rest.items[0].id, rest.next), (one.id, None));
}

pub async fn readings_of_a_lost_claim_are_not_recorded(w: World) {
    let account = w.account("remote-1").await;
    let post = published(&w, &account, "one", &["video-1"]).await;
    let begun = watch(&w, &post).await.unwrap();
    w.advance(FIRST);
    let killed = w.claimed(JobKind::Metrics).await;
    w.advance(LEASE + SECOND);
    let late = reading(&w, &begun, 1);
    assert_stale(w.store.record_readings(killed.lease(), TENANT, account.id, std::slice::from_ref(&late)).await);
    let next = w.claimed(JobKind::Metrics).await;
    assert_stale(w.store.record_readings(killed.lease(), TENANT, account.id, std::slice::from_ref(&late)).await);
    let other = w.account("remote-2").await;
    assert_stale(w.store.record_readings(next.lease(), TENANT, other.id, std::slice::from_ref(&late)).await);
    assert_eq!(watch(&w, &post).await, Some(begun));
    let done = at_once(8, |_| {
        let (w, account, late, lease) = (w.clone(), account.clone(), late.clone(), next.lease());
        async move { w.store.record_readings(lease, TENANT, account.id, &[late]).await.is_ok() }
    })
    .await;
    assert_eq!(done.into_iter().filter(|done| *done).count(), 1);
    assert_eq!(w.store.metric_history(TENANT, post.id, ALL).await.unwrap().items.len(), 1);
}

pub async fn news_of_numbers_is_an_event_for_those_who_name_it(w: World) {
    let account = w.account("remote-1").await;
    let post = published(&w, &account, "one", &["video-1"]).await;
    let mut before = watch(&w, &post).await.unwrap();
    let named = EventFilter { post: Some(post.id), ..EventFilter::default() };
    let mut seen = Vec::new();
    for events in [None, Some("post.*"), Some("post.metrics_updated")] {
        if let Some(events) = events {
            let endpoint = w.new_endpoint(TENANT, &[events]);
            w.store.create_endpoint(&endpoint, 20, &NOTE).await.unwrap();
        }
        w.advance(Duration::from_secs(24 * 3600));
        let job = w.claimed(JobKind::Metrics).await;
        let event = NewEvent { post: Some(post.id), ..w.event("post.metrics_updated") };
        let reading = NewReading { event: Some(event), ..reading(&w, &before, 1) };
        w.store.record_readings(job.lease(), TENANT, account.id, std::slice::from_ref(&reading)).await.unwrap();
        before = reading.watch;
        seen.push(w.store.events(TENANT, &named, ALL).await.unwrap().items.len());
    }
    assert_eq!(seen, [0, 0, 1]);
    // One delivery, to the endpoint that named it.
    assert!(w.claim(JobKind::Deliver).await.is_some());
    assert_eq!(w.claim(JobKind::Deliver).await, None);
}

pub async fn a_post_that_is_watched_while_its_account_is_read_is_not_forgotten(w: World) {
    let account = w.account("remote-1").await;
    let first = published(&w, &account, "one", &["video-1"]).await;
    w.advance(FIRST);
    let job = w.claimed(JobKind::Metrics).await;
    let second = published(&w, &account, "two", &["video-2"]).await;
    let mut reading = reading(&w, &watch(&w, &first).await.unwrap(), 1);
    reading.watch.next_at = None;
    w.store.record_readings(job.lease(), TENANT, account.id, &[reading]).await.unwrap();
    assert_eq!(w.store.next_due(&[JobKind::Metrics]).await.unwrap(), Some(w.later(FIRST)));
    w.advance(FIRST);
    let job = w.claimed(JobKind::Metrics).await;
    let due = w.store.due_watches(TENANT, account.id, 10).await.unwrap();
    assert_eq!(due.iter().map(|watch| watch.post).collect::<Vec<_>>(), [second.id]);
    w.store.end_job(job.lease(), &JobEnd::Done).await.unwrap();
}

pub async fn old_readings_are_purged_in_bounded_steps(w: World) {
    let account = w.account("remote-1").await;
    let post = published(&w, &account, "one", &["video-1"]).await;
    let mut before = watch(&w, &post).await.unwrap();
    for views in 0..3 {
        w.advance(Duration::from_secs(24 * 3600));
        let job = w.claimed(JobKind::Metrics).await;
        let reading = reading(&w, &before, views);
        w.store.record_readings(job.lease(), TENANT, account.id, std::slice::from_ref(&reading)).await.unwrap();
        before = reading.watch;
    }
    let now = w.now();
    assert_eq!(w.store.purge_readings(now, 1).await.unwrap(), 1);
    assert_eq!(w.store.purge_readings(now, 10).await.unwrap(), 1, "the newest is not older");
    assert_eq!(w.store.metric_history(TENANT, post.id, ALL).await.unwrap().items.len(), 1);
    assert_eq!(watch(&w, &post).await, Some(before), "what was told last stays");
}
