//! The public face: routes and delegates. Here intake and hives; the rest stands beside.

mod scheduling;
mod workers;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use crate::apply::{Source, Update};
use crate::builder::{HiveRegistryBuilder, Limits};
use crate::core::Core;
use crate::error::HeartbeatError;
use crate::hive::{HeartbeatOutcome, HiveCell};
use crate::lease::wall_time;
use crate::liveness::View;
use crate::names::HiveId;
use crate::resources::ResourceInfo;
use crate::state::HiveRuntimeState;
use crate::wire::{
    self, Beat, Body, Heartbeat, HiveHeartbeat, HiveHeartbeatPayload, HiveInfo, ProcessStats, ProcessTwin,
    Processes, Unread,
};

/// The live registry of hives and their workers.
///
/// A clone is another handle on the same registry and costs one reference count. Everything may be called
/// from any thread; nothing waits for anything but short locks.
///
/// See the [crate's guide](crate) for what its answers promise.
#[derive(Clone)]
pub struct HiveRegistry(pub(crate) Arc<Core>);

impl Default for HiveRegistry {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for HiveRegistry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HiveRegistry")
            .field("hives", &self.hive_count())
            .field("workers", &self.total_worker_count())
            .field("models", &self.0.models.len())
            .finish_non_exhaustive()
    }
}

impl HiveRegistry {
    /// An empty registry with the defaults of the [builder](Self::builder).
    #[must_use]
    pub fn new() -> Self {
        // The defaults are in bounds, so there is nothing to refuse.
        HiveRegistryBuilder::new().build_unchecked()
    }

    /// To configure one.
    pub fn builder() -> HiveRegistryBuilder {
        HiveRegistryBuilder::new()
    }

    /// The bounds it was built with (I2). O(1).
    #[must_use]
    pub fn limits(&self) -> Limits {
        self.0.config.limits
    }

    pub(crate) fn over(core: Core) -> Self {
        Self(Arc::new(core))
    }
}

/// # Intake
impl HiveRegistry {
    /// Applies a heartbeat: replaces the hive's whole worker list, whole or not at all (I1).
    ///
    /// Once it returns, every query sees it. O(workers of the hive), and O(log n) in the workers of the model
    /// for each worker whose key changed.
    ///
    /// # Errors
    ///
    /// What [`HeartbeatError`] says (I2); a `payload.hive_id` other than `hive_id` too. Then nothing changed.
    ///
    /// ```
    /// use hive_registry::{HeartbeatOutcome, HiveHeartbeatPayload, HiveRegistry, WorkerState};
    ///
    /// let registry = HiveRegistry::new();
    /// let heartbeat = HiveHeartbeatPayload {
    ///     hive_id: "gpu-1".into(),
    ///     timestamp: chrono::Utc::now().to_rfc3339(),
    ///     workers: vec![WorkerState { worker_id: "w1".into(), ..Default::default() }],
    ///     ..Default::default()
    /// };
    /// assert_eq!(registry.update_hive_state("gpu-1", heartbeat)?, HeartbeatOutcome::Registered);
    /// assert_eq!(registry.get_worker_count("gpu-1"), Some(1));
    /// # Ok::<(), hive_registry::HeartbeatError>(())
    /// ```
    pub fn update_hive_state(
        &self,
        hive_id: &str,
        payload: HiveHeartbeatPayload,
    ) -> Result<HeartbeatOutcome, HeartbeatError> {
        match named(hive_id, &payload.hive_id) {
            Ok(()) => self.ingest_payload(&payload),
            Err(error) => self.0.refused(Some(hive_id), error),
        }
    }

    /// Applies a heartbeat that the caller keeps: for replays, which fill one payload again and again.
    ///
    /// # Errors
    ///
    /// What [`HeartbeatError`] says; then nothing changed.
    pub fn ingest_payload(&self, payload: &HiveHeartbeatPayload) -> Result<HeartbeatOutcome, HeartbeatError> {
        self.ingest_heartbeat(&payload.into())
    }

    /// Applies a heartbeat in the telemetry form; otherwise as [`update_hive_state`](Self::update_hive_state).
    ///
    /// # Errors
    ///
    /// What [`HeartbeatError`] says; then nothing changed.
    pub fn update_hive(&self, heartbeat: HiveHeartbeat) -> Result<HeartbeatOutcome, HeartbeatError> {
        self.ingest_heartbeat(&(&heartbeat).into())
    }

