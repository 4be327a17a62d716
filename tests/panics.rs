//! A panic inside a user's `Policy` or `Clock`, at any of their calls, leaves the registry usable and every
//! index equal to a scan.
#![cfg(not(loom))]

mod common;
mod scan;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use common::{T0, apply, beat, process, registry_with, telemetry, worker, worker_in};
use hive_registry::{
    Candidates, Clock, HiveRegistry, Lease, LeastLoaded, LivenessClock, ManualClock, Model, Policy, Random,
    Reservation, RoundRobin, WorkerState,
};

const MODELS: [&str; 6] = ["m", "n", "own", "new", "told", "nobody has this one"];
const SECOND: Duration = Duration::from_secs(1);

/// Unwinds without the message that would fill the output.
fn panic_on_purpose() -> ! {
    resume_unwind(Box::new("on purpose"))
}

/// Whether it panicked, on purpose and in no other way.
#[track_caller]
fn panics(f: impl FnOnce()) -> bool {
    match catch_unwind(AssertUnwindSafe(f)) {
        Ok(()) => false,
        Err(why) if why.downcast_ref() == Some(&"on purpose") => true,
        Err(why) => resume_unwind(why),
    }
}

fn furnish(registry: &HiveRegistry, at: i64) {
    let limited = |id: &str, model: &str| WorkerState { max_concurrency: Some(1), ..worker(id, model) };
    let a = vec![worker("a1", "m"), limited("a2", "m"), worker_in("Busy", "a3", "n")];
    let b = vec![worker("b1", "n"), worker_in("Busy", "b2", "m"), worker_in("Loading", "b3", "own")];
    for (hive, workers) in [("a", a), ("b", b), ("c", vec![limited("c1", "m")])] {
        let _ = registry.update_hive_state(hive, beat(hive, at, workers));
    }
}

/// Everything answers, and when all is gone nothing is left.
#[track_caller]
fn assert_usable(registry: &HiveRegistry, clock: &ManualClock) {
    scan::assert_indexes_equal_a_scan(registry, &MODELS);
    clock.advance(10 * SECOND);
    furnish(registry, clock.wall_ms());
    scan::assert_indexes_equal_a_scan(registry, &MODELS);
    let policies: [&dyn Policy; 3] = [&LeastLoaded, &RoundRobin, &Random];
    for policy in policies {
        assert!(registry.pick("m", policy).is_some());
        let held = registry.reserve_with("n", policy).expect("some have no limit");
        scan::assert_indexes_equal_a_scan(registry, &MODELS);
        drop(held);
    }
    let lease = registry.reserve_detached("m", SECOND).expect("some have no limit");
    assert!(registry.renew_lease(lease.id, SECOND).is_some() && registry.release_lease(lease.id));
    // Leases that a call opened just before it panicked run out.
    clock.advance(3_600 * SECOND);
    assert_eq!(registry.stats().reservations_open, 0);
    scan::assert_indexes_equal_a_scan(registry, &MODELS);
    for hive in registry.list_all_hives() {
        assert!(registry.remove_hive(&hive));
    }
    assert!(format!("{registry:?}").contains("hives: 0, workers: 0, models: 0"), "{registry:?}");
}

// === Clock ===

/// Panics once, when it has been asked as often as `left` says; below 0 it never does.
struct Panicky {
    shows: ManualClock,
    left: AtomicI64,
}

impl Panicky {
    fn asked(&self) {
        if self.left.fetch_sub(1, SeqCst) == 0 {
            panic_on_purpose();
        }
    }
}

impl Clock for Panicky {
    fn wall_ms(&self) -> i64 {
        self.asked();
        self.shows.wall_ms()
    }

    fn monotonic_ms(&self) -> i64 {
        self.asked();
        self.shows.monotonic_ms()
    }

    fn refresh(&self) {
        self.asked();
    }
}

/// What a caller holds between its calls.
#[derive(Default)]
struct Held {
    reservations: Vec<Reservation>,
    leases: Vec<Lease>,
    models: Vec<Model>,
}

type Call = fn(&HiveRegistry, &ManualClock, &mut Held);

