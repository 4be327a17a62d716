//! Heartbeats: one, many, or a table of them.

use chrono::DateTime;
use hive_registry::{self as hive, Heartbeat, HeartbeatError, HeartbeatOutcome, Processes, said};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyCapsule, PyTuple};
use pyo3_arrow::PyRecordBatchReader;

use super::HiveRegistry;
use crate::arrow::Heartbeats;
use crate::error::{HeartbeatError as Raised, Refused};
use crate::heartbeat::{Given, Json, Refusal, text};
use crate::order::{Key, replayed};
use crate::python::{module, record};
use crate::walk;

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

/// What became of one of many heartbeats, by its place.
type Applied = (usize, Result<HeartbeatOutcome, HeartbeatError>);

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

    fn refuse(&mut self, py: Python<'py>, at: usize, error: PyErr) {
        self.refused.push((at, error.into_value(py).into_bound(py).into_any()));
    }

    fn add(&mut self, py: Python<'py>, applied: impl IntoIterator<Item = Applied>) {
        for (at, outcome) in applied {
            match outcome {
                Ok(outcome) => self.count(outcome),
                Err(error) => self.refuse(py, at, Refused::from(error).into()),
            }
        }
    }

    fn record(self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let mut refused = self.refused;
        refused.sort_by_key(|(at, _)| *at);
        let refused = PyTuple::new(py, refused)?;
        let [registered, updated, superseded, removed] = self.counts;
        record(py, "Ingested", (registered, updated, superseded, removed, refused))
    }
}

/// Heartbeats that are read before any of them is applied; what is more comes after them.
const BATCH: usize = 8_192;

impl HiveRegistry {
    /// Reads a heartbeat and applies it, as JSON or as what it was read to; `hive_id` is whose it must be.
    fn apply<'py>(
        &self,
        py: Python<'py>,
        heartbeat: &Bound<'py, PyAny>,
        strict: bool,
        hive_id: Option<&str>,
        json: impl FnOnce(&hive::HiveRegistry, &[u8]) -> Result<HeartbeatOutcome, HeartbeatError> + Send,
        read: impl FnOnce(&hive::HiveRegistry, &Heartbeat<'_>) -> Result<HeartbeatOutcome, HeartbeatError> + Send,
    ) -> PyResult<Bound<'py, PyAny>> {
        let outcome = self.run(|registry| match Given::of(heartbeat, registry.limits(), strict)? {
            Given::Json(body) => Ok(py.detach(|| json(registry, body.bytes()))?),
            Given::Read(heartbeat) => Ok(py.detach(|| read(registry, &heartbeat))?),
            Given::Unread(refusal) => Err(refusal.told(py, registry, hive_id).into()),
        })?;
        member(py, outcome)
    }
}

impl HiveRegistry {
    /// Reads a batch, and refuses what cannot be read. What is no fault of a heartbeat ends it.
    fn read_batch<'py>(
        &self,
        py: Python<'py>,
        heartbeats: impl Iterator<Item = (usize, PyResult<Bound<'py, PyAny>>)>,
        strict: bool,
        tally: &mut Tally<'py>,
    ) -> (Vec<(usize, Given)>, PyResult<()>) {
        let mut batch = Vec::new();
        let stopped = self.run(|registry| {
            for (at, heartbeat) in heartbeats {
                py.check_signals()?;
                match Given::of(&heartbeat?, registry.limits(), strict)? {
                    Given::Unread(refusal) => tally.refuse(py, at, refusal.told(py, registry, None)),
                    given => batch.push((at, given)),
                }
            }
            Ok(())
        });
        (batch, stopped)
    }
}

/// Applies a batch hive by hive, in the order of keys (I3). O(n log n).
fn apply_batch(registry: &hive::HiveRegistry, batch: &[(usize, Given)]) -> Vec<Applied> {
    let limit = registry.limits().heartbeat_bytes;
    let parsed = batch.iter().map(|(_, given)| match given {
        Given::Json(json) if json.bytes().len() <= limit => Heartbeat::from_json(json.bytes()).ok(),
        _ => None,
    });
    let parsed: Vec<_> = parsed.collect();
    // None of JSON that cannot be read, which the registry refuses, whenever it comes.
    let read = |at: usize| match &batch[at].1 {
        Given::Read(heartbeat) => Some(heartbeat),
        _ => parsed[at].as_ref(),
    };
    let key = |at| read(at).map(key).unwrap_or_default();
    let keys: Vec<_> = (0..batch.len()).map(key).collect();
    let apply = |at: usize| {
        let (place, given) = &batch[at];
        match (read(at), given) {
            (Some(heartbeat), _) => Some((*place, registry.ingest_heartbeat(heartbeat))),
            (None, Given::Json(json)) => Some((*place, registry.ingest_json(json.bytes()))),
            (None, _) => None,
        }
    };
    replayed(&keys).into_iter().filter_map(apply).collect()
}

