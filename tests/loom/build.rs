//! What the build script of hedge-core finds out, for its sources that are built here: loom has words of 64 bits everywhere.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-check-cfg=cfg(has_atomic_64)");
    println!("cargo::rustc-cfg=has_atomic_64");
}
