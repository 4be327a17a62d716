//! Who changed what, and when: rows that are appended only, each with a hash of the one before it. Cutting off the
//! last rows leaves a whole chain, so the head must be kept elsewhere, too: `verify_audit` takes it.

use std::collections::HashMap;
use std::ops::{Bound, RangeBounds};

use rusqlite::{Connection, OptionalExtension as _, Row, Transaction, params};
use serde::{Serialize, Serializer};
use sha2::{Digest as _, Sha256};

use crate::actor::Actor;
use crate::catalog::HiveCatalog;
use crate::error::{CatalogError, Result};
use crate::record::HiveRecord;

/// Of what a row says in words, bytes.
const MAX_DETAIL_BYTES: usize = 1_024;

/// SHA-256.
pub type Hash = [u8; 32];

/// A row of the audit log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AuditEntry {
    /// Its number, from 1, without gaps.
    pub seq: u64,
    /// When, milliseconds since 1970.
    pub at_ms: u64,
    /// `cli:USER`, `token:NAME`, `service:NAME`.
    pub who: String,
    /// The call: `add_hive`, `update_status`.
    pub what: String,
    /// The hive it was about.
    pub hive: Option<String>,
    /// More about it, in words.
    pub detail: Option<String>,
    /// Digest of the hive's record before; of its secrets there is none.
    #[serde(serialize_with = "hex_or_none")]
    pub before: Option<Hash>,
    /// Digest of the hive's record after.
    #[serde(serialize_with = "hex_or_none")]
    pub after: Option<Hash>,
    /// Of this row and the hash before it.
    #[serde(serialize_with = "hex_of")]
    pub hash: Hash,
}

/// What is wrong with the audit log, the first that was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AuditFault {
    /// The row is not as it was written.
    Edited {
        /// Its number.
        seq: u64,
    },
    /// A row is gone.
    Deleted {
        /// Its number.
        seq: u64,
    },
    /// The row was written in another place.
    Moved {
        /// The number it has.
        seq: u64,
        /// The number it was written with.
        was: u64,
    },
    /// The log ends before the head that was kept.
    CutTail {
        /// The last number there is.
        last: u64,
        /// The head's.
        head: u64,
    },
    /// The chain is whole, but it is another one than the head was taken from.
    OtherChain {
        /// The head's number.
        seq: u64,
    },
}

/// Digests are of what people write and of the status; times that come with every heartbeat are no change.
pub(crate) fn digest(record: &HiveRecord) -> Result<Hash> {
    let told =
        HiveRecord { last_heartbeat_ms: None, last_connected_unix: None, updated_at_ms: 0, ..record.clone() };
    Ok(Sha256::digest(crate::hive_rows::to_json(&told)?).into())
}

/// Hexadecimal digits, as heads are written down.
#[must_use]
pub fn hex(hash: &Hash) -> String {
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Reads what [`hex`] wrote.
#[must_use]
pub fn from_hex(text: &str) -> Option<Hash> {
    let digits =
        Some(text).filter(|text| text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit()))?;
    let mut hash = Hash::default();
    for (byte, at) in hash.iter_mut().zip((0..64).step_by(2)) {
        *byte = u8::from_str_radix(&digits[at..at + 2], 16).ok()?;
    }
    Some(hash)
}

fn hex_of<S: Serializer>(hash: &Hash, out: S) -> Result<S::Ok, S::Error> {
    out.serialize_str(&hex(hash))
}

#[expect(clippy::ref_option, reason = "serde gives the field by reference")]
fn hex_or_none<S: Serializer>(hash: &Option<Hash>, out: S) -> Result<S::Ok, S::Error> {
    hash.as_ref().map(hex).serialize(out)
}

/// What is to stand in the log.
#[derive(Default)]
pub(crate) struct Entry<'a> {
    pub(crate) what: &'static str,
    pub(crate) hive: Option<&'a str>,
    pub(crate) detail: Option<String>,
    pub(crate) before: Option<Hash>,
    pub(crate) after: Option<Hash>,
}

