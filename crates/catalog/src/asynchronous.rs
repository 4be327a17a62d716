//! The catalog for services: each call runs on a thread that may wait.

use tokio::task::spawn_blocking;

use crate::actor::Actor;
use crate::audit::{AuditEntry, AuditFault, Hash};
use crate::backup::Backup;
use crate::catalog::HiveCatalog;
use crate::changes::{Changes, Operator};
use crate::error::{CatalogError, Result};
use crate::hives::{HiveCounts, HiveFilter, HivePage, Upsert};
use crate::record::{DeviceCapabilities, HivePatch, HiveRecord, HiveStatus};
use crate::secrets::Secret;
use crate::transitions::Transition;
use crate::verify::Verification;

/// [`HiveCatalog`] on tokio: the same calls by `spawn_blocking`, over the one writer and the few readers. A future
/// that is dropped does not undo its call.
#[derive(Clone, Debug)]
pub struct AsyncCatalog {
    catalog: HiveCatalog,
}

/// [`Operator`] on tokio.
#[derive(Clone, Debug)]
pub struct AsyncOperator {
    operator: Operator,
}

async fn blocking<T: Send + 'static>(call: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    match spawn_blocking(call).await {
        Ok(answer) => answer,
        // A panic goes on where it would have without threads; a runtime that ends is an error.
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(error) => Err(CatalogError::Database { path: "".into(), said: error.to_string() }),
        },
    }
}

/// The same call of the sync face; ids and what else is borrowed there is owned here.
macro_rules! calls {
    ($($(#[$doc:meta])* $name:ident($($argument:ident: $type:ty => $pass:expr),*) -> $answer:ty;)*) => {
        $(
            $(#[$doc])*
            ///
            /// # Errors
            /// As the call of the same name.
            pub async fn $name(&self, $($argument: $type),*) -> Result<$answer> {
                self.call(move |catalog| catalog.$name($($pass),*)).await
            }
        )*
    };
}

// === impl AsyncCatalog ===

impl AsyncCatalog {
    /// Opens off the runtime's threads: it may wait for a lock, or migrate.
    ///
    /// # Errors
    /// As [`HiveCatalog::open_with`].
    pub async fn open(path: impl Into<std::path::PathBuf>, options: crate::Options) -> Result<Self> {
        let path = path.into();
        blocking(move || HiveCatalog::open_with(path, options)).await.map(Self::new)
    }

    /// The same catalog.
    #[must_use]
    pub fn new(catalog: HiveCatalog) -> Self {
        Self { catalog }
    }

    /// The sync face, for calls that are not here.
    #[must_use]
    pub fn sync(&self) -> &HiveCatalog {
        &self.catalog
    }

    /// See [`HiveCatalog::as_actor`].
    #[must_use]
    pub fn as_actor(&self, actor: Actor) -> AsyncOperator {
        AsyncOperator { operator: self.catalog.as_actor(actor) }
    }

    /// Any call, or several, on a thread that may wait.
    ///
    /// # Errors
    /// What `call` answers with.
    pub async fn call<T: Send + 'static>(
        &self,
        call: impl FnOnce(&HiveCatalog) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let catalog = self.catalog.clone();
        blocking(move || call(&catalog)).await
    }

    calls! {
        /// See [`HiveCatalog::get_hive`].
        get_hive(id: String => &id) -> Option<HiveRecord>;
        /// See [`HiveCatalog::list_hives`].
        list_hives(filter: HiveFilter => &filter) -> HivePage;
        /// See [`HiveCatalog::count_hives`].
        count_hives() -> HiveCounts;
        /// See [`HiveCatalog::update_last_connected`].
        update_last_connected(id: String => &id, unix: i64 => unix) -> ();
        /// See [`HiveCatalog::update_heartbeat`].
        update_heartbeat(id: String => &id, ms: u64 => ms) -> ();
        /// See [`HiveCatalog::record_heartbeats`].
        record_heartbeats(beats: Vec<(String, u64)> => &beats) -> usize;
        /// See [`HiveCatalog::transitions`].
        transitions(id: String => &id) -> Vec<Transition>;
        /// See [`HiveCatalog::removed_since`].
        removed_since(id: String => &id) -> Option<u64>;
        /// See [`HiveCatalog::removals`].
        removals() -> Vec<(String, u64)>;
        /// See [`HiveCatalog::reveal_secret`].
        reveal_secret(id: String => &id, name: String => &name) -> Option<Secret>;
        /// See [`HiveCatalog::audit`].
        audit(range: std::ops::RangeInclusive<u64> => range) -> Vec<AuditEntry>;
        /// See [`HiveCatalog::audit_head`].
        audit_head() -> Option<(u64, Hash)>;
        /// See [`HiveCatalog::verify_audit`].
        verify_audit(head: Option<(u64, Hash)> => head) -> Option<AuditFault>;
        /// See [`HiveCatalog::verify`].
        verify(head: Option<(u64, Hash)> => head) -> Verification;
        /// See [`HiveCatalog::backup`].
        backup(to: std::path::PathBuf => &to) -> Backup;
        /// See [`HiveCatalog::data_version`].
        data_version() -> u64;
    }
}

// === impl AsyncOperator ===

impl AsyncOperator {
    /// The sync face.
    #[must_use]
    pub fn sync(&self) -> &Operator {
        &self.operator
    }

    /// Any call, or several, on a thread that may wait.
    ///
    /// # Errors
    /// What `call` answers with.
    pub async fn call<T: Send + 'static>(
        &self,
        call: impl FnOnce(&Operator) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let operator = self.operator.clone();
        blocking(move || call(&operator)).await
    }

    /// See [`Operator::transaction`].
    ///
    /// # Errors
    /// As there.
    pub async fn transaction<T: Send + 'static>(
        &self,
        change: impl FnOnce(&Changes<'_>) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        self.call(|operator| operator.transaction(change)).await
    }

    calls! {
        /// See [`Operator::add_hive`].
        add_hive(record: HiveRecord => &record) -> ();
        /// See [`Operator::upsert_hive`].
        upsert_hive(record: HiveRecord => &record) -> Upsert;
        /// See [`Operator::update_hive`].
        update_hive(id: String => &id, patch: HivePatch => &patch) -> HiveRecord;
        /// See [`Operator::update_status`].
        update_status(id: String => &id, status: HiveStatus => status, reason: Option<String> => reason.as_deref()) -> bool;
        /// See [`Operator::update_capabilities`].
        update_capabilities(id: String => &id, backends: Vec<String> => &backends, devices: DeviceCapabilities => &devices) -> bool;
        /// See [`Operator::remove_hive`].
        remove_hive(id: String => &id) -> bool;
        /// See [`Operator::cordon`].
        cordon(id: String => &id, worker: Option<String> => worker.as_deref(), why: String => &why) -> bool;
        /// See [`Operator::uncordon`].
        uncordon(id: String => &id, worker: Option<String> => worker.as_deref()) -> bool;
        /// See [`Operator::set_secret`].
        set_secret(id: String => &id, name: String => &name, secret: Secret => &secret) -> ();
        /// See [`Operator::remove_secret`].
        remove_secret(id: String => &id, name: String => &name) -> bool;
    }
}
