//! The hives that are known, kept in SQLite: how each is reached, what it can do, how it was last seen.
//!
//! The registry (`hive-registry`) knows what is alive now and forgets it with the process. The catalog knows which
//! hives exist, across restarts, and who changed what.
//!
//! ```
//! use hive_catalog::{Actor, HiveCatalog, HiveFilter, HiveRecord, HiveStatus};
//!
//! let catalog = HiveCatalog::open_in_memory()?; // or HiveCatalog::open("path/to/beehives.db")
//!
//! // Who changes something has a name, which stands in the audit log.
//! let ann = catalog.as_actor(Actor::cli("ann")?);
//! let mut hive = HiveRecord::new("gpu-1");
//! hive.host = Some("192.168.1.100".to_owned()); // of its own service, and for ssh: one given fills both
//! ann.add_hive(&hive)?;
//! ann.update_status("gpu-1", HiveStatus::Online, Some("its first heartbeat"))?;
//!
//! // Times of heartbeats are no change: they need no name.
//! catalog.record_heartbeats(&[("gpu-1", 1_800_000_000_000)])?;
//!
//! let page = catalog.list_hives(&HiveFilter { status: Some(HiveStatus::Online), ..HiveFilter::default() })?;
//! assert_eq!(page.hives[0].ssh_host.as_deref(), Some("192.168.1.100"));
//! assert_eq!(catalog.audit(..)?.len(), 2);
//! # Ok::<(), hive_catalog::CatalogError>(())
//! ```
//!
//! # Which handle does what
//!
//! - [`HiveCatalog`] reads, and writes the times that heartbeats bring. Its clones are one catalog: one connection
//!   that writes, a few that read, and readers do not wait for the writer.
//! - [`Operator`], made by [`HiveCatalog::as_actor`], makes every change that leaves an audit row; there is no other
//!   way to one, so that none is without a name. [`Operator::transaction`] makes several in one.
//! - [`HeartbeatWriter`] takes what a service hears each second and writes it each two.
//! - [`AsyncCatalog`] and [`AsyncOperator`] are the same calls on tokio.
//!
//! # What holds
//!
//! - **A change** that returned is on the disk (`synchronous=FULL`): a killed process loses none, a power failure none
//!   that the disk did not lie about. It is whole or not there at all, with its audit row.
//! - **A value** is checked by field and bound at every door ([`check`]). What an older program wrote is kept as it
//!   is, [`HiveCatalog::verify`] lists it, and [`HiveRecord::dialable`] never gives it out.
//! - **Secrets** are sealed, and open in their place only; who has the key file has them. Private keys are not stored.
//! - **Beside others**: whoever has the catalog open holds `PATH.lock` shared; migrating, restoring and rotating keys
//!   take it alone. [`HiveCatalog::data_version`] changes when another process changed something, and the audit rows
//!   since say what.
//! - **Files** beside `PATH`: `-wal`, `-shm` (SQLite's), `.lock`, `.serve.lock`, `.keys`, `.vN-TIME.bak` (before a
//!   migration), `.before-restore-TIME`. All are their owner's only.
//!
//! # Limits
//!
//! One machine: SQLite's locks and its WAL do not work over network file systems. Whoever may write the file may
//! write anything into it; the audit log shows that to who kept a head elsewhere, and hinders nobody.

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
