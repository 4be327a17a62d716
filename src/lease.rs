//! Leases: reservations held by id, for holders in another process (S6).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use crossbeam_utils::CachePadded;
use smallvec::SmallVec;

use crate::clock::millis;
use crate::core::Core;
use crate::hive::Now;
use crate::names::HiveId;
use crate::reservation::Hold;
use crate::slot::Slot;
use crate::state::WorkerInfo;
use crate::stats::add;
use crate::sync::{AtomicI64, Mutex, MutexGuard, Ordering, unlock_fair};

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

/// All leases, by id, by deadline, and by the worker they are of.
pub(crate) struct Ledger {
    /// No later than the earliest deadline, monotonic ms; `i64::MAX` if there is none. Read by every pick. Written under
    /// the lock of `book`, and raised only by a reaper, after it gave back what it took out: whoever finds no lease
    /// here finds the places of those that ran out free.
    next: CachePadded<AtomicI64>,
    /// Held while leases that ran out are taken out and given back, so that whoever finds one in the book, or none
    /// any more, knows that its place is taken, or free. Outermost.
    reaper: Mutex<()>,
    book: Mutex<Book>,
}

struct Book {
    last_id: u64,
    by_id: BTreeMap<u64, (Arc<Slot>, i64)>,
    by_deadline: BTreeSet<(i64, u64)>,
    /// (registration order, deadline, id)
    by_slot: BTreeSet<(u64, i64, u64)>,
}

/// Leases that ran out, taken back in one stay (C7); also what a call pays for at most (S6): each takes 1.5 us.
const REAPED: usize = 16;

/// Stays that a new lease pays for, so that leases that ran out do not pile up.
const REAPED_BY_LEASES: usize = 8;

impl Ledger {
    /// Ids follow each other from some random place, so that the holder of an id of another registry, or of this one
    /// before a restart, ends nobody else's lease.
    pub(crate) fn new(random: u64) -> Self {
        let book = Book {
            last_id: random >> 2,
            by_id: BTreeMap::new(),
            by_deadline: BTreeSet::new(),
            by_slot: BTreeSet::new(),
        };
        Self {
            next: CachePadded::new(AtomicI64::new(i64::MAX)),
            reaper: Mutex::new(()),
            book: Mutex::new(book),
        }
    }

    /// None if the slot's registration has ended.
    fn open(&self, slot: &Arc<Slot>, deadline: i64) -> Option<u64> {
        let mut book = self.book.lock();
        book.last_id += 1;
        let id = book.last_id;
        book.insert(id, slot.clone(), deadline);
        self.next.fetch_min(deadline, Ordering::AcqRel);
        // Who ends the registration afterwards finds the lease in the book.
        if slot.sync_word().is_gone() {
            book.remove(id);
            return None;
        }
        Some(id)
    }

    /// The slot; none if the lease ran out, was released, or its worker has gone.
    fn renew(&self, id: u64, now: i64, deadline: i64) -> Option<Arc<Slot>> {
        let mut book = self.book.lock();
        let (slot, _) = book.by_id.get(&id).filter(|(_, old)| *old > now)?;
        let slot = slot.clone();
        book.insert(id, slot.clone(), deadline);
        self.next.fetch_min(deadline, Ordering::AcqRel);
        // As in `open`.
        if slot.sync_word().is_gone() {
            book.remove(id);
            return None;
        }
        Some(slot)
    }

    /// The slot to release, if the lease was open.
    fn close(&self, id: u64, now: i64) -> Option<Arc<Slot>> {
        let mut book = self.book.lock();
        if book.by_id.get(&id)?.1 <= now {
            return None;
        }
        book.remove(id)
    }

    /// Takes out one of this slot that has run out, or up to [`REAPED`] of any. What is known of deadlines stays as it was
    /// until their places are given back: see [`tell`](Self::tell).
    fn take_due(&self, of: Option<&Slot>, now: i64) -> SmallVec<[Arc<Slot>; REAPED]> {
        let mut book = self.book.lock();
        let mut taken = SmallVec::new();
        while taken.len() < if of.is_some() { 1 } else { REAPED } {
            let first = match of {
                Some(slot) => book.first_of(slot),
                None => book.by_deadline.first().copied(),
            };
            let Some((_, id)) = first.filter(|(deadline, _)| *deadline <= now) else { break };
            taken.extend(book.take_out(id));
        }
        taken
    }

    /// By the reaper, once the places of all that it took out are given back: when the next ones end, of these slots and
    /// of all.
    fn tell(&self, given_back: &[Arc<Slot>]) {
        let book = self.book.lock();
        given_back.iter().for_each(|slot| book.tell_due(slot));
        let next = book.by_deadline.first().map_or(i64::MAX, |(deadline, _)| *deadline);
        self.next.store(next, Ordering::Release);
    }

    /// C3: the leases of a registration that has ended go with it, however long they run.
    pub(crate) fn forget(&self, slot: &Slot) {
        // As a rule it has none. One that a reaper has taken out is told of by him.
        let mut has_more = slot.due() != i64::MAX;
        while has_more {
            let mut gone: SmallVec<[Arc<Slot>; REAPED]> = SmallVec::new();
            let mut book = self.book.lock();
            while let Some((_, id)) = book.first_of(slot).filter(|_| gone.len() < REAPED) {
                gone.extend(book.remove(id));
            }
            has_more = gone.len() == REAPED;
            unlock_fair(book);
        }
    }
}

