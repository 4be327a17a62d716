//! The catalog itself: backups, checks, keys, who changed what.

use std::path::Path;

use hive_catalog::{AuditEntry, Hash, HiveCatalog, Options, SCHEMA_VERSION, Verification, hex};
use serde_json::json;

use crate::cli::{Catalog, Global};
use crate::failure::Failure;
use crate::table::{Cell, Column, lines};
use crate::terminal::{Style, Terminal, clean, quoted};
use crate::time::{Since, told};
use crate::{open, progress, who};

pub(crate) fn run(command: Catalog, global: &Global, terminal: &Terminal) -> Result<(), Failure> {
    match command {
        Catalog::Backup { file } => backup(&file, global, terminal),
        Catalog::Restore { file } => restore(&file, global, terminal),
        Catalog::Verify { head } => verify(head, global, terminal),
        Catalog::Audit { since, limit } => audit(since, limit, global, terminal),
        Catalog::Migrate => migrate(global, terminal),
        Catalog::NewKey => new_key(global, terminal),
        Catalog::RotateKey => rotate_key(global, terminal),
    }
}

fn backup(file: &Path, global: &Global, terminal: &Terminal) -> Result<(), Failure> {
    let catalog = open::existing(global, terminal)?;
    let made = progress::shown("backing up", |progress| catalog.backup_with(file, progress))?;
    let path = made.path.display().to_string();
    if global.json {
        return terminal.json(&json!({ "file": path, "bytes": made.bytes }));
    }
    terminal.say(&format!("backed up to {}, {} bytes", clean(&path), made.bytes))?;
    terminal.advise("its secrets open with the key file only: keep a copy of that, apart from the backups");
    Ok(())
}

fn restore(file: &Path, global: &Global, terminal: &Terminal) -> Result<(), Failure> {
    let path = open::path(global)?;
    open::refuse_served(&path, "a restore")?;
    let actor = who::actor()?;
    let done = progress::shown("restoring", |_| HiveCatalog::restore(&path, file, &actor, Options::new()))?;
    let before = done.before.map(|before| before.display().to_string());
    if global.json {
        let path = path.display().to_string();
        return terminal.json(&json!({ "catalog": path, "before": before, "version": done.version }));
    }
    terminal.say(&format!("restored {}", clean(&path.display().to_string())))?;
    match before {
        Some(before) => terminal.say(&format!("the catalog as it was is {}", clean(&before))),
        None => Ok(()),
    }
}

// === verify ===

fn verify(head: Option<(u64, Hash)>, global: &Global, terminal: &Terminal) -> Result<(), Failure> {
    let catalog = open::existing(global, terminal)?;
    let found = progress::shown("verifying", |progress| catalog.verify_with(head, progress))?;
    let (secrets, sealed) = match catalog.check_secrets() {
        Ok(count) => (Some(count), None),
        Err(error) => (None, Some(error.to_string())),
    };
    let is_whole = found.is_whole() && sealed.is_none();
    if global.json {
        let head = found.head.map(|(seq, hash)| json!({ "seq": seq, "hash": hex(&hash) }));
        terminal.json(&json!({
            "whole": is_whole,
            "hives": found.hives,
            "integrity": found.integrity,
            "foreign_keys": found.foreign_keys,
            "schema": found.schema,
            "audit": found.audit.map(|fault| fault.to_string()),
            "head": head,
            "secrets": secrets,
            "secrets_fault": sealed,
            "values": found.values,
            "leftovers": found.leftovers,
        }))?;
    } else {
        terminal.say_all(&findings(&found, secrets, sealed.as_deref(), terminal))?;
    }
    if is_whole {
        return Ok(());
    }
    let (why, hint) = if found.is_whole() {
        (
            "not every secret opens",
            "put the key file that sealed it beside the catalog, as PATH.keys, or set it again",
        )
    } else {
        (
            "the catalog is not whole",
            "`queen catalog restore FILE` puts a backup in its place; the old one is kept aside",
        )
    };
    Err(Failure::Refused(why.to_owned(), Some(hint)))
}

fn findings(
    found: &Verification,
    secrets: Option<usize>,
    sealed: Option<&str>,
    terminal: &Terminal,
) -> Vec<String> {
    let line = |style, kind: &str, text: &str| format!("{} {}", terminal.paint(style, kind), clean(text));
    let wrong = |text: &str| line(Style::Red, "wrong:", text);
    let mut lines = Vec::new();
    for (what, faults) in
        [("file", &found.integrity), ("references", &found.foreign_keys), ("schema", &found.schema)]
    {
        lines.extend(faults.iter().map(|fault| wrong(&format!("{what}: {fault}"))));
    }
    lines.extend(found.audit.iter().map(|fault| wrong(&format!("audit log: {fault}"))));
    lines.extend(sealed.map(|fault| wrong(&format!("secrets: {fault}"))));
    for value in &found.values {
        lines.push(line(Style::Yellow, "not dialled:", &value.fault));
    }
    for left in &found.leftovers {
        let of = left.id.as_ref().map_or_else(|| "no hive".to_owned(), |id| format!("hive {}", quoted(id)));
        let kept = format!("{of}: {}: {} ({})", left.field, left.value, left.why);
        lines.push(line(Style::Yellow, "kept aside:", &kept));
    }
    if found.is_whole() {
        let secrets = secrets.map(|count| format!(", {count} secrets")).unwrap_or_default();
        lines.push(line(Style::Green, "whole:", &format!("{} hives{secrets}", found.hives)));
    }
    lines.push(match &found.head {
        Some((seq, hash)) => {
            format!("audit log: {seq} rows; keep this, for --head of a later look: {seq}:{}", hex(hash))
        }
        None => "audit log: empty".to_owned(),
    });
    lines
}

