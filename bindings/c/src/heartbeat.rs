//! What hives send: JSON bytes or plain structs of either form.

use std::ffi::c_char;
use std::mem::MaybeUninit;

use hive_registry::{
    Capability, HeartbeatError, HeartbeatOutcome, HiveHealth, HiveHeartbeat, HiveHeartbeatPayload, HiveInfo,
    HiveRegistry, Limits, MAX_ID_BYTES, MAX_TEXT_BYTES, MAX_URL_BYTES, OperationalStatus, ProcessStats,
    WorkerState,
};

use crate::registry::{Registry, on};
use crate::status::{Failure, Outcome, Status};
use crate::text::{OptF32, OptF64, OptU32, OptU64, Out, Str, items, some, text};
use crate::worker::Process;

/// What became of a heartbeat.
#[repr(u32)]
#[allow(non_camel_case_types, reason = "the names in C")]
pub enum Applied {
    /// Something that this version knows no number for.
    HIVE_APPLIED_OTHER = 0,
    /// The hive was not known before.
    HIVE_APPLIED_REGISTERED = 1,
    /// The hive was known.
    HIVE_APPLIED_UPDATED = 2,
    /// It was older than what is known; nothing was applied.
    HIVE_APPLIED_SUPERSEDED = 3,
    /// The hive was removed after it was made; nothing was applied.
    HIVE_APPLIED_REMOVED = 4,
}

/// One worker in a `hive_heartbeat_t`. All zero but `worker_id` is an idle, healthy worker that says nothing of the
/// rest. A text whose `ptr` is NULL is not there; `worker_id` may not be missing.
#[repr(C)]
pub struct WorkerReport {
    /// Its name on this hive.
    pub worker_id: Str,
    /// "Idle", "Busy", "Loading", "Draining" or other; "Idle" if missing.
    pub state: Str,
    /// When the hive last heard from it, RFC 3339; if missing, the heartbeat's own time.
    pub last_heartbeat: Str,
    /// "healthy", "degraded", "unhealthy" or other; "healthy" if missing.
    pub health_status: Str,
    /// Where it takes requests.
    pub url: Str,
    /// The model it has loaded.
    pub model_id: Str,
    /// "cuda", "cpu", "metal" or other.
    pub backend: Str,
    /// The index of its GPU on the hive.
    pub device_id: OptU32,
    /// VRAM in use, bytes.
    pub vram_bytes: OptU64,
    /// VRAM of its device, bytes.
    pub vram_total_bytes: OptU64,
    /// RAM in use, bytes.
    pub ram_bytes: OptU64,
    /// CPU in use, percent of one core; may pass 100.
    pub cpu_percent: OptF32,
    /// GPU in use, percent.
    pub gpu_percent: OptF32,
    /// Requests it takes at once, at least 1; 0 counts as not reported.
    pub max_concurrency: OptU32,
}

/// A heartbeat: the full state of one hive's workers; one it does not name is gone.
#[repr(C)]
pub struct Heartbeat {
    /// The hive's name.
    pub hive_id: Str,
    /// When the heartbeat was made, RFC 3339: "2025-10-21T10:00:00Z".
    pub timestamp: Str,
    /// Its workers.
    pub workers: *const WorkerReport,
    /// How many.
    pub workers_len: usize,
    /// Which boot of the hive this is; with `seq`, orders its heartbeats whatever its clock does.
    pub epoch: OptU64,
    /// A counter within the boot.
    pub seq: OptU64,
    /// What the hive says about itself; NULL if nothing, and then nothing is known from now on. Its `id` may be missing.
    pub hive_info: *const Info,
    /// Its devices; NULL if it does not tell, and then none are known from now on; any other pointer with a length of 0 if
    /// it has none.
    pub capabilities: *const Device,
    /// How many.
    pub capabilities_len: usize,
}

/// What a hive is doing.
#[repr(u32)]
#[allow(non_camel_case_types, reason = "the names in C")]
pub enum Operational {
    /// Coming up: its workers are not picked yet.
    HIVE_OPERATIONAL_STARTING = 0,
    /// Up.
    HIVE_OPERATIONAL_READY = 1,
    /// Up, with work.
    HIVE_OPERATIONAL_BUSY = 2,
    /// Going down: its workers are not picked.
    HIVE_OPERATIONAL_STOPPING = 3,
    /// Down.
    HIVE_OPERATIONAL_STOPPED = 4,
}

