//! The change feed and the statistics: E1 and E2 of the design.

#![cfg(not(loom))]

mod common;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak, mpsc};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::Duration;

use common::{Rng, T0, apply, beat, paired, process, registry, stamp, telemetry, worker};
use hive_registry::{
    Clock, Event, EventKind, FeedError, HiveHealth, HiveRegistry, OperationalStatus, Random, Snapshot,
    Subscription, WorkerInfo, WorkerState,
};

/// All that is there, in words: "WorkerAdded h/w".
fn told(feed: &Subscription) -> Vec<String> {
    events(feed).iter().map(words).collect()
}

fn events(feed: &Subscription) -> Vec<Event> {
    let mut events = Vec::new();
    loop {
        match feed.try_next() {
            Ok(event) => events.push(event),
            Err(FeedError::Timeout) => return events,
            Err(error) => panic!("{error}"),
        }
    }
}

fn words(event: &Event) -> String {
    let hive = &event.hive_id;
    match &event.kind {
        EventKind::HiveRegistered => format!("HiveRegistered {hive}"),
        EventKind::HiveUpdated => format!("HiveUpdated {hive}"),
        EventKind::HiveOffline => format!("HiveOffline {hive}"),
        EventKind::HiveRemoved => format!("HiveRemoved {hive}"),
        EventKind::WorkerAdded(worker) => format!("WorkerAdded {hive}/{}", worker.worker_id),
        EventKind::WorkerChanged(worker) => format!("WorkerChanged {hive}/{}", worker.worker_id),
        EventKind::WorkerRemoved(worker) => format!("WorkerRemoved {hive}/{}", worker.worker_id),
        other => panic!("an event of a new kind: {other:?}"),
    }
}

// === E1: what is told ===

#[test]
fn e1_tells_each_kind_in_the_order_of_the_changes() {
    let (registry, clock) = registry();
    let feed = registry.subscribe(100);
    apply(&registry, beat("h", T0, vec![worker("b", "m"), worker("a", "m")]));
    assert_eq!(told(&feed), ["HiveRegistered h", "WorkerAdded h/a", "WorkerAdded h/b"]);

    let changed = WorkerState { gpu_percent: Some(50.0), ..worker("b", "m") };
    apply(&registry, beat("h", T0 + 1, vec![changed.clone(), worker("c", "m")]));
    let found = events(&feed);
    assert_eq!(
        found.iter().map(words).collect::<Vec<_>>(),
        ["WorkerChanged h/b", "WorkerAdded h/c", "WorkerRemoved h/a", "HiveUpdated h"]
    );
    let EventKind::WorkerChanged(now) = &found[0].kind else { panic!("{:?}", found[0]) };
    assert!(Arc::ptr_eq(now, &registry.get_worker_on("h", "b").expect("it is there")), "the record itself");
    assert_eq!(now.gpu_percent, Some(50.0));

    clock.advance(Duration::from_secs(60));
    assert_eq!(registry.evict_stale(Duration::from_secs(3_600)).hives, 0);
    assert_eq!(told(&feed), ["HiveOffline h"], "silent past the liveness window, and found by a sweep");
    registry.remove_hive("h");
    assert_eq!(told(&feed), ["WorkerRemoved h/b", "WorkerRemoved h/c", "HiveRemoved h"]);
    registry.remove_hive("h");
    apply(&registry, beat("h", T0, vec![]));
    assert!(
        told(&feed).is_empty(),
        "neither a removal of nothing nor a heartbeat that is dropped is a change"
    );
}

