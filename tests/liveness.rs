//! Liveness: age, staleness, eviction, removal and the clocks behind them (L1 to L6).
#![cfg(not(loom))]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use common::*;
use hive_registry::{
    ARRIVAL_GRACE, Clock, Eviction, GUARDED_FLEET, HeartbeatOutcome, HiveRegistry, HiveRegistryBuilder,
    LivenessClock, MAX_EVICTED_PERCENT, MAX_HOLD, MAX_TOMBSTONES, ManualClock, PowerOfChoices, Random,
    StaleMode, SystemClock, TOMBSTONE_AGE,
};

const DAY_MS: i64 = 86_400_000;
const MINUTE: Duration = Duration::from_secs(60);

fn by_arrival() -> (HiveRegistry, ManualClock) {
    registry_with(|builder| builder.liveness_clock(LivenessClock::Arrival))
}

fn ms(count: u64) -> Duration {
    Duration::from_millis(count)
}

fn best(registry: &HiveRegistry) -> Option<String> {
    name(registry.find_best_worker_for_model("m"))
}

/// Everything that asks for age within the default window agrees that the hive is online, or not.
#[track_caller]
fn assert_online(registry: &HiveRegistry, hive: &str, online: bool) {
    let listed = |list: Vec<hive_registry::HiveId>| list.iter().any(|id| *id == *hive);
    assert_eq!(registry.is_hive_online(hive, 30_000), online);
    assert_eq!(listed(registry.list_active_hives(30_000)), online);
    assert_eq!(listed(registry.list_online_hives()), online);
    assert_eq!(listed(registry.list_available_hives()), online);
    let told = registry.snapshot().hives.into_iter().find(|told| told.state.hive_id == *hive).unwrap();
    assert_eq!((told.online, told.age_ms < 30_000), (online, online));
}

// === L1 ===

#[test]
fn l1_live_means_younger_than_the_age_under_both_clocks() {
    for liveness in [LivenessClock::Reported, LivenessClock::Arrival] {
        let (registry, clock) = registry_with(|builder| builder.liveness_clock(liveness));
        apply(&registry, beat("h", T0, vec![worker("w", "m")]));
        assert!(registry.is_hive_online("h", 1) && !registry.is_hive_online("h", 0));
        clock.advance(ms(29_999));
        assert_online(&registry, "h", true);
        assert!(registry.is_hive_online("h", 30_000) && !registry.is_hive_online("h", 29_999));
        assert_eq!((registry.count_online(), registry.count_available()), (1, 1));
        clock.advance(ms(1));
        assert_online(&registry, "h", false);
        assert!(registry.is_hive_online("h", 30_001) && registry.is_hive_online("h", i64::MAX));
        assert_eq!((registry.count_online(), registry.count_available()), (0, 0));
        assert!(!registry.is_hive_online("h", -1) && !registry.is_hive_online("unknown", i64::MAX));
        assert!(registry.list_active_hives(i64::MIN).is_empty());
        // C4: lists tell what is registered.
        assert_eq!(registry.list_all_hives(), ["h"]);
        assert_eq!(names(registry.list_all_workers()), ["h/w"]);
    }
}

#[test]
fn l1_holds_before_1970_as_well() {
    let clock = ManualClock::new(-DAY_MS);
    let registry = HiveRegistry::builder().clock(clock.clone()).build().expect("the defaults are valid");
    apply(&registry, beat("h", -DAY_MS, vec![worker("w", "m")]));
    assert_online(&registry, "h", true);
    clock.advance(ms(30_000));
    assert_online(&registry, "h", false);
    assert_eq!(best(&registry), None);
}

#[test]
fn l1_reported_is_the_payloads_timestamp_and_never_later_than_its_arrival() {
    let (registry, clock) = registry();
    apply(&registry, beat("late", T0 - 20_000, vec![]));
    apply(&registry, beat("ahead", T0 + DAY_MS, vec![]));
    assert_eq!(registry.get_hive_state("late").unwrap().last_heartbeat_ms, T0 - 20_000);
    assert_eq!(registry.get_hive_state("ahead").unwrap().last_heartbeat_ms, T0);
    clock.advance(ms(10_000));
    assert_online(&registry, "late", false);
    assert_online(&registry, "ahead", true);
    clock.advance(ms(20_000));
    assert_online(&registry, "ahead", false);
}

