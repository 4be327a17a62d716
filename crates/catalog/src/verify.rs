use serde::Serialize;

use crate::audit::{self, AuditFault, Hash};
use crate::backup::{Progress, integrity};
use crate::catalog::HiveCatalog;
use crate::error::Result;
use crate::hive_rows::list;
use crate::hives::HiveFilter;
use crate::schema;

/// What `catalog verify` found.
#[derive(Clone, Debug, Default)]
pub struct Verification {
    /// What SQLite's `integrity_check` finds wrong.
    pub integrity: Vec<String>,
    /// Rows that refer to none.
    pub foreign_keys: Vec<String>,
    /// Tables, indexes and triggers that are not as this program makes them.
    pub schema: Vec<String>,
    /// What is wrong with the audit log.
    pub audit: Option<AuditFault>,
    /// Number and hash of its last row.
    pub head: Option<(u64, Hash)>,
    /// Values that no door would take today, an older program's; nothing dials with them.
    pub values: Vec<ValueFault>,
    /// What an older database held that no column could take.
    pub leftovers: Vec<Leftover>,
    /// Hives there are.
    pub hives: u64,
}

/// A value that no door would take today.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ValueFault {
    /// The hive.
    pub id: String,
    /// What is wrong, by field and bound.
    pub fault: String,
}

/// What an older database held that no column could take.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Leftover {
    /// The hive, where the row named one.
    pub id: Option<String>,
    /// The column.
    pub field: String,
    /// The value, as SQL writes it.
    pub value: String,
    /// Why it is left over.
    pub why: String,
}

// === impl Verification ===

impl Verification {
    /// Whether the database is whole: values and leftovers of an older program do not count against it.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.integrity.is_empty()
            && self.foreign_keys.is_empty()
            && self.schema.is_empty()
            && self.audit.is_none()
    }
}

// === impl HiveCatalog ===

impl HiveCatalog {
    /// Checks everything that can be checked: the file, references, the schema, the audit log (with a head kept
    /// elsewhere its tail, too), every value. Others read and write meanwhile; it is of one moment.
    ///
    /// # Errors
    /// The file is damaged so that it cannot be read at all.
    pub fn verify(&self, head: Option<(u64, Hash)>) -> Result<Verification> {
        self.verify_with(head, |_| {})
    }

    /// [`verify`](Self::verify), saying how far it has come, in hives.
    ///
    /// # Errors
    /// As [`verify`](Self::verify).
    pub fn verify_with(
        &self,
        head: Option<(u64, Hash)>,
        mut progress: impl FnMut(Progress),
    ) -> Result<Verification> {
        self.read_at_once(|db| {
            let mut found = Verification {
                integrity: integrity(db)?,
                schema: schema::differences(db)?,
                audit: audit::verify(db, head)?,
                head: audit::head(db)?,
                hives: db.query_row("SELECT count(*) FROM hives", [], |row| row.get(0))?,
                ..Verification::default()
            };
            let mut check = db.prepare("PRAGMA foreign_key_check")?;
            let rows = check.query_map([], |row| {
                let (table, row, of): (String, Option<i64>, String) = (row.get(0)?, row.get(1)?, row.get(2)?);
                Ok(format!("{table}, row {row:?}: refers to none of {of}"))
            })?;
            found.foreign_keys = rows.collect::<Result<_, _>>()?;
            let mut page = HiveFilter { limit: Some(1_000), ..HiveFilter::default() };
            let mut done = 0;
            loop {
                let hives = list(db, &page)?;
                for hive in &hives.hives {
                    let faults = hive.faults().into_iter();
                    found.values.extend(
                        faults.map(|fault| ValueFault { id: hive.id.clone(), fault: fault.to_string() }),
                    );
                }
                done += hives.hives.len() as u64;
                progress(Progress { done, total: found.hives });
                page.after = hives.next;
                if page.after.is_none() {
                    break;
                }
            }
            let mut select =
                db.prepare("SELECT hive, field, quote(value), why FROM leftovers ORDER BY number")?;
            let rows = select.query_map([], |row| {
                Ok(Leftover { id: row.get(0)?, field: row.get(1)?, value: row.get(2)?, why: row.get(3)? })
            })?;
            found.leftovers = rows.collect::<Result<_, _>>()?;
            Ok(found)
        })
    }
}
