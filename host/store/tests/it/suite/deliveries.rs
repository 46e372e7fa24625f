use std::time::Duration;

use patchbay_app::{
    model::{
        Attempt, AttemptResult, Delivery, DeliveryEnd, DeliveryStatus, Endpoint, EndpointChange, EndpointStatus, EventNames,
        Job, JobKind, NextDelivery, SealedSecret,
    },
    store::{DeliveryFilter, EventFilter, JobEnd, PageRequest},
};
use patchbay_core::{DeliveryId, EndpointId, EventKind, TenantId};

use crate::harness::{NOTE, MINUTE, SECOND, TENANT, World, assert_stale, at_once};

const ALL: PageRequest = PageRequest { after: None, limit: 100 };

pub async fn endpoint(w: &World, tenant: TenantId, events: &[&str]) -> Endpoint {
    w.store.create_endpoint(&w.new_endpoint(tenant, events), 20, &NOTE).await.unwrap().unwrap()
}

/// An event of Patchbay's own for one endpoint.
pub async fn pushed(w: &World, endpoint: &Endpoint) -> Delivery {
    w.store.push_to(endpoint.tenant, endpoint.id, &w.event("webhook.test")).await.unwrap().unwrap()
}

async fn deliveries(w: &World, endpoint: &Endpoint) -> Vec<Delivery> {
    let filter = DeliveryFilter::default();
    w.store.deliveries(endpoint.tenant, endpoint.id, filter, ALL).await.unwrap().items
}

async fn names(w: &World, endpoint: &Endpoint) -> Vec<String> {
    deliveries(w, endpoint).await.into_iter().rev().map(|delivery| delivery.event_name).collect()
}

async fn reload(w: &World, endpoint: &Endpoint) -> Endpoint {
    w.store.endpoint(endpoint.tenant, endpoint.id).await.unwrap().unwrap()
}

fn refused() -> AttemptResult {
    AttemptResult {
        status: Some(500),
        body: Some("no\0".into()),
        code: Some("refused".into()),
    }
}

pub fn end(endpoint: &Endpoint, attempt: Option<AttemptResult>, next: NextDelivery) -> DeliveryEnd {
    DeliveryEnd {
        attempt,
        next,
        disable: None,
        seen: endpoint.updated_at,
    }
}

pub async fn endpoints_are_stored_listed_changed_and_deleted(w: World) {
    let wanted = w.new_endpoint(TENANT, &["post.*"]);
    let first = w.store.create_endpoint(&wanted, 2, &NOTE).await.unwrap().unwrap();
    let failing_since = None;
    assert_eq!(
        first,
        Endpoint {
            id: wanted.id,
            tenant: TENANT,
            url: wanted.url.clone(),
            description: wanted.description.clone(),
            events: wanted.events.clone(),
            secret: wanted.secret.clone(),
            old_secret: None,
            status: EndpointStatus::Enabled { failing_since },
            created_at: w.now(),
            updated_at: w.now(),
        }
    );
    w.advance(SECOND);
    let second = w.store.create_endpoint(&w.new_endpoint(TENANT, &[]), 2, &NOTE).await.unwrap().unwrap();
    assert_eq!(w.store.create_endpoint(&w.new_endpoint(TENANT, &[]), 2, &NOTE).await.unwrap(), None, "no more than two");
    let other = w.other_tenant().await;
    assert!(w.store.create_endpoint(&w.new_endpoint(other, &[]), 2, &NOTE).await.unwrap().is_some());
    let page = w.store.endpoints(TENANT, PageRequest { after: None, limit: 1 }).await.unwrap();
    assert_eq!(page.items, [second]);
    let rest = PageRequest { after: page.next, limit: 1 };
    assert_eq!(w.store.endpoints(TENANT, rest).await.unwrap().items, std::slice::from_ref(&first));
    assert_eq!(reload(&w, &first).await, first);

    w.advance(SECOND);
    let change = EndpointChange {
        url: Some("https://other.example.com/".parse().unwrap()),
        description: Some(None),
        events: Some(EventNames::default()),
        enabled: Some(false),
    };
    let changed = w.store.change_endpoint(TENANT, first.id, &change, &NOTE).await.unwrap().unwrap();
    let disabled = EndpointStatus::Disabled {
        code: "by_tenant".into(),
        at: w.now(),
    };
    assert_eq!(
        changed,
        Endpoint {
            url: change.url.clone().unwrap(),
            description: None,
            events: EventNames::default(),
            status: disabled.clone(),
            updated_at: w.now(),
            ..first.clone()
        }
    );
    w.advance(SECOND);
    let again = EndpointChange {
        enabled: Some(false),
        ..EndpointChange::default()
    };
    let again = w.store.change_endpoint(TENANT, first.id, &again, &NOTE).await.unwrap().unwrap();
    assert_eq!(again.status, disabled, "since it was disabled first");
    let enable = EndpointChange {
        enabled: Some(true),
        ..EndpointChange::default()
    };
    let enabled = w.store.change_endpoint(TENANT, first.id, &enable, &NOTE).await.unwrap().unwrap();
    assert_eq!(enabled.status, EndpointStatus::Enabled { failing_since });

    assert!(w.store.delete_endpoint(TENANT, first.id, &NOTE).await.unwrap());
    assert!(!w.store.delete_endpoint(TENANT, first.id, &NOTE).await.unwrap());
    assert_eq!(w.store.change_endpoint(TENANT, first.id, &enable, &NOTE).await.unwrap(), None);
}