    /// Applies a heartbeat from JSON, of any form: `hive_id` marks the plain one, `hive` the telemetry one, and
    /// `hive_id` with the `type` "telemetry" or "hive_telemetry" the event of a stream, which says the same flat. A
    /// byte order mark before it is skipped.
    ///
    /// O(bytes), copying no string that did not change.
    ///
    /// # Errors
    ///
    /// What [`HeartbeatError`] says; then nothing changed.
    ///
    /// ```
    /// use hive_registry::HiveRegistry;
    ///
    /// let registry = HiveRegistry::new();
    /// let error = registry.ingest_json(br#"{"hive_id": "gpu-1", "timestamp": "noon", "workers": []}"#).unwrap_err();
    /// assert_eq!(error.to_string(), r#"timestamp: "noon" refused: RFC 3339, as 2025-10-21T10:00:00Z"#);
    /// assert_eq!(registry.hive_count(), 0);
    /// ```
    pub fn ingest_json(&self, body: &[u8]) -> Result<HeartbeatOutcome, HeartbeatError> {
        self.take_json(body, None, |_| Ok(()))
    }

    /// As [`ingest_json`](Self::ingest_json), of the plain form alone and of this hive alone.
    ///
    /// # Errors
    ///
    /// What [`HeartbeatError`] says; then nothing changed.
    pub fn update_hive_state_json(
        &self,
        hive_id: &str,
        body: &[u8],
    ) -> Result<HeartbeatOutcome, HeartbeatError> {
        self.take_json(body, Some(hive_id), |body| plain_of(hive_id, body))
    }

    /// As [`ingest_json`](Self::ingest_json), of the telemetry form alone.
    ///
    /// # Errors
    ///
    /// What [`HeartbeatError`] says; then nothing changed.
    pub fn update_hive_json(&self, body: &[u8]) -> Result<HeartbeatOutcome, HeartbeatError> {
        self.take_json(body, None, telemetry)
    }

    /// As [`update_workers`](Self::update_workers), from a JSON array of processes.
    ///
    /// # Errors
    ///
    /// What [`HeartbeatError`] says; then nothing changed.
    pub fn update_workers_json(
        &self,
        hive_id: &str,
        processes: &[u8],
    ) -> Result<HeartbeatOutcome, HeartbeatError> {
        match self.bounded(processes).and_then(wire::read) {
            Ok(processes) => self.ingest_processes(hive_id, &processes),
            Err(error) => self.0.refused(Some(hive_id), error),
        }
    }

    /// Applies a heartbeat of any form that was read by whatever deserializer; otherwise as
    /// [`ingest_json`](Self::ingest_json).
    ///
    /// # Errors
    ///
    /// What [`HeartbeatError`] says; then nothing changed.
    pub fn ingest_heartbeat(&self, heartbeat: &Heartbeat<'_>) -> Result<HeartbeatOutcome, HeartbeatError> {
        self.take(&heartbeat.0, None, |_| Ok(()))
    }

    /// As [`ingest_heartbeat`](Self::ingest_heartbeat), of the plain form alone and of this hive alone.
    ///
    /// # Errors
    ///
    /// What [`HeartbeatError`] says; then nothing changed.
    pub fn ingest_plain(
        &self,
        hive_id: &str,
        heartbeat: &Heartbeat<'_>,
    ) -> Result<HeartbeatOutcome, HeartbeatError> {
        self.take(&heartbeat.0, Some(hive_id), |body| plain_of(hive_id, body))
    }

    /// As [`ingest_heartbeat`](Self::ingest_heartbeat), of the telemetry form alone.
    ///
    /// # Errors
    ///
    /// What [`HeartbeatError`] says; then nothing changed.
    pub fn ingest_telemetry(&self, heartbeat: &Heartbeat<'_>) -> Result<HeartbeatOutcome, HeartbeatError> {
        self.take(&heartbeat.0, None, telemetry)
    }

    /// As [`update_workers`](Self::update_workers), of processes that were read by whatever deserializer.
    ///
    /// # Errors
    ///
    /// What [`HeartbeatError`] says; then nothing changed.
    pub fn ingest_processes(
        &self,
        hive_id: &str,
        processes: &Processes<'_>,
    ) -> Result<HeartbeatOutcome, HeartbeatError> {
        self.try_update_workers(hive_id, &processes.0).or_else(|error| self.0.refused(Some(hive_id), error))
    }

