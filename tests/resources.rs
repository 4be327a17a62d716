//! Resources: memory used, total and free, and which hives take work (G1 to G3).
#![cfg(not(loom))]

mod common;

use std::time::Duration;

use common::*;
use hive_registry::{
    Capability, HiveHealth, HiveHeartbeat, HiveHeartbeatPayload, HiveRegistry, OperationalStatus,
    ProcessStats, ResourceInfo, StaleMode, WorkerState,
};

const GB: u64 = 1_000_000_000;
const GIB: u64 = 1 << 30;
const MIB: u64 = 1 << 20;

fn resources(registry: &HiveRegistry) -> ResourceInfo {
    registry.get_available_resources("h").expect("the hive is registered")
}

fn on_device(id: &str, device: Option<u32>, used: Option<u64>, total: Option<u64>) -> WorkerState {
    WorkerState { device_id: device, vram_bytes: used, vram_total_bytes: total, ..bare_worker(id) }
}

fn device(id: &str, kind: &str, gib: Option<f64>) -> Capability {
    Capability {
        id: id.into(),
        name: "a device".into(),
        device_type: kind.into(),
        vram_gb: gib,
        ..Default::default()
    }
}

fn close(left: Option<f32>, right: f64) {
    let left = left.expect("known");
    assert!((f64::from(left) - right).abs() <= right.abs() * 1e-6, "{left} is not {right}");
}

/// The ids of workers that `find_workers_with_capacity` finds on the device with `mib` free, and not for more.
fn fits_up_to(registry: &HiveRegistry, mib: u64) -> Vec<String> {
    let found = names(registry.find_workers_with_capacity(mib));
    let beyond = names(registry.find_workers_with_capacity(mib + 1));
    found.into_iter().filter(|name| !beyond.contains(name)).collect()
}

// === G1 ===

#[test]
fn g1_used_memory_sums_what_workers_report() {
    let (registry, _) = registry();
    let worker = |id: &str, vram: u64, ram: u64| WorkerState {
        vram_bytes: Some(vram),
        ram_bytes: Some(ram),
        ..bare_worker(id)
    };
    apply(&registry, beat("h", T0, vec![worker("a", 3 * GB, GB / 2), worker("b", 5 * GB / 2, 0)]));
    let state = registry.get_hive_state("h").unwrap();
    assert_eq!((state.vram_used_gb, state.ram_used_gb, state.worker_count), (5.5, 0.5, 2));
    let info = resources(&registry);
    assert_eq!((info.vram_used_gb, info.ram_used_gb, info.worker_count), (5.5, 0.5, 2));
    assert_eq!(info.workers_estimated, 0);
    assert_eq!((info.vram_total_gb, info.vram_free_gb, info.ram_total_gb), (None, None, None));
}

#[test]
fn g1_who_does_not_report_counts_as_assumed() {
    let silent = || {
        let reports = WorkerState { vram_bytes: Some(GB), ram_bytes: Some(GB), ..bare_worker("both") };
        let half = WorkerState { vram_bytes: Some(GB), ..bare_worker("half") };
        beat("h", T0, vec![reports, half, bare_worker("neither")])
    };
    let (by_default, _) = registry();
    apply(&by_default, silent());
    let info = resources(&by_default);
    assert_eq!((info.vram_used_gb, info.ram_used_gb), (1.0 + 1.0 + 4.0, 1.0 + 2.0 + 2.0));
    assert_eq!((info.workers_estimated, info.worker_count), (2, 3));

    let (set, _) = registry_with(|builder| builder.assumed_worker_memory(10.0, 0.0));
    apply(&set, silent());
    let info = resources(&set);
    assert_eq!((info.vram_used_gb, info.ram_used_gb, info.workers_estimated), (12.0, 1.0, 2));
}

#[test]
fn g1_a_process_reports_units_of_1048576_bytes() {
    let (registry, _) = registry();
    let process =
        ProcessStats { rss_mb: 2_048, vram_mb: 4_096, total_vram_mb: 8_192, ..process("g", "1", "m") };
    registry.update_hive(telemetry("h", T0, vec![process])).unwrap();
    let info = resources(&registry);
    close(Some(info.vram_used_gb), (4 * GIB) as f64 / 1e9);
    close(Some(info.ram_used_gb), (2 * GIB) as f64 / 1e9);
    close(info.vram_total_gb, (8 * GIB) as f64 / 1e9);
    assert_eq!(info.workers_estimated, 0);
}

