//! A clock that stands still until it is told to move.

use chrono::{DateTime, Utc};
use hive_registry::{Clock, ManualClock as Manual};
use pyo3::prelude::*;

use crate::number::{moment, seconds as span, signed_ms, unix_ms};

/// A clock that stands still until it is told to move: for tests, replays and simulations.
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
        Ok(Self(Manual::new(start.map_or(Ok(0), |start| unix_ms("start", start))?)))
    }

    /// Lets so many seconds pass.
    fn advance(&self, seconds: &Bound<'_, PyAny>) -> PyResult<()> {
        self.0.advance(span("seconds", seconds)?);
        Ok(())
    }

    /// Shows `moment` from now on.
    fn set(&self, moment: &Bound<'_, PyAny>) -> PyResult<()> {
        self.0.set(unix_ms("moment", moment)?);
        Ok(())
    }

    /// Steps the wall clock while no time passes.
    fn jump_wall(&self, seconds: &Bound<'_, PyAny>) -> PyResult<()> {
        self.0.jump_wall(signed_ms("seconds", seconds)?);
        Ok(())
    }

    /// What it shows.
    fn now(&self) -> DateTime<Utc> {
        moment(self.0.wall_ms().saturating_mul(1_000))
    }

    fn __repr__(&self) -> String {
        format!("ManualClock({:?})", self.now().to_rfc3339())
    }
}
