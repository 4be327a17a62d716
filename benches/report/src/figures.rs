//! What was measured: criterion's medians, the tables that the benches kept, and the peers.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// Nanoseconds.
#[derive(Clone, Copy)]
pub(crate) struct Median {
    pub(crate) ns: f64,
    /// The bounds of its 95 % confidence interval.
    pub(crate) between: [f64; 2],
}

/// One row of a bench's table.
#[derive(Deserialize)]
pub(crate) struct Row {
    pub(crate) what: String,
    figures: BTreeMap<String, f64>,
}

/// One peer on one fleet, with ours measured beside it.
#[derive(Deserialize)]
pub(crate) struct Peer {
    pub(crate) peer: String,
    pub(crate) what: String,
    pub(crate) workers: usize,
    pub(crate) workers_of_model: usize,
    pub(crate) ours_ns: f64,
    pub(crate) peer_ns: f64,
    pub(crate) ratio: f64,
}

pub(crate) struct Figures {
    folder: PathBuf,
    /// By criterion's full id.
    medians: BTreeMap<String, Median>,
    tables: BTreeMap<String, Vec<Row>>,
    peers: Vec<Peer>,
    /// When the first and the last of them were written.
    pub(crate) when: [SystemTime; 2],
}

/// Something that the report needs is not there, or cannot be read.
#[derive(Debug)]
pub(crate) struct Missing {
    path: PathBuf,
    why: String,
}

impl Figures {
    pub(crate) fn read(folder: &Path) -> Result<Self, Missing> {
        let mut figures = Self {
            folder: folder.to_owned(),
            medians: BTreeMap::new(),
            tables: BTreeMap::new(),
            peers: read_lines(&folder.join("peers.jsonl"))?,
            when: [SystemTime::now(), SystemTime::UNIX_EPOCH],
        };
        figures.wrote(&folder.join("peers.jsonl"))?;
        for path in entries(folder)? {
            if path.extension().is_some_and(|extension| extension == "jsonl")
                && !path.ends_with("peers.jsonl")
            {
                let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
                figures.tables.insert(name, read_lines(&path)?);
                figures.wrote(&path)?;
            }
        }
        for path in entries(folder)? {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if path.is_dir() && name.starts_with("criterion-") {
                figures.medians_below(&path)?;
            }
        }
        Ok(figures)
    }

    /// Criterion keeps the latest of each function in a folder `new`, however deep its id is. Of several rounds the
    /// least counts: whatever else the machine does only ever adds.
    fn medians_below(&mut self, folder: &Path) -> Result<(), Missing> {
        let (named, estimated) = (folder.join("new/benchmark.json"), folder.join("new/estimates.json"));
        if named.is_file() {
            let (name, estimates): (Value, Value) = (read_json(&named)?, read_json(&estimated)?);
            let median = &estimates["median"];
            let number = |value: &Value| {
                value.as_f64().ok_or_else(|| Missing::new(&estimated, "no median, as criterion 0.7 wrote it"))
            };
            let bounds = &median["confidence_interval"];
            let between = [number(&bounds["lower_bound"])?, number(&bounds["upper_bound"])?];
            let median = Median { ns: number(&median["point_estimate"])?, between };
            let id = name["full_id"].as_str().ok_or_else(|| Missing::new(&named, "no full_id"))?;
            let least = self.medians.entry(id.to_owned()).or_insert(median);
            if median.ns < least.ns {
                *least = median;
            }
            self.wrote(&estimated)?;
        }
        for path in entries(folder)? {
            if path.is_dir() && !path.ends_with("new") {
                self.medians_below(&path)?;
            }
        }
        Ok(())
    }

    fn wrote(&mut self, path: &Path) -> Result<(), Missing> {
        let at =
            fs::metadata(path).and_then(|file| file.modified()).map_err(|error| Missing::new(path, error))?;
        self.when = [self.when[0].min(at), self.when[1].max(at)];
        Ok(())
    }

    pub(crate) fn medians(&self) -> impl Iterator<Item = (&str, Median)> {
        self.medians.iter().map(|(id, median)| (id.as_str(), *median))
    }

    /// Nanoseconds, by criterion's full id.
    pub(crate) fn median(&self, id: &str) -> Result<f64, Missing> {
        let median = self.medians.get(id).map(|median| median.ns);
        median.ok_or_else(|| Missing::new(&self.folder.join("criterion-*"), format!("no {id}")))
    }

    pub(crate) fn table(&self, name: &str) -> Result<&[Row], Missing> {
        let path = self.folder.join(format!("{name}.jsonl"));
        self.tables.get(name).map(Vec::as_slice).ok_or_else(|| Missing::new(&path, "not there"))
    }

    /// The row of a table whose text contains all of `words`.
    pub(crate) fn row(&self, name: &str, words: &[&str]) -> Result<&Row, Missing> {
        let path = self.folder.join(format!("{name}.jsonl"));
        let row = self.table(name)?.iter().find(|row| words.iter().all(|word| row.what.contains(word)));
        row.ok_or_else(|| Missing::new(&path, format!("no row of \"{}\"", words.join("\" and \""))))
    }

    pub(crate) fn peers(&self) -> &[Peer] {
        &self.peers
    }

    pub(crate) fn peer(&self, peer: &str, workers: usize, of_model: usize) -> Result<&Peer, Missing> {
        let is_it =
            |row: &&Peer| (row.peer.as_str(), row.workers, row.workers_of_model) == (peer, workers, of_model);
        let none = || {
            let why = format!("no {peer} among {workers} workers, {of_model} of the model");
            Missing::new(&self.folder.join("peers.jsonl"), why)
        };
        self.peers.iter().find(is_it).ok_or_else(none)
    }
}

impl Row {
    pub(crate) fn get(&self, name: &str) -> Result<f64, Missing> {
        let none = || Missing::new(Path::new(&self.what), format!("no figure \"{name}\""));
        self.figures.get(name).copied().ok_or_else(none)
    }
}

impl Missing {
    fn new(path: &Path, why: impl fmt::Display) -> Self {
        Self { path: path.to_owned(), why: why.to_string() }
    }
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}; `make bench` measures it", self.path.display(), self.why)
    }
}

impl Error for Missing {}

fn entries(folder: &Path) -> Result<Vec<PathBuf>, Missing> {
    let read = fs::read_dir(folder).map_err(|error| Missing::new(folder, error))?;
    read.map(|entry| entry.map(|entry| entry.path()).map_err(|error| Missing::new(folder, error))).collect()
}

fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T, Missing> {
    let text = fs::read(path).map_err(|error| Missing::new(path, error))?;
    serde_json::from_slice(&text).map_err(|error| Missing::new(path, error))
}

/// One JSON object on each line.
fn read_lines<T: DeserializeOwned>(path: &Path) -> Result<Vec<T>, Missing> {
    let text = fs::read_to_string(path).map_err(|error| Missing::new(path, error))?;
    let parsed = text.lines().map(serde_json::from_str);
    parsed.collect::<Result<_, _>>().map_err(|error| Missing::new(path, error))
}
