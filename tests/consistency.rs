//! What readers see while others write, what is left after churn, and that nothing deadlocks: C1 to C6 of the
//! design.

#![cfg(not(loom))]

mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use common::{Rng, T0, apply, beat, name, names, process, registry, registry_with, worker, worker_in};
use hive_registry::{
    Candidates, Clock, HiveId, HiveRegistry, LeastLoaded, ManualClock, Policy, PowerOfChoices, Random,
    RoundRobin, TOMBSTONE_AGE, WorkerInfo, WorkerState,
};

/// Counts the bytes that the calling thread holds, so that tests beside it do not disturb.
struct Counting;

thread_local! {
    static HELD: Cell<isize> = const { Cell::new(0) };
}

fn count(bytes: isize) {
    let _ = HELD.try_with(|held| held.set(held.get() + bytes));
}

// SAFETY: every call goes to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        count(-(layout.size() as isize));
        // SAFETY: the caller's promise is passed on.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn held_bytes() -> isize {
    HELD.with(Cell::get)
}

/// Runs `f` on a thread and fails if it takes longer than `limit`; the thread is then left behind.
#[track_caller]
fn within(limit: Duration, f: impl FnOnce() + Send + 'static) {
    let (done, wait) = mpsc::channel();
    let thread = thread::spawn(move || {
        f();
        let _ = done.send(());
    });
    match wait.recv_timeout(limit) {
        Ok(()) => thread.join().expect("it has finished"),
        Err(mpsc::RecvTimeoutError::Disconnected) => thread.join().expect("it finishes"),
        Err(mpsc::RecvTimeoutError::Timeout) => panic!("deadlock: not finished in {limit:?}"),
    }
}

fn sized(id: &str, generation: u64) -> WorkerState {
    WorkerState { vram_bytes: Some(generation), ..worker(id, "m") }
}

// === C1 ===

#[test]
fn c1_a_state_held_does_not_change() {
    let (registry, _) = registry();
    apply(&registry, beat("h", T0, vec![sized("a", 0), sized("b", 0)]));
    let held = registry.get_hive_state("h").expect("it is registered");
    let copy = held.as_ref().clone();
    for generation in 1..50 {
        apply(&registry, beat("h", T0 + generation as i64, vec![sized("a", generation)]));
    }
    registry.remove_hive("h");
    assert_eq!(*held, copy);
    assert_eq!(held.worker_count, 2);
}

#[test]
fn c1_a_concurrent_reader_never_sees_a_mixture() {
    let (registry, _) = registry();
    let write = |generation: u64| {
        // The numbers of workers differ too: 2, 3 or 4.
        let ids = ["a", "b", "c", "d"];
        let workers = ids[..2 + generation as usize % 3].iter().map(|id| sized(id, generation));
        apply(&registry, beat("h", T0 + generation as i64, workers.collect()));
    };
    write(0);
    let over = AtomicBool::new(false);
    let seen = thread::scope(|scope| {
        let read = || {
            let (mut seen, mut version) = (BTreeSet::new(), 0);
            while !over.load(SeqCst) {
                let state = registry.get_hive_state("h").expect("it is registered throughout");
                let numbers: BTreeSet<_> =
                    state.workers.iter().filter_map(|found| found.vram_bytes).collect();
                assert_eq!(numbers.len(), 1, "a mixture of heartbeats: {state:?}");
                let generation = numbers.into_iter().next().expect("there is one");
                assert_eq!(state.worker_count, 2 + generation as usize % 3);
                assert_eq!(state.workers.len(), state.worker_count);
                assert!(state.version >= version, "time went back");
                assert_eq!(state.last_heartbeat_ms, T0.min(T0 + generation as i64));
                version = state.version;
                seen.insert(generation);
            }
            seen.len()
        };
        let reader = scope.spawn(read);
        let until = Instant::now() + Duration::from_millis(200);
        let mut generation = 0;
        while Instant::now() < until {
            generation += 1;
            write(generation);
        }
        over.store(true, SeqCst);
        reader.join().expect("no mixture")
    });
    assert!(seen > 0);
}

// === C2 ===

