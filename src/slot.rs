//! A slot is one registration of a worker: present on its hive without a gap (S6).

use std::sync::{Arc, Weak};

use crate::hive::Front;
use crate::index::Key;
use crate::index::ranking::Ranking;
use crate::liveness::Pulse;
use crate::names::HiveId;
use crate::state::{HiveRuntimeState, WorkerHealth, WorkerInfo, WorkerLifecycle};
use crate::sync::{AtomicI64, AtomicU32, AtomicU64, Mutex, Ordering};

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
/// | 59, 60 | `COUNTED`, one for each side: that side's key knows of reservations, so a release must tell it |
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Word(u64);

const FIELD: u64 = (1 << 29) - 1;
const LIMIT_AT: u32 = 29;
const GONE: u64 = 1 << 58;
const COUNTED: [u64; 2] = [1 << 59, 1 << 60];

/// The top bit of a position: parked rather than ranked.
pub(crate) const PARKED: u32 = 1 << 31;
/// A slot that is in no book.
pub(crate) const NOWHERE: u32 = u32::MAX;

pub(crate) struct Slot {
    /// Its hive's: who is heard, and the state.
    front: Arc<Front>,
    /// Changed by anyone, always by read-modify-write.
    word: AtomicU64,
    /// The registry-wide turn of the last attempt to reserve it (S4); only grows.
    turn: AtomicU64,
    /// Registration order (S4).
    order: u64,
    /// When the first of its leases runs out, monotonic ms, `i64::MAX` without one; written under the ledger's lock.
    due: AtomicI64,
    /// The ranking of its model; written by the thread that holds its cell, before the slot joins.
    home: Mutex<Weak<Ranking>>,
    /// Where it stands in each side's book; written under that ranking's lock, and believed only if the book
    /// agrees, for it may be the position in the ranking of another model.
    positions: [AtomicU32; 2],
    /// The round of each side's `RoundRobin` in which it last had its turn; under that ranking's lock.
    rounds: [AtomicU32; 2],
}

/// What a slot's key is made of, looked at in one moment.
#[derive(Clone, Copy)]
pub(crate) struct Told {
    pub(crate) word: Word,
    pub(crate) turn: u64,
}

impl Slot {
    pub(crate) fn new(record: &WorkerInfo, front: Arc<Front>, order: u64) -> Self {
        Self {
            word: AtomicU64::new(limit(record) << LIMIT_AT),
            front,
            turn: AtomicU64::new(0),
            order,
            due: AtomicI64::new(i64::MAX),
            home: Mutex::new(Weak::new()),
            positions: [AtomicU32::new(NOWHERE), AtomicU32::new(NOWHERE)],
            rounds: [AtomicU32::new(0), AtomicU32::new(0)],
        }
    }

    pub(crate) fn hive_id(&self) -> &HiveId {
        &self.front.id
    }

    pub(crate) fn pulse(&self) -> &Pulse {
        &self.front.pulse
    }

    /// Its hive's, whether or not the slot is still in it.
    pub(crate) fn state(&self) -> Option<Arc<HiveRuntimeState>> {
        self.front.state()
    }

    pub(crate) fn order(&self) -> u64 {
        self.order
    }

    pub(crate) fn is_gone(&self) -> bool {
        self.word().is_gone()
    }

    pub(crate) fn word(&self) -> Word {
        Word(self.word.load(Ordering::Acquire))
    }

    /// The word, by a read-modify-write: who changes it afterwards sees what was written before this.
    pub(crate) fn sync_word(&self) -> Word {
        Word(self.word.fetch_or(0, Ordering::AcqRel))
    }

    pub(crate) fn position(&self, side: Side) -> u32 {
        self.positions[side as usize].load(Ordering::Relaxed)
    }

    pub(crate) fn set_position(&self, side: Side, position: u32) {
        self.positions[side as usize].store(position, Ordering::Relaxed);
    }

    pub(crate) fn round(&self, side: Side) -> u32 {
        self.rounds[side as usize].load(Ordering::Relaxed)
    }

    pub(crate) fn set_round(&self, side: Side, round: u32) {
        self.rounds[side as usize].store(round, Ordering::Relaxed);
    }

    pub(crate) fn home(&self) -> Option<Arc<Ranking>> {
        self.home.lock().upgrade()
    }

    pub(crate) fn set_home(&self, home: Option<&Arc<Ranking>>) {
        let home = home.map_or_else(Weak::new, Arc::downgrade);
        drop(std::mem::replace(&mut *self.home.lock(), home));
    }

