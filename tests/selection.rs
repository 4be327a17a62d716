//! Who is picked, and how picks are counted: one or more tests for each of S1 to S9 of the design.

#![cfg(not(loom))]

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::thread;
use std::time::Duration;

use chrono::{DateTime, Utc};
use common::{
    Rng, T0, apply, bare_worker, beat, name, process, registry, registry_with, telemetry, worker, worker_in,
};
use hive_registry::{
    Candidates, HiveHealth, HiveRegistry, LeastLoaded, ManualClock, OperationalStatus, Policy,
    PowerOfChoices, Random, Reservation, RoundRobin, StaleMode, WorkerSnapshot, WorkerState,
};

const LEASE: Duration = Duration::from_secs(10);

/// One live hive "h".
fn hive(workers: Vec<WorkerState>) -> (HiveRegistry, ManualClock) {
    let (registry, clock) = registry();
    apply(&registry, beat("h", T0, workers));
    (registry, clock)
}

fn at(id: &str, gpu: f32) -> WorkerState {
    WorkerState { gpu_percent: Some(gpu), ..worker(id, "m") }
}

fn limited(id: &str, max: u32) -> WorkerState {
    WorkerState { max_concurrency: Some(max), ..at(id, 0.0) }
}

fn feeling(health: &str, worker: WorkerState) -> WorkerState {
    WorkerState { health_status: health.into(), ..worker }
}

fn best(registry: &HiveRegistry, model: &str) -> Option<String> {
    name(registry.find_best_worker_for_model(model))
}

/// Reserves and releases: only the turn moves.
fn touch(registry: &HiveRegistry, model: &str) -> Option<String> {
    let held = registry.reserve_worker_for_model(model)?;
    Some(held.worker().worker_id.to_string())
}

const POLICIES: [&dyn Policy; 4] = [&LeastLoaded, &PowerOfChoices { d: 2 }, &RoundRobin, &Random];

/// What every way of picking answers, each released again.
fn picks(registry: &HiveRegistry, model: &str) -> Vec<Option<String>> {
    let mut found = vec![best(registry, model), name(registry.explain(model).pick), {
        let lease = registry.reserve_detached(model, LEASE);
        lease.map(|lease| {
            assert!(registry.release_lease(lease.id));
            format!("{}/{}", lease.hive_id, lease.worker.worker_id)
        })
    }];
    // One at a time: each is released before the next is asked for.
    let mut tell = |held: Option<Reservation>| {
        found.push(held.map(|held| format!("{}/{}", held.hive_id(), held.worker().worker_id)));
    };
    tell(registry.reserve_worker_for_model(model));
    for policy in POLICIES {
        tell(registry.reserve_with(model, policy));
    }
    found.extend(POLICIES.map(|policy| name(registry.pick(model, policy))));
    found
}

#[track_caller]
fn assert_never_picked(registry: &HiveRegistry, model: &str) {
    assert!(picks(registry, model).iter().all(Option::is_none), "{:?}", picks(registry, model));
}

#[track_caller]
fn assert_picked(registry: &HiveRegistry, model: &str) {
    assert!(picks(registry, model).iter().all(Option::is_some), "{:?}", picks(registry, model));
}

fn told(registry: &HiveRegistry, id: &str) -> WorkerSnapshot {
    let workers = registry.snapshot().hives.into_iter().flat_map(|hive| hive.workers);
    workers.into_iter().find(|told| told.worker.worker_id == id).expect("the worker is registered")
}

fn open(registry: &HiveRegistry) -> u64 {
    registry.stats().reservations_open
}

// === S1 ===

#[test]
fn s1_loading_draining_and_other_states_are_never_picked() {
    for state in ["Loading", "starting", "Draining", "stopping", "STOPPED", "warming up"] {
        let (registry, _) = hive(vec![worker_in(state, "w", "m")]);
        assert_never_picked(&registry, "m");
        assert_never_picked(&registry, "absent");
    }
    for state in ["idle", "Ready", "bUSY"] {
        assert_picked(&hive(vec![worker_in(state, "w", "m")]).0, "m");
    }
    assert_never_picked(&hive(vec![worker_in("Busy", "w", "m")]).0, "absent");
}

#[test]
fn s1_an_unhealthy_worker_is_never_picked() {
    let (registry, _) = hive(vec![feeling("Unhealthy", worker("w", "m"))]);
    assert_never_picked(&registry, "m");
    assert_never_picked(&registry, "absent");
    apply(&registry, beat("h", T0 + 1, vec![worker("w", "m")]));
    assert_picked(&registry, "m");
    apply(&registry, beat("h", T0 + 2, vec![feeling("unhealthy", worker("w", "m"))]));
    assert_never_picked(&registry, "m");
}

#[test]
fn s1_workers_of_a_hive_that_is_not_up_or_unhealthy_are_never_picked() {
    let (registry, _) = registry();
    let reason = || "why".into();
    let cases = [
        (OperationalStatus::Ready, HiveHealth::Healthy, true),
        (OperationalStatus::Stopping, HiveHealth::Healthy, false),
        (OperationalStatus::Busy, HiveHealth::Healthy, true),
        (OperationalStatus::Stopped, HiveHealth::Healthy, false),
        (OperationalStatus::Starting, HiveHealth::Healthy, false),
        (OperationalStatus::Ready, HiveHealth::Unhealthy { reason: reason() }, false),
        (OperationalStatus::Ready, HiveHealth::Degraded { reason: reason() }, true),
    ];
    for (at, (status, health, picked)) in (T0..).zip(cases) {
        let mut heartbeat = telemetry("h", at, vec![process("llm", "1", "m")]);
        heartbeat.hive.operational_status = status;
        heartbeat.hive.health_status = health;
        registry.update_hive(heartbeat).expect("it is valid");
        let check = if picked { assert_picked } else { assert_never_picked };
        check(&registry, "m");
        check(&registry, "absent");
    }
}

#[test]
fn s1_a_full_worker_is_never_picked() {
    let (registry, _) = hive(vec![limited("w", 2)]);
    let first = registry.reserve_worker_for_model("m");
    assert_picked(&registry, "m");
    let second = registry.reserve_worker_for_model("absent");
    assert!(first.is_some() && second.is_some());
    assert_never_picked(&registry, "m");
    assert_never_picked(&registry, "absent");
    drop(second);
    assert_picked(&registry, "m");
    assert_picked(&registry, "absent");
}

