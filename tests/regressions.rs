//! Defects that were found and fixed, each with the test that would have caught it.
#![cfg(not(loom))]

mod common;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use common::{T0, apply, beat, paired, process, registry, registry_with, telemetry, worker, worker_in};
use hive_registry::{
    Candidates, Capability, Clock, EventKind, FeedError, HeartbeatError, HeartbeatOutcome, HiveRegistry,
    LeastLoaded, Limits, LivenessClock, MAX_HOLD, ManualClock, OperationalStatus, Policy, PowerOfChoices,
    ProcessStats, Random, RoundRobin, Subscription, WorkerState,
};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const BOTH: [LivenessClock; 2] = [LivenessClock::Reported, LivenessClock::Arrival];

/// Reservations through models made idle keys stale, and more than 64 of these made the next fallback correct
/// every idle worker. A fallback now corrects what was reserved, and leaves the silent ones for later picks.
#[test]
fn a_fallback_after_a_burst_of_reservations_does_not_scan_the_fleet() {
    struct Ranked(AtomicUsize);
    impl Policy for Ranked {
        fn choose(&self, candidates: &Candidates<'_>) -> Option<usize> {
            self.0.store(candidates.len(), Ordering::Relaxed);
            None
        }
    }
    let (registry, clock) = registry();
    // 100 silent workers that rank last among the idle: a full pass would park them.
    let silent =
        (0..100).map(|n| WorkerState { gpu_percent: Some(99.0), ..worker(&format!("s{n}"), "other") });
    apply(&registry, beat("silent", T0, silent.collect()));
    clock.advance(Duration::from_secs(20));
    let live = (0..400).map(|n| WorkerState { gpu_percent: Some(0.0), ..worker(&format!("w{n}"), "m") });
    apply(&registry, beat("live", T0 + 20_000, live.collect()));
    clock.advance(Duration::from_secs(15));
    let held: Vec<_> = (0..200).filter_map(|_| registry.reserve_worker_for_model("m")).collect();
    assert_eq!(held.len(), 200);
    assert!(registry.find_best_worker_for_model("nobody has this one").is_some());
    let ranked = Ranked(0.into());
    let _ = registry.pick("nobody has this one", &ranked);
    assert_eq!(ranked.0.into_inner(), 500);
}

/// A policy lost its candidate between two looks and chose nobody, though another worker was free throughout.
#[test]
fn a_policy_finds_a_worker_while_one_is_free_throughout() {
    let (registry, _) = registry();
    let workers =
        ["a", "b", "c"].map(|id| WorkerState { max_concurrency: Some(1), ..worker_in("Busy", id, "m") });
    apply(&registry, beat("h", T0, workers.into()));
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        // Each holds one reservation at most, so that one of three is always free.
        for _ in 0..2 {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    drop(registry.reserve_worker_for_model("m"));
                }
            });
        }
        // The window is narrow: so many looks open it a few times.
        let policies: [&dyn Policy; 4] = [&LeastLoaded, &PowerOfChoices { d: 16 }, &LeastLoaded, &Random];
        let missed = (0..600_000).find(|n| registry.pick("m", policies[n % 4]).is_none());
        stop.store(true, Ordering::Relaxed);
        assert_eq!(missed, None);
    });
}

/// A call that was refused opened the way for a heartbeat of before the removal.
#[test]
fn a_refused_update_workers_leaves_the_tombstone() {
    let limits = Limits { models: 1, ..Limits::default() };
    let (registry, clock) = registry_with(|builder| builder.limits(limits));
    apply(&registry, beat("a", T0, Vec::new()));
    apply(&registry, beat("b", T0, vec![worker("w", "m")]));
    clock.advance(Duration::from_secs(1));
    assert!(registry.remove_hive("a"));
    assert_eq!(apply(&registry, beat("a", T0 + 500, Vec::new())), HeartbeatOutcome::Removed);
    let refused = registry.update_workers("a", vec![process("g", "1", "another model")]);
    assert!(matches!(refused, Err(HeartbeatError::OverLimit { limit: "models", .. })));
    assert_eq!(apply(&registry, beat("a", T0 + 500, Vec::new())), HeartbeatOutcome::Removed);
}

/// Under the arrival clock a superseded heartbeat brings a hive back, and was not told; nor was the next silence.
#[test]
fn a_second_silence_is_told() {
    let (registry, clock) = registry_with(|builder| builder.liveness_clock(LivenessClock::Arrival));
    apply(&registry, beat("a", T0, vec![worker("w", "m")]));
    let feed = registry.subscribe(16);
    let silent = || {
        clock.advance(Duration::from_secs(31));
        registry.evict_stale(Duration::from_secs(3_600))
    };
    assert_eq!(silent().hives, 0);
    assert_eq!(apply(&registry, beat("a", T0 - 1_000, Vec::new())), HeartbeatOutcome::Superseded);
    assert_eq!(silent().hives, 0);
    let kinds: Vec<_> = std::iter::from_fn(|| feed.try_next().ok()).map(|event| event.kind).collect();
    assert_eq!(kinds, [EventKind::HiveOffline, EventKind::HiveUpdated, EventKind::HiveOffline]);
    assert_eq!(feed.try_next(), Err(FeedError::Timeout));
}

