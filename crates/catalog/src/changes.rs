use std::ops::Deref;

use rusqlite::Transaction;

use crate::actor::Actor;
use crate::audit::{self, Entry};
use crate::catalog::HiveCatalog;
use crate::error::{CatalogError, Result};
use crate::hive_rows;

/// The catalog in the hands of someone with a name. Each call is one transaction, in which its audit row stands, too;
/// several make one by [`Operator::transaction`]. Reads are those of [`HiveCatalog`].
#[derive(Clone, Debug)]
pub struct Operator {
    catalog: HiveCatalog,
    actor: Actor,
}

/// Changes that are made together or not at all: what [`Operator::transaction`] gives its closure.
pub struct Changes<'a> {
    pub(crate) tx: &'a Transaction<'a>,
    pub(crate) catalog: &'a HiveCatalog,
    pub(crate) actor: &'a Actor,
    pub(crate) now_ms: u64,
}

// === impl Operator ===

impl Operator {
    pub(crate) fn new(catalog: HiveCatalog, actor: Actor) -> Self {
        Self { catalog, actor }
    }

    /// Who it is.
    #[must_use]
    pub fn actor(&self) -> &Actor {
        &self.actor
    }

    /// The catalog itself.
    #[must_use]
    pub fn catalog(&self) -> &HiveCatalog {
        &self.catalog
    }

    /// All that `change` does is one transaction: kept when it succeeds, undone when it does not. It sees what it
    /// changed by the calls of [`Changes`]; the catalog's own reads wait for it in memory, and see the state before
    /// it in a file.
    ///
    /// # Errors
    /// What `change` answers with, or why it cannot be kept.
    pub fn transaction<T>(&self, change: impl FnOnce(&Changes<'_>) -> Result<T>) -> Result<T> {
        self.catalog.write(|tx| {
            let now_ms = self.catalog.now_ms();
            change(&Changes { tx, catalog: &self.catalog, actor: &self.actor, now_ms })
        })
    }
}

impl Deref for Operator {
    type Target = HiveCatalog;

    fn deref(&self) -> &HiveCatalog {
        &self.catalog
    }
}

// === impl Changes ===

impl Changes<'_> {
    /// The time of all of them, milliseconds since 1970.
    #[must_use]
    pub fn now_ms(&self) -> u64 {
        self.now_ms
    }

    pub(crate) fn audit(&self, entry: Entry<'_>) -> Result<()> {
        audit::append(self.tx, self.actor, self.now_ms, entry)
    }

    /// The key of a hive that must be there.
    pub(crate) fn hive(&self, id: &str) -> Result<i64> {
        hive_rows::key_of(self.tx, id)?.ok_or_else(|| CatalogError::unknown(id))
    }
}
