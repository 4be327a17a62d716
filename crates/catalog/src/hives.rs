//! The hives themselves: add, change, look up, list, remove.

use rusqlite::types::Value;
use rusqlite::{params, params_from_iter};

use crate::audit::{Entry, digest};
use crate::catalog::HiveCatalog;
use crate::changes::{Changes, Operator};
use crate::check;
use crate::error::{CatalogError, Result, quote};
use crate::hive_rows::{beat, changed, check_change, digests, get, key_of, list, replaced, written};
use crate::record::{Cordons, DeviceCapabilities, HivePatch, HiveRecord, HiveStatus};

/// Which hives a list names. The default names all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HiveFilter {
    /// Those of that status.
    pub status: Option<HiveStatus>,
    /// Those that have that backend.
    pub backend: Option<String>,
    /// Those that have each of these labels; with that value, if one is given.
    pub labels: Vec<(String, Option<String>)>,
    /// Those behind that id: the cursor, the last id of the page before.
    pub after: Option<String>,
    /// At most so many; 1 at least.
    pub limit: Option<usize>,
}

/// Some hives, ordered by id.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct HivePage {
    /// The hives.
    pub hives: Vec<HiveRecord>,
    /// The cursor of the next page; nothing where this was the last one.
    pub next: Option<String>,
}

/// How many hives there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HiveCounts {
    /// All of them.
    pub hives: u64,
    /// Those that came by a heartbeat.
    pub adopted: u64,
}

/// What `upsert_hive` did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Upsert {
    /// It was not known.
    Added,
    /// It was, and changed.
    Updated,
    /// It was, just so.
    Unchanged,
}

// === impl HiveCatalog ===

impl HiveCatalog {
    /// The hive of that id.
    ///
    /// # Errors
    /// SQLite's.
    pub fn get_hive(&self, id: &str) -> Result<Option<HiveRecord>> {
        self.read(|db| get(db, id))
    }

    /// Hives ordered by id, a page of them where the filter has a limit.
    ///
    /// # Errors
    /// SQLite's.
    pub fn list_hives(&self, filter: &HiveFilter) -> Result<HivePage> {
        self.read(|db| list(db, filter))
    }

    /// How many there are.
    ///
    /// # Errors
    /// SQLite's.
    pub fn count_hives(&self) -> Result<HiveCounts> {
        self.read(|db| {
            let mut select = db.prepare_cached(
                "SELECT (SELECT count(*) FROM hives), (SELECT count(*) FROM hives WHERE adopted = 1)",
            )?;
            Ok(select.query_row([], |row| Ok(HiveCounts { hives: row.get(0)?, adopted: row.get(1)? }))?)
        })
    }

    /// Sets when somebody last reached the hive, seconds since 1970. A time is no change: it leaves no audit row.
    ///
    /// # Errors
    /// `Unknown`; `Invalid`.
    pub fn update_last_connected(&self, id: &str, unix: i64) -> Result<()> {
        check::time_unix(id, "last_connected_unix", unix)?;
        self.write(|tx| {
            let mut update = tx.prepare_cached("UPDATE hives SET last_connected_unix = ?2 WHERE id = ?1")?;
            match update.execute(params![id, unix])? {
                0 => Err(CatalogError::unknown(id)),
                _ => Ok(()),
            }
        })
    }

    /// Sets when the hive's last heartbeat arrived, milliseconds since 1970; an earlier one than is known changes
    /// nothing. A time is no change: it leaves no audit row.
    ///
    /// # Errors
    /// `Unknown`; `Invalid`.
    pub fn update_heartbeat(&self, id: &str, ms: u64) -> Result<()> {
        check::time_ms(id, "last_heartbeat_ms", ms)?;
        self.write(|tx| match beat(tx, id, ms)? {
            false => Err(CatalogError::unknown(id)),
            true => Ok(()),
        })
    }