/// How a hive feels.
#[repr(u32)]
#[allow(non_camel_case_types, reason = "the names in C")]
pub enum Health {
    /// Well.
    HIVE_HEALTH_HEALTHY = 0,
    /// Its workers rank after those of healthy hives.
    HIVE_HEALTH_DEGRADED = 1,
    /// Its workers are not picked.
    HIVE_HEALTH_UNHEALTHY = 2,
}

/// What a hive says about itself.
#[repr(C)]
pub struct Info {
    /// Its name.
    pub id: Str,
    /// Its host name or address; what is neither makes no url.
    pub hostname: Str,
    /// The port of its own service.
    pub port: u16,
    /// What it is doing: a `hive_operational_t`.
    pub operational_status: u32,
    /// How it feels: a `hive_health_t`.
    pub health_status: u32,
    /// Why it does not feel well: not empty, unless it is healthy; then NULL.
    pub health_reason: Str,
    /// The version of its software.
    pub version: Str,
}

/// A device that a hive declares.
#[repr(C)]
pub struct Device {
    /// Its name on the hive, "GPU-0".
    pub id: Str,
    /// What it is, "NVIDIA RTX 4090".
    pub name: Str,
    /// "cuda", "cpu", "metal" or other.
    pub device_type: Str,
    /// Memory, GiB; 1,048,576 at most.
    pub vram_gb: OptF64,
    /// "8.9"; NULL if not known.
    pub compute_capability: Str,
}

/// The telemetry form of a heartbeat: the hive describes itself and its processes.
#[repr(C)]
pub struct Telemetry {
    /// The hive.
    pub hive: Info,
    /// When the heartbeat was made, RFC 3339.
    pub timestamp: Str,
    /// All its worker processes; NULL if it says nothing of them, and then they stay as they were; any other pointer with
    /// a length of 0 if it has none.
    pub workers: *const Process,
    /// How many.
    pub workers_len: usize,
    /// Its devices; NULL if it does not tell, any other pointer with a length of 0 if it has none.
    pub capabilities: *const Device,
    /// How many.
    pub capabilities_len: usize,
    /// Which boot of the hive this is.
    pub epoch: OptU64,
    /// A counter within the boot.
    pub seq: OptU64,
}

// === reading them ===

/// The path of a field, as errors name it.
#[derive(Clone, Copy)]
struct Path<'p> {
    list: &'p str,
    at: usize,
}

impl Path<'_> {
    fn of(self, field: &str) -> String {
        match self.list {
            "" => field.into(),
            list => format!("{list}[{}].{field}", self.at),
        }
    }

    /// Of `most` bytes.
    unsafe fn maybe(self, field: &str, text: Str, most: usize) -> Result<Option<String>, Failure> {
        Ok(unsafe { text.read(|| self.of(field), most) }?.map(String::from))
    }

    unsafe fn owned(self, field: &str, text: Str, most: usize) -> Result<String, Failure> {
        unsafe { self.maybe(field, text, most) }?.ok_or_else(|| Failure::null(&self.of(field)))
    }
}

const TOP: Path<'static> = Path { list: "", at: 0 };

/// # Safety
///
/// In all of these: every pointer within is NULL or as long as the length beside it says.
unsafe fn list<'t, T>(
    field: &'static str,
    ptr: *const T,
    len: usize,
    (limit, bound): (&'static str, usize),
) -> Result<&'t [T], Failure> {
    let all = unsafe { items(|| field.into(), ptr, len) }?;
    if len > bound {
        return Err(HeartbeatError::OverLimit { limit, wanted: len, bound }.into());
    }
    Ok(all)
}

/// The same where NULL says that it is not told.
unsafe fn told<'t, T>(
    field: &'static str,
    ptr: *const T,
    len: usize,
    limit: (&'static str, usize),
) -> Result<Option<&'t [T]>, Failure> {
    let tells = !ptr.is_null() || len > 0;
    tells.then(|| unsafe { list(field, ptr, len, limit) }).transpose()
}