#[test]
fn s1_a_worker_of_a_silent_hive_is_never_picked() {
    let (registry, clock) = hive(vec![worker("w", "m")]);
    clock.advance(Duration::from_millis(29_999));
    assert_picked(&registry, "m");
    clock.advance(Duration::from_millis(1));
    assert_never_picked(&registry, "m");
    assert_never_picked(&registry, "absent");
    apply(&registry, beat("h", T0 + 30_000, vec![worker("w", "m")]));
    assert_picked(&registry, "m");

    let (registry, clock) = registry_with(|builder| builder.stale_mode(StaleMode::Ignore));
    apply(&registry, beat("h", T0, vec![worker("w", "m")]));
    clock.advance(Duration::from_secs(86_400));
    assert_picked(&registry, "m");
}

// === S2 ===

#[test]
fn s2_healthy_comes_before_degraded_whatever_the_load() {
    let (registry, _) = hive(vec![feeling("degraded", at("a", 0.0)), at("b", 99.0)]);
    assert_eq!(best(&registry, "m").as_deref(), Some("h/b"));
    assert_eq!(touch(&registry, "m").as_deref(), Some("b"));
}

#[test]
fn s2_an_unknown_health_ranks_as_degraded() {
    let degraded = |gpu| feeling("degraded", at("d", gpu));
    let (registry, _) = hive(vec![degraded(20.0), feeling("feverish", at("o", 10.0))]);
    assert_eq!(best(&registry, "m").as_deref(), Some("h/o"));
    apply(&registry, beat("h", T0 + 1, vec![degraded(5.0), feeling("feverish", at("o", 10.0))]));
    assert_eq!(best(&registry, "m").as_deref(), Some("h/d"));
    let workers = vec![degraded(5.0), at("healthy", 100.0), feeling("feverish", at("o", 1.0))];
    apply(&registry, beat("h", T0 + 2, workers));
    assert_eq!(best(&registry, "m").as_deref(), Some("h/healthy"));
}

#[test]
fn s2_the_lowest_load_wins_across_hives() {
    let (registry, _) = hive(vec![at("a", 30.0), at("b", 20.5)]);
    apply(
        &registry,
        beat("g", T0, vec![at("c", 20.25), WorkerState { state: "Busy".into(), ..at("d", 20.0) }]),
    );
    assert_eq!(best(&registry, "m").as_deref(), Some("g/d"), "load before state");
    registry.remove_hive("g");
    assert_eq!(best(&registry, "m").as_deref(), Some("h/b"));
}

#[test]
fn s2_falls_back_to_an_idle_worker_of_any_model_or_none() {
    let of = |id: &str, gpu, model: &str| WorkerState { model_id: Some(model.into()), ..at(id, gpu) };
    let busy = WorkerState { state: "Busy".into(), ..of("busy", 0.0, "n") };
    let (registry, _) = hive(vec![busy, bare_worker("bare")]);
    assert_eq!(best(&registry, "m").as_deref(), Some("h/bare"), "it has no model");
    apply(&registry, beat("g", T0, vec![of("x", 0.0, "n"), feeling("degraded", of("y", 0.0, "o"))]));
    assert_eq!(best(&registry, "m").as_deref(), Some("h/bare"), "S4: x would have to unload its own");
    let used = WorkerState { gpu_percent: Some(30.1), ..bare_worker("bare") };
    apply(&registry, beat("h", T0 + 1, vec![used]));
    apply(&registry, beat("g", T0 + 1, vec![of("x", 30.0, "n"), feeling("degraded", of("y", 0.0, "o"))]));
    assert_eq!(best(&registry, "m").as_deref(), Some("g/x"), "healthy first, then the lowest load");
    // A degraded one with the model loaded comes before a healthy one without.
    apply(&registry, beat("f", T0, vec![feeling("degraded", at("z", 100.0))]));
    assert_eq!(best(&registry, "m").as_deref(), Some("f/z"));
    assert_eq!(best(&registry, "absent").as_deref(), Some("g/x"));
}

// === S3 ===

#[test]
fn s3_load_is_what_is_reserved_before_what_was_reported() {
    // 1,001 x floor(2^20 x reservations / limit) + floor(10 x percent).
    let cases = [
        // state, gpu, limit, loads with 0, 1, 2 reservations
        ("Busy", Some(33.25), Some(3), [332, 332 + 1_001 * 349_525, 332 + 1_001 * 699_050]),
        ("Idle", Some(0.0), Some(7), [0, 1_001 * 149_796, 1_001 * 299_593]),
        ("Busy", Some(99.999_9), Some(4), [999, 999 + 1_001 * 262_144, 999 + 1_001 * 524_288]),
        ("Busy", Some(250.0), Some(4), [1_000, 1_000 + 1_001 * 262_144, 1_000 + 1_001 * 524_288]),
        ("Busy", None, Some(4), [1_000, 1_000 + 1_001 * 262_144, 1_000 + 1_001 * 524_288]),
        ("Idle", None, Some(4), [0, 1_001 * 262_144, 1_001 * 524_288]),
        // Ranked as if it took 16 at once.
        ("Busy", Some(12.5), None, [125, 125 + 1_001 * 65_536, 125 + 1_001 * 131_072]),
        ("Idle", None, Some(u32::MAX), [0, 0, 0]),
    ];
    for (state, gpu_percent, max_concurrency, loads) in cases {
        let told_of_it = WorkerState { gpu_percent, max_concurrency, ..worker_in(state, "w", "m") };
        let (registry, _) = hive(vec![told_of_it]);
        let mut held = Vec::new();
        for (reservations, load) in (0..).zip(loads) {
            let seen = told(&registry, "w");
            assert_eq!((seen.load, seen.reservations), (load, reservations));
            let by_policy = Mutex::new(None);
            let policy = choose(|candidates| {
                *by_policy.lock().unwrap() = candidates.get(0).map(|found| (found.load, found.reservations));
                Some(0)
            });
            held.extend(registry.reserve_with("m", &policy));
            assert_eq!(by_policy.into_inner().unwrap(), Some((load, reservations)));
        }
        assert_eq!(held.len(), 3);
    }
}