#[test]
fn e1_offline_is_told_once_for_each_silence() {
    let (registry, clock) = registry();
    let feed = registry.subscribe(100);
    let (live, minute) = (Duration::from_secs(29), Duration::from_secs(60));
    apply(&registry, beat("h", T0, vec![]));
    clock.advance(live);
    assert_eq!(registry.evict_stale(minute).hives, 0);
    assert_eq!(told(&feed), ["HiveRegistered h"], "it is live");
    clock.advance(Duration::from_secs(1));
    for _ in 0..3 {
        assert_eq!(registry.evict_stale(minute).hives, 0);
    }
    assert_eq!(told(&feed), ["HiveOffline h"]);
    apply(&registry, beat("h", T0 + 30_000, vec![]));
    let back = told(&feed);
    assert!(back.is_empty() || back == ["HiveUpdated h"], "{back:?}");
    clock.advance(minute);
    assert_eq!(registry.evict_stale(minute).hives, 1);
    assert_eq!(told(&feed), ["HiveOffline h", "HiveRemoved h"]);
}

#[test]
fn e1_sequence_numbers_are_dense_and_versions_are_the_hives() {
    let (registry, clock) = registry();
    let (one, other) = (registry.subscribe(1_000), registry.subscribe(1_000));
    for step in 0..20 {
        let hive = format!("h{}", step % 3);
        apply(&registry, beat(&hive, T0 + step, vec![worker(&format!("w{step}"), "m")]));
        let version = registry.get_hive_state(&hive).expect("it is registered").version;
        let found = events(&one);
        assert!(
            !found.is_empty() && found.iter().all(|event| event.version == version && event.hive_id == *hive)
        );
    }
    clock.advance(Duration::from_secs(30));
    assert_eq!(registry.evict_stale(Duration::from_secs(60)).hives, 0);
    let found = events(&one);
    assert_eq!(found.len(), 3, "all are silent");
    for event in found {
        let state = registry.get_hive_state(&event.hive_id).expect("it is registered");
        assert_eq!((words(&event), event.version), (format!("HiveOffline {}", event.hive_id), state.version));
    }
    let last = registry.get_hive_state("h1").expect("it is registered").version;
    registry.remove_hive("h1");
    assert!(events(&one).iter().all(|event| event.version > last), "the removal is a change after the last");
    let found = events(&other);
    let first = found[0].sequence;
    assert!((first..).zip(&found).all(|(sequence, event)| event.sequence == sequence));
    assert_eq!(registry.snapshot().sequence, first + found.len() as u64 - 1);
    let mut versions = BTreeMap::new();
    for event in &found {
        let last = versions.insert(event.hive_id.clone(), event.version);
        assert!(last <= Some(event.version), "one hive's events come in order");
    }
}

#[test]
fn e1_is_silent_about_what_no_scheduler_would_look_at() {
    let (registry, _) = registry();
    apply(&registry, beat("h", T0, vec![worker("w", "m")]));
    registry.update_hive(telemetry("t", T0, vec![process("p", "1", "m")])).expect("it is valid");
    let feed = registry.subscribe(100);
    let mut now = T0;
    let mut send = |worker: WorkerState| {
        now += 1;
        apply(&registry, beat("h", now, vec![worker]));
        told(&feed)
    };
    let same = worker("w", "m");
    assert!(send(same.clone()).is_empty(), "nothing changed");
    assert!(send(WorkerState { last_heartbeat: stamp(T0 + 9), ..same.clone() }).is_empty());
    assert!(send(WorkerState { cpu_percent: Some(7.0), ..same.clone() }).is_empty());
    assert!(send(WorkerState { ram_bytes: Some(7), ..same.clone() }).is_empty());
    assert!(send(WorkerState { state: "READY".into(), ..same.clone() }).is_empty(), "another word for Idle");
    let differing = [
        WorkerState { state: "Busy".into(), ..same.clone() },
        WorkerState { health_status: "degraded".into(), ..same.clone() },
        WorkerState { url: None, ..same.clone() },
        WorkerState { model_id: Some("n".into()), ..same.clone() },
        WorkerState { backend: None, ..same.clone() },
        WorkerState { device_id: Some(1), ..same.clone() },
        WorkerState { vram_bytes: Some(1), ..same.clone() },
        WorkerState { vram_total_bytes: Some(1), ..same.clone() },
        WorkerState { gpu_percent: None, ..same.clone() },
        WorkerState { max_concurrency: Some(1), ..same.clone() },
    ];
    for different in differing {
        assert_eq!(send(different.clone()), ["WorkerChanged h/w", "HiveUpdated h"], "{different:?}");
        assert_eq!(send(same.clone()), ["WorkerChanged h/w", "HiveUpdated h"], "{different:?}");
    }

    let mut heartbeat = telemetry("t", T0, vec![process("p", "1", "m")]);
    heartbeat.timestamp = stamp(T0 + 1);
    let busier =
        hive_registry::ProcessStats { uptime_s: 61, cpu_pct: 1.0, rss_mb: 1, ..process("p", "1", "m") };
    heartbeat.workers = Some(vec![busier]);
    registry.update_hive(heartbeat.clone()).expect("it is valid");
    assert!(told(&feed).is_empty());
    heartbeat.timestamp = stamp(T0 + 2);
    heartbeat.hive.operational_status = OperationalStatus::Stopping;
    registry.update_hive(heartbeat.clone()).expect("it is valid");
    assert_eq!(told(&feed), ["HiveUpdated t"], "the hive changed, no worker did");
    heartbeat.timestamp = stamp(T0 + 3);
    heartbeat.hive.health_status = HiveHealth::Degraded { reason: "hot".into() };
    registry.update_hive(heartbeat).expect("it is valid");
    assert_eq!(told(&feed), ["WorkerChanged t/p-1", "HiveUpdated t"]);
}

