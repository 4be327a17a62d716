//! One ordered set of candidates, its winner published.
//!
//! **A stored key is never worse than the truth.** What improves a worker is written through by whoever
//! improves it, before its call returns: a heartbeat that changed a key ([`Ranking::sync`]), a release (told
//! by the `COUNTED` flag), a hive heard again (told by the parked mark). What worsens it may be found late, so
//! a pick looks again at what it is about to return; where the look disagrees, it takes the lock and corrects
//! that one entry. Hence the first entry that passes is the best there is.
//!
//! **The published winner is the best of the book, or it is marked.** Publishing costs as much as the rest of a
//! reservation. So a reservation, which always makes its worker worse, leaves that worker published with its
//! `STALE` flag on: the next pick comes to the lock and publishes, and until then nobody else needs to. The mark of
//! a published slot is taken off only where it is the best, by a compare-and-swap against the word its key was
//! made from; else a pick without the lock could slip in between.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use super::chunks::Chunks;
use super::tournament::{Key, Tournament};
use crate::liveness::View;
use crate::names::ModelId;
use crate::slot::{NOWHERE, PARKED, Side, Slot, Word};
use crate::state::WorkerInfo;
use crate::sync::{Mutex, MutexGuard, Published};

/// Silent entries that a pick parks one by one, at least, before it looks for all in one pass.
const CORRECTIONS: usize = 64;
/// In a large ranking it parks one in so many of its entries first, so that a pass, which costs about 10 ns to
/// 60 ns an entry, is always paid for by those that fell silent.
const CORRECTED_SHARE: usize = 64;

pub(crate) struct Ranking {
    side: Side,
    /// Empty for the idle ranking.
    model: ModelId,
    /// The best ranked slot, unless the book is `behind`; changed under its lock.
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
    /// The address of the published slot, to compare with, 0 if none. It is not used again while published.
    published: usize,
    /// The published slot is marked `STALE` and need not be the best: every pick comes to the lock.
    behind: bool,
}

fn address(slot: &Arc<Slot>) -> usize {
    Arc::as_ptr(slot).addr()
}

/// A slot whose key changed, beside a ranking it is in and its record.
pub(crate) type Synced<'s> = (&'s Ranking, &'s Arc<Slot>, &'s WorkerInfo);

/// An entry as a pick may return it.
pub(crate) struct Fit {
    pub(crate) slot: Arc<Slot>,
    pub(crate) word: Word,
    pub(crate) record: Arc<WorkerInfo>,
}

/// Why an entry is not as it should be.
enum Amiss {
    /// Its key may not have been true; this is, with the word it was made from, or none where it must be parked.
    Key(Option<(Key, Word)>),
    /// Its hive is silent: it must be parked.
    Silent,
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
                published: 0,
                behind: false,
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
    pub(crate) fn join(&self, slot: &Arc<Slot>, record: &WorkerInfo) {
        let mut book = self.book.lock();
        debug_assert!(!book.retired, "a retired ranking cannot be joined");
        // Who is no member is not published.
        let key = slot.settle_as(self.side, record, false);
        book.insert(slot.clone(), key);
        self.publish_unless_behind(book);
    }

    /// True as in [`unpin`](Self::unpin).
    #[must_use]
    pub(crate) fn leave(&self, slot: &Arc<Slot>) -> bool {
        let mut book = self.book.lock();
        let removed = book.remove(slot);
        let retired = removed.is_some() && book.retire_if_empty();
        if book.published == address(slot) {
            // Its mark means nothing here any more.
            book.behind = false;
        }
        self.publish_unless_behind(book);
        retired
    }

    /// Writes the slot's true key, if it is a member; false if it is not.
    pub(crate) fn sync(&self, slot: &Arc<Slot>) -> bool {
        let mut book = self.book.lock();
        let held = book.holds(slot);
        if held {
            self.rewrite(&mut book, slot);
            self.publish_unless_behind(book);
        }
        held
    }

