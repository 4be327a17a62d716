//! Hives: what is known of them.

use hive_registry::{self as hive, HiveId};
use pyo3::prelude::*;
use pyo3::types::{PyList, PyString};

use super::HiveRegistry;
use crate::number::age_ms;
use crate::python::{list, record};
use crate::state::{HiveState, hive_info};

/// Ids as Python has them.
fn names(py: Python<'_>, ids: Vec<HiveId>) -> PyResult<Bound<'_, PyList>> {
    list(py, ids, |id| Ok(PyString::new(py, &id)))
}

fn max_age(value: &Bound<'_, PyAny>) -> PyResult<i64> {
    age_ms("max_age_ms", value)
}

#[pymethods]
impl HiveRegistry {
    /// The newest state of a hive. O(1).
    fn get_hive_state(&self, hive_id: &str) -> PyResult<Option<HiveState>> {
        self.run(|registry| Ok(registry.get_hive_state(hive_id).map(HiveState)))
    }

    /// Hives heard less than `max_age_ms` milliseconds ago, ordered. O(hives).
    #[pyo3(signature = (max_age_ms = 30_000))]
    fn list_active_hives<'py>(
        &self,
        py: Python<'py>,
        #[pyo3(from_py_with = max_age)] max_age_ms: i64,
    ) -> PyResult<Bound<'py, PyList>> {
        names(py, self.detached(py, |registry| registry.list_active_hives(max_age_ms))?)
    }

    /// Memory of a hive, in use and free. O(workers of the hive).
    fn get_available_resources<'py>(
        &self,
        py: Python<'py>,
        hive_id: &str,
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        let Some(info) = self.run(|registry| Ok(registry.get_available_resources(hive_id)))? else {
            return Ok(None);
        };
        let fields = (
            info.vram_used_gb,
            info.ram_used_gb,
            info.worker_count,
            info.vram_total_gb,
            info.vram_free_gb,
            info.ram_total_gb,
            info.workers_estimated,
        );
        record(py, "Resources", fields).map(Some)
    }

    /// Takes a hive and its workers out, and ends their reservations; whether it was there. O(its workers).
    fn remove_hive(&self, hive_id: &str) -> PyResult<bool> {
        self.run(|registry| Ok(registry.remove_hive(hive_id)))
    }

    /// All hives, live or not, ordered. O(hives).
    fn list_all_hives<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        names(py, self.detached(py, hive::HiveRegistry::list_all_hives)?)
    }

    /// How many workers a hive has. O(1).
    fn get_worker_count(&self, hive_id: &str) -> PyResult<Option<usize>> {
        self.run(|registry| Ok(registry.get_worker_count(hive_id)))
    }

    /// Whether a hive was heard less than `max_age_ms` milliseconds ago. O(1).
    #[pyo3(signature = (hive_id, max_age_ms = 30_000))]
    fn is_hive_online(
        &self,
        hive_id: &str,
        #[pyo3(from_py_with = max_age)] max_age_ms: i64,
    ) -> PyResult<bool> {
        self.run(|registry| Ok(registry.is_hive_online(hive_id, max_age_ms)))
    }

    /// How many hives are known. O(1).
    fn hive_count(&self) -> PyResult<usize> {
        self.run(|registry| Ok(registry.hive_count()))
    }

    /// What a hive said about itself, if it sends the telemetry form. O(1).
    fn get_hive<'py>(&self, py: Python<'py>, hive_id: &str) -> PyResult<Option<Bound<'py, PyAny>>> {
        let info = self.run(|registry| Ok(registry.get_hive(hive_id)))?;
        info.map(|info| hive_info(py, &info)).transpose()
    }

    /// Hives heard within the liveness window, ordered. O(hives).
    fn list_online_hives<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        names(py, self.detached(py, hive::HiveRegistry::list_online_hives)?)
    }

    /// Online hives that take new work, ordered. O(hives).
    fn list_available_hives<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        names(py, self.detached(py, hive::HiveRegistry::list_available_hives)?)
    }

    /// How many hives are online. O(hives).
    fn count_online(&self, py: Python<'_>) -> PyResult<usize> {
        self.detached(py, |registry| registry.count_online())
    }

    /// How many hives are available. O(hives).
    fn count_available(&self, py: Python<'_>) -> PyResult<usize> {
        self.detached(py, |registry| registry.count_available())
    }
}
