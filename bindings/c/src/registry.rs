//! The registry: made, asked about hives and workers, and freed.

use std::ffi::c_char;
use std::mem::MaybeUninit;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hive_registry::{HiveRegistry, MAX_TEXT_BYTES};

use crate::config::{Bounds, Config};
use crate::heartbeat::Info;
use crate::list::{IdList, ProcessList, WorkerList};
use crate::state::{Resources, State};
use crate::status::{Failure, Outcome, Status, guard, guard_and, guard_drop};
use crate::text::{Out, Text, out, some, text, text_of};
use crate::worker::Worker;

/// A live registry of hives and their workers. Every function that takes one const may be called from any thread at
/// once.
pub struct Registry {
    registry: HiveRegistry,
    /// Of the last call through this handle that failed; touched by those that fail, and who asks for it.
    failed: Mutex<Option<Arc<Failure>>>,
}

impl Registry {
    fn boxed(registry: HiveRegistry) -> Box<Self> {
        Box::new(Self { registry, failed: Mutex::new(None) })
    }

    pub(crate) fn take_failure(&self) -> Option<Arc<Failure>> {
        self.set_failure(None)
    }

    /// The one before is dropped by who calls, without the lock.
    fn set_failure(&self, failure: Option<Arc<Failure>>) -> Option<Arc<Failure>> {
        let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut *failed, failure)
    }
}

/// An empty registry. `config` may be NULL: all defaults.
///
/// Errors: HIVE_INVALID_CONFIG names the setting that is out of bounds.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hive_registry_new(
    config: *const Config,
    out_registry: Option<&mut MaybeUninit<Box<Registry>>>,
) -> Status {
    guard(|| {
        let out = out("out_registry", out_registry)?;
        let registry = unsafe { Config::read(config)?.build() }?;
        out.write(Registry::boxed(registry));
        Ok(Status::HIVE_OK)
    })
}

/// Another handle on the same registry, to be freed like the first.
#[unsafe(no_mangle)]
pub extern "C" fn hive_registry_clone(
    registry: Option<&Registry>,
    out_registry: Option<&mut MaybeUninit<Box<Registry>>>,
) -> Status {
    ask(registry, ("out_registry", out_registry), |registry| Some(Registry::boxed(registry.clone())))
}

/// The bounds it was built with. O(1).
#[unsafe(no_mangle)]
pub extern "C" fn hive_registry_limits(
    registry: Option<&Registry>,
    out_limits: Option<&mut MaybeUninit<Bounds>>,
) -> Status {
    ask(registry, ("out_limits", out_limits), |registry| Some(Bounds::of(registry.limits())))
}

/// Gives a handle back. The registry ends with the last of its handles, models and reservations; lists, workers, states
/// and subscriptions taken from it remain valid until they are freed. No other call may be under way on this handle.
/// NULL does nothing.
#[unsafe(no_mangle)]
pub extern "C" fn hive_registry_free(registry: Option<Box<Registry>>) {
    guard_drop(registry);
}

/// Every call through a handle on a registry runs in here, so that the handle keeps its error.
pub(crate) fn on(registry: Option<&Registry>, call: impl FnOnce(&HiveRegistry) -> Outcome) -> Status {
    let keep = |failure: &Arc<Failure>| {
        if let Some(registry) = registry {
            registry.set_failure(Some(failure.clone()));
        }
    };
    guard_and(keep, || call(&some("registry", registry)?.registry))
}