#[test]
fn c2_a_worker_gone_before_the_call_is_in_no_answer() {
    let (registry, _) = registry();
    apply(&registry, beat("h", T0, vec![worker("a", "m"), worker("b", "m")]));
    apply(&registry, beat("h", T0 + 1, vec![worker("b", "n")]));
    assert_eq!((registry.get_worker("a"), registry.get_worker_on("h", "a")), (None, None));
    assert!(registry.find_workers_by_model("m").is_empty(), "b has another model now");
    for list in
        [registry.list_all_workers(), registry.find_idle_workers(), registry.find_workers_by_backend("cuda")]
    {
        assert_eq!(names(list), ["h/b"]);
    }
    for model in ["m", "n", "absent"] {
        assert_eq!(name(registry.find_best_worker_for_model(model)).as_deref(), Some("h/b"));
    }
}

/// The best worker is replaced by a new one without pause, while a worse one stays all the time.
#[test]
fn c2_a_call_finds_a_worker_that_is_there_and_none_that_had_gone() {
    let (registry, _) = registry();
    apply(&registry, beat("stays", T0, vec![WorkerState { gpu_percent: Some(99.0), ..worker("s", "m") }]));
    let named = |n: u64| worker(&n.to_string(), "m");
    apply(&registry, beat("h", T0, vec![named(0)]));
    let newest = AtomicU64::new(0);
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        for reader in 0..2 {
            let (registry, newest, over) = (&registry, &newest, &over);
            scope.spawn(move || {
                let policies: [&dyn Policy; 3] = [&LeastLoaded, &PowerOfChoices { d: 2 }, &Random];
                let mut turn = reader;
                while !over.load(SeqCst) {
                    turn += 1;
                    let least = newest.load(SeqCst);
                    let found = match turn % 4 {
                        0 => registry.find_best_worker_for_model("m").map(|(_, found)| found),
                        1 => {
                            registry.reserve_worker_for_model("m").map(|held| Arc::new(held.worker().clone()))
                        }
                        2 => registry.pick("m", policies[turn / 4 % 3]).map(|(_, found)| found),
                        _ => registry.find_workers_by_model("m").into_iter().next().map(|(_, found)| found),
                    };
                    let found = found.expect("a worker is eligible throughout");
                    if let Ok(number) = found.worker_id.parse::<u64>() {
                        assert!(number >= least, "{number} had gone when {least} was there");
                    }
                }
            });
        }
        let until = Instant::now() + Duration::from_millis(200);
        let mut n = 0;
        while Instant::now() < until {
            n += 1;
            // In turns replaced, and made ineligible for a moment.
            apply(&registry, beat("h", T0 + n as i64, vec![named(n)]));
            newest.store(n, SeqCst);
            if n % 5 == 0 {
                apply(
                    &registry,
                    beat("h", T0 + n as i64, vec![WorkerState { state: "Loading".into(), ..named(n) }]),
                );
            }
        }
        over.store(true, SeqCst);
    });
}

// === C3 ===

