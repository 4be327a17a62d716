//! A clock that stands still until it is told to move.

use chrono::{DateTime, Utc};
use hive_registry::ManualClock as Manual;
use pyo3::prelude::*;

use crate::number::{moment, seconds as span, signed_ns, unix_ns};

/// A clock that stands still until it is told to move: for tests, replays and simulations.
///
/// Args:
///     start: what it shows first, seconds since 1970 or a `datetime` with a time zone.
///
/// Raises:
///     ConfigError: a span is negative, or a moment past the year 9999.
#[pyclass(frozen, module = "hive_registry")]
pub(crate) struct ManualClock(Manual);

impl ManualClock {
    /// The same time.
    pub(crate) fn share(&self) -> Manual {
        self.0.clone()
    }
}

#[pymethods]
impl ManualClock {
    #[new]
    #[pyo3(signature = (start = None))]
    fn new(start: Option<&Bound<'_, PyAny>>) -> PyResult<Self> {
        let clock = Manual::new(0);
        if let Some(start) = start {
            clock.jump_wall_ns(unix_ns("start", start)?);
        }
        Ok(Self(clock))
    }

    /// Lets so much time pass.
    fn advance(&self, seconds: &Bound<'_, PyAny>) -> PyResult<()> {
        self.0.advance(span("seconds", seconds)?);
        Ok(())
    }

    /// Shows `moment` from now on. Going forward, that much time passes; going back, only the wall clock moves.
    fn set(&self, moment: &Bound<'_, PyAny>) -> PyResult<()> {
        self.0.set_ns(unix_ns("moment", moment)?);
        Ok(())
    }

    /// Steps the wall clock, either way, while no time passes.
    fn jump_wall(&self, seconds: &Bound<'_, PyAny>) -> PyResult<()> {
        self.0.jump_wall_ns(signed_ns("seconds", seconds)?);
        Ok(())
    }

    /// What it shows.
    fn now(&self) -> DateTime<Utc> {
        let us = self.0.wall_ns().div_euclid(1_000);
        moment(i64::try_from(us).unwrap_or(if us < 0 { i64::MIN } else { i64::MAX }))
    }

    fn __repr__(&self) -> String {
        format!("ManualClock({:?})", self.now().to_rfc3339())
    }
}
