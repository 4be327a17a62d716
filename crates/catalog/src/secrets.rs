//! Secrets of a hive (an ssh passphrase, a token), sealed by XChaCha20-Poly1305. What is authenticated along with a
//! secret is where it stands, so that a sealed text moved to another row opens nowhere.

use std::fmt;

use chacha20poly1305::aead::{Aead as _, Payload};
use chacha20poly1305::{KeyInit as _, XChaCha20Poly1305, XNonce};
use rusqlite::{Connection, OptionalExtension as _, params};
use zeroize::Zeroizing;

use crate::audit::Entry;
use crate::catalog::HiveCatalog;
use crate::changes::{Changes, Operator};
use crate::check;
use crate::error::{CatalogError, Result, quote};
use crate::keys::{Key, Keys, new_key, random};

/// A secret's length, bytes.
pub const MAX_SECRET_BYTES: usize = 65_536;
/// Secrets of a hive.
pub const MAX_SECRETS: usize = 16;

/// Something that is not shown, and is wiped when dropped.
#[derive(Clone)]
pub struct Secret(Zeroizing<Vec<u8>>);

/// What a key rotation did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rotation {
    /// The key that every secret is sealed by now.
    pub key_id: String,
    /// Secrets that were sealed anew.
    pub sealed: usize,
}

struct Sealed {
    key_id: String,
    nonce: [u8; 24],
    bytes: Vec<u8>,
}

/// Table, column, row, key: each with its length before it.
fn place(hive: &str, name: &str, key_id: &str) -> Vec<u8> {
    let mut place = Vec::new();
    for part in ["secrets", "sealed", hive, name, key_id] {
        place.extend((part.len() as u64).to_be_bytes());
        place.extend(part.as_bytes());
    }
    place
}

fn seal(key: &Key, hive: &str, name: &str, secret: &Secret) -> Result<Sealed> {
    let mut nonce = [0; 24];
    random(&mut nonce)?;
    let aad = place(hive, name, &key.id);
    let payload = Payload { msg: secret.expose(), aad: &aad };
    let bytes = XChaCha20Poly1305::new((&*key.bytes).into())
        .encrypt(XNonce::from_slice(&nonce), payload)
        .map_err(|_| unsealed(hive, name, &key.id))?;
    Ok(Sealed { key_id: key.id.clone(), nonce, bytes })
}

fn open(keys: &Keys, hive: &str, name: &str, sealed: &Sealed) -> Result<Secret> {
    let key_id = &*sealed.key_id;
    let key = keys.find(key_id).ok_or_else(|| CatalogError::UnknownKey {
        id: hive.to_owned(),
        name: quote(name),
        key_id: quote(key_id),
    })?;
    let aad = place(hive, name, key_id);
    let opened = XChaCha20Poly1305::new((&*key.bytes).into())
        .decrypt(XNonce::from_slice(&sealed.nonce), Payload { msg: &sealed.bytes, aad: &aad })
        .map_err(|_| unsealed(hive, name, key_id))?;
    Ok(Secret(Zeroizing::new(opened)))
}

fn unsealed(hive: &str, name: &str, key_id: &str) -> CatalogError {
    CatalogError::Unsealed { id: hive.to_owned(), name: quote(name), key_id: quote(key_id) }
}

/// Opens every secret of the database, and says how many; the first that does not open is the error.
pub(crate) fn check_all(db: &Connection, keys: impl FnOnce() -> Result<Keys>) -> Result<usize> {
    let all = all(db)?;
    if all.is_empty() {
        return Ok(0);
    }
    let keys = keys()?;
    for (_, hive, name, sealed) in &all {
        open(&keys, hive, name, sealed)?;
    }
    Ok(all.len())
}

