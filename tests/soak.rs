//! C3 over time: a mixed load from three threads holds no more memory in its last third than in the third
//! before, and leaves every index equal to a scan.
//!
//! `HIVE_SOAK_SECONDS` (1) says how long. The thirds are compared from 30 s on: before, the load has not met its
//! own balance, e.g. of tombstones, which stand for ten minutes of the registry's clock.
#![cfg(not(loom))]

mod common;
mod held;
mod scan;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use common::{Rng, beat, registry_with, worker, worker_in};
use held::held_bytes;
use hive_registry::{
    Clock, FeedError, HiveRegistry, LeastLoaded, ManualClock, Policy, PowerOfChoices, Random, Reservation,
    RoundRobin, WorkerState,
};

const HIVES: usize = 1_000;
const THREADS: u64 = 3;
/// The clock moves with the work, not with the machine: what lasts for a time lasts for so many steps.
const STEP: Duration = Duration::from_millis(10);

fn any_workers(rng: &mut Rng, hive: &str) -> Vec<WorkerState> {
    let mut workers = Vec::new();
    for at in 0..rng.below(8) {
        // Some ids stay, most are new; some models are everybody's, some nobody's before.
        let id = if at < 2 { format!("{hive}-{at}") } else { format!("w{:016x}", rng.next()) };
        let model = if at % 2 == 0 { format!("m{}", rng.below(40)) } else { format!("m{:016x}", rng.next()) };
        let state = ["Idle", "Busy", "Loading", "Draining"][rng.below(4)];
        workers.push(WorkerState {
            gpu_percent: Some(rng.below(100) as f32),
            max_concurrency: [None, Some(1), Some(4)][rng.below(3)],
            ..worker_in(state, &id, &model)
        });
    }
    workers
}

/// One call of each hundred is shared out as schedulers and hives would.
fn step(registry: &HiveRegistry, clock: &ManualClock, rng: &mut Rng, held: &mut Vec<Reservation>) {
    clock.advance(STEP);
    let hive = format!("hive-{:04}", rng.below(HIVES));
    let model = format!("m{}", rng.below(40));
    let policies: [&dyn Policy; 4] = [&LeastLoaded, &PowerOfChoices { d: 2 }, &RoundRobin, &Random];
    let policy = policies[rng.below(4)];
    match rng.below(100) {
        0..50 => {
            let sent = beat(&hive, clock.wall_ms(), any_workers(rng, &hive));
            registry.update_hive_state(&hive, sent).expect("the heartbeat is valid");
        }
        50..60 => _ = registry.find_best_worker_for_model(&model),
        60..65 => _ = registry.pick(&model, policy),
        65..80 => held.extend(registry.reserve_worker_for_model(&model)),
        80..85 => held.extend(registry.reserve_with(&model, policy)),
        85..90 => {
            if let Some(lease) = registry.reserve_detached(&model, Duration::from_secs(2)) {
                match rng.below(3) {
                    0 => _ = registry.release_lease(lease.id),
                    1 => _ = registry.renew_lease(lease.id, Duration::from_secs(5)),
                    _ => {}
                }
            }
        }
        90..92 => _ = registry.remove_hive(&hive),
        92..95 => _ = registry.explain(&model),
        95..98 => _ = (registry.get_hive_state(&hive), registry.find_workers_by_model(&model)),
        98 => _ = registry.update_hive_state(&hive, beat(&hive, clock.wall_ms(), vec![worker("", "m")])),
        _ => _ = registry.evict_stale(Duration::from_secs(60)),
    }
    while held.len() > 30 {
        drop(held.swap_remove(rng.below(held.len())));
    }
}

fn mean(samples: &[isize]) -> isize {
    samples.iter().sum::<isize>() / samples.len().max(1) as isize
}

#[test]
fn c3_a_mixed_load_holds_no_more_memory_than_it_held() {
    let seconds: u64 =
        std::env::var("HIVE_SOAK_SECONDS").ok().and_then(|value| value.parse().ok()).unwrap_or(1);
    let (registry, clock) = registry_with(|builder| builder);
    let (stop, steps) = (AtomicBool::new(false), AtomicU64::new(0));
    let feed = registry.subscribe(256);
    let lagging = registry.subscribe(64);
    // Room for all before the first is taken.
    let mut samples: Vec<isize> = Vec::with_capacity(100 * seconds as usize + 1);
    std::thread::scope(|scope| {
        for seed in 0..THREADS {
            let (registry, clock, stop, steps) = (&registry, &clock, &stop, &steps);
            scope.spawn(move || {
                let (mut rng, mut held) = (Rng::new(seed), Vec::with_capacity(40));
                while !stop.load(Relaxed) {
                    step(registry, clock, &mut rng, &mut held);
                    steps.fetch_add(1, Relaxed);
                }
            });
        }
        scope.spawn(|| {
            while !stop.load(Relaxed) {
                let _ = feed.next_timeout(Duration::from_millis(20));
            }
        });
        let until = Instant::now() + Duration::from_secs(seconds);
        while Instant::now() < until {
            std::thread::sleep(Duration::from_millis(10));
            samples.push(held_bytes());
        }
        stop.store(true, Relaxed);
    });
    let third = samples.len() / 3;
    let (middle, last) = (mean(&samples[third..2 * third]), mean(&samples[2 * third..]));
    println!(
        "{} steps in {seconds} s: {} bytes in the first third, {middle} in the middle, {last} in the last",
        steps.load(Relaxed),
        mean(&samples[..third])
    );
    if seconds >= 30 {
        assert!((last - middle).abs() * 50 <= middle, "{last} bytes in the last third, {middle} before");
    }
    assert!(steps.load(Relaxed) > 0);
    assert!(matches!(lagging.try_next(), Err(FeedError::Lagged { .. })), "it has read nothing");

    // The guards were dropped; what is left are leases, which run out.
    clock.advance(Duration::from_secs(60));
    // A sweep gives back all of them.
    let _ = registry.evict_stale(Duration::MAX);
    assert_eq!(registry.stats().reservations_open, 0);
    scan::assert_indexes_equal_a_scan(&registry, &["m0", "absent"]);
    let mut rng = Rng::new(9);
    for hive in 0..HIVES {
        let hive = format!("hive-{hive:04}");
        let _ = registry.update_hive_state(&hive, beat(&hive, clock.wall_ms(), any_workers(&mut rng, &hive)));
    }
    assert_eq!(registry.hive_count(), HIVES);
    scan::assert_indexes_equal_a_scan(&registry, &["m0", "absent"]);
}
