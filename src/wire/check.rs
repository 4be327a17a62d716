//! I2: every bound on what a heartbeat may hold, checked before anything is touched.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use smol_str::format_smolstr;

use super::borrowed::{
    Body, CapabilityTwin, HealthStatus, HiveTwin, PlainTwin, ProcessTwin, Str, TelemetryTwin, WorkerTwin,
};
use super::bounds::{Complaints, Field, bytes, invalid, memory, text, time};
use super::host::Host;
use super::number::{Kind, Number};
use super::{Capability, HiveHealth, HiveInfo, MAX_ID_BYTES, MAX_TEXT_BYTES, MAX_URL_BYTES, ProcessStats};
use crate::builder::Limits;
use crate::error::HeartbeatError;
use crate::names::{HiveId, ModelId, Text};
use crate::order::OrderKey;
use crate::state::{Backend, WorkerHealth, WorkerInfo, WorkerLifecycle};

/// A checked heartbeat of any form, still borrowing from what was parsed.
pub(crate) struct Beat<'b> {
    pub(crate) hive_id: &'b str,
    pub(crate) order: OrderKey,
    pub(crate) hive: Hive<'b>,
    /// Ordered by id; none says nothing of them.
    pub(crate) workers: Option<Vec<Draft<'b>>>,
    pub(crate) complaints: Complaints<'b>,
}

/// What a heartbeat says of the hive itself.
pub(crate) struct Hive<'b> {
    id: &'b str,
    twin: Option<&'b HiveTwin<'b>>,
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
    pub(crate) fn check(body: &'b Body<'b>, limits: &Limits) -> Result<Self, HeartbeatError> {
        match body {
            Body::Plain(twin) => Self::check_plain(twin, limits),
            Body::Telemetry(twin) => Self::check_telemetry(twin, limits),
        }
    }

    fn check_plain(twin: &'b PlainTwin<'b>, limits: &Limits) -> Result<Self, HeartbeatError> {
        let mut complaints = Complaints::default();
        let hive_id = twin.hive_id.as_str();
        text("hive_id", hive_id, MAX_ID_BYTES)?;
        let order = order(&twin.timestamp, twin.epoch, twin.seq)?;
        let hive = Hive { id: hive_id, twin: twin.hive.as_ref(), capabilities: twin.capabilities.as_deref() };
        hive.check("hive_info", limits, &mut complaints)?;
        count("workers_per_hive", twin.workers.len(), limits.workers_per_hive)?;
        let mut workers = Vec::with_capacity(twin.workers.len());
        // Hives mostly stamp their workers alike.
        let mut read = (twin.timestamp.as_str(), order.timestamp);
        for (at, worker) in twin.workers.iter().enumerate() {
            workers.push(Draft::check(at, worker, &mut read, &mut complaints)?);
        }
        sort(&mut workers)?;
        Ok(Self { hive_id, order, hive, workers: Some(workers), complaints })
    }

    fn check_telemetry(twin: &'b TelemetryTwin<'b>, limits: &Limits) -> Result<Self, HeartbeatError> {
        let mut complaints = Complaints::default();
        let hive_id = twin.hive_id();
        let (id_field, at) =
            if twin.flat_id.is_some() { ("hive_id", "hive_info") } else { ("hive.id", "hive") };
        text(id_field, hive_id, MAX_ID_BYTES)?;
        let hive = Hive { id: hive_id, twin: twin.hive.as_ref(), capabilities: twin.capabilities.as_deref() };
        hive.check(at, limits, &mut complaints)?;
        let order = order(&twin.timestamp, twin.epoch, twin.seq)?;
        let workers = match &twin.workers {
            None => None,
            Some(processes) => {
                let hostname = hive.twin.map(|twin| (Field(at, None, "hostname"), twin.hostname.as_str()));
                let origin = Origin {
                    host: host_of(hostname, &mut complaints),
                    health: hive.worker_health(),
                    last_heartbeat: order.timestamp,
                    backend: hive.backend(),
                };
                Some(drafts(processes, &origin, limits, &mut complaints)?)
            }
        };
        Ok(Self { hive_id, order, hive, workers, complaints })
    }
}

