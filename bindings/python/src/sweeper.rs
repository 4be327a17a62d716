//! A thread that evicts.

use std::sync::{Mutex, PoisonError};

use hive_registry::Sweeper as Sweeping;
use pyo3::prelude::*;

use crate::error::guard;
use crate::fork::{Owned, leave, take};

/// A thread that evicts silent hives from time to time.
///
/// Until it is stopped, its `with` block ends, or it is collected.
#[pyclass(frozen, module = "hive_registry")]
pub(crate) struct Sweeper(Mutex<Option<Owned<Sweeping>>>);

impl Sweeper {
    pub(crate) fn new(sweeper: Sweeping) -> Self {
        Self(Mutex::new(Some(Owned::new(sweeper))))
    }
}

#[pymethods]
impl Sweeper {
    /// Stops the thread and waits for it. A second time does nothing.
    fn stop(&self, py: Python<'_>) -> PyResult<()> {
        let sweeper = take(&self.0)?;
        guard(|| {
            py.detach(|| drop(sweeper));
            Ok(())
        })
    }

    fn __enter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __exit__(
        &self,
        py: Python<'_>,
        raised: &Bound<'_, PyAny>,
        _value: &Bound<'_, PyAny>,
        _traceback: &Bound<'_, PyAny>,
    ) -> PyResult<()> {
        leave(raised, self.stop(py))
    }

    fn __repr__(&self) -> &'static str {
        match *self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(_) => "<Sweeper>",
            None => "<Sweeper stopped>",
        }
    }
}
