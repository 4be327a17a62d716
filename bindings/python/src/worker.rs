//! A worker as it was last told.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use hive_registry::{ProcessStats, WorkerInfo};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};

use crate::number::moment;
use crate::pickle::{Reduced, read, reduce};
use crate::python::{equal, record};

/// A worker as one heartbeat told it: immutable, shared with the registry, compared by its fields.
///
/// It can be pickled, and does not change when the registry does: ask again for news.
#[pyclass(frozen, subclass, module = "hive_registry")]
pub(crate) struct Worker(pub(crate) Arc<WorkerInfo>);

/// A worker that a policy may choose: the worker, and what the registry counts.
#[pyclass(frozen, extends = Worker, module = "hive_registry")]
pub(crate) struct Candidate {
    /// Less is better. An order, not a measure: to be compared with that of others, and nothing else.
    #[pyo3(get)]
    load: u64,
    /// Reservations it holds.
    #[pyo3(get)]
    reservations: u32,
    /// Its place among those that are alike: the least is the one reserved least recently.
    ///
    /// Before it come those never reserved, in the order of registration. No two are alike.
    #[pyo3(get)]
    turn: u64,
}

impl Candidate {
    pub(crate) fn new(py: Python<'_>, candidate: hive_registry::Candidate) -> PyResult<Py<Self>> {
        let (load, reservations, turn) = (candidate.load, candidate.reservations, candidate.turn());
        let base = PyClassInitializer::from(Worker(candidate.worker));
        Py::new(py, base.add_subclass(Self { load, reservations, turn }))
    }
}

/// The fields, each once: getters and `asdict()`.
macro_rules! fields {
    ($($(#[doc = $doc:literal])+ $name:ident: $type:ty = |$worker:ident| $value:expr;)*) => {
        #[pymethods]
        impl Worker {
            $(
                $(#[doc = $doc])+
                #[getter]
                fn $name(&self) -> $type {
                    let $worker = &*self.0;
                    $value
                }
            )*

            /// Its fields by their names; not `vram_free_bytes`, which follows from two of them.
            fn asdict<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
                let dict = PyDict::new(py);
                $(dict.set_item(stringify!($name), self.$name())?;)*
                dict.set_item("process", self.process(py)?)?;
                Ok(dict)
            }
        }
    };
}

fields! {
    /// The hive it runs on.
    hive_id: &str = |worker| &worker.hive_id;
    /// Its name on the hive.
    worker_id: &str = |worker| &worker.worker_id;
    /// A word: "Idle", "Busy", "Loading", "Draining" or another.
    state: &str = |worker| worker.state.as_str();
    /// When its hive last heard from it.
    last_heartbeat: DateTime<Utc> = |worker| moment(worker.last_heartbeat.timestamp_micros());
    /// A word: "healthy", "degraded", "unhealthy" or another.
    health_status: &str = |worker| worker.health_status.as_str();
    /// Where it takes requests.
    url: Option<&str> = |worker| worker.url.as_deref();
    /// The model it has loaded.
    model_id: Option<&str> = |worker| worker.model_id.as_deref();
    /// A word: "cuda", "cpu", "metal" or another.
    backend: Option<&str> = |worker| worker.backend.as_ref().map(|backend| backend.as_str());
    /// The index of its GPU on the hive.
    device_id: Option<u32> = |worker| worker.device_id;
    /// VRAM in use, bytes.
    vram_bytes: Option<u64> = |worker| worker.vram_bytes;
    /// VRAM of its device, bytes.
    vram_total_bytes: Option<u64> = |worker| worker.vram_total_bytes;
    /// RAM in use, bytes.
    ram_bytes: Option<u64> = |worker| worker.ram_bytes;
    /// CPU in use, percent of one core; may pass 100.
    cpu_percent: Option<f32> = |worker| worker.cpu_percent;
    /// GPU in use, percent.
    gpu_percent: Option<f32> = |worker| worker.gpu_percent;
    /// Requests it takes at once; None does not limit it, and it is ranked by what is assumed.
    max_concurrency: Option<u32> = |worker| worker.max_concurrency;
}

#[pymethods]
impl Worker {
    /// VRAM of its device that it does not use itself; None if it does not tell how much there is.
    #[getter]
    fn vram_free_bytes(&self) -> Option<u64> {
        self.0.vram_free_bytes()
    }

    /// What was sent, where the telemetry form was.
    #[getter]
    fn process<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        self.0.process.as_deref().map(|process| process_stats(py, process)).transpose()
    }

    fn __eq__<'py>(&self, other: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        equal(other, other.cast::<Self>().ok().map(|other| self.0 == other.get().0))
    }

    fn __hash__(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        (&self.0.hive_id, &self.0.worker_id, self.0.last_heartbeat).hash(&mut hasher);
        hasher.finish()
    }

    /// A candidate becomes a worker.
    fn __reduce__<'py>(&self, py: Python<'py>) -> PyResult<Reduced<'py, (Bound<'py, PyBytes>,)>> {
        reduce(py, "_unpickle_worker", &*self.0)
    }

    fn __repr__(&self) -> String {
        let worker = &*self.0;
        let model = worker.model_id.as_ref().map(|model| format!(" {:?}", &**model)).unwrap_or_default();
        let health = match worker.health_status.as_str() {
            "healthy" => String::new(),
            health => format!(" {}", health.escape_debug()),
        };
        let state = worker.state.as_str().escape_debug();
        format!("<Worker {:?} on {:?}: {state}{health}{model}>", &*worker.worker_id, &*worker.hive_id)
    }
}

/// The inverse of `Worker.__reduce__`.
#[pyfunction]
#[pyo3(name = "_unpickle_worker")]
pub(crate) fn unpickle_worker(py: Python<'_>, json: &[u8]) -> PyResult<Worker> {
    Ok(Worker(Arc::new(read(py, json)?)))
}

/// `ProcessStats`.
pub(crate) fn process_stats<'py>(py: Python<'py>, process: &ProcessStats) -> PyResult<Bound<'py, PyAny>> {
    let ProcessStats {
        pid,
        group,
        instance,
        cpu_pct,
        rss_mb,
        io_r_mb_s,
        io_w_mb_s,
        uptime_s,
        gpu_util_pct,
        vram_mb,
        total_vram_mb,
        model,
    } = process;
    let fields = (
        *pid,
        &**group,
        &**instance,
        *cpu_pct,
        *rss_mb,
        *io_r_mb_s,
        *io_w_mb_s,
        *uptime_s,
        *gpu_util_pct,
        *vram_mb,
        *total_vram_mb,
        model.as_deref(),
    );
    record(py, "ProcessStats", fields)
}
