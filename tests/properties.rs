//! Whatever happens in whatever order, at rest the registry answers as a plain scan would.
//!
//! After every step of a random sequence, for both liveness clocks and both stale modes:
//!
//! - every list, lookup, count and sum equals a scan of the newest heartbeats (C3), in order, live or not (C4);
//! - the newest heartbeat of a hive is the one with the greatest order key, however late, early or often the
//!   others came, and each outcome and refusal is the one the rules give (I1 to I4, I6);
//! - a bare worker id means the hive heard last (I5);
//! - age is counted on the chosen clock, wherever the wall clock jumps (L1), and no pick returns a worker of a
//!   silent hive unless told to (L2);
//! - an eviction takes the hives longest silent, of a fleet of 8 at most its share, and holds when most are
//!   silent (L3); a removed hive stays away as long as its tombstone bars it (L5);
//! - a pick and a reservation name exactly the worker that the order of S1 to S4 puts first, turns and
//!   registration order included, and `explain` counts the others under the reason that applies (S9);
//! - a policy chooses among the eligible and finds one if there is one (S8);
//! - no worker holds more than it takes, a reservation ends with its registration, its release or its lease,
//!   and none is counted twice (S5, S6).
//!
//! And apart from the sequences: heartbeats with distinct keys leave the same state in any order (I3).
//!
//! `PROPTEST_CASES` sets the number of cases.
#![cfg(not(loom))]

mod oracle;

use std::collections::BTreeMap;

use chrono::DateTime;
use hive_registry::{HiveHealth, LivenessClock, ManualClock, OperationalStatus, StaleMode};
use oracle::sent::{Fault, Key, Look, MODELS, Process, Stats, Status, WORKERS, Worker, plain, telemetry};
use oracle::twins::{Chooser, Op, START_MS, Twins, builder};
use proptest::collection::{btree_map, vec};
use proptest::option::weighted;
use proptest::prelude::*;
use proptest::sample::select;

/// None is the plain one.
type Form = Option<(Status, Vec<Process>)>;

// === how likely ===

fn skew() -> impl Strategy<Value = i64> {
    prop_oneof![
        4 => Just(0),
        6 => (-5..=5i64).prop_map(|s| s * 1_000),
        2 => (-40..=0i64).prop_map(|s| s * 1_000),
        1 => select(vec![-60_000, -60_001, -61_000, -125_000, -30_000, -29_999, 90_000]),
    ]
}

/// Some hives mostly send pairs, the others seldom.
fn key() -> impl Strategy<Value = Key> {
    (0..10usize, skew())
        .prop_flat_map(|(hive, skew_ms)| {
            let chance = if hive % 3 == 0 { 0.85 } else { 0.04 };
            (Just(hive), Just(skew_ms), weighted(chance, (1..4u64, 0..6u64)))
        })
        .prop_map(|(hive, skew_ms, pair)| Key { hive, skew_ms, pair })
}

fn model() -> impl Strategy<Value = &'static str> {
    select(MODELS.to_vec())
}

fn look() -> impl Strategy<Value = Look> {
    let state = prop_oneof![
        5 => Just("Idle"), 5 => Just("Busy"), 1 => Just("READY"), 1 => Just("loading"),
        1 => Just("stopping"), 1 => Just("thinking"),
    ];
    let health =
        prop_oneof![8 => Just("healthy"), 2 => Just("Degraded"), 1 => Just("unhealthy"), 1 => Just("odd")];
    let work = (
        state,
        health,
        weighted(0.85, prop_oneof![20 => model(), 1 => Just("")]),
        weighted(0.85, prop_oneof![20 => select(vec![0.0f32, 0.0, 12.5, 33.3, 50.0]), 1 => odd()]),
        weighted(0.6, prop_oneof![15 => 1..4u32, 1 => Just(0)]),
    );
    let memory = (
        weighted(0.5, select(vec!["cuda", "CPU", "tpu", "cuda", "CPU", "tpu", ""])),
        weighted(0.5, 0..2u32),
        weighted(0.5, select(vec![0u64, 1_000, 9_000])),
        weighted(0.5, select(vec![8_000u64, 24_000])),
        weighted(0.5, 0..4_000u64),
    );
    (work, memory).prop_map(|(work, memory)| {
        let (state, health, model, gpu_percent, max_concurrency) = work;
        let (backend, device_id, vram_mb, vram_total_mb, ram_mb) = memory;
        Look {
            state,
            health,
            model,
            gpu_percent,
            max_concurrency,
            backend,
            device_id,
            vram_mb,
            vram_total_mb,
            ram_mb,
        }
    })
}

