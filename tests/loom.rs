//! Interleavings explored by loom on the code that ships (`make loom`): one scenario a test.
//!
//! `src/sync.rs` says what stands in for what. Built only under `--cfg loom`; the preemption bound comes from
//! `LOOM_MAX_PREEMPTIONS`. The cost beside each is for a bound of 2 on one core.
#![cfg(loom)]

use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use hive_registry::{
    Candidates, Event, EventKind, FeedError, HiveHeartbeatPayload, HiveRegistry, LeastLoaded, LivenessClock,
    ManualClock, Policy, Reservation, WorkerHealth, WorkerInfo, WorkerState,
};
use loom::sync::atomic::Ordering;
use loom::thread;

const NOW: &str = "2025-10-21T10:00:00Z";
const LATER: &str = "2025-10-21T10:00:01Z";
const HALF_A_MINUTE_LATER: &str = "2025-10-21T10:00:30Z";
const MODEL: &str = "m";

fn registry() -> HiveRegistry {
    clocked().0
}

fn clocked() -> (HiveRegistry, ManualClock) {
    let clock = ManualClock::new(1_761_040_800_000);
    let builder = HiveRegistry::builder().clock(clock.clone()).seed(1);
    (builder.build().expect("the settings are in bounds"), clock)
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

/// The other thread, with a handle of its own.
fn beside<T: 'static>(
    registry: &HiveRegistry,
    work: impl FnOnce(HiveRegistry) -> T + 'static,
) -> thread::JoinHandle<T> {
    let registry = registry.clone();
    thread::spawn(move || work(registry))
}

fn beat(registry: &HiveRegistry, hive: &str, workers: Vec<WorkerState>) {
    beat_at(registry, hive, NOW, workers);
}

fn beat_at(registry: &HiveRegistry, hive: &str, timestamp: &str, workers: Vec<WorkerState>) {
    let timestamp = timestamp.into();
    let payload = HiveHeartbeatPayload { hive_id: hive.into(), timestamp, workers, ..Default::default() };
    registry.update_hive_state(hive, payload).expect("the heartbeat is in bounds");
}

/// "Registered into a detached entry": the last worker of a model leaves, and its ranking is pruned, while
/// another worker joins it.
#[test]
fn ranking_pruned_while_a_worker_joins_it() {
    loom::model(|| {
        let registry = registry();
        beat(&registry, "a", vec![worker("Busy", None)]);
        let pruner = beside(&registry, move |registry| beat(&registry, "a", Vec::new()));
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
        let other = beside(&registry, move |registry| registry.reserve_worker_for_model(MODEL));
        let mine = registry.reserve_worker_for_model(MODEL);
        let other = other.join().expect("no panic");
        assert!(mine.is_some() != other.is_some());
        assert_eq!(registry.explain(MODEL).full, 1);
        drop((mine, other));
        assert_eq!(registry.explain(MODEL).eligible, 1);
    });
}

/// The same place wanted by the default rule and by a policy, which looks in one stay under the lock and counts in another.
#[test]
fn a_reserve_and_a_policy_on_the_last_free_place() {
    loom::model(|| {
        let registry = registry();
        beat(&registry, "a", vec![worker("Busy", Some(1))]);
        let other = beside(&registry, move |registry| registry.reserve_with(MODEL, &First));
        let mine = registry.reserve_worker_for_model(MODEL);
        let other = other.join().expect("no panic");
        assert!(mine.is_some() != other.is_some());
        drop((mine, other));
        // The release was written through: the place is found again.
        assert!(registry.find_best_worker_for_model(MODEL).is_some());
    });
}

/// A policy's reservation of the winner leaves it published. A pick begun after it must not return that worker while
/// another is better, even as a third call corrects the ranking.
#[test]
fn a_pick_after_a_reservation_against_a_pick_that_corrects() {
    loom::model(|| {
        let registry = registry();
        beat(&registry, "a", named(&["v", "w"]));
        let other = beside(&registry, move |registry| drop(registry.find_best_worker_for_model(MODEL)));
        let reserved = registry.reserve_with(MODEL, &First).expect("both are eligible");
        let (_, found) = registry.find_best_worker_for_model(MODEL).expect("both are eligible");
        assert_ne!(found.worker_id, reserved.worker().worker_id);
        other.join().expect("no panic");
    });
}