pub async fn a_secret_is_rotated_once_per_version(w: World) {
    let first = endpoint(&w, TENANT, &[]).await;
    let until = w.later(MINUTE);
    let rotated = at_once(4, |index| {
        let (w, id) = (w.clone(), first.id);
        async move {
            let secret = SealedSecret {
                envelope: vec![u8::try_from(index).unwrap()],
                version: 2,
            };
            (secret.clone(), w.store.rotate_secret(TENANT, id, &secret, until, &NOTE).await)
        }
    })
    .await;
    let (won, lost): (Vec<_>, Vec<_>) = rotated.into_iter().partition(|(_, result)| result.is_ok());
    assert_eq!(won.len(), 1);
    for (_, result) in lost {
        assert_stale(result);
    }
    let (secret, result) = &won[0];
    let rotated = result.as_ref().unwrap().clone().unwrap();
    assert_eq!(rotated.secret, *secret);
    assert_eq!(rotated.old_secret, Some((first.secret, until)));
    let unknown = EndpointId::from_uuid(w.id());
    assert_eq!(w.store.rotate_secret(TENANT, unknown, secret, until, &NOTE).await.unwrap(), None);
}

pub async fn an_event_is_stored_with_its_deliveries(w: World) {
    let account = w.account("remote-1").await;
    let own = endpoint(&w, TENANT, &[]).await;
    let all = endpoint(&w, TENANT, &["*"]).await;
    let posts = endpoint(&w, TENANT, &["post.*"]).await;
    let off = endpoint(&w, TENANT, &["*"]).await;
    let disable = EndpointChange {
        enabled: Some(false),
        ..EndpointChange::default()
    };
    w.store.change_endpoint(TENANT, off.id, &disable, &NOTE).await.unwrap();
    let other = endpoint(&w, w.other_tenant().await, &["*"]).await;

    w.store.begin_disconnect(TENANT, account.id, "x", None, &w.event("account.disconnected"), &NOTE).await.unwrap();
    let twice = w.incoming(EventKind::Other, "remote-1");
    w.receive(&[twice.clone(), w.incoming(EventKind::Other, "remote-1"), twice]).await;
    assert_eq!(names(&w, &own).await, ["account.disconnected"]);
    let three = ["account.disconnected", "platform.event", "platform.event"];
    assert_eq!(names(&w, &all).await, three, "each event once");
    assert_eq!(names(&w, &posts).await, [""; 0]);
    assert_eq!(names(&w, &other).await, [""; 0]);
    assert_eq!(names(&w, &off).await, three);
    for delivery in deliveries(&w, &off).await {
        assert_eq!((delivery.status, delivery.finished_at), (DeliveryStatus::Held, Some(w.now())));
    }
    for delivery in deliveries(&w, &all).await {
        assert_eq!((delivery.status, delivery.attempts, delivery.finished_at), (DeliveryStatus::Pending, 0, None));
        let outgoing = w.store.outgoing(TENANT, delivery.id).await.unwrap().unwrap();
        assert_eq!((outgoing.event.id, &outgoing.endpoint), (delivery.event, &all));
        assert_eq!(outgoing.delivery, delivery);
    }

    // Four jobs; those of one endpoint one after another.
    let first = w.claimed(JobKind::Deliver).await;
    let second = w.claimed(JobKind::Deliver).await;
    assert_eq!(w.claim(JobKind::Deliver).await, None);
    let of = async |job: &Job| {
        let id = DeliveryId::from_uuid(job.target);
        w.store.outgoing(TENANT, id).await.unwrap().unwrap().delivery.endpoint
    };
    assert_ne!(of(&first).await, of(&second).await);
    assert_eq!(w.store.job_stats().await.unwrap().running, 2);
}

