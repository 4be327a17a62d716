//! Where the threads write down what they measured, and read that it is time to end.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use crate::plan::Plan;

pub(crate) struct Board {
    start: Instant,
    stop: AtomicBool,
    numbers: Mutex<Numbers>,
}

pub(crate) struct Numbers {
    /// Nanoseconds from JSON bytes to applied.
    pub(crate) applied: Histogram<u64>,
    /// Nanoseconds of one pick: each sample is the mean of a batch.
    pub(crate) picks: Histogram<u64>,
    /// By the order of the plan.
    pub(crate) tied: Vec<Tied>,
    /// Reservations on other workers.
    pub(crate) elsewhere: u64,
    /// Requests that found no worker.
    pub(crate) missed: u64,
    pub(crate) silence: Silence,
    pub(crate) machine: Machine,
}

/// Reservations on one of the workers that are tied.
#[derive(Clone, Copy, Default)]
pub(crate) struct Tied {
    pub(crate) made: u64,
    pub(crate) open: u64,
}

/// What happened to the silent hive, and when.
#[derive(Clone, Copy, Default)]
pub(crate) struct Silence {
    pub(crate) last_beat: Option<Duration>,
    pub(crate) last_reserved: Option<Duration>,
    pub(crate) out: Option<Duration>,
    pub(crate) told_offline: Option<Duration>,
    pub(crate) beat_again: Option<Duration>,
    pub(crate) reserved_again: Option<Duration>,
    /// Reservations on it while it was out: none, or the registry is wrong.
    pub(crate) reserved_while_out: u64,
}

/// This machine as it last beat.
#[derive(Clone, Default)]
pub(crate) struct Machine {
    pub(crate) name: String,
    /// Its workers are inference servers, not stand-ins.
    pub(crate) is_serving: bool,
    pub(crate) workers: Vec<Process>,
}

#[derive(Clone)]
pub(crate) struct Process {
    pub(crate) id: String,
    pub(crate) model: Option<String>,
    pub(crate) ram_bytes: u64,
    pub(crate) cpu_percent: f32,
}

impl Board {
    pub(crate) fn new(plan: &Plan) -> Self {
        // One nanosecond to ten seconds, to three digits; what is above counts as ten seconds.
        let histogram = || Histogram::new_with_bounds(1, 10_000_000_000, 3).expect("the bounds are in order");
        Self {
            start: Instant::now(),
            stop: AtomicBool::new(false),
            numbers: Mutex::new(Numbers {
                applied: histogram(),
                picks: histogram(),
                tied: vec![Tied::default(); plan.tied.len()],
                elsewhere: 0,
                missed: 0,
                silence: Silence::default(),
                machine: Machine::default(),
            }),
        }
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }

    pub(crate) fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    pub(crate) fn numbers(&self) -> MutexGuard<'_, Numbers> {
        // Numbers are whole between any two writes, so a thread that panicked left none half done.
        self.numbers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sleeps until so long after the start; false if it is time to end.
    pub(crate) fn sleep_until(&self, due: Duration) -> bool {
        const LOOK: Duration = Duration::from_millis(50);
        loop {
            if self.is_stopped() {
                return false;
            }
            let left = due.saturating_sub(self.elapsed());
            if left.is_zero() {
                return true;
            }
            std::thread::sleep(left.min(LOOK));
        }
    }
}

/// "12,345"
pub(crate) fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// "68 ns", "1.2 µs", "3.4 ms"
pub(crate) fn nanos(ns: u64) -> String {
    match ns {
        0..1_000 => format!("{ns} ns"),
        1_000..1_000_000 => format!("{:.1} µs", ns as f64 / 1e3),
        _ => format!("{:.1} ms", ns as f64 / 1e6),
    }
}