/// What is no percentage.
fn odd() -> impl Strategy<Value = f32> {
    select(vec![-1.0, f32::NAN, f32::INFINITY])
}

/// One of each id, in either order.
fn some_of<T: Clone + std::fmt::Debug>(
    each: impl Strategy<Value = T>,
) -> impl Strategy<Value = Vec<(usize, T)>> {
    (btree_map(0..WORKERS.len(), each, 0..5), any::<bool>()).prop_map(|(some, backwards)| {
        let mut some: Vec<_> = some.into_iter().collect();
        if backwards {
            some.reverse();
        }
        some
    })
}

fn workers() -> impl Strategy<Value = Vec<Worker>> {
    some_of(look())
}

fn processes() -> impl Strategy<Value = Vec<Process>> {
    let gpu = prop_oneof![8 => select(vec![0.0f32, 0.0, 25.0, 50.0]).prop_map(Some), 1 => Just(None)];
    let stats = (gpu, weighted(0.85, model()), 0..9_000u64, 1..3u64);
    some_of(stats.prop_map(|(gpu_util_pct, model, vram_mb, twelves)| Stats {
        gpu_util_pct,
        model,
        vram_mb,
        total_vram_mb: twelves * 12_000,
    }))
}

fn status() -> impl Strategy<Value = Status> {
    use OperationalStatus::{Busy, Ready, Starting, Stopped, Stopping};
    let health = prop_oneof![
        6 => Just(HiveHealth::Healthy),
        1 => Just(HiveHealth::Degraded { reason: "hot".into() }),
        1 => Just(HiveHealth::Unhealthy { reason: "on fire".into() }),
    ];
    let device = (select(vec!["cuda", "cuda", "cpu", "metal"]), weighted(0.7, select(vec![24.0, 80.0])));
    (select(vec![Ready, Ready, Ready, Busy, Busy, Starting, Stopping, Stopped]), health)
        .prop_flat_map(move |(operational, health)| {
            let hostname = prop_oneof![
                8 => Just(None),
                2 => select(vec!["gpu 1", "http://gpu-1", "fe80::1%eth0"]).prop_map(Some),
            ];
            (Just(operational), Just(health), hostname, weighted(0.5, vec(device.clone(), 0..3)))
        })
        .prop_map(|(operational, health, hostname, devices)| Status {
            operational,
            health,
            hostname,
            devices,
        })
}

fn fault() -> impl Strategy<Value = Fault> {
    use Fault::{ManyDevices, NegativeMemory, NoEpoch, NoSeq, OtherHive, OtherInfo, Timestamp, TwoOfOneId};
    select(vec![Timestamp, TwoOfOneId, NoSeq, NoEpoch, OtherHive, OtherInfo, ManyDevices, NegativeMemory])
}

fn op() -> impl Strategy<Value = Op> {
    let lease_ms = || select(vec![0, 1, 900, 5_000, 60_000]);
    prop_oneof![
        20 => (key(), weighted(0.3, status()), workers(), weighted(0.06, fault()))
            .prop_map(|(key, status, workers, fault)| Op::Plain(key, status, workers, fault)),
        12 => (key(), status(), weighted(0.9, processes()))
            .prop_map(|(key, status, processes)| Op::Telemetry(key, status, processes)),
        4 => (key(), weighted(0.7, status()), weighted(0.8, processes()))
            .prop_map(|(key, status, processes)| Op::Event(key, status, processes)),
        5 => (any::<usize>(), weighted(0.5, workers())).prop_map(|(which, workers)| Op::Again(which, workers)),
        3 => workers().prop_map(Op::Wave),
        4 => (0..10usize, processes()).prop_map(|(hive, processes)| Op::UpdateWorkers(hive, processes)),
        3 => (0..10usize).prop_map(Op::Remove),
        4 => select(vec![0, 1, 5_000, 30_000, 60_000]).prop_map(Op::Evict),
        8 => select(vec![1, 500, 1_000, 2_000, 2_001, 4_000, 29_999, 30_000, 31_000, 61_000, 299_000, 600_000])
            .prop_map(Op::Advance),
        4 => select(vec![-120_000, -61_000, -31_000, -5_000, -1, 1, 5_000, 31_000, 120_000])
            .prop_map(Op::JumpWall),
        14 => model().prop_map(Op::Reserve),
        7 => any::<usize>().prop_map(Op::Release),
        6 => (model(), lease_ms()).prop_map(|(model, ms)| Op::Detach(model, ms)),
        3 => (any::<usize>(), lease_ms()).prop_map(|(which, ms)| Op::Renew(which, ms)),
        3 => any::<usize>().prop_map(Op::ReleaseLease),
        4 => (model(), chooser()).prop_map(|(model, chooser)| Op::PickWith(model, chooser)),
        6 => (model(), chooser()).prop_map(|(model, chooser)| Op::ReserveWith(model, chooser)),
    ]
}

