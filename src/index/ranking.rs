//! One ordered set of candidates, its winner published.
//!
//! **A stored key is never worse than the truth.** What improves a worker is written through by whoever
//! improves it, before its call returns: a heartbeat, which gives every ranking the new record and its key in one
//! step ([`Ranking::update`]); a release (told by the `COUNTED` flag); a hive heard again (told by the parked mark).
//! What worsens it may be found late, so a pick looks again at what it is about to return; where the look
//! disagrees with the stored key, it takes the lock and corrects that one entry. Hence the first entry that passes is
//! the best there is, and its record is the one that its key was made from (C2).
//!
//! **What is published is the best of the book, or no look at it passes.** A [`Winner`] says of what its key was made,
//! and passes only while that is so. Publishing costs as much as the rest of a reservation, so a reservation of the
//! winner leaves it published: its turn has moved, for good, so that every pick comes to the lock, until one of them
//! publishes. Whatever else changes the best of the book publishes.

use std::sync::Arc;

use smallvec::SmallVec;

use super::book::{Book, Entry};
use super::tournament::Key;
use crate::core::RENEWED;
use crate::liveness::View;
use crate::names::ModelId;
use crate::slot::{Side, Slot, Told};
use crate::state::WorkerInfo;
use crate::sync::{AtomicI64, Mutex, MutexGuard, Ordering, Pin, Published, unlock_fair};

/// Entries looked at in one stay under the lock (C7).
pub(crate) const STEP: usize = 64;

pub(crate) struct Ranking {
    side: Side,
    /// Empty for the idle ranking.
    model: ModelId,
    /// The limit that a worker without one is ranked by (S3).
    assumed: u32,
    /// The best ranked entry, unless the book is `behind`; nothing if nobody is ranked. Changed under its lock.
    winner: Published<Winner>,
    /// When the first lease of a full member runs out, monotonic ms; `i64::MAX` without one. Changed under the lock.
    due: AtomicI64,
    book: Mutex<Book>,
}

/// A member as readers see it: its record and what its key was made of.
struct Winner {
    entry: Entry,
    count: u32,
    turn: u64,
}

/// The book, open: its lock, and from the first publication on a pin that outlives it, so that what a publication replaces
/// is freed after the lock (C5).
struct Open<'r> {
    book: MutexGuard<'r, Book>,
    pin: Option<Pin>,
}

/// What is found at the top.
pub(crate) enum Best<T> {
    Found(T),
    /// All who could be picked are full, but a lease of this one has run out: it is to be taken back first.
    Due(Arc<Slot>),
    Nobody,
}

/// An entry as a pick may return it.
pub(crate) struct Fit {
    pub(crate) slot: Arc<Slot>,
    pub(crate) told: Told,
    pub(crate) record: Arc<WorkerInfo>,
    pub(crate) key: Key,
}

/// A slot and the new record of it, beside a ranking that it stays in.
pub(crate) type Renewed<'s> = (&'s Ranking, &'s Arc<Slot>, &'s Arc<WorkerInfo>);

// === impl Winner ===

impl Winner {
    /// Its record, while its key is what it was made of. Two loads beside that of its hive's pulse.
    fn look(&self, view: &View<'_>) -> Option<Arc<WorkerInfo>> {
        let told = self.entry.slot.told()?;
        let is_true = told.word.count() == self.count && told.turn == self.turn;
        (is_true && self.entry.slot.pulse().is_live(view)).then(|| self.entry.record.clone())
    }
}

// === impl Ranking ===

impl Ranking {
    pub(crate) fn new(side: Side, model: ModelId, assumed: u32) -> Self {
        Self {
            side,
            model,
            assumed,
            winner: Published::new(),
            due: AtomicI64::new(i64::MAX),
            book: Mutex::new(Book::new(side)),
        }
    }

    pub(crate) fn model(&self) -> &ModelId {
        &self.model
    }

    fn open(&self) -> Open<'_> {
        Open { book: self.book.lock(), pin: None }
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
    pub(crate) fn join(&self, slot: &Arc<Slot>, record: &Arc<WorkerInfo>) {
        let mut open = self.open();
        debug_assert!(!open.book.retired, "a retired ranking cannot be joined");
        let entry = Entry::new(slot, record);
        if self.side == Side::Model {
            // It had its turn in the ranking of another model, or it is new (S8).
            slot.set_round(self.side, 0);
        }
        let key = self.tell(slot, record).map(|(key, _)| key);
        open.book.insert(entry, key);
        self.close(open);
    }

    /// True as in [`unpin`](Self::unpin).
    #[must_use]
    pub(crate) fn leave(&self, slot: &Arc<Slot>) -> bool {
        let mut open = self.open();
        let left = open.book.remove(slot);
        let retired = left.is_some() && open.book.retire_if_empty();
        self.close(open);
        // Only now (C5).
        drop(left);
        retired
    }

