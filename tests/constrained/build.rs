//! Tells the linker where memory.x is.

fn main() {
    let workspace = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
    println!("cargo::rustc-link-search={workspace}");
    println!("cargo::rerun-if-changed={workspace}/memory.x");
}
