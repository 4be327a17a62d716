//! I2: every bound on what a heartbeat may hold, checked before anything is touched.

use std::net::Ipv6Addr;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use smol_str::format_smolstr;

use super::borrowed::{
    Body, CapabilityTwin, HealthStatus, HiveTwin, PlainTwin, ProcessTwin, Str, TelemetryTwin, WorkerTwin,
};
use super::bounds::{Field, bytes, invalid, number, text, time};
use super::{Capability, HiveHealth, HiveInfo, MAX_ID_BYTES, MAX_TEXT_BYTES, MAX_URL_BYTES, ProcessStats};
use crate::error::HeartbeatError;
use crate::names::{HiveId, ModelId, Text};
use crate::order::OrderKey;
use crate::state::{Backend, WorkerHealth, WorkerInfo, WorkerLifecycle};

/// A checked heartbeat of either form, still borrowing from what was parsed.
pub(crate) struct Beat<'b> {
    pub(crate) hive_id: &'b str,
    pub(crate) order: OrderKey,
    pub(crate) hive: Option<Hive<'b>>,
    /// Ordered by id.
    pub(crate) workers: Vec<Draft<'b>>,
}

/// The hive of a telemetry heartbeat.
pub(crate) struct Hive<'b> {
    twin: &'b HiveTwin<'b>,
    capabilities: Option<&'b [CapabilityTwin<'b>]>,
}

/// A checked worker, about to become a [`WorkerInfo`].
pub(crate) struct Draft<'b> {
    pub(crate) id: Str<'b>,
    state: WorkerLifecycle,
    last_heartbeat: DateTime<Utc>,
    health: WorkerHealth,
    url: Option<Str<'b>>,
    pub(crate) model: Option<&'b str>,
    backend: Option<Backend>,
    device_id: Option<u32>,
    vram_bytes: Option<u64>,
    vram_total_bytes: Option<u64>,
    ram_bytes: Option<u64>,
    cpu_percent: Option<f32>,
    gpu_percent: Option<f32>,
    max_concurrency: Option<u32>,
    process: Option<&'b ProcessTwin<'b>>,
}

// === impl Beat ===

impl<'b> Beat<'b> {
    /// Checks everything but what depends on the registry's state. O(bytes + workers log workers).
    pub(crate) fn check(body: &'b Body<'b>, workers_per_hive: usize) -> Result<Self, HeartbeatError> {
        match body {
            Body::Plain(twin) => Self::check_plain(twin, workers_per_hive),
            Body::Telemetry(twin) => Self::check_telemetry(twin, workers_per_hive),
        }
    }

    fn check_plain(twin: &'b PlainTwin<'b>, workers_per_hive: usize) -> Result<Self, HeartbeatError> {
        text("hive_id", twin.hive_id.as_str(), MAX_ID_BYTES)?;
        let order = order(&twin.timestamp, twin.epoch, twin.seq)?;
        count(twin.workers.len(), workers_per_hive)?;
        let mut workers = Vec::with_capacity(twin.workers.len());
        // Hives mostly stamp their workers alike.
        let mut read = (twin.timestamp.as_str(), order.timestamp);
        for (at, worker) in twin.workers.iter().enumerate() {
            workers.push(Draft::check(at, worker, &mut read)?);
        }
        sort(&mut workers)?;
        Ok(Self { hive_id: twin.hive_id.as_str(), order, hive: None, workers })
    }

    fn check_telemetry(twin: &'b TelemetryTwin<'b>, workers_per_hive: usize) -> Result<Self, HeartbeatError> {
        let hive = Hive::check(&twin.hive, twin.capabilities.as_deref())?;
        let order = order(&twin.timestamp, twin.epoch, twin.seq)?;
        let origin = Origin {
            host: Some(Host::of(hive.twin.hostname.as_str())),
            health: hive.worker_health(),
            last_heartbeat: order.timestamp,
            backend: hive.backend(),
        };
        let workers = drafts(&twin.workers, &origin, workers_per_hive)?;
        Ok(Self { hive_id: twin.hive.id.as_str(), order, hive: Some(hive), workers })
    }
}

