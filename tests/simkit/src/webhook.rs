//! The webhook sender: a queue with a delivery log, retries on the movable clock, and misbehaviour on demand.
//!
//! One delivery is sent at a time, in order, so a test that does not ask for disorder sees none. Signing is the
//! platform's: see [`Signer`].

mod log;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use tokio::sync::{Notify, watch};

use log::Log;
pub use log::{Attempt, Delivery, DeliveryState};

use crate::{Clock, lock};

/// Makes the platform's signature headers.
pub trait Signer: Send + Sync + 'static {
    fn headers(&self, body: &str, at: DateTime<Utc>, signing: &Signing) -> Vec<(String, String)>;
}

/// How a delivery is signed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "mode", rename_all = "snake_case")]
pub enum Signing {
    #[default]
    Valid,
    /// The right form with a wrong key.
    Forged,
    /// Rightly signed, but this many seconds ago (negative: in the future).
    Stale {
        seconds: i64,
    },
    /// Signed, then the body was changed on the way.
    Tampered,
    Unsigned,
    /// A second scheme that the platform knows.
    Alternative,
}

/// A message to send.
#[derive(Clone, Debug)]
pub struct Outgoing {
    pub event: String,
    pub body: String,
    pub signing: Signing,
}

/// How the sender behaves. All of it can be changed while it runs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WebhookSettings {
    pub target: Option<String>,
    /// Further copies sent of every delivery.
    pub duplicates: u32,
    /// A retry gets a fresh signature; off keeps the first one.
    pub resign: bool,
    /// Nothing leaves while held.
    pub held: bool,
    pub first_retry_seconds: u32,
    pub max_retry_seconds: u32,
    pub give_up_seconds: u32,
    /// Real time: how long the receiver may take.
    pub timeout_ms: u32,
}

impl Default for WebhookSettings {
    fn default() -> Self {
        Self {
            target: None,
            duplicates: 0,
            resign: true,
            held: false,
            first_retry_seconds: 10,
            max_retry_seconds: 6 * 3600,
            give_up_seconds: 72 * 3600,
            timeout_ms: 10_000,
        }
    }
}

/// In which order held deliveries leave.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReleaseOrder {
    #[default]
    AsQueued,
    Reversed,
}

/// The sender. Clones share one queue.
#[derive(Clone)]
pub struct WebhookSender {
    inner: Arc<Inner>,
}

struct Inner {
    clock: Clock,
    signer: Box<dyn Signer>,
    client: reqwest::Client,
    settings: Mutex<WebhookSettings>,
    log: Mutex<Log>,
    wake: Notify,
    progress: watch::Sender<u64>,
}

impl WebhookSender {
    pub fn new(clock: Clock, signer: impl Signer, client: reqwest::Client, settings: WebhookSettings) -> Self {
        Self {
            inner: Arc::new(Inner {
                clock,
                signer: Box::new(signer),
                client,
                settings: Mutex::new(settings),
                log: Mutex::new(Log::default()),
                wake: Notify::new(),
                progress: watch::Sender::new(0),
            }),
        }
    }

    /// Queues a message with its duplicates. Without a target it is only logged: nobody was subscribed.
    pub fn send(&self, message: &Outgoing) -> u64 {
        let settings = self.settings();
        let now = self.inner.clock.now();
        let id = {
            let mut log = lock(&self.inner.log);
            let id = log.push(message.clone(), now, settings.target.is_some());
            for _ in 0..settings.duplicates {
                log.push(message.clone(), now, settings.target.is_some());
            }
            id
        };
        self.progressed();
        self.inner.wake.notify_one();
        id
    }

    /// Sends a logged message again, as a delivery of its own. `None` when there is no such delivery.
    pub fn redeliver(&self, id: u64) -> Option<u64> {
        let message = lock(&self.inner.log).message(id)?;
        let has_target = self.settings().target.is_some();
        let again = lock(&self.inner.log).push(message, self.inner.clock.now(), has_target);
        self.inner.wake.notify_one();
        Some(again)
    }

    pub fn settings(&self) -> WebhookSettings {
        lock(&self.inner.settings).clone()
    }

    pub fn change(&self, change: impl FnOnce(&mut WebhookSettings)) {
        change(&mut lock(&self.inner.settings));
        self.inner.wake.notify_one();
    }