#[test]
fn s3_a_reservation_weighs_more_than_any_report() {
    let (registry, _) =
        hive(vec![WorkerState { max_concurrency: Some(4_000), ..at("a", 0.0) }, at("b", 100.0)]);
    let _held = registry.reserve_worker_for_model("m");
    assert_eq!(best(&registry, "m").as_deref(), Some("h/b"), "a has one of its 4,000 places taken");
    let _held = [(); 2].map(|()| registry.reserve_worker_for_model("m"));
    assert_eq!(best(&registry, "m").as_deref(), Some("h/a"), "2 of 4,000 against 1 of 16");
}

#[test]
fn s3_the_assumed_concurrency_can_be_set() {
    let (registry, _) = registry_with(|builder| builder.assumed_concurrency(2));
    apply(&registry, beat("h", T0, vec![at("a", 0.0), limited("b", 8)]));
    let picked: Vec<_> = (0..5).filter_map(|_| registry.reserve_worker_for_model("m")).collect();
    let ids: Vec<_> = picked.iter().map(|held| held.worker().worker_id.as_str()).collect();
    assert_eq!(ids, ["a", "b", "b", "b", "b"], "one of 2 weighs as four of 8; nothing limits a");
}

// === S4 ===

#[test]
fn s4_ties_go_by_state_then_turn_then_registration() {
    let (registry, _) = hive(vec![worker_in("Busy", "a", "m"), worker("b", "m"), worker("c", "m")]);
    apply(&registry, beat("g", T0, vec![worker("0", "m")]));
    let order: Vec<_> = (0..5).filter_map(|_| touch(&registry, "m")).collect();
    assert_eq!(
        order,
        ["b", "c", "0", "b", "c"],
        "never reserved first, in the order they came; then in turn"
    );
    assert_eq!(best(&registry, "m").as_deref(), Some("g/0"));
    // The registry has one turn: a reservation as fallback counts too.
    assert_eq!(touch(&registry, "absent").as_deref(), Some("0"));
    assert_eq!(best(&registry, "m").as_deref(), Some("h/b"));
    // One that comes back is a new one: never reserved.
    apply(&registry, beat("g", T0 + 1, vec![]));
    apply(&registry, beat("g", T0 + 2, vec![worker("0", "m")]));
    assert_eq!(best(&registry, "m").as_deref(), Some("g/0"));
    // Busy comes after idle, though it was never reserved.
    registry.remove_hive("g");
    apply(&registry, beat("h", T0 + 3, vec![worker_in("Busy", "a", "m"), worker("b", "m")]));
    assert_eq!(best(&registry, "m").as_deref(), Some("h/b"));
}

#[test]
fn s4_a_tie_seed_shuffles_who_was_never_reserved() {
    let ids: Vec<_> = (0..64).map(|n| format!("w{n:02}")).collect();
    let order = |seed: Option<u64>| -> Vec<String> {
        let (registry, _) = registry_with(|builder| match seed {
            Some(seed) => builder.tie_seed(seed),
            None => builder,
        });
        apply(&registry, beat("h", T0, ids.iter().map(|id| worker(id, "m")).collect()));
        (0..64).filter_map(|_| touch(&registry, "m")).collect()
    };
    assert_eq!(order(None), ids);
    let (one, other) = (order(Some(1)), order(Some(2)));
    assert!(one != ids && other != ids && one != other);
    assert_eq!(one, order(Some(1)), "a seed is an order");
    for shuffled in [one, other] {
        assert_eq!(shuffled.into_iter().collect::<BTreeSet<_>>(), ids.iter().cloned().collect());
    }
}

#[test]
fn s4_a_find_moves_no_turn() {
    let (registry, _) = hive(vec![worker("a", "m"), worker("b", "m")]);
    for _ in 0..10 {
        assert_eq!(best(&registry, "m").as_deref(), Some("h/a"));
        assert_eq!(name(registry.pick("m", &LeastLoaded)).as_deref(), Some("h/a"));
        assert_eq!(name(registry.explain("m").pick).as_deref(), Some("h/a"));
    }
    assert_eq!(touch(&registry, "m").as_deref(), Some("a"));
    assert_eq!(best(&registry, "m").as_deref(), Some("h/b"));
}

// === S5 ===

#[test]
fn s5_256_calls_over_four_idle_workers_give_64_each() {
    for limit in [None, Some(64), Some(100)] {
        let workers = ["a", "b", "c", "d"];
        let of = |id: &&str| WorkerState { max_concurrency: limit, ..at(id, 0.0) };
        let (registry, _) = hive(workers.iter().map(of).collect());
        let held: Vec<_> = thread::scope(|scope| {
            let call = || (0..32).filter_map(|_| registry.reserve_worker_for_model("m")).collect::<Vec<_>>();
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(call)).collect();
            threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
        });
        let mut each = BTreeMap::new();
        for held in &held {
            *each.entry(held.worker().worker_id.to_string()).or_insert(0) += 1;
        }
        assert_eq!(each, workers.map(|id| (id.to_string(), 64)).into(), "limit {limit:?}");
        assert_eq!(open(&registry), 256);
        assert_eq!(registry.reserve_worker_for_model("m").is_some(), limit != Some(64));
        drop(held);
        assert_eq!(open(&registry), 0);
    }
}

