//! A live registry of GPU machines and inference workers, for people who schedule LLM work.
//!
//! **Hives** are machines; each runs **workers**, processes that serve a model. Every hive sends a heartbeat
//! about once a second with the full state of its workers. The registry keeps the newest state in memory and
//! answers a scheduler's questions; the one that matters most,
//! [`find_best_worker_for_model`](HiveRegistry::find_best_worker_for_model), costs the same for ten workers as
//! for a million.
//!
//! ```
//! use hive_registry::HiveRegistry;
//!
//! let registry = HiveRegistry::new();
//! let now = chrono::Utc::now().to_rfc3339();
//! registry.ingest_json(
//!     format!(
//!         r#"{{"hive_id": "gpu-1", "timestamp": "{now}", "workers": [
//!               {{"worker_id": "a", "state": "Idle", "last_heartbeat": "{now}", "health_status": "healthy",
//!                "url": "http://10.0.0.1:9300", "model_id": "llama-3-8b", "gpu_percent": 0.0}},
//!               {{"worker_id": "b", "state": "Busy", "last_heartbeat": "{now}", "health_status": "healthy",
//!                "url": "http://10.0.0.1:9301", "model_id": "llama-3-8b", "gpu_percent": 0.0}}]}}"#
//!     )
//!     .as_bytes(),
//! )?;
//!
//! // Look: nothing is counted.
//! let (hive_id, worker) = registry.find_best_worker_for_model("llama-3-8b").expect("two are eligible");
//! assert_eq!((&*hive_id, &*worker.worker_id), ("gpu-1", "a"));
//!
//! // Take: chosen and counted in one step, so the next one goes elsewhere. Dropping gives it back.
//! let first = registry.reserve_worker_for_model("llama-3-8b").expect("two are eligible");
//! let second = registry.reserve_worker_for_model("llama-3-8b").expect("two are eligible");
//! assert_eq!(first.worker().worker_id, "a");
//! assert_eq!(second.worker().worker_id, "b");
//! # Ok::<(), hive_registry::HeartbeatError>(())
//! ```
//!
//! # Consistency
//!
//! - **Reading.** A heartbeat is applied whole or not at all; once the call that brought it returns, every
//!   query sees it. While it is applied, [`get_hive_state`](HiveRegistry::get_hive_state) sees the hive as
//!   before or as after, never a mixture; lists and picks see each *worker* so.
//! - **Picking.** A worker gone before a call began is never in its answer, nor, unless asked for by
//!   [`StaleMode::Ignore`], one whose hive was silent for the liveness window. If an eligible worker exists
//!   during the whole call, the call finds one.
//! - **Iterating.** Lists copy references, one shard at a time, and order them; two lists of one unchanged
//!   state agree. `list_`, `get_` and counts tell what is registered, live or not; `find_`, as picks, names workers of
//!   live hives only, unless asked for others by [`StaleMode::Ignore`].
//! - **Removing.** [`remove_hive`](HiveRegistry::remove_hive) takes everything out before it returns.
//!   Reservations of a worker that goes end with it.
//! - **Locks.** No guard of an internal lock reaches the caller, and no lock is held while a user's
//!   [`Clock`] or [`Policy`] runs, so both may call the registry.
//!
//! The order of internal locks, the linearisation points and the reasons for each choice are in `DESIGN.md`.
//!
//! # Limits
//!
//! Nothing is persistent: after a restart the heartbeats rebuild it. One registry is one process; several do
//! not talk to each other. At most 2^29 - 2 reservations are held on one worker. Ages are judged in whole
//! milliseconds of a clock that may lag by a timer tick. What an answer promises holds for the moment it was
//! made: a worker may die before the request reaches it.

#![forbid(unsafe_code)]
#![warn(unreachable_pub)]

mod apply;
mod builder;
mod clock;
mod core;
mod error;
mod events;
mod eviction;
mod heartbeat_registry;
mod hive;
mod index;
mod lease;
mod liveness;
mod model;
mod names;
mod order;
mod policy;
mod registry;
mod reservation;
mod resources;
mod room;
mod roster;
mod select;
mod slot;
mod snapshot;
mod state;
mod stats;
mod sweeper;
mod sync;
mod tombstone;
mod wire;

pub use builder::{
    DEFAULT_CONCURRENCY, DEFAULT_LIVENESS_WINDOW, DEFAULT_SHARDS, DEFAULT_WORKER_RAM_GB,
    DEFAULT_WORKER_VRAM_GB, HiveRegistryBuilder, Limits, LivenessClock, StaleMode,
};
pub use clock::{Clock, ManualClock, SystemClock};
#[doc(hidden)]
pub use error::said;
pub use error::{ConfigError, HeartbeatError};
pub use events::{Event, EventKind, FeedError, Subscription};
pub use eviction::{Eviction, GUARDED_FLEET, MAX_EVICTED_PERCENT, MAX_HOLD};
pub use heartbeat_registry::{HeartbeatItem, HeartbeatRegistry};
pub use hive::HeartbeatOutcome;
pub use lease::Lease;
pub use model::Model;
pub use names::{HiveId, ModelId, Text, WorkerId};
pub use order::{MAX_RESET_AFTER, MIN_RESET_AFTER, RESET_INTERVALS, RESET_SPACING};
pub use policy::{Candidate, Candidates, LeastLoaded, Policy, PowerOfChoices, Random, RoundRobin};
pub use registry::HiveRegistry;
pub use reservation::Reservation;
pub use resources::ResourceInfo;
pub use roster::WorkerList;
pub use select::Explanation;
pub use snapshot::{HiveSnapshot, Snapshot, WorkerSnapshot};
pub use state::{Backend, HiveRuntimeState, WorkerHealth, WorkerInfo, WorkerLifecycle};
pub use stats::{HeartbeatCounts, HiveStats, Stats};
pub use sweeper::Sweeper;
pub use tombstone::{ARRIVAL_GRACE, MAX_TOMBSTONES, TOMBSTONE_AGE};
#[doc(hidden)]
pub use wire::too_long;
pub use wire::{
    Capability, Heartbeat, HiveHealth, HiveHeartbeat, HiveHeartbeatPayload, HiveInfo, MAX_ID_BYTES,
    MAX_TEXT_BYTES, MAX_URL_BYTES, OperationalStatus, ProcessStats, Processes, WorkerState,
};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