// === audit ===

const COLUMNS: [Column; 6] = [
    Column { title: "SEQ", goes: 0, least: 3 },
    Column { title: "WHEN", goes: 1, least: 11 },
    Column { title: "WHO", goes: 0, least: 8 },
    Column { title: "WHAT", goes: 0, least: 11 },
    Column { title: "HIVE", goes: 0, least: 8 },
    Column { title: "DETAIL", goes: 2, least: 10 },
];

fn audit(since: Option<Since>, limit: u64, global: &Global, terminal: &Terminal) -> Result<(), Failure> {
    let catalog = open::existing(global, terminal)?;
    let head = catalog.audit_head()?;
    let last = head.map_or(0, |(seq, _)| seq);
    let now_ms = catalog.now_ms();
    let from = match since {
        None => (last + 1).saturating_sub(limit).max(1),
        Some(Since::Seq(seq)) => seq.max(1),
        Some(Since::Ago(ms)) => first_at(&catalog, now_ms.saturating_sub(ms))?,
        Some(Since::At(ms)) => first_at(&catalog, ms)?,
    };
    let entries = catalog.audit(from..from.saturating_add(limit))?;
    // The next call's --since; nothing where this is the end.
    let next = entries.last().map(|entry| entry.seq + 1).filter(|next| *next <= last);
    if global.json {
        let head = head.map(|(seq, hash)| json!({ "seq": seq, "hash": hex(&hash) }));
        return terminal.json(&json!({ "entries": entries, "next": next, "head": head }));
    }
    if entries.is_empty() {
        terminal.note(&format!("no rows; the log has {last}"));
        return Ok(());
    }
    let rows: Vec<_> = entries.iter().map(|entry| row(entry, now_ms, terminal)).collect();
    terminal.say_all(&lines(&COLUMNS, &rows, terminal))?;
    if let Some(next) = next {
        terminal.note(&format!("{} more rows: --since {next}", last - next + 1));
    }
    Ok(())
}

fn row(entry: &AuditEntry, now_ms: u64, terminal: &Terminal) -> Vec<Cell> {
    let text = |text: &Option<String>| Cell::of(text.as_deref().unwrap_or_default());
    vec![
        Cell::of(entry.seq.to_string()),
        Cell::of(told(entry.at_ms, now_ms, terminal.is_terminal())),
        Cell::of(&entry.who),
        Cell::of(&entry.what),
        text(&entry.hive),
        text(&entry.detail),
    ]
}

/// Rows that are read at once.
const PART: u64 = 10_000;

/// The first row from that moment on. Read from the beginning: clocks go back, and the log is ordered by number.
fn first_at(catalog: &HiveCatalog, ms: u64) -> Result<u64, Failure> {
    let mut from = 1;
    loop {
        let part = catalog.audit(from..from + PART)?;
        if let Some(found) = part.iter().find(|entry| entry.at_ms >= ms) {
            return Ok(found.seq);
        }
        match part.last() {
            Some(last) => from = last.seq + 1,
            None => return Ok(from),
        }
    }
}

// === schema and keys ===

fn migrate(global: &Global, terminal: &Terminal) -> Result<(), Failure> {
    let catalog = open::alone(global, "a migration", terminal)?;
    if global.json {
        let steps = catalog.migrated().iter();
        let steps: Vec<_> = steps
            .map(|step| json!({ "from": step.from, "to": step.to, "copy": step.copy.display().to_string() }))
            .collect();
        return terminal.json(&json!({ "version": SCHEMA_VERSION, "migrated": steps }));
    }
    let already = if catalog.migrated().is_empty() { " already" } else { "" };
    terminal.say(&format!("the schema is version {SCHEMA_VERSION}{already}"))
}

fn new_key(global: &Global, terminal: &Terminal) -> Result<(), Failure> {
    let catalog = open::made(global, terminal)?;
    let id = catalog.new_key()?;
    let file = catalog.key_file().map(|file| file.display().to_string()).unwrap_or_default();
    if global.json {
        return terminal.json(&json!({ "key_id": id, "key_file": file }));
    }
    terminal.say(&format!("key {} is in {}", clean(&id), clean(&file)))?;
    terminal.note("keep a copy of that file, apart from the backups: without it no secret opens");
    Ok(())
}

fn rotate_key(global: &Global, terminal: &Terminal) -> Result<(), Failure> {
    let catalog = open::alone(global, "a rotation of keys", terminal)?;
    let done = catalog.rotate_key()?;
    if global.json {
        return terminal.json(&json!({ "key_id": done.key_id, "secrets": done.sealed }));
    }
    terminal.say(&format!("{} secrets are sealed by key {} now", done.sealed, clean(&done.key_id)))?;
    terminal.advise("keys before it stay in the key file, for backups need them; keep a copy of it again");
    Ok(())
}
