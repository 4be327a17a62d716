//! Objects of Python as serde reads them: a dict is walked where it lies, and nothing becomes JSON first.
//!
//! The types that are read are the registry's own, so forms, complaints and refusals are those of JSON. Only the fields that
//! these ask for are looked at, and nothing is nested deeper than they are, so that an endless object does no harm. Python
//! may run meanwhile and change what is walked: whatever is read is held, or copied, first.

use std::cell::{Cell, RefCell};

use hive_registry::HeartbeatError;
use pyo3::exceptions::PyException;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{
    PyBool, PyByteArray, PyBytes, PyDateTime, PyDict, PyFloat, PyInt, PyList, PyMapping, PyMemoryView,
    PySequence, PyString, PyType, PyTzInfo,
};
use serde::de::value::StrDeserializer;
use serde::de::{Deserialize, Deserializer, Expected, Visitor};
use serde::forward_to_deserialize_any;

use crate::containers::{Fields, Items};
use crate::fault::{FORMS, Fault, What, bounded};
use crate::fields::Class;
use crate::number::rfc3339;
use crate::python::module;

const MOMENT: &str = "RFC 3339, a datetime with a time zone, or seconds since 1970 up to the year 9999";

/// What could not be read, and whose it seems to be.
pub(crate) struct Unread {
    pub(crate) fault: Fault,
    pub(crate) hive_id: Option<String>,
}

/// Reads a heartbeat. `limit` bounds the bytes that are read of it, counted as text and keys. O(fields).
pub(crate) fn heartbeat<T: Deserialize<'static>>(
    object: &Bound<'_, PyAny>,
    limit: usize,
    strict: bool,
) -> Result<T, Unread> {
    let walk = Walk::new(limit, strict);
    let read = T::deserialize(Value { walk: &walk, object, place: Place::Heartbeat });
    read.map_err(|fault| Unread { fault, hive_id: walk.sketch() })
}

/// Reads the processes of a hive, in the same way.
pub(crate) fn processes<T: Deserialize<'static>>(
    object: &Bound<'_, PyAny>,
    limit: usize,
    strict: bool,
) -> Result<T, Fault> {
    T::deserialize(Value { walk: &Walk::new(limit, strict), object, place: Place::Field })
}

/// Whether it is an object that has fields: one heartbeat, never many, though some can be iterated over.
pub(crate) fn has_fields(object: &Bound<'_, PyAny>) -> PyResult<bool> {
    Ok(object.cast::<PyMapping>().is_ok() || Class::of(object)?.is_some())
}

/// What is known on the way through one heartbeat.
pub(crate) struct Walk<'py> {
    pub(crate) strict: bool,
    limit: usize,
    read: Cell<usize>,
    /// The heartbeat, once it is known to have fields.
    top: RefCell<Option<Bound<'py, PyDict>>>,
    /// The moment told last, and its text: workers mostly share one.
    moment: RefCell<Option<(Bound<'py, PyAny>, String)>>,
    /// The class met last: workers mostly share one.
    class: RefCell<Option<(Bound<'py, PyType>, Class<'py>)>>,
}

// === impl Walk ===

impl<'py> Walk<'py> {
    fn new(limit: usize, strict: bool) -> Self {
        Self { strict, limit, read: Cell::new(0), top: None.into(), moment: None.into(), class: None.into() }
    }

    /// Counts what was read, before anything is made of it.
    pub(crate) fn count(&self, bytes: usize) -> Result<(), Fault> {
        let read = self.read.get().saturating_add(bytes);
        self.read.set(read);
        if read <= self.limit {
            return Ok(());
        }
        let error = HeartbeatError::OverLimit { limit: "heartbeat_bytes", wanted: read, bound: self.limit };
        Err(Fault { path: String::new(), what: What::Over(error) })
    }

