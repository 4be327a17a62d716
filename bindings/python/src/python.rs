//! What is written in Python and made in Rust: records, events, enums.

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBool, PyList, PyTuple};

/// Makes an object of a class that `hive_registry` exports.
pub(crate) fn record<'py>(
    py: Python<'py>,
    class: &str,
    fields: impl IntoPyObject<'py, Target = PyTuple, Output = Bound<'py, PyTuple>, Error = PyErr>,
) -> PyResult<Bound<'py, PyAny>> {
    static PACKAGE: PyOnceLock<Py<PyModule>> = PyOnceLock::new();
    module(py, &PACKAGE, "hive_registry")?.getattr(class)?.call1(fields.into_pyobject(py)?)
}

/// Objects that a list is made of before other threads of Python have a turn: some 0.2 ms.
const TURN: usize = 1_024;

/// A list of objects, of which there may be many: made some at a time, and other threads of Python run in between.
pub(crate) fn list<'py, T, O: IntoPyObject<'py>>(
    py: Python<'py>,
    items: Vec<T>,
    make: impl Fn(T) -> PyResult<O>,
) -> PyResult<Bound<'py, PyList>> {
    let made = PyList::empty(py);
    for (at, item) in (1..).zip(items) {
        made.append(make(item)?)?;
        if at % TURN == 0 {
            // Who waits for the interpreter gets it now, and not this thread again.
            py.detach(|| ());
            py.check_signals()?;
        }
    }
    Ok(made)
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