/// The capabilities of a plain heartbeat were ignored, or refused when they came before `hive_id`.
#[test]
fn capabilities_of_a_plain_heartbeat_count_wherever_they_stand() {
    let device = r#""capabilities": [{"id": "G", "name": "card", "device_type": "cuda", "vram_gb": 24}]"#;
    let rest = r#""hive_id": "a", "timestamp": "2025-10-21T10:00:00Z", "workers": []"#;
    for body in [format!("{{{device}, {rest}}}"), format!("{{{rest}, {device}}}")] {
        let (registry, _) = registry();
        assert_eq!(registry.ingest_json(body.as_bytes()), Ok(HeartbeatOutcome::Registered));
        assert!(registry.get_available_resources("a").unwrap().vram_total_gb.is_some());
    }
}

/// A parser's message quoted a megabyte.
#[test]
fn an_error_message_is_short_whatever_was_sent() {
    let (registry, _) = registry();
    let body =
        format!(r#"{{"hive_id": "a", "timestamp": "t", "epoch": "{}", "workers": []}}"#, "x".repeat(100_000));
    let error = registry.ingest_json(body.as_bytes()).unwrap_err().to_string();
    assert!(error.len() < 400 && error.starts_with("epoch: ") && error.contains("line 1"), "{error}");
}

/// A lease for ever on a worker that has gone was kept for ever.
#[test]
fn leases_of_workers_that_have_gone_do_not_pile_up() {
    let (registry, clock) = registry();
    let mut watched = Vec::new();
    for round in 0..400 {
        let at = T0 + round * 1_000;
        apply(&registry, beat("h", at, vec![worker("w", "m")]));
        let lease = registry.reserve_detached("m", Duration::MAX).expect("the worker is idle");
        watched.push(std::sync::Arc::downgrade(&lease.worker));
        drop(lease);
        apply(&registry, beat("h", at + 500, Vec::new()));
        clock.advance(Duration::from_secs(1));
    }
    // What a thread replaced last stays until it, and the others, have gone on for a while.
    let until = std::time::Instant::now() + Duration::from_secs(20);
    let kept = || watched.iter().filter(|record| record.strong_count() > 0).count();
    while kept() > 130 && std::time::Instant::now() < until {
        assert!(registry.find_best_worker_for_model("m").is_none());
    }
    assert!(kept() <= 130, "{} of 400 records are kept", kept());
}

/// Reservations by policy fill workers without the ranking's knowledge; when nearly all were full, draws found
/// nobody, and the one left free was not chosen.
#[test]
fn a_random_policy_finds_the_only_free_worker_of_a_thousand() {
    let (registry, _) = registry();
    let one =
        |n: usize| WorkerState { max_concurrency: Some(1), ..worker_in("Busy", &format!("w{n:04}"), "m") };
    apply(&registry, beat("h", T0, (0..1_000).map(one).collect()));
    let mut held: Vec<_> = (0..1_000).filter_map(|_| registry.reserve_with("m", &Random)).collect();
    assert_eq!(held.len(), 1_000);
    let freed = held.swap_remove(500);
    let id = freed.worker().worker_id.clone();
    freed.release();
    let (_, found) = registry.pick("m", &Random).expect("one is free");
    assert_eq!(found.worker_id, id);
}

// === S8 ===

/// A policy from a closure.
struct Choose<F>(F);

impl<F: Fn(&Candidates<'_>) -> Option<usize> + Send + Sync> Policy for Choose<F> {
    fn choose(&self, candidates: &Candidates<'_>) -> Option<usize> {
        (self.0)(candidates)
    }
}

/// The place of the candidate of this id, if it is one.
fn place(candidates: &Candidates<'_>, id: &str) -> Option<usize> {
    candidates.iter().find(|(_, found)| found.worker.worker_id == id).map(|(at, _)| at)
}

/// `RoundRobin` remembered an index: with three workers, one of them ready at every other beat, those that stayed had
/// 120 and 480 of 720 picks.
#[test]
fn s8_round_robin_is_even_among_those_that_stay() {
    for flaps in 0..3 {
        // It drains and serves again, or it goes and comes.
        for goes in [false, true] {
            let (registry, _) = registry();
            let mut each = [0_usize; 3];
            for turn in 0..720 {
                let is_there = turn % 2 == 0;
                for n in 0..3 {
                    let id = n.to_string();
                    let workers = match n == flaps && !is_there {
                        true if goes => Vec::new(),
                        away => vec![worker_in(if away { "Draining" } else { "Busy" }, &id, "m")],
                    };
                    apply(&registry, beat(&id, T0 + turn, workers));
                }
                let held = registry.reserve_with("m", &RoundRobin).expect("two are there throughout");
                each[held.worker().worker_id.parse::<usize>().expect("ids are numbers")] += 1;
            }
            let stay: Vec<_> = (0..3).filter(|n| *n != flaps).map(|n| each[n]).collect();
            assert!(stay[0].abs_diff(stay[1]) <= 2, "{flaps} comes and goes: {each:?}");
        }
    }
}

/// A policy that lost three races was overruled by the default rule, which chose whom it had left out.
#[test]
fn s8_what_a_policy_leaves_out_is_not_chosen_after_lost_races() {
    let (registry, _) = registry();
    let one = |id: &str| WorkerState { max_concurrency: Some(1), ..worker_in("Busy", id, "m") };
    let workers = ["1", "2", "3", "4"].map(one).into_iter().chain([worker("out", "m")]).collect();
    apply(&registry, beat("h", T0, workers));
    let stolen = std::sync::Mutex::new(Vec::new());
    let loses = Choose(|candidates: &Candidates<'_>| {
        let wanted = ["1", "2", "3", "4"].into_iter().find(|id| place(candidates, id).is_some())?;
        let chosen = place(candidates, wanted);
        let steals = Choose(|candidates: &Candidates<'_>| place(candidates, wanted));
        stolen.lock().unwrap().extend(registry.reserve_with("m", &steals));
        chosen
    });
    let held = registry.reserve_with("m", &loses);
    assert!(held.is_none(), "{held:?}");
    assert!(stolen.lock().unwrap().len() >= 3);
}

/// The same for a pick, whose choices go while it is made.
#[test]
fn s8_what_a_policy_leaves_out_is_not_picked_when_its_choices_go() {
    let (registry, _) = registry();
    for id in ["1", "2", "3", "4"] {
        apply(&registry, beat(id, T0, vec![worker(id, "m")]));
    }
    apply(&registry, beat("out", T0, vec![WorkerState { gpu_percent: Some(0.0), ..worker("out", "m") }]));
    let loses = Choose(|candidates: &Candidates<'_>| {
        let wanted = ["1", "2", "3", "4"].into_iter().find(|id| place(candidates, id).is_some())?;
        let chosen = place(candidates, wanted);
        assert!(registry.remove_hive(wanted));
        chosen
    });
    assert_eq!(registry.pick("m", &loses), None);
}

