//! Tells loops that wait for work that there may be some, kind by kind, within this process. The store holds it, and calls
//! whenever it has committed a job that is due.

use futures_util::future::select_all;
use tokio::sync::Notify;

use crate::model::JobKind;

/// One for each kind of [`JobKind::ALL`].
#[derive(Debug, Default)]
pub struct Wakes([Notify; JobKind::ALL.len()]);

impl Wakes {
    fn of(&self, kind: JobKind) -> &Notify {
        &self.0[kind as usize]
    }

    /// There may be a job of this kind: one loop is to look for it. If it finds one it calls the next, so a hundred jobs
    /// call as many loops as there are, and one job only two.
    pub fn wake(&self, kind: JobKind) {
        self.of(kind).notify_one();
    }

    /// Ends when one of these kinds is woken; a call that came before counts, unless another loop has followed it.
    pub async fn woken(&self, kinds: &[JobKind]) {
        let calls = kinds.iter().map(|kind| Box::pin(self.of(*kind).notified()));
        select_all(calls).await;
    }
}

#[cfg(test)]
mod tests {
    use std::{pin::pin, time::Duration};

    use tokio::time::timeout;

    use super::*;

    const AT_ONCE: Duration = Duration::ZERO;

    #[tokio::test]
    async fn a_call_is_kept_until_one_loop_of_its_kind_follows_it() {
        let wakes = Wakes::default();
        wakes.wake(JobKind::Revoke);
        wakes.wake(JobKind::Revoke);
        assert!(timeout(AT_ONCE, wakes.woken(&[JobKind::Deliver])).await.is_err());
        let lane = [JobKind::Refresh, JobKind::Revoke, JobKind::Erase];
        assert!(timeout(AT_ONCE, wakes.woken(&lane)).await.is_ok());
        assert!(
            timeout(AT_ONCE, wakes.woken(&lane)).await.is_err(),
            "both said the same"
        );
    }

    #[tokio::test]
    async fn of_two_kinds_none_is_lost() {
        let wakes = Wakes::default();
        wakes.wake(JobKind::Refresh);
        wakes.wake(JobKind::Erase);
        let lane = [JobKind::Refresh, JobKind::Erase];
        for _ in 0..2 {
            assert!(timeout(AT_ONCE, wakes.woken(&lane)).await.is_ok());
        }
        let mut idle = pin!(wakes.woken(&lane));
        assert!(timeout(AT_ONCE, &mut idle).await.is_err());
        wakes.wake(JobKind::Erase);
        assert!(timeout(AT_ONCE, idle).await.is_ok());
    }
}