fn key<'h>(heartbeat: &'h Heartbeat<'_>) -> Key<'h> {
    let timestamp = DateTime::parse_from_rfc3339(heartbeat.timestamp()).ok();
    Key {
        hive_id: heartbeat.hive_id(),
        pair: heartbeat.pair(),
        timestamp: timestamp.map(|moment| moment.to_utc()),
    }
}

#[pymethods]
impl HiveRegistry {
    /// Applies a heartbeat in the plain form, of this hive alone: replaces all its workers, or changes nothing.
    ///
    /// Takes what `ingest` takes. O(workers), and O(log n) for each worker whose rank changed.
    ///
    /// Args:
    ///     hive_id: whose it must be.
    ///     payload: the heartbeat.
    ///     strict: refuses fields that are not known, at any depth; not for JSON.
    ///
    /// Raises:
    ///     HeartbeatError: says field, value and bound; then nothing changed.
    ///     ConfigError: `strict` with JSON.
    #[pyo3(signature = (hive_id, payload, *, strict = false))]
    fn update_hive_state<'py>(
        &self,
        py: Python<'py>,
        hive_id: &Bound<'py, PyAny>,
        payload: &Bound<'py, PyAny>,
        strict: bool,
    ) -> PyResult<Bound<'py, PyAny>> {
        let hive_id = &*text("hive_id", hive_id)?;
        self.apply(
            py,
            payload,
            strict,
            Some(hive_id),
            |registry, json| registry.update_hive_state_json(hive_id, json),
            |registry, heartbeat| registry.ingest_plain(hive_id, heartbeat),
        )
    }

    /// Applies a heartbeat in the telemetry form, or the event of a stream; otherwise as `update_hive_state`.
    ///
    /// Raises:
    ///     HeartbeatError: says field, value and bound; then nothing changed.
    ///     ConfigError: `strict` with JSON.
    #[pyo3(signature = (heartbeat, *, strict = false))]
    fn update_hive<'py>(
        &self,
        py: Python<'py>,
        heartbeat: &Bound<'py, PyAny>,
        strict: bool,
    ) -> PyResult<Bound<'py, PyAny>> {
        let (json, read) = (hive::HiveRegistry::update_hive_json, hive::HiveRegistry::ingest_telemetry);
        self.apply(py, heartbeat, strict, None, json, read)
    }

    /// Replaces a hive's workers by processes and counts it as heard now; an unknown hive is registered. O(workers).
    ///
    /// Args:
    ///     hive_id: the hive.
    ///     processes: a sequence of `ProcessStats`, or of what else has their fields; or JSON.
    ///     strict: refuses fields that are not known; not for JSON.
    ///
    /// Raises:
    ///     HeartbeatError: says field, value and bound; then nothing changed.
    ///     ConfigError: `strict` with JSON.
    #[pyo3(signature = (hive_id, processes, *, strict = false))]
    fn update_workers<'py>(
        &self,
        py: Python<'py>,
        hive_id: &Bound<'py, PyAny>,
        processes: &Bound<'py, PyAny>,
        strict: bool,
    ) -> PyResult<Bound<'py, PyAny>> {
        let hive_id = &*text("hive_id", hive_id)?;
        let outcome = self.run(|registry| {
            if let Some(body) = Json::of(processes, strict)? {
                return Ok(py.detach(|| registry.update_workers_json(hive_id, body.bytes()))?);
            }
            match walk::processes::<Processes<'static>>(processes, registry.limits().heartbeat_bytes, strict)
            {
                Ok(processes) => Ok(py.detach(|| registry.ingest_processes(hive_id, &processes))?),
                Err(fault) => Err(Refusal::of(py, fault, None)?.told(py, registry, Some(hive_id)).into()),
            }
        })?;
        member(py, outcome)
    }

    /// Applies a heartbeat from JSON, of any form: `hive_id` marks the plain one, `hive` the telemetry one.
    ///
    /// `hive_id` with the `type` "telemetry" or "hive_telemetry" is the event of a stream. The fastest way for one
    /// heartbeat: nothing of it becomes a Python object. O(bytes).
    ///
    /// Raises:
    ///     HeartbeatError: says field, value and bound, line and column; then nothing changed.
    fn ingest_json<'py>(&self, py: Python<'py>, body: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        let body = Json::given(body)?;
        let outcome = self.detached(py, |registry| registry.ingest_json(body.bytes()))?;
        member(py, outcome.map_err(Refused::from)?)
    }

    /// Applies a heartbeat of any form, however it comes. O(fields); JSON is faster: see `ingest_json`.
    ///
    /// It may be JSON, or what has the fields that JSON would have: a dict or another mapping, a dataclass, a model of
    /// pydantic, attrs or msgspec, a named tuple; lists may be any sequences, numbers those of numpy, words members of
    /// an enum. `timestamp` and `last_heartbeat` are RFC 3339, a `datetime` with a time zone, or seconds since 1970.
    /// Only the fields that are known are looked at; what is not told is left out or None.
    ///
    /// Args:
    ///     heartbeat: the heartbeat.
    ///     strict: refuses fields that are not known, at any depth; not for JSON.
    ///
    /// Raises:
    ///     HeartbeatError: says field, value and bound; then nothing changed. What an object raises while it is read is
    ///         its cause.
    ///     ConfigError: `strict` with JSON.
    #[pyo3(signature = (heartbeat, *, strict = false))]
    fn ingest<'py>(
        &self,
        py: Python<'py>,
        heartbeat: &Bound<'py, PyAny>,
        strict: bool,
    ) -> PyResult<Bound<'py, PyAny>> {
        let (json, read) = (hive::HiveRegistry::ingest_json, hive::HiveRegistry::ingest_heartbeat);
        self.apply(py, heartbeat, strict, None, json, read)
    }

    /// Applies many. A refused one does not keep the others: look at `refused` of what is returned.
    ///
    /// They are read 8,192 at a time, which takes about 3 KB for each of 8 workers beside what was given, and then
    /// applied hive by hive, in the order of (epoch, seq) where sent, else of `timestamp`. A hive whose counter began
    /// again, whose clock was set back, or that sends the pair only at times is left in the order given. O(n log n).
    ///
    /// Args:
    ///     heartbeats: what `ingest` takes, any number of times.
    ///     strict: refuses fields that are not known, at any depth; not for JSON.
    ///
    /// Raises:
    ///     TypeError: `heartbeats` is one heartbeat, or no iterable.
    ///     ConfigError: `strict` with JSON.
    ///     BaseException: what iterating raises, an interrupt among it. What came before was applied, and stays:
    ///         `stats` counts it.
    #[pyo3(signature = (heartbeats, *, strict = false))]
    fn ingest_many<'py>(
        &self,
        py: Python<'py>,
        heartbeats: &Bound<'py, PyAny>,
        strict: bool,
    ) -> PyResult<Bound<'py, PyAny>> {
        // One heartbeat: its letters, keys or fields would be taken for many.
        if Json::is_given(heartbeats) || walk::has_fields(heartbeats)? {
            let what = heartbeats.repr()?.to_string();
            return Err(PyTypeError::new_err(format!("heartbeats: {what:.64} refused: many of them")));
        }
        let mut tally = Tally::default();
        let mut heartbeats = heartbeats.try_iter()?.enumerate().peekable();
        while heartbeats.peek().is_some() {
            let (batch, stopped) = self.read_batch(py, heartbeats.by_ref().take(BATCH), strict, &mut tally);
            tally.add(py, self.detached(py, |registry| apply_batch(registry, &batch))?);
            // What came before is applied, and stays.
            stopped?;
        }
        tally.record(py)
    }

    /// Applies the heartbeats of a table with one row a worker.
    ///
    /// Columns are those of `WorkerState`, and `hive_id`, `timestamp`, `epoch`, `seq`; of these `hive_id`, `worker_id`
    /// and `timestamp` must be there. Rows that agree in `hive_id`, `timestamp`, `epoch` and `seq` are one heartbeat.
    /// Moments are timestamps with a time zone, seconds since 1970, or text as RFC 3339. What is null or missing is as
    /// `WorkerState` has it, `last_heartbeat` as `timestamp`; other columns are left alone. A hive without workers has
    /// no
    /// row: a table cannot tell of it. The fastest way for many; of a refused heartbeat `refused` tells the first row.
    ///
    /// The whole table is read, then applied in the order of `ingest_many`. O(rows log rows).
    ///
    /// Raises:
    ///     HeartbeatError: a column is missing or of the wrong type, or a value in it cannot be; then nothing was
    ///         applied.
    ///     TypeError: it is no table; a plan is told what makes one of it.
    fn ingest_table<'py>(&self, py: Python<'py>, table: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        static TABLES: PyOnceLock<Py<PyModule>> = PyOnceLock::new();
        if !table.hasattr("__arrow_c_stream__")? {
            // A plan of polars, ibis or dask, for which the one or the other makes a table of it.
            let mut hint = String::new();
            for method in ["collect", "to_pyarrow", "compute"] {
                if hint.is_empty() && table.get_type().hasattr(method)? {
                    hint = format!("; .{method}() makes one of it");
                }
            }
            let what = table.repr()?;
            return Err(PyTypeError::new_err(said(&format!(
                "table: {what} refused: a table with __arrow_c_stream__{hint}"
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
        tally.add(py, applied);
        tally.record(py)
    }
}
