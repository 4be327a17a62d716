//! The calls that are made most, each [`CALLS`] times under callgrind, in a fleet of 1,000 hives x 8 workers over
//! 20 models.
//!
//! Nothing here differs from run to run: the hasher's seed, the clock and all timestamps are fixed, and one call
//! is made before those that count. What gungraun calls `setup` is not counted, nor is dropping what a function
//! returns.
#![allow(missing_docs, reason = "gungraun's macros make undocumented functions")]

#[path = "../../common/fleet.rs"]
mod fleet_of_benches;

use std::hint::black_box;

use fleet_of_benches::{Beats, WORKERS, apply, builder, heartbeat};
use gungraun::{Callgrind, prelude::*};
use hive_registry::{HeartbeatOutcome, HiveHeartbeatPayload, HiveRegistry, ManualClock, Model};
use hive_registry_count::CALLS;

const HIVES: usize = 1_000;
const MODEL: &str = "vendor/model-7b-instruct";
const JOINED: &str = "2026-01-01T00:00:00.000000Z";
const LATER: &str = "2026-01-01T00:00:01.000000Z";
/// `LATER`.
const NOW_MS: i64 = 1_767_225_601_000;

/// Never dropped, so that dropping it is not counted.
type Registry = &'static HiveRegistry;

fn at(timestamp: &str, mut payload: HiveHeartbeatPayload) -> HiveHeartbeatPayload {
    payload.timestamp = timestamp.into();
    payload.workers.iter_mut().for_each(|worker| worker.last_heartbeat = timestamp.into());
    payload
}

fn fleet() -> Registry {
    let registry = builder().clock(ManualClock::new(NOW_MS)).build().expect("the settings are in bounds");
    (0..HIVES).for_each(|hive| apply(&registry, at(JOINED, heartbeat(hive, WORKERS))));
    Box::leak(Box::new(registry))
}

/// `Some(model)` if the pick has it loaded.
fn pick_of(registry: Registry, model: &str) -> Option<String> {
    let (_, worker) = registry.find_best_worker_for_model(model).expect("all are idle");
    worker.model_id.as_ref().map(ToString::to_string).filter(|of| of == model)
}

fn for_pick() -> Registry {
    let registry = fleet();
    assert_eq!(pick_of(registry, MODEL).as_deref(), Some(MODEL));
    registry
}

#[library_benchmark(setup = for_pick)]
fn pick(registry: Registry) {
    for _ in 0..CALLS {
        black_box(registry.find_best_worker_for_model(black_box(MODEL)));
    }
}

fn for_handle() -> &'static Model {
    let model = for_pick().model(MODEL).expect("a name in bounds");
    assert!(model.find_best_worker().is_some());
    Box::leak(Box::new(model))
}

#[library_benchmark(setup = for_handle)]
fn pick_handle(model: &'static Model) {
    for _ in 0..CALLS {
        black_box(black_box(model).find_best_worker());
    }
}

fn for_fallback() -> Registry {
    let registry = fleet();
    assert_eq!(pick_of(registry, "absent"), None);
    registry
}

#[library_benchmark(setup = for_fallback)]
fn pick_fallback(registry: Registry) {
    for _ in 0..CALLS {
        black_box(registry.find_best_worker_for_model(black_box("absent")));
    }
}

fn for_reserve() -> Registry {
    let registry = fleet();
    drop(registry.reserve_worker_for_model(MODEL).expect("all are idle"));
    registry
}

#[library_benchmark(setup = for_reserve)]
fn reserve_release(registry: Registry) {
    for _ in 0..CALLS {
        drop(black_box(registry.reserve_worker_for_model(black_box(MODEL))));
    }
}

/// Heartbeats of as many hives, in each of which the keys of all workers are others than before.
fn beats() -> Vec<HiveHeartbeatPayload> {
    let mut beats = Beats::of(HIVES);
    (0..=CALLS).map(|_| at(LATER, beats.plain(WORKERS))).collect()
}

fn for_parsed() -> (Registry, Vec<(String, HiveHeartbeatPayload)>) {
    let (registry, mut beats) = (fleet(), beats());
    apply(registry, beats.pop().expect("one is more than is counted"));
    (registry, beats.into_iter().map(|payload| (payload.hive_id.clone(), payload)).collect())
}

#[library_benchmark(setup = for_parsed)]
fn heartbeat_parsed_8_changed((registry, beats): (Registry, Vec<(String, HiveHeartbeatPayload)>)) {
    for (hive_id, payload) in beats {
        assert_eq!(registry.update_hive_state(&hive_id, payload), Ok(HeartbeatOutcome::Updated));
    }
}

fn for_json() -> (Registry, Vec<Vec<u8>>) {
    let bytes = |payload| serde_json::to_vec(&payload).expect("it is written as JSON");
    let (registry, mut bodies): (_, Vec<_>) = (fleet(), beats().into_iter().map(bytes).collect());
    registry.ingest_json(&bodies.pop().expect("one is more than is counted")).expect("valid");
    (registry, bodies)
}

#[library_benchmark(setup = for_json)]
fn heartbeat_json_8_changed((registry, bodies): (Registry, Vec<Vec<u8>>)) -> Vec<Vec<u8>> {
    for body in &bodies {
        assert_eq!(registry.ingest_json(body), Ok(HeartbeatOutcome::Updated));
    }
    bodies
}

library_benchmark_group!(
    name = calls,
    benchmarks = [
        pick,
        pick_handle,
        pick_fallback,
        reserve_release,
        heartbeat_parsed_8_changed,
        heartbeat_json_8_changed
    ]
);

main!(
    config = LibraryBenchmarkConfig::default().tool(Callgrind::with_args(["--cache-sim=no"])),
    library_benchmark_groups = calls
);
