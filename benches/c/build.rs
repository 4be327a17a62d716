//! Compiles the C side against the prefix that `HIVE_PREFIX` names.

fn main() {
    println!("cargo:rerun-if-env-changed=HIVE_PREFIX");
    println!("cargo:rerun-if-changed=calls.c");
    let prefix = std::env::var("HIVE_PREFIX").expect("HIVE_PREFIX, as `make bench-c` sets it");
    cc::Build::new()
        .file("calls.c")
        .include(format!("{prefix}/include/hive_registry"))
        .std("c11")
        .opt_level(2)
        .warnings(true)
        .compile("calls");
    println!("cargo:rustc-link-search=native={prefix}/lib");
    println!("cargo:rustc-link-lib=dylib=hive_registry");
    println!("cargo:rustc-link-arg=-Wl,-rpath,{prefix}/lib");
}