/// Every list and every find against a scan of the snapshot; nothing may run beside it.
#[track_caller]
fn assert_indexes_equal_a_scan(registry: &HiveRegistry) {
    let snapshot = registry.snapshot();
    let all: Vec<(HiveId, Arc<WorkerInfo>)> = snapshot
        .hives
        .iter()
        .flat_map(|hive| hive.workers.iter().map(|told| (hive.state.hive_id.clone(), told.worker.clone())))
        .collect();
    // C4: of live hives only.
    let online: BTreeSet<_> =
        snapshot.hives.iter().filter(|hive| hive.online).map(|hive| hive.state.hive_id.clone()).collect();
    let scan = |keep: &dyn Fn(&WorkerInfo) -> bool| -> Vec<_> {
        all.iter().filter(|(hive, found)| online.contains(hive) && keep(found)).cloned().collect()
    };
    let hives: Vec<_> = snapshot.hives.iter().map(|hive| hive.state.hive_id.clone()).collect();
    assert_eq!(registry.list_all_hives(), hives);
    assert_eq!((registry.hive_count(), registry.total_worker_count()), (hives.len(), all.len()));
    assert_eq!(registry.list_all_workers(), all);
    assert_eq!(registry.find_idle_workers(), scan(&|found| found.state.as_str() == "Idle"));
    assert_eq!(registry.find_workers_by_backend("cuda"), scan(&|found| found.backend.is_some()));
    let models: BTreeSet<_> = all.iter().filter_map(|(_, found)| found.model_id.clone()).collect();
    let debug = format!("{registry:?}");
    assert!(debug.contains(&format!("models: {}", models.len())), "{debug} but {models:?} are loaded");
    for hive in &snapshot.hives {
        let of: Vec<_> = hive.workers.iter().map(|told| told.worker.clone()).collect();
        assert_eq!(
            (hive.state.workers.to_vec(), registry.get_workers_on_hive(&hive.state.hive_id)),
            (of.clone(), of)
        );
        assert_eq!(hive.online, registry.is_hive_online(&hive.state.hive_id, 30_000));
    }
    for (hive, found) in &all {
        assert_eq!(registry.get_worker_on(hive, &found.worker_id).as_ref(), Some(found));
        let (_, one) = registry.get_worker(&found.worker_id).expect("some hive has it");
        assert_eq!(one.worker_id, found.worker_id);
    }
    for model in models.iter().map(|model| model.as_str()).chain(["absent"]) {
        assert_eq!(
            registry.find_workers_by_model(model),
            scan(&|found| found.model_id.as_deref() == Some(model))
        );
        let eligible = snapshot.hives.iter().filter(|hive| hive.online).flat_map(|hive| &hive.workers);
        let eligible = eligible.filter(|told| {
            let full = told.worker.max_concurrency.is_some_and(|max| told.reservations >= max);
            let serves = ["Idle", "Busy"].contains(&told.worker.state.as_str());
            serves && told.worker.health_status.as_str() != "unhealthy" && !full
        });
        let eligible: Vec<_> = eligible.collect();
        let key = |told: &&hive_registry::WorkerSnapshot| {
            (told.worker.health_status.as_str() != "healthy", told.load, told.worker.state.as_str() == "Busy")
        };
        let of_model = eligible.iter().filter(|told| told.worker.model_id.as_deref() == Some(model)).copied();
        let idle = eligible.iter().filter(|told| told.worker.state.as_str() == "Idle").copied();
        let best = of_model.min_by_key(key).or_else(|| idle.min_by_key(key));
        let found = registry.find_best_worker_for_model(model);
        let found =
            found.and_then(|(_, found)| eligible.iter().find(|told| Arc::ptr_eq(&told.worker, &found)));
        assert_eq!(found.map(key), best.as_ref().map(key), "{model}");
    }
}

fn any_worker(rng: &mut Rng) -> WorkerState {
    let state = ["Idle", "Idle", "Busy", "Loading", "odd"][rng.below(5)];
    let health = ["healthy", "healthy", "degraded", "unhealthy"][rng.below(4)];
    WorkerState {
        health_status: health.into(),
        gpu_percent: Some(rng.below(100) as f32),
        max_concurrency: (rng.below(2) == 0).then(|| 1 + rng.below(3) as u32),
        ..worker_in(state, &format!("w{}", rng.below(5)), &format!("m{}", rng.below(4)))
    }
}

fn any_workers(rng: &mut Rng) -> Vec<WorkerState> {
    let some: BTreeMap<_, _> =
        (0..rng.below(5)).map(|_| any_worker(rng)).map(|some| (some.worker_id.clone(), some)).collect();
    some.into_values().collect()
}

