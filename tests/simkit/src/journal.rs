//! The call journal: every request that arrived, in order, with the answer it got.
//!
//! Tokens appear as fingerprints and queries not at all, so a journal can be shown and stored. The oldest
//! calls are forgotten past a bound; `forgotten` says how many.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;

use crate::lock;

const MAX_CALLS: usize = 100_000;

/// One request. `status` is empty while it runs, and stays so when the connection was cut.
#[derive(Clone, Debug, Serialize)]
pub struct Call {
    pub seq: u64,
    pub at: DateTime<Utc>,
    pub host: String,
    pub method: String,
    pub path: String,
    pub op: String,
    pub token: Option<String>,
    pub account: Option<String>,
    pub status: Option<u16>,
    /// The platform's own code in the answer, e.g. `ok`.
    pub code: Option<String>,
    /// Names of the fault rules that struck.
    pub faults: Vec<String>,
    pub cut: bool,
}

/// All calls. Clones share them.
#[derive(Clone, Default)]
pub struct Journal {
    inner: Arc<Mutex<Inner>>,
}

#[derive(Default)]
struct Inner {
    calls: VecDeque<Call>,
    next: u64,
}

impl Journal {
    /// Notes an arrival and returns its number.
    pub fn begin(&self, mut call: Call) -> u64 {
        let mut inner = lock(&self.inner);
        call.seq = inner.next;
        inner.next += 1;
        if inner.calls.len() == MAX_CALLS {
            inner.calls.pop_front();
        }
        inner.calls.push_back(call);
        inner.next - 1
    }

    /// Notes how the call ended: a status, or a cut connection.
    pub fn finish(&self, seq: u64, status: Option<u16>, code: Option<String>) {
        let mut inner = lock(&self.inner);
        let Some(first) = inner.calls.front().map(|call| call.seq) else {
            return;
        };
        let at = seq.checked_sub(first).and_then(|index| usize::try_from(index).ok());
        if let Some(call) = at.and_then(|at| inner.calls.get_mut(at)) {
            call.status = status;
            call.code = code;
            call.cut = status.is_none();
        }
    }

    pub fn calls(&self) -> Vec<Call> {
        lock(&self.inner).calls.iter().cloned().collect()
    }

    pub fn forgotten(&self) -> u64 {
        let inner = lock(&self.inner);
        inner.next - inner.calls.len() as u64
    }

    /// How many calls match.
    pub fn count(&self, wanted: impl Fn(&Call) -> bool) -> usize {
        lock(&self.inner).calls.iter().filter(|call| wanted(call)).count()
    }

    /// The largest number of matching calls inside any window of that length.
    pub fn max_in_window(&self, window: TimeDelta, wanted: impl Fn(&Call) -> bool) -> usize {
        let mut times: Vec<_> = lock(&self.inner)
            .calls
            .iter()
            .filter(|call| wanted(call))
            .map(|call| call.at)
            .collect();
        times.sort_unstable();
        busiest(&times, window)
    }

    /// Per operation and token: all calls, and the most inside any 60 seconds.
    pub fn load(&self) -> Vec<TokenLoad> {
        let mut times: BTreeMap<(String, Option<String>), Vec<DateTime<Utc>>> = BTreeMap::new();
        for call in &lock(&self.inner).calls {
            times
                .entry((call.op.clone(), call.token.clone()))
                .or_default()
                .push(call.at);
        }
        times
            .into_iter()
            .map(|((op, token), mut times)| {
                times.sort_unstable();
                TokenLoad {
                    op,
                    token,
                    calls: times.len(),
                    max_in_60s: busiest(&times, TimeDelta::seconds(60)),
                }
            })
            .collect()
    }
}

/// Calls of one token at one operation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TokenLoad {
    pub op: String,
    pub token: Option<String>,
    pub calls: usize,
    pub max_in_60s: usize,
}

/// `times` is sorted. A window holds its start and not its end, as the platform's sliding window does.
fn busiest(times: &[DateTime<Utc>], window: TimeDelta) -> usize {
    let mut start = 0;
    let mut most = 0;
    for (end, time) in times.iter().enumerate() {
        while *time - times[start] >= window {
            start += 1;
        }
        most = most.max(end + 1 - start);
    }
    most
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(second: i64, op: &str) -> Call {
        Call {
            seq: 0,
            at: DateTime::from_timestamp(1_790_000_000 + second, 0).expect("a valid instant"),
            host: "api".to_owned(),
            method: "POST".to_owned(),
            path: "/".to_owned(),
            op: op.to_owned(),
            token: Some("abc".to_owned()),
            account: None,
            status: None,
            code: None,
            faults: Vec::new(),
            cut: false,
        }
    }

    #[test]
    fn the_busiest_minute_slides() {
        let journal = Journal::default();
        for second in [0, 30, 59, 60, 61, 200] {
            journal.begin(call(second, "init"));
        }
        journal.begin(call(59, "other"));
        assert_eq!(
            journal.max_in_window(TimeDelta::seconds(60), |call| call.op == "init"),
            4 // 30, 59, 60, 61
        );
        assert_eq!(journal.load()[0].calls, 6);
    }

    #[test]
    fn a_call_without_an_answer_is_seen_as_cut() {
        let journal = Journal::default();
        let lost = journal.begin(call(0, "init"));
        let fine = journal.begin(call(1, "init"));
        journal.finish(lost, None, None);
        journal.finish(fine, Some(200), Some("ok".to_owned()));
        let calls = journal.calls();
        assert!(calls[0].cut && calls[0].status.is_none());
        assert_eq!(calls[1].code.as_deref(), Some("ok"));
    }
}
