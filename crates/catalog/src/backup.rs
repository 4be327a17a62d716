//! A copy of the whole catalog, and back. A backup is a file of its own that needs no other beside it; who has it and
//! the key file has the secrets.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, TransactionBehavior};

use crate::actor::Actor;
use crate::audit::{self, AuditFault};
use crate::catalog::HiveCatalog;
use crate::error::{CatalogError, Result};
use crate::keys::{Keys, random, sync_folder};
use crate::lock::{Hold, Lock, beside};
use crate::open;
use crate::options::Options;
use crate::schema::{self, Found};
use crate::secrets;

/// How often a long call says how far it has come.
const TELL_EVERY: Duration = Duration::from_millis(100);

/// What a backup is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backup {
    /// Where.
    pub path: PathBuf,
    /// Its size, bytes.
    pub bytes: u64,
}

/// How far a long call has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Bytes, or rows.
    pub done: u64,
    /// As many as there will be, nearly.
    pub total: u64,
}

/// What a restore did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restored {
    /// The database as it was before, with its WAL folded in where it could be read; nothing where there was none.
    pub before: Option<PathBuf>,
    /// The schema of the backup; it is migrated when the catalog is next opened.
    pub version: i64,
}

/// Copies the database to a new file: 0600, checked, on the disk before it has its name. What is there is replaced
/// whole.
pub(crate) fn copy(db: &Connection, to: &Path, progress: &mut (dyn FnMut(Progress) + Send)) -> Result<u64> {
    let mut tail = [0; 6];
    random(&mut tail)?;
    let suffix: String = tail.iter().map(|byte| format!("{byte:02x}")).collect();
    let temporary = beside(to, &format!(".{suffix}.tmp"));
    let done = copy_to(db, &temporary, progress).and_then(|bytes| {
        fs::rename(&temporary, to).map_err(CatalogError::file(to, "rename the copy"))?;
        sync_folder(to).map_err(CatalogError::file(to, "sync the folder"))?;
        Ok(bytes)
    });
    if done.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    done
}

fn copy_to(db: &Connection, temporary: &Path, progress: &mut (dyn FnMut(Progress) + Send)) -> Result<u64> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let mut new = fs::OpenOptions::new();
    // Empty, and already its owner's only: `VACUUM INTO` writes into an empty file.
    let file = new.write(true).create_new(true).mode(0o600).open(temporary);
    let file = file.map_err(CatalogError::file(temporary, "make the copy"))?;
    let name =
        temporary.to_str().ok_or_else(|| CatalogError::not_a_catalog(temporary, "the path is not UTF-8"))?;
    let pages = |name| db.pragma_query_value(None, name, |row| row.get::<_, u64>(0));
    let total = pages("page_count")? * pages("page_size")?;
    // It writes into the copy only, but SQLite refuses it to a connection that may only query.
    let query_only: bool = db.pragma_query_value(None, "query_only", |row| row.get(0))?;
    db.pragma_update(None, "query_only", false)?;
    let made = thread::scope(|scope| {
        let (vacuum_runs, ended) = mpsc::channel::<()>();
        // VACUUM says nothing while it works, but the file grows.
        scope.spawn(move || {
            while ended.recv_timeout(TELL_EVERY) == Err(mpsc::RecvTimeoutError::Timeout) {
                let done = fs::metadata(temporary).map_or(0, |meta| meta.len()).min(total);
                progress(Progress { done, total });
            }
            progress(Progress { done: total, total });
        });
        let made = db.execute("VACUUM INTO ?1", [name]);
        drop(vacuum_runs);
        made
    });
    db.pragma_update(None, "query_only", query_only)?;
    made.map_err(|error| CatalogError::from(error).at(temporary))?;
    let copied = open_copy(temporary)?;
    let faults = integrity(&copied)?;
    if let Some(fault) = faults.first() {
        return Err(CatalogError::damaged(temporary, fault));
    }
    drop(copied);
    file.sync_all().map_err(CatalogError::file(temporary, "sync the copy"))?;
    let bytes = file.metadata().map_err(CatalogError::file(temporary, "read"))?.len();
    Ok(bytes)
}

/// What `integrity_check` finds wrong, 100 lines at most.
pub(crate) fn integrity(db: &Connection) -> Result<Vec<String>> {
    let mut check = db.prepare("PRAGMA integrity_check")?;
    let lines: Vec<String> = check.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
    Ok(lines.into_iter().filter(|line| line != "ok").collect())
}

/// A file that nobody else writes, as it is: nothing beside it is read or made.
fn open_copy(path: &Path) -> Result<Connection> {
    let text = path.to_str().ok_or_else(|| CatalogError::not_a_catalog(path, "the path is not UTF-8"))?;
    let escaped = text.replace('%', "%25").replace('?', "%3f").replace('#', "%23");
    let flags =
        OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_URI;
    let db = Connection::open_with_flags(format!("file:{escaped}?immutable=1"), flags)?;
    db.pragma_update(None, "trusted_schema", false)?;
    Ok(db)
}