// === E1: the feed ===

#[test]
fn e1_a_slow_reader_is_told_how_much_it_lost_and_goes_on_in_order() {
    let (registry, _) = registry();
    let (slow, fast) = (registry.subscribe(4), registry.subscribe(10));
    for hive in 0..10 {
        apply(&registry, beat(&format!("h{hive}"), T0, vec![]));
    }
    assert_eq!(slow.try_next(), Err(FeedError::Lagged(6)));
    assert_eq!(
        told(&slow),
        ["HiveRegistered h6", "HiveRegistered h7", "HiveRegistered h8", "HiveRegistered h9"]
    );
    assert_eq!(told(&fast).len(), 10);
    assert_eq!(registry.stats().events_dropped, 6);
    // One heartbeat of more events than fit.
    apply(&registry, beat("big", T0, (0..9).map(|id| worker(&id.to_string(), "m")).collect()));
    assert_eq!(slow.next_timeout(Duration::ZERO), Err(FeedError::Lagged(6)));
    assert_eq!(told(&slow).len(), 4);
    drop((slow, fast));
    apply(&registry, beat("late", T0, vec![]));
    assert_eq!(registry.stats().events_dropped, 12, "nobody reads, nobody loses");
    let least = registry.subscribe(0);
    apply(&registry, beat("late", T0, vec![worker("w", "m")]));
    assert_eq!(least.try_next(), Err(FeedError::Lagged(1)), "it holds at least one");
    assert_eq!(told(&least), ["HiveUpdated late"]);
}

#[test]
fn e1_an_empty_feed_times_out_and_a_dropped_registry_closes_it() {
    let (registry, _) = registry();
    let feed = registry.subscribe(10);
    assert_eq!(feed.try_next(), Err(FeedError::Timeout));
    assert_eq!(feed.next_timeout(Duration::from_millis(1)), Err(FeedError::Timeout));
    apply(&registry, beat("h", T0, vec![worker("w", "m")]));
    let clone = registry.clone();
    drop(registry);
    assert!(feed.try_next().is_ok());
    drop(clone);
    assert_eq!(
        feed.try_next().map(|event| words(&event)).as_deref(),
        Ok("WorkerAdded h/w"),
        "still readable"
    );
    assert_eq!(feed.try_next(), Err(FeedError::Closed));
    assert_eq!(feed.next_timeout(Duration::from_secs(60)), Err(FeedError::Closed));
}

