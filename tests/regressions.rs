//! Defects that were found and fixed, each with the test that would have caught it.
#![cfg(not(loom))]

mod common;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use common::{T0, apply, beat, process, registry, registry_with, worker, worker_in};
use hive_registry::{
    Candidates, EventKind, FeedError, HeartbeatError, HeartbeatOutcome, LeastLoaded, Limits, LivenessClock,
    Policy, PowerOfChoices, Random, WorkerState,
};

/// Reservations through models made idle keys stale, and more than 64 of these made the next fallback correct
/// every idle worker. A fallback now corrects what was reserved, and leaves the silent ones for later picks.
#[test]
fn a_fallback_after_a_burst_of_reservations_does_not_scan_the_fleet() {
    struct Ranked(AtomicUsize);
    impl Policy for Ranked {
        fn choose(&self, candidates: &Candidates<'_>) -> Option<usize> {
            self.0.store(candidates.len(), Ordering::Relaxed);
            None
        }
    }
    let (registry, clock) = registry();
    // 100 silent workers that rank last among the idle: a full pass would park them.
    let silent =
        (0..100).map(|n| WorkerState { gpu_percent: Some(99.0), ..worker(&format!("s{n}"), "other") });
    apply(&registry, beat("silent", T0, silent.collect()));
    clock.advance(Duration::from_secs(20));
    let live = (0..400).map(|n| WorkerState { gpu_percent: Some(0.0), ..worker(&format!("w{n}"), "m") });
    apply(&registry, beat("live", T0 + 20_000, live.collect()));
    clock.advance(Duration::from_secs(15));
    let held: Vec<_> = (0..200).filter_map(|_| registry.reserve_worker_for_model("m")).collect();
    assert_eq!(held.len(), 200);
    assert!(registry.find_best_worker_for_model("nobody has this one").is_some());
    let ranked = Ranked(0.into());
    let _ = registry.pick("nobody has this one", &ranked);
    assert_eq!(ranked.0.into_inner(), 500);
}

/// A policy lost its candidate between two looks and chose nobody, though another worker was free throughout.
#[test]
fn a_policy_finds_a_worker_while_one_is_free_throughout() {
    let (registry, _) = registry();
    let workers =
        ["a", "b", "c"].map(|id| WorkerState { max_concurrency: Some(1), ..worker_in("Busy", id, "m") });
    apply(&registry, beat("h", T0, workers.into()));
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        // Each holds one reservation at most, so that one of three is always free.
        for _ in 0..2 {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    drop(registry.reserve_worker_for_model("m"));
                }
            });
        }
        // The window is narrow: so many looks open it a few times.
        let policies: [&dyn Policy; 4] = [&LeastLoaded, &PowerOfChoices { d: 16 }, &LeastLoaded, &Random];
        let missed = (0..600_000).find(|n| registry.pick("m", policies[n % 4]).is_none());
        stop.store(true, Ordering::Relaxed);
        assert_eq!(missed, None);
    });
}

/// A call that was refused opened the way for a heartbeat of before the removal.
#[test]
fn a_refused_update_workers_leaves_the_tombstone() {
    let limits = Limits { models: 1, ..Limits::default() };
    let (registry, clock) = registry_with(|builder| builder.limits(limits));
    apply(&registry, beat("a", T0, Vec::new()));
    apply(&registry, beat("b", T0, vec![worker("w", "m")]));
    clock.advance(Duration::from_secs(1));
    assert!(registry.remove_hive("a"));
    assert_eq!(apply(&registry, beat("a", T0 + 500, Vec::new())), HeartbeatOutcome::Removed);
    let refused = registry.update_workers("a", vec![process("g", "1", "another model")]);
    assert!(matches!(refused, Err(HeartbeatError::OverLimit { limit: "models", .. })));
    assert_eq!(apply(&registry, beat("a", T0 + 500, Vec::new())), HeartbeatOutcome::Removed);
}