/// Two releases write through to a ranking that is behind: its published winner is reserved no more, and is not the best.
#[test]
fn two_releases_while_the_published_winner_is_behind() {
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

/// A policy reserves another than the published winner, which stays true; then a better one comes beside a pick.
#[test]
fn a_better_one_comes_once_a_policy_has_reserved_another() {
    loom::model(|| {
        let registry = registry();
        let of = |gpu: f32| vec![WorkerState { gpu_percent: Some(gpu), ..worker("Busy", None) }];
        beat(&registry, "a", of(20.0));
        beat(&registry, "b", of(50.0));
        let held = registry.reserve_with(MODEL, &Last).expect("two are there");
        assert_eq!(held.hive_id(), "b");
        let other = beside(&registry, move |registry| drop(registry.find_best_worker_for_model(MODEL)));
        beat(&registry, "c", of(0.0));
        let (hive, _) = registry.find_best_worker_for_model(MODEL).expect("three are there");
        assert_eq!(hive, "c");
        other.join().expect("no panic");
    });
}

/// A worker is replaced by another of its hive, while a lookup by id holds the slot of the one that goes.
#[test]
fn a_worker_replaced_while_a_lookup_holds_its_slot() {
    loom::model(|| {
        let registry = registry();
        beat(&registry, "a", named(&["w"]));
        let other = beside(&registry, move |registry| beat(&registry, "a", named(&["x"])));
        let found = registry.get_worker("w").map(|(_, worker)| worker.worker_id.clone());
        assert!(found.is_none_or(|id| id == "w"));
        let picked = registry.find_best_worker_for_model(MODEL).map(|(_, worker)| worker.worker_id.clone());
        other.join().expect("no panic");
        assert!(picked.is_none_or(|id| id == "w" || id == "x"));
        assert!(registry.get_worker("w").is_none());
        assert!(registry.find_best_worker_for_model(MODEL).is_some());
    });
}

/// Two workers bring one model that nobody had: both end in one ranking.
#[test]
fn two_workers_join_one_new_model() {
    loom::model(|| {
        let registry = registry();
        let other = beside(&registry, move |registry| beat(&registry, "a", named(&["v"])));
        beat(&registry, "b", named(&["w"]));
        assert!(registry.find_best_worker_for_model(MODEL).is_some());
        other.join().expect("no panic");
        assert_eq!(registry.explain(MODEL).workers, 2);
        assert_eq!(registry.total_worker_count(), 2);
    });
}

/// Whatever holds the hive's cell while it is removed indexes no ghosts: the hive is there whole, or not at all.
#[test]
fn a_heartbeat_that_holds_a_cell_while_it_is_removed() {
    loom::model(|| {
        let registry = registry();
        beat(&registry, "a", named(&["w"]));
        let other = beside(&registry, move |registry| registry.remove_hive("a"));
        // After the removal, by its timestamp (L5).
        beat_at(&registry, "a", LATER, named(&["w", "x"]));
        assert!(other.join().expect("no panic"));
        let there = registry.get_hive_state("a").is_some();
        let workers = if there { 2 } else { 0 };
        assert_eq!(registry.hive_count(), usize::from(there));
        assert_eq!(registry.total_worker_count(), workers);
        assert_eq!(registry.explain(MODEL).workers, workers);
        assert_eq!(registry.find_best_worker_for_model(MODEL).is_some(), there);
        assert_eq!(registry.get_worker("x").is_some(), there);
    });
}

/// L5: a heartbeat made before the removal brings nothing back.
#[test]
fn a_late_heartbeat_against_a_removal() {
    loom::model(|| {
        let registry = registry();
        beat(&registry, "a", named(&["w"]));
        let other = beside(&registry, move |registry| beat(&registry, "a", named(&["w"])));
        assert!(registry.remove_hive("a"));
        // C2, whatever the heartbeat does.
        assert!(registry.find_best_worker_for_model(MODEL).is_none());
        other.join().expect("no panic");
        assert_eq!((registry.hive_count(), registry.total_worker_count()), (0, 0));
        assert_eq!(registry.explain(MODEL).workers, 0);
    });
}

/// C2: a pick publishes what it found while the hive is removed; a pick after the removal finds nobody.
#[test]
fn a_removal_against_a_pick() {
    loom::model(|| {
        let registry = registry();
        beat(&registry, "a", named(&["w"]));
        let other = beside(&registry, move |registry| drop(registry.find_best_worker_for_model(MODEL)));
        assert!(registry.remove_hive("a"));
        assert!(registry.find_best_worker_for_model(MODEL).is_none());
        other.join().expect("no panic");
        assert!(registry.find_best_worker_for_model(MODEL).is_none());
    });
}

/// A pick parks a silent hive's worker while the hive beats: after the heartbeat it is found.
#[test]
fn parking_against_a_heartbeat() {
    loom::model(|| {
        let (registry, clock) = clocked();
        beat(&registry, "a", named(&["w"]));
        clock.advance(Duration::from_secs(30));
        let other = beside(&registry, move |registry| drop(registry.find_best_worker_for_model(MODEL)));
        beat_at(&registry, "a", HALF_A_MINUTE_LATER, named(&["w"]));
        assert!(registry.find_best_worker_for_model(MODEL).is_some());
        other.join().expect("no panic");
        assert!(registry.find_best_worker_for_model(MODEL).is_some());
    });
}

/// A hive is silent by the arrival clock, and a heartbeat that another has overtaken shows that it is there (I3). It writes
/// no key anew unless somebody was parked.
fn while_an_overtaken_heartbeat_arrives(pick: impl Fn(&HiveRegistry) + Copy + Send + Sync + 'static) {
    loom::model(move || {
        let clock = ManualClock::new(1_761_040_800_000);
        let builder =
            HiveRegistry::builder().clock(clock.clone()).seed(1).liveness_clock(LivenessClock::Arrival);
        let registry = builder.build().expect("the settings are in bounds");
        beat_at(&registry, "a", LATER, named(&["w"]));
        clock.advance(Duration::from_secs(30));
        let other = beside(&registry, move |registry| pick(&registry));
        beat(&registry, "a", named(&["w"]));
        other.join().expect("no panic");
        assert!(registry.find_best_worker_for_model(MODEL).is_some());
    });
}

/// A pick parks a silent hive's worker while an overtaken heartbeat of it arrives: afterwards it is found.
#[test]
fn parking_against_an_overtaken_heartbeat() {
    while_an_overtaken_heartbeat_arrives(|registry| drop(registry.find_best_worker_for_model(MODEL)));
}

/// The same by a look of a policy.
#[test]
fn a_policy_that_parks_against_an_overtaken_heartbeat() {
    while_an_overtaken_heartbeat_arrives(|registry| drop(registry.pick(MODEL, &Last)));
}

/// Looks at each candidate there is, and chooses the last.
struct Last;

impl Policy for Last {
    fn choose(&self, candidates: &Candidates<'_>) -> Option<usize> {
        (0..candidates.len()).filter(|at| candidates.get(*at).is_some()).last()
    }
}

/// A policy looks at a silent hive's worker, and so parks it, while the hive beats.
#[test]
fn a_policy_that_parks_against_a_heartbeat() {
    loom::model(|| {
        let (registry, clock) = clocked();
        let one = || vec![worker("Busy", Some(1))];
        beat(&registry, "a", one());
        beat(&registry, "b", one());
        clock.advance(Duration::from_secs(30));
        beat_at(&registry, "a", HALF_A_MINUTE_LATER, one());
        let other = beside(&registry, move |registry| drop(registry.pick(MODEL, &Last)));
        beat_at(&registry, "b", HALF_A_MINUTE_LATER, one());
        other.join().expect("no panic");
        let held = [(); 2].map(|()| registry.reserve_worker_for_model(MODEL));
        assert!(held.iter().all(Option::is_some), "both hives are heard");
    });
}

/// The published winner goes while a reader holds it: another that was there throughout is found.
#[test]
fn a_winner_that_goes_while_a_reader_holds_it() {
    loom::model(|| {
        let registry = registry();
        beat(&registry, "a", named(&["w"]));
        beat(&registry, "b", named(&["x"]));
        let other = beside(&registry, move |registry| beat(&registry, "a", Vec::new()));
        assert!(registry.find_best_worker_for_model(MODEL).is_some());
        other.join().expect("no panic");
        let (_, found) = registry.find_best_worker_for_model(MODEL).expect("it was there throughout");
        assert_eq!(found.worker_id, "x");
    });
}

/// One place, wanted through the model's ranking and through the idle one.
#[test]
fn a_reserve_of_the_model_and_one_of_the_idle() {
    loom::model(|| {
        let registry = registry();
        beat(&registry, "a", vec![worker("Idle", Some(1))]);
        let other = beside(&registry, move |registry| registry.reserve_worker_for_model("another"));
        let mine = registry.reserve_worker_for_model(MODEL);
        let other = other.join().expect("no panic");
        assert!(mine.is_some() != other.is_some());
        drop((mine, other));
        // Written through on both sides.
        assert!(registry.find_best_worker_for_model(MODEL).is_some());
        assert!(registry.find_best_worker_for_model("another").is_some());
    });
}

/// The one place of a worker, reserved; and another elsewhere, without which a count too many would not show.
fn reserved() -> (HiveRegistry, Reservation, Reservation) {
    let registry = registry();
    beat(&registry, "a", vec![worker("Busy", Some(1))]);
    beat(&registry, "z", vec![WorkerState { model_id: Some("z".into()), ..worker("Busy", None) }]);
    let reservation = registry.reserve_worker_for_model(MODEL).expect("there is a place");
    let elsewhere = registry.reserve_worker_for_model("z").expect("there is no limit");
    (registry, reservation, elsewhere)
}

/// The end of a registration takes its reservations with it; the release finds nothing to take.
#[test]
fn a_release_against_a_removal() {
    loom::model(|| {
        let (registry, reservation, _elsewhere) = reserved();
        let other = thread::spawn(move || drop(reservation));
        assert!(registry.remove_hive("a"));
        other.join().expect("no panic");
        assert_eq!(registry.stats().reservations_open, 1);
        assert!(registry.find_best_worker_for_model(MODEL).is_none());
    });
}

/// S6: a release of one registration does not touch the next one under its name.
#[test]
fn a_release_against_a_registration_under_the_same_name() {
    loom::model(|| {
        let (registry, reservation, _elsewhere) = reserved();
        let other = thread::spawn(move || drop(reservation));
        beat(&registry, "a", Vec::new());
        beat(&registry, "a", vec![worker("Busy", Some(1))]);
        let second = registry.reserve_worker_for_model(MODEL);
        assert!(second.is_some(), "it begins with none");
        other.join().expect("no panic");
        assert!(registry.reserve_worker_for_model(MODEL).is_none(), "the place is held");
        assert_eq!(registry.stats().reservations_open, 2);
        drop(second);
        assert_eq!(registry.stats().reservations_open, 1);
    });
}

/// The worker changes its model while its one place is given back: the place is found in the new model.
#[test]
fn a_release_against_a_change_of_model() {
    loom::model(|| {
        let (registry, reservation, _elsewhere) = reserved();
        let other = thread::spawn(move || drop(reservation));
        beat(&registry, "a", vec![WorkerState { model_id: Some("n".into()), ..worker("Busy", Some(1)) }]);
        other.join().expect("no panic");
        assert_eq!(registry.stats().reservations_open, 1);
        assert!(registry.find_best_worker_for_model(MODEL).is_none());
        assert!(registry.find_best_worker_for_model("n").is_some());
        assert!(registry.reserve_worker_for_model("n").is_some());
    });
}

/// The same while another worker stays in the old model, full, and has the place there that the one that moved has in
/// the new model.
#[test]
fn a_release_against_a_change_of_model_of_one_of_two() {
    loom::model(|| {
        let (registry, reservation, _elsewhere) = reserved();
        beat(&registry, "b", vec![worker("Busy", Some(1))]);
        let _of_b = registry.reserve_worker_for_model(MODEL).expect("there is a place");
        let other = thread::spawn(move || drop(reservation));
        beat(&registry, "a", vec![WorkerState { model_id: Some("n".into()), ..worker("Busy", Some(1)) }]);
        other.join().expect("no panic");
        assert!(registry.find_best_worker_for_model(MODEL).is_none(), "b is full");
        assert!(registry.reserve_worker_for_model("n").is_some());
    });
}

/// A lease runs out as it is renewed: renewed or gone, never both, never counted twice.
#[test]
fn a_lease_that_runs_out_against_its_renewal() {
    loom::model(|| {
        let (registry, clock) = clocked();
        beat(&registry, "a", vec![worker("Busy", Some(1))]);
        let lease = registry.reserve_detached(MODEL, Duration::from_secs(1)).expect("there is a place");
        let other = beside(&registry, move |registry| {
            clock.advance(Duration::from_secs(1));
            registry.find_best_worker_for_model(MODEL).is_some()
        });
        let renewed = registry.renew_lease(lease.id, Duration::from_secs(60)).is_some();
        let found = other.join().expect("no panic");
        assert!(!(renewed && found), "the place was held throughout");
        assert_eq!(registry.stats().reservations_open, u64::from(renewed));
        assert_eq!(registry.find_best_worker_for_model(MODEL).is_some(), !renewed);
        assert_eq!(registry.release_lease(lease.id), renewed);
        assert!(registry.find_best_worker_for_model(MODEL).is_some());
    });
}

/// S6: nobody is told that there is none while the place of a lease that ran out would serve, also not by a pick that
/// comes upon another one giving it back.
#[test]
fn two_finds_once_the_only_places_lease_has_run_out() {
    loom::model(|| {
        let (registry, clock) = clocked();
        beat(&registry, "a", vec![worker("Busy", Some(1))]);
        assert!(registry.reserve_detached(MODEL, Duration::from_secs(1)).is_some());
        assert!(registry.find_best_worker_for_model(MODEL).is_none());
        clock.advance(Duration::from_secs(1));
        let other = beside(&registry, move |registry| registry.find_best_worker_for_model(MODEL).is_some());
        assert!(registry.find_best_worker_for_model(MODEL).is_some());
        assert!(other.join().expect("no panic"));
        assert_eq!(registry.stats().reservations_open, 0);
    });
}

/// The same for those who fall back: the idle are looked at once.
#[test]
fn two_fallbacks_once_the_only_places_lease_has_run_out() {
    loom::model(|| {
        let (registry, clock) = clocked();
        beat(&registry, "a", vec![worker("Idle", Some(1))]);
        assert!(registry.reserve_detached(MODEL, Duration::from_secs(1)).is_some());
        assert!(registry.find_best_worker_for_model("another").is_none());
        clock.advance(Duration::from_secs(1));
        let other =
            beside(&registry, move |registry| registry.find_best_worker_for_model("another").is_some());
        assert!(registry.find_best_worker_for_model("another").is_some());
        assert!(other.join().expect("no panic"));
    });
}

/// S6: the same, where a reservation filled the worker before the lease of its place was known.
#[test]
fn two_finds_once_the_lease_that_filled_a_worker_has_run_out() {
    loom::model(|| {
        let (registry, clock) = clocked();
        let workers = named(&["v", "w"]).into_iter();
        let workers = workers.map(|worker| WorkerState { max_concurrency: Some(1), ..worker });
        beat(&registry, "a", workers.collect());
        let second = Duration::from_secs(1);
        assert!(registry.reserve_detached(MODEL, second).is_some());
        // Until it is given back, it is what calls come to before the other.
        let other = beside(&registry, move |registry| registry.reserve_detached(MODEL, second).is_some());
        assert!(registry.find_best_worker_for_model("nobody's").is_none());
        assert!(other.join().expect("no panic"));
        clock.advance(second);
        let other = beside(&registry, move |registry| registry.find_best_worker_for_model(MODEL).is_some());
        assert!(registry.find_best_worker_for_model(MODEL).is_some());
        assert!(other.join().expect("no panic"));
    });
}

/// A heartbeat that returned has given its record to every pick that begins afterwards, also where the key stays.
#[test]
fn a_pick_once_the_best_has_beaten() {
    loom::model(|| {
        let registry = registry();
        let at = |url: &str| vec![WorkerState { url: Some(url.into()), ..worker("Busy", None) }];
        beat(&registry, "a", at("http://one"));
        let other = beside(&registry, move |registry| drop(registry.find_best_worker_for_model(MODEL)));
        beat(&registry, "a", at("http://two"));
        let (_, found) = registry.find_best_worker_for_model(MODEL).expect("it is there");
        assert_eq!(found.url.as_deref(), Some("http://two"));
        other.join().expect("no panic");
    });
}

/// Two hives bring two models, which stand in one copied shard of two.
#[test]
fn two_workers_bring_two_new_models() {
    loom::model(|| {
        let registry = registry();
        let of = |model: &str| vec![WorkerState { model_id: Some(model.into()), ..worker("Busy", None) }];
        let models = ["m", "n", "o"];
        let (one, two) = (of(models[0]), of(models[1]));
        let other = beside(&registry, move |registry| beat(&registry, "a", one));
        beat(&registry, "b", two);
        beat(&registry, "c", of(models[2]));
        other.join().expect("no panic");
        assert!(models.iter().all(|model| registry.explain(model).workers == 1));
    });
}

/// A reservation made as an idle worker of any model is given back while another pick looks.
#[test]
fn a_release_beside_a_reserve_of_the_idle() {
    loom::model(|| {
        let registry = registry();
        beat(&registry, "a", vec![worker("Idle", Some(2))]);
        let held = registry.reserve_worker_for_model("another").expect("it is idle");
        let mine = registry.reserve_worker_for_model(MODEL).expect("there is room");
        let other = thread::spawn(move || drop(held));
        let _ = registry.find_best_worker_for_model(MODEL);
        drop(mine);
        other.join().expect("no panic");
        let free = [MODEL, "another"].map(|model| registry.find_best_worker_for_model(model).is_some());
        assert_eq!(free, [true; 2]);
    });
}

/// A list names each of the members, also who is filled or has room again while it walks over them.
#[test]
fn a_list_while_a_worker_is_filled() {
    loom::model(|| {
        let registry = registry();
        beat(&registry, "a", vec![worker("Busy", Some(1))]);
        let held = registry.reserve_worker_for_model(MODEL).expect("there is room");
        let other = thread::spawn(move || drop(held));
        assert_eq!(registry.find_workers_by_model(MODEL).len(), 1);
        other.join().expect("no panic");
    });
}

/// I5: of two of one name one goes while a third comes: who stays, and who came, are found.
#[test]
fn namesakes_that_come_and_go() {
    loom::model(|| {
        let registry = registry();
        beat(&registry, "a", named(&["w"]));
        beat(&registry, "b", named(&["w"]));
        let other = beside(&registry, move |registry| beat(&registry, "b", Vec::new()));
        beat(&registry, "c", named(&["w"]));
        assert!(registry.get_worker("w").is_some(), "a is there throughout");
        other.join().expect("no panic");
        beat(&registry, "a", Vec::new());
        let found = registry.get_worker("w").map(|(hive, _)| hive.to_string());
        assert_eq!(found.as_deref(), Some("c"));
    });
}

/// The heartbeat that comes while a pick parks its worker is an older one, which changes nothing but who is heard.
#[test]
fn parking_against_a_superseded_heartbeat() {
    loom::model(|| {
        let (registry, clock) = clocked();
        let payload = |seq| HiveHeartbeatPayload {
            hive_id: "a".into(),
            timestamp: if seq == 2 { NOW } else { HALF_A_MINUTE_LATER }.into(),
            epoch: Some(1),
            seq: Some(seq),
            workers: named(&["w"]),
            ..Default::default()
        };
        registry.update_hive_state("a", payload(2)).expect("it is in bounds");
        clock.advance(Duration::from_secs(30));
        let other = beside(&registry, move |registry| drop(registry.find_best_worker_for_model(MODEL)));
        registry.update_hive_state("a", payload(1)).expect("it is in bounds");
        assert!(registry.find_best_worker_for_model(MODEL).is_some());
        other.join().expect("no panic");
    });
}

/// L3: a heartbeat that comes while a pass evicts its hive wins.
#[test]
fn an_eviction_against_a_heartbeat() {
    loom::model(|| {
        let (registry, clock) = clocked();
        beat(&registry, "a", named(&["w"]));
        clock.advance(Duration::from_secs(30));
        let other = beside(&registry, move |registry| registry.evict_stale(Duration::from_secs(30)));
        beat_at(&registry, "a", HALF_A_MINUTE_LATER, named(&["w"]));
        assert!(registry.find_best_worker_for_model(MODEL).is_some());
        let _ = other.join().expect("no panic");
        assert_eq!((registry.hive_count(), registry.total_worker_count()), (1, 1));
        assert!(registry.find_best_worker_for_model(MODEL).is_some());
    });
}

/// I3: of two heartbeats at once the later by its timestamp stays.
#[test]
fn two_heartbeats_of_one_hive() {
    loom::model(|| {
        let registry = registry();
        let other = beside(&registry, move |registry| beat_at(&registry, "a", LATER, named(&["x"])));
        beat(&registry, "a", named(&["w"]));
        other.join().expect("no panic");
        let state = registry.get_hive_state("a").expect("it has beaten");
        assert_eq!(state.workers.iter().map(|worker| &*worker.worker_id).collect::<Vec<_>>(), ["x"]);
        assert!(registry.get_worker("w").is_none());
        assert_eq!((registry.explain(MODEL).workers, registry.total_worker_count()), (1, 1));
    });
}

/// I5: an id leaves one hive as it comes up on another; a lookup that chose the one that leaves looks again.
#[test]
fn a_worker_id_that_moves_between_hives() {
    loom::model(|| {
        let registry = registry();
        beat(&registry, "a", named(&["w"]));
        let other = beside(&registry, move |registry| beat(&registry, "a", Vec::new()));
        beat(&registry, "b", named(&["w"]));
        assert!(registry.get_worker("w").is_some());
        other.join().expect("no panic");
        assert_eq!(registry.get_worker("w").map(|(hive, _)| hive.to_string()).as_deref(), Some("b"));
    });
}

/// I5: two hives share an id; one of them loses it as a third has it come up, which is not lost with the two.
#[test]
fn a_worker_id_that_comes_up_while_its_namesakes_part() {
    loom::model(|| {
        let registry = registry();
        beat(&registry, "a", named(&["w"]));
        beat(&registry, "b", named(&["w"]));
        let other = beside(&registry, move |registry| beat(&registry, "b", Vec::new()));
        beat(&registry, "c", named(&["w"]));
        other.join().expect("no panic");
        beat(&registry, "a", Vec::new());
        assert_eq!(registry.get_worker("w").map(|(hive, _)| hive.to_string()).as_deref(), Some("c"));
    });
}

/// E1: every event is read or told as lost.
#[test]
fn an_overflowing_feed_against_its_reader() {
    loom::model(|| {
        let registry = registry();
        let feed = registry.subscribe(1);
        let other = beside(&registry, move |registry| beat(&registry, "a", named(&["w"])));
        let mut told = 0;
        let mut read = || match feed.try_next() {
            Ok(event) => {
                told += 1;
                // In order: what is missing before it was told as lost.
                assert_eq!(event.sequence, told);
                true
            }
            Err(FeedError::Lagged(lost)) => {
                told += lost;
                true
            }
            Err(_) => false,
        };
        read();
        other.join().expect("no panic");
        while read() {}
        // The hive and its worker.
        assert_eq!(told, 2);
    });
}

/// What a task leaves with a subscription.
#[derive(Default)]
struct Woken(loom::sync::atomic::AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Release);
    }
}

