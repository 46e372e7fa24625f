//! Named places where a test makes this process fail. Without the feature `failpoints`, which no release has, every
//! function here is empty and no name of a point is in the program.
//!
//! `PATCHBAY_FAILPOINTS="pub.init_sent=abort@3;ref.stored=stop"` arms points when the process starts: at the third time
//! that the first one is reached the process ends, and so on; without a number, at the first time. Actions: `abort` ends
//! the process, `stop` halts it until it gets SIGCONT, `panic` panics, `sleep(MS)` blocks the thread, `error` says that
//! an answer was lost (at the points marked with !). An armed point acts once.
//!
//! | point | reached when |
//! |---|---|
//! | `oa.consumed` | the flow of a callback is used up, and nothing is exchanged |
//! | `oa.exchanged` | the platform has given tokens, and nothing is stored |
//! | `oa.stored` | account and tokens are stored, and the browser knows nothing |
//! | `ref.leased` | the right to renew is taken |
//! | `ref.sent` | the call that renews is under way |
//! | `ref.received` | its answer is there, and stands nowhere |
//! | `ref.journaled` | the new tokens are in the journal |
//! | `ref.stored` ! | the new tokens are in the database |
//! | `wh.verified` | a webhook is genuine, and nothing is stored |
//! | `wh.inserted` | the commit of webhooks is under way |
//! | `wh.committed` ! | it has ended, and nobody is answered |
//! | `wh.claimed` | a worker has claimed webhooks |
//! | `wh.parse` | a webhook is read: decided by its body, see [`parse`], not by the environment |
//! | `wh.effect` | the commit of what webhooks mean is under way |
//! | `wh.done` | it has ended |
//! | `pub.intent` | a post and its job are stored, and the client knows nothing |
//! | `pub.reserved` | a step of a post has tokens and its places in the quotas |
//! | `pub.init_marked` | a call that changes something and carries no file may leave: for a commit, *about to* is written |
//! | `pub.init_sent` | that call is under way |
//! | `pub.init_received` ! | its answer is there, and stands nowhere |
//! | `pub.init_recorded` | the step that made it is recorded |
//! | `pub.chunk_sent` | a call that carries a part of a file, and is no commit, is under way |
//! | `pub.chunk_recorded` | the step that made it is recorded |
//! | `pub.last_sent` | a commit that carries a part of a file is under way |
//! | `pub.last_recorded` | the step that made it is recorded |
//! | `pub.status_received` ! | a call that looks was answered, in a step of a post |
//! | `pub.final` | a post is about to leave its open states |
//! | `pub.notified` | it has, and the event is stored with it |
//! | `dlv.answered` | a receiver has answered, and nothing is recorded |
//! | `upl.noted` | bytes of an upload are durable, and noted |
//! | `imp.deleted` | the bytes of an import that has failed are gone, and nothing knows why |
//! | `upl.completed` | all bytes of an upload are a file, and nothing knows it |
//!
//! *Under way* means: handed over, and at most 20 ms later, while nobody here has looked at an answer.

#[cfg(feature = "failpoints")]
mod armed;

#[cfg(feature = "failpoints")]
pub use armed::{Call, answered, arm, hit, parse, recorded, under_way};

#[cfg(not(feature = "failpoints"))]
pub use empty::{Call, answered, hit, parse, recorded, under_way};

#[cfg(not(feature = "failpoints"))]
mod empty {
    use patchbay_core::{Body, Effect, PostId, TransportError};

    use crate::store::StoreError;

    /// A point is reached.
    #[inline(always)]
    pub fn hit(_: &'static str) {}

    /// An answer of the database has come, at a point where it can be lost.
    ///
    /// # Errors
    /// Never, without the feature.
    #[inline(always)]
    pub fn answered(_: &'static str) -> Result<(), StoreError> {
        Ok(())
    }

    /// Reaches a point while `call` is under way.
    #[inline(always)]
    pub fn under_way<F: Future>(_: &'static str, call: F) -> F {
        call
    }

    /// A webhook is about to be read.
    #[inline(always)]
    pub fn parse(_: &[u8]) {}

    /// A step of a post is recorded.
    #[inline(always)]
    pub fn recorded(_: PostId) {}

    /// A call to a platform, by what it does for a post.
    #[derive(Clone, Copy)]
    pub struct Call;

    impl Call {
        /// The call of a post's step, if it is one.
        #[inline(always)]
        #[must_use]
        pub fn of(_: Option<PostId>, _: Effect, _: &Body) -> Self {
            Self
        }

        /// It may leave.
        #[inline(always)]
        pub fn marked(self) {}

        /// It is under way.
        #[inline(always)]
        pub fn under_way<F: Future>(self, call: F) -> F {
            call
        }

        /// Its answer has come.
        ///
        /// # Errors
        /// Never, without the feature.
        #[inline(always)]
        pub fn received(self) -> Result<(), TransportError> {
            Ok(())
        }
    }
}