#[test]
fn s5_a_limit_is_never_exceeded_by_any_path() {
    let limits = [3, 5, 1, 2];
    let workers = |gpu: f32| {
        let of = |(id, max): (usize, u32)| WorkerState {
            gpu_percent: Some(gpu),
            model_id: Some(["m", "n"][id % 2].into()),
            ..limited(&id.to_string(), max)
        };
        (0..).zip(limits).map(of).collect::<Vec<_>>()
    };
    let (registry, _) = hive(workers(0.0));
    let held = limits.map(|_| AtomicU32::new(0));
    let took = |id: &str| {
        let at: usize = id.parse().unwrap();
        assert!(held[at].fetch_add(1, SeqCst) < limits[at], "worker {id} holds too many");
        at
    };
    thread::scope(|scope| {
        for seed in 0..8 {
            let (registry, held, took) = (&registry, &held, &took);
            scope.spawn(move || {
                let mut rng = Rng::new(seed);
                let mut mine = Vec::new();
                for step in 0..400 {
                    let model = ["m", "n", "absent"][rng.below(3)];
                    match rng.below(8) {
                        0 | 1 => mine.extend(
                            registry
                                .reserve_worker_for_model(model)
                                .map(|r| (took(&r.worker().worker_id), Ok(r))),
                        ),
                        2 | 3 => {
                            let policy = POLICIES[rng.below(4)];
                            mine.extend(
                                registry
                                    .reserve_with(model, policy)
                                    .map(|r| (took(&r.worker().worker_id), Ok(r))),
                            );
                        }
                        4 => mine.extend(
                            registry
                                .reserve_detached(model, LEASE)
                                .map(|l| (took(&l.worker.worker_id), Err(l.id))),
                        ),
                        5 if seed == 0 => {
                            _ = apply(registry, beat("h", T0 + step, workers(step as f32 % 7.0)))
                        }
                        _ if mine.is_empty() => {}
                        _ => {
                            let (at, hold) = mine.swap_remove(rng.below(mine.len()));
                            held[at].fetch_sub(1, SeqCst);
                            match hold {
                                Ok(reservation) => reservation.release(),
                                Err(lease) => assert!(registry.release_lease(lease)),
                            }
                        }
                    }
                }
                for (at, hold) in mine {
                    held[at].fetch_sub(1, SeqCst);
                    hold.map_or_else(|lease| assert!(registry.release_lease(lease)), drop);
                }
            });
        }
    });
    assert_eq!(open(&registry), 0);
    assert!((0..4).all(|at| told(&registry, &at.to_string()).reservations == 0));
    let all: Vec<_> = std::iter::from_fn(|| registry.reserve_worker_for_model("m")).collect();
    assert_eq!(all.len(), 11, "every place can be taken again");
}

#[test]
fn s5_a_lowered_limit_admits_nobody_until_enough_are_released() {
    let (registry, _) = hive(vec![limited("w", 4)]);
    let mut held: Vec<_> = std::iter::from_fn(|| registry.reserve_worker_for_model("m")).collect();
    assert_eq!(held.len(), 4);
    apply(&registry, beat("h", T0 + 1, vec![limited("w", 2)]));
    for _ in 0..2 {
        held.pop();
        assert_never_picked(&registry, "m");
    }
    held.pop();
    assert_picked(&registry, "m");
    apply(&registry, beat("h", T0 + 2, vec![limited("w", 3)]));
    held.extend(std::iter::from_fn(|| registry.reserve_worker_for_model("m")));
    assert_eq!(held.len(), 3, "a raised limit admits at once");
}

// === S6 ===

#[test]
fn s6_a_reservation_is_released_once_by_drop_or_by_release() {
    let (registry, _) = hive(vec![limited("w", 3)]);
    let mut held: Vec<_> = std::iter::from_fn(|| registry.reserve_worker_for_model("m")).collect();
    assert_eq!((held[0].hive_id().as_str(), held[0].worker().worker_id.as_str()), ("h", "w"));
    assert_eq!(told(&registry, "w").reservations, 3);
    held.pop().unwrap().release();
    assert_eq!(told(&registry, "w").reservations, 2);
    drop(held.pop());
    assert_eq!((told(&registry, "w").reservations, open(&registry)), (1, 1));
    let lease = registry.reserve_detached("m", LEASE).unwrap();
    assert!(registry.release_lease(lease.id) && !registry.release_lease(lease.id));
    assert!(!registry.release_lease(lease.id + 1), "there never was one");
    assert_eq!((told(&registry, "w").reservations, open(&registry)), (1, 1));
    // Held by another thread, past the registry's last handle.
    thread::spawn(move || drop((registry, held))).join().unwrap();
}

#[test]
fn s6_release_is_a_no_op_for_a_worker_that_has_gone_or_come_back() {
    let (registry, clock) = hive(vec![limited("w", 4)]);
    let mut late = T0;
    let ends: [&dyn Fn(); 2] =
        [&|| _ = apply(&registry, beat("h", T0 + 1, vec![])), &|| assert!(registry.remove_hive("h"))];
    for end in ends {
        let (guard, lease) = (registry.reserve_worker_for_model("m"), registry.reserve_detached("m", LEASE));
        let (gone, gone_lease) =
            (registry.reserve_worker_for_model("m"), registry.reserve_detached("m", LEASE));
        assert_eq!(open(&registry), 4);
        end();
        assert_eq!(open(&registry), 0, "the registration took them with it");
        drop(gone);
        assert!(!registry.release_lease(gone_lease.unwrap().id));
        clock.advance(Duration::from_secs(1));
        late += 1_000;
        apply(&registry, beat("h", late, vec![limited("w", 4)]));
        assert_eq!(told(&registry, "w").reservations, 0);
        let own = registry.reserve_worker_for_model("m");
        let lease = lease.unwrap().id;
        assert!(registry.renew_lease(lease, LEASE).is_none() && !registry.release_lease(lease));
        drop(guard);
        assert_eq!((told(&registry, "w").reservations, open(&registry)), (1, 1));
        // The old lease running out touches nobody either.
        clock.advance(LEASE);
        late += 10_000;
        apply(&registry, beat("h", late, vec![limited("w", 4)]));
        assert_eq!((told(&registry, "w").reservations, open(&registry)), (1, 1));
        drop(own);
        assert_eq!((told(&registry, "w").reservations, open(&registry)), (0, 0));
        apply(&registry, beat("h", late, vec![limited("w", 4)]));
    }
}

#[test]
fn s6_a_heartbeat_never_clears_reservations() {
    let (registry, clock) = hive(vec![limited("w", 5)]);
    let held = [registry.reserve_worker_for_model("m"), registry.reserve_worker_for_model("m")];
    let lease = registry.reserve_detached("m", Duration::from_secs(600)).expect("there is room");
    let variants = [
        limited("w", 5),
        at("w", 50.0),
        worker_in("Loading", "w", "m"),
        WorkerState { model_id: Some("n".into()), ..limited("w", 5) },
        WorkerState { model_id: None, ..limited("w", 1) },
        feeling("unhealthy", limited("w", 5)),
        limited("w", 5),
    ];
    for worker in variants {
        clock.advance(Duration::from_secs(40));
        let now = registry.snapshot().taken_at_ms;
        apply(&registry, beat("h", now, vec![worker]));
        assert_eq!((told(&registry, "w").reservations, open(&registry)), (3, 3));
    }
    let fourth = registry.reserve_worker_for_model("m");
    assert_eq!((told(&registry, "w").reservations, fourth.is_some()), (4, true));
    drop(fourth);
    drop(held);
    assert!(registry.release_lease(lease.id));
    assert_eq!((told(&registry, "w").reservations, told(&registry, "w").load), (0, 0));
}