/// A task polls while something happens to the feed: what it then finds, at once or once it was woken.
fn polled_beside(
    happens: impl Fn(HiveRegistry) + Copy + Send + Sync + 'static,
    expected: fn(&Result<Event, FeedError>) -> bool,
) {
    loom::model(move || {
        let registry = registry();
        let feed = registry.subscribe(8);
        let other = thread::spawn(move || happens(registry));
        let woken = Arc::new(Woken::default());
        let waker = Waker::from(woken.clone());
        let mut found = feed.poll_next(&mut Context::from_waker(&waker));
        other.join().expect("no panic");
        if found.is_pending() {
            assert!(woken.0.load(Ordering::Acquire), "an event that nobody was woken for");
            found = feed.poll_next(&mut Context::from_waker(&waker));
        }
        assert!(matches!(&found, Poll::Ready(found) if expected(found)), "{found:?}");
    });
}

/// E1: an event beside a poll is found by it, or wakes who polled.
#[test]
fn an_event_against_a_poll() {
    let beats = |registry: HiveRegistry| {
        beat(&registry, "a", Vec::new());
        // Beyond the end of this scenario, which is another one.
        std::mem::forget(registry);
    };
    polled_beside(beats, |found| {
        matches!(found, Ok(Event { sequence: 1, kind: EventKind::HiveRegistered, .. }))
    });
}

