//! One hive's state, its memory, and the copy of everything.

use std::ffi::c_char;
use std::mem::MaybeUninit;
use std::sync::Arc;

use hive_registry::{HiveRuntimeState, ResourceInfo, Snapshot as Copy};

use crate::heartbeat::{Device, Info};
use crate::registry::{Registry, ask};
use crate::status::{Status, guard, guard_drop};
use crate::text::{OptF32, Str, tell, text};
use crate::worker::Worker;

/// One hive as one heartbeat left it: the shared record itself; immutable. Owned where it came through an
/// out-parameter, and to be freed; borrowed where it is const.
// Hidden from cbindgen, which would declare it as the type within.
#[cfg_attr(all(), repr(transparent))]
pub struct State(HiveRuntimeState);

/// Memory of one hive; 1 GB = 10^9 bytes.
#[repr(C)]
pub struct Resources {
    /// VRAM in use: what its workers report, and an assumed amount for each that does not.
    pub vram_used_gb: f32,
    /// RAM in use, likewise.
    pub ram_used_gb: f32,
    /// How many workers it runs.
    pub worker_count: usize,
    /// VRAM of the GPUs it declares, else of the devices its workers report.
    pub vram_total_gb: OptF32,
    /// VRAM free, summed over the devices whose total is known.
    pub vram_free_gb: OptF32,
    /// RAM of the CPU it declares.
    pub ram_total_gb: OptF32,
    /// Workers that report no VRAM or no RAM, and count as assumed.
    pub workers_estimated: usize,
}

/// All hives at about one moment; each hive's copy is consistent in itself.
pub struct Snapshot(Copy);

/// One worker in a snapshot.
#[repr(C)]
pub struct WorkerSnapshot {
    /// Its record, borrowed from the snapshot.
    pub worker: *const Worker,
    /// Reservations it holds.
    pub reservations: u32,
    /// Its load: an order, not a measure.
    pub load: u64,
}

impl State {
    pub(crate) fn owned(state: Arc<HiveRuntimeState>) -> *mut Self {
        Arc::into_raw(state).cast_mut().cast()
    }

    fn view(state: &Arc<HiveRuntimeState>) -> *const Self {
        Arc::as_ptr(state).cast()
    }
}

impl Resources {
    pub(crate) fn of(resources: ResourceInfo) -> Self {
        Self {
            vram_used_gb: resources.vram_used_gb,
            ram_used_gb: resources.ram_used_gb,
            worker_count: resources.worker_count,
            vram_total_gb: resources.vram_total_gb.into(),
            vram_free_gb: resources.vram_free_gb.into(),
            ram_total_gb: resources.ram_total_gb.into(),
            workers_estimated: resources.workers_estimated,
        }
    }
}

// === states ===

/// Another owner of the same record; NULL for NULL. O(1), allocates nothing.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hive_state_clone(state: *const State) -> *mut State {
    if !state.is_null() {
        unsafe { Arc::increment_strong_count(state.cast::<HiveRuntimeState>()) };
    }
    state.cast_mut()
}

/// Gives an owned state back. NULL does nothing.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hive_state_free(state: *mut State) {
    guard(|| {
        if !state.is_null() {
            drop(unsafe { Arc::from_raw(state.cast::<HiveRuntimeState>()) });
        }
        Ok(Status::HIVE_OK)
    });
}

/// The hive's name; empty for NULL.
#[unsafe(no_mangle)]
pub extern "C" fn hive_state_hive_id(state: Option<&State>) -> Str {
    state.map_or(Str::EMPTY, |state| Str::of(&state.0.hive_id))
}

/// Of this heartbeat, milliseconds since 1970 by the liveness clock; 0 for NULL.
#[unsafe(no_mangle)]
pub extern "C" fn hive_state_last_heartbeat_ms(state: Option<&State>) -> i64 {
    state.map_or(0, |state| state.0.last_heartbeat_ms)
}

/// VRAM in use, 10^9 bytes; 0 for NULL.
#[unsafe(no_mangle)]
pub extern "C" fn hive_state_vram_used_gb(state: Option<&State>) -> f32 {
    state.map_or(0.0, |state| state.0.vram_used_gb)
}

/// RAM in use, 10^9 bytes; 0 for NULL.
#[unsafe(no_mangle)]
pub extern "C" fn hive_state_ram_used_gb(state: Option<&State>) -> f32 {
    state.map_or(0.0, |state| state.0.ram_used_gb)
}

/// Grows with every heartbeat applied, over all hives; 0 for NULL.
#[unsafe(no_mangle)]
pub extern "C" fn hive_state_version(state: Option<&State>) -> u64 {
    state.map_or(0, |state| state.0.version)
}

/// How many workers it runs; 0 for NULL.
#[unsafe(no_mangle)]
pub extern "C" fn hive_state_worker_count(state: Option<&State>) -> usize {
    state.map_or(0, |state| state.0.workers.len())
}

/// The worker at `at`, by worker id, borrowed from the state; NULL if there are not so many.
#[unsafe(no_mangle)]
pub extern "C" fn hive_state_worker(state: Option<&State>, at: usize) -> *const Worker {
    state.and_then(|state| state.0.workers.get(at)).map_or(std::ptr::null(), Worker::view)
}