#[test]
fn s6_a_lease_run_out_counts_in_no_call_begun_afterwards() {
    type Call = (&'static str, fn(&HiveRegistry) -> bool);
    let calls: [Call; 10] = [
        ("find", |registry| best(registry, "m").is_some()),
        ("find by fallback", |registry| best(registry, "absent").is_some()),
        ("reserve", |registry| registry.reserve_worker_for_model("m").is_some()),
        ("detached", |registry| registry.reserve_detached("m", LEASE).is_some()),
        ("pick", |registry| registry.pick("m", &Random).is_some()),
        ("reserve_with", |registry| registry.reserve_with("m", &RoundRobin).is_some()),
        ("explain", |registry| registry.explain("m").full == 0 && registry.explain("m").eligible == 1),
        ("snapshot", |registry| told(registry, "w").reservations == 0),
        ("stats", |registry| open(registry) == 0),
        ("candidates", |registry| {
            let first = Mutex::new(None);
            let policy = choose(|candidates| {
                *first.lock().unwrap() = candidates.get(0).map(|found| found.reservations);
                None
            });
            let _ = registry.pick("m", &policy);
            first.into_inner().unwrap() == Some(0)
        }),
    ];
    for (call, fresh) in calls {
        let (registry, clock) = hive(vec![limited("w", 1)]);
        let lease = registry.reserve_detached("m", LEASE).expect("there is room");
        assert_eq!(lease.expires_at.timestamp_millis(), T0 + 10_000);
        clock.advance(Duration::from_millis(9_999));
        assert!(!fresh(&registry), "{call}: it is held for one millisecond more");
        clock.advance(Duration::from_millis(1));
        assert!(fresh(&registry), "{call}: it has run out");
        assert!(registry.renew_lease(lease.id, LEASE).is_none() && !registry.release_lease(lease.id));
    }
}

#[test]
fn s6_a_renewed_lease_runs_from_now() {
    let (registry, clock) = hive(vec![limited("w", 1)]);
    let id = registry.reserve_detached("m", LEASE).expect("there is room").id;
    clock.advance(Duration::from_secs(9));
    let expires_at = |renewed: Option<DateTime<Utc>>| renewed.map(|at| at.timestamp_millis());
    assert_eq!(expires_at(registry.renew_lease(id, LEASE)), Some(T0 + 19_000));
    clock.advance(Duration::from_secs(9));
    assert_eq!(open(&registry), 1);
    let shortened = registry.renew_lease(id, Duration::from_secs(1));
    assert_eq!(expires_at(shortened), Some(T0 + 19_000), "it may be shortened, too");
    clock.jump_wall(3_600_000);
    assert_eq!(open(&registry), 1, "no wall clock ends a lease");
    clock.advance(Duration::from_secs(1));
    assert!(registry.renew_lease(id, LEASE).is_none());
    assert_eq!(open(&registry), 0);
    apply(&registry, beat("h", T0 + 3_700_000, vec![limited("w", 1)]));
    let forever = registry.reserve_detached("m", Duration::MAX).expect("there is room");
    clock.advance(Duration::from_secs(1 << 32));
    assert_eq!(open(&registry), 1);
    assert!(registry.release_lease(forever.id));
}

#[test]
fn s6_a_guard_never_runs_out() {
    let (registry, clock) = hive(vec![limited("w", 1)]);
    let held = registry.reserve_worker_for_model("m");
    clock.advance(Duration::from_secs(10 * 365 * 86_400));
    let now = registry.snapshot().taken_at_ms;
    apply(&registry, beat("h", now, vec![limited("w", 1)]));
    assert_never_picked(&registry, "m");
    drop(held);
    assert_picked(&registry, "m");
}

#[test]
fn s6_removal_and_eviction_end_reservations() {
    for evict in [false, true] {
        let (registry, clock) = hive(vec![limited("v", 1), limited("w", 2)]);
        let held: Vec<_> = std::iter::from_fn(|| registry.reserve_worker_for_model("m")).collect();
        assert_eq!((held.len(), open(&registry)), (3, 3));
        clock.advance(Duration::from_secs(60));
        if evict {
            assert_eq!(registry.evict_stale(Duration::from_secs(60)).hives, 1);
        } else {
            assert!(registry.remove_hive("h"));
        }
        assert_eq!(open(&registry), 0);
        assert_eq!(held[0].worker().worker_id, "v", "its record stays readable");
        drop(held);
        assert_eq!(open(&registry), 0);
    }
}

#[test]
fn s6_a_call_gives_back_64_at_most_and_a_sweep_all() {
    let (registry, clock) = hive((0..1_000).map(|n| limited(&format!("w{n:03}"), 1)).collect());
    let leases: Vec<_> =
        (0..1_000).filter_map(|_| registry.reserve_detached("m", Duration::from_secs(5))).collect();
    assert_eq!((leases.len(), open(&registry)), (1_000, 1_000));
    clock.advance(Duration::from_secs(5));
    let mut before = open(&registry);
    // The question itself is a call.
    assert!(before >= 1_000 - 64, "{before} are left");
    for _ in 0..5 {
        assert!(registry.find_best_worker_for_model("m").is_some());
        let after = open(&registry);
        assert!(after < before && before - after <= 2 * 64, "{before}, then {after}");
        before = after;
    }
    assert_eq!(registry.evict_stale(Duration::MAX).hives, 0);
    assert_eq!(open(&registry), 0);
    assert!(!leases.iter().any(|lease| registry.release_lease(lease.id)), "they ran out");
}

#[test]
fn s6_nobody_is_told_none_while_a_place_has_run_out() {
    let by_policy = choose(|candidates| candidates.get(0).map(|_| 0));
    type Call<'c> = &'c dyn Fn(&HiveRegistry) -> Option<String>;
    let calls: [Call<'_>; 5] = [
        &|registry| name(registry.find_best_worker_for_model("m")),
        &|registry| name(registry.model("m").expect("it is known").find_best_worker()),
        &|registry| name(registry.pick("m", &by_policy)),
        &|registry| name(registry.explain("m").pick),
        &|registry| {
            let held = registry.reserve_worker_for_model("m");
            held.map(|held| format!("{}/{}", held.hive_id(), held.worker().worker_id))
        },
    ];
    for call in calls {
        // So many leases of others run out first that a call, which gives back few, comes late to those of "m".
        let (registry, clock) = hive(vec![WorkerState { model_id: Some("n".into()), ..limited("a", 2_000) }]);
        let others: Vec<_> =
            (0..2_000).filter_map(|_| registry.reserve_detached("n", Duration::from_secs(1))).collect();
        apply(&registry, beat("g", T0, vec![worker_in("Busy", "spare", "o"), limited("m", 1)]));
        let lease = registry.reserve_detached("m", Duration::from_secs(2)).expect("it is free");
        assert_eq!((others.len(), &*lease.worker.worker_id), (2_000, "m"));
        assert_eq!(registry.find_best_worker_for_model("m"), None);
        clock.advance(Duration::from_secs(2));
        assert_eq!(call(&registry).as_deref(), Some("g/m"));
        assert!(open(&registry) > 1_000, "of the others most are not given back yet");
    }
}

#[test]
fn s6_ids_of_leases_begin_at_a_random_place() {
    let first = || {
        let registry = HiveRegistry::new();
        let now = chrono::Utc::now().timestamp_millis();
        apply(&registry, beat("h", now, vec![worker("w", "m")]));
        registry.reserve_detached("m", Duration::from_secs(5)).expect("it is idle").id
    };
    let (one, other) = (first(), first());
    assert!(one.abs_diff(other) > 1_000 && one > 1_000, "{one} and {other}");
}

// === S8 ===

/// A policy from a closure.
struct Choose<F>(F);

fn choose<F: Fn(&Candidates<'_>) -> Option<usize> + Send + Sync>(f: F) -> Choose<F> {
    Choose(f)
}

impl<F: Fn(&Candidates<'_>) -> Option<usize> + Send + Sync> Policy for Choose<F> {
    fn choose(&self, candidates: &Candidates<'_>) -> Option<usize> {
        (self.0)(candidates)
    }
}

/// Workers "0" to "{n - 1}" of model m, each with more load than the one before.
fn graded(n: usize) -> Vec<WorkerState> {
    (0..n).map(|id| at(&id.to_string(), id as f32)).collect()
}

/// How often each worker is chosen in `n` picks.
fn tally(registry: &HiveRegistry, policy: &dyn Policy, n: usize) -> BTreeMap<String, usize> {
    let mut each = BTreeMap::new();
    for _ in 0..n {
        let (_, chosen) = registry.pick("m", policy).expect("there are candidates");
        *each.entry(chosen.worker_id.to_string()).or_default() += 1;
    }
    each
}

#[test]
fn s8_power_of_choices_takes_the_best_of_those_it_drew() {
    let (registry, _) = hive(graded(10));
    let two = tally(&registry, &PowerOfChoices { d: 2 }, 1_000);
    assert_eq!(two.len(), 9, "all but the worst of ten, which loses whatever it is drawn with: {two:?}");
    assert!(!two.contains_key("9") && two["0"] > two["8"], "{two:?}");
    for d in [10, 11, usize::MAX] {
        assert_eq!(tally(&registry, &PowerOfChoices { d }, 10), [("0".into(), 10)].into());
    }
    assert_eq!(tally(&registry, &PowerOfChoices { d: 0 }, 1_000).len(), 10, "counts as one, which is any");
}

#[test]
fn s8_round_robin_covers_all_in_turn() {
    let (registry, _) = hive(graded(7));
    let each = tally(&registry, &RoundRobin, 21);
    assert_eq!(each, (0..7).map(|id| (id.to_string(), 3)).collect());
    let held: Vec<_> = (0..14).filter_map(|_| registry.reserve_with("m", &RoundRobin)).collect();
    assert_eq!(held.len(), 14);
    assert!((0..7).all(|id| told(&registry, &id.to_string()).reservations == 2), "each twice, too");
}

#[test]
fn s8_random_is_repeated_by_its_seed_and_covers_all() {
    let drawn = |seed| {
        let (registry, _) = registry_with(|builder| builder.seed(seed));
        apply(&registry, beat("h", T0, graded(10)));
        (0..200).filter_map(|_| name(registry.pick("m", &Random))).collect::<Vec<_>>()
    };
    assert_eq!(drawn(7), drawn(7));
    assert_ne!(drawn(7), drawn(8));
    assert_eq!(drawn(7).into_iter().collect::<BTreeSet<_>>().len(), 10);
}

#[test]
fn s8_a_policy_of_ones_own_sees_every_eligible_worker_and_decides() {
    let (registry, _) = hive(vec![limited("full", 1)]);
    let _full = registry.reserve_worker_for_model("m").expect("there is room");
    let ineligible = vec![limited("full", 1), worker_in("Loading", "l", "m"), worker("other", "n")];
    apply(&registry, beat("h", T0 + 1, [graded(3), ineligible].concat()));
    let worst = choose(|candidates| {
        let all = (0..candidates.len()).filter_map(|at| Some((at, candidates.get(at)?)));
        let all: Vec<_> = all.collect();
        assert!(candidates.get(usize::MAX).is_none() && !candidates.is_empty());
        let ids: BTreeSet<_> = all.iter().map(|(_, found)| found.worker.worker_id.to_string()).collect();
        assert_eq!(ids, ["0", "1", "2"].map(String::from).into());
        let (at, drawn) = candidates.random()?;
        assert!(ids.contains(drawn.worker.worker_id.as_str()) && at < candidates.len());
        all.into_iter().max_by_key(|(_, found)| found.load).map(|(at, _)| at)
    });
    assert_eq!(name(registry.pick("m", &worst)).as_deref(), Some("h/2"));
    let held = registry.reserve_with("m", &worst).expect("there is room");
    assert_eq!(held.worker().worker_id, "2");
    assert_eq!(told(&registry, "2").reservations, 1);
}

/// What a policy sees at each place, one after the other, and how many places there were before and are after.
fn looked_at(registry: &HiveRegistry, model: &str) -> (usize, Vec<Option<String>>, usize) {
    let seen = Mutex::new(None);
    let looks = choose(|candidates| {
        let before = candidates.len();
        let found: Vec<_> = (0..before)
            .map(|at| candidates.get(at).map(|found| found.worker.worker_id.to_string()))
            .collect();
        *seen.lock().unwrap() = Some((before, found, candidates.len()));
        None
    });
    assert_eq!(registry.pick(model, &looks), None);
    seen.into_inner().unwrap().expect("it was asked")
}

#[test]
fn s8_a_candidate_found_ineligible_is_taken_out() {
    let told = |ids: &[Option<&str>]| ids.iter().map(|id| id.map(String::from)).collect::<Vec<_>>();
    let busier = WorkerState { gpu_percent: Some(50.0), ..limited("a", 1) };
    let (registry, _) = hive(vec![busier, limited("b", 1), limited("c", 1)]);
    // "a" is full and still ranked among the idle ones, where nobody looks, for others are better.
    let held = registry.reserve_with("m", &choose(|candidates| candidates.get(0).map(|_| 0)));
    assert_eq!(held.as_ref().expect("there is room").worker().worker_id, "a");
    assert_eq!(looked_at(&registry, "m"), (2, told(&[Some("c"), Some("b")]), 2));
    let idle = looked_at(&registry, "absent");
    assert_eq!(idle, (3, told(&[Some("c"), Some("b"), None]), 2), "c takes the place of a");
    assert_eq!(looked_at(&registry, "absent"), (2, told(&[Some("c"), Some("b")]), 2));
    drop(held);
    for model in ["m", "absent"] {
        assert_eq!(looked_at(&registry, model), (3, told(&[Some("c"), Some("b"), Some("a")]), 3));
    }
}

#[test]
fn s8_a_worker_of_a_silent_hive_is_no_candidate() {
    // The better one, so that the pick itself does not come upon the other.
    let (registry, clock) = hive(vec![at("live", 0.0)]);
    apply(&registry, beat("g", T0, vec![at("silent", 50.0)]));
    clock.advance(Duration::from_secs(30));
    apply(&registry, beat("h", T0 + 30_000, vec![at("live", 0.0)]));
    assert_eq!(looked_at(&registry, "m"), (2, vec![Some("live".into()), None], 1));
}

#[test]
fn s8_every_eligible_candidate_is_looked_at_once() {
    let (registry, clock) = hive(Vec::new());
    let name = |at: usize| format!("{}-{at:03}", if at % 3 == 0 { "live" } else { "silent" });
    for at in 0..300 {
        let busier = if at % 3 == 0 { 0.0 } else { 50.0 };
        apply(&registry, beat(&format!("h-{at}"), T0, vec![self::at(&name(at), busier)]));
    }
    clock.advance(Duration::from_secs(30));
    for at in (0..300).step_by(3) {
        apply(&registry, beat(&format!("h-{at}"), T0 + 30_000, vec![self::at(&name(at), 0.0)]));
    }
    let seen = Mutex::new(Vec::new());
    let all = choose(|candidates| {
        let found = candidates.iter().map(|(_, found)| found.worker.worker_id.to_string());
        seen.lock().unwrap().extend(found);
        None
    });
    assert_eq!(registry.pick("m", &all), None);
    let mut seen = seen.into_inner().unwrap();
    seen.sort();
    assert_eq!(seen, (0..300).step_by(3).map(name).collect::<Vec<_>>());
}

#[test]
fn s8_whoever_leaves_meanwhile_hides_nobody() {
    for (asks, leaves) in (0..5).flat_map(|asks| (0..5).map(move |leaves| (asks, leaves))) {
        let (registry, _) = hive(Vec::new());
        for at in 0..5 {
            apply(&registry, beat(&format!("h-{at}"), T0, vec![self::at(&format!("w-{at}"), 0.0)]));
        }
        let seen = Mutex::new(BTreeSet::new());
        let all = choose(|candidates| {
            for (nth, (_, found)) in candidates.iter().enumerate() {
                if nth == asks {
                    registry.remove_hive(&format!("h-{leaves}"));
                }
                seen.lock().unwrap().insert(found.worker.worker_id.to_string());
            }
            None
        });
        assert_eq!(registry.pick("m", &all), None);
        let mut seen = seen.into_inner().unwrap();
        seen.remove(&format!("w-{leaves}"));
        assert_eq!(seen.len(), 4, "h-{leaves} left as the candidate at place {asks} was looked at");
    }
}

#[test]
fn s8_candidates_fall_back_to_the_idle_workers() {
    let other = |state: &str, id: &str| worker_in(state, id, "n");
    let (registry, _) = hive(vec![other("Idle", "a"), other("Busy", "b"), bare_worker("c")]);
    let seen = Mutex::new(BTreeSet::new());
    let all = choose(|candidates| {
        let found = (0..candidates.len()).filter_map(|at| candidates.get(at));
        seen.lock().unwrap().extend(found.map(|found| found.worker.worker_id.to_string()));
        None
    });
    assert_eq!(registry.pick("m", &all), None, "a policy that chooses nobody is obeyed");
    assert!(registry.reserve_with("m", &all).is_none());
    assert_eq!(seen.into_inner().unwrap(), ["a", "c"].map(String::from).into());
    let (stats, nobody) = (registry.stats(), choose(|_| panic!("there is nobody to choose")));
    assert_eq!((stats.picks, stats.misses), (0, 2));
    registry.remove_hive("h");
    assert!(registry.pick("m", &nobody).is_none() && registry.reserve_with("m", &nobody).is_none());
}

#[test]
fn s8_an_index_out_of_range_is_asked_again_and_at_last_nobody_is_chosen() {
    let (registry, _) = hive(graded(2));
    let asked = AtomicU32::new(0);
    let wild = choose(|_| {
        asked.fetch_add(1, SeqCst);
        Some(usize::MAX)
    });
    assert_eq!(registry.pick("m", &wild), None, "what a policy leaves out is not chosen");
    assert!((2..=64).contains(&asked.swap(0, SeqCst)));
    assert!(registry.reserve_with("m", &wild).is_none());
    assert_eq!(open(&registry), 0);
    asked.store(0, SeqCst);
    // A second answer that is good is taken.
    let second = choose(|_| if asked.fetch_add(1, SeqCst) == 0 { Some(9) } else { Some(1) });
    assert_eq!(name(registry.pick("m", &second)).as_deref(), Some("h/1"));
}

#[test]
fn s8_a_panic_in_a_policy_leaves_the_registry_usable() {
    let (registry, _) = hive(vec![limited("w", 1)]);
    let panics = choose(|candidates| {
        assert!(candidates.get(0).is_none(), "deliberate");
        None
    });
    for _ in 0..3 {
        assert!(catch_unwind(AssertUnwindSafe(|| registry.pick("m", &panics))).is_err());
        assert!(catch_unwind(AssertUnwindSafe(|| registry.reserve_with("m", &panics))).is_err());
    }
    assert_eq!(open(&registry), 0);
    assert_picked(&registry, "m");
    apply(&registry, beat("h", T0 + 1, vec![]));
    assert_never_picked(&registry, "m");
}

#[test]
fn s8_a_policy_may_call_the_registry_and_get_is_none_once_gone() {
    let (registry, _) = hive(vec![at("w", 0.0)]);
    apply(&registry, beat("g", T0, vec![at("v", 50.0)]));
    let asked = AtomicU32::new(0);
    let removes = choose(|candidates| {
        if asked.fetch_add(1, SeqCst) > 0 {
            return Some(0);
        }
        let at = (0..2).find(|at| candidates.get(*at).is_some_and(|found| found.worker.worker_id == "w"));
        assert!(registry.reserve_worker_for_model("m").is_some());
        assert!(registry.remove_hive("h"));
        let left = (0..2).filter_map(|at| candidates.get(at)).map(|found| found.worker.worker_id.to_string());
        assert_eq!(left.collect::<Vec<_>>(), ["v"], "w has gone");
        assert_eq!(registry.stats().hives.len(), registry.snapshot().hives.len());
        assert!(candidates.get(1).is_none());
        at
    });
    assert_eq!(name(registry.pick("m", &removes)).as_deref(), Some("g/v"));
    registry.remove_hive("g");
    assert_eq!(registry.pick("m", &removes), None);
}

#[test]
fn s8_reserve_with_never_takes_a_place_taken_meanwhile() {
    let (registry, _) = hive(vec![limited("w", 1)]);
    let stolen = Mutex::new(None);
    let slow = choose(|candidates| {
        let _ = candidates.get(0)?;
        stolen.lock().unwrap().get_or_insert_with(|| registry.reserve_worker_for_model("m"));
        Some(0)
    });
    assert!(registry.reserve_with("m", &slow).is_none());
    assert_eq!((told(&registry, "w").reservations, open(&registry)), (1, 1));
}

/// Eight threads at once: whom the policy leaves out is nobody's, though the default rule would take it, and its choice is
/// taken whenever it has room, whatever its count became, so that nobody is told none.
#[test]
fn s8_what_a_policy_leaves_out_is_not_chosen_under_contention() {
    let busy = |id: &str| at(id, 99.0);
    let (registry, _) = hive(vec![busy("a"), busy("b"), limited("out", 1 << 20)]);
    assert_eq!(best(&registry, "m").as_deref(), Some("h/out"));
    let others = choose(|candidates| {
        let others = candidates.iter().filter(|(_, candidate)| candidate.worker.worker_id != "out");
        others.min_by_key(|(_, candidate)| candidate.reservations).map(|(at, _)| at)
    });
    let nobody = choose(|_| None);
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..2_000 {
                    let held = registry.reserve_with("m", &others).expect("both have room throughout");
                    assert_ne!(held.worker().worker_id, "out");
                    drop(held);
                    assert!(registry.reserve_with("m", &nobody).is_none());
                }
            });
        }
    });
    assert_eq!(open(&registry), 0);
}