/// E1: so does the end of the registry.
#[test]
fn the_end_of_a_registry_against_a_poll() {
    polled_beside(drop, |found| *found == Err(FeedError::Closed));
}

/// E1: a sweep that finds a hive silent does not tell so after the hive was removed.
#[test]
fn a_silent_hive_told_against_its_removal() {
    loom::model(|| {
        let (registry, clock) = clocked();
        beat(&registry, "a", named(&["w"]));
        let feed = registry.subscribe(8);
        clock.advance(Duration::from_secs(30));
        let other = beside(&registry, move |registry| registry.evict_stale(Duration::from_secs(3_600)));
        assert!(registry.remove_hive("a"));
        let _ = other.join().expect("no panic");
        let told: Vec<_> = std::iter::from_fn(|| feed.try_next().ok()).map(|event| event.kind).collect();
        assert!(matches!(told.last(), Some(EventKind::HiveRemoved)), "{told:?}");
    });
}

/// C1: a state is one heartbeat's, never a mixture of two.
#[test]
fn a_state_is_never_a_mixture() {
    loom::model(|| {
        let registry = registry();
        let all_of = |model: &str| {
            let of = |worker: WorkerState| WorkerState { model_id: Some(model.into()), ..worker };
            named(&["v", "w"]).into_iter().map(of).collect::<Vec<_>>()
        };
        beat(&registry, "a", all_of("m"));
        let (other, new) = (registry.clone(), all_of("n"));
        let other = thread::spawn(move || beat(&other, "a", new));
        let state = registry.get_hive_state("a").expect("it has beaten");
        assert_eq!(state.workers[0].model_id, state.workers[1].model_id);
        other.join().expect("no panic");
        assert_eq!(registry.explain("n").workers, 2);
        assert_eq!(registry.explain("m").workers, 0);
    });
}