    /// Lets held deliveries go.
    pub fn release(&self, order: ReleaseOrder) {
        if order == ReleaseOrder::Reversed {
            lock(&self.inner.log).reverse_waiting();
        }
        self.change(|settings| settings.held = false);
    }

    pub fn deliveries(&self) -> Vec<Delivery> {
        lock(&self.inner.log).all()
    }

    /// Wakes after every change of the log.
    pub fn progress(&self) -> watch::Receiver<u64> {
        self.inner.progress.subscribe()
    }

    /// Returns once nothing is due now: all sent, waiting for a later retry, or held.
    pub async fn idle(&self) {
        let mut progress = self.progress();
        while self.next_due().is_some_and(|due| due <= self.inner.clock.now()) {
            if progress.changed().await.is_err() {
                return;
            }
        }
    }

    /// Sends until `stop` turns true. One task per sender.
    pub async fn run(self, mut stop: watch::Receiver<bool>) {
        loop {
            let round = async {
                let held = self.settings().held;
                let due = lock(&self.inner.log).take_due(self.inner.clock.now(), held);
                match due {
                    Some(delivery) => self.attempt(delivery).await,
                    None => self.wait().await,
                }
            };
            tokio::select! {
                _ = stop.wait_for(|stopped| *stopped) => return,
                () = round => {}
            }
        }
    }

    async fn wait(&self) {
        match self.next_due() {
            Some(due) => tokio::select! {
                () = self.inner.clock.sleep_until(due) => {}
                () = self.inner.wake.notified() => {}
            },
            None => self.inner.wake.notified().await,
        }
    }

    fn next_due(&self) -> Option<DateTime<Utc>> {
        if self.settings().held {
            return None;
        }
        lock(&self.inner.log).next_due()
    }

    async fn attempt(&self, delivery: Delivery) {
        let settings = self.settings();
        let at = self.inner.clock.now();
        let headers = match delivery.first_headers.clone().filter(|_| !settings.resign) {
            Some(kept) => kept,
            None => self.inner.signer.headers(&delivery.body, at, &delivery.signing),
        };
        let outcome = match &settings.target {
            Some(target) => self.post(target, &delivery, &headers, &settings).await,
            None => Err("no target".to_owned()),
        };
        let next = at + retry_after(&settings, delivery.attempts.len());
        let gives_up = next - delivery.created_at > TimeDelta::seconds(settings.give_up_seconds.into());
        lock(&self.inner.log).record(
            delivery.id,
            headers,
            Attempt {
                at,
                status: outcome.as_ref().ok().copied(),
                error: outcome.err(),
            },
            (!gives_up).then_some(next),
        );
        self.progressed();
    }

    async fn post(
        &self,
        target: &str,
        delivery: &Delivery,
        headers: &[(String, String)],
        settings: &WebhookSettings,
    ) -> Result<u16, String> {
        let mut request = self
            .inner
            .client
            .post(target)
            .timeout(Duration::from_millis(settings.timeout_ms.into()))
            .header("content-type", "application/json");
        for (name, value) in headers {
            request = request.header(name, value);
        }
        let sent = request.body(delivery.wire_body()).send().await;
        // The URL stays out of the text: a target may carry a secret path.
        sent.map(|answer| answer.status().as_u16())
            .map_err(|error| error.without_url().to_string())
    }

    fn progressed(&self) {
        self.inner.progress.send_modify(|version| *version += 1);
    }
}

/// Doubles from the first pause up to the longest.
fn retry_after(settings: &WebhookSettings, earlier_attempts: usize) -> TimeDelta {
    let doublings = u32::try_from(earlier_attempts).unwrap_or(u32::MAX).min(31);
    let seconds = u64::from(settings.first_retry_seconds.max(1)) << doublings;
    let longest = u64::from(settings.max_retry_seconds);
    TimeDelta::seconds(i64::try_from(seconds.min(longest)).unwrap_or(i64::MAX / 1000))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retries_double_up_to_the_longest_pause() {
        let settings = WebhookSettings::default();
        let pauses: Vec<i64> = (0..4)
            .map(|earlier| retry_after(&settings, earlier).num_seconds())
            .collect();
        assert_eq!(pauses, [10, 20, 40, 80]);
        assert_eq!(retry_after(&settings, 400).num_seconds(), 6 * 3600);
    }
}
