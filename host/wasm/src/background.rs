//! Where guests go on that compute long, and components are compiled: threads behind all others of the host.

use std::{future::Future, io, panic::resume_unwind, pin::Pin, thread};

use tokio::{
    runtime::{Builder, Runtime},
    sync::oneshot,
    task::JoinSet,
};
use tracing::{Instrument as _, instrument::WithSubscriber as _};

/// Work that can go on elsewhere.
pub(crate) type Work<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// Threads of the lowest class. The kernel gives them what nobody else wants of the CPUs, at once takes it away again for
/// anybody else, and leaves them next to nothing where everybody wants all.
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
            .on_thread_start(|| told(class::stand_last()));
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

/// Does work that has no place to let others go first, on a thread of its own. It has a deadline, so its share is a small
/// one, but never nothing. If it panics, nobody answers.
///
/// # Errors
/// This machine has no thread for it.
pub(crate) fn run<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> io::Result<oneshot::Receiver<T>> {
    let (answer, answered) = oneshot::channel();
    thread::Builder::new().name("wasm-compile".to_owned()).spawn(move || {
        told(class::stand_back());
        // Whoever asked may have given up.
        answer.send(work()).ok();
    })?;
    Ok(answered)
}

fn told(done: io::Result<()>) {
    static TOLD: std::sync::Once = std::sync::Once::new();
    if let Err(error) = done {
        TOLD.call_once(|| tracing::warn!(%error, "Components that compute long cannot be put behind other work"));
    }
}

/// On Linux each thread has a class and a priority of its own, which those that it starts inherit: so do the compiler's.
#[cfg(target_os = "linux")]
mod class {
    use std::io;

    /// How nice a thread is beyond the others. By Linux' weights, a tenth of a CPU is its share where one other thread
    /// wants all of it.
    const NICER: i32 = 10;

    /// Puts this thread behind the others.
    pub(super) fn stand_back() -> io::Result<()> {
        rustix::process::nice(NICER)?;
        Ok(())
    }

    /// Puts this thread behind all others. A nice one alone keeps its CPU until the kernel's next tick, up to 4 ms, while
    /// another wakes up there.
    #[allow(unsafe_code)]
    pub(super) fn stand_last() -> io::Result<()> {
        stand_back()?;
        let of_no_account = libc::sched_param { sched_priority: 0 };
        // SAFETY: it reads the parameters during the call, and 0 is this thread.
        match unsafe { libc::sched_setscheduler(0, libc::SCHED_IDLE, &raw const of_no_account) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod class {
    pub(super) fn stand_back() -> std::io::Result<()> {
        Ok(())
    }

    pub(super) use stand_back as stand_last;
}