/// Appends a row, in the transaction of the change itself.
pub(crate) fn append(tx: &Transaction<'_>, who: &Actor, at_ms: u64, entry: Entry<'_>) -> Result<()> {
    let (last, before) = head(tx)?.unwrap_or_default();
    let mut row = AuditEntry {
        seq: last + 1,
        at_ms,
        who: who.to_string(),
        what: entry.what.to_owned(),
        hive: entry.hive.map(str::to_owned),
        detail: entry.detail.map(|mut detail| {
            detail.truncate(detail.floor_char_boundary(MAX_DETAIL_BYTES));
            detail
        }),
        before: entry.before,
        after: entry.after,
        hash: Hash::default(),
    };
    row.hash = row.chained(&before, row.seq);
    tx.prepare_cached(
        "INSERT INTO audit (seq, at_ms, who, what, hive, detail, before, after, hash) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
    )?
    .execute(params![
        row.seq, row.at_ms, row.who, row.what, row.hive, row.detail, row.before, row.after, row.hash
    ])?;
    Ok(())
}

pub(crate) fn head(db: &Connection) -> Result<Option<(u64, Hash)>> {
    let mut select = db.prepare_cached("SELECT seq, hash FROM audit ORDER BY seq DESC LIMIT 1")?;
    Ok(select.query_row([], |row| Ok((row.get(0)?, row.get(1)?))).optional()?)
}

// === impl HiveCatalog ===

impl HiveCatalog {
    /// The rows of that range of numbers, in order: `audit(1..=100)`. All of it may be much: ask in parts.
    ///
    /// # Errors
    /// SQLite's.
    pub fn audit(&self, range: impl RangeBounds<u64>) -> Result<Vec<AuditEntry>> {
        let from = match range.start_bound() {
            Bound::Included(from) => *from,
            Bound::Excluded(from) => from.saturating_add(1),
            Bound::Unbounded => 0,
        };
        let to = match range.end_bound() {
            Bound::Included(to) => *to,
            Bound::Excluded(0) => return Ok(Vec::new()),
            Bound::Excluded(to) => to - 1,
            Bound::Unbounded => u64::MAX,
        };
        let most = i64::MAX as u64;
        self.read(|db| {
            let mut select =
                db.prepare_cached("SELECT * FROM audit WHERE seq BETWEEN ?1 AND ?2 ORDER BY seq")?;
            let rows = select.query_map([from.min(most), to.min(most)], AuditEntry::from_row)?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
    }

    /// The number and hash of the last row; nothing where there is none. Kept elsewhere it shows a cut tail.
    ///
    /// # Errors
    /// SQLite's.
    pub fn audit_head(&self) -> Result<Option<(u64, Hash)>> {
        self.read(head)
    }

    /// Whether each row is as it was written, where it was written, and none is gone; with a head kept elsewhere,
    /// whether the log goes on from there. The cost is that of reading the whole log.
    ///
    /// # Errors
    /// SQLite's.
    pub fn verify_audit(&self, head: Option<(u64, Hash)>) -> Result<Option<AuditFault>> {
        self.read_at_once(|db| verify(db, head))
    }
}

/// After so many broken rows no more is learned of what was done.
const BROKEN: usize = 64;

pub(crate) fn verify(db: &Connection, head: Option<(u64, Hash)>) -> Result<Option<AuditFault>> {
    let mut select = db.prepare("SELECT * FROM audit ORDER BY seq")?;
    let mut rows = select.query([])?;
    let (mut last, mut previous) = (0, Hash::default());
    let mut at_head = None;
    // Broken rows, each with the hash before it.
    let mut broken: Vec<(AuditEntry, Hash)> = Vec::new();
    let mut missing = None;
    while let Some(row) = rows.next()? {
        let Ok(row) = AuditEntry::from_row(row) else {
            return Ok(Some(AuditFault::Edited { seq: last + 1 }));
        };
        if row.seq != last + 1 {
            missing.get_or_insert(last + 1);
        }
        if row.chained(&previous, row.seq) != row.hash && broken.len() < BROKEN {
            broken.push((row.clone(), previous));
        }
        if head.is_some_and(|(seq, _)| seq == row.seq) {
            at_head = Some(row.hash);
        }
        (last, previous) = (row.seq, row.hash);
    }
    if let Some(seq) = missing {
        return Ok(Some(AuditFault::Deleted { seq }));
    }
    if !broken.is_empty() {
        return Ok(Some(told_apart(&broken)));
    }
    Ok(match (head, at_head) {
        (Some((seq, _)), None) => Some(AuditFault::CutTail { last, head: seq }),
        (Some((seq, hash)), Some(found)) if hash != found => Some(AuditFault::OtherChain { seq }),
        _ => None,
    })
}

/// A row that fits its own hash under another number was moved; if it only follows the one before it under a higher
/// number, those between were deleted and the rest renumbered. Else it was edited.
fn told_apart(broken: &[(AuditEntry, Hash)]) -> AuditFault {
    let first = broken[0].0.seq;
    // The hashes that stand in a place, for those that could have been before a row.
    let stored: HashMap<u64, Hash> =
        broken.iter().flat_map(|(row, before)| [(row.seq - 1, *before), (row.seq, row.hash)]).collect();
    for (row, before) in broken {
        let later = row.seq + 1..=row.seq + BROKEN as u64;
        // All rows since the first are broken, then: a swap breaks single ones.
        if row.seq > first && later.clone().any(|was| row.chained(before, was) == row.hash) {
            return AuditFault::Deleted { seq: first };
        }
    }
    for (row, _) in broken {
        let mut places = broken.iter().map(|(other, _)| other.seq).filter(|place| *place != row.seq);
        let fits = |place: &u64| stored.values().any(|before| row.chained(before, *place) == row.hash);
        if let Some(was) = places.find(fits) {
            return AuditFault::Moved { seq: row.seq, was };
        }
    }
    AuditFault::Edited { seq: first }
}

// === impl AuditEntry ===

impl AuditEntry {
    fn from_row(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            seq: row.get("seq")?,
            at_ms: row.get("at_ms")?,
            who: row.get("who")?,
            what: row.get("what")?,
            hive: row.get("hive")?,
            detail: row.get("detail")?,
            before: row.get("before")?,
            after: row.get("after")?,
            hash: row.get("hash")?,
        })
    }

