//! Intake: how heartbeats of both forms replace, order and name what is known (I1 to I6).
#![cfg(not(loom))]

mod common;

use std::time::Duration;

use common::*;
use hive_registry::{
    Capability, Heartbeat, HeartbeatError, HeartbeatOutcome, HiveHealth, HiveHeartbeat, HiveHeartbeatPayload,
    HiveInfo, HiveRegistry, HiveRuntimeState, HiveSnapshot, LivenessClock, OperationalStatus, WorkerState,
};
use serde::Deserialize;

/// Every hive's state but for its version, which counts heartbeats applied.
fn states(registry: &HiveRegistry) -> Vec<HiveRuntimeState> {
    let hives = registry.snapshot().hives;
    let unversioned = |hive: HiveSnapshot| {
        let mut state = HiveRuntimeState::clone(&hive.state);
        state.version = 0;
        state
    };
    hives.into_iter().map(unversioned).collect()
}

fn permutations<T: Clone>(items: &[T]) -> Vec<Vec<T>> {
    let mut all = Vec::new();
    for at in 0..items.len() {
        let mut rest = items.to_vec();
        let first = rest.remove(at);
        for mut tail in permutations(&rest) {
            tail.insert(0, first.clone());
            all.push(tail);
        }
    }
    if all.is_empty() { vec![Vec::new()] } else { all }
}

fn text(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).expect("payloads serialize")
}

// === I1 ===

#[test]
fn i1_a_worker_not_named_is_gone_from_every_answer() {
    let (registry, _) = registry();
    apply(&registry, beat("h", T0, vec![worker("a", "m"), worker("b", "m"), worker("c", "only-c")]));
    assert_eq!(registry.total_worker_count(), 3);

    apply(&registry, beat("h", T0 + 1, vec![worker("b", "m")]));
    assert_eq!(registry.get_worker_count("h"), Some(1));
    assert_eq!(registry.total_worker_count(), 1);
    assert_eq!(registry.get_worker("a"), None);
    assert_eq!(registry.get_worker_url("a"), None);
    assert_eq!(registry.get_worker_on("h", "c"), None);
    for list in [
        registry.list_all_workers(),
        registry.find_idle_workers(),
        registry.find_workers_by_model("m"),
        registry.find_workers_by_backend("cuda"),
    ] {
        assert_eq!(names(list), ["h/b"]);
    }
    assert!(registry.find_workers_by_model("only-c").is_empty());
    assert_eq!(name(registry.find_best_worker_for_model("only-c")).as_deref(), Some("h/b"));
    assert_eq!(registry.get_workers_on_hive("h").len(), 1);

    apply(&registry, beat("h", T0 + 2, vec![]));
    assert_eq!((registry.hive_count(), registry.total_worker_count()), (1, 0));
    assert_eq!(registry.find_best_worker_for_model("m"), None);
}

#[test]
fn i1_every_query_sees_what_changed_once_the_call_returns() {
    let (registry, _) = registry();
    apply(&registry, beat("h", T0, vec![worker_in("Busy", "a", "old")]));
    assert!(registry.find_idle_workers().is_empty());

    let url = Some("http://elsewhere:1".to_owned());
    let backend = Some("METAL".to_owned());
    apply(&registry, beat("h", T0 + 1, vec![WorkerState { url, backend, ..worker("a", "new") }]));
    assert_eq!(names(registry.find_idle_workers()), ["h/a"]);
    assert_eq!(names(registry.find_workers_by_model("new")), ["h/a"]);
    assert!(registry.find_workers_by_model("old").is_empty());
    assert_eq!(names(registry.find_workers_by_backend("metal")), ["h/a"]);
    assert_eq!(registry.get_worker_url("a").as_deref(), Some("http://elsewhere:1"));
}

#[test]
fn i1_the_newest_heartbeat_is_the_whole_state_in_either_form() {
    let (registry, _) = registry();
    let devices = vec![Capability {
        id: "GPU-0".into(),
        name: "card".into(),
        device_type: "cuda".into(),
        ..Default::default()
    }];
    let heartbeat =
        HiveHeartbeat { capabilities: Some(devices), ..telemetry("h", T0, vec![process("g", "1", "m")]) };
    registry.update_hive(heartbeat).unwrap();
    assert_eq!(registry.get_hive("h").unwrap().hostname, "h.example");
    assert_eq!(registry.get_workers("h").unwrap()[0].pid, 4_242);

    apply(&registry, beat("h", T0 + 1, vec![worker("p", "m")]));
    let state = registry.get_hive_state("h").unwrap();
    assert_eq!((state.hive.clone(), state.capabilities.clone()), (None, None));
    assert_eq!(registry.get_workers("h").unwrap(), []);
    assert_eq!(names(registry.list_all_workers()), ["h/p"]);
}

// === I3 ===

#[test]
fn i3_equal_pair_is_superseded_and_equal_timestamp_applied() {
    let (registry, _) = registry();
    assert_eq!(apply(&registry, beat("t", T0, vec![worker("a", "m")])), HeartbeatOutcome::Registered);
    assert_eq!(apply(&registry, beat("t", T0, vec![worker("b", "m")])), HeartbeatOutcome::Updated);
    assert_eq!(names(registry.list_all_workers()), ["t/b"]);

    let first = paired("p", T0, (1, 1), vec![worker("a", "m")]);
    assert_eq!(apply(&registry, first), HeartbeatOutcome::Registered);
    let again = paired("p", T0 + 5, (1, 1), vec![worker("b", "m")]);
    assert_eq!(apply(&registry, again), HeartbeatOutcome::Superseded);
    assert_eq!(registry.get_worker_on("p", "b"), None);
}

