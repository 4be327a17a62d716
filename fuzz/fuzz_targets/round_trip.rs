//! Heartbeats as values and as the JSON written of them: both must leave the same state.
#![no_main]

use std::fmt::Debug;
use std::time::Duration;

use arbitrary::{Arbitrary, Result, Unstructured};
use hive_registry::{
    Capability, HiveHealth, HiveHeartbeat, HiveHeartbeatPayload, HiveInfo, HiveRegistry, LivenessClock,
    ManualClock, OperationalStatus, ProcessStats, WorkerState,
};
use libfuzzer_sys::fuzz_target;
use serde::Serialize;
use serde::de::DeserializeOwned;

const START_MS: i64 = 1_761_040_800_000;

#[derive(Arbitrary, Debug)]
struct Input {
    arrival: bool,
    /// Several, for a record may share what did not change with the one before.
    beats: Vec<(Beat, u16)>,
}

#[derive(Debug)]
enum Beat {
    Plain(HiveHeartbeatPayload),
    Telemetry(HiveHeartbeat),
}

impl<'a> Arbitrary<'a> for Beat {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        let (epoch, seq) = (number(u)?, number(u)?);
        let timestamp = time(u)?;
        if u.arbitrary()? {
            let hive_id = text(u, &["h", "g"])?;
            let workers = list(u, worker)?;
            let (hive_info, capabilities) = (maybe(u, hive)?, maybe(u, |u| list(u, capability))?);
            return Ok(Self::Plain(HiveHeartbeatPayload {
                hive_id,
                timestamp,
                workers,
                hive_info,
                capabilities,
                epoch,
                seq,
            }));
        }
        let (hive, workers) = (hive(u)?, maybe(u, |u| list(u, process))?);
        let capabilities = maybe(u, |u| list(u, capability))?;
        Ok(Self::Telemetry(HiveHeartbeat { hive, timestamp, workers, capabilities, epoch, seq }))
    }
}

// === parts of a heartbeat, mostly within bounds ===

fn list<'a, T>(u: &mut Unstructured<'a>, each: fn(&mut Unstructured<'a>) -> Result<T>) -> Result<Vec<T>> {
    (0..u.int_in_range(0..=4)?).map(|_| each(u)).collect()
}

fn maybe<'a, T>(
    u: &mut Unstructured<'a>,
    some: impl FnOnce(&mut Unstructured<'a>) -> Result<T>,
) -> Result<Option<T>> {
    if u.arbitrary()? { some(u).map(Some) } else { Ok(None) }
}

/// One of the usual words, or anything.
fn text(u: &mut Unstructured, usual: &[&str]) -> Result<String> {
    if u.ratio(3, 4)? { Ok((*u.choose(usual)?).into()) } else { u.arbitrary() }
}

fn time(u: &mut Unstructured) -> Result<String> {
    let usual = [
        "2025-10-21T10:00:00Z",
        "2025-10-21T10:00:01.250Z",
        "2025-10-21T12:00:00.123456789+02:00",
        "2025-10-21T09:58:00Z",
        "2025-10-21T10:00:60Z",
        "1970-01-01T00:00:00Z",
        "9999-12-31T23:59:59-23:59",
        "noon",
    ];
    text(u, &usual)
}

fn number(u: &mut Unstructured) -> Result<Option<u64>> {
    maybe(u, |u| if u.ratio(3, 4)? { u.int_in_range(0..=3) } else { u.arbitrary() })
}

/// JSON has no word for what is not finite.
fn float(u: &mut Unstructured) -> Result<f32> {
    let any: f32 = if u.ratio(1, 2)? { f32::from(u.arbitrary::<u8>()?) / 2.0 } else { u.arbitrary()? };
    Ok(if any.is_finite() { any } else { 0.0 })
}

fn worker(u: &mut Unstructured) -> Result<WorkerState> {
    Ok(WorkerState {
        worker_id: text(u, &["a", "b", "c", "d", "e", "f", "g", "h"])?,
        state: text(u, &["Idle", "ready", "BUSY", "loading", "Draining"])?,
        last_heartbeat: time(u)?,
        health_status: text(u, &["healthy", "Degraded", "unhealthy"])?,
        url: maybe(u, |u| text(u, &["http://10.0.0.1:9300", "http://h"]))?,
        model_id: maybe(u, |u| {
            text(u, &["m", "a name that is longer than 23 bytes", "\u{e9}\u{1f41d}\"\\"])
        })?,
        backend: maybe(u, |u| text(u, &["cuda", "CPU", "tpu"]))?,
        device_id: u.arbitrary()?,
        vram_bytes: u.arbitrary()?,
        vram_total_bytes: u.arbitrary()?,
        ram_bytes: u.arbitrary()?,
        cpu_percent: maybe(u, float)?,
        gpu_percent: maybe(u, float)?,
        max_concurrency: maybe(u, |u| if u.ratio(3, 4)? { u.int_in_range(0..=3) } else { u.arbitrary() })?,
    })
}

