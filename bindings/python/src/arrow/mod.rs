//! Tables: what a snapshot becomes, and what heartbeats are made of.

mod heartbeats;
mod tables;

pub(crate) use heartbeats::Heartbeats;
pub(crate) use tables::{hives, schemas, workers};

use std::sync::Arc;

use arrow_array::ArrayRef;
use arrow_cast::{CastOptions, cast_with_options};
use arrow_schema::{ArrowError, DataType, TimeUnit};

/// As another type; a value that does not fit is refused, not lost.
pub(crate) fn cast(array: &ArrayRef, to: &DataType) -> Result<ArrayRef, ArrowError> {
    cast_with_options(array, to, &CastOptions { safe: false, ..CastOptions::default() })
}

/// Moments are microseconds in UTC, in every table.
fn moments() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some(Arc::from("UTC")))
}
