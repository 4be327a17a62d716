//! What each public function answers, for present and absent names and after removal (section 5 of the design).

#![cfg(not(loom))]

mod common;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use common::{T0, apply, beat, name, names, process, registry, stamp, telemetry, worker, worker_in};
use hive_registry::{
    Backend, Capability, HeartbeatItem, HeartbeatOutcome, HeartbeatRegistry, HiveHealth, HiveHeartbeat,
    HiveId, HiveInfo, HiveRegistry, ManualClock, OperationalStatus, WorkerInfo, WorkerLifecycle, WorkerState,
};

const GB: u64 = 1_000_000_000;

/// Three hives: `a` heard now, `b` 10 s ago, `c` 40 s ago, which is too long to be live.
fn fleet() -> (HiveRegistry, ManualClock) {
    let (registry, clock) = registry();
    let sized = |id: &str, model: &str| WorkerState {
        vram_bytes: Some(GB),
        ram_bytes: Some(3 * GB),
        ..worker(id, model)
    };
    let on_cpu = |worker| WorkerState { backend: Some("cpu".into()), ..worker };
    let bare = WorkerState { url: None, backend: Some("Metal".into()), ..worker_in("Loading", "c1", "m") };
    apply(&registry, beat("a", T0, vec![sized("a1", "m"), worker_in("Busy", "shared", "m")]));
    apply(&registry, beat("b", T0 - 10_000, vec![on_cpu(worker("b1", "n")), on_cpu(worker("shared", "n"))]));
    apply(&registry, beat("c", T0 - 40_000, vec![bare, worker("c2", "m")]));
    (registry, clock)
}

fn ids(workers: &[Arc<WorkerInfo>]) -> Vec<&str> {
    workers.iter().map(|worker| worker.worker_id.as_str()).collect()
}

// === nine about hives ===

#[test]
fn update_hive_state() {
    let (registry, _) = fleet();
    assert_eq!(apply(&registry, beat("d", T0, vec![])), HeartbeatOutcome::Registered);
    assert_eq!(apply(&registry, beat("a", T0 + 1, vec![worker("a9", "m")])), HeartbeatOutcome::Updated);
    assert_eq!(apply(&registry, beat("a", T0 - 1, vec![])), HeartbeatOutcome::Superseded);
    assert_eq!(ids(&registry.get_workers_on_hive("a")), ["a9"], "a worker it does not name is gone");
    assert!(registry.get_worker("a1").is_none());

    let error = registry.update_hive_state("a", beat("b", T0 + 2, vec![])).unwrap_err().to_string();
    assert!(error.contains("hive_id") && error.contains("\"b\""), "{error}");
    assert_eq!(registry.get_worker_count("b"), Some(2), "a refused heartbeat changes nothing");

    assert!(registry.remove_hive("a"));
    assert_eq!(apply(&registry, beat("a", T0 - 1, vec![])), HeartbeatOutcome::Removed);
    assert_eq!(apply(&registry, beat("a", T0 + 2, vec![])), HeartbeatOutcome::Registered);
}

#[test]
fn get_hive_state() {
    let (registry, _) = fleet();
    let state = registry.get_hive_state("a").expect("it is registered");
    assert_eq!(state.hive_id, "a");
    assert_eq!(ids(&state.workers), ["a1", "shared"]);
    assert_eq!((state.worker_count, state.last_heartbeat_ms), (2, T0));
    // 1 GB reported and 4 assumed; 3 GB and 2.
    assert_eq!((state.vram_used_gb, state.ram_used_gb), (5.0, 5.0));
    assert!(state.worker("shared").is_some() && state.worker("b1").is_none());
    let other = registry.get_hive_state("b").expect("it is registered");
    assert!(other.version > state.version, "b was applied later");
    assert_eq!(registry.get_hive_state("x"), None);
    registry.remove_hive("a");
    assert_eq!(registry.get_hive_state("a"), None);
}

#[test]
fn list_active_hives() {
    let (registry, clock) = fleet();
    assert_eq!(registry.list_active_hives(30_000), ["a", "b"]);
    assert_eq!(registry.list_active_hives(10_000), ["a"], "active means younger than the age");
    assert_eq!(registry.list_active_hives(10_001), ["a", "b"]);
    assert_eq!(registry.list_active_hives(i64::MAX), ["a", "b", "c"]);
    assert!(registry.list_active_hives(0).is_empty());
    assert!(registry.list_active_hives(-1).is_empty());
    clock.advance(Duration::from_secs(20));
    assert_eq!(registry.list_active_hives(30_000), ["a"]);
    registry.remove_hive("a");
    assert!(registry.list_active_hives(30_000).is_empty());
}