#[test]
fn e1_next_timeout_wakes_for_an_event_and_for_the_end() {
    let (registry, _) = registry();
    let feed = registry.subscribe(10);
    let (tell, hear) = mpsc::channel();
    let reader = thread::spawn(move || {
        for timeout in [Duration::from_secs(3_600), Duration::MAX] {
            let _ = tell.send(feed.next_timeout(timeout).map(|event| words(&event)));
        }
    });
    let soon = Duration::from_secs(10);
    thread::sleep(Duration::from_millis(20));
    apply(&registry, beat("h", T0, vec![]));
    assert_eq!(hear.recv_timeout(soon), Ok(Ok("HiveRegistered h".into())));
    thread::sleep(Duration::from_millis(20));
    drop(registry);
    assert_eq!(hear.recv_timeout(soon), Ok(Err(FeedError::Closed)));
    reader.join().expect("it has ended");
}

/// Counts how often it is woken, and asks the registry at once, as no waker should.
struct Nosy {
    registry: Weak<HiveRegistry>,
    woken: AtomicUsize,
}

impl Wake for Nosy {
    fn wake(self: Arc<Self>) {
        if let Some(registry) = self.registry.upgrade() {
            registry.remove_hive("other");
            apply(&registry, beat("other", T0, vec![]));
            let _ = registry.evict_stale(Duration::from_secs(3_600));
            let _ = registry.snapshot();
        }
        self.woken.fetch_add(1, Ordering::SeqCst);
    }
}

/// A waker that takes every lock there is would wait for ever if one were held.
#[test]
fn e1_a_poll_is_woken_by_whatever_happens_and_under_no_lock() {
    let soon = Duration::from_secs(20);
    let (tell, hear) = mpsc::channel();
    thread::spawn(move || {
        let (registry, clock) = registry();
        let registry = Arc::new(registry);
        let nosy = Arc::new(Nosy { registry: Arc::downgrade(&registry), woken: AtomicUsize::new(0) });
        let waker = Waker::from(nosy.clone());
        let feed = registry.subscribe(100);
        let woken_by = |happens: &dyn Fn()| {
            while feed.poll_next(&mut Context::from_waker(&waker)).is_ready() {}
            let before = nosy.woken.load(Ordering::SeqCst);
            happens();
            nosy.woken.load(Ordering::SeqCst) - before
        };
        let minute = Duration::from_secs(60);
        let told = [
            woken_by(&|| _ = apply(&registry, beat("h", T0, vec![worker("w", "m")]))),
            // Nothing that a scheduler would look at.
            woken_by(&|| _ = apply(&registry, beat("h", T0 + 1, vec![worker("w", "m")]))),
            woken_by(&|| _ = registry.remove_hive("h")),
            woken_by(&|| _ = apply(&registry, beat("i", T0, vec![]))),
            woken_by(&|| {
                clock.advance(minute);
                _ = registry.evict_stale(2 * minute);
            }),
            woken_by(&|| {
                clock.advance(minute);
                _ = registry.evict_stale(minute);
            }),
        ];
        let _ = tell.send((told, registry, feed));
    });
    let (told, registry, feed) = hear.recv_timeout(soon).expect("a waker was called under a lock");
    assert_eq!(told, [1, 0, 1, 1, 1, 1]);

    let last = Arc::new(Nosy { registry: Weak::new(), woken: AtomicUsize::new(0) });
    let waker = Waker::from(last.clone());
    while feed.poll_next(&mut Context::from_waker(&waker)).is_ready() {}
    drop(registry);
    assert_eq!(last.woken.load(Ordering::SeqCst), 1);
    assert_eq!(feed.poll_next(&mut Context::from_waker(&waker)), Poll::Ready(Err(FeedError::Closed)));
}

