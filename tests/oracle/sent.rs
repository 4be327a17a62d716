//! What hives send in the sequences: heartbeats of both forms from a few names, and what is wrong with some.

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use hive_registry::{
    Capability, HiveHealth, HiveHeartbeat, HiveHeartbeatPayload, HiveInfo, OperationalStatus, ProcessStats,
    WorkerState,
};

/// (group, instance), as the telemetry form makes worker ids of.
pub(crate) const WORKERS: [(&str, &str); 6] =
    [("llm", "8080"), ("llm", "8081"), ("sd", "8080"), ("a", "x"), ("b", "08"), ("z", "1")];
pub(crate) const MODELS: [&str; 3] = ["m0", "m1", "m2"];

#[derive(Clone, Debug)]
pub(crate) struct Key {
    pub(crate) hive: usize,
    /// The timestamp, against the wall clock.
    pub(crate) skew_ms: i64,
    pub(crate) pair: Option<(u64, u64)>,
}

#[derive(Clone, Debug)]
pub(crate) enum Fault {
    Timestamp,
    TwoOfOneId,
    NoSeq,
    NoEpoch,
    OtherHive,
    OtherInfo,
    ManyDevices,
    NegativeMemory,
}

/// An index into `WORKERS`, and the rest.
pub(crate) type Worker = (usize, Look);
pub(crate) type Process = (usize, Stats);

#[derive(Clone, Debug)]
pub(crate) struct Look {
    pub(crate) state: &'static str,
    pub(crate) health: &'static str,
    pub(crate) model: Option<&'static str>,
    pub(crate) gpu_percent: Option<f32>,
    pub(crate) max_concurrency: Option<u32>,
    pub(crate) backend: Option<&'static str>,
    pub(crate) device_id: Option<u32>,
    pub(crate) vram_mb: Option<u64>,
    pub(crate) vram_total_mb: Option<u64>,
    pub(crate) ram_mb: Option<u64>,
}