/// Three threads have too many interleavings for no bound at all.
fn three_threads(run: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(builder.preemption_bound.unwrap_or(3).min(3));
    builder.check(run);
}

/// The published winner stayed wrong for good: a heartbeat that makes it worse stands between its two
/// writes, a reservation finds it full by the new limit, a release takes the count to 0, and the reservation settles
/// its key and takes another, for which nothing was published. Seen from 3 preemptions on.
#[test]
fn a_winner_made_worse_against_a_release_and_a_reserve() {
    three_threads(|| {
        let registry = registry();
        let of_four = || WorkerState { gpu_percent: Some(20.0), ..worker("Busy", Some(4)) };
        let of_three = WorkerState { gpu_percent: Some(50.0), ..worker("Busy", Some(3)) };
        beat(&registry, "b", vec![of_three]);
        let _held = registry.reserve_worker_for_model(MODEL).expect("there is room");
        beat(&registry, "a", vec![of_four()]);
        let reservation = registry.reserve_worker_for_model(MODEL).expect("there is room");
        // Published with its one reservation, which leaves it the best.
        let (hive, _) = registry.find_best_worker_for_model(MODEL).expect("there is room");
        assert_eq!(hive, "a");
        let beats = beside(&registry, move |registry| {
            let worse =
                WorkerState { health_status: "degraded".into(), max_concurrency: Some(1), ..of_four() };
            beat(&registry, "a", vec![worse]);
        });
        let releases = thread::spawn(move || drop(reservation));
        let _reserved = registry.reserve_worker_for_model(MODEL);
        beats.join().expect("no panic");
        releases.join().expect("no panic");
        let (hive, _) = registry.find_best_worker_for_model(MODEL).expect("b has room for another");
        assert_eq!(hive, "b", "healthy before degraded");
    });
}