#[test]
fn i3_pairs_decide_whatever_the_clock_says() {
    let (registry, _) = registry();
    let day = 86_400_000;
    apply(&registry, paired("h", T0, (2, 10), vec![]));
    let later_clock = |pair| paired("h", T0 + day, pair, vec![worker("late", "m")]);
    for old in [(2, 9), (1, 11), (1, u64::MAX), (0, 0)] {
        assert_eq!(apply(&registry, later_clock(old)), HeartbeatOutcome::Superseded, "{old:?}");
    }
    let earlier_clock = |pair| paired("h", T0 - day, pair, vec![]);
    for new in [(2, 11), (3, 0), (u64::MAX, u64::MAX)] {
        assert_eq!(apply(&registry, earlier_clock(new)), HeartbeatOutcome::Updated, "{new:?}");
    }
}

#[test]
fn i3_the_raw_timestamp_orders_below_the_millisecond_and_across_offsets() {
    let (registry, _) = registry();
    let at = |timestamp: &str| {
        apply(&registry, HiveHeartbeatPayload { timestamp: timestamp.into(), ..beat("h", T0, vec![]) })
    };
    assert_eq!(at("2025-10-21T10:00:00.000002Z"), HeartbeatOutcome::Registered);
    assert_eq!(at("2025-10-21T10:00:00.000001Z"), HeartbeatOutcome::Superseded);
    assert_eq!(at("2025-10-21T12:00:00.000003+02:00"), HeartbeatOutcome::Updated);
    assert_eq!(at("2025-10-21T09:59:59+00:00"), HeartbeatOutcome::Superseded);
}

#[test]
fn i3_order_goes_by_the_raw_timestamp_and_not_by_its_clamped_arrival() {
    let (registry, _) = registry();
    // Two heartbeats of a clock that is ahead: both are heard as "now", but their order stays.
    apply(&registry, beat("h", T0 + 20_000, vec![worker("second", "m")]));
    let first = beat("h", T0 + 10_000, vec![worker("first", "m")]);
    assert_eq!(apply(&registry, first), HeartbeatOutcome::Superseded);
    assert_eq!(registry.get_hive_state("h").unwrap().last_heartbeat_ms, T0);
}

#[test]
fn i3_any_pair_is_newer_than_a_heartbeat_without_one() {
    let (registry, clock) = registry();
    apply(&registry, beat("h", T0, vec![]));
    assert_eq!(apply(&registry, paired("h", T0 - 1, (0, 0), vec![])), HeartbeatOutcome::Updated);
    for without in [beat("h", T0 + 1, vec![worker("a", "m")]), beat("h", T0 - 100_000, vec![])] {
        assert_eq!(apply(&registry, without), HeartbeatOutcome::Superseded);
    }
    assert_eq!(registry.total_worker_count(), 0);

    // Until it is evicted.
    clock.advance(Duration::from_secs(60));
    assert_eq!(registry.evict_stale(Duration::from_secs(60)).hives, 1);
    assert_eq!(apply(&registry, beat("h", T0 + 2, vec![])), HeartbeatOutcome::Registered);
}

#[test]
fn i3_any_order_leaves_the_same_state() {
    let workers = |at: u64| {
        let busy = worker_in("Busy", &format!("w{at}"), "m");
        vec![worker("a", if at == 2 { "x" } else { "m" }), busy]
    };
    let by_time: Vec<String> = vec![
        text(&beat("h", T0 - 60_000, workers(0))),
        text(&beat("h", T0 - 20_000, workers(1))),
        text(&telemetry("h", T0 - 1, vec![process("g", "80", "m")])),
        text(&beat("h", T0, workers(3))),
    ];
    // The pairs run against the clock.
    let by_pair: Vec<String> = vec![
        text(&paired("h", T0, (1, 7), workers(0))),
        text(&paired("h", T0 - 10, (1, 8), workers(1))),
        text(&paired("h", T0 - 20, (2, 0), workers(2))),
        text(&HiveHeartbeat {
            epoch: Some(2),
            seq: Some(1),
            ..telemetry("h", T0 - 30, vec![process("g", "80", "m")])
        }),
    ];
    for (liveness, heartbeats) in [
        (LivenessClock::Reported, &by_time),
        (LivenessClock::Reported, &by_pair),
        (LivenessClock::Arrival, &by_time),
        (LivenessClock::Arrival, &by_pair),
    ] {
        let expected = {
            let (registry, _) = registry_with(|builder| builder.liveness_clock(liveness));
            registry.ingest_json(heartbeats[3].as_bytes()).unwrap();
            states(&registry)
        };
        let orders = permutations(heartbeats);
        assert_eq!(orders.len(), 24);
        for order in orders {
            // "However often": each one once more, straight after or at the end.
            let doubled = order.iter().flat_map(|body| [body, body]);
            for bodies in [order.iter().collect::<Vec<_>>(), doubled.chain(&order).collect()] {
                let (registry, _) = registry_with(|builder| builder.liveness_clock(liveness));
                for body in &bodies {
                    registry.ingest_json(body.as_bytes()).unwrap();
                }
                assert_eq!(states(&registry), expected, "{liveness:?} {bodies:#?}");
                assert_eq!(registry.list_all_workers().len(), registry.total_worker_count());
            }
        }
    }
}

// === I4 ===

