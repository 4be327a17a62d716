use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use rusqlite::ErrorCode;
use thiserror::Error;

use crate::lock;

/// What a call of the catalog answers with.
pub type Result<T, E = CatalogError> = std::result::Result<T, E>;

/// Why the catalog refused, and where it is known what to do next. The text is 512 bytes at most.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum CatalogError {
    /// A field's value is out of bounds.
    #[error("{}{field}: {value} refused: {bound}", Of(.id))]
    Invalid {
        /// The hive, cut; empty where the value is of none.
        id: String,
        /// The field, as `HiveRecord` names it: `ssh_user`, `labels["rack"]`.
        field: String,
        /// The value, quoted and escaped, cut after 64 characters.
        value: String,
        /// What would have been accepted.
        bound: String,
    },
    /// No such hive.
    #[error("no hive {id} in the catalog")]
    Unknown {
        /// Its id, quoted and cut.
        id: String,
    },
    /// `add_hive` of an id that is there.
    #[error("hive {id} is in the catalog already; replace it, or update it")]
    Exists {
        /// Its id, quoted and cut.
        id: String,
    },
    /// A hive that an operator removed, which only an operator may add again for now.
    #[error("hive {id} was removed at {at_ms} ms; add it again to have it back")]
    Removed {
        /// Its id, quoted and cut.
        id: String,
        /// When, milliseconds since 1970.
        at_ms: u64,
    },
    /// A limit would be passed.
    #[error("{}{what}: {wanted} refused: at most {bound}", Of(.id))]
    TooMany {
        /// The hive, cut; empty where the limit is not of one.
        id: String,
        /// What is counted.
        what: &'static str,
        /// The number that would have been reached.
        wanted: usize,
        /// The limit.
        bound: usize,
    },
    /// Another process holds the catalog.
    #[error("{}: in use{}; end that and try again", Cut(.path), Pids(.pids))]
    Locked {
        /// The lock's file.
        path: PathBuf,
        /// The processes that hold it, where the system tells.
        pids: Vec<u32>,
    },
    /// The call needs the catalog for itself: open it exclusively.
    #[error("{what} needs the catalog for itself: open it exclusively")]
    NotExclusive {
        /// The call.
        what: &'static str,
    },
    /// A newer program wrote the database.
    #[error(
        "{}: its schema is version {found}, this program knows {known} and older; use the program that wrote it, or \
         restore a backup of version {known}",
        Cut(.path)
    )]
    NewerSchema {
        /// The database.
        path: PathBuf,
        /// Its version.
        found: i64,
        /// The newest version that this program knows.
        known: i64,
    },
    /// The database is of an earlier version, and the catalog was opened without leave to migrate it.
    #[error("{}: its schema is version {found}, wanted is {known}; migrate it first", Cut(.path))]
    OlderSchema {
        /// The database.
        path: PathBuf,
        /// Its version.
        found: i64,
        /// The version of this program.
        known: i64,
    },
    /// The file is something else.
    #[error("{}: not a catalog: {why}", Cut(.path))]
    NotACatalog {
        /// The file.
        path: PathBuf,
        /// What is not as it should be.
        why: String,
    },
    /// The SQLite that was linked can corrupt a database that two processes write.
    #[error(
        "SQLite {found} refused: {least} or newer, for older ones can corrupt a WAL that two processes write"
    )]
    OldSqlite {
        /// The version that was found.
        found: String,
        /// The least that will do.
        least: &'static str,
    },
    /// The database is damaged.
    #[error("{}: damaged: {said}; restore a backup", Cut(.path))]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What SQLite, or a check, said.
        said: String,
    },
    /// No room, or a limit of the file's size.
    #[error("{}: cannot be written, the disk may be full ({said}); nothing of this change was kept", Cut(.path))]
    DiskFull {
        /// The database.
        path: PathBuf,
        /// What SQLite said.
        said: String,
    },
    /// The file or its folder may not be written.
    #[error("{}: read-only; it and its folder must be writable by this user", Cut(.path))]
    ReadOnly {
        /// The database.
        path: PathBuf,
    },
    /// The file is gone from its place.
    #[error("{}: gone from its place; put it or a backup back, nothing of this change was kept", Cut(.path))]
    Vanished {
        /// The database.
        path: PathBuf,
    },
    /// A file could not be read, written, or named.
    #[error("{}: cannot {action}: {source}", Cut(.path))]
    File {
        /// The file.
        path: PathBuf,
        /// What was tried.
        action: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// There is no `HOME`, and no path was given.
    #[error("no path for the catalog: HOME is not set; give one by --catalog or QUEEN_CATALOG")]
    NoHome,
    /// The key file will not do.
    #[error("{}: key file refused: {why}", Cut(.path))]
    Keys {
        /// The key file.
        path: PathBuf,
        /// What is wrong with it; never its content.
        why: String,
    },
    /// A secret was to be stored or read without any key.
    #[error("no key: make one by `queen catalog new-key`")]
    NoKey,
    /// The key that sealed a secret is not in the key file.
    #[error("{}{name}: sealed by key {key_id}, which is not in the key file", Of(.id))]
    UnknownKey {
        /// The hive, cut.
        id: String,
        /// The secret's name.
        name: String,
        /// The key's id.
        key_id: String,
    },
    /// A secret does not open: the key is another one of the same id, or the text was changed or moved.
    #[error("{}{name}: does not open with key {key_id}: a wrong key, or it was changed or moved", Of(.id))]
    Unsealed {
        /// The hive, cut.
        id: String,
        /// The secret's name.
        name: String,
        /// The key's id.
        key_id: String,
    },
    /// What was to be imported does not parse.
    #[error("line {line}: {why}")]
    Import {
        /// The line, counted from 1; 0 where none is known.
        line: usize,
        /// What is wrong.
        why: String,
    },
    /// Anything else that SQLite said.
    #[error("{}: {said}", Cut(.path))]
    Database {
        /// The database.
        path: PathBuf,
        /// What SQLite said.
        said: String,
    },
}

