//! The hives that are known, kept in SQLite.

#![forbid(unsafe_code)]
#![warn(unreachable_pub)]

mod actor;
mod asynchronous;
mod audit;
mod backup;
mod catalog;
mod changes;
pub mod check;
mod cordons;
mod error;
mod heartbeat_writer;
mod hive_rows;
mod hives;
mod keys;
mod legacy;
mod legacy_rows;
mod lock;
mod open;
mod options;
mod readers;
mod record;
mod removals;
mod schema;
mod secrets;
mod transfer;
mod transitions;
mod verify;

pub use actor::Actor;
pub use asynchronous::{AsyncCatalog, AsyncOperator};
pub use audit::{AuditEntry, AuditFault, Hash, from_hex, hex};
pub use backup::{Backup, Progress, Restored, verify_backup_audit};
pub use catalog::HiveCatalog;
pub use changes::{Changes, Operator};
pub use cordons::MAX_CORDONED_WORKERS;
pub use error::{CatalogError, Result};
pub use heartbeat_writer::{
    Adoption, FLUSH_INTERVAL, Flush, HeartbeatWriter, LastFlush, MAX_PENDING, WriterLimits,
};
pub use hives::{HiveCounts, HiveFilter, HivePage, Upsert};
pub use legacy::{BeehiveNode, DEFAULT_SSH_PORT};
pub use lock::{ServeLock, served_by};
pub use open::check_sqlite;
pub use options::{DEFAULT_PATIENCE, DEFAULT_READERS, Options, WallClock, default_path};
pub use record::{
    Cordon, Cordons, CpuDevice, DEFAULT_PORT, DeviceCapabilities, GpuDevice, HivePatch, HiveRecord,
    HiveStatus,
};
pub use removals::REMOVAL_MS;
pub use schema::{Migration, SCHEMA_VERSION};
pub use secrets::{MAX_SECRET_BYTES, MAX_SECRETS, Rotation, Secret};
pub use transfer::{Format, ImportPlan};
pub use transitions::{MAX_TRANSITIONS, Transition};
pub use verify::{Leftover, ValueFault, Verification};
