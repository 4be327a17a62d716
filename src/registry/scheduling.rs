//! The public face, scheduling and upkeep.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};

use super::HiveRegistry;
use super::workers::pair;
use crate::error::HeartbeatError;
use crate::events::Subscription;
use crate::eviction::Eviction;
use crate::hive::HiveCell;
use crate::lease::Lease;
use crate::model::Model;
use crate::names::HiveId;
use crate::policy::Policy;
use crate::reservation::Reservation;
use crate::select::Explanation;
use crate::snapshot::Snapshot;
use crate::state::WorkerInfo;
use crate::stats::{HiveStats, Stats};
use crate::sweeper::Sweeper;
use crate::wire;

/// # Scheduling
impl HiveRegistry {
    /// Chooses as [`find_best_worker_for_model`](Self::find_best_worker_for_model) and counts the reservation in
    /// one step (S5), so that a burst spreads; a reported `max_concurrency` is never exceeded. O(log n) in the
    /// workers of the model, under its short lock.
    pub fn reserve_worker_for_model(&self, model_id: &str) -> Option<Reservation> {
        Some(Reservation::new(self.0.clone(), self.0.reserve(model_id)?))
    }

    /// The same for a holder elsewhere: a lease, released by id or by running out after `lease` (S6).
    /// O(log n) in the workers of the model and in the leases.
    pub fn reserve_detached(&self, model_id: &str, lease: Duration) -> Option<Lease> {
        self.0.lease(model_id, lease)
    }

    /// Lets a lease run for `lease` from now, and tells when it runs out, as [`Lease::expires_at`]. None if it has run
    /// out, was released, or its worker has gone. O(log leases).
    pub fn renew_lease(&self, id: u64, lease: Duration) -> Option<DateTime<Utc>> {
        self.0.renew_lease(id, lease)
    }

    /// Ends a lease. False if it has run out, was released, or its worker has gone. O(log leases).
    pub fn release_lease(&self, id: u64) -> bool {
        self.0.release_lease(id)
    }

    /// Chooses by another policy (S8), which is asked again if its choice has gone, 64 times at most. Whom it leaves out
    /// is not chosen.
    #[must_use]
    pub fn pick(&self, model_id: &str, policy: &dyn Policy) -> Option<(HiveId, Arc<WorkerInfo>)> {
        self.0.pick_with(model_id, policy).map(pair)
    }

    /// Chooses by another policy and counts the reservation, if its choice has room, whatever else changed meanwhile; if
    /// it has none the policy is asked again, 64 times at most. Whom it leaves out is not chosen (S8).
    pub fn reserve_with(&self, model_id: &str, policy: &dyn Policy) -> Option<Reservation> {
        Some(Reservation::new(self.0.clone(), self.0.reserve_with(model_id, policy)?))
    }

    /// The model, looked up once: picks and reserves in about half the time. O(1).
    ///
    /// # Errors
    ///
    /// A name that no worker may have (I2); one model more than [`Limits::models`](crate::Limits) allows, for a
    /// handle keeps its model known.
    pub fn model(&self, model_id: &str) -> Result<Model, HeartbeatError> {
        wire::check_id("model_id", model_id)?;
        Ok(Model::new(self.0.clone(), self.0.models.pin(model_id)?))
    }

    /// Tells why a pick goes where it goes (S9). O(workers of the model + idle workers).
    #[must_use]
    pub fn explain(&self, model_id: &str) -> Explanation {
        self.0.explain(model_id)
    }
}

/// # Upkeep
impl HiveRegistry {
    /// Removes hives not heard for `max_age`, by arrival, whatever the liveness clock; in a fleet of 8 or more
    /// at most 15 % of it, and for a while nothing when over half is silent (L3): each `max_age` that is asked for has
    /// its own while. Gives back what leases and tombstones have run out.
    ///
    /// O(hives + workers of those removed). Picks do not need it: they never return a worker of a silent hive.
    pub fn evict_stale(&self, max_age: Duration) -> Eviction {
        self.0.evict_stale(max_age)
    }

    /// Starts a thread that calls [`evict_stale`](Self::evict_stale) every so often (at least 1 ms apart), until
    /// the handle or the last handle on the registry is dropped (L4). A clock of the user's that panics ends the
    /// thread.
    ///
    /// # Errors
    ///
    /// If the system refuses the thread.
    pub fn spawn_sweeper(&self, every: Duration, max_age: Duration) -> io::Result<Sweeper> {
        Sweeper::spawn(&self.0, every, max_age)
    }

    /// A feed of changes from now on, which holds at most `capacity` unread events (at least 1) (E1).
    #[must_use]
    pub fn subscribe(&self, capacity: usize) -> Subscription {
        self.0.feed.subscribe(capacity)
    }

    /// Counters, and heartbeat statistics of each hive (E2). O(hives log hives).
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.0.reap();
        let told = |cell: &Arc<HiveCell>| cell.arrivals(|arrivals| arrivals.told(cell.id.clone()));
        let mut hives: Vec<_> = self.0.hives.values().iter().filter_map(told).collect();
        hives.sort_unstable_by(|one, other| one.hive_id.cmp(&other.hive_id));
        Stats { hives, events_dropped: self.0.feed.dropped(), ..self.0.counters.total() }
    }

    /// Heartbeat statistics of one hive. O(1).
    #[must_use]
    pub fn hive_stats(&self, hive_id: &str) -> Option<HiveStats> {
        self.0.cell(hive_id)?.arrivals(|arrivals| arrivals.told(hive_id.into()))
    }

    /// An owned copy of everything, consistent for each hive, by hive id (E1). O(hives log hives + workers).
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        self.0.snapshot()
    }
}