#[test]
fn i4_every_way_in_tells_its_outcome() {
    let (registry, _) = registry();
    type WayIn = fn(&HiveRegistry, &str, i64) -> HeartbeatOutcome;
    let ways: [(&str, WayIn); 4] = [
        ("plain", |registry, hive, at| apply(registry, beat(hive, at, vec![]))),
        ("telemetry", |registry, hive, at| registry.update_hive(telemetry(hive, at, vec![])).unwrap()),
        ("plain-json", |registry, hive, at| {
            registry.ingest_json(text(&beat(hive, at, vec![])).as_bytes()).unwrap()
        }),
        ("telemetry-json", |registry, hive, at| {
            registry.ingest_json(text(&telemetry(hive, at, vec![])).as_bytes()).unwrap()
        }),
    ];
    for (hive, send) in ways {
        assert_eq!(send(&registry, hive, T0 - 10), HeartbeatOutcome::Registered, "{hive}");
        assert_eq!(send(&registry, hive, T0 - 9), HeartbeatOutcome::Updated, "{hive}");
        assert_eq!(send(&registry, hive, T0 - 11), HeartbeatOutcome::Superseded, "{hive}");
        assert!(registry.remove_hive(hive));
        assert_eq!(send(&registry, hive, T0 - 8), HeartbeatOutcome::Removed, "{hive}");
        assert_eq!(send(&registry, hive, T0 + 1), HeartbeatOutcome::Registered, "{hive}");
    }
    let told = registry.stats().heartbeats;
    assert_eq!((told.registered, told.updated, told.superseded, told.removed, told.refused), (8, 4, 4, 4, 0));
}

// === I5 ===

#[test]
fn i5_one_worker_id_on_two_hives_is_two_workers() {
    let (registry, clock) = registry();
    apply(&registry, beat("a", T0, vec![worker_in("Idle", "w", "m")]));
    apply(&registry, beat("b", T0, vec![worker_in("Busy", "w", "n")]));
    assert_eq!(registry.total_worker_count(), 2);
    assert_eq!(registry.get_worker_on("a", "w").unwrap().model_id.as_deref(), Some("m"));
    assert_eq!(registry.get_worker_on("b", "w").unwrap().model_id.as_deref(), Some("n"));

    let found = || name(registry.get_worker("w")).unwrap();
    assert_eq!(found(), "a/w", "heard at one moment: by hive id");
    clock.advance(Duration::from_secs(1));
    apply(&registry, beat("b", T0 + 1_000, vec![worker("w", "n")]));
    assert_eq!(found(), "b/w", "heard last");
    clock.advance(Duration::from_secs(60));
    assert_eq!(found(), "b/w", "none is live: heard last among all");
    apply(&registry, beat("a", T0 + 61_000, vec![worker("w", "m")]));
    assert_eq!(found(), "a/w", "the only live one");

    apply(&registry, beat("a", T0 + 61_001, vec![]));
    assert_eq!(found(), "b/w", "gone from the other");
    registry.remove_hive("b");
    assert_eq!(registry.get_worker("w"), None);
}

#[test]
fn i5_an_id_that_many_hives_share_comes_and_goes() {
    let (registry, clock) = registry();
    for hive in 0..300 {
        apply(&registry, beat(&format!("h{hive:03}"), T0 - hive, vec![worker("llm-8080", "m")]));
    }
    for hive in 0..299 {
        assert_eq!(name(registry.get_worker("llm-8080")), Some(format!("h{hive:03}/llm-8080")));
        assert!(registry.remove_hive(&format!("h{hive:03}")));
    }
    clock.advance(Duration::from_secs(1));
    apply(&registry, beat("h299", T0 + 1, vec![]));
    assert_eq!(registry.get_worker("llm-8080"), None);
    assert_eq!(registry.total_worker_count(), 0);
}

// === I6 ===

#[test]
fn i6_update_workers_replaces_and_counts_as_heard_now() {
    let (registry, clock) = registry();
    let heartbeat = telemetry("h", T0, vec![process("g", "80", "m"), process("g", "81", "m")]);
    registry.update_hive(heartbeat).unwrap();
    clock.advance(Duration::from_secs(40));
    assert!(!registry.is_hive_online("h", 30_000));

    let outcome = registry.update_workers("h", vec![process("g", "81", "n")]).unwrap();
    assert_eq!(outcome, HeartbeatOutcome::Updated);
    assert!(registry.is_hive_online("h", 1));
    assert_eq!(names(registry.list_all_workers()), ["h/g-81"]);
    let state = registry.get_hive_state("h").unwrap();
    assert_eq!(state.last_heartbeat_ms, T0 + 40_000);
    assert_eq!(state.hive.as_ref().unwrap().hostname, "h.example", "what is known of the hive stays");
    let worker = &state.workers[0];
    assert_eq!(worker.url.as_deref(), Some("http://h.example:81"));
    assert_eq!(worker.last_heartbeat.timestamp_millis(), T0 + 40_000);
    // It is of no order: a heartbeat newer than the last one is applied, even if it was made before the call.
    let next = telemetry("h", T0 + 1, vec![]);
    assert_eq!(registry.update_hive(next).unwrap(), HeartbeatOutcome::Updated);
    assert!(registry.is_hive_online("h", 1), "what was heard is not unheard");
    let late = telemetry("h", T0, vec![process("g", "80", "m")]);
    assert_eq!(registry.update_hive(late).unwrap(), HeartbeatOutcome::Superseded);
}