#[test]
fn l1_by_arrival_a_hive_with_a_wrong_clock_is_as_live_as_any() {
    let (registry, clock) = by_arrival();
    for (hive, skew) in [("ahead", DAY_MS), ("behind", -DAY_MS), ("right", 0)] {
        apply(&registry, beat(hive, T0 + skew, vec![worker("w", hive)]));
        assert_eq!(registry.get_hive_state(hive).unwrap().last_heartbeat_ms, T0);
    }
    clock.advance(ms(29_999));
    assert_eq!(registry.count_online(), 3);
    clock.advance(ms(1));
    assert_eq!(registry.count_online(), 0);
    assert_eq!(registry.find_best_worker_for_model("ahead"), None);
}

#[test]
fn l1_by_arrival_no_jump_of_the_wall_clock_changes_who_is_online() {
    for day in [DAY_MS, -DAY_MS] {
        let (registry, clock) = by_arrival();
        apply(&registry, beat("old", T0, vec![worker("w", "other")]));
        clock.advance(ms(20_000));
        apply(&registry, beat("new", T0 + 20_000, vec![worker("w", "m")]));
        clock.jump_wall(day);
        assert_online(&registry, "old", true);
        assert_online(&registry, "new", true);
        assert_eq!(best(&registry).as_deref(), Some("new/w"));
        assert_eq!(registry.evict_stale(ms(20_001)), Eviction { remaining: 0, ..Default::default() });
        clock.advance(ms(10_000));
        assert_online(&registry, "old", false);
        assert_online(&registry, "new", true);
        // What arrives after the jump is heard now, as before it.
        apply(&registry, beat("later", T0 + day + 30_000, vec![]));
        assert_eq!(registry.get_hive_state("later").unwrap().last_heartbeat_ms, T0 + 30_000);
        clock.advance(ms(20_000));
        assert_eq!(registry.list_online_hives(), ["later"]);
    }
}

#[test]
fn l1_superseded_counts_as_heard_when_it_was_sent_or_by_arrival_now() {
    for (liveness, heard) in [(LivenessClock::Arrival, true), (LivenessClock::Reported, false)] {
        let (registry, clock) = registry_with(|builder| builder.liveness_clock(liveness));
        apply(&registry, beat("h", T0, vec![worker("w", "m")]));
        clock.advance(ms(30_000));
        // The pick parks it.
        assert_eq!(best(&registry), None);
        let old = beat("h", T0 - 1, vec![worker("old", "m")]);
        assert_eq!(apply(&registry, old), HeartbeatOutcome::Superseded);
        assert_online(&registry, "h", heard);
        assert_eq!(best(&registry).as_deref(), heard.then_some("h/w"));

        // By its timestamp, wherever it stands in the order.
        apply(&registry, paired("p", T0 + 30_000, (1, 2), vec![worker("w", "p")]));
        clock.advance(ms(29_000));
        for (sent_at, age_ms) in [(T0, 29_000), (T0 + 50_000, 9_000), (T0 + 40_000, 9_000), (T0 + DAY_MS, 0)]
        {
            let again = paired("p", sent_at, (1, 1), vec![]);
            assert_eq!(apply(&registry, again), HeartbeatOutcome::Superseded);
            let by_clock = if heard { 0 } else { age_ms };
            assert_eq!(registry.snapshot().hives[1].age_ms, by_clock, "{liveness:?}, sent at {sent_at}");
        }
        // What is told of the heartbeat that was applied stays (C1).
        assert_eq!(registry.get_hive_state("p").unwrap().last_heartbeat_ms, T0 + 30_000);
    }
}

#[test]
fn l1_explain_tells_who_is_stale_by_its_clock_alone() {
    for (liveness, stale, by_clock) in [(LivenessClock::Reported, 3, 2), (LivenessClock::Arrival, 1, 0)] {
        let (registry, clock) = registry_with(|builder| builder.liveness_clock(liveness));
        apply(&registry, beat("silent", T0, vec![worker("w", "m")]));
        clock.advance(ms(30_000));
        apply(&registry, beat("behind", T0, vec![worker("v", "m"), worker("w", "m")]));
        let told = registry.explain("m");
        assert_eq!((told.workers, told.stale, told.stale_by_clock), (3, stale, by_clock), "{liveness:?}");
        clock.advance(ms(29_999));
        assert_eq!(registry.explain("m").stale_by_clock, by_clock);
        clock.advance(ms(1));
        let told = registry.explain("m");
        assert_eq!((told.stale, told.stale_by_clock), (3, 0), "now nobody has arrived lately");
    }
}

/// A clock that learns only when refreshed for how long the machine slept, as the system's does.
#[derive(Default)]
struct Sleeper {
    shows: ManualClock,
    slept_ms: AtomicU64,
    known_ms: AtomicU64,
    refreshed: AtomicU64,
}

