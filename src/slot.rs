//! A slot is one registration of a worker: present on its hive without a gap (S6).

use std::sync::Arc;

use crate::hive::Front;
use crate::index::Key;
use crate::liveness::{Pulse, View};
use crate::names::HiveId;
use crate::state::{WorkerHealth, WorkerInfo, WorkerLifecycle};
use crate::sync::{AtomicU32, AtomicU64, Ordering};

/// The two rankings a slot may belong to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    /// Its model's: all workers that have the model loaded.
    Model = 0,
    /// The idle one: all workers in state `Idle`.
    Idle = 1,
}

/// Reservations, limit and flags in one word, so that admission is one compare-and-swap (S5).
///
/// | bits | |
/// |---|---|
/// | 0..29 | reservations |
/// | 29..58 | the most there may be; all ones where the worker reports none |
/// | 58 | `GONE`: the registration has ended; never cleared |
/// | 59, 60 | `STALE`, one for each side: a pick through it must look under the lock, for the stored key does not know of every reservation, or the published winner is not the best |
/// | 61, 62 | `COUNTED`, one for each side: that side's key knows of reservations, so a release must tell it |
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Word(u64);

const FIELD: u64 = (1 << 29) - 1;
const LIMIT_AT: u32 = 29;
const GONE: u64 = 1 << 58;
const STALE: [u64; 2] = [1 << 59, 1 << 60];
const COUNTED: [u64; 2] = [1 << 61, 1 << 62];

/// The top bit of a position: parked rather than ranked.
pub(crate) const PARKED: u32 = 1 << 31;
/// A slot that is in no book.
pub(crate) const NOWHERE: u32 = u32::MAX;

pub(crate) struct Slot {
    /// Its hive's: who is heard, and the records.
    front: Arc<Front>,
    /// Its record is the one with this seat in the hive's state: believed only if the registration has not ended
    /// by then, for others get the seat afterwards.
    seat: u32,
    /// Changed by anyone, always by read-modify-write.
    word: AtomicU64,
    /// The registry-wide turn of its last reservation (S4); only grows.
    turn: AtomicU64,
    /// Registration order (S4).
    order: u64,
    /// Where it stands in each side's book; written under that ranking's lock, and believed only if the book
    /// agrees, for it may be the position in the ranking of another model.
    positions: [AtomicU32; 2],
}

impl Slot {
    pub(crate) fn new(record: &WorkerInfo, front: Arc<Front>, seat: u32, order: u64) -> Self {
        Self {
            word: AtomicU64::new(limit(record) << LIMIT_AT),
            front,
            seat,
            turn: AtomicU64::new(0),
            order,
            positions: [AtomicU32::new(NOWHERE), AtomicU32::new(NOWHERE)],
        }
    }

    /// The record, unless the registration has ended.
    pub(crate) fn record(&self) -> Option<Arc<WorkerInfo>> {
        self.look(|_, record| record.clone())
    }

    /// Looks at the word and the record, unless the registration has ended.
    ///
    /// The word is read after the state: a heartbeat ends a registration before it publishes the state in which
    /// another has its seat, so that who sees that state sees the end.
    fn look<T>(&self, f: impl FnOnce(Word, &Arc<WorkerInfo>) -> T) -> Option<T> {
        let state = self.front.state.load();
        let record = state.as_ref()?.seated(self.seat)?;
        let word = self.word();
        (!word.is_gone()).then(|| f(word, record))
    }

    pub(crate) fn seat(&self) -> u32 {
        self.seat
    }

    pub(crate) fn hive_id(&self) -> &HiveId {
        &self.front.id
    }

    pub(crate) fn pulse(&self) -> &Pulse {
        &self.front.pulse
    }

    pub(crate) fn is_gone(&self) -> bool {
        self.word().is_gone()
    }

    pub(crate) fn word(&self) -> Word {
        Word(self.word.load(Ordering::Acquire))
    }

    pub(crate) fn position(&self, side: Side) -> u32 {
        self.positions[side as usize].load(Ordering::Relaxed)
    }