fn each<'t, T, U>(
    list: &'static str,
    all: &'t [T],
    read: impl Fn(&'t T, Path<'static>) -> Result<U, Failure>,
) -> Result<Vec<U>, Failure> {
    all.iter().enumerate().map(|(at, item)| read(item, Path { list, at })).collect()
}

fn workers_of(limits: &Limits) -> (&'static str, usize) {
    ("workers_per_hive", limits.workers_per_hive)
}

fn devices_of(limits: &Limits) -> (&'static str, usize) {
    ("devices_per_hive", limits.devices_per_hive)
}

impl WorkerReport {
    unsafe fn read(&self, path: Path<'_>, now: &str) -> Result<WorkerState, Failure> {
        let default = WorkerState::default();
        unsafe {
            Ok(WorkerState {
                worker_id: path.owned("worker_id", self.worker_id, MAX_ID_BYTES)?,
                state: path.maybe("state", self.state, MAX_TEXT_BYTES)?.unwrap_or(default.state),
                last_heartbeat: path
                    .maybe("last_heartbeat", self.last_heartbeat, MAX_TEXT_BYTES)?
                    .unwrap_or_else(|| now.into()),
                health_status: path
                    .maybe("health_status", self.health_status, MAX_TEXT_BYTES)?
                    .unwrap_or(default.health_status),
                url: path.maybe("url", self.url, MAX_URL_BYTES)?,
                model_id: path.maybe("model_id", self.model_id, MAX_ID_BYTES)?,
                backend: path.maybe("backend", self.backend, MAX_TEXT_BYTES)?,
                device_id: self.device_id.into(),
                vram_bytes: self.vram_bytes.into(),
                vram_total_bytes: self.vram_total_bytes.into(),
                ram_bytes: self.ram_bytes.into(),
                cpu_percent: self.cpu_percent.into(),
                gpu_percent: self.gpu_percent.into(),
                max_concurrency: self.max_concurrency.into(),
            })
        }
    }
}

impl Heartbeat {
    /// The lengths of its lists are looked at before anything is read.
    unsafe fn read(&self, limits: &Limits) -> Result<HiveHeartbeatPayload, Failure> {
        unsafe {
            let workers = list("workers", self.workers, self.workers_len, workers_of(limits))?;
            let devices = told("capabilities", self.capabilities, self.capabilities_len, devices_of(limits))?;
            let hive_id = TOP.owned("hive_id", self.hive_id, MAX_ID_BYTES)?;
            let timestamp = TOP.owned("timestamp", self.timestamp, MAX_TEXT_BYTES)?;
            Ok(HiveHeartbeatPayload {
                hive_id,
                workers: each("workers", workers, |worker: &WorkerReport, path| {
                    worker.read(path, &timestamp)
                })?,
                timestamp,
                hive_info: self.hive_info.as_ref().map(|info| info.read("hive_info")).transpose()?,
                capabilities: devices.map(|devices| capabilities(devices)).transpose()?,
                epoch: self.epoch.into(),
                seq: self.seq.into(),
            })
        }
    }
}

impl Process {
    unsafe fn read(&self, path: Path<'_>) -> Result<ProcessStats, Failure> {
        unsafe {
            Ok(ProcessStats {
                pid: self.pid,
                group: path.owned("group", self.group, MAX_ID_BYTES)?.into(),
                instance: path.owned("instance", self.instance, MAX_ID_BYTES)?.into(),
                cpu_pct: self.cpu_pct,
                rss_mb: self.rss_mb,
                io_r_mb_s: self.io_r_mb_s,
                io_w_mb_s: self.io_w_mb_s,
                uptime_s: self.uptime_s,
                gpu_util_pct: self.gpu_util_pct.into(),
                vram_mb: self.vram_mb,
                total_vram_mb: self.total_vram_mb,
                model: path.maybe("model", self.model, MAX_ID_BYTES)?.map(Into::into),
            })
        }
    }
}