impl Clock for Sleeper {
    fn wall_ms(&self) -> i64 {
        self.shows.wall_ms()
    }

    fn monotonic_ms(&self) -> i64 {
        self.shows.monotonic_ms() + self.known_ms.load(Ordering::SeqCst) as i64
    }

    fn refresh(&self) {
        self.refreshed.fetch_add(1, Ordering::SeqCst);
        self.known_ms.store(self.slept_ms.load(Ordering::SeqCst), Ordering::SeqCst);
    }
}

#[test]
fn l1_by_arrival_the_time_the_machine_slept_counts() {
    let clock = Arc::new(Sleeper { shows: ManualClock::new(T0), ..Default::default() });
    let builder = HiveRegistry::builder().clock(clock.clone()).liveness_clock(LivenessClock::Arrival);
    let registry = builder.build().unwrap();
    let sleep = || clock.slept_ms.fetch_add(30_000, Ordering::SeqCst);
    apply(&registry, beat("h", T0, vec![worker("w", "m")]));
    sleep();
    let refreshed = clock.refreshed.load(Ordering::SeqCst);
    let _ = (best(&registry), registry.reserve_worker_for_model("m"), registry.pick("m", &Random));
    assert_eq!(clock.refreshed.load(Ordering::SeqCst), refreshed, "a pick does not pay for it");
    // A heartbeat finds it, and so does a sweep.
    apply(&registry, beat("other", T0, vec![]));
    assert_eq!((registry.list_online_hives(), best(&registry)), (vec!["other".into()], None));
    sleep();
    assert_eq!(registry.evict_stale(MINUTE), told(1, false, 0));
    assert_eq!(registry.count_online(), 0);
}

#[test]
fn l1_the_systems_clock_does_not_jump_when_it_is_refreshed() {
    let before = SystemClock.monotonic_ms();
    SystemClock.refresh();
    let after = SystemClock.monotonic_ms();
    assert!((before..before + 60_000).contains(&after), "{before}, then {after}");
}

// === L2 ===

#[test]
fn l2_a_pick_never_returns_a_worker_of_a_silent_hive() {
    for liveness in [LivenessClock::Reported, LivenessClock::Arrival] {
        let window = |builder: HiveRegistryBuilder| builder.liveness_window(ms(500)).liveness_clock(liveness);
        let (registry, clock) = registry_with(window);
        apply(&registry, beat("silent", T0, vec![worker("w", "m")]));
        clock.advance(ms(499));
        apply(&registry, beat("beating", T0 + 499, vec![worker("w", "n")]));
        assert_eq!(best(&registry).as_deref(), Some("silent/w"));
        clock.advance(ms(1));
        // The idle worker of the other model is all that is left.
        assert_eq!(best(&registry).as_deref(), Some("beating/w"));
        for _ in 0..3 {
            assert_eq!(registry.reserve_worker_for_model("m").unwrap().hive_id(), "beating");
            assert_eq!(name(registry.pick("m", &Random)).as_deref(), Some("beating/w"));
        }
        let lease = registry.reserve_detached("m", MINUTE).unwrap();
        assert_eq!(lease.hive_id, "beating");
        clock.advance(ms(499));
        assert_eq!(best(&registry), None);
        assert!(registry.reserve_worker_for_model("m").is_none());
        assert!(registry.reserve_with("m", &PowerOfChoices { d: 2 }).is_none());
        // Heard again, it is back at once.
        apply(&registry, beat("silent", T0 + 999, vec![worker("w", "m")]));
        assert_eq!(best(&registry).as_deref(), Some("silent/w"));
    }
}

#[test]
fn l2_ignore_does_not_look_at_age() {
    let (registry, clock) = registry_with(|builder| builder.stale_mode(StaleMode::Ignore));
    apply(&registry, beat("h", T0, vec![worker("w", "m")]));
    clock.advance(Duration::from_secs(86_400));
    assert_eq!(best(&registry).as_deref(), Some("h/w"));
    assert_eq!(registry.reserve_worker_for_model("m").unwrap().hive_id(), "h");
    assert_eq!(name(registry.pick("m", &Random)).as_deref(), Some("h/w"));
    // Only picks: it is offline nevertheless.
    assert_online(&registry, "h", false);
    assert_eq!(registry.evict_stale(MINUTE).hives, 1);
    assert_eq!(best(&registry), None);
}

