//! Hives into a file, and out of one.

use std::fs;
use std::io::{self, Read as _, Write as _};
use std::path::Path;

use hive_catalog::{Format, HiveFilter, ImportPlan};
use serde_json::json;

use crate::cli::{self, Export, Global, Import};
use crate::failure::Failure;
use crate::open;
use crate::spreadsheet;
use crate::terminal::{Style, Terminal, clean, clean_json};

/// A file that is not read further, bytes.
const MAX_BYTES: u64 = 1 << 30;

pub(crate) fn export(export: Export, global: &Global, terminal: &Terminal) -> Result<(), Failure> {
    let format = format(&export.file, export.format)?;
    let catalog = open::looked_at(global, terminal)?;
    if !is_standard(&export.file) {
        catalog.check_target(&export.file)?;
    }
    let text = catalog.export(&HiveFilter::from(export.filter), format)?;
    let text = match format {
        Format::Json => clean_json(&text),
        Format::Csv => spreadsheet::guard(&text)?,
    };
    if is_standard(&export.file) {
        return terminal.write(text.as_bytes());
    }
    write(&export.file, &text).map_err(|error| Failure::file(&export.file, "write", &error))?;
    let file = export.file.display().to_string();
    if global.json {
        let format = if format == Format::Json { "json" } else { "csv" };
        return terminal.json(&json!({ "file": file, "format": format, "bytes": text.len() }));
    }
    terminal.say(&format!("exported to {}; secrets are not in it", clean(&file)))
}

/// Beside it first, so that a file that was there is whole until the new one is.
fn write(file: &Path, text: &str) -> io::Result<()> {
    let to_device = fs::metadata(file).is_ok_and(|meta| !meta.is_file());
    if to_device {
        return fs::write(file, text);
    }
    // A link stays one.
    let file = fs::canonicalize(file).unwrap_or_else(|_| file.to_owned());
    let mut name = file.as_os_str().to_owned();
    name.push(format!(".{}.tmp", std::process::id()));
    let written = fs::File::create_new(&name)
        .and_then(|mut new| new.write_all(text.as_bytes()).and_then(|()| new.sync_all()))
        .and_then(|()| fs::rename(&name, &file));
    if written.is_err() {
        let _ = fs::remove_file(&name);
    }
    written
}

pub(crate) fn import(import: &Import, global: &Global, terminal: &Terminal) -> Result<(), Failure> {
    let format = format(&import.file, import.format)?;
    let text = read(&import.file)?;
    let text = if format == Format::Csv { spreadsheet::unguard(&text)? } else { text };
    let done = if import.dry_run {
        open::looked_at(global, terminal)?.plan_import(&text, format)?
    } else {
        let catalog = open::made(global, terminal)?;
        catalog.import(&catalog.plan_import(&text, format)?)?
    };
    if global.json {
        let changed: Vec<_> =
            done.changed.iter().map(|(id, fields)| json!({ "id": id, "fields": fields })).collect();
        return terminal.json(&json!({
            "dry_run": import.dry_run, "added": done.added, "changed": changed, "unchanged": done.unchanged,
        }));
    }
    show(&done, import.dry_run, terminal)
}

fn show(done: &ImportPlan, dry_run: bool, terminal: &Terminal) -> Result<(), Failure> {
    let mut lines = Vec::new();
    for id in &done.added {
        lines.push(format!("{} {}", terminal.paint(Style::Green, "+"), clean(id)));
    }
    for (id, fields) in &done.changed {
        lines.push(format!(
            "{} {}: {}",
            terminal.paint(Style::Yellow, "~"),
            clean(id),
            clean(&fields.join(", "))
        ));
    }
    let (added, changed, unchanged) = (done.added.len(), done.changed.len(), done.unchanged);
    lines.push(if dry_run {
        format!("would add {added}, change {changed}, leave {unchanged}; nothing was changed")
    } else {
        format!("added {added}, changed {changed}, left {unchanged}")
    });
    terminal.say_all(&lines)
}

fn is_standard(file: &Path) -> bool {
    file.as_os_str() == "-"
}

fn format(file: &Path, said: Option<cli::Format>) -> Result<Format, Failure> {
    let by_name = if is_standard(file) { Some(Format::Json) } else { Format::of(file) };
    said.map(Format::from).or(by_name).ok_or_else(|| {
        Failure::usage(format_args!(
            "{}: its name does not end in .json or .csv; --format says how it is written",
            clean(&file.display().to_string())
        ))
    })
}

fn read(file: &Path) -> Result<String, Failure> {
    fn all(from: impl io::Read) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        from.take(MAX_BYTES + 1).read_to_end(&mut bytes).map(|_| bytes)
    }
    let bytes = if is_standard(file) { all(io::stdin()) } else { fs::File::open(file).and_then(all) };
    let bytes = bytes.map_err(|error| Failure::file(file, "read", &error))?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(Failure::refused(format!("{}: over {MAX_BYTES} bytes refused", file.display())));
    }
    // A spreadsheet's mark at the beginning is not of the text.
    let text = String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        Failure::Refused(
            format!("{}: not UTF-8 from byte {at} on", file.display()),
            Some("nothing was changed; save it as UTF-8"),
        )
    })?;
    Ok(text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text))
}
