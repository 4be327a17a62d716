//! What a child process inherits by `fork()` is not usable: the locks may be held by threads that it does not have. Some
//! of these belong to no registry but to the process (those by which threads wait for locks), so a child of a process
//! that had a registry may not make one either.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};

use pyo3::prelude::*;

use crate::error::HiveRegistryError;

/// How many forks lie between the first process and this one.
static GENERATION: AtomicU32 = AtomicU32::new(0);

/// Whether this process, or one that it comes from, has made a registry.
static MADE: AtomicBool = AtomicBool::new(false);

/// Whether one had been made before this process began.
static INHERITED: AtomicBool = AtomicBool::new(false);

/// Called in the child by `os.register_at_fork`.
#[pyfunction]
#[pyo3(name = "_after_fork_in_child")]
pub(crate) fn after_fork_in_child() {
    GENERATION.fetch_add(1, Ordering::Relaxed);
    INHERITED.store(MADE.load(Ordering::Relaxed), Ordering::Relaxed);
}

/// To be asked before a registry is made.
pub(crate) fn may_make() -> PyResult<()> {
    MADE.store(true, Ordering::Relaxed);
    if INHERITED.load(Ordering::Relaxed) {
        return Err(HiveRegistryError::new_err(
            "this process comes by fork() from one that had a registry, whose locks may be held here for ever: start it \
             with 'spawn' or 'forkserver', or fork before the first registry is made",
        ));
    }
    Ok(())
}

/// Something that only the process that made it may touch. In a child it is neither used nor dropped, for both may
/// take locks.
pub(crate) struct Owned<T> {
    /// Some until the drop.
    value: Option<T>,
    generation: u32,
}

impl<T> Owned<T> {
    pub(crate) fn new(value: T) -> Self {
        Self { value: Some(value), generation: GENERATION.load(Ordering::Relaxed) }
    }

    pub(crate) fn is_ours(&self) -> bool {
        self.generation == GENERATION.load(Ordering::Relaxed)
    }

    pub(crate) fn get(&self) -> PyResult<&T> {
        self.value.as_ref().filter(|_| self.is_ours()).ok_or_else(|| {
            HiveRegistryError::new_err(
                "made before fork(): a child process can neither use it nor make another; start it with 'spawn' or \
                 'forkserver'",
            )
        })
    }
}

/// What a mutex holds, if this process may have it.
pub(crate) fn take<T>(held: &Mutex<Option<Owned<T>>>) -> PyResult<Option<Owned<T>>> {
    let mut held = held.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(owned) = &*held {
        owned.get()?;
    }
    Ok(held.take())
}

/// How a `with` block ends: a child that leaves it by an exception is told of that one.
pub(crate) fn leave(raised: &Bound<'_, PyAny>, ended: PyResult<()>) -> PyResult<()> {
    if raised.is_none() { ended } else { Ok(()) }
}

impl<T> Drop for Owned<T> {
    fn drop(&mut self) {
        if !self.is_ours() {
            std::mem::forget(self.value.take());
        }
    }
}