#[test]
fn l2_a_clock_set_back_revives_what_a_pick_had_parked() {
    let (registry, clock) = registry();
    for hive in ["a", "b"] {
        apply(&registry, beat(hive, T0, vec![worker("w", "m"), worker_in("Busy", "v", "m")]));
    }
    clock.jump_wall(DAY_MS);
    assert_eq!(best(&registry), None);
    assert!(registry.reserve_worker_for_model("m").is_none());
    clock.jump_wall(-DAY_MS);
    assert_eq!(registry.count_online(), 2);
    assert_eq!(best(&registry).as_deref(), Some("a/w"));
    // Every one of them, by every way in.
    let held: Vec<_> = std::iter::from_fn(|| registry.reserve_worker_for_model("m")).take(4).collect();
    let mut hosts: Vec<_> =
        held.iter().map(|held| format!("{}/{}", held.hive_id(), held.worker().worker_id)).collect();
    hosts.sort();
    assert_eq!(hosts, ["a/v", "a/w", "b/v", "b/w"]);
    drop(held);
    // Back by so little that they stay dead, then by enough.
    clock.jump_wall(DAY_MS);
    assert_eq!(best(&registry), None);
    clock.jump_wall(30_000 - DAY_MS);
    assert_eq!(best(&registry), None);
    clock.jump_wall(-1);
    assert!(name(registry.pick("m", &Random)).is_some());
    assert!(best(&registry).is_some());
}

// === L3 ===

/// `all` hives, "00" and on, of which only the last `beating` are heard again `later`.
fn fleet(all: usize, beating: usize, later: Duration) -> (HiveRegistry, ManualClock) {
    let (registry, clock) = registry();
    for hive in 0..all {
        apply(&registry, beat(&format!("{hive:02}"), T0, vec![worker("w", "m")]));
    }
    clock.advance(later);
    beats(&registry, &clock, all - beating..all);
    (registry, clock)
}

fn beats(registry: &HiveRegistry, clock: &ManualClock, hives: std::ops::Range<usize>) {
    for hive in hives {
        apply(registry, beat(&format!("{hive:02}"), clock.wall_ms(), vec![worker("w", "m")]));
    }
}

fn told(hives: usize, held: bool, remaining: usize) -> Eviction {
    let mut eviction = Eviction::default();
    (eviction.hives, eviction.held, eviction.remaining) = (hives, held, remaining);
    eviction
}

#[test]
fn l3_a_small_fleet_is_evicted_at_once_and_at_the_age_exactly() {
    assert_eq!((GUARDED_FLEET, MAX_EVICTED_PERCENT, MAX_HOLD), (8, 15, 5 * MINUTE));
    let (registry, clock) = fleet(7, 0, ms(59_999));
    assert_eq!(registry.evict_stale(MINUTE), told(0, false, 0));
    clock.advance(ms(1));
    assert_eq!(registry.evict_stale(MINUTE), told(7, false, 0));
    assert_eq!((registry.hive_count(), registry.total_worker_count()), (0, 0));
    assert!(registry.find_workers_by_model("m").is_empty() && registry.find_idle_workers().is_empty());
    assert_eq!(registry.get_worker("w"), None);
    assert_eq!(registry.stats().evictions, 7);
}

#[test]
fn l3_a_pass_takes_15_percent_of_a_guarded_fleet_and_one_at_least() {
    // 15 % of 8 is 1, of 40 is 6, of 33 is 4.95.
    for (all, silent, most) in [(8, 3, 1), (33, 10, 4), (40, 20, 6), (14, 1, 2)] {
        let (registry, _) = fleet(all, all - silent, MINUTE);
        let first = silent.min(most);
        assert_eq!(registry.evict_stale(MINUTE), told(first, false, silent - first), "{all} hives");
        assert_eq!(registry.hive_count(), all - first);
        // Longest silent first, by id among equals.
        let left: Vec<_> = (first..all).map(|hive| format!("{hive:02}")).collect();
        assert_eq!(registry.list_all_hives(), left);
    }
}

#[test]
fn l3_the_longest_silent_goes_first() {
    let (registry, clock) = fleet(8, 0, ms(10));
    beats(&registry, &clock, 0..2);
    clock.advance(MINUTE);
    beats(&registry, &clock, 4..8);
    assert_eq!(registry.evict_stale(MINUTE), told(1, false, 3));
    assert!(!registry.list_all_hives().iter().any(|hive| *hive == "02"), "{:?}", registry.list_all_hives());
}

