//! What hives send: payload types, parsing, validation.
//!
//! The payload types own their strings, for callers who build them by hand. JSON bytes go through private
//! borrowed twins (`borrowed.rs`); both ways meet in one validation (`check.rs`, `bounds.rs`).

mod borrowed;
mod bounds;
mod check;
mod heartbeat;
mod host;
mod number;

use serde::{Deserialize, Serialize};

use crate::names::Text;

#[doc(hidden)]
pub use bounds::too_long;

pub(crate) use borrowed::{Body, ProcessTwin, Unread, parse, read, sketch, unmarked};
pub(crate) use bounds::{Complaints, id as check_id, invalid};
pub(crate) use check::{Beat, Draft, Hive, processes};
pub use heartbeat::{Heartbeat, Processes};

/// The bytes of an id, at most (I2).
pub const MAX_ID_BYTES: usize = 256;
/// The bytes of a url, at most (I2).
pub const MAX_URL_BYTES: usize = 2_048;
/// The bytes of any other string, at most (I2).
pub const MAX_TEXT_BYTES: usize = 256;

/// A heartbeat: the full state of one hive's workers.
///
/// ```
/// use hive_registry::{HiveHeartbeatPayload, WorkerState};
///
/// let heartbeat = HiveHeartbeatPayload {
///     hive_id: "gpu-1".into(),
///     timestamp: "2025-10-21T10:00:00Z".into(),
///     workers: vec![WorkerState { worker_id: "w1".into(), state: "Idle".into(), ..Default::default() }],
///     ..Default::default()
/// };
/// assert_eq!(heartbeat.workers[0].health_status, "healthy");
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct HiveHeartbeatPayload {
    /// The hive's name.
    pub hive_id: String,
    /// When the heartbeat was made, RFC 3339.
    pub timestamp: String,
    /// All its workers: one it does not name is gone (I1).
    pub workers: Vec<WorkerState>,
    /// What the hive says of itself; unknown from now on if it does not. Its `id` may be empty, for it is `hive_id`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hive_info: Option<HiveInfo>,
    /// Its devices; unknown from now on if it does not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capabilities: Option<Vec<Capability>>,
    /// Which boot of the hive this is; with `seq`, orders its heartbeats whatever its clock does (I3).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epoch: Option<u64>,
    /// A counter within the boot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seq: Option<u64>,
}

/// One worker in a [`HiveHeartbeatPayload`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WorkerState {
    /// Its name on this hive.
    pub worker_id: String,
    /// "Idle", "Busy", "Loading", "Draining" or other; see [`WorkerLifecycle`](crate::WorkerLifecycle).
    pub state: String,
    /// When the hive last heard from it, RFC 3339. Told on, never judged by.
    pub last_heartbeat: String,
    /// "healthy", "degraded", "unhealthy" or other; see [`WorkerHealth`](crate::WorkerHealth).
    pub health_status: String,
    /// Where it takes requests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// The model it has loaded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model_id: Option<String>,
    /// "cuda", "cpu", "metal" or other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backend: Option<String>,
    /// The index of its GPU on the hive.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device_id: Option<u32>,
    /// VRAM in use, bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vram_bytes: Option<u64>,
    /// VRAM of its device, bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vram_total_bytes: Option<u64>,
    /// RAM in use, bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ram_bytes: Option<u64>,
    /// CPU in use, percent of one core; may pass 100.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_percent: Option<f32>,
    /// GPU in use, percent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gpu_percent: Option<f32>,
    /// Requests it takes at once, at least 1; 0 counts as not reported.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_concurrency: Option<u32>,
}

impl Default for WorkerState {
    /// An idle, healthy worker without a name, last heard in 1970: what a literal leaves out is valid, but
    /// for the name.
    fn default() -> Self {
        Self {
            worker_id: String::new(),
            state: "Idle".into(),
            last_heartbeat: "1970-01-01T00:00:00Z".into(),
            health_status: "healthy".into(),
            url: None,
            model_id: None,
            backend: None,
            device_id: None,
            vram_bytes: None,
            vram_total_bytes: None,
            ram_bytes: None,
            cpu_percent: None,
            gpu_percent: None,
            max_concurrency: None,
        }
    }
}

