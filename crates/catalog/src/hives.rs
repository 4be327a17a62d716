//! The hives themselves: add, change, look up, list, remove.

use rusqlite::types::{FromSqlError, Value};
use rusqlite::{Connection, OptionalExtension as _, Row, params, params_from_iter};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::audit::{Entry, Hash, digest};
use crate::catalog::HiveCatalog;
use crate::changes::{Changes, Operator};
use crate::check;
use crate::error::{CatalogError, Result, quote};
use crate::record::{Cordon, Cordons, DeviceCapabilities, HivePatch, HiveRecord, HiveStatus};

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
    /// At most so many.
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

/// What makes a [`HiveRecord`], in the order that [`record`] reads it in.
macro_rules! select {
    ($end:literal) => {
        concat!(
            "SELECT h.id, h.host, h.port, h.ssh_host, h.ssh_port, h.ssh_user, h.ssh_key_path, h.git_repo_url, ",
            "h.git_branch, h.install_path, h.binary_path, h.status, h.status_reason, b.ms, h.last_connected_unix, ",
            "h.backends, h.devices, h.labels, (SELECT json_group_object(c.worker, json_array(c.why, c.since_ms)) ",
            "FROM cordons c WHERE c.hive = h.key), h.adopted, h.created_at_ms, h.updated_at_ms ",
            "FROM hives h LEFT JOIN heartbeats b ON b.hive = h.key",
            $end
        )
    };
}

pub(crate) fn to_json(value: &impl Serialize) -> Result<String> {
    serde_json::to_string(value)
        .map_err(|error| CatalogError::Database { path: "".into(), said: format!("cannot be JSON: {error}") })
}

/// The row's key in other tables.
pub(crate) fn key_of(db: &Connection, id: &str) -> Result<Option<i64>> {
    let mut select = db.prepare_cached("SELECT key FROM hives WHERE id = ?1")?;
    Ok(select.query_row([id], |row| row.get(0)).optional()?)
}

pub(crate) fn get(db: &Connection, id: &str) -> Result<Option<HiveRecord>> {
    let mut select = db.prepare_cached(select!(" WHERE h.id = ?1"))?;
    Ok(select.query_row([id], record).optional()?)
}

fn record(row: &Row<'_>) -> rusqlite::Result<HiveRecord> {
    Ok(HiveRecord {
        id: row.get(0)?,
        host: row.get(1)?,
        port: row.get(2)?,
        ssh_host: row.get(3)?,
        ssh_port: row.get(4)?,
        ssh_user: row.get(5)?,
        ssh_key_path: row.get(6)?,
        git_repo_url: row.get(7)?,
        git_branch: row.get(8)?,
        install_path: row.get(9)?,
        binary_path: row.get(10)?,
        status: row.get_ref(11)?.as_str()?.parse().map_err(|error| FromSqlError::Other(Box::new(error)))?,
        status_reason: row.get(12)?,
        last_heartbeat_ms: row.get(13)?,
        last_connected_unix: row.get(14)?,
        backends: json(row, 15)?,
        devices: json(row, 16)?,
        labels: json(row, 17)?,
        cordoned: cordons(json(row, 18)?),
        adopted: row.get(19)?,
        created_at_ms: row.get(20)?,
        updated_at_ms: row.get(21)?,
    })
}

fn json<T: DeserializeOwned>(row: &Row<'_>, at: usize) -> rusqlite::Result<T> {
    let text = row.get_ref(at)?.as_str()?;
    serde_json::from_str(text).map_err(|error| FromSqlError::Other(Box::new(error)).into())
}

