//! The change feed (E1).

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use thiserror::Error;

use crate::names::HiveId;
use crate::state::WorkerInfo;
use crate::sync::{AtomicU64, Condvar, Mutex, Ordering, unlock_fair, wait_for};

/// Something a scheduler would want to know of.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// Grows by one with each event of the registry; compare with
    /// [`Snapshot::sequence`](crate::Snapshot::sequence).
    pub sequence: u64,
    /// The version of the hive's state that the change made; see
    /// [`HiveRuntimeState::version`](crate::HiveRuntimeState::version).
    pub version: u64,
    /// The hive.
    pub hive_id: HiveId,
    /// What happened.
    pub kind: EventKind,
}

/// What happened to a hive or to a worker of it.
///
/// "Changed" looks at what a scheduler would: not at `last_heartbeat`, `cpu_percent` or `ram_bytes`.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum EventKind {
    /// A hive not known before; an event for each of its workers follows.
    HiveRegistered,
    /// Something about the hive or a worker of it changed, or it is online again; comes after the worker's event.
    HiveUpdated,
    /// A sweep found it silent ([`evict_stale`](crate::HiveRegistry::evict_stale)); told once per silence, of a hive
    /// that was online.
    HiveOffline,
    /// Removed or evicted, after its workers.
    HiveRemoved,
    /// A worker not known before on this hive.
    WorkerAdded(Arc<WorkerInfo>),
    /// As it is now.
    WorkerChanged(Arc<WorkerInfo>),
    /// As it was last.
    WorkerRemoved(Arc<WorkerInfo>),
}

/// Why there is no event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum FeedError {
    /// The reader was too slow and lost this many events, the oldest first. What follows is in order; resync
    /// from [`snapshot`](crate::HiveRegistry::snapshot).
    #[error("{0} events were lost; resync from a snapshot")]
    Lagged(u64),
    /// Nothing happened in time.
    #[error("no event yet")]
    Timeout,
    /// The registry is gone and every event was read.
    #[error("the registry is gone")]
    Closed,
}

/// A bounded feed of [`Event`]s; from [`HiveRegistry::subscribe`](crate::HiveRegistry::subscribe). Ends on
/// drop. A slow reader never slows a writer.
pub struct Subscription {
    ring: Arc<Ring>,
    hub: Arc<Hub>,
}

/// The writers' side.
pub(crate) struct Feed(Arc<Hub>);

struct Hub {
    /// How many subscriptions there are.
    readers: AtomicU64,
    state: Mutex<HubState>,
}

struct HubState {
    /// Of the last event.
    sequence: u64,
    /// Lost by readers, past and present.
    dropped: u64,
    rings: Vec<Arc<Ring>>,
}

struct Ring {
    state: Mutex<RingState>,
    wake: Condvar,
}

struct RingState {
    queue: VecDeque<Event>,
    capacity: usize,
    lagged: u64,
    closed: bool,
    /// Of the last poll that found nothing.
    waker: Option<Waker>,
}

/// Wakers of readers that polled, to be woken once every lock is free: what a waker does is not ours (C5). Dropping this
/// wakes them.
#[must_use = "dropped once the locks are free"]
#[derive(Default)]
pub(crate) struct Woken(Vec<Waker>);

/// Events told in one stay under the hub's lock, at most.
const EMITTED: usize = 64;

// === impl Feed ===

impl Feed {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Hub {
            readers: AtomicU64::new(0),
            state: Mutex::new(HubState { sequence: 0, dropped: 0, rings: Vec::new() }),
        }))
    }

    /// Whether anyone listens. One relaxed load: a writer holds the hive's lock when it asks, and a reader
    /// takes that lock for its snapshot after it subscribed, so no change falls between the two.
    pub(crate) fn is_read(&self) -> bool {
        self.0.readers.load(Ordering::Relaxed) > 0
    }

    /// Tells the changes of one hive, under its lock, so that they come in order; a step at a time, so that those of
    /// another hive need not wait for all of them (C7). Who is to be woken goes to `woken`.
    pub(crate) fn emit(&self, hive_id: &HiveId, version: u64, kinds: Vec<EventKind>, woken: &mut Woken) {
        let mut steps = kinds.chunks(EMITTED).peekable();
        while let Some(kinds) = steps.next() {
            // Declared before the locks, hence dropped after them (C5).
            let mut lost = Vec::new();
            let mut hub = self.0.state.lock();
            let first = hub.sequence + 1;
            hub.sequence += kinds.len() as u64;
            for ring in &hub.rings {
                let mut state = ring.state.lock();
                for (sequence, kind) in (first..).zip(kinds) {
                    if state.queue.len() == state.capacity {
                        lost.extend(state.queue.pop_front());
                        state.lagged += 1;
                    }
                    let event = Event { sequence, version, hive_id: hive_id.clone(), kind: kind.clone() };
                    state.queue.push_back(event);
                }
                woken.0.extend(state.waker.take());
                drop(state);
                ring.wake.notify_all();
            }
            hub.dropped += lost.len() as u64;
            if steps.peek().is_some() {
                unlock_fair(hub);
            }
        }
    }

    pub(crate) fn subscribe(&self, capacity: usize) -> Subscription {
        let ring = Arc::new(Ring {
            state: Mutex::new(RingState {
                queue: VecDeque::new(),
                capacity: capacity.max(1),
                lagged: 0,
                closed: false,
                waker: None,
            }),
            wake: Condvar::new(),
        });
        self.0.state.lock().rings.push(ring.clone());
        self.0.readers.fetch_add(1, Ordering::Relaxed);
        Subscription { ring, hub: self.0.clone() }
    }

    pub(crate) fn sequence(&self) -> u64 {
        self.0.state.lock().sequence
    }

    pub(crate) fn dropped(&self) -> u64 {
        self.0.state.lock().dropped
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        let mut woken = Woken::default();
        let rings = std::mem::take(&mut self.0.state.lock().rings);
        for ring in rings {
            let mut state = ring.state.lock();
            state.closed = true;
            woken.0.extend(state.waker.take());
            drop(state);
            ring.wake.notify_all();
        }
    }
}

