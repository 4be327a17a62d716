//! The change feed.

use std::mem::MaybeUninit;
use std::time::Duration;

use hive_registry::{Event as Told, EventKind as Kind, FeedError, Subscription};

use crate::registry::{Registry, ask};
use crate::status::{Status, guard, guard_drop};
use crate::text::{Str, out, some};
use crate::worker::Worker;

/// A bounded feed of changes. A slow reader never slows a writer. May be read from several threads at once: each
/// event goes to one of them.
pub struct Events(Subscription);

/// Something a scheduler would want to know of.
pub struct Event(Told);

/// What happened.
#[repr(u32)]
#[allow(non_camel_case_types, reason = "the names in C")]
pub enum EventKind {
    /// Of a kind that this version knows no number for, or NULL.
    HIVE_EVENT_OTHER = 0,
    /// A hive not known before; an event for each of its workers follows.
    HIVE_EVENT_HIVE_REGISTERED = 1,
    /// Something about the hive or a worker of it changed; comes after the worker's event.
    HIVE_EVENT_HIVE_UPDATED = 2,
    /// A sweep found it silent; told once per silence.
    HIVE_EVENT_HIVE_OFFLINE = 3,
    /// Removed or evicted, after its workers.
    HIVE_EVENT_HIVE_REMOVED = 4,
    /// A worker not known before on this hive.
    HIVE_EVENT_WORKER_ADDED = 5,
    /// As it is now.
    HIVE_EVENT_WORKER_CHANGED = 6,
    /// As it was last.
    HIVE_EVENT_WORKER_REMOVED = 7,
}

/// A feed of changes from now on, which holds at most `capacity` unread events, at least 1.
#[unsafe(no_mangle)]
pub extern "C" fn hive_registry_subscribe(
    registry: Option<&Registry>,
    capacity: usize,
    out_events: Option<&mut MaybeUninit<Box<Events>>>,
) -> Status {
    ask(registry, ("out_events", out_events), |registry| Some(Box::new(Events(registry.subscribe(capacity)))))
}

/// The next event, waiting for it for at most `timeout_ms`; 0 does not wait.
///
/// Errors: HIVE_TIMEOUT if none came; HIVE_LAGGED if the reader lost some, the oldest first: how many is written to
/// `out_lost`, unless that is NULL; HIVE_CLOSED if the registry is gone and every event was read.
#[unsafe(no_mangle)]
pub extern "C" fn hive_events_next(
    events: Option<&Events>,
    timeout_ms: u64,
    out_event: Option<&mut MaybeUninit<Box<Event>>>,
    out_lost: Option<&mut MaybeUninit<u64>>,
) -> Status {
    guard(|| {
        let (events, out) = (some("events", events)?, out("out_event", out_event)?);
        match events.0.next_timeout(Duration::from_millis(timeout_ms)) {
            Ok(event) => {
                out.write(Box::new(Event(event)));
                Ok(Status::HIVE_OK)
            }
            Err(error) => {
                if let (FeedError::Lagged(lost), Some(out)) = (error, out_lost) {
                    out.write(lost);
                }
                Err(error.into())
            }
        }
    })
}

/// Ends the feed. No other call may be under way on it. NULL does nothing.
#[unsafe(no_mangle)]
pub extern "C" fn hive_events_free(events: Option<Box<Events>>) {
    guard_drop(events);
}

/// What happened: a `hive_event_kind_t`.
#[unsafe(no_mangle)]
pub extern "C" fn hive_event_kind(event: Option<&Event>) -> u32 {
    let kind = match event.map(|event| &event.0.kind) {
        Some(Kind::HiveRegistered) => EventKind::HIVE_EVENT_HIVE_REGISTERED,
        Some(Kind::HiveUpdated) => EventKind::HIVE_EVENT_HIVE_UPDATED,
        Some(Kind::HiveOffline) => EventKind::HIVE_EVENT_HIVE_OFFLINE,
        Some(Kind::HiveRemoved) => EventKind::HIVE_EVENT_HIVE_REMOVED,
        Some(Kind::WorkerAdded(_)) => EventKind::HIVE_EVENT_WORKER_ADDED,
        Some(Kind::WorkerChanged(_)) => EventKind::HIVE_EVENT_WORKER_CHANGED,
        Some(Kind::WorkerRemoved(_)) => EventKind::HIVE_EVENT_WORKER_REMOVED,
        _ => EventKind::HIVE_EVENT_OTHER,
    };
    kind as u32
}

/// Grows by one with each event of the registry.
#[unsafe(no_mangle)]
pub extern "C" fn hive_event_sequence(event: Option<&Event>) -> u64 {
    event.map_or(0, |event| event.0.sequence)
}

/// The version of the hive's state that the change made.
#[unsafe(no_mangle)]
pub extern "C" fn hive_event_version(event: Option<&Event>) -> u64 {
    event.map_or(0, |event| event.0.version)
}

/// The hive, valid as long as the event; empty for NULL.
#[unsafe(no_mangle)]
pub extern "C" fn hive_event_hive_id(event: Option<&Event>) -> Str {
    event.map_or(Str::EMPTY, |event| Str::of(&event.0.hive_id))
}

/// The worker that was added, changed or removed, borrowed from the event; NULL for an event of a hive.
#[unsafe(no_mangle)]
pub extern "C" fn hive_event_worker(event: Option<&Event>) -> *const Worker {
    match event.map(|event| &event.0.kind) {
        Some(Kind::WorkerAdded(worker) | Kind::WorkerChanged(worker) | Kind::WorkerRemoved(worker)) => {
            Worker::view(worker)
        }
        _ => std::ptr::null(),
    }
}

/// NULL does nothing.
#[unsafe(no_mangle)]
pub extern "C" fn hive_event_free(event: Option<Box<Event>>) {
    guard_drop(event);
}