#[test]
fn get_available_resources() {
    let (registry, _) = fleet();
    let resources = registry.get_available_resources("a").expect("it is registered");
    assert_eq!((resources.vram_used_gb, resources.ram_used_gb), (5.0, 5.0));
    assert_eq!((resources.worker_count, resources.workers_estimated), (2, 1));
    assert_eq!((resources.vram_total_gb, resources.vram_free_gb, resources.ram_total_gb), (None, None, None));

    let on_device = |id: &str, gb| WorkerState {
        device_id: Some(0),
        vram_bytes: Some(gb * GB),
        vram_total_bytes: Some(24 * GB),
        ram_bytes: Some(GB),
        ..worker(id, "m")
    };
    apply(&registry, beat("b", T0, vec![on_device("b1", 10), on_device("b2", 6)]));
    let resources = registry.get_available_resources("b").expect("it is registered");
    assert_eq!((resources.vram_total_gb, resources.vram_free_gb), (Some(24.0), Some(8.0)));
    assert_eq!(resources.workers_estimated, 0);

    assert_eq!(registry.get_available_resources("c").map(|found| found.worker_count), Some(2), "live or not");
    assert_eq!(registry.get_available_resources("x"), None);
    registry.remove_hive("a");
    assert_eq!(registry.get_available_resources("a"), None);
}

#[test]
fn remove_hive() {
    let (registry, _) = fleet();
    assert!(!registry.remove_hive("x"));
    assert!(registry.remove_hive("a"));
    assert!(!registry.remove_hive("a"), "it has gone");
    assert_eq!(registry.list_all_hives(), ["b", "c"]);
    assert_eq!(name(registry.get_worker("shared")).as_deref(), Some("b/shared"));
    assert!(registry.find_workers_by_model("m").is_empty());
    assert!(registry.remove_hive("c"), "silent ones too");
    assert_eq!(registry.total_worker_count(), 2);
}

#[test]
fn list_all_hives() {
    let (registry, _) = fleet();
    assert_eq!(registry.list_all_hives(), ["a", "b", "c"]);
    registry.remove_hive("b");
    assert_eq!(registry.list_all_hives(), ["a", "c"]);
    assert!(HiveRegistry::new().list_all_hives().is_empty());
}

#[test]
fn get_worker_count() {
    let (registry, _) = fleet();
    apply(&registry, beat("d", T0, vec![]));
    assert_eq!(registry.get_worker_count("a"), Some(2));
    assert_eq!(registry.get_worker_count("d"), Some(0));
    assert_eq!(registry.get_worker_count("x"), None);
    registry.remove_hive("a");
    assert_eq!(registry.get_worker_count("a"), None);
}

#[test]
fn is_hive_online() {
    let (registry, clock) = fleet();
    assert!(registry.is_hive_online("a", 1) && !registry.is_hive_online("a", 0));
    assert!(registry.is_hive_online("b", 10_001) && !registry.is_hive_online("b", 10_000));
    assert!(registry.is_hive_online("c", 40_001) && !registry.is_hive_online("c", 30_000));
    assert!(!registry.is_hive_online("x", i64::MAX));
    clock.advance(Duration::from_secs(1));
    assert!(!registry.is_hive_online("a", 1_000));
    registry.remove_hive("a");
    assert!(!registry.is_hive_online("a", i64::MAX));
}

#[test]
fn hive_count() {
    let (registry, _) = fleet();
    assert_eq!(registry.hive_count(), 3);
    apply(&registry, beat("a", T0 + 1, vec![]));
    assert_eq!(registry.hive_count(), 3);
    registry.remove_hive("c");
    registry.remove_hive("x");
    assert_eq!(registry.hive_count(), 2);
}

// === nine about workers ===