/// More than are corrected one by one: all in one pass, which moves what remains.
#[test]
fn c3_a_mass_silence_and_its_end_leave_every_index_equal_to_a_scan() {
    const HIVES: i64 = 600;
    let (registry, clock) = registry();
    let graded = |hive: i64| WorkerState { gpu_percent: Some((hive % 97) as f32), ..worker("w", "m") };
    let beats = |hives: &mut dyn Iterator<Item = i64>, now: i64| {
        for hive in hives {
            apply(&registry, beat(&format!("h{hive:03}"), now, vec![graded(hive)]));
        }
    };
    // The least loaded of those that beat, all of them and in order, each taken once.
    let best_first = |beating: &dyn Fn(i64) -> bool| {
        let mut expected: Vec<_> = (0..HIVES).filter(|hive| beating(*hive)).collect();
        expected.sort_by_key(|hive| (hive % 97, *hive));
        let held: Vec<_> = expected.iter().map(|_| registry.reserve_worker_for_model("m")).collect();
        let taken: Vec<_> = held.iter().flatten().map(|held| held.hive_id().to_string()).collect();
        (taken, expected.iter().map(|hive| format!("h{hive:03}")).collect::<Vec<_>>())
    };
    // The most loaded, so that all the others are looked at before them.
    let beats_on = |hive: i64| hive % 97 > 80;
    beats(&mut (0..HIVES), T0);
    clock.advance(Duration::from_secs(29));
    beats(&mut (0..HIVES).filter(|hive| beats_on(*hive)), T0 + 29_000);
    clock.advance(Duration::from_secs(1));
    assert_eq!(name(registry.find_best_worker_for_model("m")).as_deref(), Some("h081/w"));
    assert_indexes_equal_a_scan(&registry);
    let (taken, expected) = best_first(&beats_on);
    assert_eq!(taken.first(), expected.first());
    assert_eq!(taken.iter().collect::<BTreeSet<_>>(), expected.iter().collect());
    // They go and come again from their places.
    for hive in (0..HIVES).step_by(7) {
        assert!(registry.remove_hive(&format!("h{hive:03}")));
    }
    assert_indexes_equal_a_scan(&registry);
    beats(&mut (0..HIVES).filter(|hive| hive % 7 != 0), T0 + 30_000);
    assert_indexes_equal_a_scan(&registry);
    assert_eq!(registry.explain("m").eligible, registry.total_worker_count());
    let (taken, expected) = best_first(&|hive| hive % 7 != 0);
    assert_eq!(taken.iter().collect::<BTreeSet<_>>(), expected.iter().collect());
}

#[test]
fn c3_after_churn_every_index_equals_a_scan() {
    for seed in 0..10 {
        let (registry, clock) = registry();
        let mut rng = Rng::new(seed);
        let mut held = Vec::new();
        for step in 0..300 {
            let hive = format!("h{}", rng.below(6));
            clock.advance(Duration::from_millis(10 + 1_000 * (step % 7)));
            let now = clock.wall_ms();
            match rng.below(10) {
                0 => _ = registry.remove_hive(&hive),
                1 => held.extend(registry.reserve_worker_for_model("m1")),
                2 => held.extend(registry.reserve_with("m2", &RoundRobin)),
                3 if !held.is_empty() => drop(held.swap_remove(rng.below(held.len()))),
                4 => _ = registry.reserve_detached("m3", Duration::from_secs(5)),
                5 => _ = registry.evict_stale(Duration::from_secs(40)),
                _ => _ = apply(&registry, beat(&hive, now, any_workers(&mut rng))),
            }
            if step % 10 == 0 {
                assert_indexes_equal_a_scan(&registry);
            }
        }
    }
}

#[test]
fn c3_empty_models_are_pruned() {
    let (registry, _) = registry();
    let models = |registry: &HiveRegistry| format!("{registry:?}");
    apply(&registry, beat("h", T0, vec![worker("a", "m"), worker("b", "n"), worker("c", "n")]));
    assert!(models(&registry).contains("models: 2"));
    apply(&registry, beat("h", T0 + 1, vec![worker("a", "m2"), worker("b", "n")]));
    assert!(models(&registry).contains("models: 2"), "m left, m2 came");
    let held = registry.reserve_worker_for_model("n");
    registry.remove_hive("h");
    assert!(models(&registry).contains("hives: 0, workers: 0, models: 0"), "{registry:?}");
    drop(held);
    assert!(models(&registry).contains("models: 0"));
    // A refused heartbeat, a pick and an explanation leave none behind.
    let refused = beat("h", T0 + 2, vec![worker("a", "new"), worker("a", "newer")]);
    assert!(registry.update_hive_state("h", refused).is_err());
    assert!(registry.find_best_worker_for_model("new").is_none());
    assert_eq!(registry.explain("new").workers, 0);
    assert!(models(&registry).contains("hives: 0, workers: 0, models: 0"), "{registry:?}");
}