/// I6: the workers of a bare process list, on a hive of which `info` is known, heard at `now`.
pub(crate) fn processes<'b>(
    processes: &'b [ProcessTwin<'b>],
    info: Option<(&HiveInfo, Option<&[Capability]>)>,
    now: DateTime<Utc>,
    workers_per_hive: usize,
) -> Result<Vec<Draft<'b>>, HeartbeatError> {
    let origin = Origin {
        host: info.map(|(info, _)| Host::of(&info.hostname)),
        health: match info.map(|(info, _)| &info.health_status) {
            None | Some(HiveHealth::Healthy) => WorkerHealth::Healthy,
            Some(HiveHealth::Degraded { .. }) => WorkerHealth::Degraded,
            Some(HiveHealth::Unhealthy { .. }) => WorkerHealth::Unhealthy,
        },
        last_heartbeat: now,
        backend: info.and_then(|(_, all)| backend_of(all?.iter().map(|device| &*device.device_type))),
    };
    drafts(processes, &origin, workers_per_hive)
}

fn drafts<'b>(
    processes: &'b [ProcessTwin<'b>],
    origin: &Origin<'_>,
    workers_per_hive: usize,
) -> Result<Vec<Draft<'b>>, HeartbeatError> {
    count(processes.len(), workers_per_hive)?;
    let mut workers = Vec::with_capacity(processes.len());
    for (at, process) in processes.iter().enumerate() {
        workers.push(Draft::check_process(at, process, origin)?);
    }
    sort(&mut workers)?;
    Ok(workers)
}

fn count(workers: usize, bound: usize) -> Result<(), HeartbeatError> {
    if workers <= bound {
        return Ok(());
    }
    Err(HeartbeatError::OverLimit { limit: "workers_per_hive", wanted: workers, bound })
}

/// By id; hives send their workers in one order, so mostly there is nothing to do.
fn sort(workers: &mut [Draft<'_>]) -> Result<(), HeartbeatError> {
    if !workers.is_sorted_by(|a, b| a.id.as_str() <= b.id.as_str()) {
        workers.sort_unstable_by(|a, b| a.id.as_str().cmp(b.id.as_str()));
    }
    match workers.windows(2).find(|pair| pair[0].id.as_str() == pair[1].id.as_str()) {
        None => Ok(()),
        Some(pair) => Err(invalid("workers[].worker_id", pair[0].id.as_str(), "no two workers of one id")),
    }
}

fn order(timestamp: &Str<'_>, epoch: Option<u64>, seq: Option<u64>) -> Result<OrderKey, HeartbeatError> {
    let pair = match (epoch, seq) {
        (Some(epoch), Some(seq)) => Some((epoch, seq)),
        (None, None) => None,
        (Some(_), None) => return Err(invalid("seq", "none", "both of epoch and seq, or neither")),
        (None, Some(_)) => return Err(invalid("epoch", "none", "both of epoch and seq, or neither")),
    };
    Ok(OrderKey { pair, timestamp: time("timestamp", timestamp.as_str())? })
}

// === impl Draft ===

/// What the workers of a telemetry heartbeat have from their hive.
struct Origin<'h> {
    host: Option<Host<'h>>,
    health: WorkerHealth,
    last_heartbeat: DateTime<Utc>,
    backend: Option<Backend>,
}