    pub(crate) fn set_position(&self, side: Side, position: u32) {
        self.positions[side as usize].store(position, Ordering::Relaxed);
    }

    /// Sets the limit to that of the record just published; under the cell's lock.
    pub(crate) fn set_limit(&self, record: &WorkerInfo) {
        let limit = limit(record);
        // Nobody else writes it.
        if limit != self.word().0 >> LIMIT_AT & FIELD {
            self.change(|word| Some(word & !(FIELD << LIMIT_AT) | limit << LIMIT_AT));
        }
    }

    // === what a pick looks at ===

    /// The record, if the worker may be picked from `side`, its hive's age aside (S1).
    ///
    /// `model` is the model asked for; on the idle side it does not matter.
    pub(crate) fn eligible(&self, side: Side, model: &str) -> Option<(Word, Arc<WorkerInfo>)> {
        self.look(|word, record| {
            let fits = !word.is_full() && self.pulse().serves() && admits(side, model, record);
            fits.then(|| (word, record.clone()))
        })?
    }

    /// [`eligible`](Self::eligible), and the stored key of `side` knows of every reservation.
    pub(crate) fn offer(&self, side: Side, model: &str) -> Option<(Word, Arc<WorkerInfo>)> {
        self.eligible(side, model).filter(|(word, _)| word.0 & STALE[side as usize] == 0)
    }

    /// [`offer`](Self::offer) by a live hive (L2).
    pub(crate) fn offer_live(&self, side: Side, model: &str, view: &View<'_>) -> Option<Arc<WorkerInfo>> {
        let (_, record) = self.offer(side, model)?;
        self.pulse().is_live(view).then_some(record)
    }

    /// The true key for `side`, or none if it must be parked; its hive's age aside. Under the lock of that
    /// side's ranking: the flags then say what the book knows.
    ///
    /// The word is read by read-modify-write, which sees every change made before it in the word's order, and
    /// first, so that record and turn are at least as new. Whoever changes something afterwards sees the
    /// flags and comes to the lock.
    ///
    /// A published slot keeps its mark: see [`unmark`](Self::unmark).
    pub(crate) fn settle(&self, side: Side, model: &str, is_published: bool) -> Option<(Key, Word)> {
        let word = self.tell(side, is_published)?;
        self.look(|_, record| admits(side, model, record).then(|| (self.key(record, word.count()), word)))?
    }

    /// [`settle`](Self::settle) by its hive's heartbeat, which knows the record and that `side` has it.
    pub(crate) fn settle_as(&self, side: Side, record: &WorkerInfo, is_published: bool) -> Option<Key> {
        let word = self.tell(side, is_published)?;
        record.serves().then(|| self.key(record, word.count()))
    }

    /// Notes in the word what the book of `side` is told now; none if the worker takes no requests.
    fn tell(&self, side: Side, is_published: bool) -> Option<Word> {
        let (stale, counted) = (STALE[side as usize], COUNTED[side as usize]);
        let word = self.change(|word| {
            let counts = if word & FIELD > 0 { counted } else { 0 };
            let mark = if is_published { word & stale } else { 0 };
            Some(word & !(stale | counted) | counts | mark)
        })?;
        (!word.is_gone() && !word.is_full() && self.pulse().serves()).then_some(word)
    }

