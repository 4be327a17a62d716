//! One line for each cell: a table to read, the same as JSON lines to plot.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use serde::Serialize;

/// One peer on one fleet.
#[derive(Serialize)]
pub(crate) struct Row {
    /// `plain`, `plain-in-place`, `cow`, `dynamo` or `dynamo-prefixes`.
    pub(crate) peer: &'static str,
    pub(crate) what: String,
    /// In all.
    pub(crate) workers: usize,
    /// Among which one pick chooses.
    pub(crate) workers_of_model: usize,
    pub(crate) ours_ns: f64,
    pub(crate) peer_ns: f64,
    /// The peer's time over ours: below 1, we lose.
    pub(crate) ratio: f64,
}

pub(crate) fn head() {
    println!(
        "{:<58} {:>8} {:>8} {:>9} {:>13} {:>11}",
        "what", "workers", "of model", "ours ns", "peer ns", "ratio"
    );
}

impl Row {
    pub(crate) fn print(&self) {
        let lost = if self.ratio < 1.0 { "  we lose" } else { "" };
        println!(
            "{:<58} {:>8} {:>8} {:>9.1} {:>13.1} {:>11.2}{lost}",
            self.what, self.workers, self.workers_of_model, self.ours_ns, self.peer_ns, self.ratio
        );
    }
}

/// One JSON object on each line.
pub(crate) fn write_json(path: &Path, rows: &[Row]) -> io::Result<()> {
    let mut file = BufWriter::new(File::create(path)?);
    for row in rows {
        serde_json::to_writer(&mut file, row)?;
        file.write_all(b"\n")?;
    }
    file.flush()
}
