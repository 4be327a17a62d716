//! Places held on workers, and models looked up once.

use std::ffi::CString;
use std::sync::{Arc, Mutex, PoisonError};

use hive_registry::{self as hive, WorkerInfo, said};
use pyo3::exceptions::{PyResourceWarning, PyRuntimeError};
use pyo3::prelude::*;

use crate::error::guard;
use crate::fork::{Owned, leave, take};
use crate::registry::{Found, found};
use crate::worker::Worker;

/// One place on one worker, given back by `release()`, at the end of a `with` block, or when it is collected.
///
/// It ends by itself if its worker goes; a worker that comes back under the name starts without it.
#[pyclass(frozen, module = "hive_registry")]
pub(crate) struct Reservation {
    held: Mutex<Option<Owned<hive::Reservation>>>,
    worker: Arc<WorkerInfo>,
}

impl Reservation {
    pub(crate) fn new(held: hive::Reservation) -> Self {
        Self { worker: held.shared_worker().clone(), held: Mutex::new(Some(Owned::new(held))) }
    }

    fn is_held(&self) -> bool {
        self.held.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }
}

#[pymethods]
impl Reservation {
    /// The worker's hive.
    #[getter]
    fn hive_id(&self) -> &str {
        &self.worker.hive_id
    }

    /// As it was when it was chosen.
    #[getter]
    fn worker(&self) -> Worker {
        Worker(self.worker.clone())
    }

    /// Whether `release()` was called; not whether the worker has gone.
    #[getter]
    fn released(&self) -> bool {
        !self.is_held()
    }

    /// Gives the place back. A second time does nothing. O(log n) in the workers of the model.
    fn release(&self) -> PyResult<()> {
        let held = take(&self.held)?;
        guard(|| {
            drop(held);
            Ok(())
        })
    }

    fn __enter__(slf: Bound<'_, Self>) -> PyResult<Bound<'_, Self>> {
        if slf.get().is_held() {
            return Ok(slf);
        }
        Err(PyRuntimeError::new_err(format!(
            "a released reservation cannot be entered: {}",
            slf.get().__repr__()
        )))
    }

    fn __exit__(
        &self,
        raised: &Bound<'_, PyAny>,
        _value: &Bound<'_, PyAny>,
        _traceback: &Bound<'_, PyAny>,
    ) -> PyResult<()> {
        leave(raised, self.release())
    }

    fn __repr__(&self) -> String {
        let released = if self.is_held() { "" } else { " released" };
        format!("<Reservation of {:?} on {:?}{released}>", &*self.worker.worker_id, &*self.worker.hive_id)
    }
}

impl Drop for Reservation {
    /// Collected while held: the place is given back, and whoever looks for such mistakes is told, as of an open file.
    fn drop(&mut self) {
        let held = self.held.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        // A child by fork() has nothing to give back.
        let Some(held) = held.filter(Owned::is_ours) else {
            return;
        };
        let given_back = guard(|| {
            drop(held);
            Ok(())
        });
        let WorkerInfo { worker_id, hive_id, .. } = &*self.worker;
        let text = format!("a reservation of {worker_id:?} on {hive_id:?} was dropped without release");
        Python::try_attach(|py| {
            // Whatever is being raised at this moment goes on.
            let raised = PyErr::take(py);
            let warned = CString::new(said(&text))
                .map_err(PyErr::from)
                .and_then(|text| PyErr::warn(py, &py.get_type::<PyResourceWarning>(), &text, 1));
            if let Err(error) = given_back.and(warned) {
                error.write_unraisable(py, None);
            }
            if let Some(raised) = raised {
                raised.restore(py);
            }
        });
    }
}

/// A model looked up once, for those who pick from it again and again.
///
/// While it exists the model is known, and counts towards `Limits.models`.
#[pyclass(frozen, module = "hive_registry")]
pub(crate) struct Model(Owned<hive::Model>);

impl Model {
    pub(crate) fn new(model: hive::Model) -> Self {
        Self(Owned::new(model))
    }
}

#[pymethods]
impl Model {
    /// Its name.
    #[getter]
    fn id(&self) -> PyResult<&str> {
        Ok(self.0.get()?.id())
    }

    /// As `HiveRegistry.find_best_worker_for_model`.
    fn find_best_worker<'py>(&self, py: Python<'py>) -> PyResult<Option<Found<'py>>> {
        guard(|| Ok(found(py, self.0.get()?.find_best_worker())))
    }

    /// As `HiveRegistry.reserve_worker_for_model`.
    fn reserve_worker(&self) -> PyResult<Option<Reservation>> {
        guard(|| Ok(self.0.get()?.reserve_worker().map(Reservation::new)))
    }

    fn __repr__(&self) -> PyResult<String> {
        Ok(format!("<Model {:?}>", self.id()?))
    }
}