    /// Writes the true keys of members by the thread that holds their cell; few enough for one stay under the lock.
    pub(crate) fn sync_all(&self, members: &[Synced<'_>]) {
        let mut book = self.book.lock();
        book.fetch(members);
        for (_, slot, record) in members {
            if slot.position(self.side) != NOWHERE {
                let key = slot.settle_as(self.side, record, book.published == address(slot));
                book.place(slot, key);
            }
        }
        self.publish_unless_behind(book);
    }

    /// Gives a member its true key; false if that means parked.
    fn rewrite(&self, book: &mut Book, slot: &Arc<Slot>) -> bool {
        let key = self.settle(book.published, slot).map(|(key, _)| key);
        book.place(slot, key);
        key.is_some()
    }

    /// The slot's true key; a published slot keeps its mark.
    fn settle(&self, published: usize, slot: &Arc<Slot>) -> Option<(Key, Word)> {
        slot.settle(self.side, &self.model, published == address(slot))
    }

    // === selection ===

    /// The best eligible worker. O(1) and no lock, unless what is published is not true any more.
    pub(crate) fn best(&self, view: &View<'_>) -> Option<Arc<WorkerInfo>> {
        let winner = self.winner.load();
        // No winner: nobody is ranked.
        if let Some(record) = winner.as_ref()?.offer_live(self.side, &self.model, view) {
            return Some(record);
        }
        drop(winner);
        self.best_locked(view)
    }

    /// The best eligible worker, found under the lock. Amortised O(log n).
    #[cold]
    pub(crate) fn best_locked(&self, view: &View<'_>) -> Option<Arc<WorkerInfo>> {
        let mut book = self.book.lock();
        let fit = self.best_fit(&mut book, view);
        self.publish(book);
        Some(fit?.record)
    }

    /// S5: the best eligible worker with one reservation more, in one step.
    ///
    /// `turns` gives another turn each time: no two slots ever have the same.
    pub(crate) fn reserve(&self, view: &View<'_>, turns: impl Fn() -> u64) -> Option<Fit> {
        let mut book = self.book.lock();
        loop {
            let Some(fit) = self.best_fit(&mut book, view) else {
                self.publish(book);
                return None;
            };
            // A compare-and-swap that fails means that another call got through.
            let is_published = book.published == address(&fit.slot);
            if let Some(word) = fit.slot.admit_seen(fit.word, self.side, is_published, turns()) {
                let key = (!word.is_full()).then(|| fit.slot.key(&fit.record, word.count()));
                book.place(&fit.slot, key);
                book.behind |= is_published;
                self.publish_unless_behind(book);
                return Some(fit);
            }
        }
    }

    fn best_fit(&self, book: &mut Book, view: &View<'_>) -> Option<Fit> {
        loop {
            let mut silent = 0;
            while silent < CORRECTIONS.max(book.ranked.len() / CORRECTED_SHARE) {
                let slot = book.best()?.clone();
                match self.examine(book.published, &slot, view) {
                    Ok((word, record)) => return Some(Fit { slot, word, record }),
                    // Whoever made a key untrue has paid for its correction; only silence comes in masses.
                    Err(Amiss::Key(None)) => book.place(&slot, None),
                    Err(Amiss::Key(Some((key, word)))) => {
                        book.place(&slot, Some(key));
                        if book.published == address(&slot) {
                            let is_best = book.best().is_some_and(|best| Arc::ptr_eq(best, &slot));
                            book.behind = !(is_best && slot.unmark(self.side, word));
                        }
                    }
                    Err(Amiss::Silent) => {
                        book.place(&slot, None);
                        silent += 1;
                    }
                }
            }
            self.park_silent(book, view);
        }
    }

    /// The entry as a pick may return it, or what must be done to it first.
    fn examine(
        &self,
        published: usize,
        slot: &Arc<Slot>,
        view: &View<'_>,
    ) -> Result<(Word, Arc<WorkerInfo>), Amiss> {
        loop {
            let Some((word, record)) = slot.offer(self.side, &self.model) else {
                return Err(Amiss::Key(self.settle(published, slot)));
            };
            if slot.pulse().is_live(view) {
                return Ok((word, record));
            }
            if slot.pulse().park(view) {
                return Err(Amiss::Silent);
            }
            // A heartbeat came in between: look again.
        }
    }

    /// Parks every silent entry in one pass. O(n), looking at nothing but the hives' pulses: the other keys are no
    /// worse than the truth, as ever.
    #[cold]
    fn park_silent(&self, book: &mut Book, view: &View<'_>) {
        let Book { side, ranked, parked, .. } = book;
        ranked.retain(
            |slot| slot.pulse().is_live(view),
            |slot, live, at, to| {
                if !live && slot.pulse().park(view) {
                    return false;
                }
                if at != to {
                    slot.set_position(*side, to as u32);
                }
                true
            },
            |slot| park(*side, parked, slot),
        );
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
            // Its key does not matter here, only whether it may be chosen.
            match slot.eligible(self.side, &self.model) {
                Some((word, record)) if slot.pulse().is_live(view) => {
                    break Some(Fit { slot: slot.clone(), word, record });
                }
                Some(_) if !slot.pulse().park(view) => continue,
                Some(_) => book.place(&slot, None),
                None if self.rewrite(&mut book, &slot) => continue,
                None => {}
            }
            break None;
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

    /// Leaves nobody ranked who is silent. O(n).
    pub(crate) fn correct(&self, view: &View<'_>) {
        let mut book = self.book.lock();
        self.park_silent(&mut book, view);
        self.publish(book);
    }

    /// All members, in no order. O(members).
    pub(crate) fn members(&self) -> Vec<Arc<Slot>> {
        let book = self.book.lock();
        book.ranked.items().chain(book.parked.iter()).cloned().collect()
    }

    fn publish_unless_behind(&self, book: MutexGuard<'_, Book>) {
        if !book.behind {
            self.publish(book);
        }
    }

    /// Publishes the winner if it is another one, and drops the old one once the lock is free (C5).
    fn publish(&self, mut book: MutexGuard<'_, Book>) {
        book.behind = false;
        let best = book.best();
        let best_address = best.map_or(0, address);
        let old = if best_address == book.published { None } else { self.winner.swap(best.cloned()) };
        book.published = best_address;
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

    fn best(&self) -> Option<&Arc<Slot>> {
        self.ranked.get(self.ranked.best()?)
    }

    /// Loads what will be written, and nothing else: the cache misses of several slots overlap, which they
    /// would not with a compare-and-swap between them.
    fn fetch(&self, members: &[Synced<'_>]) {
        for (_, slot, _) in members {
            self.ranked.fetch(slot.position(self.side) as usize);
        }
    }

    fn insert(&mut self, slot: Arc<Slot>, key: Option<Key>) {
        match key {
            None => park(self.side, &mut self.parked, slot),
            Some(key) => {
                slot.set_position(self.side, self.ranked.len() as u32);
                self.ranked.push(key, slot);
            }
        }
    }

    /// Gives a member its key, moving it between ranked and parked as need be.
    fn place(&mut self, slot: &Arc<Slot>, key: Option<Key>) {
        let at = slot.position(self.side);
        match key {
            Some(key) if at & PARKED == 0 => self.ranked.set(at as usize, key),
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

fn park(side: Side, parked: &mut Chunks<Arc<Slot>>, slot: Arc<Slot>) {
    slot.set_position(side, parked.len() as u32 | PARKED);
    parked.push(slot);
}