#[test]
fn i6_a_hive_that_sends_pairs_keeps_its_pair() {
    let (registry, _) = registry();
    apply(&registry, paired("h", T0, (3, 5), vec![worker("a", "m")]));
    registry.update_workers("h", vec![process("g", "1", "m")]).unwrap();
    assert_eq!(apply(&registry, paired("h", T0 + 9, (3, 5), vec![])), HeartbeatOutcome::Superseded);
    assert_eq!(names(registry.list_all_workers()), ["h/g-1"]);
    assert_eq!(apply(&registry, beat("h", T0 + 9, vec![])), HeartbeatOutcome::Superseded);
    assert_eq!(apply(&registry, paired("h", T0 - 9, (3, 6), vec![])), HeartbeatOutcome::Updated);
}

#[test]
fn i6_an_unknown_hive_is_registered_tombstone_or_not() {
    let (registry, _) = registry();
    let processes = || vec![process("g", "1", "m")];
    assert_eq!(registry.update_workers("h", processes()).unwrap(), HeartbeatOutcome::Registered);
    let worker = registry.get_worker("g-1").unwrap().1;
    assert_eq!((&worker.url, &worker.backend), (&None, &None), "nothing is known of the hive");
    registry.remove_hive("h");
    assert_eq!(registry.update_workers("h", processes()).unwrap(), HeartbeatOutcome::Registered);
    assert_eq!(registry.list_online_hives(), ["h"]);
    assert_eq!(registry.get_hive("h"), None);
}

// === the telemetry form ===

#[test]
fn a_process_becomes_a_worker() {
    let (registry, _) = registry();
    let processes = vec![
        process("idle", "8080", "m"),
        hive_registry::ProcessStats { gpu_util_pct: Some(0.5), model: None, ..process("busy", "gpu0", "m") },
    ];
    let mut heartbeat = telemetry("h", T0 - 7, processes.clone());
    heartbeat.hive.operational_status = OperationalStatus::Busy;
    heartbeat.hive.health_status = HiveHealth::Degraded { reason: "hot".into() };
    let device = |id: &str, kind: &str| Capability {
        id: id.into(),
        name: "card".into(),
        device_type: kind.into(),
        ..Default::default()
    };
    heartbeat.capabilities = Some(vec![device("CPU", "cpu"), device("GPU-0", "CUDA")]);
    registry.update_hive(heartbeat).unwrap();

    let workers = registry.get_workers_on_hive("h");
    let [busy, idle] = &workers[..] else { panic!("{workers:?}") };
    assert_eq!((&*busy.worker_id, busy.state.as_str()), ("busy-gpu0", "Busy"));
    assert_eq!((&*idle.worker_id, idle.state.as_str()), ("idle-8080", "Idle"));
    assert_eq!((busy.url.as_deref(), idle.url.as_deref()), (None, Some("http://h.example:8080")));
    assert_eq!((busy.model_id.as_deref(), idle.model_id.as_deref()), (None, Some("m")));
    for worker in [busy, idle] {
        assert_eq!(worker.backend.as_ref().unwrap().as_str(), "cuda");
        assert_eq!(worker.health_status.as_str(), "degraded");
        assert_eq!(worker.last_heartbeat.timestamp_millis(), T0 - 7);
        assert_eq!(worker.vram_bytes, Some(4_096 << 20));
        assert_eq!(worker.vram_total_bytes, Some(24_576 << 20));
        assert_eq!(worker.ram_bytes, Some(512 << 20));
        assert_eq!(worker.cpu_percent, Some(12.5));
    }
    assert_eq!(idle.process.as_deref(), Some(&processes[0]));
    let sent: Vec<_> =
        registry.get_all_workers().into_iter().map(|(_, process)| (*process).clone()).collect();
    assert_eq!(sent, [processes[1].clone(), processes[0].clone()]);
}

// === JSON ===

/// The states after the same heartbeat came as a struct and as JSON, which must agree.
fn both_ways(payload: &HiveHeartbeatPayload) -> Vec<HiveRuntimeState> {
    let json = text(payload);
    assert_eq!(serde_json::from_str::<HiveHeartbeatPayload>(&json).unwrap(), *payload);
    let (by_struct, by_json) = (registry().0, registry().0);
    apply(&by_struct, payload.clone());
    by_json.ingest_json(json.as_bytes()).unwrap();
    assert_eq!(states(&by_json), states(&by_struct), "{json}");
    states(&by_json)
}

#[test]
fn json_of_the_plain_form_is_the_public_type() {
    let full = WorkerState {
        worker_id: "w \"quoted\" \\ / \u{e9} \u{1f600}".into(),
        state: "READY".into(),
        last_heartbeat: "2025-10-21T12:00:00.123456789+02:00".into(),
        health_status: "so-so".into(),
        url: Some("http://[::1]:80/?q=\u{fc}".into()),
        model_id: Some("m\u{2028}m".into()),
        backend: Some("ROCm".into()),
        device_id: Some(u32::MAX),
        vram_bytes: Some(u64::MAX),
        vram_total_bytes: Some(u64::MAX - 1),
        ram_bytes: Some(0),
        cpu_percent: Some(1_234.567_9),
        gpu_percent: Some(f32::MIN_POSITIVE),
        max_concurrency: Some(u32::MAX),
    };
    let mut payload = paired("h\u{e9}", T0, (u64::MAX, 0), vec![full, worker("a", "m"), bare_worker("b")]);
    let kept = &both_ways(&payload)[0].workers[2];
    assert_eq!(kept.worker_id, payload.workers[0].worker_id);
    assert_eq!((kept.state.as_str(), kept.health_status.as_str()), ("Idle", "so-so"));
    assert_eq!(kept.backend.as_ref().map(|backend| backend.as_str()), Some("rocm"));
    assert_eq!((kept.vram_bytes, kept.gpu_percent), (Some(u64::MAX), Some(f32::MIN_POSITIVE)));
    // What is handed out serializes and comes back, too.
    let state = &both_ways(&payload)[0];
    assert_eq!(serde_json::from_str::<HiveRuntimeState>(&text(state)).unwrap(), *state);

    let mut rng = Rng::new(7);
    for _ in 0..300 {
        let mut float = || Some(f32::from_bits(rng.next() as u32 & 0x7f7f_ffff));
        (payload.workers[0].cpu_percent, payload.workers[0].gpu_percent) = (float(), float());
        both_ways(&payload);
    }
}