#[test]
fn l3_a_mass_silence_holds_until_the_share_falls() {
    // 4 of 8 is not over half.
    let (registry, _) = fleet(8, 4, MINUTE);
    assert_eq!(registry.evict_stale(MINUTE), told(1, false, 3));

    let (registry, clock) = fleet(8, 3, MINUTE);
    for _ in 0..3 {
        assert_eq!(registry.evict_stale(MINUTE), told(0, true, 5));
    }
    assert_eq!((registry.hive_count(), registry.stats().holds), (8, 3));
    beats(&registry, &clock, 0..1);
    assert_eq!(registry.evict_stale(MINUTE), told(1, false, 3));
    assert_eq!(registry.stats().evictions, 1);
}

#[test]
fn l3_a_mass_silence_holds_for_max_hold_and_no_longer() {
    let (registry, clock) = fleet(20, 0, MINUTE);
    assert_eq!(registry.evict_stale(MINUTE), told(0, true, 20));
    clock.advance(MAX_HOLD - ms(1));
    assert_eq!(registry.evict_stale(MINUTE), told(0, true, 20));
    clock.advance(ms(1));
    // The 15 % still applies then: 3 of 20, 2 of 17, 2 of 15, ...
    let mut left = 20;
    for taken in [3, 2, 2, 1] {
        left -= taken;
        assert_eq!(registry.evict_stale(MINUTE), told(taken, false, left));
    }
}

#[test]
fn l3_a_second_mass_silence_holds_anew() {
    let (registry, clock) = fleet(10, 0, MINUTE);
    assert!(registry.evict_stale(MINUTE).held);
    clock.advance(MAX_HOLD);
    beats(&registry, &clock, 0..10);
    assert_eq!(registry.evict_stale(MINUTE), told(0, false, 0));
    clock.advance(MINUTE);
    assert_eq!(registry.evict_stale(MINUTE), told(0, true, 10));
    clock.advance(MAX_HOLD);
    assert_eq!(registry.evict_stale(MINUTE), told(1, false, 9));
}

#[test]
fn l3_of_too_many_ages_the_one_not_asked_for_the_longest_is_forgotten() {
    let (registry, clock) = fleet(10, 0, 2 * MINUTE);
    let age = |number: u64| MINUTE + Duration::from_secs(number);
    for number in (0..16).chain([0]).chain([16]) {
        clock.advance(ms(1));
        assert!(registry.evict_stale(age(number)).held);
    }
    clock.advance(MAX_HOLD);
    assert!(registry.evict_stale(age(1)).held, "forgotten, when the seventeenth came");
    assert_eq!(registry.evict_stale(age(0)), told(1, false, 9));
}

#[test]
fn l3_goes_by_arrival_whatever_the_liveness_clock() {
    for liveness in [LivenessClock::Reported, LivenessClock::Arrival] {
        let (registry, clock) = registry_with(|builder| builder.liveness_clock(liveness));
        // An hour behind, and beating: offline by its own clock, but not silent.
        apply(&registry, beat("behind", T0 - 3_600_000, vec![]));
        clock.jump_wall(DAY_MS);
        assert_eq!(registry.evict_stale(MINUTE), told(0, false, 0));
        clock.advance(ms(59_000));
        // What is superseded was heard.
        let old = beat("behind", T0 - 3_600_001, vec![]);
        assert_eq!(apply(&registry, old), HeartbeatOutcome::Superseded);
        clock.advance(ms(59_999));
        assert_eq!(registry.evict_stale(MINUTE), told(0, false, 0));
        clock.advance(ms(1));
        assert_eq!(registry.evict_stale(MINUTE), told(1, false, 0));
    }
}

/// A clock that runs something in the middle of what reads it.
struct Meddling {
    clock: ManualClock,
    then: std::sync::Mutex<Option<Box<dyn FnOnce() + Send>>>,
}

impl Clock for Meddling {
    fn wall_ms(&self) -> i64 {
        self.clock.wall_ms()
    }

    fn monotonic_ms(&self) -> i64 {
        let now = self.clock.monotonic_ms();
        let then = self.then.lock().unwrap().take();
        then.into_iter().for_each(|then| then());
        now
    }
}

#[test]
fn l3_a_heartbeat_that_came_meanwhile_wins() {
    let clock = ManualClock::new(T0);
    let meddling = Arc::new(Meddling { clock: clock.clone(), then: std::sync::Mutex::new(None) });
    let registry = HiveRegistry::builder().clock(meddling.clone()).build().unwrap();
    for hive in ["beats", "silent"] {
        apply(&registry, beat(hive, T0, vec![worker("w", "m")]));
    }
    clock.advance(MINUTE);
    // The pass has read its time, and then the heartbeat arrives.
    let (other, at) = (registry.clone(), clock.wall_ms());
    *meddling.then.lock().unwrap() =
        Some(Box::new(move || _ = apply(&other, beat("beats", at, vec![worker("w", "m")]))));
    assert_eq!(registry.evict_stale(MINUTE), told(1, false, 0));
    assert_eq!(registry.list_all_hives(), ["beats"]);
    assert_eq!(best(&registry).as_deref(), Some("beats/w"));
}