impl Info {
    pub(crate) fn of(info: &HiveInfo) -> Self {
        let (health_status, health_reason) = match &info.health_status {
            HiveHealth::Healthy => (Health::HIVE_HEALTH_HEALTHY, Str::NULL),
            HiveHealth::Degraded { reason } => (Health::HIVE_HEALTH_DEGRADED, Str::of(reason)),
            HiveHealth::Unhealthy { reason } => (Health::HIVE_HEALTH_UNHEALTHY, Str::of(reason)),
        };
        let operational_status = match info.operational_status {
            OperationalStatus::Starting => Operational::HIVE_OPERATIONAL_STARTING,
            OperationalStatus::Ready => Operational::HIVE_OPERATIONAL_READY,
            OperationalStatus::Busy => Operational::HIVE_OPERATIONAL_BUSY,
            OperationalStatus::Stopping => Operational::HIVE_OPERATIONAL_STOPPING,
            OperationalStatus::Stopped => Operational::HIVE_OPERATIONAL_STOPPED,
        };
        Self {
            id: Str::of(&info.id),
            hostname: Str::of(&info.hostname),
            port: info.port,
            operational_status: operational_status as u32,
            health_status: health_status as u32,
            health_reason,
            version: Str::of(&info.version),
        }
    }

    /// `at` is what it is the field of. Where the heartbeat has an id of its own, this one may be missing.
    unsafe fn read(&self, at: &str) -> Result<HiveInfo, Failure> {
        use OperationalStatus::{Busy, Ready, Starting, Stopped, Stopping};
        let all = [Starting, Ready, Busy, Stopping, Stopped];
        let unknown = |field: &str, value: u32, of: &str| {
            Failure::refused(Status::HIVE_INVALID_FIELD, format_args!("{at}.{field}"), value, of)
        };
        let Some(operational_status) = all.get(self.operational_status as usize) else {
            return Err(unknown(
                "operational_status",
                self.operational_status,
                "a hive_operational_t, 0 to 4",
            ));
        };
        unsafe {
            let field = |name| format!("{at}.{name}");
            let reason =
                TOP.maybe(&field("health_reason"), self.health_reason, MAX_TEXT_BYTES)?.unwrap_or_default();
            Ok(HiveInfo {
                id: match at {
                    "hive" => TOP.owned("hive.id", self.id, MAX_ID_BYTES)?,
                    _ => TOP.maybe(&field("id"), self.id, MAX_ID_BYTES)?.unwrap_or_default(),
                },
                hostname: TOP.owned(&field("hostname"), self.hostname, MAX_TEXT_BYTES)?,
                port: self.port,
                operational_status: *operational_status,
                health_status: match self.health_status {
                    0 => HiveHealth::Healthy,
                    1 => HiveHealth::Degraded { reason },
                    2 => HiveHealth::Unhealthy { reason },
                    other => return Err(unknown("health_status", other, "a hive_health_t, 0 to 2")),
                },
                version: TOP.owned(&field("version"), self.version, MAX_TEXT_BYTES)?,
            })
        }
    }
}

impl Device {
    pub(crate) fn of(device: &Capability) -> Self {
        Self {
            id: Str::of(&device.id),
            name: Str::of(&device.name),
            device_type: Str::of(&device.device_type),
            vram_gb: device.vram_gb.into(),
            compute_capability: device.compute_capability.as_deref().map_or(Str::NULL, Str::of),
        }
    }

    unsafe fn read(&self, path: Path<'_>) -> Result<Capability, Failure> {
        unsafe {
            Ok(Capability {
                id: path.owned("id", self.id, MAX_ID_BYTES)?,
                name: path.owned("name", self.name, MAX_TEXT_BYTES)?,
                device_type: path.owned("device_type", self.device_type, MAX_TEXT_BYTES)?,
                vram_gb: self.vram_gb.into(),
                compute_capability: path.maybe(
                    "compute_capability",
                    self.compute_capability,
                    MAX_TEXT_BYTES,
                )?,
            })
        }
    }
}

