//! Picks, reservations, leases, models and explanations.

use std::ffi::c_char;
use std::mem::MaybeUninit;
use std::time::Duration;

use hive_registry::{Model as Looked, Reservation as Held};

use crate::policy::{Checked, Policy};
use crate::registry::{Registry, answer, ask_about, on};
use crate::status::{Status, guard, guard_drop};
use crate::text::{Str, out, some, text};
use crate::worker::Worker;

/// One place on one worker, given back when it is freed. It never runs out; it ends by itself if its worker goes.
pub struct Reservation(Held);

/// A model looked up once, for those who pick from it again and again. While it exists the model is known, and counts
/// towards `max_models`. May be used from any thread at once.
pub struct Model(Looked);

/// A reservation that ends by itself, for a holder elsewhere.
#[repr(C)]
pub struct Lease {
    /// By which it is renewed and released; never used again.
    pub id: u64,
    /// When it runs out unless it is renewed, milliseconds since 1970.
    pub expires_at_ms: i64,
}

/// Why a pick goes where it goes. Each worker with the model loaded is counted once, under the first reason that
/// applies, in the order of the fields from `stale` on, `stale_by_clock` aside.
#[repr(C)]
pub struct Explanation {
    /// Workers that have it loaded.
    pub workers: usize,
    /// Of these, workers that may be picked.
    pub eligible: usize,
    /// Their hive was not heard within the liveness window.
    pub stale: usize,
    /// Of the stale, those whose hive's last heartbeat arrived within the window: what its clock says, and it alone,
    /// makes them stale. See `clock_skew_ms` of `hive_hive_stats_t`.
    pub stale_by_clock: usize,
    /// They or their hive are unhealthy.
    pub unhealthy: usize,
    /// They are loading.
    pub loading: usize,
    /// They are draining, or their hive is stopping or stopped.
    pub draining: usize,
    /// They are in another state that takes no requests.
    pub other: usize,
    /// They hold as many reservations as they take.
    pub full: usize,
    /// Eligible idle workers of any model or none, among which a pick falls back when `eligible` is 0.
    pub idle_fallbacks: usize,
}

// === picks ===

/// The best worker for the model: healthy before degraded, the lowest load, then the one reserved least recently; an
/// idle worker of any model if none that has it loaded may be picked; HIVE_NONE if there is none. Counts nothing: see
/// `hive_registry_reserve_worker_for_model`. O(1), waits for nobody, allocates nothing.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hive_registry_find_best_worker_for_model(
    registry: Option<&Registry>,
    model_id: *const c_char,
    model_id_len: usize,
    out_worker: Option<&mut MaybeUninit<*mut Worker>>,
) -> Status {
    let model = ("model_id", model_id, model_id_len);
    unsafe {
        ask_about(registry, model, ("out_worker", out_worker), |registry, id| {
            registry.find_best_worker_for_model(id).map(|(_, worker)| Worker::owned(worker))
        })
    }
}

/// Chooses by another policy; NULL is the default rule. If the one it chose has gone it is asked again, 64 times at most.
/// HIVE_NONE if it chose nobody: whom a policy passes over is not chosen, whatever others do meanwhile.
///
/// Errors: HIVE_INVALID_ARGUMENT.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hive_registry_pick(
    registry: Option<&Registry>,
    model_id: *const c_char,
    model_id_len: usize,
    policy: Option<&Policy>,
    out_worker: Option<&mut MaybeUninit<*mut Worker>>,
) -> Status {
    answer(registry, ("out_worker", out_worker), |registry| {
        let model_id = unsafe { text("model_id", model_id, model_id_len) }?;
        let found = registry.pick(model_id, Checked::of(policy)?.as_dyn());
        Ok(found.map(|(_, worker)| Worker::owned(worker)))
    })
}

// === reservations ===