    /// Gives members their new records and the keys of these, in one step each; few enough for one stay.
    pub(crate) fn update(&self, members: &[Renewed<'_>]) {
        // Replaced records, dropped after the lock.
        let mut replaced: SmallVec<[_; RENEWED]> = SmallVec::new();
        let mut open = self.open();
        open.book.fetch(members);
        for (_, slot, record) in members {
            if let Some(entry) = open.book.entry_mut(slot) {
                replaced.push(std::mem::replace(&mut entry.record, (*record).clone()));
                self.settle(&mut open.book, slot, record);
            }
        }
        self.close(open);
    }

    /// Writes the slot's true key, if it is a member; false if it is not.
    pub(crate) fn sync(&self, slot: &Arc<Slot>) -> bool {
        let mut open = self.open();
        let told = open.book.entry_mut(slot).map(|entry| self.tell(slot, &entry.record));
        if let Some(told) = told {
            open.book.place(slot, told.map(|(key, _)| key));
        }
        self.close(open);
        told.is_some()
    }

    /// Writes the true key of an entry; none if that means parked.
    fn settle(&self, book: &mut Book, slot: &Arc<Slot>, record: &WorkerInfo) -> Option<(Key, Told)> {
        let told = self.tell(slot, record);
        book.place(slot, told.map(|(key, _)| key));
        told.ok()
    }

    /// The key of an entry as things are and what it is made of; if it cannot be picked now, that of when this may end.
    /// The slot then knows what the book is about to.
    fn tell(&self, slot: &Slot, record: &WorkerInfo) -> Result<(Key, Told), Key> {
        loop {
            return match slot.tell(self.side) {
                _ if !record.serves() => Err(Key::NEVER),
                Some(told) => Ok((slot.key(self.side, record, told, self.assumed), told)),
                // What a lease opened afterwards changes comes here again.
                None if slot.waits() => Err(Key::due(slot.due(), slot.order())),
                // A place was given back between the two looks: whoever asks is not to miss it.
                None if slot.told().is_some() => continue,
                None => Err(Key::NEVER),
            };
        }
    }

    // === selection ===

    /// The best eligible worker. O(1) and no lock, unless what is published is not true any more.
    pub(crate) fn best(&self, view: &View<'_>) -> Best<Arc<WorkerInfo>> {
        match self.winner.read(|winner| winner.look(view)) {
            Some(Some(record)) => Best::Found(record),
            None if self.is_bare(view) => Best::Nobody,
            _ => self.best_locked(view),
        }
    }

    /// Nobody was published, and no lease of a full member has run out.
    fn is_bare(&self, view: &View<'_>) -> bool {
        let is_due = || self.due.load(Ordering::Acquire) <= view.monotonic;
        // Who was given back between the two looks is published by the third: `due` is raised after that.
        let is_published = || self.winner.read(|_| ()).is_some();
        view.monotonic == i64::MIN || !is_due() && !is_published()
    }

    /// The best eligible worker, found under the lock. Amortised O(log n).
    #[cold]
    fn best_locked(&self, view: &View<'_>) -> Best<Arc<WorkerInfo>> {
        let (open, best) = self.find(view);
        self.publish(open);
        match best {
            Best::Found((_, fit)) => Best::Found(fit.record),
            Best::Due(slot) => Best::Due(slot),
            Best::Nobody => Best::Nobody,
        }
    }

    /// S5: the best eligible worker with one reservation more, in one step.
    ///
    /// `turns` gives another turn each time: no two slots ever have the same.
    pub(crate) fn reserve(&self, view: &View<'_>, turns: impl Fn() -> u64) -> Best<Fit> {
        let (mut open, mut best) = self.find(view);
        loop {
            let fit = match best {
                Best::Found((_, fit)) => fit,
                Best::Due(slot) => {
                    self.publish(open);
                    return Best::Due(slot);
                }
                Best::Nobody => {
                    self.publish(open);
                    return Best::Nobody;
                }
            };
            if self.take(&mut open, &fit, turns()) {
                self.close(open);
                return Best::Found(fit);
            }
            // Another call got through.
            (open, best) = self.find_in(open, view);
        }
    }

    /// S8: this one with one reservation more, if it may be picked now, whatever its count has become. False if not.
    pub(crate) fn reserve_this(&self, slot: &Arc<Slot>, view: &View<'_>, turns: impl Fn() -> u64) -> bool {
        let mut open = self.open();
        let taken = loop {
            match self.this_in(&mut open.book, slot, view) {
                Some(fit) if !self.take(&mut open, &fit, turns()) => {}
                fit => break fit.is_some(),
            }
        };
        self.close(open);
        taken
    }

    /// This one, if it may be picked now.
    pub(crate) fn this(&self, slot: &Arc<Slot>, view: &View<'_>) -> Option<Fit> {
        let mut open = self.open();
        let fit = self.this_in(&mut open.book, slot, view);
        self.close(open);
        fit
    }

    fn this_in(&self, book: &mut Book, slot: &Arc<Slot>, view: &View<'_>) -> Option<Fit> {
        let at = book.ranked_at(slot)?;
        self.examine(book, at, view)
    }

    /// Counts one reservation more of an entry, if its word is still as seen, and writes its key.
    fn take(&self, open: &mut Open<'_>, fit: &Fit, turn: u64) -> bool {
        let Some(told) = fit.slot.admit(fit.told.word, self.side, turn) else {
            return false;
        };
        let book = &mut *open.book;
        let key = match told.word.is_full() {
            false => Ok(fit.slot.key(self.side, &fit.record, told, self.assumed)),
            true => Err(Key::due(fit.slot.due(), fit.slot.order())),
        };
        book.place(&fit.slot, key);
        // Its turn has moved, for good.
        book.behind |= book.published.is_some_and(|print| print.slot == Arc::as_ptr(&fit.slot).addr());
        true
    }

    fn find(&self, view: &View<'_>) -> (Open<'_>, Best<(usize, Fit)>) {
        self.find_in(self.open(), view)
    }

    /// The best eligible entry and its place, [`STEP`] corrections in one stay under the lock.
    fn find_in<'r>(&'r self, mut open: Open<'r>, view: &View<'_>) -> (Open<'r>, Best<(usize, Fit)>) {
        loop {
            for _ in 0..STEP {
                let Some(at) = open.book.ranked.best() else {
                    let Some(entry) = open.book.due(view) else {
                        return (open, Best::Nobody);
                    };
                    // By now its lease may have been renewed, or given back. What those of a silent hive are about is not
                    // ours to pay for.
                    self.settle(&mut open.book, &entry.slot, &entry.record);
                    let is_due = entry.slot.waits() && entry.slot.due() <= view.monotonic;
                    if is_due && !self.parks(&mut open.book, &entry.slot, view) {
                        return (open, Best::Due(entry.slot));
                    }
                    continue;
                };
                let stored = open.book.ranked.key(at);
                if let Some(fit) = self.examine(&mut open.book, at, view) {
                    if fit.key == stored {
                        return (open, Best::Found((at, fit)));
                    }
                }
            }
            open = self.step(open);
        }
    }

