//! Hives that an operator removed. For a day their heartbeats are refused, across restarts, until they are added
//! again: else a removed hive would be back with its next heartbeat.

use rusqlite::{Connection, OptionalExtension as _, params};

use crate::catalog::HiveCatalog;
use crate::changes::Changes;
use crate::error::Result;

/// How long a removal is known, milliseconds.
pub const REMOVAL_MS: u64 = 24 * 60 * 60 * 1_000;

pub(crate) fn removed_since(db: &Connection, id: &str, now_ms: u64) -> Result<Option<u64>> {
    let mut select = db.prepare_cached("SELECT at_ms FROM removals WHERE id = ?1 AND at_ms > ?2")?;
    Ok(select.query_row(params![id, oldest(now_ms)], |row| row.get(0)).optional()?)
}

/// Removals of that time and before are over. One that a clock stepped back makes younger than now is not.
fn oldest(now_ms: u64) -> i64 {
    now_ms as i64 - REMOVAL_MS as i64
}

// === impl HiveCatalog ===

impl HiveCatalog {
    /// When the hive was removed, milliseconds since 1970, if that was within the last 24 h and it was not added
    /// again.
    ///
    /// # Errors
    /// SQLite's.
    pub fn removed_since(&self, id: &str) -> Result<Option<u64>> {
        let now_ms = self.now_ms();
        self.read(|db| removed_since(db, id, now_ms))
    }

    /// All of the last 24 h, by id: for whoever keeps them in memory.
    ///
    /// # Errors
    /// SQLite's.
    pub fn removals(&self) -> Result<Vec<(String, u64)>> {
        let now_ms = self.now_ms();
        self.read(|db| {
            let mut select =
                db.prepare_cached("SELECT id, at_ms FROM removals WHERE at_ms > ?1 ORDER BY id")?;
            let rows = select.query_map([oldest(now_ms)], |row| Ok((row.get(0)?, row.get(1)?)))?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
    }
}

// === impl Changes ===

impl Changes<'_> {
    pub(crate) fn mark_removed(&self, id: &str) -> Result<()> {
        self.tx.prepare_cached("DELETE FROM removals WHERE at_ms <= ?1")?.execute([oldest(self.now_ms)])?;
        self.tx
            .prepare_cached("INSERT OR REPLACE INTO removals (id, at_ms) VALUES (?1, ?2)")?
            .execute(params![id, self.now_ms])?;
        Ok(())
    }

    pub(crate) fn forget_removal(&self, id: &str) -> Result<()> {
        self.tx.prepare_cached("DELETE FROM removals WHERE id = ?1")?.execute([id])?;
        Ok(())
    }
}