#[test]
fn get_worker() {
    let (registry, clock) = fleet();
    assert_eq!(name(registry.get_worker("b1")).as_deref(), Some("b/b1"));
    assert_eq!(name(registry.get_worker("c2")).as_deref(), Some("c/c2"), "live or not");
    assert_eq!(registry.get_worker("x"), None);
    assert_eq!(name(registry.get_worker("shared")).as_deref(), Some("a/shared"), "heard last");
    clock.advance(Duration::from_secs(1));
    apply(&registry, beat("b", T0 + 1_000, vec![worker("shared", "n")]));
    assert_eq!(name(registry.get_worker("shared")).as_deref(), Some("b/shared"));
    apply(&registry, beat("a", T0 + 1_000, vec![worker("shared", "m")]));
    assert_eq!(name(registry.get_worker("shared")).as_deref(), Some("a/shared"), "a tie goes by hive id");
    // Exact: (hive, worker).
    let on = |hive| registry.get_worker_on(hive, "shared").map(|found| found.hive_id.clone());
    assert_eq!(on("b"), Some("b".into()));
    assert_eq!((on("c"), on("x")), (None, None));
    registry.remove_hive("a");
    assert_eq!(name(registry.get_worker("shared")).as_deref(), Some("b/shared"));
    assert_eq!(registry.get_worker_on("a", "shared"), None);
    registry.remove_hive("b");
    assert_eq!(registry.get_worker("shared"), None);
}

#[test]
fn get_worker_url() {
    let (registry, _) = fleet();
    assert_eq!(registry.get_worker_url("a1").as_deref(), Some("http://10.0.0.1/a1"));
    assert_eq!(registry.get_worker_url("c1"), None, "it reports none");
    assert_eq!(registry.get_worker_url("x"), None);
    registry.remove_hive("a");
    assert_eq!(registry.get_worker_url("a1"), None);
}

#[test]
fn list_all_workers() {
    let (registry, _) = fleet();
    assert_eq!(
        names(registry.list_all_workers()),
        ["a/a1", "a/shared", "b/b1", "b/shared", "c/c1", "c/c2"],
        "by hive id, then worker id, live or not"
    );
    registry.remove_hive("b");
    assert_eq!(names(registry.list_all_workers()), ["a/a1", "a/shared", "c/c1", "c/c2"]);
}

#[test]
fn find_idle_workers() {
    let (registry, _) = fleet();
    assert_eq!(names(registry.find_idle_workers()), ["a/a1", "b/b1", "b/shared"], "c is silent");
    apply(
        &registry,
        beat("a", T0 + 1, vec![worker_in("Busy", "a1", "m"), worker_in("READY", "shared", "m")]),
    );
    assert_eq!(names(registry.find_idle_workers()), ["a/shared", "b/b1", "b/shared"]);
    registry.remove_hive("b");
    assert_eq!(names(registry.find_idle_workers()), ["a/shared"]);
}

#[test]
fn find_workers_by_model() {
    let (registry, _) = fleet();
    assert_eq!(names(registry.find_workers_by_model("m")), ["a/a1", "a/shared"], "c is silent");
    assert_eq!(registry.find_workers_with_model("m"), registry.find_workers_by_model("m"));
    assert!(registry.find_workers_by_model("M").is_empty(), "a model's name is exact");
    assert!(registry.find_workers_by_model("").is_empty());
    apply(&registry, beat("b", T0, vec![worker("b1", "m"), worker("shared", "n")]));
    assert_eq!(names(registry.find_workers_by_model("n")), ["b/shared"]);
    registry.remove_hive("a");
    assert_eq!(names(registry.find_workers_by_model("m")), ["b/b1"]);
}

#[test]
fn find_workers_by_backend() {
    let (registry, _) = fleet();
    assert_eq!(names(registry.find_workers_by_backend("cpu")), ["b/b1", "b/shared"]);
    assert!(registry.find_workers_by_backend("METAL").is_empty(), "c is silent");
    assert_eq!(names(registry.find_workers_by_backend("cuda")), ["a/a1", "a/shared"]);
    assert!(registry.find_workers_by_backend("tpu").is_empty());
    registry.remove_hive("b");
    assert!(registry.find_workers_by_backend("cpu").is_empty());
}

#[test]
fn find_best_worker_for_model() {
    let (registry, _) = fleet();
    let best = |model| name(registry.find_best_worker_for_model(model));
    assert_eq!(best("m").as_deref(), Some("a/a1"), "idle before busy at equal load");
    assert_eq!(best("n").as_deref(), Some("b/b1"), "the first registered of equals");
    assert_eq!(best("x").as_deref(), Some("a/a1"), "an idle one of any model");
    registry.remove_hive("a");
    assert_eq!(best("m").as_deref(), Some("b/b1"), "c is silent, so an idle one of another model");
    registry.remove_hive("b");
    assert_eq!(best("m"), None, "only a silent hive is left");
}