/// Key of the hive, its id, the secret's name.
fn all(db: &Connection) -> Result<Vec<(i64, String, String, Sealed)>> {
    let mut select = db.prepare(
        "SELECT s.hive, h.id, s.name, s.key_id, s.nonce, s.sealed FROM secrets s JOIN hives h ON h.key = s.hive",
    )?;
    let rows = select.query_map([], |row| {
        let sealed = Sealed { key_id: row.get(3)?, nonce: row.get(4)?, bytes: row.get(5)? };
        Ok((row.get(0)?, row.get(1)?, row.get(2)?, sealed))
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

// === impl HiveCatalog ===

impl HiveCatalog {
    /// The secret of that name; nothing where none was set.
    ///
    /// # Errors
    /// `Unknown`, `Keys`, `UnknownKey`, `Unsealed`.
    pub fn reveal_secret(&self, id: &str, name: &str) -> Result<Option<Secret>> {
        check::secret(id, name)?;
        let sealed = self.read(|db| {
            let hive = crate::hive_rows::key_of(db, id)?.ok_or_else(|| CatalogError::unknown(id))?;
            let mut select =
                db.prepare_cached("SELECT key_id, nonce, sealed FROM secrets WHERE hive = ?1 AND name = ?2")?;
            Ok(select
                .query_row(params![hive, name], |row| {
                    Ok(Sealed { key_id: row.get(0)?, nonce: row.get(1)?, bytes: row.get(2)? })
                })
                .optional()?)
        })?;
        sealed.map(|sealed| open(&self.keys()?, id, name, &sealed)).transpose()
    }

    /// The names of a hive's secrets, in order.
    ///
    /// # Errors
    /// SQLite's.
    pub fn secret_names(&self, id: &str) -> Result<Vec<String>> {
        self.read(|db| {
            let mut select = db.prepare_cached(
                "SELECT s.name FROM secrets s JOIN hives h ON h.key = s.hive WHERE h.id = ?1 ORDER BY s.name",
            )?;
            let rows = select.query_map([id], |row| row.get(0))?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
    }

    /// Whether every secret opens with the key file as it is; how many there are.
    ///
    /// # Errors
    /// As [`reveal_secret`](Self::reveal_secret), for the first that does not.
    pub fn check_secrets(&self) -> Result<usize> {
        self.read_at_once(|db| check_all(db, || self.keys()))
    }

    fn keys(&self) -> Result<Keys> {
        let path = self.key_file().ok_or(CatalogError::NoKey)?;
        if path.exists() { Keys::read(&path) } else { Err(CatalogError::NoKey) }
    }
}

// === impl Operator ===

impl Operator {
    /// Seals a secret by the current key, in the place of one of the same name.
    ///
    /// # Errors
    /// `Unknown`, `Invalid` (name, length), `TooMany`, `NoKey`, `Keys`.
    pub fn set_secret(&self, id: &str, name: &str, secret: &Secret) -> Result<()> {
        self.transaction(|changes| changes.set_secret(id, name, secret))
    }

    /// Forgets a secret; whether there was one.
    ///
    /// # Errors
    /// `Unknown`.
    pub fn remove_secret(&self, id: &str, name: &str) -> Result<bool> {
        self.transaction(|changes| changes.remove_secret(id, name))
    }

    /// Appends a new key to the key file, which is made if need be; its id. What it seals opens with it only: keep a
    /// copy of the file, apart from the backups.
    ///
    /// # Errors
    /// `Keys`, `File`.
    pub fn new_key(&self) -> Result<String> {
        let path = self.key_file().ok_or(CatalogError::NoKey)?;
        self.transaction(|changes| {
            let key_id = new_key(&path)?;
            changes.audit(Entry {
                what: "new_key",
                detail: Some(format!("key {key_id}")),
                ..Entry::default()
            })?;
            Ok(key_id)
        })
    }

    /// Seals every secret anew, by a key that sealed none before: the file's last one if it is such, else a new one.
    /// One transaction; interrupted at any step nothing is lost, and the next call ends what was begun. Keys before
    /// it stay in the file, for backups need them.
    ///
    /// # Errors
    /// `NotExclusive`, `Keys`, `UnknownKey`, `Unsealed`.
    pub fn rotate_key(&self) -> Result<Rotation> {
        self.require_exclusive("rotate_key")?;
        let path = self.key_file().ok_or(CatalogError::NoKey)?;
        self.transaction(|changes| {
            let all = all(changes.tx)?;
            let fresh = |keys: &Keys| {
                keys.current().is_ok_and(|key| all.iter().all(|(.., sealed)| sealed.key_id != key.id))
            };
            // A new file would hide that the one that opens them is not there.
            if !all.is_empty() && !path.exists() {
                return Err(CatalogError::NoKey);
            }
            // On the disk before anything is sealed by it. Without secrets any key would be fresh.
            if all.is_empty() || !fresh(&Keys::read(&path)?) {
                new_key(&path)?;
            }
            let keys = Keys::read(&path)?;
            let key = keys.current()?;
            for (hive, id, name, sealed) in &all {
                let secret = open(&keys, id, name, sealed)?;
                changes.store_secret(*hive, name, &seal(key, id, name, &secret)?)?;
            }
            let detail = Some(format!("key {}, {} secrets", key.id, all.len()));
            changes.audit(Entry { what: "rotate_key", detail, ..Entry::default() })?;
            Ok(Rotation { key_id: key.id.clone(), sealed: all.len() })
        })
    }
}

// === impl Changes ===

impl Changes<'_> {
    /// See [`Operator::set_secret`].
    ///
    /// # Errors
    /// As there.
    pub fn set_secret(&self, id: &str, name: &str, secret: &Secret) -> Result<()> {
        check::secret(id, name)?;
        let hive = self.hive(id)?;
        let count: usize = self
            .tx
            .prepare_cached("SELECT count(*) FROM secrets WHERE hive = ?1 AND name <> ?2")?
            .query_row(params![hive, name], |row| row.get(0))?;
        if count >= MAX_SECRETS {
            let (wanted, bound) = (count + 1, MAX_SECRETS);
            return Err(CatalogError::TooMany { id: id.to_owned(), what: "secrets", wanted, bound });
        }
        let keys = self.catalog.keys()?;
        let sealed = seal(keys.current()?, id, name, secret)?;
        self.store_secret(hive, name, &sealed)?;
        let detail = Some(format!("{name}, key {}", sealed.key_id));
        self.audit(Entry { what: "set_secret", hive: Some(id), detail, ..Entry::default() })
    }

    /// See [`Operator::remove_secret`].
    ///
    /// # Errors
    /// As there.
    pub fn remove_secret(&self, id: &str, name: &str) -> Result<bool> {
        let hive = self.hive(id)?;
        let mut delete = self.tx.prepare_cached("DELETE FROM secrets WHERE hive = ?1 AND name = ?2")?;
        if delete.execute(params![hive, name])? == 0 {
            return Ok(false);
        }
        let detail = Some(name.to_owned());
        self.audit(Entry { what: "remove_secret", hive: Some(id), detail, ..Entry::default() })?;
        Ok(true)
    }

    fn store_secret(&self, hive: i64, name: &str, sealed: &Sealed) -> Result<()> {
        self.tx
            .prepare_cached(
                "INSERT OR REPLACE INTO secrets (hive, name, key_id, nonce, sealed, set_at_ms) \
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            )?
            .execute(params![hive, name, sealed.key_id, sealed.nonce, sealed.bytes, self.now_ms])?;
        Ok(())
    }
}

// === impl Secret ===

impl Secret {
    /// # Errors
    /// `Invalid`: 1 to 65,536 bytes.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Result<Self> {
        let bytes = Zeroizing::new(bytes.into());
        if (1..=MAX_SECRET_BYTES).contains(&bytes.len()) {
            return Ok(Self(bytes));
        }
        let bound = format!("1 to {MAX_SECRET_BYTES} bytes");
        Err(CatalogError::invalid("", "secret", format_args!("{} bytes", bytes.len()), bound))
    }

    /// The bytes themselves: not for a log.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Secret(...)")
    }
}
