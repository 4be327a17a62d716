//! Why a command did not do what it was asked.

use std::fmt;
use std::io;
use std::path::Path;

use clap::CommandFactory as _;
use clap::error::ErrorKind;
use hive_catalog::CatalogError;

use crate::cli::Cli;
use crate::terminal::quoted;

/// Why a command failed.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The catalog refused.
    Catalog(CatalogError),
    /// The command itself did; the second text says what to do next.
    Refused(String, Option<&'static str>),
    /// It was asked wrongly: exit code 2.
    Usage(clap::Error),
    /// Whoever reads our output has gone.
    Pipe,
}

impl Failure {
    pub(crate) fn refused(why: impl Into<String>) -> Self {
        Self::Refused(why.into(), None)
    }

    /// What the arguments say together makes no sense.
    pub(crate) fn usage(why: impl fmt::Display) -> Self {
        Self::Usage(Cli::command().error(ErrorKind::ArgumentConflict, why))
    }

    /// A file that is not the catalog could not be read or written.
    pub(crate) fn file(file: &Path, action: &str, error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::Pipe,
            _ => Self::refused(format!("{}: cannot {action}: {error}", file.display())),
        }
    }

    /// There is no such hive.
    pub(crate) fn unknown(id: &str) -> Self {
        Self::Refused(format!("no hive {} in the catalog", quoted(id)), Some(NAMES))
    }

    /// What to do next, where the sentence itself does not say.
    pub(crate) fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Refused(_, hint) => *hint,
            Self::Usage(_) | Self::Pipe => None,
            Self::Catalog(error) => match error {
                CatalogError::Unknown { .. } => Some(NAMES),
                CatalogError::Exists { .. } => Some(
                    "`--replace` writes it anew, `queen nodes update NAME` changes single fields, `queen nodes show NAME` \
                     shows it",
                ),
                CatalogError::Damaged { .. } => {
                    Some("`queen catalog restore FILE` puts a backup in its place")
                }
                CatalogError::UnknownKey { .. } | CatalogError::Unsealed { .. } => {
                    Some("put the key file that sealed it beside the catalog, as PATH.keys")
                }
                CatalogError::Import { .. } => Some("nothing was changed; put that right and import again"),
                _ => None,
            },
        }
    }
}

const NAMES: &str = "`queen nodes list` shows the names";

impl fmt::Display for Failure {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Catalog(error) => error.fmt(out),
            Self::Refused(why, _) => out.write_str(why),
            Self::Usage(error) => error.fmt(out),
            Self::Pipe => out.write_str("nobody reads the output"),
        }
    }
}

impl From<CatalogError> for Failure {
    fn from(error: CatalogError) -> Self {
        Self::Catalog(error)
    }
}

/// Of the standard output.
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::file(Path::new("standard output"), "write", &error)
    }
}