#[test]
fn total_worker_count() {
    let (registry, _) = fleet();
    assert_eq!(registry.total_worker_count(), 6);
    apply(&registry, beat("a", T0 + 1, vec![worker("a2", "m")]));
    assert_eq!(registry.total_worker_count(), 5);
    registry.remove_hive("c");
    assert_eq!(registry.total_worker_count(), 3);
}

#[test]
fn get_workers_on_hive() {
    let (registry, _) = fleet();
    assert_eq!(ids(&registry.get_workers_on_hive("b")), ["b1", "shared"]);
    assert!(registry.get_workers_on_hive("x").is_empty());
    registry.remove_hive("b");
    assert!(registry.get_workers_on_hive("b").is_empty());
}

// === the telemetry form ===

fn with_status(hive: &str, status: OperationalStatus) -> HiveHeartbeat {
    let mut heartbeat = telemetry(hive, T0, vec![process("llm", "8080", "m")]);
    heartbeat.hive.operational_status = status;
    heartbeat
}

fn with_health(hive: &str, health: HiveHealth) -> HiveHeartbeat {
    let mut heartbeat = telemetry(hive, T0, vec![]);
    heartbeat.hive.health_status = health;
    heartbeat
}

/// Hives in each state, one in the plain form and one that is silent.
fn telemetry_fleet() -> HiveRegistry {
    let (registry, _) = registry();
    let reason = || "hot".into();
    let heartbeats = [
        with_status("busy", OperationalStatus::Busy),
        with_status("ready", OperationalStatus::Ready),
        with_status("starting", OperationalStatus::Starting),
        with_status("stopped", OperationalStatus::Stopped),
        with_status("stopping", OperationalStatus::Stopping),
        with_health("degraded", HiveHealth::Degraded { reason: reason() }),
        with_health("unhealthy", HiveHealth::Unhealthy { reason: reason() }),
        HiveHeartbeat { timestamp: stamp(T0 - 30_000), ..telemetry("silent", T0, vec![]) },
    ];
    for heartbeat in heartbeats {
        assert_eq!(registry.update_hive(heartbeat), Ok(HeartbeatOutcome::Registered));
    }
    apply(&registry, beat("plain", T0, vec![worker("p", "m")]));
    registry
}

#[test]
fn update_hive() {
    let (registry, _) = registry();
    let gpu = Capability {
        id: "GPU-0".into(),
        name: "RTX 4090".into(),
        device_type: "cuda".into(),
        vram_gb: Some(24.0),
        ..Default::default()
    };
    let mut heartbeat = telemetry("h", T0, vec![process("llm", "8080", "m"), process("llm", "x", "m")]);
    heartbeat.workers.as_mut().unwrap()[1].gpu_util_pct = Some(0.5);
    heartbeat.hive.health_status = HiveHealth::Degraded { reason: "hot".into() };
    heartbeat.capabilities = Some(vec![gpu]);
    assert_eq!(registry.update_hive(heartbeat.clone()), Ok(HeartbeatOutcome::Registered));

    let idle = registry.get_worker_on("h", "llm-8080").expect("group-instance");
    assert_eq!(idle.state, WorkerLifecycle::Idle);
    assert_eq!(idle.url.as_deref(), Some("http://h.example:8080"));
    assert_eq!((idle.vram_bytes, idle.vram_total_bytes), (Some(4_096 << 20), Some(24_576 << 20)));
    assert_eq!(
        (idle.ram_bytes, idle.cpu_percent, idle.gpu_percent),
        (Some(512 << 20), Some(12.5), Some(0.0))
    );
    assert_eq!(idle.health_status.as_str(), "degraded", "its hive's");
    assert_eq!(idle.backend, Some(Backend::Cuda));
    assert_eq!(idle.last_heartbeat.timestamp_millis(), T0);
    assert_eq!(idle.process.as_deref(), heartbeat.workers.as_deref().map(|workers| &workers[0]));
    let busy = registry.get_worker_on("h", "llm-x").expect("group-instance");
    assert_eq!((&busy.state, &busy.url), (&WorkerLifecycle::Busy, &None), "x is no port");

    heartbeat.timestamp = "noon".into();
    assert!(registry.update_hive(heartbeat).unwrap_err().to_string().contains("\"noon\""));
    assert_eq!(registry.update_hive(telemetry("h", T0 - 1, vec![])), Ok(HeartbeatOutcome::Superseded));
    assert_eq!(registry.get_worker_count("h"), Some(2));
}