    /// Takes the mark of the published slot off, under the lock of that side's ranking, where the key made from
    /// `word` proved the best. False if something was counted meanwhile.
    pub(crate) fn unmark(&self, side: Side, word: Word) -> bool {
        let unmarked = word.0 & !STALE[side as usize];
        self.word.compare_exchange(word.0, unmarked, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    /// The key with `count` reservations.
    pub(crate) fn key(&self, record: &WorkerInfo, count: u32) -> Key {
        Key::new(
            record.health_status != WorkerHealth::Healthy,
            load(record, count),
            record.state == WorkerLifecycle::Busy,
            self.turn.load(Ordering::Acquire),
            self.order,
        )
    }

    // === reservations ===

    /// Counts one reservation if the word is still `seen`, in the name of `side`, whose key the caller
    /// rewrites under the lock it holds. The other side finds out by its mark, as does this one where the slot is
    /// the published winner, which it no longer deserves to be.
    pub(crate) fn admit_seen(&self, seen: Word, side: Side, is_published: bool, turn: u64) -> Option<Word> {
        let (own, other) = (side as usize, 1 - side as usize);
        let mark = if is_published { STALE[own] } else { 0 };
        let new = (seen.0 + 1) | COUNTED[own] | STALE[other] | mark;
        self.admit(seen, new, turn).then_some(Word(new))
    }

    /// Counts one reservation if there are still `seen` and room for one more, holding no lock (S8).
    pub(crate) fn admit_count(&self, seen: u32, turn: u64) -> bool {
        let word = self.word();
        let fits = !word.is_gone() && !word.is_full() && word.count() == seen;
        fits && self.admit(word, (word.0 + 1) | STALE[0] | STALE[1], turn)
    }

    fn admit(&self, seen: Word, new: u64, turn: u64) -> bool {
        // Before the count: who sees the flag must see the turn.
        self.turn.fetch_max(turn, Ordering::AcqRel);
        let admitted = self.word.compare_exchange(seen.0, new, Ordering::AcqRel, Ordering::Acquire).is_ok();
        if !admitted {
            // The turn has moved all the same, so no stored key is true any more.
            self.word.fetch_or(STALE[0] | STALE[1], Ordering::AcqRel);
        }
        admitted
    }

    /// Takes one reservation back and says which sides must be told, or none if the registration has ended,
    /// which took them all (S6).
    pub(crate) fn release(&self) -> Option<[bool; 2]> {
        let word = self.change(|word| {
            let open = !Word(word).is_gone() && Word(word).count() > 0;
            open.then(|| word - 1)
        })?;
        Some(COUNTED.map(|flag| word.0 & flag != 0))
    }

    /// Ends the registration and returns how many reservations end with it.
    pub(crate) fn end(&self) -> u32 {
        Word(self.word.fetch_or(GONE, Ordering::AcqRel)).count()
    }

    /// Returns the new word, or none if `f` declined.
    fn change(&self, mut f: impl FnMut(u64) -> Option<u64>) -> Option<Word> {
        let mut word = self.word.load(Ordering::Relaxed);
        loop {
            let new = f(word)?;
            match self.word.compare_exchange_weak(word, new, Ordering::AcqRel, Ordering::Relaxed) {
                Ok(_) => return Some(Word(new)),
                Err(now) => word = now,
            }
        }
    }
}

impl Word {
    pub(crate) fn count(self) -> u32 {
        (self.0 & FIELD) as u32
    }

    pub(crate) fn is_full(self) -> bool {
        self.0 & FIELD >= self.0 >> LIMIT_AT & FIELD
    }

    pub(crate) fn is_gone(self) -> bool {
        self.0 & GONE != 0
    }
}

/// The limit as the word holds it. An unreported one, or one past 2^29 - 2, never binds.
fn limit(record: &WorkerInfo) -> u64 {
    record.max_concurrency.map_or(FIELD, |limit| u64::from(limit).min(FIELD))
}

/// S1, S2: whether the record belongs among the candidates of `side`.
fn admits(side: Side, model: &str, record: &WorkerInfo) -> bool {
    record.serves()
        && match side {
            // Mostly the very string: a ranking's name is its members' too.
            Side::Model => record
                .model_id
                .as_deref()
                .is_some_and(|loaded| std::ptr::eq(loaded, model) || loaded == model),
            Side::Idle => record.state == WorkerLifecycle::Idle,
        }
}

/// S3, computed in `f64` in exactly this order.
pub(crate) fn load(record: &WorkerInfo, reservations: u32) -> u64 {
    let gpu = f64::from(record.gpu_percent.unwrap_or(100.0));
    let max = f64::from(record.max_concurrency.unwrap_or(1));
    // `as` saturates.
    ((1_000.0 * (gpu + 100.0 * f64::from(reservations) / max)).floor() as u64).min(Key::MAX_LOAD)
}
