//! A few connections that read, taken in turn.

use std::path::Path;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use rusqlite::Connection;

use crate::error::Result;
use crate::open::open_reader;
use crate::options::Options;

/// The pool.
#[derive(Debug, Default)]
pub(crate) struct Readers {
    pool: Mutex<Pool>,
    free: Condvar,
}

#[derive(Debug, Default)]
struct Pool {
    idle: Vec<Connection>,
    /// Idle ones and those in use.
    open: usize,
    /// Raised when the file at the path became another: connections of before are dropped.
    generation: u64,
}

/// A read connection, back in the pool when dropped.
struct Reader<'a> {
    readers: &'a Readers,
    /// None before it is opened, and while it is dropped.
    db: Option<Connection>,
    generation: u64,
}

// === impl Readers ===

impl Readers {
    /// Waits until one is free.
    pub(crate) fn read<T>(
        &self,
        path: &Path,
        options: &Options,
        read: impl FnOnce(&Connection) -> Result<T>,
    ) -> Result<T> {
        let mut pool = self.pool();
        while pool.idle.is_empty() && pool.open >= options.readers {
            pool = self.free.wait(pool).unwrap_or_else(PoisonError::into_inner);
        }
        let mut reader = Reader { readers: self, db: pool.idle.pop(), generation: pool.generation };
        // Counted before it is opened, given back by `drop` if that fails.
        pool.open += usize::from(reader.db.is_none());
        drop(pool);
        let db = match reader.db.take() {
            Some(db) => db,
            None => open_reader(path, options)?,
        };
        read(reader.db.insert(db))
    }

    /// Those of before are not used again.
    pub(crate) fn renew(&self) {
        let mut pool = self.pool();
        pool.generation += 1;
        pool.open -= pool.idle.len();
        pool.idle.clear();
    }

    fn pool(&self) -> MutexGuard<'_, Pool> {
        self.pool.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Reader ===

impl Drop for Reader<'_> {
    fn drop(&mut self) {
        let mut pool = self.readers.pool();
        match self.db.take().filter(|_| self.generation == pool.generation) {
            Some(db) => pool.idle.push(db),
            None => pool.open -= 1,
        }
        drop(pool);
        self.readers.free.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::Readers;
    use crate::HiveCatalog;
    use crate::options::Options;

    #[test]
    fn a_connection_in_use_when_the_file_changed_is_not_used_again() {
        let path = std::env::temp_dir().join(format!("hive-catalog-readers-{}.db", std::process::id()));
        drop(HiveCatalog::open(&path).unwrap());
        let (readers, options) = (Readers::default(), Options::new().readers(1));
        let marked = |path: &Path| {
            let size =
                |db: &rusqlite::Connection| Ok(db.pragma_query_value(None, "cache_size", |row| row.get(0))?);
            readers.read::<i64>(path, &options, size).unwrap() == 77
        };
        let mark = |renew: bool| {
            readers
                .read(&path, &options, |db| {
                    db.pragma_update(None, "cache_size", 77)?;
                    if renew {
                        readers.renew();
                    }
                    Ok(())
                })
                .unwrap();
        };
        mark(false);
        assert!(marked(&path), "it is used again");
        mark(true);
        assert!(!marked(&path));
        for end in ["", ".lock"] {
            std::fs::remove_file(crate::lock::beside(&path, end)).unwrap();
        }
    }
}
