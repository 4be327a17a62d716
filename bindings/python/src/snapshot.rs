//! Snapshots and their tables, for data frames, SQL and notebooks.

use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch, StructArray};
use arrow_schema::{DataType, Field, SchemaRef};
use chrono::{DateTime, Utc};
use hive_registry::{self as hive, said};
use pyo3::exceptions::{PyImportError, PyValueError};
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBytes, PyCapsule};
use pyo3_arrow::PySchema;
use pyo3_arrow::ffi::{ArrayIterator, to_schema_pycapsule, to_stream_pycapsule};

use crate::error::guard;
use crate::number::moment;
use crate::pickle::{self, Batch, Reduced, refused};
use crate::python::equal;
use crate::{arrow, html};

/// A copy of everything at about one moment: each hive is as one heartbeat left it, never a mixture.
///
/// It does not change, and may be used in other processes' memory after `fork()`.
#[pyclass(frozen, module = "hive_registry")]
pub(crate) struct Snapshot {
    taken: hive::Snapshot,
    /// Made when first asked for.
    workers: PyOnceLock<Py<Table>>,
    hives: PyOnceLock<Py<Table>>,
}

impl Snapshot {
    pub(crate) fn new(taken: hive::Snapshot) -> Self {
        Self { taken, workers: PyOnceLock::new(), hives: PyOnceLock::new() }
    }

    fn table(
        &self,
        py: Python<'_>,
        cell: &PyOnceLock<Py<Table>>,
        make: fn(&hive::Snapshot) -> (SchemaRef, Vec<RecordBatch>),
    ) -> PyResult<Py<Table>> {
        let make = || {
            let (schema, batches) = guard(|| Ok(py.detach(|| make(&self.taken))))?;
            Py::new(py, Table { schema, batches })
        };
        cell.get_or_try_init(py, make).map(|table| table.clone_ref(py))
    }

    fn totals(&self) -> (usize, usize, usize) {
        let hives = &self.taken.hives;
        (
            hives.len(),
            hives.iter().filter(|hive| hive.online).count(),
            hives.iter().map(|hive| hive.workers.len()).sum(),
        )
    }

    /// A line of HTML above a table.
    pub(crate) fn heading(&self) -> String {
        let (hives, online, workers) = self.totals();
        format!("<p><b>{hives}</b> hives, {online} of them online, <b>{workers}</b> workers</p>")
    }
}

#[pymethods]
impl Snapshot {
    /// Events up to this one are in it.
    #[getter]
    fn sequence(&self) -> u64 {
        self.taken.sequence
    }

    /// By the registry's clock.
    #[getter]
    fn taken_at(&self) -> DateTime<Utc> {
        moment(self.taken.taken_at_ms.saturating_mul(1_000))
    }

    /// One row a worker, by hive id, then worker id; made when first asked for, by a thread for each core.
    ///
    /// The fields of `Worker` but `process`, and: `timestamp`, when its hive was heard; `reservations`; `load`, an
    /// order and not a measure: less is better; `online`, whether its hive was heard within the liveness window.
    /// `HiveRegistry.ingest_table` takes it as it is.
    #[getter]
    fn workers(&self, py: Python<'_>) -> PyResult<Py<Table>> {
        self.table(py, &self.workers, arrow::workers)
    }

    /// One row a hive, by hive id.
    ///
    /// `online`, `age_ms` since it was heard, `timestamp` when that was, `worker_count`, `reservations`, memory in
    /// use, `version`, and what it says about itself if it sends the telemetry form.
    #[getter]
    pub(crate) fn hives(&self, py: Python<'_>) -> PyResult<Py<Table>> {
        self.table(py, &self.hives, arrow::hives)
    }

