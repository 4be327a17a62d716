//! Objects of Python as serde reads them: a dict is walked where it lies, and nothing becomes JSON first.
//!
//! The types that are read are the registry's own, so forms, complaints and refusals are those of JSON. Only the fields that
//! these ask for are looked at, and nothing is nested deeper than they are, so that an endless object does no harm. Python
//! may run meanwhile and change what is walked: whatever is read is held, or copied, first.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};

use hive_registry::HeartbeatError;
use pyo3::exceptions::PyException;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{
    PyBool, PyByteArray, PyBytes, PyDateTime, PyDict, PyFloat, PyInt, PyList, PyMapping, PyMemoryView,
    PySequence, PyString, PyTuple, PyType, PyTzInfo,
};
use serde::de::value::{BorrowedStrDeserializer, StrDeserializer};
use serde::de::{
    self, Deserialize, DeserializeSeed, Deserializer, Expected, MapAccess, SeqAccess, Unexpected, Visitor,
};
use serde::forward_to_deserialize_any;

use crate::number::rfc3339;
use crate::python::module;

/// What a heartbeat may be.
const FORMS: &str = "a dict, JSON, a dataclass, or a model of pydantic, attrs or msgspec";
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

struct Walk<'py> {
    strict: bool,
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
    fn count(&self, bytes: usize) -> Result<(), Fault> {
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

/// How the fields of an object are read that is no mapping.
#[derive(Clone)]
enum Class<'py> {
    /// By a method that makes a dict of them.
    Dumped(&'static str),
    /// By name: that of the field, and that of the attribute.
    Named(Rc<[(Bound<'py, PyAny>, Bound<'py, PyString>)]>),
}

impl<'py> Class<'py> {
    /// Looks at the class alone, for an object may answer to any name. None if it is of no known kind, as classes
    /// themselves are.
    fn of(object: &Bound<'py, PyAny>) -> PyResult<Option<Self>> {
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

    fn dict(&self, object: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyDict>> {
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

/// What is expected somewhere.
#[derive(Clone, Copy, PartialEq)]
enum Place {
    Heartbeat,
    Moment,
    Field,
    /// What another value was turned into: it is turned into nothing else.
    Turned,
}

/// An object where a value is expected.
#[derive(Clone, Copy)]
struct Value<'w, 'py> {
    walk: &'w Walk<'py>,
    object: &'w Bound<'py, PyAny>,
    place: Place,
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
                What::Said { expected: Some(expected), .. } => self.refused(&bounded(&expected)),
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
        let text = self.rfc3339()?.ok_or_else(|| self.refused(MOMENT))?;
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
        if object.get_type().hasattr(intern!(py, "item"))? {
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
            return visitor.visit_seq(Items { walk: self.walk, items: items(object)?, at: 0 });
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
        match shown(self.object) {
            Ok(value) => {
                Fault { path: String::new(), what: What::Refused { value, bound: bound.to_owned() } }
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

/// The fields of a dict that are asked for, in the order in which they are.
struct Fields<'w, 'py> {
    walk: &'w Walk<'py>,
    dict: Bound<'py, PyDict>,
    fields: &'static [&'static str],
    names: Arc<[Py<PyString>]>,
    at: usize,
    found: usize,
    /// That of the field before `at`.
    value: Option<Bound<'py, PyAny>>,
}

impl<'w, 'py> Fields<'w, 'py> {
    fn of(walk: &'w Walk<'py>, dict: Bound<'py, PyDict>, fields: &'static [&'static str]) -> Self {
        let names = interned(dict.py(), fields);
        Self { walk, dict, fields, names, at: 0, found: 0, value: None }
    }

    /// Refuses a key that no field has, if there is one.
    fn refuse_unknown(&self) -> Result<(), Fault> {
        for key in self.dict.keys() {
            let name = key.cast::<PyString>().ok().and_then(|key| key.to_str().ok());
            if name.is_some_and(|name| self.fields.contains(&name)) {
                continue;
            }
            let name = name.map_or_else(|| shown(&key), |name| Ok(name.to_owned()))?;
            let name = hive_registry::said(&name);
            return Err(<Fault as de::Error>::unknown_field(&name, self.fields).under(&name));
        }
        Ok(())
    }
}

impl<'de> MapAccess<'de> for Fields<'_, '_> {
    type Error = Fault;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Fault> {
        while let Some(field) = self.fields.get(self.at) {
            self.at += 1;
            let value = self
                .dict
                .get_item(&self.names[self.at - 1])
                .map_err(|error| Fault::from(error).under(field))?;
            if value.is_some() {
                self.walk.count(field.len() + 4)?;
                self.found += 1;
                self.value = value;
                return seed.deserialize(BorrowedStrDeserializer::new(field)).map(Some);
            }
        }
        if self.walk.strict && self.found < self.dict.len() {
            self.refuse_unknown()?;
        }
        Ok(None)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Fault> {
        let Some(value) = self.value.take() else {
            return Err(de::Error::custom("a value without a key"));
        };
        let field = self.fields[self.at - 1];
        let place = match field {
            "timestamp" | "last_heartbeat" => Place::Moment,
            _ => Place::Field,
        };
        let read = seed.deserialize(Value { walk: self.walk, object: &value, place });
        read.map_err(|fault| fault.under(field))
    }
}

/// The names of fields as Python has them: made once, for making them takes longer than looking them up.
fn interned(py: Python<'_>, fields: &'static [&'static str]) -> Arc<[Py<PyString>]> {
    type Known = (&'static [&'static str], Arc<[Py<PyString>]>);
    static KNOWN: Mutex<Vec<Known>> = Mutex::new(Vec::new());
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((_, names)) = known.iter().find(|(known, _)| std::ptr::eq(*known, fields)) {
        return names.clone();
    }
    let names: Arc<[_]> = fields.iter().map(|field| PyString::intern(py, field).unbind()).collect();
    known.push((fields, names.clone()));
    names
}

/// The items of a sequence, one after another.
struct Items<'w, 'py> {
    walk: &'w Walk<'py>,
    items: Bound<'py, PyList>,
    at: usize,
}

impl<'de> SeqAccess<'de> for Items<'_, '_> {
    type Error = Fault;

    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, Fault> {
        // It may have become shorter meanwhile.
        if self.at >= self.items.len() {
            return Ok(None);
        }
        let item = self.items.get_item(self.at)?;
        self.at += 1;
        let read = seed.deserialize(Value { walk: self.walk, object: &item, place: Place::Field });
        read.map(Some).map_err(|fault| fault.at(self.at - 1))
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.items.len().saturating_sub(self.at))
    }
}

/// A list as it is, another sequence as a list.
fn items<'py>(sequence: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyList>> {
    match sequence.cast::<PyList>() {
        Ok(list) => Ok(list.clone()),
        Err(_) => Ok(sequence.py().get_type::<PyList>().call1((sequence,))?.cast_into::<PyList>()?),
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

/// A value as it is shown; what cannot show itself by its class.
fn shown(object: &Bound<'_, PyAny>) -> PyResult<String> {
    match object.repr() {
        Ok(said) => Ok(said.to_string_lossy().into_owned()),
        Err(error) if error.is_instance_of::<PyException>(object.py()) => Ok(object.get_type().to_string()),
        Err(error) => Err(error),
    }
}

/// What is wanted, with the bound that a number by itself does not say.
fn bounded(expected: &str) -> String {
    match expected {
        "u16" => format!("u16, at most {}", u16::MAX),
        "u64" => format!("u64, at most {}", u64::MAX),
        _ if expected.starts_with("struct ") => FORMS.replace("JSON, ", ""),
        _ => expected.to_owned(),
    }
}

/// Why an object could not be read.
#[derive(Debug)]
pub(crate) struct Fault {
    /// Grows on the way up.
    path: String,
    what: What,
}

#[derive(Debug)]
enum What {
    /// By serde.
    Said {
        message: String,
        expected: Option<String>,
    },
    Refused {
        value: String,
        bound: String,
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
    fn under(mut self, field: &str) -> Self {
        let dot = if self.path.is_empty() || self.path.starts_with('[') { "" } else { "." };
        self.path = format!("{field}{dot}{}", self.path);
        self
    }

    #[cold]
    fn at(mut self, index: usize) -> Self {
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
            What::Refused { value, bound } => Ok((HeartbeatError::invalid(path, value, bound), None)),
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

/// In the words of JSON.
#[cold]
fn wrong(what: &str, found: Unexpected<'_>, expected: &dyn Expected) -> Fault {
    let expected = expected.to_string();
    let message = match found {
        Unexpected::Unit => format!("invalid {what}: null, expected {expected}"),
        found => format!("invalid {what}: {found}, expected {expected}"),
    };
    Fault::said(message, Some(expected))
}