#[test]
fn json_of_the_telemetry_form_is_the_public_type() {
    let reason = || "caf\u{e9} \"hot\"".to_owned();
    let statuses = [
        OperationalStatus::Starting,
        OperationalStatus::Ready,
        OperationalStatus::Busy,
        OperationalStatus::Stopping,
        OperationalStatus::Stopped,
    ];
    let healths = [
        HiveHealth::Healthy,
        HiveHealth::Degraded { reason: reason() },
        HiveHealth::Unhealthy { reason: reason() },
    ];
    for (operational_status, health_status) in
        statuses.into_iter().flat_map(|status| healths.iter().map(move |health| (status, health.clone())))
    {
        let mut heartbeat = telemetry("h", T0, vec![process("g\u{e9}", "80", "m"), process("g", "81", "m")]);
        heartbeat.workers.as_mut().unwrap()[1].model = None;
        heartbeat.hive.hostname = "::1".into();
        (heartbeat.hive.operational_status, heartbeat.hive.health_status) =
            (operational_status, health_status);
        (heartbeat.epoch, heartbeat.seq) = (Some(1), Some(2));
        heartbeat.capabilities = Some(vec![
            Capability {
                id: "GPU-0".into(),
                name: "RTX \"4090\"".into(),
                device_type: "cuda".into(),
                vram_gb: Some(23.55),
                compute_capability: Some("8.9".into()),
            },
            Capability { vram_gb: None, compute_capability: None, ..cpu() },
        ]);
        let json = text(&heartbeat);
        assert_eq!(serde_json::from_str::<HiveHeartbeat>(&json).unwrap(), heartbeat);
        let (by_struct, by_json) = (registry().0, registry().0);
        by_struct.update_hive(heartbeat.clone()).unwrap();
        by_json.ingest_json(json.as_bytes()).unwrap();
        assert_eq!(states(&by_json), states(&by_struct), "{json}");
        let state = &states(&by_json)[0];
        assert_eq!(state.hive.as_deref(), Some(&heartbeat.hive));
        assert_eq!(state.capabilities.as_deref(), heartbeat.capabilities.as_deref());
        assert_eq!(state.workers[0].url.as_deref(), Some("http://[::1]:81"));
        assert_eq!(serde_json::from_str::<HiveRuntimeState>(&text(state)).unwrap(), *state);
    }
}

fn cpu() -> Capability {
    Capability { id: "CPU".into(), name: "cpu".into(), device_type: "cpu".into(), ..Default::default() }
}

const WORKERS: &str = r#""workers": [{"worker_id": "w", "state": "Idle", "health_status": "healthy",
    "last_heartbeat": "2025-10-21T10:00:00Z"}]"#;
const TIMESTAMP: &str = r#""timestamp": "2025-10-21T10:00:00Z""#;
const HIVE: &str = r#""hive": {"id": "h", "hostname": "n", "port": 1, "operational_status": "ready",
    "health_status": {"status": "healthy"}, "version": "1"}"#;
const PROCESSES: &str = r#""workers": [{"pid": 1, "group": "g", "instance": "1", "cpu_pct": 0, "rss_mb": 1,
    "io_r_mb_s": 0, "io_w_mb_s": 0.5, "uptime_s": 9, "gpu_util_pct": 0, "vram_mb": 1, "total_vram_mb": 2,
    "model": null}]"#;

/// Registers a fresh registry's one hive by an object of these members; its workers.
fn registers(members: &[&str]) -> Vec<String> {
    let (registry, _) = registry();
    let body = format!("{{{}}}", members.join(", "));
    match registry.ingest_json(body.as_bytes()) {
        Ok(outcome) => assert_eq!(outcome, HeartbeatOutcome::Registered, "{body}"),
        Err(error) => panic!("{error}: {body}"),
    }
    names(registry.list_all_workers())
}