    pub(crate) fn due(&self) -> i64 {
        self.due.load(Ordering::Acquire)
    }

    pub(crate) fn set_due(&self, due: i64) {
        self.due.store(due, Ordering::Release);
    }

    /// Sets the limit to that of the record just made; under the cell's lock.
    pub(crate) fn set_limit(&self, record: &WorkerInfo) {
        let limit = limit(record);
        // Nobody else writes it.
        if limit != self.word().0 >> LIMIT_AT & FIELD {
            self.change(|word| Some(word & !(FIELD << LIMIT_AT) | limit << LIMIT_AT));
        }
    }

    // === keys ===

    /// What a key may be made of, if the worker takes a request now; its record, and its hive's age, aside.
    ///
    /// The word first: a reservation moves the turn before it counts, so that who sees the count sees the turn.
    pub(crate) fn told(&self) -> Option<Told> {
        let word = self.word();
        self.tells(word)
    }

    /// The same for the book of `side`, under its lock, which says in the word what the book is about to know: whoever
    /// takes a reservation back afterwards sees it and comes to the lock; what was taken back before is seen here. Mostly
    /// the word says so already. If an older word than the newest was read then, whoever changed it comes to the lock
    /// yet: had he been there, it would be seen.
    pub(crate) fn tell(&self, side: Side) -> Option<Told> {
        let counted = COUNTED[side as usize];
        let says = |word: u64| word & !counted | if word & FIELD > 0 { counted } else { 0 };
        let word = self.word();
        let word = if says(word.0) == word.0 { word } else { self.change(|word| Some(says(word)))? };
        self.tells(word)
    }

    fn tells(&self, word: Word) -> Option<Told> {
        let takes = !word.is_gone() && !word.is_full() && self.pulse().serves();
        takes.then(|| Told { word, turn: self.turn.load(Ordering::Acquire) })
    }

    /// Whether the end of a reservation is what it takes to serve again.
    pub(crate) fn waits(&self) -> bool {
        let word = self.word();
        word.is_full() && !word.is_gone() && self.pulse().serves()
    }

    /// The key in `side`, S2 to S4.
    pub(crate) fn key(&self, side: Side, record: &WorkerInfo, told: Told, assumed: u32) -> Key {
        let second = match side {
            Side::Model => record.state == WorkerLifecycle::Busy,
            // It would have to unload its own.
            Side::Idle => record.model_id.is_some(),
        };
        let degraded = record.health_status != WorkerHealth::Healthy;
        Key::new(degraded, load(record, told.word.count(), assumed), second, told.turn, self.order)
    }

    // === reservations ===

    /// Counts one reservation if the word is still `seen`, in the name of `side`, whose key the caller
    /// rewrites under the lock it holds. The other side finds out when it looks.
    pub(crate) fn admit(&self, seen: Word, side: Side, turn: u64) -> Option<Told> {
        // Before the count: who sees the count must see the turn. It only grows, so nothing that was made of an
        // earlier one is ever taken for true again.
        self.turn.fetch_max(turn, Ordering::AcqRel);
        let new = (seen.0 + 1) | COUNTED[side as usize];
        let admitted = self.word.compare_exchange(seen.0, new, Ordering::AcqRel, Ordering::Acquire).is_ok();
        admitted.then(|| Told { word: Word(new), turn: self.turn.load(Ordering::Acquire) })
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

/// Steps of a load that the reserved share has, a power of two: with coarser ones, workers whose limits are in the
/// thousands would look alike while a burst goes to one of them.
const SHARE_STEPS: u32 = 20;
/// Steps that the reported use has: tenths of a percent, from 0 to 1,000.
const USES: u64 = 1_001;

/// S3: what is reserved, in parts of 2^20 of the limit, before what the hive reported.
///
/// The report is up to a heartbeat old, and says of a worker that is handed out now what it said before.
pub(crate) fn load(record: &WorkerInfo, reservations: u32, assumed: u32) -> u64 {
    let limit = u64::from(record.max_concurrency.unwrap_or(assumed).max(1));
    let share = (u64::from(reservations) << SHARE_STEPS) / limit;
    let unreported = if record.state == WorkerLifecycle::Idle { 0.0 } else { 100.0 };
    let percent = record.gpu_percent.unwrap_or(unreported).clamp(0.0, 100.0);
    // Exact: no f32 has more digits.
    USES * share + (10.0 * f64::from(percent)).floor() as u64
}