    /// [`update_heartbeat`](Self::update_heartbeat) of many in one transaction; of unknown hives nothing is kept.
    /// How many are known.
    ///
    /// # Errors
    /// `Invalid`: then none is kept.
    pub fn record_heartbeats(&self, beats: &[(impl AsRef<str>, u64)]) -> Result<usize> {
        for (id, ms) in beats {
            check::time_ms(id.as_ref(), "last_heartbeat_ms", *ms)?;
        }
        self.write(|tx| {
            let mut known = 0;
            for (id, ms) in beats {
                known += usize::from(beat(tx, id.as_ref(), *ms)?);
            }
            Ok(known)
        })
    }
}

// === impl Operator ===

impl Operator {
    /// Adds a hive. One of `host` and `ssh_host` given alone fills both. Cordons in the record are not taken over.
    ///
    /// # Errors
    /// `Exists`; `Invalid` and `TooMany`, by field and bound.
    pub fn add_hive(&self, record: &HiveRecord) -> Result<()> {
        self.transaction(|changes| changes.add_hive(record))
    }

    /// Adds a hive, or replaces what is written of a known one. What is seen of it stays: status, heartbeats,
    /// cordons, secrets; backends, devices and `last_connected_unix`, too, where the record has none.
    ///
    /// # Errors
    /// `Invalid` and `TooMany`, by field and bound.
    pub fn upsert_hive(&self, record: &HiveRecord) -> Result<Upsert> {
        self.transaction(|changes| changes.upsert_hive(record))
    }

    /// Changes what the patch names; the record as it is then.
    ///
    /// # Errors
    /// `Unknown`; `Invalid` and `TooMany`, by field and bound.
    pub fn update_hive(&self, id: &str, patch: &HivePatch) -> Result<HiveRecord> {
        self.transaction(|changes| changes.update_hive(id, patch))
    }

    /// Sets what the hive can do; whether that changed.
    ///
    /// # Errors
    /// `Unknown`; `Invalid` and `TooMany`, by field and bound.
    pub fn update_capabilities(
        &self,
        id: &str,
        backends: &[String],
        devices: &DeviceCapabilities,
    ) -> Result<bool> {
        self.transaction(|changes| changes.update_capabilities(id, backends, devices))
    }

    /// Takes a hive out, with its secrets, cordons and transitions; whether it was there. For a day
    /// [`removed_since`](HiveCatalog::removed_since) knows of it.
    ///
    /// # Errors
    /// SQLite's.
    pub fn remove_hive(&self, id: &str) -> Result<bool> {
        self.transaction(|changes| changes.remove_hive(id))
    }
}

// === impl Changes ===

