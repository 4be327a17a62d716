//! Heartbeats from Python: JSON as `bytes` or `str`, and what the encoder of `hive_registry._heartbeats` makes JSON of:
//! dicts and dataclasses.

use pyo3::prelude::*;
use pyo3::pybacked::{PyBackedBytes, PyBackedStr};
use pyo3::sync::PyOnceLock;
use pyo3::types::PyString;

use crate::error::HeartbeatError as Raised;
use crate::python::module;

/// JSON that Python owns: readable without the interpreter.
pub(crate) enum Json {
    Bytes(PyBackedBytes),
    Text(PyBackedStr),
}

impl Json {
    /// A heartbeat in any form.
    pub(crate) fn of(heartbeat: &Bound<'_, PyAny>) -> PyResult<Self> {
        static HEARTBEATS: PyOnceLock<Py<PyModule>> = PyOnceLock::new();
        if Self::is_given(heartbeat) {
            return Self::given(heartbeat);
        }
        let py = heartbeat.py();
        let encode = module(py, &HEARTBEATS, "hive_registry._heartbeats")?.getattr("encode")?;
        Self::given(&encode.call1((heartbeat,))?)
    }

    pub(crate) fn is_given(heartbeat: &Bound<'_, PyAny>) -> bool {
        heartbeat.is_instance_of::<PyString>() || heartbeat.extract::<PyBackedBytes>().is_ok()
    }

    /// JSON as it is.
    pub(crate) fn given(json: &Bound<'_, PyAny>) -> PyResult<Self> {
        match json.extract::<PyBackedBytes>() {
            Ok(bytes) => Ok(Self::Bytes(bytes)),
            Err(_) => text(".", json).map(Self::Text),
        }
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        match self {
            Self::Bytes(bytes) => bytes,
            Self::Text(text) => text.as_bytes(),
        }
    }
}

/// Text that a heartbeat may have: UTF-8.
pub(crate) fn text(field: &str, value: &Bound<'_, PyAny>) -> PyResult<PyBackedStr> {
    value.extract().map_err(|error: PyErr| match value.is_instance_of::<PyString>() {
        true => Raised::new_err(format!("{field}: refused: text without lone surrogates")),
        false => error,
    })
}
