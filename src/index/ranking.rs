//! One ordered set of candidates, its winner published.
//!
//! **A stored key is never worse than the truth.** What improves a worker is written through by whoever
//! improves it, before its call returns: a heartbeat that changed a key ([`Ranking::sync`]), a release (told
//! by the `COUNTED` flag), a hive heard again (told by the parked mark). What worsens it may be found late, so
//! a pick looks again at what it is about to return; where the look disagrees, it takes the lock and corrects
//! that one entry. Hence the first entry that passes is the best there is.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use super::chunks::Chunks;
use super::tournament::{Key, Tournament};
use crate::liveness::View;
use crate::names::ModelId;
use crate::slot::{NOWHERE, PARKED, Side, Slot, Word};
use crate::state::WorkerInfo;
use crate::sync::{Mutex, MutexGuard, Published};

/// Silent entries that a pick parks one by one, at least, before it corrects all in one pass.
const CORRECTIONS: usize = 64;
/// In a large ranking it parks one in so many of its entries first, so that a pass is always paid for by those
/// that fell silent. (A single correction costs about as much as a pass costs for this many entries.)
const CORRECTED_SHARE: usize = 64;

pub(crate) struct Ranking {
    side: Side,
    /// Empty for the idle ranking.
    model: ModelId,
    /// The best ranked slot; changed under the lock of `book`.
    winner: Published<Option<Arc<Slot>>>,
    book: Mutex<Book>,
    /// Where `RoundRobin` goes on.
    pub(crate) cursor: AtomicUsize,
}

struct Book {
    side: Side,
    /// Taken out of the map, or about to be; nothing joins any more.
    retired: bool,
    /// Heartbeats about to join: it must not be retired meanwhile.
    pins: u32,
    ranked: Tournament<Arc<Slot>>,
    /// Members that cannot be picked now.
    parked: Chunks<Arc<Slot>>,
}

/// An entry as a pick may return it.
pub(crate) struct Fit {
    pub(crate) slot: Arc<Slot>,
    pub(crate) word: Word,
    pub(crate) record: Arc<WorkerInfo>,
}

/// Why an entry is not as it should be.
enum Amiss {
    /// Its key was not true; this is, or none where it must be parked.
    Key(Option<Key>),
    /// Its hive is silent: it must be parked.
    Silent,
}

impl Amiss {
    fn key(self) -> Option<Key> {
        match self {
            Self::Key(key) => key,
            Self::Silent => None,
        }
    }
}

impl Ranking {
    pub(crate) fn new(side: Side, model: ModelId) -> Self {
        Self {
            side,
            model,
            winner: Published::new(None),
            book: Mutex::new(Book {
                side,
                retired: false,
                pins: 0,
                ranked: Tournament::new(),
                parked: Chunks::new(),
            }),
            cursor: AtomicUsize::new(0),
        }
    }

    pub(crate) fn side(&self) -> Side {
        self.side
    }

    pub(crate) fn model(&self) -> &ModelId {
        &self.model
    }

    /// The published winner, to be checked by [`Slot::offer_live`]. No lock.
    pub(crate) fn winner(&self) -> impl std::ops::Deref<Target = Option<Arc<Slot>>> + use<> {
        self.winner.load()
    }

    // === membership: by the thread that holds the slot's cell ===

    /// Keeps the ranking from being retired until [`unpin`](Self::unpin); false if it is already.
    pub(crate) fn pin(&self) -> bool {
        let mut book = self.book.lock();
        if !book.retired {
            book.pins += 1;
        }
        !book.retired
    }

    /// True if that left it empty, and hence retired: the caller takes it out of the map.
    #[must_use]
    pub(crate) fn unpin(&self) -> bool {
        let mut book = self.book.lock();
        book.pins -= 1;
        book.retire_if_empty()
    }

    /// The ranking must be pinned, or hold another member that cannot leave meanwhile.
    pub(crate) fn join(&self, slot: &Arc<Slot>) {
        let mut book = self.book.lock();
        debug_assert!(!book.retired, "a retired ranking cannot be joined");
        let key = slot.settle(self.side, &self.model);
        book.insert(slot.clone(), key);
        self.publish(book);
    }

