//! What is no median of criterion's, kept as data for the report beside being printed.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde::Serialize;

/// The folder to keep them in. Only `make bench` names one: `cargo test`, or a bench run by hand, leaves nothing.
const FOLDER: &str = "HIVE_BENCH_FIGURES";

/// One row of a table.
#[derive(Serialize)]
pub struct Figure {
    what: String,
    unit: &'static str,
    figures: BTreeMap<&'static str, f64>,
}

impl Figure {
    pub fn new(
        what: impl Into<String>,
        unit: &'static str,
        figures: impl IntoIterator<Item = (&'static str, f64)>,
    ) -> Self {
        Self { what: what.into(), unit, figures: figures.into_iter().collect() }
    }
}

/// Writes the table `name`, one JSON object on each line; nothing where nothing was measured.
pub fn keep(name: &str, rows: impl IntoIterator<Item = Figure>) {
    let mut lines = String::new();
    for row in rows {
        lines += &serde_json::to_string(&row).expect("it is written as JSON");
        lines.push('\n');
    }
    let Some(folder) = std::env::var_os(FOLDER).filter(|_| !lines.is_empty()) else { return };
    let path = Path::new(&folder).join(format!("{name}.jsonl"));
    let written = fs::create_dir_all(&folder).and_then(|()| fs::write(&path, lines));
    written.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
}