fn process(u: &mut Unstructured) -> Result<ProcessStats> {
    let mb = |u: &mut Unstructured| Ok(number(u)?.unwrap_or(12_000));
    Ok(ProcessStats {
        pid: u.arbitrary()?,
        group: text(u, &["llm", "sd"])?.into(),
        instance: text(u, &["8080", "8081", "08", "65536", "x"])?.into(),
        cpu_pct: float(u)?,
        rss_mb: mb(u)?,
        io_r_mb_s: float(u)?,
        io_w_mb_s: float(u)?,
        uptime_s: u.arbitrary()?,
        gpu_util_pct: maybe(u, float)?,
        vram_mb: mb(u)?,
        total_vram_mb: mb(u)?,
        model: maybe(u, |u| text(u, &["m", "a name that is longer than 23 bytes"]))?.map(Into::into),
    })
}

fn capability(u: &mut Unstructured) -> Result<Capability> {
    Ok(Capability {
        id: text(u, &["GPU-0"])?,
        name: text(u, &["device"])?,
        device_type: text(u, &["cuda", "cpu", "Metal"])?,
        // Few digits: serde_json reads a double of many only to its last place or so.
        vram_gb: maybe(u, |u| Ok(f64::from(u.arbitrary::<u32>()?) / 16.0))?,
        compute_capability: maybe(u, |u| text(u, &["8.9"]))?,
    })
}

fn hive(u: &mut Unstructured) -> Result<HiveInfo> {
    use OperationalStatus::{Busy, Ready, Starting, Stopped, Stopping};
    let reason = |u: &mut Unstructured| text(u, &["hot"]);
    Ok(HiveInfo {
        id: text(u, &["h", "g"])?,
        hostname: text(u, &["10.0.0.1"])?,
        port: u.arbitrary()?,
        operational_status: *u.choose(&[Ready, Busy, Starting, Stopping, Stopped])?,
        health_status: match u.int_in_range(0..=3)? {
            0 => HiveHealth::Degraded { reason: reason(u)? },
            1 => HiveHealth::Unhealthy { reason: reason(u)? },
            _ => HiveHealth::Healthy,
        },
        version: text(u, &["1"])?,
    })
}

// === both ways ===

fn with_clock(arrival: bool) -> (HiveRegistry, ManualClock) {
    let clock = ManualClock::new(START_MS);
    let liveness = if arrival { LivenessClock::Arrival } else { LivenessClock::Reported };
    let builder = HiveRegistry::builder().clock(clock.clone()).liveness_clock(liveness).seed(1).shards(4);
    (builder.build().expect("the settings are in bounds"), clock)
}

/// Its JSON, which must read as what it was written of.
fn written<T: Serialize + DeserializeOwned + PartialEq + Debug>(beat: &T) -> Vec<u8> {
    let json = serde_json::to_vec(beat).expect("a heartbeat can be written");
    let read: T = serde_json::from_slice(&json).expect("what was written can be read");
    assert_eq!(read, *beat);
    json
}

fuzz_target!(|input: Input| {
    let (by_value, value_clock) = with_clock(input.arrival);
    let (by_json, json_clock) = with_clock(input.arrival);
    for (beat, step_ms) in input.beats.into_iter().take(8) {
        let (json, told) = match beat {
            Beat::Plain(payload) => {
                let id = payload.hive_id.clone();
                (written(&payload), by_value.update_hive_state(&id, payload))
            }
            Beat::Telemetry(heartbeat) => (written(&heartbeat), by_value.update_hive(heartbeat)),
        };
        assert_eq!(by_json.ingest_json(&json), told);
        assert_eq!(by_json.snapshot(), by_value.snapshot());
        for clock in [&value_clock, &json_clock] {
            clock.advance(Duration::from_millis(step_ms.into()));
        }
    }
    let (one, other) = (by_json.stats(), by_value.stats());
    assert_eq!(one.heartbeats, other.heartbeats);
    for model in ["m", "no-such-model"] {
        assert_eq!(by_json.find_best_worker_for_model(model), by_value.find_best_worker_for_model(model));
    }
});
