//! C3 after a long churn: with every heartbeat all workers and models of a hive are replaced, reservations and
//! leases come and go; back in the first state the registry holds what it held there before, within 1 %.
//!
//! `HIVE_CHURN_BEATS` (20,000) says how many heartbeats.
#![cfg(not(loom))]

mod common;
mod held;
mod scan;

use std::collections::VecDeque;
use std::time::Duration;

use common::{Rng, apply, beat, registry_with, worker};
use held::held_bytes;
use hive_registry::{Clock, HiveRegistry, ManualClock, Reservation, WorkerState};

const HIVES: usize = 200;
const WORKERS: usize = 6;

fn hive(number: usize) -> String {
    format!("hive-{:03}", number % HIVES)
}

/// Four worker ids of each hive are as long as heap strings are, two are inline.
fn workers(of: &str) -> Vec<WorkerState> {
    let one = |at: usize| {
        let long = if at < 4 { "-which-is-long-enough-for-the-heap" } else { "" };
        WorkerState {
            gpu_percent: Some(at as f32),
            max_concurrency: (at % 2 == 0).then_some(2),
            ..worker(&format!("{of}-{at}{long}"), &format!("m-{of}-{at}{long}"))
        }
    };
    (0..WORKERS).map(one).collect()
}

/// All in the first state, and heard of right now.
fn settle(registry: &HiveRegistry, clock: &ManualClock) {
    clock.advance(Duration::from_secs(60));
    for number in 0..HIVES {
        apply(registry, beat(&hive(number), clock.wall_ms(), workers(&format!("first-{number}"))));
    }
    assert_eq!((registry.hive_count(), registry.total_worker_count()), (HIVES, HIVES * WORKERS));
    // A sweep gives back all leases that ran out.
    assert_eq!(registry.evict_stale(Duration::MAX).hives, 0);
    assert_eq!(registry.stats().reservations_open, 0);
}

/// `beats` heartbeats, none of which keeps a worker or a model, with up to 100 reservations and leases amid.
fn churn(registry: &HiveRegistry, clock: &ManualClock, rng: &mut Rng, beats: usize) {
    let mut held: VecDeque<Reservation> = VecDeque::with_capacity(100);
    let mut leases: VecDeque<u64> = VecDeque::with_capacity(100);
    for n in 0..beats {
        clock.advance(Duration::from_millis(20));
        let of = format!("{n:07}");
        apply(registry, beat(&hive(n), clock.wall_ms(), workers(&of)));
        // Of the workers that have just come, of older ones, and of the idle ones for lack of any.
        let model = match rng.below(3) {
            0 => format!("m-{of}-4"),
            1 => format!("m-{:07}-5", n.saturating_sub(rng.below(HIVES))),
            _ => "nobody has this one".to_owned(),
        };
        match rng.below(4) {
            0 => held.extend(registry.reserve_worker_for_model(&model)),
            1 => {
                let lease = registry.reserve_detached(&model, Duration::from_secs(3));
                leases.extend(lease.map(|lease| lease.id));
            }
            _ => {}
        }
        while held.len() > 50 {
            held.pop_front();
        }
        while leases.len() > 50 {
            // In turns released, renewed and left to run out.
            let id = leases.pop_front().unwrap_or_default();
            match rng.below(3) {
                0 => _ = registry.release_lease(id),
                1 => _ = registry.renew_lease(id, Duration::from_secs(5)),
                _ => {}
            }
        }
    }
}

/// Bytes in the first state. Maps grow by doubling and are shrunk now and then, so one moment tells where in that
/// cycle they are: this is the mean of 32 returns, after churns of different lengths.
fn settled_bytes(registry: &HiveRegistry, clock: &ManualClock, rng: &mut Rng, empty: isize) -> isize {
    let returns = (0..32).map(|_| {
        let beats = 100 + rng.below(400);
        churn(registry, clock, rng, beats);
        settle(registry, clock);
        held_bytes() - empty
    });
    returns.sum::<isize>() / 32
}

#[test]
fn c3_after_full_turnover_memory_is_back_within_1_percent() {
    let beats: usize =
        std::env::var("HIVE_CHURN_BEATS").ok().and_then(|value| value.parse().ok()).unwrap_or(20_000);
    let empty = held_bytes();
    // The clock and the hashes are fixed: every run of one size does the same.
    let (registry, clock) = registry_with(|builder| builder);
    let mut rng = Rng::new(1);
    settle(&registry, &clock);
    let fresh = held_bytes() - empty;
    churn(&registry, &clock, &mut rng, 5_000);
    let baseline = settled_bytes(&registry, &clock, &mut rng, empty);
    churn(&registry, &clock, &mut rng, beats);
    let after = settled_bytes(&registry, &clock, &mut rng, empty);
    println!("{beats} beats: {after} bytes, {baseline} before, {fresh} without a past");
    assert!((after - baseline).abs() * 100 <= baseline, "{after} bytes, {baseline} before");
    scan::assert_indexes_equal_a_scan(&registry, &["m-0000000-0", "nobody has this one"]);

    drop((registry, clock));
    let left = held_bytes() - empty;
    assert!(left < 16_384, "{left} bytes are left of a dropped registry");
}