#[test]
fn g1_declared_gpus_are_the_total_before_what_workers_tell() {
    let (registry, _) = registry();
    let declare = |at: i64, devices: Option<Vec<Capability>>| {
        let heartbeat = telemetry("h", T0 + at, vec![process("g", "1", "m")]);
        registry.update_hive(HiveHeartbeat { capabilities: devices, ..heartbeat }).unwrap();
        resources(&registry)
    };
    let gpus = || vec![device("GPU-0", "cuda", Some(24.0)), device("GPU-1", "cuda", Some(16.5))];
    // GiB in, GB out.
    close(declare(0, Some(gpus())).vram_total_gb, 40.5 * GIB as f64 / 1e9);
    let with_cpu = [gpus(), vec![device("CPU-0", "cpu", Some(64.0))]].concat();
    let info = declare(1, Some(with_cpu));
    close(info.vram_total_gb, 40.5 * GIB as f64 / 1e9);
    close(info.ram_total_gb, 64.0 * GIB as f64 / 1e9);
    // Declared without their memory, or not at all: what workers tell of their devices.
    let told = (24 * GIB) as f64 / 1e9;
    close(declare(2, Some(vec![device("GPU-0", "cuda", None)])).vram_total_gb, told);
    close(declare(3, Some(vec![device("CPU-0", "cpu", Some(64.0))])).vram_total_gb, told);
    close(declare(4, None).vram_total_gb, told);
}

#[test]
fn g1_devices_that_workers_tell_of_are_counted_once() {
    let (registry, _) = registry();
    let workers = vec![
        on_device("a", Some(0), Some(GB), Some(24 * GB)),
        on_device("b", Some(0), Some(2 * GB), Some(24 * GB)),
        on_device("c", Some(1), Some(GB), Some(8 * GB)),
        on_device("d", Some(2), Some(GB), None),
    ];
    apply(&registry, beat("h", T0, workers));
    let info = resources(&registry);
    assert_eq!((info.vram_total_gb, info.vram_free_gb), (Some(32.0), Some(21.0 + 7.0)));
}

#[test]
fn g1_of_an_unknown_hive_nothing_is_told() {
    let (registry, _) = registry();
    assert_eq!(registry.get_available_resources("h"), None);
    apply(&registry, beat("h", T0, vec![]));
    let info = resources(&registry);
    assert_eq!((info.vram_used_gb, info.ram_used_gb, info.worker_count), (0.0, 0.0, 0));
    assert!(info.vram_used_gb.is_sign_positive() && info.ram_used_gb.is_sign_positive(), "not -0.0");
    assert_eq!((info.vram_total_gb, info.vram_free_gb), (None, None));
}

// === G2 ===

#[test]
fn g2_free_is_the_devices_total_less_all_its_workers() {
    let (registry, _) = registry();
    let workers = vec![
        on_device("a", Some(0), Some(3 * GIB), Some(24 * GIB)),
        on_device("b", Some(0), Some(5 * GIB), Some(24 * GIB)),
        // Tells of use alone, and counts on the device that others tell of.
        on_device("c", Some(0), Some(GIB), None),
        on_device("d", Some(1), Some(GIB), Some(8 * GIB)),
    ];
    apply(&registry, beat("h", T0, workers));
    assert_eq!(fits_up_to(&registry, 15 * 1_024), ["h/a", "h/b", "h/c"]);
    assert_eq!(fits_up_to(&registry, 7 * 1_024), ["h/d"]);
    close(resources(&registry).vram_free_gb, (22 * GIB) as f64 / 1e9);
}

#[test]
fn g2_one_index_on_two_hives_is_two_devices() {
    let (registry, _) = registry();
    apply(&registry, beat("h", T0, vec![on_device("a", Some(0), Some(0), Some(8 * GIB))]));
    apply(&registry, beat("i", T0, vec![on_device("b", Some(0), Some(7 * GIB), Some(8 * GIB))]));
    assert_eq!(fits_up_to(&registry, 8 * 1_024), ["h/a"]);
    assert_eq!(fits_up_to(&registry, 1_024), ["i/b"]);
}