/// A host as it stands in a url.
enum Host<'h> {
    Name(&'h str),
    V6(&'h str),
}

impl<'h> Host<'h> {
    fn of(hostname: &'h str) -> Self {
        if hostname.parse::<Ipv6Addr>().is_ok() { Self::V6(hostname) } else { Self::Name(hostname) }
    }
}

impl<'b> Draft<'b> {
    /// `read` is the time read last, and its text.
    fn check(
        at: usize,
        worker: &'b WorkerTwin<'b>,
        read: &mut (&'b str, DateTime<Utc>),
    ) -> Result<Self, HeartbeatError> {
        let field = |name| Field("workers", at, name);
        text(field("worker_id"), worker.worker_id.as_str(), MAX_ID_BYTES)?;
        text(field("state"), worker.state.as_str(), MAX_TEXT_BYTES)?;
        text(field("health_status"), worker.health_status.as_str(), MAX_TEXT_BYTES)?;
        for (name, value, bound) in [
            ("url", &worker.url, MAX_URL_BYTES),
            ("model_id", &worker.model_id, MAX_ID_BYTES),
            ("backend", &worker.backend, MAX_TEXT_BYTES),
        ] {
            if let Some(value) = value {
                text(field(name), value.as_str(), bound)?;
            }
        }
        for (name, value) in [("cpu_percent", worker.cpu_percent), ("gpu_percent", worker.gpu_percent)] {
            if let Some(value) = value {
                number(field(name), f64::from(value))?;
            }
        }
        if worker.max_concurrency == Some(0) {
            return Err(invalid(field("max_concurrency"), 0, "at least 1"));
        }
        let heard = worker.last_heartbeat.as_str();
        if heard != read.0 {
            *read = (heard, time(field("last_heartbeat"), heard)?);
        }
        Ok(Self {
            state: WorkerLifecycle::parse(worker.state.as_str()),
            last_heartbeat: read.1,
            health: WorkerHealth::parse(worker.health_status.as_str()),
            url: worker.url.as_ref().map(|url| Str::Lent(url.as_str())),
            model: worker.model_id.as_ref().map(Str::as_str),
            backend: worker.backend.as_ref().map(|backend| Backend::parse(backend.as_str())),
            device_id: worker.device_id,
            vram_bytes: worker.vram_bytes,
            vram_total_bytes: worker.vram_total_bytes,
            ram_bytes: worker.ram_bytes,
            cpu_percent: worker.cpu_percent,
            gpu_percent: worker.gpu_percent,
            max_concurrency: worker.max_concurrency,
            process: None,
            id: Str::Lent(worker.worker_id.as_str()),
        })
    }

    fn check_process(
        at: usize,
        process: &'b ProcessTwin<'b>,
        origin: &Origin<'_>,
    ) -> Result<Self, HeartbeatError> {
        let field = |name| Field("workers", at, name);
        text(field("group"), process.group.as_str(), MAX_ID_BYTES)?;
        text(field("instance"), process.instance.as_str(), MAX_ID_BYTES)?;
        if let Some(model) = &process.model {
            text(field("model"), model.as_str(), MAX_ID_BYTES)?;
        }
        for (name, value) in [
            ("cpu_pct", process.cpu_pct),
            ("io_r_mb_s", process.io_r_mb_s),
            ("io_w_mb_s", process.io_w_mb_s),
            ("gpu_util_pct", process.gpu_util_pct),
        ] {
            number(field(name), f64::from(value))?;
        }
        let (group, instance) = (process.group.as_str(), process.instance.as_str());
        let id = format_smolstr!("{group}-{instance}");
        text(field("group"), &id, MAX_ID_BYTES)?;
        // Only what is a port and nothing else: "+80" and "080" parse as numbers, but name other addresses.
        let port = instance.parse::<u16>().ok().filter(|port| *port > 0 && !instance.starts_with(['+', '0']));
        let url = port.and_then(|port| {
            Some(match origin.host.as_ref()? {
                Host::Name(host) => format_smolstr!("http://{host}:{port}"),
                Host::V6(host) => format_smolstr!("http://[{host}]:{port}"),
            })
        });
        Ok(Self {
            id: Str::Made(id),
            state: if process.gpu_util_pct == 0.0 { WorkerLifecycle::Idle } else { WorkerLifecycle::Busy },
            last_heartbeat: origin.last_heartbeat,
            health: origin.health.clone(),
            url: url.map(Str::Made),
            model: process.model.as_ref().map(Str::as_str),
            backend: origin.backend.clone(),
            device_id: None,
            vram_bytes: Some(bytes(field("vram_mb"), process.vram_mb)?),
            vram_total_bytes: Some(bytes(field("total_vram_mb"), process.total_vram_mb)?),
            ram_bytes: Some(bytes(field("rss_mb"), process.rss_mb)?),
            cpu_percent: Some(process.cpu_pct),
            gpu_percent: Some(process.gpu_util_pct),
            max_concurrency: None,
            process: Some(process),
        })
    }

    /// The record, sharing every string with the one before that did not change, and the model's name with all
    /// workers that have it.
    pub(crate) fn record(
        &self,
        hive_id: &HiveId,
        model: Option<&ModelId>,
        old: Option<&WorkerInfo>,
    ) -> WorkerInfo {
        WorkerInfo {
            hive_id: hive_id.clone(),
            worker_id: self.id.keep(old.map(|old| &old.worker_id)),
            state: self.state.clone(),
            last_heartbeat: self.last_heartbeat,
            health_status: self.health.clone(),
            url: self.url.as_ref().map(|url| url.keep(old.and_then(|old| old.url.as_ref()))),
            model_id: model.cloned(),
            backend: self.backend.clone(),
            device_id: self.device_id,
            vram_bytes: self.vram_bytes,
            vram_total_bytes: self.vram_total_bytes,
            ram_bytes: self.ram_bytes,
            cpu_percent: self.cpu_percent,
            gpu_percent: self.gpu_percent,
            max_concurrency: self.max_concurrency,
            process: self.process.map(|process| {
                let old = old.and_then(|old| old.process.as_deref());
                Arc::new(process.record(old))
            }),
        }
    }
}

impl ProcessTwin<'_> {
    fn record(&self, old: Option<&ProcessStats>) -> ProcessStats {
        ProcessStats {
            pid: self.pid,
            group: self.group.keep(old.map(|old| &old.group)),
            instance: self.instance.keep(old.map(|old| &old.instance)),
            cpu_pct: self.cpu_pct,
            rss_mb: self.rss_mb,
            io_r_mb_s: self.io_r_mb_s,
            io_w_mb_s: self.io_w_mb_s,
            uptime_s: self.uptime_s,
            gpu_util_pct: self.gpu_util_pct,
            vram_mb: self.vram_mb,
            total_vram_mb: self.total_vram_mb,
            model: self
                .model
                .as_ref()
                .map(|model| model.keep::<Text>(old.and_then(|old| old.model.as_ref()))),
        }
    }
}

// === impl Hive ===

impl<'b> Hive<'b> {
    fn check(
        twin: &'b HiveTwin<'b>,
        capabilities: Option<&'b [CapabilityTwin<'b>]>,
    ) -> Result<Self, HeartbeatError> {
        text("hive.id", twin.id.as_str(), MAX_ID_BYTES)?;
        text("hive.hostname", twin.hostname.as_str(), MAX_TEXT_BYTES)?;
        text("hive.version", twin.version.as_str(), MAX_TEXT_BYTES)?;
        match (&twin.health_status.reason, twin.health_status.status) {
            (_, HealthStatus::Healthy) => {}
            (Some(reason), _) => text("hive.health_status.reason", reason.as_str(), MAX_TEXT_BYTES)?,
            (None, _) => {
                return Err(invalid(
                    "hive.health_status.reason",
                    "none",
                    "a reason unless the hive is healthy",
                ));
            }
        }
        for (at, device) in capabilities.into_iter().flatten().enumerate() {
            let field = |name| Field("capabilities", at, name);
            text(field("id"), device.id.as_str(), MAX_ID_BYTES)?;
            text(field("name"), device.name.as_str(), MAX_TEXT_BYTES)?;
            text(field("device_type"), device.device_type.as_str(), MAX_TEXT_BYTES)?;
            if let Some(version) = &device.compute_capability {
                text(field("compute_capability"), version.as_str(), MAX_TEXT_BYTES)?;
            }
            if let Some(gb) = device.vram_gb {
                number(field("vram_gb"), gb)?;
            }
        }
        Ok(Self { twin, capabilities })
    }

    fn worker_health(&self) -> WorkerHealth {
        match self.twin.health_status.status {
            HealthStatus::Healthy => WorkerHealth::Healthy,
            HealthStatus::Degraded => WorkerHealth::Degraded,
            HealthStatus::Unhealthy => WorkerHealth::Unhealthy,
        }
    }

    fn backend(&self) -> Option<Backend> {
        backend_of(self.capabilities?.iter().map(|device| device.device_type.as_str()))
    }

    /// The record, the old one where nothing changed.
    pub(crate) fn info(&self, old: Option<&Arc<HiveInfo>>) -> Arc<HiveInfo> {
        let HiveTwin { id, hostname, port, operational_status, health_status, version } = self.twin;
        let reason = || health_status.reason.as_ref().map_or("", Str::as_str);
        if let Some(old) = old {
            let same_health = match (&old.health_status, health_status.status) {
                (HiveHealth::Healthy, HealthStatus::Healthy) => true,
                (HiveHealth::Degraded { reason: old }, HealthStatus::Degraded)
                | (HiveHealth::Unhealthy { reason: old }, HealthStatus::Unhealthy) => old == reason(),
                _ => false,
            };
            if same_health
                && old.id == id.as_str()
                && old.hostname == hostname.as_str()
                && old.port == *port
                && old.operational_status == *operational_status
                && old.version == version.as_str()
            {
                return old.clone();
            }
        }
        Arc::new(HiveInfo {
            id: id.as_str().into(),
            hostname: hostname.as_str().into(),
            port: *port,
            operational_status: *operational_status,
            health_status: match health_status.status {
                HealthStatus::Healthy => HiveHealth::Healthy,
                HealthStatus::Degraded => HiveHealth::Degraded { reason: reason().into() },
                HealthStatus::Unhealthy => HiveHealth::Unhealthy { reason: reason().into() },
            },
            version: version.as_str().into(),
        })
    }

    /// The record of the devices, the old one where nothing changed.
    pub(crate) fn capabilities(&self, old: Option<&Arc<[Capability]>>) -> Option<Arc<[Capability]>> {
        let new = self.capabilities?;
        if let Some(old) = old {
            if old.len() == new.len() && old.iter().zip(new).all(|(old, new)| new.equals(old)) {
                return Some(old.clone());
            }
        }
        Some(new.iter().map(CapabilityTwin::record).collect())
    }
}

