//! The points with the feature on. The crate `fail` keeps the list of armed ones; the meaning of a call for a post is
//! read off its effect and body, so that no platform is named.

use std::{
    collections::HashMap,
    future::poll_fn,
    pin::pin,
    process::Command,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    task::Poll,
    thread,
    time::Duration,
};

use patchbay_core::{Body, Effect, PostId, TransportError};

use crate::store::StoreError;

/// What can be armed: the table of the module, without `wh.parse`.
const POINTS: [&str; 31] = [
    "oa.consumed",
    "oa.exchanged",
    "oa.stored",
    "ref.leased",
    "ref.sent",
    "ref.received",
    "ref.journaled",
    "ref.stored",
    "wh.verified",
    "wh.inserted",
    "wh.committed",
    "wh.claimed",
    "wh.effect",
    "wh.done",
    "pub.intent",
    "pub.reserved",
    "pub.init_marked",
    "pub.init_sent",
    "pub.init_received",
    "pub.init_recorded",
    "pub.chunk_sent",
    "pub.chunk_recorded",
    "pub.last_sent",
    "pub.last_recorded",
    "pub.status_received",
    "pub.final",
    "pub.notified",
    "dlv.answered",
    "imp.deleted",
    "upl.noted",
    "upl.completed",
];
/// How long a call is under way before its point is reached, unless it ends before.
const UNDER_WAY: Duration = Duration::from_millis(20);
/// What a body must hold to have an action done while it is read.
const POISON: &str = "patchbay-poison:";
/// What the poison `alloc` takes.
const ALLOCATION: usize = 1 << 30;

/// The last call of each post that changed something.
static LAST: Mutex<Option<HashMap<PostId, Kind>>> = Mutex::new(None);

/// Arms points. See the table above for the grammar.
///
/// # Errors
/// What is wrong with the list.
pub fn arm(list: &str) -> Result<(), String> {
    for entry in list.split(';').map(str::trim).filter(|entry| !entry.is_empty()) {
        let wrong = |what: &str| format!("{entry:?}: {what}. Write POINT=ACTION or POINT=ACTION@N");
        let (point, action) = entry.split_once('=').ok_or_else(|| wrong("there is no `=`"))?;
        if !POINTS.contains(&point) {
            return Err(wrong("there is no such point"));
        }
        let (action, number) = action.split_once('@').unwrap_or((action, "1"));
        let number: u64 = number.parse().map_err(|_| wrong("the number is none"))?;
        let before = number.checked_sub(1).ok_or_else(|| wrong("numbers begin at 1"))?;
        let chain = |action: &str| match before {
            0 => format!("1*{action}->off"),
            before => format!("{before}*off->1*{action}->off"),
        };
        match action {
            "abort" => fail::cfg_callback(point, nth(number, std::process::abort)),
            "stop" => fail::cfg_callback(point, nth(number, stop)),
            "panic" => fail::cfg(point, &chain("panic")),
            "error" => fail::cfg(point, &chain("return")),
            sleep if sleep.starts_with("sleep(") => fail::cfg(point, &chain(sleep)),
            _ => return Err(wrong("the action is not known")),
        }
        .map_err(|error| wrong(&error))?;
    }
    Ok(())
}