    fn __eq__<'py>(&self, other: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        equal(other, other.cast::<Self>().ok().map(|other| self.taken == other.get().taken))
    }

    fn __hash__(&self) -> u64 {
        self.taken.sequence
    }

    fn __copy__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __deepcopy__<'py>(slf: Bound<'py, Self>, _memo: &Bound<'py, PyAny>) -> Bound<'py, Self> {
        slf
    }

    fn __reduce__<'py>(&self, py: Python<'py>) -> PyResult<Reduced<'py, (Bound<'py, PyBytes>,)>> {
        pickle::reduce(py, "_unpickle_snapshot", &self.taken)
    }

    fn __repr__(&self) -> String {
        let (hives, online, workers) = self.totals();
        format!(
            "<Snapshot: {hives} hives, {online} of them online, {workers} workers, at {}>",
            self.taken_at().to_rfc3339()
        )
    }

    fn _repr_html_(&self, py: Python<'_>) -> PyResult<String> {
        Ok(format!("{}{}", self.heading(), self.workers(py)?.get().html()?))
    }
}

/// The inverse of `Snapshot.__reduce__`.
#[pyfunction]
#[pyo3(name = "_unpickle_snapshot")]
pub(crate) fn unpickle_snapshot(py: Python<'_>, json: &[u8]) -> PyResult<Snapshot> {
    pickle::read(py, json).map(Snapshot::new)
}

/// A library, or else what to install: by its own name, for this package may have come from anywhere.
fn library<'py>(py: Python<'py>, name: &str, packages: &str) -> PyResult<Bound<'py, PyModule>> {
    py.import(name).map_err(|error| {
        let missing = PyImportError::new_err(format!("{name} is not installed: pip install {packages}"));
        missing.set_cause(py, Some(error));
        missing
    })
}

/// What makes a frame of pandas.
const PANDAS: &str = "pandas pyarrow";

/// An immutable table that any library reads through the Arrow C stream interface, as often as it likes.
///
/// `polars.DataFrame(table)`, `pyarrow.table(table)`, `duckdb.sql("from t")`, `nanoarrow.Array(table)`.
/// Text is `Utf8`, moments are microseconds in UTC. Copies nothing where the library takes it as it is.
#[pyclass(frozen, module = "hive_registry")]
pub(crate) struct Table {
    schema: SchemaRef,
    batches: Vec<RecordBatch>,
}

impl Table {
    fn rows(&self) -> usize {
        self.batches.iter().map(RecordBatch::num_rows).sum()
    }

    /// The first rows, for a notebook.
    pub(crate) fn html(&self) -> PyResult<String> {
        guard(|| {
            let html = html::table(&self.schema, &self.batches);
            Ok(html.map_err(|error| PyValueError::new_err(said(&error.to_string())))?)
        })
    }

    /// With other types; what they cannot hold is refused, not made null.
    fn cast(&self, schema: SchemaRef) -> PyResult<(SchemaRef, Vec<RecordBatch>)> {
        if names(&schema) != names(&self.schema) {
            return Err(PyValueError::new_err(said(&format!(
                "requested_schema: {:?} refused: the columns {:?}",
                names(&schema),
                names(&self.schema)
            ))));
        }
        let cast = |batch: &RecordBatch| {
            let columns = batch.columns().iter().zip(schema.fields());
            let columns = columns.map(|(column, field)| {
                arrow::cast(column, field.data_type())
                    .map_err(|error| PyValueError::new_err(said(&format!("{}: {error}", field.name()))))
            });
            let columns = columns.collect::<PyResult<Vec<_>>>()?;
            RecordBatch::try_new(schema.clone(), columns)
                .map_err(|error| PyValueError::new_err(said(&error.to_string())))
        };
        let batches = self.batches.iter().map(cast).collect::<PyResult<_>>()?;
        Ok((schema, batches))
    }

    /// Gives itself to a function of a library that may be missing.
    fn give<'py>(
        slf: &Bound<'py, Self>,
        name: &str,
        packages: &str,
        function: &str,
    ) -> PyResult<Bound<'py, PyAny>> {
        library(slf.py(), name, packages)?.call_method1(function, (slf,))
    }
}