impl Telemetry {
    /// The lengths of its lists are looked at before anything is read.
    unsafe fn read(&self, limits: &Limits) -> Result<HiveHeartbeat, Failure> {
        unsafe {
            let workers = told("workers", self.workers, self.workers_len, workers_of(limits))?;
            let devices = told("capabilities", self.capabilities, self.capabilities_len, devices_of(limits))?;
            Ok(HiveHeartbeat {
                hive: self.hive.read("hive")?,
                timestamp: TOP.owned("timestamp", self.timestamp, MAX_TEXT_BYTES)?,
                workers: workers.map(|workers| processes(workers)).transpose()?,
                capabilities: devices.map(|devices| capabilities(devices)).transpose()?,
                epoch: self.epoch.into(),
                seq: self.seq.into(),
            })
        }
    }
}

unsafe fn capabilities(devices: &[Device]) -> Result<Vec<Capability>, Failure> {
    each("capabilities", devices, |device, path| unsafe { device.read(path) })
}

unsafe fn processes(workers: &[Process]) -> Result<Vec<ProcessStats>, Failure> {
    each("workers", workers, |process, path| unsafe { process.read(path) })
}

// === giving them to a registry ===

/// What the registry would refuse, too, is counted as if it had.
fn counted<T>(
    registry: &HiveRegistry,
    hive_id: Option<&str>,
    read: Result<T, Failure>,
) -> Result<T, Failure> {
    read.inspect_err(|failure| {
        if matches!(failure.status, Status::HIVE_INVALID_FIELD | Status::HIVE_OVER_LIMIT) {
            registry.note_refusal(hive_id, &failure.message);
        }
    })
}

/// JSON that is an argument, which may not be NULL.
///
/// # Safety
///
/// As [`items`].
unsafe fn json<'t>(argument: &'static str, ptr: *const c_char, len: usize) -> Result<&'t [u8], Failure> {
    if ptr.is_null() {
        return Err(Failure::null(argument));
    }
    unsafe { items(|| argument.into(), ptr.cast(), len) }
}

/// Whose heartbeat it is, looked at first, so that whatever else is refused is known to be its.
///
/// # Safety
///
/// As [`Str::read`].
unsafe fn whose<'t>(registry: &HiveRegistry, field: &str, id: Str) -> Result<&'t str, Failure> {
    counted(registry, None, unsafe { text(field, id.ptr, id.len) })
}

/// Writes what became of it, for those who want to know.
fn applied(result: Result<HeartbeatOutcome, HeartbeatError>, out: Out<'_, u32>) -> Outcome {
    let applied = match result? {
        HeartbeatOutcome::Registered => Applied::HIVE_APPLIED_REGISTERED,
        HeartbeatOutcome::Updated => Applied::HIVE_APPLIED_UPDATED,
        HeartbeatOutcome::Superseded => Applied::HIVE_APPLIED_SUPERSEDED,
        HeartbeatOutcome::Removed => Applied::HIVE_APPLIED_REMOVED,
        _ => Applied::HIVE_APPLIED_OTHER,
    };
    if let Some(out) = out {
        out.write(applied as u32);
    }
    Ok(Status::HIVE_OK)
}

/// Applies a heartbeat from JSON, of any form: "hive_id" marks the plain one, "hive" the telemetry one, and "hive_id"
/// with the "type" "telemetry" or "hive_telemetry" the event of a stream, which says the same flat. Whole or not at all; once it returns, every query sees it. `out_applied` may be NULL, else becomes a `hive_applied_t`.
/// O(bytes).
///
/// Errors: HIVE_MALFORMED, also for what is not UTF-8; HIVE_INVALID_FIELD, HIVE_OVER_LIMIT.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hive_registry_ingest_json(
    registry: Option<&Registry>,
    body: *const c_char,
    body_len: usize,
    out_applied: Option<&mut MaybeUninit<u32>>,
) -> Status {
    on(registry, |registry| {
        applied(registry.ingest_json(unsafe { json("body", body, body_len) }?), out_applied)
    })
}

/// The same of the plain form alone and of this hive alone.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hive_registry_update_hive_state_json(
    registry: Option<&Registry>,
    hive_id: *const c_char,
    hive_id_len: usize,
    body: *const c_char,
    body_len: usize,
    out_applied: Option<&mut MaybeUninit<u32>>,
) -> Status {
    on(registry, |registry| {
        let hive_id = unsafe { whose(registry, "hive_id", Str { ptr: hive_id, len: hive_id_len }) }?;
        let body = unsafe { json("body", body, body_len) }?;
        applied(registry.update_hive_state_json(hive_id, body), out_applied)
    })
}