    /// The entry at `at` as a pick may return it, its key now true; none if it had to be parked.
    fn examine(&self, book: &mut Book, at: usize, view: &View<'_>) -> Option<Fit> {
        let entry = book.ranked.get(at)?.clone();
        let stored = book.ranked.key(at);
        let told = entry
            .slot
            .told()
            .map(|told| (entry.slot.key(self.side, &entry.record, told, self.assumed), told));
        let (key, told) = match told.filter(|(key, _)| *key == stored) {
            Some(told) => told,
            None => self.settle(book, &entry.slot, &entry.record)?,
        };
        if self.parks(book, &entry.slot, view) {
            return None;
        }
        let Entry { slot, record } = entry;
        Some(Fit { slot, told, record, key })
    }

    /// Parks a member if its hive is silent; true if so.
    fn parks(&self, book: &mut Book, slot: &Arc<Slot>, view: &View<'_>) -> bool {
        while !slot.pulse().is_live(view) {
            if slot.pulse().park(view) {
                book.place(slot, Err(Key::NEVER));
                return true;
            }
            // A heartbeat came in between: look again.
        }
        false
    }

    // === views for policies and lists ===

    /// How many entries are ranked: an upper bound on the eligible. O(1).
    pub(crate) fn ranked(&self) -> usize {
        self.book.lock().ranked.len()
    }

    /// The `at`th ranked entry if it is eligible; otherwise it is parked, and another one takes its place.
    pub(crate) fn nth(&self, at: usize, view: &View<'_>) -> Option<Fit> {
        let mut open = self.open();
        let fit = self.examine(&mut open.book, at, view);
        self.close(open);
        fit
    }

    /// The best eligible entry, and its place.
    pub(crate) fn best_place(&self, view: &View<'_>) -> Best<(usize, Fit)> {
        let (open, best) = self.find(view);
        self.publish(open);
        best
    }