// === L4 ===

/// How many threads of this process are sweepers. One that was joined may be listed a moment longer.
#[cfg(target_os = "linux")]
fn sweepers() -> usize {
    let tasks = std::fs::read_dir("/proc/self/task").expect("Linux has it");
    let name = |task: std::io::Result<std::fs::DirEntry>| {
        std::fs::read_to_string(task.ok()?.path().join("comm")).ok()
    };
    tasks.filter_map(name).filter(|name| name.starts_with("hive-sweeper")).count()
}

/// Waits for what another thread is about to do.
fn eventually(what: &str, is_so: impl Fn() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < Duration::from_secs(30), "{what}");
        std::thread::sleep(ms(2));
    }
}

/// One test, because it counts the threads of the process.
#[test]
fn l4_a_sweeper_runs_only_when_asked_and_holds_the_registry_weakly() {
    let (registry, clock) = registry();
    apply(&registry, beat("h", T0, vec![worker("w", "m")]));
    let _ = (registry.evict_stale(MINUTE), registry.subscribe(4), best(&registry), registry.stats());
    #[cfg(target_os = "linux")]
    assert_eq!(sweepers(), 0, "the library starts no thread by itself");

    let sweeper = registry.spawn_sweeper(ms(1), MINUTE).unwrap();
    clock.advance(MINUTE);
    eventually("the sweeper evicts", || registry.hive_count() == 0);
    drop(sweeper);
    #[cfg(target_os = "linux")]
    eventually("dropping it ends the thread", || sweepers() == 0);
    apply(&registry, beat("h", clock.wall_ms(), vec![]));
    clock.advance(MINUTE);
    std::thread::sleep(ms(20));
    assert_eq!(registry.hive_count(), 1, "it no longer sweeps");

    // A sweeper that wakes in an hour does not keep its dropper waiting, nor the registry's memory.
    let counting = Arc::new(Counting::default());
    let other = HiveRegistry::builder().clock(counting.clone()).build().unwrap();
    let slow = other.spawn_sweeper(Duration::from_secs(3_600), MINUTE).unwrap();
    let fast = other.spawn_sweeper(ms(1), MINUTE).unwrap();
    drop(other);
    // The clock goes with the registry; a pass that runs right now may hold both a moment longer.
    eventually("the registry is freed", || Arc::strong_count(&counting) == 1);
    drop((slow, fast));
    #[cfg(target_os = "linux")]
    eventually("both threads end", || sweepers() == 0);
}

// === L5 ===

#[test]
fn l5_a_removed_hive_is_gone_from_everything_at_once() {
    let (registry, _) = registry();
    apply(&registry, beat("h", T0, vec![worker("a", "m"), worker_in("Busy", "b", "n")]));
    apply(&registry, beat("other", T0, vec![worker_in("Busy", "a", "x")]));
    assert!(registry.remove_hive("h"));
    assert!(!registry.remove_hive("h") && !registry.remove_hive("unknown"));
    assert_eq!((registry.hive_count(), registry.total_worker_count()), (1, 1));
    assert_eq!(registry.get_hive_state("h"), None);
    assert_eq!((registry.get_worker_count("h"), registry.is_hive_online("h", i64::MAX)), (None, false));
    assert_eq!(names(registry.list_all_workers()), ["other/a"]);
    assert_eq!(names(registry.find_workers_by_backend("cuda")), ["other/a"]);
    assert!(registry.find_idle_workers().is_empty());
    assert!(registry.find_workers_by_model("m").is_empty());
    assert_eq!((best(&registry), registry.get_worker("b")), (None, None));
    assert_eq!(name(registry.get_worker("a")).as_deref(), Some("other/a"));
}

#[test]
fn l5_reported_a_later_timestamp_lifts_the_tombstone() {
    let (registry, clock) = registry();
    apply(&registry, beat("h", T0, vec![]));
    registry.remove_hive("h");
    for before in [T0 - DAY_MS, T0 - 1, T0] {
        assert_eq!(apply(&registry, beat("h", before, vec![])), HeartbeatOutcome::Removed);
    }
    clock.advance(ms(5_000));
    assert_eq!(apply(&registry, beat("h", T0, vec![])), HeartbeatOutcome::Removed);
    assert_eq!((registry.hive_count(), registry.stats().heartbeats.removed), (0, 4));
    assert_eq!(apply(&registry, beat("h", T0 + 1, vec![])), HeartbeatOutcome::Registered);
    // It still keeps out what is older than the removal.
    let older = apply(&registry, beat("h", T0 - 70_000, vec![]));
    assert_eq!(older, HeartbeatOutcome::Removed);
    assert_eq!(apply(&registry, beat("h", T0 + 2, vec![])), HeartbeatOutcome::Updated);
}

