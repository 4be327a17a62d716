//! I2 under hostile load: ever new hive ids and model names meet a full registry; memory stays where it was,
//! the known hives keep answering, and each refusal names its limit.
//!
//! `HIVE_HOSTILE_IDS` (20,000) says how many of each.
#![cfg(not(loom))]

mod common;
mod held;
mod scan;

use std::time::Duration;

use common::{apply, beat, registry_with, worker};
use held::held_bytes;
use hive_registry::{
    Clock, HeartbeatError, HeartbeatOutcome, HiveRegistry, Limits, MAX_TOMBSTONES, ManualClock, WorkerState,
};

const HIVES: usize = 1_000;
const LIMITS: Limits = Limits {
    hives: HIVES,
    workers: 2 * HIVES,
    workers_per_hive: 4,
    devices_per_hive: 4,
    models: HIVES,
    heartbeat_bytes: 4_096,
};
/// What the process around the registry may ask for meanwhile: a heartbeat, an error, a line of output.
const SLACK: isize = 64 << 10;
/// What was published and replaced, and is not freed yet: some hundred winners and copies of the index of models.
const REPLACED: isize = 256 << 10;

fn known(hive: usize) -> String {
    format!("known-{hive:04}")
}

/// The known hives fill every limit: two workers each, one with a model of its own, one with a model of all.
fn known_workers(hive: usize) -> Vec<WorkerState> {
    let of = |model: String| worker(&format!("{}-{model}", known(hive)), &model);
    let own = if hive == 0 { "of-all".into() } else { format!("own-{hive}") };
    vec![of(own), WorkerState { worker_id: format!("{hive}-second"), ..of("of-all".into()) }]
}

/// Ids of three kinds: short, sharing their first 200 bytes, and sharing all but their first.
fn hostile(n: usize) -> String {
    match n % 3 {
        0 => format!("x{n}"),
        1 => format!("{}{n:010}", "x".repeat(200)),
        _ => format!("{n:010}{}", "x".repeat(200)),
    }
}

/// The limit of a refusal, its bound checked.
#[track_caller]
fn limit(refused: Result<HeartbeatOutcome, HeartbeatError>, expected: &str) {
    let bound = match expected {
        "hives" => LIMITS.hives,
        "workers" => LIMITS.workers,
        "workers_per_hive" => LIMITS.workers_per_hive,
        "models" => LIMITS.models,
        _ => LIMITS.heartbeat_bytes,
    };
    match refused {
        Err(HeartbeatError::OverLimit { limit, wanted, bound: told }) => {
            assert_eq!((limit, told), (expected, bound));
            assert!(wanted > bound, "{wanted} of {bound} {limit}");
        }
        other => panic!("{other:?}, though there is no room in {expected}"),
    }
}

/// One known hive beats, and is picked for its own model.
fn known_answers(registry: &HiveRegistry, clock: &ManualClock, hive: usize) {
    clock.advance(Duration::from_millis(1));
    let sent = beat(&known(hive), clock.wall_ms(), known_workers(hive));
    assert_eq!(apply(registry, sent), HeartbeatOutcome::Updated);
    let own = if hive == 0 { "of-all".into() } else { format!("own-{hive}") };
    let held = registry.reserve_worker_for_model(&own).expect("its hive has just beaten");
    assert!(hive == 0 || held.hive_id() == known(hive).as_str());
    assert!(registry.find_best_worker_for_model("of-all").is_some());
}

