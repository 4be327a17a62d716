//! A hive as rows: how a record is read, and what of it is written.

use std::collections::BTreeMap;

use rusqlite::types::{FromSqlError, Value};
use rusqlite::{Connection, OptionalExtension as _, Row, params, params_from_iter};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::audit::{Hash, digest};
use crate::check;
use crate::error::{CatalogError, Result};
use crate::hives::{HiveFilter, HivePage};
use crate::record::{Cordon, Cordons, HiveRecord};

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

fn cordons(mut all: BTreeMap<String, (String, u64)>) -> Cordons {
    let cordon = |(why, since_ms)| Cordon { why, since_ms };
    let hive = all.remove("").map(cordon);
    Cordons { hive, workers: all.into_iter().map(|(worker, why)| (worker, cordon(why))).collect() }
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
    let limit = filter.limit.map(|limit| limit.max(1));
    // One more than the page tells whether there is a next one; -1 is no limit.
    let rows_wanted =
        limit.map_or(-1, |limit| i64::try_from(limit).map_or(-1, |limit| limit.saturating_add(1)));
    values.push(rows_wanted.into());
    let mut select = db.prepare_cached(&format!("{}{wheres} ORDER BY h.id LIMIT ?", select!("")))?;
    let rows = select.query_map(params_from_iter(values), record)?;
    let mut hives: Vec<HiveRecord> = rows.collect::<Result<_, _>>()?;
    let mut next = None;
    if limit.is_some_and(|limit| hives.len() > limit) {
        hives.pop();
        next = hives.last().map(|hive| hive.id.clone());
    }
    Ok(HivePage { hives, next })
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
pub(crate) fn written(record: &HiveRecord) -> Result<Vec<Value>> {
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