#[test]
fn l5_by_arrival_two_seconds_lift_the_tombstone() {
    assert_eq!(ARRIVAL_GRACE, ms(2_000));
    let (registry, clock) = by_arrival();
    apply(&registry, beat("h", T0, vec![]));
    registry.remove_hive("h");
    assert_eq!(apply(&registry, beat("h", T0 + DAY_MS, vec![])), HeartbeatOutcome::Removed);
    clock.jump_wall(DAY_MS);
    clock.advance(ms(2_000));
    assert_eq!(apply(&registry, beat("h", T0 + DAY_MS, vec![])), HeartbeatOutcome::Removed);
    clock.advance(ms(1));
    // What is no newer than the last heartbeat before the removal stays out.
    for sent_at in [T0 - DAY_MS, T0] {
        assert_eq!(apply(&registry, beat("h", sent_at, vec![])), HeartbeatOutcome::Removed);
    }
    assert_eq!(apply(&registry, beat("h", T0 + 1, vec![])), HeartbeatOutcome::Registered);
}

#[test]
fn l5_a_greater_epoch_lifts_the_tombstone_under_both_clocks() {
    for liveness in [LivenessClock::Reported, LivenessClock::Arrival] {
        let (registry, _) = registry_with(|builder| builder.liveness_clock(liveness));
        apply(&registry, paired("h", T0, (5, 1), vec![]));
        registry.remove_hive("h");
        for pair in [(5, 2), (5, u64::MAX), (4, 9)] {
            assert_eq!(apply(&registry, paired("h", T0, pair, vec![])), HeartbeatOutcome::Removed);
        }
        assert_eq!(apply(&registry, beat("h", T0, vec![])), HeartbeatOutcome::Removed);
        let next_boot = paired("h", T0 - DAY_MS, (6, 0), vec![]);
        assert_eq!(apply(&registry, next_boot), HeartbeatOutcome::Registered);
        // A hive that had sent no pair has no boot to compare with.
        apply(&registry, beat("plain", T0, vec![]));
        registry.remove_hive("plain");
        assert_eq!(apply(&registry, paired("plain", T0, (9, 0), vec![])), HeartbeatOutcome::Removed);
    }
}

#[test]
fn l5_a_tombstone_stands_for_ten_minutes() {
    assert_eq!(TOMBSTONE_AGE, 10 * MINUTE);
    let (registry, clock) = registry();
    for hive in ["a", "b"] {
        apply(&registry, beat(hive, T0, vec![]));
    }
    registry.remove_hive("a");
    clock.advance(ms(1));
    registry.remove_hive("b");
    // By time that passes, not by the wall clock.
    clock.jump_wall(DAY_MS);
    clock.advance(TOMBSTONE_AGE - ms(2));
    for hive in ["a", "b"] {
        assert_eq!(apply(&registry, beat(hive, T0, vec![])), HeartbeatOutcome::Removed);
    }
    clock.advance(ms(1));
    assert_eq!(apply(&registry, beat("b", T0, vec![])), HeartbeatOutcome::Removed);
    assert_eq!(apply(&registry, beat("a", T0, vec![])), HeartbeatOutcome::Registered);
    clock.advance(ms(1));
    assert_eq!(apply(&registry, beat("b", T0, vec![])), HeartbeatOutcome::Registered);
}

#[test]
fn l5_removed_again_the_later_tombstone_counts() {
    let (registry, clock) = registry();
    apply(&registry, beat("h", T0, vec![]));
    registry.remove_hive("h");
    clock.advance(9 * MINUTE);
    apply(&registry, beat("h", clock.wall_ms(), vec![]));
    registry.remove_hive("h");
    clock.advance(2 * MINUTE);
    assert_eq!(apply(&registry, beat("h", T0, vec![])), HeartbeatOutcome::Removed);
    assert_eq!(apply(&registry, beat("h", T0 + 540_000, vec![])), HeartbeatOutcome::Removed);
    assert_eq!(apply(&registry, beat("h", T0 + 540_001, vec![])), HeartbeatOutcome::Registered);
}

