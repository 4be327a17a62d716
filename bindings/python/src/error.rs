//! Errors of Rust as exceptions of Python, and the guard through which every call goes.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use pyo3::prelude::*;
use pyo3::{PyErr, import_exception};

import_exception!(hive_registry._errors, HiveRegistryError);
import_exception!(hive_registry._errors, HeartbeatError);
import_exception!(hive_registry._errors, ConfigError);
import_exception!(hive_registry._errors, NoWorkerError);
import_exception!(hive_registry._errors, Lagged);
import_exception!(hive_registry._errors, Closed);

/// An error of the registry, on its way to Python.
pub(crate) struct Refused(PyErr);

impl From<hive_registry::HeartbeatError> for Refused {
    fn from(error: hive_registry::HeartbeatError) -> Self {
        Self(HeartbeatError::new_err(error.to_string()))
    }
}

impl From<hive_registry::ConfigError> for Refused {
    fn from(error: hive_registry::ConfigError) -> Self {
        Self(ConfigError::new_err(error.to_string()))
    }
}

impl From<PyErr> for Refused {
    fn from(error: PyErr) -> Self {
        Self(error)
    }
}

impl From<Refused> for PyErr {
    fn from(refused: Refused) -> Self {
        refused.0
    }
}

/// Every call into the registry and into Arrow runs in here: a panic becomes a `HiveRegistryError`, not PyO3's `PanicException`,
/// which `except Exception` does not catch.
pub(crate) fn guard<T>(call: impl FnOnce() -> Result<T, Refused>) -> PyResult<T> {
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(outcome) => Ok(outcome?),
        Err(panic) => {
            Err(HiveRegistryError::new_err(format!("a defect in hive-registry: {}", words(&*panic))))
        }
    }
}

fn words(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("a panic of an unknown kind")
}

/// Panics under the guard.
#[pyfunction]
pub(crate) fn panic() -> PyResult<()> {
    guard(|| panic!("at {}", 7))
}