fn cordons(mut all: std::collections::BTreeMap<String, (String, u64)>) -> Cordons {
    let cordon = |(why, since_ms)| Cordon { why, since_ms };
    let hive = all.remove("").map(cordon);
    Cordons { hive, workers: all.into_iter().map(|(worker, why)| (worker, cordon(why))).collect() }
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

/// Whether the hive is known.
pub(crate) fn beat(db: &Connection, id: &str, ms: u64) -> Result<bool> {
    let Some(key) = key_of(db, id)? else {
        return Ok(false);
    };
    db.prepare_cached(
        "INSERT INTO heartbeats (hive, ms) VALUES (?1, ?2) \
         ON CONFLICT (hive) DO UPDATE SET ms = excluded.ms WHERE excluded.ms > ms",
    )?
    .execute(params![key, ms])?;
    Ok(true)
}

pub(crate) fn list(db: &Connection, filter: &HiveFilter) -> Result<HivePage> {
    let (mut wheres, mut values): (Vec<&str>, Vec<Value>) = (Vec::new(), Vec::new());
    if let Some(status) = filter.status {
        wheres.push("h.status = ?");
        values.push(status.as_str().to_owned().into());
    }
    if let Some(backend) = &filter.backend {
        wheres.push("EXISTS (SELECT 1 FROM json_each(h.backends) j WHERE j.value = ?)");
        values.push(backend.clone().into());
    }
    for (name, value) in &filter.labels {
        wheres.push(match value {
            None => "EXISTS (SELECT 1 FROM json_each(h.labels) j WHERE j.key = ?)",
            Some(_) => "EXISTS (SELECT 1 FROM json_each(h.labels) j WHERE j.key = ? AND j.value = ?)",
        });
        values.push(name.clone().into());
        values.extend(value.clone().map(Value::from));
    }
    if let Some(after) = &filter.after {
        wheres.push("h.id > ?");
        values.push(after.clone().into());
    }
    let wheres = if wheres.is_empty() { String::new() } else { format!(" WHERE {}", wheres.join(" AND ")) };
    // One more than the page tells whether there is a next one; -1 is no limit.
    let limit =
        filter.limit.map_or(-1, |limit| i64::try_from(limit).map_or(-1, |limit| limit.saturating_add(1)));
    values.push(limit.into());
    let mut select = db.prepare_cached(&format!("{}{wheres} ORDER BY h.id LIMIT ?", select!("")))?;
    let rows = select.query_map(params_from_iter(values), record)?;
    let mut hives: Vec<HiveRecord> = rows.collect::<Result<_, _>>()?;
    let mut next = None;
    if filter.limit.is_some_and(|limit| hives.len() > limit) {
        hives.pop();
        next = hives.last().map(|hive| hive.id.clone());
    }
    Ok(HivePage { hives, next })
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

/// Values that were there before are not held against a change: an older program's may fail today's patterns, and
/// other fields can be put right one by one.
pub(crate) fn check_change(old: &HiveRecord, new: &HiveRecord) -> Result<()> {
    let faults = check::faults(new);
    if faults.is_empty() {
        return Ok(());
    }
    let known: Vec<String> = check::faults(old).iter().map(ToString::to_string).collect();
    faults.into_iter().find(|fault| !known.contains(&fault.to_string())).map_or(Ok(()), Err)
}

pub(crate) fn digests(old: &HiveRecord, new: &HiveRecord) -> Result<(Option<Hash>, Option<Hash>)> {
    Ok((Some(digest(old)?), Some(digest(new)?)))
}

/// What an operator's record makes of a known hive: what is seen of it stays.
pub(crate) fn replaced(old: &HiveRecord, record: &HiveRecord) -> HiveRecord {
    HiveRecord {
        status: old.status,
        status_reason: old.status_reason.clone(),
        last_heartbeat_ms: old.last_heartbeat_ms,
        last_connected_unix: record.last_connected_unix.or(old.last_connected_unix),
        backends: if record.backends.is_empty() { old.backends.clone() } else { record.backends.clone() },
        devices: if record.devices.is_empty() { old.devices.clone() } else { record.devices.clone() },
        cordoned: old.cordoned.clone(),
        created_at_ms: old.created_at_ms,
        updated_at_ms: old.updated_at_ms,
        ..record.clone()
    }
}

/// The first fifteen parameters of an insert and an update.
fn written(record: &HiveRecord) -> Result<Vec<Value>> {
    Ok(vec![
        record.host.clone().into(),
        i64::from(record.port).into(),
        record.ssh_host.clone().into(),
        record.ssh_port.map(i64::from).into(),
        record.ssh_user.clone().into(),
        record.ssh_key_path.clone().into(),
        record.git_repo_url.clone().into(),
        record.git_branch.clone().into(),
        record.install_path.clone().into(),
        record.binary_path.clone().into(),
        record.last_connected_unix.into(),
        to_json(&record.backends)?.into(),
        to_json(&record.devices)?.into(),
        to_json(&record.labels)?.into(),
        (record.updated_at_ms as i64).into(),
    ])
}

/// The names of the fields that differ, but for times that the catalog writes.
pub(crate) fn changed(old: &HiveRecord, new: &HiveRecord) -> Result<Vec<String>> {
    let fields = |record: &HiveRecord| -> Result<serde_json::Value> {
        serde_json::to_value(record)
            .map_err(|error| CatalogError::Database { path: "".into(), said: error.to_string() })
    };
    let (old, new) = (fields(old)?, fields(new)?);
    let (Some(old), Some(new)) = (old.as_object(), new.as_object()) else {
        return Ok(Vec::new());
    };
    let mut names: Vec<String> = old
        .keys()
        .chain(new.keys())
        .filter(|name| {
            !["created_at_ms", "updated_at_ms"].contains(&&***name) && old.get(*name) != new.get(*name)
        })
        .cloned()
        .collect();
    names.sort_unstable();
    names.dedup();
    Ok(names)
}