/// C2, the one worker of all: idle without a model, then busy with one, which it is asked for throughout.
fn while_the_only_worker_loads_the_model(found: impl Fn(&HiveRegistry) -> bool + Send + Sync + 'static) {
    loom::model(move || {
        let registry = registry();
        beat(&registry, "a", vec![WorkerState { model_id: None, ..worker("Idle", None) }]);
        let other = beside(&registry, move |registry| beat(&registry, "a", vec![worker("Busy", None)]));
        assert!(found(&registry), "it would have served throughout");
        other.join().expect("no panic");
        assert!(found(&registry));
    });
}

/// A pick looked for the model before the worker had it, and among the idle after it had left them.
#[test]
fn a_find_while_the_only_worker_loads_the_model() {
    while_the_only_worker_loads_the_model(|registry| registry.find_best_worker_for_model(MODEL).is_some());
}

/// The same for a reservation.
#[test]
fn a_reserve_while_the_only_worker_loads_the_model() {
    while_the_only_worker_loads_the_model(|registry| registry.reserve_worker_for_model(MODEL).is_some());
}

/// The same for a policy of the library's.
#[test]
fn a_pick_by_policy_while_the_only_worker_loads_the_model() {
    while_the_only_worker_loads_the_model(|registry| registry.pick(MODEL, &LeastLoaded).is_some());
}

