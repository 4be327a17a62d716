//! What the database must look like, and how an earlier one becomes that.

use std::fs;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OptionalExtension as _, Transaction, TransactionBehavior};

use crate::backup;
use crate::error::{CatalogError, Result};
use crate::legacy_rows;
use crate::lock::beside;

/// `HIVE` in ASCII; in the file's header.
pub(crate) const APPLICATION_ID: i64 = 0x4849_5645;

/// The schema of this program.
pub const SCHEMA_VERSION: i64 = 2;

/// A migration that was made on opening.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Migration {
    /// The version before.
    pub from: i64,
    /// The version after.
    pub to: i64,
    /// The copy of the database as it was.
    pub copy: PathBuf,
}

/// One step up; what it does happens whole, with the version it leads to, or not at all.
pub(crate) struct Step {
    pub(crate) to: i64,
    pub(crate) run: fn(&Transaction<'_>, now_ms: u64) -> Result<()>,
}

pub(crate) const STEPS: &[Step] = &[
    Step { to: 1, run: |tx, _| Ok(tx.execute_batch(include_str!("../migrations/v1.sql"))?) },
    Step {
        to: 2,
        run: |tx, now_ms| {
            tx.execute_batch(include_str!("../migrations/v2.sql"))?;
            legacy_rows::bring_over(tx, now_ms)?;
            Ok(tx.execute_batch("DROP TABLE beehives")?)
        },
    },
];

/// What a file turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// Nothing is in it.
    Empty,
    /// A catalog of that version.
    Version(i64),
}

