//! What the heavy tests share: a folder of one's own, and sizes that `make verify` sets.

use std::path::PathBuf;
use std::{env, fs};

/// Removed when dropped.
pub struct Folder(pub PathBuf);

impl Folder {
    pub fn new(name: &str) -> Self {
        let folder = env::temp_dir().join(format!("hive-catalog-{name}-{}", std::process::id()));
        fs::create_dir(&folder).unwrap();
        Self(folder)
    }

    pub fn catalog(&self) -> PathBuf {
        self.0.join("c.db")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// What the environment says, else the everyday size.
pub fn size(name: &str, everyday: usize) -> usize {
    env::var(name).ok().and_then(|size| size.parse().ok()).unwrap_or(everyday)
}
