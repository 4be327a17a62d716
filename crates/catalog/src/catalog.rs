use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::{Connection, Transaction, TransactionBehavior};

use crate::actor::Actor;
use crate::changes::Operator;
use crate::error::{CatalogError, Result};
use crate::lock::ServeLock;
use crate::open::{FileId, Writer, check_sqlite, open_writer, prepare, set_up};
use crate::options::Options;
use crate::readers::Readers;
use crate::schema::{self, Migration};

/// The catalog: reads, and what heartbeats change. What people change goes by [`HiveCatalog::as_actor`].
///
/// A handle; clones are the same catalog. Calls wait for the disk: a service uses
/// [`AsyncCatalog`](crate::AsyncCatalog).
#[derive(Clone, Debug)]
pub struct HiveCatalog {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    // None in memory.
    path: Option<PathBuf>,
    options: Options,
    migrated: Vec<Migration>,
    // Before the writer, which has the lock: the last connection to close folds the WAL in and deletes it.
    readers: Readers,
    /// The one that writes.
    writer: Mutex<Writer>,
}

// === impl HiveCatalog ===

impl HiveCatalog {
    /// Opens the catalog at `path`, makes it where there is none (folder 0700, file 0600), and migrates an older
    /// one, of which a copy stays beside it.
    ///
    /// # Errors
    /// `Locked`, `NewerSchema`, `NotACatalog`, `Damaged`, `ReadOnly`, `DiskFull`, `File`: each says what to do.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        Self::open_with(path, Options::default())
    }

    /// [`open`](Self::open), with [`Options`].
    ///
    /// # Errors
    /// As [`open`](Self::open); `OlderSchema` where it may not migrate.
    pub fn open_with(path: impl AsRef<Path>, options: Options) -> Result<Self> {
        check_sqlite()?;
        let path = prepare(path.as_ref())?;
        let (writer, migrated) =
            open_writer(&path, &options).map_err(|error| error.at(&path).with_holders(&path))?;
        Ok(Self::new(Some(path), options, writer, migrated))
    }

    /// A catalog that ends with its last handle.
    ///
    /// # Errors
    /// `OldSqlite`, or no memory.
    pub fn open_in_memory() -> Result<Self> {
        Self::open_in_memory_with(Options::default())
    }

    /// [`open_in_memory`](Self::open_in_memory), with [`Options`]. Secrets need a key file named there.
    ///
    /// # Errors
    /// As [`open_in_memory`](Self::open_in_memory).
    pub fn open_in_memory_with(options: Options) -> Result<Self> {
        check_sqlite()?;
        let mut db = Connection::open_in_memory()?;
        set_up(&db, &options)?;
        schema::create(&mut db, options.now_ms())?;
        Ok(Self::new(None, options, Writer { db, file: None, _lock: None }, Vec::new()))
    }

    fn new(path: Option<PathBuf>, options: Options, writer: Writer, migrated: Vec<Migration>) -> Self {
        let (writer, readers) = (Mutex::new(writer), Readers::default());
        Self { inner: Arc::new(Inner { path, options, migrated, writer, readers }) }
    }

    /// The handle by which `actor` changes what is in the catalog; each change leaves an audit row with that name.
    #[must_use]
    pub fn as_actor(&self, actor: Actor) -> Operator {
        Operator::new(self.clone(), actor)
    }

    /// Where it is; nothing in memory.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        self.inner.path.as_deref()
    }

    /// The key file that secrets are sealed by.
    #[must_use]
    pub fn key_file(&self) -> Option<PathBuf> {
        match self.path() {
            Some(path) => Some(self.inner.options.keys_of(path)),
            None => self.inner.options.key_file.clone(),
        }
    }

    /// The migrations that opening it made.
    #[must_use]
    pub fn migrated(&self) -> &[Migration] {
        &self.inner.migrated
    }

    /// Makes this process the one service of the catalog, until the lock is dropped.
    ///
    /// # Errors
    /// `Locked`, naming the process that is it. In memory there is nothing to lock, and it is `NotExclusive`.
    pub fn serve_lock(&self) -> Result<ServeLock> {
        let path = self.path().ok_or(CatalogError::NotExclusive { what: "serve_lock in memory" })?;
        ServeLock::take(path)
    }

    /// A number that changes when another process, or another handle opened by path, changed anything; not by what
    /// this handle and its clones change. What changed is in the audit rows since the last look.
    ///
    /// # Errors
    /// `Vanished`, or SQLite's.
    pub fn data_version(&self) -> Result<u64> {
        self.with_writer(|db| Ok(db.pragma_query_value(None, "data_version", |row| row.get(0))?))
    }

    /// Milliseconds since 1970, by the catalog's clock.
    #[must_use]
    pub fn now_ms(&self) -> u64 {
        self.inner.options.now_ms()
    }

    pub(crate) fn require_exclusive(&self, what: &'static str) -> Result<()> {
        if self.path().is_none() || self.inner.options.exclusive {
            return Ok(());
        }
        Err(CatalogError::NotExclusive { what })
    }

    /// The path for messages.
    pub(crate) fn name(&self) -> &Path {
        self.path().unwrap_or(Path::new(":memory:"))
    }

    /// A read on a connection of the pool; one that waits for its turn, not for writers.
    pub(crate) fn read<T>(&self, read: impl FnOnce(&Connection) -> Result<T>) -> Result<T> {
        let Some(path) = self.path() else {
            return self.with_writer(|db| read(db));
        };
        let answer = self.inner.readers.read(path, &self.inner.options, read);
        answer.map_err(|error| error.at(path).with_holders(path))
    }

    /// Several reads of one moment.
    pub(crate) fn read_at_once<T>(&self, read: impl FnOnce(&Connection) -> Result<T>) -> Result<T> {
        self.read(|db| {
            let tx = db.unchecked_transaction()?;
            read(&tx)
        })
    }

    /// A transaction, `BEGIN IMMEDIATE`: committed when `write` succeeds, else nothing of it is kept.
    pub(crate) fn write<T>(&self, write: impl FnOnce(&Transaction<'_>) -> Result<T>) -> Result<T> {
        self.with_writer(|db| {
            // A disk that failed may have kept the last one from being undone.
            if !db.is_autocommit() {
                db.execute_batch("ROLLBACK")?;
            }
            let tx = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let answer = write(&tx)?;
            tx.commit()?;
            Ok(answer)
        })
    }

    pub(crate) fn with_writer<T>(&self, call: impl FnOnce(&mut Connection) -> Result<T>) -> Result<T> {
        // A panic in a caller's closure leaves a transaction that was undone, and the rest whole.
        let mut writer = self.inner.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(path) = self.path() else {
            return call(&mut writer.db);
        };
        let located = |error: CatalogError| error.at(path).with_holders(path);
        self.stay_at(path, &mut writer).map_err(located)?;
        call(&mut writer.db).map_err(located)
    }

    /// An SQLite whose file was taken from its place goes on writing into nowhere: asked before each write. Where
    /// another file came, that one is opened.
    fn stay_at(&self, path: &Path, writer: &mut Writer) -> Result<()> {
        if writer.file == Some(FileId::of(path)?) {
            return Ok(());
        }
        // SQLite would take the WAL of the file before for that of the one that is there now.
        let wal = crate::lock::beside(path, "-wal");
        if std::fs::metadata(&wal).is_ok_and(|wal| wal.len() > 0) {
            let why = "another file took its place, and the WAL of the one before is beside it: stop what uses the \
                       catalog, and put the file back by `queen catalog restore`";
            return Err(CatalogError::not_a_catalog(path, why));
        }
        let (opened, _) = open_writer(path, &self.inner.options)?;
        *writer = opened;
        self.inner.readers.renew();
        Ok(())
    }
}