/// Writes what the registry answers, or says that there is none.
pub(crate) fn ask<T>(
    registry: Option<&Registry>,
    result: (&str, Out<'_, T>),
    question: impl FnOnce(&HiveRegistry) -> Option<T>,
) -> Status {
    answer(registry, result, |registry| Ok(question(registry)))
}

/// The same about something named.
///
/// # Safety
///
/// `name` is NULL or `len` readable bytes.
pub(crate) unsafe fn ask_about<T>(
    registry: Option<&Registry>,
    (argument, name, len): (&str, *const c_char, usize),
    result: (&str, Out<'_, T>),
    question: impl FnOnce(&HiveRegistry, &str) -> Option<T>,
) -> Status {
    answer(registry, result, |registry| Ok(question(registry, unsafe { text(argument, name, len) }?)))
}

/// The same of a question that may be refused.
pub(crate) fn answer<T>(
    registry: Option<&Registry>,
    (argument, result): (&str, Out<'_, T>),
    question: impl FnOnce(&HiveRegistry) -> Result<Option<T>, Failure>,
) -> Status {
    on(registry, |registry| {
        let result = out(argument, result)?;
        let answer = question(registry)?;
        let there = answer.is_some();
        if let Some(answer) = answer {
            result.write(answer);
        }
        Ok(Status::whether(there))
    })
}

// === hives ===

/// One heartbeat's state, never a mixture of two. HIVE_NONE if the hive is not registered. O(1).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hive_registry_get_hive_state(
    registry: Option<&Registry>,
    hive_id: *const c_char,
    hive_id_len: usize,
    out_state: Option<&mut MaybeUninit<*mut State>>,
) -> Status {
    let hive = ("hive_id", hive_id, hive_id_len);
    unsafe {
        ask_about(registry, hive, ("out_state", out_state), |registry, id| {
            registry.get_hive_state(id).map(State::owned)
        })
    }
}

/// What a hive last said about itself, and its state, for the texts live as long as that. HIVE_NONE if it is not
/// registered, or its newest heartbeat says nothing of it. O(1).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hive_registry_get_hive(
    registry: Option<&Registry>,
    hive_id: *const c_char,
    hive_id_len: usize,
    out_info: Option<&mut MaybeUninit<Info>>,
    out_state: Option<&mut MaybeUninit<*mut State>>,
) -> Status {
    on(registry, |registry| {
        let (out_info, out_state) = (out("out_info", out_info)?, out("out_state", out_state)?);
        let hive_id = unsafe { text("hive_id", hive_id, hive_id_len) }?;
        let Some(state) = registry.get_hive_state(hive_id) else { return Ok(Status::HIVE_NONE) };
        let Some(info) = state.hive.as_deref() else { return Ok(Status::HIVE_NONE) };
        out_info.write(Info::of(info));
        out_state.write(State::owned(state));
        Ok(Status::HIVE_OK)
    })
}

/// Hives heard less than `max_age_ms` ago. O(hives log hives).
#[unsafe(no_mangle)]
pub extern "C" fn hive_registry_list_active_hives(
    registry: Option<&Registry>,
    max_age_ms: i64,
    out_ids: Option<&mut MaybeUninit<Box<IdList>>>,
) -> Status {
    ask(registry, ("out_ids", out_ids), |registry| Some(IdList::of(registry.list_active_hives(max_age_ms))))
}

/// Memory in use, total and free. HIVE_NONE if the hive is not registered. O(workers of the hive).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hive_registry_get_available_resources(
    registry: Option<&Registry>,
    hive_id: *const c_char,
    hive_id_len: usize,
    out_resources: Option<&mut MaybeUninit<Resources>>,
) -> Status {
    let hive = ("hive_id", hive_id, hive_id_len);
    unsafe {
        ask_about(registry, hive, ("out_resources", out_resources), |registry, id| {
            registry.get_available_resources(id).map(Resources::of)
        })
    }
}

/// Removes a hive and its workers from everything at once. HIVE_NONE if it was not there. For 10 minutes a heartbeat
/// made before the removal is dropped.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hive_registry_remove_hive(
    registry: Option<&Registry>,
    hive_id: *const c_char,
    hive_id_len: usize,
) -> Status {
    on(registry, |registry| {
        let hive_id = unsafe { text("hive_id", hive_id, hive_id_len) }?;
        Ok(Status::whether(registry.remove_hive(hive_id)))
    })
}

/// All registered hives, live or not. O(hives log hives).
#[unsafe(no_mangle)]
pub extern "C" fn hive_registry_list_all_hives(
    registry: Option<&Registry>,
    out_ids: Option<&mut MaybeUninit<Box<IdList>>>,
) -> Status {
    ask(registry, ("out_ids", out_ids), |registry| Some(IdList::of(registry.list_all_hives())))
}

/// How many workers the hive runs. HIVE_NONE if it is not registered. O(1).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hive_registry_get_worker_count(
    registry: Option<&Registry>,
    hive_id: *const c_char,
    hive_id_len: usize,
    out_count: Option<&mut MaybeUninit<usize>>,
) -> Status {
    let hive = ("hive_id", hive_id, hive_id_len);
    unsafe { ask_about(registry, hive, ("out_count", out_count), HiveRegistry::get_worker_count) }
}

/// Whether it was heard less than `max_age_ms` ago; false for one that is not registered. O(1).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hive_registry_is_hive_online(
    registry: Option<&Registry>,
    hive_id: *const c_char,
    hive_id_len: usize,
    max_age_ms: i64,
    out_online: Option<&mut MaybeUninit<bool>>,
) -> Status {
    let hive = ("hive_id", hive_id, hive_id_len);
    unsafe {
        ask_about(registry, hive, ("out_online", out_online), |registry, id| {
            Some(registry.is_hive_online(id, max_age_ms))
        })
    }
}

/// How many hives are registered, live or not. O(1).
#[unsafe(no_mangle)]
pub extern "C" fn hive_registry_hive_count(
    registry: Option<&Registry>,
    out_count: Option<&mut MaybeUninit<usize>>,
) -> Status {
    ask(registry, ("out_count", out_count), |registry| Some(registry.hive_count()))
}

