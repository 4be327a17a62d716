//! What is written in Python and made in Rust: records, events, enums.

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBool, PyTuple};

/// Makes an object of a class that `hive_registry` exports.
pub(crate) fn record<'py>(
    py: Python<'py>,
    class: &str,
    fields: impl IntoPyObject<'py, Target = PyTuple, Output = Bound<'py, PyTuple>, Error = PyErr>,
) -> PyResult<Bound<'py, PyAny>> {
    static PACKAGE: PyOnceLock<Py<PyModule>> = PyOnceLock::new();
    module(py, &PACKAGE, "hive_registry")?.getattr(class)?.call1(fields.into_pyobject(py)?)
}

/// A module, imported once.
pub(crate) fn module<'py>(
    py: Python<'py>,
    cell: &'py PyOnceLock<Py<PyModule>>,
    name: &str,
) -> PyResult<&'py Bound<'py, PyModule>> {
    Ok(cell.get_or_try_init(py, || py.import(name).map(Bound::unbind))?.bind(py))
}

/// What `__eq__` answers: NotImplemented to objects of other classes, which may know better.
pub(crate) fn equal<'py>(other: &Bound<'py, PyAny>, equal: Option<bool>) -> PyResult<Bound<'py, PyAny>> {
    let py = other.py();
    match equal {
        Some(equal) => Ok(PyBool::new(py, equal).to_owned().into_any()),
        None => Ok(py.NotImplemented().into_bound(py)),
    }
}