/// Each function that reads a clock, most in more than one situation.
const SCRIPT: &[(&str, Call)] = &[
    ("update_hive_state, known", |registry, clock, _| furnish(registry, clock.wall_ms() + 1)),
    ("update_hive_state, new", |registry, clock, _| {
        let _ = registry.update_hive_state("d", beat("d", clock.wall_ms(), vec![worker("d1", "new")]));
    }),
    ("update_hive", |registry, clock, _| {
        let _ = registry.update_hive(telemetry("t", clock.wall_ms(), vec![process("g", "1", "told")]));
    }),
    ("update_workers, known", |registry, _, _| {
        let _ = registry.update_workers("t", vec![process("g", "2", "told")]);
    }),
    ("update_workers, new", |registry, _, _| {
        let _ = registry.update_workers("u", vec![process("g", "1", "m")]);
    }),
    ("ingest_json", |registry, _, _| {
        let _ = registry.ingest_json(
            br#"{"hive_id":"j","timestamp":"2025-10-21T10:00:00Z","workers":[{"worker_id":"j1","state":"Idle",
                "last_heartbeat":"2025-10-21T10:00:00Z","health_status":"healthy","model_id":"m"}]}"#,
        );
    }),
    ("find_best_worker_for_model", |registry, _, _| {
        for model in MODELS {
            let _ = registry.find_best_worker_for_model(model);
        }
    }),
    ("reserve_worker_for_model", |registry, _, held| {
        for model in MODELS {
            held.reservations.extend(registry.reserve_worker_for_model(model));
        }
    }),
    ("pick", |registry, _, _| {
        let _ = (registry.pick("m", &Random), registry.pick("nobody has this one", &LeastLoaded));
    }),
    ("reserve_with", |registry, _, held| {
        held.reservations.extend(registry.reserve_with("m", &RoundRobin));
        held.reservations.extend(registry.reserve_with("nobody has this one", &Random));
    }),
    ("model", |registry, _, held| {
        held.models.extend(registry.model("m"));
        for model in &held.models {
            let _ = model.find_best_worker();
            held.reservations.extend(model.reserve_worker());
        }
    }),
    ("reserve_detached", |registry, _, held| {
        for model in MODELS {
            held.leases.extend(registry.reserve_detached(model, SECOND));
        }
    }),
    ("renew_lease", |registry, _, held| {
        for lease in &held.leases[..held.leases.len() / 2] {
            registry.renew_lease(lease.id, 5 * SECOND);
        }
    }),
    ("release of reservations", |_, _, held| held.reservations.truncate(3)),
    ("after some leases ran out", |registry, clock, _| {
        clock.advance(2 * SECOND);
        let _ = registry.find_best_worker_for_model("m");
    }),
    ("release_lease", |registry, _, held| {
        if let Some(lease) = held.leases.first() {
            registry.release_lease(lease.id);
        }
    }),
    ("explain", |registry, _, _| {
        let _ = (registry.explain("m"), registry.explain("nobody has this one"));
    }),
    ("snapshot and stats", |registry, _, _| {
        let _ = (registry.snapshot(), registry.stats());
    }),
    ("who is online", |registry, _, _| {
        let _ = (registry.list_online_hives(), registry.list_available_hives(), registry.count_online());
        let _ = (registry.count_available(), registry.is_hive_online("a", 5), registry.list_active_hives(5));
        let _ = registry.get_worker("a1");
    }),
    ("remove_hive", |registry, _, _| {
        registry.remove_hive("c");
        registry.remove_hive("absent");
    }),
    ("a heartbeat of a removed hive", |registry, clock, _| {
        let _ = registry.update_hive_state("c", beat("c", clock.wall_ms(), vec![worker("c1", "m")]));
    }),
    ("all but one fall silent", |registry, clock, held| {
        clock.advance(20 * SECOND);
        let _ = registry.update_hive_state("b", beat("b", clock.wall_ms(), vec![worker("b1", "n")]));
        clock.advance(15 * SECOND);
        held.reservations.extend(registry.reserve_worker_for_model("m"));
        held.reservations.extend(registry.reserve_with("m", &LeastLoaded));
    }),
    ("the clock is set back", |registry, clock, held| {
        clock.jump_wall(-20_000);
        held.reservations.extend(registry.reserve_worker_for_model("m"));
        let _ = registry.find_best_worker_for_model("n");
    }),
    ("evict_stale", |registry, _, _| {
        let _ = registry.evict_stale(30 * SECOND);
    }),
    ("everyone comes back", |registry, clock, _| furnish(registry, clock.wall_ms() + 30_000)),
];

#[test]
fn a_clock_that_panics_at_any_call_leaves_every_index_equal_to_a_scan() {
    let reported = LivenessClock::Reported;
    let arrival = LivenessClock::Arrival;
    // Where the caller stops at the panic, nothing that comes later hides what it left.
    for (liveness, goes_on) in [(reported, true), (reported, false), (arrival, true), (arrival, false)] {
        let mut calls = 0;
        loop {
            let clock = Arc::new(Panicky { shows: ManualClock::new(T0), left: AtomicI64::new(-1) });
            let (registry, _) =
                registry_with(|builder| builder.clock(clock.clone()).liveness_clock(liveness));
            furnish(&registry, T0);
            let mut held = Held::default();
            let mut panicked = None;
            clock.left.store(calls, SeqCst);
            for (name, call) in SCRIPT {
                if panics(|| call(&registry, &clock.shows, &mut held)) {
                    assert!(panicked.replace(name).is_none(), "it panics once");
                    held.models.clear();
                    // A scan asks the clock too, which by now never panics again.
                    scan::assert_indexes_equal_a_scan(&registry, &MODELS);
                    if !goes_on {
                        break;
                    }
                }
            }
            clock.left.store(-1, SeqCst);
            drop(held);
            // The wall clock was set back, and hives have sent later times.
            clock.shows.advance(60 * SECOND);
            assert_usable(&registry, &clock.shows);
            calls += 1;
            if panicked.is_none() {
                break;
            }
        }
        println!(
            "{liveness:?}: {calls} scripts, each with a panic at another call of the clock but the last"
        );
        assert!(calls > SCRIPT.len() as i64);
    }
}

