//! Heartbeats from Python: JSON as `bytes` or `str`, and whatever can be walked.

use hive_registry::{Heartbeat, HeartbeatError, HeartbeatOutcome, HiveRegistry, Limits};
use pyo3::prelude::*;
use pyo3::pybacked::{PyBackedBytes, PyBackedStr};
use pyo3::types::PyString;

use crate::error::{ConfigError, HeartbeatError as Raised};
use crate::fault::Fault;
use crate::walk::{self, Unread};

/// JSON that Python owns: readable without the interpreter.
pub(crate) enum Json {
    Bytes(PyBackedBytes),
    Text(PyBackedStr),
}

impl Json {
    /// What is given as JSON; none if it is an object.
    pub(crate) fn of(given: &Bound<'_, PyAny>, strict: bool) -> PyResult<Option<Self>> {
        match (Self::is_given(given), strict) {
            (false, _) => Ok(None),
            (true, false) => Self::given(given).map(Some),
            (true, true) => Err(ConfigError::new_err(
                "strict: true refused: a heartbeat that is no JSON; json.loads makes a dict of it",
            )),
        }
    }

    pub(crate) fn is_given(heartbeat: &Bound<'_, PyAny>) -> bool {
        heartbeat.is_instance_of::<PyString>() || heartbeat.extract::<PyBackedBytes>().is_ok()
    }

    /// JSON as it is.
    pub(crate) fn given(json: &Bound<'_, PyAny>) -> PyResult<Self> {
        if let Ok(bytes) = json.extract() {
            return Ok(Self::Bytes(bytes));
        }
        match json.extract() {
            Ok(text) => Ok(Self::Text(text)),
            // No UTF-8: the parser says where.
            Err(_) if json.is_instance_of::<PyString>() => {
                Ok(Self::Bytes(json.call_method1("encode", ("utf-8", "surrogatepass"))?.extract()?))
            }
            Err(error) => Err(error),
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

/// A heartbeat that was read, as far as it is without the registry.
pub(crate) enum Given {
    Json(Json),
    Read(Heartbeat<'static>),
    Unread(Refusal),
}

/// What could not be read, whose it seems to be, and what the object raised, if that is why.
pub(crate) struct Refusal {
    hive_id: Option<String>,
    error: HeartbeatError,
    cause: Option<PyErr>,
}

impl Given {
    /// What is no fault of the heartbeat is raised.
    pub(crate) fn of(heartbeat: &Bound<'_, PyAny>, limits: Limits, strict: bool) -> PyResult<Self> {
        if let Some(json) = Json::of(heartbeat, strict)? {
            return Ok(Self::Json(json));
        }
        match walk::heartbeat(heartbeat, limits.heartbeat_bytes, strict) {
            Ok(read) => Ok(Self::Read(read)),
            Err(Unread { fault, hive_id }) => Refusal::of(heartbeat.py(), fault, hive_id).map(Self::Unread),
        }
    }
}

impl Refusal {
    pub(crate) fn of(py: Python<'_>, fault: Fault, hive_id: Option<String>) -> PyResult<Self> {
        let (error, cause) = fault.refusal(py)?;
        Ok(Self { hive_id, error, cause })
    }

    /// Counts it, and makes an exception of it. A heartbeat that must be of a hive is refused for that one.
    pub(crate) fn told(self, py: Python<'_>, registry: &HiveRegistry, hive_id: Option<&str>) -> PyErr {
        let Self { hive_id: known, error, cause } = self;
        let text = error.to_string();
        let _: Result<HeartbeatOutcome, _> = registry.refuse(hive_id.or(known.as_deref()), error);
        let raised = Raised::new_err(text);
        if let Some(cause) = cause {
            raised.set_cause(py, Some(cause));
        }
        raised
    }
}