impl CapabilityTwin<'_> {
    fn equals(&self, old: &Capability) -> bool {
        old.id == self.id.as_str()
            && old.name == self.name.as_str()
            && old.device_type == self.device_type.as_str()
            && old.vram_gb == self.vram_gb
            && old.compute_capability.as_deref() == self.compute_capability.as_ref().map(Str::as_str)
    }

    fn record(&self) -> Capability {
        Capability {
            id: self.id.as_str().into(),
            name: self.name.as_str().into(),
            device_type: self.device_type.as_str().into(),
            vram_gb: self.vram_gb,
            compute_capability: self.compute_capability.as_ref().map(|version| version.as_str().into()),
        }
    }
}

/// "From the hive's capabilities where known": the one kind of GPU it declares, or the CPU where it declares
/// nothing else. With two kinds of GPU nothing says which one a process uses.
fn backend_of<'t>(device_types: impl Iterator<Item = &'t str>) -> Option<Backend> {
    let mut gpu: Option<Backend> = None;
    let mut cpu = None;
    for device_type in device_types {
        match Backend::parse(device_type) {
            Backend::Cpu => cpu = Some(Backend::Cpu),
            kind if gpu.as_ref().is_some_and(|gpu| *gpu != kind) => return None,
            kind => gpu = Some(kind),
        }
    }
    gpu.or(cpu)
}
