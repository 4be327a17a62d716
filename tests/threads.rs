//! Everything at once from many threads, then every index against a scan (C3), and no reservation left (S6).
//!
//! `HIVE_THREADS_SECONDS` (2) says how long, `HIVE_THREADS_SEED` repeats a run's choices; the seed is printed.
#![cfg(not(loom))]

mod common;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use common::{Rng, T0, apply, beat, names, process, registry_with, stamp, telemetry, worker};
use hive_registry::{
    FeedError, HiveRegistry, LeastLoaded, ManualClock, Policy, PowerOfChoices, Random, RoundRobin,
    WorkerLifecycle, WorkerState,
};

const HIVES: usize = 24;
const MODELS: usize = 5;

/// Choices that repeat by seed.
struct Choices(Rng);

impl Choices {
    fn below(&mut self, bound: usize) -> usize {
        self.0.below(bound)
    }

    fn hive(&mut self) -> String {
        format!("h{:02}", self.below(HIVES))
    }

    fn model(&mut self) -> String {
        format!("m{}", self.below(MODELS))
    }

    fn workers(&mut self) -> Vec<WorkerState> {
        let mut ids: BTreeSet<usize> = BTreeSet::new();
        for _ in 0..self.below(6) {
            ids.insert(self.below(8));
        }
        let states = ["Idle", "Idle", "Busy", "Loading", "Draining"];
        let healths = ["healthy", "healthy", "degraded", "unhealthy"];
        ids.into_iter()
            .map(|id| WorkerState {
                state: states[self.below(5)].into(),
                health_status: healths[self.below(4)].into(),
                gpu_percent: Some(self.below(4) as f32),
                max_concurrency: [None, Some(1), Some(2), Some(8)][self.below(4)],
                ..worker(&format!("w{id}"), &self.model())
            })
            .collect()
    }
}

fn from_env(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(default)
}

#[test]
fn c3_after_writers_removers_evictors_and_reservers_every_index_equals_a_scan() {
    let seconds = from_env("HIVE_THREADS_SECONDS", 2);
    let clock_seed =
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(1, |d| d.as_micros());
    let seed = from_env("HIVE_THREADS_SEED", clock_seed as u64);
    println!("HIVE_THREADS_SEED={seed}");

    let (registry, clock) = registry_with(|builder| builder);
    let stop = AtomicBool::new(false);
    let feed = registry.subscribe(256);
    std::thread::scope(|scope| {
        let run = |number: u64, work: fn(&HiveRegistry, &ManualClock, &mut Choices)| {
            let (registry, clock, stop) = (&registry, &clock, &stop);
            scope.spawn(move || {
                let mut choices = Choices(Rng::new(seed.wrapping_add(number)));
                while !stop.load(Ordering::Relaxed) {
                    work(registry, clock, &mut choices);
                }
            });
        };
        for (number, work) in
            [write, write, remove, evict, reserve, reserve, lease, read].into_iter().enumerate()
        {
            run(number as u64 + 1, work);
        }
        // A reader that comes and goes with the events, and one that lags.
        let events = scope.spawn(|| {
            let mut last = 0;
            loop {
                match feed.next_timeout(Duration::from_millis(20)) {
                    Ok(event) => {
                        assert!(event.sequence > last, "events come in order");
                        last = event.sequence;
                    }
                    Err(FeedError::Timeout) if stop.load(Ordering::Relaxed) => break,
                    Err(FeedError::Closed) => break,
                    Err(_) => {}
                }
            }
        });
        std::thread::sleep(Duration::from_secs(seconds));
        stop.store(true, Ordering::Relaxed);
        events.join().expect("the reader saw events in order");
    });

    // Every guard was dropped; what is left are leases, which run out.
    clock.advance(Duration::from_secs(3_600));
    // A sweep gives back all of them.
    let _ = registry.evict_stale(Duration::MAX);
    assert_eq!(registry.stats().reservations_open, 0, "no reservation is left");
    equals_a_scan(&registry);

    // And it still works: everyone beats again, and each model's best is the best of a scan.
    let now = T0 + 1_000_000_000;
    clock.set(now);
    let mut choices = Choices(Rng::new(seed));
    for hive in 0..HIVES {
        apply(&registry, beat(&format!("h{hive:02}"), now, choices.workers()));
    }
    equals_a_scan(&registry);
    for model in 0..MODELS {
        picks_agree(&registry, &format!("m{model}"));
    }
}

fn write(registry: &HiveRegistry, clock: &ManualClock, choices: &mut Choices) {
    let hive = choices.hive();
    let at = hive_registry::Clock::wall_ms(clock) - choices.below(40_000) as i64;
    match choices.below(8) {
        0 => {
            let _ = registry.update_hive(telemetry(&hive, at, vec![process("g", "8080", &choices.model())]));
        }
        1 => {
            let _ = registry.update_workers(&hive, vec![process("g", "8081", &choices.model())]);
        }
        2 => {
            let body = format!(
                r#"{{"hive_id":"{hive}","timestamp":"{}","workers":[{{"worker_id":"w1","state":"Idle",
                   "last_heartbeat":"{}","health_status":"healthy","model_id":"{}"}}]}}"#,
                stamp(at),
                stamp(at),
                choices.model()
            );
            let _ = registry.ingest_json(body.as_bytes());
        }
        _ => {
            let _ = registry.update_hive_state(&hive, beat(&hive, at, choices.workers()));
        }
    }
}

