//! Objects that have fields, and how these are read.

use std::rc::Rc;

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyString, PyTuple, PyType};

use crate::python::module;

/// How the fields of an object are read that is no mapping.
#[derive(Clone)]
pub(crate) enum Class<'py> {
    /// By a method that makes a dict of them.
    Dumped(&'static str),
    /// By name: that of the field, and that of the attribute.
    Named(Rc<[(Bound<'py, PyAny>, Bound<'py, PyString>)]>),
}

impl<'py> Class<'py> {
    /// Looks at the class alone, for an object may answer to any name. None if it is of no known kind, as classes
    /// themselves are.
    pub(crate) fn of(object: &Bound<'py, PyAny>) -> PyResult<Option<Self>> {
        static DATACLASSES: PyOnceLock<Py<PyModule>> = PyOnceLock::new();
        let (py, class) = (object.py(), object.get_type());
        let pairs = |fields: Bound<'py, PyAny>| {
            let name = |field: PyResult<Bound<'py, PyAny>>| {
                let name = field?.getattr(intern!(py, "name"))?.cast_into::<PyString>()?;
                Ok((name.clone().into_any(), name))
            };
            fields.try_iter()?.map(name).collect::<PyResult<_>>().map(Self::Named)
        };
        if object.is_instance_of::<PyType>() {
            return Ok(None);
        }
        if class.hasattr(intern!(py, "model_dump"))? {
            return Ok(Some(Self::Dumped("model_dump")));
        }
        if class.hasattr(intern!(py, "__dataclass_fields__"))? {
            let dataclasses = module(py, &DATACLASSES, "dataclasses")?;
            return pairs(dataclasses.call_method1("fields", (&class,))?).map(Some);
        }
        if let Some(fields) = class.getattr_opt(intern!(py, "__attrs_attrs__"))? {
            return pairs(fields).map(Some);
        }
        if let Some(fields) = class.getattr_opt(intern!(py, "__struct_fields__"))? {
            // As they are named on the wire.
            let names = class.getattr_opt("__struct_encode_fields__")?.unwrap_or_else(|| fields.clone());
            let pair = |(name, field): (PyResult<_>, PyResult<Bound<'py, PyAny>>)| {
                Ok((name?, field?.cast_into::<PyString>()?))
            };
            let pairs = names.try_iter()?.zip(fields.try_iter()?).map(pair).collect::<PyResult<_>>();
            return pairs.map(|pairs| Some(Self::Named(pairs)));
        }
        if object.is_instance_of::<PyTuple>() && class.hasattr(intern!(py, "_asdict"))? {
            return Ok(Some(Self::Dumped("_asdict")));
        }
        Ok(None)
    }

    pub(crate) fn dict(&self, object: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyDict>> {
        match self {
            Self::Dumped(method) => Ok(object.call_method0(*method)?.cast_into::<PyDict>()?),
            Self::Named(fields) => {
                let dict = PyDict::new(object.py());
                for (name, field) in &**fields {
                    dict.set_item(name, object.getattr(field)?)?;
                }
                Ok(dict)
            }
        }
    }
}
