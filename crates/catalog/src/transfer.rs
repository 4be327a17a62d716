//! Hives as JSON or CSV, out and in. Secrets do not go along; what is brought in is planned first, so that it can be
//! shown, and then made whole or not at all.

use std::collections::{BTreeMap, HashSet};

use serde::{Deserialize, Serialize};

use crate::catalog::HiveCatalog;
use crate::changes::{Changes, Operator};
use crate::check;
use crate::error::{CatalogError, Result, quote};
use crate::hive_rows::{self, to_json};
use crate::hives::HiveFilter;
use crate::record::{HiveRecord, HiveStatus};

/// How hives are written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// `{"hives": [...]}`, records as everywhere.
    Json,
    /// A line of names, then a line for each hive; `backends`, `devices` and `labels` are JSON in their cells.
    Csv,
}

/// What an import would do, or did.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ImportPlan {
    /// Hives that are not in the catalog.
    pub added: Vec<String>,
    /// Hives that are, and the fields that differ.
    pub changed: Vec<(String, Vec<String>)>,
    /// Hives that are there just so.
    pub unchanged: usize,
    records: Vec<HiveRecord>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    hives: Vec<HiveRecord>,
}

/// The names of a CSV's columns; an import may leave out any but the first.
const COLUMNS: [&str; 20] = [
    "id",
    "host",
    "port",
    "ssh_host",
    "ssh_port",
    "ssh_user",
    "ssh_key_path",
    "git_repo_url",
    "git_branch",
    "install_path",
    "binary_path",
    "backends",
    "devices",
    "labels",
    "status",
    "status_reason",
    "last_heartbeat_ms",
    "last_connected_unix",
    "adopted",
    "created_at_ms",
];

// === impl Format ===

impl Format {
    /// By the end of a file's name, `.json` or `.csv`.
    #[must_use]
    pub fn of(path: &std::path::Path) -> Option<Self> {
        match path.extension()?.to_str()?.to_ascii_lowercase().as_str() {
            "json" => Some(Self::Json),
            "csv" => Some(Self::Csv),
            _ => None,
        }
    }

    fn write(self, hives: Vec<HiveRecord>) -> Result<String> {
        match self {
            Self::Json => serde_json::to_string_pretty(&Document { hives })
                .map(|text| text + "\n")
                .map_err(|error| CatalogError::import(0, error)),
            Self::Csv => write_csv(&hives),
        }
    }

    fn read(self, text: &str) -> Result<Vec<HiveRecord>> {
        match self {
            Self::Json => serde_json::from_str::<Document>(text)
                .map(|document| document.hives)
                .map_err(|error| CatalogError::import(error.line(), error)),
            Self::Csv => read_csv(text),
        }
    }
}

fn write_csv(hives: &[HiveRecord]) -> Result<String> {
    let failed = |error: csv::Error| CatalogError::import(0, error);
    let mut out = csv::Writer::from_writer(Vec::new());
    out.write_record(COLUMNS).map_err(failed)?;
    for hive in hives {
        let text = |value: &Option<String>| value.clone().unwrap_or_default();
        let some = |is_empty: bool, text: Result<String>| if is_empty { Ok(String::new()) } else { text };
        out.write_record([
            hive.id.clone(),
            text(&hive.host),
            hive.port.to_string(),
            text(&hive.ssh_host),
            hive.ssh_port.map(|port| port.to_string()).unwrap_or_default(),
            text(&hive.ssh_user),
            text(&hive.ssh_key_path),
            text(&hive.git_repo_url),
            text(&hive.git_branch),
            text(&hive.install_path),
            text(&hive.binary_path),
            some(hive.backends.is_empty(), to_json(&hive.backends))?,
            some(hive.devices.is_empty(), to_json(&hive.devices))?,
            some(hive.labels.is_empty(), to_json(&hive.labels))?,
            hive.status.to_string(),
            text(&hive.status_reason),
            hive.last_heartbeat_ms.map(|at| at.to_string()).unwrap_or_default(),
            hive.last_connected_unix.map(|at| at.to_string()).unwrap_or_default(),
            hive.adopted.to_string(),
            hive.created_at_ms.to_string(),
        ])
        .map_err(failed)?;
    }
    let bytes = out.into_inner().map_err(|error| CatalogError::import(0, error))?;
    String::from_utf8(bytes).map_err(|error| CatalogError::import(0, error))
}

