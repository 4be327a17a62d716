//! The rows of the older program's `beehives`, brought into today's tables. Values that no door would take today are
//! kept as they are, if their column can hold them; `verify` lists these. What no column can hold goes to `leftovers`.

use std::collections::BTreeMap;
use std::path::Path;

use rusqlite::types::{Value, ValueRef};
use rusqlite::{Connection, Transaction, params};

use crate::error::{CatalogError, Result};
use crate::hive_rows::to_json;
use crate::legacy::DEFAULT_SSH_PORT;
use crate::record::{HiveRecord, HiveStatus};

/// Without these a table is not the older program's; `ssh_key_path`, `backends` and `devices` came later.
const WANTED: [&str; 8] = [
    "node_name",
    "ssh_host",
    "ssh_port",
    "ssh_user",
    "git_repo_url",
    "git_branch",
    "install_path",
    "last_connected_unix",
];

pub(crate) fn check_columns(db: &Connection, path: &Path) -> Result<()> {
    let columns = columns(db)?;
    match WANTED.iter().find(|wanted| !columns.iter().any(|column| column == *wanted)) {
        None => Ok(()),
        Some(missing) => Err(CatalogError::not_a_catalog(path, format!("table beehives without {missing}"))),
    }
}

fn columns(db: &Connection) -> Result<Vec<String>> {
    let mut select = db.prepare("SELECT name FROM pragma_table_info('beehives')")?;
    let names = select.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
    Ok(names)
}

pub(crate) fn bring_over(tx: &Transaction<'_>, now_ms: u64) -> Result<()> {
    let names = columns(tx)?;
    let mut select = tx.prepare("SELECT * FROM beehives ORDER BY rowid")?;
    let mut rows = select.query([])?;
    while let Some(row) = rows.next()? {
        let mut values = BTreeMap::new();
        for (at, name) in names.iter().enumerate() {
            values.insert(&**name, row.get_ref(at)?.into_value());
        }
        Old { tx, id: None, values }.bring(now_ms)?;
    }
    Ok(())
}

trait IntoValue {
    fn into_value(self) -> Value;
}

impl IntoValue for ValueRef<'_> {
    /// Text that is not UTF-8 becomes the bytes it is.
    fn into_value(self) -> Value {
        match self {
            ValueRef::Text(bytes) => match std::str::from_utf8(bytes) {
                Ok(text) => Value::Text(text.to_owned()),
                Err(_) => Value::Blob(bytes.to_owned()),
            },
            ValueRef::Null => Value::Null,
            ValueRef::Integer(number) => Value::Integer(number),
            ValueRef::Real(number) => Value::Real(number),
            ValueRef::Blob(bytes) => Value::Blob(bytes.to_owned()),
        }
    }
}

/// A row of the older table; what was made use of is taken out of `values`.
struct Old<'a> {
    tx: &'a Transaction<'a>,
    id: Option<String>,
    values: BTreeMap<&'a str, Value>,
}