pub async fn an_attempt_is_noted_with_what_it_says_of_its_endpoint(w: World) {
    let at = endpoint(&w, TENANT, &[]).await;
    let delivery = pushed(&w, &at).await;
    let job = w.claimed(JobKind::Deliver).await;
    assert_eq!(job.target, delivery.id.as_uuid());
    w.advance(SECOND);
    let failed_at = w.now();
    let again = end(&at, Some(refused()), NextDelivery::Again(w.later(MINUTE)));
    w.store.end_delivery(job.lease(), TENANT, delivery.id, &again).await.unwrap();
    assert_stale(w.store.end_delivery(job.lease(), TENANT, delivery.id, &again).await);
    let noted = deliveries(&w, &at).await.remove(0);
    let result = AttemptResult {
        body: Some("no\u{fffd}".into()),
        ..refused()
    };
    let last = Some(Attempt { at: failed_at, result });
    assert_eq!(
        noted,
        Delivery {
            attempts: 1,
            last: last.clone(),
            ..delivery.clone()
        }
    );
    let since = |endpoint: Endpoint| match endpoint.status {
        EndpointStatus::Enabled { failing_since } => failing_since,
        EndpointStatus::Disabled { .. } => panic!("{endpoint:?}"),
    };
    assert_eq!(since(reload(&w, &at).await), Some(failed_at));
    assert_eq!(w.claim(JobKind::Deliver).await, None);

    w.advance(MINUTE);
    let job = w.claimed(JobKind::Deliver).await;
    assert_eq!(job.attempts, 2);
    let later = end(&at, Some(refused()), NextDelivery::Again(w.later(MINUTE)));
    w.store.end_delivery(job.lease(), TENANT, delivery.id, &later).await.unwrap();
    assert_eq!(since(reload(&w, &at).await), Some(failed_at), "since the first failure");
    // A new URL has a clean slate.
    let change = EndpointChange {
        url: Some(at.url.clone()),
        ..EndpointChange::default()
    };
    assert_eq!(since(w.store.change_endpoint(TENANT, at.id, &change, &NOTE).await.unwrap().unwrap()), None);

    w.advance(MINUTE);
    let job = w.claimed(JobKind::Deliver).await;
    let taken = AttemptResult {
        status: Some(204),
        ..AttemptResult::default()
    };
    w.store.end_delivery(job.lease(), TENANT, delivery.id, &end(&at, Some(taken), NextDelivery::Delivered)).await.unwrap();
    let noted = deliveries(&w, &at).await.remove(0);
    assert_eq!((noted.status, noted.attempts, noted.finished_at), (DeliveryStatus::Delivered, 3, Some(w.now())));
    assert_eq!(since(reload(&w, &at).await), None);

    // An attempt that began before a change says nothing of what the endpoint is now.
    let before = reload(&w, &at).await;
    w.advance(SECOND);
    let late = pushed(&w, &at).await;
    let job = w.claimed(JobKind::Deliver).await;
    let url = EndpointChange {
        url: Some("https://elsewhere.example.com/".parse().unwrap()),
        ..EndpointChange::default()
    };
    w.store.change_endpoint(TENANT, at.id, &url, &NOTE).await.unwrap().unwrap();
    let gone = DeliveryEnd {
        disable: Some("gone"),
        ..end(&before, Some(refused()), NextDelivery::Failed)
    };
    w.store.end_delivery(job.lease(), TENANT, late.id, &gone).await.unwrap();
    let at = reload(&w, &at).await;
    assert_eq!(at.status, EndpointStatus::Enabled { failing_since: None });

    let gone = pushed(&w, &at).await;
    let next = pushed(&w, &at).await;
    let job = w.claimed(JobKind::Deliver).await;
    let disable = DeliveryEnd {
        disable: Some("gone"),
        ..end(&at, Some(refused()), NextDelivery::Failed)
    };
    w.store.end_delivery(job.lease(), TENANT, gone.id, &disable).await.unwrap();
    let disabled = EndpointStatus::Disabled {
        code: "gone".into(),
        at: w.now(),
    };
    assert_eq!(reload(&w, &at).await.status, disabled);
    w.advance(SECOND);
    let job = w.claimed(JobKind::Deliver).await;
    w.store.end_delivery(job.lease(), TENANT, next.id, &end(&at, None, NextDelivery::Held)).await.unwrap();
    let held = w.store.outgoing(TENANT, next.id).await.unwrap().unwrap();
    assert_eq!((held.delivery.status, held.delivery.attempts, held.delivery.last), (DeliveryStatus::Held, 0, None));
    assert_eq!(held.endpoint.status, disabled);
    // It is told of once, and by the attempt that turned it off.
    let told = w.store.events(TENANT, &EventFilter::default(), ALL).await.unwrap().items;
    let told: Vec<_> = told.iter().filter(|event| event.name == "webhook_endpoint.disabled").collect();
    let payload = serde_json::json!({ "endpoint_id": at.id, "code": "gone" });
    assert_eq!(told.iter().map(|event| &event.payload).collect::<Vec<_>>(), [&payload]);
}

