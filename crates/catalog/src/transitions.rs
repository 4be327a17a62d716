use rusqlite::params;
use serde::Serialize;

use crate::audit::Entry;
use crate::catalog::HiveCatalog;
use crate::changes::{Changes, Operator};
use crate::check;
use crate::error::{CatalogError, Result};
use crate::hive_rows::{digests, get};
use crate::record::{HiveRecord, HiveStatus};

/// Changes of status that are kept of each hive.
pub const MAX_TRANSITIONS: usize = 100;

/// A change of a hive's status.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Transition {
    /// When, milliseconds since 1970.
    pub at_ms: u64,
    /// What it was.
    pub from: HiveStatus,
    /// What it became.
    pub to: HiveStatus,
    /// Why.
    pub reason: Option<String>,
    /// Who said so.
    pub who: String,
}

// === impl HiveCatalog ===

impl HiveCatalog {
    /// The last 100 changes of its status, the newest first; none of an unknown hive.
    ///
    /// # Errors
    /// SQLite's.
    pub fn transitions(&self, id: &str) -> Result<Vec<Transition>> {
        self.read(|db| {
            let mut select = db.prepare_cached(
                "SELECT at_ms, was, became, reason, who FROM transitions t JOIN hives h ON h.key = t.hive \
                 WHERE h.id = ?1 ORDER BY number DESC",
            )?;
            let mut rows = select.query([id])?;
            let mut all = Vec::new();
            while let Some(row) = rows.next()? {
                all.push(Transition {
                    at_ms: row.get(0)?,
                    from: row.get_ref(1)?.as_str().map_err(rusqlite::Error::from)?.parse()?,
                    to: row.get_ref(2)?.as_str().map_err(rusqlite::Error::from)?.parse()?,
                    reason: row.get(3)?,
                    who: row.get(4)?,
                });
            }
            Ok(all)
        })
    }
}

/// Whether anybody else has set the hive's status at that time or since.
pub(crate) fn others_decided(changes: &Changes<'_>, id: &str, at_ms: u64) -> Result<bool> {
    let mut select = changes.tx.prepare_cached(
        "SELECT EXISTS (SELECT 1 FROM transitions t JOIN hives h ON h.key = t.hive \
         WHERE h.id = ?1 AND t.at_ms >= ?2 AND t.who <> ?3)",
    )?;
    Ok(select.query_row(params![id, at_ms, changes.actor.as_str()], |row| row.get(0))?)
}

// === impl Operator ===

impl Operator {
    /// Sets a hive's status, and why; whether the status changed. The reason is cut at 512 bytes, and control
    /// characters in it become spaces: it may be what another program printed. Another reason for the same status
    /// replaces the one before, and is no transition.
    ///
    /// # Errors
    /// `Unknown`.
    pub fn update_status(&self, id: &str, status: HiveStatus, reason: Option<&str>) -> Result<bool> {
        self.transaction(|changes| changes.update_status(id, status, reason))
    }
}

// === impl Changes ===

impl Changes<'_> {
    /// See [`Operator::update_status`].
    ///
    /// # Errors
    /// As there.
    pub fn update_status(&self, id: &str, status: HiveStatus, reason: Option<&str>) -> Result<bool> {
        let old = get(self.tx, id)?.ok_or_else(|| CatalogError::unknown(id))?;
        let reason = reason.map(check::tidy).filter(|reason| !reason.is_empty());
        if old.status == status && old.status_reason == reason {
            return Ok(false);
        }
        self.tx
            .prepare_cached(
                "UPDATE hives SET status = ?2, status_reason = ?3, updated_at_ms = ?4 WHERE id = ?1",
            )?
            .execute(params![id, status.as_str(), reason, self.now_ms])?;
        if old.status == status {
            let new = HiveRecord { status_reason: reason, ..old.clone() };
            let (before, after) = digests(&old, &new)?;
            let detail = new.status_reason.map(|reason| format!("still {status}: {reason}"));
            self.audit(Entry { what: "update_status", hive: Some(id), detail, before, after })?;
            return Ok(false);
        }
        let hive = self.hive(id)?;
        self.tx
            .prepare_cached(
                "INSERT INTO transitions (hive, number, at_ms, was, became, reason, who) \
                 SELECT ?1, 1 + ifnull(max(number), 0), ?2, ?3, ?4, ?5, ?6 FROM transitions WHERE hive = ?1",
            )?
            .execute(params![
                hive,
                self.now_ms,
                old.status.as_str(),
                status.as_str(),
                reason,
                self.actor.as_str()
            ])?;
        self.tx
            .prepare_cached(
                "DELETE FROM transitions WHERE hive = ?1 \
                 AND number <= (SELECT max(number) FROM transitions WHERE hive = ?1) - ?2",
            )?
            .execute(params![hive, MAX_TRANSITIONS])?;
        let detail = match &reason {
            Some(reason) => format!("{} to {status}: {reason}", old.status),
            None => format!("{} to {status}", old.status),
        };
        let new = HiveRecord { status, status_reason: reason, ..old.clone() };
        let (before, after) = digests(&old, &new)?;
        self.audit(Entry { what: "update_status", hive: Some(id), detail: Some(detail), before, after })?;
        Ok(true)
    }
}
