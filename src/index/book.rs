//! What stands behind a ranking's lock: its members in two lists, by key.

use std::collections::VecDeque;
use std::sync::Arc;

use smallvec::SmallVec;

use super::ranking::{Renewed, STEP};
use super::tournament::{Key, Tournament};
use crate::liveness::View;
use crate::slot::{NOWHERE, PARKED, Side, Slot};
use crate::state::WorkerInfo;

/// A member of a ranking: the registration, and the record that this ranking knows of it.
#[derive(Clone)]
pub(crate) struct Entry {
    pub(crate) slot: Arc<Slot>,
    pub(crate) record: Arc<WorkerInfo>,
}

pub(super) struct Book {
    pub(super) side: Side,
    /// Taken out of the map, or about to be; nothing joins any more.
    pub(super) retired: bool,
    /// Heartbeats about to join: it must not be retired meanwhile.
    pub(super) pins: u32,
    pub(super) ranked: Tournament<Entry>,
    /// Members that cannot be picked now, by when a lease that runs out may change that.
    pub(super) parked: Tournament<Entry>,
    /// What is published; the addresses are not used again meanwhile.
    pub(super) published: Option<Print>,
    /// No look at what is published passes, and it need not be the best: every pick comes to the lock.
    pub(super) behind: bool,
    /// Of `RoundRobin`: the ranked ones before this place have had their turn in this round.
    pub(super) served: usize,
    pub(super) round: u32,
    /// Since when each of those walk who walk over the members right now, by what [`moved`](Self::moved) held then; and
    /// who changed lists since the first of them began.
    pub(super) walks: Vec<u64>,
    pub(super) moved: VecDeque<Entry>,
    /// What `moved` held before and nobody needs any more.
    pub(super) forgotten: u64,
}

/// What tells one published winner from another.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Print {
    pub(super) slot: usize,
    pub(super) record: usize,
    pub(super) count: u32,
    pub(super) turn: u64,
}

// === impl Entry ===

impl Entry {
    pub(crate) fn new(slot: &Arc<Slot>, record: &Arc<WorkerInfo>) -> Self {
        Self { slot: slot.clone(), record: record.clone() }
    }

    pub(super) fn print(&self, count: u32, turn: u64) -> Print {
        Print { slot: Arc::as_ptr(&self.slot).addr(), record: Arc::as_ptr(&self.record).addr(), count, turn }
    }
}

// === impl Book ===

impl Book {
    pub(super) fn new(side: Side) -> Self {
        Self {
            side,
            retired: false,
            pins: 0,
            ranked: Tournament::new(),
            parked: Tournament::new(),
            published: None,
            behind: false,
            served: 0,
            round: 1,
            walks: Vec::new(),
            moved: VecDeque::new(),
            forgotten: 0,
        }
    }

    pub(super) fn retire_if_empty(&mut self) -> bool {
        let retires = !self.retired && self.pins == 0 && self.ranked.is_empty() && self.parked.is_empty();
        self.retired |= retires;
        retires
    }

    /// Whoever is full, and whose lease has run out first.
    pub(super) fn due(&self, view: &View<'_>) -> Option<Entry> {
        let least = self.parked.least();
        let is_due = least != Key::NEVER && least.deadline() <= view.monotonic;
        self.parked.get(self.parked.best().filter(|_| is_due)?).cloned()
    }

    pub(super) fn end_of_moved(&self) -> u64 {
        self.forgotten + self.moved.len() as u64
    }

    /// Some of those that moved and whom no walk needs any more; none if there are none.
    pub(super) fn forget_some(&mut self) -> Option<SmallVec<[Entry; STEP]>> {
        let needed = self.walks.iter().min().map_or(self.end_of_moved(), |since| *since);
        let some = STEP.min((needed - self.forgotten) as usize);
        if self.moved.len() == some {
            // Nothing stays of a great silence.
            self.moved.shrink_to(some);
        }
        self.forgotten += some as u64;
        (some > 0).then(|| self.moved.drain(..some).collect())
    }

    pub(super) fn list(&mut self, position: u32) -> (&mut Tournament<Entry>, usize) {
        match position & PARKED {
            0 => (&mut self.ranked, position as usize),
            _ => (&mut self.parked, (position & !PARKED) as usize),
        }
    }

    /// The slot's own entry, if it is a member.
    pub(super) fn entry_mut(&mut self, slot: &Arc<Slot>) -> Option<&mut Entry> {
        let position = slot.position(self.side);
        if position == NOWHERE {
            return None;
        }
        let (list, at) = self.list(position);
        list.get_mut(at).filter(|entry| Arc::ptr_eq(&entry.slot, slot))
    }

    /// Where it is ranked.
    pub(super) fn ranked_at(&mut self, slot: &Arc<Slot>) -> Option<usize> {
        let position = slot.position(self.side);
        (position & PARKED == 0 && self.entry_mut(slot).is_some()).then_some(position as usize)
    }

    /// Loads what will be written, and nothing else: the cache misses of several slots overlap, which they
    /// would not with a compare-and-swap between them.
    pub(super) fn fetch(&self, members: &[Renewed<'_>]) {
        for (_, slot, _) in members {
            self.ranked.fetch(slot.position(self.side) as usize);
        }
    }

    pub(super) fn insert(&mut self, entry: Entry, key: Result<Key, Key>) {
        let side = self.side;
        let (list, parked, key) = match key {
            Ok(key) => (&mut self.ranked, 0, key),
            Err(key) => (&mut self.parked, PARKED, key),
        };
        entry.slot.set_position(side, list.len() as u32 | parked);
        list.push(key, entry);
    }

    /// Gives a member its key, moving it between ranked and parked as need be.
    pub(super) fn place(&mut self, slot: &Arc<Slot>, key: Result<Key, Key>) {
        let position = slot.position(self.side);
        match key {
            Ok(key) if position & PARKED == 0 => self.ranked.set(position as usize, key),
            Err(key) if position & PARKED != 0 => self.parked.set((position & !PARKED) as usize, key),
            key => {
                if let Some(entry) = self.remove(slot) {
                    if !self.walks.is_empty() {
                        self.moved.push_back(entry.clone());
                    }
                    self.insert(entry, key);
                }
            }
        }
    }

    pub(super) fn remove(&mut self, slot: &Arc<Slot>) -> Option<Entry> {
        self.entry_mut(slot)?;
        let (side, position) = (self.side, slot.position(self.side));
        let removed = if position & PARKED == 0 {
            let at = position as usize;
            // The served ones stay before the others.
            let served = at < self.served;
            self.served -= usize::from(served);
            let hole = if served { self.served } else { at };
            let removed = self.ranked.remove_by(at, hole);
            for at in [at, hole] {
                if let Some(moved) = self.ranked.get(at) {
                    moved.slot.set_position(side, at as u32);
                }
            }
            removed
        } else {
            let at = (position & !PARKED) as usize;
            let removed = self.parked.swap_remove(at);
            if let Some(moved) = self.parked.get(at) {
                moved.slot.set_position(side, position);
            }
            removed
        };
        slot.set_position(side, NOWHERE);
        removed
    }
}
