//! What a connection is doing, and until when it may: shared by the reader below hyper, the service above it and
//! the task that drives them.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use futures_util::task::AtomicWaker;
use http::StatusCode;
use tokio::time::Instant;

use super::{H2_RESET_WINDOW, Limits};

pub(super) struct Activity {
    state: Mutex<State>,
    driver: AtomicWaker,
}

struct State {
    /// Heads that the reader passed on, and requests that the service received. They meet at `refusal`.
    heads: u64,
    calls: u64,
    refusal: Option<(u64, StatusCode)>,
    /// Requests whose response is not over.
    in_flight: usize,
    /// When there was last nothing in flight.
    quiet_since: Instant,
    /// The first byte of a head that is not whole yet.
    head_since: Option<Instant>,
    /// Responses that wait for the client to read, by request number.
    unread: Vec<(u64, Instant)>,
    resets: u32,
    resets_since: Instant,
    closing_since: Option<Instant>,
    /// The driver is at work, and looks at the deadline before it rests.
    driver_awake: bool,
}

/// One request, from its arrival to the end of its response.
pub(super) struct InFlight {
    activity: Arc<Activity>,
    number: u64,
    answered: bool,
}

/// When to act on a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Deadline {
    None,
    /// Begin to close it at this time.
    Close(Instant),
    /// Drop it at this time.
    Drop(Instant),
    /// The client abuses it: drop it now.
    Abuse,
}

impl Activity {
    /// `first_byte` is when the client first spoke.
    pub(super) fn new(first_byte: Instant) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::new(State {
                heads: 0,
                calls: 0,
                refusal: None,
                in_flight: 0,
                quiet_since: first_byte,
                head_since: Some(first_byte),
                unread: Vec::new(),
                resets: 0,
                resets_since: first_byte,
                closing_since: None,
                driver_awake: false,
            }),
            driver: AtomicWaker::new(),
        })
    }

    /// Wakes the driver when a deadline may have come closer behind its back, from its next look at the deadline on.
    pub(super) fn register(&self, driver: &Waker) {
        self.driver.register(driver);
        self.state().driver_awake = true;
    }

    pub(super) fn head_begun(&self) {
        self.state().head_since.get_or_insert_with(Instant::now);
    }

    pub(super) fn head_passed(&self) {
        let mut state = self.state();
        state.heads += 1;
        state.head_since = None;
    }

    /// The next request that the service sees stands for one that must not be obeyed.
    pub(super) fn head_refused(&self, status: StatusCode) {
        let mut state = self.state();
        state.heads += 1;
        state.head_since = None;
        state.refusal = Some((state.heads, status));
    }

    pub(super) fn closing(&self) {
        self.state().closing_since.get_or_insert_with(Instant::now);
    }

    /// A request reached the service; the status is set when it must be refused.
    pub(super) fn begin(self: &Arc<Self>) -> (InFlight, Option<StatusCode>) {
        let mut state = self.state();
        state.calls += 1;
        state.in_flight += 1;
        state.head_since = None;
        let number = state.calls;
        let refusal = state.refusal.filter(|(at, _)| *at == number).map(|(_, status)| status);
        let request = InFlight {
            activity: self.clone(),
            number,
            answered: false,
        };
        (request, refusal)
    }

    pub(super) fn deadline(&self, limits: &Limits) -> Deadline {
        let mut state = self.state();
        state.driver_awake = false;
        if state.resets > limits.h2_resets {
            return Deadline::Abuse;
        }
        if state.in_flight > 0 {
            let oldest = state.unread.iter().map(|(_, since)| *since).min();
            return oldest.map_or(Deadline::None, |since| Deadline::Drop(since + limits.response_stall));
        }
        if let Some(since) = state.closing_since {
            return Deadline::Drop(since.max(state.quiet_since) + limits.linger);
        }
        Deadline::Close(match state.head_since {
            Some(since) => since.max(state.quiet_since) + limits.headers,
            None => state.quiet_since + limits.idle,
        })
    }

    /// HTTP/1 requests are handled by the driver itself: to be woken then would only cost another round.
    fn wake_driver(&self, state: MutexGuard<'_, State>) {
        let is_awake = state.driver_awake;
        drop(state);
        if !is_awake {
            self.driver.wake();
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl InFlight {
    /// The response exists; from here on a client may leave without being counted as abandoning it.
    pub(super) fn answered(&mut self) {
        self.answered = true;
        self.waits_for_client();
    }

    /// There is something to send, and it is the client's turn.
    pub(super) fn waits_for_client(&self) {
        let mut state = self.activity.state();
        let now = Instant::now();
        match state.unread.iter_mut().find(|(number, _)| *number == self.number) {
            Some((_, since)) => *since = now,
            None => state.unread.push((self.number, now)),
        }
        self.activity.wake_driver(state);
    }

    /// The response has nothing to send at the moment.
    pub(super) fn waits_for_us(&self) {
        self.activity
            .state()
            .unread
            .retain(|(number, _)| *number != self.number);
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        let mut state = self.activity.state();
        let now = Instant::now();
        state.in_flight -= 1;
        state.unread.retain(|(number, _)| *number != self.number);
        if state.in_flight == 0 {
            state.quiet_since = now;
        }
        if !self.answered {
            if now - state.resets_since > H2_RESET_WINDOW {
                (state.resets, state.resets_since) = (0, now);
            }
            state.resets += 1;
        }
        self.activity.wake_driver(state);
    }
}
