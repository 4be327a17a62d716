//! Why an object could not be read, and where in it.

use std::fmt;

use hive_registry::HeartbeatError;
use pyo3::exceptions::PyException;
use pyo3::prelude::*;
use serde::de::{self, Expected, Unexpected};

/// What a heartbeat may be.
pub(crate) const FORMS: &str = "a dict, JSON, a dataclass, or a model of pydantic, attrs or msgspec";

/// Why an object could not be read.
#[derive(Debug)]
pub(crate) struct Fault {
    /// Grows on the way up.
    pub(crate) path: String,
    pub(crate) what: What,
}

#[derive(Debug)]
pub(crate) enum What {
    /// By serde.
    Said {
        message: String,
        expected: Option<String>,
    },
    Refused {
        value: String,
        bound: String,
        /// What the object raised, if that is why.
        cause: Option<Box<PyErr>>,
    },
    Over(HeartbeatError),
    /// By the object, while it was read.
    Raised(PyErr),
}

// === impl Fault ===

impl Fault {
    fn said(message: String, expected: Option<String>) -> Self {
        Self { path: String::new(), what: What::Said { message, expected } }
    }

    #[cold]
    pub(crate) fn under(mut self, field: &str) -> Self {
        let dot = if self.path.is_empty() || self.path.starts_with('[') { "" } else { "." };
        self.path = format!("{field}{dot}{}", self.path);
        self
    }

    #[cold]
    pub(crate) fn at(mut self, index: usize) -> Self {
        let dot = if self.path.is_empty() || self.path.starts_with('[') { "" } else { "." };
        self.path = format!("[{index}]{dot}{}", self.path);
        self
    }

    /// The refusal, and what the object raised, if that is why. What is no fault of the object comes through: the user
    /// who interrupts, an interpreter that ends.
    pub(crate) fn refusal(self, py: Python<'_>) -> PyResult<(HeartbeatError, Option<PyErr>)> {
        let path = if self.path.is_empty() { "." } else { &*self.path };
        match self.what {
            What::Said { message, .. } => Ok((HeartbeatError::malformed(path, &message), None)),
            What::Refused { value, bound, cause } => {
                Ok((HeartbeatError::invalid(path, value, bound), cause.map(|cause| *cause)))
            }
            What::Over(error) => Ok((error, None)),
            What::Raised(error) if error.is_instance_of::<PyException>(py) => {
                let words = format!("reading it raised {error}");
                Ok((HeartbeatError::malformed(path, &words), Some(error)))
            }
            What::Raised(error) => Err(error),
        }
    }
}

impl From<PyErr> for Fault {
    fn from(error: PyErr) -> Self {
        Self { path: String::new(), what: What::Raised(error) }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {:?}", self.path, self.what)
    }
}

impl std::error::Error for Fault {}

impl de::Error for Fault {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::said(message.to_string(), None)
    }

    fn invalid_type(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        wrong("type", found, expected)
    }

    fn invalid_value(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        wrong("value", found, expected)
    }
}

/// What is wanted, with the bounds that a number by itself does not say, and without names that users do not know.
pub(crate) fn bounded(expected: &str) -> String {
    match expected {
        "u16" => format!("u16, from 0 to {}", u16::MAX),
        "u64" => format!("u64, from 0 to {}", u64::MAX),
        _ if expected.starts_with("struct ") => FORMS.replace("JSON, ", ""),
        _ => expected.to_owned(),
    }
}

/// In the words of JSON.
#[cold]
fn wrong(what: &str, found: Unexpected<'_>, expected: &dyn Expected) -> Fault {
    let expected = bounded(&expected.to_string());
    let message = match found {
        Unexpected::Unit => format!("invalid {what}: null, expected {expected}"),
        found => format!("invalid {what}: {found}, expected {expected}"),
    };
    Fault::said(message, Some(expected))
}
