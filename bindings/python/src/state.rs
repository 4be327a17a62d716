//! A hive's state, and what it says about itself.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use hive_registry::{Capability, HiveHealth, HiveInfo, HiveRuntimeState};
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::number::moment;
use crate::pickle::{Reduced, read, reduce};
use crate::python::{equal, record};
use crate::worker::Worker;

/// The state of one hive as one heartbeat left it: immutable, compared by its fields.
#[pyclass(frozen, module = "hive_registry")]
pub(crate) struct HiveState(pub(crate) Arc<HiveRuntimeState>);

#[pymethods]
impl HiveState {
    /// The hive.
    #[getter]
    fn hive_id(&self) -> &str {
        &self.0.hive_id
    }

    /// By worker id. O(workers).
    #[getter]
    fn workers(&self) -> Vec<Worker> {
        self.0.workers.iter().map(|worker| Worker(worker.clone())).collect()
    }

    /// One of its workers. O(log workers).
    fn worker(&self, worker_id: &str) -> Option<Worker> {
        self.0.worker(worker_id).map(|worker| Worker(worker.clone()))
    }

    /// When it was heard, as the registry counts it: see `liveness_clock`.
    #[getter]
    fn last_heartbeat(&self) -> DateTime<Utc> {
        moment(self.0.last_heartbeat_ms.saturating_mul(1_000))
    }

    /// By its workers, units of 10**9 bytes; an assumed amount for those that do not say.
    #[getter]
    fn vram_used_gb(&self) -> f32 {
        self.0.vram_used_gb
    }

    /// By its workers, units of 10**9 bytes; an assumed amount for those that do not say.
    #[getter]
    fn ram_used_gb(&self) -> f32 {
        self.0.ram_used_gb
    }

    /// How many workers it has.
    #[getter]
    fn worker_count(&self) -> usize {
        self.0.worker_count
    }

    /// Grows with each heartbeat that is applied.
    #[getter]
    fn version(&self) -> u64 {
        self.0.version
    }

    /// What the hive says about itself, if it sends the telemetry form.
    #[getter]
    fn hive<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        self.0.hive.as_deref().map(|info| hive_info(py, info)).transpose()
    }

    /// The devices that it declares, if it does.
    #[getter]
    fn capabilities<'py>(&self, py: Python<'py>) -> PyResult<Option<Vec<Bound<'py, PyAny>>>> {
        let devices = self.0.capabilities.as_deref();
        devices.map(|devices| devices.iter().map(|device| capability(py, device)).collect()).transpose()
    }

    fn __eq__<'py>(&self, other: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        equal(other, other.cast::<Self>().ok().map(|other| self.0 == other.get().0))
    }

    fn __hash__(&self) -> u64 {
        use std::hash::{DefaultHasher, Hash, Hasher};
        let mut hasher = DefaultHasher::new();
        (&self.0.hive_id, self.0.version).hash(&mut hasher);
        hasher.finish()
    }

    fn __reduce__<'py>(&self, py: Python<'py>) -> PyResult<Reduced<'py, (Bound<'py, PyBytes>,)>> {
        reduce(py, "_unpickle_hive_state", &*self.0)
    }

    fn __repr__(&self) -> String {
        let state = &*self.0;
        format!(
            "<HiveState {:?}: {} workers, version {}, heard {}>",
            &*state.hive_id,
            state.worker_count,
            state.version,
            self.last_heartbeat().to_rfc3339()
        )
    }
}

/// The inverse of `HiveState.__reduce__`.
#[pyfunction]
#[pyo3(name = "_unpickle_hive_state")]
pub(crate) fn unpickle_hive_state(py: Python<'_>, json: &[u8]) -> PyResult<HiveState> {
    Ok(HiveState(Arc::new(read(py, json)?)))
}

/// `HiveInfo`.
pub(crate) fn hive_info<'py>(py: Python<'py>, info: &HiveInfo) -> PyResult<Bound<'py, PyAny>> {
    let HiveInfo { id, hostname, port, operational_status, health_status, version } = info;
    let (health, reason) = match health_status {
        HiveHealth::Healthy => ("healthy", None),
        HiveHealth::Degraded { reason } => ("degraded", Some(reason)),
        HiveHealth::Unhealthy { reason } => ("unhealthy", Some(reason)),
    };
    let health = record(py, "HiveHealth", (health, reason))?;
    record(py, "HiveInfo", (id, hostname, *port, version, status_word(*operational_status), health))
}

/// As on the wire.
pub(crate) fn status_word(status: hive_registry::OperationalStatus) -> &'static str {
    use hive_registry::OperationalStatus::{Busy, Ready, Starting, Stopped, Stopping};
    match status {
        Starting => "starting",
        Ready => "ready",
        Busy => "busy",
        Stopping => "stopping",
        Stopped => "stopped",
    }
}

fn capability<'py>(py: Python<'py>, device: &Capability) -> PyResult<Bound<'py, PyAny>> {
    let Capability { id, name, device_type, vram_gb, compute_capability } = device;
    record(py, "Capability", (id, name, device_type, *vram_gb, compute_capability.as_ref()))
}