/// Callables from Python gave the reservations of equally loaded workers to a few of them; the library's own policies are
/// to keep S4's turn.
#[test]
fn s8_equals_are_reserved_in_turn() {
    let in_turn = |policy: &dyn Policy| {
        let (registry, _) = registry();
        apply(&registry, beat("h", T0, (0..8).map(|n| worker(&n.to_string(), "m")).collect()));
        let reserve = |_| {
            let held = registry.reserve_with("m", policy).expect("all are idle");
            held.worker().worker_id.parse().expect("ids are numbers")
        };
        (0..800).map(reserve).collect::<Vec<usize>>()
    };
    for policy in [&LeastLoaded as &dyn Policy, &PowerOfChoices { d: 8 }] {
        assert!(in_turn(policy).into_iter().enumerate().all(|(turn, worker)| worker == turn % 8));
    }
    // Of two that are drawn the one reserved last loses.
    let of_two = in_turn(&PowerOfChoices { d: 2 });
    assert!(of_two.windows(2).all(|two| two[0] != two[1]), "{of_two:?}");
    assert!((0..8).all(|worker| of_two.contains(&worker)), "{of_two:?}");
}

/// A worker whose count had changed since a policy looked counted as lost, though it had room.
#[test]
fn s8_the_chosen_worker_is_taken_whenever_it_has_room() {
    let (registry, _) = registry();
    let ten = WorkerState { max_concurrency: Some(10), ..worker_in("Busy", "chosen", "m") };
    apply(&registry, beat("h", T0, vec![ten, worker("other", "m")]));
    let (asked, meanwhile) = (AtomicUsize::new(0), std::sync::Mutex::new(Vec::new()));
    let busy = Choose(|candidates: &Candidates<'_>| {
        asked.fetch_add(1, Ordering::Relaxed);
        let chosen = place(candidates, "chosen");
        let same = Choose(|candidates: &Candidates<'_>| place(candidates, "chosen"));
        meanwhile.lock().unwrap().extend(registry.reserve_with("m", &same));
        chosen
    });
    for n in 1..=5 {
        let held = registry.reserve_with("m", &busy).expect("it has room");
        assert_eq!((held.worker().worker_id.as_str(), asked.load(Ordering::Relaxed)), ("chosen", n));
        meanwhile.lock().unwrap().push(held);
    }
    assert_eq!(meanwhile.lock().unwrap().len(), 10, "its places");
}