fn chooser() -> impl Strategy<Value = Chooser> {
    use Chooser::{Greatest, Last, LeastLoaded, Nobody, PowerOfChoices, Random, RoundRobin};
    select(vec![
        LeastLoaded,
        PowerOfChoices(0),
        PowerOfChoices(2),
        PowerOfChoices(40),
        RoundRobin,
        Random,
        Last,
        Greatest,
        Nobody,
    ])
}

fn liveness() -> impl Strategy<Value = LivenessClock> {
    select(vec![LivenessClock::Reported, LivenessClock::Arrival])
}

fn stale_mode() -> impl Strategy<Value = StaleMode> {
    select(vec![StaleMode::Exclude, StaleMode::Ignore])
}

// === properties ===

/// 2,048 cases, or `PROPTEST_CASES`.
fn config() -> ProptestConfig {
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(2_048);
    ProptestConfig { cases, max_shrink_iters: 2_000, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn answers_as_a_plain_scan_would(
        liveness in liveness(),
        stale_mode in stale_mode(),
        hives in 3..=10usize,
        picks_every in select(vec![1usize, 1, 3, 7]),
        ops in vec(op(), 1..=60),
    ) {
        let mut twins = Twins::new(liveness, stale_mode, hives);
        let result = twins.run(&ops, picks_every);
        prop_assert!(result.is_ok(), "{}", result.unwrap_err());
    }

    /// I3, without a model: the clock stands, keys are distinct and within the window, each comes once or twice.
    #[test]
    fn heartbeats_leave_the_same_state_in_any_order(
        liveness in liveness(),
        pairs in any::<bool>(),
        beats in btree_map(-29..=29i64, (workers(), weighted(0.5, (status(), processes()))), 1..6)
            .prop_flat_map(|beats| {
                let beats: Vec<_> = beats.into_iter().collect();
                let twice: Vec<_> = beats.iter().cloned().chain(beats.iter().cloned()).collect();
                (Just(beats), Just(twice).prop_shuffle())
            }),
    ) {
        let clock = ManualClock::new(START_MS);
        let wall = DateTime::from_timestamp_millis(START_MS).expect("that is a time");
        let run = |beats: &[(i64, (Vec<Worker>, Form))]| {
            let registry = builder(liveness, StaleMode::Exclude, &clock);
            for (seconds, (workers, form)) in beats {
                let pair = pairs.then(|| (1, (seconds + 29) as u64));
                let key = Key { hive: 0, skew_ms: seconds * 1_000, pair };
                match form {
                    None => registry.update_hive_state("hive", plain("hive", &key, wall, None, workers)),
                    Some((status, processes)) => {
                        registry.update_hive(telemetry("hive", &key, wall, status, Some(processes)))
                    }
                }
                .expect("the heartbeat is in bounds");
            }
            let mut state = (*registry.get_hive_state("hive").expect("the hive is known")).clone();
            state.version = 0;
            let resources = registry.get_available_resources("hive");
            let mut loaded = BTreeMap::new();
            for model in MODELS {
                loaded.insert(model, registry.find_workers_by_model(model));
            }
            (state, resources, loaded, registry.find_idle_workers())
        };
        prop_assert_eq!(run(&beats.0), run(&beats.1));
    }
}