/// Hives heard within the liveness window. O(hives log hives).
#[unsafe(no_mangle)]
pub extern "C" fn hive_registry_list_online_hives(
    registry: Option<&Registry>,
    out_ids: Option<&mut MaybeUninit<Box<IdList>>>,
) -> Status {
    ask(registry, ("out_ids", out_ids), |registry| Some(IdList::of(registry.list_online_hives())))
}

/// Online hives that, where they sent their status, are ready or busy and not unhealthy. O(hives log hives).
#[unsafe(no_mangle)]
pub extern "C" fn hive_registry_list_available_hives(
    registry: Option<&Registry>,
    out_ids: Option<&mut MaybeUninit<Box<IdList>>>,
) -> Status {
    ask(registry, ("out_ids", out_ids), |registry| Some(IdList::of(registry.list_available_hives())))
}

/// How many hives were heard within the liveness window. O(hives).
#[unsafe(no_mangle)]
pub extern "C" fn hive_registry_count_online(
    registry: Option<&Registry>,
    out_count: Option<&mut MaybeUninit<usize>>,
) -> Status {
    ask(registry, ("out_count", out_count), |registry| Some(registry.count_online()))
}

/// How many hives are available. O(hives).
#[unsafe(no_mangle)]
pub extern "C" fn hive_registry_count_available(
    registry: Option<&Registry>,
    out_count: Option<&mut MaybeUninit<usize>>,
) -> Status {
    ask(registry, ("out_count", out_count), |registry| Some(registry.count_available()))
}

// === workers ===

/// The worker of this id; where several hives have one, that on the hive heard last among live hives, else among all.
/// HIVE_NONE if nobody has. O(1).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hive_registry_get_worker(
    registry: Option<&Registry>,
    worker_id: *const c_char,
    worker_id_len: usize,
    out_worker: Option<&mut MaybeUninit<*mut Worker>>,
) -> Status {
    let worker = ("worker_id", worker_id, worker_id_len);
    unsafe {
        ask_about(registry, worker, ("out_worker", out_worker), |registry, id| {
            registry.get_worker(id).map(|(_, worker)| Worker::owned(worker))
        })
    }
}

/// The worker of this id on this hive. HIVE_NONE if it has none. O(1) in the fleet.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hive_registry_get_worker_on(
    registry: Option<&Registry>,
    hive_id: *const c_char,
    hive_id_len: usize,
    worker_id: *const c_char,
    worker_id_len: usize,
    out_worker: Option<&mut MaybeUninit<*mut Worker>>,
) -> Status {
    answer(registry, ("out_worker", out_worker), |registry| {
        let hive_id = unsafe { text("hive_id", hive_id, hive_id_len) }?;
        let worker_id = unsafe { text("worker_id", worker_id, worker_id_len) }?;
        Ok(registry.get_worker_on(hive_id, worker_id).map(Worker::owned))
    })
}

/// Where the worker of this id, chosen as by `hive_registry_get_worker`, takes requests. HIVE_NONE if nobody has this id,
/// or it has no url. O(1).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hive_registry_get_worker_url(
    registry: Option<&Registry>,
    worker_id: *const c_char,
    worker_id_len: usize,
    out_url: Option<&mut MaybeUninit<Box<Text>>>,
) -> Status {
    let worker = ("worker_id", worker_id, worker_id_len);
    unsafe {
        ask_about(registry, worker, ("out_url", out_url), |registry, id| {
            registry.get_worker_url(id).map(Text::owned)
        })
    }
}

/// All workers, live or not. O(workers + hives log hives), as all lists of workers but those named otherwise.
#[unsafe(no_mangle)]
pub extern "C" fn hive_registry_list_all_workers(
    registry: Option<&Registry>,
    out_workers: Option<&mut MaybeUninit<Box<WorkerList>>>,
) -> Status {
    ask(registry, ("out_workers", out_workers), |registry| {
        Some(WorkerList::of_pairs(registry.list_all_workers()))
    })
}

/// Workers whose state is "Idle". As all functions named `find_`: under HIVE_STALE_EXCLUDE of live hives only, for they
/// tell who could be given work. O(k log k) in them.
#[unsafe(no_mangle)]
pub extern "C" fn hive_registry_find_idle_workers(
    registry: Option<&Registry>,
    out_workers: Option<&mut MaybeUninit<Box<WorkerList>>>,
) -> Status {
    ask(registry, ("out_workers", out_workers), |registry| {
        Some(WorkerList::of_pairs(registry.find_idle_workers()))
    })
}

/// Workers that have the model loaded. O(k log k) in them.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hive_registry_find_workers_by_model(
    registry: Option<&Registry>,
    model_id: *const c_char,
    model_id_len: usize,
    out_workers: Option<&mut MaybeUninit<Box<WorkerList>>>,
) -> Status {
    let model = ("model_id", model_id, model_id_len);
    unsafe {
        ask_about(registry, model, ("out_workers", out_workers), |registry, id| {
            Some(WorkerList::of_pairs(registry.find_workers_by_model(id)))
        })
    }
}

