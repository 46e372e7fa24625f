//! Where guests go on that compute long, and components are compiled: threads behind all others of the host.

use std::{
    future::{Future, poll_fn},
    io,
    panic::resume_unwind,
    pin::Pin,
    task::Poll,
    time::{Duration, Instant},
};

use tokio::{
    runtime::{Builder, Handle, Runtime},
    task::{JoinHandle, JoinSet},
};
use tracing::{Instrument as _, instrument::WithSubscriber as _};

/// Work that can go on elsewhere.
pub(crate) type Work<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// See the module. Of both kinds there are as many threads as there are CPUs.
pub(crate) struct Background {
    /// They get what nobody else wants of the CPUs, and lose it at once to anybody else: next to nothing where everybody
    /// wants all.
    last: Threads,
    /// They get a small share there, so that what they do comes to an end.
    back: Threads,
}

impl Background {
    /// # Errors
    /// This machine has no threads for it.
    pub(crate) fn start() -> io::Result<Self> {
        Ok(Self {
            last: Threads::start("wasm-last", class::stand_last)?,
            back: Threads::start("wasm-back", class::stand_back)?,
        })
    }

    /// Goes on here with what has begun elsewhere: behind all others first, and if it has not come to its end in `patience`
    /// with a small share. It is called off when nobody waits for it.
    pub(crate) fn take_over<T: Send + 'static>(&self, work: Work<T>, patience: Duration) -> Work<T> {
        let first = on(self.last.handle(), within(patience, work));
        let back = self.back.handle().clone();
        Box::pin(async move {
            match first.await {
                Ok(done) => done,
                Err(work) => on(&back, work).await,
            }
        })
    }

    /// Does work here that has no place to let others go first.
    pub(crate) fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
        self.back.handle().spawn_blocking(work)
    }
}

/// Gives work back that has not ended in time.
async fn within<T>(time: Duration, work: Work<T>) -> Result<T, Work<T>> {
    let until = Instant::now() + time;
    let mut work = Some(work);
    poll_fn(move |cx| {
        let running = work.as_mut().expect("it is polled until it is ready");
        match running.as_mut().poll(cx) {
            Poll::Ready(done) => Poll::Ready(Ok(done)),
            Poll::Pending if Instant::now() < until => Poll::Pending,
            Poll::Pending => Poll::Ready(Err(work.take().expect("it is there"))),
        }
    })
    .await
}

/// Starts work on threads. It is called off when nobody waits for it.
fn on<T: Send + 'static>(threads: &Handle, work: impl Future<Output = T> + Send + 'static) -> Work<T> {
    let mut taken = JoinSet::new();
    taken.spawn_on(work.in_current_span().with_current_subscriber(), threads);
    Box::pin(async move {
        match taken.join_next().await.expect("it was just put in") {
            Ok(done) => done,
            Err(panic) => resume_unwind(panic.into_panic()),
        }
    })
}

struct Threads(Option<Runtime>);

impl Threads {
    fn start(name: &str, class: fn() -> io::Result<()>) -> io::Result<Self> {
        let mut threads = Builder::new_multi_thread();
        threads
            .thread_name(name)
            .enable_time()
            .on_thread_start(move || told(class()));
        threads.build().map(Some).map(Self)
    }

    fn handle(&self) -> &Handle {
        self.0.as_ref().expect("it is taken out by drop alone").handle()
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        // The last who holds the engine may be one of these threads, or a task elsewhere: neither can wait.
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
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

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[tokio::test]
    async fn what_lasts_goes_on_with_a_share() {
        let background = Background::start().unwrap();
        let where_it_runs = async |patience| {
            let here = || thread::current().name().unwrap_or_default().to_owned();
            let work = async move {
                let first = here();
                tokio::task::yield_now().await;
                [first, here()]
            };
            background.take_over(Box::pin(work), patience).await
        };
        assert_eq!(where_it_runs(Duration::from_hours(1)).await, ["wasm-last", "wasm-last"]);
        assert_eq!(where_it_runs(Duration::ZERO).await, ["wasm-last", "wasm-back"]);
    }
}
