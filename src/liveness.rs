//! Who is alive: the last-heard word, age and staleness (L1, L2). Eviction is in `eviction.rs`.

use crate::sync::{AtomicI64, Ordering};

/// When a hive was last heard, whether its workers may be picked, and whether any of them is parked for its
/// silence: one word, because two would be a store-buffering race that hides a live worker.
///
/// `milliseconds << 2 | SERVING | PARKED`
pub(crate) struct Pulse {
    word: AtomicI64,
    /// Monotonic milliseconds of the last arrival, for eviction (L3).
    arrival: AtomicI64,
}

const SERVING: i64 = 1;
const PARKED: i64 = 2;
const FLAGS: u32 = 2;

/// What a pick sees time as.
pub(crate) struct View<'c> {
    pub(crate) now: i64,
    /// `i64::MAX` under `StaleMode::Ignore`.
    pub(crate) window: i64,
    /// The latest `now` by which anything was parked. If the clock shows less, it was set back, and hives
    /// parked as dead may be live again; see `Core::rewind`.
    pub(crate) judged: &'c AtomicI64,
    /// The time by which leases run out, monotonic ms; `i64::MIN` where there are none.
    pub(crate) monotonic: i64,
}

/// Clocks may show anything; two bits are kept for the flags.
pub(crate) fn clamp(ms: i64) -> i64 {
    ms.clamp(-(1 << 60), 1 << 60)
}

impl Pulse {
    pub(crate) fn new() -> Self {
        Self { word: AtomicI64::new(clamp(i64::MIN) << FLAGS), arrival: AtomicI64::new(i64::MIN) }
    }

    /// Milliseconds on the liveness clock.
    pub(crate) fn last_heard(&self) -> i64 {
        self.word.load(Ordering::Acquire) >> FLAGS
    }

    pub(crate) fn serves(&self) -> bool {
        self.word.load(Ordering::Acquire) & SERVING != 0
    }

    pub(crate) fn is_live(&self, view: &View<'_>) -> bool {
        live(self.word.load(Ordering::Acquire), view.now, view.window)
    }

    pub(crate) fn arrival(&self) -> i64 {
        self.arrival.load(Ordering::Relaxed)
    }

    pub(crate) fn set_arrival(&self, monotonic_ms: i64) {
        self.arrival.fetch_max(monotonic_ms, Ordering::Relaxed);
    }

    /// The hive was heard; under the cell's lock. Its age counts from `ms` on, or from where it did, if that is later
    /// but not later than `now` (I3). True if every slot's keys must be written again: some were parked, or the hive
    /// began or ceased to serve.
    #[must_use]
    pub(crate) fn beat(&self, ms: i64, now: i64, serving: bool) -> bool {
        let ms = clamp(self.last_heard().min(now).max(ms));
        let old = self.word.swap(ms << FLAGS | i64::from(serving), Ordering::AcqRel);
        old & PARKED != 0 || (old & SERVING != 0) != serving
    }

    /// Marks the hive as having parked slots, unless it is live after all. True if the caller, who holds the
    /// ranking's lock, must now park the slot: a heartbeat that comes later sees the mark and waits for that
    /// lock; one that came before made the compare-and-swap fail.
    pub(crate) fn park(&self, view: &View<'_>) -> bool {
        let word = self.word.load(Ordering::Acquire);
        if live(word, view.now, view.window) {
            return false;
        }
        if word & PARKED != 0 {
            // Marked for another slot. A heartbeat that comes later takes this very mark off, and sees it; one
            // that came before had the ranking's lock before us, and we would see its time.
            return true;
        }
        // Before, so that who sees the slot parked sees this; after, in case a rewind came between.
        view.judged.fetch_max(view.now, Ordering::AcqRel);
        let parked =
            self.word.compare_exchange(word, word | PARKED, Ordering::AcqRel, Ordering::Acquire).is_ok();
        view.judged.fetch_max(view.now, Ordering::AcqRel);
        parked
    }

    /// Takes the parked mark off if the hive is live by `view`; under the cell's lock. True as in
    /// [`beat`](Self::beat).
    #[must_use]
    pub(crate) fn unpark(&self, view: &View<'_>) -> bool {
        let word = self.word.load(Ordering::Acquire);
        word & PARKED != 0
            && live(word, view.now, view.window)
            && self.word.fetch_and(!PARKED, Ordering::AcqRel) & PARKED != 0
    }
}

/// L1: `age < window`. A window of `i64::MAX` is no window.
fn live(word: i64, now: i64, window: i64) -> bool {
    window == i64::MAX || now.saturating_sub(word >> FLAGS) < window
}
