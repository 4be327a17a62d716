//! Counters and heartbeat statistics (E2). Nothing is decided by reading them, so they are relaxed.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use crossbeam_utils::CachePadded;

use crate::core::Core;
use crate::error::{HeartbeatError, MAX_ERROR_BYTES, cut};
use crate::hive::Inner;
use crate::names::HiveId;
use crate::wire::Complaints;

/// What the registry has done since it was built; from [`HiveRegistry::stats`](crate::HiveRegistry::stats).
/// Each number is exact at rest; taken while others work, the numbers are of slightly different moments.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Stats {
    /// Heartbeats by outcome.
    pub heartbeats: HeartbeatCounts,
    /// Picks and reservations that found a worker.
    pub picks: u64,
    /// Picks and reservations that found none.
    pub misses: u64,
    /// Reservations held now, leases included.
    pub reservations_open: u64,
    /// Events lost by slow readers.
    pub events_dropped: u64,
    /// Hives evicted.
    pub evictions: u64,
    /// Eviction passes that held for a mass silence.
    pub holds: u64,
    /// Heartbeat statistics of each hive, by hive id.
    pub hives: Vec<HiveStats>,
}

/// Heartbeats by outcome.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct HeartbeatCounts {
    /// Of hives not known before.
    pub registered: u64,
    /// Of known hives.
    pub updated: u64,
    /// Too old, dropped.
    pub superseded: u64,
    /// Of removed hives, dropped.
    pub removed: u64,
    /// Refused with an error.
    pub refused: u64,
}

/// How regularly a hive beats. 0 until it has beaten twice.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct HiveStats {
    /// The hive.
    pub hive_id: HiveId,
    /// Heartbeats since it was registered, superseded ones included.
    pub heartbeats: u64,
    /// Mean time between arrivals.
    pub mean_interval: Duration,
    /// Smoothed difference between successive intervals, as RFC 3550, section 6.4.1:
    /// `J += (|D| - J) / 16`.
    pub jitter: Duration,
    /// The longest time between two arrivals.
    pub longest_gap: Duration,
    /// Workers that appeared since it was registered, those it registered with included.
    pub workers_added: u64,
    /// Workers that vanished since it was registered.
    pub workers_removed: u64,
    /// How far the hive's clock is ahead of the registry's, milliseconds; negative if it is behind. Of its last 9 to
    /// 16 heartbeats, superseded ones included, the difference between timestamp and arrival that is nearest to 0:
    /// what a heartbeat took on its way counts, late copies do not. 0 until it has sent one.
    pub clock_skew_ms: i64,
    /// What its heartbeats said that counts as not reported (I7): an empty text, a number that is none.
    pub complaints: u64,
    /// The last of these, in at most 512 bytes.
    pub last_complaint: Option<String>,
    /// Heartbeats refused since it was registered, as far as it could be read whose they were.
    pub refusals: u64,
    /// The error of the last of these, in at most 512 bytes.
    pub last_refusal: Option<String>,
}

/// The counters, in stripes: threads that count at once mostly write to different cache lines.
pub(crate) struct Counters {
    stripes: [CachePadded<Stripe>; STRIPES],
    pub(crate) evictions: AtomicU64,
    pub(crate) holds: AtomicU64,
    /// Reservations whose worker went before the lease was made, which then asks once more: one pick in all.
    pub(crate) again: AtomicU64,
}

const STRIPES: usize = 16;

#[derive(Default)]
pub(crate) struct Stripe {
    /// Picks that counted no reservation.
    pub(crate) picks: AtomicU64,
    pub(crate) misses: AtomicU64,
    /// Picks that counted a reservation.
    reserved: AtomicU64,
    /// Reservations that are no more; mostly in the stripe of another thread.
    ended: AtomicU64,
    pub(crate) registered: AtomicU64,
    pub(crate) updated: AtomicU64,
    pub(crate) superseded: AtomicU64,
    pub(crate) removed: AtomicU64,
    pub(crate) refused: AtomicU64,
}

impl Counters {
    pub(crate) fn new() -> Self {
        let (evictions, holds, again) = Default::default();
        Self { stripes: Default::default(), evictions, holds, again }
    }

