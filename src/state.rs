//! What the registry hands out: immutable, shared records.

use std::fmt;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::names::{HiveId, ModelId, Text, WorkerId};
use crate::roster::WorkerList;
use crate::wire::{Capability, HiveInfo, ProcessStats};

/// What a worker is doing. Case does not matter in; "Idle", "Busy", "Loading", "Draining" come out.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(from = "Text", into = "Text")]
pub enum WorkerLifecycle {
    /// Serving, with nothing to do; also "ready".
    Idle,
    /// Serving.
    Busy,
    /// Not serving yet; also "starting".
    Loading,
    /// Not serving any more; also "stopping" and "stopped".
    Draining,
    /// Anything else; never picked.
    Other(Text),
}

/// How a worker feels. Healthy ranks before degraded; unhealthy is never picked (S1, S2).
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(from = "Text", into = "Text")]
pub enum WorkerHealth {
    /// "healthy"
    Healthy,
    /// "degraded"
    Degraded,
    /// "unhealthy"
    Unhealthy,
    /// Anything else; ranks as degraded.
    Other(Text),
}

/// What a worker computes on.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(from = "Text", into = "Text")]
pub enum Backend {
    /// "cuda"
    Cuda,
    /// "cpu"
    Cpu,
    /// "metal"
    Metal,
    /// Anything else, in lower case.
    Other(Text),
}

/// `$word => $variant` both ways, ASCII case ignored.
macro_rules! words {
    ($type:ident { $($variant:ident: $out:literal $(| $also:literal)*;)* }, $other:expr) => {
        impl $type {
            /// Reads a word; ASCII case does not matter. Never fails: what is not known is `Other`.
            #[must_use]
            pub fn parse(word: &str) -> Self {
                match word {
                    $($out => Self::$variant,)*
                    $(_ if word.eq_ignore_ascii_case($out) $(|| word.eq_ignore_ascii_case($also))* => Self::$variant,)*
                    _ => {
                        let other: fn(&str) -> Text = $other;
                        Self::Other(other(word))
                    }
                }
            }

            /// The word that comes out.
            #[must_use]
            pub fn as_str(&self) -> &str {
                match self {
                    $(Self::$variant => $out,)*
                    Self::Other(word) => word,
                }
            }
        }

        impl From<Text> for $type {
            fn from(word: Text) -> Self {
                Self::parse(&word)
            }
        }

        impl From<$type> for Text {
            fn from(value: $type) -> Self {
                value.as_str().into()
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }
    };
}

words!(WorkerLifecycle {
    Idle: "Idle" | "ready";
    Busy: "Busy";
    Loading: "Loading" | "starting";
    Draining: "Draining" | "stopping" | "stopped";
}, |word| word.into());
words!(WorkerHealth {
    Healthy: "healthy";
    Degraded: "degraded";
    Unhealthy: "unhealthy";
}, |word| word.into());
words!(Backend {
    Cuda: "cuda";
    Cpu: "cpu";
    Metal: "metal";
}, |word| word.to_ascii_lowercase().into());

/// One worker as its hive last reported it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WorkerInfo {
    /// The hive it runs on.
    pub hive_id: HiveId,
    /// Its name, unique on that hive only (I5).
    pub worker_id: WorkerId,
    /// What it is doing.
    pub state: WorkerLifecycle,
    /// When the hive last heard from it.
    pub last_heartbeat: DateTime<Utc>,
    /// How it feels.
    pub health_status: WorkerHealth,
    /// Where it takes requests.
    pub url: Option<Text>,
    /// The model it has loaded.
    pub model_id: Option<ModelId>,
    /// What it computes on.
    pub backend: Option<Backend>,
    /// The index of its GPU on the hive.
    pub device_id: Option<u32>,
    /// VRAM in use, bytes.
    pub vram_bytes: Option<u64>,
    /// VRAM of its device, bytes.
    pub vram_total_bytes: Option<u64>,
    /// RAM in use, bytes.
    pub ram_bytes: Option<u64>,
    /// CPU in use, percent of one core.
    pub cpu_percent: Option<f32>,
    /// GPU in use, percent.
    pub gpu_percent: Option<f32>,
    /// Requests it takes at once, at least 1.
    pub max_concurrency: Option<u32>,
    /// What was sent, where the telemetry form was.
    pub process: Option<Arc<ProcessStats>>,
}

impl WorkerInfo {
    /// Bytes of free VRAM on its own account, as reported: the total of its device, where it tells it, less its
    /// own use (G2). Others may use the same device.
    #[must_use]
    pub fn vram_free_bytes(&self) -> Option<u64> {
        Some(self.vram_total_bytes?.saturating_sub(self.vram_bytes.unwrap_or(0)))
    }

    /// S1, as far as the record tells: idle or busy, and not unhealthy.
    pub(crate) fn serves(&self) -> bool {
        matches!(self.state, WorkerLifecycle::Idle | WorkerLifecycle::Busy)
            && self.health_status != WorkerHealth::Unhealthy
    }

    /// E1: whether a scheduler would see a difference.
    pub(crate) fn differs_for_a_scheduler(&self, new: &Self) -> bool {
        self.state != new.state
            || self.health_status != new.health_status
            || self.url != new.url
            || self.model_id != new.model_id
            || self.backend != new.backend
            || self.device_id != new.device_id
            || self.vram_bytes != new.vram_bytes
            || self.vram_total_bytes != new.vram_total_bytes
            || self.gpu_percent != new.gpu_percent
            || self.max_concurrency != new.max_concurrency
    }
}

/// One hive as one heartbeat left it (C1).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HiveRuntimeState {
    /// Its name.
    pub hive_id: HiveId,
    /// Its workers, ordered by worker id.
    pub workers: WorkerList,
    /// Unix milliseconds of this heartbeat by the liveness clock (L1); under
    /// [`LivenessClock::Arrival`](crate::LivenessClock::Arrival) a monotonic clock that was set by the wall
    /// clock when the registry was built.
    pub last_heartbeat_ms: i64,
    /// VRAM in use, 10^9 bytes (G1).
    pub vram_used_gb: f32,
    /// RAM in use, 10^9 bytes (G1).
    pub ram_used_gb: f32,
    /// How many workers it runs.
    pub worker_count: usize,
    /// Grows with every heartbeat applied, over all hives: greater is newer, and no value comes twice.
    pub version: u64,
    /// What the hive said about itself, where the telemetry form was sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hive: Option<Arc<HiveInfo>>,
    /// The devices the hive declared, where the telemetry form was sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capabilities: Option<Arc<[Capability]>>,
}

impl HiveRuntimeState {
    /// The worker of this id. O(log workers of the hive).
    #[must_use]
    pub fn worker(&self, worker_id: &str) -> Option<&Arc<WorkerInfo>> {
        let at = self.workers.binary_search_by(|worker| (*worker.worker_id).cmp(worker_id)).ok()?;
        Some(&self.workers[at])
    }
}