/// The hives that stay.
fn keep(registry: &HiveRegistry, now: i64) {
    for hive in 0..200 {
        let of = |at| worker(&format!("keeper-{hive}-{at}"), &format!("m{at}"));
        apply(registry, beat(&format!("keeper-{hive}"), now, (0..3).map(of).collect()));
    }
}

/// 20,000 heartbeats of 10,000 hives, 100 at once, none of which keeps a worker or a model; then all go, the
/// tombstones' time passes, and those that stay beat.
fn churn(registry: &HiveRegistry, clock: &ManualClock) {
    for generation in 0..100 {
        for beats in 0..2 {
            clock.advance(Duration::from_millis(10));
            for hive in 0..100 {
                let hive = format!("{generation:02}-{hive:02}");
                let of = |at| worker(&format!("{hive}-{beats}-{at}"), &format!("{hive}-{beats}-{at}-model"));
                apply(registry, beat(&hive, clock.wall_ms(), (0..3).map(of).collect()));
            }
        }
        let held: Vec<_> = (0..50).filter_map(|_| registry.reserve_worker_for_model("absent")).collect();
        assert_eq!(held.len(), 50);
        for hive in 0..100 {
            assert!(registry.remove_hive(&format!("{generation:02}-{hive:02}")));
        }
    }
    clock.advance(TOMBSTONE_AGE + Duration::from_secs(60));
    keep(registry, clock.wall_ms());
    assert_eq!((registry.hive_count(), registry.total_worker_count()), (200, 600));
}

/// Bytes held once they are as few as they should be: what a thread replaced last stays until it has gone on for a while,
/// and the other tests' threads, too.
fn settled_bytes(as_few: impl Fn(isize) -> bool) -> isize {
    let before = held_bytes();
    let other = HiveRegistry::new();
    let its_own = held_bytes() - before;
    let until = std::time::Instant::now() + Duration::from_secs(20);
    while !as_few(held_bytes() - its_own) && std::time::Instant::now() < until {
        assert!(other.find_best_worker_for_model("m").is_none());
    }
    held_bytes() - its_own
}

#[test]
fn c3_memory_returns_to_what_the_live_fleet_needs() {
    let empty = held_bytes();
    let (registry, clock) = registry();
    keep(&registry, T0);
    let fresh = held_bytes() - empty;
    let as_fresh = |held: isize| (held - empty) * 4 <= fresh * 5;
    churn(&registry, &clock);
    let baseline = settled_bytes(as_fresh) - empty;
    churn(&registry, &clock);
    let after = settled_bytes(as_fresh) - empty;
    assert!((after - baseline).abs() * 10 <= baseline, "{after} bytes, {baseline} after the round before");
    assert!(after * 4 <= fresh * 5, "{after} bytes, {fresh} for the same fleet without a past");
    drop((registry, clock));
    let left = settled_bytes(|held| held - empty < 4_096) - empty;
    assert!(left < 4_096, "{left} bytes are left of a dropped registry");
}

#[test]
fn c3_memory_does_not_stay_at_its_peak() {
    let empty = held_bytes();
    let (registry, clock) = registry();
    apply(&registry, beat("keeper", T0, vec![worker("k", "m")]));
    let before = held_bytes() - empty;
    let hives: Vec<_> = (0..5_000).map(|hive| format!("h{hive}")).collect();
    let ours = held_bytes() - empty - before;
    for hive in &hives {
        let own = worker(&format!("{hive}-own"), &format!("{hive}-model"));
        apply(&registry, beat(hive, T0, vec![own, worker("shared", "m"), worker(&format!("{hive}-m"), "m")]));
    }
    let peak = held_bytes() - empty - ours - before;
    for hive in &hives {
        assert!(registry.remove_hive(hive));
    }
    clock.advance(TOMBSTONE_AGE + Duration::from_secs(60));
    // Each heartbeat clears some of the tombstones that expired.
    for _ in 0..5_000 / 64 + 1 {
        apply(&registry, beat("keeper", clock.wall_ms(), vec![worker("k", "m")]));
    }
    let kept = empty + ours + before;
    let left = settled_bytes(|held| (held - kept) * 20 <= peak) - kept;
    assert!(left * 20 <= peak, "{left} of {peak} bytes are left");
}

