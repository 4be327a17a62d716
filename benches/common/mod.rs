//! What the benches share: fleets, criterion's settings, timing over threads, percentiles.
#![allow(dead_code, reason = "each bench uses its part")]

pub mod borrowed;
pub mod figures;
pub mod fleet;

use std::sync::Barrier;
use std::time::{Duration, Instant};

use criterion::Criterion;
use figures::Figure;
pub use fleet::*;
use hdrhistogram::Histogram;

/// Calls measured as one, where a single one is too short for the clock.
pub const BATCH: u32 = 32;

/// `full` under `cargo bench`; `small` under `cargo test`, where every bench runs once.
pub fn sized<T>(full: T, small: T) -> T {
    let has = |wanted: &str| std::env::args().any(|argument| argument == wanted);
    if has("--bench") && !has("--test") { full } else { small }
}

/// What all benches measure with. Some 90 functions share the minutes that `make bench` may take for its rounds;
/// medians of nanoseconds over a hundred samples settle within these times. Arguments (`-- --measurement-time 5`) go
/// before.
pub fn criterion() -> Criterion {
    Criterion::default()
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_millis(800))
        // Only the bounds of the estimates come of resampling; the default takes as long as the measuring.
        .nresamples(10_000)
}

/// `work` runs `calls` times on each of the threads, which start together; the mean of their times.
pub fn on_threads(threads: usize, calls: u64, work: impl Fn(usize, u64) + Sync) -> Duration {
    let start = Barrier::new(threads);
    let run = |thread: usize| {
        start.wait();
        let began = Instant::now();
        (0..calls).for_each(|call| work(thread, call));
        began.elapsed()
    };
    let total: Duration = std::thread::scope(|scope| {
        let run = &run;
        let running: Vec<_> = (0..threads).map(|thread| scope.spawn(move || run(thread))).collect();
        running.into_iter().map(|thread| thread.join().expect("the work does not panic")).sum()
    });
    total / threads as u32
}

/// Times of calls, nanoseconds.
pub struct Times(Histogram<u64>);

impl Times {
    pub fn new() -> Self {
        Self(Histogram::new_with_max(10_000_000_000, 3).expect("3 digits"))
    }

    /// Measures `calls` as one.
    pub fn batch(&mut self, calls: u32, mut work: impl FnMut()) -> Duration {
        let began = Instant::now();
        (0..calls).for_each(|_| work());
        let time = began.elapsed();
        self.record(time / calls);
        time
    }

    pub fn record(&mut self, time: Duration) {
        self.0.saturating_record(time.as_nanos().try_into().unwrap_or(u64::MAX));
    }

    pub fn longest(&self) -> u64 {
        self.0.max()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// A row of the table that [`Times::head`] begins, and the same for the report; nothing if nothing was
    /// measured.
    pub fn row(&self, what: &str) -> Option<Figure> {
        self.row_with(what, [])
    }

    /// The same, with further figures in nanoseconds, told behind the row.
    pub fn row_with<const N: usize>(&self, what: &str, more: [(&'static str, u64); N]) -> Option<Figure> {
        if self.is_empty() {
            return None;
        }
        let at = |percent| self.0.value_at_percentile(percent);
        let (p50, p99, p999) = (at(50.0), at(99.0), at(99.9));
        let (max, count) = (self.0.max(), self.0.len());
        let told: String = more.iter().map(|(name, figure)| format!(" {name} {figure} |")).collect();
        println!("| {what:<52} | {p50:>9} | {p99:>9} | {p999:>9} | {max:>11} | {count:>10} |{told}");
        let named = [("p50", p50), ("p99", p99), ("p99.9", p999), ("longest", max), ("measured", count)];
        let named = named.into_iter().chain(more);
        Some(Figure::new(what, "ns", named.map(|(name, figure)| (name, figure as f64))))
    }

    pub fn head() {
        let columns = ["ns", "p50", "p99", "p99.9", "longest", "measured"];
        let [what, p50, p99, p999, max, count] = columns;
        println!("\n| {what:<52} | {p50:>9} | {p99:>9} | {p999:>9} | {max:>11} | {count:>10} |");
        println!("|{}|", [54, 11, 11, 11, 13, 12].map(|width| "-".repeat(width)).join("|"));
    }
}
