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
    /// The best worker for a model.
    fn find_best_worker_for_model<'py>(
        &self,
        py: Python<'py>,
        model_id: &str,
    ) -> PyResult<Option<Found<'py>>> {
        self.run(|registry| Ok(found(py, registry.find_best_worker_for_model(model_id))))
    }

    /// Chooses by a policy.
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

    /// Chooses and counts in one step.
    fn reserve_worker_for_model(&self, model_id: &str) -> PyResult<Option<Reservation>> {
        self.run(|registry| Ok(registry.reserve_worker_for_model(model_id).map(Reservation::new)))
    }

    /// Chooses by a policy and counts.
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

    /// A reservation, or `NoWorkerError`.
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

    /// A reservation that ends by itself.
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

    /// Lets a lease run for `lease` from now.
    fn renew_lease(
        &self,
        lease_id: &Bound<'_, PyAny>,
        lease: &Bound<'_, PyAny>,
    ) -> PyResult<Option<DateTime<Utc>>> {
        let (lease_id, lease) = (whole("lease_id", lease_id)?, seconds("lease", lease)?);
        let renewed = self.run(|registry| Ok(registry.renew_lease(lease_id, lease)))?;
        Ok(renewed.map(|expires_at| moment(expires_at.timestamp_micros())))
    }

    /// Ends a lease.
    fn release_lease(&self, lease_id: &Bound<'_, PyAny>) -> PyResult<bool> {
        let lease_id = whole("lease_id", lease_id)?;
        self.run(|registry| Ok(registry.release_lease(lease_id)))
    }

    /// A model looked up once.
    fn model(&self, model_id: &str) -> PyResult<Model> {
        self.run(|registry| Ok(Model::new(registry.model(model_id)?)))
    }

    /// Why a pick goes where it goes.
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