// === S9 ===

#[test]
fn s9_explain_counts_each_worker_under_its_reason() {
    let (registry, clock) = registry();
    apply(&registry, beat("silent", T0 - 20_000, vec![worker("s", "m"), worker_in("Loading", "t", "m")]));
    let mut stopping = telemetry("stopping", T0, vec![process("a", "1", "m"), process("b", "2", "m")]);
    stopping.hive.operational_status = OperationalStatus::Stopping;
    registry.update_hive(stopping).expect("it is valid");
    let mut ill = telemetry("ill", T0, vec![process("a", "1", "m")]);
    ill.hive.health_status = HiveHealth::Unhealthy { reason: "fan".into() };
    registry.update_hive(ill).expect("it is valid");
    let workers = vec![
        limited("0-full", 1),
        at("1-idle", 20.0),
        worker_in("Busy", "2-busy", "m"),
        feeling("degraded", worker("3-degraded", "m")),
        feeling("unhealthy", worker("4-unhealthy", "m")),
        worker_in("Loading", "5-loading", "m"),
        worker_in("Draining", "6-draining", "m"),
        worker_in("odd", "7-odd", "m"),
        worker("8-other-model", "n"),
        bare_worker("9-no-model"),
    ];
    apply(&registry, beat("live", T0, workers));
    let _full = registry.reserve_worker_for_model("m").expect("it has the least load");
    clock.advance(Duration::from_secs(10));

    let told = registry.explain("m");
    assert_eq!((told.model.as_str(), told.workers), ("m", 13));
    assert_eq!((told.eligible, told.stale, told.unhealthy), (3, 2, 2));
    assert_eq!((told.loading, told.draining, told.other, told.full), (1, 3, 1, 1));
    assert_eq!(told.idle_fallbacks, 4, "1-idle, 3-degraded, 8-other-model and 9-no-model");
    assert_eq!(name(told.pick.clone()).as_deref(), Some("live/2-busy"));
    assert_eq!(told.pick, registry.find_best_worker_for_model("m"));

    let absent = registry.explain("absent");
    assert_eq!((absent.workers, absent.eligible, absent.idle_fallbacks), (0, 0, 4));
    assert_eq!(absent.pick, registry.find_best_worker_for_model("absent"));
    assert_eq!(name(absent.pick).as_deref(), Some("live/9-no-model"));

    clock.advance(Duration::from_secs(20));
    let silent = registry.explain("m");
    assert_eq!((silent.workers, silent.stale, silent.idle_fallbacks, silent.pick), (13, 13, 0, None));
}

#[test]
fn a_reservation_names_its_worker_when_it_is_printed() {
    let (registry, _) = registry();
    apply(&registry, beat("h", T0, vec![worker("w", "m")]));
    let held = registry.reserve_worker_for_model("m").expect("it is eligible");
    assert_eq!(format!("{held:?}"), r#"Reservation { hive_id: "h", worker_id: "w", .. }"#);
}