#[test]
fn g2_without_a_device_it_is_the_workers_own_total_less_its_own() {
    let (registry, _) = registry();
    let workers = vec![
        on_device("a", None, Some(3 * GIB), Some(24 * GIB)),
        on_device("b", None, Some(20 * GIB), Some(24 * GIB)),
        on_device("no-total", None, Some(GIB), None),
        on_device("other", Some(0), Some(GIB), None),
    ];
    apply(&registry, beat("h", T0, workers));
    assert_eq!(fits_up_to(&registry, 21 * 1_024), ["h/a"]);
    assert_eq!(fits_up_to(&registry, 4 * 1_024), ["h/b"]);
    assert_eq!(names(registry.find_workers_with_capacity(0)), ["h/a", "h/b"]);
}

#[test]
fn g2_capacity_is_in_mib_at_the_bound_and_one_byte_past_it() {
    let (registry, _) = registry();
    let free = |id: &str, bytes: u64| on_device(id, None, Some(GIB), Some(GIB + bytes));
    let workers = vec![
        free("exact", 1_000 * MIB),
        free("less", 1_000 * MIB - 1),
        free("more", 1_000 * MIB + 1),
        free("zero", 0),
        free("below", 0),
    ];
    apply(&registry, beat("h", T0, workers));
    assert_eq!(names(registry.find_workers_with_capacity(1_000)), ["h/exact", "h/more"]);
    assert_eq!(names(registry.find_workers_with_capacity(999)), ["h/exact", "h/less", "h/more"]);
    assert!(registry.find_workers_with_capacity(1_001).is_empty());
    assert_eq!(registry.find_workers_with_capacity(0).len(), 5);
    // More MiB than there are bytes in a u64.
    for huge in [1 << 44, u64::MAX] {
        assert!(registry.find_workers_with_capacity(huge).is_empty());
    }
}

#[test]
fn g2_more_used_than_there_is_leaves_none_free() {
    let (registry, _) = registry();
    let workers = vec![
        on_device("a", Some(0), Some(u64::MAX), Some(8 * GIB)),
        on_device("b", Some(0), Some(u64::MAX), Some(8 * GIB)),
        on_device("c", None, Some(9 * GIB), Some(8 * GIB)),
    ];
    apply(&registry, beat("h", T0, workers));
    assert!(registry.find_workers_with_capacity(1).is_empty());
    assert_eq!(resources(&registry).vram_free_gb, Some(0.0));
}

#[test]
fn g2_use_that_is_assumed_is_not_taken_from_what_is_reported_free() {
    let (registry, _) = registry();
    let workers = vec![
        on_device("silent", Some(0), None, Some(8 * GIB)),
        on_device("told", Some(0), Some(GIB), Some(8 * GIB)),
    ];
    apply(&registry, beat("h", T0, workers));
    assert_eq!(fits_up_to(&registry, 7 * 1_024), ["h/silent", "h/told"]);
    assert_eq!(resources(&registry).vram_used_gb, 4.0 + GIB as f32 / 1e9);
}

#[test]
fn g2_one_number_of_two_backends_is_two_devices() {
    let (registry, _) = registry();
    let on = |id: &str, backend: &str, used: u64| WorkerState {
        backend: Some(backend.into()),
        ..on_device(id, Some(0), Some(used * GIB), Some(8 * GIB))
    };
    apply(&registry, beat("h", T0, vec![on("a", "rocm", 7), on("b", "cuda", 1), on("c", "CUDA", 2)]));
    assert_eq!(fits_up_to(&registry, 1_024), ["h/a"]);
    assert_eq!(fits_up_to(&registry, 5 * 1_024), ["h/b", "h/c"]);
    let info = resources(&registry);
    close(info.vram_total_gb, (16 * GIB) as f64 / 1e9);
    close(info.vram_free_gb, (6 * GIB) as f64 / 1e9);
}

