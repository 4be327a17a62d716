//! Bytes that a registry holds, as requested from the allocator: for each hive with two workers, for each
//! worker more, and what is left after all hives were removed or evicted. Every field is set. Prints a table.

mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use chrono::{DateTime, SecondsFormat};
use common::figures::{Figure, keep};
use common::{builder, heartbeat, hive_id, sized, telemetry};
use hive_registry::{Clock, HiveRegistry, ManualClock, TOMBSTONE_AGE};

/// The system's allocator, counting the bytes requested and not given back.
struct Counting;

static HELD: AtomicUsize = AtomicUsize::new(0);

// SAFETY: everything is passed on to `System`; counting touches only an atomic.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        HELD.fetch_add(layout.size(), Relaxed);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        HELD.fetch_sub(layout.size(), Relaxed);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[derive(Clone, Copy, PartialEq)]
enum Form {
    Plain,
    Telemetry,
}

struct Fleet {
    clock: ManualClock,
    registry: HiveRegistry,
    /// Held before the registry was made.
    before: usize,
}

impl Fleet {
    fn new() -> Self {
        let clock = ManualClock::new(1_700_000_000_000);
        let before = HELD.load(Relaxed);
        let registry = builder().clock(clock.clone()).build().expect("the settings are in bounds");
        Self { clock, registry, before }
    }

    fn join(&self, form: Form, hives: usize, workers: usize) {
        let at = DateTime::from_timestamp_millis(self.clock.wall_ms()).expect("a date");
        let at = at.to_rfc3339_opts(SecondsFormat::Micros, true);
        for hive in 0..hives {
            let applied = match form {
                Form::Plain => {
                    let mut payload = heartbeat(hive, workers);
                    payload.timestamp.clone_from(&at);
                    self.registry.update_hive_state(&hive_id(hive), payload)
                }
                Form::Telemetry => {
                    let mut beat = telemetry(hive, workers);
                    beat.timestamp.clone_from(&at);
                    self.registry.update_hive(beat)
                }
            };
            applied.expect("the heartbeat is in bounds");
        }
        assert_eq!(self.registry.total_worker_count(), hives * workers);
    }

    fn held(&self) -> usize {
        HELD.load(Relaxed) - self.before
    }
}

fn main() {
    if std::env::args().any(|argument| argument == "--list") {
        return;
    }
    let mut rows: Vec<(String, usize, usize)> = Vec::new();
    let empty = Fleet::new().held();
    for hives in sized([10_000, 100_000], [100, 200]) {
        for (form, name) in [(Form::Plain, "plain"), (Form::Telemetry, "telemetry")] {
            let fleet = Fleet::new();
            fleet.join(form, hives, 2);
            let two = fleet.held();
            rows.push((format!("{hives} hives, {name}: a hive with two workers"), two, hives));
            drop(fleet);
            let fleet = Fleet::new();
            fleet.join(form, hives, 10);
            let more = fleet.held().saturating_sub(two);
            rows.push((format!("{hives} hives, {name}: each worker more"), more, hives * 8));
            drop(fleet);

            // As many heartbeats again change nothing.
            let fleet = Fleet::new();
            fleet.join(form, hives, 2);
            fleet.clock.advance(Duration::from_secs(1));
            fleet.join(form, hives, 2);
            rows.push((format!("{hives} hives, {name}: after another heartbeat each"), fleet.held(), hives));
            if form == Form::Telemetry {
                continue;
            }

            (0..hives).for_each(|hive| assert!(fleet.registry.remove_hive(&hive_id(hive))));
            rows.push((format!("{hives} hives: all removed, tombstones stand"), fleet.held(), hives));
            fleet.clock.advance(TOMBSTONE_AGE + Duration::from_secs(1));
            // Heartbeats clear a few of the old tombstones each, a sweep all.
            let _ = fleet.registry.evict_stale(Duration::from_secs(1));
            rows.push((format!("{hives} hives: all removed, tombstones gone"), fleet.held(), hives));

            fleet.clock.advance(TOMBSTONE_AGE + Duration::from_secs(1));
            fleet.join(form, hives, 2);
            rows.push((format!("{hives} hives: registered anew"), fleet.held(), hives));
            let mut passes = 0;
            while fleet.registry.hive_count() > 0 {
                fleet.clock.advance(Duration::from_secs(60));
                let _ = fleet.registry.evict_stale(Duration::from_secs(30));
                passes += 1;
                assert!(passes < 1_000, "the fleet is evicted in the end");
            }
            rows.push((format!("{hives} hives: all evicted, in {passes} passes"), fleet.held(), hives));
        }
    }
    println!("\n| {:<60} | {:>12} | {:>10} |", "bytes requested", "all", "each");
    println!("|{}|{}|{}|", "-".repeat(62), "-".repeat(14), "-".repeat(12));
    println!("| {:<60} | {empty:>12} | {:>10} |", "an empty registry", "");
    for (what, all, count) in &rows {
        println!("| {what:<60} | {all:>12} | {:>10.1} |", *all as f64 / *count as f64);
    }
    rows.insert(0, ("an empty registry".into(), empty, 1));
    let told = rows.into_iter().map(|(what, all, count)| {
        let each = all as f64 / count as f64;
        Figure::new(what, "bytes", [("all", all as f64), ("each", each)])
    });
    keep("memory", told);
}