/// I6: the workers of a bare process list, on a hive of which this is known, heard at `now`.
pub(crate) fn processes<'b>(
    processes: &'b [ProcessTwin<'b>],
    info: Option<&'b HiveInfo>,
    capabilities: Option<&[Capability]>,
    now: DateTime<Utc>,
    limits: &Limits,
) -> Result<(Vec<Draft<'b>>, Complaints<'b>), HeartbeatError> {
    let mut complaints = Complaints::default();
    let hostname = info.map(|info| (Field("hive", None, "hostname"), &*info.hostname));
    let origin = Origin {
        host: host_of(hostname, &mut complaints),
        health: match info.map(|info| &info.health_status) {
            None | Some(HiveHealth::Healthy) => WorkerHealth::Healthy,
            Some(HiveHealth::Degraded { .. }) => WorkerHealth::Degraded,
            Some(HiveHealth::Unhealthy { .. }) => WorkerHealth::Unhealthy,
        },
        last_heartbeat: now,
        backend: capabilities.and_then(|all| backend_of(all.iter().map(|device| &*device.device_type))),
    };
    Ok((drafts(processes, &origin, limits, &mut complaints)?, complaints))
}

fn host_of<'b>(told: Option<(Field, &'b str)>, complaints: &mut Complaints<'b>) -> Option<Host<'b>> {
    let (field, hostname) = told?;
    complaints.part(field, hostname, Host::parse(hostname), "a host name or an address")
}

fn drafts<'b>(
    processes: &'b [ProcessTwin<'b>],
    origin: &Origin<'_>,
    limits: &Limits,
    complaints: &mut Complaints<'b>,
) -> Result<Vec<Draft<'b>>, HeartbeatError> {
    count("workers_per_hive", processes.len(), limits.workers_per_hive)?;
    let mut workers = Vec::with_capacity(processes.len());
    for (at, process) in processes.iter().enumerate() {
        workers.push(Draft::check_process(at, process, origin, complaints)?);
    }
    sort(&mut workers)?;
    Ok(workers)
}

fn count(limit: &'static str, wanted: usize, bound: usize) -> Result<(), HeartbeatError> {
    if wanted <= bound {
        return Ok(());
    }
    Err(HeartbeatError::OverLimit { limit, wanted, bound })
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
    /// None if it is not known, or makes no url.
    host: Option<Host<'h>>,
    health: WorkerHealth,
    last_heartbeat: DateTime<Utc>,
    backend: Option<Backend>,
}