#[test]
fn g2_of_a_device_that_is_not_known_no_more_is_free_than_of_the_hive() {
    let (registry, _) = registry();
    let declare = |at: i64, gpus: &[Option<f64>], workers: Vec<WorkerState>| {
        let devices = gpus.iter().map(|gib| device("GPU", "cuda", *gib)).collect();
        apply(&registry, HiveHeartbeatPayload { capabilities: Some(devices), ..beat("h", T0 + at, workers) });
        resources(&registry).vram_free_gb
    };
    let silent = |id: &str, gib: u64| on_device(id, None, Some(gib * GIB), Some(24 * GIB));
    // Two GPUs: its own total less its own use would be 20.
    let free = declare(0, &[Some(8.0), Some(16.0)], vec![silent("a", 4), silent("b", 14)]);
    close(free, (6 * GIB) as f64 / 1e9);
    assert_eq!(fits_up_to(&registry, 6 * 1_024), ["h/a", "h/b"]);
    // One GPU, by its number and without: it is the same.
    let numbered = on_device("c", Some(0), Some(10 * GIB), Some(24 * GIB));
    close(declare(1, &[Some(24.0)], vec![silent("a", 4), numbered]), (10 * GIB) as f64 / 1e9);
    assert_eq!(fits_up_to(&registry, 10 * 1_024), ["h/a", "h/c"]);
    // One GPU whose memory is not declared: what its workers say, once.
    close(declare(2, &[None], vec![silent("a", 4), silent("b", 14)]), (6 * GIB) as f64 / 1e9);
    close(resources(&registry).vram_total_gb, (24 * GIB) as f64 / 1e9);
    // What runs on the CPU is not on it.
    let on_cpu = WorkerState { backend: Some("cpu".into()), ..bare_worker("d") };
    declare(3, &[Some(24.0)], vec![silent("a", 4), on_cpu]);
    assert_eq!(names(registry.find_workers_with_capacity(1)), ["h/a"]);
    // More in use than there is.
    assert_eq!(declare(4, &[Some(8.0)], vec![silent("a", 14)]), Some(0.0));
    assert!(registry.find_workers_with_capacity(1).is_empty());
}

#[test]
fn c4_workers_with_capacity_are_those_of_live_hives() {
    for (stale_mode, found) in [(StaleMode::Exclude, 1), (StaleMode::Ignore, 2)] {
        let (registry, clock) = registry_with(|builder| builder.stale_mode(stale_mode));
        let roomy = || vec![on_device("w", Some(0), Some(0), Some(8 * GIB))];
        apply(&registry, beat("h", T0, roomy()));
        clock.advance(Duration::from_secs(30));
        apply(&registry, beat("i", T0 + 30_000, roomy()));
        assert_eq!(registry.find_workers_with_capacity(1).len(), found);
    }
}

// === G3 ===

#[test]
fn g3_available_is_online_and_ready_or_busy_and_not_unhealthy() {
    let (registry, clock) = registry();
    let healths = [
        ("healthy", HiveHealth::Healthy),
        ("degraded", HiveHealth::Degraded { reason: "hot".into() }),
        ("unhealthy", HiveHealth::Unhealthy { reason: "burning".into() }),
    ];
    let statuses = [
        ("busy", OperationalStatus::Busy),
        ("ready", OperationalStatus::Ready),
        ("starting", OperationalStatus::Starting),
        ("stopped", OperationalStatus::Stopped),
        ("stopping", OperationalStatus::Stopping),
    ];
    for (status_name, operational_status) in statuses {
        for (health_name, health_status) in healths.clone() {
            let mut heartbeat = telemetry(&format!("{status_name}-{health_name}"), T0, vec![]);
            heartbeat.hive.operational_status = operational_status;
            heartbeat.hive.health_status = health_status;
            registry.update_hive(heartbeat).unwrap();
        }
    }
    apply(&registry, beat("that-sends-no-status", T0, vec![]));
    let available =
        ["busy-degraded", "busy-healthy", "ready-degraded", "ready-healthy", "that-sends-no-status"];
    assert_eq!(registry.list_available_hives(), available);
    assert_eq!((registry.count_available(), registry.count_online()), (5, 16));

    clock.advance(Duration::from_millis(29_999));
    assert_eq!(registry.count_available(), 5);
    clock.advance(Duration::from_millis(1));
    assert_eq!((registry.count_available(), registry.count_online(), registry.hive_count()), (0, 0, 16));
    assert!(registry.list_available_hives().is_empty());
    apply(&registry, beat("busy-healthy", T0 + 30_000, vec![]));
    assert_eq!(registry.list_available_hives(), ["busy-healthy"]);
}
