//! The payload types with their strings borrowed from the bytes: what serde_json alone makes of a heartbeat.

use serde::Deserialize;

/// Of `HiveHeartbeatPayload`.
#[derive(Deserialize)]
pub struct Plain<'a> {
    pub hive_id: &'a str,
    pub timestamp: &'a str,
    #[serde(borrow)]
    pub workers: Vec<Worker<'a>>,
    pub epoch: Option<u64>,
    pub seq: Option<u64>,
}

/// Of `WorkerState`.
#[derive(Deserialize)]
pub struct Worker<'a> {
    pub worker_id: &'a str,
    pub state: &'a str,
    pub last_heartbeat: &'a str,
    pub health_status: &'a str,
    pub url: Option<&'a str>,
    pub model_id: Option<&'a str>,
    pub backend: Option<&'a str>,
    pub device_id: Option<u32>,
    pub vram_bytes: Option<u64>,
    pub vram_total_bytes: Option<u64>,
    pub ram_bytes: Option<u64>,
    pub cpu_percent: Option<f32>,
    pub gpu_percent: Option<f32>,
    pub max_concurrency: Option<u32>,
}

/// Of `HiveHeartbeat`.
#[derive(Deserialize)]
pub struct Telemetry<'a> {
    #[serde(borrow)]
    pub hive: Hive<'a>,
    pub timestamp: &'a str,
    pub workers: Option<Vec<Process<'a>>>,
    pub capabilities: Option<Vec<Device<'a>>>,
    pub epoch: Option<u64>,
    pub seq: Option<u64>,
}

/// Of `HiveInfo`.
#[derive(Deserialize)]
pub struct Hive<'a> {
    pub id: &'a str,
    pub hostname: &'a str,
    pub port: u16,
    pub operational_status: &'a str,
    #[serde(borrow)]
    pub health_status: Health<'a>,
    pub version: &'a str,
}

/// Of `HiveHealth`.
#[derive(Deserialize)]
pub struct Health<'a> {
    pub status: &'a str,
    pub reason: Option<&'a str>,
}

/// Of `ProcessStats`.
#[derive(Deserialize)]
pub struct Process<'a> {
    pub pid: u32,
    pub group: &'a str,
    pub instance: &'a str,
    pub cpu_pct: f32,
    pub rss_mb: u64,
    pub io_r_mb_s: f32,
    pub io_w_mb_s: f32,
    pub uptime_s: u64,
    pub gpu_util_pct: Option<f32>,
    pub vram_mb: u64,
    pub total_vram_mb: u64,
    pub model: Option<&'a str>,
}

/// Of `Capability`.
#[derive(Deserialize)]
pub struct Device<'a> {
    pub id: &'a str,
    pub name: &'a str,
    pub device_type: &'a str,
    pub vram_gb: Option<f64>,
    pub compute_capability: Option<&'a str>,
}