    /// True as in [`unpin`](Self::unpin).
    #[must_use]
    pub(crate) fn leave(&self, slot: &Arc<Slot>) -> bool {
        let mut book = self.book.lock();
        let removed = book.remove(slot);
        let retired = removed.is_some() && book.retire_if_empty();
        self.publish(book);
        retired
    }

    /// Writes the slot's true key, if it is a member.
    pub(crate) fn sync(&self, slot: &Arc<Slot>) {
        let mut book = self.book.lock();
        if book.holds(slot) {
            let key = slot.settle(self.side, &self.model);
            book.place(slot, key);
            self.publish(book);
        }
    }

    // === selection ===

    /// The best eligible worker, found under the lock. Amortised O(log n).
    #[cold]
    pub(crate) fn best_locked(&self, view: &View<'_>) -> Option<Arc<WorkerInfo>> {
        let mut book = self.book.lock();
        let fit = self.best_fit(&mut book, view);
        self.publish(book);
        Some(fit?.record)
    }

    /// S5: the best eligible worker with one reservation more, in one step.
    pub(crate) fn reserve(&self, view: &View<'_>, turn: u64) -> Option<Fit> {
        let mut book = self.book.lock();
        loop {
            let Some(fit) = self.best_fit(&mut book, view) else {
                self.publish(book);
                return None;
            };
            // A compare-and-swap that fails means that another call got through.
            if fit.slot.admit_seen(fit.word, self.side, turn) {
                let key = fit.slot.settle(self.side, &self.model);
                book.place(&fit.slot, key);
                self.publish(book);
                return Some(fit);
            }
        }
    }

    fn best_fit(&self, book: &mut Book, view: &View<'_>) -> Option<Fit> {
        loop {
            let mut silent = 0;
            while silent < CORRECTIONS.max(book.ranked.len() / CORRECTED_SHARE) {
                let slot = book.ranked.get(book.ranked.best()?)?.clone();
                match self.examine(&slot, view) {
                    Ok(fit) => return Some(fit),
                    // Whoever made a key untrue has paid for its correction; only silence comes in masses.
                    Err(amiss) => {
                        silent += usize::from(matches!(amiss, Amiss::Silent));
                        book.place(&slot, amiss.key());
                    }
                }
            }
            self.correct_all(book, view);
        }
    }

    /// The entry as a pick may return it, or what must be done to it first.
    fn examine(&self, slot: &Arc<Slot>, view: &View<'_>) -> Result<Fit, Amiss> {
        loop {
            let Some((word, record)) = slot.offer(self.side, &self.model) else {
                return Err(Amiss::Key(slot.settle(self.side, &self.model)));
            };
            if slot.pulse().is_live(view) {
                return Ok(Fit { slot: slot.clone(), word, record });
            }
            if slot.pulse().park(view) {
                return Err(Amiss::Silent);
            }
            // A heartbeat came in between: look again.
        }
    }

    /// One pass over every ranked entry. O(n).
    #[cold]
    fn correct_all(&self, book: &mut Book, view: &View<'_>) {
        let side = self.side;
        let parked = book.ranked.rebuild(|slot, at| {
            let key = match self.examine(slot, view) {
                Ok(fit) => Some(slot.key(&fit.record, fit.word.count())),
                Err(amiss) => amiss.key(),
            };
            slot.set_position(side, at as u32);
            key
        });
        for slot in parked {
            book.park(slot);
        }
    }

    // === views for policies and lists ===

    /// How many entries are ranked: an upper bound on the eligible. O(1).
    pub(crate) fn ranked(&self) -> usize {
        self.book.lock().ranked.len()
    }