// === C4 ===

#[test]
fn c4_lists_tell_what_is_registered_live_or_not() {
    let (registry, clock) = registry();
    apply(&registry, beat("a", T0, vec![worker("w", "m")]));
    apply(&registry, beat("b", T0, vec![worker_in("Busy", "v", "m")]));
    clock.advance(Duration::from_secs(3_600));
    assert_eq!(registry.list_all_hives(), ["a", "b"]);
    assert_eq!(names(registry.list_all_workers()), ["a/w", "b/v"]);
    assert!(registry.find_idle_workers().is_empty() && registry.find_workers_by_model("m").is_empty());
    assert!(registry.find_workers_by_backend("cuda").is_empty());
    assert!(registry.find_workers_with_capacity(0).is_empty());
    assert_eq!((registry.hive_count(), registry.total_worker_count()), (2, 2));
    assert!(registry.get_hive_state("a").is_some() && registry.get_worker_url("w").is_some());
    assert!(registry.get_available_resources("a").is_some());
    assert_eq!(registry.snapshot().hives.len(), 2);

    assert!(registry.find_best_worker_for_model("m").is_none());
    assert!(registry.reserve_worker_for_model("m").is_none());
    assert!(registry.pick("m", &Random).is_none());
    assert!(registry.list_online_hives().is_empty() && registry.list_available_hives().is_empty());
    assert!(registry.list_active_hives(3_600_000).is_empty());
    assert_eq!((registry.count_online(), registry.count_available()), (0, 0));
    assert!(!registry.is_hive_online("a", 3_600_000));
    assert_indexes_equal_a_scan(&registry);
}

// === C5 and C6 ===

/// Every operation there is, on one of a few hives.
fn do_anything(registry: &HiveRegistry, rng: &mut Rng, now: i64) {
    let (hive, id) = (format!("h{}", rng.below(4)), format!("w{}", rng.below(5)));
    let model = format!("m{}", rng.below(4));
    let policies: [&dyn Policy; 4] = [&LeastLoaded, &PowerOfChoices { d: 2 }, &RoundRobin, &Random];
    let policy = policies[rng.below(4)];
    match rng.below(22) {
        0 => _ = registry.remove_hive(&hive),
        1 => _ = registry.evict_stale(Duration::from_millis(1)),
        2 => _ = registry.snapshot(),
        3 => _ = registry.stats(),
        4 => _ = registry.explain(&model),
        5 => _ = (registry.get_worker(&id), registry.get_worker_on(&hive, &id), registry.get_worker_url(&id)),
        6 => _ = (registry.list_all_workers(), registry.find_idle_workers(), registry.get_all_workers()),
        7 => _ = (registry.find_workers_by_model(&model), registry.find_workers_by_backend("cuda")),
        8 => _ = (registry.find_best_worker_for_model(&model), registry.pick(&model, policy)),
        9 => _ = (registry.reserve_worker_for_model(&model), registry.reserve_with(&model, policy)),
        10 => {
            if let Some(lease) = registry.reserve_detached(&model, Duration::from_millis(1)) {
                registry.renew_lease(lease.id, Duration::from_secs(1));
                registry.release_lease(lease.id);
            }
        }
        11 => _ = (registry.get_hive_state(&hive), registry.get_available_resources(&hive)),
        12 => _ = (registry.list_all_hives(), registry.list_active_hives(5), registry.list_online_hives()),
        13 => _ = (registry.count_online(), registry.count_available(), registry.list_available_hives()),
        14 => {
            _ = (
                registry.get_worker_count(&hive),
                registry.is_hive_online(&hive, 5),
                registry.get_hive(&hive),
            )
        }
        15 => {
            _ = (registry.get_workers_on_hive(&hive), registry.get_workers(&hive), registry.hive_stats(&hive))
        }
        16 => _ = (registry.find_workers_with_capacity(1), format!("{registry:?}")),
        17 => _ = registry.update_workers(&hive, vec![process("w", "1", &model)]),
        18 => _ = registry.update_hive(common::telemetry(&hive, now, vec![process("w", "1", &model)])),
        19 => {
            let feed = registry.subscribe(2);
            let _ = registry.update_hive_state(&hive, beat(&hive, now, any_workers(rng)));
            let _ = feed.try_next();
        }
        _ => _ = registry.update_hive_state(&hive, beat(&hive, now, any_workers(rng))),
    }
}