// === what is sent, and memory ===

/// A capability of a negative, infinite or absurd size was added to the hive's memory, and there could be a million.
#[test]
fn capabilities_are_within_limits_in_every_form() {
    let (registry, _) = registry();
    let device = |gb: &str| format!(r#"{{"id":"G","name":"card","device_type":"cuda","vram_gb":{gb}}}"#);
    let many = vec![device("24"); 257].join(",");
    for (devices, refusal) in [
        (device("1e300"), "capabilities[0].vram_gb: "),
        (device("-1"), "capabilities[0]"),
        (many, "devices_per_hive: "),
    ] {
        let rest = format!(r#""timestamp":"2025-10-21T10:00:00Z","workers":[],"capabilities":[{devices}]"#);
        let hive = r#""hive":{"id":"h","hostname":"n","port":1,"operational_status":"ready","health_status":{"status":"healthy"},"version":"1"}"#;
        for body in [format!(r#"{{"hive_id":"h",{rest}}}"#), format!("{{{hive},{rest}}}")] {
            let error = registry.ingest_json(body.as_bytes()).unwrap_err().to_string();
            assert!(error.starts_with(refusal), "{error}");
        }
    }
}

/// `http://gpu 1:8080`, `http://http://gpu-1:8080` and `http://gpu-1:7835:8080` were given out as urls.
#[test]
fn a_hostname_that_is_none_makes_no_url() {
    let (registry, _) = registry();
    for (at, hostname) in ["http://gpu-1", "gpu-1:7835", "gpu 1", "gpu-1/"].into_iter().enumerate() {
        let mut heartbeat = telemetry("h", T0 + at as i64, vec![process("g", "8080", "m")]);
        heartbeat.hive.hostname = hostname.into();
        registry.update_hive(heartbeat).unwrap();
        assert_eq!(registry.get_worker_url("g-8080"), None, "{hostname}");
        assert_eq!(registry.hive_stats("h").unwrap().complaints, at as u64 + 1);
    }
}

/// A hive that was still starting was given requests.
#[test]
fn s1_a_hive_that_is_starting_is_not_picked() {
    let (registry, _) = registry();
    let mut heartbeat = telemetry("h", T0, vec![process("g", "8080", "m")]);
    heartbeat.hive.operational_status = OperationalStatus::Starting;
    registry.update_hive(heartbeat).unwrap();
    assert_eq!(registry.find_best_worker_for_model("m"), None);
    assert_eq!(registry.find_best_worker_for_model("another"), None);
    assert_eq!((registry.explain("m").loading, registry.explain("m").eligible), (1, 0));
}

/// An empty url, a NaN, a negative number or `max_concurrency` 0 took the whole hive offline.
#[test]
fn what_is_not_known_takes_no_hive_offline() {
    let (registry, _) = registry();
    let body = r#"{"hive_id":"h","timestamp":"2025-10-21T10:00:00Z","workers":[{"worker_id":"w","state":"Idle",
        "last_heartbeat":"2025-10-21T10:00:00Z","health_status":"healthy","url":"","model_id":"","backend":"",
        "device_id":-1,"vram_bytes":-1,"vram_total_bytes":1.5,"ram_bytes":-1,"cpu_percent":-1,"gpu_percent":-1,
        "max_concurrency":0}]}"#;
    assert_eq!(registry.ingest_json(body.as_bytes()), Ok(HeartbeatOutcome::Registered));
    let told = registry.get_worker("w").unwrap().1;
    let is_bare = hive_registry::WorkerInfo { model_id: None, ..(*told).clone() };
    assert_eq!(*told, is_bare);
    assert_eq!((&told.url, &told.backend, told.device_id, told.max_concurrency), (&None, &None, None, None));
    let stats = registry.hive_stats("h").unwrap();
    assert_eq!(stats.complaints, 10);
    assert_eq!(
        stats.last_complaint.as_deref(),
        Some("workers[0].max_concurrency: 0 counts as not reported: at least 1")
    );
}

/// An error quoted an id or an argument of a megabyte whole.
#[test]
fn an_error_quotes_no_argument_whole() {
    let (registry, _) = registry();
    let long = "x".repeat(1 << 20);
    let error = registry.update_hive_state(&long, beat("h", T0, vec![])).unwrap_err();
    assert!(error.to_string().len() <= 512);
    assert!(format!("{error:?}").len() <= 1_024);
}