    /// Whose heartbeat it seems to be, after it was refused.
    fn sketch(&self) -> Option<String> {
        let top = self.top.borrow();
        let id = |dict: &Bound<'py, PyDict>, name: &str| {
            let id = dict.get_item(name).ok()??.cast_into::<PyString>().ok()?;
            let id = id.to_str().ok()?;
            (id.len() <= hive_registry::MAX_ID_BYTES).then(|| id.to_owned())
        };
        let top = top.as_ref()?;
        let hive = || top.get_item("hive").ok()??.cast_into::<PyDict>().ok();
        id(top, "hive_id").or_else(|| id(&hive()?, "id"))
    }

    fn class(&self, object: &Bound<'py, PyAny>) -> PyResult<Option<Class<'py>>> {
        let class = object.get_type();
        if let Some((known, how)) = &*self.class.borrow() {
            if known.is(&class) {
                return Ok(Some(how.clone()));
            }
        }
        let how = Class::of(object)?;
        if let Some(how) = &how {
            *self.class.borrow_mut() = Some((class, how.clone()));
        }
        Ok(how)
    }
}

/// What is expected somewhere.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Place {
    Heartbeat,
    Moment,
    Field,
    /// What another value was turned into: it is turned into nothing else.
    Turned,
}

/// An object where a value is expected.
#[derive(Clone, Copy)]
pub(crate) struct Value<'w, 'py> {
    pub(crate) walk: &'w Walk<'py>,
    pub(crate) object: &'w Bound<'py, PyAny>,
    pub(crate) place: Place,
}

// === impl Value ===

impl<'w, 'py> Value<'w, 'py> {
    fn text<'de, V: Visitor<'de>>(self, text: &Bound<'py, PyString>, visitor: V) -> Result<V::Value, Fault> {
        match text.to_str() {
            Ok(text) => {
                self.walk.count(text.len() + 2)?;
                visitor.visit_str(text)
            }
            Err(_) => Err(self.refused("text without lone surrogates")),
        }
    }

