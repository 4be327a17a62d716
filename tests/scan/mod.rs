//! Every index against a scan of the snapshot, for registries fed by plain heartbeats.

#![cfg(not(loom))]

use std::collections::BTreeSet;
use std::sync::Arc;

use hive_registry::{HiveRegistry, WorkerHealth, WorkerInfo, WorkerLifecycle, WorkerSnapshot};

/// Lists, counts, explanations, picks and open reservations; nothing may run beside it. `models` are looked at
/// beside those that are loaded, so that what an index forgot to drop is met too.
#[track_caller]
pub fn assert_indexes_equal_a_scan(registry: &HiveRegistry, models: &[&str]) {
    let snapshot = registry.snapshot();
    let told: Vec<(bool, &WorkerSnapshot)> = snapshot
        .hives
        .iter()
        .flat_map(|hive| hive.workers.iter().map(|worker| (hive.online, worker)))
        .collect();
    let of = |workers: Vec<&Arc<WorkerInfo>>| -> Vec<_> {
        workers.into_iter().map(|worker| (worker.hive_id.clone(), worker.clone())).collect()
    };
    // C4.
    let found = |keep: &dyn Fn(&WorkerInfo) -> bool| {
        let live = told.iter().filter(|(online, told)| *online && keep(&told.worker));
        of(live.map(|(_, told)| &told.worker).collect())
    };
    let hives: Vec<_> = snapshot.hives.iter().map(|hive| hive.state.hive_id.clone()).collect();
    assert_eq!(registry.list_all_hives(), hives);
    assert_eq!((registry.hive_count(), registry.total_worker_count()), (hives.len(), told.len()));
    assert_eq!(registry.list_all_workers(), of(told.iter().map(|(_, told)| &told.worker).collect()));
    assert_eq!(registry.find_idle_workers(), found(&|worker| worker.state == WorkerLifecycle::Idle));
    assert_eq!(registry.count_online(), snapshot.hives.iter().filter(|hive| hive.online).count());
    for (_, told) in &told {
        let worker = &told.worker;
        assert_eq!(registry.get_worker_on(&worker.hive_id, &worker.worker_id).as_ref(), Some(worker));
        assert!(registry.get_worker(&worker.worker_id).is_some(), "{worker:?}");
    }
    let reserved: u64 = told.iter().map(|(_, told)| u64::from(told.reservations)).sum();
    assert_eq!(registry.stats().reservations_open, reserved);

    let loaded: BTreeSet<_> = told.iter().filter_map(|(_, told)| told.worker.model_id.as_deref()).collect();
    let debug = format!("{registry:?}");
    assert!(debug.contains(&format!("models: {},", loaded.len())), "{debug}, {} are loaded", loaded.len());
    for model in loaded.iter().chain(models) {
        let has = |worker: &WorkerInfo| worker.model_id.as_deref() == Some(*model);
        assert_eq!(registry.find_workers_by_model(model), found(&has));
        let of_model = || told.iter().filter(|(_, told)| has(&told.worker)).copied();
        let idle = || told.iter().filter(|(_, told)| told.worker.state == WorkerLifecycle::Idle).copied();
        let counted = |wanted: Standing| of_model().filter(|told| standing(*told) == wanted).count();
        let explained = registry.explain(model);
        assert_eq!(
            [
                explained.workers,
                explained.eligible,
                explained.stale,
                explained.unhealthy,
                explained.loading,
                explained.draining,
                explained.other,
                explained.full,
                explained.idle_fallbacks,
            ],
            [
                of_model().count(),
                counted(Standing::Eligible),
                counted(Standing::Stale),
                counted(Standing::Unhealthy),
                counted(Standing::Loading),
                counted(Standing::Draining),
                counted(Standing::Other),
                counted(Standing::Full),
                idle().filter(|told| standing(*told) == Standing::Eligible).count(),
            ],
            "{model}"
        );
        let eligible = |told: &(bool, &WorkerSnapshot)| standing(*told) == Standing::Eligible;
        let best_of_model = of_model().filter(eligible).map(rank).min();
        let rank = if best_of_model.is_some() { rank } else { rank_as_fallback };
        let best = best_of_model.or_else(|| idle().filter(eligible).map(rank).min());
        for found in [explained.pick, registry.find_best_worker_for_model(model)] {
            let found = found.map(|(_, found)| {
                let of = told.iter().find(|(_, told)| Arc::ptr_eq(&told.worker, &found));
                rank(*of.expect("what is found is in the snapshot"))
            });
            assert_eq!(found, best, "{model}");
        }
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Standing {
    Eligible,
    Stale,
    Unhealthy,
    Loading,
    Draining,
    Other,
    Full,
}

fn standing((online, told): (bool, &WorkerSnapshot)) -> Standing {
    let worker = &told.worker;
    match worker.state {
        _ if !online => Standing::Stale,
        _ if worker.health_status == WorkerHealth::Unhealthy => Standing::Unhealthy,
        WorkerLifecycle::Loading => Standing::Loading,
        WorkerLifecycle::Draining => Standing::Draining,
        WorkerLifecycle::Idle | WorkerLifecycle::Busy => {
            let full = worker.max_concurrency.is_some_and(|max| told.reservations >= max);
            if full { Standing::Full } else { Standing::Eligible }
        }
        _ => Standing::Other,
    }
}

/// S2 to S4; ties are told apart elsewhere.
fn rank((_, told): (bool, &WorkerSnapshot)) -> (bool, u64, bool) {
    let worker = &told.worker;
    (worker.health_status != WorkerHealth::Healthy, told.load, worker.state == WorkerLifecycle::Busy)
}

fn rank_as_fallback((_, told): (bool, &WorkerSnapshot)) -> (bool, u64, bool) {
    let worker = &told.worker;
    (worker.health_status != WorkerHealth::Healthy, told.load, worker.model_id.is_some())
}