/// A sweeper whose clock panics ends; the registry does not.
#[test]
fn a_clock_that_panics_under_the_sweeper_leaves_the_registry_usable() {
    for calls in 0..3 {
        let clock = Arc::new(Panicky { shows: ManualClock::new(T0), left: AtomicI64::new(-1) });
        let (registry, _) = registry_with(|builder| builder.clock(clock.clone()));
        furnish(&registry, T0);
        clock.shows.advance(60 * SECOND);
        clock.left.store(calls, SeqCst);
        let sweeper = registry.spawn_sweeper(Duration::from_millis(1), SECOND).expect("a thread");
        let until = std::time::Instant::now() + 20 * SECOND;
        while clock.left.load(SeqCst) >= 0 && std::time::Instant::now() < until {
            std::thread::sleep(Duration::from_millis(1));
        }
        assert!(clock.left.load(SeqCst) < 0, "it has panicked");
        drop(sweeper);
        furnish(&registry, clock.shows.wall_ms());
        let _ = registry.evict_stale(SECOND);
        assert_usable(&registry, &clock.shows);
    }
}

// === Policy ===

/// Does something with the candidates, then panics at its `at`-th call; before, it chooses one that goes at once,
/// so that it is asked again.
struct PanickyPolicy<'r> {
    registry: &'r HiveRegistry,
    calls: AtomicUsize,
    at: usize,
    first: fn(&HiveRegistry, &Candidates<'_>),
}

impl Policy for PanickyPolicy<'_> {
    fn choose(&self, candidates: &Candidates<'_>) -> Option<usize> {
        (self.first)(self.registry, candidates);
        if self.calls.fetch_add(1, SeqCst) == self.at {
            panic_on_purpose();
        }
        let (at, chosen) = candidates.random()?;
        self.registry.remove_hive(&chosen.worker.hive_id);
        Some(at)
    }
}

#[test]
fn a_policy_that_panics_leaves_every_index_equal_to_a_scan() {
    let firsts: [fn(&HiveRegistry, &Candidates<'_>); 6] = [
        |_, _| (),
        |_, candidates| {
            let _ = (candidates.len(), candidates.get(0), candidates.get(usize::MAX), candidates.random());
        },
        |_, candidates| {
            let _ = (LeastLoaded.choose(candidates), RoundRobin.choose(candidates));
        },
        // What it holds when it panics is released on the way out.
        |registry, _| {
            let _held = (registry.reserve_worker_for_model("m"), registry.reserve_with("n", &Random));
            panic_on_purpose();
        },
        |registry, _| {
            furnish(registry, T0 + 5);
            registry.remove_hive("b");
        },
        // A policy within a policy.
        |registry, _| {
            let inner = PanickyPolicy { registry, calls: AtomicUsize::new(0), at: 0, first: |_, _| () };
            drop(registry.reserve_with("m", &inner));
        },
    ];
    for first in firsts {
        for at in 0..3 {
            for model in ["m", "n", "own", "nobody has this one"] {
                for reserves in [false, true] {
                    let (registry, clock) = registry_with(|builder| builder);
                    furnish(&registry, T0);
                    let held = registry.reserve_worker_for_model("m");
                    let calls = AtomicUsize::new(0);
                    let policy = PanickyPolicy { registry: &registry, calls, at, first };
                    let panicked = panics(|| {
                        if reserves {
                            drop(registry.reserve_with(model, &policy));
                        } else {
                            let _ = registry.pick(model, &policy);
                        }
                    });
                    // Hives that went may leave nobody to ask it about once more.
                    assert!(panicked || at > 0, "{model}");
                    scan::assert_indexes_equal_a_scan(&registry, &MODELS);
                    drop(held);
                    assert_eq!(registry.stats().reservations_open, 0);
                    assert_usable(&registry, &clock);
                }
            }
        }
    }
}

/// Its panic is its caller's alone: threads beside it keep being served.
#[test]
fn a_policy_that_panics_disturbs_nobody_beside_it() {
    let (registry, clock) = registry_with(|builder| builder);
    furnish(&registry, T0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..500 {
                let policy = PanickyPolicy {
                    registry: &registry,
                    calls: AtomicUsize::new(0),
                    at: 0,
                    first: |_, _| (),
                };
                assert!(panics(|| drop(registry.reserve_with("m", &policy))));
            }
        });
        for n in 0..500 {
            apply(&registry, beat("a", T0 + n, vec![worker("a1", "m")]));
            assert!(registry.reserve_worker_for_model("m").is_some());
        }
    });
    assert_eq!(registry.stats().reservations_open, 0);
    assert_usable(&registry, &clock);
}
