//! Places in the windows of the platform's limits, for one call: taken before it is sent, let go a window's length after
//! its answer. Arrival at the platform lies between the two, so no window there ever holds more than the limit.

use std::time::Duration;

use patchbay_core::{Bucket, HttpResponse, Op, SlotId, TenantId, TransportError};
use tokio::time::Instant;
use tracing::warn;

use super::Outbound;
use crate::{
    limits,
    store::{SlotRequest, TakenSlot, Waiter, Window},
};

/// A call leaves at most this long after its places were taken: they are held for longer than that and the call.
const STALL: Duration = Duration::from_secs(10);

/// A place taken in a rate bucket.
pub(super) struct Held {
    tenant: TenantId,
    id: SlotId,
    window: Duration,
    asked: Instant,
}

/// Whether a call may still be sent. A process that stood still for long must not: its places may be others' by now.
pub(super) fn check_fresh(places: &[Held]) -> Result<(), TransportError> {
    if places.iter().any(|place| place.asked.elapsed() > STALL) {
        return Err(TransportError::NotSent(
            "too long since a place was taken: this process stood still".to_owned(),
        ));
    }
    Ok(())
}

impl Outbound<'_> {
    /// Takes a place in every bucket of the row. On a full one, gives back what was taken.
    pub(super) async fn take_places(&self, op: &Op) -> Result<Vec<Held>, TransportError> {
        let mut taken = Vec::new();
        for (bucket, window) in self.windows(op) {
            let asked = Instant::now();
            let request = SlotRequest {
                id: SlotId::from_uuid(self.app.env.ids.next()),
                window,
                hold: STALL + op.timeout + bucket.window,
                post: None,
                waiter: self.waiter(),
            };
            let refused = match request.waiter {
                Some(_) => None,
                None => self.app.front.ask(self.registered.id(), bucket, &request.window),
            };
            let answer = match refused {
                Some(full) => Ok(full),
                None => self.app.store.take_slot(&request).await,
            };
            let error = match answer {
                Ok(TakenSlot::Taken { id, .. }) => {
                    taken.push(Held {
                        tenant: request.window.tenant,
                        id,
                        window: bucket.window,
                        asked,
                    });
                    continue;
                }
                Ok(TakenSlot::Full { free_at }) => {
                    self.count_hit("slot", bucket.name);
                    TransportError::NoSlot {
                        bucket: bucket.name.to_owned(),
                        wait: (free_at - self.app.env.now()).to_std().unwrap_or_default(),
                    }
                }
                Err(error) => TransportError::NotSent(format!("no rate slot could be taken: {error}")),
            };
            self.give_back(&taken).await;
            return Err(error);
        }
        Ok(taken)
    }

    /// Gives places back unused.
    pub(super) async fn give_back(&self, places: &[Held]) {
        for place in places {
            self.settle(place, Duration::ZERO).await;
        }
    }

    /// Lets places go, a window's length from now.
    pub(super) async fn let_go(&self, places: &[Held]) {
        for place in places {
            self.settle(place, place.window).await;
        }
    }

    /// The platform says that there were too many calls, whatever is counted here: no replica makes one of this sort
    /// until it wants them again.
    pub(super) async fn obey(&self, op: &Op, answer: &HttpResponse) {
        if answer.status != 429 {
            return;
        }
        self.count_hit("platform", op.name);
        for (bucket, window) in self.windows(op) {
            // Without a word on how long: after a whole window the calls before it no longer count.
            let length = answer.retry_after().unwrap_or(bucket.window);
            if let Err(error) = self.app.store.pause_window(&window, length).await {
                warn!(%error, bucket = bucket.name, "A platform's wish to be left alone could not be noted");
            }
        }
    }

    fn windows(&self, op: &Op) -> Vec<(&Bucket, Window)> {
        let manifest = self.registered.manifest();
        let account = self.account.map(|account| (account.tenant, account.id));
        op.buckets
            .iter()
            .filter_map(|name| {
                let bucket = manifest.bucket(name).expect("the manifest was checked at start");
                Some((bucket, limits::bucket_window(self.registered, account, bucket)?))
            })
            .collect()
    }

    fn waiter(&self) -> Option<Waiter> {
        let tenant = self.account?.tenant;
        self.post.map(|post| Waiter { tenant, post })
    }

    async fn settle(&self, place: &Held, after: Duration) {
        if let Err(error) = self.app.store.settle_slot(place.tenant, place.id, after).await {
            // The hold is longer than any call, so an unsettled place only frees later.
            warn!(%error, slot = %place.id, "A rate slot could not be settled and frees by itself later");
        }
    }

    fn count_hit(&self, source: &'static str, bucket: &'static str) {
        metrics::counter!("patchbay_rate_limit_hits_total",
            "provider" => self.registered.id().to_string(), "source" => source, "bucket" => bucket)
        .increment(1);
    }
}