    /// Each part with its length before it, so that no two rows have the same bytes.
    fn chained(&self, before: &Hash, seq: u64) -> Hash {
        let mut hash = Sha256::new();
        hash.update(before);
        hash.update(seq.to_be_bytes());
        hash.update(self.at_ms.to_be_bytes());
        let mut part = |bytes: Option<&[u8]>| match bytes {
            None => hash.update([0]),
            Some(bytes) => {
                hash.update([1]);
                hash.update((bytes.len() as u64).to_be_bytes());
                hash.update(bytes);
            }
        };
        part(Some(self.who.as_bytes()));
        part(Some(self.what.as_bytes()));
        part(self.hive.as_deref().map(str::as_bytes));
        part(self.detail.as_deref().map(str::as_bytes));
        part(self.before.as_ref().map(|digest| &digest[..]));
        part(self.after.as_ref().map(|digest| &digest[..]));
        hash.finalize().into()
    }
}

// === impl AuditFault ===

impl std::fmt::Display for AuditFault {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Edited { seq } => write!(out, "row {seq} was edited"),
            Self::Deleted { seq } => write!(out, "row {seq} was deleted"),
            Self::Moved { seq, was } => {
                write!(out, "row {seq} was written as row {was}: rows were reordered")
            }
            Self::CutTail { last, head } => {
                write!(out, "the log ends with row {last}, its head was row {head}: the tail was cut off")
            }
            Self::OtherChain { seq } => write!(out, "row {seq} is another than the head that was kept"),
        }
    }
}

impl From<AuditFault> for CatalogError {
    fn from(fault: AuditFault) -> Self {
        Self::damaged(std::path::Path::new(""), fault)
    }
}
