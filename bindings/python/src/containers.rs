//! Dicts and sequences as serde asks for what is in them.

use std::sync::{Arc, Mutex, PoisonError};

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyIterator, PyString};
use serde::de::value::BorrowedStrDeserializer;
use serde::de::{self, DeserializeSeed, MapAccess, SeqAccess};

use crate::fault::Fault;
use crate::walk::{Place, Value, Walk, shown};

/// The fields of a dict that are asked for, in the order in which they are.
pub(crate) struct Fields<'w, 'py> {
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
    pub(crate) fn of(walk: &'w Walk<'py>, dict: Bound<'py, PyDict>, fields: &'static [&'static str]) -> Self {
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

/// The items of a sequence, one after another, for a sequence may be endless, or change meanwhile.
pub(crate) struct Items<'w, 'py> {
    walk: &'w Walk<'py>,
    items: Bound<'py, PyIterator>,
    at: usize,
}

impl<'w, 'py> Items<'w, 'py> {
    pub(crate) fn of(walk: &'w Walk<'py>, sequence: &Bound<'py, PyAny>) -> PyResult<Self> {
        Ok(Self { walk, items: sequence.try_iter()?, at: 0 })
    }
}

impl<'de> SeqAccess<'de> for Items<'_, '_> {
    type Error = Fault;

    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, Fault> {
        let Some(item) = self.items.next() else { return Ok(None) };
        let item = item?;
        self.walk.count(1)?;
        self.at += 1;
        let read = seed.deserialize(Value { walk: self.walk, object: &item, place: Place::Field });
        read.map(Some).map_err(|fault| fault.at(self.at - 1))
    }
}
