//! A caller that goes away at any moment: a client that hangs up, a worker that is killed.

use std::{
    future::{Future, poll_fn},
    pin::pin,
    task::Poll,
};

/// Runs something for so many polls, and then drops it where it stands. `None` if it was dropped.
pub async fn cut_off<T>(work: impl Future<Output = T>, polls: usize) -> Option<T> {
    let mut work = pin!(work);
    let mut left = polls;
    poll_fn(|cx| {
        if left == 0 {
            return Poll::Ready(None);
        }
        left -= 1;
        work.as_mut().poll(cx).map(Some)
    })
    .await
}