/// The same for a policy of one's own, and a reservation.
#[test]
fn a_reserve_by_policy_while_the_only_worker_loads_the_model() {
    while_the_only_worker_loads_the_model(|registry| registry.reserve_with(MODEL, &First).is_some());
}

/// The other way: busy with a model that nobody asks for, then idle; and the reverse of the above, for the model.
#[test]
fn a_find_while_the_only_worker_unloads_the_model() {
    loom::model(|| {
        let registry = registry();
        beat(&registry, "a", vec![worker("Busy", None)]);
        let idle = || vec![WorkerState { model_id: None, ..worker("Idle", None) }];
        let other = beside(&registry, move |registry| beat(&registry, "a", idle()));
        assert!(registry.find_best_worker_for_model(MODEL).is_some(), "it would have served throughout");
        other.join().expect("no panic");
        assert!(registry.find_best_worker_for_model("another").is_some());
    });
}

/// C2: the best worker degrades; another, healthy and half busy, is there throughout.
fn while_the_best_degrades(found: impl Fn(&HiveRegistry) -> Option<WorkerInfo> + Send + Sync + 'static) {
    loom::model(move || {
        let registry = registry();
        let of = |gpu: f32| WorkerState { gpu_percent: Some(gpu), ..worker("Busy", None) };
        beat(&registry, "a", vec![of(0.0)]);
        beat(&registry, "b", vec![of(50.0)]);
        let other = beside(&registry, move |registry| {
            beat(&registry, "a", vec![WorkerState { health_status: "degraded".into(), ..of(100.0) }]);
        });
        let found = found(&registry).expect("b is there throughout");
        assert_eq!(found.health_status, WorkerHealth::Healthy, "the new record, by the rank of the old one");
        other.join().expect("no panic");
    });
}