impl Changes<'_> {
    /// The hive of that id, with what was changed so far.
    ///
    /// # Errors
    /// SQLite's.
    pub fn get_hive(&self, id: &str) -> Result<Option<HiveRecord>> {
        get(self.tx, id)
    }

    /// Hives, with what was changed so far.
    ///
    /// # Errors
    /// SQLite's.
    pub fn list_hives(&self, filter: &HiveFilter) -> Result<HivePage> {
        list(self.tx, filter)
    }

    /// See [`Operator::add_hive`].
    ///
    /// # Errors
    /// As there.
    pub fn add_hive(&self, record: &HiveRecord) -> Result<()> {
        check::id(&record.id)?;
        if key_of(self.tx, &record.id)?.is_some() {
            return Err(CatalogError::Exists { id: quote(&record.id) });
        }
        self.insert("add_hive", record)
    }

    /// See [`Operator::upsert_hive`].
    ///
    /// # Errors
    /// As there.
    pub fn upsert_hive(&self, record: &HiveRecord) -> Result<Upsert> {
        check::id(&record.id)?;
        let Some(old) = get(self.tx, &record.id)? else {
            return self.insert("upsert_hive", record).map(|()| Upsert::Added);
        };
        let mut new = replaced(&old, record);
        new.fill_hosts();
        let changed = self.replace("upsert_hive", &old, new)?;
        Ok(if changed.is_empty() { Upsert::Unchanged } else { Upsert::Updated })
    }

    /// See [`Operator::update_hive`].
    ///
    /// # Errors
    /// As there.
    pub fn update_hive(&self, id: &str, patch: &HivePatch) -> Result<HiveRecord> {
        let old = get(self.tx, id)?.ok_or_else(|| CatalogError::unknown(id))?;
        let mut new = old.clone();
        patch.apply(&mut new);
        // An operator who says where it is has made it theirs.
        new.adopted &= new.host.is_none();
        self.replace("update_hive", &old, new.clone())?;
        Ok(get(self.tx, id)?.unwrap_or(new))
    }

    /// See [`Operator::update_capabilities`].
    ///
    /// # Errors
    /// As there.
    pub fn update_capabilities(
        &self,
        id: &str,
        backends: &[String],
        devices: &DeviceCapabilities,
    ) -> Result<bool> {
        check::backends(id, backends)?;
        check::devices(id, devices)?;
        let old = get(self.tx, id)?.ok_or_else(|| CatalogError::unknown(id))?;
        let new = HiveRecord { backends: backends.to_vec(), devices: devices.clone(), ..old.clone() };
        Ok(!self.store("update_capabilities", &old, &new)?.is_empty())
    }

    /// See [`Operator::remove_hive`].
    ///
    /// # Errors
    /// As there.
    pub fn remove_hive(&self, id: &str) -> Result<bool> {
        let Some(old) = get(self.tx, id)? else {
            return Ok(false);
        };
        // The rest goes by its references.
        self.tx.prepare_cached("DELETE FROM hives WHERE id = ?1")?.execute([id])?;
        self.mark_removed(id)?;
        let before = Some(digest(&old)?);
        self.audit(Entry { what: "remove_hive", hive: Some(id), before, ..Entry::default() })?;
        Ok(true)
    }

    pub(crate) fn insert(&self, what: &'static str, record: &HiveRecord) -> Result<()> {
        let mut new = record.clone();
        new.fill_hosts();
        new.cordoned = Cordons::default();
        (new.created_at_ms, new.updated_at_ms) = (self.now_ms, self.now_ms);
        check::record(&new)?;
        self.tx
            .prepare_cached(
                "INSERT INTO hives (host, port, ssh_host, ssh_port, ssh_user, ssh_key_path, git_repo_url, \
                 git_branch, install_path, binary_path, last_connected_unix, backends, devices, labels, \
                 updated_at_ms, id, status, status_reason, adopted, created_at_ms) \
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?15)",
            )?
            .execute(params_from_iter(
                written(&new)?.into_iter().chain([
                    Value::from(new.id.clone()),
                    Value::from(new.status.as_str().to_owned()),
                    Value::from(new.status_reason.clone()),
                    Value::from(new.adopted),
                ]),
            ))?;
        if let Some(ms) = new.last_heartbeat_ms {
            beat(self.tx, &new.id, ms)?;
        }
        self.forget_removal(&new.id)?;
        let after = Some(digest(&new)?);
        self.audit(Entry { what, hive: Some(&new.id), after, ..Entry::default() })
    }

    /// The names of the fields that changed.
    pub(crate) fn replace(
        &self,
        what: &'static str,
        old: &HiveRecord,
        new: HiveRecord,
    ) -> Result<Vec<String>> {
        check_change(old, &new)?;
        self.store(what, old, &new)
    }

    fn store(&self, what: &'static str, old: &HiveRecord, new: &HiveRecord) -> Result<Vec<String>> {
        let changed = changed(old, new)?;
        if changed.is_empty() {
            return Ok(changed);
        }
        let new = HiveRecord { updated_at_ms: self.now_ms, ..new.clone() };
        self.tx
            .prepare_cached(
                "UPDATE hives SET host = ?1, port = ?2, ssh_host = ?3, ssh_port = ?4, ssh_user = ?5, \
                 ssh_key_path = ?6, git_repo_url = ?7, git_branch = ?8, install_path = ?9, binary_path = ?10, \
                 last_connected_unix = ?11, backends = ?12, devices = ?13, labels = ?14, updated_at_ms = ?15, \
                 adopted = ?17 WHERE id = ?16",
            )?
            .execute(params_from_iter(
                written(&new)?.into_iter().chain([Value::from(new.id.clone()), Value::from(new.adopted)]),
            ))?;
        let (before, after) = digests(old, &new)?;
        let detail = Some(changed.join(", "));
        self.audit(Entry { what, hive: Some(&new.id), detail, before, after })?;
        Ok(changed)
    }
}
