//! Heartbeats: one, many, or a table of them.

use hive_registry::{self as hive, HeartbeatError, HeartbeatOutcome, said};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyCapsule, PyMapping, PyTuple};
use pyo3_arrow::PyRecordBatchReader;

use super::HiveRegistry;
use crate::arrow::Heartbeats;
use crate::error::{HeartbeatError as Raised, Refused};
use crate::heartbeat::{Json, text};
use crate::python::{module, record};

/// The members of the enum in Python, and the counts in `Ingested`, by place.
const OUTCOMES: [&str; 4] = ["REGISTERED", "UPDATED", "SUPERSEDED", "REMOVED"];

fn place(outcome: HeartbeatOutcome) -> usize {
    match outcome {
        HeartbeatOutcome::Registered => 0,
        HeartbeatOutcome::Updated => 1,
        HeartbeatOutcome::Superseded => 2,
        // Removed: there is no other, for this is built with the registry.
        _ => 3,
    }
}

/// The outcome as a member of the enum in Python.
fn member(py: Python<'_>, outcome: HeartbeatOutcome) -> PyResult<Bound<'_, PyAny>> {
    static MEMBERS: PyOnceLock<[Py<PyAny>; 4]> = PyOnceLock::new();
    let members = MEMBERS.get_or_try_init(py, || {
        let outcomes = py.import("hive_registry")?.getattr("HeartbeatOutcome")?;
        let [registered, updated, superseded, removed] =
            OUTCOMES.map(|name| outcomes.getattr(name).map(Bound::unbind));
        Ok::<_, PyErr>([registered?, updated?, superseded?, removed?])
    })?;
    Ok(members[place(outcome)].bind(py).clone())
}

/// What became of many heartbeats.
#[derive(Default)]
struct Tally<'py> {
    counts: [u64; 4],
    refused: Vec<(usize, Bound<'py, PyAny>)>,
}

impl<'py> Tally<'py> {
    fn count(&mut self, outcome: HeartbeatOutcome) {
        self.counts[place(outcome)] += 1;
    }

    /// A refused heartbeat does not keep those after it; whatever else went wrong does.
    fn refuse(&mut self, py: Python<'py>, at: usize, error: PyErr) -> PyResult<()> {
        if !error.is_instance_of::<Raised>(py) {
            return Err(error);
        }
        self.refused.push((at, error.into_value(py).into_bound(py).into_any()));
        Ok(())
    }

    fn record(self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let refused = PyTuple::new(py, self.refused)?;
        let [registered, updated, superseded, removed] = self.counts;
        record(py, "Ingested", (registered, updated, superseded, removed, refused))
    }
}

impl HiveRegistry {
    fn apply<'py>(
        &self,
        py: Python<'py>,
        apply: impl FnOnce(&hive::HiveRegistry) -> Result<HeartbeatOutcome, HeartbeatError> + Send,
    ) -> PyResult<HeartbeatOutcome> {
        Ok(self.detached(py, apply)?.map_err(Refused::from)?)
    }
}

#[pymethods]
impl HiveRegistry {
    /// Applies a heartbeat in the plain form.
    fn update_hive_state<'py>(
        &self,
        py: Python<'py>,
        hive_id: &Bound<'py, PyAny>,
        payload: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let (hive_id, body) = (text("hive_id", hive_id)?, Json::of(payload)?);
        let apply = |registry: &hive::HiveRegistry| registry.update_hive_state_json(&hive_id, body.bytes());
        member(py, self.apply(py, apply)?)
    }

    /// Applies a heartbeat in the telemetry form.
    fn update_hive<'py>(
        &self,
        py: Python<'py>,
        heartbeat: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let body = Json::of(heartbeat)?;
        member(py, self.apply(py, |registry| registry.update_hive_json(body.bytes()))?)
    }

    /// Replaces a hive's workers by processes.
    fn update_workers<'py>(
        &self,
        py: Python<'py>,
        hive_id: &Bound<'py, PyAny>,
        processes: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let (hive_id, body) = (text("hive_id", hive_id)?, Json::of(processes)?);
        let apply = |registry: &hive::HiveRegistry| registry.update_workers_json(&hive_id, body.bytes());
        member(py, self.apply(py, apply)?)
    }

    /// Applies a heartbeat from JSON, of either form.
    fn ingest_json<'py>(&self, py: Python<'py>, body: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        let body = Json::given(body)?;
        member(py, self.apply(py, |registry| registry.ingest_json(body.bytes()))?)
    }

    /// Applies a heartbeat of either form, however it comes.
    fn ingest<'py>(&self, py: Python<'py>, heartbeat: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        let body = Json::of(heartbeat)?;
        member(py, self.apply(py, |registry| registry.ingest_json(body.bytes()))?)
    }

    /// Applies many; a refused one does not keep those after it.
    fn ingest_many<'py>(
        &self,
        py: Python<'py>,
        heartbeats: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        // One heartbeat: its letters or keys would be taken for many.
        if Json::is_given(heartbeats) || heartbeats.cast::<PyMapping>().is_ok() {
            let what = heartbeats.repr()?.to_string();
            return Err(PyTypeError::new_err(format!("heartbeats: {what:.64} refused: many of them")));
        }
        let mut tally = Tally::default();
        for (at, heartbeat) in heartbeats.try_iter()?.enumerate() {
            py.check_signals()?;
            let heartbeat = heartbeat?;
            let applied = Json::of(&heartbeat)
                .and_then(|body| self.apply(py, |registry| registry.ingest_json(body.bytes())));
            match applied {
                Ok(outcome) => tally.count(outcome),
                Err(error) => tally.refuse(py, at, error)?,
            }
        }
        tally.record(py)
    }

    /// Applies a table with one row a worker.
    fn ingest_table<'py>(&self, py: Python<'py>, table: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        static TABLES: PyOnceLock<Py<PyModule>> = PyOnceLock::new();
        if !table.hasattr("__arrow_c_stream__")? {
            let what = table.repr()?;
            return Err(PyTypeError::new_err(said(&format!(
                "table: {what} refused: a table with __arrow_c_stream__"
            ))));
        }
        let table = module(py, &TABLES, "hive_registry._tables")?.getattr("readable")?.call1((table,))?;
        let stream = table.call_method0("__arrow_c_stream__")?.cast_into::<PyCapsule>()?;
        let reader = PyRecordBatchReader::from_arrow_pycapsule(&stream)
            .map_err(|error| Raised::new_err(format!("table: {}", error.value(py))))?
            .into_reader()?;
        let heartbeats = self.detached(py, |_| Heartbeats::read(reader))?.map_err(Raised::new_err)?;
        let applied = self.detached(py, |registry| heartbeats.apply(registry))?;
        let mut tally = Tally::default();
        for (row, applied) in applied {
            match applied {
                Ok(outcome) => tally.count(outcome),
                Err(error) => tally.refuse(py, row, Refused::from(error).into())?,
            }
        }
        tally.record(py)
    }
}