/// The telemetry form of a heartbeat: the hive describes itself and its processes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct HiveHeartbeat {
    /// The hive.
    pub hive: HiveInfo,
    /// When the heartbeat was made, RFC 3339.
    pub timestamp: String,
    /// All its worker processes; none says nothing of them, and they stay as they were (C1).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workers: Option<Vec<ProcessStats>>,
    /// Its devices.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capabilities: Option<Vec<Capability>>,
    /// Which boot of the hive this is (I3).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epoch: Option<u64>,
    /// A counter within the boot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seq: Option<u64>,
}

/// What a hive says about itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HiveInfo {
    /// Its name.
    #[serde(default)]
    pub id: String,
    /// Its host name or address; what is neither makes no url.
    pub hostname: String,
    /// The port of its own service.
    pub port: u16,
    /// What it is doing.
    pub operational_status: OperationalStatus,
    /// How it feels.
    pub health_status: HiveHealth,
    /// The version of its software.
    pub version: String,
}

/// What a hive is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OperationalStatus {
    /// Coming up: its workers are not picked yet (S1).
    Starting,
    /// Up.
    #[default]
    Ready,
    /// Up, with work.
    Busy,
    /// Going down: its workers are not picked (S1).
    Stopping,
    /// Down.
    Stopped,
}

/// How a hive feels.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "status", rename_all = "lowercase")]
pub enum HiveHealth {
    /// Well.
    #[default]
    Healthy,
    /// Its processes are degraded, and rank after the healthy; workers of the plain form say how they feel themselves.
    Degraded {
        /// Why.
        reason: String,
    },
    /// Its workers are not picked (S1).
    Unhealthy {
        /// Why.
        reason: String,
    },
}

impl HiveInfo {
    /// S1, G3: whether its workers may be picked.
    pub(crate) fn serves(&self) -> bool {
        matches!(self.operational_status, OperationalStatus::Ready | OperationalStatus::Busy)
            && !matches!(self.health_status, HiveHealth::Unhealthy { .. })
    }
}

/// One worker process in a [`HiveHeartbeat`], and the record of it that is kept. Its strings are [`Text`], so
/// that a record of an unchanged process shares them with the one before. A number that was sent as null, negative or
/// not finite is kept as 0; the worker made of it says that it is not known (I7).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ProcessStats {
    /// Process id.
    pub pid: u32,
    /// The group it belongs to; with `instance`, its worker id: "group-instance".
    pub group: Text,
    /// Its instance; where it is a port, the worker's url is made of it.
    pub instance: Text,
    /// CPU in use, percent of one core.
    pub cpu_pct: f32,
    /// Resident memory, units of 1,048,576 bytes.
    pub rss_mb: u64,
    /// Reads, MB/s.
    pub io_r_mb_s: f32,
    /// Writes, MB/s.
    pub io_w_mb_s: f32,
    /// Seconds since it started.
    pub uptime_s: u64,
    /// GPU in use, percent; 0 means idle, and so does none: the GPU does not tell.
    pub gpu_util_pct: Option<f32>,
    /// VRAM in use, units of 1,048,576 bytes.
    pub vram_mb: u64,
    /// VRAM of its device, units of 1,048,576 bytes.
    pub total_vram_mb: u64,
    /// The model it has loaded.
    pub model: Option<Text>,
}

/// A device that a hive declares.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Capability {
    /// Its name on the hive, "GPU-0".
    pub id: String,
    /// What it is, "NVIDIA RTX 4090".
    pub name: String,
    /// "cuda", "cpu", "metal" or other.
    pub device_type: String,
    /// Memory, GiB; 1,048,576 at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vram_gb: Option<f64>,
    /// "8.9".
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compute_capability: Option<String>,
}
