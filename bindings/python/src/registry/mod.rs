//! `HiveRegistry`: construction and upkeep here, the rest by what it is about.

mod hives;
mod ingest;
mod scheduling;
mod workers;

use std::sync::Arc;

use hive_registry::{self as hive, HiveId, LivenessClock, StaleMode, WorkerInfo, said};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::PyString;

use crate::clock::ManualClock;
use crate::error::{HiveRegistryError, Refused, guard};
use crate::events::Feed;
use crate::fork::{Owned, may_make};
use crate::number::{number, one_of, refused, seconds, signed_span, size, span, whole};
use crate::python::{list, record};
use crate::snapshot::Snapshot;
use crate::sweeper::Sweeper;
use crate::worker::Worker;

/// A live registry of hives and their workers.
///
/// Any threads may use it at once. Long calls let other threads of Python run; picks and reservations take less time
/// than that would. Nothing is persistent.
///
/// Args:
///     shards: lock-striped shards of each map, a power of two from 2 to 65,536; 128 by default.
///     liveness_window: how long after its last heartbeat a hive counts as live, above 0; 30 s by default.
///     liveness_clock: what counts as the last heartbeat: "reported", its own timestamp, never later than its arrival;
///         or "arrival", which no wrong clock changes.
///     stale_mode: whether workers of hives past the window are picked: "exclude" or "ignore".
///     limits: bounds on what is held.
///     assumed_worker_memory: gigabytes of VRAM and of RAM that a worker counts for when it does not say; (4.0, 2.0) by
///         default.
///     clock: a `ManualClock` to go by, instead of the system's clocks.
///     seed: fixes every random choice.
///     assumed_concurrency: requests at once that a worker is ranked by when it reports no `max_concurrency`, which
///         then does not limit it: at least 1; 16 by default.
///     tie_seed: shuffles the order of workers that are alike in all else, which is that of registration by default:
///         for several registries of one fleet, each with another seed.
///
/// Raises:
///     ConfigError: a setting is out of bounds.
///     HiveRegistryError: this process comes by fork() from one that had a registry: start it with 'spawn' or
///         'forkserver', or fork before the first registry is made.
#[pyclass(frozen, weakref, module = "hive_registry")]
pub(crate) struct HiveRegistry(Owned<hive::HiveRegistry>);

impl HiveRegistry {
    /// A call that takes less time than letting go of the interpreter does.
    fn run<T>(&self, call: impl FnOnce(&hive::HiveRegistry) -> Result<T, Refused>) -> PyResult<T> {
        guard(|| call(self.0.get()?))
    }

    /// A call that may take long: the interpreter is let go.
    fn detached<T: Send>(
        &self,
        py: Python<'_>,
        call: impl FnOnce(&hive::HiveRegistry) -> T + Send,
    ) -> PyResult<T> {
        self.run(|registry| Ok(py.detach(|| call(registry))))
    }
}

/// A worker with the name of its hive.
pub(crate) type Found<'py> = (Bound<'py, PyString>, Worker);

