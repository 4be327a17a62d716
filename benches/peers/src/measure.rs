//! Medians over batches of picks, within a budget of time.

use std::hint::black_box;
use std::time::{Duration, Instant};

/// Long against the reading of the time (some 30 ns), short enough for many batches in a budget.
const BATCH: Duration = Duration::from_micros(100);
/// At least so many batches, however slow a peer is.
const BATCHES: usize = 5;

/// The time of one call in each batch, to be told as their median.
#[derive(Default)]
pub(crate) struct Samples(Vec<f64>);

impl Samples {
    /// Calls for as long as `budget` says, in batches of at least [`BATCH`], or of one call where that is longer.
    pub(crate) fn take<T>(&mut self, budget: Duration, mut call: impl FnMut() -> T) {
        let mut calls = 1;
        let mut time = |calls: u32| {
            let began = Instant::now();
            for _ in 0..calls {
                black_box(call());
            }
            began.elapsed()
        };
        // Also warms up.
        while time(calls) < BATCH {
            calls *= 2;
        }
        let began = Instant::now();
        let enough = self.0.len() + BATCHES;
        while began.elapsed() < budget || self.0.len() < enough {
            self.0.push(time(calls).as_nanos() as f64 / f64::from(calls));
        }
    }

    pub(crate) fn median(mut self) -> f64 {
        self.0.sort_unstable_by(f64::total_cmp);
        self.0[self.0.len() / 2]
    }
}
