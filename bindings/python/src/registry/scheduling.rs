//! Picks, reservations, leases.

use chrono::{DateTime, Utc};
use hive_registry::{self as hive};
use pyo3::prelude::*;

use super::{Found, HiveRegistry, found};
use crate::error::NoWorkerError;
use crate::number::{moment, seconds, whole};
use crate::policy::Policy;
use crate::python::record;
use crate::reservation::{Model, Reservation};
use crate::worker::Worker;

#[pymethods]
impl HiveRegistry {
    /// The best worker: healthy before degraded, the lowest load, then the one reserved least recently. O(1).
    ///
    /// An idle worker of any model if none that has it loaded may be picked. Counts nothing: see `reserve`.
    fn find_best_worker_for_model<'py>(
        &self,
        py: Python<'py>,
        model_id: &str,
    ) -> PyResult<Option<Found<'py>>> {
        self.run(|registry| Ok(found(py, registry.find_best_worker_for_model(model_id))))
    }

    /// Chooses a worker by a policy, and counts nothing: see `reserve_with`. None if nobody may be chosen.
    ///
    /// Candidates are the workers that have the model loaded and may be picked; if there are none, idle workers of any
    /// model. Of equal scores of a callable the one reserved least recently wins. Whom a policy passes over is not
    /// chosen, whatever others do meanwhile; if the one it chose has gone it is asked again, 64 times at most.
    ///
    /// O(1) for the policies that have names, O(d) for `PowerOfChoices(d)`. A callable is called once for each
    /// candidate, in any order, outside every lock: it may use the registry. What it raises is raised here, and the
    /// registry is as before. While others make workers leave, one may be asked about twice; nobody who stays is
    /// passed over.
    ///
    /// Args:
    ///     model_id: the model's name.
    ///     policy: a name, an object, or a callable that scores a candidate: the lowest wins, None or NaN passes it
    ///         over. None is the rule of `find_best_worker_for_model`.
    ///
    /// Returns:
    ///     The hive's id and the worker, as its last heartbeat told it: bytes, percent and counts, not seconds or
    ///     shares.
    ///
    /// Raises:
    ///     ConfigError: there is no policy of that name.
    ///     TypeError: the policy is none of these, or a score is no number.
    #[pyo3(signature = (model_id, policy = None))]
    fn pick<'py>(
        &self,
        py: Python<'py>,
        model_id: &str,
        policy: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Option<Found<'py>>> {
        let policy = Policy::of(policy)?;
        self.run(|registry| Ok(found(py, policy.choose(|policy| registry.pick(model_id, policy))?)))
    }

    /// Chooses and counts in one step, so that a burst spreads; None if no place is free.
    ///
    /// The worker's `max_concurrency` is never passed. O(log n) in the workers of the model.
    fn reserve_worker_for_model(&self, model_id: &str) -> PyResult<Option<Reservation>> {
        self.run(|registry| Ok(registry.reserve_worker_for_model(model_id).map(Reservation::new)))
    }

    /// Chooses by a policy and counts: whom it chose, if a place is free there.
    ///
    /// If none is the policy is asked again, 64 times at most; then nobody is chosen.
    #[pyo3(signature = (model_id, policy = None))]
    fn reserve_with(
        &self,
        model_id: &str,
        policy: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Option<Reservation>> {
        let policy = Policy::of(policy)?;
        self.run(|registry| {
            Ok(policy.choose(|policy| registry.reserve_with(model_id, policy))?.map(Reservation::new))
        })
    }

    /// A reservation, for `with registry.reserve(model) as reservation:`.
    ///
    /// Raises:
    ///     NoWorkerError: no place is free, or the policy chose nobody; the message is what `explain` says.
    #[pyo3(signature = (model_id, policy = None))]
    fn reserve(
        &self,
        py: Python<'_>,
        model_id: &str,
        policy: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Reservation> {
        let reservation = match policy {
            None => self.reserve_worker_for_model(model_id)?,
            policy => self.reserve_with(model_id, policy)?,
        };
        match reservation {
            Some(reservation) => Ok(reservation),
            None => {
                let told = self.explain(py, model_id)?;
                let chose_nobody = policy.is_some() && !told.getattr("pick")?.is_none();
                let whose = if chose_nobody { "the policy chose nobody, else " } else { "" };
                Err(NoWorkerError::new_err(format!("{whose}{}", told.str()?)))
            }
        }
    }

    /// Reserves for a holder elsewhere, until `lease` has passed. None if no place is free.
    fn reserve_detached<'py>(
        &self,
        py: Python<'py>,
        model_id: &str,
        lease: &Bound<'py, PyAny>,
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        let lease = seconds("lease", lease)?;
        let Some(lease) = self.run(|registry| Ok(registry.reserve_detached(model_id, lease)))? else {
            return Ok(None);
        };
        let expires_at = moment(lease.expires_at.timestamp_micros());
        record(py, "Lease", (lease.id, &*lease.hive_id, Worker(lease.worker), expires_at)).map(Some)
    }

    /// Lets a lease run for `lease` from now, and says until when.
    ///
    /// None if it ended: ran out, was released, or its worker has gone.
    fn renew_lease(
        &self,
        lease_id: &Bound<'_, PyAny>,
        lease: &Bound<'_, PyAny>,
    ) -> PyResult<Option<DateTime<Utc>>> {
        let (lease_id, lease) = (whole("lease_id", lease_id)?, seconds("lease", lease)?);
        let renewed = self.run(|registry| Ok(registry.renew_lease(lease_id, lease)))?;
        Ok(renewed.map(|expires_at| moment(expires_at.timestamp_micros())))
    }

    /// Ends a lease. False if it had ended.
    fn release_lease(&self, lease_id: &Bound<'_, PyAny>) -> PyResult<bool> {
        let lease_id = whole("lease_id", lease_id)?;
        self.run(|registry| Ok(registry.release_lease(lease_id)))
    }

    /// A model looked up once.
    ///
    /// Raises:
    ///     HeartbeatError: no worker may have such a name, or it would be one model too many.
    fn model(&self, model_id: &str) -> PyResult<Model> {
        self.run(|registry| Ok(Model::new(registry.model(model_id)?)))
    }

    /// Why a pick goes where it goes. O(workers of the model + idle workers).
    fn explain<'py>(&self, py: Python<'py>, model_id: &str) -> PyResult<Bound<'py, PyAny>> {
        let told = self.detached(py, |registry: &hive::HiveRegistry| registry.explain(model_id))?;
        let fields = (
            &*told.model,
            told.workers,
            told.eligible,
            told.stale,
            told.stale_by_clock,
            told.unhealthy,
            told.loading,
            told.draining,
            told.other,
            told.full,
            told.idle_fallbacks,
            found(py, told.pick),
        );
        record(py, "Explanation", fields)
    }
}