#[test]
fn json_tells_the_forms_apart_by_their_fields_in_any_order() {
    let id = r#""hive_id": "h""#;
    for order in permutations(&[id, TIMESTAMP, WORKERS]) {
        assert_eq!(registers(&order), ["h/w"], "{order:?}");
    }
    for order in permutations(&[HIVE, TIMESTAMP, PROCESSES, r#""capabilities": []"#]) {
        assert_eq!(registers(&order), ["h/g-1"], "{order:?}");
    }
    let (registry, _) = registry();
    for members in [
        [TIMESTAMP, WORKERS, ""].as_slice(),
        &[id, HIVE, TIMESTAMP, WORKERS],
        &[HIVE, PROCESSES, TIMESTAMP, id],
        &[id, TIMESTAMP, PROCESSES],
        &[WORKERS, HIVE, TIMESTAMP],
        &[id, id, TIMESTAMP, WORKERS],
    ] {
        let members: Vec<_> = members.iter().copied().filter(|member| !member.is_empty()).collect();
        let body = format!("{{{}}}", members.join(", "));
        let error = registry.ingest_json(body.as_bytes()).unwrap_err();
        assert!(matches!(error, HeartbeatError::Malformed { .. }), "{error}: {body}");
    }
    assert_eq!(registry.hive_count(), 0);
}

#[test]
fn bodies_of_any_format_are_read_as_json_is() {
    let event = r#""type": "telemetry", "hive_id": "h""#;
    let odd = WORKERS.replace(r#""Idle""#, r#""Idle", "gpu_percent": -1, "url": """#);
    for members in
        [[r#""hive_id": "h""#, TIMESTAMP, &odd], [HIVE, TIMESTAMP, PROCESSES], [event, TIMESTAMP, PROCESSES]]
    {
        let body = format!("{{{}}}", members.join(", "));
        let tree: serde_json::Value = serde_json::from_str(&body).unwrap();
        let (as_json, _) = registry();
        let (as_tree, _) = registry();
        let heartbeat = Heartbeat::deserialize(&tree).unwrap();
        assert_eq!(heartbeat.hive_id(), "h");
        assert_eq!(as_tree.ingest_heartbeat(&heartbeat), as_json.ingest_json(body.as_bytes()));
        assert_eq!(as_tree.get_hive_state("h"), as_json.get_hive_state("h"), "{body}");
        assert_eq!(as_tree.hive_stats("h"), as_json.hive_stats("h"), "{body}");
    }
}

/// A stream can be read only once: what tells the form must come first, and is told so.
#[test]
fn bodies_of_other_formats_tell_their_form_first() {
    let id = r#""hive_id": "h""#;
    for (members, says) in [
        ([WORKERS, id, TIMESTAMP], "workers: must come after `hive_id` or `hive`"),
        ([id, PROCESSES, r#""type": "telemetry""#], "workers[0].worker_id: missing field `worker_id`"),
        (
            [id, r#""workers": []"#, r#""timestamp": "2025-10-21T10:00:00Z", "type": "telemetry""#],
            "type: must come before",
        ),
        ([TIMESTAMP, WORKERS, r#""x": 1"#], "hive_id: missing field `hive_id`"),
        ([HIVE, TIMESTAMP, r#""workers": 5"#], "workers: invalid type: integer `5`"),
    ] {
        let body = format!("{{{}}}", members.join(", "));
        let mut json = serde_json::Deserializer::from_str(&body);
        let read = serde_path_to_error::deserialize::<_, Heartbeat<'_>>(&mut json);
        let error = read.map(|_| ()).unwrap_err();
        let error = HeartbeatError::malformed(&error.path().to_string(), &error.inner().to_string());
        assert!(error.to_string().starts_with(says), "{error}: {body}");
        let (registry, _) = registry();
        assert_eq!(registry.refuse::<()>(Some("h"), error.clone()), Err(error));
        assert_eq!(registry.stats().heartbeats.refused, 1);
    }
}

#[test]
fn what_is_no_struct_is_told_which_by_the_name_that_users_know() {
    let id = r#""hive_id": "h""#;
    let unwell = HIVE.replace(r#"{"status": "healthy"}"#, "5");
    for (members, says) in [
        (
            [id, TIMESTAMP, r#""workers": [5]"#],
            "workers[0]: invalid type: integer `5`, expected struct WorkerState",
        ),
        (
            [HIVE, TIMESTAMP, r#""workers": [5]"#],
            "workers[0]: invalid type: integer `5`, expected struct ProcessStats",
        ),
        (
            [r#""hive": 5"#, TIMESTAMP, r#""workers": []"#],
            "hive: invalid type: integer `5`, expected struct HiveInfo",
        ),
        (
            [&unwell, TIMESTAMP, r#""workers": []"#],
            "hive.health_status: invalid type: integer `5`, expected struct HiveHealth",
        ),
        (
            [HIVE, TIMESTAMP, r#""capabilities": [5]"#],
            "capabilities[0]: invalid type: integer `5`, expected struct Capability",
        ),
    ] {
        let (registry, _) = registry();
        let error = registry.ingest_json(format!("{{{}}}", members.join(", ")).as_bytes()).unwrap_err();
        assert!(error.to_string().starts_with(says), "{error}: {says}");
    }
}

#[test]
fn json_strings_may_hold_escapes() {
    let workers = WORKERS
        .replace(r#""w""#, r#""w\u00e9\ud83d\ude00\/\"""#)
        .replace("Idle", r"\u0049dle")
        .replace("10:00:00Z", r"10:00:00\u005a");
    let timestamp = TIMESTAMP.replace("Z", r"\u005a");
    for members in permutations(&[r#""hive_id": "\u0068""#, &timestamp, &workers]) {
        assert_eq!(registers(&members), ["h/w\u{e9}\u{1f600}/\""]);
    }
    assert_eq!(registers(&[r#""hive\u005fid": "h""#, TIMESTAMP, WORKERS]), ["h/w"]);
}

#[test]
fn json_null_is_as_good_as_absent() {
    let optional = [
        "url",
        "model_id",
        "backend",
        "device_id",
        "vram_bytes",
        "vram_total_bytes",
        "ram_bytes",
        "cpu_percent",
        "gpu_percent",
        "max_concurrency",
    ];
    let nulls: String = optional.iter().map(|name| format!(r#""{name}": null, "#)).collect();
    let workers = WORKERS.replace(r#""worker_id""#, &format!(r#"{nulls}"worker_id""#));
    let pair = r#""epoch": null, "seq": null"#;
    assert_eq!(registers(&[pair, r#""hive_id": "h""#, TIMESTAMP, &workers]), ["h/w"]);
    let capabilities = r#""capabilities": [{"id": "G", "name": "n", "device_type": "cuda", "vram_gb": null,
        "compute_capability": null}]"#;
    let absent = PROCESSES.replace(",\n    \"model\": null", "");
    assert_ne!(absent, PROCESSES);
    for capabilities in [capabilities, r#""capabilities": null"#] {
        assert_eq!(registers(&[HIVE, TIMESTAMP, capabilities, &absent, pair]), ["h/g-1"]);
    }
}

#[test]
fn json_fields_that_are_not_known_are_ignored() {
    let nonsense = [r#""x": [{"hive_id": 5}, null, "\u0000", 1e999]"#, r#""Hive_Id": 7"#, r#""x": {}"#];
    for extra in nonsense {
        let put_in = |text: &str, before: &str| text.replacen(before, &format!("{extra}, {before}"), 1);
        let workers = put_in(WORKERS, r#""worker_id""#);
        assert_eq!(registers(&[extra, r#""hive_id": "h""#, TIMESTAMP, &workers, extra]), ["h/w"]);
        let (hive, processes) = (put_in(HIVE, r#""id""#), put_in(PROCESSES, r#""pid""#));
        let hive = put_in(&hive, r#""status""#);
        let device = format!(
            r#""capabilities": [{{"id": "G", {extra}, "name": "n", "device_type": "cuda", "pci": "0:1"}}]"#
        );
        assert_eq!(registers(&[extra, &hive, TIMESTAMP, &device, &processes]), ["h/g-1"]);
    }
}

#[test]
fn json_of_the_event_of_a_stream_in_any_order() {
    let id = r#""hive_id": "h""#;
    let info = HIVE.replace("\"hive\"", "\"hive_info\"");
    let anonymous = info.replace("\"id\": \"h\", ", "");
    assert_ne!(anonymous, info);
    for kind in [r#""type": "telemetry""#, r#""type": "hive_telemetry""#, r#""type": "\u0074elemetry""#] {
        for order in permutations(&[id, kind, TIMESTAMP, PROCESSES]) {
            assert_eq!(registers(&order), ["h/g-1"], "{order:?}");
            assert_eq!(registers(&[&[&*info], &order[..]].concat()), ["h/g-1"]);
            assert_eq!(registers(&[&order[..], &[&*anonymous]].concat()), ["h/g-1"]);
        }
        assert!(registers(&[id, TIMESTAMP, kind]).is_empty());
        assert!(registers(&[id, TIMESTAMP, r#""workers": null"#, kind]).is_empty());
        // An empty list is of either form.
        assert!(registers(&[id, TIMESTAMP, r#""workers": []"#, kind]).is_empty());
    }
    // No kind that tells a form.
    for kind in [r#""type": "heartbeat""#, r#""type": 5"#, r#""type": null"#, r#""type": {"telemetry": 1}"#] {
        assert_eq!(registers(&[kind, id, TIMESTAMP, WORKERS]), ["h/w"]);
    }
    // Its faults are named where it says late what it is, too.
    let (registry, _) = registry();
    let body = |members: &[&str]| format!("{{{}}}", members.join(", "));
    let kind = r#""type": "telemetry""#;
    let wrong = PROCESSES.replace("\"pid\": 1", "\"pid\": \"one\"");
    for (members, field) in [
        (&[id, TIMESTAMP, &wrong, kind][..], "workers[0].pid: "),
        (&[kind, id, TIMESTAMP, &wrong], "workers[0].pid: "),
        (&[id, TIMESTAMP, WORKERS, kind], "workers[0].group: missing"),
        (&[id, &info.replace("\"h\"", "\"i\""), TIMESTAMP, PROCESSES, kind], "hive_info.id: \"i\""),
        (&[kind, TIMESTAMP, PROCESSES], "hive_id: missing"),
        (&[&HIVE.replace("\"id\": \"h\", ", ""), TIMESTAMP, PROCESSES], "hive.id: missing"),
    ] {
        let error = registry.ingest_json(body(members).as_bytes()).unwrap_err().to_string();
        assert!(error.starts_with(field), "{error}");
    }
    registry.ingest_json(body(&[id, &info, TIMESTAMP, PROCESSES, kind]).as_bytes()).unwrap();
    assert_eq!(registry.get_hive("h").unwrap().hostname, "n");
    assert_eq!(registry.get_worker_url("g-1").as_deref(), Some("http://n:1"));
}

#[test]
fn a_byte_order_mark_before_the_json_is_skipped() {
    let (registry, _) = registry();
    let body = format!("\u{feff}{}", text(&beat("h", T0, vec![])));
    assert_eq!(registry.ingest_json(body.as_bytes()), Ok(HeartbeatOutcome::Registered));
}

#[test]
fn the_plain_form_tells_of_the_hive_too() {
    let devices = vec![Capability { device_type: "cuda".into(), vram_gb: Some(24.0), ..cpu() }];
    let (registry, _) = registry();
    let told = |at: i64, status: Option<OperationalStatus>, health: HiveHealth| HiveHeartbeatPayload {
        hive_info: status.map(|status| HiveInfo {
            operational_status: status,
            health_status: health,
            ..telemetry("h", T0, vec![]).hive
        }),
        capabilities: Some(devices.clone()),
        ..beat("h", T0 + at, vec![worker("w", "m")])
    };
    let unhealthy = HiveHealth::Unhealthy { reason: "burning".into() };
    for (at, status, health, serves) in [
        (0, Some(OperationalStatus::Starting), HiveHealth::Healthy, false),
        (1, Some(OperationalStatus::Ready), HiveHealth::Healthy, true),
        (2, Some(OperationalStatus::Ready), unhealthy.clone(), false),
        (3, None, HiveHealth::Healthy, true),
        (4, Some(OperationalStatus::Stopping), HiveHealth::Healthy, false),
        (5, Some(OperationalStatus::Busy), HiveHealth::Degraded { reason: "hot".into() }, true),
    ] {
        registry.ingest_json(text(&told(at, status, health)).as_bytes()).unwrap();
        assert_eq!(registry.get_hive("h").map(|hive| hive.operational_status), status);
        assert_eq!(registry.find_best_worker_for_model("m").is_some(), serves, "{status:?}");
        assert_eq!(registry.list_available_hives().len(), usize::from(serves));
        let explained = registry.explain("m");
        let counts = (explained.eligible, explained.loading, explained.unhealthy, explained.draining);
        assert_eq!(
            counts,
            [(0, 1, 0, 0), (1, 0, 0, 0), (0, 0, 1, 0), (1, 0, 0, 0), (0, 0, 0, 1), (1, 0, 0, 0)][at as usize]
        );
        assert_eq!(registry.get_available_resources("h").unwrap().vram_total_gb, Some(25.769_804));
    }
    apply(&registry, beat("h", T0 + 6, vec![]));
    let state = registry.get_hive_state("h").unwrap();
    assert_eq!((&state.hive, &state.capabilities), (&None, &None));
}

/// What was found: a hive that recovered and sends no list was never picked from again.
#[test]
fn s1_a_hive_that_recovers_is_picked_from_though_it_sends_no_list_of_workers() {
    let (registry, _) = registry();
    let sent = |at: i64, health: HiveHealth, workers| {
        let mut heartbeat = HiveHeartbeat { workers, ..telemetry("h", T0 + at, vec![]) };
        heartbeat.hive.health_status = health;
        registry.update_hive(heartbeat).unwrap();
        registry.get_workers_on_hive("h")[0].health_status.as_str().to_owned()
    };
    let ill = || HiveHealth::Unhealthy { reason: "hot".into() };
    let workers = Some(vec![process("g", "80", "m")]);
    assert_eq!(sent(0, ill(), workers), "unhealthy");
    assert_eq!(sent(1, HiveHealth::Healthy, None), "healthy");
    assert_eq!(registry.find_best_worker_for_model("m").unwrap().1.worker_id, "g-80");
    assert_eq!(sent(2, ill(), None), "unhealthy");
    assert_eq!(registry.find_best_worker_for_model("m"), None);
    assert_eq!(sent(3, HiveHealth::Degraded { reason: "warm".into() }, None), "degraded");
    assert!(registry.find_best_worker_for_model("m").is_some());
    // Those of the plain form say how they feel themselves.
    apply(&registry, beat("h", T0 + 4, vec![worker("p", "m")]));
    assert_eq!(sent(5, ill(), None), "healthy");
}

#[test]
fn c1_telemetry_without_workers_leaves_them_as_they_were() {
    let (registry, _) = registry();
    let silent = |at: i64, status| {
        let mut heartbeat = HiveHeartbeat { workers: None, ..telemetry("h", T0 + at, vec![]) };
        heartbeat.hive.operational_status = status;
        heartbeat
    };
    assert_eq!(registry.update_hive(silent(0, OperationalStatus::Ready)), Ok(HeartbeatOutcome::Registered));
    assert_eq!(registry.get_worker_count("h"), Some(0));
    registry
        .update_hive(telemetry("h", T0 + 1, vec![process("g", "80", "m"), process("g", "81", "m")]))
        .unwrap();
    let before = registry.get_workers_on_hive("h");
    let held = registry.reserve_worker_for_model("m").unwrap();
    for (at, workers) in [(2, ""), (3, r#""workers": null,"#)] {
        let body = text(&silent(at, OperationalStatus::Stopping)).replacen('{', &format!("{{{workers}"), 1);
        registry.ingest_json(body.as_bytes()).unwrap();
        let after = registry.get_workers_on_hive("h");
        assert!(before.iter().zip(&after).all(|(old, new)| std::sync::Arc::ptr_eq(old, new)));
        assert_eq!((after.len(), registry.find_best_worker_for_model("m")), (2, None));
        assert_eq!(registry.get_hive_state("h").unwrap().last_heartbeat_ms, T0);
    }
    registry.update_hive(silent(4, OperationalStatus::Ready)).unwrap();
    assert_ne!(registry.find_best_worker_for_model("m").unwrap().1.worker_id, held.worker().worker_id);
    assert_eq!(registry.stats().reservations_open, 1);
    drop(held);
    apply(&registry, beat("h", T0 + 5, vec![worker("p", "m")]));
    registry.update_hive(silent(6, OperationalStatus::Ready)).unwrap();
    assert_eq!(names(registry.list_all_workers()), ["h/p"]);
}