#[test]
fn e1_of_several_who_poll_the_last_is_woken() {
    let (registry, _) = registry();
    let feed = registry.subscribe(1);
    let wakers: [_; 2] =
        std::array::from_fn(|_| Arc::new(Nosy { registry: Weak::new(), woken: AtomicUsize::new(0) }));
    for nosy in &wakers {
        let waker = Waker::from(nosy.clone());
        assert!(feed.poll_next(&mut Context::from_waker(&waker)).is_pending());
    }
    apply(&registry, beat("h", T0, vec![worker("w", "m")]));
    assert_eq!(wakers.map(|nosy| nosy.woken.load(Ordering::SeqCst)), [0, 1]);
    let mut context = Context::from_waker(Waker::noop());
    assert_eq!(feed.poll_next(&mut context), Poll::Ready(Err(FeedError::Lagged(1))));
    assert!(matches!(feed.poll_next(&mut context), Poll::Ready(Ok(_))));
    assert!(feed.poll_next(&mut context).is_pending());
}

type Known = BTreeMap<String, BTreeMap<String, WorkerInfo>>;

fn known(snapshot: &Snapshot) -> Known {
    let workers = |hive: &hive_registry::HiveSnapshot| {
        let workers = hive.state.workers.iter();
        workers.map(|found| (found.worker_id.to_string(), found.as_ref().clone())).collect()
    };
    snapshot.hives.iter().map(|hive| (hive.state.hive_id.to_string(), workers(hive))).collect()
}

fn follow(known: &mut Known, event: Event) {
    let hive = event.hive_id.to_string();
    match event.kind {
        EventKind::HiveRegistered => _ = known.insert(hive, BTreeMap::new()),
        EventKind::HiveRemoved => _ = known.remove(&hive),
        EventKind::WorkerAdded(worker) | EventKind::WorkerChanged(worker) => {
            let worker = worker.as_ref().clone();
            known.entry(hive).or_default().insert(worker.worker_id.to_string(), worker);
        }
        EventKind::WorkerRemoved(worker) => {
            if let Some(workers) = known.get_mut(&hive) {
                workers.remove(worker.worker_id.as_str());
            }
        }
        _ => {}
    }
}

fn write_anything(registry: &HiveRegistry, seed: u64) {
    let mut rng = Rng::new(seed);
    for step in 0..2_000 {
        let hive = format!("h{}", rng.below(4));
        if rng.below(12) == 0 {
            registry.remove_hive(&hive);
            continue;
        }
        let sized = |id: usize, rng: &mut Rng| WorkerState {
            vram_bytes: Some(rng.next() % 3),
            ..worker(&id.to_string(), "m")
        };
        let workers = (0..4).filter(|_| rng.below(3) > 0).collect::<Vec<_>>();
        let workers = workers.into_iter().map(|id| sized(id, &mut rng)).collect();
        // After the clock, so that no tombstone bars them.
        apply(registry, beat(&hive, T0 + 1 + step, workers));
    }
}

/// A writer goes on without pause; the reader comes when it likes.
#[test]
fn e1_a_snapshot_and_the_events_after_it_lose_nothing() {
    for seed in 0..20 {
        let (registry, _) = registry();
        let (feed, mut copy) = thread::scope(|scope| {
            scope.spawn(|| write_anything(&registry, seed));
            for _ in 0..seed {
                thread::yield_now();
            }
            let feed = registry.subscribe(100_000);
            let snapshot = registry.snapshot();
            (feed, (known(&snapshot), snapshot.sequence))
        });
        let (map, sequence) = (&mut copy.0, copy.1);
        for event in events(&feed).into_iter().filter(|event| event.sequence > sequence) {
            follow(map, event);
        }
        assert_eq!(*map, known(&registry.snapshot()), "seed {seed}");
    }
}