/// What is in the database, by its application id, its version and, of the older program's, its columns.
///
/// # Errors
/// `NotACatalog`; `NewerSchema`.
pub(crate) fn look(db: &Connection, path: &Path) -> Result<Found> {
    let pragma = |name| db.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    let (application, version) = (pragma("application_id")?, pragma("user_version")?);
    let tables: Vec<String> = db
        .prepare("SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'")?
        .query_map([], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    match (application, version) {
        (APPLICATION_ID, version) if version > SCHEMA_VERSION => {
            Err(CatalogError::NewerSchema { path: path.to_owned(), found: version, known: SCHEMA_VERSION })
        }
        (APPLICATION_ID, version) if version >= 1 => Ok(Found::Version(version)),
        (0, 0) if tables.is_empty() => Ok(Found::Empty),
        (0, _) if tables == ["beehives"] => {
            legacy_rows::check_columns(db, path)?;
            Ok(Found::Version(1))
        }
        (0, _) => {
            let names = tables.join(", ");
            Err(CatalogError::not_a_catalog(path, format!("no application id, and tables {names:?}")))
        }
        (other, _) => {
            let why = format!("application id {other:#x}, wanted {APPLICATION_ID:#x}");
            Err(CatalogError::not_a_catalog(path, why))
        }
    }
}

/// Makes an empty database, in one transaction.
pub(crate) fn create(db: &mut Connection, now_ms: u64) -> Result<()> {
    let tx = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
    STEPS.iter().try_for_each(|step| run(&tx, step, now_ms))?;
    Ok(tx.commit()?)
}

/// Each step in a transaction of its own, before each a copy. The caller has the catalog exclusively.
pub(crate) fn migrate(
    db: &mut Connection,
    path: &Path,
    from: i64,
    steps: &[Step],
    now_ms: u64,
) -> Result<Vec<Migration>> {
    let mut made = Vec::new();
    let mut version = from;
    for step in steps.iter().filter(|step| step.to > from) {
        let copy = copy_aside(db, path, version, now_ms)?;
        let tx = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
        run(&tx, step, now_ms)?;
        tx.commit()?;
        made.push(Migration { from: version, to: step.to, copy });
        version = step.to;
    }
    Ok(made)
}

fn run(tx: &Transaction<'_>, step: &Step, now_ms: u64) -> Result<()> {
    (step.run)(tx, now_ms)?;
    tx.pragma_update(None, "application_id", APPLICATION_ID)?;
    tx.pragma_update(None, "user_version", step.to)?;
    Ok(())
}

/// `PATH.vN-TIME.bak`, whole and checked before anything is changed.
fn copy_aside(db: &Connection, path: &Path, version: i64, now_ms: u64) -> Result<PathBuf> {
    let name = |more: &str| beside(path, &format!(".v{version}-{now_ms}{more}.bak"));
    let free = |path: &PathBuf| fs::symlink_metadata(path).is_err();
    let mut names = std::iter::once(name("")).chain((2..100).map(|more| name(&format!("-{more}"))));
    let copy = names.find(free).ok_or_else(|| CatalogError::File {
        path: name(""),
        action: "find a free name for the copy",
        source: std::io::ErrorKind::AlreadyExists.into(),
    })?;
    backup::copy(db, &copy, &mut |_| {})?;
    Ok(copy)
}

/// Tables, indexes and triggers that are not as this program makes them, by name.
pub(crate) fn differences(db: &Connection) -> Result<Vec<String>> {
    let mut fresh = Connection::open_in_memory()?;
    create(&mut fresh, 0)?;
    let list = |db: &Connection| -> Result<Vec<(String, Option<String>)>> {
        let mut select = db.prepare("SELECT name, sql FROM sqlite_schema ORDER BY name")?;
        let rows = select.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
        Ok(rows.collect::<Result<_, _>>()?)
    };
    let (wanted, there) = (list(&fresh)?, list(db)?);
    // ANALYZE makes tables of its own.
    let missing =
        wanted.iter().filter(|item| !there.contains(item)).map(|(name, _)| format!("{name}: not as made"));
    let more = there.iter().filter(|(name, _)| {
        !name.starts_with("sqlite_stat") && wanted.iter().all(|(other, _)| other != name)
    });
    Ok(missing.chain(more.map(|(name, _)| format!("{name}: not of the catalog"))).collect())
}

/// Whether the table is there.
pub(crate) fn has_table(db: &Connection, name: &str) -> Result<bool> {
    let found: Option<i64> = db
        .query_row("SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = ?1", [name], |row| row.get(0))
        .optional()?;
    Ok(found.is_some())
}

#[cfg(test)]
mod tests {
    use rusqlite::Connection;

    use super::{STEPS, Step, create, differences, look, migrate, run};
    use crate::CatalogError;
    use crate::schema::{Found, SCHEMA_VERSION};

    #[test]
    fn a_step_that_fails_leaves_the_database_as_it_was_with_a_copy_beside_it() {
        let folder = std::env::temp_dir().join(format!("hive-catalog-schema-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join("c.db");
        let mut db = Connection::open(&path).unwrap();
        let first = db.transaction().unwrap();
        run(&first, &STEPS[0], 7).unwrap();
        first
            .execute_batch("INSERT INTO beehives VALUES ('a','h',22,'u',NULL,'','','',NULL,'x',NULL,NULL)")
            .unwrap();
        first.commit().unwrap();
        let broken = Step {
            to: 3,
            run: |tx, _| {
                tx.execute_batch("CREATE TABLE third (x); DROP TABLE hives")?;
                Err(CatalogError::NoKey)
            },
        };
        let steps = [Step { to: 2, run: STEPS[1].run }, broken];
        assert!(matches!(migrate(&mut db, &path, 1, &steps, 7), Err(CatalogError::NoKey)));
        // The step before it stands, the one that failed left nothing.
        assert_eq!(look(&db, &path).unwrap(), Found::Version(2));
        assert_eq!(differences(&db).unwrap(), Vec::<String>::new());
        let found = |name: &str| look(&Connection::open(folder.join(name)).unwrap(), &path).unwrap();
        assert_eq!((found("c.db.v1-7.bak"), found("c.db.v2-7.bak")), (Found::Version(1), Found::Version(2)));
        // A copy is never written over.
        assert!(migrate(&mut db, &path, 2, &steps[1..], 7).is_err());
        assert_eq!(found("c.db.v2-7-2.bak"), Found::Version(2));
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn the_steps_lead_to_this_programs_version_one_by_one() {
        let versions: Vec<i64> = STEPS.iter().map(|step| step.to).collect();
        assert_eq!(versions, (1..=SCHEMA_VERSION).collect::<Vec<_>>());
        let mut db = Connection::open_in_memory().unwrap();
        assert_eq!(look(&db, "x".as_ref()).unwrap(), Found::Empty);
        create(&mut db, 0).unwrap();
        assert_eq!(look(&db, "x".as_ref()).unwrap(), Found::Version(SCHEMA_VERSION));
    }
}
