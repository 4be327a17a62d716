//! What is out of use: a hive, or workers of it. The catalog keeps it; the registry and its schedulers heed it.

use rusqlite::params;

use crate::audit::{Entry, digest};
use crate::changes::{Changes, Operator};
use crate::check;
use crate::error::{CatalogError, Result};
use crate::hive_rows::get;
use crate::record::Cordon;

/// Workers of one hive that may be out of use at once.
pub const MAX_CORDONED_WORKERS: usize = 4_096;

// === impl Operator ===

impl Operator {
    /// Puts a hive out of use, or one worker of it; whether it was in use. Another reason replaces the one before,
    /// since when stays.
    ///
    /// # Errors
    /// `Unknown`; `Invalid` (worker, why: 512 bytes, no control characters); `TooMany`.
    pub fn cordon(&self, id: &str, worker: Option<&str>, why: &str) -> Result<bool> {
        self.transaction(|changes| changes.cordon(id, worker, why))
    }

    /// Puts it to use again; whether it was out of use. Of a hive, not of its workers.
    ///
    /// # Errors
    /// `Unknown`.
    pub fn uncordon(&self, id: &str, worker: Option<&str>) -> Result<bool> {
        self.transaction(|changes| changes.uncordon(id, worker))
    }
}

// === impl Changes ===

impl Changes<'_> {
    /// See [`Operator::cordon`].
    ///
    /// # Errors
    /// As there.
    pub fn cordon(&self, id: &str, worker: Option<&str>, why: &str) -> Result<bool> {
        check::why(id, why)?;
        worker.map_or(Ok(()), |worker| check::worker(id, worker))?;
        let old = get(self.tx, id)?.ok_or_else(|| CatalogError::unknown(id))?;
        let mut new = old.clone();
        let before = match worker {
            None => new.cordoned.hive.as_ref(),
            Some(worker) => new.cordoned.workers.get(worker),
        };
        if before.is_some_and(|before| before.why == why) {
            return Ok(false);
        }
        let (is_new, since_ms) = (before.is_none(), before.map_or(self.now_ms, |before| before.since_ms));
        let cordon = Cordon { why: why.to_owned(), since_ms };
        match worker {
            None => new.cordoned.hive = Some(cordon),
            Some(worker) => {
                new.cordoned.workers.insert(worker.to_owned(), cordon);
            }
        }
        let wanted = new.cordoned.workers.len();
        if wanted > MAX_CORDONED_WORKERS {
            let bound = MAX_CORDONED_WORKERS;
            return Err(CatalogError::TooMany { id: id.to_owned(), what: "cordoned workers", wanted, bound });
        }
        self.tx
            .prepare_cached(
                "INSERT OR REPLACE INTO cordons (hive, worker, why, since_ms) VALUES (?1, ?2, ?3, ?4)",
            )?
            .execute(params![self.hive(id)?, worker.unwrap_or_default(), why, since_ms])?;
        self.touch(id)?;
        let detail = Some(told(worker, Some(why)));
        let (before, after) = (Some(digest(&old)?), Some(digest(&new)?));
        self.audit(Entry { what: "cordon", hive: Some(id), detail, before, after })?;
        Ok(is_new)
    }

    /// See [`Operator::uncordon`].
    ///
    /// # Errors
    /// As there.
    pub fn uncordon(&self, id: &str, worker: Option<&str>) -> Result<bool> {
        let old = get(self.tx, id)?.ok_or_else(|| CatalogError::unknown(id))?;
        let mut delete = self.tx.prepare_cached("DELETE FROM cordons WHERE hive = ?1 AND worker = ?2")?;
        if delete.execute(params![self.hive(id)?, worker.unwrap_or_default()])? == 0 {
            return Ok(false);
        }
        self.touch(id)?;
        let new = get(self.tx, id)?.ok_or_else(|| CatalogError::unknown(id))?;
        let (before, after) = (Some(digest(&old)?), Some(digest(&new)?));
        self.audit(Entry {
            what: "uncordon",
            hive: Some(id),
            detail: Some(told(worker, None)),
            before,
            after,
        })?;
        Ok(true)
    }

    fn touch(&self, id: &str) -> Result<()> {
        let mut update = self.tx.prepare_cached("UPDATE hives SET updated_at_ms = ?2 WHERE id = ?1")?;
        update.execute(params![id, self.now_ms])?;
        Ok(())
    }
}

fn told(worker: Option<&str>, why: Option<&str>) -> String {
    let what = worker.map_or_else(|| "the hive".to_owned(), |worker| format!("worker {worker}"));
    match why {
        Some(why) if !why.is_empty() => format!("{what}: {why}"),
        _ => what,
    }
}