#[test]
fn e1_a_reader_that_lagged_resyncs_from_a_snapshot() {
    let (registry, _) = registry();
    let feed = registry.subscribe(8);
    let mut map = Known::new();
    let mut sequence = 0;
    let mut lagged = 0;
    let mut read = |registry: &HiveRegistry| loop {
        match feed.try_next() {
            Ok(event) if event.sequence > sequence => follow(&mut map, event),
            Ok(_) => {}
            Err(FeedError::Lagged(_)) => {
                let snapshot = registry.snapshot();
                (map, sequence) = (known(&snapshot), snapshot.sequence);
                lagged += 1;
            }
            Err(FeedError::Timeout) => return map.clone(),
            Err(error) => panic!("{error}"),
        }
    };
    thread::scope(|scope| {
        let writer = scope.spawn(|| write_anything(&registry, 77));
        while !writer.is_finished() {
            read(&registry);
        }
    });
    assert_eq!(read(&registry), known(&registry.snapshot()));
    assert!(lagged > 0, "eight events are too few to keep up with");
}

// === E2 ===

#[test]
fn e2_counts_heartbeats_by_outcome() {
    let (registry, _) = registry();
    apply(&registry, beat("h", T0, vec![]));
    apply(&registry, beat("g", T0, vec![]));
    for step in 1..=3 {
        apply(&registry, beat("h", T0 + step, vec![]));
    }
    apply(&registry, beat("h", T0, vec![]));
    apply(&registry, paired("p", T0, (1, 1), vec![]));
    apply(&registry, paired("p", T0, (1, 1), vec![]));
    apply(&registry, beat("p", T0 + 9, vec![]));
    assert!(registry.update_hive_state("h", beat("other", T0, vec![])).is_err());
    assert!(registry.ingest_json(b"no JSON").is_err());
    assert!(registry.update_workers("", vec![]).is_err());
    registry.remove_hive("g");
    apply(&registry, beat("g", T0, vec![]));
    let counts = registry.stats().heartbeats;
    assert_eq!((counts.registered, counts.updated, counts.superseded), (3, 3, 3));
    assert_eq!((counts.removed, counts.refused), (1, 3));
}

#[test]
fn e2_counts_picks_misses_and_open_reservations() {
    let (registry, _) = registry();
    let count = || (registry.stats().picks, registry.stats().misses, registry.stats().reservations_open);
    assert!(registry.find_best_worker_for_model("m").is_none());
    assert!(registry.reserve_worker_for_model("m").is_none() && registry.pick("m", &Random).is_none());
    assert_eq!(count(), (0, 3, 0));
    apply(&registry, beat("h", T0, vec![WorkerState { max_concurrency: Some(3), ..worker("w", "m") }]));
    assert!(registry.find_best_worker_for_model("m").is_some() && registry.pick("m", &Random).is_some());
    let held = (registry.reserve_worker_for_model("m"), registry.reserve_with("absent", &Random));
    let lease = registry.reserve_detached("m", Duration::from_secs(1)).expect("there is room");
    assert_eq!(count(), (5, 3, 3));
    assert!(registry.reserve_with("m", &Random).is_none());
    assert_eq!(count(), (5, 4, 3));
    drop(held);
    assert_eq!(count(), (5, 4, 1));
    assert!(registry.release_lease(lease.id));
    assert_eq!(count(), (5, 4, 0));
}

#[test]
fn e2_counts_evictions_and_holds() {
    let (registry, clock) = registry();
    let minute = Duration::from_secs(60);
    for hive in 0..10 {
        apply(&registry, beat(&format!("h{hive}"), T0, vec![]));
    }
    clock.advance(minute);
    assert!(registry.evict_stale(minute).held, "all of ten are silent");
    assert!(registry.evict_stale(minute).held);
    assert_eq!((registry.stats().evictions, registry.stats().holds), (0, 2));
    for hive in 4..10 {
        apply(&registry, beat(&format!("h{hive}"), T0 + 60_000, vec![]));
    }
    let pass = registry.evict_stale(minute);
    assert_eq!((pass.hives, pass.held, pass.remaining), (1, false, 3), "at most 15 % of ten");
    assert_eq!((registry.stats().evictions, registry.stats().holds), (1, 2));
}

