use std::fs::{self, DirBuilder, OpenOptions, Permissions};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use rusqlite::{Connection, OpenFlags, Transaction, TransactionBehavior};

use crate::actor::Actor;
use crate::changes::Operator;
use crate::error::{CatalogError, Result};
use crate::lock::{Hold, Lock, ServeLock, beside};
use crate::options::Options;
use crate::schema::{self, Found, Migration};

/// The least SQLite that will do, as `sqlite3_libversion_number` has it.
const LEAST_SQLITE: (i32, &str) = (3_051_003, "3.51.3");
/// What is left of the WAL after a checkpoint, bytes.
const JOURNAL_BYTES: i64 = 16 << 20;
const STATEMENTS: usize = 64;

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
    /// The one that writes. Taken before `readers`, if both are.
    writer: Mutex<Writer>,
    readers: Mutex<Readers>,
    reader_free: Condvar,
}

#[derive(Debug)]
struct Writer {
    db: Connection,
    file: Option<FileId>,
    // None in memory.
    _lock: Option<Lock>,
}

#[derive(Debug, Default)]
struct Readers {
    idle: Vec<Connection>,
    /// Idle ones and those in use.
    open: usize,
    /// Raised when the file at the path became another: connections of before are dropped.
    generation: u64,
}

/// Which file it is, whatever its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct FileId(u64, u64);

/// The SQLite that is linked.
///
/// # Errors
/// `OldSqlite`: it can corrupt a database that two processes write. [`HiveCatalog::open`] asks, too.
pub fn check_sqlite() -> Result<&'static str> {
    let found = rusqlite::version();
    if rusqlite::version_number() >= LEAST_SQLITE.0 {
        return Ok(found);
    }
    Err(CatalogError::OldSqlite { found: found.to_owned(), least: LEAST_SQLITE.1 })
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
        let (writer, readers) = (Mutex::new(writer), Mutex::new(Readers::default()));
        let inner = Inner { path, options, migrated, writer, readers, reader_free: Condvar::new() };
        Self { inner: Arc::new(inner) }
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
        let located = |error: CatalogError| error.at(path).with_holders(path);
        let reader = Reader::take(&self.inner, path).map_err(located)?;
        reader.read(read).map_err(located)
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
            let tx = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let answer = write(&tx)?;
            tx.commit()?;
            Ok(answer)
        })
    }

    pub(crate) fn with_writer<T>(&self, call: impl FnOnce(&mut Connection) -> Result<T>) -> Result<T> {
        let mut writer = held(&self.inner.writer);
        let Some(path) = self.path() else {
            return call(&mut writer.db);
        };
        self.stay_at(path, &mut writer)?;
        call(&mut writer.db).map_err(|error| error.at(path).with_holders(path))
    }

    /// An SQLite whose file was taken from its place goes on writing into nowhere: asked before each write. Where
    /// another file came, that one is opened.
    fn stay_at(&self, path: &Path, writer: &mut Writer) -> Result<()> {
        let file = FileId::of(path)?;
        if writer.file == Some(file) {
            return Ok(());
        }
        let (opened, _) = open_writer(path, &self.inner.options)?;
        *writer = opened;
        let mut readers = held(&self.inner.readers);
        readers.generation += 1;
        readers.open -= readers.idle.len();
        readers.idle.clear();
        Ok(())
    }
}

/// A panic in a caller's closure leaves a transaction that was rolled back, and the rest whole.
fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

// === impl Reader ===

/// A read connection, back in the pool when dropped.
struct Reader<'a> {
    inner: &'a Inner,
    /// None only while it is dropped.
    db: Option<Connection>,
    generation: u64,
}

impl<'a> Reader<'a> {
    fn take(inner: &'a Inner, path: &Path) -> Result<Self> {
        let mut readers = held(&inner.readers);
        while readers.idle.is_empty() && readers.open >= inner.options.readers {
            readers = inner.reader_free.wait(readers).unwrap_or_else(PoisonError::into_inner);
        }
        let mut reader = Self { inner, db: readers.idle.pop(), generation: readers.generation };
        if reader.db.is_none() {
            // Counted before it is opened, given back by `drop` if that fails.
            readers.open += 1;
            drop(readers);
            reader.db = Some(open_reader(path, &inner.options)?);
        }
        Ok(reader)
    }

    fn read<T>(&self, read: impl FnOnce(&Connection) -> Result<T>) -> Result<T> {
        self.db.as_ref().map_or_else(|| Err(CatalogError::unknown("")), read)
    }
}

impl Drop for Reader<'_> {
    fn drop(&mut self) {
        let mut readers = held(&self.inner.readers);
        match self.db.take().filter(|_| self.generation == readers.generation) {
            Some(db) => readers.idle.push(db),
            None => readers.open -= 1,
        }
        drop(readers);
        self.inner.reader_free.notify_one();
    }
}

// === opening ===

/// The folder, made if need be; the path with its links resolved, so that every name of one file has one lock.
pub(crate) fn prepare(path: &Path) -> Result<PathBuf> {
    let name = path.file_name().ok_or_else(|| CatalogError::not_a_catalog(path, "the path names no file"))?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut builder = DirBuilder::new();
    builder
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .map_err(CatalogError::file(folder, "make the folder"))?;
    let folder = folder.canonicalize().map_err(CatalogError::file(folder, "find the folder"))?;
    let path = folder.join(name);
    Ok(path.canonicalize().unwrap_or(path))
}

