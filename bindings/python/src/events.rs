//! The change feed.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
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

/// The events of a `Subscription`.
#[pyclass(frozen, module = "hive_registry._core")]
pub(crate) struct Feed {
    subscription: Owned<Subscription>,
    /// By which the thread that wakes tasks knows it.
    key: u64,
    waker: Waker,
}

impl Feed {
    pub(crate) fn new(subscription: Subscription) -> Self {
        static KEYS: AtomicU64 = AtomicU64::new(0);
        let key = KEYS.fetch_add(1, Ordering::Relaxed);
        Self { subscription: Owned::new(subscription), key, waker: Waker::from(Arc::new(Key(key))) }
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
        let feed = self.subscription.get()?;
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
                Err(FeedError::Timeout) if left > SIGNALS => py.check_signals()?,
                next => return found(py, next),
            }
        }
    }

    /// The next event if it is there.
    fn take<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        // With the interpreter held, for it takes less time than letting go does.
        found(py, guard(|| Ok(self.subscription.get()?.try_next()))?)
    }

    /// The same; if there is none, `_woken` tells of it once there is.
    fn poll<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let mut context = Context::from_waker(&self.waker);
        match guard(|| Ok(self.subscription.get()?.poll_next(&mut context)))? {
            Poll::Ready(next) => found(py, next),
            Poll::Pending => Ok(None),
        }
    }

    /// What `_woken` calls it.
    #[getter]
    fn key(&self) -> PyResult<u64> {
        self.subscription.get().map(|_| self.key)
    }
}

fn found(py: Python<'_>, next: Result<Event, FeedError>) -> PyResult<Option<Bound<'_, PyAny>>> {
    match next {
        Ok(event) => self::event(py, event).map(Some),
        Err(FeedError::Timeout) => Ok(None),
        Err(FeedError::Lagged(lost)) => Err(Lagged::new_err(lost)),
        Err(closed) => Err(Closed::new_err(closed.to_string())),
    }
}

// === waking tasks ===

/// Wakes the tasks of a feed. Whoever brings an event does it, so it neither touches the interpreter nor waits for it.
struct Key(u64);

/// The keys of feeds that have news, until the thread in Python takes them.
static NEWS: (Mutex<News>, Condvar) = (Mutex::new(News { keys: Vec::new(), ended: false }), Condvar::new());

struct News {
    keys: Vec<u64>,
    ended: bool,
}

impl Wake for Key {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let (news, told) = &NEWS;
        news.lock().unwrap_or_else(PoisonError::into_inner).keys.push(self.0);
        told.notify_one();
    }
}

/// Waits for keys of feeds that have news, and takes them. None once the interpreter is about to end.
#[pyfunction]
#[pyo3(name = "_woken")]
pub(crate) fn woken(py: Python<'_>) -> Vec<u64> {
    py.detach(|| {
        let (news, told) = &NEWS;
        let news = news.lock().unwrap_or_else(PoisonError::into_inner);
        let is_idle = |news: &mut News| news.keys.is_empty() && !news.ended;
        let mut news = told.wait_while(news, is_idle).unwrap_or_else(PoisonError::into_inner);
        if news.ended { Vec::new() } else { std::mem::take(&mut news.keys) }
    })
}

/// Ends the wait for good.
#[pyfunction]
#[pyo3(name = "_stop_waking")]
pub(crate) fn stop_waking() {
    let (news, told) = &NEWS;
    news.lock().unwrap_or_else(PoisonError::into_inner).ended = true;
    told.notify_all();
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
