//! A thread that evicts.

use std::mem::MaybeUninit;
use std::time::Duration;

use hive_registry::Sweeper as Thread;

use crate::registry::{Registry, on};
use crate::status::{Failure, Status, guard_drop};
use crate::text::out;

/// Evicts silent hives from time to time until it is freed.
pub struct Sweeper {
    /// Ends on drop.
    _thread: Thread,
}

/// Starts a thread that calls `hive_registry_evict_stale` every `every_ms` (at least 1), until the sweeper is freed or
/// the registry ends.
///
/// Errors: HIVE_SYSTEM if the system refuses the thread.
#[unsafe(no_mangle)]
pub extern "C" fn hive_registry_spawn_sweeper(
    registry: Option<&Registry>,
    every_ms: u64,
    max_age_ms: u64,
    out_sweeper: Option<&mut MaybeUninit<Box<Sweeper>>>,
) -> Status {
    on(registry, |registry| {
        let out = out("out_sweeper", out_sweeper)?;
        let (every, max_age) = (Duration::from_millis(every_ms), Duration::from_millis(max_age_ms));
        let thread = registry
            .spawn_sweeper(every, max_age)
            .map_err(|error| Failure::new(Status::HIVE_SYSTEM, format!("the sweeper's thread: {error}")))?;
        out.write(Box::new(Sweeper { _thread: thread }));
        Ok(Status::HIVE_OK)
    })
}

/// Stops the thread and waits for it. NULL does nothing.
#[unsafe(no_mangle)]
pub extern "C" fn hive_sweeper_free(sweeper: Option<Box<Sweeper>>) {
    guard_drop(sweeper);
}