fn read_csv(text: &str) -> Result<Vec<HiveRecord>> {
    let failed = |error: csv::Error| {
        let line = error.position().map_or(0, csv::Position::line);
        CatalogError::import(usize::try_from(line).unwrap_or_default(), error)
    };
    let mut rows = csv::ReaderBuilder::new().trim(csv::Trim::Headers).from_reader(text.as_bytes());
    let header = rows.headers().map_err(failed)?.clone();
    let mut seen = HashSet::new();
    for name in &header {
        if !COLUMNS.contains(&name) {
            return Err(CatalogError::import(
                1,
                format!("column {} is none of {}", quote(name), COLUMNS.join(", ")),
            ));
        }
        if !seen.insert(name) {
            return Err(CatalogError::import(1, format!("column {name} is there twice")));
        }
    }
    if !seen.contains("id") {
        return Err(CatalogError::import(1, "no column id"));
    }
    let mut hives = Vec::new();
    for row in rows.records() {
        let row = row.map_err(failed)?;
        let line = row.position().map_or(0, csv::Position::line);
        let mut hive = HiveRecord::new("");
        for (name, cell) in header.iter().zip(&row).filter(|(_, cell)| !cell.is_empty()) {
            set(&mut hive, name, cell).map_err(|why| {
                let what = format!("{name}: {} refused: {why}", quote(cell));
                CatalogError::import(usize::try_from(line).unwrap_or_default(), what)
            })?;
        }
        hives.push(hive);
    }
    Ok(hives)
}

/// A cell that is not empty, into its field; else what would have been accepted.
fn set(hive: &mut HiveRecord, column: &str, cell: &str) -> Result<(), String> {
    fn number<T: std::str::FromStr>(cell: &str) -> Result<T, String> {
        cell.trim().parse().map_err(|_| "a whole number in its range".to_owned())
    }
    fn json<T: serde::de::DeserializeOwned>(cell: &str) -> Result<T, String> {
        serde_json::from_str(cell).map_err(|error| format!("JSON: {error}"))
    }
    let text = || Some(cell.to_owned());
    match column {
        "id" => cell.clone_into(&mut hive.id),
        "host" => hive.host = text(),
        "port" => hive.port = number(cell)?,
        "ssh_host" => hive.ssh_host = text(),
        "ssh_port" => hive.ssh_port = Some(number(cell)?),
        "ssh_user" => hive.ssh_user = text(),
        "ssh_key_path" => hive.ssh_key_path = text(),
        "git_repo_url" => hive.git_repo_url = text(),
        "git_branch" => hive.git_branch = text(),
        "install_path" => hive.install_path = text(),
        "binary_path" => hive.binary_path = text(),
        // By hand `cuda;cpu` and `rack=a;row=3` will do.
        "backends" if !cell.trim_start().starts_with('[') => {
            hive.backends = cell.split(';').map(|word| word.trim().to_owned()).collect();
        }
        "backends" => hive.backends = json(cell)?,
        "devices" => hive.devices = json(cell)?,
        "labels" if !cell.trim_start().starts_with('{') => hive.labels = pairs(cell)?,
        "labels" => hive.labels = json(cell)?,
        "status" => {
            let status: Result<HiveStatus> = cell.trim().parse();
            hive.status = status.map_err(|_| "unknown, online, offline or error".to_owned())?;
        }
        "status_reason" => hive.status_reason = text(),
        "last_heartbeat_ms" => hive.last_heartbeat_ms = Some(number(cell)?),
        "last_connected_unix" => hive.last_connected_unix = Some(number(cell)?),
        "adopted" => hive.adopted = cell.trim().parse().map_err(|_| "true or false".to_owned())?,
        _ => hive.created_at_ms = number(cell)?,
    }
    Ok(())
}