/// Three processes on one GPU each counted it as their own.
#[test]
fn g2_three_processes_share_the_only_declared_gpu() {
    let (registry, _) = registry();
    let sharing = |at: i64, total_vram_mb| {
        let one = |n: &str| ProcessStats { vram_mb: 7 * 1_024, total_vram_mb, ..process("g", n, "m") };
        let mut heartbeat = telemetry("h", T0 + at, ["1", "2", "3"].map(one).to_vec());
        heartbeat.capabilities = Some(vec![Capability {
            id: "GPU-0".into(),
            name: "card".into(),
            device_type: "cuda".into(),
            vram_gb: Some(24.0),
            ..Default::default()
        }]);
        heartbeat
    };
    for (at, total_vram_mb) in [(0, 24 * 1_024), (1, 0)] {
        registry.update_hive(sharing(at, total_vram_mb)).unwrap();
        let free = registry.get_available_resources("h").unwrap().vram_free_gb.unwrap();
        assert!((free - 3.221_225).abs() < 1e-5, "{free}");
        assert!(registry.find_workers_with_capacity(16 * 1_024).is_empty());
        assert_eq!(registry.find_workers_with_capacity(3 * 1_024).len(), 3);
        assert!(registry.find_workers_with_capacity(3 * 1_024 + 1).is_empty());
    }
}

// === order, clocks that go back ===

/// A hive whose counter began again under a lower epoch was shut out for ever, and its dead boot picked for ever.
#[test]
fn a_counter_that_begins_again_is_heard() {
    for liveness in BOTH {
        let (registry, clock) = registry_with(|builder| builder.liveness_clock(liveness));
        apply(&registry, paired("h", T0, (7, 100), vec![worker("dead", "m")]));
        let mut applied = None;
        for second in 1..=60 {
            clock.advance(SECOND);
            let sent = paired("h", clock.wall_ms(), (1, second), vec![worker("live", "m")]);
            if apply(&registry, sent) == HeartbeatOutcome::Updated {
                applied = applied.or(Some(second));
            }
            assert!(registry.is_hive_online("h", 30_000), "{liveness:?}, second {second}");
        }
        assert_eq!(applied, Some(10), "{liveness:?}");
        let (_, found) = registry.find_best_worker_for_model("m").expect("the hive is online");
        assert_eq!(found.worker_id, "live");
    }
}

/// One heartbeat from the future, of a clock then set right, cost those of the next 50 seconds.
#[test]
fn a_clock_set_right_is_heard_after_ten_seconds() {
    for liveness in BOTH {
        let (registry, clock) = registry_with(|builder| builder.liveness_clock(liveness));
        apply(&registry, beat("h", T0 + 50_000, vec![]));
        let mut dropped = 0;
        for _ in 0..49 {
            clock.advance(SECOND);
            let sent = beat("h", clock.wall_ms(), vec![worker("w", "m")]);
            dropped += usize::from(apply(&registry, sent) == HeartbeatOutcome::Superseded);
            assert!(registry.is_hive_online("h", 1_000));
        }
        assert_eq!(dropped, 9, "{liveness:?}");
    }
}

/// A call moved the hive's order key to the registry's time, and the hive's own heartbeats came too late.
#[test]
fn update_workers_of_a_hive_whose_clock_lags_drops_none_of_its_beats() {
    let (registry, clock) = registry();
    apply(&registry, beat("h", T0 - 20_000, vec![worker("w", "m")]));
    for _ in 0..5 {
        clock.advance(SECOND);
        assert_eq!(registry.update_workers("h", vec![process("g", "1", "m")]), Ok(HeartbeatOutcome::Updated));
        assert!(registry.is_hive_online("h", 1));
        let sent = beat("h", clock.wall_ms() - 20_000, vec![worker("w", "m")]);
        assert_eq!(apply(&registry, sent), HeartbeatOutcome::Updated);
        assert!(registry.is_hive_online("h", 1), "what was heard is not unheard");
    }
}

/// Went back to a version without pairs: each heartbeat was an error, for ever.
#[test]
fn a_hive_that_sends_pairs_no_more_is_heard() {
    let (registry, clock) = registry();
    apply(&registry, paired("h", T0, (3, 5), vec![worker("old", "m")]));
    let outcomes = (1..=12).map(|_| {
        clock.advance(SECOND);
        apply(&registry, beat("h", clock.wall_ms(), vec![worker("new", "m")]))
    });
    let applied: Vec<_> = outcomes.map(|outcome| outcome == HeartbeatOutcome::Updated).collect();
    assert_eq!(applied.iter().position(|applied| *applied), Some(9), "{applied:?}");
    assert!(registry.get_worker_on("h", "new").is_some());
}