#[test]
fn l5_the_oldest_of_too_many_tombstones_is_dropped() {
    assert_eq!(MAX_TOMBSTONES, 100_000);
    let (registry, _) = registry();
    let hive = |number: usize| beat(&format!("h{number}"), T0, vec![]);
    for number in 0..=MAX_TOMBSTONES {
        apply(&registry, hive(number));
        assert!(registry.remove_hive(&format!("h{number}")));
    }
    assert_eq!(apply(&registry, hive(0)), HeartbeatOutcome::Registered);
    for number in [1, MAX_TOMBSTONES] {
        assert_eq!(apply(&registry, hive(number)), HeartbeatOutcome::Removed);
    }
}

#[test]
fn l5_eviction_leaves_no_tombstone() {
    for liveness in [LivenessClock::Reported, LivenessClock::Arrival] {
        let (registry, clock) = registry_with(|builder| builder.liveness_clock(liveness));
        apply(&registry, paired("h", T0, (5, 5), vec![]));
        clock.advance(MINUTE);
        assert_eq!(registry.evict_stale(MINUTE), told(1, false, 0));
        assert_eq!(apply(&registry, paired("h", T0, (5, 5), vec![])), HeartbeatOutcome::Registered);
    }
}

// === L6 ===

/// A clock that stands still and counts how often it is asked.
#[derive(Default)]
struct Counting {
    wall: AtomicU64,
    monotonic: AtomicU64,
}

impl Clock for Counting {
    fn wall_ms(&self) -> i64 {
        self.wall.fetch_add(1, Ordering::Relaxed);
        T0
    }

    fn monotonic_ms(&self) -> i64 {
        self.monotonic.fetch_add(1, Ordering::Relaxed);
        5
    }
}

#[test]
fn l6_all_time_comes_from_the_injected_clock() {
    for (liveness, is_wall) in [(LivenessClock::Reported, true), (LivenessClock::Arrival, false)] {
        let clock = Arc::new(Counting::default());
        let builder = HiveRegistry::builder().clock(clock.clone()).liveness_clock(liveness);
        let registry = builder.build().unwrap();
        apply(&registry, beat("h", T0, vec![worker("w", "m")]));
        let asked = || if is_wall { &clock.wall } else { &clock.monotonic }.load(Ordering::Relaxed);
        let questions: [&dyn Fn() -> bool; 4] = [
            &|| best(&registry).is_some(),
            &|| registry.reserve_worker_for_model("m").is_some(),
            &|| registry.is_hive_online("h", 1),
            &|| registry.count_online() == 1,
        ];
        for question in questions {
            let before = asked();
            assert!(question());
            assert!(asked() > before, "{liveness:?}");
        }
        // T0 is long ago, but not for this clock.
        assert_eq!(registry.snapshot().taken_at_ms, T0);
        assert_eq!(registry.snapshot().hives[0].age_ms, 0);
    }
}

#[test]
fn l6_clocks_may_show_anything() {
    for wall in [i64::MIN, -1, 0, i64::MAX] {
        for liveness in [LivenessClock::Reported, LivenessClock::Arrival] {
            let clock = ManualClock::new(wall);
            let builder = HiveRegistry::builder().clock(clock.clone()).liveness_clock(liveness);
            let registry = builder.build().unwrap();
            apply(&registry, beat("h", T0, vec![worker("w", "m")]));
            registry.update_workers("i", vec![process("g", "1", "m")]).unwrap();
            let _ = (best(&registry), registry.snapshot(), registry.list_active_hives(i64::MAX));
            clock.jump_wall(if wall > 0 { i64::MIN } else { i64::MAX });
            clock.advance(Duration::MAX);
            let _ = (best(&registry), registry.evict_stale(Duration::MAX), registry.stats());
            let _ = (registry.remove_hive("h"), registry.reserve_detached("m", Duration::MAX));
            assert_eq!(registry.hive_count(), registry.list_all_hives().len());
        }
    }
}

#[test]
fn l6_a_seed_makes_random_picks_repeat() {
    let picks = |seed: u64| -> Vec<_> {
        let (registry, _) = registry_with(|builder| builder.seed(seed));
        for hive in 0..10 {
            apply(&registry, beat(&format!("h{hive}"), T0, vec![worker("w", "m"), worker("v", "m")]));
        }
        let mut all: Vec<_> = (0..60).map(|_| name(registry.pick("m", &Random)).unwrap()).collect();
        let choices = PowerOfChoices { d: 2 };
        all.extend((0..60).map(|_| name(registry.pick("m", &choices)).unwrap()));
        all
    };
    let first = picks(7);
    assert_eq!(picks(7), first);
    assert_ne!(picks(8), first);
    assert!(first.iter().any(|one| *one != first[0]));
}