/// Within one heartbeat a pick returned a worker's new record by the rank of its old one.
#[test]
fn a_find_while_the_best_degrades() {
    while_the_best_degrades(|registry| Some((*registry.find_best_worker_for_model(MODEL)?.1).clone()));
}

/// The same for a reservation.
#[test]
fn a_reserve_while_the_best_degrades() {
    while_the_best_degrades(|registry| Some(registry.reserve_worker_for_model(MODEL)?.worker().clone()));
}

/// The same for the policy that is the default rule.
#[test]
fn a_pick_by_policy_while_the_best_degrades() {
    while_the_best_degrades(|registry| Some((*registry.pick(MODEL, &LeastLoaded)?.1).clone()));
}

/// S6: the lease of the only place has run out. Of two picks one takes it back; the other does not miss the place.
#[test]
fn two_picks_as_a_lease_has_run_out() {
    loom::model(|| {
        let (registry, clock) = clocked();
        beat(&registry, "a", vec![worker("Busy", Some(1))]);
        registry.reserve_detached(MODEL, Duration::from_secs(1)).expect("there is a place");
        clock.advance(Duration::from_secs(1));
        let find = |registry: HiveRegistry| registry.find_best_worker_for_model(MODEL).is_some();
        let other = beside(&registry, find);
        let found = find(registry.clone());
        let other = other.join().expect("no panic");
        assert!(found && other, "the place is free");
        assert_eq!(registry.stats().reservations_open, 0);
    });
}