#[test]
fn get_hive() {
    let registry = telemetry_fleet();
    let hive = registry.get_hive("ready").expect("it sent the telemetry form");
    assert_eq!((hive.id.as_str(), hive.port), ("ready", 8_600));
    assert_eq!(*hive, HiveInfo { hostname: "ready.example".into(), ..(*hive).clone() });
    assert_eq!((registry.get_hive("plain"), registry.get_hive("x")), (None, None));
    registry.remove_hive("ready");
    assert_eq!(registry.get_hive("ready"), None);
}

#[test]
fn list_online_hives_and_count_online() {
    let registry = telemetry_fleet();
    let online = ["busy", "degraded", "plain", "ready", "starting", "stopped", "stopping", "unhealthy"];
    assert_eq!(registry.list_online_hives(), online);
    assert_eq!(registry.count_online(), 8);
    registry.remove_hive("busy");
    registry.remove_hive("silent");
    assert_eq!(registry.list_online_hives(), online[1..]);
    assert_eq!(registry.count_online(), 7);
}

#[test]
fn list_available_hives_and_count_available() {
    let registry = telemetry_fleet();
    assert_eq!(registry.list_available_hives(), ["busy", "degraded", "plain", "ready"]);
    assert_eq!(registry.count_available(), 4);
    registry.remove_hive("ready");
    assert_eq!(registry.list_available_hives(), ["busy", "degraded", "plain"]);
    assert_eq!(registry.count_available(), 3);
}

#[test]
fn update_workers() {
    let (registry, clock) = registry();
    assert_eq!(registry.update_hive(telemetry("h", T0, vec![])), Ok(HeartbeatOutcome::Registered));
    clock.advance(Duration::from_secs(60));
    assert!(!registry.is_hive_online("h", 30_000));
    let processes = vec![process("llm", "8081", "m"), process("llm", "8080", "m")];
    assert_eq!(registry.update_workers("h", processes), Ok(HeartbeatOutcome::Updated));
    assert!(registry.is_hive_online("h", 1), "it counts as heard now");
    assert_eq!(ids(&registry.get_workers_on_hive("h")), ["llm-8080", "llm-8081"]);
    assert_eq!(registry.get_worker_url("llm-8080").as_deref(), Some("http://h.example:8080"));
    assert_eq!(registry.update_workers("h", vec![process("llm", "1", "m")]), Ok(HeartbeatOutcome::Updated));
    assert_eq!(ids(&registry.get_workers_on_hive("h")), ["llm-1"], "it replaces");

    let twice = vec![process("llm", "1", "m"), process("llm", "1", "m")];
    assert!(registry.update_workers("h", twice).is_err());
    assert!(registry.update_workers("", vec![]).is_err());
    assert_eq!(registry.update_workers("new", vec![]), Ok(HeartbeatOutcome::Registered));
    assert!(registry.is_hive_online("new", 1));
    registry.remove_hive("h");
    assert_eq!(registry.update_workers("h", vec![]), Ok(HeartbeatOutcome::Registered));
}

#[test]
fn find_workers_with_capacity() {
    let (registry, _) = registry();
    let mib = 1 << 20;
    let on = |device_id, id: &str, used: u64| WorkerState {
        device_id,
        vram_bytes: Some(used * mib),
        vram_total_bytes: Some(24_576 * mib),
        ..worker(id, "m")
    };
    let workers = vec![on(Some(0), "p", 10_240), on(Some(0), "q", 4_096), on(Some(1), "r", 20_480)];
    apply(&registry, beat("a", T0, workers));
    apply(&registry, beat("b", T0, vec![on(None, "s", 20_000), on(None, "t", 10), worker("untold", "m")]));
    let found = |mb| names(registry.find_workers_with_capacity(mb));
    assert_eq!(found(0), ["a/p", "a/q", "a/r", "b/s", "b/t"], "of `untold` too little is known");
    assert_eq!(found(10_240), ["a/p", "a/q", "b/t"], "two share device 0");
    assert_eq!(found(10_241), ["b/t"]);
    assert_eq!(found(24_567), Vec::<String>::new());
    assert_eq!(found(u64::MAX), Vec::<String>::new());
    registry.remove_hive("a");
    assert_eq!(found(4_576), ["b/s", "b/t"]);
    assert_eq!(found(4_577), ["b/t"]);
}