/// The difference nearest to 0 of the last heartbeats: those that took long, and late copies, do not tell.
#[test]
fn e2_tells_how_far_the_clock_of_a_hive_is_from_ours() {
    let (registry, clock) = registry();
    let skew = || registry.hive_stats("h").expect("it is registered").clock_skew_ms;
    registry.update_workers("h", vec![process("g", "1", "m")]).expect("it is in bounds");
    assert_eq!(skew(), 0, "a call has no timestamp");
    let send = |ahead_ms: i64| {
        clock.advance(Duration::from_secs(1));
        apply(&registry, beat("h", clock.wall_ms() + ahead_ms, vec![]));
        skew()
    };
    assert_eq!([5_000, 4_990, 4_995, -60_000].map(send), [5_000, 4_990, 4_990, 4_990]);
    // Its clock is set right, to a second behind; and then wrong, which shows once those before are too old.
    assert_eq!([-1_040, -1_020].map(send), [-1_040, -1_020]);
    let later: Vec<_> = (0..16).map(|_| send(-90_000)).collect();
    assert_eq!((later[9], later[10], later[15]), (-1_020, -90_000, -90_000), "{later:?}");
    assert_eq!(registry.stats().hives[0].clock_skew_ms, -90_000);
}

#[test]
fn e2_tells_mean_jitter_longest_gap_and_churn_of_each_hive() {
    let (registry, clock) = registry();
    let intervals = [1_000_u64, 1_200, 900, 5_000, 1_000];
    let mut at = T0;
    let named = |step: usize| vec![worker("stays", "m"), worker(&format!("w{}", step / 2), "m")];
    apply(&registry, beat("h", at, named(0)));
    let first = registry.hive_stats("h").expect("it is registered");
    assert_eq!((first.heartbeats, first.mean_interval, first.jitter), (1, Duration::ZERO, Duration::ZERO));
    let (mut jitter, mut last) = (0.0_f64, None);
    for (step, interval) in (1..).zip(intervals) {
        clock.advance(Duration::from_millis(interval));
        at += interval as i64;
        apply(&registry, beat("h", at, named(step)));
        // RFC 3550, section 6.4.1: J(i) = J(i-1) + (|D(i-1, i)| - J(i-1)) / 16.
        if let Some(last) = last.replace(interval) {
            jitter += (interval.abs_diff(last) as f64 - jitter) / 16.0;
        }
    }
    let told = registry.hive_stats("h").expect("it is registered");
    assert_eq!((told.hive_id.as_str(), told.heartbeats), ("h", 6));
    assert_eq!(told.mean_interval, Duration::from_millis(9_100 / 5));
    assert_eq!(told.longest_gap, Duration::from_secs(5));
    let differs = (told.jitter.as_secs_f64() * 1_000.0 - jitter).abs();
    assert!(differs < 0.001, "{:?} is not {jitter} ms", told.jitter);
    assert_eq!((told.workers_added, told.workers_removed), (4, 2), "stays, w0, w1 and w2; w0 and w1 went");

    // A superseded heartbeat is an arrival; a refused one is none.
    clock.advance(Duration::from_secs(6));
    apply(&registry, beat("h", T0, vec![]));
    assert!(registry.update_hive_state("h", beat("h", at + 1, vec![worker("", "m")])).is_err());
    let told = registry.hive_stats("h").expect("it is registered");
    assert_eq!((told.heartbeats, told.longest_gap), (7, Duration::from_secs(6)));
    apply(&registry, beat("g", at, vec![]));
    let hives: Vec<_> = registry.stats().hives;
    assert_eq!(hives.iter().map(|told| told.hive_id.as_str()).collect::<Vec<_>>(), ["g", "h"]);
    assert_eq!(hives[1], told);
    assert_eq!(registry.hive_stats("x"), None);
    registry.remove_hive("h");
    assert_eq!(registry.hive_stats("h"), None);
    assert_eq!(registry.stats().hives.len(), 1);
}
