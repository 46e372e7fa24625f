//! How many lines all calls of one component may log in a second.

use std::sync::{Mutex, PoisonError};

use tokio::time::{Duration, Instant};

pub(crate) struct LogRate {
    most: u32,
    window: Mutex<Option<(Instant, u32)>>,
}

impl LogRate {
    pub(crate) fn new(most: u32) -> Self {
        Self {
            most,
            window: Mutex::new(None),
        }
    }

    /// Whether a line may be written now.
    pub(crate) fn take(&self) -> bool {
        let now = Instant::now();
        let mut window = self.window.lock().unwrap_or_else(PoisonError::into_inner);
        let (began, used) = match *window {
            Some((began, used)) if now.duration_since(began) < Duration::from_secs(1) => (began, used),
            _ => (now, 0),
        };
        *window = Some((began, used.saturating_add(1)));
        used < self.most
    }
}