pub async fn deliveries_are_sent_again_one_or_many(w: World) {
    let at = endpoint(&w, TENANT, &[]).await;
    let elsewhere = endpoint(&w, TENANT, &["post.*"]).await;
    let mut made = Vec::new();
    for next in [NextDelivery::Failed, NextDelivery::Held, NextDelivery::Delivered, NextDelivery::Failed] {
        let delivery = pushed(&w, &at).await;
        let job = w.claimed(JobKind::Deliver).await;
        w.store.end_delivery(job.lease(), TENANT, delivery.id, &end(&at, Some(refused()), next)).await.unwrap();
        made.push(delivery.id);
        w.advance(SECOND);
    }
    let window = async |filter: DeliveryFilter, limit| {
        w.store.redeliver_window(TENANT, at.id, filter, limit, &NOTE).await.unwrap()
    };
    let status = |status| DeliveryFilter {
        status: Some(status),
        ..DeliveryFilter::default()
    };
    assert_eq!(window(status(DeliveryStatus::Delivered), 10).await, 0);
    let early = DeliveryFilter {
        to: Some(w.now() - chrono::TimeDelta::seconds(3)),
        ..status(DeliveryStatus::Failed)
    };
    assert_eq!(window(early, 10).await, 1);
    let job = w.claimed(JobKind::Deliver).await;
    assert_eq!((job.target, job.attempts), (made[0].as_uuid(), 1), "with all its tries");
    assert_eq!(w.claim(JobKind::Deliver).await, None);
    assert_eq!(window(DeliveryFilter::default(), 1).await, 1, "no more than asked for");
    assert_eq!(window(DeliveryFilter::default(), 10).await, 1);
    assert_eq!(window(DeliveryFilter::default(), 10).await, 0);
    let pending = w.store.deliveries(TENANT, at.id, status(DeliveryStatus::Pending), ALL).await.unwrap();
    assert_eq!(pending.items.len(), 3);

    let again = w.store.redeliver(TENANT, at.id, made[2], &NOTE).await.unwrap().unwrap();
    assert_eq!((again.status, again.attempts, again.finished_at), (DeliveryStatus::Pending, 1, None));
    assert_eq!(w.store.redeliver(TENANT, elsewhere.id, made[2], &NOTE).await.unwrap(), None);
    // One that is under way goes once more afterwards.
    w.store.redeliver(TENANT, at.id, made[0], &NOTE).await.unwrap().unwrap();
    let done = end(&at, Some(AttemptResult::default()), NextDelivery::Delivered);
    w.store.end_delivery(job.lease(), TENANT, made[0], &done).await.unwrap();
    let mut left = Vec::new();
    while let Some(job) = w.claim(JobKind::Deliver).await {
        let id = DeliveryId::from_uuid(job.target);
        w.store.end_delivery(job.lease(), TENANT, id, &done).await.unwrap();
        left.push(id);
    }
    left.sort();
    assert_eq!(left, made);
    let delivered = w.store.deliveries(TENANT, at.id, status(DeliveryStatus::Delivered), ALL).await.unwrap();
    assert_eq!(delivered.items.len(), 4);
}