    /// The `at`th ranked entry if it is eligible; otherwise it is parked, and the last one takes its place.
    pub(crate) fn nth(&self, at: usize, view: &View<'_>) -> Option<Fit> {
        let mut book = self.book.lock();
        let slot = book.ranked.get(at)?.clone();
        let fit = loop {
            match self.examine(&slot, view) {
                Ok(fit) => break Some(fit),
                Err(amiss) => {
                    let key = amiss.key();
                    book.place(&slot, key);
                    if key.is_none() {
                        break None;
                    }
                    // It was counted through another way; with its new key it stands where it stood.
                }
            }
        };
        self.publish(book);
        fit
    }

    /// The best eligible entry, and its place.
    pub(crate) fn best_place(&self, view: &View<'_>) -> Option<(usize, Fit)> {
        let mut book = self.book.lock();
        let fit = self.best_fit(&mut book, view);
        let place = book.ranked.best();
        self.publish(book);
        place.zip(fit)
    }

    /// Leaves nothing ranked that is not eligible. O(n).
    pub(crate) fn correct(&self, view: &View<'_>) {
        let mut book = self.book.lock();
        self.correct_all(&mut book, view);
        self.publish(book);
    }

    /// All members, in no order. O(members).
    pub(crate) fn members(&self) -> Vec<Arc<Slot>> {
        let book = self.book.lock();
        book.ranked.items().chain(book.parked.iter()).cloned().collect()
    }

    /// Publishes the winner if it is another one, and drops the old one once the lock is free (C5).
    fn publish(&self, book: MutexGuard<'_, Book>) {
        let best = book.ranked.best().and_then(|at| book.ranked.get(at));
        let same = match (best, &*self.winner.load()) {
            (Some(best), Some(winner)) => Arc::ptr_eq(best, winner),
            (None, None) => true,
            _ => false,
        };
        let old = if same { None } else { self.winner.swap(best.cloned()) };
        drop(book);
        drop(old);
    }
}

// === impl Book ===

impl Book {
    fn retire_if_empty(&mut self) -> bool {
        let retires = !self.retired && self.pins == 0 && self.ranked.is_empty() && self.parked.is_empty();
        self.retired |= retires;
        retires
    }

    fn holds(&self, slot: &Arc<Slot>) -> bool {
        let at = slot.position(self.side);
        let held = match at & PARKED {
            0 => self.ranked.get(at as usize),
            _ => self.parked.get((at & !PARKED) as usize),
        };
        at != NOWHERE && held.is_some_and(|held| Arc::ptr_eq(held, slot))
    }

    fn insert(&mut self, slot: Arc<Slot>, key: Option<Key>) {
        match key {
            None => self.park(slot),
            Some(key) => {
                slot.set_position(self.side, self.ranked.len() as u32);
                self.ranked.push(key, slot);
            }
        }
    }

    fn park(&mut self, slot: Arc<Slot>) {
        slot.set_position(self.side, self.parked.len() as u32 | PARKED);
        self.parked.push(slot);
    }

    /// Gives a member its key, moving it between ranked and parked as need be.
    fn place(&mut self, slot: &Arc<Slot>, key: Option<Key>) {
        let at = slot.position(self.side);
        match key {
            Some(key) if at & PARKED == 0 => self.ranked.update(at as usize, key),
            None if at & PARKED != 0 => {}
            key => {
                if let Some(slot) = self.remove(slot) {
                    self.insert(slot, key);
                }
            }
        }
    }

    fn remove(&mut self, slot: &Arc<Slot>) -> Option<Arc<Slot>> {
        if !self.holds(slot) {
            return None;
        }
        let at = slot.position(self.side);
        let place = (at & !PARKED) as usize;
        let removed = if at & PARKED == 0 {
            let removed = self.ranked.swap_remove(place);
            if let Some(moved) = self.ranked.get(place) {
                moved.set_position(self.side, at);
            }
            removed
        } else {
            let removed = self.parked.swap_remove(place);
            if let Some(moved) = self.parked.get(place) {
                moved.set_position(self.side, at);
            }
            removed
        };
        slot.set_position(self.side, NOWHERE);
        removed
    }
}
