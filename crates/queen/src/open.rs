//! The catalog that a command works on.

use std::path::{Path, PathBuf};

use hive_catalog::{HiveCatalog, Operator, Options, default_path, served_by};

use crate::cli::Global;
use crate::failure::Failure;
use crate::terminal::Terminal;
use crate::who;

/// Where it is to be.
pub(crate) fn path(global: &Global) -> Result<PathBuf, Failure> {
    Ok(match &global.catalog {
        Some(path) => path.clone(),
        None => default_path()?,
    })
}

/// To add to: made where there is none.
pub(crate) fn made(global: &Global, terminal: &Terminal) -> Result<Operator, Failure> {
    opened(&path(global)?, Options::new(), terminal)
}

/// To change, or to look at as a whole: where there is none, that is a refusal.
pub(crate) fn existing(global: &Global, terminal: &Terminal) -> Result<Operator, Failure> {
    opened(&there(global)?, Options::new(), terminal)
}

/// To look hives up in: where there is none, there are no hives, and none is made.
pub(crate) fn looked_at(global: &Global, terminal: &Terminal) -> Result<HiveCatalog, Failure> {
    let path = path(global)?;
    if is_absent(&path) {
        terminal.note(&format!(
            "no catalog at {} yet; the first hive that is added makes one: `queen setup add-node --name gpu-1 --host \
             192.168.1.100`",
            path.display()
        ));
        return Ok(HiveCatalog::open_in_memory()?);
    }
    Ok(opened(&path, Options::new(), terminal)?.catalog().clone())
}

/// For this process alone: refused while somebody serves it.
pub(crate) fn alone(global: &Global, what: &str, terminal: &Terminal) -> Result<Operator, Failure> {
    let path = there(global)?;
    refuse_served(&path, what)?;
    opened(&path, Options::new().exclusive(true), terminal)
}

/// Said at once, and in the words of who reads it: the catalog itself would wait for the lock first.
pub(crate) fn refuse_served(path: &Path, what: &str) -> Result<(), Failure> {
    // By its own name, beside which the lock is.
    let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    match served_by(&path) {
        None => Ok(()),
        Some(pid) => Err(Failure::Refused(
            format!("{}: served by process {pid}, and {what} needs it for itself", path.display()),
            Some("stop that service, and run this again"),
        )),
    }
}

fn there(global: &Global) -> Result<PathBuf, Failure> {
    let path = path(global)?;
    if is_absent(&path) {
        return Err(Failure::Refused(
            format!("no catalog at {}", path.display()),
            Some("name another by --catalog or QUEEN_CATALOG, or add a hive, which makes it"),
        ));
    }
    Ok(path)
}

fn is_absent(path: &Path) -> bool {
    path.metadata().is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound)
}

fn opened(path: &Path, options: Options, terminal: &Terminal) -> Result<Operator, Failure> {
    let actor = who::actor()?;
    let catalog = HiveCatalog::open_with(path, options)?;
    for step in catalog.migrated() {
        let (from, to, copy) = (step.from, step.to, step.copy.display());
        terminal.note(&format!("migrated the catalog from version {from} to {to}; as it was it is {copy}"));
    }
    Ok(catalog.as_actor(actor))
}