pub async fn ended_deliveries_are_purged_in_bounded_steps(w: World) {
    let at = endpoint(&w, TENANT, &[]).await;
    for next in [NextDelivery::Delivered, NextDelivery::Delivered, NextDelivery::Failed, NextDelivery::Held] {
        let delivery = pushed(&w, &at).await;
        let job = w.claimed(JobKind::Deliver).await;
        w.store.end_delivery(job.lease(), TENANT, delivery.id, &end(&at, Some(refused()), next)).await.unwrap();
    }
    pushed(&w, &at).await;
    let (before, after) = (w.now(), w.later(MINUTE));
    w.advance(MINUTE);
    assert_eq!(w.store.purge_deliveries(before, before, 10).await.unwrap(), 0);
    assert_eq!(w.store.purge_deliveries(after, before, 1).await.unwrap(), 1);
    assert_eq!(w.store.purge_deliveries(after, before, 10).await.unwrap(), 1);
    assert_eq!(w.store.purge_deliveries(before, after, 10).await.unwrap(), 2);
    let left = deliveries(&w, &at).await;
    assert_eq!((left.len(), left[0].status), (1, DeliveryStatus::Pending));
}

pub async fn an_endpoint_that_is_deleted_meanwhile_fails_no_event(w: World) {
    for round in 0..5 {
        let at = endpoint(&w, TENANT, &["*"]).await;
        let outcomes = at_once(8, |index| {
            let w = w.clone();
            let at = at.id;
            async move {
                if index == 0 {
                    w.store.delete_endpoint(TENANT, at, &NOTE).await.map(drop)
                } else {
                    let account = w.new_account(TENANT, &format!("remote-{round}-{index}"));
                    w.connect_as(&account).await.map(drop)
                }
            }
        })
        .await;
        assert!(outcomes.iter().all(Result::is_ok), "{outcomes:?}");
        assert!(!w.store.delete_endpoint(TENANT, at.id, &NOTE).await.unwrap());
    }
    let missing = w.store.push_to(TENANT, EndpointId::from_uuid(w.id()), &w.event("webhook.test")).await;
    assert!(matches!(missing, Ok(None)), "{missing:?}");
    w.advance(Duration::from_secs(1));
    // Jobs of what was deleted find nothing.
    while let Some(job) = w.claim(JobKind::Deliver).await {
        let id = DeliveryId::from_uuid(job.target);
        assert_eq!(w.store.outgoing(TENANT, id).await.unwrap(), None);
        w.store.end_job(job.lease(), &JobEnd::Done).await.unwrap();
    }
}