/// Calls the registry whenever it is asked, unless it asks itself.
struct Nosy {
    registry: Mutex<Option<HiveRegistry>>,
    calls: AtomicU64,
}

thread_local! {
    static ASKING: Cell<bool> = const { Cell::new(false) };
}

impl Nosy {
    fn know(&self, registry: Option<HiveRegistry>) {
        let before =
            std::mem::replace(&mut *self.registry.lock().expect("nothing panics under it"), registry);
        drop(before);
    }

    fn ask(&self) -> i64 {
        let calls = self.calls.fetch_add(1, SeqCst);
        if !ASKING.get() {
            let registry = self.registry.lock().expect("nothing panics under it").clone();
            ASKING.set(true);
            if let Some(registry) = registry {
                do_anything(&registry, &mut Rng::new(calls), T0 + calls as i64);
            }
            ASKING.set(false);
        }
        calls as i64
    }
}

impl Clock for Nosy {
    fn wall_ms(&self) -> i64 {
        T0 + self.ask()
    }

    fn monotonic_ms(&self) -> i64 {
        self.ask()
    }

    fn refresh(&self) {
        self.ask();
    }
}

impl Policy for Nosy {
    fn choose(&self, candidates: &Candidates<'_>) -> Option<usize> {
        let first = candidates.get(0).map(|_| 0);
        self.ask();
        candidates.random().map(|(at, _)| at).or(first)
    }
}

fn nosy() -> Arc<Nosy> {
    Arc::new(Nosy { registry: Mutex::new(None), calls: AtomicU64::new(0) })
}

#[test]
fn c5_a_clock_that_calls_the_registry_does_not_deadlock() {
    within(Duration::from_secs(10), || {
        let clock = nosy();
        let (registry, _) = registry_with(|builder| builder.clock(clock.clone()));
        clock.know(Some(registry.clone()));
        let mut rng = Rng::new(5);
        for step in 0..3_000 {
            do_anything(&registry, &mut rng, T0 + step);
        }
        assert!(clock.calls.load(SeqCst) > 3_000);
        // Each holds the other; a registry that nobody can reach is a leak.
        clock.know(None);
    });
}

#[test]
fn c5_a_policy_that_calls_the_registry_does_not_deadlock() {
    within(Duration::from_secs(10), || {
        let (registry, _) = registry();
        let policy = nosy();
        policy.know(Some(registry.clone()));
        let mut rng = Rng::new(6);
        for step in 0..1_000 {
            let _ = registry.update_hive_state("h1", beat("h1", T0 + step, any_workers(&mut rng)));
            let _ = registry.pick("m1", policy.as_ref());
            drop(registry.reserve_with("m2", policy.as_ref()));
        }
        assert!(policy.calls.load(SeqCst) > 1_000);
        assert_indexes_equal_a_scan(&registry);
    });
}

#[test]
fn c6_all_operations_at_once_do_not_deadlock() {
    within(Duration::from_secs(20), || {
        let (registry, clock) = registry();
        let until = Instant::now() + Duration::from_millis(300);
        thread::scope(|scope| {
            for seed in 0..4 {
                let (registry, clock) = (&registry, &clock);
                scope.spawn(move || {
                    let mut rng = Rng::new(seed);
                    while Instant::now() < until {
                        clock.advance(Duration::from_millis(1));
                        do_anything(registry, &mut rng, clock.wall_ms());
                    }
                });
            }
        });
        clock.advance(Duration::from_secs(2));
        assert_eq!(registry.stats().reservations_open, 0);
        assert_indexes_equal_a_scan(&registry);
        for hive in registry.list_all_hives() {
            registry.remove_hive(&hive);
        }
        assert!(format!("{registry:?}").contains("hives: 0, workers: 0, models: 0"), "{registry:?}");
    });
}