pub(crate) fn found(py: Python<'_>, found: Option<(HiveId, Arc<WorkerInfo>)>) -> Option<Found<'_>> {
    found.map(|(hive_id, worker)| (PyString::new(py, &hive_id), Worker(worker)))
}

#[pymethods]
impl HiveRegistry {
    #[new]
    #[pyo3(signature = (
        *, shards = None, liveness_window = None, liveness_clock = "reported", stale_mode = "exclude", limits = None,
        assumed_worker_memory = None, clock = None, seed = None, assumed_concurrency = None, tie_seed = None,
    ))]
    #[expect(clippy::too_many_arguments, reason = "keyword-only in Python")]
    fn new(
        shards: Option<&Bound<'_, PyAny>>,
        liveness_window: Option<&Bound<'_, PyAny>>,
        liveness_clock: &str,
        stale_mode: &str,
        limits: Option<&Bound<'_, PyAny>>,
        assumed_worker_memory: Option<&Bound<'_, PyAny>>,
        clock: Option<&Bound<'_, ManualClock>>,
        seed: Option<&Bound<'_, PyAny>>,
        assumed_concurrency: Option<&Bound<'_, PyAny>>,
        tie_seed: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Self> {
        may_make()?;
        let mut builder = hive::HiveRegistry::builder()
            .liveness_clock(one_of(
                "liveness_clock",
                liveness_clock,
                &[("reported", LivenessClock::Reported), ("arrival", LivenessClock::Arrival)],
            )?)
            .stale_mode(one_of(
                "stale_mode",
                stale_mode,
                &[("exclude", StaleMode::Exclude), ("ignore", StaleMode::Ignore)],
            )?);
        if let Some(shards) = shards {
            builder = builder.shards(size("shards", shards)?);
        }
        if let Some(window) = liveness_window {
            builder = builder.liveness_window(seconds("liveness_window", window)?);
        }
        if let Some(limits) = limits {
            let field = |name| match limits.getattr(name) {
                Ok(limit) => size(name, &limit),
                Err(_) => {
                    Err(PyTypeError::new_err(said(&format!("limits: {} refused: Limits", limits.repr()?))))
                }
            };
            builder = builder.limits(hive::Limits {
                hives: field("hives")?,
                workers: field("workers")?,
                workers_per_hive: field("workers_per_hive")?,
                devices_per_hive: field("devices_per_hive")?,
                models: field("models")?,
                heartbeat_bytes: field("heartbeat_bytes")?,
            });
        }
        if let Some(memory) = assumed_worker_memory {
            let pair = memory.extract::<(Bound<'_, PyAny>, Bound<'_, PyAny>)>().ok();
            let pair = match pair {
                Some((vram_gb, ram_gb)) => number::<f64>(&vram_gb)?.zip(number::<f64>(&ram_gb)?),
                None => None,
            };
            let (vram_gb, ram_gb) = pair.ok_or_else(|| {
                refused("assumed_worker_memory", memory, "gigabytes of VRAM and of RAM, two numbers")
            })?;
            builder = builder.assumed_worker_memory(vram_gb as f32, ram_gb as f32);
        }
        if let Some(clock) = clock {
            builder = builder.clock(clock.get().share());
        }
        if let Some(seed) = seed {
            builder = builder.seed(whole("seed", seed)?);
        }
        if let Some(requests) = assumed_concurrency {
            let fits = number(requests)?;
            let fits = fits.ok_or_else(|| refused("assumed_concurrency", requests, "from 1 to 2**32 - 1"))?;
            builder = builder.assumed_concurrency(fits);
        }
        if let Some(seed) = tie_seed {
            builder = builder.tie_seed(whole("tie_seed", seed)?);
        }
        guard(|| Ok(Self(Owned::new(builder.build()?))))
    }

    /// Removes hives not heard for `max_age`. O(hives).
    ///
    /// At most 15 % of a fleet of 8 or more at once, and none while over half of it is silent (for at most 5 minutes):
    /// then the fault is more likely at this end.
    fn evict_stale<'py>(&self, py: Python<'py>, max_age: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        let max_age = seconds("max_age", max_age)?;
        let done = self.detached(py, |registry| registry.evict_stale(max_age))?;
        record(py, "Eviction", (done.hives, done.held, done.remaining))
    }

    /// Evicts from time to time on a thread of its own, while the registry and the sweeper exist.
    fn spawn_sweeper(&self, every: &Bound<'_, PyAny>, max_age: &Bound<'_, PyAny>) -> PyResult<Sweeper> {
        let (every, max_age) = (seconds("every", every)?, seconds("max_age", max_age)?);
        self.run(|registry| {
            let sweeper = registry.spawn_sweeper(every, max_age);
            Ok(Sweeper::new(sweeper.map_err(|error| HiveRegistryError::new_err(error.to_string()))?))
        })
    }

    /// The events from now on.
    ///
    /// Args:
    ///     capacity: how many events a reader may be behind; 1,024 by default.
    ///     timeout: iterating ends when none came for so long; by default it waits for ever.
    #[pyo3(signature = (capacity = None, timeout = None))]
    fn subscribe<'py>(
        &self,
        py: Python<'py>,
        capacity: Option<&Bound<'py, PyAny>>,
        timeout: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let capacity = capacity.map_or(Ok(DEFAULT_CAPACITY), |capacity| size("capacity", capacity))?;
        let timeout = timeout.map(|timeout| seconds("timeout", timeout)).transpose()?;
        let feed = self.run(|registry| Ok(Feed::new(registry.subscribe(capacity))))?;
        record(py, "Subscription", (feed, timeout.map(|timeout| timeout.as_secs_f64())))
    }

    /// What the registry has done. O(hives).
    fn stats<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let stats = self.detached(py, hive::HiveRegistry::stats)?;
        let counts = stats.heartbeats;
        let counts = record(
            py,
            "HeartbeatCounts",
            (counts.registered, counts.updated, counts.superseded, counts.removed, counts.refused),
        )?;
        let hives = list(py, stats.hives, |hive| hive_stats(py, &hive))?.to_tuple();
        record(
            py,
            "Stats",
            (
                counts,
                stats.picks,
                stats.misses,
                stats.reservations_open,
                stats.events_dropped,
                stats.evictions,
                stats.holds,
                hives,
            ),
        )
    }

    /// How regularly one hive beats.
    fn hive_stats<'py>(&self, py: Python<'py>, hive_id: &str) -> PyResult<Option<Bound<'py, PyAny>>> {
        let stats = self.run(|registry| Ok(registry.hive_stats(hive_id)))?;
        stats.map(|stats| hive_stats(py, &stats)).transpose()
    }

    /// A copy of everything, as tables. O(workers).
    fn snapshot(&self, py: Python<'_>) -> PyResult<Snapshot> {
        Ok(Snapshot::new(self.detached(py, hive::HiveRegistry::snapshot)?))
    }

    fn __repr__(&self) -> PyResult<String> {
        self.run(|registry| {
            Ok(format!(
                "<HiveRegistry: {} hives, {} workers>",
                registry.hive_count(),
                registry.total_worker_count()
            ))
        })
    }

    fn _repr_html_(&self, py: Python<'_>) -> PyResult<String> {
        let snapshot = self.snapshot(py)?;
        Ok(format!("{}{}", snapshot.heading(), snapshot.hives(py)?.get().html()?))
    }
}

/// Events that a reader may be behind.
const DEFAULT_CAPACITY: usize = 1_024;

fn hive_stats<'py>(py: Python<'py>, stats: &hive::HiveStats) -> PyResult<Bound<'py, PyAny>> {
    record(
        py,
        "HiveStats",
        (
            &*stats.hive_id,
            stats.heartbeats,
            span(stats.mean_interval),
            span(stats.jitter),
            span(stats.longest_gap),
            stats.workers_added,
            stats.workers_removed,
            signed_span(stats.clock_skew_ms),
            stats.complaints,
            stats.last_complaint.as_deref(),
            stats.refusals,
            stats.last_refusal.as_deref(),
        ),
    )
}
