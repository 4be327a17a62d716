//! The change feed.

use std::time::{Duration, Instant};

use hive_registry::{Event, EventKind, FeedError, Subscription};
use pyo3::prelude::*;

use crate::error::{Closed, Lagged, guard};
use crate::fork::Owned;
use crate::number::seconds;
use crate::python::record;
use crate::worker::Worker;

/// How often a wait looks whether a signal came, Ctrl-C among them.
const SIGNALS: Duration = Duration::from_millis(100);

/// The events of a `Subscription`, which is written in Python.
#[pyclass(frozen, module = "hive_registry._core")]
pub(crate) struct Feed(Owned<Subscription>);

impl Feed {
    pub(crate) fn new(subscription: Subscription) -> Self {
        Self(Owned::new(subscription))
    }
}

#[pymethods]
impl Feed {
    /// The next event; `None` if none came within `timeout` seconds; `None` as timeout waits for ever.
    #[pyo3(signature = (timeout = None))]
    fn next<'py>(
        &self,
        py: Python<'py>,
        timeout: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        let feed = self.0.get()?;
        let timeout = timeout.map(|timeout| seconds("timeout", timeout)).transpose()?;
        // A moment too far for the clock is never reached.
        let until = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        loop {
            let left = match (timeout, until) {
                (Some(_), Some(until)) => until.saturating_duration_since(Instant::now()),
                _ => Duration::MAX,
            };
            let next = guard(|| Ok(py.detach(|| feed.next_timeout(left.min(SIGNALS)))))?;
            match next {
                Ok(event) => return self::event(py, event).map(Some),
                Err(FeedError::Timeout) if left <= SIGNALS => return Ok(None),
                Err(FeedError::Timeout) => py.check_signals()?,
                Err(FeedError::Lagged(lost)) => return Err(Lagged::new_err(lost)),
                Err(closed) => return Err(Closed::new_err(closed.to_string())),
            }
        }
    }
}

fn event(py: Python<'_>, event: Event) -> PyResult<Bound<'_, PyAny>> {
    let Event { sequence, version, hive_id, kind } = event;
    let common = (sequence, version, &*hive_id);
    let of_worker = |class, worker| record(py, class, (common.0, common.1, common.2, Worker(worker)));
    match kind {
        EventKind::HiveRegistered => record(py, "HiveRegistered", common),
        EventKind::HiveUpdated => record(py, "HiveUpdated", common),
        EventKind::HiveOffline => record(py, "HiveOffline", common),
        EventKind::HiveRemoved => record(py, "HiveRemoved", common),
        EventKind::WorkerAdded(worker) => of_worker("WorkerAdded", worker),
        EventKind::WorkerChanged(worker) => of_worker("WorkerChanged", worker),
        EventKind::WorkerRemoved(worker) => of_worker("WorkerRemoved", worker),
        // A kind that this version of the binding does not know.
        _ => record(py, "Event", common),
    }
}