/// Chooses as `hive_registry_find_best_worker_for_model` and counts the reservation in one step, so that a burst
/// spreads; the worker's max_concurrency is never exceeded. HIVE_NONE if no place is free. O(log n) in the workers of
/// the model.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hive_registry_reserve_worker_for_model(
    registry: Option<&Registry>,
    model_id: *const c_char,
    model_id_len: usize,
    out_reservation: Option<&mut MaybeUninit<Box<Reservation>>>,
) -> Status {
    let model = ("model_id", model_id, model_id_len);
    unsafe {
        ask_about(registry, model, ("out_reservation", out_reservation), |registry, id| {
            registry.reserve_worker_for_model(id).map(|held| Box::new(Reservation(held)))
        })
    }
}

/// Chooses by another policy, as `hive_registry_pick`, and counts the reservation: of whom it chose, if a place is free
/// there. If none is, the policy is asked again, 64 times at most; then nobody is chosen.
///
/// Errors: HIVE_INVALID_ARGUMENT.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hive_registry_reserve_with(
    registry: Option<&Registry>,
    model_id: *const c_char,
    model_id_len: usize,
    policy: Option<&Policy>,
    out_reservation: Option<&mut MaybeUninit<Box<Reservation>>>,
) -> Status {
    answer(registry, ("out_reservation", out_reservation), |registry| {
        let model_id = unsafe { text("model_id", model_id, model_id_len) }?;
        let held = registry.reserve_with(model_id, Checked::of(policy)?.as_dyn());
        Ok(held.map(|held| Box::new(Reservation(held))))
    })
}

/// The worker as it was when it was chosen, borrowed from the reservation; NULL for NULL.
#[unsafe(no_mangle)]
pub extern "C" fn hive_reservation_worker(reservation: Option<&Reservation>) -> *const Worker {
    reservation.map_or(std::ptr::null(), |reservation| Worker::view(reservation.0.shared_worker()))
}

/// Gives the place back. O(log n) in the workers of the model. NULL does nothing.
#[unsafe(no_mangle)]
pub extern "C" fn hive_reservation_free(reservation: Option<Box<Reservation>>) {
    guard_drop(reservation);
}

// === leases ===

/// Reserves for a holder elsewhere, until `lease_ms` have passed. `out_worker` may be NULL, else becomes the chosen
/// worker, owned. HIVE_NONE if no place is free.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hive_registry_reserve_detached(
    registry: Option<&Registry>,
    model_id: *const c_char,
    model_id_len: usize,
    lease_ms: u64,
    out_lease: Option<&mut MaybeUninit<Lease>>,
    out_worker: Option<&mut MaybeUninit<*mut Worker>>,
) -> Status {
    on(registry, |registry| {
        let out = out("out_lease", out_lease)?;
        let model_id = unsafe { text("model_id", model_id, model_id_len) }?;
        let Some(lease) = registry.reserve_detached(model_id, Duration::from_millis(lease_ms)) else {
            return Ok(Status::HIVE_NONE);
        };
        out.write(Lease { id: lease.id, expires_at_ms: lease.expires_at.timestamp_millis() });
        if let Some(out) = out_worker {
            out.write(Worker::owned(lease.worker));
        }
        Ok(Status::HIVE_OK)
    })
}

/// Lets a lease run for `lease_ms` from now; when it runs out is written to `out_expires_at_ms`, milliseconds since 1970,
/// unless that is NULL. HIVE_NONE if it has run out, was released, or its worker has gone.
#[unsafe(no_mangle)]
pub extern "C" fn hive_registry_renew_lease(
    registry: Option<&Registry>,
    lease_id: u64,
    lease_ms: u64,
    out_expires_at_ms: Option<&mut MaybeUninit<i64>>,
) -> Status {
    on(registry, |registry| {
        let Some(expires_at) = registry.renew_lease(lease_id, Duration::from_millis(lease_ms)) else {
            return Ok(Status::HIVE_NONE);
        };
        if let Some(out) = out_expires_at_ms {
            out.write(expires_at.timestamp_millis());
        }
        Ok(Status::HIVE_OK)
    })
}