    fn whole<'de, V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        if let Ok(whole) = self.object.extract::<i64>() {
            return match u64::try_from(whole) {
                Ok(whole) => visitor.visit_u64(whole),
                Err(_) => visitor.visit_i64(whole),
            };
        }
        if let Ok(whole) = self.object.extract::<u64>() {
            return visitor.visit_u64(whole);
        }
        // As JSON has it; but what is refused is shown as it was given.
        match self.object.extract::<f64>() {
            Ok(float) => visitor.visit_f64(float).map_err(|fault: Fault| match fault.what {
                What::Said { expected: Some(expected), .. } => self.refused(&expected),
                what => Fault { what, ..fault },
            }),
            Err(_) => Err(self.refused("a number that is less than 1.8e308, either way")),
        }
    }

    /// A moment as RFC 3339.
    fn moment<'de, V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        if let Ok(text) = self.object.cast::<PyString>() {
            return self.text(text, visitor);
        }
        if let Some((known, text)) = &*self.walk.moment.borrow() {
            if known.is(self.object) {
                self.walk.count(text.len() + 2)?;
                return visitor.visit_str(text);
            }
        }
        if self.object.is_none() {
            return visitor.visit_unit();
        }
        let text = self.rfc3339().map_err(|fault| self.no_moment(fault))?;
        let text = text.ok_or_else(|| self.refused(MOMENT))?;
        self.walk.count(text.len() + 2)?;
        let read = visitor.visit_str(&text);
        *self.walk.moment.borrow_mut() = Some((self.object.clone(), text));
        read
    }

    fn rfc3339(self) -> Result<Option<String>, Fault> {
        let (py, object) = (self.object.py(), self.object);
        if object.is_instance_of::<PyDateTime>() {
            let text = |moment: &Bound<'py, PyAny>| {
                moment.call_method0(intern!(py, "isoformat"))?.extract::<String>()
            };
            let text = text(object).and_then(|said| match Offset::of(&said) {
                Offset::Minutes => Ok(Some(said)),
                // RFC 3339 has no offsets of seconds, as there were before there were time zones.
                Offset::Seconds => {
                    let utc = object.call_method1(intern!(py, "astimezone"), (PyTzInfo::utc(py)?,))?;
                    text(&utc).map(Some)
                }
                Offset::None => Ok(None),
            });
            return Ok(text?);
        }
        let number = object.is_instance_of::<PyFloat>() || object.is_instance_of::<PyInt>();
        if number && !object.is_instance_of::<PyBool>() {
            return Ok(object.extract().ok().and_then(rfc3339));
        }
        match self.turned()? {
            Some(turned) => Value { object: &turned, place: Place::Turned, ..self }.rfc3339(),
            None => Ok(None),
        }
    }

    /// Of a moment that raises what is accepted is said, too.
    #[cold]
    fn no_moment(self, fault: Fault) -> Fault {
        match fault.what {
            What::Raised(error) if error.is_instance_of::<PyException>(self.object.py()) => {
                self.because(&format!("{MOMENT}; reading it raised {error}"), Some(error.into()))
            }
            what => Fault { what, ..fault },
        }
    }

    /// What stands for a value: that of a number of numpy, or of a member of an enum.
    fn turned(self) -> Result<Option<Bound<'py, PyAny>>, Fault> {
        static ENUM: PyOnceLock<Py<PyModule>> = PyOnceLock::new();
        let (py, object) = (self.object.py(), self.object);
        if self.place == Place::Turned || object.is_instance_of::<PyType>() {
            return Ok(None);
        }
        if object.is_instance(&module(py, &ENUM, "enum")?.getattr(intern!(py, "Enum"))?)? {
            return Ok(Some(object.getattr(intern!(py, "value"))?));
        }
        if object.get_type().hasattr(intern!(py, "item"))? && is_scalar(object)? {
            return Ok(Some(object.call_method0(intern!(py, "item"))?));
        }
        Ok(None)
    }

    /// The fields of what has some.
    fn dict(self) -> Result<Option<Bound<'py, PyDict>>, Fault> {
        let object = self.object;
        if let Ok(dict) = object.cast::<PyDict>() {
            return Ok(Some(dict.clone()));
        }
        if object.is_none() || object.is_instance_of::<PyString>() || object.is_instance_of::<PyList>() {
            return Ok(None);
        }
        if object.cast::<PyMapping>().is_ok() {
            let dict = object.py().get_type::<PyDict>().call1((object,))?;
            return Ok(Some(dict.cast_into::<PyDict>().map_err(PyErr::from)?));
        }
        let Some(class) = self.walk.class(object)? else { return Ok(None) };
        let dict = class.dict(object)?;
        if self.place == Place::Heartbeat {
            // An object has a place for each field, of all forms.
            for name in ["hive_id", "hive"] {
                if dict.get_item(name)?.is_some_and(|value| value.is_none()) {
                    dict.del_item(name)?;
                }
            }
        }
        Ok(Some(dict))
    }

    /// Rarer values: subclasses, sequences, and what stands for something else.
    fn rare<'de, V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        let object = self.object;
        if let Ok(text) = object.cast::<PyString>() {
            return self.text(text, visitor);
        }
        if object.is_instance_of::<PyInt>() {
            return self.whole(visitor);
        }
        if let Ok(float) = object.cast::<PyFloat>() {
            return visitor.visit_f64(float.value());
        }
        if let Some(dict) = self.dict()? {
            return visitor.visit_map(Fields::of(self.walk, dict, &[]));
        }
        let bytes = object.is_instance_of::<PyBytes>()
            || object.is_instance_of::<PyByteArray>()
            || object.is_instance_of::<PyMemoryView>();
        if !bytes && object.cast::<PySequence>().is_ok() {
            return visitor.visit_seq(Items::of(self.walk, object)?);
        }
        match self.turned()? {
            Some(turned) => {
                let turned = Value { object: &turned, place: Place::Turned, ..self };
                turned.deserialize_any(visitor)
            }
            None => Err(self.refused(&bounded(&(&visitor as &dyn Expected).to_string()))),
        }
    }

    #[cold]
    fn refused(self, bound: &str) -> Fault {
        self.because(bound, None)
    }

    #[cold]
    fn because(self, bound: &str, cause: Option<Box<PyErr>>) -> Fault {
        match shown(self.object) {
            Ok(value) => {
                let what = What::Refused { value, bound: bound.to_owned(), cause };
                Fault { path: String::new(), what }
            }
            Err(error) => error.into(),
        }
    }
}