/// Under the arrival clock a superseded heartbeat brings a hive back, and was not told; nor was the next silence.
#[test]
fn a_second_silence_is_told() {
    let (registry, clock) = registry_with(|builder| builder.liveness_clock(LivenessClock::Arrival));
    apply(&registry, beat("a", T0, vec![worker("w", "m")]));
    let feed = registry.subscribe(16);
    let silent = || {
        clock.advance(Duration::from_secs(31));
        registry.evict_stale(Duration::from_secs(3_600))
    };
    assert_eq!(silent().hives, 0);
    assert_eq!(apply(&registry, beat("a", T0 - 1_000, Vec::new())), HeartbeatOutcome::Superseded);
    assert_eq!(silent().hives, 0);
    let kinds: Vec<_> = std::iter::from_fn(|| feed.try_next().ok()).map(|event| event.kind).collect();
    assert_eq!(kinds, [EventKind::HiveOffline, EventKind::HiveUpdated, EventKind::HiveOffline]);
    assert_eq!(feed.try_next(), Err(FeedError::Timeout));
}

/// What a plain heartbeat does not know was refused when it came before `hive_id`.
#[test]
fn an_unknown_capabilities_is_ignored_wherever_it_stands() {
    let (registry, _) = registry();
    let body = br#"{"capabilities": 5, "hive_id": "a", "timestamp": "2025-10-21T10:00:00Z", "workers": []}"#;
    assert_eq!(registry.ingest_json(body), Ok(HeartbeatOutcome::Registered));
}

/// A parser's message quoted a megabyte.
#[test]
fn an_error_message_is_short_whatever_was_sent() {
    let (registry, _) = registry();
    let body =
        format!(r#"{{"hive_id": "a", "timestamp": "t", "epoch": "{}", "workers": []}}"#, "x".repeat(100_000));
    let error = registry.ingest_json(body.as_bytes()).unwrap_err().to_string();
    assert!(error.len() < 400 && error.starts_with("epoch: ") && error.contains("line 1"), "{error}");
}

/// A lease for ever on a worker that has gone was kept for ever.
#[test]
fn leases_of_workers_that_have_gone_do_not_pile_up() {
    let (registry, clock) = registry();
    let mut watched = Vec::new();
    for round in 0..400 {
        let at = T0 + round * 1_000;
        apply(&registry, beat("h", at, vec![worker("w", "m")]));
        let lease = registry.reserve_detached("m", Duration::MAX).expect("the worker is idle");
        watched.push(std::sync::Arc::downgrade(&lease.worker));
        drop(lease);
        apply(&registry, beat("h", at + 500, Vec::new()));
        clock.advance(Duration::from_secs(1));
    }
    // What a thread replaced last stays until it, and the others, have gone on for a while.
    let until = std::time::Instant::now() + Duration::from_secs(20);
    let kept = || watched.iter().filter(|record| record.strong_count() > 0).count();
    while kept() > 130 && std::time::Instant::now() < until {
        assert!(registry.find_best_worker_for_model("m").is_none());
    }
    assert!(kept() <= 130, "{} of 400 records are kept", kept());
}

/// Reservations by policy fill workers without the ranking's knowledge; when nearly all were full, draws found
/// nobody, and the one left free was not chosen.
#[test]
fn a_random_policy_finds_the_only_free_worker_of_a_thousand() {
    let (registry, _) = registry();
    let one =
        |n: usize| WorkerState { max_concurrency: Some(1), ..worker_in("Busy", &format!("w{n:04}"), "m") };
    apply(&registry, beat("h", T0, (0..1_000).map(one).collect()));
    let mut held: Vec<_> = (0..1_000).filter_map(|_| registry.reserve_with("m", &Random)).collect();
    assert_eq!(held.len(), 1_000);
    let freed = held.swap_remove(500);
    let id = freed.worker().worker_id.clone();
    freed.release();
    let (_, found) = registry.pick("m", &Random).expect("one is free");
    assert_eq!(found.worker_id, id);
}