// Together with the words around them, less than 512 bytes.
const VALUE: usize = 160;
const SAID: usize = 220;
const PATH: usize = 200;

/// What SQLite answers where a limit of the file's size, or a quota, stopped it.
const NOT_WRITTEN: [i32; 5] = [
    rusqlite::ffi::SQLITE_IOERR_WRITE,
    rusqlite::ffi::SQLITE_IOERR_FSYNC,
    rusqlite::ffi::SQLITE_IOERR_TRUNCATE,
    rusqlite::ffi::SQLITE_IOERR_SHMSIZE,
    rusqlite::ffi::SQLITE_IOERR_SHMMAP,
];

impl CatalogError {
    pub(crate) fn invalid(
        id: &str,
        field: impl fmt::Display,
        value: impl fmt::Display,
        bound: impl fmt::Display,
    ) -> Self {
        Self::Invalid {
            id: id.to_owned(),
            field: cut(&field.to_string(), 90),
            value: quote(&value.to_string()),
            bound: cut(&bound.to_string(), 130),
        }
    }

    pub(crate) fn unknown(id: &str) -> Self {
        Self::Unknown { id: quote(id) }
    }

    pub(crate) fn keys(path: &Path, why: impl fmt::Display) -> Self {
        Self::Keys { path: path.to_owned(), why: cut(&why.to_string(), SAID) }
    }

    pub(crate) fn import(line: usize, why: impl fmt::Display) -> Self {
        Self::Import { line, why: cut(&why.to_string(), 400) }
    }

    pub(crate) fn not_a_catalog(path: &Path, why: impl fmt::Display) -> Self {
        Self::NotACatalog { path: path.to_owned(), why: cut(&why.to_string(), SAID) }
    }

    pub(crate) fn damaged(path: &Path, said: impl fmt::Display) -> Self {
        Self::Damaged { path: path.to_owned(), said: cut(&said.to_string(), SAID) }
    }

    /// What the system said of a file.
    pub(crate) fn file<'a>(path: &'a Path, action: &'static str) -> impl Fn(io::Error) -> Self + 'a {
        move |source| match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::FileTooLarge | io::ErrorKind::QuotaExceeded => {
                Self::DiskFull { path: path.to_owned(), said: source.to_string() }
            }
            io::ErrorKind::ReadOnlyFilesystem => Self::ReadOnly { path: path.to_owned() },
            _ => Self::File { path: path.to_owned(), action, source },
        }
    }

    /// Names the file where SQLite's error did not.
    #[must_use]
    pub(crate) fn at(mut self, file: &Path) -> Self {
        if matches!(self, Self::Database { .. }) && !file.exists() {
            return Self::Vanished { path: file.to_owned() };
        }
        match &mut self {
            Self::Locked { path, .. }
            | Self::NotACatalog { path, .. }
            | Self::Damaged { path, .. }
            | Self::DiskFull { path, .. }
            | Self::ReadOnly { path }
            | Self::Database { path, .. }
                if path.as_os_str().is_empty() =>
            {
                file.clone_into(path);
            }
            _ => {}
        }
        self
    }

    /// Names the processes that hold the database's locks, where none was named.
    #[must_use]
    pub(crate) fn with_holders(mut self, catalog: &Path) -> Self {
        if let Self::Locked { pids, .. } = &mut self
            && pids.is_empty()
        {
            *pids = lock::holders(&lock::beside(catalog, "-shm"));
            // It has the file open itself.
            pids.retain(|pid| *pid != std::process::id());
        }
        self
    }
}

