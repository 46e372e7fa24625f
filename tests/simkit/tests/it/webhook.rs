//! The webhook sender against a receiver that refuses, then accepts.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use chrono::{DateTime, Utc};
use patchbay_simkit::webhook::ReleaseOrder;
use patchbay_simkit::{
    Clock, DeliveryState, Outgoing, Signer, Signing, WebhookSender, WebhookSettings, lock, outbound, serve,
};
use tokio::sync::watch;

struct Stamp;

impl Signer for Stamp {
    fn headers(&self, body: &str, at: DateTime<Utc>, signing: &Signing) -> Vec<(String, String)> {
        vec![(
            "x-stamp".to_owned(),
            format!("{signing:?} {} {}", at.timestamp(), body.len()),
        )]
    }
}

#[derive(Clone, Default)]
struct Receiver {
    got: Arc<Mutex<Vec<(String, String)>>>,
    refuse: Arc<Mutex<u32>>,
}

async fn receive(State(receiver): State<Receiver>, headers: HeaderMap, body: String) -> StatusCode {
    let stamp = headers["x-stamp"].to_str().unwrap().to_owned();
    lock(&receiver.got).push((body, stamp));
    let mut refuse = lock(&receiver.refuse);
    if *refuse > 0 {
        *refuse -= 1;
        return StatusCode::ACCEPTED; // not 200, so not accepted
    }
    StatusCode::OK
}

struct World {
    clock: Clock,
    sender: WebhookSender,
    receiver: Receiver,
    _stop: watch::Sender<bool>,
}

async fn world() -> World {
    let (stop, stopped) = watch::channel(false);
    let (listener, address) = serve::bind(([127, 0, 0, 1], 0).into()).await.unwrap();
    let receiver = Receiver::default();
    let router = Router::new().route("/hook", post(receive)).with_state(receiver.clone());
    serve::spawn(listener, router, stopped.clone());
    let clock = Clock::frozen_at(DateTime::from_timestamp(1_790_000_000, 0).unwrap());
    let sender = WebhookSender::new(
        clock.clone(),
        Stamp,
        outbound::client(Duration::from_secs(10)).unwrap(),
        WebhookSettings {
            target: Some(format!("http://{address}/hook")),
            ..WebhookSettings::default()
        },
    );
    tokio::spawn(sender.clone().run(stopped));
    World {
        clock,
        sender,
        receiver,
        _stop: stop,
    }
}

impl World {
    fn send(&self, body: &str) -> u64 {
        self.sender.send(&Outgoing {
            event: "e".to_owned(),
            body: body.to_owned(),
            signing: Signing::Valid,
        })
    }

    fn bodies(&self) -> Vec<String> {
        lock(&self.receiver.got).iter().map(|(body, _)| body.clone()).collect()
    }
}

#[tokio::test]
async fn a_refused_delivery_is_retried_with_a_fresh_signature() {
    let world = world().await;
    *lock(&world.receiver.refuse) = 1;
    world.send("one");
    world.sender.idle().await;
    assert!(matches!(
        world.sender.deliveries()[0].state,
        DeliveryState::Waiting { .. }
    ));
    world.clock.advance(Duration::from_secs(10));
    world.sender.idle().await;
    assert_eq!(world.sender.deliveries()[0].state, DeliveryState::Delivered);
    let got = lock(&world.receiver.got).clone();
    assert_eq!(got.len(), 2);
    assert_ne!(got[0].1, got[1].1);
}

#[tokio::test]
async fn a_kept_signature_stays_the_same_on_retry() {
    let world = world().await;
    world.sender.change(|settings| settings.resign = false);
    *lock(&world.receiver.refuse) = 1;
    world.send("one");
    world.sender.idle().await;
    world.clock.advance(Duration::from_secs(10));
    world.sender.idle().await;
    let got = lock(&world.receiver.got).clone();
    assert_eq!(got[0].1, got[1].1);
}

#[tokio::test]
async fn retries_end_after_three_days() {
    let world = world().await;
    *lock(&world.receiver.refuse) = u32::MAX;
    world.send("one");
    for _ in 0..60 {
        world.sender.idle().await;
        world.clock.advance(Duration::from_secs(2 * 3600));
    }
    world.sender.idle().await;
    let delivery = world.sender.deliveries().remove(0);
    assert_eq!(delivery.state, DeliveryState::GivenUp);
    let last = delivery.attempts.last().unwrap().at;
    assert!(last - delivery.created_at <= chrono::TimeDelta::hours(72));
    assert!(delivery.attempts.len() > 10, "{}", delivery.attempts.len());
}

#[tokio::test]
async fn duplicates_disorder_and_redelivery_come_on_demand() {
    let world = world().await;
    world.sender.change(|settings| {
        settings.duplicates = 1;
        settings.held = true;
    });
    let first = world.send("one");
    world.send("two");
    world.sender.idle().await;
    assert!(world.bodies().is_empty());
    world.sender.release(ReleaseOrder::Reversed);
    world.sender.idle().await;
    assert_eq!(world.bodies(), ["two", "two", "one", "one"]);
    world.sender.redeliver(first).unwrap();
    world.sender.idle().await;
    assert_eq!(world.bodies().len(), 5);
    assert_eq!(world.sender.redeliver(999), None);
}
