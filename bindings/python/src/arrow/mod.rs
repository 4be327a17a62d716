//! Tables: what a snapshot becomes, and what heartbeats are made of.

mod heartbeats;
mod tables;

pub(crate) use heartbeats::Heartbeats;
pub(crate) use tables::{hives, workers};

use std::sync::Arc;

use arrow_schema::{DataType, TimeUnit};

/// Moments are microseconds in UTC, in every table.
fn moments() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some(Arc::from("UTC")))
}
