//! Interleavings explored by loom on the code that ships (`make loom`): one scenario a test.
//!
//! `src/sync.rs` says what stands in for what. Built only under `--cfg loom`; the preemption bound comes from
//! `LOOM_MAX_PREEMPTIONS`. The cost beside each is for a bound of 2 on one core.
#![cfg(loom)]

use hive_registry::{Candidates, HiveHeartbeatPayload, HiveRegistry, ManualClock, Policy, WorkerState};
use loom::thread;

const NOW: &str = "2025-10-21T10:00:00Z";
const MODEL: &str = "m";

fn registry() -> HiveRegistry {
    let clock = ManualClock::new(1_761_040_800_000);
    HiveRegistry::builder().clock(clock).seed(1).build().expect("the settings are in bounds")
}

fn worker(state: &str, max_concurrency: Option<u32>) -> WorkerState {
    WorkerState {
        worker_id: "w".into(),
        state: state.into(),
        model_id: Some(MODEL.into()),
        max_concurrency,
        ..Default::default()
    }
}

/// Chooses the first candidate there is.
struct First;

impl Policy for First {
    fn choose(&self, candidates: &Candidates<'_>) -> Option<usize> {
        candidates.get(0).map(|_| 0)
    }
}

fn named(ids: &[&str]) -> Vec<WorkerState> {
    ids.iter().map(|id| WorkerState { worker_id: (*id).into(), ..worker("Busy", None) }).collect()
}

fn beat(registry: &HiveRegistry, hive: &str, workers: Vec<WorkerState>) {
    let payload =
        HiveHeartbeatPayload { hive_id: hive.into(), timestamp: NOW.into(), workers, ..Default::default() };
    registry.update_hive_state(hive, payload).expect("the heartbeat is in bounds");
}

/// "Registered into a detached entry": the last worker of a model leaves, and its ranking is pruned, while
/// another worker joins it.
#[test]
fn ranking_pruned_while_a_worker_joins_it() {
    loom::model(|| {
        let registry = registry();
        beat(&registry, "a", vec![worker("Busy", None)]);
        let pruner = {
            let registry = registry.clone();
            thread::spawn(move || beat(&registry, "a", Vec::new()))
        };
        beat(&registry, "b", vec![worker("Busy", None)]);
        // The call has returned, so the worker is found whatever the other thread does.
        let found = registry.find_best_worker_for_model(MODEL).expect("b has the model loaded");
        assert!(found.0 == "a" || found.0 == "b");
        pruner.join().expect("no panic");
        let (hive, _) = registry.find_best_worker_for_model(MODEL).expect("b has the model loaded");
        assert_eq!(hive, "b");
        assert_eq!(registry.explain(MODEL).workers, 1);
    });
}

/// Two reservations against one worker with one place: one gets it.
#[test]
fn two_reserves_on_the_last_free_place() {
    loom::model(|| {
        let registry = registry();
        beat(&registry, "a", vec![worker("Busy", Some(1))]);
        let other = {
            let registry = registry.clone();
            thread::spawn(move || registry.reserve_worker_for_model(MODEL))
        };
        let mine = registry.reserve_worker_for_model(MODEL);
        let other = other.join().expect("no panic");
        assert!(mine.is_some() != other.is_some());
        assert_eq!(registry.explain(MODEL).full, 1);
        drop((mine, other));
        assert_eq!(registry.explain(MODEL).eligible, 1);
    });
}

/// The same place wanted under the ranking's lock and by a policy's compare-and-swap without it.
#[test]
fn a_reserve_and_a_policy_on_the_last_free_place() {
    loom::model(|| {
        let registry = registry();
        beat(&registry, "a", vec![worker("Busy", Some(1))]);
        let other = {
            let registry = registry.clone();
            thread::spawn(move || registry.reserve_with(MODEL, &First))
        };
        let mine = registry.reserve_worker_for_model(MODEL);
        let other = other.join().expect("no panic");
        assert!(mine.is_some() != other.is_some());
        drop((mine, other));
        // The release was written through: the place is found again.
        assert!(registry.find_best_worker_for_model(MODEL).is_some());
    });
}

/// A policy's reservation marks the published winner without the lock. A pick begun after it must not return that
/// worker while another is better, even as a third call corrects the ranking.
#[test]
fn a_pick_after_a_reservation_against_a_pick_that_corrects() {
    loom::model(|| {
        let registry = registry();
        beat(&registry, "a", named(&["v", "w"]));
        let other = {
            let registry = registry.clone();
            thread::spawn(move || drop(registry.find_best_worker_for_model(MODEL)))
        };
        let reserved = registry.reserve_with(MODEL, &First).expect("both are eligible");
        let (_, found) = registry.find_best_worker_for_model(MODEL).expect("both are eligible");
        assert_ne!(found.worker_id, reserved.worker().worker_id);
        other.join().expect("no panic");
    });
}

/// Two releases write through to a ranking whose published winner is marked and is not the best.
#[test]
fn two_releases_while_the_published_winner_is_marked() {
    loom::model(|| {
        let registry = registry();
        beat(&registry, "a", named(&["v", "w", "x"]));
        let first = registry.reserve_worker_for_model(MODEL).expect("three are eligible");
        let second = registry.reserve_worker_for_model(MODEL).expect("three are eligible");
        let other = thread::spawn(move || drop(first));
        drop(second);
        other.join().expect("no panic");
        // All are equally loaded, and it was never reserved.
        let (_, best) = registry.find_best_worker_for_model(MODEL).expect("three are eligible");
        assert_eq!(best.worker_id, "x");
    });
}

/// A worker goes and another takes its seat, while a lookup by id holds the slot of the one that goes.
#[test]
fn a_seat_given_again_while_a_lookup_holds_the_old_slot() {
    loom::model(|| {
        let registry = registry();
        beat(&registry, "a", named(&["w"]));
        let other = {
            let registry = registry.clone();
            thread::spawn(move || beat(&registry, "a", named(&["x"])))
        };
        let found = registry.get_worker("w").map(|(_, worker)| worker.worker_id.clone());
        assert!(found.is_none_or(|id| id == "w"));
        let picked = registry.find_best_worker_for_model(MODEL).map(|(_, worker)| worker.worker_id.clone());
        other.join().expect("no panic");
        assert!(picked.is_none_or(|id| id == "w" || id == "x"));
        assert!(registry.get_worker("w").is_none());
        assert!(registry.find_best_worker_for_model(MODEL).is_some());
    });
}