fn remove(registry: &HiveRegistry, clock: &ManualClock, choices: &mut Choices) {
    registry.remove_hive(&choices.hive());
    // A removed hive is back as soon as it sends a later timestamp.
    match choices.below(20) {
        0 => clock.jump_wall(-(choices.below(20_000) as i64)),
        _ => clock.advance(Duration::from_millis(choices.below(40) as u64)),
    }
    std::thread::sleep(Duration::from_micros(200));
}

fn evict(registry: &HiveRegistry, _: &ManualClock, choices: &mut Choices) {
    let eviction = registry.evict_stale(Duration::from_millis(choices.below(2_000) as u64));
    assert!(eviction.hives <= HIVES);
    std::thread::sleep(Duration::from_micros(500));
}

fn reserve(registry: &HiveRegistry, _: &ManualClock, choices: &mut Choices) {
    let policies: [&dyn Policy; 4] = [&LeastLoaded, &PowerOfChoices { d: 2 }, &RoundRobin, &Random];
    let mut held = Vec::new();
    for _ in 0..choices.below(12) {
        held.extend(match choices.below(3) {
            0 => registry.reserve_with(&choices.model(), policies[choices.below(4)]),
            _ => registry.reserve_worker_for_model(&choices.model()),
        });
    }
    for reservation in &held {
        assert!(!reservation.worker().worker_id.is_empty());
    }
}

fn lease(registry: &HiveRegistry, _: &ManualClock, choices: &mut Choices) {
    let Some(lease) =
        registry.reserve_detached(&choices.model(), Duration::from_millis(choices.below(200) as u64))
    else {
        return;
    };
    if choices.below(2) == 0 {
        registry.renew_lease(lease.id, Duration::from_millis(choices.below(500) as u64));
    }
    if choices.below(2) == 0 {
        registry.release_lease(lease.id);
    }
}

fn read(registry: &HiveRegistry, _: &ManualClock, choices: &mut Choices) {
    let model = choices.model();
    let _ = registry.find_best_worker_for_model(&model);
    let _ = registry.find_workers_by_model(&model);
    let _ = registry.explain(&model);
    let _ = registry.get_worker("w1");
    let _ = registry.snapshot();
    let _ = registry.stats();
    let _ = registry.list_online_hives();
}

/// C3: every index against a scan of all hives.
fn equals_a_scan(registry: &HiveRegistry) {
    let snapshot = registry.snapshot();
    let of = |live: bool| {
        let hives = snapshot.hives.iter().filter(move |hive| hive.online || !live);
        hives.flat_map(|hive| &hive.workers).map(|worker| &worker.worker)
    };
    let all: Vec<_> = of(false).collect();
    let named = |worker: &std::sync::Arc<hive_registry::WorkerInfo>| {
        format!("{}/{}", worker.hive_id, worker.worker_id)
    };
    // C4.
    let found = |keep: &dyn Fn(&hive_registry::WorkerInfo) -> bool| -> Vec<String> {
        of(true).filter(|worker| keep(worker)).map(named).collect()
    };
    assert_eq!(registry.hive_count(), snapshot.hives.len());
    assert_eq!(registry.total_worker_count(), all.len());
    assert_eq!(
        names(registry.list_all_workers()),
        all.iter().map(|worker| named(worker)).collect::<Vec<_>>()
    );
    assert_eq!(names(registry.find_idle_workers()), found(&|worker| worker.state == WorkerLifecycle::Idle));
    for model in 0..MODELS {
        let model = format!("m{model}");
        let loaded = found(&|worker| worker.model_id.as_deref() == Some(&*model));
        assert_eq!(names(registry.find_workers_by_model(&model)), loaded);
    }
    for worker in &all {
        assert!(registry.get_worker(&worker.worker_id).is_some());
        let found = registry.get_worker_on(&worker.hive_id, &worker.worker_id);
        assert_eq!(found.as_ref(), Some(*worker));
    }
    for id in 0..8 {
        let id = format!("w{id}");
        assert_eq!(registry.get_worker(&id).is_some(), all.iter().any(|worker| worker.worker_id == id));
    }
}

/// S2, S3 by a scan; ties (S4) are told apart elsewhere.
fn picks_agree(registry: &HiveRegistry, model: &str) {
    let snapshot = registry.snapshot();
    let rank = |worker: &hive_registry::WorkerSnapshot| {
        let record = &worker.worker;
        let serves = matches!(record.state, WorkerLifecycle::Idle | WorkerLifecycle::Busy)
            && record.health_status.as_str() != "unhealthy"
            && record.max_concurrency.is_none_or(|max| worker.reservations < max);
        let rank =
            (record.health_status.as_str() != "healthy", worker.load, record.state == WorkerLifecycle::Busy);
        serves.then_some(rank)
    };
    let best_of = |keep: &dyn Fn(&hive_registry::WorkerInfo) -> bool| {
        let workers = snapshot.hives.iter().filter(|hive| hive.online).flat_map(|hive| &hive.workers);
        workers.filter(|worker| keep(&worker.worker)).filter_map(rank).min()
    };
    let expected = best_of(&|worker| worker.model_id.as_deref() == Some(model))
        .or_else(|| best_of(&|worker| worker.state == WorkerLifecycle::Idle));
    let found = registry.find_best_worker_for_model(model).map(|(_, found)| {
        let workers = snapshot.hives.iter().flat_map(|hive| &hive.workers);
        workers.filter(|worker| worker.worker == found).find_map(rank).expect("what is found is eligible")
    });
    assert_eq!(found, expected, "{model}");
}
