//! Where guests go on that compute long: threads behind all others of the host. The kernel gives them what nobody else
//! wants of the CPUs, and a small share where everybody wants them.

use std::{future::Future, io, panic::resume_unwind, pin::Pin};

use tokio::{
    runtime::{Builder, Runtime},
    task::{JoinHandle, JoinSet},
};
use tracing::{Instrument as _, instrument::WithSubscriber as _};

/// How nice these threads are beyond the others. By Linux' weights, a tenth of a CPU is theirs where one other thread wants
/// all of it: enough to come to an end.
#[cfg(target_os = "linux")]
const NICER: i32 = 10;

/// Work that can go on elsewhere.
pub(crate) type Work<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// See the module.
pub(crate) struct Background(Option<Runtime>);

impl Background {
    /// As many threads as there are CPUs.
    ///
    /// # Errors
    /// This machine has no threads for it.
    pub(crate) fn start() -> io::Result<Self> {
        let mut threads = Builder::new_multi_thread();
        threads
            .thread_name("wasm-behind")
            .enable_time()
            .on_thread_start(stand_back);
        threads.build().map(Some).map(Self)
    }

    /// Goes on here with what has begun elsewhere. It is called off when nobody waits for it.
    pub(crate) fn take_over<T: Send + 'static>(&self, work: Work<T>) -> Work<T> {
        let mut taken = JoinSet::new();
        taken.spawn_on(
            work.in_current_span().with_current_subscriber(),
            self.runtime().handle(),
        );
        Box::pin(async move {
            match taken.join_next().await.expect("it was just put in") {
                Ok(done) => done,
                Err(panic) => resume_unwind(panic.into_panic()),
            }
        })
    }

    /// Does work here that has no place to let others go first.
    pub(crate) fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
        self.runtime().spawn_blocking(work)
    }

    fn runtime(&self) -> &Runtime {
        self.0.as_ref().expect("it is taken out by drop alone")
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        // The last who holds the engine may be one of these threads, or a task elsewhere: neither can wait.
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

/// Puts this thread behind the others. On Linux each thread has a priority of its own, which those that it starts inherit:
/// so do the compiler's.
#[cfg(target_os = "linux")]
fn stand_back() {
    static TOLD: std::sync::Once = std::sync::Once::new();
    if let Err(error) = rustix::process::nice(NICER) {
        TOLD.call_once(|| tracing::warn!(%error, "Components that compute long cannot be put behind other work"));
    }
}

#[cfg(not(target_os = "linux"))]
fn stand_back() {}