impl<'b> Draft<'b> {
    /// `read` is the time read last, and its text.
    fn check(
        at: usize,
        worker: &'b WorkerTwin<'b>,
        read: &mut (&'b str, DateTime<Utc>),
        complaints: &mut Complaints<'b>,
    ) -> Result<Self, HeartbeatError> {
        let field = |name| Field("workers", Some(at), name);
        text(field("worker_id"), worker.worker_id.as_str(), MAX_ID_BYTES)?;
        text(field("state"), worker.state.as_str(), MAX_TEXT_BYTES)?;
        text(field("health_status"), worker.health_status.as_str(), MAX_TEXT_BYTES)?;
        let heard = worker.last_heartbeat.as_str();
        if heard != read.0 {
            *read = (heard, time(field("last_heartbeat"), heard)?);
        }
        let backend = complaints.text(field("backend"), worker.backend.as_ref(), MAX_TEXT_BYTES)?;
        Ok(Self {
            id: Str::Lent(worker.worker_id.as_str()),
            state: WorkerLifecycle::parse(worker.state.as_str()),
            last_heartbeat: read.1,
            health: WorkerHealth::parse(worker.health_status.as_str()),
            url: complaints.text(field("url"), worker.url.as_ref(), MAX_URL_BYTES)?.map(Str::Lent),
            model: complaints.text(field("model_id"), worker.model_id.as_ref(), MAX_ID_BYTES)?,
            backend: backend.map(Backend::parse),
            device_id: complaints.number(field("device_id"), worker.device_id),
            vram_bytes: complaints.number(field("vram_bytes"), worker.vram_bytes),
            vram_total_bytes: complaints.number(field("vram_total_bytes"), worker.vram_total_bytes),
            ram_bytes: complaints.number(field("ram_bytes"), worker.ram_bytes),
            cpu_percent: complaints.number(field("cpu_percent"), worker.cpu_percent),
            gpu_percent: complaints.number(field("gpu_percent"), worker.gpu_percent),
            max_concurrency: complaints.positive(field("max_concurrency"), worker.max_concurrency),
            process: None,
        })
    }

    fn check_process(
        at: usize,
        process: &'b ProcessTwin<'b>,
        origin: &Origin<'_>,
        complaints: &mut Complaints<'b>,
    ) -> Result<Self, HeartbeatError> {
        let field = |name| Field("workers", Some(at), name);
        let (group, instance) = (process.group.as_str(), process.instance.as_str());
        text(field("group"), group, MAX_ID_BYTES)?;
        text(field("instance"), instance, MAX_ID_BYTES)?;
        let id = format_smolstr!("{group}-{instance}");
        text(field("group"), &id, MAX_ID_BYTES)?;
        // Only what is a port and nothing else: "+80" and "080" parse as numbers, but name other addresses.
        let port = instance.parse::<u16>().ok().filter(|port| *port > 0 && !instance.starts_with(['+', '0']));
        let port = complaints.part(field("instance"), instance, port, "a port, to make a url of");
        let url = origin.host.as_ref().zip(port).map(|(host, port)| host.url(port));
        // Kept, but nothing of a worker.
        complaints.wanted(field("pid"), process.pid);
        complaints.wanted(field("io_r_mb_s"), process.io_r_mb_s);
        complaints.wanted(field("io_w_mb_s"), process.io_w_mb_s);
        complaints.wanted(field("uptime_s"), process.uptime_s);
        let mut memory = |name, mb| {
            let mb = complaints.wanted(field(name), mb);
            mb.map(|mb| bytes(field(name), mb)).transpose()
        };
        let vram_bytes = memory("vram_mb", process.vram_mb)?;
        let vram_total_bytes = memory("total_vram_mb", process.total_vram_mb)?;
        let ram_bytes = memory("rss_mb", process.rss_mb)?;
        // A GPU that is shared in slices tells no utilisation, and null is how that is said.
        let gpu_percent = complaints.number(field("gpu_util_pct"), process.gpu_util_pct);
        Ok(Self {
            id: Str::Made(id),
            state: match gpu_percent {
                None | Some(0.0) => WorkerLifecycle::Idle,
                Some(_) => WorkerLifecycle::Busy,
            },
            last_heartbeat: origin.last_heartbeat,
            health: origin.health.clone(),
            url: url.map(Str::Made),
            model: complaints.text(field("model"), process.model.as_ref(), MAX_ID_BYTES)?,
            backend: origin.backend.clone(),
            device_id: None,
            vram_bytes,
            vram_total_bytes,
            ram_bytes,
            cpu_percent: complaints.wanted(field("cpu_pct"), process.cpu_pct),
            gpu_percent,
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
        fn known<T: Kind + Default>(number: Number<T>) -> T {
            number.known().ok().flatten().unwrap_or_default()
        }
        let model = self.model.as_ref().filter(|model| !model.as_str().is_empty());
        ProcessStats {
            pid: known(self.pid),
            group: self.group.keep(old.map(|old| &old.group)),
            instance: self.instance.keep(old.map(|old| &old.instance)),
            cpu_pct: known(self.cpu_pct),
            rss_mb: known(self.rss_mb),
            io_r_mb_s: known(self.io_r_mb_s),
            io_w_mb_s: known(self.io_w_mb_s),
            uptime_s: known(self.uptime_s),
            gpu_util_pct: self.gpu_util_pct.known().ok().flatten(),
            vram_mb: known(self.vram_mb),
            total_vram_mb: known(self.total_vram_mb),
            model: model.map(|model| model.keep::<Text>(old.and_then(|old| old.model.as_ref()))),
        }
    }
}

// === impl Hive ===

impl<'b> Hive<'b> {
    /// `at` is the name of the object in which the hive tells of itself.
    fn check(
        &self,
        at: &'static str,
        limits: &Limits,
        complaints: &mut Complaints<'b>,
    ) -> Result<(), HeartbeatError> {
        if let Some(twin) = self.twin {
            let field = |name| Field(at, None, name);
            // Empty is as good as missing, for there is `hive_id`.
            let id = twin.id.as_ref().map(Str::as_str).filter(|id| !id.is_empty());
            if let Some(id) = id.filter(|id| *id != self.id) {
                return Err(invalid(field("id"), id, format_args!("the hive_id beside it, {:?}", self.id)));
            }
            text(field("hostname"), twin.hostname.as_str(), MAX_TEXT_BYTES)?;
            text(field("version"), twin.version.as_str(), MAX_TEXT_BYTES)?;
            let reason = field("health_status.reason");
            match (&twin.health_status.reason, twin.health_status.status) {
                (_, HealthStatus::Healthy) => {}
                (Some(told), _) => text(reason, told.as_str(), MAX_TEXT_BYTES)?,
                (None, _) => return Err(invalid(reason, "none", "a reason unless the hive is healthy")),
            }
        }
        let devices = self.capabilities.unwrap_or_default();
        count("devices_per_hive", devices.len(), limits.devices_per_hive)?;
        for (at, device) in devices.iter().enumerate() {
            let field = |name| Field("capabilities", Some(at), name);
            text(field("id"), device.id.as_str(), MAX_ID_BYTES)?;
            text(field("name"), device.name.as_str(), MAX_TEXT_BYTES)?;
            text(field("device_type"), device.device_type.as_str(), MAX_TEXT_BYTES)?;
            let version = device.compute_capability.as_ref();
            complaints.text(field("compute_capability"), version, MAX_TEXT_BYTES)?;
            if let Some(gib) = device.vram_gb {
                memory(field("vram_gb"), gib)?;
            }
        }
        Ok(())
    }

    /// Of the workers of its telemetry form.
    pub(crate) fn worker_health(&self) -> WorkerHealth {
        match self.twin.map(|twin| twin.health_status.status) {
            None | Some(HealthStatus::Healthy) => WorkerHealth::Healthy,
            Some(HealthStatus::Degraded) => WorkerHealth::Degraded,
            Some(HealthStatus::Unhealthy) => WorkerHealth::Unhealthy,
        }
    }

    fn backend(&self) -> Option<Backend> {
        backend_of(self.capabilities?.iter().map(|device| device.device_type.as_str()))
    }

    /// The record, the old one where nothing changed.
    pub(crate) fn info(&self, old: Option<&Arc<HiveInfo>>) -> Option<Arc<HiveInfo>> {
        let HiveTwin { id: _, hostname, port, operational_status, health_status, version } = self.twin?;
        let reason = || health_status.reason.as_ref().map_or("", Str::as_str);
        if let Some(old) = old {
            let same_health = match (&old.health_status, health_status.status) {
                (HiveHealth::Healthy, HealthStatus::Healthy) => true,
                (HiveHealth::Degraded { reason: old }, HealthStatus::Degraded)
                | (HiveHealth::Unhealthy { reason: old }, HealthStatus::Unhealthy) => old == reason(),
                _ => false,
            };
            if same_health
                && old.id == self.id
                && old.hostname == hostname.as_str()
                && old.port == *port
                && old.operational_status == *operational_status
                && old.version == version.as_str()
            {
                return Some(old.clone());
            }
        }
        Some(Arc::new(HiveInfo {
            id: self.id.into(),
            hostname: hostname.as_str().into(),
            port: *port,
            operational_status: *operational_status,
            health_status: match health_status.status {
                HealthStatus::Healthy => HiveHealth::Healthy,
                HealthStatus::Degraded => HiveHealth::Degraded { reason: reason().into() },
                HealthStatus::Unhealthy => HiveHealth::Unhealthy { reason: reason().into() },
            },
            version: version.as_str().into(),
        }))
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
    fn compute_capability(&self) -> Option<&str> {
        self.compute_capability.as_ref().map(Str::as_str).filter(|version| !version.is_empty())
    }

    fn equals(&self, old: &Capability) -> bool {
        old.id == self.id.as_str()
            && old.name == self.name.as_str()
            && old.device_type == self.device_type.as_str()
            && old.vram_gb == self.vram_gb
            && old.compute_capability.as_deref() == self.compute_capability()
    }

    fn record(&self) -> Capability {
        Capability {
            id: self.id.as_str().into(),
            name: self.name.as_str().into(),
            device_type: self.device_type.as_str().into(),
            vram_gb: self.vram_gb,
            compute_capability: self.compute_capability().map(Into::into),
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