    /// Refuses a heartbeat that could not be read: counts it in the [statistics](Self::stats), and in those of its hive if
    /// it is known whose it is, and gives the error back.
    ///
    /// # Errors
    ///
    /// Always, `error`.
    pub fn refuse<T>(&self, hive_id: Option<&str>, error: HeartbeatError) -> Result<T, HeartbeatError> {
        self.0.refused(hive_id, error)
    }

    /// Of a heartbeat that must be this hive's, the refusal is, too.
    fn take_json(
        &self,
        body: &[u8],
        hive_id: Option<&str>,
        fits: impl FnOnce(&Body<'_>) -> Result<(), HeartbeatError>,
    ) -> Result<HeartbeatOutcome, HeartbeatError> {
        let json = match self.bounded(body) {
            Ok(json) => json,
            Err(error) => {
                let known = || wire::sketch(&body[..self.0.config.limits.heartbeat_bytes]).hive_id;
                return match hive_id {
                    None => self.0.refused(known().as_deref(), error),
                    whose => self.0.refused(whose, error),
                };
            }
        };
        match wire::parse(json) {
            Ok(body) => self.take(&body, hive_id, fits),
            Err(Unread { error, hive_id: known }) => self.0.refused(hive_id.or(known.as_deref()), error),
        }
    }

    /// JSON that is not too long, less the byte order mark before it.
    fn bounded<'j>(&self, json: &'j [u8]) -> Result<&'j [u8], HeartbeatError> {
        let bound = self.0.config.limits.heartbeat_bytes;
        match json.len() > bound {
            true => Err(HeartbeatError::OverLimit { limit: "heartbeat_bytes", wanted: json.len(), bound }),
            false => Ok(wire::unmarked(json)),
        }
    }

    /// Replaces a hive's workers by processes and counts it as heard now (I6). Which of the hive's own heartbeats comes
    /// next is as it was; what is known of the hive itself stays; an unknown hive is registered, tombstone or not.
    ///
    /// # Errors
    ///
    /// What [`HeartbeatError`] says; then nothing changed.
    pub fn update_workers(
        &self,
        hive_id: &str,
        processes: Vec<ProcessStats>,
    ) -> Result<HeartbeatOutcome, HeartbeatError> {
        self.ingest_processes(hive_id, &(&*processes).into())
    }

    fn try_update_workers(
        &self,
        hive_id: &str,
        processes: &[ProcessTwin<'_>],
    ) -> Result<HeartbeatOutcome, HeartbeatError> {
        wire::check_id("hive_id", hive_id)?;
        loop {
            // What the workers have from their hive is looked up first, and again under the hive's lock.
            let seen = self.get_hive_state(hive_id);
            let info = seen.as_ref().and_then(|state| state.hive.as_deref());
            let capabilities = seen.as_ref().and_then(|state| state.capabilities.as_deref());
            let now = wall_time(self.0.config.clock.wall_ms());
            let limits = &self.0.config.limits;
            let (workers, complaints) = wire::processes(processes, info, capabilities, now, limits)?;
            let source = Source::Call { seen: seen.clone() };
            if let Some(outcome) = self.0.apply(hive_id, Update { source, workers: Some(workers) })? {
                self.0.complained(hive_id, &complaints);
                return Ok(outcome);
            }
        }
    }

    /// Counts a heartbeat that a binding refused in the words of [`HeartbeatError`] before it read it.
    #[doc(hidden)]
    pub fn note_refusal(&self, hive_id: Option<&str>, words: &str) {
        self.0.note_refusal(hive_id, words);
    }

    fn take(
        &self,
        body: &Body<'_>,
        whose: Option<&str>,
        fits: impl FnOnce(&Body<'_>) -> Result<(), HeartbeatError>,
    ) -> Result<HeartbeatOutcome, HeartbeatError> {
        if let Err(error) = fits(body) {
            return self.0.refused(whose.or(Some(body.hive_id())), error);
        }
        let beat = Beat::check(body, &self.0.config.limits);
        let applied = beat.and_then(|Beat { hive_id, order, hive, workers, complaints }| {
            let outcome =
                self.0.apply(hive_id, Update { source: Source::Heartbeat { order, hive }, workers })?;
            // Only a call is asked to look again.
            let outcome = outcome.unwrap_or(HeartbeatOutcome::Superseded);
            if outcome != HeartbeatOutcome::Removed {
                self.0.complained(hive_id, &complaints);
            }
            Ok(outcome)
        });
        applied.or_else(|error| self.0.refused(Some(body.hive_id()), error))
    }
}

/// Whether it is a plain one of this hive.
fn plain_of(hive_id: &str, body: &Body<'_>) -> Result<(), HeartbeatError> {
    match body {
        Body::Plain(_) => named(hive_id, body.hive_id()),
        Body::Telemetry(_) => Err(HeartbeatError::malformed(".", "missing field `hive_id`")),
    }
}

fn telemetry(body: &Body<'_>) -> Result<(), HeartbeatError> {
    match body {
        Body::Plain(_) => Err(HeartbeatError::malformed(".", "missing field `hive`")),
        Body::Telemetry(_) => Ok(()),
    }
}

/// Whether a heartbeat is of the hive that it is given for (I2).
fn named(hive_id: &str, found: &str) -> Result<(), HeartbeatError> {
    if found == hive_id {
        return Ok(());
    }
    Err(wire::invalid("hive_id", found, format_args!("the hive_id it is given for, {hive_id:?}")))
}

/// # Hives
impl HiveRegistry {
    /// One heartbeat's state, never a mixture of two (C1). O(1).
    #[must_use]
    pub fn get_hive_state(&self, hive_id: &str) -> Option<Arc<HiveRuntimeState>> {
        self.0.cell(hive_id)?.state()
    }

    /// Hives heard less than `max_age_ms` milliseconds ago (L1). O(hives log hives).
    ///
    /// ```
    /// # use hive_registry::{HiveHeartbeatPayload, HiveRegistry};
    /// # let registry = HiveRegistry::new();
    /// # let timestamp = chrono::Utc::now().to_rfc3339();
    /// # registry.update_hive_state("gpu-1", HiveHeartbeatPayload { hive_id: "gpu-1".into(), timestamp, ..Default::default() })?;
    /// for hive_id in registry.list_active_hives(30_000) {
    ///     let Some(resources) = registry.get_available_resources(&hive_id) else { continue };
    ///     println!("{hive_id}: {} workers, {} GB VRAM used", resources.worker_count, resources.vram_used_gb);
    /// }
    /// # assert_eq!(registry.list_active_hives(30_000), ["gpu-1"]);
    /// # Ok::<(), hive_registry::HeartbeatError>(())
    /// ```
    #[must_use]
    pub fn list_active_hives(&self, max_age_ms: i64) -> Vec<HiveId> {
        let view = self.0.view_of_age(max_age_ms);
        self.ids(|cell| cell.pulse.is_live(&view))
    }

    /// Memory in use, total and free (G1, G2), whether the hive is live or not. O(workers of the hive).
    ///
    /// ```
    /// # use hive_registry::{HiveHeartbeatPayload, HiveRegistry, WorkerState};
    /// # let registry = HiveRegistry::new();
    /// # for (hive, gb) in [("gpu-1", 8), ("gpu-2", 3)] {
    /// #     let worker = WorkerState { worker_id: "w".into(), vram_bytes: Some(gb * 1_000_000_000), ..Default::default() };
    /// #     let timestamp = chrono::Utc::now().to_rfc3339();
    /// #     registry.update_hive_state(hive, HiveHeartbeatPayload {
    /// #         hive_id: hive.into(), timestamp, workers: vec![worker], ..Default::default()
    /// #     })?;
    /// # }
    /// // The hive with the least VRAM in use.
    /// let roomiest = registry
    ///     .list_online_hives()
    ///     .into_iter()
    ///     .filter_map(|hive| Some((registry.get_available_resources(&hive)?.vram_used_gb, hive)))
    ///     .min_by(|(a, _), (b, _)| a.total_cmp(b));
    /// assert_eq!(roomiest, Some((3.0, "gpu-2".into())));
    /// # Ok::<(), hive_registry::HeartbeatError>(())
    /// ```
    #[must_use]
    pub fn get_available_resources(&self, hive_id: &str) -> Option<ResourceInfo> {
        Some(ResourceInfo::of(&*self.get_hive_state(hive_id)?))
    }

    /// Removes a hive and its workers from everything at once; true if it was there. For 10 minutes a heartbeat
    /// made before the removal, or no newer than the last one, is dropped (L5). O(workers of the hive).
    pub fn remove_hive(&self, hive_id: &str) -> bool {
        self.0.remove_hive(hive_id)
    }

    /// All registered hives, live or not (C4). O(hives log hives).
    #[must_use]
    pub fn list_all_hives(&self) -> Vec<HiveId> {
        self.ids(|_| true)
    }

    /// How many workers the hive runs; none if it is not registered. O(1).
    #[must_use]
    pub fn get_worker_count(&self, hive_id: &str) -> Option<usize> {
        Some(self.get_hive_state(hive_id)?.worker_count)
    }

    /// Whether it was heard less than `max_age_ms` milliseconds ago (L1). O(1).
    ///
    /// ```
    /// # use hive_registry::{HiveHeartbeatPayload, HiveRegistry};
    /// let registry = HiveRegistry::new();
    /// let timestamp = chrono::Utc::now().to_rfc3339();
    /// registry.update_hive_state("gpu-1", HiveHeartbeatPayload {
    ///     hive_id: "gpu-1".into(), timestamp, ..Default::default()
    /// })?;
    /// assert!(registry.is_hive_online("gpu-1", 30_000));
    /// assert!(!registry.is_hive_online("gpu-2", 30_000));
    /// # Ok::<(), hive_registry::HeartbeatError>(())
    /// ```
    #[must_use]
    pub fn is_hive_online(&self, hive_id: &str, max_age_ms: i64) -> bool {
        let view = self.0.view_of_age(max_age_ms);
        self.0.cell(hive_id).is_some_and(|cell| cell.state().is_some() && cell.pulse.is_live(&view))
    }

    /// How many hives are registered, live or not. O(1).
    #[must_use]
    pub fn hive_count(&self) -> usize {
        self.0.registered.load(Relaxed)
    }

    /// What the hive last said about itself; none if its newest heartbeat says nothing of it. O(1).
    #[must_use]
    pub fn get_hive(&self, hive_id: &str) -> Option<Arc<HiveInfo>> {
        self.get_hive_state(hive_id)?.hive.clone()
    }

    /// Hives heard within the liveness window. O(hives log hives).
    #[must_use]
    pub fn list_online_hives(&self) -> Vec<HiveId> {
        let view = self.window();
        self.ids(|cell| cell.pulse.is_live(&view))
    }

    /// Online hives that are, where they sent their status, ready or busy and not unhealthy (G3).
    /// O(hives log hives).
    #[must_use]
    pub fn list_available_hives(&self) -> Vec<HiveId> {
        let view = self.window();
        self.ids(|cell| is_available(cell, &view))
    }

    /// How many hives were heard within the liveness window. O(hives).
    #[must_use]
    pub fn count_online(&self) -> usize {
        let view = self.window();
        self.cells(|cell| cell.pulse.is_live(&view)).len()
    }

    /// How many hives are available (G3). O(hives).
    #[must_use]
    pub fn count_available(&self) -> usize {
        let view = self.window();
        self.cells(|cell| is_available(cell, &view)).len()
    }

    pub(crate) fn window(&self) -> View<'_> {
        self.0.view_of_age(self.0.config.window_ms)
    }

    fn cells(&self, keep: impl Fn(&HiveCell) -> bool) -> Vec<Arc<HiveCell>> {
        let mut cells = self.0.hives.values();
        cells.retain(|cell| cell.state().is_some() && keep(cell));
        cells
    }

    fn ids(&self, keep: impl Fn(&HiveCell) -> bool) -> Vec<HiveId> {
        let mut ids: Vec<_> = self.cells(keep).iter().map(|cell| cell.id.clone()).collect();
        ids.sort_unstable();
        ids
    }

    /// The states of all hives, by hive id.
    pub(crate) fn states(&self) -> Vec<Arc<HiveRuntimeState>> {
        self.states_of(|_| true)
    }

    /// Those of the hives that may be given work (C4), by hive id.
    pub(crate) fn live_states(&self) -> Vec<Arc<HiveRuntimeState>> {
        let view = self.0.view();
        self.states_of(|cell| cell.pulse.is_live(&view))
    }

    fn states_of(&self, keep: impl Fn(&HiveCell) -> bool) -> Vec<Arc<HiveRuntimeState>> {
        let cells = self.cells(keep);
        let mut states: Vec<_> = cells.iter().filter_map(|cell| cell.state()).collect();
        states.sort_by_cached_key(|state| state.hive_id.clone());
        states
    }
}

fn is_available(cell: &HiveCell, view: &View<'_>) -> bool {
    let serves = |state: &Arc<HiveRuntimeState>| state.hive.as_ref().is_none_or(|hive| hive.serves());
    cell.pulse.is_live(view) && cell.state().as_ref().is_some_and(serves)
}