    /// This thread's stripe.
    pub(crate) fn mine(&self) -> &Stripe {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        thread_local! {
            static STRIPE: usize = NEXT.fetch_add(1, Relaxed) % STRIPES;
        }
        // A pick in a destructor of this very thread finds the local gone.
        &self.stripes[STRIPE.try_with(|stripe| *stripe).unwrap_or(0)]
    }

    /// Counts a pick or a miss on the way through.
    pub(crate) fn picked<T>(&self, found: Option<T>) -> Option<T> {
        let stripe = self.mine();
        add(if found.is_some() { &stripe.picks } else { &stripe.misses });
        found
    }

    /// Counts a reservation or a miss on the way through.
    pub(crate) fn reserved<T>(&self, found: Option<T>) -> Option<T> {
        let stripe = self.mine();
        add(if found.is_some() { &stripe.reserved } else { &stripe.misses });
        found
    }

    pub(crate) fn ended(&self, reservations: u32) {
        if reservations > 0 {
            self.mine().ended.fetch_add(u64::from(reservations), Relaxed);
        }
    }

    pub(crate) fn total(&self) -> Stats {
        let sum = |field: fn(&Stripe) -> &AtomicU64| -> u64 {
            self.stripes.iter().map(|stripe| field(stripe).load(Relaxed)).sum()
        };
        let ended = sum(|stripe| &stripe.ended);
        let reserved = sum(|stripe| &stripe.reserved);
        Stats {
            heartbeats: HeartbeatCounts {
                registered: sum(|stripe| &stripe.registered),
                updated: sum(|stripe| &stripe.updated),
                superseded: sum(|stripe| &stripe.superseded),
                removed: sum(|stripe| &stripe.removed),
                refused: sum(|stripe| &stripe.refused),
            },
            picks: (reserved + sum(|stripe| &stripe.picks)).saturating_sub(self.again.load(Relaxed)),
            misses: sum(|stripe| &stripe.misses),
            reservations_open: reserved.saturating_sub(ended),
            events_dropped: 0,
            evictions: self.evictions.load(Relaxed),
            holds: self.holds.load(Relaxed),
            hives: Vec::new(),
        }
    }
}

pub(crate) fn add(counter: &AtomicU64) {
    counter.fetch_add(1, Relaxed);
}

/// One hive's arrivals, in constant memory; under its cell's lock.
#[derive(Default)]
pub(crate) struct Arrivals {
    count: u64,
    first_ms: i64,
    last_ms: i64,
    last_gap_ms: i64,
    longest_gap_ms: i64,
    jitter_ms: f64,
    pub(crate) added: u64,
    pub(crate) removed: u64,
    skew: Skew,
    /// Most hives have none.
    notes: Option<Box<Notes>>,
}

/// What is wrong with a hive's heartbeats, in constant memory.
#[derive(Default)]
struct Notes {
    complaints: Note,
    refusals: Note,
}

#[derive(Default)]
struct Note {
    count: u64,
    last: String,
}

impl Note {
    /// Writes over the last one: under the hive's lock it mostly allocates nothing.
    fn add(&mut self, count: u64, last: &str) {
        self.count += count;
        self.last.clear();
        self.last.push_str(last);
    }

    fn told(&self) -> (u64, Option<String>) {
        (self.count, (self.count > 0).then(|| self.last.clone()))
    }
}

impl Core {
    /// Counts a refusal on the way through, in the registry's statistics and in those of the hive, if it is known.
    pub(crate) fn refused<T>(
        &self,
        hive_id: Option<&str>,
        error: HeartbeatError,
    ) -> Result<T, HeartbeatError> {
        self.note_refusal(hive_id, &error.to_string());
        Err(error)
    }

    /// The same in words.
    pub(crate) fn note_refusal(&self, hive_id: Option<&str>, words: &str) {
        add(&self.counters.mine().refused);
        if let Some(cell) = hive_id.and_then(|id| self.cell(id)) {
            let words = cut(words, MAX_ERROR_BYTES);
            cell.inner.lock().note(|notes| notes.refusals.add(1, &words));
        }
    }