#[test]
fn get_workers_and_get_all_workers() {
    let registry = telemetry_fleet();
    let sent = registry.get_workers("ready").expect("it is registered");
    assert_eq!(sent.iter().map(|sent| &**sent).collect::<Vec<_>>(), [&process("llm", "8080", "m")]);
    assert_eq!(registry.get_workers("plain"), Some(vec![]), "it sends the plain form");
    assert_eq!(registry.get_workers("x"), None);
    let hives = || registry.get_all_workers().into_iter().map(|(hive, _)| hive).collect::<Vec<HiveId>>();
    assert_eq!(hives(), ["busy", "ready", "starting", "stopped", "stopping"]);
    registry.remove_hive("ready");
    assert_eq!(registry.get_workers("ready"), None);
    assert_eq!(hives(), ["busy", "starting", "stopped", "stopping"]);
}

// === HeartbeatRegistry ===

struct Gateway {
    name: &'static str,
    heard_ms: i64,
    open: bool,
    /// Beats again while it is judged stale.
    revives: Option<(Weak<HeartbeatRegistry<Gateway>>, AtomicBool)>,
}

fn gateway(name: &'static str, heard_ms: i64, open: bool) -> Gateway {
    Gateway { name, heard_ms, open, revives: None }
}

impl HeartbeatItem for Gateway {
    type Info = (&'static str, i64);

    fn id(&self) -> &str {
        self.name
    }

    fn info(&self) -> Self::Info {
        (self.name, self.heard_ms)
    }

    fn is_recent(&self, now_ms: i64) -> bool {
        if let Some((registry, armed)) = &self.revives {
            if let (true, Some(registry)) = (armed.swap(false, Ordering::Relaxed), registry.upgrade()) {
                registry.update(gateway(self.name, now_ms, true));
            }
        }
        now_ms - self.heard_ms < 10_000
    }

    fn is_available(&self) -> bool {
        self.open
    }
}

#[test]
fn heartbeat_registry_answers_every_question() {
    let clock = ManualClock::new(T0);
    let gateways = HeartbeatRegistry::with_clock(clock.clone());
    assert_eq!((gateways.count_total(), gateways.list_all().len()), (0, 0));
    assert!(gateways.update(gateway("us", T0 - 9_999, true)).is_none());
    assert!(gateways.update(gateway("eu", T0, false)).is_none());
    assert!(gateways.update(gateway("as", T0 - 10_000, true)).is_none());
    assert_eq!(gateways.update(gateway("eu", T0 - 1, false)).map(|old| old.heard_ms), Some(T0));

    assert_eq!((gateways.get("eu"), gateways.get("x")), (Some(("eu", T0 - 1)), None));
    assert_eq!(gateways.list_all(), [("as", T0 - 10_000), ("eu", T0 - 1), ("us", T0 - 9_999)]);
    assert_eq!(gateways.list_online(), [("eu", T0 - 1), ("us", T0 - 9_999)]);
    assert_eq!(gateways.list_available(), [("us", T0 - 9_999)]);
    let counts = (gateways.count_online(), gateways.count_available(), gateways.count_total());
    assert_eq!(counts, (2, 1, 3));
    assert!(gateways.is_online("us") && !gateways.is_online("as") && !gateways.is_online("x"));
    let all: Vec<_> = gateways.get_all_heartbeats().iter().map(|item| (item.name, item.open)).collect();
    assert_eq!(all, [("as", true), ("eu", false), ("us", true)]);

    assert_eq!((gateways.cleanup_stale(), gateways.cleanup_stale()), (1, 0));
    assert_eq!((gateways.get("as"), gateways.count_total()), (None, 2));
    assert!(gateways.remove("us") && !gateways.remove("us") && !gateways.remove("x"));
    assert!(!gateways.is_online("us"));
    clock.advance(Duration::from_secs(10));
    assert_eq!((gateways.count_online(), gateways.count_total()), (0, 1));
    assert_eq!((gateways.cleanup_stale(), gateways.count_total()), (1, 0));
}

#[test]
fn heartbeat_registry_keeps_what_beats_during_cleanup() {
    let gateways = Arc::new(HeartbeatRegistry::with_clock(ManualClock::new(T0)));
    let revives = Some((Arc::downgrade(&gateways), AtomicBool::new(true)));
    gateways.update(Gateway { revives, ..gateway("eu", 0, true) });
    gateways.update(gateway("us", 0, true));
    assert_eq!(gateways.cleanup_stale(), 1);
    assert_eq!(gateways.list_all(), [("eu", T0)], "the heartbeat that came meanwhile wins");
}