    /// S8: the next in turn, and its place. Each who is eligible is once in a round; who comes, is at its end.
    pub(crate) fn next_in_turn(&self, view: &View<'_>) -> Option<(usize, Fit)> {
        let mut open = self.open();
        loop {
            for _ in 0..STEP {
                let book = &mut *open.book;
                if book.served >= book.ranked.len() {
                    if book.ranked.is_empty() {
                        self.close(open);
                        return None;
                    }
                    book.served = 0;
                    book.round = book.round.wrapping_add(1).max(1);
                }
                let (at, round) = (book.served, book.round);
                let had_it = book.ranked.get(at).is_none_or(|entry| entry.slot.round(self.side) == round);
                let fit = if had_it { None } else { self.examine(book, at, view) };
                if let Some(fit) = &fit {
                    fit.slot.set_round(self.side, round);
                }
                if had_it || fit.is_some() {
                    open.book.served += 1;
                }
                if let Some(fit) = fit {
                    self.close(open);
                    return Some((at, fit));
                }
            }
            open = self.step(open);
        }
    }

    /// All members, in the order of registration, [`STEP`] at a time. O(n log n) in the members.
    ///
    /// Nobody is missed who is a member throughout: it goes down from the end of either list, and what moves within
    /// one moves down; what goes over to the other meanwhile is written down.
    pub(crate) fn members(&self) -> Vec<Entry> {
        let mut found: Vec<Entry> = Vec::new();
        let mut book = self.book.lock();
        let since = book.end_of_moved();
        book.walks.push(since);
        for of_ranked in [true, false] {
            let mut left = usize::MAX;
            loop {
                let list = if of_ranked { &book.ranked } else { &book.parked };
                let (to, from) = (left.min(list.len()), left.min(list.len()).saturating_sub(STEP));
                found.extend((from..to).filter_map(|at| list.get(at).cloned()));
                left = from;
                unlock_fair(book);
                book = self.book.lock();
                if left == 0 {
                    break;
                }
            }
        }
        // Who moves from here on was found.
        let (mut at, end) = (since, book.end_of_moved());
        while at < end {
            let to = end.min(at + STEP as u64);
            let place = |at: u64| (at - book.forgotten) as usize;
            found.extend(book.moved.range(place(at)..place(to)).cloned());
            at = to;
            unlock_fair(book);
            book = self.book.lock();
        }
        if let Some(at) = book.walks.iter().position(|walk| *walk == since) {
            book.walks.swap_remove(at);
        }
        while let Some(forgotten) = book.forget_some() {
            unlock_fair(book);
            drop(forgotten);
            book = self.book.lock();
        }
        drop(book);
        // The latest record of each.
        found.reverse();
        found.sort_by_key(|entry| entry.slot.order());
        found.dedup_by_key(|entry| entry.slot.order());
        found.retain(|entry| !entry.slot.is_gone());
        found
    }

    // === publishing ===

    /// Lets others in, between two steps.
    fn step<'r>(&'r self, mut open: Open<'r>) -> Open<'r> {
        self.refresh(&mut open);
        {
            let Open { book, pin: _pin } = open;
            unlock_fair(book);
        }
        self.open()
    }

    /// Publishes what changed, unless a pick has to do it anyway.
    fn close(&self, mut open: Open<'_>) {
        self.refresh(&mut open);
    }

    fn refresh(&self, open: &mut Open<'_>) {
        if open.book.behind {
            self.tell_due(&open.book, |due, told| due != told);
        } else {
            self.publish_in(open);
        }
    }

    fn publish(&self, mut open: Open<'_>) {
        open.book.behind = false;
        self.publish_in(&mut open);
    }

    fn publish_in(&self, open: &mut Open<'_>) {
        let book = &mut *open.book;
        // Before that nobody is there, and after that somebody is.
        self.tell_due(book, |due, told| due < told);
        let winner = book.ranked.best().and_then(|at| {
            let (entry, key) = (book.ranked.get(at)?, book.ranked.key(at));
            // Whether the key is true is not known here. If it is not, no look will pass: no count is ever so high.
            let told = slot_told(entry, key.turn());
            let count = told
                .filter(|told| entry.slot.key(self.side, &entry.record, *told, self.assumed) == key)
                .map_or(u32::MAX, |told| told.word.count());
            Some((entry, entry.print(count, key.turn())))
        });
        let print = winner.map(|(_, print)| print);
        if print != book.published {
            let winner = winner.map(|(entry, print)| Winner {
                entry: entry.clone(),
                count: print.count,
                turn: print.turn,
            });
            self.winner.store(winner, open.pin.get_or_insert_with(Pin::new));
            book.published = print;
        }
        self.tell_due(book, |due, told| due > told);
    }

    fn tell_due(&self, book: &Book, tells: impl FnOnce(i64, i64) -> bool) {
        let due = match book.parked.least() {
            Key::NEVER => i64::MAX,
            key => key.deadline(),
        };
        // Written under the lock only.
        if tells(due, self.due.load(Ordering::Relaxed)) {
            self.due.store(due, Ordering::Release);
        }
    }
}

/// What the slot's word says now, beside a turn.
fn slot_told(entry: &Entry, turn: u64) -> Option<Told> {
    let Told { word, .. } = entry.slot.told()?;
    Some(Told { word, turn })
}
