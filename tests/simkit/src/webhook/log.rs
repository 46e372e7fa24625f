//! The delivery log: what waits, what was sent, and how each attempt went.

use std::collections::VecDeque;

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::{Outgoing, Signing};

/// Past this many, finished deliveries are forgotten, oldest first; waiting ones too if all wait.
const MAX_DELIVERIES: usize = 10_000;

/// One message on its way to the receiver.
#[derive(Clone, Debug, Serialize)]
pub struct Delivery {
    pub id: u64,
    pub event: String,
    pub body: String,
    pub signing: Signing,
    pub created_at: DateTime<Utc>,
    pub state: DeliveryState,
    pub attempts: Vec<Attempt>,
    #[serde(skip)]
    pub(super) first_headers: Option<Vec<(String, String)>>,
    #[serde(skip)]
    order: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "is", rename_all = "snake_case")]
pub enum DeliveryState {
    Waiting {
        next_at: DateTime<Utc>,
    },
    Delivered,
    /// Retries ran out.
    GivenUp,
    /// No receiver was configured when the event happened.
    NoTarget,
}

#[derive(Clone, Debug, Serialize)]
pub struct Attempt {
    pub at: DateTime<Utc>,
    pub status: Option<u16>,
    pub error: Option<String>,
}

impl Delivery {
    /// The bytes to send; a tampered delivery differs from what was signed.
    pub(super) fn wire_body(&self) -> String {
        match self.signing {
            Signing::Tampered => format!("{} ", self.body),
            Signing::Valid | Signing::Forged | Signing::Stale { .. } | Signing::Unsigned | Signing::Alternative => {
                self.body.clone()
            }
        }
    }

    fn due(&self) -> Option<DateTime<Utc>> {
        match self.state {
            DeliveryState::Waiting { next_at } => Some(next_at),
            DeliveryState::Delivered | DeliveryState::GivenUp | DeliveryState::NoTarget => None,
        }
    }
}

#[derive(Default)]
pub(super) struct Log {
    deliveries: VecDeque<Delivery>,
    next: u64,
}

impl Log {
    pub(super) fn push(&mut self, message: Outgoing, now: DateTime<Utc>, has_target: bool) -> u64 {
        if self.deliveries.len() >= MAX_DELIVERIES {
            let victim = self.deliveries.iter().position(|d| d.due().is_none());
            self.deliveries.remove(victim.unwrap_or(0));
        }
        let id = self.next;
        self.next += 1;
        self.deliveries.push_back(Delivery {
            id,
            event: message.event,
            body: message.body,
            signing: message.signing,
            created_at: now,
            state: if has_target {
                DeliveryState::Waiting { next_at: now }
            } else {
                DeliveryState::NoTarget
            },
            attempts: Vec::new(),
            first_headers: None,
            order: id,
        });
        id
    }

    pub(super) fn all(&self) -> Vec<Delivery> {
        self.deliveries.iter().cloned().collect()
    }

    pub(super) fn message(&self, id: u64) -> Option<Outgoing> {
        let delivery = self.deliveries.iter().find(|d| d.id == id)?;
        Some(Outgoing {
            event: delivery.event.clone(),
            body: delivery.body.clone(),
            signing: delivery.signing.clone(),
        })
    }

    pub(super) fn next_due(&self) -> Option<DateTime<Utc>> {
        self.deliveries.iter().filter_map(Delivery::due).min()
    }

    /// The next delivery to attempt; it stays waiting until its attempt is recorded.
    pub(super) fn take_due(&self, now: DateTime<Utc>, held: bool) -> Option<Delivery> {
        if held {
            return None;
        }
        self.deliveries
            .iter()
            .filter(|d| d.due().is_some_and(|due| due <= now))
            .min_by_key(|d| d.order)
            .cloned()
    }

    /// 200 alone is success: "anything else = failed" for the platforms we know.
    pub(super) fn record(
        &mut self,
        id: u64,
        headers: Vec<(String, String)>,
        attempt: Attempt,
        retry_at: Option<DateTime<Utc>>,
    ) {
        let Some(delivery) = self.deliveries.iter_mut().find(|d| d.id == id) else {
            return;
        };
        delivery.state = match (attempt.status, retry_at) {
            (Some(200), _) => DeliveryState::Delivered,
            (_, Some(next_at)) => DeliveryState::Waiting { next_at },
            (_, None) => DeliveryState::GivenUp,
        };
        delivery.first_headers.get_or_insert(headers);
        delivery.attempts.push(attempt);
    }

    pub(super) fn reverse_waiting(&mut self) {
        let waiting: Vec<u64> = self
            .deliveries
            .iter()
            .filter(|d| d.due().is_some())
            .map(|d| d.order)
            .collect();
        let mut reversed = waiting.into_iter().rev();
        for delivery in self.deliveries.iter_mut().filter(|d| d.due().is_some()) {
            if let Some(order) = reversed.next() {
                delivery.order = order;
            }
        }
    }
}