/// Its worker of this id, borrowed from the state; NULL if it has none, or `worker_id` is no text. O(log workers).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hive_state_worker_by_id(
    state: Option<&State>,
    worker_id: *const c_char,
    worker_id_len: usize,
) -> *const Worker {
    let id = unsafe { text("worker_id", worker_id, worker_id_len) }.ok();
    let worker = state.zip(id).and_then(|(state, id)| state.0.worker(id));
    worker.map_or(std::ptr::null(), Worker::view)
}

/// What the hive said about itself; false if it sends the plain form. Its texts live as long as the state.
#[unsafe(no_mangle)]
pub extern "C" fn hive_state_info(state: Option<&State>, out: Option<&mut MaybeUninit<Info>>) -> bool {
    tell(state.and_then(|state| state.0.hive.as_deref()).map(Info::of), out)
}

/// How many devices the hive declared; false if it did not tell.
#[unsafe(no_mangle)]
pub extern "C" fn hive_state_device_count(
    state: Option<&State>,
    out: Option<&mut MaybeUninit<usize>>,
) -> bool {
    tell(state.and_then(|state| state.0.capabilities.as_ref()).map(|devices| devices.len()), out)
}

/// The device at `at`; false if there are not so many.
#[unsafe(no_mangle)]
pub extern "C" fn hive_state_device(
    state: Option<&State>,
    at: usize,
    out: Option<&mut MaybeUninit<Device>>,
) -> bool {
    let devices = state.and_then(|state| state.0.capabilities.as_ref());
    tell(devices.and_then(|devices| devices.get(at)).map(Device::of), out)
}

// === snapshots ===

/// A copy of everything. O(hives log hives + workers).
#[unsafe(no_mangle)]
pub extern "C" fn hive_registry_snapshot(
    registry: Option<&Registry>,
    out_snapshot: Option<&mut MaybeUninit<Box<Snapshot>>>,
) -> Status {
    ask(registry, ("out_snapshot", out_snapshot), |registry| Some(Box::new(Snapshot(registry.snapshot()))))
}

/// NULL does nothing.
#[unsafe(no_mangle)]
pub extern "C" fn hive_snapshot_free(snapshot: Option<Box<Snapshot>>) {
    guard_drop(snapshot);
}

/// The sequence of the last event before copying began: resume a feed with the events after it.
#[unsafe(no_mangle)]
pub extern "C" fn hive_snapshot_sequence(snapshot: Option<&Snapshot>) -> u64 {
    snapshot.map_or(0, |snapshot| snapshot.0.sequence)
}

/// When copying began, milliseconds since 1970 by the liveness clock.
#[unsafe(no_mangle)]
pub extern "C" fn hive_snapshot_taken_at_ms(snapshot: Option<&Snapshot>) -> i64 {
    snapshot.map_or(0, |snapshot| snapshot.0.taken_at_ms)
}

/// How many hives there are; 0 for NULL.
#[unsafe(no_mangle)]
pub extern "C" fn hive_snapshot_len(snapshot: Option<&Snapshot>) -> usize {
    snapshot.map_or(0, |snapshot| snapshot.0.hives.len())
}

/// The state of the hive at `at`, by hive id, borrowed from the snapshot; NULL if there are not so many.
#[unsafe(no_mangle)]
pub extern "C" fn hive_snapshot_state(snapshot: Option<&Snapshot>, at: usize) -> *const State {
    let hive = snapshot.and_then(|snapshot| snapshot.0.hives.get(at));
    hive.map_or(std::ptr::null(), |hive| State::view(&hive.state))
}

/// Milliseconds since that hive was last heard; false if there are not so many.
#[unsafe(no_mangle)]
pub extern "C" fn hive_snapshot_age_ms(
    snapshot: Option<&Snapshot>,
    at: usize,
    out: Option<&mut MaybeUninit<i64>>,
) -> bool {
    tell(snapshot.and_then(|snapshot| snapshot.0.hives.get(at)).map(|hive| hive.age_ms), out)
}

/// Whether that is within the liveness window; false if there are not so many.
#[unsafe(no_mangle)]
pub extern "C" fn hive_snapshot_online(snapshot: Option<&Snapshot>, at: usize) -> bool {
    snapshot.and_then(|snapshot| snapshot.0.hives.get(at)).is_some_and(|hive| hive.online)
}

/// A worker of that hive with its reservations, by worker id; false if there are not so many.
#[unsafe(no_mangle)]
pub extern "C" fn hive_snapshot_worker(
    snapshot: Option<&Snapshot>,
    hive_at: usize,
    worker_at: usize,
    out: Option<&mut MaybeUninit<WorkerSnapshot>>,
) -> bool {
    let hive = snapshot.and_then(|snapshot| snapshot.0.hives.get(hive_at));
    let worker = hive.and_then(|hive| hive.workers.get(worker_at)).map(|worker| WorkerSnapshot {
        worker: Worker::view(&worker.worker),
        reservations: worker.reservations,
        load: worker.load,
    });
    tell(worker, out)
}
