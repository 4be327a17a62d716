//! Any bytes as a heartbeat: refused without a trace, or applied, and then picks answer.
#![no_main]

use std::collections::BTreeSet;

use hive_registry::{HeartbeatOutcome, HiveHeartbeat, HiveHeartbeatPayload, HiveRegistry, ManualClock};
use libfuzzer_sys::fuzz_target;
use serde::Deserialize;

/// 2025-10-21T10:00:00Z, as in the samples.
const START_MS: i64 = 1_761_040_800_000;
const KNOWN: &[u8] = br#"{"hive_id": "known", "timestamp": "2025-10-21T10:00:00Z", "workers": [
    {"worker_id": "a", "state": "Idle", "last_heartbeat": "2025-10-21T10:00:00Z", "health_status": "healthy",
     "url": "http://10.0.0.1:9300", "model_id": "m", "max_concurrency": 2},
    {"worker_id": "b", "state": "Busy", "last_heartbeat": "2025-10-21T10:00:00Z", "health_status": "healthy"}]}"#;

/// What both forms name their hive by.
#[derive(Deserialize)]
struct Named {
    hive_id: Option<String>,
    hive: Option<Hive>,
}

#[derive(Deserialize)]
struct Hive {
    id: String,
}

fn with_one_hive() -> HiveRegistry {
    let builder = HiveRegistry::builder().clock(ManualClock::new(START_MS)).seed(1).shards(4);
    let registry = builder.build().expect("the settings are in bounds");
    registry.ingest_json(KNOWN).expect("the known hive is in bounds");
    registry
}

/// Of every model there is, and of one that is not.
fn pick(registry: &HiveRegistry) {
    let workers = registry.list_all_workers();
    let loaded: BTreeSet<_> = workers.iter().filter_map(|(_, worker)| worker.model_id.clone()).collect();
    let mut held = Vec::new();
    for model in loaded.iter().map(AsRef::as_ref).chain(["no-such-model"]) {
        let told = registry.explain(model);
        // Those of silent hives are not given work (C4).
        assert_eq!(told.workers - told.stale, registry.find_workers_by_model(model).len());
        let best = registry.find_best_worker_for_model(model);
        assert_eq!(best, told.pick);
        let guard = registry.reserve_worker_for_model(model);
        assert_eq!(guard.as_ref().map(|guard| guard.worker()), best.as_ref().map(|(_, worker)| &**worker));
        held.extend(guard);
    }
    assert_eq!(registry.stats().reservations_open, held.len() as u64);
    drop(held);
    assert_eq!(registry.stats().reservations_open, 0);
}

/// The same body read by the owned types; none where they refuse it, or where it is of both forms.
fn given_by_hand(named: &Named, body: &[u8]) -> Option<HiveRegistry> {
    let registry = with_one_hive();
    match (&named.hive_id, &named.hive) {
        (Some(id), None) => {
            let payload: HiveHeartbeatPayload = serde_json::from_slice(body).ok()?;
            registry.update_hive_state(id, payload).expect("what is taken as JSON is taken by hand");
        }
        (None, Some(_)) => {
            let heartbeat: HiveHeartbeat = serde_json::from_slice(body).ok()?;
            registry.update_hive(heartbeat).expect("what is taken as JSON is taken by hand");
        }
        _ => return None,
    }
    Some(registry)
}

fuzz_target!(|body: &[u8]| {
    let registry = with_one_hive();
    let before = registry.snapshot();
    match registry.ingest_json(body) {
        Err(error) => {
            assert!(!error.to_string().is_empty());
            assert_eq!(registry.snapshot(), before);
            assert_eq!(registry.stats().heartbeats.refused, 1);
        }
        Ok(outcome) => {
            // Nobody removed a hive, so no tombstone bars one.
            assert_ne!(outcome, HeartbeatOutcome::Removed);
            let new = outcome == HeartbeatOutcome::Registered;
            assert_eq!(registry.hive_count(), 1 + usize::from(new));
            // Its types may be stricter with fields that the form does not have.
            if let Ok(named) = serde_json::from_slice::<Named>(body) {
                let ids = [named.hive_id.as_deref(), named.hive.as_ref().map(|hive| &*hive.id)];
                assert!(ids.into_iter().flatten().any(|id| registry.get_hive_state(id).is_some()));
                if let Some(by_hand) = given_by_hand(&named, body) {
                    assert_eq!(registry.snapshot(), by_hand.snapshot());
                }
            }
        }
    }
    pick(&registry);
});
