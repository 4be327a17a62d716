//! The model handle: it answers as the registry does, whatever comes and goes.
#![cfg(not(loom))]

mod common;

use common::{T0, apply, bare_worker, beat, registry, registry_with, worker, worker_in};
use hive_registry::{HeartbeatError, Limits, Model};

fn picked(model: &Model) -> Option<String> {
    model.find_best_worker().map(|(hive, worker)| format!("{hive}/{}", worker.worker_id))
}

#[test]
fn a_handle_follows_its_model_as_workers_come_go_and_come_back() {
    let (registry, clock) = registry();
    let model = registry.model("m").expect("a valid name");
    assert_eq!(model.id(), "m");
    assert_eq!(picked(&model), None);
    apply(&registry, beat("a", T0, vec![worker("w", "m")]));
    assert_eq!(picked(&model).as_deref(), Some("a/w"));
    // Nobody has it any more, and an idle worker of another model takes its requests (S2).
    apply(&registry, beat("a", T0, vec![worker("v", "other")]));
    assert_eq!(picked(&model).as_deref(), Some("a/v"));
    assert!(registry.remove_hive("a"));
    assert_eq!(picked(&model), None);
    assert!(model.reserve_worker().is_none());
    apply(&registry, beat("b", T0, vec![worker("w", "m")]));
    assert_eq!(picked(&model).as_deref(), Some("b/w"));
    // Its hive falls silent (L2).
    clock.advance(std::time::Duration::from_secs(30));
    assert_eq!(picked(&model), None);
}

#[test]
fn a_handle_reserves_as_the_registry_does() {
    let (registry, _) = registry();
    let places = |id| hive_registry::WorkerState { max_concurrency: Some(2), ..worker_in("Busy", id, "m") };
    apply(&registry, beat("a", T0, vec![places("v"), places("w")]));
    let model = registry.model("m").expect("a valid name");
    let held: Vec<_> = (0..4).filter_map(|_| model.reserve_worker()).collect();
    let held_by = |id: &str| held.iter().filter(|held| held.worker().worker_id == *id).count();
    assert_eq!((held_by("v"), held_by("w")), (2, 2));
    assert!(model.reserve_worker().is_none() && registry.reserve_worker_for_model("m").is_none());
    let stats = registry.stats();
    assert_eq!((stats.picks, stats.misses, stats.reservations_open), (4, 2, 4));
    drop(held);
    assert_eq!(registry.stats().reservations_open, 0);
    assert_eq!(picked(&model).as_deref(), Some("a/v"));
}

#[test]
fn a_handle_keeps_its_model_known_and_no_longer() {
    let (registry, _) = registry_with(|builder| builder.limits(Limits { models: 1, ..Default::default() }));
    let model = registry.model("m").expect("there is room");
    let other = model.clone();
    let full = HeartbeatError::OverLimit { limit: "models", wanted: 2, bound: 1 };
    assert_eq!(registry.model("n").err(), Some(full.clone()));
    let refused = registry.update_hive_state("a", beat("a", T0, vec![worker("w", "n")]));
    assert_eq!(refused, Err(full));
    drop(model);
    assert!(registry.model("n").is_err(), "the clone holds it");
    drop(other);
    // Nothing is left of it (C3), so another model finds room.
    apply(&registry, beat("a", T0, vec![worker("w", "n")]));
    let model = registry.model("n").expect("known");
    apply(&registry, beat("a", T0, vec![bare_worker("w")]));
    assert!(registry.model("m").is_err());
    drop(model);
    assert!(registry.model("m").is_ok());
}

#[test]
fn a_handle_refuses_what_no_model_may_be_called() {
    let (registry, _) = registry();
    for (name, said) in [
        ("", "model_id: \"\" refused: 1 to 256 bytes, not 0"),
        ("a\nb", "model_id: \"a\\nb\" refused: no control characters"),
    ] {
        assert_eq!(registry.model(name).map(drop).unwrap_err().to_string(), said);
    }
}

#[test]
fn a_handle_is_shared_between_threads_and_outlives_the_registry() {
    let (registry, _) = registry();
    apply(&registry, beat("a", T0, vec![worker_in("Busy", "w", "m")]));
    let model = registry.model("m").expect("a valid name");
    drop(registry);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mine = model.clone();
                for _ in 0..1_000 {
                    let held = mine.reserve_worker().expect("no limit is reported");
                    assert_eq!(held.worker().worker_id, *"w");
                }
            });
        }
    });
    assert_eq!(picked(&model).as_deref(), Some("a/w"));
}