/// By arrival, a late copy of a heartbeat from before the removal brought the hive back two seconds after it.
#[test]
fn a_late_copy_does_not_lift_a_tombstone() {
    for liveness in BOTH {
        let (registry, clock) = registry_with(|builder| builder.liveness_clock(liveness));
        let (plain, with_pair) = (beat("plain", T0, vec![]), paired("paired", T0, (5, 7), vec![]));
        for sent in [&plain, &with_pair] {
            apply(&registry, sent.clone());
            assert!(registry.remove_hive(&sent.hive_id));
        }
        clock.advance(MINUTE);
        for copy in [plain, with_pair, paired("paired", clock.wall_ms(), (5, 7), vec![])] {
            assert_eq!(apply(&registry, copy), HeartbeatOutcome::Removed, "{liveness:?}");
        }
        for (hive, next) in [("plain", None), ("paired", Some(8))] {
            let mut sent = beat(hive, clock.wall_ms(), vec![]);
            (sent.epoch, sent.seq) = (next.map(|_| 5), next);
            assert_eq!(apply(&registry, sent), HeartbeatOutcome::Registered, "{liveness:?}");
        }
    }
}

/// The wall clock was set back, and snapshots told of hives heard in the future.
#[test]
fn an_age_is_never_negative() {
    let (registry, clock) = registry();
    apply(&registry, beat("h", T0, vec![]));
    clock.jump_wall(-3_600_000);
    assert_eq!(registry.snapshot().hives[0].age_ms, 0);
    // Nor does that hour count once the hive beats again.
    apply(&registry, beat("h", clock.wall_ms(), vec![]));
    clock.advance(30 * SECOND);
    assert!(!registry.is_hive_online("h", 30_000));
}

// === offline, and online again ===

fn kinds(feed: &Subscription) -> Vec<EventKind> {
    std::iter::from_fn(|| feed.try_next().ok()).map(|event| event.kind).collect()
}

/// The hive's clock is behind by more than the window: each sweep told it offline, each heartbeat updated.
#[test]
fn a_hive_that_was_never_online_is_not_told_offline() {
    let (registry, clock) = registry();
    apply(&registry, beat("h", T0 - 40_000, vec![]));
    let feed = registry.subscribe(64);
    let rounds = |behind_ms: i64| {
        for _ in 0..3 {
            clock.advance(SECOND);
            apply(&registry, beat("h", clock.wall_ms() - behind_ms, vec![]));
            assert_eq!(registry.evict_stale(MINUTE).hives, 0);
        }
        kinds(&feed)
    };
    assert_eq!(rounds(40_000), []);
    assert_eq!(rounds(0), [EventKind::HiveUpdated], "now it is online");
    // Its clock is set back: it is superseded, then heard, and told offline once.
    clock.advance(30 * SECOND);
    assert_eq!(rounds(40_000), [EventKind::HiveOffline]);
    assert_eq!(rounds(40_000), []);
    assert_eq!(rounds(0), [EventKind::HiveUpdated]);
}

// === the mass-silence guard ===

/// `hives` that are heard now.
fn all_beat(registry: &HiveRegistry, clock: &ManualClock, hives: std::ops::Range<usize>) {
    for hive in hives {
        apply(registry, beat(&format!("h{hive:02}"), clock.wall_ms(), vec![]));
    }
}

/// A pass by a greater age, by which few are silent, made the one by the lesser begin its hold again, for ever.
#[test]
fn two_ages_do_not_undo_each_others_guard() {
    let (registry, clock) = registry();
    all_beat(&registry, &clock, 0..10);
    clock.advance(MINUTE);
    let mut held = 0;
    while registry.evict_stale(MINUTE).held {
        held += 1;
        assert!(held < 100, "it holds for ever");
        assert!(!registry.evict_stale(20 * MINUTE).held);
        clock.advance(30 * SECOND);
    }
    assert_eq!(held, 10, "MAX_HOLD, in steps of 30 s");
}

/// A guard that remembered a silence of long ago did not hold in the next one.
#[test]
fn a_guard_forgets_a_silence_of_long_ago() {
    let (registry, clock) = registry();
    all_beat(&registry, &clock, 0..10);
    clock.advance(MINUTE);
    assert!(registry.evict_stale(MINUTE).held);
    // Nobody sweeps for a while, in which all are heard.
    clock.advance(MAX_HOLD);
    all_beat(&registry, &clock, 0..10);
    clock.advance(MINUTE);
    assert!(registry.evict_stale(MINUTE).held, "another silence");
    clock.advance(MAX_HOLD);
    assert!(!registry.evict_stale(MINUTE).held);
}

/// Nor do a sweeper and a call of its age share a memory: what one began is not over for the other.
#[test]
fn a_sweeper_holds_for_itself() {
    let (registry, clock) = registry();
    all_beat(&registry, &clock, 0..10);
    clock.advance(MINUTE);
    assert!(registry.evict_stale(MINUTE).held);
    clock.advance(MAX_HOLD);
    let sweeper = registry.spawn_sweeper(Duration::from_millis(1), MINUTE).expect("a thread");
    while registry.stats().holds < 3 {
        assert_eq!(registry.hive_count(), 10, "it has only begun to hold");
        std::thread::yield_now();
    }
    drop(sweeper);
    assert_eq!(registry.evict_stale(MINUTE).hives, 1);
}

