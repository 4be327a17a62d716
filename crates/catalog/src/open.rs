//! How the file is found, made, locked, migrated and connected to.

use std::fs::{self, DirBuilder, OpenOptions, Permissions};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

use crate::error::{CatalogError, Result};
use crate::lock::{Hold, Lock, beside};
use crate::options::Options;
use crate::schema::{self, Found, Migration};

/// The least SQLite that will do, as `sqlite3_libversion_number` has it.
const LEAST_SQLITE: (i32, &str) = (3_051_003, "3.51.3");
/// What is left of the WAL after a checkpoint, bytes.
const JOURNAL_BYTES: i64 = 16 << 20;
const STATEMENTS: usize = 64;

/// The connection that writes, and what holds its file.
#[derive(Debug)]
pub(crate) struct Writer {
    pub(crate) db: Connection,
    pub(crate) file: Option<FileId>,
    // None in memory.
    pub(crate) _lock: Option<Lock>,
}

/// Which file it is, whatever its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FileId(u64, u64);

/// The SQLite that is linked.
///
/// # Errors
/// `OldSqlite`: it can corrupt a database that two processes write. [`HiveCatalog::open`](crate::HiveCatalog::open) asks, too.
pub fn check_sqlite() -> Result<&'static str> {
    let found = rusqlite::version();
    if rusqlite::version_number() >= LEAST_SQLITE.0 {
        return Ok(found);
    }
    Err(CatalogError::OldSqlite { found: found.to_owned(), least: LEAST_SQLITE.1 })
}

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
    match path.canonicalize() {
        Ok(path) => Ok(path),
        // Its lock would have one name now, and another once the file is there.
        Err(_) if path.is_symlink() => {
            Err(CatalogError::not_a_catalog(&path, "a link to a file that is not there"))
        }
        Err(_) => Ok(path),
    }
}

/// The lock, the file and the connection that writes.
pub(crate) fn open_writer(path: &Path, options: &Options) -> Result<(Writer, Vec<Migration>)> {
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

pub(crate) fn open_reader(path: &Path, options: &Options) -> Result<Connection> {
    // Not read-only to SQLite: a reader of a WAL writes into its index.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let db = Connection::open_with_flags(path, flags)?;
    set_up(&db, options)?;
    db.pragma_update(None, "query_only", true)?;
    Ok(db)
}

/// What holds for a connection.
pub(crate) fn set_up(db: &Connection, options: &Options) -> Result<()> {
    db.busy_timeout(options.patience)?;
    db.set_prepared_statement_cache_capacity(STATEMENTS);
    // Else a partial index in the schema has each statement with parameters prepared anew at each use.
    db.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    // Nobody writes the schema's table, or the file past SQLite's own checks.
    db.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
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
    pub(crate) fn of(path: &Path) -> Result<Self> {
        match fs::metadata(path) {
            Ok(meta) => Ok(Self(meta.dev(), meta.ino())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                Err(CatalogError::Vanished { path: path.to_owned() })
            }
            Err(error) => Err(CatalogError::file(path, "find")(error)),
        }
    }
}
