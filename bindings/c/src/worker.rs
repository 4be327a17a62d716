//! One worker: the shared record itself, so that a pick copies nothing.

use std::mem::MaybeUninit;
use std::sync::Arc;

use hive_registry::{ProcessStats, WorkerInfo};

use crate::status::{Status, guard};
use crate::text::{OptF32, Out, Str, tell};

/// One worker as its hive last reported it; immutable. Owned where it came through an out-parameter, and to be
/// freed; borrowed where it is const: valid as long as what it came from.
// Hidden from cbindgen, which would declare it as the type within.
#[cfg_attr(all(), repr(transparent))]
pub struct Worker(WorkerInfo);

/// What a hive sent of one process, in the telemetry form. The texts live as long as the handle they came from.
#[repr(C)]
pub struct Process {
    /// Process id.
    pub pid: u32,
    /// The group it belongs to; with `instance`, its worker id: "group-instance".
    pub group: Str,
    /// Its instance; where it is a port, the worker's url is made of it.
    pub instance: Str,
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
    pub gpu_util_pct: OptF32,
    /// VRAM in use, units of 1,048,576 bytes.
    pub vram_mb: u64,
    /// VRAM of its device, units of 1,048,576 bytes.
    pub total_vram_mb: u64,
    /// The model it has loaded; `ptr` is NULL if none.
    pub model: Str,
}

impl Worker {
    /// One more owner, for C.
    pub(crate) fn owned(worker: Arc<WorkerInfo>) -> *mut Self {
        Arc::into_raw(worker).cast_mut().cast()
    }

    /// A view of what somebody else owns.
    pub(crate) fn view(worker: &Arc<WorkerInfo>) -> *const Self {
        Arc::as_ptr(worker).cast()
    }
}

impl Process {
    pub(crate) fn of(process: &ProcessStats) -> Self {
        Self {
            pid: process.pid,
            group: Str::of(&process.group),
            instance: Str::of(&process.instance),
            cpu_pct: process.cpu_pct,
            rss_mb: process.rss_mb,
            io_r_mb_s: process.io_r_mb_s,
            io_w_mb_s: process.io_w_mb_s,
            uptime_s: process.uptime_s,
            gpu_util_pct: process.gpu_util_pct.into(),
            vram_mb: process.vram_mb,
            total_vram_mb: process.total_vram_mb,
            model: process.model.as_ref().map_or(Str::NULL, |model| Str::of(model)),
        }
    }
}

fn text<T: AsRef<str>>(worker: Option<&Worker>, field: fn(&WorkerInfo) -> &T) -> Str {
    worker.map_or(Str::EMPTY, |worker| Str::of(field(&worker.0).as_ref()))
}

fn field<T>(worker: Option<&Worker>, out: Out<'_, T>, field: impl Fn(&WorkerInfo) -> Option<T>) -> bool {
    tell(worker.and_then(|worker| field(&worker.0)), out)
}

/// Another owner of the same record; NULL for NULL. O(1), allocates nothing.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hive_worker_clone(worker: *const Worker) -> *mut Worker {
    if !worker.is_null() {
        unsafe { Arc::increment_strong_count(worker.cast::<WorkerInfo>()) };
    }
    worker.cast_mut()
}

/// Gives an owned worker back. NULL does nothing.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hive_worker_free(worker: *mut Worker) {
    guard(|| {
        if !worker.is_null() {
            drop(unsafe { Arc::from_raw(worker.cast::<WorkerInfo>()) });
        }
        Ok(Status::HIVE_OK)
    });
}

/// The hive it runs on; empty for NULL, as all texts of a worker.
#[unsafe(no_mangle)]
pub extern "C" fn hive_worker_hive_id(worker: Option<&Worker>) -> Str {
    text(worker, |worker| &worker.hive_id)
}

/// Its name, unique on its hive only.
#[unsafe(no_mangle)]
pub extern "C" fn hive_worker_id(worker: Option<&Worker>) -> Str {
    text(worker, |worker| &worker.worker_id)
}

/// What it is doing: "Idle", "Busy", "Loading", "Draining" or what was sent.
#[unsafe(no_mangle)]
pub extern "C" fn hive_worker_state(worker: Option<&Worker>) -> Str {
    worker.map_or(Str::EMPTY, |worker| Str::of(worker.0.state.as_str()))
}