/// The same of the telemetry form alone.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hive_registry_update_hive_json(
    registry: Option<&Registry>,
    body: *const c_char,
    body_len: usize,
    out_applied: Option<&mut MaybeUninit<u32>>,
) -> Status {
    on(registry, |registry| {
        applied(registry.update_hive_json(unsafe { json("body", body, body_len) }?), out_applied)
    })
}

/// As `hive_registry_update_workers`, from a JSON array of processes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hive_registry_update_workers_json(
    registry: Option<&Registry>,
    hive_id: *const c_char,
    hive_id_len: usize,
    workers: *const c_char,
    workers_len: usize,
    out_applied: Option<&mut MaybeUninit<u32>>,
) -> Status {
    on(registry, |registry| {
        let hive_id = unsafe { whose(registry, "hive_id", Str { ptr: hive_id, len: hive_id_len }) }?;
        let workers = unsafe { json("workers", workers, workers_len) }?;
        applied(registry.update_workers_json(hive_id, workers), out_applied)
    })
}

/// Applies a heartbeat of the hive `hive_id`, which must be the one it names; otherwise as
/// `hive_registry_ingest_json`. O(workers).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hive_registry_update_hive_state(
    registry: Option<&Registry>,
    hive_id: *const c_char,
    hive_id_len: usize,
    heartbeat: Option<&Heartbeat>,
    out_applied: Option<&mut MaybeUninit<u32>>,
) -> Status {
    on(registry, |registry| {
        let hive_id = unsafe { whose(registry, "hive_id", Str { ptr: hive_id, len: hive_id_len }) }?;
        let heartbeat = some("heartbeat", heartbeat)?;
        let payload = counted(registry, Some(hive_id), unsafe { heartbeat.read(&registry.limits()) })?;
        applied(registry.update_hive_state(hive_id, payload), out_applied)
    })
}

/// The same of the hive that the heartbeat names.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hive_registry_ingest_payload(
    registry: Option<&Registry>,
    heartbeat: Option<&Heartbeat>,
    out_applied: Option<&mut MaybeUninit<u32>>,
) -> Status {
    on(registry, |registry| {
        let heartbeat = some("heartbeat", heartbeat)?;
        let hive_id = unsafe { whose(registry, "hive_id", heartbeat.hive_id) }?;
        let payload = counted(registry, Some(hive_id), unsafe { heartbeat.read(&registry.limits()) })?;
        applied(registry.ingest_payload(&payload), out_applied)
    })
}

/// Applies a heartbeat in the telemetry form.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hive_registry_update_hive(
    registry: Option<&Registry>,
    telemetry: Option<&Telemetry>,
    out_applied: Option<&mut MaybeUninit<u32>>,
) -> Status {
    on(registry, |registry| {
        let telemetry = some("telemetry", telemetry)?;
        let hive_id = unsafe { whose(registry, "hive.id", telemetry.hive.id) }?;
        let heartbeat = counted(registry, Some(hive_id), unsafe { telemetry.read(&registry.limits()) })?;
        applied(registry.update_hive(heartbeat), out_applied)
    })
}

/// Replaces a hive's workers by processes and counts it as heard now; what is known of the hive itself stays, and an
/// unknown hive is registered.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hive_registry_update_workers(
    registry: Option<&Registry>,
    hive_id: *const c_char,
    hive_id_len: usize,
    workers: *const Process,
    workers_len: usize,
    out_applied: Option<&mut MaybeUninit<u32>>,
) -> Status {
    on(registry, |registry| {
        let hive_id = unsafe { whose(registry, "hive_id", Str { ptr: hive_id, len: hive_id_len }) }?;
        let read =
            || unsafe { processes(list("workers", workers, workers_len, workers_of(&registry.limits()))?) };
        let processes = counted(registry, Some(hive_id), read())?;
        applied(registry.update_workers(hive_id, processes), out_applied)
    })
}