impl Old<'_> {
    fn bring(mut self, now_ms: u64) -> Result<()> {
        let name = self.values.remove("node_name").unwrap_or(Value::Null);
        // SQLite lets a text key be NULL, or bytes, or (no column type holds it back) empty.
        let Value::Text(id) = name else {
            self.leave("node_name", name, "not text: the whole row is set aside")?;
            return self.leave_the_rest("of a row without a name");
        };
        self.id = Some(id.clone());
        let mut record = HiveRecord::new(id);
        record.ssh_host = self.text("ssh_host")?;
        record.host.clone_from(&record.ssh_host);
        record.ssh_user = self.text("ssh_user")?;
        record.ssh_key_path = self.text("ssh_key_path")?;
        record.git_repo_url = self.text("git_repo_url")?;
        record.git_branch = self.text("git_branch")?;
        record.install_path = self.text("install_path")?;
        record.ssh_port = self.port()?;
        record.last_connected_unix = self.seconds()?;
        record.status = self.status()?;
        record.backends = self.json("backends", "not a JSON list of words")?.unwrap_or_default();
        record.devices.counts = self.json("devices", "not a JSON object of counts")?.unwrap_or_default();
        self.insert(&record, now_ms)?;
        self.leave_the_rest("a column of no known meaning")
    }

    fn insert(&self, record: &HiveRecord, now_ms: u64) -> Result<()> {
        self.tx
            .prepare_cached(
                "INSERT INTO hives (id, host, port, ssh_host, ssh_port, ssh_user, ssh_key_path, git_repo_url, \
                 git_branch, install_path, last_connected_unix, status, backends, devices, created_at_ms, \
                 updated_at_ms) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?15)",
            )?
            .execute(params![
                record.id,
                record.host,
                record.port,
                record.ssh_host,
                record.ssh_port,
                record.ssh_user,
                record.ssh_key_path,
                record.git_repo_url,
                record.git_branch,
                record.install_path,
                record.last_connected_unix,
                record.status.as_str(),
                to_json(&record.backends)?,
                to_json(&record.devices)?,
                now_ms,
            ])?;
        Ok(())
    }

    fn leave(&self, field: &str, value: Value, why: &str) -> Result<()> {
        self.tx
            .prepare_cached("INSERT INTO leftovers (hive, field, value, why) VALUES (?1, ?2, ?3, ?4)")?
            .execute(params![self.id, field, value, why])?;
        Ok(())
    }

    fn leave_the_rest(self, why: &str) -> Result<()> {
        self.values
            .iter()
            .filter(|(_, value)| **value != Value::Null)
            .try_for_each(|(field, value)| self.leave(field, value.clone(), why))
    }

    fn text(&mut self, field: &'static str) -> Result<Option<String>> {
        match self.values.remove(field) {
            // The older program wrote NOT NULL columns empty where nothing was said.
            None | Some(Value::Null) => Ok(None),
            Some(Value::Text(text)) if text.is_empty() => Ok(None),
            Some(Value::Text(text)) => Ok(Some(text)),
            Some(other) => self.leave(field, other, "not text").map(|()| None),
        }
    }

    /// 22 is what the older program wrote where nothing was said.
    fn port(&mut self) -> Result<Option<u16>> {
        match self.values.remove("ssh_port") {
            None | Some(Value::Null) => Ok(None),
            Some(Value::Integer(number)) if number == i64::from(DEFAULT_SSH_PORT) => Ok(None),
            Some(Value::Integer(number)) if (0..=65_535).contains(&number) => Ok(Some(number as u16)),
            Some(other) => self.leave("ssh_port", other, "not a port").map(|()| None),
        }
    }

    fn seconds(&mut self) -> Result<Option<i64>> {
        match self.values.remove("last_connected_unix") {
            None | Some(Value::Null) => Ok(None),
            Some(Value::Integer(number)) => Ok(Some(number)),
            Some(other) => self.leave("last_connected_unix", other, "not whole seconds").map(|()| None),
        }
    }

    fn status(&mut self) -> Result<HiveStatus> {
        match self.values.remove("status") {
            None | Some(Value::Null) => Ok(HiveStatus::Unknown),
            Some(Value::Text(word)) => match word.parse() {
                Ok(status) => Ok(status),
                Err(_) => {
                    self.leave("status", Value::Text(word), "no known status").map(|()| HiveStatus::Unknown)
                }
            },
            Some(other) => self.leave("status", other, "no known status").map(|()| HiveStatus::Unknown),
        }
    }

    fn json<T: serde::de::DeserializeOwned>(&mut self, field: &'static str, why: &str) -> Result<Option<T>> {
        match self.values.remove(field) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::Text(text)) => match serde_json::from_str(&text) {
                Ok(value) => Ok(Some(value)),
                Err(_) => self.leave(field, Value::Text(text), why).map(|()| None),
            },
            Some(other) => self.leave(field, other, why).map(|()| None),
        }
    }
}
