//! How the shared library is linked. The name by which programs ask for it when they start is as cargo-c chooses it: below
//! 1.0 a minor version may break, so it is part of the name. It stays loaded after `dlclose`: the keys by which threads
//! find what is theirs, of which a process has 1,024, are never given back.

fn main() {
    let version = |part: &str| std::env::var(format!("CARGO_PKG_VERSION_{part}")).expect("cargo sets it");
    let (major, minor) = (version("MAJOR"), version("MINOR"));
    let soname = if major == "0" { format!("0.{minor}") } else { major };
    if std::env::var("CARGO_CFG_TARGET_OS").is_ok_and(|os| os == "linux") {
        println!("cargo:rustc-cdylib-link-arg=-Wl,-soname,libhive_registry.so.{soname}");
        println!("cargo:rustc-cdylib-link-arg=-Wl,-z,nodelete");
    }
    println!("cargo:rerun-if-changed=build.rs");
}
