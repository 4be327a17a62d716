//! Workers: lists of them, and what was sent.

use std::sync::Arc;

use hive_registry::{self as hive, HiveId, WorkerInfo};
use pyo3::prelude::*;
use pyo3::types::PyList;

use super::{Found, HiveRegistry, found};
use crate::number::whole;
use crate::python::list;
use crate::worker::{Worker, process_stats};

impl HiveRegistry {
    fn list<'py>(
        &self,
        py: Python<'py>,
        find: impl FnOnce(&hive::HiveRegistry) -> Vec<(HiveId, Arc<WorkerInfo>)> + Send,
    ) -> PyResult<Bound<'py, PyList>> {
        let workers = self.detached(py, find)?;
        list(py, workers, |worker| Ok(found(py, Some(worker))))
    }
}

#[pymethods]
impl HiveRegistry {
    /// A worker by its id; of several hives that have one, the hive heard last. O(hives that have one).
    fn get_worker<'py>(&self, py: Python<'py>, worker_id: &str) -> PyResult<Option<Found<'py>>> {
        self.run(|registry| Ok(found(py, registry.get_worker(worker_id))))
    }

    /// A worker of one hive. O(log workers).
    fn get_worker_on(&self, hive_id: &str, worker_id: &str) -> PyResult<Option<Worker>> {
        self.run(|registry| Ok(registry.get_worker_on(hive_id, worker_id).map(Worker)))
    }

    /// Where the worker that `get_worker` finds takes requests.
    fn get_worker_url(&self, worker_id: &str) -> PyResult<Option<String>> {
        self.run(|registry| Ok(registry.get_worker_url(worker_id)))
    }

    /// All workers, by hive id, then worker id. O(workers); a table is faster: see `snapshot`.
    fn list_all_workers<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        self.list(py, |registry| registry.list_all_workers())
    }

    /// Idle workers of live hives. O(k log k) in the idle ones.
    fn find_idle_workers<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        self.list(py, |registry| registry.find_idle_workers())
    }

    /// Workers of live hives that have a model loaded. O(k log k) in those that have it.
    fn find_workers_by_model<'py>(&self, py: Python<'py>, model_id: &str) -> PyResult<Bound<'py, PyList>> {
        self.list(py, |registry| registry.find_workers_by_model(model_id))
    }

    /// As `find_workers_by_model`, by its other name.
    fn find_workers_with_model<'py>(&self, py: Python<'py>, model_id: &str) -> PyResult<Bound<'py, PyList>> {
        self.find_workers_by_model(py, model_id)
    }

    /// Workers of live hives on a kind of device, "cuda" say, in whatever case. O(workers).
    fn find_workers_by_backend<'py>(&self, py: Python<'py>, backend: &str) -> PyResult<Bound<'py, PyList>> {
        self.list(py, |registry| registry.find_workers_by_backend(backend))
    }

    /// Workers of live hives on whose device so much VRAM is free, units of 1,048,576 bytes. O(workers).
    fn find_workers_with_capacity<'py>(
        &self,
        py: Python<'py>,
        vram_mb: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyList>> {
        let vram_mb = whole("vram_mb", vram_mb)?;
        self.list(py, |registry| registry.find_workers_with_capacity(vram_mb))
    }

    /// How many workers there are. O(1).
    fn total_worker_count(&self) -> PyResult<usize> {
        self.run(|registry| Ok(registry.total_worker_count()))
    }

    /// The workers of a hive, by worker id; none if it is not known.
    fn get_workers_on_hive(&self, hive_id: &str) -> PyResult<Vec<Worker>> {
        self.run(|registry| Ok(registry.get_workers_on_hive(hive_id).into_iter().map(Worker).collect()))
    }

    /// The processes of a hive as they were sent in the telemetry form.
    fn get_workers<'py>(&self, py: Python<'py>, hive_id: &str) -> PyResult<Option<Vec<Bound<'py, PyAny>>>> {
        let processes = self.run(|registry| Ok(registry.get_workers(hive_id)))?;
        processes.map(|all| all.iter().map(|process| process_stats(py, process)).collect()).transpose()
    }

    /// The processes of all hives as they were sent, by hive id. O(workers).
    fn get_all_workers<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        let all = self.detached(py, hive::HiveRegistry::get_all_workers)?;
        list(py, all, |(hive_id, process)| Ok((hive_id.as_str().to_owned(), process_stats(py, &process)?)))
    }
}
