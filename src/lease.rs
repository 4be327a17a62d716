//! Leases: reservations held by id, for holders in another process (S6).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::clock::millis;
use crate::core::Core;
use crate::names::HiveId;
use crate::reservation::Hold;
use crate::slot::Slot;
use crate::state::WorkerInfo;
use crate::sync::{AtomicI64, Mutex, Ordering};

/// A reservation known by its id, which runs out unless renewed; from
/// [`HiveRegistry::reserve_detached`](crate::HiveRegistry::reserve_detached).
///
/// Dropping this value does nothing: it is a description, to be sent elsewhere.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Lease {
    /// To renew or release it by. Never used twice.
    pub id: u64,
    /// The worker's hive.
    pub hive_id: HiveId,
    /// The worker as it was when it was chosen.
    pub worker: Arc<WorkerInfo>,
    /// When it runs out, told by the wall clock of this moment; kept by the monotonic one.
    pub expires_at: DateTime<Utc>,
}

/// All leases, by id and by deadline.
pub(crate) struct Ledger {
    /// No later than the earliest deadline, monotonic ms; `i64::MAX` if there is none. Written under the lock of
    /// `book`. Only a reaper raises it, after it released what ran out, so that whoever finds it passed waits
    /// for that.
    next: AtomicI64,
    /// Held by the reaper throughout; outermost.
    reaper: Mutex<()>,
    book: Mutex<Book>,
}

#[derive(Default)]
struct Book {
    last_id: u64,
    by_id: BTreeMap<u64, (Arc<Slot>, i64)>,
    by_deadline: BTreeSet<(i64, u64)>,
    /// How many leases there may be before those of workers that have gone are dropped.
    sweep_at: usize,
}

impl Ledger {
    pub(crate) fn new() -> Self {
        Self { next: AtomicI64::new(i64::MAX), reaper: Mutex::new(()), book: Mutex::new(Book::default()) }
    }

    pub(crate) fn open(&self, slot: Arc<Slot>, deadline: i64) -> u64 {
        let mut gone = Vec::new();
        let mut book = self.book.lock();
        book.last_id += 1;
        let id = book.last_id;
        if book.by_id.len() >= book.sweep_at {
            gone = book.take_gone();
        }
        book.insert(id, slot, deadline);
        self.next.fetch_min(deadline, Ordering::AcqRel);
        drop(book);
        drop(gone);
        id
    }

    /// False if the lease ran out, was released, or its worker has gone.
    fn renew(&self, id: u64, now: i64, deadline: i64) -> bool {
        let mut book = self.book.lock();
        let Some((slot, old)) = book.by_id.get(&id) else {
            return false;
        };
        if *old <= now {
            return false;
        }
        let slot = slot.clone();
        book.remove(id);
        let renews = !slot.is_gone();
        if renews {
            book.insert(id, slot, deadline);
            self.next.fetch_min(deadline, Ordering::AcqRel);
        }
        renews
    }

    /// The slot to release, if the lease was open.
    fn close(&self, id: u64, now: i64) -> Option<Arc<Slot>> {
        let mut book = self.book.lock();
        if book.by_id.get(&id)?.1 <= now {
            return None;
        }
        book.remove(id)
    }
}

impl Book {
    fn insert(&mut self, id: u64, slot: Arc<Slot>, deadline: i64) {
        self.by_id.insert(id, (slot, deadline));
        self.by_deadline.insert((deadline, id));
    }

    /// C3: takes out the leases of workers that have gone, however long they run. Amortised O(log leases) for
    /// each lease opened.
    fn take_gone(&mut self) -> Vec<Arc<Slot>> {
        let gone = self.by_id.iter().filter(|(_, (slot, _))| slot.is_gone());
        let gone: Vec<u64> = gone.map(|(id, _)| *id).collect();
        let slots = gone.into_iter().filter_map(|id| self.remove(id)).collect();
        self.sweep_at = 64 + 2 * self.by_id.len();
        slots
    }

    fn remove(&mut self, id: u64) -> Option<Arc<Slot>> {
        let (slot, deadline) = self.by_id.remove(&id)?;
        self.by_deadline.remove(&(deadline, id));
        Some(slot)
    }
}

impl Core {
    /// Releases what has run out, before anything is counted. Without leases, one load.
    pub(crate) fn reap(&self) {
        let next = self.leases.next.load(Ordering::Acquire);
        if next != i64::MAX {
            let now = self.config.clock.monotonic_ms();
            if next <= now {
                self.reap_until(now);
            }
        }
    }

    /// All that has run out; by sweeps.
    pub(crate) fn reap_all(&self) {
        self.reap();
    }

    #[cold]
    fn reap_until(&self, now: i64) {
        let _reaping = self.leases.reaper.lock();
        loop {
            let mut book = self.leases.book.lock();
            match book.by_deadline.first().copied() {
                Some((deadline, id)) if deadline <= now => {
                    let slot = book.remove(id);
                    drop(book);
                    if let Some(slot) = slot {
                        self.release(&slot, None);
                    }
                }
                first => {
                    let next = first.map_or(i64::MAX, |(deadline, _)| deadline);
                    self.leases.next.store(next, Ordering::Release);
                    return;
                }
            }
        }
    }

    pub(crate) fn lease(&self, model: &str, lease: Duration) -> Option<Lease> {
        // The clocks first: should a user's clock panic, nothing has been counted.
        let (wall, now) = (self.config.clock.wall_ms(), self.config.clock.monotonic_ms());
        let Hold { slot, worker, .. } = self.reserve(model)?;
        let id = self.leases.open(slot, deadline(now, lease));
        let expires_at = wall_time(wall.saturating_add(millis(lease)));
        Some(Lease { id, hive_id: worker.hive_id.clone(), worker, expires_at })
    }

    pub(crate) fn renew_lease(&self, id: u64, lease: Duration) -> bool {
        self.reap();
        let now = self.config.clock.monotonic_ms();
        self.leases.renew(id, now, deadline(now, lease))
    }

    pub(crate) fn release_lease(&self, id: u64) -> bool {
        self.reap();
        let now = self.config.clock.monotonic_ms();
        match self.leases.close(id, now) {
            None => false,
            Some(slot) => self.release(&slot, None),
        }
    }
}

/// `i64::MAX` stands for none.
fn deadline(now: i64, lease: Duration) -> i64 {
    now.saturating_add(millis(lease)).min(i64::MAX - 1)
}

/// Unix milliseconds as a date, cut to what `chrono` can hold.
pub(crate) fn wall_time(ms: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_millis(ms).unwrap_or(if ms < 0 {
        DateTime::<Utc>::MIN_UTC
    } else {
        DateTime::<Utc>::MAX_UTC
    })
}
