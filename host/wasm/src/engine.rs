//! The engine that all components share: how code is made, where instances live, and the clock that stops them.

use std::{
    sync::{Arc, Condvar, Mutex, PoisonError},
    thread,
};

use patchbay_core::{ErrorKind, ProviderError};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use wasmtime::{Config, Enabled, InstanceAllocationStrategy, PoolingAllocationConfig, component::Linker};

use crate::{
    background::Background,
    bindings,
    cache::Cache,
    limits::{Limits, TICK},
    observe::{self, Observer},
    state::State,
};

/// Calls that may not wait take their instances from these when all others are used.
const INLINE_INSTANCES: u32 = 16;
/// Core instances that one component is made of: its own modules and the adapters around and between them.
const CORE_INSTANCES: u32 = 32;
/// Memories and tables of one component. It may be made of several: the tools of some languages put one between theirs
/// and WASI.
const MEMORIES: u32 = 4;
const TABLES: u32 = 4;
/// Memory that an instance keeps for the next one, so that it need not be asked for again.
const KEEP_RESIDENT: usize = 2 << 20;
/// Stack of a guest.
const WASM_STACK: usize = 512 << 10;

/// Runs components.
#[derive(Clone)]
pub struct Engine(pub(crate) Arc<Shared>);

pub(crate) struct Shared {
    pub(crate) engine: wasmtime::Engine,
    pub(crate) linker: Linker<State>,
    pub(crate) limits: Limits,
    pub(crate) cache: Option<Cache>,
    pub(crate) background: Background,
    places: Arc<Semaphore>,
    ticker: Arc<Ticker>,
}

impl Engine {
    /// An engine. Compiled code is kept in `cache`, if there is one.
    ///
    /// # Errors
    /// This machine cannot run it.
    pub fn new(limits: Limits, cache: Option<Cache>) -> Result<Self, EngineError> {
        Self::of(&config(&limits), limits, cache)
    }

    /// The same with an observer. It is slow, and for tests.
    ///
    /// # Errors
    /// As above.
    pub fn observed(limits: Limits, cache: Option<Cache>, observer: Arc<dyn Observer>) -> Result<Self, EngineError> {
        let mut config = config(&limits);
        observe::configure(&mut config, &limits, observer);
        Self::of(&config, limits, cache)
    }

    fn of(config: &Config, limits: Limits, cache: Option<Cache>) -> Result<Self, EngineError> {
        let engine = wasmtime::Engine::new(config).map_err(EngineError::of)?;
        let mut linker = Linker::new(&engine);
        bindings::Provider::add_to_linker::<_, wasmtime::component::HasSelf<State>>(&mut linker, |state| state)
            .map_err(EngineError::of)?;
        let threads = |error: std::io::Error| EngineError(error.to_string());
        let background = Background::start().map_err(threads)?;
        let ticker = Arc::new(Ticker::default());
        Ticker::start(ticker.clone(), engine.clone()).map_err(threads)?;
        Ok(Self(Arc::new(Shared {
            background,
            places: Arc::new(Semaphore::new(limits.calls as usize)),
            engine,
            linker,
            limits,
            cache,
            ticker,
        })))
    }

    /// The limits.
    #[must_use]
    pub fn limits(&self) -> &Limits {
        &self.0.limits
    }
}

impl Shared {
    /// A place for a call, when one is free.
    pub(crate) async fn enter(self: &Arc<Self>) -> Result<Entered, ProviderError> {
        let place = self
            .places
            .clone()
            .acquire_owned()
            .await
            .map_err(|_| ProviderError::new(ErrorKind::Retryable, "component_stopped", "the engine is closed"))?;
        Ok(self.entered(Some(place)))
    }

    /// For a call that cannot wait.
    pub(crate) fn enter_inline(self: &Arc<Self>) -> Entered {
        self.entered(self.places.clone().try_acquire_owned().ok())
    }

    fn entered(self: &Arc<Self>, place: Option<OwnedSemaphorePermit>) -> Entered {
        self.ticker.change(|running| running + 1);
        Entered {
            shared: self.clone(),
            _place: place,
        }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.ticker.change(|_| Ticker::ENDED);
    }
}

/// A call that runs.
pub(crate) struct Entered {
    shared: Arc<Shared>,
    _place: Option<OwnedSemaphorePermit>,
}

impl Drop for Entered {
    fn drop(&mut self) {
        self.shared.ticker.change(|running| running - 1);
    }
}

/// Moves the epoch on while calls run. A thread of its own, because guests may hold all others.
#[derive(Default)]
struct Ticker {
    running: Mutex<usize>,
    changed: Condvar,
}

impl Ticker {
    const ENDED: usize = usize::MAX;

    fn change(&self, to: impl FnOnce(usize) -> usize) {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        let before = *running;
        *running = to(before);
        if before == 0 || *running == Self::ENDED {
            self.changed.notify_all();
        }
    }

    fn start(ticker: Arc<Self>, engine: wasmtime::Engine) -> std::io::Result<()> {
        let tick = move || {
            loop {
                let running = ticker.running.lock().unwrap_or_else(PoisonError::into_inner);
                let idle = |running: &mut usize| *running == 0;
                let running = ticker.changed.wait_while(running, idle);
                if *running.unwrap_or_else(PoisonError::into_inner) == Self::ENDED {
                    return;
                }
                thread::sleep(TICK);
                engine.increment_epoch();
            }
        };
        thread::Builder::new().name("wasm-ticker".to_owned()).spawn(tick)?;
        Ok(())
    }
}

fn config(limits: &Limits) -> Config {
    let instances = limits.calls + INLINE_INSTANCES;
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(instances)
        .total_core_instances(instances * CORE_INSTANCES)
        .total_memories(instances * MEMORIES)
        .total_tables(instances * TABLES)
        .total_stacks(instances)
        .max_core_instances_per_component(CORE_INSTANCES)
        .max_memories_per_component(MEMORIES)
        .max_tables_per_component(TABLES)
        .max_memory_size(limits.memory_bytes)
        .table_elements(limits.table_elements)
        .linear_memory_keep_resident(KEEP_RESIDENT)
        .table_keep_resident(KEEP_RESIDENT)
        // Of what is kept, only pages that were written are cleared, where the kernel tells them (Linux 6.7).
        .pagemap_scan(Enabled::Auto);
    let mut config = Config::new();
    config
        .allocation_strategy(InstanceAllocationStrategy::Pooling(pool))
        .epoch_interruption(true)
        .memory_init_cow(true)
        .max_wasm_stack(WASM_STACK)
        // For the adapters between the components that one is made of.
        .wasm_multi_memory(true)
        .wasm_memory64(false);
    config
}

/// No engine can be made here.
#[derive(Debug, thiserror::Error)]
#[error("WebAssembly cannot run here: {0}")]
pub struct EngineError(String);

impl EngineError {
    #[allow(clippy::needless_pass_by_value)]
    fn of(error: wasmtime::Error) -> Self {
        Self(format!("{error:#}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is set aside for instances is addresses, which end as well.
    #[tokio::test]
    async fn there_is_an_engine_for_the_most_calls_and_memory() {
        let limits = Limits {
            calls: 4_096,
            memory_bytes: 1 << 30,
            ..Limits::default()
        };
        assert!(Engine::new(limits, None).is_ok());
    }
}