/// The same as `hive_registry_find_workers_by_model`, by its other name.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hive_registry_find_workers_with_model(
    registry: Option<&Registry>,
    model_id: *const c_char,
    model_id_len: usize,
    out_workers: Option<&mut MaybeUninit<Box<WorkerList>>>,
) -> Status {
    unsafe { hive_registry_find_workers_by_model(registry, model_id, model_id_len, out_workers) }
}

/// Workers that compute on `backend`; ASCII case does not matter.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hive_registry_find_workers_by_backend(
    registry: Option<&Registry>,
    backend: *const c_char,
    backend_len: usize,
    out_workers: Option<&mut MaybeUninit<Box<WorkerList>>>,
) -> Status {
    answer(registry, ("out_workers", out_workers), |registry| {
        let backend = unsafe { text_of("backend", backend, backend_len, MAX_TEXT_BYTES) }?;
        Ok(Some(WorkerList::of_pairs(registry.find_workers_by_backend(backend))))
    })
}

/// How many workers all hives run, live or not. O(1).
#[unsafe(no_mangle)]
pub extern "C" fn hive_registry_total_worker_count(
    registry: Option<&Registry>,
    out_count: Option<&mut MaybeUninit<usize>>,
) -> Status {
    ask(registry, ("out_count", out_count), |registry| Some(registry.total_worker_count()))
}

/// The hive's workers, by worker id; an empty list if it is not registered. O(workers of the hive).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hive_registry_get_workers_on_hive(
    registry: Option<&Registry>,
    hive_id: *const c_char,
    hive_id_len: usize,
    out_workers: Option<&mut MaybeUninit<Box<WorkerList>>>,
) -> Status {
    let hive = ("hive_id", hive_id, hive_id_len);
    unsafe {
        ask_about(registry, hive, ("out_workers", out_workers), |registry, id| {
            Some(WorkerList::of(registry.get_workers_on_hive(id)))
        })
    }
}

/// Workers whose device has at least `vram_mb` units of 1,048,576 bytes free, as reported.
#[unsafe(no_mangle)]
pub extern "C" fn hive_registry_find_workers_with_capacity(
    registry: Option<&Registry>,
    vram_mb: u64,
    out_workers: Option<&mut MaybeUninit<Box<WorkerList>>>,
) -> Status {
    ask(registry, ("out_workers", out_workers), |registry| {
        Some(WorkerList::of_pairs(registry.find_workers_with_capacity(vram_mb)))
    })
}

/// What a hive sent of its processes; an empty list if it sends the plain form, HIVE_NONE if it is not registered.
/// O(workers of the hive).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hive_registry_get_workers(
    registry: Option<&Registry>,
    hive_id: *const c_char,
    hive_id_len: usize,
    out_processes: Option<&mut MaybeUninit<Box<ProcessList>>>,
) -> Status {
    let hive = ("hive_id", hive_id, hive_id_len);
    unsafe {
        ask_about(registry, hive, ("out_processes", out_processes), |registry, id| {
            let of_hive = |process| (id.into(), process);
            Some(ProcessList::of(registry.get_workers(id)?.into_iter().map(of_hive).collect()))
        })
    }
}

/// What all hives sent of their processes.
#[unsafe(no_mangle)]
pub extern "C" fn hive_registry_get_all_workers(
    registry: Option<&Registry>,
    out_processes: Option<&mut MaybeUninit<Box<ProcessList>>>,
) -> Status {
    ask(registry, ("out_processes", out_processes), |registry| {
        Some(ProcessList::of(registry.get_all_workers()))
    })
}

// === upkeep ===

/// What an eviction pass did.
#[repr(C)]
pub struct Eviction {
    /// Hives evicted.
    pub hives: usize,
    /// Whether it held because over half of the fleet is silent.
    pub held: bool,
    /// Silent hives that remain for a later pass.
    pub remaining: usize,
}

/// Removes hives not heard for `max_age_ms`; in a fleet of 8 or more at most 15 % of it, and for a while nothing when
/// over half is silent. `out_eviction` may be NULL. O(hives + workers of those removed).
#[unsafe(no_mangle)]
pub extern "C" fn hive_registry_evict_stale(
    registry: Option<&Registry>,
    max_age_ms: u64,
    out_eviction: Option<&mut MaybeUninit<Eviction>>,
) -> Status {
    on(registry, |registry| {
        let told = registry.evict_stale(Duration::from_millis(max_age_ms));
        if let Some(out) = out_eviction {
            out.write(Eviction { hives: told.hives, held: told.held, remaining: told.remaining });
        }
        Ok(Status::HIVE_OK)
    })
}