/// Ends a lease. HIVE_NONE if it has run out, was released, or its worker has gone.
#[unsafe(no_mangle)]
pub extern "C" fn hive_registry_release_lease(registry: Option<&Registry>, lease_id: u64) -> Status {
    on(registry, |registry| Ok(Status::whether(registry.release_lease(lease_id))))
}

// === models ===

/// Looks a model up once.
///
/// Errors: HIVE_INVALID_FIELD for a name that no worker may have, HIVE_OVER_LIMIT for one model too many.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hive_registry_model(
    registry: Option<&Registry>,
    model_id: *const c_char,
    model_id_len: usize,
    out_model: Option<&mut MaybeUninit<Box<Model>>>,
) -> Status {
    answer(registry, ("out_model", out_model), |registry| {
        let model_id = unsafe { text("model_id", model_id, model_id_len) }?;
        Ok(Some(Box::new(Model(registry.model(model_id)?))))
    })
}

/// Its name, valid as long as the model; empty for NULL.
#[unsafe(no_mangle)]
pub extern "C" fn hive_model_id(model: Option<&Model>) -> Str {
    model.map_or(Str::EMPTY, |model| Str::of(model.0.id()))
}

/// As `hive_registry_find_best_worker_for_model`.
#[unsafe(no_mangle)]
pub extern "C" fn hive_model_find_best_worker(
    model: Option<&Model>,
    out_worker: Option<&mut MaybeUninit<*mut Worker>>,
) -> Status {
    guard(|| {
        let (model, out) = (some("model", model)?, out("out_worker", out_worker)?);
        let Some((_, worker)) = model.0.find_best_worker() else { return Ok(Status::HIVE_NONE) };
        out.write(Worker::owned(worker));
        Ok(Status::HIVE_OK)
    })
}

/// As `hive_registry_reserve_worker_for_model`.
#[unsafe(no_mangle)]
pub extern "C" fn hive_model_reserve_worker(
    model: Option<&Model>,
    out_reservation: Option<&mut MaybeUninit<Box<Reservation>>>,
) -> Status {
    guard(|| {
        let (model, out) = (some("model", model)?, out("out_reservation", out_reservation)?);
        let Some(held) = model.0.reserve_worker() else { return Ok(Status::HIVE_NONE) };
        out.write(Box::new(Reservation(held)));
        Ok(Status::HIVE_OK)
    })
}

/// NULL does nothing.
#[unsafe(no_mangle)]
pub extern "C" fn hive_model_free(model: Option<Box<Model>>) {
    guard_drop(model);
}

// === explanations ===

/// Tells why a pick goes where it goes. `out_pick` may be NULL, else becomes what the pick would be, owned, or NULL if
/// it would be nobody. O(workers of the model + idle workers).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hive_registry_explain(
    registry: Option<&Registry>,
    model_id: *const c_char,
    model_id_len: usize,
    out_explanation: Option<&mut MaybeUninit<Explanation>>,
    out_pick: Option<&mut MaybeUninit<*mut Worker>>,
) -> Status {
    on(registry, |registry| {
        let out = out("out_explanation", out_explanation)?;
        let told = registry.explain(unsafe { text("model_id", model_id, model_id_len) }?);
        out.write(Explanation {
            workers: told.workers,
            eligible: told.eligible,
            stale: told.stale,
            stale_by_clock: told.stale_by_clock,
            unhealthy: told.unhealthy,
            loading: told.loading,
            draining: told.draining,
            other: told.other,
            full: told.full,
            idle_fallbacks: told.idle_fallbacks,
        });
        if let Some(out) = out_pick {
            out.write(told.pick.map_or(std::ptr::null_mut(), |(_, worker)| Worker::owned(worker)));
        }
        Ok(Status::HIVE_OK)
    })
}