fn pairs(cell: &str) -> Result<BTreeMap<String, String>, String> {
    let pair = |pair: &str| {
        pair.split_once('=').map(|(name, value)| (name.trim().to_owned(), value.trim().to_owned()))
    };
    cell.split(';')
        .map(pair)
        .collect::<Option<_>>()
        .ok_or_else(|| "name=value;name=value, or JSON".to_owned())
}

// === impl HiveCatalog ===

impl HiveCatalog {
    /// The hives that the filter names, written down; no secrets.
    ///
    /// # Errors
    /// SQLite's.
    pub fn export(&self, filter: &HiveFilter, format: Format) -> Result<String> {
        format.write(self.list_hives(filter)?.hives)
    }

    /// What [`Operator::import`] of that text would do now. Nothing is changed.
    ///
    /// # Errors
    /// `Import`, with the line; `Invalid` and `TooMany`, by hive, field and bound.
    pub fn plan_import(&self, text: &str, format: Format) -> Result<ImportPlan> {
        let records = format.read(text)?;
        let mut seen = HashSet::new();
        for record in &records {
            check::id(&record.id)?;
            if !seen.insert(&*record.id) {
                return Err(CatalogError::import(0, format!("hive {} is there twice", quote(&record.id))));
            }
        }
        self.read_at_once(|db| {
            let mut plan = ImportPlan::default();
            for record in &records {
                let Some(old) = hive_rows::get(db, &record.id)? else {
                    check::record(record)?;
                    plan.added.push(record.id.clone());
                    continue;
                };
                let mut new = hive_rows::replaced(&old, record);
                new.fill_hosts();
                hive_rows::check_change(&old, &new)?;
                plan.note(&record.id, hive_rows::changed(&old, &new)?);
            }
            Ok(plan)
        })
        .map(|plan| ImportPlan { records, ..plan })
    }
}

// === impl Operator ===

impl Operator {
    /// Adds the plan's hives, and replaces what is written of those that are known, as `upsert_hive` does; a new
    /// one's cordons and times come along. One transaction. What it did: as planned, unless others changed the
    /// catalog since.
    ///
    /// # Errors
    /// `Invalid` and `TooMany`, by hive, field and bound: then nothing is changed.
    pub fn import(&self, plan: &ImportPlan) -> Result<ImportPlan> {
        self.transaction(|changes| {
            let mut done = ImportPlan::default();
            plan.records.iter().try_for_each(|record| import_one(changes, record, &mut done))?;
            Ok(done)
        })
    }
}

fn import_one(changes: &Changes<'_>, record: &HiveRecord, done: &mut ImportPlan) -> Result<()> {
    if let Some(old) = changes.get_hive(&record.id)? {
        let mut new = hive_rows::replaced(&old, record);
        new.fill_hosts();
        done.note(&record.id, changes.replace("import", &old, new)?);
        return Ok(());
    }
    changes.insert("import", record)?;
    if let Some(cordon) = &record.cordoned.hive {
        changes.cordon(&record.id, None, &cordon.why)?;
    }
    for (worker, cordon) in &record.cordoned.workers {
        changes.cordon(&record.id, Some(worker), &cordon.why)?;
    }
    done.added.push(record.id.clone());
    Ok(())
}

// === impl ImportPlan ===

impl ImportPlan {
    /// Whether nothing would change.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.added.is_empty() && self.changed.is_empty()
    }

    fn note(&mut self, id: &str, changed: Vec<String>) {
        if changed.is_empty() {
            self.unchanged += 1;
        } else {
            self.changed.push((id.to_owned(), changed));
        }
    }
}
