//! `hive_registry._core`: the registry for Python.
//!
//! The doc comments here are the docstrings of `help()`, and `make stubs` writes them into
//! `python/hive_registry/_core.pyi`, where editors and type checkers read them.
//!
//! **Waiting with the interpreter held.** What may take long (ingesting, scans, snapshots, waiting for events) lets the
//! interpreter go. A pick or a reservation takes less time than letting go does, so it keeps it; it may wait for a
//! lock of the registry, whose holder never waits for the interpreter: no Python runs under a lock.

mod arrow;
mod clock;
mod containers;
mod error;
mod events;
mod fault;
mod fields;
mod fork;
mod heartbeat;
mod html;
mod number;
mod order;
mod pickle;
mod policy;
mod python;
mod registry;
mod reservation;
mod snapshot;
mod state;
mod sweeper;
mod walk;
mod worker;

use pyo3::prelude::*;

/// What `hive_registry` exports from Rust.
#[pymodule(gil_used = false)]
mod _core {
    use pyo3::prelude::*;

    #[pymodule_export]
    use super::clock::ManualClock;
    #[pymodule_export]
    use super::events::{Feed, stop_waking, woken};
    #[pymodule_export]
    use super::fork::after_fork_in_child;
    #[pymodule_export]
    use super::policy::{LeastLoaded, PowerOfChoices, Random, RoundRobin};
    #[pymodule_export]
    use super::registry::HiveRegistry;
    #[pymodule_export]
    use super::reservation::{Model, Reservation};
    #[pymodule_export]
    use super::snapshot::{Snapshot, Table, unpickle_snapshot, unpickle_table};
    #[pymodule_export]
    use super::state::{HiveState, unpickle_hive_state};
    #[pymodule_export]
    use super::sweeper::Sweeper;
    #[pymodule_export]
    use super::worker::{Candidate, Worker, unpickle_worker};

    /// For the test of the guard: no panic is known that a caller could provoke.
    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        if cfg!(debug_assertions) {
            module.setattr("_panic", wrap_pyfunction!(super::error::panic, module)?)?;
        }
        Ok(())
    }
}