/// Nothing but the limits may tell what the registry holds, however many come.
#[test]
fn i2_ever_new_ids_and_models_are_refused_without_a_trace() {
    let ids: usize =
        std::env::var("HIVE_HOSTILE_IDS").ok().and_then(|value| value.parse().ok()).unwrap_or(20_000);
    let (registry, clock) = registry_with(|builder| builder.limits(LIMITS));
    let before = held_bytes();
    for _ in 0..2 {
        (0..HIVES).for_each(|hive| {
            apply(&registry, beat(&known(hive), clock.wall_ms(), known_workers(hive)));
        });
        clock.advance(Duration::from_millis(1));
    }
    (0..HIVES).for_each(|hive| known_answers(&registry, &clock, hive));
    // A hive's last refusal is kept in words: once in all, however many come.
    let wordy = beat(&"\u{10ffff}".repeat(64), clock.wall_ms(), vec![]);
    (0..HIVES).for_each(|hive| {
        registry.update_hive_state(&known(hive), wordy.clone()).expect_err("that is not its name");
    });
    let full = held_bytes() - before;
    let bound = full + full / 100 + SLACK + REPLACED;
    let mut most = 0;
    let mut refusals = HIVES as u64;
    for n in 0..ids {
        let id = hostile(n);
        let hive = n % HIVES;
        let at = clock.wall_ms();

        limit(registry.update_hive_state(&id, beat(&id, at, vec![])), "hives");
        let mut swapped = known_workers(hive);
        swapped[1].model_id = Some(id.clone());
        limit(registry.update_hive_state(&known(hive), beat(&known(hive), at + 1, swapped)), "models");
        refusals += 2;
        // A name that nobody has is looked for and leaves nothing.
        assert!(registry.find_workers_by_model(&id).is_empty());
        assert!(registry.find_best_worker_for_model(&id).is_some(), "an idle worker stands in");

        if n % 8 == 0 {
            let mut joined = known_workers(hive);
            joined.push(worker(&id, "of-all"));
            limit(registry.update_hive_state(&known(hive), beat(&known(hive), at + 1, joined)), "workers");
            let many = (0..5).map(|k| worker(&format!("{k}{id}"), "of-all")).collect();
            let sent = beat(&known(hive), at + 1, many);
            limit(registry.update_hive_state(&known(hive), sent), "workers_per_hive");
            let body = format!(r#"{{"hive_id":"{id}","padding":"{}"}}"#, "x".repeat(LIMITS.heartbeat_bytes));
            limit(registry.ingest_json(body.as_bytes()), "heartbeat_bytes");
            let refused = registry.model(&id).err();
            assert!(
                matches!(refused, Some(HeartbeatError::OverLimit { limit: "models", .. })),
                "{refused:?}"
            );
            assert_eq!(registry.explain(&id).workers, 0);
            assert!(!registry.remove_hive(&id));
            refusals += 3;
        }
        known_answers(&registry, &clock, hive);
        most = most.max(held_bytes() - before);
        assert!(most <= bound, "{most} bytes after {n}, {full} when full");
    }
    println!("{ids} ids and {ids} models: {full} bytes when full, {most} at most, {refusals} refused");
    assert_eq!((registry.hive_count(), registry.total_worker_count()), (LIMITS.hives, LIMITS.workers));
    assert_eq!(registry.stats().heartbeats.refused, refusals);
    assert_eq!(registry.stats().heartbeats.registered, HIVES as u64);
    // Those whose turn was long ago beat once more; the scan asks for the age of all.
    (0..HIVES).for_each(|hive| known_answers(&registry, &clock, hive));
    assert_eq!(registry.count_online(), HIVES);
    scan::assert_indexes_equal_a_scan(&registry, &[&hostile(0), &hostile(1), &hostile(2)]);

    // Ten times as many as there may be tombstones show what a hundred times as many would.
    let removed = ids.min(10 * MAX_TOMBSTONES);
    removed_ids_leave_no_more_than_the_tombstones(&registry, &clock, removed, bound + before);
}

/// In the room of one hive, ids come and are removed: what is kept of them is bounded by the tombstones.
fn removed_ids_leave_no_more_than_the_tombstones(
    registry: &HiveRegistry,
    clock: &ManualClock,
    ids: usize,
    bound: isize,
) {
    /// An id of 210 bytes with its counts, and its places in a map and a queue, both half empty at worst.
    const TOMBSTONE: isize = 600;
    // One that has a model of its own, so that there is room for a model too.
    assert!(registry.remove_hive(&known(1)));
    let mut most = 0;
    for n in 0..ids {
        let id = hostile(n);
        // There is room for this hive, for two workers and for one model: refused, it gives all of it back.
        let three = (0..3).map(|k| worker(&format!("{k}{n}"), "of-all")).collect();
        limit(registry.update_hive_state(&id, beat(&id, clock.wall_ms(), three)), "workers");
        let two = vec![worker("w", &id), worker("v", &format!("second-{n}"))];
        limit(registry.update_hive_state(&id, beat(&id, clock.wall_ms(), two)), "models");
        let models = [worker(&id, &id), worker(&format!("{n}"), "of-all")];
        assert_eq!(apply(registry, beat(&id, clock.wall_ms(), models.into())), HeartbeatOutcome::Registered);
        assert!(registry.remove_hive(&id));
        let kept = (n + 2).min(MAX_TOMBSTONES) as isize;
        most = most.max(held_bytes());
        assert!(most <= bound + kept * TOMBSTONE, "{most} bytes after {n}, at most {bound} without");
    }
    println!("{ids} ids removed: {most} bytes at most");
    assert_eq!(registry.hive_count(), HIVES - 1);
    scan::assert_indexes_equal_a_scan(registry, &[&hostile(0), &hostile(1), &hostile(2)]);
}