/// And the other way round: where passes are rarer than `MAX_HOLD`, the silence that goes on is the same one.
#[test]
fn passes_rarer_than_max_hold_do_not_hold_for_ever() {
    let (registry, clock) = registry();
    all_beat(&registry, &clock, 0..10);
    clock.advance(MINUTE);
    assert!(registry.evict_stale(MINUTE).held);
    clock.advance(3 * MAX_HOLD);
    all_beat(&registry, &clock, 0..4);
    assert_eq!(registry.evict_stale(MINUTE).hives, 1);
}

#[test]
fn a_sweep_gives_back_what_leases_have_run_out() {
    let (registry, clock) = registry();
    let workers = (0..200).map(|n| worker(&format!("w{n:03}"), "m"));
    apply(&registry, beat("h", T0, workers.collect()));
    for _ in 0..200 {
        assert!(registry.reserve_detached("m", SECOND).is_some());
    }
    clock.advance(SECOND);
    assert_eq!(registry.evict_stale(MINUTE).hives, 0);
    assert!(registry.snapshot().hives[0].workers.iter().all(|worker| worker.reservations == 0));
}

// === the feed ===

/// A heartbeat of 1,024 workers told its changes in one stay under the lock that all who tell need. Another hive's
/// event now comes between; where it does, each hive's own are in order and the numbers have no gap.
#[test]
fn a_great_heartbeat_lets_others_tell_meanwhile() {
    let (registry, _) = registry();
    let workers = |gpu: f32| {
        let one = |n| WorkerState { gpu_percent: Some(gpu), ..worker(&format!("w{n:04}"), "m") };
        (0..1_024).map(one).collect::<Vec<_>>()
    };
    let stop = AtomicBool::new(false);
    let between = std::thread::scope(|scope| {
        for small in ["one", "two", "three"] {
            let (registry, stop) = (&registry, &stop);
            scope.spawn(move || {
                for round in 0.. {
                    if stop.load(Ordering::Relaxed) {
                        return;
                    }
                    apply(registry, beat(small, T0 + round, vec![worker(&format!("w{}", round % 2), "n")]));
                }
            });
        }
        // With many readers telling is most of what the heartbeat does, wherever this thread is interrupted.
        let _readers: Vec<_> = (0..32).map(|_| registry.subscribe(64)).collect();
        let between = (0..2_000).find(|round| {
            let feed = registry.subscribe(100_000);
            apply(&registry, beat("great", T0 + round, workers(*round as f32 % 2.0)));
            let told: Vec<_> = std::iter::from_fn(|| feed.try_next().ok()).collect();
            assert!(told.windows(2).all(|two| two[1].sequence == two[0].sequence + 1));
            let of_great: Vec<_> = told.iter().filter(|event| event.hive_id == "great").collect();
            assert!(of_great.is_sorted_by_key(|event| match &event.kind {
                EventKind::WorkerAdded(worker) | EventKind::WorkerChanged(worker) =>
                    Some(worker.worker_id.to_string()),
                // First or last.
                EventKind::HiveRegistered => None,
                _ => Some("z".into()),
            }));
            let first = told.iter().position(|event| event.hive_id == "great");
            let last = told.iter().rposition(|event| event.hive_id == "great");
            last.zip(first).is_some_and(|(last, first)| last - first + 1 > of_great.len())
        });
        stop.store(true, Ordering::Relaxed);
        between
    });
    assert!(between.is_some(), "nobody got in between");
}

// === leases that run out ===

/// Busy workers with one place each.
fn single(ids: std::ops::Range<usize>, model: &str) -> Vec<WorkerState> {
    let one = |n| WorkerState { max_concurrency: Some(1), ..worker_in("Busy", &format!("w{n:04}"), model) };
    ids.map(one).collect()
}

/// What a call pays for, and what asking for the statistics does, which is a call.
const PAID: u64 = 2 * 64;

fn open(registry: &HiveRegistry) -> u64 {
    registry.stats().reservations_open
}

