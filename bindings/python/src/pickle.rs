//! What is pickled: records as JSON, which keeps every field, and tables as the buffers of their columns.

use arrow_array::{Array, RecordBatch, make_array};
use arrow_buffer::Buffer;
use arrow_data::ArrayData;
use arrow_schema::{ArrowError, DataType, SchemaRef};
use hive_registry::said;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::PyBytes;
use serde::{Serialize, de::DeserializeOwned};

/// What `__reduce__` answers: a function of the package, and what it is to be called with.
pub(crate) type Reduced<'py, A> = (Bound<'py, PyAny>, A);

/// The function that makes it anew.
pub(crate) fn function<'py>(py: Python<'py>, name: &str) -> PyResult<Bound<'py, PyAny>> {
    py.import("hive_registry._core")?.getattr(name)
}

pub(crate) fn refused(error: &impl ToString) -> PyErr {
    PyValueError::new_err(said(&error.to_string()))
}

/// A record as JSON.
pub(crate) fn reduce<'py>(
    py: Python<'py>,
    unpickle: &str,
    record: &(impl Serialize + Sync),
) -> PyResult<Reduced<'py, (Bound<'py, PyBytes>,)>> {
    let json = py.detach(|| serde_json::to_vec(record)).map_err(|error| refused(&error))?;
    Ok((function(py, unpickle)?, (PyBytes::new(py, &json),)))
}

/// The inverse of [`reduce`].
pub(crate) fn read<T: DeserializeOwned + Send>(py: Python<'_>, json: &[u8]) -> PyResult<T> {
    py.detach(|| serde_json::from_slice(json)).map_err(|error| refused(&error))
}

/// A column: which of its values are there, unless all are, and the buffers that hold them.
pub(crate) type Column<B> = (Option<B>, Vec<B>);
/// Rows, and the columns by their order.
pub(crate) type Batch<B> = (usize, Vec<Column<B>>);

/// A batch as plain bytes.
pub(crate) fn buffers<'py>(py: Python<'py>, batch: &RecordBatch) -> Batch<Bound<'py, PyBytes>> {
    let column = |data: ArrayData| {
        let nulls = data.nulls().map(|nulls| PyBytes::new(py, nulls.buffer()));
        (nulls, data.buffers().iter().map(|buffer| PyBytes::new(py, buffer)).collect())
    };
    let columns = batch.columns().iter().map(|array| column(array.to_data()));
    (batch.num_rows(), columns.collect())
}

/// The inverse of [`buffers`]; everything is checked, for a pickle may come from anywhere.
pub(crate) fn batch(
    schema: &SchemaRef,
    (rows, columns): Batch<PyBackedBytes>,
) -> Result<RecordBatch, ArrowError> {
    let buffer = |bytes: &PyBackedBytes| Buffer::from(&bytes[..]);
    let array = |(field, (nulls, buffers)): (&arrow_schema::FieldRef, Column<PyBackedBytes>)| {
        let of_type = field.data_type().clone();
        // The offsets of text are the first of its buffers. What arrow does not refuse but panics at.
        let width = of_type.primitive_width().unwrap_or(if of_type == DataType::Utf8 { 4 } else { 1 });
        if buffers.first().is_some_and(|first| first.len() % width != 0) {
            let name = field.name();
            return Err(ArrowError::InvalidArgumentError(format!("{name}: a buffer ends within a value")));
        }
        let nulls = nulls.as_ref().map(buffer);
        let buffers = buffers.iter().map(buffer).collect();
        Ok(make_array(ArrayData::try_new(of_type, rows, nulls, 0, buffers, Vec::new())?))
    };
    let arrays = schema.fields().iter().zip(columns).map(array).collect::<Result<_, ArrowError>>()?;
    RecordBatch::try_new(schema.clone(), arrays)
}