/// The lock, the file and the connection that writes.
fn open_writer(path: &Path, options: &Options) -> Result<(Writer, Vec<Migration>)> {
    if options.exclusive {
        let lock = Lock::take(path, Hold::Exclusive, options.patience)?;
        let mut db = connect(path, options)?;
        let migrated = bring_up(&mut db, path, options)?;
        return Ok((Writer { db, file: Some(FileId::of(path)?), _lock: Some(lock) }, migrated));
    }
    let mut migrated = Vec::new();
    loop {
        let lock = Lock::take(path, Hold::Shared, options.patience)?;
        // Looked at before SQLite is, so that nothing is made under a shared lock.
        if path.exists() {
            let db = connect(path, options)?;
            if schema::look(&db, path)? == Found::Version(schema::SCHEMA_VERSION) {
                set_up_file(&db, path)?;
                return Ok((Writer { db, file: Some(FileId::of(path)?), _lock: Some(lock) }, migrated));
            }
        }
        drop(lock);
        // Another process may do it first: then it is done, and this loop ends in its next round.
        let _lock = Lock::take(path, Hold::Exclusive, options.patience)?;
        let mut db = connect(path, options)?;
        migrated.extend(bring_up(&mut db, path, options)?);
    }
}

/// Makes or migrates what is at `path`; the catalog is held exclusively.
fn bring_up(db: &mut Connection, path: &Path, options: &Options) -> Result<Vec<Migration>> {
    let found = schema::look(db, path)?;
    let migrated = match found {
        Found::Empty => schema::create(db, options.now_ms()).map(|()| Vec::new())?,
        Found::Version(schema::SCHEMA_VERSION) => Vec::new(),
        Found::Version(found) if !options.migrate => {
            let known = schema::SCHEMA_VERSION;
            return Err(CatalogError::OlderSchema { path: path.to_owned(), found, known });
        }
        Found::Version(found) => schema::migrate(db, path, found, schema::STEPS, options.now_ms())?,
    };
    set_up_file(db, path)?;
    Ok(migrated)
}

/// A connection that may write. The file is made by us, for only its owner, and SQLite's beside it follow its mode.
fn connect(path: &Path, options: &Options) -> Result<Connection> {
    let mut open = OpenOptions::new();
    open.read(true).write(true).create(true).truncate(false).mode(0o600);
    let file = open.open(path).map_err(|error| match error.kind() {
        std::io::ErrorKind::PermissionDenied => CatalogError::ReadOnly { path: path.to_owned() },
        _ => CatalogError::file(path, "open")(error),
    })?;
    if !file.metadata().map_err(CatalogError::file(path, "read"))?.is_file() {
        return Err(CatalogError::not_a_catalog(path, "not a file"));
    }
    drop(file);
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let db = Connection::open_with_flags(path, flags)?;
    set_up(&db, options)?;
    Ok(db)
}

fn open_reader(path: &Path, options: &Options) -> Result<Connection> {
    // Not read-only to SQLite: a reader of a WAL writes into its index.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let db = Connection::open_with_flags(path, flags)?;
    set_up(&db, options)?;
    db.pragma_update(None, "query_only", true)?;
    Ok(db)
}

/// What holds for a connection.
fn set_up(db: &Connection, options: &Options) -> Result<()> {
    db.busy_timeout(options.patience)?;
    db.set_prepared_statement_cache_capacity(STATEMENTS);
    for (pragma, value) in [
        ("trusted_schema", "OFF"),
        ("foreign_keys", "ON"),
        // Else `INSERT OR REPLACE` deletes past the triggers.
        ("recursive_triggers", "ON"),
        ("secure_delete", "ON"),
        ("synchronous", "FULL"),
        // Sorted rows do not go to files in /tmp.
        ("temp_store", "MEMORY"),
    ] {
        // Some answer with the value they took.
        db.pragma_update_and_check(None, pragma, value, |_| Ok(())).or_else(|error| match error {
            rusqlite::Error::QueryReturnedNoRows => Ok(()),
            other => Err(other),
        })?;
    }
    Ok(())
}

/// What holds for the file: set once it is known to be a catalog.
fn set_up_file(db: &Connection, path: &Path) -> Result<()> {
    let mode: String = db.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0))?;
    if mode != "wal" {
        return Err(CatalogError::not_a_catalog(
            path,
            format!("journal mode {mode}, for WAL is not to be had here"),
        ));
    }
    db.pragma_update_and_check(None, "journal_size_limit", JOURNAL_BYTES, |_| Ok(()))?;
    // The older program's was readable by all.
    for file in [path.to_owned(), beside(path, "-wal"), beside(path, "-shm")] {
        match fs::set_permissions(&file, Permissions::from_mode(0o600)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(CatalogError::file(&file, "make it its owner's only")(error));
            }
            _ => {}
        }
    }
    Ok(())
}

// === impl FileId ===

impl FileId {
    fn of(path: &Path) -> Result<Self> {
        match fs::metadata(path) {
            Ok(meta) => Ok(Self(meta.dev(), meta.ino())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                Err(CatalogError::Vanished { path: path.to_owned() })
            }
            Err(error) => Err(CatalogError::file(path, "find")(error)),
        }
    }
}