/// Does `action` at the n-th call.
fn nth<T>(number: u64, action: impl Fn() -> T + Send + Sync + 'static) -> impl Fn() + Send + Sync + 'static {
    let reached = AtomicU64::new(0);
    move || {
        if reached.fetch_add(1, Ordering::Relaxed) + 1 == number {
            action();
        }
    }
}

/// Halts this process, as an operator's SIGSTOP would.
fn stop() {
    let stop = format!("kill -STOP {}", std::process::id());
    let done = Command::new("sh").args(["-c", &stop]).status();
    assert!(
        done.is_ok_and(|status| status.success()),
        "the process cannot stop itself"
    );
}

/// A point is reached.
pub fn hit(point: &'static str) {
    is_lost(point);
}

/// A point is reached, and says whether an answer is to be taken for lost.
fn is_lost(point: &'static str) -> bool {
    fail::eval(point, |_| ()).is_some()
}

/// An answer of the database has come, at a point where it can be lost.
///
/// # Errors
/// The point is armed with `error`.
pub fn answered(point: &'static str) -> Result<(), StoreError> {
    if is_lost(point) {
        return Err(StoreError::Unavailable(point.into()));
    }
    Ok(())
}

/// Reaches a point while `call` is under way.
pub async fn under_way<F: Future>(point: &'static str, call: F) -> F::Output {
    let mut call = pin!(call);
    // The first poll hands it over.
    let at_once = match poll_fn(|context| Poll::Ready(call.as_mut().poll(context))).await {
        Poll::Ready(output) => Some(output),
        Poll::Pending => tokio::time::timeout(UNDER_WAY, &mut call).await.ok(),
    };
    hit(point);
    match at_once {
        Some(output) => output,
        None => call.await,
    }
}

/// A webhook is about to be read. A body with `patchbay-poison:` and `panic`, `abort`, `loop` or `alloc` does that.
pub fn parse(body: &[u8]) {
    let text = String::from_utf8_lossy(body);
    let Some((_, poison)) = text.split_once(POISON) else {
        return;
    };
    if poison.starts_with("panic") {
        panic!("poisoned webhook");
    } else if poison.starts_with("abort") {
        std::process::abort();
    } else if poison.starts_with("loop") {
        // Holds its thread for ever, and spares the processor for whoever is measured beside it.
        loop {
            thread::sleep(Duration::from_secs(1));
        }
    } else if poison.starts_with("alloc") {
        // Not zeros: those would never be given real memory.
        drop(std::hint::black_box(vec![1_u8; ALLOCATION]));
    }
}

/// A step of a post is recorded.
pub fn recorded(post: PostId) {
    let kind = last_calls().get_or_insert_default().remove(&post);
    match kind {
        Some(Kind::Opening) => hit("pub.init_recorded"),
        Some(Kind::Part) => hit("pub.chunk_recorded"),
        Some(Kind::Last) => hit("pub.last_recorded"),
        Some(Kind::Look) | None => {}
    }
}

fn last_calls() -> MutexGuard<'static, Option<HashMap<PostId, Kind>>> {
    LAST.lock().unwrap_or_else(PoisonError::into_inner)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Changes something and carries no file.
    Opening,
    /// Carries a part of a file, and is no commit.
    Part,
    /// A commit that carries a part of a file.
    Last,
    /// Only looks.
    Look,
}

/// A call to a platform, by what it does for a post.
#[derive(Clone, Copy)]
pub struct Call {
    post: Option<PostId>,
    effect: Effect,
    kind: Kind,
}

impl Call {
    /// The call, with the post whose step makes it, if one does.
    #[must_use]
    pub fn of(post: Option<PostId>, effect: Effect, body: &Body) -> Self {
        let carries_file = matches!(body, Body::Media { .. });
        let kind = match (effect, carries_file) {
            (Effect::Observe, _) => Kind::Look,
            (Effect::Prepare | Effect::Commit, false) => Kind::Opening,
            (Effect::Prepare, true) => Kind::Part,
            (Effect::Commit, true) => Kind::Last,
        };
        Self { post, effect, kind }
    }

    /// It may leave.
    pub fn marked(self) {
        if self.post.is_some() && self.kind == Kind::Opening {
            hit("pub.init_marked");
        }
    }

    /// It is under way.
    pub async fn under_way<F: Future>(self, call: F) -> F::Output {
        let point = match (self.post, self.kind) {
            (None, _) | (_, Kind::Look) => return call.await,
            (_, Kind::Opening) => "pub.init_sent",
            (_, Kind::Part) => "pub.chunk_sent",
            (_, Kind::Last) => "pub.last_sent",
        };
        under_way(point, call).await
    }

    /// Its answer has come.
    ///
    /// # Errors
    /// The point is armed with `error`.
    pub fn received(self) -> Result<(), TransportError> {
        let Some(post) = self.post else { return Ok(()) };
        if self.kind != Kind::Look {
            last_calls().get_or_insert_default().insert(post, self.kind);
        }
        let lost = match self.kind {
            Kind::Opening => is_lost("pub.init_received"),
            Kind::Look => is_lost("pub.status_received"),
            Kind::Part | Kind::Last => false,
        };
        if lost {
            return Err(TransportError::Lost {
                effect: self.effect,
                reason: "a failpoint".to_owned(),
            });
        }
        Ok(())
    }
}