    /// Counts what a heartbeat of this hive said that is not believed (I7).
    pub(crate) fn complained(&self, hive_id: &str, complaints: &Complaints<'_>) {
        let Some((count, words)) = complaints.told() else { return };
        if let Some(cell) = self.cell(hive_id) {
            let words = cut(&words, MAX_ERROR_BYTES);
            cell.inner.lock().note(|notes| notes.complaints.add(count, &words));
        }
    }
}

impl Inner {
    /// Of a hive that is known, and not of a cell made for a heartbeat that is refused.
    fn note(&mut self, note: impl FnOnce(&mut Notes)) {
        if !self.retired && self.is_registered() {
            note(self.arrivals.notes.get_or_insert_default());
        }
    }
}

/// How far a hive's clock is from ours: the difference nearest to 0 in this block of heartbeats, and in the one before.
struct Skew {
    before_ms: i64,
    nearest_ms: i64,
    count: u8,
}

/// Heartbeats to a block.
const SKEW_BLOCK: u8 = 8;
/// As far as can be: what a block without heartbeats shows.
const UNKNOWN_SKEW: i64 = i64::MAX;

impl Arrivals {
    /// Whether the hive has been heard, hence is registered.
    pub(crate) fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// So many mean intervals, whole milliseconds.
    pub(crate) fn intervals_ms(&self, count: u32) -> i64 {
        self.span_ms().saturating_mul(i64::from(count)) / self.intervals()
    }

    fn span_ms(&self) -> i64 {
        self.last_ms.saturating_sub(self.first_ms).max(0)
    }

    fn intervals(&self) -> i64 {
        i64::try_from(self.count).unwrap_or(i64::MAX).saturating_sub(1).max(1)
    }

    /// A heartbeat's timestamp less the wall clock at its arrival.
    pub(crate) fn differs_by(&mut self, ms: i64) {
        self.skew.add(ms);
    }

    pub(crate) fn arrived(&mut self, monotonic_ms: i64) {
        if self.count == 0 {
            self.first_ms = monotonic_ms;
        } else {
            let gap = monotonic_ms.saturating_sub(self.last_ms).max(0);
            if self.count > 1 {
                let difference = gap.abs_diff(self.last_gap_ms) as f64;
                self.jitter_ms += (difference - self.jitter_ms) / 16.0;
            }
            self.last_gap_ms = gap;
            self.longest_gap_ms = self.longest_gap_ms.max(gap);
        }
        self.last_ms = monotonic_ms;
        self.count += 1;
    }

    pub(crate) fn told(&self, hive_id: HiveId) -> HiveStats {
        let (complaints, refusals) = match &self.notes {
            Some(notes) => (notes.complaints.told(), notes.refusals.told()),
            None => Default::default(),
        };
        HiveStats {
            hive_id,
            heartbeats: self.count,
            mean_interval: seconds(self.span_ms() as f64 / self.intervals() as f64),
            jitter: seconds(self.jitter_ms),
            longest_gap: Duration::from_millis(self.longest_gap_ms.unsigned_abs()),
            workers_added: self.added,
            workers_removed: self.removed,
            clock_skew_ms: self.skew.told(),
            complaints: complaints.0,
            last_complaint: complaints.1,
            refusals: refusals.0,
            last_refusal: refusals.1,
        }
    }
}

impl Default for Skew {
    fn default() -> Self {
        Self { before_ms: UNKNOWN_SKEW, nearest_ms: UNKNOWN_SKEW, count: 0 }
    }
}

impl Skew {
    fn add(&mut self, ms: i64) {
        if self.count == SKEW_BLOCK {
            *self = Self { before_ms: self.nearest_ms, ..Self::default() };
        }
        self.count += 1;
        self.nearest_ms = nearest(self.nearest_ms, ms);
    }

    fn told(&self) -> i64 {
        match nearest(self.before_ms, self.nearest_ms) {
            UNKNOWN_SKEW => 0,
            ms => ms,
        }
    }
}

/// To 0; the first of equals.
fn nearest(one: i64, other: i64) -> i64 {
    if other.unsigned_abs() < one.unsigned_abs() { other } else { one }
}

fn seconds(ms: f64) -> Duration {
    Duration::try_from_secs_f64(ms / 1_000.0).unwrap_or(Duration::MAX)
}
