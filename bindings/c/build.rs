//! The name by which programs ask for the shared library when they start, as cargo-c chooses it: below 1.0 a minor
//! version may break, so it is part of the name.

fn main() {
    let version = |part: &str| std::env::var(format!("CARGO_PKG_VERSION_{part}")).expect("cargo sets it");
    let (major, minor) = (version("MAJOR"), version("MINOR"));
    let soname = if major == "0" { format!("0.{minor}") } else { major };
    if std::env::var("CARGO_CFG_TARGET_OS").is_ok_and(|os| os == "linux") {
        println!("cargo:rustc-cdylib-link-arg=-Wl,-soname,libhive_registry.so.{soname}");
    }
    println!("cargo:rerun-if-changed=build.rs");
}
