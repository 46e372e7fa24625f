//! What a guest's instance carries, and what it may ask of the host: HTTP and log lines.

use std::{fmt, sync::Arc, time::Duration};

use patchbay_core::{HttpRequest, HttpResponse, TransportError};
use tokio::sync::{Notify, mpsc, oneshot};
use tracing::{debug, error, info, warn};
use wasmtime::{Result, UpdateDeadline};

use crate::{
    bindings::patchbay::provider::{http, log, types},
    cross::Cross,
    limits::{FRONT_TICKS, FULL_SPEED_TICKS, INLINE_TICKS, Limits},
    log_rate::LogRate,
};

/// A limit that a call ran into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Limit {
    Cpu,
    Memory,
    Table,
    HttpCalls,
}

impl std::error::Error for Limit {}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Cpu => "used more CPU time than a call may",
            Self::Memory => "asked for more memory than a call may have",
            Self::Table => "asked for a larger table than a call may have",
            Self::HttpCalls => "called the platform more often than a call may",
        })
    }
}

/// A request on its way to the transport of the call.
pub(crate) struct Ask {
    pub(crate) request: HttpRequest,
    pub(crate) answer: oneshot::Sender<Result<HttpResponse, TransportError>>,
}

/// See the module.
pub(crate) struct State {
    name: Arc<str>,
    /// The call's transport, unless it may not call the platform.
    asks: Option<mpsc::Sender<Ask>>,
    /// Who is told when it computes long. Nobody, if the call cannot be waited for.
    long: Option<Arc<Notify>>,
    ticks: u64,
    most_ticks: u64,
    pause: Duration,
    http_left: u32,
    lines_left: u32,
    /// What is left, of all memories and tables together.
    memory_bytes: usize,
    table_elements: usize,
    line_bytes: usize,
    rate: Arc<LogRate>,
}

impl State {
    pub(crate) fn new(name: Arc<str>, rate: Arc<LogRate>, limits: &Limits, long: Option<Arc<Notify>>) -> Self {
        let most_ticks = match long {
            None => INLINE_TICKS,
            Some(_) => limits.cpu_ticks(),
        };
        Self {
            name,
            asks: None,
            long,
            ticks: 0,
            most_ticks,
            pause: limits.pause(),
            http_left: limits.http_calls,
            lines_left: limits.log_lines,
            memory_bytes: limits.memory_bytes,
            table_elements: limits.table_elements,
            line_bytes: limits.log_line_bytes,
            rate,
        }
    }

    pub(crate) fn allow_http(&mut self, asks: mpsc::Sender<Ask>) {
        self.asks = Some(asks);
    }

    /// The guest was found running at a tick. It lets go of its thread, of which it is taken when this happens again; and
    /// after a while it pauses too.
    pub(crate) fn tick(&mut self) -> Result<UpdateDeadline> {
        self.ticks += 1;
        if self.ticks >= self.most_ticks {
            return Err(Limit::Cpu.into());
        }
        let Some(long) = &self.long else {
            return Ok(UpdateDeadline::Continue(1));
        };
        if self.ticks == FRONT_TICKS {
            long.notify_one();
        }
        Ok(if self.ticks < FULL_SPEED_TICKS {
            UpdateDeadline::YieldCustom(1, Box::pin(tokio::task::yield_now()))
        } else {
            UpdateDeadline::YieldCustom(1, Box::pin(tokio::time::sleep(self.pause)))
        })
    }
}

impl wasmtime::ResourceLimiter for State {
    fn memory_growing(&mut self, current: usize, desired: usize, _maximum: Option<usize>) -> Result<bool> {
        let more = desired.saturating_sub(current);
        self.memory_bytes = self.memory_bytes.checked_sub(more).ok_or(Limit::Memory)?;
        Ok(true)
    }

    fn table_growing(&mut self, current: usize, desired: usize, _maximum: Option<usize>) -> Result<bool> {
        let more = desired.saturating_sub(current);
        self.table_elements = self.table_elements.checked_sub(more).ok_or(Limit::Table)?;
        Ok(true)
    }
}

impl types::Host for State {}

impl http::Host for State {
    async fn send(
        &mut self,
        request: types::HttpRequest,
    ) -> Result<Result<types::HttpResponse, types::TransportError>> {
        self.http_left = self.http_left.checked_sub(1).ok_or(Limit::HttpCalls)?;
        let blocked = |why: &str| Ok(Err(types::TransportError::Blocked(why.to_owned())));
        let Some(asks) = &self.asks else {
            return blocked("this call may not reach the platform");
        };
        let request = match request.cross() {
            Ok(request) => request,
            Err(error) => return blocked(&format!("the request holds something that is {error}")),
        };
        let (answer, answered) = oneshot::channel();
        asks.send(Ask { request, answer }).await?;
        Ok(match answered.await? {
            Ok(response) => Ok(response.cross()?),
            Err(error) => Err(error.cross()?),
        })
    }
}

impl log::Host for State {
    async fn write(&mut self, level: log::Level, message: String) -> Result<()> {
        let provider = &*self.name;
        let Some(left) = self.lines_left.checked_sub(1) else {
            return Ok(());
        };
        if !self.rate.take() {
            return Ok(());
        }
        self.lines_left = left;
        let line = &message[..message.floor_char_boundary(self.line_bytes)];
        match level {
            log::Level::Debug => debug!(provider, "{line}"),
            log::Level::Info => info!(provider, "{line}"),
            log::Level::Warn => warn!(provider, "{line}"),
            log::Level::Error => error!(provider, "{line}"),
        }
        if left == 0 {
            warn!(
                provider,
                "A component has written as many lines as one call may; its further ones are dropped"
            );
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use wasmtime::ResourceLimiter as _;

    use super::*;

    #[test]
    fn all_memories_of_a_call_are_one_limit() {
        const MIB: usize = 1 << 20;
        let limits = Limits {
            memory_bytes: 4 * MIB,
            ..Limits::default()
        };
        let mut state = State::new("x".into(), Arc::new(LogRate::new(1)), &limits, None);
        let mut grow = |from: usize, to: usize| state.memory_growing(from * MIB, to * MIB, None);
        assert!(grow(0, 1).unwrap(), "the first");
        assert!(grow(0, 1).unwrap(), "the second");
        assert!(grow(1, 3).unwrap(), "the first again");
        let refused = grow(1, 2).unwrap_err();
        assert_eq!(refused.downcast_ref(), Some(&Limit::Memory));
    }
}
