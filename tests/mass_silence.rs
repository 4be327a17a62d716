//! Half of a large fleet falls silent at once, with no sweeper: picks stay right, and cost what they did
//! after the first (design, section 4).
//!
//! `HIVE_SILENT_WORKERS` (80,000) sets the size. Cost is counted in corrections that a pick makes, by how the
//! candidates shrink, not in time.
#![cfg(not(loom))]

mod common;

use std::time::Duration;

use common::{T0, apply, beat, registry_with, worker};
use hive_registry::{Candidates, Policy, WorkerState};

/// Chooses nobody, and tells how many candidates are ranked.
struct Count(std::sync::atomic::AtomicUsize);

impl Policy for Count {
    fn choose(&self, candidates: &Candidates<'_>) -> Option<usize> {
        self.0.store(candidates.len(), std::sync::atomic::Ordering::Relaxed);
        None
    }
}

#[test]
fn l2_half_of_80_000_workers_fall_silent_and_picks_stay_right() {
    let workers: usize =
        std::env::var("HIVE_SILENT_WORKERS").ok().and_then(|value| value.parse().ok()).unwrap_or(80_000);
    let hives = workers / 8;
    let (registry, clock) = registry_with(|builder| builder);
    let send = |hive: usize, at_ms: i64| {
        // Even hives have the lower load, and will be the silent ones: each must be found out first.
        let one = |n: usize| WorkerState {
            state: if n % 2 == 0 { "Idle" } else { "Busy" }.into(),
            gpu_percent: Some(if hive % 2 == 0 { 1.0 } else { 50.0 }),
            ..worker(&format!("w{n}"), &format!("m{}", n % 4))
        };
        apply(&registry, beat(&format!("h{hive:06}"), at_ms, (0..8).map(one).collect()));
    };
    (0..hives).for_each(|hive| send(hive, T0));
    let ranked = |model: &str| {
        let count = Count(0.into());
        assert!(registry.pick(model, &count).is_none());
        count.0.into_inner()
    };
    assert_eq!(ranked("m0"), workers / 4);

    clock.advance(Duration::from_secs(29));
    let later = T0 + 29_000;
    (1..hives).step_by(2).for_each(|hive| send(hive, later));
    clock.advance(Duration::from_secs(1));

    for model in ["m0", "m1", "m2", "m3", "nobody has this one"] {
        for pick in 0..100 {
            let (hive, _) = registry.find_best_worker_for_model(model).expect("the odd hives are live");
            let number: usize = hive[1..].parse().expect("a number");
            assert_eq!(number % 2, 1, "{model}: pick {pick} returned a worker of a silent hive");
        }
    }
    // The first pick found all the silent ones out, and the others did not pay again: only live ones are left.
    for model in ["m0", "m1", "m2", "m3", "nobody has this one"] {
        let expected = if model.len() == 2 { workers / 8 } else { workers / 4 };
        assert_eq!(ranked(model), expected, "{model}");
    }

    // They come back, and are best again.
    (0..hives).step_by(2).for_each(|hive| send(hive, later + 1_000));
    assert_eq!(ranked("m0"), workers / 4);
    let (hive, _) = registry.find_best_worker_for_model("m0").expect("all are live");
    assert_eq!(hive, "h000000");
}
