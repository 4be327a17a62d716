//! Which version this is.

use crate::text::Str;

/// Of the header. Below 1.0 a new minor version may break programs, and the library's soname changes with it.
pub const HIVE_VERSION_MAJOR: u32 = 0;
/// Of the header.
pub const HIVE_VERSION_MINOR: u32 = 1;
/// Of the header.
pub const HIVE_VERSION_PATCH: u32 = 0;

/// Of the library: "0.1.0". Valid for ever.
#[unsafe(no_mangle)]
pub extern "C" fn hive_version() -> Str {
    Str::of(env!("CARGO_PKG_VERSION"))
}

#[cfg(test)]
mod tests {
    use super::{HIVE_VERSION_MAJOR, HIVE_VERSION_MINOR, HIVE_VERSION_PATCH};

    #[test]
    fn the_header_says_the_version_of_the_crate() {
        let said = format!("{HIVE_VERSION_MAJOR}.{HIVE_VERSION_MINOR}.{HIVE_VERSION_PATCH}");
        assert_eq!(said, env!("CARGO_PKG_VERSION"));
        let text = concat!("#define HIVE_REGISTRY_VERSION \"", env!("CARGO_PKG_VERSION"), "\"\n");
        assert!(include_str!("../../../include/hive_registry.h").contains(text), "no line {text}");
    }
}