impl<'de> Deserializer<'de> for Value<'_, '_> {
    type Error = Fault;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        let object = self.object;
        if self.place == Place::Moment {
            return self.moment(visitor);
        }
        if let Ok(text) = object.cast_exact::<PyString>() {
            return self.text(text, visitor);
        }
        self.walk.count(1)?;
        if let Ok(float) = object.cast_exact::<PyFloat>() {
            return visitor.visit_f64(float.value());
        }
        if object.is_exact_instance_of::<PyInt>() {
            return self.whole(visitor);
        }
        if object.is_none() {
            return visitor.visit_unit();
        }
        if let Ok(truth) = object.cast_exact::<PyBool>() {
            return visitor.visit_bool(truth.is_true());
        }
        self.rare(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self.object.is_none() {
            true => visitor.visit_none(),
            false => visitor.visit_some(self),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        if let Some(dict) = self.dict()? {
            if self.place == Place::Heartbeat {
                *self.walk.top.borrow_mut() = Some(dict.clone());
            }
            return visitor.visit_map(Fields::of(self.walk, dict, fields));
        }
        match self.place {
            Place::Heartbeat => Err(self.refused(FORMS).under("heartbeat")),
            _ => self.deserialize_any(visitor),
        }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        let turned = match self.object.is_instance_of::<PyString>() {
            true => None,
            false => self.turned()?,
        };
        match turned.as_ref().unwrap_or(self.object).cast::<PyString>() {
            Ok(word) => match word.to_str() {
                Ok(word) => visitor.visit_enum(StrDeserializer::<Fault>::new(word)),
                Err(_) => Err(self.refused("text without lone surrogates")),
            },
            Err(_) => Err(self.refused("a string")),
        }
    }

    /// Not looked at.
    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_unit()
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct
        newtype_struct seq tuple tuple_struct map identifier
    }
}

/// How a `datetime` says its time zone.
enum Offset {
    None,
    Minutes,
    Seconds,
}

impl Offset {
    fn of(iso: &str) -> Self {
        // Behind the date, which has signs of its own.
        let time = iso.get("2026-01-01".len()..).unwrap_or_default();
        match time.rfind(['+', '-']) {
            None if time.ends_with('Z') => Self::Minutes,
            None => Self::None,
            Some(at) if time.len() - at == "+00:00".len() => Self::Minutes,
            Some(_) => Self::Seconds,
        }
    }
}

/// Whether what has an `item` is a number by itself: no array with dimensions, and none of numpy's moments and spans, which
/// would become nanoseconds.
fn is_scalar(object: &Bound<'_, PyAny>) -> PyResult<bool> {
    let py = object.py();
    match object.getattr_opt(intern!(py, "ndim"))? {
        Some(dimensions) if dimensions.eq(0)? => {}
        _ => return Ok(false),
    }
    let Some(dtype) = object.getattr_opt(intern!(py, "dtype"))? else { return Ok(true) };
    let kind = dtype.getattr_opt(intern!(py, "kind"))?;
    Ok(!kind.and_then(|kind| kind.extract::<char>().ok()).is_some_and(|kind| "mM".contains(kind)))
}

/// A value as it is shown; what cannot show itself by its class.
pub(crate) fn shown(object: &Bound<'_, PyAny>) -> PyResult<String> {
    match object.repr() {
        Ok(said) => Ok(said.to_string_lossy().into_owned()),
        Err(error) if error.is_instance_of::<PyException>(object.py()) => Ok(object.get_type().to_string()),
        Err(error) => Err(error),
    }
}