/// Whether that file can be restored: a whole database, a catalog, not newer than this program, its audit chain
/// whole, its secrets open with the key file. Its version.
fn check_backup(copy: &Path, from: &Path, options: &Options, catalog: &Path) -> Result<i64> {
    let located = |error: CatalogError| error.at(from);
    let db = open_copy(copy).map_err(located)?;
    let version = match schema::look(&db, from).map_err(located)? {
        Found::Version(version) => version,
        Found::Empty => return Err(CatalogError::not_a_catalog(from, "it is empty")),
    };
    if let Some(fault) = integrity(&db).map_err(located)?.first() {
        return Err(CatalogError::damaged(from, fault));
    }
    if schema::has_table(&db, "audit").map_err(located)? {
        if let Some(fault) = audit::verify(&db, None).map_err(located)? {
            return Err(CatalogError::damaged(from, format!("audit: {fault}")));
        }
        let keys = options.keys_of(catalog);
        secrets::check_all(&db, || if keys.exists() { Keys::read(&keys) } else { Err(CatalogError::NoKey) })
            .map_err(located)?;
    }
    Ok(version)
}

// === impl HiveCatalog ===

impl HiveCatalog {
    /// Writes a backup to `to` while others read and write: what was committed when it began. It is checked, synced
    /// and named last; a file that is there is replaced, unless it is the catalog itself.
    ///
    /// # Errors
    /// `File`, `DiskFull`, `Damaged`: then there is no file, or the one before.
    pub fn backup(&self, to: impl AsRef<Path>) -> Result<Backup> {
        self.backup_with(to, |_| {})
    }

    /// [`backup`](Self::backup), saying how far it has come.
    ///
    /// # Errors
    /// As [`backup`](Self::backup).
    pub fn backup_with(
        &self,
        to: impl AsRef<Path>,
        mut progress: impl FnMut(Progress) + Send,
    ) -> Result<Backup> {
        let to = to.as_ref();
        self.check_target(to)?;
        if fs::metadata(to).is_ok_and(|meta| !meta.is_file()) {
            return Err(CatalogError::not_a_catalog(
                to,
                "no file, and a backup takes the place of files only",
            ));
        }
        let bytes = self.read(|db| copy(db, to, &mut progress))?;
        Ok(Backup { path: to.to_owned(), bytes })
    }

    /// Whether a file that is written takes no catalog away: neither this one, its keys and what lies beside it, nor
    /// another, which a lock's file beside it tells.
    ///
    /// # Errors
    /// `NotACatalog`, which says whose place it would be.
    pub fn check_target(&self, file: impl AsRef<Path>) -> Result<()> {
        let file = file.as_ref();
        let refused = |why| Err(CatalogError::not_a_catalog(file, why));
        if self.path().is_some_and(|path| file.canonicalize().is_ok_and(|file| file == path)) {
            return refused("it would take the place of its own catalog");
        }
        if self.has(file) {
            return refused("it would take the place of a file that the catalog needs");
        }
        let there = file.canonicalize().unwrap_or_else(|_| file.to_owned());
        if beside(&there, ".lock").exists() {
            return refused("it would take the place of another catalog");
        }
        Ok(())
    }

    /// Whether it is the key file, or one of those beside the database.
    fn has(&self, file: &Path) -> bool {
        let whole = |file: &Path| {
            let folder =
                file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
            Some(file.canonicalize().ok().unwrap_or(folder.canonicalize().ok()?.join(file.file_name()?)))
        };
        let own = ["-wal", "-shm", "-journal", ".lock", ".serve.lock", ".restoring"];
        let beside = self.path().into_iter().flat_map(|path| own.map(|end| beside(path, end)));
        let wanted = whole(file);
        wanted.is_some() && beside.chain(self.key_file()).any(|own| whole(&own) == wanted)
    }

    /// Puts the backup `from` in the place of the catalog at `path`, which nobody may have open. The backup is
    /// checked first; the database as it was is kept aside as `PATH.before-restore-TIME`. The restored one has an
    /// audit row of it.
    ///
    /// # Errors
    /// `Locked`, naming who has it; `Damaged`, `NewerSchema`, `NotACatalog` of the backup; `UnknownKey`, `Unsealed`,
    /// `NoKey`: its secrets do not open with the key file. Then nothing has changed.
    pub fn restore(
        path: impl AsRef<Path>,
        from: impl AsRef<Path>,
        actor: &Actor,
        options: Options,
    ) -> Result<Restored> {
        open::check_sqlite()?;
        let (path, from) = (open::prepare(path.as_ref())?, from.as_ref());
        let lock = Lock::take(&path, Hold::Exclusive, options.patience)?;
        if from.canonicalize().is_ok_and(|from| from == path) {
            return Err(CatalogError::not_a_catalog(from, "a catalog cannot be its own backup"));
        }
        let new = beside(&path, ".restoring");
        let placed = bring(from, &new, &path, actor, &options)
            .and_then(|version| Ok(Restored { before: place(&path, &new, &options)?, version }));
        if placed.is_err() {
            let _ = fs::remove_file(&new);
        }
        drop(lock);
        placed
    }
}

