//! Who has the catalog. `PATH.lock` is held shared by whoever uses it, exclusively by whoever replaces what is in it;
//! `PATH.serve.lock` by the one service of a catalog. Both files stay: to delete a lock's file is to lose the lock.

use std::ffi::OsString;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read as _, Seek as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use crate::error::{CatalogError, Result};

const RETRY: Duration = Duration::from_millis(10);
const GLANCE: Duration = Duration::from_millis(200);

/// A lock on a file, until dropped.
#[derive(Debug)]
pub(crate) struct Lock {
    // Held for its lock only.
    _file: File,
}

/// That this process is the one service of a catalog, until dropped.
#[derive(Debug)]
pub struct ServeLock {
    _file: File,
}

/// How a lock is taken.
#[derive(Clone, Copy)]
pub(crate) enum Hold {
    Shared,
    Exclusive,
}

/// `PATH` with something appended to its name.
pub(crate) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    name.into()
}

// === impl Lock ===

impl Lock {
    /// `PATH.lock`, waited for as long as `patience`.
    ///
    /// # Errors
    /// `Locked` with the processes that hold it, or that its file cannot be made.
    pub(crate) fn take(catalog: &Path, hold: Hold, patience: Duration) -> Result<Self> {
        let path = beside(catalog, ".lock");
        let file = open(&path)?;
        let until = Instant::now() + patience;
        loop {
            let tried = match hold {
                Hold::Shared => file.try_lock_shared(),
                Hold::Exclusive => file.try_lock(),
            };
            match tried {
                Ok(()) => return Ok(Self { _file: file }),
                Err(TryLockError::WouldBlock) if Instant::now() < until => {
                    thread::sleep(RETRY);
                }
                Err(TryLockError::WouldBlock) => {
                    let pids = served_by(catalog).map_or_else(|| holders(&path), |pid| vec![pid]);
                    return Err(CatalogError::Locked { path, pids });
                }
                Err(TryLockError::Error(error)) => return Err(CatalogError::file(&path, "lock")(error)),
            }
        }
    }
}

// === impl ServeLock ===

impl ServeLock {
    pub(crate) fn take(catalog: &Path) -> Result<Self> {
        let path = beside(catalog, ".serve.lock");
        let mut file = open(&path)?;
        let until = Instant::now() + GLANCE;
        loop {
            match file.try_lock() {
                Ok(()) => break,
                // Who asks `served_by` has it for a moment, too.
                Err(TryLockError::WouldBlock) if Instant::now() < until => thread::sleep(RETRY),
                Err(TryLockError::WouldBlock) => {
                    let pids = read_pid(&mut file).map_or_else(|| holders(&path), |pid| vec![pid]);
                    return Err(CatalogError::Locked { path, pids });
                }
                Err(TryLockError::Error(error)) => return Err(CatalogError::file(&path, "lock")(error)),
            }
        }
        let write = |file: &mut File| {
            file.set_len(0)?;
            file.rewind()?;
            writeln!(file, "{}", std::process::id())?;
            file.sync_all()
        };
        write(&mut file).map_err(CatalogError::file(&path, "write"))?;
        Ok(Self { _file: file })
    }
}

/// The process that serves this catalog now.
pub fn served_by(catalog: &Path) -> Option<u32> {
    let path = beside(catalog, ".serve.lock");
    let mut file = File::open(path).ok()?;
    match file.try_lock_shared() {
        Err(TryLockError::WouldBlock) => read_pid(&mut file),
        _ => None,
    }
}

fn read_pid(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.take(20).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

fn open(path: &Path) -> Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o600);
    options.open(path).map_err(CatalogError::file(path, "open"))
}

/// The processes that hold a lock on the file, as Linux tells; nobody where it does not.
pub(crate) fn holders(path: &Path) -> Vec<u32> {
    let (Ok(meta), Ok(locks)) = (std::fs::metadata(path), std::fs::read_to_string("/proc/locks")) else {
        return Vec::new();
    };
    // `1: FLOCK  ADVISORY  READ 4242 fe:00:131 0 EOF`; a waiter's line has `->` after the number.
    // As the kernel splits a device's number.
    let dev = meta.dev();
    let (major, minor) = (dev >> 8 & 0xfff | dev >> 32 & !0xfff, dev & 0xff | dev >> 12 & !0xff);
    let inode = format!("{major:02x}:{minor:02x}:{}", meta.ino());
    let mut pids: Vec<u32> = locks
        .lines()
        .map(|line| line.split_ascii_whitespace().collect::<Vec<_>>())
        .filter(|words| words.len() >= 6 && words[5] == inode)
        .filter_map(|words| words[4].parse().ok())
        .collect();
    pids.sort_unstable();
    pids.dedup();
    pids
}
