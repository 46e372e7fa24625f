//! Memory that someone looks into. Tests learn by it what a guest has held at the end of each call; a host that serves has
//! no observer.

use std::{ptr, slice, sync::Arc};

use wasmtime::{Config, InstanceAllocationStrategy, LinearMemory, MemoryCreator, MemoryType};

use crate::limits::Limits;

/// Is shown the memory of each instance as the call has left it.
pub trait Observer: Send + Sync + 'static {
    /// A call has ended. All that the guest could still read is here.
    fn ended(&self, memory: &[u8]);
}

/// Takes memories from [`Watched`] and not from the pool. They have no guard pages, so compiled code compares every address.
pub(crate) fn configure(config: &mut Config, limits: &Limits, observer: Arc<dyn Observer>) {
    config
        .allocation_strategy(InstanceAllocationStrategy::OnDemand)
        .memory_init_cow(false)
        .memory_reservation(0)
        .memory_guard_size(0)
        .with_host_memory(Arc::new(Watching {
            most: limits.memory_bytes,
            observer,
        }));
}

struct Watching {
    most: usize,
    observer: Arc<dyn Observer>,
}

// SAFETY: each memory is an allocation of its own, filled with zeroes.
#[allow(unsafe_code)]
unsafe impl MemoryCreator for Watching {
    fn new_memory(
        &self,
        _of: MemoryType,
        minimum: usize,
        maximum: Option<usize>,
        reserved: Option<usize>,
        guard: usize,
    ) -> Result<Box<dyn LinearMemory>, String> {
        let capacity = maximum.map_or(self.most, |maximum| maximum.min(self.most));
        if minimum > capacity || guard > 0 || reserved.is_some_and(|reserved| reserved > capacity) {
            return Err(format!(
                "no memory of {minimum} bytes, {reserved:?} reserved and {guard} behind it"
            ));
        }
        Ok(Box::new(Watched {
            base: Box::into_raw(vec![0_u8; capacity].into_boxed_slice()).cast(),
            capacity,
            size: minimum,
            observer: self.observer.clone(),
        }))
    }
}

struct Watched {
    base: *mut u8,
    capacity: usize,
    size: usize,
    observer: Arc<dyn Observer>,
}

// SAFETY: the allocation is this memory's own, and whoever holds the memory decides who reads and writes it.
#[allow(unsafe_code)]
unsafe impl Send for Watched {}
// SAFETY: as above.
#[allow(unsafe_code)]
unsafe impl Sync for Watched {}

// SAFETY: `capacity` bytes stand at `base` for as long as this lives, and `size` is never more.
#[allow(unsafe_code)]
unsafe impl LinearMemory for Watched {
    fn byte_size(&self) -> usize {
        self.size
    }

    fn byte_capacity(&self) -> usize {
        self.capacity
    }

    fn grow_to(&mut self, size: usize) -> wasmtime::Result<()> {
        if size > self.capacity {
            return Err(crate::state::Limit::Memory.into());
        }
        self.size = size;
        Ok(())
    }

    fn as_ptr(&self) -> *mut u8 {
        self.base
    }
}

#[allow(unsafe_code)]
impl Drop for Watched {
    fn drop(&mut self) {
        // SAFETY: the instance is gone, so nothing else reads or writes the first `size` of `capacity` bytes.
        self.observer
            .ended(unsafe { slice::from_raw_parts(self.base, self.size) });
        // SAFETY: made by `Box::into_raw` of a slice of this length, and given back once.
        drop(unsafe { Box::from_raw(ptr::slice_from_raw_parts_mut(self.base, self.capacity)) });
    }
}