/// A million leases due at once stopped every call until all were given back. A call pays for 64; a sweep for all.
#[test]
fn s6_a_call_pays_for_64_leases_that_ran_out() {
    type Call = fn(&HiveRegistry) -> bool;
    let calls: [(&str, Call); 7] = [
        ("find", |registry| registry.find_best_worker_for_model("m").is_some()),
        ("find another", |registry| registry.find_best_worker_for_model("last").is_some()),
        ("reserve", |registry| registry.reserve_worker_for_model("m").is_some()),
        ("reserve another", |registry| registry.reserve_worker_for_model("last").is_some()),
        ("pick", |registry| registry.pick("last", &LeastLoaded).is_some()),
        ("reserve_with", |registry| registry.reserve_with("last", &Random).is_some()),
        ("round robin", |registry| registry.pick("last", &RoundRobin).is_some()),
    ];
    for (what, call) in calls {
        let (registry, clock) = registry();
        apply(&registry, beat("a", T0, single(0..1_000, "m")));
        apply(&registry, beat("b", T0, single(0..1, "last")));
        for _ in 0..1_000 {
            assert!(registry.reserve_detached("m", SECOND).is_some());
        }
        // The last to run out, so that the calls that pay for others do not come to it.
        assert!(registry.reserve_detached("last", SECOND + Duration::from_millis(1)).is_some());
        assert!(!call(&registry), "{what}: all are full");
        clock.advance(2 * SECOND);
        assert!(
            call(&registry),
            "{what}: nobody is told none while the place of a lease that ran out would serve"
        );
        let left = open(&registry);
        assert!((1_001 - PAID..1_001).contains(&left), "{what}: {left} are open");
        let _ = registry.evict_stale(MINUTE);
        assert_eq!(open(&registry), 0, "{what}");
    }
}

/// Nor does a fallback serve, nor a worker that is not asked for, while a place of the model's would.
#[test]
fn s6_a_lease_that_ran_out_comes_before_a_fallback() {
    let (registry, clock) = registry();
    apply(&registry, beat("a", T0, single(0..200, "m")));
    apply(&registry, beat("b", T0, single(0..1, "last")));
    apply(&registry, beat("c", T0, vec![WorkerState { model_id: None, ..worker("idle", "none") }]));
    (0..200).for_each(|_| assert!(registry.reserve_detached("m", SECOND).is_some()));
    assert!(registry.reserve_detached("last", SECOND + SECOND).is_some());
    clock.advance(3 * SECOND);
    let (hive, _) = registry.find_best_worker_for_model("last").expect("it has run out");
    assert_eq!(hive, "b");
}

/// All leases on workers of hives that fell silent were given back by the first pick that met them.
#[test]
fn s6_leases_of_silent_workers_are_not_the_next_picks_to_pay() {
    let (registry, clock) = registry();
    apply(&registry, beat("a", T0, single(0..1_000, "m")));
    (0..1_000).for_each(|_| assert!(registry.reserve_detached("m", SECOND).is_some()));
    clock.advance(MINUTE);
    assert!(registry.find_best_worker_for_model("m").is_none());
    let left = open(&registry);
    assert!(left >= 1_000 - PAID, "{left} are open");
    // Heard again, they serve as others do.
    apply(&registry, beat("a", T0 + 60_000, single(0..1_000, "m")));
    let held: Vec<_> = (0..1_000).map_while(|_| registry.reserve_worker_for_model("m")).collect();
    assert_eq!((held.len(), open(&registry)), (1_000, 1_000));
}

/// A lease renewed to end sooner was not told to the rankings of its full worker.
#[test]
fn s6_a_lease_renewed_to_end_sooner_serves_sooner() {
    let (registry, clock) = registry();
    apply(&registry, beat("a", T0, single(0..200, "m")));
    apply(&registry, beat("b", T0, single(0..1, "last")));
    let lease = registry.reserve_detached("last", MINUTE).expect("there is room");
    (0..200).for_each(|_| assert!(registry.reserve_detached("m", SECOND).is_some()));
    assert!(registry.renew_lease(lease.id, 2 * SECOND).is_some());
    clock.advance(2 * SECOND);
    assert!(registry.find_best_worker_for_model("last").is_some());
}

/// A renewed lease is not taken, whatever its worker's rankings knew of it.
#[test]
fn s6_a_renewed_lease_is_not_taken() {
    let (registry, clock) = registry();
    apply(&registry, beat("a", T0, single(0..1, "m")));
    let lease = registry.reserve_detached("m", SECOND).expect("there is room");
    assert!(registry.renew_lease(lease.id, 10 * SECOND).is_some());
    clock.advance(5 * SECOND);
    assert!(registry.find_best_worker_for_model("m").is_none());
    assert!(registry.reserve_worker_for_model("m").is_none());
    assert_eq!(open(&registry), 1);
    assert!(registry.release_lease(lease.id));
    assert!(registry.find_best_worker_for_model("m").is_some());
}

/// The ids of two registries were the same, so that a holder ended another's lease.
#[test]
fn s6_ids_begin_at_a_random_place() {
    let first = |registry: HiveRegistry| {
        registry.update_workers("a", vec![process("g", "1", "m")]).unwrap();
        registry.reserve_detached("m", MINUTE).expect("it is idle").id
    };
    let unseeded = || first(HiveRegistry::new());
    assert_ne!(unseeded(), unseeded());
    let seeded = |seed| first(HiveRegistry::builder().seed(seed).build().unwrap());
    assert_eq!(seeded(7), seeded(7), "what is repeated by its seed is repeated whole (L6)");
    assert_ne!(seeded(7), seeded(8));
}
