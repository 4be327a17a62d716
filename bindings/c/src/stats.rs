//! Counters and heartbeat statistics.

use std::ffi::c_char;
use std::mem::MaybeUninit;
use std::time::Duration;

use hive_registry::{HiveStats as Beats, Stats as Counts};

use crate::registry::{Registry, ask, ask_about};
use crate::status::{Status, guard_drop};
use crate::text::{Str, tell};

/// What a registry has done since it was built, and how regularly each hive beats.
pub struct Stats(Counts);

/// Counters. Each is exact at rest.
#[repr(C)]
pub struct Totals {
    /// Heartbeats of hives not known before.
    pub registered: u64,
    /// Heartbeats of known hives.
    pub updated: u64,
    /// Heartbeats too old, dropped.
    pub superseded: u64,
    /// Heartbeats of removed hives, dropped.
    pub removed: u64,
    /// Heartbeats that the registry refused with an error; structs that could not be read at all are not counted.
    pub refused: u64,
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
}

/// How regularly a hive beats. Times are 0 until it has beaten twice.
#[repr(C)]
pub struct HiveStats {
    /// The hive; valid as long as the handle it came from, empty from `hive_registry_hive_stats`.
    pub hive_id: Str,
    /// Heartbeats since it was registered, superseded ones included.
    pub heartbeats: u64,
    /// Mean time between arrivals, milliseconds.
    pub mean_interval_ms: f64,
    /// Smoothed difference between successive intervals, as RFC 3550, section 6.4.1, milliseconds.
    pub jitter_ms: f64,
    /// The longest time between two arrivals, milliseconds.
    pub longest_gap_ms: f64,
    /// Workers that appeared since it was registered, those it registered with included.
    pub workers_added: u64,
    /// Workers that vanished since it was registered.
    pub workers_removed: u64,
    /// How far the hive's clock is ahead of the registry's, milliseconds; negative if it is behind. Of its last 9 to 16
    /// heartbeats, superseded ones included, the difference between timestamp and arrival that is nearest to 0. 0 until
    /// it has sent one.
    pub clock_skew_ms: i64,
    /// What its heartbeats said that counts as not reported: an empty text, a number that is none.
    pub complaints: u64,
    /// The last of these; NULL if none. As `hive_id`, empty from `hive_registry_hive_stats`.
    pub last_complaint: Str,
    /// Heartbeats refused since it was registered, as far as it could be read whose they were.
    pub refusals: u64,
    /// The error of the last of these; NULL if none. As `hive_id`, empty from `hive_registry_hive_stats`.
    pub last_refusal: Str,
}

impl HiveStats {
    /// `text` makes views, or empty ones where there is no handle for them to live as long as.
    fn of(beats: &Beats, text: fn(&str) -> Str) -> Self {
        let words = |words: &Option<String>| words.as_deref().map_or(Str::NULL, text);
        let ms = |time: Duration| time.as_secs_f64() * 1_000.0;
        Self {
            hive_id: text(&beats.hive_id),
            heartbeats: beats.heartbeats,
            mean_interval_ms: ms(beats.mean_interval),
            jitter_ms: ms(beats.jitter),
            longest_gap_ms: ms(beats.longest_gap),
            workers_added: beats.workers_added,
            workers_removed: beats.workers_removed,
            clock_skew_ms: beats.clock_skew_ms,
            complaints: beats.complaints,
            last_complaint: words(&beats.last_complaint),
            refusals: beats.refusals,
            last_refusal: words(&beats.last_refusal),
        }
    }
}

/// Counters, and heartbeat statistics of each hive. O(hives log hives).
#[unsafe(no_mangle)]
pub extern "C" fn hive_registry_stats(
    registry: Option<&Registry>,
    out_stats: Option<&mut MaybeUninit<Box<Stats>>>,
) -> Status {
    ask(registry, ("out_stats", out_stats), |registry| Some(Box::new(Stats(registry.stats()))))
}

/// Heartbeat statistics of one hive. HIVE_NONE if it is not registered. O(1).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hive_registry_hive_stats(
    registry: Option<&Registry>,
    hive_id: *const c_char,
    hive_id_len: usize,
    out_stats: Option<&mut MaybeUninit<HiveStats>>,
) -> Status {
    let hive = ("hive_id", hive_id, hive_id_len);
    unsafe {
        ask_about(registry, hive, ("out_stats", out_stats), |registry, id| {
            registry.hive_stats(id).map(|beats| HiveStats::of(&beats, |_| Str::EMPTY))
        })
    }
}

/// The counters; false for NULL.
#[unsafe(no_mangle)]
pub extern "C" fn hive_stats_totals(stats: Option<&Stats>, out: Option<&mut MaybeUninit<Totals>>) -> bool {
    let totals = stats.map(|Stats(counts)| Totals {
        registered: counts.heartbeats.registered,
        updated: counts.heartbeats.updated,
        superseded: counts.heartbeats.superseded,
        removed: counts.heartbeats.removed,
        refused: counts.heartbeats.refused,
        picks: counts.picks,
        misses: counts.misses,
        reservations_open: counts.reservations_open,
        events_dropped: counts.events_dropped,
        evictions: counts.evictions,
        holds: counts.holds,
    });
    tell(totals, out)
}

/// How many hives there are; 0 for NULL.
#[unsafe(no_mangle)]
pub extern "C" fn hive_stats_len(stats: Option<&Stats>) -> usize {
    stats.map_or(0, |stats| stats.0.hives.len())
}

/// The hive at `at`, by hive id; false if there are not so many.
#[unsafe(no_mangle)]
pub extern "C" fn hive_stats_hive(
    stats: Option<&Stats>,
    at: usize,
    out: Option<&mut MaybeUninit<HiveStats>>,
) -> bool {
    let hive = stats.and_then(|stats| stats.0.hives.get(at));
    tell(hive.map(|beats| HiveStats::of(beats, Str::of)), out)
}

/// NULL does nothing.
#[unsafe(no_mangle)]
pub extern "C" fn hive_stats_free(stats: Option<Box<Stats>>) {
    guard_drop(stats);
}