#[derive(Clone, Debug)]
pub(crate) struct Stats {
    pub(crate) gpu_util_pct: Option<f32>,
    pub(crate) model: Option<&'static str>,
    pub(crate) vram_mb: u64,
    pub(crate) total_vram_mb: u64,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Status {
    pub(crate) operational: OperationalStatus,
    pub(crate) health: HiveHealth,
    /// None is the hive's own name.
    pub(crate) hostname: Option<&'static str>,
    pub(crate) devices: Option<Vec<(&'static str, Option<f64>)>>,
}

impl Status {
    fn info(&self, hive_id: &str) -> HiveInfo {
        HiveInfo {
            id: hive_id.into(),
            hostname: self.hostname.map_or_else(|| format!("{hive_id}.local"), Into::into),
            port: 9_200,
            operational_status: self.operational,
            health_status: self.health.clone(),
            version: "1".into(),
        }
    }

    fn capabilities(&self) -> Option<Vec<Capability>> {
        let device = |(kind, vram_gb): &(&str, Option<f64>)| device(kind, *vram_gb);
        Some(self.devices.as_ref()?.iter().map(device).collect())
    }
}

fn device(kind: &str, vram_gb: Option<f64>) -> Capability {
    Capability {
        id: "0".into(),
        name: "device".into(),
        device_type: kind.into(),
        vram_gb,
        compute_capability: None,
    }
}

pub(crate) fn hive_name(hive: usize) -> String {
    format!("hive-{hive}")
}

pub(crate) fn worker_name((group, instance): (&str, &str)) -> String {
    format!("{group}-{instance}")
}

fn text(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Millis, true)
}

pub(crate) fn states(workers: &[Worker], now: DateTime<Utc>) -> Vec<WorkerState> {
    let bytes = |mb: u64| mb << 20;
    workers
        .iter()
        .map(|(which, look)| WorkerState {
            worker_id: worker_name(WORKERS[*which]),
            state: look.state.into(),
            last_heartbeat: text(now),
            health_status: look.health.into(),
            url: look.device_id.map(|port| format!("http://10.0.0.1:{}", 9_000 + port)),
            model_id: look.model.map(Into::into),
            backend: look.backend.map(Into::into),
            device_id: look.device_id,
            vram_bytes: look.vram_mb.map(bytes),
            vram_total_bytes: look.vram_total_mb.map(bytes),
            ram_bytes: look.ram_mb.map(bytes),
            cpu_percent: None,
            gpu_percent: look.gpu_percent,
            max_concurrency: look.max_concurrency,
        })
        .collect()
}

pub(crate) fn plain(
    hive_id: &str,
    key: &Key,
    wall: DateTime<Utc>,
    status: Option<&Status>,
    workers: &[Worker],
) -> HiveHeartbeatPayload {
    HiveHeartbeatPayload {
        hive_id: hive_id.into(),
        timestamp: text(wall + TimeDelta::milliseconds(key.skew_ms)),
        workers: states(workers, wall),
        // It need not name itself twice.
        hive_info: status.map(|status| HiveInfo {
            id: if workers.len() % 2 == 0 { hive_id.into() } else { String::new() },
            ..status.info(hive_id)
        }),
        capabilities: status.and_then(Status::capabilities),
        epoch: key.pair.map(|(epoch, _)| epoch),
        seq: key.pair.map(|(_, seq)| seq),
    }
}

pub(crate) fn stats(processes: &[Process]) -> Vec<ProcessStats> {
    processes
        .iter()
        .map(|(which, stats)| ProcessStats {
            pid: 7,
            group: WORKERS[*which].0.into(),
            instance: WORKERS[*which].1.into(),
            cpu_pct: 3.0,
            rss_mb: 512,
            gpu_util_pct: stats.gpu_util_pct,
            vram_mb: stats.vram_mb,
            total_vram_mb: stats.total_vram_mb,
            model: stats.model.map(Into::into),
            ..Default::default()
        })
        .collect()
}

pub(crate) fn telemetry(
    hive_id: &str,
    key: &Key,
    wall: DateTime<Utc>,
    status: &Status,
    processes: Option<&[Process]>,
) -> HiveHeartbeat {
    HiveHeartbeat {
        hive: status.info(hive_id),
        timestamp: text(wall + TimeDelta::milliseconds(key.skew_ms)),
        workers: processes.map(stats),
        capabilities: status.capabilities(),
        epoch: key.pair.map(|(epoch, _)| epoch),
        seq: key.pair.map(|(_, seq)| seq),
    }
}

impl Fault {
    pub(crate) fn spoil(&self, payload: &mut HiveHeartbeatPayload) {
        match self {
            Self::Timestamp => payload.timestamp = "noon".into(),
            Self::TwoOfOneId => payload.workers.extend(payload.workers.first().cloned()),
            Self::NoSeq => (payload.epoch, payload.seq) = (Some(1), None),
            Self::NoEpoch => (payload.epoch, payload.seq) = (None, Some(1)),
            Self::OtherHive => payload.hive_id.push('x'),
            Self::OtherInfo => {
                payload.hive_info = Some(HiveInfo { id: "other".into(), ..Default::default() })
            }
            Self::ManyDevices => payload.capabilities = Some(vec![device("cuda", None); 257]),
            Self::NegativeMemory => payload.capabilities = Some(vec![device("cuda", Some(-1.0))]),
        }
    }
}

/// The event of a stream, in JSON, with the keys that tell its form last, where they are hardest to go by.
pub(crate) fn event(hive_id: &str, told: Option<&Status>, beat: &HiveHeartbeat) -> String {
    let mut json = serde_json::to_string(&serde_json::json!({
        "capabilities": beat.capabilities, "timestamp": beat.timestamp, "workers": beat.workers,
        "hive_info": told.map(|status| status.info(hive_id)), "epoch": beat.epoch, "seq": beat.seq,
    }))
    .expect("strings and finite numbers");
    json.pop();
    format!("\u{feff}{json}, \"hive_id\": \"{hive_id}\", \"type\": \"telemetry\"}}")
}