/// Copies the backup beside the catalog, and makes of the copy what will be the catalog: checked, migrated, with its
/// audit row, on the disk. The version that the backup had.
fn bring(from: &Path, new: &Path, path: &Path, actor: &Actor, options: &Options) -> Result<i64> {
    use std::os::unix::fs::OpenOptionsExt as _;
    // What is in these belongs to it, and would be lost.
    for end in ["-wal", "-journal"] {
        if fs::metadata(beside(from, end)).is_ok_and(|meta| meta.len() > 0) {
            let why = format!("a {end} is beside it: it is a database in use, no backup");
            return Err(CatalogError::not_a_catalog(from, why));
        }
    }
    if !fs::metadata(from).map_err(CatalogError::file(from, "read"))?.is_file() {
        return Err(CatalogError::not_a_catalog(from, "not a file"));
    }
    // Of a restore that was killed.
    for end in ["", "-journal", "-wal", "-shm"] {
        let _ = fs::remove_file(beside(new, end));
    }
    let mut copy = fs::OpenOptions::new();
    let mut copy = copy
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(new)
        .map_err(CatalogError::file(new, "copy the backup"))?;
    File::open(from)
        .and_then(|mut from| io::copy(&mut from, &mut copy))
        .map_err(CatalogError::file(new, "copy the backup"))?;
    copy.sync_all().map_err(CatalogError::file(new, "sync"))?;
    // The copy, and not the backup, which others may write to meanwhile; it is named as what it is of.
    let version = check_backup(new, from, options, path)?;
    let located = |error: CatalogError| error.at(new);
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut db = Connection::open_with_flags(new, flags).map_err(|error| located(error.into()))?;
    let mut ready = || {
        db.pragma_update_and_check(None, "journal_mode", "DELETE", |_| Ok(()))?;
        db.pragma_update(None, "synchronous", "FULL")?;
        let now_ms = options.now_ms();
        schema::migrate(&mut db, path, version, schema::STEPS, now_ms)?;
        let tx = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let detail = Some(format!("of schema version {version}"));
        let entry = audit::Entry { what: "restore", detail, ..audit::Entry::default() };
        audit::append(&tx, actor, now_ms, entry)?;
        Ok(tx.commit()?)
    };
    ready().map_err(located)?;
    Ok(version)
}

/// Sets the old one aside, and renames: at each moment there is a whole database at `path`, the one before or the one
/// after, which has its audit row.
fn place(path: &Path, new: &Path, options: &Options) -> Result<Option<PathBuf>> {
    let before = if path.exists() { Some(set_aside(path, options)?) } else { None };
    for left in ["-wal", "-shm"] {
        match fs::remove_file(beside(path, left)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(CatalogError::file(path, "take the old WAL away")(error));
            }
            _ => {}
        }
    }
    fs::rename(new, path).map_err(CatalogError::file(path, "rename the copy"))?;
    sync_folder(path).map_err(CatalogError::file(path, "sync the folder"))?;
    Ok(before)
}

/// A hard link keeps the old database under its new name while the old name is still its own.
fn set_aside(path: &Path, options: &Options) -> Result<PathBuf> {
    let name = beside(path, &format!(".before-restore-{}", options.now_ms()));
    let mut names =
        std::iter::once(name.clone()).chain((2..100).map(|more| beside(&name, &format!("-{more}"))));
    let aside = names.find(|name| fs::symlink_metadata(name).is_err()).unwrap_or(name);
    // Folds the WAL in. A database that is damaged is kept as it is, its WAL with it.
    // What is only busy, or has no room, is not replaced.
    let folded = match fold(path) {
        Err(error @ (CatalogError::Locked { .. } | CatalogError::DiskFull { .. })) => {
            return Err(error.at(path));
        }
        folded => folded,
    };
    fs::hard_link(path, &aside)
        .or_else(|_| fs::copy(path, &aside).map(|_| ()))
        .map_err(CatalogError::file(&aside, "keep the old database"))?;
    if folded.is_err() {
        let wal = beside(path, "-wal");
        if wal.exists() {
            let kept = beside(&aside, "-wal");
            fs::copy(&wal, &kept).map_err(CatalogError::file(&kept, "keep the old database's WAL"))?;
        }
    }
    Ok(aside)
}

fn fold(path: &Path) -> Result<()> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let db = Connection::open_with_flags(path, flags)?;
    let busy: i64 = db.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0))?;
    if busy != 0 {
        return Err(CatalogError::Locked { path: path.to_owned(), pids: Vec::new() });
    }
    Ok(())
}

/// The first fault of a backup file's audit log, for a head kept elsewhere.
///
/// # Errors
/// The file is no whole catalog.
pub fn verify_backup_audit(
    from: impl AsRef<Path>,
    head: Option<(u64, audit::Hash)>,
) -> Result<Option<AuditFault>> {
    let from = from.as_ref();
    open_copy(from).and_then(|db| audit::verify(&db, head)).map_err(|error| error.at(from))
}
