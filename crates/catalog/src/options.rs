use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::error::{CatalogError, Result};

/// Milliseconds since 1970. Tests give one of their own.
pub type WallClock = Arc<dyn Fn() -> u64 + Send + Sync>;

/// How a catalog is opened.
#[derive(Clone)]
pub struct Options {
    pub(crate) key_file: Option<PathBuf>,
    pub(crate) clock: WallClock,
    pub(crate) patience: Duration,
    pub(crate) readers: usize,
    pub(crate) exclusive: bool,
    pub(crate) migrate: bool,
}

/// How long a lock of another process is waited for.
pub const DEFAULT_PATIENCE: Duration = Duration::from_secs(5);
/// Read connections.
pub const DEFAULT_READERS: usize = 4;

impl Default for Options {
    fn default() -> Self {
        Self {
            key_file: None,
            clock: Arc::new(wall_ms),
            patience: DEFAULT_PATIENCE,
            readers: DEFAULT_READERS,
            exclusive: false,
            migrate: true,
        }
    }
}

fn wall_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

impl Options {
    /// The defaults: keys in `PATH.keys`, the system's clock, 5 s of patience, 4 readers, shared, migrating.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The key file, instead of `PATH.keys`. It is read when a secret is set or revealed, and not kept.
    #[must_use]
    pub fn key_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.key_file = Some(path.into());
        self
    }

    /// The clock, milliseconds since 1970.
    #[must_use]
    pub fn clock(mut self, clock: impl Fn() -> u64 + Send + Sync + 'static) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// How long to wait for a lock that another process holds.
    #[must_use]
    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// How many may read at once; 1 at least.
    #[must_use]
    pub fn readers(mut self, readers: usize) -> Self {
        self.readers = readers.max(1);
        self
    }

    /// Whether nobody else may have the catalog meanwhile: for `rotate_key`, and to migrate by hand.
    #[must_use]
    pub fn exclusive(mut self, exclusive: bool) -> Self {
        self.exclusive = exclusive;
        self
    }

    /// Whether an older database is migrated on opening; if not, it is refused with both versions.
    #[must_use]
    pub fn migrate(mut self, migrate: bool) -> Self {
        self.migrate = migrate;
        self
    }

    pub(crate) fn now_ms(&self) -> u64 {
        (self.clock)().min(crate::check::MAX_UNIX as u64 * 1_000)
    }

    pub(crate) fn keys_of(&self, catalog: &Path) -> PathBuf {
        self.key_file.clone().unwrap_or_else(|| crate::lock::beside(catalog, ".keys"))
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Options")
            .field("key_file", &self.key_file)
            .field("patience", &self.patience)
            .field("readers", &self.readers)
            .field("exclusive", &self.exclusive)
            .field("migrate", &self.migrate)
            .finish_non_exhaustive()
    }
}

/// Where the catalog is unless told: `$STATE_DIRECTORY/beehives.db` under systemd, else `~/.rbee/beehives.db`.
///
/// # Errors
/// `NoHome`: neither variable is set.
pub fn default_path() -> Result<PathBuf> {
    path_in(std::env::var_os("STATE_DIRECTORY").as_deref(), std::env::var_os("HOME").as_deref())
}

fn path_in(state: Option<&std::ffi::OsStr>, home: Option<&std::ffi::OsStr>) -> Result<PathBuf> {
    let said = |value: Option<&std::ffi::OsStr>| value.filter(|value| !value.is_empty()).map(PathBuf::from);
    // systemd separates several by colons; the first is ours.
    let first =
        said(state).and_then(|all| all.to_str().and_then(|all| all.split(':').next()).map(PathBuf::from));
    match (first, said(home)) {
        (Some(state), _) => Ok(state.join("beehives.db")),
        (None, Some(home)) => Ok(home.join(".rbee/beehives.db")),
        (None, None) => Err(CatalogError::NoHome),
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::path::Path;

    use super::path_in;
    use crate::CatalogError;

    #[test]
    fn the_state_directory_goes_before_home_and_without_either_there_is_no_path() {
        let (state, home) = (Some(OsStr::new("/var/lib/queen:/x")), Some(OsStr::new("/home/ann")));
        assert_eq!(path_in(state, home).unwrap(), Path::new("/var/lib/queen/beehives.db"));
        assert_eq!(path_in(None, home).unwrap(), Path::new("/home/ann/.rbee/beehives.db"));
        assert_eq!(path_in(Some(OsStr::new("")), home).unwrap(), Path::new("/home/ann/.rbee/beehives.db"));
        assert!(matches!(path_in(None, Some(OsStr::new(""))), Err(CatalogError::NoHome)));
    }
}
