//! The key file: lines `ID:base64` of 32 bytes, the last one current. Who has it has the secrets.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use zeroize::{Zeroize as _, Zeroizing};

use crate::check;
use crate::error::{CatalogError, Result};

/// The keys of a key file, in its order.
pub(crate) struct Keys {
    path: PathBuf,
    keys: Vec<Key>,
}

pub(crate) struct Key {
    pub(crate) id: String,
    pub(crate) bytes: Zeroizing<[u8; 32]>,
}

/// Of a key file, bytes.
const MAX_FILE_BYTES: u64 = 1 << 20;

// === impl Keys ===

impl Keys {
    /// # Errors
    /// The file is not there, is open to others than its owner, or has a line that is no key; the line is named by
    /// its number, never shown.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let mut file = File::open(path).map_err(CatalogError::file(path, "open the key file"))?;
        let meta = file.metadata().map_err(CatalogError::file(path, "read the key file"))?;
        if !meta.is_file() {
            return Err(CatalogError::keys(path, "not a file"));
        }
        if meta.mode() & 0o077 != 0 {
            let mode = meta.mode() & 0o777;
            return Err(CatalogError::keys(path, format!("mode {mode:04o}, wanted 0600: chmod 600 it")));
        }
        if meta.len() > MAX_FILE_BYTES {
            return Err(CatalogError::keys(path, "over 1 MiB"));
        }
        // Of its full size at once, so that no shorter buffer with keys in it is left behind.
        let mut text = Zeroizing::new(String::with_capacity(meta.len() as usize + 1));
        file.read_to_string(&mut text).map_err(CatalogError::file(path, "read the key file"))?;
        let mut keys: Vec<Key> = Vec::new();
        for (at, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
            let key = Key::parse(line.trim()).map_err(|why| {
                CatalogError::keys(path, format!("line {}: {why}; wanted ID:base64 of 32 bytes", at + 1))
            })?;
            if keys.iter().any(|other| other.id == key.id) {
                return Err(CatalogError::keys(path, format!("line {}: the id is there twice", at + 1)));
            }
            keys.push(key);
        }
        Ok(Self { path: path.to_owned(), keys })
    }

    /// The one that seals.
    pub(crate) fn current(&self) -> Result<&Key> {
        self.keys.last().ok_or_else(|| CatalogError::keys(&self.path, "no key in it"))
    }

    pub(crate) fn find(&self, id: &str) -> Option<&Key> {
        self.keys.iter().find(|key| key.id == id)
    }
}

/// Appends a new key to the key file, which is made where there is none, and makes it the current one. The keys
/// before it stay: what they sealed, in backups too, opens with them only. All or nothing.
///
/// # Errors
/// The file is refused as it is, or cannot be written.
pub(crate) fn new_key(path: &Path) -> Result<String> {
    let mut text = Zeroizing::new(String::new());
    if path.exists() {
        for key in Keys::read(path)?.keys {
            key.write(&mut text);
        }
    }
    let mut bytes = Zeroizing::new([0; 32]);
    random(&mut *bytes)?;
    let mut tail = [0; 6];
    random(&mut tail)?;
    let id = format!("k{}", tail.map(|byte| format!("{byte:02x}")).concat());
    let key = Key { id, bytes };
    key.write(&mut text);
    replace(path, text.as_bytes()).map_err(CatalogError::file(path, "write the key file"))?;
    Ok(key.id.clone())
}

/// A file of the same name holds `bytes` whole, or is as it was.
fn replace(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let new = crate::lock::beside(path, ".new");
    let mut options = OpenOptions::new();
    // Another's file of that name, or a link, is not written to.
    let _ = fs::remove_file(&new);
    let mut file = options.write(true).create_new(true).mode(0o600).open(&new)?;
    let written = file.write_all(bytes).and_then(|()| file.sync_all()).and_then(|()| fs::rename(&new, path));
    if written.is_err() {
        let _ = fs::remove_file(&new);
    }
    written?;
    sync_folder(path)
}

/// A rename or a new file is there after a power loss only once its folder is synced.
pub(crate) fn sync_folder(path: &Path) -> std::io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}

pub(crate) fn random(bytes: &mut [u8]) -> Result<()> {
    getrandom::fill(bytes).map_err(|error| {
        let source = std::io::Error::other(error.to_string());
        CatalogError::File { path: "the system's random numbers".into(), action: "read", source }
    })
}

// === impl Key ===

impl Key {
    fn parse(line: &str) -> std::result::Result<Self, &'static str> {
        let (id, text) = line.split_once(':').ok_or("no colon")?;
        check::key_id(id).map_err(|_| "the id is not one")?;
        let mut bytes = Zeroizing::new([0; 32]);
        // A byte more than a key, so that longer ones are told.
        let mut decoded = Zeroizing::new([0; 36]);
        let length =
            BASE64_STANDARD.decode_slice(text, &mut *decoded).map_err(|_| "not base64 of 32 bytes")?;
        if length != 32 {
            return Err("not 32 bytes");
        }
        bytes.copy_from_slice(&decoded[..32]);
        Ok(Self { id: id.to_owned(), bytes })
    }

    fn write(&self, text: &mut Zeroizing<String>) {
        let mut line = BASE64_STANDARD.encode(*self.bytes);
        // Grown by hand: a string that grows by itself leaves its old buffer unwiped.
        let mut longer = Zeroizing::new(String::with_capacity(text.len() + self.id.len() + line.len() + 2));
        longer.push_str(text);
        longer.push_str(&self.id);
        longer.push(':');
        longer.push_str(&line);
        longer.push('\n');
        line.zeroize();
        *text = longer;
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Key({})", self.id)
    }
}
