//! What the tests share: a folder that goes, a catalog in it, a clock that is set by hand.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use hive_catalog::{Actor, HiveCatalog, HiveRecord, Operator, Options};

/// A folder of the test's own, removed when dropped.
pub struct Folder(PathBuf);

/// Milliseconds since 1970, moved by hand.
#[derive(Clone)]
pub struct HandClock(Arc<AtomicU64>);

pub const START_MS: u64 = 1_800_000_000_000;

impl Folder {
    pub fn new() -> Self {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("hive-catalog-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        // As the catalog resolves it.
        Self(path.canonicalize().unwrap())
    }

    pub fn join(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Names of the files in it, in order.
    pub fn names(&self) -> Vec<String> {
        let mut names: Vec<_> = std::fs::read_dir(&self.0)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort_unstable();
        names
    }
}

impl AsRef<Path> for Folder {
    fn as_ref(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

impl HandClock {
    pub fn new() -> Self {
        Self(Arc::new(AtomicU64::new(START_MS)))
    }

    pub fn advance(&self, ms: u64) {
        self.0.fetch_add(ms, Ordering::Relaxed);
    }

    pub fn options(&self) -> Options {
        let clock = Arc::clone(&self.0);
        Options::new()
            .clock(move || clock.load(Ordering::Relaxed))
            .patience(std::time::Duration::from_millis(200))
    }
}

pub fn ann() -> Actor {
    Actor::cli("ann").unwrap()
}

pub fn memory() -> Operator {
    HiveCatalog::open_in_memory().unwrap().as_actor(ann())
}

pub fn at(path: &Path) -> Operator {
    HiveCatalog::open_with(path, HandClock::new().options()).unwrap().as_actor(ann())
}

pub fn hive(id: &str) -> HiveRecord {
    HiveRecord { host: Some("10.0.0.1".to_owned()), ..HiveRecord::new(id) }
}

/// Runs SQL on the file as nobody should, with its triggers dropped.
pub fn by_hand(path: &Path, sql: &str) {
    let db = rusqlite::Connection::open(path).unwrap();
    db.execute_batch(sql).unwrap();
    db.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)").unwrap();
}