impl From<rusqlite::Error> for CatalogError {
    fn from(error: rusqlite::Error) -> Self {
        let said = cut(&error.to_string(), SAID);
        let path = PathBuf::new();
        let rusqlite::Error::SqliteFailure(failure, _) = &error else {
            return Self::Database { path, said };
        };
        match failure.code {
            ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => Self::Locked { path, pids: Vec::new() },
            ErrorCode::DiskFull => Self::DiskFull { path, said },
            ErrorCode::SystemIoFailure if NOT_WRITTEN.contains(&failure.extended_code) => {
                Self::DiskFull { path, said }
            }
            ErrorCode::ReadOnly => Self::ReadOnly { path },
            ErrorCode::DatabaseCorrupt => Self::Damaged { path, said },
            ErrorCode::NotADatabase => Self::NotACatalog { path, why: said },
            _ => Self::Database { path, said },
        }
    }
}

/// `hive "x": `, or nothing.
struct Of<'a>(&'a str);

impl fmt::Display for Of<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() { Ok(()) } else { write!(out, "hive {}: ", shorter(self.0, 40, 90)) }
    }
}

struct Cut<'a>(&'a Path);

impl fmt::Display for Cut<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&cut(&self.0.display().to_string(), PATH))
    }
}

struct Pids<'a>(&'a [u32]);

impl fmt::Display for Pids<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            [] => out.write_str(" by another process"),
            [pid] => write!(out, " by process {pid}"),
            [first, rest @ ..] => {
                write!(out, " by processes {first}")?;
                rest.iter().take(7).try_for_each(|pid| write!(out, ", {pid}"))
            }
        }
    }
}

/// In quotes and escaped, 64 characters of it.
pub(crate) fn quote(value: &str) -> String {
    shorter(value, 64, VALUE)
}

fn shorter(value: &str, chars: usize, bytes: usize) -> String {
    let mut shown = String::from("\"");
    for (at, char) in value.chars().enumerate() {
        if at == chars || shown.len() > bytes - 16 {
            shown.push_str("...");
            break;
        }
        match char {
            '"' | '\\' => shown.extend(char.escape_debug()),
            _ => push_plain(&mut shown, char),
        }
    }
    shown.push('"');
    shown
}

/// A terminal gets no control characters and no marks that turn or hide the text around them.
fn push_plain(shown: &mut String, char: char) {
    match char {
        '\u{200b}'..='\u{200f}'
        | '\u{202a}'..='\u{202e}'
        | '\u{2060}'..='\u{2069}'
        | '\u{61c}'
        | '\u{feff}' => {
            shown.extend(char.escape_unicode());
        }
        '"' | '\'' | '\\' => shown.push(char),
        _ => shown.extend(char.escape_debug()),
    }
}

/// The beginning of what is longer than `most` bytes, for a message.
pub(crate) fn cut(text: &str, most: usize) -> String {
    let mut shown = String::new();
    for char in text.chars() {
        if shown.len() > most - 16 {
            shown.push_str("...");
            break;
        }
        push_plain(&mut shown, char);
    }
    shown
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use super::{CatalogError, cut, quote};

    #[test]
    fn no_message_is_longer_than_512_bytes_whatever_is_in_it() {
        let long = "\u{202e}\0'".repeat(10_000);
        let path = PathBuf::from(&long);
        let (id, name, key_id) = (long.clone(), "n".repeat(64), "k".repeat(64));
        let errors = [
            CatalogError::invalid(&long, &long, &long, &long),
            CatalogError::unknown(&long),
            CatalogError::Exists { id: quote(&long) },
            CatalogError::Removed { id: quote(&long), at_ms: u64::MAX },
            CatalogError::TooMany {
                id: id.clone(),
                what: "cordoned workers",
                wanted: usize::MAX,
                bound: usize::MAX,
            },
            CatalogError::Locked { path: path.clone(), pids: vec![u32::MAX; 1_000] },
            CatalogError::NewerSchema { path: path.clone(), found: i64::MIN, known: i64::MIN },
            CatalogError::OlderSchema { path: path.clone(), found: i64::MIN, known: i64::MIN },
            CatalogError::not_a_catalog(&path, &long),
            CatalogError::damaged(&path, &long),
            CatalogError::DiskFull { path: path.clone(), said: cut(&long, super::SAID) },
            CatalogError::ReadOnly { path: path.clone() },
            CatalogError::Vanished { path: path.clone() },
            CatalogError::keys(&path, &long),
            CatalogError::UnknownKey { id: id.clone(), name: name.clone(), key_id: key_id.clone() },
            CatalogError::Unsealed { id, name, key_id },
            CatalogError::import(usize::MAX, &long),
            CatalogError::file(Path::new(&long), "do")(std::io::Error::other("x".repeat(100))),
        ];
        for error in errors {
            let said = error.to_string();
            assert!(!said.contains(['\0', '\u{202e}']), "{said:?}");
            assert!(said.len() <= 512, "{} bytes: {said:?}", said.len());
        }
    }
}