impl Drop for Woken {
    fn drop(&mut self) {
        self.0.drain(..).for_each(Waker::wake);
    }
}

// === impl Subscription ===

impl Subscription {
    /// The next event, without waiting. O(1).
    ///
    /// # Errors
    ///
    /// [`FeedError::Timeout`] if there is none yet; [`FeedError::Lagged`] and [`FeedError::Closed`].
    pub fn try_next(&self) -> Result<Event, FeedError> {
        self.try_ready().unwrap_or(Err(FeedError::Timeout))
    }

    /// The next event, waiting for it for at most `timeout`.
    ///
    /// # Errors
    ///
    /// [`FeedError::Timeout`] if none came; [`FeedError::Lagged`] and [`FeedError::Closed`].
    pub fn next_timeout(&self, timeout: Duration) -> Result<Event, FeedError> {
        // A moment too far for the clock is never reached.
        let until = Instant::now().checked_add(timeout);
        let mut state = self.ring.state.lock();
        loop {
            if let Some(found) = state.ready() {
                return found;
            }
            let left = match until {
                Some(until) => until.saturating_duration_since(Instant::now()),
                None => Duration::from_secs(3_600),
            };
            if left.is_zero() {
                return Err(FeedError::Timeout);
            }
            state = wait_for(&self.ring.wake, state, left);
        }
    }

    /// The next event, or the waker of `cx` is woken once there is one or the registry is gone: for futures, whatever
    /// runs them. O(1).
    ///
    /// Of several tasks that poll one subscription the last one is woken. A waker may be woken for an event that
    /// somebody else has read meanwhile, and is called without any lock of the registry held, on the thread that brought
    /// the event: it should do no more than wakers do.
    ///
    /// # Errors
    ///
    /// [`FeedError::Lagged`] and [`FeedError::Closed`]; never [`FeedError::Timeout`].
    pub fn poll_next(&self, cx: &mut Context<'_>) -> Poll<Result<Event, FeedError>> {
        if let Some(found) = self.try_ready() {
            return Poll::Ready(found);
        }
        // Cloned before the lock, and what it replaces dropped after it: both are code of others (C5).
        let mut waker = Some(cx.waker().clone());
        let mut state = self.ring.state.lock();
        if let Some(found) = state.ready() {
            return Poll::Ready(found);
        }
        std::mem::swap(&mut state.waker, &mut waker);
        drop(state);
        Poll::Pending
    }

    fn try_ready(&self) -> Option<Result<Event, FeedError>> {
        self.ring.state.lock().ready()
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.hub.readers.fetch_sub(1, Ordering::Relaxed);
        self.hub.state.lock().rings.retain(|ring| !Arc::ptr_eq(ring, &self.ring));
    }
}

impl fmt::Debug for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.ring.state.lock();
        f.debug_struct("Subscription")
            .field("waiting", &state.queue.len())
            .field("capacity", &state.capacity)
            .field("lagged", &state.lagged)
            .finish_non_exhaustive()
    }
}

impl RingState {
    /// What a reader need not wait for.
    fn ready(&mut self) -> Option<Result<Event, FeedError>> {
        if self.lagged > 0 {
            return Some(Err(FeedError::Lagged(std::mem::take(&mut self.lagged))));
        }
        match self.queue.pop_front() {
            Some(event) => Some(Ok(event)),
            None if self.closed => Some(Err(FeedError::Closed)),
            None => None,
        }
    }
}