impl Book {
    /// Also in the place of one of this id.
    fn insert(&mut self, id: u64, slot: Arc<Slot>, deadline: i64) {
        if let Some((_, old)) = self.by_id.insert(id, (slot.clone(), deadline)) {
            self.strike(id, &slot, old);
        }
        self.by_deadline.insert((deadline, id));
        self.by_slot.insert((slot.order(), deadline, id));
        self.tell_due(&slot);
    }

    fn remove(&mut self, id: u64) -> Option<Arc<Slot>> {
        let slot = self.take_out(id)?;
        self.tell_due(&slot);
        Some(slot)
    }

    fn take_out(&mut self, id: u64) -> Option<Arc<Slot>> {
        let (slot, deadline) = self.by_id.remove(&id)?;
        self.strike(id, &slot, deadline);
        Some(slot)
    }

    fn strike(&mut self, id: u64, slot: &Slot, deadline: i64) {
        self.by_deadline.remove(&(deadline, id));
        self.by_slot.remove(&(slot.order(), deadline, id));
    }

    /// Once, after each change: whoever looks in between must not take it for a slot without a lease.
    fn tell_due(&self, slot: &Slot) {
        slot.set_due(self.first_of(slot).map_or(i64::MAX, |(deadline, _)| deadline));
    }

    /// The lease of this slot that runs out first: (deadline, id).
    fn first_of(&self, slot: &Slot) -> Option<(i64, u64)> {
        let (order, deadline, id) = self.by_slot.range((slot.order(), i64::MIN, 0)..).next()?;
        (*order == slot.order()).then_some((*deadline, *id))
    }
}

impl Core {
    /// Gives back some of what has run out, before anything is counted, and tells the time by which a lease is one that
    /// ran out: none where there are no leases. Then, one load.
    pub(crate) fn reap(&self) -> i64 {
        if self.leases.next.load(Ordering::Acquire) == i64::MAX {
            return i64::MIN;
        }
        let now = self.config.clock.monotonic_ms();
        self.reap_some(now);
        now
    }

    /// True if more may be due. Who finds another at it does not wait: what is not yet given back counts as load.
    fn reap_some(&self, now: i64) -> bool {
        if self.leases.next.load(Ordering::Acquire) > now {
            return false;
        }
        let Some(reaping) = self.leases.reaper.try_lock() else {
            return false;
        };
        self.reap_step(reaping, now)
    }

    fn reap_step(&self, reaping: MutexGuard<'_, ()>, now: i64) -> bool {
        let due = self.give_back(None, now);
        unlock_fair(reaping);
        due == REAPED
    }

    /// Gives back some that have run out, of this slot or of any, and says how many; by the reaper.
    fn give_back(&self, of: Option<&Slot>, now: i64) -> usize {
        let due = self.leases.take_due(of, now);
        for slot in &due {
            self.release(slot, None);
        }
        self.leases.tell(&due);
        due.len()
    }

    /// A sweep gives back all, whoever else is at it.
    pub(crate) fn reap_all(&self) {
        let now = self.config.clock.monotonic_ms();
        let is_due = || self.leases.next.load(Ordering::Acquire) <= now;
        while is_due() && self.reap_step(self.leases.reaper.lock(), now) {}
    }

    /// Gives back a lease that has run out of a full slot, before anyone is told that there is nobody.
    #[cold]
    pub(crate) fn reap_of(&self, slot: &Arc<Slot>, now: i64) {
        let reaping = self.leases.reaper.lock();
        self.give_back(Some(slot), now);
        unlock_fair(reaping);
    }

    pub(crate) fn lease(&self, model: &str, lease: Duration) -> Option<Lease> {
        // The clocks first: should a user's clock panic, nothing has been counted.
        let Now { wall_ms: wall, monotonic_ms: now } = self.read_clocks();
        let _ = (0..REAPED_BY_LEASES).find(|_| !self.reap_some(now));
        loop {
            let Hold { slot, worker, .. } = self.reserve(model)?;
            // If it has gone meanwhile, the reservation went with it.
            let Some(id) = self.leases.open(&slot, deadline(now, lease)) else {
                add(&self.counters.again);
                continue;
            };
            // Who found it full did not know when this ends.
            self.tell_due(&slot);
            return Some(Lease {
                id,
                hive_id: worker.hive_id.clone(),
                worker,
                expires_at: expiry(wall, lease),
            });
        }
    }

    pub(crate) fn renew_lease(&self, id: u64, lease: Duration) -> Option<DateTime<Utc>> {
        let Now { wall_ms: wall, monotonic_ms: now } = self.read_clocks();
        self.reap();
        let slot = self.leases.renew(id, now, deadline(now, lease))?;
        // It may end sooner than it would have.
        self.tell_due(&slot);
        Some(expiry(wall, lease))
    }

    /// Its rankings know of a full slot when that may end.
    fn tell_due(&self, slot: &Arc<Slot>) {
        if slot.sync_word().is_full() {
            self.sync(slot);
        }
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

/// When a lease made or renewed now runs out, by the wall clock.
fn expiry(wall: i64, lease: Duration) -> DateTime<Utc> {
    wall_time(wall.saturating_add(millis(lease)))
}

/// Unix milliseconds as a date, cut to what `chrono` can hold.
pub(crate) fn wall_time(ms: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_millis(ms).unwrap_or(if ms < 0 {
        DateTime::<Utc>::MIN_UTC
    } else {
        DateTime::<Utc>::MAX_UTC
    })
}