/// How it feels: "healthy", "degraded", "unhealthy" or what was sent.
#[unsafe(no_mangle)]
pub extern "C" fn hive_worker_health_status(worker: Option<&Worker>) -> Str {
    worker.map_or(Str::EMPTY, |worker| Str::of(worker.0.health_status.as_str()))
}

/// When its hive last heard from it, milliseconds since 1970; 0 for NULL.
#[unsafe(no_mangle)]
pub extern "C" fn hive_worker_last_heartbeat_ms(worker: Option<&Worker>) -> i64 {
    worker.map_or(0, |worker| worker.0.last_heartbeat.timestamp_millis())
}

/// Where it takes requests. False, and `out` not written, if that is not known or a pointer is NULL; so all
/// optional fields.
#[unsafe(no_mangle)]
pub extern "C" fn hive_worker_url(worker: Option<&Worker>, out: Option<&mut MaybeUninit<Str>>) -> bool {
    field(worker, out, |worker| worker.url.as_deref().map(Str::of))
}

/// The model it has loaded.
#[unsafe(no_mangle)]
pub extern "C" fn hive_worker_model_id(worker: Option<&Worker>, out: Option<&mut MaybeUninit<Str>>) -> bool {
    field(worker, out, |worker| worker.model_id.as_deref().map(Str::of))
}

/// What it computes on: "cuda", "cpu", "metal" or what was sent, in lower case.
#[unsafe(no_mangle)]
pub extern "C" fn hive_worker_backend(worker: Option<&Worker>, out: Option<&mut MaybeUninit<Str>>) -> bool {
    let Some(worker) = worker else { return false };
    tell(worker.0.backend.as_ref().map(|backend| Str::of(backend.as_str())), out)
}

/// The index of its GPU on the hive.
#[unsafe(no_mangle)]
pub extern "C" fn hive_worker_device_id(worker: Option<&Worker>, out: Option<&mut MaybeUninit<u32>>) -> bool {
    field(worker, out, |worker| worker.device_id)
}

/// VRAM in use, bytes.
#[unsafe(no_mangle)]
pub extern "C" fn hive_worker_vram_bytes(
    worker: Option<&Worker>,
    out: Option<&mut MaybeUninit<u64>>,
) -> bool {
    field(worker, out, |worker| worker.vram_bytes)
}

/// VRAM of its device, bytes.
#[unsafe(no_mangle)]
pub extern "C" fn hive_worker_vram_total_bytes(
    worker: Option<&Worker>,
    out: Option<&mut MaybeUninit<u64>>,
) -> bool {
    field(worker, out, |worker| worker.vram_total_bytes)
}

/// VRAM free on its own account, bytes: the total of its device less its own use.
#[unsafe(no_mangle)]
pub extern "C" fn hive_worker_vram_free_bytes(
    worker: Option<&Worker>,
    out: Option<&mut MaybeUninit<u64>>,
) -> bool {
    field(worker, out, WorkerInfo::vram_free_bytes)
}

/// RAM in use, bytes.
#[unsafe(no_mangle)]
pub extern "C" fn hive_worker_ram_bytes(worker: Option<&Worker>, out: Option<&mut MaybeUninit<u64>>) -> bool {
    field(worker, out, |worker| worker.ram_bytes)
}

/// CPU in use, percent of one core.
#[unsafe(no_mangle)]
pub extern "C" fn hive_worker_cpu_percent(
    worker: Option<&Worker>,
    out: Option<&mut MaybeUninit<f32>>,
) -> bool {
    field(worker, out, |worker| worker.cpu_percent)
}

/// GPU in use, percent.
#[unsafe(no_mangle)]
pub extern "C" fn hive_worker_gpu_percent(
    worker: Option<&Worker>,
    out: Option<&mut MaybeUninit<f32>>,
) -> bool {
    field(worker, out, |worker| worker.gpu_percent)
}

/// Requests it takes at once.
#[unsafe(no_mangle)]
pub extern "C" fn hive_worker_max_concurrency(
    worker: Option<&Worker>,
    out: Option<&mut MaybeUninit<u32>>,
) -> bool {
    field(worker, out, |worker| worker.max_concurrency)
}

/// What was sent, where the telemetry form was.
#[unsafe(no_mangle)]
pub extern "C" fn hive_worker_process(
    worker: Option<&Worker>,
    out: Option<&mut MaybeUninit<Process>>,
) -> bool {
    field(worker, out, |worker| worker.process.as_deref().map(Process::of))
}