#[pymethods]
impl Table {
    /// The rows as an Arrow C stream; with the types of `requested_schema`, if it names the same columns.
    ///
    /// Raises:
    ///     ValueError: it names others, or a value does not fit its type.
    #[pyo3(signature = (requested_schema = None))]
    fn __arrow_c_stream__<'py>(
        &self,
        py: Python<'py>,
        requested_schema: Option<Bound<'py, PyCapsule>>,
    ) -> PyResult<Bound<'py, PyCapsule>> {
        guard(|| {
            let (schema, batches) = match requested_schema {
                None => (self.schema.clone(), self.batches.clone()),
                Some(schema) => self.cast(PySchema::from_arrow_pycapsule(&schema)?.into_inner())?,
            };
            let rows = batches.into_iter().map(|batch| Ok(Arc::new(StructArray::from(batch)) as ArrayRef));
            let row = Field::new("", DataType::Struct(schema.fields().clone()), false);
            let rows = Box::new(ArrayIterator::new(rows, Arc::new(row)));
            Ok(to_stream_pycapsule(py, rows, None).map_err(PyErr::from)?)
        })
    }

    /// The columns as an Arrow C schema.
    fn __arrow_c_schema__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyCapsule>> {
        guard(|| Ok(to_schema_pycapsule(py, self.schema.as_ref()).map_err(PyErr::from)?))
    }

    /// The names of its columns.
    #[getter]
    fn columns(&self) -> Vec<&str> {
        self.schema.fields().iter().map(|field| field.name().as_str()).collect()
    }

    fn __len__(&self) -> usize {
        self.rows()
    }

    fn __eq__<'py>(&self, other: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        equal(other, other.cast::<Self>().ok().map(|other| self.batches == other.get().batches))
    }

    fn __hash__(&self) -> usize {
        self.rows()
    }

    fn __copy__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __deepcopy__<'py>(slf: Bound<'py, Self>, _memo: &Bound<'py, PyAny>) -> Bound<'py, Self> {
        slf
    }

    fn __reduce__<'py>(&self, py: Python<'py>) -> PyResult<Reduced<'py, Parts<Bound<'py, PyBytes>>>> {
        let batches = self.batches.iter().map(|batch| pickle::buffers(py, batch)).collect();
        Ok((pickle::function(py, "_unpickle_table")?, (names(&self.schema), batches)))
    }

    /// A `polars.DataFrame`. ImportError if polars is missing.
    fn to_polars(slf: &Bound<'_, Self>) -> PyResult<Py<PyAny>> {
        Self::give(slf, "polars", "polars", "DataFrame").map(Bound::unbind)
    }

    /// A `pyarrow.Table`. ImportError if pyarrow is missing.
    fn to_arrow(slf: &Bound<'_, Self>) -> PyResult<Py<PyAny>> {
        Self::give(slf, "pyarrow", "pyarrow", "table").map(Bound::unbind)
    }

    /// A `pandas.DataFrame`, by way of pyarrow. ImportError if one of them is missing.
    fn to_pandas(slf: &Bound<'_, Self>) -> PyResult<Py<PyAny>> {
        library(slf.py(), "pandas", PANDAS)?;
        Self::give(slf, "pyarrow", PANDAS, "table")?.call_method0("to_pandas").map(Bound::unbind)
    }

    fn __repr__(&self) -> String {
        format!("<Table: {} rows, {} columns>", self.rows(), self.schema.fields().len())
    }

    fn _repr_html_(&self) -> PyResult<String> {
        self.html()
    }
}

fn names(schema: &SchemaRef) -> Vec<String> {
    schema.fields().iter().map(|field| field.name().clone()).collect()
}

/// The names of a table's columns, and its batches.
type Parts<B> = (Vec<String>, Vec<Batch<B>>);

/// The inverse of `Table.__reduce__`.
#[pyfunction]
#[pyo3(name = "_unpickle_table")]
pub(crate) fn unpickle_table(columns: Vec<String>, batches: Vec<Batch<PyBackedBytes>>) -> PyResult<Table> {
    let schema = arrow::schemas().into_iter().find(|schema| names(schema) == columns);
    let schema =
        schema.ok_or_else(|| refused(&format!("columns: {columns:?} refused: those of a snapshot")))?;
    let batches = batches.into_iter().map(|batch| pickle::batch(&schema, batch));
    guard(|| {
        let batches = batches.collect::<Result<_, _>>().map_err(|error| refused(&error))?;
        Ok(Table { schema: schema.clone(), batches })
    })
}
